/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: from a result's text to a checked answer: JSON as it is, taken out of fences and
 *            prose, violations listed, text without a schema left alone.
 * Oracle:    a table of texts as models write them, with the answer's bytes and the violations.
 */
#include "base/json.h"
#include "pipeline/answer.h"
#include "support.h"

#define GOOD "{\"label\": \"bug\", \"n\": 2}"

static const struct {
    const char *text, *answer;
    bool mended;
    size_t violations;
    const char *list; /* how the list begins */
} table[] = {
    {GOOD, GOOD, false, 0, ""},
    {" \n" GOOD "\n ", GOOD, false, 0, ""},
    {"```json\n" GOOD "\n```", GOOD, true, 0, ""},
    {"```\n" GOOD "\n```\n", GOOD, true, 0, ""},
    {"```json\n" GOOD, GOOD, true, 0, ""},
    {"Here it is:\n\n```json\n" GOOD "\n```\n\nI hope this helps {you}!", GOOD, true, 0, ""},
    {"```python\nx = {}\n```\nand\n```json\n" GOOD "\n```", GOOD, true, 0, ""},
    {"The label [1] is " GOOD " as {said}.", GOOD, true, 0, ""},
    {"Sure! " GOOD, GOOD, true, 0, ""},
    {GOOD " " GOOD, GOOD, true, 0, ""},
    {"a } b ] " GOOD, GOOD, true, 0, ""},
    {"{not json} {\"other\": 1} " GOOD, GOOD, true, 0, ""},
    {"x {\"label\": \"a } \\\" ] b\"} y", "{\"label\": \"a } \\\" ] b\"}", true, 0, ""},
    {"x {\"a\": " GOOD "} y", "{\"a\": " GOOD "}", true, 1, "(root)"},
    {"\xEF\xBB\xBF" GOOD, "{\"label\":\"bug\",\"n\":2}", false, 0, ""},
    {"{\"label\": \"\\ud800\"}", "{\"label\":\"\xEF\xBF\xBD\"}", false, 0, ""},
    {"", "", false, 1, "the answer is empty\n"},
    {" \n", " \n", false, 1, "the answer is empty\n"},
    {"I cannot do that.", "I cannot do that.", false, 1, "the answer is not JSON: "},
    {"{\"label\": \"bu", "{\"label\": \"bu", false, 1, "the answer is not JSON: "},
    {"[[[[[[[[ {{{{{", "[[[[[[[[ {{{{{", false, 1, "the answer is not JSON: "},
    {"[1, 2]", "[1, 2]", false, 1, "(root)"},
    {"\"bug\"", "\"bug\"", false, 1, "(root)"},
    {"{\"label\": 7}", "{\"label\": 7}", false, 1, "/label"},
    {"{\"n\": -1}", "{\"n\": -1}", false, 2, ""},
    /* a null where nothing else may be: left out */
    {"{\"label\": \"bug\", \"n\": null}", "{\"label\":\"bug\"}", false, 0, ""},
    {"{\"label\": null, \"n\": null}", "{\"label\": null, \"n\": null}", false, 2, "/label"},
    {"{\"label\": \"null\", \"n\": -1}", "{\"label\": \"null\", \"n\": -1}", false, 1, "/n"},
    {"```\n{\"label\": 7}\n```", "{\"label\": 7}", true, 1, "/label"},
};

static struct op_schema *schema_of(const char *text)
{
    struct op_json_parser *parser = op_json_parser_new();
    struct op_err err = OP_ERR_INIT;
    struct op_json root;
    struct op_schema *schema = NULL;
    struct op_schema_options options = {0};
    if (op_json_parse(parser, text, strlen(text), false, &root, &err) ||
        op_schema_compile(root, "s.json", &options, &schema, &err))
        fail_msg("%s", err.msg);
    op_json_parser_free(parser);
    return schema;
}

static void test_table(void **state)
{
    (void)state;
    struct op_schema *schema = schema_of(
        "{\"type\":\"object\",\"required\":[\"label\"],\"properties\":{"
        "\"label\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\",\"minimum\":0}}}");
    struct op_plan_request requests[] = {{.schema = schema}, {.schema = NULL}};
    struct op_plan plan = {.requests = requests};
    struct op_answer_checker *checker = op_answer_checker_new(&plan);
    struct op_buf list;
    op_buf_init(&list, 1 << 16);
    for (size_t i = 0; i < OP_COUNT(table); i++) {
        struct op_str answer;
        bool mended = true;
        op_buf_clear(&list);
        op_buf_addz(&list, "before\n");
        size_t violations =
            op_answer_check(checker, 0, op_str_from(table[i].text), &answer, &mended, &list);
        if (!test_str_is(answer, table[i].answer) || mended != table[i].mended ||
            violations != table[i].violations ||
            !op_str_starts(op_str_from(list.ptr + 7), table[i].list) ||
            (violations == 0 && list.len != 7))
            fail_msg("case %zu: " OP_STR_FMT ", mended %d, %zu violations: %s", i,
                     OP_STR_ARG(answer), mended, violations, list.ptr);
    }
    op_answer_checker_free(checker);
    op_buf_release(&list);
    op_schema_free(schema);
    assert_int_equal(op_mem_live(), 0);
}

static void test_free_text(void **state)
{
    (void)state;
    struct op_plan_request requests[] = {{.schema = NULL}};
    struct op_plan plan = {.requests = requests};
    struct op_answer_checker *checker = op_answer_checker_new(&plan);
    struct op_buf list;
    op_buf_init(&list, 100);
    struct op_str text = OP_STR(" any ```text``` {at all ");
    struct op_str answer;
    bool mended = true;
    assert_int_equal(op_answer_check(checker, 0, text, &answer, &mended, &list), 0);
    assert_ptr_equal(answer.ptr, text.ptr);
    assert_int_equal(answer.len, text.len);
    assert_false(mended);
    assert_int_equal(list.len, 0);
    op_answer_checker_free(checker);
    op_buf_release(&list);
}

/* Hostile text costs a bounded number of readings, and leaves the checker usable. */
static void test_hostile(void **state)
{
    (void)state;
    struct op_schema *schema = schema_of("{\"type\":\"object\"}");
    struct op_plan_request requests[] = {{.schema = schema}};
    struct op_plan plan = {.requests = requests};
    struct op_answer_checker *checker = op_answer_checker_new(&plan);
    struct op_buf list;
    op_buf_init(&list, 1 << 16);
    size_t len = 4 * 1024 * 1024;
    char *text = op_mem_alloc(len);
    static const char *const fills[] = {"[", "{\"", "```\n{x}\n```\n", "[] ", "\\\""};
    for (size_t f = 0; f < OP_COUNT(fills); f++) {
        struct op_str answer;
        bool mended = false;
        size_t step = strlen(fills[f]);
        for (size_t i = 0; i < len; i++)
            text[i] = fills[f][i % step];
        assert_true(op_answer_check(checker, 0, (struct op_str){text, len}, &answer, &mended,
                                    &list) > 0);
    }
    op_mem_free(text);
    struct op_str answer;
    bool mended = false;
    assert_int_equal(op_answer_check(checker, 0, OP_STR("{}"), &answer, &mended, &list), 0);
    op_answer_checker_free(checker);
    op_buf_release(&list);
    op_schema_free(schema);
    assert_int_equal(op_mem_live(), 0);
}

/* Which nulls go: those the schema does not take, wherever they are, and no other. */
static void test_nulls(void **state)
{
    (void)state;
    static const struct {
        const char *text, *answer; /* answer NULL: it stays invalid */
    } cases[] = {
        {"{\"keep\":null,\"o\":null}", "{\"keep\":null}"},
        {"{\"keep\":null,\"kids\":[{\"keep\":null,\"o\":null},{\"keep\":1}]}",
         "{\"keep\":null,\"kids\":[{\"keep\":null},{\"keep\":1}]}"},
        {"{\"keep\":1,\"a~/\":null}", "{\"keep\":1}"},
        {"{\"keep\":1,\"u\":{\"x\":null}}", "{\"keep\":1,\"u\":{}}"},
        {"{\"keep\":1,\"o\":null,\"kids\":7}", NULL},
        {"{\"o\":null}", NULL},
        {"{\"keep\":1,\"kids\":[null]}", NULL},
    };
    struct op_schema *schema = schema_of(
        "{\"type\":\"object\",\"required\":[\"keep\"],\"properties\":{\"keep\":{\"type\":["
        "\"integer\",\"null\"]},\"o\":{\"type\":\"string\"},\"a~/\":{\"enum\":[1]},\"kids\":{"
        "\"type\":\"array\",\"items\":{\"$ref\":\"#\"}},\"u\":{\"anyOf\":[{\"type\":\"object\","
        "\"properties\":{\"x\":{\"type\":\"string\"}}},{\"type\":\"string\"}]}}}");
    struct op_plan_request requests[] = {{.schema = schema}};
    struct op_plan plan = {.requests = requests};
    struct op_answer_checker *checker = op_answer_checker_new(&plan);
    struct op_buf list;
    op_buf_init(&list, 1 << 16);
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_str answer;
        bool mended;
        op_buf_clear(&list);
        size_t violations =
            op_answer_check(checker, 0, op_str_from(cases[i].text), &answer, &mended, &list);
        const char *want = cases[i].answer ? cases[i].answer : cases[i].text;
        if (!test_str_is(answer, want) || (violations == 0) != (cases[i].answer != NULL) ||
            mended)
            fail_msg("%s: " OP_STR_FMT " %s", cases[i].text, OP_STR_ARG(answer), list.ptr);
        /* Who knows the answer to be good wants no list. */
        if (cases[i].answer)
            assert_int_equal(
                op_answer_check(checker, 0, op_str_from(cases[i].text), &answer, &mended, NULL),
                0);
    }
    op_buf_release(&list);
    op_answer_checker_free(checker);
    op_schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_nulls),
        cmocka_unit_test(test_free_text),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
