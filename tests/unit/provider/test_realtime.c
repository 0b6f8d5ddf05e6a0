/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: result lines in our own words, and what headers say of limits.
 * Stimulus:  every class and disposition; header values as the providers' references quote them, and
 *            nonsense.
 * Oracle:    values written by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/json.h"
#include "base/mem.h"
#include "provider/own_line.h"
#include "provider/rate.h"

static enum op_rc read_line(struct op_json_parser *parser, const char *text,
                            struct op_result *ret)
{
    struct op_json root;
    struct op_err err = OP_ERR_INIT;
    struct op_buf scratch;
    op_buf_init(&scratch, 4096);
    assert_int_equal(op_json_parse(parser, text, strlen(text), true, &root, &err), OP_OK);
    enum op_rc rc = op_result_read(op_provider_find("anthropic"), root, &scratch, ret, &err);
    assert_int_equal(rc, err.rc);
    op_buf_release(&scratch);
    return rc;
}

static void test_own_lines(void **state)
{
    (void)state;
    struct op_json_parser *parser = op_json_parser_new();
    static const enum op_result_class classes[] = {OP_RESULT_ERRORED, OP_RESULT_CANCELED,
                                                   OP_RESULT_EXPIRED};
    static const enum op_disp disps[] = {OP_DISP_RETRY, OP_DISP_REJECT, OP_DISP_PAUSE,
                                         OP_DISP_QUOTA};
    for (size_t c = 0; c < OP_COUNT(classes); c++) {
        for (size_t d = 0; d < OP_COUNT(disps); d++) {
            struct op_buf line;
            struct op_result result = {0};
            op_buf_init(&line, 4096);
            op_own_line_write(OP_STR("a-b-1"), classes[c], "unknown", "no \"one\"\nknows",
                              disps[d], &line);
            assert_null(memchr(line.ptr, '\n', line.len));
            assert_int_equal(read_line(parser, line.ptr, &result), OP_OK);
            assert_int_equal(result.class_, classes[c]);
            assert_int_equal(result.disp, disps[d]);
            assert_true(op_str_is(result.custom_id, "a-b-1"));
            assert_true(op_str_is(result.error_type, "unknown"));
            assert_true(op_str_is(result.error_message, "no \"one\"\nknows"));
            assert_false(result.has_usage);
            op_buf_release(&line);
        }
    }
    /* Never an answer, and never nobody's. */
    static const char *const bad[] = {
        "{\"custom_id\":\"x\",\"offpeak\":{\"class\":\"succeeded\"}}",
        "{\"custom_id\":\"x\",\"offpeak\":{}}",
        "{\"offpeak\":{\"class\":\"errored\"}}",
    };
    struct op_result result;
    for (size_t i = 0; i < OP_COUNT(bad); i++)
        assert_int_equal(read_line(parser, bad[i], &result), OP_INVAL);
    /* A disposition that is not known asks for nothing. */
    assert_int_equal(read_line(parser,
                               "{\"custom_id\":\"x\",\"offpeak\":{\"class\":\"errored\","
                               "\"then\":\"buy\"}}",
                               &result),
                     OP_OK);
    assert_int_equal(result.disp, OP_DISP_REJECT);
    /* Everything else is the provider's. */
    assert_int_equal(read_line(parser,
                               "{\"custom_id\":\"x\",\"result\":{\"type\":\"expired\"},"
                               "\"offpeak\":1}",
                               &result),
                     OP_OK);
    assert_int_equal(result.class_, OP_RESULT_EXPIRED);
    op_json_parser_free(parser);
}

static struct op_rate rate_of(const char *headers)
{
    struct op_http_reply reply;
    struct op_rate rate;
    op_http_reply_init(&reply);
    op_buf_addz(&reply.headers, headers);
    op_rate_read(&reply, 1000000, &rate);
    op_http_reply_release(&reply);
    return rate;
}

static void test_rates(void **state)
{
    (void)state;
    struct op_rate r =
        rate_of("Date: Fri, 20 Nov 2026 10:00:00 GMT\r\n"
                "anthropic-ratelimit-requests-limit: 50\r\n"
                "Anthropic-Ratelimit-Requests-Remaining: 3\r\n"
                "anthropic-ratelimit-requests-reset: 2026-11-20T10:00:12Z\r\n"
                "anthropic-ratelimit-tokens-remaining: 9\r\n"
                "anthropic-ratelimit-tokens-reset: 2026-11-20T10:01:00Z\r\n"
                "anthropic-ratelimit-input-tokens-remaining: 700\r\n"
                "anthropic-ratelimit-input-tokens-reset: 2026-11-20T10:00:30Z\r\n");
    assert_int_equal(r.requests_left, 3);
    assert_int_equal(r.requests_reset_ms, 12000);
    assert_int_equal(r.tokens_left, 700);
    assert_int_equal(r.tokens_reset_ms, 30000);
    static const struct {
        const char *text;
        int64_t ms;
    } durations[] = {
        {"1s", 1000},    {"6m0s", 360000},    {"21ms", 21}, {"2s81ms", 2081},
        {"7.66s", 7660}, {"1h2m3s", 3723000}, {"0s", 0},    {"12", 12000},
        {"", -1},        {"soon", -1},        {"1x", -1},   {"-1s", -1},
        {"900000h", -1}, {"1.2.3s", -1},      {"s", -1},
    };
    for (size_t i = 0; i < OP_COUNT(durations); i++) {
        char headers[200];
        snprintf(headers, sizeof(headers),
                 "x-ratelimit-remaining-requests: 5\r\nx-ratelimit-reset-requests: %s\r\n",
                 durations[i].text);
        r = rate_of(headers);
        assert_int_equal(r.requests_reset_ms, durations[i].ms);
        assert_int_equal(r.requests_left, durations[i].ms < 0 ? -1 : 5);
        assert_int_equal(r.tokens_left, -1);
    }
    /* A count without a time, or no count, says nothing. */
    assert_int_equal(rate_of("x-ratelimit-remaining-tokens: 5\r\n").tokens_left, -1);
    assert_int_equal(rate_of("x-ratelimit-remaining-tokens: -5\r\n"
                             "x-ratelimit-reset-tokens: 1s\r\n")
                         .tokens_left,
                     -1);
    assert_int_equal(rate_of("").requests_left, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_lines),
        cmocka_unit_test(test_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
