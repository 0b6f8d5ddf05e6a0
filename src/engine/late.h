/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_LATE_H
#define OP_ENGINE_LATE_H

/*
 * Model:     a line that says there is no answer (errored, expired, canceled) does not count while an
 *            answer to the same request may still turn up, further down or in a file fetched again:
 *            a paid success is never thrown away for it (reference/reliability.md 3.7.3). So such
 *            lines are passed over, and looked for again when the batch has no more to give.
 *            Of several for one request: errored before canceled and expired, then the first.
 * Ownership: the array is an op_mem block, one entry per member.
 */

#include "engine/digest.h"

struct op_late {
    int64_t part, offset, len; /* part -1: no file has a line for this member */
    enum op_result_class class_;
};

/* members: those without a result, by id. Files that are lost are passed over. */
OP_MUST_CHECK enum op_rc op_late_find(struct op_work *work, const struct op_batch *batch,
                                      struct op_digest *digest, const struct op_member *members,
                                      size_t count, struct op_late **ret, struct op_err *err);

#endif
