/* SPDX-License-Identifier: MIT */
#ifndef OP_VIEW_SUMMARY_H
#define OP_VIEW_SUMMARY_H

/*
 * Model:     a job as status, run and fetch show it, to a person and as JSON.
 * Ownership: everything is borrowed for the call.
 * Threads:   one.
 */

#include "base/json_out.h"
#include "engine/engine.h"
#include "pipeline/chain.h"

/* The batches of a job (0: of all), counted by state. */
struct op_batch_counts {
    int64_t batches[OP_BATCH_STATE_COUNT];
    int64_t requests[OP_BATCH_STATE_COUNT];
};
OP_MUST_CHECK enum op_rc op_batch_counts_read(struct op_ledger *ledger, int64_t job,
                                              struct op_batch_counts *ret, struct op_err *err);

/* Who answered how much of a job, and how fast. */
struct op_provider_counts {
    struct {
        const char *name;
        int64_t ok, failed, microusd;
    } of[OP_CHAIN_MAX];
    size_t count;
    /* of what is sent as batches: what is at the provider now, what was answered, and
     * between when */
    int64_t in_flight_batches, in_flight_requests, answered, first_ms, last_ms;
};
OP_MUST_CHECK enum op_rc op_provider_counts_read(struct op_engine *engine, int64_t job,
                                                 struct op_provider_counts *ret,
                                                 struct op_err *err);
OP_MUST_CHECK enum op_rc op_batch_json(struct op_engine *engine, const struct op_batch *batch,
                                       struct op_json_out *out, struct op_err *err);
void op_usage_json(const struct op_usage *usage, struct op_json_out *out); /* "tokens": {…} */

/* {"id": "job-3", "state": …}. outputs: also where its rows went, which loads the job. */
OP_MUST_CHECK enum op_rc op_summary_json(struct op_engine *engine, int64_t job, bool outputs,
                                         struct op_json_out *out, struct op_err *err);
OP_MUST_CHECK enum op_rc op_summary_text(struct op_engine *engine, int64_t job, bool outputs,
                                         struct op_buf *out, struct op_err *err);

#endif
