/* SPDX-License-Identifier: MIT */
#include "ledger/sqlite/sqlite.h"

#include <string.h>

#include "base/sqlite_flush.h"

/* --- errors --------------------------------------------------------------------------------- */

enum op_rc op_sq_describe(sqlite3 *db, const char *path, const char *what, struct op_err *err)
{
    int code = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
    if (op_sqlite_flush_is_full(db, code, path))
        code = SQLITE_FULL;
    const char *text = db ? sqlite3_errmsg(db) : "no memory";
    enum op_rc rc = OP_IO;
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        op_err_set_as(err, rc = OP_BUSY, OP_DISP_RETRY,
                      "cannot %s: another process keeps %s busy (%s); try again", what, path,
                      text);
        break;
    case SQLITE_CONSTRAINT:
        op_err_set(err, rc = OP_CONFLICT, "cannot %s: %s", what, text);
        break;
    case SQLITE_FULL:
        op_err_set_as(err, rc, OP_DISP_RETRY,
                      "cannot %s: no space left for %s; free some, then run again", what, path);
        break;
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        op_err_set(err, rc,
                   "cannot %s: %s (%s); make the file and its folder readable and writable",
                   what, path, text);
        break;
    case SQLITE_CORRUPT:
        op_err_set(err, rc,
                   "cannot %s: %s is damaged (%s); run `offpeak doctor` and restore a backup",
                   what, path, text);
        break;
    case SQLITE_NOTADB:
        op_err_set(err, rc = OP_INVAL,
                   "%s is not an offpeak ledger; move it away or choose another state folder",
                   path);
        break;
    default:
        op_err_set(err, rc, "cannot %s in %s: %s (SQLite %d)", what, path, text, code);
        break;
    }
    if (!err->native && err->rc == rc)
        err->native = code;
    return rc;
}

/* After these SQLite may have undone the statement, the transaction or nothing: only a rollback
 * makes it known. */
static bool is_serious(sqlite3 *db)
{
    int code = sqlite3_errcode(db) & 0xff;
    return code != SQLITE_CONSTRAINT && code != SQLITE_BUSY && code != SQLITE_LOCKED;
}

/* Between transactions the writer keeps a SELECT open and with it the shared lock: every read would
 * otherwise lock, look for a journal and unlock, six system calls for one row. It keeps nobody out,
 * because no one else writes. It is let go before a transaction begins and after every error, since
 * SQLite recovers from those only when nothing is being read. */
void op_sq_pin(struct op_ledger *ledger)
{
    if (ledger->mode != OP_LEDGER_WRITE || ledger->tx == OP_SQ_TX_OPEN)
        return;
    pthread_mutex_lock(&ledger->mutex);
    sqlite3_stmt **pin = &ledger->stmts[OP_SQ_PIN];
    if (!*pin)
        (void)sqlite3_prepare_v3(ledger->db, "SELECT code FROM word", -1,
                                 SQLITE_PREPARE_PERSISTENT, pin, NULL);
    /* A failure is none: the next read finds out by itself. */
    if (*pin && !sqlite3_stmt_busy(*pin) && sqlite3_step(*pin) != SQLITE_ROW)
        sqlite3_reset(*pin);
    pthread_mutex_unlock(&ledger->mutex);
}

/* The mutex is held. */
static void unpin(struct op_ledger *ledger)
{
    if (ledger->stmts[OP_SQ_PIN])
        sqlite3_reset(ledger->stmts[OP_SQ_PIN]);
}

/* Undoes what SQLite has open. The mutex is held. What the writer keeps in memory is its own to put
 * back, in op_ledger_rollback: the one who met the error may be another thread. */
static void undo(struct op_ledger *ledger)
{
    unpin(ledger);
    if (!sqlite3_get_autocommit(ledger->db))
        (void)sqlite3_exec(ledger->db, "ROLLBACK", NULL, NULL, NULL);
}

enum op_rc op_sq_fail(struct op_ledger *ledger, sqlite3_stmt *stmt, const char *what,
                      struct op_err *err)
{
    bool open = ledger->tx == OP_SQ_TX_OPEN;
    bool serious = is_serious(ledger->db);
    enum op_rc rc = op_sq_describe(ledger->db, ledger->path, what, err);
    if (stmt)
        sqlite3_reset(stmt);
    if (serious)
        unpin(ledger);
    if (open && (serious || sqlite3_get_autocommit(ledger->db))) {
        undo(ledger);
        ledger->tx = OP_SQ_TX_FAILED;
    }
    pthread_mutex_unlock(&ledger->mutex);
    return rc;
}

/* --- statements ----------------------------------------------------------------------------- */

/* Statements that see neither records nor requests. */
static bool is_apart(enum op_sq_id id)
{
    return id == OP_SQ_ASKED_FIND || id == OP_SQ_ASKED_PUT || id == OP_SQ_ASKED_PUTS;
}

/* A row that SQLite refuses was promised to the caller long ago: with it goes the transaction. */
static enum op_rc end_adds(struct op_ledger *ledger, bool good, struct op_err *err)
{
    if (good)
        return OP_OK;
    enum op_rc rc = op_sq_describe(ledger->db, ledger->path, "add records and requests", err);
    undo(ledger);
    ledger->tx = OP_SQ_TX_FAILED;
    pthread_mutex_unlock(&ledger->mutex);
    return rc;
}

enum op_rc op_sq_adds_begin(struct op_ledger *ledger, struct op_err *err)
{
    pthread_mutex_lock(&ledger->mutex);
    return end_adds(ledger, op_sq_adds_make_room(ledger), err);
}

enum op_rc op_sq_adds_flush(struct op_ledger *ledger, struct op_err *err)
{
    pthread_mutex_lock(&ledger->mutex);
    bool any = op_adds_any(&ledger->adds) && ledger->tx == OP_SQ_TX_OPEN;
    enum op_rc rc = end_adds(ledger, !any || op_sq_adds_write(ledger), err);
    if (!rc)
        pthread_mutex_unlock(&ledger->mutex);
    return rc;
}

void op_sq_adds_end(struct op_ledger *ledger)
{
    pthread_mutex_unlock(&ledger->mutex);
}

enum op_rc op_sq_get(struct op_ledger *ledger, enum op_sq_id id, const char *sql,
                     sqlite3_stmt **ret, struct op_err *err)
{
    pthread_mutex_lock(&ledger->mutex);
    if (op_adds_any(&ledger->adds) && ledger->tx == OP_SQ_TX_OPEN && !is_apart(id)) {
        enum op_rc rc = end_adds(ledger, op_sq_adds_write(ledger), err);
        if (rc)
            return rc;
    }
    if (!ledger->stmts[id] && sqlite3_prepare_v3(ledger->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                                 &ledger->stmts[id], NULL))
        return op_sq_fail(ledger, NULL, "prepare a statement", err);
    *ret = ledger->stmts[id];
    return OP_OK;
}

enum op_rc op_sq_get_write(struct op_ledger *ledger, enum op_sq_id id, const char *sql,
                           sqlite3_stmt **ret, struct op_err *err)
{
    if (ledger->mode != OP_LEDGER_WRITE)
        return op_fail(err, OP_INVAL, "%s is open for reading only", ledger->path);
    if (ledger->tx == OP_SQ_TX_FAILED)
        return op_fail_as(err, OP_IO, OP_DISP_RETRY,
                          "the transaction on %s was rolled back by an earlier error",
                          ledger->path);
    return op_sq_get(ledger, id, sql, ret, err);
}

void op_sq_done(struct op_ledger *ledger, sqlite3_stmt *stmt)
{
    sqlite3_reset(stmt);
    pthread_mutex_unlock(&ledger->mutex);
}

enum op_rc op_sq_run(struct op_ledger *ledger, sqlite3_stmt *stmt, const char *what,
                     int64_t *ret_changes, struct op_err *err)
{
    if (sqlite3_step(stmt) != SQLITE_DONE)
        return op_sq_fail(ledger, stmt, what, err);
    if (ret_changes)
        *ret_changes = sqlite3_changes64(ledger->db);
    op_sq_done(ledger, stmt);
    return OP_OK;
}

enum op_rc op_sq_row(struct op_ledger *ledger, sqlite3_stmt *stmt, const char *what,
                     bool *ret_row, struct op_err *err)
{
    int step = sqlite3_step(stmt);
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        return op_sq_fail(ledger, stmt, what, err);
    *ret_row = step == SQLITE_ROW;
    return OP_OK;
}

void op_sq_chars(sqlite3_stmt *stmt, int at, char *ret, size_t room)
{
    struct op_str s = op_sq_col(stmt, at);
    size_t len = s.len < room ? s.len : room - 1;
    memcpy(ret, s.ptr, len);
    ret[len] = '\0';
}

enum op_rc op_sq_query_int(sqlite3 *db, const char *path, const char *sql, int64_t *ret,
                           struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int step = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    if (step == SQLITE_OK)
        step = sqlite3_step(stmt);
    enum op_rc rc = OP_OK;
    if (step == SQLITE_ROW)
        *ret = sqlite3_column_int64(stmt, 0);
    else if (step == SQLITE_DONE)
        *ret = 0;
    else
        rc = op_sq_describe(db, path, "read the ledger", err);
    sqlite3_finalize(stmt);
    return rc;
}

/* --- transactions --------------------------------------------------------------------------- */

enum op_rc op_ledger_begin(struct op_ledger *ledger, struct op_err *err)
{
    if (ledger->tx == OP_SQ_TX_OPEN)
        return op_fail(err, OP_INVAL, "a transaction is already open on %s", ledger->path);
    op_ledger_rollback(ledger); /* of one that failed and was not given up yet */
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(ledger, OP_SQ_BEGIN, "BEGIN IMMEDIATE", &stmt, err);
    if (rc)
        return rc;
    unpin(ledger);
    rc = op_sq_run(ledger, stmt, "begin a transaction", NULL, err);
    if (rc)
        return rc;
    ledger->saved = ledger->next;
    ledger->tx = OP_SQ_TX_OPEN;
    return OP_OK;
}

enum op_rc op_ledger_commit(struct op_ledger *ledger, struct op_err *err)
{
    if (ledger->tx == OP_SQ_TX_NONE)
        return op_fail(err, OP_INVAL, "no transaction is open on %s", ledger->path);
    enum op_rc rc = op_sq_asked_flush(ledger, err);
    sqlite3_stmt *stmt = NULL;
    if (!rc)
        rc = op_sq_get_write(ledger, OP_SQ_COMMIT, "COMMIT", &stmt, err);
    /* Durability point: with journal_mode=TRUNCATE and synchronous=EXTRA a COMMIT that returns has
     * been flushed, the directory entry of the journal included. */
    if (!rc)
        rc = op_sq_run(ledger, stmt, "commit", NULL, err);
    if (rc) {
        op_ledger_rollback(ledger);
        return rc;
    }
    ledger->tx = OP_SQ_TX_NONE;
    op_sq_pin(ledger);
    return OP_OK;
}

void op_ledger_rollback(struct op_ledger *ledger)
{
    if (ledger->tx == OP_SQ_TX_NONE)
        return;
    pthread_mutex_lock(&ledger->mutex);
    op_adds_forget(&ledger->adds);
    op_adds_watch(&ledger->adds, 0, false); /* what it saw missing may be back */
    undo(ledger);
    pthread_mutex_unlock(&ledger->mutex);
    op_asked_forget(&ledger->asked);
    ledger->next = ledger->saved;
    ledger->tx = OP_SQ_TX_NONE;
    op_sq_pin(ledger);
}

enum op_rc op_sq_enter(struct op_ledger *ledger, struct op_sq_group *group, struct op_err *err)
{
    *group = (struct op_sq_group){.own = ledger->tx == OP_SQ_TX_NONE};
    return group->own ? op_ledger_begin(ledger, err) : OP_OK;
}

enum op_rc op_sq_leave(struct op_ledger *ledger, struct op_sq_group *group, enum op_rc rc,
                       struct op_err *err)
{
    if (group->own) {
        if (!rc)
            return op_ledger_commit(ledger, err);
        op_ledger_rollback(ledger);
    } else if (rc && group->changed && ledger->tx == OP_SQ_TX_OPEN) {
        pthread_mutex_lock(&ledger->mutex);
        undo(ledger);
        pthread_mutex_unlock(&ledger->mutex);
        ledger->tx = OP_SQ_TX_FAILED;
    }
    return rc;
}
