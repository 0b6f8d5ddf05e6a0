/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "base/time.h"
#include "cli/commands.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/table.h"
#include "engine/work.h"
#include "view/document.h"
#include "view/story.h"
#include "view/summary.h"
#include "view/text.h"

#define TEXT_MAX (256 * 1024 * 1024)

/* --- a batch ------------------------------------------------------------------------------ */

static enum op_rc text_entry(void *arg, const struct op_journal_entry *entry,
                             struct op_err *err)
{
    (void)err;
    struct op_table *table = arg;
    char at[OP_TIME_TEXT];
    op_table_add(table, "%s", op_text_when(entry->at_ms, at));
    op_table_add(table, "%s", entry->to);
    op_table_add(table, "%s", entry->evidence ? entry->evidence : "");
    return OP_OK;
}

static void text_batch(const struct op_batch *batch, struct op_buf *out)
{
    char a[OP_TEXT_SHORT], b[OP_TEXT_SHORT];
    op_buf_addf(out, "batch-%lld of job-%lld: %s\n", (long long)batch->id,
                (long long)batch->job_id, op_batch_state_name(batch->state));
    if (batch->provider_id[0])
        op_buf_addf(out, "  %-9s %s  (says: %s)\n", "provider", batch->provider_id,
                    batch->remote_state);
    op_buf_addf(out, "  %-9s %s, %s", "requests", op_text_count(batch->count, a),
                op_text_bytes(batch->bytes, b));
    if (batch->tokens)
        op_buf_addf(out, ", about %s prompt tokens", op_text_count(batch->tokens, a));
    op_buf_addf(out, "\n  %-9s %s%s%s\n", "model", batch->model,
                batch->endpoint[0] ? " through " : "", batch->endpoint);
    if (batch->file_id[0])
        op_buf_addf(out, "  %-9s %s%s\n", "file", batch->file_id,
                    batch->fenced_ms ? "  (removed, so that a late create cannot run)" : "");
    if (batch->twins[0])
        op_buf_addf(out,
                    "  %-9s the provider made more batches of the same create; they cost %s\n",
                    "twins", op_text_usd(batch->extra_microusd, a));
    op_buf_addf(out, "  %-9s %s ok, ", "results", op_text_count(batch->ok, a));
    op_buf_addf(out, "%s failed, %s missing\n", op_text_count(batch->failed, a),
                op_text_count(batch->absent, b));
    op_buf_addf(out, "  %-9s %s of at most %s\n", "cost", op_text_usd(batch->spent_microusd, a),
                op_text_usd(batch->reserved_microusd, b));
    const struct {
        const char *name;
        int64_t ms;
    } times[] = {{"accepted", batch->accepted_ms},
                 {"ended", batch->ended_ms},
                 {"expires", batch->ended_ms ? 0 : batch->expires_ms}};
    for (size_t i = 0; i < OP_COUNT(times); i++)
        if (times[i].ms > 0)
            op_buf_addf(out, "  %-9s %s\n", times[i].name, op_text_when(times[i].ms, a));
}

/* Notes about the batch itself; those about its requests are shown with their records. */
static enum op_rc text_note(void *arg, const struct op_note *note, struct op_err *err)
{
    (void)err;
    if (note->request_id)
        return OP_OK;
    op_buf_addf(arg, "  %-9s ", note->kind);
    op_text_line(arg, op_str_from(note->text), 0);
    op_buf_addc(arg, '\n');
    return OP_OK;
}

static enum op_rc show_batch(struct op_session *session, int64_t id, struct op_err *err)
{
    struct op_ledger *ledger = op_session_ledger(session);
    if (session->args->json) {
        struct op_report report;
        op_report_begin(&report);
        return op_report_end(&report, op_batch_document(session->engine, id, &report.out, err));
    }
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    enum op_rc rc = op_ledger_batch_get(ledger, id, &batch, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    OP_CLEANUP(op_table_release) struct op_table table;
    op_buf_init(&out, TEXT_MAX);
    op_table_init(&table, "JOURNAL|STATE|EVIDENCE");
    table.indent = 2;
    text_batch(&batch, &out);
    rc = op_ledger_notes(ledger, 0, id, 0, text_note, &out, err);
    if (!rc)
        rc = op_ledger_journal(ledger, id, text_entry, &table, err);
    op_table_print(&table, op_say_width(1), &out);
    if (!rc)
        op_say(op_buf_str(&out));
    return rc;
}

/* --- a job -------------------------------------------------------------------------------- */

struct batches {
    struct op_session *session;
    struct op_table table;
};

static void batches_release(struct batches *b)
{
    op_table_release(&b->table);
}

static enum op_rc add_batch(void *arg, const struct op_batch *batch, struct op_err *err)
{
    struct batches *b = arg;
    struct op_table *table = &b->table;
    const char *provider = NULL;
    char n[OP_TEXT_SHORT];
    enum op_rc rc = op_engine_provider(b->session->engine, batch->lane_id, &provider, err);
    if (rc)
        return rc;
    op_table_add(table, "batch-%lld", (long long)batch->id);
    op_table_add(table, "%s", op_batch_state_name(batch->state));
    op_table_add(table, "%s", op_text_count(batch->count, n));
    op_table_add(table, "%s", op_text_count(batch->ok, n));
    op_table_add(table, "%s", op_text_count(batch->failed + batch->absent, n));
    op_table_add(table, "%s", op_text_usd(batch->spent_microusd, n));
    op_table_add(table, "%s", provider);
    op_table_add(table, "%s", batch->provider_id);
    return OP_OK;
}

static enum op_rc show_job(struct op_session *session, int64_t id, struct op_err *err)
{
    struct op_ledger *ledger = op_session_ledger(session);
    struct op_batch_filter filter = {.job_id = id};
    if (session->args->json) {
        struct op_report report;
        op_report_begin(&report);
        return op_report_end(&report, op_job_document(session->engine, id, &report.out, err));
    }
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    OP_CLEANUP(batches_release) struct batches b = {.session = session};
    OP_CLEANUP(op_job_release) struct op_job job = {0};
    op_buf_init(&out, TEXT_MAX);
    op_table_init(&b.table, "BATCH|STATE|>REQUESTS|>OK|>FAILED|>COST|PROVIDER|PROVIDER'S ID");
    b.table.indent = 2;
    enum op_rc rc = op_ledger_job_get(ledger, id, &job, err);
    if (!rc)
        rc = op_summary_text(session->engine, id, true, &out, err);
    if (!rc) {
        op_buf_addf(&out, "  %-9s ", "params");
        op_text_line(&out, op_str_from(job.params), 0);
        op_buf_addc(&out, '\n');
        rc = op_ledger_batches(ledger, &filter, add_batch, &b, err);
    }
    if (b.table.cell_count)
        op_table_print(&b.table, 0, &out);
    if (!rc)
        op_say(op_buf_str(&out));
    return rc;
}

/* --- a record ----------------------------------------------------------------------------- */

static enum op_rc show_record(struct op_session *session, int64_t job, int64_t record,
                              struct op_err *err)
{
    if (session->args->json) {
        struct op_report report;
        op_report_begin(&report);
        return op_report_end(&report,
                             op_story_json(session->engine, job, record, &report.out, err));
    }
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    op_buf_init(&out, TEXT_MAX);
    enum op_rc rc = op_story_text(session->engine, job, record, &out, err);
    if (!rc)
        op_say(op_buf_str(&out));
    return rc;
}

static enum op_rc show_word(struct op_session *session, const char *word, struct op_err *err)
{
    int64_t number = 0, job = 0, batch = 0, only = 0, record = 0;
    struct op_ledger *ledger = op_session_ledger(session);
    enum op_rc rc = OP_OK;
    if (session->args->job)
        rc = op_id_find(ledger, session->args->job, &only, &batch, err);
    bool id = op_id_number(word, "job-", &number) || op_id_number(word, "batch-", &number);
    if (!rc && (!id || session->args->job))
        rc = op_record_find(ledger, only, op_str_from(word), &job, &record, err);
    if (rc)
        return rc;
    if (record)
        return show_record(session, job, record, err);
    struct op_err unknown = OP_ERR_INIT;
    rc = op_id_find(ledger, word, &job, &batch, &unknown);
    if (rc == OP_NOTFOUND && !id)
        return op_fail(err, OP_NOTFOUND,
                       "no record has the key '%.100s'%s%s, and no batch has that id", word,
                       session->args->job ? " in " : "",
                       session->args->job ? session->args->job : "");
    if (rc)
        return op_fail(err, rc, "%s", unknown.msg);
    return batch ? show_batch(session, batch, err) : show_job(session, job, err);
}

/* --- --latest ----------------------------------------------------------------------------- */

struct latest {
    struct op_session *session;
    int64_t job;
    struct op_buf out;
    bool found;
};

static enum op_rc newest_done(void *arg, const struct op_job *job, struct op_err *err)
{
    (void)err;
    struct latest *l = arg;
    if (!l->job && op_job_is_final(job->state) && job->counts.done > 0)
        l->job = job->id;
    return OP_OK;
}

static enum op_rc first_good(void *arg, const struct op_request *request, struct op_err *err)
{
    struct latest *l = arg;
    if (!request->record_id)
        return OP_OK;
    enum op_rc rc = op_story_answer(l->session->engine, request, &l->out, err);
    if (rc == OP_NOTFOUND && !err->rc)
        return OP_OK;
    if (rc)
        return rc;
    OP_CLEANUP(op_buf_release) struct op_buf key = {0};
    OP_CLEANUP(op_buf_release) struct op_buf clean = {0};
    op_buf_init(&key, OP_SOURCE_MAX_RECORD);
    op_buf_init(&clean, OP_SOURCE_MAX_RECORD);
    rc = op_ledger_record_data(op_session_ledger(l->session), request->record_id, &key, NULL,
                               err);
    op_text_line(&clean, op_buf_str(&key), 100);
    if (!rc)
        op_note(l->session->args, "the first answer of job-%lld (%s):", (long long)l->job,
                clean.ptr);
    l->found = true;
    return rc ? rc : OP_STOPPED; /* ends the walk */
}

static enum op_rc show_latest(struct op_session *session, struct op_err *err)
{
    struct latest l = {.session = session};
    op_buf_init(&l.out, TEXT_MAX);
    enum op_rc rc = op_ledger_jobs(op_session_ledger(session), false, newest_done, &l, err);
    if (!rc && l.job)
        rc = op_ledger_requests(op_session_ledger(session), l.job, OP_REQUEST_DONE, 0,
                                first_good, &l, err);
    if (rc == OP_STOPPED && l.found)
        rc = OP_OK;
    if (!rc && !l.found)
        rc = op_fail(err, OP_NOTFOUND, "no finished job has an answer yet");
    if (!rc && session->args->json) {
        struct op_report report;
        op_report_begin(&report);
        op_json_out_kv_str(&report.out, "answer", op_str_trim(op_buf_str(&l.out)));
        op_report_print(&report);
    } else if (!rc) {
        op_say(op_buf_str(&l.out));
    }
    op_buf_release(&l.out);
    return rc;
}

static int run_show(struct op_args *args)
{
    struct op_session session = {0};
    struct op_err err = OP_ERR_INIT;
    if (args->word_count == 0 && !args->latest) {
        op_err_set(&err, OP_INVAL,
                   "say what to show: a record's key, job-3, batch-7, or "
                   "--latest");
        return op_say_usage(args, &err);
    }
    enum op_rc rc = op_session_open(&session, args, OP_SESSION_READ, &err);
    if (!rc)
        rc = args->latest ? show_latest(&session, &err)
                          : show_word(&session, args->words[0], &err);
    int code = rc ? op_say_error(args, &err) : OP_EXIT_OK;
    op_session_close(&session);
    return code;
}

static const struct op_option options[] = {
    OP_OPT_TEXT("job", "JOB", job, "The record of this job (default: the newest that has it)"),
    OP_OPT_FLAG("latest", latest, "The first good answer of the newest finished job"),
    OP_OPTIONS_STATE,
    OP_OPTIONS_OUTPUT,
    OP_OPT_END,
};

const struct op_command op_cmd_show = {
    .name = "show",
    .about = "Tells a record's whole story: prompt, batch, result, answer, rows",
    .usage = (const char *const[]){"show KEY [--job JOB]", "show JOB", "show BATCH",
                                   "show --latest", NULL},
    .details = "A job is shown with its batches and outputs, a batch with its journal.",
    .options = options,
    .max_words = 1,
    .run = run_show,
};
