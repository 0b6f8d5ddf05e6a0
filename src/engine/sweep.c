/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "core/custom_id.h"
#include "engine/listing.h"
#include "engine/work.h"

/*
 * The orphan sweep (reference/reliability.md 3.6): what the account holds and the ledger does not
 * know. Most of it is other people's. What carries ids of this ledger was paid for by it: by
 * transactions that are lost, or by a create that took effect after it was given up.
 */
#define SAMPLE_MAX (1024 * 1024)

struct sample {
    struct op_buf text;
};

static enum op_rc take_sample(void *arg, const void *ptr, size_t len, struct op_err *err)
{
    struct sample *sample = arg;
    size_t room = SAMPLE_MAX - sample->text.len;
    op_buf_add(&sample->text, ptr, len < room ? len : room);
    return len < room ? OP_OK : op_fail(err, OP_STOPPED, "that is enough");
}

/* The nonce behind the first id of this ledger in the results; false: there is none. */
static bool find_nonce(struct op_engine *engine, const struct sample *sample,
                       char ret[OP_NONCE_LEN + 1])
{
    char prefix[OP_LEDGER_TAG_LEN + 2];
    size_t len = OP_LEDGER_TAG_LEN + 1;
    memcpy(prefix, op_ledger_tag(engine->ledger), OP_LEDGER_TAG_LEN);
    prefix[OP_LEDGER_TAG_LEN] = '-';
    struct op_str rest = op_buf_str(&sample->text);
    const char *at = rest.len ? memmem(rest.ptr, rest.len, prefix, len) : NULL;
    if (!at || (size_t)(rest.ptr + rest.len - at) < len + OP_NONCE_LEN)
        return false;
    memcpy(ret, at + len, OP_NONCE_LEN);
    ret[OP_NONCE_LEN] = '\0';
    return true;
}

/* The tag that a batch carries tells at once, whatever its state. */
static bool tag_is_ours(struct op_engine *engine, const struct op_remote_batch *remote,
                        char ret_nonce[OP_NONCE_LEN + 1])
{
    char prefix[OP_TAG_MAX];
    int len = snprintf(prefix, sizeof(prefix), "op-%s-", op_ledger_tag(engine->ledger));
    if (strncmp(remote->tag, prefix, (size_t)len) != 0 ||
        strlen(remote->tag) != (size_t)len + OP_NONCE_LEN)
        return false;
    memcpy(ret_nonce, remote->tag + len, OP_NONCE_LEN + 1);
    return true;
}

static bool is_ours(struct op_engine *engine, const struct op_lane *lane,
                    const struct op_remote_batch *remote, char ret_nonce[OP_NONCE_LEN + 1])
{
    if (lane->provider->has_tags)
        return tag_is_ours(engine, remote, ret_nonce);
    if (remote->state != OP_REMOTE_ENDED)
        return false;
    struct sample sample = {0};
    op_buf_init(&sample.text, SAMPLE_MAX);
    struct op_exchange x = {0};
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    struct op_err why = OP_ERR_INIT;
    /* Part of the results is as good as all of them here: an error decides nothing. */
    if (!lane->provider->results(lane, remote, 0, &x, &why))
        (void)!op_lane_exchange(engine, lane, &x, take_sample, &sample, &reply, &why);
    bool ours = find_nonce(engine, &sample, ret_nonce);
    op_http_reply_release(&reply);
    op_exchange_release(&x);
    op_buf_release(&sample.text);
    return ours;
}

struct by_nonce {
    const char *nonce;
    int64_t id;
    enum op_batch_state state;
};

static enum op_rc find_batch(void *arg, const struct op_batch *batch, struct op_err *err)
{
    (void)err;
    struct by_nonce *search = arg;
    if (strcmp(batch->nonce, search->nonce) == 0) {
        search->id = batch->id;
        search->state = batch->state;
    }
    return OP_OK;
}

static enum op_rc report(struct op_engine *engine, const struct op_lane *lane,
                         const struct op_remote_batch *remote, struct op_err *err)
{
    char created[OP_TIME_TEXT], nonce[OP_NONCE_LEN + 1];
    op_time_format(remote->created_ms, created);
    const char *whose = lane->provider->has_tags
                            ? "it carries no tag of this ledger: somebody else's"
                        : remote->state == OP_REMOTE_ENDED
                            ? "its results carry no id of this ledger: somebody else's"
                            : "it has not ended: whose it is, only its results will tell";
    char text[200];
    if (is_ours(engine, lane, remote, nonce)) {
        struct by_nonce search = {.nonce = nonce};
        struct op_batch_filter all = {0};
        enum op_rc rc = op_ledger_batches(engine->ledger, &all, find_batch, &search, err);
        if (rc)
            return rc;
        /* Doubtful ones are adopted by reconcile.c as soon as their turn comes. */
        if (search.id && search.state == OP_BATCH_AMBIGUOUS)
            return OP_OK;
        if (search.id)
            snprintf(text, sizeof(text),
                     "it is batch-%lld, which the ledger has as %s: it was paid for",
                     (long long)search.id, op_batch_state_name(search.state));
        else
            snprintf(text, sizeof(text),
                     "it carries ids of this ledger, which has forgotten it: it was paid for");
        whose = text;
    }
    op_log(OP_EVENT_BATCH_ORPHAN, OP_T("provider", lane->provider->name),
           OP_T("provider_id", remote->id), OP_F("requests", remote->total),
           OP_T("created", created), OP_T("state", remote->state_name), OP_T("whose", whose));
    return OP_OK;
}

static enum op_rc sweep_lane(struct op_engine *engine, const struct op_lane *lane,
                             struct op_err *err)
{
    struct op_listing listing = {0};
    enum op_rc rc =
        op_listing_read(engine, lane, -lane->provider->limits.keep_ms, &listing, err);
    for (size_t i = 0; !rc && i < listing.count; i++) {
        int64_t id = 0;
        rc = op_ledger_batch_find(engine->ledger, listing.batches[i].id, &id, err);
        if (rc == OP_NOTFOUND && !err->rc)
            rc = report(engine, lane, &listing.batches[i], err);
    }
    op_listing_release(&listing);
    return rc;
}

enum op_rc op_engine_sweep(struct op_engine *engine, struct op_err *err)
{
    for (size_t i = 0; i < engine->lane_count; i++) {
        enum op_rc rc = sweep_lane(engine, engine->lanes[i], err);
        if (rc)
            return rc;
    }
    struct op_str why;
    if (!op_ledger_is_suspect(engine->ledger, &why))
        return OP_OK;
    enum op_rc rc = op_ledger_trust(engine->ledger, err);
    return rc ? rc : op_engine_doubt_announced(engine, err);
}
