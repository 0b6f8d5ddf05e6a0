/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_SQLENV_H
#define OP_PIPELINE_SQLENV_H

/*
 * Model:     the SQLite connection in which a pipeline's SELECTs run: the staged inputs attached
 *            read-only, one-row virtual tables for what is at hand (answers, results, records,
 *            request, batch, job), our functions, and an authorizer that allows nothing but
 *            reading. json_each, ->, ->>, json_extract and their like are our own, with SQLite's
 *            own results (they are on the hot path; docs/design/sql.md).
 *            Params are bound by name (:conversation_id), never spliced.
 * Ownership: one sqlenv per thread. Context pointers are borrowed between set and the next set.
 * Errors:    SQL errors name the place the text was written at, and SQLite's message.
 * Threads:   one thread at a time.
 */

#include "base/buf.h"
#include "base/err.h"
#include "base/value.h"
#include "ledger/ledger.h"
#include "pipeline/plan.h"
#include "provider/provider.h"

struct sqlite3;
struct op_sqlenv;

/* One row of the view `requests`; texts are valid until the next is fetched. */
struct op_context_request {
    int64_t id;
    int64_t record_id;
    struct op_str key;
    int name; /* index into plan->requests */
    const char *state;
    int64_t batch_id; /* 0 none */
    int buy_no;
    struct op_str reason;
};

/* What the virtual tables show. Pointers may be NULL: that table has no row then. */
struct op_context {
    const struct op_job *job;
    const struct op_batch *batch;
    const struct op_lane *lane;
    /* of one result */
    int request; /* index into plan->requests; -1: no request, no result */
    int64_t request_id;
    int buy_no;
    struct op_str key; /* record key */
    /* fetches the record's data (JSON object of its columns) when a query first reads it */
    enum op_rc (*record_data)(void *arg, struct op_buf *ret, struct op_err *err);
    void *record_arg;
    const struct op_result *result;
    int64_t microusd;
    struct op_str line;    /* the provider's raw result line; ptr NULL for ABSENT */
    struct op_str answer;  /* checked answer text; ptr NULL: no good answer */
    struct op_str problem; /* why there is none: violations, error; "" */
    /* of a change of the job or of a batch: the job's request behind this id, only of that batch
     * unless it is 0; OP_NOTFOUND, err untouched, behind the last. NULL: the view `requests` is
     * empty */
    enum op_rc (*next_request)(void *arg, int64_t batch_id, int64_t after_id,
                               struct op_context_request *ret, struct op_err *err);
    enum op_rc (*request_record)(void *arg, int64_t record_id, struct op_buf *ret,
                                 struct op_err *err);
    void *request_arg;
};

/* inputs_db: path of the staged inputs, attached as schema `inputs`; NULL none. Prepares the checks
 * and the rows of every output, and opens the outputs of the plan; the first sqlenv of a plan must
 * be open before another thread opens one. */
OP_MUST_CHECK enum op_rc op_sqlenv_open(struct op_plan *plan, const char *inputs_db,
                                        struct op_sqlenv **ret, struct op_err *err);
void op_sqlenv_close(struct op_sqlenv *sql);
void op_sqlenv_closep(struct op_sqlenv **sql);
void op_sqlenv_set(struct op_sqlenv *sql, const struct op_context *context);

/* The fixed columns of the views, NULL-terminated ("records" has the plan's record columns):
 * for documentation and tests. */
const char *const *op_sqlenv_view_columns(const char *view);

/* A SELECT, prepared once with the params bound. */
struct op_query;
OP_MUST_CHECK enum op_rc op_query_open(struct op_sqlenv *sql, const struct op_text *text,
                                       struct op_query **ret, struct op_err *err);
void op_query_close(struct op_query *query);
size_t op_query_columns(const struct op_query *query, const char *const **ret_names);
/* OP_OK and cells, valid until the next call; OP_NOTFOUND (err untouched) at the end, after which
 * the query may be run again. */
OP_MUST_CHECK enum op_rc op_query_next(struct op_query *query,
                                       const struct op_value **ret_cells, struct op_err *err);
void op_query_reset(struct op_query *query); /* ends a walk early */

/* Checks an answer with the plan's `checks`: violations are appended to list as lines, counted in
 * *ret_violations; warnings likewise into warnings. A check that fails on the answer's data
 * (malformed JSON) is a violation. The context must be set, with the answer. */
OP_MUST_CHECK enum op_rc op_sqlenv_check(struct op_sqlenv *sql, struct op_buf *list,
                                         size_t *ret_violations, struct op_buf *warnings,
                                         size_t *ret_warnings, struct op_err *err);

/* Runs the rows of every output with this event for the present context and appends the frames
 * to frames[output index] and adds to rows[output index]. A row that a sink refuses is
 * appended to problems as a line and does not stop the others; so is a SELECT that fails on this
 * context's data (malformed JSON), whose output then gets no row of it. */
OP_MUST_CHECK enum op_rc op_sqlenv_rows(struct op_sqlenv *sql, enum op_output_event on,
                                        struct op_buf *frames, int64_t *rows,
                                        struct op_buf *problems, struct op_err *err);

/* SQL functions, for documentation: name(args) and help; ends with name NULL. */
struct op_sql_function {
    const char *signature, *help;
};
const struct op_sql_function *op_sql_functions(void);

#endif
