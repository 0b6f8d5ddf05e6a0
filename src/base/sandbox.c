/* SPDX-License-Identifier: MIT */
#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#    define SANITIZED 1
#elif defined(__has_feature)
#    if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
        __has_feature(memory_sanitizer)
#        define SANITIZED 1
#    endif
#endif
#ifndef SANITIZED
#    define SANITIZED 0
#endif

static struct op_sandbox_state state = {.why_not = "nothing that would need it was begun"};

struct op_sandbox_state op_sandbox_state(void)
{
    return state;
}

/* --- what is allowed ---------------------------------------------------------------------- */

void op_sandbox_release(struct op_sandbox *box)
{
    for (size_t i = 0; i < box->path_count; i++)
        op_mem_free(box->paths[i].path);
    op_mem_free(box->paths);
    op_mem_free(box->ports);
    *box = (struct op_sandbox){0};
}

void op_sandbox_allow(struct op_sandbox *box, const char *path, bool writable)
{
    box->paths = op_mem_realloc(box->paths, (box->path_count + 1) * sizeof(*box->paths));
    box->paths[box->path_count++] =
        (struct op_sandbox_path){.path = op_mem_strdup(path), .writable = writable};
}

void op_sandbox_allow_beside(struct op_sandbox *box, const char *path, bool writable)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        op_sandbox_allow(box, path, writable);
        return;
    }
    OP_CLEANUP(op_mem_freep) char *folder = op_io_dirname(path);
    op_sandbox_allow(box, folder, writable);
}

void op_sandbox_allow_port(struct op_sandbox *box, uint16_t port)
{
    box->any_port = box->any_port || port == 0;
    box->ports = op_mem_realloc(box->ports, (box->port_count + 1) * sizeof(*box->ports));
    box->ports[box->port_count++] = port;
}

/* --- Landlock ----------------------------------------------------------------------------- */

/* Of include/uapi/linux/landlock.h, of later kernels than Debian 12 has headers for. */
#define FS_TRUNCATE     (1ULL << 14) /* ABI 3 */
#define FS_IOCTL_DEV    (1ULL << 15) /* ABI 5 */
#define NET_CONNECT_TCP (1ULL << 1)  /* ABI 4 */
#define RULE_NET_PORT   2
#define DNS_PORT        53
struct ruleset {
    uint64_t fs, net;
};
struct port_rule {
    uint64_t allowed, port;
};

/* Everything up to REFER (ABI 2) is handled, and so refused where no rule allows it. An older
 * kernel refuses renames between folders whatever the rules, and the spool needs one. */
#define ABI_OLDEST   2
#define FS_ABI_2     ((LANDLOCK_ACCESS_FS_REFER << 1) - 1)
#define FS_READ      (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_FILE_READ LANDLOCK_ACCESS_FS_READ_FILE
#define FS_FILE_WRITE \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)
#define FS_WRITE                                                   \
    (FS_READ | FS_FILE_WRITE | LANDLOCK_ACCESS_FS_REMOVE_FILE |    \
     LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | \
     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REFER)

/* What the C library, OpenSSL and name resolution read later: libraries they load, certificates,
 * the resolver's settings, time zones. */
static const char *const always_read[] = {
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/localtime",
    "/etc/machine-id", /* by which a ledger knows that it was copied */
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager/resolv.conf",
    "/dev/urandom",
    "/dev/random",
    "/proc/self",
    "/proc/sys",
    "/sys/devices/system/cpu",
};
static const char *const always_write[] = {"/dev/null", "/dev/tty"};

static int open_nearest(const char *path)
{
    OP_CLEANUP(op_mem_freep) char *at = op_mem_strdup(path);
    for (;;) {
        int fd = open(at, O_PATH | O_CLOEXEC);
        if (fd >= 0 || errno != ENOENT || strcmp(at, "/") == 0 || strcmp(at, ".") == 0)
            return fd;
        char *above = op_io_dirname(at);
        op_mem_free(at);
        at = above;
    }
}

static void add_path(int rules, uint64_t handled, int fd, bool writable)
{
    struct stat st;
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0) {
        bool folder = S_ISDIR(st.st_mode);
        uint64_t allowed = folder ? (writable ? FS_WRITE : FS_READ)
                                  : (writable ? FS_FILE_WRITE : FS_FILE_READ);
        struct landlock_path_beneath_attr rule = {.allowed_access = allowed & handled,
                                                  .parent_fd = fd};
        (void)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    }
    close(fd);
}

static void add_rules(int rules, const struct ruleset *set, const struct op_sandbox *box)
{
    for (size_t i = 0; i < OP_COUNT(always_read); i++)
        add_path(rules, set->fs, open(always_read[i], O_PATH | O_CLOEXEC), false);
    for (size_t i = 0; i < OP_COUNT(always_write); i++)
        add_path(rules, set->fs, open(always_write[i], O_PATH | O_CLOEXEC), true);
    for (size_t i = 0; i < box->path_count; i++)
        add_path(rules, set->fs, open_nearest(box->paths[i].path), box->paths[i].writable);
    struct port_rule dns = {NET_CONNECT_TCP, DNS_PORT};
    for (size_t i = 0; set->net && i <= box->port_count; i++) {
        struct port_rule port = dns;
        if (i < box->port_count)
            port.port = box->ports[i];
        (void)syscall(SYS_landlock_add_rule, rules, RULE_NET_PORT, &port, 0);
    }
}

static void confine_files(const struct op_sandbox *box)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < ABI_OLDEST)
        return;
    state.landlock = (int)abi;
    struct ruleset set = {
        .fs = FS_ABI_2 | (abi >= 3 ? FS_TRUNCATE : 0) | (abi >= 5 ? FS_IOCTL_DEV : 0),
        .net = abi >= 4 && !box->any_port ? NET_CONNECT_TCP : 0,
    };
    /* A kernel that does not know net takes the longer struct as long as it is 0. */
    int rules = (int)syscall(SYS_landlock_create_ruleset, &set, sizeof(set), 0);
    if (rules < 0)
        return;
    add_rules(rules, &set, box);
    if (syscall(SYS_landlock_restrict_self, rules, 0) == 0) {
        state.files = true;
        state.tcp = set.net != 0;
    }
    close(rules);
}

/* --- seccomp ------------------------------------------------------------------------------ */

/* What the program, libcurl, OpenSSL, SQLite, libmicrohttpd and the C library ask for. Not among
 * them, and refused with all others: execve, fork, ptrace, mount, bpf, userfaultfd, io_uring,
 * keyctl, process_vm_*, open_by_handle_at, module and clock calls. */
static const char *const calls[] = {
    /* files */
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "open",
    "openat",
    "openat2",
    "close",
    "close_range",
    "stat",
    "fstat",
    "lstat",
    "newfstatat",
    "statx",
    "statfs",
    "fstatfs",
    "access",
    "faccessat",
    "faccessat2",
    "lseek",
    "fcntl",
    "flock",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "ftruncate",
    "truncate",
    "fallocate",
    "fadvise64",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "getdents64",
    "readlink",
    "readlinkat",
    "getcwd",
    "umask",
    "fchmod",
    "fchown",
    "dup",
    "dup2",
    "dup3",
    "pipe",
    "pipe2",
    "copy_file_range",
    "sendfile",
    "memfd_create",
    "utimensat",
    /* memory */
    "brk",
    "munmap",
    "mremap",
    "madvise",
    "mlock",
    "munlock",
    "mincore",
    "membarrier",
    /* the network */
    "connect",
    "bind",
    "listen",
    "accept",
    "accept4",
    "sendto",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "sendmmsg",
    "recvmmsg",
    "shutdown",
    "getsockname",
    "getpeername",
    "setsockopt",
    "getsockopt",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "eventfd2",
    /* threads, signals, time */
    "exit",
    "exit_group",
    "futex",
    "set_robust_list",
    "rseq",
    "sched_yield",
    "sched_getaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigtimedwait",
    "rt_sigpending",
    "rt_sigsuspend",
    "sigaltstack",
    "restart_syscall",
    "pause",
    "kill",
    "tgkill",
    "wait4",
    "waitid",
    "nanosleep",
    "clock_nanosleep",
    "clock_gettime",
    "clock_getres",
    "gettimeofday",
    "time",
    /* who and where we are */
    "getpid",
    "getppid",
    "gettid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getpgrp",
    "getpgid",
    "getrlimit",
    "getrusage",
    "sysinfo",
    "uname",
    "getrandom",
    "getcpu",
};

static bool add_call(scmp_filter_ctx filter, const char *name)
{
    int number = seccomp_syscall_resolve_name(name);
    return number == __NR_SCMP_ERROR || /* not on this machine, or newer than the library */
           seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0) == 0;
}

/* A use that is allowed: all of the comparisons hold. */
#define WHERE(name, ...) \
    (seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(name), 1, __VA_ARGS__) == 0)

/* Calls of which some uses are refused. */
static bool add_conditions(scmp_filter_ctx filter, bool kill)
{
    static const unsigned long ioctls[] = {
        TCGETS,     0x802C542A, /* TCGETS2 of newer isatty() */
        TIOCGWINSZ, TIOCGPGRP,  FIONREAD, FIONBIO};
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    static const int names[] = {PR_SET_NAME, PR_GET_NAME, 0x53564d41 /* PR_SET_VMA: a name */};
    const uint64_t wx = PROT_WRITE | PROT_EXEC;
    bool ok = true;
    /* Threads, but no processes. clone3 hides its flags in memory; the C library then takes
     * clone. */
    ok = ok && WHERE(clone, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    if (kill) /* else it is refused like this anyhow, and libseccomp takes no rule for that */
        ok = ok && !seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    /* No memory is writable and executable at once, or made executable afterwards. */
    ok = ok && WHERE(mmap, SCMP_A2(SCMP_CMP_MASKED_EQ, wx, 0));
    ok = ok && WHERE(mmap, SCMP_A2(SCMP_CMP_MASKED_EQ, wx, PROT_WRITE));
    ok = ok && WHERE(mmap, SCMP_A2(SCMP_CMP_MASKED_EQ, wx, PROT_EXEC));
    ok = ok && WHERE(mprotect, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* Limits are read, not set: a core file stays forbidden. */
    ok = ok && WHERE(prlimit64, SCMP_A2(SCMP_CMP_EQ, 0));
    for (size_t i = 0; i < OP_COUNT(names); i++)
        ok = ok && WHERE(prctl, SCMP_A0(SCMP_CMP_EQ, (uint64_t)names[i]));
    /* Not TIOCSTI, which types into the terminal. */
    for (size_t i = 0; i < OP_COUNT(ioctls); i++)
        ok = ok && WHERE(ioctl, SCMP_A1(SCMP_CMP_EQ, ioctls[i]));
    for (size_t i = 0; i < OP_COUNT(families); i++) {
        ok = ok && WHERE(socket, SCMP_A0(SCMP_CMP_EQ, (uint64_t)families[i]));
        ok = ok && WHERE(socketpair, SCMP_A0(SCMP_CMP_EQ, (uint64_t)families[i]));
    }
    return ok;
}

static void confine_calls(bool kill)
{
    /* ENOSYS and not EPERM: the C library takes it for an older kernel and asks in another way. */
    scmp_filter_ctx filter =
        seccomp_init(kill ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(ENOSYS));
    if (!filter)
        return;
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    bool ok = add_conditions(filter, kill);
    for (size_t i = 0; ok && i < OP_COUNT(calls); i++)
        ok = add_call(filter, calls[i]);
    if (ok && seccomp_load(filter) == 0) {
        state.calls = true;
        state.kills = kill;
    }
    seccomp_release(filter);
}

/* A debugger or tracer may replace the number of a call by -1 to make it fail, and that is on no
 * list. */
static bool is_traced(void)
{
    char line[128];
    bool traced = false;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, "TracerPid:", 10) == 0)
            traced = strspn(line + 10, "\t 0\n") != strlen(line + 10);
    if (file)
        (void)fclose(file);
    return traced;
}

void op_sandbox_enter(const struct op_sandbox *box)
{
    const char *mode = getenv(OP_SANDBOX_ENV);
    mode = mode ? mode : "";
    if (state.entered)
        return;
    if (SANITIZED || strcmp(mode, "off") == 0) {
        state.why_not =
            SANITIZED ? "this program was built with a sanitizer" : OP_SANDBOX_ENV "=off";
        return;
    }
    state.entered = true;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return; /* Linux before 3.5; neither of them is there then */
    confine_files(box);
    confine_calls(strcmp(mode, "kill") == 0 && !is_traced());
}
