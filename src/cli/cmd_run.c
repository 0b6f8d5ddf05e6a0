/* SPDX-License-Identifier: MIT */
#include "base/json.h"
#include "base/mem.h"
#include "base/time.h"
#include "cli/commands.h"
#include "cli/confine.h"
#include "cli/estimate.h"
#include "cli/finish.h"
#include "cli/say.h"
#include "cli/session.h"

/* A tiny job: at this size the other price is a matter of cents. */
#define REALTIME_BELOW 20

/* The newest job of this pipeline with these parameters, if it ended with failures. */
struct search {
    const char *pipeline, *params;
    const struct op_args *args;
    struct op_json_parser *parser;
    int64_t found;
};

static bool same_text(struct op_json object, const char *name, const char *text)
{
    struct op_str s = op_json_str(op_json_get(object, name));
    return text ? op_str_is(s, text) : s.ptr == NULL;
}

static enum op_rc see_job(void *arg, const struct op_job *job, struct op_err *err)
{
    struct search *s = arg;
    struct op_json options;
    if (s->found || strcmp(job->pipeline, s->pipeline) != 0 ||
        strcmp(job->params, s->params) != 0)
        return OP_OK;
    enum op_rc rc =
        op_json_parse(s->parser, job->options, strlen(job->options), false, &options, err);
    if (rc)
        return rc;
    const struct op_args *args = s->args;
    if (!same_text(options, "model", args->model) ||
        !same_text(options, "provider", args->provider) ||
        op_json_int(op_json_get(options, "limit"), 0) != args->limit ||
        op_json_bool(op_json_get(options, "emulate"), false) != args->emulate)
        return OP_OK;
    s->found = job->state == OP_JOB_PARTIAL ? job->id : -1;
    return OP_OK;
}

static enum op_rc find_partial(struct op_session *session, const char *cwd, int64_t *ret,
                               struct op_err *err)
{
    const struct op_subject *subject = &session->args->subject;
    OP_CLEANUP(op_params_release) struct op_params params = {0};
    OP_CLEANUP(op_buf_release) struct op_buf json = {0};
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    op_buf_init(&json, OP_BUNDLE_FILE_MAX);
    enum op_rc rc = op_params_resolve(&subject->def, subject->given, cwd, &params, err);
    if (rc)
        return rc;
    op_params_write(&params, &json);
    struct search search = {.pipeline = subject->def.name,
                            .params = json.ptr,
                            .args = session->args,
                            .parser = parser};
    rc = op_ledger_jobs(op_session_ledger(session), false, see_job, &search, err);
    *ret = search.found > 0 ? search.found : 0;
    return rc;
}

static enum op_rc new_job(struct op_session *session, struct op_args *args, const char *cwd,
                          int64_t *ret_job, bool *ret_resumed, struct op_err *err)
{
    struct op_subject *subject = &args->subject;
    op_subject_settle(subject);
    struct op_job_request request = {
        .bundle = &subject->bundle,
        .given = subject->given,
        .cwd = cwd,
        .provider = args->provider,
        .model = args->model,
        .limit = args->limit,
        .max_cost_microusd = args->max_cost_microusd,
        .no_cache = args->no_cache,
        .fresh = args->fresh,
        .mode = args->mode,
        .tier = args->tier,
        .deadline_ms = args->deadline_ms,
        .realtime_below = args->realtime_below ? args->realtime_below : REALTIME_BELOW,
    };
    return op_engine_job(session->engine, &request, ret_job, ret_resumed, err);
}

static enum op_rc resume_job(struct op_session *session, int64_t *ret_job, struct op_err *err)
{
    const struct op_args *args = session->args;
    struct op_ledger *ledger = op_session_ledger(session);
    int64_t batch = 0;
    enum op_rc rc = op_id_find(ledger, args->subject.word, ret_job, &batch, err);
    if (rc || !args->max_cost_microusd)
        return rc;
    OP_CLEANUP(op_job_release) struct op_job job = {0};
    rc = op_ledger_job_get(ledger, *ret_job, &job, err);
    return rc ? rc
              : op_ledger_job_set(ledger, *ret_job, args->max_cost_microusd, job.round, err);
}

static enum op_rc choose_job(struct op_session *session, struct op_args *args, const char *cwd,
                             int64_t *ret_job, struct op_err *err)
{
    bool resumed = true;
    enum op_rc rc = OP_OK;
    int64_t job = 0;
    if (args->subject.kind == OP_SUBJECT_JOB)
        rc = resume_job(session, &job, err);
    else if (args->retry_failed)
        rc = find_partial(session, cwd, &job, err);
    if (!rc && !job)
        rc = new_job(session, args, cwd, &job, &resumed, err);
    if (rc)
        return rc;
    *ret_job = job;
    int64_t again = 0;
    if (args->retry_failed && resumed)
        rc = op_engine_retry_failed(session->engine, job, &again, err);
    if (rc)
        return rc;
    if (args->retry_failed)
        op_note(args, "job-%lld: %lld failed %s asked again", (long long)job, (long long)again,
                again == 1 ? "request is" : "requests are");
    else if (resumed)
        op_note(args, "job-%lld goes on", (long long)job);
    else
        op_note(args, "job-%lld begins", (long long)job);
    return OP_OK;
}

static int work(struct op_args *args, bool wait)
{
    struct op_session session = {0};
    struct op_err err = OP_ERR_INIT;
    OP_CLEANUP(op_mem_freep) char *cwd = NULL;
    int64_t job = 0;
    bool resume = args->subject.kind == OP_SUBJECT_JOB;
    session.retry_now = resume;
    enum op_rc rc = op_cwd(&cwd, &err);
    if (!rc)
        rc = op_session_open(&session, args, resume ? OP_SESSION_WORK : OP_SESSION_NEW, &err);
    if (!rc)
        rc = choose_job(&session, args, cwd, &job, &err);
    if (!rc)
        rc = op_confine_session(&session, &err);
    int code;
    if (rc) {
        code = op_say_error(args, &err);
    } else {
        op_progress_begin(&session.progress, args, job);
        rc = op_engine_run(session.engine, job, wait ? OP_UNTIL_DONE : OP_UNTIL_SENT,
                           op_deadline(args), &err);
        code = op_finish(&session, &job, 1, &err);
    }
    op_session_close(&session);
    return code;
}

static int start(struct op_args *args, bool wait)
{
    struct op_err err = OP_ERR_INIT;
    if (args->subject.kind != OP_SUBJECT_JOB && args->subject.broken.rc)
        return op_say_error(args, &args->subject.broken);
    if (op_subject_complete(args, !args->dry_run, &err))
        return op_say_usage(args, &err);
    if (args->subject.kind != OP_SUBJECT_JOB && op_subject_check_params(&args->subject, &err))
        return op_say_usage(args, &err);
    return args->dry_run ? op_estimate_say(args) : work(args, wait);
}

static int run_run(struct op_args *args)
{
    return start(args, true);
}

static int run_create(struct op_args *args)
{
    return start(args, args->wait.given);
}

static const struct op_option options[] = {
    OP_OPTIONS_ASK,
    OP_OPT_GROUP("How it is done"),
    OP_OPT_FLAG("retry-failed", retry_failed, "Ask the failed requests of the last run again"),
    OP_OPT_FLAG("dry-run", dry_run,
                "Say what would be asked and what it would cost; send and keep nothing"),
    OP_OPT_WAIT("Wait until the job is done (`run` always does), at most so long"),
    OP_OPTIONS_WORK,
    OP_OPTIONS_STATE,
    OP_OPTIONS_EMULATOR,
    OP_OPTIONS_OUTPUT,
    OP_OPT_END,
};

const struct op_command op_cmd_run = {
    .name = "run",
    .about = "Creates a job, waits for its batches and delivers the answers",
    .usage = (const char *const[]){"run PIPELINE [--PARAM VALUE]... [options]",
                                   "run --input FILE --prompt TEXT --output FILE [options]",
                                   "run REQUESTS.jsonl --output FILE [options]",
                                   "run JOB [options]", NULL},
    .details =
        "PIPELINE is a folder with pipeline.yaml, or the name of one that came along; its "
        "parameters are options (`offpeak help run PIPELINE` lists them). REQUESTS.jsonl holds "
        "requests in a provider's own batch form. The same command again goes on with the job "
        "it began, if that is not finished, and buys nothing twice. Ctrl-C leaves everything "
        "resumable.",
    .options = options,
    .pipeline = true,
    .max_words = 1,
    .run = run_run,
};

const struct op_command op_cmd_create = {
    .name = "create",
    .about = "Creates a job, sends its batches and leaves; `fetch` comes back for the answers",
    .usage = (const char *const[]){"create PIPELINE [--PARAM VALUE]... [options]",
                                   "create --input FILE --prompt TEXT --output FILE [options]",
                                   "create REQUESTS.jsonl --output FILE [options]", NULL},
    .options = options,
    .pipeline = true,
    .max_words = 1,
    .run = run_create,
};
