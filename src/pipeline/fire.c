/* SPDX-License-Identifier: MIT */
#include "pipeline/fire.h"

#include "base/json_out.h"
#include "base/mem.h"
#include "pipeline/sql_internal.h"

#define MAX_ROW (16 * 1024 * 1024)

struct op_fire {
    const struct op_definition *def;
    struct op_plan plan; /* what the SQL environment reads of one: definition and params */
    struct op_params params;
    struct op_definition bare; /* without checks and outputs, which are for results */
    struct op_sqlenv *sql;
    struct op_query *query;
    sqlite3_stmt *add, *find; /* the memory of a key */
    size_t key_at;
    struct op_buf key, text, memory;
};

/* Not columns of their own, but words to the engine. */
static bool is_word(const char *name)
{
    return !strcmp(name, "key") || !strcmp(name, "problem") || !strcmp(name, "no_cache");
}

static enum op_rc check_columns(struct op_fire *fire, struct op_err *err)
{
    const struct op_definition *def = fire->def;
    const char *const *names = NULL;
    size_t count = op_query_columns(fire->query, &names);
    enum op_rc rc = op_query_distinct(fire->query, err);
    fire->key_at = count;
    for (size_t i = 0; !rc && i < count; i++) {
        bool known = is_word(names[i]);
        if (strcmp(names[i], "key") == 0)
            fire->key_at = i;
        for (size_t k = 0; k < def->param_count && !known; k++)
            known = strcmp(def->params[k].name, names[i]) == 0;
        if (!known)
            rc = op_fail(err, OP_INVAL,
                         "%s: '%s' is no param of this pipeline (nor key, problem, no_cache)",
                         def->trigger.jobs.place, names[i]);
    }
    if (!rc && fire->key_at == count)
        rc = op_fail(err, OP_INVAL,
                     "%s: the trigger's jobs need a column 'key', the %s of the candidate",
                     def->trigger.jobs.place, def->trigger.ops->columns[0]);
    return rc;
}

static enum op_rc make_table(struct op_fire *fire, struct op_err *err)
{
    const char *const *columns = fire->def->trigger.ops->columns;
    OP_CLEANUP(op_buf_release) struct op_buf create, add;
    op_buf_init(&create, 64 * 1024);
    op_buf_init(&add, 64 * 1024);
    op_buf_addz(&create, "CREATE TABLE queue");
    op_buf_addz(&add, "INSERT OR REPLACE INTO queue VALUES");
    for (size_t i = 0; columns[i]; i++) {
        op_buf_addc(&create, i ? ',' : '(');
        op_sql_add_name(&create, columns[i]);
        op_buf_addz(&create, i ? "" : " PRIMARY KEY");
        op_buf_addz(&add, i ? ",?" : "(?");
    }
    op_buf_addc(&create, ')');
    op_buf_addc(&add, ')');
    size_t last = 0;
    while (columns[last + 1])
        last++;
    OP_CLEANUP(op_mem_freep)
    char *find =
        op_mem_printf("SELECT \"%s\" FROM queue WHERE \"%s\" = ?1", columns[last], columns[0]);
    enum op_rc rc = op_sql_run(fire->sql->db, create.ptr, "the trigger's candidates", err);
    if (!rc && (sqlite3_prepare_v2(fire->sql->db, add.ptr, -1, &fire->add, NULL) ||
                sqlite3_prepare_v2(fire->sql->db, find, -1, &fire->find, NULL)))
        rc = op_fail(err, OP_IO, "the trigger's candidates: %s", sqlite3_errmsg(fire->sql->db));
    return rc;
}

enum op_rc op_fire_open(const struct op_definition *def, struct op_fire **ret,
                        struct op_err *err)
{
    struct op_fire *fire = op_mem_alloc(sizeof(*fire));
    fire->def = def;
    op_buf_init(&fire->key, MAX_ROW);
    op_buf_init(&fire->text, MAX_ROW);
    op_buf_init(&fire->memory, MAX_ROW);
    /* Params that are given are the jobs', not the trigger's: here all are NULL. */
    fire->params.count = def->param_count;
    fire->params.names =
        op_arena_array(&fire->params.arena, def->param_count + 1, sizeof(*fire->params.names));
    fire->params.values =
        op_arena_array(&fire->params.arena, def->param_count + 1, sizeof(*fire->params.values));
    for (size_t i = 0; i < def->param_count; i++)
        fire->params.names[i] = def->params[i].name;
    fire->plan.def = &fire->bare;
    fire->plan.params = &fire->params;
    enum op_rc rc = op_sql_open(&fire->plan, NULL, &fire->sql, err);
    if (!rc) {
        fire->sql->own = true;
        rc = make_table(fire, err);
        fire->sql->own = false;
    }
    if (!rc)
        rc = op_query_open(fire->sql, &def->trigger.jobs, &fire->query, err);
    if (!rc)
        rc = check_columns(fire, err);
    if (rc) {
        op_fire_close(fire);
        return rc;
    }
    *ret = fire;
    return OP_OK;
}

void op_fire_close(struct op_fire *fire)
{
    if (!fire)
        return;
    sqlite3_finalize(fire->add);
    sqlite3_finalize(fire->find);
    op_query_close(fire->query);
    op_sqlenv_close(fire->sql);
    op_params_release(&fire->params);
    op_buf_release(&fire->key);
    op_buf_release(&fire->text);
    op_buf_release(&fire->memory);
    op_mem_free(fire);
}

enum op_rc op_fire_begin(struct op_fire *fire, struct op_err *err)
{
    op_query_reset(fire->query);
    fire->sql->steps = 0;
    fire->sql->own = true;
    enum op_rc rc =
        op_sql_run(fire->sql->db, "DELETE FROM queue", "the trigger's candidates", err);
    fire->sql->own = false;
    return rc;
}

enum op_rc op_fire_add(struct op_fire *fire, const struct op_value *cells, struct op_err *err)
{
    for (int i = 0; i < sqlite3_bind_parameter_count(fire->add); i++) {
        struct op_value v = cells[i];
        if (v.type == OP_VALUE_NULL)
            (void)sqlite3_bind_null(fire->add, i + 1);
        else if (v.type == OP_VALUE_INT)
            (void)sqlite3_bind_int64(fire->add, i + 1, v.i);
        else if (v.type == OP_VALUE_DOUBLE)
            (void)sqlite3_bind_double(fire->add, i + 1, v.d);
        else
            (void)sqlite3_bind_text64(fire->add, i + 1, v.s.ptr, v.s.len, SQLITE_STATIC,
                                      SQLITE_UTF8);
    }
    int code = sqlite3_step(fire->add);
    (void)sqlite3_reset(fire->add);
    if (code != SQLITE_DONE)
        return op_fail(err, OP_IO, "the trigger's candidates: %s",
                       sqlite3_errmsg(fire->sql->db));
    return OP_OK;
}

static void write_params(struct op_fire *fire, const struct op_value *cells)
{
    const char *const *names = NULL;
    size_t count = op_query_columns(fire->query, &names);
    struct op_json_out out;
    op_buf_clear(&fire->text);
    op_json_out_init(&out, &fire->text, 0);
    op_json_out_object(&out);
    for (size_t i = 0; i < count; i++) {
        char scratch[32];
        if (i != fire->key_at && cells[i].type != OP_VALUE_NULL)
            op_json_out_kv_str(&out, names[i], op_value_to_text(cells[i], scratch));
    }
    op_json_out_end_object(&out);
}

/* What claim is to be given for the key; false: no candidate has it. */
static bool memory_of(struct op_fire *fire, struct op_str key, struct op_buf *ret)
{
    (void)sqlite3_bind_text64(fire->find, 1, key.ptr, key.len, SQLITE_STATIC, SQLITE_UTF8);
    bool found = sqlite3_step(fire->find) == SQLITE_ROW;
    op_buf_clear(ret);
    if (found)
        op_buf_add_str(ret, op_sql_column(fire->find, 0).s);
    (void)sqlite3_reset(fire->find);
    return found;
}

enum op_rc op_fire_next(struct op_fire *fire, struct op_fire_row *ret, struct op_err *err)
{
    for (;;) {
        const struct op_value *cells = NULL;
        char scratch[32];
        enum op_rc rc = op_query_next(fire->query, &cells, err);
        if (rc)
            return rc;
        struct op_str key = op_value_to_text(cells[fire->key_at], scratch);
        op_buf_clear(&fire->key);
        op_buf_add_str(&fire->key, key);
        if (key.len == 0 || !memory_of(fire, key, &fire->memory))
            continue;
        write_params(fire, cells);
        rc = op_buf_finish(&fire->text, "the params of a job", err);
        *ret = (struct op_fire_row){.key = op_buf_str(&fire->key),
                                    .memory = op_buf_str(&fire->memory),
                                    .params = op_buf_str(&fire->text)};
        return rc;
    }
}

void op_fire_reset(struct op_fire *fire)
{
    op_query_reset(fire->query);
}
