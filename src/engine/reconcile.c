/* SPDX-License-Identifier: MIT */
#include "core/reconcile.h"

#include "base/json.h"
#include "base/json_out.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/time.h"
#include "core/retry.h"
#include "engine/listing.h"
#include "engine/work.h"

/* How far before the intent a listing has to reach (reference/reliability.md 3.4). */
#define LOOK_BACK_MS OP_HOUR_MS
/* A first result line longer than this proves nothing about its owner. */
#define FIRST_LINE_MAX (4 * 1024 * 1024)

static void read_baseline(const char *json, struct op_map *ret)
{
    if (!json || !json[0])
        return;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root;
    struct op_err err = OP_ERR_INIT;
    if (op_json_parse(parser, json, strlen(json), false, &root, &err))
        return;
    struct op_json_iter it = op_json_iter(op_json_get(root, "ids"));
    while (op_json_next(&it)) {
        struct op_str id = op_json_str(it.value);
        if (id.ptr)
            op_map_add(ret, id, 1, NULL);
    }
}

/* A candidate that turned out to be somebody else's joins the baseline, so that it is never looked
 * at again for this batch. */
static void extend_baseline(struct op_batch *batch, const char *id)
{
    struct op_map ids = {0};
    read_baseline(batch->baseline, &ids);
    op_map_add(&ids, op_str_from(id), 1, NULL);
    struct op_buf text;
    op_buf_init(&text, 64 * 1024 * 1024);
    struct op_json_out o;
    op_json_out_init(&o, &text, 0);
    op_json_out_object(&o);
    op_json_out_kv_int(&o, "server_ms", batch->intent_ms);
    op_json_out_name(&o, "ids");
    op_json_out_array(&o);
    for (size_t i = 0; i < ids.count; i++)
        op_json_out_str(&o, (struct op_str){ids.entries[i].key, ids.entries[i].len});
    op_json_out_end_array(&o);
    op_json_out_end_object(&o);
    op_mem_free(batch->baseline);
    batch->baseline = op_buf_take(&text);
    op_buf_release(&text);
    op_map_release(&ids);
}

struct candidates {
    struct op_listed_batch *listed;
    const struct op_remote_batch **remote;
    size_t count;
};

static enum op_rc find_candidates(struct op_work *work, const struct op_batch *batch,
                                  const struct op_listing *listing, struct candidates *ret,
                                  struct op_err *err)
{
    struct op_map known = {0};
    read_baseline(batch->baseline, &known);
    ret->listed = op_mem_array(listing->count + 1, sizeof(*ret->listed));
    ret->remote = op_mem_array(listing->count + 1, sizeof(const struct op_remote_batch *));
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < listing->count; i++) {
        const struct op_remote_batch *r = &listing->batches[i];
        int64_t owner = 0;
        if (op_map_get(&known, op_str_from(r->id), NULL))
            continue;
        rc = op_ledger_batch_find(work->engine->ledger, r->id, &owner, err);
        if (!rc)
            continue; /* another batch of ours */
        if (rc != OP_NOTFOUND || err->rc)
            break;
        rc = OP_OK;
        ret->remote[ret->count] = r;
        ret->listed[ret->count++] = (struct op_listed_batch){
            .id = r->id,
            .created_ms = r->created_ms,
            .count = r->total,
            .tag = r->tag,
            .ended = r->state == OP_REMOTE_ENDED || r->state == OP_REMOTE_FAILED,
        };
    }
    op_map_release(&known);
    return rc;
}

static enum op_rc adopt(struct op_work *work, struct op_batch *batch,
                        const struct op_remote_batch *remote, bool proved, struct op_err *err)
{
    op_batch_take_remote(work->engine, batch, remote);
    batch->provisional = !proved;
    batch->tries = 0;
    batch->due_ms = 0;
    enum op_rc rc =
        op_work_move(work, batch, OP_BATCH_ACCEPTED,
                     proved ? "adopted: its results carry our ids"
                            : "adopted by time and count; its results will prove it",
                     err);
    if (!rc)
        op_log(OP_EVENT_BATCH_ADOPTED, OP_F("batch", batch->id),
               OP_T("provider_id", remote->id));
    return rc;
}

struct first_line {
    struct op_buf text;
    bool complete;
};

static enum op_rc keep_first_line(void *arg, const void *ptr, size_t len, struct op_err *err)
{
    struct first_line *line = arg;
    const char *newline = memchr(ptr, '\n', len);
    op_buf_add(&line->text, ptr, newline ? (size_t)(newline - (const char *)ptr) : len);
    line->complete = newline != NULL || line->text.failed;
    if (line->complete)
        return op_fail(err, OP_STOPPED, "the first line is enough");
    return OP_OK;
}

/* Whether a result line carries an id of this very batch. */
static bool line_is_ours(struct op_work *work, const struct op_batch *batch, struct op_str line)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root;
    struct op_err err = OP_ERR_INIT;
    struct op_result result;
    struct op_buf scratch;
    op_buf_init(&scratch, FIRST_LINE_MAX);
    int64_t id = 0;
    bool ours = !op_json_parse(parser, line.ptr, line.len, true, &root, &err) &&
                !work->lane->provider->decode_result(root, &scratch, &result, &err) &&
                op_custom_id_parse(result.custom_id, op_ledger_tag(work->engine->ledger),
                                   batch->nonce, &id);
    op_buf_release(&scratch);
    return ours;
}

/* Reads the first result line of an ended candidate: the proof. */
static enum op_rc prove(struct op_work *work, struct op_batch *batch,
                        const struct op_remote_batch *remote, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    struct first_line line = {0};
    op_buf_init(&line.text, FIRST_LINE_MAX);
    struct op_exchange x = {0};
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    struct op_err why = OP_ERR_INIT;
    enum op_rc rc = work->lane->provider->results(work->lane, remote, 0, &x, &why);
    if (!rc)
        rc = op_lane_exchange(engine, work->lane, &x, keep_first_line, &line, &reply, &why);
    if (rc && !line.complete) {
        rc = op_batch_later(work, batch, &why, err);
    } else if (line_is_ours(work, batch, op_buf_str(&line.text))) {
        rc = adopt(work, batch, remote, true, err);
    } else {
        extend_baseline(batch, remote->id);
        batch->due_ms = 0;
        rc = op_ledger_batch_save(engine->ledger, batch, err);
    }
    op_http_reply_release(&reply);
    op_exchange_release(&x);
    op_buf_release(&line.text);
    return rc;
}

static enum op_rc unsent(struct op_work *work, struct op_batch *batch, struct op_err *err)
{
    op_log(OP_EVENT_BATCH_UNSENT, OP_F("batch", batch->id));
    return op_work_move_unpack(work, batch, OP_BATCH_UNSENT,
                               "two complete listings after the settling time do not have it",
                               false, err);
}

/* A listing without a candidate is remembered; the next one that counts must lie well apart. */
static enum op_rc wait_more(struct op_work *work, struct op_batch *batch,
                            const struct op_reconcile_case *c, size_t candidates,
                            struct op_err *err)
{
    struct op_engine *engine = work->engine;
    if (candidates)
        batch->first_clean_ms = 0;
    else if (!batch->first_clean_ms && c->now_ms >= c->last_try_ms + OP_RECONCILE_SETTLE_MS)
        batch->first_clean_ms = c->now_ms;
    int64_t wait = op_poll_delay_ms(c->now_ms - c->last_try_ms, -1, engine->options.poll_ms);
    batch->tries = 0;
    batch->due_ms = op_engine_now(engine) + wait;
    op_engine_due(engine, batch->due_ms);
    return op_ledger_batch_save(engine->ledger, batch, err);
}

static enum op_rc decide(struct op_work *work, struct op_batch *batch,
                         const struct op_listing *listing, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    struct candidates found = {0};
    enum op_rc rc = find_candidates(work, batch, listing, &found, err);
    struct op_reconcile_case c = {
        .count = batch->count,
        .tag = work->lane->provider->has_tags ? batch->nonce : "",
        .intent_ms = batch->intent_ms,
        .last_try_ms = batch->last_try_ms,
        .now_ms = listing->server_ms,
        .first_clean_ms = batch->first_clean_ms,
        .exclusive = engine->options.exclusive,
        .hold = engine->options.strict,
    };
    size_t at = 0;
    if (!rc) {
        switch (op_reconcile(&c, found.listed, found.count, &at)) {
        case OP_RECONCILE_ADOPT:
        case OP_RECONCILE_ADOPT_MANY:
            rc = adopt(work, batch, found.remote[at], work->lane->provider->has_tags, err);
            break;
        case OP_RECONCILE_READ:
            if (found.listed[at].ended)
                rc = prove(work, batch, found.remote[at], err);
            else
                rc = wait_more(work, batch, &c, found.count, err);
            break;
        case OP_RECONCILE_UNSENT:
            rc = unsent(work, batch, err);
            break;
        case OP_RECONCILE_WAIT:
            rc = wait_more(work, batch, &c, found.count, err);
            break;
        }
    }
    op_mem_free(found.listed);
    op_mem_free(found.remote);
    return rc;
}

enum op_rc op_step_reconcile(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    enum op_rc rc = op_batch_pick(work, OP_STATE_BIT(OP_BATCH_AMBIGUOUS), &batch, err);
    if (rc == OP_NOTFOUND && !err->rc)
        return OP_OK;
    if (rc)
        return rc;
    OP_FAULT(engine, "reconcile.before");
    struct op_listing listing = {0};
    struct op_err why = OP_ERR_INIT;
    rc = op_listing_read(engine, work->lane, batch.intent_ms - LOOK_BACK_MS, &listing, &why);
    if (rc == OP_STOPPED)
        return op_fail(err, OP_STOPPED, "%s", why.msg);
    if (rc)
        rc = op_batch_later(work, &batch, &why, err);
    else
        rc = decide(work, &batch, &listing, err);
    op_listing_release(&listing);
    OP_FAULT(engine, "reconcile.after");
    if (!rc)
        *ret_worked = true;
    return rc;
}

bool op_batch_line_is_ours(struct op_work *work, const struct op_batch *batch,
                           struct op_str custom_id)
{
    int64_t id = 0;
    return op_custom_id_parse(custom_id, op_ledger_tag(work->engine->ledger), batch->nonce,
                              &id);
}

enum op_rc op_batch_disown(struct op_work *work, struct op_batch *batch, struct op_err *err)
{
    extend_baseline(batch, batch->provider_id);
    op_mem_free(batch->provider_id);
    batch->provider_id = op_mem_strdup("");
    batch->provisional = false;
    batch->accepted_ms = 0;
    batch->due_ms = 0;
    return op_work_move(work, batch, OP_BATCH_AMBIGUOUS,
                        "the adopted batch's results are not ours", err);
}
