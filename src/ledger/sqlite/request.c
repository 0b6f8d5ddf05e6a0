/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "ledger/sqlite/sqlite.h"

/*
 * There is no index over all requests: a million inserts would pay for it. What is looked up, and
 * how:
 *   neither packed nor done            partial indexes, which the others are not in
 *   members of a batch                 the range [request_lo, request_hi] of the primary key
 *   requests of a record               ids ascend with record ids, so the place is searched in the
 *                                      primary key, beginning at record.request_lo. A request whose
 *                                      record is older than that of an earlier request breaks the
 *                                      order; it is marked stray, and strays have an index.
 */

/* X(kind, column, member) after id. */
#define REQUEST_FIELDS(X)                   \
    X(INT, job_id, job_id)                  \
    X(INT, record_id, record_id)            \
    X(SMALL, name, name)                    \
    X(SMALL, state, state)                  \
    X(INT, batch_id, batch_id)              \
    X(INT, same_as, same_as)                \
    X(SMALL, buy_no, buy_no)                \
    X(SMALL, reask, reask)                  \
    X(INT, payload_batch, payload.batch_id) \
    X(INT, payload_offset, payload.offset)  \
    X(INT, payload_len, payload.len)

#define COLUMN(kind, column, member) ", " #column
#define PLACE(kind, column, member)  ", ?"
#define REQUEST_COLUMNS              "id" REQUEST_FIELDS(COLUMN) ", hash, reason"
#define STR_(x)                      #x
#define STR(x)                       STR_(x)
#define PAGE                         " LIMIT " STR(OP_SQ_PAGE)

const char op_sq_request_columns[] = REQUEST_COLUMNS;

void op_request_release(struct op_request *request)
{
    op_mem_free(request->reason);
    *request = (struct op_request){0};
}

void op_sq_request_read(sqlite3_stmt *stmt, struct op_request *ret)
{
    ret->id = sqlite3_column_int64(stmt, 0);
    int at = 1;
#define READ_FIELD(kind, column, member) OP_SQ_READ_##kind(stmt, at++, ret->member);
    REQUEST_FIELDS(READ_FIELD)
#undef READ_FIELD
    memset(ret->hash, 0, sizeof(ret->hash));
    if (sqlite3_column_bytes(stmt, at) == OP_HASH_LEN)
        memcpy(ret->hash, sqlite3_column_blob(stmt, at), OP_HASH_LEN);
    ret->reason = op_sq_dup(stmt, at + 1);
}

/* As nearly all are that planning adds. */
static bool is_plain(const struct op_request *request)
{
    return request->state == OP_REQUEST_PACKED && !request->same_as && !request->buy_no &&
           request->reask == OP_REASK_NONE && (!request->reason || !*request->reason);
}

static enum op_rc hold_request(struct op_ledger *ledger, const struct op_request *request,
                               struct op_err *err)
{
    enum op_rc rc = op_sq_adds_begin(ledger, err);
    if (rc)
        return rc;
    op_adds_hold_request(&ledger->adds, request);
    ledger->next.request++;
    ledger->next.ordered = request->record_id;
    op_sq_adds_end(ledger);
    return OP_OK;
}

enum op_rc op_ledger_request_add(struct op_ledger *ledger, const struct op_request *request,
                                 struct op_err *err)
{
    if (request->id != ledger->next.request)
        return op_fail(err, OP_INVAL, "request %lld is not the next one, which is %lld",
                       (long long)request->id, (long long)ledger->next.request);
    if ((request->state == OP_REQUEST_PACKED) != (request->batch_id != 0))
        return op_fail(err, OP_INVAL, "request %lld is %s with batch %lld",
                       (long long)request->id, op_request_state_name(request->state),
                       (long long)request->batch_id);
    bool stray = request->record_id < ledger->next.ordered;
    if (!stray && is_plain(request) && ledger->tx == OP_SQ_TX_OPEN)
        return hold_request(ledger, request, err);
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(ledger, OP_SQ_REQUEST_ADD,
                                    "INSERT INTO request(" REQUEST_COLUMNS
                                    ", stray) VALUES (?" REQUEST_FIELDS(PLACE) ", ?, ?, ?)",
                                    &stmt, err);
    if (rc)
        return rc;
    int at = 1;
    op_sq_int(stmt, at++, request->id);
#define BIND_FIELD(kind, column, member) OP_SQ_BIND_##kind(stmt, at++, request->member);
    REQUEST_FIELDS(BIND_FIELD)
#undef BIND_FIELD
    (void)sqlite3_bind_blob(stmt, at++, request->hash, OP_HASH_LEN, SQLITE_STATIC);
    op_sq_text(stmt, at++, request->reason);
    op_sq_int(stmt, at, stray);
    rc = op_sq_run(ledger, stmt, "add a request", NULL, err);
    if (rc)
        return rc;
    ledger->next.request++;
    if (!stray)
        ledger->next.ordered = request->record_id;
    return OP_OK;
}

enum op_rc op_ledger_request_get(struct op_ledger *ledger, int64_t id, struct op_request *ret,
                                 struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc =
        op_sq_get(ledger, OP_SQ_REQUEST_GET,
                  "SELECT " REQUEST_COLUMNS " FROM request WHERE id = ?1", &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, id);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "read a request", &row, err);
    if (rc)
        return rc;
    if (row)
        op_sq_request_read(stmt, ret);
    op_sq_done(ledger, stmt);
    if (!row)
        return op_fail(err, OP_NOTFOUND, "there is no request %lld in %s", (long long)id,
                       ledger->path);
    return OP_OK;
}

/* A request belongs to a batch while it is packed, and remembers the one that settled it. */
static enum op_rc check_go(const struct op_request *request, enum op_request_state to,
                           struct op_err *err)
{
    if (!op_request_may_go(request->state, to))
        return op_fail(err, OP_INVAL, "request %lld may not go from %s to %s",
                       (long long)request->id, op_request_state_name(request->state),
                       op_request_state_name(to));
    if (to == OP_REQUEST_PACKED && !request->batch_id)
        return op_fail(err, OP_INVAL, "request %lld is to be packed into no batch",
                       (long long)request->id);
    if (to == OP_REQUEST_WAITING && !request->same_as)
        return op_fail(err, OP_INVAL, "request %lld is to wait for no other",
                       (long long)request->id);
    return OP_OK;
}

/* OR FAIL: one row, refused before anything is changed; see the trigger of R1. A request that is
 * settled keeps its batch, and a statement that does not name batch_id does not run the trigger:
 * that is the path of a million results. */
static enum op_rc get_go(struct op_ledger *ledger, bool settles, sqlite3_stmt **ret,
                         struct op_err *err)
{
    if (settles)
        return op_sq_get_write(ledger, OP_SQ_REQUEST_SETTLE,
                               "UPDATE OR FAIL request SET state = ?4, same_as = ?6,"
                               " buy_no = ?7, reask = ?8, reason = ?9"
                               " WHERE id = ?1 AND state = ?2 AND batch_id = ?3 AND ?3 = ?5",
                               ret, err);
    return op_sq_get_write(ledger, OP_SQ_REQUEST_GO,
                           "UPDATE OR FAIL request SET state = ?4, batch_id = ?5, same_as = ?6,"
                           " buy_no = ?7, reask = ?8, reason = ?9"
                           " WHERE id = ?1 AND state = ?2 AND (?2 <> 1 OR batch_id = ?3)",
                           ret, err);
}

enum op_rc op_ledger_request_go(struct op_ledger *ledger, const struct op_request *request,
                                int64_t expected_batch, enum op_request_state to,
                                struct op_err *err)
{
    enum op_rc rc = check_go(request, to, err);
    if (rc)
        return rc;
    bool unbound = to == OP_REQUEST_NEW || to == OP_REQUEST_WAITING;
    int64_t batch_id = unbound ? 0 : request->batch_id;
    sqlite3_stmt *stmt = NULL;
    rc = get_go(ledger, request->state == OP_REQUEST_PACKED && batch_id == expected_batch,
                &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, request->id);
    op_sq_int(stmt, 2, request->state);
    op_sq_int(stmt, 3, expected_batch);
    op_sq_int(stmt, 4, to);
    op_sq_int(stmt, 5, batch_id);
    op_sq_int(stmt, 6, request->same_as);
    op_sq_int(stmt, 7, request->buy_no);
    op_sq_int(stmt, 8, request->reask);
    op_sq_text(stmt, 9, request->reason);
    int64_t changes = 0;
    rc = op_sq_run(ledger, stmt, "move a request", &changes, err);
    if (!rc && !changes)
        return op_fail(err, OP_CONFLICT, "request %lld is not %s in batch %lld any more",
                       (long long)request->id, op_request_state_name(request->state),
                       (long long)expected_batch);
    return rc;
}

/* --- walks ---------------------------------------------------------------------------------- */

enum op_rc op_sq_request_page(struct op_ledger *ledger, sqlite3_stmt *stmt, op_request_fn fn,
                              void *arg, int64_t *ret_last, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep)
    struct op_request *page = op_mem_array(OP_SQ_PAGE, sizeof(*page));
    size_t count = 0;
    enum op_rc rc = OP_OK;
    for (bool row = true; !rc && count < OP_SQ_PAGE;) {
        rc = op_sq_row(ledger, stmt, "list requests", &row, err);
        if (rc || !row)
            break;
        op_sq_request_read(stmt, &page[count++]);
    }
    if (!rc)
        op_sq_done(ledger, stmt);
    *ret_last = count == OP_SQ_PAGE ? page[count - 1].id : 0;
    for (size_t i = 0; i < count && !rc; i++)
        rc = fn(arg, &page[i], err);
    for (size_t i = 0; i < count; i++)
        op_request_release(&page[i]);
    return rc;
}

/* The index can be used where its own condition stands in the query, word for word. */
#define ANY "6"
#define OPEN_OF(state)                                                                  \
    "SELECT " REQUEST_COLUMNS " FROM request INDEXED BY request_open WHERE job_id = ?1" \
    " AND state <> 1 AND state <> 3 AND state = " state " AND id > ?2 ORDER BY id" PAGE

static enum op_rc get_walk(struct op_ledger *ledger, enum op_request_state state,
                           sqlite3_stmt **ret, struct op_err *err)
{
    switch (state) {
    case OP_REQUEST_NEW:
        return op_sq_get(ledger, OP_SQ_REQUESTS_NEW, OPEN_OF("0"), ret, err);
    case OP_REQUEST_WAITING:
        return op_sq_get(ledger, OP_SQ_REQUESTS_WAITING, OPEN_OF("2"), ret, err);
    case OP_REQUEST_FAILED:
        return op_sq_get(ledger, OP_SQ_REQUESTS_FAILED, OPEN_OF("4"), ret, err);
    case OP_REQUEST_PACKED:
    case OP_REQUEST_DONE:
    case OP_REQUEST_CANCELED:
    case OP_REQUEST_STATE_COUNT:
        break;
    }
    return op_sq_get(ledger, OP_SQ_REQUESTS_OTHER,
                     "SELECT " REQUEST_COLUMNS " FROM request WHERE id > max(?2,"
                     " coalesce((SELECT first_request FROM job WHERE id = ?1), 0) - 1)"
                     " AND job_id = ?1 AND (state = ?3 OR ?3 = " ANY ") ORDER BY id" PAGE,
                     ret, err);
}

_Static_assert(OP_REQUEST_STATE_COUNT == 6, "ANY stands for it");

static bool is_indexed(enum op_request_state state)
{
    return state == OP_REQUEST_NEW || state == OP_REQUEST_WAITING || state == OP_REQUEST_FAILED;
}

enum op_rc op_ledger_requests(struct op_ledger *ledger, int64_t job_id,
                              enum op_request_state state, int64_t after_id, op_request_fn fn,
                              void *arg, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    int64_t last = after_id;
    do {
        sqlite3_stmt *stmt = NULL;
        rc = get_walk(ledger, state, &stmt, err);
        if (rc)
            return rc;
        op_sq_int(stmt, 1, job_id);
        op_sq_int(stmt, 2, last);
        if (!is_indexed(state))
            op_sq_int(stmt, 3, state);
        rc = op_sq_request_page(ledger, stmt, fn, arg, &last, err);
    } while (!rc && last);
    return rc;
}

enum op_rc op_ledger_followers(struct op_ledger *ledger, int64_t request_id, op_request_fn fn,
                               void *arg, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    int64_t last = 0;
    do {
        sqlite3_stmt *stmt = NULL;
        rc = op_sq_get(ledger, OP_SQ_FOLLOWERS,
                       "SELECT " REQUEST_COLUMNS " FROM request INDEXED BY request_follower"
                       " WHERE state = 2 AND same_as = ?1 AND id > ?2 ORDER BY id" PAGE,
                       &stmt, err);
        if (rc)
            return rc;
        op_sq_int(stmt, 1, request_id);
        op_sq_int(stmt, 2, last);
        rc = op_sq_request_page(ledger, stmt, fn, arg, &last, err);
    } while (!rc && last);
    return rc;
}

/* The first request from id on that is in order; its record, or INT64_MAX when there is none. */
static enum op_rc probe(struct op_ledger *ledger, int64_t *id, int64_t *ret_record,
                        struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_REQUEST_PROBE,
                              "SELECT id, record_id FROM request WHERE id >= ?1 AND stray = 0"
                              " ORDER BY id LIMIT 1",
                              &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, *id);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "look for a record's requests", &row, err);
    if (rc)
        return rc;
    *ret_record = INT64_MAX;
    if (row) {
        *id = sqlite3_column_int64(stmt, 0);
        *ret_record = sqlite3_column_int64(stmt, 1);
    }
    op_sq_done(ledger, stmt);
    return OP_OK;
}

/* The smallest id from lo on whose record is not before record_id. Usually lo itself, because a
 * record's requests follow it at once; else doubling steps and bisection. */
static enum op_rc find_first(struct op_ledger *ledger, int64_t lo, int64_t record_id,
                             int64_t *ret, struct op_err *err)
{
    int64_t record = 0, step = 1, hi = lo;
    enum op_rc rc = probe(ledger, &hi, &record, err);
    while (!rc && record < record_id) {
        lo = hi + 1;
        hi = lo + step;
        step *= 2;
        rc = probe(ledger, &hi, &record, err);
    }
    /* Behind lo everything may belong to the record, from hi on it does or comes after it. */
    while (!rc && lo < hi) {
        int64_t middle = lo + (hi - lo) / 2, at = middle;
        rc = probe(ledger, &at, &record, err);
        if (record < record_id)
            lo = at + 1;
        else
            hi = middle;
    }
    if (!rc)
        *ret = lo;
    return rc;
}

static enum op_rc record_lo(struct op_ledger *ledger, int64_t record_id, int64_t *ret,
                            struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_RECORD_LO,
                              "SELECT request_lo FROM record WHERE id = ?1", &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, record_id);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "read a record", &row, err);
    if (rc)
        return rc;
    if (row)
        *ret = sqlite3_column_int64(stmt, 0);
    op_sq_done(ledger, stmt);
    if (!row)
        return op_fail(err, OP_NOTFOUND, "there is no record %lld in %s", (long long)record_id,
                       ledger->path);
    return OP_OK;
}

/* A handful of requests: those in order, then the strays, which were added later. */
struct record_walk {
    struct op_request *items;
    size_t count;
    int64_t record_id;
};

static enum op_rc collect(struct op_ledger *ledger, sqlite3_stmt *stmt,
                          struct record_walk *walk, struct op_err *err)
{
    for (;;) {
        bool row = false;
        enum op_rc rc = op_sq_row(ledger, stmt, "list a record's requests", &row, err);
        if (rc)
            return rc;
        /* Column 2 is the record; the first other one ends the run of this one's. */
        if (!row || sqlite3_column_int64(stmt, 2) != walk->record_id)
            break;
        walk->items = op_mem_realloc(walk->items, (walk->count + 1) * sizeof(*walk->items));
        op_sq_request_read(stmt, &walk->items[walk->count++]);
    }
    op_sq_done(ledger, stmt);
    return OP_OK;
}

static enum op_rc collect_record(struct op_ledger *ledger, struct record_walk *walk,
                                 struct op_err *err)
{
    int64_t first = 0;
    enum op_rc rc = record_lo(ledger, walk->record_id, &first, err);
    if (!rc)
        rc = find_first(ledger, first, walk->record_id, &first, err);
    sqlite3_stmt *stmt = NULL;
    if (!rc)
        rc = op_sq_get(ledger, OP_SQ_REQUESTS_RECORD,
                       "SELECT " REQUEST_COLUMNS " FROM request WHERE id >= ?1 AND stray = 0"
                       " ORDER BY id",
                       &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, first);
    rc = collect(ledger, stmt, walk, err);
    if (!rc)
        rc = op_sq_get(ledger, OP_SQ_REQUESTS_STRAY,
                       "SELECT " REQUEST_COLUMNS " FROM request INDEXED BY request_stray"
                       " WHERE stray = 1 AND record_id = ?1 ORDER BY id",
                       &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, walk->record_id);
    return collect(ledger, stmt, walk, err);
}

enum op_rc op_ledger_record_requests(struct op_ledger *ledger, int64_t record_id,
                                     op_request_fn fn, void *arg, struct op_err *err)
{
    struct record_walk walk = {.record_id = record_id};
    enum op_rc rc = collect_record(ledger, &walk, err);
    for (size_t i = 0; i < walk.count && !rc; i++)
        rc = fn(arg, &walk.items[i], err);
    for (size_t i = 0; i < walk.count; i++)
        op_request_release(&walk.items[i]);
    op_mem_free(walk.items);
    return rc;
}

/* --- is there any --------------------------------------------------------------------------- */

#define HAS_OPEN(state)                                                             \
    "SELECT EXISTS(SELECT 1 FROM request INDEXED BY request_open WHERE job_id = ?1" \
    " AND state <> 1 AND state <> 3 AND state = " state ")"

static enum op_rc get_has(struct op_ledger *ledger, enum op_request_state state,
                          sqlite3_stmt **ret, struct op_err *err)
{
    switch (state) {
    case OP_REQUEST_NEW:
        return op_sq_get(ledger, OP_SQ_HAS_NEW, HAS_OPEN("0"), ret, err);
    case OP_REQUEST_WAITING:
        return op_sq_get(ledger, OP_SQ_HAS_WAITING, HAS_OPEN("2"), ret, err);
    case OP_REQUEST_FAILED:
        return op_sq_get(ledger, OP_SQ_HAS_FAILED, HAS_OPEN("4"), ret, err);
    case OP_REQUEST_PACKED:
        /* Through the batches, which know where their members lie. */
        return op_sq_get(ledger, OP_SQ_HAS_PACKED,
                         "SELECT EXISTS(SELECT 1 FROM batch b INDEXED BY batch_job"
                         " CROSS JOIN request r WHERE b.job_id = ?1"
                         " AND b.state NOT IN ('applied','sealed','rejected','unsent',"
                         "'vanished','dropped') AND r.id BETWEEN b.request_lo AND b.request_hi"
                         " AND r.batch_id = b.id AND r.state = 1)",
                         ret, err);
    case OP_REQUEST_DONE:
    case OP_REQUEST_CANCELED:
    case OP_REQUEST_STATE_COUNT:
        break;
    }
    return op_sq_get(ledger, OP_SQ_HAS_OTHER,
                     "SELECT EXISTS(SELECT 1 FROM request WHERE"
                     " id >= (SELECT first_request FROM job WHERE id = ?1)"
                     " AND job_id = ?1 AND state = ?2)",
                     ret, err);
}

enum op_rc op_ledger_job_has(struct op_ledger *ledger, int64_t job_id,
                             enum op_request_state state, bool *ret, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = get_has(ledger, state, &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, job_id);
    if (state == OP_REQUEST_DONE || state == OP_REQUEST_CANCELED)
        op_sq_int(stmt, 2, state);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "look for requests", &row, err);
    if (rc)
        return rc;
    *ret = row && sqlite3_column_int64(stmt, 0) != 0;
    op_sq_done(ledger, stmt);
    return OP_OK;
}
