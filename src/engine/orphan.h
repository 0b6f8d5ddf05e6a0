/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_ORPHAN_H
#define OP_ENGINE_ORPHAN_H

/*
 * Model:     an orphan is a batch at the provider that the ledger does not count on: one that was
 *            given up and took effect all the same, or one whose transactions are lost. What its
 *            results hold was paid for (reference/reliability.md 3.6). sweep.c finds such, orphan.c
 *            decides what becomes of them.
 * Errors:    what the provider does not give now is asked for at the next sweep; only what stops the
 *            program is returned.
 */

#include "engine/listing.h"

struct op_orphan {
    const struct op_lane *lane;
    const struct op_remote_batch *remote; /* ended */
    int64_t batch_id;                     /* whose nonce its results carry; 0: the ledger has
                                             forgotten it */
};
/* Fetches its results. Every request still to be bought: the batch that was given up becomes
 * FETCHED and what was built to buy them is dropped. Else the results stay in the spool and the cost is a
 * note of the kind "orphan". *ret_adopted only when true. */
OP_MUST_CHECK enum op_rc op_orphan_settle(struct op_engine *engine,
                                          const struct op_orphan *orphan, bool *ret_adopted,
                                          struct op_err *err);

/* sweep.c: whose a batch is, by the tag it carries; one that has ended also by the beginning of its
 * results. The nonce of US. */
enum op_owner op_remote_owner(struct op_engine *engine, const struct op_lane *lane,
                              const struct op_remote_batch *remote,
                              char ret_nonce[OP_NONCE_LEN + 1]);

/* sweep.c: looks at everything that the loaded accounts hold, and says only what is ours. An
 * account that does not answer is an error. */
OP_MUST_CHECK enum op_rc op_engine_sweep_all(struct op_engine *engine, struct op_err *err);

/* sweep.c: before anything is bought again, the account is searched for batches of the job that
 * were given up. listing: as read for this send; NULL: with tags, read when there is one to look for
 * that no fence has stopped. *ret_adopted: the job has changed, look at it anew. OP_REMOTE with
 * RETRY: one is there, has not ended, and may hold what this batch is to buy. */
OP_MUST_CHECK enum op_rc op_sweep_before_send(struct op_work *work,
                                              const struct op_batch *batch,
                                              const struct op_listing *listing,
                                              bool *ret_adopted, struct op_err *err);

#endif
