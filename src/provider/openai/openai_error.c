/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "net/http.h"
#include "provider/driver.h"
#include "provider/openai/openai.h"
#include "provider/reply.h"

/* --- faults --------------------------------------------------------------------------------- */

struct op_openai_fault op_openai_fault_read(struct op_json error)
{
    struct op_json inner = op_json_get(error, "error");
    if (op_json_is(error, OP_JSON_OBJECT) && op_json_ok(inner) &&
        !op_json_is(inner, OP_JSON_NULL))
        error = inner;
    if (!op_json_is(error, OP_JSON_OBJECT))
        return (struct op_openai_fault){.message = op_json_str(error)};
    return (struct op_openai_fault){
        .code = op_json_str(op_json_get(error, "code")),
        .type = op_json_str(op_json_get(error, "type")),
        .message = op_json_str(op_json_get(error, "message")),
    };
}

static bool names(const struct op_openai_fault *fault, const char *word)
{
    return op_str_is(fault->code, word) || op_str_is(fault->type, word);
}

bool op_openai_fault_known(const struct op_openai_fault *fault, enum op_disp *ret)
{
    static const struct {
        const char *code; /* the code or type; NULL: ... */
        const char *text; /* ... what the message says */
        enum op_disp disp;
    } known[] = {
        {"insufficient_quota", NULL, OP_DISP_QUOTA},
        {"billing_hard_limit_reached", NULL, OP_DISP_QUOTA},
        {"billing_not_active", NULL, OP_DISP_QUOTA},
        {"account_deactivated", NULL, OP_DISP_PAUSE},
        {"access_terminated", NULL, OP_DISP_PAUSE},
        {"invalid_api_key", NULL, OP_DISP_PAUSE},
        {"authentication_error", NULL, OP_DISP_PAUSE},
        {"input_no_permissions", NULL, OP_DISP_PAUSE},
        {NULL, "exceeded your current quota", OP_DISP_QUOTA},
        {NULL, "billing", OP_DISP_QUOTA},
        {NULL, "insufficient balance", OP_DISP_QUOTA},
        /* A full queue empties by itself; it comes from the create as well as from a poll. */
        {"token_limit_exceeded", NULL, OP_DISP_RETRY_AFTER},
        {NULL, "enqueued token", OP_DISP_RETRY_AFTER},
        /* A file that has just been uploaded is not found for a while, once for hours. */
        {NULL, "cannot find file", OP_DISP_RETRY},
        {"too_many_tasks", NULL, OP_DISP_SPLIT},
        {"file_too_large", NULL, OP_DISP_SPLIT},
        {NULL, "file is too large", OP_DISP_SPLIT},
        {NULL, "batch input file is larger than", OP_DISP_SPLIT},
        {"server_error", NULL, OP_DISP_RETRY},
        {"internal_error", NULL, OP_DISP_RETRY},
        {"rate_limit_exceeded", NULL, OP_DISP_RETRY},
        {"request_timeout", NULL, OP_DISP_RETRY},
    };
    for (size_t i = 0; i < OP_COUNT(known); i++) {
        if (known[i].code ? !names(fault, known[i].code)
                          : !op_str_mentions(fault->message, known[i].text))
            continue;
        *ret = known[i].disp;
        return true;
    }
    return false;
}

/* "... Limit: 2,000,000 enqueued tokens. ..." */
int64_t op_openai_limit(struct op_str message)
{
    static const char word[] = "limit:";
    for (size_t i = 0; i + sizeof(word) - 1 <= message.len; i++) {
        if (strncasecmp(message.ptr + i, word, sizeof(word) - 1) != 0)
            continue;
        char digits[24];
        size_t count = 0, at = i + sizeof(word) - 1;
        while (at < message.len && message.ptr[at] == ' ')
            at++;
        for (; at < message.len && count < sizeof(digits); at++) {
            char c = message.ptr[at];
            if (isdigit((unsigned char)c))
                digits[count++] = c;
            else if (c != ',' && c != '_')
                break;
        }
        int64_t limit;
        if (op_str_int64((struct op_str){digits, count}, &limit) && limit > 0)
            return limit;
    }
    return -1;
}

/* --- replies -------------------------------------------------------------------------------- */

void op_openai_envelope_read(const struct op_http_reply *reply, struct op_openai_envelope *ret)
{
    *ret = (struct op_openai_envelope){.parser = op_json_parser_new()};
    struct op_json root = op_reply_json(reply, ret->parser);
    struct op_json error = op_json_get(root, "error");
    if (!op_json_is(root, OP_JSON_OBJECT) || !op_json_is(error, OP_JSON_OBJECT))
        return;
    ret->fault = op_openai_fault_read(error);
    /* A gateway in front says {"error":{"message"}} too, but it has neither types nor codes. */
    ret->shaped = ret->fault.message.len > 0 &&
                  (ret->fault.type.len > 0 || op_json_ok(op_json_get(error, "code")));
}

void op_openai_envelope_release(struct op_openai_envelope *e)
{
    op_json_parser_free(e->parser);
}

void op_openai_describe(const struct op_http_reply *reply, const struct op_openai_envelope *e,
                        char *ret, size_t size)
{
    char type[80], message[500], id[80];
    struct op_str request = op_http_header_get(reply, "x-request-id");
    op_remote_text(request, id, sizeof(id));
    const char *open = id[0] ? " (request " : "", *close = id[0] ? ")" : "";
    if (reply->status == 0) {
        snprintf(ret, size, "no reply from the API");
    } else if (e->shaped) {
        op_remote_text(e->fault.code.len ? e->fault.code : e->fault.type, type, sizeof(type));
        op_remote_text(e->fault.message, message, sizeof(message));
        snprintf(ret, size, "the API answered %d %s%s%s%s%s%s", reply->status, type,
                 type[0] ? ": " : "", message, open, id, close);
    } else {
        struct op_str body = op_buf_str(&reply->body);
        op_remote_text(op_str_trim(body), message, sizeof(message) / 2);
        snprintf(ret, size,
                 "the API's address answered %d with something else than the API's "
                 "JSON: '%s'%s%s%s",
                 reply->status, message, open, id, close);
    }
}

/* "6m0s", "21ms", "2s81ms": how x-ratelimit-reset-* say it; -1 when it is none of these. */
static int64_t read_duration(struct op_str text)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1}, {"s", OP_SECOND_MS}, {"m", OP_MINUTE_MS}, {"h", OP_HOUR_MS}};
    double sum = 0;
    if (text.len == 0)
        return -1;
    while (text.len > 0) {
        size_t n = 0;
        while (n < text.len && (isdigit((unsigned char)text.ptr[n]) || text.ptr[n] == '.'))
            n++;
        double value;
        size_t unit = 0;
        if (!op_str_double((struct op_str){text.ptr, n}, &value))
            return -1;
        text = (struct op_str){text.ptr + n, text.len - n};
        while (unit < OP_COUNT(units) && !op_str_starts(text, units[unit].unit))
            unit++;
        if (unit == OP_COUNT(units))
            return -1;
        sum += value * units[unit].ms;
        size_t len = strlen(units[unit].unit);
        text = (struct op_str){text.ptr + len, text.len - len};
    }
    return sum <= (double)OP_DAY_MS ? (int64_t)sum : -1;
}

/* The server's own word comes first; what is left of a limit's window only stands in for it. */
static int64_t read_wait(const struct op_http_reply *reply)
{
    static const char *const resets[] = {"x-ratelimit-reset-requests",
                                         "x-ratelimit-reset-tokens"};
    static const char *const remains[] = {"x-ratelimit-remaining-requests",
                                          "x-ratelimit-remaining-tokens"};
    int64_t ms;
    if (op_str_int64(op_http_header_get(reply, "retry-after-ms"), &ms) && ms >= 0)
        return ms;
    ms = op_http_retry_after_ms(reply, 0);
    for (size_t i = 0; ms < 0 && reply->status == 429 && i < OP_COUNT(resets); i++)
        if (op_str_is(op_http_header_get(reply, remains[i]), "0"))
            ms = read_duration(op_http_header_get(reply, resets[i]));
    return ms;
}

enum op_disp op_openai_disposition(const struct op_http_reply *reply,
                                   const struct op_openai_envelope *e,
                                   int64_t *ret_retry_after_ms)
{
    enum op_disp disp;
    int64_t wait = read_wait(reply);
    *ret_retry_after_ms = wait;
    int64_t plain; /* read_wait knows this header and more */
    if (!e->shaped || !op_openai_fault_known(&e->fault, &disp))
        disp = op_reply_disposition(reply, &plain);
    if (disp == OP_DISP_RETRY || disp == OP_DISP_RETRY_AFTER)
        return wait >= 0 ? OP_DISP_RETRY_AFTER : OP_DISP_RETRY;
    return disp;
}

enum op_rc op_openai_decode_error(const struct op_http_reply *reply, struct op_err *err)
{
    OP_CLEANUP(op_openai_envelope_release) struct op_openai_envelope e;
    op_openai_envelope_read(reply, &e);
    char text[800];
    op_openai_describe(reply, &e, text, sizeof(text));
    int64_t wait = -1;
    enum op_disp disp = op_openai_disposition(reply, &e, &wait);
    bool gone = reply->status == 404 || reply->status == 410;
    enum op_rc rc = gone ? OP_NOTFOUND : OP_REMOTE;
    op_reply_outcome(err, rc, gone && disp == OP_DISP_REJECT ? OP_DISP_RETRY : disp,
                     reply->status, text);
    if (err->disp == OP_DISP_RETRY_AFTER)
        err->retry_after_ms = wait;
    return rc;
}
