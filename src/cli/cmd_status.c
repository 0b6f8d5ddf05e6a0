/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/commands.h"
#include "cli/say.h"
#include "cli/session.h"
#include "engine/work.h"
#include "view/document.h"
#include "view/queues.h"
#include "view/summary.h"
#include "view/text.h"

#define TEXT_MAX (16 * 1024 * 1024)
#define WATCH_MS 1000

static enum op_rc choose(struct op_session *session, struct op_overview *v, struct op_err *err)
{
    const struct op_args *args = session->args;
    for (size_t i = 0; i < args->word_count && v->count < OP_OVERVIEW_MAX; i++) {
        int64_t batch = 0;
        enum op_rc rc = op_id_find(op_session_ledger(session), args->words[i],
                                   &v->jobs[v->count++], &batch, err);
        if (rc)
            return rc;
    }
    v->chosen = args->word_count > 0;
    return OP_OK;
}

/* --- the pipeline's own progress ---------------------------------------------------------- */

typedef void (*progress_fn)(void *arg, struct op_str name, struct op_str value);

/* A job whose inputs are gone has no progress to tell; that is no error. */
static void each_progress(struct op_session *session, int64_t job, progress_fn fn, void *arg)
{
    struct op_work *work = NULL;
    struct op_sqlenv *sql = NULL;
    struct op_query *query = NULL;
    struct op_err ignored = OP_ERR_INIT;
    if (op_engine_work(session->engine, job, &work, &ignored) || !work->def.progress.text.ptr ||
        op_work_refresh(work, &ignored) || op_work_sql(work, &sql, &ignored))
        return;
    struct op_context context = {.job = &work->job, .lane = work->lanes[0].lane, .request = -1};
    op_sqlenv_set(sql, &context);
    if (op_query_open(sql, &work->def.progress, &query, &ignored))
        return;
    const char *const *names = NULL;
    const struct op_value *cells = NULL;
    size_t count = op_query_columns(query, &names);
    while (count >= 2 && !op_query_next(query, &cells, &ignored)) {
        char a[32], b[32];
        fn(arg, op_value_to_text(cells[0], a), op_value_to_text(cells[1], b));
    }
    op_query_close(query);
}

static void text_progress(void *arg, struct op_str name, struct op_str value)
{
    struct op_buf *out = arg;
    op_buf_addz(out, "  ");
    op_text_line(out, name, 0);
    size_t width = op_text_width(name);
    op_buf_addf(out, "%*s ", width < 9 ? (int)(9 - width) : 0, "");
    op_text_line(out, value, 0);
    op_buf_addc(out, '\n');
}

/* --- lanes -------------------------------------------------------------------------------- */

struct lanes {
    struct op_ledger *ledger;
    struct op_buf *text;
};

/* A queue is worth a line while something waits for it. */
static void text_queue(void *arg, const char *model, bool held, const char *text)
{
    struct op_buf *out = arg;
    if (!held)
        return;
    op_buf_addf(out, "%s is full: ", model);
    op_text_line(out, op_str_from(text), 0);
    op_buf_addc(out, '\n');
}

static enum op_rc text_lane(void *arg_, const struct op_lane_row *row, struct op_err *err)
{
    const struct lanes *lanes = arg_;
    struct op_buf *arg = lanes->text;
    struct op_env *env = op_env_default();
    char text[OP_TIME_TEXT];
    enum op_rc rc = op_queues_say(lanes->ledger, row->id, text_queue, arg, err);
    if (rc)
        return rc;
    if (row->paused_until_ms <= env->ops->now_ms(env))
        return OP_OK;
    if (row->paused_until_ms == INT64_MAX)
        snprintf(text, sizeof(text), "`recover` opens it");
    else
        op_text_when(row->paused_until_ms, text);
    op_buf_addf(arg, "%s is paused until %s: ", row->provider, text);
    op_text_line(arg, op_str_from(row->reason), 0);
    op_buf_addc(arg, '\n');
    return OP_OK;
}

/* --- the two forms ------------------------------------------------------------------------ */

static enum op_rc add_realtime_text(struct op_session *session, int64_t id, struct op_buf *out,
                                    struct op_err *err)
{
    char a[OP_TEXT_SHORT], b[OP_TEXT_SHORT], c[OP_TEXT_SHORT];
    struct op_realtime_view view;
    enum op_rc rc = op_engine_realtime_of(session->engine, id, &view, err);
    if (!rc && (view.under_way || view.answered))
        op_buf_addf(out, "  %-9s %s under way, %s answered and not applied yet, %s a second\n",
                    "realtime", op_text_count(view.under_way, a),
                    op_text_count(view.answered, b), op_text_count(view.rate, c));
    return rc;
}

static enum op_rc add_job_text(struct op_session *session, int64_t id, struct op_buf *out,
                               struct op_err *err)
{
    OP_CLEANUP(op_job_release) struct op_job job = {0};
    struct op_times times;
    struct op_env *env = op_env_default();
    struct op_ledger *ledger = op_session_ledger(session);
    enum op_rc rc = op_ledger_job_get(ledger, id, &job, err);
    if (!rc)
        rc = op_summary_text(session->engine, id, op_job_is_final(job.state), out, err);
    if (!rc)
        rc = op_times_read(ledger, id, &times, err);
    if (rc || op_job_is_final(job.state))
        return rc;
    rc = add_realtime_text(session, id, out, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_buf_release) struct op_buf line = {0};
    op_buf_init(&line, 1000);
    op_times_write(&times, 0, env->ops->now_ms(env), &line);
    if (line.len)
        op_buf_addf(out, "  %-9s%s\n", "waiting", line.ptr + 1);
    each_progress(session, id, text_progress, out);
    return OP_OK;
}

static enum op_rc add_text(struct op_session *session, const struct op_overview *v,
                           struct op_buf *out, struct op_err *err)
{
    struct op_ledger *ledger = op_session_ledger(session);
    struct op_str why;
    if (op_ledger_is_suspect(ledger, &why))
        op_buf_addf(out, "nothing is sent: " OP_STR_FMT " (`%s`)\n", OP_STR_ARG(why),
                    op_ledger_remedy(ledger));
    struct lanes lanes = {.ledger = ledger, .text = out};
    enum op_rc rc = op_ledger_lanes(ledger, text_lane, &lanes, err);
    size_t shown = 0;
    for (size_t i = 0; !rc && i < v->count; i++) {
        OP_CLEANUP(op_job_release) struct op_job job = {0};
        rc = op_ledger_job_get(ledger, v->jobs[i], &job, err);
        /* A person asks about what is going on; the newest finished one when nothing is. */
        if (rc || (!v->chosen && op_job_is_final(job.state) && (v->open || shown)))
            continue;
        op_buf_addz(out, shown++ ? "\n" : "");
        rc = add_job_text(session, v->jobs[i], out, err);
    }
    if (!rc && v->count == 0)
        op_buf_addz(out, "no jobs yet\n");
    return rc;
}

static enum op_rc look(struct op_session *session, struct op_overview *v, struct op_err *err)
{
    *v = (struct op_overview){0};
    enum op_rc rc = choose(session, v, err);
    return rc ? rc : op_overview_read(op_session_ledger(session), v, err);
}

static enum op_rc say_json(struct op_session *session, const struct op_overview *v,
                           struct op_err *err)
{
    struct op_report report;
    op_report_begin(&report);
    return op_report_end(
        &report, op_status_document(session->engine, session->state_dir, v, &report.out, err));
}

static enum op_rc show_once(struct op_session *session, struct op_overview *v,
                            struct op_err *err)
{
    enum op_rc rc = look(session, v, err);
    if (rc || session->args->json)
        return rc ? rc : say_json(session, v, err);
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    op_buf_init(&out, TEXT_MAX);
    rc = add_text(session, v, &out, err);
    if (!rc)
        op_say(op_buf_str(&out));
    return rc;
}

/* On a terminal the screen is drawn anew; elsewhere a state is printed when it differs. */
static enum op_rc watch(struct op_session *session, struct op_err *err)
{
    bool terminal = isatty(STDOUT_FILENO);
    struct op_env *env = op_env_default();
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    OP_CLEANUP(op_buf_release) struct op_buf last = {0};
    op_buf_init(&out, TEXT_MAX);
    op_buf_init(&last, TEXT_MAX);
    struct op_overview v;
    do {
        op_buf_clear(&out);
        enum op_rc rc = look(session, &v, err);
        if (!rc && session->args->json)
            return say_json(session, &v, err);
        if (!rc)
            rc = add_text(session, &v, &out, err);
        if (rc)
            return rc;
        if (terminal)
            op_sayf("\x1b[H\x1b[2J%s", out.ptr);
        else if (!op_str_eq(op_buf_str(&out), op_buf_str(&last)))
            op_say(op_buf_str(&out));
        op_buf_clear(&last);
        op_buf_add_str(&last, op_buf_str(&out));
        if (v.open > 0 && !op_stop)
            env->ops->sleep_ms(env, WATCH_MS);
    } while (v.open > 0 && !op_stop);
    return OP_OK;
}

static int run_status(struct op_args *args)
{
    struct op_session session = {0};
    struct op_err err = OP_ERR_INIT;
    struct op_overview v = {0};
    enum op_rc rc = op_session_open(&session, args, OP_SESSION_READ, &err);
    bool empty = rc == OP_NOTFOUND && args->word_count == 0 && session.state_dir &&
                 !op_state_exists(session.state_dir);
    if (!rc)
        rc = args->watch ? watch(&session, &err) : show_once(&session, &v, &err);
    int code = OP_EXIT_OK;
    if (empty && !args->json)
        op_note(args, "%s", err.msg);
    else if (empty)
        rc = say_json(&session, &v, &err);
    else if (rc)
        code = op_say_error(args, &err);
    op_session_close(&session);
    return code;
}

static const struct op_option options[] = {
    OP_OPT_FLAG("watch", watch, "Look on until no job is open"),
    OP_OPTIONS_STATE,
    OP_OPTIONS_OUTPUT,
    OP_OPT_END,
};

const struct op_command op_cmd_status = {
    .name = "status",
    .about = "Tells how the open jobs stand (the newest one when none is open)",
    .usage = (const char *const[]){"status [ID...] [--watch]", NULL},
    .details =
        "Looks into the ledger only; the provider is not asked (`fetch` does that). It "
        "may be used while another command works. With --json each job has in_flight "
        "(batches at the provider; requests, of those in realtime), rate "
        "(realtime_per_second; batches_per_hour: answers an hour that came in batches; null "
        "where there is none yet) and providers (who answered how many).",
    .options = options,
    .max_words = 64,
    .run = run_status,
};
