/* SPDX-License-Identifier: MIT */
#include "emulator/gemini.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "emulator/state.h"

static const struct {
    int status;
    const char *name, *message;
} errors[] = {
    {400, "INVALID_ARGUMENT", "Request contains an invalid argument."},
    {401, "UNAUTHENTICATED", "Request had invalid authentication credentials."},
    {403, "PERMISSION_DENIED", "The caller does not have permission"},
    {404, "NOT_FOUND", "Requested entity was not found."},
    {409, "ABORTED", "The operation was aborted."},
    {429, "RESOURCE_EXHAUSTED",
     "You exceeded your current quota, please check your plan and billing details."},
    {499, "CANCELLED", "The operation was cancelled."},
    {500, "INTERNAL", "Internal error encountered."},
    {503, "UNAVAILABLE", "The model is overloaded. Please try again later."},
    {504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."},
};

/* ---- errors ---- */

static void write_error(struct op_emu_call *call, int status, const char *type,
                        const char *message, const char *details)
{
    struct op_json_out out;
    const char *name = status < 500 ? "INVALID_ARGUMENT" : "INTERNAL";
    const char *text = "Internal error encountered.";
    for (size_t i = 0; i < OP_COUNT(errors); i++) {
        if (errors[i].status != status)
            continue;
        name = errors[i].name;
        text = errors[i].message;
    }
    op_emu_reply_begin(call, status, "application/json; charset=UTF-8");
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    op_json_out_name(&out, "error");
    op_json_out_object(&out);
    op_json_out_kv_int(&out, "code", status);
    op_json_out_kv_text(&out, "message", message ? message : text);
    op_json_out_kv_text(&out, "status", type ? type : name);
    if (details) {
        op_json_out_name(&out, "details");
        op_json_out_raw(&out, op_str_from(details));
    }
    op_json_out_end_object(&out);
    op_json_out_end_object(&out);
}

void op_emu_gemini_error(struct op_emu_call *call, int status, const char *type,
                         const char *message)
{
    /* What is too large is an invalid argument here. */
    if (status == 413)
        write_error(call, 400, type,
                    message ? message : "Request payload size exceeds the limit.", NULL);
    else
        write_error(call, status, type, message, NULL);
}

#define HELP                                                                          \
    "{\"@type\":\"type.googleapis.com/google.rpc.Help\",\"links\":[{\"description\":" \
    "\"Learn more about Gemini API quotas\",\"url\":"                                 \
    "\"https://ai.google.dev/gemini-api/docs/rate-limits\"}]}"

static void rate_limit(struct op_emu_call *call, int64_t seconds)
{
    if (seconds < 0) {
        write_error(call, 429, NULL, NULL, "[" HELP "]");
        return;
    }
    write_error(call, 429, NULL, NULL,
                op_arena_printf(&call->arena,
                                "[" HELP
                                ",{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\","
                                "\"retryDelay\":\"%llds\"}]",
                                (long long)seconds));
}

/* The day's quota is used up, and the delay told with it is as short as the real one is. */
static void spend_cap(struct op_emu_call *call)
{
    write_error(call, 429, NULL, NULL,
                "[" HELP ",{\"@type\":\"type.googleapis.com/google.rpc.QuotaFailure\","
                "\"violations\":[{\"quotaMetric\":\"generativelanguage.googleapis.com/"
                "generate_requests_per_model_per_day\",\"quotaId\":"
                "\"GenerateRequestsPerDayPerProjectPerModel\",\"quotaValue\":\"250\"}]},"
                "{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\","
                "\"retryDelay\":\"8s\"}]");
}

void op_emu_gemini_no_model(struct op_emu_call *call, struct op_str model, const char *what)
{
    op_emu_gemini_error(
        call, 404, NULL,
        op_arena_printf(&call->arena,
                        "models/" OP_STR_FMT " is not found for API version v1beta,"
                        " or is not supported for %s. Call ListModels to see the"
                        " list of available models and their supported methods.",
                        OP_STR_ARG(model), what));
}

void op_emu_gemini_disk_failed(struct op_emu_call *call, const struct op_err *err)
{
    op_emu_fail(call->emulator, err);
    op_emu_gemini_error(call, 500, NULL, err->msg);
}

/* ---- every call ---- */

static struct op_str key_of(const struct op_emu_call *call)
{
    struct op_str key = op_emu_call_header(call, "x-goog-api-key");
    struct op_str bearer = op_emu_call_header(call, "Authorization");
    if (!key.len)
        key = op_emu_call_query(call, "key");
    if (!key.len && bearer.ptr && bearer.len > 7 && strncasecmp(bearer.ptr, "Bearer ", 7) == 0)
        key = op_str_trim((struct op_str){bearer.ptr + 7, bearer.len - 7});
    return key;
}

static bool admit(struct op_emu_call *call)
{
    struct op_str key = key_of(call);
    const char *wanted = call->emulator->api_key;
    /* Whoever has the address of an upload may go on with it. */
    if (call->route && call->route->on == OP_EMU_ON_UPLOAD)
        return true;
    if (!key.len)
        op_emu_gemini_error(call, 403, NULL,
                            "Method doesn't allow unregistered callers (callers without"
                            " established identity). Please use API Key or other form of API"
                            " consumer identity to call this API.");
    else if (wanted && !op_str_is(key, wanted))
        write_error(call, 400, NULL, "API key not valid. Please pass a valid API key.",
                    "[{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":"
                    "\"API_KEY_INVALID\",\"domain\":\"googleapis.com\"}]");
    else
        return true;
    return false;
}

/* Without a prefix: by what no other provider has. */
static bool claims(const struct op_emu_call *call)
{
    return op_str_starts(call->path, "/v1beta") || op_str_starts(call->path, "/v1alpha") ||
           op_str_starts(call->path, "/upload/") || op_str_starts(call->path, "/download/") ||
           op_emu_call_header(call, "x-goog-api-key").ptr || op_emu_call_query(call, "key").ptr;
}

static void decorate(struct op_emu_call *call)
{
    op_emu_reply_header(call, "x-gemini-service-tier", "standard");
    if (op_emu_fired_rule(&call->fired, OP_EMU_ERROR_WITH_200))
        op_emu_reply_header(call, "X-Goog-Upload-Status", "final");
}

void op_emu_gemini_time(struct op_json_out *out, const char *name, int64_t us, int64_t salt)
{
    char text[OP_EMU_TIME_TEXT], full[OP_EMU_TIME_TEXT + 4];
    op_emu_time_format(us, true, text);
    /* The emulator's clock ends at microseconds; the API's does not. */
    snprintf(full, sizeof(full), "%.26s%03dZ", text, (int)(salt * 37 % 1000));
    op_json_out_kv_text(out, name, full);
}

int64_t op_emu_gemini_page_size(struct op_emu_call *call, int64_t standard, int64_t most)
{
    struct op_str text = op_emu_call_query(call, "pageSize");
    int64_t size = standard;
    if (text.len && (!op_str_int64(text, &size) || size < 0)) {
        op_emu_gemini_error(call, 400, NULL, "Invalid value at 'page_size'.");
        return -1;
    }
    if (size == 0)
        size = standard;
    return size > most ? most : size;
}

void op_emu_gemini_reply_empty(struct op_emu_call *call)
{
    op_emu_reply_begin(call, 200, "application/json; charset=UTF-8");
    op_buf_addz(&call->reply.body, "{}");
}

/* ---- models ---- */

static void write_model(struct op_json_out *out, struct op_emu_call *call, struct op_str id)
{
    op_json_out_object(out);
    op_json_out_kv_text(out, "name",
                        op_arena_printf(&call->arena, "models/" OP_STR_FMT, OP_STR_ARG(id)));
    op_json_out_kv_text(out, "version", "001");
    op_json_out_kv_str(out, "displayName", id);
    op_json_out_kv_int(out, "inputTokenLimit", 1048576);
    op_json_out_kv_int(out, "outputTokenLimit", 65536);
    op_json_out_name(out, "supportedGenerationMethods");
    op_json_out_raw(out, op_str_starts(id, "gemini-embedding")
                             ? OP_STR("[\"embedContent\",\"asyncBatchEmbedContent\"]")
                             : OP_STR("[\"generateContent\",\"countTokens\","
                                      "\"batchGenerateContent\"]"));
    op_json_out_end_object(out);
}

static void list_models(struct op_emu_call *call)
{
    static const char *const models[] = {"gemini-2.5-flash",     "gemini-2.5-flash-lite",
                                         "gemini-2.5-pro",       "gemini-3.1-pro-preview",
                                         "gemini-3.5-flash",     "gemini-3.8-flash",
                                         "gemini-embedding-001", NULL};
    struct op_json_out out;
    op_emu_reply_begin(call, 200, "application/json; charset=UTF-8");
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    op_json_out_name(&out, "models");
    op_json_out_array(&out);
    for (size_t i = 0; models[i]; i++)
        write_model(&out, call, op_str_from(models[i]));
    op_json_out_end_array(&out);
    op_json_out_end_object(&out);
}

static void get_model(struct op_emu_call *call)
{
    struct op_json_out out;
    if (!op_emu_gemini_model_exists(call->id)) {
        op_emu_gemini_no_model(call, call->id, "generateContent");
        return;
    }
    op_emu_reply_begin(call, 200, "application/json; charset=UTF-8");
    op_json_out_init(&out, &call->reply.body, 0);
    write_model(&out, call, call->id);
}

/* ---- the table ---- */

/* /v1, /v1beta and /v1alpha are the same. */
static const struct op_emu_route routes[] = {
    {.method = "POST",
     .path = "/upload/v1*/files",
     .query = "upload_id",
     .on = OP_EMU_ON_UPLOAD,
     .handle = op_emu_gemini_chunk,
     .begin = op_emu_gemini_chunk_begin,
     .add = op_emu_gemini_chunk_add,
     .release = op_emu_gemini_chunk_release,
     .body_max = (size_t)OP_EMU_GEMINI_FILE_MAX},
    {.method = "POST",
     .path = "/upload/v1*/files",
     .on = OP_EMU_ON_START,
     .handle = op_emu_gemini_start},
    {.method = "GET",
     .path = "/v1*/files/{}:download",
     .on = OP_EMU_ON_RESULTS,
     .handle = op_emu_gemini_download},
    {.method = "GET",
     .path = "/download/v1*/files/{}:download",
     .on = OP_EMU_ON_RESULTS,
     .handle = op_emu_gemini_download},
    {.method = "GET",
     .path = "/v1*/files",
     .on = OP_EMU_ON_FILES,
     .handle = op_emu_gemini_list_files},
    {.method = "GET",
     .path = "/v1*/files/{}",
     .on = OP_EMU_ON_FILES,
     .handle = op_emu_gemini_get_file},
    {.method = "DELETE",
     .path = "/v1*/files/{}",
     .on = OP_EMU_ON_FILES,
     .handle = op_emu_gemini_delete_file},
    {.method = "POST",
     .path = "/v1*/models/{}:batchGenerateContent",
     .on = OP_EMU_ON_CREATE,
     .handle = op_emu_gemini_create,
     .body_max = OP_EMU_GEMINI_INLINE_MAX},
    {.method = "POST",
     .path = "/v1*/models/{}:asyncBatchEmbedContent",
     .on = OP_EMU_ON_CREATE,
     .handle = op_emu_gemini_create_embeddings,
     .body_max = OP_EMU_GEMINI_INLINE_MAX},
    {.method = "GET",
     .path = "/v1*/batches",
     .on = OP_EMU_ON_LIST,
     .handle = op_emu_gemini_list_batches},
    {.method = "POST",
     .path = "/v1*/batches/{}:cancel",
     .on = OP_EMU_ON_CANCEL,
     .handle = op_emu_gemini_cancel_batch},
    {.method = "GET",
     .path = "/v1*/batches/{}",
     .on = OP_EMU_ON_GET,
     .handle = op_emu_gemini_get_batch},
    {.method = "DELETE",
     .path = "/v1*/batches/{}",
     .on = OP_EMU_ON_DELETE,
     .handle = op_emu_gemini_delete_batch},
    {.method = "POST",
     .path = "/v1*/models/{}:generateContent",
     .on = OP_EMU_ON_MESSAGES,
     .handle = op_emu_gemini_generate},
    {.method = "POST",
     .path = "/v1*/models/{}:embedContent",
     .on = OP_EMU_ON_MESSAGES,
     .handle = op_emu_gemini_embed},
    {.method = "POST",
     .path = "/v1*/models/{}:batchEmbedContents",
     .on = OP_EMU_ON_MESSAGES,
     .handle = op_emu_gemini_embed_many},
    {.method = "POST",
     .path = "/v1*/models/{}:countTokens",
     .on = OP_EMU_ON_COUNT,
     .handle = op_emu_gemini_count},
    {.method = "GET", .path = "/v1*/models", .on = OP_EMU_ON_MODELS, .handle = list_models},
    {.method = "GET", .path = "/v1*/models/{}", .on = OP_EMU_ON_MODELS, .handle = get_model},
};

const struct op_emu_api op_emu_gemini = {
    .name = "gemini",
    .routes = routes,
    .route_count = OP_COUNT(routes),
    .claims = claims,
    .admit = admit,
    .error = op_emu_gemini_error,
    .spend_cap = spend_cap,
    .rate_limit = rate_limit,
    .decorate = decorate,
    .custom_id = op_emu_gemini_custom_id,
    .line = op_emu_gemini_line,
    .place = op_emu_place_nothing,
    .in_order = true,
    .last_newline = true,
    .expires_whole = true,
};
