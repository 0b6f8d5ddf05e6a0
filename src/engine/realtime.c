/* SPDX-License-Identifier: MIT */
#include "engine/realtime.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "engine/pack.h"

/* So long at a stretch; then the other steps have their turn: they apply and deliver what ended. */
#define SLICE_MS 100
/* How late a wish to stop may be noticed, and a pause that is over. */
#define TICK_MS 50
/* Under way at a time, if --concurrency does not say: below 100, where libcurl is at its best
 * (reference/limits.md E), and a usual limit of local gateways. */
#define WINDOW_MOST 64
/* From one request to the next in the sequential fallback, if --interval does not say. */
#define INTERVAL_MS OP_SECOND_MS
/* As the providers' own SDKs wait for an answer at most, and half as long again. */
#define ANSWER_MS  (15 * OP_MINUTE_MS)
#define PARAMS_MAX (64 * 1024 * 1024)
#define LINE_MAX_  (128 * 1024 * 1024)
#define RATE_MS    OP_SECOND_MS

static int64_t mono(const struct op_realtime *rt)
{
    return rt->engine->env->ops->mono_ms(rt->engine->env);
}

/* --- the lanes ------------------------------------------------------------------------------ */

static enum op_rc open_client(struct op_engine *engine, struct op_realtime **ret,
                              struct op_err *err)
{
    if (engine->realtime) {
        *ret = engine->realtime;
        return OP_OK;
    }
    struct op_realtime *rt = op_mem_alloc(sizeof(*rt));
    rt->engine = engine;
    rt->calls = engine->options.calls;
    rt->own_calls = !rt->calls;
    op_buf_init(&rt->params, PARAMS_MAX);
    op_buf_init(&rt->line, LINE_MAX_);
    int64_t most = engine->options.concurrency;
    enum op_rc rc =
        rt->calls ? OP_OK
                  : op_calls_curl_open((size_t)(most ? most : WINDOW_MOST), &rt->calls, err);
    if (rc) {
        op_realtime_free(rt);
        return rc;
    }
    *ret = engine->realtime = rt;
    return OP_OK;
}

static void call_free(struct op_ask_call *call)
{
    op_exchange_release(&call->x);
    op_mem_free(call);
}

static void lane_close(struct op_ask_lane *ask)
{
    for (size_t i = 0; i < ask->list_count; i++)
        op_ask_list_close(ask->lists[i]);
    op_mem_free(ask);
}

void op_realtime_free(struct op_realtime *rt)
{
    if (!rt)
        return;
    while (rt->lanes) {
        struct op_ask_lane *next = rt->lanes->next;
        lane_close(rt->lanes);
        rt->lanes = next;
    }
    if (rt->own_calls)
        op_calls_close(rt->calls);
    /* Calls that were cut off are not handed over any more. */
    for (size_t i = 0; i < rt->call_room; i++)
        if (rt->all_calls[i])
            call_free(rt->all_calls[i]);
    op_mem_free(rt->all_calls);
    op_mem_free(rt->started);
    op_buf_release(&rt->params);
    op_buf_release(&rt->line);
    op_mem_free(rt);
}

static struct op_ask_lane *find_lane(const struct op_realtime *rt, const struct op_lane *lane)
{
    struct op_ask_lane *ask = rt ? rt->lanes : NULL;
    while (ask && ask->lane != lane)
        ask = ask->next;
    return ask;
}

static struct op_ask_lane *get_lane(struct op_realtime *rt, const struct op_lane *lane)
{
    struct op_ask_lane *ask = find_lane(rt, lane);
    if (!ask) {
        ask = op_mem_alloc(sizeof(*ask));
        *ask = (struct op_ask_lane){.rt = rt, .next = rt->lanes, .lane = lane};
        rt->lanes = ask;
    }
    return ask;
}

/* Another job begins: what was learned of the account stays. */
static void take_work(struct op_ask_lane *ask, struct op_work *work)
{
    const struct op_engine_options *o = &work->engine->options;
    bool sequential = op_work_is_sequential(work, ask->lane);
    int64_t most = o->concurrency ? o->concurrency : sequential ? 1 : WINDOW_MOST;
    int64_t interval = o->interval_ms ? o->interval_ms : sequential ? INTERVAL_MS : 0;
    ask->work = work;
    if (ask->flow.most != most || ask->flow.interval_ms != interval)
        op_flow_init(&ask->flow, most, interval);
}

/* --- lists ---------------------------------------------------------------------------------- */

static void drop_list(struct op_ask_lane *ask, size_t at)
{
    op_ask_list_close(ask->lists[at]);
    ask->list_count--;
    memmove(&ask->lists[at], &ask->lists[at + 1],
            (ask->list_count - at) * sizeof(struct op_ask_list *));
}

static enum op_rc keep_list(struct op_ask_lane *ask, struct op_batch *batch, struct op_err *err)
{
    struct op_ask_list *list = NULL;
    enum op_rc rc = op_ask_list_open(ask->work, batch, &list, err);
    if (list)
        ask->lists[ask->list_count++] = list;
    return rc;
}

struct resuming {
    const struct op_ask_lane *ask;
    int64_t id;
};

static enum op_rc find_resumable(void *arg, const struct op_batch *batch, struct op_err *err)
{
    struct resuming *r = arg;
    (void)err;
    bool is_open = !op_batch_is_realtime(batch) || r->id != 0 ||
                   !op_work_owns(r->ask->work, batch) ||
                   op_batch_lane(r->ask->work, batch) != r->ask->lane;
    for (size_t i = 0; i < r->ask->list_count; i++)
        is_open = is_open || r->ask->lists[i]->batch.id == batch->id;
    if (!is_open)
        r->id = batch->id;
    return OP_OK;
}

/* What an earlier process had begun comes first. */
static enum op_rc resume_lists(struct op_ask_lane *ask, struct op_job_lane *used,
                               bool *ret_ended, struct op_err *err)
{
    struct op_work *work = ask->work;
    struct op_batch_filter filter = {.job_id = work->job.id,
                                     .states = OP_STATE_BIT(OP_BATCH_ACCEPTED)};
    for (;;) {
        struct resuming r = {.ask = ask};
        OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
        enum op_rc rc =
            op_ledger_batches(work->engine->ledger, &filter, find_resumable, &r, err);
        if (rc)
            return rc;
        used->is_resumed = !r.id;
        if (!r.id || ask->list_count == OP_REALTIME_LISTS)
            return OP_OK;
        rc = op_ledger_batch_get(work->engine->ledger, r.id, &batch, err);
        if (!rc)
            rc = keep_list(ask, &batch, err);
        if (rc)
            return rc;
        *ret_ended = true; /* or opened: something was done */
    }
}

struct pricing {
    struct op_ask_lane *ask;
    const char *file;
    const struct op_price_list *prices;
    int64_t microusd;
};

static enum op_rc add_price(void *arg, const struct op_request *request, struct op_err *err)
{
    struct pricing *p = arg;
    struct op_buf *params = &p->ask->rt->params;
    struct op_packer packer = {.work = p->ask->work, .amended = true, .prices = p->prices};
    int64_t cost = 0;
    char model[OP_MODEL_MAX];
    op_buf_clear(params);
    enum op_rc rc = op_spool_read(p->ask->rt->engine->spool, p->file, request->payload.offset,
                                  request->payload.len, params, err);
    if (!rc &&
        op_params_cost(&packer, request->name, op_buf_str(params),
                       op_tokens_estimate(params->ptr, params->len), false, model, &cost))
        p->microusd += cost;
    op_json_parser_free(packer.parser);
    return rc;
}

/* May it be asked, and be paid for? What was packed to be sent as a batch has the batch's price on
 * it, and is frozen so. */
static enum op_rc may_begin(struct op_ask_lane *ask, struct op_batch *batch, bool *ret_go,
                            struct op_err *err)
{
    struct op_work *work = ask->work;
    if (!op_work_no_batches(work, ask->lane) || !work->job.max_cost_microusd)
        return op_batch_may_send(work, batch, ret_go, err);
    if (ask->list_count)
        return OP_OK; /* an open list counts with the lower price */
    struct pricing p = {.ask = ask, .file = batch->file};
    int64_t reserved = batch->reserved_microusd, id = batch->id;
    enum op_rc rc = op_batch_prices(work->engine, batch, &p.prices, err);
    if (!rc)
        rc = op_ledger_batch_requests(work->engine->ledger, batch->id, add_price, &p, err);
    if (p.microusd > reserved)
        batch->reserved_microusd = p.microusd;
    if (!rc)
        rc = op_batch_may_send(work, batch, ret_go, err);
    if (batch->id == id)
        batch->reserved_microusd = reserved;
    return rc;
}

/* The next BUILT batch becomes a list, if it may. */
static enum op_rc begin_list(struct op_ask_lane *ask, bool *ret_begun, struct op_err *err)
{
    struct op_work *work = ask->work;
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    *ret_begun = false;
    if (ask->list_count == OP_REALTIME_LISTS || !op_work_is_realtime(work, ask->lane) ||
        work->job.state == OP_JOB_CANCELING)
        return OP_OK;
    enum op_rc rc = op_batch_pick(
        work, ask->lane, OP_STATE_BIT(OP_BATCH_BUILT) | OP_STATE_BIT(OP_BATCH_UPLOADED), &batch,
        err);
    if (rc == OP_NOTFOUND && !err->rc)
        return OP_OK;
    bool go = false;
    if (!rc)
        rc = op_batch_price_anew(work, &batch, ret_begun, err);
    if (!rc && !*ret_begun && !batch.cancel_wanted)
        rc = may_begin(ask, &batch, &go, err);
    if (rc || !go)
        return rc;
    *ret_begun = true;
    op_upload_drop(work, &batch); /* of before it fell back */
    return keep_list(ask, &batch, err);
}

static bool find_open(struct op_ask_lane *ask, struct op_ask_list **ret_list, size_t *ret_at)
{
    for (size_t i = 0; i < ask->list_count; i++) {
        if (op_ask_list_next(ask->lists[i], ret_at)) {
            *ret_list = ask->lists[i];
            return true;
        }
    }
    return false;
}

static void withdraw_all(struct op_ask_lane *ask, struct op_ask_list *list, const char *type,
                         const char *why, enum op_disp disp)
{
    size_t at = 0;
    while (op_ask_list_next(list, &at)) {
        char id[OP_CUSTOM_ID_MAX + 1];
        op_ask_custom_id(list, at, id);
        op_buf_clear(&ask->rt->line);
        op_own_line_write(op_str_from(id), OP_RESULT_CANCELED, type, why, disp, &ask->rt->line);
        op_ask_list_withdraw(list, at, op_buf_str(&ask->rt->line));
    }
}

/* A withdrawn batch asks for nothing more, and neither does one at a provider without quota while
 * another has some; what is under way still counts. What was refused for want of quota is open
 * again by then, so that its last word is that it was not bought (R1). */
static void withdraw_open(struct op_ask_lane *ask)
{
    OP_CLEANUP(op_mem_freep)
    char *moved = ask->moves_to ? op_mem_printf("%s has none left, asked of %s",
                                                ask->lane->provider->name, ask->moves_to)
                                : NULL;
    for (size_t i = 0; i < ask->list_count; i++) {
        struct op_ask_list *list = ask->lists[i];
        if (ask->work->job.state == OP_JOB_CANCELING || list->batch.cancel_wanted)
            withdraw_all(ask, list, "canceled", "canceled before it was asked", OP_DISP_REJECT);
        else if (moved)
            withdraw_all(ask, list, "no quota", moved, OP_DISP_QUOTA);
    }
}

/* --- starting ------------------------------------------------------------------------------- */

static void on_ended(void *arg, void *tag, enum op_rc rc, const struct op_http_reply *reply,
                     const struct op_err *why)
{
    struct op_realtime *rt = arg;
    struct op_ask_call *call = tag;
    op_ask_ended(call, rc, reply, why);
    rt->all_calls[call->slot] = NULL;
    call_free(call);
    rt->ended_now++;
}

/* Calls are remembered by slot, so that those which are cut off can be freed. */
static void call_keep(struct op_realtime *rt, struct op_ask_call *call)
{
    size_t slot = 0;
    while (slot < rt->call_room && rt->all_calls[slot])
        slot++;
    if (slot == rt->call_room) {
        rt->call_room = rt->call_room ? rt->call_room * 2 : WINDOW_MOST;
        rt->all_calls =
            op_mem_realloc(rt->all_calls, rt->call_room * sizeof(struct op_ask_call *));
        rt->started = op_mem_realloc(rt->started, rt->call_room * sizeof(struct op_ask_call *));
        memset(&rt->all_calls[slot], 0, (rt->call_room - slot) * sizeof(struct op_ask_call *));
    }
    call->slot = slot;
    rt->all_calls[slot] = call;
    rt->started[rt->started_count++] = call;
}

static enum op_rc make_call(struct op_ask_lane *ask, struct op_ask_list *list, size_t at,
                            int64_t tokens, struct op_err *err)
{
    struct op_realtime *rt = ask->rt;
    struct op_ask_call *call = op_mem_alloc(sizeof(*call));
    *call = (struct op_ask_call){.ask = ask, .list = list, .at = at, .tokens = tokens};
    enum op_rc rc =
        ask->lane->provider->ask(ask->lane, list->batch.model, list->batch.endpoint,
                                 ask->work->tier, op_buf_str(&rt->params), &call->x, err);
    if (rc) {
        call_free(call);
        return rc;
    }
    op_ask_list_take(list, at);
    call->epoch = op_flow_started(&ask->flow, mono(rt), tokens);
    ask->under_way++;
    ask->tokens_under_way += tokens;
    call_keep(rt, call);
    return OP_OK;
}

/* Chooses what starts in this turn; *ret_when: when the next may, on the monotonic clock. */
static enum op_rc choose(struct op_ask_lane *ask, int64_t *ret_when, struct op_err *err)
{
    struct op_realtime *rt = ask->rt;
    *ret_when = INT64_MAX;
    for (;;) {
        struct op_ask_list *list = NULL;
        size_t at = 0;
        bool begun = true;
        if (!op_flow_may_start(&ask->flow, mono(rt), ask->under_way, 0, ret_when))
            return OP_OK;
        enum op_rc rc = OP_OK;
        while (!rc && begun && !find_open(ask, &list, &at))
            rc = begin_list(ask, &begun, err);
        if (!rc && list)
            rc = op_ask_list_params(list, at, &rt->params, err);
        if (rc || !list)
            return rc;
        int64_t tokens = op_tokens_estimate(rt->params.ptr, rt->params.len);
        if (!op_flow_may_start(&ask->flow, mono(rt), ask->under_way, tokens, ret_when))
            return OP_OK;
        rc = make_call(ask, list, at, tokens, err);
        if (rc)
            return rc;
    }
}

/* Durability point: one block a list, and in it both what was answered and what is about to be
 * asked. Nothing of the latter has left before this returns. */
static enum op_rc commit_logs(struct op_realtime *rt, struct op_err *err)
{
    struct op_engine *engine = rt->engine;
    OP_FAULT(engine, "realtime.log.before");
    enum op_rc rc = OP_OK;
    for (struct op_ask_lane *ask = rt->lanes; ask; ask = ask->next)
        for (size_t i = 0; !rc && i < ask->list_count; i++)
            rc = op_asklog_commit(&ask->lists[i]->log, err);
    rt->is_broken = rc != OP_OK;
    OP_FAULT(engine, "realtime.log.after");
    return rc;
}

/* Announced, and provably not sent: the address may not be asked, say. */
static void take_back(struct op_realtime *rt, struct op_ask_call *call)
{
    op_ask_list_back(call->list, call->at);
    call->ask->under_way--;
    call->ask->tokens_under_way -= call->tokens;
    rt->all_calls[call->slot] = NULL;
    call_free(call);
}

static enum op_rc submit(struct op_realtime *rt, struct op_err *err)
{
    size_t count = rt->started_count;
    rt->started_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct op_ask_call *call = rt->started[i];
        struct op_http_request request = {
            .method = call->x.method,
            .url = call->x.url.ptr,
            .headers = call->x.headers,
            .header_count = call->x.header_count,
            .body = op_buf_str(&call->x.body),
            .timeout_ms = ANSWER_MS,
        };
        enum op_rc rc = op_calls_submit(rt->calls, &request, call, err);
        if (!rc)
            continue;
        struct op_err ignored = OP_ERR_INIT;
        for (; i < count; i++)
            take_back(rt, rt->started[i]);
        return commit_logs(rt, &ignored) ? ignored.rc : rc;
    }
    OP_FAULT(rt->engine, "realtime.submitted");
    return OP_OK;
}

/* --- the turn ------------------------------------------------------------------------------- */

static void count_rate(struct op_ask_lane *ask)
{
    int64_t now = mono(ask->rt), passed = now - ask->rate_from_ms;
    if (passed < RATE_MS)
        return;
    ask->rate = (ask->answered - ask->rate_from) * OP_SECOND_MS / passed;
    ask->rate_from = ask->answered;
    ask->rate_from_ms = now;
}

static enum op_rc end_lists(struct op_ask_lane *ask, bool *ret_ended, struct op_err *err)
{
    for (size_t i = ask->list_count; i > 0; i--) {
        struct op_ask_list *list = ask->lists[i - 1];
        if (list->answered < list->count)
            continue;
        enum op_rc rc = op_ask_list_end(list, err);
        if (rc)
            return rc;
        drop_list(ask, i - 1);
        *ret_ended = true;
    }
    return OP_OK;
}

static enum op_rc end_all_lists(struct op_realtime *rt, bool *ret_ended, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (struct op_ask_lane *ask = rt->lanes; !rc && ask; ask = ask->next)
        rc = end_lists(ask, ret_ended, err);
    return rc;
}

static enum op_rc collect(struct op_realtime *rt, int64_t wait_ms, struct op_err *err)
{
    rt->ended_now = 0;
    enum op_rc rc = op_calls_collect(rt->calls, wait_ms, on_ended, rt, err);
    if (rt->ended_now)
        OP_FAULT(rt->engine, "realtime.answered");
    for (struct op_ask_lane *ask = rt->lanes; ask; ask = ask->next)
        count_rate(ask);
    return rc;
}

static int64_t wait_until(const struct op_realtime *rt, int64_t when)
{
    int64_t now = mono(rt);
    if (!rt->calls->under_way || when <= now)
        return 0;
    return when - now < TICK_MS ? when - now : TICK_MS;
}

/* Open lists go on whoever's step this is; new ones are begun by their own job's alone. */
static bool takes_part(const struct op_ask_lane *ask)
{
    return ask->begins || ask->list_count;
}

/* What starts on every lane. *ret_when: when the next may, on the first that has to wait. */
static enum op_rc choose_all(struct op_realtime *rt, int64_t *ret_when, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    *ret_when = INT64_MAX;
    for (struct op_ask_lane *ask = rt->lanes; !rc && ask; ask = ask->next) {
        size_t started = rt->started_count;
        int64_t when = INT64_MAX;
        if (!takes_part(ask))
            continue;
        withdraw_open(ask);
        if (!ask->is_paused && !op_engine_stopped(rt->engine))
            rc = choose(ask, &when, err);
        /* Where one has started, an answer may let the next one start. */
        if (rt->started_count == started && when < *ret_when)
            *ret_when = when;
    }
    return rc;
}

/* One turn: what came in and what may start go into one block a list; then it starts. */
static enum op_rc turn(struct op_realtime *rt, int64_t *ret_when, struct op_err *err)
{
    enum op_rc rc = collect(rt, wait_until(rt, *ret_when), err);
    if (!rc)
        rc = choose_all(rt, ret_when, err);
    if (!rc)
        rc = commit_logs(rt, err);
    if (!rc && rt->started_count)
        rc = submit(rt, err);
    return rc;
}

/* Whether the lane may be asked now, and who is if not. */
static enum op_rc look_at_lane(struct op_ask_lane *ask, struct op_err *err)
{
    struct op_work *asker = NULL;
    const char *before = ask->moves_to;
    ask->moves_to = NULL;
    enum op_rc rc = op_lane_is_paused(ask->rt->engine, ask->lane, &ask->is_paused, err);
    if (rc || !ask->is_paused)
        return rc;
    rc = op_work_asker(ask->work, false, &asker, err);
    if (rc || asker == ask->work)
        return rc;
    if (ask->list_count && !before)
        op_log(OP_EVENT_MOVED_ON, OP_F("job", ask->work->job.id),
               OP_T("from", ask->lane->provider->name),
               OP_T("to", asker->lanes[0].lane->provider->name));
    ask->moves_to = asker->lanes[0].lane->provider->name;
    return OP_OK;
}

static enum op_rc slice(struct op_realtime *rt, bool *ret_worked, struct op_err *err)
{
    int64_t until = mono(rt) + SLICE_MS, when = 0;
    bool ended = false;
    enum op_rc rc = OP_OK;
    for (struct op_ask_lane *ask = rt->lanes; !rc && ask; ask = ask->next)
        if (takes_part(ask))
            rc = look_at_lane(ask, err);
    do {
        if (!rc)
            rc = turn(rt, &when, err);
        if (!rc)
            rc = end_all_lists(rt, &ended, err);
        *ret_worked = *ret_worked || rt->calls->under_way || rt->ended_now || ended;
    } while (!rc && !ended && rt->calls->under_way && mono(rt) < until &&
             !op_engine_stopped(rt->engine));
    if (!rt->calls->under_way && when != INT64_MAX)
        op_engine_due(rt->engine, op_engine_now(rt->engine) + when - mono(rt));
    return rc;
}

/* A lane takes one job at a time; the next one when that has no list open there. */
static enum op_rc take_part(struct op_work *work, struct op_job_lane *used, bool *ret_worked,
                            struct op_err *err)
{
    struct op_engine *engine = work->engine;
    struct op_ask_lane *ask = find_lane(engine->realtime, used->lane);
    bool has_lists = ask && ask->list_count > 0;
    struct op_realtime *rt = NULL;
    if (has_lists ? ask->work != work
                  : !op_work_is_realtime(work, used->lane) && used->is_resumed)
        return OP_OK;
    enum op_rc rc = open_client(engine, &rt, err);
    if (rc)
        return rc;
    ask = get_lane(rt, used->lane);
    if (!has_lists)
        take_work(ask, work);
    ask->begins = true;
    return used->is_resumed ? OP_OK : resume_lists(ask, used, ret_worked, err);
}

/* All lanes of the job, of every provider of its chain, side by side. */
enum op_rc op_step_realtime(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    enum op_rc rc = OP_OK;
    if (op_engine_stopped(engine) || op_ledger_is_suspect(engine->ledger, NULL))
        return OP_OK;
    struct op_ask_lane *ask = engine->realtime ? engine->realtime->lanes : NULL;
    for (; ask; ask = ask->next)
        ask->begins = false;
    for (struct op_work *leg = work; !rc && leg; leg = leg->next_leg)
        for (size_t i = 0; !rc && i < leg->lane_count; i++)
            rc = take_part(leg, &leg->lanes[i], ret_worked, err);
    bool any = false;
    for (ask = engine->realtime ? engine->realtime->lanes : NULL; ask; ask = ask->next)
        any = any || ask->begins;
    return rc || !any ? rc : slice(engine->realtime, ret_worked, err);
}

bool op_realtime_is_asking(const struct op_realtime *rt)
{
    for (const struct op_ask_lane *ask = rt ? rt->lanes : NULL; ask; ask = ask->next)
        if (ask->list_count)
            return true;
    return false;
}

enum op_rc op_realtime_drain(struct op_engine *engine, struct op_err *err)
{
    struct op_realtime *rt = engine->realtime;
    if (!rt || !rt->calls->under_way || rt->is_broken)
        return OP_OK;
    op_log(OP_EVENT_REALTIME_DRAIN, OP_F("requests", rt->calls->under_way),
           OP_T("note", "they are paid for; a second Ctrl-C leaves them behind"));
    enum op_rc rc = OP_OK;
    bool ended = false;
    while (!rc && rt->calls->under_way) {
        rc = collect(rt, TICK_MS, err);
        if (!rc)
            rc = commit_logs(rt, err);
        op_engine_changed(engine);
    }
    return rc ? rc : end_all_lists(rt, &ended, err);
}

struct log_counts {
    int64_t asked, answered, back;
};

static enum op_rc count_event(void *arg, enum op_ask_event event, int64_t request,
                              struct op_str line, struct op_err *err)
{
    struct log_counts *c = arg;
    (void)request;
    (void)line;
    (void)err;
    c->asked += event == OP_ASK_ASKED;
    c->answered += event == OP_ASK_ANSWERED;
    c->back += event == OP_ASK_BACK;
    return OP_OK;
}

struct looking {
    struct op_engine *engine;
    struct op_realtime_view *view;
    int64_t since_ms;
};

static enum op_rc add_list(void *arg, const struct op_batch *batch, struct op_err *err)
{
    struct looking *l = arg;
    struct log_counts c = {0};
    (void)err;
    if (!op_batch_is_realtime(batch))
        return OP_OK;
    OP_CLEANUP(op_mem_freep) char *name = op_asklog_name(batch->id, batch->nonce);
    struct op_err ignored = OP_ERR_INIT; /* it may end, and its log go, at any moment */
    if (op_asklog_read(l->engine->spool, name, count_event, &c, &ignored))
        return OP_OK;
    int64_t under_way = c.asked - c.back - c.answered;
    l->view->under_way += under_way > 0 ? under_way : 0;
    l->view->answered += c.answered;
    if (!l->since_ms || batch->accepted_ms < l->since_ms)
        l->since_ms = batch->accepted_ms;
    return OP_OK;
}

enum op_rc op_engine_realtime_of(struct op_engine *engine, int64_t job,
                                 struct op_realtime_view *ret, struct op_err *err)
{
    *ret = (struct op_realtime_view){0};
    struct looking l = {.engine = engine, .view = ret};
    struct op_batch_filter filter = {.job_id = job, .states = OP_STATE_BIT(OP_BATCH_ACCEPTED)};
    enum op_rc rc = op_ledger_batches(engine->ledger, &filter, add_list, &l, err);
    int64_t passed = op_engine_now(engine) - l.since_ms;
    if (!rc && l.since_ms && passed > 0)
        ret->rate = ret->answered * OP_SECOND_MS / passed;
    return rc;
}

bool op_engine_realtime(const struct op_engine *engine, struct op_realtime_view *ret)
{
    if (!op_realtime_is_asking(engine->realtime))
        return false;
    *ret = (struct op_realtime_view){0};
    for (const struct op_ask_lane *ask = engine->realtime->lanes; ask; ask = ask->next) {
        ret->under_way += ask->under_way;
        for (size_t i = 0; i < ask->list_count; i++)
            ret->answered += (int64_t)ask->lists[i]->answered;
        if (!ask->list_count)
            continue;
        ret->window += op_flow_window(&ask->flow);
        ret->rate += ask->rate;
    }
    return true;
}
