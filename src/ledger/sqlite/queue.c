/* SPDX-License-Identifier: MIT */
#include "ledger/sqlite/sqlite.h"

#define QUEUE_COLUMNS \
    "lane_id, model, limit_tokens, named, learned_ms, hold_until_ms, refusals, reason"

/* In the provider's hands, as far as anybody knows: from the door to the end. */
#define HELD                                      \
    "state IN ('sending','ambiguous','accepted')" \
    " AND substr(results_url, 1, 6) <> '" OP_RESULTS_IN_SPOOL "'"
_Static_assert(sizeof(OP_RESULTS_IN_SPOOL) == 6 + 1, "HELD compares its length");
/* As the partial index says it. */
#define BATCH_OPEN \
    "state NOT IN ('sealed','rejected','unsent','vanished','dropped','quarantined')"

void op_queue_row_release(struct op_queue_row *row)
{
    op_mem_free(row->model);
    op_mem_free(row->reason);
    *row = (struct op_queue_row){0};
}

static void read_queue(sqlite3_stmt *stmt, struct op_queue_row *ret)
{
    *ret = (struct op_queue_row){
        .lane_id = sqlite3_column_int64(stmt, 0),
        .model = op_sq_dup(stmt, 1),
        .limit_tokens = sqlite3_column_int64(stmt, 2),
        .named = sqlite3_column_int(stmt, 3) != 0,
        .learned_ms = sqlite3_column_int64(stmt, 4),
        .hold_until_ms = sqlite3_column_int64(stmt, 5),
        .refusals = sqlite3_column_int64(stmt, 6),
        .reason = op_sq_dup(stmt, 7),
    };
}

enum op_rc op_ledger_queue_get(struct op_ledger *ledger, int64_t lane_id, const char *model,
                               struct op_queue_row *ret, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(
        ledger, OP_SQ_QUEUE_GET,
        "SELECT " QUEUE_COLUMNS " FROM queue WHERE lane_id = ?1 AND model = ?2", &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, lane_id);
    op_sq_text(stmt, 2, model);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "read a queue", &row, err);
    if (rc)
        return rc;
    if (row)
        read_queue(stmt, ret);
    op_sq_done(ledger, stmt);
    if (!row)
        *ret = (struct op_queue_row){.lane_id = lane_id,
                                     .model = op_mem_strdup(model ? model : ""),
                                     .reason = op_mem_strdup("")};
    return OP_OK;
}

enum op_rc op_ledger_queue_set(struct op_ledger *ledger, const struct op_queue_row *row,
                               struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(ledger, OP_SQ_QUEUE_SET,
                                    "INSERT OR REPLACE INTO queue(" QUEUE_COLUMNS
                                    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                                    &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, row->lane_id);
    op_sq_text(stmt, 2, row->model);
    op_sq_int(stmt, 3, row->limit_tokens);
    op_sq_int(stmt, 4, row->named);
    op_sq_int(stmt, 5, row->learned_ms);
    op_sq_int(stmt, 6, row->hold_until_ms);
    op_sq_int(stmt, 7, row->refusals);
    op_sq_text(stmt, 8, row->reason);
    return op_sq_run(ledger, stmt, "write a queue", NULL, err);
}

enum op_rc op_ledger_queues(struct op_ledger *ledger, op_queue_fn fn, void *arg,
                            struct op_err *err)
{
    OP_CLEANUP(op_queue_row_release) struct op_queue_row last = {0};
    for (;;) {
        sqlite3_stmt *stmt = NULL;
        enum op_rc rc =
            op_sq_get(ledger, OP_SQ_QUEUES,
                      "SELECT " QUEUE_COLUMNS " FROM queue WHERE (lane_id, model) > (?1, ?2)"
                      " ORDER BY lane_id, model LIMIT 1",
                      &stmt, err);
        if (rc)
            return rc;
        op_sq_int(stmt, 1, last.lane_id);
        op_sq_text(stmt, 2, last.model);
        bool row = false;
        rc = op_sq_row(ledger, stmt, "list the queues", &row, err);
        if (rc)
            return rc;
        struct op_queue_row next = {0};
        if (row)
            read_queue(stmt, &next);
        op_sq_done(ledger, stmt);
        if (!row)
            return OP_OK;
        op_queue_row_release(&last);
        last = next;
        rc = fn(arg, &last, err);
        if (rc)
            return rc;
    }
}

static enum op_rc read_use(struct op_ledger *ledger, int64_t lane_id, const char *model,
                           struct op_queue_use *ret, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_QUEUE_USE,
                              "SELECT count(*), coalesce(sum(model = ?2), 0),"
                              " coalesce(sum(CASE WHEN model = ?2 THEN count END), 0),"
                              " coalesce(sum(CASE WHEN model = ?2 THEN tokens END), 0)"
                              " FROM batch INDEXED BY batch_open WHERE lane_id = ?1 AND " HELD
                              " AND " BATCH_OPEN,
                              &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, lane_id);
    op_sq_text(stmt, 2, model);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "count what is enqueued", &row, err);
    if (rc)
        return rc;
    *ret = (struct op_queue_use){
        .lane_batches = sqlite3_column_int64(stmt, 0),
        .batches = sqlite3_column_int64(stmt, 1),
        .requests = sqlite3_column_int64(stmt, 2),
        .tokens = sqlite3_column_int64(stmt, 3),
    };
    op_sq_done(ledger, stmt);
    return OP_OK;
}

static enum op_rc read_creates(struct op_ledger *ledger, int64_t lane_id, int64_t since_ms,
                               struct op_queue_use *ret, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_QUEUE_CREATES,
                              "SELECT count(*), coalesce(min(sent_ms), 0) FROM batch"
                              " INDEXED BY batch_sent WHERE lane_id = ?1 AND sent_ms > ?2"
                              " AND sent_ms > 0",
                              &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, lane_id);
    op_sq_int(stmt, 2, since_ms);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "count the creates", &row, err);
    if (rc)
        return rc;
    ret->creates = sqlite3_column_int64(stmt, 0);
    ret->first_create_ms = sqlite3_column_int64(stmt, 1);
    op_sq_done(ledger, stmt);
    return OP_OK;
}

/* Any other job that holds something of the lane; of the model first. */
static enum op_rc read_other(struct op_ledger *ledger, int64_t lane_id, const char *model,
                             int64_t not_job, struct op_queue_use *ret, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_QUEUE_OTHER,
                              "SELECT job_id FROM batch INDEXED BY batch_open"
                              " WHERE lane_id = ?1 AND job_id <> ?3 AND " HELD
                              " AND " BATCH_OPEN " ORDER BY model <> ?2, id LIMIT 1",
                              &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, lane_id);
    op_sq_text(stmt, 2, model);
    op_sq_int(stmt, 3, not_job);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "look for who holds a queue", &row, err);
    if (rc)
        return rc;
    ret->other_job = row ? sqlite3_column_int64(stmt, 0) : 0;
    op_sq_done(ledger, stmt);
    return OP_OK;
}

enum op_rc op_ledger_queue_use(struct op_ledger *ledger, int64_t lane_id, const char *model,
                               int64_t not_job, int64_t since_ms, struct op_queue_use *ret,
                               struct op_err *err)
{
    struct op_queue_use use;
    enum op_rc rc = read_use(ledger, lane_id, model, &use, err);
    if (!rc)
        rc = read_creates(ledger, lane_id, since_ms, &use, err);
    if (!rc)
        rc = read_other(ledger, lane_id, model, not_job, &use, err);
    if (!rc)
        *ret = use;
    return rc;
}

enum op_rc op_ledger_calibration_get(struct op_ledger *ledger, const char *provider,
                                     const char *model, struct op_calibration *ret,
                                     struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_CALIBRATION_GET,
                              "SELECT batches, estimated, billed, low, high FROM calibration"
                              " WHERE provider = ?1 AND model = ?2",
                              &stmt, err);
    if (rc)
        return rc;
    op_sq_text(stmt, 1, provider);
    op_sq_text(stmt, 2, model);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "read a calibration", &row, err);
    if (rc)
        return rc;
    *ret = (struct op_calibration){0};
    if (row)
        *ret = (struct op_calibration){
            .batches = sqlite3_column_int64(stmt, 0),
            .estimated = sqlite3_column_int64(stmt, 1),
            .billed = sqlite3_column_int64(stmt, 2),
            .low = sqlite3_column_int64(stmt, 3),
            .high = sqlite3_column_int64(stmt, 4),
        };
    op_sq_done(ledger, stmt);
    return OP_OK;
}

enum op_rc op_ledger_calibrations(struct op_ledger *ledger, op_calibration_fn fn, void *arg,
                                  struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *provider = op_mem_strdup("");
    OP_CLEANUP(op_mem_freep) char *model = op_mem_strdup("");
    for (;;) {
        sqlite3_stmt *stmt = NULL;
        enum op_rc rc = op_sq_get(ledger, OP_SQ_CALIBRATIONS,
                                  "SELECT provider, model FROM calibration"
                                  " WHERE (provider, model) > (?1, ?2)"
                                  " ORDER BY provider, model LIMIT 1",
                                  &stmt, err);
        if (rc)
            return rc;
        op_sq_text(stmt, 1, provider);
        op_sq_text(stmt, 2, model);
        bool row = false;
        rc = op_sq_row(ledger, stmt, "list the calibrations", &row, err);
        if (rc)
            return rc;
        char *next_provider = row ? op_sq_dup(stmt, 0) : NULL;
        char *next_model = row ? op_sq_dup(stmt, 1) : NULL;
        op_sq_done(ledger, stmt);
        if (!row)
            return OP_OK;
        op_mem_free(provider);
        op_mem_free(model);
        provider = next_provider;
        model = next_model;
        struct op_calibration c;
        rc = op_ledger_calibration_get(ledger, provider, model, &c, err);
        if (!rc)
            rc = fn(arg, provider, model, &c, err);
        if (rc)
            return rc;
    }
}

enum op_rc op_ledger_calibration_set(struct op_ledger *ledger, const char *provider,
                                     const char *model, const struct op_calibration *c,
                                     struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(
        ledger, OP_SQ_CALIBRATION_SET,
        "INSERT OR REPLACE INTO calibration(provider, model, batches, estimated, billed, low,"
        " high) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        &stmt, err);
    if (rc)
        return rc;
    op_sq_text(stmt, 1, provider);
    op_sq_text(stmt, 2, model);
    op_sq_int(stmt, 3, c->batches);
    op_sq_int(stmt, 4, c->estimated);
    op_sq_int(stmt, 5, c->billed);
    op_sq_int(stmt, 6, c->low);
    op_sq_int(stmt, 7, c->high);
    return op_sq_run(ledger, stmt, "write a calibration", NULL, err);
}
