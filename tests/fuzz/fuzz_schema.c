/* SPDX-License-Identifier: MIT */
/*
 * JSON Schema. Input: a byte of options, the schema up to a NUL byte, the value to check.
 * Oracle: a refusal names the place; counting violations and listing them agree; a schema that is given
 *         to a provider in its own words is JSON again, or refused with a reason.
 */
#include "base/json.h"
#include "base/json_out.h"
#include "core/schema.h"
#include "fuzz.h"
#include "provider/anthropic/anthropic.h"
#include "provider/gemini/gemini.h"
#include "provider/openai/openai.h"

static void check_values(const struct op_schema *schema, struct op_str text)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_buf_release) struct op_buf list = {0};
    struct op_err err = OP_ERR_INIT;
    struct op_json value;
    if (op_json_parse(parser, text.ptr, text.len, false, &value, &err))
        return;
    op_buf_init(&list, 1 << 20);
    size_t silent = op_schema_check(schema, value, 20, NULL);
    size_t listed = op_schema_check(schema, value, 20, &list);
    FUZZ_CHECK(silent == listed, "%zu and %zu violations", silent, listed);
    FUZZ_CHECK((listed > 0) == (list.len > 0), "%zu violations: %s", listed, list.ptr);
    fuzz_show("%s\n", listed ? "false" : "true");
}

typedef enum op_rc (*rewrite_fn)(struct op_json schema, const char *file,
                                 struct op_json_out *out, struct op_err *err);

static void check_rewrite(rewrite_fn rewrite, struct op_json document)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_buf_release) struct op_buf text;
    struct op_json_out out;
    struct op_err err = OP_ERR_INIT;
    struct op_json again;
    op_buf_init(&text, 16 * 1024 * 1024);
    op_json_out_init(&out, &text, 0);
    enum op_rc rc = rewrite(document, "p/answer.json", &out, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
        return;
    }
    if (text.failed)
        return;
    FUZZ_CHECK(!op_json_parse(parser, text.ptr, text.len, true, &again, &err), "%s", text.ptr);
}

FUZZ_TARGET(schema)
{
    uint8_t choice = fuzz_byte(in);
    struct op_str text = fuzz_until(in, '\0'), value = fuzz_rest(in);
    struct op_schema_options options = {.assert_format = choice & 1,
                                        .allow_unknown = choice & 2};
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_schema_freep) struct op_schema *schema = NULL;
    struct op_err err = OP_ERR_INIT;
    struct op_json document;
    if (op_json_parse(parser, text.ptr, text.len, false, &document, &err))
        return;
    enum op_rc rc = op_schema_compile(document, "p/answer.json", &options, &schema, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
        FUZZ_CHECK(strstr(err.msg, "p/answer.json"), "no file in: %s", err.msg);
        return;
    }
    check_values(schema, value);
    check_rewrite(op_anthropic_schema, document);
    check_rewrite(op_gemini_schema, document);
}
