/* SPDX-License-Identifier: MIT */
#include "net/calls.h"

enum op_rc op_calls_submit(struct op_calls *calls, const struct op_http_request *request,
                           void *tag, struct op_err *err)
{
    if (request->gate || request->sink || request->body_fn || request->sign)
        return op_fail(
            err, OP_INVAL,
            "one of many calls has its body in memory, no gate, no sink and no signature");
    enum op_rc rc = op_http_check(request, err);
    if (!rc)
        rc = calls->ops->submit(calls, request, tag, err);
    if (!rc)
        calls->under_way++;
    return rc;
}

enum op_rc op_calls_collect(struct op_calls *calls, int64_t wait_ms, op_call_fn fn, void *arg,
                            struct op_err *err)
{
    return calls->ops->collect(calls, wait_ms, fn, arg, err);
}

void op_calls_close(struct op_calls *calls)
{
    if (calls)
        calls->ops->close(calls);
}
