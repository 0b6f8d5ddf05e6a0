/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "ledger/sqlite/sqlite.h"

/* X(kind, column, member) in the order of the SELECT; state stands before them. */
#define JOB_FIELDS(X)                            \
    X(INT, id, id)                               \
    X(TEXT, pipeline, pipeline)                  \
    X(TEXT, identity, identity)                  \
    X(TEXT, definition, definition)              \
    X(TEXT, params, params)                      \
    X(TEXT, options, options)                    \
    X(TEXT, reason, reason)                      \
    X(INT, lane_id, lane_id)                     \
    X(INT, round, round)                         \
    X(INT, max_cost_microusd, max_cost_microusd) \
    X(INT, created_ms, created_ms)               \
    X(INT, ended_ms, ended_ms)

#define JOB_COUNTS(X)                                        \
    X(INT, records, records)                                 \
    X(INT, skipped, skipped)                                 \
    X(INT, requests, requests)                               \
    X(INT, reused, reused)                                   \
    X(INT, done, done)                                       \
    X(INT, failed, failed)                                   \
    X(INT, canceled, canceled)                               \
    X(INT, invalid, invalid)                                 \
    X(INT, reasked, reasked)                                 \
    X(INT, warnings, warnings)                               \
    X(INT, rows, rows)                                       \
    X(INT, spent_microusd, spent_microusd)                   \
    X(INT, reserved_microusd, reserved_microusd)             \
    X(INT, tokens_input, usage.tokens[OP_TOKEN_INPUT])       \
    X(INT, tokens_write_5m, usage.tokens[OP_TOKEN_WRITE_5M]) \
    X(INT, tokens_write_1h, usage.tokens[OP_TOKEN_WRITE_1H]) \
    X(INT, tokens_read, usage.tokens[OP_TOKEN_READ])         \
    X(INT, tokens_output, usage.tokens[OP_TOKEN_OUTPUT])

#define COLUMN(kind, column, member) ", " #column
#define JOB_COLUMNS                  "state" JOB_FIELDS(COLUMN) JOB_COUNTS(COLUMN)
#define JOB_OPEN                     "state NOT IN ('done','partial','canceled','failed')"

void op_job_release(struct op_job *job)
{
    char **const texts[] = {&job->pipeline, &job->identity, &job->definition,
                            &job->params,   &job->options,  &job->reason};
    for (size_t i = 0; i < OP_COUNT(texts); i++)
        op_mem_free(*texts[i]);
    *job = (struct op_job){0};
}

static bool parse_state(struct op_str name, enum op_job_state *ret)
{
    for (int i = 0; i < OP_JOB_STATE_COUNT; i++) {
        if (op_str_is(name, op_job_state_name((enum op_job_state)i))) {
            *ret = (enum op_job_state)i;
            return true;
        }
    }
    return false;
}

/* False: the row holds a state that this program does not know. */
static bool read_job(sqlite3_stmt *stmt, struct op_job *ret)
{
    *ret = (struct op_job){0};
    int at = 1;
#define READ_FIELD(kind, column, member) OP_SQ_READ_##kind(stmt, at++, ret->member);
#define READ_COUNT(kind, column, member) OP_SQ_READ_##kind(stmt, at++, ret->counts.member);
    JOB_FIELDS(READ_FIELD)
    JOB_COUNTS(READ_COUNT)
#undef READ_FIELD
#undef READ_COUNT
    return parse_state(op_sq_col(stmt, 0), &ret->state);
}

static enum op_rc fail_state(const struct op_ledger *ledger, int64_t id, struct op_err *err)
{
    return op_fail(err, OP_IO, "job %lld in %s has a state this program does not know",
                   (long long)id, ledger->path);
}

enum op_rc op_ledger_job_add(struct op_ledger *ledger, struct op_job *job, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(
        ledger, OP_SQ_JOB_ADD,
        "INSERT INTO job(state, pipeline, identity, definition, params, options, reason,"
        " lane_id, round, max_cost_microusd, created_ms, first_request, round_record,"
        " round_request, round_batch)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?12, ?14)",
        &stmt, err);
    if (rc)
        return rc;
    int64_t created = job->created_ms;
    if (!created)
        created = ledger->env->ops->now_ms(ledger->env);
    op_sq_text(stmt, 1, op_job_state_name(OP_JOB_PLANNING));
    op_sq_text(stmt, 2, job->pipeline);
    op_sq_text(stmt, 3, job->identity);
    op_sq_text(stmt, 4, job->definition);
    op_sq_text(stmt, 5, job->params);
    op_sq_text(stmt, 6, job->options);
    op_sq_text(stmt, 7, job->reason);
    op_sq_int(stmt, 8, job->lane_id);
    op_sq_int(stmt, 9, job->round > 0 ? job->round : 1);
    op_sq_int(stmt, 10, job->max_cost_microusd);
    op_sq_int(stmt, 11, created);
    op_sq_int(stmt, 12, ledger->next.request);
    op_sq_int(stmt, 13, ledger->next.record);
    op_sq_int(stmt, 14, ledger->next.batch);
    if (sqlite3_step(stmt) != SQLITE_DONE)
        return op_sq_fail(ledger, stmt, "add the job", err);
    job->id = sqlite3_last_insert_rowid(ledger->db);
    op_sq_done(ledger, stmt);
    job->state = OP_JOB_PLANNING;
    job->created_ms = created;
    job->round = job->round > 0 ? job->round : 1;
    return OP_OK;
}

enum op_rc op_ledger_job_get(struct op_ledger *ledger, int64_t id, struct op_job *ret,
                             struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_JOB_GET,
                              "SELECT " JOB_COLUMNS " FROM job WHERE id = ?1", &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, id);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "read a job", &row, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_job_release) struct op_job job = {0};
    bool known = row && read_job(stmt, &job);
    op_sq_done(ledger, stmt);
    if (!row)
        return op_fail(err, OP_NOTFOUND, "there is no job %lld in %s", (long long)id,
                       ledger->path);
    if (!known)
        return fail_state(ledger, id, err);
    *ret = job;
    job = (struct op_job){0};
    return OP_OK;
}

enum op_rc op_ledger_job_open(struct op_ledger *ledger, const char *identity, int64_t *ret_id,
                              struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_JOB_OPEN,
                              "SELECT id FROM job WHERE identity = ?1 AND " JOB_OPEN
                              " ORDER BY id DESC LIMIT 1",
                              &stmt, err);
    if (rc)
        return rc;
    op_sq_text(stmt, 1, identity);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "look for an open job", &row, err);
    if (rc)
        return rc;
    if (row)
        *ret_id = sqlite3_column_int64(stmt, 0);
    op_sq_done(ledger, stmt);
    return row ? OP_OK : OP_NOTFOUND;
}

enum op_rc op_ledger_job_go(struct op_ledger *ledger, int64_t id, enum op_job_state from,
                            enum op_job_state to, const char *reason, struct op_err *err)
{
    if (!op_job_may_go(from, to))
        return op_fail(err, OP_INVAL, "job %lld may not go from %s to %s", (long long)id,
                       op_job_state_name(from), op_job_state_name(to));
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(ledger, OP_SQ_JOB_GO,
                                    "UPDATE job SET state = ?3, reason = coalesce(?4, reason),"
                                    " ended_ms = ?5 WHERE id = ?1 AND state = ?2",
                                    &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, id);
    op_sq_text(stmt, 2, op_job_state_name(from));
    op_sq_text(stmt, 3, op_job_state_name(to));
    op_sq_str(stmt, 4, op_str_from(reason));
    op_sq_int(stmt, 5, op_job_is_final(to) ? ledger->env->ops->now_ms(ledger->env) : 0);
    int64_t changes = 0;
    rc = op_sq_run(ledger, stmt, "move a job", &changes, err);
    if (!rc && !changes)
        return op_fail(err, OP_CONFLICT, "job %lld is not %s any more; read it again",
                       (long long)id, op_job_state_name(from));
    return rc;
}

static enum op_rc run_on_job(struct op_ledger *ledger, sqlite3_stmt *stmt, int64_t id,
                             const char *what, struct op_err *err)
{
    int64_t changes = 0;
    enum op_rc rc = op_sq_run(ledger, stmt, what, &changes, err);
    if (!rc && !changes)
        return op_fail(err, OP_NOTFOUND, "there is no job %lld in %s", (long long)id,
                       ledger->path);
    return rc;
}

enum op_rc op_ledger_job_reason(struct op_ledger *ledger, int64_t id, const char *reason,
                                struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(ledger, OP_SQ_JOB_REASON,
                                    "UPDATE job SET reason = ?2 WHERE id = ?1", &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, id);
    op_sq_text(stmt, 2, reason);
    return run_on_job(ledger, stmt, id, "note a job's reason", err);
}

enum op_rc op_ledger_job_set(struct op_ledger *ledger, int64_t id, int64_t max_cost_microusd,
                             int64_t round, struct op_err *err)
{
    /* A new round begins where the ids stand now: what planning adds can be told from the rest. */
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc =
        op_sq_get_write(ledger, OP_SQ_JOB_SET,
                        "UPDATE job SET max_cost_microusd = ?2,"
                        " round_record = CASE WHEN round = ?3 THEN round_record ELSE ?4 END,"
                        " round_request = CASE WHEN round = ?3 THEN round_request ELSE ?5 END,"
                        " round_batch = CASE WHEN round = ?3 THEN round_batch ELSE ?6 END,"
                        " round = ?3 WHERE id = ?1",
                        &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, id);
    op_sq_int(stmt, 2, max_cost_microusd);
    op_sq_int(stmt, 3, round);
    op_sq_int(stmt, 4, ledger->next.record);
    op_sq_int(stmt, 5, ledger->next.request);
    op_sq_int(stmt, 6, ledger->next.batch);
    return run_on_job(ledger, stmt, id, "set a job's options", err);
}

#define ADD_COLUMN(kind, column, member) #column " = " #column " + ?, "

enum op_rc op_ledger_job_count(struct op_ledger *ledger, int64_t id,
                               const struct op_job_counts *delta, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(
        ledger, OP_SQ_JOB_COUNT,
        "UPDATE job SET " JOB_COUNTS(ADD_COLUMN) "id = id WHERE id = ?", &stmt, err);
    if (rc)
        return rc;
    int at = 1;
#define BIND_COUNT(kind, column, member) OP_SQ_BIND_##kind(stmt, at++, delta->member);
    JOB_COUNTS(BIND_COUNT)
#undef BIND_COUNT
    op_sq_int(stmt, at, id);
    return run_on_job(ledger, stmt, id, "count for a job", err);
}

enum op_rc op_ledger_jobs(struct op_ledger *ledger, bool only_open, op_job_fn fn, void *arg,
                          struct op_err *err)
{
    int64_t before = INT64_MAX;
    enum op_rc rc = OP_OK;
    while (!rc) {
        sqlite3_stmt *stmt = NULL;
        rc = only_open ? op_sq_get(ledger, OP_SQ_JOBS_OPEN,
                                   "SELECT " JOB_COLUMNS " FROM job WHERE id < ?1 AND " JOB_OPEN
                                   " ORDER BY id DESC LIMIT 1",
                                   &stmt, err)
                       : op_sq_get(ledger, OP_SQ_JOBS,
                                   "SELECT " JOB_COLUMNS
                                   " FROM job WHERE id < ?1 ORDER BY id DESC LIMIT 1",
                                   &stmt, err);
        if (rc)
            break;
        op_sq_int(stmt, 1, before);
        bool row = false;
        rc = op_sq_row(ledger, stmt, "list the jobs", &row, err);
        if (rc)
            break;
        OP_CLEANUP(op_job_release) struct op_job job = {0};
        bool known = row && read_job(stmt, &job);
        op_sq_done(ledger, stmt);
        if (!row)
            break;
        before = job.id;
        rc = known ? fn(arg, &job, err) : fail_state(ledger, job.id, err);
    }
    return rc;
}
