/* SPDX-License-Identifier: MIT */
#include "cli/work.h"

#include "base/mem.h"
#include "cli/confine.h"

static void add(struct op_job_list *list, int64_t id)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->ids[i] == id)
            return;
    list->ids = op_mem_realloc(list->ids, (list->count + 1) * sizeof(*list->ids));
    list->ids[list->count++] = id;
}

static enum op_rc add_open(void *arg, const struct op_job *job, struct op_err *err)
{
    (void)err;
    add(arg, job->id);
    return OP_OK;
}

enum op_rc op_job_list_read(struct op_session *session, bool all, struct op_job_list *ret,
                            struct op_err *err)
{
    const struct op_args *args = session->args;
    struct op_ledger *ledger = op_session_ledger(session);
    ret->all = all;
    for (size_t i = 0; i < args->word_count; i++) {
        int64_t job = 0, batch = 0;
        enum op_rc rc = op_id_find(ledger, args->words[i], &job, &batch, err);
        if (rc)
            return rc;
        add(ret, job);
    }
    if (!all)
        return OP_OK;
    enum op_rc rc = op_ledger_jobs(ledger, true, add_open, ret, err);
    for (size_t i = 0, j = ret->count; i + 1 < j; i++) {
        int64_t swap = ret->ids[i];
        ret->ids[i] = ret->ids[--j];
        ret->ids[j] = swap;
    }
    return rc;
}

void op_job_list_release(struct op_job_list *list)
{
    op_mem_free(list->ids);
    *list = (struct op_job_list){0};
}

enum op_rc op_job_list_work(struct op_session *session, const struct op_job_list *list,
                            enum op_until until, struct op_err *err)
{
    enum op_rc rc = op_confine_session(session, err);
    if (rc)
        return rc;
    if (list->all && list->count > 1) {
        op_progress_begin(&session->progress, session->args, 0);
        return op_engine_run(session->engine, 0, until, op_deadline(session->args), err);
    }
    for (size_t i = 0; !rc && i < list->count; i++) {
        op_progress_begin(&session->progress, session->args, list->ids[i]);
        rc = op_engine_run(session->engine, list->ids[i], until, op_deadline(session->args),
                           err);
    }
    return rc;
}

bool op_job_list_all_in(struct op_session *session, const struct op_job_list *list,
                        enum op_job_state state)
{
    for (size_t i = 0; i < list->count; i++) {
        OP_CLEANUP(op_job_release) struct op_job job = {0};
        struct op_err err = OP_ERR_INIT;
        if (op_ledger_job_get(op_session_ledger(session), list->ids[i], &job, &err) ||
            job.state != state)
            return false;
    }
    return true;
}
