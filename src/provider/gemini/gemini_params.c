/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "provider/driver.h"
#include "provider/gemini/gemini.h"
#include "provider/settings.h"

#define IN_CONFIG "write it inside 'generationConfig'"

/* A field of the configuration that lies flat in the request makes the API refuse it after hours
 * (gemini.md 2), and a second spelling of one we write would be a second value. */
static const struct op_reserved reserved[] = {
    {"model", "set 'model' instead"},
    {"contents", "set 'user' instead"},
    {"content", "set 'user' instead"},
    {"systemInstruction", "set 'system' instead"},
    {"system_instruction", "set 'system' instead"},
    {"stream", "a batch does not stream; remove it"},
    {"generation_config", "spell it 'generationConfig'"},
    {"temperature", "set 'temperature' instead"},
    {"maxOutputTokens", "set 'max_tokens' instead"},
    {"max_output_tokens", "set 'max_tokens' instead"},
    {"responseSchema", "set 'answer' to a schema instead"},
    {"response_schema", "set 'answer' to a schema instead"},
    {"responseMimeType", IN_CONFIG},
    {"response_mime_type", IN_CONFIG},
    {"thinkingConfig", IN_CONFIG},
    {"thinking_config", IN_CONFIG},
    {"topP", IN_CONFIG},
    {"top_p", IN_CONFIG},
    {"topK", IN_CONFIG},
    {"top_k", IN_CONFIG},
    {"stopSequences", IN_CONFIG},
    {"stop_sequences", IN_CONFIG},
    {"seed", IN_CONFIG},
};
/* Members of extra's generationConfig that the settings write, in both spellings. */
static const struct op_reserved reserved_config[] = {
    {"maxOutputTokens", "set 'max_tokens' instead"},
    {"max_output_tokens", "set 'max_tokens' instead"},
    {"responseSchema", "set 'answer' to a schema instead"},
    {"response_schema", "set 'answer' to a schema instead"},
    {"responseJsonSchema", "batches answer it with nonsense; set 'answer' to a schema instead"},
    {"response_json_schema",
     "batches answer it with nonsense; set 'answer' to a schema instead"},
    {"temperature", "set 'temperature' instead"},
};

struct ask {
    const struct op_request_settings *settings;
    const char *place;
    struct op_json extra, config; /* config: extra's generationConfig */
};

/* --- checks --------------------------------------------------------------------------------- */

/* The version in a model's name, major * 100 + minor; 0 when it tells none. */
static int model_version(const char *model)
{
    static const char *const heads[] = {"models/gemini-", "gemini-"};
    struct op_str rest = op_str_from(model);
    for (size_t i = 0; i < OP_COUNT(heads); i++) {
        size_t len = strlen(heads[i]);
        if (!op_str_starts(rest, heads[i]))
            continue;
        rest = (struct op_str){rest.ptr + len, rest.len - len};
        struct op_str word = op_str_cut(&rest, '-');
        struct op_str major = op_str_cut(&word, '.');
        int64_t a, b = 0;
        if (major.len > 2 || !op_str_int64(major, &a) || a < 0)
            return 0;
        if (word.ptr && (word.len > 2 || !op_str_int64(word, &b) || b < 0))
            return 0;
        return (int)(a * 100 + b);
    }
    return 0;
}

static bool has_either(struct op_json object, const char *camel, const char *snake)
{
    return op_json_ok(op_json_get(object, camel)) || op_json_ok(op_json_get(object, snake));
}

static enum op_rc check_config(const struct ask *ask, struct op_err *err)
{
    for (size_t i = 0; i < OP_COUNT(reserved_config); i++)
        if (op_json_ok(op_json_get(ask->config, reserved_config[i].name)))
            return op_fail(err, OP_INVAL, "%s: 'extra.generationConfig' must not hold '%s'; %s",
                           ask->place, reserved_config[i].name, reserved_config[i].mend);
    if (ask->settings->effort && has_either(ask->config, "thinkingConfig", "thinking_config"))
        return op_fail(err, OP_INVAL,
                       "%s: 'extra.generationConfig' must not hold 'thinkingConfig' beside "
                       "'effort', which writes it; say it in one place",
                       ask->place);
    if (op_json_ok(ask->settings->schema) &&
        has_either(ask->config, "responseMimeType", "response_mime_type"))
        return op_fail(err, OP_INVAL,
                       "%s: 'extra.generationConfig' must not hold 'responseMimeType' beside "
                       "'answer', which writes it; say it in one place",
                       ask->place);
    int64_t candidates = op_json_int(op_json_get(ask->config, "candidateCount"), 1);
    if (candidates != 1 || op_json_int(op_json_get(ask->config, "candidate_count"), 1) != 1)
        return op_fail(err, OP_INVAL,
                       "%s: 'candidateCount' must be 1: every candidate is billed, and only "
                       "the first is read",
                       ask->place);
    return OP_OK;
}

static enum op_rc check_effort(const struct ask *ask, struct op_err *err)
{
    int version = model_version(ask->settings->model);
    if (!ask->settings->effort || version == 0 || version >= 205)
        return OP_OK;
    return op_fail(err, OP_INVAL,
                   "%s: %s does not think, so 'effort' has no place; remove it, or use a model "
                   "from 2.5 on",
                   ask->place, ask->settings->model);
}

static enum op_rc check_embedding(const struct ask *ask, struct op_err *err)
{
    const struct op_request_settings *s = ask->settings;
    const char *what = s->has_system             ? "system"
                       : s->effort               ? "effort"
                       : !isnan(s->temperature)  ? "temperature"
                       : op_json_ok(ask->config) ? "generationConfig"
                                                 : NULL;
    if (what)
        return op_fail(err, OP_INVAL, "%s: an embedding takes no '%s'; remove it", ask->place,
                       what);
    return OP_OK;
}

static enum op_rc check_all(struct ask *ask, struct op_json_parser *parser, struct op_err *err)
{
    enum op_rc rc = op_settings_basics(ask->settings, op_provider_gemini.default_model, err);
    if (!rc)
        rc = op_settings_extra(ask->settings, reserved, OP_COUNT(reserved), parser, &ask->extra,
                               err);
    if (rc)
        return rc;
    ask->config = op_json_get(ask->extra, "generationConfig");
    if (op_json_ok(ask->config) && !op_json_is(ask->config, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL, "%s: 'extra.generationConfig' must be a JSON object",
                       ask->place);
    if (op_gemini_embeds(ask->settings->endpoint))
        return check_embedding(ask, err);
    rc = check_config(ask, err);
    if (!rc)
        rc = op_settings_temperature(ask->settings, 2, err); /* SPEC: [0.0, 2.0] */
    return rc ? rc : check_effort(ask, err);
}

/* --- writing -------------------------------------------------------------------------------- */

/* From 3 on a level, before that a budget: the API's own table for the words of other APIs. The two
 * words above "high" are as much as there is. */
static void write_thinking(struct op_json_out *out, const char *model, const char *effort)
{
    static const struct {
        const char *effort, *level;
        int64_t budget;
    } efforts[] = {
        {"low", "LOW", 1024},     {"medium", "MEDIUM", 8192}, {"high", "HIGH", 24576},
        {"xhigh", "HIGH", 24576}, {"max", "HIGH", 24576},
    };
    int version = model_version(model);
    op_json_out_name(out, "thinkingConfig");
    op_json_out_object(out);
    for (size_t i = 0; i < OP_COUNT(efforts); i++) {
        if (strcmp(effort, efforts[i].effort) != 0)
            continue;
        if (version != 0 && version < 300)
            op_json_out_kv_int(out, "thinkingBudget", efforts[i].budget);
        else
            op_json_out_kv_text(out, "thinkingLevel", efforts[i].level);
    }
    op_json_out_end_object(out);
}

static void write_members(struct op_json_out *out, struct op_json object, const char *but)
{
    struct op_json_iter it = op_json_iter(object);
    while (op_json_next(&it)) {
        if (op_str_is(it.name, but))
            continue;
        op_json_out_name_str(out, it.name);
        op_json_out_value(out, it.value);
    }
}

static enum op_rc write_config(const struct ask *ask, struct op_json_out *out,
                               struct op_err *err)
{
    const struct op_request_settings *s = ask->settings;
    op_json_out_name(out, "generationConfig");
    op_json_out_object(out);
    op_json_out_kv_int(out, "maxOutputTokens", s->max_tokens);
    if (!isnan(s->temperature)) {
        op_json_out_name(out, "temperature");
        op_json_out_double(out, s->temperature);
    }
    if (s->effort)
        write_thinking(out, s->model, s->effort);
    if (op_json_ok(s->schema)) {
        op_json_out_kv_text(out, "responseMimeType", "application/json");
        op_json_out_name(out, "responseSchema");
        enum op_rc rc = op_gemini_schema(s->schema, ask->place, out, err);
        if (rc)
            return rc;
    }
    write_members(out, ask->config, "");
    op_json_out_end_object(out);
    return OP_OK;
}

static void write_prompt(struct op_params_form *form, struct op_json_out *out, const char *role,
                         enum op_prompt_hole hole)
{
    op_json_out_object(out);
    if (role)
        op_json_out_kv_text(out, "role", role);
    op_json_out_name(out, "parts");
    op_json_out_array(out);
    op_json_out_object(out);
    op_json_out_name(out, "text");
    op_json_out_text(out, "");
    op_params_form_hole(form, hole);
    op_json_out_end_object(out);
    op_json_out_end_array(out);
    op_json_out_end_object(out);
}

/* The prompts come last, so that everything a batch's lines have in common is one literal. */
static enum op_rc write_params(const struct ask *ask, struct op_params_form *form,
                               struct op_err *err)
{
    struct op_json_out out;
    op_json_out_init(&out, &form->text, 0);
    op_json_out_object(&out);
    if (op_gemini_embeds(ask->settings->endpoint)) {
        write_members(&out, ask->extra, "");
        op_json_out_name(&out, "content");
        write_prompt(form, &out, NULL, OP_HOLE_USER);
    } else {
        enum op_rc rc = write_config(ask, &out, err);
        if (rc)
            return rc;
        write_members(&out, ask->extra, "generationConfig");
        if (ask->settings->has_system) {
            op_json_out_name(&out, "systemInstruction");
            write_prompt(form, &out, NULL, OP_HOLE_SYSTEM);
        }
        op_json_out_name(&out, "contents");
        op_json_out_array(&out);
        write_prompt(form, &out, "user", OP_HOLE_USER);
        op_json_out_end_array(&out);
    }
    op_json_out_end_object(&out);
    return op_params_form_finish(form, ask->place, err);
}

enum op_rc op_gemini_params(const struct op_lane *lane,
                            const struct op_request_settings *settings,
                            struct op_params_form *ret, struct op_err *err)
{
    (void)lane;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct ask ask = {.settings = settings, .place = op_settings_place(settings)};
    enum op_rc rc = check_all(&ask, parser, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_params_form_release) struct op_params_form form;
    op_params_form_init(&form);
    rc = write_params(&ask, &form, err);
    if (rc)
        return rc;
    *ret = form;
    form = (struct op_params_form){0};
    return OP_OK;
}

/* --- files in the API's own form ------------------------------------------------------------ */

static enum op_rc fail_form(struct op_json root, struct op_err *err)
{
    if (op_json_ok(op_json_get(root, "custom_id")))
        return op_fail(err, OP_INVAL,
                       "\"key\" is missing; a line with \"custom_id\" is in another provider's "
                       "form: choose that provider, or convert the file");
    if (op_json_ok(op_json_get(root, "contents")) || op_json_ok(op_json_get(root, "content")))
        return op_fail(err, OP_INVAL,
                       "\"key\" and \"request\" are missing; wrap the request: "
                       "{\"key\": ..., \"request\": {...}}");
    return op_fail(err, OP_INVAL, "\"request\" is missing or no object");
}

enum op_rc op_gemini_split_line(struct op_json root, struct op_str line,
                                struct op_str *ret_custom_id, struct op_str *ret_params,
                                const char **ret_endpoint, struct op_err *err)
{
    if (!op_json_is(root, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL,
                       "a request line is an object with \"key\" and \"request\", not %s",
                       op_json_type_name(op_json_type(root)));
    struct op_json request = op_json_get(root, "request");
    if (!op_json_is(request, OP_JSON_OBJECT))
        return fail_form(root, err);
    struct op_str key = op_json_str(op_json_get(root, "key"));
    if (key.len == 0)
        return op_json_ok(op_json_get(root, "key"))
                   ? op_fail(err, OP_INVAL, "\"key\" is empty or no text")
                   : op_fail(err, OP_INVAL, "\"key\" is missing");
    if (!op_json_is(op_json_get(request, "contents"), OP_JSON_ARRAY) &&
        !op_json_is(op_json_get(request, "content"), OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL,
                       "\"request\" needs the array \"contents\" (or, to be embedded, the "
                       "object \"content\")");
    struct op_str slice;
    if (op_raw_member(root, line, "request", &slice, err))
        return op_fail(err, OP_INVAL, "\"request\" is missing");
    bool embeds = !op_json_ok(op_json_get(request, "contents"));
    *ret_custom_id = key;
    *ret_params = slice;
    *ret_endpoint = op_provider_gemini.endpoints[embeds];
    return OP_OK;
}
