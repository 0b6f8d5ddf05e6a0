/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_ANSWER_H
#define OP_PIPELINE_ANSWER_H

/*
 * Model:     from a result's text to a checked answer. With a schema the text must be one JSON
 *            document that satisfies it; a document inside a Markdown fence or with prose around it
 *            is taken out first (and said as a warning). A null member that the schema does not take
 *            counts as left out (pipeline/answer_null.h). Without a schema any text is an answer.
 * Ownership: the answer points into the checker's buffers until its next call.
 * Threads:   one checker per thread.
 */

#include "base/buf.h"
#include "base/err.h"
#include "pipeline/plan.h"

struct op_answer_checker;
struct op_answer_checker *op_answer_checker_new(const struct op_plan *plan);
void op_answer_checker_free(struct op_answer_checker *checker);

/* Violations (0: good) as lines in list; *ret_answer is the JSON document's own bytes, or the
 * whole text. *ret_mended: it had to be taken out of a fence or prose. list may be NULL where the
 * text is known to be a good answer. */
size_t op_answer_check(struct op_answer_checker *checker, size_t request, struct op_str text,
                       struct op_str *ret_answer, bool *ret_mended, struct op_buf *list);

#endif
