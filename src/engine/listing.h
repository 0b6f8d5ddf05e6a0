/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_LISTING_H
#define OP_ENGINE_LISTING_H

/*
 * Model:     what an account holds, as the provider lists it: read page by page to the age asked
 *            for, never a fixed number of pages. A listing that fails anywhere decides nothing.
 * Ownership: the listing owns its entries.
 */

#include "base/map.h"
#include "engine/work.h"

struct op_listing {
    struct op_remote_batch *batches; /* newest first */
    size_t count;
    int64_t server_ms; /* the server's clock at the first page */
};

/* Every batch created at or after since_ms (server time; negative: so long before the present). A
 * reply without a Date is an error: our own clock may be wrong, and evidence is compared by time. */
OP_MUST_CHECK enum op_rc op_listing_read(struct op_engine *engine, const struct op_lane *lane,
                                         int64_t since_ms, struct op_listing *ret,
                                         struct op_err *err);
void op_listing_release(struct op_listing *listing);

/* The ids as the JSON kept in batch.baseline: {"server_ms":..., "lane":..., "ids":[...]}. lane is
 * the one that sends: batch.lane_id is the one it was built for, and the key may have changed since. */
void op_baseline_write(const struct op_listing *listing, int64_t lane_id, struct op_buf *out);
/* Adds the ids of such a JSON to a map, the value is 1. */
void op_baseline_read(const char *json, struct op_map *ret);
/* A candidate that turned out to be somebody else's joins the baseline, so that it is never looked
 * at again for this batch. Memory only: the caller saves the batch. */
void op_baseline_extend(struct op_batch *batch, const char *id);
/* The lane a batch was sent on, or would be if it was not. */
int64_t op_batch_sender(const struct op_batch *batch);

#endif
