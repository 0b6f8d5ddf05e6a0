/* SPDX-License-Identifier: MIT */
/*
 * Sessions of a coding assistant. Input: a byte for how much a read yields, then the file.
 * Oracle: cells whatever the file; their texts are UTF-8 and together bounded; the JSON ones are JSON;
 *         where reads end makes no difference.
 */
#include "base/io.h"
#include "base/json.h"
#include "memory_files.h"
#include "source/transcript.h"

static void check_cell(struct op_json_parser *parser, int cell, struct op_str text)
{
    struct op_json root;
    struct op_err err = OP_ERR_INIT;
    FUZZ_CHECK(op_utf8_valid_len(text.ptr, text.len) == text.len, "cell %d is no UTF-8", cell);
    bool is_json = (cell >= OP_TRANSCRIPT_REQUESTS && cell <= OP_TRANSCRIPT_CONCEPTS) ||
                   cell == OP_TRANSCRIPT_SIGNATURE || cell == OP_TRANSCRIPT_STATISTICS;
    if (is_json && op_json_parse(parser, text.ptr, text.len, false, &root, &err))
        FUZZ_CHECK(false, "cell %d: %s: %.*s", cell, err.msg, OP_STR_ARG(text));
}

static void read_session(struct memory_files *fs, int64_t size, struct op_buf *ret)
{
    struct op_err err = OP_ERR_INIT;
    struct op_lines *lines = NULL;
    struct op_line line;
    struct op_transcript *t = op_transcript_new();
    enum op_rc rc = op_lines_open(&fs->env, "/w/t", 0, 64 * 1024, &lines, &err);
    FUZZ_CHECK(!rc, "%s", err.msg);
    op_transcript_begin(t, size);
    while (!op_lines_next(lines, &line, &err)) {
        if (line.oversize)
            op_transcript_skip(t);
        else
            op_transcript_line(t, (struct op_str){line.ptr, line.len}, line.offset,
                               !line.terminated);
    }
    op_lines_close(lines);
    const struct op_value *cells = op_transcript_end(t);
    struct op_json_parser *parser = op_json_parser_new();
    op_buf_init(ret, 1024 * 1024);
    for (int i = 0; i < OP_TRANSCRIPT_CELLS; i++) {
        char scratch[32];
        struct op_str text = op_value_to_text(cells[i], scratch);
        if (text.ptr)
            check_cell(parser, i, text);
        op_buf_addf(ret, "\n%d ", i);
        op_buf_add(ret, text.ptr ? text.ptr : "", text.len);
    }
    op_json_parser_free(parser);
    op_transcript_free(t);
    FUZZ_CHECK(ret->len < 96 * 1024, "a row of %zu bytes", ret->len);
}

FUZZ_TARGET(transcript)
{
    size_t step = fuzz_byte(in);
    struct memory_files fs;
    OP_CLEANUP(op_buf_release) struct op_buf whole, pieces;
    memory_files_init(&fs, 0);
    struct op_str text = fuzz_rest(in);
    memory_files_put(&fs, "/w/t", text);
    read_session(&fs, (int64_t)text.len, &whole);
    fs.step = step;
    read_session(&fs, (int64_t)text.len, &pieces);
    FUZZ_CHECK(op_str_eq(op_buf_str(&whole), op_buf_str(&pieces)), "%s\nin pieces\n%s",
               whole.ptr, pieces.ptr);
    memory_files_release(&fs);
}
