/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_SQL_FUZZY_H
#define OP_PIPELINE_SQL_FUZZY_H

/*
 * Model:     how alike two names are, 0 to 100, and Unicode folding.
 *            A name is folded, loses 's and apostrophes, and is cut into words, which are sorted;
 *            the score is the indel ratio of the two: 100 * 2 * LCS / (length + length), counted
 *            in code points.
 * Ownership: the scratch owns its memory.
 * Threads:   one thread at a time per scratch.
 */

#include "base/buf.h"
#include "base/str.h"

/* A text longer than this many code points is compared by its beginning. */
#define OP_FUZZY_MAX 4096

struct op_fuzzy;
struct op_fuzzy *op_fuzzy_new(void);
void op_fuzzy_free(void *fuzzy);
double op_fuzzy_match(struct op_fuzzy *fuzzy, struct op_str a, struct op_str b);

/* Appends NFKC with full case folding; a text that is not UTF-8 as it is. */
void op_fold(struct op_fuzzy *fuzzy, struct op_str text, struct op_buf *out);

#endif
