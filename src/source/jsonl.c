/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "source/common.h"
#include "source/source.h"

/* How far the columns are looked for when they are not named. 2000 is what an SQL table holds. */
enum { SCAN_LINES = 100, SCAN_BYTES = 1024 * 1024, MAX_COLUMNS = 2000 };

/* The column that holds the line itself. */
static const char whole_line[] = "_json";

struct jsonl_source {
    struct op_source base;
    struct op_lines *lines; /* NULL: an optional file that is not there */
    struct op_json_parser *parser;
    char *path;
    struct op_source_names names;
    size_t whole; /* index of _json, or the column count */
    struct op_value *cells;
    struct op_buf nested; /* JSON text of arrays and objects of the row */
    size_t *nested_at;    /* per column: where its text begins in nested, + 1; 0: not nested */
};

static const struct op_source_option_spec options[] = {
    {"columns", "comma list of the members to take; default: those of the first 100 lines. "
                "'_json' is the whole line"},
    {"on_error", "fail (default) or skip: what a malformed line does"},
    {"optional", "true: a missing file is an empty table with the columns of 'columns'"},
    {NULL, NULL},
};

static bool guess(const char *target)
{
    static const char *const suffixes[] = {".jsonl", ".ndjson", NULL};
    return op_source_ends_with(target, suffixes);
}

static void close_jsonl(struct op_source *source)
{
    struct jsonl_source *jsonl = (struct jsonl_source *)source;
    op_lines_close(jsonl->lines);
    op_json_parser_free(jsonl->parser);
    op_source_names_release(&jsonl->names);
    op_buf_release(&jsonl->nested);
    op_mem_free(jsonl->nested_at);
    op_mem_free(jsonl->cells);
    op_mem_free(jsonl->path);
    op_mem_free(jsonl);
}

static void close_jsonlp(struct jsonl_source **jsonl)
{
    if (*jsonl)
        close_jsonl(&(*jsonl)->base);
}

/* The line without BOM (only the first line has one) and white space. */
static struct op_str content(const struct op_line *line)
{
    struct op_str text = {line->ptr, line->len};
    if (line->offset == 0)
        text = op_str_skip_bom(text);
    return op_str_trim(text);
}

static bool has_name(const struct op_source_names *list, struct op_str name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (op_str_is(name, list->names[i]))
            return true;
    }
    return false;
}

static enum op_rc add_members(struct jsonl_source *jsonl, struct op_json object, int64_t line,
                              struct op_err *err)
{
    OP_CLEANUP(op_mem_freep)
    char *where = op_mem_printf("%s:%lld: the members", jsonl->path, (long long)line);
    struct op_json_iter it = op_json_iter(object);
    while (op_json_next(&it)) {
        if (has_name(&jsonl->names, it.name))
            continue;
        if (jsonl->names.count == MAX_COLUMNS)
            return op_fail(err, OP_INVAL,
                           "%s:%lld: more than %d different members; choose with the option "
                           "'columns'",
                           jsonl->path, (long long)line, MAX_COLUMNS);
        enum op_rc rc = op_source_names_add(&jsonl->names, it.name, where, err);
        if (rc)
            return op_err_wrap(err, "choose with the option 'columns'");
    }
    return OP_OK;
}

/* Broken lines are passed over here: they are reported when their turn comes. */
static enum op_rc scan_columns(struct jsonl_source *jsonl, struct op_env *env,
                               struct op_err *err)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    enum op_rc rc = op_lines_open(env, jsonl->path, 0, OP_SOURCE_MAX_RECORD, &lines, err);
    int count = 0;
    struct op_line line = {0};
    while (!rc && count < SCAN_LINES && line.end < SCAN_BYTES) {
        rc = op_lines_next(lines, &line, err);
        struct op_str text = rc || line.oversize ? OP_STR("") : content(&line);
        if (text.len == 0)
            continue;
        count++;
        struct op_json root;
        struct op_err ignored = OP_ERR_INIT;
        if (op_json_parse(jsonl->parser, text.ptr, text.len, true, &root, &ignored) == OP_OK &&
            op_json_is(root, OP_JSON_OBJECT))
            rc = add_members(jsonl, root, line.number, err);
    }
    if (rc && rc != OP_NOTFOUND)
        return rc;
    if (jsonl->names.count == 0)
        return op_fail(err, OP_INVAL,
                       "%s: no JSON object in the first %d lines; if that is as it should be, "
                       "name the columns with the option 'columns'",
                       jsonl->path, SCAN_LINES);
    return OP_OK;
}

static void make_cells(struct jsonl_source *jsonl)
{
    size_t count = jsonl->names.count;
    jsonl->cells = op_mem_array(count, sizeof(*jsonl->cells));
    jsonl->nested_at = op_mem_array(count, sizeof(*jsonl->nested_at));
    jsonl->whole = count;
    jsonl->base = (struct op_source){.ops = &op_source_jsonl,
                                     .columns = (const char *const *)jsonl->names.names,
                                     .column_count = count};
}

static enum op_rc open_jsonl(const struct op_source_config *config, struct op_source **ret,
                             struct op_err *err)
{
    bool missing = false;
    enum op_rc rc = op_source_probe(config, &missing, err);
    if (rc)
        return rc;
    OP_CLEANUP(close_jsonlp) struct jsonl_source *jsonl = op_mem_alloc(sizeof(*jsonl));
    jsonl->path = op_mem_strdup(config->target);
    jsonl->parser = op_json_parser_new();
    op_buf_init(&jsonl->nested, 2 * (size_t)OP_SOURCE_MAX_RECORD);
    const char *columns = op_source_option_get(config, "columns", NULL);
    if (columns)
        rc = op_source_names_parse(&jsonl->names, columns, "the option 'columns'", err);
    else if (missing)
        rc = op_source_absent_columns(config, &jsonl->names, err);
    else
        rc = scan_columns(jsonl, config->env, err);
    if (!rc && !missing)
        rc = op_lines_open(config->env, config->target, 0, OP_SOURCE_MAX_RECORD, &jsonl->lines,
                           err);
    if (rc)
        return op_err_wrap(err, "%s: input '%s'", config->place, config->name);
    make_cells(jsonl);
    /* Without 'columns' a member may be called _json: then it is that member. */
    for (size_t i = 0; columns && i < jsonl->names.count; i++) {
        if (strcmp(jsonl->names.names[i], whole_line) == 0)
            jsonl->whole = i;
    }
    *ret = &OP_TAKE(jsonl)->base;
    return OP_OK;
}

/* The column of a member, or the column count. Lines of one file mostly have the same members in
 * the same order, so the column after the last one found is tried first. */
static size_t find_column(const struct jsonl_source *jsonl, struct op_str name, size_t hint)
{
    size_t count = jsonl->base.column_count;
    for (size_t i = 0; i < count; i++) {
        size_t column = hint + i < count ? hint + i : hint + i - count;
        if (op_str_is(name, jsonl->base.columns[column]))
            return column;
    }
    return count;
}

static void set_cell(struct jsonl_source *jsonl, size_t column, struct op_json v)
{
    struct op_value *cell = &jsonl->cells[column];
    jsonl->nested_at[column] = 0;
    switch (op_json_type(v)) {
    case OP_JSON_NULL:
        *cell = op_value_null();
        break;
    case OP_JSON_FALSE:
    case OP_JSON_TRUE:
        *cell = op_value_int(op_json_type(v) == OP_JSON_TRUE);
        break;
    case OP_JSON_INT:
        *cell = op_value_int(op_json_int(v, 0));
        break;
    case OP_JSON_DOUBLE:
        *cell = op_value_double(op_json_double(v, 0));
        break;
    case OP_JSON_STRING:
        *cell = op_value_text(op_json_str(v));
        break;
    case OP_JSON_ARRAY:
    case OP_JSON_OBJECT:
        /* The buffer may move while the row is read: its place is kept, not its address. */
        jsonl->nested_at[column] = jsonl->nested.len + 1;
        op_json_write(&jsonl->nested, v);
        *cell = op_value_text((struct op_str){"", 0});
        cell->s.len = jsonl->nested.len + 1 - jsonl->nested_at[column];
        break;
    }
}

static enum op_rc read_line(struct jsonl_source *jsonl, struct op_str text, struct op_err *err)
{
    struct op_json root;
    enum op_rc rc = op_json_parse(jsonl->parser, text.ptr, text.len, true, &root, err);
    if (rc) {
        err->disp = OP_DISP_REJECT;
        return op_err_wrap(err, "%s:%lld", jsonl->path, (long long)jsonl->base.line);
    }
    if (!op_json_is(root, OP_JSON_OBJECT))
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "%s:%lld: the line is a JSON %s, not an object", jsonl->path,
                          (long long)jsonl->base.line, op_json_type_name(op_json_type(root)));
    op_buf_clear(&jsonl->nested);
    for (size_t i = 0; i < jsonl->base.column_count; i++) {
        jsonl->cells[i] = op_value_null();
        jsonl->nested_at[i] = 0;
    }
    size_t hint = 0;
    struct op_json_iter it = op_json_iter(root);
    while (op_json_next(&it)) {
        size_t column = find_column(jsonl, it.name, hint);
        if (column == jsonl->base.column_count)
            continue;
        set_cell(jsonl, column, it.value);
        hint = column + 1 < jsonl->base.column_count ? column + 1 : 0;
    }
    if (jsonl->whole < jsonl->base.column_count) {
        jsonl->cells[jsonl->whole] = op_value_text(text);
        jsonl->nested_at[jsonl->whole] = 0;
    }
    for (size_t i = 0; i < jsonl->base.column_count; i++) {
        if (jsonl->nested_at[i])
            jsonl->cells[i].s.ptr = jsonl->nested.ptr + jsonl->nested_at[i] - 1;
    }
    rc = op_buf_finish(&jsonl->nested, "the nested values of a line", err);
    if (rc) {
        err->disp = OP_DISP_REJECT;
        return op_err_wrap(err, "%s:%lld", jsonl->path, (long long)jsonl->base.line);
    }
    return OP_OK;
}

static enum op_rc next_jsonl(struct op_source *source, const struct op_value **ret_cells,
                             struct op_err *err)
{
    struct jsonl_source *jsonl = (struct jsonl_source *)source;
    if (!jsonl->lines)
        return OP_NOTFOUND;
    for (;;) {
        struct op_line line;
        enum op_rc rc = op_lines_next(jsonl->lines, &line, err);
        if (rc)
            return rc;
        source->line = line.number;
        if (line.oversize)
            return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                              "%s:%lld: the line has %zu bytes, more than the limit of %d",
                              jsonl->path, (long long)line.number, line.len,
                              OP_SOURCE_MAX_RECORD);
        struct op_str text = content(&line);
        if (text.len == 0)
            continue;
        rc = read_line(jsonl, text, err);
        if (!rc)
            *ret_cells = jsonl->cells;
        return rc;
    }
}

const struct op_source_ops op_source_jsonl = {
    .kind = "jsonl",
    .help = "lines of a file, each a JSON object; nested values are their JSON text",
    .options = options,
    .files = true,
    .guess = guess,
    .open = open_jsonl,
    .next = next_jsonl,
    .close = close_jsonl,
};
