/* SPDX-License-Identifier: MIT */
#include <sqlite3.h>

#include "base/buf.h"
#include "base/mem.h"
#include "source/common.h"
#include "source/source.h"

enum { BUSY_MS = 10000, MAX_SQL = 1024 * 1024 };

struct sqlite_source {
    struct op_source base;
    char *path, *what; /* "table 'x'" or "the query" */
    sqlite3 *db;
    sqlite3_stmt *stmt; /* NULL: an optional file or table that is not there */
    struct op_source_names names;
    struct op_value *cells;
};

static const struct op_source_option_spec options[] = {
    {"table", "the table or view to read whole"},
    {"query", "a SELECT, instead of 'table'; it may only read"},
    {"on_error",
     "fail (default) or skip: for sources with malformed rows; a database has none"},
    {"optional",
     "true: a missing file or table is an empty table with the columns of 'columns'"},
    {"columns", "comma list of column names for an optional file or table that is missing"},
    {NULL, NULL},
};

static bool guess(const char *target)
{
    static const char *const suffixes[] = {".db", ".sqlite", ".sqlite3", NULL};
    return op_source_ends_with(target, suffixes);
}

static void close_sqlite(struct op_source *source)
{
    struct sqlite_source *sq = (struct sqlite_source *)source;
    sqlite3_finalize(sq->stmt);
    sqlite3_close(sq->db);
    op_source_names_release(&sq->names);
    op_mem_free(sq->cells);
    op_mem_free(sq->path);
    op_mem_free(sq->what);
    op_mem_free(sq);
}

static void close_sqlitep(struct sqlite_source **sq)
{
    if (*sq)
        close_sqlite(&(*sq)->base);
}

static enum op_rc fail_db(const struct sqlite_source *sq, struct op_err *err)
{
    int code = sqlite3_extended_errcode(sq->db);
    bool busy = (code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED;
    bool sql = (code & 0xff) == SQLITE_ERROR || (code & 0xff) == SQLITE_AUTH ||
               (code & 0xff) == SQLITE_NOTADB;
    op_err_set_as(err, sql ? OP_INVAL : OP_IO, busy ? OP_DISP_RETRY : OP_DISP_FATAL,
                  "%s, %s: %s%s", sq->path, sq->what, sqlite3_errmsg(sq->db),
                  busy ? "; another program holds a lock on it" : "");
    err->native = code;
    return err->rc;
}

/* A query comes from the pipeline's file, but it has no business to do anything but read: no
 * ATTACH of other files, no PRAGMA, no write, no extension. */
static int authorize(void *arg, int action, const char *a, const char *b, const char *db,
                     const char *trigger)
{
    (void)arg;
    (void)a;
    (void)db;
    (void)trigger;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_FUNCTION:
        return b && sqlite3_stricmp(b, "load_extension") == 0 ? SQLITE_DENY : SQLITE_OK;
    default:
        return SQLITE_DENY;
    }
}

/* Appends name as a quoted identifier. */
static void add_quoted(struct op_buf *sql, const char *name)
{
    op_buf_addc(sql, '"');
    for (; *name; name++) {
        if (*name == '"')
            op_buf_addc(sql, '"');
        op_buf_addc(sql, *name);
    }
    op_buf_addc(sql, '"');
}

static void add_table_list(sqlite3 *db, struct op_buf *list)
{
    sqlite3_stmt *stmt = NULL;
    const char *sql = "SELECT name FROM sqlite_schema WHERE type IN ('table','view') "
                      "AND name NOT LIKE 'sqlite_%' ORDER BY name LIMIT 20";
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK) {
        while (sqlite3_step(stmt) == SQLITE_ROW)
            op_buf_addf(list, "%s%s", list->len ? ", " : "",
                        (const char *)sqlite3_column_text(stmt, 0));
    }
    sqlite3_finalize(stmt);
}

static enum op_rc find_table(struct sqlite_source *sq, const char *table, bool *ret_found,
                             struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    const char *sql = "SELECT 1 FROM sqlite_schema WHERE type IN ('table','view') "
                      "AND name = ?1 COLLATE NOCASE";
    int code = sqlite3_prepare_v2(sq->db, sql, -1, &stmt, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
        code = sqlite3_step(stmt);
    }
    *ret_found = code == SQLITE_ROW;
    enum op_rc rc = code == SQLITE_ROW || code == SQLITE_DONE ? OP_OK : fail_db(sq, err);
    sqlite3_finalize(stmt);
    return rc;
}

static enum op_rc prepare(struct sqlite_source *sq, const char *sql, struct op_err *err)
{
    const char *tail = NULL;
    if (sqlite3_prepare_v2(sq->db, sql, -1, &sq->stmt, &tail) != SQLITE_OK)
        return fail_db(sq, err);
    if (!sq->stmt || sqlite3_column_count(sq->stmt) == 0 || !sqlite3_stmt_readonly(sq->stmt))
        return op_fail(err, OP_INVAL, "%s, %s: a SELECT is needed here", sq->path, sq->what);
    struct op_str rest = op_str_trim(op_str_from(tail));
    if (rest.len > 0)
        return op_fail(err, OP_INVAL, "%s, %s: one SELECT, but '" OP_STR_FMT "' follows it",
                       sq->path, sq->what, OP_STR_ARG(rest));
    for (int i = 0; i < sqlite3_column_count(sq->stmt); i++) {
        struct op_str name = op_str_from(sqlite3_column_name(sq->stmt, i));
        enum op_rc rc = op_source_names_add(&sq->names, name, sq->what, err);
        if (rc)
            return op_err_wrap(err, "%s: give the column another name with AS", sq->path);
    }
    return OP_OK;
}

static enum op_rc open_table(struct sqlite_source *sq, const struct op_source_config *config,
                             const char *table, struct op_err *err)
{
    bool found = false, optional = false;
    enum op_rc rc = find_table(sq, table, &found, err);
    if (!rc)
        rc = op_source_flag(config, "optional", false, &optional, err);
    if (rc)
        return rc;
    if (!found && optional)
        return op_source_absent_columns(config, &sq->names, err);
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    op_buf_init(&text, MAX_SQL);
    if (!found) {
        add_table_list(sq->db, &text);
        return op_fail(err, OP_NOTFOUND, "%s has no table '%s'; it has: %s", sq->path, table,
                       text.len ? text.ptr : "none");
    }
    op_buf_addz(&text, "SELECT * FROM ");
    add_quoted(&text, table);
    return prepare(sq, text.ptr, err);
}

static enum op_rc open_query(struct sqlite_source *sq, const char *query, struct op_err *err)
{
    sqlite3_set_authorizer(sq->db, authorize, NULL);
    return prepare(sq, query, err);
}

static enum op_rc open_db(struct sqlite_source *sq, const struct op_source_config *config,
                          struct op_err *err)
{
    if (sqlite3_open_v2(sq->path, &sq->db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        return fail_db(sq, err);
    sqlite3_extended_result_codes(sq->db, 1);
    sqlite3_busy_timeout(sq->db, BUSY_MS);
    const char *table = op_source_option_get(config, "table", NULL);
    return table ? open_table(sq, config, table, err)
                 : open_query(sq, op_source_option_get(config, "query", ""), err);
}

static enum op_rc open_sqlite(const struct op_source_config *config, struct op_source **ret,
                              struct op_err *err)
{
    const char *table = op_source_option_get(config, "table", NULL);
    const char *query = op_source_option_get(config, "query", NULL);
    if (!table == !query)
        return op_fail(err, OP_INVAL,
                       "%s: input '%s': sqlite needs 'table' or 'query', and not both",
                       config->place, config->name);
    bool missing = false;
    enum op_rc rc = op_source_probe(config, &missing, err);
    if (rc)
        return rc;
    OP_CLEANUP(close_sqlitep) struct sqlite_source *sq = op_mem_alloc(sizeof(*sq));
    sq->path = op_mem_strdup(config->target);
    sq->what = table ? op_mem_printf("table '%s'", table) : op_mem_strdup("the query");
    rc = missing ? op_source_absent_columns(config, &sq->names, err) : open_db(sq, config, err);
    if (rc)
        return op_err_wrap(err, "%s: input '%s'", config->place, config->name);
    sq->cells = op_mem_array(sq->names.count, sizeof(*sq->cells));
    sq->base = (struct op_source){.ops = &op_source_sqlite,
                                  .columns = (const char *const *)sq->names.names,
                                  .column_count = sq->names.count};
    *ret = &OP_TAKE(sq)->base;
    return OP_OK;
}

static struct op_value read_cell(sqlite3_stmt *stmt, int column)
{
    const void *ptr;
    switch (sqlite3_column_type(stmt, column)) {
    case SQLITE_INTEGER:
        return op_value_int(sqlite3_column_int64(stmt, column));
    case SQLITE_FLOAT:
        return op_value_double(sqlite3_column_double(stmt, column));
    case SQLITE_TEXT:
        ptr = sqlite3_column_text(stmt, column);
        return op_value_text(
            (struct op_str){ptr ? ptr : "", (size_t)sqlite3_column_bytes(stmt, column)});
    case SQLITE_BLOB:
        ptr = sqlite3_column_blob(stmt, column);
        return (struct op_value){
            .type = OP_VALUE_BLOB,
            .s = {ptr ? ptr : "", (size_t)sqlite3_column_bytes(stmt, column)}};
    default:
        return op_value_null();
    }
}

static enum op_rc next_sqlite(struct op_source *source, const struct op_value **ret_cells,
                              struct op_err *err)
{
    struct sqlite_source *sq = (struct sqlite_source *)source;
    if (!sq->stmt)
        return OP_NOTFOUND;
    int code = sqlite3_step(sq->stmt);
    if (code == SQLITE_DONE) {
        /* Stepping a finished statement would begin it anew. */
        sqlite3_finalize(OP_TAKE(sq->stmt));
        return OP_NOTFOUND;
    }
    if (code != SQLITE_ROW)
        return fail_db(sq, err);
    for (size_t i = 0; i < source->column_count; i++)
        sq->cells[i] = read_cell(sq->stmt, (int)i);
    *ret_cells = sq->cells;
    return OP_OK;
}

const struct op_source_ops op_source_sqlite = {
    .kind = "sqlite",
    .help =
        "a table of an SQLite database, or what a SELECT over it gives; values keep their type",
    .options = options,
    .guess = guess,
    .open = open_sqlite,
    .next = next_sqlite,
    .close = close_sqlite,
};
