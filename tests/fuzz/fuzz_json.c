/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing JSON.
 * Oracle: two readers that share no code (simdjson's and the tolerant one) agree on every text that
 *         strict JSON is; what is written reads back strictly, as an equal value and the same bytes.
 */
#include "base/json.h"
#include "base/json_out.h"
#include "base/json_tape.h"
#include "fuzz.h"

static void write_value(struct op_buf *out, struct op_json v, bool canonical)
{
    op_buf_init(out, 64 * 1024 * 1024);
    if (canonical)
        op_json_write_canonical(out, v);
    else
        op_json_write(out, v);
    struct op_err err = OP_ERR_INIT;
    FUZZ_CHECK(!op_buf_finish(out, "a value", &err), "%s", err.msg);
}

/* The text was strict JSON: the tolerant reader sees the same, and mends nothing. */
static void check_tolerant(const struct op_buf *padded, struct op_json strict)
{
    struct op_json_text text = {0};
    struct op_err err = OP_ERR_INIT;
    FUZZ_CHECK(!op_json_text_parse(&text, padded->ptr, padded->len, &err), "%s", err.msg);
    FUZZ_CHECK(!text.mended, "strict JSON was mended");
    OP_CLEANUP(op_buf_release) struct op_buf a, b;
    write_value(&a, strict, false);
    write_value(&b, (struct op_json){text.tape, text.strings, 1}, false);
    FUZZ_CHECK(op_str_eq(op_buf_str(&a), op_buf_str(&b)), "strict: %s\ntolerant: %s", a.ptr,
               b.ptr);
    op_json_text_release(&text);
}

static void check_round_trip(struct op_json v, bool canonical)
{
    OP_CLEANUP(op_buf_release) struct op_buf first, second;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_err err = OP_ERR_INIT;
    struct op_json again;
    write_value(&first, v, canonical);
    FUZZ_CHECK(!op_json_parse(parser, first.ptr, first.len, true, &again, &err), "%s: %s",
               err.msg, first.ptr);
    FUZZ_CHECK(!op_json_parser_repaired(parser), "not strict: %s", first.ptr);
    write_value(&second, again, canonical);
    FUZZ_CHECK(op_str_eq(op_buf_str(&first), op_buf_str(&second)), "%s\nbecame %s", first.ptr,
               second.ptr);
    FUZZ_CHECK(op_json_equal(again, again), "not equal to itself: %s", first.ptr);
}

FUZZ_TARGET(json)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_buf_release) struct op_buf padded;
    struct op_err err = OP_ERR_INIT;
    struct op_json v;
    op_buf_init(&padded, 64 * 1024 * 1024);
    op_buf_add(&padded, in->ptr, in->len);

    struct op_json_simd *simd = op_json_simd_new();
    const uint64_t *tape = NULL;
    const uint8_t *strings = NULL;
    if (op_json_simd_parse(simd, padded.ptr, padded.len, &tape, &strings))
        check_tolerant(&padded, (struct op_json){tape, strings, 1});
    op_json_simd_free(simd);

    enum op_rc rc = op_json_parse(parser, in->ptr, in->len, false, &v, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
        fuzz_show("null\n");
        return;
    }
    check_round_trip(v, false);
    check_round_trip(v, true);
    OP_CLEANUP(op_buf_release) struct op_buf shown;
    write_value(&shown, v, false);
    fuzz_show("%s\n", shown.ptr);
}
