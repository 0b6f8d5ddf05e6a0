/* SPDX-License-Identifier: MIT */
#include "engine/engine.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "engine/realtime.h"
#include "engine/trigger.h"

bool op_engine_stopped(const struct op_engine *engine)
{
    return engine->options.stop && *engine->options.stop;
}

static bool stop_requested(void *arg)
{
    return op_engine_stopped(arg);
}

uint32_t op_engine_random32(struct op_engine *engine)
{
    uint32_t value = 0;
    engine->env->ops->random(engine->env, &value, sizeof(value));
    return value;
}

void op_engine_due(struct op_engine *engine, int64_t due_ms)
{
    if (due_ms < engine->due_ms)
        engine->due_ms = due_ms;
}

void op_engine_changed(struct op_engine *engine)
{
    if (engine->options.changed)
        engine->options.changed(engine->options.changed_arg);
}

struct op_ledger *op_engine_ledger(struct op_engine *engine)
{
    return engine->ledger;
}

struct op_spool *op_engine_spool(struct op_engine *engine)
{
    return engine->spool;
}

const struct op_prices *op_engine_prices(struct op_engine *engine)
{
    return engine->prices;
}

/* A batch found in SENDING at start was being sent when the last process ended: whether its last
 * byte went out is unknown, so it may only be reconciled. */
static enum op_rc doubt_one(void *arg, const struct op_batch *found, struct op_err *err)
{
    struct op_engine *engine = arg;
    struct op_batch batch = *found;
    batch.due_ms = 0;
    batch.last_try_ms =
        0; /* in server time nobody knows; reconcile.c takes the first listing's */
    enum op_rc rc =
        op_ledger_batch_go(engine->ledger, &batch, OP_BATCH_AMBIGUOUS,
                           "the process ended while the create was being sent", err);
    if (rc)
        return rc;
    op_log(OP_EVENT_BATCH_AMBIGUOUS, OP_F("batch", batch.id),
           OP_T("why", "the last process ended while sending it"));
    return OP_OK;
}

static enum op_rc recover_sends(struct op_engine *engine, struct op_err *err)
{
    struct op_batch_filter filter = {.states = OP_STATE_BIT(OP_BATCH_SENDING)};
    return op_ledger_batches(engine->ledger, &filter, doubt_one, engine, err);
}

static enum op_rc open_state(struct op_engine *engine, struct op_err *err)
{
    const char *dir = engine->options.state_dir;
    bool read_only = engine->options.read_only;
    enum op_rc rc = read_only ? OP_OK : op_io_mkdirs(engine->env, dir, err);
    if (!rc)
        rc = op_ledger_open(engine->env, dir, read_only ? OP_LEDGER_READ : OP_LEDGER_WRITE,
                            NULL, &engine->ledger, err);
    if (!rc)
        rc = op_spool_open(engine->env, dir, !read_only, &engine->spool, err);
    return rc;
}

enum op_rc op_engine_open(const struct op_engine_options *options, struct op_engine **ret,
                          struct op_err *err)
{
    OP_CLEANUP(op_engine_closep) struct op_engine *engine = op_mem_alloc(sizeof(*engine));
    engine->options = *options;
    engine->state_dir = options->state_dir ? op_mem_strdup(options->state_dir) : NULL;
    engine->options.state_dir = engine->state_dir;
    engine->env = options->env ? options->env : op_env_default();
    if (options->state_dir && !options->read_only)
        op_engine_watch_flushes(engine);
    enum op_rc rc = options->state_dir ? open_state(engine, err) : OP_OK;
    if (!rc)
        rc = op_prices_load(engine->env, options->prices_file, &engine->prices, err);
    if (rc)
        return rc;
    engine->http = options->http;
    /* Nothing goes over the network where nothing may be written down. */
    if (!engine->http && engine->ledger && !options->read_only) {
        rc = op_http_curl_open(engine->env, stop_requested, engine, &engine->http, err);
        engine->own_http = true;
    }
    if (!rc && !options->read_only)
        rc = recover_sends(engine, err);
    if (!rc && !options->read_only && engine->ledger)
        rc = op_engine_doubt_announced(engine, err);
    if (!rc && !options->read_only && engine->ledger)
        rc = op_engine_unwritten(engine, err);
    if (!rc && !options->read_only && engine->ledger)
        rc = op_engine_leftovers(engine, err);
    if (rc)
        return rc;
    *ret = OP_TAKE(engine);
    return OP_OK;
}

void op_engine_close(struct op_engine *engine)
{
    if (!engine)
        return;
    op_realtime_free(engine->realtime);
    op_engine_watches_free(engine);
    while (engine->works) {
        struct op_work *next = engine->works->next;
        op_work_free(engine->works);
        engine->works = next;
    }
    op_engine_lanes_free(engine);
    op_mem_free(engine->owners);
    if (engine->own_http)
        op_http_close(engine->http);
    op_engine_frozen_prices_free(engine);
    op_prices_free(engine->prices);
    op_spool_close(engine->spool);
    op_ledger_close(engine->ledger);
    op_engine_unwatch_flushes(engine);
    op_mem_free(engine->state_dir);
    op_mem_free(engine);
}

void op_engine_closep(struct op_engine **engine)
{
    op_engine_close(*engine);
    *engine = NULL;
}

enum op_rc op_engine_work(struct op_engine *engine, int64_t job, struct op_work **ret,
                          struct op_err *err)
{
    return op_work_get(engine, job, ret, err);
}

/* Doubtful sends first, because they hold the lane; what was paid for before anything new is
 * bought; sending last. */
static const op_step_fn running_steps[] = {
    op_step_reconcile, op_step_apply,    op_step_reuse,   op_step_fetch,
    op_step_poll,      op_step_deliver,  op_step_move_on, op_step_pack,
    op_step_send,      op_step_realtime, op_step_finish,
};

/* Of these there is one for all providers of the job. */
static bool is_for_head(op_step_fn step)
{
    return step == op_step_deliver || step == op_step_realtime || step == op_step_finish;
}

static enum op_rc step_legs(struct op_work *work, op_step_fn step, bool *ret_worked,
                            struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (struct op_work *leg = work; !rc && leg && !*ret_worked; leg = leg->next_leg) {
        rc = step(leg, ret_worked, err);
        if (is_for_head(step))
            break;
    }
    return rc;
}

static enum op_rc refresh_legs(struct op_work *work, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (struct op_work *leg = work; !rc && leg; leg = leg->next_leg)
        rc = op_work_refresh(leg, err);
    return rc;
}

static enum op_rc plan(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    struct op_work *planner = NULL;
    enum op_rc rc = op_work_planner(work, &planner, err);
    return rc ? rc : op_step_plan(planner, ret_worked, err);
}

static enum op_rc step_work(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    enum op_rc rc = refresh_legs(work, err);
    if (rc)
        return rc;
    if (op_job_is_final(work->job.state))
        return OP_OK;
    if (work->job.state == OP_JOB_PLANNING)
        return plan(work, ret_worked, err);
    /* With many batches, or slow answers, polling is due again as soon as it is done. The steps
     * behind it have their turn first, or nothing would ever be sent. */
    bool skip_poll = work->polled;
    work->polled = false;
    for (size_t i = 0; i < OP_COUNT(running_steps); i++) {
        bool poll = running_steps[i] == op_step_poll;
        if (poll && skip_poll)
            continue;
        rc = step_legs(work, running_steps[i], ret_worked, err);
        work->polled = poll && *ret_worked;
        if (rc || *ret_worked)
            return rc;
    }
    if (!skip_poll)
        return OP_OK;
    rc = step_legs(work, op_step_poll, ret_worked, err);
    work->polled = *ret_worked;
    return rc;
}

struct job_ids {
    int64_t *ids;
    size_t count;
};

static enum op_rc collect_job(void *arg, const struct op_job *job, struct op_err *err)
{
    (void)err;
    struct job_ids *list = arg;
    list->ids = op_mem_realloc(list->ids, (list->count + 1) * sizeof(*list->ids));
    list->ids[list->count++] = job->id;
    return OP_OK;
}

/* One job that cannot be loaded (its key is gone, say) must not stop the others, and neither must
 * one that always has something to do: the jobs take turns. */
static enum op_rc step_any(struct op_engine *engine, bool *ret_worked, struct op_err *err)
{
    struct job_ids list = {0};
    enum op_rc rc = op_ledger_jobs(engine->ledger, true, collect_job, &list, err);
    size_t first = 0; /* newest first in the list; the turn goes from old to new */
    while (first < list.count && list.ids[first] > engine->last_turn)
        first++;
    for (size_t n = 0; !rc && n < list.count && !*ret_worked; n++) {
        size_t i = (first + list.count - 1 - n) % list.count;
        struct op_work *work = NULL;
        struct op_err job_err = OP_ERR_INIT;
        engine->last_turn = list.ids[i];
        rc = op_work_get(engine, list.ids[i], &work, &job_err);
        if (!rc)
            rc = step_work(work, ret_worked, &job_err);
        if (rc == OP_INVAL || rc == OP_REMOTE || rc == OP_NOTFOUND) {
            op_log(OP_EVENT_NOTE, OP_F("job", list.ids[i]), OP_T("problem", job_err.msg));
            rc = OP_OK;
        } else if (rc) {
            *err = job_err;
        }
    }
    op_mem_free(list.ids);
    return rc;
}

static int64_t waits_for(const struct op_work *work)
{
    for (; work; work = work->next_leg)
        if (work->waits_for_job)
            return work->waits_for_job;
    return 0;
}

enum op_rc op_engine_step(struct op_engine *engine, int64_t job, bool *ret_worked,
                          int64_t *ret_due_ms, struct op_err *err)
{
    bool worked = false;
    engine->due_ms = INT64_MAX;
    enum op_rc rc;
    if (job) {
        struct op_work *work = NULL;
        rc = op_work_get(engine, job, &work, err);
        if (!rc)
            rc = step_work(work, &worked, err);
        int64_t other = rc ? 0 : waits_for(work);
        if (!rc && !worked && other) {
            rc = op_work_get(engine, other, &work, err);
            if (!rc)
                rc = step_work(work, &worked, err);
        }
    } else {
        rc = step_any(engine, &worked, err);
        if (!rc && worked)
            op_engine_trigger_see(engine, engine->last_turn);
        bool fired = false;
        if (!rc)
            rc = op_engine_trigger_step(engine, &fired, err);
        worked = worked || fired;
    }
    if (rc)
        return rc;
    if (worked)
        op_engine_changed(engine);
    *ret_worked = worked;
    *ret_due_ms = engine->due_ms;
    return OP_OK;
}

struct sendable {
    bool any;
};

static enum op_rc see_sendable(void *arg, const struct op_batch *batch, struct op_err *err)
{
    (void)err;
    /* Asked one by one: sent when the last of them is. */
    if (batch->state != OP_BATCH_ACCEPTED || op_batch_is_realtime(batch))
        ((struct sendable *)arg)->any = true;
    return OP_OK;
}

static enum op_rc is_reached(struct op_engine *engine, int64_t job, enum op_until until,
                             bool *ret, struct op_err *err)
{
    *ret = false;
    if (!job || until == OP_UNTIL_IDLE)
        return OP_OK;
    OP_CLEANUP(op_job_release) struct op_job row = {0};
    enum op_rc rc = op_ledger_job_get(engine->ledger, job, &row, err);
    if (rc)
        return rc;
    if (op_job_is_final(row.state)) {
        *ret = true;
    } else if (until == OP_UNTIL_SENT && row.state == OP_JOB_RUNNING) {
        struct sendable found = {0};
        struct op_batch_filter filter = {
            .job_id = job,
            .states = OP_STATE_BIT(OP_BATCH_BUILT) | OP_STATE_BIT(OP_BATCH_UPLOADED) |
                      OP_STATE_BIT(OP_BATCH_SENDING) | OP_STATE_BIT(OP_BATCH_AMBIGUOUS) |
                      OP_STATE_BIT(OP_BATCH_ACCEPTED)};
        bool packable = false;
        rc = op_ledger_batches(engine->ledger, &filter, see_sendable, &found, err);
        if (!rc)
            rc = op_ledger_job_has(engine->ledger, job, OP_REQUEST_NEW, &packable, err);
        *ret = !rc && !found.any && !packable;
    }
    return rc;
}

static enum op_rc hurry_batch(void *arg, const struct op_batch *found, struct op_err *err)
{
    struct op_engine *engine = arg;
    /* Results that were short get their hour to come in, however often `recover` is typed. */
    bool refetch = found->state == OP_BATCH_ENDED && found->fetches > 0;
    if (refetch || found->due_ms <= op_engine_now(engine))
        return OP_OK;
    struct op_batch batch = *found;
    batch.due_ms = 0;
    return op_ledger_batch_save(engine->ledger, &batch, err);
}

static enum op_rc hurry_lane(void *arg, const struct op_lane_row *row, struct op_err *err)
{
    struct op_engine *engine = arg;
    if (!row->paused_until_ms)
        return OP_OK;
    return op_ledger_lane_pause(engine->ledger, row->id, 0, "", err);
}

/* An operator who types fetch or recover wants an answer now, not at the next due time. */
static enum op_rc hurry(struct op_engine *engine, struct op_err *err)
{
    struct op_batch_filter live = {
        .states = ~0u & ~(OP_STATE_BIT(OP_BATCH_SEALED) | OP_STATE_BIT(OP_BATCH_REJECTED) |
                          OP_STATE_BIT(OP_BATCH_UNSENT) | OP_STATE_BIT(OP_BATCH_VANISHED) |
                          OP_STATE_BIT(OP_BATCH_DROPPED) | OP_STATE_BIT(OP_BATCH_QUARANTINED))};
    enum op_rc rc = op_ledger_batches(engine->ledger, &live, hurry_batch, engine, err);
    if (!rc)
        rc = op_ledger_lanes(engine->ledger, hurry_lane, engine, err);
    return rc;
}

/* Nothing can happen before then, so nothing is looked up either. Short naps: a signal that comes
 * just before one, and what is shown, wait for a second at most; a clock that was set back may have
 * made another thing due. */
static void wait_until(struct op_engine *engine, int64_t due_ms)
{
    int64_t before = op_engine_now(engine);
    for (int64_t now = before; now < due_ms && now >= before && !op_engine_stopped(engine);) {
        int64_t wait = due_ms - now;
        engine->env->ops->sleep_ms(engine->env, wait < OP_SECOND_MS ? wait : OP_SECOND_MS);
        op_engine_changed(engine);
        before = now;
        now = op_engine_now(engine);
    }
}

/* Who leaves when all is sent has written what there is to tell of it: which batches are pending.
 */
static enum op_rc tell_sent(struct op_engine *engine, int64_t job, struct op_err *err)
{
    struct op_work *work = NULL;
    enum op_rc rc = op_work_get(engine, job, &work, err);
    return rc ? rc : op_deliver_all(work, true, err);
}

static enum op_rc run(struct op_engine *engine, int64_t job, enum op_until until,
                      int64_t deadline_ms, struct op_err *err)
{
    enum op_rc proved = op_engine_prove(engine, err);
    if (proved)
        return proved;
    if (engine->options.retry_now) {
        enum op_rc rc = hurry(engine, err);
        if (rc)
            return rc;
    }
    for (;;) {
        if (op_engine_stopped(engine))
            return op_fail(err, OP_STOPPED, "stopped; everything is kept and can be resumed");
        bool reached = false;
        enum op_rc rc = is_reached(engine, job, until, &reached, err);
        if (!rc && reached && until == OP_UNTIL_SENT && job)
            return tell_sent(engine, job, err);
        if (rc || reached)
            return rc;
        bool worked = false;
        int64_t due_ms = INT64_MAX;
        rc = op_engine_step(engine, job, &worked, &due_ms, err);
        if (rc)
            return rc;
        /* The lane has something to do at any time: --wait must end it too. */
        if (worked && !(deadline_ms && op_realtime_is_asking(engine->realtime) &&
                        op_engine_now(engine) >= deadline_ms))
            continue;
        if (worked || until == OP_UNTIL_IDLE || (due_ms == INT64_MAX && until != OP_UNTIL_STOP))
            return OP_OK;
        if (deadline_ms && (op_engine_now(engine) >= deadline_ms || due_ms > deadline_ms))
            return OP_OK;
        wait_until(engine, due_ms);
    }
}

enum op_rc op_engine_run(struct op_engine *engine, int64_t job, enum op_until until,
                         int64_t deadline_ms, struct op_err *err)
{
    enum op_rc rc = run(engine, job, until, deadline_ms, err);
    struct op_err late = OP_ERR_INIT;
    /* What is under way is bought: its answers are worth the wait. */
    enum op_rc drained = op_realtime_drain(engine, &late);
    if (drained && !rc)
        *err = late;
    return rc ? rc : drained;
}

static enum op_rc want_cancel(void *arg, const struct op_batch *found, struct op_err *err)
{
    struct op_engine *engine = arg;
    struct op_batch batch = *found;
    batch.cancel_wanted = true;
    batch.due_ms = 0;
    return op_ledger_batch_save(engine->ledger, &batch, err);
}

enum op_rc op_engine_cancel(struct op_engine *engine, int64_t job, int64_t batch_id,
                            struct op_err *err)
{
    const uint32_t cancelable = OP_STATE_BIT(OP_BATCH_BUILT) | OP_STATE_BIT(OP_BATCH_UPLOADED) |
                                OP_STATE_BIT(OP_BATCH_AMBIGUOUS) |
                                OP_STATE_BIT(OP_BATCH_ACCEPTED);
    if (batch_id) {
        OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
        enum op_rc rc = op_ledger_batch_get(engine->ledger, batch_id, &batch, err);
        if (rc)
            return rc;
        if (!(cancelable & OP_STATE_BIT(batch.state)))
            return op_fail(err, OP_CONFLICT,
                           "batch-%lld is %s: there is nothing left to cancel",
                           (long long)batch_id, op_batch_state_name(batch.state));
        return want_cancel(engine, &batch, err);
    }
    struct op_work *work = NULL;
    enum op_rc rc = op_work_get(engine, job, &work, err);
    if (!rc)
        rc = op_work_refresh(work, err);
    if (rc)
        return rc;
    if (op_job_is_final(work->job.state))
        return op_fail(err, OP_CONFLICT, "job-%lld is already %s", (long long)job,
                       op_job_state_name(work->job.state));
    if (work->job.state == OP_JOB_PLANNING)
        return op_work_job_go(work, OP_JOB_CANCELED, "canceled before anything was sent", err);
    if (work->job.state == OP_JOB_RUNNING) {
        rc = op_work_job_go(work, OP_JOB_CANCELING, "canceled by the operator", err);
        if (rc)
            return rc;
    }
    struct op_batch_filter filter = {.job_id = job, .states = cancelable};
    return op_ledger_batches(engine->ledger, &filter, want_cancel, engine, err);
}

struct retry_walk {
    struct op_engine *engine;
    int64_t count;
};

static enum op_rc retry_one(void *arg, const struct op_request *found, struct op_err *err)
{
    struct retry_walk *walk = arg;
    if (!found->record_id)
        return OP_OK; /* the stub that warmed a cache is nobody's */
    bool superseded = false;
    enum op_rc rc = op_request_is_superseded(walk->engine->ledger, found, &superseded, err);
    if (rc || superseded)
        return rc;
    struct op_request request = *found;
    request.batch_id = 0;
    request.reask = OP_REASK_SAME;
    char reason[] = "asked again by the operator";
    request.reason = reason;
    rc = op_ledger_request_go(walk->engine->ledger, &request, 0, OP_REQUEST_NEW, err);
    /* What waited for an identical request waits for it again, and is not bought beside it. */
    request.state = OP_REQUEST_NEW;
    if (!rc && request.same_as)
        rc = op_ledger_request_go(walk->engine->ledger, &request, 0, OP_REQUEST_WAITING, err);
    if (!rc)
        walk->count++;
    return rc;
}

enum op_rc op_engine_retry_failed(struct op_engine *engine, int64_t job, int64_t *ret_count,
                                  struct op_err *err)
{
    struct op_work *work = NULL;
    enum op_rc rc = op_work_get(engine, job, &work, err);
    if (!rc)
        rc = op_work_refresh(work, err);
    if (rc)
        return rc;
    if (work->imported)
        return op_fail(
            err, OP_CONFLICT,
            "job-%lld was imported, and nothing is ever sent for such a job: run the "
            "pipeline, which asks what is not answered yet",
            (long long)job);
    struct retry_walk walk = {.engine = engine};
    rc = op_ledger_begin(engine->ledger, err);
    if (rc)
        return rc;
    rc = op_ledger_requests(engine->ledger, job, OP_REQUEST_FAILED, 0, retry_one, &walk, err);
    if (!rc && walk.count) {
        struct op_job_counts delta = {.failed = -walk.count, .reasked = walk.count};
        rc = op_ledger_job_count(engine->ledger, job, &delta, err);
    }
    if (!rc && walk.count && work->job.state == OP_JOB_PARTIAL)
        rc = op_ledger_job_go(engine->ledger, job, OP_JOB_PARTIAL, OP_JOB_RUNNING, "", err);
    if (!rc)
        rc = op_ledger_commit(engine->ledger, err);
    if (rc) {
        op_ledger_rollback(engine->ledger);
        return rc;
    }
    *ret_count = walk.count;
    return OP_OK;
}
