/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_WALK_H
#define OP_ENGINE_WALK_H

/*
 * Model:     one pass over a job's records, composing every request: what planning and estimating
 *            have in common.
 * Errors:    a visitor's error ends the walk.
 */

#include "engine/work.h"

struct op_walk {
    struct op_work *work;
    void *arg;
    /* a record that is to be asked */
    enum op_rc (*record)(void *arg, const struct op_record *record, struct op_err *err);
    /* one of its requests; params live until the next call */
    enum op_rc (*request)(void *arg, const struct op_record *record, int name,
                          struct op_str params, struct op_err *err);
    op_skipped_fn skipped;
    int64_t done, bad; /* filled: left out as done, as malformed */
};

OP_MUST_CHECK enum op_rc op_walk(struct op_walk *walk, struct op_err *err);

#endif
