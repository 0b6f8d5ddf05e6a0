/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: writing JSON: commas, indentation, escaping, number formatting, canonical form.
 * Oracle:    Python's json.dumps(ensure_ascii=False) and repr(float) for literal cases; the
 *            parser for everything: what is written reads back as the same value.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/json.h"
#include "base/json_out.h"
#include "base/mem.h"

static struct op_buf buf;

static int set_up(void **state)
{
    (void)state;
    op_buf_init(&buf, 16 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    op_buf_release(&buf);
    assert_int_equal(op_mem_live(), 0);
    return 0;
}

static void write_sample(int indent)
{
    struct op_json_out o;

    op_json_out_init(&o, &buf, indent);
    op_json_out_object(&o);
    op_json_out_kv_text(&o, "a", "x\"y");
    op_json_out_kv_int(&o, "b", -7);
    op_json_out_name(&o, "c");
    op_json_out_array(&o);
    op_json_out_array(&o);
    op_json_out_end_array(&o);
    op_json_out_null(&o);
    op_json_out_double(&o, 0.5);
    op_json_out_object(&o);
    op_json_out_end_object(&o);
    op_json_out_raw(&o, OP_STR("[1]"));
    op_json_out_end_array(&o);
    op_json_out_kv_bool(&o, "d", true);
    op_json_out_kv_str(&o, "e", OP_STR_NULL);
    op_json_out_kv_text(&o, "f", NULL);
    op_json_out_end_object(&o);
}

static void test_writer(void **state)
{
    (void)state;
    write_sample(0);
    assert_string_equal(buf.ptr, "{\"a\":\"x\\\"y\",\"b\":-7,\"c\":[[],null,0.5,{},[1]],"
                                 "\"d\":true,\"e\":null,\"f\":null}");
    op_buf_clear(&buf);
    write_sample(2);
    assert_string_equal(buf.ptr, "{\n  \"a\": \"x\\\"y\",\n  \"b\": -7,\n  \"c\": [\n    [],\n"
                                 "    null,\n    0.5,\n    {},\n    [1]\n  ],\n  \"d\": true,\n"
                                 "  \"e\": null,\n  \"f\": null\n}");
}

static void test_deeper_than_the_bits(void **state)
{
    struct op_json_out o;
    const char *p;

    (void)state;
    op_json_out_init(&o, &buf, 0);
    for (int i = 0; i < 200; i++) {
        op_json_out_array(&o);
        op_json_out_int(&o, 1);
        op_json_out_array(&o);
        op_json_out_end_array(&o);
    }
    for (int i = 0; i < 200; i++) {
        op_json_out_text(&o, "[");
        op_json_out_end_array(&o);
    }
    p = buf.ptr;
    for (int i = 0; i < 200; i++, p += strlen("[1,[],"))
        assert_memory_equal(p, i < 199 ? "[1,[],[" : "[1,[],\"", strlen("[1,[],["));
    for (int i = 0; i < 200; i++, p += strlen("\"[\"],"))
        assert_memory_equal(p, "\"[\"],", i < 199 ? 5 : 4);
}

static void test_escape(void **state)
{
#define CASE(text, out)             \
    {                               \
        text, sizeof(text) - 1, out \
    }
    static const struct {
        const char *text;
        size_t len;
        const char *out;
    } cases[] = {
        CASE("", ""),
        CASE("plain / text", "plain / text"),
        CASE("\"\\\b\f\n\r\t", "\\\"\\\\\\b\\f\\n\\r\\t"),
        CASE("\x00\x01\x1f\x7f", "\\u0000\\u0001\\u001f\x7f"),
        CASE("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
        CASE("a\xFFz", "a\xEF\xBF\xBDz"),
        CASE("a\xE2\x82", "a\xEF\xBF\xBD"),
        CASE("\xE2\x82\"", "\xEF\xBF\xBD\\\""),
    };
#undef CASE

    (void)state;
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        op_buf_clear(&buf);
        op_json_escape(&buf, cases[i].text, cases[i].len);
        assert_string_equal(buf.ptr, cases[i].out);
    }
}

/* Every byte at every offset around the vector width and the chunk, read back by the parser. */
static void test_escape_positions(void **state)
{
    static const size_t pads[] = {0,  1,   7,   14,  15,  16,  17,  31,
                                  33, 509, 510, 511, 512, 513, 1030};
    struct op_json_parser *parser = op_json_parser_new();
    struct op_err err = OP_ERR_INIT;

    (void)state;
    for (size_t k = 0; k < OP_COUNT(pads); k++) {
        for (unsigned cp = 0; cp < 0x120; cp++) {
            char text[1200];
            size_t n = pads[k];
            struct op_json v = {0};
            memset(text, 'x', n);
            if (cp < 0x80) {
                text[n++] = (char)cp;
            } else {
                text[n++] = (char)(0xC0 | cp >> 6);
                text[n++] = (char)(0x80 | (cp & 0x3F));
            }
            memset(text + n, 'y', 20);
            n += 20;
            op_buf_clear(&buf);
            op_buf_addc(&buf, '"');
            op_json_escape(&buf, text, n);
            op_buf_addc(&buf, '"');
            assert_int_equal(op_json_parse(parser, buf.ptr, buf.len, true, &v, &err), OP_OK);
            assert_int_equal(op_json_str(v).len, n);
            assert_memory_equal(op_json_str(v).ptr, text, n);
        }
    }
    op_json_parser_free(parser);
}

/* A small ceiling: exactly what fits is accepted, one byte more fails. */
static void test_escape_ceiling(void **state)
{
    struct op_buf small;
    struct op_err err = OP_ERR_INIT;
    char text[600];

    (void)state;
    memset(text, '\n', sizeof(text));
    op_buf_init(&small, 1200);
    op_json_escape(&small, text, 600);
    assert_int_equal(op_buf_finish(&small, "text", &err), OP_OK);
    assert_int_equal(small.len, 1200);
    op_buf_clear(&small);
    op_buf_addc(&small, 'x');
    op_json_escape(&small, text, 600);
    assert_int_equal(op_buf_finish(&small, "text", &err), OP_INVAL);
    op_buf_release(&small);
}

static void test_double(void **state)
{
    static const struct {
        double value;
        const char *out;
    } cases[] = {
        {0, "0"},
        {-0.0, "-0.0"},
        {1, "1"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {1e15, "1000000000000000"},
        {1e16, "1e+16"},
        {123456789012345680.0, "1.2345678901234568e+17"},
        {9007199254740993.0, "9007199254740992"},
        {1e-4, "0.0001"},
        {1.25e-4, "0.000125"},
        {1e-5, "1e-05"},
        {5e-324, "5e-324"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {1e22, "1e+22"},
        {100, "100"},
        {123.456, "123.456"},
        {NAN, "null"},
        {INFINITY, "null"},
        {-INFINITY, "null"},
    };

    (void)state;
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        char text[33] = {0};
        text[op_json_format_double(cases[i].value, text)] = '\0';
        assert_string_equal(text, cases[i].out);
    }
}

static void test_double_round_trip(void **state)
{
    uint64_t x = 88172645463325252u;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        char text[33];
        double d;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(&d, &x, sizeof(d));
        if (!isfinite(d))
            continue;
        size_t len = op_json_format_double(d, text);
        assert_true(len <= 32);
        text[len] = '\0';
        assert_true(strtod(text, NULL) == d);
    }
}

static void test_copy_and_canonical(void **state)
{
    static const struct {
        const char *text, *copy, *canonical;
    } cases[] = {
        {"{\"b\":1,\"a\":[2.0,{\"d\":null,\"c\":\"\\u00e9\\n\"}]}",
         "{\"b\":1,\"a\":[2,{\"d\":null,\"c\":\"\xC3\xA9\\n\"}]}",
         "{\"a\":[2,{\"c\":\"\xC3\xA9\\n\",\"d\":null}],\"b\":1}"},
        {"{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}"},
        {"[1e16,10000000000000000,1e19,10000000000000000000,1e20,-0.0,0.5]",
         "[1e+16,10000000000000000,1e+19,10000000000000000000,1e+20,-0.0,0.5]",
         "[10000000000000000,10000000000000000,10000000000000000000,10000000000000000000,"
         "1e+20,0,0.5]"},
        {"{\"ab\":1,\"a\":2,\"\":3,\"b\":true}", "{\"ab\":1,\"a\":2,\"\":3,\"b\":true}",
         "{\"\":3,\"a\":2,\"ab\":1,\"b\":true}"},
        {"[[],{},false,\"\"]", "[[],{},false,\"\"]", "[[],{},false,\"\"]"},
    };
    struct op_json_parser *parser = op_json_parser_new();

    (void)state;
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_json v = {0};
        const char *text = cases[i].text;
        assert_int_equal(op_json_parse(parser, text, strlen(text), false, &v, &err), OP_OK);
        op_buf_clear(&buf);
        op_json_write(&buf, v);
        assert_string_equal(buf.ptr, cases[i].copy);
        op_buf_clear(&buf);
        op_json_write_canonical(&buf, v);
        assert_string_equal(buf.ptr, cases[i].canonical);
    }
    op_json_parser_free(parser);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_writer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deeper_than_the_bits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_escape, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_escape_positions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_escape_ceiling, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_double, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_double_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_copy_and_canonical, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
