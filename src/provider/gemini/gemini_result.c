/* SPDX-License-Identifier: MIT */
#include "base/json_out.h"
#include "base/mem.h"
#include "base/str.h"
#include "provider/driver.h"
#include "provider/gemini/gemini.h"
#include "provider/reply.h"

/* --- text ----------------------------------------------------------------------------------- */

/* All text parts together, without the model's thoughts. One part alone stays where it is. */
static enum op_rc read_text(struct op_json parts, struct op_buf *scratch, struct op_str *ret,
                            struct op_err *err)
{
    struct op_str only = OP_STR_NULL;
    size_t count = 0;
    struct op_json_iter it = op_json_iter(parts);
    while (op_json_is(parts, OP_JSON_ARRAY) && op_json_next(&it)) {
        struct op_str text = op_json_str(op_json_get(it.value, "text"));
        if (!text.ptr || op_json_bool(op_json_get(it.value, "thought"), false))
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
    enum op_rc rc = op_buf_finish(scratch, "the answer's text parts", err);
    if (!rc)
        *ret = op_buf_str(scratch);
    return rc;
}

/* --- usage ---------------------------------------------------------------------------------- */

/* The prompt's count holds what was read from a cache; the answer's does not hold the thoughts,
 * which cost as much (gemini.md 6). */
static bool read_usage(struct op_json usage, struct op_usage *ret)
{
    if (op_json_count64(op_json_get(usage, "promptTokenCount"), -1) < 0 &&
        op_json_count64(op_json_get(usage, "candidatesTokenCount"), -1) < 0)
        return false;
    int64_t prompt = op_json_tokens(usage, "promptTokenCount");
    int64_t cached = op_json_tokens(usage, "cachedContentTokenCount");
    if (cached > prompt)
        cached = prompt;
    struct op_usage parts[] = {
        {.tokens = {[OP_TOKEN_INPUT] = prompt - cached,
                    [OP_TOKEN_READ] = cached,
                    [OP_TOKEN_OUTPUT] = op_json_tokens(usage, "candidatesTokenCount")}},
        {.tokens = {[OP_TOKEN_INPUT] = op_json_tokens(usage, "toolUsePromptTokenCount"),
                    [OP_TOKEN_OUTPUT] = op_json_tokens(usage, "thoughtsTokenCount")}},
    };
    *ret = (struct op_usage){0};
    op_usage_add(ret, &parts[0]);
    op_usage_add(ret, &parts[1]);
    return true;
}

/* --- answers -------------------------------------------------------------------------------- */

static bool is_one_of(struct op_str word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (op_str_is(word, words[i]))
            return true;
    return false;
}

/* Both enums are open. What an unknown reason leaves without text is an answer without text, which
 * no schema takes; it is asked again as an invalid one. */
static enum op_result_class finish_class(struct op_str reason, bool has_text)
{
    static const char *const refusals[] = {
        "SAFETY",           "RECITATION",         "LANGUAGE",
        "BLOCKLIST",        "PROHIBITED_CONTENT", "SPII",
        "MODEL_ARMOR",      "IMAGE_SAFETY",       "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    };
    if (op_str_is(reason, "MAX_TOKENS"))
        return OP_RESULT_TRUNCATED;
    if (is_one_of(reason, refusals, OP_COUNT(refusals)))
        return OP_RESULT_REFUSED;
    /* "Unknown reason": with a text it is an answer like any other. */
    if (op_str_is(reason, "OTHER") && !has_text)
        return OP_RESULT_REFUSED;
    return OP_RESULT_SUCCEEDED;
}

static void refuse(struct op_result *result, struct op_str reason, struct op_str message)
{
    result->class_ = OP_RESULT_REFUSED;
    result->error_type = OP_STR("refusal");
    result->error_message = message.len ? message : reason;
}

static struct op_json first_of(struct op_json array)
{
    struct op_json_iter it = op_json_iter(array);
    if (op_json_is(array, OP_JSON_ARRAY) && op_json_next(&it))
        return it.value;
    return (struct op_json){0};
}

static enum op_rc read_answer(struct op_json response, struct op_buf *scratch,
                              struct op_result *result, struct op_err *err)
{
    struct op_json candidate = first_of(op_json_get(response, "candidates"));
    struct op_json feedback = op_json_get(response, "promptFeedback");
    struct op_str blocked = op_json_str(op_json_get(feedback, "blockReason"));
    result->model = op_json_str(op_json_get(response, "modelVersion"));
    result->has_usage = read_usage(op_json_get(response, "usageMetadata"), &result->usage);
    result->stop = op_json_str(op_json_get(candidate, "finishReason"));
    struct op_json parts = op_json_get(op_json_get(candidate, "content"), "parts");
    enum op_rc rc = read_text(parts, scratch, &result->text, err);
    if (rc)
        return rc;
    if (!op_json_ok(candidate) && blocked.ptr) {
        result->stop = blocked;
        refuse(result, blocked, op_json_str(op_json_get(feedback, "blockReasonMessage")));
        return OP_OK;
    }
    result->class_ = finish_class(result->stop, result->text.len > 0);
    if (result->class_ == OP_RESULT_REFUSED)
        refuse(result, result->stop, op_json_str(op_json_get(candidate, "finishMessage")));
    return OP_OK;
}

/* The answer's text is the array of numbers. */
static enum op_rc read_embedding(struct op_json response, struct op_buf *scratch,
                                 struct op_result *result, struct op_err *err)
{
    struct op_json values = op_json_get(op_json_get(response, "embedding"), "values");
    struct op_json usage = op_json_get(response, "usageMetadata");
    int64_t tokens =
        op_json_count64(op_json_get(response, "tokenCount"),
                        op_json_count64(op_json_get(usage, "promptTokenCount"), -1));
    if (tokens >= 0) {
        result->has_usage = true;
        result->usage.tokens[OP_TOKEN_INPUT] = tokens;
    }
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

/* By the number of google.rpc.Code. */
static void read_error(struct op_json error, struct op_result *result)
{
    struct op_gemini_fault fault = op_gemini_fault_read(error);
    result->class_ = OP_RESULT_ERRORED;
    result->error_type = op_str_from(op_gemini_code_name(fault.code));
    result->error_message = fault.message;
    switch (fault.code) {
    case 1: /* served no more, because of a cancel or without one (gemini.md 9) */
        result->class_ = OP_RESULT_CANCELED;
        return;
    case 3:
    case 5:
    case 7:
    case 9:
    case 11:
    case 12:
        result->disp = OP_DISP_REJECT;
        break;
    case 16:
        result->disp = OP_DISP_PAUSE;
        break;
    default: /* an errored line is not billed, so asking again costs nothing */
        result->disp = OP_DISP_RETRY;
        break;
    }
    enum op_disp pause;
    if (op_gemini_fault_pauses(&fault, &pause))
        result->disp = pause;
}

/* --- lines ---------------------------------------------------------------------------------- */

enum op_rc op_gemini_decode_result(struct op_json line, struct op_buf *scratch,
                                   struct op_result *ret, struct op_err *err)
{
    struct op_result result = {.custom_id = op_json_str(op_json_get(line, "key"))};
    struct op_json response = op_json_get(line, "response");
    struct op_json error = op_json_get(line, "error");
    struct op_str status = op_json_str(op_json_get(line, "status")); /* Vertex's form */
    if (result.custom_id.len == 0)
        return op_fail(err, OP_INVAL, "a result line without a key");
    enum op_rc rc = OP_OK;
    if (op_json_is(error, OP_JSON_OBJECT)) {
        read_error(error, &result);
    } else if (status.len) {
        result.class_ = OP_RESULT_ERRORED;
        result.error_type = OP_STR("status");
        result.error_message = status;
        result.disp = OP_DISP_RETRY;
    } else if (!op_json_is(response, OP_JSON_OBJECT)) {
        return op_fail(err, OP_INVAL, "a result line with neither response nor error");
    } else if (op_json_ok(op_json_get(response, "embedding"))) {
        rc = read_embedding(response, scratch, &result, err);
    } else {
        rc = read_answer(response, scratch, &result, err);
    }
    if (!rc)
        *ret = result;
    return rc;
}

static void write_line(struct op_json item, struct op_buf *lines)
{
    struct op_json key = op_json_get(op_json_get(item, "metadata"), "key");
    struct op_json_out o;
    op_json_out_init(&o, lines, 0);
    op_json_out_object(&o);
    if (op_json_is(key, OP_JSON_STRING))
        op_json_out_kv_str(&o, "key", op_json_str(key));
    struct op_json_iter it = op_json_iter(item);
    while (op_json_is(item, OP_JSON_OBJECT) && op_json_next(&it)) {
        /* A line without a key is put aside whole; metadata stays, as evidence. */
        if (op_str_is(it.name, "key"))
            continue;
        op_json_out_name_str(&o, it.name);
        op_json_out_value(&o, it.value);
    }
    op_json_out_end_object(&o);
    op_buf_addc(lines, '\n');
}

enum op_rc op_gemini_unfold(struct op_json document, struct op_buf *ret_lines,
                            struct op_err *err)
{
    static const char *const lists[] = {"inlinedResponses", "inlinedEmbedContentResponses"};
    struct op_json places[] = {
        op_json_get(op_json_get(document, "metadata"), "output"),
        op_json_get(document, "response"),
        op_json_get(document, "output"),
    };
    for (size_t i = 0; i < OP_COUNT(places); i++) {
        for (size_t j = 0; j < OP_COUNT(lists); j++) {
            struct op_json outer = op_json_get(places[i], lists[j]);
            if (!op_json_is(outer, OP_JSON_OBJECT))
                continue;
            struct op_json items = op_json_get(outer, lists[j]);
            if (!op_json_ok(items))
                items = op_json_get(outer, "inlinedResponses");
            struct op_json_iter it = op_json_iter(items);
            while (op_json_is(items, OP_JSON_ARRAY) && op_json_next(&it))
                write_line(it.value, ret_lines);
            return op_buf_finish(ret_lines, "the batch's inline results", err);
        }
    }
    return op_fail(err, OP_INVAL, "the batch holds no inline results");
}

/* --- the realtime lane ---------------------------------------------------------------------- */

/* The statuses that speak of the request itself; any other error is the account's or the
 * server's. */
static bool is_about_request(int status)
{
    return status == 400 || status == 404 || status == 413 || status == 422;
}

static void write_folded(struct op_str custom_id, struct op_json body, struct op_json error,
                         struct op_buf *ret_line)
{
    struct op_json_out o;
    op_json_out_init(&o, ret_line, 0);
    op_json_out_object(&o);
    op_json_out_kv_str(&o, "key", custom_id);
    if (!op_json_ok(error)) {
        op_json_out_name(&o, "response");
        op_json_out_value(&o, body); /* written anew: a line must not hold a line end */
    } else {
        /* A reply's code is the HTTP status, a line's the number of google.rpc.Code. */
        struct op_gemini_fault fault = op_gemini_fault_read(error);
        op_json_out_name(&o, "error");
        op_json_out_object(&o);
        op_json_out_kv_int(&o, "code", op_gemini_code_of(fault.status));
        op_json_out_kv_str(&o, "message", fault.message);
        op_json_out_end_object(&o);
    }
    op_json_out_end_object(&o);
}

enum op_rc op_gemini_fold(struct op_str custom_id, const struct op_http_reply *reply,
                          struct op_buf *ret_line, struct op_err *err)
{
    bool good = op_reply_good(reply);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json body = op_reply_json(reply, parser);
    if (good && !op_json_is(body, OP_JSON_OBJECT))
        return op_fail_as(err, OP_REMOTE, OP_DISP_AMBIGUOUS, "the answer is no JSON object");
    struct op_json error = op_gemini_error_of(body);
    struct op_gemini_fault fault = op_gemini_fault_read(error);
    enum op_disp pause;
    if (!good && (!op_json_ok(error) || !is_about_request(reply->status) ||
                  op_gemini_fault_pauses(&fault, &pause))) {
        (void)op_gemini_decode_error(reply, err);
        err->rc = OP_REMOTE; /* nothing was named that could be missing */
        return OP_REMOTE;
    }
    write_folded(custom_id, body, error, ret_line);
    return op_buf_finish(ret_line, "the answer", err);
}
