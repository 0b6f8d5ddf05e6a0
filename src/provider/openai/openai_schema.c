/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "provider/driver.h"
#include "provider/openai/openai.h"

#define PATH_MAX_BYTES (64 * 1024)

/* The API's own ceilings (guide "Structured outputs"). */
#define PROPERTIES_MAX  5000
#define ENUM_VALUES_MAX 1000

/* Keywords that go out as they are. Every other one is left out, which only loosens the schema, but
 * for those that write_schema treats by name. */
static const char *const copied[] = {"title",    "description",      "const",
                                     "pattern",  "multipleOf",       "minimum",
                                     "maximum",  "exclusiveMinimum", "exclusiveMaximum",
                                     "minItems", "maxItems",         NULL};

static const char *const formats[] = {"date-time", "time", "date", "duration", "email",
                                      "hostname",  "ipv4", "ipv6", "uuid",     NULL};

#define MAP_MEND \
    "list the properties, or answer with an array of objects such as {\"key\", \"value\"}"

struct walk {
    const char *file;
    struct op_json root;
    struct op_json_out *out;
    struct op_buf path; /* JSON pointer of the schema being written */
    size_t properties, enum_values;
    struct op_err *err;
};

static enum op_rc write_schema(struct walk *w, struct op_json schema);

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

static bool is_word(struct op_str s, const char *const *words)
{
    for (; s.ptr && *words; words++)
        if (op_str_is(s, *words))
            return true;
    return false;
}

/* --- types ---------------------------------------------------------------------------------- */

static bool type_names(struct op_json type, const char *name)
{
    if (op_str_is(op_json_str(type), name))
        return true;
    struct op_json_iter it = op_json_iter(type);
    while (op_json_is(type, OP_JSON_ARRAY) && op_json_next(&it))
        if (op_str_is(op_json_str(it.value), name))
            return true;
    return false;
}

static bool is_object_schema(struct op_json schema)
{
    return type_names(op_json_get(schema, "type"), "object") || has(schema, "properties");
}

static const char *value_type(struct op_json v)
{
    if (op_json_is(v, OP_JSON_TRUE) || op_json_is(v, OP_JSON_FALSE))
        return "boolean";
    if (op_json_is(v, OP_JSON_STRING))
        return "string";
    return op_json_is(v, OP_JSON_NULL) ? "null" : "number";
}

/* True when the types that an enum or const needs are told by its values. */
static bool enum_allows(struct op_json schema, const char *type)
{
    if (has(schema, "const"))
        return strcmp(value_type(op_json_get(schema, "const")), type) == 0;
    struct op_json_iter it = op_json_iter(op_json_get(schema, "enum"));
    while (op_json_next(&it))
        if (strcmp(value_type(it.value), type) == 0)
            return true;
    return false;
}

static struct op_json ref_target(const struct walk *w, struct op_json ref)
{
    struct op_str text = op_json_str(ref);
    if (!text.ptr || text.len == 0 || text.ptr[0] != '#')
        return (struct op_json){0};
    return op_json_pointer(w->root, (struct op_str){text.ptr + 1, text.len - 1});
}

/* Does the schema take null by itself? depth: references may go in circles. */
static bool takes_null(const struct walk *w, struct op_json schema, int depth)
{
    static const char *const unions[] = {"anyOf", "oneOf", "allOf"};
    if (depth > OP_JSON_DEPTH || !op_json_is(schema, OP_JSON_OBJECT))
        return false;
    if (has(schema, "$ref"))
        return takes_null(w, ref_target(w, op_json_get(schema, "$ref")), depth + 1);
    for (size_t i = 0; i < OP_COUNT(unions); i++) {
        struct op_json_iter it = op_json_iter(op_json_get(schema, unions[i]));
        while (!has(schema, "type") && op_json_next(&it))
            if (takes_null(w, it.value, depth + 1))
                return true;
    }
    if (has(schema, "enum") || has(schema, "const"))
        return enum_allows(schema, "null");
    return type_names(op_json_get(schema, "type"), "null");
}

/* --- references ----------------------------------------------------------------------------- */

/* "definitions" goes out under the name the API knows, unless both are there. */
static const char *defs_name(const struct walk *w, struct op_str name)
{
    return op_str_is(name, "definitions") && !has(w->root, "$defs") ? "$defs" : NULL;
}

/* A reference stands alone; what stands beside it is left out. */
static enum op_rc write_ref(struct walk *w, struct op_json ref)
{
    struct op_str text = op_json_str(ref);
    if (!op_json_ok(ref_target(w, ref)))
        return fail(w, "this $ref points to nothing inside the schema",
                    "point it to \"#/$defs/...\"");
    bool old = op_str_starts(text, "#/definitions/");
    if (!old && !op_str_is(text, "#") && !op_str_starts(text, "#/$defs/"))
        return fail(w, "strict mode takes no $ref into the middle of a schema",
                    "move what it points to under \"$defs\"");
    op_json_out_object(w->out);
    op_json_out_name(w->out, "$ref");
    OP_CLEANUP(op_buf_release) struct op_buf moved;
    op_buf_init(&moved, PATH_MAX_BYTES);
    static const struct op_str head = {"#/definitions/", 14};
    if (old && defs_name(w, OP_STR("definitions"))) {
        op_buf_addz(&moved, "#/$defs/");
        op_buf_add(&moved, text.ptr + head.len, text.len - head.len);
        text = op_buf_str(&moved);
    }
    op_json_out_str(w->out, text);
    op_json_out_end_object(w->out);
    return OP_OK;
}

/* --- objects -------------------------------------------------------------------------------- */

static bool is_required(struct op_json schema, struct op_str name)
{
    struct op_json required = op_json_get(schema, "required");
    struct op_json_iter it = op_json_iter(required);
    while (op_json_is(required, OP_JSON_ARRAY) && op_json_next(&it))
        if (op_str_eq(op_json_str(it.value), name))
            return true;
    return false;
}

static enum op_rc check_object(struct walk *w, struct op_json schema)
{
    struct op_json open = op_json_get(schema, "additionalProperties");
    struct op_json properties = op_json_get(schema, "properties");
    if (has(schema, "patternProperties") ||
        (op_json_ok(open) && !op_json_is(open, OP_JSON_FALSE)) ||
        !op_json_is(properties, OP_JSON_OBJECT))
        return fail(w, "strict mode takes no object with free names", MAP_MEND);
    struct op_json required = op_json_get(schema, "required");
    struct op_json_iter it = op_json_iter(required);
    while (op_json_is(required, OP_JSON_ARRAY) && op_json_next(&it)) {
        struct op_str name = op_json_str(it.value);
        if (name.ptr && !op_json_ok(op_json_get_str(properties, name)))
            return op_fail(w->err, OP_INVAL,
                           "%s: answer schema at \"%s\": required names '" OP_STR_FMT
                           "', which is not among the properties; add it there",
                           w->file, w->path.ptr, OP_STR_ARG(name));
    }
    w->properties += op_json_count(properties);
    if (w->properties > PROPERTIES_MAX)
        return fail(w, "strict mode takes at most 5000 properties in all",
                    "ask for less at once");
    return OP_OK;
}

/* Strict mode knows no optional property: one that may be left out becomes one that may be null,
 * and such a null is taken out of the answer before it is checked (pipeline/answer.h). */
static enum op_rc write_property(struct walk *w, struct op_json schema, struct op_str name,
                                 struct op_json value)
{
    if (is_required(schema, name) || takes_null(w, value, 0))
        return write_schema(w, value);
    op_json_out_object(w->out);
    op_json_out_name(w->out, "anyOf");
    op_json_out_array(w->out);
    enum op_rc rc = write_schema(w, value);
    if (rc)
        return rc;
    op_json_out_object(w->out);
    op_json_out_kv_text(w->out, "type", "null");
    op_json_out_end_object(w->out);
    op_json_out_end_array(w->out);
    op_json_out_end_object(w->out);
    return OP_OK;
}

static enum op_rc write_properties(struct walk *w, struct op_json schema)
{
    struct op_json properties = op_json_get(schema, "properties");
    enum op_rc rc = check_object(w, schema);
    if (rc)
        return rc;
    op_json_out_name(w->out, "properties");
    op_json_out_object(w->out);
    size_t begin = path_enter(w, OP_STR("properties"));
    struct op_json_iter it = op_json_iter(properties);
    while (op_json_next(&it)) {
        op_json_out_name_str(w->out, it.name);
        size_t before = path_enter(w, it.name);
        rc = write_property(w, schema, it.name, it.value);
        if (rc)
            return rc;
        path_leave(w, before);
    }
    path_leave(w, begin);
    op_json_out_end_object(w->out);
    op_json_out_name(w->out, "required");
    op_json_out_array(w->out);
    it = op_json_iter(properties);
    while (op_json_next(&it))
        op_json_out_str(w->out, it.name);
    op_json_out_end_array(w->out);
    op_json_out_name(w->out, "additionalProperties");
    op_json_out_bool(w->out, false);
    return OP_OK;
}

/* --- unions --------------------------------------------------------------------------------- */

static bool defines_properties(const struct walk *w, struct op_json schema)
{
    struct op_json target =
        has(schema, "$ref") ? ref_target(w, op_json_get(schema, "$ref")) : (struct op_json){0};
    return has(schema, "properties") || has(target, "properties");
}

/* Which of anyOf, oneOf and allOf goes out; NULL when none. Beside an object's own properties the
 * branches only narrow, so they may go; branches with properties of their own may not, because the
 * object is closed. */
static enum op_rc choose_union(struct walk *w, struct op_json schema, const char **ret)
{
    static const char *const unions[] = {"anyOf", "oneOf", "allOf"};
    *ret = NULL;
    for (size_t i = 0; i < OP_COUNT(unions); i++) {
        struct op_json branches = op_json_get(schema, unions[i]);
        size_t count = op_json_is(branches, OP_JSON_ARRAY) ? op_json_count(branches) : 0;
        bool own = has(schema, "properties");
        bool adds = false;
        struct op_json_iter it = op_json_iter(branches);
        while (count && op_json_next(&it))
            adds = adds || defines_properties(w, it.value);
        if (adds && (own || *ret || (strcmp(unions[i], "allOf") == 0 && count > 1)))
            return fail(w,
                        "objects that hold at once (properties beside anyOf/allOf/oneOf "
                        "branches with properties) cannot be closed",
                        "write the properties of all of them into one object");
        /* All of one branch is any of one branch; all of several cannot be said. */
        bool sayable = count > 0 && (strcmp(unions[i], "allOf") != 0 || count == 1);
        if (sayable && !own && !*ret && !has(schema, "type"))
            *ret = unions[i];
    }
    return OP_OK;
}

static enum op_rc write_union(struct walk *w, struct op_json schema, const char *name)
{
    op_json_out_name(w->out, "anyOf");
    op_json_out_array(w->out);
    size_t begin = path_enter(w, op_str_from(name));
    struct op_json_iter it = op_json_iter(op_json_get(schema, name));
    while (op_json_next(&it)) {
        char number[24];
        int len = snprintf(number, sizeof(number), "%zu", it.index);
        size_t before = path_enter(w, (struct op_str){number, (size_t)len});
        enum op_rc rc = write_schema(w, it.value);
        if (rc)
            return rc;
        path_leave(w, before);
    }
    path_leave(w, begin);
    op_json_out_end_array(w->out);
    return OP_OK;
}

/* --- writing -------------------------------------------------------------------------------- */

static enum op_rc write_type(struct walk *w, struct op_json schema)
{
    static const char *const scalars[] = {"string", "number", "boolean", "null"};
    struct op_json type = op_json_get(schema, "type");
    if (op_json_ok(type)) {
        op_json_out_name(w->out, "type");
        op_json_out_value(w->out, type);
        return OP_OK;
    }
    if (has(schema, "properties")) {
        op_json_out_kv_text(w->out, "type", "object");
        return OP_OK;
    }
    if (has(schema, "items")) {
        op_json_out_kv_text(w->out, "type", "array");
        return OP_OK;
    }
    if (!has(schema, "enum") && !has(schema, "const"))
        return fail(w, "strict mode wants every part to say its type", "add \"type\"");
    op_json_out_name(w->out, "type");
    op_json_out_array(w->out);
    for (size_t i = 0; i < OP_COUNT(scalars); i++)
        if (enum_allows(schema, scalars[i]))
            op_json_out_text(w->out, scalars[i]);
    op_json_out_end_array(w->out);
    return OP_OK;
}

static enum op_rc write_enum(struct walk *w, struct op_json schema)
{
    struct op_json values = op_json_get(schema, "enum");
    struct op_json_iter it = op_json_iter(values);
    while (op_json_next(&it))
        if (op_json_is(it.value, OP_JSON_OBJECT) || op_json_is(it.value, OP_JSON_ARRAY))
            return fail(w, "strict mode takes only texts, numbers, booleans and null in enum",
                        "use anyOf with one branch per value");
    w->enum_values += op_json_count(values);
    if (w->enum_values > ENUM_VALUES_MAX)
        return fail(w, "strict mode takes at most 1000 enum values in all",
                    "ask for a text and check it afterwards");
    op_json_out_name(w->out, "enum");
    op_json_out_value(w->out, values);
    return OP_OK;
}

static enum op_rc write_items(struct walk *w, struct op_json schema)
{
    struct op_json items = op_json_get(schema, "items");
    if (has(schema, "prefixItems") || !op_json_is(items, OP_JSON_OBJECT))
        return fail(w, "strict mode takes only arrays whose \"items\" are one schema",
                    "say what the items are; write a tuple as an object");
    op_json_out_name(w->out, "items");
    size_t before = path_enter(w, OP_STR("items"));
    enum op_rc rc = write_schema(w, items);
    path_leave(w, before);
    return rc;
}

static void write_plain(struct walk *w, struct op_json schema)
{
    struct op_json_iter it = op_json_iter(schema);
    while (op_json_next(&it)) {
        if (!is_word(it.name, copied) &&
            !(op_str_is(it.name, "format") && is_word(op_json_str(it.value), formats)))
            continue;
        op_json_out_name_str(w->out, it.name);
        op_json_out_value(w->out, it.value);
    }
}

/* Definitions count at the root alone: no reference that is let through leads anywhere else. */
static enum op_rc write_defs(struct walk *w)
{
    static const char *const names[] = {"$defs", "definitions"};
    for (size_t i = 0; i < OP_COUNT(names); i++) {
        struct op_json defs = op_json_get(w->root, names[i]);
        if (!op_json_is(defs, OP_JSON_OBJECT))
            continue;
        const char *moved = defs_name(w, op_str_from(names[i]));
        op_json_out_name(w->out, moved ? moved : names[i]);
        op_json_out_object(w->out);
        size_t begin = path_enter(w, op_str_from(names[i]));
        struct op_json_iter it = op_json_iter(defs);
        while (op_json_next(&it)) {
            op_json_out_name_str(w->out, it.name);
            size_t before = path_enter(w, it.name);
            enum op_rc rc = write_schema(w, it.value);
            if (rc)
                return rc;
            path_leave(w, before);
        }
        path_leave(w, begin);
        op_json_out_end_object(w->out);
    }
    return OP_OK;
}

static enum op_rc write_members(struct walk *w, struct op_json schema)
{
    const char *chosen;
    enum op_rc rc = choose_union(w, schema, &chosen);
    if (rc)
        return rc;
    write_plain(w, schema);
    if (chosen)
        return write_union(w, schema, chosen);
    rc = write_type(w, schema);
    if (!rc && has(schema, "enum"))
        rc = write_enum(w, schema);
    if (!rc && is_object_schema(schema))
        rc = write_properties(w, schema);
    bool array = type_names(op_json_get(schema, "type"), "array") || has(schema, "items");
    if (!rc && array)
        rc = write_items(w, schema);
    return rc;
}

static enum op_rc write_schema(struct walk *w, struct op_json schema)
{
    if (op_json_is(schema, OP_JSON_FALSE))
        return fail(w, "strict mode takes no schema 'false'", "remove this part");
    if (!op_json_is(schema, OP_JSON_OBJECT))
        return fail(w, "strict mode wants every part to say its type", "write {\"type\": ...}");
    if (has(schema, "$ref"))
        return write_ref(w, op_json_get(schema, "$ref"));
    op_json_out_object(w->out);
    enum op_rc rc = write_members(w, schema);
    if (!rc && schema.at == w->root.at)
        rc = write_defs(w);
    op_json_out_end_object(w->out);
    return rc;
}

enum op_rc op_openai_schema(struct op_json schema, const char *file, struct op_json_out *out,
                            struct op_err *err)
{
    struct walk w = {.file = file, .root = schema, .out = out, .err = err};
    op_buf_init(&w.path, PATH_MAX_BYTES);
    enum op_rc rc = OP_OK;
    if (!op_json_is(schema, OP_JSON_OBJECT) || has(schema, "$ref") ||
        !(op_str_is(op_json_str(op_json_get(schema, "type")), "object") ||
          (!has(schema, "type") && has(schema, "properties"))))
        rc = fail(&w, "strict mode wants an object at the root",
                  "put the answer into a property, as {\"type\": \"object\", \"properties\": "
                  "{\"items\": ...}}");
    if (!rc)
        rc = write_schema(&w, schema);
    op_buf_release(&w.path);
    return rc;
}
