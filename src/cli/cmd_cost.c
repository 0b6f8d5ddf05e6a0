/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/commands.h"
#include "cli/money.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/summary.h"
#include "cli/table.h"
#include "cli/text.h"

#define TEXT_MAX (64 * 1024 * 1024)

/* What lines are told apart by. */
enum by { BY_JOB, BY_MODEL, BY_PROVIDER, BY_DAY, BY_COUNT };
static const char *const by_names[BY_COUNT] = {"job", "model", "provider", "day"};

struct line {
    char *keys[BY_COUNT]; /* NULL: not asked for */
    int64_t job;          /* for the order */
    bool imported;
    struct op_money money;
};

struct costs {
    const struct op_args *args;
    bool by[BY_COUNT];
    int64_t since_ms, until_ms; /* until: not included; 0 none */
    struct line *lines;
    size_t count;
    struct op_money bought, imported;
    int64_t reserved_microusd;
};

static void costs_release(struct costs *c)
{
    for (size_t i = 0; i < c->count; i++)
        for (size_t k = 0; k < BY_COUNT; k++)
            op_mem_free(c->lines[i].keys[k]);
    op_mem_free(c->lines);
}

/* --- adding up ------------------------------------------------------------------------------ */

static bool same_key(const struct line *line, size_t by, const char *text)
{
    return !line->keys[by] || strcmp(line->keys[by], text) == 0;
}

static enum op_rc add_spend(void *arg, const struct op_spend_row *row, struct op_err *err)
{
    (void)err;
    struct costs *c = arg;
    if (row->at_ms < c->since_ms || (c->until_ms && row->at_ms >= c->until_ms))
        return OP_OK;
    op_money_add(row->imported ? &c->imported : &c->bought, &row->spend);
    char job[32], day[OP_TIME_TEXT];
    snprintf(job, sizeof(job), "job-%lld", (long long)row->job_id);
    op_time_format(row->at_ms, day);
    day[10] = '\0'; /* the date alone */
    const char *const texts[BY_COUNT] = {job, row->spend.model, row->provider, day};
    size_t at = 0;
    for (; at < c->count; at++) {
        struct line *line = &c->lines[at];
        if (line->imported == row->imported && same_key(line, BY_JOB, job) &&
            same_key(line, BY_MODEL, row->spend.model) &&
            same_key(line, BY_PROVIDER, row->provider) && same_key(line, BY_DAY, day))
            break;
    }
    if (at == c->count) {
        c->lines = op_mem_realloc(c->lines, (c->count + 1) * sizeof(*c->lines));
        struct line *line = &c->lines[c->count++];
        *line =
            (struct line){.imported = row->imported, .job = c->by[BY_JOB] ? row->job_id : 0};
        for (size_t k = 0; k < BY_COUNT; k++)
            line->keys[k] = c->by[k] ? op_mem_strdup(texts[k]) : NULL;
    }
    op_money_add(&c->lines[at].money, &row->spend);
    return OP_OK;
}

static enum op_rc add_reserved(void *arg, const struct op_job *job, struct op_err *err)
{
    (void)err;
    ((struct costs *)arg)->reserved_microusd += job->counts.reserved_microusd;
    return OP_OK;
}

static int compare_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) : 0;
}

/* By day, then job, provider and model; what was imported last. */
static int in_order(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    if (x->imported != y->imported)
        return x->imported ? 1 : -1;
    int day = compare_text(x->keys[BY_DAY], y->keys[BY_DAY]);
    if (day)
        return day;
    if (x->job != y->job)
        return x->job < y->job ? -1 : 1;
    int provider = compare_text(x->keys[BY_PROVIDER], y->keys[BY_PROVIDER]);
    return provider ? provider : compare_text(x->keys[BY_MODEL], y->keys[BY_MODEL]);
}

/* --- saying it ------------------------------------------------------------------------------ */

static void json_costs(const struct costs *c, struct op_json_out *out)
{
    op_json_out_name(out, "by");
    op_json_out_array(out);
    for (size_t k = 0; k < BY_COUNT; k++)
        if (c->by[k])
            op_json_out_text(out, by_names[k]);
    op_json_out_end_array(out);
    op_json_out_name(out, "costs");
    op_json_out_array(out);
    for (size_t i = 0; i < c->count; i++) {
        op_json_out_object(out);
        for (size_t k = 0; k < BY_COUNT; k++)
            if (c->by[k])
                op_json_out_kv_text(out, by_names[k], c->lines[i].keys[k]);
        op_json_out_kv_bool(out, "imported", c->lines[i].imported);
        op_money_json(&c->lines[i].money, out);
        op_json_out_end_object(out);
    }
    op_json_out_end_array(out);
    op_json_out_name(out, "total");
    op_json_out_object(out);
    op_money_json(&c->bought, out);
    op_json_out_end_object(out);
    op_json_out_name(out, "imported");
    op_json_out_object(out);
    op_money_json(&c->imported, out);
    op_json_out_end_object(out);
    op_json_out_kv_int(out, "reserved_microusd", c->reserved_microusd);
}

static void text_cells(struct op_table *t, const struct op_money *money)
{
    char n[OP_TEXT_SHORT];
    const int64_t *tokens = money->usage.tokens;
    op_table_add(t, "%s", op_text_count(money->count, n));
    op_table_add(t, "%s", op_text_count(tokens[OP_TOKEN_INPUT], n));
    op_table_add(t, "%s",
                 op_text_count(tokens[OP_TOKEN_WRITE_5M] + tokens[OP_TOKEN_WRITE_1H], n));
    op_table_add(t, "%s", op_text_count(tokens[OP_TOKEN_READ], n));
    op_table_add(t, "%s", op_text_count(tokens[OP_TOKEN_OUTPUT], n));
    op_table_add(t, "%s", op_text_micro(money->microusd, n));
    op_table_add(t, "%s", op_text_micro(op_money_lost(money), n));
}

static void text_line(struct op_table *t, const struct costs *c, const struct line *line)
{
    for (size_t k = BY_COUNT; k-- > 0;) /* day first */
        if (c->by[k])
            op_table_add(t, "%s%s", line->keys[k],
                         line->imported && (k == BY_JOB || !c->by[BY_JOB]) ? " (imported)"
                                                                           : "");
    text_cells(t, &line->money);
}

static void text_costs(const struct costs *c, struct op_buf *out)
{
    char a[OP_TEXT_SHORT], b[OP_TEXT_SHORT];
    OP_CLEANUP(op_table_release) struct op_table table;
    OP_CLEANUP(op_buf_release) struct op_buf titles = {0};
    op_buf_init(&titles, 1000);
    op_buf_addf(&titles, "%s%s%s%s", c->by[BY_DAY] ? "DAY|" : "",
                c->by[BY_PROVIDER] ? "PROVIDER|" : "", c->by[BY_MODEL] ? "MODEL|" : "",
                c->by[BY_JOB] ? "JOB|" : "");
    op_buf_addz(&titles, ">REQUESTS|>INPUT|>CACHE WRITE|>CACHE READ|>OUTPUT|>COST|>LOST OF IT");
    op_table_init(&table, titles.ptr);
    for (size_t i = 0; i < c->count; i++)
        text_line(&table, c, &c->lines[i]);
    if (c->count)
        op_table_print(&table, 0, out);
    op_buf_addf(out, "%s%-9s %s for %s requests\n", c->count ? "\n" : "", "total",
                op_text_micro(c->bought.microusd, a), op_text_count(c->bought.count, b));
    op_money_text(&c->bought, 0, out);
    if (c->imported.count)
        op_buf_addf(out, "%-9s %s for %s requests, bought elsewhere and not in the total\n",
                    "imported", op_text_micro(c->imported.microusd, a),
                    op_text_count(c->imported.count, b));
    if (c->reserved_microusd)
        op_buf_addf(out, "%-9s at most %s more for what is not answered yet\n", "reserved",
                    op_text_micro(c->reserved_microusd, a));
}

/* --- the command ---------------------------------------------------------------------------- */

static enum op_rc read_by(struct costs *c, struct op_err *err)
{
    struct op_str rest = op_str_from(c->args->by ? c->args->by : "job,model,day");
    while (rest.len) {
        struct op_str name = op_str_trim(op_str_cut(&rest, ','));
        size_t k = 0;
        while (k < BY_COUNT && !op_str_is(name, by_names[k]))
            k++;
        if (k == BY_COUNT)
            return op_fail(
                err, OP_INVAL,
                "--by takes job, model, provider or day, or several with commas, not "
                "'" OP_STR_FMT "'",
                OP_STR_ARG(name));
        c->by[k] = true;
    }
    return OP_OK;
}

/* A day, and the moment it begins (UTC). */
static enum op_rc read_day(const char *option, const char *text, int64_t *ret,
                           struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *full = op_mem_printf("%.20sT00:00:00Z", text);
    if (strlen(text) != 10 || !op_time_parse(op_str_from(full), ret))
        return op_fail(err, OP_INVAL, "--%s must be a day such as 2026-11-20, not '%.40s'",
                       option, text);
    return OP_OK;
}

static enum op_rc read_options(struct costs *c, struct op_err *err)
{
    const struct op_args *args = c->args;
    enum op_rc rc = read_by(c, err);
    if (!rc && args->since)
        rc = read_day("since", args->since, &c->since_ms, err);
    if (!rc && args->until)
        rc = read_day("until", args->until, &c->until_ms, err);
    if (!rc && args->until)
        c->until_ms += OP_DAY_MS; /* that day is the last */
    return rc;
}

static enum op_rc read_costs(struct costs *c, struct op_session *session, struct op_err *err)
{
    struct op_ledger *ledger = op_session_ledger(session);
    int64_t job = 0, batch = 0;
    enum op_rc rc = OP_OK;
    if (c->args->word_count)
        rc = op_id_find(ledger, c->args->words[0], &job, &batch, err);
    if (!rc)
        rc = op_ledger_spends(ledger, job, add_spend, c, err);
    if (!rc && !job)
        return op_ledger_jobs(ledger, false, add_reserved, c, err);
    OP_CLEANUP(op_job_release) struct op_job row = {0};
    if (!rc)
        rc = op_ledger_job_get(ledger, job, &row, err);
    return rc ? rc : add_reserved(c, &row, err);
}

static void say(struct costs *c)
{
    if (c->count)
        qsort(c->lines, c->count, sizeof(*c->lines), in_order);
    if (c->args->json) {
        struct op_report report;
        op_report_begin(&report);
        json_costs(c, &report.out);
        op_report_print(&report);
        return;
    }
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    op_buf_init(&out, TEXT_MAX);
    text_costs(c, &out);
    op_say(op_buf_str(&out));
}

static int run_cost(struct op_args *args)
{
    struct op_session session = {0};
    struct costs costs = {.args = args};
    struct op_err err = OP_ERR_INIT;
    if (read_options(&costs, &err))
        return op_say_usage(args, &err);
    enum op_rc rc = op_session_open(&session, args, OP_SESSION_READ, &err);
    if (rc == OP_NOTFOUND && session.state_dir && !op_state_exists(session.state_dir) &&
        !args->word_count) {
        op_err_clear(&err); /* nothing was bought yet */
        rc = OP_OK;
    } else if (!rc) {
        rc = read_costs(&costs, &session, &err);
    }
    int code = OP_EXIT_OK;
    if (rc)
        code = op_say_error(args, &err);
    else
        say(&costs);
    costs_release(&costs);
    op_session_close(&session);
    return code;
}

static const struct op_option options[] = {
    OP_OPT_TEXT(
        "by", "KEYS", by,
        "A line per job, model, provider or day; several with commas (default: job,model,day)"),
    OP_OPT_TEXT("since", "DAY", since, "From this day on, such as 2026-11-20 (UTC)"),
    OP_OPT_TEXT("until", "DAY", until, "Up to this day, and with it"),
    OP_OPTIONS_STATE,
    OP_OPTIONS_OUTPUT,
    OP_OPT_END,
};

const struct op_command op_cmd_cost = {
    .name = "cost",
    .about = "Tells what was bought and what it cost, to the micro-dollar",
    .usage = (const char *const[]){"cost [JOB] [--by KEYS] [--since DAY] [--until DAY]", NULL},
    .details =
        "Sums of the ledger: what the provider reported, at the prices of the list. A day "
        "is the one (UTC) on which the provider took the batch. LOST is what was paid for "
        "answers that were thrown away or asked again; the lines below the table say why.",
    .options = options,
    .max_words = 1,
    .run = run_cost,
};
