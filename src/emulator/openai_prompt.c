/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "emulator/openai.h"

/* What reasoning models think without being asked for more or less. */
#define THINKING_TOKENS 64

static void add_parts(struct op_emu_talk *talk, struct op_buf *texts, struct op_json content)
{
    op_emu_talk_add(talk, texts, op_json_str(content));
    if (!op_json_is(content, OP_JSON_ARRAY))
        return;
    struct op_json_iter it = op_json_iter(content);
    while (op_json_next(&it)) {
        struct op_json text = op_json_get(it.value, "text");
        if (op_json_is(text, OP_JSON_STRING))
            op_emu_talk_add(talk, texts, op_json_str(text));
        else
            op_emu_talk_add(talk, texts, op_json_str(it.value));
    }
}

/* A list of messages, or of items that are messages or outputs of tools. */
static void add_messages(struct op_emu_talk *talk, struct op_json list)
{
    struct op_json_iter it = op_json_iter(list);
    while (op_json_next(&it)) {
        struct op_str role = op_json_str(op_json_get(it.value, "role"));
        bool system = op_str_is(role, "system") || op_str_is(role, "developer");
        talk->bytes += 12; /* a message costs three tokens of its own */
        add_parts(talk, system ? &talk->system : &talk->user, op_json_get(it.value, "content"));
        add_parts(talk, &talk->user, op_json_get(it.value, "output"));
    }
}

static bool is_reasoner(struct op_str model)
{
    static const char *const starts[] = {"gpt-5", "gpt-6", "o1", "o3", "o4", "magistral"};
    for (size_t i = 0; i < OP_COUNT(starts); i++) {
        if (op_str_starts(model, starts[i]))
            return true;
    }
    return false;
}

static int64_t thinking(struct op_json body, struct op_json effort)
{
    struct op_str word = op_json_str(effort);
    if (op_str_is(word, "none") || op_str_is(word, "minimal"))
        return 0;
    if (op_str_is(word, "high") || op_str_is(word, "xhigh") || op_str_is(word, "max"))
        return 4 * THINKING_TOKENS;
    if (word.len || is_reasoner(op_json_str(op_json_get(body, "model"))))
        return THINKING_TOKENS;
    return 0;
}

static void read_responses(struct op_emu_talk *talk, struct op_json body)
{
    struct op_json input = op_json_get(body, "input");
    struct op_json format = op_json_pointer(body, OP_STR("/text/format"));
    op_emu_talk_count(talk, op_json_get(body, "tools"));
    op_emu_talk_add(talk, &talk->system, op_json_str(op_json_get(body, "instructions")));
    op_emu_talk_add(talk, &talk->user, op_json_str(input));
    add_messages(talk, input);
    talk->schema = op_json_get(format, "schema");
    op_emu_talk_count(talk, talk->schema);
    talk->max_tokens = op_json_int(op_json_get(body, "max_output_tokens"), 0);
    talk->thinking = thinking(body, op_json_pointer(body, OP_STR("/reasoning/effort")));
}

static void read_chat(struct op_emu_talk *talk, struct op_json body)
{
    op_emu_talk_count(talk, op_json_get(body, "tools"));
    add_messages(talk, op_json_get(body, "messages"));
    talk->schema = op_json_pointer(body, OP_STR("/response_format/json_schema/schema"));
    if (!op_json_ok(talk->schema)) /* as Mistral's SDK calls it */
        talk->schema =
            op_json_pointer(body, OP_STR("/response_format/json_schema/schema_definition"));
    op_emu_talk_count(talk, talk->schema);
    talk->stops = op_json_get(body, "stop");
    talk->max_tokens = op_json_int(op_json_get(body, "max_completion_tokens"),
                                   op_json_int(op_json_get(body, "max_tokens"), 0));
    talk->thinking = thinking(body, op_json_get(body, "reasoning_effort"));
}

/* A string, a list of strings, a list of tokens, or a list of such lists. */
static void read_embeddings(struct op_emu_talk *talk, struct op_json input)
{
    op_emu_talk_add(talk, &talk->user, op_json_str(input));
    if (!op_json_is(input, OP_JSON_ARRAY))
        return;
    struct op_json_iter it = op_json_iter(input);
    while (op_json_next(&it)) {
        if (op_json_is(it.value, OP_JSON_INT))
            talk->bytes += 4;
        else
            read_embeddings(talk, it.value);
    }
}

void op_emu_openai_prompt(struct op_emu_talk *talk, struct op_json body,
                          enum op_emu_openai_kind kind)
{
    if (kind == OP_EMU_OPENAI_RESPONSES)
        read_responses(talk, body);
    else if (kind == OP_EMU_OPENAI_CHAT)
        read_chat(talk, body);
    else
        read_embeddings(talk, op_json_get(body, "input"));
}
