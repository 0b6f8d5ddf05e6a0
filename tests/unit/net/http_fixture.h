/* SPDX-License-Identifier: MIT */
#ifndef OP_TESTS_HTTP_FIXTURE_H
#define OP_TESTS_HTTP_FIXTURE_H

/*
 * A small HTTP server, one thread per connection, that counts connections, requests and body bytes
 * as they come off its sockets, and the client's side of a test. It shares no code with the client.
 * Nothing is timed: both sides wait for each other's counts.
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

#define MAYBE_UNUSED __attribute__((unused))

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
static MAYBE_UNUSED bool server_reached(struct server *s, const int *counter, int want)
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

static MAYBE_UNUSED int64_t server_body_at_least(struct server *s, int64_t want)
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

static MAYBE_UNUSED bool on_stop(void *arg)
{
    struct fixture *f = arg;
    if (f->stop_after_heads) {
        pthread_mutex_lock(&f->server.lock);
        f->stop |= f->server.heads >= f->stop_after_heads;
        pthread_mutex_unlock(&f->server.lock);
    }
    return f->stop;
}

static MAYBE_UNUSED enum op_rc on_gate(void *arg, struct op_err *err)
{
    struct fixture *f = arg;
    f->gate_calls++;
    f->at_gate = server_body_at_least(&f->server, f->want);
    f->bodies_at_gate = f->server.bodies;
    f->stop |= f->stop_at_gate;
    return f->gate_rc ? op_fail(err, f->gate_rc, "the ledger is full") : OP_OK;
}

static MAYBE_UNUSED int64_t on_body(void *arg, int64_t offset, void *ptr, size_t room)
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

static MAYBE_UNUSED enum op_rc on_sink(void *arg, const void *ptr, size_t len,
                                       struct op_err *err)
{
    struct fixture *f = arg;
    (void)ptr;
    f->sink_calls++;
    f->sunk += (int64_t)len;
    if (f->sink_fails_at && f->sunk >= f->sink_fails_at)
        return op_fail(err, OP_IO, "the disk is full");
    return OP_OK;
}

static MAYBE_UNUSED void start(struct fixture *f, const struct script *scripts, int count)
{
    memset(f, 0, sizeof(*f));
    f->body_fails_at = -1;
    server_start(&f->server, scripts, count);
    op_http_reply_init(&f->reply);
    assert_int_equal(op_http_curl_open(op_env_default(), on_stop, f, &f->http, &f->err), OP_OK);
    snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%d/v1/batches?key=hidden",
             f->server.port);
}

static MAYBE_UNUSED void stop(struct fixture *f)
{
    op_http_close(f->http);
    server_stop(&f->server);
    op_http_reply_release(&f->reply);
}

static MAYBE_UNUSED struct op_http_request get_request(struct fixture *f)
{
    return (struct op_http_request){.method = "GET", .url = f->url};
}

/* A gated create of len bytes from the callback. */
static MAYBE_UNUSED struct op_http_request gated(struct fixture *f, int64_t len)
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

static MAYBE_UNUSED enum op_rc perform(struct fixture *f, const struct op_http_request *request)
{
    op_err_clear(&f->err);
    enum op_rc rc = op_http_perform(f->http, request, &f->reply, &f->err);
    assert_int_equal(rc, f->err.rc);
    assert_null(strstr(f->err.msg, "hidden"));
    return rc;
}

static int64_t live_before;

static MAYBE_UNUSED int remember_live(void **state)
{
    (void)state;
    live_before = op_mem_live();
    return 0;
}

static MAYBE_UNUSED int nothing_left(void **state)
{
    (void)state;
    return op_mem_live() == live_before ? 0 : -1;
}

/* A test that must leave no block of memory behind. */
#define OP_TEST(f) cmocka_unit_test_setup_teardown(f, remember_live, nothing_left)

#endif
