/* SPDX-License-Identifier: MIT */
#include "core/price.h"

#include <string.h>

#define MILLION 1000000

static int64_t add_saturating(int64_t a, int64_t b)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return a < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

/* How well a row's model name fits: 0 not at all, else grows with the length of what matched; an
 * exact name beats a pattern of the same length. */
static size_t match_rank(const char *pattern, const char *model)
{
    size_t len = strlen(pattern);
    if (len > 0 && pattern[len - 1] == '*')
        return strncmp(pattern, model, len - 1) == 0 ? 2 * (len - 1) + 1 : 0;
    return strcmp(pattern, model) == 0 ? 2 * len + 2 : 0;
}

const struct op_price *op_price_find(const struct op_price_list *list, const char *provider,
                                     const char *model, int64_t prompt_tokens)
{
    const struct op_price *best = NULL;
    size_t best_rank = 0;
    /* Gemini's full name of a model is its short one behind this. */
    if (strncmp(model, "models/", 7) == 0)
        model += 7;
    for (size_t i = 0; i < list->count; i++) {
        const struct op_price *row = &list->rows[i];
        size_t rank = strcmp(row->provider, provider) == 0 ? match_rank(row->model, model) : 0;
        if (rank == 0 || rank < best_rank)
            continue;
        /* A better name wins even when none of its tiers holds the prompt: the price of a whole
         * family must not stand in for a model that is listed by itself. */
        if (rank > best_rank) {
            best_rank = rank;
            best = NULL;
        }
        if (row->max_prompt >= prompt_tokens && (!best || row->max_prompt < best->max_prompt))
            best = row;
    }
    return best;
}

int64_t op_price_cost(const struct op_price *price, bool batch, const struct op_usage *usage)
{
    const int64_t *rates = batch ? price->batch : price->realtime;
    /* Five products of two positive int64 are below 5 * 2^126 < 2^128: no step can overflow. */
    unsigned __int128 sum = 0;
    for (int kind = 0; kind < OP_TOKEN_KIND_COUNT; kind++) {
        /* A negative count or price cannot be earned money; it is a provider's nonsense. */
        if (usage->tokens[kind] > 0 && rates[kind] > 0)
            sum += (unsigned __int128)usage->tokens[kind] * (uint64_t)rates[kind];
    }
    sum = (sum + MILLION / 2) / MILLION;
    return sum > INT64_MAX ? INT64_MAX : (int64_t)sum;
}

int64_t op_usage_prompt(const struct op_usage *usage)
{
    int64_t sum = 0;
    for (int kind = 0; kind < OP_TOKEN_KIND_COUNT; kind++) {
        if (kind != OP_TOKEN_OUTPUT)
            sum = add_saturating(sum, usage->tokens[kind]);
    }
    return sum;
}

void op_usage_add(struct op_usage *sum, const struct op_usage *more)
{
    for (int kind = 0; kind < OP_TOKEN_KIND_COUNT; kind++)
        sum->tokens[kind] = add_saturating(sum->tokens[kind], more->tokens[kind]);
}

static size_t sum_of_bytes(uint64_t bytes)
{
    uint64_t pairs = (bytes & 0x00ff00ff00ff00ffu) + (bytes >> 8 & 0x00ff00ff00ff00ffu);
    return (size_t)(pairs * 0x0001000100010001u >> 48);
}

int64_t op_tokens_estimate(const char *ptr, size_t len)
{
    size_t other = 0, i = 0;
    /* Sixteen bytes at a time, each counted in a byte of its own, which holds 255: this runs over
     * every byte that is ever sent. */
    while (len - i >= 16) {
        size_t turns = (len - i) / 16;
        uint64_t low = 0, high = 0;
        for (turns = turns < 255 ? turns : 255; turns > 0; turns--, i += 16) {
            uint64_t words[2];
            memcpy(words, ptr + i, sizeof(words));
            low += words[0] >> 7 & 0x0101010101010101u;
            high += words[1] >> 7 & 0x0101010101010101u;
        }
        other += sum_of_bytes(low) + sum_of_bytes(high);
    }
    for (; i < len; i++)
        other += (unsigned char)ptr[i] >= 0x80;
    /* An ASCII byte is 1/3.5 = 4/14 of a token, any other byte 1/2 = 7/14; rounded up. Weighing
     * byte by byte needs no guess at the language and has no jump at some share of ASCII. */
    size_t ascii = len - other;
    unsigned __int128 tokens =
        ((unsigned __int128)ascii * 4 + (unsigned __int128)other * 7 + 13) / 14;
    return tokens > INT64_MAX ? INT64_MAX : (int64_t)tokens;
}
