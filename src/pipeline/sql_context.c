/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "base/mem.h"
#include "base/time.h"
#include "pipeline/select.h"
#include "pipeline/sql_internal.h"

/*
 * The views: eponymous virtual tables of one row, or none, over the present op_context. Cells are
 * handed to SQLite without a copy, because the context outlives every step until the next set.
 * Each view is one table of columns: its name and how to give its value.
 */

/* --- giving values ------------------------------------------------------------------------ */

static void give(sqlite3_context *c, struct op_str s)
{
    if (s.ptr)
        sqlite3_result_text64(c, s.ptr, s.len, SQLITE_STATIC, SQLITE_UTF8);
}

static void give_z(sqlite3_context *c, const char *text)
{
    give(c, op_str_from(text));
}

static void give_int(sqlite3_context *c, int64_t value)
{
    sqlite3_result_int64(c, value);
}

/* NULL when there is no such time yet. */
static void give_time(sqlite3_context *c, int64_t ms)
{
    char text[OP_TIME_TEXT];
    if (ms <= 0)
        return;
    op_time_format(ms, text);
    sqlite3_result_text(c, text, -1, SQLITE_TRANSIENT);
}

/* As people know it: "batch-7". */
static void give_id(sqlite3_context *c, const char *kind, int64_t id)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "%s-%lld", kind, (long long)id);
    sqlite3_result_text(c, text, len, SQLITE_TRANSIENT);
}

static void give_usage(sqlite3_context *c, const struct op_context *x, enum op_token_kind a,
                       enum op_token_kind b)
{
    if (x->result->has_usage)
        give_int(c, x->result->usage.tokens[a] + (a == b ? 0 : x->result->usage.tokens[b]));
}

static const char *request_name(const struct op_sqlenv *sql)
{
    return sql->plan->def->requests[sql->context.request].name;
}

static const char *provider_of(const struct op_context *x)
{
    return x->lane ? x->lane->provider->name : NULL;
}

/* The model as the provider reports it, else the one that was asked. */
static struct op_str model_of(const struct op_sqlenv *sql)
{
    const struct op_result *result = sql->context.result;
    if (result && result->model.len > 0)
        return result->model;
    return op_str_from(sql->plan->requests[sql->context.request].model);
}

/* --- records ------------------------------------------------------------------------------ */

/* Reads what op_record_write wrote, once per context and only when a query asks. */
static enum op_rc load_record(struct op_sqlenv *sql)
{
    const struct op_context *x = &sql->context;
    struct op_err *err = &sql->pending;
    size_t count = sql->record_column_count;
    for (size_t i = 0; i < count; i++)
        sql->record_cells[i] = op_value_null();
    op_buf_clear(&sql->record_text);
    if (x->record_data && x->record_data(x->record_arg, &sql->record_text, err))
        return err->rc;
    if (op_buf_finish(&sql->record_text, "a record", err))
        return err->rc;
    sql->record_loaded = true;
    if (sql->record_text.len == 0)
        return OP_OK;
    struct op_json root;
    if (op_json_parse(sql->record_parser, sql->record_text.ptr, sql->record_text.len, true,
                      &root, err))
        return op_err_wrap(err, "the ledger's data of record '" OP_STR_FMT "'",
                           OP_STR_ARG(x->key));
    size_t at = 0; /* they were written in the columns' order */
    struct op_json_iter it = op_json_iter(root);
    while (op_json_next(&it)) {
        for (size_t tried = 0; tried < count; tried++, at = at + 1 < count ? at + 1 : 0) {
            if (op_str_is(it.name, sql->record_columns[at])) {
                sql->record_cells[at] = op_record_cell(it.value);
                break;
            }
        }
    }
    return OP_OK;
}

static void give_record(struct op_sqlenv *sql, sqlite3_context *c, int column)
{
    size_t at = (size_t)column;
    if (strcmp(sql->record_columns[at], "key") == 0) {
        give(c, sql->context.key);
        return;
    }
    if (!sql->record_loaded && load_record(sql)) {
        sqlite3_result_error(c, sql->pending.msg, -1);
        return;
    }
    struct op_value v = sql->record_cells[at];
    if (v.type == OP_VALUE_INT)
        give_int(c, v.i);
    else if (v.type == OP_VALUE_DOUBLE)
        sqlite3_result_double(c, v.d);
    else if (v.type == OP_VALUE_TEXT)
        give(c, v.s);
}

/* --- the columns -------------------------------------------------------------------------- */

/* clang-format off: a table */
#define ANSWERS(X)                           \
    X(key, give(c, x->key))                  \
    X(request, give_z(c, request_name(sql))) \
    X(answer, give(c, x->answer))            \
    X(provider, give_z(c, provider_of(x)))   \
    X(model, give(c, model_of(sql)))         \
    X(id, give_int(c, x->request_id))

#define RESULTS(X)                                                                \
    X(key, give(c, x->key))                                                       \
    X(request, give_z(c, request_name(sql)))                                      \
    X(class, give_z(c, op_result_class_name(x->result->class_)))                  \
    X(stop, give(c, x->result->stop))                                             \
    X(provider, give_z(c, provider_of(x)))                                        \
    X(model, give(c, model_of(sql)))                                              \
    X(text, give(c, x->result->text))                                             \
    X(error_type, give(c, x->result->error_type))                                 \
    X(error_message, give(c, x->result->error_message))                           \
    X(problem, give(c, x->problem))                                               \
    X(input_tokens, give_usage(c, x, OP_TOKEN_INPUT, OP_TOKEN_INPUT))             \
    X(cache_write_tokens, give_usage(c, x, OP_TOKEN_WRITE_5M, OP_TOKEN_WRITE_1H)) \
    X(cache_read_tokens, give_usage(c, x, OP_TOKEN_READ, OP_TOKEN_READ))          \
    X(output_tokens, give_usage(c, x, OP_TOKEN_OUTPUT, OP_TOKEN_OUTPUT))          \
    X(microusd, give_int(c, x->microusd))                                         \
    X(line, give(c, x->line))                                                     \
    X(buy_no, give_int(c, x->buy_no))                                             \
    X(id, give_int(c, x->request_id))

#define REQUEST(X)                                             \
    X(name, give_z(c, request_name(sql)))                      \
    X(id, give_int(c, x->request_id))                          \
    X(model, give_z(c, sql->plan->requests[x->request].model)) \
    X(buy_no, give_int(c, x->buy_no))

#define BATCH(X)                                                           \
    X(id, give_id(c, "batch", x->batch->id))                               \
    X(number, give_int(c, x->batch->id))                                   \
    X(provider, give_z(c, provider_of(x)))                                 \
    X(provider_id, give_z(c, x->batch->provider_id))                       \
    X(model, give_z(c, x->batch->model))                                   \
    X(state, give_z(c, op_batch_state_name(x->batch->state)))              \
    X(remote_state, give_z(c, x->batch->remote_state))                     \
    X(requests, give_int(c, x->batch->count))                              \
    X(ok, give_int(c, x->batch->ok))                                       \
    X(failed, give_int(c, x->batch->failed))                               \
    X(absent, give_int(c, x->batch->absent))                               \
    X(accepted_at, give_time(c, x->batch->accepted_ms))                    \
    X(ended_at, give_time(c, x->batch->ended_ms))                          \
    X(expires_at, give_time(c, x->batch->expires_ms))                      \
    X(microusd, give_int(c, x->batch->spent_microusd))                     \
    X(input_tokens, give_int(c, op_usage_prompt(&x->batch->usage)))        \
    X(output_tokens, give_int(c, x->batch->usage.tokens[OP_TOKEN_OUTPUT])) \
    X(evidence, give_z(c, x->batch->evidence))                             \
    X(file, give_z(c, x->batch->file))

#define JOB(X)                                                                  \
    X(id, give_id(c, "job", x->job->id))                                        \
    X(number, give_int(c, x->job->id))                                          \
    X(pipeline, give_z(c, x->job->pipeline))                                    \
    X(state, give_z(c, op_job_state_name(x->job->state)))                       \
    X(reason, give_z(c, x->job->reason))                                        \
    X(params, give_z(c, x->job->params))                                        \
    X(provider, give_z(c, provider_of(x)))                                      \
    X(model, give_z(c, sql->plan->requests[0].model))                           \
    X(round, give_int(c, x->job->round))                                        \
    X(records, give_int(c, x->job->counts.records))                             \
    X(skipped, give_int(c, x->job->counts.skipped))                             \
    X(requests, give_int(c, x->job->counts.requests))                           \
    X(reused, give_int(c, x->job->counts.reused))                               \
    X(done, give_int(c, x->job->counts.done))                                   \
    X(failed, give_int(c, x->job->counts.failed))                               \
    X(canceled, give_int(c, x->job->counts.canceled))                           \
    X(invalid, give_int(c, x->job->counts.invalid))                             \
    X(warnings, give_int(c, x->job->counts.warnings))                           \
    X(reasked, give_int(c, x->job->counts.reasked))                             \
    X(rows, give_int(c, x->job->counts.rows))                                   \
    X(microusd, give_int(c, x->job->counts.spent_microusd))                     \
    X(input_tokens, give_int(c, op_usage_prompt(&x->job->counts.usage)))        \
    X(output_tokens, give_int(c, x->job->counts.usage.tokens[OP_TOKEN_OUTPUT])) \
    X(created_at, give_time(c, x->job->created_ms))                             \
    X(ended_at, give_time(c, x->job->ended_ms))
/* clang-format on */

#define COLUMN_NAME(name, giving) #name,
#define COLUMN_ENUM(name, giving) COLUMN_##name,
#define COLUMN_CASE(name, giving) \
    case COLUMN_##name:           \
        giving;                   \
        break;
#define VIEW(view, COLUMNS)                                                          \
    static const char *const view##_columns[] = {COLUMNS(COLUMN_NAME) NULL};         \
    static void view##_column(struct op_sqlenv *sql, sqlite3_context *c, int column) \
    {                                                                                \
        enum { COLUMNS(COLUMN_ENUM) COLUMN_count };                                  \
        const struct op_context *x = &sql->context;                                  \
        switch (column) {                                                            \
            COLUMNS(COLUMN_CASE)                                                     \
        default:                                                                     \
            (void)sql;                                                               \
            break;                                                                   \
        }                                                                            \
    }

VIEW(answers, ANSWERS)
VIEW(results, RESULTS)
VIEW(request, REQUEST)
VIEW(batch, BATCH)
VIEW(job, JOB)

static bool has_answer(const struct op_context *x)
{
    return x->request >= 0 && x->answer.ptr;
}

static bool has_result(const struct op_context *x)
{
    return x->request >= 0 && x->result;
}

static bool has_request(const struct op_context *x)
{
    return x->request >= 0;
}

static bool has_batch(const struct op_context *x)
{
    return x->batch != NULL;
}

static bool has_job(const struct op_context *x)
{
    return x->job != NULL;
}

static const char *const no_columns[] = {NULL};

struct op_sql_view {
    const char *name;
    const char *const *columns; /* empty: those of the records */
    bool (*has_row)(const struct op_context *x);
    void (*column)(struct op_sqlenv *sql, sqlite3_context *c, int column);
};

static const struct op_sql_view views[OP_SQL_VIEWS] = {
    {"answers", answers_columns, has_answer, answers_column},
    {"results", results_columns, has_result, results_column},
    {"records", no_columns, has_request, give_record},
    {"request", request_columns, has_request, request_column},
    {"batch", batch_columns, has_batch, batch_column},
    {"job", job_columns, has_job, job_column},
};

static const struct op_sql_view *find(const char *name)
{
    for (size_t i = 0; i < OP_COUNT(views); i++)
        if (sqlite3_stricmp(views[i].name, name) == 0)
            return &views[i];
    return NULL;
}

const char *const *op_sqlenv_view_columns(const char *view)
{
    const struct op_sql_view *found = find(view);
    return found                           ? found->columns
           : strcmp(view, "requests") == 0 ? op_sql_requests_columns
                                           : NULL;
}

bool op_sql_is_view(const char *name)
{
    return find(name) != NULL || sqlite3_stricmp(name, "requests") == 0 ||
           sqlite3_stricmp(name, "fuzzy_search") == 0;
}

/* --- as virtual tables -------------------------------------------------------------------- */

/* To SQLite a declaration looks like a change of its schema. */
int op_sql_declare(struct op_sqlenv *sql, const char *create)
{
    bool own = sql->own;
    sql->own = true;
    int code = sqlite3_declare_vtab(sql->db, create);
    sql->own = own;
    if (code == SQLITE_OK)
        (void)sqlite3_vtab_config(sql->db, SQLITE_VTAB_INNOCUOUS);
    return code;
}

/* Columns have no type, so cells keep theirs and comparisons convert nothing. */
int op_sql_declare_columns(struct op_sqlenv *sql, const char *const *columns, size_t count)
{
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, 4 * 1024 * 1024);
    op_buf_addz(&text, "CREATE TABLE x(");
    for (size_t i = 0; i < count; i++) {
        if (i)
            op_buf_addc(&text, ',');
        op_sql_add_name(&text, columns[i]);
    }
    op_buf_addz(&text, ")");
    return op_sql_declare(sql, text.ptr);
}

enum op_rc op_sql_add_module(struct op_sqlenv *sql, const char *name,
                             const sqlite3_module *module, void *arg, struct op_err *err)
{
    if (sqlite3_create_module(sql->db, name, module, arg))
        return op_fail(err, OP_IO, "SQLite: %s", sqlite3_errmsg(sql->db));
    return OP_OK;
}

struct table {
    sqlite3_vtab base;
    struct op_sqlenv *sql;
    const struct op_sql_view *view;
};

struct cursor {
    sqlite3_vtab_cursor base;
    bool end;
};

static int connect(sqlite3 *db, void *arg, int argc, const char *const *argv,
                   sqlite3_vtab **ret, char **ret_error)
{
    const struct op_sqlenv_view *which = arg;
    struct op_sqlenv *sql = which->sql;
    const char *const *columns = which->view->columns;
    size_t count = 0;
    (void)argc;
    (void)argv;
    while (columns[count])
        count++;
    if (count == 0) {
        columns = sql->record_columns;
        count = sql->record_column_count;
    }
    int code = op_sql_declare_columns(sql, columns, count);
    if (code != SQLITE_OK) {
        *ret_error = sqlite3_mprintf("%s", sqlite3_errmsg(db));
        return code;
    }
    struct table *table = op_mem_alloc(sizeof(*table));
    table->sql = sql;
    table->view = which->view;
    *ret = &table->base;
    return SQLITE_OK;
}

static int disconnect(sqlite3_vtab *vtab)
{
    op_mem_free(vtab);
    return SQLITE_OK;
}

static int best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    int64_t rows = ((struct table *)vtab)->sql->view_rows;
    info->estimatedRows = rows;
    info->estimatedCost = (double)rows;
    if (rows == 1)
        info->idxFlags = SQLITE_INDEX_SCAN_UNIQUE;
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *vtab, sqlite3_vtab_cursor **ret)
{
    (void)vtab;
    struct cursor *cursor = op_mem_alloc(sizeof(*cursor));
    *ret = &cursor->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *cursor)
{
    op_mem_free(cursor);
    return SQLITE_OK;
}

static int filter(sqlite3_vtab_cursor *base, int number, const char *text, int argc,
                  sqlite3_value **argv)
{
    const struct table *table = (struct table *)base->pVtab;
    (void)number;
    (void)text;
    (void)argc;
    (void)argv;
    ((struct cursor *)base)->end = !table->view->has_row(&table->sql->context);
    return SQLITE_OK;
}

static int next(sqlite3_vtab_cursor *base)
{
    ((struct cursor *)base)->end = true;
    return SQLITE_OK;
}

static int at_end(sqlite3_vtab_cursor *base)
{
    return ((struct cursor *)base)->end;
}

static int column(sqlite3_vtab_cursor *base, sqlite3_context *c, int column)
{
    const struct table *table = (struct table *)base->pVtab;
    table->view->column(table->sql, c, column);
    return SQLITE_OK;
}

static int rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *ret)
{
    (void)base;
    *ret = 1;
    return SQLITE_OK;
}

static const sqlite3_module module = {
    .xConnect = connect, /* no xCreate: it is there without CREATE, and cannot be created */
    .xBestIndex = best_index,
    .xDisconnect = disconnect,
    .xOpen = open_cursor,
    .xClose = close_cursor,
    .xFilter = filter,
    .xNext = next,
    .xEof = at_end,
    .xColumn = column,
    .xRowid = rowid,
};

enum op_rc op_sql_add_views(struct op_sqlenv *sql, const char *const *columns, size_t count,
                            struct op_err *err)
{
    static const char *const only_key[] = {"key"};
    sql->record_columns = count ? columns : only_key;
    sql->record_column_count = count ? count : 1;
    sql->record_cells = op_mem_array(sql->record_column_count, sizeof(*sql->record_cells));
    sql->record_parser = op_json_parser_new();
    for (size_t i = 0; i < OP_SQL_VIEWS; i++) {
        sql->views[i] = (struct op_sqlenv_view){sql, &views[i]};
        if (op_sql_add_module(sql, views[i].name, &module, &sql->views[i], err))
            return err->rc;
    }
    return op_sql_add_requests(sql, err);
}
