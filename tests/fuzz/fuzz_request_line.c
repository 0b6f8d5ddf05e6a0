/* SPDX-License-Identifier: MIT */
/*
 * Ready request lines in a provider's own form, taken apart, amended, and asked by themselves. Input: a
 * byte for the provider, one for the amendment, then the line.
 * Oracle: params are a slice of the line that is JSON by itself; amended params are strict JSON; the
 *         headers and the address of an exchange hold no line break.
 */
#include <math.h>

#include "base/json.h"
#include "base/json_out.h"
#include "fuzz.h"
#include "provider/provider.h"

static void check_amend(const struct op_provider_ops *ops, uint8_t choice,
                        struct op_json params)
{
    OP_CLEANUP(op_buf_release) struct op_buf out;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_err err = OP_ERR_INIT;
    struct op_json again;
    struct op_amend amend = {.max_tokens = choice & 1 ? 4096 : 0};
    if (choice & 2)
        amend.max_tokens = 1;
    if (choice & 4) {
        amend.answer = OP_STR("{\"label\":\"so\"}");
        amend.violations = OP_STR("/label: no");
    }
    op_buf_init(&out, 64 * 1024 * 1024);
    enum op_rc rc = ops->amend(params, &amend, &out, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
        return;
    }
    rc = op_json_parse(parser, out.ptr, out.len, true, &again, &err);
    FUZZ_CHECK(!rc && !op_json_parser_repaired(parser), "%s", out.ptr);
}

static void check_ask(const struct op_provider_ops *ops, const char *endpoint,
                      struct op_str params, struct op_json root)
{
    char url[] = "http://127.0.0.1:1/v1", key[] = "k", none[] = "";
    struct op_lane lane = {.provider = ops, .base_url = url, .key = key};
    for (size_t i = 0; i < OP_LANE_EXTRAS; i++)
        lane.extras[i] = none;
    OP_CLEANUP(op_mem_freep) char *model = fuzz_text(op_json_str(op_json_get(root, "model")));
    struct op_exchange x;
    struct op_err err = OP_ERR_INIT;
    enum op_rc rc =
        ops->ask(&lane, model && model[0] ? model : "m", endpoint, NULL, params, &x, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
        return;
    }
    FUZZ_CHECK(op_str_starts(op_buf_str(&x.url), url) && !strpbrk(x.url.ptr, " \r\n"), "%s",
               x.url.ptr);
    for (size_t i = 0; i < x.header_count; i++)
        FUZZ_CHECK(!strpbrk(x.headers[i].value, "\r\n"), "%s", x.headers[i].value);
    op_exchange_release(&x);
}

FUZZ_TARGET(request_line)
{
    size_t count = 0;
    while (op_providers()[count])
        count++;
    const struct op_provider_ops *ops = op_providers()[fuzz_pick(in, count)];
    uint8_t choice = fuzz_byte(in);
    struct op_str line = fuzz_rest(in);
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *second = op_json_parser_new();
    struct op_err err = OP_ERR_INIT;
    struct op_json root, params_root;
    if (op_json_parse(parser, line.ptr, line.len, false, &root, &err))
        return;
    struct op_str id = OP_STR_NULL, params = OP_STR_NULL;
    const char *endpoint = NULL;
    enum op_rc rc = ops->split_line(root, line, &id, &params, &endpoint, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
        return;
    }
    FUZZ_CHECK(params.ptr >= line.ptr && params.ptr + params.len <= line.ptr + line.len,
               "params are not in the line");
    rc = op_json_parse(second, params.ptr, params.len, false, &params_root, &err);
    FUZZ_CHECK(!rc, OP_STR_FMT ": %s", OP_STR_ARG(params), err.msg);
    check_amend(ops, choice, params_root);
    check_ask(ops, endpoint, params, params_root);
}
