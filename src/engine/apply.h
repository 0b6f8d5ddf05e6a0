/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_APPLY_H
#define OP_ENGINE_APPLY_H

/*
 * Model:     the deciding half of applying: entries of a chunk become results, final requests or
 *            requests to be asked again, sums and outbox frames, in one transaction with the cursor.
 * Threads:   the engine's.
 */

#include "engine/digest.h"
#include "engine/spending.h"

/* What a transaction has decided so far. */
struct op_verdicts {
    struct op_work *work;
    struct op_batch *batch;
    struct op_digest *digest; /* for rows of results that are final without being good */
    struct op_buf *frames;    /* of those, per output */
    int64_t *rows;
    struct op_job_counts counts;
    struct op_spending spending;
    bool again; /* the last request that op_verdict_bad decided about is asked again */
    bool pause; /* a result said: credit or quota */
    struct op_err pause_why;
};
void op_verdicts_release(struct op_verdicts *v);
/* Decides about one request that has no good answer: asked again, failed or canceled; its rows go
 * to v->frames when that is final. line ptr NULL for ABSENT. */
OP_MUST_CHECK enum op_rc op_verdict_bad(struct op_verdicts *v, const struct op_entry *entry,
                                        struct op_str problem, struct op_str line,
                                        struct op_err *err);
/* A good answer: DONE. */
OP_MUST_CHECK enum op_rc op_verdict_good(struct op_verdicts *v, const struct op_entry *entry,
                                         int64_t expected_batch, struct op_err *err);

#endif
