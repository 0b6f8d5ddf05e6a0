/* SPDX-License-Identifier: MIT */
/*
 * The emulator's cutting of an array out of a large body. Input: two bytes for the lengths of the
 * pieces, then the body.
 * Oracle: however it is cut into pieces, the same elements; of JSON with the array in it, exactly the
 *         elements that a JSON reader finds.
 */
#include "base/json.h"
#include "base/json_out.h"
#include "emulator/frame.h"
#include "fuzz.h"

static void on_element(void *arg, struct op_str element)
{
    struct op_buf *all = arg;
    op_buf_add_str(all, element);
    op_buf_addc(all, '\x1e');
}

/* The number of elements. */
static size_t cut(struct op_str body, size_t first, size_t step, struct op_buf *all,
                  struct op_buf *skeleton)
{
    struct op_emu_frame frame;
    op_buf_init(all, 64 * 1024 * 1024);
    op_buf_init(skeleton, 64 * 1024 * 1024);
    op_emu_frame_init(&frame, "requests", on_element, all);
    for (size_t at = 0, len = first; at < body.len; at += len, len = step) {
        len = len == 0 || len > body.len - at ? body.len - at : len;
        op_emu_frame_add(&frame, body.ptr + at, len);
    }
    size_t count = frame.count;
    op_buf_add_str(skeleton, op_buf_str(&frame.skeleton));
    op_emu_frame_release(&frame);
    return count;
}

static void check_elements(struct op_str body, const struct op_buf *all, size_t count)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *a = op_json_parser_new();
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *b = op_json_parser_new();
    struct op_err err = OP_ERR_INIT;
    struct op_json root, v;
    if (op_json_parse(a, body.ptr, body.len, false, &root, &err) || op_json_parser_repaired(a))
        return;
    size_t members = 0;
    struct op_json_iter it = op_json_iter(root);
    while (op_json_is(root, OP_JSON_OBJECT) && op_json_next(&it))
        members += op_str_is(it.name, "requests");
    struct op_json array = op_json_get(root, "requests");
    if (members != 1 || !op_json_is(array, OP_JSON_ARRAY) ||
        !memmem(body.ptr, body.len, "\"requests\"", 10))
        return;
    FUZZ_CHECK(op_json_count(array) == count, "%zu elements, not %zu", count,
               op_json_count(array));
    struct op_str rest = op_buf_str(all);
    it = op_json_iter(array);
    while (op_json_next(&it)) {
        struct op_str line = op_str_cut(&rest, '\x1e');
        enum op_rc rc = op_json_parse(b, line.ptr, line.len, false, &v, &err);
        FUZZ_CHECK(!rc && op_json_equal(v, it.value), OP_STR_FMT, OP_STR_ARG(line));
    }
}

FUZZ_TARGET(elements)
{
    size_t first = fuzz_byte(in), step = fuzz_byte(in) + 1u;
    struct op_str body = fuzz_rest(in);
    OP_CLEANUP(op_buf_release) struct op_buf a, b, c, d;
    size_t whole = cut(body, 0, 0, &a, &b), pieces = cut(body, first, step, &c, &d);
    FUZZ_CHECK(whole == pieces && op_str_eq(op_buf_str(&a), op_buf_str(&c)) &&
                   op_str_eq(op_buf_str(&b), op_buf_str(&d)),
               "%s\nin pieces\n%s", a.ptr, c.ptr);
    check_elements(body, &a, whole);
}
