/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: estimates multiplied by what they turned out to be worth, and how far off they may be.
 * Oracle:    rows by hand; ratios of random batches computed in floating point.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"
#include "core/calibration.h"

static void test_by_hand(void **state)
{
    (void)state;
    struct op_calibration c = {0};
    int64_t low = -1, high = -1;
    assert_true(op_calibration_apply(&c, 1234) == 1234);
    op_calibration_error(&c, &low, &high);
    assert_true(low == 0 && high == 0);
    op_calibration_add(&c, 1000, 800);
    assert_true(op_calibration_apply(&c, 1000) == 800 && op_calibration_apply(&c, 1) == 1);
    op_calibration_error(&c, &low, &high);
    assert_true(low == 0 && high == 0); /* one batch lies off nothing */
    op_calibration_add(&c, 1000, 1200);
    assert_true(op_calibration_apply(&c, 500) == 500);
    op_calibration_error(&c, &low, &high);
    assert_true(low == 200 && high == 200);
    /* What tells nothing changes nothing. */
    const struct op_calibration before = c;
    op_calibration_add(&c, 0, 5);
    op_calibration_add(&c, 5, 0);
    op_calibration_add(&c, -1, -1);
    op_calibration_add(&c, INT64_MAX, 1);
    assert_memory_equal(&c, &before, sizeof(c));
    assert_true(op_calibration_apply(&c, INT64_MAX) == INT64_MAX);
    assert_true(op_calibration_apply(&c, -5) == -5);
}

static void test_many(void **state)
{
    (void)state;
    struct op_calibration c = {0};
    double estimated = 0, billed = 0;
    uint32_t x = 12345;
    for (int i = 0; i < 5000; i++) {
        x = x * 1664525U + 1013904223U;
        int64_t e = 1000 + (int64_t)(x >> 12);
        int64_t b = e * (600 + (int64_t)(x >> 8) % 700) / 1000;
        op_calibration_add(&c, e, b);
        estimated += (double)e;
        billed += (double)b;
    }
    double want = billed / estimated * 1e6;
    assert_true(fabs((double)op_calibration_apply(&c, 1000000) - want) < 2);
    assert_in_range(c.low, 599, 605);
    assert_in_range(c.high, 1290, 1300);
    /* Sums do not run over, and the ratio outlives their halving. */
    for (int i = 0; i < 5000; i++)
        op_calibration_add(&c, 1LL << 39, 1LL << 38);
    assert_true(c.estimated > 0 && c.estimated <= 1LL << 41);
    assert_in_range(op_calibration_apply(&c, 1000000), 499990, 500010);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
