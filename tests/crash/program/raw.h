/* SPDX-License-Identifier: MIT */
#ifndef OP_CRASH_RAW_H
#define OP_CRASH_RAW_H

/*
 * Model:     the system's own calls, for the part of the fault program that stands behind the calls it
 *            interposes. They return -errno, or the value.
 * Threads:   any.
 */

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static inline long raw_result(long rc)
{
    return rc < 0 ? -errno : rc;
}
#define RAW(...) raw_result(syscall(__VA_ARGS__))

static inline int raw_open(const char *path, int flags, mode_t mode)
{
    return (int)RAW(SYS_open, path, flags | 02000000 /* O_CLOEXEC */, mode);
}
static inline int raw_close(int fd)
{
    return fd < 0 ? 0 : (int)RAW(SYS_close, fd);
}
static inline ssize_t raw_write(int fd, const void *ptr, size_t len)
{
    return RAW(SYS_write, fd, ptr, len);
}
static inline ssize_t raw_pwrite(int fd, const void *ptr, size_t len, int64_t at)
{
    return RAW(SYS_pwrite64, fd, ptr, len, at);
}
static inline ssize_t raw_pread(int fd, void *ptr, size_t len, int64_t at)
{
    return RAW(SYS_pread64, fd, ptr, len, at);
}
static inline int64_t raw_seek_end(int fd)
{
    return RAW(SYS_lseek, fd, 0, 2 /* SEEK_END */);
}
static inline int raw_ftruncate(int fd, int64_t len)
{
    return (int)RAW(SYS_ftruncate, fd, len);
}
static inline int raw_rename(const char *from, const char *to)
{
    return (int)RAW(SYS_rename, from, to);
}
static inline int raw_link(const char *from, const char *to)
{
    return (int)RAW(SYS_link, from, to);
}
static inline int raw_unlink(const char *path)
{
    return (int)RAW(SYS_unlink, path);
}
static inline int raw_mkdir(const char *path, mode_t mode)
{
    return (int)RAW(SYS_mkdir, path, mode);
}
static inline int raw_rmdir(const char *path)
{
    return (int)RAW(SYS_rmdir, path);
}
static inline _Noreturn void raw_exit(int code)
{
    syscall(SYS_exit_group, code);
    __builtin_unreachable();
}

#endif
