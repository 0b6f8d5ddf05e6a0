/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "base/mem.h"
#include "engine/work.h"

struct settle {
    struct op_work *work;
    enum op_request_state to;
    const char *reason;
    int64_t count; /* requests of records; the stub of a cache is nobody's */
};

static enum op_rc settle_one(void *arg, const struct op_request *found, struct op_err *err)
{
    struct settle *s = arg;
    struct op_request request = *found;
    OP_CLEANUP(op_mem_freep) char *reason = op_mem_strdup(s->reason);
    request.reason = reason;
    enum op_rc rc =
        op_ledger_request_go(s->work->engine->ledger, &request, request.batch_id, s->to, err);
    if (!rc && request.record_id)
        s->count++;
    return rc;
}

static enum op_rc settle_inside(struct settle *s, struct op_batch *batch,
                                enum op_batch_state to, struct op_err *err)
{
    struct op_work *work = s->work;
    struct op_ledger *ledger = work->engine->ledger;
    enum op_rc rc = op_ledger_batch_requests(ledger, batch->id, settle_one, s, err);
    struct op_job_counts delta = {.reserved_microusd = -batch->reserved_microusd};
    if (s->to == OP_REQUEST_FAILED)
        delta.failed = s->count;
    else
        delta.canceled = s->count;
    if (!rc)
        rc = op_ledger_job_count(ledger, work->job.id, &delta, err);
    if (!rc)
        rc = op_ledger_batch_go(ledger, batch, to, s->reason, err);
    if (!rc && s->to == OP_REQUEST_FAILED)
        rc = op_ledger_note_add(ledger, work->job.id, batch->id, 0, "error",
                                op_str_from(s->reason), err);
    if (!rc)
        rc = op_work_event(work, batch, err);
    return rc;
}

static enum op_rc settle_batch(struct settle *s, struct op_batch *batch, enum op_batch_state to,
                               struct op_err *err)
{
    struct op_ledger *ledger = s->work->engine->ledger;
    enum op_rc rc = op_ledger_begin(ledger, err);
    if (rc)
        return rc;
    rc = settle_inside(s, batch, to, err);
    if (!rc)
        rc = op_ledger_commit(ledger, err);
    if (rc)
        op_ledger_rollback(ledger);
    return rc;
}

enum op_rc op_work_fail_batch(struct op_work *work, struct op_batch *batch,
                              enum op_batch_state to, const char *reason, struct op_err *err)
{
    struct settle s = {.work = work, .to = OP_REQUEST_FAILED, .reason = reason};
    enum op_rc rc = settle_batch(&s, batch, to, err);
    if (!rc)
        op_log(OP_EVENT_REQUEST_FAILED, OP_F("batch", batch->id), OP_F("requests", s.count),
               OP_T("why", reason));
    return rc;
}

enum op_rc op_work_cancel_batch(struct op_work *work, struct op_batch *batch,
                                enum op_batch_state to, const char *reason, struct op_err *err)
{
    struct settle s = {.work = work, .to = OP_REQUEST_CANCELED, .reason = reason};
    enum op_rc rc = settle_batch(&s, batch, to, err);
    if (!rc)
        op_log(OP_EVENT_BATCH_CANCELED, OP_F("batch", batch->id), OP_T("why", reason));
    return rc;
}

static enum op_rc add_reserved(void *arg, const struct op_batch *batch, struct op_err *err)
{
    (void)err;
    *(int64_t *)arg += batch->reserved_microusd;
    return OP_OK;
}

enum op_rc op_work_in_flight(struct op_work *work, int64_t *ret_microusd, struct op_err *err)
{
    struct op_batch_filter filter = {
        .job_id = work->job.id,
        .states = OP_STATE_BIT(OP_BATCH_SENDING) | OP_STATE_BIT(OP_BATCH_AMBIGUOUS) |
                  OP_STATE_BIT(OP_BATCH_ACCEPTED) | OP_STATE_BIT(OP_BATCH_ENDED) |
                  OP_STATE_BIT(OP_BATCH_FETCHED)};
    *ret_microusd = 0;
    return op_ledger_batches(work->engine->ledger, &filter, add_reserved, ret_microusd, err);
}

static void take_text(char **field, const char *text)
{
    op_mem_free(*field);
    *field = op_mem_strdup(text);
}

void op_batch_take_remote(struct op_engine *engine, struct op_batch *batch,
                          const struct op_remote_batch *remote)
{
    take_text(&batch->provider_id, remote->id);
    take_text(&batch->remote_state, remote->state_name);
    take_text(&batch->results_url, remote->results_url);
    if (remote->file_id[0] && !(batch->file_id && batch->file_id[0]))
        take_text(&batch->file_id, remote->file_id);
    if (!batch->accepted_ms)
        batch->accepted_ms =
            remote->created_ms >= 0 ? remote->created_ms : op_engine_now(engine);
    if (remote->expires_ms >= 0)
        batch->expires_ms = remote->expires_ms;
    if (remote->ended_ms >= 0)
        batch->ended_ms = remote->ended_ms;
}
