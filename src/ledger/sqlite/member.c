/* SPDX-License-Identifier: MIT */
#include "base/buf.h"
#include "ledger/sqlite/sqlite.h"

/* The members of a batch: the range of the primary key that it spans, filtered. */
struct range {
    int64_t lo, hi;
    enum op_batch_state state;
};

static enum op_rc batch_range(struct op_ledger *ledger, int64_t batch_id, struct range *ret,
                              struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc =
        op_sq_get(ledger, OP_SQ_BATCH_RANGE,
                  "SELECT request_lo, request_hi, state FROM batch WHERE id = ?1", &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, batch_id);
    bool row = false, known = false;
    rc = op_sq_row(ledger, stmt, "read a batch", &row, err);
    if (rc)
        return rc;
    if (row) {
        char state[32];
        ret->lo = sqlite3_column_int64(stmt, 0);
        ret->hi = sqlite3_column_int64(stmt, 1);
        op_sq_chars(stmt, 2, state, sizeof(state));
        known = op_batch_state_parse(state, &ret->state);
    }
    op_sq_done(ledger, stmt);
    if (!row)
        return op_fail(err, OP_NOTFOUND, "there is no batch %lld in %s", (long long)batch_id,
                       ledger->path);
    if (!known)
        return op_fail(err, OP_IO, "batch %lld in %s has a state this program does not know",
                       (long long)batch_id, ledger->path);
    return OP_OK;
}

enum op_rc op_ledger_batch_requests(struct op_ledger *ledger, int64_t batch_id,
                                    op_request_fn fn, void *arg, struct op_err *err)
{
    struct range range;
    enum op_rc rc = batch_range(ledger, batch_id, &range, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_mem_freep)
    char *sql = op_mem_printf("SELECT %s FROM request WHERE id BETWEEN ?1 AND ?2"
                              " AND batch_id = ?3 AND state = 1 ORDER BY id LIMIT %d",
                              op_sq_request_columns, OP_SQ_PAGE);
    int64_t last = 0;
    do {
        sqlite3_stmt *stmt = NULL;
        rc = op_sq_get(ledger, OP_SQ_BATCH_REQUESTS, sql, &stmt, err);
        if (rc)
            return rc;
        op_sq_int(stmt, 1, last ? last + 1 : range.lo);
        op_sq_int(stmt, 2, range.hi);
        op_sq_int(stmt, 3, batch_id);
        rc = op_sq_request_page(ledger, stmt, fn, arg, &last, err);
    } while (!rc && last);
    return rc;
}

enum op_rc op_ledger_batch_members(struct op_ledger *ledger, int64_t batch_id,
                                   struct op_member **ret, size_t *ret_count,
                                   struct op_err *err)
{
    struct range range;
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = batch_range(ledger, batch_id, &range, err);
    if (!rc)
        rc = op_sq_get(ledger, OP_SQ_BATCH_MEMBERS,
                       "SELECT id, record_id, name, buy_no FROM request"
                       " WHERE id BETWEEN ?1 AND ?2 AND batch_id = ?3 AND state = 1"
                       " ORDER BY id",
                       &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, range.lo);
    op_sq_int(stmt, 2, range.hi);
    op_sq_int(stmt, 3, batch_id);
    size_t count = 0, room = 256;
    OP_CLEANUP(op_mem_freep)
    struct op_member *members = op_mem_array(room, sizeof(*members));
    for (;;) {
        bool row = false;
        rc = op_sq_row(ledger, stmt, "list the members of a batch", &row, err);
        if (rc)
            return rc;
        if (!row)
            break;
        if (count == room)
            members = op_mem_realloc(members, (room *= 2) * sizeof(*members));
        members[count++] = (struct op_member){
            .request_id = sqlite3_column_int64(stmt, 0),
            .record_id = sqlite3_column_int64(stmt, 1),
            .name = sqlite3_column_int(stmt, 2),
            .buy_no = sqlite3_column_int(stmt, 3),
        };
    }
    op_sq_done(ledger, stmt);
    *ret = OP_TAKE(members);
    *ret_count = count;
    return OP_OK;
}

/* How many members from the first on have ascending records that lie close together: reading the
 * few rows between them costs less than to search for each. */
static size_t run_of(const struct op_member *members, size_t count)
{
    int64_t first = members[0].record_id;
    size_t n = 1;
    for (; n < count; n++) {
        int64_t record = members[n].record_id;
        if (record < members[n - 1].record_id || record - first > 4 * (int64_t)n)
            break;
    }
    return n;
}

static enum op_rc fail_record(const struct op_ledger *ledger, int64_t record_id,
                              struct op_err *err)
{
    return op_fail(err, OP_NOTFOUND, "there is no record %lld in %s", (long long)record_id,
                   ledger->path);
}

/* The keys of one run, in one scan. Several members may have one record. */
static enum op_rc scan_keys(struct op_ledger *ledger, const struct op_member *members,
                            size_t count, struct op_buf *keys, size_t *ends, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_MEMBER_KEYS,
                              "SELECT id, key FROM record WHERE id BETWEEN ?1 AND ?2"
                              " ORDER BY id",
                              &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, members[0].record_id);
    op_sq_int(stmt, 2, members[count - 1].record_id);
    size_t at = 0;
    while (at < count) {
        bool row = false;
        rc = op_sq_row(ledger, stmt, "read the keys of records", &row, err);
        if (rc)
            return rc;
        int64_t id = row ? sqlite3_column_int64(stmt, 0) : INT64_MAX;
        if (id > members[at].record_id)
            break;
        for (; at < count && members[at].record_id == id; at++) {
            op_buf_add_str(keys, op_sq_col(stmt, 1));
            ends[at] = keys->len;
        }
    }
    op_sq_done(ledger, stmt);
    return at == count ? OP_OK : fail_record(ledger, members[at].record_id, err);
}

enum op_rc op_ledger_member_keys(struct op_ledger *ledger, const struct op_member *members,
                                 size_t count, size_t max_bytes, struct op_buf *keys,
                                 size_t *ends, size_t *ret_count, struct op_err *err)
{
    /* A scan is short, so that little is read beyond max_bytes and the writer is not held up. */
    enum { SCAN = 128 };
    size_t at = 0, from = keys->len;
    enum op_rc rc = OP_OK;
    while (!rc && at < count && (at == 0 || keys->len - from < max_bytes)) {
        if (!members[at].record_id) {
            ends[at++] = keys->len;
            continue;
        }
        size_t n = run_of(members + at, count - at < SCAN ? count - at : SCAN);
        rc = scan_keys(ledger, members + at, n, keys, ends + at, err);
        at += n;
    }
    if (!rc)
        rc = op_buf_finish(keys, "the keys of records", err);
    if (!rc)
        *ret_count = at;
    return rc;
}

/* A batch whose requests may be asked elsewhere: not bought, or bought and lost for good. */
static bool is_over(enum op_batch_state state)
{
    return state == OP_BATCH_REJECTED || state == OP_BATCH_UNSENT ||
           state == OP_BATCH_VANISHED || state == OP_BATCH_DROPPED;
}

enum op_rc op_ledger_batch_unpack(struct op_ledger *ledger, int64_t batch_id,
                                  enum op_reask reask, bool bought, const char *reason,
                                  int64_t *ret_count, struct op_err *err)
{
    struct range range;
    enum op_rc rc = batch_range(ledger, batch_id, &range, err);
    if (rc)
        return rc;
    if (!is_over(range.state))
        return op_fail(err, OP_CONFLICT,
                       "the requests of batch %lld may not be asked elsewhere while it is %s",
                       (long long)batch_id, op_batch_state_name(range.state));
    sqlite3_stmt *stmt = NULL;
    /* What an earlier answer was found to lack still holds, so the stronger reason stays. */
    rc = op_sq_get_write(ledger, OP_SQ_BATCH_UNPACK,
                         "UPDATE request SET state = 0, batch_id = 0, buy_no = buy_no + ?4,"
                         " reask = max(reask, ?5),"
                         " reason = CASE WHEN ?6 = '' THEN reason ELSE ?6 END"
                         " WHERE id BETWEEN ?1 AND ?2 AND batch_id = ?3 AND state = 1",
                         &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, range.lo);
    op_sq_int(stmt, 2, range.hi);
    op_sq_int(stmt, 3, batch_id);
    op_sq_int(stmt, 4, bought);
    op_sq_int(stmt, 5, reask);
    op_sq_text(stmt, 6, reason);
    return op_sq_run(ledger, stmt, "take a batch's requests back", ret_count, err);
}
