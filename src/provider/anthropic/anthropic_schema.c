/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "provider/anthropic/anthropic.h"

#define PATH_MAX_BYTES (64 * 1024)

/* What is done with a keyword; one that is not listed is left out. */
enum treatment {
    COPY,
    SCHEMA,    /* one subschema */
    MAP,       /* subschemas by name */
    LIST,      /* array of subschemas */
    ENUM,      /* scalars only */
    FORMAT,    /* some formats only */
    MIN_ITEMS, /* 0 or 1 only */
    REF,       /* inside the document, not recursive */
    CLOSED,    /* additionalProperties: false only */
    OPEN_MAP,  /* cannot be said at all */
};

static const struct keyword {
    const char *name;
    enum treatment treatment;
} keywords[] = {
    {"type", COPY},
    {"const", COPY},
    {"required", COPY},
    {"title", COPY},
    {"description", COPY},
    {"default", COPY},
    {"enum", ENUM},
    {"format", FORMAT},
    {"minItems", MIN_ITEMS},
    {"$ref", REF},
    {"items", SCHEMA},
    {"properties", MAP},
    {"$defs", MAP},
    {"definitions", MAP},
    {"anyOf", LIST},
    {"allOf", LIST},
    {"oneOf", LIST},
    {"additionalProperties", CLOSED},
    {"patternProperties", OPEN_MAP},
};

static const char *const formats[] = {"date-time", "time", "date", "duration", "email",
                                      "hostname",  "uri",  "ipv4", "ipv6",     "uuid"};

#define MAP_MEND \
    "list the properties, or answer with an array of objects such as {\"key\", \"value\"}"

struct walk {
    const char *file;
    struct op_json root;
    struct op_json_out *out;
    struct op_buf path; /* JSON pointer of the schema being written */
    struct op_err *err;
};

static enum op_rc write_schema(struct walk *w, struct op_json schema);

static const struct keyword *keyword_find(struct op_str name)
{
    for (size_t i = 0; i < OP_COUNT(keywords); i++)
        if (op_str_is(name, keywords[i].name))
            return &keywords[i];
    return NULL;
}

static enum op_rc fail(struct walk *w, const char *what, const char *mend)
{
    return op_fail(w->err, OP_INVAL, "%s: answer schema at \"%s\": %s; %s", w->file,
                   w->path.ptr, what, mend);
}

/* Leads into a member of the document; the result undoes it. */
static size_t path_enter(struct walk *w, struct op_str name)
{
    size_t before = w->path.len;
    op_buf_addc(&w->path, '/');
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '~')
            op_buf_addz(&w->path, "~0");
        else if (name.ptr[i] == '/')
            op_buf_addz(&w->path, "~1");
        else
            op_buf_addc(&w->path, name.ptr[i]);
    }
    return before;
}

static void path_leave(struct walk *w, size_t before)
{
    w->path.len = before;
    w->path.ptr[before] = '\0';
}

static bool has(struct op_json schema, const char *name)
{
    return op_json_is(schema, OP_JSON_OBJECT) && op_json_ok(op_json_get(schema, name));
}

/* --- references ----------------------------------------------------------------------------- */

static struct op_json ref_target(const struct walk *w, struct op_json ref)
{
    struct op_str text = op_json_str(ref);
    if (!text.ptr || text.len == 0 || text.ptr[0] != '#')
        return (struct op_json){0};
    return op_json_pointer(w->root, (struct op_str){text.ptr + 1, text.len - 1});
}

struct visited {
    size_t *at;
    size_t count;
};

static bool visit(struct visited *seen, struct op_json v)
{
    for (size_t i = 0; i < seen->count; i++)
        if (seen->at[i] == v.at)
            return false;
    seen->at = op_mem_realloc(seen->at, (seen->count + 1) * sizeof(*seen->at));
    seen->at[seen->count++] = v.at;
    return true;
}

/* True when following references from schema leads to goal. */
static bool reaches(const struct walk *w, struct op_json schema, size_t goal,
                    struct visited *seen)
{
    if (!op_json_is(schema, OP_JSON_OBJECT))
        return false;
    struct op_json_iter it = op_json_iter(schema);
    while (op_json_next(&it)) {
        const struct keyword *k = keyword_find(it.name);
        if (k && k->treatment == SCHEMA && reaches(w, it.value, goal, seen))
            return true;
        if (k && k->treatment == REF) {
            struct op_json target = ref_target(w, it.value);
            if (!op_json_ok(target))
                continue;
            if (target.at == goal)
                return true;
            if (visit(seen, target) && reaches(w, target, goal, seen))
                return true;
        }
        if (!k || (k->treatment != MAP && k->treatment != LIST))
            continue;
        /* A definition is only followed where it is referred to. */
        if (op_str_is(it.name, "$defs") || op_str_is(it.name, "definitions"))
            continue;
        struct op_json_iter child = op_json_iter(it.value);
        while (op_json_next(&child))
            if (reaches(w, child.value, goal, seen))
                return true;
    }
    return false;
}

static enum op_rc write_ref(struct walk *w, struct op_json ref)
{
    struct op_json target = ref_target(w, ref);
    if (!op_json_ok(target))
        return fail(w, "this $ref points to nothing inside the schema",
                    "point it to \"#/$defs/...\"");
    struct visited seen = {0};
    bool recursive = reaches(w, target, target.at, &seen);
    op_mem_free(seen.at);
    if (recursive)
        return fail(w, "structured output takes no recursive schema",
                    "spell the levels out, or answer with a flat list whose items name their "
                    "parent");
    op_json_out_value(w->out, ref);
    return OP_OK;
}

/* --- objects -------------------------------------------------------------------------------- */

static bool is_object_schema(struct op_json schema)
{
    struct op_json type = op_json_get(schema, "type");
    if (op_str_is(op_json_str(type), "object") || has(schema, "properties"))
        return true;
    struct op_json_iter it = op_json_iter(type);
    while (op_json_next(&it))
        if (!it.name.ptr && op_str_is(op_json_str(it.value), "object"))
            return true;
    return false;
}

static bool has_branches(struct op_json schema)
{
    return has(schema, "anyOf") || has(schema, "allOf") || has(schema, "oneOf");
}

static bool defines_properties(const struct walk *w, struct op_json schema)
{
    struct op_json target =
        has(schema, "$ref") ? ref_target(w, op_json_get(schema, "$ref")) : (struct op_json){0};
    return has(schema, "properties") || has(target, "properties");
}

/* Every object goes out closed. Two closed objects that must hold at once refuse each other's
 * properties, so such a schema would have no valid answer. */
static enum op_rc check_branches(struct walk *w, struct op_json schema)
{
    static const char *const names[] = {"allOf", "anyOf", "oneOf"};
    size_t own = has(schema, "properties") ? 1 : 0;
    for (size_t i = 0; i < OP_COUNT(names); i++) {
        size_t all = own, one = own;
        struct op_json_iter it = op_json_iter(op_json_get(schema, names[i]));
        while (op_json_next(&it)) {
            if (!defines_properties(w, it.value))
                continue;
            all++;
            one = own + 1;
        }
        if ((i == 0 ? all : one) > 1)
            return fail(w,
                        "objects that hold at once (properties beside anyOf/allOf/oneOf "
                        "branches with properties) cannot be closed",
                        "write the properties of all of them into one object");
    }
    return OP_OK;
}

static enum op_rc check_required(struct walk *w, struct op_json schema)
{
    struct op_json properties = op_json_get(schema, "properties");
    struct op_json_iter it = op_json_iter(op_json_get(schema, "required"));
    while (op_json_is(properties, OP_JSON_OBJECT) && op_json_next(&it)) {
        struct op_str name = op_json_str(it.value);
        if (name.ptr && !op_json_ok(op_json_get_str(properties, name)))
            return op_fail(w->err, OP_INVAL,
                           "%s: answer schema at \"%s\": required names '" OP_STR_FMT
                           "', which is not among the properties; add it there",
                           w->file, w->path.ptr, OP_STR_ARG(name));
    }
    return OP_OK;
}

/* *ret_close: additionalProperties: false has to be added. */
static enum op_rc check_object(struct walk *w, struct op_json schema, bool *ret_close)
{
    enum op_rc rc = check_branches(w, schema);
    if (rc)
        return rc;
    *ret_close = false;
    if (!is_object_schema(schema))
        return OP_OK;
    rc = check_required(w, schema);
    if (rc || has(schema, "additionalProperties"))
        return rc;
    if (has(schema, "properties")) {
        *ret_close = true;
        return OP_OK;
    }
    /* The branches say what it holds, and are closed themselves. */
    if (has_branches(schema) || has(schema, "$ref"))
        return OP_OK;
    return fail(w, "structured output takes no object with free names", MAP_MEND);
}

/* --- writing -------------------------------------------------------------------------------- */

static enum op_rc write_children(struct walk *w, struct op_json container)
{
    struct op_json_iter it = op_json_iter(container);
    bool map = op_json_is(container, OP_JSON_OBJECT);
    if (map)
        op_json_out_object(w->out);
    else
        op_json_out_array(w->out);
    while (op_json_next(&it)) {
        char number[24];
        struct op_str step = it.name;
        if (map) {
            op_json_out_name_str(w->out, it.name);
        } else {
            int len = snprintf(number, sizeof(number), "%zu", it.index);
            step = (struct op_str){number, (size_t)len};
        }
        size_t before = path_enter(w, step);
        enum op_rc rc = write_schema(w, it.value);
        if (rc)
            return rc;
        path_leave(w, before);
    }
    if (map)
        op_json_out_end_object(w->out);
    else
        op_json_out_end_array(w->out);
    return OP_OK;
}

static enum op_rc write_enum(struct walk *w, struct op_json values)
{
    struct op_json_iter it = op_json_iter(values);
    while (op_json_next(&it))
        if (op_json_is(it.value, OP_JSON_OBJECT) || op_json_is(it.value, OP_JSON_ARRAY))
            return fail(
                w, "structured output takes only texts, numbers, booleans and null in enum",
                "use anyOf with one branch per value");
    op_json_out_value(w->out, values);
    return OP_OK;
}

static bool format_known(struct op_str format)
{
    for (size_t i = 0; i < OP_COUNT(formats); i++)
        if (op_str_is(format, formats[i]))
            return true;
    return false;
}

/* What this schema loses: a keyword the provider does not take, or one whose meaning hangs on
 * another that is lost. */
static bool is_dropped(struct op_json schema, const struct keyword *k, struct op_json value)
{
    if (!k)
        return true;
    switch (k->treatment) {
    case SCHEMA:
        return !op_json_is(value, OP_JSON_OBJECT) || has(schema, "prefixItems");
    case MAP:
        return !op_json_is(value, OP_JSON_OBJECT);
    case LIST:
        return !op_json_is(value, OP_JSON_ARRAY) ||
               (strcmp(k->name, "oneOf") == 0 && has(schema, "anyOf"));
    case FORMAT:
        return !format_known(op_json_str(value));
    case MIN_ITEMS:
        return op_json_int(value, 0) < 1;
    case COPY:
    case ENUM:
    case REF:
    case CLOSED:
    case OPEN_MAP:
        return false;
    }
    return true;
}

static enum op_rc write_keyword(struct walk *w, const struct keyword *k, struct op_json value)
{
    if (k->treatment == OPEN_MAP ||
        (k->treatment == CLOSED && !op_json_is(value, OP_JSON_FALSE)))
        return fail(w, "structured output takes no object with free names", MAP_MEND);
    /* Not exactly one of the branches but at least one: looser, and the answer is checked against
     * the full schema anyway. */
    op_json_out_name(w->out, strcmp(k->name, "oneOf") == 0 ? "anyOf" : k->name);
    switch (k->treatment) {
    case SCHEMA:
        return write_schema(w, value);
    case MAP:
    case LIST:
        return write_children(w, value);
    case ENUM:
        return write_enum(w, value);
    case REF:
        return write_ref(w, value);
    case MIN_ITEMS:
        op_json_out_int(w->out, 1);
        return OP_OK;
    case COPY:
    case FORMAT:
    case CLOSED:
    case OPEN_MAP:
        break;
    }
    op_json_out_value(w->out, value);
    return OP_OK;
}

static enum op_rc write_schema(struct walk *w, struct op_json schema)
{
    if (op_json_is(schema, OP_JSON_FALSE))
        return fail(w, "structured output takes no schema 'false'", "remove this part");
    if (!op_json_is(schema, OP_JSON_OBJECT) && !op_json_is(schema, OP_JSON_TRUE))
        return fail(w, "a schema must be an object", "write {\"type\": ...}");
    bool close = false;
    enum op_rc rc =
        op_json_is(schema, OP_JSON_OBJECT) ? check_object(w, schema, &close) : OP_OK;
    if (rc)
        return rc;
    op_json_out_object(w->out);
    struct op_json_iter it = op_json_iter(schema);
    while (op_json_next(&it)) {
        const struct keyword *k = keyword_find(it.name);
        if (is_dropped(schema, k, it.value))
            continue;
        size_t before = path_enter(w, it.name);
        rc = write_keyword(w, k, it.value);
        if (rc)
            return rc;
        path_leave(w, before);
    }
    if (close) {
        op_json_out_name(w->out, "additionalProperties");
        op_json_out_bool(w->out, false);
    }
    op_json_out_end_object(w->out);
    return OP_OK;
}

enum op_rc op_anthropic_schema(struct op_json schema, const char *file, struct op_json_out *out,
                               struct op_err *err)
{
    struct walk w = {.file = file, .root = schema, .out = out, .err = err};
    op_buf_init(&w.path, PATH_MAX_BYTES);
    enum op_rc rc = write_schema(&w, schema);
    op_buf_release(&w.path);
    return rc;
}
