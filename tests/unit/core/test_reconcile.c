/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the decision about a create whose outcome is unknown, and the watermark.
 * Oracle:    properties that hold over a full grid of times, flags and listings (chiefly: never
 *            UNSENT before everything has settled, never with a candidate, never adopted without
 *            proof), a table of hand-made cases, and brute force for the watermark.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"
#include "core/reconcile.h"

#define MINUTE 60000LL
#define T0     1700000000000LL /* the connection was over */
#define N      5000
#define SKEW   (65 * MINUTE) /* created_at and Date come from different machines */

/* What one listed batch may be like. CREATED is relative to T0; the send began a minute before. */
static const int64_t created[] = {-24 * 60 * MINUTE,  -MINUTE - SKEW - 1,    -MINUTE - SKEW, 0,
                                  30 * MINUTE + SKEW, 30 * MINUTE + SKEW + 1};
static const int64_t counts[] = {N, N - 1, -1};
static const char *const tags[] = {"", "op-led001-mzxw6ytb", "op-led001-aaaaaaaa"};

static const struct {
    int64_t first_clean; /* 0 none; else relative to T0 */
    int64_t now;
} times[] = {
    {0, 0},
    {0, 100 * 60 * MINUTE},
    {1, 1},
    {1, 30 * MINUTE - 1},
    {1, 41 * MINUTE},
    {1, 42 * MINUTE - 1},
    {1, 42 * MINUTE},
    {-MINUTE, 42 * MINUTE},
    {32 * MINUTE, 42 * MINUTE - 1},
    {32 * MINUTE, 42 * MINUTE},
    {40 * MINUTE, 50 * MINUTE - 1},
    {40 * MINUTE, 50 * MINUTE},
    {600 * MINUTE, 601 * MINUTE},
    {600 * MINUTE, 610 * MINUTE},
};

#define KINDS (OP_COUNT(created) * OP_COUNT(counts) * OP_COUNT(tags) * 2)

static struct op_listed_batch kind(size_t k, const char *id)
{
    struct op_listed_batch b = {.id = id};
    b.ended = k % 2;
    k /= 2;
    b.tag = tags[k % OP_COUNT(tags)];
    k /= OP_COUNT(tags);
    b.count = counts[k % OP_COUNT(counts)];
    k /= OP_COUNT(counts);
    b.created_ms = T0 + created[k];
    return b;
}

/* Could this batch be ours? The text of the reference, once more. */
static bool could_be_ours(const struct op_reconcile_case *c, const struct op_listed_batch *b)
{
    if (c->tag[0])
        return strcmp(b->tag, c->tag) == 0;
    return (b->count == c->count || b->count == -1) && b->created_ms >= T0 - MINUTE - SKEW &&
           b->created_ms <= T0 + 30 * MINUTE + SKEW;
}

static void check(const struct op_reconcile_case *c, const struct op_listed_batch *listed,
                  size_t count, bool settled)
{
    size_t got = 999;
    enum op_reconcile_verdict verdict = op_reconcile(c, listed, count, &got);
    size_t candidates = 0;
    for (size_t i = 0; i < count; i++)
        candidates += could_be_ours(c, &listed[i]);

    if (candidates == 0) {
        assert_int_equal(verdict,
                         settled && !c->hold ? OP_RECONCILE_UNSENT : OP_RECONCILE_WAIT);
        assert_int_equal(got, 999); /* written only with a candidate */
        return;
    }
    assert_in_range(got, 0, count - 1);
    const struct op_listed_batch *best = &listed[got];
    assert_true(could_be_ours(c, best));
    if (c->tag[0]) {
        assert_int_equal(verdict,
                         candidates == 1 ? OP_RECONCILE_ADOPT : OP_RECONCILE_ADOPT_MANY);
        for (size_t i = 0; i < count; i++)
            assert_true(!could_be_ours(c, &listed[i]) ||
                        listed[i].created_ms >= best->created_ms);
        return;
    }
    bool proved = candidates == 1 && c->exclusive && best->count == c->count;
    assert_int_equal(verdict, proved ? OP_RECONCILE_ADOPT : OP_RECONCILE_READ);
    for (size_t i = 0; i < count; i++) {
        if (could_be_ours(c, &listed[i]) && listed[i].ended == best->ended)
            assert_true(listed[i].created_ms >= best->created_ms);
        if (could_be_ours(c, &listed[i]) && !best->ended)
            assert_false(listed[i].ended);
    }
}

static void check_listings(const struct op_reconcile_case *c, bool settled)
{
    check(c, NULL, 0, settled);
    for (size_t a = 0; a < KINDS; a++) {
        struct op_listed_batch listed[3] = {kind(a, "a")};
        check(c, listed, 1, settled);
        for (size_t b = 0; b < KINDS; b++) {
            listed[1] = kind(b, "b");
            check(c, listed, 2, settled);
            listed[2] = kind((a * 31 + b * 17) % KINDS, "c");
            check(c, listed, 3, settled);
        }
    }
}

static void test_grid(void **state)
{
    (void)state;
    size_t settled_rows = 0;
    for (size_t t = 0; t < OP_COUNT(times); t++) {
        int64_t first = times[t].first_clean;
        /* Two listings, ten minutes apart, counted from where a create could not be late or
         * invisible any more: 30 + 2 minutes. */
        int64_t base = first > 32 * MINUTE ? first : 32 * MINUTE;
        bool settled = first != 0 && times[t].now >= base + 10 * MINUTE;
        settled_rows += settled;
        for (int flags = 0; flags < 8; flags++) {
            struct op_reconcile_case c = {
                .count = N,
                .tag = flags & 1 ? tags[1] : "",
                .exclusive = flags & 2,
                .hold = flags & 4,
                .intent_ms = T0 - MINUTE,
                .last_try_ms = T0,
                .now_ms = T0 + times[t].now,
                .first_clean_ms = first ? T0 + first : 0,
            };
            check_listings(&c, settled);
        }
    }
    assert_int_equal(settled_rows, 5);
}

/* Every second of two hours: once UNSENT it stays so, and it becomes so at one moment. */
static void test_settles_once(void **state)
{
    (void)state;
    for (int64_t first = 0; first < 120 * MINUTE; first += MINUTE) {
        int64_t since = -1;
        for (int64_t now = first; now < 180 * MINUTE; now += 1000) {
            struct op_reconcile_case c = {.count = N,
                                          .tag = "",
                                          .intent_ms = T0 - MINUTE,
                                          .last_try_ms = T0,
                                          .now_ms = T0 + now,
                                          .first_clean_ms = T0 + first};
            size_t got;
            bool unsent = op_reconcile(&c, NULL, 0, &got) == OP_RECONCILE_UNSENT;
            assert_true(unsent || since < 0);
            if (unsent && since < 0)
                since = now;
        }
        int64_t want = first + 10 * MINUTE > 42 * MINUTE ? first + 10 * MINUTE : 42 * MINUTE;
        assert_int_equal(since, want);
        assert_true(since >= OP_RECONCILE_SETTLE_MS + OP_RECONCILE_VISIBLE_MS);
        assert_true(since - first >= OP_RECONCILE_APART_MS);
    }
}

static void test_order_of_listing(void **state)
{
    (void)state;
    /* The same batches in every order lead to the same one. */
    static const struct op_listed_batch set[3] = {
        {.id = "b", .created_ms = T0, .count = N, .tag = "op-led001-mzxw6ytb"},
        {.id = "a", .created_ms = T0, .count = N, .tag = "op-led001-mzxw6ytb"},
        {.id = "c",
         .created_ms = T0 + 1,
         .count = N,
         .tag = "op-led001-mzxw6ytb",
         .ended = true},
    };
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (int tagged = 0; tagged < 2; tagged++) {
        for (size_t i = 0; i < OP_COUNT(orders); i++) {
            struct op_listed_batch listed[3];
            for (int k = 0; k < 3; k++)
                listed[k] = set[orders[i][k]];
            struct op_reconcile_case c = {.count = N,
                                          .tag = tagged ? set[0].tag : "",
                                          .intent_ms = T0,
                                          .last_try_ms = T0,
                                          .now_ms = T0};
            size_t got = 9;
            assert_int_equal(op_reconcile(&c, listed, 3, &got),
                             tagged ? OP_RECONCILE_ADOPT_MANY : OP_RECONCILE_READ);
            /* Tagged: the earliest. Untagged: the one that can be read at once. */
            assert_string_equal(listed[got].id, tagged ? "a" : "c");
        }
    }
}

static void test_extreme_times(void **state)
{
    (void)state;
    static const int64_t edge[] = {INT64_MIN, -1, 0, 1, T0, INT64_MAX};
    for (size_t i = 0; i < 6 * 6 * 6 * 6; i++) {
        struct op_reconcile_case c = {.count = 1,
                                      .tag = NULL,
                                      .intent_ms = edge[i % 6],
                                      .last_try_ms = edge[i / 6 % 6],
                                      .now_ms = edge[i / 36 % 6],
                                      .first_clean_ms = edge[i / 216]};
        struct op_listed_batch b = {.id = "x", .created_ms = T0, .count = 1};
        size_t got = 9;
        enum op_reconcile_verdict none = op_reconcile(&c, NULL, 0, &got);
        assert_true(none == OP_RECONCILE_WAIT || none == OP_RECONCILE_UNSENT);
        assert_true(none == OP_RECONCILE_WAIT || c.now_ms > c.last_try_ms);
        enum op_reconcile_verdict one = op_reconcile(&c, &b, 1, &got);
        assert_true(one == OP_RECONCILE_READ || one == none);
    }
}

static void test_watermark(void **state)
{
    (void)state;
    /* Brute force over every target up to 120 and every run of taken counts below it. */
    for (int64_t target = 1; target <= 120; target++) {
        for (int run = 0; run <= 20; run++) {
            int64_t taken[20];
            for (int i = 0; i < run; i++)
                taken[i] = target - (run - 1 - i); /* ascending, all up to the target */
            int64_t want = target;
            if (run > 0) {
                int64_t free = target - run;
                want = free >= 1 && (target - free) * 10 <= target ? free : target;
            }
            assert_int_equal(op_reconcile_watermark(target, taken, (size_t)run), want);
        }
    }
    static const int64_t some[] = {100, 99, 97, -1, 0, 5000};
    assert_int_equal(op_reconcile_watermark(100, some, OP_COUNT(some)), 98);
    assert_int_equal(op_reconcile_watermark(101, some, OP_COUNT(some)), 101);
    assert_int_equal(op_reconcile_watermark(5000, some, OP_COUNT(some)), 4999);
    assert_int_equal(op_reconcile_watermark(1, NULL, 0), 1);
    assert_int_equal(op_reconcile_watermark(0, some, OP_COUNT(some)), 0);
}

/* With a fence: never UNSENT before it and two minutes behind it, never fenced before a clean listing
 * that lies two minutes behind the connection's end, never either with a candidate or on hold. */
static void test_fence(void **state)
{
    (void)state;
    static const struct {
        int64_t first_clean, fenced, now; /* relative to T0; first and fenced -1: not yet */
        bool hold;
        enum op_reconcile_verdict want;
        int64_t next;
    } rows[] = {
        {-1, -1, 0, false, OP_RECONCILE_WAIT, 2 * MINUTE},
        {-1, -1, 60 * MINUTE, false, OP_RECONCILE_WAIT, 2 * MINUTE},
        {1, -1, 2 * MINUTE - 1, false, OP_RECONCILE_WAIT, 2 * MINUTE},
        {1, -1, 2 * MINUTE, false, OP_RECONCILE_FENCE, 2 * MINUTE},
        {1, -1, 2 * MINUTE, true, OP_RECONCILE_WAIT, 2 * MINUTE},
        {1, 3 * MINUTE, 5 * MINUTE - 1, false, OP_RECONCILE_WAIT, 5 * MINUTE},
        {1, 3 * MINUTE, 5 * MINUTE, false, OP_RECONCILE_UNSENT, 5 * MINUTE},
        {1, 3 * MINUTE, 500 * MINUTE, true, OP_RECONCILE_WAIT, 5 * MINUTE},
        {-1, 3 * MINUTE, 500 * MINUTE, false, OP_RECONCILE_WAIT, 5 * MINUTE},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct op_reconcile_case c = {
            .count = N,
            .tag = tags[1],
            .file_id = "file-1",
            .can_fence = true,
            .fenced_ms = rows[i].fenced < 0 ? 0 : T0 + rows[i].fenced,
            .intent_ms = T0 - MINUTE,
            .last_try_ms = T0,
            .now_ms = T0 + rows[i].now,
            .first_clean_ms = rows[i].first_clean < 0 ? 0 : T0 + rows[i].first_clean,
            .hold = rows[i].hold,
        };
        struct op_listed_batch listed[] = {
            {.id = "a", .created_ms = T0 - 1, .count = N, .tag = tags[2], .file_id = "file-2"},
            {.id = "b", .created_ms = T0 + 9, .count = 1, .tag = "", .file_id = "file-1"},
            {.id = "c", .created_ms = T0 + 5, .count = -1, .tag = tags[1]},
        };
        size_t at = 999;
        assert_int_equal(op_reconcile(&c, listed, 1, &at), rows[i].want);
        assert_int_equal(at, 999);
        assert_true(op_reconcile_next_ms(&c) == T0 + rows[i].next);
        assert_int_equal(op_reconcile(&c, listed, 2, &at), OP_RECONCILE_ADOPT);
        assert_int_equal(at, 1); /* by its file */
        assert_int_equal(op_reconcile(&c, listed, 3, &at), OP_RECONCILE_ADOPT_MANY);
        assert_int_equal(at, 2); /* the earlier one */
        assert_false(op_reconcile_is_candidate(&c, &listed[0]));
        /* Two that name no file are not the same file. */
        c.file_id = "";
        listed[1].file_id = "";
        assert_false(op_reconcile_is_candidate(&c, &listed[1]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grid),
        cmocka_unit_test(test_settles_once),
        cmocka_unit_test(test_order_of_listing),
        cmocka_unit_test(test_extreme_times),
        cmocka_unit_test(test_fence),
        cmocka_unit_test(test_watermark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
