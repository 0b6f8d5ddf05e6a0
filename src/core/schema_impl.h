/* SPDX-License-Identifier: MIT */
#ifndef OP_CORE_SCHEMA_IMPL_H
#define OP_CORE_SCHEMA_IMPL_H

/*
 * Model:     a compiled JSON Schema: one node per subschema, references resolved to nodes. Shared
 *            by schema.c (life), schema_compile.c (keywords), schema_ref.c ($id, $anchor, $ref),
 *            schema_check.c (evaluation), schema_text.c (messages), schema_format.c and
 *            schema_regex.c.
 * Ownership: the schema holds its own copy of the document; nodes live in its arena.
 * Threads:   written by compile only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/map.h"
#include "core/schema.h"

/* Subschemas that apply to the same value one inside the other. */
#define OP_SCHEMA_MAX_CHAIN 100
/* Subschemas open at once in a check, over all levels of the value; bounds the C stack. */
#define OP_SCHEMA_MAX_DEPTH 2000
/* Subschemas evaluated in one check: a schema can be exponential in the depth of the value. */
#define OP_SCHEMA_MAX_STEPS 20000000

enum {
    OP_SCHEMA_NULL = 1,
    OP_SCHEMA_BOOLEAN = 2,
    OP_SCHEMA_INTEGER = 4,
    OP_SCHEMA_NUMBER = 8,
    OP_SCHEMA_STRING = 16,
    OP_SCHEMA_ARRAY = 32,
    OP_SCHEMA_OBJECT = 64,
};

struct op_schema_regex;

struct op_schema_member {
    struct op_str name;
    struct op_schema_node *node;
    struct op_schema_regex *regex; /* patternProperties */
    struct op_str *needs;          /* dependentRequired */
    size_t need_count;
};

struct op_schema_members {
    struct op_schema_member *items;
    size_t count;
    struct op_map by_name; /* only when there are many */
};

struct op_schema_nodes {
    struct op_schema_node **items;
    size_t count;
};

struct op_schema_node {
    struct op_json json;
    const char *pointer; /* of the schema in the document, for messages */
    const char *base;    /* absolute URI of the resource it belongs to, no fragment */
    bool boolean, allow; /* a boolean schema, and which */

    unsigned types; /* OP_SCHEMA_*; 0 any */
    struct op_json enumeration, constant;
    struct op_json minimum, maximum, exclusive_minimum, exclusive_maximum, multiple_of;
    int64_t min_length, max_length, min_items, max_items; /* -1: none */
    int64_t min_properties, max_properties, min_contains, max_contains;
    bool unique_items;
    struct op_str pattern_text, format_text;
    struct op_schema_regex *pattern;
    bool (*format)(struct op_str text);
    struct op_str *required;
    size_t required_count;

    struct op_schema_members properties, pattern_properties, dependent_schemas, definitions,
        draft7_definitions, dependent_required;
    struct op_schema_nodes all_of, any_of, one_of, prefix_items;
    struct op_schema_node *additional_properties, *property_names, *items, *contains, *not_,
        *if_, *then_, *else_, *unevaluated_items, *unevaluated_properties, *content_schema;
    struct op_str ref_text;
    struct op_schema_node *ref;
    int chain; /* length of the longest chain from here; 0 unknown, -1 being measured */
};

struct op_schema {
    struct op_arena arena;
    struct op_json_parser *parser;
    struct op_schema_options options;
    const char *file;
    struct op_schema_node **nodes; /* in order of compilation */
    size_t node_count, node_room;
    struct op_schema_node *root;
    struct op_schema_regex **regexes;
    size_t regex_count;
};

/* State of a compilation. */
struct op_schema_compiler {
    struct op_schema *schema;
    struct op_map by_place;  /* tape index (8 bytes) -> node */
    struct op_map resources; /* absolute URI -> node */
    struct op_map anchors;   /* absolute URI "#" name -> node */
    struct op_err *err;
};

/* schema_compile.c: the node of the schema at json, compiled at the first demand. */
OP_MUST_CHECK enum op_rc op_schema_node_at(struct op_schema_compiler *c, struct op_json json,
                                           const char *pointer, const char *base,
                                           struct op_schema_node **ret);
/* pointer with "/name" appended, escaped for RFC 6901. */
const char *op_schema_pointer_add(struct op_schema *schema, const char *pointer,
                                  struct op_str name);

/* schema_ref.c */
OP_MUST_CHECK enum op_rc op_schema_identify(struct op_schema_compiler *c, size_t index);
OP_MUST_CHECK enum op_rc op_schema_resolve_all(struct op_schema_compiler *c);
OP_MUST_CHECK enum op_rc op_schema_check_chains(struct op_schema_compiler *c);
/* An absolute URI without fragment: reference resolved against base (RFC 3986 section 5.2). */
const char *op_schema_uri_resolve(struct op_arena *arena, const char *base,
                                  struct op_str reference);

/* schema_regex.c */
enum op_schema_match {
    OP_SCHEMA_NO_MATCH,
    OP_SCHEMA_MATCH,
    OP_SCHEMA_GAVE_UP, /* a limit of the regex engine was met */
};
OP_MUST_CHECK enum op_rc op_schema_regex_compile(struct op_schema *schema, struct op_str text,
                                                 const char *pointer,
                                                 struct op_schema_regex **ret,
                                                 struct op_err *err);
enum op_schema_match op_schema_regex_match(const struct op_schema_regex *regex,
                                           struct op_str text);
bool op_schema_regex_valid(struct op_str text);
void op_schema_regex_free(struct op_schema_regex *regex);

/* schema_format.c: the checker of a format, NULL when we have none. */
bool (*op_schema_format_find(struct op_str name))(struct op_str text);

/* schema_text.c */
unsigned op_schema_type_of(struct op_json value); /* INTEGER | NUMBER for whole numbers */
void op_schema_put_types(struct op_buf *buf, unsigned types);
void op_schema_put_value(struct op_buf *buf, struct op_json value); /* shortened */
void op_schema_put_choices(struct op_buf *buf, struct op_json array);
bool op_schema_multiple(struct op_json value, struct op_json divisor);
int op_schema_compare(struct op_json a, struct op_json b); /* numbers; <0, 0, >0 */

#endif
