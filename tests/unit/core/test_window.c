/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: a window learned from refusals and from what passes.
 * Oracle:    rows written by hand; and a queue of a known size that is fed for a thousand rounds: the
 *            window must come to lie from one batch below to two above it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"
#include "core/window.h"

#define DAY OP_WINDOW_NAMED_MS

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        int64_t limit, queued, tokens, told, want;
        bool named;
    } rows[] = {
        {0, 0, 1000, 700, 700, true},   /* the number that was told */
        {500, 0, 1000, 700, 700, true}, /* also when it is above what was believed */
        {0, 0, 1000, 0, 500, false},    /* half of what was tried */
        {0, 0, 1000, -1, 500, false},
        {0, 900, 300, 0, 900, false},  /* but what is in the queue was taken */
        {800, 0, 1000, 0, 400, false}, /* half of the window, where that is less */
        {2000, 0, 1000, 0, 500, false},
        {0, 0, 1, 0, 1, false}, /* never to nothing */
        {0, 0, 0, 0, 1, false},
        {0, INT64_MAX, INT64_MAX, 0, INT64_MAX, false},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct op_window w = {.limit = rows[i].limit};
        op_window_refused(&w, rows[i].queued, rows[i].tokens, rows[i].told, 77);
        assert_true(w.limit == rows[i].want);
        assert_int_equal(w.named, rows[i].named);
        assert_true(w.learned_ms == 77);
    }
}

static void test_passed(void **state)
{
    (void)state;
    static const struct {
        int64_t limit, queued, tokens, now, want;
        bool named;
    } rows[] = {
        {0, 500, 500, 1, 0, false},            /* nothing is known, nothing learned */
        {1000, 500, 100, 1, 1000, false},      /* it was not full */
        {1000, 950, 100, 1, 1010, false},      /* a tenth of a batch for a tenth of a window */
        {1000, 1000, 1000, 1, 2000, false},    /* one that fills it adds one */
        {1000, 1000, 1, 1, 1001, false},       /* at least one token */
        {1000, 950, 100, DAY - 1, 1000, true}, /* a named limit holds for a day */
        {1000, 950, 100, DAY, 1010, true},
        {1000, 950, 0, 1, 1000, false},
        {INT64_MAX, INT64_MAX, INT64_MAX, 1, INT64_MAX, false},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct op_window w = {.limit = rows[i].limit, .named = rows[i].named};
        op_window_passed(&w, rows[i].queued, rows[i].tokens, rows[i].now);
        assert_true(w.limit == rows[i].want);
    }
}

static void test_fits(void **state)
{
    (void)state;
    static const struct {
        int64_t limit, queued, tokens;
        bool want;
    } rows[] = {
        {0, INT64_MAX, INT64_MAX, true}, {1000, 600, 400, true}, {1000, 600, 401, false},
        {1000, 0, 5000, true}, /* alone it may try */
        {1000, 1, 5000, false},          {1000, 1000, 0, true},  {1000, INT64_MAX, 1, false},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct op_window w = {.limit = rows[i].limit};
        assert_int_equal(op_window_fits(&w, rows[i].queued, rows[i].tokens), rows[i].want);
    }
    struct op_window none = {0}, tiny = {.limit = 3}, some = {.limit = 2000000};
    assert_true(op_window_batch(&none) == 0);
    assert_true(op_window_batch(&tiny) == 1);
    assert_true(op_window_batch(&some) == 500000);
}

/* Batches of one size go in while they fit; the queue itself refuses above its own limit. */
static void test_converges(void **state)
{
    (void)state;
    static const int64_t limits[] = {10000, 33333, 900000};
    for (size_t i = 0; i < OP_COUNT(limits); i++) {
        const int64_t size = 2500;
        struct op_window w = {0};
        int64_t queued = 0, refused = 0, sent = 0;
        for (int64_t now = 0; now < 1000; now++) {
            while (op_window_fits(&w, queued, size) && sent < 1000000) {
                if (queued + size > limits[i]) {
                    op_window_refused(&w, queued, size, 0, now);
                    refused++;
                    break;
                }
                queued += size;
                sent++;
            }
            if (queued) { /* the oldest ends */
                op_window_passed(&w, queued, size, now);
                queued -= size;
            }
        }
        assert_in_range(w.limit, limits[i] - size, limits[i] + 2 * size);
        assert_true(refused > 0 && refused < 600);
        assert_true(sent >= 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_passed),
        cmocka_unit_test(test_fits),
        cmocka_unit_test(test_converges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
