/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/finish.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/work.h"

static enum op_rc cancel_all(struct op_session *session, struct op_err *err)
{
    const struct op_args *args = session->args;
    for (size_t i = 0; i < args->word_count; i++) {
        int64_t job = 0, batch = 0;
        enum op_rc rc =
            op_id_find(op_session_ledger(session), args->words[i], &job, &batch, err);
        if (!rc)
            rc = op_engine_cancel(session->engine, job, batch, err);
        if (rc)
            return rc;
    }
    return OP_OK;
}

static int run_cancel(struct op_args *args)
{
    struct op_err err = OP_ERR_INIT;
    struct op_session session = {.retry_now = true};
    struct op_job_list jobs = {0};
    if (args->word_count == 0) {
        op_err_set(&err, OP_INVAL, "say what to cancel: job-3, batch-7, or a provider's id");
        return op_say_usage(args, &err);
    }
    enum op_rc rc = op_session_open(&session, args, OP_SESSION_WORK, &err);
    if (!rc)
        rc = op_job_list_read(&session, false, &jobs, &err);
    if (!rc)
        rc = cancel_all(&session, &err);
    int code;
    if (rc) {
        code = op_say_error(args, &err);
    } else {
        rc = op_job_list_work(&session, &jobs, args->wait.given ? OP_UNTIL_DONE : OP_UNTIL_IDLE,
                              &err);
        code = op_finish(&session, jobs.ids, jobs.count, &err);
        /* Canceled is what was asked for. */
        if (code == OP_EXIT_PARTIAL && !rc &&
            op_job_list_all_in(&session, &jobs, OP_JOB_CANCELED))
            code = OP_EXIT_OK;
    }
    op_session_close(&session);
    op_job_list_release(&jobs);
    return code;
}

static const struct op_option options[] = {
    OP_OPT_WAIT("Wait until the provider has ended the batches, at most so long"),
    OP_OPT_GROUP("How it is done"),
    OP_OPTIONS_WORK,
    OP_OPTIONS_STATE,
    OP_OPTIONS_EMULATOR,
    OP_OPTIONS_OUTPUT,
    OP_OPT_END,
};

const struct op_command op_cmd_cancel = {
    .name = "cancel",
    .about = "Withdraws a job or a batch; what it has answered by then is kept and delivered",
    .usage = (const char *const[]){"cancel ID... [--wait]", NULL},
    .details = "Nothing more is sent; batches at the provider are asked to cancel, and what "
               "they answered (and billed) is still fetched. Exit code 3: not ended yet, "
               "`fetch` sees it through.",
    .options = options,
    .max_words = 64,
    .run = run_cancel,
};
