/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: a form is read the same however it is cut into pieces, its parts in any order; what is no
 *            form is noticed.
 * Oracle:    bodies written by hand after RFC 7578, with their parts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"
#include "emulator/multipart.h"

#define TYPE "multipart/form-data; boundary=\"x-1\""
#define FIELD(name, value) \
    "--x-1\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
/* Data that looks like a boundary and is none. */
#define DATA "{\"a\":1}\r\n--x-\r\n--x\n\r\n"
#define FILE_PART                                                                      \
    "--x-1\r\ncontent-disposition: form-data; name=\"file\"; filename=\"b.jsonl\"\r\n" \
    "Content-Type: application/octet-stream\r\n\r\n" DATA "\r\n"
#define END "--x-1--\r\n"

struct seen {
    struct op_arena arena;
    struct op_emu_multipart form;
    struct op_buf data;
    const char *filename;
};

static void on_file(void *arg, const struct op_emu_part *part, const char *ptr, size_t len)
{
    struct seen *seen = arg;
    seen->filename = part->filename;
    op_buf_add(&seen->data, ptr, len);
}

static void read_form(struct seen *seen, const char *type, const char *body, size_t step)
{
    *seen = (struct seen){0};
    op_buf_init(&seen->data, 1 << 20);
    if (!op_emu_multipart_init(&seen->form, op_str_from(type), &seen->arena, on_file, seen)) {
        seen->form.broken = true;
        return;
    }
    size_t len = strlen(body);
    for (size_t at = 0; at < len; at += step)
        op_emu_multipart_add(&seen->form, body + at, len - at < step ? len - at : step);
}

static void drop(struct seen *seen)
{
    op_emu_multipart_release(&seen->form);
    op_buf_release(&seen->data);
    op_arena_release(&seen->arena);
}

static void test_every_piece(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        FIELD("purpose", "batch") FIELD("expires_after[seconds]", "3600") FILE_PART END,
        FILE_PART FIELD("purpose", "batch") FIELD("expires_after[seconds]", "3600") END,
        "a preamble\r\n" FIELD("purpose", "batch")
            FILE_PART FIELD("expires_after[seconds]", "3600") END "an epilogue",
    };
    for (size_t i = 0; i < OP_COUNT(bodies); i++) {
        for (size_t step = 1; step <= strlen(bodies[i]); step++) {
            struct seen seen;
            read_form(&seen, TYPE, bodies[i], step);
            assert_true(seen.form.complete);
            assert_false(seen.form.broken);
            assert_string_equal(seen.data.ptr, DATA);
            assert_string_equal(seen.filename, "b.jsonl");
            assert_true(op_str_is(op_emu_multipart_field(&seen.form, "purpose"), "batch"));
            assert_true(op_str_is(op_emu_multipart_field(&seen.form, "expires_after[seconds]"),
                                  "3600"));
            assert_null(op_emu_multipart_field(&seen.form, "file").ptr);
            drop(&seen);
        }
    }
}

static void test_not_a_form(void **state)
{
    (void)state;
    static const struct {
        const char *type, *body;
    } rows[] = {
        {"application/json", FIELD("a", "b") END},
        {"multipart/form-data", FIELD("a", "b") END},
        {TYPE, "--x-1\r\nContent-Type: text/plain\r\n\r\nno name\r\n" END},
        {TYPE, "--x-1xx\r\n\r\n" END},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct seen seen;
        read_form(&seen, rows[i].type, rows[i].body, 7);
        assert_true(seen.form.broken);
        drop(&seen);
    }
    struct seen cut;
    read_form(&cut, TYPE, FIELD("purpose", "batch") FILE_PART, 5);
    assert_false(cut.form.broken);
    assert_false(cut.form.complete);
    drop(&cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_piece),
        cmocka_unit_test(test_not_a_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
