/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_SPENDING_H
#define OP_ENGINE_SPENDING_H

/*
 * Model:     what a transaction has bought, summed up by model and by what became of it, until it is
 *            added to the ledger (ledger.h, struct op_spend): a handful of sums, however many
 *            results.
 * Ownership: models are borrowed until the flush.
 * Threads:   the engine's.
 */

#include "engine/digest.h"

struct op_spending {
    struct op_spend *sums;
    size_t count;
};

/* A result that was inserted; again: it is not good and its request is asked again. Hot. */
void op_spending_add(struct op_spending *spending, const struct op_entry *entry, bool again);
/* Adds the sums to the batch's, in the caller's transaction, and forgets them. */
OP_MUST_CHECK enum op_rc op_spending_flush(struct op_spending *spending,
                                           struct op_ledger *ledger, int64_t batch_id,
                                           struct op_err *err);
void op_spending_release(struct op_spending *spending);

#endif
