/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "provider/driver.h"
#include "provider/gemini/gemini.h"
#include "provider/reply.h"

/* google.rpc.Code, by its numbers. */
static const char *const code_names[] = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};
#define CODE_UNKNOWN 2

const char *op_gemini_code_name(int64_t code)
{
    if (code < 0 || code >= (int64_t)OP_COUNT(code_names))
        return code_names[CODE_UNKNOWN];
    return code_names[code];
}

int64_t op_gemini_code_of(struct op_str name)
{
    for (size_t i = 0; i < OP_COUNT(code_names); i++)
        if (op_str_is(name, code_names[i]))
            return (int64_t)i;
    return CODE_UNKNOWN;
}

/* --- reading -------------------------------------------------------------------------------- */

/* "27s" or "967.68s", rounded up; -1 for anything else. */
static int64_t read_delay(struct op_json v)
{
    struct op_str text = op_json_str(v);
    double seconds;
    if (text.len < 2 || text.ptr[text.len - 1] != 's')
        return -1;
    /* A day bounds what a wrong reply can cost. */
    if (!op_str_double((struct op_str){text.ptr, text.len - 1}, &seconds) || seconds < 0 ||
        seconds > (double)(OP_DAY_MS / OP_SECOND_MS))
        return -1;
    return (int64_t)ceil(seconds * (double)OP_SECOND_MS);
}

static void read_violations(struct op_json violations, struct op_gemini_fault *fault)
{
    struct op_json_iter it = op_json_iter(violations);
    while (op_json_is(violations, OP_JSON_ARRAY) && op_json_next(&it)) {
        struct op_str id = op_json_str(op_json_get(it.value, "quotaId"));
        struct op_str metric = op_json_str(op_json_get(it.value, "quotaMetric"));
        fault->daily = fault->daily || op_str_mentions(id, "PerDay");
        bool queue = op_str_mentions(id, "enqueued") || op_str_mentions(metric, "enqueued");
        if (queue && (op_str_mentions(id, "token") || op_str_mentions(metric, "token")))
            fault->token_limit = op_json_count64(op_json_get(it.value, "quotaValue"), -1);
    }
}

/* By the end of @type: its package differs from version to version. */
static void read_details(struct op_json details, struct op_gemini_fault *fault)
{
    struct op_json_iter it = op_json_iter(details);
    while (op_json_is(details, OP_JSON_ARRAY) && op_json_next(&it)) {
        struct op_str type = op_json_str(op_json_get(it.value, "@type"));
        if (op_str_ends(type, "RetryInfo"))
            fault->retry_ms = read_delay(op_json_get(it.value, "retryDelay"));
        else if (op_str_ends(type, "QuotaFailure"))
            read_violations(op_json_get(it.value, "violations"), fault);
        else if (op_str_ends(type, "ErrorInfo"))
            fault->reason = op_json_str(op_json_get(it.value, "reason"));
    }
}

struct op_gemini_fault op_gemini_fault_read(struct op_json error)
{
    struct op_gemini_fault fault = {
        .code = op_json_count64(op_json_get(error, "code"), -1),
        .status = op_json_str(op_json_get(error, "status")),
        .message = op_json_str(op_json_get(error, "message")),
        .retry_ms = -1,
        .token_limit = -1,
    };
    read_details(op_json_get(error, "details"), &fault);
    return fault;
}

bool op_gemini_fault_pauses(const struct op_gemini_fault *fault, enum op_disp *ret)
{
    /* Told apart by their text alone. A plain 429 also says "check your plan and billing details",
     * so that the word billing counts only where the state of the account is meant. */
    static const struct {
        const char *phrase;
        bool precondition; /* only with the status FAILED_PRECONDITION */
        enum op_disp disp;
    } known[] = {
        {"api key not valid", false, OP_DISP_PAUSE},
        {"api key expired", false, OP_DISP_PAUSE},
        {"api_key_invalid", false, OP_DISP_PAUSE},
        {"spending cap", false, OP_DISP_QUOTA},
        {"spend cap", false, OP_DISP_QUOTA},
        {"spend limit", false, OP_DISP_QUOTA},
        {"credits are depleted", false, OP_DISP_QUOTA},
        {"billing", true, OP_DISP_QUOTA},
        {"location", true, OP_DISP_PAUSE},
        {"region", true, OP_DISP_PAUSE},
    };
    *ret = OP_DISP_PAUSE;
    if (op_str_starts(fault->reason, "API_KEY_") || op_str_is(fault->status, "UNAUTHENTICATED"))
        return true;
    bool precondition = op_str_is(fault->status, "FAILED_PRECONDITION");
    for (size_t i = 0; i < OP_COUNT(known); i++) {
        *ret = known[i].disp;
        if ((precondition || !known[i].precondition) &&
            op_str_mentions(fault->message, known[i].phrase))
            return true;
    }
    /* The day's quota is used up until midnight, though the delay that is told with it may be eight
     * seconds (gemini.md 7). */
    *ret = OP_DISP_QUOTA;
    return fault->daily;
}

struct op_json op_gemini_error_of(struct op_json root)
{
    if (op_json_is(root, OP_JSON_ARRAY) && op_json_count(root) == 1) {
        struct op_json_iter it = op_json_iter(root);
        if (op_json_next(&it))
            root = it.value;
    }
    struct op_json error = op_json_get(root, "error");
    if (!op_json_is(error, OP_JSON_OBJECT) ||
        op_json_count64(op_json_get(error, "code"), -1) < 0 ||
        !(op_json_str(op_json_get(error, "status")).ptr ||
          op_json_str(op_json_get(error, "message")).ptr))
        return (struct op_json){0};
    return error;
}

/* --- replies -------------------------------------------------------------------------------- */

/* A reply read as the API's error envelope. shaped: it is one, so the API itself has spoken. */
struct envelope {
    struct op_json_parser *parser;
    struct op_gemini_fault fault;
    int status; /* of the reply; of the error, when that came with a success */
    bool shaped;
};

static void envelope_release(struct envelope *e)
{
    op_json_parser_free(e->parser);
}

static void envelope_read(const struct op_http_reply *reply, struct envelope *ret)
{
    *ret = (struct envelope){.parser = op_json_parser_new(), .status = reply->status};
    struct op_json error = op_gemini_error_of(op_reply_json(reply, ret->parser));
    if (!op_json_ok(error))
        return;
    ret->fault = op_gemini_fault_read(error);
    ret->shaped = true;
    if (op_reply_good(reply))
        ret->status = ret->fault.code < 1000 ? (int)ret->fault.code : 0;
}

/* "Gemini answered 429 RESOURCE_EXHAUSTED: text" */
static void describe(const struct op_http_reply *reply, const struct envelope *e, char *ret,
                     size_t size)
{
    char name[80], message[500];
    if (reply->status == 0) {
        snprintf(ret, size, "no reply from Gemini");
    } else if (e->shaped) {
        op_remote_text(e->fault.status, name, sizeof(name));
        op_remote_text(e->fault.message, message, sizeof(message));
        snprintf(ret, size, "Gemini answered %d %s: %s", e->status, name, message);
    } else {
        struct op_str body = op_str_trim(op_buf_str(&reply->body));
        op_remote_text(body, message, sizeof(message) / 2);
        snprintf(ret, size,
                 "Gemini's address answered %d with something else than the API's JSON: '%s'",
                 reply->status, message);
    }
}

/* A file that is gone, or another project's, is answered 403 (gemini.md 3). */
static bool is_missing(const struct envelope *e)
{
    if (e->status == 404 || e->status == 410)
        return true;
    return e->status == 403 && e->shaped && op_str_mentions(e->fault.message, "may not exist");
}

/* The longest of what header and details ask for. *ret_retry_after holds the header's, or -1. */
static enum op_disp throttled(const struct envelope *e, int64_t *ret_retry_after)
{
    int64_t wait = *ret_retry_after;
    if (e->shaped && e->fault.retry_ms > wait)
        wait = e->fault.retry_ms;
    *ret_retry_after = wait;
    return wait >= 0 ? OP_DISP_RETRY_AFTER : OP_DISP_RETRY;
}

static enum op_disp disposition(const struct op_http_reply *reply, const struct envelope *e,
                                int64_t *ret_retry_after)
{
    enum op_disp pause;
    if (e->shaped && op_gemini_fault_pauses(&e->fault, &pause))
        return pause;
    if (e->status == 403 && is_missing(e))
        return OP_DISP_RETRY;
    /* Names of JSON Lines that were taken a day before have been refused (gemini.md 3). */
    if (e->shaped && e->status == 400 && op_str_mentions(e->fault.message, "mime type"))
        return OP_DISP_RETRY;
    struct op_http_reply same = *reply;
    same.status = e->status;
    enum op_disp disp = op_reply_disposition(&same, ret_retry_after);
    return disp == OP_DISP_RETRY || disp == OP_DISP_RETRY_AFTER ? throttled(e, ret_retry_after)
                                                                : disp;
}

enum op_rc op_gemini_decode_error(const struct op_http_reply *reply, struct op_err *err)
{
    OP_CLEANUP(envelope_release) struct envelope e;
    envelope_read(reply, &e);
    char text[800];
    describe(reply, &e, text, sizeof(text));
    int64_t retry_after = -1;
    enum op_disp disp = disposition(reply, &e, &retry_after);
    bool missing = is_missing(&e);
    if (missing && disp == OP_DISP_REJECT)
        disp = OP_DISP_RETRY; /* what was there a moment ago is only called gone after hours */
    enum op_rc rc = missing ? OP_NOTFOUND : OP_REMOTE;
    op_reply_outcome(err, rc, disp, e.status, text);
    if (disp == OP_DISP_RETRY_AFTER)
        err->retry_after_ms = retry_after;
    return rc;
}

enum op_create_class op_gemini_refusal(const struct op_http_reply *reply, struct op_err *err)
{
    OP_CLEANUP(envelope_release) struct envelope e;
    envelope_read(reply, &e);
    char text[800];
    describe(reply, &e, text, sizeof(text));
    /* The API puts its status into the error too; a proxy in front of it would not. */
    if (!e.shaped || e.fault.code != reply->status || !op_status_refuses(reply->status))
        return op_reply_ambiguous(reply, text, err);
    int64_t retry_after = -1;
    enum op_disp disp = disposition(reply, &e, &retry_after);
    op_reply_outcome(err, OP_REMOTE, disp, reply->status, text);
    if (disp == OP_DISP_RETRY_AFTER)
        err->retry_after_ms = retry_after;
    return OP_CREATE_REJECTED;
}
