/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: whole files, atomic replacement, directories, the writer and the line reader.
 * Oracle:    the files themselves, under an environment that splits and interrupts every call and
 *            can fail the n-th one; lines are checked against a plain split of the same bytes.
 */
#include <errno.h>
#include <fcntl.h>
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

#include "base/hash.h"
#include "base/io.h"
#include "base/mem.h"

/* The real environment with its calls cut to step bytes, every third one interrupted, and the
 * fail_at-th write-side call failing with fail_code. */
struct test_env {
    struct op_env env;
    struct op_env_ops ops;
    size_t step;
    int calls, fail_at, fail_code;
};

static struct test_env test;

static bool interrupted(void)
{
    static unsigned count;
    return test.step < SIZE_MAX && ++count % 3 == 0;
}

static bool fails(void)
{
    return ++test.calls == test.fail_at;
}

static size_t cut(size_t len)
{
    return len > test.step ? test.step : len;
}

static ssize_t test_read(struct op_env *env, int fd, void *ptr, size_t len)
{
    (void)env;
    struct op_env *real = op_env_default();
    return interrupted() ? -EINTR : real->ops->read(real, fd, ptr, cut(len));
}

static ssize_t test_pread(struct op_env *env, int fd, void *ptr, size_t len, int64_t offset)
{
    (void)env;
    struct op_env *real = op_env_default();
    return interrupted() ? -EINTR : real->ops->pread(real, fd, ptr, cut(len), offset);
}

static ssize_t test_write(struct op_env *env, int fd, const void *ptr, size_t len)
{
    (void)env;
    struct op_env *real = op_env_default();
    if (interrupted())
        return -EINTR;
    return fails() ? -test.fail_code : real->ops->write(real, fd, ptr, cut(len));
}

static int test_open(struct op_env *env, const char *path, int flags, mode_t mode)
{
    (void)env;
    struct op_env *real = op_env_default();
    if (interrupted())
        return -EINTR;
    return fails() ? -test.fail_code : real->ops->open(real, path, flags, mode);
}

static int test_close(struct op_env *env, int fd)
{
    (void)env;
    struct op_env *real = op_env_default();
    int rc = real->ops->close(real, fd);
    return fails() ? -test.fail_code : rc;
}

static int test_fsync(struct op_env *env, int fd)
{
    (void)env;
    struct op_env *real = op_env_default();
    return fails() ? -test.fail_code : real->ops->fsync(real, fd);
}

static int test_rename(struct op_env *env, const char *from, const char *to, bool replace)
{
    (void)env;
    struct op_env *real = op_env_default();
    return fails() ? -test.fail_code : real->ops->rename(real, from, to, replace);
}

static struct op_env *env_with(size_t step, int fail_at, int fail_code)
{
    test = (struct test_env){.ops = *op_env_default()->ops,
                             .step = step,
                             .fail_at = fail_at,
                             .fail_code = fail_code};
    test.env.ops = &test.ops;
    test.ops.read = test_read;
    test.ops.pread = test_pread;
    test.ops.write = test_write;
    test.ops.open = test_open;
    test.ops.close = test_close;
    test.ops.fsync = test_fsync;
    test.ops.rename = test_rename;
    return &test.env;
}

static char dir[] = "/tmp/offpeak-io-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(op_mem_live(), 0);
    /* Every test removes what it made, so this also proves that no temporary file is left. */
    return rmdir(dir);
}

static char *path_of(const char *name)
{
    return op_io_join(dir, name);
}

static void put(const char *path, const char *ptr, size_t len)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(ptr, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void assert_holds(const char *path, const char *ptr, size_t len)
{
    OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
    struct op_err err = OP_ERR_INIT;
    op_buf_init(&buf, SIZE_MAX);
    assert_int_equal(op_io_read_file(op_env_default(), path, &buf, &err), OP_OK);
    assert_int_equal(buf.len, len);
    assert_memory_equal(buf.ptr, ptr, len);
}

static void paths(void **state)
{
    (void)state;
    static const char *const dirs[][2] = {
        {"a/b", "a"}, {"/a", "/"},     {"a", "."},    {"a/", "."},  {"/", "/"},
        {"", "."},    {"/a/b/", "/a"}, {"a//b", "a"}, {"//a", "/"}, {"./a", "."},
    };
    for (size_t i = 0; i < OP_COUNT(dirs); i++) {
        OP_CLEANUP(op_mem_freep) char *got = op_io_dirname(dirs[i][0]);
        assert_string_equal(got, dirs[i][1]);
    }
    static const char *const joins[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"},
        {"a", "/b", "/b"}, {"/", "b", "/b"},
    };
    for (size_t i = 0; i < OP_COUNT(joins); i++) {
        OP_CLEANUP(op_mem_freep) char *got = op_io_join(joins[i][0], joins[i][1]);
        assert_string_equal(got, joins[i][2]);
    }
}

static void reading(void **state)
{
    (void)state;
    OP_CLEANUP(op_mem_freep) char *path = path_of("file");
    put(path, "0123456789", 10);
    static const size_t steps[] = {1, 3, SIZE_MAX};
    for (size_t i = 0; i < OP_COUNT(steps); i++) {
        OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
        struct op_err err = OP_ERR_INIT;
        op_buf_init(&buf, 12);
        op_buf_addz(&buf, "<>");
        assert_int_equal(op_io_read_file(env_with(steps[i], 0, 0), path, &buf, &err), OP_OK);
        assert_string_equal(buf.ptr, "<>0123456789");
        assert_int_equal(op_io_read_file(env_with(steps[i], 0, 0), path, &buf, &err), OP_INVAL);
        assert_non_null(strstr(err.msg, path));
        assert_string_equal(buf.ptr, "<>0123456789");
    }
    OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
    struct op_err err = OP_ERR_INIT;
    op_buf_init(&buf, 100);
    assert_int_equal(op_io_read_file(op_env_default(), dir, &buf, &err), OP_INVAL);
    assert_int_equal(err.native, EISDIR);
    assert_int_equal(unlink(path), 0);
    op_err_clear(&err);
    assert_int_equal(op_io_read_file(op_env_default(), path, &buf, &err), OP_NOTFOUND);
}

static void pread_all(void **state)
{
    (void)state;
    OP_CLEANUP(op_mem_freep) char *path = path_of("file");
    put(path, "0123456789", 10);
    struct op_env *env = env_with(2, 0, 0);
    struct op_err err = OP_ERR_INIT;
    int fd = open(path, O_RDONLY);
    char text[8] = "";
    assert_int_equal(op_io_pread_all(env, fd, text, 5, 3, path, &err), OP_OK);
    assert_string_equal(text, "34567");
    assert_int_equal(op_io_pread_all(env, fd, text, 5, 8, path, &err), OP_IO);
    assert_non_null(strstr(err.msg, "ends at byte 10, 3 bytes too early"));
    close(fd);
    unlink(path);
}

static void replacing(void **state)
{
    (void)state;
    OP_CLEANUP(op_mem_freep) char *path = path_of("file");
    struct op_err err = OP_ERR_INIT;
    struct op_env *env = env_with(3, 0, 0);
    assert_int_equal(op_io_replace_file(env, path, "first", 5, &err), OP_OK);
    assert_holds(path, "first", 5);
    int calls = test.calls;
    /* Whichever call fails, the old or (after the rename) the new content is there, whole. */
    for (int n = 1; n <= calls; n++) {
        put(path, "before", 6);
        op_err_clear(&err);
        env = env_with(3, n, ENOSPC);
        assert_int_equal(op_io_replace_file(env, path, "after", 5, &err), OP_IO);
        assert_int_equal(err.native, ENOSPC);
        assert_holds(path, "before", 6);
    }
    unlink(path);
}

static void directories(void **state)
{
    (void)state;
    struct op_env *env = op_env_default();
    struct op_err err = OP_ERR_INIT;
    OP_CLEANUP(op_mem_freep) char *deep = path_of("x/y//z/");
    assert_int_equal(op_io_mkdirs(env, deep, &err), OP_OK);
    assert_int_equal(op_io_mkdirs(env, deep, &err), OP_OK);
    struct stat st;
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    OP_CLEANUP(op_mem_freep) char *file = path_of("x/file");
    put(file, "", 0);
    assert_int_equal(op_io_mkdirs(env, file, &err), OP_INVAL);
    assert_non_null(strstr(err.msg, "not a directory"));
    OP_CLEANUP(op_mem_freep) char *below = path_of("x/file/sub");
    op_err_clear(&err);
    assert_int_equal(op_io_mkdirs(env, below, &err), OP_INVAL);
    op_err_clear(&err);
    assert_int_equal(op_io_mkdirs(env, "", &err), OP_NOTFOUND);
    unlink(file);
    rmdir(deep);
    OP_CLEANUP(op_mem_freep) char *y = path_of("x/y");
    OP_CLEANUP(op_mem_freep) char *x = path_of("x");
    assert_int_equal(rmdir(y), 0);
    assert_int_equal(rmdir(x), 0);
}

static void writer_writes_what_it_is_given(void **state)
{
    (void)state;
    enum { TOTAL = 3 * OP_WRITER_BLOCK + 777 };
    OP_CLEANUP(op_mem_freep) char *path = path_of("file");
    OP_CLEANUP(op_mem_freep) char *bytes = op_mem_alloc(TOTAL);
    for (size_t i = 0; i < TOTAL; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
    uint8_t wanted[OP_SHA256_LEN], got[OP_SHA256_LEN];
    op_sha256(bytes, TOTAL, wanted);
    static const size_t pieces[] = {1000,
                                    OP_WRITER_BLOCK - 1,
                                    OP_WRITER_BLOCK,
                                    OP_WRITER_BLOCK + 1,
                                    2 * OP_WRITER_BLOCK + 5,
                                    TOTAL};
    for (size_t i = 0; i < OP_COUNT(pieces); i++) {
        OP_CLEANUP(op_writer_abort) struct op_writer w = {.fd = -1};
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(op_writer_open(&w, env_with(100000, 0, 0), path, true, &err), OP_OK);
        for (size_t at = 0; at < TOTAL;) {
            size_t len = TOTAL - at < pieces[i] ? TOTAL - at : pieces[i];
            assert_int_equal(op_writer_add(&w, bytes + at, len, &err), OP_OK);
            at += len;
            assert_int_equal(w.total, at);
        }
        assert_int_equal(op_writer_close(&w, i % 2 == 0, got, &err), OP_OK);
        assert_memory_equal(got, wanted, sizeof(got));
        assert_holds(path, bytes, TOTAL);
        op_writer_abort(&w);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        unlink(path);
    }
}

static void writer_failures(void **state)
{
    (void)state;
    OP_CLEANUP(op_mem_freep) char *path = path_of("file");
    struct op_err err = OP_ERR_INIT;
    struct op_writer w;
    put(path, "old", 3);
    assert_int_equal(op_writer_open(&w, op_env_default(), path, true, &err), OP_CONFLICT);
    op_writer_abort(&w);
    assert_holds(path, "old", 3);
    unlink(path);
    /* Calls: 1 open, 2 write, 3 fsync, 4 close. */
    for (int n = 2; n <= 4; n++) {
        op_err_clear(&err);
        assert_int_equal(op_writer_open(&w, env_with(SIZE_MAX, n, EIO), path, true, &err),
                         OP_OK);
        assert_int_equal(op_writer_add(&w, "text", 4, &err), OP_OK);
        assert_int_equal(op_writer_close(&w, true, NULL, &err), OP_IO);
        assert_int_equal(err.disp, OP_DISP_FATAL);
        assert_int_equal(err.native, EIO);
        assert_non_null(strstr(err.msg, path));
        op_writer_abort(&w);
        assert_int_equal(access(path, F_OK), -1);
    }
    /* After a failed add, close must not pretend that the file is whole. */
    OP_CLEANUP(op_mem_freep) char *bytes = op_mem_alloc(OP_WRITER_BLOCK + 1);
    op_err_clear(&err);
    assert_int_equal(op_writer_open(&w, env_with(SIZE_MAX, 2, ENOSPC), path, false, &err),
                     OP_OK);
    assert_int_equal(op_writer_add(&w, bytes, OP_WRITER_BLOCK + 1, &err), OP_IO);
    op_err_clear(&err);
    assert_int_equal(op_writer_close(&w, true, NULL, &err), OP_IO);
    op_writer_abort(&w);
    assert_int_equal(access(path, F_OK), -1);
    struct op_writer zeroed = {0};
    op_writer_abort(&zeroed);
}

/* Reads all lines of path and compares them with a plain split of text from offset on. */
static void check_lines(struct op_env *env, const char *path, struct op_str text,
                        int64_t offset, size_t max_line)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_lines_open(env, path, offset, max_line, &lines, &err), OP_OK);
    int64_t at = offset, number = 0;
    struct op_line line;
    while ((size_t)at < text.len) {
        const char *ptr = text.ptr + at;
        const char *newline = memchr(ptr, '\n', text.len - (size_t)at);
        size_t raw = newline ? (size_t)(newline - ptr) : text.len - (size_t)at;
        size_t len = newline && raw > 0 && ptr[raw - 1] == '\r' ? raw - 1 : raw;
        assert_int_equal(op_lines_next(lines, &line, &err), OP_OK);
        assert_int_equal(line.number, ++number);
        assert_int_equal(line.offset, at);
        assert_int_equal(line.end, at + (int64_t)raw + (newline != NULL));
        assert_int_equal(line.len, len);
        assert_int_equal(line.terminated, newline != NULL);
        assert_int_equal(line.oversize, len > max_line);
        if (line.oversize) {
            assert_null(line.ptr);
        } else {
            assert_memory_equal(line.ptr, ptr, len);
            int sum = 0;
            for (size_t i = 0; i < OP_BUF_PADDING; i++)
                sum += line.ptr[len + i];
            assert_in_range(sum + 128 * OP_BUF_PADDING, 0, 256 * OP_BUF_PADDING);
        }
        at = line.end;
    }
    assert_int_equal(op_lines_next(lines, &line, &err), OP_NOTFOUND);
    assert_int_equal(op_lines_next(lines, &line, &err), OP_NOTFOUND);
    assert_int_equal(err.rc, OP_OK);
}

static void lines_small(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "\n",
        "a",
        "a\n",
        "a\nb",
        "a\r\nb\r\n",
        "\r\n\r\n",
        "a\r",
        "a\r\r\n",
        "\n\n\n",
        "12345\n123456\n1234567\n12345\r\n123456\r\n1234567\r\n1\n",
        "1234567",
        "12345\r",
        "123456\r",
        "long long long line\r\nx\nlong long long",
    };
    OP_CLEANUP(op_mem_freep) char *path = path_of("file");
    for (size_t i = 0; i < OP_COUNT(texts); i++) {
        struct op_str text = op_str_from(texts[i]);
        put(path, text.ptr, text.len);
        for (size_t step = 1; step < 30; step++) {
            for (int64_t offset = 0; offset <= (int64_t)text.len; offset++)
                check_lines(env_with(step, 0, 0), path, text, offset, 5);
        }
    }
    unlink(path);
}

static void lines_large(void **state)
{
    (void)state;
    OP_CLEANUP(op_mem_freep) char *path = path_of("file");
    OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
    op_buf_init(&buf, SIZE_MAX);
    uint64_t seed = 3;
    while (buf.len < 12 * 1024 * 1024) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        size_t len = (size_t)(seed >> 33) % (seed >> 60 == 0 ? 3000000 : 3000);
        op_buf_grow(&buf, len + 2);
        memset(buf.ptr + buf.len, 'a' + (int)(seed >> 40) % 26, len);
        buf.len += len;
        op_buf_addz(&buf, seed >> 50 & 1 ? "\n" : "\r\n");
    }
    put(path, buf.ptr, buf.len);
    check_lines(op_env_default(), path, op_buf_str(&buf), 0, SIZE_MAX);
    check_lines(op_env_default(), path, op_buf_str(&buf), 12345, 1000000);
    check_lines(env_with(70001, 0, 0), path, op_buf_str(&buf), 0, 2500);
    unlink(path);
}

static void lines_cannot_open(void **state)
{
    (void)state;
    OP_CLEANUP(op_mem_freep) char *path = path_of("none");
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_lines_open(op_env_default(), path, 0, 10, &lines, &err), OP_NOTFOUND);
    assert_null(lines);
    op_err_clear(&err);
    assert_int_equal(op_lines_open(op_env_default(), dir, 0, 10, &lines, &err), OP_OK);
    struct op_line line;
    assert_int_equal(op_lines_next(lines, &line, &err), OP_INVAL);
    assert_non_null(strstr(err.msg, dir));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),           cmocka_unit_test(reading),
        cmocka_unit_test(pread_all),       cmocka_unit_test(replacing),
        cmocka_unit_test(directories),     cmocka_unit_test(writer_writes_what_it_is_given),
        cmocka_unit_test(writer_failures), cmocka_unit_test(lines_small),
        cmocka_unit_test(lines_large),     cmocka_unit_test(lines_cannot_open),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
