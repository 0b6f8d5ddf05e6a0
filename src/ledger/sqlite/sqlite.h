/* SPDX-License-Identifier: MIT */
#ifndef OP_LEDGER_SQLITE_SQLITE_H
#define OP_LEDGER_SQLITE_SQLITE_H

/*
 * Model:     the connection below ledger.h: one SQLite handle, a cache of prepared statements that
 *            live as long as the handle, and the state of the one transaction. Private to this
 *            folder (and to its tests).
 *            A statement is taken with op_sq_get or op_sq_get_write, which also take the mutex, and
 *            given back by exactly one of op_sq_done, op_sq_run, a failing op_sq_row or op_sq_fail.
 *            No two statements are held at once, and no caller's function runs while one is held.
 * Errors:    a failure that may have left the transaction half done (disk full, I/O error) rolls all
 *            of it back and marks it FAILED, so that nothing can slip into an implicit transaction
 *            before the caller has noticed.
 * Threads:   as in ledger.h; the handle is opened without SQLite's own mutexes.
 */

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "ledger/ledger.h"
#include "ledger/sqlite/adds.h"
#include "ledger/sqlite/asked.h"

#define OP_SQ_APPLICATION 0x4f46504b /* "OFPK" */
#define OP_SQ_MAX_TEXT    (256LL * 1024 * 1024)

/* Rows a walk reads ahead before it calls its function. */
#define OP_SQ_PAGE 256

/* One id per statement text; the text itself stands where it is used. */
enum op_sq_id {
    OP_SQ_PIN,
    OP_SQ_BEGIN,
    OP_SQ_COMMIT,
    OP_SQ_LANE_FIND,
    OP_SQ_LANE_ADD,
    OP_SQ_LANE_PAUSE,
    OP_SQ_LANES,
    OP_SQ_QUEUE_GET,
    OP_SQ_QUEUE_SET,
    OP_SQ_QUEUES,
    OP_SQ_QUEUE_USE,
    OP_SQ_QUEUE_OTHER,
    OP_SQ_QUEUE_CREATES,
    OP_SQ_CALIBRATION_GET,
    OP_SQ_CALIBRATION_SET,
    OP_SQ_CALIBRATIONS,
    OP_SQ_JOB_ADD,
    OP_SQ_JOB_GET,
    OP_SQ_JOB_OPEN,
    OP_SQ_JOB_GO,
    OP_SQ_JOB_REASON,
    OP_SQ_JOB_SET,
    OP_SQ_JOB_COUNT,
    OP_SQ_JOBS,
    OP_SQ_JOBS_OPEN,
    OP_SQ_DEFINITION_PUT,
    OP_SQ_DEFINITION_GET,
    OP_SQ_PRICES_PUT,
    OP_SQ_PRICES_GET,
    OP_SQ_RESET_LOOK,
    OP_SQ_RESET_SENT,
    OP_SQ_RESET_FILES,
    OP_SQ_RESET_FOLLOWERS,
    OP_SQ_RESET_NOTES,
    OP_SQ_RESET_REQUESTS,
    OP_SQ_RESET_RECORDS,
    OP_SQ_RESET_BATCHES,
    OP_SQ_RESET_JOURNAL,
    OP_SQ_RESET_FLOORS,
    OP_SQ_RECORD_ADD,
    OP_SQ_RECORD_ADD_HELD,
    OP_SQ_RECORDS_ADD,
    OP_SQ_RECORD_RENEW,
    OP_SQ_RECORD_FIND,
    OP_SQ_RECORD_DATA,
    OP_SQ_RECORD_ANY,
    OP_SQ_OUTBOX_LEFT,
    OP_SQ_RECORD_LO,
    OP_SQ_REQUEST_ADD,
    OP_SQ_REQUEST_ADD_HELD,
    OP_SQ_REQUESTS_ADD,
    OP_SQ_REQUEST_GET,
    OP_SQ_REQUEST_GO,
    OP_SQ_REQUEST_PAYLOAD,
    OP_SQ_REQUEST_REHASH,
    OP_SQ_FOLLOWER_REHASH,
    OP_SQ_REQUEST_SETTLE,
    OP_SQ_REQUESTS_NEW,
    OP_SQ_REQUESTS_WAITING,
    OP_SQ_REQUESTS_FAILED,
    OP_SQ_REQUESTS_OTHER,
    OP_SQ_REQUEST_PROBE,
    OP_SQ_REQUESTS_RECORD,
    OP_SQ_REQUESTS_STRAY,
    OP_SQ_FOLLOWERS,
    OP_SQ_HAS_NEW,
    OP_SQ_HAS_WAITING,
    OP_SQ_HAS_FAILED,
    OP_SQ_HAS_PACKED,
    OP_SQ_HAS_OTHER,
    OP_SQ_ASKED_FIND,
    OP_SQ_ASKED_PUT,
    OP_SQ_ASKED_PUTS,
    OP_SQ_ASKED_ALL,
    OP_SQ_BATCH_ADD,
    OP_SQ_BATCH_GET,
    OP_SQ_BATCH_DOOR,
    OP_SQ_BATCH_GO,
    OP_SQ_BATCH_SAVE,
    OP_SQ_BATCHES,
    OP_SQ_BATCHES_OPEN,
    OP_SQ_BATCHES_JOB,
    OP_SQ_BATCH_FIND,
    OP_SQ_BATCH_RANGE,
    OP_SQ_BATCH_REQUESTS,
    OP_SQ_BATCH_MEMBERS,
    OP_SQ_MEMBER_KEYS,
    OP_SQ_BATCH_UNPACK,
    OP_SQ_JOURNAL_ADD,
    OP_SQ_JOURNAL,
    OP_SQ_RESULT_FILE_ADD,
    OP_SQ_RESULT_FILE_GET,
    OP_SQ_RESULT_ADD,
    OP_SQ_RESULTS_ADD,
    OP_SQ_REQUESTS_SETTLE,
    OP_SQ_RESULT_GET,
    OP_SQ_RESULTS,
    OP_SQ_SPEND_ADD,
    OP_SQ_SPENDS,
    OP_SQ_SPENDS_JOB,
    OP_SQ_NOTE_ADD,
    OP_SQ_NOTE_HAS,
    OP_SQ_NOTES,
    OP_SQ_NOTES_JOB,
    OP_SQ_NOTES_BATCH,
    OP_SQ_NOTES_REQUEST,
    OP_SQ_CLAIM_ADD,
    OP_SQ_CLAIM_SAVE,
    OP_SQ_CLAIMS,
    OP_SQ_CLAIMS_OPEN,
    OP_SQ_OUTBOX_GET,
    OP_SQ_OUTBOX_SET,
    OP_SQ_IDENTITY_TRUST,
    OP_SQ_STATEMENTS,
};

enum op_sq_tx { OP_SQ_TX_NONE, OP_SQ_TX_OPEN, OP_SQ_TX_FAILED };

/* What the next rows will be called. */
struct op_sq_next {
    int64_t record, request, batch;
    int64_t ordered; /* no unstray request belongs to a record above this one, see request.c */
};

struct op_ledger {
    struct op_env *env;
    sqlite3 *db;
    char *dir, *path;
    enum op_ledger_mode mode;
    int version;
    int lock_fd; /* -1 none */
    pthread_mutex_t mutex;
    _Atomic enum op_sq_tx tx; /* set FAILED by whichever thread meets the error */
    struct op_sq_next next, saved;
    struct op_asked asked;
    struct op_adds adds;
    char uuid[37];
    char tag[OP_LEDGER_TAG_LEN + 1];
    char *suspect; /* why no send may happen; NULL: none */
    char *doubt;   /* the same, kept in the black box */
    sqlite3_stmt *stmts[OP_SQ_STATEMENTS];
};

/* --- statements ----------------------------------------------------------------------------- */

OP_MUST_CHECK enum op_rc op_sq_get(struct op_ledger *ledger, enum op_sq_id id, const char *sql,
                                   sqlite3_stmt **ret, struct op_err *err);
/* As op_sq_get; refuses a ledger opened for reading and a transaction that has failed. */
OP_MUST_CHECK enum op_rc op_sq_get_write(struct op_ledger *ledger, enum op_sq_id id,
                                         const char *sql, sqlite3_stmt **ret,
                                         struct op_err *err);
void op_sq_done(struct op_ledger *ledger, sqlite3_stmt *stmt);
/* Runs a statement without rows and gives it back; ret_changes may be NULL. */
OP_MUST_CHECK enum op_rc op_sq_run(struct op_ledger *ledger, sqlite3_stmt *stmt,
                                   const char *what, int64_t *ret_changes, struct op_err *err);
/* One step. *ret_row false: no more rows, the statement is still held. After an error it is not. */
OP_MUST_CHECK enum op_rc op_sq_row(struct op_ledger *ledger, sqlite3_stmt *stmt,
                                   const char *what, bool *ret_row, struct op_err *err);
/* Describes SQLite's last error, rolls back when it must, gives the statement (may be NULL) and
 * the mutex back. */
OP_MUST_CHECK enum op_rc op_sq_fail(struct op_ledger *ledger, sqlite3_stmt *stmt,
                                    const char *what, struct op_err *err);
/* The same description without any of the effects; for calls outside the statement cache. */
enum op_rc op_sq_describe(sqlite3 *db, const char *path, const char *what, struct op_err *err);

static inline void op_sq_int(sqlite3_stmt *stmt, int at, int64_t value)
{
    (void)sqlite3_bind_int64(stmt, at, value);
}
/* Bytes are borrowed until the statement is given back. */
static inline void op_sq_str(sqlite3_stmt *stmt, int at, struct op_str s)
{
    (void)sqlite3_bind_text64(stmt, at, s.ptr, s.len, SQLITE_STATIC, SQLITE_UTF8);
}
/* NULL becomes "". */
static inline void op_sq_text(sqlite3_stmt *stmt, int at, const char *text)
{
    op_sq_str(stmt, at, op_str_from(text ? text : ""));
}
static inline struct op_str op_sq_col(sqlite3_stmt *stmt, int at)
{
    const char *ptr = (const char *)sqlite3_column_text(stmt, at);
    return (struct op_str){ptr ? ptr : "", ptr ? (size_t)sqlite3_column_bytes(stmt, at) : 0};
}
static inline char *op_sq_dup(sqlite3_stmt *stmt, int at)
{
    struct op_str s = op_sq_col(stmt, at);
    return op_mem_strndup(s.ptr, s.len);
}
/* Copies at most room - 1 bytes and NUL. */
void op_sq_chars(sqlite3_stmt *stmt, int at, char *ret, size_t room);

/* Field kinds of the X lists in job.c, batch.c and request.c. */
#define OP_SQ_BIND_INT(stmt, at, member)   op_sq_int((stmt), (at), (member))
#define OP_SQ_READ_INT(stmt, at, member)   (member) = sqlite3_column_int64((stmt), (at))
#define OP_SQ_BIND_SMALL(stmt, at, member) op_sq_int((stmt), (at), (int64_t)(member))
#define OP_SQ_READ_SMALL(stmt, at, member) \
    (member) = (__typeof__(member))sqlite3_column_int((stmt), (at))
#define OP_SQ_BIND_TEXT(stmt, at, member)  op_sq_text((stmt), (at), (member))
#define OP_SQ_READ_TEXT(stmt, at, member)  (member) = op_sq_dup((stmt), (at))
#define OP_SQ_BIND_CHARS(stmt, at, member) op_sq_text((stmt), (at), (member))
#define OP_SQ_READ_CHARS(stmt, at, member) op_sq_chars((stmt), (at), (member), sizeof(member))

/* --- transactions --------------------------------------------------------------------------- */

/* Groups several statements: in the caller's transaction when one is open, else in one of its own.
 * changed is set by the user after the first change: a failure behind it must not leave half a
 * group in the caller's transaction, so that one is then rolled back and marked FAILED. */
struct op_sq_group {
    bool own;
    bool changed;
};
OP_MUST_CHECK enum op_rc op_sq_enter(struct op_ledger *ledger, struct op_sq_group *group,
                                     struct op_err *err);
OP_MUST_CHECK enum op_rc op_sq_leave(struct op_ledger *ledger, struct op_sq_group *group,
                                     enum op_rc rc, struct op_err *err);
/* Keeps the shared lock while no transaction is open. */
void op_sq_pin(struct op_ledger *ledger);
/* Reads the highest ids back from the tables. */
OP_MUST_CHECK enum op_rc op_sq_read_next(struct op_ledger *ledger, struct op_err *err);

/* Runs sql, which yields one integer, outside the statement cache. */
OP_MUST_CHECK enum op_rc op_sq_query_int(sqlite3 *db, const char *path, const char *sql,
                                         int64_t *ret, struct op_err *err);

/* --- the parts ------------------------------------------------------------------------------ */

/* adds.c: inserts the rows that are held, and holds none then. The mutex is held. False: SQLite has
 * refused one, and the transaction must be undone. */
bool op_sq_adds_write(struct op_ledger *ledger);
/* The same for the kind of rows that has no room for one more. */
bool op_sq_adds_make_room(struct op_ledger *ledger);
/* Takes the mutex for holding one more row; what is held is written first where there is no room.
 * Only in an open transaction. Given back with op_sq_adds_end. */
OP_MUST_CHECK enum op_rc op_sq_adds_begin(struct op_ledger *ledger, struct op_err *err);
void op_sq_adds_end(struct op_ledger *ledger);
/* For whoever reads without op_sq_get. */
OP_MUST_CHECK enum op_rc op_sq_adds_flush(struct op_ledger *ledger, struct op_err *err);

/* asked.c: writes what is held back into the transaction that is open. */
OP_MUST_CHECK enum op_rc op_sq_asked_flush(struct op_ledger *ledger, struct op_err *err);

/* lock.c */
OP_MUST_CHECK enum op_rc op_sq_lock(struct op_env *env, const char *dir, int *ret_fd,
                                    struct op_err *err);

/* identity.c: finds or makes the identity, compares witness and place. */
OP_MUST_CHECK enum op_rc op_sq_identity(struct op_ledger *ledger, struct op_err *err);

/* batch.c: an entry of the journal, in the caller's transaction. */
OP_MUST_CHECK enum op_rc op_sq_journal_add(struct op_ledger *ledger, int64_t batch_id,
                                           const char *from, const char *to, int64_t epoch,
                                           const char *evidence, struct op_err *err);

/* request.c: the columns of a request in the order of op_sq_request_read. */
extern const char op_sq_request_columns[];
void op_sq_request_read(sqlite3_stmt *stmt, struct op_request *ret);
/* Calls fn for every row of a held statement that yields request columns and is limited to
 * OP_SQ_PAGE rows. Gives the statement back before the first call. *ret_last is the last id, 0 when
 * the page was not full, so that no other follows. */
OP_MUST_CHECK enum op_rc op_sq_request_page(struct op_ledger *ledger, sqlite3_stmt *stmt,
                                            op_request_fn fn, void *arg, int64_t *ret_last,
                                            struct op_err *err);

#endif
