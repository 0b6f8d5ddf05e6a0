/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_JSON_H
#define OP_BASE_JSON_H

/*
 * Model:     reading JSON. A parser turns a text into a tape (simdjson's, through json_simd.cc);
 *            struct op_json is a cursor on one value of it, cheap to copy. A text that simdjson
 *            rejects but that people meet in practice (lone surrogates, integers beyond 64 bits,
 *            1e400, invalid UTF-8, a BOM) goes to the tolerant tokenizer of json_text.c, which
 *            writes the same tape. A document that strict JSON has no place for is marked
 *            op_json_parser_repaired(); a number too large for the tape is JSON all the same.
 *            Writing JSON is json_out.h.
 * Ownership: values point into the parser and are valid until its next parse.
 * Errors:    OP_INVAL with line, column and what was expected.
 * Threads:   one parser per thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* Nesting limit for every document read (reliability.md section 4: depth 64 for foreign bytes). */
#define OP_JSON_DEPTH 64

enum op_json_type {
    OP_JSON_NULL,
    OP_JSON_FALSE,
    OP_JSON_TRUE,
    OP_JSON_INT,    /* fits int64 */
    OP_JSON_DOUBLE, /* any other number */
    OP_JSON_STRING,
    OP_JSON_ARRAY,
    OP_JSON_OBJECT,
};

struct op_json {
    const uint64_t *tape; /* NULL: no value */
    const uint8_t *strings;
    size_t at;
};

struct op_json_parser;

struct op_json_parser *op_json_parser_new(void);
void op_json_parser_free(struct op_json_parser *parser);
void op_json_parser_freep(struct op_json_parser **parser);

/* Parses one document. padded: OP_BUF_PADDING bytes after text[len] are readable (op_buf and
 * op_lines guarantee it); otherwise the text is copied first. *ret is the root. */
OP_MUST_CHECK enum op_rc op_json_parse(struct op_json_parser *parser, const char *text,
                                       size_t len, bool padded, struct op_json *ret,
                                       struct op_err *err);
/* The last document's own bytes are not strict JSON in UTF-8 (a lone surrogate, a BOM). */
bool op_json_parser_repaired(const struct op_json_parser *parser);

static inline bool op_json_ok(struct op_json v)
{
    return v.tape != NULL;
}

enum op_json_type op_json_type(struct op_json v);
const char *op_json_type_name(enum op_json_type type); /* "null", "boolean", "integer", ... */
bool op_json_is(struct op_json v, enum op_json_type type); /* false when there is no value */

/* Typed reads: the fallback when there is no value or it has another type. */
struct op_str op_json_str(struct op_json v); /* unescaped bytes; ptr NULL when not a string */
int64_t op_json_int(struct op_json v, int64_t fallback); /* a double without fraction counts */
double op_json_double(struct op_json v, double fallback);
bool op_json_bool(struct op_json v, bool fallback);

/* Members. The last of equal names wins, as in Python and JavaScript. No value when absent. */
struct op_json op_json_get(struct op_json object, const char *name);
struct op_json op_json_get_str(struct op_json object, struct op_str name);
/* RFC 6901 pointer ("" is v itself). */
struct op_json op_json_pointer(struct op_json v, struct op_str pointer);
/* Elements of an array or members of an object; 0 for anything else. */
size_t op_json_count(struct op_json v);

/* Iteration in document order, over arrays and objects:
 *     struct op_json_iter it = op_json_iter(v);
 *     while (op_json_next(&it)) use(it.name, it.value);   (name.ptr NULL in arrays) */
struct op_json_iter {
    struct op_json value;
    struct op_str name;
    size_t index;
    size_t next, end; /* private */
    bool object;      /* private */
};
struct op_json_iter op_json_iter(struct op_json container);
bool op_json_next(struct op_json_iter *it);
/* The name of the current member of an object as a value of type string. */
static inline struct op_json op_json_iter_name(const struct op_json_iter *it)
{
    return (struct op_json){it->value.tape, it->value.strings, it->value.at - 1};
}

/* Structural equality as JSON Schema defines it: numbers by value, members without order. */
bool op_json_equal(struct op_json a, struct op_json b);

#endif
