/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_FETCH_H
#define OP_ENGINE_FETCH_H

/*
 * Model:     the result files of a batch, raw, durable in the spool before a byte of them is looked
 *            at (R3, reference/reliability.md 3.7.1).
 * Ownership: struct op_parts owns its files' strings.
 */

#include "engine/work.h"

struct op_parts {
    struct op_result_file *files; /* batch_id is the caller's to set */
    size_t count;
    int64_t twins_microusd; /* what those of twins cost (twins.c) */
};
void op_parts_release(struct op_parts *parts);

/* Fetches every part; the first is numbered `first` and named result/<prefix>-<first>-<sha12>. */
OP_MUST_CHECK enum op_rc op_parts_fetch(struct op_engine *engine, const struct op_lane *lane,
                                        const struct op_remote_batch *remote,
                                        const char *prefix, int64_t first, struct op_parts *ret,
                                        struct op_err *err);
/* The first number from `from` on that the batch has no result file of. */
OP_MUST_CHECK enum op_rc op_parts_count(struct op_engine *engine, int64_t batch_id,
                                        int64_t from, int64_t *ret_next, struct op_err *err);

#endif
