/* SPDX-License-Identifier: MIT */
#include "ledger/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "ledger/spool_dir.h"

#define TEMP_PREFIX ".new-"
#define SHA_SHORT   12

static const char *const folders[] = {"payload",    "result", "outbox",  "input",
                                      "quarantine", "work",   "realtime"};

/* --- opening -------------------------------------------------------------------------------- */

/* File systems on which locks or fsync mean something else (f_type of statfs). */
static const struct {
    uint32_t magic;
    const char *name;
} network_systems[] = {
    {0x6969, "NFS"},      {0x517b, "SMB"},      {0xfe534d42, "SMB"},
    {0xff534d42, "CIFS"}, {0x01021997, "9p"},   {0x5346414f, "AFS"},
    {0x73757245, "Coda"}, {0x00c36400, "Ceph"}, {0x0bd00bd0, "Lustre"},
};

static bool is_unsafe_allowed(void)
{
    const char *text = getenv("OFFPEAK_UNSAFE_STATE");
    return text && strcmp(text, "1") == 0;
}

/* Looks at the real folder: these questions are about the machine, not about effects. */
static enum op_rc check_folder(const char *dir, struct op_err *err)
{
    struct stat st;
    struct statfs fs;
    if (stat(dir, &st) != 0 || statfs(dir, &fs) != 0)
        return op_fail_errno(err, errno == ENOENT ? OP_NOTFOUND : OP_IO,
                             "cannot use the state folder %s", dir);
    if (!S_ISDIR(st.st_mode))
        return op_fail(err, OP_INVAL, "%s is not a folder; choose another state folder", dir);
    if (is_unsafe_allowed())
        return OP_OK;
    if (st.st_uid != geteuid())
        return op_fail(err, OP_INVAL,
                       "the state folder %s belongs to another user (%u); choose one of your "
                       "own, or set OFFPEAK_UNSAFE_STATE=1",
                       dir, (unsigned)st.st_uid);
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return op_fail(err, OP_INVAL,
                       "the state folder %s may be written by others (mode %03o); run 'chmod "
                       "700 %s', or set OFFPEAK_UNSAFE_STATE=1",
                       dir, (unsigned)(st.st_mode & 0777), dir);
    for (size_t i = 0; i < OP_COUNT(network_systems); i++) {
        if ((uint32_t)fs.f_type == network_systems[i].magic)
            return op_fail(err, OP_INVAL,
                           "the state folder %s is on a network file system (%s), where locks "
                           "and flushes cannot be relied on; choose a local one, or set "
                           "OFFPEAK_UNSAFE_STATE=1",
                           dir, network_systems[i].name);
    }
    return OP_OK;
}

/* What a killed process was still writing. Whoever opens the spool for writing holds the ledger's
 * lock and has begun no file yet, so every temporary name is a leftover. */
static void sweep(struct op_spool *spool, const char *folder)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(spool->root, folder);
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (strncmp(entry->d_name, TEMP_PREFIX, strlen(TEMP_PREFIX)) != 0)
            continue;
        OP_CLEANUP(op_mem_freep) char *file = op_io_join(path, entry->d_name);
        spool->env->ops->unlink(spool->env, file);
    }
    closedir(dir);
}

/* Durability point: whoever made the folders may have been killed before their names were on disk,
 * and what is synced inside one goes with its name. Above the state folder nothing is ours: what can
 * be synced there is. */
static enum op_rc keep_folders(struct op_spool *spool, struct op_err *err)
{
    struct op_env *env = spool->env;
    OP_CLEANUP(op_mem_freep) char *above = op_io_dirname(spool->state_dir);
    int rc = env->ops->fsync_dir(env, spool->root);
    if (!rc)
        rc = env->ops->fsync_dir(env, spool->state_dir);
    (void)env->ops->fsync_dir(env, above);
    return rc < 0 ? op_spool_fail(spool, rc, "make durable the folders of", spool->root, err)
                  : OP_OK;
}

enum op_rc op_spool_open(struct op_env *env, const char *state_dir, bool writable,
                         struct op_spool **ret, struct op_err *err)
{
    OP_CLEANUP(op_spool_closep) struct op_spool *spool = op_mem_alloc(sizeof(*spool));
    spool->env = env;
    spool->state_dir = op_mem_strdup(state_dir);
    spool->root = op_io_join(state_dir, "spool");
    spool->writable = writable;
    enum op_rc rc = writable ? op_io_mkdirs(env, state_dir, err) : OP_OK;
    if (!rc)
        rc = check_folder(state_dir, err);
    for (size_t i = 0; i < OP_COUNT(folders) && !rc && writable; i++) {
        OP_CLEANUP(op_mem_freep) char *path = op_io_join(spool->root, folders[i]);
        rc = op_io_mkdirs(env, path, err);
        if (!rc)
            sweep(spool, folders[i]);
    }
    if (!rc && writable)
        rc = keep_folders(spool, err);
    if (rc)
        return rc;
    *ret = OP_TAKE(spool);
    return OP_OK;
}

void op_spool_close(struct op_spool *spool)
{
    if (!spool)
        return;
    op_mem_free(spool->state_dir);
    op_mem_free(spool->root);
    op_mem_free(spool);
}

void op_spool_closep(struct op_spool **spool)
{
    op_spool_close(*spool);
    *spool = NULL;
}

char *op_spool_path(const struct op_spool *spool, const char *name)
{
    return op_mem_printf("%s/%s", spool->root, name);
}

/* Names come back from a database: one that leads out of the spool is refused. */
enum op_rc op_spool_resolve(const struct op_spool *spool, const char *name, char **ret,
                            struct op_err *err)
{
    if (!name[0] || name[0] == '/' || strcmp(name, "..") == 0 || strncmp(name, "../", 3) == 0 ||
        strstr(name, "/../") || op_str_ends(op_str_from(name), "/.."))
        return op_fail(err, OP_INVAL, "'%s' is not a name in the spool %s", name, spool->root);
    *ret = op_spool_path(spool, name);
    return OP_OK;
}

enum op_rc op_spool_fail(const struct op_spool *spool, int64_t negative, const char *verb,
                         const char *path, struct op_err *err)
{
    errno = (int)-negative;
    bool full = errno == ENOSPC || errno == EDQUOT;
    enum op_rc rc = errno == ENOENT ? OP_NOTFOUND : OP_IO;
    op_err_set_errno(err, rc, "cannot %s %s", verb, path);
    if (full)
        op_spool_explain_full(spool, 0, err);
    return rc;
}

void op_spool_explain_full(const struct op_spool *spool, int64_t needed, struct op_err *err)
{
    if (err->native != ENOSPC && err->native != EDQUOT)
        return;
    int64_t free_bytes = spool->env->ops->free_bytes(spool->env, spool->state_dir);
    err->rc = OP_IO;
    err->disp = OP_DISP_RETRY;
    if (needed)
        op_err_wrap(
            err, "the disk of %s is full (%lld bytes free, %lld more needed for this file)",
            spool->state_dir, (long long)(free_bytes > 0 ? free_bytes : 0), (long long)needed);
    else
        op_err_wrap(err, "the disk of %s is full (%lld bytes free)", spool->state_dir,
                    (long long)(free_bytes > 0 ? free_bytes : 0));
}

static enum op_rc check_writable(const struct op_spool *spool, struct op_err *err)
{
    if (!spool->writable)
        return op_fail(err, OP_INVAL, "the spool %s is open for reading only", spool->root);
    return OP_OK;
}

/* --- files in the making -------------------------------------------------------------------- */

enum op_rc op_spool_begin(struct op_spool *spool, const char *folder, struct op_spool_file *ret,
                          struct op_err *err)
{
    uint64_t nonce = 0;
    spool->env->ops->random(spool->env, &nonce, sizeof(nonce));
    OP_CLEANUP(op_mem_freep)
    char *name = op_mem_printf("%s/" TEMP_PREFIX "%016llx", folder, (unsigned long long)nonce);
    OP_CLEANUP(op_mem_freep) char *temp = NULL;
    enum op_rc rc = check_writable(spool, err);
    if (!rc)
        rc = op_spool_resolve(spool, name, &temp, err);
    if (rc)
        return rc;
    struct op_spool_file file = {.writer = {.fd = -1}};
    rc = op_writer_open(&file.writer, spool->env, temp, true, err);
    if (rc) {
        op_spool_explain_full(spool, 0, err);
        return rc;
    }
    file.temp = OP_TAKE(temp);
    *ret = file;
    return OP_OK;
}

void op_spool_abort(struct op_spool *spool, struct op_spool_file *file)
{
    if (file->writer.path)
        op_writer_abort(&file->writer);
    else if (file->temp)
        spool->env->ops->unlink(spool->env, file->temp);
    op_mem_freep(&file->temp);
}

/* The digest and length of a file; short reads and EINTR included. */
static enum op_rc hash_file(struct op_spool *spool, const char *path, int64_t *ret_bytes,
                            char ret_sha256[65], struct op_err *err)
{
    struct op_env *env = spool->env;
    int fd;
    do {
        fd = env->ops->open(env, path, O_RDONLY | O_NOFOLLOW, 0);
    } while (fd == -EINTR);
    if (fd < 0)
        return op_spool_fail(spool, fd, "open", path, err);
    enum { BLOCK = 256 * 1024 };
    OP_CLEANUP(op_mem_freep) char *block = op_mem_alloc(BLOCK);
    OP_CLEANUP(op_sha256_freep) struct op_sha256 *sha = op_sha256_new();
    int64_t bytes = 0;
    ssize_t n = 1;
    while (n > 0 || n == -EINTR) {
        n = env->ops->read(env, fd, block, BLOCK);
        if (n > 0) {
            op_sha256_add(sha, block, (size_t)n);
            bytes += n;
        }
    }
    env->ops->close(env, fd); /* opened for reading: nothing can be lost */
    if (n < 0)
        return op_spool_fail(spool, n, "read", path, err);
    uint8_t digest[OP_SHA256_LEN];
    op_sha256_end(sha, digest);
    op_hex(digest, sizeof(digest), ret_sha256);
    *ret_bytes = bytes;
    return OP_OK;
}

/* The name is taken: by the same bytes (a crash between this rename and the commit of the row, and
 * the same work done again), or by a damaged file, which makes room. */
static enum op_rc take_over(struct op_spool *spool, const char *temp, const char *name,
                            const char *path, const char *sha256, struct op_err *err)
{
    char found[65];
    int64_t bytes = 0;
    enum op_rc rc = hash_file(spool, path, &bytes, found, err);
    if (rc)
        return rc;
    if (strcmp(found, sha256) == 0) {
        spool->env->ops->unlink(spool->env, temp);
        return OP_OK;
    }
    rc =
        op_spool_quarantine(spool, name, "its content does not have the hash in its name", err);
    if (rc)
        return rc;
    int renamed = spool->env->ops->rename(spool->env, temp, path, false);
    return renamed < 0 ? op_spool_fail(spool, renamed, "rename to", path, err) : OP_OK;
}

static enum op_rc publish(struct op_spool *spool, const char *temp, const char *name,
                          const char *sha256, struct op_err *err)
{
    struct op_env *env = spool->env;
    OP_CLEANUP(op_mem_freep) char *path = op_spool_path(spool, name);
    OP_CLEANUP(op_mem_freep) char *folder = op_io_dirname(path);
    int rc = env->ops->rename(env, temp, path, false);
    enum op_rc failed = OP_OK;
    if (rc == -EEXIST)
        failed = take_over(spool, temp, name, path, sha256, err);
    else if (rc < 0)
        failed = op_spool_fail(spool, rc, "rename to", path, err);
    if (failed)
        return failed;
    /* Durability point (R3): bytes and name are on disk before any row refers to them. */
    rc = env->ops->fsync_dir(env, folder);
    return rc < 0 ? op_spool_fail(spool, rc, "make durable the name", path, err) : OP_OK;
}

enum op_rc op_spool_finish(struct op_spool *spool, struct op_spool_file *file,
                           struct op_err *err)
{
    uint8_t digest[OP_SHA256_LEN];
    int64_t bytes = file->writer.total;
    enum op_rc rc = op_writer_close(&file->writer, true, digest, err);
    if (rc) {
        /* A full disk is no loss: nothing refers to the temporary file, it is only removed. */
        op_spool_explain_full(spool, bytes, err);
        return rc;
    }
    op_hex(digest, sizeof(digest), file->sha256);
    file->finished = true;
    return OP_OK;
}

enum op_rc op_spool_commit(struct op_spool *spool, struct op_spool_file *file,
                           const char *prefix, const char *suffix, char **ret_name,
                           char ret_sha256[65], int64_t *ret_bytes, struct op_err *err)
{
    int64_t bytes = file->writer.total;
    enum op_rc rc = file->finished ? OP_OK : op_spool_finish(spool, file, err);
    if (rc) {
        op_spool_abort(spool, file);
        return rc;
    }
    OP_CLEANUP(op_mem_freep) char *folder = op_io_dirname(file->temp);
    OP_CLEANUP(op_mem_freep)
    char *name = op_mem_printf("%s/%s-%.*s%s", folder + strlen(spool->root) + 1, prefix,
                               SHA_SHORT, file->sha256, suffix);
    rc = publish(spool, file->temp, name, file->sha256, err);
    if (rc) {
        op_spool_abort(spool, file);
        return rc;
    }
    op_mem_freep(&file->temp);
    memcpy(ret_sha256, file->sha256, sizeof(file->sha256));
    *ret_bytes = bytes;
    *ret_name = OP_TAKE(name);
    return OP_OK;
}

/* --- files that exist ----------------------------------------------------------------------- */

enum op_rc op_spool_verify(struct op_spool *spool, const char *name, int64_t bytes,
                           const char *sha256, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *path = NULL;
    char found[65];
    int64_t length = 0;
    enum op_rc rc = op_spool_resolve(spool, name, &path, err);
    if (!rc)
        rc = hash_file(spool, path, &length, found, err);
    if (rc || (length == bytes && strcmp(found, sha256) == 0))
        return rc;
    OP_CLEANUP(op_mem_freep)
    char *why = op_mem_printf("expected %lld bytes with SHA-256 %s, found %lld with %s",
                              (long long)bytes, sha256, (long long)length, found);
    struct op_err second = OP_ERR_INIT;
    const char *where = "it stays where it is";
    if (spool->writable)
        where = op_spool_quarantine(spool, name, why, &second) ? second.msg
                                                               : "it was moved to quarantine/";
    return op_fail(err, OP_IO, "%s is damaged: %s; %s", path, why, where);
}

enum op_rc op_spool_quarantine(struct op_spool *spool, const char *name, const char *why,
                               struct op_err *err)
{
    struct op_env *env = spool->env;
    OP_CLEANUP(op_mem_freep) char *path = NULL;
    enum op_rc rc = check_writable(spool, err);
    if (!rc)
        rc = op_spool_resolve(spool, name, &path, err);
    if (rc)
        return rc;
    const char *slash = strrchr(name, '/');
    const char *base = slash ? slash + 1 : name;
    OP_CLEANUP(op_mem_freep) char *to = NULL;
    int renamed = -EEXIST;
    for (int i = 0; renamed == -EEXIST && i < 1000; i++) {
        op_mem_freep(&to);
        to = i ? op_mem_printf("%s/quarantine/%s.%d", spool->root, base, i)
               : op_mem_printf("%s/quarantine/%s", spool->root, base);
        renamed = env->ops->rename(env, path, to, false);
    }
    if (renamed < 0)
        return op_spool_fail(spool, renamed, "move to quarantine", path, err);
    OP_CLEANUP(op_mem_freep) char *note = op_mem_printf("%s.why", to);
    OP_CLEANUP(op_mem_freep) char *text = op_mem_printf("%s: %s\n", name, why);
    rc = op_io_replace_file(env, note, text, strlen(text), err);
    OP_CLEANUP(op_mem_freep) char *folder = op_io_dirname(path);
    int synced = env->ops->fsync_dir(env, folder);
    if (!rc && synced < 0)
        return op_spool_fail(spool, synced, "make durable the change of", folder, err);
    return rc;
}

enum op_rc op_spool_remove(struct op_spool *spool, const char *name, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *path = NULL;
    enum op_rc rc = check_writable(spool, err);
    if (!rc)
        rc = op_spool_resolve(spool, name, &path, err);
    if (rc)
        return rc;
    int gone = spool->env->ops->unlink(spool->env, path);
    return gone < 0 && gone != -ENOENT ? op_spool_fail(spool, gone, "remove", path, err)
                                       : OP_OK;
}

enum op_rc op_spool_read(struct op_spool *spool, const char *name, int64_t offset, int64_t len,
                         struct op_buf *buf, struct op_err *err)
{
    struct op_env *env = spool->env;
    OP_CLEANUP(op_mem_freep) char *path = NULL;
    enum op_rc rc = op_spool_resolve(spool, name, &path, err);
    if (rc)
        return rc;
    if (offset < 0 || len < 0 || buf->len > buf->max || (uint64_t)len > buf->max - buf->len)
        return op_fail(err, OP_INVAL, "cannot read %lld bytes at %lld of %s: more than allowed",
                       (long long)len, (long long)offset, path);
    int fd = env->ops->open(env, path, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0)
        return op_spool_fail(spool, fd, "open", path, err);
    op_buf_grow(buf, (size_t)len);
    rc = op_io_pread_all(env, fd, buf->ptr + buf->len, (size_t)len, offset, path, err);
    env->ops->close(env, fd); /* opened for reading: nothing can be lost */
    if (!rc)
        buf->len += (size_t)len;
    buf->ptr[buf->len] = '\0';
    return rc;
}

enum op_rc op_spool_headroom(struct op_spool *spool, int64_t needed, struct op_err *err)
{
    int64_t available = spool->env->ops->free_bytes(spool->env, spool->state_dir);
    if (available < 0)
        return op_spool_fail(spool, available, "ask for the free space of", spool->state_dir,
                             err);
    int64_t wanted = INT64_MAX;
    if (needed <= INT64_MAX - OP_SPOOL_RESERVE)
        wanted = (needed > 0 ? needed : 0) + OP_SPOOL_RESERVE;
    if (available >= wanted)
        return OP_OK;
    return op_fail_as(err, OP_IO, OP_DISP_RETRY,
                      "the disk of %s has %lld MB free, but %lld MB are needed to store what "
                      "would be bought: free %lld MB more",
                      spool->state_dir, (long long)(available >> 20), (long long)(wanted >> 20),
                      (long long)((wanted - available) >> 20) + 1);
}
