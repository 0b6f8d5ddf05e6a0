/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_LISTING_H
#define OP_ENGINE_LISTING_H

/*
 * Model:     what an account holds, as the provider lists it: read page by page to the age asked
 *            for, never a fixed number of pages. A listing that fails anywhere decides nothing.
 * Ownership: the listing owns its entries.
 */

#include "engine/work.h"

struct op_listing {
    struct op_remote_batch *batches; /* newest first */
    size_t count;
    int64_t server_ms; /* the server's clock at the first page (ours when it sent no Date) */
};

/* Every batch created at or after since_ms (server time). */
OP_MUST_CHECK enum op_rc op_listing_read(struct op_engine *engine, const struct op_lane *lane,
                                         int64_t since_ms, struct op_listing *ret,
                                         struct op_err *err);
void op_listing_release(struct op_listing *listing);

/* The ids as the JSON kept in batch.baseline: {"server_ms":..., "ids":[...]}. */
void op_baseline_write(const struct op_listing *listing, struct op_buf *out);

#endif
