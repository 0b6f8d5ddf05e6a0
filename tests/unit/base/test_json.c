/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: reading JSON: the cursor over simdjson's tape, and the tolerant tokenizer behind it.
 * Oracle:    the JSON grammar (RFC 8259), RFC 6901, and what Python's json.loads gives for the
 *            repaired cases; a text that both makers of tapes accept must give equal tapes.
 */
#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/json.h"
#include "base/json_out.h"
#include "base/json_tape.h"
#include "base/mem.h"

static struct op_json_parser *parser;

static int set_up(void **state)
{
    (void)state;
    parser = op_json_parser_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    op_json_parser_freep(&parser);
    assert_int_equal(op_mem_live(), 0);
    return 0;
}

static struct op_json read_text(const char *text, size_t len)
{
    struct op_err err = OP_ERR_INIT;
    struct op_json v = {0};

    if (op_json_parse(parser, text, len, false, &v, &err))
        fail_msg("%s: %s", text, err.msg);
    return v;
}

static struct op_json read_json(const char *text)
{
    return read_text(text, strlen(text));
}

static void test_types(void **state)
{
    static const struct {
        const char *text;
        enum op_json_type type;
    } cases[] = {
        {"null", OP_JSON_NULL},
        {"true", OP_JSON_TRUE},
        {"false", OP_JSON_FALSE},
        {"-9223372036854775808", OP_JSON_INT},
        {"9223372036854775807", OP_JSON_INT},
        {"9223372036854775808", OP_JSON_DOUBLE},
        {"1.0", OP_JSON_DOUBLE},
        {"\"\"", OP_JSON_STRING},
        {"[]", OP_JSON_ARRAY},
        {" {} ", OP_JSON_OBJECT},
    };

    (void)state;
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_json v = read_json(cases[i].text);
        assert_true(op_json_ok(v));
        assert_int_equal(op_json_type(v), cases[i].type);
        assert_true(op_json_is(v, cases[i].type));
        assert_false(op_json_parser_repaired(parser));
    }
    assert_false(op_json_is((struct op_json){0}, OP_JSON_NULL));
    assert_string_equal(op_json_type_name(OP_JSON_TRUE), "boolean");
    assert_string_equal(op_json_type_name(OP_JSON_INT), "integer");
}

static void test_typed_reads(void **state)
{
    (void)state;
    assert_int_equal(op_json_int(read_json("52.0"), -1), 52);
    assert_int_equal(op_json_int(read_json("-1e3"), -1), -1000);
    assert_int_equal(op_json_int(read_json("52.5"), -1), -1);
    assert_int_equal(op_json_int(read_json("9223372036854775808"), -1), -1);
    assert_int_equal(op_json_int(read_json("1e300"), -1), -1);
    assert_int_equal(op_json_int(read_json("\"5\""), -1), -1);
    assert_true(op_json_double(read_json("18446744073709551615"), 0) == 0x1p64);
    assert_true(op_json_double(read_json("-7"), 0) == -7.0);
    assert_true(op_json_double(read_json("null"), 3.5) == 3.5);
    assert_true(op_json_bool(read_json("true"), false));
    assert_false(op_json_bool(read_json("false"), true));
    assert_true(op_json_bool(read_json("1"), true));
    struct op_str s = op_json_str(read_json("\"a\\u0000\\u00e9\\n\""));
    assert_int_equal(s.len, 5);
    assert_memory_equal(s.ptr, "a\0\xC3\xA9\n", 5);
    s = op_json_str(read_json("\"\""));
    assert_non_null(s.ptr);
    assert_int_equal(s.len, 0);
    assert_null(op_json_str(read_json("1")).ptr);
    assert_null(op_json_str((struct op_json){0}).ptr);
}

static void test_members(void **state)
{
    struct op_json v = read_json("{\"a\":1,\"b\":{\"a\":[1,2,{\"c\":3}],\"x\":null},\"a\":2}");

    (void)state;
    assert_int_equal(op_json_int(op_json_get(v, "a"), 0), 2);
    assert_false(op_json_ok(op_json_get(v, "c")));
    assert_false(op_json_ok(op_json_get(op_json_get(v, "a"), "c")));
    assert_false(op_json_ok(op_json_get(op_json_get(v, "nope"), "c")));
    assert_true(op_json_is(op_json_get(op_json_get(v, "b"), "x"), OP_JSON_NULL));
    assert_int_equal(op_json_count(v), 3);
    assert_int_equal(op_json_count(op_json_get(op_json_get(v, "b"), "a")), 3);
    assert_int_equal(op_json_count(op_json_get(v, "a")), 0);
}

static void test_iteration(void **state)
{
    struct op_json v = read_json("{\"a\":[1,[2,3],\"x\",{}],\"\":2.5,\"c\":{\"d\":{}}}");
    static const char *const names[] = {"a", "", "c"};
    struct op_json_iter it = op_json_iter(v);
    size_t n = 0;

    (void)state;
    while (op_json_next(&it)) {
        assert_int_equal(it.index, n);
        assert_true(op_str_is(it.name, names[n++]));
    }
    assert_int_equal(n, 3);
    it = op_json_iter(op_json_get(v, "a"));
    for (n = 0; op_json_next(&it); n++) {
        assert_null(it.name.ptr);
        assert_int_equal(it.index, n);
    }
    assert_int_equal(n, 4);
    it = op_json_iter(op_json_get(v, "none"));
    assert_false(op_json_next(&it));
    it = op_json_iter(read_json("[]"));
    assert_false(op_json_next(&it));
}

static void test_pointer(void **state)
{
    struct op_json v = read_json("{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"m~n\":8,"
                                 "\"k\\\"l\":6,\" \":7,\"~1\":9}");
    static const struct {
        const char *pointer;
        int64_t value;
    } cases[] = {
        {"/", 0},    {"/a~1b", 1},  {"/m~0n", 8},   {"/k\"l", 6},    {"/ ", 7},
        {"/~01", 9}, {"/x", -1},    {"/foo/2", -1}, {"/foo/00", -1}, {"/foo/-", -1},
        {"foo", -1}, {"/m~2n", -1}, {"/m~", -1},    {"/a~1b/c", -1},
    };

    (void)state;
    for (size_t i = 0; i < OP_COUNT(cases); i++)
        assert_int_equal(op_json_int(op_json_pointer(v, op_str_from(cases[i].pointer)), -1),
                         cases[i].value);
    assert_true(op_str_is(op_json_str(op_json_pointer(v, OP_STR("/foo/1"))), "baz"));
    assert_int_equal(op_json_count(op_json_pointer(v, OP_STR(""))), 7);
    assert_int_equal(op_json_count(op_json_pointer(v, OP_STR("/foo"))), 2);
}

static void test_equal(void **state)
{
    static const struct {
        const char *pair;
        bool equal;
    } cases[] = {
        {"[1,1.0]", true},
        {"[0,-0.0]", true},
        {"[1,true]", false},
        {"[9007199254740993,9007199254740992.0]", false},
        {"[18446744073709551615,18446744073709551616.0]", false},
        {"[9223372036854775808,9223372036854775808.0]", true},
        {"[\"a\",\"a\"]", true},
        {"[null,false]", false},
        {"[{\"a\":1,\"b\":[{}]},{\"b\":[{}],\"a\":1.0}]", true},
        {"[{\"a\":1},{\"a\":1,\"b\":2}]", false},
        {"[{\"a\":1,\"a\":2},{\"a\":2}]", true},
        {"[{\"a\":1,\"a\":2},{\"a\":3,\"a\":2}]", true},
        {"[{\"a\":1,\"a\":2},{\"a\":1,\"a\":3}]", false},
        {"[{\"a\":1,\"a\":2},{\"b\":1,\"a\":2}]", false},
        {"[[1,2],[2,1]]", false},
        {"[[1],[1,2]]", false},
        {"[[],{}]", false},
    };

    (void)state;
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_json v = read_json(cases[i].pair);
        struct op_json a = op_json_pointer(v, OP_STR("/0")),
                       b = op_json_pointer(v, OP_STR("/1"));
        if (op_json_equal(a, b) != cases[i].equal || op_json_equal(b, a) != cases[i].equal)
            fail_msg("%s", cases[i].pair);
    }
}

/* Nested objects with repeated names must not cost more with every level. */
static void test_equal_deep(void **state)
{
    struct op_buf buf;
    struct op_json v;

    (void)state;
    op_buf_init(&buf, 1 << 20);
    op_buf_addc(&buf, '[');
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 60; i++)
            op_buf_addz(&buf, k ? "{\"b\":1,\"a\":0,\"a\":" : "{\"a\":0,\"b\":1,\"a\":");
        op_buf_addz(&buf, k ? "1" : "2");
        for (int i = 0; i < 60; i++)
            op_buf_addc(&buf, '}');
        op_buf_addz(&buf, k ? "]" : ",");
    }
    v = read_text(buf.ptr, buf.len);
    assert_false(
        op_json_equal(op_json_pointer(v, OP_STR("/0")), op_json_pointer(v, OP_STR("/1"))));
    op_buf_release(&buf);
}

static void test_repaired(void **state)
{
#define CASE(text, out)                    \
    {                                      \
        text, sizeof(text) - 1, out, false \
    }
#define MENDED(text, out)                 \
    {                                     \
        text, sizeof(text) - 1, out, true \
    }
    static const struct {
        const char *text;
        size_t len;
        const char *out;
        bool repaired;
    } cases[] = {
        MENDED("[\"\\ud800\"]", "[\"\xEF\xBF\xBD\"]"),
        MENDED("[\"a\\udc00b\"]", "[\"a\xEF\xBF\xBD"
                                  "b\"]"),
        MENDED("[\"\\ud83d\\ud83d\\ude00\"]", "[\"\xEF\xBF\xBD\xF0\x9F\x98\x80\"]"),
        MENDED("[\"\\ud83dx\\n\\\"\\/\"]", "[\"\xEF\xBF\xBDx\\n\\\"/\"]"),
        CASE("123456789012345678901234567890", "1.2345678901234568e+29"),
        CASE("-9223372036854775809", "-9.223372036854776e+18"),
        CASE("[18446744073709551616]", "[1.8446744073709552e+19]"),
        CASE("{\"a\":1e400,\"b\":-1E+999}",
             "{\"a\":1.7976931348623157e+308,\"b\":-1.7976931348623157e+308}"),
        CASE("[1e-400,1e400]", "[0,1.7976931348623157e+308]"),
        MENDED("[\"\xFF\",1]", "[\"\xEF\xBF\xBD\",1]"),
        MENDED("[\"\xE2\x82x\"]", "[\"\xEF\xBF\xBDx\"]"),
        MENDED("[\"\xED\xA0\x80\"]", "[\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"]"),
        MENDED("[\"\xF0\x9F\x98\"]", "[\"\xEF\xBF\xBD\"]"),
        MENDED("[\"\xC0\x80\"]", "[\"\xEF\xBF\xBD\xEF\xBF\xBD\"]"),
        MENDED("\xEF\xBB\xBF{\"a\":[true,false,null,-0,{}],\"b\":\"\"}",
               "{\"a\":[true,false,null,0,{}],\"b\":\"\"}"),
        MENDED("\xEF\xBB\xBF [[],[[ ]] , 18446744073709551615 , -9223372036854775808]\r\n",
               "[[],[[]],18446744073709551615,-9223372036854775808]"),
    };
#undef CASE
#undef MENDED
    struct op_buf buf;

    (void)state;
    op_buf_init(&buf, 1 << 20);
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_json v = read_text(cases[i].text, cases[i].len);
        op_buf_clear(&buf);
        op_json_write(&buf, v);
        assert_string_equal(buf.ptr, cases[i].out);
        if (op_json_parser_repaired(parser) != cases[i].repaired)
            fail_msg("marked as %srepaired: %s", cases[i].repaired ? "not " : "",
                     cases[i].text);
    }
    read_json("1");
    assert_false(op_json_parser_repaired(parser));
    op_buf_release(&buf);
}

static void test_errors(void **state)
{
    static const struct {
        const char *text;
        const char *place;
        const char *expected;
    } cases[] = {
        {"", "line 1, column 1", "expected a value"},
        {"  \n ", "line 2, column 2", "found the end of the text"},
        {"{\"a\":1,}", "line 1, column 8", "expected a name in quotes after ','"},
        {"{a:1}", "line 1, column 2", "expected a name in quotes or '}', found 'a'"},
        {"{\"a\" 1}", "line 1, column 6", "expected ':' after the name"},
        {"[1,2\n 3]", "line 2, column 2", "expected ',' or ']'"},
        {"[1,]", "line 1, column 4", "expected a value"},
        {"{\"a\":1", "line 1, column 7", "expected ',' or '}', found the end of the text"},
        {"[1}", "line 1, column 3", "expected ',' or ']', found '}'"},
        {"1 2", "line 1, column 3", "expected the end of the text"},
        {"01", "line 1, column 2", "leading 0"},
        {"1.", "line 1, column 3", "after the decimal point"},
        {"-", "line 1, column 2", "expected a digit"},
        {"1e", "line 1, column 3", "exponent"},
        {"+1", "line 1, column 1", "expected a value"},
        {"NaN", "line 1, column 1", "expected a value"},
        {"tru", "line 1, column 1", "expected a value"},
        {"\"a\xC3\xA9\nb\"", "line 1, column 4", "control character"},
        {"\"abc", "line 1, column 5", "expected '\"' at the end of the string"},
        {"\"\\x\"", "line 1, column 3", "after the backslash, found 'x'"},
        {"\"\\u12g4\"", "line 1, column 4", "four hexadecimal digits"},
        {"\"\\", "line 1, column 3", "after the backslash, found the end"},
        {"```json", "line 1, column 1", "found '`'"},
        {"[\x01]", "line 1, column 2", "found byte 0x01"},
    };

    (void)state;
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_json v = {0};
        const char *text = cases[i].text;
        assert_int_equal(op_json_parse(parser, text, strlen(text), false, &v, &err), OP_INVAL);
        assert_false(op_json_ok(v));
        if (!strstr(err.msg, cases[i].place) || !strstr(err.msg, cases[i].expected))
            fail_msg("%s gave: %s", text, err.msg);
    }
}

static void nest(struct op_buf *buf, int depth, const char *core)
{
    op_buf_clear(buf);
    for (int i = 0; i < depth; i++)
        op_buf_addc(buf, '[');
    op_buf_addz(buf, core);
    for (int i = 0; i < depth; i++)
        op_buf_addc(buf, ']');
}

static void test_depth(void **state)
{
    struct op_err err = OP_ERR_INIT;
    struct op_json v = {0};
    struct op_buf buf;

    (void)state;
    op_buf_init(&buf, 1 << 20);
    nest(&buf, OP_JSON_DEPTH, "1");
    assert_int_equal(op_json_parse(parser, buf.ptr, buf.len, true, &v, &err), OP_OK);
    assert_false(op_json_parser_repaired(parser));
    nest(&buf, OP_JSON_DEPTH, "1e400");
    assert_int_equal(op_json_parse(parser, buf.ptr, buf.len, true, &v, &err), OP_OK);
    nest(&buf, OP_JSON_DEPTH, "{ }"); /* an empty container is not a level */
    assert_int_equal(op_json_parse(parser, buf.ptr, buf.len, true, &v, &err), OP_OK);
    nest(&buf, OP_JSON_DEPTH, "1e400,{ }");
    assert_int_equal(op_json_parse(parser, buf.ptr, buf.len, true, &v, &err), OP_OK);
    for (int k = 0; k < 4; k++) {
        static const char *const cores[] = {"1", "1e400", "[]", "1e400,[]"};
        op_err_clear(&err);
        nest(&buf, OP_JSON_DEPTH + 1, cores[k]);
        assert_int_equal(op_json_parse(parser, buf.ptr, buf.len, true, &v, &err), OP_INVAL);
        assert_non_null(strstr(err.msg, "64 levels"));
    }
    op_buf_release(&buf);
}

/* Larger than the first capacity, then small again: the parser grows and stays usable. */
static void test_large(void **state)
{
    struct op_buf buf;

    (void)state;
    op_buf_init(&buf, 64 << 20);
    for (int size = 100000; size <= 1000000; size *= 10) {
        op_buf_clear(&buf);
        op_buf_addc(&buf, '[');
        for (int i = 0; i < size; i++)
            op_buf_addz(&buf, i ? ",7.5" : "7.5");
        op_buf_addc(&buf, ']');
        struct op_err err = OP_ERR_INIT;
        struct op_json v = {0};
        assert_int_equal(op_json_parse(parser, buf.ptr, buf.len, true, &v, &err), OP_OK);
        assert_false(op_json_parser_repaired(parser));
        assert_int_equal(op_json_count(v), size);
    }
    assert_int_equal(op_json_int(read_json("[1]"), 9), 9);
    op_buf_release(&buf);
}

/* Both makers of tapes, word for word. */
static void test_same_tape(void **state)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        "[[],{},[{}]]",
        "\"x\"",
        "-12",
        "18446744073709551615",
        "1.5e3",
        "{\"id\":\"a\\u00e9\\ud83d\\ude00\",\"n\":[1,-2.5,1e10,true,false,null],\"o\":{\"\":\"\"}}",
        " [ 0 , -0.0 , 5e-324 , 1.7976931348623157e308 , 9223372036854775807 ] ",
    };
    struct op_json_simd *simd = op_json_simd_new();
    struct op_json_text text = {0};
    struct op_buf buf;

    (void)state;
    op_buf_init(&buf, 1 << 20);
    for (size_t i = 0; i < OP_COUNT(texts); i++) {
        struct op_err err = OP_ERR_INIT;
        const uint64_t *tape = NULL;
        const uint8_t *strings = NULL;
        op_buf_clear(&buf);
        op_buf_addz(&buf, texts[i]);
        assert_true(op_json_simd_parse(simd, buf.ptr, buf.len, &tape, &strings));
        assert_int_equal(op_json_text_parse(&text, buf.ptr, buf.len, &err), OP_OK);
        size_t words = (size_t)(tape[0] & OP_TAPE_PAYLOAD);
        assert_int_equal(text.tape[0] & OP_TAPE_PAYLOAD, words);
        if (memcmp(tape, text.tape, (words - 1) * sizeof(*tape)) != 0)
            fail_msg("tapes differ: %s", texts[i]);
        assert_true(op_json_equal((struct op_json){tape, strings, 1},
                                  (struct op_json){text.tape, text.strings, 1}));
    }
    op_buf_release(&buf);
    op_json_text_release(&text);
    op_json_simd_free(simd);
}

/* The tolerant tokenizer's worst expansions stay within what it reserves (AddressSanitizer). */
static void test_expansion(void **state)
{
    static const char *const parts[] = {"\"\xFF\"", "\"\"", "1", "[]", "\"\\ud800\""};
    struct op_buf buf;

    (void)state;
    op_buf_init(&buf, 1 << 20);
    for (size_t k = 0; k < OP_COUNT(parts); k++) {
        op_buf_clear(&buf);
        op_buf_addz(&buf, "[1e400");
        for (int i = 0; i < 3000; i++) {
            op_buf_addc(&buf, ',');
            op_buf_addz(&buf, parts[k]);
        }
        op_buf_addc(&buf, ']');
        assert_int_equal(op_json_count(read_text(buf.ptr, buf.len)), 3001);
    }
    op_buf_clear(&buf);
    op_buf_addc(&buf, '"');
    for (int i = 0; i < 9000; i++)
        op_buf_addc(&buf, '\xFF');
    op_buf_addc(&buf, '"');
    assert_int_equal(op_json_str(read_text(buf.ptr, buf.len)).len, 27000);
    op_buf_release(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_types, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_typed_reads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_members, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_iteration, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pointer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_equal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_equal_deep, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_repaired, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_depth, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_same_tape, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_expansion, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
