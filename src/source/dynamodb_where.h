/* SPDX-License-Identifier: MIT */
#ifndef OP_SOURCE_DYNAMODB_WHERE_H
#define OP_SOURCE_DYNAMODB_WHERE_H

/*
 * Model:     one condition of a dynamodb input: NAME [TYPE] OPERATOR VALUE. The value is all that
 *            follows the operator, bound and never spliced: whatever a param holds, it cannot become
 *            another condition.
 * Ownership: slices of the text.
 * Threads:   pure.
 */

#include "base/json_out.h"
#include "base/str.h"

struct op_dynamodb_where {
    struct op_str name;
    char type; /* 'S', 'N', 'B' (base64) or 't' (BOOL); 0: not said */
    enum {
        WHERE_EQ,
        WHERE_NE,
        WHERE_LT,
        WHERE_LE,
        WHERE_GT,
        WHERE_GE,
        WHERE_BEGINS,
        WHERE_CONTAINS,
        WHERE_BETWEEN
    } op;
    struct op_str value, upper; /* upper: with between */
};

/* OP_INVAL that says the form. */
OP_MUST_CHECK enum op_rc
op_dynamodb_where_parse(const char *text, struct op_dynamodb_where *ret, struct op_err *err);
/* The expression, with the names #LETTER0 and :LETTER0, :LETTER1. */
void op_dynamodb_where_expression(const struct op_dynamodb_where *where, char letter,
                                  struct op_buf *out);
/* Its members of ExpressionAttributeNames and -Values. */
void op_dynamodb_where_names(const struct op_dynamodb_where *where, char letter,
                             struct op_json_out *out);
void op_dynamodb_where_values(const struct op_dynamodb_where *where, char letter,
                              struct op_json_out *out);

#endif
