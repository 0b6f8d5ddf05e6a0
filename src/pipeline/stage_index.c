/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "pipeline/select_internal.h"
#include "pipeline/sql_internal.h"

/*
 * Which columns of the inputs deserve an index. A SELECT that runs once (records, require, done) is
 * left to SQLite, which makes an index for it by itself where that pays; but checks and rows run
 * once per result, a million times, and there SQLite would read a whole table, or build its
 * automatic index, every time.
 * So the planner is asked: over empty copies of the inputs with an index on every column, and views
 * that claim many rows, it says which of them each of these SELECTs would search by. Those are taken
 * away and it is asked again, because of two columns in one condition it names only one; which of
 * them is the better is for the real data to say (ANALYZE).
 */

/* Wide tables get candidates for their first columns only; more indexes than that are no help. */
#define MAX_COLUMNS 100
#define MAX_INDEXES 16
#define MAX_ASKING  8
#define MANY_ROWS   1000000

struct candidates {
    struct op_plan *plan;
    struct op_sqlenv *sql;
    struct op_buf *out;
    int made;
    int used; /* in this asking */
};

/* Index names are op_TABLE_COLUMN, by number, so that they can be read off the plan. */
static void add_index(struct op_buf *out, const char *schema, int64_t table, int64_t column,
                      const char *table_name, const char *column_name)
{
    op_buf_addf(out, "CREATE INDEX %sop_%d_%d ON ", schema, (int)table, (int)column);
    op_sql_add_name(out, table_name);
    op_buf_addc(out, '(');
    op_sql_add_name(out, column_name);
    op_buf_addz(out, ");\n");
}

static char *column_name(sqlite3 *db, const char *table, int64_t column)
{
    sqlite3_stmt *stmt = NULL;
    char *name = NULL;
    const char *sql = "SELECT name FROM pragma_table_info(?1, 'inputs') WHERE cid = ?2";
    if (!sqlite3_prepare_v2(db, sql, -1, &stmt, NULL)) {
        sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
        sqlite3_bind_int64(stmt, 2, column);
        if (sqlite3_step(stmt) == SQLITE_ROW)
            name = op_mem_strdup((const char *)sqlite3_column_text(stmt, 0));
    }
    sqlite3_finalize(stmt);
    return name;
}

static enum op_rc make_candidates(struct candidates *c, struct op_err *err)
{
    const struct op_definition *def = c->plan->def;
    OP_CLEANUP(op_buf_release) struct op_buf sql;
    op_buf_init(&sql, 4 * 1024 * 1024);
    for (size_t t = 0; t < def->input_count; t++) {
        for (int k = 0; k < MAX_COLUMNS; k++) {
            OP_CLEANUP(op_mem_freep)
            char *name = column_name(c->sql->db, def->inputs[t].name, k);
            if (!name)
                break;
            add_index(&sql, "inputs.", (int64_t)t, k, def->inputs[t].name, name);
        }
    }
    return op_sql_run(c->sql->db, sql.ptr, "indexes", err);
}

/* "SEARCH t USING INDEX op_0_2 (id=?)" or "USING INDEX op_0_2 FOR IN-OPERATOR". A SCAN by a
 * covering index is no search. */
static void read_step(struct candidates *c, const char *step)
{
    const struct op_definition *def = c->plan->def;
    const char *at = strstr(step, "INDEX op_");
    int64_t table = 0, column = 0;
    if (!at || (!strstr(at, "=?") && !strstr(at, "IN-OPERATOR")))
        return;
    struct op_str rest = op_str_from(at + strlen("INDEX op_"));
    struct op_str word = op_str_cut(&rest, ' ');
    struct op_str first = op_str_cut(&word, '_');
    if (!op_str_int64(first, &table) || !word.ptr || !op_str_int64(word, &column) ||
        (size_t)table >= def->input_count)
        return;
    const char *table_name = def->inputs[table].name;
    OP_CLEANUP(op_mem_freep) char *name = column_name(c->sql->db, table_name, column);
    OP_CLEANUP(op_mem_freep) char *drop = op_mem_printf("op_%d_%d", (int)table, (int)column);
    if (!name || c->made == MAX_INDEXES)
        return;
    OP_CLEANUP(op_mem_freep)
    char *mark = op_mem_printf("INSERT OR IGNORE INTO temp.used VALUES('%s')", drop);
    int before = sqlite3_total_changes(c->sql->db);
    (void)sqlite3_exec(c->sql->db, mark, NULL, NULL, NULL);
    if (sqlite3_total_changes(c->sql->db) == before)
        return; /* another SELECT of this asking named it */
    add_index(c->out, "inputs.", table, column, table_name, name);
    c->made++;
    c->used++;
}

/* A SELECT that cannot be prepared says so where it is opened in earnest. */
static void ask(struct candidates *c, const struct op_text *text)
{
    sqlite3_stmt *stmt = NULL;
    OP_CLEANUP(op_mem_freep)
    char *sql = op_mem_printf("EXPLAIN QUERY PLAN " OP_STR_FMT, OP_STR_ARG(text->text));
    c->sql->own = false;
    int code = sqlite3_prepare_v2(c->sql->db, sql, -1, &stmt, NULL);
    c->sql->own = true;
    OP_CLEANUP(op_buf_release) struct op_buf steps;
    op_buf_init(&steps, 1024 * 1024);
    while (!code && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *step = (const char *)sqlite3_column_text(stmt, 3);
        op_buf_addf(&steps, "%s\n", step ? step : "");
    }
    sqlite3_finalize(stmt);
    struct op_str rest = op_buf_str(&steps);
    while (rest.ptr && rest.len > 0) {
        struct op_str line = op_str_cut(&rest, '\n');
        OP_CLEANUP(op_mem_freep) char *step = op_mem_strndup(line.ptr, line.len);
        read_step(c, step);
    }
}

static enum op_rc ask_all(struct candidates *c, struct op_err *err)
{
    const struct op_definition *def = c->plan->def;
    c->used = 0;
    for (size_t i = 0; i < def->check_count; i++)
        ask(c, &def->checks[i].sql);
    for (size_t i = 0; i < def->output_count; i++)
        if (def->outputs[i].on == OP_ON_ANSWER)
            ask(c, &def->outputs[i].rows);
    OP_CLEANUP(op_buf_release) struct op_buf drops;
    op_buf_init(&drops, 64 * 1024);
    sqlite3_stmt *stmt = NULL;
    if (!sqlite3_prepare_v2(c->sql->db, "SELECT name FROM temp.used", -1, &stmt, NULL)) {
        while (sqlite3_step(stmt) == SQLITE_ROW)
            op_buf_addf(&drops, "DROP INDEX IF EXISTS inputs.%s;",
                        (const char *)sqlite3_column_text(stmt, 0));
    }
    sqlite3_finalize(stmt);
    return op_sql_run(c->sql->db, drops.ptr, "indexes", err);
}

static enum op_rc copy_schema(struct candidates *c, const char *schema, struct op_err *err)
{
    c->sql->own = true;
    enum op_rc rc = op_sql_run(c->sql->db, "ATTACH ':memory:' AS inputs", "SQLite", err);
    for (; !rc && *schema; schema += strlen(schema) + 1) {
        OP_CLEANUP(op_mem_freep) char *sql = op_mem_printf("CREATE TABLE inputs.%s", schema);
        rc = op_sql_run(c->sql->db, sql, "the inputs' tables", err);
    }
    return rc;
}

static enum op_rc ask_planner(struct candidates *c, const char *schema, struct op_err *err)
{
    struct op_query *records = NULL;
    const char *const *columns = NULL;
    struct op_err ignored = OP_ERR_INIT;
    enum op_rc rc = copy_schema(c, schema, err);
    if (rc)
        return rc;
    c->sql->own = false;
    rc = op_select_query(c->sql, &records, &ignored);
    size_t count = rc ? 0 : op_query_columns(records, &columns);
    c->sql->own = true;
    rc = op_sql_add_views(c->sql, columns, count, err);
    struct op_err no_views = OP_ERR_INIT; /* they are opened in earnest later, as all SELECTs */
    if (!rc)
        (void)!op_sql_define_views(c->sql, &no_views);
    if (!rc)
        rc = op_sql_run(c->sql->db, "CREATE TEMP TABLE used(name PRIMARY KEY)", "indexes", err);
    if (!rc)
        rc = make_candidates(c, err);
    c->sql->view_rows = MANY_ROWS;
    for (int i = 0; !rc && i < MAX_ASKING; i++) {
        rc = ask_all(c, err);
        if (c->used == 0)
            break;
    }
    op_query_close(records);
    return rc;
}

enum op_rc op_stage_indexes(struct op_plan *plan, const char *schema, struct op_buf *out,
                            struct op_err *err)
{
    OP_CLEANUP(op_sqlenv_closep) struct op_sqlenv *sql = NULL;
    if (op_sql_open(plan, NULL, &sql, err))
        return err->rc;
    struct candidates c = {.plan = plan, .sql = sql, .out = out};
    enum op_rc rc = ask_planner(&c, schema, err);
    if (!rc && c.made > 0)
        op_buf_addz(out, "PRAGMA analysis_limit=1000; ANALYZE inputs;\n");
    return rc;
}
