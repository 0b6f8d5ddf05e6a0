/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "engine/work.h"

/* Where the results of a realtime batch are: in the log that the lane keeps in the spool. */
#define REALTIME OP_RESULTS_IN_SPOOL "realtime"
#define FLEX     OP_RESULTS_IN_SPOOL "flex"

/* A deadline so near is no time for a batch: most end within an hour (Anthropic's guide), and it is
 * given twice that. */
#define NEAR_MS (2 * OP_HOUR_MS)

static const char *const names[] = {
    [OP_MODE_UNSAID] = "",
    [OP_MODE_BATCH] = "batch",
    [OP_MODE_REALTIME] = "realtime",
    [OP_MODE_AUTO] = "auto",
};

const char *op_mode_name(enum op_mode mode)
{
    return names[mode];
}

enum op_mode op_mode_parse(struct op_str name)
{
    for (size_t i = 0; i < OP_COUNT(names); i++)
        if (name.ptr && op_str_is(name, names[i]))
            return (enum op_mode)i;
    return OP_MODE_UNSAID;
}

static enum op_rc check_lane(const struct op_lane *lane, enum op_mode mode, const char *tier,
                             struct op_err *err)
{
    bool has_batch = lane->provider->has_batch;
    if (mode == OP_MODE_BATCH && !has_batch)
        return op_fail(err, OP_INVAL, "%s has no batch API: leave out --mode batch",
                       lane->provider->name);
    if (tier && mode != OP_MODE_REALTIME && has_batch)
        return op_fail(err, OP_INVAL, "--tier %s is for --mode realtime", tier);
    if (!tier)
        return OP_OK;
    struct op_exchange x = {0};
    enum op_rc rc = lane->provider->ask(lane, "", NULL, tier, OP_STR("{}"), &x, err);
    op_exchange_release(&x);
    return rc;
}

enum op_rc op_mode_choose(const struct op_work *work, const struct op_job_request *request,
                          enum op_mode *ret, struct op_err *err)
{
    enum op_mode mode = op_mode_parse(op_str_from(request->mode ? request->mode : ""));
    /* A deadline is worth the other price only to those who leave the choice open. */
    if (mode == OP_MODE_UNSAID && request->deadline_ms)
        mode = OP_MODE_AUTO;
    if (mode == OP_MODE_AUTO && request->deadline_ms && request->deadline_ms < NEAR_MS)
        mode = OP_MODE_REALTIME;
    *ret = mode;
    for (size_t i = 0; i < work->lane_count; i++)
        if (check_lane(work->lanes[i].lane, mode, request->tier, err))
            return err->rc;
    return OP_OK;
}

/* Tiny is known once the records are read. */
static bool is_tiny(const struct op_work *work)
{
    return work->mode == OP_MODE_AUTO && work->job.state != OP_JOB_PLANNING &&
           work->job.counts.requests < work->realtime_below;
}

const char *op_work_no_batches(const struct op_work *work, const struct op_lane *lane)
{
    for (size_t i = 0; i < work->lane_count; i++)
        if (work->lanes[i].lane == lane)
            return work->lanes[i].no_batches;
    return NULL;
}

bool op_work_is_realtime(const struct op_work *work, const struct op_lane *lane)
{
    return work->mode == OP_MODE_REALTIME || !lane->provider->has_batch ||
           op_work_no_batches(work, lane) || is_tiny(work);
}

/* Nobody said that many may be asked at a time: the way chosen by itself is the gentle one. */
bool op_work_is_sequential(const struct op_work *work, const struct op_lane *lane)
{
    return work->mode == OP_MODE_UNSAID && op_work_is_realtime(work, lane);
}

bool op_work_pays_batch_price(const struct op_work *work, const struct op_lane *lane)
{
    return work->tier || !op_work_is_realtime(work, lane);
}

bool op_batch_is_realtime(const struct op_batch *batch)
{
    return batch->results_url &&
           op_str_starts(op_str_from(batch->results_url), OP_RESULTS_IN_SPOOL);
}

/* OpenAI's flex tier costs what a batch costs. */
bool op_batch_pays_batch_price(const struct op_batch *batch)
{
    return !op_batch_is_realtime(batch) || strcmp(batch->results_url, FLEX) == 0;
}

void op_batch_mark_realtime(struct op_batch *batch, const char *tier)
{
    op_mem_free(batch->results_url);
    batch->results_url = op_mem_strdup(tier ? FLEX : REALTIME);
    op_mem_free(batch->remote_state);
    batch->remote_state = op_mem_strdup("asked one by one");
}

/* Whether the list of batches is not there either. */
static enum op_rc has_no_list(struct op_engine *engine, const struct op_lane *lane, bool *ret,
                              struct op_err *err)
{
    struct op_exchange x = {0};
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    struct op_err why = OP_ERR_INIT;
    enum op_rc rc = lane->provider->list(lane, "", 1, &x, &why);
    if (!rc)
        rc = op_lane_exchange(engine, lane, &x, NULL, NULL, &reply, &why);
    *ret = rc != OP_OK && reply.status == 404;
    op_http_reply_release(&reply);
    op_exchange_release(&x);
    return rc == OP_STOPPED ? op_fail(err, OP_STOPPED, "%s", why.msg) : OP_OK;
}

enum op_rc op_work_fall_back(struct op_work *work, const struct op_lane *lane,
                             const struct op_err *why, bool *ret, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    struct op_job_lane *used = work->lanes;
    while (used->lane != lane)
        used++;
    *ret = false;
    if (work->mode == OP_MODE_BATCH || used->no_batches || why->native != 404)
        return OP_OK;
    enum op_rc rc = has_no_list(engine, lane, ret, err);
    if (rc || !*ret)
        return rc;
    used->no_batches = op_mem_printf("the batch endpoint answered 404: %.300s", why->msg);
    OP_CLEANUP(op_mem_freep)
    char *text = op_mem_printf("%s; the requests are asked one by one, at the ordinary price",
                               used->no_batches);
    op_log(OP_EVENT_FELL_BACK, OP_F("job", work->job.id), OP_T("why", text));
    return op_ledger_job_reason(engine->ledger, work->job.id, text, err);
}
