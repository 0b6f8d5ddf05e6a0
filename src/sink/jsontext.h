/* SPDX-License-Identifier: MIT */
#ifndef OP_SINK_JSONTEXT_H
#define OP_SINK_JSONTEXT_H

/*
 * Model:     JSON as text: values are copied token by token, so that numbers and strings keep
 *            their bytes while the white space between them changes. Nothing is allocated, so the
 *            functions may run on any thread (a parser could not).
 * Errors:    false for what is no JSON or is nested more than OP_JSON_DEPTH deep.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

/* Appends the one JSON value that text holds; indent 0: compact, else spaces per level, beginning
 * at depth. After false out holds a part of it. */
bool op_jsontext_copy(struct op_buf *out, struct op_str text, int indent, int depth);

/* Length of the value at the start of valid JSON text; 0 when there is none. */
size_t op_jsontext_skip(struct op_str text);
size_t op_jsontext_space(struct op_str text); /* length of the white space at its start */

/* Walks the members of an object or the elements of an array in valid JSON text. */
struct op_jsontext_iter {
    struct op_str name;  /* raw content between the quotes; ptr NULL in arrays */
    struct op_str value; /* raw */
    struct op_str rest;  /* private */
    bool object;         /* private */
};
struct op_jsontext_iter op_jsontext_iter(struct op_str container);
bool op_jsontext_next(struct op_jsontext_iter *it);

/* Line break and indentation of a level. */
void op_jsontext_break(struct op_buf *out, int indent, int depth);

#endif
