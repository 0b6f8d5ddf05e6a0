/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: zeroed, aligned memory of any size; reset keeps one block; release frees all.
 * Oracle:    every object keeps its own fill byte until the end; the count of live blocks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/arena.h"
#include "base/mem.h"

static void objects_do_not_overlap(void **state)
{
    (void)state;
    int64_t before = op_mem_live();
    struct op_arena arena = {0};
    for (int round = 0; round < 3; round++) {
        unsigned char *objects[300];
        size_t sizes[300];
        for (size_t i = 0; i < OP_COUNT(objects); i++) {
            sizes[i] = i % 50 == 7 ? 100000 + i : i * 13 % 700;
            objects[i] = op_arena_alloc(&arena, sizes[i]);
            assert_int_equal((uintptr_t)objects[i] % 16, 0);
            for (size_t b = 0; b < sizes[i]; b++)
                assert_int_equal(objects[i][b], 0);
            memset(objects[i], (int)(i % 255 + 1), sizes[i]);
        }
        for (size_t i = 0; i < OP_COUNT(objects); i++) {
            for (size_t b = 0; b < sizes[i]; b++)
                assert_int_equal(objects[i][b], i % 255 + 1);
        }
        op_arena_reset(&arena);
        assert_int_equal(op_mem_live(), before + 1);
    }
    op_arena_release(&arena);
    assert_int_equal(op_mem_live(), before);
    op_arena_release(&arena);
    op_arena_reset(&arena);
}

static void texts(void **state)
{
    (void)state;
    OP_CLEANUP(op_arena_release) struct op_arena arena = {0};
    assert_string_equal(op_arena_strdup(&arena, OP_STR("a\0b")), "a");
    assert_string_equal(op_arena_strdup(&arena, OP_STR_NULL), "");
    assert_string_equal(op_arena_printf(&arena, "%s %d", "x", 5), "x 5");
    assert_string_equal(op_arena_printf(&arena, "%s", ""), "");
    const uint64_t *words = op_arena_array(&arena, 100, sizeof(*words));
    assert_int_equal(words[99], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_do_not_overlap),
        cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
