/* SPDX-License-Identifier: MIT */
#include "view/list.h"

#include "base/mem.h"
#include "engine/work.h"
#include "view/summary.h"

enum op_rc op_list_init(struct op_list *list, enum op_list_kind kind, const char *status,
                        struct op_err *err)
{
    const char *names[OP_JOB_STATE_COUNT + OP_BATCH_STATE_COUNT];
    size_t count = 0;
    *list = (struct op_list){.kind = kind, .job_state = -1, .most = OP_LIST_MOST};
    if (!status)
        return OP_OK;
    if (strcmp(status, "failed") == 0) {
        list->kind = OP_LIST_FAILED;
        return OP_OK;
    }
    if (strcmp(status, "pending") == 0) {
        list->pending = true;
        return OP_OK;
    }
    const char *of_job = strcmp(status, "completed") == 0 ? "done" : status;
    for (int s = 0; s < OP_JOB_STATE_COUNT; s++) {
        names[count++] = op_job_state_name((enum op_job_state)s);
        if (strcmp(of_job, op_job_state_name((enum op_job_state)s)) == 0 &&
            kind != OP_LIST_BATCHES) {
            list->job_state = s;
            return OP_OK;
        }
    }
    enum op_batch_state state;
    if (op_batch_state_parse(status, &state)) {
        list->batch_states = OP_STATE_BIT(state);
        list->kind = OP_LIST_BATCHES;
        return OP_OK;
    }
    for (int s = 0; s < OP_BATCH_STATE_COUNT; s++)
        names[count++] = op_batch_state_name((enum op_batch_state)s);
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    op_buf_init(&text, 800);
    for (size_t i = 0; i < count; i++)
        op_buf_addf(&text, "%s%s", i ? ", " : "", names[i]);
    const char *near = op_str_nearest(status, names, count);
    return op_fail(err, OP_INVAL, "'%.60s' is no state of a job or batch%s%s%s; there are: %s",
                   status, near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "",
                   text.ptr);
}

/* --- walking ------------------------------------------------------------------------------ */

struct walk {
    struct op_engine *engine;
    struct op_list *list;
    const struct op_list_rows *rows;
    void *arg;
    int64_t skip;         /* batches walk oldest first, and the newest are wanted */
    struct op_work *work; /* of the job whose requests are walked; NULL: cannot be loaded */
};

static bool take(struct op_list *list)
{
    if (list->shown >= list->most) {
        list->left_out++;
        return false;
    }
    list->shown++;
    return true;
}

static enum op_rc see_job(void *arg, const struct op_job *job, struct op_err *err)
{
    struct walk *w = arg;
    const struct op_list *list = w->list;
    if ((list->job && list->job != job->id) ||
        (list->job_state >= 0 && (int)job->state != list->job_state) || !take(w->list))
        return OP_OK;
    return w->rows->job(w->arg, job, err);
}

static enum op_rc see_batch(void *arg, const struct op_batch *batch, struct op_err *err)
{
    struct walk *w = arg;
    if (w->skip-- > 0) {
        w->list->left_out++;
        return OP_OK;
    }
    return take(w->list) ? w->rows->batch(w->arg, batch, err) : OP_OK;
}

static enum op_rc count_batch(void *arg, const struct op_batch *batch, struct op_err *err)
{
    (void)batch;
    (void)err;
    ++*(int64_t *)arg;
    return OP_OK;
}

static enum op_rc walk_batches(struct walk *w, struct op_err *err)
{
    struct op_batch_filter filter = {.job_id = w->list->job, .states = w->list->batch_states};
    struct op_ledger *ledger = op_engine_ledger(w->engine);
    int64_t count = 0;
    enum op_rc rc = op_ledger_batches(ledger, &filter, count_batch, &count, err);
    w->skip = count - w->list->most;
    return rc ? rc : op_ledger_batches(ledger, &filter, see_batch, w, err);
}

static enum op_rc see_request(void *arg, const struct op_request *request, struct op_err *err)
{
    struct walk *w = arg;
    struct op_ledger *ledger = op_engine_ledger(w->engine);
    bool answered = false; /* by a later round */
    enum op_rc rc = op_request_is_superseded(ledger, request, &answered, err);
    if (rc || answered || !request->record_id || !take(w->list))
        return rc;
    OP_CLEANUP(op_buf_release) struct op_buf key = {0};
    op_buf_init(&key, OP_SOURCE_MAX_RECORD);
    rc = op_ledger_record_data(ledger, request->record_id, &key, NULL, err);
    if (rc)
        return rc;
    const struct op_work *work = w->work;
    bool known = work && request->name >= 0 && (size_t)request->name < work->def.request_count;
    return w->rows->failed(w->arg, request, op_buf_str(&key),
                           known ? work->def.requests[request->name].name : "", err);
}

static enum op_rc see_failed_of(void *arg, const struct op_job *job, struct op_err *err)
{
    struct walk *w = arg;
    if ((w->list->job && w->list->job != job->id) || !job->counts.failed)
        return OP_OK;
    struct op_err ignored = OP_ERR_INIT;
    w->work = NULL;
    if (op_engine_work(w->engine, job->id, &w->work, &ignored))
        w->work = NULL;
    return op_ledger_requests(op_engine_ledger(w->engine), job->id, OP_REQUEST_FAILED, 0,
                              see_request, w, err);
}

enum op_rc op_list_walk(struct op_engine *engine, struct op_list *list,
                        const struct op_list_rows *rows, void *arg, struct op_err *err)
{
    struct walk w = {.engine = engine, .list = list, .rows = rows, .arg = arg};
    if (!engine)
        return OP_OK;
    switch (list->kind) {
    case OP_LIST_JOBS:
        return op_ledger_jobs(op_engine_ledger(engine), list->pending, see_job, &w, err);
    case OP_LIST_BATCHES:
        return walk_batches(&w, err);
    case OP_LIST_FAILED:
        break;
    }
    return op_ledger_jobs(op_engine_ledger(engine), false, see_failed_of, &w, err);
}

/* --- JSON --------------------------------------------------------------------------------- */

struct json {
    struct op_engine *engine;
    struct op_json_out *out;
};

static enum op_rc json_job(void *arg, const struct op_job *job, struct op_err *err)
{
    const struct json *j = arg;
    return op_summary_json(j->engine, job->id, false, j->out, err);
}

static enum op_rc json_batch(void *arg, const struct op_batch *batch, struct op_err *err)
{
    const struct json *j = arg;
    return op_batch_json(j->engine, batch, j->out, err);
}

static enum op_rc json_failed(void *arg, const struct op_request *request, struct op_str key,
                              const char *name, struct op_err *err)
{
    (void)err;
    struct op_json_out *out = ((const struct json *)arg)->out;
    OP_CLEANUP(op_mem_freep) char *job = op_mem_printf("job-%lld", (long long)request->job_id);
    OP_CLEANUP(op_mem_freep)
    char *batch =
        request->batch_id ? op_mem_printf("batch-%lld", (long long)request->batch_id) : NULL;
    op_json_out_object(out);
    op_json_out_kv_text(out, "job", job);
    op_json_out_kv_str(out, "key", key);
    op_json_out_kv_text(out, "request", name);
    op_json_out_kv_text(out, "batch", batch);
    op_json_out_kv_int(out, "bought_again", request->buy_no);
    op_json_out_kv_text(out, "reason", request->reason);
    op_json_out_end_object(out);
    return OP_OK;
}

enum op_rc op_list_document(struct op_engine *engine, struct op_list *list,
                            struct op_json_out *out, struct op_err *err)
{
    static const char *const names[] = {"jobs", "batches", "failed"};
    static const struct op_list_rows rows = {json_job, json_batch, json_failed};
    struct json json = {.engine = engine, .out = out};
    op_json_out_name(out, names[list->kind]);
    op_json_out_array(out);
    enum op_rc rc = op_list_walk(engine, list, &rows, &json, err);
    op_json_out_end_array(out);
    op_json_out_kv_int(out, "left_out", list->left_out);
    return rc;
}
