/* SPDX-License-Identifier: MIT */
/*
 * Lines through a moving window. Input: a byte for how much a read yields, one for the longest line,
 * one for where reading begins, the file.
 * Oracle: the file cut at its newlines by hand.
 */
#include "base/io.h"
#include "memory_files.h"

FUZZ_TARGET(lines)
{
    struct memory_files fs;
    memory_files_init(&fs, fuzz_byte(in));
    size_t max_line = fuzz_byte(in);
    size_t begin = fuzz_byte(in);
    struct op_str file = fuzz_rest(in);
    memory_files_put(&fs, "f", file);
    struct op_lines *lines = NULL;
    struct op_err err = OP_ERR_INIT;
    enum op_rc rc = op_lines_open(&fs.env, "f", (int64_t)begin, max_line, &lines, &err);
    FUZZ_CHECK(!rc, "%s", err.msg);
    size_t at = begin < file.len ? begin : file.len;
    struct op_line line;
    int64_t number = 0;
    while (!(rc = op_lines_next(lines, &line, &err))) {
        const char *newline = memchr(file.ptr + at, '\n', file.len - at);
        size_t len = newline ? (size_t)(newline - file.ptr) - at : file.len - at;
        size_t next = at + len + (newline != NULL);
        if (newline && len > 0 && file.ptr[at + len - 1] == '\r')
            len--;
        FUZZ_CHECK(line.offset == (int64_t)at && line.end == (int64_t)next,
                   "[%lld, %lld), not [%zu, %zu)", (long long)line.offset, (long long)line.end,
                   at, next);
        FUZZ_CHECK(line.len == len && line.number == ++number, "%zu bytes, not %zu", line.len,
                   len);
        FUZZ_CHECK(line.terminated == (newline != NULL), "the end");
        FUZZ_CHECK(line.oversize == (len > max_line) && !line.ptr == line.oversize, "oversize");
        if (line.ptr)
            FUZZ_CHECK(len == 0 || memcmp(line.ptr, file.ptr + at, len) == 0, "other bytes");
        at = next;
    }
    FUZZ_CHECK(rc == OP_NOTFOUND && at == file.len, "%zu of %zu bytes", at, file.len);
    op_lines_close(lines);
    memory_files_release(&fs);
}
