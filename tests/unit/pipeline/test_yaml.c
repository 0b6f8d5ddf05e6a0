/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: reading one strict YAML document: nodes with lines, JSON as YAML, everything that is
 *            refused, typed reads, writing as JSON.
 * Oracle:    the texts' own line numbers; JSON texts must come out as they went in; the core schema
 *            of YAML 1.2; a table of refusals with their whole message.
 */
#include "pipeline/yaml.h"
#include "support.h"

static const struct op_yaml *parse(struct op_arena *arena, const char *text)
{
    struct op_err err = OP_ERR_INIT;
    const struct op_yaml *root = NULL;
    if (op_yaml_parse(arena, "f.yaml", op_str_from(text), &root, &err))
        fail_msg("%s", err.msg);
    return root;
}

static void test_lines(void **state)
{
    (void)state;
    struct op_arena arena = {0};
    const struct op_yaml *root = parse(&arena, "# head\n"
                                               "a: 1\n"
                                               "b:\n"
                                               "  - x\n"
                                               "  - {c: y,\n"
                                               "     d: z}\n"
                                               "sql: |\n"
                                               "  SELECT 1\n"
                                               "  FROM t\n"
                                               "e:\n");
    assert_int_equal(root->kind, OP_YAML_MAP);
    assert_int_equal(root->count, 4);
    assert_string_equal(root->file, "f.yaml");
    assert_int_equal(op_yaml_get(root, "a")->line, 2);
    const struct op_yaml *list = op_yaml_get(root, "b");
    assert_int_equal(list->kind, OP_YAML_LIST);
    assert_int_equal(list->key_line, 3);
    assert_int_equal(list->first->line, 4);
    assert_null(list->first->key);
    const struct op_yaml *map = list->first->next;
    assert_true(map->flow);
    assert_int_equal(op_yaml_get(map, "d")->line, 6);
    const struct op_yaml *sql = op_yaml_get(root, "sql");
    assert_string_equal(sql->text, "SELECT 1\nFROM t\n");
    assert_int_equal(sql->key_line, 7);
    assert_int_equal(sql->line, 8);
    assert_true(sql->quoted);
    assert_true(op_yaml_is_null(op_yaml_get(root, "e")));
    assert_null(op_yaml_get(root, "f"));
    assert_null(op_yaml_get(list, "f"));
    op_arena_release(&arena);
}

static char *as_json(const char *text)
{
    struct op_arena arena = {0};
    struct op_buf buf;
    struct op_json_out out;
    op_buf_init(&buf, 4096);
    op_json_out_init(&out, &buf, 0);
    op_yaml_write_json(parse(&arena, text), &out);
    op_arena_release(&arena);
    char *json = op_buf_take(&buf);
    op_buf_release(&buf);
    return json;
}

static void test_json(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"a\":1,\"b\":[true,false,null,\"x\"],\"c\":{}}",
        "[]",
        "{\"text\":\"line\\nbreak \\\"q\\\" \\\\ / {{x}} ünï\"}",
        "{\"n\":[0,-7,2.5,9223372036854775807]}",
        "{\"looks\":[\"1\",\"true\",\"null\",\"\"]}",
        "\"only a text\"",
        "{\"deep\":[[[[[[1]]]]]]}",
    };
    for (size_t i = 0; i < OP_COUNT(texts); i++) {
        char *json = as_json(texts[i]);
        assert_string_equal(json, texts[i]);
        op_mem_free(json);
    }
    char *pretty = as_json("{\n\t\"a\" : [ 1 ,\n\t\t2 ] ,\n\t\"b\" : \"\\u00e9\\/\"\n}\n");
    assert_string_equal(pretty, "{\"a\":[1,2],\"b\":\"é/\"}");
    op_mem_free(pretty);
}

static void test_core_schema(void **state)
{
    (void)state;
    char *json =
        as_json("[true, True, yes, on, no, ~, null, 1, 007, -3, +4, 1.5, 1e3, .inf, 0x1f, "
                "'1', 2024-05-01, a b]");
    assert_string_equal(json, "[true,true,\"yes\",\"on\",\"no\",null,null,1,7,-3,4,1.5,1000,"
                              "\".inf\",\"0x1f\",\"1\",\"2024-05-01\",\"a b\"]");
    op_mem_free(json);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } table[] = {
        {"", "f.yaml:1: the file is empty"},
        {"# nothing\n", "f.yaml:1: the file is empty"},
        {"a: 1\nb: &x 2\n", "f.yaml:2: anchors (&x) are not supported: write the value out"},
        {"a: &x {b: 1}\n", "f.yaml:1: anchors (&x) are not supported: write the value out"},
        {"a: *x\n",
         "f.yaml:1: aliases (*x) are not supported; a text that begins with '*' needs "
         "quotes"},
        {"*x : 1\n", "f.yaml:1: aliases (*x) are not supported: write the value out"},
        {"a: !!str 1\n",
         "f.yaml:1: tags (tag:yaml.org,2002:str) are not supported; a text that "
         "begins with '!' needs quotes"},
        {"a: !x [1]\n",
         "f.yaml:1: tags (!x) are not supported; a text that begins with '!' needs "
         "quotes"},
        {"<<: {a: 1}\n", "f.yaml:1: merges (<<) are not supported: write the keys out"},
        {"a: 1\nb: 2\na: 3\n", "f.yaml:3: the key 'a' stands twice, first in line 1"},
        {"{\"a\":1,\"a\":2}", "f.yaml:1: the key 'a' stands twice, first in line 1"},
        {"a: {{path}}\n",
         "f.yaml:1: a key must be a word; a value that begins with {{ needs quotes "
         "around it, as in \"{{name}}\""},
        {"a: 1\n---\nb: 2\n", "f.yaml:2: a second document begins here; one is allowed"},
        {"%TAG ! tag:x,2000:\n---\na: 1\n", "f.yaml:1: tags (%TAG) are not supported"},
        {"a: \"x\\0y\"\n", "f.yaml:1: a text must not hold a NUL character"},
        {"\"x\\0y\": 1\n", "f.yaml:1: a key must not hold a NUL character"},
        {"a: [1, 2\nb: 3\n", "f.yaml:2: did not find expected ',' or ']' while parsing a flow "
                             "sequence that began in line 1"},
        {"a: b: c\n", "f.yaml:1: mapping values are not allowed in this context"},
        {"a:\n\tb: 1\n",
         "f.yaml:2: found character that cannot start any token while scanning for "
         "the next token"},
        {"a: 'x\n",
         "f.yaml:2: found unexpected end of stream while scanning a quoted scalar that "
         "began in line 1"},
        {"a: 1\nb: \xff\n",
         "f.yaml:2: invalid leading UTF-8 octet; the file must be plain UTF-8 text"},
        {"a: \x01\n",
         "f.yaml:1: control characters are not allowed; the file must be plain UTF-8 text"},
    };
    for (size_t i = 0; i < OP_COUNT(table); i++) {
        struct op_arena arena = {0};
        struct op_err err = OP_ERR_INIT;
        const struct op_yaml *root = NULL;
        assert_int_equal(
            op_yaml_parse(&arena, "f.yaml", op_str_from(table[i].text), &root, &err), OP_INVAL);
        assert_string_equal(err.msg, table[i].message);
        assert_null(root);
        op_arena_release(&arena);
    }
}

static void test_limits(void **state)
{
    (void)state;
    struct op_arena arena = {0};
    struct op_err err = OP_ERR_INIT;
    const struct op_yaml *root = NULL;
    char deep[2 * OP_YAML_MAX_DEPTH + 3];
    for (int levels = OP_YAML_MAX_DEPTH; levels <= OP_YAML_MAX_DEPTH + 1; levels++) {
        memset(deep, '[', (size_t)levels);
        memset(deep + levels, ']', (size_t)levels);
        struct op_str text = {deep, 2 * (size_t)levels};
        op_err_clear(&err);
        enum op_rc rc = op_yaml_parse(&arena, "f.yaml", text, &root, &err);
        assert_int_equal(rc, levels == OP_YAML_MAX_DEPTH ? OP_OK : OP_INVAL);
    }
    assert_string_equal(err.msg, "f.yaml:1: nested deeper than 32 levels");

    char *large = op_mem_alloc(OP_YAML_MAX_BYTES + 2);
    memset(large, 'x', OP_YAML_MAX_BYTES + 1);
    op_err_clear(&err);
    struct op_str text = {large, OP_YAML_MAX_BYTES + 1};
    assert_int_equal(op_yaml_parse(&arena, "f.yaml", text, &root, &err), OP_INVAL);
    assert_string_equal(err.msg, "f.yaml:1: the file has 1048577 bytes, 1048576 are allowed");
    text.len--;
    op_err_clear(&err);
    assert_int_equal(op_yaml_parse(&arena, "f.yaml", text, &root, &err), OP_OK);
    assert_int_equal(root->len, OP_YAML_MAX_BYTES);
    op_mem_free(large);

    op_err_clear(&err);
    char key[OP_YAML_MAX_KEY + 16];
    memset(key, 'k', sizeof(key));
    memcpy(key, "{\"", 2);
    memcpy(key + sizeof(key) - 5, "\":1}", 5);
    assert_int_equal(op_yaml_parse(&arena, "f.yaml", op_str_from(key), &root, &err), OP_INVAL);
    op_arena_release(&arena);
}

static void test_byte_order_mark(void **state)
{
    (void)state;
    struct op_arena arena = {0};
    assert_string_equal(op_yaml_get(parse(&arena, "\xEF\xBB\xBF"
                                                  "a: b\r\nc: d\r\n"),
                                    "c")
                            ->text,
                        "d");
    struct op_err err = OP_ERR_INIT;
    const struct op_yaml *root = NULL;
    struct op_str utf16 = {"\xFF\xFE"
                           "a\0:\0 \0b\0",
                           10};
    assert_int_equal(op_yaml_parse(&arena, "f.yaml", utf16, &root, &err), OP_INVAL);
    op_arena_release(&arena);
}

static void test_typed(void **state)
{
    (void)state;
    struct op_arena arena = {0};
    struct op_err err = OP_ERR_INIT;
    const struct op_yaml *root = parse(&arena, "i: 42\nb: true\nt: x\nn:\nl: [1]\nq: \"7\"\n");
    int64_t i = 0;
    bool b = false;
    const char *t = NULL;
    assert_int_equal(op_yaml_int(op_yaml_get(root, "i"), &i, &err), OP_OK);
    assert_int_equal(i, 42);
    assert_int_equal(op_yaml_bool(op_yaml_get(root, "b"), &b, &err), OP_OK);
    assert_true(b);
    assert_int_equal(op_yaml_text(op_yaml_get(root, "i"), &t, &err), OP_OK);
    assert_string_equal(t, "42");

    assert_int_equal(op_yaml_int(op_yaml_get(root, "t"), &i, &err), OP_INVAL);
    assert_string_equal(err.msg, "f.yaml:3: 't' must be a whole number, not 'x'");
    op_err_clear(&err);
    assert_int_equal(op_yaml_bool(op_yaml_get(root, "i"), &b, &err), OP_INVAL);
    assert_string_equal(err.msg, "f.yaml:1: 'i' must be true or false, not '42'");
    op_err_clear(&err);
    assert_int_equal(op_yaml_text(op_yaml_get(root, "n"), &t, &err), OP_INVAL);
    assert_string_equal(err.msg, "f.yaml:4: 'n' must be a text, not nothing");
    op_err_clear(&err);
    assert_int_equal(op_yaml_text(op_yaml_get(root, "l"), &t, &err), OP_INVAL);
    assert_string_equal(err.msg, "f.yaml:5: 'l' must be a text, not a list");
    op_arena_release(&arena);
    assert_int_equal(op_mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),       cmocka_unit_test(test_json),
        cmocka_unit_test(test_core_schema), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_limits),      cmocka_unit_test(test_byte_order_mark),
        cmocka_unit_test(test_typed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
