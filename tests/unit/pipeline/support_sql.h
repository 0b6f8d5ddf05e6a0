/* SPDX-License-Identifier: MIT */
#ifndef OP_TESTS_PIPELINE_SUPPORT_SQL_H
#define OP_TESTS_PIPELINE_SUPPORT_SQL_H

/* What the tests of SQL and of record selection share: a plan made from a text, with its inputs as
 * files of a private folder (the param `dir`). */

#include <fcntl.h>
#include <unistd.h>

#include "../folder.h"
#include "base/io.h"
#include "pipeline/select.h"
#include "pipeline/sqlenv.h"
#include "support.h"

#define SQL_HEAD                                  \
    "pipeline: p\n"                               \
    "params:\n"                                   \
    "  dir: {type: path, required: true}\n"       \
    "  word: {default: \"it's; DROP TABLE t\"}\n" \
    "  number: {type: integer, default: 7}\n"     \
    "  share: {type: number, default: 0.5}\n"     \
    "  nothing: {}\n"

#define SQL_ASK "requests:\n  ask: {model: claude-haiku-4-5, user: \"{{key}}\"}\n"

struct world {
    char dir[64];
    struct op_bundle bundle;
    struct op_definition def;
    struct op_params params;
    struct op_lane lane;
    struct op_plan *plan;
    char *staged; /* path */
    bool no_cache;
    int64_t limit;
};

static inline void world_file(const struct world *w, const char *name, const char *text)
{
    OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/%s", w->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static inline void world_begin(struct world *w)
{
    *w = (struct world){0};
    assert_true(test_folder_make(w->dir, sizeof(w->dir), "sql"));
}

static inline enum op_rc world_plan(struct world *w, const char *yaml, struct op_err *err)
{
    test_bundle(&w->bundle, yaml, NULL, 0);
    test_define(&w->bundle, &w->def);
    w->lane = (struct op_lane){.provider = op_provider_find("anthropic"),
                               .base_url = (char *)(uintptr_t) "http://127.0.0.1:1",
                               .key = (char *)(uintptr_t) "k",
                               .extras = {(char *)(uintptr_t) "2026-10-21"}};
    const char *given[8] = {w->dir};
    struct op_plan_options options = {
        .cwd = w->dir, .work_dir = w->dir, .no_cache = w->no_cache, .limit = w->limit};
    if (op_params_resolve(&w->def, given, w->dir, &w->params, err))
        return err->rc;
    const struct op_lane *lanes[] = {&w->lane, &w->lane, &w->lane, &w->lane};
    assert_true(w->def.request_count <= OP_COUNT(lanes));
    return op_plan_compile(op_env_default(), &w->def, &w->params, lanes, &w->bundle, &options,
                           &w->plan, err);
}

/* Plans and stages what must be good. */
static inline void world_open(struct world *w, const char *yaml)
{
    struct op_err err = OP_ERR_INIT;
    int64_t rows = 0;
    if (world_plan(w, yaml, &err))
        fail_msg("%s", err.msg);
    if (op_plan_streams(w->plan))
        return;
    w->staged = op_mem_printf("%s/staged.db", w->dir);
    if (op_stage(op_env_default(), w->plan, w->staged, NULL, NULL, &rows, &err))
        fail_msg("%s", err.msg);
}

static inline void world_close_plan(struct world *w)
{
    op_plan_freep(&w->plan);
    op_params_release(&w->params);
    op_definition_release(&w->def);
    op_bundle_release(&w->bundle);
    op_mem_freep(&w->staged);
}

static inline void world_end(struct world *w)
{
    world_close_plan(w);
    static const char *const names[] = {"t.csv", "u.csv", "u.jsonl",   "t.jsonl",
                                        "t.txt", "out",   "staged.db", "a b%?#.db"};
    for (size_t i = 0; i < OP_COUNT(names); i++) {
        OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/%s", w->dir, names[i]);
        unlink(path);
    }
    rmdir(w->dir);
}

static inline void world_columns(struct world *w)
{
    struct op_err err = OP_ERR_INIT;
    struct op_select *select = NULL;
    if (op_select_open(op_env_default(), w->plan, w->staged, NULL, NULL, &select, &err))
        fail_msg("%s", err.msg);
    op_select_close(select);
}

static inline struct op_sqlenv *world_sql(struct world *w)
{
    struct op_err err = OP_ERR_INIT;
    struct op_sqlenv *sql = NULL;
    world_columns(w);
    if (op_sqlenv_open(w->plan, w->staged, &sql, &err))
        fail_msg("%s", err.msg);
    return sql;
}

/* A cell as text for comparing: its type's letter, then its value. */
static inline void add_cell(struct op_buf *out, struct op_value v)
{
    char scratch[32];
    struct op_str text = op_value_to_text(v, scratch);
    static const char letters[] = "NIDTB";
    op_buf_addc(out, letters[v.type]);
    if (text.ptr)
        op_buf_add_str(out, text);
}

/* All rows of a SELECT: cells by '|', rows by newline; or "!" and the message. An op_mem block. */
static inline char *run_sql(struct op_sqlenv *sql, const char *sentence)
{
    struct op_buf out;
    struct op_err err = OP_ERR_INIT;
    struct op_query *query = NULL;
    struct op_text where = {op_str_from(sentence), "p/pipeline.yaml:5"};
    const struct op_value *cells = NULL;
    const char *const *names = NULL;
    op_buf_init(&out, 64 * 1024 * 1024);
    enum op_rc rc = op_query_open(sql, &where, &query, &err);
    size_t count = rc ? 0 : op_query_columns(query, &names);
    while (!rc && !(rc = op_query_next(query, &cells, &err))) {
        for (size_t i = 0; i < count; i++) {
            if (i)
                op_buf_addc(&out, '|');
            add_cell(&out, cells[i]);
        }
        op_buf_addc(&out, '\n');
    }
    if (rc != OP_NOTFOUND || err.rc) {
        op_buf_clear(&out);
        op_buf_addf(&out, "!%s", err.msg);
    }
    op_query_close(query);
    char *text = op_buf_take(&out);
    op_buf_release(&out);
    return text;
}

static inline void expect_sql(struct op_sqlenv *sql, const char *text, const char *expected)
{
    OP_CLEANUP(op_mem_freep) char *got = run_sql(sql, text);
    if (strcmp(got, expected) != 0)
        fail_msg("%s\n gives: %s\n  want: %s", text, got, expected);
}

static inline void expect_sql_error(struct op_sqlenv *sql, const char *text, const char *part)
{
    OP_CLEANUP(op_mem_freep) char *got = run_sql(sql, text);
    if (got[0] != '!' || !strstr(got, part))
        fail_msg("%s\n gives: %s\n  want the error: %s", text, got, part);
}

#endif
