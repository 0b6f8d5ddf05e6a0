/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "provider/driver.h"
#include "provider/openai/openai.h"
#include "provider/reply.h"

/* --- values --------------------------------------------------------------------------------- */

/* Seconds of the year 5138 are milliseconds of 1973: nobody's batch is of either, so the size tells
 * which of the two a number is. */
#define SECONDS_END 1e11

int64_t op_openai_time(struct op_json v)
{
    struct op_str text = op_json_str(v);
    int64_t ms;
    double seconds = op_json_double(v, -1);
    if (text.ptr) {
        if (op_time_parse(text, &ms))
            return ms >= 0 ? ms : -1;
        /* ISO times without a zone are in UTC, wherever they were seen. */
        char zoned[48];
        if (text.len < sizeof(zoned) - 1) {
            snprintf(zoned, sizeof(zoned), OP_STR_FMT "Z", OP_STR_ARG(text));
            if (op_time_parse(op_str_from(zoned), &ms))
                return ms >= 0 ? ms : -1;
        }
        if (!op_str_double(text, &seconds))
            return -1;
    }
    if (!(seconds > 0) || seconds > SECONDS_END * 1000)
        return -1;
    return (int64_t)(seconds < SECONDS_END ? seconds * 1000 : seconds);
}

static bool is_word(struct op_str s, const char *const *words)
{
    for (; *words; words++)
        if (s.len == strlen(*words) && s.len && strncasecmp(s.ptr, *words, s.len) == 0)
            return true;
    return false;
}

static enum op_remote_state read_state(struct op_str name)
{
    static const char *const running[] = {"validating", "in_progress", "finalizing", "queued",
                                          "pending",    "progress",    "running",    NULL};
    static const char *const canceling[] = {"cancelling", "canceling", "cancellation_requested",
                                            NULL};
    /* Partial output of expired and cancelled ones is kept, and paid for. */
    static const char *const ended[] = {"completed",        "expired", "cancelled",
                                        "canceled",         "success", "succeeded",
                                        "timeout_exceeded", NULL};
    static const char *const failed[] = {"failed", NULL};
    if (is_word(name, running))
        return OP_REMOTE_IN_PROGRESS;
    if (is_word(name, canceling))
        return OP_REMOTE_CANCELING;
    if (is_word(name, ended))
        return OP_REMOTE_ENDED;
    return is_word(name, failed) ? OP_REMOTE_FAILED : OP_REMOTE_UNKNOWN;
}

/* --- why a batch failed --------------------------------------------------------------------- */

/* `errors` is {"data": [...]}, a bare array, one object or a text; Together has `error`. */
static struct op_json errors_of(struct op_json batch)
{
    static const char *const names[] = {"errors", "error"};
    for (size_t i = 0; i < OP_COUNT(names); i++) {
        struct op_json v = op_json_get(batch, names[i]);
        struct op_json data = op_json_get(v, "data");
        if (op_json_is(data, OP_JSON_ARRAY))
            return data;
        if (op_json_ok(v) && !op_json_is(v, OP_JSON_NULL))
            return v;
    }
    return (struct op_json){0};
}

/* The lines of the file are wrong, or what they ask for: the same file fails again. */
static bool is_invalid(const struct op_openai_fault *fault, struct op_json error)
{
    static const char *const codes[] = {"mismatched_model",
                                        "model_mismatch",
                                        "model_not_found",
                                        "duplicate_custom_id",
                                        "url_mismatch",
                                        "empty_file",
                                        "empty_batch",
                                        "unsupported_model",
                                        "missing_required_parameter",
                                        NULL};
    return op_str_starts(fault->code, "invalid") || is_word(fault->code, codes) ||
           op_json_int(op_json_get(error, "line"), 0) > 0;
}

static enum op_disp one_disposition(const struct op_openai_fault *fault, struct op_json error)
{
    enum op_disp disp;
    if (op_openai_fault_known(fault, &disp))
        return disp;
    /* A reason nobody knows yet: nothing was bought, so trying again costs nothing. */
    return is_invalid(fault, error) ? OP_DISP_REJECT : OP_DISP_RETRY;
}

static void add_reason(struct op_json error, struct op_remote_batch *batch)
{
    struct op_openai_fault fault = op_openai_fault_read(error);
    char code[80], message[300], place[40] = "";
    int64_t line = op_json_int(op_json_get(error, "line"), -1);
    op_remote_text(fault.code.len ? fault.code : fault.type, code, sizeof(code));
    op_remote_text(fault.message, message, sizeof(message));
    if (line >= 0)
        snprintf(place, sizeof(place), " (line %lld)", (long long)line);
    size_t used = strlen(batch->failure);
    snprintf(batch->failure + used, sizeof(batch->failure) - used, "%s%s%s%s%s",
             used ? "; " : "", code, code[0] && message[0] ? ": " : "", message, place);
    if (batch->failure_limit < 0)
        batch->failure_limit = op_openai_limit(fault.message);
}

static void read_failure(struct op_json v, struct op_remote_batch *batch)
{
    struct op_json errors = errors_of(v);
    batch->failure_disp = OP_DISP_RETRY;
    batch->failure_limit = -1;
    if (!op_json_is(errors, OP_JSON_ARRAY)) {
        struct op_openai_fault fault = op_openai_fault_read(errors);
        add_reason(errors, batch);
        batch->failure_disp = one_disposition(&fault, errors);
    }
    struct op_json_iter it = op_json_iter(errors);
    while (op_json_is(errors, OP_JSON_ARRAY) && op_json_next(&it)) {
        struct op_openai_fault fault = op_openai_fault_read(it.value);
        add_reason(it.value, batch);
        /* The first reason decides; a bad line among others must not be asked again as it is. */
        enum op_disp disp = one_disposition(&fault, it.value);
        if (it.index == 0 || disp == OP_DISP_REJECT)
            batch->failure_disp = disp;
    }
    if (!batch->failure[0])
        snprintf(batch->failure, sizeof(batch->failure), "the API gives no reason");
    if (batch->failure_disp != OP_DISP_RETRY_AFTER)
        batch->failure_limit = -1;
}

/* --- batches -------------------------------------------------------------------------------- */

/* False when there is an id that cannot be used: a file that was paid for must not be passed
 * over as if it were none. */
static bool read_files(struct op_json v, struct op_remote_batch *batch)
{
    static const char *const names[] = {"output_file_id", "error_file_id"};
    struct op_str ids[2];
    for (size_t i = 0; i < 2; i++) {
        ids[i] = op_json_str(op_json_get(v, names[i]));
        if (ids[i].len && !op_provider_id_ok(ids[i]))
            return false;
    }
    if (ids[0].len || ids[1].len)
        snprintf(batch->results_url, sizeof(batch->results_url), OP_STR_FMT "," OP_STR_FMT,
                 OP_STR_ARG(ids[0]), OP_STR_ARG(ids[1]));
    return true;
}

static int64_t count_of(struct op_json counts, const char *name)
{
    int64_t n = op_json_int(op_json_get(counts, name), -1);
    return n < 0 ? -1 : n;
}

static void read_counts(struct op_json counts, struct op_remote_batch *batch)
{
    int64_t total = count_of(counts, "total");
    batch->succeeded = count_of(counts, "completed");
    batch->errored = count_of(counts, "failed");
    batch->canceled = batch->expired = batch->processing = -1;
    batch->total = total > 0 ? total : -1; /* 0 until the file has been read */
    if (batch->total > 0 && batch->succeeded >= 0 && batch->errored >= 0 &&
        batch->succeeded <= total && batch->errored <= total - batch->succeeded)
        batch->processing = total - batch->succeeded - batch->errored;
}

static int64_t first_time(struct op_json v, const char *const *names)
{
    int64_t ms = -1;
    for (; ms < 0 && *names; names++)
        ms = op_openai_time(op_json_get(v, *names));
    return ms;
}

static void read_tag(struct op_json v, struct op_remote_batch *batch)
{
    static const char *const names[] = {"op_tag", "ds_name"};
    for (size_t i = 0; i < OP_COUNT(names) && !batch->tag[0]; i++)
        op_copy_whole(batch->tag, sizeof(batch->tag),
                      op_json_str(op_json_get(op_json_get(v, "metadata"), names[i])));
    struct op_str file = op_json_str(op_json_get(v, "input_file_id"));
    if (op_provider_id_ok(file))
        op_copy_whole(batch->file_id, sizeof(batch->file_id), file);
}

/* False when it is no batch object with a usable id. */
static bool read_batch(struct op_json v, struct op_remote_batch *ret)
{
    static const char *const expires[] = {"expires_at", "job_deadline", NULL};
    static const char *const ends[] = {"completed_at", "expired_at", "cancelled_at",
                                       "failed_at", NULL};
    /* Together wraps the answer to a create, and only that. */
    if (op_json_is(op_json_get(v, "job"), OP_JSON_OBJECT))
        v = op_json_get(v, "job");
    struct op_str id = op_json_str(op_json_get(v, "id"));
    struct op_str object = op_json_str(op_json_get(v, "object"));
    if (!op_provider_id_ok(id) || (object.ptr && !op_str_is(object, "batch")))
        return false;
    struct op_remote_batch batch = {.failure_limit = -1};
    op_copy_whole(batch.id, sizeof(batch.id), id);
    struct op_str state = op_json_str(op_json_get(v, "status"));
    batch.state = read_state(state);
    op_remote_text(state, batch.state_name, sizeof(batch.state_name));
    batch.created_ms = op_openai_time(op_json_get(v, "created_at"));
    batch.expires_ms = first_time(v, expires);
    batch.ended_ms = first_time(v, ends);
    read_counts(op_json_get(v, "request_counts"), &batch);
    read_tag(v, &batch);
    if (!read_files(v, &batch))
        return false;
    /* Doubleword calls a batch failed of which every line failed, and says why line by line. */
    if (batch.state == OP_REMOTE_FAILED && batch.results_url[0])
        batch.state = OP_REMOTE_ENDED;
    if (batch.state == OP_REMOTE_FAILED)
        read_failure(v, &batch);
    *ret = batch;
    return true;
}

/* An old batch id was seen to answer an error object in place of a batch. */
static enum op_rc fail_batch(const struct op_http_reply *reply, struct op_err *err)
{
    OP_CLEANUP(op_openai_envelope_release) struct op_openai_envelope e;
    op_openai_envelope_read(reply, &e);
    if (!e.shaped)
        return op_reply_unusable(reply, "the API", "a batch", err);
    static const char *const phrases[] = {"not found", "no batch", "does not exist"};
    bool gone = false;
    for (size_t i = 0; i < OP_COUNT(phrases); i++)
        gone = gone || op_str_mentions(e.fault.message, phrases[i]);
    char text[800];
    op_openai_describe(reply, &e, text, sizeof(text));
    enum op_rc rc = gone ? OP_NOTFOUND : OP_REMOTE;
    op_reply_outcome(err, rc, OP_DISP_RETRY, reply->status, text);
    return rc;
}

enum op_rc op_openai_decode_batch(const struct op_http_reply *reply,
                                  struct op_remote_batch *ret, struct op_err *err)
{
    if (!op_reply_good(reply))
        return op_openai_decode_error(reply, err);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    if (!read_batch(op_reply_json(reply, parser), ret))
        return fail_batch(reply, err);
    return OP_OK;
}

/* --- create --------------------------------------------------------------------------------- */

enum op_create_class op_openai_decode_create(enum op_rc transport,
                                             const struct op_http_reply *reply,
                                             struct op_remote_batch *ret, struct op_err *err)
{
    /* A transfer that failed proves nothing, whatever part of a reply had arrived. */
    if (transport)
        return op_reply_ambiguous(reply, "the connection to the API failed during the create",
                                  err);
    if (op_reply_good(reply)) {
        struct op_err unread = OP_ERR_INIT;
        if (op_openai_decode_batch(reply, ret, &unread) == OP_OK)
            return OP_CREATE_ACCEPTED;
        return op_reply_ambiguous(reply, unread.msg, err);
    }
    OP_CLEANUP(op_openai_envelope_release) struct op_openai_envelope e;
    op_openai_envelope_read(reply, &e);
    char text[800];
    op_openai_describe(reply, &e, text, sizeof(text));
    if (!e.shaped || !op_status_refuses(reply->status))
        return op_reply_ambiguous(reply, text, err);
    int64_t wait = -1;
    enum op_disp disp = op_openai_disposition(reply, &e, &wait);
    op_reply_outcome(err, OP_REMOTE, disp, reply->status, text);
    if (disp == OP_DISP_RETRY_AFTER)
        err->retry_after_ms = wait;
    return OP_CREATE_REJECTED;
}

/* --- lists ---------------------------------------------------------------------------------- */

struct op_json op_openai_page_items(struct op_json root)
{
    return op_json_is(root, OP_JSON_ARRAY) ? root : op_json_get(root, "data");
}

/* A page that has a next one, but does not say so, is as long as the shortest page a server makes
 * (OpenAI's default; whoever caps lower than that has been seen to send has_more). */
#define PAGE_MIN 20

bool op_openai_next_page(struct op_json root, char next_cursor[256])
{
    struct op_json items = op_openai_page_items(root);
    struct op_json more = op_json_get(root, "has_more");
    struct op_json paging = op_json_get(root, "paging");
    struct op_str next = op_json_str(op_json_get(paging, "next_cursor"));
    next_cursor[0] = '\0';
    if (next.len > 0) {
        op_copy_whole(next_cursor, 256, next);
        return next_cursor[0] != '\0';
    }
    /* A bare list has no pages, and an empty one no successor. */
    if (op_json_is(root, OP_JSON_ARRAY) || op_json_is(paging, OP_JSON_OBJECT) ||
        op_json_count(items) == 0)
        return true;
    if (!op_json_bool(more, op_json_count(items) >= PAGE_MIN))
        return true;
    struct op_str last = op_json_str(op_json_get(root, "last_id"));
    struct op_json_iter it = op_json_iter(items);
    while (!op_provider_id_ok(last) && op_json_next(&it))
        if (it.index + 1 == op_json_count(items))
            last = op_json_str(op_json_get(it.value, "id"));
    if (!op_provider_id_ok(last) || last.len > 255)
        return false;
    op_copy_whole(next_cursor, 256, last);
    return true;
}

/* Checks the whole page before fn hears of any of it: half a page must not look like a listing,
 * because absence from listings is evidence. */
static bool page_ok(struct op_json items)
{
    if (!op_json_is(items, OP_JSON_ARRAY))
        return false;
    struct op_json_iter it = op_json_iter(items);
    struct op_remote_batch batch;
    while (op_json_next(&it))
        if (!read_batch(it.value, &batch))
            return false;
    return true;
}

enum op_rc op_openai_decode_list(const struct op_http_reply *reply,
                                 void (*fn)(void *arg, const struct op_remote_batch *batch),
                                 void *arg, char next_cursor[256], struct op_err *err)
{
    if (!op_reply_good(reply))
        return op_openai_decode_error(reply, err);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root = op_reply_json(reply, parser);
    if (!op_json_ok(root))
        return op_reply_unusable(reply, "the API", "a list of batches", err);
    struct op_json items = op_openai_page_items(root);
    char cursor[256];
    if (!page_ok(items))
        return op_reply_unusable(reply, "the API", "a readable list of batches", err);
    if (!op_openai_next_page(root, cursor))
        return op_reply_unusable(reply, "the API", "a way to the next page of the list", err);
    struct op_json_iter it = op_json_iter(items);
    struct op_remote_batch batch;
    while (op_json_next(&it))
        if (read_batch(it.value, &batch))
            fn(arg, &batch);
    memcpy(next_cursor, cursor, sizeof(cursor));
    return OP_OK;
}
