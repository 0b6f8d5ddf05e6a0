/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "base/str.h"
#include "provider/driver.h"
#include "provider/mistral/mistral.h"
#include "provider/settings.h"

static const struct op_reserved reserved[] = {
    {"model", "set 'model' instead"},
    {"max_tokens", "set 'max_tokens' instead"},
    {"messages", "set 'user' instead"},
    {"input", "set 'user' instead"},
    {"inputs", "set 'user' instead"},
    {"temperature", "set 'temperature' instead"},
    {"stream", "a batch does not stream; remove it"},
};

struct ask {
    const struct op_request_settings *settings;
    const char *place;
    struct op_json extra;
};

/* --- checks --------------------------------------------------------------------------------- */

static enum op_rc check_chat(const struct ask *ask, struct op_err *err)
{
    const struct op_request_settings *s = ask->settings;
    if (op_json_ok(s->schema) && op_json_ok(op_json_get(ask->extra, "response_format")))
        return op_fail(err, OP_INVAL,
                       "%s: 'extra' must not hold 'response_format' beside 'answer', which "
                       "writes it; say it in one place",
                       ask->place);
    if (s->effort && op_json_ok(op_json_get(ask->extra, "reasoning_effort")))
        return op_fail(err, OP_INVAL,
                       "%s: 'extra' must not hold 'reasoning_effort' beside 'effort', which "
                       "writes it; say it in one place",
                       ask->place);
    if (s->effort && (strcmp(s->effort, "low") == 0 || strcmp(s->effort, "medium") == 0))
        return op_fail(err, OP_INVAL,
                       "%s: Mistral's models think much or not at all: 'effort' must be high, "
                       "or left out, not '%s'",
                       ask->place, s->effort);
    return op_settings_temperature(s, 1.5, err); /* the API's own range */
}

static enum op_rc check_embedding(const struct ask *ask, struct op_err *err)
{
    const struct op_request_settings *s = ask->settings;
    const char *what = s->has_system            ? "system"
                       : s->effort              ? "effort"
                       : !isnan(s->temperature) ? "temperature"
                                                : NULL;
    if (what)
        return op_fail(err, OP_INVAL, "%s: an embedding takes no '%s'; remove it", ask->place,
                       what);
    return OP_OK;
}

static enum op_rc check_all(struct ask *ask, struct op_json_parser *parser, struct op_err *err)
{
    enum op_rc rc = op_settings_basics(ask->settings, op_provider_mistral.default_model, err);
    if (!rc)
        rc = op_settings_extra(ask->settings, reserved, OP_COUNT(reserved), parser, &ask->extra,
                               err);
    if (rc)
        return rc;
    return op_mistral_embeds(ask->settings->endpoint) ? check_embedding(ask, err)
                                                      : check_chat(ask, err);
}

/* --- writing -------------------------------------------------------------------------------- */

static void write_schema(struct op_json_out *out, struct op_json schema)
{
    op_json_out_name(out, "response_format");
    op_json_out_object(out);
    op_json_out_kv_text(out, "type", "json_schema");
    op_json_out_name(out, "json_schema");
    op_json_out_object(out);
    op_json_out_kv_text(out, "name", "answer");
    op_json_out_kv_bool(out, "strict", true);
    op_json_out_name(out, "schema");
    op_json_out_value(out, schema);
    op_json_out_end_object(out);
    op_json_out_end_object(out);
}

static void write_message(struct op_params_form *form, struct op_json_out *out,
                          const char *role, enum op_prompt_hole hole)
{
    op_json_out_object(out);
    op_json_out_kv_text(out, "role", role);
    op_json_out_name(out, "content");
    op_json_out_text(out, "");
    op_params_form_hole(form, hole);
    op_json_out_end_object(out);
}

static void write_extra(struct op_json_out *out, struct op_json extra)
{
    struct op_json_iter it = op_json_iter(extra);
    while (op_json_next(&it)) {
        op_json_out_name_str(out, it.name);
        op_json_out_value(out, it.value);
    }
}

static void write_chat(const struct ask *ask, struct op_params_form *form,
                       struct op_json_out *out)
{
    const struct op_request_settings *s = ask->settings;
    op_json_out_kv_int(out, "max_tokens", s->max_tokens);
    if (!isnan(s->temperature)) {
        op_json_out_name(out, "temperature");
        op_json_out_double(out, s->temperature);
    }
    if (s->effort)
        op_json_out_kv_text(out, "reasoning_effort", "high");
    if (op_json_ok(s->schema))
        write_schema(out, s->schema);
    write_extra(out, ask->extra);
    op_json_out_name(out, "messages");
    op_json_out_array(out);
    if (s->has_system)
        write_message(form, out, "system", OP_HOLE_SYSTEM);
    write_message(form, out, "user", OP_HOLE_USER);
    op_json_out_end_array(out);
}

/* The prompts come last, so that everything a batch's lines have in common is one literal. */
enum op_rc op_mistral_params(const struct op_lane *lane,
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
    struct op_json_out out;
    op_json_out_init(&out, &form.text, 0);
    op_json_out_object(&out);
    if (op_mistral_embeds(settings->endpoint)) {
        write_extra(&out, ask.extra);
        op_json_out_name(&out, "input");
        op_json_out_text(&out, "");
        op_params_form_hole(&form, OP_HOLE_USER);
    } else {
        write_chat(&ask, &form, &out);
    }
    op_json_out_end_object(&out);
    rc = op_params_form_finish(&form, ask.place, err);
    if (rc)
        return rc;
    *ret = form;
    form = (struct op_params_form){0};
    return OP_OK;
}

/* --- files in the API's own form ------------------------------------------------------------ */

enum op_rc op_mistral_split_line(struct op_json root, struct op_str line,
                                 struct op_str *ret_custom_id, struct op_str *ret_params,
                                 const char **ret_endpoint, struct op_err *err)
{
    if (!op_json_is(root, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL,
                       "a request line is an object with \"custom_id\" and \"body\", not %s",
                       op_json_type_name(op_json_type(root)));
    if (op_json_ok(op_json_get(root, "url")))
        return op_fail(err, OP_INVAL,
                       "a line with \"url\" is in OpenAI's form: choose that provider, or "
                       "leave \"url\" and \"method\" out");
    struct op_json body = op_json_get(root, "body");
    if (!op_json_is(body, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL, "\"body\" is missing or no object");
    struct op_str id = op_json_str(op_json_get(root, "custom_id"));
    if (id.len == 0)
        return op_fail(err, OP_INVAL, "\"custom_id\" is missing or no text");
    if (op_json_bool(op_json_get(body, "stream"), false))
        return op_fail(err, OP_INVAL,
                       "\"body\" asks for \"stream\": a batch does not stream; remove it");
    struct op_str slice;
    if (op_raw_member(root, line, "body", &slice, err))
        return op_fail(err, OP_INVAL, "\"body\" is missing");
    bool embeds =
        !op_json_ok(op_json_get(body, "messages")) && op_json_ok(op_json_get(body, "input"));
    *ret_custom_id = id;
    *ret_params = slice;
    *ret_endpoint = op_provider_mistral.endpoints[embeds];
    return OP_OK;
}

/* --- amendments ----------------------------------------------------------------------------- */

static void write_turn(struct op_json_out *o, const char *role, struct op_str text)
{
    op_json_out_object(o);
    op_json_out_kv_text(o, "role", role);
    op_json_out_kv_str(o, "content", text);
    op_json_out_end_object(o);
}

/* The conversation goes on: the answer, then what is wrong with it. */
static void write_messages(struct op_json_out *o, struct op_json messages,
                           const struct op_amend *amend)
{
    struct op_buf complaint;
    op_buf_init(&complaint, amend->violations.len + 1024);
    op_amend_complaint(amend->violations, &complaint);
    op_json_out_array(o);
    struct op_json_iter it = op_json_iter(messages);
    while (op_json_next(&it))
        op_json_out_value(o, it.value);
    if (amend->answer.len)
        write_turn(o, "assistant", amend->answer);
    write_turn(o, "user", op_buf_str(&complaint));
    op_json_out_end_array(o);
    op_buf_release(&complaint);
}

enum op_rc op_mistral_amend(struct op_json params, const struct op_amend *amend,
                            struct op_buf *ret, struct op_err *err)
{
    if (!op_json_is(params, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL, "the request is not a JSON object");
    /* An embedding has no length to set and no conversation to go on with. */
    int64_t max_tokens = op_json_ok(op_json_get(params, "messages")) ? amend->max_tokens : 0;
    struct op_json_out o;
    op_json_out_init(&o, ret, 0);
    op_json_out_object(&o);
    if (max_tokens)
        op_json_out_kv_int(&o, "max_tokens", max_tokens);
    struct op_json_iter it = op_json_iter(params);
    while (op_json_next(&it)) {
        if (max_tokens && op_str_is(it.name, "max_tokens"))
            continue;
        op_json_out_name_str(&o, it.name);
        if (amend->violations.ptr && op_str_is(it.name, "messages"))
            write_messages(&o, it.value, amend);
        else
            op_json_out_value(&o, it.value);
    }
    op_json_out_end_object(&o);
    return op_buf_finish(ret, "the request", err);
}
