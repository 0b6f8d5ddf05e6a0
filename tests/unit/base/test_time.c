/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: RFC 3339 and HTTP dates, formatting, durations.
 * Oracle:    the C library's timegm and gmtime_r over random times; tables after the RFCs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"
#include "base/time.h"

static void rfc3339(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* INT64_MIN: refused */
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1969-12-31T23:59:59.999Z", -1},
        {"2026-11-20T12:00:00.000Z", 1795176000000},
        {"2026-11-20t12:00:00z", 1795176000000},
        {"2026-11-20 12:00:00Z", 1795176000000},
        {"2026-11-20T12:00:00+00:00", 1795176000000},
        {"2026-11-20T13:30:00+01:30", 1795176000000},
        {"2026-11-20T04:00:00-08:00", 1795176000000},
        {"2026-11-20T12:00:00.5Z", 1795176000500},
        {"2026-11-20T12:00:00.123456789Z", 1795176000123},
        {"2026-11-20T12:00:00.1239Z", 1795176000123},
        {"2024-02-29T00:00:00Z", 1709164800000},
        {"2016-12-31T23:59:60Z", 1483228800000},
        {"0000-01-01T00:00:00Z", -62167219200000},
        {"9999-12-31T23:59:59.999Z", 253402300799999},
        {"2023-02-29T00:00:00Z", INT64_MIN},
        {"1900-02-29T00:00:00Z", INT64_MIN},
        {"2026-11-20T12:00:00", INT64_MIN},
        {"2026-11-20T12:00Z", INT64_MIN},
        {"2026-11-20T12:00:00.Z", INT64_MIN},
        {"2026-11-20T24:00:00Z", INT64_MIN},
        {"2026-11-20T12:60:00Z", INT64_MIN},
        {"2026-11-20T12:00:61Z", INT64_MIN},
        {"2026-13-20T12:00:00Z", INT64_MIN},
        {"2026-00-20T12:00:00Z", INT64_MIN},
        {"2026-11-00T12:00:00Z", INT64_MIN},
        {"2026-11-20T12:00:00+0100", INT64_MIN},
        {"2026-11-20T12:00:00+24:00", INT64_MIN},
        {"2026-11-20T12:00:00Zx", INT64_MIN},
        {" 2026-11-20T12:00:00Z", INT64_MIN},
        {"2026-11-20", INT64_MIN},
        {"", INT64_MIN},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        int64_t ms = INT64_MIN;
        op_time_parse(op_str_from(cases[i].text), &ms);
        if (ms != cases[i].ms)
            fail_msg("'%s' gave %lld", cases[i].text, (long long)ms);
    }
    int64_t ms;
    assert_false(op_time_parse((struct op_str){"2026-11-20T12:00:00\0", 20}, &ms));
}

static void http_dates(void **state)
{
    (void)state;
    int64_t ms = 0;
    assert_true(op_time_parse_http(OP_STR("Sun, 06 Nov 1994 08:49:37 GMT"), &ms));
    assert_int_equal(ms, 784111777000);
    static const char *const bad[] = {
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sux, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "120",
        "",
    };
    for (size_t i = 0; i < OP_COUNT(bad); i++)
        assert_false(op_time_parse_http(op_str_from(bad[i]), &ms));
}

static void agrees_with_the_c_library(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (int i = 0; i < 100000; i++) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        int64_t ms = (int64_t)((seed >> 16) % 315569520000000ULL) - 62167219200000;
        char text[OP_TIME_TEXT], wanted[OP_TIME_TEXT * 2];
        op_time_format(ms, text);
        time_t seconds = ms / 1000 - (ms % 1000 < 0);
        struct tm tm;
        gmtime_r(&seconds, &tm);
        snprintf(wanted, sizeof(wanted), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                 (int)(ms - seconds * 1000));
        assert_string_equal(text, wanted);
        int64_t again;
        assert_true(op_time_parse(op_str_from(text), &again));
        assert_int_equal(again, ms);
    }
}

static void extremes_fit(void **state)
{
    (void)state;
    char text[OP_TIME_TEXT];
    op_time_format(INT64_MAX, text);
    assert_string_equal(text, "292278994-08-17T07:12:55.807Z");
    op_time_format(INT64_MIN, text);
    assert_string_equal(text, "-292275055-05-16T16:47:04.192Z");
    op_duration_format(INT64_MIN, text);
    assert_string_equal(text, "-106751991167d 7h");
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "0ms"},
        {850, "850ms"},
        {1000, "1s"},
        {1500, "1s 500ms"},
        {4 * OP_MINUTE_MS + 5 * OP_SECOND_MS, "4m 5s"},
        {OP_HOUR_MS, "1h"},
        {OP_HOUR_MS + 59 * OP_SECOND_MS, "1h"},
        {2 * OP_DAY_MS + 3 * OP_HOUR_MS + 5 * OP_MINUTE_MS, "2d 3h"},
        {-4 * OP_MINUTE_MS, "-4m"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        char text[OP_TIME_TEXT];
        op_duration_format(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc3339),
        cmocka_unit_test(http_dates),
        cmocka_unit_test(agrees_with_the_c_library),
        cmocka_unit_test(extremes_fit),
        cmocka_unit_test(durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
