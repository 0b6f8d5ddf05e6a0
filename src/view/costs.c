/* SPDX-License-Identifier: MIT */
#include "view/costs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"

static const char *const by_names[OP_BY_COUNT] = {"job", "model", "provider", "day"};

void op_costs_release(struct op_costs *c)
{
    for (size_t i = 0; i < c->count; i++)
        for (size_t k = 0; k < OP_BY_COUNT; k++)
            op_mem_free(c->lines[i].keys[k]);
    op_mem_free(c->lines);
}

/* --- adding up ------------------------------------------------------------------------------ */

static bool same_key(const struct op_cost_line *line, size_t by, const char *text)
{
    return !line->keys[by] || strcmp(line->keys[by], text) == 0;
}

static enum op_rc add_spend(void *arg, const struct op_spend_row *row, struct op_err *err)
{
    (void)err;
    struct op_costs *c = arg;
    if (row->at_ms < c->since_ms || (c->until_ms && row->at_ms >= c->until_ms))
        return OP_OK;
    op_money_add(row->imported ? &c->imported : &c->bought, &row->spend);
    char job[32], day[OP_TIME_TEXT];
    snprintf(job, sizeof(job), "job-%lld", (long long)row->job_id);
    op_time_format(row->at_ms, day);
    day[10] = '\0'; /* the date alone */
    const char *const texts[OP_BY_COUNT] = {job, row->spend.model, row->provider, day};
    size_t at = 0;
    for (; at < c->count; at++) {
        struct op_cost_line *line = &c->lines[at];
        if (line->imported == row->imported && same_key(line, OP_BY_JOB, job) &&
            same_key(line, OP_BY_MODEL, row->spend.model) &&
            same_key(line, OP_BY_PROVIDER, row->provider) && same_key(line, OP_BY_DAY, day))
            break;
    }
    if (at == c->count) {
        c->lines = op_mem_realloc(c->lines, (c->count + 1) * sizeof(*c->lines));
        struct op_cost_line *line = &c->lines[c->count++];
        *line = (struct op_cost_line){.imported = row->imported,
                                      .job = c->by[OP_BY_JOB] ? row->job_id : 0};
        for (size_t k = 0; k < OP_BY_COUNT; k++)
            line->keys[k] = c->by[k] ? op_mem_strdup(texts[k]) : NULL;
    }
    op_money_add(&c->lines[at].money, &row->spend);
    return OP_OK;
}

static enum op_rc add_reserved(void *arg, const struct op_job *job, struct op_err *err)
{
    (void)err;
    ((struct op_costs *)arg)->reserved_microusd += job->counts.reserved_microusd;
    return OP_OK;
}

static int compare_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) : 0;
}

/* By day, then job, provider and model; what was imported last. */
static int in_order(const void *a, const void *b)
{
    const struct op_cost_line *x = a, *y = b;
    if (x->imported != y->imported)
        return x->imported ? 1 : -1;
    int day = compare_text(x->keys[OP_BY_DAY], y->keys[OP_BY_DAY]);
    if (day)
        return day;
    if (x->job != y->job)
        return x->job < y->job ? -1 : 1;
    int provider = compare_text(x->keys[OP_BY_PROVIDER], y->keys[OP_BY_PROVIDER]);
    return provider ? provider : compare_text(x->keys[OP_BY_MODEL], y->keys[OP_BY_MODEL]);
}

/* --- reading ------------------------------------------------------------------------------ */

static enum op_rc read_by(struct op_costs *c, const char *by, struct op_err *err)
{
    struct op_str rest = op_str_from(by ? by : "job,model,day");
    while (rest.len) {
        struct op_str name = op_str_trim(op_str_cut(&rest, ','));
        size_t k = 0;
        while (k < OP_BY_COUNT && !op_str_is(name, by_names[k]))
            k++;
        if (k == OP_BY_COUNT)
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

enum op_rc op_costs_options(struct op_costs *c, const char *by, const char *since,
                            const char *until, struct op_err *err)
{
    enum op_rc rc = read_by(c, by, err);
    if (!rc && since)
        rc = read_day("since", since, &c->since_ms, err);
    if (!rc && until)
        rc = read_day("until", until, &c->until_ms, err);
    if (!rc && until)
        c->until_ms += OP_DAY_MS; /* that day is the last */
    return rc;
}

enum op_rc op_costs_read(struct op_costs *c, struct op_ledger *ledger, int64_t job,
                         struct op_err *err)
{
    enum op_rc rc = op_ledger_spends(ledger, job, add_spend, c, err);
    OP_CLEANUP(op_job_release) struct op_job row = {0};
    if (!rc && job)
        rc = op_ledger_job_get(ledger, job, &row, err);
    if (!rc)
        rc = job ? add_reserved(c, &row, err)
                 : op_ledger_jobs(ledger, false, add_reserved, c, err);
    if (!rc && c->count)
        qsort(c->lines, c->count, sizeof(*c->lines), in_order);
    return rc;
}

void op_costs_json(const struct op_costs *c, struct op_json_out *out)
{
    op_json_out_name(out, "by");
    op_json_out_array(out);
    for (size_t k = 0; k < OP_BY_COUNT; k++)
        if (c->by[k])
            op_json_out_text(out, by_names[k]);
    op_json_out_end_array(out);
    op_json_out_name(out, "costs");
    op_json_out_array(out);
    for (size_t i = 0; i < c->count; i++) {
        op_json_out_object(out);
        for (size_t k = 0; k < OP_BY_COUNT; k++)
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
