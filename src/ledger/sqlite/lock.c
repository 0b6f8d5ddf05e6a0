/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "ledger/sqlite/sqlite.h"

/* An OFD lock belongs to the open file, not to the process: another descriptor of the same process
 * does not release it by closing, and it ends with the process however that ends. It lies on a file
 * of its own because SQLite locks the database file in its own way. */
static int try_lock(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int rc;
    do {
        rc = fcntl(fd, F_OFD_SETLK, &lock);
    } while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

static enum op_rc fail_busy(struct op_env *env, int fd, const char *dir, struct op_err *err)
{
    char pid[24] = {0};
    ssize_t n = env->ops->pread(env, fd, pid, sizeof(pid) - 1, 0);
    pid[n > 0 ? (size_t)n : 0] = '\0';
    pid[strcspn(pid, "\n")] = '\0';
    if (!pid[0])
        return op_fail_as(err, OP_BUSY, OP_DISP_RETRY,
                          "another offpeak works in %s; wait for it to end, or choose another "
                          "state folder",
                          dir);
    return op_fail_as(err, OP_BUSY, OP_DISP_RETRY,
                      "another offpeak (process %s) works in %s; wait for it, or stop it with "
                      "'kill %s' (nothing is lost), or choose another state folder",
                      pid, dir, pid);
}

enum op_rc op_sq_lock(struct op_env *env, const char *dir, int *ret_fd, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, "ledger.lock");
    int fd = env->ops->open(env, path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (fd < 0) {
        errno = -fd;
        return op_fail_errno(
            err, OP_IO, "cannot open %s: make the state folder writable, or choose another",
            path);
    }
    int rc = try_lock(fd);
    enum op_rc failed = OP_OK;
    if (rc == -EAGAIN || rc == -EACCES) {
        failed = fail_busy(env, fd, dir, err);
    } else if (rc < 0) {
        errno = -rc;
        failed = op_fail_errno(err, OP_IO, "cannot lock %s", path);
    }
    if (failed) {
        env->ops->close(env, fd);
        return failed;
    }
    /* The number is for the message above only, so a failure to write it is none. */
    char pid[24];
    int len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (env->ops->truncate(env, fd, 0) == 0)
        (void)env->ops->pwrite(env, fd, pid, (size_t)len, 0);
    *ret_fd = fd;
    return OP_OK;
}
