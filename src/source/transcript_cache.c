/* SPDX-License-Identifier: MIT */
#include "source/transcript_cache.h"

#include <sqlite3.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

enum { FIRST_CELL = 3, BUSY_MS = 2000 };

struct op_transcript_cache {
    sqlite3 *db;
    sqlite3_stmt *find, *add;
    struct op_map seen;
    struct op_value cells[OP_TRANSCRIPT_CELLS];
    bool broken; /* used no more */
};

static bool run(struct op_transcript_cache *cache, const char *sql)
{
    return sqlite3_exec(cache->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static int64_t version_of(struct op_transcript_cache *cache)
{
    sqlite3_stmt *stmt = NULL;
    int64_t version = -1;
    if (sqlite3_prepare_v2(cache->db, "PRAGMA user_version", -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW)
        version = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return version;
}

/* A transaction from here on: all or nothing of a scan is kept, with two flushes. */
static bool ready(struct op_transcript_cache *cache)
{
    OP_CLEANUP(op_buf_release) struct op_buf sql;
    op_buf_init(&sql, 64 * 1024);
    if (!run(cache, "PRAGMA synchronous=NORMAL; BEGIN IMMEDIATE"))
        return false;
    if (version_of(cache) != OP_TRANSCRIPT_VERSION)
        op_buf_addz(&sql, "DROP TABLE IF EXISTS session;");
    op_buf_addz(&sql, "CREATE TABLE IF NOT EXISTS session(path TEXT PRIMARY KEY, size, mtime");
    for (int i = 0; i < OP_TRANSCRIPT_CELLS; i++)
        op_buf_addf(&sql, ", c%d", i);
    op_buf_addf(&sql, "); PRAGMA user_version=%d", OP_TRANSCRIPT_VERSION);
    if (!run(cache, sql.ptr))
        return false;
    op_buf_clear(&sql);
    op_buf_addz(&sql, "INSERT OR REPLACE INTO session VALUES(?,?,?");
    for (int i = 0; i < OP_TRANSCRIPT_CELLS; i++)
        op_buf_addz(&sql, ",?");
    op_buf_addz(&sql, ")");
    return sqlite3_prepare_v2(cache->db, sql.ptr, -1, &cache->add, NULL) == SQLITE_OK &&
           sqlite3_prepare_v2(cache->db,
                              "SELECT * FROM session WHERE path=?1 AND size=?2 AND mtime=?3",
                              -1, &cache->find, NULL) == SQLITE_OK;
}

struct op_transcript_cache *op_transcript_cache_open(const char *path)
{
    struct op_transcript_cache *cache = op_mem_alloc(sizeof(*cache));
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    bool opened = sqlite3_open_v2(path, &cache->db, flags, NULL) == SQLITE_OK;
    sqlite3_busy_timeout(cache->db, BUSY_MS);
    if (opened && ready(cache))
        return cache;
    op_transcript_cache_close(cache);
    return NULL;
}

void op_transcript_cache_close(struct op_transcript_cache *cache)
{
    if (!cache)
        return;
    sqlite3_finalize(cache->find);
    sqlite3_finalize(cache->add);
    if (!cache->broken)
        (void)run(cache, "COMMIT");
    sqlite3_close(cache->db); /* rolls back what is left */
    op_map_release(&cache->seen);
    op_mem_free(cache);
}

static void bind_key(sqlite3_stmt *stmt, const char *path, int64_t size, int64_t mtime_ns)
{
    sqlite3_reset(stmt);
    sqlite3_bind_text(stmt, 1, path, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, size);
    sqlite3_bind_int64(stmt, 3, mtime_ns);
}

const struct op_value *op_transcript_cache_find(struct op_transcript_cache *cache,
                                                const char *path, int64_t size,
                                                int64_t mtime_ns)
{
    if (!cache || cache->broken)
        return NULL;
    bind_key(cache->find, path, size, mtime_ns);
    int code = sqlite3_step(cache->find);
    cache->broken = code != SQLITE_ROW && code != SQLITE_DONE;
    if (code != SQLITE_ROW)
        return NULL;
    for (int i = 0; i < OP_TRANSCRIPT_CELLS; i++) {
        sqlite3_stmt *row = cache->find;
        int at = FIRST_CELL + i;
        struct op_str text = {(const char *)sqlite3_column_text(row, at), 0};
        text.len = (size_t)sqlite3_column_bytes(row, at);
        cache->cells[i] = sqlite3_column_type(row, at) == SQLITE_INTEGER
                              ? op_value_int(sqlite3_column_int64(row, at))
                              : op_value_text(text);
    }
    (void)op_map_add(&cache->seen, op_str_from(path), 0, NULL);
    return cache->cells;
}

void op_transcript_cache_add(struct op_transcript_cache *cache, const char *path, int64_t size,
                             int64_t mtime_ns, const struct op_value *cells)
{
    if (!cache || cache->broken)
        return;
    bind_key(cache->add, path, size, mtime_ns);
    for (int i = 0; i < OP_TRANSCRIPT_CELLS; i++) {
        int at = FIRST_CELL + i + 1;
        if (cells[i].type == OP_VALUE_INT)
            sqlite3_bind_int64(cache->add, at, cells[i].i);
        else if (cells[i].type == OP_VALUE_TEXT)
            sqlite3_bind_text(cache->add, at, cells[i].s.ptr, (int)cells[i].s.len,
                              SQLITE_STATIC);
        else
            sqlite3_bind_null(cache->add, at);
    }
    cache->broken = sqlite3_step(cache->add) != SQLITE_DONE;
    sqlite3_reset(cache->add);
    (void)op_map_add(&cache->seen, op_str_from(path), 0, NULL);
}

void op_transcript_cache_prune(struct op_transcript_cache *cache, const char *folder)
{
    sqlite3_stmt *all = NULL, *drop = NULL;
    if (!cache || cache->broken)
        return;
    sqlite3_reset(cache->find);
    if (sqlite3_prepare_v2(cache->db, "SELECT path FROM session", -1, &all, NULL) ==
            SQLITE_OK &&
        sqlite3_prepare_v2(cache->db, "DELETE FROM session WHERE path=?1", -1, &drop, NULL) ==
            SQLITE_OK) {
        while (sqlite3_step(all) == SQLITE_ROW) {
            struct op_str path = op_str_from((const char *)sqlite3_column_text(all, 0));
            if (!path.ptr || !op_str_starts(path, folder) ||
                op_map_get(&cache->seen, path, NULL))
                continue;
            sqlite3_bind_text(drop, 1, path.ptr, -1, SQLITE_TRANSIENT);
            cache->broken |= sqlite3_step(drop) != SQLITE_DONE;
            sqlite3_reset(drop);
        }
    }
    sqlite3_finalize(all);
    sqlite3_finalize(drop);
}
