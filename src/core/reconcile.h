/* SPDX-License-Identifier: MIT */
#ifndef OP_CORE_RECONCILE_H
#define OP_CORE_RECONCILE_H

/*
 * Model:     what evidence says about a create whose outcome is unknown
 *            (reference/reliability.md 3.4 and 3.5). A pure decision over what was listed; the
 *            engine gathers the evidence and carries out the verdict.
 *
 *            Without tags (Anthropic): candidates are listed batches that are not in the baseline,
 *            not owned by another batch of ours, created within the window, with our count.
 *
 *            With tags a candidate is a batch that carries our tag or was made of our input file, and
 *            being one is proof. Where the create names an uploaded file, its absence is proved by
 *            a fence: the file is removed, so that a create that is still on its way cannot run.
 * Threads:   pure functions.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A5: no create takes effect more than this after its connection closed; three times the official
 * SDKs' timeout of 10 minutes (reference/reliability.md 3.5.3). */
#define OP_RECONCILE_SETTLE_MS (30 * 60 * 1000LL)
/* A3: the provider's list is complete within this time (observed lag 15 s). */
#define OP_RECONCILE_VISIBLE_MS (2 * 60 * 1000LL)
/* Two clean listings must lie this far apart before a batch counts as never sent. */
#define OP_RECONCILE_APART_MS (10 * 60 * 1000LL)
/* created_at comes from another machine than Date, and has been seen an hour off. A wider window
 * costs a look at more candidates; a narrower one would miss ours. */
#define OP_RECONCILE_SKEW_MS (65 * 60 * 1000LL)

struct op_listed_batch {
    const char *id;
    int64_t created_ms;
    int64_t count;       /* requests in it; -1 unknown */
    const char *tag;     /* our tag when the provider carries one; "" otherwise */
    const char *file_id; /* of its input file; "" not told */
    bool ended;
};

struct op_reconcile_case {
    int64_t count;          /* requests we sent */
    const char *tag;        /* "" when the provider has no tags */
    const char *file_id;    /* of our upload; "" none */
    bool can_fence;         /* the create names an upload, which can be removed */
    int64_t fenced_ms;      /* server time when it was; 0: it was not yet */
    int64_t intent_ms;      /* server time at or before the send (baseline Date) */
    int64_t last_try_ms;    /* server time when the connection was over */
    int64_t now_ms;         /* server time of this listing */
    int64_t first_clean_ms; /* earlier complete listing without a candidate; 0 none */
    bool exclusive;         /* only this ledger uses the workspace: a lone candidate is ours */
    bool hold;              /* never settle by time: the operator decides */
};

enum op_reconcile_verdict {
    OP_RECONCILE_WAIT,       /* not yet decidable: list again later */
    OP_RECONCILE_ADOPT,      /* *ret_candidate is ours */
    OP_RECONCILE_ADOPT_MANY, /* tagged duplicates: adopt the earliest, cancel the rest */
    OP_RECONCILE_READ,       /* wait for *ret_candidate's end, then read its first result */
    OP_RECONCILE_FENCE,      /* remove the input file, then list again */
    OP_RECONCILE_UNSENT,     /* proved absent: a new batch may be made */
};

/* Whether a listed batch may be the one that was sent. */
bool op_reconcile_is_candidate(const struct op_reconcile_case *c,
                               const struct op_listed_batch *listed);

/* When a listing of the case can decide more than the present one, in server time; 0: no time is
 * known. */
int64_t op_reconcile_next_ms(const struct op_reconcile_case *c);

/* listed: every batch of the listing back to the window, baseline and foreign-owned ones already
 * left out by the caller. *ret_candidate: index into listed, set for ADOPT*, READ. */
enum op_reconcile_verdict op_reconcile(const struct op_reconcile_case *c,
                                       const struct op_listed_batch *listed, size_t count,
                                       size_t *ret_candidate);

/* The watermark: the largest n <= target, n >= 1, that no count in taken has, so that our batch is
 * recognisable by its size; target when none is free within a tenth of it. */
int64_t op_reconcile_watermark(int64_t target, const int64_t *taken, size_t count);

#endif
