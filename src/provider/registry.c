/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/str.h"
#include "provider/anthropic/anthropic.h"
#include "provider/gemini/gemini.h"
#include "provider/mistral/mistral.h"
#include "provider/openai/openai.h"
#include "provider/provider.h"

static const struct op_provider_ops *const providers[] = {
    &op_provider_anthropic,   &op_provider_openai,
    &op_provider_gemini,      &op_provider_mistral,
    &op_provider_azure,       &op_provider_groq,
    &op_provider_together,    &op_provider_deepinfra,
    &op_provider_doubleword,  &op_provider_dashscope,
    &op_provider_moonshot,    &op_provider_zhipu,
    &op_provider_siliconflow, NULL,
};

const struct op_provider_ops *const *op_providers(void)
{
    return providers;
}

const struct op_provider_ops *op_provider_find(const char *name)
{
    for (size_t i = 0; providers[i]; i++)
        if (strcmp(providers[i]->name, name) == 0)
            return providers[i];
    return NULL;
}

const struct op_provider_ops *op_provider_for_model(const char *model)
{
    const struct op_provider_ops *best = NULL;
    size_t longest = 0;
    for (size_t i = 0; providers[i]; i++) {
        for (const char *const *prefix = providers[i]->model_prefixes; *prefix; prefix++) {
            size_t len = strlen(*prefix);
            if (len <= longest || !op_str_starts(op_str_from(model), *prefix))
                continue;
            longest = len;
            best = providers[i];
        }
    }
    return best;
}
