/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "engine/work.h"

/* A target that cannot be written now is tried again after this. */
#define DELIVER_AGAIN_MS (30 * OP_SECOND_MS)

/* Carries the outbox of one output on. *ret_all: the target holds everything committed. */
static enum op_rc deliver_output(struct op_work *work, int output, bool last, bool *ret_all,
                                 bool *ret_moved, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    struct op_outbox box;
    enum op_rc rc = op_ledger_outbox_get(engine->ledger, work->job.id, output, &box, err);
    if (rc)
        return rc;
    *ret_all = box.delivered == box.committed;
    if (box.committed == 0 || (*ret_all && !last))
        return OP_OK;
    struct op_sqlenv *sql = NULL; /* opens the sinks */
    rc = op_work_sql(work, &sql, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_mem_freep) char *name = op_work_outbox(work, output);
    OP_CLEANUP(op_mem_freep) char *path = op_spool_path(engine->spool, name);
    int64_t delivered = box.delivered;
    OP_FAULT(engine, "deliver.before");
    rc = op_sink_deliver(work->plan->outputs[output].sink, path, box.delivered, box.committed,
                         last, &delivered, err);
    if (rc)
        return op_err_wrap(err, "%s", work->def.outputs[output].place);
    if (delivered == box.delivered)
        return OP_OK;
    OP_FAULT(engine, "deliver.between");
    box.job_id = work->job.id;
    box.output = output;
    box.delivered = delivered;
    rc = op_ledger_outbox_set(engine->ledger, &box, err);
    OP_FAULT(engine, "deliver.after");
    *ret_all = box.delivered == box.committed;
    *ret_moved = true;
    if (!rc)
        op_log(OP_EVENT_OUTPUT_WRITTEN, OP_F("job", work->job.id),
               OP_T("target", work->plan->outputs[output].target), OP_F("rows", box.rows));
    return rc;
}

struct seal {
    struct op_work *work;
    int64_t count;
};

static enum op_rc seal_one(void *arg, const struct op_batch *found, struct op_err *err)
{
    struct seal *seal = arg;
    struct op_batch batch = *found;
    op_realtime_forget(seal->work->engine, &batch);
    enum op_rc rc =
        op_ledger_batch_go(seal->work->engine->ledger, &batch, OP_BATCH_SEALED, "", err);
    seal->count++;
    return rc ? rc : op_work_event(seal->work, &batch, err);
}

/* Everything applied so far has reached its targets. */
static enum op_rc seal_applied(struct op_work *work, bool *ret_sealed, struct op_err *err)
{
    struct seal seal = {.work = work};
    struct op_batch_filter filter = {.job_id = work->job.id,
                                     .states = OP_STATE_BIT(OP_BATCH_APPLIED)};
    enum op_rc rc = op_ledger_begin(work->engine->ledger, err);
    if (rc)
        return rc;
    rc = op_ledger_batches(work->engine->ledger, &filter, seal_one, &seal, err);
    if (!rc)
        rc = op_ledger_commit(work->engine->ledger, err);
    if (rc)
        op_ledger_rollback(work->engine->ledger);
    if (!rc && seal.count) {
        *ret_sealed = true;
        OP_FAULT(work->engine, "seal.after");
    }
    return rc;
}

static enum op_rc deliver(struct op_work *work, bool last, bool *ret_moved, struct op_err *err)
{
    bool all = true;
    for (size_t i = 0; i < work->def.output_count; i++) {
        bool output_all = true;
        enum op_rc rc = deliver_output(work, (int)i, last, &output_all, ret_moved, err);
        if (rc)
            return rc;
        all = all && output_all;
    }
    return all ? seal_applied(work, ret_moved, err) : OP_OK;
}

enum op_rc op_deliver_all(struct op_work *work, bool last, struct op_err *err)
{
    bool moved = false;
    return deliver(work, last, &moved, err);
}

enum op_rc op_step_deliver(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    (void)err;
    struct op_engine *engine = work->engine;
    int64_t now = op_engine_now(engine);
    if (!op_engine_is_due(engine, work->deliver_due_ms, now)) {
        op_engine_due(engine, work->deliver_due_ms);
        return OP_OK;
    }
    bool moved = false;
    struct op_err why = OP_ERR_INIT;
    if (deliver(work, false, &moved, &why)) {
        /* The rows are safe in the outbox: a target that is busy or full holds up nothing else. */
        op_log(OP_EVENT_OUTPUT_FAILED, OP_F("job", work->job.id), OP_T("why", why.msg));
        work->deliver_due_ms = now + DELIVER_AGAIN_MS;
        op_engine_due(engine, work->deliver_due_ms);
        return OP_OK;
    }
    work->deliver_due_ms = 0;
    *ret_worked = moved;
    return OP_OK;
}
