/* SPDX-License-Identifier: MIT */
/* The system calls that the program, SQLite and the C++ runtime make, by plain symbol precedence: the
 * executable's own are found before the C library's. Everything below the root is followed by the
 * model; time and randomness are the world's. */
/* Both would give a function another name than its own. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <time.h>

#include "raw.h"
#include "world.h"

#define OWN __attribute__((visibility("default"), used))
#define FDS 1024

struct file {
    bool open, is_folder, is_random;
    int file; /* of the model, -1: not written through this */
    char path[MODEL_PATH];
};
static struct file files[FDS];

static void lock(void)
{
    while (__atomic_exchange_n(&world->lock, 1, __ATOMIC_ACQUIRE))
        syscall(SYS_sched_yield);
}

static void unlock(void)
{
    __atomic_store_n(&world->lock, 0, __ATOMIC_RELEASE);
}

static bool watched(void)
{
    return world && world_is_inside();
}

static int fail(int number)
{
    errno = number;
    return -1;
}

static long result(long rc)
{
    if (rc >= 0)
        return rc;
    errno = (int)-rc;
    return -1;
}

static int number_of(enum failure failure)
{
    switch ((int)failure) {
    case FAIL_ENOSPC:
        return ENOSPC;
    case FAIL_EINTR:
        return EINTR;
    case FAIL_EMFILE:
        return EMFILE;
    default:
        return EIO;
    }
}

/* Whether the path lies below the root; ret: relative to it. */
static bool below_root(const char *path, char ret[MODEL_PATH])
{
    char full[512];
    size_t len = strlen(world->model.root);
    if (path[0] == '/')
        snprintf(full, sizeof(full), "%s", path);
    else
        snprintf(full, sizeof(full), "%s/work/%s", world->model.root, path);
    if (strncmp(full, world->model.root, len) != 0 || (full[len] != '/' && full[len]))
        return false;
    const char *rest = full + len;
    while (*rest == '/')
        rest++;
    while (rest[0] == '.' && rest[1] == '/')
        rest += 2;
    snprintf(ret, MODEL_PATH, "%s", rest);
    size_t n = strlen(ret);
    while (n > 0 && ret[n - 1] == '/')
        ret[--n] = '\0';
    return true;
}

static void forget(int fd)
{
    if (fd >= 0 && fd < FDS)
        files[fd] = (struct file){.file = -1};
}

static struct file *known(int fd)
{
    return watched() && fd >= 0 && fd < FDS && files[fd].open ? &files[fd] : NULL;
}

static void remember(int fd, const char *path, int file, bool is_folder)
{
    if (fd < 0 || fd >= FDS)
        return;
    files[fd] = (struct file){.open = true, .file = file, .is_folder = is_folder};
    snprintf(files[fd].path, MODEL_PATH, "%s", path);
    if (fd > world->most_fds)
        world->most_fds = fd;
}

/* ---- opening and closing ---- */

static void note_outside(const char *path)
{
    if (strncmp(path, "/dev/", 5) != 0 && !world->outside[0])
        snprintf(world->outside, sizeof(world->outside), "%s", path);
}

static int open_to_write(const char *path, const char *rel, int flags, mode_t mode)
{
    lock();
    int file = model_find(&world->model, rel);
    unlock();
    bool makes = file < 0 && (flags & O_CREAT), empties = file >= 0 && (flags & O_TRUNC);
    if (file >= 0 && (flags & O_CREAT) && (flags & O_EXCL))
        return fail(EEXIST);
    if (makes || empties) {
        enum failure failure = world_point(POINT_OPEN, rel, 0);
        if (failure)
            return fail(number_of(failure));
    }
    lock();
    if (empties) {
        struct stat st;
        int64_t len = syscall(SYS_stat, path, &st) == 0 ? st.st_size : 0;
        if (len)
            model_before_write(&world->model, file, -1, 0, len);
    }
    int fd = raw_open(path, flags, mode);
    if (fd >= 0 && makes)
        file = model_created(&world->model, rel, false);
    unlock();
    if (fd >= 0)
        remember(fd, rel, file, false);
    return (int)result(fd);
}

static int do_open(const char *path, int flags, mode_t mode)
{
    char rel[MODEL_PATH];
    if (!watched())
        return (int)result(raw_open(path, flags, mode));
    if (strcmp(path, "/dev/urandom") == 0) {
        int fd = raw_open("/dev/null", O_RDONLY, 0);
        remember(fd, "", -1, false);
        if (fd >= 0 && fd < FDS)
            files[fd].is_random = true;
        return (int)result(fd);
    }
    bool writes = (flags & (O_ACCMODE | O_CREAT | O_TRUNC)) != O_RDONLY;
    if (!below_root(path, rel)) {
        if (writes)
            note_outside(path);
        return (int)result(raw_open(path, flags, mode));
    }
    if (writes)
        return open_to_write(path, rel, flags, mode);
    int fd = raw_open(path, flags, mode);
    struct stat st;
    lock();
    int file = model_find(&world->model, rel); /* what is open to be read can be synced too */
    unlock();
    if (fd >= 0 && syscall(SYS_fstat, fd, &st) == 0)
        remember(fd, rel, file, S_ISDIR(st.st_mode));
    return (int)result(fd);
}

OWN int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return do_open(path, flags, mode);
}

OWN int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return do_open(path, flags, mode);
}

OWN int close(int fd)
{
    if (watched())
        forget(fd);
    return (int)result(RAW(SYS_close, fd));
}

/* ---- reading, writing ---- */

OWN ssize_t read(int fd, void *ptr, size_t len)
{
    struct file *f = known(fd);
    if (!f || !f->is_random)
        return result(RAW(SYS_read, fd, ptr, len));
    world_fill_random(ptr, len);
    return (ssize_t)len;
}

static ssize_t do_write(int fd, const void *ptr, size_t len, int64_t at, bool moves)
{
    struct file *f = known(fd);
    if (!f || f->file < 0 || !len)
        return moves ? result(raw_write(fd, ptr, len)) : result(raw_pwrite(fd, ptr, len, at));
    enum failure failure = world_point(POINT_WRITE, f->path, (int64_t)len);
    if (failure == FAIL_SHORT && len > 1)
        len /= 2;
    else if (failure)
        return fail(number_of(failure));
    if (moves) {
        int flags = (int)RAW(SYS_fcntl, fd, F_GETFL);
        at = RAW(SYS_lseek, fd, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
    }
    lock();
    model_before_write(&world->model, f->file, fd, at, at + (int64_t)len);
    ssize_t n = moves ? raw_write(fd, ptr, len) : raw_pwrite(fd, ptr, len, at);
    unlock();
    return result(n);
}

OWN ssize_t write(int fd, const void *ptr, size_t len)
{
    return do_write(fd, ptr, len, 0, true);
}

OWN ssize_t pwrite(int fd, const void *ptr, size_t len, off_t at)
{
    return do_write(fd, ptr, len, at, false);
}

OWN ssize_t pwrite64(int fd, const void *ptr, size_t len, off64_t at)
{
    return do_write(fd, ptr, len, at, false);
}

static int do_truncate(int fd, int64_t len)
{
    struct file *f = known(fd);
    if (!f || f->file < 0)
        return (int)result(raw_ftruncate(fd, len));
    enum failure failure = world_point(POINT_CUT, f->path, len);
    if (failure)
        return fail(number_of(failure));
    struct stat st;
    int64_t now = syscall(SYS_fstat, fd, &st) == 0 ? st.st_size : 0;
    lock();
    if (now != len)
        model_before_write(&world->model, f->file, fd, now < len ? now : len,
                           now < len ? len : now);
    int rc = raw_ftruncate(fd, len);
    unlock();
    return (int)result(rc);
}

OWN int ftruncate(int fd, off_t len)
{
    return do_truncate(fd, len);
}

OWN int ftruncate64(int fd, off64_t len)
{
    return do_truncate(fd, len);
}

static int do_allocate(int fd, int mode, int64_t at, int64_t len)
{
    struct file *f = known(fd);
    if (f && f->file >= 0) {
        enum failure failure = world_point(POINT_WRITE, f->path, len);
        if (failure)
            return fail(failure == FAIL_SHORT ? ENOSPC : number_of(failure));
        lock();
        model_before_write(&world->model, f->file, fd, at, at + len);
        unlock();
    }
    return (int)result(RAW(SYS_fallocate, fd, mode, at, len));
}

OWN int fallocate(int fd, int mode, off_t at, off_t len)
{
    return do_allocate(fd, mode, at, len);
}

OWN int fallocate64(int fd, int mode, off64_t at, off64_t len)
{
    return do_allocate(fd, mode, at, len);
}

static int do_sync(int fd)
{
    struct file *f = known(fd);
    if (!f || (f->file < 0 && !f->is_folder))
        return 0;
    enum failure failure = world_point(POINT_SYNC, f->path, 0);
    lock();
    if (!f->is_folder)
        model_synced(&world->model, f->file, fd, failure != FAIL_NONE);
    else if (!failure)
        model_synced_folder(&world->model, f->path);
    unlock();
    return failure ? fail(number_of(failure)) : 0;
}

OWN int fsync(int fd)
{
    return do_sync(fd);
}

OWN int fdatasync(int fd)
{
    return do_sync(fd);
}

OWN int sync_file_range(int fd, off64_t at, off64_t len, unsigned flags)
{
    (void)fd;
    (void)at;
    (void)len;
    (void)flags;
    return 0;
}

/* ---- names ---- */

/* True: the call goes on, and both paths are below the root. ret: 0, or the call's result. */
static bool begin_name(const char *a, const char *b, char rel_a[MODEL_PATH],
                       char rel_b[MODEL_PATH], int *ret)
{
    *ret = 0;
    if (!watched())
        return false;
    bool inside = below_root(a, rel_a) && (!b || below_root(b, rel_b));
    if (!inside) {
        note_outside(b ? b : a);
        return false;
    }
    enum failure failure = world_point(POINT_NAME, b ? rel_b : rel_a, 0);
    if (failure)
        *ret = fail(number_of(failure));
    return true;
}

static int do_rename(const char *from, const char *to, unsigned flags)
{
    char rel_from[MODEL_PATH], rel_to[MODEL_PATH];
    int rc;
    if (!begin_name(from, to, rel_from, rel_to, &rc))
        return (int)result(RAW(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags));
    if (rc)
        return rc;
    lock();
    rc = (int)RAW(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
    if (!rc)
        model_renamed(&world->model, rel_from, rel_to);
    unlock();
    return (int)result(rc);
}

OWN int rename(const char *from, const char *to)
{
    return do_rename(from, to, 0);
}

OWN int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    (void)from_dir;
    (void)to_dir;
    return do_rename(from, to, flags);
}

OWN int link(const char *from, const char *to)
{
    char rel_from[MODEL_PATH], rel_to[MODEL_PATH];
    int rc;
    if (!begin_name(from, to, rel_from, rel_to, &rc))
        return (int)result(raw_link(from, to));
    if (rc)
        return rc;
    lock();
    rc = raw_link(from, to);
    if (!rc)
        model_linked(&world->model, rel_from, rel_to);
    unlock();
    return (int)result(rc);
}

static int remove_name(const char *path, long number)
{
    char rel[MODEL_PATH];
    int rc;
    if (!watched() || !below_root(path, rel))
        return (int)result(RAW(number, path));
    lock();
    bool exists = model_find(&world->model, rel) >= 0;
    unlock();
    if (!exists)
        return (int)result(RAW(number, path));
    if (begin_name(path, NULL, rel, NULL, &rc) && rc)
        return rc;
    lock();
    rc = (int)RAW(number, path);
    if (!rc)
        model_removed(&world->model, rel);
    unlock();
    return (int)result(rc);
}

OWN int unlink(const char *path)
{
    return remove_name(path, SYS_unlink);
}

OWN int rmdir(const char *path)
{
    return remove_name(path, SYS_rmdir);
}

OWN int mkdir(const char *path, mode_t mode)
{
    char rel[MODEL_PATH];
    int rc;
    if (!watched() || !below_root(path, rel))
        return (int)result(raw_mkdir(path, mode));
    lock();
    bool exists = !rel[0] || model_find(&world->model, rel) >= 0;
    unlock();
    if (exists)
        return fail(EEXIST);
    if (begin_name(path, NULL, rel, NULL, &rc) && rc)
        return rc;
    lock();
    rc = raw_mkdir(path, mode);
    if (!rc)
        model_created(&world->model, rel, true);
    unlock();
    return (int)result(rc);
}

/* The program tunes its heap for days of work; here it lives for milliseconds. */
OWN int mallopt(int what, int to)
{
    (void)what;
    (void)to;
    return 1;
}

/* ---- what a folder is ---- */

/* A folder's inode tells a ledger that was copied. The harness does copy it, for every schedule. */
static int do_stat(const char *path, struct stat *st)
{
    int rc = (int)result(RAW(SYS_stat, path, st));
    char rel[MODEL_PATH];
    if (!rc && watched() && S_ISDIR(st->st_mode) && below_root(path, rel)) {
        st->st_ino = 5381;
        for (const char *c = rel; *c; c++)
            st->st_ino = st->st_ino * 33 + (unsigned char)*c;
    }
    return rc;
}

OWN int stat(const char *restrict path, struct stat *restrict st)
{
    return do_stat(path, st);
}

OWN int stat64(const char *restrict path, struct stat64 *restrict st)
{
    return do_stat(path, (struct stat *)st);
}

OWN int statvfs(const char *restrict path, struct statvfs *restrict st)
{
    (void)path;
    memset(st, 0, sizeof(*st));
    st->f_bsize = st->f_frsize = 4096;
    st->f_blocks = st->f_bfree = st->f_bavail = 16 << 20; /* 64 GiB */
    if (world && world->disk_full)
        st->f_bfree = st->f_bavail = 0;
    return 0;
}

OWN int statvfs64(const char *restrict path, struct statvfs64 *restrict st)
{
    return statvfs(path, (struct statvfs *)st);
}

OWN pid_t getpid(void)
{
    return watched() ? 4242 : (pid_t)syscall(SYS_getpid);
}

/* ---- time and chance ---- */

OWN int clock_gettime(clockid_t id, struct timespec *ret)
{
    if (!world)
        return (int)result(RAW(SYS_clock_gettime, id, ret));
    int64_t us = world->now_us;
    if (id == CLOCK_REALTIME && world_is_inside())
        us += world->wall_ms * 1000;
    *ret = (struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    return 0;
}

OWN int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *ret = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

OWN time_t time(time_t *ret)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (ret)
        *ret = now.tv_sec;
    return now.tv_sec;
}

OWN int nanosleep(const struct timespec *want, struct timespec *left)
{
    (void)left;
    if (!watched())
        return (int)result(RAW(SYS_nanosleep, want, left));
    world_sleep(want->tv_sec * 1000 + (want->tv_nsec + 999999) / 1000000);
    return 0;
}

/* SQLite's, while another process has the database locked: it counts its naps and not the time. */
OWN int usleep(useconds_t us)
{
    if (watched())
        world->now_us += us;
    else
        RAW(SYS_nanosleep, &(struct timespec){us / 1000000, us % 1000000 * 1000}, NULL);
    return 0;
}

OWN unsigned sleep(unsigned seconds)
{
    const struct timespec want = {seconds, 0};
    nanosleep(&want, NULL);
    return 0;
}

OWN ssize_t getrandom(void *ptr, size_t len, unsigned flags)
{
    if (!watched())
        return result(RAW(SYS_getrandom, ptr, len, flags));
    world_fill_random(ptr, len);
    return (ssize_t)len;
}
