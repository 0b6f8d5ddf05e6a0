/* SPDX-License-Identifier: MIT */
#include "base/json_out.h"
#include "base/mem.h"
#include "base/str.h"
#include "provider/driver.h"
#include "provider/mistral/mistral.h"
#include "provider/reply.h"

/* --- text ----------------------------------------------------------------------------------- */

/* A text, or chunks of which those of type "text" are the answer and "thinking" is not. */
static enum op_rc read_text(struct op_json content, struct op_buf *scratch, struct op_str *ret,
                            struct op_err *err)
{
    if (!op_json_is(content, OP_JSON_ARRAY)) {
        *ret = op_json_str(content);
        return OP_OK;
    }
    size_t texts = 0;
    op_buf_clear(scratch);
    struct op_json_iter it = op_json_iter(content);
    while (op_json_next(&it)) {
        struct op_str text = op_json_str(op_json_get(it.value, "text"));
        if (!text.ptr || !op_str_is(op_json_str(op_json_get(it.value, "type")), "text"))
            continue;
        texts++;
        op_buf_add_str(scratch, text);
    }
    enum op_rc rc = op_buf_finish(scratch, "the answer's chunks", err);
    if (!rc)
        *ret = texts ? op_buf_str(scratch) : OP_STR_NULL;
    return rc;
}

static bool read_usage(struct op_json usage, struct op_usage *ret)
{
    if (op_json_count64(op_json_get(usage, "prompt_tokens"), -1) < 0)
        return false;
    int64_t prompt = op_json_tokens(usage, "prompt_tokens");
    int64_t cached =
        op_json_tokens(op_json_get(usage, "prompt_tokens_details"), "cached_tokens");
    if (cached > prompt)
        cached = prompt;
    *ret = (struct op_usage){0};
    ret->tokens[OP_TOKEN_INPUT] = prompt - cached;
    ret->tokens[OP_TOKEN_READ] = cached;
    ret->tokens[OP_TOKEN_OUTPUT] = op_json_tokens(usage, "completion_tokens");
    return true;
}

/* --- bodies --------------------------------------------------------------------------------- */

static struct op_json first_of(struct op_json array)
{
    struct op_json_iter it = op_json_iter(array);
    if (op_json_is(array, OP_JSON_ARRAY) && op_json_next(&it))
        return it.value;
    return (struct op_json){0};
}

static enum op_rc read_chat(struct op_json body, struct op_buf *scratch,
                            struct op_result *result, struct op_err *err)
{
    struct op_json choice = first_of(op_json_get(body, "choices"));
    result->stop = op_json_str(op_json_get(choice, "finish_reason"));
    result->class_ = OP_RESULT_SUCCEEDED;
    if (op_str_is(result->stop, "length") || op_str_is(result->stop, "model_length")) {
        result->class_ = OP_RESULT_TRUNCATED;
    } else if (op_str_is(result->stop, "content_filter")) {
        result->class_ = OP_RESULT_REFUSED;
        result->error_type = OP_STR("refusal");
        result->error_message = result->stop;
    }
    struct op_json message = op_json_get(choice, "message");
    return read_text(op_json_get(message, "content"), scratch, &result->text, err);
}

/* The answer's text is the array of numbers. */
static enum op_rc read_embedding(struct op_json body, struct op_buf *scratch,
                                 struct op_result *result, struct op_err *err)
{
    struct op_json values = op_json_get(first_of(op_json_get(body, "data")), "embedding");
    result->class_ = OP_RESULT_SUCCEEDED;
    if (!op_json_is(values, OP_JSON_ARRAY))
        return OP_OK;
    op_buf_clear(scratch);
    op_json_write(scratch, values);
    enum op_rc rc = op_buf_finish(scratch, "the embedding", err);
    if (!rc)
        result->text = op_buf_str(scratch);
    return rc;
}

/* --- errors --------------------------------------------------------------------------------- */

static enum op_disp error_disposition(int64_t status, struct op_str message)
{
    if (op_mistral_is_quota(message))
        return OP_DISP_QUOTA;
    switch (status) {
    case 400:
    case 404:
    case 413:
    case 422:
        return OP_DISP_REJECT;
    case 401:
    case 403:
        return OP_DISP_PAUSE;
    case 402:
        return OP_DISP_QUOTA;
    default: /* an errored line is not billed, so asking again costs nothing */
        return OP_DISP_RETRY;
    }
}

/* error: a text, or an object like the API's own errors; else the body of the bad response is. */
static void read_error(struct op_json error, struct op_json body, int64_t status,
                       struct op_result *result)
{
    result->class_ = OP_RESULT_ERRORED;
    struct op_json said = op_json_is(error, OP_JSON_OBJECT) ? error : body;
    struct op_str type = op_json_str(op_json_get(said, "type"));
    result->error_message =
        op_json_is(error, OP_JSON_STRING) ? op_json_str(error) : op_mistral_message(said);
    result->error_type = type.len ? type : OP_STR("error");
    result->disp = error_disposition(status, result->error_message);
    /* What a cancel has kept from being asked comes as an error without a status. */
    if (!status && op_str_mentions(result->error_message, "cancel"))
        result->class_ = OP_RESULT_CANCELED;
}

/* --- lines ---------------------------------------------------------------------------------- */

static bool is_error(struct op_json error)
{
    return op_json_is(error, OP_JSON_OBJECT) || op_json_str(error).len > 0;
}

enum op_rc op_mistral_decode_result(struct op_json line, struct op_buf *scratch,
                                    struct op_result *ret, struct op_err *err)
{
    struct op_result result = {.custom_id = op_json_str(op_json_get(line, "custom_id"))};
    struct op_json response = op_json_get(line, "response");
    struct op_json body = op_json_get(response, "body");
    struct op_json error = op_json_get(line, "error");
    int64_t status = op_json_count64(op_json_get(response, "status_code"), 0);
    if (result.custom_id.len == 0)
        return op_fail(err, OP_INVAL, "a result line without a custom_id");
    enum op_rc rc = OP_OK;
    if (is_error(error) || status >= 300) {
        read_error(error, body, status, &result);
    } else if (!op_json_is(body, OP_JSON_OBJECT)) {
        return op_fail(err, OP_INVAL, "a result line with neither a body nor an error");
    } else {
        result.model = op_json_str(op_json_get(body, "model"));
        result.has_usage = read_usage(op_json_get(body, "usage"), &result.usage);
        rc = op_json_ok(op_json_get(body, "choices"))
                 ? read_chat(body, scratch, &result, err)
                 : read_embedding(body, scratch, &result, err);
    }
    if (!rc)
        *ret = result;
    return rc;
}

/* The statuses that speak of the request itself. */
static bool is_about_request(int status)
{
    return status == 400 || status == 404 || status == 413 || status == 422;
}

enum op_rc op_mistral_fold(struct op_str custom_id, const struct op_http_reply *reply,
                           struct op_buf *ret_line, struct op_err *err)
{
    bool good = op_reply_good(reply);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json body = op_reply_json(reply, parser);
    if (good && !op_json_is(body, OP_JSON_OBJECT))
        return op_fail_as(err, OP_REMOTE, OP_DISP_AMBIGUOUS, "the answer is no JSON object");
    struct op_str message = op_mistral_message(body);
    if (!good &&
        (!message.ptr || !is_about_request(reply->status) || op_mistral_is_quota(message))) {
        (void)op_mistral_decode_error(reply, err);
        err->rc = OP_REMOTE; /* nothing was named that could be missing */
        return OP_REMOTE;
    }
    struct op_json_out o;
    op_json_out_init(&o, ret_line, 0);
    op_json_out_object(&o);
    op_json_out_kv_str(&o, "custom_id", custom_id);
    op_json_out_name(&o, "response");
    op_json_out_object(&o);
    op_json_out_kv_int(&o, "status_code", reply->status);
    op_json_out_name(&o, "body");
    op_reply_write_body(&o, reply, body);
    op_json_out_end_object(&o);
    op_json_out_name(&o, "error");
    op_json_out_null(&o);
    op_json_out_end_object(&o);
    return op_buf_finish(ret_line, "the answer", err);
}
