/* SPDX-License-Identifier: MIT */

/*
 * One JSON document. Its text is kept: values nobody delivers are copied token by token (jsontext),
 * so numbers and strings keep their bytes; only the white space becomes that of two spaces of
 * indentation. The document is small (64 MiB at most) and held in memory; rows stay in the outbox
 * until they are written.
 */
#include <endian.h>
#include <string.h>

#include "base/io.h"
#include "base/json_out.h"
#include "base/map.h"
#include "base/mem.h"
#include "sink/common.h"
#include "sink/jsonrow.h"
#include "sink/jsontext.h"
#include "sink/sink.h"
#include "sink/spread.h"
#include "sink/target.h"

enum { INDENT = 2, MAX_STEPS = 32 };
#define MAX_DOCUMENT ((size_t)64 * 1024 * 1024)

struct json_sink {
    struct op_sink base;
    struct op_env *env;
    char *target, *root, *work_dir, *work_name;
    bool per_row_path;
    bool object; /* as: object; else array */
    struct op_jsonrow row;
    size_t *key;
    size_t key_count;
    size_t value;           /* column that alone is the member's value; or the column count */
    char *at;               /* option at, for messages */
    char *steps[MAX_STEPS]; /* its parts, unescaped */
    size_t step_count;
};

static const struct op_sink_option_spec options[] = {
    {"at", "JSON pointer to the array or object the rows go into; default '': the document"},
    {"as", "array (default): rows are elements; object: rows are members named by the key"},
    {"json_columns", "comma list of columns whose text is JSON: written as the value it is"},
    {"value", "as: object: the one column that is the member's value, instead of the row"},
    {"omit_key", "as: object: true leaves the key column out of the member's value"},
    {NULL, NULL},
};

static bool guess(const char *target)
{
    static const char *const suffixes[] = {".json", NULL};
    return op_sink_ends_with(target, suffixes);
}

/* --- encoding: u32 length of the member name, the name, the value as JSON --- */

static enum op_rc member_name(const struct json_sink *sink, struct op_value v, char scratch[32],
                              struct op_str *ret, struct op_err *err)
{
    const char *column = sink->row.names[sink->key[0]];
    if (v.type == OP_VALUE_NULL || v.type == OP_VALUE_BLOB)
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "the key column '%s' is %s; it must be the name of a member", column,
                          v.type == OP_VALUE_NULL ? "NULL" : "a blob");
    if (v.type == OP_VALUE_DOUBLE)
        *ret = (struct op_str){scratch, op_json_format_double(v.d, scratch)};
    else
        *ret = op_value_to_text(v, scratch);
    if (op_utf8_valid_len(ret->ptr, ret->len) != ret->len)
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "the key column '%s' is not valid UTF-8", column);
    return OP_OK;
}

static enum op_rc write_value(const struct json_sink *sink, const struct op_value *cells,
                              struct op_buf *out, struct op_err *err)
{
    if (sink->value < sink->row.count)
        return op_jsonrow_write_cell(&sink->row, sink->value, cells[sink->value], out, err);
    return op_jsonrow_write(&sink->row, cells, out, err);
}

static enum op_rc encode(const struct op_sink *base, struct op_str path,
                         const struct op_value *cells, struct op_buf *out, struct op_err *err)
{
    const struct json_sink *sink = (const struct json_sink *)base;
    char scratch[32];
    struct op_str name = OP_STR("");
    struct op_key key;
    if (!sink->per_row_path)
        path = OP_STR_NULL;
    enum op_rc rc = sink->per_row_path ? op_sink_check_path(sink->root, path, err) : OP_OK;
    if (!rc && sink->object)
        rc = member_name(sink, cells[sink->key[0]], scratch, &name, err);
    if (!rc)
        rc = op_jsonrow_key(&sink->row, cells, sink->key, sink->key_count, &key, err);
    if (rc)
        return rc;
    size_t start = op_frame_begin(out, path);
    uint32_t len = htole32((uint32_t)name.len);
    op_buf_add(out, &len, sizeof(len));
    op_buf_add(out, name.ptr, name.len);
    rc = write_value(sink, cells, out, err);
    if (rc) {
        op_frame_cancel(out, start);
        return rc;
    }
    return op_frame_end(out, start, path.len, key.hash, err);
}

/* --- the document in memory --- */

struct item {
    struct op_str name, value; /* of the old document, raw */
    int64_t frame;             /* the row that stands here instead; -1: none */
    size_t owner;              /* the first old item with the same key */
};

struct document {
    const struct json_sink *sink;
    const char *path;
    struct op_buf text;
    struct op_json_parser *parser, *row_parser;
    const char
        *chosen[MAX_STEPS]; /* where the value of each step begins in text; NULL: nowhere */
    struct op_str root;     /* ptr NULL: there is no document */
    struct item *items;
    size_t count, room;
    struct op_map index; /* key bytes -> item */
    struct op_buf key, scratch, out;
    int64_t added; /* bytes of new items: bounds the index */
    struct op_window probe;
};

static void document_release(struct document *d)
{
    op_buf_release(&d->text);
    op_json_parser_free(d->parser);
    op_json_parser_free(d->row_parser);
    op_mem_free(d->items);
    op_map_release(&d->index);
    op_buf_release(&d->key);
    op_buf_release(&d->scratch);
    op_buf_release(&d->out);
    op_window_release(&d->probe);
}

static void document_init(struct document *d, const struct json_sink *sink, const char *path)
{
    *d = (struct document){.sink = sink, .path = path};
    d->parser = op_json_parser_new();
    d->row_parser = op_json_parser_new();
    d->probe.fd = -1;
    op_buf_init(&d->text, MAX_DOCUMENT);
    op_buf_init(&d->key, 2 * (size_t)OP_FRAME_MAX);
    op_buf_init(&d->scratch, 2 * (size_t)OP_FRAME_MAX);
    op_buf_init(&d->out, MAX_DOCUMENT);
}

static struct item *add_item(struct document *d)
{
    if (d->count == d->room) {
        d->room = d->room ? d->room * 2 : 64;
        d->items = op_mem_realloc(d->items, d->room * sizeof(*d->items));
    }
    d->items[d->count] = (struct item){.frame = -1, .owner = d->count};
    return &d->items[d->count++];
}

static void name_key(struct document *d, struct op_str name)
{
    struct op_key key;
    op_key_begin(&key, &d->key);
    op_key_add(&key, 't', name.ptr, name.len);
}

/* False: the element has no such members and belongs to nobody. */
static bool element_key(struct document *d, struct op_json element)
{
    const struct json_sink *sink = d->sink;
    struct op_key key;
    op_key_begin(&key, &d->key);
    if (!op_json_is(element, OP_JSON_OBJECT))
        return false;
    for (size_t i = 0; i < sink->key_count; i++) {
        op_buf_clear(&d->scratch);
        struct op_json member = op_json_get(element, sink->row.names[sink->key[i]]);
        struct op_value v = op_jsonrow_value(member, &d->scratch);
        if (v.type == OP_VALUE_BLOB)
            v.s.ptr = d->scratch.ptr;
        op_key_add_value(&key, v);
    }
    return true;
}

static enum op_rc fail_document(struct document *d, struct op_err *err)
{
    return op_err_wrap(err, "%s: the existing file cannot be merged, it stays as it is",
                       d->path);
}

/* Walks one step of the pointer down in both views of the document. */
static enum op_rc take_step(struct document *d, size_t step, struct op_str *raw,
                            struct op_json *value, struct op_err *err)
{
    const char *name = d->sink->steps[step];
    struct op_jsontext_iter text = op_jsontext_iter(*raw);
    struct op_json_iter it = op_json_iter(*value);
    bool object = op_json_is(*value, OP_JSON_OBJECT);
    if (!object && !op_json_is(*value, OP_JSON_ARRAY))
        return op_fail(err, OP_INVAL,
                       "at: '%s' leads through a value of type %s at its part '%s'",
                       d->sink->at, op_json_type_name(op_json_type(*value)), name);
    int64_t index = -1;
    if (!object && (!op_str_int64(op_str_from(name), &index) || index < 0 ||
                    (uint64_t)index >= op_json_count(*value)))
        return op_fail(err, OP_INVAL, "at: '%s': the array has no element '%s'", d->sink->at,
                       name);
    struct op_str found_raw = OP_STR_NULL;
    struct op_json found = {0};
    while (op_jsontext_next(&text) && op_json_next(&it)) {
        if (object ? op_str_is(it.name, name) : it.index == (size_t)index) {
            found_raw = text.value;
            found = it.value;
        }
    }
    d->chosen[step] = found_raw.ptr;
    *raw = found_raw;
    *value = found;
    return OP_OK;
}

/* Lists the old items of the container the pointer leads to. */
static enum op_rc list_items(struct document *d, struct op_str raw, struct op_json value,
                             struct op_err *err)
{
    bool object = d->sink->object;
    if (!op_json_ok(value) || op_json_is(value, OP_JSON_NULL) || d->sink->key_count == 0)
        return OP_OK;
    if (!op_json_is(value, object ? OP_JSON_OBJECT : OP_JSON_ARRAY))
        return op_fail(
            err, OP_INVAL, "at '%s' there is a value of type %s where 'as: %s' was asked for",
            d->sink->at, op_json_type_name(op_json_type(value)), object ? "object" : "array");
    struct op_jsontext_iter text = op_jsontext_iter(raw);
    struct op_json_iter it = op_json_iter(value);
    while (op_jsontext_next(&text) && op_json_next(&it)) {
        struct item *item = add_item(d);
        item->name = text.name;
        item->value = text.value;
        if (object)
            name_key(d, it.name);
        else if (!element_key(d, it.value))
            continue;
        int64_t owner = (int64_t)d->count - 1;
        op_map_add(&d->index, op_buf_str(&d->key), owner, &owner);
        item->owner = (size_t)owner;
    }
    return op_buf_finish(&d->key, "a key", err);
}

static enum op_rc load_document(struct document *d, struct op_err *err)
{
    enum op_rc rc = op_io_read_file(d->sink->env, d->path, &d->text, err);
    if (rc == OP_NOTFOUND) {
        op_err_clear(err);
        return OP_OK;
    }
    if (rc)
        return op_err_wrap(err, "a JSON document is held in memory (use jsonl for more)");
    struct op_str raw = op_buf_str(&d->text);
    raw = op_str_trim(op_str_skip_bom(raw));
    if (raw.len == 0)
        return OP_OK;
    struct op_json value;
    rc = op_json_parse(d->parser, raw.ptr, raw.len, true, &value, err);
    if (!rc && op_jsontext_skip(raw) != raw.len)
        rc = op_fail(err, OP_INVAL, "it is not strict JSON");
    d->root = raw;
    for (size_t i = 0; !rc && i < d->sink->step_count && op_json_ok(value); i++)
        rc = take_step(d, i, &raw, &value, err);
    if (!rc)
        rc = list_items(d, raw, value, err);
    return rc ? fail_document(d, err) : OP_OK;
}

/* --- rows into the document --- */

static enum op_rc split_body(struct op_str body, struct op_str *ret_name,
                             struct op_str *ret_value, struct op_err *err)
{
    uint32_t len = 0;
    if (body.len >= sizeof(len))
        memcpy(&len, body.ptr, sizeof(len));
    len = le32toh(len);
    if (body.len < sizeof(len) || body.len - sizeof(len) < len)
        return op_fail(err, OP_IO, "a damaged row in the outbox");
    *ret_name = (struct op_str){body.ptr + sizeof(len), len};
    *ret_value = (struct op_str){ret_name->ptr + len, body.len - sizeof(len) - len};
    return OP_OK;
}

static enum op_rc row_key(struct document *d, struct op_str name, struct op_str value,
                          struct op_err *err)
{
    if (d->sink->object) {
        name_key(d, name);
        return OP_OK;
    }
    struct op_json row;
    enum op_rc rc = op_json_parse(d->row_parser, value.ptr, value.len, true, &row, err);
    if (rc)
        return op_err_wrap(err, "a row of the outbox");
    element_key(d, row);
    return op_buf_finish(&d->key, "a key", err);
}

static enum op_rc add_rows(struct document *d, struct op_frames *frames, struct op_err *err)
{
    struct op_frame_view view;
    enum op_rc rc;
    while (!(rc = op_frames_next(frames, &view, err))) {
        struct op_str name, value;
        int64_t index = (int64_t)d->count;
        rc = split_body(view.body, &name, &value, err);
        if (!rc && d->sink->key_count > 0)
            rc = row_key(d, name, value, err);
        if (rc)
            return rc;
        if (d->sink->key_count == 0 ||
            op_map_add(&d->index, op_buf_str(&d->key), index, &index)) {
            add_item(d);
            d->added += (int64_t)value.len;
        }
        d->items[index].frame = view.offset;
        if (d->added > (int64_t)MAX_DOCUMENT)
            return op_fail(err, OP_INVAL,
                           "%s would pass %zu bytes, the limit of a JSON document; use jsonl",
                           d->path, MAX_DOCUMENT);
    }
    return rc == OP_NOTFOUND ? OP_OK : rc;
}

/* --- writing --- */

static enum op_rc copy_raw(struct document *d, struct op_str raw, int depth, struct op_err *err)
{
    if (op_jsontext_copy(&d->out, raw, INDENT, depth))
        return OP_OK;
    return op_fail(err, OP_INVAL, "%s: values are nested more than %d deep", d->path,
                   OP_JSON_DEPTH);
}

static void write_name(struct document *d, struct op_str name)
{
    op_buf_addc(&d->out, '"');
    op_json_escape(&d->out, name.ptr, name.len);
    op_buf_addz(&d->out, "\": ");
}

static enum op_rc write_item(struct document *d, const struct item *item, int depth,
                             struct op_err *err)
{
    if (item->frame < 0) {
        if (item->name.ptr)
            op_buf_addf(&d->out, "\"" OP_STR_FMT "\": ", OP_STR_ARG(item->name));
        return copy_raw(d, item->value, depth, err);
    }
    struct op_frame_view view;
    struct op_str name, value;
    enum op_rc rc = op_frame_read(&d->probe, item->frame, &view, err);
    if (!rc)
        rc = split_body(view.body, &name, &value, err);
    if (rc)
        return rc;
    if (d->sink->object)
        write_name(d, name);
    return copy_raw(d, value, depth, err);
}

static enum op_rc write_container(struct document *d, int depth, struct op_err *err)
{
    bool first = true;
    op_buf_addc(&d->out, d->sink->object ? '{' : '[');
    for (size_t i = 0; i < d->count; i++) {
        const struct item *item = &d->items[i];
        /* A second old item with a key that was delivered. */
        if (item->owner != i && d->items[item->owner].frame >= 0)
            continue;
        if (!first)
            op_buf_addc(&d->out, ',');
        first = false;
        op_jsontext_break(&d->out, INDENT, depth + 1);
        enum op_rc rc = write_item(d, item, depth + 1, err);
        if (rc)
            return rc;
    }
    if (!first)
        op_jsontext_break(&d->out, INDENT, depth);
    op_buf_addc(&d->out, d->sink->object ? '}' : ']');
    return OP_OK;
}

/* The containers around the rows' one that do not exist yet. */
static enum op_rc write_new_steps(struct document *d, size_t step, int depth,
                                  struct op_err *err)
{
    size_t opened = 0;
    for (; step + opened < d->sink->step_count; opened++) {
        op_buf_addc(&d->out, '{');
        op_jsontext_break(&d->out, INDENT, depth + (int)opened + 1);
        write_name(d, op_str_from(d->sink->steps[step + opened]));
    }
    enum op_rc rc = write_container(d, depth + (int)opened, err);
    while (opened-- > 0) {
        op_jsontext_break(&d->out, INDENT, depth + (int)opened);
        op_buf_addc(&d->out, '}');
    }
    return rc;
}

static enum op_rc write_level(struct document *d, struct op_str raw, size_t step,
                              struct op_err *err)
{
    int depth = (int)step;
    if (!raw.ptr)
        return write_new_steps(d, step, depth, err);
    if (step == d->sink->step_count)
        return write_container(d, depth, err);
    bool object = raw.ptr[0] == '{', first = true;
    enum op_rc rc = OP_OK;
    op_buf_addc(&d->out, object ? '{' : '[');
    struct op_jsontext_iter it = op_jsontext_iter(raw);
    while (!rc && op_jsontext_next(&it)) {
        if (!first)
            op_buf_addc(&d->out, ',');
        first = false;
        op_jsontext_break(&d->out, INDENT, depth + 1);
        if (object) {
            op_buf_addc(&d->out, '"');
            op_buf_add_str(&d->out, it.name);
            op_buf_addz(&d->out, "\": ");
        }
        rc = it.value.ptr == d->chosen[step] ? write_level(d, it.value, step + 1, err)
                                             : copy_raw(d, it.value, depth + 1, err);
    }
    if (!rc && !d->chosen[step]) {
        if (!first)
            op_buf_addc(&d->out, ',');
        op_jsontext_break(&d->out, INDENT, depth + 1);
        write_name(d, op_str_from(d->sink->steps[step]));
        rc = write_new_steps(d, step + 1, depth + 1, err);
    }
    op_jsontext_break(&d->out, INDENT, depth);
    op_buf_addc(&d->out, object ? '}' : ']');
    return rc;
}

static enum op_rc write_document(struct document *d, struct op_err *err)
{
    enum op_rc rc = write_level(d, d->root, 0, err);
    op_buf_addc(&d->out, '\n');
    if (!rc)
        rc = op_buf_finish(&d->out, d->path, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_target_release) struct op_target target;
    op_target_init(&target, d->sink->env);
    rc = op_target_begin(&target, d->path, err);
    if (!rc)
        rc = op_target_add(&target, d->out.ptr, d->out.len, err);
    return rc ? rc : op_target_commit(&target, err);
}

static enum op_rc merge_one(void *arg, const char *path, struct op_frames *frames,
                            struct op_err *err)
{
    OP_CLEANUP(document_release) struct document d = {0};
    document_init(&d, arg, path);
    enum op_rc rc = load_document(&d, err);
    if (!rc)
        rc = add_rows(&d, frames, err);
    if (!rc && frames->window.path)
        rc = op_window_open(&d.probe, d.sink->env, frames->window.path, err);
    if (rc == OP_NOTFOUND)
        return op_fail(err, OP_IO, "the outbox file %s is missing", frames->window.path);
    return rc ? rc : write_document(&d, err);
}

static enum op_rc deliver(struct op_sink *base, const char *outbox, int64_t from, int64_t to,
                          bool last, int64_t *ret_delivered, struct op_err *err)
{
    struct json_sink *sink = (struct json_sink *)base;
    OP_CLEANUP(op_frames_release) struct op_frames frames = {.window = {.fd = -1}};
    int64_t old = from, begin = from;
    enum op_rc rc = OP_OK;
    if (!sink->per_row_path)
        rc = op_sink_file_size(sink->env, sink->target, &old, err);
    if (rc)
        return rc;
    if (op_sink_should_wait(old, to - from, last)) {
        *ret_delivered = from;
        return OP_OK;
    }
    if (sink->key_count == 0 || (old == 0 && !sink->per_row_path))
        begin = 0;
    if (sink->per_row_path && from < to) {
        struct op_spread spread = {sink->env, sink->work_dir, sink->work_name, sink->root};
        rc = op_spread_each(&spread, outbox, begin, to, merge_one, sink, err);
    } else if (from < to || (last && old == 0 && !sink->per_row_path)) {
        if (begin < to)
            rc = op_frames_open(&frames, sink->env, outbox, begin, to, err);
        if (!rc)
            rc = merge_one(sink, sink->target, &frames, err);
    }
    if (!rc)
        *ret_delivered = to;
    return rc;
}

/* --- life --- */

static void close_json(struct op_sink *base)
{
    struct json_sink *sink = (struct json_sink *)base;
    for (size_t i = 0; i < sink->step_count; i++)
        op_mem_free(sink->steps[i]);
    op_jsonrow_release(&sink->row);
    op_mem_free(sink->target);
    op_mem_free(sink->root);
    op_mem_free(sink->work_dir);
    op_mem_free(sink->work_name);
    op_mem_free(sink->key);
    op_mem_free(sink->at);
    op_mem_free(sink);
}

static void close_jsonp(struct json_sink **sink)
{
    if (*sink)
        close_json(&(*sink)->base);
}

static char *unescape_step(struct op_str part)
{
    char *text = op_mem_alloc(part.len + 1);
    size_t to = 0;
    for (size_t i = 0; i < part.len; i++) {
        char c = part.ptr[i];
        if (c == '~' && i + 1 < part.len && (part.ptr[i + 1] == '0' || part.ptr[i + 1] == '1'))
            c = part.ptr[++i] == '0' ? '~' : '/';
        text[to++] = c;
    }
    return text;
}

static enum op_rc read_pointer(struct json_sink *sink, const struct op_sink_config *config,
                               struct op_err *err)
{
    sink->at = op_mem_strdup(op_sink_option_get(config, "at", ""));
    if (!sink->at[0])
        return OP_OK;
    if (sink->at[0] != '/')
        return op_fail(err, OP_INVAL,
                       "%s: option 'at' is a JSON pointer like /batches/active, not '%s'",
                       config->place, sink->at);
    struct op_str rest = op_str_from(sink->at + 1);
    while (rest.ptr) {
        if (sink->step_count == MAX_STEPS)
            return op_fail(err, OP_INVAL, "%s: option 'at' has more than %d parts",
                           config->place, MAX_STEPS);
        sink->steps[sink->step_count++] = unescape_step(op_str_cut(&rest, '/'));
    }
    return OP_OK;
}

static enum op_rc read_shape(struct json_sink *sink, const struct op_sink_config *config,
                             struct op_err *err)
{
    const char *as = op_sink_option_get(config, "as", "array");
    bool omit_key = false;
    OP_CLEANUP(op_mem_freep) size_t *value = NULL;
    size_t values = 0;
    enum op_rc rc = op_sink_flag(config, "omit_key", false, &omit_key, err);
    if (!rc)
        rc = op_sink_column_list(config, "value", &value, &values, err);
    if (rc)
        return rc;
    sink->object = strcmp(as, "object") == 0;
    if (!sink->object && strcmp(as, "array") != 0)
        return op_fail(err, OP_INVAL, "%s: option 'as' is array or object, not '%s'",
                       config->place, as);
    if (sink->object && sink->key_count != 1)
        return op_fail(err, OP_INVAL,
                       "%s: 'as: object' needs exactly one key column: it names the members",
                       config->place);
    if (!sink->object && (values > 0 || omit_key))
        return op_fail(err, OP_INVAL, "%s: 'value' and 'omit_key' go with 'as: object'",
                       config->place);
    if (values > 1)
        return op_fail(err, OP_INVAL, "%s: 'value' names one column", config->place);
    sink->value = values ? value[0] : config->column_count;
    if (omit_key)
        op_jsonrow_leave_out(&sink->row, sink->key[0]);
    return OP_OK;
}

static enum op_rc open_json(const struct op_sink_config *config, struct op_sink **ret,
                            struct op_err *err)
{
    OP_CLEANUP(close_jsonp) struct json_sink *sink = op_mem_alloc(sizeof(*sink));
    sink->base.ops = &op_sink_json;
    sink->env = config->env;
    sink->per_row_path = config->per_row_path;
    sink->target = op_mem_strdup(config->target);
    sink->root = op_sink_root_of(config->per_row_path ? config->target : NULL);
    sink->work_dir = op_mem_strdup(config->work_dir ? config->work_dir : ".");
    sink->work_name = op_sink_work_name(config);
    enum op_rc rc = op_sink_key_list(config, &sink->key, &sink->key_count, err);
    if (!rc)
        rc = op_jsonrow_init(&sink->row, config, err);
    if (!rc)
        rc = read_pointer(sink, config, err);
    if (!rc)
        rc = read_shape(sink, config, err);
    if (rc)
        return rc;
    *ret = &OP_TAKE(sink)->base;
    return OP_OK;
}

const struct op_sink_ops op_sink_json = {
    .kind = "json",
    .help = "elements or members of one JSON document; the rest of it is kept",
    .options = options,
    .needs_key = false,
    .guess = guess,
    .open = open_json,
    .encode = encode,
    .deliver = deliver,
    .close = close_json,
};
