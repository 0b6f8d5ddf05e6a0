/* SPDX-License-Identifier: MIT */
#ifndef OP_VIEW_DOCUMENT_H
#define OP_VIEW_DOCUMENT_H

/*
 * Model:     the JSON documents of `status --json` and `show --json`, and of the server's API: one
 *            form of each, written by one function. Members are added to an object that the caller
 *            has opened. The story of a record is view/story.h, lists are view/list.h, money is
 *            view/costs.h.
 * Ownership: everything is borrowed for the call; the engine may be one that only reads.
 * Errors:    the ledger's; the object may then be half written.
 * Threads:   the engine's.
 */

#include "base/json_out.h"
#include "engine/engine.h"

/* The version that every document begins with. */
#define OP_DOCUMENT_VERSION 1

#define OP_OVERVIEW_MAX    200 /* jobs that are shown at most */
#define OP_OVERVIEW_RECENT 5   /* of those that have ended, when none was chosen */

/* Everything in the ledger, counted; and the jobs to show, newest first. */
struct op_overview {
    int64_t states[OP_JOB_STATE_COUNT];
    struct op_job_counts sum;
    int64_t jobs[OP_OVERVIEW_MAX];
    size_t count, recent;
    bool chosen; /* jobs are given by the caller */
    size_t open;
};
/* Reads it; of a chosen one jobs and count stay as they are. */
OP_MUST_CHECK enum op_rc op_overview_read(struct op_ledger *ledger,
                                          struct op_overview *overview, struct op_err *err);

/* What `status --json` says. engine NULL: there is no ledger yet, and overview is zero. */
OP_MUST_CHECK enum op_rc op_status_document(struct op_engine *engine, const char *state_dir,
                                            const struct op_overview *overview,
                                            struct op_json_out *out, struct op_err *err);
/* "job" and "batches". */
OP_MUST_CHECK enum op_rc op_job_document(struct op_engine *engine, int64_t id,
                                         struct op_json_out *out, struct op_err *err);
/* "batch", "journal" and "notes". */
OP_MUST_CHECK enum op_rc op_batch_document(struct op_engine *engine, int64_t id,
                                           struct op_json_out *out, struct op_err *err);

#endif
