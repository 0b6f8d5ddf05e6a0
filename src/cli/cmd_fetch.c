/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/finish.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/work.h"

static int run_fetch(struct op_args *args)
{
    struct op_err err = OP_ERR_INIT;
    struct op_session session = {.retry_now = true};
    struct op_job_list jobs = {0};
    args->all_pending = args->all_pending || args->check_all_pending;
    if (args->word_count == 0 && !args->all_pending) {
        op_err_set(
            &err, OP_INVAL,
            "No jobs specified: say what to fetch: job-3, batch-7, a provider's batch id, "
            "or --all-pending");
        return op_say_usage(args, &err);
    }
    enum op_rc rc = op_session_open(&session, args, OP_SESSION_WORK, &err);
    if (!rc)
        rc = op_job_list_read(&session, args->all_pending, &jobs, &err);
    int code;
    if (rc) {
        code = op_say_error(args, &err);
    } else {
        rc = op_job_list_work(&session, &jobs, args->wait.given ? OP_UNTIL_DONE : OP_UNTIL_IDLE,
                              &err);
        if (jobs.count == 0)
            op_note(args, "no job is open");
        code = op_finish(&session, jobs.ids, jobs.count, &err);
        if (code == OP_EXIT_PARTIAL && args->check_all_pending)
            code = OP_EXIT_OK;
    }
    op_session_close(&session);
    op_job_list_release(&jobs);
    return code;
}

static const struct op_option options[] = {
    OP_OPT_FLAG("all-pending", all_pending, "Of every open job"),
    OP_OPT_FLAG("check-all-pending", check_all_pending,
                "The same, for scripts: what is still to come is no failure, exit code 0"),
    OP_OPT_FLAG("job-names", job_names, "May stand before the IDs"),
    OP_OPT_WAIT("Wait until the jobs are done, at most so long"),
    OP_OPT_GROUP("How it is done"),
    OP_OPTIONS_WORK,
    OP_OPTIONS_STATE,
    OP_OPTIONS_EMULATOR,
    OP_OPTIONS_OUTPUT,
    OP_OPT_END,
};

const struct op_command op_cmd_fetch = {
    .name = "fetch",
    .about = "Takes the answers that have come, delivers them, sends what must be sent again",
    .usage =
        (const char *const[]){"fetch ID... [--wait]", "fetch --all-pending [--wait]", NULL},
    .details =
        "ID is a job (job-3), a batch (batch-7) or the provider's own batch id: the whole "
        "job of it is looked after. Exit code 3: something is still to come.",
    .options = options,
    .max_words = 64,
    .run = run_fetch,
};
