/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "provider/driver.h"
#include "provider/mistral/mistral.h"
#include "provider/reply.h"

/* --- errors --------------------------------------------------------------------------------- */

struct op_str op_mistral_message(struct op_json body)
{
    struct op_json message = op_json_get(body, "message");
    struct op_json detail = op_json_get(body, "detail");
    if (op_json_is(message, OP_JSON_STRING))
        return op_json_str(message);
    if (op_json_is(message, OP_JSON_OBJECT))
        detail = op_json_get(message, "detail");
    if (op_json_is(detail, OP_JSON_STRING))
        return op_json_str(detail);
    /* The list of a validation: the first complaint. */
    struct op_json_iter it = op_json_iter(detail);
    if (op_json_is(detail, OP_JSON_ARRAY) && op_json_next(&it))
        return op_json_str(op_json_get(it.value, "msg"));
    return OP_STR_NULL;
}

bool op_mistral_is_quota(struct op_str message)
{
    return op_str_mentions(message, "billing") || op_str_mentions(message, "payment") ||
           op_str_mentions(message, "credits") || op_str_mentions(message, "subscription");
}

/* What a reply that is no success says. shaped: the API itself has spoken. */
struct fault {
    char text[800];
    enum op_disp disp;
    int64_t retry_after_ms;
    bool shaped;
};

static void read_fault(const struct op_http_reply *reply, struct fault *ret)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_str message = op_mistral_message(op_reply_json(reply, parser));
    char said[500];
    *ret = (struct fault){.shaped = message.ptr != NULL, .retry_after_ms = -1};
    ret->disp = op_reply_disposition(reply, &ret->retry_after_ms);
    if (ret->shaped && op_mistral_is_quota(message))
        ret->disp = OP_DISP_QUOTA;
    op_remote_text(ret->shaped ? message : op_str_trim(op_buf_str(&reply->body)), said,
                   ret->shaped ? sizeof(said) : sizeof(said) / 2);
    if (reply->status == 0)
        snprintf(ret->text, sizeof(ret->text), "no reply from Mistral");
    else if (ret->shaped)
        snprintf(ret->text, sizeof(ret->text), "Mistral answered %d: %s", reply->status, said);
    else
        snprintf(ret->text, sizeof(ret->text),
                 "Mistral's address answered %d with something else than the API's JSON: '%s'",
                 reply->status, said);
}

static void set_fault(struct op_err *err, enum op_rc rc, const struct fault *fault,
                      const struct op_http_reply *reply)
{
    op_reply_outcome(err, rc, fault->disp, reply->status, fault->text);
    if (fault->disp == OP_DISP_RETRY_AFTER)
        err->retry_after_ms = fault->retry_after_ms;
}

enum op_rc op_mistral_decode_error(const struct op_http_reply *reply, struct op_err *err)
{
    struct fault fault;
    read_fault(reply, &fault);
    bool missing = reply->status == 404 || reply->status == 410;
    if (missing && fault.disp == OP_DISP_REJECT)
        fault.disp = OP_DISP_RETRY; /* only the engine, after hours, calls a batch gone */
    enum op_rc rc = missing ? OP_NOTFOUND : OP_REMOTE;
    set_fault(err, rc, &fault, reply);
    return rc;
}

/* --- jobs ----------------------------------------------------------------------------------- */

/* The ids of the files with results, good lines first. */
static void read_results(struct op_json v, char *ret, size_t size)
{
    static const char *const names[] = {"output_file", "error_file"};
    ret[0] = '\0';
    for (size_t i = 0; i < OP_COUNT(names); i++) {
        struct op_str id = op_json_str(op_json_get(v, names[i]));
        size_t len = strlen(ret);
        if (op_provider_id_ok(id) && len + id.len + 2 < size)
            snprintf(ret + len, size - len, "%s" OP_STR_FMT, len ? " " : "", OP_STR_ARG(id));
    }
}

static enum op_remote_state read_state(struct op_str name, bool has_results)
{
    static const struct {
        const char *name;
        enum op_remote_state with, without; /* result files */
    } states[] = {
        {"QUEUED", OP_REMOTE_IN_PROGRESS, OP_REMOTE_IN_PROGRESS},
        {"RUNNING", OP_REMOTE_IN_PROGRESS, OP_REMOTE_IN_PROGRESS},
        {"CANCELLATION_REQUESTED", OP_REMOTE_CANCELING, OP_REMOTE_CANCELING},
        /* Every line is in one of the files: without any they are not written yet, or never will.
         * The engine asks again where they are, five times within an hour, and not for ever. */
        {"SUCCESS", OP_REMOTE_ENDED, OP_REMOTE_ENDED},
        {"FAILED", OP_REMOTE_ENDED, OP_REMOTE_FAILED},
        {"TIMEOUT_EXCEEDED", OP_REMOTE_ENDED, OP_REMOTE_ENDED},
        {"CANCELLED", OP_REMOTE_ENDED, OP_REMOTE_ENDED},
    };
    for (size_t i = 0; i < OP_COUNT(states); i++)
        if (op_str_is(name, states[i].name))
            return has_results ? states[i].with : states[i].without;
    return OP_REMOTE_UNKNOWN;
}

static int64_t count(struct op_json v, const char *name)
{
    int64_t n = op_json_count64(op_json_get(v, name), -1);
    return n < 0 ? -1 : n;
}

/* errors: [{message, count}]. Without a word about the server's own trouble the requests are at
 * fault, and would be again. */
static void read_failure(struct op_json errors, struct op_remote_batch *batch)
{
    static const char *const troubles[] = {"internal", "timeout",    "unavailable",
                                           "capacity", "rate limit", "quota"};
    char message[400] = "";
    struct op_json_iter it = op_json_iter(errors);
    batch->failure_limit = -1;
    if (op_json_is(errors, OP_JSON_ARRAY) && op_json_next(&it)) {
        struct op_str said = op_json_str(op_json_get(it.value, "message"));
        op_remote_text(said, message, sizeof(message));
    }
    if (message[0])
        snprintf(batch->failure, sizeof(batch->failure), "%s", message);
    else if (batch->state == OP_REMOTE_FAILED)
        snprintf(batch->failure, sizeof(batch->failure), "Mistral gave no reason");
    batch->failure_disp = message[0] ? OP_DISP_REJECT : OP_DISP_RETRY;
    for (size_t i = 0; i < OP_COUNT(troubles); i++)
        if (op_str_mentions(op_str_from(message), troubles[i]))
            batch->failure_disp = OP_DISP_RETRY;
    if (op_mistral_is_quota(op_str_from(message)))
        batch->failure_disp = OP_DISP_QUOTA;
}

static bool read_batch(struct op_json v, struct op_remote_batch *ret)
{
    struct op_str id = op_json_str(op_json_get(v, "id"));
    struct op_json object = op_json_get(v, "object");
    if (!op_provider_id_ok(id) || memchr(id.ptr, '/', id.len) ||
        (op_json_ok(object) && !op_str_is(op_json_str(object), "batch")))
        return false;
    struct op_remote_batch batch = {0};
    op_copy_whole(batch.id, sizeof(batch.id), id);
    read_results(v, batch.results_url, sizeof(batch.results_url));
    struct op_str status = op_json_str(op_json_get(v, "status"));
    batch.state = read_state(status, batch.results_url[0] != '\0');
    op_remote_text(status, batch.state_name, sizeof(batch.state_name));
    batch.created_ms = op_json_time(op_json_get(v, "created_at"));
    batch.ended_ms = op_json_time(op_json_get(v, "completed_at"));
    batch.expires_ms = -1;
    batch.total = count(v, "total_requests");
    batch.succeeded = count(v, "succeeded_requests");
    batch.errored = count(v, "failed_requests");
    batch.canceled = batch.expired = batch.processing = -1;
    op_copy_whole(batch.tag, sizeof(batch.tag),
                  op_json_str(op_json_get(op_json_get(v, "metadata"), OP_MISTRAL_TAG)));
    struct op_json files = op_json_get(v, "input_files");
    struct op_json_iter it = op_json_iter(files);
    if (op_json_is(files, OP_JSON_ARRAY) && op_json_next(&it) &&
        op_provider_id_ok(op_json_str(it.value)))
        op_copy_whole(batch.file_id, sizeof(batch.file_id), op_json_str(it.value));
    read_failure(op_json_get(v, "errors"), &batch);
    *ret = batch;
    return true;
}

enum op_rc op_mistral_decode_batch(const struct op_http_reply *reply,
                                   struct op_remote_batch *ret, struct op_err *err)
{
    if (!op_reply_good(reply))
        return op_mistral_decode_error(reply, err);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    if (!read_batch(op_reply_json(reply, parser), ret))
        return op_reply_unusable(reply, "Mistral", "a job", err);
    return OP_OK;
}

enum op_create_class op_mistral_decode_create(enum op_rc transport,
                                              const struct op_http_reply *reply,
                                              struct op_remote_batch *ret, struct op_err *err)
{
    /* A transfer that failed proves nothing, whatever part of a reply had arrived. */
    if (transport)
        return op_reply_ambiguous(reply, "the connection to Mistral failed during the create",
                                  err);
    struct op_err unread = OP_ERR_INIT;
    if (op_reply_good(reply))
        return op_mistral_decode_batch(reply, ret, &unread)
                   ? op_reply_ambiguous(reply, unread.msg, err)
                   : OP_CREATE_ACCEPTED;
    struct fault fault;
    read_fault(reply, &fault);
    if (!fault.shaped || !op_status_refuses(reply->status))
        return op_reply_ambiguous(reply, fault.text, err);
    set_fault(err, OP_REMOTE, &fault, reply);
    return OP_CREATE_REJECTED;
}

/* --- lists ---------------------------------------------------------------------------------- */

/* The page after the one that was asked for. The last one is the one with nothing on it: a server
 * that makes its pages smaller than asked must not end the listing early. */
static bool next_page(struct op_json root, char next_cursor[256])
{
    int64_t page = 0;
    size_t here = op_json_count(op_json_get(root, "data"));
    if (*next_cursor && !op_str_int64(op_str_from(next_cursor), &page))
        return false;
    int64_t total = op_json_count64(op_json_get(root, "total"), -1);
    if (here == 0 || (page == 0 && total == (int64_t)here))
        next_cursor[0] = '\0';
    else
        snprintf(next_cursor, 256, "%lld", (long long)page + 1);
    return true;
}

enum op_rc op_mistral_decode_list(const struct op_http_reply *reply,
                                  void (*fn)(void *arg, const struct op_remote_batch *batch),
                                  void *arg, char next_cursor[256], struct op_err *err)
{
    if (!op_reply_good(reply))
        return op_mistral_decode_error(reply, err);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root = op_reply_json(reply, parser);
    struct op_json data = op_json_get(root, "data");
    /* In the API's description data may be left out, the total may not. */
    bool none = !op_json_ok(data) && op_json_int(op_json_get(root, "total"), -1) == 0;
    bool ok = none || op_json_is(data, OP_JSON_ARRAY);
    struct op_remote_batch batch;
    struct op_json_iter it = op_json_iter(data);
    /* Whole or not at all: absence from listings is evidence. */
    while (ok && op_json_next(&it))
        ok = read_batch(it.value, &batch);
    if (!ok || !next_page(root, next_cursor))
        return op_reply_unusable(reply, "Mistral", "a readable list of jobs", err);
    it = op_json_iter(data);
    while (op_json_next(&it))
        if (read_batch(it.value, &batch))
            fn(arg, &batch);
    return OP_OK;
}

/* --- files ---------------------------------------------------------------------------------- */

static bool read_file(struct op_json v, struct op_remote_file *ret)
{
    struct op_str id = op_json_str(op_json_get(v, "id"));
    struct op_str name = op_json_str(op_json_get(v, "filename"));
    if (!op_provider_id_ok(id) || memchr(id.ptr, '/', id.len))
        return false;
    struct op_remote_file file = {0};
    if (op_str_ends(name, OP_MISTRAL_SUFFIX))
        name.len -= strlen(OP_MISTRAL_SUFFIX);
    op_copy_whole(file.id, sizeof(file.id), id);
    op_copy_whole(file.name, sizeof(file.name), name);
    file.bytes = op_json_count64(op_json_get(v, "bytes"), -1);
    if (file.bytes < 0)
        file.bytes = op_json_count64(op_json_get(v, "size_bytes"), -1);
    file.created_ms = op_json_time(op_json_get(v, "created_at"));
    *ret = file;
    return true;
}

enum op_rc op_mistral_decode_upload(const struct op_http_reply *reply,
                                    struct op_remote_file *ret, struct op_err *err)
{
    if (!op_reply_good(reply))
        return op_mistral_decode_error(reply, err);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    if (!read_file(op_reply_json(reply, parser), ret))
        return op_reply_unusable(reply, "Mistral", "a file", err);
    return OP_OK;
}

enum op_rc op_mistral_decode_files(const struct op_http_reply *reply,
                                   void (*fn)(void *arg, const struct op_remote_file *file),
                                   void *arg, char next_cursor[256], struct op_err *err)
{
    if (!op_reply_good(reply))
        return op_mistral_decode_error(reply, err);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root = op_reply_json(reply, parser);
    struct op_json data = op_json_get(root, "data");
    bool ok = op_json_is(data, OP_JSON_ARRAY);
    struct op_remote_file file;
    struct op_json_iter it = op_json_iter(data);
    while (ok && op_json_next(&it))
        ok = read_file(it.value, &file);
    if (!ok || !next_page(root, next_cursor))
        return op_reply_unusable(reply, "Mistral", "a readable list of files", err);
    it = op_json_iter(data);
    while (op_json_next(&it))
        if (read_file(it.value, &file))
            fn(arg, &file);
    return OP_OK;
}
