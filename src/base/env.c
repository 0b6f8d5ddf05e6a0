/* SPDX-License-Identifier: MIT */
#include "base/env.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "base/time.h"

static int64_t read_clock(clockid_t id)
{
    struct timespec now = {0};
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * OP_SECOND_MS + now.tv_nsec / 1000000;
}

/* OFFPEAK_CLOCK="SPEED@MS" makes time run SPEED times as fast since the wall clock showed
 * MS, so that a test can live through the hours that settling a doubtful create takes. */
#if OP_FAULT_POINTS
static int64_t clock_speed = 1, clock_from_ms;
static pthread_once_t clock_once = PTHREAD_ONCE_INIT;

static void read_clock_setting(void)
{
    const char *text = getenv("OFFPEAK_CLOCK");
    if (!text || !text[0])
        return;
    struct op_str rest = op_str_from(text);
    int64_t speed = 0;
    if (!op_str_int64(op_str_cut(&rest, '@'), &speed) || speed < 1 || speed > 1000000 ||
        !op_str_int64(rest, &clock_from_ms)) {
        fprintf(stderr, "offpeak: OFFPEAK_CLOCK is SPEED@MILLISECONDS, not '%s'\n", text);
        _exit(2);
    }
    clock_speed = speed;
}

static int64_t speed_of_time(void)
{
    pthread_once(&clock_once, read_clock_setting);
    return clock_speed;
}

static int64_t fast(int64_t ms)
{
    return speed_of_time() == 1 ? ms : clock_from_ms + (ms - clock_from_ms) * clock_speed;
}
#else
static int64_t speed_of_time(void)
{
    return 1;
}

static int64_t fast(int64_t ms)
{
    return ms;
}
#endif

static int64_t real_now_ms(struct op_env *env)
{
    (void)env;
    return fast(read_clock(CLOCK_REALTIME));
}

/* BOOTTIME goes on while a laptop sleeps: a deadline means the provider's time, not ours. */
static int64_t real_mono_ms(struct op_env *env)
{
    (void)env;
    return read_clock(CLOCK_BOOTTIME) * speed_of_time();
}

static void real_sleep_ms(struct op_env *env, int64_t ms)
{
    (void)env;
    if (ms <= 0)
        return;
    int64_t ns = ms * (1000000 / speed_of_time());
    struct timespec duration = {.tv_sec = ns / 1000000000, .tv_nsec = (long)(ns % 1000000000)};
    nanosleep(&duration, NULL);
}

static void real_random(struct op_env *env, void *ptr, size_t len)
{
    (void)env;
    char *at = ptr;
    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        /* Ids made of guessable bytes could collide with another run's: better no run. */
        if (n < 0) {
            perror("offpeak: no random bytes from the system");
            _exit(1);
        }
        at += n;
        len -= (size_t)n;
    }
}

static int result(int rc)
{
    return rc < 0 ? -errno : rc;
}

static ssize_t result_size(ssize_t n)
{
    return n < 0 ? -errno : n;
}

static int real_open(struct op_env *env, const char *path, int flags, mode_t mode)
{
    (void)env;
    return result(open(path, flags | O_CLOEXEC, mode));
}

static int real_close(struct op_env *env, int fd)
{
    (void)env;
    return result(close(fd));
}

static ssize_t real_read(struct op_env *env, int fd, void *ptr, size_t len)
{
    (void)env;
    return result_size(read(fd, ptr, len));
}

static ssize_t real_pread(struct op_env *env, int fd, void *ptr, size_t len, int64_t offset)
{
    (void)env;
    return result_size(pread(fd, ptr, len, offset));
}

static ssize_t real_write(struct op_env *env, int fd, const void *ptr, size_t len)
{
    (void)env;
    return result_size(write(fd, ptr, len));
}

static ssize_t real_pwrite(struct op_env *env, int fd, const void *ptr, size_t len,
                           int64_t offset)
{
    (void)env;
    return result_size(pwrite(fd, ptr, len, offset));
}

/* --- flushes -------------------------------------------------------------------------------- */

static op_flush_failed_fn flush_fn;
static void *flush_arg;
static atomic_bool flush_told;
static _Thread_local bool flush_teller; /* what the teller itself flushes is not told again */

void op_env_on_flush_failed(op_flush_failed_fn fn, void *arg)
{
    flush_fn = fn;
    flush_arg = arg;
    flush_teller = false;
    atomic_store(&flush_told, false);
}

/* A full disk is an error like others, and the rest mean that no flush was tried. */
static bool leaves_open(int code)
{
    switch (code) {
    case 0:
    case ENOSPC:
    case EDQUOT:
    case EINTR:
    case EBADF:
    case EINVAL:
    case EROFS:
        return false;
    default:
        return true;
    }
}

void op_env_flush_failed(const char *path, int code)
{
    if (!flush_fn || !leaves_open(code) || flush_teller)
        return;
    while (atomic_exchange(&flush_told, true))
        pause(); /* the process is being ended */
    flush_teller = true;
    flush_fn(flush_arg, path, code);
}

static int flush(int fd)
{
    int rc = result(fsync(fd));
    if (rc == 0 || !leaves_open(-rc))
        return rc;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof(path) - 1);
    path[len < 0 ? 0 : len] = '\0';
    op_env_flush_failed(len < 0 ? "a file" : path, -rc);
    return rc;
}

static int real_fsync(struct op_env *env, int fd)
{
    (void)env;
    return flush(fd);
}

static void real_writeback(struct op_env *env, int fd, int64_t offset, int64_t len)
{
    (void)env;
    /* An error here is an error of fsync's, which is asked in any case. */
    (void)sync_file_range(fd, offset, len, SYNC_FILE_RANGE_WRITE);
}

static int real_truncate(struct op_env *env, int fd, int64_t len)
{
    (void)env;
    return result(ftruncate(fd, len));
}

static int64_t real_size(struct op_env *env, int fd)
{
    (void)env;
    struct stat st;
    return fstat(fd, &st) < 0 ? -errno : st.st_size;
}

static int real_rename(struct op_env *env, const char *from, const char *to, bool replace)
{
    (void)env;
    if (replace)
        return result(rename(from, to));
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    /* A file system without the flag (NFS, some FUSE): link() refuses an existing name too. A
     * crash between the two calls leaves both names for one file, and the caller, who repeats
     * the rename, then learns that the target exists. */
    if (link(from, to) < 0)
        return -errno;
    return result(unlink(from));
}

static int real_unlink(struct op_env *env, const char *path)
{
    (void)env;
    return result(unlink(path));
}

static int real_mkdir(struct op_env *env, const char *path, mode_t mode)
{
    (void)env;
    return result(mkdir(path, mode));
}

static int real_fsync_dir(struct op_env *env, const char *path)
{
    (void)env;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = flush(fd);
    int closed = result(close(fd));
    return rc < 0 ? rc : closed;
}

static int real_allocate(struct op_env *env, int fd, int64_t len)
{
    (void)env;
    return result(fallocate(fd, 0, 0, len));
}

static int64_t real_free_bytes(struct op_env *env, const char *path)
{
    (void)env;
    struct statvfs st;
    if (statvfs(path, &st) < 0)
        return -errno;
    uint64_t bytes;
    if (__builtin_mul_overflow((uint64_t)st.f_bavail, (uint64_t)st.f_frsize, &bytes) ||
        bytes > INT64_MAX)
        return INT64_MAX;
    return (int64_t)bytes;
}

static const char *const fault_points[] = {
    "plan.commit",         "pack.written",         "pack.committed",
    "send.built",          "send.gate.before",     "send.gate.after",
    "send.released",       "send.accepted.before", "send.accepted.after",
    "poll.committed",      "fetch.part",           "fetch.renamed",
    "fetch.committed",     "apply.outbox",         "apply.commit.before",
    "apply.commit.after",  "apply.done",           "deliver.before",
    "deliver.between",     "deliver.after",        "seal.after",
    "reconcile.before",    "reconcile.after",      "repack.committed",
    "chain.dropped",       "send.upload.before",   "send.upload.done",
    "send.upload.after",   "reconcile.fenced",     "reconcile.twins",
    "trigger.claimed",     "trigger.job",          "trigger.told.before",
    "trigger.told.after",  "fetch.document",       "realtime.opened",
    "realtime.log.before", "realtime.log.after",   "realtime.submitted",
    "realtime.answered",   "realtime.ended",       NULL,
};

const char *const *op_fault_points(void)
{
    return fault_points;
}

static bool is_fault_point(struct op_str name)
{
    for (const char *const *point = fault_points; *point; point++) {
        if (op_str_is(name, *point))
            return true;
    }
    return false;
}

#if OP_FAULT_POINTS
static struct op_str armed_point; /* ptr NULL: none */
static _Atomic int64_t passages_left;
static pthread_once_t fault_once = PTHREAD_ONCE_INIT;

static void arm_fault(void)
{
    const char *text = getenv("OFFPEAK_FAULT");
    if (!text || !text[0])
        return;
    struct op_str rest = op_str_from(text);
    struct op_str point = op_str_cut(&rest, ':');
    int64_t n = 1;
    /* A misspelt point would let a crash test pass without ever crashing. */
    if (!is_fault_point(point) || (rest.ptr && (!op_str_int64(rest, &n) || n < 1))) {
        fprintf(stderr,
                "offpeak: OFFPEAK_FAULT='%s' is not of the form point[:n] with a known "
                "point\n",
                text);
        _exit(2);
    }
    armed_point = point;
    atomic_store(&passages_left, n);
}
#endif

static void real_fault(struct op_env *env, const char *point)
{
    (void)env;
    assert(is_fault_point(op_str_from(point)));
#if OP_FAULT_POINTS
    pthread_once(&fault_once, arm_fault);
    if (!armed_point.ptr || !op_str_is(armed_point, point))
        return;
    if (atomic_fetch_sub(&passages_left, 1) != 1)
        return;
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
#else
    (void)point;
#endif
}

static const struct op_env_ops real_ops = {
    .name = "posix",
    .now_ms = real_now_ms,
    .mono_ms = real_mono_ms,
    .sleep_ms = real_sleep_ms,
    .random = real_random,
    .open = real_open,
    .close = real_close,
    .read = real_read,
    .pread = real_pread,
    .write = real_write,
    .pwrite = real_pwrite,
    .fsync = real_fsync,
    .writeback = real_writeback,
    .truncate = real_truncate,
    .size = real_size,
    .rename = real_rename,
    .unlink = real_unlink,
    .mkdir = real_mkdir,
    .fsync_dir = real_fsync_dir,
    .allocate = real_allocate,
    .free_bytes = real_free_bytes,
    .fault = real_fault,
};

struct op_env *op_env_default(void)
{
    static struct op_env env = {.ops = &real_ops};
    return &env;
}
