/* SPDX-License-Identifier: MIT */
#include "base/json_out.h"
#include "provider/anthropic/anthropic.h"
#include "provider/settings.h"

static void write_message(struct op_json_out *o, const char *role, struct op_str text)
{
    op_json_out_object(o);
    op_json_out_kv_text(o, "role", role);
    op_json_out_kv_str(o, "content", text);
    op_json_out_end_object(o);
}

/* The conversation goes on: the answer, then what is wrong with it. */
static void write_messages(struct op_json_out *o, struct op_json messages,
                           const struct op_amend *amend, struct op_str complaint)
{
    op_json_out_array(o);
    struct op_json_iter it = op_json_iter(messages);
    while (op_json_next(&it))
        op_json_out_value(o, it.value);
    /* The API refuses an empty assistant turn. */
    if (amend->answer.len)
        write_message(o, "assistant", amend->answer);
    write_message(o, "user", complaint);
    op_json_out_end_array(o);
}

enum op_rc op_anthropic_amend(struct op_json params, const struct op_amend *amend,
                              struct op_buf *ret, struct op_err *err)
{
    if (!op_json_is(params, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL, "the params are not a JSON object");
    struct op_buf complaint;
    op_buf_init(&complaint, amend->violations.len + 1024);
    op_amend_complaint(amend->violations, &complaint);
    struct op_json_out o;
    op_json_out_init(&o, ret, 0);
    op_json_out_object(&o);
    bool has_max_tokens = false;
    struct op_json_iter it = op_json_iter(params);
    while (op_json_next(&it)) {
        op_json_out_name_str(&o, it.name);
        if (amend->max_tokens && op_str_is(it.name, "max_tokens")) {
            op_json_out_int(&o, amend->max_tokens);
            has_max_tokens = true;
        } else if (amend->violations.ptr && op_str_is(it.name, "messages")) {
            write_messages(&o, it.value, amend, op_buf_str(&complaint));
        } else {
            op_json_out_value(&o, it.value);
        }
    }
    if (amend->max_tokens && !has_max_tokens)
        op_json_out_kv_int(&o, "max_tokens", amend->max_tokens);
    op_json_out_end_object(&o);
    op_buf_release(&complaint);
    return op_buf_finish(ret, "the params of a request", err);
}
