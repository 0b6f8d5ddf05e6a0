/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>

#include "base/mem.h"
#include "ledger/spool_dir.h"

static enum op_rc fail_append(int64_t negative, const char *verb, const char *path,
                              struct op_err *err)
{
    errno = (int)-negative;
    if (errno == ENOSPC || errno == EDQUOT) {
        op_err_set_errno(err, OP_IO, "cannot %s %s: free some space, then run again", verb,
                         path);
        err->disp = OP_DISP_RETRY;
        return OP_IO;
    }
    return op_fail_errno(err, OP_IO, "cannot %s %s", verb, path);
}

/* What lies behind the committed length was written by a process that died before its commit. */
static enum op_rc cut_to(struct op_env *env, int fd, int64_t committed, const char *path,
                         struct op_err *err)
{
    int64_t size = env->ops->size(env, fd);
    if (size < 0)
        return fail_append(size, "ask for the length of", path, err);
    if (size < committed)
        return op_fail(
            err, OP_IO,
            "%s has %lld bytes, but %lld were committed: it was changed from outside; "
            "restore it",
            path, (long long)size, (long long)committed);
    if (size == committed)
        return OP_OK;
    int rc = env->ops->truncate(env, fd, committed);
    return rc < 0 ? fail_append(rc, "cut", path, err) : OP_OK;
}

enum op_rc op_append_open(struct op_spool *spool, const char *name, int64_t committed,
                          struct op_append *ret, struct op_err *err)
{
    struct op_env *env = spool->env;
    OP_CLEANUP(op_mem_freep) char *path = NULL;
    enum op_rc rc = op_spool_resolve(spool, name, &path, err);
    if (rc)
        return rc;
    int fd = env->ops->open(env, path, O_RDWR | O_NOFOLLOW, 0);
    if (fd == -ENOENT && committed == 0)
        fd = env->ops->open(env, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail_append(fd, "open", path, err);
    rc = cut_to(env, fd, committed, path, err);
    if (!rc && committed == 0) {
        /* The name must outlive a power loss as the bytes do, also where a process made it that was
         * killed before it could see to that. */
        OP_CLEANUP(op_mem_freep) char *folder = op_io_dirname(path);
        int synced = env->ops->fsync_dir(env, folder);
        if (synced < 0)
            rc = fail_append(synced, "make durable the name", path, err);
    }
    if (rc) {
        env->ops->close(env, fd);
        return rc;
    }
    *ret = (struct op_append){
        .env = env, .fd = fd, .path = OP_TAKE(path), .len = committed, .begun = committed};
    return OP_OK;
}

/* Written out so far behind the appending, so that the fsync finds little left to wait for. */
#define WRITEBACK_BYTES (1024 * 1024)

enum op_rc op_append_add(struct op_append *file, const void *ptr, size_t len,
                         struct op_err *err)
{
    const char *at = ptr;
    int64_t end = file->len;
    /* len moves on only when all is written: after a failure the next attempt overwrites. */
    while (len > 0) {
        ssize_t n = file->env->ops->pwrite(file->env, file->fd, at, len, end);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return fail_append(n < 0 ? n : -EIO, "write", file->path, err);
        at += n;
        end += n;
        len -= (size_t)n;
    }
    file->len = end;
    if (end - file->begun >= WRITEBACK_BYTES) {
        file->env->ops->writeback(file->env, file->fd, file->begun, end - file->begun);
        file->begun = end;
    }
    return OP_OK;
}

enum op_rc op_append_sync(struct op_append *file, struct op_err *err)
{
    int rc = file->env->ops->fsync(file->env, file->fd);
    if (rc == 0)
        return OP_OK;
    /* Never tried again: the kernel may have dropped the pages and would report success. */
    return fail_append(rc, "make durable", file->path, err);
}

void op_append_close(struct op_append *file)
{
    /* What counts was synced before; a failing close cannot take it back. */
    if (file->path && file->fd >= 0)
        file->env->ops->close(file->env, file->fd);
    op_mem_freep(&file->path);
    file->fd = -1;
}
