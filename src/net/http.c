/* SPDX-License-Identifier: MIT */
#include "net/http.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/time.h"

#define HEADERS_MAX ((size_t)256 * 1024)

void op_http_reply_init(struct op_http_reply *reply)
{
    *reply = (struct op_http_reply){.content_length = -1};
    op_buf_init(&reply->body, OP_HTTP_REPLY_MAX);
    op_buf_init(&reply->headers, HEADERS_MAX);
}

void op_http_reply_release(struct op_http_reply *reply)
{
    op_buf_release(&reply->body);
    op_buf_release(&reply->headers);
}

struct op_str op_http_header_get(const struct op_http_reply *reply, const char *name)
{
    struct op_str rest = op_buf_str(&reply->headers);
    size_t name_len = strlen(name);
    while (rest.ptr) {
        struct op_str line = op_str_cut(&rest, '\n');
        if (line.len > name_len && line.ptr[name_len] == ':' &&
            strncasecmp(line.ptr, name, name_len) == 0)
            return op_str_trim(
                (struct op_str){line.ptr + name_len + 1, line.len - name_len - 1});
    }
    return OP_STR_NULL;
}

int64_t op_http_date_ms(const struct op_http_reply *reply)
{
    int64_t ms;
    struct op_str date = op_http_header_get(reply, "Date");
    return date.ptr && op_time_parse_http(date, &ms) && ms >= 0 ? ms : -1;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "12" or "1.5" as milliseconds, fractions of one dropped; saturates. Written out, because strtod
 * would also take "inf", "1e9" and "0x10". */
static bool seconds_to_ms(struct op_str text, int64_t *ret)
{
    int64_t seconds = 0;
    bool huge = false;
    size_t i = 0;
    for (; i < text.len && is_digit(text.ptr[i]); i++) {
        huge |= __builtin_mul_overflow(seconds, 10, &seconds);
        huge |= __builtin_add_overflow(seconds, text.ptr[i] - '0', &seconds);
    }
    if (i == 0)
        return false;
    int64_t part = 0;
    if (i < text.len) {
        if (text.ptr[i++] != '.' || i == text.len)
            return false;
        for (int64_t unit = 100; i < text.len && is_digit(text.ptr[i]); i++, unit /= 10)
            part += (text.ptr[i] - '0') * unit;
    }
    if (i < text.len)
        return false;
    int64_t ms;
    huge |= __builtin_mul_overflow(seconds, 1000, &ms);
    huge |= __builtin_add_overflow(ms, part, &ms);
    *ret = huge ? INT64_MAX : ms;
    return true;
}

int64_t op_http_retry_after_ms(const struct op_http_reply *reply, int64_t now_ms)
{
    struct op_str value = op_http_header_get(reply, "Retry-After");
    int64_t ms;
    if (!value.ptr)
        return -1;
    if (seconds_to_ms(value, &ms))
        return ms;
    if (!op_time_parse_http(value, &ms))
        return -1;
    /* The server's own clock is the one its date is meant by. */
    int64_t date = op_http_date_ms(reply);
    int64_t from = date >= 0 ? date : now_ms;
    return ms >= from ? ms - from : -1;
}

static bool is_method(const char *method)
{
    static const char *const known[] = {"GET", "POST", "DELETE", "PUT", "PATCH"};
    for (size_t i = 0; i < OP_COUNT(known); i++) {
        if (strcmp(method, known[i]) == 0)
            return true;
    }
    return false;
}

/* These decide how a body is framed and sent; the gate rests on them. */
static bool is_reserved(const char *name)
{
    static const char *const ours[] = {"Content-Length", "Transfer-Encoding", "Expect",
                                       "Connection",     "Accept-Encoding",   "TE"};
    for (size_t i = 0; i < OP_COUNT(ours); i++) {
        if (strcasecmp(name, ours[i]) == 0)
            return true;
    }
    return false;
}

static bool is_token(const char *name)
{
    static const char symbols[] = "!#$%&'*+-.^_`|~";
    for (const char *c = name; *c; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        if (!letter && !(*c >= '0' && *c <= '9') && !strchr(symbols, *c))
            return false;
    }
    return *name != '\0';
}

static enum op_rc check_headers(const struct op_http_request *request, struct op_err *err)
{
    for (size_t i = 0; i < request->header_count; i++) {
        const struct op_http_header *h = &request->headers[i];
        if (!is_token(h->name))
            return op_fail(err, OP_INVAL, "header %zu of a request has no valid name", i + 1);
        if (is_reserved(h->name))
            return op_fail(err, OP_INVAL, "header '%s' cannot be set: the client sets it",
                           h->name);
        /* The value may be a key: it is never quoted. */
        if (strpbrk(h->value, "\r\n"))
            return op_fail(err, OP_INVAL, "header '%s' contains a line break: remove it",
                           h->name);
    }
    return OP_OK;
}

static enum op_rc check_body(const struct op_http_request *request, struct op_err *err)
{
    bool streamed = request->body_fn != NULL;
    if (streamed && (request->body.len > 0 || request->body_len <= 0))
        return op_fail(err, OP_INVAL,
                       "a streamed request body needs a length and no body in memory");
    if (!streamed && request->body_len > 0 && (size_t)request->body_len != request->body.len)
        return op_fail(err, OP_INVAL, "the request's body_len differs from its body");
    if (strcmp(request->method, "GET") == 0 && (streamed || request->body.len > 0))
        return op_fail(err, OP_INVAL, "a GET cannot have a body");
    if (request->gate && !streamed && request->body.len == 0)
        return op_fail(err, OP_INVAL,
                       "a gated request needs a body: its last byte is what the gate holds");
    return OP_OK;
}

enum op_rc op_http_check(const struct op_http_request *request, struct op_err *err)
{
    if (!request->method || !is_method(request->method))
        return op_fail(err, OP_INVAL, "HTTP method '%s' is not supported",
                       request->method ? request->method : "");
    enum op_rc rc = check_headers(request, err);
    return rc ? rc : check_body(request, err);
}

enum op_rc op_http_perform(struct op_http *http, const struct op_http_request *request,
                           struct op_http_reply *reply, struct op_err *err)
{
    reply->status = 0;
    reply->released = false;
    reply->gate_passed = false;
    reply->content_length = -1;
    op_buf_clear(&reply->body);
    op_buf_clear(&reply->headers);
    enum op_rc rc = op_http_check(request, err);
    return rc ? rc : http->ops->perform(http, request, reply, err);
}

void op_http_close(struct op_http *http)
{
    if (http)
        http->ops->close(http);
}

void op_http_closep(struct op_http **http)
{
    op_http_close(*http);
    *http = NULL;
}
