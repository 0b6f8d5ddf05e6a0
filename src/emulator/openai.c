/* SPDX-License-Identifier: MIT */
#include "emulator/openai.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "emulator/state.h"

#define MULTIPART_ROOM ((int64_t)1024 * 1024) /* of the parts around a file */

static const struct {
    int status;
    const char *type, *code, *message;
} errors[] = {
    {400, "invalid_request_error", NULL, "Invalid request"},
    {401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."},
    {403, "invalid_request_error", NULL, "You are not allowed to do this."},
    {404, "invalid_request_error", NULL, "Not found"},
    {409, "invalid_request_error", NULL, "The request conflicts with the state."},
    {413, "invalid_request_error", NULL, "File is too large."},
    {429, "requests", "rate_limit_exceeded", "Rate limit reached for requests"},
    {500, "server_error", NULL, "The server had an error while processing your request."},
    {503, "service_unavailable_error", "server_is_overloaded",
     "The engine is currently overloaded, please try again later"},
};

enum op_emu_openai_kind op_emu_openai_kind_of(struct op_str url)
{
    if (op_str_is(url, "/v1/responses"))
        return OP_EMU_OPENAI_RESPONSES;
    if (op_str_is(url, "/v1/chat/completions"))
        return OP_EMU_OPENAI_CHAT;
    return op_str_is(url, "/v1/embeddings") ? OP_EMU_OPENAI_EMBEDDINGS : OP_EMU_OPENAI_NO_KIND;
}

/* ---- errors ---- */

void op_emu_openai_write_problem(struct op_json_out *out,
                                 const struct op_emu_openai_problem *problem)
{
    op_json_out_object(out);
    op_json_out_name(out, "error");
    op_json_out_object(out);
    op_json_out_kv_text(out, "message", problem->message);
    op_json_out_kv_text(out, "type", problem->type);
    op_json_out_kv_text(out, "param", problem->param);
    op_json_out_kv_text(out, "code", problem->code);
    op_json_out_end_object(out);
    op_json_out_end_object(out);
}

void op_emu_openai_problem(struct op_emu_call *call,
                           const struct op_emu_openai_problem *problem)
{
    struct op_json_out out;
    op_emu_reply_begin(call, problem->status, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    op_emu_openai_write_problem(&out, problem);
}

void op_emu_openai_refuse(struct op_emu_call *call, int status, const char *param,
                          const char *message)
{
    const struct op_emu_openai_problem problem = {status, "invalid_request_error", NULL, param,
                                                  message};
    op_emu_openai_problem(call, &problem);
}

void op_emu_openai_error(struct op_emu_call *call, int status, const char *type,
                         const char *message)
{
    struct op_emu_openai_problem problem = {
        status, status < 500 ? "invalid_request_error" : "server_error", NULL, NULL,
        "The server had an error while processing your request."};
    for (size_t i = 0; i < OP_COUNT(errors); i++) {
        if (errors[i].status != status)
            continue;
        problem.type = errors[i].type;
        problem.code = errors[i].code;
        problem.message = errors[i].message;
    }
    /* The kinds of 429 are told apart by a word that is both. */
    if (type && status == 429)
        problem.code = type;
    if (type)
        problem.type = type;
    if (message)
        problem.message = message;
    op_emu_openai_problem(call, &problem);
}

void op_emu_openai_disk_failed(struct op_emu_call *call, const struct op_err *err)
{
    op_emu_fail(call->emulator, err);
    call->api->error(call, 500, NULL, err->msg);
}

static void spend_cap(struct op_emu_call *call)
{
    op_emu_openai_error(call, 429, "insufficient_quota",
                        "You exceeded your current quota, please check your plan and billing"
                        " details.");
}

static void rate_limit(struct op_emu_call *call, int64_t seconds)
{
    op_emu_openai_error(call, 429, NULL, NULL);
    if (seconds >= 0)
        op_emu_reply_header(call, "retry-after",
                            op_arena_printf(&call->arena, "%lld", (long long)seconds));
}

/* ---- every call ---- */

static bool admit(struct op_emu_call *call)
{
    struct op_str bearer = op_emu_call_header(call, "Authorization");
    const char *wanted = call->emulator->api_key;
    struct op_str key = OP_STR_NULL;
    if (op_emu_together_is_place(call)) {
        /* The signature is the right to be here: a key beside it is one too many, and was sent to a
         * stranger. */
        if (bearer.ptr)
            op_emu_openai_refuse(call, 400, NULL, "Only one auth mechanism is allowed.");
        return !bearer.ptr;
    }
    if (bearer.ptr && bearer.len > 7 && strncasecmp(bearer.ptr, "Bearer ", 7) == 0)
        key = op_str_trim((struct op_str){bearer.ptr + 7, bearer.len - 7});
    else
        key = op_emu_call_header(call, "api-key"); /* as Azure takes it */
    if (key.len && (!wanted || op_str_is(key, wanted)))
        return true;
    if (key.len) {
        op_emu_openai_error(call, 401, NULL, NULL);
        return false;
    }
    op_emu_openai_refuse(call, 401, NULL,
                         "You didn't provide an API key. You need to provide your API key in an"
                         " Authorization header using Bearer auth (i.e. Authorization: Bearer"
                         " YOUR_KEY).");
    return false;
}

static bool claims(const struct op_emu_call *call)
{
    (void)call;
    return true;
}

static void decorate(struct op_emu_call *call)
{
    op_emu_reply_header(call, "x-request-id", call->request_id);
    op_emu_reply_header(call, "openai-version", "2020-10-01");
    op_emu_reply_header(call, "openai-processing-ms", "12");
    if (!call->route || call->route->on != OP_EMU_ON_MESSAGES)
        return;
    op_emu_reply_header(call, "x-ratelimit-limit-requests", "10000");
    op_emu_reply_header(call, "x-ratelimit-remaining-requests", "9999");
    op_emu_reply_header(call, "x-ratelimit-reset-requests", "6ms");
    op_emu_reply_header(call, "x-ratelimit-limit-tokens", "30000000");
    op_emu_reply_header(call, "x-ratelimit-remaining-tokens", "29999000");
    op_emu_reply_header(call, "x-ratelimit-reset-tokens", "2ms");
}

int64_t op_emu_openai_limit(struct op_emu_call *call, int64_t standard, int64_t most)
{
    struct op_str text = op_emu_call_query(call, "limit");
    int64_t limit = standard;
    if (!text.ptr || (op_str_int64(text, &limit) && limit >= 1 && limit <= most))
        return limit;
    op_emu_openai_refuse(
        call, 400, "limit",
        op_arena_printf(&call->arena,
                        "Invalid 'limit': expected an integer between 1 and %lld.",
                        (long long)most));
    return -1;
}

/* ---- realtime, models ---- */

static void post_response(struct op_emu_call *call)
{
    op_emu_openai_realtime(call, OP_EMU_OPENAI_RESPONSES, false);
}

static void post_chat(struct op_emu_call *call)
{
    op_emu_openai_realtime(call, OP_EMU_OPENAI_CHAT, false);
}

static void post_embeddings(struct op_emu_call *call)
{
    op_emu_openai_realtime(call, OP_EMU_OPENAI_EMBEDDINGS, false);
}

static const char *const models[] = {
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5-nano",
    "gpt-6",
    "o4-mini",
    "text-embedding-3-small",
    "text-embedding-3-large",
};

static void write_model(struct op_json_out *out, struct op_str id)
{
    op_json_out_object(out);
    op_json_out_kv_str(out, "id", id);
    op_json_out_kv_text(out, "object", "model");
    op_json_out_kv_int(out, "created", 1735689600);
    op_json_out_kv_text(out, "owned_by", "system");
    op_json_out_end_object(out);
}

static void list_models(struct op_emu_call *call)
{
    struct op_json_out out;
    op_emu_reply_begin(call, 200, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "object", "list");
    op_json_out_name(&out, "data");
    op_json_out_array(&out);
    for (size_t i = 0; i < OP_COUNT(models); i++)
        write_model(&out, op_str_from(models[i]));
    op_json_out_end_array(&out);
    op_json_out_end_object(&out);
}

static void get_model(struct op_emu_call *call)
{
    struct op_json_out out;
    if (memmem(call->id.ptr, call->id.len, "does-not-exist", 14)) {
        const struct op_emu_openai_problem problem = {
            404, "invalid_request_error", "model_not_found", "model",
            op_arena_printf(&call->arena, "The model '" OP_STR_FMT "' does not exist",
                            OP_STR_ARG(call->id))};
        op_emu_openai_problem(call, &problem);
        return;
    }
    op_emu_reply_begin(call, 200, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    write_model(&out, call->id);
}

/* ---- the table ---- */

static struct op_str custom_id(struct op_json request)
{
    return op_json_str(op_json_get(request, "custom_id"));
}

static const struct op_emu_route routes[] = {
    {.method = "POST",
     .path = "/v1/files",
     .on = OP_EMU_ON_UPLOAD,
     .handle = op_emu_openai_upload,
     .begin = op_emu_openai_upload_begin,
     .add = op_emu_openai_upload_add,
     .release = op_emu_openai_upload_release,
     .body_max = (size_t)(OP_EMU_OPENAI_FILE_MAX + MULTIPART_ROOM)},
    {.method = "PUT",
     .path = "/v1/signed/{}",
     .on = OP_EMU_ON_UPLOAD,
     .handle = op_emu_together_put,
     .begin = op_emu_together_put_begin,
     .add = op_emu_together_put_add,
     .release = op_emu_together_put_release,
     .body_max = (size_t)OP_EMU_OPENAI_FILE_MAX},
    {.method = "POST",
     .path = "/v1/files/{}/preprocess",
     .on = OP_EMU_ON_UPLOAD,
     .handle = op_emu_together_preprocess},
    {.method = "GET",
     .path = "/v1/files",
     .on = OP_EMU_ON_FILES,
     .handle = op_emu_openai_list_files},
    {.method = "GET",
     .path = "/v1/files/{}",
     .on = OP_EMU_ON_FILES,
     .handle = op_emu_openai_get_file},
    {.method = "DELETE",
     .path = "/v1/files/{}",
     .on = OP_EMU_ON_FILES,
     .handle = op_emu_openai_delete_file},
    {.method = "GET",
     .path = "/v1/files/{}/content",
     .on = OP_EMU_ON_RESULTS,
     .handle = op_emu_openai_get_content},
    {.method = "POST",
     .path = "/v1/batches",
     .on = OP_EMU_ON_CREATE,
     .handle = op_emu_openai_create},
    {.method = "GET",
     .path = "/v1/batches",
     .on = OP_EMU_ON_LIST,
     .handle = op_emu_openai_list_batches},
    {.method = "GET",
     .path = "/v1/batches/{}",
     .on = OP_EMU_ON_GET,
     .handle = op_emu_openai_get_batch},
    {.method = "POST",
     .path = "/v1/batches/{}/cancel",
     .on = OP_EMU_ON_CANCEL,
     .handle = op_emu_openai_cancel_batch},
    {.method = "POST",
     .path = "/v1/responses",
     .on = OP_EMU_ON_MESSAGES,
     .handle = post_response},
    {.method = "POST",
     .path = "/v1/chat/completions",
     .on = OP_EMU_ON_MESSAGES,
     .handle = post_chat},
    {.method = "POST",
     .path = "/v1/embeddings",
     .on = OP_EMU_ON_MESSAGES,
     .handle = post_embeddings},
    {.method = "GET", .path = "/v1/models", .on = OP_EMU_ON_MODELS, .handle = list_models},
    {.method = "GET", .path = "/v1/models/{}", .on = OP_EMU_ON_MODELS, .handle = get_model},
};

const struct op_emu_api op_emu_openai = {
    .name = "openai",
    .routes = routes,
    .route_count = OP_COUNT(routes),
    .claims = claims,
    .admit = admit,
    .error = op_emu_openai_error,
    .spend_cap = spend_cap,
    .rate_limit = rate_limit,
    .decorate = decorate,
    .custom_id = custom_id,
    .line = op_emu_openai_line,
    .place = op_emu_openai_place,
    .last_newline = true,
    .keeps_errors = true,
};
