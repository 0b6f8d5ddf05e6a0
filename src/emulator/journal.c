/* SPDX-License-Identifier: MIT */
#include "emulator/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>

#include "base/io.h"
#include "base/mem.h"

struct op_emu_journal {
    struct op_env *env;
    char *path;
    int fd;
    pthread_mutex_t lock;
    pthread_cond_t synced_more;
    int64_t added;  /* calls of add so far */
    int64_t synced; /* how many of them are known to be on disk */
    bool syncing;
    struct op_err broken; /* the failure that ended this journal */
};

/* Length of the file up to and including its last newline. */
static enum op_rc whole_lines(struct op_emu_journal *j, int64_t size, int64_t *ret,
                              struct op_err *err)
{
    char window[4096];
    int64_t end = size;
    while (end > 0) {
        size_t len = end < (int64_t)sizeof(window) ? (size_t)end : sizeof(window);
        int64_t start = end - (int64_t)len;
        enum op_rc rc = op_io_pread_all(j->env, j->fd, window, len, start, j->path, err);
        if (rc)
            return rc;
        const char *newline = memrchr(window, '\n', len);
        if (newline) {
            *ret = start + (newline - window) + 1;
            return OP_OK;
        }
        end = start;
    }
    *ret = 0;
    return OP_OK;
}

static enum op_rc journal_start(struct op_emu_journal *j, struct op_err *err)
{
    const struct op_env_ops *ops = j->env->ops;
    j->fd = ops->open(j->env, j->path, O_RDWR | O_CREAT | O_APPEND, 0600);
    if (j->fd < 0) {
        errno = -j->fd;
        return op_fail_errno(err, OP_IO, "cannot open %s", j->path);
    }
    /* Two emulators in one folder would each lead half of the batches. */
    if (flock(j->fd, LOCK_EX | LOCK_NB))
        return op_fail(err, OP_BUSY,
                       "%s is in use by another emulator; give this one a folder"
                       " of its own",
                       j->path);
    int64_t size = ops->size(j->env, j->fd), keep = 0;
    if (size < 0) {
        errno = (int)-size;
        return op_fail_errno(err, OP_IO, "cannot read the size of %s", j->path);
    }
    enum op_rc rc = whole_lines(j, size, &keep, err);
    if (rc)
        return rc;
    int failed = keep < size ? ops->truncate(j->env, j->fd, keep) : 0;
    if (failed) {
        errno = -failed;
        return op_fail_errno(err, OP_IO, "cannot cut the unfinished line off %s", j->path);
    }
    return OP_OK;
}

enum op_rc op_emu_journal_open(struct op_env *env, const char *path,
                               struct op_emu_journal **ret, struct op_err *err)
{
    OP_CLEANUP(op_emu_journal_closep)
    struct op_emu_journal *j = op_mem_alloc(sizeof(*j));
    j->env = env;
    j->fd = -1;
    j->path = op_mem_strdup(path);
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->synced_more, NULL);
    enum op_rc rc = journal_start(j, err);
    if (rc)
        return rc;
    *ret = OP_TAKE(j);
    return OP_OK;
}

void op_emu_journal_close(struct op_emu_journal *j)
{
    if (!j)
        return;
    /* Whatever mattered has been synced, so a failure to close loses nothing. */
    if (j->fd >= 0)
        (void)j->env->ops->close(j->env, j->fd);
    pthread_cond_destroy(&j->synced_more);
    pthread_mutex_destroy(&j->lock);
    op_mem_free(j->path);
    op_mem_free(j);
}

void op_emu_journal_closep(struct op_emu_journal **journal)
{
    op_emu_journal_close(*journal);
    *journal = NULL;
}

const char *op_emu_journal_path(const struct op_emu_journal *journal)
{
    return journal->path;
}

static enum op_rc broken_before(const struct op_emu_journal *j, struct op_err *err)
{
    return j->broken.rc ? op_fail(err, j->broken.rc, "%s", j->broken.msg) : OP_OK;
}

enum op_rc op_emu_journal_add(struct op_emu_journal *j, struct op_str lines, struct op_err *err)
{
    pthread_mutex_lock(&j->lock);
    enum op_rc rc = broken_before(j, err);
    if (!rc) {
        rc = op_io_write_all(j->env, j->fd, lines.ptr, lines.len, j->path, err);
        if (rc)
            j->broken = *err;
        else
            j->added++;
    }
    pthread_mutex_unlock(&j->lock);
    return rc;
}

/* One caller syncs for all that were added before it began; the others wait for it. The lock is
 * not held during the fsync, so that more can be added meanwhile. */
enum op_rc op_emu_journal_sync(struct op_emu_journal *j, struct op_err *err)
{
    pthread_mutex_lock(&j->lock);
    int64_t mine = j->added;
    while (j->synced < mine && !j->broken.rc) {
        if (j->syncing) {
            pthread_cond_wait(&j->synced_more, &j->lock);
            continue;
        }
        int64_t covers = j->added;
        j->syncing = true;
        pthread_mutex_unlock(&j->lock);
        int failed = j->env->ops->fsync(j->env, j->fd);
        pthread_mutex_lock(&j->lock);
        j->syncing = false;
        if (failed) {
            errno = -failed;
            op_err_set_errno(&j->broken, OP_IO, "cannot sync %s", j->path);
        } else {
            j->synced = covers;
        }
        pthread_cond_broadcast(&j->synced_more);
    }
    enum op_rc rc = j->synced < mine ? broken_before(j, err) : OP_OK;
    pthread_mutex_unlock(&j->lock);
    return rc;
}
