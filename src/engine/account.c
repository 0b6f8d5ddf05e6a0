/* SPDX-License-Identifier: MIT */
#include "engine/account.h"

#include "base/mem.h"
#include "engine/orphan.h"

struct by_nonce {
    const char *nonce;
    struct op_account_batch *found;
};

static enum op_rc find_batch(void *arg, const struct op_batch *batch, struct op_err *err)
{
    (void)err;
    struct by_nonce *search = arg;
    if (strcmp(batch->nonce, search->nonce) == 0) {
        search->found->batch_id = batch->id;
        search->found->state = batch->state;
    }
    return OP_OK;
}

static enum op_rc look(struct op_engine *engine, const struct op_lane *lane,
                       const struct op_remote_batch *remote, struct op_account_batch *ret,
                       struct op_err *err)
{
    char nonce[OP_NONCE_LEN + 1];
    *ret = (struct op_account_batch){.remote = remote};
    ret->owner = op_remote_owner(engine, lane, remote, nonce);
    if (ret->owner != OP_OWNER_US)
        return OP_OK;
    struct by_nonce search = {.nonce = nonce, .found = ret};
    struct op_batch_filter all = {0};
    return op_ledger_batches(engine->ledger, &all, find_batch, &search, err);
}

enum op_rc op_engine_account(struct op_engine *engine, const struct op_lane *lane,
                             op_account_fn fn, void *arg, struct op_err *err)
{
    struct op_listing listing = {0};
    enum op_rc rc =
        op_listing_read(engine, lane, -lane->provider->limits.keep_ms, &listing, err);
    for (size_t i = 0; !rc && i < listing.count; i++) {
        int64_t id = 0;
        if (op_engine_stopped(engine)) {
            rc = op_fail(err, OP_STOPPED, "stopped while looking through the account");
            break;
        }
        rc = op_ledger_batch_find(engine->ledger, listing.batches[i].id, &id, err);
        if (rc != OP_NOTFOUND || err->rc)
            continue;
        struct op_account_batch batch;
        rc = look(engine, lane, &listing.batches[i], &batch, err);
        if (!rc)
            rc = fn(arg, &batch, err);
    }
    op_listing_release(&listing);
    return rc;
}
