/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_STR_H
#define OP_BASE_STR_H

/*
 * Model:     struct op_str is a slice: bytes and a length, no NUL, owned by somebody else.
 * Ownership: slices never own. Functions that return char* return an op_mem block.
 * Threads:   pure functions.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct op_str {
    const char
        *ptr; /* NULL means absent (SQL NULL, missing); "" is a non-NULL pointer, len 0 */
    size_t len;
};

#define OP_STR(literal) ((struct op_str){(literal), sizeof(literal) - 1})
#define OP_STR_NULL     ((struct op_str){NULL, 0})
#define OP_STR_FMT      "%.*s"
#define OP_STR_ARG(s)   (int)(s).len, ((s).ptr ? (s).ptr : "")

static inline struct op_str op_str_from(const char *text)
{
    return (struct op_str){text, text ? strlen(text) : 0};
}

static inline bool op_str_eq(struct op_str a, struct op_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool op_str_is(struct op_str a, const char *text)
{
    return op_str_eq(a, op_str_from(text));
}

bool op_str_starts(struct op_str s, const char *prefix);
bool op_str_ends(struct op_str s, const char *suffix);
struct op_str
op_str_skip_bom(struct op_str s);           /* without the byte order mark it may begin with */
struct op_str op_str_trim(struct op_str s); /* ASCII white space at both ends */
/* Cuts the slice at the first sep: returns what is before it, leaves the rest in *s (ptr NULL
 * when sep did not occur). */
struct op_str op_str_cut(struct op_str *s, char sep);

/* Whole-slice decimal integer, optional sign, no white space; false when it is anything else or
 * does not fit. */
bool op_str_int64(struct op_str s, int64_t *ret);
/* Whole-slice finite decimal number as strtod reads it in the C locale. */
bool op_str_double(struct op_str s, double *ret);
/* A decimal amount of US dollars ("12", "0.5", "1.234567") as micro-dollars, exactly; more than
 * six decimals, a sign or an overflow is false. */
bool op_str_microusd(struct op_str s, int64_t *ret);

/* Length of the valid UTF-8 prefix; equal to len when all of it is valid (RFC 3629: no
 * surrogates, no overlong forms, at most U+10FFFF). */
size_t op_utf8_valid_len(const char *ptr, size_t len);

/* Nearest of count candidates by edit distance, for "did you mean"; NULL when none is near. */
const char *op_str_nearest(const char *word, const char *const *candidates, size_t count);

#endif
