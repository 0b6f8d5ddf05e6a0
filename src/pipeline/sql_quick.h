/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_SQL_QUICK_H
#define OP_PIPELINE_SQL_QUICK_H

/*
 * Model:     a short way for the SELECT that most outputs have: columns of `answers`, and members of
 *            the answer or of the items of one array in it,
 *                SELECT a.key, i.key + 1, i.value ->> 'name' FROM answers AS a,
 *                       json_each(a.answer, '$.items') AS i
 *            Such a text is recognised word by word and its cells are taken from the index of the
 *            answer (sql_json.h) that SQLite's functions use as well. Any other text, and any answer
 *            for which the result could differ (what is no array of containers, malformed JSON),
 *            goes the usual way through SQLite: this is never more than a short cut.
 * Ownership: cells are valid until the next row or the next context.
 * Threads:   one thread at a time, as its sqlenv.
 */

#include "pipeline/sql_internal.h"

struct op_quick;

/* NULL: the text is not of that form. */
struct op_quick *op_quick_open(struct op_sqlenv *sql, struct op_str text);
void op_quick_close(struct op_quick *quick);
size_t op_quick_columns(const struct op_quick *quick);
/* False: the present context's rows must come from SQLite. */
bool op_quick_begin(struct op_quick *quick);
/* The cells of the next row; NULL after the last. */
const struct op_value *op_quick_next(struct op_quick *quick);

#endif
