/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "pipeline/sql_internal.h"

struct op_query {
    struct op_sqlenv *sql;
    struct op_text text; /* with a place of its own */
    char *place;
    sqlite3_stmt *stmt;
    char **names;
    struct op_value *cells;
    size_t count;
    bool running;
};

/* --- opening ------------------------------------------------------------------------------ */

static enum op_rc fail_param(const struct op_query *query, const char *name, struct op_err *err)
{
    const struct op_params *params = query->sql->plan->params;
    OP_CLEANUP(op_buf_release) struct op_buf list;
    op_buf_init(&list, 500);
    for (size_t i = 0; i < params->count; i++)
        op_buf_addf(&list, "%s:%s", i ? ", " : "", params->names[i]);
    const char *near = op_str_nearest(name + 1, params->names, params->count);
    return op_fail(err, OP_INVAL, "%s: the SQL uses %s, but there is no such param%s%s%s%s%s",
                   query->place, name, near ? " (did you mean ':" : "", near ? near : "",
                   near ? "'?)" : "", params->count ? "; there are: " : "", list.ptr);
}

static enum op_rc bind_params(struct op_query *query, struct op_err *err)
{
    const struct op_params *params = query->sql->plan->params;
    int count = sqlite3_bind_parameter_count(query->stmt);
    for (int i = 1; i <= count; i++) {
        const char *name = sqlite3_bind_parameter_name(query->stmt, i);
        if (!name || name[0] == '?')
            return op_fail(err, OP_INVAL,
                           "%s: the SQL uses ?, but params go by name: write :name",
                           query->place);
        size_t at = 0;
        while (at < params->count && strcmp(params->names[at], name + 1) != 0)
            at++;
        int64_t round = query->sql->plan->options.round;
        bool own = at == params->count && strcmp(name + 1, "round") == 0;
        if (at == params->count && !own)
            return fail_param(query, name, err);
        struct op_value v = own ? op_value_int(round ? round : 1) : params->values[at];
        int code = SQLITE_OK;
        if (v.type == OP_VALUE_INT)
            code = sqlite3_bind_int64(query->stmt, i, v.i);
        else if (v.type == OP_VALUE_DOUBLE)
            code = sqlite3_bind_double(query->stmt, i, v.d);
        else if (v.type != OP_VALUE_NULL)
            code = sqlite3_bind_text64(query->stmt, i, v.s.ptr, v.s.len, SQLITE_STATIC,
                                       SQLITE_UTF8);
        if (code != SQLITE_OK)
            return op_sql_fail(query->sql, &query->text, err);
    }
    return OP_OK;
}

/* Only white space, comments and semicolons may follow. */
static enum op_rc check_tail(struct op_query *query, const char *tail, struct op_err *err)
{
    const char *end = query->text.text.ptr + query->text.text.len;
    while (tail < end) {
        const char *next = NULL;
        sqlite3_stmt *more = NULL;
        int code = sqlite3_prepare_v2(query->sql->db, tail, (int)(end - tail), &more, &next);
        sqlite3_finalize(more);
        if (code != SQLITE_OK || more) {
            size_t offset = (size_t)(tail - query->text.text.ptr);
            OP_CLEANUP(op_mem_freep) char *place = op_text_place(&query->text, offset);
            struct op_str rest = op_str_trim((struct op_str){tail, (size_t)(end - tail)});
            if (rest.len > 40)
                rest.len = 40;
            return op_fail(err, OP_INVAL,
                           "%s: one SELECT is wanted here, but '" OP_STR_FMT "' follows it",
                           place, OP_STR_ARG(rest));
        }
        tail = next;
    }
    return OP_OK;
}

static enum op_rc prepare(struct op_query *query, struct op_err *err)
{
    struct op_str text = query->text.text;
    const char *tail = NULL;
    if (memchr(text.ptr, '\0', text.len))
        return op_fail(err, OP_INVAL, "%s: the SQL holds a NUL byte", query->place);
    if (sqlite3_prepare_v3(query->sql->db, text.ptr, (int)text.len, SQLITE_PREPARE_PERSISTENT,
                           &query->stmt, &tail) != SQLITE_OK)
        return op_sql_fail(query->sql, &query->text, err);
    if (!query->stmt || sqlite3_column_count(query->stmt) == 0 ||
        !sqlite3_stmt_readonly(query->stmt) || sqlite3_stmt_isexplain(query->stmt))
        return op_fail(err, OP_INVAL, "%s: a SELECT is wanted here", query->place);
    enum op_rc rc = check_tail(query, tail, err);
    return rc ? rc : bind_params(query, err);
}

enum op_rc op_query_open(struct op_sqlenv *sql, const struct op_text *text,
                         struct op_query **ret, struct op_err *err)
{
    struct op_query *query = op_mem_alloc(sizeof(*query));
    query->sql = sql;
    query->place = op_mem_strdup(text->place ? text->place : "SQL");
    query->text = (struct op_text){text->text.ptr ? text->text : OP_STR(""), query->place};
    enum op_rc rc = prepare(query, err);
    if (rc) {
        op_query_close(query);
        return rc;
    }
    query->count = (size_t)sqlite3_column_count(query->stmt);
    query->names = op_mem_array(query->count + 1, sizeof(*query->names));
    query->cells = op_mem_array(query->count + 1, sizeof(*query->cells));
    for (size_t i = 0; i < query->count; i++)
        query->names[i] = op_mem_strdup(sqlite3_column_name(query->stmt, (int)i));
    *ret = query;
    return OP_OK;
}

void op_query_close(struct op_query *query)
{
    if (!query)
        return;
    sqlite3_finalize(query->stmt);
    for (size_t i = 0; i < query->count; i++)
        op_mem_free(query->names[i]);
    op_mem_free(query->names);
    op_mem_free(query->cells);
    op_mem_free(query->place);
    op_mem_free(query);
}

size_t op_query_columns(const struct op_query *query, const char *const **ret_names)
{
    *ret_names = (const char *const *)query->names;
    return query->count;
}

const char *op_query_place(const struct op_query *query)
{
    return query->place;
}

enum op_rc op_query_distinct(const struct op_query *query, struct op_err *err)
{
    for (size_t i = 0; i < query->count; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(query->names[i], query->names[k]) == 0)
                return op_fail(err, OP_INVAL,
                               "%s: two columns have the name '%s': give one another name "
                               "with AS",
                               query->place, query->names[i]);
    return OP_OK;
}

/* --- running ------------------------------------------------------------------------------ */

struct op_value op_sql_column(sqlite3_stmt *stmt, int ix)
{
    struct op_value v = op_value_null();
    int type = sqlite3_column_type(stmt, ix);
    if (type == SQLITE_INTEGER)
        return op_value_int(sqlite3_column_int64(stmt, ix));
    if (type == SQLITE_FLOAT)
        return op_value_double(sqlite3_column_double(stmt, ix));
    if (type == SQLITE_NULL)
        return v;
    /* As a blob: asking for text would make SQLite copy what lacks a final NUL. */
    v.type = type == SQLITE_TEXT ? OP_VALUE_TEXT : OP_VALUE_BLOB;
    v.s.ptr = sqlite3_column_blob(stmt, ix);
    v.s.len = (size_t)sqlite3_column_bytes(stmt, ix);
    if (!v.s.ptr)
        v.s = OP_STR("");
    return v;
}

enum op_rc op_query_next(struct op_query *query, const struct op_value **ret_cells,
                         struct op_err *err)
{
    int code = sqlite3_step(query->stmt);
    query->running = code == SQLITE_ROW;
    if (code == SQLITE_DONE) {
        (void)sqlite3_reset(query->stmt);
        return OP_NOTFOUND;
    }
    if (code != SQLITE_ROW) {
        enum op_rc rc = op_sql_fail(query->sql, &query->text, err);
        (void)sqlite3_reset(query->stmt);
        return rc;
    }
    for (size_t i = 0; i < query->count; i++)
        query->cells[i] = op_sql_column(query->stmt, (int)i);
    *ret_cells = query->cells;
    return OP_OK;
}

void op_query_reset(struct op_query *query)
{
    if (query->running)
        (void)sqlite3_reset(query->stmt);
    query->running = false;
}

bool op_sql_true(struct op_value v)
{
    double d = 0;
    switch (v.type) {
    case OP_VALUE_INT:
        return v.i != 0;
    case OP_VALUE_DOUBLE:
        return v.d < 0 || v.d > 0;
    case OP_VALUE_TEXT:
    case OP_VALUE_BLOB:
        return op_str_double(op_str_trim(v.s), &d) && (d < 0 || d > 0);
    case OP_VALUE_NULL:
        break;
    }
    return false;
}

void op_sql_add_name(struct op_buf *out, const char *name)
{
    op_buf_addc(out, '"');
    for (; *name; name++) {
        if (*name == '"')
            op_buf_addc(out, '"');
        op_buf_addc(out, *name);
    }
    op_buf_addc(out, '"');
}
