/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: custom ids are written, recognised and refused.
 * Oracle:    RFC 4648 vectors for the nonce, ids written by hand, a base 36 reader by repeated
 *            search, and the round trip over boundaries and a walk through the whole int64 range.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"
#include "core/custom_id.h"

static void test_nonce(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[5];
        const char *text;
    } rows[] = {
        {{'f', 'o', 'o', 'b', 'a'}, "mzxw6ytb"}, /* RFC 4648, section 10 */
        {{0, 0, 0, 0, 0}, "aaaaaaaa"},           {{255, 255, 255, 255, 255}, "77777777"},
        {{0, 0, 0, 0, 1}, "aaaaaaab"},           {{0x80, 0, 0, 0, 0}, "qaaaaaaa"},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        char got[OP_NONCE_LEN + 1];
        op_nonce_format(rows[i].bytes, got);
        assert_string_equal(got, rows[i].text);
    }
    /* Each of the 40 bits matters, and no two of them alike. */
    char seen[41][OP_NONCE_LEN + 1];
    for (int bit = 0; bit <= 40; bit++) {
        uint8_t bytes[5] = {0};
        if (bit < 40)
            bytes[bit / 8] = (uint8_t)(1 << bit % 8);
        op_nonce_format(bytes, seen[bit]);
        for (int i = 0; i < bit; i++)
            assert_string_not_equal(seen[i], seen[bit]);
    }
}

static void test_written(void **state)
{
    (void)state;
    static const struct {
        int64_t id;
        const char *text;
    } rows[] = {
        {0, "led001-mzxw6ytb-0"},        {9, "led001-mzxw6ytb-9"},
        {10, "led001-mzxw6ytb-a"},       {35, "led001-mzxw6ytb-z"},
        {36, "led001-mzxw6ytb-10"},      {46655, "led001-mzxw6ytb-zzz"},
        {46656, "led001-mzxw6ytb-1000"}, {INT64_MAX, "led001-mzxw6ytb-1y2p0ij32e8e7"},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        char got[OP_CUSTOM_ID_MAX + 1];
        assert_int_equal(op_custom_id_format("led001", "mzxw6ytb", rows[i].id, got),
                         strlen(rows[i].text));
        assert_string_equal(got, rows[i].text);
    }
}

static void check_round_trip(int64_t id)
{
    char text[OP_CUSTOM_ID_MAX + 1];
    char tag[OP_LEDGER_TAG_LEN + 1];
    char nonce[OP_NONCE_LEN + 1];
    int64_t got = -1;
    size_t len = op_custom_id_format("q7x2ab", "mzxw6ytb", id, text);
    assert_int_equal(len, strlen(text));
    assert_in_range(len, 17, OP_CUSTOM_ID_MAX);
    assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-"), len);
    assert_true(op_custom_id_parse(op_str_from(text), "q7x2ab", "mzxw6ytb", &got));
    assert_true(got == id);
    got = -1;
    assert_true(op_custom_id_split(op_str_from(text), tag, nonce, &got));
    assert_true(got == id);
    assert_string_equal(tag, "q7x2ab");
    assert_string_equal(nonce, "mzxw6ytb");
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int64_t id = 0; id < 100000; id++)
        check_round_trip(id);
    for (int bit = 0; bit < 63; bit++) {
        check_round_trip((int64_t)1 << bit);
        check_round_trip(((int64_t)1 << bit) - 1);
        check_round_trip(INT64_MAX - ((int64_t)1 << bit) + 1);
    }
    uint64_t x = 88172645463325252ULL; /* xorshift: the same walk every time */
    for (int i = 0; i < 100000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        check_round_trip((int64_t)(x >> (1 + i % 60)));
    }
}

static void test_foreign(void **state)
{
    (void)state;
    int64_t got = -7;
    struct op_str mine = OP_STR("led001-mzxw6ytb-2s");
    assert_true(op_custom_id_parse(mine, "led001", "mzxw6ytb", &got));
    assert_int_equal(got, 100);
    got = -7;
    assert_false(op_custom_id_parse(mine, "led002", "mzxw6ytb", &got));
    assert_false(op_custom_id_parse(mine, "led001", "mzxw6ytc", &got));
    assert_false(op_custom_id_parse(mine, "led00", "mzxw6ytb", &got));
    assert_false(op_custom_id_parse(mine, "led001", "", &got));
    assert_int_equal(got, -7);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "-",
        "led001",
        "led001-mzxw6ytb",
        "led001-mzxw6ytb-",
        "led001mzxw6ytb-1",
        "led001-mzxw6ytb1",
        "led001_mzxw6ytb-1",
        "led001-mzxw6ytb_1",
        " led001-mzxw6ytb-1",
        "led001-mzxw6ytb-1 ",
        "led001-mzxw6ytb-01",
        "led001-mzxw6ytb-00",
        "led001-mzxw6ytb--1",
        "led001-mzxw6ytb-+1",
        "led001-mzxw6ytb-A",
        "led001-mzxw6ytb-1.0",
        "led001-mzxw6ytb-\xc3",
        "led001-mzxw6ytb-1y2p0ij32e8e8", /* INT64_MAX + 1 */
        "led001-mzxw6ytb-zzzzzzzzzzzzz",
        "led001-mzxw6ytb-zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
        "led001-mzxw6ytb-zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
        "LED001-mzxw6ytb-1",
        "led001-MZXW6YTB-1",
        "request-1",
        "0",
    };
    for (size_t i = 0; i < OP_COUNT(bad); i++) {
        char tag[OP_LEDGER_TAG_LEN + 1] = "before";
        char nonce[OP_NONCE_LEN + 1] = "before--";
        int64_t got = -7;
        assert_false(op_custom_id_parse(op_str_from(bad[i]), "led001", "mzxw6ytb", &got));
        assert_false(op_custom_id_split(op_str_from(bad[i]), tag, nonce, &got));
        assert_int_equal(got, -7);
        assert_string_equal(tag, "before");
        assert_string_equal(nonce, "before--");
    }
    int64_t got = -7;
    char tag[OP_LEDGER_TAG_LEN + 1];
    char nonce[OP_NONCE_LEN + 1];
    assert_false(op_custom_id_parse(OP_STR_NULL, "led001", "mzxw6ytb", &got));
    assert_false(op_custom_id_split(OP_STR_NULL, tag, nonce, &got));
    assert_false(op_custom_id_split(OP_STR("led001-mzxw6yt1-1"), tag, nonce, &got));
    assert_false(
        op_custom_id_split((struct op_str){"led001-mzxw6ytb-1\0", 18}, tag, nonce, &got));
}

/* Any single byte changed gives another id or none; never this one. */
static void test_every_byte_counts(void **state)
{
    (void)state;
    static const char good[] = "led001-mzxw6ytb-2sa";
    for (size_t at = 0; at < sizeof(good) - 1; at++) {
        for (int byte = 0; byte < 256; byte++) {
            char text[sizeof(good)];
            memcpy(text, good, sizeof(good));
            text[at] = (char)byte;
            int64_t got = -1;
            bool is = op_custom_id_parse((struct op_str){text, sizeof(good) - 1}, "led001",
                                         "mzxw6ytb", &got);
            if (text[at] == good[at])
                assert_true(is && got == 2 * 36 * 36 + 28 * 36 + 10);
            else if (is)
                assert_true(at >= 16 && got != 2 * 36 * 36 + 28 * 36 + 10);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nonce),      cmocka_unit_test(test_written),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_every_byte_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
