/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>

#include "base/json_out.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "core/retry.h"
#include "engine/orphan.h"
#include "engine/pack.h"
#include "ledger/blackbox.h"

const char op_too_large[] = "too large: ";

/* The list must reach back further than any create of ours can still be in doubt: a batch lives at
 * most 24 h, so two days (reference/reliability.md 3.2.1). */
#define BASELINE_MS (48 * OP_HOUR_MS)
/* What an answer may take on disk: bytes per token of answer, plus its envelope
 * (reference/reliability.md 3.10). */
#define ANSWER_BYTES_PER_TOKEN 6
#define ANSWER_BYTES_FIXED     2048

struct sending {
    struct op_work *work;
    struct op_batch *batch;
};

enum op_rc op_batch_announce(struct op_work *work, const struct op_batch *batch, bool withdrawn,
                             struct op_err *err)
{
    struct op_engine *engine = work->engine;
    struct op_buf line;
    op_buf_init(&line, 4096);
    struct op_json_out o;
    op_json_out_init(&o, &line, 0);
    op_json_out_object(&o);
    op_json_out_kv_text(&o, "ledger", op_ledger_uuid(engine->ledger));
    op_json_out_kv_int(&o, "batch", batch->id);
    op_json_out_kv_text(&o, "nonce", batch->nonce);
    op_json_out_kv_text(&o, "sha256", batch->sha256);
    op_json_out_kv_int(&o, "count", batch->count);
    op_json_out_kv_text(&o, "provider", op_batch_lane(work, batch)->provider->name);
    if (withdrawn)
        op_json_out_kv_bool(&o, "withdrawn", true);
    if (op_batch_is_realtime(batch))
        op_json_out_kv_bool(&o, "realtime", true);
    op_json_out_end_object(&o);
    enum op_rc rc = op_manifest_add(engine->spool, line.ptr, err);
    op_buf_release(&line);
    return rc;
}

/* The move through the door and the look at the queues are one transaction: whatever else is about
 * to be sent, the room that was seen is the room that is taken. */
static enum op_rc pass_door(struct sending *s, struct op_err *err)
{
    struct op_ledger *ledger = s->work->engine->ledger;
    struct op_batch *batch = s->batch;
    enum op_batch_state state = batch->state;
    int64_t epoch = batch->epoch;
    struct op_room room;
    enum op_rc rc = op_ledger_begin(ledger, err);
    if (rc)
        return rc;
    rc = op_queue_room(s->work, batch, &room, err);
    if (!rc && !room.fits)
        rc = op_fail_as(err, OP_CONFLICT, OP_DISP_RETRY, "%s", room.why);
    batch->sent_ms = op_engine_now(s->work->engine);
    if (!rc)
        rc = op_ledger_batch_go(ledger, batch, OP_BATCH_SENDING, "", err);
    if (!rc)
        rc = op_ledger_commit(ledger, err);
    if (!rc)
        return OP_OK;
    op_ledger_rollback(ledger);
    batch->state = state;
    batch->epoch = epoch;
    batch->sent_ms = 0;
    return rc;
}

/*
 * The door. Every byte but the last is on its way. Durability point: the manifest line, then the
 * move to SENDING, are on disk before the last byte is released; without that byte the provider
 * has nothing it could run. From here on nothing sends this batch again.
 */
static enum op_rc gate(void *arg, struct op_err *err)
{
    struct sending *s = arg;
    struct op_engine *engine = s->work->engine;
    OP_FAULT(engine, "send.gate.before");
    enum op_rc rc = op_batch_announce(s->work, s->batch, false, err);
    if (rc)
        return rc;
    rc = pass_door(s, err);
    OP_FAULT(engine, "send.gate.after");
    /* Announced, and provably not sent. If this cannot be written either, the next start takes the
     * announcement at its word and looks for the batch in the account before it sends it. */
    struct op_err ignored = OP_ERR_INIT;
    if (rc && op_batch_announce(s->work, s->batch, true, &ignored))
        op_log(OP_EVENT_NOTE, OP_F("batch", s->batch->id), OP_T("problem", ignored.msg));
    return rc;
}

static enum op_rc check_room(struct op_work *work, const struct op_batch *batch,
                             struct op_err *err)
{
    int64_t longest = 0;
    for (size_t i = 0; i < work->def.request_count; i++) {
        if (work->plan->requests[i].max_tokens > longest)
            longest = work->plan->requests[i].max_tokens;
    }
    int64_t need = 0, total = 0;
    if (__builtin_mul_overflow(longest, ANSWER_BYTES_PER_TOKEN, &need) ||
        __builtin_add_overflow(need, ANSWER_BYTES_FIXED, &need) ||
        __builtin_mul_overflow(need, batch->count, &total) ||
        __builtin_add_overflow(total, batch->bytes, &total))
        return op_fail(err, OP_INVAL, "max_tokens is beyond any disk");
    enum op_rc rc = op_spool_headroom(work->engine->spool, total, err);
    /* What costs nothing need not be kept through the worst. */
    return rc || op_batch_lane(work, batch)->emulated
               ? rc
               : op_blackbox_prepare(work->engine->env, work->engine->options.state_dir,
                                     work->engine->options.ballast_bytes, err);
}

/* *ret_adopted: the list holds what this batch, or another, was to buy again. */
static enum op_rc store_baseline(struct op_work *work, struct op_batch *batch,
                                 bool *ret_adopted, struct op_err *err)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    const struct op_provider_ops *provider = lane->provider;
    if (provider->has_tags && provider->has_upload) /* whose reply told the server's time */
        return op_sweep_before_send(work, batch, NULL, ret_adopted, err);
    struct op_listing listing = {0};
    enum op_rc rc = op_listing_read(work->engine, lane, provider->has_tags ? -1 : -BASELINE_MS,
                                    &listing, err);
    if (!rc && !provider->has_tags)
        rc = op_sweep_before_send(work, batch, &listing, ret_adopted, err);
    if (rc || *ret_adopted) {
        op_listing_release(&listing);
        return rc;
    }
    if (provider->has_tags) /* the tag alone decides: what else is there does not matter */
        listing.count = 0;
    struct op_buf text;
    op_buf_init(&text, 64 * 1024 * 1024);
    op_baseline_write(&listing, lane->id, &text);
    batch->intent_ms = listing.server_ms;
    op_mem_free(batch->baseline);
    batch->baseline = op_buf_take(&text);
    op_buf_release(&text);
    op_listing_release(&listing);
    return op_ledger_batch_save(work->engine->ledger, batch, err);
}

/* A step that failed without consequence is tried again later. */
enum op_rc op_batch_later(struct op_work *work, struct op_batch *batch,
                          const struct op_err *why, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    batch->tries++;
    int64_t wait =
        op_retry_delay_ms(batch->tries > 1000 ? 1000 : (int)batch->tries,
                          why->disp == OP_DISP_RETRY_AFTER ? why->retry_after_ms : -1,
                          op_engine_random32(engine));
    batch->due_ms = op_engine_now(engine) + wait;
    char text[OP_TIME_TEXT];
    op_duration_format(wait, text);
    op_log(OP_EVENT_NET_RETRY, OP_F("batch", batch->id), OP_T("in", text),
           OP_T("why", why->msg));
    op_engine_due(engine, batch->due_ms);
    return op_ledger_batch_save(engine->ledger, batch, err);
}

static enum op_rc accepted(struct op_work *work, struct op_batch *batch,
                           const struct op_remote_batch *remote, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    op_batch_take_remote(engine, batch, remote);
    batch->tries = 0;
    batch->due_ms = op_engine_now(engine) + op_poll_delay_ms(0, -1, engine->options.poll_ms);
    OP_FAULT(engine, "send.accepted.before");
    enum op_rc rc = op_work_accept(work, batch, remote, err);
    OP_FAULT(engine, "send.accepted.after");
    if (!rc)
        rc = op_work_waits(work, NULL, err);
    if (!rc)
        op_log(OP_EVENT_BATCH_SENT, OP_F("batch", batch->id), OP_F("requests", batch->count),
               OP_T("provider_id", remote->id));
    return rc;
}

/* Refused whole: REJECTED after the gate, DROPPED when the refusal came before the last byte. */
enum op_rc op_batch_refused(struct op_work *work, struct op_batch *batch,
                            enum op_batch_state to, int64_t told, const struct op_err *why,
                            struct op_err *err)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    bool again = why->disp == OP_DISP_RETRY_AFTER || why->disp == OP_DISP_RETRY;
    /* Its requests are sent again under another tag, with an upload of their own. */
    op_upload_drop(work, batch);
    if (told >= 0 || (again && batch->state == OP_BATCH_ACCEPTED)) {
        /* Waiting for room is no failure, and other models go on meanwhile. */
        enum op_rc rc = op_queue_refused(work, batch, told, why, err);
        return rc ? rc : op_work_move_unpack(work, batch, to, why->msg, false, err);
    }
    op_log(OP_EVENT_BATCH_REJECTED, OP_F("batch", batch->id), OP_T("why", why->msg));
    bool fell_back = false;
    enum op_rc rc = op_work_fall_back(work, lane, why, &fell_back, err);
    if (rc || fell_back)
        return rc ? rc
                  : op_work_move_unpack(work, batch, to, op_work_no_batches(work, lane), false,
                                        err);
    if (op_disp_pauses(why->disp) || why->disp == OP_DISP_RETRY_AFTER ||
        why->disp == OP_DISP_RETRY) {
        OP_CLEANUP(op_mem_freep)
        char *reason =
            op_mem_printf("%s%s", why->disp == OP_DISP_QUOTA ? op_no_quota : "", why->msg);
        op_lane_pause(work->engine, lane, why);
        return op_work_move_unpack(work, batch, to, reason, false, err);
    }
    if (why->disp == OP_DISP_SPLIT && batch->count > 1) {
        work->plan->batch_requests = (batch->count + 1) / 2;
        return op_work_move_unpack(work, batch, to, why->msg, false, err);
    }
    return op_work_fail_batch(work, batch, to, why->msg, err);
}

static enum op_rc ambiguous(struct op_work *work, struct op_batch *batch,
                            const struct op_http_reply *reply, const struct op_err *why,
                            struct op_err *err)
{
    struct op_engine *engine = work->engine;
    /* Server time or nothing: reconcile.c puts the first listing's time where there was no Date. */
    int64_t date = op_http_date_ms(reply);
    batch->last_try_ms = date > batch->intent_ms ? date : 0;
    batch->due_ms = op_engine_now(engine) + OP_SECOND_MS;
    op_log(OP_EVENT_BATCH_AMBIGUOUS, OP_F("batch", batch->id), OP_T("why", why->msg));
    /* Somebody on the way found it too large, in words of his own: should it prove unsent, it goes
     * in halves (reconcile.c). */
    if (reply->gate_passed && reply->status == 413) {
        op_mem_free(batch->evidence);
        batch->evidence = op_mem_printf(
            "%s%s, or something on the way there, answered 413 to a batch of %lld bytes",
            op_too_large, op_batch_lane(work, batch)->provider->name, (long long)batch->bytes);
    }
    return op_work_move(work, batch, OP_BATCH_AMBIGUOUS, why->msg, err);
}

static enum op_rc settle_create(struct op_work *work, struct op_batch *batch,
                                enum op_rc transport, const struct op_http_reply *reply,
                                struct op_err *sent_err, struct op_err *err)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    const struct op_provider_ops *provider = lane->provider;
    struct op_remote_batch remote = {.failure_limit = -1};
    if (!reply->gate_passed) {
        /* Nothing was bought: the last byte never left. A final reply may have come early. */
        if (!transport && reply->status) {
            (void)provider->decode_error(reply, sent_err);
            if (sent_err->disp == OP_DISP_SPLIT || sent_err->disp == OP_DISP_REJECT)
                return op_batch_refused(work, batch, OP_BATCH_DROPPED, -1, sent_err, err);
            if (op_disp_pauses(sent_err->disp))
                op_lane_pause(work->engine, lane, sent_err);
        }
        return op_batch_later(work, batch, sent_err, err);
    }
    struct op_err why = OP_ERR_INIT;
    enum op_create_class class_ = provider->decode_create(transport, reply, &remote, &why);
    if (!why.rc && sent_err->rc)
        why = *sent_err;
    switch (class_) {
    case OP_CREATE_ACCEPTED:
        return accepted(work, batch, &remote, err);
    case OP_CREATE_REJECTED:
        return op_batch_refused(work, batch, OP_BATCH_REJECTED, remote.failure_limit, &why,
                                err);
    case OP_CREATE_AMBIGUOUS:
        break;
    }
    return ambiguous(work, batch, reply, &why, err);
}

static enum op_rc send_batch(struct op_work *work, struct op_batch *batch, struct op_err *err)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    struct op_engine *engine = work->engine;
    struct sending s = {.work = work, .batch = batch};
    struct op_body body = {.fd = -1};
    struct op_exchange x = {0};
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    char tag[OP_TAG_MAX];
    op_batch_tag(engine, batch, tag);
    const struct op_create what = op_batch_create(batch, tag);
    enum op_rc rc = lane->provider->create(lane, &what, &x, err);
    if (!rc)
        rc = op_body_open(engine, &x, batch->file, batch->bytes, &body, err);
    if (!rc) {
        struct op_http_request request;
        op_body_request(&body, &request);
        request.gate = gate;
        request.gate_arg = &s;
        struct op_err sent_err = OP_ERR_INIT;
        OP_FAULT(engine, "send.built");
        enum op_rc transport = op_http_perform(engine->http, &request, &reply, &sent_err);
        OP_FAULT(engine, "send.released");
        rc = settle_create(work, batch, transport, &reply, &sent_err, err);
    }
    op_http_reply_release(&reply);
    op_body_close(&body);
    op_exchange_release(&x);
    return rc;
}

struct lane_use {
    const struct op_work *work;
    const struct op_lane *lane;
    int64_t in_doubt; /* the job whose create is; 0 none */
    bool priming;
    int64_t prime; /* the first of the job's stubs that is not sent yet; 0 none */
};

static enum op_rc see_use(void *arg, const struct op_batch *batch, struct op_err *err)
{
    struct lane_use *use = arg;
    (void)err;
    if ((batch->state == OP_BATCH_SENDING || batch->state == OP_BATCH_AMBIGUOUS) &&
        op_batch_sender(batch) == use->lane->id)
        use->in_doubt = batch->job_id;
    if (batch->job_id != use->work->job.id || !batch->prime ||
        !op_work_owns(use->work, batch) || op_batch_lane(use->work, batch) != use->lane)
        return OP_OK;
    use->priming = true;
    bool unsent = batch->state == OP_BATCH_BUILT || batch->state == OP_BATCH_UPLOADED;
    if (unsent && !use->prime)
        use->prime = batch->id;
    return OP_OK;
}

/* Looks over everything that is not settled: whether the lane is taken by a doubtful create, and
 * whether the job's prompt caches are still being warmed. */
static enum op_rc lane_use(struct op_work *work, const struct op_lane *lane,
                           struct lane_use *ret, struct op_err *err)
{
    struct op_batch_filter filter = {
        .states = OP_STATE_BIT(OP_BATCH_BUILT) | OP_STATE_BIT(OP_BATCH_UPLOADED) |
                  OP_STATE_BIT(OP_BATCH_SENDING) | OP_STATE_BIT(OP_BATCH_AMBIGUOUS) |
                  OP_STATE_BIT(OP_BATCH_ACCEPTED) | OP_STATE_BIT(OP_BATCH_ENDED) |
                  OP_STATE_BIT(OP_BATCH_FETCHED)};
    *ret = (struct lane_use){.work = work, .lane = lane};
    return op_ledger_batches(work->engine->ledger, &filter, see_use, ret, err);
}

static enum op_rc capped(struct op_work *work, const char *reason, struct op_err *err)
{
    const struct op_job *job = &work->job;
    if (!strcmp(job->reason ? job->reason : "", reason))
        return OP_OK;
    op_log(OP_EVENT_JOB_CAPPED, OP_F("job", job->id), OP_T("why", reason));
    return op_ledger_job_reason(work->engine->ledger, job->id, reason, err);
}

/* A batch may hold requests of several models (pack.c), so one that has no price is enough. */
static bool model_without_price(const struct op_work *work, const struct op_price_list *prices,
                                const struct op_batch *batch, char ret[OP_MODEL_MAX])
{
    struct op_str rest = op_str_from(batch->model);
    do {
        struct op_str model = op_str_trim(op_str_cut(&rest, ','));
        snprintf(ret, OP_MODEL_MAX, OP_STR_FMT, OP_STR_ARG(model));
        if (!op_price_find(prices, op_batch_lane(work, batch)->provider->name, ret, 0))
            return true;
    } while (rest.len);
    return false;
}

/* A batch that was built when one of its models had no price has too little reserved for a cap, and
 * is frozen so: once the list has the price, it is built anew. */
enum op_rc op_batch_price_anew(struct op_work *work, struct op_batch *batch, bool *ret_done,
                               struct op_err *err)
{
    static const char why[] = "its models have a price now";
    const struct op_price_list *now = &work->engine->prices->list, *then = now;
    char unpriced[OP_MODEL_MAX];
    enum op_rc rc = OP_OK;
    *ret_done = false;
    if (work->job.max_cost_microusd)
        rc = op_batch_prices(work->engine, batch, &then, err);
    if (rc || then == now || !model_without_price(work, then, batch, unpriced) ||
        model_without_price(work, now, batch, unpriced))
        return rc;
    op_log(OP_EVENT_NOTE, OP_F("batch", batch->id), OP_T("packed_again", why));
    op_upload_drop(work, batch);
    *ret_done = true;
    return op_work_move_unpack(work, batch, OP_BATCH_DROPPED, why, false, err);
}

/* True when the cap forbids it; said once, in the job's reason. */
static enum op_rc over_cap(struct op_work *work, const struct op_batch *batch, bool *ret,
                           struct op_err *err)
{
    const struct op_job *job = &work->job;
    *ret = false;
    if (!job->max_cost_microusd)
        return OP_OK;
    int64_t in_flight = 0;
    char reason[300];
    const struct op_price_list *prices = NULL;
    enum op_rc rc = op_work_in_flight(work, &in_flight, err);
    if (!rc)
        rc = op_batch_prices(work->engine, batch, &prices, err);
    char unpriced[OP_MODEL_MAX];
    if (!rc && model_without_price(work, prices, batch, unpriced)) {
        *ret = true;
        snprintf(
            reason, sizeof(reason),
            "the cost cap cannot be kept: the price list has no price for the model %.100s; "
            "add one (--prices) or leave out --max-cost",
            unpriced);
        return capped(work, reason, err);
    }
    if (rc || job->counts.spent_microusd + in_flight + batch->reserved_microusd <=
                  job->max_cost_microusd)
        return rc;
    *ret = true;
    snprintf(reason, sizeof(reason),
             "the cost cap: batch-%lld may cost %.6f USD, %.6f of %.6f are spent or in flight; "
             "raise it with --max-cost",
             (long long)batch->id, (double)batch->reserved_microusd / 1e6,
             (double)(job->counts.spent_microusd + in_flight) / 1e6,
             (double)job->max_cost_microusd / 1e6);
    return capped(work, reason, err);
}

enum op_rc op_batch_may_send(struct op_work *work, struct op_batch *batch, bool *ret_go,
                             struct op_err *err)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    struct op_engine *engine = work->engine;
    bool paused = false, capped = false;
    *ret_go = false;
    struct op_str why;
    if (op_ledger_is_suspect(engine->ledger, &why))
        return op_fail(err, OP_CONFLICT, OP_STR_FMT "; run `%s`", OP_STR_ARG(why),
                       op_ledger_remedy(engine->ledger));
    struct lane_use use;
    enum op_rc rc = lane_use(work, lane, &use, err);
    bool is_serial = lane->provider->lane_is_serial && !op_work_is_realtime(work, lane);
    if (!rc && use.in_doubt && is_serial) {
        /* Whoever's create it is: this job cannot go on before it is cleared up. */
        if (use.in_doubt != work->job.id)
            work->waits_for_job = use.in_doubt;
        return OP_OK;
    }
    /* Stubs first, wherever planning has put them. */
    if (!rc && use.prime && use.prime != batch->id) {
        op_batch_release(batch);
        rc = op_ledger_batch_get(engine->ledger, use.prime, batch, err);
    }
    if (rc || (use.priming && !batch->prime))
        return rc;
    if (!op_engine_is_due(engine, batch->due_ms, op_engine_now(engine))) {
        op_engine_due(engine, batch->due_ms);
        return OP_OK;
    }
    rc = op_lane_is_paused(engine, lane, &paused, err);
    if (!rc && !paused)
        rc = over_cap(work, batch, &capped, err);
    if (rc || paused || capped)
        return rc;
    rc = check_room(work, batch, err);
    if (!rc)
        *ret_go = true;
    return rc;
}

/* The payload is what was built, or its requests fail: its bytes cannot be had again from here. */
static enum op_rc check_payload(struct op_work *work, struct op_batch *batch, bool *ret_lost,
                                struct op_err *err)
{
    struct op_err lost = OP_ERR_INIT;
    enum op_rc rc =
        op_spool_verify(work->engine->spool, batch->file, batch->bytes, batch->sha256, &lost);
    *ret_lost = op_is_lost(rc, &lost);
    if (*ret_lost)
        return op_work_fail_batch(work, batch, OP_BATCH_DROPPED, lost.msg, err);
    if (rc)
        *err = lost;
    return rc;
}

/* One larger than its queue comes back as several that fit. */
static enum op_rc make_smaller(struct op_work *work, struct op_batch *batch, bool *ret_done,
                               struct op_err *err)
{
    struct op_room room;
    enum op_rc rc = op_queue_room(work, batch, &room, err);
    *ret_done = !rc && room.never;
    if (!*ret_done)
        return rc;
    op_log(OP_EVENT_NOTE, OP_F("batch", batch->id), OP_T("packed_again", room.why));
    op_upload_drop(work, batch);
    return op_work_move_unpack(work, batch, OP_BATCH_DROPPED, room.why, false, err);
}

static enum op_rc send_or_upload(struct op_work *work, struct op_batch *batch,
                                 struct op_err *err)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    bool done = false;
    enum op_rc rc = check_payload(work, batch, &done, err);
    if (!rc && !done)
        rc = make_smaller(work, batch, &done, err);
    if (rc || done)
        return rc;
    if (op_batch_needs_upload(work, batch))
        return op_batch_upload(work, batch, err);
    struct op_err why = OP_ERR_INIT;
    bool adopted = false;
    rc = store_baseline(work, batch, &adopted, &why);
    if (!rc)
        return adopted ? OP_OK : send_batch(work, batch, err);
    if (rc == OP_STOPPED)
        return op_fail(err, OP_STOPPED, "%s", why.msg);
    bool fell_back = false;
    rc = op_work_fall_back(work, lane, &why, &fell_back, err);
    if (rc || fell_back)
        return rc;
    /* No list, no send: without a baseline a doubtful create could not be told apart. */
    if (op_disp_pauses(why.disp))
        op_lane_pause(work->engine, lane, &why);
    return op_batch_later(work, batch, &why, err);
}

/* *ret_room: of what the lane's batches wait for, if they do. */
static enum op_rc send_on(struct op_work *work, const struct op_lane *lane, bool *ret_worked,
                          struct op_room *ret_room, struct op_err *err)
{
    bool is_realtime = op_work_is_realtime(work, lane);
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    enum op_rc rc = is_realtime
                        ? op_batch_pick(work, lane, OP_STATE_BIT(OP_BATCH_BUILT), &batch, err)
                        : op_queue_pick(work, lane, &batch, ret_room, err);
    if (rc == OP_NOTFOUND && !err->rc)
        return OP_OK;
    if (rc)
        return rc;
    if (work->job.state == OP_JOB_CANCELING || batch.cancel_wanted) {
        *ret_worked = true;
        op_upload_drop(work, &batch);
        return op_work_cancel_batch(work, &batch, OP_BATCH_DROPPED,
                                    "canceled before it was sent", err);
    }
    if (is_realtime)
        return OP_OK; /* realtime.c takes it */
    bool go = false;
    rc = op_batch_price_anew(work, &batch, ret_worked, err);
    if (rc || *ret_worked)
        return rc;
    rc = op_batch_may_send(work, &batch, &go, err);
    if (!rc && !go)
        return OP_OK;
    if (!rc)
        rc = send_or_upload(work, &batch, err);
    if (rc)
        return op_err_wrap(err, "batch-%lld is not sent", (long long)batch.id);
    *ret_worked = true;
    return OP_OK;
}

/* The lanes take turns, and one that is full or paused holds none of the others up. */
enum op_rc op_step_send(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    if (op_engine_stopped(work->engine) || work->imported)
        return OP_OK;
    struct op_room waits = {0};
    size_t first = work->next_lane;
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && !*ret_worked && i < work->lane_count; i++) {
        size_t at = (first + i) % work->lane_count;
        struct op_room room = {0};
        rc = send_on(work, work->lanes[at].lane, ret_worked, &room, err);
        work->next_lane = at + 1;
        if (!waits.why[0])
            waits = room;
    }
    if (rc || *ret_worked || !waits.why[0])
        return rc;
    if (waits.other_job)
        work->waits_for_job = waits.other_job;
    return op_work_waits(work, waits.why, err);
}
