/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: many calls at a time: each reaches the server once, whatever becomes of its connection;
 *            a call that failed says whether its body may have arrived; connections are used again.
 * Stimulus:  servers that answer, cut, stay silent, refuse; connections that die while idle.
 * Oracle:    the counts of the server in http_fixture.h, taken off its sockets.
 */
#include "http_fixture.h"
#include "net/calls.h"

struct seen {
    int ended, good, ambiguous, retry;
    int status;
    struct op_calls *calls; /* to submit one more from inside the callback */
    const struct op_http_request *again;
    int again_count;
};

static void on_call(void *arg, void *tag, enum op_rc rc, const struct op_http_reply *reply,
                    const struct op_err *err)
{
    struct seen *seen = arg;
    *(int *)tag += 1; /* handed over: once each */
    seen->ended++;
    seen->status = reply->status;
    seen->good += rc == OP_OK;
    assert_int_equal(rc, err->rc);
    assert_null(strstr(err->msg, "hidden"));
    if (rc) {
        assert_int_equal(err->disp == OP_DISP_AMBIGUOUS, reply->released);
        seen->ambiguous += err->disp == OP_DISP_AMBIGUOUS;
        seen->retry += err->disp == OP_DISP_RETRY;
    }
    if (seen->again_count > 0) {
        struct op_err more = OP_ERR_INIT;
        seen->again_count--;
        assert_int_equal(op_calls_submit(seen->calls, seen->again, tag, &more), OP_OK);
    }
}

/* Until so many have ended; the bound is no timing but an end to a test that fails. */
static void collect(struct op_calls *calls, struct seen *seen, int want)
{
    struct op_err err = OP_ERR_INIT;
    for (int turns = 0; seen->ended < want && turns < 2000; turns++)
        assert_int_equal(op_calls_collect(calls, 50, on_call, seen, &err), OP_OK);
    assert_int_equal(seen->ended, want);
}

static struct op_calls *open_calls(size_t most)
{
    struct op_calls *calls = NULL;
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_calls_curl_open(most, &calls, &err), OP_OK);
    return calls;
}

static struct op_http_request post(const struct fixture *f)
{
    return (struct op_http_request){
        .method = "POST", .url = f->url, .body = OP_STR("{\"model\":\"m\"}")};
}

static void submit(struct op_calls *calls, const struct op_http_request *request, int *tag)
{
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_calls_submit(calls, request, tag, &err), OP_OK);
}

static void test_many(void **state)
{
    (void)state;
    static const struct script scripts[] = {{.reply = OK_REPLY}};
    enum { COUNT = 200, AT_ONCE = 16 };
    struct fixture f;
    start(&f, scripts, 1);
    struct op_calls *calls = open_calls(AT_ONCE);
    struct op_http_request request = post(&f);
    int tags[COUNT] = {0};
    struct seen seen = {0};
    for (int i = 0; i < COUNT; i++)
        submit(calls, &request, &tags[i]);
    assert_int_equal(calls->under_way, COUNT);
    /* Nothing goes out before collect: what must be durable first is made so in between. */
    assert_int_equal(f.server.connections, 0);
    collect(calls, &seen, COUNT);
    assert_int_equal(calls->under_way, 0);
    assert_int_equal(seen.good, COUNT);
    assert_int_equal(f.server.bodies, COUNT);
    assert_true(f.server.connections <= AT_ONCE);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(tags[i], 1);
    assert_null(strcasestr(f.server.head, "Expect"));
    op_calls_close(calls);
    stop(&f);
}

static void test_submit_inside_the_callback(void **state)
{
    (void)state;
    static const struct script scripts[] = {{.reply = OK_REPLY}};
    struct fixture f;
    start(&f, scripts, 1);
    struct op_calls *calls = open_calls(2);
    struct op_http_request request = post(&f);
    int tag = 0;
    struct seen seen = {.calls = calls, .again = &request, .again_count = 9};
    submit(calls, &request, &tag);
    collect(calls, &seen, 10);
    assert_int_equal(tag, 10);
    assert_int_equal(f.server.bodies, 10);
    assert_int_equal(f.server.connections, 1);
    op_calls_close(calls);
    stop(&f);
}

/* The first reply leaves the connection open; it dies under the second request, before a byte of an
 * answer. libcurl by itself would send that one again. */
static void test_never_sent_twice(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {.reply = OK_REPLY}, {.close = true}, {.reply = OK_REPLY}};
    struct fixture f;
    start(&f, scripts, 3);
    struct op_calls *calls = open_calls(4);
    struct op_http_request request = post(&f);
    int first = 0, second = 0;
    struct seen seen = {0};
    submit(calls, &request, &first);
    collect(calls, &seen, 1);
    submit(calls, &request, &second);
    collect(calls, &seen, 2);
    assert_int_equal(seen.good, 1);
    assert_int_equal(seen.ambiguous, 1);
    /* libcurl may have connected anew for its repeat; nothing was sent on it. */
    assert_int_equal(f.server.heads, 2);
    assert_int_equal(f.server.bodies, 2);
    op_calls_close(calls);
    stop(&f);
}

static void test_cut_is_ambiguous(void **state)
{
    (void)state;
    static const struct script cut[] = {{.close = true}};
    static const struct script half[] = {
        {.reply = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"id\":", .close = true}};
    static const struct script garbage[] = {{.reply = "nonsense\r\n\r\n", .close = true}};
    const struct script *const all[] = {cut, half, garbage};
    for (size_t i = 0; i < OP_COUNT(all); i++) {
        struct fixture f;
        start(&f, all[i], 1);
        struct op_calls *calls = open_calls(4);
        struct op_http_request request = post(&f);
        int tag = 0;
        struct seen seen = {0};
        submit(calls, &request, &tag);
        collect(calls, &seen, 1);
        assert_int_equal(seen.ambiguous, 1);
        assert_int_equal(f.server.bodies, 1);
        op_calls_close(calls);
        stop(&f);
    }
}

static void test_timeout_is_ambiguous(void **state)
{
    (void)state;
    static const struct script scripts[] = {{.silent = true}};
    struct fixture f;
    start(&f, scripts, 1);
    struct op_calls *calls = open_calls(4);
    struct op_http_request request = post(&f);
    request.timeout_ms = 300;
    int tag = 0;
    struct seen seen = {0};
    submit(calls, &request, &tag);
    collect(calls, &seen, 1);
    assert_int_equal(seen.ambiguous, 1);
    op_calls_close(calls);
    stop(&f);
}

/* Nobody listens: it was provably not sent. */
static void test_refused_connection_is_unsent(void **state)
{
    (void)state;
    static const struct script scripts[] = {{.reply = OK_REPLY}};
    struct fixture f;
    start(&f, scripts, 1);
    stop(&f);
    struct op_calls *calls = open_calls(4);
    struct op_http_request request = post(&f);
    int tag = 0;
    struct seen seen = {0};
    submit(calls, &request, &tag);
    collect(calls, &seen, 1);
    assert_int_equal(seen.retry, 1);
    op_calls_close(calls);
}

static void test_statuses_and_redirects(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {.reply = "HTTP/1.1 429 Too Many\r\nContent-Length: 2\r\nRetry-After: 7\r\n\r\n{}"},
        {.reply = "HTTP/1.1 307 Moved\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"},
        {.reply = "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"}};
    static const int statuses[] = {429, 307, 417};
    struct fixture f;
    start(&f, scripts, 3);
    struct op_calls *calls = open_calls(1);
    struct op_http_request request = post(&f);
    int tag = 0;
    struct seen seen = {0};
    for (int i = 0; i < 3; i++) {
        submit(calls, &request, &tag);
        collect(calls, &seen, i + 1);
        assert_int_equal(seen.status, statuses[i]);
    }
    assert_int_equal(seen.good, 3);
    assert_int_equal(f.server.bodies, 3);
    op_calls_close(calls);
    stop(&f);
}

static void test_refusals(void **state)
{
    (void)state;
    struct op_calls *calls = open_calls(1);
    static const char *const urls[] = {"http://example.com/v1", "ftp://127.0.0.1/",
                                       "http://u:p@127.0.0.1/", ""};
    int tag = 0;
    for (size_t i = 0; i < OP_COUNT(urls); i++) {
        struct op_http_request request = {
            .method = "POST", .url = urls[i], .body = OP_STR("{}")};
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(op_calls_submit(calls, &request, &tag, &err), OP_INVAL);
    }
    assert_int_equal(calls->under_way, 0);
    op_calls_close(calls);
}

/* What is under way when the client is closed is cut off, and says nothing more. */
static void test_close(void **state)
{
    (void)state;
    static const struct script scripts[] = {{.silent = true}};
    struct fixture f;
    start(&f, scripts, 1);
    struct op_calls *calls = open_calls(4);
    struct op_http_request request = post(&f);
    int tag = 0;
    struct seen seen = {0};
    struct op_err err = OP_ERR_INIT;
    submit(calls, &request, &tag);
    for (int i = 0; i < 2000 && f.server.bodies < 1; i++)
        assert_int_equal(op_calls_collect(calls, 5, on_call, &seen, &err), OP_OK);
    op_calls_close(calls);
    assert_int_equal(seen.ended, 0);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OP_TEST(test_many),
        OP_TEST(test_submit_inside_the_callback),
        OP_TEST(test_never_sent_twice),
        OP_TEST(test_cut_is_ambiguous),
        OP_TEST(test_timeout_is_ambiguous),
        OP_TEST(test_refused_connection_is_unsent),
        OP_TEST(test_statuses_and_redirects),
        OP_TEST(test_refusals),
        OP_TEST(test_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
