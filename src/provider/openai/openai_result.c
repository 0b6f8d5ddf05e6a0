/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "base/str.h"
#include "provider/driver.h"
#include "provider/openai/openai.h"
#include "provider/reply.h"

/* --- text ----------------------------------------------------------------------------------- */

/* Several pieces of text as one; one alone stays where it is. */
struct pieces {
    struct op_buf *scratch;
    struct op_str only;
    size_t count;
};

static void add_piece(struct pieces *p, struct op_str text)
{
    if (!text.ptr)
        return;
    if (p->count++ == 0) {
        p->only = text;
        return;
    }
    if (p->count == 2) {
        op_buf_clear(p->scratch);
        op_buf_add_str(p->scratch, p->only);
    }
    op_buf_add_str(p->scratch, text);
}

static enum op_rc pieces_text(const struct pieces *p, struct op_str *ret, struct op_err *err)
{
    if (p->count < 2) {
        *ret = p->only;
        return OP_OK;
    }
    enum op_rc rc = op_buf_finish(p->scratch, "the answer's pieces of text", err);
    if (!rc)
        *ret = op_buf_str(p->scratch);
    return rc;
}

static void refuse(struct op_result *result, struct op_str why)
{
    result->class_ = OP_RESULT_REFUSED;
    result->error_type = OP_STR("refusal");
    result->error_message = why;
}

/* --- usage ---------------------------------------------------------------------------------- */

static int64_t tokens(struct op_json object, const char *name)
{
    int64_t n = op_json_int(op_json_get(object, name), 0);
    return n < 0 ? 0 : n;
}

/* Cached and written tokens are part of the input here, reasoning part of the output; the kinds of
 * struct op_usage hold each token once. Writes live 30 minutes, the price list's shorter kind. */
static bool read_usage(struct op_json usage, struct op_usage *ret)
{
    bool responses = op_json_ok(op_json_get(usage, "input_tokens"));
    const char *in = responses ? "input_tokens" : "prompt_tokens";
    const char *out = responses ? "output_tokens" : "completion_tokens";
    if (op_json_int(op_json_get(usage, in), -1) < 0 &&
        op_json_int(op_json_get(usage, out), -1) < 0)
        return false;
    struct op_json details =
        op_json_get(usage, responses ? "input_tokens_details" : "prompt_tokens_details");
    int64_t input = tokens(usage, in);
    int64_t read = tokens(details, "cached_tokens");
    int64_t write = tokens(details, "cache_write_tokens");
    if (!op_json_ok(details))
        read = tokens(usage, "cached_tokens"); /* Moonshot's place for it */
    if (read > input)
        read = input;
    if (write > input - read)
        write = input - read;
    *ret = (struct op_usage){0};
    ret->tokens[OP_TOKEN_INPUT] = input - read - write;
    ret->tokens[OP_TOKEN_READ] = read;
    ret->tokens[OP_TOKEN_WRITE_5M] = write;
    ret->tokens[OP_TOKEN_OUTPUT] = tokens(usage, out);
    return true;
}

/* --- errors --------------------------------------------------------------------------------- */

static void set_error(struct op_result *result, const struct op_openai_fault *fault, int status)
{
    static const char *const final[] = {"invalid_prompt", "bio_policy", "model_not_found",
                                        "context_length_exceeded", "content_filter"};
    result->class_ = OP_RESULT_ERRORED;
    result->error_type = fault->code.len   ? fault->code
                         : fault->type.len ? fault->type
                                           : OP_STR("unknown_error");
    result->error_message = fault->message;
    if (op_openai_fault_known(fault, &result->disp)) {
        /* Of a line these two say no more than "later" and "this one". */
        if (result->disp == OP_DISP_RETRY_AFTER)
            result->disp = OP_DISP_RETRY;
        if (result->disp == OP_DISP_SPLIT)
            result->disp = OP_DISP_REJECT;
        return;
    }
    /* An errored line is not billed, so what may be the server's own trouble is asked again. */
    bool reject = status >= 400 && status < 500 && status != 408 && status != 409 &&
                  status != 425 && status != 429;
    if (status < 400)
        reject = op_str_starts(fault->code, "invalid") || op_str_starts(fault->type, "invalid");
    for (size_t i = 0; i < OP_COUNT(final); i++)
        reject = reject || op_str_is(fault->code, final[i]);
    result->disp = reject ? OP_DISP_REJECT : OP_DISP_RETRY;
    if (status == 401 || status == 403)
        result->disp = OP_DISP_PAUSE;
    if (status == 402)
        result->disp = OP_DISP_QUOTA;
}

/* --- /v1/responses -------------------------------------------------------------------------- */

static void read_part(struct op_json part, struct pieces *text, struct op_str *refusal)
{
    struct op_str type = op_json_str(op_json_get(part, "type"));
    if (op_str_is(type, "output_text"))
        add_piece(text, op_json_str(op_json_get(part, "text")));
    else if (op_str_is(type, "refusal"))
        *refusal = op_json_str(op_json_get(part, "refusal"));
}

/* The message may be the second or third item, after the reasoning; commentary on the way to the
 * answer is no answer. */
static void read_items(struct op_json output, struct pieces *text, struct op_str *refusal)
{
    struct op_json_iter it = op_json_iter(output);
    while (op_json_is(output, OP_JSON_ARRAY) && op_json_next(&it)) {
        if (!op_str_is(op_json_str(op_json_get(it.value, "type")), "message") ||
            op_str_is(op_json_str(op_json_get(it.value, "phase")), "commentary"))
            continue;
        struct op_json content = op_json_get(it.value, "content");
        struct op_json_iter part = op_json_iter(content);
        while (op_json_is(content, OP_JSON_ARRAY) && op_json_next(&part))
            read_part(part.value, text, refusal);
    }
}

static enum op_rc read_response(struct op_json body, struct op_buf *scratch,
                                struct op_result *result, struct op_err *err)
{
    struct pieces text = {.scratch = scratch};
    struct op_str refusal = OP_STR_NULL;
    struct op_str status = op_json_str(op_json_get(body, "status"));
    struct op_str reason =
        op_json_str(op_json_get(op_json_get(body, "incomplete_details"), "reason"));
    read_items(op_json_get(body, "output"), &text, &refusal);
    result->stop = reason.len ? reason : status;
    result->class_ = OP_RESULT_SUCCEEDED;
    enum op_rc rc = pieces_text(&text, &result->text, err);
    if (rc)
        return rc;
    if (refusal.ptr) {
        refuse(result, refusal);
    } else if (op_str_is(reason, "content_filter")) {
        refuse(result, reason);
    } else if (op_str_is(status, "incomplete")) {
        result->class_ = OP_RESULT_TRUNCATED;
    } else if (op_str_is(status, "cancelled")) {
        result->class_ = OP_RESULT_CANCELED;
    } else if (status.len && !op_str_is(status, "completed")) {
        /* "failed" says why; "queued" and "in_progress" should not be in a result file. */
        struct op_openai_fault fault = op_openai_fault_read(op_json_get(body, "error"));
        if (!fault.code.len)
            fault.code = status;
        set_error(result, &fault, 200);
    }
    return OP_OK;
}

/* --- /v1/chat/completions ------------------------------------------------------------------- */

static void read_content(struct op_json content, struct pieces *text)
{
    add_piece(text, op_json_str(content));
    struct op_json_iter it = op_json_iter(content);
    while (op_json_is(content, OP_JSON_ARRAY) && op_json_next(&it))
        if (op_str_is(op_json_str(op_json_get(it.value, "type")), "text"))
            add_piece(text, op_json_str(op_json_get(it.value, "text")));
}

static enum op_rc read_chat(struct op_json choices, struct op_buf *scratch,
                            struct op_result *result, struct op_err *err)
{
    struct pieces text = {.scratch = scratch};
    struct op_json_iter it = op_json_iter(choices);
    struct op_json choice = {0};
    /* By its index: the order of an array is nobody's promise. */
    while (op_json_next(&it))
        if (!op_json_ok(choice) || op_json_int(op_json_get(it.value, "index"), -1) == 0)
            choice = it.value;
    struct op_json message = op_json_get(choice, "message");
    struct op_str refusal = op_json_str(op_json_get(message, "refusal"));
    read_content(op_json_get(message, "content"), &text);
    result->stop = op_json_str(op_json_get(choice, "finish_reason"));
    result->class_ = OP_RESULT_SUCCEEDED;
    enum op_rc rc = pieces_text(&text, &result->text, err);
    if (rc)
        return rc;
    if (refusal.len) {
        refuse(result, refusal);
    } else if (op_str_is(result->stop, "content_filter") ||
               op_str_is(result->stop, "sensitive")) {
        refuse(result, result->stop);
    } else if (op_str_is(result->stop, "length") || op_str_is(result->stop, "max_tokens")) {
        result->class_ = OP_RESULT_TRUNCATED;
    } else if (op_str_is(result->stop, "network_error") || !op_json_ok(message)) {
        set_error(result, &(struct op_openai_fault){.code = OP_STR("no_answer")}, 200);
    }
    return OP_OK;
}

/* --- /v1/embeddings ------------------------------------------------------------------------- */

static struct op_json vector_at(struct op_json data, size_t index)
{
    struct op_json_iter it = op_json_iter(data);
    while (op_json_next(&it))
        if (op_json_int(op_json_get(it.value, "index"), (int64_t)it.index) == (int64_t)index)
            return op_json_get(it.value, "embedding");
    return (struct op_json){0};
}

/* The vector as a JSON array; of several inputs an array of vectors in the order of the inputs. A
 * vector in base64 is left as it came. */
static enum op_rc read_embeddings(struct op_json data, struct op_buf *scratch,
                                  struct op_result *result, struct op_err *err)
{
    size_t count = op_json_count(data);
    struct op_str text = op_json_str(vector_at(data, 0));
    result->class_ = OP_RESULT_SUCCEEDED;
    if (count == 1 && text.ptr) {
        result->text = text;
        return OP_OK;
    }
    op_buf_clear(scratch);
    for (size_t i = 0; i < count; i++) {
        struct op_json vector = vector_at(data, i);
        if (!op_json_ok(vector))
            return op_fail(err, OP_INVAL, "a result line lacks the embedding of input %zu", i);
        if (count > 1)
            op_buf_addc(scratch, i ? ',' : '[');
        op_json_write(scratch, vector);
    }
    if (count > 1)
        op_buf_addc(scratch, ']');
    enum op_rc rc = op_buf_finish(scratch, "the embedding", err);
    if (!rc)
        result->text = op_buf_str(scratch);
    return rc;
}

/* --- lines ---------------------------------------------------------------------------------- */

static bool is_something(struct op_json v)
{
    return op_json_ok(v) && !op_json_is(v, OP_JSON_NULL);
}

static enum op_rc read_body(struct op_json body, struct op_buf *scratch,
                            struct op_result *result, struct op_err *err)
{
    result->model = op_json_str(op_json_get(body, "model"));
    result->has_usage = read_usage(op_json_get(body, "usage"), &result->usage);
    struct op_json choices = op_json_get(body, "choices");
    struct op_json data = op_json_get(body, "data");
    if (op_json_is(op_json_get(body, "output"), OP_JSON_ARRAY) ||
        op_str_is(op_json_str(op_json_get(body, "object")), "response"))
        return read_response(body, scratch, result, err);
    if (op_json_is(choices, OP_JSON_ARRAY) && op_json_count(choices) > 0)
        return read_chat(choices, scratch, result, err);
    if (op_json_is(data, OP_JSON_ARRAY) && op_json_count(data) > 0)
        return read_embeddings(data, scratch, result, err);
    /* Counted as completed by the API and yet empty: nobody answered. */
    struct op_openai_fault fault = op_openai_fault_read(body);
    if (!fault.code.len)
        fault.code = OP_STR("no_answer");
    set_error(result, &fault, 200);
    return OP_OK;
}

/* What a line that is no success says, in the error member or (OpenAI itself) in the body. */
static void read_failure(struct op_json error, struct op_json body, int status,
                         struct op_result *result)
{
    struct op_openai_fault fault = op_openai_fault_read(is_something(error) ? error : body);
    if (op_str_is(fault.code, "batch_expired")) {
        result->class_ = OP_RESULT_EXPIRED;
    } else if (op_str_is(fault.code, "batch_cancelled") ||
               op_str_is(fault.code, "batch_canceled")) {
        result->class_ = OP_RESULT_CANCELED;
    } else {
        if (!fault.code.len && !fault.type.len)
            fault.code = status == 0 ? OP_STR("no_answer") : OP_STR("http_error");
        set_error(result, &fault, status);
    }
}

enum op_rc op_openai_decode_result(struct op_json line, struct op_buf *scratch,
                                   struct op_result *ret, struct op_err *err)
{
    struct op_result result = {.custom_id = op_json_str(op_json_get(line, "custom_id"))};
    struct op_json response = op_json_get(line, "response");
    struct op_json error = op_json_get(line, "error");
    struct op_json body = op_json_get(response, "body");
    if (result.custom_id.len == 0)
        return op_fail(err, OP_INVAL, "a result line without a custom_id");
    if (!is_something(response) && !is_something(error))
        return op_fail(err, OP_INVAL, "a result line with neither a response nor an error");
    int64_t told =
        op_json_int(op_json_get(response, "status_code"), is_something(body) ? 200 : 0);
    int status = told < 0 || told > 999 ? 0 : (int)told;
    /* Neither half alone tells: an error of the line comes with error null, and a lost one with a
     * response of status 0. */
    if (status >= 200 && status < 300 && !is_something(error) &&
        op_json_is(body, OP_JSON_OBJECT)) {
        enum op_rc rc = read_body(body, scratch, &result, err);
        if (rc)
            return rc;
    } else {
        read_failure(error, body, status, &result);
    }
    *ret = result;
    return OP_OK;
}

/* --- the realtime lane ---------------------------------------------------------------------- */

/* The statuses that speak of the request itself: its form, its size, its model. */
static bool is_about_request(int status)
{
    return status == 400 || status == 404 || status == 413 || status == 422;
}

enum op_rc op_openai_fold(struct op_str custom_id, const struct op_http_reply *reply,
                          struct op_buf *ret_line, struct op_err *err)
{
    bool good = reply->status == 200;
    OP_CLEANUP(op_openai_envelope_release) struct op_openai_envelope e;
    op_openai_envelope_read(reply, &e);
    enum op_disp disp;
    /* Quota and billing come as 400 too. */
    bool known = e.shaped && op_openai_fault_known(&e.fault, &disp) && disp != OP_DISP_SPLIT;
    if (!good && (!is_about_request(reply->status) || !e.shaped || known))
        return op_openai_decode_error(reply, err);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json body;
    struct op_err ignored = OP_ERR_INIT;
    if (op_json_parse(parser, reply->body.ptr, reply->body.len, false, &body, &ignored) ||
        (good && !op_json_is(body, OP_JSON_OBJECT)))
        return op_fail_as(err, OP_REMOTE, OP_DISP_AMBIGUOUS, "the answer is no JSON object");
    struct op_json_out o;
    op_json_out_init(&o, ret_line, 0);
    op_json_out_object(&o);
    op_json_out_kv_str(&o, "custom_id", custom_id);
    op_json_out_name(&o, "response");
    op_json_out_object(&o);
    op_json_out_kv_int(&o, "status_code", reply->status);
    struct op_str request = op_http_header_get(reply, "x-request-id");
    if (request.ptr)
        op_json_out_kv_str(&o, "request_id", request);
    op_json_out_name(&o, "body");
    op_reply_write_body(&o, reply, body);
    op_json_out_end_object(&o);
    op_json_out_name(&o, "error");
    op_json_out_null(&o);
    op_json_out_end_object(&o);
    return op_buf_finish(ret_line, "the answer", err);
}
