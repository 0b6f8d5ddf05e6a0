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
    size_t count; /* places; 1: no chain, and each request may have a provider of its own */
    size_t requests;
    const struct op_provider_ops **of; /* op_mem: by place, then request */
};
static inline const struct op_provider_ops *op_chain_provider(const struct op_chain *chain,
                                                              size_t at, size_t request)
{
    return chain->of[at * chain->requests + request];
}

/* names: --provider; NULL: the requests' provider keys, else their models tell. model: --model or
 * NULL. Where there is a chain, all requests of the definition have the same, and none is raw. *ret is
 * to be released also after an error. */
OP_MUST_CHECK enum op_rc op_chain_read(const struct op_definition *def,
                                       const struct op_params *params, const char *names,
                                       const char *model, struct op_chain *ret,
                                       struct op_err *err);
void op_chain_release(struct op_chain *chain);
/* What a text of models says for one provider: *ret is the text itself where it is no list, NULL
 * when it is NULL, and else lies in the arena. */
OP_MUST_CHECK enum op_rc op_chain_model(const char *text,
                                        const struct op_provider_ops *provider, bool is_chained,
                                        const char *place, struct op_arena *arena,
                                        const char **ret, struct op_err *err);

#endif
