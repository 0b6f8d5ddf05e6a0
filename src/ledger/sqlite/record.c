/* SPDX-License-Identifier: MIT */
#include "base/buf.h"
#include "ledger/sqlite/sqlite.h"

static enum op_rc find_record(struct op_ledger *ledger, int64_t job_id, struct op_str key,
                              int64_t *ret_id, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc =
        op_sq_get(ledger, OP_SQ_RECORD_FIND,
                  "SELECT id FROM record WHERE job_id = ?1 AND key = ?2", &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, job_id);
    op_sq_str(stmt, 2, key);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "look up a record", &row, err);
    if (rc)
        return rc;
    if (row)
        *ret_id = sqlite3_column_int64(stmt, 0);
    op_sq_done(ledger, stmt);
    return row ? OP_OK : OP_NOTFOUND;
}

/* Of a key that the job did not have, for sure. */
static enum op_rc hold_record(struct op_ledger *ledger, int64_t job_id, struct op_str key,
                              struct op_str data, int64_t *ret_id, struct op_err *err)
{
    enum op_rc rc = op_sq_adds_begin(ledger, err);
    if (rc)
        return rc;
    *ret_id = ledger->next.record++;
    op_adds_hold_record(&ledger->adds, *ret_id, job_id, ledger->next.request, key, data);
    op_sq_adds_end(ledger);
    return OP_OK;
}

static enum op_rc watch_keys(struct op_ledger *ledger, int64_t job_id, struct op_err *err)
{
    int64_t any = 0;
    enum op_rc rc = op_ledger_record_any(ledger, job_id, &any, err);
    if (rc && rc != OP_NOTFOUND)
        return rc;
    op_adds_watch(&ledger->adds, job_id, rc == OP_NOTFOUND);
    return OP_OK;
}

enum op_rc op_ledger_record_add(struct op_ledger *ledger, int64_t job_id, struct op_str key,
                                struct op_str data, int64_t *ret_id, struct op_err *err)
{
    if (!key.ptr)
        return op_fail(err, OP_INVAL, "a record of job %lld has no key", (long long)job_id);
    if (key.len > OP_SQ_MAX_TEXT || data.len > OP_SQ_MAX_TEXT)
        return op_fail(err, OP_INVAL, "a record of %zu bytes is larger than the %lld allowed",
                       key.len + data.len, (long long)OP_SQ_MAX_TEXT);
    enum op_rc rc = OP_OK;
    if (ledger->adds.filter_job != job_id)
        rc = watch_keys(ledger, job_id, err);
    if (rc)
        return rc;
    if (op_adds_note_key(&ledger->adds, job_id, key) && ledger->tx == OP_SQ_TX_OPEN)
        return hold_record(ledger, job_id, key, data, ret_id, err);
    sqlite3_stmt *stmt = NULL;
    rc = op_sq_get_write(
        ledger, OP_SQ_RECORD_ADD,
        "INSERT INTO record(id, job_id, key, request_lo, data) VALUES (?1, ?2, ?3, ?4, ?5)"
        " ON CONFLICT(job_id, key) DO NOTHING",
        &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, ledger->next.record);
    op_sq_int(stmt, 2, job_id);
    op_sq_str(stmt, 3, key);
    op_sq_int(stmt, 4, ledger->next.request);
    op_sq_str(stmt, 5, data);
    int64_t changes = 0;
    rc = op_sq_run(ledger, stmt, "add a record", &changes, err);
    if (rc)
        return rc;
    if (changes) {
        *ret_id = ledger->next.record++;
        return OP_OK;
    }
    rc = find_record(ledger, job_id, key, ret_id, err);
    return rc ? rc : OP_CONFLICT;
}

enum op_rc op_ledger_record_renew(struct op_ledger *ledger, int64_t record_id,
                                  struct op_str data, struct op_err *err)
{
    if (data.len > OP_SQ_MAX_TEXT)
        return op_fail(err, OP_INVAL, "a record of %zu bytes is larger than the %lld allowed",
                       data.len, (long long)OP_SQ_MAX_TEXT);
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(ledger, OP_SQ_RECORD_RENEW,
                                    "UPDATE record SET data = ?2 WHERE id = ?1", &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, record_id);
    op_sq_str(stmt, 2, data);
    int64_t changes = 0;
    return op_sq_run(ledger, stmt, "renew a record", &changes, err);
}

enum op_rc op_ledger_record_find(struct op_ledger *ledger, int64_t job_id, struct op_str key,
                                 int64_t *ret_id, struct op_err *err)
{
    return find_record(ledger, job_id, key, ret_id, err);
}

enum op_rc op_ledger_record_any(struct op_ledger *ledger, int64_t job_id, int64_t *ret_id,
                                struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_RECORD_ANY,
                              "SELECT id FROM record WHERE job_id = ?1 LIMIT 1", &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, job_id);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "look up a record", &row, err);
    if (rc)
        return rc;
    if (row)
        *ret_id = sqlite3_column_int64(stmt, 0);
    op_sq_done(ledger, stmt);
    return row ? OP_OK : OP_NOTFOUND;
}

enum op_rc op_ledger_record_data(struct op_ledger *ledger, int64_t record_id,
                                 struct op_buf *key, struct op_buf *data, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_RECORD_DATA,
                              "SELECT key, data FROM record WHERE id = ?1", &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, record_id);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "read a record", &row, err);
    if (rc)
        return rc;
    if (row) {
        if (key)
            op_buf_add_str(key, op_sq_col(stmt, 0));
        if (data)
            op_buf_add_str(data, op_sq_col(stmt, 1));
    }
    op_sq_done(ledger, stmt);
    if (!row)
        return op_fail(err, OP_NOTFOUND, "there is no record %lld in %s", (long long)record_id,
                       ledger->path);
    rc = key ? op_buf_finish(key, "the key of a record", err) : OP_OK;
    return rc || !data ? rc : op_buf_finish(data, "the data of a record", err);
}
