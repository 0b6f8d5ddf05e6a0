/* SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/table.h"
#include "view/list.h"
#include "view/text.h"

#define TEXT_MAX   (64 * 1024 * 1024)
#define ROWS_SHOWN 50

struct listing {
    struct op_session *session;
    const struct op_args *args;
    struct op_list list;
    struct op_table table;
};

static enum op_rc add_job(void *arg, const struct op_job *job, struct op_err *err)
{
    (void)err;
    const struct op_job_counts *c = &job->counts;
    char n[OP_TEXT_SHORT];
    struct op_table *t = &((struct listing *)arg)->table;
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

static enum op_rc add_batch(void *arg, const struct op_batch *batch, struct op_err *err)
{
    (void)err;
    char n[OP_TEXT_SHORT];
    struct op_table *t = &((struct listing *)arg)->table;
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

static enum op_rc add_failed(void *arg, const struct op_request *request, struct op_str key,
                             const char *name, struct op_err *err)
{
    (void)err;
    struct op_table *t = &((struct listing *)arg)->table;
    op_table_add(t, "job-%lld", (long long)request->job_id);
    op_table_add(t, OP_STR_FMT, OP_STR_ARG(key));
    op_table_add(t, "%s", name);
    if (request->batch_id)
        op_table_add(t, "batch-%lld", (long long)request->batch_id);
    else
        op_table_add(t, "%s", "");
    op_table_add(t, "%s", request->reason ? request->reason : "");
    return OP_OK;
}

static const char *const titles[] = {
    [OP_LIST_JOBS] = "JOB|PIPELINE|STATE|>REQUESTS|>DONE|>FAILED|>COST|CREATED|WHY",
    [OP_LIST_BATCHES] = "BATCH|JOB|STATE|>REQUESTS|>OK|>FAILED|>COST|ACCEPTED|PROVIDER'S ID",
    [OP_LIST_FAILED] = "JOB|KEY|REQUEST|BATCH|WHY",
};

/* --- the command -------------------------------------------------------------------------- */

static enum op_rc say(struct listing *l, struct op_err *err)
{
    static const char *const none[] = {"no jobs", "no batches", "no failed requests"};
    static const struct op_list_rows rows = {add_job, add_batch, add_failed};
    const struct op_list *list = &l->list;
    if (l->args->json) {
        struct op_report report;
        op_report_begin(&report);
        return op_report_end(&report,
                             op_list_document(l->session->engine, &l->list, &report.out, err));
    }
    op_table_init(&l->table, titles[list->kind]);
    enum op_rc rc = op_list_walk(l->session->engine, &l->list, &rows, l, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    op_buf_init(&out, TEXT_MAX);
    /* A provider's id is there to be copied: its column is not cut. */
    if (list->shown)
        op_table_print(&l->table,
                       list->kind == OP_LIST_BATCHES ? 0 : op_say_width(STDOUT_FILENO), &out);
    else
        op_note(l->args, "%s%s", none[list->kind],
                l->args->status || list->job ? " of that kind" : "");
    op_say(op_buf_str(&out));
    if (list->left_out)
        op_note(l->args, "%lld more are not shown; --limit N shows more",
                (long long)list->left_out);
    return OP_OK;
}

static int run_list(struct op_args *args)
{
    struct op_session session = {0};
    struct listing l = {.session = &session, .args = args};
    struct op_err err = OP_ERR_INIT;
    enum op_list_kind kind = args->failed    ? OP_LIST_FAILED
                             : args->batches ? OP_LIST_BATCHES
                                             : OP_LIST_JOBS;
    if (op_list_init(&l.list, kind, args->status, &err))
        return op_say_usage(args, &err);
    l.list.most = args->rows ? args->rows : args->json ? OP_LIST_MOST : ROWS_SHOWN;
    enum op_rc rc = op_session_open(&session, args, OP_SESSION_READ, &err);
    if (rc == OP_NOTFOUND && session.state_dir && !op_state_exists(session.state_dir) &&
        !args->job) {
        op_err_clear(&err);
        rc = OP_OK;
    }
    int64_t batch = 0;
    if (!rc && args->job)
        rc = op_id_find(op_session_ledger(&session), args->job, &l.list.job, &batch, &err);
    if (!rc)
        rc = say(&l, &err);
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
