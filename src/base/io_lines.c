/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"

/* read() of a cached file is as fast as it gets from here on. */
enum { READ_STEP = 256 * 1024 };

struct op_lines {
    struct op_env *env;
    int fd;
    char *path;
    size_t max_line;
    char *window; /* room bytes and OP_BUF_PADDING */
    size_t room;
    size_t start, end; /* what is in the window and not yet handed out */
    size_t scanned;    /* from start on: known to hold no newline */
    int64_t offset;    /* of window[start] in the file */
    int64_t number;
    bool by_offset; /* pread, because the reading did not begin at 0 */
    bool at_end;
};

enum op_rc op_lines_open(struct op_env *env, const char *path, int64_t offset, size_t max_line,
                         struct op_lines **ret, struct op_err *err)
{
    int fd;
    do {
        fd = env->ops->open(env, path, O_RDONLY, 0);
    } while (fd == -EINTR);
    if (fd < 0) {
        errno = -fd;
        enum op_rc rc = errno == ENOENT                       ? OP_NOTFOUND
                        : errno == EACCES || errno == ENOTDIR ? OP_INVAL
                                                              : OP_IO;
        return op_fail_errno(err, rc, "cannot open %s", path);
    }
    struct op_lines *lines = op_mem_alloc(sizeof(*lines));
    *lines = (struct op_lines){.env = env,
                               .fd = fd,
                               .path = op_mem_strdup(path),
                               .max_line = max_line,
                               .room = 2 * (size_t)READ_STEP,
                               .offset = offset,
                               .by_offset = offset > 0};
    lines->window = op_mem_alloc(lines->room + OP_BUF_PADDING);
    *ret = lines;
    return OP_OK;
}

void op_lines_close(struct op_lines *lines)
{
    if (!lines)
        return;
    lines->env->ops->close(lines->env, lines->fd);
    op_mem_free(lines->path);
    op_mem_free(lines->window);
    op_mem_free(lines);
}

void op_lines_closep(struct op_lines **lines)
{
    op_lines_close(OP_TAKE(*lines));
}

/* Makes room for READ_STEP bytes after end: by moving the line begun to the front of the
 * window, or by a larger window when it fills more than half of this one. */
static void make_room(struct op_lines *lines)
{
    size_t have = lines->end - lines->start;
    if (lines->room - lines->end >= READ_STEP)
        return;
    if (lines->room - have >= READ_STEP) {
        memmove(lines->window, lines->window + lines->start, have);
    } else {
        size_t room = lines->room * 2;
        char *window = op_mem_alloc(room + OP_BUF_PADDING);
        memcpy(window, lines->window + lines->start, have);
        op_mem_free(lines->window);
        lines->window = window;
        lines->room = room;
    }
    lines->start = 0;
    lines->end = have;
}

static enum op_rc fill(struct op_lines *lines, struct op_err *err)
{
    make_room(lines);
    struct op_env *env = lines->env;
    char *at = lines->window + lines->end;
    size_t len = lines->room - lines->end;
    int64_t offset = lines->offset + (int64_t)(lines->end - lines->start);
    ssize_t n;
    do {
        n = lines->by_offset ? env->ops->pread(env, lines->fd, at, len, offset)
                             : env->ops->read(env, lines->fd, at, len);
    } while (n == -EINTR);
    if (n < 0) {
        errno = (int)-n;
        return op_fail_errno(err, errno == EISDIR ? OP_INVAL : OP_IO,
                             "cannot read %s at byte %lld", lines->path, (long long)offset);
    }
    lines->at_end = n == 0;
    lines->end += (size_t)n;
    return OP_OK;
}

/* Hands out the raw bytes [start, start + len), which newline_len bytes of line end follow. */
static void hand_out(struct op_lines *lines, size_t len, size_t newline_len,
                     struct op_line *ret)
{
    const char *ptr = lines->window + lines->start;
    size_t raw = len + newline_len;
    if (newline_len > 0 && len > 0 && ptr[len - 1] == '\r')
        len--;
    *ret = (struct op_line){.ptr = len > lines->max_line ? NULL : ptr,
                            .len = len,
                            .offset = lines->offset,
                            .end = lines->offset + (int64_t)raw,
                            .number = ++lines->number,
                            .terminated = newline_len > 0,
                            .oversize = len > lines->max_line};
    lines->start += raw;
    lines->offset += (int64_t)raw;
    lines->scanned = 0;
}

/* The line begun is longer than max_line whatever follows: drops bytes up to its end. */
static enum op_rc skip_line(struct op_lines *lines, struct op_line *ret, struct op_err *err)
{
    int64_t first = lines->offset;
    bool cr = false;
    for (;;) {
        const char *ptr = lines->window + lines->start;
        size_t have = lines->end - lines->start;
        const char *newline = have > 0 ? memchr(ptr, '\n', have) : NULL;
        size_t step = newline ? (size_t)(newline - ptr) : have;
        if (step > 0)
            cr = ptr[step - 1] == '\r';
        lines->start += step;
        lines->offset += (int64_t)step;
        if (!newline && !lines->at_end) {
            enum op_rc rc = fill(lines, err);
            if (rc)
                return rc;
            continue;
        }
        *ret = (struct op_line){.len = (size_t)(lines->offset - first) - (newline && cr),
                                .offset = first,
                                .end = lines->offset + (newline != NULL),
                                .number = ++lines->number,
                                .terminated = newline != NULL,
                                .oversize = true};
        lines->start += newline != NULL;
        lines->offset = ret->end;
        lines->scanned = 0;
        return OP_OK;
    }
}

enum op_rc op_lines_next(struct op_lines *lines, struct op_line *ret, struct op_err *err)
{
    for (;;) {
        const char *ptr = lines->window + lines->start;
        size_t have = lines->end - lines->start;
        const char *newline = have > lines->scanned
                                  ? memchr(ptr + lines->scanned, '\n', have - lines->scanned)
                                  : NULL;
        if (newline) {
            hand_out(lines, (size_t)(newline - ptr), 1, ret);
            return OP_OK;
        }
        lines->scanned = have;
        if (lines->at_end) {
            if (have == 0)
                return OP_NOTFOUND;
            hand_out(lines, have, 0, ret);
            return OP_OK;
        }
        /* One byte more than max_line may still be the CR of a line that fits. */
        if (have > 1 && have - 1 > lines->max_line)
            return skip_line(lines, ret, err);
        enum op_rc rc = fill(lines, err);
        if (rc)
            return rc;
    }
}
