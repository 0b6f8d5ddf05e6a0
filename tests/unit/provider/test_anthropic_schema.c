/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the schema as structured output takes it.
 * Oracle:    golden texts from the documented subset. What is left out may only loosen: every row's
 *            result must keep each kept keyword's value.
 */
#include "base/json_out.h"
#include "provider/anthropic/anthropic.h"
#include "support.h"

#define CLOSED ",\"additionalProperties\":false}"

static enum op_rc convert(const char *schema, struct op_buf *out, struct op_err *err)
{
    struct op_json_out o;
    op_json_out_init(&o, out, 0);
    return op_anthropic_schema(read_json(schema), "p.yaml:3", &o, err);
}

static void test_subset(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"{\"type\":\"string\",\"minLength\":1,\"maxLength\":9,\"pattern\":\"a\"}",
         "{\"type\":\"string\"}"},
        {"{\"type\":\"number\",\"minimum\":0,\"maximum\":1,\"multipleOf\":2}",
         "{\"type\":\"number\"}"},
        {"{\"enum\":[\"a\",1,null,true]}", "{\"enum\":[\"a\",1,null,true]}"},
        {"{\"const\":{\"a\":1}}", "{\"const\":{\"a\":1}}"},
        {"{\"type\":\"string\",\"format\":\"date-time\"}",
         "{\"type\":\"string\",\"format\":\"date-time\"}"},
        {"{\"type\":\"string\",\"format\":\"regex\"}", "{\"type\":\"string\"}"},
        {"{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":1},\"minItems\":3,"
         "\"maxItems\":5,\"uniqueItems\":true}",
         "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1}"},
        {"{\"type\":\"array\",\"minItems\":0}", "{\"type\":\"array\"}"},
        {"{\"type\":\"array\",\"minItems\":1}", "{\"type\":\"array\",\"minItems\":1}"},
        {"{\"type\":\"array\",\"prefixItems\":[{}],\"items\":{\"type\":\"null\"}}",
         "{\"type\":\"array\"}"},
        {"{\"type\":\"array\",\"items\":true}", "{\"type\":\"array\"}"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}",
         "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}" CLOSED},
        {"{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}",
         "{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}"},
        {"{\"properties\":{\"minimum\":{\"type\":\"integer\",\"minimum\":3}}}",
         "{\"properties\":{\"minimum\":{\"type\":\"integer\"}}" CLOSED},
        {"{\"type\":[\"object\",\"null\"],\"properties\":{}}",
         "{\"type\":[\"object\",\"null\"],\"properties\":{}" CLOSED},
        {"{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"object\",\"properties\":{}}]}",
         "{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"object\",\"properties\":{}" CLOSED "]}"},
        {"{\"oneOf\":[{\"type\":\"null\"},{\"type\":\"string\",\"minLength\":1}]}",
         "{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"string\"}]}"},
        {"{\"anyOf\":[{}],\"oneOf\":[{\"type\":\"null\"}]}", "{\"anyOf\":[{}]}"},
        {"{\"type\":\"object\",\"anyOf\":[{\"properties\":{}}]}",
         "{\"type\":\"object\",\"anyOf\":[{\"properties\":{}" CLOSED "]}"},
        {"{\"properties\":{\"a\":{},\"b\":{}},\"anyOf\":[{\"required\":[\"a\"]}]}",
         "{\"properties\":{\"a\":{},\"b\":{}},\"anyOf\":[{\"required\":[\"a\"]}]" CLOSED},
        {"{\"properties\":{\"a\":true}}", "{\"properties\":{\"a\":{}}" CLOSED},
        {"{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"type\":\"string\",\"maxLength\":1}}}",
         "{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"type\":\"string\"}}}"},
        {"{\"anyOf\":[{\"$ref\":\"#/definitions/a~1b\"},{\"$ref\":\"#/definitions/a~1b\"}],"
         "\"definitions\":{\"a/b\":{}}}",
         "{\"anyOf\":[{\"$ref\":\"#/definitions/a~1b\"},{\"$ref\":\"#/definitions/a~1b\"}],"
         "\"definitions\":{\"a/b\":{}}}"},
        {"{\"title\":\"t\",\"description\":\"d\",\"default\":1,\"examples\":[1],"
         "\"$comment\":\"c\",\"not\":{},\"if\":{},\"then\":{}}",
         "{\"title\":\"t\",\"description\":\"d\",\"default\":1}"},
        {"true", "{}"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        OP_CLEANUP(op_buf_release) struct op_buf out;
        op_buf_init(&out, 1 << 20);
        if (convert(cases[i].in, &out, &err))
            fail_msg("%s: %s", cases[i].in, err.msg);
        assert_string_equal(out.ptr, cases[i].out);
    }
}

static void test_limits(void **state)
{
    (void)state;
    static const struct {
        const char *in, *pointer, *mention;
    } cases[] = {
        {"{\"type\":\"object\"}", "at \"\"", "free names"},
        {"{\"properties\":{\"a\":{\"type\":\"object\"}}}", "at \"/properties/a\"",
         "free names"},
        {"{\"properties\":{},\"additionalProperties\":true}", "at \"/additionalProperties\"",
         "list the properties"},
        {"{\"properties\":{},\"additionalProperties\":{\"type\":\"string\"}}",
         "at \"/additionalProperties\"", "free names"},
        {"{\"patternProperties\":{}}", "at \"/patternProperties\"", "free names"},
        {"{\"enum\":[[1]]}", "at \"/enum\"", "anyOf"},
        {"{\"items\":{\"anyOf\":[{},{\"enum\":[{}]}]}}", "at \"/items/anyOf/1/enum\"", "anyOf"},
        {"{\"properties\":{\"a/b~\":false}}", "at \"/properties/a~1b~0\"", "'false'"},
        {"{\"properties\":{\"a\":7}}", "at \"/properties/a\"", "must be an object"},
        {"{\"$ref\":\"http://x/y\"}", "at \"/$ref\"", "points to nothing"},
        {"{\"$ref\":\"#/$defs/x\"}", "at \"/$ref\"", "points to nothing"},
        {"{\"$ref\":7}", "at \"/$ref\"", "points to nothing"},
        {"{\"properties\":{\"a\":{\"$ref\":\"#\"}}}", "at \"/properties/a/$ref\"", "recursive"},
        {"{\"$defs\":{\"a\":{\"items\":{\"$ref\":\"#/$defs/b\"}},"
         "\"b\":{\"anyOf\":[{\"$ref\":\"#/$defs/a\"}]}}}",
         "at \"/$defs/a/items/$ref\"", "recursive"},
        {"{\"properties\":{\"a\":{}},\"required\":[\"b\"]}", "at \"\"", "'b'"},
        {"{\"properties\":{\"a\":{}},\"anyOf\":[{\"properties\":{}}]}", "at \"\"",
         "one object"},
        {"{\"allOf\":[{\"properties\":{\"a\":{}}},{\"$ref\":\"#/$defs/x\"}],"
         "\"$defs\":{\"x\":{\"properties\":{}}}}",
         "at \"\"", "one object"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        OP_CLEANUP(op_buf_release) struct op_buf out;
        op_buf_init(&out, 1 << 20);
        if (convert(cases[i].in, &out, &err) != OP_INVAL)
            fail_msg("accepted: %s", cases[i].in);
        assert_mentions(err.msg, "p.yaml:3");
        assert_mentions(err.msg, cases[i].pointer);
        assert_mentions(err.msg, cases[i].mention);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_subset, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
