/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_VALUE_H
#define OP_BASE_VALUE_H

/*
 * Model:     one cell of a row, with SQLite's five types: what sources yield, SQL passes on,
 *            templates render and sinks write. A JSON array or object inside a cell is its text.
 * Ownership: text and blobs are borrowed from whoever made the row, until its next row.
 */

#include <stdint.h>

#include "base/str.h"

enum op_value_type {
    OP_VALUE_NULL,
    OP_VALUE_INT,
    OP_VALUE_DOUBLE,
    OP_VALUE_TEXT,
    OP_VALUE_BLOB,
};

struct op_value {
    enum op_value_type type;
    union {
        int64_t i;
        double d;
        struct op_str s; /* TEXT and BLOB */
    };
};

static inline struct op_value op_value_null(void)
{
    return (struct op_value){.type = OP_VALUE_NULL};
}
static inline struct op_value op_value_int(int64_t i)
{
    return (struct op_value){.type = OP_VALUE_INT, .i = i};
}
static inline struct op_value op_value_double(double d)
{
    return (struct op_value){.type = OP_VALUE_DOUBLE, .d = d};
}
/* NULL when s.ptr is NULL */
static inline struct op_value op_value_text(struct op_str s)
{
    return s.ptr ? (struct op_value){.type = OP_VALUE_TEXT, .s = s} : op_value_null();
}

/* The value as text as SQLite's CAST(x AS TEXT) would give it; numbers are formatted into
 * scratch (32 bytes), text is returned as it is, NULL as ptr NULL. */
struct op_str op_value_to_text(struct op_value v, char scratch[32]);

#endif
