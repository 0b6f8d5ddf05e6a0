/* SPDX-License-Identifier: MIT */

/*
 * Rows into a table by upsert. A frame's payload is the row's cells, each a type byte and
 *     i  integer, zigzag varint      d  double, 8 bytes little endian
 *     t  text, varint length, bytes  b  blob, likewise      n  NULL
 * 50 rows go into one INSERT (about a third faster than one by one), 50,000 into a transaction.
 */
#include <endian.h>
#include <sqlite3.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/sqlite_flush.h"
#include "sink/common.h"
#include "sink/frame.h"
#include "sink/sink.h"
#include "sink/spread.h"
#include "sink/sqlite_search.h"

enum { BUSY_MS = 10000, GROUP_ROWS = 50, COMMIT_ROWS = 50000, MAX_SQL = 4 * 1024 * 1024 };
/* Rows are copied for a group; large ones make smaller groups. */
enum { GROUP_BYTES = 4 * 1024 * 1024 };

struct sqlite_sink {
    struct op_sink base;
    struct op_env *env;
    char *target, *root, *work_dir, *work_name, *table;
    bool per_row_path;
    bool insert_missing; /* mode: insert_missing */
    char **columns;
    char **types; /* by option types; NULL entries: from the first row */
    size_t column_count;
    size_t *key;
    size_t key_count;
    size_t *search; /* columns of the full-text index */
    size_t search_count;
};

static const struct op_sink_option_spec options[] = {
    {"table", "the table (mandatory); it is made when it does not exist"},
    {"types",
     "comma list of 'column TYPE' for a table that is made; default: by the first row"},
    {"mode", "upsert (default): a row with the same key is updated; insert_missing: it stays"},
    {"search",
     "columns of a full-text index (FTS5) that is kept beside the table as TABLE_search"},
    {NULL, NULL},
};

static bool guess(const char *target)
{
    static const char *const suffixes[] = {".db", ".sqlite", ".sqlite3", NULL};
    return op_sink_ends_with(target, suffixes);
}

/* --- encoding --- */

static void add_varint(struct op_buf *out, uint64_t v)
{
    char bytes[10];
    size_t len = 0;
    for (; v >= 0x80; v >>= 7)
        bytes[len++] = (char)(v | 0x80);
    bytes[len++] = (char)v;
    op_buf_add(out, bytes, len);
}

static void add_cell(struct op_buf *out, struct op_value v)
{
    uint64_t bits;
    switch (v.type) {
    case OP_VALUE_NULL:
        op_buf_addc(out, 'n');
        return;
    case OP_VALUE_INT:
        op_buf_addc(out, 'i');
        add_varint(out, (uint64_t)v.i << 1 ^ (uint64_t)(v.i >> 63));
        return;
    case OP_VALUE_DOUBLE:
        op_buf_addc(out, 'd');
        memcpy(&bits, &v.d, sizeof(bits));
        bits = htole64(bits);
        op_buf_add(out, &bits, sizeof(bits));
        return;
    case OP_VALUE_TEXT:
    case OP_VALUE_BLOB:
        op_buf_addc(out, v.type == OP_VALUE_TEXT ? 't' : 'b');
        add_varint(out, v.s.len);
        op_buf_add(out, v.s.ptr, v.s.len);
        return;
    }
}

static enum op_rc encode(const struct op_sink *base, struct op_str path,
                         const struct op_value *cells, struct op_buf *out, struct op_err *err)
{
    const struct sqlite_sink *sink = (const struct sqlite_sink *)base;
    struct op_key key;
    if (!sink->per_row_path)
        path = OP_STR_NULL;
    enum op_rc rc = sink->per_row_path ? op_sink_check_path(sink->root, path, err) : OP_OK;
    if (rc)
        return rc;
    op_key_begin(&key, NULL);
    for (size_t i = 0; i < sink->key_count; i++) {
        /* NULLs are all different to a unique index: such a row would be added every time. */
        if (cells[sink->key[i]].type == OP_VALUE_NULL)
            return op_fail_as(err, OP_INVAL, OP_DISP_REJECT, "the key column '%s' is NULL",
                              sink->columns[sink->key[i]]);
        op_key_add_value(&key, cells[sink->key[i]]);
    }
    size_t start = op_frame_begin(out, path);
    for (size_t i = 0; i < sink->column_count; i++)
        add_cell(out, cells[i]);
    return op_frame_end(out, start, path.len, key.hash, err);
}

static bool take_varint(struct op_str *s, uint64_t *ret)
{
    uint64_t v = 0;
    for (int shift = 0; s->len > 0 && shift < 64; shift += 7) {
        unsigned char byte = (unsigned char)*s->ptr++;
        s->len--;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = v;
            return true;
        }
    }
    return false;
}

static bool take_cell(struct op_str *s, struct op_value *ret)
{
    uint64_t bits;
    if (s->len == 0)
        return false;
    char type = *s->ptr++;
    s->len--;
    switch (type) {
    case 'n':
        *ret = op_value_null();
        return true;
    case 'i':
        if (!take_varint(s, &bits))
            return false;
        *ret = op_value_int((int64_t)(bits >> 1 ^ (0 - (bits & 1))));
        return true;
    case 'd':
        if (s->len < sizeof(bits))
            return false;
        memcpy(&bits, s->ptr, sizeof(bits));
        bits = le64toh(bits);
        *ret = (struct op_value){.type = OP_VALUE_DOUBLE};
        memcpy(&ret->d, &bits, sizeof(bits));
        s->ptr += sizeof(bits);
        s->len -= sizeof(bits);
        return true;
    case 't':
    case 'b':
        if (!take_varint(s, &bits) || bits > s->len)
            return false;
        *ret = (struct op_value){.type = type == 't' ? OP_VALUE_TEXT : OP_VALUE_BLOB,
                                 .s = {s->ptr, (size_t)bits}};
        s->ptr += bits;
        s->len -= (size_t)bits;
        return true;
    default:
        return false;
    }
}

/* --- one database --- */

struct load {
    const struct sqlite_sink *sink;
    const char *path;
    sqlite3 *db;
    sqlite3_stmt *many, *one;
    size_t many_rows;
    struct op_buf bytes; /* the rows of a group */
    size_t ends[GROUP_ROWS];
    size_t rows;
    int64_t uncommitted;
    bool in_transaction;
};

static void load_release(struct load *l)
{
    sqlite3_finalize(l->many);
    sqlite3_finalize(l->one);
    /* Closing rolls back what is not committed. */
    sqlite3_close(l->db);
    op_buf_release(&l->bytes);
}

static enum op_rc fail_db(const struct load *l, const char *doing, struct op_err *err)
{
    int code = l->db ? sqlite3_extended_errcode(l->db) : SQLITE_NOMEM;
    if (op_sqlite_flush_is_full(l->db, code, l->path))
        code = SQLITE_FULL;
    int primary = code & 0xff;
    bool busy = primary == SQLITE_BUSY || primary == SQLITE_LOCKED;
    bool input = primary == SQLITE_ERROR || primary == SQLITE_NOTADB ||
                 primary == SQLITE_READONLY || primary == SQLITE_CONSTRAINT ||
                 primary == SQLITE_MISMATCH || primary == SQLITE_TOOBIG;
    op_err_set_as(err, input ? OP_INVAL : OP_IO, busy ? OP_DISP_RETRY : OP_DISP_FATAL,
                  "%s: %s: %s%s", l->path, doing, l->db ? sqlite3_errmsg(l->db) : "no memory",
                  busy ? "; another program holds a lock on it" : "");
    err->native = code;
    return err->rc;
}

static enum op_rc run(struct load *l, const char *sql, const char *doing, struct op_err *err)
{
    return sqlite3_exec(l->db, sql, NULL, NULL, NULL) == SQLITE_OK ? OP_OK
                                                                   : fail_db(l, doing, err);
}

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

static void add_columns(struct op_buf *sql, const struct sqlite_sink *sink)
{
    for (size_t i = 0; i < sink->column_count; i++) {
        op_buf_addz(sql, i ? "," : "");
        add_quoted(sql, sink->columns[i]);
    }
}

static void add_key_columns(struct op_buf *sql, const struct sqlite_sink *sink)
{
    for (size_t i = 0; i < sink->key_count; i++) {
        op_buf_addz(sql, i ? "," : "");
        add_quoted(sql, sink->columns[sink->key[i]]);
    }
}

static bool is_key(const struct sqlite_sink *sink, size_t column)
{
    for (size_t i = 0; i < sink->key_count; i++) {
        if (sink->key[i] == column)
            return true;
    }
    return false;
}

static enum op_rc open_db(struct load *l, struct op_err *err)
{
    struct op_env *env = l->sink->env;
    OP_CLEANUP(op_mem_freep) char *dir = op_io_dirname(l->path);
    enum op_rc rc = strcmp(dir, ".") == 0 ? OP_OK : op_io_mkdirs(env, dir, err);
    if (rc)
        return op_err_wrap(err, "the folder of %s", l->path);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (sqlite3_open_v2(l->path, &l->db, flags, NULL) != SQLITE_OK)
        return fail_db(l, "cannot open the database", err);
    sqlite3_extended_result_codes(l->db, 1);
    sqlite3_busy_timeout(l->db, BUSY_MS);
    /* The engine counts rows as delivered once this returns: they must be on disk. EXTRA,
     * because in the usual mode the journal's removal is the commit, and only EXTRA syncs the
     * folder: a journal that comes back with a power loss takes the rows away again. The journal
     * mode is the database's own affair. */
    return run(l, "PRAGMA synchronous=EXTRA", "cannot use the database", err);
}

/* Which columns the table has: sets found per column; *ret_exists false when there is no table. */
static enum op_rc read_table(struct load *l, bool *found, bool *ret_exists, struct op_err *err)
{
    const struct sqlite_sink *sink = l->sink;
    sqlite3_stmt *stmt = NULL;
    *ret_exists = false;
    if (sqlite3_prepare_v2(l->db, "SELECT name FROM pragma_table_info(?1)", -1, &stmt, NULL) !=
        SQLITE_OK)
        return fail_db(l, "cannot read the schema", err);
    sqlite3_bind_text(stmt, 1, sink->table, -1, SQLITE_STATIC);
    int code;
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        *ret_exists = true;
        for (size_t i = 0; i < sink->column_count; i++)
            found[i] = found[i] || sqlite3_stricmp(name, sink->columns[i]) == 0;
    }
    sqlite3_finalize(stmt);
    return code == SQLITE_DONE ? OP_OK : fail_db(l, "cannot read the schema", err);
}

static enum op_rc check_columns(struct load *l, const bool *found, struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf missing = {0};
    op_buf_init(&missing, MAX_SQL);
    for (size_t i = 0; i < l->sink->column_count; i++) {
        if (!found[i])
            op_buf_addf(&missing, "%s%s", missing.len ? ", " : "", l->sink->columns[i]);
    }
    if (missing.len == 0)
        return OP_OK;
    return op_fail(err, OP_INVAL,
                   "%s: the table '%s' lacks columns of the output's rows: %s; add them with "
                   "ALTER TABLE ... ADD COLUMN or leave them out of 'rows'",
                   l->path, l->sink->table, missing.ptr);
}

static const char *type_of(struct op_value v)
{
    static const char *const names[] = {[OP_VALUE_NULL] = "",
                                        [OP_VALUE_INT] = " INTEGER",
                                        [OP_VALUE_DOUBLE] = " REAL",
                                        [OP_VALUE_TEXT] = " TEXT",
                                        [OP_VALUE_BLOB] = " BLOB"};
    return names[v.type];
}

static enum op_rc fail_frame(const struct load *l, struct op_err *err)
{
    return op_fail(err, OP_IO, "%s: a damaged row in the outbox", l->path);
}

static enum op_rc create_table(struct load *l, struct op_str first_row, struct op_err *err)
{
    const struct sqlite_sink *sink = l->sink;
    OP_CLEANUP(op_buf_release) struct op_buf sql = {0};
    op_buf_init(&sql, MAX_SQL);
    op_buf_addz(&sql, "CREATE TABLE IF NOT EXISTS ");
    add_quoted(&sql, sink->table);
    /* The index refers to rows by number, which VACUUM keeps only when a column names it. */
    op_buf_addz(&sql, sink->search_count ? "(search_id INTEGER PRIMARY KEY, " : "(");
    for (size_t i = 0; i < sink->column_count; i++) {
        struct op_value v;
        if (!take_cell(&first_row, &v))
            return fail_frame(l, err);
        op_buf_addz(&sql, i ? ", " : "");
        add_quoted(&sql, sink->columns[i]);
        if (sink->types[i])
            op_buf_addf(&sql, " %s", sink->types[i]);
        else
            op_buf_addz(&sql, type_of(v));
    }
    op_buf_addz(&sql, sink->search_count ? ", UNIQUE(" : ", PRIMARY KEY(");
    add_key_columns(&sql, sink);
    op_buf_addz(&sql, "))");
    enum op_rc rc = op_buf_finish(&sql, "the CREATE TABLE statement", err);
    return rc ? rc : run(l, sql.ptr, "cannot make the table", err);
}

static void add_conflict(struct op_buf *sql, const struct sqlite_sink *sink)
{
    op_buf_addz(sql, " ON CONFLICT(");
    add_key_columns(sql, sink);
    op_buf_addz(sql, ") DO ");
    if (sink->insert_missing || sink->key_count == sink->column_count) {
        op_buf_addz(sql, "NOTHING");
        return;
    }
    const char *before = "UPDATE SET ";
    for (size_t i = 0; i < sink->column_count; i++) {
        if (is_key(sink, i))
            continue;
        op_buf_addz(sql, before);
        add_quoted(sql, sink->columns[i]);
        op_buf_addz(sql, "=excluded.");
        add_quoted(sql, sink->columns[i]);
        before = ",";
    }
}

static enum op_rc prepare_rows(struct load *l, size_t rows, sqlite3_stmt **ret,
                               struct op_err *err)
{
    const struct sqlite_sink *sink = l->sink;
    OP_CLEANUP(op_buf_release) struct op_buf sql = {0};
    op_buf_init(&sql, MAX_SQL);
    op_buf_addz(&sql, "INSERT INTO ");
    add_quoted(&sql, sink->table);
    op_buf_addz(&sql, "(");
    add_columns(&sql, sink);
    op_buf_addz(&sql, ") VALUES");
    for (size_t row = 0; row < rows; row++) {
        op_buf_addz(&sql, row ? ",(" : "(");
        for (size_t i = 0; i < sink->column_count; i++)
            op_buf_addz(&sql, i ? ",?" : "?");
        op_buf_addz(&sql, ")");
    }
    add_conflict(&sql, sink);
    enum op_rc rc = op_buf_finish(&sql, "the INSERT statement", err);
    if (rc)
        return rc;
    if (sqlite3_prepare_v3(l->db, sql.ptr, (int)sql.len, SQLITE_PREPARE_PERSISTENT, ret,
                           NULL) == SQLITE_OK)
        return OP_OK;
    if (!strstr(sqlite3_errmsg(l->db), "ON CONFLICT clause does not match"))
        return fail_db(l, "cannot write into the table", err);
    OP_CLEANUP(op_buf_release) struct op_buf key = {0};
    op_buf_init(&key, MAX_SQL);
    add_key_columns(&key, sink);
    return op_fail(err, OP_INVAL,
                   "%s: the table '%s' has no unique index on the output's key; make one: "
                   "CREATE UNIQUE INDEX \"%s_key\" ON \"%s\"(%s)",
                   l->path, sink->table, sink->table, sink->table, key.ptr);
}

static enum op_rc prepare(struct load *l, struct op_err *err)
{
    size_t most = (size_t)sqlite3_limit(l->db, SQLITE_LIMIT_VARIABLE_NUMBER, -1);
    size_t rows = most / l->sink->column_count;
    if (rows == 0)
        return op_fail(err, OP_INVAL, "%s: %zu columns are more than SQLite takes", l->path,
                       l->sink->column_count);
    l->many_rows = rows < GROUP_ROWS ? rows : GROUP_ROWS;
    enum op_rc rc = prepare_rows(l, 1, &l->one, err);
    return rc ? rc : prepare_rows(l, l->many_rows, &l->many, err);
}

/* --- rows --- */

static void bind(sqlite3_stmt *stmt, int at, struct op_value v)
{
    switch (v.type) {
    case OP_VALUE_NULL:
        sqlite3_bind_null(stmt, at);
        return;
    case OP_VALUE_INT:
        sqlite3_bind_int64(stmt, at, v.i);
        return;
    case OP_VALUE_DOUBLE:
        sqlite3_bind_double(stmt, at, v.d);
        return;
    case OP_VALUE_TEXT:
        sqlite3_bind_text64(stmt, at, v.s.ptr, v.s.len, SQLITE_STATIC, SQLITE_UTF8);
        return;
    case OP_VALUE_BLOB:
        sqlite3_bind_blob64(stmt, at, v.s.ptr, v.s.len, SQLITE_STATIC);
        return;
    }
}

static struct op_str row_bytes(const struct load *l, size_t row)
{
    size_t begin = row ? l->ends[row - 1] : 0;
    return (struct op_str){l->bytes.ptr + begin, l->ends[row] - begin};
}

static enum op_rc bind_row(struct load *l, sqlite3_stmt *stmt, size_t row, size_t place,
                           struct op_err *err)
{
    struct op_str bytes = row_bytes(l, row);
    for (size_t i = 0; i < l->sink->column_count; i++) {
        struct op_value v;
        if (!take_cell(&bytes, &v))
            return fail_frame(l, err);
        bind(stmt, (int)(place * l->sink->column_count + i + 1), v);
    }
    return OP_OK;
}

static enum op_rc fail_row(struct load *l, size_t row, struct op_err *err)
{
    const struct sqlite_sink *sink = l->sink;
    OP_CLEANUP(op_buf_release) struct op_buf where = {0};
    op_buf_init(&where, MAX_SQL);
    struct op_str bytes = row_bytes(l, row);
    for (size_t i = 0; i < sink->column_count; i++) {
        struct op_value v;
        char scratch[32];
        if (!take_cell(&bytes, &v))
            return fail_frame(l, err);
        if (!is_key(sink, i))
            continue;
        struct op_str text = op_value_to_text(v, scratch);
        text.len = text.len < 100 ? text.len : 100;
        op_buf_addf(&where, "%s%s = " OP_STR_FMT, where.len ? ", " : "", sink->columns[i],
                    OP_STR_ARG(text));
    }
    OP_CLEANUP(op_mem_freep)
    char *doing = op_mem_printf("table '%s' refuses the row with %s", sink->table, where.ptr);
    return fail_db(l, doing, err);
}

static bool is_refusal(const struct load *l)
{
    int primary = sqlite3_errcode(l->db) & 0xff;
    return primary == SQLITE_CONSTRAINT || primary == SQLITE_MISMATCH ||
           primary == SQLITE_TOOBIG || primary == SQLITE_ERROR;
}

static enum op_rc put_one_by_one(struct load *l, struct op_err *err)
{
    for (size_t row = 0; row < l->rows; row++) {
        enum op_rc rc = bind_row(l, l->one, row, 0, err);
        if (rc)
            return rc;
        int code = sqlite3_step(l->one);
        if (code != SQLITE_DONE)
            rc = is_refusal(l) ? fail_row(l, row, err) : fail_db(l, "cannot write", err);
        sqlite3_reset(l->one);
        if (rc)
            return rc;
    }
    return OP_OK;
}

static enum op_rc put_group(struct load *l, struct op_err *err)
{
    enum op_rc rc = op_buf_finish(&l->bytes, "a group of rows", err);
    if (!rc && !l->in_transaction) {
        rc = run(l, "BEGIN IMMEDIATE", "cannot begin to write", err);
        l->in_transaction = !rc;
    }
    if (!rc && l->rows < l->many_rows) {
        rc = put_one_by_one(l, err);
    } else if (!rc) {
        for (size_t row = 0; !rc && row < l->rows; row++)
            rc = bind_row(l, l->many, row, row, err);
        if (rc)
            return rc;
        int code = sqlite3_step(l->many);
        bool refused = code != SQLITE_DONE && is_refusal(l);
        if (code != SQLITE_DONE && !refused)
            rc = fail_db(l, "cannot write", err);
        sqlite3_reset(l->many);
        /* One row of the group was refused and the statement undone: find out which one. */
        if (refused)
            rc = put_one_by_one(l, err);
    }
    l->uncommitted += (int64_t)l->rows;
    l->rows = 0;
    op_buf_clear(&l->bytes);
    return rc;
}

static enum op_rc commit(struct load *l, struct op_err *err)
{
    if (!l->in_transaction)
        return OP_OK;
    enum op_rc rc = run(l, "COMMIT", "cannot commit", err);
    l->in_transaction = rc != OP_OK;
    l->uncommitted = 0;
    return rc;
}

static enum op_rc put_frames(struct load *l, struct op_frames *frames, struct op_err *err)
{
    struct op_frame_view view;
    enum op_rc rc;
    while (!(rc = op_frames_next(frames, &view, err))) {
        op_buf_add(&l->bytes, view.body.ptr, view.body.len);
        l->ends[l->rows++] = l->bytes.len;
        if (l->rows == l->many_rows || l->bytes.len > GROUP_BYTES)
            rc = put_group(l, err);
        if (!rc && l->uncommitted >= COMMIT_ROWS)
            rc = commit(l, err);
        if (rc)
            return rc;
    }
    if (rc != OP_NOTFOUND)
        return rc;
    rc = l->rows ? put_group(l, err) : OP_OK;
    return rc ? rc : commit(l, err);
}

static enum op_rc ready_search(struct load *l, struct op_err *err)
{
    const struct sqlite_sink *sink = l->sink;
    OP_CLEANUP(op_mem_freep)
    const char **names = op_mem_array(sink->search_count, sizeof(*names));
    for (size_t i = 0; i < sink->search_count; i++)
        names[i] = sink->columns[sink->search[i]];
    if (op_sqlite_search_ready(l->db, sink->table, names, sink->search_count))
        return OP_OK;
    return fail_db(l, "cannot make the full-text index", err);
}

/* Makes the table when it is not there, from the first frame. */
static enum op_rc ready_table(struct load *l, struct op_frames *frames, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) bool *found = op_mem_array(l->sink->column_count, sizeof(*found));
    bool exists = false;
    enum op_rc rc = read_table(l, found, &exists, err);
    if (rc)
        return rc;
    if (exists) {
        rc = check_columns(l, found, err);
    } else {
        struct op_frame_view view;
        /* The table is gone: what was delivered before goes into the new one. */
        if (!frames->list)
            frames->from = 0;
        op_frames_rewind(frames);
        rc = op_frames_next(frames, &view, err);
        if (!rc)
            rc = create_table(l, view.body, err);
        op_frames_rewind(frames);
    }
    if (!rc && l->sink->search_count)
        rc = ready_search(l, err);
    return rc ? rc : prepare(l, err);
}

static enum op_rc load_one(void *arg, const char *path, struct op_frames *frames,
                           struct op_err *err)
{
    OP_CLEANUP(load_release) struct load l = {.sink = arg, .path = path};
    op_buf_init(&l.bytes, 2 * (size_t)OP_FRAME_MAX);
    enum op_rc rc = open_db(&l, err);
    if (!rc)
        rc = ready_table(&l, frames, err);
    return rc ? rc : put_frames(&l, frames, err);
}

static enum op_rc deliver(struct op_sink *base, const char *outbox, int64_t from, int64_t to,
                          bool last, int64_t *ret_delivered, struct op_err *err)
{
    struct sqlite_sink *sink = (struct sqlite_sink *)base;
    OP_CLEANUP(op_frames_release) struct op_frames frames = {.window = {.fd = -1}};
    enum op_rc rc = OP_OK;
    (void)last;
    if (from < to && sink->per_row_path) {
        struct op_spread spread = {sink->env, sink->work_dir, sink->work_name, sink->root};
        rc = op_spread_each(&spread, outbox, from, to, load_one, sink, err);
    } else if (from < to) {
        rc = op_frames_open(&frames, sink->env, outbox, from, to, err);
        if (!rc)
            rc = load_one(sink, sink->target, &frames, err);
    }
    if (!rc)
        *ret_delivered = to;
    return rc;
}

/* --- life --- */

static void close_sqlite(struct op_sink *base)
{
    struct sqlite_sink *sink = (struct sqlite_sink *)base;
    op_sink_names_free(sink->columns, sink->column_count);
    op_sink_names_free(sink->types, sink->column_count);
    op_mem_free(sink->target);
    op_mem_free(sink->root);
    op_mem_free(sink->work_dir);
    op_mem_free(sink->work_name);
    op_mem_free(sink->table);
    op_mem_free(sink->key);
    op_mem_free(sink->search);
    op_mem_free(sink);
}

static void close_sqlitep(struct sqlite_sink **sink)
{
    if (*sink)
        close_sqlite(&(*sink)->base);
}

static enum op_rc open_sqlite(const struct op_sink_config *config, struct op_sink **ret,
                              struct op_err *err)
{
    OP_CLEANUP(close_sqlitep) struct sqlite_sink *sink = op_mem_alloc(sizeof(*sink));
    sink->base.ops = &op_sink_sqlite;
    sink->env = config->env;
    sink->per_row_path = config->per_row_path;
    sink->target = op_mem_strdup(config->target);
    sink->root = op_sink_root_of(config->per_row_path ? config->target : NULL);
    sink->work_dir = op_mem_strdup(config->work_dir ? config->work_dir : ".");
    sink->work_name = op_sink_work_name(config);
    sink->columns = op_sink_names_copy(config);
    sink->column_count = config->column_count;
    sink->types = op_mem_array(config->column_count, sizeof(*sink->types));
    enum op_rc rc = op_sink_key_list(config, &sink->key, &sink->key_count, err);
    if (!rc)
        rc = op_sink_column_list(config, "search", &sink->search, &sink->search_count, err);
    if (!rc)
        rc = op_sink_read_table(config, "sqlite", &sink->table, &sink->insert_missing,
                                sink->types, err);
    if (rc)
        return rc;
    *ret = &OP_TAKE(sink)->base;
    return OP_OK;
}

const struct op_sink_ops op_sink_sqlite = {
    .kind = "sqlite",
    .help = "rows of a table in an SQLite database, inserted or updated by 'key'",
    .options = options,
    .needs_key = true,
    .guess = guess,
    .open = open_sqlite,
    .encode = encode,
    .deliver = deliver,
    .close = close_sqlite,
};
