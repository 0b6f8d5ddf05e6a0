/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the window of the realtime lane: growth, halving, one decrease a burst, Retry-After,
 *            intervals, told budgets.
 * Stimulus:  sequences of starts, answers and refusals on a clock of the test's own.
 * Oracle:    windows and times written by hand; a model of a provider with a fixed capacity, around
 *            which the window must stay.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "core/flow.h"
#include "core/retry.h"

static void answer_full(struct op_flow *flow, int times)
{
    for (int i = 0; i < times; i++)
        op_flow_answered(flow, op_flow_window(flow));
}

static void test_growth(void **state)
{
    (void)state;
    struct op_flow flow;
    op_flow_init(&flow, 64, 0);
    assert_int_equal(op_flow_window(&flow), OP_FLOW_FIRST);
    answer_full(&flow, 10);
    assert_int_equal(op_flow_window(&flow), OP_FLOW_FIRST + 10);
    answer_full(&flow, 1000);
    assert_int_equal(op_flow_window(&flow), 64);
    op_flow_init(&flow, 3, 0);
    assert_int_equal(op_flow_window(&flow), 3);
    op_flow_init(&flow, 0, 0);
    assert_int_equal(op_flow_window(&flow), 1);
}

/* An idle window says nothing about what the provider would take. */
static void test_unused_window_does_not_grow(void **state)
{
    (void)state;
    struct op_flow flow;
    op_flow_init(&flow, 64, 0);
    for (int i = 0; i < 100; i++)
        op_flow_answered(&flow, OP_FLOW_FIRST - 1);
    assert_int_equal(op_flow_window(&flow), OP_FLOW_FIRST);
}

static void test_halved_once_a_burst(void **state)
{
    (void)state;
    struct op_flow flow;
    op_flow_init(&flow, 64, 0);
    answer_full(&flow, 100);
    int64_t epoch = op_flow_started(&flow, 0, 0);
    for (int i = 0; i < 64; i++)
        op_flow_refused(&flow, 0, epoch, -1, 0);
    assert_int_equal(op_flow_window(&flow), 32);
    assert_int_equal(flow.refusals, 1);
    /* One that was started behind the decrease is news. */
    epoch = op_flow_started(&flow, 0, 0);
    op_flow_refused(&flow, 0, epoch, -1, 0);
    assert_int_equal(op_flow_window(&flow), 16);
    assert_int_equal(flow.refusals, 2);
    /* Never shut: with one request it finds out when the way is free again. */
    for (int i = 0; i < 20; i++)
        op_flow_refused(&flow, 0, op_flow_started(&flow, 0, 0), -1, 0);
    assert_int_equal(op_flow_window(&flow), 1);
}

/* Behind a refusal: one more a round of answers, not one more an answer. */
static void test_additive_growth(void **state)
{
    (void)state;
    struct op_flow flow;
    op_flow_init(&flow, 1000, 0);
    answer_full(&flow, 192);
    op_flow_refused(&flow, 0, op_flow_started(&flow, 0, 0), -1, 0);
    assert_int_equal(op_flow_window(&flow), 100);
    answer_full(&flow, 99);
    assert_int_equal(op_flow_window(&flow), 100);
    answer_full(&flow, 3);
    assert_int_equal(op_flow_window(&flow), 101);
    answer_full(&flow, 102 + 103 + 104);
    assert_in_range(op_flow_window(&flow), 103, 104);
}

static void test_holds(void **state)
{
    (void)state;
    struct op_flow flow;
    int64_t when = 0;
    op_flow_init(&flow, 64, 0);
    int64_t epoch = op_flow_started(&flow, 1000, 0);
    op_flow_refused(&flow, 1000, epoch, 7000, 0);
    assert_false(op_flow_may_start(&flow, 7999, 0, 0, &when));
    assert_int_equal(when, 8000);
    assert_true(op_flow_may_start(&flow, 8000, 0, 0, &when));
    /* A later word of the same burst that asks for more is obeyed, one that asks for less is not. */
    op_flow_refused(&flow, 1000, epoch, 9000, 0);
    op_flow_refused(&flow, 1000, epoch, 2000, 0);
    assert_false(op_flow_may_start(&flow, 9999, 0, 0, &when));
    assert_int_equal(when, 10000);
    /* Without a word: as in core/retry.h, and longer from refusal to refusal. */
    op_flow_init(&flow, 64, 0);
    op_flow_refused(&flow, 0, 0, -1, UINT32_MAX);
    assert_int_equal(flow.hold_ms, op_retry_delay_ms(1, -1, UINT32_MAX));
    op_flow_refused(&flow, 0, 1, -1, UINT32_MAX);
    assert_int_equal(flow.hold_ms, op_retry_delay_ms(2, -1, UINT32_MAX));
    op_flow_answered(&flow, 1);
    flow.hold_ms = 0;
    op_flow_refused(&flow, 0, 2, -1, UINT32_MAX);
    assert_int_equal(flow.hold_ms, op_retry_delay_ms(1, -1, UINT32_MAX));
}

static void test_interval(void **state)
{
    (void)state;
    struct op_flow flow;
    int64_t when = 0;
    op_flow_init(&flow, 4, 1000);
    assert_true(op_flow_may_start(&flow, 500, 0, 0, &when));
    op_flow_started(&flow, 500, 0);
    assert_false(op_flow_may_start(&flow, 1499, 0, 0, &when));
    assert_int_equal(when, 1500);
    assert_true(op_flow_may_start(&flow, 1500, 3, 0, &when));
    assert_false(op_flow_may_start(&flow, 1500, 4, 0, &when));
    assert_int_equal(when, INT64_MAX);
}

static void test_budgets(void **state)
{
    (void)state;
    struct op_flow flow;
    int64_t when = 0;
    op_flow_init(&flow, 64, 0);
    /* Five left, two of them may be on their way already: three more. */
    op_flow_told(&flow.requests, 5, 2, 60000);
    for (int i = 0; i < 3; i++) {
        assert_true(op_flow_may_start(&flow, 0, 2 + i, 10, &when));
        op_flow_started(&flow, 0, 10);
    }
    assert_false(op_flow_may_start(&flow, 0, 5, 10, &when));
    assert_int_equal(when, INT64_MAX);
    assert_false(op_flow_may_start(&flow, 0, 0, 10, &when));
    assert_int_equal(when, 60000);
    assert_true(op_flow_may_start(&flow, 60000, 0, 10, &when));
    /* Tokens the same way. */
    op_flow_init(&flow, 64, 0);
    op_flow_told(&flow.tokens, 1000, 400, 60000);
    assert_true(op_flow_may_start(&flow, 0, 1, 600, &when));
    assert_false(op_flow_may_start(&flow, 0, 1, 601, &when));
    op_flow_started(&flow, 0, 600);
    assert_false(op_flow_may_start(&flow, 0, 2, 1, &when));
    /* A request that is larger than the whole limit must not wait for ever. */
    op_flow_told(&flow.tokens, 1000, 0, 60000);
    assert_false(op_flow_may_start(&flow, 59999, 0, 5000, &when));
    assert_true(op_flow_may_start(&flow, 60000, 0, 5000, &when));
}

/* A provider that takes so many at a time and refuses the rest: the window must find it from above
 * and stay around it. */
static void test_finds_the_capacity(void **state)
{
    (void)state;
    enum { CAPACITY = 40, ROUNDS = 400 };
    struct op_flow flow;
    op_flow_init(&flow, 256, 0);
    int64_t now = 0, served = 0, refused = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t started = 0, when = 0, epoch = flow.epoch;
        while (op_flow_may_start(&flow, now, started, 0, &when)) {
            epoch = op_flow_started(&flow, now, 0);
            started++;
        }
        assert_true(started <= op_flow_window(&flow));
        int64_t taken = started < CAPACITY ? started : CAPACITY;
        for (int64_t i = 0; i < taken; i++)
            op_flow_answered(&flow, started - i);
        for (int64_t i = taken; i < started; i++)
            op_flow_refused(&flow, now, epoch, -1, 0);
        served += taken;
        refused += started - taken;
        now += flow.hold_ms > now ? flow.hold_ms - now : 100;
        if (round > 20)
            assert_in_range(op_flow_window(&flow), CAPACITY / 4, CAPACITY * 2);
    }
    assert_true(served > (int64_t)ROUNDS * CAPACITY / 2);
    assert_true(refused * 10 < served);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_unused_window_does_not_grow),
        cmocka_unit_test(test_halved_once_a_burst),
        cmocka_unit_test(test_additive_growth),
        cmocka_unit_test(test_holds),
        cmocka_unit_test(test_interval),
        cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_finds_the_capacity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
