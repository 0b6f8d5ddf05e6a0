/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the libcurl client beside the gate: connections are reused, replies arrive whole or not
 *            at all and within bounds, a wish to stop is heard, and what must not be asked is not.
 * Oracle:    the scripted server of http_fixture.h and its counts.
 */
#include "http_fixture.h"

/* ---- replies ---- */

static void test_plain_reuse(void **state)
{
    (void)state;
    static const struct script scripts[] = {{.reply = OK_REPLY}};
    struct fixture f;
    start(&f, scripts, 1);
    static const char *const methods[] = {"GET", "POST", "DELETE", "GET"};
    for (size_t i = 0; i < OP_COUNT(methods); i++) {
        struct op_http_request request = {.method = methods[i], .url = f.url};
        assert_int_equal(perform(&f, &request), OP_OK);
        assert_int_equal(f.reply.status, 200);
        assert_int_equal(f.reply.content_length, 2);
        assert_true(op_str_is(op_http_header_get(&f.reply, "request-id"), "req_1"));
        assert_null(op_http_header_get(&f.reply, "HTTP/1.1 200 OK").ptr);
        assert_int_equal(strncmp(f.server.head, methods[i], strlen(methods[i])), 0);
        assert_non_null(strstr(f.server.head, "\r\nUser-Agent: offpeak/"));
    }
    assert_int_equal(f.server.connections, 1);
    assert_int_equal(f.server.heads, 4);
    /* Gated ones neither take that connection nor leave theirs. */
    for (int i = 0; i < 3; i++) {
        struct op_http_request request = gated(&f, 100);
        assert_int_equal(perform(&f, &request), OP_OK);
        assert_int_equal(f.server.connections, 2 + i);
        assert_true(server_reached(&f.server, &f.server.closed, 1 + i));
    }
    stop(&f);
}

static void test_reply_cap(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        size_t len;
        bool fits;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n", OP_HTTP_REPLY_MAX, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 4194305\r\n\r\n", OP_HTTP_REPLY_MAX + 1, false},
        {"HTTP/1.1 500 No\r\nConnection: close\r\n\r\n", OP_HTTP_REPLY_MAX, true},
        {"HTTP/1.1 500 No\r\nConnection: close\r\n\r\n", 9000000, false},
    };
    for (size_t i = 0; i < OP_COUNT(rows) * 2; i++) {
        struct script scripts[] = {
            {.reply = rows[i / 2].reply, .body_len = rows[i / 2].len, .close = true}};
        bool is_gated = i % 2;
        struct fixture f;
        start(&f, scripts, 1);
        struct op_http_request request = is_gated ? gated(&f, 10) : get_request(&f);
        assert_int_equal(perform(&f, &request), rows[i / 2].fits ? OP_OK : OP_REMOTE);
        assert_int_equal(f.reply.released, is_gated);
        assert_true(f.reply.body.len <= OP_HTTP_REPLY_MAX);
        if (rows[i / 2].fits)
            assert_int_equal(f.reply.body.len, rows[i / 2].len);
        else
            assert_int_equal(f.err.disp, is_gated ? OP_DISP_AMBIGUOUS : OP_DISP_RETRY);
        stop(&f);
    }
}

static void test_endless_headers(void **state)
{
    (void)state;
    struct op_buf text;
    op_buf_init(&text, 1 << 20);
    op_buf_addz(&text, "HTTP/1.1 200 OK\r\n");
    while (text.len < 290000)
        op_buf_addz(&text, "X-Filler: 0123456789012345678901234567890123456789\r\n");
    op_buf_addz(&text, "Content-Length: 0\r\n\r\n");
    struct script scripts[] = {{.reply = text.ptr, .close = true}};
    struct fixture f;
    start(&f, scripts, 1);
    struct op_http_request request = get_request(&f);
    assert_int_equal(perform(&f, &request), OP_REMOTE);
    stop(&f);
    op_buf_release(&text);
}

static void test_sink(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        size_t len;
        int status;
        bool to_sink;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n", 9000000, 200, true},
        {"HTTP/1.1 206 Partial\r\nContent-Length: 70000\r\n\r\n", 70000, 206, true},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", 9000000, 200, true},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 70000\r\n\r\n", 70000, 404, false},
        {"HTTP/1.1 416 Range\r\nContent-Length: 10\r\n\r\n", 10, 416, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, 200, true},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct script scripts[] = {
            {.reply = rows[i].reply, .body_len = rows[i].len, .close = true}};
        struct fixture f;
        start(&f, scripts, 1);
        struct op_http_request request = get_request(&f);
        request.sink = on_sink;
        request.sink_arg = &f;
        assert_int_equal(perform(&f, &request), OP_OK);
        assert_int_equal(f.reply.status, rows[i].status);
        assert_int_equal(f.sunk, rows[i].to_sink ? rows[i].len : 0);
        assert_int_equal(f.reply.body.len, rows[i].to_sink ? 0 : rows[i].len);
        /* It streams: no piece is larger than libcurl's buffer. */
        assert_true(f.sunk <= (int64_t)f.sink_calls * 512 * 1024);
        stop(&f);
    }
}

static void test_sink_fails(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {.reply = "HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n", .body_len = 9000000}};
    struct fixture f;
    start(&f, scripts, 1);
    struct op_http_request request = get_request(&f);
    request.sink = on_sink;
    request.sink_arg = &f;
    f.sink_fails_at = 1000000;
    assert_int_equal(perform(&f, &request), OP_IO);
    assert_string_equal(f.err.msg, "the disk is full");
    assert_int_equal(f.reply.status, 200);
    assert_in_range(f.sunk, 1000000, 1000000 + 512 * 1024);
    stop(&f);
}

static void test_cut_replies(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        int status;
    } rows[] = {
        {"", 0},
        {"HTTP/1.1", 0},
        {"HTTP/1.1 200 OK\r\n", 200},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", 200},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", 200},
        {"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\n{}", 500},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", 200},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}", 200},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 200},
        {"HTTP/1.1 100 Continue\r\n\r\n", 0},
        {"<html>busy</html>", 0},
    };
    for (size_t i = 0; i < OP_COUNT(rows) * 3; i++) {
        struct script scripts[] = {{.reply = rows[i / 3].reply, .close = true}};
        struct fixture f;
        start(&f, scripts, 1);
        bool is_gated = i % 3 == 0;
        struct op_http_request request = is_gated ? gated(&f, 10) : get_request(&f);
        if (i % 3 == 1) {
            request.sink = on_sink;
            request.sink_arg = &f;
        }
        if (perform(&f, &request) != OP_REMOTE)
            fail_msg("a cut reply was taken as whole: %s", rows[i / 3].reply);
        assert_int_equal(f.reply.status, rows[i / 3].status);
        assert_int_equal(f.err.disp, is_gated ? OP_DISP_AMBIGUOUS : OP_DISP_RETRY);
        assert_true(f.err.native != 0);
        assert_int_equal(f.server.heads, 1);
        stop(&f);
    }
}

static void test_chunked_and_trailers(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {.reply = "HTTP/1.1 103 Hints\r\nX-Which: interim\r\n\r\n"
                  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Which: final\r\n\r\n"
                  "2\r\n{}\r\n0\r\nX-Trailer: 1\r\n\r\n"},
        {.reply = NO_CONTENT},
    };
    struct fixture f;
    start(&f, scripts, 2);
    struct op_http_request request = get_request(&f);
    assert_int_equal(perform(&f, &request), OP_OK);
    assert_true(op_str_is(op_buf_str(&f.reply.body), "{}"));
    assert_true(op_str_is(op_http_header_get(&f.reply, "X-Which"), "final"));
    assert_null(op_http_header_get(&f.reply, "X-Trailer").ptr);
    assert_int_equal(f.reply.content_length, -1);
    /* The reply object serves again and keeps nothing. */
    assert_int_equal(perform(&f, &request), OP_OK);
    assert_int_equal(f.reply.status, 204);
    assert_int_equal(f.reply.body.len, 0);
    assert_null(op_http_header_get(&f.reply, "X-Which").ptr);
    stop(&f);
}

/* ---- stopping and refusing ---- */

static void test_stop(void **state)
{
    (void)state;
    static const struct script silent[] = {{.silent = true}};
    struct fixture f;
    start(&f, silent, 1);
    f.stop_after_heads = 1;
    struct op_http_request request = get_request(&f);
    assert_int_equal(perform(&f, &request), OP_STOPPED);
    stop(&f);

    /* Before its gate a create stops like anything else. */
    static const struct script deaf[] = {{.when = AFTER_HEAD, .reply = "", .deaf = true}};
    start(&f, deaf, 1);
    f.stop_after_heads = 1;
    request = gated(&f, 40000000);
    assert_int_equal(perform(&f, &request), OP_STOPPED);
    assert_int_equal(f.gate_calls, 0);
    assert_false(f.reply.released);
    stop(&f);

    /* Behind it, never. */
    static const struct script good[] = {{.reply = OK_REPLY}};
    start(&f, good, 1);
    f.stop_at_gate = true;
    request = gated(&f, 100000);
    assert_int_equal(perform(&f, &request), OP_OK);
    assert_true(f.stop && f.reply.released);
    assert_int_equal(f.reply.status, 200);
    stop(&f);
}

static void test_timeout(void **state)
{
    (void)state;
    static const struct script silent[] = {{.silent = true}};
    struct fixture f;
    start(&f, silent, 1);
    struct op_http_request request = get_request(&f);
    request.timeout_ms = 50;
    assert_int_equal(perform(&f, &request), OP_REMOTE);
    assert_int_equal(f.err.native, CURLE_OPERATION_TIMEDOUT);
    stop(&f);
}

static void test_refused_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        enum op_rc rc;
    } rows[] = {
        {"", OP_INVAL},
        {"nonsense://", OP_INVAL},
        {"http://example.invalid/", OP_INVAL},
        {"http://10.0.0.1/", OP_INVAL},
        {"http://127.0.0.1.example.invalid/", OP_INVAL},
        {"http://[::2]/", OP_INVAL},
        {"ftp://127.0.0.1/", OP_INVAL},
        {"file:///etc/hostname", OP_INVAL},
        {"https://user:word@127.0.0.1/", OP_INVAL},
        {"https://127.0.0.1 /", OP_INVAL},
        {"http://127.0.0.1:1\r\n/", OP_INVAL},
        {"https://169.254.169.254/latest/meta-data", OP_REMOTE},
        {"https://0.0.0.0/", OP_REMOTE},
        {"https://224.0.0.1/", OP_REMOTE},
        {"https://[fe80::1]/", OP_REMOTE},
        {"https://[::ffff:169.254.169.254]/", OP_REMOTE},
        {"https://[::ffff:127.0.0.1]/", OP_REMOTE},
    };
    static const struct script scripts[] = {{.reply = OK_REPLY}};
    struct fixture f;
    start(&f, scripts, 1);
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct op_http_request request = {.method = "GET", .url = rows[i].url};
        enum op_rc rc = perform(&f, &request);
        if (rc != rows[i].rc)
            fail_msg("%s: %d %s", rows[i].url, rc, f.err.msg);
        assert_null(strstr(f.err.msg, "word"));
        if (rc == OP_REMOTE) {
            assert_int_equal(f.err.disp, OP_DISP_PAUSE);
            assert_non_null(strstr(f.err.msg, "nothing was sent"));
        }
    }
    assert_int_equal(f.server.connections, 0);
    /* https to something that speaks no TLS: an error, and no request in the clear. */
    char url[64];
    snprintf(url, sizeof(url), "https://127.0.0.1:%d/", f.server.port);
    struct op_http_request request = gated(&f, 100);
    request.url = url;
    request.timeout_ms = 300;
    assert_int_equal(perform(&f, &request), OP_REMOTE);
    assert_int_equal(f.gate_calls, 0);
    assert_int_equal(f.server.heads, 0);
    stop(&f);
}

/* A proxy of the environment is not the operator's wish; this machine is never proxied. */
static void test_proxy(void **state)
{
    (void)state;
    static const struct script scripts[] = {{.reply = OK_REPLY}};
    static const char *const names[] = {"http_proxy", "https_proxy", "all_proxy", "ALL_PROXY",
                                        "OFFPEAK_PROXY"};
    for (size_t i = 0; i < OP_COUNT(names); i++)
        setenv(names[i], "http://127.0.0.1:1/", 1);
    struct fixture f;
    start(&f, scripts, 1);
    struct op_http_request request = get_request(&f);
    assert_int_equal(perform(&f, &request), OP_OK);
    stop(&f);
    /* Another machine is asked through OFFPEAK_PROXY, which may be here. */
    start(&f, scripts, 1);
    char proxy[64];
    snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", f.server.port);
    setenv("OFFPEAK_PROXY", proxy, 1);
    struct op_http *http = NULL;
    assert_int_equal(op_http_curl_open(op_env_default(), NULL, NULL, &http, &f.err), OP_OK);
    request.url = "https://api.example.invalid/v1";
    request.timeout_ms = 2000;
    assert_int_equal(op_http_perform(http, &request, &f.reply, &f.err), OP_REMOTE);
    assert_non_null(strstr(f.server.head, "CONNECT api.example.invalid:443 "));
    assert_int_equal(f.reply.headers.len, 0); /* not the proxy's */
    assert_int_equal(f.reply.status, 0);
    op_http_close(http);
    for (size_t i = 0; i < OP_COUNT(names); i++)
        unsetenv(names[i]);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(test_plain_reuse),
        OP_TEST(test_reply_cap),
        OP_TEST(test_endless_headers),
        OP_TEST(test_sink),
        OP_TEST(test_sink_fails),
        OP_TEST(test_cut_replies),
        OP_TEST(test_chunked_and_trailers),
        OP_TEST(test_stop),
        OP_TEST(test_timeout),
        OP_TEST(test_refused_urls),
        OP_TEST(test_proxy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
