/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "base/mem.h"
#include "core/schema_impl.h"

/* Members from this count on are found through a map. */
#define MANY_MEMBERS 12

enum keyword_kind {
    KW_NOTE,     /* an annotation of any kind */
    KW_TEXT,     /* an annotation that is a string */
    KW_IDENTITY, /* handled before the others */
    KW_META,     /* $schema */
    KW_UNSUPPORTED,
    KW_TYPE,
    KW_ENUM,
    KW_CONST,
    KW_SIZE,    /* int64_t at offset */
    KW_NUMBER,  /* op_json at offset */
    KW_DIVISOR, /* op_json at offset, above 0 */
    KW_UNIQUE,
    KW_PATTERN,
    KW_FORMAT,
    KW_REQUIRED,
    KW_REF,
    KW_SCHEMA,   /* op_schema_node pointer at offset */
    KW_SCHEMAS,  /* op_schema_nodes at offset */
    KW_MEMBERS,  /* op_schema_members at offset: name -> schema */
    KW_PATTERNS, /* the same, names are patterns */
    KW_NEEDS,    /* dependentRequired */
};

#define AT(field) offsetof(struct op_schema_node, field)

static const struct keyword {
    const char *name;
    enum keyword_kind kind;
    size_t offset;
} keywords[] = {
    {"type", KW_TYPE, 0},
    {"enum", KW_ENUM, 0},
    {"const", KW_CONST, 0},
    {"properties", KW_MEMBERS, AT(properties)},
    {"required", KW_REQUIRED, 0},
    {"additionalProperties", KW_SCHEMA, AT(additional_properties)},
    {"patternProperties", KW_PATTERNS, AT(pattern_properties)},
    {"propertyNames", KW_SCHEMA, AT(property_names)},
    {"minProperties", KW_SIZE, AT(min_properties)},
    {"maxProperties", KW_SIZE, AT(max_properties)},
    {"dependentRequired", KW_NEEDS, AT(dependent_required)},
    {"dependentSchemas", KW_MEMBERS, AT(dependent_schemas)},
    {"unevaluatedProperties", KW_SCHEMA, AT(unevaluated_properties)},
    {"items", KW_SCHEMA, AT(items)},
    {"prefixItems", KW_SCHEMAS, AT(prefix_items)},
    {"contains", KW_SCHEMA, AT(contains)},
    {"minContains", KW_SIZE, AT(min_contains)},
    {"maxContains", KW_SIZE, AT(max_contains)},
    {"minItems", KW_SIZE, AT(min_items)},
    {"maxItems", KW_SIZE, AT(max_items)},
    {"uniqueItems", KW_UNIQUE, 0},
    {"unevaluatedItems", KW_SCHEMA, AT(unevaluated_items)},
    {"minimum", KW_NUMBER, AT(minimum)},
    {"maximum", KW_NUMBER, AT(maximum)},
    {"exclusiveMinimum", KW_NUMBER, AT(exclusive_minimum)},
    {"exclusiveMaximum", KW_NUMBER, AT(exclusive_maximum)},
    {"multipleOf", KW_DIVISOR, AT(multiple_of)},
    {"minLength", KW_SIZE, AT(min_length)},
    {"maxLength", KW_SIZE, AT(max_length)},
    {"pattern", KW_PATTERN, 0},
    {"format", KW_FORMAT, 0},
    {"allOf", KW_SCHEMAS, AT(all_of)},
    {"anyOf", KW_SCHEMAS, AT(any_of)},
    {"oneOf", KW_SCHEMAS, AT(one_of)},
    {"not", KW_SCHEMA, AT(not_)},
    {"if", KW_SCHEMA, AT(if_)},
    {"then", KW_SCHEMA, AT(then_)},
    {"else", KW_SCHEMA, AT(else_)},
    {"$ref", KW_REF, 0},
    {"$defs", KW_MEMBERS, AT(definitions)},
    {"definitions", KW_MEMBERS, AT(draft7_definitions)}, /* the older name of $defs */
    {"$id", KW_IDENTITY, 0},
    {"$anchor", KW_IDENTITY, 0},
    {"$dynamicAnchor", KW_IDENTITY, 0},
    {"$schema", KW_META, 0},
    {"$dynamicRef", KW_UNSUPPORTED, 0},
    {"$vocabulary", KW_UNSUPPORTED, 0},
    {"title", KW_TEXT, 0},
    {"description", KW_TEXT, 0},
    {"$comment", KW_TEXT, 0},
    {"contentEncoding", KW_TEXT, 0},
    {"contentMediaType", KW_TEXT, 0},
    {"contentSchema", KW_SCHEMA, AT(content_schema)},
    {"default", KW_NOTE, 0},
    {"examples", KW_NOTE, 0},
    {"deprecated", KW_NOTE, 0},
    {"readOnly", KW_NOTE, 0},
    {"writeOnly", KW_NOTE, 0},
};

static const char *const dialects[] = {
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/schema",
};

/* The keyword being compiled. */
struct place {
    struct op_schema_compiler *c;
    struct op_schema_node *node;
    const struct keyword *keyword;
    const char *pointer; /* of the keyword */
    struct op_json value;
};

static enum op_rc fail_at(const struct place *at, const char *what)
{
    return op_fail(at->c->err, OP_INVAL, "%s#%s: %s", at->c->schema->file, at->pointer, what);
}

const char *op_schema_pointer_add(struct op_schema *schema, const char *pointer,
                                  struct op_str name)
{
    struct op_buf buf;

    op_buf_init(&buf, SIZE_MAX / 2);
    op_buf_addf(&buf, "%s/", pointer);
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '~' || name.ptr[i] == '/')
            op_buf_addz(&buf, name.ptr[i] == '~' ? "~0" : "~1");
        else
            op_buf_addc(&buf, name.ptr[i]);
    }
    const char *ret = op_arena_strdup(&schema->arena, op_buf_str(&buf));
    op_buf_release(&buf);
    return ret;
}

static void *field(const struct place *at)
{
    return (char *)at->node + at->keyword->offset;
}

static const char *index_pointer(const struct place *at, size_t index)
{
    return op_arena_printf(&at->c->schema->arena, "%s/%zu", at->pointer, index);
}

/* The type a name stands for, 0 for none. */
static unsigned type_named(struct op_str name)
{
    static const struct {
        const char *name;
        unsigned type;
    } types[] = {
        {"null", OP_SCHEMA_NULL},       {"boolean", OP_SCHEMA_BOOLEAN},
        {"integer", OP_SCHEMA_INTEGER}, {"number", OP_SCHEMA_NUMBER},
        {"string", OP_SCHEMA_STRING},   {"array", OP_SCHEMA_ARRAY},
        {"object", OP_SCHEMA_OBJECT},
    };

    for (size_t i = 0; i < OP_COUNT(types); i++)
        if (op_str_is(name, types[i].name))
            return types[i].type;
    return 0;
}

static enum op_rc compile_type(const struct place *at)
{
    static const char expected[] = "expected one of null, boolean, integer, number, string, "
                                   "array, object, or an array of these";
    struct op_json_iter it = op_json_iter(at->value);
    unsigned type;

    if (op_json_is(at->value, OP_JSON_STRING)) {
        at->node->types = type_named(op_json_str(at->value));
        if (at->node->types)
            return OP_OK;
        struct op_str name = op_json_str(at->value);
        OP_CLEANUP(op_mem_freep)
        char *what =
            op_mem_printf("there is no type '" OP_STR_FMT "': %s", OP_STR_ARG(name), expected);
        return fail_at(at, what);
    }
    if (!op_json_is(at->value, OP_JSON_ARRAY) || op_json_count(at->value) == 0)
        return fail_at(at, expected);
    while (op_json_next(&it)) {
        type = op_json_is(it.value, OP_JSON_STRING) ? type_named(op_json_str(it.value)) : 0;
        if (!type)
            return fail_at(at, expected);
        at->node->types |= type;
    }
    return OP_OK;
}

static bool is_number(struct op_json v)
{
    return op_json_is(v, OP_JSON_INT) || op_json_is(v, OP_JSON_DOUBLE);
}

static enum op_rc compile_number(const struct place *at)
{
    if (!is_number(at->value))
        return fail_at(at, "expected a number");
    if (at->keyword->kind == KW_DIVISOR && op_json_double(at->value, 0) <= 0)
        return fail_at(at, "expected a number above 0");
    *(struct op_json *)field(at) = at->value;
    return OP_OK;
}

static enum op_rc compile_size(const struct place *at)
{
    int64_t size = op_json_int(at->value, -1);

    if (size < 0)
        return fail_at(at, "expected a whole number, 0 or above");
    *(int64_t *)field(at) = size;
    return OP_OK;
}

static enum op_rc read_names(const struct place *at, struct op_json list, struct op_str **ret,
                             size_t *ret_count)
{
    struct op_json_iter it = op_json_iter(list);

    if (!op_json_is(list, OP_JSON_ARRAY))
        return fail_at(at, "expected an array of names");
    *ret = op_arena_array(&at->c->schema->arena, op_json_count(list) + 1, sizeof(**ret));
    while (op_json_next(&it)) {
        if (!op_json_is(it.value, OP_JSON_STRING))
            return fail_at(at, "expected an array of names");
        (*ret)[it.index] = op_json_str(it.value);
    }
    *ret_count = op_json_count(list);
    return OP_OK;
}

static enum op_rc compile_ref(const struct place *at)
{
    at->node->ref_text = op_json_str(at->value);
    return at->node->ref_text.ptr ? OP_OK : fail_at(at, "expected a string");
}

static enum op_rc compile_pattern(const struct place *at)
{
    struct op_str text = op_json_str(at->value);

    if (!text.ptr)
        return fail_at(at, "expected a regular expression");
    at->node->pattern_text = text;
    return op_schema_regex_compile(at->c->schema, text, at->pointer, &at->node->pattern,
                                   at->c->err);
}

static enum op_rc compile_format(const struct place *at)
{
    struct op_str text = op_json_str(at->value);

    if (!text.ptr)
        return fail_at(at, "expected the name of a format");
    at->node->format_text = text;
    if (at->c->schema->options.assert_format)
        at->node->format = op_schema_format_find(text);
    return OP_OK;
}

static enum op_rc compile_schemas(const struct place *at)
{
    struct op_schema_nodes *nodes = field(at);
    struct op_json_iter it = op_json_iter(at->value);
    size_t count = op_json_count(at->value);
    enum op_rc rc;

    if (!op_json_is(at->value, OP_JSON_ARRAY) || count == 0)
        return fail_at(at, "expected an array of schemas, at least one");
    nodes->items = op_arena_array(&at->c->schema->arena, count, sizeof(*nodes->items));
    while (op_json_next(&it)) {
        rc = op_schema_node_at(at->c, it.value, index_pointer(at, it.index), at->node->base,
                               &nodes->items[it.index]);
        if (rc)
            return rc;
    }
    nodes->count = count;
    return OP_OK;
}

static enum op_rc compile_member(const struct place *at, const struct op_json_iter *it,
                                 struct op_schema_member *member)
{
    struct op_schema_compiler *c = at->c;
    const char *pointer = op_schema_pointer_add(c->schema, at->pointer, it->name);
    enum op_rc rc = OP_OK;

    member->name = it->name;
    if (at->keyword->kind == KW_NEEDS)
        return read_names(at, it->value, &member->needs, &member->need_count);
    if (at->keyword->kind == KW_PATTERNS)
        rc = op_schema_regex_compile(c->schema, it->name, pointer, &member->regex, c->err);
    return rc ? rc : op_schema_node_at(c, it->value, pointer, at->node->base, &member->node);
}

static enum op_rc compile_members(const struct place *at)
{
    struct op_schema_members *members = field(at);
    struct op_json_iter it = op_json_iter(at->value);
    size_t count = op_json_count(at->value);
    enum op_rc rc;

    if (!op_json_is(at->value, OP_JSON_OBJECT))
        return fail_at(at, "expected an object");
    members->items = op_arena_array(&at->c->schema->arena, count + 1, sizeof(*members->items));
    while (op_json_next(&it)) {
        rc = compile_member(at, &it, &members->items[members->count]);
        if (rc)
            return rc;
        if (count >= MANY_MEMBERS)
            op_map_set(&members->by_name, it.name, (int64_t)members->count);
        members->count++;
    }
    return OP_OK;
}

static enum op_rc compile_meta(const struct place *at)
{
    struct op_str text = op_json_str(at->value);

    if (op_str_ends(text, "#"))
        text.len--;
    for (size_t i = 0; i < OP_COUNT(dialects); i++)
        if (text.ptr && op_str_is(text, dialects[i]))
            return OP_OK;
    return fail_at(at,
                   "this dialect is not supported (2020-12 is, and what older drafts have in "
                   "common with it)");
}

static enum op_rc compile_keyword(const struct place *at)
{
    switch (at->keyword->kind) {
    case KW_NOTE:
    case KW_IDENTITY:
        return OP_OK;
    case KW_TEXT:
        return op_json_is(at->value, OP_JSON_STRING) ? OP_OK : fail_at(at, "expected a string");
    case KW_META:
        return compile_meta(at);
    case KW_UNSUPPORTED:
        return fail_at(at, "this keyword is not supported");
    case KW_TYPE:
        return compile_type(at);
    case KW_ENUM:
        at->node->enumeration = at->value;
        return op_json_is(at->value, OP_JSON_ARRAY) ? OP_OK : fail_at(at, "expected an array");
    case KW_CONST:
        at->node->constant = at->value;
        return OP_OK;
    case KW_SIZE:
        return compile_size(at);
    case KW_NUMBER:
    case KW_DIVISOR:
        return compile_number(at);
    case KW_UNIQUE:
        at->node->unique_items = op_json_bool(at->value, false);
        return op_json_is(at->value, OP_JSON_TRUE) || op_json_is(at->value, OP_JSON_FALSE)
                   ? OP_OK
                   : fail_at(at, "expected true or false");
    case KW_PATTERN:
        return compile_pattern(at);
    case KW_FORMAT:
        return compile_format(at);
    case KW_REQUIRED:
        return read_names(at, at->value, &at->node->required, &at->node->required_count);
    case KW_REF:
        return compile_ref(at);
    case KW_SCHEMA:
        return op_schema_node_at(at->c, at->value, at->pointer, at->node->base, field(at));
    case KW_SCHEMAS:
        return compile_schemas(at);
    case KW_MEMBERS:
    case KW_PATTERNS:
    case KW_NEEDS:
        return compile_members(at);
    }
    return OP_OK;
}

static enum op_rc fail_unknown(const struct place *at, struct op_str name)
{
    const char *names[OP_COUNT(keywords)];
    const char *word = op_arena_strdup(&at->c->schema->arena, name);

    for (size_t i = 0; i < OP_COUNT(keywords); i++)
        names[i] = keywords[i].name;
    const char *near = op_str_nearest(word, names, OP_COUNT(names));
    return op_fail(at->c->err, OP_INVAL, "%s#%s: '%s' is not a keyword of JSON Schema%s%s%s",
                   at->c->schema->file, at->pointer, word, near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : "");
}

static enum op_rc compile_object(struct op_schema_compiler *c, struct op_schema_node *node)
{
    struct op_json_iter it = op_json_iter(node->json);
    enum op_rc rc = OP_OK;

    while (!rc && op_json_next(&it)) {
        struct place at = {.c = c, .node = node, .value = it.value};
        /* the last of equal names is the one that counts */
        if (op_json_get_str(node->json, it.name).at != it.value.at)
            continue;
        at.pointer = op_schema_pointer_add(c->schema, node->pointer, it.name);
        for (size_t i = 0; i < OP_COUNT(keywords) && !at.keyword; i++)
            if (op_str_is(it.name, keywords[i].name))
                at.keyword = &keywords[i];
        if (at.keyword)
            rc = compile_keyword(&at);
        else if (!c->schema->options.allow_unknown)
            rc = fail_unknown(&at, it.name);
    }
    return rc;
}

static struct op_schema_node *new_node(struct op_schema *schema, struct op_json json,
                                       const char *pointer, const char *base)
{
    struct op_schema_node *node = op_arena_alloc(&schema->arena, sizeof(*node));

    *node = (struct op_schema_node){
        .json = json,
        .pointer = pointer,
        .base = base,
        .min_length = -1,
        .max_length = -1,
        .min_items = -1,
        .max_items = -1,
        .min_properties = -1,
        .max_properties = -1,
        .min_contains = -1,
        .max_contains = -1,
    };
    if (schema->node_count == schema->node_room) {
        schema->node_room = schema->node_room ? 2 * schema->node_room : 32;
        schema->nodes =
            op_mem_realloc(schema->nodes, schema->node_room * sizeof(*schema->nodes));
    }
    schema->nodes[schema->node_count++] = node;
    return node;
}

enum op_rc op_schema_node_at(struct op_schema_compiler *c, struct op_json json,
                             const char *pointer, const char *base, struct op_schema_node **ret)
{
    struct op_schema *schema = c->schema;
    struct op_str key = {(const char *)&json.at, sizeof(json.at)};
    size_t index = schema->node_count;
    int64_t known;
    enum op_rc rc;

    if (op_map_get(&c->by_place, key, &known)) {
        *ret = schema->nodes[known];
        return OP_OK;
    }
    enum op_json_type type = op_json_type(json);
    if (type != OP_JSON_OBJECT && type != OP_JSON_TRUE && type != OP_JSON_FALSE)
        return op_fail(c->err, OP_INVAL,
                       "%s#%s: expected a schema (an object, true or false), found %s",
                       schema->file, pointer, op_json_type_name(type));
    op_map_set(&c->by_place, key, (int64_t)index);
    *ret = new_node(schema, json, pointer, base);
    if (type != OP_JSON_OBJECT) {
        (*ret)->boolean = true;
        (*ret)->allow = type == OP_JSON_TRUE;
        return OP_OK;
    }
    rc = op_schema_identify(c, index);
    return rc ? rc : compile_object(c, *ret);
}
