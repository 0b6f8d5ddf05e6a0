/* SPDX-License-Identifier: MIT */
#include "sink/sqlite_search.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

enum { SQL_MAX = 256 * 1024 };

static void add_list(struct op_buf *sql, const char *before, const char *const *columns,
                     size_t count)
{
    for (size_t i = 0; i < count; i++)
        op_buf_addf(sql, "%s%s\"%s\"", i ? ", " : "", before, columns[i]);
}

static void add_create(struct op_buf *sql, const char *table, const char *const *columns,
                       size_t count)
{
    op_buf_addf(sql, "CREATE VIRTUAL TABLE \"%s_search\" USING fts5(", table);
    add_list(sql, "", columns, count);
    op_buf_addf(sql,
                ", content=\"%s\", content_rowid=\"rowid\", "
                "tokenize=\"porter unicode61 remove_diacritics 2\")",
                table);
}

static void add_removal(struct op_buf *sql, const char *table, const char *const *columns,
                        size_t count)
{
    op_buf_addf(sql, "INSERT INTO \"%s_search\"(\"%s_search\", rowid, ", table, table);
    add_list(sql, "", columns, count);
    op_buf_addz(sql, ") VALUES('delete', old.rowid, ");
    add_list(sql, "old.", columns, count);
    op_buf_addz(sql, "); ");
}

static void add_entry(struct op_buf *sql, const char *table, const char *const *columns,
                      size_t count)
{
    op_buf_addf(sql, "INSERT INTO \"%s_search\"(rowid, ", table);
    add_list(sql, "", columns, count);
    op_buf_addz(sql, ") VALUES(new.rowid, ");
    add_list(sql, "new.", columns, count);
    op_buf_addz(sql, "); ");
}

static void add_triggers(struct op_buf *sql, const char *table, const char *const *columns,
                         size_t count)
{
    static const char *const events[] = {"INSERT", "UPDATE", "DELETE"};
    for (size_t i = 0; i < OP_COUNT(events); i++) {
        op_buf_addf(sql, "CREATE TRIGGER \"%s_search_%s\" AFTER %s ON \"%s\" BEGIN ", table,
                    events[i], events[i], table);
        if (i > 0)
            add_removal(sql, table, columns, count);
        if (i < 2)
            add_entry(sql, table, columns, count);
        op_buf_addz(sql, "END; ");
    }
}

/* Whether the index is there as it would be made now, with its three triggers. */
static bool is_there(sqlite3 *db, const char *table, const char *create)
{
    static const char look[] =
        "SELECT count(*) = 4 FROM sqlite_schema WHERE (type = 'table' AND sql = ?2) OR "
        "(type = 'trigger' AND tbl_name = ?1 AND name IN "
        "(?1 || '_search_INSERT', ?1 || '_search_UPDATE', ?1 || '_search_DELETE'))";
    sqlite3_stmt *stmt = NULL;
    bool there = false;
    if (sqlite3_prepare_v2(db, look, -1, &stmt, NULL) == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, create, -1, SQLITE_STATIC);
        there = sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_int(stmt, 0);
    }
    sqlite3_finalize(stmt);
    return there;
}

bool op_sqlite_search_ready(sqlite3 *db, const char *table, const char *const *columns,
                            size_t count)
{
    OP_CLEANUP(op_buf_release) struct op_buf create, sql;
    op_buf_init(&create, SQL_MAX);
    op_buf_init(&sql, SQL_MAX);
    add_create(&create, table, columns, count);
    if (is_there(db, table, create.ptr))
        return true;
    /* In one transaction: an index without its triggers would fall behind unseen. */
    op_buf_addf(&sql,
                "BEGIN IMMEDIATE; DROP TRIGGER IF EXISTS \"%s_search_INSERT\"; "
                "DROP TRIGGER IF EXISTS \"%s_search_UPDATE\"; "
                "DROP TRIGGER IF EXISTS \"%s_search_DELETE\"; "
                "DROP TABLE IF EXISTS \"%s_search\"; %s; ",
                table, table, table, table, create.ptr);
    add_triggers(&sql, table, columns, count);
    op_buf_addf(&sql, "INSERT INTO \"%s_search\"(\"%s_search\") VALUES('rebuild'); COMMIT",
                table, table);
    if (sql.failed)
        return false;
    return sqlite3_exec(db, sql.ptr, NULL, NULL, NULL) == SQLITE_OK;
}
