/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_ORDER_H
#define OP_ENGINE_ORDER_H

/*
 * Model:     the lines of a result file in the order of our requests, whatever order the provider
 *            chose: rows come out as records went in, and the ledger is updated along its primary
 *            key. Opening reads the file once for an index of 24 bytes a line (a batch has at most
 *            some 100,000); lines are then read one by one. The order is a function of the file alone, so
 *            a position in it is a cursor that holds after a crash.
 *            The id in the index is a hint by which lines are sorted and nothing else; lines without one
 *            come last, in file order.
 * Ownership: a line read is valid until its buffer is used again.
 * Threads:   take on one thread at a time; read on several, each with a buffer of its own.
 */

#include "base/buf.h"
#include "base/env.h"
#include "base/err.h"
#include "base/io.h"
#include "core/custom_id.h"

struct op_ordered;

/* skip: positions already taken. max_line: longer lines come as oversize, without their text. */
OP_MUST_CHECK enum op_rc op_ordered_open(struct op_env *env, const char *path, const char *tag,
                                         const char *nonce, int64_t skip, size_t max_line,
                                         struct op_ordered **ret, struct op_err *err);
void op_ordered_close(struct op_ordered *ordered);

/* Takes the next lines: at most so many, and, after the first, no more than so many bytes. Their
 * positions are [*ret_from, *ret_from + the number returned). *ret_last: there are no more. */
size_t op_ordered_take(struct op_ordered *ordered, size_t max_count, size_t max_bytes,
                       int64_t *ret_from, bool *ret_last);
/* The line at a position: offset as in the file, end = the position after it. */
OP_MUST_CHECK enum op_rc op_ordered_read(const struct op_ordered *ordered, int64_t position,
                                         struct op_buf *buf, struct op_line *ret,
                                         struct op_err *err);

#endif
