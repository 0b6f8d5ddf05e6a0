/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: base/sandbox.h: behind the door, files and ports that were not named are out of reach,
 *            nothing is executed, no process is made, no memory is made executable; what was named, threads
 *            and what is open stay. With kill a refused call ends the process. Off is off.
 * Stimulus:  a child process for every attempt, since there is no way back.
 * Oracle:    the kernel's answer in the child: errno, or the signal that ended it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "../folder.h"
#include "base/mem.h"
#include "base/sandbox.h"

enum { KILLED = 1000 };

static char inside[200], outside[200];
static uint16_t allowed_port, other_port;
static int allowed_fd, other_fd, file_fd;

/* --- attempts: 0 or errno --- */

static int try_open(const char *folder, const char *name, int flags)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, flags | O_CLOEXEC, 0600);
    int failed = fd < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return failed;
}

static int write_inside(void)
{
    return try_open(inside, "new", O_WRONLY | O_CREAT);
}

static int write_below(void)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/a", inside);
    return mkdir(path, 0700) < 0 ? errno : try_open(path, "new", O_WRONLY | O_CREAT);
}

static int write_through_link(void)
{
    return try_open(inside, "link/new", O_WRONLY | O_CREAT);
}

static int read_outside(void)
{
    return try_open(outside, "file", O_RDONLY);
}

static int write_outside(void)
{
    return try_open(outside, "new", O_WRONLY | O_CREAT);
}

static int read_passwd(void)
{
    return try_open("/etc", "passwd", O_RDONLY);
}

static int read_hosts(void)
{
    return access("/etc/hosts", F_OK) == 0 ? try_open("/etc", "hosts", O_RDONLY) : 0;
}

static int use_open_file(void)
{
    char byte;
    return pread(file_fd, &byte, 1, 0) == 1 ? 0 : errno;
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ? errno : 0;
}

static int connect_allowed(void)
{
    return connect_to(allowed_port);
}

static int connect_other(void)
{
    return connect_to(other_port);
}

static int packet_socket(void)
{
    return socket(AF_PACKET, SOCK_RAW, 0) < 0 ? errno : 0;
}

static int run_program(void)
{
    char *const argv[] = {(char[]){"true"}, NULL};
    execve("/bin/true", argv, environ);
    return errno;
}

static int make_process(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid < 0 ? errno : 0;
}

static int trace_me(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 ? errno : 0;
}

static int io_uring(void)
{
    char params[256] = {0};
    return syscall(SYS_io_uring_setup, 1, params) < 0 ? errno : 0;
}

static int userfaultfd(void)
{
    return syscall(SYS_userfaultfd, O_CLOEXEC) < 0 ? errno : 0;
}

static int bpf(void)
{
    char attr[128] = {0};
    return syscall(SYS_bpf, 0, attr, sizeof(attr)) < 0 ? errno : 0;
}

static int mount_something(void)
{
    return syscall(SYS_mount, "none", inside, "tmpfs", 0, NULL) < 0 ? errno : 0;
}

static int executable_memory(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                    -1, 0);
    return at == MAP_FAILED ? errno : 0;
}

static int make_executable(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED || mprotect(at, 4096, PROT_READ | PROT_EXEC) < 0 ? errno : 0;
}

static int raise_core_limit(void)
{
    const struct rlimit some = {4096, 4096};
    return setrlimit(RLIMIT_CORE, &some) < 0 ? errno : 0;
}

static void *nothing(void *arg)
{
    return arg;
}

static int make_thread(void)
{
    pthread_t thread;
    int failed = pthread_create(&thread, NULL, nothing, NULL);
    return failed ? failed : pthread_join(thread, NULL);
}

static int new_privileges(void)
{
    char text[4096] = {0};
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t len = read(fd, text, sizeof(text) - 1);
    close(fd);
    return len > 0 && strstr(text, "NoNewPrivs:\t1\n") ? 0 : EPERM;
}

/* --- the child --- */

static struct op_sandbox_state last_state;

/* What becomes of an attempt behind the door: 0, errno, or KILLED + a signal. */
static int attempt(const char *mode, int (*what)(void), bool any_port)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct op_sandbox box = {0};
        const struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        setenv(OP_SANDBOX_ENV, mode, 1);
        op_sandbox_allow(&box, inside, true);
        op_sandbox_allow_port(&box, any_port ? 0 : allowed_port);
        op_sandbox_enter(&box);
        struct op_sandbox_state now = op_sandbox_state();
        (void)!write(fds[1], &now, sizeof(now));
        int failed = what ? what() : 0;
        _exit(failed > 255 ? 255 : failed);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &last_state, sizeof(last_state)), sizeof(last_state));
    close(fds[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : KILLED + WTERMSIG(status);
}

/* Whether this kernel and this build have what a test is about. */
static void need(bool landlock, bool seccomp)
{
    const char *preload = getenv("LD_PRELOAD");
    if (preload && strstr(preload, "vgpreload")) /* valgrind asks for calls of its own */
        skip();
    (void)attempt("on", NULL, false);
    if (!last_state.entered || (landlock && !last_state.tcp) ||
        (seccomp && !last_state.calls)) {
        print_message("no %s here: %s\n", landlock ? "Landlock with ports" : "seccomp",
                      last_state.entered ? "the kernel lacks it" : last_state.why_not);
        skip();
    }
}

static void files(void **state)
{
    (void)state;
    need(true, false);
    assert_int_equal(attempt("on", write_inside, false), 0);
    assert_int_equal(attempt("on", write_below, false), 0);
    assert_int_equal(attempt("on", read_hosts, false), 0);
    assert_int_equal(attempt("on", use_open_file, false), 0);
    assert_int_equal(attempt("on", read_outside, false), EACCES);
    assert_int_equal(attempt("on", write_outside, false), EACCES);
    assert_int_equal(attempt("on", write_through_link, false), EACCES);
    assert_int_equal(attempt("on", read_passwd, false), EACCES);
}

static void ports(void **state)
{
    (void)state;
    need(true, false);
    assert_int_equal(attempt("on", connect_allowed, false), 0);
    assert_int_equal(attempt("on", connect_other, false), EACCES);
    assert_int_equal(attempt("on", connect_other, true), 0);
    assert_false(last_state.tcp);
}

static int (*const refused[])(void) = {
    run_program,     make_process,      trace_me,        io_uring,         userfaultfd,   bpf,
    mount_something, executable_memory, make_executable, raise_core_limit, packet_socket,
};

static void calls(void **state)
{
    (void)state;
    need(false, true);
    for (size_t i = 0; i < OP_COUNT(refused); i++)
        assert_int_equal(attempt("on", refused[i], false), ENOSYS);
    assert_int_equal(attempt("on", make_thread, false), 0);
    assert_int_equal(attempt("on", new_privileges, false), 0);
}

static void calls_that_kill(void **state)
{
    (void)state;
    need(false, true);
    for (size_t i = 0; i < OP_COUNT(refused); i++)
        assert_int_equal(attempt("kill", refused[i], false), KILLED + SIGSYS);
    assert_true(last_state.kills);
    assert_int_equal(attempt("kill", make_thread, false), 0);
    assert_int_equal(attempt("kill", connect_allowed, false), 0);
}

static void off(void **state)
{
    (void)state;
    assert_int_equal(attempt("off", read_outside, false), 0);
    assert_false(last_state.entered || last_state.files || last_state.calls);
    assert_non_null(last_state.why_not);
    assert_int_equal(attempt("off", connect_other, false), 0);
}

/* --- what the attempts are about --- */

static uint16_t open_port(int *ret_fd)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof(at);
    *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(*ret_fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(*ret_fd, 8), 0);
    assert_int_equal(getsockname(*ret_fd, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.sin_port);
}

static int prepare(void **state)
{
    (void)state;
    char path[300];
    if (!test_folder_make(inside, sizeof(inside), "inside") ||
        !test_folder_make(outside, sizeof(outside), "outside"))
        return -1;
    snprintf(path, sizeof(path), "%s/file", outside);
    file_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (write(file_fd, "x", 1) != 1)
        return -1;
    snprintf(path, sizeof(path), "%s/link", inside);
    if (symlink(outside, path) < 0)
        return -1;
    allowed_port = open_port(&allowed_fd);
    other_port = open_port(&other_fd);
    return 0;
}

static int clear(void **state)
{
    (void)state;
    char command[500];
    close(allowed_fd);
    close(other_fd);
    close(file_fd);
    snprintf(command, sizeof(command), "rm -rf %s %s", inside, outside);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),           cmocka_unit_test(ports), cmocka_unit_test(calls),
        cmocka_unit_test(calls_that_kill), cmocka_unit_test(off),
    };
    return cmocka_run_group_tests(tests, prepare, clear);
}
