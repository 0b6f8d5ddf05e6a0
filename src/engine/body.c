/* SPDX-License-Identifier: MIT */
#include <fcntl.h>

#include "base/mem.h"
#include "engine/work.h"

enum op_rc op_body_open(struct op_engine *engine, const struct op_exchange *x, const char *file,
                        int64_t bytes, struct op_body *ret, struct op_err *err)
{
    *ret = (struct op_body){
        .env = engine->env, .x = x, .fd = -1, .file_bytes = x->with_file ? bytes : 0};
    if (!x->with_file)
        return OP_OK;
    OP_CLEANUP(op_mem_freep) char *path = op_spool_path(engine->spool, file);
    ret->fd = engine->env->ops->open(engine->env, path, O_RDONLY | O_NOFOLLOW, 0);
    return ret->fd < 0
               ? op_fail(err, OP_IO, "cannot open the payload %s: %s", path, strerror(-ret->fd))
               : OP_OK;
}

void op_body_close(struct op_body *body)
{
    if (body->fd >= 0)
        (void)body->env->ops->close(body->env, body->fd);
    body->fd = -1;
}

static int64_t copy(const struct op_buf *from, int64_t offset, void *ptr, size_t room)
{
    size_t left = from->len - (size_t)offset;
    size_t n = left < room ? left : room;
    memcpy(ptr, from->ptr + offset, n);
    return (int64_t)n;
}

/* body, the file, tail: each call stays within one of them. */
static int64_t read_body(void *arg, int64_t offset, void *ptr, size_t room)
{
    struct op_body *body = arg;
    const struct op_exchange *x = body->x;
    if (offset < (int64_t)x->body.len)
        return copy(&x->body, offset, ptr, room);
    offset -= (int64_t)x->body.len;
    if (offset < body->file_bytes) {
        int64_t left = body->file_bytes - offset;
        size_t most = left < (int64_t)room ? (size_t)left : room;
        ssize_t n = body->env->ops->pread(body->env, body->fd, ptr, most, offset);
        return n <= 0 ? -1 : n; /* shorter than the ledger says: it must not go out */
    }
    offset -= body->file_bytes;
    return offset < (int64_t)x->tail.len ? copy(&x->tail, offset, ptr, room) : 0;
}

void op_body_request(struct op_body *body, struct op_http_request *ret)
{
    const struct op_exchange *x = body->x;
    *ret = (struct op_http_request){
        .method = x->method,
        .url = x->url.ptr,
        .headers = x->headers,
        .header_count = x->header_count,
        .body_len = (int64_t)(x->body.len + x->tail.len) + body->file_bytes,
    };
    if (ret->body_len > 0) {
        ret->body_fn = read_body;
        ret->body_arg = body;
    }
}

enum op_rc op_lane_exchange_file(struct op_engine *engine, const struct op_lane *lane,
                                 const struct op_exchange *x, const char *file, int64_t bytes,
                                 struct op_http_reply *reply, struct op_err *err)
{
    struct op_body body;
    struct op_http_request request;
    enum op_rc rc = op_body_open(engine, x, file, bytes, &body, err);
    if (!rc) {
        op_body_request(&body, &request);
        rc = op_http_perform(engine->http, &request, reply, err);
    }
    op_body_close(&body);
    if (!rc && (reply->status < 200 || reply->status > 299))
        rc = lane->provider->decode_error(reply, err);
    return rc;
}
