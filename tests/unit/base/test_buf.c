/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: growing, the ceiling and sticky failure, padding, handing over.
 * Oracle:    the contract in base/buf.h.
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

#include "base/buf.h"
#include "base/mem.h"

static void appends(void **state)
{
    (void)state;
    OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
    op_buf_init(&buf, 1000);
    assert_string_equal(buf.ptr, "");
    op_buf_addz(&buf, "one ");
    op_buf_add(&buf, "two-", 3);
    op_buf_addc(&buf, ' ');
    op_buf_add_str(&buf, OP_STR("three "));
    op_buf_add_str(&buf, OP_STR_NULL);
    op_buf_addf(&buf, "%d %s ", 4, "five");
    op_buf_add_int(&buf, INT64_MIN);
    op_buf_addc(&buf, ' ');
    op_buf_add_int(&buf, 0);
    op_buf_addc(&buf, ' ');
    op_buf_add_int(&buf, INT64_MAX);
    assert_string_equal(buf.ptr,
                        "one two three 4 five -9223372036854775808 0 9223372036854775807");
    assert_int_equal(buf.len, strlen(buf.ptr));
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_buf_finish(&buf, "it", &err), OP_OK);
}

static void formats_of_any_length(void **state)
{
    (void)state;
    char text[600];
    for (size_t len = 0; len < sizeof(text); len++) {
        memset(text, 'z', len);
        text[len] = '\0';
        OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
        op_buf_init(&buf, 601);
        op_buf_addc(&buf, 'a');
        op_buf_addf(&buf, "%s", text);
        assert_int_equal(buf.len, len + 1);
        assert_string_equal(buf.ptr + 1, text);
    }
}

static void ceiling_is_sticky(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
        struct op_err err = OP_ERR_INIT;
        op_buf_init(&buf, 10);
        op_buf_addz(&buf, "12345678");
        assert_int_equal(op_buf_finish(&buf, "the body", &err), OP_OK);
        if (how == 0)
            op_buf_addz(&buf, "abc");
        else if (how == 1)
            op_buf_addf(&buf, "%s", "abc");
        else if (how == 2)
            op_buf_add_int(&buf, 999);
        else
            op_buf_add(&buf, buf.ptr, SIZE_MAX);
        op_buf_addc(&buf, 'x');
        op_buf_addf(&buf, "y");
        assert_string_equal(buf.ptr, "12345678");
        assert_int_equal(op_buf_finish(&buf, "the body", &err), OP_INVAL);
        assert_string_equal(err.msg, "the body is larger than its limit of 10 bytes");
        op_buf_clear(&buf);
        op_buf_addz(&buf, "1234567890");
        op_err_clear(&err);
        assert_int_equal(op_buf_finish(&buf, "the body", &err), OP_OK);
    }
}

static void direct_writing(void **state)
{
    (void)state;
    OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
    struct op_err err = OP_ERR_INIT;
    op_buf_init(&buf, 100);
    op_buf_addz(&buf, "ab");
    op_buf_grow(&buf, 500);
    assert_string_equal(buf.ptr, "ab");
    memset(buf.ptr + buf.len, 'c', 500);
    buf.len += 500;
    assert_int_equal(op_buf_finish(&buf, "it", &err), OP_INVAL);
    op_buf_addc(&buf, 'd');
    assert_int_equal(buf.len, 502);
}

static void padding_is_readable(void **state)
{
    (void)state;
    OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
    op_buf_init(&buf, 5000);
    for (size_t len = 0; len < 5000; len++) {
        /* Read, and no more: what lies there has no value. The address sanitizer judges. */
        for (size_t i = 0; i < OP_BUF_PADDING; i++) {
            volatile char seen = buf.ptr[buf.len + i];
            (void)seen;
        }
        assert_int_equal(buf.ptr[buf.len], '\0');
        op_buf_addc(&buf, 'q');
    }
}

static void take_hands_over(void **state)
{
    (void)state;
    int64_t before = op_mem_live();
    struct op_buf buf;
    op_buf_init(&buf, 100);
    op_buf_addz(&buf, "text");
    char *text = op_buf_take(&buf);
    assert_string_equal(text, "text");
    assert_int_equal(buf.len, 0);
    op_buf_addz(&buf, "more");
    assert_string_equal(buf.ptr, "more");
    assert_int_equal(buf.max, 100);
    op_mem_free(text);
    op_buf_release(&buf);
    op_buf_release(&buf);
    assert_int_equal(op_mem_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends),
        cmocka_unit_test(formats_of_any_length),
        cmocka_unit_test(ceiling_is_sticky),
        cmocka_unit_test(direct_writing),
        cmocka_unit_test(padding_is_readable),
        cmocka_unit_test(take_hands_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
