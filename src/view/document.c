/* SPDX-License-Identifier: MIT */
#include "view/document.h"

#include "base/mem.h"
#include "base/time.h"
#include "view/queues.h"
#include "view/summary.h"

/* --- everything --------------------------------------------------------------------------- */

static enum op_rc see_job(void *arg, const struct op_job *job, struct op_err *err)
{
    (void)err;
    struct op_overview *v = arg;
    const struct op_job_counts *c = &job->counts;
    bool final = op_job_is_final(job->state);
    v->states[job->state]++;
    v->open += !final;
    v->sum.requests += c->requests;
    v->sum.done += c->done;
    v->sum.failed += c->failed;
    v->sum.canceled += c->canceled;
    v->sum.spent_microusd += c->spent_microusd;
    v->sum.reserved_microusd += c->reserved_microusd;
    if (v->chosen || v->count == OP_OVERVIEW_MAX || (final && v->recent >= OP_OVERVIEW_RECENT))
        return OP_OK;
    v->recent += final;
    v->jobs[v->count++] = job->id;
    return OP_OK;
}

enum op_rc op_overview_read(struct op_ledger *ledger, struct op_overview *overview,
                            struct op_err *err)
{
    return op_ledger_jobs(ledger, false, see_job, overview, err);
}

struct lanes {
    struct op_ledger *ledger;
    struct op_json_out *json;
};

static enum op_rc json_lane(void *arg, const struct op_lane_row *row, struct op_err *err)
{
    const struct lanes *lanes = arg;
    struct op_json_out *out = lanes->json;
    struct op_env *env = op_env_default();
    bool paused = row->paused_until_ms > env->ops->now_ms(env);
    op_json_out_object(out);
    op_json_out_kv_text(out, "provider", row->provider);
    op_json_out_kv_text(out, "base_url", row->base_url);
    op_json_out_kv_text(out, "key", row->fingerprint);
    op_json_out_kv_bool(out, "paused", paused);
    op_json_out_name(out, "paused_until");
    char text[OP_TIME_TEXT];
    op_time_format(row->paused_until_ms, text);
    if (paused && row->paused_until_ms != INT64_MAX)
        op_json_out_text(out, text);
    else
        op_json_out_null(out);
    op_json_out_kv_text(out, "reason", paused ? row->reason : "");
    enum op_rc rc = op_queues_json(lanes->ledger, row->id, out, err);
    op_json_out_end_object(out);
    return rc;
}

static void json_states(const struct op_overview *v, const struct op_batch_counts *batches,
                        struct op_json_out *out)
{
    op_json_out_name(out, "counts");
    op_json_out_object(out);
    op_json_out_name(out, "jobs");
    op_json_out_object(out);
    for (size_t i = 0; i < OP_JOB_STATE_COUNT; i++)
        op_json_out_kv_int(out, op_job_state_name((enum op_job_state)i), v->states[i]);
    op_json_out_end_object(out);
    op_json_out_name(out, "batches");
    op_json_out_object(out);
    for (size_t i = 0; i < OP_BATCH_STATE_COUNT; i++)
        op_json_out_kv_int(out, op_batch_state_name((enum op_batch_state)i),
                           batches->batches[i]);
    op_json_out_end_object(out);
    op_json_out_name(out, "requests");
    op_json_out_object(out);
    op_json_out_kv_int(out, "total", v->sum.requests);
    op_json_out_kv_int(out, "open",
                       v->sum.requests - v->sum.done - v->sum.failed - v->sum.canceled);
    op_json_out_kv_int(out, "done", v->sum.done);
    op_json_out_kv_int(out, "failed", v->sum.failed);
    op_json_out_kv_int(out, "canceled", v->sum.canceled);
    op_json_out_end_object(out);
    op_json_out_end_object(out);
}

static enum op_rc json_engine(struct op_engine *engine, const struct op_overview *v,
                              struct op_json_out *out, struct op_err *err)
{
    struct lanes lanes = {.ledger = op_engine_ledger(engine), .json = out};
    op_json_out_name(out, "lanes");
    op_json_out_array(out);
    enum op_rc rc = op_ledger_lanes(lanes.ledger, json_lane, &lanes, err);
    op_json_out_end_array(out);
    op_json_out_name(out, "jobs");
    op_json_out_array(out);
    for (size_t i = 0; !rc && i < v->count; i++)
        rc = op_summary_json(engine, v->jobs[i], false, out, err);
    op_json_out_end_array(out);
    return rc;
}

enum op_rc op_status_document(struct op_engine *engine, const char *state_dir,
                              const struct op_overview *overview, struct op_json_out *out,
                              struct op_err *err)
{
    struct op_batch_counts batches = {0};
    struct op_str why = OP_STR_NULL;
    struct op_ledger *ledger = engine ? op_engine_ledger(engine) : NULL;
    bool suspect = ledger && op_ledger_is_suspect(ledger, &why);
    enum op_rc rc = ledger ? op_batch_counts_read(ledger, 0, &batches, err) : OP_OK;
    op_json_out_kv_text(out, "state_dir", state_dir);
    op_json_out_kv_str(out, "suspect", suspect ? why : OP_STR_NULL);
    json_states(overview, &batches, out);
    op_json_out_kv_int(out, "spent_microusd", overview->sum.spent_microusd);
    op_json_out_kv_int(out, "reserved_microusd", overview->sum.reserved_microusd);
    if (!rc && engine)
        return json_engine(engine, overview, out, err);
    /* The same form as ever, so that a script needs no special case. */
    op_json_out_name(out, "lanes");
    op_json_out_raw(out, OP_STR("[]"));
    op_json_out_name(out, "jobs");
    op_json_out_raw(out, OP_STR("[]"));
    return rc;
}

/* --- a job -------------------------------------------------------------------------------- */

struct batches {
    struct op_engine *engine;
    struct op_json_out *json;
};

static enum op_rc json_batch(void *arg, const struct op_batch *batch, struct op_err *err)
{
    const struct batches *b = arg;
    return op_batch_json(b->engine, batch, b->json, err);
}

enum op_rc op_job_document(struct op_engine *engine, int64_t id, struct op_json_out *out,
                           struct op_err *err)
{
    struct op_batch_filter filter = {.job_id = id};
    struct batches b = {.engine = engine, .json = out};
    op_json_out_name(out, "job");
    enum op_rc rc = op_summary_json(engine, id, true, out, err);
    op_json_out_name(out, "batches");
    op_json_out_array(out);
    if (!rc)
        rc = op_ledger_batches(op_engine_ledger(engine), &filter, json_batch, &b, err);
    op_json_out_end_array(out);
    return rc;
}

/* --- a batch ------------------------------------------------------------------------------ */

static enum op_rc json_entry(void *arg, const struct op_journal_entry *entry,
                             struct op_err *err)
{
    (void)err;
    struct op_json_out *out = arg;
    char at[OP_TIME_TEXT];
    op_time_format(entry->at_ms, at);
    op_json_out_object(out);
    op_json_out_kv_text(out, "at", at);
    op_json_out_kv_text(out, "from", entry->from);
    op_json_out_kv_text(out, "to", entry->to);
    op_json_out_kv_int(out, "epoch", entry->epoch);
    op_json_out_kv_text(out, "evidence", entry->evidence);
    op_json_out_end_object(out);
    return OP_OK;
}

/* Notes about the batch itself; those about its requests are shown with their records. */
static enum op_rc json_note(void *arg, const struct op_note *note, struct op_err *err)
{
    (void)err;
    struct op_json_out *out = arg;
    char at[OP_TIME_TEXT];
    if (note->request_id)
        return OP_OK;
    op_time_format(note->at_ms, at);
    op_json_out_object(out);
    op_json_out_kv_text(out, "at", at);
    op_json_out_kv_text(out, "kind", note->kind);
    op_json_out_kv_text(out, "text", note->text);
    op_json_out_end_object(out);
    return OP_OK;
}

enum op_rc op_batch_document(struct op_engine *engine, int64_t id, struct op_json_out *out,
                             struct op_err *err)
{
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    struct op_ledger *ledger = op_engine_ledger(engine);
    enum op_rc rc = op_ledger_batch_get(ledger, id, &batch, err);
    if (rc)
        return rc;
    op_json_out_name(out, "batch");
    rc = op_batch_json(engine, &batch, out, err);
    op_json_out_name(out, "journal");
    op_json_out_array(out);
    if (!rc)
        rc = op_ledger_journal(ledger, id, json_entry, out, err);
    op_json_out_end_array(out);
    op_json_out_name(out, "notes");
    op_json_out_array(out);
    if (!rc)
        rc = op_ledger_notes(ledger, 0, id, 0, json_note, out, err);
    op_json_out_end_array(out);
    return rc;
}
