/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: pages of a document, and targets with `*`: every file that matches, as one table.
 * Oracle:    tables of file content and the rows it must give, as "page|text|marked" ("-" for NULL), each
 *            ending in ";".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/buf.h"
#include "base/io.h"
#include "base/mem.h"
#include "source/source.h"

static char folder[] = "/tmp/op-pages-XXXXXX";

static void put(const char *name, const char *text)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static void read_into(const char *kind, const char *name,
                      const struct op_source_option *options, size_t option_count,
                      struct op_buf *out)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(folder, name);
    OP_CLEANUP(op_source_closep) struct op_source *source = NULL;
    struct op_source_config config = {.env = op_env_default(),
                                      .name = "t",
                                      .target = path,
                                      .options = options,
                                      .option_count = option_count,
                                      .place = "p:1"};
    struct op_err err = OP_ERR_INIT;
    const struct op_value *cells = NULL;
    op_buf_init(out, 1 << 20);
    op_buf_addz(out, "");
    if (op_source_open(op_source_find(kind), &config, &source, &err)) {
        op_buf_addz(out, err.msg);
        return;
    }
    for (;;) {
        enum op_rc rc = op_source_next(source, &cells, &err);
        if (rc == OP_NOTFOUND)
            break;
        if (rc) {
            op_buf_addf(out, "!%s;", strstr(err.msg, "op-pages-") + 16);
            assert_int_equal(err.disp, OP_DISP_REJECT);
            op_err_clear(&err);
            continue;
        }
        for (size_t i = 0; i < source->column_count; i++) {
            char scratch[32];
            struct op_str text = op_value_to_text(cells[i], scratch);
            if (i + 1 == source->column_count && strcmp(source->columns[i], "_file") == 0)
                text = op_str_from(strrchr(text.ptr, '/') + 1);
            op_buf_addf(out, "%s" OP_STR_FMT, i ? "|" : "", text.ptr ? (int)text.len : 1,
                        text.ptr ? text.ptr : "-");
        }
        op_buf_addc(out, ';');
    }
}

static void check(const char *kind, const char *name, const char *want)
{
    OP_CLEANUP(op_buf_release) struct op_buf got;
    read_into(kind, name, NULL, 0, &got);
    assert_string_equal(got.ptr, want);
}

static void test_pages(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"{0}----\nfront\n\n{1}-------  \n\nx\r\ny\n{2}-\n", "0|front|1;1|x\ny|1;2||1;"},
        {"no marker\n{3} ---\n{}--\n{-1}--\n{4}\n",
         "0|no marker\n{3} ---\n{}--\n{-1}--\n{4}|0;"},
        {"\xef\xbb\xbf{7}--\nafter", "7|after|1;"},
        {"before\n{7}--\nafter\n", "-|before|0;7|after|1;"},
        {"\n\n{7}--\nafter\n", "7|after|1;"},
        {"{2}--\na\n{2}--\nb\n", "2|a|1;2|b|1;"},
        {"", "0||0;"},
        {"{1}--\nf\xff\n{2}--\ng\n",
         "!t.md:1: the page is not UTF-8; convert the file to UTF-8;2|g|1;"},
        {"{99999999999999999999}--\n", "0|{99999999999999999999}--|0;"},
    };
    (void)state;
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        put("t.md", rows[i].text);
        check("pages", "t.md", rows[i].want);
    }
}

static void test_many(void **state)
{
    (void)state;
    put("b[1].csv", "x,y\n3,4\n");
    put("a.csv", "x,y\n1,2\n");
    put("empty.md", "");
    check("csv", "*.csv", "1|2|a.csv;3|4|b[1].csv;");
    check("csv", "b[1]*.csv", "3|4|b[1].csv;");
    put("c.csv", "x\n5\n");
    OP_CLEANUP(op_buf_release) struct op_buf got = {0};
    const struct op_source_option columns[] = {{"columns", "y,x"}, {"optional", "true"}};
    read_into("csv", "*.csv", columns, 2, &got);
    assert_string_equal(got.ptr, "2|1|a.csv;4|3|b[1].csv;-|5|c.csv;");
    op_buf_release(&got);
    read_into("csv", "none*.csv", columns, 2, &got);
    assert_string_equal(got.ptr, "");
    op_buf_release(&got);
    read_into("csv", "none*.csv", NULL, 0, &got);
    assert_non_null(strstr(got.ptr, "there is no file"));
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    static const char *const names[] = {"t.md", "a.csv", "b[1].csv", "c.csv", "empty.md"};
    (void)state;
    for (size_t i = 0; i < OP_COUNT(names); i++) {
        OP_CLEANUP(op_mem_freep) char *path = op_io_join(folder, names[i]);
        (void)unlink(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pages),
                                       cmocka_unit_test(test_many)};
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
