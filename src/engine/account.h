/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_ACCOUNT_H
#define OP_ENGINE_ACCOUNT_H

/*
 * Model:     what an account holds that the ledger does not know by its id: other people's batches,
 *            those made elsewhere that may be imported, and such of this ledger's as are doubtful or
 *            forgotten. Looked at, never changed; sweep.c is what acts.
 * Threads:   one.
 */

#include "engine/work.h"

struct op_account_batch {
    const struct op_remote_batch *remote;
    enum op_owner owner; /* by the ids in its results; UNKNOWN: none could be read yet */
    int64_t batch_id;    /* US: whose nonce its results carry; 0: the ledger has forgotten it */
    enum op_batch_state state; /* of that one */
};
typedef enum op_rc (*op_account_fn)(void *arg, const struct op_account_batch *batch,
                                    struct op_err *err);
/* Newest first, as far back as the provider keeps results. Reads the beginning of each one's. */
OP_MUST_CHECK enum op_rc op_engine_account(struct op_engine *engine, const struct op_lane *lane,
                                           op_account_fn fn, void *arg, struct op_err *err);

#endif
