/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: an answer schema as Gemini's responseSchema takes it.
 * Oracle:    the API's Schema object (its OpenAPI description): golden pairs written from it, and for
 *            what it cannot say the JSON pointer of the place and how to mend it.
 */
#include "base/json_out.h"
#include "provider/gemini/gemini.h"
#include "support.h"

static enum op_rc convert(const char *schema, struct op_buf *text, struct op_err *err)
{
    struct op_json_out out;
    op_json_out_init(&out, text, 0);
    return op_gemini_schema(read_json(schema), "p.yaml:3", &out, err);
}

#define OBJ(properties, names) \
    "{\"type\":\"OBJECT\",\"properties\":{" properties "},\"propertyOrdering\":[" names "]}"

static void test_subset(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"{\"type\":\"string\"}", "{\"type\":\"STRING\"}"},
        {"{\"$schema\":\"x\",\"$id\":\"y\",\"type\":\"object\",\"title\":\"t\",\"required\":[\"b\"],"
         "\"additionalProperties\":false,\"properties\":{\"b\":{\"type\":\"integer\",\"minimum\":1,"
         "\"exclusiveMaximum\":9,\"multipleOf\":2},\"a\":{\"type\":\"number\",\"maximum\":0.5}}}",
         "{\"type\":\"OBJECT\",\"title\":\"t\",\"properties\":{\"b\":{\"type\":\"INTEGER\","
         "\"minimum\":1},\"a\":{\"type\":\"NUMBER\",\"maximum\":0.5}},\"required\":[\"b\"],"
         "\"propertyOrdering\":[\"b\",\"a\"]}"},
        {"{\"type\":\"string\",\"minLength\":1,\"maxLength\":5,\"pattern\":\"^a\",\"format\":"
         "\"email\",\"default\":\"x\",\"examples\":[1]}",
         "{\"type\":\"STRING\",\"minLength\":\"1\",\"maxLength\":\"5\"}"},
        {"{\"type\":\"string\",\"format\":\"date-time\"}",
         "{\"type\":\"STRING\",\"format\":\"date-time\"}"},
        {"{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"minItems\":2,\"maxItems\":3,"
         "\"uniqueItems\":true}",
         "{\"type\":\"ARRAY\",\"minItems\":\"2\",\"maxItems\":\"3\",\"items\":{\"type\":"
         "\"BOOLEAN\"}}"},
        {"{\"enum\":[\"a\",\"b\"]}", "{\"type\":\"STRING\",\"enum\":[\"a\",\"b\"]}"},
        {"{\"enum\":[\"a\",null]}", "{\"type\":\"STRING\",\"nullable\":true,\"enum\":[\"a\"]}"},
        /* Only texts can be listed: anything else is loosened to its type. */
        {"{\"enum\":[1,2]}", "{\"type\":\"INTEGER\"}"},
        {"{\"enum\":[\"a\",\"\"]}", "{\"type\":\"STRING\"}"},
        {"{\"enum\":[\"a\",1]}", "{\"anyOf\":[{\"type\":\"STRING\"},{\"type\":\"INTEGER\"}]}"},
        {"{\"const\":\"x\"}", "{\"type\":\"STRING\",\"enum\":[\"x\"]}"},
        {"{\"const\":1.5}", "{\"type\":\"NUMBER\"}"},
        {"{\"const\":true}", "{\"type\":\"BOOLEAN\"}"},
        {"{\"type\":\"null\"}", "{\"type\":\"NULL\"}"},
        {"{\"type\":[\"string\",\"null\"],\"description\":\"d\"}",
         "{\"type\":\"STRING\",\"nullable\":true,\"description\":\"d\"}"},
        {"{\"type\":[\"string\",\"integer\",\"null\"],\"minLength\":1,\"minimum\":3}",
         "{\"anyOf\":[{\"type\":\"STRING\",\"minLength\":\"1\"},{\"type\":\"INTEGER\",\"minimum\":3}],"
         "\"nullable\":true}"},
        {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}],\"description\":\"d\","
         "\"default\":null}",
         "{\"type\":\"STRING\",\"nullable\":true,\"description\":\"d\"}"},
        {"{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}],\"not\":{}}",
         "{\"anyOf\":[{\"type\":\"STRING\"},{\"type\":\"INTEGER\"}]}"},
        {"{\"anyOf\":[{\"const\":null},{\"type\":\"string\"},{\"type\":\"integer\"}]}",
         "{\"anyOf\":[{\"type\":\"STRING\"},{\"type\":\"INTEGER\"}],\"nullable\":true}"},
        /* Conditions on one object are left out. */
        {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"anyOf\":"
         "[{\"required\":[\"a\"]}]}",
         OBJ("\"a\":{\"type\":\"STRING\"}", "\"a\"")},
        /* References are written out, allOf is put together. */
        {"{\"properties\":{\"a\":{\"$ref\":\"#/$defs/x\",\"description\":\"mine\"}},\"$defs\":"
         "{\"x\":{\"type\":\"integer\",\"description\":\"its\",\"minimum\":0}}}",
         OBJ("\"a\":{\"type\":\"INTEGER\",\"description\":\"mine\",\"minimum\":0}", "\"a\"")},
        {"{\"properties\":{\"a\":{\"$ref\":\"#/$defs/x\"},\"b\":{\"$ref\":\"#/$defs/x\"}},"
         "\"$defs\":{\"x\":{\"type\":\"boolean\"}}}",
         OBJ("\"a\":{\"type\":\"BOOLEAN\"},\"b\":{\"type\":\"BOOLEAN\"}", "\"a\",\"b\"")},
        {"{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]},"
         "{\"properties\":{\"b\":{\"type\":\"string\"},\"a\":{}}}]}",
         "{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"type\":\"STRING\"},\"b\":{\"type\":"
         "\"STRING\"}},\"required\":[\"a\"],\"propertyOrdering\":[\"a\",\"b\"]}"},
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
        {"{}", "at \"\"", "needs a type"},
        {"true", "at \"\"", "needs a type"},
        {"false", "at \"\"", "'false'"},
        {"{\"properties\":{\"a/b~\":false}}", "at \"/properties/a~1b~0\"", "'false'"},
        {"{\"properties\":{\"a\":7}}", "at \"/properties/a\"", "must be an object"},
        {"{\"type\":\"object\"}", "at \"\"", "free names"},
        {"{\"properties\":{\"a\":{\"type\":\"object\",\"properties\":{}}}}",
         "at \"/properties/a\"", "free names"},
        {"{\"properties\":{\"a\":{\"type\":\"string\"}},\"additionalProperties\":true}",
         "at \"\"", "list the properties"},
        {"{\"properties\":{\"a\":{\"type\":\"string\"}},\"patternProperties\":{}}", "at \"\"",
         "free names"},
        {"{\"type\":\"array\"}", "at \"\"", "items"},
        {"{\"type\":\"array\",\"items\":true}", "at \"\"", "items"},
        {"{\"type\":\"array\",\"items\":{}}", "at \"/items\"", "needs a type"},
        {"{\"type\":\"array\",\"prefixItems\":[{}]}", "at \"\"", "by position"},
        {"{\"anyOf\":[{\"type\":\"string\"},{}]}", "at \"/anyOf/1\"", "needs a type"},
        {"{\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"b\"]}", "at \"\"",
         "'b'"},
        {"{\"properties\":{\"a\":{\"type\":\"string\"}},\"oneOf\":[{\"required\":[\"a\"]},"
         "{\"properties\":{\"b\":{}}}]}",
         "at \"/oneOf/1\"", "one object"},
        {"{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"string\"}},\"additionalProperties\":false},"
         "{\"properties\":{\"b\":{\"type\":\"string\"}}}]}",
         "at \"/allOf/0\"", "one object"},
        {"{\"$ref\":\"http://x/y\"}", "at \"/$ref\"", "points to nothing"},
        {"{\"$ref\":\"#/$defs/x\"}", "at \"/$ref\"", "points to nothing"},
        {"{\"$ref\":7}", "at \"/$ref\"", "points to nothing"},
        {"{\"properties\":{\"a\":{\"$ref\":\"#\"}}}", "at \"/properties/a/$ref\"", "recursive"},
        {"{\"properties\":{\"n\":{\"$ref\":\"#/$defs/n\"}},\"$defs\":{\"n\":{\"properties\":{"
         "\"kids\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/n\"}}}}}}",
         "at \"/$defs/n/properties/kids/items/$ref\"", "recursive"},
        {"{\"allOf\":[{\"$ref\":\"#\"}]}", "at \"/allOf/0/$ref\"", "recursive"},
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

/* References written out nest and grow beyond their document: both end with a reason. */
static void test_growth(void **state)
{
    (void)state;
    static const char *const ends[] = {"too large", "too deeply"};
    for (int width = 1; width <= 2; width++) {
        OP_CLEANUP(op_buf_release) struct op_buf in;
        OP_CLEANUP(op_buf_release) struct op_buf out;
        op_buf_init(&in, 1 << 20);
        op_buf_init(&out, 1 << 16);
        op_buf_addz(&in, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{");
        for (int i = 0; i < 40; i++) {
            op_buf_addf(&in, "\"d%d\":{\"properties\":{\"a\":{\"$ref\":\"#/$defs/d%d\"}", i,
                        i + 1);
            if (width == 2)
                op_buf_addf(&in, ",\"b\":{\"$ref\":\"#/$defs/d%d\"}", i + 1);
            op_buf_addz(&in, "}},");
        }
        op_buf_addz(&in, "\"d40\":{\"type\":\"string\"}}}");
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(convert(in.ptr, &out, &err), OP_INVAL);
        assert_true(strstr(err.msg, ends[0]) || strstr(err.msg, ends[1]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_subset, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_growth, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
