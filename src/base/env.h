/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_ENV_H
#define OP_BASE_ENV_H

/*
 * Model:     the seam. Every effect of ledger, spool, sinks and engine on the world (clock,
 *            randomness, files, fault points) goes through one struct op_env, so that a test can
 *            put a virtual clock or a model file system below the real code. The network has its
 *            own seam of the same kind in net/http.h, the database one in SQLite's VFS.
 * Ownership: an env outlives everything that was given it.
 * Errors:    file calls return a value >= 0 or -errno; they never set errno for the caller.
 * Threads:   the default env may be used by any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct op_env;

struct op_env_ops {
    const char *name;
    int64_t (*now_ms)(struct op_env *env);            /* wall clock: shown and stored */
    int64_t (*mono_ms)(struct op_env *env);           /* monotonic: deadlines and durations */
    void (*sleep_ms)(struct op_env *env, int64_t ms); /* may return early, e.g. on a signal */
    void (*random)(struct op_env *env, void *ptr, size_t len); /* unpredictable bytes */

    /* Files. Paths are NUL-terminated; flags are those of open(2), O_CLOEXEC is added. */
    int (*open)(struct op_env *env, const char *path, int flags, mode_t mode);
    int (*close)(struct op_env *env, int fd);
    ssize_t (*read)(struct op_env *env, int fd, void *ptr, size_t len);
    ssize_t (*pread)(struct op_env *env, int fd, void *ptr, size_t len, int64_t offset);
    ssize_t (*write)(struct op_env *env, int fd, const void *ptr, size_t len);
    ssize_t (*pwrite)(struct op_env *env, int fd, const void *ptr, size_t len, int64_t offset);
    int (*fsync)(struct op_env *env, int fd);
    /* Begins to write this part out, so that a later fsync has less to wait for. A hint: it proves
     * nothing and cannot fail. */
    void (*writeback)(struct op_env *env, int fd, int64_t offset, int64_t len);
    int (*truncate)(struct op_env *env, int fd, int64_t len);
    int64_t (*size)(struct op_env *env, int fd);
    int (*rename)(struct op_env *env, const char *from, const char *to, bool replace);
    int (*unlink)(struct op_env *env, const char *path);
    int (*mkdir)(struct op_env *env, const char *path, mode_t mode);
    int (*fsync_dir)(struct op_env *env, const char *path);
    /* Takes so many bytes of disk for the file; -EOPNOTSUPP where that cannot be done at once. */
    int (*allocate)(struct op_env *env, int fd, int64_t len);
    int64_t (*free_bytes)(struct op_env *env,
                          const char *path); /* for an unprivileged writer */

    /* A named point at which a test may end the process. */
    void (*fault)(struct op_env *env, const char *point);
};

struct op_env {
    const struct op_env_ops *ops;
};

/* The real world. The fault points obey OFFPEAK_FAULT="point[:n]": at the n-th passage (default 1)
 * the process kills itself with SIGKILL. Built without that when fault_points=false. */
struct op_env *op_env_default(void);

/* A flush that failed for another reason than a full disk leaves open what the disk holds, and no
 * later flush tells: the kernel has marked the pages clean (reference/reliability.md 3.10). So the
 * default env tells fn before the call returns, once, from whatever thread it happens in, and fn
 * may end the process; other threads to which the same happens are held meanwhile. code: errno.
 * fn NULL: nobody is told. */
typedef void (*op_flush_failed_fn)(void *arg, const char *path, int code);
void op_env_on_flush_failed(op_flush_failed_fn fn, void *arg);
/* For a library that flushes by itself: what it says of a flush of path. */
void op_env_flush_failed(const char *path, int code);

/* Every fault point by name, NULL-terminated: the crash tests iterate over it. */
const char *const *op_fault_points(void);

#endif
