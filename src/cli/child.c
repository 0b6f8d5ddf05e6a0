/* SPDX-License-Identifier: MIT */
#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "provider/provider.h"

#define DEFAULT_SPEED 200
/* A killed command's emulator may need a moment to let go of its folder. */
#define BUSY_TRIES  20
#define BUSY_NAP_MS 50
#define END_TRIES   100

struct op_child {
    pid_t pid;
    char url[256];
};

static void nap_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    (void)nanosleep(&t, NULL);
}

static bool is_named(const char *entry, const char *name)
{
    size_t len = name ? strlen(name) : 0;
    return name && strncmp(entry, name, len) == 0 && entry[len] == '=';
}

static bool is_key(const char *entry)
{
    const struct op_provider_ops *const *all = op_providers();
    for (size_t i = 0; all[i]; i++)
        if (is_named(entry, all[i]->key_env) || is_named(entry, all[i]->key_env_2))
            return true;
    return false;
}

/* The environment without provider keys, and without the fault point meant for the parent. */
static char **clean_environment(void)
{
    size_t count = 0, kept = 0;
    while (environ[count])
        count++;
    char **list = op_mem_array(count + 2, sizeof(*list));
    for (size_t i = 0; i < count; i++)
        if (!is_key(environ[i]) && strncmp(environ[i], "OFFPEAK_FAULT=", 14) != 0)
            list[kept++] = environ[i];
    static char mark[] = OP_CHILD_ENV "=1";
    list[kept] = mark;
    return list;
}

struct launch {
    char *argv[16];
    char **environment;
    int out;
    pid_t parent;
};

static _Noreturn void run_child(const struct launch *launch)
{
    /* Killed, not asked: the emulator survives a kill at any instruction, and nobody is left
     * who could wait for it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != launch->parent)
        _exit(1);
    setpgid(0, 0); /* Ctrl-C is for the command, which may still need it */
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    dup2(launch->out, STDOUT_FILENO);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    execve("/proc/self/exe", launch->argv, launch->environment);
    fprintf(stderr, "offpeak: cannot start the emulator: %s\n", strerror(errno));
    _exit(1);
}

/* The first line of the child's stdout, "listening on URL". */
static bool read_url(int fd, char *ret, size_t room)
{
    char line[300];
    size_t len = 0;
    while (len + 1 < sizeof(line)) {
        ssize_t n = read(fd, line + len, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || line[len] == '\n')
            break;
        len++;
    }
    line[len] = '\0';
    static const char intro[] = "listening on ";
    if (strncmp(line, intro, sizeof(intro) - 1) != 0)
        return false;
    return snprintf(ret, room, "%s", line + sizeof(intro) - 1) > 0;
}

static enum op_rc launch_one(struct launch *launch, struct op_child *child, int *ret_code,
                             struct op_err *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return op_fail_errno(err, OP_IO, "cannot start the emulator");
    launch->out = fds[1];
    launch->parent = getpid();
    child->pid = fork();
    if (child->pid == 0)
        run_child(launch);
    close(fds[1]);
    enum op_rc rc =
        child->pid < 0 ? op_fail_errno(err, OP_IO, "cannot start the emulator") : OP_OK;
    if (!rc && !read_url(fds[0], child->url, sizeof(child->url))) {
        int status = 0;
        while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
            ;
        *ret_code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        child->pid = 0;
        rc = OP_REMOTE;
    }
    close(fds[0]);
    return rc;
}

enum op_rc op_child_start(const struct op_args *args, const char *state_dir,
                          struct op_child **ret, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *dir = op_io_join(state_dir, "emulator");
    OP_CLEANUP(op_mem_freep)
    char *speed = op_mem_printf("%.6g", args->emulate_speed > 0 ? args->emulate_speed
                                                                : (double)DEFAULT_SPEED);
    struct launch launch = {.environment = clean_environment()};
    const char *argv[OP_COUNT(launch.argv)] = {"offpeak", "emulate", "--listen", "127.0.0.1:0",
                                               "--dir",   dir,       "--speed",  speed};
    size_t n = 8;
    if (args->emulate_faults) {
        argv[n++] = "--faults";
        argv[n++] = args->emulate_faults;
    }
    if (args->emulate_answers) {
        argv[n++] = "--answers";
        argv[n++] = args->emulate_answers;
    }
    memcpy(launch.argv, argv, sizeof(argv));
    struct op_child *child = op_mem_alloc(sizeof(*child));
    enum op_rc rc = op_io_mkdirs(op_env_default(), state_dir, err);
    int code = 0;
    for (int tries = 0; !rc; tries++) {
        rc = launch_one(&launch, child, &code, err);
        if (rc != OP_REMOTE || code != OP_EXIT_BUSY || tries >= BUSY_TRIES)
            break;
        rc = OP_OK;
        nap_ms(BUSY_NAP_MS);
    }
    op_mem_free(launch.environment);
    if (rc) {
        op_mem_free(child);
        if (code == OP_EXIT_BUSY)
            return op_fail_as(err, OP_BUSY, OP_DISP_RETRY,
                              "another offpeak command uses the emulator in %s; wait for it to "
                              "end, or choose another --state",
                              dir);
        return op_fail(err, OP_INVAL, "the emulator did not start (its reason stands above)");
    }
    *ret = child;
    return OP_OK;
}

const char *op_child_url(const struct op_child *child)
{
    return child->url;
}

void op_child_stop(struct op_child *child)
{
    if (!child)
        return;
    if (child->pid > 0) {
        kill(child->pid, SIGTERM);
        for (int i = 0; i < END_TRIES && waitpid(child->pid, NULL, WNOHANG) == 0; i++) {
            nap_ms(i < 10 ? 2 : BUSY_NAP_MS);
            if (i == END_TRIES - 1)
                kill(child->pid, SIGKILL);
        }
    }
    op_mem_free(child);
}
