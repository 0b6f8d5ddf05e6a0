/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_SUBJECT_H
#define OP_CLI_SUBJECT_H

/*
 * Model:     what a command is to work on, as the command line says it: a pipeline's folder, a
 *            file of ready requests, the options of the one-line form, or a job there is
 *            already. The first three end in one thing: a bundle and its parsed definition.
 * Ownership: the subject owns bundle, definition and made-up texts; given is borrowed from
 *            argv.
 * Errors:    OP_NOTFOUND or OP_INVAL, with what to type instead.
 * Threads:   one.
 */

#include "pipeline/bundle.h"
#include "pipeline/definition.h"
#include "pipeline/params.h"

struct op_args;

enum op_subject_kind {
    OP_SUBJECT_NONE,     /* no word: the one-line form, or nothing at all */
    OP_SUBJECT_PIPELINE, /* a folder with pipeline.yaml */
    OP_SUBJECT_RAW,      /* a file of requests in a provider's own form */
    OP_SUBJECT_JOB,      /* job-7 */
};

struct op_subject {
    enum op_subject_kind kind;
    const char *word;
    char *dir; /* PIPELINE: its folder as found; NULL otherwise */
    struct op_bundle bundle;
    struct op_definition def;
    bool has_def;
    struct op_err broken; /* why the definition cannot be read; rc 0: it can */
    const char **given;   /* by param of def */
    struct op_arena arena;
};

void op_subject_release(struct op_subject *subject);

/* Finds out what the word is and, for a pipeline, reads its definition. word NULL: NONE. What
 * is wrong inside a definition goes to subject->broken. profile: --profile or NULL. */
OP_MUST_CHECK enum op_rc op_subject_find(const char *word, const char *profile,
                                         struct op_subject *ret, struct op_err *err);
/* Once the options are parsed: makes the bundle of the one-line and the raw form, refuses
 * options that do not go together. need_output: a run without one would throw its answers away.
 * */
OP_MUST_CHECK enum op_rc op_subject_complete(struct op_args *args, bool need_output,
                                             struct op_err *err);
/* Whether every param of the pipeline has a good value. */
OP_MUST_CHECK enum op_rc op_subject_check_params(const struct op_subject *subject,
                                                 struct op_err *err);
/* The folder's absolute path becomes part of the job's identity: to be called before the bundle
 * is given to the engine. */
void op_subject_settle(struct op_subject *subject);

#endif
