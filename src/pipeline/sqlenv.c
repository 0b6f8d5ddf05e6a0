/* SPDX-License-Identifier: MIT */
#include "pipeline/sqlenv.h"

#include "base/mem.h"
#include "pipeline/sql_internal.h"
#include "pipeline/sql_json.h"
#include "pipeline/sql_quick.h"

#define MAX_SQL             (4 * 1024 * 1024)
#define MAX_RECORD          (64 * 1024 * 1024)
#define STEPS_BETWEEN_LOOKS 1000000
/* For each connection: there are up to five of them while results are applied. */
#define INPUT_CACHE_KB 4096

/* --- errors ------------------------------------------------------------------------------- */

enum op_rc op_sql_class(int code)
{
    switch (code & 0xff) {
    case SQLITE_ERROR:
    case SQLITE_AUTH:
    case SQLITE_TOOBIG:
    case SQLITE_NOMEM: /* OP_SQL_HEAP_BYTES; the machine's own end is the process's */
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
    case SQLITE_INTERRUPT:
        return OP_INVAL;
    default:
        return OP_IO;
    }
}

char *op_text_place(const struct op_text *text, size_t offset)
{
    struct op_str file = op_str_from(text->place);
    const char *colon = strrchr(text->place, ':');
    int64_t line = 1;
    if (!colon || !op_str_int64(op_str_from(colon + 1), &line))
        return op_mem_strdup(text->place);
    file.len = (size_t)(colon - text->place);
    for (size_t i = 0; i < offset && i < text->text.len; i++)
        line += text->text.ptr[i] == '\n';
    return op_mem_printf(OP_STR_FMT ":%lld", OP_STR_ARG(file), (long long)line);
}

enum op_rc op_sql_fail(struct op_sqlenv *sql, const struct op_text *text, struct op_err *err)
{
    int code = sqlite3_extended_errcode(sql->db);
    int offset = sqlite3_error_offset(sql->db);
    const char *message = sqlite3_errmsg(sql->db);
    OP_CLEANUP(op_mem_freep) char *place = op_text_place(text, offset > 0 ? (size_t)offset : 0);
    if (sql->pending.rc) {
        *err = sql->pending;
        op_err_clear(&sql->pending);
        return op_err_wrap(err, "%s", place);
    }
    if ((code & 0xff) == SQLITE_AUTH)
        message = "a SELECT may only read: no writes, ATTACH, PRAGMA or extensions";
    enum op_rc rc = op_sql_class(code);
    op_err_set(err, rc, "%s: %s", place, message);
    err->native = code;
    return rc;
}

static enum op_rc fail_own(sqlite3 *db, const char *what, struct op_err *err)
{
    op_err_set(err, OP_IO, "%s: %s", what, db ? sqlite3_errmsg(db) : "out of memory");
    err->native = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
    return OP_IO;
}

enum op_rc op_sql_run(sqlite3 *db, const char *statement, const char *what, struct op_err *err)
{
    if (sqlite3_exec(db, statement, NULL, NULL, NULL) != SQLITE_OK)
        return fail_own(db, what, err);
    return OP_OK;
}

/* --- the connection ----------------------------------------------------------------------- */

/* A pipeline may come from a stranger: its SQL can read the inputs and what is at hand, and nothing
 * else; no file, no setting, no write. */
static int authorize(void *arg, int action, const char *a, const char *b, const char *db,
                     const char *trigger)
{
    const struct op_sqlenv *sql = arg;
    (void)a;
    (void)db;
    (void)trigger;
    if (sql->own)
        return SQLITE_OK;
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

/* A SELECT that never ends must not hold the job, and what is behind it, for ever. */
static int count_steps(void *arg)
{
    struct op_sqlenv *sql = arg;
    sql->steps += STEPS_BETWEEN_LOOKS;
    if (sql->own || sql->steps <= sql->most_steps)
        return 0;
    op_err_set(&sql->pending, OP_INVAL,
               "the SELECTs take more than %lld steps: does one of them never end?",
               (long long)sql->most_steps);
    return 1;
}

static void configure(sqlite3 *db)
{
    static const struct {
        int what, on;
    } settings[] = {
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
        /* A misspelt "column" is an error, not the text 'column'. */
        {SQLITE_DBCONFIG_DQS_DML, 0},
        {SQLITE_DBCONFIG_DQS_DDL, 0},
    };
    static const struct {
        int what, most;
    } limits[] = {
        {SQLITE_LIMIT_LENGTH, OP_SQL_MAX_LENGTH},
        {SQLITE_LIMIT_SQL_LENGTH, MAX_SQL},
        {SQLITE_LIMIT_ATTACHED, 1},
        {SQLITE_LIMIT_EXPR_DEPTH, 1000},
        {SQLITE_LIMIT_COMPOUND_SELECT, 500},
        {SQLITE_LIMIT_VDBE_OP, 1000000},
        {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50000},
        {SQLITE_LIMIT_WORKER_THREADS, 0},
    };
    for (size_t i = 0; i < OP_COUNT(settings); i++)
        (void)sqlite3_db_config(db, settings[i].what, settings[i].on, NULL);
    for (size_t i = 0; i < OP_COUNT(limits); i++)
        (void)sqlite3_limit(db, limits[i].what, limits[i].most);
}

/* The staged file is complete and nobody writes it any more, so SQLite need not lock it or look for
 * a journal: immutable. */
enum op_rc op_sql_attach(sqlite3 *db, const char *path, bool making, struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf uri;
    op_buf_init(&uri, 16 * 1024);
    op_buf_addz(&uri, "file:");
    for (const char *p = path; *p; p++) {
        if (strchr("%?#", *p))
            op_buf_addf(&uri, "%%%02X", (unsigned char)*p);
        else
            op_buf_addc(&uri, *p);
    }
    op_buf_addz(&uri, making ? "?mode=rwc" : "?mode=ro&immutable=1");
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(db, "ATTACH ?1 AS inputs", -1, &stmt, NULL);
    if (!code)
        code = sqlite3_bind_text(stmt, 1, uri.ptr, (int)uri.len, SQLITE_STATIC);
    if (!code)
        code = sqlite3_step(stmt);
    enum op_rc rc = code == SQLITE_DONE ? OP_OK : fail_own(db, path, err);
    sqlite3_finalize(stmt);
    if (rc)
        return rc;
    OP_CLEANUP(op_mem_freep)
    char *pragma = op_mem_printf("PRAGMA inputs.cache_size=-%d", INPUT_CACHE_KB);
    return op_sql_run(db, pragma, path, err);
}

enum op_rc op_sql_open(struct op_plan *plan, const char *inputs_db, struct op_sqlenv **ret,
                       struct op_err *err)
{
    OP_CLEANUP(op_sqlenv_closep) struct op_sqlenv *sql = op_mem_alloc(sizeof(*sql));
    sql->plan = plan;
    sql->context.request = -1;
    sql->view_rows = 1;
    sql->most_steps = OP_SQL_INPUT_STEPS;
    sql->own = true;
    op_buf_init(&sql->record_text, MAX_RECORD);
    op_buf_init(&sql->path, OP_TEMPLATE_MAX_OUTPUT);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY |
                SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI;
    if (sqlite3_open_v2(":memory:", &sql->db, flags, NULL) != SQLITE_OK)
        return fail_own(sql->db, "SQLite", err);
    configure(sql->db);
    (void)sqlite3_hard_heap_limit64(OP_SQL_HEAP_BYTES);
    sqlite3_progress_handler(sql->db, STEPS_BETWEEN_LOOKS, count_steps, sql);
    if ((inputs_db && op_sql_attach(sql->db, inputs_db, false, err)) ||
        op_sql_add_functions(sql, err) || op_sql_add_json(sql, err) ||
        op_sql_add_search(sql, err))
        return err->rc;
    (void)sqlite3_set_authorizer(sql->db, authorize, sql);
    /* SQLite declares its own table-valued functions when first used, which looks like a change of
     * the schema: so these two are allowed by being used here, and any other is not. */
    if (op_sql_run(sql->db, "SELECT 1 FROM json_each('[]'), json_tree('[]')", "SQLite", err))
        return err->rc;
    sql->own = false;
    *ret = OP_TAKE(sql);
    return OP_OK;
}

/* --- with what is at hand ----------------------------------------------------------------- */

static enum op_rc open_checks(struct op_sqlenv *sql, struct op_err *err)
{
    const struct op_definition *def = sql->plan->def;
    sql->checks = op_mem_array(def->check_count + 1, sizeof(struct op_query *));
    for (size_t i = 0; i < def->check_count; i++)
        if (op_query_open(sql, &def->checks[i].sql, &sql->checks[i], err))
            return err->rc;
    return OP_OK;
}

static enum op_rc open_rows(struct op_sqlenv *sql, struct op_err *err)
{
    const struct op_definition *def = sql->plan->def;
    sql->rows = op_mem_array(def->output_count + 1, sizeof(struct op_query *));
    sql->quick = op_mem_array(def->output_count + 1, sizeof(struct op_quick *));
    for (size_t i = 0; i < def->output_count; i++) {
        if (op_query_open(sql, &def->outputs[i].rows, &sql->rows[i], err) ||
            op_query_distinct(sql->rows[i], err))
            return err->rc;
        const char *const *names = NULL;
        size_t count = op_query_columns(sql->rows[i], &names);
        if (op_plan_open_output(sql->plan, i, names, count, err))
            return err->rc;
        sql->quick[i] = op_quick_open(sql, def->outputs[i].rows.text);
    }
    return OP_OK;
}

enum op_rc op_sqlenv_open(struct op_plan *plan, const char *inputs_db, struct op_sqlenv **ret,
                          struct op_err *err)
{
    OP_CLEANUP(op_sqlenv_closep) struct op_sqlenv *sql = NULL;
    if (op_sql_open(plan, inputs_db, &sql, err) ||
        op_sql_add_views(sql, plan->record_columns, plan->record_column_count, err))
        return err->rc;
    sql->scratch = op_template_scratch_new();
    if (op_sql_define_views(sql, err) || open_checks(sql, err) || open_rows(sql, err))
        return err->rc;
    *ret = OP_TAKE(sql);
    return OP_OK;
}

void op_sqlenv_close(struct op_sqlenv *sql)
{
    if (!sql)
        return;
    const struct op_definition *def = sql->plan->def;
    for (size_t i = 0; sql->checks && i < def->check_count; i++)
        op_query_close(sql->checks[i]);
    for (size_t i = 0; sql->rows && i < def->output_count; i++)
        op_query_close(sql->rows[i]);
    for (size_t i = 0; sql->quick && i < def->output_count; i++)
        op_quick_close(sql->quick[i]);
    op_mem_free(sql->quick);
    op_mem_free(sql->checks);
    op_mem_free(sql->rows);
    sqlite3_close(sql->db);
    op_sql_json_free(sql->json);
    op_sql_search_free(sql->search);
    if (sql->scratch)
        op_template_scratch_free(sql->scratch);
    op_json_parser_free(sql->record_parser);
    op_mem_free(sql->record_cells);
    op_buf_release(&sql->record_text);
    op_buf_release(&sql->path);
    op_mem_free(sql);
}

void op_sqlenv_closep(struct op_sqlenv **sql)
{
    op_sqlenv_close(*sql);
    *sql = NULL;
}

void op_sqlenv_set(struct op_sqlenv *sql, const struct op_context *context)
{
    sql->context = *context;
    sql->steps = 0;
    sql->most_steps = context->request >= 0 ? OP_SQL_RESULT_STEPS : OP_SQL_INPUT_STEPS;
    sql->record_loaded = false;
    op_sql_json_forget(sql->json);
}
