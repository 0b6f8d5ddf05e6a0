/* SPDX-License-Identifier: MIT */
/*
 * Where targets are run from: libFuzzer, or a replay of files (usage below). Replaying a folder that
 * is not there is a failure, so that no target goes without a corpus unnoticed.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdarg.h>
#include <string.h>

static struct fuzz_target *targets;

void fuzz_add(struct fuzz_target *target)
{
    target->next = targets;
    targets = target;
}

void fuzz_show(const char *fmt, ...)
{
    static const char *wanted = "";
    if (wanted && !*wanted)
        wanted = getenv("FUZZ_SHOW");
    if (!wanted)
        return;
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
}

static bool keeps_blocks;

void fuzz_keeps_blocks(void)
{
    keeps_blocks = true;
}

static void run(const struct fuzz_target *target, const void *ptr, size_t len)
{
    char *copy = malloc(len ? len : 1);
    if (!copy)
        abort();
    if (len)
        memcpy(copy, ptr, len);
    static bool is_warm; /* the first run may make what all runs share */
    int64_t before = op_mem_live();
    target->run(&(struct fuzz_input){copy, len});
    FUZZ_CHECK(!is_warm || keeps_blocks || op_mem_live() == before, "%lld blocks are left",
               (long long)(op_mem_live() - before));
    is_warm = true;
    free(copy);
}

#ifdef FUZZ_ENGINE
int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    run(targets, ptr, len);
    return 0;
}
#else

static int replay_file(const struct fuzz_target *target, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return -1;
    }
    struct op_buf text;
    op_buf_init(&text, 64 * 1024 * 1024);
    size_t n;
    do {
        op_buf_grow(&text, 1 << 16);
        n = fread(text.ptr + text.len, 1, 1 << 16, file);
        text.len += n;
    } while (n);
    fclose(file);
    /* On stderr at a failure only: the last one begun is the one that failed. */
    if (getenv("FUZZ_VERBOSE"))
        fprintf(stderr, "%s\n", path);
    run(target, text.ptr, text.len);
    op_buf_release(&text);
    return 1;
}

/* The number of files replayed; -1: one cannot be read. */
static int replay(const struct fuzz_target *target, const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return replay_file(target, path);
    int count = 0;
    for (struct dirent *entry = readdir(dir); entry && count >= 0; entry = readdir(dir)) {
        if (entry->d_name[0] == '.')
            continue;
        OP_CLEANUP(op_mem_freep) char *file = op_mem_printf("%s/%s", path, entry->d_name);
        int n = replay_file(target, file);
        count = n < 0 ? n : count + n;
    }
    closedir(dir);
    return count;
}

static int usage(const char *program)
{
    fprintf(stderr, "usage: %s TARGET FILE-OR-FOLDER...\ntargets:", program);
    for (const struct fuzz_target *t = targets; t; t = t->next)
        fprintf(stderr, " %s", t->name);
    fputc('\n', stderr);
    return 2;
}

int main(int argc, char **argv)
{
    const struct fuzz_target *target = argc > 2 ? targets : NULL;
    while (target && strcmp(target->name, argv[1]) != 0)
        target = target->next;
    if (!target)
        return usage(argv[0]);
    int total = 0;
    for (int i = 2; i < argc; i++) {
        int count = replay(target, argv[i]);
        if (count < 0)
            return 1;
        total += count;
    }
    printf("%s: %d inputs replayed\n", target->name, total);
    return total ? 0 : 1;
}
#endif
