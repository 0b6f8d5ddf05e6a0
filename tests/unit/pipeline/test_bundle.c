/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: a bundle holds named texts, reads them from its folder when asked, writes itself as
 *            canonical JSON and reads itself back frozen; pipelines are found by path and by name.
 * Oracle:    a folder made for the test; equal bundles give equal bytes whatever the order of
 *            their files; a table of names and file contents that are refused.
 */
#include <unistd.h>

#include "base/io.h"
#include "support.h"

static char folder[64];

static void put_file(const char *name, const char *text, size_t len)
{
    struct op_err err = OP_ERR_INIT;
    char *path = op_mem_printf("%s/%s", folder, name);
    char *dir = op_io_dirname(path);
    if (op_io_mkdirs(op_env_default(), dir, &err) ||
        op_io_replace_file(op_env_default(), path, text, len, &err))
        fail_msg("%s", err.msg);
    op_mem_free(dir);
    op_mem_free(path);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/offpeak-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    put_file("pipeline.yaml", "pipeline: here\n", 15);
    put_file("user.md", "\xEF\xBB\xBFHi\n", 6);
    put_file("sub/deep.sql", "SELECT 1", 8);
    put_file("latin1.md", "one\ntwo \xE9\n", 10);
    put_file("nul.md", "one\0two", 7);
    put_file("pipelines/alpha/pipeline.yaml", "pipeline: alpha\n", 16);
    put_file("pipelines/beta/pipeline.yaml", "pipeline: beta\n", 15);
    put_file("pipelines/no-yaml/readme.md", "x", 1);
    put_file("more/beta/pipeline.yaml", "pipeline: beta\n", 15);
    put_file("more/gamma/pipeline.yaml", "pipeline: gamma\n", 16);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const files[] = {"pipeline.yaml",
                                        "user.md",
                                        "sub/deep.sql",
                                        "latin1.md",
                                        "nul.md",
                                        "large.md",
                                        "pipelines/alpha/pipeline.yaml",
                                        "pipelines/beta/pipeline.yaml",
                                        "pipelines/no-yaml/readme.md",
                                        "more/beta/pipeline.yaml",
                                        "more/gamma/pipeline.yaml"};
    static const char *const dirs[] = {
        "sub",       "pipelines/alpha", "pipelines/beta", "pipelines/no-yaml",
        "pipelines", "more/beta",       "more/gamma",     "more"};
    for (size_t i = 0; i < OP_COUNT(files); i++)
        unlink(files[i]);
    for (size_t i = 0; i < OP_COUNT(dirs); i++)
        rmdir(dirs[i]);
    assert_int_equal(chdir("/"), 0);
    return rmdir(folder);
}

static void test_put_get(void **state)
{
    (void)state;
    struct op_bundle bundle;
    op_bundle_init(&bundle);
    assert_null(op_bundle_get(&bundle, "a").ptr);
    for (int i = 0; i < 50; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%d", i);
        op_bundle_put(&bundle, name, op_str_from(name));
    }
    op_bundle_put(&bundle, "f7", OP_STR("again"));
    op_bundle_put(&bundle, "empty", OP_STR(""));
    assert_int_equal(bundle.count, 51);
    assert_true(test_str_is(op_bundle_get(&bundle, "f49"), "f49"));
    assert_true(test_str_is(op_bundle_get(&bundle, "f7"), "again"));
    assert_true(test_str_is(op_bundle_get(&bundle, "empty"), ""));
    op_bundle_release(&bundle);
    assert_int_equal(op_mem_live(), 0);
}

static void test_folder(void **state)
{
    (void)state;
    struct op_bundle bundle;
    struct op_err err = OP_ERR_INIT;
    struct op_str text;
    assert_int_equal(op_bundle_open(op_env_default(), folder, &bundle, &err), OP_OK);
    assert_int_equal(bundle.count, 1);
    assert_string_equal(bundle.dir, folder);
    assert_int_equal(op_bundle_need(op_env_default(), &bundle, "user.md", "x:1", &text, &err),
                     OP_OK);
    assert_true(test_str_is(text, "Hi\n"));
    put_file("user.md", "changed", 7); /* read once, then kept */
    assert_int_equal(op_bundle_need(op_env_default(), &bundle, "user.md", "x:1", &text, &err),
                     OP_OK);
    assert_true(test_str_is(text, "Hi\n"));
    assert_int_equal(
        op_bundle_need(op_env_default(), &bundle, "sub/deep.sql", "x:1", &text, &err), OP_OK);
    assert_int_equal(bundle.count, 3);
    op_bundle_release(&bundle);

    assert_int_equal(op_bundle_open(op_env_default(), "sub", &bundle, &err), OP_INVAL);
    assert_string_equal(err.msg, "cannot open sub/pipeline.yaml: No such file or directory");
    assert_int_equal(op_mem_live(), 0);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *message;
    } table[] = {
        {"../up.md", "x:1: '../up.md' is outside the pipeline's folder; put the file into it"},
        {"sub/../../up",
         "x:1: 'sub/../../up' is outside the pipeline's folder; put the file into "
         "it"},
        {"/etc/hostname", "x:1: '/etc/hostname' is outside the pipeline's folder; put the file "
                          "into it"},
        {"a\\b", "x:1: 'a\\b' is outside the pipeline's folder; put the file into it"},
        {"none.md", "x:1: cannot open ./none.md: No such file or directory"},
        {"latin1.md", "x:1: ./latin1.md:2: the file is not UTF-8 text"},
        {"nul.md", "x:1: ./nul.md:1: the file is not UTF-8 text"},
        {"large.md", "x:1: ./large.md is larger than the 4194304 bytes allowed for it"},
    };
    struct op_bundle bundle;
    struct op_err err = OP_ERR_INIT;
    struct op_str text;
    char *large = op_mem_alloc(OP_BUNDLE_FILE_MAX + 1);
    memset(large, 'x', OP_BUNDLE_FILE_MAX + 1);
    put_file("large.md", large, OP_BUNDLE_FILE_MAX + 1);
    op_mem_free(large);
    assert_int_equal(op_bundle_open(op_env_default(), "", &bundle, &err), OP_OK);
    for (size_t i = 0; i < OP_COUNT(table); i++) {
        op_err_clear(&err);
        assert_int_equal(
            op_bundle_need(op_env_default(), &bundle, table[i].name, "x:1", &text, &err),
            OP_INVAL);
        assert_string_equal(err.msg, table[i].message);
    }
    op_bundle_release(&bundle);
    assert_int_equal(op_mem_live(), 0);
}

static void test_canonical(void **state)
{
    (void)state;
    static const struct test_file files[] = {{"b.md", "two\n\"\\\x7f é"}, {"a.md", "one"}};
    struct op_bundle one, other, back;
    struct op_buf x, y;
    struct op_err err = OP_ERR_INIT;
    struct op_str text;
    op_buf_init(&x, 1 << 16);
    op_buf_init(&y, 1 << 16);
    test_bundle(&one, "pipeline: p", files, 2);
    test_bundle(&other, "", files + 1, 1);
    op_bundle_put(&other, files[0].name, op_str_from(files[0].text));
    op_bundle_put(&other, OP_BUNDLE_MAIN, OP_STR("pipeline: p"));
    op_bundle_write(&one, &x);
    op_bundle_write(&other, &y);
    assert_string_equal(x.ptr, y.ptr);
    assert_true(op_str_starts(op_buf_str(&x), "{\"dir\":\"p\",\"files\":{\"a.md\":\"one\","));

    assert_int_equal(op_bundle_read(op_buf_str(&x), &back, &err), OP_OK);
    op_buf_clear(&y);
    op_bundle_write(&back, &y);
    assert_string_equal(x.ptr, y.ptr);
    assert_int_equal(op_bundle_need(op_env_default(), &back, "user.md", "x:1", &text, &err),
                     OP_INVAL);
    assert_string_equal(err.msg, "x:1: there is no file 'user.md' in this pipeline");
    op_bundle_release(&one);
    op_bundle_release(&other);
    op_bundle_release(&back);

    static const char *const damaged[] = {"", "[]", "{\"dir\":\"x\"}", "{\"files\":{}}",
                                          "{\"dir\":\"x\",\"files\":{\"a\":1}}"};
    for (size_t i = 0; i < OP_COUNT(damaged); i++) {
        op_err_clear(&err);
        assert_int_equal(op_bundle_read(op_str_from(damaged[i]), &back, &err), OP_INVAL);
        assert_true(op_str_starts(op_str_from(err.msg), "the stored pipeline is damaged"));
    }
    op_buf_release(&x);
    op_buf_release(&y);
    assert_int_equal(op_mem_live(), 0);
}

static void list_name(void *arg, const char *name, const char *dir)
{
    char *names = arg;
    size_t len = strlen(names);
    snprintf(names + len, 1000 - len, "%s=%s ", name, dir);
}

static void test_find(void **state)
{
    (void)state;
    static const struct {
        const char *name, *dir;
    } found[] = {
        {".", "."},
        {"pipelines/alpha", "pipelines/alpha"},
        {"pipelines/alpha/", "pipelines/alpha/"},
        {"pipelines/alpha/pipeline.yaml", "pipelines/alpha"},
        {"pipeline.yaml", "."},
        {"alpha", "pipelines/alpha"},
        {"beta", "pipelines/beta"},
        {"gamma", "more/gamma"},
    };
    static const char *const missing[] = {"delta",      "",        "no-yaml",
                                          "more/alpha", "user.md", "gama"};
    struct op_err err = OP_ERR_INIT;
    char *dir = NULL;
    setenv("OFFPEAK_PIPELINES", ":nowhere:more", 1);
    for (size_t i = 0; i < OP_COUNT(found); i++) {
        assert_int_equal(op_pipeline_find(op_env_default(), found[i].name, &dir, &err), OP_OK);
        assert_string_equal(dir, found[i].dir);
        op_mem_freep(&dir);
    }
    for (size_t i = 0; i < OP_COUNT(missing); i++) {
        op_err_clear(&err);
        assert_int_equal(op_pipeline_find(op_env_default(), missing[i], &dir, &err),
                         OP_NOTFOUND);
        assert_null(dir);
    }
    assert_true(op_str_starts(op_str_from(err.msg),
                              "there is no pipeline 'gama' (did you mean 'gamma'?); looked for "
                              "gama/pipeline.yaml, in pipelines, in nowhere, in more"));
    assert_non_null(strstr(err.msg, "there are: alpha, beta, gamma"));

    char names[1000] = "";
    op_pipelines_each(op_env_default(), list_name, names);
    assert_true(op_str_starts(op_str_from(names),
                              "alpha=pipelines/alpha beta=pipelines/beta gamma=more/gamma "));
    assert_int_equal(op_mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get), cmocka_unit_test(test_folder),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
