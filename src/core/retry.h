/* SPDX-License-Identifier: MIT */
#ifndef OP_CORE_RETRY_H
#define OP_CORE_RETRY_H

/*
 * Model:     how long to wait before something may be tried again: capped exponential with full
 *            jitter, the server's own Retry-After obeyed within bounds.
 * Threads:   pure functions; randomness is an argument.
 */

#include <stdint.h>

/* Bounds for a server's Retry-After (reference/reliability.md section 2). */
#define OP_RETRY_MIN_MS (1000LL)
#define OP_RETRY_MAX_MS (15 * 60 * 1000LL)

/* Delay before attempt number tries+1 (tries >= 1 failures so far). retry_after_ms: the server's
 * wish, -1 for none. random: 32 uniform bits. Result within [OP_RETRY_MIN_MS, OP_RETRY_MAX_MS]. */
int64_t op_retry_delay_ms(int tries, int64_t retry_after_ms, uint32_t random);

/* When to poll a batch again: age_ms since it was accepted, hint_ms the server's Retry-After on a
 * good poll (-1 none), fixed_ms the operator's --poll (0 none). Young batches are asked often
 * (from 2 s), old ones every few minutes. */
int64_t op_poll_delay_ms(int64_t age_ms, int64_t hint_ms, int64_t fixed_ms);

#endif
