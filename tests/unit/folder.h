/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_FOLDER_H
#define TESTS_UNIT_FOLDER_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Makes a new folder for a test below $TMPDIR, which tools/check sets to memory: what a test
 * proves about durability, it proves by the order of calls, so the waiting for a disk is for
 * nothing. */
static inline bool test_folder_make(char *ret, size_t size, const char *name)
{
    const char *base = getenv("TMPDIR");
    int len = snprintf(ret, size, "%s/op-%s-XXXXXX", base && *base ? base : "/tmp", name);
    if (len < 0 || (size_t)len >= size)
        snprintf(ret, size, "/tmp/op-%s-XXXXXX", name);
    return mkdtemp(ret);
}

#endif
