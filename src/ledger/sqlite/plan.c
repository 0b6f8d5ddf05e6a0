/* SPDX-License-Identifier: MIT */
#include "ledger/sqlite/sqlite.h"

/* Where the rows begin that planning has added in the present round. */
struct floors {
    int64_t record, request, batch;
};

static enum op_rc look(struct op_ledger *ledger, int64_t job_id, struct floors *ret,
                       struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_RESET_LOOK,
                              "SELECT round_record, round_request, round_batch, state FROM job"
                              " WHERE id = ?1",
                              &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, job_id);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "read a job", &row, err);
    if (rc)
        return rc;
    bool planning = false;
    if (row) {
        *ret = (struct floors){sqlite3_column_int64(stmt, 0), sqlite3_column_int64(stmt, 1),
                               sqlite3_column_int64(stmt, 2)};
        planning = op_str_is(op_sq_col(stmt, 3), op_job_state_name(OP_JOB_PLANNING));
    }
    op_sq_done(ledger, stmt);
    if (!row)
        return op_fail(err, OP_NOTFOUND, "there is no job %lld in %s", (long long)job_id,
                       ledger->path);
    if (!planning)
        return op_fail(err, OP_CONFLICT, "job %lld is not planning any more",
                       (long long)job_id);
    return OP_OK;
}

static enum op_rc check_unsent(struct op_ledger *ledger, int64_t job_id,
                               const struct floors *floors, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_RESET_SENT,
                              "SELECT id FROM batch WHERE job_id = ?1 AND id >= ?2"
                              " AND state NOT IN ('built','uploaded','dropped') LIMIT 1",
                              &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, job_id);
    op_sq_int(stmt, 2, floors->batch);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "read the batches of a plan", &row, err);
    if (rc)
        return rc;
    int64_t sent = row ? sqlite3_column_int64(stmt, 0) : 0;
    op_sq_done(ledger, stmt);
    if (sent)
        return op_fail(
            err, OP_CONFLICT,
            "batch %lld of job %lld may have been sent, so its plan cannot be undone",
            (long long)sent, (long long)job_id);
    return OP_OK;
}

struct files {
    char **names;
    size_t count;
};

static void files_release(struct files *files)
{
    for (size_t i = 0; i < files->count; i++)
        op_mem_free(files->names[i]);
    op_mem_free(files->names);
}

static enum op_rc collect_files(struct op_ledger *ledger, int64_t job_id,
                                const struct floors *floors, struct files *files,
                                struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_RESET_FILES,
                              "SELECT file FROM batch WHERE job_id = ?1 AND id >= ?2"
                              " ORDER BY id",
                              &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, job_id);
    op_sq_int(stmt, 2, floors->batch);
    for (;;) {
        bool row = false;
        rc = op_sq_row(ledger, stmt, "read the batches of a plan", &row, err);
        if (rc)
            return rc;
        if (!row)
            break;
        files->names = op_mem_realloc(files->names, (files->count + 1) * sizeof(char *));
        files->names[files->count++] = op_sq_dup(stmt, 0);
    }
    op_sq_done(ledger, stmt);
    return OP_OK;
}

/* Each with ?1 the job and ?2 its first request, record or batch of this round. In this order: who
 * waits for a request that goes must be asked itself, and a journal may only be deleted behind its
 * batch. What `asked` has about requests that go stays: their ids never come back, so it leads to
 * nobody, until the hash is asked again. */
static const struct deletion {
    enum op_sq_id id;
    enum { FROM_REQUEST, FROM_RECORD, FROM_BATCH } from;
    const char *sql;
} deletions[] = {
    {OP_SQ_RESET_FOLLOWERS, FROM_REQUEST,
     "UPDATE request SET state = 0, same_as = 0 WHERE state = 2 AND same_as IN"
     " (SELECT id FROM request WHERE id >= ?2 AND job_id = ?1)"},
    {OP_SQ_RESET_NOTES, FROM_REQUEST,
     "DELETE FROM note WHERE job_id = ?1 AND request_id >= ?2"},
    {OP_SQ_RESET_REQUESTS, FROM_REQUEST, "DELETE FROM request WHERE id >= ?2 AND +job_id = ?1"},
    {OP_SQ_RESET_RECORDS, FROM_RECORD, "DELETE FROM record WHERE id >= ?2 AND +job_id = ?1"},
    {OP_SQ_RESET_BATCHES, FROM_BATCH, "DELETE FROM batch WHERE id >= ?2 AND job_id = ?1"},
    {OP_SQ_RESET_JOURNAL, FROM_BATCH,
     "DELETE FROM journal WHERE batch_id >= ?2 AND ?1 > 0"
     " AND NOT EXISTS (SELECT 1 FROM batch WHERE id = journal.batch_id)"},
};

static enum op_rc delete_rows(struct op_ledger *ledger, int64_t job_id,
                              const struct floors *floors, struct op_sq_group *group,
                              struct op_err *err)
{
    const int64_t from[] = {floors->request, floors->record, floors->batch};
    enum op_rc rc = OP_OK;
    for (size_t i = 0; i < OP_COUNT(deletions) && !rc; i++) {
        sqlite3_stmt *stmt = NULL;
        rc = op_sq_get_write(ledger, deletions[i].id, deletions[i].sql, &stmt, err);
        if (rc)
            break;
        op_sq_int(stmt, 1, job_id);
        op_sq_int(stmt, 2, from[deletions[i].from]);
        rc = op_sq_run(ledger, stmt, "undo a plan", NULL, err);
        group->changed = true;
    }
    return rc;
}

/* The ids that were given out are not given out again: custom ids, file names and rows of sinks may
 * still carry them. */
static enum op_rc keep_ids(struct op_ledger *ledger, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(
        ledger, OP_SQ_RESET_FLOORS,
        "UPDATE identity SET first_record = ?1, first_request = ?2, first_batch = ?3", &stmt,
        err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, ledger->next.record);
    op_sq_int(stmt, 2, ledger->next.request);
    op_sq_int(stmt, 3, ledger->next.batch);
    return op_sq_run(ledger, stmt, "undo a plan", NULL, err);
}

enum op_rc op_ledger_plan_reset(struct op_ledger *ledger, int64_t job_id,
                                void (*fn)(void *arg, const char *file), void *arg,
                                struct op_err *err)
{
    struct op_sq_group group;
    struct floors floors;
    enum op_rc rc = op_sq_enter(ledger, &group, err);
    if (rc)
        return rc;
    OP_CLEANUP(files_release) struct files files = {0};
    rc = look(ledger, job_id, &floors, err);
    if (!rc)
        rc = check_unsent(ledger, job_id, &floors, err);
    if (!rc)
        rc = collect_files(ledger, job_id, &floors, &files, err);
    if (!rc)
        rc = delete_rows(ledger, job_id, &floors, &group, err);
    if (!rc)
        rc = keep_ids(ledger, err);
    rc = op_sq_leave(ledger, &group, rc, err);
    /* Rule R3: a row must not outlive its file, so the names come after the commit. */
    for (size_t i = 0; i < files.count && !rc && fn; i++)
        fn(arg, files.names[i]);
    return rc;
}
