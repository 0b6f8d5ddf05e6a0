/* SPDX-License-Identifier: MIT */
#ifndef OP_TESTS_FUZZ_MEMORY_FILES_H
#define OP_TESTS_FUZZ_MEMORY_FILES_H

/*
 * Model:     an op_env whose files are in memory, so that a reader of files is fuzzed without a disk.
 *            There is one flat name space; folders always exist. A read yields at most `step` bytes,
 *            so that a window's edge falls anywhere. The clock stands still, randomness repeats.
 * Threads:   one.
 */

#include <errno.h>
#include <fcntl.h>

#include "base/env.h"
#include "fuzz.h"

enum { MEMORY_FILES = 16, MEMORY_HANDLES = 32 };

struct memory_file {
    char *path; /* NULL: unlinked, or free when no handle is left */
    struct op_buf data;
    int handles;
    bool is_used;
};

struct memory_files {
    struct op_env env;
    struct op_env_ops ops;
    struct memory_file files[MEMORY_FILES];
    struct {
        struct memory_file *file; /* NULL: closed */
        size_t at;
        bool appends;
    } handles[MEMORY_HANDLES];
    size_t step;
    uint64_t seed;
};

void memory_files_init(struct memory_files *fs, size_t step);
/* Every handle must be closed. */
void memory_files_release(struct memory_files *fs);
void memory_files_put(struct memory_files *fs, const char *path, struct op_str text);
/* ptr NULL when there is none. */
struct op_str memory_files_get(const struct memory_files *fs, const char *path);

#endif
