/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { FIRST_ROOM = 64 };

void op_buf_init(struct op_buf *buf, size_t max)
{
    *buf = (struct op_buf){
        .ptr = op_mem_alloc(FIRST_ROOM + OP_BUF_PADDING), .room = FIRST_ROOM, .max = max};
}

void op_buf_release(struct op_buf *buf)
{
    op_mem_free(buf->ptr);
    *buf = (struct op_buf){0};
}

void op_buf_clear(struct op_buf *buf)
{
    buf->len = 0;
    buf->failed = false;
    if (buf->ptr)
        buf->ptr[0] = '\0';
}

/* Room for extra bytes whatever the ceiling says: the caller is going to write there. */
void op_buf_grow(struct op_buf *buf, size_t extra)
{
    if (extra <= buf->room - buf->len && buf->ptr)
        return;
    size_t need;
    if (__builtin_add_overflow(buf->len, extra, &need) || need > SIZE_MAX / 2)
        need = SIZE_MAX - OP_BUF_PADDING; /* cannot be had: dies in op_mem */
    size_t room = need > SIZE_MAX / 4 ? need : buf->room * 2;
    /* Near the ceiling doubling would reserve what can never be used. */
    if (room > buf->max)
        room = buf->max;
    if (room < need)
        room = need;
    buf->ptr = op_mem_realloc(buf->ptr, room + OP_BUF_PADDING);
    memset(buf->ptr + room, 0, OP_BUF_PADDING);
    buf->room = room;
    buf->ptr[buf->len] = '\0';
}

/* True when len more bytes may be appended, and then there is room for them. */
static bool reserve(struct op_buf *buf, size_t len)
{
    if (buf->failed || buf->len > buf->max || len > buf->max - buf->len) {
        buf->failed = true;
        return false;
    }
    op_buf_grow(buf, len);
    return true;
}

void op_buf_add(struct op_buf *buf, const void *ptr, size_t len)
{
    if (!reserve(buf, len))
        return;
    if (len > 0)
        memcpy(buf->ptr + buf->len, ptr, len);
    buf->len += len;
    buf->ptr[buf->len] = '\0';
}

void op_buf_addz(struct op_buf *buf, const char *text)
{
    op_buf_add(buf, text, strlen(text));
}

void op_buf_add_str(struct op_buf *buf, struct op_str s)
{
    op_buf_add(buf, s.ptr, s.len);
}

void op_buf_addc(struct op_buf *buf, char c)
{
    if (!reserve(buf, 1))
        return;
    buf->ptr[buf->len++] = c;
    buf->ptr[buf->len] = '\0';
}

void op_buf_vaddf(struct op_buf *buf, const char *fmt, va_list ap)
{
    if (buf->failed)
        return;
    va_list again;
    va_copy(again, ap);
    op_buf_grow(buf, 0);
    /* The NUL may use the first byte of the padding. */
    size_t room = buf->room - buf->len;
    int wanted = vsnprintf(buf->ptr + buf->len, room + 1, fmt, ap);
    size_t len = wanted > 0 ? (size_t)wanted : 0;
    if (wanted < 0 || !reserve(buf, len)) {
        buf->failed = true;
        buf->ptr[buf->len] = '\0';
        va_end(again);
        return;
    }
    if (len > room)
        vsnprintf(buf->ptr + buf->len, len + 1, fmt, again);
    va_end(again);
    buf->len += len;
}

void op_buf_addf(struct op_buf *buf, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    op_buf_vaddf(buf, fmt, ap);
    va_end(ap);
}

void op_buf_add_int(struct op_buf *buf, int64_t value)
{
    char digits[24];
    size_t at = sizeof(digits);
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        digits[--at] = '-';
    op_buf_add(buf, digits + at, sizeof(digits) - at);
}

enum op_rc op_buf_finish(const struct op_buf *buf, const char *what, struct op_err *err)
{
    if (buf->failed || buf->len > buf->max)
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "%s is larger than its limit of %zu bytes", what, buf->max);
    return OP_OK;
}

char *op_buf_take(struct op_buf *buf)
{
    char *bytes = OP_TAKE(buf->ptr);
    op_buf_init(buf, buf->max);
    return bytes;
}
