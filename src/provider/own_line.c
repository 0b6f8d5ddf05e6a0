/* SPDX-License-Identifier: MIT */
#include "provider/own_line.h"

#include "base/json_out.h"
#include "base/mem.h"

void op_own_line_write(struct op_str custom_id, enum op_result_class class_, const char *type,
                       const char *message, enum op_disp disp, struct op_buf *ret_line)
{
    struct op_json_out o;
    op_json_out_init(&o, ret_line, 0);
    op_json_out_object(&o);
    op_json_out_kv_str(&o, "custom_id", custom_id);
    op_json_out_name(&o, "offpeak");
    op_json_out_object(&o);
    op_json_out_kv_text(&o, "class", op_result_class_name(class_));
    op_json_out_kv_text(&o, "type", type);
    op_json_out_kv_text(&o, "message", message);
    op_json_out_kv_text(&o, "then", op_disp_name(disp));
    op_json_out_end_object(&o);
    op_json_out_end_object(&o);
}

static enum op_rc read_own(struct op_json line, struct op_json own, struct op_result *ret,
                           struct op_err *err)
{
    static const enum op_disp disps[] = {OP_DISP_RETRY, OP_DISP_REJECT, OP_DISP_PAUSE,
                                         OP_DISP_QUOTA};
    struct op_result result = {
        .custom_id = op_json_str(op_json_get(line, "custom_id")),
        .class_ = OP_RESULT_CLASS_COUNT,
        .disp = OP_DISP_REJECT,
        .error_type = op_json_str(op_json_get(own, "type")),
        .error_message = op_json_str(op_json_get(own, "message")),
    };
    struct op_str class_ = op_json_str(op_json_get(own, "class"));
    struct op_str then = op_json_str(op_json_get(own, "then"));
    for (int c = 0; c < OP_RESULT_CLASS_COUNT; c++)
        if (op_str_is(class_, op_result_class_name((enum op_result_class)c)))
            result.class_ = (enum op_result_class)c;
    for (size_t i = 0; i < OP_COUNT(disps); i++)
        if (op_str_is(then, op_disp_name(disps[i])))
            result.disp = disps[i];
    if (result.custom_id.len == 0)
        return op_fail(err, OP_INVAL, "a result line without a custom_id");
    /* Only what is no answer is ever said in our own words. */
    if (result.class_ != OP_RESULT_ERRORED && result.class_ != OP_RESULT_CANCELED &&
        result.class_ != OP_RESULT_EXPIRED)
        return op_fail(err, OP_INVAL, "a result line of our own with no class it can have");
    *ret = result;
    return OP_OK;
}

enum op_rc op_result_read(const struct op_provider_ops *provider, struct op_json line,
                          struct op_buf *scratch, struct op_result *ret, struct op_err *err)
{
    struct op_json own = op_json_get(line, "offpeak");
    if (op_json_is(own, OP_JSON_OBJECT))
        return read_own(line, own, ret, err);
    return provider->decode_result(line, scratch, ret, err);
}
