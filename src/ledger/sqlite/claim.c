/* SPDX-License-Identifier: MIT */
#include "ledger/sqlite/sqlite.h"

#define CLAIM_COLUMNS "id, source, key, state, job_id, params, memory, phase, why, created_ms"

void op_claim_release(struct op_claim *claim)
{
    op_mem_free(claim->source);
    op_mem_free(claim->key);
    op_mem_free(claim->params);
    op_mem_free(claim->memory);
    op_mem_free(claim->why);
    *claim = (struct op_claim){0};
}

static void read_claim(sqlite3_stmt *stmt, struct op_claim *ret)
{
    *ret = (struct op_claim){
        .id = sqlite3_column_int64(stmt, 0),
        .source = op_sq_dup(stmt, 1),
        .key = op_sq_dup(stmt, 2),
        .state = (enum op_claim_state)sqlite3_column_int(stmt, 3),
        .job_id = sqlite3_column_int64(stmt, 4),
        .params = op_sq_dup(stmt, 5),
        .memory = op_sq_dup(stmt, 6),
        .phase = sqlite3_column_int64(stmt, 7),
        .why = op_sq_dup(stmt, 8),
        .created_ms = sqlite3_column_int64(stmt, 9),
    };
}

enum op_rc op_ledger_claim_add(struct op_ledger *ledger, struct op_claim *claim,
                               struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(ledger, OP_SQ_CLAIM_ADD,
                                    "INSERT INTO claim(" CLAIM_COLUMNS
                                    ") VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                                    &stmt, err);
    if (rc)
        return rc;
    op_sq_text(stmt, 1, claim->source);
    op_sq_text(stmt, 2, claim->key);
    op_sq_int(stmt, 3, (int64_t)claim->state);
    op_sq_int(stmt, 4, claim->job_id);
    op_sq_text(stmt, 5, claim->params);
    op_sq_text(stmt, 6, claim->memory);
    op_sq_int(stmt, 7, claim->phase);
    op_sq_text(stmt, 8, claim->why);
    op_sq_int(stmt, 9, claim->created_ms);
    rc = op_sq_run(ledger, stmt, "add a claim", NULL, err);
    if (!rc)
        claim->id = sqlite3_last_insert_rowid(ledger->db);
    return rc;
}

enum op_rc op_ledger_claim_save(struct op_ledger *ledger, const struct op_claim *claim,
                                enum op_claim_state from, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(
        ledger, OP_SQ_CLAIM_SAVE,
        "UPDATE claim SET state = ?2, job_id = ?3, params = ?4, memory = ?5, phase = ?6,"
        " why = ?7 WHERE id = ?1 AND state = ?8",
        &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, claim->id);
    op_sq_int(stmt, 2, (int64_t)claim->state);
    op_sq_int(stmt, 3, claim->job_id);
    op_sq_text(stmt, 4, claim->params);
    op_sq_text(stmt, 5, claim->memory);
    op_sq_int(stmt, 6, claim->phase);
    op_sq_text(stmt, 7, claim->why);
    op_sq_int(stmt, 8, (int64_t)from);
    int64_t changes = 0;
    rc = op_sq_run(ledger, stmt, "write a claim", &changes, err);
    if (!rc && changes != 1)
        rc = op_fail(err, OP_CONFLICT, "claim %lld is not in the expected state",
                     (long long)claim->id);
    return rc;
}

enum op_rc op_ledger_claims(struct op_ledger *ledger, bool only_open, op_claim_fn fn, void *arg,
                            struct op_err *err)
{
    int64_t last = 0;
    for (;;) {
        sqlite3_stmt *stmt = NULL;
        enum op_rc rc = op_sq_get(
            ledger, only_open ? OP_SQ_CLAIMS_OPEN : OP_SQ_CLAIMS,
            only_open ? "SELECT " CLAIM_COLUMNS " FROM claim WHERE id > ?1 AND state <> 3"
                        " ORDER BY id LIMIT 1"
                      : "SELECT " CLAIM_COLUMNS " FROM claim WHERE id > ?1 ORDER BY id LIMIT 1",
            &stmt, err);
        if (rc)
            return rc;
        op_sq_int(stmt, 1, last);
        bool row = false;
        rc = op_sq_row(ledger, stmt, "list the claims", &row, err);
        if (rc)
            return rc;
        OP_CLEANUP(op_claim_release) struct op_claim claim = {0};
        if (row)
            read_claim(stmt, &claim);
        op_sq_done(ledger, stmt);
        if (!row)
            return OP_OK;
        last = claim.id;
        rc = fn(arg, &claim, err);
        if (rc)
            return rc;
    }
}
