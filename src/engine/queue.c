/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "core/retry.h"
#include "core/window.h"
#include "engine/work.h"

/*
 * The queues of an account at its provider: what may be enqueued there at once, per model in tokens,
 * for all models in batches, and how many batches may be made in an hour. What is enqueued is counted
 * by the states of batches, so nothing has to be given back; what the limits are is learned.
 */

/* A refusal that has nothing to do with what is ours in the queue is tried again after half a
 * minute at first, not at once: each try is an upload and a create. */
#define FIRST_HOLD_TRIES 5

static bool has_queue(const struct op_provider_ops *provider)
{
    return provider->one_model || provider->limits.max_enqueued_tokens > 0;
}

struct queue {
    struct op_queue_row row;
    struct op_queue_use use;
    struct op_calibration calibration;
    struct op_window window;
};

static enum op_rc look(struct op_work *work, const struct op_lane *lane, const char *model,
                       struct queue *ret, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    int64_t since = op_engine_now(engine) - OP_HOUR_MS;
    enum op_rc rc = op_ledger_queue_use(engine->ledger, lane->id, model, work->job.id, since,
                                        &ret->use, err);
    if (!rc)
        rc = op_ledger_calibration_get(engine->ledger, lane->provider->name, model,
                                       &ret->calibration, err);
    if (!rc)
        rc = op_ledger_queue_get(engine->ledger, lane->id, model, &ret->row, err);
    if (rc)
        return rc;
    ret->window = (struct op_window){.limit = ret->row.limit_tokens,
                                     .named = ret->row.named,
                                     .learned_ms = ret->row.learned_ms};
    if (!ret->window.limit)
        ret->window.limit = lane->provider->limits.max_enqueued_tokens;
    return OP_OK;
}

static int64_t tokens_of(const struct queue *q, const struct op_batch *batch)
{
    return op_calibration_apply(&q->calibration, batch->tokens);
}

static int64_t tokens_queued(const struct queue *q)
{
    return op_calibration_apply(&q->calibration, q->use.tokens);
}

enum op_rc op_queue_batch_tokens(struct op_work *work, const struct op_lane *lane,
                                 const char *model, int64_t *ret, struct op_err *err)
{
    struct queue q = {0};
    *ret = 0;
    if (!has_queue(lane->provider))
        return OP_OK;
    enum op_rc rc = look(work, lane, model, &q, err);
    int64_t most = rc ? 0 : op_window_batch(&q.window);
    /* In tokens as they are estimated, because that is what the packer counts. */
    if (most && q.calibration.billed > 0) {
        __int128 n = (__int128)most * q.calibration.estimated / q.calibration.billed;
        most = n > INT64_MAX ? INT64_MAX : n < 1 ? 1 : (int64_t)n;
    }
    *ret = most;
    op_queue_row_release(&q.row);
    return rc;
}

enum op_rc op_queue_limit(struct op_work *work, const struct op_lane *lane, const char *model,
                          int64_t *ret_tokens, bool *ret_learned, struct op_err *err)
{
    OP_CLEANUP(op_queue_row_release) struct op_queue_row row = {0};
    *ret_tokens = lane->provider->limits.max_enqueued_tokens;
    *ret_learned = false;
    if (!work->engine->ledger || !has_queue(lane->provider))
        return OP_OK;
    enum op_rc rc = op_ledger_queue_get(work->engine->ledger, lane->id, model, &row, err);
    *ret_learned = !rc && row.limit_tokens > 0;
    if (*ret_learned)
        *ret_tokens = row.limit_tokens;
    return rc;
}

static void judge(const struct op_work *work, const struct op_batch *batch,
                  const struct queue *q, struct op_room *ret)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    const struct op_provider_limits *limits = &lane->provider->limits;
    const struct op_engine *engine = work->engine;
    int64_t now = engine->env->ops->now_ms(engine->env);
    *ret = (struct op_room){.other_job = q->use.other_job};
    if (limits->max_open && q->use.lane_batches >= limits->max_open) {
        ret->lane_is_full = true;
        snprintf(ret->why, sizeof(ret->why), "%lld batches are open, %s takes no more at once",
                 (long long)q->use.lane_batches, lane->provider->name);
    } else if (limits->max_creates_per_hour && q->use.creates >= limits->max_creates_per_hour) {
        ret->lane_is_full = true;
        ret->due_ms = q->use.first_create_ms + OP_HOUR_MS;
        snprintf(ret->why, sizeof(ret->why),
                 "%lld batches were made within an hour, %s allows %lld",
                 (long long)q->use.creates, lane->provider->name,
                 (long long)limits->max_creates_per_hour);
    } else if (!op_engine_is_due(engine, q->row.hold_until_ms, now)) {
        ret->due_ms = q->row.hold_until_ms;
        snprintf(ret->why, sizeof(ret->why), "%.180s", q->row.reason);
    } else if (has_queue(lane->provider) && q->window.limit && batch->count > 1 &&
               tokens_of(q, batch) > q->window.limit) {
        ret->never = true;
        snprintf(ret->why, sizeof(ret->why),
                 "its %lld tokens are more than the queue of %.80s takes (%lld)",
                 (long long)tokens_of(q, batch), batch->model, (long long)q->window.limit);
    } else if (has_queue(lane->provider) &&
               !op_window_fits(&q->window, tokens_queued(q), tokens_of(q, batch))) {
        snprintf(ret->why, sizeof(ret->why),
                 "%lld of %lld tokens are enqueued for %.80s, the next batch has %lld",
                 (long long)tokens_queued(q), (long long)q->window.limit, batch->model,
                 (long long)tokens_of(q, batch));
    } else {
        ret->fits = true;
    }
}

enum op_rc op_queue_room(struct op_work *work, const struct op_batch *batch,
                         struct op_room *ret, struct op_err *err)
{
    struct queue q = {0};
    enum op_rc rc = look(work, op_batch_lane(work, batch), batch->model, &q, err);
    if (!rc)
        judge(work, batch, &q, ret);
    op_queue_row_release(&q.row);
    return rc;
}

/* --- the next one ----------------------------------------------------------------------------- */

#define FULL_MAX \
    16 /* models remembered as full during one walk; others are asked about again */

struct pick {
    struct op_work *work;
    const struct op_lane *lane;
    int64_t now_ms;
    int64_t id;
    struct op_room room; /* of the first that has none */
    bool lane_is_full;
    char *full[FULL_MAX];
    size_t full_count;
};

/* Batches of a model go in their order: behind one that waits none is tried. */
static bool is_known_full(const struct pick *pick, const struct op_batch *batch)
{
    bool full = pick->lane_is_full;
    for (size_t i = 0; i < pick->full_count; i++)
        full = full || !strcmp(pick->full[i], batch->model);
    return full;
}

static enum op_rc consider(void *arg, const struct op_batch *batch, struct op_err *err)
{
    struct pick *pick = arg;
    struct op_work *work = pick->work;
    if (!op_work_owns(work, batch) || op_batch_lane(work, batch) != pick->lane)
        return OP_OK;
    bool due = op_engine_is_due(work->engine, batch->due_ms, pick->now_ms);
    if (!due)
        op_engine_due(work->engine, batch->due_ms);
    if (!due || pick->id)
        return OP_OK;
    bool withdrawn = work->job.state == OP_JOB_CANCELING || batch->cancel_wanted;
    struct op_room room = {.fits = withdrawn};
    if (!withdrawn && is_known_full(pick, batch))
        return OP_OK;
    enum op_rc rc = withdrawn ? OP_OK : op_queue_room(work, batch, &room, err);
    if (rc)
        return rc;
    if (room.fits || room.never) {
        pick->id = batch->id;
        return OP_OK;
    }
    if (!pick->room.why[0])
        pick->room = room;
    if (room.due_ms)
        op_engine_due(work->engine, room.due_ms);
    pick->lane_is_full = pick->lane_is_full || room.lane_is_full;
    if (pick->full_count < FULL_MAX)
        pick->full[pick->full_count++] = op_mem_strdup(batch->model);
    return OP_OK;
}

enum op_rc op_queue_pick(struct op_work *work, const struct op_lane *lane, struct op_batch *ret,
                         struct op_room *ret_room, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    struct pick pick = {.work = work, .lane = lane, .now_ms = op_engine_now(engine)};
    /* What is uploaded holds a place at the provider and does not keep for ever. */
    static const enum op_batch_state order[] = {OP_BATCH_UPLOADED, OP_BATCH_BUILT};
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < OP_COUNT(order); i++) {
        struct op_batch_filter filter = {.job_id = work->job.id,
                                         .states = OP_STATE_BIT(order[i])};
        rc = op_ledger_batches(engine->ledger, &filter, consider, &pick, err);
    }
    for (size_t i = 0; i < pick.full_count; i++)
        op_mem_free(pick.full[i]);
    if (rc)
        return rc;
    if (pick.id)
        return op_ledger_batch_get(engine->ledger, pick.id, ret, err);
    *ret_room = pick.room;
    return OP_NOTFOUND;
}

/* --- what is learned -------------------------------------------------------------------------- */

/* With batches of ours in the queue it is their ends that make room, and each of them ends the
 * hold; else others fill it, and nobody tells when they are done. */
static int64_t hold_ms(struct op_engine *engine, const struct queue *q, int64_t others,
                       const struct op_err *why)
{
    if (why->disp == OP_DISP_RETRY_AFTER && why->retry_after_ms > 0)
        return op_retry_delay_ms(1, why->retry_after_ms, 0);
    if (others > 0)
        return OP_RETRY_MAX_MS;
    int tries = q->row.refusals < 100 ? (int)q->row.refusals : 100;
    int64_t wait = op_retry_delay_ms(FIRST_HOLD_TRIES + tries, -1, op_engine_random32(engine));
    return wait;
}

enum op_rc op_queue_refused(struct op_work *work, const struct op_batch *batch, int64_t told,
                            const struct op_err *why, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    struct queue q = {0};
    enum op_rc rc = look(work, op_batch_lane(work, batch), batch->model, &q, err);
    if (rc)
        return rc;
    int64_t now = op_engine_now(engine);
    /* It is still in a state that counts: what is in the queue beside it. */
    bool counted = batch->state == OP_BATCH_SENDING || batch->state == OP_BATCH_AMBIGUOUS ||
                   batch->state == OP_BATCH_ACCEPTED;
    int64_t others =
        op_calibration_apply(&q.calibration, q.use.tokens - (counted ? batch->tokens : 0));
    if (told >= 0)
        op_window_refused(&q.window, others, tokens_of(&q, batch), told, now);
    if (told >= 0) {
        q.row.limit_tokens = q.window.limit;
        q.row.named = q.window.named;
        q.row.learned_ms = now;
    }
    q.row.hold_until_ms = now + hold_ms(engine, &q, others, why);
    q.row.refusals++;
    op_mem_free(q.row.reason);
    q.row.reason = op_mem_strdup(why->msg);
    rc = op_ledger_queue_set(engine->ledger, &q.row, err);
    if (!rc)
        op_log(OP_EVENT_QUEUE_FULL, OP_F("batch", batch->id), OP_T("model", batch->model),
               OP_F("limit", q.row.limit_tokens), OP_T("why", why->msg));
    op_queue_row_release(&q.row);
    return rc ? rc : op_work_waits(work, why->msg, err);
}

enum op_rc op_queue_passed(struct op_work *work, const struct op_batch *batch,
                           struct op_err *err)
{
    if (!has_queue(op_batch_lane(work, batch)->provider))
        return OP_OK;
    struct queue q = {0};
    enum op_rc rc = look(work, op_batch_lane(work, batch), batch->model, &q, err);
    bool widened = !rc && q.row.limit_tokens > 0 &&
                   op_window_passed(&q.window, tokens_queued(&q), tokens_of(&q, batch),
                                    op_engine_now(work->engine));
    if (!rc && (widened || q.row.hold_until_ms || q.row.refusals)) {
        q.row.limit_tokens = widened ? q.window.limit : q.row.limit_tokens;
        q.row.named = widened ? q.window.named : q.row.named;
        q.row.learned_ms = widened ? q.window.learned_ms : q.row.learned_ms;
        q.row.hold_until_ms = 0;
        q.row.refusals = 0;
        rc = op_ledger_queue_set(work->engine->ledger, &q.row, err);
    }
    op_queue_row_release(&q.row);
    return rc;
}

enum op_rc op_queue_calibrate(struct op_work *work, const struct op_batch *batch,
                              struct op_err *err)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    bool one_model = lane->provider->one_model || !strstr(batch->model, ", ");
    /* The emulator's tokens are not the provider's. */
    if (!one_model || lane->emulated || batch->prime || batch->ok != batch->count)
        return OP_OK;
    struct op_ledger *ledger = work->engine->ledger;
    struct op_calibration c;
    enum op_rc rc =
        op_ledger_calibration_get(ledger, lane->provider->name, batch->model, &c, err);
    if (rc)
        return rc;
    op_calibration_add(&c, batch->tokens, op_usage_prompt(&batch->usage));
    return op_ledger_calibration_set(ledger, lane->provider->name, batch->model, &c, err);
}

/* --- what the job waits for ------------------------------------------------------------------- */

#define WAITS "waits for room: "

enum op_rc op_work_waits(struct op_work *work, const char *why, struct op_err *err)
{
    const char *now = work->job.reason ? work->job.reason : "";
    char reason[300] = "";
    if (why)
        snprintf(reason, sizeof(reason), WAITS "%.280s", why);
    /* What else it waits for is not ours to take back. */
    if (!strcmp(now, reason) || (now[0] && !op_str_starts(op_str_from(now), WAITS)))
        return OP_OK;
    if (why)
        op_log(OP_EVENT_JOB_WAITS, OP_F("job", work->job.id), OP_T("why", why));
    op_mem_free(work->job.reason);
    work->job.reason = op_mem_strdup(reason);
    return op_ledger_job_reason(work->engine->ledger, work->job.id, reason, err);
}
