/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: docs/reference/pipeline.md says what the key table says.
 * Oracle:    the file in the source tree, byte by byte; with OFFPEAK_ACCEPT set it is written anew
 *            (tools/gen-reference).
 */
#include "base/io.h"
#include "support.h"

#define DOCS OP_SOURCE_DIR "/docs/reference/pipeline.md"

static void test_reference(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_buf made, found;
    op_buf_init(&made, 1 << 20);
    op_buf_init(&found, 1 << 20);
    op_definition_write_reference(&made);
    assert_int_equal(op_buf_finish(&made, "the reference", &err), OP_OK);
    if (getenv("OFFPEAK_ACCEPT"))
        assert_int_equal(op_io_replace_file(op_env_default(), DOCS, made.ptr, made.len, &err),
                         OP_OK);
    if (op_io_read_file(op_env_default(), DOCS, &found, &err))
        fail_msg("%s", err.msg);
    assert_string_equal(found.ptr, made.ptr);
    op_buf_release(&made);
    op_buf_release(&found);
}

static void test_keys(void **state)
{
    (void)state;
    size_t count = 0;
    const struct op_definition_key *keys = op_definition_keys(&count);
    assert_true(count > 40);
    for (size_t i = 0; i < count; i++) {
        assert_true(keys[i].path[0] && keys[i].type[0] && keys[i].help[0]);
        assert_null(strchr(keys[i].help, '|')); /* it would end the table's cell */
        assert_int_equal(keys[i].help[strlen(keys[i].help) - 1], '.');
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(keys[i].path, keys[j].path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
