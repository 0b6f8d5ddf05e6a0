/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: ids of ready lines become keys that are never empty, differ whenever id or number
 *            differ, and lead back to their id; a usual id is its own key.
 * Oracle:    keys written down; for ids made of the characters that matter, every pair compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"
#include "core/raw_key.h"

static char *key_of(const char *id, int64_t n)
{
    struct op_buf out;
    op_buf_init(&out, 1000);
    op_raw_key_write(&out, op_str_from(id), n);
    char *key = op_buf_take(&out);
    op_buf_release(&out);
    return key;
}

static void keys_are_as_expected(void **state)
{
    (void)state;
    const struct {
        const char *id;
        int64_t n;
        const char *key;
    } rows[] = {
        {"a", 1, "a"},         {"a", 2, "a (2)"},
        {"a", 31, "a (31)"},   {"a (2)", 1, "a (2) (1)"},
        {"", 1, " (1)"},       {"", 2, " (2)"},
        {"a (b)", 1, "a (b)"}, {"a ()", 1, "a ()"},
        {"a(2)", 1, "a(2)"},   {"a (2", 1, "a (2"},
        {"(2)", 1, "(2)"},     {" (2)", 1, " (2) (1)"},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        OP_CLEANUP(op_mem_freep) char *key = key_of(rows[i].id, rows[i].n);
        assert_string_equal(key, rows[i].key);
        assert_true(op_str_is(op_raw_key_id(op_str_from(key)), rows[i].id));
    }
}

#define IDS     (1 + 4 + 16 + 64 + 256 + 1024)
#define NUMBERS 3

/* Every text of up to five of the characters that the suffix is made of. */
static void keys_never_meet(void **state)
{
    (void)state;
    static const char letters[] = " (1)";
    char **keys = op_mem_array(IDS * NUMBERS, sizeof(*keys));
    size_t count = 0;
    for (int len = 0; len <= 5; len++) {
        for (int code = 0; code < 1 << (2 * len); code++) {
            char id[8] = "";
            for (int i = 0; i < len; i++)
                id[i] = letters[code >> (2 * i) & 3];
            for (int64_t n = 1; n <= NUMBERS; n++) {
                char *key = key_of(id, n);
                assert_true(key[0] != '\0');
                assert_true(op_str_is(op_raw_key_id(op_str_from(key)), id));
                keys[count++] = key;
            }
        }
    }
    assert_int_equal(count, IDS * NUMBERS);
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count; j++)
            assert_string_not_equal(keys[i], keys[j]);
    for (size_t i = 0; i < count; i++)
        op_mem_free(keys[i]);
    op_mem_free(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_as_expected),
        cmocka_unit_test(keys_never_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
