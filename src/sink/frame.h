/* SPDX-License-Identifier: MIT */
#ifndef OP_SINK_FRAME_H
#define OP_SINK_FRAME_H

/*
 * Model:     the outbox file is a sequence of frames (sink.h). Here they are written, and read
 *            again in constant memory: in order, or by a list of offsets.
 *            The key hash is part of the stored format, so it is defined here for all versions:
 *            hash = K0; for each key column: its tag (one character for the type), its length and
 *            its bytes are folded in, 8 bytes at a time little endian, by
 *                fold(h, w) = lo(p) ^ hi(p), p = (w ^ K1) * (h ^ K2)   (64 x 64 -> 128 bits).
 * Ownership: structs are the caller's; what a window or view shows is valid until its next call.
 * Errors:    a frame that cannot be one is OP_IO naming the file and the byte.
 * Threads:   one thread at a time; the encoding half is pure.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/env.h"
#include "base/err.h"
#include "base/value.h"
#include "sink/sink.h"

#define OP_FRAME_SIZE 16
/* The largest row, path included. */
#define OP_FRAME_MAX (16 * 1024 * 1024)

/* The key of a row: its hash, and (bytes not NULL) the normalized bytes to compare. */
struct op_key {
    uint64_t hash;
    struct op_buf *bytes;
};
void op_key_begin(struct op_key *key, struct op_buf *bytes);
void op_key_add(struct op_key *key, char tag, const void *ptr, size_t len);
/* By type: 'n' NULL, 'i' integers and doubles without a fraction, 'd' other doubles, 't', 'b'. */
void op_key_add_value(struct op_key *key, struct op_value v);

/* Begins a frame at the end of out; between begin and end the caller appends the payload. */
size_t op_frame_begin(struct op_buf *out, struct op_str path);
/* Completes the frame that began at start. A row that is too large is OP_INVAL (REJECT). After any
 * failure out holds nothing of the frame. */
OP_MUST_CHECK enum op_rc op_frame_end(struct op_buf *out, size_t start, size_t path_len,
                                      uint64_t key_hash, struct op_err *err);
void op_frame_cancel(struct op_buf *out, size_t start);

/* A file seen through a moving window. */
struct op_window {
    struct op_env *env;
    int fd; /* -1 when closed */
    char *path;
    char *ptr; /* room bytes and OP_BUF_PADDING */
    size_t room;
    size_t start, end; /* bytes shown */
    size_t step;       /* how much to read at once: small after a jump, growing in sequence */
    int64_t offset;    /* of ptr[start] */
};
/* OP_NOTFOUND (err untouched) when there is no such file. */
OP_MUST_CHECK enum op_rc op_window_open(struct op_window *w, struct op_env *env,
                                        const char *path, struct op_err *err);
void op_window_release(struct op_window *w); /* fine on a zeroed struct with fd -1 */
void op_window_seek(struct op_window *w, int64_t offset);
/* Shows the bytes at the present offset, at least want of them unless the file ends before. */
OP_MUST_CHECK enum op_rc op_window_peek(struct op_window *w, size_t want, struct op_str *ret,
                                        struct op_err *err);
static inline void op_window_skip(struct op_window *w, size_t len)
{
    w->start += len;
    w->offset += (int64_t)len;
}

struct op_frame_view {
    struct op_frame head;
    int64_t offset; /* of the frame */
    struct op_str path, body;
};

struct op_sorter;

/* Frames in order: those in [at, to), or, with a list, those whose offsets are the values of the
 * list's pairs [index, index_end). With a path only frames with that path are shown. */
struct op_frames {
    struct op_window window;
    int64_t from, to, at;
    struct op_sorter *list;
    int64_t index_begin, index_end, index;
    struct op_str path;
};
OP_MUST_CHECK enum op_rc op_frames_open(struct op_frames *f, struct op_env *env,
                                        const char *outbox, int64_t from, int64_t to,
                                        struct op_err *err);
void op_frames_release(struct op_frames *f);
void op_frames_rewind(struct op_frames *f);
/* OP_NOTFOUND (err untouched) at the end. */
OP_MUST_CHECK enum op_rc op_frames_next(struct op_frames *f, struct op_frame_view *ret,
                                        struct op_err *err);
/* The frame at an offset of the window's file. */
OP_MUST_CHECK enum op_rc op_frame_read(struct op_window *w, int64_t offset,
                                       struct op_frame_view *ret, struct op_err *err);

#endif
