/* SPDX-License-Identifier: MIT */
#include "sink/target.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "sink/common.h"

/* From 512 KiB on, larger writes to the page cache are no faster. */
enum { BLOCK = 512 * 1024 };

void op_target_init(struct op_target *t, struct op_env *env)
{
    *t = (struct op_target){.env = env, .fd = -1};
}

static void forget(struct op_target *t)
{
    op_mem_freep(&t->path);
    op_mem_freep(&t->dir);
    op_mem_freep(&t->temp);
}

void op_target_abort(struct op_target *t)
{
    if (!t->temp)
        return;
    if (t->fd >= 0)
        t->env->ops->close(t->env, t->fd);
    t->fd = -1;
    t->env->ops->unlink(t->env, t->temp);
    forget(t);
}

void op_target_release(struct op_target *t)
{
    op_target_abort(t);
    op_mem_freep(&t->block);
}

static int create(struct op_target *t)
{
    int fd;
    do {
        /* 0666 less the umask: the file is the user's, not the program's. */
        fd = t->env->ops->open(t->env, t->temp, O_WRONLY | O_CREAT | O_EXCL, 0666);
    } while (fd == -EINTR);
    return fd;
}

enum op_rc op_target_begin(struct op_target *t, const char *path, struct op_err *err)
{
    op_target_abort(t);
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (!name[0])
        return op_fail(err, OP_INVAL, "the output's path '%s' names a folder, not a file",
                       path);
    OP_CLEANUP(op_mem_freep) char *dir = op_io_dirname(path);
    OP_CLEANUP(op_mem_freep) char *hidden = op_mem_printf(".%s" OP_SINK_TEMP_SUFFIX, name);
    enum op_rc rc = strcmp(dir, ".") == 0 ? OP_OK : op_io_mkdirs(t->env, dir, err);
    if (rc)
        return op_err_wrap(err, "the folder of %s", path);
    t->temp = op_io_join(dir, hidden);
    int fd = create(t);
    if (fd == -EEXIST) {
        t->env->ops->unlink(t->env, t->temp);
        fd = create(t);
    }
    if (fd < 0) {
        errno = -fd;
        rc = op_fail_errno(err, OP_IO, "cannot write %s: the temporary file %s", path, t->temp);
        op_mem_freep(&t->temp);
        return rc;
    }
    t->fd = fd;
    t->path = op_mem_strdup(path);
    t->dir = OP_TAKE(dir);
    if (!t->block)
        t->block = op_mem_alloc(BLOCK);
    t->used = 0;
    t->total = 0;
    t->begun = 0;
    t->last = 0;
    return OP_OK;
}

/* Written out so far behind the writing, so that the fsync finds little left to wait for. */
#define WRITEBACK_BYTES (8 * 1024 * 1024)

static void begin_writeback(struct op_target *t)
{
    int64_t written = t->total - (int64_t)t->used;
    if (written - t->begun < WRITEBACK_BYTES)
        return;
    t->env->ops->writeback(t->env, t->fd, t->begun, written - t->begun);
    t->begun = written;
}

enum op_rc op_target_flush(struct op_target *t, struct op_err *err)
{
    size_t used = t->used;
    t->used = 0;
    return op_io_write_all(t->env, t->fd, t->block, used, t->temp, err);
}

enum op_rc op_target_add(struct op_target *t, const void *ptr, size_t len, struct op_err *err)
{
    const char *at = ptr;
    if (len == 0)
        return OP_OK;
    t->total += (int64_t)len;
    t->last = at[len - 1];
    if (len >= BLOCK) {
        enum op_rc rc = op_target_flush(t, err);
        return rc ? rc : op_io_write_all(t->env, t->fd, at, len, t->temp, err);
    }
    while (len > 0) {
        size_t step = BLOCK - t->used < len ? BLOCK - t->used : len;
        memcpy(t->block + t->used, at, step);
        t->used += step;
        at += step;
        len -= step;
        if (t->used < BLOCK)
            break;
        enum op_rc rc = op_target_flush(t, err);
        if (rc)
            return rc;
    }
    begin_writeback(t);
    return OP_OK;
}

/* close() may report a write that failed late; EINTR is none, the descriptor is gone. */
static enum op_rc close_temp(struct op_target *t, struct op_err *err)
{
    int rc = t->env->ops->close(t->env, t->fd);
    t->fd = -1;
    if (rc >= 0 || rc == -EINTR)
        return OP_OK;
    errno = -rc;
    return op_fail_errno(err, OP_IO, "cannot write %s", t->temp);
}

enum op_rc op_target_commit(struct op_target *t, struct op_err *err)
{
    enum op_rc rc = op_target_flush(t, err);
    if (rc)
        return rc;
    /* The bytes before the name: after a power loss the name would else lead to an empty file. */
    int code = t->env->ops->fsync(t->env, t->fd);
    if (code < 0) {
        errno = -code;
        return op_fail_errno(err, OP_IO, "cannot make %s durable", t->temp);
    }
    rc = close_temp(t, err);
    if (rc)
        return rc;
    code = t->env->ops->rename(t->env, t->temp, t->path, true);
    if (code < 0) {
        errno = -code;
        return op_fail_errno(err, OP_IO, "cannot replace %s", t->path);
    }
    /* Until the directory is synced a power loss may bring the old file back; the caller must not
     * count the rows as delivered before that. */
    code = t->env->ops->fsync_dir(t->env, t->dir);
    if (code < 0) {
        errno = -code;
        rc = op_fail_errno(err, OP_IO, "cannot make the new name %s durable", t->path);
    }
    forget(t);
    return rc;
}
