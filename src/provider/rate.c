/* SPDX-License-Identifier: MIT */
#include "provider/rate.h"

#include "base/mem.h"
#include "base/time.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "1s", "6m0s", "21ms", "1h2m3.5s", "2s81ms"; a bare number counts seconds. */
static bool read_duration(struct op_str text, int64_t *ret_ms)
{
    double sum = 0;
    bool any = false;
    for (size_t i = 0; i < text.len;) {
        size_t from = i;
        while (i < text.len && (is_digit(text.ptr[i]) || text.ptr[i] == '.'))
            i++;
        double value = 0;
        if (!op_str_double((struct op_str){text.ptr + from, i - from}, &value) || value < 0)
            return false;
        size_t unit_at = i;
        while (i < text.len && !is_digit(text.ptr[i]) && text.ptr[i] != '.')
            i++;
        struct op_str unit = {text.ptr + unit_at, i - unit_at};
        if (op_str_is(unit, "ms"))
            sum += value;
        else if (op_str_is(unit, "s") || unit.len == 0)
            sum += value * OP_SECOND_MS;
        else if (op_str_is(unit, "m"))
            sum += value * OP_MINUTE_MS;
        else if (op_str_is(unit, "h"))
            sum += value * OP_HOUR_MS;
        else
            return false;
        any = true;
    }
    /* Limits are told by the minute or the day; more is nonsense. */
    if (!any || sum > 7.0 * OP_DAY_MS)
        return false;
    *ret_ms = (int64_t)sum;
    return true;
}

static bool read_reset(struct op_str text, int64_t now_ms, int64_t *ret_ms)
{
    int64_t at = 0;
    if (!text.ptr)
        return false;
    if (!op_time_parse(text, &at))
        return read_duration(text, ret_ms);
    *ret_ms = at > now_ms ? at - now_ms : 0;
    return *ret_ms <= 7 * OP_DAY_MS;
}

static void read_pair(const struct op_http_reply *reply, const char *left, const char *reset,
                      int64_t now_ms, int64_t *ret_left, int64_t *ret_reset)
{
    int64_t count = 0, ms = 0;
    if (*ret_left >= 0 || !op_str_int64(op_http_header_get(reply, left), &count) || count < 0 ||
        !read_reset(op_http_header_get(reply, reset), now_ms, &ms))
        return;
    *ret_left = count;
    *ret_reset = ms;
}

void op_rate_read(const struct op_http_reply *reply, int64_t now_ms, struct op_rate *ret)
{
    static const char *const requests[][2] = {
        {"anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"},
        {"x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"},
    };
    /* Input tokens first: what is estimated of a request is its prompt. */
    static const char *const tokens[][2] = {
        {"anthropic-ratelimit-input-tokens-remaining",
         "anthropic-ratelimit-input-tokens-reset"},
        {"anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"},
        {"x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"},
    };
    *ret = (struct op_rate){-1, -1, -1, -1};
    int64_t date = op_http_date_ms(reply);
    int64_t now = date >= 0 ? date : now_ms;
    for (size_t i = 0; i < OP_COUNT(requests); i++)
        read_pair(reply, requests[i][0], requests[i][1], now, &ret->requests_left,
                  &ret->requests_reset_ms);
    for (size_t i = 0; i < OP_COUNT(tokens); i++)
        read_pair(reply, tokens[i][0], tokens[i][1], now, &ret->tokens_left,
                  &ret->tokens_reset_ms);
}
