/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: Mustache templates over rows and JSON values: rendering, escaping, binding, strict
 *            mode, errors with file and line, and bounds.
 * Oracle:    the Mustache specification's own tests (all required modules) and literal texts.
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
#include "base/template.h"

static struct op_template_scratch *scratch;
static struct op_buf out;

static int set_up(void **state)
{
    (void)state;
    scratch = op_template_scratch_new();
    op_buf_init(&out, 16 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    op_template_scratch_free(scratch);
    op_buf_release(&out);
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

static bool partial_of_json(void *arg, const char *name, struct op_str *ret)
{
    const struct op_json *partials = arg;
    struct op_str text = op_json_str(op_json_get(*partials, name));

    if (!text.ptr)
        return false;
    *ret = text;
    return true;
}

static void run_spec_test(const char *module, struct op_json test)
{
    struct op_json partials = op_json_get(test, "partials");
    struct op_template_options options = {OP_ESCAPE_HTML, false, partial_of_json, &partials};
    struct op_template_root root = {.json = op_json_get(test, "data")};
    struct op_template *tpl OP_CLEANUP(op_template_freep) = NULL;
    struct op_err err = OP_ERR_INIT;
    struct op_str expected = op_json_str(op_json_get(test, "expected"));
    struct op_str name = op_json_str(op_json_get(test, "name"));

    op_buf_clear(&out);
    if (op_template_compile(op_json_str(op_json_get(test, "template")), "spec", &options, &tpl,
                            &err) ||
        op_template_render(tpl, scratch, &root, &out, &err))
        fail_msg("%s, %.*s: %s", module, OP_STR_ARG(name), err.msg);
    if (!op_str_eq(op_buf_str(&out), expected))
        fail_msg("%s, %.*s: expected [%.*s], got [%s]", module, OP_STR_ARG(name),
                 OP_STR_ARG(expected), out.ptr);
}

static void test_specification(void **state)
{
    static const char *const modules[] = {"comments", "delimiters", "interpolation",
                                          "inverted", "partials",   "sections"};
    struct op_buf file;

    (void)state;
    op_buf_init(&file, 16 << 20);
    for (size_t i = 0; i < OP_COUNT(modules); i++) {
        char path[4096];
        struct op_json_parser *parser = op_json_parser_new();
        struct op_err err = OP_ERR_INIT;
        struct op_json root;
        snprintf(path, sizeof(path), "%s/suites/mustache/specs/%s.json", OP_SHARED_DIR,
                 modules[i]);
        if (!read_file(path, &file)) {
            op_json_parser_free(parser);
            op_buf_release(&file);
            skip();
        }
        assert_int_equal(op_json_parse(parser, file.ptr, file.len, true, &root, &err), OP_OK);
        struct op_json_iter it = op_json_iter(op_json_get(root, "tests"));
        while (op_json_next(&it))
            run_spec_test(modules[i], it.value);
        print_message("%s: %zu tests passed\n", modules[i], it.index + 1);
        op_json_parser_free(parser);
    }
    op_buf_release(&file);
}

static const char *const columns[] = {"id", "title", "score", "items", "none", "blob", "flag"};

static void make_cells(struct op_value *cells)
{
    cells[0] = op_value_int(-42);
    cells[1] = op_value_text(OP_STR("a \"quoted\"\n<title>"));
    cells[2] = op_value_double(2.5);
    cells[3] =
        op_value_text(OP_STR(" [{\"n\":1,\"t\":\"x\"},{\"n\":2.50,\"t\":null},{\"n\":3}]"));
    cells[4] = op_value_null();
    cells[5] = (struct op_value){.type = OP_VALUE_BLOB, .s = OP_STR("by\xFFte")};
    cells[6] = op_value_int(0);
}

static bool partial_of_table(void *arg, const char *name, struct op_str *ret)
{
    const char *const *table = arg;

    for (; *table; table += 2) {
        if (strcmp(table[0], name) == 0) {
            *ret = op_str_from(table[1]);
            return true;
        }
    }
    return false;
}

static const char *const partials[] = {
    "greet", "Hello {{title}}",
    "tree",  "{{n}}\n{{#kids}}\n  {{>tree}}\n{{/kids}}\n",
    "loop",  "{{>loop}}",
    "bad",   "line one\n{{#x}}",
    "mixed", "a\n{{>inner}} b {{>inner}}\n  {{>inner}}\nc",
    "inner", "1\n2\n",
    NULL,
};

struct row_case {
    const char *text;
    enum op_template_escape escape;
    bool strict;
    const char *out; /* or part of the error when failing */
    bool fails;
};

/* Compiles, binds and renders over the row above. */
static enum op_rc render_row(const struct row_case *c, bool bind, struct op_err *err)
{
    struct op_template_options options = {c->escape, c->strict, partial_of_table,
                                          (void *)(uintptr_t)partials};
    struct op_value cells[OP_COUNT(columns)];
    struct op_template_root root = {columns, cells, OP_COUNT(columns), {0}};
    struct op_template *tpl OP_CLEANUP(op_template_freep) = NULL;
    enum op_rc rc;

    make_cells(cells);
    op_buf_clear(&out);
    rc = op_template_compile(op_str_from(c->text), "t.md", &options, &tpl, err);
    if (!rc && bind)
        rc = op_template_bind(tpl, columns, OP_COUNT(columns), err);
    return rc ? rc : op_template_render(tpl, scratch, &root, &out, err);
}

static void run_row_cases(const struct row_case *cases, size_t count)
{
    for (size_t i = 0; i < 2 * count; i++) {
        const struct row_case *c = &cases[i / 2];
        struct op_err err = OP_ERR_INIT;
        enum op_rc rc = render_row(c, i % 2, &err);
        if (c->fails) {
            if (rc != OP_INVAL || !strstr(err.msg, c->out))
                fail_msg("%s: expected the error [%s], got %d [%s]", c->text, c->out, rc,
                         rc ? err.msg : out.ptr);
        } else if (rc) {
            fail_msg("%s: %s", c->text, err.msg);
        } else {
            assert_string_equal(out.ptr, c->out);
        }
    }
}

static void test_rows(void **state)
{
    static const struct row_case cases[] = {
        {"", OP_ESCAPE_NONE, true, ""},
        {"{{id}}|{{title}}|{{score}}|{{none}}|", OP_ESCAPE_NONE, true,
         "-42|a \"quoted\"\n<title>|2.5||"},
        {"<{{title}}|{{{title}}}|{{&title}}", OP_ESCAPE_HTML, true,
         "<a &quot;quoted&quot;\n&lt;title&gt;|a \"quoted\"\n<title>|a \"quoted\"\n<title>"},
        {"\"\n{{title}}{{{title}}}{{blob}}", OP_ESCAPE_JSON, true,
         "\\\"\\na \\\"quoted\\\"\\n<title>a \\\"quoted\\\"\\n<title>by\xEF\xBF\xBDte"},
        {"{{#items}}{{n}}{{t}},{{id}};{{/items}}", OP_ESCAPE_NONE, false,
         "1x,-42;2.5,-42;3,-42;"},
        {"{{#items}}{{#t}}[{{.}}]{{/t}}{{^t}}-{{/t}}{{/items}}", OP_ESCAPE_NONE, true, "[x]--"},
        {"{{#flag}}yes{{/flag}}{{^flag}}no{{/flag}}", OP_ESCAPE_NONE, true, "no"},
        {"{{#none}}yes{{/none}}{{^none}}no{{/none}}", OP_ESCAPE_NONE, true, "no"},
        {"{{#id}}{{.}}{{/id}}", OP_ESCAPE_NONE, true, "-42"},
        {"{{#title}}{{id}}{{/title}}", OP_ESCAPE_NONE, true, "-42"},
        {"{{none.x.y}}", OP_ESCAPE_NONE, true, ""},
        {"{{items}}", OP_ESCAPE_JSON, true,
         " [{\\\"n\\\":1,\\\"t\\\":\\\"x\\\"},{\\\"n\\\":2.50,\\\"t\\\":null},{\\\"n\\\":3}]"},
        {"{{#items}}{{.}}{{/items}}", OP_ESCAPE_NONE, true,
         "{\"n\":1,\"t\":\"x\"}{\"n\":2.5,\"t\":null}{\"n\":3}"},
        {"{{>greet}}!", OP_ESCAPE_NONE, true, "Hello a \"quoted\"\n<title>!"},
        {"{{nope}}{{#nope}}x{{/nope}}{{>nope}}{{^nope}}y{{/nope}}", OP_ESCAPE_NONE, false, "y"},
        {"{{.}}", OP_ESCAPE_HTML, true,
         "{&quot;id&quot;:-42,&quot;title&quot;:&quot;a \\&quot;quoted\\&quot;\\n&lt;title&gt;"
         "&quot;,&quot;score&quot;:2.5,&quot;items&quot;:&quot; [{\\&quot;n\\&quot;:1,"
         "\\&quot;t\\&quot;:\\&quot;x\\&quot;},{\\&quot;n\\&quot;:2.50,\\&quot;t\\&quot;:null},"
         "{\\&quot;n\\&quot;:3}]&quot;,&quot;none&quot;:null,&quot;blob&quot;:&quot;"
         "by\xEF\xBF\xBDte&quot;,&quot;flag&quot;:0}"},
        {"x\n  {{>mixed}}\ny", OP_ESCAPE_NONE, true,
         "x\n  a\n  1\n2\n b 1\n2\n\n    1\n    2\n  cy"},
    };

    (void)state;
    run_row_cases(cases, OP_COUNT(cases));
}

static void test_errors(void **state)
{
    static const struct row_case cases[] = {
        {"a\n{{titel}}", OP_ESCAPE_NONE, true, "t.md:2: there is no ", true},
        {"a\n{{titel}}", OP_ESCAPE_NONE, true,
         "'titel'; did you mean 'title'? There are: id, title", true},
        {"{{#titel}}{{/titel}}", OP_ESCAPE_NONE, true, "did you mean 'title'?", true},
        {"{{#items}}\n{{m}}{{/items}}", OP_ESCAPE_NONE, true, "t.md:2: there is no value 'm'",
         true},
        {"{{#items}}{{n.deep}}{{/items}}", OP_ESCAPE_NONE, true, "no value 'n.deep'", true},
        {"{{>nope}}", OP_ESCAPE_NONE, true, "t.md:1: there is no partial 'nope'", true},
        {"x\n{{>bad}}", OP_ESCAPE_NONE, true, "t.md:2: bad:2: section 'x' is not closed", true},
        {"{{>loop}}", OP_ESCAPE_NONE, false, "include itself without end", true},
        {"\n\n{{id", OP_ESCAPE_NONE, true, "t.md:3: the tag that opens here is not closed",
         true},
        {"{{{id}}", OP_ESCAPE_NONE, true, "is not closed with '}}}'", true},
        {"{{#id}}\n{{/title}}", OP_ESCAPE_NONE, true,
         "t.md:2: 'title' is closed, but the open section is 'id' of line 1", true},
        {"{{/id}}", OP_ESCAPE_NONE, true, "'id' is closed but was not opened", true},
        {"{{}}", OP_ESCAPE_NONE, true, "the tag has no name", true},
        {"{{a..b}}", OP_ESCAPE_NONE, true, "has an empty part", true},
        {"{{\n \"a\": 1}}", OP_ESCAPE_NONE, true, "choose other delimiters: {{=<% %>=}}", true},
        {"{{=<%=}}", OP_ESCAPE_NONE, true, "expected two delimiters", true},
        {"{{= =}}", OP_ESCAPE_NONE, true, "expected two delimiters", true},
    };

    (void)state;
    run_row_cases(cases, OP_COUNT(cases));
}

/* A partial that includes itself gets deeper with each level, without end of compilation. */
static void test_growing_indentation(void **state)
{
    static const char data[] =
        "{\"n\":1,\"kids\":[{\"n\":2,\"kids\":[{\"n\":3,\"kids\":[]}]},{\"n\":4,\"kids\":[]}]}";
    struct op_template_options options = {OP_ESCAPE_NONE, true, partial_of_table,
                                          (void *)(uintptr_t)partials};
    struct op_json_parser *parser = op_json_parser_new();
    struct op_template *tpl = NULL;
    struct op_template_root root = {0};
    struct op_err err = OP_ERR_INIT;

    (void)state;
    assert_int_equal(op_json_parse(parser, data, strlen(data), false, &root.json, &err), OP_OK);
    assert_int_equal(op_template_compile(OP_STR("{{>tree}}"), "t", &options, &tpl, &err),
                     OP_OK);
    assert_int_equal(op_template_render(tpl, scratch, &root, &out, &err), OP_OK);
    assert_string_equal(out.ptr, "1\n  2\n    3\n  4\n");
    op_template_free(tpl);
    op_json_parser_free(parser);
}

static void test_names(void **state)
{
    struct op_template_options options = {OP_ESCAPE_NONE, true, partial_of_table,
                                          (void *)(uintptr_t)partials};
    static const char *const expected[] = {"b", "a", "list", "title", "c", "d"};
    const char *const *names;
    struct op_template *tpl = NULL;
    struct op_err err = OP_ERR_INIT;

    (void)state;
    assert_int_equal(
        op_template_compile(OP_STR("{{b}}{{a.x}}{{#list}}{{inner}}{{/list}}{{>greet}}{{b}}"
                                   "{{^c}}{{d}}{{/c}}{{.}}"),
                            "t", &options, &tpl, &err),
        OP_OK);
    assert_int_equal(op_template_names(tpl, &names), OP_COUNT(expected));
    for (size_t i = 0; i < OP_COUNT(expected); i++)
        assert_string_equal(names[i], expected[i]);
    op_template_free(tpl);
}

/* A row of other columns than the bound ones is found by name; binding again takes effect. */
static void test_rebinding(void **state)
{
    static const char *const first[] = {"a", "b"}, *const second[] = {"b", "a"};
    struct op_value cells[] = {op_value_int(1), op_value_int(2)};
    struct op_template_options options = {OP_ESCAPE_NONE, true, NULL, NULL};
    struct op_template *tpl = NULL;
    struct op_err err = OP_ERR_INIT;

    (void)state;
    assert_int_equal(op_template_compile(OP_STR("{{a}}"), "t", &options, &tpl, &err), OP_OK);
    assert_int_equal(op_template_bind(tpl, first, 2, &err), OP_OK);
    for (int i = 0; i < 4; i++) {
        struct op_template_root root = {i % 2 ? second : first, cells, 2, {0}};
        op_buf_clear(&out);
        assert_int_equal(op_template_render(tpl, scratch, &root, &out, &err), OP_OK);
        assert_string_equal(out.ptr, i % 2 ? "2" : "1");
        if (i == 1)
            assert_int_equal(op_template_bind(tpl, second, 2, &err), OP_OK);
    }
    op_template_free(tpl);
}

static void test_output_limit(void **state)
{
    static const char *const names[] = {"rows", "big"};
    struct op_template_options options = {OP_ESCAPE_NONE, true, NULL, NULL};
    struct op_template *tpl = NULL;
    struct op_value cells[2];
    struct op_template_root root = {names, cells, 2, {0}};
    struct op_err err = OP_ERR_INIT;
    struct op_buf rows, big;

    (void)state;
    op_buf_init(&rows, 1 << 20);
    op_buf_init(&big, 1 << 20);
    op_buf_addz(&rows, "[0");
    for (int i = 0; i < 9999; i++)
        op_buf_addz(&rows, ",1");
    op_buf_addz(&rows, "]");
    for (int i = 0; i < 10000; i++)
        op_buf_addz(&big, "0123456789");
    cells[0] = op_value_text(op_buf_str(&rows));
    cells[1] = op_value_text(op_buf_str(&big));
    assert_int_equal(
        op_template_compile(OP_STR("{{#rows}}{{big}}{{/rows}}"), "t", &options, &tpl, &err),
        OP_OK);
    assert_int_equal(op_template_render(tpl, scratch, &root, &out, &err), OP_INVAL);
    assert_non_null(strstr(err.msg, "larger than 4194304 bytes"));
    assert_true(out.len < OP_TEMPLATE_MAX_OUTPUT + 200000);
    op_template_free(tpl);
    op_buf_release(&rows);
    op_buf_release(&big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_specification, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_growing_indentation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rebinding, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_output_limit, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
