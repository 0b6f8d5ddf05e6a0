/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: a param's value comes from its option, then its environment variable, then its
 *            default; it is typed, checked, and paths become absolute; stored and read back equal.
 * Oracle:    tables of values and messages; what is written is read back and written again.
 */
#include "pipeline/params.h"
#include "support.h"

static const char yaml[] = "pipeline: p\n"
                           "inputs: {t: {csv: a}}\n"
                           "requests: {r: {model: m, user: hi}}\n"
                           "params:\n"
                           "  path: {type: path, required: true, about: the file}\n"
                           "  out: {type: path, default: \"{{path}}/out\"}\n"
                           "  size: {type: integer, env: OP_TEST_SIZE, default: 5}\n"
                           "  rate: {type: number}\n"
                           "  dry_run: {type: boolean, default: false}\n"
                           "  lang: {values: [english, german], default: german}\n"
                           "  id: {required: true, env: OP_TEST_ID}\n";

struct fixture {
    struct op_bundle bundle;
    struct op_definition def;
};

static void open_fixture(struct fixture *f)
{
    test_bundle(&f->bundle, yaml, NULL, 0);
    test_define(&f->bundle, &f->def);
    unsetenv("OP_TEST_SIZE");
    unsetenv("OP_TEST_ID");
}

static void close_fixture(struct fixture *f)
{
    op_definition_release(&f->def);
    op_bundle_release(&f->bundle);
    assert_int_equal(op_mem_live(), 0);
}

static char *written(const struct op_params *params)
{
    struct op_buf buf;
    op_buf_init(&buf, 4096);
    op_params_write(params, &buf);
    char *text = op_buf_take(&buf);
    op_buf_release(&buf);
    return text;
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *given[7];
        const char *size_env, *json;
    } table[] = {
        {{"in.csv", NULL, NULL, NULL, NULL, NULL, "x"},
         NULL,
         "{\"path\":\"/here/in.csv\",\"out\":\"/here/in.csv/out\",\"size\":5,\"rate\":null,"
         "\"dry_run\":0,\"lang\":\"german\",\"id\":\"x\"}"},
        {{"./a/../b", "/abs", "-7", "0.25", "yes", "english", "é \"q\""},
         "9",
         "{\"path\":\"/here/a/../b\",\"out\":\"/abs\",\"size\":-7,\"rate\":0.25,"
         "\"dry_run\":1,\"lang\":\"english\",\"id\":\"é \\\"q\\\"\"}"},
        {{"s3://b/k", "~/o", NULL, "3", "0", NULL, ""},
         "12",
         "{\"path\":\"s3://b/k\",\"out\":\"/home/me/o\",\"size\":12,\"rate\":3,"
         "\"dry_run\":0,\"lang\":\"german\",\"id\":\"\"}"},
        {{"-", ".", NULL, NULL, NULL, NULL, "x"},
         "",
         "{\"path\":\"-\",\"out\":\"/here/.\",\"size\":5,\"rate\":null,"
         "\"dry_run\":0,\"lang\":\"german\",\"id\":\"x\"}"},
    };
    struct fixture f;
    open_fixture(&f);
    setenv("HOME", "/home/me", 1);
    for (size_t i = 0; i < OP_COUNT(table); i++) {
        struct op_params params, again;
        struct op_err err = OP_ERR_INIT;
        if (table[i].size_env)
            setenv("OP_TEST_SIZE", table[i].size_env, 1);
        if (op_params_resolve(&f.def, table[i].given, "/here", &params, &err))
            fail_msg("%s", err.msg);
        char *json = written(&params);
        assert_string_equal(json, table[i].json);
        assert_int_equal(op_params_read(&f.def, op_str_from(json), &again, &err), OP_OK);
        char *twice = written(&again);
        assert_string_equal(json, twice);
        for (size_t k = 0; k < params.count; k++)
            assert_int_equal(params.values[k].type, again.values[k].type);
        op_mem_free(json);
        op_mem_free(twice);
        op_params_release(&params);
        op_params_release(&again);
    }
    close_fixture(&f);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *given[7];
        const char *id_env, *message;
    } table[] = {
        {{NULL}, NULL, "--path is missing; it is: the file"},
        {{"x"}, NULL, "--id is missing (or set OP_TEST_ID)"},
        {{""}, NULL, "--path must be a path, not empty"},
        {{"x", NULL, "many"}, "1", "--size must be a whole number, not 'many'"},
        {{"x", NULL, "99999999999999999999"},
         "1",
         "--size must be a whole number, not '99999999999999999999'"},
        {{"x", NULL, NULL, "1,5"}, "1", "--rate must be a number, not '1,5'"},
        {{"x", NULL, NULL, "nan"}, "1", "--rate must be a number, not 'nan'"},
        {{"x", NULL, NULL, NULL, "maybe"}, "1", "--dry-run must be true or false, not 'maybe'"},
        {{"x", NULL, NULL, NULL, NULL, "germn"},
         "1",
         "--lang must be english or german, not 'germn' (did you mean 'german'?)"},
        {{"x"}, "\xFF", "OP_TEST_ID is not UTF-8 text"},
    };
    struct fixture f;
    open_fixture(&f);
    for (size_t i = 0; i < OP_COUNT(table); i++) {
        struct op_params params;
        struct op_err err = OP_ERR_INIT;
        unsetenv("OP_TEST_ID");
        if (table[i].id_env)
            setenv("OP_TEST_ID", table[i].id_env, 1);
        assert_int_equal(op_params_resolve(&f.def, table[i].given, "/here", &params, &err),
                         OP_INVAL);
        assert_string_equal(err.msg, table[i].message);
    }
    close_fixture(&f);
}

static void test_render(void **state)
{
    (void)state;
    struct fixture f;
    struct op_params params;
    struct op_err err = OP_ERR_INIT;
    char *text = NULL;
    const char *given[7] = {"a", NULL, NULL, "1.5", "true", NULL, "<&>"};
    open_fixture(&f);
    assert_int_equal(op_params_resolve(&f.def, given, "/w", &params, &err), OP_OK);
    assert_int_equal(op_params_render(&params, "plain", "x:1", &text, &err), OP_OK);
    assert_string_equal(text, "plain");
    op_mem_freep(&text);
    assert_int_equal(
        op_params_render(&params, "{{path}}|{{size}}|{{rate}}|{{id}}{{#dry_run}}!{{/dry_run}}",
                         "x:1", &text, &err),
        OP_OK);
    assert_string_equal(text, "/w/a|5|1.5|<&>!");
    op_mem_freep(&text);
    assert_int_equal(op_params_render(&params, "{{nope}}", "x.yaml:7", &text, &err), OP_INVAL);
    assert_true(op_str_starts(op_str_from(err.msg), "x.yaml:7: there is no value 'nope'"));
    assert_null(text);
    op_params_release(&params);
    close_fixture(&f);
}

static void test_damaged(void **state)
{
    (void)state;
    static const char *const table[] = {"", "[]", "{\"size\":\"x\"}", "{\"path\":1}",
                                        "{\"rate\":true}"};
    struct fixture f;
    open_fixture(&f);
    for (size_t i = 0; i < OP_COUNT(table); i++) {
        struct op_params params;
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(op_params_read(&f.def, op_str_from(table[i]), &params, &err),
                         OP_INVAL);
        assert_true(op_str_starts(op_str_from(err.msg), "the job's stored params are damaged"));
    }
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_render),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
