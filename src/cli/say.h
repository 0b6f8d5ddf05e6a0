/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_SAY_H
#define OP_CLI_SAY_H

/*
 * Model:     what leaves the program: the result on stdout, chatter and errors on stderr. A
 *            reader of stdout that went away is no error.
 * Ownership: a report owns its buffer until it is printed.
 * Threads:   one.
 */

#include "base/buf.h"
#include "base/err.h"
#include "base/json_out.h"
#include "cli/command.h"

#define OP_SAY_MAX (256 * 1024 * 1024)

/* Writes to stdout; a disk that is full behind it is said and remembered (op_say_failed). */
void op_say(struct op_str text);
void op_sayf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool op_say_failed(void);
/* Chatter: a line on stderr, unless --quiet. */
void op_note(const struct op_args *args, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Width of the terminal behind stdout or stderr; 0 when there is none. */
size_t op_say_width(int fd);

/* The JSON form of a result: {"version":1, …}. */
struct op_report {
    struct op_buf buf;
    struct op_json_out out;
};
void op_report_begin(struct op_report *report);
void op_report_print(struct op_report *report); /* ends the object, prints, releases */
/* The same, unless rc says that it could not be filled; yields rc. */
OP_MUST_CHECK enum op_rc op_report_end(struct op_report *report, enum op_rc rc);

/* Says an error (with --json also on stdout, as a whole object) and yields the exit code. */
int op_say_error(const struct op_args *args, const struct op_err *err);
/* The same for a mistake on the command line. */
int op_say_usage(const struct op_args *args, const struct op_err *err);
/* Adds "error": {...} to a report. */
void op_report_error(struct op_json_out *out, const struct op_err *err);

#endif
