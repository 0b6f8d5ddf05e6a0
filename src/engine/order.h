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
 * Ownership: a line is valid until the next call.
 * Threads:   one thread at a time.
 */

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

/* OP_OK and a line (offset as in the file, end = the position after it), or OP_NOTFOUND (err
 * untouched) after the last. */
OP_MUST_CHECK enum op_rc op_ordered_next(struct op_ordered *ordered, struct op_line *ret,
                                         struct op_err *err);

#endif
