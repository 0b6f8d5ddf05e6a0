/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "ledger/sqlite/sqlite.h"

#define KEY_COLUMNS "batch_id, model, class, valid, again"
#define SUM_COLUMNS                                                                  \
    "count, microusd, tokens_input, tokens_write_5m, tokens_write_1h, tokens_read, " \
    "tokens_output"

enum op_rc op_ledger_spend_add(struct op_ledger *ledger, const struct op_spend *spend,
                               struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(
        ledger, OP_SQ_SPEND_ADD,
        "INSERT INTO spend(" KEY_COLUMNS ", " SUM_COLUMNS
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
        " ON CONFLICT DO UPDATE SET count = count + ?6, microusd = microusd + ?7,"
        " tokens_input = tokens_input + ?8, tokens_write_5m = tokens_write_5m + ?9,"
        " tokens_write_1h = tokens_write_1h + ?10, tokens_read = tokens_read + ?11,"
        " tokens_output = tokens_output + ?12",
        &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, spend->batch_id);
    op_sq_text(stmt, 2, spend->model);
    op_sq_int(stmt, 3, (int64_t)spend->class_);
    op_sq_int(stmt, 4, spend->valid);
    op_sq_int(stmt, 5, spend->again);
    op_sq_int(stmt, 6, spend->count);
    op_sq_int(stmt, 7, spend->microusd);
    for (int i = 0; i < OP_TOKEN_KIND_COUNT; i++)
        op_sq_int(stmt, 8 + i, spend->usage.tokens[i]);
    return op_sq_run(ledger, stmt, "add up what was bought", NULL, err);
}

/* One at a time, so that the ledger is not held while the caller works. */
#define SPENDS(where)                                                                        \
    "SELECT s.batch_id, s.model, s.class, s.valid, s.again, s.count, s.microusd,"            \
    " s.tokens_input, s.tokens_write_5m, s.tokens_write_1h, s.tokens_read, s.tokens_output," \
    " b.job_id, j.pipeline, b.accepted_ms, json_extract(j.options, '$.import') IS NOT NULL," \
    " l.provider FROM spend s JOIN batch b ON b.id = s.batch_id"                             \
    " JOIN job j ON j.id = b.job_id LEFT JOIN lane l ON l.id = b.lane_id"                    \
    " WHERE " where " (s.batch_id, s.model, s.class, s.valid, s.again) >"                    \
    " (?1, ?2, ?3, ?4, ?5)"                                                                  \
    " ORDER BY s.batch_id, s.model, s.class, s.valid, s.again LIMIT 1"

static enum op_rc next_row(struct op_ledger *ledger, int64_t job_id,
                           const struct op_spend *after, sqlite3_stmt **ret, bool *ret_row,
                           struct op_err *err)
{
    enum op_rc rc =
        job_id ? op_sq_get(ledger, OP_SQ_SPENDS_JOB, SPENDS("b.job_id = ?6 AND"), ret, err)
               : op_sq_get(ledger, OP_SQ_SPENDS, SPENDS(""), ret, err);
    if (rc)
        return rc;
    op_sq_int(*ret, 1, after->batch_id);
    op_sq_text(*ret, 2, after->model);
    op_sq_int(*ret, 3, (int64_t)after->class_);
    op_sq_int(*ret, 4, after->valid);
    op_sq_int(*ret, 5, after->again);
    if (job_id)
        op_sq_int(*ret, 6, job_id);
    return op_sq_row(ledger, *ret, "read what was bought", ret_row, err);
}

/* The texts are the caller's. */
static void read_row(sqlite3_stmt *stmt, struct op_spend_row *ret, char **ret_model,
                     char **ret_pipeline, char **ret_provider)
{
    struct op_spend *s = &ret->spend;
    s->batch_id = sqlite3_column_int64(stmt, 0);
    s->model = *ret_model = op_sq_dup(stmt, 1);
    s->class_ = (enum op_result_class)sqlite3_column_int(stmt, 2);
    s->valid = sqlite3_column_int(stmt, 3) != 0;
    s->again = sqlite3_column_int(stmt, 4) != 0;
    s->count = sqlite3_column_int64(stmt, 5);
    s->microusd = sqlite3_column_int64(stmt, 6);
    for (int i = 0; i < OP_TOKEN_KIND_COUNT; i++)
        s->usage.tokens[i] = sqlite3_column_int64(stmt, 7 + i);
    ret->job_id = sqlite3_column_int64(stmt, 12);
    ret->pipeline = *ret_pipeline = op_sq_dup(stmt, 13);
    ret->at_ms = sqlite3_column_int64(stmt, 14);
    ret->imported = sqlite3_column_int(stmt, 15) != 0;
    ret->provider = *ret_provider = op_sq_dup(stmt, 16);
}

enum op_rc op_ledger_spends(struct op_ledger *ledger, int64_t job_id, op_spend_fn fn, void *arg,
                            struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *last = NULL;
    struct op_spend after = {.model = ""};
    for (;;) {
        sqlite3_stmt *stmt = NULL;
        bool found = false;
        enum op_rc rc = next_row(ledger, job_id, &after, &stmt, &found, err);
        if (rc)
            return rc;
        struct op_spend_row row = {0};
        OP_CLEANUP(op_mem_freep) char *pipeline = NULL;
        OP_CLEANUP(op_mem_freep) char *provider = NULL;
        char *model = NULL;
        if (found)
            read_row(stmt, &row, &model, &pipeline, &provider);
        op_sq_done(ledger, stmt);
        if (!found)
            return OP_OK;
        op_mem_free(last);
        last = model;
        after = row.spend;
        rc = fn(arg, &row, err);
        if (rc)
            return rc;
    }
}
