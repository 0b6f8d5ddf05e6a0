/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_SELECT_H
#define OP_PIPELINE_SELECT_H

/*
 * Model:     from inputs to records. Staging reads every input once into a private SQLite file;
 *            then `require`, `records` and `done` are SELECTs over it. A pipeline with one input and
 *            no `records`, no `require` and no `done`, and no other SELECT that names the input, needs
 *            no staging: its rows are the records, in order. Where there is no `records`, the key
 *            is the column `key`; else, of a raw request, its custom_id; else `id`; else the row's
 *            number from 1; and is then added as a last column `key`.
 * Ownership: a select owns its connection or source; cells are borrowed until the next call.
 * Errors:    OP_INVAL with file and line. Malformed input rows are errors unless on_error: skip, then
 *            they are given to `skipped` one by one and counted.
 * Threads:   one thread at a time.
 */

#include "pipeline/plan.h"
#include "pipeline/sqlenv.h"

bool op_plan_streams(const struct op_plan *plan);

typedef void (*op_skipped_fn)(void *arg, const char *message);

/* Reads all inputs into db_path (made anew, synced at the end; the caller makes its folder's entry
 * durable). Column affinity: none, cells keep their types. The columns that a SELECT which runs once
 * per result (checks, rows) searches an input by get an index. Messages of skipped rows are kept in
 * the file too: op_select_open tells and counts them. */
OP_MUST_CHECK enum op_rc op_stage(struct op_env *env, struct op_plan *plan, const char *db_path,
                                  op_skipped_fn skipped, void *skipped_arg, int64_t *ret_rows,
                                  struct op_err *err);

/* Runs `require`; OP_INVAL with the message of the first that does not hold. */
OP_MUST_CHECK enum op_rc op_require(struct op_sqlenv *sql, const struct op_plan *plan,
                                    struct op_err *err);

struct op_select;
struct op_record {
    struct op_str key;
    const struct op_value *cells; /* plan->record_columns */
    int64_t number;               /* from 1, skipped and done ones counted */
    const char *place; /* "tickets.csv:17" for a stream; "records row 17" otherwise */
};

/* Opens the records and calls op_plan_columns. db_path NULL: streaming. */
OP_MUST_CHECK enum op_rc op_select_open(struct op_env *env, struct op_plan *plan,
                                        const char *db_path, op_skipped_fn skipped,
                                        void *skipped_arg, struct op_select **ret,
                                        struct op_err *err);
/* The next record that is not done and within --limit; OP_NOTFOUND (err untouched) at the end. A
 * NULL or empty key, or illegal UTF-8 in it, is OP_INVAL. */
OP_MUST_CHECK enum op_rc op_select_next(struct op_select *select, struct op_record *ret,
                                        struct op_err *err);
/* How many were left out because `done` has their key, and as malformed. */
int64_t op_select_done(const struct op_select *select);
int64_t op_select_skipped(const struct op_select *select);
void op_select_close(struct op_select *select);
void op_select_closep(struct op_select **select);

/* The record's columns as a JSON object, appended (stored when plan->keeps_data). */
void op_record_write(const struct op_plan *plan, const struct op_record *record,
                     struct op_buf *out);
/* A cell of what that wrote. */
struct op_value op_record_cell(struct op_json v);

#endif
