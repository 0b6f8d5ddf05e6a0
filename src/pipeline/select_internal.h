/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_SELECT_INTERNAL_H
#define OP_PIPELINE_SELECT_INTERNAL_H

/*
 * Model:     what the files of record selection (select.c stage.c stage_index.c done.c) share. Not
 *            for use outside of them.
 */

#include <sqlite3.h>

#include "base/arena.h"
#include "pipeline/select.h"

/* --- stage.c: an input, open -------------------------------------------------------------- */

struct op_input {
    const struct op_input_def *def;
    struct op_arena arena; /* rendered target and options */
    const char *target;
    struct op_source *source;
    int64_t bad; /* malformed rows so far */
};
OP_MUST_CHECK enum op_rc op_input_open(struct op_env *env, const struct op_plan *plan,
                                       const struct op_input_def *def, struct op_input *ret,
                                       struct op_err *err);
void op_input_close(struct op_input *input);
/* The next good row; a malformed one is told to skipped and counted where the input allows. */
OP_MUST_CHECK enum op_rc op_input_next(struct op_input *input, op_skipped_fn skipped, void *arg,
                                       const struct op_value **ret_cells, struct op_err *err);

/* The staged file's table of malformed rows that were skipped, (message); no input can have this
 * name. */
#define OP_STAGE_SKIPPED "offpeak skipped"

/* --- stage_index.c ------------------------------------------------------------------------ */

/* Appends CREATE INDEX statements for the columns of inputs that the SELECTs which run once
 * per result search by. schema: of every input what follows CREATE TABLE, each with a NUL,
 * and a NUL. */
OP_MUST_CHECK enum op_rc op_stage_indexes(struct op_plan *plan, const char *schema,
                                          struct op_buf *out, struct op_err *err);

/* --- select.c ----------------------------------------------------------------------------- */

/* Opens the SELECT that makes the records, also when the definition leaves it out. */
OP_MUST_CHECK enum op_rc op_select_query(struct op_sqlenv *sql, struct op_query **ret,
                                         struct op_err *err);

/* --- done.c ------------------------------------------------------------------------------- */

struct op_done;
/* Runs `done` and keeps its keys. */
OP_MUST_CHECK enum op_rc op_done_open(struct op_sqlenv *sql, const struct op_text *text,
                                      struct op_done **ret, struct op_err *err);
void op_done_close(struct op_done *done);
OP_MUST_CHECK enum op_rc op_done_has(struct op_done *done, struct op_str key, bool *ret,
                                     struct op_err *err);

#endif
