/* SPDX-License-Identifier: MIT */
#ifndef OP_TESTS_UNIT_PROVIDER_SUPPORT_OPENAI_H
#define OP_TESTS_UNIT_PROVIDER_SUPPORT_OPENAI_H

/*
 * Model:     lanes and settings for the tests of the OpenAI driver and its dialects.
 */

#include <math.h>

#include "provider/openai/openai.h"
#include "support.h"

static inline struct op_lane lane_of(const struct op_provider_ops *ops)
{
    static char key[] = "sk-k", url[] = "http://127.0.0.1:8012/pre";
    return (struct op_lane){.provider = ops, .base_url = url, .key = key};
}

static inline struct op_request_settings settings_of(const char *model, const char *endpoint)
{
    return (struct op_request_settings){.model = model,
                                        .endpoint = endpoint,
                                        .max_tokens = 300,
                                        .temperature = NAN,
                                        .file = "dir/pipeline.yaml:12"};
}

static inline const char *header(const struct op_exchange *x, const char *name)
{
    for (size_t i = 0; i < x->header_count; i++)
        if (strcmp(x->headers[i].name, name) == 0)
            return x->headers[i].value;
    return "";
}

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
static const struct op_create what = {.tag = "op-ab12cd-00ff00ff",
                                      .file_id = "file-1",
                                      .model = "gpt-6-luna",
                                      .endpoint = "responses",
                                      .sha256 = SHA,
                                      .count = 3,
                                      .bytes = 99};

#endif
