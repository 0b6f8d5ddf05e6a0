/* SPDX-License-Identifier: MIT */
#ifndef OP_CORE_FLOW_H
#define OP_CORE_FLOW_H

/*
 * Model:     how many requests of the realtime lane may be under way, and when the next may start.
 *            A window bounds those under way: it opens by one an answer until the provider first
 *            says "too fast", and is halved then; from there on it opens by one a round (as TCP
 *            does, after Postfix's qmgr). One burst of refusals is one decrease: a refusal of what
 *            was started before the last decrease tells nothing new. Retry-After holds back
 *            everybody, since a limit is the account's. What the provider says is left of its
 *            limits bounds the window too.
 * Errors:    none.
 * Threads:   pure functions; clock and randomness are arguments. Times are of one monotonic clock.
 */

#include <stdbool.h>
#include <stdint.h>

/* What is left of a limit until a time. */
struct op_flow_budget {
    int64_t left;     /* beyond what is under way; meaningless once until_ms has come */
    int64_t until_ms; /* 0: nothing was told */
};

struct op_flow {
    int64_t most;         /* the window never opens further */
    int64_t window_milli; /* the window in thousandths */
    bool is_learned;      /* the provider has said "too fast" once */
    int64_t epoch;        /* decreases so far */
    int refusals;         /* in a row, without an answer between them */
    int64_t hold_ms;      /* nothing starts before */
    int64_t interval_ms;  /* from one start to the next, at least */
    int64_t next_ms;
    struct op_flow_budget requests, tokens;
};

/* Where a window begins: a provider's smallest tiers allow 50 requests a minute, and an answer
 * takes seconds. */
#define OP_FLOW_FIRST 8

void op_flow_init(struct op_flow *flow, int64_t most, int64_t interval_ms);
int64_t op_flow_window(const struct op_flow *flow); /* from 1 to most */

/* Whether a request of so many tokens may start now. False: *ret_when_ms is when to ask again,
 * INT64_MAX: when an answer has come in. */
bool op_flow_may_start(const struct op_flow *flow, int64_t now_ms, int64_t under_way,
                       int64_t tokens, int64_t *ret_when_ms);
/* One starts; to be remembered with it: the epoch. */
int64_t op_flow_started(struct op_flow *flow, int64_t now_ms, int64_t tokens);
/* An answer came; under_way counts it. */
void op_flow_answered(struct op_flow *flow, int64_t under_way);
/* "Too fast" or "overloaded". retry_after_ms: the server's wish, -1 none. */
void op_flow_refused(struct op_flow *flow, int64_t now_ms, int64_t epoch,
                     int64_t retry_after_ms, uint32_t random);
/* What an answer said is left of a limit (requests or tokens), and until when; under_way is what
 * the server may not have counted yet, in the same unit. */
void op_flow_told(struct op_flow_budget *budget, int64_t left, int64_t under_way,
                  int64_t until_ms);

#endif
