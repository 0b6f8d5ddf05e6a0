/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "base/time.h"
#include "engine/listing.h"
#include "engine/work.h"

static enum op_rc sweep_lane(struct op_engine *engine, const struct op_lane *lane,
                             int64_t *ret_unknown, struct op_err *err)
{
    struct op_listing listing = {0};
    int64_t since = op_engine_now(engine) - lane->provider->limits.keep_ms;
    enum op_rc rc = op_listing_read(engine, lane, since, &listing, err);
    for (size_t i = 0; !rc && i < listing.count; i++) {
        const struct op_remote_batch *remote = &listing.batches[i];
        int64_t id = 0;
        rc = op_ledger_batch_find(engine->ledger, remote->id, &id, err);
        if (rc != OP_NOTFOUND || err->rc)
            continue;
        rc = OP_OK;
        (*ret_unknown)++;
        char created[OP_TIME_TEXT];
        op_time_format(remote->created_ms, created);
        op_log(OP_EVENT_BATCH_ORPHAN, OP_T("provider", lane->provider->name),
               OP_T("provider_id", remote->id), OP_F("requests", remote->total),
               OP_T("created", created), OP_T("state", remote->state_name));
    }
    op_listing_release(&listing);
    return rc;
}

enum op_rc op_engine_sweep(struct op_engine *engine, struct op_err *err)
{
    int64_t unknown = 0;
    for (size_t i = 0; i < engine->lane_count; i++) {
        enum op_rc rc = sweep_lane(engine, engine->lanes[i], &unknown, err);
        if (rc)
            return rc;
    }
    struct op_str why;
    if (op_ledger_is_suspect(engine->ledger, &why))
        return op_ledger_trust(engine->ledger, err);
    return OP_OK;
}
