/* SPDX-License-Identifier: MIT */
#include "engine/order.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

struct place {
    int64_t id; /* INT64_MAX: none found */
    int64_t offset;
    int64_t len; /* negative: oversize */
};

struct op_ordered {
    struct op_env *env;
    char *path;
    int fd;
    struct place *places;
    size_t count, room, at;
};

static int by_id(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The request id behind the first occurrence of "<tag>-<nonce>-". */
static int64_t hint(const struct op_line *line, struct op_str prefix)
{
    const char *at = line->ptr ? memmem(line->ptr, line->len, prefix.ptr, prefix.len) : NULL;
    if (!at)
        return INT64_MAX;
    const char *end = line->ptr + line->len;
    int64_t id = 0;
    int digits = 0;
    for (at += prefix.len; at < end && digits < 12; at++, digits++) {
        if (*at >= '0' && *at <= '9')
            id = id * 36 + (*at - '0');
        else if (*at >= 'a' && *at <= 'z')
            id = id * 36 + (*at - 'a' + 10);
        else
            break;
    }
    return digits ? id : INT64_MAX;
}

static void keep(struct op_ordered *o, const struct op_line *line, int64_t id)
{
    if (o->count == o->room) {
        o->room = o->room ? o->room * 2 : 1024;
        o->places = op_mem_realloc(o->places, o->room * sizeof(*o->places));
    }
    int64_t len = (int64_t)line->len;
    o->places[o->count++] =
        (struct place){.id = id, .offset = line->offset, .len = line->oversize ? -len : len};
}

static enum op_rc read_index(struct op_ordered *o, struct op_str prefix, size_t max_line,
                             struct op_err *err)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    enum op_rc rc = op_lines_open(o->env, o->path, 0, max_line, &lines, err);
    bool sorted = true;
    int64_t before = INT64_MIN;
    while (!rc) {
        struct op_line line;
        rc = op_lines_next(lines, &line, err);
        if (rc || (!line.oversize && line.len == 0))
            continue;
        int64_t id = hint(&line, prefix);
        sorted = sorted && id >= before;
        before = id;
        keep(o, &line, id);
    }
    if (rc != OP_NOTFOUND || err->rc)
        return rc;
    if (!sorted)
        qsort(o->places, o->count, sizeof(*o->places), by_id);
    return OP_OK;
}

enum op_rc op_ordered_open(struct op_env *env, const char *path, const char *tag,
                           const char *nonce, int64_t skip, size_t max_line,
                           struct op_ordered **ret, struct op_err *err)
{
    struct op_ordered *o = op_mem_alloc(sizeof(*o));
    o->env = env;
    o->path = op_mem_strdup(path);
    char prefix[OP_CUSTOM_ID_MAX];
    size_t len = (size_t)snprintf(prefix, sizeof(prefix), "%s-%s-", tag, nonce);
    o->fd = env->ops->open(env, path, O_RDONLY | O_NOFOLLOW, 0);
    enum op_rc rc = OP_OK;
    if (o->fd < 0)
        rc = op_fail(err, OP_IO, "cannot open %s: %s", path, strerror(-o->fd));
    else
        rc = read_index(o, (struct op_str){prefix, len}, max_line, err);
    if (rc) {
        op_ordered_close(o);
        return rc;
    }
    o->at = skip < (int64_t)o->count ? (size_t)skip : o->count;
    *ret = o;
    return OP_OK;
}

void op_ordered_close(struct op_ordered *o)
{
    if (!o)
        return;
    if (o->fd >= 0)
        (void)o->env->ops->close(o->env, o->fd);
    op_mem_free(o->places);
    op_mem_free(o->path);
    op_mem_free(o);
}

static size_t size_of(const struct place *place)
{
    return (size_t)(place->len < 0 ? 0 : place->len);
}

size_t op_ordered_take(struct op_ordered *o, size_t max_count, size_t max_bytes,
                       int64_t *ret_from, bool *ret_last)
{
    size_t from = o->at, bytes = 0;
    for (; o->at < o->count && o->at - from < max_count; o->at++) {
        bytes += size_of(&o->places[o->at]);
        if (o->at > from && bytes > max_bytes)
            break;
    }
    *ret_from = (int64_t)from;
    *ret_last = o->at == o->count;
    return o->at - from;
}

enum op_rc op_ordered_read(const struct op_ordered *o, int64_t position, struct op_buf *buf,
                           struct op_line *ret, struct op_err *err)
{
    const struct place *place = &o->places[position];
    *ret = (struct op_line){.offset = place->offset,
                            .end = position + 1,
                            .number = position + 1,
                            .terminated = true};
    if (place->len < 0) {
        ret->len = (size_t)-place->len;
        ret->oversize = true;
        return OP_OK;
    }
    size_t len = (size_t)place->len;
    op_buf_clear(buf);
    op_buf_grow(buf, len);
    enum op_rc rc = op_io_pread_all(o->env, o->fd, buf->ptr, len, place->offset, o->path, err);
    if (rc)
        return rc;
    buf->len = len;
    ret->ptr = buf->ptr;
    ret->len = len;
    return OP_OK;
}
