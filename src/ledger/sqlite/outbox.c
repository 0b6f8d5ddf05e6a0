/* SPDX-License-Identifier: MIT */
#include "ledger/sqlite/sqlite.h"

enum op_rc op_ledger_outbox_get(struct op_ledger *ledger, int64_t job_id, int output,
                                struct op_outbox *ret, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_OUTBOX_GET,
                              "SELECT committed, delivered, rows FROM outbox"
                              " WHERE job_id = ?1 AND output = ?2",
                              &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, job_id);
    op_sq_int(stmt, 2, output);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "read an outbox", &row, err);
    if (rc)
        return rc;
    *ret = (struct op_outbox){0};
    if (row)
        *ret = (struct op_outbox){
            .job_id = job_id,
            .output = output,
            .committed = sqlite3_column_int64(stmt, 0),
            .delivered = sqlite3_column_int64(stmt, 1),
            .rows = sqlite3_column_int64(stmt, 2),
        };
    op_sq_done(ledger, stmt);
    return OP_OK;
}

enum op_rc op_ledger_outbox_set(struct op_ledger *ledger, const struct op_outbox *outbox,
                                struct op_err *err)
{
    if (outbox->delivered < 0 || outbox->delivered > outbox->committed || outbox->rows < 0)
        return op_fail(err, OP_INVAL,
                       "outbox %d of job %lld cannot have %lld of %lld bytes delivered",
                       outbox->output, (long long)outbox->job_id, (long long)outbox->delivered,
                       (long long)outbox->committed);
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(
        ledger, OP_SQ_OUTBOX_SET,
        "INSERT INTO outbox(job_id, output, committed, delivered, rows)"
        " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET committed = excluded.committed,"
        " delivered = excluded.delivered, rows = excluded.rows",
        &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, outbox->job_id);
    op_sq_int(stmt, 2, outbox->output);
    op_sq_int(stmt, 3, outbox->committed);
    op_sq_int(stmt, 4, outbox->delivered);
    op_sq_int(stmt, 5, outbox->rows);
    return op_sq_run(ledger, stmt, "note an outbox", NULL, err);
}

enum op_rc op_ledger_outbox_left(struct op_ledger *ledger, int64_t after_id, int64_t *ret_job,
                                 struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(
        ledger, OP_SQ_OUTBOX_LEFT,
        "SELECT o.job_id FROM outbox o JOIN job j ON j.id = o.job_id WHERE o.job_id > ?1"
        " AND o.delivered < o.committed AND j.state IN ('done','partial','canceled','failed')"
        " ORDER BY o.job_id LIMIT 1",
        &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, after_id);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "look for rows that were not delivered", &row, err);
    if (rc)
        return rc;
    if (row)
        *ret_job = sqlite3_column_int64(stmt, 0);
    op_sq_done(ledger, stmt);
    return row ? OP_OK : OP_NOTFOUND;
}
