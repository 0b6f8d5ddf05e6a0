/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "emulator/openai.h"

/* Limits of strict schemas as documented. */
#define SCHEMA_DEPTH 10
#define INPUTS_MAX   2048 /* of one embeddings request */

/* One check under way: the first thing wrong is what is told. */
struct check {
    struct op_json body;
    struct op_arena *arena;
    bool mistral;
    struct op_emu_openai_problem problem;
};

static void refuse(struct check *check, const char *code, const char *param, const char *fmt,
                   ...) __attribute__((format(printf, 4, 5)));

static void refuse(struct check *check, const char *code, const char *param, const char *fmt,
                   ...)
{
    char text[800];
    va_list ap;
    if (check->problem.message)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    check->problem = (struct op_emu_openai_problem){
        400, "invalid_request_error", code,
        param ? op_arena_strdup(check->arena, op_str_from(param)) : NULL,
        op_arena_strdup(check->arena, op_str_from(text))};
}

static const char *const response_names[] = {
    "background",
    "context_management",
    "conversation",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "moderation",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
};
static const char *const chat_names[] = {
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
};
static const char *const embedding_names[] = {"dimensions", "encoding_format", "input", "model",
                                              "user"};
static const struct {
    const char *const *names;
    size_t count;
    const char *input;
} kinds[] = {
    [OP_EMU_OPENAI_RESPONSES] = {response_names, OP_COUNT(response_names), "input"},
    [OP_EMU_OPENAI_CHAT] = {chat_names, OP_COUNT(chat_names), "messages"},
    [OP_EMU_OPENAI_EMBEDDINGS] = {embedding_names, OP_COUNT(embedding_names), "input"},
};

static void check_names(struct check *check, enum op_emu_openai_kind kind)
{
    struct op_json_iter it = op_json_iter(check->body);
    while (op_json_next(&it)) {
        bool known = false;
        for (size_t i = 0; i < kinds[kind].count && !known; i++)
            known = op_str_is(it.name, kinds[kind].names[i]);
        if (known)
            continue;
        const char *name = op_arena_strdup(check->arena, it.name);
        refuse(check, "unknown_parameter", name, "Unknown parameter: '%s'.", name);
    }
}

/* ---- strict schemas ---- */

static bool is_required(struct op_json schema, struct op_str name)
{
    struct op_json_iter it = op_json_iter(op_json_get(schema, "required"));
    while (op_json_next(&it)) {
        if (op_str_eq(op_json_str(it.value), name))
            return true;
    }
    return false;
}

static void bad_schema(struct check *check, const char *param, const char *where,
                       const char *what)
{
    refuse(check, "invalid_json_schema", param,
           "Invalid schema for response_format: In context=(%s), %s", where, what);
}

static void check_schema(struct check *check, struct op_json schema, const char *param,
                         const char *where, int depth)
{
    static const char *const never[] = {
        "allOf", "not",  "dependentRequired", "dependentSchemas", "if",
        "then",  "else", "patternProperties"};
    struct op_json properties = op_json_get(schema, "properties");
    if (check->problem.message || !op_json_is(schema, OP_JSON_OBJECT))
        return;
    if (depth > SCHEMA_DEPTH) {
        bad_schema(check, param, where, "the schema is nested too deeply.");
        return;
    }
    for (size_t i = 0; i < OP_COUNT(never); i++) {
        if (op_json_ok(op_json_get(schema, never[i])))
            bad_schema(check, param, where,
                       op_arena_printf(check->arena, "'%s' is not permitted.", never[i]));
    }
    bool is_object =
        op_json_ok(properties) || op_str_is(op_json_str(op_json_get(schema, "type")), "object");
    if (is_object && op_json_bool(op_json_get(schema, "additionalProperties"), true))
        bad_schema(check, param, where,
                   "'additionalProperties' is required to be supplied and to be false.");
    struct op_json_iter it = op_json_iter(properties);
    while (op_json_next(&it)) {
        const char *name = op_arena_strdup(check->arena, it.name);
        if (!is_required(schema, it.name))
            bad_schema(
                check, param, where,
                op_arena_printf(check->arena,
                                "'required' is required to be supplied and to be an"
                                " array including every key in properties. Missing '%s'.",
                                name));
        check_schema(check, it.value, param, name, depth + 1);
    }
    check_schema(check, op_json_get(schema, "items"), param, "items", depth + 1);
    const char *lists[] = {"anyOf", "$defs", "definitions"};
    for (size_t i = 0; i < OP_COUNT(lists); i++) {
        it = op_json_iter(op_json_get(schema, lists[i]));
        while (op_json_next(&it))
            check_schema(check, it.value, param, lists[i], depth + 1);
    }
}

static void check_format(struct check *check, struct op_json format, struct op_json holder,
                         const char *param)
{
    struct op_json schema = op_json_get(holder, "schema");
    if (check->mistral || !op_str_is(op_json_str(op_json_get(format, "type")), "json_schema"))
        return;
    if (op_json_str(op_json_get(holder, "name")).len == 0)
        refuse(check, "missing_required_parameter", param,
               "Missing required parameter: '%s.name'.", param);
    if (!op_json_is(schema, OP_JSON_OBJECT))
        refuse(check, "missing_required_parameter", param,
               "Missing required parameter: '%s.schema'.", param);
    if (!op_json_bool(op_json_get(holder, "strict"), false))
        return;
    if (!op_str_is(op_json_str(op_json_get(schema, "type")), "object"))
        bad_schema(check, param, "", "schema must be a JSON Schema of 'type: \"object\"'.");
    check_schema(check, schema, param, "", 0);
}

/* ---- the body ---- */

static void check_input(struct check *check, enum op_emu_openai_kind kind)
{
    struct op_json input = op_json_get(check->body, kinds[kind].input);
    bool empty = (op_json_is(input, OP_JSON_STRING) && op_json_str(input).len == 0) ||
                 (op_json_is(input, OP_JSON_ARRAY) && op_json_count(input) == 0);
    const char *name = kinds[kind].input;
    if (!op_json_ok(input) || op_json_is(input, OP_JSON_NULL))
        refuse(check, "missing_required_parameter", name, "Missing required parameter: '%s'.",
               name);
    else if (!op_json_is(input, OP_JSON_ARRAY) &&
             (kind == OP_EMU_OPENAI_CHAT || !op_json_is(input, OP_JSON_STRING)))
        refuse(check, "invalid_type", name, "Invalid type for '%s'.", name);
    else if (empty && kind != OP_EMU_OPENAI_RESPONSES)
        refuse(check, "empty_array", name,
               "Invalid '%s': empty array. Expected an array with minimum length 1, but got an"
               " empty array instead.",
               name);
    else if (kind == OP_EMU_OPENAI_EMBEDDINGS && op_json_is(input, OP_JSON_ARRAY) &&
             op_json_count(input) > INPUTS_MAX)
        refuse(check, "array_above_max_length", name,
               "Invalid 'input': array too long. Expected an array with maximum length %d.",
               INPUTS_MAX);
}

static void check_model(struct check *check, struct op_str name)
{
    if (!name.len) {
        refuse(check, NULL, NULL, "you must provide a model parameter");
        return;
    }
    if (!memmem(name.ptr, name.len, "does-not-exist", 14))
        return;
    refuse(check, "model_not_found", NULL,
           "The model `" OP_STR_FMT "` does not exist or you do not have access to it.",
           OP_STR_ARG(name));
    if (check->problem.code && strcmp(check->problem.code, "model_not_found") == 0)
        check->problem.status = 404;
}

struct op_emu_openai_problem op_emu_openai_check(const struct op_emu_openai_turn *turn)
{
    struct op_json body = turn->body;
    struct check check = {.body = body, .arena = turn->arena, .mistral = turn->mistral};
    if (!op_json_is(body, OP_JSON_OBJECT)) {
        refuse(&check, NULL, NULL, "The body must be a JSON object.");
        return check.problem;
    }
    check_model(&check, turn->model);
    check_input(&check, turn->kind);
    if (!turn->mistral)
        check_names(&check, turn->kind);
    if (op_json_bool(op_json_get(body, "stream"), false))
        refuse(&check, NULL, "stream", "Streaming is not supported; leave 'stream' out.");
    struct op_json format = op_json_pointer(body, OP_STR("/text/format"));
    if (turn->kind == OP_EMU_OPENAI_RESPONSES)
        check_format(&check, format, format, "text.format");
    format = op_json_get(body, "response_format");
    if (turn->kind == OP_EMU_OPENAI_CHAT)
        check_format(&check, format, op_json_get(format, "json_schema"), "response_format");
    return check.problem;
}
