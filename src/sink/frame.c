/* SPDX-License-Identifier: MIT */
#include "sink/frame.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "sink/sorter.h"

static const uint64_t K0 = 0x243f6a8885a308d3ULL;
static const uint64_t K1 = 0x9e3779b97f4a7c15ULL;
static const uint64_t K2 = 0xc2b2ae3d27d4eb4fULL;

enum { FIRST_STEP = 4096, MAX_STEP = 512 * 1024, FIRST_ROOM = 64 * 1024 };

static uint64_t fold(uint64_t h, uint64_t w)
{
    __uint128_t p = (__uint128_t)(w ^ K1) * (h ^ K2);
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

void op_key_begin(struct op_key *key, struct op_buf *bytes)
{
    *key = (struct op_key){.hash = K0, .bytes = bytes};
    if (bytes)
        op_buf_clear(bytes);
}

void op_key_add(struct op_key *key, char tag, const void *ptr, size_t len)
{
    uint64_t head = (uint64_t)(unsigned char)tag | (uint64_t)len << 8;
    uint64_t h = fold(key->hash, head);
    const char *at = ptr;
    size_t left = len;
    for (; left >= 8; left -= 8, at += 8) {
        uint64_t w;
        memcpy(&w, at, 8);
        h = fold(h, le64toh(w));
    }
    if (left > 0) {
        uint64_t w = 0;
        memcpy(&w, at, left);
        h = fold(h, le64toh(w));
    }
    key->hash = h;
    if (!key->bytes)
        return;
    op_buf_add(key->bytes, &head, sizeof(head));
    op_buf_add(key->bytes, ptr, len);
}

static void add_number(struct op_key *key, char tag, uint64_t bits)
{
    uint64_t le = htole64(bits);
    op_key_add(key, tag, &le, sizeof(le));
}

void op_key_add_value(struct op_key *key, struct op_value v)
{
    uint64_t bits;
    switch (v.type) {
    case OP_VALUE_NULL:
        op_key_add(key, 'n', "", 0);
        return;
    case OP_VALUE_INT:
        add_number(key, 'i', (uint64_t)v.i);
        return;
    case OP_VALUE_DOUBLE:
        /* 7.0 is written as 7 and read back as an integer. */
        if (v.d >= -9.0e18 && v.d <= 9.0e18 && v.d == trunc(v.d)) {
            add_number(key, 'i', (uint64_t)(int64_t)v.d);
            return;
        }
        if (!isfinite(v.d)) {
            op_key_add(key, 'n', "", 0);
            return;
        }
        memcpy(&bits, &v.d, sizeof(bits));
        add_number(key, 'd', bits);
        return;
    case OP_VALUE_TEXT:
        op_key_add(key, 't', v.s.ptr, v.s.len);
        return;
    case OP_VALUE_BLOB:
        op_key_add(key, 'b', v.s.ptr, v.s.len);
        return;
    }
}

size_t op_frame_begin(struct op_buf *out, struct op_str path)
{
    static const char empty[OP_FRAME_SIZE];
    size_t start = out->len;
    op_buf_add(out, empty, sizeof(empty));
    if (path.len > 0)
        op_buf_add(out, path.ptr, path.len);
    return start;
}

void op_frame_cancel(struct op_buf *out, size_t start)
{
    if (out->len <= start)
        return;
    out->len = start;
    out->ptr[start] = '\0';
}

enum op_rc op_frame_end(struct op_buf *out, size_t start, size_t path_len, uint64_t key_hash,
                        struct op_err *err)
{
    enum op_rc rc = op_buf_finish(out, "a row for the outbox", err);
    /* When the buffer holds other rows too, this one did nothing wrong and must not be dropped. */
    if (rc && start > 0)
        err->disp = OP_DISP_FATAL;
    size_t len = rc ? 0 : out->len - start - OP_FRAME_SIZE;
    if (!rc && len > OP_FRAME_MAX)
        rc = op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                        "the row has %zu bytes, more than the limit of %d", len, OP_FRAME_MAX);
    if (rc) {
        op_frame_cancel(out, start);
        return rc;
    }
    uint32_t words[2] = {htole32((uint32_t)len), htole32((uint32_t)path_len)};
    uint64_t hash = htole64(key_hash);
    memcpy(out->ptr + start, words, 8);
    memcpy(out->ptr + start + 8, &hash, 8);
    return OP_OK;
}

enum op_rc op_window_open(struct op_window *w, struct op_env *env, const char *path,
                          struct op_err *err)
{
    int fd;
    do {
        fd = env->ops->open(env, path, O_RDONLY, 0);
    } while (fd == -EINTR);
    *w = (struct op_window){.fd = -1};
    if (fd == -ENOENT)
        return OP_NOTFOUND;
    if (fd < 0) {
        errno = -fd;
        return op_fail_errno(err, OP_IO, "cannot open %s", path);
    }
    *w = (struct op_window){
        .env = env, .fd = fd, .path = op_mem_strdup(path), .step = FIRST_STEP};
    return OP_OK;
}

void op_window_release(struct op_window *w)
{
    if (w->path)
        w->env->ops->close(w->env, w->fd);
    op_mem_free(w->path);
    op_mem_free(w->ptr);
    *w = (struct op_window){.fd = -1};
}

void op_window_seek(struct op_window *w, int64_t offset)
{
    int64_t ahead = offset - w->offset;
    if (ahead >= 0 && ahead <= (int64_t)(w->end - w->start)) {
        op_window_skip(w, (size_t)ahead);
        return;
    }
    /* A little before what is shown is often still in the window. */
    if (ahead < 0 && -ahead <= (int64_t)w->start) {
        w->start -= (size_t)-ahead;
        w->offset = offset;
        return;
    }
    w->start = w->end = 0;
    w->offset = offset;
    w->step = FIRST_STEP;
}

/* Makes room for len bytes from start on. */
static void make_room(struct op_window *w, size_t len)
{
    size_t have = w->end - w->start;
    if (w->start + len <= w->room)
        return;
    if (len > w->room) {
        size_t room = w->room ? w->room : FIRST_ROOM;
        while (room < len)
            room *= 2;
        char *ptr = op_mem_alloc(room + OP_BUF_PADDING);
        if (have > 0)
            memcpy(ptr, w->ptr + w->start, have);
        op_mem_free(w->ptr);
        w->ptr = ptr;
        w->room = room;
    } else if (have > 0) {
        memmove(w->ptr, w->ptr + w->start, have);
    }
    w->start = 0;
    w->end = have;
}

enum op_rc op_window_peek(struct op_window *w, size_t want, struct op_str *ret,
                          struct op_err *err)
{
    while (w->end - w->start < want) {
        size_t have = w->end - w->start;
        size_t len = want > have + w->step ? want : have + w->step;
        make_room(w, len);
        ssize_t n = w->env->ops->pread(w->env, w->fd, w->ptr + w->end, len - have,
                                       w->offset + (int64_t)have);
        if (n == -EINTR)
            continue;
        if (n < 0) {
            errno = (int)-n;
            return op_fail_errno(err, OP_IO, "cannot read %s at byte %lld", w->path,
                                 (long long)w->offset);
        }
        w->end += (size_t)n;
        if (w->step < MAX_STEP)
            w->step *= 2;
        if (n == 0)
            break;
    }
    *ret = (struct op_str){w->ptr ? w->ptr + w->start : "", w->end - w->start};
    return OP_OK;
}

static enum op_rc fail_frame(const struct op_window *w, int64_t offset, struct op_err *err)
{
    return op_fail(err, OP_IO,
                   "%s: no whole frame at byte %lld; the file was changed or damaged", w->path,
                   (long long)offset);
}

enum op_rc op_frame_read(struct op_window *w, int64_t offset, struct op_frame_view *ret,
                         struct op_err *err)
{
    struct op_str bytes;
    op_window_seek(w, offset);
    enum op_rc rc = op_window_peek(w, OP_FRAME_SIZE, &bytes, err);
    if (rc)
        return rc;
    if (bytes.len < OP_FRAME_SIZE)
        return fail_frame(w, offset, err);
    uint32_t words[2];
    uint64_t hash;
    memcpy(words, bytes.ptr, 8);
    memcpy(&hash, bytes.ptr + 8, 8);
    struct op_frame head = {le32toh(words[0]), le32toh(words[1]), le64toh(hash)};
    if (head.len > OP_FRAME_MAX || head.path_len > head.len)
        return fail_frame(w, offset, err);
    size_t size = OP_FRAME_SIZE + (size_t)head.len;
    if (bytes.len < size && (rc = op_window_peek(w, size, &bytes, err)))
        return rc;
    if (bytes.len < size)
        return fail_frame(w, offset, err);
    const char *payload = bytes.ptr + OP_FRAME_SIZE;
    *ret = (struct op_frame_view){
        .head = head,
        .offset = offset,
        .path = {payload, head.path_len},
        .body = {payload + head.path_len, head.len - head.path_len},
    };
    return OP_OK;
}

enum op_rc op_frames_open(struct op_frames *f, struct op_env *env, const char *outbox,
                          int64_t from, int64_t to, struct op_err *err)
{
    *f = (struct op_frames){.window = {.fd = -1}};
    enum op_rc rc = op_window_open(&f->window, env, outbox, err);
    if (rc == OP_NOTFOUND)
        return op_fail(err, OP_IO, "the outbox file %s is missing", outbox);
    f->from = f->at = from;
    f->to = to;
    return rc;
}

void op_frames_release(struct op_frames *f)
{
    op_window_release(&f->window);
}

void op_frames_rewind(struct op_frames *f)
{
    f->at = f->from;
    f->index = f->index_begin;
}

/* The offset of the next frame; OP_NOTFOUND at the end. */
static enum op_rc next_offset(struct op_frames *f, int64_t *ret, struct op_err *err)
{
    if (!f->list) {
        *ret = f->at;
        return f->at < f->to ? OP_OK : OP_NOTFOUND;
    }
    if (f->index >= f->index_end)
        return OP_NOTFOUND;
    struct op_pair pair;
    enum op_rc rc = op_sorter_get(f->list, f->index++, &pair, err);
    if (!rc)
        *ret = (int64_t)pair.value;
    return rc;
}

enum op_rc op_frames_next(struct op_frames *f, struct op_frame_view *ret, struct op_err *err)
{
    for (;;) {
        int64_t offset = 0;
        enum op_rc rc = next_offset(f, &offset, err);
        if (rc)
            return rc;
        rc = op_frame_read(&f->window, offset, ret, err);
        if (rc)
            return rc;
        int64_t end = offset + OP_FRAME_SIZE + (int64_t)ret->head.len;
        if (end > f->to)
            return fail_frame(&f->window, offset, err);
        f->at = end;
        if (!f->path.ptr || op_str_eq(f->path, ret->path))
            return OP_OK;
    }
}
