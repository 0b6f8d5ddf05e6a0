/* SPDX-License-Identifier: MIT */
#ifndef OP_PROVIDER_RATE_H
#define OP_PROVIDER_RATE_H

/*
 * Model:     what a reply's headers say is left of the account's limits, and for how long. The
 *            families in use: anthropic-ratelimit-* with RFC 3339 times, x-ratelimit-* (OpenAI and
 *            those who follow it) with durations such as "6m0s" or "21ms".
 * Threads:   pure functions.
 */

#include "net/http.h"

struct op_rate {
    int64_t requests_left, requests_reset_ms; /* -1: not told; reset: so long from now */
    int64_t tokens_left, tokens_reset_ms;
};

/* now_ms: wall clock, for replies without a Date. */
void op_rate_read(const struct op_http_reply *reply, int64_t now_ms, struct op_rate *ret);

#endif
