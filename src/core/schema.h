/* SPDX-License-Identifier: MIT */
#ifndef OP_CORE_SCHEMA_H
#define OP_CORE_SCHEMA_H

/*
 * Model:     JSON Schema draft 2020-12, compiled once, checked many times. Every keyword that a
 *            provider's structured output can use is supported; an unknown keyword is an error at
 *            compile time, never ignored. $ref resolves inside the document only.
 * Ownership: a schema copies what it needs; the document may go.
 * Errors:    compile: OP_INVAL naming file and JSON pointer. Violations are data, not errors.
 * Threads:   a compiled schema is read-only and may be used by many threads.
 */

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

struct op_schema;

struct op_schema_options {
    bool assert_format; /* check "format" for the formats we know; else it is an annotation */
    bool allow_unknown; /* the conformance suite has tests with unknown keywords */
};

OP_MUST_CHECK enum op_rc op_schema_compile(struct op_json document, const char *file,
                                           const struct op_schema_options *options,
                                           struct op_schema **ret, struct op_err *err);
void op_schema_free(struct op_schema *schema);
void op_schema_freep(struct op_schema **schema);

/* Number of violations (0 = valid). The first max_listed of them are appended to list as lines
 * "/items/0/confidence: 95 is greater than the maximum 1", written for a model that is to mend
 * them as much as for a person. list may be NULL. */
size_t op_schema_check(const struct op_schema *schema, struct op_json value, size_t max_listed,
                       struct op_buf *list);

#endif
