/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/address.h"
#include "net/curl_common.h"
#include "net/http.h"

#define CONNECT_MS  (10 * 1000L)
#define EXCHANGE_MS (15 * 60 * 1000LL)
/* Not one byte in either direction for so long ends an exchange. A create may make the server think
 * for minutes after the last byte, and giving up then leaves its outcome unknown: more patience. */
#define SILENCE_S       120L
#define SILENCE_GATED_S 300L
#define BUFFER_BYTES    (512 * 1024L)
/* How late a wish to stop may be noticed. */
#define TICK_MS 100

struct op_http_curl {
    struct op_http base;
    bool (*stop)(void *arg);
    void *stop_arg;
    char *proxy;   /* NULL: none */
    char *ca_file; /* NULL: the system's authorities */
    CURLM *multi;  /* holds the connections that plain exchanges reuse */
    CURL *plain;
};

/* How far the last byte of a body has come. */
enum gate {
    GATE_NONE,    /* a plain exchange: nothing is held back */
    GATE_AHEAD,   /* the bytes before it are being handed out */
    GATE_REACHED, /* it alone is left; libcurl's reading of the body is paused */
    GATE_OPEN,    /* the gate said OK: it may go */
    GATE_SHUT,    /* it never goes: the server has answered already */
};

struct exchange {
    struct op_http_curl *http;
    const struct op_http_request *request;
    struct op_http_reply *reply;
    struct op_err *err;
    enum op_rc rc; /* of a callback; it has filled err */
    CURL *easy;
    struct curl_slist *headers;
    char detail[CURL_ERROR_SIZE];
    char shown[256]; /* the URL without its query, for messages */
    enum op_peer peer;
    const char *refusal; /* why an address was refused */
    int64_t body_len;
    int64_t offset; /* bytes of the body handed to libcurl */
    enum gate gate;
    bool looked; /* one look for an early answer was taken at the gate */
    bool begun;  /* PREREQ passed: the request is on the wire */
    struct op_curl_head head;
};

/* ---- callbacks ---- */

static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct exchange *ex = arg;
    (void)purpose;
    return op_curl_socket(address, ex->peer, &ex->refusal);
}

/* Runs when a connection stands and the request is about to be written to it. libcurl repeats a
 * request by itself when a reused connection dies under it; a second passage is such a repeat, and
 * a create must not be repeated. */
static int on_begin(void *arg, char *peer_ip, char *own_ip, int peer_port, int own_port)
{
    struct exchange *ex = arg;
    (void)peer_ip;
    (void)own_ip;
    (void)peer_port;
    (void)own_port;
    if (ex->request->gate && ex->begun)
        return CURL_PREREQFUNC_ABORT;
    ex->begun = true;
    return CURL_PREREQFUNC_OK;
}

static int64_t read_body(const struct exchange *ex, void *ptr, size_t room)
{
    const struct op_http_request *request = ex->request;
    if (request->body_fn)
        return request->body_fn(request->body_arg, ex->offset, ptr, room);
    memcpy(ptr, request->body.ptr + ex->offset, room);
    return (int64_t)room;
}

static size_t on_read(char *ptr, size_t size, size_t count, void *arg)
{
    struct exchange *ex = arg;
    int64_t left = ex->body_len - ex->offset;
    if (ex->gate == GATE_SHUT)
        return CURL_READFUNC_ABORT;
    if (ex->gate == GATE_AHEAD || ex->gate == GATE_REACHED) {
        /* Paused rather than decided here: the loop first makes sure that the bytes before it have
         * left libcurl's buffer and that no answer has come in. */
        if (left == 1) {
            ex->gate = GATE_REACHED;
            return CURL_READFUNC_PAUSE;
        }
        left--;
    }
    size_t room = size * count;
    if ((int64_t)room > left)
        room = (size_t)left;
    if (room == 0)
        return 0;
    int64_t got = read_body(ex, ptr, room);
    if (got <= 0 || (size_t)got > room) {
        ex->rc = op_fail(ex->err, OP_IO,
                         "the body of a request to %s could not be read: byte %lld of %lld",
                         ex->shown, (long long)ex->offset, (long long)ex->body_len);
        return CURL_READFUNC_ABORT;
    }
    ex->offset += got;
    /* From here on libcurl may write it at any moment: it counts as sent. */
    if (ex->gate == GATE_OPEN && ex->offset == ex->body_len)
        ex->reply->released = true;
    return (size_t)got;
}

/* libcurl rewinds a plain body when it repeats the request on a new connection. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct exchange *ex = arg;
    if (ex->request->gate || origin != SEEK_SET || offset < 0 || offset > ex->body_len)
        return CURL_SEEKFUNC_CANTSEEK;
    ex->offset = offset;
    return CURL_SEEKFUNC_OK;
}

static size_t on_header(char *ptr, size_t size, size_t count, void *arg)
{
    struct exchange *ex = arg;
    struct op_str line = {ptr, size * count};
    if (op_curl_head_line(&ex->head, ex->reply, line))
        return line.len;
    ex->rc = op_fail(ex->err, OP_REMOTE, "%s answered with more than %zu bytes of headers",
                     ex->shown, ex->reply->headers.max);
    return 0;
}

static size_t on_body(char *ptr, size_t size, size_t count, void *arg)
{
    struct exchange *ex = arg;
    size_t len = size * count;
    if (ex->request->sink && (ex->head.status == 200 || ex->head.status == 206)) {
        ex->rc = ex->request->sink(ex->request->sink_arg, ptr, len, ex->err);
        if (ex->rc)
            op_err_set(ex->err, ex->rc, "what %s sent could not be stored", ex->shown);
        return ex->rc ? 0 : len;
    }
    op_buf_add(&ex->reply->body, ptr, len);
    if (ex->reply->body.failed) {
        ex->rc =
            op_fail_as(ex->err, OP_REMOTE, OP_DISP_RETRY,
                       "%s answered %d with more than %zu bytes where a short reply belongs",
                       ex->shown, ex->head.status, ex->reply->body.max);
        ex->err->native = CURLE_FILESIZE_EXCEEDED;
        return 0;
    }
    return len;
}

/* ---- setting up ---- */

/* An option that is not accepted must not be missed silently: each one guards something. */
#define SET(option, value)                                \
    do {                                                  \
        if (code == CURLE_OK)                             \
            code = curl_easy_setopt(easy, option, value); \
    } while (0)

static CURLcode set_transport(const struct exchange *ex, CURL *easy)
{
    CURLcode code = CURLE_OK;
    bool gated = ex->request->gate != NULL;
    int64_t total = ex->request->timeout_ms > 0 ? ex->request->timeout_ms : EXCHANGE_MS;
    if (gated && total > EXCHANGE_MS)
        total = EXCHANGE_MS;

    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    /* Empty also means: not the one from the environment. */
    SET(CURLOPT_PROXY, ex->peer == OP_PEER_PROXY ? ex->http->proxy : "");
    SET(CURLOPT_NOPROXY, "");
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (ex->http->ca_file) {
        /* These and no others: the system's folder would be asked beside the file. */
        SET(CURLOPT_CAINFO, ex->http->ca_file);
        SET(CURLOPT_CAPATH, NULL);
    }
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_CONNECTTIMEOUT_MS, total < CONNECT_MS ? (long)total : CONNECT_MS);
    SET(CURLOPT_TIMEOUT_MS, (long)total);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, gated ? SILENCE_GATED_S : SILENCE_S);
    SET(CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    SET(CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    /* A connection of its own, closed behind it: on a reused one that dies, libcurl would send the
     * request again. on_begin is the second lock on the same door. */
    SET(CURLOPT_FRESH_CONNECT, gated ? 1L : 0L);
    SET(CURLOPT_FORBID_REUSE, gated ? 1L : 0L);
    return code;
}

static CURLcode set_request(struct exchange *ex, CURL *easy)
{
    CURLcode code = CURLE_OK;
    const char *method = ex->request->method;
    SET(CURLOPT_URL, ex->request->url);
    SET(CURLOPT_HTTPHEADER, ex->headers);
    SET(CURLOPT_ERRORBUFFER, ex->detail);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_socket);
    SET(CURLOPT_OPENSOCKETDATA, ex);
    SET(CURLOPT_PREREQFUNCTION, on_begin);
    SET(CURLOPT_PREREQDATA, ex);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, ex);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, ex);
    if (ex->body_len > 0 || strcmp(method, "POST") == 0) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)ex->body_len);
        SET(CURLOPT_READFUNCTION, on_read);
        SET(CURLOPT_READDATA, ex);
        SET(CURLOPT_SEEKFUNCTION, on_seek);
        SET(CURLOPT_SEEKDATA, ex);
    } else {
        SET(CURLOPT_HTTPGET, 1L);
    }
    SET(CURLOPT_CUSTOMREQUEST, method);
    if (ex->request->sign) {
        SET(CURLOPT_AWS_SIGV4, ex->request->sign->scope);
        SET(CURLOPT_USERNAME, ex->request->sign->key);
        SET(CURLOPT_PASSWORD, ex->request->sign->secret);
    }
    return code;
}

/* ---- running ---- */

static bool all_but_one_sent(const struct exchange *ex)
{
    curl_off_t sent = -1;
    return curl_easy_getinfo(ex->easy, CURLINFO_SIZE_UPLOAD_T, &sent) == CURLE_OK &&
           sent == ex->body_len - 1;
}

/* The server has everything but the last byte, and nothing has come back. */
static void pass_gate(struct exchange *ex)
{
    if (ex->reply->status) {
        /* A final answer without the last byte: nothing was bought, so no intent is recorded. */
        ex->gate = GATE_SHUT;
        curl_easy_pause(ex->easy, CURLPAUSE_CONT);
        return;
    }
    /* Durability point: SENDING is committed in here, and the byte cannot go before that. */
    ex->rc = ex->request->gate(ex->request->gate_arg, ex->err);
    if (ex->rc) {
        op_err_set(ex->err, ex->rc, "the gate refused the request to %s", ex->shown);
        return;
    }
    ex->reply->gate_passed = true;
    ex->gate = GATE_OPEN;
    curl_easy_pause(ex->easy, CURLPAUSE_CONT);
}

/* Behind the gate an exchange is worth more finished: its outcome would be unknown. */
static bool must_stop(const struct exchange *ex)
{
    return ex->gate != GATE_OPEN && ex->http->stop && ex->http->stop(ex->http->stop_arg);
}

static CURLMcode drive(struct exchange *ex)
{
    CURLM *multi = ex->http->multi;
    for (;;) {
        int running = 0;
        CURLMcode code = curl_multi_perform(multi, &running);
        if (code || ex->rc || !running)
            return code;
        if (must_stop(ex)) {
            ex->rc = op_fail(ex->err, OP_STOPPED, "stopped during a request to %s", ex->shown);
            return CURLM_OK;
        }
        if (ex->gate == GATE_REACHED && all_but_one_sent(ex)) {
            /* One more turn before the gate lets libcurl see an answer that is already there. */
            if (ex->looked)
                pass_gate(ex);
            ex->looked = true;
            if (ex->rc)
                return CURLM_OK;
            continue;
        }
        code = curl_multi_poll(multi, NULL, 0, TICK_MS, NULL);
        if (code)
            return code;
    }
}

static CURLcode result_of(const struct exchange *ex)
{
    int left;
    for (CURLMsg *msg; (msg = curl_multi_info_read(ex->http->multi, &left));) {
        if (msg->msg == CURLMSG_DONE && msg->easy_handle == ex->easy)
            return msg->data.result;
    }
    return CURLE_FAILED_INIT;
}

/* A good answer to a request that was never sent whole answers something else. A refusal is
 * taken at its word: it is why the rest was not sent. */
static bool is_premature(const struct exchange *ex)
{
    return ex->request->gate && !ex->reply->released && ex->reply->status >= 200 &&
           ex->reply->status < 400;
}

static enum op_disp disposition(const struct exchange *ex, CURLcode code)
{
    if (ex->reply->released)
        return OP_DISP_AMBIGUOUS;
    bool untrusted = code == CURLE_PEER_FAILED_VERIFICATION ||
                     code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_PINNEDPUBKEYNOTMATCH;
    if (untrusted || (ex->refusal && !ex->begun))
        return OP_DISP_PAUSE;
    return OP_DISP_RETRY;
}

static enum op_rc remote_failure(struct exchange *ex, CURLcode code)
{
    const char *what = *ex->detail ? ex->detail : curl_easy_strerror(code);
    enum op_disp disp = disposition(ex, code);
    if (ex->refusal && !ex->begun)
        op_err_set_as(ex->err, OP_REMOTE, disp, "%s %s: its address %s; nothing was sent",
                      ex->request->method, ex->shown, ex->refusal);
    else if (is_premature(ex))
        op_err_set_as(ex->err, OP_REMOTE, disp,
                      "%s %s: answered %d before the whole request was sent",
                      ex->request->method, ex->shown, ex->reply->status);
    else
        op_err_set_as(ex->err, OP_REMOTE, disp, "%s %s: %s%s", ex->request->method, ex->shown,
                      what, op_curl_hint(code, ex->detail));
    ex->err->native = (int)code;
    return OP_REMOTE;
}

static enum op_rc finish(struct exchange *ex, CURLMcode multi_code)
{
    if (ex->rc) {
        if (ex->reply->released)
            ex->err->disp = OP_DISP_AMBIGUOUS;
        return ex->rc;
    }
    if (multi_code) {
        (void)op_fail_as(ex->err, OP_REMOTE,
                         ex->reply->released ? OP_DISP_AMBIGUOUS : OP_DISP_RETRY, "%s %s: %s",
                         ex->request->method, ex->shown, curl_multi_strerror(multi_code));
        return OP_REMOTE;
    }
    CURLcode code = result_of(ex);
    if (code == CURLE_OK && !ex->head.is_done)
        code = CURLE_GOT_NOTHING;
    else if (code == CURLE_OK && is_premature(ex))
        code = CURLE_WEIRD_SERVER_REPLY;
    return code == CURLE_OK ? OP_OK : remote_failure(ex, code);
}

static enum op_rc run(struct exchange *ex)
{
    struct op_curl_pipe pipe;
    CURLcode code = set_transport(ex, ex->easy);
    if (code == CURLE_OK)
        code = set_request(ex, ex->easy);
    if (code != CURLE_OK)
        return op_fail(ex->err, OP_INVAL, "libcurl %s refuses an option that is needed: %s",
                       curl_version_info(CURLVERSION_NOW)->version, curl_easy_strerror(code));

    op_curl_hold_pipe(&pipe);
    CURLMcode multi_code = curl_multi_add_handle(ex->http->multi, ex->easy);
    if (!multi_code)
        multi_code = drive(ex);
    enum op_rc rc = finish(ex, multi_code);
    /* Removing an unfinished transfer closes its connection: a byte held back is never sent. */
    curl_multi_remove_handle(ex->http->multi, ex->easy);
    op_curl_release_pipe(&pipe);
    return rc;
}

static enum op_rc curl_perform(struct op_http *base, const struct op_http_request *request,
                               struct op_http_reply *reply, struct op_err *err)
{
    struct op_http_curl *http = (struct op_http_curl *)base;
    struct exchange ex = {.http = http, .request = request, .reply = reply, .err = err};
    ex.body_len = request->body_fn ? request->body_len : (int64_t)request->body.len;
    ex.gate = request->gate ? GATE_AHEAD : GATE_NONE;
    const char *url = request->url ? request->url : "";
    op_curl_show_url(url, ex.shown);
    enum op_rc rc =
        op_curl_peer(url, http->proxy != NULL, request->sign != NULL, ex.shown, &ex.peer, err);
    if (rc)
        return rc;

    ex.easy = request->gate ? curl_easy_init() : http->plain;
    if (!ex.easy)
        abort(); /* out of memory */
    ex.headers = op_curl_headers(request);
    rc = run(&ex);
    if (request->gate)
        curl_easy_cleanup(ex.easy);
    else
        curl_easy_reset(ex.easy); /* forgets everything that points into this call */
    curl_slist_free_all(ex.headers);
    return rc;
}

/* ---- opening and closing ---- */

static void curl_close(struct op_http *base)
{
    struct op_http_curl *http = (struct op_http_curl *)base;
    curl_easy_cleanup(http->plain);
    curl_multi_cleanup(http->multi);
    op_mem_free(http->proxy);
    op_mem_free(http->ca_file);
    op_mem_free(http);
    curl_global_cleanup();
}

static const struct op_http_ops curl_ops = {
    .name = "curl",
    .perform = curl_perform,
    .close = curl_close,
};

enum op_rc op_http_curl_open(struct op_env *env, bool (*stop)(void *), void *stop_arg,
                             struct op_http **ret, struct op_err *err)
{
    (void)env; /* a transfer's clock and files are libcurl's own; tests replace the vtable */
    OP_CLEANUP(op_mem_freep) char *ca_file = NULL;
    enum op_rc rc = op_libcurl_load(err);
    if (!rc)
        rc = op_curl_ca_file(&ca_file, err);
    if (rc)
        return rc;
    rc = op_curl_start(err);
    if (rc)
        return rc;
    struct op_http_curl *http = op_mem_alloc(sizeof(*http));
    http->base.ops = &curl_ops;
    http->stop = stop;
    http->stop_arg = stop_arg;
    http->proxy = op_curl_proxy();
    http->ca_file = OP_TAKE(ca_file);
    http->multi = curl_multi_init();
    http->plain = curl_easy_init();
    if (!http->multi || !http->plain)
        abort(); /* out of memory */
    *ret = &http->base;
    return OP_OK;
}
