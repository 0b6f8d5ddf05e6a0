/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "core/retry.h"
#include "engine/listing.h"
#include "engine/work.h"

/* A batch the provider does not know is given up only after this long and so many answers: the 404
 * is often transient, and a wrong key says 404 too (reference/reliability.md section 2). */
#define VANISH_MS    (24 * OP_HOUR_MS)
#define VANISH_TRIES 3
/* created_at may be off by an hour (core/reconcile.h). */
#define LOOK_BACK_MS (2 * OP_HOUR_MS)

enum op_rc op_batch_ask(struct op_engine *engine, const struct op_lane *lane, const char *id,
                        bool cancel, struct op_remote_batch *ret, int64_t *ret_hint_ms,
                        struct op_err *err)
{
    const struct op_provider_ops *provider = lane->provider;
    struct op_exchange x = {0};
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    enum op_rc rc =
        cancel ? provider->cancel(lane, id, &x, err) : provider->get(lane, id, &x, err);
    if (!rc)
        rc = op_lane_exchange(engine, lane, &x, NULL, NULL, &reply, err);
    if (!rc)
        rc = provider->decode_batch(&reply, ret, err);
    if (!rc && (!cancel || ret->id[0]) && strcmp(ret->id, id) != 0)
        rc = op_fail_as(err, OP_REMOTE, OP_DISP_RETRY, "asked for %s, the reply is about %s",
                        id, ret->id);
    if (!rc)
        *ret_hint_ms = op_http_retry_after_ms(&reply, op_engine_now(engine));
    op_http_reply_release(&reply);
    op_exchange_release(&x);
    return rc;
}

/* A 404 is the word of whoever was asked: another account knows nothing of this batch, and a list
 * that has it contradicts the 404. *ret_gone only when neither is so. */
static enum op_rc is_gone(struct op_work *work, const struct op_batch *batch, bool *ret_gone,
                          struct op_err *err)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    *ret_gone = false;
    if (op_batch_sender(batch) != lane->id)
        return OP_OK;
    struct op_listing listing = {0};
    enum op_rc rc =
        op_listing_read(work->engine, lane, batch->accepted_ms - LOOK_BACK_MS, &listing, err);
    bool listed = false;
    for (size_t i = 0; !rc && i < listing.count; i++)
        listed = listed || !strcmp(listing.batches[i].id, batch->provider_id);
    op_listing_release(&listing);
    /* Results that are 404 while the batch is listed are gone; so is a batch that is not listed. */
    *ret_gone = !rc && (!listed || batch->state == OP_BATCH_ENDED);
    return rc;
}

enum op_rc op_batch_missing(struct op_work *work, struct op_batch *batch,
                            const struct op_err *why, struct op_err *err)
{
    int64_t now = op_engine_now(work->engine);
    /* One that lies ahead was written by a wrong clock, and would not be long ago for years. */
    if (!batch->missing_since_ms || batch->missing_since_ms > now)
        batch->missing_since_ms = now;
    if (batch->tries + 1 < VANISH_TRIES || now - batch->missing_since_ms < VANISH_MS)
        return op_batch_later(work, batch, why, err);
    bool gone = false;
    struct op_err unknown = OP_ERR_INIT;
    if (is_gone(work, batch, &gone, &unknown))
        return op_batch_later(work, batch, &unknown, err);
    if (!gone)
        return op_batch_later(work, batch, why, err);
    op_log(OP_EVENT_BATCH_VANISHED, OP_F("batch", batch->id),
           OP_T("provider_id", batch->provider_id));
    return op_work_move_unpack(work, batch, OP_BATCH_VANISHED, why->msg, true, err);
}

static enum op_rc poll_failed(struct op_work *work, struct op_batch *batch,
                              const struct op_err *why, struct op_err *err)
{
    if (why->rc == OP_STOPPED)
        return op_fail(err, OP_STOPPED, "%s", why->msg);
    if (why->rc == OP_NOTFOUND)
        return op_batch_missing(work, batch, why, err);
    if (op_disp_pauses(why->disp))
        op_lane_pause(work->engine, op_batch_lane(work, batch), why);
    return op_batch_later(work, batch, why, err);
}

/* The queue that refused it: named by the provider, or told by the disposition, when something of
 * ours was in it. */
static int64_t queue_told(const struct op_remote_batch *remote)
{
    if (remote->failure_limit > 0)
        return remote->failure_limit;
    return remote->failure_disp == OP_DISP_RETRY_AFTER ? 0 : -1;
}

/* Looked into after it was taken, and refused whole. */
static enum op_rc failed(struct op_work *work, struct op_batch *batch,
                         const struct op_remote_batch *remote, struct op_err *err)
{
    struct op_err why = OP_ERR_INIT;
    if (batch->cancel_wanted)
        return op_work_cancel_batch(work, batch, OP_BATCH_REJECTED,
                                    "canceled before anything of it was bought", err);
    op_err_set_as(&why, OP_REMOTE, remote->failure_disp, "%s",
                  remote->failure[0] ? remote->failure
                                     : "the provider failed the batch as a whole; nothing was "
                                       "bought");
    if (why.disp == OP_DISP_FATAL || why.disp == OP_DISP_AMBIGUOUS)
        why.disp = OP_DISP_REJECT;
    why.retry_after_ms = -1;
    return op_batch_refused(work, batch, OP_BATCH_REJECTED, queue_told(remote), &why, err);
}

static enum op_rc polled(struct op_work *work, struct op_batch *batch,
                         const struct op_remote_batch *remote, int64_t hint_ms,
                         struct op_err *err)
{
    struct op_engine *engine = work->engine;
    op_batch_take_remote(engine, batch, remote);
    batch->tries = 0;
    batch->missing_since_ms = 0;
    int64_t now = op_engine_now(engine);
    enum op_rc rc;
    switch (remote->state) {
    case OP_REMOTE_ENDED:
        batch->due_ms = 0;
        rc = op_queue_passed(work, batch, err);
        if (!rc)
            rc = op_work_move(work, batch, OP_BATCH_ENDED, remote->state_name, err);
        if (!rc)
            op_log(OP_EVENT_BATCH_ENDED, OP_F("batch", batch->id),
                   OP_T("provider_id", batch->provider_id));
        break;
    case OP_REMOTE_FAILED:
        rc = failed(work, batch, remote, err);
        break;
    case OP_REMOTE_UNKNOWN:
        op_log(OP_EVENT_NOTE, OP_F("batch", batch->id),
               OP_T("unknown_state", remote->state_name));
        /* fallthrough */
    case OP_REMOTE_IN_PROGRESS:
    case OP_REMOTE_CANCELING:
    default:
        batch->due_ms =
            now + op_poll_delay_ms(now - batch->accepted_ms, hint_ms, engine->options.poll_ms);
        op_engine_due(engine, batch->due_ms);
        rc = op_ledger_batch_save(engine->ledger, batch, err);
        op_log(OP_EVENT_BATCH_POLLED, OP_F("batch", batch->id),
               OP_T("state", remote->state_name));
        break;
    }
    OP_FAULT(engine, "poll.committed");
    return rc;
}

struct cancel_pick {
    struct op_work *work;
    int64_t id;
};

static enum op_rc find_cancel(void *arg, const struct op_batch *batch, struct op_err *err)
{
    struct cancel_pick *pick = arg;
    (void)err;
    if (!op_work_owns(pick->work, batch))
        return OP_OK;
    /* One adopted without proof may be somebody else's: it is left to end by itself. */
    if (batch->cancel_wanted && !batch->cancel_sent && !batch->provisional && !pick->id &&
        !op_batch_is_realtime(batch))
        pick->id = batch->id;
    return OP_OK;
}

/* It may have come too late, and only the batch's own state says so: asked to cancel again and
 * again, its answers would never be fetched. */
static enum op_rc cancel_failed(struct op_work *work, struct op_batch *batch,
                                const struct op_err *why, struct op_err *err)
{
    struct op_remote_batch remote = {0};
    struct op_err unknown = OP_ERR_INIT;
    int64_t hint = -1;
    if (why->rc != OP_STOPPED &&
        !op_batch_ask(work->engine, op_batch_lane(work, batch), batch->provider_id, false,
                      &remote, &hint, &unknown) &&
        (remote.state == OP_REMOTE_ENDED || remote.state == OP_REMOTE_FAILED))
        return polled(work, batch, &remote, hint, err);
    return poll_failed(work, batch, why, err);
}

/* A cancel may be asked twice without harm, so it needs no gate. */
static enum op_rc send_cancel(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    struct op_batch_filter filter = {.job_id = work->job.id,
                                     .states = OP_STATE_BIT(OP_BATCH_ACCEPTED)};
    struct cancel_pick pick = {.work = work};
    enum op_rc rc = op_ledger_batches(work->engine->ledger, &filter, find_cancel, &pick, err);
    if (rc || !pick.id)
        return rc;
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    rc = op_ledger_batch_get(work->engine->ledger, pick.id, &batch, err);
    if (rc || !op_engine_is_due(work->engine, batch.due_ms, op_engine_now(work->engine)))
        return rc;
    *ret_worked = true;
    struct op_remote_batch remote = {0};
    struct op_err why = OP_ERR_INIT;
    int64_t hint = -1;
    rc = op_batch_ask(work->engine, op_batch_lane(work, &batch), batch.provider_id, true,
                      &remote, &hint, &why);
    if (rc && why.disp != OP_DISP_REJECT)
        return cancel_failed(work, &batch, &why, err);
    /* A cancel that the provider refuses has come too late: the batch is ending by itself. */
    batch.cancel_sent = true;
    batch.due_ms = 0;
    op_log(OP_EVENT_BATCH_CANCELED, OP_F("batch", batch.id),
           OP_T("provider_id", batch.provider_id));
    return op_ledger_batch_save(work->engine->ledger, &batch, err);
}

enum op_rc op_step_poll(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    enum op_rc rc = send_cancel(work, ret_worked, err);
    if (rc || *ret_worked)
        return rc;
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    rc = op_batch_pick(work, NULL, OP_STATE_BIT(OP_BATCH_ACCEPTED), &batch, err);
    if (rc == OP_NOTFOUND && !err->rc)
        return OP_OK;
    if (rc)
        return rc;
    struct op_remote_batch remote = {0};
    struct op_err why = OP_ERR_INIT;
    int64_t hint = -1;
    *ret_worked = true;
    if (op_batch_ask(work->engine, op_batch_lane(work, &batch), batch.provider_id, false,
                     &remote, &hint, &why))
        return poll_failed(work, &batch, &why, err);
    return polled(work, &batch, &remote, hint, err);
}
