/* SPDX-License-Identifier: MIT */
#ifndef OP_CORE_CALIBRATION_H
#define OP_CORE_CALIBRATION_H

/*
 * Model:     what token estimates of a model were worth: the sums of what was estimated and of what
 *            was billed for the same prompts, and how far single batches lay off. An estimate is
 *            then multiplied by the ratio, and its error said.
 * Threads:   pure functions.
 */

#include <stdint.h>

struct op_calibration {
    int64_t batches;           /* 0: nothing is known yet */
    int64_t estimated, billed; /* tokens, over the same prompts */
    int64_t low, high; /* least and greatest billed / estimated of a batch, in thousandths */
};

/* A batch whose prompts were all billed. Counts that tell nothing (0 or less) are left out. */
void op_calibration_add(struct op_calibration *c, int64_t estimated, int64_t billed);
/* The estimate made better: as it is while nothing is known. Rounded up. */
int64_t op_calibration_apply(const struct op_calibration *c, int64_t estimated);
/* How far off the better estimate may be, in thousandths of it: *ret_low below, *ret_high above.
 * Both 0 while nothing is known. */
void op_calibration_error(const struct op_calibration *c, int64_t *ret_low, int64_t *ret_high);

#endif
