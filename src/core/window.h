/* SPDX-License-Identifier: MIT */
#ifndef OP_CORE_WINDOW_H
#define OP_CORE_WINDOW_H

/*
 * Model:     how many prompt tokens of a model an account may have enqueued at once, learned from
 *            what the provider refuses and takes. A refusal that names the limit settles it; one that
 *            does not halves what was tried, but not below what was in the queue already and had
 *            been taken (multiplicative decrease). What passes while the window is full widens it by
 *            one batch for every window's worth of batches (additive growth, as Postfix's
 *            qmgr_queue.c counts cohorts).
 * Threads:   pure functions; the time is an argument.
 */

#include <stdbool.h>
#include <stdint.h>

/* A limit that the provider named is tried again after this: accounts are moved to higher tiers. */
#define OP_WINDOW_NAMED_MS (24 * 60 * 60 * 1000LL)
/* A batch takes at most this share of the window: while one ends, the others keep the queue filled,
 * and estimates that are a third too low still fit. */
#define OP_WINDOW_SHARE 4

struct op_window {
    int64_t limit;      /* tokens; 0: none is known */
    bool named;         /* the provider said the number */
    int64_t learned_ms; /* when it was last refused or widened */
};

/* A batch of `tokens` was refused with `queued` tokens of ours in the queue before it. told: the
 * limit that the refusal named, <= 0 none. */
void op_window_refused(struct op_window *w, int64_t queued, int64_t tokens, int64_t told,
                       int64_t now_ms);
/* A batch of `tokens` went through with `queued` tokens of ours in the queue, its own among them.
 * True: the window was widened. */
bool op_window_passed(struct op_window *w, int64_t queued, int64_t tokens, int64_t now_ms);
/* Whether a batch fits beside what is queued. An empty queue takes any: only so can a window that
 * is too small, or an estimate that is too high, be found out. */
bool op_window_fits(const struct op_window *w, int64_t queued, int64_t tokens);
/* The most tokens of one batch; 0: no bound. */
int64_t op_window_batch(const struct op_window *w);

#endif
