/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "base/str.h"
#include "provider/driver.h"
#include "provider/openai/openai.h"
#include "provider/settings.h"

/* The API takes no smaller room for an answer: "Expected a value >= 16". */
#define ROOM_FLOOR 16

void op_openai_framing(const struct op_lane *lane, const char *endpoint,
                       struct op_batch_framing *ret)
{
    enum op_openai_endpoint which = OP_OPENAI_CHAT;
    struct op_err ignored = OP_ERR_INIT;
    /* params has refused an endpoint that is not there; every row has a chat. */
    if (op_openai_endpoint_find(lane->provider, endpoint, &which, &ignored))
        which = OP_OPENAI_CHAT;
    *ret = (struct op_batch_framing){
        .head = "",
        .before = "{\"custom_id\":\"",
        .after = "}",
        .separator = "\n",
        .tail = "\n",
    };
    snprintf(ret->between, sizeof(ret->between),
             "\",\"method\":\"POST\",\"url\":\"%s\",\"body\":",
             lane->provider->dialect->urls[which]);
}

/* --- files in the API's own form ------------------------------------------------------------ */

/* Every house writes the same three paths behind a beginning of its own ("/v4", nothing). */
static bool url_endpoint(struct op_str url, enum op_openai_endpoint *ret)
{
    static const char *const tails[] = {"/responses", "/chat/completions", "/embeddings"};
    for (int i = 0; i < OP_OPENAI_ENDPOINT_COUNT; i++) {
        if (!op_str_ends(url, tails[i]))
            continue;
        struct op_str head = {url.ptr, url.len - strlen(tails[i])};
        *ret = (enum op_openai_endpoint)i;
        return head.len == 0 || op_str_is(head, "/v1") || op_str_is(head, "/v4");
    }
    return false;
}

static enum op_rc check_body(struct op_json body, enum op_openai_endpoint endpoint,
                             struct op_err *err)
{
    if (op_json_str(op_json_get(body, "model")).len == 0)
        return op_fail(err, OP_INVAL, "\"body\" names no \"model\"");
    const char *prompt = endpoint == OP_OPENAI_CHAT ? "messages" : "input";
    /* A stored prompt template of the responses endpoint stands for the input. */
    bool stored = endpoint == OP_OPENAI_RESPONSES && op_json_ok(op_json_get(body, "prompt"));
    if (!op_json_ok(op_json_get(body, prompt)) && !stored)
        return op_fail(err, OP_INVAL, "\"body\" needs \"%s\"", prompt);
    if (op_json_bool(op_json_get(body, "stream"), false))
        return op_fail(err, OP_INVAL,
                       "\"body\" asks for \"stream\": a batch does not stream; remove it");
    return OP_OK;
}

static enum op_rc check_envelope(struct op_json root, enum op_openai_endpoint *ret,
                                 struct op_err *err)
{
    if (!op_json_is(root, OP_JSON_OBJECT))
        return op_fail(
            err, OP_INVAL,
            "a request line is an object with \"custom_id\", \"method\", \"url\" and "
            "\"body\", not %s",
            op_json_type_name(op_json_type(root)));
    if (!op_json_ok(op_json_get(root, "body")) && op_json_ok(op_json_get(root, "params")))
        return op_fail(err, OP_INVAL,
                       "\"body\" is missing; a line with \"params\" is in Anthropic's form: "
                       "choose that provider, or convert the file");
    if (!op_json_is(op_json_get(root, "body"), OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL, "\"body\" is missing or no object");
    if (op_json_str(op_json_get(root, "custom_id")).len == 0)
        return op_fail(err, OP_INVAL, "\"custom_id\" is missing or no text");
    char shown[80];
    struct op_str method = op_json_str(op_json_get(root, "method"));
    if (!op_str_is(method, "POST"))
        return op_fail(err, OP_INVAL, "\"method\" must be \"POST\", not \"%s\"",
                       op_remote_text(method, shown, sizeof(shown)));
    struct op_str url = op_json_str(op_json_get(root, "url"));
    if (!url.ptr || !url_endpoint(url, ret))
        return op_fail(err, OP_INVAL,
                       "\"url\" must be \"/v1/responses\", \"/v1/chat/completions\" or "
                       "\"/v1/embeddings\", not \"%s\"",
                       op_remote_text(url, shown, sizeof(shown)));
    return OP_OK;
}

enum op_rc op_openai_split_line(struct op_json root, struct op_str line,
                                struct op_str *ret_custom_id, struct op_str *ret_params,
                                const char **ret_endpoint, struct op_err *err)
{
    enum op_openai_endpoint endpoint;
    enum op_rc rc = check_envelope(root, &endpoint, err);
    if (!rc)
        rc = check_body(op_json_get(root, "body"), endpoint, err);
    if (rc)
        return rc;
    struct op_str slice;
    rc = op_raw_member(root, line, "body", &slice, err);
    if (rc)
        return op_fail(err, OP_INVAL, "\"body\" is missing");
    *ret_custom_id = op_json_str(op_json_get(root, "custom_id"));
    *ret_params = slice;
    *ret_endpoint = op_openai_endpoint_name(endpoint);
    return OP_OK;
}

/* --- amendments ----------------------------------------------------------------------------- */

static bool is_room(struct op_str name)
{
    return op_str_is(name, "max_output_tokens") || op_str_is(name, "max_completion_tokens") ||
           op_str_is(name, "max_tokens");
}

/* Params do not name their endpoint; an embedding is told by what only it has. Nothing of it can be
 * amended: it has no room and no words. */
static bool is_embedding(struct op_json params)
{
    return !op_json_ok(op_json_get(params, "messages")) &&
           !op_json_ok(op_json_get(params, "max_output_tokens")) &&
           (op_json_ok(op_json_get(params, "dimensions")) ||
            op_json_ok(op_json_get(params, "encoding_format")) ||
            op_str_mentions(op_json_str(op_json_get(params, "model")), "embed"));
}

static const char *room_name(struct op_json params)
{
    if (!op_json_ok(op_json_get(params, "messages")))
        return "max_output_tokens";
    return op_openai_is_reasoning(op_json_str(op_json_get(params, "model")))
               ? "max_completion_tokens"
               : "max_tokens";
}

static void write_room(struct op_json_out *o, struct op_str name, int64_t tokens)
{
    op_json_out_name_str(o, name);
    if (tokens < ROOM_FLOOR && !op_str_is(name, "max_tokens"))
        tokens = ROOM_FLOOR;
    op_json_out_int(o, tokens);
}

static void write_message(struct op_json_out *o, const char *role, struct op_str text)
{
    op_json_out_object(o);
    op_json_out_kv_text(o, "role", role);
    op_json_out_kv_str(o, "content", text);
    op_json_out_end_object(o);
}

/* The conversation goes on: the answer, then what is wrong with it. */
static void write_turns(struct op_json_out *o, struct op_json turns,
                        const struct op_amend *amend, struct op_str complaint)
{
    op_json_out_array(o);
    struct op_str only = op_json_str(turns);
    if (only.ptr)
        write_message(o, "user", only);
    struct op_json_iter it = op_json_iter(turns);
    while (op_json_is(turns, OP_JSON_ARRAY) && op_json_next(&it))
        op_json_out_value(o, it.value);
    if (amend->answer.len)
        write_message(o, "assistant", amend->answer);
    write_message(o, "user", complaint);
    op_json_out_end_array(o);
}

enum op_rc op_openai_amend(struct op_json params, const struct op_amend *amend,
                           struct op_buf *ret, struct op_err *err)
{
    if (!op_json_is(params, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL, "the params are not a JSON object");
    bool fixed = is_embedding(params);
    bool chat = op_json_ok(op_json_get(params, "messages"));
    struct op_buf complaint;
    op_buf_init(&complaint, amend->violations.len + 1024);
    op_amend_complaint(amend->violations, &complaint);
    struct op_json_out o;
    op_json_out_init(&o, ret, 0);
    op_json_out_object(&o);
    bool has_room = false;
    struct op_json_iter it = op_json_iter(params);
    while (op_json_next(&it)) {
        if (amend->max_tokens && !fixed && is_room(it.name)) {
            write_room(&o, it.name, amend->max_tokens);
            has_room = true;
            continue;
        }
        op_json_out_name_str(&o, it.name);
        if (amend->violations.ptr && !fixed && op_str_is(it.name, chat ? "messages" : "input"))
            write_turns(&o, it.value, amend, op_buf_str(&complaint));
        else
            op_json_out_value(&o, it.value);
    }
    if (amend->max_tokens && !fixed && !has_room)
        write_room(&o, op_str_from(room_name(params)), amend->max_tokens);
    op_json_out_end_object(&o);
    op_buf_release(&complaint);
    return op_buf_finish(ret, "the params of a request", err);
}
