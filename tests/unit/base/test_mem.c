/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the allocator's door: zeroing, counting, cleanup, death on what cannot be had.
 * Oracle:    the contract in base/mem.h; a child process that asks too much must exit with one
 *            line on stderr.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"

static void blocks_are_counted(void **state)
{
    (void)state;
    int64_t before = op_mem_live();
    char *a = op_mem_alloc(100);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(a[i], 0);
    uint32_t *b = op_mem_array(10, sizeof(*b));
    assert_int_equal(b[9], 0);
    char *c = op_mem_realloc(NULL, 3);
    assert_int_equal(op_mem_live(), before + 3);
    a = op_mem_realloc(a, 100000);
    assert_int_equal(op_mem_live(), before + 3);
    assert_non_null(a = op_mem_realloc(a, 0));
    op_mem_free(a);
    op_mem_free(b);
    op_mem_free(c);
    op_mem_free(NULL);
    assert_int_equal(op_mem_live(), before);
    void *nothing = op_mem_alloc(0);
    assert_non_null(nothing);
    op_mem_free(nothing);
}

static void texts_are_copied(void **state)
{
    (void)state;
    assert_null(op_mem_strdup(NULL));
    OP_CLEANUP(op_mem_freep) char *a = op_mem_strdup("word");
    OP_CLEANUP(op_mem_freep) char *b = op_mem_strndup("word and more", 4);
    OP_CLEANUP(op_mem_freep) char *c = op_mem_strndup(NULL, 0);
    OP_CLEANUP(op_mem_freep) char *d = op_mem_printf("%s-%03d", a, 7);
    assert_string_equal(a, "word");
    assert_string_equal(b, "word");
    assert_string_equal(c, "");
    assert_string_equal(d, "word-007");
}

static char *make(void)
{
    OP_CLEANUP(op_mem_freep) char *text = op_mem_strdup("taken");
    return OP_TAKE(text);
}

static void cleanup_and_take(void **state)
{
    (void)state;
    int64_t before = op_mem_live();
    char *text = make();
    assert_string_equal(text, "taken");
    op_mem_freep(&text);
    assert_null(text);
    assert_int_equal(op_mem_live(), before);
}

static void want_too_much(int how)
{
    if (how == 0)
        op_mem_array(SIZE_MAX / 2, 3);
    else if (how == 1)
        op_mem_alloc(SIZE_MAX / 2);
    else
        op_mem_strndup("x", SIZE_MAX);
}

static void failure_ends_the_process(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            dup2(ends[1], STDERR_FILENO);
            want_too_much(how);
            _exit(0);
        }
        close(ends[1]);
        char text[4096];
        size_t len = 0;
        for (ssize_t n; (n = read(ends[0], text + len, sizeof(text) - 1 - len)) > 0;)
            len += (size_t)n;
        text[len] = '\0';
        close(ends[0]);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        /* A sanitizer may add its own report of the absurd size. */
        assert_non_null(strstr(text, "offpeak: out of memory"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_counted),
        cmocka_unit_test(texts_are_copied),
        cmocka_unit_test(cleanup_and_take),
        cmocka_unit_test(failure_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Sanitizers would otherwise end the child with their own report of the absurd size. */
const char *__asan_default_options(void) __attribute__((visibility("default")));
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
