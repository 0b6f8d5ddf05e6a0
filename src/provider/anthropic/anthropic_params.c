/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "provider/anthropic/anthropic.h"
#include "provider/driver.h"
#include "provider/settings.h"

/* Members that extra must not bring, and what to do instead. */
static const struct op_reserved reserved[] = {
    {"model", "set 'model' instead"},
    {"max_tokens", "set 'max_tokens' instead"},
    {"messages", "set 'user' instead"},
    {"system", "set 'system' instead"},
    {"stream", "a batch does not stream; remove it"},
    {"speed", "batches have one speed; remove it"},
    {"output_format", "the API no longer takes it; set 'answer' to a schema instead"},
};

/* What is being checked: the settings, and extra parsed (no value when there is none). */
struct ask {
    const struct op_request_settings *settings;
    const char *place;
    const char *version;
    struct op_json extra;
};

static enum op_rc fail_trap(const struct ask *ask, const char *what, const char *mend,
                            struct op_err *err)
{
    return op_fail(err, OP_INVAL, "%s: %s refuses %s; %s", ask->place, ask->settings->model,
                   what, mend);
}

/* --- checks --------------------------------------------------------------------------------- */

/* value: NAN when the setting is there but no number. fixed: the default, which models that refuse
 * the setting still take; NAN when there is none. */
static enum op_rc check_sampling_one(const struct ask *ask, const char *name, double value,
                                     double most, double fixed, struct op_err *err)
{
    if (strcmp(ask->version, OP_ANTHROPIC_VERSION_OLD) != 0)
        return op_fail(
            err, OP_INVAL,
            "%s: API version %s has no '%s' (nor its kin temperature, top_p, top_k); "
            "remove it, or use API version " OP_ANTHROPIC_VERSION_OLD
            " with a model older than 4.7",
            ask->place, ask->version, name);
    if (!(value >= 0 && value <= most))
        return op_fail(err, OP_INVAL,
                       isinf(most) ? "%s: '%s' must be a number, at least 0"
                                   : "%s: '%s' must be a number from 0 to 1",
                       ask->place, name);
    const char *mend = op_anthropic_trapped(ask->settings->model, OP_ANTHROPIC_SAMPLING);
    if (!mend || value == fixed)
        return OP_OK;
    char what[64];
    snprintf(what, sizeof(what), "'%s' off its default", name);
    return fail_trap(ask, what, mend, err);
}

static enum op_rc check_sampling(const struct ask *ask, struct op_err *err)
{
    static const struct {
        const char *name;
        double most, fixed;
    } settings[] = {
        {"temperature", 1, 1},
        {"top_p", 1, 1},
        {"top_k", INFINITY, NAN},
    };
    bool set = !isnan(ask->settings->temperature);
    if (set && op_json_ok(op_json_get(ask->extra, "temperature")))
        return op_fail(err, OP_INVAL, "%s: 'temperature' is set twice, here and in 'extra'",
                       ask->place);
    enum op_rc rc = OP_OK;
    if (set)
        rc = check_sampling_one(ask, "temperature", ask->settings->temperature, 1, 1, err);
    for (size_t i = 0; !rc && i < OP_COUNT(settings); i++) {
        struct op_json v = op_json_get(ask->extra, settings[i].name);
        if (op_json_ok(v))
            rc = check_sampling_one(ask, settings[i].name, op_json_double(v, NAN),
                                    settings[i].most, settings[i].fixed, err);
    }
    return rc;
}

static enum op_rc check_thinking(const struct ask *ask, struct op_err *err)
{
    static const struct {
        const char *type;
        enum op_anthropic_trap trap;
    } types[] = {
        {"enabled", OP_ANTHROPIC_THINKING_ENABLED},
        {"adaptive", OP_ANTHROPIC_THINKING_ADAPTIVE},
        {"disabled", OP_ANTHROPIC_THINKING_DISABLED},
    };
    struct op_json thinking = op_json_get(ask->extra, "thinking");
    struct op_str type = op_json_str(op_json_get(thinking, "type"));
    if (!type.ptr)
        return OP_OK;
    for (size_t i = 0; i < OP_COUNT(types); i++) {
        if (!op_str_is(type, types[i].type))
            continue;
        const char *mend = op_anthropic_trapped(ask->settings->model, types[i].trap);
        char what[64];
        snprintf(what, sizeof(what), "thinking.type \"%s\"", types[i].type);
        if (mend)
            return fail_trap(ask, what, mend, err);
    }
    struct op_json budget = op_json_get(thinking, "budget_tokens");
    if (op_json_ok(budget) && op_json_int(budget, 0) < 1024)
        return op_fail(err, OP_INVAL, "%s: 'thinking.budget_tokens' must be at least 1024",
                       ask->place);
    return OP_OK;
}

static enum op_rc check_tools(const struct ask *ask, struct op_err *err)
{
    struct op_str type =
        op_json_str(op_json_get(op_json_get(ask->extra, "tool_choice"), "type"));
    if (!type.ptr || (!op_str_is(type, "any") && !op_str_is(type, "tool")))
        return OP_OK;
    const char *mend = op_anthropic_trapped(ask->settings->model, OP_ANTHROPIC_FORCED_TOOL);
    return mend ? fail_trap(ask, "a forced tool (tool_choice any or tool)", mend, err) : OP_OK;
}

static enum op_rc check_extra(const struct ask *ask, struct op_err *err)
{
    if (op_json_ok(op_json_get(ask->extra, "output_config")) &&
        (ask->settings->effort || op_json_ok(ask->settings->schema)))
        return op_fail(err, OP_INVAL,
                       "%s: 'extra' must not hold 'output_config' beside 'effort' or 'answer', "
                       "which write it; say it in one place",
                       ask->place);
    return OP_OK;
}

static enum op_rc check_all(struct ask *ask, struct op_json_parser *parser, struct op_err *err)
{
    enum op_rc rc = op_settings_basics(ask->settings, op_provider_anthropic.default_model, err);
    if (!rc)
        rc = op_settings_extra(ask->settings, reserved, OP_COUNT(reserved), parser, &ask->extra,
                               err);
    if (!rc)
        rc = check_extra(ask, err);
    if (!rc)
        rc = check_sampling(ask, err);
    if (!rc)
        rc = check_thinking(ask, err);
    if (!rc)
        rc = check_tools(ask, err);
    return rc;
}

/* --- writing -------------------------------------------------------------------------------- */

static void write_system(struct op_params_form *form, struct op_json_out *out,
                         const char *cache)
{
    op_json_out_name(out, "system");
    if (cache) {
        op_json_out_array(out);
        op_json_out_object(out);
        op_json_out_name(out, "cache_control");
        op_json_out_object(out);
        op_json_out_kv_text(out, "type", "ephemeral");
        op_json_out_kv_text(out, "ttl", cache);
        op_json_out_end_object(out);
        op_json_out_kv_text(out, "type", "text");
        op_json_out_name(out, "text");
    }
    op_json_out_text(out, "");
    op_params_form_hole(form, OP_HOLE_SYSTEM);
    if (cache) {
        op_json_out_end_object(out);
        op_json_out_end_array(out);
    }
}

static void write_user(struct op_params_form *form, struct op_json_out *out)
{
    op_json_out_name(out, "messages");
    op_json_out_array(out);
    op_json_out_object(out);
    op_json_out_kv_text(out, "role", "user");
    op_json_out_name(out, "content");
    op_json_out_text(out, "");
    op_params_form_hole(form, OP_HOLE_USER);
    op_json_out_end_object(out);
    op_json_out_end_array(out);
}

static enum op_rc write_output_config(const struct ask *ask, struct op_json_out *out,
                                      struct op_err *err)
{
    const struct op_request_settings *s = ask->settings;
    if (!s->effort && !op_json_ok(s->schema))
        return OP_OK;
    op_json_out_name(out, "output_config");
    op_json_out_object(out);
    if (s->effort)
        op_json_out_kv_text(out, "effort", s->effort);
    if (op_json_ok(s->schema)) {
        op_json_out_name(out, "format");
        op_json_out_object(out);
        op_json_out_kv_text(out, "type", "json_schema");
        op_json_out_name(out, "schema");
        enum op_rc rc = op_anthropic_schema(s->schema, ask->place, out, err);
        if (rc)
            return rc;
        op_json_out_end_object(out);
    }
    op_json_out_end_object(out);
    return OP_OK;
}

/* The prompts come last, so that everything a batch's lines have in common is one literal. */
static enum op_rc write_params(const struct ask *ask, struct op_params_form *form,
                               struct op_err *err)
{
    const struct op_request_settings *s = ask->settings;
    struct op_json_out out;
    op_json_out_init(&out, &form->text, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "model", s->model);
    op_json_out_kv_int(&out, "max_tokens", s->max_tokens);
    if (!isnan(s->temperature)) {
        op_json_out_name(&out, "temperature");
        op_json_out_double(&out, s->temperature);
    }
    enum op_rc rc = write_output_config(ask, &out, err);
    if (rc)
        return rc;
    struct op_json_iter it = op_json_iter(ask->extra);
    while (op_json_next(&it)) {
        op_json_out_name_str(&out, it.name);
        op_json_out_value(&out, it.value);
    }
    if (s->has_system)
        write_system(form, &out, s->cache);
    write_user(form, &out);
    op_json_out_end_object(&out);
    return op_params_form_finish(form, ask->place, err);
}

enum op_rc op_anthropic_params(const struct op_lane *lane,
                               const struct op_request_settings *settings,
                               struct op_params_form *ret, struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct ask ask = {.settings = settings, .place = op_settings_place(settings)};
    enum op_rc rc = op_anthropic_version(lane, &ask.version, err);
    if (!rc)
        rc = check_all(&ask, parser, err);
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

static enum op_rc check_own_params(struct op_json params, struct op_err *err)
{
    if (op_json_str(op_json_get(params, "model")).len == 0)
        return op_fail(err, OP_INVAL, "\"params\" names no \"model\"");
    if (op_json_int(op_json_get(params, "max_tokens"), 0) < 1)
        return op_fail(err, OP_INVAL, "\"params\" needs \"max_tokens\", at least 1");
    if (!op_json_is(op_json_get(params, "messages"), OP_JSON_ARRAY))
        return op_fail(err, OP_INVAL, "\"params\" needs the array \"messages\"");
    if (op_json_bool(op_json_get(params, "stream"), false))
        return op_fail(err, OP_INVAL,
                       "\"params\" asks for \"stream\": a batch does not stream; "
                       "remove it");
    return OP_OK;
}

enum op_rc op_anthropic_split_line(struct op_json root, struct op_str line,
                                   struct op_str *ret_custom_id, struct op_str *ret_params,
                                   const char **ret_endpoint, struct op_err *err)
{
    if (!op_json_is(root, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL,
                       "a request line is an object with \"custom_id\" and \"params\", not %s",
                       op_json_type_name(op_json_type(root)));
    struct op_json params = op_json_get(root, "params");
    if (!op_json_ok(params) && op_json_ok(op_json_get(root, "body")))
        return op_fail(err, OP_INVAL,
                       "\"params\" is missing; a line with \"body\" is in OpenAI's "
                       "form: choose that provider, or convert the file");
    if (!op_json_is(params, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL, "\"params\" is missing or no object");
    struct op_str id = op_json_str(op_json_get(root, "custom_id"));
    if (id.len == 0)
        return op_fail(err, OP_INVAL, "\"custom_id\" is missing or no text");
    enum op_rc rc = check_own_params(params, err);
    if (rc)
        return rc;
    struct op_str slice;
    rc = op_raw_member(root, line, "params", &slice, err);
    if (rc)
        return op_fail(err, OP_INVAL, "\"params\" is missing");
    *ret_custom_id = id;
    *ret_params = slice;
    *ret_endpoint = op_provider_anthropic.endpoints[0];
    return OP_OK;
}
