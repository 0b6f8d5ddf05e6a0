/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "provider/driver.h"
#include "provider/gemini/gemini.h"
#include "provider/reply.h"

/* --- states --------------------------------------------------------------------------------- */

enum end {
    GOES_ON,
    STOPS,   /* on request */
    SUCCESS, /* ended once its output is there */
    FAILURE,
    EMPTY, /* ended; there may be output all the same */
    NO_END,
};

/* The wire says BATCH_STATE_, the SDKs and part of the documentation JOB_STATE_ (gemini.md 0.2).
 * The last four belong to the shared enum of the SDKs. */
static enum end read_end(struct op_str name)
{
    static const char *const families[] = {"BATCH_STATE_", "JOB_STATE_"};
    static const struct {
        const char *name;
        enum end end;
    } ends[] = {
        {"PENDING", GOES_ON},   {"RUNNING", GOES_ON},
        {"SUCCEEDED", SUCCESS}, {"FAILED", FAILURE},
        {"CANCELLED", EMPTY},   {"EXPIRED", EMPTY},
        {"QUEUED", GOES_ON},    {"PAUSED", GOES_ON},
        {"CANCELLING", STOPS},  {"PARTIALLY_SUCCEEDED", SUCCESS},
    };
    for (size_t i = 0; i < OP_COUNT(families); i++) {
        size_t len = strlen(families[i]);
        if (!op_str_starts(name, families[i]))
            continue;
        struct op_str rest = {name.ptr + len, name.len - len};
        for (size_t j = 0; j < OP_COUNT(ends); j++)
            if (op_str_is(rest, ends[j].name))
                return ends[j].end;
    }
    return NO_END;
}

static enum op_remote_state read_state(struct op_str name, bool has_output, bool has_error,
                                       bool done)
{
    switch (read_end(name)) {
    case GOES_ON:
        return OP_REMOTE_IN_PROGRESS;
    case STOPS:
        return OP_REMOTE_CANCELING;
    case SUCCESS:
        /* The state comes before the output (gemini.md 1.2), and lists leave inline output out. */
        return has_output ? OP_REMOTE_ENDED : OP_REMOTE_IN_PROGRESS;
    case FAILURE:
        return has_output ? OP_REMOTE_ENDED : OP_REMOTE_FAILED;
    case EMPTY:
        return OP_REMOTE_ENDED;
    case NO_END:
        break;
    }
    if (done && has_output)
        return OP_REMOTE_ENDED;
    return done && has_error ? OP_REMOTE_FAILED : OP_REMOTE_UNKNOWN;
}

/* --- operations ----------------------------------------------------------------------------- */

/* What the output union says, in our own form: a file's name, OP_GEMINI_INLINE, or "". */
static void read_output(struct op_json output, char *ret, size_t size)
{
    static const char *const lists[] = {"inlinedResponses", "inlinedEmbedContentResponses"};
    struct op_str file = op_json_str(op_json_get(output, "responsesFile"));
    ret[0] = '\0';
    if (op_gemini_name_ok(file, "files")) {
        op_copy_whole(ret, size, file);
        return;
    }
    for (size_t i = 0; i < OP_COUNT(lists); i++)
        if (op_json_is(op_json_get(output, lists[i]), OP_JSON_OBJECT))
            snprintf(ret, size, "%s", OP_GEMINI_INLINE);
}

/* Counters are texts, and left out when they are 0; canceled and expired ones are not told. */
static void read_stats(struct op_json stats, struct op_remote_batch *batch)
{
    struct {
        const char *name;
        int64_t *to;
    } fields[] = {
        {"requestCount", &batch->total},
        {"successfulRequestCount", &batch->succeeded},
        {"failedRequestCount", &batch->errored},
        {"pendingRequestCount", &batch->processing},
    };
    bool told = op_json_is(stats, OP_JSON_OBJECT);
    batch->canceled = batch->expired = -1;
    for (size_t i = 0; i < OP_COUNT(fields); i++) {
        struct op_json v = op_json_get(stats, fields[i].name);
        int64_t n = op_json_ok(v) ? op_json_count64(v, -1) : 0;
        *fields[i].to = told && n >= 0 ? n : -1;
    }
}

/* What to do about a batch that failed as a whole, by the number of google.rpc.Code. */
static enum op_disp failure_disposition(const struct op_gemini_fault *fault)
{
    switch (fault->code) {
    case 8: /* RESOURCE_EXHAUSTED: no room yet; nothing was bought */
        return OP_DISP_RETRY_AFTER;
    case 7: /* PERMISSION_DENIED: an input file that is gone says it too */
    case 5: /* NOT_FOUND */
        return op_str_mentions(fault->message, "may not exist") ||
                       op_str_mentions(fault->message, "file")
                   ? OP_DISP_RETRY
               : fault->code == 7 ? OP_DISP_PAUSE
                                  : OP_DISP_REJECT;
    case 16: /* UNAUTHENTICATED */
        return OP_DISP_PAUSE;
    case 3:  /* INVALID_ARGUMENT */
    case 9:  /* FAILED_PRECONDITION */
    case 11: /* OUT_OF_RANGE */
    case 12: /* UNIMPLEMENTED */
        return OP_DISP_REJECT;
    default: /* 1, 2, 4, 10, 13, 14, 15 and what is none: the server's own trouble */
        return OP_DISP_RETRY;
    }
}

static void read_failure(struct op_json error, struct op_remote_batch *batch)
{
    struct op_gemini_fault fault = op_gemini_fault_read(error);
    char message[400];
    batch->failure_limit = fault.token_limit;
    if (!op_gemini_fault_pauses(&fault, &batch->failure_disp))
        batch->failure_disp = failure_disposition(&fault);
    if (!op_json_is(error, OP_JSON_OBJECT)) {
        if (batch->state == OP_REMOTE_FAILED)
            snprintf(batch->failure, sizeof(batch->failure), "Gemini gave no reason");
        return;
    }
    op_remote_text(fault.message, message, sizeof(message));
    snprintf(batch->failure, sizeof(batch->failure), "%lld %s%s%s", (long long)fault.code,
             op_gemini_code_name(fault.code), message[0] ? ": " : "", message);
}

/* False when it is no operation of a batch with a usable name. */
static bool read_batch(struct op_json v, struct op_remote_batch *ret)
{
    struct op_str name = op_json_str(op_json_get(v, "name"));
    struct op_json meta = op_json_get(v, "metadata");
    if (!op_gemini_name_ok(name, "batches"))
        return false;
    if (!op_json_is(meta, OP_JSON_OBJECT))
        meta = v;
    struct op_remote_batch batch = {0};
    op_copy_whole(batch.id, sizeof(batch.id), name);
    /* The results come twice; the SDKs read the first place, the guide's commands the second. */
    read_output(op_json_get(meta, "output"), batch.results_url, sizeof(batch.results_url));
    if (!batch.results_url[0])
        read_output(op_json_get(v, "response"), batch.results_url, sizeof(batch.results_url));
    struct op_json error = op_json_get(v, "error");
    struct op_str state = op_json_str(op_json_get(meta, "state"));
    batch.state =
        read_state(state, batch.results_url[0] != '\0', op_json_is(error, OP_JSON_OBJECT),
                   op_json_bool(op_json_get(v, "done"), false));
    op_remote_text(state, batch.state_name, sizeof(batch.state_name));
    batch.created_ms = op_json_time(op_json_get(meta, "createTime"));
    batch.ended_ms = op_json_time(op_json_get(meta, "endTime"));
    batch.expires_ms = -1;
    read_stats(op_json_get(meta, "batchStats"), &batch);
    op_copy_whole(batch.tag, sizeof(batch.tag), op_json_str(op_json_get(meta, "displayName")));
    struct op_str file = op_json_str(op_json_get(op_json_get(meta, "inputConfig"), "fileName"));
    if (op_provider_id_ok(file))
        op_copy_whole(batch.file_id, sizeof(batch.file_id), file);
    read_failure(error, &batch);
    *ret = batch;
    return true;
}

static bool is_empty(struct op_json root)
{
    return op_json_is(root, OP_JSON_OBJECT) && op_json_count(root) == 0;
}

/* A 2xx reply as a batch; an empty object, which a cancel answers, as one without an id. */
static bool read_reply(const struct op_http_reply *reply, struct op_remote_batch *ret)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root = op_reply_json(reply, parser);
    if (!is_empty(root))
        return read_batch(root, ret);
    struct op_remote_batch batch = {
        .state = OP_REMOTE_UNKNOWN, .created_ms = -1, .expires_ms = -1, .ended_ms = -1};
    read_stats((struct op_json){0}, &batch);
    batch.failure_limit = -1;
    *ret = batch;
    return true;
}

enum op_rc op_gemini_decode_batch(const struct op_http_reply *reply,
                                  struct op_remote_batch *ret, struct op_err *err)
{
    if (!op_reply_good(reply))
        return op_gemini_decode_error(reply, err);
    if (!read_reply(reply, ret))
        return op_reply_unusable(reply, "Gemini", "a batch", err);
    return OP_OK;
}

enum op_create_class op_gemini_decode_create(enum op_rc transport,
                                             const struct op_http_reply *reply,
                                             struct op_remote_batch *ret, struct op_err *err)
{
    /* A transfer that failed proves nothing, whatever part of a reply had arrived. */
    if (transport)
        return op_reply_ambiguous(reply, "the connection to Gemini failed during the create",
                                  err);
    if (!op_reply_good(reply))
        return op_gemini_refusal(reply, err);
    struct op_remote_batch batch;
    if (read_reply(reply, &batch) && batch.id[0]) {
        *ret = batch;
        return OP_CREATE_ACCEPTED;
    }
    struct op_err unread = OP_ERR_INIT;
    (void)op_reply_unusable(reply, "Gemini", "a batch", &unread);
    return op_reply_ambiguous(reply, unread.msg, err);
}

/* --- lists ---------------------------------------------------------------------------------- */

/* Checks the whole page before fn hears of any of it: half a page must not look like a listing,
 * because absence from listings is evidence. An account without batches answers {}. */
static bool page_ok(struct op_json root)
{
    struct op_json operations = op_json_get(root, "operations");
    if (!op_json_ok(operations))
        return is_empty(root) || op_json_is(op_json_get(root, "nextPageToken"), OP_JSON_STRING);
    if (!op_json_is(operations, OP_JSON_ARRAY))
        return false;
    struct op_json_iter it = op_json_iter(operations);
    struct op_remote_batch batch;
    while (op_json_next(&it))
        if (!read_batch(it.value, &batch))
            return false;
    return true;
}

enum op_rc op_gemini_decode_list(const struct op_http_reply *reply,
                                 void (*fn)(void *arg, const struct op_remote_batch *batch),
                                 void *arg, char next_cursor[256], struct op_err *err)
{
    if (!op_reply_good(reply))
        return op_gemini_decode_error(reply, err);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root = op_reply_json(reply, parser);
    if (!page_ok(root))
        return op_reply_unusable(reply, "Gemini", "a readable list of batches", err);
    char cursor[256];
    if (!op_gemini_next_page(root, cursor))
        return op_reply_unusable(reply, "Gemini", "a way to the next page of the list", err);
    struct op_json_iter it = op_json_iter(op_json_get(root, "operations"));
    struct op_remote_batch batch;
    while (op_json_next(&it))
        if (read_batch(it.value, &batch))
            fn(arg, &batch);
    memcpy(next_cursor, cursor, sizeof(cursor));
    return OP_OK;
}
