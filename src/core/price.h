/* SPDX-License-Identifier: MIT */
#ifndef OP_CORE_PRICE_H
#define OP_CORE_PRICE_H

/*
 * Model:     what tokens cost, exactly, in integer micro-dollars. A price is explicit per model,
 *            kind of token and prompt-length tier, dated with the day it was read; nothing is
 *            derived from a multiplier, because providers change them per model.
 *            USD per million tokens = micro-dollars per token, so prices are held as
 *            micro-dollars per million tokens and sums are rounded half up once per request.
 * Threads:   pure functions over plain data.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum op_token_kind {
    OP_TOKEN_INPUT,    /* uncached input */
    OP_TOKEN_WRITE_5M, /* cache write, 5 minutes */
    OP_TOKEN_WRITE_1H, /* cache write, 1 hour */
    OP_TOKEN_READ,     /* cache read */
    OP_TOKEN_OUTPUT,
    OP_TOKEN_KIND_COUNT,
};

struct op_usage {
    int64_t tokens[OP_TOKEN_KIND_COUNT];
};

/* One row of prices.yaml: realtime and batch, for prompts of at most max_prompt tokens. */
struct op_price {
    const char *provider;
    const char *model;                     /* exact id or a prefix ending in '*' */
    int64_t max_prompt;                    /* INT64_MAX: no tier above */
    int64_t realtime[OP_TOKEN_KIND_COUNT]; /* micro-dollars per million tokens */
    int64_t batch[OP_TOKEN_KIND_COUNT];
    char as_of[11]; /* "2026-11-20" */
};

struct op_price_list {
    struct op_price *rows; /* in file order; the first row that matches wins */
    size_t count;
};

/* The row for a model and a prompt length (cache reads and writes count); NULL when unknown: the
 * longest matching model name wins, then the smallest tier that holds the prompt. */
const struct op_price *op_price_find(const struct op_price_list *list, const char *provider,
                                     const char *model, int64_t prompt_tokens);

/* Cost of usage in micro-dollars, rounded half up; saturates at INT64_MAX. */
int64_t op_price_cost(const struct op_price *price, bool batch, const struct op_usage *usage);
int64_t op_usage_prompt(const struct op_usage *usage); /* input + writes + reads */
void op_usage_add(struct op_usage *sum, const struct op_usage *more);

/* A token estimate without a tokenizer: bytes -> tokens, deliberately a little high
 * (3.5 bytes per token for mostly-ASCII text, 2 for other scripts; docs/design/money.md). */
int64_t op_tokens_estimate(const char *ptr, size_t len);

#endif
