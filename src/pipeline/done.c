/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "pipeline/select_internal.h"
#include "pipeline/sql_internal.h"

/* The keys lie in a private temporary database, which SQLite keeps in memory while it is small. */
struct op_done {
    sqlite3 *db;
    sqlite3_stmt *find;
    int64_t count;
};

#define CACHE "PRAGMA cache_size=-8192; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"

static enum op_rc fail(struct op_done *done, struct op_err *err)
{
    op_err_set(err, OP_IO, "keeping the keys that are done: %s", sqlite3_errmsg(done->db));
    err->native = sqlite3_extended_errcode(done->db);
    return err->rc;
}

static enum op_rc fill(struct op_done *done, struct op_query *query, struct op_err *err)
{
    sqlite3_stmt *add = NULL;
    if (sqlite3_prepare_v2(done->db, "INSERT OR IGNORE INTO done VALUES(?1)", -1, &add, NULL))
        return fail(done, err);
    const struct op_value *cells = NULL;
    char scratch[32];
    enum op_rc rc = OP_OK;
    while (!(rc = op_query_next(query, &cells, err))) {
        struct op_str key = op_value_to_text(cells[0], scratch);
        if (!key.ptr)
            continue;
        sqlite3_bind_text64(add, 1, key.ptr, key.len, SQLITE_STATIC, SQLITE_UTF8);
        if (sqlite3_step(add) != SQLITE_DONE)
            rc = fail(done, err);
        (void)sqlite3_reset(add);
        if (rc)
            break;
        done->count++;
    }
    sqlite3_finalize(add);
    return rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
}

enum op_rc op_done_open(struct op_sqlenv *sql, const struct op_text *text, struct op_done **ret,
                        struct op_err *err)
{
    struct op_query *query = NULL;
    enum op_rc rc = op_query_open(sql, text, &query, err);
    if (rc)
        return rc;
    struct op_done *done = op_mem_alloc(sizeof(*done));
    const char *const *names = NULL;
    if (op_query_columns(query, &names) != 1)
        rc = op_fail(err, OP_INVAL, "%s: 'done' selects one column, the keys that are done",
                     text->place);
    /* The name "" is a private database in a temporary file, only written when it grows. */
    if (!rc &&
        sqlite3_open_v2("", &done->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL))
        rc = fail(done, err);
    if (!rc)
        rc = op_sql_run(done->db,
                        CACHE "CREATE TABLE done(key TEXT PRIMARY KEY) WITHOUT ROWID; BEGIN",
                        "keeping the keys that are done", err);
    if (!rc)
        rc = fill(done, query, err);
    op_query_close(query);
    if (!rc && sqlite3_prepare_v2(done->db, "SELECT 1 FROM done WHERE key = ?1", -1,
                                  &done->find, NULL))
        rc = fail(done, err);
    if (rc) {
        op_done_close(done);
        return rc;
    }
    *ret = done;
    return OP_OK;
}

void op_done_close(struct op_done *done)
{
    if (!done)
        return;
    sqlite3_finalize(done->find);
    sqlite3_close(done->db);
    op_mem_free(done);
}

enum op_rc op_done_has(struct op_done *done, struct op_str key, bool *ret, struct op_err *err)
{
    *ret = false;
    if (done->count == 0)
        return OP_OK;
    sqlite3_bind_text64(done->find, 1, key.ptr, key.len, SQLITE_STATIC, SQLITE_UTF8);
    int code = sqlite3_step(done->find);
    enum op_rc rc = code == SQLITE_ROW || code == SQLITE_DONE ? OP_OK : fail(done, err);
    *ret = code == SQLITE_ROW;
    (void)sqlite3_reset(done->find);
    return rc;
}
