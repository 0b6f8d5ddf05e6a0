/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the real environment: error codes, renaming without replacing, randomness, clocks,
 *            fault points.
 * Oracle:    POSIX; a child process with OFFPEAK_FAULT must die of SIGKILL at the n-th passage.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/env.h"
#include "base/mem.h"

static char dir[] = "/tmp/offpeak-env-XXXXXX";
static char a_path[64], b_path[64], sub_path[64];

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(a_path, sizeof(a_path), "%s/a", dir);
    snprintf(b_path, sizeof(b_path), "%s/b", dir);
    snprintf(sub_path, sizeof(sub_path), "%s/sub", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(a_path);
    unlink(b_path);
    rmdir(sub_path);
    return rmdir(dir);
}

static int make_file(const char *path, const char *text)
{
    struct op_env *env = op_env_default();
    int fd = env->ops->open(env, path, O_CREAT | O_TRUNC | O_RDWR, 0600);
    assert_true(fd >= 0);
    assert_int_equal(env->ops->write(env, fd, text, strlen(text)), strlen(text));
    return fd;
}

static void files(void **state)
{
    (void)state;
    struct op_env *env = op_env_default();
    char text[16] = "";
    int fd = make_file(a_path, "hello");
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(env->ops->pwrite(env, fd, "J", 1, 0), 1);
    assert_int_equal(env->ops->pread(env, fd, text, 16, 0), 5);
    assert_string_equal(text, "Jello");
    assert_int_equal(env->ops->size(env, fd), 5);
    assert_int_equal(env->ops->truncate(env, fd, 2), 0);
    assert_int_equal(env->ops->size(env, fd), 2);
    assert_int_equal(env->ops->fsync(env, fd), 0);
    assert_int_equal(env->ops->close(env, fd), 0);
    assert_int_equal(env->ops->fsync_dir(env, dir), 0);
    assert_true(env->ops->free_bytes(env, dir) > 0);
    assert_int_equal(env->ops->mkdir(env, sub_path, 0700), 0);
    assert_int_equal(env->ops->mkdir(env, sub_path, 0700), -EEXIST);
}

static void failures_are_negative_errno(void **state)
{
    (void)state;
    struct op_env *env = op_env_default();
    const char *none = "/nonexistent/file";
    char c;
    assert_int_equal(env->ops->open(env, none, O_RDONLY, 0), -ENOENT);
    assert_int_equal(env->ops->close(env, -1), -EBADF);
    assert_int_equal(env->ops->read(env, -1, &c, 1), -EBADF);
    assert_int_equal(env->ops->pread(env, -1, &c, 1, 0), -EBADF);
    assert_int_equal(env->ops->write(env, -1, "x", 1), -EBADF);
    assert_int_equal(env->ops->pwrite(env, -1, "x", 1, 0), -EBADF);
    assert_int_equal(env->ops->fsync(env, -1), -EBADF);
    assert_true(env->ops->truncate(env, -1, 0) < 0);
    assert_int_equal(env->ops->size(env, -1), -EBADF);
    assert_int_equal(env->ops->unlink(env, none), -ENOENT);
    assert_int_equal(env->ops->rename(env, none, none, true), -ENOENT);
    assert_int_equal(env->ops->rename(env, none, none, false), -ENOENT);
    assert_int_equal(env->ops->mkdir(env, none, 0700), -ENOENT);
    assert_int_equal(env->ops->fsync_dir(env, none), -ENOENT);
    assert_int_equal(env->ops->free_bytes(env, none), -ENOENT);
}

static void rename_may_refuse_to_replace(void **state)
{
    (void)state;
    struct op_env *env = op_env_default();
    env->ops->close(env, make_file(a_path, "a"));
    env->ops->close(env, make_file(b_path, "b"));
    assert_int_equal(env->ops->rename(env, a_path, b_path, false), -EEXIST);
    assert_int_equal(access(a_path, F_OK), 0);
    assert_int_equal(env->ops->rename(env, a_path, b_path, true), 0);
    assert_int_equal(env->ops->rename(env, b_path, a_path, false), 0);
    assert_int_equal(access(b_path, F_OK), -1);
    assert_int_equal(env->ops->unlink(env, a_path), 0);
}

static void clocks_and_randomness(void **state)
{
    (void)state;
    struct op_env *env = op_env_default();
    assert_true(env->ops->now_ms(env) > 1700000000000);
    int64_t before = env->ops->mono_ms(env);
    env->ops->sleep_ms(env, 2);
    env->ops->sleep_ms(env, 0);
    env->ops->sleep_ms(env, -5);
    assert_true(env->ops->mono_ms(env) >= before + 1);
    unsigned char a[1000] = {0}, b[1000] = {0};
    env->ops->random(env, a, sizeof(a));
    env->ops->random(env, b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
}

/* Runs body's passages through a point in a child; yields its wait status. */
static int run_child(const char *fault, const char *point, int passages, int *ret_passed)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        setenv("OFFPEAK_FAULT", fault, 1);
        struct op_env *env = op_env_default();
        for (int i = 0; i < passages; i++) {
            env->ops->fault(env, point);
            if (write(ends[1], ".", 1) != 1)
                _exit(3);
        }
        _exit(0);
    }
    close(ends[1]);
    char c;
    *ret_passed = 0;
    while (read(ends[0], &c, 1) == 1)
        (*ret_passed)++;
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void fault_points(void **state)
{
    (void)state;
#if !OP_FAULT_POINTS
    skip();
#endif
    int passed;
    for (const char *const *point = op_fault_points(); *point; point++) {
        int status = run_child(*point, *point, 3, &passed);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_int_equal(passed, 0);
    }
    int status = run_child("plan.commit:3", "plan.commit", 5, &passed);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(passed, 2);
    status = run_child("plan.commit:6", "plan.commit", 5, &passed);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = run_child("plan.commit", "apply.done", 5, &passed);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(passed, 5);
    static const char *const bad[] = {"plan.comit", "plan.commit:0", "plan.commit:x",
                                      "plan.commit:", ":1"};
    for (size_t i = 0; i < OP_COUNT(bad); i++) {
        status = run_child(bad[i], "plan.commit", 1, &passed);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
    }
}

static int told_code, told_times;
static char told_path[4096];

static void on_flush_failed(void *arg, const char *path, int code)
{
    assert_ptr_equal(arg, &told_code);
    snprintf(told_path, sizeof(told_path), "%s", path);
    told_code = code;
    told_times++;
    op_env_flush_failed(path, EIO); /* what the teller itself flushes is not told */
}

/* Told once, with the cause; what is no failure of the disk is not told, nor anything to nobody. */
static void failed_flushes_are_told(void **state)
{
    (void)state;
    static const int others[] = {ENOSPC, EDQUOT, EINTR, EBADF, EINVAL, EROFS, 0};
    op_env_flush_failed("x", EIO);
    op_env_on_flush_failed(on_flush_failed, &told_code);
    for (size_t i = 0; i < OP_COUNT(others); i++)
        op_env_flush_failed("x", others[i]);
    struct op_env *env = op_env_default();
    assert_int_equal(env->ops->fsync(env, -1), -EBADF);
    assert_int_equal(told_times, 0);
    op_env_flush_failed("the file", EIO);
    assert_int_equal(told_times, 1);
    assert_int_equal(told_code, EIO);
    assert_string_equal(told_path, "the file");
    op_env_on_flush_failed(NULL, NULL);
    op_env_flush_failed("x", EIO);
    assert_int_equal(told_times, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failed_flushes_are_told),
        cmocka_unit_test(files),
        cmocka_unit_test(failures_are_negative_errno),
        cmocka_unit_test(rename_may_refuse_to_replace),
        cmocka_unit_test(clocks_and_randomness),
        cmocka_unit_test(fault_points),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
