/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/calls.h"
#include "net/curl_common.h"

#define CONNECT_MS (10 * 1000L)
#define CALL_MS    (15 * 60 * 1000LL)
/* A request is a few KB and so is its answer: libcurl's default for reading, and its smallest for
 * writing. Half a megabyte each, as for files, would be 64 MB at 64 connections. */
#define BUFFER_BYTES (16 * 1024L)
/* A body up to this goes out together with its headers, in one packet and one call. */
#define AT_ONCE_BYTES (32 * 1024)
/* Servers close connections that were idle for five seconds and more (the default of Node.js), and
 * a request that meets the close is of unknown fate. */
#define IDLE_S 4L
/* A reply that was larger gives its memory back. */
#define KEPT_BYTES (256 * 1024)
/* More of them than any server takes. */
#define HEADERS_MAX (256 * 1024)

struct slot {
    struct calls_curl *owner;
    CURL *easy;
    struct curl_slist *headers;
    struct op_buf header_text; /* what they were made of */
    struct op_http_reply reply;
    struct op_curl_head head;
    struct op_str body;
    size_t offset; /* bytes of the body handed to libcurl */
    bool begun;    /* PREREQ passed: the request is on the wire */
    bool is_full;  /* the reply is larger than is kept */
    enum op_peer peer;
    const char *refusal; /* why an address was refused */
    char detail[CURL_ERROR_SIZE];
    char shown[OP_URL_SHOWN];
    void *tag;
    struct slot *next; /* of the idle ones */
};

struct calls_curl {
    struct op_calls base;
    char *url; /* the latest that was found to be allowed, and where it leads */
    enum op_peer peer;
    CURLM *multi;
    char *proxy;               /* NULL: none */
    char *ca_file;             /* NULL: the system's authorities */
    struct op_buf header_text; /* of the request that is being submitted */
    struct slot **slots;
    size_t slot_count;
    struct slot *idle;
};

/* ---- callbacks ---- */

static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct slot *slot = arg;
    (void)purpose;
    return op_curl_socket(address, slot->peer, &slot->refusal);
}

/* A second passage is libcurl's own repeat behind a connection that died, and what buys something
 * must not be repeated. */
static int on_begin(void *arg, char *peer_ip, char *own_ip, int peer_port, int own_port)
{
    struct slot *slot = arg;
    (void)peer_ip;
    (void)own_ip;
    (void)peer_port;
    (void)own_port;
    if (slot->begun)
        return CURL_PREREQFUNC_ABORT;
    slot->begun = true;
    /* What is written at once is sent when the writing begins. */
    slot->reply.released = slot->body.len <= AT_ONCE_BYTES;
    return CURL_PREREQFUNC_OK;
}

static size_t on_read(char *ptr, size_t size, size_t count, void *arg)
{
    struct slot *slot = arg;
    size_t room = size * count;
    size_t left = slot->body.len - slot->offset;
    size_t part = left < room ? left : room;
    memcpy(ptr, slot->body.ptr + slot->offset, part);
    slot->offset += part;
    /* From here on libcurl may write it at any moment: it counts as sent. */
    if (slot->offset == slot->body.len)
        slot->reply.released = true;
    return part;
}

static size_t on_header(char *ptr, size_t size, size_t count, void *arg)
{
    struct slot *slot = arg;
    struct op_str line = {ptr, size * count};
    slot->is_full = !op_curl_head_line(&slot->head, &slot->reply, line);
    return slot->is_full ? 0 : line.len;
}

static size_t on_body(char *ptr, size_t size, size_t count, void *arg)
{
    struct slot *slot = arg;
    op_buf_add(&slot->reply.body, ptr, size * count);
    slot->is_full = slot->reply.body.failed;
    return slot->is_full ? 0 : size * count;
}

/* ---- slots ---- */

/* An option that is not accepted must not be missed silently: each one guards something. */
#define SET(option, value)                                      \
    do {                                                        \
        if (code == CURLE_OK)                                   \
            code = curl_easy_setopt(slot->easy, option, value); \
    } while (0)

/* What is the same for every call. */
static CURLcode set_up(struct slot *slot)
{
    CURLcode code = CURLE_OK;
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_NOPROXY, "");
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (slot->owner->ca_file) {
        /* These and no others: the system's folder would be asked beside the file. */
        SET(CURLOPT_CAINFO, slot->owner->ca_file);
        SET(CURLOPT_CAPATH, NULL);
    }
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    SET(CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_MAXAGE_CONN, IDLE_S);
    SET(CURLOPT_ERRORBUFFER, slot->detail);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_socket);
    SET(CURLOPT_OPENSOCKETDATA, slot);
    SET(CURLOPT_PREREQFUNCTION, on_begin);
    SET(CURLOPT_PREREQDATA, slot);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, slot);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, slot);
    SET(CURLOPT_READFUNCTION, on_read);
    SET(CURLOPT_READDATA, slot);
    SET(CURLOPT_PRIVATE, slot);
    return code;
}

/* Nearly all calls have the headers of the one before. */
static void set_headers(struct slot *slot, const struct op_http_request *request)
{
    struct op_buf *text = &slot->owner->header_text;
    op_buf_clear(text);
    for (size_t i = 0; i < request->header_count; i++) {
        op_buf_addz(text, request->headers[i].name);
        op_buf_addc(text, ':');
        op_buf_addz(text, request->headers[i].value);
        op_buf_addc(text, '\n');
    }
    if (slot->headers && !text->failed &&
        op_str_eq(op_buf_str(text), op_buf_str(&slot->header_text)))
        return;
    op_buf_clear(&slot->header_text);
    op_buf_add_str(&slot->header_text, op_buf_str(text));
    curl_slist_free_all(slot->headers);
    slot->headers = op_curl_headers(request);
}

static CURLcode set_request(struct slot *slot, const struct op_http_request *request)
{
    CURLcode code = CURLE_OK;
    int64_t total = request->timeout_ms > 0 ? request->timeout_ms : CALL_MS;
    /* Empty also means: not the one from the environment. */
    SET(CURLOPT_PROXY, slot->peer == OP_PEER_PROXY ? slot->owner->proxy : "");
    SET(CURLOPT_CONNECTTIMEOUT_MS, total < CONNECT_MS ? (long)total : CONNECT_MS);
    SET(CURLOPT_TIMEOUT_MS, (long)total);
    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_HTTPHEADER, slot->headers);
    if (request->body.len > 0 || strcmp(request->method, "POST") == 0) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        SET(CURLOPT_POSTFIELDS, request->body.len <= AT_ONCE_BYTES ? request->body.ptr : NULL);
    } else {
        SET(CURLOPT_HTTPGET, 1L);
    }
    SET(CURLOPT_CUSTOMREQUEST, request->method);
    return code;
}

static enum op_rc fail_option(CURLcode code, struct op_err *err)
{
    return op_fail(err, OP_INVAL, "libcurl %s refuses an option that is needed: %s",
                   curl_version_info(CURLVERSION_NOW)->version, curl_easy_strerror(code));
}

static enum op_rc slot_take(struct calls_curl *calls, struct slot **ret, struct op_err *err)
{
    if (calls->idle) {
        *ret = calls->idle;
        calls->idle = (*ret)->next;
        return OP_OK;
    }
    struct slot *slot = op_mem_alloc(sizeof(*slot));
    slot->owner = calls;
    slot->easy = curl_easy_init();
    if (!slot->easy)
        abort(); /* out of memory */
    op_http_reply_init(&slot->reply);
    slot->reply.body.max = OP_CALL_REPLY_MAX;
    op_buf_init(&slot->header_text, HEADERS_MAX);
    calls->slots = op_mem_realloc(calls->slots, (calls->slot_count + 1) * sizeof(slot));
    calls->slots[calls->slot_count++] = slot;
    CURLcode code = set_up(slot);
    *ret = slot;
    return code == CURLE_OK ? OP_OK : fail_option(code, err);
}

static void slot_give(struct slot *slot)
{
    if (slot->reply.body.room > KEPT_BYTES) {
        op_http_reply_release(&slot->reply);
        op_http_reply_init(&slot->reply);
        slot->reply.body.max = OP_CALL_REPLY_MAX;
    }
    slot->next = slot->owner->idle;
    slot->owner->idle = slot;
}

static void slot_reset(struct slot *slot, const struct op_http_request *request, void *tag)
{
    op_buf_clear(&slot->reply.body);
    op_buf_clear(&slot->reply.headers);
    slot->reply.status = 0;
    slot->reply.released = false;
    slot->reply.content_length = -1;
    slot->head = (struct op_curl_head){0};
    slot->body = request->body;
    slot->offset = 0;
    slot->begun = false;
    slot->is_full = false;
    slot->refusal = NULL;
    slot->detail[0] = '\0';
    slot->tag = tag;
}

/* ---- the client ---- */

/* Nearly all calls go to one address, and taking it apart costs as much as the rest of a submit. */
static enum op_rc check_url(struct calls_curl *calls, const char *url, const char *shown,
                            struct op_err *err)
{
    if (calls->url && strcmp(calls->url, url) == 0)
        return OP_OK;
    enum op_rc rc = op_curl_peer(url, calls->proxy != NULL, false, shown, &calls->peer, err);
    op_mem_free(calls->url);
    calls->url = rc ? NULL : op_mem_strdup(url);
    return rc;
}

static enum op_rc curl_submit(struct op_calls *base, const struct op_http_request *request,
                              void *tag, struct op_err *err)
{
    struct calls_curl *calls = (struct calls_curl *)base;
    struct slot *slot = NULL;
    enum op_rc rc = slot_take(calls, &slot, err);
    if (rc)
        return rc;
    slot_reset(slot, request, tag);
    const char *url = request->url ? request->url : "";
    op_curl_show_url(url, slot->shown);
    rc = check_url(calls, url, slot->shown, err);
    slot->peer = calls->peer;
    if (rc) {
        slot_give(slot);
        return rc;
    }
    set_headers(slot, request);
    CURLcode code = set_request(slot, request);
    if (code != CURLE_OK)
        rc = fail_option(code, err);
    CURLMcode multi_code = rc ? CURLM_OK : curl_multi_add_handle(calls->multi, slot->easy);
    if (multi_code)
        rc = op_fail_as(err, OP_REMOTE, OP_DISP_RETRY, "%s %s: %s", request->method,
                        slot->shown, curl_multi_strerror(multi_code));
    if (rc)
        slot_give(slot);
    return rc;
}

static enum op_disp disposition(const struct slot *slot, CURLcode code)
{
    if (slot->reply.released)
        return OP_DISP_AMBIGUOUS;
    bool untrusted = code == CURLE_PEER_FAILED_VERIFICATION ||
                     code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_PINNEDPUBKEYNOTMATCH;
    return untrusted || (slot->refusal && !slot->begun) ? OP_DISP_PAUSE : OP_DISP_RETRY;
}

static enum op_rc outcome(const struct slot *slot, CURLcode code, struct op_err *err)
{
    if (code == CURLE_OK && !slot->head.is_done)
        code = CURLE_GOT_NOTHING;
    if (code == CURLE_OK)
        return OP_OK;
    enum op_disp disp = disposition(slot, code);
    if (slot->refusal && !slot->begun)
        op_err_set_as(err, OP_REMOTE, disp, "%s: its address %s; nothing was sent", slot->shown,
                      slot->refusal);
    else if (slot->is_full)
        op_err_set_as(err, OP_REMOTE, disp, "%s answered %d with more than %zu bytes",
                      slot->shown, slot->head.status, slot->reply.body.max);
    else
        op_err_set_as(err, OP_REMOTE, disp, "%s: %s%s", slot->shown,
                      *slot->detail ? slot->detail : curl_easy_strerror(code),
                      op_curl_hint(code, slot->detail));
    err->native = (int)code;
    return OP_REMOTE;
}

static size_t hand_over(struct calls_curl *calls, op_call_fn fn, void *arg)
{
    int left;
    size_t count = 0;
    for (CURLMsg *msg; (msg = curl_multi_info_read(calls->multi, &left)); count++) {
        CURLcode code = msg->data.result;
        char *private = NULL;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &private);
        struct slot *slot = (struct slot *)private;
        curl_multi_remove_handle(calls->multi, slot->easy);
        calls->base.under_way--;
        struct op_err err = OP_ERR_INIT;
        enum op_rc rc = outcome(slot, code, &err);
        fn(arg, slot->tag, rc, &slot->reply, &err);
        slot_give(slot);
    }
    return count;
}

static enum op_rc fail_multi(CURLMcode code, struct op_err *err)
{
    return op_fail(err, OP_IO, "libcurl: %s", curl_multi_strerror(code));
}

static enum op_rc curl_collect(struct op_calls *base, int64_t wait_ms, op_call_fn fn, void *arg,
                               struct op_err *err)
{
    struct calls_curl *calls = (struct calls_curl *)base;
    struct op_curl_pipe pipe;
    op_curl_hold_pipe(&pipe);
    int running = 0;
    CURLMcode code = curl_multi_perform(calls->multi, &running);
    size_t ended = code ? 0 : hand_over(calls, fn, arg);
    if (!code && !ended && wait_ms > 0) {
        code = curl_multi_poll(calls->multi, NULL, 0, (int)wait_ms, NULL);
        ended = 1;
    }
    /* Others come in while these are handed over. The more of them at a time, the fewer flushes the
     * caller needs behind them. */
    while (!code && ended) {
        code = curl_multi_perform(calls->multi, &running);
        ended = code ? 0 : hand_over(calls, fn, arg);
    }
    op_curl_release_pipe(&pipe);
    return code ? fail_multi(code, err) : OP_OK;
}

static void curl_close(struct op_calls *base)
{
    struct calls_curl *calls = (struct calls_curl *)base;
    for (size_t i = 0; i < calls->slot_count; i++) {
        struct slot *slot = calls->slots[i];
        curl_multi_remove_handle(calls->multi, slot->easy);
        curl_easy_cleanup(slot->easy);
        curl_slist_free_all(slot->headers);
        op_buf_release(&slot->header_text);
        op_http_reply_release(&slot->reply);
        op_mem_free(slot);
    }
    curl_multi_cleanup(calls->multi);
    op_mem_free(calls->slots);
    op_buf_release(&calls->header_text);
    op_mem_free(calls->url);
    op_mem_free(calls->proxy);
    op_mem_free(calls->ca_file);
    op_mem_free(calls);
    curl_global_cleanup();
}

static const struct op_calls_ops curl_ops = {
    .name = "curl",
    .submit = curl_submit,
    .collect = curl_collect,
    .close = curl_close,
};

/* So many are asked at a time at most, as a rule; with more, some connections are made anew. */
#define SERVERS 8

enum op_rc op_calls_curl_open(size_t most, struct op_calls **ret, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *ca_file = NULL;
    enum op_rc rc = op_libcurl_load(err);
    if (!rc)
        rc = op_curl_ca_file(&ca_file, err);
    if (!rc)
        rc = op_curl_start(err);
    if (rc)
        return rc;
    struct calls_curl *calls = op_mem_alloc(sizeof(*calls));
    calls->base.ops = &curl_ops;
    op_buf_init(&calls->header_text, HEADERS_MAX);
    calls->proxy = op_curl_proxy();
    calls->ca_file = OP_TAKE(ca_file);
    calls->multi = curl_multi_init();
    if (!calls->multi)
        abort(); /* out of memory */
    CURLMcode code = curl_multi_setopt(calls->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)most);
    if (!code)
        code = curl_multi_setopt(calls->multi, CURLMOPT_MAXCONNECTS, (long)most * SERVERS);
    if (code) {
        curl_close(&calls->base);
        return fail_multi(code, err);
    }
    *ret = &calls->base;
    return OP_OK;
}
