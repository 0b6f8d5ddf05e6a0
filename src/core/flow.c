/* SPDX-License-Identifier: MIT */
#include "core/flow.h"

#include "core/retry.h"

#define MILLI 1000

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    if (value < low)
        return low;
    return value > high ? high : value;
}

void op_flow_init(struct op_flow *flow, int64_t most, int64_t interval_ms)
{
    *flow = (struct op_flow){.most = most > 0 ? most : 1, .interval_ms = interval_ms};
    flow->window_milli = clamp(OP_FLOW_FIRST, 1, flow->most) * MILLI;
}

int64_t op_flow_window(const struct op_flow *flow)
{
    return clamp(flow->window_milli / MILLI, 1, flow->most);
}

/* A budget that is used up opens with the next answer, which says anew what is left; with nobody
 * under way only time opens it. */
static bool is_spent(const struct op_flow_budget *budget, int64_t now_ms, int64_t need,
                     int64_t under_way, int64_t *ret_when_ms)
{
    if (now_ms >= budget->until_ms || budget->left >= need)
        return false;
    *ret_when_ms = under_way > 0 ? INT64_MAX : budget->until_ms;
    return true;
}

bool op_flow_may_start(const struct op_flow *flow, int64_t now_ms, int64_t under_way,
                       int64_t tokens, int64_t *ret_when_ms)
{
    if (under_way >= op_flow_window(flow)) {
        *ret_when_ms = INT64_MAX;
        return false;
    }
    int64_t from = flow->hold_ms > flow->next_ms ? flow->hold_ms : flow->next_ms;
    if (now_ms < from) {
        *ret_when_ms = from;
        return false;
    }
    return !is_spent(&flow->requests, now_ms, 1, under_way, ret_when_ms) &&
           !is_spent(&flow->tokens, now_ms, tokens, under_way, ret_when_ms);
}

int64_t op_flow_started(struct op_flow *flow, int64_t now_ms, int64_t tokens)
{
    flow->next_ms = now_ms + flow->interval_ms;
    flow->requests.left--;
    flow->tokens.left -= tokens;
    return flow->epoch;
}

void op_flow_answered(struct op_flow *flow, int64_t under_way)
{
    flow->refusals = 0;
    /* A window that is not used is not tried out, so it does not open. */
    if (under_way < op_flow_window(flow))
        return;
    int64_t round = (MILLI * MILLI + flow->window_milli - 1) / flow->window_milli;
    int64_t more = flow->is_learned ? round : MILLI;
    flow->window_milli = clamp(flow->window_milli + more, MILLI, flow->most * MILLI);
}

void op_flow_refused(struct op_flow *flow, int64_t now_ms, int64_t epoch,
                     int64_t retry_after_ms, uint32_t random)
{
    bool is_news = epoch == flow->epoch;
    if (is_news) {
        flow->epoch++;
        flow->refusals++;
        flow->is_learned = true;
        flow->window_milli = clamp(flow->window_milli / 2, MILLI, flow->most * MILLI);
    }
    /* The server's word counts from every refusal; our own guess only once a burst. */
    if (!is_news && retry_after_ms < 0)
        return;
    int64_t until = now_ms + op_retry_delay_ms(flow->refusals, retry_after_ms, random);
    if (until > flow->hold_ms)
        flow->hold_ms = until;
}

void op_flow_told(struct op_flow_budget *budget, int64_t left, int64_t under_way,
                  int64_t until_ms)
{
    budget->left = left - under_way;
    budget->until_ms = until_ms;
}
