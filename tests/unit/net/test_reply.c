/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: reading a reply's headers (also Retry-After in all its forms) and refusing requests
 *            that cannot be sent safely, before any client sees them.
 * Oracle:    tables written by hand after RFC 9110; a client that counts its calls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"
#include "net/http.h"

#define NOON 1795176000000LL /* Fri, 20 Nov 2026 12:00:00 GMT */

static void with_headers(struct op_http_reply *reply, const char *text)
{
    op_buf_clear(&reply->headers);
    op_buf_addz(&reply->headers, text);
}

static void test_header_get(void **state)
{
    (void)state;
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    assert_int_equal(reply.content_length, -1);
    assert_null(op_http_header_get(&reply, "X").ptr);
    with_headers(&reply, "request-id: req_1\r\nX-Empty:\r\nX-Space: \t two words \t\r\n"
                         "Request-Id: second\r\nX-Colon: a:b\r\nnonsense\r\nX: 1\r\n");
    static const struct {
        const char *name;
        const char *want; /* NULL: absent */
    } rows[] = {
        {"request-id", "req_1"},
        {"REQUEST-ID", "req_1"},
        {"X-Empty", ""},
        {"X-Space", "two words"},
        {"X-Colon", "a:b"},
        {"X", "1"},
        {"X-", NULL},
        {"nonsense", NULL},
        {"absent", NULL},
        {"est-id", NULL},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct op_str got = op_http_header_get(&reply, rows[i].name);
        assert_int_equal(got.ptr != NULL, rows[i].want != NULL);
        assert_true(!rows[i].want || op_str_is(got, rows[i].want));
    }
    op_http_reply_release(&reply);
}

static void test_retry_after(void **state)
{
    (void)state;
    static const char date[] = "Date: Fri, 20 Nov 2026 12:00:00 GMT\r\n";
    static const struct {
        const char *value;
        int64_t want;      /* with the Date header above */
        int64_t want_bare; /* without one, our clock a second later */
    } rows[] = {
        {"0", 0, 0},
        {"1", 1000, 1000},
        {"10", 10000, 10000},
        {" 7 ", 7000, 7000},
        {"1.5", 1500, 1500},
        {"0.25", 250, 250},
        {"0.0009", 0, 0},
        {"2.123999", 2123, 2123},
        {"86400", 86400000, 86400000},
        {"9223372036854775", 9223372036854775000, 9223372036854775000},
        {"9223372036854776", INT64_MAX, INT64_MAX},
        {"99999999999999999999999999", INT64_MAX, INT64_MAX},
        {"Fri, 20 Nov 2026 12:00:30 GMT", 30000, 29000},
        {"Fri, 20 Nov 2026 12:00:00 GMT", 0, -1},
        {"Fri, 20 Nov 2026 11:59:59 GMT", -1, -1},
        {"Sat, 20 Nov 2027 12:00:00 GMT", 31536000000, 31535999000},
        {"-1", -1, -1},
        {"-0.5", -1, -1},
        {"+5", -1, -1},
        {"", -1, -1},
        {".5", -1, -1},
        {"5.", -1, -1},
        {"1e3", -1, -1},
        {"0x10", -1, -1},
        {"inf", -1, -1},
        {"nan", -1, -1},
        {"soon", -1, -1},
        {"1 2", -1, -1},
        {"5s", -1, -1},
        {"1.2.3", -1, -1},
    };
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        with_headers(&reply, date);
        op_buf_addf(&reply.headers, "retry-after:%s\r\n", rows[i].value);
        int64_t got = op_http_retry_after_ms(&reply, 5);
        if (got != rows[i].want)
            fail_msg("'%s' with Date: %lld", rows[i].value, (long long)got);
        with_headers(&reply, "");
        op_buf_addf(&reply.headers, "Retry-After: %s\r\n", rows[i].value);
        got = op_http_retry_after_ms(&reply, NOON + 1000);
        if (got != rows[i].want_bare)
            fail_msg("'%s' without Date: %lld", rows[i].value, (long long)got);
    }
    with_headers(&reply, date);
    assert_int_equal(op_http_retry_after_ms(&reply, NOON), -1);
    assert_true(op_http_date_ms(&reply) == NOON);
    with_headers(&reply, "Date: yesterday\r\n");
    assert_int_equal(op_http_date_ms(&reply), -1);
    with_headers(&reply,
                 "Date: Wed, 31 Dec 1969 23:59:58 GMT\r\n"); /* a clock that is not set */
    assert_int_equal(op_http_date_ms(&reply), -1);
    with_headers(&reply, "");
    assert_int_equal(op_http_date_ms(&reply), -1);
    op_http_reply_release(&reply);
}

struct fake {
    struct op_http base;
    int calls;
};

static enum op_rc fake_perform(struct op_http *http, const struct op_http_request *request,
                               struct op_http_reply *reply, struct op_err *err)
{
    (void)request;
    (void)err;
    ((struct fake *)http)->calls++;
    reply->status = 200;
    return OP_OK;
}

static void fake_close(struct op_http *http)
{
    ((struct fake *)http)->calls = -1;
}

static const struct op_http_ops fake_ops = {"fake", fake_perform, fake_close};

static enum op_rc gate(void *arg, struct op_err *err)
{
    (void)arg;
    (void)err;
    return OP_OK;
}

static int64_t body_fn(void *arg, int64_t offset, void *ptr, size_t room)
{
    (void)arg;
    (void)offset;
    (void)ptr;
    (void)room;
    return -1;
}

static void test_requests(void **state)
{
    (void)state;
    static const struct op_str body = {"{}", 2};
    const struct {
        bool good;
        struct op_http_request request;
    } rows[] = {
        {true, {.method = "GET"}},
        {true, {.method = "DELETE"}},
        {true, {.method = "POST"}},
        {true, {.method = "POST", .body = body}},
        {true, {.method = "POST", .body = body, .body_len = 2}},
        {true, {.method = "POST", .body_fn = body_fn, .body_len = 9}},
        {true, {.method = "POST", .body = body, .gate = gate}},
        {true, {.method = "POST", .body_fn = body_fn, .body_len = 1, .gate = gate}},
        {false, {.method = NULL}},
        {false, {.method = ""}},
        {false, {.method = "get"}},
        {false, {.method = "HEAD"}},
        {false, {.method = "GET\r\nX: y"}},
        {false, {.method = "GET", .body = body}},
        {false, {.method = "POST", .gate = gate}},
        {false, {.method = "POST", .body = body, .body_len = 3}},
        {false, {.method = "POST", .body = body, .body_fn = body_fn, .body_len = 2}},
        {false, {.method = "POST", .body_fn = body_fn}},
        {false, {.method = "POST", .body_fn = body_fn, .body_len = -1}},
    };
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct fake fake = {{&fake_ops}, 0};
        struct op_err err = OP_ERR_INIT;
        struct op_http_request request = rows[i].request;
        request.url = "https://x/";
        reply.status = 500;
        reply.gate_passed = reply.released = true;
        op_buf_addz(&reply.body, "old");
        enum op_rc rc = op_http_perform(&fake.base, &request, &reply, &err);
        assert_int_equal(rc, rows[i].good ? OP_OK : OP_INVAL);
        assert_int_equal(err.rc, rc);
        assert_int_equal(fake.calls, rows[i].good);
        assert_int_equal(reply.status, rows[i].good ? 200 : 0);
        assert_false(reply.gate_passed || reply.released);
        assert_int_equal(reply.body.len, 0);
    }
    op_http_reply_release(&reply);
}

static void test_request_headers(void **state)
{
    (void)state;
    static const struct {
        bool good;
        struct op_http_header header;
    } rows[] = {
        {true, {"x-api-key", "sk-secret"}},
        {true, {"X", ""}},
        {true, {"X", "tab\tand \xc3\xa4"}},
        {false, {"X", "sk-secret\r\nY: z"}},
        {false, {"X", "sk-secret\n"}},
        {false, {"X", "\rsk-secret"}},
        {false, {"", "v"}},
        {false, {"X Y", "v"}},
        {false, {"X:", "v"}},
        {false, {"X\r\nY", "v"}},
        {false, {"\xc3\xa4", "v"}},
        {false, {"content-length", "5"}},
        {false, {"Transfer-Encoding", "chunked"}},
        {false, {"EXPECT", "100-continue"}},
        {false, {"Connection", "close"}},
        {false, {"Accept-Encoding", "gzip"}},
    };
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct fake fake = {{&fake_ops}, 0};
        struct op_err err = OP_ERR_INIT;
        struct op_http_header headers[2] = {{"Accept", "a/b"}, rows[i].header};
        struct op_http_request request = {
            .method = "GET", .url = "https://x/", .headers = headers, .header_count = 2};
        enum op_rc rc = op_http_perform(&fake.base, &request, &reply, &err);
        assert_int_equal(rc, rows[i].good ? OP_OK : OP_INVAL);
        assert_int_equal(fake.calls, rows[i].good);
        assert_null(strstr(err.msg, "sk-secret"));
    }
    op_http_reply_release(&reply);
}

static void test_close(void **state)
{
    (void)state;
    struct fake fake = {{&fake_ops}, 0};
    struct op_http *http = &fake.base;
    op_http_closep(&http);
    assert_null(http);
    assert_int_equal(fake.calls, -1);
    op_http_closep(&http);
    op_http_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_get), cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_requests),   cmocka_unit_test(test_request_headers),
        cmocka_unit_test(test_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
