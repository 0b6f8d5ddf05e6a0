/* SPDX-License-Identifier: MIT */

/*
 * Runs a program and tells what it took, as JSON in FILE. A small program of its own, because Linux
 * counts the memory of the process that forked into ru_maxrss, and that would be Python's.
 *
 *     limit-measure FILE PROGRAM [ARGUMENT]...
 */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: limit-measure FILE PROGRAM [ARGUMENT]...\n", stderr);
        return 2;
    }
    double start = now();
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    int status = 0;
    struct rusage usage;
    if (pid < 0 || wait4(pid, &status, 0, &usage) != pid) {
        perror("limit-measure");
        return 1;
    }
    double wall = now() - start;
    FILE *out = fopen(argv[1], "w");
    if (!out) {
        perror(argv[1]);
        return 1;
    }
    fprintf(out,
            "{\"wall\":%.6f,\"user\":%.6f,\"sys\":%.6f,\"rss_kib\":%ld,\"exit\":%d,"
            "\"signal\":%d}\n",
            wall, seconds(usage.ru_utime), seconds(usage.ru_stime), usage.ru_maxrss,
            WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return fclose(out) ? 1 : 0;
}
