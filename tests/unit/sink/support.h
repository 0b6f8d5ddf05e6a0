/* SPDX-License-Identifier: MIT */
#ifndef OP_TESTS_SINK_SUPPORT_H
#define OP_TESTS_SINK_SUPPORT_H

/*
 * What the sink tests share: a folder with a target, an outbox and a work folder; an environment
 * whose n-th changing file call fails; sinks made from short lists; files as text.
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

#include "../folder.h"
#include "base/buf.h"
#include "base/mem.h"
#include "sink/frame.h"
#include "sink/sink.h"

/* An environment that counts the calls that change the disk and fails one of them. */
static struct op_env test_env;
static struct op_env_ops test_ops;
static int64_t test_calls, test_fail_at; /* from 1; 0: never */

static inline bool test_fails(void)
{
    /* A sink may write on two threads. */
    return __atomic_add_fetch(&test_calls, 1, __ATOMIC_RELAXED) == test_fail_at;
}
static int test_open(struct op_env *env, const char *path, int flags, mode_t mode)
{
    (void)env;
    if ((flags & O_CREAT) && test_fails())
        return -ENOSPC;
    return op_env_default()->ops->open(op_env_default(), path, flags, mode);
}
static ssize_t test_write(struct op_env *env, int fd, const void *ptr, size_t len)
{
    (void)env;
    if (test_fails()) {
        /* A full disk takes a part of what is written. */
        ssize_t part = op_env_default()->ops->write(op_env_default(), fd, ptr, len / 2);
        return part > 0 && test_fail_at++ ? part : -ENOSPC;
    }
    return op_env_default()->ops->write(op_env_default(), fd, ptr, len);
}
static int test_fsync(struct op_env *env, int fd)
{
    (void)env;
    return test_fails() ? -EIO : op_env_default()->ops->fsync(op_env_default(), fd);
}
static int test_rename(struct op_env *env, const char *from, const char *to, bool replace)
{
    (void)env;
    return test_fails() ? -ENOSPC
                        : op_env_default()->ops->rename(op_env_default(), from, to, replace);
}
static int test_fsync_dir(struct op_env *env, const char *path)
{
    (void)env;
    return test_fails() ? -EIO : op_env_default()->ops->fsync_dir(op_env_default(), path);
}
static int test_mkdir(struct op_env *env, const char *path, mode_t mode)
{
    (void)env;
    return test_fails() ? -ENOSPC : op_env_default()->ops->mkdir(op_env_default(), path, mode);
}

static char test_folder[64];
static char test_outbox[128];
static char test_target[128]; /* set by test_open_sink */
static int64_t test_end;      /* length of the outbox */

static inline int test_setup(void **state)
{
    (void)state;
    test_ops = *op_env_default()->ops;
    test_ops.open = test_open;
    test_ops.write = test_write;
    test_ops.fsync = test_fsync;
    test_ops.rename = test_rename;
    test_ops.fsync_dir = test_fsync_dir;
    test_ops.mkdir = test_mkdir;
    test_env.ops = &test_ops;
    test_calls = test_fail_at = 0;
    assert_true(test_folder_make(test_folder, sizeof(test_folder), "sink"));
    snprintf(test_outbox, sizeof(test_outbox), "%s/outbox", test_folder);
    char work[128];
    snprintf(work, sizeof(work), "%s/work", test_folder);
    assert_int_equal(mkdir(work, 0700), 0);
    test_end = 0;
    return 0;
}

static inline int test_teardown(void **state)
{
    (void)state;
    char work[128];
    snprintf(work, sizeof(work), "%s/work", test_folder);
    /* Whatever happened, nothing may be left in the work folder. */
    assert_int_equal(rmdir(work), 0);
    char *command = op_mem_printf("rm -r '%s'", test_folder);
    FILE *f = popen(command, "r");
    op_mem_free(command);
    assert_non_null(f);
    return pclose(f);
}

struct test_sink {
    const char *kind, *target;
    const char *columns[8], *key[8];  /* end with NULL */
    struct op_sink_option options[6]; /* end with name NULL */
    bool per_row_path;
};

static inline enum op_rc test_try_sink(const struct test_sink *spec, struct op_sink **ret,
                                       struct op_err *err)
{
    char work[128];
    snprintf(work, sizeof(work), "%s/work", test_folder);
    snprintf(test_target, sizeof(test_target), "%s/%s", test_folder, spec->target);
    struct op_sink_config config = {.env = &test_env,
                                    .target = test_target,
                                    .per_row_path = spec->per_row_path,
                                    .columns = spec->columns,
                                    .key = spec->key,
                                    .options = spec->options,
                                    .place = "p:9",
                                    .work_dir = work};
    while (spec->columns[config.column_count])
        config.column_count++;
    while (spec->key[config.key_count])
        config.key_count++;
    while (spec->options[config.option_count].name)
        config.option_count++;
    return op_sink_open(op_sink_find(spec->kind), &config, ret, err);
}

static inline struct op_sink *test_sink(const struct test_sink *spec)
{
    struct op_sink *sink = NULL;
    struct op_err err = OP_ERR_INIT;
    if (test_try_sink(spec, &sink, &err))
        fail_msg("%s", err.msg);
    return sink;
}

static inline void test_write_file(const char *path, const void *ptr, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(ptr, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static inline void test_put(const char *path, const char *text)
{
    test_write_file(path, text, strlen(text));
}

/* The file's text as an op_mem block; "(none)" when there is none. */
static inline char *test_read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return op_mem_strdup("(none)");
    fseek(f, 0, SEEK_END);
    size_t len = (size_t)ftell(f);
    rewind(f);
    char *text = op_mem_alloc(len + 1);
    assert_int_equal(fread(text, 1, len, f), len);
    fclose(f);
    return text;
}

static inline void test_file_is(const char *path, const char *want)
{
    char *got = test_read_file(path);
    if (strcmp(got, want) != 0)
        fail_msg("%s: got\n%s\nwant\n%s", path, got, want);
    op_mem_free(got);
}

/* As test_file_is for the target, with the case's name. */
static inline void test_file_label(const char *label, const char *want)
{
    char *got = test_read_file(test_target);
    if (strcmp(got, want) != 0)
        fail_msg("%s: got\n%s\nwant\n%s", label, got, want);
    op_mem_free(got);
}

static inline void test_append(const struct op_buf *frames)
{
    FILE *f = fopen(test_outbox, "ab");
    assert_non_null(f);
    assert_int_equal(fwrite(frames->ptr, 1, frames->len, f), frames->len);
    assert_int_equal(fclose(f), 0);
    test_end += (int64_t)frames->len;
}

static inline struct op_value test_text(const char *text)
{
    return op_value_text(op_str_from(text));
}

/* A row from "1|2.5|text|N": integers, doubles, NULL and text by their look. */
static inline size_t test_row(const char *text, struct op_value *cells)
{
    struct op_str rest = op_str_from(text);
    size_t count = 0;
    while (rest.ptr) {
        struct op_str part = op_str_cut(&rest, '|');
        int64_t i;
        double d;
        struct op_value v = op_value_text(part);
        if (op_str_int64(part, &i))
            v = op_value_int(i);
        else if (op_str_double(part, &d))
            v = op_value_double(d);
        else if (op_str_is(part, "N"))
            v = op_value_null();
        cells[count++] = v;
    }
    return count;
}

/* Encodes rows (separated by newlines) into the outbox. With per-row paths the first cell of each
 * is the path. */
static inline void test_rows(const struct op_sink *sink, const char *rows, bool paths)
{
    struct op_buf frames;
    op_buf_init(&frames, 1 << 30);
    struct op_str rest = op_str_from(rows);
    while (rest.ptr) {
        struct op_value cells[16];
        struct op_str row = op_str_cut(&rest, '\n');
        char *text = op_mem_strndup(row.ptr, row.len);
        struct op_err err = OP_ERR_INIT;
        test_row(text, cells);
        struct op_str path = OP_STR_NULL;
        char full[256];
        if (paths) {
            snprintf(full, sizeof(full), "%s/" OP_STR_FMT, test_folder, OP_STR_ARG(cells[0].s));
            path = op_str_from(full);
        }
        if (op_sink_encode(sink, path, cells + paths, &frames, &err))
            fail_msg("%s: %s", text, err.msg);
        op_mem_free(text);
    }
    test_append(&frames);
    op_buf_release(&frames);
}

static inline void test_deliver(struct op_sink *sink, int64_t from, int64_t to)
{
    struct op_err err = OP_ERR_INIT;
    int64_t delivered = -1;
    if (op_sink_deliver(sink, test_outbox, from, to, true, &delivered, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(delivered, to);
}

/* Makes every changing file call of one delivery fail in turn: the target is old or new after each,
 * and the delivery that follows succeeds. */
static inline void test_full_disk(const struct test_sink *spec, const char *old,
                                  const char *want)
{
    for (int64_t n = 1;; n++) {
        int64_t live = op_mem_live();
        struct op_sink *sink = test_sink(spec);
        struct op_err err = OP_ERR_INIT;
        int64_t delivered = -1;
        test_put(test_target, old);
        test_calls = 0;
        test_fail_at = n;
        enum op_rc rc = op_sink_deliver(sink, test_outbox, 0, test_end, true, &delivered, &err);
        bool failed = test_calls >= n;
        test_fail_at = 0;
        assert_int_equal(rc != OP_OK, failed);
        char *got = test_read_file(test_target);
        if (failed) {
            assert_int_equal(delivered, -1);
            assert_true(err.msg[0]);
        }
        if (strcmp(got, want) != 0 && (!failed || strcmp(got, old) != 0))
            fail_msg("after failing call %d: %s", (int)n, got);
        op_mem_free(got);
        test_deliver(sink, 0, test_end);
        test_file_is(test_target, want);
        op_sink_close(sink);
        assert_int_equal(op_mem_live(), live);
        if (!failed) {
            assert_true(n > 4);
            return;
        }
    }
}

#endif
