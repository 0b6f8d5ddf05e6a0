/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "base/mem.h"
#include "engine/work.h"

static enum op_rc see_any(void *arg, const struct op_batch *batch, struct op_err *err)
{
    (void)batch;
    (void)err;
    *(bool *)arg = true;
    return OP_OK;
}

/* Batches that may still bring or cost something. */
static enum op_rc has_live_batch(struct op_work *work, bool *ret, struct op_err *err)
{
    uint32_t live = 0;
    for (int s = 0; s < OP_BATCH_STATE_COUNT; s++) {
        if (!op_batch_is_final((enum op_batch_state)s) && s != OP_BATCH_APPLIED)
            live |= OP_STATE_BIT(s);
    }
    struct op_batch_filter filter = {.job_id = work->job.id, .states = live};
    *ret = false;
    return op_ledger_batches(work->engine->ledger, &filter, see_any, ret, err);
}

/* The staged inputs of this round are not needed again; left behind by a crash they only take
 * room. */
static void drop_inputs(struct op_work *work)
{
    struct op_err ignored = OP_ERR_INIT;
    OP_CLEANUP(op_mem_freep)
    char *name = op_mem_printf("input/%lld-%lld.db", (long long)work->job.id,
                               (long long)work->job.round);
    op_sqlenv_close(OP_TAKE(work->sql));
    if (op_spool_remove(work->engine->spool, name, &ignored))
        op_log(OP_EVENT_NOTE, OP_T("problem", ignored.msg));
}

/* Every leg reads the inputs of the new round. */
static void enter_round(struct op_work *leg, int64_t round)
{
    leg->plan->options.no_cache = false;
    leg->plan->options.round = round;
    if (!leg->inputs_db)
        return;
    op_sqlenv_close(OP_TAKE(leg->sql));
    OP_CLEANUP(op_mem_freep)
    char *name = op_mem_printf("input/%lld-%lld.db", (long long)leg->job.id, (long long)round);
    op_mem_free(leg->inputs_db);
    leg->inputs_db = op_spool_path(leg->engine->spool, name);
}

static enum op_rc next_round(struct op_work *work, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    int64_t round = work->job.round + 1;
    enum op_rc rc = op_ledger_begin(engine->ledger, err);
    if (rc)
        return rc;
    rc = op_ledger_job_set(engine->ledger, work->job.id, work->job.max_cost_microusd, round,
                           err);
    if (!rc)
        rc = op_ledger_job_go(engine->ledger, work->job.id, OP_JOB_RUNNING, OP_JOB_PLANNING, "",
                              err);
    if (!rc)
        rc = op_ledger_commit(engine->ledger, err);
    if (rc) {
        op_ledger_rollback(engine->ledger);
        return rc;
    }
    if (work->inputs_db)
        drop_inputs(work);
    for (struct op_work *leg = work; leg; leg = leg->next_leg)
        enter_round(leg, round);
    return OP_OK;
}

struct later {
    const struct op_request *failed;
    bool found;
};

static enum op_rc see_later(void *arg, const struct op_request *request, struct op_err *err)
{
    (void)err;
    struct later *later = arg;
    later->found = later->found ||
                   (request->id > later->failed->id && request->name == later->failed->name &&
                    request->state == OP_REQUEST_DONE);
    return OP_OK;
}

enum op_rc op_request_is_superseded(struct op_ledger *ledger, const struct op_request *request,
                                    bool *ret, struct op_err *err)
{
    struct later later = {.failed = request};
    enum op_rc rc = OP_OK;
    if (request->record_id)
        rc = op_ledger_record_requests(ledger, request->record_id, see_later, &later, err);
    *ret = later.found;
    return rc;
}

struct failures {
    struct op_ledger *ledger;
    int64_t lasting;
};

static enum op_rc count_lasting(void *arg, const struct op_request *request, struct op_err *err)
{
    struct failures *f = arg;
    bool superseded = false;
    enum op_rc rc = op_request_is_superseded(f->ledger, request, &superseded, err);
    f->lasting += request->record_id && !superseded;
    return rc;
}

/* Failures that no later round has made good. */
static enum op_rc lasting_failures(struct op_work *work, int64_t *ret, struct op_err *err)
{
    struct failures f = {.ledger = work->engine->ledger};
    *ret = work->job.counts.failed;
    if (*ret == 0 || work->job.round <= 1)
        return OP_OK;
    enum op_rc rc = op_ledger_requests(f.ledger, work->job.id, OP_REQUEST_FAILED, 0,
                                       count_lasting, &f, err);
    if (!rc)
        *ret = f.lasting;
    return rc;
}

static enum op_rc final_state(struct op_work *work, enum op_job_state *ret,
                              const char **ret_why, struct op_err *err)
{
    int64_t failed = 0;
    enum op_rc rc = lasting_failures(work, &failed, err);
    if (rc)
        return rc;

    const struct op_job_counts *c = &work->job.counts;
    *ret_why = "";
    if (work->job.state == OP_JOB_CANCELING || c->canceled > 0) {
        *ret = OP_JOB_CANCELED;
        *ret_why = "canceled by the operator";
        if (work->job.state != OP_JOB_CANCELING)
            *ret = OP_JOB_PARTIAL;
    } else if (failed > 0) {
        *ret = OP_JOB_PARTIAL;
        *ret_why = "some requests failed; `offpeak list --failed` names them";
    } else {
        *ret = OP_JOB_DONE;
    }
    return OP_OK;
}

/* A process that ended right behind a job's end has left its last rows in the outbox. */
enum op_rc op_engine_leftovers(struct op_engine *engine, struct op_err *err)
{
    int64_t job = 0;
    for (;;) {
        enum op_rc rc = op_ledger_outbox_left(engine->ledger, job, &job, err);
        if (rc)
            return rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
        struct op_work *work = NULL;
        struct op_err why = OP_ERR_INIT;
        rc = op_work_get(engine, job, &work, &why);
        if (!rc)
            rc = op_deliver_all(work, true, &why);
        /* A target that is gone for good must not hold up what is to be done now. */
        if (rc)
            op_log(OP_EVENT_OUTPUT_FAILED, OP_F("job", job), OP_T("why", why.msg));
        else if (work->inputs_db && work->job.counts.failed == 0)
            drop_inputs(work);
    }
}

enum op_rc op_step_finish(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    const struct op_job_counts *c = &work->job.counts;
    if (c->done + c->failed + c->canceled < c->requests)
        return OP_OK;
    bool live = false;
    enum op_rc rc = has_live_batch(work, &live, err);
    if (rc || live)
        return rc;
    /* A target that refuses now is an error of this run: nothing else is left to do meanwhile. */
    rc = op_deliver_all(work, true, err);
    if (rc)
        return op_err_wrap(err,
                           "job-%lld is answered but not delivered (the rows are kept; run it "
                           "again when this is mended)",
                           (long long)work->job.id);
    *ret_worked = true;
    if (work->job.round < work->def.rounds && work->job.state == OP_JOB_RUNNING)
        return next_round(work, err);
    enum op_job_state to;
    const char *why = "";
    rc = final_state(work, &to, &why, err);
    if (!rc)
        rc = op_work_job_go(work, to, why, err);
    if (!rc)
        rc = op_deliver_all(work, true, err); /* the rows of this very change */
    if (rc)
        return rc;
    /* What failed may be asked again, and its checks and rows read the inputs. */
    if (work->inputs_db && c->failed == 0)
        drop_inputs(work);
    op_log(OP_EVENT_JOB_DONE, OP_F("job", work->job.id),
           OP_T("state", op_job_state_name(work->job.state)), OP_F("done", c->done),
           OP_F("failed", c->failed));
    return OP_OK;
}
