/* SPDX-License-Identifier: MIT */
#include "emulator/frame.h"

#include <string.h>

#define FRAME_ELEMENT_MAX  ((size_t)256 * 1024 * 1024)
#define FRAME_SKELETON_MAX ((size_t)64 * 1024 * 1024)

void op_emu_frame_init(struct op_emu_frame *frame, const char *member, op_emu_element_fn fn,
                       void *arg)
{
    *frame = (struct op_emu_frame){.member = member, .fn = fn, .arg = arg};
    op_buf_init(&frame->skeleton, FRAME_SKELETON_MAX);
    op_buf_init(&frame->element, FRAME_ELEMENT_MAX);
}

void op_emu_frame_release(struct op_emu_frame *frame)
{
    op_buf_release(&frame->skeleton);
    op_buf_release(&frame->element);
}

bool op_emu_frame_fits(const struct op_emu_frame *frame)
{
    return !frame->skeleton.failed && !frame->element.failed;
}

/* The skeleton ends in "member" and a colon: what opens now is the array looked for. */
static bool after_member(const struct op_emu_frame *frame)
{
    struct op_str text = op_str_trim(op_buf_str(&frame->skeleton));
    size_t len = strlen(frame->member);
    if (!op_str_ends(text, ":"))
        return false;
    text = op_str_trim((struct op_str){text.ptr, text.len - 1});
    return text.len >= len + 2 && text.ptr[text.len - 1] == '"' &&
           text.ptr[text.len - len - 2] == '"' &&
           op_str_ends((struct op_str){text.ptr, text.len - 1}, frame->member);
}

static void end_element(struct op_emu_frame *frame)
{
    if (!frame->has_bytes)
        return;
    op_buf_addc(&frame->skeleton, '0');
    frame->fn(frame->arg, op_str_trim(op_buf_str(&frame->element)));
    op_buf_clear(&frame->element);
    frame->has_bytes = false;
    frame->count++;
}

/* Bytes that cannot change the state, inside a string. */
static size_t plain_run(const struct op_emu_frame *frame, const char *ptr, size_t len)
{
    size_t at = 0;
    if (frame->in_string) {
        while (at < len && ptr[at] != '"' && ptr[at] != '\\')
            at++;
    }
    return at;
}

static void keep(struct op_emu_frame *frame, char c)
{
    if (!frame->inside) {
        op_buf_addc(&frame->skeleton, c);
        return;
    }
    /* Line ends between tokens become blanks: that keeps an element on one line. Within a string
     * they are an error, which whoever parses the element must see. */
    bool blank = c == ' ' || c == '\n' || c == '\r' || c == '\t';
    if (blank && !frame->in_string)
        c = ' ';
    else
        frame->has_bytes = true;
    op_buf_addc(&frame->element, c);
}

static void structural(struct op_emu_frame *frame, char c)
{
    bool opens = c == '[' || c == '{', closes = c == ']' || c == '}';
    if (frame->inside && frame->depth == 2 && (c == ',' || closes)) {
        end_element(frame);
        frame->inside = c == ',';
        frame->depth -= closes;
        op_buf_addc(&frame->skeleton, c);
        return;
    }
    bool begins =
        opens && c == '[' && frame->depth == 1 && !frame->inside && after_member(frame);
    keep(frame, c);
    frame->depth += opens - closes;
    if (begins)
        frame->inside = true;
}

void op_emu_frame_add(struct op_emu_frame *frame, const char *ptr, size_t len)
{
    for (size_t at = 0; at < len; at++) {
        size_t run = frame->escaped ? 0 : plain_run(frame, ptr + at, len - at);
        if (run) {
            struct op_buf *buf = frame->inside ? &frame->element : &frame->skeleton;
            op_buf_add(buf, ptr + at, run);
            at += run;
            if (at == len)
                break;
        }
        char c = ptr[at];
        if (frame->in_string) {
            keep(frame, c);
            if (frame->escaped)
                frame->escaped = false;
            else if (c == '\\')
                frame->escaped = true;
            else if (c == '"')
                frame->in_string = false;
        } else if (c == '"') {
            keep(frame, c);
            frame->in_string = true;
        } else if (c == '[' || c == ']' || c == '{' || c == '}' || c == ',') {
            structural(frame, c);
        } else {
            keep(frame, c);
        }
    }
}
