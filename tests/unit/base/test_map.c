/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: adding, getting, overwriting, iteration in insertion order, release.
 * Oracle:    keys made from their index, so every lookup has a known answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/map.h"
#include "base/mem.h"

static void many_keys(void **state)
{
    (void)state;
    int64_t before = op_mem_live();
    struct op_map map = {0};
    int64_t value = 0;
    assert_false(op_map_get(&map, OP_STR("none"), &value));
    char key[32];
    for (int i = 0; i < 50000; i++) {
        snprintf(key, sizeof(key), "key-%d", i);
        assert_true(op_map_add(&map, op_str_from(key), i, &value));
        assert_int_equal(value, i);
    }
    assert_int_equal(map.count, 50000);
    for (int i = 0; i < 50000; i++) {
        snprintf(key, sizeof(key), "key-%d", i);
        assert_true(op_map_get(&map, op_str_from(key), &value));
        assert_int_equal(value, i);
        assert_string_equal(map.entries[i].key, key);
        assert_false(op_map_add(&map, op_str_from(key), -1, &value));
        assert_int_equal(value, i);
        snprintf(key, sizeof(key), "yek-%d", i);
        assert_false(op_map_get(&map, op_str_from(key), &value));
    }
    op_map_set(&map, OP_STR("key-7"), 70);
    op_map_set(&map, OP_STR("fresh"), 71);
    assert_true(op_map_get(&map, OP_STR("key-7"), &value));
    assert_int_equal(value, 70);
    assert_true(op_map_get(&map, OP_STR("fresh"), &value));
    assert_int_equal(value, 71);
    assert_int_equal(map.count, 50001);
    op_map_release(&map);
    op_map_release(&map);
    assert_int_equal(op_mem_live(), before);
}

static void any_bytes_are_keys(void **state)
{
    (void)state;
    OP_CLEANUP(op_map_release) struct op_map map = {0};
    int64_t value;
    assert_true(op_map_add(&map, OP_STR(""), 1, NULL));
    assert_true(op_map_add(&map, OP_STR("\0"), 2, NULL));
    assert_true(op_map_add(&map, OP_STR("\0\0"), 3, NULL));
    assert_false(op_map_add(&map, OP_STR_NULL, 4, &value));
    assert_int_equal(value, 1);
    assert_true(op_map_get(&map, OP_STR("\0\0"), &value));
    assert_int_equal(value, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_keys),
        cmocka_unit_test(any_bytes_are_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
