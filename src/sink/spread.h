/* SPDX-License-Identifier: MIT */
#ifndef OP_SINK_SPREAD_H
#define OP_SINK_SPREAD_H

/*
 * Model:     one outbox, many targets: the frames of a range grouped by their path, each group in
 *            the order of the outbox, in constant memory (the grouping is a sort by path hash).
 * Errors:    those of the outbox, of the work files, and of what was called.
 * Threads:   one thread at a time.
 */

#include "sink/frame.h"

typedef enum op_rc (*op_spread_fn)(void *arg, const char *path, struct op_frames *frames,
                                   struct op_err *err);

struct op_spread {
    struct op_env *env;
    const char *work_dir;
    const char *name; /* for the work file */
    const char *root; /* the folder that all paths lie in */
};

/* Calls fn once for each path that occurs. */
OP_MUST_CHECK enum op_rc op_spread_each(const struct op_spread *spread, const char *outbox,
                                        int64_t from, int64_t to, op_spread_fn fn, void *arg,
                                        struct op_err *err);

#endif
