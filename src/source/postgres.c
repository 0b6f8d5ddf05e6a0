/* SPDX-License-Identifier: MIT */

/*
 * One SELECT in a read-only transaction with one snapshot. It is the query of a cursor, because the
 * grammar of DECLARE CURSOR takes nothing but a SELECT, and the extended protocol nothing but one
 * statement: no COMMIT behind it, no COPY TO PROGRAM, no INSERT in a WITH. The cursor is then fetched
 * whole in single-row mode: the server sends as fast as we read, and one row is in memory.
 */
#include "net/postgres.h"

#include <ctype.h>
#include <stdio.h>

#include "base/mem.h"
#include "source/common.h"
#include "source/source.h"

enum { MAX_SQL = 1024 * 1024, MAX_PARAMS = 1000, TIMEOUT_SECONDS = 600 };

/* Types by their fixed OIDs (src/include/catalog/pg_type.dat of PostgreSQL). */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_OID = 26,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_TIMESTAMP = 1114,
    OID_TIMESTAMPTZ = 1184,
    OID_NUMERIC = 1700,
};

struct postgres_source {
    struct op_source base;
    struct op_pg pg;
    char *what, *place, *name;
    bool open;     /* a cursor is being fetched */
    PGresult *row; /* the one whose cells were handed out */
    Oid *types;
    int64_t number; /* of the row, from 1 */
    struct op_source_names names;
    struct op_value *cells;
};

static const struct op_source_option_spec options[] = {
    {"table", "the table or view to read whole"},
    {"query", "a SELECT, instead of 'table'; it may only read, and name params as :name"},
    {"schema", "the schema that names are looked up in (public)"},
    {"timeout", "seconds that the reading may take (600; 0: any)"},
    {"on_error", "fail (default) or skip: for rows that are no UTF-8 or too large"},
    {"optional", "true: a missing table is an empty table with the columns of 'columns'"},
    {"columns", "comma list of column names for an optional table that is missing"},
    {NULL, NULL},
};

static bool guess(const char *target)
{
    (void)target; /* table or query must be said */
    return false;
}

static void close_postgres(struct op_source *source)
{
    struct postgres_source *s = (struct postgres_source *)source;
    op_pg_clearp(&s->row);
    op_pg_close(&s->pg);
    op_source_names_release(&s->names);
    op_mem_free(s->cells);
    op_mem_free(s->types);
    op_mem_free(s->what);
    op_mem_free(s->place);
    op_mem_free(s->name);
    op_mem_free(s);
}

static void close_postgresp(struct postgres_source **s)
{
    if (*s)
        close_postgres(&(*s)->base);
}

/* --- params by name ----------------------------------------------------------------------- */

struct binding {
    const struct op_source_config *config;
    const char *what;
    struct op_buf sql;
    size_t *params; /* index into config's, of $1, $2, … */
    size_t count;
};

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (c & 0x80);
}

/* What follows the opening quote, up to and with the closing one. */
static const char *skip_quoted(const char *p, char quote, bool escapes)
{
    for (; *p; p++) {
        if (escapes && *p == '\\' && p[1]) {
            p++;
        } else if (*p == quote) {
            if (p[1] != quote)
                return p + 1;
            p++;
        }
    }
    return p;
}

static const char *skip_comment(const char *p)
{
    int depth = 1; /* PostgreSQL's comments nest */
    while (*p && depth > 0) {
        bool opens = p[0] == '/' && p[1] == '*', closes = p[0] == '*' && p[1] == '/';
        depth += opens - closes;
        p += opens || closes ? 2 : 1;
    }
    return p;
}

/* $tag$ … $tag$; p is at the first dollar. Not one: p + 1. */
static const char *skip_dollars(const char *p)
{
    const char *end = p + 1;
    while (is_word(*end))
        end++;
    if (*end != '$' || isdigit((unsigned char)p[1]))
        return p + 1;
    size_t len = (size_t)(end + 1 - p);
    const char *close = memmem(end + 1, strlen(end + 1), p, len);
    return close ? close + len : p + strlen(p);
}

/* The end of what must not be looked into at p, or p itself. */
static const char *skip_opaque(const char *begin, const char *p)
{
    bool word_before = p > begin && is_word(p[-1]);
    if (*p == '\'') {
        bool escapes =
            p > begin && (p[-1] == 'E' || p[-1] == 'e') && (p - 1 == begin || !is_word(p[-2]));
        return skip_quoted(p + 1, '\'', escapes);
    }
    if (*p == '"')
        return skip_quoted(p + 1, '"', false);
    if (p[0] == '-' && p[1] == '-')
        return p + strcspn(p, "\n");
    if (p[0] == '/' && p[1] == '*')
        return skip_comment(p + 2);
    if (*p == '$' && !word_before)
        return skip_dollars(p);
    return p;
}

static enum op_rc add_param(struct binding *b, struct op_str name, struct op_err *err)
{
    const struct op_source_config *config = b->config;
    OP_CLEANUP(op_mem_freep) char *word = op_mem_strndup(name.ptr, name.len);
    size_t at = 0, number = 0;
    while (at < config->param_count && strcmp(config->param_names[at], word) != 0)
        at++;
    if (at == config->param_count) {
        const char *near = op_str_nearest(word, config->param_names, config->param_count);
        return op_fail(err, OP_INVAL, "%s names :%s, which is no param of the pipeline%s%s%s",
                       b->what, word, near ? " (did you mean ':" : "", near ? near : "",
                       near ? "'?)" : "");
    }
    while (number < b->count && b->params[number] != at)
        number++;
    if (number == MAX_PARAMS)
        return op_fail(err, OP_INVAL, "%s names too many params", b->what);
    if (number == b->count) {
        b->params = op_mem_realloc(b->params, (b->count + 1) * sizeof(*b->params));
        b->params[b->count++] = at;
    }
    op_buf_addf(&b->sql, "$%zu", number + 1);
    return OP_OK;
}

/* :name becomes $n, outside of quotes and comments. A colon behind a word, a bracket or another
 * colon is PostgreSQL's own (casts, slices). */
static enum op_rc bind_names(struct binding *b, const char *query, struct op_err *err)
{
    for (const char *p = query; *p;) {
        const char *end = skip_opaque(query, p);
        bool own = p > query && (is_word(p[-1]) || strchr(":)]\"", p[-1]));
        if (end == p && *p == ':' && !own && (isalpha((unsigned char)p[1]) || p[1] == '_')) {
            for (end = p + 1; is_word(*end);)
                end++;
            if (add_param(b, (struct op_str){p + 1, (size_t)(end - p - 1)}, err))
                return err->rc;
        } else {
            end = end == p ? p + 1 : end;
            op_buf_add(&b->sql, p, (size_t)(end - p));
        }
        p = end;
    }
    return op_buf_finish(&b->sql, "the query", err);
}

/* --- opening ------------------------------------------------------------------------------ */

static enum op_rc begin(struct postgres_source *s, const struct op_source_config *config,
                        struct op_err *err)
{
    int64_t seconds = TIMEOUT_SECONDS;
    const char *text = op_source_option_get(config, "timeout", NULL);
    if (text &&
        (!op_str_int64(op_str_from(text), &seconds) || seconds < 0 || seconds > 1000000))
        return op_fail(err, OP_INVAL, "option 'timeout' is a number of seconds, not '%s'",
                       text);
    OP_CLEANUP(op_buf_release) struct op_buf sql = {0};
    op_buf_init(&sql, MAX_SQL);
    op_buf_addz(&sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
                      "SET LOCAL standard_conforming_strings = on; SET LOCAL datestyle = ISO; "
                      "SET LOCAL timezone = UTC; SET LOCAL intervalstyle = postgres; "
                      "SET LOCAL bytea_output = hex; SET LOCAL extra_float_digits = 1; "
                      "SET LOCAL cursor_tuple_fraction = 1; SET LOCAL search_path = ");
    op_pg_add_name(&sql, op_source_option_get(config, "schema", "public"));
    op_buf_addf(&sql, "; SET LOCAL statement_timeout = '%llds'", (long long)seconds);
    enum op_rc rc = op_buf_finish(&sql, "the settings", err);
    return rc ? rc : op_pg_run(&s->pg, sql.ptr, "cannot begin to read", err);
}

static enum op_rc fail_missing(struct postgres_source *s, const char *schema, const char *table,
                               struct op_err *err)
{
    PGresult *list = NULL;
    const char *const values[] = {schema, table};
    /* Tables of the same name elsewhere first. */
    enum op_rc rc =
        op_pg_query(&s->pg,
                    "SELECT coalesce(string_agg(t, ', '), 'none') FROM (SELECT CASE WHEN "
                    "table_schema = $1 THEN table_name ELSE table_schema || '.' || table_name "
                    "END AS t FROM information_schema.tables WHERE table_schema = $1 OR "
                    "table_name = $2 ORDER BY table_name = $2 DESC, table_name LIMIT 20) AS l",
                    values, 2, "cannot list the tables", &list, err);
    if (!rc)
        rc = op_fail(err, OP_NOTFOUND, "%s has no table '%s' in the schema '%s'; there are: %s",
                     s->pg.where, table, schema, PQgetvalue(list, 0, 0));
    op_pg_clearp(&list);
    return rc;
}

static enum op_rc read_columns(struct postgres_source *s, struct op_err *err)
{
    PGresult *described = PQdescribePortal(s->pg.conn, "input");
    enum op_rc rc = PQresultStatus(described) == PGRES_COMMAND_OK
                        ? OP_OK
                        : op_pg_fail(&s->pg, described, s->what, err);
    int count = rc ? 0 : PQnfields(described);
    if (!rc && count == 0)
        rc = op_fail(err, OP_INVAL, "%s, %s: it gives no columns", s->pg.where, s->what);
    s->types = op_mem_array((size_t)count, sizeof(*s->types));
    for (int i = 0; !rc && i < count; i++) {
        s->types[i] = PQftype(described, i);
        rc = op_source_names_add(&s->names, op_str_from(PQfname(described, i)), s->what, err);
        if (rc)
            (void)op_err_wrap(err, "%s: give the column another name with AS", s->pg.where);
    }
    PQclear(described);
    return rc;
}

/* Values go as text of no type: the server takes each as a quoted literal where it stands. */
static enum op_rc declare(struct postgres_source *s, const struct op_source_config *config,
                          const struct binding *b, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char **texts = op_mem_array(b->count + 1, sizeof(*texts));
    for (size_t i = 0; i < b->count; i++) {
        char scratch[32];
        struct op_str text = op_value_to_text(config->param_values[b->params[i]], scratch);
        texts[i] = text.ptr ? op_mem_strndup(text.ptr, text.len) : NULL;
    }
    OP_CLEANUP(op_mem_freep)
    char *sql = op_mem_printf("DECLARE input NO SCROLL CURSOR FOR %s", b->sql.ptr);
    PGresult *result = NULL;
    enum op_rc rc =
        op_pg_query(&s->pg, sql, (const char *const *)texts, b->count, s->what, &result, err);
    op_pg_clearp(&result);
    for (size_t i = 0; i < b->count; i++)
        op_mem_free(texts[i]);
    if (!rc)
        rc = read_columns(s, err);
    if (rc)
        return rc;
    s->open = true;
    if (!PQsendQuery(s->pg.conn, "FETCH ALL FROM input") || !PQsetSingleRowMode(s->pg.conn))
        return op_pg_fail(&s->pg, NULL, s->what, err);
    return OP_OK;
}

static enum op_rc open_query(struct postgres_source *s, const struct op_source_config *config,
                             const char *query, struct op_err *err)
{
    struct binding b = {.config = config, .what = s->what};
    op_buf_init(&b.sql, MAX_SQL);
    enum op_rc rc = bind_names(&b, query, err);
    if (!rc)
        rc = op_pg_open(&s->pg, config->target, err);
    if (!rc)
        rc = begin(s, config, err);
    if (!rc)
        rc = declare(s, config, &b, err);
    op_buf_release(&b.sql);
    op_mem_free(b.params);
    return rc;
}

static enum op_rc open_table(struct postgres_source *s, const struct op_source_config *config,
                             const char *table, struct op_err *err)
{
    const char *schema = op_source_option_get(config, "schema", "public");
    struct binding b = {.config = config, .what = s->what};
    bool optional = false;
    PGresult *columns = NULL;
    enum op_rc rc = op_source_flag(config, "optional", false, &optional, err);
    if (!rc)
        rc = op_pg_open(&s->pg, config->target, err);
    if (!rc)
        rc = begin(s, config, err);
    if (!rc)
        rc = op_pg_columns(&s->pg, schema, table, &columns, err);
    bool found = columns && PQntuples(columns) > 0;
    op_pg_clearp(&columns);
    if (rc)
        return rc;
    if (!found)
        return optional ? op_source_absent_columns(config, &s->names, err)
                        : fail_missing(s, schema, table, err);
    op_buf_init(&b.sql, MAX_SQL);
    op_buf_addz(&b.sql, "SELECT * FROM ");
    op_pg_add_name(&b.sql, schema);
    op_buf_addc(&b.sql, '.');
    op_pg_add_name(&b.sql, table);
    rc = declare(s, config, &b, err);
    op_buf_release(&b.sql);
    return rc;
}

static enum op_rc open_postgres(const struct op_source_config *config, struct op_source **ret,
                                struct op_err *err)
{
    const char *table = op_source_option_get(config, "table", NULL);
    const char *query = op_source_option_get(config, "query", NULL);
    if (!table == !query)
        return op_fail(err, OP_INVAL,
                       "%s: input '%s': postgres needs 'table' or 'query', and not both",
                       config->place, config->name);
    OP_CLEANUP(close_postgresp) struct postgres_source *s = op_mem_alloc(sizeof(*s));
    s->what = table ? op_mem_printf("table '%s'", table) : op_mem_strdup("the query");
    s->place = op_mem_strdup(config->place);
    s->name = op_mem_strdup(config->name);
    enum op_rc rc =
        table ? open_table(s, config, table, err) : open_query(s, config, query, err);
    if (rc)
        return op_err_wrap(err, "%s: input '%s'", config->place, config->name);
    s->cells = op_mem_array(s->names.count, sizeof(*s->cells));
    s->base = (struct op_source){.ops = &op_source_postgres,
                                 .columns = (const char *const *)s->names.names,
                                 .column_count = s->names.count};
    *ret = &OP_TAKE(s)->base;
    return OP_OK;
}

/* --- rows --------------------------------------------------------------------------------- */

static int hex(char c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* "\x0aff"; in place, for the result is ours and the bytes need half the room. */
static struct op_value read_bytea(char *text, size_t len)
{
    size_t n = len >= 2 ? (len - 2) / 2 : 0;
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(hex(text[2 + 2 * i]) << 4 | hex(text[3 + 2 * i]));
    return (struct op_value){.type = OP_VALUE_BLOB, .s = {text, n}};
}

/* "2024-01-02 03:04:05.6+00" to ISO 8601, in place. Infinity and years BC stay as they are. */
static struct op_value read_time(char *text, size_t len, bool zone)
{
    struct op_str s = {text, len};
    char *gap = memchr(text, ' ', len);
    if (gap && !op_str_ends(s, " BC")) {
        *gap = 'T';
        if (zone && op_str_ends(s, "+00")) {
            text[len - 3] = 'Z';
            s.len -= 2;
        }
    }
    return op_value_text(s);
}

static struct op_value read_cell(char *text, size_t len, Oid type)
{
    struct op_str s = {text, len};
    int64_t i;
    double d;
    switch (type) {
    case OID_BOOL:
        return op_value_int(text[0] == 't');
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
    case OID_NUMERIC:
        return op_str_int64(s, &i) ? op_value_int(i) : op_value_text(s);
    case OID_FLOAT4:
    case OID_FLOAT8: /* NaN and infinities are text */
        return op_str_double(s, &d) ? (struct op_value){.type = OP_VALUE_DOUBLE, .d = d}
                                    : op_value_text(s);
    case OID_BYTEA:
        return read_bytea(text, len);
    case OID_TIMESTAMP:
    case OID_TIMESTAMPTZ:
        return read_time(text, len, type == OID_TIMESTAMPTZ);
    default:
        return op_value_text(s);
    }
}

static enum op_rc read_row(struct postgres_source *s, struct op_err *err)
{
    size_t total = 0;
    for (size_t i = 0; i < s->base.column_count; i++) {
        if (PQgetisnull(s->row, 0, (int)i)) {
            s->cells[i] = op_value_null();
            continue;
        }
        size_t len = (size_t)PQgetlength(s->row, 0, (int)i);
        total += len;
        s->cells[i] = read_cell(PQgetvalue(s->row, 0, (int)i), len, s->types[i]);
        struct op_str text = s->cells[i].s;
        /* A database of encoding SQL_ASCII gives whatever was put into it. */
        if (s->cells[i].type == OP_VALUE_TEXT &&
            op_utf8_valid_len(text.ptr, text.len) != text.len)
            return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                              "%s: input '%s': %s, row %lld: column '%s' is not UTF-8",
                              s->place, s->name, s->what, (long long)s->number,
                              s->base.columns[i]);
    }
    if (total > OP_SOURCE_MAX_RECORD)
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "%s: input '%s': %s, row %lld has more than 16 MiB", s->place,
                          s->name, s->what, (long long)s->number);
    return OP_OK;
}

static enum op_rc next_postgres(struct op_source *source, const struct op_value **ret_cells,
                                struct op_err *err)
{
    struct postgres_source *s = (struct postgres_source *)source;
    op_pg_clearp(&s->row);
    s->row = s->open ? PQgetResult(s->pg.conn) : NULL;
    ExecStatusType status = s->row ? PQresultStatus(s->row) : PGRES_TUPLES_OK;
    if (status == PGRES_TUPLES_OK) { /* all rows have come */
        s->open = false;
        return OP_NOTFOUND;
    }
    if (status != PGRES_SINGLE_TUPLE) {
        s->open = false;
        (void)op_pg_fail(&s->pg, s->row, s->what, err);
        return op_err_wrap(err, "%s: input '%s'", s->place, s->name);
    }
    s->number++;
    *ret_cells = s->cells;
    return read_row(s, err);
}

const struct op_source_ops op_source_postgres = {
    .kind = "postgres",
    .help = "a table of a PostgreSQL database, or what a SELECT over it gives",
    .options = options,
    .guess = guess,
    .reach = op_pg_reach,
    .open = open_postgres,
    .next = next_postgres,
    .close = close_postgres,
};
