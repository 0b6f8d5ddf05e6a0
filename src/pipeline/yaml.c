/* SPDX-License-Identifier: MIT */
#include "pipeline/yaml.h"

#include <yaml.h>

#include "base/map.h"
#include "base/mem.h"

struct reader {
    yaml_parser_t parser;
    yaml_event_t event;
    bool has_event;
    struct op_arena *arena;
    const char *file;
};

static void reader_release(struct reader *r)
{
    if (r->has_event)
        yaml_event_delete(&r->event);
    yaml_parser_delete(&r->parser);
}

static int line_of(const yaml_mark_t *mark)
{
    return (int)mark->line + 1;
}

static enum op_rc fail_syntax(const struct reader *r, struct op_err *err)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "is not YAML";
    if (p->error == YAML_READER_ERROR) {
        const unsigned char *at = p->input.string.start;
        const unsigned char *end = p->input.string.end;
        int line = 1;
        for (size_t left = p->problem_offset; left > 0 && at < end; left--)
            line += *at++ == '\n';
        return op_fail(err, OP_INVAL, "%s:%d: %s; the file must be plain UTF-8 text", r->file,
                       line, problem);
    }
    int line = line_of(&p->problem_mark);
    if (p->context && p->context_mark.line != p->problem_mark.line)
        return op_fail(err, OP_INVAL, "%s:%d: %s %s that began in line %d", r->file, line,
                       problem, p->context, line_of(&p->context_mark));
    if (p->context)
        return op_fail(err, OP_INVAL, "%s:%d: %s %s", r->file, line, problem, p->context);
    return op_fail(err, OP_INVAL, "%s:%d: %s", r->file, line, problem);
}

/* The next event lies in r->event afterwards. */
static enum op_rc next_event(struct reader *r, struct op_err *err)
{
    if (r->has_event)
        yaml_event_delete(&r->event);
    r->has_event = false;
    if (!yaml_parser_parse(&r->parser, &r->event))
        return fail_syntax(r, err);
    r->has_event = true;
    return OP_OK;
}

static enum op_rc refuse_properties(const struct reader *r, struct op_err *err)
{
    const yaml_event_t *e = &r->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    }
    int line = line_of(&e->start_mark);
    if (anchor)
        return op_fail(err, OP_INVAL,
                       "%s:%d: anchors (&%s) are not supported: write the value out", r->file,
                       line, (const char *)anchor);
    if (tag)
        return op_fail(err, OP_INVAL,
                       "%s:%d: tags (%s) are not supported; a text that begins with '!' needs "
                       "quotes",
                       r->file, line, (const char *)tag);
    return OP_OK;
}

static enum op_rc read_node(struct reader *r, int depth, struct op_yaml **ret,
                            struct op_err *err);

static enum op_rc read_scalar(struct reader *r, struct op_yaml *node, struct op_err *err)
{
    const yaml_event_t *e = &r->event;
    struct op_str text = {(const char *)e->data.scalar.value, e->data.scalar.length};
    if (memchr(text.ptr, '\0', text.len))
        return op_fail(err, OP_INVAL, "%s:%d: a text must not hold a NUL character", r->file,
                       node->line);
    node->kind = OP_YAML_SCALAR;
    node->text = op_arena_strdup(r->arena, text);
    node->len = text.len;
    node->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (e->data.scalar.style == YAML_LITERAL_SCALAR_STYLE ||
        e->data.scalar.style == YAML_FOLDED_SCALAR_STYLE)
        node->line++; /* behind the | or > line: that is where its SQL or prompt begins */
    return OP_OK;
}

static enum op_rc read_key(struct reader *r, struct op_map *seen, const char **ret_key,
                           int *ret_line, struct op_err *err)
{
    const yaml_event_t *e = &r->event;
    int line = line_of(&e->start_mark);
    if (e->type == YAML_ALIAS_EVENT)
        return op_fail(err, OP_INVAL,
                       "%s:%d: aliases (*%s) are not supported: write the value out", r->file,
                       line, (const char *)e->data.alias.anchor);
    if (e->type != YAML_SCALAR_EVENT)
        return op_fail(err, OP_INVAL,
                       "%s:%d: a key must be a word; a value that begins with {{ needs quotes "
                       "around it, as in \"{{name}}\"",
                       r->file, line);
    if (refuse_properties(r, err))
        return err->rc;
    struct op_str key = {(const char *)e->data.scalar.value, e->data.scalar.length};
    if (memchr(key.ptr, '\0', key.len))
        return op_fail(err, OP_INVAL, "%s:%d: a key must not hold a NUL character", r->file,
                       line);
    if (key.len > OP_YAML_MAX_KEY)
        return op_fail(err, OP_INVAL, "%s:%d: a key has %zu bytes, %d are allowed", r->file,
                       line, key.len, OP_YAML_MAX_KEY);
    if (e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && op_str_is(key, "<<"))
        return op_fail(err, OP_INVAL,
                       "%s:%d: merges (<<) are not supported: write the keys out", r->file,
                       line);
    int64_t first = 0;
    if (!op_map_add(seen, key, line, &first))
        return op_fail(err, OP_INVAL, "%s:%d: the key '%s' stands twice, first in line %d",
                       r->file, line, key.ptr, (int)first);
    *ret_key = op_arena_strdup(r->arena, key);
    *ret_line = line;
    return OP_OK;
}

static enum op_rc read_children(struct reader *r, int depth, struct op_yaml *node,
                                struct op_map *seen, struct op_err *err)
{
    bool map = node->kind == OP_YAML_MAP;
    yaml_event_type_t end = map ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
    struct op_yaml **link = &node->first;
    for (;;) {
        if (next_event(r, err))
            return err->rc;
        if (r->event.type == end)
            return OP_OK;
        const char *key = NULL;
        int key_line = 0;
        if (map && (read_key(r, seen, &key, &key_line, err) || next_event(r, err)))
            return err->rc;
        struct op_yaml *child = NULL;
        if (read_node(r, depth + 1, &child, err))
            return err->rc;
        child->key = key;
        child->key_line = map ? key_line : child->line;
        *link = child;
        link = &child->next;
        node->count++;
    }
}

/* Reads the node whose first event lies in r->event. */
static enum op_rc read_node(struct reader *r, int depth, struct op_yaml **ret,
                            struct op_err *err)
{
    const yaml_event_t *e = &r->event;
    struct op_yaml *node = op_arena_alloc(r->arena, sizeof(*node));
    node->line = line_of(&e->start_mark);
    node->file = r->file;
    node->text = "";
    if (depth > OP_YAML_MAX_DEPTH)
        return op_fail(err, OP_INVAL, "%s:%d: nested deeper than %d levels", r->file,
                       node->line, OP_YAML_MAX_DEPTH);
    if (e->type == YAML_ALIAS_EVENT)
        return op_fail(
            err, OP_INVAL,
            "%s:%d: aliases (*%s) are not supported; a text that begins with '*' needs "
            "quotes",
            r->file, node->line, (const char *)e->data.alias.anchor);
    if (refuse_properties(r, err))
        return err->rc;
    if (e->type == YAML_SCALAR_EVENT) {
        if (read_scalar(r, node, err))
            return err->rc;
    } else {
        bool map = e->type == YAML_MAPPING_START_EVENT;
        node->kind = map ? OP_YAML_MAP : OP_YAML_LIST;
        node->flow = map ? e->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE
                         : e->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
        struct op_map seen = {0};
        enum op_rc rc = read_children(r, depth, node, &seen, err);
        op_map_release(&seen);
        if (rc)
            return rc;
    }
    *ret = node;
    return OP_OK;
}

static enum op_rc read_document(struct reader *r, struct op_yaml **ret, struct op_err *err)
{
    if (next_event(r, err) || next_event(r, err)) /* stream start, document start */
        return err->rc;
    if (r->event.type == YAML_STREAM_END_EVENT)
        return op_fail(err, OP_INVAL, "%s:1: the file is empty", r->file);
    if (r->event.data.document_start.tag_directives.start !=
        r->event.data.document_start.tag_directives.end)
        return op_fail(err, OP_INVAL, "%s:%d: tags (%%TAG) are not supported", r->file,
                       line_of(&r->event.start_mark));
    struct op_yaml *root = NULL;
    if (next_event(r, err) || read_node(r, 1, &root, err))
        return err->rc;
    if (next_event(r, err) || next_event(r, err)) /* document end, stream end */
        return err->rc;
    if (r->event.type != YAML_STREAM_END_EVENT)
        return op_fail(err, OP_INVAL, "%s:%d: a second document begins here; one is allowed",
                       r->file, line_of(&r->event.start_mark));
    *ret = root;
    return OP_OK;
}

enum op_rc op_yaml_parse(struct op_arena *arena, const char *file, struct op_str text,
                         const struct op_yaml **ret, struct op_err *err)
{
    if (text.len > OP_YAML_MAX_BYTES)
        return op_fail(err, OP_INVAL, "%s:1: the file has %zu bytes, %d are allowed", file,
                       text.len, OP_YAML_MAX_BYTES);
    OP_CLEANUP(reader_release) struct reader r = {.arena = arena};
    if (!yaml_parser_initialize(&r.parser))
        return op_fail(err, OP_IO, "%s: the YAML reader cannot start: out of memory", file);
    r.file = op_arena_strdup(arena, op_str_from(file));
    /* Fixed, so that a UTF-16 byte order mark is an error and not another way in. */
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    text = op_str_skip_bom(text); /* it would count as a column of the first line */
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.ptr ? text.ptr : ""),
                                 text.len);
    struct op_yaml *root = NULL;
    if (read_document(&r, &root, err))
        return err->rc;
    *ret = root;
    return OP_OK;
}

const struct op_yaml *op_yaml_get(const struct op_yaml *node, const char *key)
{
    if (!node || node->kind != OP_YAML_MAP)
        return NULL;
    for (const struct op_yaml *n = node->first; n; n = n->next)
        if (strcmp(n->key, key) == 0)
            return n;
    return NULL;
}

bool op_yaml_is_null(const struct op_yaml *node)
{
    return node->kind == OP_YAML_SCALAR && !node->quoted &&
           (node->len == 0 || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0 ||
            strcmp(node->text, "Null") == 0 || strcmp(node->text, "NULL") == 0);
}

const char *op_yaml_kind_name(const struct op_yaml *node)
{
    if (node->kind == OP_YAML_LIST)
        return "a list";
    if (node->kind == OP_YAML_MAP)
        return "a map";
    return op_yaml_is_null(node) ? "nothing" : "a text";
}

static enum op_rc fail_type(const struct op_yaml *node, const char *wanted, struct op_err *err)
{
    bool shown = node->kind == OP_YAML_SCALAR && !op_yaml_is_null(node);
    const char *text = shown ? node->text : op_yaml_kind_name(node);
    const char *quote = shown ? "'" : "";
    if (!node->key)
        return op_fail(err, OP_INVAL, "%s:%d: an item must be %s, not %s%.80s%s", node->file,
                       node->line, wanted, quote, text, quote);
    return op_fail(err, OP_INVAL, "%s:%d: '%s' must be %s, not %s%.80s%s", node->file,
                   node->key_line, node->key, wanted, quote, text, quote);
}

enum op_rc op_yaml_int(const struct op_yaml *node, int64_t *ret, struct op_err *err)
{
    struct op_str text = {node->text, node->len};
    if (node->kind != OP_YAML_SCALAR || !op_str_int64(text, ret))
        return fail_type(node, "a whole number", err);
    return OP_OK;
}

static bool is_word(const struct op_yaml *node, const char *lower, const char *title,
                    const char *upper)
{
    return strcmp(node->text, lower) == 0 || strcmp(node->text, title) == 0 ||
           strcmp(node->text, upper) == 0;
}

enum op_rc op_yaml_bool(const struct op_yaml *node, bool *ret, struct op_err *err)
{
    if (node->kind == OP_YAML_SCALAR && is_word(node, "true", "True", "TRUE")) {
        *ret = true;
        return OP_OK;
    }
    if (node->kind == OP_YAML_SCALAR && is_word(node, "false", "False", "FALSE")) {
        *ret = false;
        return OP_OK;
    }
    return fail_type(node, "true or false", err);
}

enum op_rc op_yaml_text(const struct op_yaml *node, const char **ret, struct op_err *err)
{
    if (node->kind != OP_YAML_SCALAR || op_yaml_is_null(node))
        return fail_type(node, "a text", err);
    *ret = node->text;
    return OP_OK;
}

static void write_scalar(const struct op_yaml *node, struct op_json_out *out)
{
    struct op_str text = {node->text, node->len};
    int64_t i = 0;
    double d = 0;
    if (node->quoted)
        op_json_out_str(out, text);
    else if (op_yaml_is_null(node))
        op_json_out_null(out);
    else if (is_word(node, "true", "True", "TRUE"))
        op_json_out_bool(out, true);
    else if (is_word(node, "false", "False", "FALSE"))
        op_json_out_bool(out, false);
    else if (op_str_int64(text, &i))
        op_json_out_int(out, i);
    else if (strspn(node->text, "+-.eE0123456789") == node->len && op_str_double(text, &d))
        op_json_out_double(out, d);
    else
        op_json_out_str(out, text);
}

void op_yaml_write_json(const struct op_yaml *node, struct op_json_out *out)
{
    if (node->kind == OP_YAML_SCALAR) {
        write_scalar(node, out);
        return;
    }
    bool map = node->kind == OP_YAML_MAP;
    if (map)
        op_json_out_object(out);
    else
        op_json_out_array(out);
    for (const struct op_yaml *n = node->first; n; n = n->next) {
        if (map)
            op_json_out_name(out, n->key);
        op_yaml_write_json(n, out);
    }
    if (map)
        op_json_out_end_object(out);
    else
        op_json_out_end_array(out);
}
