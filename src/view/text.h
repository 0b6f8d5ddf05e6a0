/* SPDX-License-Identifier: MIT */
#ifndef OP_VIEW_TEXT_H
#define OP_VIEW_TEXT_H

/*
 * Model:     numbers, amounts and foreign texts as a person reads them.
 * Threads:   pure functions.
 */

#include "base/buf.h"

#define OP_TEXT_SHORT 32 /* room for each of these */

const char *op_text_count(int64_t n, char ret[OP_TEXT_SHORT]); /* 1,234,567 */
const char *op_text_brief(int64_t n, char ret[OP_TEXT_SHORT]); /* 1.2M */
const char *op_text_usd(int64_t micro,
                        char ret[OP_TEXT_SHORT]); /* $12.34, $0.0421, $0.000052 */
const char *op_text_micro(int64_t micro, char ret[OP_TEXT_SHORT]); /* $12.345678 */
const char *op_text_bytes(int64_t n, char ret[OP_TEXT_SHORT]);     /* 1.5 GiB */
const char *op_text_when(int64_t ms,
                         char ret[OP_TEXT_SHORT]); /* 2026-11-20 12:00:00; "" for 0 */

/* Columns that the text takes on a terminal. */
size_t op_text_width(struct op_str text);
/* Appends foreign text on one line: controls (also those that steer a terminal) become spaces
 * or '?', more than max columns are cut with an ellipsis (0: no limit). */
void op_text_line(struct op_buf *out, struct op_str text, size_t max);
/* The same for text of several lines, each indented. */
void op_text_block(struct op_buf *out, struct op_str text, int indent);

#endif
