/* SPDX-License-Identifier: MIT */
#include "core/reconcile.h"

#include <stdint.h>
#include <string.h>

static int64_t plus(int64_t a, int64_t b)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return b < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

static const char *text(const char *maybe)
{
    return maybe ? maybe : "";
}

/* A tag is proof by itself, and so is the file that only this create names: neither time nor count
 * is asked. Without one, everything that could be ours is a candidate; a batch whose count is not
 * told could be. */
bool op_reconcile_is_candidate(const struct op_reconcile_case *c,
                               const struct op_listed_batch *b)
{
    if (*text(c->tag))
        return strcmp(text(b->tag), c->tag) == 0 ||
               (*text(c->file_id) && strcmp(text(b->file_id), c->file_id) == 0);
    if (b->count >= 0 && b->count != c->count)
        return false;
    int64_t first = plus(c->intent_ms, -OP_RECONCILE_SKEW_MS);
    int64_t last = plus(c->last_try_ms, OP_RECONCILE_SETTLE_MS + OP_RECONCILE_SKEW_MS);
    return b->created_ms >= first && b->created_ms <= last;
}

/* Which of two candidates comes first; the id breaks ties, so that the order of the listing, which
 * shifts while it is paged, decides nothing. */
static bool is_before(const struct op_listed_batch *a, const struct op_listed_batch *b,
                      bool ended_first)
{
    if (ended_first && a->ended != b->ended)
        return a->ended;
    if (a->created_ms != b->created_ms)
        return a->created_ms < b->created_ms;
    return strcmp(text(a->id), text(b->id)) < 0;
}

/* Absence counts only when nothing can turn up any more: no create takes effect later than SETTLE
 * after its connection closed (A5), none is listed later than VISIBLE after that (A3), and a second
 * clean listing lies APART from the first. A first one taken too early to prove anything counts as
 * taken at the moment from which it would have. */
static bool is_proved_absent(const struct op_reconcile_case *c)
{
    if (c->hold || c->first_clean_ms <= 0)
        return false;
    int64_t settled = plus(c->last_try_ms, OP_RECONCILE_SETTLE_MS + OP_RECONCILE_VISIBLE_MS);
    int64_t first = c->first_clean_ms > settled ? c->first_clean_ms : settled;
    int64_t due = plus(first, OP_RECONCILE_APART_MS);
    return due < INT64_MAX && c->now_ms >= due; /* a time that overflowed never comes */
}

/* Two clean listings, the second when whatever was taken before the connection closed must be
 * listed; then the fence, behind which nothing can begin to run; then one more, when whatever was
 * taken before the fence must be listed (reference/reliability.md 3.4). */
static enum op_reconcile_verdict fence(const struct op_reconcile_case *c)
{
    if (c->hold || c->first_clean_ms <= 0)
        return OP_RECONCILE_WAIT;
    int64_t due =
        plus(c->fenced_ms > 0 ? c->fenced_ms : c->last_try_ms, OP_RECONCILE_VISIBLE_MS);
    if (due == INT64_MAX || c->now_ms < due)
        return OP_RECONCILE_WAIT;
    return c->fenced_ms > 0 ? OP_RECONCILE_UNSENT : OP_RECONCILE_FENCE;
}

int64_t op_reconcile_next_ms(const struct op_reconcile_case *c)
{
    if (!c->can_fence)
        return 0;
    return plus(c->fenced_ms > 0 ? c->fenced_ms : c->last_try_ms, OP_RECONCILE_VISIBLE_MS);
}

enum op_reconcile_verdict op_reconcile(const struct op_reconcile_case *c,
                                       const struct op_listed_batch *listed, size_t count,
                                       size_t *ret_candidate)
{
    bool tagged = *text(c->tag) != '\0';
    size_t found = 0;
    size_t best = 0;
    for (size_t i = 0; i < count; i++) {
        if (!op_reconcile_is_candidate(c, &listed[i]))
            continue;
        /* Of several untagged ones an ended one is read first: it can be decided now. */
        if (found == 0 || is_before(&listed[i], &listed[best], !tagged))
            best = i;
        found++;
    }
    if (found == 0 && c->can_fence)
        return fence(c);
    if (found == 0)
        return is_proved_absent(c) ? OP_RECONCILE_UNSENT : OP_RECONCILE_WAIT;

    *ret_candidate = best;
    if (tagged)
        return found == 1 ? OP_RECONCILE_ADOPT : OP_RECONCILE_ADOPT_MANY;
    /* Being alone is proof only where nobody else makes batches, and only with a count that is
     * known to be ours. Everything else is decided by the nonce in the first result line. */
    if (found == 1 && c->exclusive && listed[best].count == c->count)
        return OP_RECONCILE_ADOPT;
    return OP_RECONCILE_READ;
}

static bool is_taken(int64_t n, const int64_t *taken, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (taken[i] == n)
            return true;
    }
    return false;
}

int64_t op_reconcile_watermark(int64_t target, const int64_t *taken, size_t count)
{
    int64_t lowest = target - target / 10;
    for (int64_t n = target; n >= lowest && n >= 1; n--) {
        if (!is_taken(n, taken, count))
            return n;
    }
    return target;
}
