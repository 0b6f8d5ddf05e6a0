/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: delays before a retry and before the next poll.
 * Oracle:    the bounds in the header, checked over a grid that contains every edge; the largest
 *            delay per try written by hand; the mean of the jitter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"
#include "core/retry.h"

static void test_backoff(void **state)
{
    (void)state;
    static const int64_t most[] = {1000,  2000,   4000,   8000,   16000,  32000,
                                   64000, 128000, 256000, 512000, 900000, 900000};
    for (int tries = 0; tries < (int)OP_COUNT(most); tries++) {
        assert_int_equal(op_retry_delay_ms(tries, -1, 0), 1000);
        assert_int_equal(op_retry_delay_ms(tries, -1, UINT32_MAX), most[tries]);
        int64_t last = 0;
        int64_t sum = 0;
        for (uint32_t i = 0; i < 4096; i++) {
            int64_t ms = op_retry_delay_ms(tries, -1, i << 20);
            assert_in_range(ms, OP_RETRY_MIN_MS, OP_RETRY_MAX_MS);
            assert_true(ms >= last);
            last = ms;
            sum += ms;
        }
        int64_t mean = sum / 4096;
        int64_t middle = (1000 + most[tries]) / 2;
        assert_in_range(mean, middle - middle / 500 - 1, middle + middle / 500 + 1);
    }
    assert_int_equal(op_retry_delay_ms(INT32_MAX, -1, UINT32_MAX), OP_RETRY_MAX_MS);
    assert_int_equal(op_retry_delay_ms(INT32_MIN, -1, UINT32_MAX), OP_RETRY_MIN_MS);
}

static void test_server_wish(void **state)
{
    (void)state;
    static const struct {
        int64_t wish;
        int64_t want;
    } rows[] = {
        {0, 1000},        {1, 1000},           {999, 1000},      {1000, 1000},
        {1001, 1001},     {10000, 10000},      {899999, 899999}, {900000, 900000},
        {900001, 900000}, {INT64_MAX, 900000},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        for (int tries = 1; tries < 20; tries++) {
            assert_int_equal(op_retry_delay_ms(tries, rows[i].wish, 0), rows[i].want);
            assert_int_equal(op_retry_delay_ms(tries, rows[i].wish, UINT32_MAX), rows[i].want);
        }
    }
    assert_int_equal(op_retry_delay_ms(3, INT64_MIN, UINT32_MAX), 8000);
}

static void test_poll(void **state)
{
    (void)state;
    static const struct {
        int64_t age, hint, fixed, want;
    } rows[] = {
        {0, -1, 0, 2000},
        {39999, -1, 0, 2000},
        {60000, -1, 0, 3000},
        {600000, -1, 0, 30000},
        {6000000, -1, 0, 300000},
        {86400000, -1, 0, 300000},
        {INT64_MAX, -1, 0, 300000},
        {-1, -1, 0, 2000},
        {-60000, -1, 0, 2000},
        {-60001, -1, 0, 60000}, /* this machine's clock is behind */
        {INT64_MIN, -1, 0, 60000},
        {0, 10000, 0, 10000},
        {86400000, 10000, 0, 10000},
        {0, 0, 0, 1000},
        {0, INT64_MAX, 0, 900000},
        {0, -1, 50, 50},
        {86400000, 10000, 50, 50},
        {0, 10000, 60000, 60000},
        {0, -1, -3, 2000},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++)
        assert_int_equal(op_poll_delay_ms(rows[i].age, rows[i].hint, rows[i].fixed),
                         rows[i].want);
    /* Never shorter as a batch grows older, and a day of it is some hundred polls. */
    int64_t last = 0;
    int polls = 0;
    for (int64_t age = 0; age < 24 * 3600 * 1000LL; polls++) {
        int64_t ms = op_poll_delay_ms(age, -1, 0);
        assert_true(ms >= last);
        last = ms;
        age += ms;
    }
    assert_in_range(polls, 200, 450);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_server_wish),
        cmocka_unit_test(test_poll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
