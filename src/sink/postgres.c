/* SPDX-License-Identifier: MIT */

/*
 * Rows into a table by upsert. A frame's payload is one letter a column for the type of its value
 * (i d t b n, as in the sqlite sink) and the row as a line of COPY's text format without its end: the
 * apply workers write it, and delivery passes it on.
 *
 * A chunk of rows is one transaction: COPY into a temporary table with the columns of the target,
 * then one INSERT … SELECT … ON CONFLICT from there. Everything that a chunk needs is made in its
 * transaction, so a pooler between us and the server may give each one another connection.
 */
#include "net/postgres.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sink/common.h"
#include "sink/frame.h"
#include "sink/sink.h"

enum { MAX_SQL = 4 * 1024 * 1024, CHUNK_ROWS = 20000, SEND_BYTES = 256 * 1024 };
enum { CHUNK_BYTES = 32 * 1024 * 1024, KEY_SHOWN = 100 };
/* A server that restarts is back within 0.5 + 1 + 2 + 4 + 8 s; later the engine tries again. */
enum { TRIES = 6, FIRST_WAIT_MS = 500 };

/* The temporary table and its number of the row; no column can have that name. */
#define ROWS   "pg_temp.\"offpeak rows\""
#define NUMBER "\"offpeak row\""

struct postgres_sink {
    struct op_sink base;
    struct op_env *env;
    char *target, *schema, *table;
    bool insert_missing; /* mode: insert_missing */
    char **columns;
    char **types; /* by option types; NULL entries: from the first row */
    size_t column_count;
    size_t *key;
    size_t key_count;
};

static const struct op_sink_option_spec options[] = {
    {"table", "the table (mandatory); it is made when it does not exist"},
    {"schema", "its schema (public), which must exist"},
    {"types",
     "comma list of 'column TYPE' for a table that is made; default: by the first row"},
    {"mode", "upsert (default): a row with the same key is updated; insert_missing: it stays"},
    {NULL, NULL},
};

static bool guess(const char *target)
{
    (void)target; /* a table must be said */
    return false;
}

/* --- encoding --- */

static enum op_rc add_text(struct op_buf *out, struct op_str s, const char *column,
                           struct op_err *err)
{
    if (op_utf8_valid_len(s.ptr, s.len) != s.len)
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT, "column '%s' is not UTF-8", column);
    if (memchr(s.ptr, 0, s.len))
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "column '%s' holds a NUL character, which PostgreSQL cannot store",
                          column);
    const char *begin = s.ptr, *end = s.ptr + s.len;
    for (const char *p = begin; p < end; p++) {
        char code = *p == '\\'   ? '\\'
                    : *p == '\n' ? 'n'
                    : *p == '\r' ? 'r'
                    : *p == '\t' ? 't'
                                 : '\0';
        if (!code)
            continue;
        op_buf_add(out, begin, (size_t)(p - begin));
        op_buf_addc(out, '\\');
        op_buf_addc(out, code);
        begin = p + 1;
    }
    op_buf_add(out, begin, (size_t)(end - begin));
    return OP_OK;
}

static void add_blob(struct op_buf *out, struct op_str s)
{
    static const char digits[] = "0123456789abcdef";
    op_buf_addz(out, "\\\\x");
    for (size_t i = 0; i < s.len; i++) {
        op_buf_addc(out, digits[(unsigned char)s.ptr[i] >> 4]);
        op_buf_addc(out, digits[s.ptr[i] & 15]);
    }
}

static enum op_rc add_cell(struct op_buf *out, struct op_value v, const char *column,
                           struct op_err *err)
{
    switch (v.type) {
    case OP_VALUE_NULL:
        op_buf_addz(out, "\\N");
        return OP_OK;
    case OP_VALUE_INT:
        op_buf_add_int(out, v.i);
        return OP_OK;
    case OP_VALUE_DOUBLE:
        op_buf_addf(out, "%.17g", v.d);
        return OP_OK;
    case OP_VALUE_TEXT:
        return add_text(out, v.s, column, err);
    case OP_VALUE_BLOB:
        add_blob(out, v.s);
        return OP_OK;
    }
    return OP_OK;
}

static enum op_rc encode(const struct op_sink *base, struct op_str path,
                         const struct op_value *cells, struct op_buf *out, struct op_err *err)
{
    static const char letters[] = {[OP_VALUE_NULL] = 'n',
                                   [OP_VALUE_INT] = 'i',
                                   [OP_VALUE_DOUBLE] = 'd',
                                   [OP_VALUE_TEXT] = 't',
                                   [OP_VALUE_BLOB] = 'b'};
    const struct postgres_sink *sink = (const struct postgres_sink *)base;
    struct op_key key;
    (void)path;
    op_key_begin(&key, NULL);
    for (size_t i = 0; i < sink->key_count; i++) {
        /* NULLs are all different to a unique index: such a row would be added every time. */
        if (cells[sink->key[i]].type == OP_VALUE_NULL)
            return op_fail_as(err, OP_INVAL, OP_DISP_REJECT, "the key column '%s' is NULL",
                              sink->columns[sink->key[i]]);
        op_key_add_value(&key, cells[sink->key[i]]);
    }
    size_t start = op_frame_begin(out, OP_STR_NULL);
    for (size_t i = 0; i < sink->column_count; i++)
        op_buf_addc(out, letters[cells[i].type]);
    for (size_t i = 0; i < sink->column_count; i++) {
        if (i > 0)
            op_buf_addc(out, '\t');
        if (add_cell(out, cells[i], sink->columns[i], err)) {
            op_frame_cancel(out, start);
            return err->rc;
        }
    }
    return op_frame_end(out, start, 0, key.hash, err);
}

/* --- statements --- */

struct load {
    const struct postgres_sink *sink;
    const char *outbox;
    struct op_pg pg;
    char *what;                  /* "table 'x'" */
    char *setup, *copy, *insert; /* of a chunk; insert lacks the rows' numbers */
    int64_t at, next, to; /* offsets: of the chunk that is written, behind it, of the end */
    size_t rows;          /* of it */
    bool refused;         /* COPY ended early */
};

static void load_release(struct load *l)
{
    op_pg_close(&l->pg);
    op_mem_free(l->what);
    op_mem_free(l->setup);
    op_mem_free(l->copy);
    op_mem_free(l->insert);
}

static void add_table(struct op_buf *sql, const struct postgres_sink *sink)
{
    op_pg_add_name(sql, sink->schema);
    op_buf_addc(sql, '.');
    op_pg_add_name(sql, sink->table);
}

static void add_columns(struct op_buf *sql, const struct postgres_sink *sink)
{
    for (size_t i = 0; i < sink->column_count; i++) {
        op_buf_addz(sql, i ? ", " : "");
        op_pg_add_name(sql, sink->columns[i]);
    }
}

static void add_key_columns(struct op_buf *sql, const struct postgres_sink *sink)
{
    for (size_t i = 0; i < sink->key_count; i++) {
        op_buf_addz(sql, i ? ", " : "");
        op_pg_add_name(sql, sink->columns[sink->key[i]]);
    }
}

static bool is_key(const struct postgres_sink *sink, size_t column)
{
    for (size_t i = 0; i < sink->key_count; i++)
        if (sink->key[i] == column)
            return true;
    return false;
}

static void add_conflict(struct op_buf *sql, const struct postgres_sink *sink)
{
    op_buf_addz(sql, " ON CONFLICT (");
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
        op_pg_add_name(sql, sink->columns[i]);
        op_buf_addz(sql, " = excluded.");
        op_pg_add_name(sql, sink->columns[i]);
        before = ", ";
    }
}

/* CREATE … AS gives the temporary table the target's types without its constraints: values are
 * read as what they will be. */
static void add_setup(struct op_buf *sql, const struct postgres_sink *sink)
{
    op_buf_addz(sql, "BEGIN; SET LOCAL standard_conforming_strings = on; "
                     "SET LOCAL datestyle = ISO; SET LOCAL timezone = UTC; "
                     "SET LOCAL client_min_messages = error; SET LOCAL search_path = ");
    op_pg_add_name(sql, sink->schema);
    /* Durability point: the engine counts rows as delivered once COMMIT returns, so they must be on
     * the server's disk. A stronger setting than that of the server is left alone. */
    op_buf_addz(sql, "; SELECT pg_catalog.set_config('synchronous_commit', 'on', true) "
                     "WHERE pg_catalog.current_setting('synchronous_commit') = 'off'; "
                     "CREATE TEMPORARY TABLE \"offpeak rows\" ON COMMIT DROP AS SELECT "
                     "0::bigint AS " NUMBER ", ");
    add_columns(sql, sink);
    op_buf_addz(sql, " FROM ");
    add_table(sql, sink);
    op_buf_addz(sql, " WITH NO DATA");
}

/* Of rows with one key in a chunk the last counts (the first, where what is there stays). In the
 * order of the key, so that two writers do not wait for each other crosswise. */
static void add_insert(struct op_buf *sql, const struct postgres_sink *sink)
{
    op_buf_addz(sql, "INSERT INTO ");
    add_table(sql, sink);
    op_buf_addz(sql, " (");
    add_columns(sql, sink);
    op_buf_addz(sql, ") SELECT ");
    add_columns(sql, sink);
    op_buf_addz(sql, " FROM (SELECT DISTINCT ON (");
    add_key_columns(sql, sink);
    op_buf_addz(sql, ") * FROM " ROWS " WHERE " NUMBER " BETWEEN %zu AND %zu ORDER BY ");
    add_key_columns(sql, sink);
    op_buf_addf(sql, ", " NUMBER " %s) AS rows", sink->insert_missing ? "ASC" : "DESC");
    add_conflict(sql, sink);
}

static void add_copy(struct op_buf *sql, const struct postgres_sink *sink)
{
    op_buf_addz(sql, "COPY " ROWS " (" NUMBER ", ");
    add_columns(sql, sink);
    op_buf_addz(sql, ") FROM STDIN");
}

static enum op_rc make_statements(struct load *l, struct op_err *err)
{
    void (*const add[])(struct op_buf *, const struct postgres_sink *) = {add_setup, add_copy,
                                                                          add_insert};
    char **const into[] = {&l->setup, &l->copy, &l->insert};
    OP_CLEANUP(op_buf_release) struct op_buf sql = {0};
    op_buf_init(&sql, MAX_SQL);
    l->what = op_mem_printf("table '%s'", l->sink->table);
    for (size_t i = 0; i < OP_COUNT(add); i++) {
        add[i](&sql, l->sink);
        if (op_buf_finish(&sql, "the statements", err))
            return err->rc;
        *into[i] = op_mem_strndup(sql.ptr, sql.len);
        op_buf_clear(&sql);
    }
    return OP_OK;
}

/* --- the table --- */

static enum op_rc check_columns(struct load *l, const PGresult *there, struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf missing = {0};
    op_buf_init(&missing, MAX_SQL);
    for (size_t i = 0; i < l->sink->column_count; i++) {
        bool found = false;
        for (int j = 0; j < PQntuples(there) && !found; j++)
            found = strcmp(PQgetvalue(there, j, 0), l->sink->columns[i]) == 0;
        if (!found)
            op_buf_addf(&missing, "%s%s", missing.len ? ", " : "", l->sink->columns[i]);
    }
    if (missing.len == 0)
        return OP_OK;
    return op_fail(err, OP_INVAL,
                   "%s, %s lacks columns of the output's rows: %s; add them with ALTER TABLE "
                   "... ADD COLUMN or leave them out of 'rows'",
                   l->pg.where, l->what, missing.ptr);
}

static const char *type_of(char letter)
{
    return letter == 'i'   ? "bigint"
           : letter == 'd' ? "double precision"
           : letter == 'b' ? "bytea"
                           : "text";
}

static enum op_rc fail_frame(const struct load *l, struct op_err *err)
{
    return op_fail(err, OP_IO, "%s: a damaged row in the outbox", l->outbox);
}

static enum op_rc create_table(struct load *l, struct op_str first_row, struct op_err *err)
{
    const struct postgres_sink *sink = l->sink;
    OP_CLEANUP(op_buf_release) struct op_buf sql = {0};
    if (first_row.len < sink->column_count)
        return fail_frame(l, err);
    op_buf_init(&sql, MAX_SQL);
    op_buf_addz(&sql, "CREATE TABLE IF NOT EXISTS ");
    add_table(&sql, sink);
    op_buf_addz(&sql, " (");
    for (size_t i = 0; i < sink->column_count; i++) {
        op_pg_add_name(&sql, sink->columns[i]);
        op_buf_addf(&sql, " %s, ", sink->types[i] ? sink->types[i] : type_of(first_row.ptr[i]));
    }
    op_buf_addz(&sql, "PRIMARY KEY (");
    add_key_columns(&sql, sink);
    op_buf_addz(&sql, "))");
    enum op_rc rc = op_buf_finish(&sql, "the CREATE TABLE statement", err);
    return rc ? rc : op_pg_run(&l->pg, sql.ptr, "cannot make the table", err);
}

/* Makes the table when it is not there, from the first frame. */
static enum op_rc ready_table(struct load *l, struct op_err *err)
{
    PGresult *there = NULL;
    enum op_rc rc = op_pg_columns(&l->pg, l->sink->schema, l->sink->table, &there, err);
    bool exists = there && PQntuples(there) > 0;
    if (!rc && exists)
        rc = check_columns(l, there, err);
    op_pg_clearp(&there);
    if (rc || exists)
        return rc;
    /* The table is gone: what was delivered before goes into the new one. */
    l->at = 0;
    OP_CLEANUP(op_frames_release) struct op_frames frames = {.window = {.fd = -1}};
    struct op_frame_view view;
    rc = op_frames_open(&frames, l->sink->env, l->outbox, 0, l->to, err);
    if (!rc)
        rc = op_frames_next(&frames, &view, err);
    return rc ? rc : create_table(l, view.body, err);
}

/* --- a refused row --- */

/* "id = 7" of the chunk's row with this number, from 1; as COPY writes it. */
static enum op_rc describe_row(const struct load *l, size_t number, struct op_buf *where,
                               struct op_err *err)
{
    const struct postgres_sink *sink = l->sink;
    OP_CLEANUP(op_frames_release) struct op_frames frames = {.window = {.fd = -1}};
    struct op_frame_view view;
    enum op_rc rc = op_frames_open(&frames, sink->env, l->outbox, l->at, l->to, err);
    for (size_t i = 0; !rc && i < number; i++)
        rc = op_frames_next(&frames, &view, err);
    if (rc)
        return rc;
    struct op_str rest = {view.body.ptr + sink->column_count,
                          view.body.len - sink->column_count};
    for (size_t i = 0; i < sink->column_count; i++) {
        struct op_str cell = op_str_cut(&rest, '\t');
        cell.len = cell.len < KEY_SHOWN ? cell.len : KEY_SHOWN;
        if (is_key(sink, i))
            op_buf_addf(where, "%s%s = " OP_STR_FMT, where->len ? ", " : "", sink->columns[i],
                        OP_STR_ARG(cell));
    }
    return OP_OK;
}

static enum op_rc fail_row(const struct load *l, const PGresult *result, size_t number,
                           struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf where = {0};
    op_buf_init(&where, MAX_SQL);
    if (describe_row(l, number, &where, err))
        return err->rc;
    const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
    OP_CLEANUP(op_mem_freep)
    char *doing =
        op_mem_printf("%s refuses the row with %s%s%s%s", l->what, where.ptr ? where.ptr : "",
                      constraint ? " by the constraint '" : "", constraint ? constraint : "",
                      constraint ? "'" : "");
    return op_pg_fail(&l->pg, result, doing, err);
}

static bool is_refusal(const PGresult *result)
{
    return op_pg_is_state(result, "22") || op_pg_is_state(result, "23") ||
           op_pg_is_state(result, "P0001"); /* a trigger's RAISE */
}

/* Inserts the rows of the temporary table from first to last. */
static PGresult *insert(const struct load *l, size_t first, size_t last)
{
    OP_CLEANUP(op_buf_release) struct op_buf sql = {0};
    op_buf_init(&sql, MAX_SQL);
    const char *mark = strstr(l->insert, "%zu AND %zu");
    op_buf_add(&sql, l->insert, (size_t)(mark - l->insert));
    op_buf_addf(&sql, "%zu AND %zu%s", first, last, mark + strlen("%zu AND %zu"));
    return PQexec(l->pg.conn, sql.ptr);
}

/* A statement of many rows was refused, and does not say for which: halves that pass are kept
 * within the transaction (it is rolled back in the end), the one that does not is halved again. */
static enum op_rc find_refused(const struct load *l, struct op_err *err)
{
    size_t first = 1, last = l->rows;
    enum op_rc rc = op_pg_run(&l->pg, "ROLLBACK TO offpeak", l->what, err);
    while (!rc) {
        size_t middle = first + (last - first) / 2;
        PGresult *result = insert(l, first, middle);
        bool good = PQresultStatus(result) == PGRES_COMMAND_OK;
        if (!good && (first == last || !is_refusal(result)))
            rc = is_refusal(result) ? fail_row(l, result, first, err)
                                    : op_pg_fail(&l->pg, result, l->what, err);
        else if (good && middle == last)
            rc = op_fail(err, OP_REMOTE, "%s, %s refused rows and then took them", l->pg.where,
                         l->what);
        PQclear(result);
        if (!rc)
            rc = op_pg_run(&l->pg,
                           good ? "RELEASE offpeak; SAVEPOINT offpeak" : "ROLLBACK TO offpeak",
                           l->what, err);
        first = good ? middle + 1 : first;
        last = good ? last : middle;
    }
    return rc;
}

/* --- a chunk --- */

/* A server that refused a row takes no more: why is known when the COPY is ended. */
static enum op_rc send_rows(struct load *l, struct op_buf *bytes, struct op_err *err)
{
    enum op_rc rc = op_buf_finish(bytes, "rows", err);
    if (!rc && bytes->len > 0)
        l->refused = PQputCopyData(l->pg.conn, bytes->ptr, (int)bytes->len) != 1;
    op_buf_clear(bytes);
    return rc;
}

static enum op_rc copy_frames(struct load *l, struct op_err *err)
{
    OP_CLEANUP(op_frames_release) struct op_frames frames = {.window = {.fd = -1}};
    OP_CLEANUP(op_buf_release) struct op_buf bytes = {0};
    struct op_frame_view view;
    op_buf_init(&bytes, 2 * (size_t)OP_FRAME_MAX);
    enum op_rc rc = op_frames_open(&frames, l->sink->env, l->outbox, l->at, l->to, err);
    l->rows = 0;
    l->next = l->at;
    l->refused = false;
    while (!rc && !l->refused && l->rows < CHUNK_ROWS && l->next - l->at < CHUNK_BYTES) {
        rc = op_frames_next(&frames, &view, err);
        if (rc)
            break;
        if (view.body.len < l->sink->column_count)
            return fail_frame(l, err);
        op_buf_add_int(&bytes, (int64_t)++l->rows);
        op_buf_addc(&bytes, '\t');
        op_buf_add(&bytes, view.body.ptr + l->sink->column_count,
                   view.body.len - l->sink->column_count);
        op_buf_addc(&bytes, '\n');
        l->next = view.offset + OP_FRAME_SIZE + view.head.len;
        if (bytes.len >= SEND_BYTES)
            rc = send_rows(l, &bytes, err);
    }
    if (rc && (rc != OP_NOTFOUND || err->rc))
        return rc;
    return l->refused ? OP_OK : send_rows(l, &bytes, err);
}

/* "COPY offpeak rows, line 3, column x: …", in the server's language: the first number is the
 * row. */
static size_t copied_line(const PGresult *result)
{
    const char *context = PQresultErrorField(result, PG_DIAG_CONTEXT);
    int64_t line = 0;
    context = context ? strpbrk(context, "0123456789") : NULL;
    struct op_str digits = {context, context ? strspn(context, "0123456789") : 0};
    return op_str_int64(digits, &line) && line > 0 ? (size_t)line : 0;
}

static enum op_rc finish_copy(struct load *l, enum op_rc rc, struct op_err *err)
{
    if (PQputCopyEnd(l->pg.conn, rc ? "the outbox cannot be read" : NULL) != 1)
        l->refused = true;
    PGresult *result;
    while ((result = PQgetResult(l->pg.conn))) {
        size_t line = 0;
        if (PQresultStatus(result) == PGRES_FATAL_ERROR && !rc) {
            line = is_refusal(result) ? copied_line(result) : 0;
            rc = line > 0 && line <= l->rows ? fail_row(l, result, line, err)
                                             : op_pg_fail(&l->pg, result, l->what, err);
        }
        bool more = PQresultStatus(result) != PGRES_COPY_IN;
        PQclear(result);
        if (!more)
            break; /* a connection that was lost in the middle says this for ever */
    }
    return !rc && l->refused ? op_pg_fail(&l->pg, NULL, l->what, err) : rc;
}

static enum op_rc copy_rows(struct load *l, struct op_err *err)
{
    PGresult *result = PQexec(l->pg.conn, l->copy);
    enum op_rc rc = PQresultStatus(result) == PGRES_COPY_IN
                        ? OP_OK
                        : op_pg_fail(&l->pg, result, l->what, err);
    PQclear(result);
    if (rc)
        return rc;
    return finish_copy(l, copy_frames(l, err), err);
}

static enum op_rc fail_insert(struct load *l, const PGresult *result, struct op_err *err)
{
    if (is_refusal(result))
        return find_refused(l, err);
    if (!op_pg_is_state(result, "42P10"))
        return op_pg_fail(&l->pg, result, l->what, err);
    OP_CLEANUP(op_buf_release) struct op_buf hint = {0};
    op_buf_init(&hint, MAX_SQL);
    op_buf_addz(&hint, "CREATE UNIQUE INDEX ON ");
    add_table(&hint, l->sink);
    op_buf_addz(&hint, " (");
    add_key_columns(&hint, l->sink);
    return op_fail(err, OP_INVAL,
                   "%s, %s has no unique index on the output's key; make one: %s)", l->pg.where,
                   l->what, hint.ptr);
}

static enum op_rc put_chunk(struct load *l, struct op_err *err)
{
    enum op_rc rc = op_pg_run(&l->pg, l->setup, l->what, err);
    if (!rc)
        rc = copy_rows(l, err);
    if (!rc)
        rc = op_pg_run(&l->pg, "SAVEPOINT offpeak", l->what, err);
    if (rc)
        return rc;
    PGresult *result = insert(l, 1, l->rows);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        rc = fail_insert(l, result, err);
    PQclear(result);
    return rc ? rc : op_pg_run(&l->pg, "COMMIT", "cannot commit", err);
}

static enum op_rc put_all(struct load *l, struct op_err *err)
{
    enum op_rc rc = l->pg.conn ? OP_OK : op_pg_open(&l->pg, l->sink->target, err);
    if (!rc)
        rc = ready_table(l, err);
    while (!rc && l->at < l->to) {
        rc = put_chunk(l, err);
        if (!rc)
            l->at = l->next;
    }
    return rc;
}

static enum op_rc deliver(struct op_sink *base, const char *outbox, int64_t from, int64_t to,
                          bool last, int64_t *ret_delivered, struct op_err *err)
{
    const struct postgres_sink *sink = (const struct postgres_sink *)base;
    OP_CLEANUP(load_release)
    struct load l = {.sink = sink, .outbox = outbox, .at = from, .to = to};
    enum op_rc rc = from < to ? make_statements(&l, err) : OP_OK;
    int64_t wait_ms = FIRST_WAIT_MS;
    (void)last;
    for (int tries = 0; !rc && l.at < l.to;) {
        int64_t before = l.at;
        struct op_err why = OP_ERR_INIT;
        if (!put_all(&l, &why))
            break;
        /* Whether or not a lost COMMIT took effect: the same rows under the same keys again. */
        tries = l.at > before ? 1 : tries + 1;
        wait_ms = l.at > before ? FIRST_WAIT_MS : wait_ms;
        op_pg_close(&l.pg);
        if (why.disp != OP_DISP_RETRY || tries == TRIES) {
            *err = why;
            return err->rc;
        }
        sink->env->ops->sleep_ms(sink->env, wait_ms);
        wait_ms *= 2;
    }
    if (!rc)
        *ret_delivered = to;
    return rc;
}

/* --- life --- */

static void close_postgres(struct op_sink *base)
{
    struct postgres_sink *sink = (struct postgres_sink *)base;
    op_sink_names_free(sink->columns, sink->column_count);
    op_sink_names_free(sink->types, sink->column_count);
    op_mem_free(sink->target);
    op_mem_free(sink->schema);
    op_mem_free(sink->table);
    op_mem_free(sink->key);
    op_mem_free(sink);
}

static void close_postgresp(struct postgres_sink **sink)
{
    if (*sink)
        close_postgres(&(*sink)->base);
}

static enum op_rc read_options(struct postgres_sink *sink, const struct op_sink_config *config,
                               struct op_err *err)
{
    const char *schema = op_sink_option_get(config, "schema", "public");
    if (config->per_row_path)
        return op_fail(err, OP_INVAL,
                       "%s: one database for all rows: its target takes params, no columns",
                       config->place);
    if (!op_pg_is_target(config->target))
        return op_fail(err, OP_INVAL,
                       "%s: a postgres target is a URI like postgresql://USER@HOST/DATABASE, "
                       "'postgresql://' alone for PGHOST and its kin, or env:NAME",
                       config->place);
    if (!op_sink_is_identifier(op_str_from(schema), false))
        return op_fail(err, OP_INVAL,
                       "%s: '%s' is no name for a schema: letters, digits and _, at most 63",
                       config->place, schema);
    sink->schema = op_mem_strdup(schema);
    return op_sink_read_table(config, "postgres", &sink->table, &sink->insert_missing,
                              sink->types, err);
}

static enum op_rc open_postgres(const struct op_sink_config *config, struct op_sink **ret,
                                struct op_err *err)
{
    OP_CLEANUP(close_postgresp) struct postgres_sink *sink = op_mem_alloc(sizeof(*sink));
    sink->base.ops = &op_sink_postgres;
    sink->env = config->env;
    sink->target = op_mem_strdup(config->target);
    sink->columns = op_sink_names_copy(config);
    sink->column_count = config->column_count;
    sink->types = op_mem_array(config->column_count, sizeof(*sink->types));
    enum op_rc rc = op_sink_key_list(config, &sink->key, &sink->key_count, err);
    if (!rc)
        rc = read_options(sink, config, err);
    if (rc)
        return rc;
    *ret = &OP_TAKE(sink)->base;
    return OP_OK;
}

const struct op_sink_ops op_sink_postgres = {
    .kind = "postgres",
    .help = "rows of a table in a PostgreSQL database, inserted or updated by 'key'",
    .options = options,
    .needs_key = true,
    .named = true,
    .guess = guess,
    .reach = op_pg_reach,
    .open = open_postgres,
    .encode = encode,
    .deliver = deliver,
    .close = close_postgres,
};
