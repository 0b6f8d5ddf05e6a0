/* SPDX-License-Identifier: MIT */
#include "core/calibration.h"

/* Beyond this the sums are halved: they stay far from overflow, and models that change their
 * tokenizer under a name are followed. */
#define SUM_MAX (1LL << 40)

static int64_t thousandths(int64_t part, int64_t whole)
{
    __int128 n = ((__int128)part * 1000 + whole / 2) / whole;
    return n > INT64_MAX ? INT64_MAX : (int64_t)n;
}

void op_calibration_add(struct op_calibration *c, int64_t estimated, int64_t billed)
{
    if (estimated <= 0 || billed <= 0 || estimated > SUM_MAX || billed > SUM_MAX)
        return;
    int64_t ratio = thousandths(billed, estimated);
    if (!c->batches || ratio < c->low)
        c->low = ratio;
    if (!c->batches || ratio > c->high)
        c->high = ratio;
    c->batches++;
    c->estimated += estimated;
    c->billed += billed;
    if (c->estimated > SUM_MAX || c->billed > SUM_MAX) {
        c->estimated = c->estimated / 2 + 1;
        c->billed = c->billed / 2 + 1;
    }
}

int64_t op_calibration_apply(const struct op_calibration *c, int64_t estimated)
{
    if (!c->batches || c->estimated <= 0 || c->billed <= 0 || estimated <= 0)
        return estimated;
    __int128 n = ((__int128)estimated * c->billed + c->estimated - 1) / c->estimated;
    return n > INT64_MAX ? INT64_MAX : (int64_t)n;
}

void op_calibration_error(const struct op_calibration *c, int64_t *ret_low, int64_t *ret_high)
{
    *ret_low = *ret_high = 0;
    if (!c->batches || c->estimated <= 0 || c->billed <= 0)
        return;
    int64_t mean = thousandths(c->billed, c->estimated);
    if (mean <= 0)
        return;
    /* Old extremes may lie on one side of a mean that has moved. */
    *ret_low = c->low < mean ? 1000 - thousandths(c->low, mean) : 0;
    *ret_high = c->high > mean ? thousandths(c->high, mean) - 1000 : 0;
}
