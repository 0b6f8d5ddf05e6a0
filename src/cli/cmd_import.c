/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/confine.h"
#include "cli/finish.h"
#include "cli/say.h"
#include "cli/session.h"
#include "engine/import.h"

static enum op_rc say_note(void *arg, const struct op_note *note, struct op_err *err)
{
    (void)err;
    if (strcmp(note->kind, "import") == 0)
        op_note(arg, "%s", note->text);
    return OP_OK;
}

static enum op_rc import_all(struct op_args *args, struct op_session *session,
                             struct op_import *import, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *cwd = NULL;
    enum op_rc rc = op_cwd(&cwd, err);
    if (rc)
        return rc;
    op_subject_settle(&args->subject);
    *import = (struct op_import){
        .request = {.bundle = &args->subject.bundle,
                    .given = args->subject.given,
                    .cwd = cwd,
                    .provider = args->provider,
                    .model = args->model},
        .words = args->words,
        .word_count = args->word_count,
        .map = args->map,
        .deadline_ms = op_deadline(args),
        .no_wait = args->no_wait,
    };
    rc = op_engine_import(session->engine, import, err);
    if (rc || !import->job)
        return rc;
    if (import->is_known)
        op_note(args, "this was imported as job-%lld", (long long)import->job);
    rc = op_confine_session(session, err);
    if (rc)
        return rc;
    op_progress_begin(&session->progress, args, import->job);
    rc = op_engine_run(session->engine, import->job, OP_UNTIL_DONE, op_deadline(args), err);
    op_progress_end(&session->progress);
    struct op_err ignored = OP_ERR_INIT;
    (void)!op_ledger_notes(op_session_ledger(session), import->job, 0, 0, say_note, args,
                           &ignored);
    return rc;
}

static enum op_rc check(struct op_args *args, struct op_err *err)
{
    if (args->word_count == 0)
        return op_fail(
            err, OP_INVAL,
            "say what to import: the provider's ids of batches, or files of results");
    if (args->subject.kind != OP_SUBJECT_PIPELINE)
        return op_fail(err, OP_INVAL, "say with --pipeline whose records the results are for");
    if (args->subject.broken.rc) {
        *err = args->subject.broken;
        return err->rc;
    }
    return op_subject_check_params(&args->subject, err);
}

static int run_import(struct op_args *args)
{
    struct op_session session = {.retry_now = true};
    struct op_import import = {.job = 0};
    struct op_err err = OP_ERR_INIT;
    if (check(args, &err))
        return op_say_usage(args, &err);
    enum op_rc rc = op_session_open(&session, args, OP_SESSION_NEW, &err);
    if (!rc)
        rc = import_all(args, &session, &import, &err);
    int code;
    if (!import.job && !rc) {
        op_err_set(&err, OP_CONFLICT, "%s has not ended: import it again later",
                   import.waits_for);
        (void)op_say_error(args, &err);
        code = OP_EXIT_PARTIAL;
    } else if (!import.job) {
        code = op_say_error(args, &err);
    } else {
        code = op_finish(&session, &import.job, 1, &err);
    }
    op_session_close(&session);
    return code;
}

static const struct op_option options[] = {
    OP_OPT_TEXT("pipeline", "PIPELINE", pipeline_word,
                "Whose records the results are for; its parameters are options"),
    OP_OPT_TEXT("map", "FILE", map,
                "JSONL that says which custom_id is which record: custom_id, key, and request "
                "where a record has several"),
    OP_OPT_SOFT(TEXT, "model", "NAME", model,
                "The model, in place of the one the pipeline names"),
    OP_OPT_SOFT(TEXT, "provider", "NAME", provider,
                "The provider, where the model's name does not tell"),
    OP_OPT_GROUP("How it is done"),
    OP_OPT_FLAG("no-wait", no_wait, "Leave when a batch has not ended"),
    OP_OPT_WAIT("Wait until the batches have ended (the default), at most so long"),
    OP_OPTIONS_WORK,
    OP_OPTIONS_STATE,
    OP_OPTIONS_OUTPUT,
    OP_OPT_END,
};

const struct op_command op_cmd_import = {
    .name = "import",
    .about = "Takes results that were bought elsewhere into a pipeline",
    .usage =
        (const char *const[]){"import BATCH_ID... --pipeline PIPELINE [--PARAM VALUE]...",
                              "import FILE... --pipeline PIPELINE [--PARAM VALUE]...", NULL},
    .details =
        "BATCH_ID is the provider's; its results are fetched. FILE holds result lines in the "
        "provider's form. A custom_id is a record's key, KEY#REQUEST where a record has several "
        "requests, or is explained by --map. Answers are checked and delivered as ever; results "
        "that match no record are kept and named. Nothing is sent, records without a result stay "
        "unasked: `run` asks them afterwards. What it cost is booked as imported and counts "
        "against no cap. The same import twice changes nothing.",
    .options = options,
    .pipeline_option = true,
    .max_words = 64,
    .run = run_import,
};
