/* SPDX-License-Identifier: MIT */
#include "emulator/mistral.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "emulator/state.h"

#define PAGE_SIZE     100
#define PAGE_SIZE_MAX 1000

void op_emu_mistral_uuid(const struct op_emulator *emulator, int64_t a, int64_t b,
                         char ret[OP_EMU_ID_MAX])
{
    char hex[OP_EMU_ID_MAX];
    op_emu_store_id_of(emulator->store, "", OP_EMU_HEX, 32, a, b, hex);
    snprintf(ret, OP_EMU_ID_MAX, "%.8s-%.4s-4%.3s-a%.3s-%.12s", hex, hex + 8, hex + 13,
             hex + 17, hex + 20);
}

/* ---- errors ---- */

void op_emu_mistral_error(struct op_emu_call *call, int status, const char *type,
                          const char *message)
{
    static const struct {
        int status;
        const char *type, *message;
    } errors[] = {
        {400, "invalid_request_error", "Invalid request"},
        {401, "unauthorized", "Unauthorized"},
        {404, "not_found", "Not found"},
        {413, "invalid_request_error", "The request is too large."},
        {429, "rate_limited", "Rate limit exceeded"},
        {500, "internal_server_error", "Internal server error"},
        {503, "service_unavailable", "Service unavailable"},
    };
    const char *standard = status < 500 ? "invalid_request_error" : "internal_server_error";
    const char *text = "Internal server error";
    struct op_json_out out;
    for (size_t i = 0; i < OP_COUNT(errors); i++) {
        if (errors[i].status != status)
            continue;
        standard = errors[i].type;
        text = errors[i].message;
    }
    op_emu_reply_begin(call, status, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "object", "error");
    op_json_out_kv_text(&out, "message", message ? message : text);
    op_json_out_kv_text(&out, "type", type ? type : standard);
    op_json_out_kv_text(&out, "param", NULL);
    op_json_out_kv_text(&out, "code", NULL);
    op_json_out_end_object(&out);
}

static void spend_cap(struct op_emu_call *call)
{
    op_emu_mistral_error(call, 402, "payment_required", "You have no credit left.");
}

static void rate_limit(struct op_emu_call *call, int64_t seconds)
{
    op_emu_mistral_error(call, 429, NULL, NULL);
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
    if (bearer.ptr && bearer.len > 7 && strncasecmp(bearer.ptr, "Bearer ", 7) == 0)
        key = op_str_trim((struct op_str){bearer.ptr + 7, bearer.len - 7});
    if (key.len && (!wanted || op_str_is(key, wanted)))
        return true;
    op_emu_mistral_error(call, 401, NULL, NULL);
    return false;
}

/* Without a prefix: the paths no other provider has, or its own SDK. */
static bool claims(const struct op_emu_call *call)
{
    struct op_str agent = op_emu_call_header(call, "User-Agent");
    return op_str_starts(call->path, "/v1/batch/") ||
           (agent.ptr && memmem(agent.ptr, agent.len, "mistral", 7));
}

static void decorate(struct op_emu_call *call)
{
    op_emu_reply_header(call, "mistral-correlation-id", call->request_id);
}

static bool read_number(struct op_emu_call *call, const char *name, int64_t standard,
                        int64_t most, int64_t *ret)
{
    struct op_str text = op_emu_call_query(call, name);
    *ret = standard;
    if (!text.ptr || (op_str_int64(text, ret) && *ret >= 0 && *ret <= most))
        return true;
    op_emu_mistral_error(
        call, 400, NULL,
        op_arena_printf(&call->arena, "%s must be at most %lld.", name, (long long)most));
    return false;
}

bool op_emu_mistral_page(struct op_emu_call *call, size_t *ret_page, size_t *ret_size)
{
    int64_t page, size;
    if (!read_number(call, "page", 0, 1000000, &page) ||
        !read_number(call, "page_size", PAGE_SIZE, PAGE_SIZE_MAX, &size))
        return false;
    *ret_page = (size_t)page;
    *ret_size = (size_t)(size ? size : PAGE_SIZE);
    return true;
}

/* ---- files ---- */

static const char *sample_type(const struct op_emu_file *file)
{
    if (op_str_ends(op_str_from(file->batch), ".results"))
        return "batch_result";
    if (file->batch[0])
        return "batch_error";
    return strcmp(file->purpose, "batch") == 0 ? "batch_request" : "instruct";
}

static void write_file(struct op_json_out *out, const struct op_emu_file *file)
{
    op_json_out_object(out);
    op_json_out_kv_text(out, "id", file->id);
    op_json_out_kv_text(out, "object", "file");
    op_json_out_kv_int(out, "bytes", file->bytes);
    op_json_out_kv_int(out, "created_at", file->created_us / OP_EMU_SECOND_US);
    op_json_out_kv_text(out, "filename", file->name);
    op_json_out_kv_text(out, "purpose", file->purpose);
    op_json_out_kv_text(out, "sample_type", sample_type(file));
    op_json_out_kv_text(out, "source", file->batch[0] ? "mistral" : "upload");
    op_json_out_kv_int(out, "num_lines", file->lines);
    op_json_out_kv_text(out, "mimetype", file->mime);
    op_json_out_kv_text(out, "signature", NULL);
    op_json_out_kv_bool(out, "deleted", false);
    op_json_out_end_object(out);
}

static void reply_file(struct op_emu_call *call, const struct op_emu_file *file)
{
    struct op_json_out out;
    op_emu_reply_begin(call, 200, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    write_file(&out, file);
}

static void upload(struct op_emu_call *call)
{
    char id[OP_EMU_ID_MAX];
    struct op_emu_file file;
    struct op_emulator *em = call->emulator;
    op_emu_mistral_uuid(em, em->clock.start_us, atomic_fetch_add(&em->next_request, 1), id);
    if (op_emu_openai_upload_keep(call, id, &file))
        reply_file(call, &file);
}

static void list_files(struct op_emu_call *call)
{
    OP_CLEANUP(op_mem_freep) struct op_emu_file *files = NULL;
    struct op_json_out out;
    size_t page, size, count = 0;
    bool more = false;
    if (!op_emu_mistral_page(call, &page, &size))
        return;
    struct op_emu_file_page want = {
        .provider = "mistral",
        .purpose = op_emu_call_query(call, "purpose"),
        .limit = SIZE_MAX,
        .now_us = op_emu_clock_now(&call->emulator->clock),
    };
    if (op_emu_files_page(call->emulator->files, &want, &files, &count, &more))
        count = 0;
    op_emu_reply_begin(call, 200, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    op_json_out_name(&out, "data");
    op_json_out_array(&out);
    for (size_t i = page * size; i < count && i < (page + 1) * size; i++)
        write_file(&out, &files[i]);
    op_json_out_end_array(&out);
    op_json_out_kv_text(&out, "object", "list");
    op_json_out_kv_int(&out, "total", (int64_t)count);
    op_json_out_end_object(&out);
}

static void get_file(struct op_emu_call *call)
{
    struct op_emu_file file;
    if (op_emu_openai_find_file(call, &file))
        reply_file(call, &file);
}

static void get_url(struct op_emu_call *call)
{
    struct op_emu_file file;
    if (!op_emu_openai_find_file(call, &file))
        return;
    const char *base = op_emu_call_base(call);
    op_emu_reply_begin(call, 200, "application/json");
    op_buf_addf(&call->reply.body, "{\"url\":\"%s/v1/files/%s/content\"}", base, file.id);
}

/* ---- realtime, models ---- */

static void post_chat(struct op_emu_call *call)
{
    op_emu_openai_realtime(call, OP_EMU_OPENAI_CHAT, true);
}

static void post_embeddings(struct op_emu_call *call)
{
    op_emu_openai_realtime(call, OP_EMU_OPENAI_EMBEDDINGS, true);
}

static void write_model(struct op_json_out *out, struct op_str id)
{
    op_json_out_object(out);
    op_json_out_kv_str(out, "id", id);
    op_json_out_kv_text(out, "object", "model");
    op_json_out_kv_int(out, "created", 1735689600);
    op_json_out_kv_text(out, "owned_by", "mistralai");
    op_json_out_name(out, "capabilities");
    op_json_out_raw(out, OP_STR("{\"completion_chat\":true,\"completion_fim\":false,"
                                "\"function_calling\":true,\"fine_tuning\":false,"
                                "\"vision\":false,\"classification\":false}"));
    op_json_out_kv_str(out, "name", id);
    op_json_out_kv_int(out, "max_context_length", 131072);
    op_json_out_kv_text(out, "type", "base");
    op_json_out_end_object(out);
}

static void list_models(struct op_emu_call *call)
{
    static const char *const models[] = {"mistral-large-latest", "mistral-medium-latest",
                                         "mistral-small-latest", "magistral-small-latest",
                                         "ministral-8b-latest",  "mistral-embed"};
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

/* ---- the table ---- */

static struct op_str custom_id(struct op_json request)
{
    return op_json_str(op_json_get(request, "custom_id"));
}

static const struct op_emu_route routes[] = {
    {.method = "POST",
     .path = "/v1/files",
     .on = OP_EMU_ON_UPLOAD,
     .handle = upload,
     .begin = op_emu_openai_upload_begin,
     .add = op_emu_openai_upload_add,
     .release = op_emu_openai_upload_release,
     .body_max = (size_t)OP_EMU_OPENAI_FILE_MAX + (size_t)1024 * 1024},
    {.method = "GET", .path = "/v1/files", .on = OP_EMU_ON_FILES, .handle = list_files},
    {.method = "GET", .path = "/v1/files/{}", .on = OP_EMU_ON_FILES, .handle = get_file},
    {.method = "GET", .path = "/v1/files/{}/url", .on = OP_EMU_ON_FILES, .handle = get_url},
    {.method = "DELETE",
     .path = "/v1/files/{}",
     .on = OP_EMU_ON_FILES,
     .handle = op_emu_openai_delete_file},
    {.method = "GET",
     .path = "/v1/files/{}/content",
     .on = OP_EMU_ON_RESULTS,
     .handle = op_emu_openai_get_content},
    {.method = "POST",
     .path = "/v1/batch/jobs",
     .on = OP_EMU_ON_CREATE,
     .handle = op_emu_mistral_create},
    {.method = "GET",
     .path = "/v1/batch/jobs",
     .on = OP_EMU_ON_LIST,
     .handle = op_emu_mistral_list_jobs},
    {.method = "GET",
     .path = "/v1/batch/jobs/{}",
     .on = OP_EMU_ON_GET,
     .handle = op_emu_mistral_get_job},
    {.method = "POST",
     .path = "/v1/batch/jobs/{}/cancel",
     .on = OP_EMU_ON_CANCEL,
     .handle = op_emu_mistral_cancel_job},
    {.method = "DELETE",
     .path = "/v1/batch/jobs/{}",
     .on = OP_EMU_ON_DELETE,
     .handle = op_emu_mistral_delete_job},
    {.method = "POST",
     .path = "/v1/chat/completions",
     .on = OP_EMU_ON_MESSAGES,
     .handle = post_chat},
    {.method = "POST",
     .path = "/v1/embeddings",
     .on = OP_EMU_ON_MESSAGES,
     .handle = post_embeddings},
    {.method = "GET", .path = "/v1/models", .on = OP_EMU_ON_MODELS, .handle = list_models},
};

const struct op_emu_api op_emu_mistral = {
    .name = "mistral",
    .routes = routes,
    .route_count = OP_COUNT(routes),
    .claims = claims,
    .admit = admit,
    .error = op_emu_mistral_error,
    .spend_cap = spend_cap,
    .rate_limit = rate_limit,
    .decorate = decorate,
    .custom_id = custom_id,
    .line = op_emu_mistral_line,
    .place = op_emu_mistral_place,
    .last_newline = true,
    .keeps_errors = true,
};
