/* SPDX-License-Identifier: MIT */
#include "core/retry.h"

#define POLL_MIN_MS (2 * 1000LL)
#define POLL_MAX_MS (5 * 60 * 1000LL)
/* A batch is asked again when it has aged by a twentieth: an answer is noticed at most 5 % late,
 * and a batch of a day costs some 350 polls, not 43,000. */
#define POLL_SHARE 20
/* A batch from the future: this machine's clock is behind, and how old the batch is nobody knows.
 * It may be so for a day, and a poll every two seconds would be 43,000. */
#define POLL_AHEAD_MS   (60 * 1000LL)
#define POLL_UNKNOWN_MS (60 * 1000LL)

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    if (value < low)
        return low;
    return value > high ? high : value;
}

int64_t op_retry_delay_ms(int tries, int64_t retry_after_ms, uint32_t random)
{
    if (retry_after_ms >= 0)
        return clamp(retry_after_ms, OP_RETRY_MIN_MS, OP_RETRY_MAX_MS);

    int64_t cap = OP_RETRY_MIN_MS;
    for (int i = 0; i < tries && cap < OP_RETRY_MAX_MS; i++)
        cap *= 2;
    cap = clamp(cap, OP_RETRY_MIN_MS, OP_RETRY_MAX_MS);
    /* Full jitter: anywhere between the floor and the cap, so that workers that failed together
     * do not come back together. */
    uint64_t span = (uint64_t)(cap - OP_RETRY_MIN_MS) + 1;
    return OP_RETRY_MIN_MS + (int64_t)(span * random >> 32);
}

int64_t op_poll_delay_ms(int64_t age_ms, int64_t hint_ms, int64_t fixed_ms)
{
    /* The operator has the last word, also over the server's hint: tests and demos depend on it,
     * and a poll too many is answered by 429, which waits. */
    if (fixed_ms > 0)
        return fixed_ms;
    if (hint_ms >= 0)
        return clamp(hint_ms, OP_RETRY_MIN_MS, OP_RETRY_MAX_MS);
    if (age_ms < -POLL_AHEAD_MS)
        return POLL_UNKNOWN_MS;
    return clamp(age_ms / POLL_SHARE, POLL_MIN_MS, POLL_MAX_MS);
}
