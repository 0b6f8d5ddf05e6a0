/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "emulator/embed.h"
#include "emulator/openai.h"
#include "emulator/state.h"

#define BODY_MAX ((size_t)512 * 1024 * 1024)

#define DIMENSIONS_SMALL   1536 /* text-embedding-3-small and -ada-002 */
#define DIMENSIONS_LARGE   3072 /* text-embedding-3-large */
#define DIMENSIONS_MISTRAL 1024 /* mistral-embed */

void op_emu_openai_turn_init(struct op_emu_openai_turn *turn, struct op_emulator *emulator,
                             struct op_arena *arena)
{
    *turn = (struct op_emu_openai_turn){.emulator = emulator, .arena = arena};
    op_emu_talk_init(&turn->talk);
    turn->talk.emulator = emulator;
}

void op_emu_openai_turn_release(struct op_emu_openai_turn *turn)
{
    op_emu_talk_release(&turn->talk);
}

static const char *make_id(const struct op_emu_openai_turn *turn, const char *prefix,
                           int64_t salt)
{
    char id[OP_EMU_ID_MAX];
    op_emu_store_id_of(turn->emulator->store, prefix, OP_EMU_HEX, 32, turn->id_a,
                       turn->id_b * 4 + salt, id);
    return op_arena_strdup(turn->arena, op_str_from(id));
}

static int64_t now_seconds(const struct op_emu_openai_turn *turn)
{
    return op_emu_clock_now(&turn->emulator->clock) / OP_EMU_SECOND_US;
}

/* The tier that was asked for, as far as it is one that answers. */
static const char *tier(const struct op_emu_openai_turn *turn)
{
    struct op_str asked = op_json_str(op_json_get(turn->body, "service_tier"));
    if (op_str_is(asked, "flex"))
        return "flex";
    return op_str_is(asked, "priority") ? "priority" : "default";
}

/* ---- /v1/responses ---- */

static void write_response_message(struct op_json_out *out,
                                   const struct op_emu_openai_turn *turn)
{
    const struct op_emu_talk *talk = &turn->talk;
    bool refuses = talk->stop == OP_EMU_STOP_REFUSAL;
    op_json_out_object(out);
    op_json_out_kv_text(out, "id", make_id(turn, "msg_", 1));
    op_json_out_kv_text(out, "type", "message");
    op_json_out_kv_text(out, "status",
                        talk->stop == OP_EMU_STOP_LENGTH ? "incomplete" : "completed");
    op_json_out_name(out, "content");
    op_json_out_array(out);
    op_json_out_object(out);
    if (refuses) {
        op_json_out_kv_text(out, "type", "refusal");
        op_json_out_kv_text(out, "refusal", "I'm sorry, but I can't help with that.");
    } else {
        op_json_out_kv_text(out, "type", "output_text");
        op_json_out_name(out, "annotations");
        op_json_out_raw(out, OP_STR("[]"));
        op_json_out_name(out, "logprobs");
        op_json_out_raw(out, OP_STR("[]"));
        op_json_out_kv_str(out, "text", op_buf_str(&talk->text));
    }
    op_json_out_end_object(out);
    op_json_out_end_array(out);
    op_json_out_kv_text(out, "role", "assistant");
    op_json_out_end_object(out);
}

static void write_response_output(struct op_json_out *out,
                                  const struct op_emu_openai_turn *turn)
{
    op_json_out_name(out, "output");
    op_json_out_array(out);
    if (turn->talk.thinking) {
        op_json_out_object(out);
        op_json_out_kv_text(out, "id", make_id(turn, "rs_", 2));
        op_json_out_kv_text(out, "type", "reasoning");
        op_json_out_name(out, "summary");
        op_json_out_raw(out, OP_STR("[]"));
        op_json_out_end_object(out);
    }
    write_response_message(out, turn);
    op_json_out_end_array(out);
}

static void write_response_usage(struct op_json_out *out, const struct op_emu_openai_turn *turn)
{
    const struct op_emu_usage *usage = &turn->talk.usage;
    int64_t input = usage->input + usage->cache_read;
    op_json_out_name(out, "usage");
    op_json_out_object(out);
    op_json_out_kv_int(out, "input_tokens", input);
    op_json_out_name(out, "input_tokens_details");
    op_json_out_object(out);
    op_json_out_kv_int(out, "cached_tokens", usage->cache_read);
    op_json_out_kv_int(out, "cache_write_tokens", 0);
    op_json_out_end_object(out);
    op_json_out_kv_int(out, "output_tokens", usage->output);
    op_json_out_name(out, "output_tokens_details");
    op_json_out_object(out);
    op_json_out_kv_int(out, "reasoning_tokens", turn->talk.thinking);
    op_json_out_end_object(out);
    op_json_out_kv_int(out, "total_tokens", input + usage->output);
    op_json_out_end_object(out);
}

/* A member of the request as it came, or what stands there without it. */
static void echo(struct op_json_out *out, const struct op_emu_openai_turn *turn,
                 const char *name, const char *standard)
{
    struct op_json value = op_json_get(turn->body, name);
    op_json_out_name(out, name);
    if (op_json_ok(value) && !op_json_is(value, OP_JSON_NULL))
        op_json_out_value(out, value);
    else
        op_json_out_raw(out, op_str_from(standard));
}

static void write_response(struct op_json_out *out, const struct op_emu_openai_turn *turn)
{
    bool cut = turn->talk.stop == OP_EMU_STOP_LENGTH;
    int64_t now = now_seconds(turn);
    op_json_out_object(out);
    op_json_out_kv_text(out, "id", make_id(turn, "resp_", 0));
    op_json_out_kv_text(out, "object", "response");
    op_json_out_kv_int(out, "created_at", now);
    op_json_out_kv_text(out, "status", cut ? "incomplete" : "completed");
    op_json_out_kv_bool(out, "background", false);
    op_json_out_name(out, "completed_at");
    if (cut)
        op_json_out_null(out);
    else
        op_json_out_int(out, now);
    op_json_out_name(out, "error");
    op_json_out_null(out);
    op_json_out_name(out, "incomplete_details");
    op_json_out_raw(out, cut ? OP_STR("{\"reason\":\"max_output_tokens\"}") : OP_STR("null"));
    echo(out, turn, "instructions", "null");
    echo(out, turn, "max_output_tokens", "null");
    echo(out, turn, "max_tool_calls", "null");
    op_json_out_kv_str(out, "model", turn->model);
    write_response_output(out, turn);
    echo(out, turn, "parallel_tool_calls", "true");
    echo(out, turn, "previous_response_id", "null");
    echo(out, turn, "reasoning", "{\"effort\":null,\"summary\":null}");
    op_json_out_kv_text(out, "service_tier", tier(turn));
    echo(out, turn, "store", "true");
    echo(out, turn, "temperature", "1.0");
    echo(out, turn, "text", "{\"format\":{\"type\":\"text\"}}");
    echo(out, turn, "tool_choice", "\"auto\"");
    echo(out, turn, "tools", "[]");
    echo(out, turn, "top_p", "1.0");
    echo(out, turn, "truncation", "\"disabled\"");
    write_response_usage(out, turn);
    echo(out, turn, "user", "null");
    echo(out, turn, "metadata", "{}");
    op_json_out_end_object(out);
}

/* ---- /v1/chat/completions ---- */

static void write_chat_usage(struct op_json_out *out, const struct op_emu_openai_turn *turn)
{
    const struct op_emu_usage *usage = &turn->talk.usage;
    int64_t input = usage->input + usage->cache_read;
    op_json_out_name(out, "usage");
    op_json_out_object(out);
    op_json_out_kv_int(out, "prompt_tokens", input);
    op_json_out_kv_int(out, "completion_tokens", usage->output);
    op_json_out_kv_int(out, "total_tokens", input + usage->output);
    if (!turn->mistral) {
        op_json_out_name(out, "prompt_tokens_details");
        op_json_out_object(out);
        op_json_out_kv_int(out, "cached_tokens", usage->cache_read);
        op_json_out_kv_int(out, "audio_tokens", 0);
        op_json_out_end_object(out);
        op_json_out_name(out, "completion_tokens_details");
        op_json_out_object(out);
        op_json_out_kv_int(out, "reasoning_tokens", turn->talk.thinking);
        op_json_out_kv_int(out, "audio_tokens", 0);
        op_json_out_kv_int(out, "accepted_prediction_tokens", 0);
        op_json_out_kv_int(out, "rejected_prediction_tokens", 0);
        op_json_out_end_object(out);
    }
    op_json_out_end_object(out);
}

static const char *finish_reason(const struct op_emu_openai_turn *turn)
{
    if (turn->talk.stop_text.ptr)
        return op_arena_strdup(turn->arena, turn->talk.stop_text);
    return turn->talk.stop == OP_EMU_STOP_LENGTH ? "length" : "stop";
}

static void write_choice(struct op_json_out *out, const struct op_emu_openai_turn *turn)
{
    bool refuses = turn->talk.stop == OP_EMU_STOP_REFUSAL;
    op_json_out_object(out);
    op_json_out_kv_int(out, "index", 0);
    op_json_out_name(out, "message");
    op_json_out_object(out);
    op_json_out_kv_text(out, "role", "assistant");
    op_json_out_name(out, "content");
    if (refuses && turn->mistral)
        op_json_out_text(out, "I'm sorry, but I can't help with that.");
    else if (refuses)
        op_json_out_null(out);
    else
        op_json_out_str(out, op_buf_str(&turn->talk.text));
    if (turn->mistral) {
        op_json_out_kv_text(out, "tool_calls", NULL);
    } else {
        op_json_out_kv_text(out, "refusal",
                            refuses ? "I'm sorry, but I can't help with that." : NULL);
        op_json_out_name(out, "annotations");
        op_json_out_raw(out, OP_STR("[]"));
    }
    op_json_out_end_object(out);
    if (!turn->mistral)
        op_json_out_kv_text(out, "logprobs", NULL);
    op_json_out_kv_text(out, "finish_reason", finish_reason(turn));
    op_json_out_end_object(out);
}

static void write_chat(struct op_json_out *out, const struct op_emu_openai_turn *turn)
{
    op_json_out_object(out);
    op_json_out_kv_text(out, "id", make_id(turn, turn->mistral ? "" : "chatcmpl-", 0));
    op_json_out_kv_text(out, "object", "chat.completion");
    op_json_out_kv_int(out, "created", now_seconds(turn));
    op_json_out_kv_str(out, "model", turn->model);
    op_json_out_name(out, "choices");
    op_json_out_array(out);
    write_choice(out, turn);
    op_json_out_end_array(out);
    write_chat_usage(out, turn);
    if (!turn->mistral) {
        op_json_out_kv_text(out, "service_tier", tier(turn));
        op_json_out_kv_text(out, "system_fingerprint", NULL);
    }
    op_json_out_end_object(out);
}

/* ---- /v1/embeddings ---- */

static int64_t dimensions_of(const struct op_emu_openai_turn *turn)
{
    int64_t standard = turn->mistral                                      ? DIMENSIONS_MISTRAL
                       : op_str_is(turn->model, "text-embedding-3-large") ? DIMENSIONS_LARGE
                                                                          : DIMENSIONS_SMALL;
    const char *name = turn->mistral ? "output_dimension" : "dimensions";
    int64_t asked = op_json_int(op_json_get(turn->body, name), standard);
    return asked < 1 || asked > OP_EMU_DIMENSIONS_MAX ? standard : asked;
}

static void write_vector(struct op_json_out *out, const struct op_emu_openai_turn *turn,
                         struct op_json text, int64_t index)
{
    OP_CLEANUP(op_buf_release) struct op_buf raw = {0}, vector = {0};
    bool base64 = op_str_is(op_json_str(op_json_get(turn->body, "encoding_format")), "base64");
    op_buf_init(&raw, BODY_MAX);
    op_buf_init(&vector, BODY_MAX);
    op_json_write(&raw, text);
    op_emu_embed(&vector, op_buf_str(&raw), dimensions_of(turn), base64);
    op_json_out_object(out);
    op_json_out_kv_text(out, "object", "embedding");
    op_json_out_kv_int(out, "index", index);
    op_json_out_name(out, "embedding");
    op_json_out_raw(out, op_buf_str(&vector));
    op_json_out_end_object(out);
    op_buf_release(&vector);
}

static void write_embeddings(struct op_json_out *out, struct op_emu_openai_turn *turn)
{
    struct op_json input = op_json_get(turn->body, "input");
    struct op_json_iter it = op_json_iter(input);
    bool many = op_json_is(input, OP_JSON_ARRAY);
    struct op_emu_usage *usage = &turn->talk.usage;
    op_json_out_object(out);
    op_json_out_kv_text(out, "object", "list");
    if (turn->mistral)
        op_json_out_kv_text(out, "id", make_id(turn, "", 0));
    op_json_out_name(out, "data");
    op_json_out_array(out);
    if (!many)
        write_vector(out, turn, input, 0);
    while (many && op_json_next(&it)) {
        if (op_json_is(it.value, OP_JSON_INT)) { /* one text as a list of tokens */
            write_vector(out, turn, input, 0);
            break;
        }
        write_vector(out, turn, it.value, (int64_t)it.index);
    }
    op_json_out_end_array(out);
    op_json_out_kv_str(out, "model", turn->model);
    op_json_out_name(out, "usage");
    op_json_out_object(out);
    op_json_out_kv_int(out, "prompt_tokens", usage->input);
    op_json_out_kv_int(out, "total_tokens", usage->input);
    op_json_out_end_object(out);
    op_json_out_end_object(out);
}

/* ---- any of them ---- */

static void take_error(struct op_emu_openai_turn *turn)
{
    const struct op_emu_talk *talk = &turn->talk;
    int status = talk->error_status ? talk->error_status : 500;
    if (!talk->error_status && strcmp(talk->error_type, "invalid_request_error") == 0)
        status = 400;
    if (!talk->error_status && (strcmp(talk->error_type, "rate_limit_exceeded") == 0 ||
                                strcmp(talk->error_type, "insufficient_quota") == 0))
        status = 429;
    turn->problem = (struct op_emu_openai_problem){
        .status = status,
        .type = talk->error_type[0] ? talk->error_type : "server_error",
        .code = status == 429 && talk->error_type[0] ? talk->error_type : NULL,
        .message = talk->error_message
                       ? talk->error_message
                       : "The server had an error while processing your request. Sorry about"
                         " that!",
    };
}

void op_emu_openai_answer(struct op_emu_openai_turn *turn, struct op_buf *out,
                          bool *ret_executed)
{
    struct op_json_out json;
    struct op_str model = op_json_str(op_json_get(turn->body, "model"));
    if (model.ptr)
        turn->model = model;
    turn->problem = op_emu_openai_check(turn);
    *ret_executed = turn->problem.message == NULL;
    if (turn->problem.message)
        return;
    op_emu_openai_prompt(&turn->talk, turn->body, turn->kind);
    op_emu_talk_run(&turn->talk);
    if (turn->talk.error_type) {
        take_error(turn);
        return;
    }
    op_json_out_init(&json, out, 0);
    if (turn->kind == OP_EMU_OPENAI_EMBEDDINGS) {
        turn->talk.usage = (struct op_emu_usage){
            .input = op_emu_tokens(turn->talk.bytes ? turn->talk.bytes : 1)};
        turn->talk.answer[0] = '\0';
        write_embeddings(&json, turn);
    } else if (turn->kind == OP_EMU_OPENAI_CHAT) {
        write_chat(&json, turn);
    } else {
        write_response(&json, turn);
    }
}

/* ---- one line of a batch ---- */

static void write_line_id(struct op_json_out *out, const struct op_emu_line *line)
{
    op_json_out_name(out, "custom_id");
    if (line->null_id)
        op_json_out_null(out);
    else if (line->rename_id)
        op_json_out_text(out, op_arena_printf(line->arena, OP_STR_FMT "-renamed",
                                              OP_STR_ARG(line->custom_id)));
    else
        op_json_out_str(out, line->custom_id);
}

static void write_line_error(struct op_json_out *out, const char *code, const char *message)
{
    op_json_out_name(out, "response");
    op_json_out_null(out);
    op_json_out_name(out, "error");
    op_json_out_object(out);
    op_json_out_kv_text(out, "code", code);
    op_json_out_kv_text(out, "message", message);
    op_json_out_end_object(out);
}

static void write_line_response(struct op_json_out *out, const struct op_emu_openai_turn *turn,
                                struct op_str body)
{
    const struct op_emu_openai_problem *problem = &turn->problem;
    op_json_out_name(out, "response");
    op_json_out_object(out);
    op_json_out_kv_int(out, "status_code", problem->message ? problem->status : 200);
    op_json_out_kv_text(out, "request_id", make_id(turn, "", 3));
    op_json_out_name(out, "body");
    if (problem->message)
        op_emu_openai_write_problem(out, problem);
    else
        op_json_out_raw(out, body);
    op_json_out_end_object(out);
    op_json_out_name(out, "error");
    op_json_out_null(out);
}

/* What happened to a request inside the provider: it was lost, and is said so in this way. */
static void write_line_zero(struct op_json_out *out)
{
    op_json_out_name(out, "response");
    op_json_out_raw(out, OP_STR("{\"status_code\":0,\"request_id\":\"\",\"body\":{}}"));
    op_json_out_name(out, "error");
    op_json_out_null(out);
}

static void run_line(struct op_emu_line *line, struct op_emu_openai_turn *turn,
                     struct op_buf *body)
{
    bool executed = false;
    if (op_emu_fired_rule(line->fired, OP_EMU_STATUS_ZERO))
        line->outcome = OP_EMU_ERRORED;
    if (line->outcome != OP_EMU_SUCCEEDED)
        return;
    op_emu_openai_answer(turn, body, &executed);
    if (turn->problem.message) {
        line->outcome = OP_EMU_ERRORED;
        return;
    }
    line->usage = turn->talk.usage;
    line->thinking = turn->talk.thinking;
    memcpy(line->answer, turn->talk.answer, sizeof(line->answer));
}

void op_emu_openai_line(struct op_emu_line *line)
{
    OP_CLEANUP(op_buf_release) struct op_buf body = {0};
    OP_CLEANUP(op_emu_openai_turn_release) struct op_emu_openai_turn turn;
    struct op_json_out out;
    op_buf_init(&body, BODY_MAX);
    op_emu_openai_turn_init(&turn, line->emulator, line->arena);
    turn.body = op_json_get(line->request, "body");
    turn.kind = op_emu_openai_kind_of(op_json_str(op_json_get(line->request, "url")));
    turn.in_batch = true;
    turn.id_a = line->batch->seq;
    turn.id_b = line->number + 1;
    turn.talk.fired = line->fired;
    turn.talk.custom_id = line->custom_id =
        op_json_str(op_json_get(line->request, "custom_id"));
    op_emu_hash(turn.body, line->hash);
    line->model = op_json_str(op_json_get(turn.body, "model"));
    run_line(line, &turn, &body);
    line->for_errors = line->outcome != OP_EMU_SUCCEEDED;
    op_json_out_init(&out, line->out, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "id", make_id(&turn, "batch_req_", 0));
    write_line_id(&out, line);
    if (line->outcome == OP_EMU_EXPIRED)
        write_line_error(&out, "batch_expired",
                         "This request could not be executed before the completion window"
                         " expired.");
    else if (line->outcome == OP_EMU_CANCELED)
        write_line_error(&out, "batch_cancelled",
                         "This request was not executed because the batch was cancelled.");
    else if (op_emu_fired_rule(line->fired, OP_EMU_STATUS_ZERO))
        write_line_zero(&out);
    else
        write_line_response(&out, &turn, op_buf_str(&body));
    op_json_out_end_object(&out);
}

/* ---- realtime ---- */

void op_emu_openai_realtime(struct op_emu_call *call, enum op_emu_openai_kind kind,
                            bool mistral)
{
    OP_CLEANUP(op_emu_openai_turn_release) struct op_emu_openai_turn turn;
    struct op_err err = OP_ERR_INIT;
    struct op_emulator *em = call->emulator;
    bool executed = false;
    op_emu_openai_turn_init(&turn, em, &call->arena);
    turn.kind = kind;
    turn.mistral = mistral;
    turn.id_a = em->clock.start_us;
    turn.id_b = atomic_fetch_add(&em->next_request, 1);
    turn.talk.fired = &call->fired;
    if (!op_emu_call_json(call, &turn.body, &err)) {
        call->api->error(call, 400, NULL, "We could not parse the JSON body of your request.");
        return;
    }
    op_emu_reply_begin(call, 200, "application/json");
    op_emu_openai_answer(&turn, &call->reply.body, &executed);
    if (executed && !op_emu_talk_bill(call, &turn.talk, turn.body, turn.model))
        return;
    if (turn.problem.message && mistral)
        call->api->error(call, turn.problem.status, turn.problem.type, turn.problem.message);
    else if (turn.problem.message)
        op_emu_openai_problem(call, &turn.problem);
}
