/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_CREW_H
#define OP_BASE_CREW_H

/*
 * Model:     ahead.h with several threads: each takes the next piece of the work, fills an item with
 *            it, and the items come back in the order in which the pieces were taken. How the work
 *            is cut into pieces does not depend on the threads.
 * Ownership: the items are the caller's; one belongs to the caller between next and done, else to a
 *            thread, until stop.
 * Errors:    an error of fill is returned by next at its place in the order, after every item before.
 * Threads:   start, next, done and stop on the caller's thread; take on any thread, one at a time;
 *            fill on its worker's thread.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define OP_CREW_ITEMS   16
#define OP_CREW_THREADS 4

struct op_crew_plan {
    void *const *items; /* more than there are workers, at most OP_CREW_ITEMS */
    size_t item_count;
    void *const *workers; /* what fill is given: one a thread */
    size_t worker_count;
    /* The next piece of the work is noted in the item. False: there is none. */
    bool (*take)(void *arg, void *item);
    void *arg;
    enum op_rc (*fill)(void *worker, void *item, struct op_err *err);
};

struct op_crew;
OP_MUST_CHECK enum op_rc op_crew_start(const struct op_crew_plan *plan, struct op_crew **ret,
                                       struct op_err *err);
/* OP_NOTFOUND (err untouched) after the last item. */
OP_MUST_CHECK enum op_rc op_crew_next(struct op_crew *crew, void **ret_item,
                                      struct op_err *err);
void op_crew_done(struct op_crew *crew, void *item);
void op_crew_stop(struct op_crew *crew); /* joins the threads; NULL is fine */

#endif
