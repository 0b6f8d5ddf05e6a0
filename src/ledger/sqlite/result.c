/* SPDX-License-Identifier: MIT */
#include "ledger/sqlite/sqlite.h"

/* The key begins with the request: all purchases of a request lie side by side, so "every result of
 * a request" needs no index, and results applied in the order of their ids are written in order. */
#define RESULT_FIELDS(X)                                     \
    X(INT, request_id, request_id)                           \
    X(INT, batch_id, batch_id)                               \
    X(SMALL, class, class_)                                  \
    X(SMALL, valid, valid)                                   \
    X(INT, part, part)                                       \
    X(INT, "offset", offset)                                 \
    X(INT, len, len)                                         \
    X(INT, microusd, microusd)                               \
    X(INT, tokens_input, usage.tokens[OP_TOKEN_INPUT])       \
    X(INT, tokens_write_5m, usage.tokens[OP_TOKEN_WRITE_5M]) \
    X(INT, tokens_write_1h, usage.tokens[OP_TOKEN_WRITE_1H]) \
    X(INT, tokens_read, usage.tokens[OP_TOKEN_READ])

#define COLUMN(kind, column, member) #column ", "
#define PLACE(kind, column, member)  "?, "
#define RESULT_COLUMNS               RESULT_FIELDS(COLUMN) "tokens_output"
#define RESULT_PLACES                "(" RESULT_FIELDS(PLACE) "?)"
#define RESULT_INSERT                "INSERT INTO result(" RESULT_COLUMNS ") VALUES "

/* Rows of one INSERT where there are many. */
#define GROUP 32
#define FOUR  RESULT_PLACES "," RESULT_PLACES "," RESULT_PLACES "," RESULT_PLACES

static void read_result(sqlite3_stmt *stmt, struct op_result_row *ret)
{
    int at = 0;
#define READ_FIELD(kind, column, member) OP_SQ_READ_##kind(stmt, at++, ret->member);
    RESULT_FIELDS(READ_FIELD)
#undef READ_FIELD
    ret->usage.tokens[OP_TOKEN_OUTPUT] = sqlite3_column_int64(stmt, at);
}

/* Returns the number of the next parameter. */
static int bind_result(sqlite3_stmt *stmt, int at, const struct op_result_row *row)
{
#define BIND_FIELD(kind, column, member) OP_SQ_BIND_##kind(stmt, at++, row->member);
    RESULT_FIELDS(BIND_FIELD)
#undef BIND_FIELD
    op_sq_int(stmt, at++, row->usage.tokens[OP_TOKEN_OUTPUT]);
    return at;
}

enum op_rc op_ledger_result_add(struct op_ledger *ledger, const struct op_result_row *row,
                                bool *ret_inserted, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc =
        op_sq_get_write(ledger, OP_SQ_RESULT_ADD,
                        RESULT_INSERT RESULT_PLACES " ON CONFLICT DO NOTHING", &stmt, err);
    if (rc)
        return rc;
    (void)bind_result(stmt, 1, row);
    int64_t changes = 0;
    rc = op_sq_run(ledger, stmt, "add a result", &changes, err);
    if (!rc)
        *ret_inserted = changes > 0;
    return rc;
}

static enum op_rc add_group(struct op_ledger *ledger, const struct op_result_row *rows,
                            struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc =
        op_sq_get_write(ledger, OP_SQ_RESULTS_ADD,
                        RESULT_INSERT FOUR "," FOUR "," FOUR "," FOUR "," FOUR "," FOUR "," FOUR
                                           "," FOUR " ON CONFLICT DO NOTHING",
                        &stmt, err);
    if (rc)
        return rc;
    int at = 1;
    for (size_t i = 0; i < GROUP; i++)
        at = bind_result(stmt, at, &rows[i]);
    int64_t changes = 0;
    rc = op_sq_run(ledger, stmt, "add results", &changes, err);
    if (!rc && changes != GROUP)
        return op_fail(err, OP_CONFLICT, "a request of batch %lld has a result already",
                       (long long)rows[0].batch_id);
    return rc;
}

static enum op_rc add_results(struct op_ledger *ledger, const struct op_result_row *rows,
                              size_t count, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    size_t i = 0;
    for (; !rc && i + GROUP <= count; i += GROUP)
        rc = add_group(ledger, &rows[i], err);
    for (; !rc && i < count; i++) {
        bool inserted = false;
        rc = op_ledger_result_add(ledger, &rows[i], &inserted, err);
        if (!rc && !inserted)
            rc = op_fail(err, OP_CONFLICT, "request %lld of batch %lld has a result already",
                         (long long)rows[i].request_id, (long long)rows[i].batch_id);
    }
    return rc;
}

enum op_rc op_ledger_results_settle(struct op_ledger *ledger, const struct op_result_row *rows,
                                    size_t count, struct op_err *err)
{
    for (size_t i = 1; i < count; i++) {
        if (rows[i].request_id != rows[0].request_id + (int64_t)i ||
            rows[i].batch_id != rows[0].batch_id)
            return op_fail(err, OP_INVAL, "results settled together must be consecutive");
    }
    enum op_rc rc = add_results(ledger, rows, count, err);
    if (rc || !count)
        return rc;
    /* OR FAIL and no batch_id, as in op_ledger_request_go. */
    sqlite3_stmt *stmt = NULL;
    rc = op_sq_get_write(ledger, OP_SQ_REQUESTS_SETTLE,
                         "UPDATE OR FAIL request SET state = 3, same_as = 0, reask = 0,"
                         " reason = '' WHERE id BETWEEN ?1 AND ?2 AND state = 1"
                         " AND batch_id = ?3",
                         &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, rows[0].request_id);
    op_sq_int(stmt, 2, rows[count - 1].request_id);
    op_sq_int(stmt, 3, rows[0].batch_id);
    int64_t changes = 0;
    rc = op_sq_run(ledger, stmt, "settle requests", &changes, err);
    if (!rc && changes != (int64_t)count)
        return op_fail(err, OP_CONFLICT, "of requests %lld to %lld some are not in batch %lld",
                       (long long)rows[0].request_id, (long long)rows[count - 1].request_id,
                       (long long)rows[0].batch_id);
    return rc;
}

enum op_rc op_ledger_result_get(struct op_ledger *ledger, int64_t batch_id, int64_t request_id,
                                struct op_result_row *ret, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_RESULT_GET,
                              "SELECT " RESULT_COLUMNS
                              " FROM result WHERE request_id = ?1 AND batch_id = ?2",
                              &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, request_id);
    op_sq_int(stmt, 2, batch_id);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "read a result", &row, err);
    if (rc)
        return rc;
    if (row)
        read_result(stmt, ret);
    op_sq_done(ledger, stmt);
    if (!row)
        return op_fail(err, OP_NOTFOUND, "batch %lld has no result for request %lld",
                       (long long)batch_id, (long long)request_id);
    return OP_OK;
}

enum op_rc op_ledger_request_results(struct op_ledger *ledger, int64_t request_id,
                                     op_result_fn fn, void *arg, struct op_err *err)
{
    struct op_result_row row = {.batch_id = 0};
    enum op_rc rc = OP_OK;
    while (!rc) {
        sqlite3_stmt *stmt = NULL;
        rc = op_sq_get(ledger, OP_SQ_RESULTS,
                       "SELECT " RESULT_COLUMNS " FROM result WHERE request_id = ?1"
                       " AND batch_id > ?2 ORDER BY batch_id LIMIT 1",
                       &stmt, err);
        if (rc)
            break;
        op_sq_int(stmt, 1, request_id);
        op_sq_int(stmt, 2, row.batch_id);
        bool found = false;
        rc = op_sq_row(ledger, stmt, "list a request's results", &found, err);
        if (rc)
            break;
        if (found)
            read_result(stmt, &row);
        op_sq_done(ledger, stmt);
        if (!found)
            break;
        rc = fn(arg, &row, err);
    }
    return rc;
}

void op_result_file_release(struct op_result_file *file)
{
    op_mem_free(file->file);
    op_mem_free(file->document);
    *file = (struct op_result_file){0};
}

enum op_rc op_ledger_result_file_add(struct op_ledger *ledger,
                                     const struct op_result_file *file, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc =
        op_sq_get_write(ledger, OP_SQ_RESULT_FILE_ADD,
                        "INSERT INTO result_file(batch_id, part, file, bytes, sha256, document)"
                        " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                        &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, file->batch_id);
    op_sq_int(stmt, 2, file->part);
    op_sq_text(stmt, 3, file->file);
    op_sq_int(stmt, 4, file->bytes);
    op_sq_text(stmt, 5, file->sha256);
    op_sq_text(stmt, 6, file->document);
    return op_sq_run(ledger, stmt, "add a result file", NULL, err);
}

enum op_rc op_ledger_result_file_get(struct op_ledger *ledger, int64_t batch_id, int64_t part,
                                     struct op_result_file *ret, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_RESULT_FILE_GET,
                              "SELECT file, bytes, sha256, document FROM result_file"
                              " WHERE batch_id = ?1 AND part = ?2",
                              &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, batch_id);
    op_sq_int(stmt, 2, part);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "read a result file's row", &row, err);
    if (rc)
        return rc;
    if (row) {
        *ret = (struct op_result_file){
            .batch_id = batch_id,
            .part = part,
            .file = op_sq_dup(stmt, 0),
            .bytes = sqlite3_column_int64(stmt, 1),
            .document = op_sq_dup(stmt, 3),
        };
        op_sq_chars(stmt, 2, ret->sha256, sizeof(ret->sha256));
    }
    op_sq_done(ledger, stmt);
    if (!row)
        return op_fail(err, OP_NOTFOUND, "batch %lld has no result file %lld",
                       (long long)batch_id, (long long)part);
    return OP_OK;
}
