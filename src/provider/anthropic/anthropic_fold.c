/* SPDX-License-Identifier: MIT */
#include "base/json_out.h"
#include "base/mem.h"
#include "provider/anthropic/anthropic.h"
#include "provider/reply.h"

/* The statuses that speak of the request itself; any other error is the account's or the server's
 * (anthropic.md 7). */
static bool is_about_request(int status)
{
    return status == 400 || status == 413 || status == 422;
}

enum op_rc op_anthropic_fold(struct op_str custom_id, const struct op_http_reply *reply,
                             struct op_buf *ret_line, struct op_err *err)
{
    bool good = reply->status == 200;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json body;
    if ((!good && !is_about_request(reply->status)) ||
        op_json_parse(parser, reply->body.ptr, reply->body.len, false, &body, err) ||
        !op_json_is(body, OP_JSON_OBJECT)) {
        op_err_clear(err);
        if (good)
            return op_fail_as(err, OP_REMOTE, OP_DISP_AMBIGUOUS,
                              "the answer is no JSON object");
        return op_anthropic_decode_error(reply, err);
    }
    /* Credit and spend limits come as 400 too. */
    struct op_anthropic_fault fault = op_anthropic_fault_read(op_json_get(body, "error"));
    enum op_disp pause;
    if (!good && (!fault.type.ptr || op_anthropic_fault_pauses(&fault, &pause)))
        return op_anthropic_decode_error(reply, err);
    struct op_json_out o;
    op_json_out_init(&o, ret_line, 0);
    op_json_out_object(&o);
    op_json_out_kv_str(&o, "custom_id", custom_id);
    op_json_out_name(&o, "result");
    op_json_out_object(&o);
    op_json_out_kv_text(&o, "type", good ? "succeeded" : "errored");
    op_json_out_name(&o, good ? "message" : "error");
    op_reply_write_body(&o, reply, body);
    op_json_out_end_object(&o);
    op_json_out_end_object(&o);
    return op_buf_finish(ret_line, "the answer", err);
}
