/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_YAML_H
#define OP_PIPELINE_YAML_H

/*
 * Model:     one YAML document as a tree of nodes that know their line. Read strictly: no anchors,
 *            aliases, tags, merges, duplicate or nested keys, one document, at most 1 MiB and 32
 *            levels. JSON is YAML, so it is read as well. Scalars keep their text; what they mean
 *            follows YAML 1.2's core schema (true, false, null, numbers; `yes`, `no` and `on` are
 *            plain words).
 * Ownership: nodes and texts live in the arena given to parse.
 * Errors:    OP_INVAL "file:line: what, and what to do".
 * Threads:   one thread at a time per arena; read-only afterwards.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json_out.h"
#include "base/str.h"

#define OP_YAML_MAX_BYTES (1024 * 1024)
#define OP_YAML_MAX_DEPTH 32
#define OP_YAML_MAX_KEY   1024

enum op_yaml_kind { OP_YAML_SCALAR, OP_YAML_LIST, OP_YAML_MAP };

struct op_yaml {
    enum op_yaml_kind kind;
    int line;        /* where the value begins, from 1; for a block text its first own line */
    bool quoted;     /* scalar in quotes or as a block: text, whatever it looks like */
    bool flow;       /* list or map written with brackets */
    const char *key; /* in a map: its name, NUL-terminated; NULL in a list and at the root */
    int key_line;
    const char *text; /* scalar: NUL-terminated, without a NUL inside; "" otherwise */
    size_t len;
    struct op_yaml *first, *next; /* children in document order, and the next sibling */
    size_t count;                 /* children */
    const char *file;             /* as given to parse */
};

/* file: how messages call the document; copied. */
OP_MUST_CHECK enum op_rc op_yaml_parse(struct op_arena *arena, const char *file,
                                       struct op_str text, const struct op_yaml **ret,
                                       struct op_err *err);

/* A map's child by name; NULL when there is none or node is no map. */
const struct op_yaml *op_yaml_get(const struct op_yaml *node, const char *key);
/* A plain `null`, `~` or nothing at all. */
bool op_yaml_is_null(const struct op_yaml *node);
/* "a text", "a list", "a map" or "nothing": for messages. */
const char *op_yaml_kind_name(const struct op_yaml *node);

/* Typed reads of a scalar; OP_INVAL "file:line: 'key' must be a whole number, not 'x'". */
OP_MUST_CHECK enum op_rc op_yaml_int(const struct op_yaml *node, int64_t *ret,
                                     struct op_err *err);
OP_MUST_CHECK enum op_rc op_yaml_bool(const struct op_yaml *node, bool *ret,
                                      struct op_err *err);
/* Any scalar that is not null, as it was written. */
OP_MUST_CHECK enum op_rc op_yaml_text(const struct op_yaml *node, const char **ret,
                                      struct op_err *err);

/* The node as JSON: maps, lists, and scalars by the core schema. */
void op_yaml_write_json(const struct op_yaml *node, struct op_json_out *out);

#endif
