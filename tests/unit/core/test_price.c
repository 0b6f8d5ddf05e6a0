/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: prices are found by name and tier, costs are exact, sums saturate, token estimates.
 * Oracle:    schoolbook arithmetic on decimal digits (no machine word wider than int in it), prices
 *            written by hand, and the estimate's definition in fourteenths of a token.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"
#include "core/price.h"

/* An unsigned number of 60 decimal digits, least significant first. */
struct big {
    int digit[60];
};

static struct big big_from(int64_t value)
{
    struct big b = {{0}};
    char text[24];
    int len = snprintf(text, sizeof(text), "%lld", (long long)value);
    for (int i = 0; i < len; i++)
        b.digit[i] = text[len - 1 - i] - '0';
    return b;
}

static void big_carry(struct big *b)
{
    for (int i = 0; i < 59; i++) {
        b->digit[i + 1] += b->digit[i] / 10;
        b->digit[i] %= 10;
    }
}

static struct big big_add(struct big a, struct big b)
{
    for (int i = 0; i < 60; i++)
        a.digit[i] += b.digit[i];
    big_carry(&a);
    return a;
}

static struct big big_mul(struct big a, struct big b)
{
    struct big out = {{0}};
    for (int i = 0; i < 30; i++) {
        for (int j = 0; j < 30; j++)
            out.digit[i + j] += a.digit[i] * b.digit[j];
    }
    big_carry(&out);
    return out;
}

/* value / 1,000,000 rounded half up, or INT64_MAX when it is more. */
static int64_t big_micro(struct big b)
{
    bool up = b.digit[5] >= 5;
    struct big shifted = {{0}};
    for (int i = 0; i + 6 < 60; i++)
        shifted.digit[i] = b.digit[i + 6];
    if (up)
        shifted = big_add(shifted, big_from(1));
    char text[61];
    for (int i = 0; i < 60; i++)
        text[i] = (char)('0' + shifted.digit[59 - i]);
    text[60] = '\0';
    const char *significant = text + strspn(text, "0");
    if (strlen(significant) > 19 ||
        (strlen(significant) == 19 && strcmp(significant, "9223372036854775807") > 0))
        return INT64_MAX;
    return strtoll(text, NULL, 10);
}

static int64_t oracle(const int64_t *rates, const struct op_usage *usage)
{
    struct big sum = {{0}};
    for (int i = 0; i < OP_TOKEN_KIND_COUNT; i++)
        sum = big_add(sum, big_mul(big_from(rates[i]), big_from(usage->tokens[i])));
    return big_micro(sum);
}

static void check_cost(const struct op_price *price, const struct op_usage *usage)
{
    assert_true(op_price_cost(price, true, usage) == oracle(price->batch, usage));
    assert_true(op_price_cost(price, false, usage) == oracle(price->realtime, usage));
}

static void test_exact(void **state)
{
    (void)state;
    static const int64_t edge[] = {0,
                                   1,
                                   2,
                                   3,
                                   5,
                                   7,
                                   499999,
                                   500000,
                                   500001,
                                   999999,
                                   1000000,
                                   1000001,
                                   3000000,
                                   15000000,
                                   INT32_MAX,
                                   1LL << 40,
                                   4611686018427387904LL,
                                   INT64_MAX - 1,
                                   INT64_MAX};
    /* Every pair of edges in every kind, alone and beside an odd rest. */
    for (size_t r = 0; r < OP_COUNT(edge); r++) {
        for (size_t t = 0; t < OP_COUNT(edge); t++) {
            for (int kind = 0; kind < OP_TOKEN_KIND_COUNT; kind++) {
                struct op_price price = {.batch = {1, 1, 1, 1, 1}, .realtime = {9, 7, 5, 3, 1}};
                struct op_usage usage = {{0}};
                price.batch[kind] = price.realtime[kind] = edge[r];
                usage.tokens[kind] = edge[t];
                check_cost(&price, &usage);
                for (int other = 0; other < OP_TOKEN_KIND_COUNT; other++) {
                    if (other != kind)
                        usage.tokens[other] = 333333 + other;
                }
                check_cost(&price, &usage);
            }
        }
    }
    struct op_price top;
    struct op_usage all;
    for (int i = 0; i < OP_TOKEN_KIND_COUNT; i++)
        top.batch[i] = top.realtime[i] = all.tokens[i] = INT64_MAX;
    assert_true(op_price_cost(&top, true, &all) == INT64_MAX);
}

static void test_exact_random(void **state)
{
    (void)state;
    uint64_t x = 2463534242ULL;
    for (int round = 0; round < 20000; round++) {
        struct op_price price = {0};
        struct op_usage usage = {{0}};
        for (int i = 0; i < OP_TOKEN_KIND_COUNT; i++) {
            int64_t *slots[] = {&price.batch[i], &price.realtime[i], &usage.tokens[i]};
            for (size_t s = 0; s < OP_COUNT(slots); s++) {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                *slots[s] = (int64_t)(x >> (1 + x % 61));
            }
        }
        check_cost(&price, &usage);
    }
}

static void test_known_prices(void **state)
{
    (void)state;
    /* $1 / $5 per million, batch half; 1,234 in, 567 out: 617 + 1417.5 = 2034.5 -> 2035 */
    struct op_price price = {.realtime = {1000000, 1250000, 2000000, 100000, 5000000},
                             .batch = {500000, 625000, 1000000, 50000, 2500000}};
    struct op_usage usage = {{1234, 0, 0, 0, 567}};
    assert_int_equal(op_price_cost(&price, true, &usage), 2035);
    assert_int_equal(op_price_cost(&price, false, &usage), 4069);
    struct op_usage none = {{0}};
    assert_int_equal(op_price_cost(&price, true, &none), 0);
    /* Nonsense never earns money, nor lowers what the rest costs. */
    struct op_usage negative = {{1234, -5, INT64_MIN, 0, 567}};
    assert_int_equal(op_price_cost(&price, true, &negative), 2035);
}

static void test_find(void **state)
{
    (void)state;
    struct op_price rows[] = {
        {.provider = "p", .model = "fox-*", .max_prompt = INT64_MAX},   /* 0 */
        {.provider = "p", .model = "fox-5", .max_prompt = 200000},      /* 1 */
        {.provider = "p", .model = "fox-5", .max_prompt = 1000000},     /* 2 */
        {.provider = "p", .model = "fox-5-*", .max_prompt = INT64_MAX}, /* 3 */
        {.provider = "p", .model = "fox-5*", .max_prompt = INT64_MAX},  /* 4 */
        {.provider = "q", .model = "*", .max_prompt = INT64_MAX},       /* 5 */
        {.provider = "p", .model = "owl", .max_prompt = 500},           /* 6 */
        {.provider = "p", .model = "owl", .max_prompt = 100},           /* 7 */
        {.provider = "p", .model = "owl", .max_prompt = 100},           /* 8 */
        {.provider = "p", .model = "o*", .max_prompt = INT64_MAX},      /* 9 */
    };
    struct op_price_list list = {rows, OP_COUNT(rows)};
    static const struct {
        const char *provider;
        const char *model;
        int64_t prompt;
        int want;
    } cases[] = {
        {"p", "fox-5", 0, 1},         {"p", "fox-5", 200000, 1},
        {"p", "fox-5", 200001, 2},    {"p", "fox-5", 1000000, 2},
        {"p", "fox-5", 1000001, -1},  {"p", "fox-5-mini", 1, 3},
        {"p", "fox-5-", 1, 3},        {"p", "fox-51", 1, 4},
        {"p", "fox-4", 1, 0},         {"p", "fox-", 1, 0},
        {"p", "fox", 1, -1},          {"p", "", 1, -1},
        {"q", "fox-5", 1, 5},         {"q", "", 1, 5},
        {"r", "fox-5", 1, -1},        {"p", "owl", 100, 7},
        {"p", "owl", 101, 6},         {"p", "owl", 501, -1},
        {"p", "owls", 501, 9},        {"p", "FOX-5", 1, -1},
        {"p", "fox-4", INT64_MAX, 0},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        const struct op_price *got =
            op_price_find(&list, cases[i].provider, cases[i].model, cases[i].prompt);
        if (got != (cases[i].want < 0 ? NULL : &rows[cases[i].want]))
            fail_msg("%s/%s/%lld", cases[i].provider, cases[i].model,
                     (long long)cases[i].prompt);
    }
    struct op_price_list empty = {NULL, 0};
    assert_null(op_price_find(&empty, "p", "fox-5", 1));
}

static void test_usage(void **state)
{
    (void)state;
    struct op_usage a = {{1, 20, 300, 4000, 50000}};
    assert_int_equal(op_usage_prompt(&a), 4321);
    struct op_usage b = {{9, 8, 7, 6, 5}};
    op_usage_add(&a, &b);
    static const int64_t want[] = {10, 28, 307, 4006, 50005};
    for (int i = 0; i < OP_TOKEN_KIND_COUNT; i++)
        assert_int_equal(a.tokens[i], want[i]);
    struct op_usage top = {{INT64_MAX, 1, INT64_MAX, 0, INT64_MAX}};
    assert_true(op_usage_prompt(&top) == INT64_MAX);
    op_usage_add(&top, &b);
    assert_true(top.tokens[0] == INT64_MAX && top.tokens[1] == 9 && top.tokens[4] == INT64_MAX);
}

static void test_estimate(void **state)
{
    (void)state;
    /* Over every small mixture: fourteenths of a token, 4 for ASCII and 7 for the rest, up. */
    char text[64];
    for (int ascii = 0; ascii <= 30; ascii++) {
        for (int other = 0; other <= 30; other++) {
            memset(text, 'a', sizeof(text));
            memset(text + ascii, 0xe4, (size_t)other);
            int fourteenths = 4 * ascii + 7 * other;
            int want = 0;
            while (want * 14 < fourteenths)
                want++;
            assert_int_equal(op_tokens_estimate(text, (size_t)(ascii + other)), want);
        }
    }
    assert_int_equal(op_tokens_estimate("", 0), 0);
    assert_int_equal(op_tokens_estimate(NULL, 0), 0);
    assert_int_equal(op_tokens_estimate("a", 1), 1);
    /* 35 bytes of ASCII are 10 tokens, 20 bytes of another script are 10. */
    assert_int_equal(op_tokens_estimate("The quick brown fox jumps over it..", 35), 10);
    assert_int_equal(
        op_tokens_estimate("\xd0\xb6\xd0\xb6\xd0\xb6\xd0\xb6\xd0\xb6\xd0\xb6\xd0\xb6"
                           "\xd0\xb6\xd0\xb6\xd0\xb6",
                           20),
        10);
    assert_int_equal(op_tokens_estimate("\x7f\x7f\x7f\x7f\x7f\x7f\x7f", 7), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),        cmocka_unit_test(test_exact_random),
        cmocka_unit_test(test_known_prices), cmocka_unit_test(test_find),
        cmocka_unit_test(test_usage),        cmocka_unit_test(test_estimate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
