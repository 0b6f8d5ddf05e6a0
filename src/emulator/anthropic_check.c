/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "emulator/anthropic.h"

#define MAX_TOKENS_LONG    300000
#define MAX_TOKENS_UNKNOWN 128000
#define MESSAGES_MAX       100000
#define SCHEMA_DEPTH       32

/* One check under way: the first thing wrong is what is told. */
struct check {
    struct op_json params;
    const struct op_anthropic_place *place;
    struct op_arena *arena;
    struct op_anthropic_problem problem;
};

static bool bad(const struct check *check)
{
    return check->problem.type != NULL;
}

static void refuse(struct check *check, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void refuse(struct check *check, const char *fmt, ...)
{
    char text[1000];
    va_list ap;
    if (bad(check))
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    check->problem.type = "invalid_request_error";
    check->problem.message = op_arena_strdup(check->arena, op_str_from(text));
}

static struct op_json get(const struct check *check, const char *name)
{
    return op_json_get(check->params, name);
}

static bool is_one_of(struct op_str text, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (op_str_is(text, names[i]))
            return true;
    }
    return false;
}

/* ---- fields ---- */

static void check_names(struct check *check)
{
    static const char *const names[] = {
        "model",         "max_tokens", "messages",           "system",         "tools",
        "tool_choice",   "thinking",   "output_config",      "stop_sequences", "metadata",
        "service_tier",  "container",  "inference_geo",      "diagnostics",    "speed",
        "cache_control", "stream",     "user_profile_id",    "mcp_servers",    "temperature",
        "top_p",         "top_k",      "context_management",
    };
    struct op_json_iter it = op_json_iter(check->params);
    while (op_json_next(&it)) {
        bool removed = check->place->new_version &&
                       (op_str_is(it.name, "temperature") || op_str_is(it.name, "top_p") ||
                        op_str_is(it.name, "top_k"));
        bool uncounted = check->place->counting && op_str_is(it.name, "max_tokens");
        if (removed || uncounted || !is_one_of(it.name, names, OP_COUNT(names)))
            refuse(check, OP_STR_FMT ": Extra inputs are not permitted", OP_STR_ARG(it.name));
    }
}

static void check_block(struct check *check, struct op_json block, const char *where)
{
    struct op_str type = op_json_str(op_json_get(block, "type"));
    if (!op_json_is(block, OP_JSON_OBJECT)) {
        refuse(check, "%s: Input should be an object", where);
    } else if (!type.ptr) {
        refuse(check, "%s.type: Field required", where);
    } else if (op_str_is(type, "text")) {
        struct op_json text = op_json_get(block, "text");
        if (!op_json_ok(text))
            refuse(check, "%s.text.text: Field required", where);
        else if (!op_json_is(text, OP_JSON_STRING))
            refuse(check, "%s.text.text: Input should be a valid string", where);
        else if (op_json_str(text).len == 0)
            refuse(check, "%s.text.text: text content blocks must be non-empty", where);
    } else if (op_str_is(type, "image") || op_str_is(type, "document")) {
        struct op_str kind = op_json_str(op_json_pointer(block, OP_STR("/source/type")));
        if (op_str_is(kind, "url") && !check->place->counting)
            refuse(check, "Unable to download the file. Please verify the URL and try again.");
        else if (check->place->counting && (op_str_is(kind, "url") || op_str_is(kind, "file")))
            refuse(check, "%s.source: url and file sources are not supported by count_tokens",
                   where);
    }
}

static void check_message(struct check *check, struct op_json message, size_t index)
{
    char where[64];
    struct op_str role = op_json_str(op_json_get(message, "role"));
    struct op_json content = op_json_get(message, "content");
    bool is_list = op_json_is(content, OP_JSON_ARRAY);
    if (!op_json_is(message, OP_JSON_OBJECT))
        refuse(check, "messages.%zu: Input should be an object", index);
    else if (!role.ptr)
        refuse(check, "messages.%zu.role: Field required", index);
    else if (!op_str_is(role, "user") && !op_str_is(role, "assistant") &&
             !op_str_is(role, "system"))
        refuse(check, "messages.%zu.role: Input should be 'user', 'assistant' or 'system'",
               index);
    else if (!op_json_ok(content))
        refuse(check, "messages.%zu.content: Field required", index);
    else if (!is_list && !op_json_is(content, OP_JSON_STRING))
        refuse(check, "messages.%zu.content: Input should be a valid string or list", index);
    else if ((is_list ? op_json_count(content) : op_json_str(content).len) == 0)
        refuse(check,
               "messages.%zu: all messages must have non-empty content except for the"
               " optional final assistant message",
               index);
    struct op_json_iter it = op_json_iter(content);
    while (is_list && !bad(check) && op_json_next(&it)) {
        snprintf(where, sizeof(where), "messages.%zu.content.%zu", index, it.index);
        struct op_str type = op_json_str(op_json_get(it.value, "type"));
        check_block(check, it.value, where);
        if (!check->place->new_version)
            continue;
        if (op_str_is(role, "assistant") && op_str_is(type, "document"))
            refuse(check, "%s: document blocks are not permitted in assistant messages", where);
        if (op_str_is(role, "user") && op_str_is(type, "text") &&
            op_json_count(op_json_get(it.value, "citations")))
            refuse(check, "%s.citations: Extra inputs are not permitted", where);
    }
}

static void check_messages(struct check *check)
{
    struct op_json messages = get(check, "messages");
    if (!op_json_ok(messages))
        refuse(check, "messages: Field required");
    else if (!op_json_is(messages, OP_JSON_ARRAY))
        refuse(check, "messages: Input should be a valid list");
    else if (op_json_count(messages) == 0)
        refuse(check, "messages: at least one message is required");
    else if (op_json_count(messages) > MESSAGES_MAX)
        refuse(check, "messages: List should have at most %d items after validation, not %zu",
               MESSAGES_MAX, op_json_count(messages));
    struct op_json_iter it = op_json_iter(messages);
    while (!bad(check) && op_json_next(&it))
        check_message(check, it.value, it.index);
}

static void check_system(struct check *check)
{
    struct op_json system = get(check, "system");
    char where[64];
    if (!op_json_ok(system) || op_json_is(system, OP_JSON_STRING))
        return;
    if (!op_json_is(system, OP_JSON_ARRAY))
        refuse(check, "system: Input should be a valid string or list");
    struct op_json_iter it = op_json_iter(system);
    while (!bad(check) && op_json_next(&it)) {
        snprintf(where, sizeof(where), "system.%zu", it.index);
        check_block(check, it.value, where);
    }
}

static void check_max_tokens(struct check *check)
{
    struct op_json max_tokens = get(check, "max_tokens");
    int64_t least = check->place->in_batch ? 1 : 0;
    if (check->place->counting)
        return;
    if (!op_json_ok(max_tokens))
        refuse(check, "max_tokens: Field required");
    else if (!op_json_is(max_tokens, OP_JSON_INT))
        refuse(check, "max_tokens: Input should be a valid integer");
    else if (op_json_int(max_tokens, 0) < least)
        refuse(check, "max_tokens: must be greater than or equal to %d", (int)least);
}

static void check_simple_fields(struct check *check)
{
    struct op_json stops = get(check, "stop_sequences"), tools = get(check, "tools");
    struct op_str user =
        op_json_str(op_json_pointer(check->params, OP_STR("/metadata/user_id")));
    if (op_json_ok(stops) && !op_json_is(stops, OP_JSON_ARRAY))
        refuse(check, "stop_sequences: Input should be a valid list");
    if (op_json_ok(tools) && !op_json_is(tools, OP_JSON_ARRAY))
        refuse(check, "tools: Input should be a valid list");
    if (user.ptr && user.len > 256)
        refuse(check, "metadata.user_id: String should have at most 256 characters");
    double temperature = op_json_double(get(check, "temperature"), 0);
    if (temperature < 0 || temperature > 1)
        refuse(check, "temperature: range: 0..1");
    struct op_json_iter it = op_json_iter(tools);
    while (op_json_is(tools, OP_JSON_ARRAY) && !bad(check) && op_json_next(&it)) {
        struct op_str type = op_json_str(op_json_get(it.value, "type"));
        bool custom = !type.ptr || op_str_is(type, "custom");
        if (custom && !op_json_str(op_json_get(it.value, "name")).ptr)
            refuse(check, "tools.%zu.custom.name: Field required", it.index);
        else if (custom && !op_json_is(op_json_get(it.value, "input_schema"), OP_JSON_OBJECT))
            refuse(check, "tools.%zu.custom.input_schema: Field required", it.index);
        else if (!custom && check->place->counting)
            refuse(check, "tools.%zu: server tools are not supported by count_tokens",
                   it.index);
    }
}

/* ---- structured output ---- */

static void check_schema(struct check *check, struct op_json schema, int depth)
{
    if (depth > SCHEMA_DEPTH || bad(check) || op_json_is(schema, OP_JSON_STRING))
        return;
    bool is_object = op_str_is(op_json_str(op_json_get(schema, "type")), "object");
    if (is_object && !op_json_is(op_json_get(schema, "additionalProperties"), OP_JSON_FALSE))
        refuse(check, "output_config.format.schema: For 'object' type, 'additionalProperties'"
                      " must be explicitly set to false");
    struct op_json_iter it = op_json_iter(schema);
    while (!bad(check) && op_json_next(&it)) {
        /* Values that only look like schemas. */
        if (it.name.ptr && (op_str_is(it.name, "enum") || op_str_is(it.name, "const") ||
                            op_str_is(it.name, "default") || op_str_is(it.name, "examples")))
            continue;
        check_schema(check, it.value, depth + 1);
    }
}

static void check_output(struct check *check)
{
    static const char *const efforts[] = {"low", "medium", "high", "xhigh", "max"};
    struct op_json format = op_json_pointer(check->params, OP_STR("/output_config/format"));
    struct op_json effort = op_json_pointer(check->params, OP_STR("/output_config/effort"));
    if (op_json_ok(effort) && !op_json_is(effort, OP_JSON_NULL) &&
        !is_one_of(op_json_str(effort), efforts, OP_COUNT(efforts)))
        refuse(check,
               "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or"
               " 'max'");
    if (!op_json_ok(format) || op_json_is(format, OP_JSON_NULL))
        return;
    struct op_json schema = op_json_get(format, "schema");
    if (!op_str_is(op_json_str(op_json_get(format, "type")), "json_schema"))
        refuse(check, "output_config.format.type: Input should be 'json_schema'");
    else if (!op_json_ok(schema))
        refuse(check, "output_config.format.schema: Field required");
    else if (!op_json_is(schema, OP_JSON_OBJECT))
        refuse(check, "output_config.format.schema: Input should be an object");
    else
        check_schema(check, schema, 0);
}

/* ---- what depends on the place and the model ---- */

static void check_place(struct check *check)
{
    if (check->place->in_batch && op_json_bool(get(check, "stream"), false))
        refuse(check, "\"stream=True\" is not supported in the Message Batches API");
    struct op_json speed = get(check, "speed");
    if (check->place->in_batch && op_str_is(op_json_str(speed), "fast"))
        refuse(check, "\"speed\" is not supported in the Message Batches API");
}

static void check_sampling(struct check *check, const struct op_anthropic_model *model)
{
    static const char *const names[] = {"temperature", "top_p", "top_k"};
    for (size_t i = 0; i < OP_COUNT(names); i++) {
        struct op_json value = get(check, names[i]);
        bool is_default = i < 2 && op_json_double(value, 1) >= 1;
        if (op_json_ok(value) && !op_json_is(value, OP_JSON_NULL) && !is_default)
            refuse(check, "%s: only the default value is supported by %s", names[i], model->id);
    }
}

static void check_thinking(struct check *check, const struct op_anthropic_model *model)
{
    struct op_json thinking = get(check, "thinking");
    struct op_str type = op_json_str(op_json_get(thinking, "type"));
    bool enabled = op_str_is(type, "enabled");
    if (!op_json_ok(thinking) || op_json_is(thinking, OP_JSON_NULL))
        return;
    if (enabled && op_json_int(op_json_get(thinking, "budget_tokens"), 0) < 1024)
        refuse(check, "thinking.enabled.budget_tokens: Input should be greater than or equal to"
                      " 1024");
    if (!model)
        return;
    if ((enabled && model->no_enabled) || (op_str_is(type, "adaptive") && model->no_adaptive) ||
        (op_str_is(type, "disabled") && model->no_disabled))
        refuse(check, "thinking.type: '" OP_STR_FMT "' is not supported by %s",
               OP_STR_ARG(type), model->id);
}

static void check_max_for_model(struct check *check, struct op_str name,
                                const struct op_anthropic_model *model)
{
    int64_t asked = op_json_int(get(check, "max_tokens"), 0);
    int64_t most = model ? model->max_tokens : MAX_TOKENS_UNKNOWN;
    bool raised = check->place->long_output && check->place->in_batch;
    if (raised && (!model || model->long_output))
        most = MAX_TOKENS_LONG;
    if (asked > most)
        refuse(check,
               "max_tokens: %lld > %lld, which is the maximum allowed number of output"
               " tokens for " OP_STR_FMT,
               (long long)asked, (long long)most, OP_STR_ARG(name));
}

static void check_model(struct check *check)
{
    struct op_str name = op_json_str(get(check, "model"));
    if (!op_str_starts(name, "claude-") ||
        memmem(name.ptr, name.len, "does-not-exist", strlen("does-not-exist"))) {
        refuse(check, "model: " OP_STR_FMT, OP_STR_ARG(name));
        check->problem.type = "not_found_error";
        return;
    }
    const struct op_anthropic_model *model = op_anthropic_model(name);
    check_max_for_model(check, name, model);
    check_thinking(check, model);
    if (!model)
        return;
    if (model->fixed_sampling)
        check_sampling(check, model);
    struct op_str role = OP_STR_NULL;
    struct op_json_iter it = op_json_iter(get(check, "messages"));
    while (op_json_next(&it))
        role = op_json_str(op_json_get(it.value, "role"));
    if (model->no_prefill && op_str_is(role, "assistant"))
        refuse(check, "This model does not support assistant message prefill. The conversation"
                      " must end with a user message.");
    struct op_str choice =
        op_json_str(op_json_pointer(check->params, OP_STR("/tool_choice/type")));
    if (model->no_forced_tool && (op_str_is(choice, "any") || op_str_is(choice, "tool")))
        refuse(check, "tool_choice.type: '" OP_STR_FMT "' is not supported by %s",
               OP_STR_ARG(choice), model->id);
}

struct op_anthropic_problem op_anthropic_check(struct op_json params,
                                               const struct op_anthropic_place *place,
                                               struct op_arena *arena)
{
    struct check check = {.params = params, .place = place, .arena = arena};
    struct op_json model = get(&check, "model");
    if (!op_json_is(params, OP_JSON_OBJECT))
        refuse(&check, "Input should be an object");
    if (!op_json_ok(model))
        refuse(&check, "model: Field required");
    else if (!op_json_is(model, OP_JSON_STRING))
        refuse(&check, "model: Input should be a valid string");
    check_messages(&check);
    check_max_tokens(&check);
    check_names(&check);
    check_system(&check);
    check_simple_fields(&check);
    check_output(&check);
    check_place(&check);
    if (!bad(&check))
        check_model(&check);
    return check.problem;
}
