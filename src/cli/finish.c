/* SPDX-License-Identifier: MIT */
#include "cli/finish.h"

#include "base/mem.h"
#include "cli/say.h"
#include "view/summary.h"

#define TEXT_MAX (16 * 1024 * 1024)

/* --- the end of a command ----------------------------------------------------------------- */

/* What a person types next. */
static void advise(const struct op_session *session, const struct op_job *job)
{
    const struct op_args *args = session->args;
    long long id = (long long)job->id;
    switch (job->state) {
    case OP_JOB_DONE:
    case OP_JOB_CANCELED:
    case OP_JOB_FAILED:
    case OP_JOB_STATE_COUNT:
        return;
    case OP_JOB_PARTIAL:
        op_note(args,
                "next: `offpeak list --failed` says why; `offpeak run job-%lld --retry-failed` "
                "asks them again",
                id);
        return;
    case OP_JOB_PLANNING:
    case OP_JOB_RUNNING:
    case OP_JOB_CANCELING:
        break;
    }
    op_note(args,
            "next: `offpeak run job-%lld` waits for the rest; `offpeak fetch job-%lld` takes "
            "what has come",
            id, id);
}

static int exit_of_job(enum op_job_state state)
{
    switch (state) {
    case OP_JOB_DONE:
        return OP_EXIT_OK;
    case OP_JOB_FAILED:
        return OP_EXIT_FAILED;
    case OP_JOB_PLANNING:
    case OP_JOB_RUNNING:
    case OP_JOB_CANCELING:
    case OP_JOB_PARTIAL:
    case OP_JOB_CANCELED:
    case OP_JOB_STATE_COUNT:
        break;
    }
    return OP_EXIT_PARTIAL;
}

/* A job that could not be planned has nothing to show but the error, which is said anyway. */
static bool is_stillborn(struct op_session *session, int64_t id)
{
    OP_CLEANUP(op_job_release) struct op_job job = {0};
    struct op_err err = OP_ERR_INIT;
    return !op_ledger_job_get(op_session_ledger(session), id, &job, &err) &&
           job.state == OP_JOB_FAILED;
}

static enum op_rc finish_text(struct op_session *session, const int64_t *jobs, size_t count,
                              const struct op_err *why, struct op_err *err)
{
    if (count == 1 && why->rc && is_stillborn(session, jobs[0]))
        return OP_OK;
    enum op_rc rc = OP_OK;
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    op_buf_init(&text, TEXT_MAX);
    for (size_t i = 0; !rc && i < count; i++)
        rc = op_summary_text(session->engine, jobs[i], true, &text, err);
    if (!rc)
        op_say(op_buf_str(&text));
    return rc;
}

static enum op_rc finish_json(struct op_session *session, const int64_t *jobs, size_t count,
                              const struct op_err *why, struct op_err *err)
{
    struct op_report report;
    op_report_begin(&report);
    struct op_json_out *out = &report.out;
    enum op_rc rc = OP_OK;
    if (count == 1) {
        op_json_out_name(out, "job");
        rc = op_summary_json(session->engine, jobs[0], true, out, err);
    } else {
        op_json_out_name(out, "jobs");
        op_json_out_array(out);
        for (size_t i = 0; !rc && i < count; i++)
            rc = op_summary_json(session->engine, jobs[i], true, out, err);
        op_json_out_end_array(out);
    }
    if (rc) {
        op_buf_release(&report.buf);
        return rc;
    }
    if (why->rc)
        op_report_error(out, why);
    op_report_print(&report);
    return OP_OK;
}

/* One job's part in the exit code of several: a failure counts more than something unfinished.
 * */
static enum op_rc finish_job(struct op_session *session, int64_t id, int *code,
                             struct op_err *err)
{
    OP_CLEANUP(op_job_release) struct op_job job = {0};
    enum op_rc rc = op_ledger_job_get(op_session_ledger(session), id, &job, err);
    if (rc)
        return rc;
    int one = exit_of_job(job.state);
    if (*code == OP_EXIT_OK || (*code == OP_EXIT_PARTIAL && one == OP_EXIT_FAILED))
        *code = one;
    advise(session, &job);
    return OP_OK;
}

int op_finish(struct op_session *session, const int64_t *jobs, size_t count,
              const struct op_err *why)
{
    const struct op_args *args = session->args;
    struct op_err err = OP_ERR_INIT;
    op_progress_end(&session->progress);
    enum op_rc rc = args->json ? finish_json(session, jobs, count, why, &err)
                               : finish_text(session, jobs, count, why, &err);
    int code = OP_EXIT_OK;
    if (!rc && why->rc) {
        struct op_args text = {.command = args->command}; /* the JSON has it already */
        code = op_say_error(&text, why);
    }
    for (size_t i = 0; !rc && i < count; i++)
        rc = finish_job(session, jobs[i], &code, &err);
    return rc ? op_say_error(args, &err) : code;
}
