/* SPDX-License-Identifier: MIT */
#include "ledger/sqlite/sqlite.h"

#define NOTE_COLUMNS "id, job_id, batch_id, request_id, at_ms, kind, text"

enum op_rc op_ledger_note_add(struct op_ledger *ledger, int64_t job_id, int64_t batch_id,
                              int64_t request_id, const char *kind, struct op_str text,
                              struct op_err *err)
{
    if (text.len > OP_SQ_MAX_TEXT)
        text.len = OP_SQ_MAX_TEXT;
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc =
        op_sq_get_write(ledger, OP_SQ_NOTE_ADD,
                        "INSERT INTO note(job_id, batch_id, request_id, at_ms, kind, text)"
                        " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                        &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, job_id);
    op_sq_int(stmt, 2, batch_id);
    op_sq_int(stmt, 3, request_id);
    op_sq_int(stmt, 4, ledger->env->ops->now_ms(ledger->env));
    op_sq_text(stmt, 5, kind);
    op_sq_str(stmt, 6, text.ptr ? text : OP_STR(""));
    return op_sq_run(ledger, stmt, "add a note", NULL, err);
}

enum op_rc op_ledger_note_has(struct op_ledger *ledger, const char *kind, const char *begins,
                              bool *ret, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_NOTE_HAS,
                              "SELECT 1 FROM note WHERE kind = ?1"
                              " AND substr(text, 1, length(?2)) = ?2 LIMIT 1",
                              &stmt, err);
    if (rc)
        return rc;
    op_sq_text(stmt, 1, kind);
    op_sq_text(stmt, 2, begins);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "look for a note", &row, err);
    if (rc)
        return rc;
    op_sq_done(ledger, stmt);
    *ret = row;
    return OP_OK;
}

#define NOTES_BY(index, equal)                                             \
    "SELECT " NOTE_COLUMNS " FROM note " index " WHERE id > ?4 AND " equal \
    " (?1 = 0 OR job_id = ?1) AND (?2 = 0 OR batch_id = ?2)"               \
    " AND (?3 = 0 OR request_id = ?3) ORDER BY id LIMIT 1"

/* By the narrowest of the filters that are set. */
static enum op_rc get_walk(struct op_ledger *ledger, int64_t job_id, int64_t batch_id,
                           int64_t request_id, sqlite3_stmt **ret, struct op_err *err)
{
    if (request_id)
        return op_sq_get(
            ledger, OP_SQ_NOTES_REQUEST,
            NOTES_BY("INDEXED BY note_request", "request_id = ?3 AND request_id <> 0 AND"), ret,
            err);
    if (batch_id)
        return op_sq_get(
            ledger, OP_SQ_NOTES_BATCH,
            NOTES_BY("INDEXED BY note_batch", "batch_id = ?2 AND batch_id <> 0 AND"), ret, err);
    if (job_id)
        return op_sq_get(ledger, OP_SQ_NOTES_JOB,
                         NOTES_BY("INDEXED BY note_job", "job_id = ?1 AND"), ret, err);
    return op_sq_get(ledger, OP_SQ_NOTES, NOTES_BY("", ""), ret, err);
}

enum op_rc op_ledger_notes(struct op_ledger *ledger, int64_t job_id, int64_t batch_id,
                           int64_t request_id, op_note_fn fn, void *arg, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    int64_t after = 0;
    while (!rc) {
        sqlite3_stmt *stmt = NULL;
        rc = get_walk(ledger, job_id, batch_id, request_id, &stmt, err);
        if (rc)
            break;
        op_sq_int(stmt, 1, job_id);
        op_sq_int(stmt, 2, batch_id);
        op_sq_int(stmt, 3, request_id);
        op_sq_int(stmt, 4, after);
        bool row = false;
        rc = op_sq_row(ledger, stmt, "list the notes", &row, err);
        if (rc)
            break;
        OP_CLEANUP(op_mem_freep) char *kind = row ? op_sq_dup(stmt, 5) : NULL;
        OP_CLEANUP(op_mem_freep) char *text = row ? op_sq_dup(stmt, 6) : NULL;
        struct op_note note = {.kind = kind, .text = text};
        if (row) {
            after = sqlite3_column_int64(stmt, 0);
            note.job_id = sqlite3_column_int64(stmt, 1);
            note.batch_id = sqlite3_column_int64(stmt, 2);
            note.request_id = sqlite3_column_int64(stmt, 3);
            note.at_ms = sqlite3_column_int64(stmt, 4);
        }
        op_sq_done(ledger, stmt);
        if (!row)
            break;
        rc = fn(arg, &note, err);
    }
    return rc;
}
