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

/* Appends the name as it is compared, its words in the order of the text, a blank between two. */
void op_fuzzy_words(struct op_fuzzy *fuzzy, struct op_str text, struct op_buf *out);

/* One name against many. A plain name is one whose sorted words are at most OP_FUZZY_PLAIN code
 * points, all below 256: it is kept as those bytes and compared in some nanoseconds. */
#define OP_FUZZY_PLAIN 64
/* The length of the plain name, in ret; -1: it is not plain. */
int op_fuzzy_plain(struct op_fuzzy *fuzzy, struct op_str text, uint8_t ret[OP_FUZZY_PLAIN]);
/* Which letters occur in a plain name, by their last six bits. */
uint64_t op_fuzzy_letters(const uint8_t *name, size_t len);
struct op_fuzzy_query {
    uint8_t name[OP_FUZZY_PLAIN];
    size_t len;
    uint64_t letters;
    uint64_t places[256]; /* of each letter in the name */
};
/* False: the text is not plain. */
bool op_fuzzy_query(struct op_fuzzy *fuzzy, struct op_str text, struct op_fuzzy_query *ret);
/* As op_fuzzy_match of the two names, or -1 where that is below the cutoff. */
double op_fuzzy_ask(const struct op_fuzzy_query *query, const uint8_t *name, size_t len,
                    double cutoff);
/* Which of many names may reach the cutoff, by their letters and lengths (OP_FUZZY_NOT_PLAIN:
 * always): their places from *at on into ret, which has room for `room`; returns how many. *at is
 * count when all have been looked at. */
#define OP_FUZZY_NOT_PLAIN 255
size_t op_fuzzy_scan(const struct op_fuzzy_query *query, const uint64_t *letters,
                     const uint8_t *lens, size_t count, double cutoff, size_t *at,
                     uint32_t *ret, size_t room);

/* Appends NFKC with full case folding; a text that is not UTF-8 as it is. */
void op_fold(struct op_fuzzy *fuzzy, struct op_str text, struct op_buf *out);

#endif
