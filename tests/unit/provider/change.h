/* SPDX-License-Identifier: MIT */
#ifndef OP_TESTS_UNIT_PROVIDER_CHANGE_H
#define OP_TESTS_UNIT_PROVIDER_CHANGE_H

/*
 * Model:     good result lines with one value at a time replaced by every other kind of JSON value,
 *            or left out: what a provider's change of mind looks like.
 */

#include "base/json_out.h"
#include "support.h"

/* Writes v with the value number *target, counted in document order, replaced by other (NULL: its
 * member or element is left out). */
static inline void write_changed(struct op_json_out *out, struct op_json v, int *target,
                                 const char *other)
{
    bool object = op_json_is(v, OP_JSON_OBJECT);
    if (!object && !op_json_is(v, OP_JSON_ARRAY)) {
        op_json_out_value(out, v);
        return;
    }
    if (object)
        op_json_out_object(out);
    else
        op_json_out_array(out);
    struct op_json_iter it = op_json_iter(v);
    while (op_json_next(&it)) {
        bool hit = (*target)-- == 0;
        if (hit && !other)
            continue;
        if (object)
            op_json_out_name_str(out, it.name);
        if (hit)
            op_json_out_raw(out, op_str_from(other));
        else
            write_changed(out, it.value, target, other);
    }
    if (object)
        op_json_out_end_object(out);
    else
        op_json_out_end_array(out);
}

/* Each changed line decodes, or is refused with a reason; and there were some of both. */
static inline void check_changes(const char *const *lines, size_t count,
                                 enum op_rc (*decode)(const char *line, struct op_result *ret,
                                                      struct op_err *err))
{
    static const char *const others[] = {
        NULL, "null",   "true", "-9223372036854775808", "1e400", "\"\"", "\"text\"",
        "[]", "[[{}]]", "{}",   "{\"type\":{}}"};
    struct op_json_parser *source = op_json_parser_new();
    int changed = 0, refused = 0;
    for (size_t i = 0; i < count; i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_json root;
        assert_int_equal(op_json_parse(source, lines[i], strlen(lines[i]), false, &root, &err),
                         OP_OK);
        for (int at = 0, left = -1; left < 0; at++) {
            for (size_t j = 0; j < OP_COUNT(others); j++) {
                OP_CLEANUP(op_buf_release) struct op_buf text;
                op_buf_init(&text, 1 << 20);
                struct op_json_out out;
                op_json_out_init(&out, &text, 0);
                left = at;
                write_changed(&out, root, &left, others[j]);
                struct op_result r;
                err = OP_ERR_INIT;
                enum op_rc rc = decode(text.ptr, &r, &err);
                changed++;
                if (rc == OP_OK) {
                    assert_true(r.class_ < OP_RESULT_CLASS_COUNT);
                    continue;
                }
                assert_int_equal(rc, OP_INVAL);
                assert_true(err.msg[0]);
                refused++;
            }
        }
    }
    op_json_parser_free(source);
    assert_true(changed > 200);
    assert_true(refused > 10 && refused < changed / 2);
}

#endif
