/* SPDX-License-Identifier: MIT */
#include "ledger/sqlite/schema.h"

#include <errno.h>
#include <fcntl.h>

#include "base/io.h"
#include "base/mem.h"
#include "core/states.h"
#include "ledger/ledger.h"
#include "ledger/sqlite/sqlite.h"

/* Millions of requests and results carry numbers instead of words (the table `word` has both); a
 * number, once released, never changes its meaning. */
_Static_assert(OP_REQUEST_NEW == 0 && OP_REQUEST_PACKED == 1 && OP_REQUEST_WAITING == 2 &&
                   OP_REQUEST_DONE == 3 && OP_REQUEST_FAILED == 4 && OP_REQUEST_CANCELED == 5 &&
                   OP_REQUEST_STATE_COUNT == 6,
               "request states are stored by number: a change needs a migration");
_Static_assert(OP_RESULT_SUCCEEDED == 0 && OP_RESULT_REFUSED == 1 && OP_RESULT_TRUNCATED == 2 &&
                   OP_RESULT_ERRORED == 3 && OP_RESULT_EXPIRED == 4 &&
                   OP_RESULT_CANCELED == 5 && OP_RESULT_ABSENT == 6 &&
                   OP_RESULT_CLASS_COUNT == 7,
               "result classes are stored by number: a change needs a migration");
_Static_assert(OP_REASK_NONE == 0 && OP_REASK_SAME == 1 && OP_REASK_INVALID == 2 &&
                   OP_REASK_TRUNCATED == 3,
               "reasons to ask again are stored by number: a change needs a migration");
_Static_assert(OP_CLAIM_WANTED == 0 && OP_CLAIM_HELD == 1 && OP_CLAIM_WORKING == 2 &&
                   OP_CLAIM_CLOSED == 3,
               "states of claims are stored by number: a change needs a migration");

#define TOKENS                                                                             \
    "tokens_input INTEGER NOT NULL DEFAULT 0, tokens_write_5m INTEGER NOT NULL DEFAULT 0," \
    "tokens_write_1h INTEGER NOT NULL DEFAULT 0, tokens_read INTEGER NOT NULL DEFAULT 0,"  \
    "tokens_output INTEGER NOT NULL DEFAULT 0"
#define COUNT(name) #name " INTEGER NOT NULL DEFAULT 0,"

/* Final states of batches and jobs, for partial indexes that hold only what is still moving. */
#define BATCH_FINAL "('sealed','rejected','unsent','vanished','dropped','quarantined')"
#define JOB_FINAL   "('done','partial','canceled','failed')"

static const char version_1[] =
    "CREATE TABLE identity("
    " id INTEGER PRIMARY KEY CHECK (id = 1), uuid TEXT NOT NULL, tag TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL, place TEXT NOT NULL, machine TEXT NOT NULL,"
    " suspect TEXT NOT NULL DEFAULT '', manifest_seen INTEGER NOT NULL DEFAULT 0,"
    " first_record INTEGER NOT NULL DEFAULT 1, first_request INTEGER NOT NULL DEFAULT 1,"
    " first_batch INTEGER NOT NULL DEFAULT 1) STRICT;"

    "CREATE TABLE word(kind TEXT NOT NULL, code INTEGER NOT NULL, text TEXT NOT NULL,"
    " PRIMARY KEY(kind, code)) STRICT, WITHOUT ROWID;"
    "INSERT INTO word VALUES"
    " ('request',0,'new'),('request',1,'packed'),('request',2,'waiting'),"
    " ('request',3,'done'),('request',4,'failed'),('request',5,'canceled'),"
    " ('result',0,'succeeded'),('result',1,'refused'),('result',2,'truncated'),"
    " ('result',3,'errored'),('result',4,'expired'),('result',5,'canceled'),"
    " ('result',6,'absent'),"
    " ('reask',0,''),('reask',1,'same'),('reask',2,'invalid'),('reask',3,'truncated');"

    "CREATE TABLE lane("
    " id INTEGER PRIMARY KEY, provider TEXT NOT NULL, base_url TEXT NOT NULL,"
    " fingerprint TEXT NOT NULL, paused_until_ms INTEGER NOT NULL DEFAULT 0,"
    " reason TEXT NOT NULL DEFAULT '', UNIQUE(provider, base_url, fingerprint)) STRICT;"

    "CREATE TABLE job("
    " id INTEGER PRIMARY KEY, state TEXT NOT NULL, pipeline TEXT NOT NULL,"
    " identity TEXT NOT NULL, definition TEXT NOT NULL, params TEXT NOT NULL,"
    " options TEXT NOT NULL, reason TEXT NOT NULL, lane_id INTEGER NOT NULL,"
    " round INTEGER NOT NULL, max_cost_microusd INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL DEFAULT 0,"
    /* Where the job's rows begin, and those of the present round: they bound every walk over the
     * primary keys and every reset of planning. */
    " first_request INTEGER NOT NULL, round_record INTEGER NOT NULL,"
    " round_request INTEGER NOT NULL, round_batch INTEGER NOT NULL," COUNT(records)
        COUNT(skipped) COUNT(requests) COUNT(reused) COUNT(done) COUNT(failed) COUNT(canceled)
            COUNT(invalid) COUNT(reasked) COUNT(warnings) COUNT(rows) COUNT(spent_microusd)
                COUNT(reserved_microusd) TOKENS
    ") STRICT;"
    "CREATE INDEX job_open ON job(identity) WHERE state NOT IN " JOB_FINAL ";"

    "CREATE TABLE definition(sha256 TEXT PRIMARY KEY, text BLOB NOT NULL)"
    " STRICT, WITHOUT ROWID;"

    "CREATE TABLE record("
    " id INTEGER PRIMARY KEY, job_id INTEGER NOT NULL, key TEXT NOT NULL,"
    " request_lo INTEGER NOT NULL, data TEXT, UNIQUE(job_id, key)) STRICT;"

    "CREATE TABLE request("
    " id INTEGER PRIMARY KEY, job_id INTEGER NOT NULL, record_id INTEGER NOT NULL,"
    " name INTEGER NOT NULL, state INTEGER NOT NULL, batch_id INTEGER NOT NULL,"
    " same_as INTEGER NOT NULL, buy_no INTEGER NOT NULL, reask INTEGER NOT NULL,"
    " payload_batch INTEGER NOT NULL, payload_offset INTEGER NOT NULL,"
    " payload_len INTEGER NOT NULL, hash BLOB NOT NULL, stray INTEGER NOT NULL,"
    " reason TEXT NOT NULL) STRICT;"
    /* A million packed (1) or done (3) requests are in none of these. Two comparisons and no IN,
     * for which SQLite would build a table at every insert. */
    "CREATE INDEX request_open ON request(job_id, state) WHERE state <> 1 AND state <> 3;"
    "CREATE INDEX request_follower ON request(same_as) WHERE state = 2;"
    "CREATE INDEX request_stray ON request(record_id) WHERE stray = 1;"

    "CREATE TABLE asked(hash BLOB PRIMARY KEY, request_id INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID;"

    "CREATE TABLE batch("
    " id INTEGER PRIMARY KEY, job_id INTEGER NOT NULL, lane_id INTEGER NOT NULL,"
    " state TEXT NOT NULL, epoch INTEGER NOT NULL, nonce TEXT NOT NULL UNIQUE,"
    " count INTEGER NOT NULL, request_lo INTEGER NOT NULL, request_hi INTEGER NOT NULL,"
    " file TEXT NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, model TEXT NOT NULL,"
    " prime INTEGER NOT NULL, reserved_microusd INTEGER NOT NULL,"
    " provider_id TEXT NOT NULL, results_url TEXT NOT NULL, remote_state TEXT NOT NULL,"
    " provisional INTEGER NOT NULL, cancel_wanted INTEGER NOT NULL,"
    " cancel_sent INTEGER NOT NULL, intent_ms INTEGER NOT NULL,"
    " last_try_ms INTEGER NOT NULL, first_clean_ms INTEGER NOT NULL,"
    " accepted_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL,"
    " due_ms INTEGER NOT NULL, tries INTEGER NOT NULL, missing_since_ms INTEGER NOT NULL,"
    " fetches INTEGER NOT NULL, apply_part INTEGER NOT NULL, apply_offset INTEGER NOT NULL,"
    " ok INTEGER NOT NULL, failed INTEGER NOT NULL, absent INTEGER NOT NULL,"
    " spent_microusd INTEGER NOT NULL," TOKENS ","
    " evidence TEXT NOT NULL, baseline TEXT NOT NULL) STRICT;"
    "CREATE INDEX batch_open ON batch(id) WHERE state NOT IN " BATCH_FINAL ";"
    "CREATE INDEX batch_job ON batch(job_id);"
    "CREATE INDEX batch_provider ON batch(provider_id) WHERE provider_id <> '';"

    "CREATE TABLE journal("
    " batch_id INTEGER NOT NULL, epoch INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
    " from_state TEXT NOT NULL, to_state TEXT NOT NULL, evidence TEXT NOT NULL,"
    " PRIMARY KEY(batch_id, epoch)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE result_file("
    " batch_id INTEGER NOT NULL, part INTEGER NOT NULL, file TEXT NOT NULL,"
    " bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY(batch_id, part))"
    " STRICT, WITHOUT ROWID;"

    "CREATE TABLE result("
    " request_id INTEGER NOT NULL, batch_id INTEGER NOT NULL, class INTEGER NOT NULL,"
    " valid INTEGER NOT NULL, part INTEGER NOT NULL, \"offset\" INTEGER NOT NULL,"
    " len INTEGER NOT NULL, microusd INTEGER NOT NULL," TOKENS ","
    " PRIMARY KEY(request_id, batch_id)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE note("
    " id INTEGER PRIMARY KEY, job_id INTEGER NOT NULL, batch_id INTEGER NOT NULL,"
    " request_id INTEGER NOT NULL, at_ms INTEGER NOT NULL, kind TEXT NOT NULL,"
    " text TEXT NOT NULL) STRICT;"
    "CREATE INDEX note_job ON note(job_id);"
    "CREATE INDEX note_batch ON note(batch_id) WHERE batch_id <> 0;"
    "CREATE INDEX note_request ON note(request_id) WHERE request_id <> 0;"

    "CREATE TABLE outbox("
    " job_id INTEGER NOT NULL, output INTEGER NOT NULL, committed INTEGER NOT NULL,"
    " delivered INTEGER NOT NULL, rows INTEGER NOT NULL, PRIMARY KEY(job_id, output))"
    " STRICT, WITHOUT ROWID;"

    /* R1: a request leaves a batch that may be paid for only with that batch's result in hand, or
     * by the operator's retry of a failed one (state 4). RAISE(FAIL) and not ABORT: nothing has
     * been changed before this trigger runs, and ABORT would make SQLite keep a copy of every
     * page for each of a million updates. */
    "CREATE TRIGGER request_in_one_live_batch BEFORE UPDATE OF batch_id ON request"
    " WHEN OLD.batch_id <> NEW.batch_id AND OLD.batch_id <> 0 AND OLD.state <> 4"
    " AND EXISTS (SELECT 1 FROM batch WHERE id = OLD.batch_id AND state IN ('built','uploaded',"
    "'sending','ambiguous','accepted','ended','fetched','quarantined'))"
    " AND NOT EXISTS (SELECT 1 FROM result WHERE request_id = OLD.id AND batch_id = OLD.batch_id)"
    " BEGIN SELECT RAISE(FAIL, 'R1: the request is in a live batch without a result'); END;"

    /* R2: the door. */
    "CREATE TRIGGER batch_door BEFORE UPDATE OF state ON batch"
    " WHEN NEW.state IN ('built','uploaded','sending') AND OLD.state NOT IN ('built','uploaded')"
    " BEGIN SELECT RAISE(ABORT, 'R2: nothing leads back to a send'); END;"
    /* R4: a move and its number go together, and the journal is only ever appended to. */
    "CREATE TRIGGER batch_epoch BEFORE UPDATE OF state, epoch ON batch"
    " WHEN NEW.epoch <> OLD.epoch + 1"
    " BEGIN SELECT RAISE(ABORT, 'R4: a move counts the epoch on by one'); END;"
    "CREATE TRIGGER journal_kept BEFORE UPDATE ON journal"
    " BEGIN SELECT RAISE(ABORT, 'R4: the journal is append-only'); END;"
    "CREATE TRIGGER journal_not_deleted BEFORE DELETE ON journal"
    " WHEN EXISTS (SELECT 1 FROM batch WHERE id = OLD.batch_id)"
    " BEGIN SELECT RAISE(ABORT, 'R4: the journal is append-only'); END;"
    /* R5: what BUILT froze. */
    "CREATE TRIGGER batch_frozen BEFORE UPDATE OF id, job_id, lane_id, nonce, count, request_lo,"
    " request_hi, file, bytes, sha256, model, prime ON batch"
    " BEGIN SELECT RAISE(ABORT, 'R5: a batch is frozen when it is built'); END;"
    /* Only planning deletes batches, and only what no send has touched. */
    "CREATE TRIGGER batch_not_deleted BEFORE DELETE ON batch"
    " WHEN OLD.state NOT IN ('built','uploaded','dropped')"
    " BEGIN SELECT RAISE(ABORT, 'R2: a batch that may have been sent is kept'); END;";

/* Providers with uploads, one model a batch, and queues of their own. Columns that are added come
 * behind baseline, so that a migrated table is that of a new ledger. */
static const char version_2[] =
    "ALTER TABLE batch ADD COLUMN endpoint TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE batch ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE batch ADD COLUMN file_id TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE batch ADD COLUMN uploads INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE batch ADD COLUMN uploaded_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE batch ADD COLUMN sent_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE batch ADD COLUMN fenced_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE batch ADD COLUMN twins TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE batch ADD COLUMN extra_microusd INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX batch_sent ON batch(lane_id, sent_ms) WHERE sent_ms > 0;"
    "ALTER TABLE result_file ADD COLUMN document TEXT NOT NULL DEFAULT '';"

    "CREATE TABLE queue("
    " lane_id INTEGER NOT NULL, model TEXT NOT NULL, limit_tokens INTEGER NOT NULL,"
    " named INTEGER NOT NULL, learned_ms INTEGER NOT NULL, hold_until_ms INTEGER NOT NULL,"
    " refusals INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY(lane_id, model))"
    " STRICT, WITHOUT ROWID;"
    "CREATE TABLE calibration("
    " provider TEXT NOT NULL, model TEXT NOT NULL, batches INTEGER NOT NULL,"
    " estimated INTEGER NOT NULL, billed INTEGER NOT NULL, low INTEGER NOT NULL,"
    " high INTEGER NOT NULL, PRIMARY KEY(provider, model)) STRICT, WITHOUT ROWID;"

    "DROP TRIGGER batch_frozen;"
    "CREATE TRIGGER batch_frozen BEFORE UPDATE OF id, job_id, lane_id, nonce, count, request_lo,"
    " request_hi, file, bytes, sha256, model, endpoint, tokens, prime ON batch"
    " BEGIN SELECT RAISE(ABORT, 'R5: a batch is frozen when it is built'); END;";

/* What was bought, by batch, model and what became of it: a few rows a batch where `result` has one
 * a request. What older versions have bought is summed up from their results. */
static const char version_3[] =
    "CREATE TABLE spend("
    " batch_id INTEGER NOT NULL, model TEXT NOT NULL, class INTEGER NOT NULL,"
    " valid INTEGER NOT NULL, again INTEGER NOT NULL, count INTEGER NOT NULL,"
    " microusd INTEGER NOT NULL," TOKENS ", PRIMARY KEY(batch_id, model, class, valid, again))"
    " STRICT, WITHOUT ROWID;"
    "INSERT INTO spend SELECT x.batch_id, b.model, x.class, x.valid, r.batch_id <> x.batch_id,"
    " count(*), sum(x.microusd), sum(x.tokens_input), sum(x.tokens_write_5m),"
    " sum(x.tokens_write_1h), sum(x.tokens_read), sum(x.tokens_output)"
    " FROM result x JOIN batch b ON b.id = x.batch_id JOIN request r ON r.id = x.request_id"
    " GROUP BY x.batch_id, b.model, x.class, x.valid, r.batch_id <> x.batch_id;";

/* The prices a batch was built with are frozen with it (R5): the text of the list, once for all
 * that share it. Batches of older versions have none. */
static const char version_4[] =
    "CREATE TABLE price_list(sha256 TEXT PRIMARY KEY, text BLOB NOT NULL)"
    " STRICT, WITHOUT ROWID;"
    "CREATE TRIGGER price_list_frozen BEFORE UPDATE ON price_list"
    " BEGIN SELECT RAISE(ABORT, 'R5: a price list is frozen'); END;"
    "CREATE TRIGGER price_list_not_deleted BEFORE DELETE ON price_list"
    " WHEN EXISTS (SELECT 1 FROM batch WHERE prices = OLD.sha256)"
    " BEGIN SELECT RAISE(ABORT, 'R5: batches were built with this price list'); END;"
    "ALTER TABLE batch ADD COLUMN prices TEXT NOT NULL DEFAULT '';"
    "DROP TRIGGER batch_frozen;"
    "CREATE TRIGGER batch_frozen BEFORE UPDATE OF id, job_id, lane_id, nonce, count, request_lo,"
    " request_hi, file, bytes, sha256, model, endpoint, tokens, prime, reserved_microusd, prices"
    " ON batch BEGIN SELECT RAISE(ABORT, 'R5: a batch is frozen when it is built'); END;";

/* Who asked, found by a number: the first eight bytes of the hash. SQL has no function for that, so
 * each hexadecimal digit is put in its place. */
#define DIGIT(at, bits) "(instr('123456789ABCDEF', substr(hex(hash), " #at ", 1)) << " #bits ")"
#define DIGITS(at, a, b, c, d) \
    DIGIT(at, a) " | " DIGIT(at + 1, b) " | " DIGIT(at + 2, c) " | " DIGIT(at + 3, d)

static const char version_5[] =
    "ALTER TABLE asked RENAME TO asked_old;"
    "CREATE TABLE asked(hash INTEGER PRIMARY KEY, request_id INTEGER NOT NULL) STRICT;"
    "INSERT OR REPLACE INTO asked SELECT " DIGITS(1, 60, 56, 52, 48) " | " DIGITS(
        5, 44, 40, 36,
        32) " | " DIGITS(9, 28, 24, 20,
                         16) " | " DIGITS(13, 12, 8, 4,
                                          0) ", request_id FROM asked_old ORDER BY request_id;"
                                             "DROP TABLE asked_old;";

/* What triggers have taken from outside. */
static const char version_6[] =
    "CREATE TABLE claim("
    " id INTEGER PRIMARY KEY, source TEXT NOT NULL, key TEXT NOT NULL, state INTEGER NOT NULL,"
    " job_id INTEGER NOT NULL, params TEXT NOT NULL, memory TEXT NOT NULL,"
    " phase INTEGER NOT NULL, why TEXT NOT NULL, created_ms INTEGER NOT NULL) STRICT;"
    "CREATE INDEX claim_open ON claim(id) WHERE state <> 3;"
    "CREATE INDEX claim_job ON claim(job_id);";

const struct op_schema_step op_schema_steps[] = {
    {version_1}, {version_2}, {version_3}, {version_4}, {version_5}, {version_6},
};
const size_t op_schema_count = OP_COUNT(op_schema_steps);

enum op_rc op_schema_version(sqlite3 *db, const char *path, size_t newest, int *ret,
                             struct op_err *err)
{
    int64_t application = 0, version = 0, tables = 0;
    enum op_rc rc = op_sq_query_int(db, path, "PRAGMA application_id", &application, err);
    if (!rc)
        rc = op_sq_query_int(db, path, "PRAGMA user_version", &version, err);
    if (!rc)
        rc = op_sq_query_int(db, path, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (rc)
        return rc;
    bool is_empty = application == 0 && version == 0 && tables == 0;
    if (!is_empty && application != OP_SQ_APPLICATION)
        return op_fail(
            err, OP_INVAL,
            "%s is not an offpeak ledger; move it away or choose another state folder", path);
    if (version > (int64_t)newest)
        return op_fail(err, OP_INVAL,
                       "%s was written by a newer offpeak (ledger version %lld, this program "
                       "knows %zu); install that version, nothing was changed",
                       path, (long long)version, newest);
    *ret = (int)version;
    return OP_OK;
}

/* A copy that a person can put back: complete, checked and durable under its name before the
 * first step changes anything. */
static enum op_rc check_copy(const char *temp, struct op_err *err)
{
    sqlite3 *copy = NULL;
    int64_t good = 0;
    enum op_rc rc = OP_OK;
    if (sqlite3_open_v2(temp, &copy, SQLITE_OPEN_READONLY, NULL))
        rc = op_sq_describe(copy, temp, "open the copy", err);
    if (!rc)
        rc = op_sq_query_int(copy, temp,
                             "SELECT count(*) FROM pragma_quick_check WHERE quick_check = 'ok'",
                             &good, err);
    sqlite3_close(copy);
    if (!rc && good != 1)
        rc =
            op_fail(err, OP_IO, "the copy %s is damaged; check the disk, then try again", temp);
    return rc;
}

static enum op_rc publish_copy(struct op_env *env, const char *dir, const char *temp,
                               const char *name, struct op_err *err)
{
    int fd = env->ops->open(env, temp, O_RDWR, 0);
    int rc = fd < 0 ? fd : env->ops->fsync(env, fd);
    if (fd >= 0) {
        int closed = env->ops->close(env, fd);
        rc = rc < 0 ? rc : closed;
    }
    if (rc >= 0)
        rc = env->ops->rename(env, temp, name, false);
    if (rc >= 0)
        rc = env->ops->fsync_dir(env, dir);
    if (rc >= 0)
        return OP_OK;
    errno = -rc;
    return op_fail_errno(err, OP_IO, "cannot keep a copy of the ledger as %s", name);
}

static enum op_rc backup(sqlite3 *db, struct op_env *env, const char *dir, const char *path,
                         int version, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep)
    char *name =
        op_mem_printf("%s/ledger-v%d-%lld.db", dir, version, (long long)env->ops->now_ms(env));
    OP_CLEANUP(op_mem_freep) char *temp = op_mem_printf("%s.part", name);
    env->ops->unlink(env, temp); /* of a crash in the same millisecond of another boot */
    sqlite3_stmt *stmt = NULL;
    int step = sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &stmt, NULL);
    if (step == SQLITE_OK) {
        op_sq_text(stmt, 1, temp);
        step = sqlite3_step(stmt);
    }
    enum op_rc rc = OP_OK;
    if (step != SQLITE_DONE)
        rc = op_sq_describe(db, path, "copy the ledger before its migration", err);
    sqlite3_finalize(stmt);
    if (!rc)
        rc = check_copy(temp, err);
    if (!rc)
        rc = publish_copy(env, dir, temp, name, err);
    if (rc)
        env->ops->unlink(env, temp);
    return rc;
}

static enum op_rc take_step(sqlite3 *db, const char *path, const char *sql, int version,
                            struct op_err *err)
{
    OP_CLEANUP(op_mem_freep)
    char *all = op_mem_printf("BEGIN IMMEDIATE; %s PRAGMA application_id = %d; "
                              "PRAGMA user_version = %d; COMMIT;",
                              sql, OP_SQ_APPLICATION, version);
    if (sqlite3_exec(db, all, NULL, NULL, NULL) == SQLITE_OK)
        return OP_OK;
    OP_CLEANUP(op_mem_freep)
    char *what = op_mem_printf("bring the ledger to version %d", version);
    enum op_rc rc = op_sq_describe(db, path, what, err);
    if (!sqlite3_get_autocommit(db))
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

enum op_rc op_schema_migrate(sqlite3 *db, struct op_env *env, const char *dir, const char *path,
                             const struct op_schema_step *steps, size_t count, int *ret_version,
                             struct op_err *err)
{
    int version = 0;
    enum op_rc rc = op_schema_version(db, path, count, &version, err);
    if (!rc && version > 0 && (size_t)version < count)
        rc = backup(db, env, dir, path, version, err);
    while (!rc && (size_t)version < count) {
        rc = take_step(db, path, steps[version].sql, version + 1, err);
        version++;
    }
    if (!rc)
        *ret_version = version;
    return rc;
}
