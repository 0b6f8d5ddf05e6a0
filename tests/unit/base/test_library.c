/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: a library is loaded once, its functions work; what is missing is named with the package.
 * Oracle:    libm's cosine of 0, and names that no system has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* after the four above, which it needs */
#include <cmocka.h>

#include "base/library.h"

static void loads_once(void **state)
{
    (void)state;
    static struct {
        double (*cos_)(double);
    } functions;
    static const char *const names[] = {"cos"};
    static struct op_library library = {.soname = "libm.so.6",
                                        .package = "libc6",
                                        .names = names,
                                        .pointers = &functions,
                                        .count = 1,
                                        .once = PTHREAD_ONCE_INIT};
    struct op_err err = OP_ERR_INIT;
    for (int i = 0; i < 2; i++)
        assert_int_equal(op_library_load(&library, &err), OP_OK);
    double one = functions.cos_(0);
    assert_true(one > 0.999 && one < 1.001);
}

static void names_what_is_missing(void **state)
{
    (void)state;
    static void *pointer;
    static const char *const names[] = {"no_function_has_this_name"};
    static struct op_library cases[] = {
        {.soname = "libnobody-has-this.so.1", .once = PTHREAD_ONCE_INIT},
        {.soname = "libm.so.6", .once = PTHREAD_ONCE_INIT},
    };
    static const char *const mentions[] = {"libnobody-has-this.so.1",
                                           "no_function_has_this_name"};
    for (size_t i = 0; i < 2; i++) {
        cases[i].package = "the-package";
        cases[i].names = names;
        cases[i].pointers = &pointer;
        cases[i].count = 1;
        for (int again = 0; again < 2; again++) {
            struct op_err err = OP_ERR_INIT;
            assert_int_equal(op_library_load(&cases[i], &err), OP_IO);
            assert_non_null(strstr(err.msg, mentions[i]));
            assert_non_null(strstr(err.msg, "the-package"));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_once),
        cmocka_unit_test(names_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
