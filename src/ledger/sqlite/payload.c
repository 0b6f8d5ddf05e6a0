/* SPDX-License-Identifier: MIT */
#include "ledger/sqlite/sqlite.h"

enum op_rc op_ledger_request_payload(struct op_ledger *ledger, int64_t request_id,
                                     const struct op_payload_ref *payload, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc =
        op_sq_get_write(ledger, OP_SQ_REQUEST_PAYLOAD,
                        "UPDATE request SET payload_batch = ?2, payload_offset = ?3,"
                        " payload_len = ?4 WHERE id = ?1 AND state = 1",
                        &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, request_id);
    op_sq_int(stmt, 2, payload->batch_id);
    op_sq_int(stmt, 3, payload->offset);
    op_sq_int(stmt, 4, payload->len);
    int64_t changes = 0;
    rc = op_sq_run(ledger, stmt, "place the params of a request", &changes, err);
    if (!rc && !changes)
        return op_fail(err, OP_CONFLICT, "request %lld is not packed", (long long)request_id);
    return rc;
}

static enum op_rc rehash(struct op_ledger *ledger, enum op_sq_id number, const char *sql,
                         int64_t job_id, int64_t request_id, const uint8_t hash[OP_HASH_LEN],
                         struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(ledger, number, sql, &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, request_id);
    op_sq_int(stmt, 2, job_id);
    (void)sqlite3_bind_blob(stmt, 3, hash, OP_HASH_LEN, SQLITE_STATIC);
    return op_sq_run(ledger, stmt, "change what a request is known by", NULL, err);
}

enum op_rc op_ledger_request_rehash(struct op_ledger *ledger, int64_t job_id,
                                    int64_t request_id, const uint8_t hash[OP_HASH_LEN],
                                    struct op_err *err)
{
    enum op_rc rc =
        rehash(ledger, OP_SQ_REQUEST_REHASH,
               "UPDATE request SET hash = ?3 WHERE id = ?1 AND job_id = ?2 AND state = 0",
               job_id, request_id, hash, err);
    if (rc)
        return rc;
    return rehash(ledger, OP_SQ_FOLLOWER_REHASH,
                  "UPDATE request INDEXED BY request_follower SET hash = ?3"
                  " WHERE state = 2 AND same_as = ?1 AND job_id = ?2",
                  job_id, request_id, hash, err);
}
