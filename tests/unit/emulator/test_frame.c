/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: elements are cut out of an array that arrives in pieces, wherever the pieces end.
 * Oracle:    elements and skeleton written by hand; every split of every text in two, and byte by
 *            byte, gives the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "base/mem.h"
#include "emulator/frame.h"

static const struct {
    const char *text;
    const char *elements; /* joined by | */
    const char *skeleton;
} rows[] = {
    {"{\"requests\":[1,{\"a\":[2,3]},\"x,]\"]}", "1|{\"a\":[2,3]}|\"x,]\"",
     "{\"requests\":[0,0,0]}"},
    {"{ \"z\": [7], \"requests\" :\n[ {\n\"a\" : \"q\\\"}\" }\n, [ ] ], \"y\": {} }",
     "{ \"a\" : \"q\\\"}\" }|[ ]", "{ \"z\": [7], \"requests\" :\n[0,0], \"y\": {} }"},
    {"{\"requests\":[]}", "", "{\"requests\":[]}"},
    {"{\"requests\":{\"requests\":[1]}}", "", "{\"requests\":{\"requests\":[1]}}"},
    {"{\"xrequests\":[1]}", "", "{\"xrequests\":[1]}"},
    {"{\"requests\":[1,,2]}", "1|2", "{\"requests\":[0,,0]}"},
    {"{\"requests\":[1", "", "{\"requests\":["},
    {"[{\"requests\":[1]}]", "", "[{\"requests\":[1]}]"},
    {"{\"requests\":[{\"requests\":[1,2]}]}", "{\"requests\":[1,2]}", "{\"requests\":[0]}"},
    {"", "", ""},
};

static void collect(void *arg, struct op_str element)
{
    struct op_buf *all = arg;
    if (all->len)
        op_buf_addc(all, '|');
    op_buf_add_str(all, element);
}

static void run(size_t row, size_t split, bool bytewise)
{
    OP_CLEANUP(op_emu_frame_release) struct op_emu_frame frame;
    OP_CLEANUP(op_buf_release) struct op_buf all = {0};
    const char *text = rows[row].text;
    size_t len = strlen(text);
    op_buf_init(&all, 10000);
    op_emu_frame_init(&frame, "requests", collect, &all);
    for (size_t i = 0; bytewise && i < len; i++)
        op_emu_frame_add(&frame, text + i, 1);
    if (!bytewise) {
        op_emu_frame_add(&frame, text, split);
        op_emu_frame_add(&frame, text + split, len - split);
    }
    assert_string_equal(all.ptr, rows[row].elements);
    assert_string_equal(frame.skeleton.ptr, rows[row].skeleton);
    assert_true(op_emu_frame_fits(&frame));
}

static void test_frame(void **state)
{
    (void)state;
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        for (size_t split = 0; split <= strlen(rows[i].text); split++)
            run(i, split, false);
        run(i, 0, true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_frame)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
