/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/time.h"
#include "provider/driver.h"
#include "provider/openai/openai.h"

/* Sources of every figure: reference/openai.md 3 and 9, dated there. Where pages of one house
 * disagree, the smaller figure stands here. */

#define MEGABYTE (1000 * 1000LL)

#define CHAT_URL       "/v1/chat/completions"
#define RESPONSES_URL  "/v1/responses"
#define EMBEDDINGS_URL "/v1/embeddings"

static const char *const names[] = {"responses", "chat", "embeddings"};

const char *op_openai_endpoint_name(enum op_openai_endpoint endpoint)
{
    return names[endpoint];
}

enum op_rc op_openai_endpoint_find(const struct op_provider_ops *ops, const char *name,
                                   enum op_openai_endpoint *ret, struct op_err *err)
{
    for (int i = 0; i < OP_OPENAI_ENDPOINT_COUNT; i++) {
        if (strcmp(name ? name : ops->endpoints[0], names[i]) != 0 || !ops->dialect->urls[i])
            continue;
        *ret = (enum op_openai_endpoint)i;
        return OP_OK;
    }
    OP_CLEANUP(op_buf_release) struct op_buf list;
    op_buf_init(&list, 1024);
    for (size_t i = 0; ops->endpoints[i]; i++)
        op_buf_addf(&list, "%s%s", i ? ", " : "", ops->endpoints[i]);
    return op_fail(err, OP_INVAL, "%s has no endpoint '%.40s'; there are: %s",
                   ops->dialect->title, name ? name : ops->endpoints[0], list.ptr);
}

static const char *const all_endpoints[] = {"responses", "chat", "embeddings", NULL};
static const char *const chat_embeddings[] = {"chat", "embeddings", NULL};
static const char *const chat_only[] = {"chat", NULL};

/* --- the rows ------------------------------------------------------------------------------- */

static const struct op_dialect openai = {
    .title = "OpenAI",
    .base_path = "/v1",
    .urls = {RESPONSES_URL, CHAT_URL, EMBEDDINGS_URL},
    .window = "24h",
    .purpose = "batch",
    .tag_member = "op_tag",
    .cursor_query = "after",
    .chat_room = "max_completion_tokens",
    .schema = OP_OPENAI_SCHEMA_STRICT,
    .has_flex = true,
};

/* Batches never expire there; "24h" is a target (hence window_ms below). */
static const struct op_dialect azure = {
    .title = "Azure OpenAI",
    .base_path = "/openai/v1",
    .urls = {RESPONSES_URL, CHAT_URL, EMBEDDINGS_URL},
    .window = "24h",
    .purpose = "batch",
    .key_header = "api-key",
    .tag_member = "op_tag",
    .cursor_query = "after",
    .chat_room = "max_completion_tokens",
    .schema = OP_OPENAI_SCHEMA_STRICT,
};

static const struct op_dialect groq = {
    .title = "Groq",
    .base_path = "/openai/v1",
    .urls = {NULL, CHAT_URL, NULL},
    .window = "24h",
    .purpose = "batch",
    .tag_member = "op_tag",
    .cursor_query = "cursor",
    .chat_room = "max_completion_tokens",
    .schema = OP_OPENAI_SCHEMA_PLAIN,
};

static const struct op_dialect together = {
    .title = "Together",
    .base_path = "/v1",
    .urls = {NULL, CHAT_URL, NULL},
    .window = "24h",
    .purpose = "batch-api",
    .cursor_query = "after",
    .chat_room = "max_tokens",
    .schema = OP_OPENAI_SCHEMA_PLAIN,
    .upload_redirects = true,
};

static const struct op_dialect deepinfra = {
    .title = "DeepInfra",
    .base_path = "/v1/openai",
    .urls = {NULL, CHAT_URL, EMBEDDINGS_URL},
    .window = "24h",
    .purpose = "batch",
    .tag_member = "op_tag",
    .cursor_query = "after",
    .chat_room = "max_tokens",
    .schema = OP_OPENAI_SCHEMA_PLAIN,
};

static const struct op_dialect doubleword = {
    .title = "Doubleword",
    .base_path = "/v1",
    .urls = {NULL, CHAT_URL, EMBEDDINGS_URL},
    .window = "24h",
    .purpose = "batch",
    .tag_member = "op_tag",
    .cursor_query = "after",
    .chat_room = "max_tokens",
    .schema = OP_OPENAI_SCHEMA_PLAIN,
};

/* Of metadata it documents ds_name (at most 100 characters) and ds_description. */
static const struct op_dialect dashscope = {
    .title = "DashScope",
    .base_path = "/compatible-mode/v1",
    .urls = {NULL, CHAT_URL, EMBEDDINGS_URL},
    .window = "24h",
    .purpose = "batch",
    .tag_member = "ds_name",
    .cursor_query = "after",
    .chat_room = "max_tokens",
    .schema = OP_OPENAI_SCHEMA_TEXT,
};

static const struct op_dialect moonshot = {
    .title = "Moonshot",
    .base_path = "/v1",
    .urls = {NULL, CHAT_URL, NULL},
    .window = "24h",
    .purpose = "batch",
    .tag_member = "op_tag",
    .cursor_query = "after",
    .chat_room = "max_tokens",
    .schema = OP_OPENAI_SCHEMA_TEXT,
};

static const struct op_dialect zhipu = {
    .title = "Zhipu",
    .base_path = "/api/paas/v4",
    .urls = {NULL, "/v4/chat/completions", NULL},
    .window = "24h",
    .purpose = "batch",
    .tag_member = "op_tag",
    .cursor_query = "after",
    .chat_room = "max_tokens",
    .schema = OP_OPENAI_SCHEMA_TEXT,
};

static const struct op_dialect siliconflow = {
    .title = "SiliconFlow",
    .base_path = "/v1",
    .urls = {NULL, CHAT_URL, NULL},
    .window = "24h",
    .purpose = "batch",
    .tag_member = "op_tag",
    .cursor_query = "after",
    .chat_room = "max_tokens",
    .schema = OP_OPENAI_SCHEMA_TEXT,
};

/* --- the providers -------------------------------------------------------------------------- */

static const char *const openai_models[] = {
    "gpt-", "o1", "o3", "o4", "chatgpt-", "codex-", "text-embedding-", "ft:", NULL,
};
static const char *const dashscope_models[] = {"qwen-", "qwen2", "qwen3", NULL};
static const char *const moonshot_models[] = {"kimi-", "moonshot-", NULL};
static const char *const zhipu_models[] = {"glm-", NULL};
/* Their model names are the names of other houses (or, at Azure, of a deployment): the provider has
 * to be named. */
static const char *const no_models[] = {NULL};

/* What is the same for all: a create is small, names the uploaded file and holds one model. The
 * file id alone makes reconciliation exact where the create takes no metadata. */
#define SHARED                                                                                \
    .emulator_path = "/openai/v1", .has_tags = true, .has_upload = true, .one_model = true,   \
    .has_batch = true, .framing = op_openai_framing, .params = op_openai_params,              \
    .split_line = op_openai_split_line, .amend = op_openai_amend, .create = op_openai_create, \
    .get = op_openai_get, .list = op_openai_list, .cancel = op_openai_cancel,                 \
    .upload_begin = op_openai_upload_begin, .upload = op_openai_upload,                       \
    .upload_end = op_openai_upload_end, .decode_upload = op_openai_decode_upload,             \
    .files = op_openai_files, .decode_files = op_openai_decode_files,                         \
    .remove_file = op_openai_remove_file, .results = op_openai_results,                       \
    .decode_create = op_openai_decode_create, .decode_batch = op_openai_decode_batch,         \
    .decode_list = op_openai_decode_list, .decode_result = op_openai_decode_result,           \
    .unfold = op_no_unfold, .decode_error = op_openai_decode_error, .ask = op_openai_ask,     \
    .fold = op_openai_fold

/* A line is a request, and no house says how large one may be: what a single message may hold
 * elsewhere (Anthropic's 32 MB), far below the file. */
#define LINE (32 * MEGABYTE)

#define LIMITS(requests, bytes, open, creates, days)                                       \
    {                                                                                      \
        .max_requests = (requests), .max_bytes = (bytes), .max_open = (open),              \
        .max_creates_per_hour = (creates), .max_line_bytes = LINE, .window_ms = OP_DAY_MS, \
        .keep_ms = (days)*OP_DAY_MS,                                                       \
    }

/* 200 MiB from a live refusal: "larger than the 209715200 maximum". 2,000 creates an hour and 30
 * days of result files from the guide. */
const struct op_provider_ops op_provider_openai = {
    .name = "openai",
    .key_env = "OPENAI_API_KEY",
    .url_env = "OPENAI_BASE_URL",
    .extra_env = {"OPENAI_ORG_ID", "OPENAI_PROJECT_ID"},
    .default_url = "https://api.openai.com/v1",
    .default_model = "gpt-6-luna",
    .model_prefixes = openai_models,
    .endpoints = all_endpoints,
    .dialect = &openai,
    .limits = LIMITS(50000, 209715200, 0, 2000, 30),
    .stops_without_file = true,
    SHARED,
};

/* 100,000 requests, 200 MB; files live 14 to 30 days where an expiry is set. */
const struct op_provider_ops op_provider_azure = {
    .name = "azure",
    .key_env = "AZURE_OPENAI_API_KEY",
    .url_env = "AZURE_OPENAI_ENDPOINT",
    .model_prefixes = no_models,
    .endpoints = all_endpoints,
    .dialect = &azure,
    .limits = LIMITS(100000, 200 * MEGABYTE, 0, 0, 14),
    SHARED,
};

/* The documentation says 200 MB, the vendor's own SDK 100 MB. */
const struct op_provider_ops op_provider_groq = {
    .name = "groq",
    .key_env = "GROQ_API_KEY",
    .url_env = "GROQ_BASE_URL",
    .default_url = "https://api.groq.com/openai/v1",
    .model_prefixes = no_models,
    .endpoints = chat_only,
    .dialect = &groq,
    .limits = LIMITS(50000, 100 * MEGABYTE, 0, 0, 30),
    SHARED,
};

const struct op_provider_ops op_provider_together = {
    .name = "together",
    .key_env = "TOGETHER_API_KEY",
    .url_env = "TOGETHER_BASE_URL",
    .default_url = "https://api.together.ai/v1",
    .model_prefixes = no_models,
    .endpoints = chat_only,
    .dialect = &together,
    .limits = LIMITS(50000, 100 * MEGABYTE, 0, 0, 30),
    SHARED,
};

const struct op_provider_ops op_provider_deepinfra = {
    .name = "deepinfra",
    .key_env = "DEEPINFRA_API_KEY",
    .key_env_2 = "DEEPINFRA_TOKEN",
    .url_env = "DEEPINFRA_BASE_URL",
    .default_url = "https://api.deepinfra.com/v1/openai",
    .model_prefixes = no_models,
    .endpoints = chat_embeddings,
    .dialect = &deepinfra,
    .limits = LIMITS(50000, 200 * MEGABYTE, 100, 0, 30),
    SHARED,
};

/* Limits are set by each deployment: OpenAI's, decimal. */
const struct op_provider_ops op_provider_doubleword = {
    .name = "doubleword",
    .key_env = "DOUBLEWORD_API_KEY",
    .url_env = "DOUBLEWORD_BASE_URL",
    .default_url = "https://api.doubleword.ai/v1",
    .model_prefixes = no_models,
    .endpoints = chat_embeddings,
    .dialect = &doubleword,
    .limits = LIMITS(50000, 200 * MEGABYTE, 0, 0, 30),
    SHARED,
};

const struct op_provider_ops op_provider_dashscope = {
    .name = "dashscope",
    .key_env = "DASHSCOPE_API_KEY",
    .url_env = "DASHSCOPE_BASE_URL",
    .default_url = "https://dashscope.aliyuncs.com/compatible-mode/v1",
    .model_prefixes = dashscope_models,
    .endpoints = chat_embeddings,
    .dialect = &dashscope,
    .limits = LIMITS(50000, 500 * MEGABYTE, 0, 0, 30),
    SHARED,
};

/* Not documented: the 100 MB of the smallest of its kin. */
const struct op_provider_ops op_provider_moonshot = {
    .name = "moonshot",
    .key_env = "MOONSHOT_API_KEY",
    .url_env = "MOONSHOT_BASE_URL",
    .default_url = "https://api.moonshot.ai/v1",
    .model_prefixes = moonshot_models,
    .endpoints = chat_only,
    .dialect = &moonshot,
    .limits = LIMITS(50000, 100 * MEGABYTE, 0, 0, 30),
    SHARED,
};

/* 100 MB as public clients note it. */
const struct op_provider_ops op_provider_zhipu = {
    .name = "zhipu",
    .key_env = "ZHIPUAI_API_KEY",
    .key_env_2 = "ZAI_API_KEY",
    .url_env = "ZHIPUAI_BASE_URL",
    .default_url = "https://open.bigmodel.cn/api/paas/v4",
    .model_prefixes = zhipu_models,
    .endpoints = chat_only,
    .dialect = &zhipu,
    .limits = LIMITS(50000, 100 * MEGABYTE, 0, 0, 30),
    SHARED,
};

/* 5,000 lines, 1 GB; result files live a month. */
const struct op_provider_ops op_provider_siliconflow = {
    .name = "siliconflow",
    .key_env = "SILICONFLOW_API_KEY",
    .url_env = "SILICONFLOW_BASE_URL",
    .default_url = "https://api.siliconflow.cn/v1",
    .model_prefixes = no_models,
    .endpoints = chat_only,
    .dialect = &siliconflow,
    .limits = LIMITS(5000, 1000 * MEGABYTE, 0, 0, 30),
    SHARED,
};
