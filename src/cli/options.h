/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_OPTIONS_H
#define OP_CLI_OPTIONS_H

/*
 * Model:     one option table per command (command.h) makes parsing, help,
 *            docs/reference/cli.md and "did you mean". Option names take - and _ alike;
 *            --name=value and --name value; `--` ends the options; the last of two equal
 *            options counts. A pipeline's params are options too.
 * Ownership: parsed texts are borrowed from argv.
 * Errors:    OP_INVAL: what is wrong and the nearest option there is.
 * Threads:   one.
 */

#include "base/buf.h"
#include "cli/command.h"

/* The first word that is neither an option nor its value, before anything is known about a
 * pipeline's own options; NULL when there is none. */
const char *op_options_first_word(const struct op_command *command, int argc, char **argv);

/* The value of --NAME, before anything is known about a pipeline's own options; NULL without. */
const char *op_options_value(const char *name, int argc, char **argv);

/* argv holds what follows the command's name. args->subject.def gives the params when there
 * are any. args->words is made for argc words. */
OP_MUST_CHECK enum op_rc op_options_parse(const struct op_command *command, int argc,
                                          char **argv, struct op_args *args,
                                          struct op_err *err);

/* Options that are params of the subject's pipeline: the row of the table that a param hides is
 * not shown. */
void op_options_help(const struct op_command *command, const struct op_definition *def,
                     struct op_buf *out);
void op_options_overview(struct op_buf *out);
void op_options_markdown(struct op_buf *out);

/* True when the text has the form of a secret key. */
bool op_options_is_key(const char *text);

#endif
