/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "emulator/gemini.h"

#define THINKING_TOKENS 64

/* ---- names ---- */

static bool name_is(struct op_str seen, const char *camel)
{
    size_t at = 0;
    for (const char *p = camel; *p; p++) {
        bool upper = *p >= 'A' && *p <= 'Z';
        if (at < seen.len && seen.ptr[at] == *p) {
            at++;
        } else if (upper && at + 1 < seen.len && seen.ptr[at] == '_' &&
                   seen.ptr[at + 1] == *p - 'A' + 'a') {
            at += 2;
        } else {
            return false;
        }
    }
    return at == seen.len;
}

struct op_json op_emu_gemini_get(struct op_json object, const char *name)
{
    struct op_json found = {0};
    struct op_json_iter it = op_json_iter(object);
    if (!op_json_is(object, OP_JSON_OBJECT))
        return found;
    while (op_json_next(&it)) {
        if (name_is(it.name, name))
            found = it.value;
    }
    return found;
}

bool op_emu_gemini_model_exists(struct op_str model)
{
    return model.len && !memmem(model.ptr, model.len, "does-not-exist", 14);
}

/* ---- what is wrong ---- */

static struct op_emu_gemini_problem refuse(const char *message)
{
    return (struct op_emu_gemini_problem){400, OP_EMU_GEMINI_INVALID, message};
}

static const char *unknown_name(struct op_json object, const char *const *names, size_t count,
                                const char *where, struct op_arena *arena)
{
    struct op_json_iter it = op_json_iter(object);
    while (op_json_is(object, OP_JSON_OBJECT) && op_json_next(&it)) {
        bool known = false;
        for (size_t i = 0; i < count && !known; i++)
            known = name_is(it.name, names[i]);
        if (!known)
            return op_arena_printf(arena,
                                   "Invalid JSON payload received. Unknown name \"" OP_STR_FMT
                                   "\"%s: Cannot find field.",
                                   OP_STR_ARG(it.name), where);
    }
    return NULL;
}

struct op_emu_gemini_problem op_emu_gemini_check(struct op_json request, bool embeds,
                                                 struct op_arena *arena)
{
    static const char *const names[] = {
        "contents",         "systemInstruction", "tools", "toolConfig",  "safetySettings",
        "generationConfig", "cachedContent",     "model", "serviceTier", "store",
    };
    static const char *const config_names[] = {
        "candidateCount",
        "stopSequences",
        "maxOutputTokens",
        "temperature",
        "topP",
        "topK",
        "seed",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "presencePenalty",
        "frequencyPenalty",
        "responseLogprobs",
        "logprobs",
        "responseModalities",
        "speechConfig",
        "thinkingConfig",
        "imageConfig",
        "mediaResolution",
        "enableEnhancedCivicAnswers",
        "_responseJsonSchema",
    };
    static const char *const embed_names[] = {
        "content", "outputDimensionality", "taskType", "title", "model", "autoTruncate"};
    if (!op_json_is(request, OP_JSON_OBJECT))
        return refuse("The request is not an object.");
    const char *unknown =
        embeds ? unknown_name(request, embed_names, OP_COUNT(embed_names), "", arena)
               : unknown_name(request, names, OP_COUNT(names), "", arena);
    if (!unknown && !embeds)
        unknown = unknown_name(op_emu_gemini_get(request, "generationConfig"), config_names,
                               OP_COUNT(config_names), " at 'generation_config'", arena);
    if (unknown)
        return refuse(unknown);
    if (embeds && !op_json_ok(op_emu_gemini_get(request, "content")))
        return refuse("content is required");
    struct op_json contents = op_emu_gemini_get(request, "contents");
    if (!embeds && op_json_count(contents) == 0)
        return refuse("* GenerateContentRequest.contents: contents is not specified\n");
    return (struct op_emu_gemini_problem){0};
}

/* ---- what is asked ---- */

static void add_parts(struct op_emu_talk *talk, struct op_buf *texts, struct op_json content)
{
    struct op_json_iter it = op_json_iter(op_emu_gemini_get(content, "parts"));
    while (op_json_next(&it)) {
        struct op_json text = op_emu_gemini_get(it.value, "text");
        op_emu_talk_add(talk, texts, op_json_str(text));
        if (!op_json_ok(text))
            op_emu_talk_count(talk, it.value);
    }
}

static int64_t thinking(const struct op_emu_gemini_turn *turn, struct op_json config)
{
    struct op_json thought = op_emu_gemini_get(config, "thinkingConfig");
    int64_t budget = op_json_int(op_emu_gemini_get(thought, "thinkingBudget"), -1);
    bool thinks =
        op_str_starts(turn->model, "gemini-2.5") || op_str_starts(turn->model, "gemini-3");
    if (budget >= 0)
        return budget < THINKING_TOKENS ? budget : THINKING_TOKENS;
    return thinks ? THINKING_TOKENS : 0;
}

void op_emu_gemini_prompt(struct op_emu_gemini_turn *turn)
{
    struct op_emu_talk *talk = &turn->talk;
    struct op_json request = turn->request;
    struct op_json config = op_emu_gemini_get(request, "generationConfig");
    if (turn->embeds) {
        add_parts(talk, &talk->user, op_emu_gemini_get(request, "content"));
        return;
    }
    op_emu_talk_count(talk, op_emu_gemini_get(request, "tools"));
    add_parts(talk, &talk->system, op_emu_gemini_get(request, "systemInstruction"));
    struct op_json_iter it = op_json_iter(op_emu_gemini_get(request, "contents"));
    while (op_json_next(&it))
        add_parts(talk, &talk->user, it.value);
    talk->schema = op_emu_gemini_get(config, "responseJsonSchema");
    if (!op_json_ok(talk->schema))
        talk->schema = op_emu_gemini_get(config, "responseSchema");
    op_emu_talk_count(talk, talk->schema);
    talk->stops = op_emu_gemini_get(config, "stopSequences");
    talk->max_tokens = op_json_int(op_emu_gemini_get(config, "maxOutputTokens"), 0);
    talk->thinking = thinking(turn, config);
}
