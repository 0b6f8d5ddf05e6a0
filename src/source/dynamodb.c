/* SPDX-License-Identifier: MIT */

/*
 * A table, or what a key condition gives of it, page by page: one page (at most 1 MB, as DynamoDB
 * counts) is in memory, and the key at which the next one begins.
 */
#include "net/dynamodb.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "source/common.h"
#include "source/dynamodb_value.h"
#include "source/dynamodb_where.h"

enum { MAX_BODY = 1024 * 1024, MAX_KEY = 64 * 1024 };
#define WHOLE_ITEM "_json"

struct dynamodb_source {
    struct op_source base;
    struct op_dynamodb *db; /* NULL: an optional table that is not there */
    char *table, *index;
    char *texts[3];                              /* what the conditions are slices of */
    struct op_dynamodb_where where, and, filter; /* name.ptr NULL: none */
    struct op_dynamodb_key key;
    bool consistent;
    struct op_source_names names;
    bool declared; /* the columns are named: only they are asked for */
    bool whole;    /* ... but one of them is the whole item */
    struct op_buf body, next_key, scratch;
    struct op_json_iter page, items; /* from its beginning, and where we are */
    bool has_page, is_last;
    struct op_value *cells;
    size_t *offsets; /* where in scratch a cell's bytes begin; SIZE_MAX: not there */
};

static const struct op_source_option_spec options[] = {
    {"where",
     "condition on the partition key, as in 'id = {{id}}'; without it the table is scanned"},
    {"and", "condition on the sort key, as in 'created_at >= 2026'"},
    {"index", "the index to read instead of the table"},
    {"filter", "a further condition, on any other attribute, with its type: 'layer_id N = 0'"},
    {"columns",
     "the attributes to read; _json is the whole item; default: those of the first page"},
    {"consistent",
     "true (default for a table): read what was written last; false: half the price"},
    {"on_error", "fail (default) or skip: for items that cannot be read"},
    {"optional", "true: a missing table is one without rows, with the columns of 'columns'"},
    {"hash", "for doctor --create-tables: the partition key and its type, as in 'id S'"},
    {"range", "for doctor --create-tables: the sort key and its type"},
    {"indexes", "for doctor --create-tables: as in 'ByReport(report_id S, created_at S)'"},
    {NULL, NULL},
};

static bool guess(const char *target)
{
    (void)target;
    return false;
}

static void close_dynamodb(struct op_source *source)
{
    struct dynamodb_source *dy = (struct dynamodb_source *)source;
    op_dynamodb_close(dy->db);
    op_source_names_release(&dy->names);
    op_buf_release(&dy->body);
    op_buf_release(&dy->next_key);
    op_buf_release(&dy->scratch);
    for (size_t i = 0; i < OP_COUNT(dy->texts); i++)
        op_mem_free(dy->texts[i]);
    op_mem_free(dy->cells);
    op_mem_free(dy->offsets);
    op_mem_free(dy->table);
    op_mem_free(dy->index);
    op_mem_free(dy);
}

static void close_dynamodbp(struct dynamodb_source **dy)
{
    if (*dy)
        close_dynamodb(&(*dy)->base);
}

/* --- asking --- */

static void add_conditions(struct dynamodb_source *dy, struct op_json_out *out)
{
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, MAX_BODY);
    if (dy->where.name.ptr) {
        op_dynamodb_where_expression(&dy->where, 'h', &text);
        if (dy->and.name.ptr) {
            op_buf_addz(&text, " AND ");
            op_dynamodb_where_expression(&dy->and, 'r', &text);
        }
        op_json_out_kv_str(out, "KeyConditionExpression", op_buf_str(&text));
    }
    if (dy->filter.name.ptr) {
        op_buf_clear(&text);
        op_dynamodb_where_expression(&dy->filter, 'f', &text);
        op_json_out_kv_str(out, "FilterExpression", op_buf_str(&text));
    }
}

/* Names are always given as #c0, #c1, ...: any of them may be one of the 573 reserved words. */
static void add_projection(struct dynamodb_source *dy, struct op_json_out *out)
{
    if (!dy->declared || dy->whole)
        return;
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, MAX_BODY);
    for (size_t i = 0; i < dy->names.count; i++)
        op_buf_addf(&text, "%s#c%zu", i ? ", " : "", i);
    op_json_out_kv_str(out, "ProjectionExpression", op_buf_str(&text));
}

static void add_names(struct dynamodb_source *dy, struct op_json_out *out)
{
    bool projects = dy->declared && !dy->whole;
    if (!dy->where.name.ptr && !dy->filter.name.ptr && !projects)
        return;
    op_json_out_name(out, "ExpressionAttributeNames");
    op_json_out_object(out);
    for (size_t i = 0; projects && i < dy->names.count; i++) {
        OP_CLEANUP(op_mem_freep) char *alias = op_mem_printf("#c%zu", i);
        op_json_out_kv_text(out, alias, dy->names.names[i]);
    }
    const struct op_dynamodb_where *all[] = {&dy->where, &dy->and, &dy->filter};
    for (size_t i = 0; i < OP_COUNT(all); i++)
        if (all[i]->name.ptr)
            op_dynamodb_where_names(all[i], "hrf"[i], out);
    op_json_out_end_object(out);
    if (!dy->where.name.ptr && !dy->filter.name.ptr)
        return;
    op_json_out_name(out, "ExpressionAttributeValues");
    op_json_out_object(out);
    for (size_t i = 0; i < OP_COUNT(all); i++)
        if (all[i]->name.ptr)
            op_dynamodb_where_values(all[i], "hrf"[i], out);
    op_json_out_end_object(out);
}

static enum op_rc next_page(struct dynamodb_source *dy, struct op_err *err)
{
    struct op_json_out out;
    struct op_json root;
    op_buf_clear(&dy->body);
    op_json_out_init(&out, &dy->body, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "TableName", dy->table);
    if (dy->index)
        op_json_out_kv_text(&out, "IndexName", dy->index);
    if (dy->consistent)
        op_json_out_kv_bool(&out, "ConsistentRead", true);
    add_conditions(dy, &out);
    add_projection(dy, &out);
    add_names(dy, &out);
    if (dy->next_key.len) {
        op_json_out_name(&out, "ExclusiveStartKey");
        op_json_out_raw(&out, op_buf_str(&dy->next_key));
    }
    op_json_out_end_object(&out);
    enum op_rc rc = op_dynamodb_call(dy->db, dy->where.name.ptr ? "Query" : "Scan", dy->table,
                                     &dy->body, &root, err);
    if (rc)
        return rc;
    dy->page = dy->items = op_json_iter(op_json_get(root, "Items"));
    dy->has_page = true;
    /* A page may be empty and still not be the last: everything on it was filtered out. */
    struct op_json last = op_json_get(root, "LastEvaluatedKey");
    dy->is_last = !op_json_is(last, OP_JSON_OBJECT);
    op_buf_clear(&dy->next_key);
    if (!dy->is_last)
        op_json_write(&dy->next_key, last);
    return op_buf_finish(&dy->next_key, "the key of a page", err);
}

static enum op_rc next_item(struct dynamodb_source *dy, struct op_json *ret, struct op_err *err)
{
    for (;;) {
        if (dy->has_page && op_json_next(&dy->items)) {
            *ret = dy->items.value;
            return OP_OK;
        }
        if (dy->has_page && dy->is_last)
            return OP_NOTFOUND;
        enum op_rc rc = next_page(dy, err);
        if (rc)
            return rc;
    }
}

/* --- a row --- */

static enum op_rc fail_item(struct dynamodb_source *dy, struct op_json item, const char *name,
                            struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf key;
    op_buf_init(&key, 400);
    const char *const parts[] = {dy->key.hash, dy->key.range};
    for (int i = 0; i < 2 && *parts[i]; i++) {
        op_buf_addf(&key, "%s%s ", i ? ", " : "", parts[i]);
        struct op_json value = op_json_get(item, parts[i]);
        if (op_json_ok(value))
            op_json_write(&key, value);
    }
    return op_err_wrap(err, "DynamoDB table '%s', item %s: attribute '%s'", dy->table, key.ptr,
                       name);
}

static enum op_rc read_cell(struct dynamodb_source *dy, struct op_json item, size_t column,
                            struct op_err *err)
{
    const char *name = dy->names.names[column];
    bool in_scratch = false;
    size_t begin = dy->scratch.len;
    enum op_rc rc = OP_OK;
    if (strcmp(name, WHOLE_ITEM) == 0) {
        rc = op_dynamodb_plain_item(item, &dy->scratch, err);
        in_scratch = true;
        dy->cells[column] =
            (struct op_value){.type = OP_VALUE_TEXT, .s = {NULL, dy->scratch.len - begin}};
    } else {
        struct op_json value = op_json_get(item, name);
        dy->cells[column] = op_value_null();
        if (op_json_ok(value))
            rc = op_dynamodb_cell(value, &dy->scratch, &dy->cells[column], &in_scratch, err);
    }
    dy->offsets[column] = in_scratch ? begin : SIZE_MAX;
    return rc;
}

static enum op_rc next_dynamodb(struct op_source *source, const struct op_value **ret_cells,
                                struct op_err *err)
{
    struct dynamodb_source *dy = (struct dynamodb_source *)source;
    struct op_json item;
    enum op_rc rc = dy->db ? next_item(dy, &item, err) : OP_NOTFOUND;
    if (rc)
        return rc;
    op_buf_clear(&dy->scratch);
    for (size_t i = 0; i < source->column_count; i++) {
        rc = read_cell(dy, item, i, err);
        if (rc)
            return fail_item(dy, item, dy->names.names[i], err);
    }
    if (dy->scratch.failed)
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "DynamoDB table '%s': an item has more than %d MiB", dy->table,
                          OP_SOURCE_MAX_RECORD / 1024 / 1024);
    for (size_t i = 0; i < source->column_count; i++)
        if (dy->offsets[i] != SIZE_MAX)
            dy->cells[i].s.ptr = dy->scratch.ptr + dy->offsets[i];
    *ret_cells = dy->cells;
    return OP_OK;
}

/* --- opening --- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The key first, then what the items of the first page have, by name. */
static enum op_rc find_columns(struct dynamodb_source *dy, struct op_err *err)
{
    struct op_source_names *names = &dy->names;
    struct op_json item;
    enum op_rc rc = op_source_names_add(names, op_str_from(dy->key.hash), dy->table, err);
    if (!rc && dy->key.range[0])
        rc = op_source_names_add(names, op_str_from(dy->key.range), dy->table, err);
    size_t keys = names->count;
    enum op_rc found = rc ? rc : next_item(dy, &item, err);
    if (found == OP_NOTFOUND && !err->rc)
        return OP_OK;
    if (found)
        return found;
    do {
        struct op_json_iter it = op_json_iter(dy->items.value);
        while (!rc && op_json_next(&it)) {
            bool known = false;
            for (size_t i = 0; i < names->count && !known; i++)
                known = op_str_is(it.name, names->names[i]);
            if (!known)
                rc = op_source_names_add(names, it.name, dy->table, err);
        }
    } while (!rc && op_json_next(&dy->items));
    qsort(names->names + keys, names->count - keys, sizeof(names->names[0]), by_name);
    /* What was taken off the page is put back. */
    dy->items = dy->page;
    return rc;
}

static enum op_rc read_condition(struct dynamodb_source *dy,
                                 const struct op_source_config *config, const char *option,
                                 size_t at, struct op_dynamodb_where *ret, struct op_err *err)
{
    const char *text = op_source_option_get(config, option, NULL);
    if (!text)
        return OP_OK;
    dy->texts[at] = op_mem_strdup(text);
    enum op_rc rc = op_dynamodb_where_parse(dy->texts[at], ret, err);
    return rc ? op_err_wrap(err, "the option '%s'", option) : OP_OK;
}

static enum op_rc read_options(struct dynamodb_source *dy,
                               const struct op_source_config *config, struct op_err *err)
{
    const char *columns = op_source_option_get(config, "columns", NULL);
    dy->table = op_mem_strdup(config->target);
    dy->index = op_mem_strdup(op_source_option_get(config, "index", NULL));
    enum op_rc rc = read_condition(dy, config, "where", 0, &dy->where, err);
    if (!rc)
        rc = read_condition(dy, config, "and", 1, &dy->and, err);
    if (!rc)
        rc = read_condition(dy, config, "filter", 2, &dy->filter, err);
    if (!rc && columns)
        rc = op_source_names_parse(&dy->names, columns, "the option 'columns'", err);
    dy->declared = columns != NULL;
    for (size_t i = 0; i < dy->names.count; i++)
        dy->whole |= strcmp(dy->names.names[i], WHOLE_ITEM) == 0;
    struct op_dynamodb_spec spec = {.table = dy->table,
                                    .hash = op_source_option_get(config, "hash", NULL),
                                    .range = op_source_option_get(config, "range", NULL),
                                    .indexes = op_source_option_get(config, "indexes", NULL),
                                    .place = config->place};
    return rc ? rc : op_dynamodb_check(&spec, err);
}

/* The conditions must be on the key, and have its types. */
static enum op_rc check_key(struct dynamodb_source *dy, struct op_err *err)
{
    const struct op_dynamodb_key *key = &dy->key;
    const char *what = dy->index ? "index" : "table";
    if (dy->and.name.ptr && !dy->where.name.ptr)
        return op_fail(err, OP_INVAL, "'and' needs 'where', a condition on '%s'", key->hash);
    if (dy->where.name.ptr &&
        (!op_str_is(dy->where.name, key->hash) || dy->where.op != WHERE_EQ))
        return op_fail(
            err, OP_INVAL,
            "'where' must be '%s = VALUE': that is the partition key of the %s%s%s%s",
            key->hash, what, dy->index ? " '" : "", dy->index ? dy->index : "",
            dy->index ? "'" : "; for another attribute use 'index' or 'filter'");
    if (dy->and.name.ptr &&
        (!op_str_is(dy->and.name, key->range) || dy->and.op == WHERE_NE ||
         dy->and.op == WHERE_CONTAINS))
        return op_fail(
            err, OP_INVAL,
            "'and' must be a condition (=, <, <=, >, >=, begins_with, between) on the "
            "sort key of the %s, %s",
            what, key->range[0] ? key->range : "which has none");
    dy->where.type = key->hash_type;
    dy->and.type = key->range_type;
    return OP_OK;
}

static enum op_rc open_table(struct dynamodb_source *dy, const struct op_source_config *config,
                             struct op_err *err)
{
    bool local = false, optional = false;
    enum op_rc rc = op_source_flag(config, "optional", false, &optional, err);
    if (!rc)
        rc = op_dynamodb_open(config->env, NULL, &dy->db, err);
    if (rc)
        return rc;
    struct op_err why = OP_ERR_INIT;
    rc = op_dynamodb_describe(dy->db, dy->table, dy->index, &dy->key, &local, &why);
    if (rc == OP_NOTFOUND && optional) {
        op_dynamodb_closep(&dy->db);
        return dy->declared ? OP_OK : op_source_absent_columns(config, &dy->names, err);
    }
    if (rc) {
        *err = why;
        return rc;
    }
    rc = op_source_flag(config, "consistent", local, &dy->consistent, err);
    if (!rc && dy->consistent && !local)
        rc = op_fail(err, OP_INVAL,
                     "the index '%s' is a global one: it cannot be read consistently",
                     dy->index);
    if (!rc)
        rc = check_key(dy, err);
    return rc || dy->declared ? rc : find_columns(dy, err);
}

static enum op_rc open_dynamodb(const struct op_source_config *config, struct op_source **ret,
                                struct op_err *err)
{
    OP_CLEANUP(close_dynamodbp) struct dynamodb_source *dy = op_mem_alloc(sizeof(*dy));
    op_buf_init(&dy->body, MAX_BODY);
    op_buf_init(&dy->next_key, MAX_KEY);
    op_buf_init(&dy->scratch, OP_SOURCE_MAX_RECORD);
    enum op_rc rc = read_options(dy, config, err);
    if (!rc)
        rc = open_table(dy, config, err);
    if (rc)
        return op_err_wrap(err, "%s: input '%s'", config->place, config->name);
    dy->cells = op_mem_array(dy->names.count, sizeof(*dy->cells));
    dy->offsets = op_mem_array(dy->names.count, sizeof(*dy->offsets));
    dy->base = (struct op_source){.ops = &op_source_dynamodb,
                                  .columns = (const char *const *)dy->names.names,
                                  .column_count = dy->names.count};
    *ret = &OP_TAKE(dy)->base;
    return OP_OK;
}

const struct op_source_ops op_source_dynamodb = {
    .kind = "dynamodb",
    .help = "a table of Amazon DynamoDB, or what a key condition gives of it",
    .named = true,
    .reach = op_dynamodb_reach,
    .options = options,
    .guess = guess,
    .open = open_dynamodb,
    .next = next_dynamodb,
    .close = close_dynamodb,
};
