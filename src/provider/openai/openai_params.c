/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "provider/driver.h"
#include "provider/openai/openai.h"
#include "provider/settings.h"

/* The API's own floor: "Expected a value >= 16". */
#define RESPONSES_FLOOR 16

/* A schema in words may be as long as the params. */
#define SCHEMA_TEXT_MAX OP_PARAMS_MAX

static const char *const efforts[] = {"none", "minimal", "low", "medium",
                                      "high", "xhigh",   "max"};

/* Members that extra must not bring, and what to do instead. */
#define IN_RESPONSES  (1 << OP_OPENAI_RESPONSES)
#define IN_CHAT       (1 << OP_OPENAI_CHAT)
#define IN_EMBEDDINGS (1 << OP_OPENAI_EMBEDDINGS)
#define IN_ALL        (IN_RESPONSES | IN_CHAT | IN_EMBEDDINGS)
static const struct {
    struct op_reserved member;
    int where;
} reserved[] = {
    {{"model", "set 'model' instead"}, IN_ALL},
    {{"messages", "set 'user' instead"}, IN_ALL},
    {{"input", "set 'user' instead"}, IN_ALL},
    {{"instructions", "set 'system' instead"}, IN_ALL},
    {{"max_tokens", "set 'max_tokens' instead"}, IN_ALL},
    {{"max_output_tokens", "set 'max_tokens' instead"}, IN_ALL},
    {{"max_completion_tokens", "set 'max_tokens' instead"}, IN_ALL},
    {{"stream", "a batch does not stream; remove it"}, IN_ALL},
    {{"stream_options", "a batch does not stream; remove it"}, IN_ALL},
    {{"service_tier", "a batch has one tier; remove it"}, IN_ALL},
    {{"background", "a batch waits by itself; remove it"}, IN_RESPONSES},
    {{"n", "a request has one answer; ask with several requests"}, IN_CHAT},
};

/* What is being checked: the settings, and extra parsed (no value when there is none). */
struct ask {
    const struct op_provider_ops *ops;
    const struct op_request_settings *settings;
    const char *place;
    enum op_openai_endpoint endpoint;
    struct op_json extra;
};

/* --- checks --------------------------------------------------------------------------------- */

static enum op_rc check_basics(const struct ask *ask, struct op_err *err)
{
    const struct op_request_settings *s = ask->settings;
    if (!s->model || !*s->model)
        return op_fail(err, OP_INVAL, "%s: 'model' is missing; name one%s%s", ask->place,
                       ask->ops->default_model ? ", such as " : " of the provider's",
                       ask->ops->default_model ? ask->ops->default_model : "");
    int64_t floor = ask->endpoint == OP_OPENAI_RESPONSES ? RESPONSES_FLOOR : 1;
    if (ask->endpoint != OP_OPENAI_EMBEDDINGS && s->max_tokens < floor)
        return op_fail(err, OP_INVAL, "%s: 'max_tokens' must be at least %lld, not %lld",
                       ask->place, (long long)floor, (long long)s->max_tokens);
    bool known = !s->effort;
    for (size_t i = 0; !known && i < OP_COUNT(efforts); i++)
        known = strcmp(s->effort, efforts[i]) == 0;
    if (!known)
        return op_fail(err, OP_INVAL,
                       "%s: 'effort' must be none, minimal, low, medium, high, xhigh or max, "
                       "not '%s'",
                       ask->place, s->effort);
    const char *mend = s->effort ? op_openai_refuses_effort(s->model, s->effort) : NULL;
    if (mend)
        return op_fail(err, OP_INVAL, "%s: %s refuses 'effort' %s; %s", ask->place, s->model,
                       s->effort, mend);
    return OP_OK;
}

static enum op_rc check_embeddings(const struct ask *ask, struct op_err *err)
{
    const struct op_request_settings *s = ask->settings;
    const struct {
        const char *name;
        bool set;
    } foreign[] = {
        {"system", s->has_system},
        {"answer", op_json_ok(s->schema)},
        {"effort", s->effort != NULL},
        {"temperature", !isnan(s->temperature)},
    };
    for (size_t i = 0; ask->endpoint == OP_OPENAI_EMBEDDINGS && i < OP_COUNT(foreign); i++)
        if (foreign[i].set)
            return op_fail(err, OP_INVAL,
                           "%s: an embedding has no '%s'; remove it ('user' is what gets "
                           "embedded)",
                           ask->place, foreign[i].name);
    return OP_OK;
}

/* With reasoning switched off the newer models sample again. */
static bool reasoning_is_off(const struct ask *ask)
{
    struct op_str nested =
        op_json_str(op_json_get(op_json_get(ask->extra, "reasoning"), "effort"));
    return (ask->settings->effort && strcmp(ask->settings->effort, "none") == 0) ||
           op_str_is(nested, "none") ||
           op_str_is(op_json_str(op_json_get(ask->extra, "reasoning_effort")), "none");
}

static enum op_rc check_sampling(const struct ask *ask, struct op_err *err)
{
    static const struct {
        const char *name;
        double most;
    } settings[] = {{"temperature", 2}, {"top_p", 1}};
    for (size_t i = 0; i < OP_COUNT(settings); i++) {
        struct op_json extra = op_json_get(ask->extra, settings[i].name);
        bool own = i == 0 && !isnan(ask->settings->temperature);
        if (own && op_json_ok(extra))
            return op_fail(err, OP_INVAL, "%s: 'temperature' is set twice, here and in 'extra'",
                           ask->place);
        if (!own && !op_json_ok(extra))
            continue;
        double value = own ? ask->settings->temperature : op_json_double(extra, NAN);
        if (!(value >= 0 && value <= settings[i].most))
            return op_fail(err, OP_INVAL, "%s: '%s' must be a number from 0 to %g", ask->place,
                           settings[i].name, settings[i].most);
        const char *mend = op_openai_refuses_sampling(ask->settings->model);
        /* 1 is the default of both, which every model takes. */
        if (mend && value != 1 && !reasoning_is_off(ask))
            return op_fail(err, OP_INVAL, "%s: %s refuses '%s' off its default; %s", ask->place,
                           ask->settings->model, settings[i].name, mend);
    }
    return OP_OK;
}

static enum op_rc fail_twice(const struct ask *ask, const char *member, const char *setting,
                             struct op_err *err)
{
    return op_fail(err, OP_INVAL,
                   "%s: 'extra' must not hold '%s' beside '%s', which writes it; say it in one "
                   "place",
                   ask->place, member, setting);
}

/* Parses extra, without the members that this endpoint reserves. */
static enum op_rc read_extra(struct ask *ask, struct op_json_parser *parser, struct op_err *err)
{
    struct op_reserved here[OP_COUNT(reserved)];
    size_t count = 0;
    for (size_t i = 0; i < OP_COUNT(reserved); i++)
        if (reserved[i].where & (1 << ask->endpoint))
            here[count++] = reserved[i].member;
    return op_settings_extra(ask->settings, here, count, parser, &ask->extra, err);
}

static enum op_rc check_extra(const struct ask *ask, struct op_err *err)
{
    bool effort = ask->settings->effort != NULL;
    bool schema = op_json_ok(ask->settings->schema);
    struct op_json reasoning = op_json_get(ask->extra, "reasoning");
    struct op_json text = op_json_get(ask->extra, "text");
    if (effort && op_json_ok(op_json_get(ask->extra, "reasoning_effort")))
        return fail_twice(ask, "reasoning_effort", "effort", err);
    if (effort && op_json_ok(op_json_get(reasoning, "effort")))
        return fail_twice(ask, "reasoning.effort", "effort", err);
    if (schema && op_json_ok(op_json_get(ask->extra, "response_format")))
        return fail_twice(ask, "response_format", "answer", err);
    if (schema && op_json_ok(op_json_get(text, "format")))
        return fail_twice(ask, "text.format", "answer", err);
    return OP_OK;
}

/* --- the schema ----------------------------------------------------------------------------- */

/* {"type":"json_schema","name","strict","schema"}, or the same one level further in for a chat. */
static enum op_rc write_format(const struct ask *ask, struct op_json_out *out,
                               struct op_err *err)
{
    bool strict = ask->ops->dialect->schema == OP_OPENAI_SCHEMA_STRICT;
    op_json_out_object(out);
    op_json_out_kv_text(out, "type", "json_schema");
    if (ask->endpoint == OP_OPENAI_CHAT) {
        op_json_out_name(out, "json_schema");
        op_json_out_object(out);
    }
    op_json_out_kv_text(out, "name", "answer");
    if (strict)
        op_json_out_kv_bool(out, "strict", true);
    op_json_out_name(out, "schema");
    if (!strict) {
        op_json_out_value(out, ask->settings->schema);
    } else {
        enum op_rc rc = op_openai_schema(ask->settings->schema, ask->place, out, err);
        if (rc)
            return rc;
    }
    if (ask->endpoint == OP_OPENAI_CHAT)
        op_json_out_end_object(out);
    op_json_out_end_object(out);
    return OP_OK;
}

/* Where the API promises no more than "some JSON object", the model is told the schema, whole. */
static void write_schema_message(const struct ask *ask, struct op_json_out *out)
{
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, SCHEMA_TEXT_MAX);
    op_buf_addz(&text, "Answer with one JSON value that satisfies this JSON Schema, and with "
                       "nothing else:\n");
    op_json_write(&text, ask->settings->schema);
    if (text.failed)
        out->buf->failed = true; /* reported by the form's finish, with the same limit */
    op_json_out_object(out);
    op_json_out_kv_text(out, "role", "system");
    op_json_out_kv_str(out, "content", op_buf_str(&text));
    op_json_out_end_object(out);
}

static enum op_rc write_chat_format(const struct ask *ask, struct op_json_out *out,
                                    struct op_err *err)
{
    struct op_json schema = ask->settings->schema;
    if (!op_json_ok(schema))
        return OP_OK;
    if (ask->ops->dialect->schema != OP_OPENAI_SCHEMA_TEXT) {
        op_json_out_name(out, "response_format");
        return write_format(ask, out, err);
    }
    if (!op_str_is(op_json_str(op_json_get(schema, "type")), "object"))
        return OP_OK;
    op_json_out_name(out, "response_format");
    op_json_out_object(out);
    op_json_out_kv_text(out, "type", "json_object");
    op_json_out_end_object(out);
    return OP_OK;
}

/* --- writing -------------------------------------------------------------------------------- */

static void write_members(struct op_json_out *out, struct op_json object, const char *but)
{
    struct op_json_iter it = op_json_iter(object);
    while (op_json_next(&it)) {
        if (but && op_str_is(it.name, but))
            continue;
        op_json_out_name_str(out, it.name);
        op_json_out_value(out, it.value);
    }
}

/* "reasoning" and "text" hold settings of ours and of extra side by side. */
static enum op_rc write_responses_parts(const struct ask *ask, struct op_json_out *out,
                                        struct op_err *err)
{
    if (ask->settings->effort) {
        op_json_out_name(out, "reasoning");
        op_json_out_object(out);
        op_json_out_kv_text(out, "effort", ask->settings->effort);
        write_members(out, op_json_get(ask->extra, "reasoning"), NULL);
        op_json_out_end_object(out);
    }
    if (op_json_ok(ask->settings->schema)) {
        op_json_out_name(out, "text");
        op_json_out_object(out);
        write_members(out, op_json_get(ask->extra, "text"), NULL);
        op_json_out_name(out, "format");
        enum op_rc rc = write_format(ask, out, err);
        if (rc)
            return rc;
        op_json_out_end_object(out);
    }
    /* Kept answers are of no use to a batch; whoever wants them says so in extra. */
    if (!op_json_ok(op_json_get(ask->extra, "store")))
        op_json_out_kv_bool(out, "store", false);
    return OP_OK;
}

static void write_extra(const struct ask *ask, struct op_json_out *out)
{
    bool responses = ask->endpoint == OP_OPENAI_RESPONSES;
    struct op_json_iter it = op_json_iter(ask->extra);
    while (op_json_next(&it)) {
        bool merged =
            responses && ((op_str_is(it.name, "reasoning") && ask->settings->effort) ||
                          (op_str_is(it.name, "text") && op_json_ok(ask->settings->schema)));
        if (merged)
            continue;
        op_json_out_name_str(out, it.name);
        op_json_out_value(out, it.value);
    }
}

static void write_hole(struct op_params_form *form, struct op_json_out *out, const char *name,
                       enum op_prompt_hole hole)
{
    op_json_out_name(out, name);
    op_json_out_text(out, "");
    op_params_form_hole(form, hole);
}

static void write_messages(const struct ask *ask, struct op_params_form *form,
                           struct op_json_out *out)
{
    op_json_out_name(out, "messages");
    op_json_out_array(out);
    if (op_json_ok(ask->settings->schema) && ask->ops->dialect->schema == OP_OPENAI_SCHEMA_TEXT)
        write_schema_message(ask, out);
    if (ask->settings->has_system) {
        op_json_out_object(out);
        op_json_out_kv_text(out, "role", "system");
        write_hole(form, out, "content", OP_HOLE_SYSTEM);
        op_json_out_end_object(out);
    }
    op_json_out_object(out);
    op_json_out_kv_text(out, "role", "user");
    write_hole(form, out, "content", OP_HOLE_USER);
    op_json_out_end_object(out);
    op_json_out_end_array(out);
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
    if (ask->endpoint != OP_OPENAI_EMBEDDINGS)
        op_json_out_kv_int(&out,
                           ask->endpoint == OP_OPENAI_CHAT ? ask->ops->dialect->chat_room
                                                           : "max_output_tokens",
                           s->max_tokens);
    if (!isnan(s->temperature)) {
        op_json_out_name(&out, "temperature");
        op_json_out_double(&out, s->temperature);
    }
    if (ask->endpoint == OP_OPENAI_CHAT && s->effort)
        op_json_out_kv_text(&out, "reasoning_effort", s->effort);
    enum op_rc rc = OP_OK;
    if (ask->endpoint == OP_OPENAI_RESPONSES)
        rc = write_responses_parts(ask, &out, err);
    else if (ask->endpoint == OP_OPENAI_CHAT)
        rc = write_chat_format(ask, &out, err);
    if (rc)
        return rc;
    write_extra(ask, &out);
    if (ask->endpoint == OP_OPENAI_CHAT) {
        write_messages(ask, form, &out);
    } else {
        if (s->has_system)
            write_hole(form, &out, "instructions", OP_HOLE_SYSTEM);
        write_hole(form, &out, "input", OP_HOLE_USER);
    }
    op_json_out_end_object(&out);
    return op_params_form_finish(form, ask->place, err);
}

enum op_rc op_openai_params(const struct op_lane *lane,
                            const struct op_request_settings *settings,
                            struct op_params_form *ret, struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct ask ask = {
        .ops = lane->provider, .settings = settings, .place = op_settings_place(settings)};
    enum op_rc rc =
        op_openai_endpoint_find(lane->provider, settings->endpoint, &ask.endpoint, err);
    if (rc)
        return op_err_wrap(err, "%s", ask.place);
    rc = check_basics(&ask, err);
    if (!rc)
        rc = check_embeddings(&ask, err);
    if (!rc)
        rc = read_extra(&ask, parser, err);
    if (!rc)
        rc = check_extra(&ask, err);
    if (!rc)
        rc = check_sampling(&ask, err);
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
