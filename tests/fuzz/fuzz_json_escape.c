/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as the content of a JSON string.
 * Oracle: what is written reads back, strictly, as the same bytes where they were UTF-8; a second
 *         passage changes nothing in any case.
 */
#include "base/json.h"
#include "base/json_out.h"
#include "fuzz.h"

static void through(struct op_json_parser *parser, struct op_str text, struct op_str *ret)
{
    OP_CLEANUP(op_buf_release) struct op_buf out;
    struct op_err err = OP_ERR_INIT;
    struct op_json v;
    op_buf_init(&out, 64 * 1024 * 1024);
    op_buf_addc(&out, '"');
    op_json_escape(&out, text.ptr, text.len);
    op_buf_addc(&out, '"');
    FUZZ_CHECK(!op_json_parse(parser, out.ptr, out.len, true, &v, &err), "%s", err.msg);
    FUZZ_CHECK(!op_json_parser_repaired(parser), "not strict: %s", out.ptr);
    *ret = op_json_str(v);
}

FUZZ_TARGET(json_escape)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *a = op_json_parser_new();
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *b = op_json_parser_new();
    struct op_str text = fuzz_rest(in), once, twice;
    through(a, text, &once);
    if (op_utf8_valid_len(text.ptr, text.len) == text.len)
        FUZZ_CHECK(op_str_eq(once, text), "read as " OP_STR_FMT, OP_STR_ARG(once));
    FUZZ_CHECK(op_utf8_valid_len(once.ptr, once.len) == once.len, "not UTF-8");
    through(b, once, &twice);
    FUZZ_CHECK(op_str_eq(once, twice), "changed again");
}
