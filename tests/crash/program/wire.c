/* SPDX-License-Identifier: MIT */
#include "wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "net/calls.h"
#include "net/http.h"
#include "raw.h"
#include "world.h"

/* Numbers of libcurl, in err->native. */
enum {
    CURL_RESOLVE = 6,
    CURL_CONNECT = 7,
    CURL_PARTIAL = 18,
    CURL_TIMEDOUT = 28,
    CURL_TLS = 35,
    CURL_NOTHING = 52,
    CURL_RECV = 56
};

#define TRIP_US    (20 * 1000)
#define TIMEOUT_US (15 * 60 * 1000000LL)

void wire_send(int fd, const void *ptr, size_t len)
{
    const char *at = ptr;
    while (len > 0) {
        ssize_t n = raw_write(fd, at, len);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            raw_exit(98);
        at += n;
        len -= (size_t)n;
    }
}

bool wire_receive(int fd, void *ptr, size_t len)
{
    char *at = ptr;
    while (len > 0) {
        ssize_t n = RAW(SYS_read, fd, at, len);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

void wire_compete(int64_t arg)
{
    struct wire_head head = {.message = WIRE_COMPETE, .arg = (int32_t)arg};
    struct wire_answer answer;
    wire_send(world_harness_fd(), &head, sizeof(head));
    if (!wire_receive(world_harness_fd(), &answer, sizeof(answer)))
        raw_exit(98);
}

struct exchange {
    const struct op_http_request *request;
    struct op_http_reply *reply;
    struct op_err *err;
    bool is_call;       /* one of many: no gate, and all the same it buys something */
    struct op_buf body; /* of the request */
    struct wire_answer answer;
    char *head, *content; /* of the reply */
};

static enum op_rc broken(struct exchange *x, int code, const char *what)
{
    enum op_disp disp = x->reply->released ? OP_DISP_AMBIGUOUS : OP_DISP_RETRY;
    if (code == CURL_TIMEDOUT)
        world->now_us += TIMEOUT_US;
    (void)op_fail_as(x->err, OP_REMOTE, disp, "%s: %s", x->request->method, what);
    x->err->native = code;
    return OP_REMOTE;
}

static enum op_rc gather_body(struct exchange *x)
{
    const struct op_http_request *request = x->request;
    op_buf_init(&x->body, (size_t)1 << 30);
    if (!request->body_fn) {
        op_buf_add_str(&x->body, request->body);
        return OP_OK;
    }
    op_buf_grow(&x->body, (size_t)request->body_len);
    for (int64_t at = 0; at < request->body_len;) {
        int64_t n = request->body_fn(request->body_arg, at, x->body.ptr + at,
                                     (size_t)(request->body_len - at));
        if (n <= 0)
            return op_fail(x->err, OP_IO, "the body of a request could not be read");
        at += n;
    }
    x->body.len = (size_t)request->body_len;
    return OP_OK;
}

static enum op_rc connect_(struct exchange *x)
{
    switch ((int)world_point(POINT_CONNECT, x->request->method, (int64_t)x->body.len)) {
    case FAIL_REFUSED:
        return broken(x, CURL_CONNECT, "connection refused");
    case FAIL_RESOLVE:
        return broken(x, CURL_RESOLVE, "could not resolve host");
    case FAIL_TLS:
        return broken(x, CURL_TLS, "TLS handshake failed");
    default:
        return OP_OK;
    }
}

static void answer_with(struct exchange *x, int status, const char *type, const char *body)
{
    op_mem_free(x->content);
    op_mem_free(x->head);
    x->head = op_mem_printf("content-type: %s\r\n", type);
    x->content = op_mem_strdup(body);
    x->answer = (struct wire_answer){.status = status,
                                     .head_size = (int64_t)strlen(x->head),
                                     .body_size = (int64_t)strlen(body),
                                     .announced = (int64_t)strlen(body)};
}

/* What the gate holds is the last byte: before it nothing can be bought, and the harness's side has
 * seen nothing. */
static enum op_rc pass_gate(struct exchange *x, bool *ret_early)
{
    if (!x->request->gate)
        return OP_OK;
    *ret_early = true;
    switch ((int)world_point(POINT_BODY, x->request->method, (int64_t)x->body.len)) {
    case FAIL_CUT:
        return broken(x, CURL_RECV, "connection reset while sending");
    case FAIL_TIMEOUT:
        return broken(x, CURL_TIMEDOUT, "timed out while sending");
    case FAIL_EARLY_503:
        answer_with(x, 503, "text/html", "<html>unavailable</html>");
        return OP_OK;
    case FAIL_EARLY_429:
        answer_with(x, 429, "text/plain", "slow down");
        return OP_OK;
    default:
        *ret_early = false;
    }
    enum op_rc rc = x->request->gate(x->request->gate_arg, x->err);
    if (rc)
        return rc;
    x->reply->gate_passed = true;
    x->reply->released = true;
    return OP_OK;
}

static void ask(struct exchange *x)
{
    struct op_buf text = {0};
    op_buf_init(&text, (size_t)1 << 30);
    op_buf_addz(&text, x->request->method);
    op_buf_addc(&text, '\0');
    op_buf_addz(&text, x->request->url);
    op_buf_addc(&text, '\0');
    for (size_t i = 0; i < x->request->header_count; i++)
        op_buf_addf(&text, "%s: %s\n", x->request->headers[i].name,
                    x->request->headers[i].value);
    op_buf_addc(&text, '\0');
    op_buf_add(&text, x->body.ptr, x->body.len);
    struct wire_head head = {.message = WIRE_HTTP, .size = (int64_t)text.len};
    int fd = world_harness_fd();
    wire_send(fd, &head, sizeof(head));
    wire_send(fd, text.ptr, text.len);
    op_buf_release(&text);
    if (!wire_receive(fd, &x->answer, sizeof(x->answer)))
        raw_exit(98);
    x->head = op_mem_alloc((size_t)x->answer.head_size + 1);
    x->content = op_mem_alloc((size_t)x->answer.body_size + 1);
    if (!wire_receive(fd, x->head, (size_t)x->answer.head_size) ||
        !wire_receive(fd, x->content, (size_t)x->answer.body_size))
        raw_exit(98);
}

static enum op_rc take_answer(struct exchange *x)
{
    struct op_http_reply *reply = x->reply;
    if (!x->answer.status)
        return broken(x, CURL_NOTHING, "empty reply from server");
    reply->status = x->answer.status;
    reply->content_length = x->answer.announced;
    op_buf_add(&reply->headers, x->head, (size_t)x->answer.head_size);
    size_t len = (size_t)x->answer.body_size;
    if (x->request->sink && (reply->status == 200 || reply->status == 206)) {
        enum op_rc rc =
            len ? x->request->sink(x->request->sink_arg, x->content, len, x->err) : OP_OK;
        if (rc)
            return rc;
    } else {
        op_buf_add(&reply->body, x->content, len);
    }
    return x->answer.cut ? broken(x, CURL_PARTIAL, "transfer closed with bytes remaining")
                         : OP_OK;
}

static enum op_rc cut_after(struct exchange *x, int64_t len)
{
    if (len < x->answer.body_size)
        x->answer.body_size = len;
    x->answer.cut = 1;
    return take_answer(x);
}

static enum op_rc receive(struct exchange *x)
{
    switch ((int)world_point(POINT_REPLY, x->request->method, x->answer.status)) {
    case FAIL_CUT:
        return broken(x, CURL_RECV, "connection reset by peer");
    case FAIL_TIMEOUT:
        return broken(x, CURL_TIMEDOUT, "operation timed out");
    case FAIL_HALF:
        return cut_after(x, x->answer.body_size / 2);
    case FAIL_HEAD:
        return cut_after(x, 1);
    case FAIL_500:
        answer_with(x, 500, "text/plain", "internal error");
        break;
    case FAIL_502_HTML:
        answer_with(x, 502, "text/html", "<html><h1>502 Bad Gateway</h1></html>");
        break;
    case FAIL_504:
        answer_with(x, 504, "text/html", "<html><h1>504 Gateway Time-out</h1></html>");
        break;
    case FAIL_408:
        answer_with(x, 408, "text/plain", "");
        break;
    case FAIL_200_HTML:
        answer_with(x, 200, "text/html", "<html>Please sign in to the network</html>");
        break;
    case FAIL_200_EMPTY:
        answer_with(x, 200, "application/json", "");
        break;
    default:
        break;
    }
    return take_answer(x);
}

static enum op_rc run(struct exchange *x)
{
    bool early = false;
    enum op_rc rc = gather_body(x);
    if (!rc)
        rc = connect_(x);
    if (!rc)
        rc = pass_gate(x, &early);
    if (rc || early)
        return rc ? rc : take_answer(x);
    x->reply->released |= x->is_call;
    switch ((int)world_point(POINT_SENT, x->request->method, 0)) {
    case FAIL_CUT:
        return broken(x, CURL_RECV, "connection reset by peer");
    case FAIL_TIMEOUT:
        return broken(x, CURL_TIMEDOUT, "operation timed out");
    default:
        break;
    }
    world->now_us += TRIP_US;
    ask(x);
    return receive(x);
}

static void exchange_release(struct exchange *x)
{
    op_buf_release(&x->body);
    op_mem_free(x->head);
    op_mem_free(x->content);
}

static enum op_rc wire_perform(struct op_http *http, const struct op_http_request *request,
                               struct op_http_reply *reply, struct op_err *err)
{
    (void)http;
    struct exchange x = {.request = request, .reply = reply, .err = err};
    enum op_rc rc = run(&x);
    exchange_release(&x);
    return rc;
}

static void wire_close(struct op_http *http)
{
    (void)http;
}

static const struct op_http_ops ops = {
    .name = "wire", .perform = wire_perform, .close = wire_close};

/* In the place of net/http_curl.c: the linker takes this one. */
enum op_rc op_http_curl_open(struct op_env *env, bool (*stop)(void *), void *stop_arg,
                             struct op_http **ret, struct op_err *err)
{
    static struct op_http wire = {.ops = &ops};
    (void)env;
    (void)stop;
    (void)stop_arg;
    (void)err;
    *ret = &wire;
    return OP_OK;
}

/* ---- many at a time: here one after the other ---- */

#define CALLS_MAX 256

struct wire_calls {
    struct op_calls base;
    struct op_http_request requests[CALLS_MAX];
    void *tags[CALLS_MAX];
    size_t count;
};

static enum op_rc calls_submit(struct op_calls *base, const struct op_http_request *request,
                               void *tag, struct op_err *err)
{
    struct wire_calls *calls = (struct wire_calls *)base;
    if (calls->count == CALLS_MAX)
        return op_fail(err, OP_INVAL, "more calls than the fault program takes");
    calls->requests[calls->count] = *request;
    calls->tags[calls->count++] = tag;
    return OP_OK;
}

static enum op_rc calls_collect(struct op_calls *base, int64_t wait_ms, op_call_fn fn,
                                void *arg, struct op_err *err)
{
    struct wire_calls *calls = (struct wire_calls *)base;
    (void)err;
    if (!calls->count) {
        world_sleep(wait_ms);
        return OP_OK;
    }
    size_t count = calls->count;
    calls->count = 0;
    static struct op_http_request requests[CALLS_MAX];
    static void *tags[CALLS_MAX];
    memcpy(requests, calls->requests, count * sizeof(requests[0]));
    memcpy(tags, calls->tags, count * sizeof(tags[0]));
    for (size_t i = 0; i < count; i++) {
        struct op_http_reply reply;
        struct op_err failed = OP_ERR_INIT;
        op_http_reply_init(&reply);
        reply.body.max = OP_CALL_REPLY_MAX;
        struct exchange x = {
            .request = &requests[i], .reply = &reply, .err = &failed, .is_call = true};
        enum op_rc rc = run(&x);
        base->under_way--;
        fn(arg, tags[i], rc, &reply, &failed);
        op_http_reply_release(&reply);
        exchange_release(&x);
    }
    return OP_OK;
}

static void calls_close(struct op_calls *base)
{
    op_mem_free(base);
}

static const struct op_calls_ops calls_ops = {
    .name = "wire", .submit = calls_submit, .collect = calls_collect, .close = calls_close};

enum op_rc op_calls_curl_open(size_t most, struct op_calls **ret, struct op_err *err)
{
    struct wire_calls *calls = op_mem_alloc(sizeof(*calls));
    (void)most;
    (void)err;
    calls->base.ops = &calls_ops;
    *ret = &calls->base;
    return OP_OK;
}
