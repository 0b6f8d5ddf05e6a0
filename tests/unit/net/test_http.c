/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the gate of the libcurl client: what a gated request has put on the wire when its gate
 *            runs, and that it is put there once, whatever the server does.
 * Oracle:    the counts of the server in http_fixture.h, taken off its sockets.
 */
#include "http_fixture.h"

static const int64_t sizes[] = {1,      2,      3,       1023,    1024,    1025,
                                16383,  16384,  16385,   65536,   524287,  524288,
                                524289, 524290, 1048576, 1048577, 3000001, 40000000};

/* ---- the gate ---- */

static void test_gate_order(void **state)
{
    (void)state;
    static const struct script scripts[] = {{.reply = OK_REPLY}};
    for (size_t i = 0; i < OP_COUNT(sizes); i++) {
        struct fixture f;
        start(&f, scripts, 1);
        struct op_http_request request = gated(&f, sizes[i]);
        assert_int_equal(perform(&f, &request), OP_OK);
        assert_int_equal(f.gate_calls, 1);
        /* Everything but the last byte was there, and the request was not whole. */
        assert_int_equal(f.at_gate, sizes[i] - 1);
        assert_int_equal(f.bodies_at_gate, 0);
        assert_int_equal(f.server.body, sizes[i]);
        assert_int_equal(f.server.bodies, 1);
        assert_int_equal(f.server.connections, 1);
        assert_true(f.reply.gate_passed && f.reply.released);
        assert_int_equal(f.reply.status, 200);
        assert_true(op_str_is(op_buf_str(&f.reply.body), "{}"));
        assert_true(f.largest_read <= 512 * 1024);
        assert_null(strcasestr(f.server.head, "Expect"));
        assert_null(strcasestr(f.server.head, "gzip"));
        assert_null(strcasestr(f.server.head, "Transfer-Encoding"));
        assert_null(strcasestr(f.server.head, "Content-Type"));
        stop(&f);
    }
}

static void test_gate_in_memory(void **state)
{
    (void)state;
    static const struct script scripts[] = {{.reply = OK_REPLY}};
    static const char text[] = "{\"requests\":[]}";
    for (size_t len = 1; len < sizeof(text); len++) {
        struct fixture f;
        start(&f, scripts, 1);
        f.want = (int64_t)len - 1;
        struct op_http_header headers[] = {{"Content-Type", "application/json"},
                                           {"X-Empty", ""}};
        struct op_http_request request = {.method = "POST",
                                          .url = f.url,
                                          .body = {text, len},
                                          .headers = headers,
                                          .header_count = 2,
                                          .gate = on_gate,
                                          .gate_arg = &f};
        assert_int_equal(perform(&f, &request), OP_OK);
        assert_int_equal(f.at_gate, len - 1);
        assert_int_equal(f.server.body, len);
        assert_true(f.reply.released);
        assert_non_null(strstr(f.server.head, "\r\nContent-Type: application/json\r\n"));
        assert_non_null(strstr(f.server.head, "\r\nX-Empty:\r\n"));
        assert_non_null(strstr(f.server.head, "POST /v1/batches?key=hidden HTTP/1.1\r\n"));
        stop(&f);
    }
}

static void test_gate_refuses(void **state)
{
    (void)state;
    static const struct script scripts[] = {{.reply = OK_REPLY}};
    for (size_t i = 0; i < OP_COUNT(sizes); i++) {
        struct fixture f;
        start(&f, scripts, 1);
        f.gate_rc = OP_CONFLICT;
        struct op_http_request request = gated(&f, sizes[i]);
        assert_int_equal(perform(&f, &request), OP_CONFLICT);
        assert_string_equal(f.err.msg, "the ledger is full");
        assert_int_equal(f.gate_calls, 1);
        assert_false(f.reply.gate_passed || f.reply.released);
        assert_int_equal(f.reply.status, 0);
        /* The connection is over, and the last byte never came. */
        assert_true(server_reached(&f.server, &f.server.closed, 1));
        assert_int_equal(f.server.body, sizes[i] - 1);
        assert_int_equal(f.server.bodies, 0);
        assert_int_equal(f.server.connections, 1);
        stop(&f);
    }
}

static void test_body_fails(void **state)
{
    (void)state;
    static const struct script scripts[] = {{.reply = OK_REPLY}};
    static const int64_t at[] = {0, 1, 600000};
    for (size_t i = 0; i < OP_COUNT(at); i++) {
        struct fixture f;
        start(&f, scripts, 1);
        struct op_http_request request = gated(&f, 2000000);
        f.body_fails_at = at[i];
        assert_int_equal(perform(&f, &request), OP_IO);
        assert_int_equal(f.gate_calls, 0);
        assert_false(f.reply.released);
        assert_true(server_reached(&f.server, &f.server.closed, 1));
        assert_int_equal(f.server.bodies, 0);
        stop(&f);
    }
}

/* Answered before the last byte: no intent may be recorded for what cannot have been bought. */
static void test_early_answer(void **state)
{
    (void)state;
#define DENIED "HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\n\r\ndenied"
    static const struct {
        struct script script;
        int64_t len;
        enum op_rc rc;
        int status;
    } rows[] = {
        {{.when = AT_CONNECT, .reply = DENIED}, 2, OP_OK, 401},
        {{.when = AT_CONNECT, .reply = DENIED}, 3000000, OP_OK, 401},
        {{.when = AT_CONNECT, .reply = DENIED, .close = true}, 2, OP_OK, 401},
        {{.when = AFTER_HEAD, .reply = DENIED, .deaf = true}, 40000000, OP_OK, 401},
        {{.when = AFTER_HEAD, .reply = DENIED}, 2, OP_OK, 401},
        {{.when = AT_CONNECT, .reply = "HTTP/1.1 503 Busy\r\nContent-Length: 6\r\n\r\ndenied"},
         2,
         OP_OK,
         503},
        {{.when = AT_CONNECT, .reply = OK_REPLY}, 2, OP_REMOTE, 200},
        {{.when = AT_CONNECT, .reply = OK_REPLY}, 3000000, OP_REMOTE, 200},
        {{.when = AFTER_HEAD, .reply = OK_REPLY}, 2, OP_REMOTE, 200},
        {{.when = AT_CONNECT,
          .reply = "HTTP/1.1 307 Go\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"},
         2,
         OP_REMOTE,
         307},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct fixture f;
        start(&f, &rows[i].script, 1);
        struct op_http_request request = gated(&f, rows[i].len);
        f.wait_for_reply = true; /* the first byte goes when the answer is under way */
        assert_int_equal(perform(&f, &request), rows[i].rc);
        assert_int_equal(f.gate_calls, 0);
        assert_false(f.reply.gate_passed || f.reply.released);
        assert_int_equal(f.reply.status, rows[i].status);
        if (rows[i].rc == OP_OK)
            assert_true(op_str_is(op_buf_str(&f.reply.body), "denied"));
        else
            assert_int_equal(f.err.disp, OP_DISP_RETRY);
        assert_int_equal(f.server.bodies, 0);
        assert_int_equal(f.server.connections, 1);
        stop(&f);
    }
}

/* 100 Continue and 103 are no answers. */
static void test_interim_answers(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {.when = AT_CONNECT,
         .reply = "HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n"
                  "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"},
    };
    struct fixture f;
    start(&f, scripts, 1);
    struct op_http_request request = gated(&f, 5000);
    request.timeout_ms = 1000;
    f.wait_for_reply = true;
    /* The script has no final reply: the exchange ends by its timeout, behind the gate. */
    assert_int_equal(perform(&f, &request), OP_REMOTE);
    assert_int_equal(f.err.native, CURLE_OPERATION_TIMEDOUT);
    assert_int_equal(f.err.disp, OP_DISP_AMBIGUOUS);
    assert_int_equal(f.gate_calls, 1);
    assert_true(f.reply.gate_passed && f.reply.released);
    assert_int_equal(f.reply.status, 0);
    assert_int_equal(f.reply.headers.len, 0);
    assert_int_equal(f.server.bodies, 1);
    stop(&f);
}

/* The account of a server that took the request and died: one POST, whatever came before. */
static void test_dropped_after_request(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {.reply = OK_REPLY}, /* leaves a connection that could be reused */
        {.close = true},     /* the create: read to the last byte, no answer */
        {.reply = OK_REPLY}, /* what a second send would meet */
    };
    static const int64_t lens[] = {1, 2, 5000, 3000000};
    for (size_t i = 0; i < OP_COUNT(lens); i++) {
        struct fixture f;
        start(&f, scripts, 3);
        struct op_http_request first = get_request(&f);
        assert_int_equal(perform(&f, &first), OP_OK);
        struct op_http_request request = gated(&f, lens[i]);
        assert_int_equal(perform(&f, &request), OP_REMOTE);
        assert_int_equal(f.err.disp, OP_DISP_AMBIGUOUS);
        assert_int_equal(f.gate_calls, 1);
        assert_true(f.reply.gate_passed && f.reply.released);
        assert_int_equal(f.reply.status, 0);
        assert_int_equal(f.server.heads, 2);       /* the GET and one POST */
        assert_int_equal(f.server.connections, 2); /* and not on the GET's connection */
        /* The pooled connection is still good for plain exchanges. */
        assert_int_equal(perform(&f, &first), OP_OK);
        assert_int_equal(f.server.connections, 2);
        stop(&f);
    }
}

/* The hazard itself: the same server and a plain POST on the reused connection. libcurl sends it
 * again by itself, which a plain exchange may; this test shows that the one before it is real. */
static void test_plain_post_is_repeated(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {.reply = OK_REPLY}, {.close = true}, {.reply = OK_REPLY}};
    struct fixture f;
    start(&f, scripts, 3);
    struct op_http_request first = get_request(&f);
    assert_int_equal(perform(&f, &first), OP_OK);
    struct op_http_request request = gated(&f, 5000);
    request.gate = NULL;
    assert_int_equal(perform(&f, &request), OP_OK);
    assert_int_equal(f.server.heads, 3);
    assert_int_equal(f.server.body, 5000);
    assert_false(f.reply.released || f.reply.gate_passed);
    stop(&f);
}

/* A server that is gone before the gate: nothing bought, so nothing to reconcile. */
static void test_dropped_before_gate(void **state)
{
    (void)state;
    static const struct script scripts[] = {{.when = AFTER_HEAD, .reply = "", .deaf = true}};
    struct fixture f;
    start(&f, scripts, 1);
    struct op_http_request request = gated(&f, 40000000);
    request.timeout_ms = 300;
    assert_int_equal(perform(&f, &request), OP_REMOTE);
    assert_int_equal(f.err.disp, OP_DISP_RETRY);
    assert_int_equal(f.gate_calls, 0);
    assert_false(f.reply.released);
    stop(&f);

    start(&f, scripts, 1);
    server_stop(&f.server);
    request = gated(&f, 10);
    assert_int_equal(op_http_perform(f.http, &request, &f.reply, &f.err), OP_REMOTE);
    assert_int_equal(f.err.native, CURLE_COULDNT_CONNECT);
    assert_int_equal(f.err.disp, OP_DISP_RETRY);
    assert_int_equal(f.gate_calls, 0);
    op_http_close(f.http);
    op_http_reply_release(&f.reply);
}

static void test_answers_are_final(void **state)
{
    (void)state;
    /* 417 makes a client that sent Expect repeat the request; a redirect makes one follow; 401 and
     * 407 make one authenticate. Here each is simply the answer. */
    static const struct {
        int status;
        const char *reply;
    } rows[] = {
        {417, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"},
        {301, "HTTP/1.1 301 Moved\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"},
        {302, "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"},
        {303, "HTTP/1.1 303 See Other\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"},
        {307, "HTTP/1.1 307 Go\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"},
        {308, "HTTP/1.1 308 Go\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"},
        {401, "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"},
        {407, "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"},
        {408, "HTTP/1.1 408 Slow\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
        {425, "HTTP/1.1 425 Early\r\nContent-Length: 0\r\n\r\n"},
        {429, "HTTP/1.1 429 Slow down\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"},
        {503, "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"},
        {529, "HTTP/1.1 529 Overloaded\r\nContent-Length: 0\r\n\r\n"},
    };
    static const int64_t lens[] = {2, 2000000};
    for (size_t i = 0; i < OP_COUNT(rows) * 2; i++) {
        struct script scripts[] = {{.reply = rows[i / 2].reply, .close = true}};
        struct fixture f;
        start(&f, scripts, 1);
        struct op_http_request request = gated(&f, lens[i % 2]);
        assert_int_equal(perform(&f, &request), OP_OK);
        assert_int_equal(f.reply.status, rows[i / 2].status);
        assert_true(f.reply.released);
        assert_int_equal(f.reply.content_length, 0);
        assert_int_equal(f.server.heads, 1);
        assert_int_equal(f.server.connections, 1);
        assert_int_equal(op_http_header_get(&f.reply, "Location").ptr != NULL,
                         rows[i / 2].status < 400);
        request = get_request(&f);
        assert_int_equal(perform(&f, &request), OP_OK);
        assert_int_equal(f.reply.status, rows[i / 2].status);
        assert_int_equal(f.server.heads, 2);
        stop(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(test_gate_order),
        OP_TEST(test_gate_in_memory),
        OP_TEST(test_gate_refuses),
        OP_TEST(test_body_fails),
        OP_TEST(test_early_answer),
        OP_TEST(test_interim_answers),
        OP_TEST(test_dropped_after_request),
        OP_TEST(test_plain_post_is_repeated),
        OP_TEST(test_dropped_before_gate),
        OP_TEST(test_answers_are_final),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
