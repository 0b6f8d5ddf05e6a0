/* SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/summary.h"
#include "cli/table.h"
#include "cli/text.h"
#include "engine/work.h"

#define TEXT_MAX   (64 * 1024 * 1024)
#define ROWS_SHOWN 50

struct listing {
    struct op_session *session;
    const struct op_args *args;
    struct op_table table;
    struct op_json_out *json; /* NULL: a table */
    int64_t job;              /* --job; 0 any */
    int job_state;            /* -1 any */
    bool pending;             /* only open jobs */
    uint32_t batch_states;    /* 0 any */
    int64_t shown, left_out, most;
    int64_t skip;         /* batches walk oldest first, and the newest are wanted */
    struct op_work *work; /* of the job whose requests are walked; NULL: cannot be loaded */
};

static bool take(struct listing *l)
{
    if (l->shown >= l->most) {
        l->left_out++;
        return false;
    }
    l->shown++;
    return true;
}

/* --- jobs --------------------------------------------------------------------------------- */

static enum op_rc list_job(void *arg, const struct op_job *job, struct op_err *err)
{
    struct listing *l = arg;
    const struct op_job_counts *c = &job->counts;
    char n[OP_TEXT_SHORT];
    if ((l->job && l->job != job->id) ||
        (l->job_state >= 0 && (int)job->state != l->job_state) || !take(l))
        return OP_OK;
    if (l->json)
        return op_summary_json(l->session, job->id, false, l->json, err);
    struct op_table *t = &l->table;
    op_table_add(t, "job-%lld", (long long)job->id);
    op_table_add(t, "%s", job->pipeline);
    op_table_add(t, "%s", op_job_state_name(job->state));
    op_table_add(t, "%s", op_text_count(c->requests, n));
    op_table_add(t, "%s", op_text_count(c->done, n));
    op_table_add(t, "%s", op_text_count(c->failed, n));
    op_table_add(t, "%s", op_text_usd(c->spent_microusd, n));
    op_table_add(t, "%s", op_text_when(job->created_ms, n));
    op_table_add(t, "%s", job->reason ? job->reason : "");
    return OP_OK;
}

static enum op_rc list_jobs(struct listing *l, struct op_err *err)
{
    op_table_init(&l->table, "JOB|PIPELINE|STATE|>REQUESTS|>DONE|>FAILED|>COST|CREATED|WHY");
    return op_ledger_jobs(op_session_ledger(l->session), l->pending, list_job, l, err);
}

/* --- batches ------------------------------------------------------------------------------ */

static enum op_rc list_batch(void *arg, const struct op_batch *batch, struct op_err *err)
{
    struct listing *l = arg;
    char n[OP_TEXT_SHORT];
    if (l->skip-- > 0) {
        l->left_out++;
        return OP_OK;
    }
    if (!take(l))
        return OP_OK;
    if (l->json)
        return op_batch_json(l->session, batch, l->json, err);
    struct op_table *t = &l->table;
    op_table_add(t, "batch-%lld", (long long)batch->id);
    op_table_add(t, "job-%lld", (long long)batch->job_id);
    op_table_add(t, "%s", op_batch_state_name(batch->state));
    op_table_add(t, "%s", op_text_count(batch->count, n));
    op_table_add(t, "%s", op_text_count(batch->ok, n));
    op_table_add(t, "%s", op_text_count(batch->failed + batch->absent, n));
    op_table_add(t, "%s", op_text_usd(batch->spent_microusd, n));
    op_table_add(t, "%s", op_text_when(batch->accepted_ms, n));
    op_table_add(t, "%s", batch->provider_id ? batch->provider_id : "");
    return OP_OK;
}

static enum op_rc count_batch(void *arg, const struct op_batch *batch, struct op_err *err)
{
    (void)batch;
    (void)err;
    ++*(int64_t *)arg;
    return OP_OK;
}

static enum op_rc list_batches(struct listing *l, struct op_err *err)
{
    op_table_init(&l->table,
                  "BATCH|JOB|STATE|>REQUESTS|>OK|>FAILED|>COST|ACCEPTED|PROVIDER'S ID");
    struct op_batch_filter filter = {.job_id = l->job, .states = l->batch_states};
    struct op_ledger *ledger = op_session_ledger(l->session);
    int64_t count = 0;
    enum op_rc rc = op_ledger_batches(ledger, &filter, count_batch, &count, err);
    l->skip = count - l->most;
    return rc ? rc : op_ledger_batches(ledger, &filter, list_batch, l, err);
}

/* --- failed requests ---------------------------------------------------------------------- */

static enum op_rc list_request(void *arg, const struct op_request *request, struct op_err *err)
{
    struct listing *l = arg;
    bool answered = false; /* by a later round */
    enum op_rc rc =
        op_request_is_superseded(op_session_ledger(l->session), request, &answered, err);
    if (rc || answered || !request->record_id || !take(l))
        return rc;
    OP_CLEANUP(op_buf_release) struct op_buf key = {0};
    op_buf_init(&key, OP_SOURCE_MAX_RECORD);
    rc = op_ledger_record_data(op_session_ledger(l->session), request->record_id, &key, NULL,
                               err);
    if (rc)
        return rc;
    const char *name =
        l->work && request->name >= 0 && (size_t)request->name < l->work->def.request_count
            ? l->work->def.requests[request->name].name
            : "";
    OP_CLEANUP(op_mem_freep) char *job = op_mem_printf("job-%lld", (long long)request->job_id);
    OP_CLEANUP(op_mem_freep)
    char *batch =
        request->batch_id ? op_mem_printf("batch-%lld", (long long)request->batch_id) : NULL;
    if (l->json) {
        op_json_out_object(l->json);
        op_json_out_kv_text(l->json, "job", job);
        op_json_out_kv_str(l->json, "key", op_buf_str(&key));
        op_json_out_kv_text(l->json, "request", name);
        op_json_out_kv_text(l->json, "batch", batch);
        op_json_out_kv_int(l->json, "bought_again", request->buy_no);
        op_json_out_kv_text(l->json, "reason", request->reason);
        op_json_out_end_object(l->json);
        return OP_OK;
    }
    op_table_add(&l->table, "%s", job);
    op_table_add(&l->table, "%s", key.ptr);
    op_table_add(&l->table, "%s", name);
    op_table_add(&l->table, "%s", batch ? batch : "");
    op_table_add(&l->table, "%s", request->reason ? request->reason : "");
    return OP_OK;
}

static enum op_rc list_failed_of(void *arg, const struct op_job *job, struct op_err *err)
{
    struct listing *l = arg;
    if ((l->job && l->job != job->id) || !job->counts.failed)
        return OP_OK;
    struct op_err ignored = OP_ERR_INIT;
    l->work = NULL;
    if (op_engine_work(l->session->engine, job->id, &l->work, &ignored))
        l->work = NULL;
    return op_ledger_requests(op_session_ledger(l->session), job->id, OP_REQUEST_FAILED, 0,
                              list_request, l, err);
}

static enum op_rc list_failed(struct listing *l, struct op_err *err)
{
    op_table_init(&l->table, "JOB|KEY|REQUEST|BATCH|WHY");
    return op_ledger_jobs(op_session_ledger(l->session), false, list_failed_of, l, err);
}

/* --- the command -------------------------------------------------------------------------- */

enum list_kind { LIST_JOBS, LIST_BATCHES, LIST_FAILED };

/* A state tells by itself what is meant: those of jobs and of batches have no name in common.
 * */
static enum op_rc read_kind(struct listing *l, enum list_kind *ret, struct op_err *err)
{
    const struct op_args *args = l->args;
    const char *names[OP_JOB_STATE_COUNT + OP_BATCH_STATE_COUNT];
    size_t count = 0;
    *ret = args->failed ? LIST_FAILED : args->batches ? LIST_BATCHES : LIST_JOBS;
    if (!args->status)
        return OP_OK;
    if (strcmp(args->status, "failed") == 0) {
        *ret = LIST_FAILED;
        return OP_OK;
    }
    if (strcmp(args->status, "pending") == 0) {
        l->pending = true;
        return OP_OK;
    }
    const char *status = strcmp(args->status, "completed") == 0 ? "done" : args->status;
    for (int s = 0; s < OP_JOB_STATE_COUNT; s++) {
        names[count++] = op_job_state_name((enum op_job_state)s);
        if (strcmp(status, op_job_state_name((enum op_job_state)s)) == 0 && !args->batches) {
            l->job_state = s;
            return OP_OK;
        }
    }
    enum op_batch_state state;
    if (op_batch_state_parse(args->status, &state)) {
        l->batch_states = OP_STATE_BIT(state);
        *ret = LIST_BATCHES;
        return OP_OK;
    }
    for (int s = 0; s < OP_BATCH_STATE_COUNT; s++)
        names[count++] = op_batch_state_name((enum op_batch_state)s);
    OP_CLEANUP(op_buf_release) struct op_buf list = {0};
    op_buf_init(&list, 800);
    for (size_t i = 0; i < count; i++)
        op_buf_addf(&list, "%s%s", i ? ", " : "", names[i]);
    const char *near = op_str_nearest(args->status, names, count);
    return op_fail(err, OP_INVAL, "'%.60s' is no state of a job or batch%s%s%s; there are: %s",
                   args->status, near ? " (did you mean '" : "", near ? near : "",
                   near ? "'?)" : "", list.ptr);
}

static enum op_rc run_kind(struct listing *l, enum list_kind kind, struct op_err *err)
{
    switch (kind) {
    case LIST_JOBS:
        return list_jobs(l, err);
    case LIST_BATCHES:
        return list_batches(l, err);
    case LIST_FAILED:
        break;
    }
    return list_failed(l, err);
}

static enum op_rc say(struct listing *l, enum list_kind kind, struct op_err *err)
{
    static const char *const names[] = {"jobs", "batches", "failed"};
    static const char *const none[] = {"no jobs", "no batches", "no failed requests"};
    bool empty = !l->session->engine;
    if (l->args->json) {
        struct op_report report;
        op_report_begin(&report);
        op_json_out_name(&report.out, names[kind]);
        op_json_out_array(&report.out);
        l->json = &report.out;
        enum op_rc rc = empty ? OP_OK : run_kind(l, kind, err);
        op_json_out_end_array(&report.out);
        op_json_out_kv_int(&report.out, "left_out", l->left_out);
        if (rc)
            op_buf_release(&report.buf);
        else
            op_report_print(&report);
        return rc;
    }
    enum op_rc rc = empty ? OP_OK : run_kind(l, kind, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    op_buf_init(&out, TEXT_MAX);
    /* A provider's id is there to be copied: its column is not cut. */
    if (l->shown)
        op_table_print(&l->table, kind == LIST_BATCHES ? 0 : op_say_width(STDOUT_FILENO), &out);
    else
        op_note(l->args, "%s%s", none[kind], l->args->status || l->job ? " of that kind" : "");
    op_say(op_buf_str(&out));
    if (l->left_out)
        op_note(l->args, "%lld more are not shown; --limit N shows more",
                (long long)l->left_out);
    return OP_OK;
}

static int run_list(struct op_args *args)
{
    struct op_session session = {0};
    struct listing l = {.session = &session, .args = args, .job_state = -1};
    struct op_err err = OP_ERR_INIT;
    enum list_kind kind;
    l.most = args->rows ? args->rows : args->json ? 10000 : ROWS_SHOWN;
    if (read_kind(&l, &kind, &err))
        return op_say_usage(args, &err);
    enum op_rc rc = op_session_open(&session, args, OP_SESSION_READ, &err);
    if (rc == OP_NOTFOUND && session.state_dir && !op_state_exists(session.state_dir) &&
        !args->job) {
        op_err_clear(&err);
        rc = OP_OK;
    }
    int64_t batch = 0;
    if (!rc && args->job)
        rc = op_id_find(op_session_ledger(&session), args->job, &l.job, &batch, &err);
    if (!rc)
        rc = say(&l, kind, &err);
    int code = rc ? op_say_error(args, &err) : OP_EXIT_OK;
    op_table_release(&l.table);
    op_session_close(&session);
    return code;
}

static const struct op_option options[] = {
    OP_OPT_FLAG("batches", batches, "List batches instead of jobs"),
    OP_OPT_FLAG("failed", failed, "List the requests that failed, and why"),
    OP_OPT_TEXT(
        "status", "STATE", status,
        "Only jobs or batches in this state; `pending`: open jobs, `completed`: done ones, "
        "`failed`: as --failed"),
    OP_OPT_TEXT("job", "JOB", job, "Only of this job"),
    OP_OPT(COUNT, "limit", '\0', "N", rows, "At most so many rows (default: 50)"),
    OP_OPTIONS_STATE,
    OP_OPTIONS_OUTPUT,
    OP_OPT_END,
};

const struct op_command op_cmd_list = {
    .name = "list",
    .about = "Lists jobs, batches, or the requests that failed",
    .usage = (const char *const[]){"list [--status STATE]", "list --batches [--job JOB]",
                                   "list --failed [--job JOB]", NULL},
    .options = options,
    .run = run_list,
};
