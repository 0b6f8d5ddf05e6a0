/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_AHEAD_H
#define OP_ENGINE_AHEAD_H

/*
 * Model:     digests a result file, from the batch's cursor on, on a thread of its own, a few chunks ahead of the thread that
 *            commits them; chunks come back in order and are used again.
 * Ownership: a chunk belongs to the consumer between op_ahead_next and op_ahead_done.
 * Errors:    an error of the digesting thread is returned by op_ahead_next at its place in the
 *            order, after every chunk before it.
 * Threads:   start, next, done and stop on the consumer's thread.
 */

#include "engine/digest.h"

struct op_ahead;
OP_MUST_CHECK enum op_rc op_ahead_start(struct op_work *work, const struct op_batch *batch,
                                        const struct op_member *members, size_t member_count,
                                        const struct op_result_file *file,
                                        struct op_ahead **ret, struct op_err *err);
/* The next chunk; the one with last set ends the file. */
OP_MUST_CHECK enum op_rc op_ahead_next(struct op_ahead *ahead, struct op_chunk **ret,
                                       struct op_err *err);
void op_ahead_done(struct op_ahead *ahead, struct op_chunk *chunk);
void op_ahead_stop(struct op_ahead *ahead); /* joins the thread; NULL is fine */

#endif
