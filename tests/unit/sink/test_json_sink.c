/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the json output: rows into an array or object of a document, the rest of it kept, and
 *            the text functions it is made of.
 * Oracle:    tables of documents; a document's other values must keep their bytes; random documents
 *            copied must parse to equal values.
 */
#include "base/json.h"
#include "sink/jsontext.h"
#include "support.h"

struct merge_case {
    const char *label;
    struct test_sink sink;
    const char *old, *rows, *want;
};

#define SPEC(...)                                                                  \
    {                                                                              \
        .kind = "json", .target = "t.json", .columns = {"id", "v"}, .key = {"id"}, \
        .options = {                                                               \
            __VA_ARGS__                                                            \
        }                                                                          \
    }

static void merges(void **state)
{
    (void)state;
    static const struct merge_case cases[] = {
        {"fresh array", SPEC({NULL}), NULL, "1|a\n2|N\n1|b",
         "[\n  {\n    \"id\": 1,\n    \"v\": \"b\"\n  },\n  {\n    \"id\": 2,\n    \"v\": null\n  }\n]\n"},
        {"fresh object", SPEC({"as", "object"}), "  \n", "1|a\nx\"y|2.5",
         "{\n  \"1\": {\n    \"id\": 1,\n    \"v\": \"a\"\n  },\n  \"x\\\"y\": {\n    \"id\": \"x\\\"y\",\n    \"v\": 2.5\n  }\n}\n"},
        {"array merged", SPEC({NULL}),
         "[{\"v\":0,\"id\":1.0, \"more\":[]},7,{\"id\":\"1\"},{\"id\":1}]", "1|new\n3|c",
         "[\n  {\n    \"id\": 1,\n    \"v\": \"new\"\n  },\n  7,\n  {\n    \"id\": \"1\"\n  },\n  {\n    \"id\": 3,\n    \"v\": \"c\"\n  }\n]\n"},
        {"the rest keeps its bytes",
         SPEC({"at", "/a~1b/1/rows"}, {"as", "object"}, {"omit_key", "true"}),
         "\xEF\xBB\xBF{\"n\": 12345678901234567890123, \"f\":1.50e+2, \"s\":\"\\u00e9\\/\",\"a/b\":[null,{\"rows\":{\"x\":{},\"1\":[1,2]},\"z\":true}]}",
         "1|a",
         "{\n  \"n\": 12345678901234567890123,\n  \"f\": 1.50e+2,\n  \"s\": \"\\u00e9\\/\",\n  \"a/b\": [\n    null,\n    {\n      \"rows\": {\n        \"x\": {},\n        \"1\": {\n          \"v\": \"a\"\n        }\n      },\n      \"z\": true\n    }\n  ]\n}\n"},
        {"new containers on the way", SPEC({"at", "/batches/active"}, {"as", "array"}),
         "{\"v\":1}", "1|a",
         "{\n  \"v\": 1,\n  \"batches\": {\n    \"active\": [\n      {\n        \"id\": 1,\n        \"v\": \"a\"\n      }\n    ]\n  }\n}\n"},
        {"no document, a pointer", SPEC({"at", "/a/b"}), NULL, "1|a",
         "{\n  \"a\": {\n    \"b\": [\n      {\n        \"id\": 1,\n        \"v\": \"a\"\n      }\n    ]\n  }\n}\n"},
        {"null is no container", SPEC({"at", "/a"}), "{\"a\":null}", "1|a",
         "{\n  \"a\": [\n    {\n      \"id\": 1,\n      \"v\": \"a\"\n    }\n  ]\n}\n"},
        {"a value of its own", SPEC({"as", "object"}, {"value", "v"}, {"json_columns", "v"}),
         "{\"b\":1,\"\\u0061\":2,\"b\":3}", "a|{\"deep\": [1, {}]}\nb|N",
         "{\n  \"b\": null,\n  \"a\": {\n    \"deep\": [\n      1,\n      {}\n    ]\n  }\n}\n"},
        {"no key: the container is replaced",
         {.kind = "json", .target = "t.json", .columns = {"id"}, .options = {{"at", "/rows"}}},
         "{\"x\":1,\"rows\":[1,2,3]}",
         "5\n5",
         "{\n  \"x\": 1,\n  \"rows\": [\n    {\n      \"id\": 5\n    },\n    {\n      \"id\": 5\n    }\n  ]\n}\n"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        int64_t live = op_mem_live();
        struct op_sink *sink = test_sink(&cases[i].sink);

        unlink(test_target);
        unlink(test_outbox);
        test_end = 0;
        if (cases[i].old)
            test_put(test_target, cases[i].old);
        test_rows(sink, cases[i].rows, false);
        for (int again = 0; again < 2; again++) {
            test_deliver(sink, 0, test_end);
            test_file_label(cases[i].label, cases[i].want);
        }
        op_sink_close(sink);
        assert_int_equal(op_mem_live(), live);
    }
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        struct test_sink sink;
        const char *old, *want;
    } cases[] = {
        {SPEC({NULL}), "[1,", "the existing file cannot be merged, it stays as it is"},
        {SPEC({NULL}), "{\"a\":1}",
         "at '' there is a value of type object where 'as: array' was asked for"},
        {SPEC({"at", "/a/b"}), "{\"a\":1}",
         "at: '/a/b' leads through a value of type integer at its part 'b'"},
        {SPEC({"at", "/2"}), "[1]", "the array has no element '2'"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_sink *sink = test_sink(&cases[i].sink);
        struct op_err err = OP_ERR_INIT;
        int64_t delivered = -1;
        unlink(test_outbox);
        test_end = 0;
        test_put(test_target, cases[i].old);
        test_rows(sink, "1|a", false);
        assert_int_equal(
            op_sink_deliver(sink, test_outbox, 0, test_end, true, &delivered, &err), OP_INVAL);
        if (!strstr(err.msg, cases[i].want))
            fail_msg("got: %s\nwant: %s", err.msg, cases[i].want);
        test_file_is(test_target, cases[i].old);
        op_sink_close(sink);
    }
}

static void too_large(void **state)
{
    (void)state;
    static const struct test_sink spec = SPEC({NULL});
    struct op_sink *sink = test_sink(&spec);
    size_t len = 65u << 20;
    char *text = op_mem_alloc(len);
    memset(text, ' ', len);
    test_write_file(test_target, text, len);
    op_mem_free(text);
    test_rows(sink, "1|a", false);
    struct op_err err = OP_ERR_INIT;
    int64_t delivered = -1;
    assert_int_equal(op_sink_deliver(sink, test_outbox, 0, test_end, true, &delivered, &err),
                     OP_INVAL);
    assert_non_null(strstr(err.msg, "67108864"));
    op_sink_close(sink);
}

static void bad_options(void **state)
{
    (void)state;
    static const struct {
        struct test_sink sink;
        const char *want;
    } cases[] = {
        {SPEC({"at", "a"}), "p:9: option 'at' is a JSON pointer like /batches/active, not 'a'"},
        {SPEC({"as", "list"}), "p:9: option 'as' is array or object, not 'list'"},
        {SPEC({"value", "v"}), "p:9: 'value' and 'omit_key' go with 'as: object'"},
        {{.kind = "json", .target = "t", .columns = {"id"}, .options = {{"as", "object"}}},
         "p:9: 'as: object' needs exactly one key column"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        int64_t live = op_mem_live();
        struct op_sink *sink = NULL;
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(test_try_sink(&cases[i].sink, &sink, &err), OP_INVAL);
        if (!op_str_starts(op_str_from(err.msg), cases[i].want))
            fail_msg("got: %s\nwant: %s", err.msg, cases[i].want);
        assert_int_equal(op_mem_live(), live);
    }
    static const struct test_sink object = SPEC({"as", "object"});
    struct op_sink *sink = test_sink(&object);
    struct op_value cells[2] = {op_value_null(), op_value_int(1)};
    struct op_buf out;
    struct op_err err = OP_ERR_INIT;
    op_buf_init(&out, 1000);
    assert_int_equal(op_sink_encode(sink, OP_STR_NULL, cells, &out, &err), OP_INVAL);
    assert_int_equal(err.disp, OP_DISP_REJECT);
    assert_int_equal(out.len, 0);
    op_buf_release(&out);
    op_sink_close(sink);
}

static void full_disk(void **state)
{
    (void)state;
    static const struct test_sink spec = SPEC({"at", "/r"});
    struct op_sink *sink = test_sink(&spec);
    test_rows(sink, "1|a", false);
    op_sink_close(sink);
    test_full_disk(
        &spec, "{\"k\":1}",
        "{\n  \"k\": 1,\n  \"r\": [\n    {\n      \"id\": 1,\n      \"v\": \"a\"\n    }\n  ]\n}\n");
}

static void many_targets(void **state)
{
    (void)state;
    static const struct test_sink spec = {.kind = "json",
                                          .target = "o/{{id}}.json",
                                          .columns = {"id", "v"},
                                          .key = {"id"},
                                          .per_row_path = true};
    struct op_sink *sink = test_sink(&spec);
    test_rows(sink, "o/1.json|1|a\no/2.json|2|b\no/1.json|1|c", true);
    test_deliver(sink, 0, test_end);
    char path[128];
    snprintf(path, sizeof(path), "%s/o/1.json", test_folder);
    test_file_is(path, "[\n  {\n    \"id\": 1,\n    \"v\": \"c\"\n  }\n]\n");
    snprintf(path, sizeof(path), "%s/o/2.json", test_folder);
    test_file_is(path, "[\n  {\n    \"id\": 2,\n    \"v\": \"b\"\n  }\n]\n");
    op_sink_close(sink);
}

static void text_table(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want; /* NULL: no JSON */
    } cases[] = {
        {"1", "1"},
        {" -0.5E-3 ", "-0.5E-3"},
        {"\"a\\u12aB\\n\"", "\"a\\u12aB\\n\""},
        {"[ ]", "[]"},
        {"{ }", "{}"},
        {"[1 , [2,{\"a\" :null}] ]", "[1,[2,{\"a\":null}]]"},
        {"true", "true"},
        {"", NULL},
        {" ", NULL},
        {"01", NULL},
        {"1.", NULL},
        {"-", NULL},
        {"+1", NULL},
        {"1e", NULL},
        {".5", NULL},
        {"nul", NULL},
        {"truex", NULL},
        {"[1,]", NULL},
        {"[,1]", NULL},
        {"[1 2]", NULL},
        {"[1", NULL},
        {"[1}", NULL},
        {"{\"a\":1]", NULL},
        {"{\"a\"}", NULL},
        {"{\"a\":}", NULL},
        {"{a:1}", NULL},
        {"{\"a\":1,}", NULL},
        {"{\"a\":1 \"b\":2}", NULL},
        {"\"a", NULL},
        {"\"\\x\"", NULL},
        {"\"\\u12g4\"", NULL},
        {"\"\\u12", NULL},
        {"\"\n\"", NULL},
        {"1 1", NULL},
        {"]", NULL},
        {"{\"a\" 1}", NULL},
    };
    struct op_buf out;
    op_buf_init(&out, 10000);
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        op_buf_clear(&out);
        bool ok = op_jsontext_copy(&out, op_str_from(cases[i].text), 0, 0);
        if (ok != (cases[i].want != NULL))
            fail_msg("'%s' is %s", cases[i].text, ok ? "taken" : "refused");
        if (ok)
            assert_string_equal(out.ptr, cases[i].want);
    }
    for (int depth = OP_JSON_DEPTH; depth <= OP_JSON_DEPTH + 1; depth++) {
        char deep[3 * OP_JSON_DEPTH] = {0};
        memset(deep, '[', (size_t)depth);
        deep[depth] = '1';
        memset(deep + depth + 1, ']', (size_t)depth);
        op_buf_clear(&out);
        assert_int_equal(op_jsontext_copy(&out, op_str_from(deep), 2, 0),
                         depth <= OP_JSON_DEPTH);
    }
    op_buf_release(&out);
}

static uint64_t random_state = 7;
static unsigned draw(unsigned below)
{
    random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(random_state >> 33) % below;
}

static void add_random(struct op_buf *out, int depth)
{
    static const char *const scalars[] = {"1",    "-2.50", "\"x\\\"y\"", "null",
                                          "true", "\"\"",  "1e9"};
    static const char *const spaces[] = {"", "", " ", "\n", "\t  "};
    unsigned kind = depth < 5 ? draw(4) : 0;
    op_buf_addz(out, spaces[draw(5)]);
    if (kind < 2) {
        op_buf_addz(out, scalars[draw(7)]);
    } else {
        op_buf_addc(out, kind == 2 ? '[' : '{');
        for (unsigned i = 0, count = draw(4); i < count; i++) {
            op_buf_addz(out, i ? "," : "");
            if (kind == 3)
                op_buf_addf(out, "%s\"m%u\"%s:", spaces[draw(5)], i, spaces[draw(5)]);
            add_random(out, depth + 1);
        }
        op_buf_addz(out, spaces[draw(5)]);
        op_buf_addc(out, kind == 2 ? ']' : '}');
    }
    op_buf_addz(out, spaces[draw(5)]);
}

static void random_documents(void **state)
{
    (void)state;
    struct op_buf in, out;
    op_buf_init(&in, 1 << 20);
    op_buf_init(&out, 1 << 20);
    struct op_json_parser *a = op_json_parser_new(), *b = op_json_parser_new();
    for (int i = 0; i < 3000; i++) {
        struct op_json ja, jb;
        struct op_err err = OP_ERR_INIT;
        op_buf_clear(&in);
        op_buf_clear(&out);
        add_random(&in, 0);
        assert_true(op_jsontext_copy(&out, op_buf_str(&in), i % 3, 0));
        assert_int_equal(op_json_parse(a, in.ptr, in.len, true, &ja, &err), OP_OK);
        assert_int_equal(op_json_parse(b, out.ptr, out.len, true, &jb, &err), OP_OK);
        assert_true(op_json_equal(ja, jb));
        size_t count = 0;
        struct op_jsontext_iter it = op_jsontext_iter(op_buf_str(&in));
        bool container = op_json_is(ja, OP_JSON_ARRAY) || op_json_is(ja, OP_JSON_OBJECT);
        while (container && op_jsontext_next(&it))
            count++;
        assert_int_equal(count, op_json_count(ja));
    }
    op_json_parser_free(a);
    op_json_parser_free(b);
    op_buf_release(&in);
    op_buf_release(&out);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, test_setup, test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(merges),    TEST(refusals),     TEST(too_large),  TEST(bad_options),
        TEST(full_disk), TEST(many_targets), TEST(text_table), TEST(random_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
