/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "base/mem.h"
#include "engine/apply.h"

/* How often this request has already failed in this way; the evidence is its stored results. */
struct history {
    struct op_work *work; /* each provider of a chain has its own count */
    enum op_reask kind;
    int64_t count;
};

static enum op_reask reask_kind(enum op_result_class class_, bool valid)
{
    switch (class_) {
    case OP_RESULT_SUCCEEDED:
        return valid ? OP_REASK_NONE : OP_REASK_INVALID;
    case OP_RESULT_TRUNCATED:
        return OP_REASK_TRUNCATED;
    case OP_RESULT_ERRORED:
    case OP_RESULT_EXPIRED:
    case OP_RESULT_CANCELED:
    case OP_RESULT_ABSENT:
        return OP_REASK_SAME;
    case OP_RESULT_REFUSED:
    case OP_RESULT_CLASS_COUNT:
    default:
        return OP_REASK_NONE;
    }
}

static enum op_rc count_result(void *arg, const struct op_result_row *row, struct op_err *err)
{
    struct history *h = arg;
    struct op_work *leg = NULL;
    if (reask_kind(row->class_, row->valid) != h->kind)
        return OP_OK;
    enum op_rc rc = op_work_leg_of_batch(h->work, row->batch_id, &leg, err);
    h->count += leg == h->work;
    return rc;
}

static int64_t allowed(const struct op_work *work, enum op_reask kind)
{
    switch (kind) {
    case OP_REASK_INVALID:
        return work->def.reask_invalid;
    case OP_REASK_TRUNCATED:
        return work->def.reask_truncated;
    case OP_REASK_SAME:
        return work->def.reask_failed;
    case OP_REASK_NONE:
    default:
        return 0;
    }
}

/* The policy of DESIGN.md 4.8. The present result is already stored, so it counts itself. */
static enum op_rc may_reask(struct op_verdicts *v, const struct op_entry *entry, bool *ret,
                            struct op_err *err)
{
    struct history h = {.work = v->work, .kind = reask_kind(entry->class_, entry->valid)};
    *ret = false;
    if (h.kind == OP_REASK_NONE ||
        (entry->class_ == OP_RESULT_ERRORED && entry->disp == OP_DISP_REJECT))
        return OP_OK;
    if (op_disp_pauses(entry->disp) &&
        (entry->class_ == OP_RESULT_ERRORED || entry->class_ == OP_RESULT_CANCELED)) {
        /* Not this request's fault: it is asked again as often as the account needs. Canceled is
         * what was not asked at all, because another provider is. */
        *ret = true;
        return OP_OK;
    }
    enum op_rc rc = op_ledger_request_results(v->work->engine->ledger, entry->member.request_id,
                                              count_result, &h, err);
    *ret = h.count <= allowed(v->work, h.kind);
    return rc;
}

/* Another provider may be asked. */
static bool is_quota(const struct op_entry *entry)
{
    return entry->disp == OP_DISP_QUOTA &&
           (entry->class_ == OP_RESULT_ERRORED || entry->class_ == OP_RESULT_CANCELED);
}

static void note_pause(struct op_verdicts *v, const struct op_entry *entry,
                       struct op_str problem)
{
    if (entry->class_ != OP_RESULT_ERRORED || !op_disp_pauses(entry->disp) || v->pause)
        return;
    v->pause = true;
    op_err_set_as(&v->pause_why, OP_REMOTE, entry->disp, OP_STR_FMT, OP_STR_ARG(problem));
}

static enum op_rc ask_again(struct op_verdicts *v, struct op_request *request,
                            const struct op_entry *entry, struct op_err *err)
{
    int64_t batch = request->batch_id;
    request->batch_id = 0;
    request->buy_no++;
    request->reask = reask_kind(entry->class_, entry->valid);
    enum op_rc rc =
        op_ledger_request_go(v->work->engine->ledger, request, batch, OP_REQUEST_NEW, err);
    if (rc)
        return rc;
    if (request->record_id)
        v->counts.reasked++;
    op_log(OP_EVENT_REQUEST_REASKED, OP_F("request", request->id), OP_F("batch", batch),
           OP_T("why", request->reason));
    return OP_OK;
}

static enum op_rc finish(struct op_verdicts *v, struct op_request *request,
                         const struct op_entry *entry, struct op_str line, struct op_err *err)
{
    bool canceled = v->work->job.state == OP_JOB_CANCELING || v->batch->cancel_wanted;
    /* Some providers say nothing of what a cancel has kept from being asked. */
    bool unasked = entry->class_ == OP_RESULT_CANCELED || entry->class_ == OP_RESULT_ABSENT;
    enum op_request_state to = canceled && unasked ? OP_REQUEST_CANCELED : OP_REQUEST_FAILED;
    enum op_rc rc =
        op_ledger_request_go(v->work->engine->ledger, request, request->batch_id, to, err);
    if (!rc)
        rc = op_digest_final(v->digest, entry, line, request->reason, v->frames, v->rows, err);
    if (rc)
        return rc;
    if (request->record_id && to == OP_REQUEST_FAILED) {
        v->counts.failed++;
        op_log(OP_EVENT_REQUEST_FAILED, OP_F("request", request->id),
               OP_F("batch", request->batch_id), OP_T("why", request->reason));
    } else if (request->record_id) {
        v->counts.canceled++;
    }
    return OP_OK;
}

enum op_rc op_verdict_bad(struct op_verdicts *v, const struct op_entry *entry,
                          struct op_str problem, struct op_str line, struct op_err *err)
{
    struct op_ledger *ledger = v->work->engine->ledger;
    OP_CLEANUP(op_request_release) struct op_request request = {0};
    enum op_rc rc = op_ledger_request_get(ledger, entry->member.request_id, &request, err);
    if (rc)
        return rc;
    problem = op_str_trim(problem); /* a list of lines ends in one */
    op_mem_free(request.reason);
    request.reason =
        op_mem_printf("%s" OP_STR_FMT, is_quota(entry) ? op_no_quota : "", OP_STR_ARG(problem));
    note_pause(v, entry, problem);
    if (entry->class_ == OP_RESULT_SUCCEEDED) {
        v->counts.invalid++;
        rc = op_ledger_note_add(ledger, v->work->job.id, v->batch->id, request.id,
                                entry->by_schema ? "schema" : "check", problem, err);
        op_log(OP_EVENT_ANSWER_INVALID, OP_F("request", request.id), OP_S("why", problem));
    } else {
        rc = op_ledger_note_add(ledger, v->work->job.id, v->batch->id, request.id, "error",
                                problem, err);
    }
    bool again = false;
    bool withdrawn = v->work->job.state == OP_JOB_CANCELING || v->batch->cancel_wanted;
    if (!rc && !withdrawn && !v->work->imported)
        rc = may_reask(v, entry, &again, err);
    v->again = again;
    if (rc)
        return rc;
    if (again)
        return ask_again(v, &request, entry, err);
    return finish(v, &request, entry, line, err);
}

void op_verdicts_release(struct op_verdicts *v)
{
    op_spending_release(&v->spending);
}

enum op_rc op_verdict_good(struct op_verdicts *v, const struct op_entry *entry,
                           int64_t expected_batch, struct op_err *err)
{
    char none[] = "";
    struct op_request request = {
        .id = entry->member.request_id,
        .job_id = v->work->job.id,
        .state = expected_batch ? OP_REQUEST_PACKED : OP_REQUEST_WAITING,
        .batch_id = v->batch ? v->batch->id : 0,
        .buy_no = entry->member.buy_no,
        .reason = none,
    };
    enum op_rc rc = op_ledger_request_go(v->work->engine->ledger, &request, expected_batch,
                                         OP_REQUEST_DONE, err);
    if (!rc && entry->member.record_id)
        v->counts.done++;
    return rc;
}
