/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: error values: first cause wins, wrapping, dispositions, errno, cutting of long texts.
 * Oracle:    the contract in base/err.h.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

static void first_cause_wins(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_fail(&err, OP_INVAL, "%s:%d: bad", "a.yaml", 7), OP_INVAL);
    assert_int_equal(op_fail_as(&err, OP_IO, OP_DISP_RETRY, "later"), OP_IO);
    assert_int_equal(err.rc, OP_INVAL);
    assert_int_equal(err.disp, OP_DISP_FATAL);
    assert_string_equal(err.msg, "a.yaml:7: bad");
    errno = ENOSPC;
    assert_int_equal(op_fail_errno(&err, OP_IO, "later"), OP_IO);
    assert_string_equal(err.msg, "a.yaml:7: bad");
    assert_int_equal(err.native, 0);
    op_err_clear(&err);
    assert_int_equal(err.rc, OP_OK);
    assert_string_equal(err.msg, "");
}

static void wrap_keeps_the_cause(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_err_wrap(&err, "nothing happened"), OP_OK);
    assert_string_equal(err.msg, "");
    errno = ENOENT;
    assert_int_equal(op_fail_errno(&err, OP_NOTFOUND, "cannot open %s", "x"), OP_NOTFOUND);
    assert_int_equal(err.native, ENOENT);
    assert_string_equal(err.msg, "cannot open x: No such file or directory");
    assert_int_equal(op_err_wrap(&err, "job %d", 3), OP_NOTFOUND);
    assert_string_equal(err.msg, "job 3: cannot open x: No such file or directory");
    assert_int_equal(err.native, ENOENT);
    /* The message itself may be an argument. */
    op_err_wrap(&err, "<%s>", err.msg);
    assert_string_equal(err.msg, "<job 3: cannot open x: No such file or directory>: job 3: "
                                 "cannot open x: No such file or directory");
}

static void long_texts_are_cut_between_characters(void **state)
{
    (void)state;
    char text[1500];
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'x', shift);
        size_t at = shift;
        for (; at + 3 < sizeof(text); at += 3)
            memcpy(text + at, "\xE2\x82\xAC", 3);
        text[at] = '\0';
        struct op_err err = OP_ERR_INIT;
        op_err_set(&err, OP_INVAL, "%s", text);
        size_t len = strlen(err.msg);
        assert_true(len >= sizeof(err.msg) - 4 && len < sizeof(err.msg));
        assert_int_equal(op_utf8_valid_len(err.msg, len), len);
        assert_string_equal(err.msg + len - 3, "...");
        op_err_wrap(&err, "context");
        len = strlen(err.msg);
        assert_int_equal(op_utf8_valid_len(err.msg, len), len);
        assert_memory_equal(err.msg, "context: ", 9);
        errno = EIO;
        op_err_clear(&err);
        op_err_set_errno(&err, OP_IO, "%s", text);
        assert_int_equal(op_utf8_valid_len(err.msg, strlen(err.msg)), strlen(err.msg));
    }
}

static void every_name_is_distinct(void **state)
{
    (void)state;
    for (int a = OP_STOPPED; a <= OP_OK; a++) {
        assert_string_not_equal(op_rc_name((enum op_rc)a), "unknown");
        for (int b = OP_STOPPED; b < a; b++)
            assert_string_not_equal(op_rc_name((enum op_rc)a), op_rc_name((enum op_rc)b));
    }
    for (int a = OP_DISP_FATAL; a <= OP_DISP_AMBIGUOUS; a++) {
        assert_string_not_equal(op_disp_name((enum op_disp)a), "unknown");
        for (int b = OP_DISP_FATAL; b < a; b++)
            assert_string_not_equal(op_disp_name((enum op_disp)a),
                                    op_disp_name((enum op_disp)b));
    }
    assert_string_equal(op_rc_name((enum op_rc) - 99), "unknown");
    assert_string_equal(op_disp_name((enum op_disp)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_cause_wins),
        cmocka_unit_test(wrap_keeps_the_cause),
        cmocka_unit_test(long_texts_are_cut_between_characters),
        cmocka_unit_test(every_name_is_distinct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
