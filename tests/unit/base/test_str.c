/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: slices: trimming, cutting, numbers, money, UTF-8, suggestions.
 * Oracle:    tables after the contract; strtod of the C library for random decimals; for UTF-8 a
 *            decoder written from RFC 3629's definition over every sequence of up to 3 bytes and
 *            samples of 4.
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
#include "base/str.h"

#define STR(text) op_str_from(text)

static void prefixes_and_ends(void **state)
{
    (void)state;
    assert_true(op_str_starts(STR("abc"), "ab"));
    assert_true(op_str_starts(STR("abc"), ""));
    assert_true(op_str_starts(OP_STR_NULL, ""));
    assert_false(op_str_starts(STR("a"), "ab"));
    assert_true(op_str_ends(STR("abc"), "bc"));
    assert_false(op_str_ends(STR("abc"), "ab"));
    assert_false(op_str_ends(STR("c"), "bc"));
    assert_true(op_str_is(op_str_trim(STR(" \t\r\n\v\f x y  ")), "x y"));
    assert_true(op_str_is(op_str_trim(STR("   ")), ""));
    assert_true(op_str_eq(OP_STR_NULL, STR("")));
}

static void cut_leaves_the_rest(void **state)
{
    (void)state;
    struct op_str s = STR("a,,b");
    assert_true(op_str_is(op_str_cut(&s, ','), "a"));
    assert_true(op_str_is(op_str_cut(&s, ','), ""));
    assert_true(op_str_is(op_str_cut(&s, ','), "b"));
    assert_null(s.ptr);
    s = STR("a,");
    op_str_cut(&s, ',');
    assert_non_null(s.ptr);
    assert_int_equal(s.len, 0);
}

static void integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"+7", true, 7},
        {"007", true, 7},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+-1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.0", false, 0},
        {"0x10", false, 0},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        int64_t value = 42;
        assert_int_equal(op_str_int64(STR(cases[i].text), &value), cases[i].ok);
        assert_int_equal(value, cases[i].ok ? cases[i].value : 42);
    }
}

static void check_double(const char *text)
{
    double value = -1;
    assert_true(op_str_double(STR(text), &value));
    double wanted = strtod(text, NULL);
    if (memcmp(&value, &wanted, sizeof(value)) != 0)
        fail_msg("%s gave %.17g instead of %.17g", text, value, wanted);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return *seed >> 33;
}

static void doubles(void **state)
{
    (void)state;
    static const char *const good[] = {
        "0",
        "-0",
        "1",
        "+1.5",
        ".5",
        "5.",
        "1e3",
        "1E+3",
        "1e-3",
        "0.1",
        "1e22",
        "1e23",
        "1e-22",
        "1e-23",
        "9007199254740993",
        "9007199254740992e1",
        "123456789012345678901234567890",
        "1.7976931348623157e308",
        "4.9e-324",
        "1e-400",
        "0e999999999999",
        "2.2250738585072011e-308",
        "0.000000000000000000000000000000000000000000000000000000000000000000000000000001",
        "18446744073709551616",
        "9999999999999999999",
        "0.30000000000000004",
        "-1.25e-7",
    };
    static const char *const bad[] = {
        "",   "-",   ".",     "e5",  "1e",   "1e+", "0x10",  "inf",    "nan", " 1",
        "1 ", "1,5", "1.2.3", "--1", "1e5x", "1_0", "1e309", "-1e400", "NaN", "infinity"};
    for (size_t i = 0; i < OP_COUNT(good); i++)
        check_double(good[i]);
    for (size_t i = 0; i < OP_COUNT(bad); i++) {
        double value = 42;
        if (op_str_double(STR(bad[i]), &value) || value != 42)
            fail_msg("'%s' was taken for a number", bad[i]);
    }
    assert_false(op_str_double((struct op_str){"1\0", 2}, &(double){0}));
    uint64_t seed = 1;
    for (int i = 0; i < 200000; i++) {
        char text[80];
        unsigned long long a = next_random(&seed), b = next_random(&seed);
        int exponent = (int)(next_random(&seed) % 60) - 30;
        snprintf(text, sizeof(text), "%llu%.*s%llue%d", a >> (a % 31), (int)(b % 2), ".", b,
                 exponent);
        check_double(text);
    }
}

static void dollars(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value; /* -1: refused */
    } cases[] = {
        {"12", 12000000},
        {"0.5", 500000},
        {"1.234567", 1234567},
        {".5", 500000},
        {"0", 0},
        {"0.000001", 1},
        {"1.2345678", -1},
        {"-1", -1},
        {"+1", -1},
        {"", -1},
        {".", -1},
        {"1.", -1},
        {"1.2.3", -1},
        {"1e3", -1},
        {"$1", -1},
        {"9223372036854.775807", INT64_MAX},
        {"9223372036854.775808", -1},
        {"9223372036855", -1},
        {"99999999999999999999", -1},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        int64_t value = -1;
        op_str_microusd(STR(cases[i].text), &value);
        if (value != cases[i].value)
            fail_msg("'%s' gave %lld", cases[i].text, (long long)value);
    }
}

/* Length of the sequence at p by the definition: decode, then demand the shortest form. */
static size_t sequence_by_definition(const unsigned char *p, size_t room)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80             ? 1
                 : (p[0] & 0xE0) == 0xC0 ? 2
                 : (p[0] & 0xF0) == 0xE0 ? 3
                 : (p[0] & 0xF8) == 0xF0 ? 4
                                         : 0;
    if (len == 0 || len > room)
        return 0;
    uint32_t code = len == 1 ? p[0] : p[0] & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3F);
    }
    if (code < least[len] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return 0;
    return len;
}

static void check_utf8(const unsigned char *p, size_t len)
{
    size_t wanted = 0;
    while (wanted < len) {
        size_t step = sequence_by_definition(p + wanted, len - wanted);
        if (step == 0)
            break;
        wanted += step;
    }
    size_t got = op_utf8_valid_len((const char *)p, len);
    if (got != wanted)
        fail_msg("%02x %02x %02x %02x: %zu instead of %zu", p[0], p[1], p[2], p[3], got,
                 wanted);
}

static void utf8(void **state)
{
    (void)state;
    unsigned char p[4] = {0};
    for (unsigned code = 0; code < 0x1000000; code += 1) {
        p[0] = (unsigned char)(code >> 16);
        p[1] = (unsigned char)(code >> 8);
        p[2] = (unsigned char)code;
        if ((p[0] < 0x7F || (p[1] < 0x7F && p[2] < 0x7F)) && code % 17)
            continue;
        check_utf8(p, 3);
    }
    static const unsigned char edges[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0,
                                          0xC2, 0xE0, 0xED, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF};
    for (size_t a = 0; a < OP_COUNT(edges); a++)
        for (size_t b = 0; b < OP_COUNT(edges); b++)
            for (size_t c = 0; c < OP_COUNT(edges); c++)
                for (size_t d = 0; d < OP_COUNT(edges); d++)
                    check_utf8((unsigned char[]){edges[a], edges[b], edges[c], edges[d]}, 4);
    /* A bad byte at every place of a text longer than the fast path's step. */
    unsigned char text[100];
    for (size_t at = 0; at < sizeof(text); at++) {
        memset(text, 'a', sizeof(text));
        text[at] = 0xFF;
        assert_int_equal(op_utf8_valid_len((char *)text, sizeof(text)), at);
    }
    assert_int_equal(op_utf8_valid_len(NULL, 0), 0);
}

static void suggestions(void **state)
{
    (void)state;
    static const char *const words[] = {"model", "max_tokens", "system",
                                        "user",  "answer",     "on"};
    static const struct {
        const char *word, *nearest;
    } cases[] = {
        {"modle", "model"},
        {"Model", "model"},
        {"max_token", "max_tokens"},
        {"max-tokens", "max_tokens"},
        {"usr", "user"},
        {"banana", NULL},
        {"", NULL},
        {"x", NULL},
        {"anwser", "answer"},
        {"temperature", NULL},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        const char *nearest = op_str_nearest(cases[i].word, words, OP_COUNT(words));
        if (cases[i].nearest)
            assert_string_equal(nearest, cases[i].nearest);
        else
            assert_null(nearest);
    }
    char longest[200];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    const char *const candidates[] = {longest};
    assert_null(op_str_nearest("aaa", candidates, 1));
    assert_null(op_str_nearest(longest, candidates, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes_and_ends), cmocka_unit_test(cut_leaves_the_rest),
        cmocka_unit_test(integers),          cmocka_unit_test(doubles),
        cmocka_unit_test(dollars),           cmocka_unit_test(utf8),
        cmocka_unit_test(suggestions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
