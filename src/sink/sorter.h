/* SPDX-License-Identifier: MIT */
#ifndef OP_SINK_SORTER_H
#define OP_SINK_SORTER_H

/*
 * Model:     any number of (key, value) pairs sorted by key, equal keys in the order they came, in
 *            constant memory: up to OP_SORTER_PAIRS of them stay in memory, more become sorted
 *            runs in one work file, merged into a second. Add, sort once, then get by index.
 * Ownership: the struct is the caller's; release frees memory and removes the work files.
 * Errors:    OP_IO naming the work file.
 * Threads:   one thread at a time.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"

#define OP_SORTER_PAIRS (256 * 1024)

struct op_pair {
    uint64_t key, value;
};

struct op_sorter {
    struct op_env *env;
    char *runs_path, *sorted_path;
    int runs_fd, sorted_fd; /* -1: not there */
    struct op_pair *pairs;  /* being filled; after sort: all, or a part of the sorted file */
    struct op_pair *spare;
    size_t used, room;
    int64_t total;
    int64_t shown; /* index of pairs[0] after sort */
};

/* name tells apart sorters that are alive at the same time in one work_dir. */
void op_sorter_init(struct op_sorter *s, struct op_env *env, const char *work_dir,
                    const char *name);
void op_sorter_release(struct op_sorter *s); /* also fine on a zeroed struct */
OP_MUST_CHECK enum op_rc op_sorter_spill(struct op_sorter *s, struct op_err *err); /* private */
OP_MUST_CHECK enum op_rc op_sorter_sort(struct op_sorter *s, struct op_err *err);
OP_MUST_CHECK enum op_rc op_sorter_load(struct op_sorter *s, int64_t index,
                                        struct op_err *err); /* private */

OP_MUST_CHECK static inline enum op_rc op_sorter_add(struct op_sorter *s, uint64_t key,
                                                     uint64_t value, struct op_err *err)
{
    if (s->used == s->room) {
        enum op_rc rc = op_sorter_spill(s, err);
        if (rc)
            return rc;
    }
    s->pairs[s->used++] = (struct op_pair){key, value};
    s->total++;
    return OP_OK;
}

/* index < total. */
OP_MUST_CHECK static inline enum op_rc op_sorter_get(struct op_sorter *s, int64_t index,
                                                     struct op_pair *ret, struct op_err *err)
{
    if (index < s->shown || index >= s->shown + (int64_t)s->used) {
        enum op_rc rc = op_sorter_load(s, index, err);
        if (rc)
            return rc;
    }
    *ret = s->pairs[index - s->shown];
    return OP_OK;
}

#endif
