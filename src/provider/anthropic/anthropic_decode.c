/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "net/http.h"
#include "provider/anthropic/anthropic.h"
#include "provider/driver.h"
#include "provider/reply.h"

/* --- errors --------------------------------------------------------------------------------- */

struct op_anthropic_fault op_anthropic_fault_read(struct op_json error)
{
    return (struct op_anthropic_fault){
        .type = op_json_str(op_json_get(error, "type")),
        .code = op_json_str(op_json_get(op_json_get(error, "details"), "error_code")),
        .message = op_json_str(op_json_get(error, "message")),
    };
}

bool op_anthropic_fault_pauses(const struct op_anthropic_fault *fault, enum op_disp *ret)
{
    static const struct {
        const char *code;
        enum op_disp disp;
    } codes[] = {
        {"enforced_spend_limit_reached", OP_DISP_QUOTA},
        {"contract_spend_limit_reached", OP_DISP_QUOTA},
        {"billing_error", OP_DISP_QUOTA},
        {"organization_on_hold", OP_DISP_PAUSE},
        {"cmek_key_disabled", OP_DISP_PAUSE},
        {"claude_code_key_creator_not_member", OP_DISP_PAUSE},
    };
    /* Some of these come as invalid_request_error, told apart by their text alone. */
    static const char *const phrases[] = {"credit balance", "spend limit", "usage limits"};
    for (size_t i = 0; i < OP_COUNT(codes); i++) {
        *ret = codes[i].disp;
        if (op_str_is(fault->code, codes[i].code) || op_str_is(fault->type, codes[i].code) ||
            op_str_mentions(fault->message, codes[i].code))
            return true;
    }
    *ret = OP_DISP_QUOTA;
    for (size_t i = 0; i < OP_COUNT(phrases); i++)
        if (op_str_mentions(fault->message, phrases[i]))
            return true;
    return false;
}

/* A reply read as the API's error envelope. shaped: it is one, so the API itself has spoken. */
struct envelope {
    struct op_json_parser *parser;
    struct op_anthropic_fault fault;
    bool shaped;
};

static void envelope_release(struct envelope *e)
{
    op_json_parser_free(e->parser);
}

static void envelope_read(const struct op_http_reply *reply, struct envelope *ret)
{
    *ret = (struct envelope){.parser = op_json_parser_new()};
    struct op_json root = op_reply_json(reply, ret->parser);
    if (!op_str_is(op_json_str(op_json_get(root, "type")), "error"))
        return;
    ret->fault = op_anthropic_fault_read(op_json_get(root, "error"));
    ret->shaped = ret->fault.type.len > 0;
}

/* "Anthropic answered 400 invalid_request_error: text (request req_1)" */
static void describe(const struct op_http_reply *reply, const struct envelope *e, char *ret,
                     size_t size)
{
    char type[80], message[500], id[80];
    struct op_str request = op_http_header_get(reply, "request-id");
    op_remote_text(request, id, sizeof(id));
    const char *open = id[0] ? " (request " : "", *close = id[0] ? ")" : "";
    if (reply->status == 0) {
        snprintf(ret, size, "no reply from Anthropic");
    } else if (e->shaped) {
        op_remote_text(e->fault.code.len ? e->fault.code : e->fault.type, type, sizeof(type));
        op_remote_text(e->fault.message, message, sizeof(message));
        snprintf(ret, size, "Anthropic answered %d %s: %s%s%s%s", reply->status, type, message,
                 open, id, close);
    } else {
        struct op_str body = op_buf_str(&reply->body);
        op_remote_text(op_str_trim(body), message, sizeof(message) / 2);
        snprintf(ret, size,
                 "Anthropic's address answered %d with something else than the API's "
                 "JSON: '%s'%s%s%s",
                 reply->status, message, open, id, close);
    }
}

/* What to do about a status that the API itself explained. */
static enum op_disp disposition(const struct op_http_reply *reply, const struct envelope *e,
                                int64_t *ret_retry_after)
{
    /* Spend caps come as a 429 that no waiting mends, with no Retry-After: never in a loop. */
    enum op_disp pause;
    if (e->shaped && op_anthropic_fault_pauses(&e->fault, &pause))
        return pause;
    if (reply->status == 400 && (op_str_is(e->fault.code, "request_body_timeout") ||
                                 op_str_is(e->fault.type, "request_body_timeout")))
        return OP_DISP_RETRY;
    return op_reply_disposition(reply, ret_retry_after);
}

enum op_rc op_anthropic_decode_error(const struct op_http_reply *reply, struct op_err *err)
{
    OP_CLEANUP(envelope_release) struct envelope e;
    envelope_read(reply, &e);
    char text[800];
    describe(reply, &e, text, sizeof(text));
    int64_t retry_after = -1;
    enum op_disp disp = disposition(reply, &e, &retry_after);
    /* A batch that was there a moment ago answers 404 now and then, and heals (anthropic.md 9). */
    bool gone = reply->status == 404 || reply->status == 410;
    enum op_rc rc = gone ? OP_NOTFOUND : OP_REMOTE;
    op_reply_outcome(err, rc, gone && disp == OP_DISP_REJECT ? OP_DISP_RETRY : disp,
                     reply->status, text);
    if (err->disp == OP_DISP_RETRY_AFTER)
        err->retry_after_ms = retry_after;
    return rc;
}

/* --- batches -------------------------------------------------------------------------------- */

static int64_t read_time(struct op_json v)
{
    struct op_str text = op_json_str(v);
    int64_t ms;
    return text.ptr && op_time_parse(text, &ms) && ms >= 0 ? ms : -1;
}

static void read_counts(struct op_json counts, struct op_remote_batch *batch)
{
    struct {
        const char *name;
        int64_t *to;
    } fields[] = {
        {"processing", &batch->processing}, {"succeeded", &batch->succeeded},
        {"errored", &batch->errored},       {"canceled", &batch->canceled},
        {"expired", &batch->expired},
    };
    int64_t total = 0;
    for (size_t i = 0; i < OP_COUNT(fields); i++) {
        int64_t n = op_json_int(op_json_get(counts, fields[i].name), -1);
        *fields[i].to = n < 0 ? -1 : n;
        /* The sum serves as the batch's watermark, so a partial one is none. */
        if (n < 0 || total < 0 || __builtin_add_overflow(total, n, &total))
            total = -1;
    }
    batch->total = total;
}

static enum op_remote_state read_state(struct op_str name)
{
    if (op_str_is(name, "in_progress"))
        return OP_REMOTE_IN_PROGRESS;
    if (op_str_is(name, "canceling"))
        return OP_REMOTE_CANCELING;
    if (op_str_is(name, "ended"))
        return OP_REMOTE_ENDED;
    return OP_REMOTE_UNKNOWN;
}

/* False when it is no batch object with a usable id. */
static bool read_batch(struct op_json v, struct op_remote_batch *ret)
{
    struct op_str id = op_json_str(op_json_get(v, "id"));
    struct op_json type = op_json_get(v, "type");
    if (!op_provider_id_ok(id))
        return false;
    if (op_json_ok(type) && !op_str_is(op_json_str(type), "message_batch"))
        return false;
    struct op_remote_batch batch = {0};
    op_copy_whole(batch.id, sizeof(batch.id), id);
    struct op_str state = op_json_str(op_json_get(v, "processing_status"));
    batch.state = read_state(state);
    op_remote_text(state, batch.state_name, sizeof(batch.state_name));
    batch.created_ms = read_time(op_json_get(v, "created_at"));
    batch.expires_ms = read_time(op_json_get(v, "expires_at"));
    batch.ended_ms = read_time(op_json_get(v, "ended_at"));
    read_counts(op_json_get(v, "request_counts"), &batch);
    op_copy_whole(batch.results_url, sizeof(batch.results_url),
                  op_json_str(op_json_get(v, "results_url")));
    *ret = batch;
    return true;
}

enum op_rc op_anthropic_decode_batch(const struct op_http_reply *reply,
                                     struct op_remote_batch *ret, struct op_err *err)
{
    if (!op_reply_good(reply))
        return op_anthropic_decode_error(reply, err);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    if (!read_batch(op_reply_json(reply, parser), ret))
        return op_reply_unusable(reply, "Anthropic", "a batch", err);
    return OP_OK;
}

/* --- create --------------------------------------------------------------------------------- */

enum op_create_class op_anthropic_decode_create(enum op_rc transport,
                                                const struct op_http_reply *reply,
                                                struct op_remote_batch *ret, struct op_err *err)
{
    /* A transfer that failed proves nothing, whatever part of a reply had arrived. */
    if (transport)
        return op_reply_ambiguous(reply, "the connection to Anthropic failed during the create",
                                  err);
    if (op_reply_good(reply)) {
        struct op_err unread = OP_ERR_INIT;
        if (op_anthropic_decode_batch(reply, ret, &unread) == OP_OK)
            return OP_CREATE_ACCEPTED;
        return op_reply_ambiguous(reply, unread.msg, err);
    }
    OP_CLEANUP(envelope_release) struct envelope e;
    envelope_read(reply, &e);
    char text[800];
    describe(reply, &e, text, sizeof(text));
    if (!e.shaped || !op_status_refuses(reply->status))
        return op_reply_ambiguous(reply, text, err);
    int64_t retry_after = -1;
    enum op_disp disp = disposition(reply, &e, &retry_after);
    op_reply_outcome(err, OP_REMOTE, disp, reply->status, text);
    if (disp == OP_DISP_RETRY_AFTER)
        err->retry_after_ms = retry_after;
    return OP_CREATE_REJECTED;
}

/* --- lists ---------------------------------------------------------------------------------- */

/* Checks the whole page before fn hears of any of it: half a page must not look like a listing,
 * because absence from listings is evidence. */
static bool page_ok(struct op_json data)
{
    if (!op_json_is(data, OP_JSON_ARRAY))
        return false;
    struct op_json_iter it = op_json_iter(data);
    struct op_remote_batch batch;
    while (op_json_next(&it))
        if (!read_batch(it.value, &batch))
            return false;
    return true;
}

/* "" on the last page; false when there is a next one that cannot be named. */
static bool next_page(struct op_json root, char next_cursor[256])
{
    struct op_json more = op_json_get(root, "has_more");
    if (!op_json_is(more, OP_JSON_TRUE) && !op_json_is(more, OP_JSON_FALSE))
        return false;
    next_cursor[0] = '\0';
    if (!op_json_bool(more, false))
        return true;
    struct op_str last = op_json_str(op_json_get(root, "last_id"));
    struct op_json_iter it = op_json_iter(op_json_get(root, "data"));
    while (!op_provider_id_ok(last) && op_json_next(&it))
        if (it.index + 1 == op_json_count(op_json_get(root, "data")))
            last = op_json_str(op_json_get(it.value, "id"));
    if (!op_provider_id_ok(last) || last.len > 255)
        return false;
    op_copy_whole(next_cursor, 256, last);
    return true;
}

enum op_rc op_anthropic_decode_list(const struct op_http_reply *reply,
                                    void (*fn)(void *arg, const struct op_remote_batch *batch),
                                    void *arg, char next_cursor[256], struct op_err *err)
{
    if (!op_reply_good(reply))
        return op_anthropic_decode_error(reply, err);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root = op_reply_json(reply, parser);
    if (!op_json_ok(root))
        return op_reply_unusable(reply, "Anthropic", "a list of batches", err);
    struct op_json data = op_json_get(root, "data");
    char cursor[256];
    if (!page_ok(data))
        return op_reply_unusable(reply, "Anthropic", "a readable list of batches", err);
    if (!next_page(root, cursor))
        return op_reply_unusable(reply, "Anthropic", "a way to the next page of the list", err);
    struct op_json_iter it = op_json_iter(data);
    struct op_remote_batch batch;
    while (op_json_next(&it))
        if (read_batch(it.value, &batch))
            fn(arg, &batch);
    memcpy(next_cursor, cursor, sizeof(cursor));
    return OP_OK;
}
