/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "cli/account.h"
#include "cli/commands.h"
#include "cli/confine.h"
#include "cli/finish.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/work.h"
#include "engine/work.h"

static enum op_rc sweep(struct op_session *session, struct op_err *err)
{
    struct op_ledger *ledger = op_session_ledger(session);
    struct op_str why;
    enum op_rc rc = session->args->trust ? OP_OK : op_engine_prove(session->engine, err);
    if (rc)
        return rc;
    bool suspect = op_ledger_is_suspect(ledger, &why);
    if (suspect && !session->args->trust)
        return op_fail(err, OP_CONFLICT,
                       OP_STR_FMT "; nothing is sent until you have looked: `offpeak recover "
                                  "--trust` lists what the account holds and goes on",
                       OP_STR_ARG(why));
    rc = op_engine_load_lanes(session->engine, err);
    return rc ? rc : op_engine_sweep(session->engine, session->args->trust, err);
}

static enum op_rc retry(struct op_session *session, const struct op_job_list *jobs,
                        struct op_err *err)
{
    for (size_t i = 0; i < jobs->count; i++) {
        int64_t count = 0;
        enum op_rc rc = op_engine_retry_failed(session->engine, jobs->ids[i], &count, err);
        if (rc)
            return rc;
        op_note(session->args, "job-%lld: %lld failed %s asked again", (long long)jobs->ids[i],
                (long long)count, count == 1 ? "request is" : "requests are");
    }
    return OP_OK;
}

static int run_recover(struct op_args *args)
{
    struct op_err err = OP_ERR_INIT;
    struct op_session session = {.retry_now = true};
    struct op_job_list jobs = {0};
    if (args->provider)
        return op_account_say(args);
    enum op_rc rc = op_session_open(&session, args, OP_SESSION_WORK, &err);
    if (!rc)
        rc = op_job_list_read(&session, args->word_count == 0, &jobs, &err);
    if (!rc)
        rc = op_confine_session(&session, &err);
    if (!rc)
        rc = sweep(&session, &err);
    if (!rc && args->retry_failed)
        rc = retry(&session, &jobs, &err);
    int code;
    if (rc) {
        code = op_say_error(args, &err);
    } else {
        rc = op_job_list_work(&session, &jobs, args->no_wait ? OP_UNTIL_IDLE : OP_UNTIL_DONE,
                              &err);
        if (jobs.count == 0)
            op_note(args, "no job is open");
        code = op_finish(&session, jobs.ids, jobs.count, &err);
    }
    op_session_close(&session);
    op_job_list_release(&jobs);
    return code;
}

static const struct op_option options[] = {
    OP_OPT_FLAG("no-wait", no_wait, "Leave when nothing can be done at once"),
    OP_OPT_WAIT("Wait until the jobs are done (the default), at most so long"),
    OP_OPT_FLAG("retry-failed", retry_failed, "Ask the failed requests of these jobs again"),
    OP_OPT_FLAG(
        "trust", trust,
        "List what the account holds, adopt what is ours, and send again after a ledger "
        "came back from an old backup"),
    OP_OPT_TEXT("provider", "NAME", provider,
                "Only list what the account there holds that the ledger does not know"),
    OP_OPT_GROUP("How it is done"),
    OP_OPTIONS_WORK,
    OP_OPTIONS_STATE,
    OP_OPTIONS_EMULATOR,
    OP_OPTIONS_OUTPUT,
    OP_OPT_END,
};

const struct op_command op_cmd_recover = {
    .name = "recover",
    .about = "Goes on with every open job after a crash, a full disk or a paused account",
    .usage = (const char *const[]){"recover [ID...] [--retry-failed] [--no-wait]",
                                   "recover --trust", "recover --provider NAME", NULL},
    .details = "There is no other way back: starting is recovering. What waits for a later try "
               "is tried at once, paused accounts are tried again, doubtful creates are looked "
               "up in the account. Without an ID, of every open job.",
    .options = options,
    .max_words = 64,
    .run = run_recover,
};
