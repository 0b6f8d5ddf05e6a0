/* SPDX-License-Identifier: MIT */
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/io_file.h"
#include "base/mem.h"

/* What a failed file call means to the caller: what a person can change, or the machine. */
static enum op_rc class_of(int code)
{
    switch (code) {
    case ENOENT:
        return OP_NOTFOUND;
    case EEXIST:
        return OP_CONFLICT;
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return OP_INVAL;
    default:
        return OP_IO;
    }
}

/* negative is what an env call returned. */
enum op_rc op_io_fail_file(struct op_err *err, int64_t negative, const char *verb,
                           const char *path)
{
    errno = (int)-negative;
    enum op_rc rc = class_of(errno);
    return op_fail_errno(err, rc, "cannot %s %s", verb, path);
}

int op_io_open_file(struct op_env *env, const char *path, int flags, mode_t mode)
{
    int fd;
    do {
        fd = env->ops->open(env, path, flags, mode);
    } while (fd == -EINTR);
    return fd;
}

/* On Linux the descriptor is gone even when close() was interrupted, so that is no failure;
 * what was written is judged by fsync and by the other codes. */
int op_io_close_file(struct op_env *env, int fd)
{
    int rc = env->ops->close(env, fd);
    return rc == -EINTR ? 0 : rc;
}

static int sync_dir_of(struct op_env *env, const char *path)
{
    OP_CLEANUP(op_mem_freep) char *dir = op_io_dirname(path);
    return env->ops->fsync_dir(env, dir);
}

static ssize_t read_some(struct op_env *env, int fd, void *ptr, size_t len)
{
    ssize_t n;
    do {
        n = env->ops->read(env, fd, ptr, len);
    } while (n == -EINTR);
    return n;
}

static enum op_rc read_rest(struct op_env *env, int fd, const char *path, struct op_buf *buf,
                            struct op_err *err)
{
    enum { STEP = 64 * 1024 };
    int64_t size = env->ops->size(env, fd);
    if (size > 0 && buf->len <= buf->max && (uint64_t)size <= buf->max - buf->len)
        op_buf_grow(buf, (size_t)size + 1);
    for (;;) {
        if (buf->room == buf->len)
            op_buf_grow(buf, STEP);
        ssize_t n = read_some(env, fd, buf->ptr + buf->len, buf->room - buf->len);
        if (n < 0)
            return op_io_fail_file(err, n, "read", path);
        if (n == 0)
            return OP_OK;
        buf->len += (size_t)n;
        if (buf->len > buf->max)
            return op_fail(err, OP_INVAL, "%s is larger than the %zu bytes allowed for it",
                           path, buf->max);
    }
}

enum op_rc op_io_read_file(struct op_env *env, const char *path, struct op_buf *buf,
                           struct op_err *err)
{
    int fd = op_io_open_file(env, path, O_RDONLY, 0);
    if (fd < 0)
        return op_io_fail_file(err, fd, "open", path);
    size_t before = buf->len;
    enum op_rc rc = read_rest(env, fd, path, buf, err);
    if (rc)
        buf->len = before;
    buf->ptr[buf->len] = '\0';
    op_io_close_file(env, fd); /* opened for reading: nothing can be lost */
    return rc;
}

enum op_rc op_io_write_all(struct op_env *env, int fd, const void *ptr, size_t len,
                           const char *path, struct op_err *err)
{
    const char *at = ptr;
    while (len > 0) {
        ssize_t n = env->ops->write(env, fd, at, len);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return op_io_fail_file(err, n < 0 ? n : -EIO, "write", path);
        at += n;
        len -= (size_t)n;
    }
    return OP_OK;
}

enum op_rc op_io_pread_all(struct op_env *env, int fd, void *ptr, size_t len, int64_t offset,
                           const char *path, struct op_err *err)
{
    char *at = ptr;
    while (len > 0) {
        ssize_t n = env->ops->pread(env, fd, at, len, offset);
        if (n == -EINTR)
            continue;
        if (n < 0)
            return op_io_fail_file(err, n, "read", path);
        if (n == 0)
            return op_fail(err, OP_IO, "%s ends at byte %lld, %zu bytes too early", path,
                           (long long)offset, len);
        at += n;
        len -= (size_t)n;
        offset += n;
    }
    return OP_OK;
}

enum op_rc op_io_sync_file(struct op_env *env, int fd, const char *path, struct op_err *err)
{
    int rc = env->ops->fsync(env, fd);
    if (rc == 0)
        return OP_OK;
    /* Never tried again: the kernel may have dropped the pages and would report success. */
    errno = -rc;
    return op_fail_errno(err, OP_IO, "cannot make %s durable", path);
}

/* A writer flushed to disk under temp takes the place of path. */
static enum op_rc replace_by(struct op_env *env, const char *temp, const char *path,
                             struct op_err *err)
{
    int rc = env->ops->rename(env, temp, path, true);
    if (rc < 0) {
        env->ops->unlink(env, temp);
        return op_io_fail_file(err, rc, "replace", path);
    }
    rc = sync_dir_of(env, path);
    if (rc < 0) {
        errno = -rc;
        return op_fail_errno(err, OP_IO, "cannot make the new name %s durable", path);
    }
    return OP_OK;
}

enum op_rc op_io_replace_file(struct op_env *env, const char *path, const void *ptr, size_t len,
                              struct op_err *err)
{
    uint64_t nonce;
    env->ops->random(env, &nonce, sizeof(nonce));
    OP_CLEANUP(op_mem_freep)
    char *temp = op_mem_printf("%s.%016llx.tmp", path, (unsigned long long)nonce);
    OP_CLEANUP(op_writer_abort) struct op_writer w = {.fd = -1};
    enum op_rc rc = op_writer_open(&w, env, temp, false, err);
    if (!rc)
        rc = op_writer_add(&w, ptr, len, err);
    /* The bytes must be durable before the name points at them: after a power loss the name
     * would otherwise lead to an empty file. */
    if (!rc)
        rc = op_writer_close(&w, true, NULL, err);
    return rc ? rc : replace_by(env, temp, path, err);
}

/* EEXIST from mkdir says nothing about what exists there. */
static enum op_rc check_is_dir(struct op_env *env, const char *path, struct op_err *err)
{
    int fd = op_io_open_file(env, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd == -ENOTDIR)
        return op_fail(err, OP_INVAL, "%s exists but is not a directory", path);
    if (fd >= 0)
        op_io_close_file(env, fd);
    return OP_OK;
}

enum op_rc op_io_mkdirs(struct op_env *env, const char *path, struct op_err *err)
{
    int rc = env->ops->mkdir(env, path, 0700);
    if (rc == -EEXIST)
        return check_is_dir(env, path, err);
    if (rc == -ENOENT && path[0]) {
        OP_CLEANUP(op_mem_freep) char *parent = op_io_dirname(path);
        if (strcmp(parent, path) == 0 || strcmp(parent, ".") == 0)
            return op_io_fail_file(err, rc, "create directory", path);
        enum op_rc parent_rc = op_io_mkdirs(env, parent, err);
        if (parent_rc)
            return parent_rc;
        rc = env->ops->mkdir(env, path, 0700);
        if (rc == -EEXIST)
            return check_is_dir(env, path, err);
    }
    if (rc < 0)
        return op_io_fail_file(err, rc, "create directory", path);
    /* Files synced inside it are lost with it when its own name is not on disk. */
    rc = sync_dir_of(env, path);
    if (rc < 0) {
        errno = -rc;
        return op_fail_errno(err, OP_IO, "cannot make the new directory %s durable", path);
    }
    return OP_OK;
}

char *op_io_dirname(const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    while (len > 0 && path[len - 1] != '/')
        len--;
    if (len == 0)
        return op_mem_strdup(".");
    while (len > 1 && path[len - 1] == '/')
        len--;
    return op_mem_strndup(path, len);
}

char *op_io_join(const char *dir, const char *name)
{
    if (name[0] == '/' || dir[0] == '\0')
        return op_mem_strdup(name);
    const char *slash = dir[strlen(dir) - 1] == '/' ? "" : "/";
    return op_mem_printf("%s%s%s", dir, slash, name);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **op_io_names(const char *folder, size_t *ret_count)
{
    char **names = NULL;
    size_t count = 0;
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        names = op_mem_realloc(names, (count + 1) * sizeof(*names));
        names[count++] = op_mem_strdup(entry->d_name);
    }
    if (dir)
        closedir(dir);
    if (count > 1)
        qsort(names, count, sizeof(*names), by_bytes);
    *ret_count = count;
    return names;
}
