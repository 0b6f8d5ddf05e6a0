/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "pipeline/sql_internal.h"

/* The view `requests`, where a job or a batch changes its state: each request of the job, fetched
 * from the ledger as it is read; and the views that the pipeline itself defines. */

struct table {
    sqlite3_vtab base;
    struct op_sqlenv *sql;
};

struct cursor {
    sqlite3_vtab_cursor base;
    int64_t batch; /* 0: of any */
    struct op_context_request row;
    struct op_buf key, reason;
    bool end;
};

enum {
    COLUMN_KEY,
    COLUMN_REQUEST,
    COLUMN_ID,
    COLUMN_STATE,
    COLUMN_BATCH,
    COLUMN_BUY_NO,
    COLUMN_REASON,
    COLUMN_RECORD
};

const char *const op_sql_requests_columns[] = {
    "key", "request", "id", "state", "batch", "buy_no", "reason", "record", NULL,
};

static int connect(sqlite3 *db, void *arg, int argc, const char *const *argv,
                   sqlite3_vtab **ret, char **ret_error)
{
    struct op_sqlenv *sql = arg;
    (void)db;
    (void)argc;
    (void)argv;
    (void)ret_error;
    int code = op_sql_declare_columns(sql, op_sql_requests_columns, COLUMN_RECORD + 1);
    if (code != SQLITE_OK)
        return code;
    struct table *table = op_mem_alloc(sizeof(*table));
    table->sql = sql;
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
    (void)vtab;
    info->estimatedRows = 100000;
    info->estimatedCost = 1000000;
    for (int i = 0; i < info->nConstraint; i++) {
        if (info->aConstraint[i].iColumn != COLUMN_BATCH || !info->aConstraint[i].usable ||
            info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ)
            continue;
        info->aConstraintUsage[i].argvIndex = 1; /* SQLite still compares: it may be a text */
        info->idxNum = 1;
        info->estimatedRows = 1000;
        info->estimatedCost = 10000;
        break;
    }
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *vtab, sqlite3_vtab_cursor **ret)
{
    (void)vtab;
    struct cursor *cursor = op_mem_alloc(sizeof(*cursor));
    op_buf_init(&cursor->key, OP_SQL_MAX_LENGTH);
    op_buf_init(&cursor->reason, OP_SQL_MAX_LENGTH);
    *ret = &cursor->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;
    op_buf_release(&cursor->key);
    op_buf_release(&cursor->reason);
    op_mem_free(cursor);
    return SQLITE_OK;
}

/* Two cursors may walk in turn: so each keeps its row's texts itself. */
static int fetch(struct cursor *c, int64_t after_id)
{
    struct op_sqlenv *sql = ((struct table *)c->base.pVtab)->sql;
    const struct op_context *x = &sql->context;
    enum op_rc rc = OP_NOTFOUND;
    if (x->next_request)
        rc = x->next_request(x->request_arg, c->batch, after_id, &c->row, &sql->pending);
    c->end = rc != OP_OK;
    if (rc && (rc != OP_NOTFOUND || sql->pending.rc)) {
        c->base.pVtab->zErrMsg = sqlite3_mprintf("%s", sql->pending.msg);
        return SQLITE_ERROR;
    }
    if (rc)
        return SQLITE_OK;
    op_buf_clear(&c->key);
    op_buf_clear(&c->reason);
    op_buf_add_str(&c->key, c->row.key);
    op_buf_add_str(&c->reason, c->row.reason);
    return SQLITE_OK;
}

static int filter(sqlite3_vtab_cursor *base, int number, const char *text, int argc,
                  sqlite3_value **argv)
{
    struct cursor *c = (struct cursor *)base;
    (void)text;
    (void)argc;
    c->batch = number ? sqlite3_value_int64(argv[0]) : 0;
    if (number && c->batch <= 0) { /* what is no number is no batch's, and 0 would be any */
        c->end = true;
        return SQLITE_OK;
    }
    return fetch(c, 0);
}

static int next(sqlite3_vtab_cursor *base)
{
    struct cursor *c = (struct cursor *)base;
    return fetch(c, c->row.id);
}

static int at_end(sqlite3_vtab_cursor *base)
{
    return ((struct cursor *)base)->end;
}

static void give(sqlite3_context *c, const char *ptr, size_t len)
{
    sqlite3_result_text64(c, ptr ? ptr : "", len, SQLITE_TRANSIENT, SQLITE_UTF8);
}

/* Only where it is asked for: a record may be long. */
static void give_record(struct op_sqlenv *sql, const struct cursor *c, sqlite3_context *context)
{
    const struct op_context *x = &sql->context;
    OP_CLEANUP(op_buf_release) struct op_buf record;
    op_buf_init(&record, OP_SQL_MAX_LENGTH);
    if (x->request_record(x->request_arg, c->row.record_id, &record, &sql->pending))
        sqlite3_result_error(context, sql->pending.msg, -1);
    else if (record.len)
        give(context, record.ptr, record.len);
}

static int column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
    const struct cursor *c = (struct cursor *)base;
    struct op_sqlenv *sql = ((struct table *)base->pVtab)->sql;
    const char *name = sql->plan->def->requests[c->row.name].name;
    switch (column) {
    case COLUMN_KEY:
        give(context, c->key.ptr, c->key.len);
        break;
    case COLUMN_REQUEST:
        give(context, name, strlen(name));
        break;
    case COLUMN_ID:
        sqlite3_result_int64(context, c->row.id);
        break;
    case COLUMN_STATE:
        give(context, c->row.state, strlen(c->row.state));
        break;
    case COLUMN_BATCH:
        if (c->row.batch_id)
            sqlite3_result_int64(context, c->row.batch_id);
        break;
    case COLUMN_BUY_NO:
        sqlite3_result_int(context, c->row.buy_no);
        break;
    case COLUMN_REASON:
        give(context, c->reason.ptr, c->reason.len);
        break;
    default:
        give_record(sql, c, context);
        break;
    }
    return SQLITE_OK;
}

static int rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *ret)
{
    *ret = ((struct cursor *)base)->row.id;
    return SQLITE_OK;
}

static const sqlite3_module module = {
    .xConnect = connect,
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

enum op_rc op_sql_add_requests(struct op_sqlenv *sql, struct op_err *err)
{
    return op_sql_add_module(sql, "requests", &module, sql, err);
}

/* --- the pipeline's own views ------------------------------------------------------------- */

static bool is_input(const struct op_definition *def, const char *name)
{
    for (size_t i = 0; i < def->input_count; i++)
        if (sqlite3_stricmp(def->inputs[i].name, name) == 0)
            return true;
    return false;
}

/* First as any SELECT of the pipeline, so that it can only read; then as a view of that text. */
static enum op_rc define(struct op_sqlenv *sql, const struct op_view_def *view,
                         struct op_err *err)
{
    if (op_sql_is_view(view->name) || is_input(sql->plan->def, view->name))
        return op_fail(err, OP_INVAL, "%s: there is a table '%s' already: choose another name",
                       view->sql.place, view->name);
    struct op_query *query = NULL;
    bool own = sql->own;
    sql->own = false;
    enum op_rc rc = op_query_open(sql, &view->sql, &query, err);
    op_query_close(query);
    if (!rc) {
        OP_CLEANUP(op_buf_release) struct op_buf text;
        op_buf_init(&text, OP_SQL_MAX_LENGTH);
        op_buf_addz(&text, "CREATE TEMP VIEW ");
        op_sql_add_name(&text, view->name);
        op_buf_addz(&text, " AS ");
        op_buf_add_str(&text, view->sql.text);
        sql->own = true;
        if (sqlite3_exec(sql->db, text.ptr, NULL, NULL, NULL))
            rc = op_sql_fail(sql, &view->sql, err);
    }
    sql->own = own;
    return rc;
}

enum op_rc op_sql_define_views(struct op_sqlenv *sql, struct op_err *err)
{
    const struct op_definition *def = sql->plan->def;
    for (size_t i = 0; i < def->view_count; i++)
        if (define(sql, &def->views[i], err))
            return err->rc;
    return OP_OK;
}
