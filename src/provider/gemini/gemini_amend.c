/* SPDX-License-Identifier: MIT */
#include "base/json_out.h"
#include "base/str.h"
#include "provider/gemini/gemini.h"
#include "provider/settings.h"

static void write_turn(struct op_json_out *o, const char *role, struct op_str text)
{
    op_json_out_object(o);
    op_json_out_kv_text(o, "role", role);
    op_json_out_name(o, "parts");
    op_json_out_array(o);
    op_json_out_object(o);
    op_json_out_kv_str(o, "text", text);
    op_json_out_end_object(o);
    op_json_out_end_array(o);
    op_json_out_end_object(o);
}

/* The conversation goes on: the answer, then what is wrong with it. */
static void write_contents(struct op_json_out *o, struct op_json contents,
                           const struct op_amend *amend, struct op_str complaint)
{
    op_json_out_array(o);
    struct op_json_iter it = op_json_iter(contents);
    while (op_json_next(&it))
        op_json_out_value(o, it.value);
    if (amend->answer.len)
        write_turn(o, "model", amend->answer);
    write_turn(o, "user", complaint);
    op_json_out_end_array(o);
}

/* The API takes both spellings; a file in its own form may hold either. */
static bool is_named(struct op_str name, const char *camel, const char *snake)
{
    return op_str_is(name, camel) || op_str_is(name, snake);
}

static void write_config(struct op_json_out *o, struct op_json config, int64_t max_tokens)
{
    op_json_out_object(o);
    op_json_out_kv_int(o, "maxOutputTokens", max_tokens);
    struct op_json_iter it = op_json_iter(config);
    while (op_json_is(config, OP_JSON_OBJECT) && op_json_next(&it)) {
        if (is_named(it.name, "maxOutputTokens", "max_output_tokens"))
            continue;
        op_json_out_name_str(o, it.name);
        op_json_out_value(o, it.value);
    }
    op_json_out_end_object(o);
}

enum op_rc op_gemini_amend(struct op_json params, const struct op_amend *amend,
                           struct op_buf *ret, struct op_err *err)
{
    if (!op_json_is(params, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL, "the request is not a JSON object");
    /* An embedding has no length to set and no conversation to go on with. */
    bool embeds = !op_json_ok(op_json_get(params, "contents"));
    int64_t max_tokens = embeds ? 0 : amend->max_tokens;
    struct op_buf complaint;
    op_buf_init(&complaint, amend->violations.len + 1024);
    op_amend_complaint(amend->violations, &complaint);
    struct op_json_out o;
    op_json_out_init(&o, ret, 0);
    op_json_out_object(&o);
    bool has_config = false;
    struct op_json_iter it = op_json_iter(params);
    while (op_json_next(&it)) {
        op_json_out_name_str(&o, it.name);
        if (max_tokens && is_named(it.name, "generationConfig", "generation_config")) {
            write_config(&o, it.value, max_tokens);
            has_config = true;
        } else if (amend->violations.ptr && op_str_is(it.name, "contents")) {
            write_contents(&o, it.value, amend, op_buf_str(&complaint));
        } else {
            op_json_out_value(&o, it.value);
        }
    }
    if (max_tokens && !has_config) {
        op_json_out_name(&o, "generationConfig");
        write_config(&o, (struct op_json){0}, max_tokens);
    }
    op_json_out_end_object(&o);
    op_buf_release(&complaint);
    return op_buf_finish(ret, "the request", err);
}
