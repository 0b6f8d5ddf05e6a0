/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_BUF_H
#define OP_BASE_BUF_H

/*
 * Model:     a growable byte buffer with a mandatory ceiling and sticky failure: append freely,
 *            test once with op_buf_finish. After an append that would pass the ceiling the buffer
 *            keeps what it had and ignores every further append.
 *            64 bytes past len are always allocated (and readable), so that a SIMD reader may run
 *            over the end; the byte at ptr[len] is NUL.
 * Ownership: the struct is the caller's; op_buf_release frees the bytes.
 * Threads:   one thread at a time.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define OP_BUF_PADDING 64

struct op_buf {
    char *ptr; /* never NULL after op_buf_init */
    size_t len;
    size_t room; /* allocated, without the padding */
    size_t max;  /* ceiling for len */
    bool failed;
};

void op_buf_init(struct op_buf *buf, size_t max);
void op_buf_release(struct op_buf *buf); /* also fine on a zeroed struct */
void op_buf_clear(struct op_buf *buf);   /* len 0, failure forgotten, memory kept */

/* Makes room for extra more bytes, even beyond the ceiling, for a caller that writes at ptr +
 * len and then adds to len itself; op_buf_finish still judges the sum. */
void op_buf_grow(struct op_buf *buf, size_t extra);
void op_buf_add(struct op_buf *buf, const void *ptr, size_t len);
void op_buf_addz(struct op_buf *buf, const char *text);
void op_buf_add_str(struct op_buf *buf, struct op_str s);
void op_buf_addc(struct op_buf *buf, char c);
void op_buf_addf(struct op_buf *buf, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void op_buf_vaddf(struct op_buf *buf, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
void op_buf_add_int(struct op_buf *buf, int64_t value);

/* OP_OK, or OP_INVAL naming what when the ceiling was met. */
OP_MUST_CHECK enum op_rc op_buf_finish(const struct op_buf *buf, const char *what,
                                       struct op_err *err);

/* Hands over the bytes as an op_mem block, NUL-terminated; the buffer is empty and usable. */
char *op_buf_take(struct op_buf *buf);

static inline struct op_str op_buf_str(const struct op_buf *buf)
{
    return (struct op_str){buf->ptr, buf->len};
}

#endif
