/* SPDX-License-Identifier: MIT */
#ifndef OP_VIEW_LIST_H
#define OP_VIEW_LIST_H

/*
 * Model:     a list of jobs (newest first), of batches (by id, the newest where not all are shown) or
 *            of requests that failed and that no later round has answered.
 * Ownership: the struct is the caller's; nothing in it is owned.
 * Errors:    OP_INVAL for a state there is not; else the ledger's.
 * Threads:   the engine's.
 */

#include "base/json_out.h"
#include "engine/engine.h"

#define OP_LIST_MOST 10000 /* rows of a JSON document, unless more are asked for */

enum op_list_kind { OP_LIST_JOBS, OP_LIST_BATCHES, OP_LIST_FAILED };

struct op_list {
    enum op_list_kind kind;
    int64_t job;           /* only of this job; 0 any */
    int job_state;         /* -1 any */
    bool pending;          /* only open jobs */
    uint32_t batch_states; /* 0 any */
    int64_t most;          /* rows */
    int64_t shown, left_out;
};

/* status: a state's name, which tells by itself whether jobs or batches are meant; "pending" (open
 * jobs), "completed" (done ones), "failed" (requests). NULL: all of that kind. */
OP_MUST_CHECK enum op_rc op_list_init(struct op_list *list, enum op_list_kind kind,
                                      const char *status, struct op_err *err);

/* What is done with a row; only the one of the list's kind is called. */
struct op_list_rows {
    enum op_rc (*job)(void *arg, const struct op_job *job, struct op_err *err);
    enum op_rc (*batch)(void *arg, const struct op_batch *batch, struct op_err *err);
    /* name: of the request in its pipeline; "" when that cannot be loaded any more */
    enum op_rc (*failed)(void *arg, const struct op_request *request, struct op_str key,
                         const char *name, struct op_err *err);
};
/* Sets shown and left_out. engine NULL: there is no ledger yet, and no row. */
OP_MUST_CHECK enum op_rc op_list_walk(struct op_engine *engine, struct op_list *list,
                                      const struct op_list_rows *rows, void *arg,
                                      struct op_err *err);
/* "jobs", "batches" or "failed", and "left_out", as members of an open object. */
OP_MUST_CHECK enum op_rc op_list_document(struct op_engine *engine, struct op_list *list,
                                          struct op_json_out *out, struct op_err *err);

#endif
