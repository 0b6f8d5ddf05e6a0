/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_CHAIN_H
#define OP_PIPELINE_CHAIN_H

/*
 * Model:     whom a job asks: one provider, or several in an order (`provider: gemini, mistral`),
 *            each for what the one before it has no quota left for. A chain needs a model of each:
 *            `model: gemini=NAME, mistral=NAME`; the provider may be left out where the model's
 *            name tells it, and without any model each is asked its default one.
 * Ownership: everything points to static tables or into the caller's arena.
 * Errors:    OP_INVAL that says what to add.
 * Threads:   pure functions.
 */

#include "pipeline/definition.h"
#include "pipeline/params.h"
#include "provider/provider.h"

#define OP_CHAIN_MAX 8 /* more would be a mistake */

struct op_chain {
    const struct op_provider_ops *providers[OP_CHAIN_MAX];
    size_t count; /* 1 or more; 1: no chain */
};

/* names: --provider; NULL: the requests' provider keys, else their models tell. model: --model or
 * NULL. All requests of a definition have the same chain. */
OP_MUST_CHECK enum op_rc op_chain_read(const struct op_definition *def,
                                       const struct op_params *params, const char *names,
                                       const char *model, struct op_chain *ret,
                                       struct op_err *err);
/* Whether the definition's requests can be written for several providers. */
OP_MUST_CHECK enum op_rc op_chain_check(const struct op_definition *def,
                                        const struct op_chain *chain, struct op_err *err);
/* What a text of models says for one provider: *ret is the text itself where it is no list, NULL
 * when it is NULL, and else lies in the arena. */
OP_MUST_CHECK enum op_rc op_chain_model(const char *text,
                                        const struct op_provider_ops *provider,
                                        bool is_chained, const char *place,
                                        struct op_arena *arena, const char **ret,
                                        struct op_err *err);

#endif
