/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: answers made from prompt and schema: words, ids, instances, and ways to be wrong.
 * Oracle:    for each schema a check written by hand over the parsed answer, for many seeds; the
 *            same input gives the same bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include <regex.h>
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "emulator/answers.h"
#include "emulator/pattern.h"
#include "emulator/words.h"

#define PROMPT                                                                                 \
    "<issue id=\"12\" author_id='7'>The printer jams</issue> {\"issue_id\": 15, \"id\": 12}\n" \
    "See [99] and #101; comment-id=c4, valid: 3, ids: [21, 22]. Gr\xc3\xbc\xc3\x9f"            \
    "e aus Wien."

static void test_words(void **state)
{
    (void)state;
    OP_CLEANUP(op_arena_release) struct op_arena arena = {0};
    struct op_emu_words words;
    op_emu_words_of(&arena, op_str_from(PROMPT), &words);
    static const struct {
        const char *name, *value;
    } rows[] = {{"id", "12"},         {"author_id", "7"}, {"issue_id", "15"},
                {"id", "12"},         {"", "99"},         {"", "101"},
                {"comment-id", "c4"}, {"ids", "21"},      {"ids", "22"}};
    assert_int_equal(words.id_count, OP_COUNT(rows));
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        assert_true(op_str_is(words.ids[i].name, rows[i].name));
        assert_true(op_str_is(words.ids[i].value, rows[i].value));
    }
    assert_true(op_str_is(words.words[0], "The"));
    assert_true(op_str_is(words.words[words.word_count - 1], "Wien"));
    const struct op_emu_id *found[16];
    assert_int_equal(op_emu_ids_for(&words, OP_STR("issue_ids"), true, found, 16), 1);
    assert_int_equal(found[0]->number, 15);
    assert_int_equal(op_emu_ids_for(&words, OP_STR("citations"), true, found, 16), 7);
    assert_int_equal(op_emu_ids_for(&words, OP_STR("citations"), false, found, 16), 8);
    op_emu_words_of(&arena, OP_STR(""), &words);
    assert_int_equal(words.word_count + words.id_count, 0);
}

static void test_id_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool is;
    } rows[] = {{"id", true},       {"ids", true},     {"citations", true}, {"issue_id", true},
                {"issueIds", true}, {"issueId", true}, {"valid", false},    {"paid", false},
                {"bids", false},    {"idea", false},   {"", false},         {"Evidence", true}};
    for (size_t i = 0; i < OP_COUNT(rows); i++)
        assert_int_equal(op_emu_names_ids(op_str_from(rows[i].name)), rows[i].is);
}

/* One answer, parsed. The parser keeps it. */
static struct op_json answer(struct op_json_parser *parser, const char *schema_text,
                             uint64_t seed, enum op_emu_spoil spoil, struct op_buf *out)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *schemas = op_json_parser_new();
    struct op_err err = OP_ERR_INIT;
    struct op_json schema, value = {0};
    assert_int_equal(
        op_json_parse(schemas, schema_text, strlen(schema_text), false, &schema, &err), OP_OK);
    struct op_emu_ask ask = {op_str_from(PROMPT), schema, seed, spoil};
    op_buf_clear(out);
    op_emu_answer(&ask, out);
    if (op_json_parse(parser, out->ptr, out->len, true, &value, &err))
        return (struct op_json){0};
    return value;
}

static struct op_json at(struct op_json v, const char *pointer)
{
    return op_json_pointer(v, op_str_from(pointer));
}

static void check_label(struct op_json v)
{
    struct op_str label = op_json_str(at(v, "/label"));
    assert_true(op_str_is(label, "bug") || op_str_is(label, "idea"));
    assert_int_equal(op_json_int(at(v, "/version"), 0), 3);
    assert_int_equal(op_json_count(v), 2);
}

static void check_citations(struct op_json v)
{
    struct op_json list = at(v, "/citations");
    int64_t seen[8] = {0};
    assert_in_range(op_json_count(list), 1, 3);
    struct op_json_iter it = op_json_iter(list);
    while (op_json_next(&it)) {
        static const int64_t ids[] = {12, 7, 15, 99, 101, 21, 22};
        int64_t id = op_json_int(it.value, -1);
        bool known = false;
        for (size_t i = 0; i < OP_COUNT(ids); i++)
            known = known || ids[i] == id;
        assert_true(known);
        for (size_t i = 0; i < it.index; i++)
            assert_int_not_equal(seen[i], id);
        seen[it.index] = id;
    }
    assert_int_equal(op_json_int(at(v, "/issue_id"), 0), 15);
}

static void check_numbers(struct op_json v)
{
    int64_t n = op_json_int(at(v, "/n"), -1), even = op_json_int(at(v, "/even"), -1);
    double x = op_json_double(at(v, "/x"), -1), c = op_json_double(at(v, "/confidence"), -1);
    assert_in_range(n, 3, 5);
    assert_true(even >= 10 && even <= 20 && even % 4 == 0);
    assert_true(x > 0.5 && x < 0.6);
    assert_true(c >= 0 && c <= 1);
    int64_t low = op_json_int(at(v, "/low"), 0);
    assert_true(low < -5 && low >= -105);
}

static size_t characters(struct op_json v)
{
    struct op_str s = op_json_str(v);
    size_t count = 0;
    assert_non_null(s.ptr);
    assert_int_equal(op_utf8_valid_len(s.ptr, s.len), s.len);
    for (size_t i = 0; i < s.len; i++)
        count += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return count;
}

static void check_strings(struct op_json v)
{
    assert_in_range(characters(at(v, "/exact")), 7, 7);
    assert_in_range(characters(at(v, "/long")), 200, 100000);
    assert_in_range(characters(at(v, "/short")), 0, 3);
    assert_int_equal(characters(at(v, "/day")), 10);
    assert_int_equal(characters(at(v, "/when")), 20);
    assert_int_equal(characters(at(v, "/uuid")), 36);
    struct op_str code = op_json_str(at(v, "/code"));
    assert_int_equal(code.len, 6);
    assert_true(code.ptr[0] >= 'A' && code.ptr[1] <= 'Z' && code.ptr[2] == '-');
}

static void check_nested(struct op_json v)
{
    assert_in_range(op_json_count(at(v, "/groups")), 2, 4);
    struct op_json_iter it = op_json_iter(at(v, "/groups"));
    while (op_json_next(&it))
        assert_true(op_json_is(op_json_get(it.value, "name"), OP_JSON_STRING));
    assert_true(op_json_is(at(v, "/maybe"), OP_JSON_STRING));
    assert_true(op_json_is(at(v, "/either/kind"), OP_JSON_STRING));
    assert_true(op_json_is(at(v, "/both/a"), OP_JSON_INT));
    assert_true(op_json_is(at(v, "/both/b"), OP_JSON_STRING));
    assert_true(op_json_is(at(v, "/yes"), OP_JSON_TRUE) ||
                op_json_is(at(v, "/yes"), OP_JSON_FALSE));
    assert_int_equal(op_json_count(at(v, "/days")), 3);
    assert_false(op_json_equal(at(v, "/days/0"), at(v, "/days/1")));
    assert_false(op_json_equal(at(v, "/days/0"), at(v, "/days/2")));
    assert_false(op_json_equal(at(v, "/days/1"), at(v, "/days/2")));
}

static void check_tree(struct op_json v)
{
    assert_true(op_json_is(at(v, "/value"), OP_JSON_STRING));
    assert_true(op_json_is(at(v, "/children"), OP_JSON_ARRAY));
}

static const struct {
    const char *schema;
    void (*check)(struct op_json v);
} cases[] = {
    {"{\"type\":\"object\",\"properties\":{\"label\":{\"enum\":[\"bug\",\"idea\"]},"
     "\"version\":{\"const\":3}},\"required\":[\"label\",\"version\"]}",
     check_label},
    {"{\"type\":\"object\",\"properties\":{\"citations\":{\"type\":\"array\",\"items\":"
     "{\"type\":\"integer\"}},\"issue_id\":{\"type\":\"integer\"}}}",
     check_citations},
    {"{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\",\"minimum\":3,"
     "\"maximum\":5},\"even\":{\"type\":\"integer\",\"minimum\":10,\"maximum\":20,"
     "\"multipleOf\":4},\"x\":{\"type\":\"number\",\"exclusiveMinimum\":0.5,"
     "\"exclusiveMaximum\":0.6},\"low\":{\"type\":\"integer\",\"exclusiveMaximum\":-5},"
     "\"confidence\":{\"type\":\"number\"}}}",
     check_numbers},
    {"{\"type\":\"object\",\"properties\":{\"exact\":{\"type\":\"string\",\"minLength\":7,"
     "\"maxLength\":7},\"long\":{\"type\":\"string\",\"minLength\":200},\"short\":{\"type\":"
     "\"string\",\"maxLength\":3},\"day\":{\"type\":\"string\",\"format\":\"date\"},\"when\":"
     "{\"type\":\"string\",\"format\":\"date-time\"},\"uuid\":{\"type\":\"string\",\"format\":"
     "\"uuid\"},\"code\":{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}-\\\\d{3}$\"}}}",
     check_strings},
    {"{\"type\":\"object\",\"properties\":{\"groups\":{\"type\":\"array\",\"minItems\":2,"
     "\"maxItems\":4,\"items\":{\"$ref\":\"#/$defs/group\"}},\"maybe\":{\"type\":[\"null\","
     "\"string\"]},\"either\":{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"object\","
     "\"properties\":{\"kind\":{\"type\":\"string\"}}}]},\"both\":{\"allOf\":[{\"properties\":"
     "{\"a\":{\"type\":\"integer\"}}},{\"properties\":{\"b\":{\"type\":\"string\"}}}]},\"yes\":"
     "{\"type\":\"boolean\"},\"days\":{\"type\":\"array\",\"uniqueItems\":true,\"minItems\":3,"
     "\"maxItems\":3,\"items\":{\"enum\":[\"mo\",\"tu\",\"we\"]}}},"
     "\"$defs\":{\"group\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"}},"
     "\"required\":[\"name\"]}}}",
     check_nested},
    {"{\"$ref\":\"#/$defs/node\",\"$defs\":{\"node\":{\"type\":\"object\",\"properties\":{"
     "\"value\":{\"type\":\"string\"},\"children\":{\"type\":\"array\",\"items\":{\"$ref\":"
     "\"#/$defs/node\"}}},\"required\":[\"value\",\"children\"]}}}",
     check_tree},
};

static void test_instances(void **state)
{
    (void)state;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_buf_release) struct op_buf out = {0}, again = {0};
    op_buf_init(&out, 1 << 20);
    op_buf_init(&again, 1 << 20);
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        for (uint64_t seed = 0; seed < 50; seed++) {
            answer(parser, cases[i].schema, seed, OP_EMU_SPOIL_NONE, &again);
            struct op_json v = answer(parser, cases[i].schema, seed, OP_EMU_SPOIL_NONE, &out);
            assert_true(op_json_ok(v));
            assert_true(op_str_eq(op_buf_str(&out), op_buf_str(&again)));
            cases[i].check(v);
        }
    }
    op_buf_release(&again);
}

/* Schemas that no instance fits, or that name nothing: an answer all the same, and an end. */
static void test_odd_schemas(void **state)
{
    (void)state;
    static const char *const schemas[] = {
        "{}",
        "{\"$ref\":\"#/nowhere\"}",
        "{\"$ref\":\"#\"}",
        "{\"anyOf\":[]}",
        "{\"enum\":[]}",
        "{\"type\":\"array\",\"minItems\":5,\"maxItems\":2,\"items\":{}}",
        "{\"type\":\"array\",\"items\":{\"$ref\":\"#\"},\"minItems\":1}",
        "{\"type\":\"integer\",\"minimum\":9,\"maximum\":1}",
        "{\"type\":\"integer\","
        "\"minimum\":-1e300}",
        "{\"type\":\"number\",\"multipleOf\":-3}",
        "{\"type\":\"string\",\"pattern\":\"(?=x)[\"}",
        "{\"type\":\"string\",\"minLength\":-4,"
        "\"maxLength\":-9}",
        "{\"type\":\"array\",\"uniqueItems\":true,\"minItems\":9,\"items\":"
        "{\"const\":1}}",
        "{\"allOf\":[{\"$ref\":\"#\"}]}",
        "{\"type\":\"object\",\"required\":"
        "[\"x\"],\"additionalProperties\":{\"type\":\"integer\"}}"};
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    op_buf_init(&out, 1 << 22);
    for (size_t i = 0; i < OP_COUNT(schemas); i++)
        assert_true(op_json_ok(answer(parser, schemas[i], i, OP_EMU_SPOIL_NONE, &out)));
}

static void test_spoiled(void **state)
{
    (void)state;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    const char *schema = cases[0].schema;
    op_buf_init(&out, 1 << 20);
    assert_false(op_json_ok(answer(parser, schema, 1, op_emu_spoil_named(NULL), &out)));
    assert_false(op_json_ok(answer(parser, schema, 1, op_emu_spoil_named("fenced"), &out)));
    assert_true(op_str_starts(op_buf_str(&out), "```json\n{"));
    assert_true(op_str_ends(op_buf_str(&out), "}\n```"));
    assert_false(op_json_ok(answer(parser, schema, 1, op_emu_spoil_named("prose"), &out)));
    assert_false(op_json_ok(answer(parser, schema, 1, op_emu_spoil_named("empty"), &out)));
    assert_int_equal(out.len, 0);
    struct op_json v = answer(parser, schema, 1, op_emu_spoil_named("missing"), &out);
    assert_int_equal(op_json_count(v), 1);
    v = answer(parser, schema, 1, op_emu_spoil_named("extra"), &out);
    assert_int_equal(op_json_count(v), 3);
    v = answer(parser, schema, 1, op_emu_spoil_named("wrong_type"), &out);
    assert_true(op_json_is(at(v, "/label"), OP_JSON_OBJECT));
}

static void test_text(void **state)
{
    (void)state;
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    struct op_emu_ask ask = {.prompt = OP_STR("alpha beta gamma")};
    op_buf_init(&out, 1 << 20);
    op_emu_answer(&ask, &out);
    assert_true(op_str_ends(op_buf_str(&out), "."));
    assert_non_null(strstr(out.ptr, "beta"));
    ask.prompt = OP_STR_NULL;
    op_buf_clear(&out);
    op_emu_answer(&ask, &out);
    assert_true(out.len > 0);
}

static void test_patterns(void **state)
{
    (void)state;
    static const char *const good[] = {"^abc$",
                                       "^[A-Z][a-z]+( [A-Z][a-z]+)*$",
                                       "^(cat|dog)s?$",
                                       "^[0-9]{4}-[0-9]{2}$",
                                       "^x{2,5}y*z+$",
                                       "^[^0-9]{3}$",
                                       "^(a(b(c|d)){2}){1,3}$"};
    static const char *const bad[] = {"(?=a)b", "[a", "(a", "a)", "\\bword", "a{3,1}"};
    OP_CLEANUP(op_buf_release) struct op_buf out = {0};
    op_buf_init(&out, 10000);
    for (size_t i = 0; i < OP_COUNT(good); i++) {
        regex_t regex;
        assert_int_equal(regcomp(&regex, good[i], REG_EXTENDED | REG_NOSUB), 0);
        for (uint64_t seed = 0; seed < 200; seed++) {
            uint64_t random = seed;
            op_buf_clear(&out);
            assert_true(op_emu_pattern_make(op_str_from(good[i]), &random, &out));
            assert_int_equal(regexec(&regex, out.ptr, 0, NULL, 0), 0);
        }
        regfree(&regex);
    }
    for (size_t i = 0; i < OP_COUNT(bad); i++) {
        uint64_t random = 1;
        op_buf_clear(&out);
        assert_false(op_emu_pattern_make(op_str_from(bad[i]), &random, &out));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),     cmocka_unit_test(test_id_names),
        cmocka_unit_test(test_instances), cmocka_unit_test(test_odd_schemas),
        cmocka_unit_test(test_spoiled),   cmocka_unit_test(test_text),
        cmocka_unit_test(test_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
