/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the libcurl client against a real socket: what a gated request has put on the wire when
 *            its gate runs, that it is put there once whatever the server does, and that replies
 *            arrive whole or not at all.
 * Oracle:    a small HTTP server in this file, one thread per connection, that counts connections,
 *            requests and body bytes as they come off its sockets. It shares no code with the
 *            client. Nothing is timed: both sides wait for each other's counts.
 */
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include <curl/curl.h>

#include "base/mem.h"
#include "net/http.h"

/* ---- the server ---- */

enum when {
    AFTER_BODY = 0,
    AT_CONNECT, /* before a byte of the request was read */
    AFTER_HEAD,
};

/* What is done with the n-th request (the last script serves all further ones). */
struct script {
    enum when when;
    const char *reply; /* raw; NULL: none */
    size_t body_len;   /* that many bytes of 'x' follow it */
    bool close;        /* afterwards; else the connection stays */
    bool deaf;         /* after the reply nothing is read until the client goes */
    bool silent;       /* no reply: read until the client goes */
};

#define CONNECTIONS 64
#define HEAD_ROOM   8192

struct server {
    const struct script *scripts;
    int script_count;
    int fd;
    int port;
    pthread_t acceptor;
    pthread_t threads[CONNECTIONS];
    int fds[CONNECTIONS];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int connections;
    int heads;            /* requests whose headers arrived */
    int bodies;           /* requests that arrived whole */
    int replies;          /* replies written */
    int closed;           /* connections that ended */
    int64_t body;         /* body bytes of the latest request */
    char head[HEAD_ROOM]; /* of the latest request */
};

struct connection {
    struct server *server;
    int fd;
    int slot;
};

static void bump(struct server *s, int *counter)
{
    pthread_mutex_lock(&s->lock);
    ++*counter;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void send_all(int fd, const char *ptr, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, ptr, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        ptr += sent;
        len -= (size_t)sent;
    }
}

static void send_reply(struct server *s, int fd, const struct script *script)
{
    if (!script->reply)
        return;
    send_all(fd, script->reply, strlen(script->reply));
    static char block[65536];
    for (size_t left = script->body_len; left > 0;) {
        size_t part = left < sizeof(block) ? left : sizeof(block);
        send_all(fd, block, part);
        left -= part;
    }
    bump(s, &s->replies);
}

/* Reads headers; false at the end of the connection. Body bytes that came along are counted. */
static bool read_head(struct connection *c, int64_t *ret_length)
{
    struct server *s = c->server;
    char head[HEAD_ROOM] = {0};
    size_t len = 0;
    while (!strstr(head, "\r\n\r\n")) {
        /* Byte by byte: nothing of the body is read here. */
        if (len + 1 >= sizeof(head) || recv(c->fd, head + len, 1, 0) <= 0)
            return false;
        len++;
    }
    const char *told = strcasestr(head, "\r\nContent-Length:");
    *ret_length = told ? strtoll(told + 17, NULL, 10) : 0;
    pthread_mutex_lock(&s->lock);
    memcpy(s->head, head, sizeof(head));
    s->body = 0;
    s->heads++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return true;
}

static bool read_body(struct connection *c, int64_t length)
{
    struct server *s = c->server;
    static __thread char block[262144];
    for (int64_t got = 0; got < length;) {
        ssize_t part = recv(c->fd, block, sizeof(block), 0);
        if (part <= 0)
            return false;
        got += part;
        pthread_mutex_lock(&s->lock);
        s->body = got;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
    }
    bump(s, &s->bodies);
    return true;
}

/* Waits for the client to go; what still comes is thrown away, or left unread. */
static void wait_for_end(struct connection *c, bool read)
{
    char block[4096];
    while (read && recv(c->fd, block, sizeof(block), 0) > 0)
        continue;
    struct server *s = c->server;
    pthread_mutex_lock(&s->lock);
    while (!read && s->fd >= 0)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static void serve(struct connection *c)
{
    struct server *s = c->server;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        int at = s->heads < s->script_count ? s->heads : s->script_count - 1;
        pthread_mutex_unlock(&s->lock);
        const struct script *script = &s->scripts[at];
        int64_t length = 0;
        if (script->when == AT_CONNECT)
            send_reply(s, c->fd, script);
        if (!read_head(c, &length))
            return;
        /* A connection that stayed open may have waited while others were served. */
        pthread_mutex_lock(&s->lock);
        at = s->heads - 1 < s->script_count ? s->heads - 1 : s->script_count - 1;
        pthread_mutex_unlock(&s->lock);
        script = &s->scripts[at];
        if (script->when == AFTER_HEAD)
            send_reply(s, c->fd, script);
        if (script->deaf)
            return wait_for_end(c, false);
        if (!read_body(c, length))
            return;
        if (script->silent)
            return wait_for_end(c, true);
        if (script->when == AFTER_BODY)
            send_reply(s, c->fd, script);
        if (script->close)
            return;
    }
}

static void *serve_thread(void *arg)
{
    struct connection *c = arg;
    struct server *s = c->server;
    serve(c);
    pthread_mutex_lock(&s->lock);
    s->fds[c->slot] = -1;
    pthread_mutex_unlock(&s->lock);
    close(c->fd);
    bump(s, &s->closed);
    free(c);
    return NULL;
}

static void *accept_thread(void *arg)
{
    struct server *s = arg;
    for (int slot = 0; slot < CONNECTIONS; slot++) {
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        struct connection *c = calloc(1, sizeof(*c));
        *c = (struct connection){s, fd, slot};
        pthread_mutex_lock(&s->lock);
        s->fds[slot] = fd;
        pthread_create(&s->threads[slot], NULL, serve_thread, c);
        s->connections++;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

static void server_start(struct server *s, const struct script *scripts, int count)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    memset(s, 0, sizeof(*s));
    s->scripts = scripts;
    s->script_count = count;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(s->fd, 16), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&address, &len), 0);
    s->port = ntohs(address.sin_port);
    pthread_create(&s->acceptor, NULL, accept_thread, s);
}

static void server_stop(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->acceptor, NULL);
    pthread_mutex_lock(&s->lock);
    close(s->fd);
    s->fd = -1;
    for (int i = 0; i < s->connections; i++) {
        if (s->fds[i] > 0)
            shutdown(s->fds[i], SHUT_RDWR);
    }
    pthread_cond_broadcast(&s->changed);
    int count = s->connections;
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < count; i++)
        pthread_join(s->threads[i], NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
}

/* Waits until *counter is at least want; false after 20 s, which is a failure and no timing. */
static bool server_reached(struct server *s, const int *counter, int want)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&s->lock);
    while (*counter < want && pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0)
        continue;
    bool ok = *counter >= want;
    pthread_mutex_unlock(&s->lock);
    return ok;
}

static int64_t server_body_at_least(struct server *s, int64_t want)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&s->lock);
    while ((s->heads == 0 || s->body < want) &&
           pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0)
        continue;
    int64_t body = s->heads ? s->body : -1;
    pthread_mutex_unlock(&s->lock);
    return body;
}

/* ---- the client's side ---- */

#define OK_REPLY   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nrequest-id: req_1\r\n\r\n{}"
#define NO_CONTENT "HTTP/1.1 204 No Content\r\n\r\n"

struct fixture {
    struct server server;
    struct op_http *http;
    struct op_http_reply reply;
    struct op_err err;
    char url[128];
    /* the gate's probe */
    int gate_calls;
    int64_t want;    /* bytes that must have arrived */
    int64_t at_gate; /* bytes that had */
    int bodies_at_gate;
    enum op_rc gate_rc;
    bool stop_at_gate;
    bool stop;
    int stop_after_heads;
    /* the sink's */
    int64_t sunk;
    int sink_calls;
    int64_t sink_fails_at;
    /* the body's */
    int64_t body_len;
    bool wait_for_reply;
    int64_t body_fails_at;
    int64_t largest_read;
};

static bool on_stop(void *arg)
{
    struct fixture *f = arg;
    if (f->stop_after_heads) {
        pthread_mutex_lock(&f->server.lock);
        f->stop |= f->server.heads >= f->stop_after_heads;
        pthread_mutex_unlock(&f->server.lock);
    }
    return f->stop;
}

static enum op_rc on_gate(void *arg, struct op_err *err)
{
    struct fixture *f = arg;
    f->gate_calls++;
    f->at_gate = server_body_at_least(&f->server, f->want);
    f->bodies_at_gate = f->server.bodies;
    f->stop |= f->stop_at_gate;
    return f->gate_rc ? op_fail(err, f->gate_rc, "the ledger is full") : OP_OK;
}

static int64_t on_body(void *arg, int64_t offset, void *ptr, size_t room)
{
    struct fixture *f = arg;
    if (f->wait_for_reply && !server_reached(&f->server, &f->server.replies, 1))
        return -1;
    if (f->body_fails_at >= 0 && offset >= f->body_fails_at)
        return -1;
    if ((int64_t)room > f->largest_read)
        f->largest_read = (int64_t)room;
    memset(ptr, 'b', room);
    return (int64_t)room;
}

static enum op_rc on_sink(void *arg, const void *ptr, size_t len, struct op_err *err)
{
    struct fixture *f = arg;
    (void)ptr;
    f->sink_calls++;
    f->sunk += (int64_t)len;
    if (f->sink_fails_at && f->sunk >= f->sink_fails_at)
        return op_fail(err, OP_IO, "the disk is full");
    return OP_OK;
}

static void start(struct fixture *f, const struct script *scripts, int count)
{
    memset(f, 0, sizeof(*f));
    f->body_fails_at = -1;
    server_start(&f->server, scripts, count);
    op_http_reply_init(&f->reply);
    assert_int_equal(op_http_curl_open(op_env_default(), on_stop, f, &f->http, &f->err), OP_OK);
    snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%d/v1/batches?key=hidden",
             f->server.port);
}

static void stop(struct fixture *f)
{
    op_http_close(f->http);
    server_stop(&f->server);
    op_http_reply_release(&f->reply);
}

static struct op_http_request get_request(struct fixture *f)
{
    return (struct op_http_request){.method = "GET", .url = f->url};
}

/* A gated create of len bytes from the callback. */
static struct op_http_request gated(struct fixture *f, int64_t len)
{
    f->want = len - 1;
    return (struct op_http_request){.method = "POST",
                                    .url = f->url,
                                    .body_fn = on_body,
                                    .body_arg = f,
                                    .body_len = len,
                                    .gate = on_gate,
                                    .gate_arg = f};
}

static enum op_rc perform(struct fixture *f, const struct op_http_request *request)
{
    op_err_clear(&f->err);
    enum op_rc rc = op_http_perform(f->http, request, &f->reply, &f->err);
    assert_int_equal(rc, f->err.rc);
    assert_null(strstr(f->err.msg, "hidden"));
    return rc;
}

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

static int64_t live_before;

static int remember_live(void **state)
{
    (void)state;
    live_before = op_mem_live();
    return 0;
}

static int nothing_left(void **state)
{
    (void)state;
    return op_mem_live() == live_before ? 0 : -1;
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, remember_live, nothing_left)
    const struct CMUnitTest tests[] = {
        T(test_gate_order),
        T(test_gate_in_memory),
        T(test_gate_refuses),
        T(test_body_fails),
        T(test_early_answer),
        T(test_interim_answers),
        T(test_dropped_after_request),
        T(test_plain_post_is_repeated),
        T(test_dropped_before_gate),
        T(test_answers_are_final),
        T(test_plain_reuse),
        T(test_reply_cap),
        T(test_endless_headers),
        T(test_sink),
        T(test_sink_fails),
        T(test_cut_replies),
        T(test_chunked_and_trailers),
        T(test_stop),
        T(test_timeout),
        T(test_refused_urls),
        T(test_proxy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
