/* SPDX-License-Identifier: MIT */
#include "base/buf.h"
#include "base/hash.h"
#include "ledger/sqlite/sqlite.h"

/* Findings of one kind that are written out; the rest are counted. */
#define SHOWN 50

/* Batches that have not given back what they reserved. */
#define RESERVING "('built','uploaded','sending','ambiguous','accepted','ended','fetched')"
#define OVER      "('applied','sealed','rejected','unsent','vanished','dropped')"

/* The results of batch b: a range of the key, filtered. */
#define RESULTS_OF_B                                                          \
    " FROM result x WHERE x.request_id BETWEEN b.request_lo AND b.request_hi" \
    " AND x.batch_id = b.id"

#define SUM_OF_RESULTS(column) "(SELECT coalesce(sum(x." column "), 0)" RESULTS_OF_B ")"
#define SUM_OF_BATCHES(column) \
    "(SELECT coalesce(sum(b." column "), 0) FROM batch b WHERE b.job_id = j.id)"
#define TOKENS " (tokens_input, tokens_write_5m, tokens_write_1h, tokens_read, tokens_output)"
#define TOKEN_SUMS                                                       \
    "coalesce(sum(tokens_input), 0), coalesce(sum(tokens_write_5m), 0)," \
    " coalesce(sum(tokens_write_1h), 0), coalesce(sum(tokens_read), 0)," \
    " coalesce(sum(tokens_output), 0)"
#define REQUESTS_OF_J \
    " FROM request r WHERE r.id >= j.first_request AND r.job_id = j.id AND r.record_id <> 0"

/* Each query yields one sentence per problem. */
static const char *const checks[] = {
    /* R4: the journal replays to the state. */
    "SELECT printf('batch %d: its journal does not begin with its building', b.id) FROM batch b"
    " WHERE NOT EXISTS (SELECT 1 FROM journal j WHERE j.batch_id = b.id AND j.epoch = 0"
    " AND j.from_state = '' AND j.to_state = 'built')",
    "SELECT printf('batch %d: move %d of its journal begins at %s, where the one before did not"
    " end', j.batch_id, j.epoch, j.from_state) FROM journal j WHERE j.epoch <> 0"
    " AND NOT EXISTS (SELECT 1 FROM journal p WHERE p.batch_id = j.batch_id"
    " AND p.epoch = j.epoch - 1 AND p.to_state = j.from_state)",
    "SELECT printf('batch %d: it is %s after %d moves, but its journal says otherwise', b.id,"
    " b.state, b.epoch) FROM batch b WHERE NOT EXISTS (SELECT 1 FROM journal j"
    " WHERE j.batch_id = b.id AND j.epoch = b.epoch AND j.to_state = b.state)"
    " OR EXISTS (SELECT 1 FROM journal j WHERE j.batch_id = b.id AND j.epoch > b.epoch)",
    "SELECT printf('journal: %d entries of a batch %d that does not exist', count(*), batch_id)"
    " FROM journal WHERE batch_id NOT IN (SELECT id FROM batch) GROUP BY batch_id",

    /* Counters of a job against its rows. What primes the prompt cache (record 0) is not counted;
     * a skipped record may or may not have a row. */
    "SELECT printf('job %d: %d records counted, %d found', id, records, n) FROM (SELECT j.*,"
    " (SELECT count(*) FROM record r WHERE r.job_id = j.id) AS n FROM job j"
    " WHERE j.state <> 'planning')"
    " WHERE n > records OR n + skipped < records",
    "SELECT printf('job %d: %d requests counted, %d found', id, requests, n) FROM (SELECT j.*,"
    " (SELECT count(*)" REQUESTS_OF_J ") AS n FROM job j WHERE j.state <> 'planning')"
    " WHERE n <> requests",
    "SELECT printf('job %d: done, failed, canceled are counted as %d, %d, %d, found as"
    " %d, %d, %d', id, done, failed, canceled, d, f, c) FROM (SELECT j.*,"
    " (SELECT count(*)" REQUESTS_OF_J " AND r.state = 3) AS d,"
    " (SELECT count(*)" REQUESTS_OF_J " AND r.state = 4) AS f,"
    " (SELECT count(*)" REQUESTS_OF_J " AND r.state = 5) AS c FROM job j"
    " WHERE j.state <> 'planning')"
    " WHERE d <> done OR f <> failed OR c <> canceled",
    "SELECT printf('job %d: %d micro-dollars spent, its batches say %d', id, spent_microusd, n)"
    " FROM (SELECT j.*, " SUM_OF_BATCHES("spent_microusd") " AS n FROM job j)"
                                                           " WHERE n <> spent_microusd",
    "SELECT printf('job %d: its token sums are not those of its batches', j.id) FROM job j"
    " WHERE" TOKENS " <> (SELECT " TOKEN_SUMS " FROM batch b WHERE b.job_id = j.id)",
    "SELECT printf('job %d: %d micro-dollars reserved, its open batches say %d', id,"
    " reserved_microusd, n) FROM (SELECT j.*, (SELECT coalesce(sum(b.reserved_microusd), 0)"
    " FROM batch b WHERE b.job_id = j.id AND b.state IN " RESERVING ") AS n FROM job j"
    " WHERE j.state <> 'planning')"
    " WHERE n <> reserved_microusd",

    /* Counters of a batch against its results. */
    "SELECT printf('batch %d: %d results counted, %d found', id, ok + failed + absent, n)"
    " FROM (SELECT b.*, (SELECT count(*)" RESULTS_OF_B ") AS n FROM batch b)"
    " WHERE n <> ok + failed + absent",
    "SELECT printf('batch %d: %s with %d results for %d requests', id, state,"
    " ok + failed + absent, count) FROM batch WHERE state IN ('applied','sealed')"
    " AND ok + failed + absent <> count",
    "SELECT printf('batch %d: %d micro-dollars spent, its results say %d', id, spent_microusd, n)"
    " FROM (SELECT b.*, " SUM_OF_RESULTS("microusd") " + b.extra_microusd AS n FROM batch b)"
                                                     " WHERE n <> spent_microusd",
    "SELECT printf('batch %d: its token sums are not those of its results', b.id) FROM batch b"
    " WHERE" TOKENS " <> (SELECT " TOKEN_SUMS RESULTS_OF_B ")",
    "SELECT printf('batch %d: %d results and %d micro-dollars are summed up by what became of them,"
    " its results are %d and %d', id, c, n, ok + failed + absent, spent_microusd)"
    " FROM (SELECT b.*, (SELECT coalesce(sum(s.count), 0) FROM spend s"
    " WHERE s.batch_id = b.id) AS c,"
    " (SELECT coalesce(sum(s.microusd), 0) FROM spend s WHERE s.batch_id = b.id) AS n FROM batch b)"
    " WHERE c <> ok + failed + absent OR n <> spent_microusd",
    /* R5: as many requests as were frozen, each a member still or with a result. */
    "SELECT printf('batch %d: %d requests were frozen, %d are accounted for', id, count, n)"
    " FROM (SELECT b.*, (SELECT count(*)" RESULTS_OF_B ") + (SELECT count(*) FROM request r"
    " WHERE r.id BETWEEN b.request_lo AND b.request_hi AND r.batch_id = b.id"
    " AND NOT EXISTS (SELECT 1 FROM result x WHERE x.request_id = r.id AND x.batch_id = b.id)) AS n"
    " FROM batch b WHERE b.state IN " RESERVING ") WHERE n <> count",
    "SELECT printf('batch %d: the price list %s it was built with is missing', id, prices)"
    " FROM batch WHERE prices <> '' AND prices NOT IN (SELECT sha256 FROM price_list)",
    "SELECT printf('batches %s: they claim the same batch %s of the provider',"
    " group_concat(id, ', '), provider_id) FROM batch WHERE provider_id <> ''"
    " GROUP BY lane_id, provider_id HAVING count(*) > 1",

    /* Requests against what they refer to (R1, P1). */
    "SELECT printf('request %d: packed into batch %d, which %s', r.id, r.batch_id,"
    " CASE WHEN b.id IS NULL THEN 'does not exist' WHEN b.state IN " OVER
    " THEN 'is ' || b.state ELSE 'does not span it' END)"
    " FROM request r LEFT JOIN batch b ON b.id = r.batch_id WHERE r.state = 1 AND (b.id IS NULL"
    " OR b.state IN " OVER " OR r.id NOT BETWEEN b.request_lo AND b.request_hi)"
    /* Planning adds a batch's row behind its requests. */
    " AND NOT (b.id IS NULL"
    " AND EXISTS (SELECT 1 FROM job j WHERE j.id = r.job_id AND j.state = 'planning'))",
    "SELECT printf('request %d: done without a good answer', r.id) FROM request r"
    " WHERE r.state = 3 AND r.record_id <> 0"
    " AND NOT EXISTS (SELECT 1 FROM result x WHERE x.request_id = r.id"
    " AND x.batch_id = r.batch_id AND x.valid = 1)"
    " AND NOT EXISTS (SELECT 1 FROM request o WHERE o.id = r.same_as AND o.state = 3)",
    "SELECT printf('request %d: waits for request %d, which does not exist', r.id, r.same_as)"
    " FROM request r INDEXED BY request_follower WHERE r.state = 2"
    " AND NOT EXISTS (SELECT 1 FROM request o WHERE o.id = r.same_as)",
    "SELECT printf('request %d: its record %d does not exist', r.id, r.record_id) FROM request r"
    " WHERE r.record_id <> 0 AND NOT EXISTS (SELECT 1 FROM record o WHERE o.id = r.record_id)",
    "SELECT printf('request %d: its state %d has no meaning', id, state) FROM request"
    " WHERE state NOT IN (SELECT code FROM word WHERE kind = 'request')",

    /* Results and files. */
    "SELECT printf('result of batch %d for request %d: there is no such %s', x.batch_id,"
    " x.request_id, CASE WHEN b.id IS NULL THEN 'batch' ELSE 'request' END) FROM result x"
    " LEFT JOIN batch b ON b.id = x.batch_id LEFT JOIN request r ON r.id = x.request_id"
    " WHERE b.id IS NULL OR r.id IS NULL",
    "SELECT printf('result of batch %d for request %d: %s', x.batch_id, x.request_id,"
    " CASE WHEN f.part IS NULL THEN 'result file ' || x.part || ' is unknown'"
    " ELSE 'it lies beyond the end of ' || f.file END) FROM result x"
    " LEFT JOIN result_file f ON f.batch_id = x.batch_id AND f.part = x.part"
    " WHERE x.part >= 0 AND (f.part IS NULL OR x.\"offset\" < 0 OR x.len < 0"
    " OR x.\"offset\" + x.len > f.bytes)",
    "SELECT printf('batch %d: it is applied up to byte %d of result file %d, which has %d',"
    " b.id, b.apply_offset, b.apply_part, f.bytes) FROM batch b JOIN result_file f"
    " ON f.batch_id = b.id AND f.part = b.apply_part WHERE b.apply_offset > f.bytes",
    "SELECT printf('batch %d: its file %s has a name, length or hash that cannot be', id, file)"
    " FROM (SELECT id, file, bytes, sha256 FROM batch UNION ALL"
    " SELECT batch_id, file, bytes, sha256 FROM result_file)"
    " WHERE file = '' OR file GLOB '/*' OR instr(file, '..') OR bytes < 0"
    " OR length(sha256) <> 64",
    "SELECT printf('result files of a batch %d that does not exist', batch_id) FROM result_file"
    " WHERE batch_id NOT IN (SELECT id FROM batch) GROUP BY batch_id",

    /* The rest. */
    "SELECT printf('job %d: its definition %s is missing', j.id, j.definition) FROM job j"
    " WHERE NOT EXISTS (SELECT 1 FROM definition d WHERE d.sha256 = j.definition)",
    "SELECT printf('job %d: its lane %d is missing', j.id, j.lane_id) FROM job j"
    " WHERE j.lane_id <> 0 AND NOT EXISTS (SELECT 1 FROM lane l WHERE l.id = j.lane_id)",
    "SELECT printf('outbox %d of job %d: %d of %d bytes delivered', output, job_id, delivered,"
    " committed) FROM outbox WHERE delivered < 0 OR delivered > committed"
    " OR job_id NOT IN (SELECT id FROM job)",
    "SELECT printf('database: %s', integrity_check) FROM pragma_integrity_check"
    " WHERE integrity_check <> 'ok'",
};

struct audit {
    struct op_ledger *ledger;
    struct op_buf *report;
    int64_t problems;
};

static void add_line(struct audit *audit, struct op_str line)
{
    op_buf_add_str(audit->report, line);
    op_buf_addc(audit->report, '\n');
}

static enum op_rc run_check(struct audit *audit, const char *sql, struct op_err *err)
{
    struct op_ledger *ledger = audit->ledger;
    sqlite3_stmt *stmt = NULL;
    int64_t found = 0;
    int step = sqlite3_prepare_v2(ledger->db, sql, -1, &stmt, NULL);
    while (step == SQLITE_OK || step == SQLITE_ROW) {
        step = sqlite3_step(stmt);
        if (step == SQLITE_ROW && ++found <= SHOWN)
            add_line(audit, op_sq_col(stmt, 0));
    }
    enum op_rc rc = OP_OK;
    if (step != SQLITE_DONE)
        rc = op_sq_describe(ledger->db, ledger->path, "audit the ledger", err);
    sqlite3_finalize(stmt);
    if (found > SHOWN)
        op_buf_addf(audit->report, "(%lld more like these)\n", (long long)(found - SHOWN));
    audit->problems += found;
    return rc;
}

/* The transition table is not known to SQL. */
static enum op_rc check_moves(struct audit *audit, struct op_err *err)
{
    struct op_ledger *ledger = audit->ledger;
    sqlite3_stmt *stmt = NULL;
    int step = sqlite3_prepare_v2(ledger->db,
                                  "SELECT from_state, to_state, min(batch_id) FROM journal"
                                  " WHERE epoch <> 0 GROUP BY from_state, to_state",
                                  -1, &stmt, NULL);
    while (step == SQLITE_OK || step == SQLITE_ROW) {
        step = sqlite3_step(stmt);
        if (step != SQLITE_ROW)
            break;
        char from_name[32], to_name[32];
        enum op_batch_state from, to;
        op_sq_chars(stmt, 0, from_name, sizeof(from_name));
        op_sq_chars(stmt, 1, to_name, sizeof(to_name));
        if (op_batch_state_parse(from_name, &from) && op_batch_state_parse(to_name, &to) &&
            op_batch_may_go(from, to))
            continue;
        op_buf_addf(audit->report, "batch %lld: its journal has a move from %s to %s\n",
                    (long long)sqlite3_column_int64(stmt, 2), from_name, to_name);
        audit->problems++;
    }
    enum op_rc rc = OP_OK;
    if (step != SQLITE_DONE)
        rc = op_sq_describe(ledger->db, ledger->path, "audit the ledger", err);
    sqlite3_finalize(stmt);
    return rc;
}

/* Nor are hashes: a price list is what its name says (R5). */
static enum op_rc check_prices(struct audit *audit, struct op_err *err)
{
    struct op_ledger *ledger = audit->ledger;
    sqlite3_stmt *stmt = NULL;
    int step =
        sqlite3_prepare_v2(ledger->db, "SELECT sha256, text FROM price_list", -1, &stmt, NULL);
    while (step == SQLITE_OK || step == SQLITE_ROW) {
        step = sqlite3_step(stmt);
        if (step != SQLITE_ROW)
            break;
        struct op_str name = op_sq_col(stmt, 0);
        char sha[OP_SHA256_HEX];
        const void *text = sqlite3_column_blob(stmt, 1);
        op_sha256_hex(text ? text : "", (size_t)sqlite3_column_bytes(stmt, 1), sha);
        if (op_str_is(name, sha))
            continue;
        op_buf_addf(audit->report, "price list " OP_STR_FMT ": its text has the hash %s\n",
                    OP_STR_ARG(name), sha);
        audit->problems++;
    }
    enum op_rc rc = OP_OK;
    if (step != SQLITE_DONE)
        rc = op_sq_describe(ledger->db, ledger->path, "audit the ledger", err);
    sqlite3_finalize(stmt);
    return rc;
}

enum op_rc op_ledger_audit(struct op_ledger *ledger, struct op_buf *report,
                           int64_t *ret_problems, struct op_err *err)
{
    struct audit audit = {.ledger = ledger, .report = report};
    enum op_rc rc = op_sq_adds_flush(ledger, err);
    if (rc)
        return rc;
    pthread_mutex_lock(&ledger->mutex);
    /* One snapshot for all checks: a commit between two of them would look like damage. */
    bool own = sqlite3_get_autocommit(ledger->db) != 0;
    if (own && sqlite3_exec(ledger->db, "BEGIN", NULL, NULL, NULL))
        rc = op_sq_describe(ledger->db, ledger->path, "audit the ledger", err);
    for (size_t i = 0; i < OP_COUNT(checks) && !rc; i++)
        rc = run_check(&audit, checks[i], err);
    if (!rc)
        rc = check_moves(&audit, err);
    if (!rc)
        rc = check_prices(&audit, err);
    if (own && !sqlite3_get_autocommit(ledger->db))
        (void)sqlite3_exec(ledger->db, "COMMIT", NULL, NULL, NULL);
    pthread_mutex_unlock(&ledger->mutex);
    if (!rc)
        *ret_problems = audit.problems;
    return rc;
}
