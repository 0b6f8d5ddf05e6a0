/* SPDX-License-Identifier: MIT */
#include "provider/reply.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "provider/driver.h"

bool op_reply_good(const struct op_http_reply *reply)
{
    return reply->status >= 200 && reply->status < 300;
}

bool op_status_refuses(int status)
{
    static const int refusals[] = {400, 401, 402, 403, 404, 405, 413, 415, 422, 429};
    for (size_t i = 0; i < OP_COUNT(refusals); i++)
        if (status == refusals[i])
            return true;
    return false;
}

enum op_disp op_reply_disposition(const struct op_http_reply *reply, int64_t *ret_retry_after)
{
    switch (reply->status) {
    case 401:
    case 403:
        return OP_DISP_PAUSE;
    case 402:
        return OP_DISP_QUOTA;
    case 413:
        return OP_DISP_SPLIT;
    case 408:
    case 409:
    case 425:
    case 429:
        break;
    default:
        if (reply->status >= 400 && reply->status < 500)
            return OP_DISP_REJECT;
    }
    *ret_retry_after = op_http_retry_after_ms(reply, 0);
    return *ret_retry_after >= 0 ? OP_DISP_RETRY_AFTER : OP_DISP_RETRY;
}

void op_reply_outcome(struct op_err *err, enum op_rc rc, enum op_disp disp, int status,
                      const char *text)
{
    if (err->msg[0])
        op_err_wrap(err, "%s", text);
    else
        op_err_set(err, rc, "%s", text);
    err->rc = rc;
    err->disp = disp;
    if (status)
        err->native = status;
}

enum op_rc op_reply_unusable(const struct op_http_reply *reply, const char *who,
                             const char *what, struct op_err *err)
{
    char body[200], text[400];
    op_remote_text(op_str_trim(op_buf_str(&reply->body)), body, sizeof(body));
    snprintf(text, sizeof(text), "%s answered %d without %s: '%s'", who, reply->status, what,
             body);
    op_reply_outcome(err, OP_REMOTE, OP_DISP_RETRY, reply->status, text);
    return OP_REMOTE;
}

enum op_create_class op_reply_ambiguous(const struct op_http_reply *reply, const char *text,
                                        struct op_err *err)
{
    char full[900];
    snprintf(full, sizeof(full), "%s; the batch may have been accepted", text);
    op_reply_outcome(err, OP_REMOTE, OP_DISP_AMBIGUOUS, reply->status, full);
    return OP_CREATE_AMBIGUOUS;
}

void op_reply_write_body(struct op_json_out *out, const struct op_http_reply *reply,
                         struct op_json body)
{
    struct op_str text = op_str_trim(op_buf_str(&reply->body));
    if (memchr(text.ptr, '\n', text.len))
        op_json_out_value(out, body);
    else
        op_json_out_raw(out, text);
}

struct op_json op_reply_json(const struct op_http_reply *reply, struct op_json_parser *parser)
{
    struct op_json root = {0};
    struct op_err ignored = OP_ERR_INIT;
    if (op_json_parse(parser, reply->body.ptr, reply->body.len, true, &root, &ignored))
        return (struct op_json){0};
    return root;
}

void op_copy_whole(char *ret, size_t size, struct op_str s)
{
    if (!s.ptr || s.len >= size)
        s.len = 0;
    if (s.len)
        memcpy(ret, s.ptr, s.len);
    ret[s.len] = '\0';
}

int64_t op_json_count64(struct op_json v, int64_t fallback)
{
    struct op_str text = op_json_str(v);
    int64_t n;
    if (text.ptr)
        return op_str_int64(text, &n) ? n : fallback;
    return op_json_int(v, fallback);
}

int64_t op_json_tokens(struct op_json object, const char *name)
{
    int64_t n = op_json_count64(op_json_get(object, name), 0);
    return n < 0 ? 0 : n;
}

int64_t op_json_time(struct op_json v)
{
    struct op_str text = op_json_str(v);
    int64_t ms;
    if (text.ptr)
        return op_time_parse(text, &ms) && ms >= 0 ? ms : -1;
    int64_t seconds = op_json_int(v, -1);
    if (seconds < 0 || __builtin_mul_overflow(seconds, OP_SECOND_MS, &ms))
        return -1;
    return ms;
}
