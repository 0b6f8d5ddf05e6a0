/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the answer schema as OpenAI's strict mode takes it.
 * Oracle:    the rules of the guide "Structured outputs" (reference/openai.md 6): every object closed,
 *            every property required, optional ones nullable, the list of keywords. What goes out
 *            only loosens: an answer of the full schema, its left out properties as null, satisfies
 *            what was sent (our own checker says so).
 */
#include "base/json_out.h"
#include "core/schema.h"
#include "support_openai.h"

static void write(const char *schema, struct op_buf *out)
{
    struct op_err err = OP_ERR_INIT;
    struct op_json_out o;
    op_json_out_init(&o, out, 0);
    if (op_openai_schema(read_json(schema), "f:1", &o, &err))
        fail_msg("%s: %s", schema, err.msg);
}

#define OBJECT(properties) "{\"type\":\"object\",\"properties\":{" properties "}}"
#define ALL(properties)    "{\"type\":\"object\",\"properties\":{" properties "},\"required\":["
#define CLOSED             "],\"additionalProperties\":false"

static void test_written(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *want;
    } cases[] = {
        {OBJECT(""), ALL("") CLOSED "}"},
        /* keywords the API does not take go, the others stay */
        {"{\"$schema\":\"s\",\"$id\":\"i\",\"title\":\"T\",\"type\":\"object\",\"properties\":{"
         "\"a\":{\"type\":\"string\",\"minLength\":2,\"maxLength\":3,\"pattern\":\"x\","
         "\"format\":\"uri\",\"default\":\"d\",\"examples\":[]}},\"required\":[\"a\"],"
         "\"minProperties\":1,\"not\":{},\"if\":{},\"additionalProperties\":false}",
         "{\"title\":\"T\",\"type\":\"object\",\"properties\":{\"a\":{\"pattern\":\"x\",\"type\":"
         "\"string\"}},\"required\":[\"a\"" CLOSED "}"},
        {"{\"type\":\"object\",\"required\":[\"d\",\"n\"],\"properties\":{\"d\":{\"type\":"
         "\"string\",\"format\":\"date\"},\"n\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":5}"
         "}}",
         ALL("\"d\":{\"format\":\"date\",\"type\":\"string\"},\"n\":{\"minimum\":1,\"maximum\":5,"
             "\"type\":\"integer\"}") "\"d\",\"n\"" CLOSED "}"},
        /* an optional property may be null; one that takes null already stays as it is */
        {OBJECT("\"a\":{\"type\":\"string\"},\"b\":{\"type\":[\"string\",\"null\"]},"
                "\"c\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}"),
         ALL("\"a\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]},\"b\":{\"type\":["
             "\"string\",\"null\"]},\"c\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}") "\"a\",\"b\",\"c\"" CLOSED
                                                                                                    "}"},
        /* an enum that has no null does not take it, whatever the type says */
        {OBJECT("\"a\":{\"type\":[\"string\",\"null\"],\"enum\":[\"x\"]}"),
         ALL("\"a\":{\"anyOf\":[{\"type\":[\"string\",\"null\"],\"enum\":[\"x\"]},{\"type\":"
             "\"null\"}]}") "\"a\"" CLOSED "}"},
        /* types told by values */
        {"{\"properties\":{\"a\":{\"enum\":[\"x\",1,null]},\"b\":{\"const\":true}},\"required\":["
         "\"b\"]}",
         ALL("\"a\":{\"type\":[\"string\",\"number\",\"null\"],\"enum\":[\"x\",1,null]},\"b\":{"
             "\"const\":true,\"type\":[\"boolean\"]}") "\"a\",\"b\"" CLOSED "}"},
        /* oneOf and a single allOf go out as anyOf */
        {"{\"type\":\"object\",\"required\":[\"a\",\"b\"],\"properties\":{\"a\":{\"oneOf\":[{"
         "\"type\":\"string\"},{\"type\":\"integer\"}]},\"b\":{\"description\":\"D\",\"allOf\":[{"
         "\"$ref\":\"#/definitions/x\"}]}},\"definitions\":{\"x\":{\"type\":\"boolean\"}}}",
         ALL("\"a\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]},\"b\":{"
             "\"description\":\"D\",\"anyOf\":[{\"$ref\":\"#/$defs/x\"}]}") "\"a\",\"b\"" CLOSED
                                                                            ",\"$defs\":{\"x\":{\"type\":\"boolean\"}}}"},
        /* recursion, and a reference that stands alone */
        {"{\"type\":\"object\",\"required\":[\"kids\"],\"properties\":{\"kids\":{\"type\":\"array\""
         ",\"items\":{\"$ref\":\"#\",\"description\":\"gone\"},\"uniqueItems\":true,\"maxItems\":3"
         "},\"next\":{\"$ref\":\"#/$defs/n\"}},\"$defs\":{\"n\":{\"type\":[\"object\",\"null\"],"
         "\"properties\":{}}}}",
         ALL("\"kids\":{\"maxItems\":3,\"type\":\"array\",\"items\":{\"$ref\":\"#\"}},\"next\":{"
             "\"$ref\":\"#/$defs/n\"}") "\"kids\",\"next\"" CLOSED
                                        ",\"$defs\":{\"n\":{\"type\":[\"object\",\"null\"],\"properties\":{},\"required\":[" CLOSED
                                        "}}}"},
        /* branches that only narrow an object may go */
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"}},\"anyOf\":[{\"required\":["
         "\"a\"]}]}",
         ALL("\"a\":{\"type\":\"null\"}") "\"a\"" CLOSED "}"},
        /* a name that looks like a keyword */
        {OBJECT("\"properties\":{\"type\":\"null\"},\"~/\":{\"type\":\"null\"}"),
         ALL("\"properties\":{\"type\":\"null\"},\"~/\":{\"type\":\"null\"}") "\"properties\",\"~/\"" CLOSED
                                                                              "}"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        OP_CLEANUP(op_buf_release) struct op_buf out;
        op_buf_init(&out, 1 << 20);
        write(cases[i].schema, &out);
        assert_string_equal(out.ptr, cases[i].want);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *pointer, *mention;
    } cases[] = {
        {"true", "\"\"", "object at the root"},
        {"{\"type\":\"array\",\"items\":{\"type\":\"string\"}}", "\"\"", "object at the root"},
        {"{\"anyOf\":[{\"type\":\"object\"}]}", "\"\"", "object at the root"},
        {"{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"type\":\"object\"}}}", "\"\"",
         "object at the root"},
        {"{\"type\":\"object\"}", "\"\"", "free names"},
        {OBJECT("\"a\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}"),
         "\"/properties/a\"", "free names"},
        {OBJECT("\"a\":{\"properties\":{},\"additionalProperties\":true}"), "\"/properties/a\"",
         "free names"},
        {OBJECT("\"a\":{\"properties\":{},\"patternProperties\":{}}"), "\"/properties/a\"",
         "free names"},
        {OBJECT("\"a/b\":{}"), "\"/properties/a~1b\"", "say its type"},
        {OBJECT("\"a\":true"), "\"/properties/a\"", "say its type"},
        {OBJECT("\"a\":false"), "\"/properties/a\"", "schema 'false'"},
        {OBJECT("\"a\":{\"type\":\"array\"}"), "\"/properties/a\"", "\"items\""},
        {OBJECT("\"a\":{\"type\":\"array\",\"prefixItems\":[{}],\"items\":{}}"),
         "\"/properties/a\"", "tuple"},
        {OBJECT("\"a\":{\"type\":\"array\",\"items\":{}}"), "\"/properties/a/items\"",
         "say its type"},
        {OBJECT("\"a\":{\"anyOf\":[{\"type\":\"null\"},{}]}"), "\"/properties/a/anyOf/1\"",
         "say its type"},
        {OBJECT("\"a\":{\"allOf\":[{\"properties\":{}},{\"properties\":{}}]}"),
         "\"/properties/a\"", "cannot be closed"},
        {"{\"type\":\"object\",\"properties\":{},\"anyOf\":[{\"properties\":{}}]}", "\"\"",
         "cannot be closed"},
        {OBJECT("\"a\":{\"$ref\":\"#/$defs/none\"}"), "\"/properties/a\"", "points to nothing"},
        {OBJECT("\"a\":{\"$ref\":\"other.json\"}"), "\"/properties/a\"", "points to nothing"},
        {OBJECT("\"a\":{\"type\":\"string\"},\"b\":{\"$ref\":\"#/properties/a\"}"),
         "\"/properties/b\"", "under \"$defs\""},
        {OBJECT("\"a\":{\"enum\":[[1]]}"), "\"/properties/a\"", "enum"},
        {"{\"type\":\"object\",\"properties\":{},\"required\":[\"x\"]}", "\"\"",
         "required names 'x'"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        OP_CLEANUP(op_buf_release) struct op_buf out;
        op_buf_init(&out, 1 << 20);
        struct op_json_out o;
        op_json_out_init(&o, &out, 0);
        if (op_openai_schema(read_json(cases[i].schema), "dir/f.json", &o, &err) != OP_INVAL)
            fail_msg("accepted: %s", cases[i].schema);
        assert_mentions(err.msg, "dir/f.json: answer schema at ");
        assert_mentions(err.msg, cases[i].pointer);
        assert_mentions(err.msg, cases[i].mention);
    }
}

/* The ceilings: 5,000 properties and 1,000 enum values go, one more does not. */
static void test_ceilings(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        for (int kind = 0; kind < 2; kind++) {
            OP_CLEANUP(op_buf_release) struct op_buf schema, out;
            op_buf_init(&schema, 1 << 20);
            op_buf_init(&out, 1 << 20);
            op_buf_addz(&schema, "{\"type\":\"object\",\"properties\":{");
            int count = (kind ? 1000 : 5000) + over;
            for (int i = 0; i < count; i++)
                op_buf_addf(&schema, kind ? "%s%d" : "%s\"p%d\":{\"type\":\"null\"}",
                            i      ? ","
                            : kind ? "\"a\":{\"type\":\"null\",\"enum\":["
                                   : "",
                            i);
            op_buf_addz(&schema, kind ? "]}}}" : "}}");
            struct op_err err = OP_ERR_INIT;
            struct op_json_out o;
            op_json_out_init(&o, &out, 0);
            enum op_rc rc = op_openai_schema(read_json(schema.ptr), "f", &o, &err);
            assert_int_equal(rc, over ? OP_INVAL : OP_OK);
            if (over)
                assert_mentions(err.msg, "at most");
        }
    }
}

/* Answers that the full schema takes, with null for what they leave out, fit what was sent. */
static void test_loosens(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *answer;
    } cases[] = {
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"minLength\":2},\"b\":{"
         "\"type\":\"integer\",\"minimum\":1}},\"required\":[\"a\"]}",
         "{\"a\":\"xy\",\"b\":null}"},
        {"{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{\"oneOf\":[{\"type\":"
         "\"number\",\"multipleOf\":2},{\"type\":\"number\",\"multipleOf\":3}]}}}",
         "{\"a\":4}"},
        {"{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}"
         "}}}",
         "{\"k\":[{\"k\":null},{\"k\":[]}]}"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        OP_CLEANUP(op_buf_release) struct op_buf out;
        op_buf_init(&out, 1 << 20);
        write(cases[i].schema, &out);
        OP_CLEANUP(op_schema_freep) struct op_schema *sent = NULL;
        struct op_schema_options options = {0};
        if (op_schema_compile(read_json(out.ptr), "sent", &options, &sent, &err))
            fail_msg("%s: %s", out.ptr, err.msg);
        assert_int_equal(op_schema_check(sent, read_json(cases[i].answer), 1, NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ceilings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_loosens, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
