/* SPDX-License-Identifier: MIT */
#include "view/summary.h"

#include <stdio.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "engine/work.h"
#include "view/money.h"
#include "view/text.h"

/* --- counting ----------------------------------------------------------------------------- */

static enum op_rc count_batch(void *arg, const struct op_batch *batch, struct op_err *err)
{
    (void)err;
    struct op_batch_counts *counts = arg;
    counts->batches[batch->state]++;
    counts->requests[batch->state] += batch->count;
    return OP_OK;
}

enum op_rc op_batch_counts_read(struct op_ledger *ledger, int64_t job,
                                struct op_batch_counts *ret, struct op_err *err)
{
    struct op_batch_filter filter = {.job_id = job};
    *ret = (struct op_batch_counts){0};
    return op_ledger_batches(ledger, &filter, count_batch, ret, err);
}

/* --- providers ---------------------------------------------------------------------------- */

struct providers {
    struct op_engine *engine;
    struct op_provider_counts *counts;
};

static enum op_rc add_provider(void *arg, const struct op_batch *batch, struct op_err *err)
{
    struct providers *p = arg;
    struct op_provider_counts *counts = p->counts;
    const char *name = NULL;
    enum op_rc rc = op_engine_provider(p->engine, batch->lane_id, &name, err);
    size_t at = 0;
    while (at < counts->count && counts->of[at].name != name)
        at++;
    if (rc || !name || at == OP_CHAIN_MAX)
        return rc;
    counts->count += at == counts->count;
    counts->of[at].name = name;
    counts->of[at].ok += batch->ok;
    counts->of[at].failed += batch->failed + batch->absent;
    counts->of[at].microusd += batch->spent_microusd;
    bool in_hands = batch->state == OP_BATCH_SENDING || batch->state == OP_BATCH_AMBIGUOUS ||
                    batch->state == OP_BATCH_ACCEPTED;
    if (op_batch_is_realtime(batch))
        return OP_OK;
    counts->in_flight_batches += in_hands;
    counts->in_flight_requests += in_hands ? batch->count : 0;
    counts->answered += batch->ok + batch->failed;
    if (batch->accepted_ms && (!counts->first_ms || batch->accepted_ms < counts->first_ms))
        counts->first_ms = batch->accepted_ms;
    if (batch->ended_ms > counts->last_ms)
        counts->last_ms = batch->ended_ms;
    return OP_OK;
}

enum op_rc op_provider_counts_read(struct op_engine *engine, int64_t job,
                                   struct op_provider_counts *ret, struct op_err *err)
{
    struct providers p = {.engine = engine, .counts = ret};
    struct op_batch_filter filter = {.job_id = job};
    *ret = (struct op_provider_counts){0};
    return op_ledger_batches(op_engine_ledger(engine), &filter, add_provider, &p, err);
}

static void json_rate(struct op_json_out *out, const char *name, bool known, int64_t value)
{
    op_json_out_name(out, name);
    if (known)
        op_json_out_int(out, value);
    else
        op_json_out_null(out);
}

/* What is in the providers' hands at this moment, and how fast answers come. */
static void json_pace(const struct op_provider_counts *counts,
                      const struct op_realtime_view *realtime, int64_t now_ms,
                      struct op_json_out *out)
{
    op_json_out_name(out, "in_flight");
    op_json_out_object(out);
    op_json_out_kv_int(out, "batches", counts->in_flight_batches);
    op_json_out_kv_int(out, "requests", counts->in_flight_requests + realtime->under_way);
    op_json_out_kv_int(out, "realtime", realtime->under_way);
    op_json_out_end_object(out);
    int64_t to = counts->in_flight_batches ? now_ms : counts->last_ms;
    int64_t passed = to - counts->first_ms;
    __int128 per_hour = passed > 0 ? (__int128)counts->answered * OP_HOUR_MS / passed : 0;
    op_json_out_name(out, "rate");
    op_json_out_object(out);
    json_rate(out, "realtime_per_second", realtime->under_way || realtime->answered,
              realtime->rate);
    json_rate(out, "batches_per_hour", counts->answered && passed > 0,
              per_hour > INT64_MAX ? INT64_MAX : (int64_t)per_hour);
    op_json_out_end_object(out);
}

static void json_providers(const struct op_provider_counts *counts, struct op_json_out *out)
{
    op_json_out_name(out, "providers");
    op_json_out_array(out);
    for (size_t i = 0; i < counts->count; i++) {
        op_json_out_object(out);
        op_json_out_kv_text(out, "provider", counts->of[i].name);
        op_json_out_kv_int(out, "ok", counts->of[i].ok);
        op_json_out_kv_int(out, "failed", counts->of[i].failed);
        op_json_out_kv_int(out, "microusd", counts->of[i].microusd);
        op_json_out_end_object(out);
    }
    op_json_out_end_array(out);
}

/* --- JSON --------------------------------------------------------------------------------- */

static void json_time(struct op_json_out *out, const char *name, int64_t ms)
{
    char text[OP_TIME_TEXT];
    op_json_out_name(out, name);
    if (ms > 0) {
        op_time_format(ms, text);
        op_json_out_text(out, text);
    } else {
        op_json_out_null(out);
    }
}

static void json_counts(const struct op_job_counts *c, struct op_json_out *out)
{
    const struct {
        const char *name;
        int64_t value;
    } rows[] = {
        {"records", c->records},   {"skipped", c->skipped},
        {"requests", c->requests}, {"open", c->requests - c->done - c->failed - c->canceled},
        {"done", c->done},         {"failed", c->failed},
        {"canceled", c->canceled}, {"reused", c->reused},
        {"invalid", c->invalid},   {"reasked", c->reasked},
        {"warnings", c->warnings}, {"rows", c->rows},
    };
    op_json_out_name(out, "counts");
    op_json_out_object(out);
    for (size_t i = 0; i < OP_COUNT(rows); i++)
        op_json_out_kv_int(out, rows[i].name, rows[i].value);
    op_json_out_end_object(out);
}

void op_usage_json(const struct op_usage *usage, struct op_json_out *out)
{
    static const char *const names[OP_TOKEN_KIND_COUNT] = {"input", "write_5m", "write_1h",
                                                           "read", "output"};
    op_json_out_name(out, "tokens");
    op_json_out_object(out);
    for (size_t i = 0; i < OP_TOKEN_KIND_COUNT; i++)
        op_json_out_kv_int(out, names[i], usage->tokens[i]);
    op_json_out_end_object(out);
}

static void json_batches(const struct op_batch_counts *counts, struct op_json_out *out)
{
    op_json_out_name(out, "batches");
    op_json_out_object(out);
    for (size_t i = 0; i < OP_BATCH_STATE_COUNT; i++)
        if (counts->batches[i])
            op_json_out_kv_int(out, op_batch_state_name((enum op_batch_state)i),
                               counts->batches[i]);
    op_json_out_end_object(out);
}

/* params and options are JSON of the ledger's own. */
static void json_raw(struct op_json_out *out, const char *name, const char *json)
{
    op_json_out_name(out, name);
    op_json_out_raw(out, op_str_from(json && json[0] ? json : "null"));
}

enum op_rc op_batch_json(struct op_engine *engine, const struct op_batch *batch,
                         struct op_json_out *out, struct op_err *err)
{
    const char *provider = NULL;
    enum op_rc rc = op_engine_provider(engine, batch->lane_id, &provider, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_mem_freep) char *id = op_mem_printf("batch-%lld", (long long)batch->id);
    OP_CLEANUP(op_mem_freep) char *job = op_mem_printf("job-%lld", (long long)batch->job_id);
    op_json_out_object(out);
    op_json_out_kv_text(out, "id", id);
    op_json_out_kv_text(out, "job", job);
    op_json_out_kv_text(out, "state", op_batch_state_name(batch->state));
    op_json_out_kv_text(out, "provider", provider);
    op_json_out_kv_text(out, "provider_id", batch->provider_id);
    op_json_out_kv_text(out, "remote_state", batch->remote_state);
    op_json_out_kv_text(out, "model", batch->model);
    op_json_out_kv_text(out, "endpoint", batch->endpoint);
    op_json_out_kv_int(out, "estimated_prompt_tokens", batch->tokens);
    op_json_out_kv_text(out, "file_id", batch->file_id);
    op_json_out_kv_text(out, "twins", batch->twins);
    op_json_out_kv_int(out, "twins_microusd", batch->extra_microusd);
    op_json_out_kv_int(out, "requests", batch->count);
    op_json_out_kv_int(out, "ok", batch->ok);
    op_json_out_kv_int(out, "failed", batch->failed);
    op_json_out_kv_int(out, "absent", batch->absent);
    op_json_out_kv_int(out, "spent_microusd", batch->spent_microusd);
    op_json_out_kv_int(out, "reserved_microusd", batch->reserved_microusd);
    json_time(out, "accepted", batch->accepted_ms);
    json_time(out, "expires", batch->expires_ms);
    json_time(out, "ended", batch->ended_ms);
    op_json_out_kv_text(out, "evidence", batch->evidence);
    op_json_out_end_object(out);
    return OP_OK;
}

/* --- outputs ------------------------------------------------------------------------------ */

typedef void (*output_fn)(void *arg, const struct op_plan_output *output,
                          const struct op_outbox *box);

/* A job whose definition cannot be loaded any more has its counts still. */
static enum op_rc each_output(struct op_engine *engine, int64_t job, output_fn fn, void *arg,
                              struct op_err *err)
{
    struct op_work *work = NULL;
    struct op_err ignored = OP_ERR_INIT;
    if (op_engine_work(engine, job, &work, &ignored))
        return OP_OK;
    for (size_t i = 0; i < work->def.output_count; i++) {
        struct op_outbox box;
        enum op_rc rc = op_ledger_outbox_get(op_engine_ledger(engine), job, (int)i, &box, err);
        if (rc)
            return rc;
        fn(arg, &work->plan->outputs[i], &box);
    }
    return OP_OK;
}

static void json_output(void *arg, const struct op_plan_output *output,
                        const struct op_outbox *box)
{
    struct op_json_out *out = arg;
    op_json_out_object(out);
    op_json_out_kv_text(out, "kind", output->def->sink->kind);
    op_json_out_kv_text(out, "target", output->target);
    op_json_out_kv_int(out, "rows", box->rows);
    op_json_out_kv_bool(out, "delivered", box->delivered == box->committed);
    op_json_out_end_object(out);
}

enum op_rc op_summary_json(struct op_engine *engine, int64_t id, bool outputs,
                           struct op_json_out *out, struct op_err *err)
{
    OP_CLEANUP(op_job_release) struct op_job job = {0};
    struct op_batch_counts batches;
    struct op_money money;
    struct op_provider_counts providers;
    struct op_realtime_view realtime;
    struct op_env *env = op_env_default();
    struct op_ledger *ledger = op_engine_ledger(engine);
    enum op_rc rc = op_ledger_job_get(ledger, id, &job, err);
    if (!rc)
        rc = op_batch_counts_read(ledger, id, &batches, err);
    if (!rc)
        rc = op_money_read(ledger, id, &money, err);
    if (!rc)
        rc = op_provider_counts_read(engine, id, &providers, err);
    if (!rc)
        rc = op_engine_realtime_of(engine, id, &realtime, err);
    if (rc)
        return rc;
    char text[OP_TEXT_SHORT];
    snprintf(text, sizeof(text), "job-%lld", (long long)id);
    op_json_out_object(out);
    op_json_out_kv_text(out, "id", text);
    op_json_out_kv_text(out, "pipeline", job.pipeline);
    op_json_out_kv_text(out, "state", op_job_state_name(job.state));
    op_json_out_kv_text(out, "reason", job.reason ? job.reason : "");
    op_json_out_kv_int(out, "round", job.round);
    json_time(out, "created", job.created_ms);
    json_time(out, "ended", job.ended_ms);
    json_counts(&job.counts, out);
    json_batches(&batches, out);
    json_pace(&providers, &realtime, env->ops->now_ms(env), out);
    json_providers(&providers, out);
    op_json_out_kv_int(out, "spent_microusd", job.counts.spent_microusd);
    op_json_out_kv_int(out, "reserved_microusd", job.counts.reserved_microusd);
    op_money_lost_json(&money, out);
    op_json_out_name(out, "max_cost_microusd");
    if (job.max_cost_microusd)
        op_json_out_int(out, job.max_cost_microusd);
    else
        op_json_out_null(out);
    op_usage_json(&job.counts.usage, out);
    json_raw(out, "params", job.params);
    json_raw(out, "options", job.options);
    if (outputs) {
        op_json_out_name(out, "outputs");
        op_json_out_array(out);
        rc = each_output(engine, id, json_output, out, err);
        op_json_out_end_array(out);
    }
    op_json_out_end_object(out);
    return rc;
}

/* --- text --------------------------------------------------------------------------------- */

static void text_output(void *arg, const struct op_plan_output *output,
                        const struct op_outbox *box)
{
    struct op_buf *out = arg;
    char n[OP_TEXT_SHORT];
    op_buf_addf(out, "  %-9s ", "output");
    op_text_line(out, op_str_from(output->target), 0);
    op_buf_addf(out, "  (%s %s%s)\n", op_text_count(box->rows, n),
                box->rows == 1 ? "row" : "rows",
                box->delivered == box->committed ? "" : ", not all delivered");
}

struct part {
    int64_t count;
    const char *what;
};

/* "3 done, 1 failed": what there is none of is left out. */
static bool text_parts(const struct part *parts, size_t count, struct op_buf *out)
{
    char n[OP_TEXT_SHORT];
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        if (!parts[i].count)
            continue;
        op_buf_addf(out, "%s%s %s", any ? ", " : "", op_text_count(parts[i].count, n),
                    parts[i].what);
        any = true;
    }
    return any;
}

static void text_requests(const struct op_job_counts *c, struct op_buf *out)
{
    char n[OP_TEXT_SHORT];
    const struct part states[] = {
        {c->done, "done"},
        {c->failed, "failed"},
        {c->canceled, "canceled"},
        {c->requests - c->done - c->failed - c->canceled, "open"},
    };
    const struct part remarks[] = {
        {c->reused, "reused without buying"},
        {c->reasked, "asked again"},
        {c->invalid, c->invalid == 1 ? "invalid answer" : "invalid answers"},
        {c->warnings, c->warnings == 1 ? "warning" : "warnings"},
    };
    op_buf_addf(out, "  %-9s %s", "records", op_text_count(c->records, n));
    if (c->skipped)
        op_buf_addf(out, "  (%s skipped: done before, or malformed)",
                    op_text_count(c->skipped, n));
    op_buf_addf(out, "\n  %-9s %s  (", "requests", op_text_count(c->requests, n));
    op_buf_addz(out, text_parts(states, OP_COUNT(states), out) ? ")\n" : "nothing to ask)\n");
    op_buf_addf(out, "  %-9s ", "");
    size_t start = out->len;
    if (text_parts(remarks, OP_COUNT(remarks), out))
        op_buf_addc(out, '\n');
    else
        out->len = start - 12;
}

static void text_batches(const struct op_batch_counts *counts, struct op_buf *out)
{
    struct part parts[OP_BATCH_STATE_COUNT];
    for (size_t i = 0; i < OP_BATCH_STATE_COUNT; i++)
        parts[i] =
            (struct part){counts->batches[i], op_batch_state_name((enum op_batch_state)i)};
    op_buf_addf(out, "  %-9s ", "batches");
    op_buf_addz(out, text_parts(parts, OP_BATCH_STATE_COUNT, out) ? "\n" : "none\n");
}

static void text_money(const struct op_job *job, struct op_buf *out)
{
    char a[OP_TEXT_SHORT], b[OP_TEXT_SHORT], d[OP_TEXT_SHORT];
    const struct op_job_counts *c = &job->counts;
    int64_t in = op_usage_prompt(&c->usage), answered = c->usage.tokens[OP_TOKEN_OUTPUT];
    if (in || answered)
        op_buf_addf(out, "  %-9s %s in, %s out\n", "tokens", op_text_count(in, a),
                    op_text_count(answered, b));
    op_buf_addf(out, "  %-9s %s", "cost", op_text_usd(c->spent_microusd, a));
    if (c->reserved_microusd)
        op_buf_addf(out, ", at most %s more for what is not answered yet",
                    op_text_usd(c->reserved_microusd, b));
    if (job->max_cost_microusd)
        op_buf_addf(out, " (cap %s)", op_text_usd(job->max_cost_microusd, d));
    op_buf_addc(out, '\n');
}

static void text_head(const struct op_job *job, struct op_buf *out)
{
    char text[OP_TIME_TEXT];
    op_buf_addf(out, "job-%lld  %s  %s", (long long)job->id, job->pipeline,
                op_job_state_name(job->state));
    if (job->ended_ms > job->created_ms) {
        op_duration_format(job->ended_ms - job->created_ms, text);
        op_buf_addf(out, " in %s", text);
    } else if (job->created_ms > 0) {
        op_buf_addf(out, " since %s", op_text_when(job->created_ms, text));
    }
    op_buf_addc(out, '\n');
    if (job->reason && job->reason[0]) {
        op_buf_addf(out, "  %-9s ", "because");
        op_text_line(out, op_str_from(job->reason), 0);
        op_buf_addc(out, '\n');
    }
}

/* Worth a line where there is more than one. */
static void text_providers(const struct op_provider_counts *counts, struct op_buf *out)
{
    char n[OP_TEXT_SHORT];
    for (size_t i = 0; counts->count > 1 && i < counts->count; i++)
        op_buf_addf(out, "%s%s %s", i ? ", " : "  answered  ",
                    op_text_count(counts->of[i].ok, n), counts->of[i].name);
    if (counts->count > 1)
        op_buf_addc(out, '\n');
}

enum op_rc op_summary_text(struct op_engine *engine, int64_t id, bool outputs,
                           struct op_buf *out, struct op_err *err)
{
    OP_CLEANUP(op_job_release) struct op_job job = {0};
    struct op_batch_counts batches;
    struct op_money money;
    struct op_provider_counts providers;
    struct op_ledger *ledger = op_engine_ledger(engine);
    enum op_rc rc = op_ledger_job_get(ledger, id, &job, err);
    if (!rc)
        rc = op_batch_counts_read(ledger, id, &batches, err);
    if (!rc)
        rc = op_money_read(ledger, id, &money, err);
    if (!rc)
        rc = op_provider_counts_read(engine, id, &providers, err);
    if (rc)
        return rc;
    text_head(&job, out);
    if (job.state == OP_JOB_PLANNING || job.state == OP_JOB_FAILED)
        return OP_OK;
    text_requests(&job.counts, out);
    text_batches(&batches, out);
    text_providers(&providers, out);
    text_money(&job, out);
    op_money_text(&money, 2, out);
    return outputs ? each_output(engine, id, text_output, out, err) : OP_OK;
}
