/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: JSON Schema 2020-12: compile errors with place and suggestion, validity, messages,
 *            and bounds on recursion and work.
 * Oracle:    the official test suite (all of draft2020-12, its optional formats with assertion
 *            on, and the optional files that concern us); literal texts for messages. What the
 *            suite has and we refuse at compile time is counted with the reason, per file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/json.h"
#include "base/mem.h"
#include "core/schema.h"

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(op_mem_live(), 0);
    return 0;
}

static bool read_file(const char *path, struct op_buf *buf)
{
    char block[65536];
    size_t n;
    FILE *file = fopen(path, "rb");

    op_buf_clear(buf);
    if (!file)
        return false;
    while ((n = fread(block, 1, sizeof(block), file)) > 0)
        op_buf_add(buf, block, n);
    fclose(file);
    return true;
}

struct suite_file {
    const char *name;
    /* A test or group of tests that needs what we leave out. */
    const char *left_out, *reason;
};

struct tally {
    size_t passed, failed, skipped;
    char reasons[1000];
};

/* The compile errors that say "we do not have this". */
static bool is_refusal(const char *message)
{
    return strstr(message, "is outside of this document") != NULL ||
           strstr(message, "this keyword is not supported") != NULL ||
           strstr(message, "this dialect is not supported") != NULL;
}

static void add_reason(struct tally *tally, const char *reason)
{
    size_t len = strlen(tally->reasons);

    if (!strstr(tally->reasons, reason))
        snprintf(tally->reasons + len, sizeof(tally->reasons) - len, "%s%s", len ? "; " : "",
                 reason);
}

static void run_group(const struct suite_file *file, struct op_json group, bool formats,
                      struct tally *tally)
{
    struct op_schema_options options = {.assert_format = formats, .allow_unknown = true};
    struct op_schema *schema OP_CLEANUP(op_schema_freep) = NULL;
    struct op_json tests = op_json_get(group, "tests");
    struct op_json_iter it = op_json_iter(tests);
    struct op_err err = OP_ERR_INIT;
    struct op_buf list;

    if (op_schema_compile(op_json_get(group, "schema"), "suite", &options, &schema, &err)) {
        if (is_refusal(err.msg)) {
            const char *why = strstr(err.msg, "outside")   ? "refers to another document"
                              : strstr(err.msg, "dialect") ? "custom $schema"
                                                           : "$dynamicRef or $vocabulary";
            add_reason(tally, why);
            tally->skipped += op_json_count(tests);
            return;
        }
        print_error("%s: %s\n", file->name, err.msg);
        tally->failed += op_json_count(tests);
        return;
    }
    op_buf_init(&list, 1 << 20);
    while (op_json_next(&it)) {
        struct op_str name = op_json_str(op_json_get(it.value, "description"));
        if (file->left_out &&
            (op_str_is(name, file->left_out) ||
             op_str_is(op_json_str(op_json_get(group, "description")), file->left_out))) {
            add_reason(tally, file->reason);
            tally->skipped++;
            continue;
        }
        bool expected = op_json_bool(op_json_get(it.value, "valid"), false);
        op_buf_clear(&list);
        struct op_json data = op_json_get(it.value, "data");
        size_t quiet = op_schema_check(schema, data, 0, NULL);
        size_t bad = op_schema_check(schema, data, 100, &list);
        if ((bad == 0) == expected && bad == quiet && (bad == 0) == (list.len == 0)) {
            tally->passed++;
            continue;
        }
        tally->failed++;
        print_error("%s | %.*s | %.*s: %zu violations, %zu without a list, expected %s\n%s",
                    file->name, OP_STR_ARG(op_json_str(op_json_get(group, "description"))),
                    OP_STR_ARG(name), bad, quiet, expected ? "valid" : "invalid", list.ptr);
    }
    op_buf_release(&list);
}

/* False when there is no such file. */
static bool run_file(const struct suite_file *file, const char *folder, bool formats,
                     struct tally *total)
{
    struct op_json_parser *parser = op_json_parser_new();
    struct op_err err = OP_ERR_INIT;
    struct tally tally = {0};
    struct op_json root = {0};
    struct op_json_iter it;
    struct op_buf buf;
    char path[4096];

    op_buf_init(&buf, 16 << 20);
    snprintf(path, sizeof(path), "%s/suites/json-schema/tests/draft2020-12/%s%s.json",
             OP_SHARED_DIR, folder, file->name);
    bool there = read_file(path, &buf);
    if (there) {
        assert_int_equal(op_json_parse(parser, buf.ptr, buf.len, true, &root, &err), OP_OK);
        it = op_json_iter(root);
        while (op_json_next(&it))
            run_group(file, it.value, formats, &tally);
        print_message("%s%s: %zu passed", folder, file->name, tally.passed);
        if (tally.failed > 0)
            print_message(", %zu FAILED", tally.failed);
        if (tally.skipped > 0)
            print_message(", %zu skipped (%s)", tally.skipped, tally.reasons);
        print_message("\n");
    }
    op_buf_release(&buf);
    op_json_parser_free(parser);
    total->passed += tally.passed;
    total->failed += tally.failed;
    total->skipped += tally.skipped;
    return there;
}

static void run_files(const struct suite_file *files, size_t count, const char *folder,
                      bool formats)
{
    struct tally total = {0};

    for (size_t i = 0; i < count; i++)
        if (!run_file(&files[i], folder, formats, &total))
            skip();
    print_message("total: %zu passed, %zu skipped\n", total.passed, total.skipped);
    assert_int_equal(total.failed, 0);
    assert_true(total.passed > 0);
}

static void test_suite(void **state)
{
    static const struct suite_file files[] = {
        {.name = "additionalProperties"},
        {.name = "allOf"},
        {.name = "anchor"},
        {.name = "anyOf"},
        {.name = "boolean_schema"},
        {.name = "const"},
        {.name = "contains"},
        {.name = "content"},
        {.name = "default"},
        {.name = "defs"},
        {.name = "dependentRequired"},
        {.name = "dependentSchemas"},
        {.name = "dynamicRef"},
        {.name = "enum"},
        {.name = "exclusiveMaximum"},
        {.name = "exclusiveMinimum"},
        {.name = "format"},
        {.name = "if-then-else"},
        {.name = "infinite-loop-detection"},
        {.name = "items"},
        {.name = "maxContains"},
        {.name = "maxItems"},
        {.name = "maxLength"},
        {.name = "maxProperties"},
        {.name = "maximum"},
        {.name = "minContains"},
        {.name = "minItems"},
        {.name = "minLength"},
        {.name = "minProperties"},
        {.name = "minimum"},
        {.name = "multipleOf"},
        {.name = "not"},
        {.name = "oneOf"},
        {.name = "pattern"},
        {.name = "patternProperties"},
        {.name = "prefixItems"},
        {.name = "properties"},
        {.name = "propertyNames"},
        {.name = "ref"},
        {.name = "refRemote"},
        {.name = "required"},
        {.name = "type"},
        {.name = "unevaluatedItems"},
        {.name = "unevaluatedProperties"},
        {.name = "uniqueItems"},
        {.name = "vocabulary"},
    };

    (void)state;
    run_files(files, OP_COUNT(files), "", false);
}

static void test_suite_optional(void **state)
{
    static const struct suite_file files[] = {
        {.name = "anchor"},
        {.name = "bignum"},
        {.name = "ecmascript-regex"},
        {.name = "float-overflow"},
        {.name = "id"},
        {.name = "no-schema"},
        {.name = "non-bmp-regex"},
        {.name = "refOfUnknownKeyword"},
        {.name = "unknownKeyword"},
    };

    (void)state;
    run_files(files, OP_COUNT(files), "optional/", true);
}

static void test_suite_formats(void **state)
{
    static const struct suite_file files[] = {
        {.name = "date-time"},
        {.name = "date"},
        {.name = "duration"},
        {.name = "ecmascript-regex",
         .left_out = "a variable-width lookbehind (ES2018)",
         .reason = "PCRE2 has no lookbehind of variable width"},
        {.name = "email"},
        {.name = "hostname",
         .left_out = "validation of A-label (punycode) host names",
         .reason = "what an A-label decodes to is not checked"},
        {.name = "ipv4"},
        {.name = "ipv6"},
        {.name = "json-pointer"},
        {.name = "regex"},
        {.name = "relative-json-pointer"},
        {.name = "time"},
        {.name = "unknown"},
        {.name = "uri-reference"},
        {.name = "uri"},
        {.name = "uuid"},
    };

    (void)state;
    run_files(files, OP_COUNT(files), "optional/format/", true);
}

static struct op_json parse(struct op_json_parser *parser, const char *text)
{
    struct op_err err = OP_ERR_INIT;
    struct op_json v = {0};

    if (op_json_parse(parser, text, strlen(text), false, &v, &err))
        fail_msg("%s: %s", text, err.msg);
    return v;
}

static void test_compile_errors(void **state)
{
    static const struct {
        const char *schema, *message;
    } cases[] = {
        {"[]", "s.json#: expected a schema (an object, true or false), found array"},
        {"{\"requird\":[]}",
         "s.json#/requird: 'requird' is not a keyword of JSON Schema; did you mean 'required'?"},
        {"{\"properties\":{\"a/b\":{\"x-y-z-w\":1}}}",
         "s.json#/properties/a~1b/x-y-z-w: 'x-y-z-w' is not a keyword of JSON Schema"},
        {"{\"type\":\"strin\"}",
         "s.json#/type: there is no type 'strin': expected one of null"},
        {"{\"type\":[]}", "s.json#/type: expected one of"},
        {"{\"type\":[\"null\",7]}", "s.json#/type: expected one of"},
        {"{\"enum\":1}", "s.json#/enum: expected an array"},
        {"{\"minLength\":-1}", "s.json#/minLength: expected a whole number, 0 or above"},
        {"{\"minLength\":1.5}", "s.json#/minLength: expected a whole number"},
        {"{\"minimum\":\"1\"}", "s.json#/minimum: expected a number"},
        {"{\"multipleOf\":0}", "s.json#/multipleOf: expected a number above 0"},
        {"{\"required\":\"a\"}", "s.json#/required: expected an array of names"},
        {"{\"required\":[1]}", "s.json#/required: expected an array of names"},
        {"{\"pattern\":\"(\"}", "s.json#/pattern: '(' is not a regular expression: missing"},
        {"{\"patternProperties\":{\"[\":true}}", "is not a regular expression"},
        {"{\"uniqueItems\":1}", "s.json#/uniqueItems: expected true or false"},
        {"{\"items\":[true]}", "s.json#/items: expected a schema"},
        {"{\"anyOf\":[]}", "s.json#/anyOf: expected an array of schemas, at least one"},
        {"{\"anyOf\":[true,5]}", "s.json#/anyOf/1: expected a schema"},
        {"{\"properties\":[]}", "s.json#/properties: expected an object"},
        {"{\"title\":1}", "s.json#/title: expected a string"},
        {"{\"$ref\":\"#/$defs/x\"}", "s.json#/$ref: '#/$defs/x' points to nothing"},
        {"{\"$ref\":\"#/title\",\"title\":\"t\"}", "to something that is not a schema"},
        {"{\"$ref\":\"#x\"}", "s.json#/$ref: '#x' names no $anchor of this document"},
        {"{\"$ref\":\"https://example.com/x\"}", "is outside of this document"},
        {"{\"$dynamicRef\":\"#x\"}", "s.json#/$dynamicRef: this keyword is not supported"},
        {"{\"$schema\":\"https://example.com/m\"}", "this dialect is not supported"},
        {"{\"$ref\":\"#\"}", "refers back to itself for the same value"},
        {"{\"$defs\":{\"a\":{\"allOf\":[{\"$ref\":\"#/$defs/b\"}]},"
         "\"b\":{\"not\":{\"$ref\":\"#/$defs/a\"}}}}",
         "refers back to itself for the same value"},
        {"{\"$defs\":{\"a\":{\"$anchor\":\"n\"},\"b\":{\"$anchor\":\"n\"}}}",
         "s.json#/$defs/b/$anchor: the name 'n' is taken"},
    };
    struct op_schema_options options = {0};

    (void)state;
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_json_parser *parser = op_json_parser_new();
        struct op_schema *schema = NULL;
        struct op_err err = OP_ERR_INIT;
        enum op_rc rc = op_schema_compile(parse(parser, cases[i].schema), "s.json", &options,
                                          &schema, &err);
        if (rc != OP_INVAL || schema || !strstr(err.msg, cases[i].message))
            fail_msg("%s: %d %s", cases[i].schema, rc, err.msg);
        op_json_parser_free(parser);
    }
}

/* Compiles schema and gives the lines for value. */
static size_t check(const char *schema_text, const char *value, size_t max, struct op_buf *list)
{
    struct op_schema_options options = {.assert_format = true};
    struct op_json_parser *parser = op_json_parser_new();
    struct op_schema *schema = NULL;
    struct op_err err = OP_ERR_INIT;
    size_t bad;

    if (op_schema_compile(parse(parser, schema_text), "s.json", &options, &schema, &err))
        fail_msg("%s: %s", schema_text, err.msg);
    /* the document may go: the parser is used again */
    bad = op_schema_check(schema, parse(parser, value), max, list);
    op_schema_free(schema);
    op_json_parser_free(parser);
    return bad;
}

static const char form[] =
    "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"label\",\"items\"],"
    "\"properties\":{\"label\":{\"enum\":[\"low\",\"high\",null]},"
    "\"when\":{\"type\":[\"string\",\"null\"],\"format\":\"date\"},"
    "\"items\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"$ref\":\"#/$defs/item\"}}},"
    "\"$defs\":{\"item\":{\"type\":\"object\",\"properties\":{"
    "\"confidence\":{\"type\":\"number\",\"minimum\":0,\"maximum\":1},"
    "\"code\":{\"type\":\"string\",\"pattern\":\"^[A-Z]+$\",\"maxLength\":3}}}}}";

static void test_messages(void **state)
{
    static const struct {
        const char *schema, *value, *lines;
    } cases[] = {
        {form, "{\"label\":\"low\",\"items\":[{\"confidence\":0.5,\"code\":\"AB\"}]}", ""},
        {form, "{\"label\":\"low\",\"items\":[{\"confidence\":95}]}",
         "/items/0/confidence: 95 is greater than the maximum 1\n"},
        {form, "[1]", "(root): [1] is array, expected object\n"},
        {form, "{\"label\":\"lo\",\"items\":[],\"x\":1,\"when\":\"2024-02-30\"}",
         "/label: \"lo\" is not one of \"low\", \"high\", null\n"
         "/items: has 0 items, fewer than the minimum 1\n"
         "(root): the member 'x' is not allowed; allowed are 'label', 'when', 'items'\n"
         "/when: \"2024-02-30\" is not a valid date\n"},
        {form, "{\"items\":[{\"code\":\"ABCDe\"},{\"confidence\":\"1\"}],\"when\":1}",
         "(root): the member 'label' is missing\n"
         "/items/0/code: has 5 characters, more than the maximum 3\n"
         "/items/0/code: \"ABCDe\" does not match the pattern ^[A-Z]+$\n"
         "/items/1/confidence: \"1\" is string, expected number\n"
         "/when: 1 is number, expected null or string\n"},
        {"{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"object\",\"required\":[\"a\"],"
         "\"properties\":{\"a\":{\"minimum\":3}}}]}",
         "{\"a\":1}",
         "(root): matches none of the 2 alternatives; the nearest is number 2, but /a: 1 is less "
         "than the minimum 3\n"},
        {"{\"oneOf\":[{\"minimum\":1},{\"maximum\":5}]}", "3",
         "(root): matches the alternatives 1 and 2, but only one may match\n"},
        {"{\"not\":{\"const\":1}}", "1", "(root): 1 is what 'not' excludes: {\"const\":1}\n"},
        {"{\"properties\":{\"a/b\":{\"uniqueItems\":true}}}", "{\"a/b\":[1,2,1.0]}",
         "/a~1b: items 0 and 2 are equal\n"},
        {"{\"dependentRequired\":{\"a\":[\"b\"]}}", "{\"a\":1}",
         "(root): the member 'b' is missing, which 'a' requires\n"},
        {"{\"contains\":{\"const\":7},\"minContains\":2}", "[7,8]",
         "(root): has 1 item as {\"const\":7} says, expected at least 2\n"},
        {"{\"propertyNames\":{\"maxLength\":1}}", "{\"ab\":1}",
         "/ab: has 2 characters, more than the maximum 1\n"},
        {"{\"properties\":{\"a\":{\"type\":\"integer\"}},\"unevaluatedProperties\":false}",
         "{\"a\":\"x\",\"b\":1}", "/a: \"x\" is string, expected integer\n"},
        {"{\"exclusiveMinimum\":0,\"multipleOf\":0.1}", "-0.25",
         "(root): -0.25 is not greater than 0\n(root): -0.25 is not a multiple of 0.1\n"},
        {"{\"const\":[1]}",
         "\"0123456789012345678901234567890123456789012345678901234567890123456789012345678"
         "\u00e9 and so on\"",
         "(root): \"0123456789012345678901234567890123456789012345678901234567890123456789012345"
         "678... is not [1]\n"},
        {"false", "1", "(root): is not allowed here\n"},
        {"{\"minimum\":9007199254740993}", "9007199254740992",
         "(root): 9007199254740992 is less than the minimum 9007199254740993\n"},
    };
    struct op_buf list;

    (void)state;
    op_buf_init(&list, 1 << 20);
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        size_t lines = 0;
        op_buf_clear(&list);
        size_t bad = check(cases[i].schema, cases[i].value, 100, &list);
        assert_string_equal(list.ptr, cases[i].lines);
        for (const char *p = list.ptr; (p = strchr(p, '\n')); p++)
            lines++;
        assert_int_equal(bad, lines);
    }
    op_buf_release(&list);
}

static void test_listed_count(void **state)
{
    struct op_buf list;

    (void)state;
    op_buf_init(&list, 1 << 20);
    assert_int_equal(check("{\"items\":{\"type\":\"null\"}}", "[1,2,3,null]", 2, &list), 3);
    assert_string_equal(list.ptr, "/0: 1 is number, expected null\n/1: 2 is number, expected "
                                  "null\n");
    op_buf_release(&list);
}

static void test_many_members_and_items(void **state)
{
    struct op_buf schema, value;

    (void)state;
    op_buf_init(&schema, 1 << 20);
    op_buf_init(&value, 1 << 20);
    op_buf_addz(&schema, "{\"additionalProperties\":false,\"properties\":{");
    op_buf_addc(&value, '{');
    for (int i = 0; i < 100; i++) {
        op_buf_addf(&schema, "%s\"m%d\":{\"const\":%d}", i ? "," : "", i, i);
        op_buf_addf(&value, "%s\"m%d\":%d", i ? "," : "", i, i == 50 ? 51 : i);
    }
    op_buf_addz(&schema, "}}");
    op_buf_addz(&value, ",\"m100\":1}");
    assert_int_equal(check(schema.ptr, value.ptr, 0, NULL), 2);
    op_buf_clear(&value);
    for (int i = 0; i < 5000; i++)
        op_buf_addf(&value, "%c{\"a\":%d,\"b\":[1.0]}", i ? ',' : '[', i);
    op_buf_addz(&value, ",{\"b\":[1],\"a\":4999.0}]");
    op_buf_clear(&schema);
    assert_int_equal(check("{\"uniqueItems\":true}", value.ptr, 5, &schema), 1);
    assert_string_equal(schema.ptr, "(root): items 4999 and 5000 are equal\n");
    op_buf_release(&schema);
    op_buf_release(&value);
}

/* Recursion that goes deeper into the value is fine, whatever its form. */
static void test_recursive_schema(void **state)
{
    static const char tree[] =
        "{\"$defs\":{\"node\":{\"type\":\"object\",\"required\":[\"v\"],\"properties\":{"
        "\"v\":{\"type\":\"integer\"},\"kids\":{\"type\":\"array\",\"items\":{\"$ref\":"
        "\"#/$defs/node\"}}}}},\"$ref\":\"#/$defs/node\"}";
    struct op_buf list;

    (void)state;
    op_buf_init(&list, 1 << 20);
    assert_int_equal(
        check(tree, "{\"v\":1,\"kids\":[{\"v\":2,\"kids\":[{\"v\":\"x\"}]},{}]}", 10, &list),
        2);
    assert_string_equal(list.ptr, "/kids/0/kids/0/v: \"x\" is string, expected integer\n"
                                  "/kids/1: the member 'v' is missing\n");
    op_buf_release(&list);
}

/* Two ways into each level of a deep value would be 2^60 evaluations; a pattern that backtracks
 * without end is stopped too. */
static void test_bounded_work(void **state)
{
    static const char doubling[] = "{\"$defs\":{\"n\":{\"allOf\":[{\"items\":{\"$ref\":"
                                   "\"#/$defs/n\"}},{\"items\":{\"$ref\":\"#/$defs/n\"}}]}},"
                                   "\"$ref\":\"#/$defs/n\"}";
    struct op_buf value, list;

    (void)state;
    op_buf_init(&value, 1 << 20);
    op_buf_init(&list, 1 << 20);
    for (int i = 0; i < 60; i++)
        op_buf_addc(&value, '[');
    for (int i = 0; i < 60; i++)
        op_buf_addc(&value, ']');
    assert_true(check(doubling, value.ptr, 5, &list) > 0);
    assert_non_null(strstr(list.ptr, "too intricate"));
    op_buf_clear(&list);
    op_buf_clear(&value);
    op_buf_addc(&value, '"');
    for (int i = 0; i < 5000; i++)
        op_buf_addc(&value, 'a');
    op_buf_addz(&value, "!\"");
    assert_int_equal(check("{\"pattern\":\"^(a|aa)+$\"}", value.ptr, 5, &list), 1);
    assert_non_null(strstr(list.ptr, "takes too long to match the pattern ^(a|aa)+$"));
    op_buf_release(&value);
    op_buf_release(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_suite, tear_down),
        cmocka_unit_test_teardown(test_suite_optional, tear_down),
        cmocka_unit_test_teardown(test_suite_formats, tear_down),
        cmocka_unit_test_teardown(test_compile_errors, tear_down),
        cmocka_unit_test_teardown(test_messages, tear_down),
        cmocka_unit_test_teardown(test_listed_count, tear_down),
        cmocka_unit_test_teardown(test_many_members_and_items, tear_down),
        cmocka_unit_test_teardown(test_recursive_schema, tear_down),
        cmocka_unit_test_teardown(test_bounded_work, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
