/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/pack.h"

/* How the providers call the most tokens of an answer (anthropic.md, openai.md, gemini.md). */
static int64_t own_max_tokens(struct op_json params)
{
    static const char *const names[] = {"max_tokens", "max_output_tokens",
                                        "max_completion_tokens"};
    for (size_t i = 0; i < OP_COUNT(names); i++) {
        int64_t n = op_json_int(op_json_get(params, names[i]), 0);
        if (n > 0)
            return n;
    }
    struct op_json config = op_json_get(params, "generationConfig");
    return op_json_int(op_json_get(config, "maxOutputTokens"), 0);
}

/* Lines that came ready and requests that are asked again with more room say themselves what they
 * may cost; a cap that went by the plan would not hold. */
bool op_params_cost(struct op_packer *packer, int name, struct op_str params, int64_t tokens,
                    bool batch_price, char ret_model[OP_MODEL_MAX], int64_t *ret_microusd)
{
    struct op_work *work = packer->work;
    const struct op_plan_request *request = &work->plan->requests[name];
    snprintf(ret_model, OP_MODEL_MAX, "%s", request->model);
    struct op_json root;
    struct op_err ignored = OP_ERR_INIT;
    if (!packer->parser)
        packer->parser = op_json_parser_new();
    if ((!request->def->raw && !packer->amended) ||
        op_json_parse(packer->parser, params.ptr, params.len, false, &root, &ignored))
        return op_request_cost(work, name, tokens, batch_price, ret_microusd, NULL);
    struct op_str model = op_json_str(op_json_get(root, "model"));
    if (request->def->raw && model.len)
        snprintf(ret_model, OP_MODEL_MAX, OP_STR_FMT, OP_STR_ARG(model));
    const struct op_price *price =
        op_price_find(packer->prices, request->lane->provider->name, ret_model, tokens);
    if (!price)
        return false;
    int64_t most = own_max_tokens(root);
    struct op_usage usage = {0};
    usage.tokens[OP_TOKEN_INPUT] = tokens;
    usage.tokens[OP_TOKEN_OUTPUT] = most > 0 ? most : request->max_tokens;
    *ret_microusd = op_price_cost(price, batch_price, &usage);
    return true;
}
