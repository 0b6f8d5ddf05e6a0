/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_AHEAD_H
#define OP_BASE_AHEAD_H

/*
 * Model:     a thread that fills items a few ahead of the thread that uses them. Items come back in
 *            the order they were filled and are filled again when done with, so a handful of them
 *            serves a stream of any length.
 * Ownership: the items are the caller's; one belongs to the caller between next and done, else to
 *            the thread, until stop.
 * Errors:    an error of fill is returned by next at its place in the order, after every item before.
 * Threads:   start, next, done and stop on the caller's thread; fill on the thread of its own.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define OP_AHEAD_ITEMS 8

/* Fills one item; *ret_last: nothing comes after it. */
typedef enum op_rc (*op_ahead_fill_fn)(void *arg, void *item, bool *ret_last,
                                       struct op_err *err);

struct op_ahead;
/* count: 2 to OP_AHEAD_ITEMS. */
OP_MUST_CHECK enum op_rc op_ahead_start(void *const *items, size_t count, op_ahead_fill_fn fill,
                                        void *arg, struct op_ahead **ret, struct op_err *err);
OP_MUST_CHECK enum op_rc op_ahead_next(struct op_ahead *ahead, void **ret_item, bool *ret_last,
                                       struct op_err *err);
void op_ahead_done(struct op_ahead *ahead, void *item);
void op_ahead_stop(struct op_ahead *ahead); /* joins the thread; NULL is fine */

#endif
