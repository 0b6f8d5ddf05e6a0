/* SPDX-License-Identifier: MIT */
#include "engine/import_index.h"

#include <sqlite3.h>
#include <unistd.h>

#include "base/mem.h"

struct op_import_index {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *add, *map, *find, *use;
};

static const char schema[] =
    "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8000;"
    "CREATE TABLE line(id TEXT NOT NULL, source INTEGER NOT NULL, file INTEGER NOT NULL,"
    " at INTEGER NOT NULL, len INTEGER NOT NULL, class INTEGER NOT NULL,"
    " used INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE map(id TEXT NOT NULL, key TEXT NOT NULL, request TEXT NOT NULL) STRICT;"
    "BEGIN;";

/* The classes that hold no answer: states.h, errored to absent. */
#define FIND                                                                             \
    "WITH named(id) AS (SELECT ?2 UNION SELECT ?1 WHERE ?4"                              \
    " UNION SELECT id FROM map WHERE key = ?1 AND request IN ('', ?3)),"                 \
    " found AS (SELECT line.rowid AS row, line.* FROM named CROSS JOIN line USING (id))" \
    " SELECT row, source, file, at, len, class FROM found WHERE source ="                \
    " (SELECT source FROM found ORDER BY class >= 3, source LIMIT 1) ORDER BY row"

static enum op_rc fail(struct op_import_index *index, struct op_err *err)
{
    return op_fail(err, OP_IO, "%s: %s", index->path, sqlite3_errmsg(index->db));
}

static enum op_rc prepare(struct op_import_index *index, const char *sql, sqlite3_stmt **ret,
                          struct op_err *err)
{
    return sqlite3_prepare_v2(index->db, sql, -1, ret, NULL) ? fail(index, err) : OP_OK;
}

enum op_rc op_import_index_open(const char *path, struct op_import_index **ret,
                                struct op_err *err)
{
    OP_CLEANUP(op_import_index_closep)
    struct op_import_index *index = op_mem_alloc(sizeof(*index));
    index->path = op_mem_strdup(path);
    (void)unlink(path); /* of a crash */
    if (sqlite3_open_v2(path, &index->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) ||
        sqlite3_exec(index->db, schema, NULL, NULL, NULL))
        return fail(index, err);
    enum op_rc rc =
        prepare(index, "INSERT INTO line VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)", &index->add, err);
    if (!rc)
        rc = prepare(index, "INSERT INTO map VALUES (?1, ?2, ?3)", &index->map, err);
    if (rc)
        return rc;
    *ret = OP_TAKE(index);
    return OP_OK;
}

void op_import_index_close(struct op_import_index *index)
{
    if (!index)
        return;
    sqlite3_finalize(index->add);
    sqlite3_finalize(index->map);
    sqlite3_finalize(index->find);
    sqlite3_finalize(index->use);
    (void)sqlite3_close(index->db);
    (void)unlink(index->path);
    op_mem_free(index->path);
    op_mem_free(index);
}

void op_import_index_closep(struct op_import_index **index)
{
    op_import_index_close(*index);
    *index = NULL;
}

static void bind(sqlite3_stmt *stmt, int at, struct op_str text)
{
    (void)sqlite3_bind_text64(stmt, at, text.ptr ? text.ptr : "", text.len, SQLITE_STATIC,
                              SQLITE_UTF8);
}

static enum op_rc run(struct op_import_index *index, sqlite3_stmt *stmt, struct op_err *err)
{
    int step = sqlite3_step(stmt);
    (void)sqlite3_reset(stmt);
    return step == SQLITE_DONE ? OP_OK : fail(index, err);
}

enum op_rc op_import_index_add(struct op_import_index *index, struct op_str id,
                               const struct op_import_line *line, struct op_err *err)
{
    bind(index->add, 1, id);
    (void)sqlite3_bind_int64(index->add, 2, line->source);
    (void)sqlite3_bind_int64(index->add, 3, line->file);
    (void)sqlite3_bind_int64(index->add, 4, line->offset);
    (void)sqlite3_bind_int64(index->add, 5, line->len);
    (void)sqlite3_bind_int64(index->add, 6, (int64_t)line->class_);
    return run(index, index->add, err);
}

enum op_rc op_import_index_map(struct op_import_index *index, struct op_str id,
                               struct op_str key, struct op_str request, struct op_err *err)
{
    bind(index->map, 1, id);
    bind(index->map, 2, key);
    bind(index->map, 3, request);
    return run(index, index->map, err);
}

enum op_rc op_import_index_finish(struct op_import_index *index, struct op_err *err)
{
    if (sqlite3_exec(index->db,
                     "CREATE INDEX line_id ON line(id); CREATE INDEX map_key ON map(key);",
                     NULL, NULL, NULL))
        return fail(index, err);
    enum op_rc rc = prepare(index, FIND, &index->find, err);
    return rc ? rc
              : prepare(index, "UPDATE line SET used = 1 WHERE rowid = ?1", &index->use, err);
}

struct taken {
    struct op_import_line *lines;
    int64_t *rows;
    size_t count;
};

static enum op_rc look_up(struct op_import_index *index, struct taken *taken,
                          struct op_err *err)
{
    int step;
    while ((step = sqlite3_step(index->find)) == SQLITE_ROW) {
        size_t n = taken->count++;
        taken->lines = op_mem_realloc(taken->lines, taken->count * sizeof(*taken->lines));
        taken->rows = op_mem_realloc(taken->rows, taken->count * sizeof(*taken->rows));
        taken->rows[n] = sqlite3_column_int64(index->find, 0);
        taken->lines[n] = (struct op_import_line){
            .source = sqlite3_column_int64(index->find, 1),
            .file = sqlite3_column_int64(index->find, 2),
            .offset = sqlite3_column_int64(index->find, 3),
            .len = sqlite3_column_int64(index->find, 4),
            .class_ = (enum op_result_class)sqlite3_column_int(index->find, 5)};
    }
    (void)sqlite3_reset(index->find);
    return step == SQLITE_DONE ? OP_OK : fail(index, err);
}

enum op_rc op_import_index_take(struct op_import_index *index, struct op_str key,
                                const char *request, bool alone, op_import_line_fn fn,
                                void *arg, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep)
    char *both = op_mem_printf(OP_STR_FMT "#%s", OP_STR_ARG(key), request);
    struct taken taken = {0};
    bind(index->find, 1, key);
    bind(index->find, 2, op_str_from(both));
    bind(index->find, 3, op_str_from(request));
    (void)sqlite3_bind_int(index->find, 4, alone);
    enum op_rc rc = look_up(index, &taken, err);
    for (size_t i = 0; !rc && i < taken.count; i++) {
        (void)sqlite3_bind_int64(index->use, 1, taken.rows[i]);
        rc = run(index, index->use, err);
    }
    for (size_t i = 0; !rc && i < taken.count; i++)
        rc = fn(arg, &taken.lines[i], err);
    op_mem_free(taken.lines);
    op_mem_free(taken.rows);
    return rc;
}

enum op_rc op_import_index_unused(struct op_import_index *index, struct op_buf *text,
                                  size_t room, int64_t *ret_count, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = prepare(index,
                            "SELECT id FROM line GROUP BY id HAVING max(used) = 0"
                            " ORDER BY min(rowid)",
                            &stmt, err);
    int step = SQLITE_DONE;
    *ret_count = 0;
    while (!rc && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *id = (const char *)sqlite3_column_text(stmt, 0);
        size_t len = (size_t)sqlite3_column_bytes(stmt, 0);
        ++*ret_count;
        if (text->len + len < room) {
            op_buf_add(text, id, len);
            op_buf_addc(text, '\n');
        }
    }
    if (!rc && step != SQLITE_DONE)
        rc = fail(index, err);
    sqlite3_finalize(stmt);
    return rc;
}
