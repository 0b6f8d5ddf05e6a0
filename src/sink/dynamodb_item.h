/* SPDX-License-Identifier: MIT */
#ifndef OP_SINK_DYNAMODB_ITEM_H
#define OP_SINK_DYNAMODB_ITEM_H

/*
 * Model:     cells as DynamoDB's attribute values: text is S, numbers N with all their digits, a blob
 *            B; a forced type makes N of text that is a number, S of numbers, BOOL of 0 and 1; JSON
 *            text becomes M, L and the rest.
 * Errors:    OP_INVAL, REJECT, naming the column.
 * Threads:   pure.
 */

#include "base/buf.h"
#include "base/value.h"

enum op_dynamodb_type { TYPE_AUTO, TYPE_S, TYPE_N, TYPE_B, TYPE_BOOL, TYPE_JSON };

/* What a table may hold (Service, account, and table quotas in the Developer Guide). */
#define OP_DYNAMODB_ITEM_MAX  (400 * 1024)
#define OP_DYNAMODB_DEPTH_MAX 32

/* Appends the value of a cell that is not NULL ({"S":"x"}) and adds to *size what it counts for the
 * size of the item. */
OP_MUST_CHECK enum op_rc op_dynamodb_add_cell(const char *column, enum op_dynamodb_type type,
                                              struct op_value v, struct op_buf *out,
                                              size_t *size, struct op_err *err);

#endif
