/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "base/str.h"
#include "provider/anthropic/anthropic.h"
#include "provider/driver.h"

/* --- text ----------------------------------------------------------------------------------- */

static struct op_str block_text(struct op_json block)
{
    if (!op_str_is(op_json_str(op_json_get(block, "type")), "text"))
        return OP_STR_NULL;
    return op_json_str(op_json_get(block, "text"));
}

/* All text blocks together; thinking, tool use and the like are no answer. One block alone stays
 * where it is. */
static enum op_rc read_text(struct op_json content, struct op_buf *scratch, struct op_str *ret,
                            struct op_err *err)
{
    struct op_str only = OP_STR_NULL;
    size_t count = 0;
    struct op_json_iter it = op_json_iter(content);
    while (op_json_is(content, OP_JSON_ARRAY) && op_json_next(&it)) {
        struct op_str text = block_text(it.value);
        if (!text.ptr)
            continue;
        if (count++ == 0) {
            only = text;
            continue;
        }
        if (count == 2) {
            op_buf_clear(scratch);
            op_buf_add_str(scratch, only);
        }
        op_buf_add_str(scratch, text);
    }
    if (count < 2) {
        *ret = only;
        return OP_OK;
    }
    enum op_rc rc = op_buf_finish(scratch, "the answer's text blocks", err);
    if (!rc)
        *ret = op_buf_str(scratch);
    return rc;
}

/* --- usage ---------------------------------------------------------------------------------- */

static int64_t tokens(struct op_json object, const char *name)
{
    int64_t n = op_json_int(op_json_get(object, name), 0);
    return n < 0 ? 0 : n;
}

static bool read_usage(struct op_json usage, struct op_usage *ret)
{
    if (op_json_int(op_json_get(usage, "input_tokens"), -1) < 0 &&
        op_json_int(op_json_get(usage, "output_tokens"), -1) < 0)
        return false;
    struct op_json created = op_json_get(usage, "cache_creation");
    int64_t write_5m = tokens(created, "ephemeral_5m_input_tokens");
    int64_t write_1h = tokens(created, "ephemeral_1h_input_tokens");
    int64_t writes = tokens(usage, "cache_creation_input_tokens");
    /* Writes that no duration is told of count as the default one, five minutes. */
    if (write_5m <= writes && write_1h <= writes - write_5m)
        write_5m = writes - write_1h;
    *ret = (struct op_usage){0};
    ret->tokens[OP_TOKEN_INPUT] = tokens(usage, "input_tokens");
    ret->tokens[OP_TOKEN_WRITE_5M] = write_5m;
    ret->tokens[OP_TOKEN_WRITE_1H] = write_1h;
    ret->tokens[OP_TOKEN_READ] = tokens(usage, "cache_read_input_tokens");
    ret->tokens[OP_TOKEN_OUTPUT] = tokens(usage, "output_tokens");
    return true;
}

/* --- lines ---------------------------------------------------------------------------------- */

static enum op_result_class stop_class(struct op_str stop)
{
    if (op_str_is(stop, "refusal"))
        return OP_RESULT_REFUSED;
    /* A paused turn of server tools is as unfinished as one that ran out of room. */
    if (op_str_is(stop, "max_tokens") || op_str_is(stop, "model_context_window_exceeded") ||
        op_str_is(stop, "pause_turn"))
        return OP_RESULT_TRUNCATED;
    return OP_RESULT_SUCCEEDED;
}

static void read_refusal(struct op_json details, struct op_result *result)
{
    struct op_str category = op_json_str(op_json_get(details, "category"));
    struct op_str text = op_json_str(op_json_get(details, "explanation"));
    result->error_type = OP_STR("refusal");
    result->error_message = text.len ? text : category;
}

static enum op_rc read_message(struct op_json message, struct op_buf *scratch,
                               struct op_result *result, struct op_err *err)
{
    if (!op_json_is(message, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL, "a succeeded result line holds no message");
    result->model = op_json_str(op_json_get(message, "model"));
    result->stop = op_json_str(op_json_get(message, "stop_reason"));
    result->class_ = stop_class(result->stop);
    result->has_usage = read_usage(op_json_get(message, "usage"), &result->usage);
    if (result->class_ == OP_RESULT_REFUSED)
        read_refusal(op_json_get(message, "stop_details"), result);
    return read_text(op_json_get(message, "content"), scratch, &result->text, err);
}

static enum op_disp error_disposition(const struct op_anthropic_fault *fault)
{
    static const struct {
        const char *type;
        enum op_disp disp;
    } types[] = {
        {"invalid_request_error", OP_DISP_REJECT}, {"not_found_error", OP_DISP_REJECT},
        {"permission_error", OP_DISP_REJECT},      {"request_too_large", OP_DISP_REJECT},
        {"authentication_error", OP_DISP_PAUSE},
    };
    enum op_disp pause;
    if (op_anthropic_fault_pauses(fault, &pause))
        return pause;
    for (size_t i = 0; i < OP_COUNT(types); i++)
        if (op_str_is(fault->type, types[i].type))
            return types[i].disp;
    /* overloaded, api, timeout, rate limit, conflict, and what the API may invent later: an errored
     * line is not billed, so asking again costs nothing. */
    return OP_DISP_RETRY;
}

static void read_error(struct op_json error, struct op_result *result)
{
    /* The line holds the whole envelope, so the useful part is one level further in. */
    struct op_json inner = op_json_get(error, "error");
    struct op_anthropic_fault fault =
        op_anthropic_fault_read(op_json_is(inner, OP_JSON_OBJECT) ? inner : error);
    result->class_ = OP_RESULT_ERRORED;
    result->error_type = fault.type.len ? fault.type : OP_STR("unknown_error");
    result->error_message = fault.message;
    result->disp = error_disposition(&fault);
}

enum op_rc op_anthropic_decode_result(struct op_json line, struct op_buf *scratch,
                                      struct op_result *ret, struct op_err *err)
{
    struct op_result result = {.custom_id = op_json_str(op_json_get(line, "custom_id"))};
    struct op_json body = op_json_get(line, "result");
    struct op_str type = op_json_str(op_json_get(body, "type"));
    if (result.custom_id.len == 0)
        return op_fail(err, OP_INVAL, "a result line without a custom_id");
    if (op_str_is(type, "succeeded")) {
        enum op_rc rc = read_message(op_json_get(body, "message"), scratch, &result, err);
        if (rc)
            return rc;
    } else if (op_str_is(type, "errored")) {
        read_error(op_json_get(body, "error"), &result);
    } else if (op_str_is(type, "canceled")) {
        result.class_ = OP_RESULT_CANCELED;
    } else if (op_str_is(type, "expired")) {
        result.class_ = OP_RESULT_EXPIRED;
    } else {
        char name[64];
        return op_fail(err, OP_INVAL, "a result line of unknown type '%s'",
                       op_remote_text(type, name, sizeof(name)));
    }
    *ret = result;
    return OP_OK;
}
