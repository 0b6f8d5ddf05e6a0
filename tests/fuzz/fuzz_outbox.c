/* SPDX-License-Identifier: MIT */
/*
 * The outbox file as it may have been damaged. Input: a byte for how much a read yields, two for where
 * the range ends, then the file; an 'F' in it is replaced by the head of a frame of the bytes up to
 * the next one.
 * Oracle: frames lie in the range, one behind the other; anything else is an error.
 */
#include <endian.h>

#include "memory_files.h"
#include "sink/frame.h"

static void write_frames(struct op_buf *file, struct op_str text)
{
    while (text.ptr) {
        struct op_str body = op_str_cut(&text, 'F');
        uint32_t words[2] = {htole32((uint32_t)body.len), htole32(body.len > 2 ? 2 : 0)};
        if (text.ptr) {
            op_buf_add(file, words, sizeof(words));
            op_buf_add(file, "hashhash", 8);
        }
        op_buf_add_str(file, body);
    }
}

FUZZ_TARGET(outbox)
{
    struct memory_files fs;
    memory_files_init(&fs, fuzz_byte(in));
    int64_t from = fuzz_byte(in), to = fuzz_byte(in) * 16;
    OP_CLEANUP(op_buf_release) struct op_buf file;
    struct op_frames frames;
    struct op_frame_view view;
    struct op_err err = OP_ERR_INIT;
    op_buf_init(&file, 64 * 1024 * 1024);
    write_frames(&file, fuzz_rest(in));
    memory_files_put(&fs, "o", op_buf_str(&file));
    if (to == 0)
        to = (int64_t)file.len;
    FUZZ_CHECK(!op_frames_open(&frames, &fs.env, "o", from, to, &err), "%s", err.msg);
    int64_t at = from;
    enum op_rc rc;
    while (!(rc = op_frames_next(&frames, &view, &err))) {
        FUZZ_CHECK(view.offset == at, "%lld, not %lld", (long long)view.offset, (long long)at);
        at += OP_FRAME_SIZE + (int64_t)view.head.len;
        FUZZ_CHECK(at <= to && at <= (int64_t)file.len, "beyond the range");
        FUZZ_CHECK(view.path.len + view.body.len == view.head.len, "parts");
    }
    if (rc != OP_NOTFOUND)
        fuzz_check_error(rc, &err);
    op_frames_release(&frames);
    memory_files_release(&fs);
}
