/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/commands.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/table.h"
#include "view/costs.h"
#include "view/summary.h"
#include "view/text.h"

#define TEXT_MAX (64 * 1024 * 1024)

/* --- saying it ------------------------------------------------------------------------------ */

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

static void text_line(struct op_table *t, const struct op_costs *c,
                      const struct op_cost_line *line)
{
    for (size_t k = OP_BY_COUNT; k-- > 0;) /* day first */
        if (c->by[k])
            op_table_add(t, "%s%s", line->keys[k],
                         line->imported && (k == OP_BY_JOB || !c->by[OP_BY_JOB]) ? " (imported)"
                                                                                 : "");
    text_cells(t, &line->money);
}

static void text_costs(const struct op_costs *c, struct op_buf *out)
{
    char a[OP_TEXT_SHORT], b[OP_TEXT_SHORT];
    OP_CLEANUP(op_table_release) struct op_table table;
    OP_CLEANUP(op_buf_release) struct op_buf titles = {0};
    op_buf_init(&titles, 1000);
    op_buf_addf(&titles, "%s%s%s%s", c->by[OP_BY_DAY] ? "DAY|" : "",
                c->by[OP_BY_PROVIDER] ? "PROVIDER|" : "", c->by[OP_BY_MODEL] ? "MODEL|" : "",
                c->by[OP_BY_JOB] ? "JOB|" : "");
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

static void say(const struct op_args *args, const struct op_costs *c)
{
    if (args->json) {
        struct op_report report;
        op_report_begin(&report);
        op_costs_json(c, &report.out);
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
    struct op_costs costs = {0};
    int64_t job = 0, batch = 0;
    struct op_err err = OP_ERR_INIT;
    if (op_costs_options(&costs, args->by, args->since, args->until, &err))
        return op_say_usage(args, &err);
    enum op_rc rc = op_session_open(&session, args, OP_SESSION_READ, &err);
    if (rc == OP_NOTFOUND && session.state_dir && !op_state_exists(session.state_dir) &&
        !args->word_count) {
        op_err_clear(&err); /* nothing was bought yet */
        rc = OP_OK;
    } else if (!rc) {
        if (args->word_count)
            rc = op_id_find(op_session_ledger(&session), args->words[0], &job, &batch, &err);
        if (!rc)
            rc = op_costs_read(&costs, op_session_ledger(&session), job, &err);
    }
    int code = OP_EXIT_OK;
    if (rc)
        code = op_say_error(args, &err);
    else
        say(args, &costs);
    op_costs_release(&costs);
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
