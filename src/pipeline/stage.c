/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>

#include "base/io.h"
#include "base/mem.h"
#include "pipeline/select_internal.h"
#include "pipeline/sql_internal.h"

/* --- an input ----------------------------------------------------------------------------- */

static enum op_rc render_options(const struct op_plan *plan, struct op_input *input,
                                 struct op_source_option **ret, struct op_err *err)
{
    const struct op_input_def *def = input->def;
    struct op_source_option *options =
        op_arena_array(&input->arena, def->option_count + 1, sizeof(*options));
    for (size_t i = 0; i < def->option_count; i++) {
        OP_CLEANUP(op_mem_freep) char *value = NULL;
        if (op_params_render(plan->params, def->options[i].value, def->place, &value, err))
            return err->rc;
        options[i].name = def->options[i].name;
        options[i].value = op_arena_strdup(&input->arena, op_str_from(value));
    }
    *ret = options;
    return OP_OK;
}

static enum op_rc open_input(struct op_env *env, const struct op_plan *plan,
                             struct op_input *input, struct op_err *err)
{
    const struct op_input_def *def = input->def;
    OP_CLEANUP(op_mem_freep) char *target = NULL;
    struct op_source_option *options = NULL;
    if (op_params_render(plan->params, def->target, def->place, &target, err) ||
        render_options(plan, input, &options, err))
        return err->rc;
    if (!target[0])
        return op_fail(err, OP_INVAL, "%s: the %s of input '%s' is empty: say where it is",
                       def->place, def->source->kind, def->name);
    input->target = op_arena_strdup(&input->arena, op_str_from(target));
    struct op_source_config config = {
        .env = env,
        .name = def->name,
        .target = input->target,
        .options = options,
        .option_count = def->option_count,
        .place = def->place,
        .param_names = plan->params->names,
        .param_values = plan->params->values,
        .param_count = plan->params->count,
    };
    return op_source_open(def->source, &config, &input->source, err);
}

enum op_rc op_input_open(struct op_env *env, const struct op_plan *plan,
                         const struct op_input_def *def, struct op_input *ret,
                         struct op_err *err)
{
    *ret = (struct op_input){.def = def};
    enum op_rc rc = open_input(env, plan, ret, err);
    if (rc)
        op_input_close(ret);
    return rc;
}

void op_input_close(struct op_input *input)
{
    op_source_close(OP_TAKE(input->source));
    op_arena_release(&input->arena);
}

enum op_rc op_input_next(struct op_input *input, op_skipped_fn skipped, void *arg,
                         const struct op_value **ret_cells, struct op_err *err)
{
    for (;;) {
        struct op_err bad = OP_ERR_INIT;
        enum op_rc rc = op_source_next(input->source, ret_cells, &bad);
        if (!rc || (rc == OP_NOTFOUND && !bad.rc))
            return rc;
        if (!input->def->skip_bad || rc != OP_INVAL || bad.disp != OP_DISP_REJECT) {
            *err = bad;
            return rc;
        }
        input->bad++;
        if (skipped)
            skipped(arg, bad.msg);
    }
}

/* --- all of them, into one file ----------------------------------------------------------- */

/* The file is attached as `inputs` to a connection like those that will read it, so that an input
 * may be a SELECT over those before it, with the same functions and the same bars. */
struct staging {
    struct op_env *env;
    struct op_plan *plan;
    const char *path;
    struct op_sqlenv *sql;
    sqlite3 *db;          /* sql's */
    struct op_buf schema; /* what follows CREATE TABLE, each with a NUL */
    sqlite3_stmt *note;   /* adds a skipped row's message */
    op_skipped_fn skipped;
    void *skipped_arg;
    int64_t rows;
};

static enum op_rc fail(const struct staging *s, struct op_err *err)
{
    op_err_set(err, OP_IO, "%s: %s", s->path, sqlite3_errmsg(s->db));
    err->native = sqlite3_extended_errcode(s->db);
    return err->rc;
}

static void note_skipped(void *arg, const char *message)
{
    struct staging *s = arg;
    sqlite3_bind_text(s->note, 1, message, -1, SQLITE_STATIC);
    (void)sqlite3_step(s->note); /* a full disk shows at the next row */
    (void)sqlite3_reset(s->note);
    if (s->skipped)
        s->skipped(s->skipped_arg, message);
}

static enum op_rc create_table(struct staging *s, const struct op_input_def *def,
                               const char *const *columns, size_t count, sqlite3_stmt **ret_add,
                               struct op_err *err)
{
    const char *name = def->name;
    if (op_sql_is_view(name) || !sqlite3_stricmp(name, "json_each") ||
        !sqlite3_stricmp(name, "json_tree"))
        return op_fail(err, OP_INVAL,
                       "%s: '%s' is a table of offpeak's own: give the input another name",
                       def->place, name);
    size_t from = s->schema.len;
    op_sql_add_name(&s->schema, name);
    for (size_t i = 0; i < count; i++) {
        op_buf_addc(&s->schema, i ? ',' : '(');
        op_sql_add_name(&s->schema, columns[i]);
    }
    op_buf_addz(&s->schema, ")");
    op_buf_addc(&s->schema, '\0');
    if (op_buf_finish(&s->schema, "the inputs' columns", err))
        return err->rc;
    OP_CLEANUP(op_mem_freep)
    char *create = op_mem_printf("CREATE TABLE inputs.%s", s->schema.ptr + from);
    if (sqlite3_exec(s->db, create, NULL, NULL, NULL)) {
        (void)fail(s, err);
        return op_err_wrap(err, "%s: input '%s'", def->place, name);
    }
    OP_CLEANUP(op_buf_release) struct op_buf add;
    op_buf_init(&add, 64 * 1024);
    op_buf_addz(&add, "INSERT INTO inputs.");
    op_sql_add_name(&add, name);
    for (size_t i = 0; i < count; i++)
        op_buf_addz(&add, i ? ",?" : " VALUES(?");
    op_buf_addz(&add, ")");
    if (sqlite3_prepare_v2(s->db, add.ptr, -1, ret_add, NULL))
        return fail(s, err);
    return OP_OK;
}

static enum op_rc add_row(struct staging *s, sqlite3_stmt *add, const struct op_value *cells,
                          size_t count, struct op_err *err)
{
    for (size_t i = 0; i < count; i++) {
        int at = (int)i + 1;
        struct op_value v = cells[i];
        switch (v.type) {
        case OP_VALUE_NULL:
            sqlite3_bind_null(add, at);
            break;
        case OP_VALUE_INT:
            sqlite3_bind_int64(add, at, v.i);
            break;
        case OP_VALUE_DOUBLE:
            sqlite3_bind_double(add, at, v.d);
            break;
        case OP_VALUE_TEXT:
            sqlite3_bind_text64(add, at, v.s.ptr, v.s.len, SQLITE_STATIC, SQLITE_UTF8);
            break;
        case OP_VALUE_BLOB:
            sqlite3_bind_blob64(add, at, v.s.ptr, v.s.len, SQLITE_STATIC);
            break;
        }
    }
    int code = sqlite3_step(add);
    (void)sqlite3_reset(add);
    return code == SQLITE_DONE ? OP_OK : fail(s, err);
}

static enum op_rc stage_input(struct staging *s, struct op_input *input, struct op_err *err)
{
    sqlite3_stmt *add = NULL;
    enum op_rc rc = create_table(s, input->def, input->source->columns,
                                 input->source->column_count, &add, err);
    const struct op_value *cells = NULL;
    while (!rc) {
        rc = op_input_next(input, note_skipped, s, &cells, err);
        if (!rc)
            rc = add_row(s, add, cells, input->source->column_count, err);
        if (!rc)
            s->rows++;
    }
    sqlite3_finalize(add);
    return rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
}

/* Its SELECT is the pipeline's, and may only read; the table it fills is ours. */
static enum op_rc stage_select(struct staging *s, const struct op_input_def *def,
                               struct op_err *err)
{
    struct op_query *query = NULL;
    sqlite3_stmt *add = NULL;
    const char *const *columns = NULL;
    s->sql->own = false;
    enum op_rc rc = op_query_open(s->sql, &def->select, &query, err);
    s->sql->own = true;
    size_t count = rc ? 0 : op_query_columns(query, &columns);
    if (!rc)
        rc = op_query_distinct(query, err);
    if (!rc)
        rc = create_table(s, def, columns, count, &add, err);
    while (!rc) {
        const struct op_value *cells = NULL;
        rc = op_query_next(query, &cells, err);
        if (!rc)
            rc = add_row(s, add, cells, count, err);
        if (!rc)
            s->rows++;
    }
    sqlite3_finalize(add);
    op_query_close(query);
    return rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
}

static enum op_rc stage_one(struct staging *s, const struct op_input_def *def,
                            struct op_err *err)
{
    if (def->select.text.ptr)
        return stage_select(s, def, err);
    struct op_input input;
    enum op_rc rc = op_input_open(s->env, s->plan, def, &input, err);
    if (rc)
        return rc;
    rc = stage_input(s, &input, err);
    op_input_close(&input);
    return rc;
}

/* Nothing here needs to survive a crash: a file that was not finished is made anew. */
#define PRAGMAS                                                             \
    "PRAGMA inputs.page_size=8192; PRAGMA inputs.journal_mode=MEMORY; "     \
    "PRAGMA inputs.synchronous=OFF; PRAGMA inputs.locking_mode=EXCLUSIVE; " \
    "PRAGMA inputs.cache_size=-16384; PRAGMA temp_store=FILE; BEGIN;"       \
    "CREATE TABLE inputs.\"" OP_STAGE_SKIPPED "\"(message)"

static enum op_rc stage_all(struct staging *s, struct op_err *err)
{
    const struct op_definition *def = s->plan->def;
    if (op_sql_open(s->plan, NULL, &s->sql, err))
        return err->rc;
    s->db = s->sql->db;
    s->sql->own = true;
    (void)sqlite3_limit(s->db, SQLITE_LIMIT_COLUMN, 32767);
    (void)sqlite3_limit(s->db, SQLITE_LIMIT_VARIABLE_NUMBER, 32766);
    if (op_sql_attach(s->db, s->path, true, err) || op_sql_run(s->db, PRAGMAS, s->path, err))
        return err->rc;
    if (sqlite3_prepare_v2(s->db, "INSERT INTO inputs.\"" OP_STAGE_SKIPPED "\" VALUES(?1)", -1,
                           &s->note, NULL))
        return fail(s, err);
    for (size_t i = 0; i < def->input_count; i++)
        if (stage_one(s, &def->inputs[i], err))
            return err->rc;
    OP_CLEANUP(op_buf_release) struct op_buf indexes;
    op_buf_init(&indexes, 1024 * 1024);
    if (op_stage_indexes(s->plan, s->schema.ptr, &indexes, err) ||
        op_buf_finish(&indexes, "the inputs' indexes", err) ||
        op_sql_run(s->db, indexes.ptr, s->path, err))
        return err->rc;
    return op_sql_run(s->db, "COMMIT", s->path, err);
}

/* Durability point: a job that is planned reads this file again after a crash, so its bytes and its
 * name are on disk before anything refers to it. */
static enum op_rc sync_file(struct op_env *env, const char *path, struct op_err *err)
{
    int fd = env->ops->open(env, path, O_RDONLY, 0);
    int code = fd < 0 ? fd : env->ops->fsync(env, fd);
    if (fd >= 0)
        (void)env->ops->close(env, fd);
    OP_CLEANUP(op_mem_freep) char *folder = op_io_dirname(path);
    if (code >= 0)
        code = env->ops->fsync_dir(env, folder);
    if (code < 0) {
        errno = -code;
        return op_fail_errno(err, OP_IO, "%s: the staged inputs cannot be made durable", path);
    }
    return OP_OK;
}

enum op_rc op_stage(struct op_env *env, struct op_plan *plan, const char *db_path,
                    op_skipped_fn skipped, void *skipped_arg, int64_t *ret_rows,
                    struct op_err *err)
{
    struct staging s = {.env = env,
                        .plan = plan,
                        .path = db_path,
                        .skipped = skipped,
                        .skipped_arg = skipped_arg};
    int gone = env->ops->unlink(env, db_path);
    if (gone < 0 && gone != -ENOENT) {
        errno = -gone;
        return op_fail_errno(err, OP_IO, "%s: the old staged inputs cannot be removed",
                             db_path);
    }
    op_buf_init(&s.schema, 4 * 1024 * 1024);
    enum op_rc rc = stage_all(&s, err);
    sqlite3_finalize(s.note);
    op_sqlenv_close(s.sql);
    op_buf_release(&s.schema);
    if (!rc)
        rc = sync_file(env, db_path, err);
    if (rc) {
        (void)env->ops->unlink(env, db_path);
        return rc;
    }
    *ret_rows = s.rows;
    return OP_OK;
}
