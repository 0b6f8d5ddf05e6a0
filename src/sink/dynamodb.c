/* SPDX-License-Identifier: MIT */

/*
 * Rows as items of a DynamoDB table. A frame's payload is made when the answer is applied, so that
 * a row which no table can take is refused there: the length of the key (4 bytes, little endian), the
 * key and the other attributes, both as members of a JSON object without its braces. An attribute
 * that is to be removed is null there.
 */
#include "net/dynamodb.h"

#include <endian.h>
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "sink/common.h"
#include "sink/dynamodb_item.h"
#include "sink/frame.h"
#include "sink/sink.h"

/* 25 is BatchWriteItem's limit. It takes 16 MB; with 1 MiB a call is short and memory small. */
enum { BATCH_ITEMS = 25, BATCH_BYTES = 1024 * 1024, MAX_BODY = 16 * 1024 * 1024 };

enum mode { MODE_REPLACE, MODE_INSERT_MISSING, MODE_UPDATE, MODE_UPDATE_EXISTING };
static const char *const modes[] = {"replace", "insert_missing", "update", "update_existing"};
enum nulls { NULLS_OMIT, NULLS_NULL, NULLS_REMOVE };
static const char *const null_modes[] = {"omit", "null", "remove"};

struct dynamodb_sink {
    struct op_sink base;
    struct op_env *env;
    char *table;
    enum mode mode;
    enum nulls nulls;
    char **columns;
    enum op_dynamodb_type *types;
    size_t column_count;
    size_t *key;
    size_t key_count;
    struct op_dynamodb *db; /* NULL until something is delivered, and after an error */
};

static const struct op_sink_option_spec options[] = {
    {"mode",
     "replace (default): the whole item; insert_missing: an item that is there stays; "
     "update: only the row's attributes; update_existing: only of items that are there"},
    {"types", "comma list of 'column TYPE' with S, N, B or BOOL; default: by the value"},
    {"json_columns", "columns whose text is JSON, stored as maps, lists and so on"},
    {"nulls", "omit (default): NULL leaves the attribute out; null: stores NULL; remove: with "
              "update, takes the attribute away"},
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

static bool is_key(const struct dynamodb_sink *sink, size_t column)
{
    for (size_t i = 0; i < sink->key_count; i++)
        if (sink->key[i] == column)
            return true;
    return false;
}

/* --- encoding --- */

static enum op_rc add_member(const struct dynamodb_sink *sink, size_t column, struct op_value v,
                             bool first, struct op_buf *out, size_t *size, struct op_err *err)
{
    const char *name = sink->columns[column];
    op_buf_addz(out, first ? "\"" : ",\"");
    op_json_escape(out, name, strlen(name));
    op_buf_addz(out, "\":");
    *size += strlen(name);
    if (v.type != OP_VALUE_NULL)
        return op_dynamodb_add_cell(name, sink->types[column], v, out, size, err);
    op_buf_addz(out, sink->nulls == NULLS_REMOVE ? "null" : "{\"NULL\":true}");
    *size += 1;
    return OP_OK;
}

static enum op_rc add_key(const struct dynamodb_sink *sink, const struct op_value *cells,
                          struct op_buf *out, size_t *size, struct op_err *err)
{
    for (size_t i = 0; i < sink->key_count; i++) {
        struct op_value v = cells[sink->key[i]];
        bool text = v.type == OP_VALUE_TEXT || v.type == OP_VALUE_BLOB;
        if (v.type == OP_VALUE_NULL || (text && v.s.len == 0))
            return op_fail_as(err, OP_INVAL, OP_DISP_REJECT, "the key column '%s' is %s",
                              sink->columns[sink->key[i]], text ? "empty" : "NULL");
        enum op_rc rc = add_member(sink, sink->key[i], v, i == 0, out, size, err);
        if (rc)
            return rc;
    }
    return OP_OK;
}

static enum op_rc add_rest(const struct dynamodb_sink *sink, const struct op_value *cells,
                           struct op_buf *out, size_t *size, struct op_err *err)
{
    bool first = true;
    for (size_t i = 0; i < sink->column_count; i++) {
        if (is_key(sink, i) || (cells[i].type == OP_VALUE_NULL && sink->nulls == NULLS_OMIT))
            continue;
        enum op_rc rc = add_member(sink, i, cells[i], first, out, size, err);
        if (rc)
            return rc;
        first = false;
    }
    return OP_OK;
}

static enum op_rc add_payload(const struct dynamodb_sink *sink, const struct op_value *cells,
                              struct op_buf *out, uint64_t *ret_hash, struct op_err *err)
{
    size_t begin = out->len, size = 0;
    uint32_t length = 0;
    struct op_key key;
    op_buf_add(out, &length, sizeof(length));
    enum op_rc rc = add_key(sink, cells, out, &size, err);
    if (rc || out->failed)
        return rc;
    size_t from = begin + sizeof(length), len = out->len - from;
    length = htole32((uint32_t)len);
    memcpy(out->ptr + begin, &length, sizeof(length));
    op_key_begin(&key, NULL);
    op_key_add(&key, 'j', out->ptr + from, len);
    *ret_hash = key.hash;
    rc = add_rest(sink, cells, out, &size, err);
    if (rc || size <= OP_DYNAMODB_ITEM_MAX)
        return rc;
    return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                      "the item of DynamoDB table '%s' with the key {%.*s} has %zu bytes, and "
                      "DynamoDB takes 400 KB (%d): put large text elsewhere and its place here",
                      sink->table, (int)(len < 300 ? len : 300), out->ptr + from, size,
                      OP_DYNAMODB_ITEM_MAX);
}

static enum op_rc encode(const struct op_sink *base, struct op_str path,
                         const struct op_value *cells, struct op_buf *out, struct op_err *err)
{
    const struct dynamodb_sink *sink = (const struct dynamodb_sink *)base;
    uint64_t hash = 0;
    (void)path;
    size_t start = op_frame_begin(out, OP_STR_NULL);
    enum op_rc rc = add_payload(sink, cells, out, &hash, err);
    if (rc) {
        op_frame_cancel(out, start);
        return rc;
    }
    return op_frame_end(out, start, 0, hash, err);
}

/* --- delivering --- */

struct item {
    struct op_str key, rest; /* members without braces */
};

struct load {
    struct dynamodb_sink *sink;
    struct op_dynamodb_key key; /* of the table */
    struct op_buf bytes;        /* of the batch's items */
    struct {
        size_t key, rest, end; /* in bytes */
    } items[BATCH_ITEMS];
    size_t count;
    struct op_buf body, unprocessed;
    struct op_json_parser *parser;
};

static struct item item_at(const struct load *l, size_t i)
{
    const char *bytes = l->bytes.ptr;
    return (struct item){{bytes + l->items[i].key, l->items[i].rest - l->items[i].key},
                         {bytes + l->items[i].rest, l->items[i].end - l->items[i].rest}};
}

static enum op_rc read_item(const struct load *l, struct op_str body, struct item *ret,
                            struct op_err *err)
{
    uint32_t length;
    if (body.len < sizeof(length))
        return op_fail(err, OP_IO, "%s: a damaged row in the outbox", l->sink->table);
    memcpy(&length, body.ptr, sizeof(length));
    length = le32toh(length);
    if (length > body.len - sizeof(length))
        return op_fail(err, OP_IO, "%s: a damaged row in the outbox", l->sink->table);
    const char *key = body.ptr + sizeof(length);
    *ret = (struct item){{key, length}, {key + length, body.len - sizeof(length) - length}};
    return OP_OK;
}

static void add_item(struct op_buf *out, struct item item)
{
    op_buf_addc(out, '{');
    op_buf_add_str(out, item.key);
    op_buf_addz(out, item.rest.len ? "," : "");
    op_buf_add_str(out, item.rest);
    op_buf_addc(out, '}');
}

static void begin_body(struct load *l, struct op_json_out *out)
{
    op_buf_clear(&l->body);
    op_json_out_init(out, &l->body, 0);
    op_json_out_object(out);
    op_json_out_kv_text(out, "TableName", l->sink->table);
}

static enum op_rc call_for_item(struct load *l, const char *operation, struct item item,
                                struct op_err *err)
{
    struct op_json ignored;
    struct op_err why = OP_ERR_INIT;
    enum op_rc rc =
        op_dynamodb_call(l->sink->db, operation, l->sink->table, &l->body, &ignored, &why);
    /* The condition says whether the item is there: that it is not met is an answer. */
    if (rc == OP_CONFLICT || !rc)
        return OP_OK;
    *err = why;
    if (rc != OP_INVAL || why.disp != OP_DISP_FATAL)
        return rc;
    return op_err_wrap(err, "the item with the key {" OP_STR_FMT "}",
                       (int)(item.key.len < 200 ? item.key.len : 200), item.key.ptr);
}

static void add_condition(struct load *l, struct op_json_out *out, const char *function)
{
    OP_CLEANUP(op_mem_freep) char *text = op_mem_printf("%s(#h)", function);
    op_json_out_kv_text(out, "ConditionExpression", text);
    (void)l;
}

static enum op_rc put_one(struct load *l, struct item item, struct op_err *err)
{
    struct op_json_out out;
    begin_body(l, &out);
    op_json_out_name(&out, "Item");
    op_json_out_raw(&out, OP_STR(""));
    add_item(&l->body, item);
    if (l->sink->mode == MODE_INSERT_MISSING) {
        add_condition(l, &out, "attribute_not_exists");
        op_json_out_name(&out, "ExpressionAttributeNames");
        op_json_out_object(&out);
        op_json_out_kv_text(&out, "#h", l->key.hash);
        op_json_out_end_object(&out);
    }
    op_json_out_end_object(&out);
    return call_for_item(l, "PutItem", item, err);
}

/* SET #c0 = :c0, #c1 = :c1 REMOVE #c2 */
static void add_update(struct op_json rest, struct op_json_out *out)
{
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, MAX_BODY);
    for (int removes = 0; removes < 2; removes++) {
        struct op_json_iter it = op_json_iter(rest);
        const char *before = removes ? " REMOVE " : "SET ";
        while (op_json_next(&it)) {
            if (op_json_is(it.value, OP_JSON_NULL) != (bool)removes)
                continue;
            op_buf_addf(&text, "%s#c%zu", before, it.index);
            if (!removes)
                op_buf_addf(&text, " = :c%zu", it.index);
            before = ", ";
        }
    }
    if (text.len)
        op_json_out_kv_str(out, "UpdateExpression", op_str_trim(op_buf_str(&text)));
}

static void add_update_names(struct load *l, struct op_json rest, struct op_json_out *out)
{
    bool condition = l->sink->mode == MODE_UPDATE_EXISTING, values = false;
    if (!condition && op_json_count(rest) == 0)
        return;
    struct op_json_iter it = op_json_iter(rest);
    op_json_out_name(out, "ExpressionAttributeNames");
    op_json_out_object(out);
    if (condition)
        op_json_out_kv_text(out, "#h", l->key.hash);
    while (op_json_next(&it)) {
        OP_CLEANUP(op_mem_freep) char *alias = op_mem_printf("#c%zu", it.index);
        op_json_out_kv_str(out, alias, it.name);
        values |= !op_json_is(it.value, OP_JSON_NULL);
    }
    op_json_out_end_object(out);
    if (!values)
        return;
    op_json_out_name(out, "ExpressionAttributeValues");
    op_json_out_object(out);
    it = op_json_iter(rest);
    while (op_json_next(&it)) {
        OP_CLEANUP(op_mem_freep) char *alias = op_mem_printf(":c%zu", it.index);
        if (op_json_is(it.value, OP_JSON_NULL))
            continue;
        op_json_out_name(out, alias);
        op_json_out_value(out, it.value);
    }
    op_json_out_end_object(out);
}

static enum op_rc update_one(struct load *l, struct item item, struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf text;
    struct op_json rest;
    struct op_json_out out;
    op_buf_init(&text, OP_FRAME_MAX);
    op_buf_addc(&text, '{');
    op_buf_add_str(&text, item.rest);
    op_buf_addc(&text, '}');
    enum op_rc rc = op_json_parse(l->parser, text.ptr, text.len, true, &rest, err);
    if (rc)
        return rc;
    begin_body(l, &out);
    op_json_out_name(&out, "Key");
    op_json_out_raw(&out, OP_STR(""));
    add_item(&l->body, (struct item){item.key, OP_STR("")});
    add_update(rest, &out);
    if (l->sink->mode == MODE_UPDATE_EXISTING)
        add_condition(l, &out, "attribute_exists");
    add_update_names(l, rest, &out);
    op_json_out_end_object(&out);
    return call_for_item(l, "UpdateItem", item, err);
}

static enum op_rc one_by_one(struct load *l, struct op_err *err)
{
    bool update = l->sink->mode == MODE_UPDATE || l->sink->mode == MODE_UPDATE_EXISTING;
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < l->count; i++)
        rc = update ? update_one(l, item_at(l, i), err) : put_one(l, item_at(l, i), err);
    return rc;
}

/* How many puts were left undone; they are in l->unprocessed as a list. */
static size_t take_unprocessed(struct load *l, struct op_json root)
{
    struct op_json left = op_json_get(root, "UnprocessedItems");
    size_t count = op_json_count(op_json_get(left, l->sink->table));
    op_buf_clear(&l->unprocessed);
    if (count)
        op_json_write(&l->unprocessed, left);
    return count;
}

static void write_batch(struct load *l)
{
    struct op_json_out out;
    op_buf_clear(&l->body);
    op_json_out_init(&out, &l->body, 0);
    op_buf_addz(&l->body, "{\"RequestItems\":{\"");
    op_json_escape(&l->body, l->sink->table, strlen(l->sink->table));
    op_buf_addz(&l->body, "\":[");
    for (size_t i = 0; i < l->count; i++) {
        op_buf_addz(&l->body, i ? ",{\"PutRequest\":{\"Item\":" : "{\"PutRequest\":{\"Item\":");
        add_item(&l->body, item_at(l, i));
        op_buf_addz(&l->body, "}}");
    }
    op_buf_addz(&l->body, "]}}");
}

static enum op_rc put_batch(struct load *l, struct op_err *err)
{
    size_t left = l->count;
    write_batch(l);
    for (int tries = 1;; tries++) {
        struct op_json root;
        enum op_rc rc = op_dynamodb_call(l->sink->db, "BatchWriteItem", l->sink->table,
                                         &l->body, &root, err);
        if (rc)
            return rc;
        size_t still = take_unprocessed(l, root);
        if (still == 0)
            return OP_OK;
        if (still < left)
            tries = 1;
        left = still;
        if (!op_dynamodb_pause(l->sink->db, tries))
            return op_fail_as(
                err, OP_REMOTE, OP_DISP_RETRY,
                "DynamoDB table '%s': it takes no more items: raise its capacity, "
                "or make it PAY_PER_REQUEST; it is tried again",
                l->sink->table);
        op_buf_clear(&l->body);
        op_buf_addz(&l->body, "{\"RequestItems\":");
        op_buf_add_str(&l->body, op_buf_str(&l->unprocessed));
        op_buf_addc(&l->body, '}');
    }
}

static enum op_rc flush(struct load *l, struct op_err *err)
{
    enum op_rc rc = op_buf_finish(&l->bytes, "a batch of items", err);
    if (rc || l->count == 0)
        return rc;
    if (l->sink->mode == MODE_REPLACE && l->count > 1) {
        struct op_err why = OP_ERR_INIT;
        rc = put_batch(l, &why);
        /* One item was refused and with it the batch: find out which one. */
        if (rc == OP_INVAL && why.disp == OP_DISP_FATAL)
            rc = one_by_one(l, err);
        else if (rc)
            *err = why;
    } else {
        rc = one_by_one(l, err);
    }
    l->count = 0;
    op_buf_clear(&l->bytes);
    return rc;
}

/* A batch may not name a key twice. */
static bool has_key(const struct load *l, struct op_str key)
{
    for (size_t i = 0; i < l->count; i++)
        if (op_str_eq(item_at(l, i).key, key))
            return true;
    return false;
}

static enum op_rc put_frames(struct load *l, struct op_frames *frames, struct op_err *err)
{
    struct op_frame_view view;
    enum op_rc rc;
    while (!(rc = op_frames_next(frames, &view, err))) {
        struct item item;
        rc = read_item(l, view.body, &item, err);
        if (!rc && (l->count == BATCH_ITEMS || l->bytes.len + view.body.len > BATCH_BYTES ||
                    has_key(l, item.key)))
            rc = flush(l, err);
        if (rc)
            return rc;
        l->items[l->count].key = l->bytes.len;
        op_buf_add_str(&l->bytes, item.key);
        l->items[l->count].rest = l->bytes.len;
        op_buf_add_str(&l->bytes, item.rest);
        l->items[l->count++].end = l->bytes.len;
    }
    return rc == OP_NOTFOUND ? flush(l, err) : rc;
}

/* Rows with one key must be one item, and rows with two keys two: else a row delivered again would
 * not meet itself. */
static enum op_rc check_table(struct load *l, struct op_err *err)
{
    const struct dynamodb_sink *sink = l->sink;
    bool local;
    enum op_rc rc = op_dynamodb_describe(sink->db, sink->table, NULL, &l->key, &local, err);
    if (rc)
        return rc;
    size_t want = l->key.range[0] ? 2 : 1, found = 0;
    for (size_t i = 0; i < sink->key_count; i++)
        found += strcmp(sink->columns[sink->key[i]], l->key.hash) == 0 ||
                 strcmp(sink->columns[sink->key[i]], l->key.range) == 0;
    if (found == want && sink->key_count == want)
        return OP_OK;
    return op_fail(err, OP_INVAL,
                   "DynamoDB table '%s' has the key (%s%s%s): the output's 'key' must name "
                   "exactly these",
                   sink->table, l->key.hash, want == 2 ? ", " : "", l->key.range);
}

static enum op_rc deliver_frames(struct load *l, const char *outbox, int64_t from, int64_t to,
                                 struct op_err *err)
{
    struct op_frames frames;
    enum op_rc rc = OP_OK;
    if (!l->sink->db)
        rc = op_dynamodb_open(l->sink->env, NULL, &l->sink->db, err);
    if (!rc)
        rc = check_table(l, err);
    if (rc)
        return rc;
    rc = op_frames_open(&frames, l->sink->env, outbox, from, to, err);
    if (!rc)
        rc = put_frames(l, &frames, err);
    op_frames_release(&frames);
    return rc;
}

static enum op_rc deliver(struct op_sink *base, const char *outbox, int64_t from, int64_t to,
                          bool last, int64_t *ret_delivered, struct op_err *err)
{
    (void)last;
    struct load *l = op_mem_alloc(sizeof(*l));
    l->sink = (struct dynamodb_sink *)base;
    op_buf_init(&l->bytes, MAX_BODY);
    op_buf_init(&l->body, MAX_BODY);
    op_buf_init(&l->unprocessed, MAX_BODY);
    l->parser = op_json_parser_new();
    enum op_rc rc = from < to ? deliver_frames(l, outbox, from, to, err) : OP_OK;
    op_json_parser_free(l->parser);
    op_buf_release(&l->bytes);
    op_buf_release(&l->body);
    op_buf_release(&l->unprocessed);
    op_mem_free(l);
    if (!rc) {
        *ret_delivered = to;
        return OP_OK;
    }
    /* Opened anew next time: new keys may be in the shared file by then. */
    op_dynamodb_closep(&((struct dynamodb_sink *)base)->db);
    return rc;
}

/* --- opening --- */

static void close_dynamodb(struct op_sink *base)
{
    struct dynamodb_sink *sink = (struct dynamodb_sink *)base;
    op_dynamodb_close(sink->db);
    op_sink_names_free(sink->columns, sink->column_count);
    op_mem_free(sink->table);
    op_mem_free(sink->types);
    op_mem_free(sink->key);
    op_mem_free(sink);
}

static void close_dynamodbp(struct dynamodb_sink **sink)
{
    if (*sink)
        close_dynamodb(&(*sink)->base);
}

static enum op_rc read_word(const struct op_sink_config *config, const char *option,
                            const char *const *words, int count, int *ret, struct op_err *err)
{
    const char *value = op_sink_option_get(config, option, words[0]);
    for (*ret = 0; *ret < count; ++*ret)
        if (strcmp(words[*ret], value) == 0)
            return OP_OK;
    OP_CLEANUP(op_buf_release) struct op_buf list;
    op_buf_init(&list, 200);
    for (int i = 0; i < count; i++)
        op_buf_addf(&list, "%s%s", i ? ", " : "", words[i]);
    return op_fail(err, OP_INVAL, "%s: '%s' is one of %s, not '%.80s'", config->place, option,
                   list.ptr, value);
}

/* "column TYPE" */
static enum op_rc read_type(struct dynamodb_sink *sink, const struct op_sink_config *config,
                            struct op_str part, struct op_err *err)
{
    static const char *const names[] = {"S", "N", "B", "BOOL"};
    static const enum op_dynamodb_type types[] = {TYPE_S, TYPE_N, TYPE_B, TYPE_BOOL};
    struct op_str rest = op_str_trim(part);
    struct op_str name = op_str_cut(&rest, ' ');
    struct op_str type = rest.ptr ? op_str_trim(rest) : OP_STR_NULL;
    size_t column = 0, t = 0;
    while (column < sink->column_count && !op_str_is(name, sink->columns[column]))
        column++;
    while (t < OP_COUNT(names) && !op_str_is(type, names[t]))
        t++;
    if (column == sink->column_count || t == OP_COUNT(names))
        return op_fail(err, OP_INVAL,
                       "%s: 'types': '" OP_STR_FMT
                       "' is no column of 'rows' with S, N, B or BOOL",
                       config->place, OP_STR_ARG(part));
    sink->types[column] = types[t];
    return OP_OK;
}

static enum op_rc read_types(struct dynamodb_sink *sink, const struct op_sink_config *config,
                             struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) size_t *list = NULL;
    size_t count = 0;
    struct op_str rest = op_str_from(op_sink_option_get(config, "types", NULL));
    enum op_rc rc = OP_OK;
    while (!rc && rest.ptr)
        rc = read_type(sink, config, op_str_cut(&rest, ','), err);
    if (!rc)
        rc = op_sink_column_list(config, "json_columns", &list, &count, err);
    for (size_t i = 0; !rc && i < count; i++) {
        sink->types[list[i]] = TYPE_JSON;
        if (is_key(sink, list[i]))
            rc = op_fail(err, OP_INVAL, "%s: the key column '%s' cannot be in 'json_columns'",
                         config->place, sink->columns[list[i]]);
    }
    return rc;
}

static enum op_rc read_options(struct dynamodb_sink *sink, const struct op_sink_config *config,
                               struct op_err *err)
{
    int mode = 0, nulls = 0;
    enum op_rc rc = op_sink_key_list(config, &sink->key, &sink->key_count, err);
    if (!rc)
        rc = read_types(sink, config, err);
    if (!rc)
        rc = read_word(config, "mode", modes, OP_COUNT(modes), &mode, err);
    if (!rc)
        rc = read_word(config, "nulls", null_modes, OP_COUNT(null_modes), &nulls, err);
    sink->mode = (enum mode)mode;
    sink->nulls = (enum nulls)nulls;
    if (!rc && sink->nulls == NULLS_REMOVE && sink->mode < MODE_UPDATE)
        rc = op_fail(err, OP_INVAL, "%s: 'nulls: remove' needs 'mode: update'", config->place);
    struct op_dynamodb_spec spec = {.table = sink->table,
                                    .hash = op_sink_option_get(config, "hash", NULL),
                                    .range = op_sink_option_get(config, "range", NULL),
                                    .indexes = op_sink_option_get(config, "indexes", NULL),
                                    .place = config->place};
    return rc ? rc : op_dynamodb_check(&spec, err);
}

static enum op_rc open_dynamodb(const struct op_sink_config *config, struct op_sink **ret,
                                struct op_err *err)
{
    if (config->per_row_path)
        return op_fail(
            err, OP_INVAL,
            "%s: the name of a DynamoDB table cannot hold columns of the row; params it "
            "may",
            config->place);
    OP_CLEANUP(close_dynamodbp) struct dynamodb_sink *sink = op_mem_alloc(sizeof(*sink));
    sink->base.ops = &op_sink_dynamodb;
    sink->env = config->env;
    sink->table = op_mem_strdup(config->target);
    sink->columns = op_sink_names_copy(config);
    sink->column_count = config->column_count;
    sink->types = op_mem_array(config->column_count, sizeof(*sink->types));
    enum op_rc rc = read_options(sink, config, err);
    if (rc)
        return rc;
    *ret = &OP_TAKE(sink)->base;
    return OP_OK;
}

const struct op_sink_ops op_sink_dynamodb = {
    .kind = "dynamodb",
    .help = "items of a table of Amazon DynamoDB",
    .options = options,
    .needs_key = true,
    .named = true,
    .reach = op_dynamodb_reach,
    .guess = guess,
    .open = open_dynamodb,
    .encode = encode,
    .deliver = deliver,
    .close = close_dynamodb,
};
