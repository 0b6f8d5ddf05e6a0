/* SPDX-License-Identifier: MIT */
#include "cli/progress.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "cli/say.h"
#include "view/text.h"

#define DRAW_EVERY_MS 150
#define TIME_EVERY_MS 1000
/* More warnings than this only push each other off the screen. */
#define WARNINGS_SHOWN 20

/* Of the one live line there can be. */
static atomic_bool line_shown;
static atomic_int warnings_seen;

static void to_stderr(const char *ptr, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, ptr, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        ptr += n;
        len -= (size_t)n;
    }
}

static void clear_line(void)
{
    if (atomic_exchange(&line_shown, false))
        to_stderr("\r\x1b[K", 4);
}

/* On a terminal: without the time, which the person has, and not for ever. */
static void terminal_line(void *arg, enum op_log_level level, const char *line)
{
    (void)arg;
    bool warning = level <= OP_LOG_WARN;
    int seen = warning ? atomic_fetch_add(&warnings_seen, 1) : 0;
    if (seen > WARNINGS_SHOWN)
        return;
    const char *text = strchr(line, ' ');
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    op_buf_init(&out, 256 * 1024);
    if (seen == WARNINGS_SHOWN)
        op_buf_addz(&out, "more warnings are not shown here; --log json writes all of them\n");
    else
        op_buf_addf(&out, "%s\n", text ? text + 1 : line);
    clear_line();
    to_stderr(out.ptr, out.len);
}

void op_log_begin(const struct op_args *args)
{
    bool json = args->log && strcmp(args->log, "json") == 0;
    bool terminal = isatty(STDERR_FILENO) && !json;
    enum op_log_level level = args->quiet     ? OP_LOG_ERROR
                              : args->verbose ? OP_LOG_DEBUG
                              : terminal      ? OP_LOG_WARN
                                              : OP_LOG_INFO;
    op_log_setup(level, json ? OP_LOG_JSON : OP_LOG_TEXT, terminal ? terminal_line : NULL,
                 NULL);
}

void op_progress_begin(struct op_progress *progress, const struct op_args *args, int64_t job)
{
    bool json = args->log && strcmp(args->log, "json") == 0;
    *progress = (struct op_progress){
        .job = job, .typical_ms = -1, .live = isatty(STDERR_FILENO) && !args->quiet && !json};
}

void op_progress_end(struct op_progress *progress)
{
    if (progress->live)
        clear_line();
    progress->live = false;
}

/* --- time left ---------------------------------------------------------------------------- */

/* The ledger's journal tells by our own clock what the provider tells by its. */
#define TIMED_MOST 16

struct times_walk {
    struct op_times times;
    int64_t ended[TIMED_MOST]; /* the last ones, round and round */
    size_t ended_count;
    int64_t live_first, live_last; /* batch ids */
};

static enum op_rc see_batch(void *arg, const struct op_batch *batch, struct op_err *err)
{
    (void)err;
    struct times_walk *walk = arg;
    if (batch->prime)
        return OP_OK;
    if (batch->state == OP_BATCH_ACCEPTED) {
        walk->times.live++;
        walk->live_first = walk->live_first ? walk->live_first : batch->id;
        walk->live_last = batch->id;
    } else if (batch->state == OP_BATCH_BUILT || batch->state == OP_BATCH_UPLOADED) {
        walk->times.unsent++;
    } else if (batch->accepted_ms > 0 && batch->ended_ms > 0) {
        walk->ended[walk->ended_count++ % TIMED_MOST] = batch->id;
    }
    return OP_OK;
}

struct journal_times {
    int64_t accepted_ms, ended_ms;
};

static enum op_rc see_entry(void *arg, const struct op_journal_entry *entry, struct op_err *err)
{
    (void)err;
    struct journal_times *t = arg;
    if (strcmp(entry->to, op_batch_state_name(OP_BATCH_ACCEPTED)) == 0)
        t->accepted_ms = entry->at_ms;
    else if (strcmp(entry->to, op_batch_state_name(OP_BATCH_ENDED)) == 0 && !t->ended_ms)
        t->ended_ms = entry->at_ms;
    return OP_OK;
}

enum op_rc op_times_read(struct op_ledger *ledger, int64_t job, struct op_times *ret,
                         struct op_err *err)
{
    struct times_walk walk = {0};
    struct journal_times first = {0}, last = {0};
    struct op_batch_filter filter = {.job_id = job};
    enum op_rc rc = op_ledger_batches(ledger, &filter, see_batch, &walk, err);
    if (!rc && walk.live_first)
        rc = op_ledger_journal(ledger, walk.live_first, see_entry, &first, err);
    if (!rc && walk.live_last)
        rc = op_ledger_journal(ledger, walk.live_last, see_entry, &last, err);
    int64_t sum = 0, count = 0;
    for (size_t i = 0; !rc && i < walk.ended_count && i < TIMED_MOST; i++) {
        struct journal_times t = {0};
        rc = op_ledger_journal(ledger, walk.ended[i], see_entry, &t, err);
        sum += t.ended_ms > t.accepted_ms ? t.ended_ms - t.accepted_ms : 0;
        count += t.ended_ms > t.accepted_ms;
    }
    if (rc)
        return rc;
    *ret = walk.times;
    ret->oldest_ms = first.accepted_ms;
    ret->newest_ms = last.accepted_ms;
    ret->took_ms = count ? sum / count : 0;
    return OP_OK;
}

void op_times_write(const struct op_times *times, int64_t typical_ms, int64_t now_ms,
                    struct op_buf *out)
{
    char text[OP_TIME_TEXT];
    int64_t took = times->took_ms ? times->took_ms : typical_ms;
    if (!times->live)
        return;
    int64_t end = times->newest_ms + took;
    if (took && times->unsent)
        end += took;
    if (took && end > now_ms) {
        op_duration_format((end - now_ms + 999) / 1000 * 1000, text);
        op_buf_addf(out, "  ETA %s", text);
    } else if (now_ms - times->oldest_ms >= OP_SECOND_MS) {
        op_duration_format((now_ms - times->oldest_ms) / 1000 * 1000, text);
        op_buf_addf(out, "  sent %s ago", text);
    }
}

/* --- the live line ------------------------------------------------------------------------ */

struct sums {
    int64_t jobs;
    int64_t last_job;
    char *pipeline;
    enum op_job_state state;
    struct op_job_counts counts;
    char *reason;
};

static enum op_rc add_job(void *arg, const struct op_job *job, struct op_err *err)
{
    (void)err;
    struct sums *s = arg;
    const struct op_job_counts *c = &job->counts;
    s->jobs++;
    s->last_job = job->id;
    s->state = job->state;
    op_mem_free(s->pipeline);
    s->pipeline = op_mem_strdup(job->pipeline);
    op_mem_free(s->reason);
    s->reason = op_mem_strdup(job->reason ? job->reason : "");
    s->counts.requests += c->requests;
    s->counts.done += c->done;
    s->counts.failed += c->failed;
    s->counts.canceled += c->canceled;
    s->counts.records += c->records;
    s->counts.spent_microusd += c->spent_microusd;
    op_usage_add(&s->counts.usage, &c->usage);
    return OP_OK;
}

static void add_state(struct op_buf *line, const struct sums *s)
{
    char a[OP_TEXT_SHORT], b[OP_TEXT_SHORT];
    const struct op_job_counts *c = &s->counts;
    if (s->state == OP_JOB_PLANNING) {
        op_buf_addz(line, "  reading the records");
        return;
    }
    int64_t waiting = c->requests - c->done - c->failed - c->canceled;
    op_buf_addf(line, "  %s/%s done", op_text_count(c->done, a), op_text_count(c->requests, b));
    if (c->failed)
        op_buf_addf(line, "  %s failed", op_text_count(c->failed, a));
    if (waiting > 0)
        op_buf_addf(line, "  %s waiting", op_text_count(waiting, a));
    int64_t tokens = op_usage_prompt(&c->usage) + c->usage.tokens[OP_TOKEN_OUTPUT];
    if (tokens > 0)
        op_buf_addf(line, "  %s tokens", op_text_brief(tokens, a));
    op_buf_addf(line, "  %s", op_text_usd(c->spent_microusd, a));
}

/* What the realtime lane is at: answers count as done when they are applied, list by list. */
static void add_realtime(struct op_buf *line, const struct op_engine *engine)
{
    char a[OP_TEXT_SHORT];
    struct op_realtime_view view;
    if (!op_engine_realtime(engine, &view))
        return;
    if (view.answered > 0)
        op_buf_addf(line, "  %s more answered", op_text_count(view.answered, a));
    op_buf_addf(line, "  %s under way", op_text_count(view.under_way, a));
    if (view.rate > 0)
        op_buf_addf(line, "  %s/s", op_text_count(view.rate, a));
}

static enum op_rc gather(const struct op_progress *progress, struct op_ledger *ledger,
                         struct sums *s, struct op_err *err)
{
    if (!progress->job)
        return op_ledger_jobs(ledger, true, add_job, s, err);
    OP_CLEANUP(op_job_release) struct op_job job = {0};
    enum op_rc rc = op_ledger_job_get(ledger, progress->job, &job, err);
    return rc ? rc : add_job(s, &job, err);
}

static void add_times(struct op_progress *progress, struct op_ledger *ledger,
                      struct op_buf *line)
{
    struct op_env *env = op_env_default();
    struct op_times all;
    struct op_err err = OP_ERR_INIT;
    int64_t mono = env->ops->mono_ms(env);
    if (progress->typical_ms < 0)
        progress->typical_ms = op_times_read(ledger, 0, &all, &err) ? 0 : all.took_ms;
    if (progress->timed_ms + TIME_EVERY_MS <= mono) {
        progress->timed_ms = mono;
        if (op_times_read(ledger, progress->job, &progress->times, &err))
            progress->times = (struct op_times){0};
    }
    op_times_write(&progress->times, progress->typical_ms, env->ops->now_ms(env), line);
}

void op_progress_draw(struct op_progress *progress, struct op_engine *engine)
{
    struct op_env *env = op_env_default();
    int64_t mono = env->ops->mono_ms(env);
    if (!progress->live || mono < progress->drawn_ms + DRAW_EVERY_MS)
        return;
    progress->drawn_ms = mono;
    struct sums s = {0};
    struct op_err err = OP_ERR_INIT;
    OP_CLEANUP(op_buf_release) struct op_buf line = {0};
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    op_buf_init(&line, 64 * 1024);
    op_buf_init(&out, 64 * 1024);
    if (!gather(progress, op_engine_ledger(engine), &s, &err) && s.jobs > 0) {
        if (s.jobs == 1)
            op_buf_addf(&line, "job-%lld %s", (long long)s.last_job, s.pipeline);
        else
            op_buf_addf(&line, "%lld jobs", (long long)s.jobs);
        add_state(&line, &s);
        add_realtime(&line, engine);
        add_times(progress, op_engine_ledger(engine), &line);
        if (s.reason[0] && s.jobs == 1)
            op_buf_addf(&line, "  %s", s.reason);
        size_t width = op_say_width(STDERR_FILENO);
        op_buf_addz(&out, "\r");
        op_text_line(&out, op_buf_str(&line), width > 1 ? width - 1 : 79);
        op_buf_addz(&out, "\x1b[K");
        atomic_store(&line_shown, true);
        to_stderr(out.ptr, out.len);
    }
    op_mem_free(s.pipeline);
    op_mem_free(s.reason);
}
