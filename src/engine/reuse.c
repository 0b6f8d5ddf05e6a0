/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "engine/apply.h"

/* Requests answered in one transaction. */
#define REUSE_CHUNK 1000

struct reuse {
    struct op_work *work;
    struct op_digest *digest;
    struct op_chunk *chunk;
    struct op_verdicts v;
    struct op_buf line;
    int64_t looked_at, settled;
};

/* The stored line of the answer that request `primary` got. */
static enum op_rc load_answer(struct reuse *r, const struct op_request *primary,
                              struct op_err *err)
{
    struct op_engine *engine = r->work->engine;
    struct op_result_row row;
    struct op_result_file file = {0};
    enum op_rc rc =
        op_ledger_result_get(engine->ledger, primary->batch_id, primary->id, &row, err);
    if (!rc)
        rc = op_ledger_result_file_get(engine->ledger, row.batch_id, row.part, &file, err);
    op_buf_clear(&r->line);
    if (!rc)
        rc = op_spool_read(engine->spool, file.file, row.offset, row.len, &r->line, err);
    op_result_file_release(&file);
    if (rc)
        return rc;
    struct op_batch batch = {0};
    rc = op_ledger_batch_get(engine->ledger, row.batch_id, &batch, err);
    if (!rc)
        rc = op_digest_take_batch(r->digest, &batch, err);
    return rc;
}

/* The answer was there and is lost from the spool: it has to be bought again, and that is said. */
static enum op_rc ask_anew(struct reuse *r, const struct op_request *request,
                           const struct op_err *lost, struct op_err *err)
{
    struct op_request moved = *request;
    OP_CLEANUP(op_mem_freep)
    char *reason = op_mem_printf("the answer of an identical request is lost: %s", lost->msg);
    moved.reason = reason;
    op_log(OP_EVENT_REQUEST_REASKED, OP_F("request", request->id), OP_T("why", reason));
    enum op_rc rc = op_ledger_note_add(r->work->engine->ledger, request->job_id, 0, request->id,
                                       "error", op_str_from(reason), err);
    return rc ? rc
              : op_ledger_request_go(r->work->engine->ledger, &moved, 0, OP_REQUEST_NEW, err);
}

static enum op_rc take_answer(struct reuse *r, const struct op_request *request,
                              const struct op_request *primary, struct op_err *err)
{
    struct op_engine *engine = r->work->engine;
    struct op_err lost = OP_ERR_INIT;
    enum op_rc rc = load_answer(r, primary, &lost);
    if (op_is_lost(rc, &lost))
        return ask_anew(r, request, &lost, err);
    if (rc) {
        *err = lost;
        return rc;
    }
    struct op_member member = {.request_id = request->id,
                               .record_id = request->record_id,
                               .name = request->name,
                               .buy_no = request->buy_no};
    size_t at = r->chunk->count;
    rc = op_digest_reuse(r->digest, &member, op_buf_str(&r->line), r->chunk, &lost);
    if (rc == OP_INVAL)
        return ask_anew(r, request, &lost, err);
    if (rc) {
        *err = lost;
        return rc;
    }
    const struct op_entry *entry = &r->chunk->entries[at];
    struct op_request moved = *request;
    if (!entry->valid) {
        /* Good enough for the other job's rules, not for this one's: it is asked for itself. */
        return op_ledger_request_go(engine->ledger, &moved, 0, OP_REQUEST_NEW, err);
    }
    rc = op_ledger_request_go(engine->ledger, &moved, 0, OP_REQUEST_DONE, err);
    r->v.counts.done++;
    r->v.counts.reused++;
    return rc;
}

/* What becomes of the identical request becomes of this one, in the outputs as well. */
static enum op_rc final_rows(struct reuse *r, const struct op_request *request,
                             const struct op_request *primary, const char *reason,
                             struct op_err *err)
{
    struct op_entry entry = {.kind = OP_ENTRY_RESULT,
                             .class_ = OP_RESULT_ABSENT,
                             .member = {.request_id = request->id,
                                        .record_id = request->record_id,
                                        .name = request->name,
                                        .buy_no = request->buy_no}};
    struct op_result_row row;
    struct op_err none = OP_ERR_INIT;
    bool has_line = !op_ledger_result_get(r->work->engine->ledger, primary->batch_id,
                                          primary->id, &row, &none) &&
                    row.part >= 0 && !load_answer(r, primary, &none);
    if (has_line)
        entry.class_ = row.class_;
    return op_digest_final(r->digest, &entry, has_line ? op_buf_str(&r->line) : OP_STR_NULL,
                           reason, r->chunk->frames, r->chunk->rows, err);
}

static enum op_rc primary_failed(struct reuse *r, const struct op_request *request,
                                 const struct op_request *primary, struct op_err *err)
{
    struct op_request moved = *request;
    if (primary->job_id != r->work->job.id)
        return op_ledger_request_go(r->work->engine->ledger, &moved, 0, OP_REQUEST_NEW, err);
    OP_CLEANUP(op_mem_freep) char *reason = op_mem_strdup(primary->reason);
    moved.reason = reason;
    bool canceled = primary->state == OP_REQUEST_CANCELED;
    if (canceled)
        r->v.counts.canceled++;
    else
        r->v.counts.failed++;
    enum op_rc rc =
        op_ledger_request_go(r->work->engine->ledger, &moved, 0,
                             canceled ? OP_REQUEST_CANCELED : OP_REQUEST_FAILED, err);
    return rc ? rc : final_rows(r, request, primary, reason, err);
}

/* An answer is read by the leg whose provider gave it. */
static enum op_rc is_mine(struct reuse *r, const struct op_request *primary, bool *ret,
                          struct op_err *err)
{
    struct op_work *leg = NULL;
    int64_t batch = op_request_is_final(primary->state) ? primary->batch_id : 0;
    enum op_rc rc = op_work_leg_of_batch(r->work, batch, &leg, err);
    *ret = leg == r->work;
    return rc;
}

static enum op_rc settle_follower(void *arg, const struct op_request *request,
                                  struct op_err *err)
{
    struct reuse *r = arg;
    struct op_ledger *ledger = r->work->engine->ledger;
    OP_CLEANUP(op_request_release) struct op_request primary = {0};
    enum op_rc rc = op_ledger_request_get(ledger, request->same_as, &primary, err);
    bool gone = rc == OP_NOTFOUND;
    if (gone)
        op_err_clear(err);
    else if (rc)
        return rc;
    bool mine = true;
    rc = is_mine(r, &primary, &mine, err);
    if (rc || !mine)
        return rc;
    if (gone || memcmp(primary.hash, request->hash, OP_HASH_LEN) != 0) {
        struct op_request moved = *request;
        char reason[] =
            "the identical request it waited for was withdrawn; run the pipeline again";
        moved.reason = reason;
        r->settled++;
        r->v.counts.failed++;
        return op_ledger_request_go(ledger, &moved, 0, OP_REQUEST_FAILED, err);
    }
    if (!op_request_is_final(primary.state)) {
        if (primary.job_id != r->work->job.id)
            r->work->waits_for_job = primary.job_id;
        return OP_OK;
    }
    r->settled++;
    rc = primary.state == OP_REQUEST_DONE ? take_answer(r, request, &primary, err)
                                          : primary_failed(r, request, &primary, err);
    /* Enough for one transaction; the walk goes on in the next step. */
    if (!rc && r->settled >= REUSE_CHUNK)
        return OP_STOPPED;
    return rc;
}

static enum op_rc settle_followers(struct reuse *r, struct op_err *err)
{
    struct op_work *work = r->work;
    struct op_ledger *ledger = work->engine->ledger;
    enum op_rc rc = op_ledger_begin(ledger, err);
    if (rc)
        return rc;
    rc = op_ledger_requests(ledger, work->job.id, OP_REQUEST_WAITING, 0, settle_follower, r,
                            err);
    if (rc == OP_STOPPED && !err->rc)
        rc = OP_OK;
    /* Those they follow may take a day: nothing is written each time somebody looks. */
    if (!rc && !r->settled) {
        op_ledger_rollback(ledger);
        return OP_OK;
    }
    if (!rc)
        rc = op_work_append(work, r->chunk->frames, r->chunk->rows, err);
    for (size_t i = 0; i < work->def.output_count; i++)
        r->v.counts.rows += r->chunk->rows[i];
    if (!rc)
        rc = op_ledger_job_count(ledger, work->job.id, &r->v.counts, err);
    if (!rc)
        rc = op_ledger_commit(ledger, err);
    if (rc)
        op_ledger_rollback(ledger);
    return rc;
}

static bool all_settled(const struct op_job *job)
{
    return job->counts.done + job->counts.failed + job->counts.canceled >= job->counts.requests;
}

enum op_rc op_step_reuse(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    bool waiting = false;
    work->waits_for_job = 0;
    if (all_settled(&work->job) || work->job.state == OP_JOB_CANCELING)
        return OP_OK;
    enum op_rc rc = op_ledger_job_has(work->engine->ledger, work->job.id, OP_REQUEST_WAITING,
                                      &waiting, err);
    if (rc || !waiting)
        return rc;
    struct reuse r = {.work = work};
    struct op_batch none = {0};
    op_buf_init(&r.line, OP_RESULT_LINE_MAX);
    rc = op_digest_open(work, &none, NULL, 0, &r.digest, err);
    if (!rc) {
        r.chunk = op_chunk_new(work);
        r.v = (struct op_verdicts){.work = work, .digest = r.digest};
        rc = settle_followers(&r, err);
    }
    op_chunk_free(work, r.chunk);
    op_digest_close(r.digest);
    op_buf_release(&r.line);
    if (!rc && r.settled)
        *ret_worked = true;
    return rc;
}
