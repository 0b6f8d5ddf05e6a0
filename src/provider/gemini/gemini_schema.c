/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "provider/gemini/gemini.h"

#define POINTER_MAX_BYTES (64 * 1024)
/* Schemas that hold at one place: a $ref's target, the parts of an allOf. */
#define PARTS_MAX 16
/* Written-out references nest deeper than their document. What is sent is parsed again, so this
 * stays below OP_JSON_DEPTH with room for what is around the schema. */
#define DEPTH_MAX (OP_JSON_DEPTH - 8)

#define MAP_MEND \
    "list the properties, or answer with an array of objects such as {\"key\", \"value\"}"

struct part {
    struct op_json schema;
    char *pointer;
};

/* All that holds at one place of the answer. A keyword is read from the first part that has it;
 * what the others say of it is left out, which only loosens. */
struct view {
    struct part parts[PARTS_MAX];
    size_t count;
    const struct view *outer; /* what is being written around this one */
    const struct view *notes; /* whose title and description serve when this one has none */
};

struct walk {
    const char *file;
    struct op_json root;
    struct op_json_out *out;
    struct op_err *err;
};

static enum op_rc write_view(struct walk *w, const struct view *view);
static enum op_rc write_child(struct walk *w, const struct view *outer, struct op_json schema,
                              const char *pointer);

static enum op_rc fail(struct walk *w, const char *pointer, const char *what, const char *mend)
{
    return op_fail(w->err, OP_INVAL, "%s: answer schema at \"%s\": %s; %s", w->file, pointer,
                   what, mend);
}

/* The pointer one step further; the caller's to free. */
static char *step(const char *pointer, struct op_str name)
{
    struct op_buf path;
    op_buf_init(&path, POINTER_MAX_BYTES);
    op_buf_addf(&path, "%s/", pointer);
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '~')
            op_buf_addz(&path, "~0");
        else if (name.ptr[i] == '/')
            op_buf_addz(&path, "~1");
        else
            op_buf_addc(&path, name.ptr[i]);
    }
    char *text = op_buf_take(&path);
    op_buf_release(&path);
    return text;
}

static char *step_to(const char *pointer, const char *name, size_t index)
{
    char number[24];
    snprintf(number, sizeof(number), "%zu", index);
    OP_CLEANUP(op_mem_freep) char *list = step(pointer, op_str_from(name));
    return step(list, op_str_from(number));
}

/* --- views ---------------------------------------------------------------------------------- */

static void view_release(struct view *view)
{
    for (size_t i = 0; i < view->count; i++)
        op_mem_free(view->parts[i].pointer);
    view->count = 0;
}

/* No value when no part has the keyword; *ret_part is the one that has it. */
static struct op_json view_get(const struct view *view, const char *keyword,
                               const struct part **ret_part)
{
    for (size_t i = 0; i < view->count; i++) {
        struct op_json v = op_json_get(view->parts[i].schema, keyword);
        if (!op_json_ok(v))
            continue;
        if (ret_part)
            *ret_part = &view->parts[i];
        return v;
    }
    return (struct op_json){0};
}

static bool view_has(const struct view *view, const char *keyword)
{
    return op_json_ok(view_get(view, keyword, NULL));
}

/* True when this schema is already being written further out: it contains itself. */
static bool is_inside(const struct view *view, struct op_json schema)
{
    for (; view; view = view->outer)
        for (size_t i = 0; i < view->count; i++)
            if (view->parts[i].schema.at == schema.at)
                return true;
    return false;
}

static enum op_rc view_add(struct walk *w, struct view *view, struct op_json schema,
                           const char *pointer);

static enum op_rc add_ref(struct walk *w, struct view *view, struct op_json ref,
                          const char *pointer)
{
    OP_CLEANUP(op_mem_freep) char *at = step(pointer, OP_STR("$ref"));
    struct op_str text = op_json_str(ref);
    struct op_json target = {0};
    if (text.len && text.ptr[0] == '#')
        target = op_json_pointer(w->root, (struct op_str){text.ptr + 1, text.len - 1});
    if (!op_json_ok(target))
        return fail(w, at, "this $ref points to nothing inside the schema",
                    "point it to \"#/$defs/...\"");
    if (is_inside(view, target))
        return fail(w, at, "structured output takes no recursive schema",
                    "spell the levels out, or answer with a flat list whose items name their "
                    "parent");
    OP_CLEANUP(op_mem_freep) char *to = op_mem_strndup(text.ptr + 1, text.len - 1);
    return view_add(w, view, target, to);
}

/* Adds a schema and all that must hold together with it. */
static enum op_rc view_add(struct walk *w, struct view *view, struct op_json schema,
                           const char *pointer)
{
    if (op_json_is(schema, OP_JSON_FALSE))
        return fail(w, pointer, "structured output takes no schema 'false'",
                    "remove this part");
    if (!op_json_is(schema, OP_JSON_OBJECT) && !op_json_is(schema, OP_JSON_TRUE))
        return fail(w, pointer, "a schema must be an object", "write {\"type\": ...}");
    if (view->count == PARTS_MAX)
        return fail(w, pointer, "more schemas hold at once than can be put together",
                    "write them into one");
    view->parts[view->count++] = (struct part){schema, op_mem_strdup(pointer)};
    struct op_json ref = op_json_get(schema, "$ref");
    enum op_rc rc = op_json_ok(ref) ? add_ref(w, view, ref, pointer) : OP_OK;
    struct op_json all = op_json_get(schema, "allOf");
    struct op_json_iter it = op_json_iter(all);
    while (!rc && op_json_is(all, OP_JSON_ARRAY) && op_json_next(&it)) {
        OP_CLEANUP(op_mem_freep) char *at = step_to(pointer, "allOf", it.index);
        rc = view_add(w, view, it.value, at);
    }
    return rc;
}

/* --- types ---------------------------------------------------------------------------------- */

static const struct {
    const char *json, *gemini;
} types[] = {
    {"string", "STRING"},   {"number", "NUMBER"}, {"integer", "INTEGER"},
    {"boolean", "BOOLEAN"}, {"array", "ARRAY"},   {"object", "OBJECT"},
};

/* The types a place may have; null is told apart. */
struct type_set {
    bool has[OP_COUNT(types)];
    size_t count;
    bool nullable;
};

static void set_add(struct type_set *set, struct op_str name)
{
    if (op_str_is(name, "null"))
        set->nullable = true;
    for (size_t i = 0; i < OP_COUNT(types); i++) {
        if (!op_str_is(name, types[i].json) || set->has[i])
            continue;
        set->has[i] = true;
        set->count++;
    }
}

static void set_add_value(struct type_set *set, struct op_json value)
{
    enum op_json_type type = op_json_type(value);
    if (type == OP_JSON_DOUBLE)
        set_add(set, OP_STR("number"));
    else
        set_add(set, op_str_from(op_json_type_name(type)));
}

/* What the keywords imply where no type is written. */
static void set_infer(struct type_set *set, const struct view *view)
{
    static const struct {
        const char *keyword, *type;
    } hints[] = {
        {"properties", "object"}, {"required", "object"},  {"items", "array"},
        {"minItems", "array"},    {"maxItems", "array"},   {"pattern", "string"},
        {"minLength", "string"},  {"maxLength", "string"}, {"format", "string"},
        {"minimum", "number"},    {"maximum", "number"},
    };
    struct op_json values = view_get(view, "enum", NULL);
    struct op_json_iter it = op_json_iter(values);
    while (op_json_is(values, OP_JSON_ARRAY) && op_json_next(&it))
        set_add_value(set, it.value);
    struct op_json only = view_get(view, "const", NULL);
    if (op_json_ok(only))
        set_add_value(set, only);
    for (size_t i = 0; set->count == 0 && i < OP_COUNT(hints); i++)
        if (view_has(view, hints[i].keyword))
            set_add(set, op_str_from(hints[i].type));
}

static void set_read(struct type_set *set, const struct view *view)
{
    *set = (struct type_set){0};
    struct op_json type = view_get(view, "type", NULL);
    struct op_json_iter it = op_json_iter(type);
    if (op_json_is(type, OP_JSON_STRING))
        set_add(set, op_json_str(type));
    while (op_json_is(type, OP_JSON_ARRAY) && op_json_next(&it))
        set_add(set, op_json_str(it.value));
    if (!op_json_ok(type))
        set_infer(set, view);
    /* OpenAPI's own word, which people write for this API. */
    if (op_json_bool(view_get(view, "nullable", NULL), false))
        set->nullable = true;
}

/* --- keywords ------------------------------------------------------------------------------- */

/* 64-bit numbers are texts in this API. */
static void write_count(struct walk *w, const struct view *view, const char *keyword)
{
    int64_t n = op_json_int(view_get(view, keyword, NULL), -1);
    if (n < 0)
        return;
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)n);
    op_json_out_kv_text(w->out, keyword, text);
}

static void write_number(struct walk *w, const struct view *view, const char *keyword)
{
    struct op_json v = view_get(view, keyword, NULL);
    if (!op_json_is(v, OP_JSON_INT) && !op_json_is(v, OP_JSON_DOUBLE))
        return;
    op_json_out_name(w->out, keyword);
    op_json_out_value(w->out, v);
}

static void write_annotations(struct walk *w, const struct view *view)
{
    static const char *const names[] = {"title", "description"};
    for (size_t i = 0; i < OP_COUNT(names); i++) {
        struct op_str text = op_json_str(view_get(view, names[i], NULL));
        if (!text.ptr && view->notes)
            text = op_json_str(view_get(view->notes, names[i], NULL));
        if (text.ptr)
            op_json_out_kv_str(w->out, names[i], text);
    }
}

/* Texts only, none of them empty; any other enum is left out whole, since a part of it would be
 * tighter. */
static bool is_text_enum(struct op_json values)
{
    size_t texts = 0;
    struct op_json_iter it = op_json_iter(values);
    while (op_json_is(values, OP_JSON_ARRAY) && op_json_next(&it)) {
        if (op_json_is(it.value, OP_JSON_NULL))
            continue;
        if (op_json_str(it.value).len == 0)
            return false;
        texts++;
    }
    return texts > 0;
}

static void write_text_enum(struct walk *w, const struct view *view)
{
    struct op_str only = op_json_str(view_get(view, "const", NULL));
    struct op_json values = view_get(view, "enum", NULL);
    if (only.len) {
        op_json_out_name(w->out, "enum");
        op_json_out_array(w->out);
        op_json_out_str(w->out, only);
        op_json_out_end_array(w->out);
    } else if (is_text_enum(values)) {
        op_json_out_name(w->out, "enum");
        op_json_out_array(w->out);
        struct op_json_iter it = op_json_iter(values);
        while (op_json_next(&it))
            if (op_json_is(it.value, OP_JSON_STRING))
                op_json_out_value(w->out, it.value);
        op_json_out_end_array(w->out);
    }
}

/* Of the formats only this one does anything; others have been refused. Patterns are left out:
 * whose dialect they would be is not told. */
static void write_string(struct walk *w, const struct view *view)
{
    write_text_enum(w, view);
    if (op_str_is(op_json_str(view_get(view, "format", NULL)), "date-time"))
        op_json_out_kv_text(w->out, "format", "date-time");
    write_count(w, view, "minLength");
    write_count(w, view, "maxLength");
}

/* --- arrays and objects --------------------------------------------------------------------- */

static enum op_rc write_array(struct walk *w, const struct view *view)
{
    const struct part *part = &view->parts[0];
    if (op_json_ok(view_get(view, "prefixItems", &part)))
        return fail(w, part->pointer, "structured output takes no items by position",
                    "answer with an object, one property an item");
    struct op_json items = view_get(view, "items", &part);
    if (!op_json_is(items, OP_JSON_OBJECT))
        return fail(w, part->pointer, "structured output needs to know an array's items",
                    "write \"items\": {\"type\": ...}");
    write_count(w, view, "minItems");
    write_count(w, view, "maxItems");
    op_json_out_name(w->out, "items");
    OP_CLEANUP(op_mem_freep) char *at = step(part->pointer, OP_STR("items"));
    return write_child(w, view, items, at);
}

/* The part before `until` that has the property too: the first one speaks. */
static bool is_repeated(const struct view *view, size_t until, struct op_str name)
{
    for (size_t i = 0; i < until; i++)
        if (op_json_ok(op_json_get_str(op_json_get(view->parts[i].schema, "properties"), name)))
            return true;
    return false;
}

static bool has_property(const struct view *view, struct op_str name)
{
    return is_repeated(view, view->count, name);
}

static enum op_rc check_object(struct walk *w, const struct view *view)
{
    size_t count = 0, parts = 0;
    const struct part *closed = NULL;
    for (size_t i = 0; i < view->count; i++) {
        const struct part *part = &view->parts[i];
        struct op_json more = op_json_get(part->schema, "additionalProperties");
        size_t own = op_json_count(op_json_get(part->schema, "properties"));
        count += own;
        parts += own > 0;
        if (op_json_is(more, OP_JSON_FALSE))
            closed = part;
        if ((op_json_ok(more) && !op_json_is(more, OP_JSON_FALSE)) ||
            op_json_ok(op_json_get(part->schema, "patternProperties")))
            return fail(w, part->pointer, "structured output takes no object with free names",
                        MAP_MEND);
        struct op_json_iter it = op_json_iter(op_json_get(part->schema, "required"));
        while (op_json_next(&it)) {
            struct op_str name = op_json_str(it.value);
            if (name.ptr && !has_property(view, name))
                return op_fail(w->err, OP_INVAL,
                               "%s: answer schema at \"%s\": required names '" OP_STR_FMT
                               "', which is not among the properties; add it there",
                               w->file, part->pointer, OP_STR_ARG(name));
        }
    }
    if (count == 0)
        return fail(w, view->parts[0].pointer,
                    "structured output takes no object with free names", MAP_MEND);
    if (closed && parts > 1)
        return fail(w, closed->pointer,
                    "a closed object (additionalProperties: false) that holds together with "
                    "another refuses the other's properties",
                    "write the properties of all of them into one object");
    return OP_OK;
}

/* names: "required", or "propertyOrdering", which is the order in which they are written. */
static void write_names(struct walk *w, const struct view *view, bool required)
{
    op_json_out_name(w->out, required ? "required" : "propertyOrdering");
    op_json_out_array(w->out);
    for (size_t i = 0; i < view->count; i++) {
        struct op_json container =
            op_json_get(view->parts[i].schema, required ? "required" : "properties");
        struct op_json_iter it = op_json_iter(container);
        while (op_json_next(&it)) {
            struct op_str name = required ? op_json_str(it.value) : it.name;
            if (name.ptr && (required || !is_repeated(view, i, name)))
                op_json_out_str(w->out, name);
        }
    }
    op_json_out_end_array(w->out);
}

static enum op_rc write_object(struct walk *w, const struct view *view)
{
    enum op_rc rc = check_object(w, view);
    if (rc)
        return rc;
    op_json_out_name(w->out, "properties");
    op_json_out_object(w->out);
    for (size_t i = 0; !rc && i < view->count; i++) {
        struct op_json properties = op_json_get(view->parts[i].schema, "properties");
        struct op_json_iter it = op_json_iter(properties);
        OP_CLEANUP(op_mem_freep)
        char *base = step(view->parts[i].pointer, OP_STR("properties"));
        while (!rc && op_json_is(properties, OP_JSON_OBJECT) && op_json_next(&it)) {
            if (is_repeated(view, i, it.name))
                continue;
            OP_CLEANUP(op_mem_freep) char *at = step(base, it.name);
            op_json_out_name_str(w->out, it.name);
            rc = write_child(w, view, it.value, at);
        }
    }
    if (rc)
        return rc;
    op_json_out_end_object(w->out);
    if (view_has(view, "required"))
        write_names(w, view, true);
    /* Without it the order is the alphabet's; reasons that stand before a verdict in the schema
     * are to be thought of before it. */
    write_names(w, view, false);
    return OP_OK;
}

/* --- alternatives --------------------------------------------------------------------------- */

static bool is_null_branch(struct op_json schema)
{
    struct op_json only = op_json_get(schema, "const");
    return op_str_is(op_json_str(op_json_get(schema, "type")), "null") ||
           op_json_is(only, OP_JSON_NULL);
}

/* Not exactly one of the branches but at least one: looser, and the answer is checked against the
 * full schema anyway. */
static struct op_json branches_of(const struct view *view, const char **ret_name,
                                  const struct part **ret_part)
{
    static const char *const names[] = {"anyOf", "oneOf"};
    for (size_t i = 0; i < OP_COUNT(names); i++) {
        struct op_json v = view_get(view, names[i], ret_part);
        if (!op_json_is(v, OP_JSON_ARRAY) || op_json_count(v) == 0)
            continue;
        *ret_name = names[i];
        return v;
    }
    return (struct op_json){0};
}

/* anyOf stands alone: the API takes no other keyword beside it. */
static enum op_rc write_branches(struct walk *w, const struct view *view,
                                 struct op_json branches, const char *name,
                                 const struct part *part)
{
    bool nullable = false;
    op_json_out_object(w->out);
    op_json_out_name(w->out, "anyOf");
    op_json_out_array(w->out);
    struct op_json_iter it = op_json_iter(branches);
    while (op_json_next(&it)) {
        if (op_json_is(it.value, OP_JSON_OBJECT) && is_null_branch(it.value)) {
            nullable = true;
            continue;
        }
        OP_CLEANUP(op_mem_freep) char *at = step_to(part->pointer, name, it.index);
        enum op_rc rc = write_child(w, view, it.value, at);
        if (rc)
            return rc;
    }
    op_json_out_end_array(w->out);
    if (nullable)
        op_json_out_kv_bool(w->out, "nullable", true);
    op_json_out_end_object(w->out);
    return OP_OK;
}

/* Branches that only say which properties must be there are conditions on one object, and left out;
 * branches that bring properties of their own cannot be told apart from that object. */
static enum op_rc check_conditions(struct walk *w, struct op_json branches, const char *name,
                                   const struct part *part)
{
    struct op_json_iter it = op_json_iter(branches);
    while (op_json_next(&it)) {
        if (!op_json_ok(op_json_get(it.value, "properties")) &&
            !op_json_ok(op_json_get(it.value, "$ref")))
            continue;
        OP_CLEANUP(op_mem_freep) char *at = step_to(part->pointer, name, it.index);
        return fail(w, at,
                    "properties beside branches with properties of their own cannot be said",
                    "write the properties of all of them into one object");
    }
    return OP_OK;
}

/* --- putting it together -------------------------------------------------------------------- */

static enum op_rc write_typed(struct walk *w, const struct view *view, size_t type,
                              bool nullable)
{
    const char *name = types[type].json;
    op_json_out_object(w->out);
    op_json_out_kv_text(w->out, "type", types[type].gemini);
    if (nullable)
        op_json_out_kv_bool(w->out, "nullable", true);
    write_annotations(w, view);
    enum op_rc rc = OP_OK;
    if (strcmp(name, "object") == 0) {
        rc = write_object(w, view);
    } else if (strcmp(name, "array") == 0) {
        rc = write_array(w, view);
    } else if (strcmp(name, "string") == 0) {
        write_string(w, view);
    } else if (strcmp(name, "boolean") != 0) {
        write_number(w, view, "minimum");
        write_number(w, view, "maximum");
    }
    if (rc)
        return rc;
    op_json_out_end_object(w->out);
    return OP_OK;
}

/* Several types, each as a branch of its own. */
static enum op_rc write_types(struct walk *w, const struct view *view,
                              const struct type_set *set)
{
    op_json_out_object(w->out);
    op_json_out_name(w->out, "anyOf");
    op_json_out_array(w->out);
    for (size_t i = 0; i < OP_COUNT(types); i++) {
        if (!set->has[i])
            continue;
        enum op_rc rc = write_typed(w, view, i, false);
        if (rc)
            return rc;
    }
    op_json_out_end_array(w->out);
    if (set->nullable)
        op_json_out_kv_bool(w->out, "nullable", true);
    op_json_out_end_object(w->out);
    return OP_OK;
}

/* One branch beside null is that branch, nullable. */
static bool lone_branch(struct op_json branches, struct op_json_iter *ret)
{
    size_t others = 0;
    bool null = false;
    struct op_json_iter it = op_json_iter(branches);
    while (op_json_next(&it)) {
        if (op_json_is(it.value, OP_JSON_OBJECT) && is_null_branch(it.value)) {
            null = true;
            continue;
        }
        others++;
        *ret = it;
    }
    return others == 1 && (null || op_json_count(branches) == 1);
}

/* The alternatives of a view without properties: folded into it when there is one, else written. */
static enum op_rc write_alternatives(struct walk *w, const struct view *view,
                                     struct op_json branches, const char *name,
                                     const struct part *part)
{
    struct op_json_iter lone;
    if (!lone_branch(branches, &lone))
        return write_branches(w, view, branches, name, part);
    OP_CLEANUP(view_release) struct view inner = {.outer = view, .notes = view};
    OP_CLEANUP(op_mem_freep) char *at = step_to(part->pointer, name, lone.index);
    enum op_rc rc = view_add(w, &inner, lone.value, at);
    struct type_set set;
    if (rc)
        return rc;
    set_read(&set, &inner);
    bool plain = set.count == 1 && !view_has(&inner, "anyOf") && !view_has(&inner, "oneOf");
    if (!plain)
        return write_branches(w, view, branches, name, part);
    bool nullable = set.nullable || op_json_count(branches) > 1;
    for (size_t i = 0; i < OP_COUNT(types); i++)
        if (set.has[i])
            return write_typed(w, &inner, i, nullable);
    return OP_OK;
}

static enum op_rc write_view(struct walk *w, const struct view *view)
{
    const char *pointer = view->parts[0].pointer;
    if (w->out->depth > DEPTH_MAX)
        return fail(w, pointer, "the schema nests too deeply", "flatten it");
    /* References written out can grow without end; the buffer's ceiling ends it. */
    if (w->out->buf->failed)
        return fail(w, pointer, "the schema is too large with its references written out",
                    "make it smaller");
    const char *name = NULL;
    const struct part *part = NULL;
    struct op_json branches = branches_of(view, &name, &part);
    if (op_json_ok(branches)) {
        if (!view_has(view, "properties"))
            return write_alternatives(w, view, branches, name, part);
        enum op_rc rc = check_conditions(w, branches, name, part);
        if (rc)
            return rc;
    }
    struct type_set set;
    set_read(&set, view);
    if (set.count > 1)
        return write_types(w, view, &set);
    for (size_t i = 0; i < OP_COUNT(types); i++)
        if (set.has[i])
            return write_typed(w, view, i, set.nullable);
    if (!set.nullable)
        return fail(w, pointer, "structured output needs a type here", "write {\"type\": ...}");
    op_json_out_object(w->out);
    op_json_out_kv_text(w->out, "type", "NULL");
    op_json_out_end_object(w->out);
    return OP_OK;
}

static enum op_rc write_child(struct walk *w, const struct view *outer, struct op_json schema,
                              const char *pointer)
{
    OP_CLEANUP(view_release) struct view view = {.outer = outer};
    enum op_rc rc = view_add(w, &view, schema, pointer);
    return rc ? rc : write_view(w, &view);
}

enum op_rc op_gemini_schema(struct op_json schema, const char *file, struct op_json_out *out,
                            struct op_err *err)
{
    struct walk w = {.file = file, .root = schema, .out = out, .err = err};
    return write_child(&w, NULL, schema, "");
}
