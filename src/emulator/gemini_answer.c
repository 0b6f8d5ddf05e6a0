/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "emulator/embed.h"
#include "emulator/gemini.h"
#include "emulator/state.h"

#define BODY_MAX   ((size_t)512 * 1024 * 1024)
#define DIMENSIONS 3072 /* gemini-embedding-001 */

void op_emu_gemini_turn_init(struct op_emu_gemini_turn *turn, struct op_emulator *emulator,
                             struct op_arena *arena)
{
    *turn = (struct op_emu_gemini_turn){.emulator = emulator, .arena = arena};
    op_emu_talk_init(&turn->talk);
    turn->talk.emulator = emulator;
}

void op_emu_gemini_turn_release(struct op_emu_gemini_turn *turn)
{
    op_emu_talk_release(&turn->talk);
}

/* ---- generateContent ---- */

static void write_details(struct op_json_out *out, const char *name, int64_t tokens)
{
    op_json_out_name(out, name);
    op_json_out_array(out);
    op_json_out_object(out);
    op_json_out_kv_text(out, "modality", "TEXT");
    op_json_out_kv_int(out, "tokenCount", tokens);
    op_json_out_end_object(out);
    op_json_out_end_array(out);
}

/* candidatesTokenCount leaves out the thoughts; zero counts are absent. */
static void write_usage(struct op_json_out *out, const struct op_emu_gemini_turn *turn)
{
    const struct op_emu_usage *usage = &turn->talk.usage;
    int64_t prompt = usage->input + usage->cache_read;
    int64_t thoughts = usage->output ? turn->talk.thinking : 0;
    op_json_out_name(out, "usageMetadata");
    op_json_out_object(out);
    op_json_out_kv_int(out, "promptTokenCount", prompt);
    if (usage->output > thoughts)
        op_json_out_kv_int(out, "candidatesTokenCount", usage->output - thoughts);
    op_json_out_kv_int(out, "totalTokenCount", prompt + usage->output);
    if (usage->cache_read) {
        op_json_out_kv_int(out, "cachedContentTokenCount", usage->cache_read);
        write_details(out, "cacheTokensDetails", usage->cache_read);
    }
    write_details(out, "promptTokensDetails", prompt);
    if (thoughts)
        op_json_out_kv_int(out, "thoughtsTokenCount", thoughts);
    op_json_out_end_object(out);
}

static const char *finish_reason(const struct op_emu_gemini_turn *turn)
{
    if (turn->talk.stop_text.ptr)
        return op_arena_strdup(turn->arena, turn->talk.stop_text);
    return turn->talk.stop == OP_EMU_STOP_LENGTH ? "MAX_TOKENS" : "STOP";
}

static void write_candidate(struct op_json_out *out, const struct op_emu_gemini_turn *turn)
{
    struct op_json thought = op_emu_gemini_get(
        op_emu_gemini_get(turn->request, "generationConfig"), "thinkingConfig");
    op_json_out_object(out);
    op_json_out_name(out, "content");
    op_json_out_object(out);
    op_json_out_name(out, "parts");
    op_json_out_array(out);
    if (turn->talk.thinking &&
        op_json_bool(op_emu_gemini_get(thought, "includeThoughts"), false)) {
        op_json_out_object(out);
        op_json_out_kv_text(out, "text", "The request asks for an answer from its own words.");
        op_json_out_kv_bool(out, "thought", true);
        op_json_out_end_object(out);
    }
    op_json_out_object(out);
    op_json_out_kv_str(out, "text", op_buf_str(&turn->talk.text));
    op_json_out_end_object(out);
    op_json_out_end_array(out);
    op_json_out_kv_text(out, "role", "model");
    op_json_out_end_object(out);
    op_json_out_kv_text(out, "finishReason", finish_reason(turn));
    op_json_out_kv_int(out, "index", 0);
    op_json_out_end_object(out);
}

static void write_response(struct op_json_out *out, struct op_emu_gemini_turn *turn)
{
    char id[OP_EMU_ID_MAX];
    op_emu_store_id(turn->emulator->store, "", turn->id_a, turn->id_b, id);
    op_json_out_object(out);
    if (turn->talk.stop == OP_EMU_STOP_REFUSAL) {
        turn->talk.usage.output = 0;
        op_json_out_name(out, "promptFeedback");
        op_json_out_raw(out, OP_STR("{\"blockReason\":\"PROHIBITED_CONTENT\"}"));
    } else {
        op_json_out_name(out, "candidates");
        op_json_out_array(out);
        write_candidate(out, turn);
        op_json_out_end_array(out);
    }
    write_usage(out, turn);
    op_json_out_kv_str(out, "modelVersion", turn->model);
    op_json_out_kv_text(out, "responseId", id);
    op_json_out_end_object(out);
}

/* ---- embeddings ---- */

static void write_vector(struct op_json_out *out, const struct op_emu_gemini_turn *turn)
{
    OP_CLEANUP(op_buf_release) struct op_buf vector = {0};
    int64_t dimensions =
        op_json_int(op_emu_gemini_get(turn->request, "outputDimensionality"), DIMENSIONS);
    if (dimensions < 1 || dimensions > OP_EMU_DIMENSIONS_MAX)
        dimensions = DIMENSIONS;
    op_buf_init(&vector, BODY_MAX);
    op_emu_embed(&vector, op_buf_str(&turn->talk.user), dimensions, false);
    op_json_out_object(out);
    op_json_out_name(out, "values");
    op_json_out_raw(out, op_buf_str(&vector));
    op_json_out_end_object(out);
}

static void write_embedding(struct op_json_out *out, const struct op_emu_gemini_turn *turn)
{
    op_json_out_object(out);
    op_json_out_kv_text(
        out, "tokenCount",
        op_arena_printf(turn->arena, "%lld", (long long)turn->talk.usage.input));
    op_json_out_name(out, "embedding");
    write_vector(out, turn);
    op_json_out_end_object(out);
}

/* ---- any of them ---- */

static void take_error(struct op_emu_gemini_turn *turn)
{
    static const struct {
        const char *type;
        int status, code;
    } rows[] = {
        {"INVALID_ARGUMENT", 400, OP_EMU_GEMINI_INVALID},
        {"PERMISSION_DENIED", 403, OP_EMU_GEMINI_DENIED},
        {"NOT_FOUND", 404, OP_EMU_GEMINI_NOT_FOUND},
        {"RESOURCE_EXHAUSTED", 429, OP_EMU_GEMINI_EXHAUSTED},
        {"CANCELLED", 499, OP_EMU_GEMINI_CANCELLED},
        {"INTERNAL", 500, OP_EMU_GEMINI_INTERNAL},
        {"UNAVAILABLE", 503, OP_EMU_GEMINI_UNAVAILABLE},
    };
    const struct op_emu_talk *talk = &turn->talk;
    struct op_emu_gemini_problem problem = {500, OP_EMU_GEMINI_INTERNAL, talk->error_message};
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        if (strcmp(rows[i].type, talk->error_type) == 0 ||
            (!talk->error_type[0] && rows[i].status == talk->error_status))
            problem = (struct op_emu_gemini_problem){rows[i].status, rows[i].code,
                                                     talk->error_message};
    }
    if (talk->error_status)
        problem.status = talk->error_status;
    if (!problem.message)
        problem.message = "Internal error encountered.";
    turn->problem = problem;
}

void op_emu_gemini_answer(struct op_emu_gemini_turn *turn, struct op_buf *out,
                          bool *ret_executed)
{
    struct op_json_out json;
    turn->problem = op_emu_gemini_check(turn->request, turn->embeds, turn->arena);
    *ret_executed = turn->problem.message == NULL;
    if (turn->problem.message)
        return;
    op_emu_gemini_prompt(turn);
    op_emu_talk_run(&turn->talk);
    if (turn->talk.error_type) {
        take_error(turn);
        return;
    }
    op_json_out_init(&json, out, 0);
    if (turn->embeds) {
        int64_t bytes = turn->talk.bytes ? turn->talk.bytes : 1;
        turn->talk.usage = (struct op_emu_usage){.input = op_emu_tokens(bytes)};
        turn->talk.answer[0] = '\0';
        write_embedding(&json, turn);
    } else {
        write_response(&json, turn);
    }
}

/* ---- one line of a batch ---- */

/* {"key", "request"} of a file, {"request", "metadata"} of an inline create, or the request
 * alone. */
static struct op_json request_of(struct op_json line)
{
    struct op_json request = op_emu_gemini_get(line, "request");
    return op_json_ok(request) ? request : line;
}

struct op_str op_emu_gemini_custom_id(struct op_json line)
{
    struct op_str key = op_json_str(op_emu_gemini_get(line, "key"));
    return key.ptr ? key
                   : op_json_str(op_emu_gemini_get(op_emu_gemini_get(line, "metadata"), "key"));
}

static void write_key(struct op_json_out *out, const struct op_emu_line *line, bool is_inline)
{
    struct op_json metadata = op_emu_gemini_get(line->request, "metadata");
    const char *name = "key";
    if (is_inline && op_json_ok(metadata) && !line->null_id && !line->rename_id) {
        op_json_out_name(out, "metadata");
        op_json_out_value(out, metadata);
        return;
    }
    if (!line->custom_id.ptr || (is_inline && line->null_id))
        return;
    if (is_inline) {
        op_json_out_name(out, "metadata");
        op_json_out_object(out);
    }
    if (line->null_id)
        op_json_out_kv_text(out, name, NULL);
    else
        op_json_out_kv_text(out, name,
                            op_arena_printf(line->arena, OP_STR_FMT "%s",
                                            OP_STR_ARG(line->custom_id),
                                            line->rename_id ? "-renamed" : ""));
    if (is_inline)
        op_json_out_end_object(out);
}

static void write_outcome(struct op_json_out *out, const struct op_emu_line *line,
                          const struct op_emu_gemini_turn *turn, struct op_str response)
{
    if (line->outcome == OP_EMU_SUCCEEDED) {
        op_json_out_name(out, "response");
        op_json_out_raw(out, response);
        return;
    }
    op_json_out_name(out, "error");
    op_json_out_object(out);
    if (line->outcome == OP_EMU_ERRORED && turn->problem.message) {
        op_json_out_kv_int(out, "code", turn->problem.code);
        op_json_out_kv_text(out, "message", turn->problem.message);
    } else {
        /* Seen so: a canceled item has a code and no word. */
        op_json_out_kv_int(out, "code",
                           line->outcome == OP_EMU_ERRORED ? OP_EMU_GEMINI_INTERNAL
                                                           : OP_EMU_GEMINI_CANCELLED);
    }
    op_json_out_end_object(out);
}

static void run_line(struct op_emu_line *line, struct op_emu_gemini_turn *turn,
                     struct op_buf *response)
{
    bool executed = false;
    if (op_emu_fired_rule(line->fired, OP_EMU_STATUS_ZERO))
        line->outcome = OP_EMU_ERRORED;
    if (line->outcome != OP_EMU_SUCCEEDED)
        return;
    op_emu_gemini_answer(turn, response, &executed);
    if (turn->problem.message) {
        line->outcome = OP_EMU_ERRORED;
        return;
    }
    line->usage = turn->talk.usage;
    line->thinking = turn->talk.thinking;
    memcpy(line->answer, turn->talk.answer, sizeof(line->answer));
}

void op_emu_gemini_line(struct op_emu_line *line)
{
    OP_CLEANUP(op_buf_release) struct op_buf response = {0};
    OP_CLEANUP(op_emu_gemini_turn_release) struct op_emu_gemini_turn turn;
    struct op_json_out out;
    bool is_inline = strstr(line->batch->meta, "\"inline\":true") != NULL;
    op_buf_init(&response, BODY_MAX);
    op_emu_gemini_turn_init(&turn, line->emulator, line->arena);
    turn.request = request_of(line->request);
    turn.model = op_str_from(line->batch->model);
    turn.embeds = strstr(line->batch->meta, "\"embeds\":true") != NULL;
    turn.id_a = line->batch->seq;
    turn.id_b = line->number + 1;
    turn.talk.fired = line->fired;
    turn.talk.custom_id = line->custom_id = op_emu_gemini_custom_id(line->request);
    op_emu_hash(turn.request, line->hash);
    line->model = turn.model;
    run_line(line, &turn, &response);
    /* Members come in either order. */
    bool key_first = line->number % 2 == 0;
    op_json_out_init(&out, line->out, 0);
    op_json_out_object(&out);
    if (key_first)
        write_key(&out, line, is_inline);
    write_outcome(&out, line, &turn, op_buf_str(&response));
    if (!key_first)
        write_key(&out, line, is_inline);
    op_json_out_end_object(&out);
}

/* ---- realtime ---- */

static bool read_body(struct op_emu_call *call, struct op_json *ret)
{
    struct op_err err = OP_ERR_INIT;
    if (!op_emu_gemini_model_exists(call->id)) {
        op_emu_gemini_no_model(call, call->id, "generateContent");
        return false;
    }
    if (op_emu_call_json(call, ret, &err))
        return true;
    op_emu_gemini_error(
        call, 400, NULL,
        op_arena_printf(&call->arena, "Invalid JSON payload received. %s", err.msg));
    return false;
}

static void begin_turn(struct op_emu_gemini_turn *turn, struct op_emu_call *call, bool embeds)
{
    op_emu_gemini_turn_init(turn, call->emulator, &call->arena);
    turn->model = call->id;
    turn->embeds = embeds;
    turn->id_a = call->emulator->clock.start_us;
    turn->id_b = atomic_fetch_add(&call->emulator->next_request, 1);
    turn->talk.fired = &call->fired;
}

void op_emu_gemini_generate(struct op_emu_call *call)
{
    OP_CLEANUP(op_emu_gemini_turn_release) struct op_emu_gemini_turn turn;
    bool executed = false;
    begin_turn(&turn, call, false);
    if (!read_body(call, &turn.request))
        return;
    op_emu_reply_begin(call, 200, "application/json; charset=UTF-8");
    op_emu_gemini_answer(&turn, &call->reply.body, &executed);
    if (executed && !op_emu_talk_bill(call, &turn.talk, turn.request, turn.model))
        return;
    if (turn.problem.message)
        op_emu_gemini_error(call, turn.problem.status, NULL, turn.problem.message);
}

/* Answers one embedding of a call; false after answering with an error. */
static bool embed_one(struct op_emu_call *call, struct op_emu_gemini_turn *turn,
                      struct op_json_out *out)
{
    turn->problem = op_emu_gemini_check(turn->request, true, turn->arena);
    if (turn->problem.message) {
        op_emu_gemini_error(call, turn->problem.status, NULL, turn->problem.message);
        return false;
    }
    op_buf_clear(&turn->talk.user);
    op_emu_gemini_prompt(turn);
    write_vector(out, turn);
    return true;
}

static bool bill_embeddings(struct op_emu_call *call, struct op_emu_gemini_turn *turn,
                            struct op_json asked)
{
    int64_t bytes = turn->talk.bytes ? turn->talk.bytes : 1;
    turn->talk.usage = (struct op_emu_usage){.input = op_emu_tokens(bytes)};
    return op_emu_talk_bill(call, &turn->talk, asked, turn->model);
}

/* A fault rule makes an error of what would have been vectors; true when it did. */
static bool embeds_nothing(struct op_emu_call *call, struct op_emu_gemini_turn *turn,
                           struct op_json asked)
{
    if (!op_emu_fired_rule(&call->fired, OP_EMU_ERROR_LINE))
        return false;
    op_emu_talk_run(&turn->talk);
    take_error(turn);
    if (op_emu_talk_bill(call, &turn->talk, asked, turn->model))
        op_emu_gemini_error(call, turn->problem.status, NULL, turn->problem.message);
    return true;
}

void op_emu_gemini_embed(struct op_emu_call *call)
{
    OP_CLEANUP(op_emu_gemini_turn_release) struct op_emu_gemini_turn turn;
    struct op_json_out out;
    begin_turn(&turn, call, true);
    if (!read_body(call, &turn.request) || embeds_nothing(call, &turn, turn.request))
        return;
    op_emu_reply_begin(call, 200, "application/json; charset=UTF-8");
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    op_json_out_name(&out, "embedding");
    if (!embed_one(call, &turn, &out))
        return;
    op_json_out_end_object(&out);
    (void)bill_embeddings(call, &turn, turn.request);
}

void op_emu_gemini_embed_many(struct op_emu_call *call)
{
    OP_CLEANUP(op_emu_gemini_turn_release) struct op_emu_gemini_turn turn;
    struct op_json_out out;
    struct op_json body;
    begin_turn(&turn, call, true);
    if (!read_body(call, &body) || embeds_nothing(call, &turn, body))
        return;
    op_emu_reply_begin(call, 200, "application/json; charset=UTF-8");
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    op_json_out_name(&out, "embeddings");
    op_json_out_array(&out);
    struct op_json_iter it = op_json_iter(op_emu_gemini_get(body, "requests"));
    while (op_json_next(&it)) {
        turn.request = it.value;
        if (!embed_one(call, &turn, &out))
            return;
    }
    op_json_out_end_array(&out);
    op_json_out_end_object(&out);
    (void)bill_embeddings(call, &turn, body);
}

void op_emu_gemini_count(struct op_emu_call *call)
{
    OP_CLEANUP(op_emu_gemini_turn_release) struct op_emu_gemini_turn turn;
    struct op_json body;
    begin_turn(&turn, call, false);
    if (!read_body(call, &body))
        return;
    struct op_json inner = op_emu_gemini_get(body, "generateContentRequest");
    turn.request = op_json_ok(inner) ? inner : body;
    op_emu_gemini_prompt(&turn);
    op_emu_reply_begin(call, 200, "application/json; charset=UTF-8");
    op_buf_addf(&call->reply.body, "{\"totalTokens\":%lld}",
                (long long)op_emu_tokens(turn.talk.bytes));
}
