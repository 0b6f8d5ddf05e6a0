/* SPDX-License-Identifier: MIT */
#ifndef OP_SOURCE_DYNAMODB_VALUE_H
#define OP_SOURCE_DYNAMODB_VALUE_H

/*
 * Model:     DynamoDB's attribute values ({"N":"1"}) as cells and as plain JSON.
 *            S is text; BOOL 1 or 0; NULL is NULL; B a blob; M, L and the sets are the text of the
 *            plain JSON, in which B is base64 and a number has its own digits.
 *            N is an integer when it fits 64 bits; else a double when that is written as the same
 *            number again (0.1, 1.5E+300); else the text of its digits, all up to 38 of them.
 * Ownership: bytes of a cell lie in the parsed page or in scratch.
 * Errors:    OP_INVAL, REJECT: no attribute value; the message says what about it.
 * Threads:   pure.
 */

#include "base/buf.h"
#include "base/json.h"
#include "base/value.h"

/* A cell whose bytes are in scratch begins at its end; scratch may move: its cells are fixed up by
 * the caller, who knows how far scratch was (a blob or JSON text, *ret_scratch set). */
OP_MUST_CHECK enum op_rc op_dynamodb_cell(struct op_json attribute, struct op_buf *scratch,
                                          struct op_value *ret, bool *ret_scratch,
                                          struct op_err *err);
/* An attribute value, or a whole item (a map of them), as plain JSON. */
OP_MUST_CHECK enum op_rc op_dynamodb_plain(struct op_json attribute, struct op_buf *out,
                                           struct op_err *err);
OP_MUST_CHECK enum op_rc op_dynamodb_plain_item(struct op_json item, struct op_buf *out,
                                                struct op_err *err);
struct op_value op_dynamodb_number(struct op_str digits);

#endif
