/* SPDX-License-Identifier: MIT */
#include "core/window.h"

static int64_t at_least_0(int64_t value)
{
    return value > 0 ? value : 0;
}

static int64_t plus(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(at_least_0(a), at_least_0(b), &sum) ? INT64_MAX : sum;
}

void op_window_refused(struct op_window *w, int64_t queued, int64_t tokens, int64_t told,
                       int64_t now_ms)
{
    w->learned_ms = now_ms;
    w->named = told > 0;
    if (told > 0) {
        w->limit = told;
        return;
    }
    int64_t tried = plus(queued, tokens);
    if (w->limit > 0 && w->limit < tried)
        tried = w->limit;
    int64_t half = tried / 2;
    /* What is in the queue was taken, so at least that much fits. */
    w->limit = half > queued ? half : queued;
    if (w->limit < 1)
        w->limit = 1;
}

bool op_window_passed(struct op_window *w, int64_t queued, int64_t tokens, int64_t now_ms)
{
    bool firm = w->named && now_ms - w->learned_ms < OP_WINDOW_NAMED_MS;
    bool full = plus(queued, tokens) > w->limit;
    if (w->limit <= 0 || tokens <= 0 || firm || !full)
        return false;
    /* tokens * tokens / limit, so that a whole window of such batches adds one of them. */
    int64_t more = (int64_t)((__int128)tokens * tokens / w->limit);
    w->limit = plus(w->limit, more > 0 ? more : 1);
    w->named = false;
    w->learned_ms = now_ms;
    return true;
}

bool op_window_fits(const struct op_window *w, int64_t queued, int64_t tokens)
{
    return w->limit <= 0 || queued <= 0 || plus(queued, tokens) <= w->limit;
}

int64_t op_window_batch(const struct op_window *w)
{
    if (w->limit <= 0)
        return 0;
    return w->limit >= OP_WINDOW_SHARE ? w->limit / OP_WINDOW_SHARE : 1;
}
