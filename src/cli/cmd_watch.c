/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/confine.h"
#include "cli/say.h"
#include "cli/session.h"
#include "engine/trigger.h"

/* The pipelines behind the first word, which have no params of their own here. */
static enum op_rc watch_word(struct op_session *session, const char *word,
                             struct op_job_request *pattern, struct op_err *err)
{
    struct op_subject subject = {0};
    enum op_rc rc = op_subject_find(word, session->args->profile, &subject, err);
    if (!rc && subject.broken.rc) {
        *err = subject.broken;
        rc = err->rc;
    }
    if (!rc && subject.kind != OP_SUBJECT_PIPELINE)
        rc = op_fail(err, OP_INVAL, "'%.100s' is no pipeline", word);
    if (!rc) {
        op_subject_settle(&subject);
        pattern->bundle = &subject.bundle;
        pattern->given = NULL;
        rc = op_engine_watch(session->engine, pattern, err);
    }
    op_subject_release(&subject);
    return rc;
}

static enum op_rc watch_all(struct op_session *session, struct op_args *args, const char *cwd,
                            struct op_err *err)
{
    struct op_job_request pattern = {
        .bundle = &args->subject.bundle,
        .given = args->subject.given,
        .cwd = cwd,
        .provider = args->provider,
        .model = args->model,
        .max_cost_microusd = args->max_cost_microusd,
        .no_cache = args->no_cache,
        .fresh = args->fresh,
        .mode = args->mode,
        .tier = args->tier,
    };
    op_subject_settle(&args->subject);
    enum op_rc rc = op_engine_watch(session->engine, &pattern, err);
    for (size_t i = 0; !rc && i < args->word_count; i++)
        if (args->words[i] != args->subject.word)
            rc = watch_word(session, args->words[i], &pattern, err);
    return rc;
}

static int run_watch(struct op_args *args)
{
    struct op_session session = {0};
    struct op_err err = OP_ERR_INIT;
    OP_CLEANUP(op_mem_freep) char *cwd = NULL;
    int64_t open = 0;
    if (args->subject.kind != OP_SUBJECT_PIPELINE)
        return op_say_usage(args, (op_err_set(&err, OP_INVAL,
                                              "say which pipelines to watch: `offpeak watch "
                                              "PIPELINE [--profile NAME]`"),
                                   &err));
    if (args->subject.broken.rc)
        return op_say_error(args, &args->subject.broken);
    session.retry_now = args->once;
    enum op_rc rc = op_cwd(&cwd, &err);
    if (!rc)
        rc = op_session_open(&session, args, OP_SESSION_NEW, &err);
    if (!rc)
        rc = watch_all(&session, args, cwd, &err);
    if (!rc)
        rc = op_confine_session(&session, &err);
    if (!rc) {
        op_note(args, "watching");
        rc = op_engine_run(session.engine, 0, args->once ? OP_UNTIL_IDLE : OP_UNTIL_STOP,
                           op_deadline(args), &err);
    }
    if (!rc)
        rc = op_engine_claims_open(session.engine, &open, &err);
    /* To be stopped is how it ends. */
    int code = rc == OP_STOPPED ? OP_EXIT_OK : rc ? op_say_error(args, &err) : OP_EXIT_OK;
    if (!rc && open) {
        op_note(args, "%lld taken and not finished yet", (long long)open);
        code = OP_EXIT_PARTIAL;
    }
    op_session_close(&session);
    return code;
}

static const struct op_option options[] = {
    OP_OPT_FLAG("once", once, "Look once, do what can be done now, and leave: for cron"),
    OP_OPT_WAIT("Watch no longer than this"),
    OP_OPTIONS_ASK,
    OP_OPT_GROUP("How it is done"),
    OP_OPTIONS_WORK,
    OP_OPTIONS_STATE,
    OP_OPTIONS_EMULATOR,
    OP_OPTIONS_OUTPUT,
    OP_OPT_END,
};

const struct op_command op_cmd_watch = {
    .name = "watch",
    .about = "Takes the jobs that a pipeline's trigger finds, and works on all open ones",
    .usage = (const char *const[]){"watch PIPELINE... [--profile NAME] [--once]", NULL},
    .details =
        "A pipeline with a trigger (docs/reference/pipeline.md) makes its jobs itself: those that "
        "are queued are claimed, sent, fetched, delivered and reported back to the queue. Params "
        "given here hold for all jobs whose queue item does not say otherwise. Several workers, "
        "each with a state folder of its own, may watch one queue. Exit code 3 with --once: "
        "something taken is still to come.",
    .options = options,
    .pipeline = true,
    .max_words = 64,
    .run = run_watch,
};
