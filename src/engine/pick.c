/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "base/time.h"
#include "engine/work.h"

struct pick {
    struct op_work *work;
    const struct op_lane *lane; /* NULL: any */
    int64_t now_ms;
    int64_t id;
};

/* Nothing is ever put off by more than this, so a later time was written by a clock that has been
 * set back since. Waiting for it could take years, and trying early does no harm. */
#define FURTHEST_MS OP_HOUR_MS

bool op_engine_is_due(const struct op_engine *engine, int64_t due_ms, int64_t now_ms)
{
    int64_t furthest =
        engine->options.poll_ms > FURTHEST_MS ? engine->options.poll_ms : FURTHEST_MS;
    return due_ms <= now_ms || due_ms - now_ms > furthest;
}

/* The walk goes on after the first hit only to learn the earliest due time of the others. */
static enum op_rc look(void *arg, const struct op_batch *batch, struct op_err *err)
{
    (void)err;
    struct pick *pick = arg;
    struct op_engine *engine = pick->work->engine;
    if (!op_work_owns(pick->work, batch) ||
        (pick->lane && op_batch_lane(pick->work, batch) != pick->lane))
        return OP_OK;
    /* Nobody can be asked about it but the lane itself. */
    if (batch->state == OP_BATCH_ACCEPTED && op_batch_is_realtime(batch))
        return OP_OK;
    bool due = op_engine_is_due(engine, batch->due_ms, pick->now_ms);
    if (due && !pick->id)
        pick->id = batch->id;
    else if (!due)
        op_engine_due(engine, batch->due_ms);
    return OP_OK;
}

enum op_rc op_batch_pick(struct op_work *work, const struct op_lane *lane, uint32_t states,
                         struct op_batch *ret, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    struct op_batch_filter filter = {.job_id = work->job.id, .states = states};
    struct pick pick = {.work = work, .lane = lane, .now_ms = op_engine_now(engine)};
    enum op_rc rc = op_ledger_batches(engine->ledger, &filter, look, &pick, err);
    if (rc)
        return rc;
    if (!pick.id)
        return OP_NOTFOUND;
    return op_ledger_batch_get(engine->ledger, pick.id, ret, err);
}
