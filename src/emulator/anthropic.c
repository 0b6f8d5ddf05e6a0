/* SPDX-License-Identifier: MIT */
#include "emulator/anthropic.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "emulator/batches.h"
#include "emulator/state.h"

#define ARCHIVE_US       (29 * OP_EMU_DAY_US)
#define POLL_SECONDS     10 /* what the API suggests between two looks at a batch */
#define LIST_LIMIT       20
#define LIST_LIMIT_MAX   1000
#define RATE_LIMIT       "20000"
#define ORGANIZATION     "00000000-0000-4000-8000-000000000001"
#define WORKSPACE        "wrkspc_01EmulatorEmulatorEmulator"
#define VERSION_OLD      "2023-06-01"
#define VERSION_NEW      "2026-10-21"
#define LONG_OUTPUT_BETA "output-300k-2026-03-24"

/* ---- errors ---- */

static const struct {
    int status;
    const char *type;
    const char *message;
} errors[] = {
    {400, "invalid_request_error", "Invalid request"},
    {401, "authentication_error", "API key is invalid."},
    {402, "billing_error", "There is an issue with your billing."},
    {403, "permission_error", "Your API key does not have permission to use this resource."},
    {404, "not_found_error", "Not found"},
    {409, "conflict_error", "The request conflicts with the state of the resource."},
    {413, "request_too_large", "Request exceeds the maximum allowed number of bytes."},
    {429, "rate_limit_error", "This request would exceed your organization's rate limit."},
    {500, "api_error", "Internal server error"},
    {504, "timeout_error", "The request timed out."},
    {529, "overloaded_error", "Overloaded"},
};

int op_anthropic_status_of(const char *type)
{
    for (size_t i = 0; i < OP_COUNT(errors); i++) {
        if (strcmp(errors[i].type, type) == 0)
            return errors[i].status;
    }
    return 500;
}

static void write_error(struct op_emu_call *call, const char *type, const char *message,
                        const char *code)
{
    struct op_json_out out;
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "type", "error");
    op_json_out_name(&out, "error");
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "type", type);
    op_json_out_kv_text(&out, "message", message);
    if (code) {
        op_json_out_name(&out, "details");
        op_json_out_object(&out);
        op_json_out_kv_text(&out, "error_code", code);
        op_json_out_end_object(&out);
    }
    op_json_out_end_object(&out);
    op_json_out_kv_text(&out, "request_id", call->request_id);
    op_json_out_end_object(&out);
}

void op_anthropic_error(struct op_emu_call *call, int status, const char *type,
                        const char *message)
{
    const char *standard = status < 500 ? "invalid_request_error" : "api_error";
    const char *text = "Internal server error";
    for (size_t i = 0; i < OP_COUNT(errors); i++) {
        if (errors[i].status != status)
            continue;
        standard = errors[i].type;
        text = errors[i].message;
    }
    op_emu_reply_begin(call, status, "application/json");
    write_error(call, type ? type : standard, message ? message : text, NULL);
}

static void spend_cap(struct op_emu_call *call)
{
    op_emu_reply_begin(call, 429, "application/json");
    write_error(call, "rate_limit_error", "You have reached your organization's spend limit.",
                "enforced_spend_limit_reached");
}

static void rate_limit(struct op_emu_call *call, int64_t seconds)
{
    op_anthropic_error(call, 429, NULL, NULL);
    if (seconds >= 0)
        op_emu_reply_header(call, "retry-after",
                            op_arena_printf(&call->arena, "%lld", (long long)seconds));
}

static void no_such_batch(struct op_emu_call *call)
{
    op_anthropic_error(call, 404, NULL,
                       op_arena_printf(&call->arena, "Message Batch " OP_STR_FMT " not found.",
                                       OP_STR_ARG(call->id)));
}

/* ---- every call ---- */

static struct op_str credentials(const struct op_emu_call *call)
{
    struct op_str bearer = op_emu_call_header(call, "Authorization");
    if (bearer.ptr && bearer.len > 7 && strncasecmp(bearer.ptr, "Bearer ", 7) == 0)
        return op_str_trim((struct op_str){bearer.ptr + 7, bearer.len - 7});
    return op_emu_call_header(call, "X-Api-Key");
}

static bool admit(struct op_emu_call *call)
{
    struct op_str key = credentials(call);
    struct op_str version = op_emu_call_header(call, "anthropic-version");
    const char *wanted = call->emulator->api_key;
    if (!key.len)
        op_anthropic_error(call, 401, NULL, "x-api-key header is required");
    else if (wanted && !op_str_is(key, wanted))
        op_anthropic_error(call, 401, NULL, NULL);
    else if (!version.ptr)
        op_anthropic_error(call, 400, NULL, "anthropic-version: header is required");
    else if (!op_str_is(version, VERSION_OLD) && !op_str_is(version, VERSION_NEW))
        op_anthropic_error(call, 400, NULL,
                           op_arena_printf(&call->arena,
                                           "anthropic-version: \"" OP_STR_FMT
                                           "\" is not a valid version",
                                           OP_STR_ARG(version)));
    else
        return true;
    return false;
}

/* Without a prefix, /v1/models could be meant for another provider. */
static bool claims(const struct op_emu_call *call)
{
    return !op_str_starts(call->path, "/v1/models") ||
           op_emu_call_header(call, "anthropic-version").ptr != NULL;
}

static void decorate(struct op_emu_call *call)
{
    char reset[OP_EMU_TIME_TEXT];
    int status = call->reply.status;
    op_emu_time_format(op_emu_clock_now(&call->emulator->clock), true, reset);
    op_emu_reply_header(call, "request-id", call->request_id);
    op_emu_reply_header(call, "anthropic-organization-id", ORGANIZATION);
    op_emu_reply_header(call, "anthropic-workspace-id", WORKSPACE);
    op_emu_reply_header(call, "anthropic-ratelimit-requests-limit", RATE_LIMIT);
    op_emu_reply_header(call, "anthropic-ratelimit-requests-remaining", "19999");
    op_emu_reply_header(call, "anthropic-ratelimit-requests-reset", reset);
    if (status >= 400 && status < 500 && status != 408 && status != 409 && status != 429)
        op_emu_reply_header(call, "x-should-retry", "false");
}

/* ---- where a request comes from ---- */

struct op_anthropic_place op_anthropic_place_of(const struct op_emu_call *call)
{
    struct op_str beta = op_emu_call_header(call, "anthropic-beta");
    return (struct op_anthropic_place){
        .new_version = op_str_is(op_emu_call_header(call, "anthropic-version"), VERSION_NEW),
        .long_output = beta.ptr && memmem(beta.ptr, beta.len, LONG_OUTPUT_BETA,
                                          strlen(LONG_OUTPUT_BETA)) != NULL,
    };
}

#define META_NEW_VERSION "\"new_version\":true"
#define META_LONG_OUTPUT "\"long_output\":true"

const char *op_anthropic_meta(struct op_emu_call *call)
{
    struct op_anthropic_place place = op_anthropic_place_of(call);
    return op_arena_printf(&call->arena, "{%s%s%s}", place.new_version ? META_NEW_VERSION : "",
                           place.new_version && place.long_output ? "," : "",
                           place.long_output ? META_LONG_OUTPUT : "");
}

struct op_anthropic_place op_anthropic_place_in(const char *meta)
{
    return (struct op_anthropic_place){
        .in_batch = true,
        .new_version = strstr(meta, META_NEW_VERSION) != NULL,
        .long_output = strstr(meta, META_LONG_OUTPUT) != NULL,
    };
}

/* ---- the batch object ---- */

struct view {
    int64_t now;
    bool ended, archived;
    struct op_emu_quirks quirks; /* of the batch and of this answer */
};

static int64_t archived_at(const struct op_emu_batch *batch)
{
    int64_t at = batch->created_us + ARCHIVE_US;
    if (op_emu_quirk(&batch->quirks, OP_EMU_ARCHIVED))
        at = batch->ended_us + batch->quirks.value[OP_EMU_ARCHIVED] * 1000;
    return at;
}

static struct view look_at(const struct op_emu_call *call, const struct op_emu_batch *batch)
{
    struct view view = {.now = op_emu_clock_now(&call->emulator->clock),
                        .quirks = batch->quirks};
    op_emu_quirks_add(&view.quirks, &call->fired);
    view.ended = batch->settled && !op_emu_quirk(&view.quirks, OP_EMU_STATE_REGRESS);
    view.archived = batch->settled && view.now >= archived_at(batch);
    return view;
}

static void write_time(struct op_json_out *out, const char *name, int64_t us,
                       const struct view *view)
{
    char text[OP_EMU_TIME_TEXT];
    op_emu_time_format(us, op_emu_quirk(&view->quirks, OP_EMU_Z_TIMESTAMPS), text);
    op_json_out_kv_text(out, name, us ? text : NULL);
}

static void write_counts(struct op_json_out *out, const struct op_emu_batch *batch,
                         const struct view *view)
{
    int64_t done[OP_EMU_OUTCOME_COUNT] = {0}, processing = batch->total;
    if (view->ended) {
        memcpy(done, batch->done, sizeof(done));
        processing = 0;
    } else if (op_emu_quirk(&view->quirks, OP_EMU_LIVE_COUNTS) && batch->full_us != INT64_MAX) {
        double share = (double)(view->now - batch->created_us) /
                       (double)(batch->full_us - batch->created_us);
        done[OP_EMU_SUCCEEDED] = (int64_t)((double)batch->total * fmin(fmax(share, 0), 1));
        processing -= done[OP_EMU_SUCCEEDED];
    }
    if (op_emu_quirk(&view->quirks, OP_EMU_COUNTS_LIE)) {
        int64_t shift = done[OP_EMU_SUCCEEDED] > 0 ? 1 : 0;
        done[OP_EMU_SUCCEEDED] -= shift;
        done[OP_EMU_ERRORED] += shift;
    }
    op_json_out_name(out, "request_counts");
    op_json_out_object(out);
    op_json_out_kv_int(out, "processing", processing);
    for (int i = 0; i < OP_EMU_OUTCOME_COUNT; i++)
        op_json_out_kv_int(out, op_emu_outcome_name((enum op_emu_outcome)i), done[i]);
    op_json_out_end_object(out);
}

static const char *status_of(const struct op_emu_batch *batch, const struct view *view)
{
    if (view->ended)
        return "ended";
    if (op_emu_quirk(&view->quirks, OP_EMU_UNKNOWN_STATUS))
        return "reticulating";
    return batch->cancel_us ? "canceling" : "in_progress";
}

static void write_batch(struct op_json_out *out, struct op_emu_call *call,
                        const struct op_emu_batch *batch)
{
    struct view view = look_at(call, batch);
    int64_t created = batch->created_us;
    if (op_emu_quirk(&batch->quirks, OP_EMU_CREATED_SKEW))
        created += batch->quirks.value[OP_EMU_CREATED_SKEW] * 1000;
    const char *url = op_arena_printf(&call->arena, "%s/v1/messages/batches/%s/results",
                                      op_emu_call_base(call), batch->id);
    op_json_out_object(out);
    op_json_out_kv_text(out, "id", batch->id);
    op_json_out_kv_text(out, "type", "message_batch");
    op_json_out_kv_text(out, "processing_status", status_of(batch, &view));
    write_counts(out, batch, &view);
    write_time(out, "ended_at", view.ended ? batch->ended_us : 0, &view);
    write_time(out, "created_at", created, &view);
    write_time(out, "expires_at", batch->expires_us, &view);
    write_time(out, "archived_at", view.archived ? archived_at(batch) : 0, &view);
    write_time(out, "cancel_initiated_at", batch->cancel_us, &view);
    op_json_out_kv_text(out, "results_url", view.ended && !view.archived ? url : NULL);
    if (op_emu_quirk(&view.quirks, OP_EMU_EXTRA_FIELDS)) {
        op_json_out_name(out, "priority");
        op_json_out_raw(out, OP_STR("{\"lane\":\"express\",\"rank\":3}"));
    }
    op_json_out_end_object(out);
}

void op_anthropic_reply_batch(struct op_emu_call *call, const struct op_emu_batch *batch)
{
    struct op_json_out out;
    char seconds[32];
    op_emu_reply_begin(call, 200, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    write_batch(&out, call, batch);
    if (batch->settled || call->route->on != OP_EMU_ON_GET)
        return;
    /* Real seconds: what a client waits passes faster here. */
    double wait = ceil(POLL_SECONDS / call->emulator->speed);
    snprintf(seconds, sizeof(seconds), "%d", wait < 1 ? 1 : (int)fmin(wait, 86400));
    op_emu_reply_header(call, "retry-after", seconds);
}

/* ---- one batch ---- */

static bool find_batch(struct op_emu_call *call, struct op_emu_batch *batch)
{
    if (op_emu_batch_find(call, call->id, batch))
        return true;
    no_such_batch(call);
    return false;
}

static bool flaps(struct op_emu_call *call, const struct op_emu_batch *batch)
{
    bool gone = op_emu_batch_flaps(call, batch);
    if (gone)
        no_such_batch(call);
    return gone;
}

static void get_batch(struct op_emu_call *call)
{
    struct op_emu_batch batch;
    if (find_batch(call, &batch) && !flaps(call, &batch))
        op_anthropic_reply_batch(call, &batch);
}

static void cancel_batch(struct op_emu_call *call)
{
    struct op_emu_batch batch;
    struct op_err err = OP_ERR_INIT;
    struct op_emulator *em = call->emulator;
    if (!find_batch(call, &batch))
        return;
    enum op_rc rc = op_emu_batch_cancel(em, call->id, &batch, &err);
    if (rc == OP_NOTFOUND) {
        no_such_batch(call);
    } else if (rc) {
        op_emu_fail(em, &err);
        op_anthropic_error(call, 500, NULL, err.msg);
    } else if (batch.settled || !batch.cancel_us) {
        op_anthropic_error(call, 400, NULL,
                           op_arena_printf(&call->arena,
                                           "Message Batch %s cannot be canceled"
                                           " because it has already ended.",
                                           batch.id));
    } else {
        op_anthropic_reply_batch(call, &batch);
    }
}

static void delete_batch(struct op_emu_call *call)
{
    struct op_emu_batch batch;
    struct op_err err = OP_ERR_INIT;
    struct op_json_out out;
    if (!find_batch(call, &batch))
        return;
    if (!batch.settled) {
        op_anthropic_error(call, 400, NULL,
                           "In progress batches cannot be deleted. Consider"
                           " canceling the batch instead.");
        return;
    }
    enum op_rc rc = op_emu_store_delete(call->emulator->store, call->id, &err);
    if (rc == OP_NOTFOUND) {
        no_such_batch(call);
        return;
    }
    if (rc) {
        op_emu_fail(call->emulator, &err);
        op_anthropic_error(call, 500, NULL, err.msg);
        return;
    }
    op_emu_reply_begin(call, 200, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "id", batch.id);
    op_json_out_kv_text(&out, "type", "message_batch_deleted");
    op_json_out_end_object(&out);
}

static void get_results(struct op_emu_call *call)
{
    struct op_emu_batch batch;
    struct stat info;
    if (!find_batch(call, &batch) || (batch.settled && flaps(call, &batch)))
        return;
    struct view view = look_at(call, &batch);
    char *path = op_emu_store_path(call->emulator->store, &batch, "results");
    if (!view.ended || view.archived || stat(path, &info)) {
        op_mem_free(path);
        op_anthropic_error(call, 404, NULL,
                           op_arena_printf(&call->arena,
                                           "Message Batch %s has no available results.",
                                           batch.id));
        return;
    }
    op_emu_reply_begin(call, 200, "application/x-jsonl");
    call->reply.file = path;
    call->reply.file_len = info.st_size;
}

/* ---- the list ---- */

int64_t op_anthropic_limit(struct op_emu_call *call)
{
    struct op_str text = op_emu_call_query(call, "limit");
    int64_t limit = LIST_LIMIT;
    const char *wrong = NULL;
    if (text.ptr && !op_str_int64(text, &limit))
        wrong = "limit: Input should be a valid integer, unable to parse string as an integer";
    else if (limit < 1)
        wrong = "limit: Input should be greater than or equal to 1";
    else if (limit > LIST_LIMIT_MAX)
        wrong = "limit: Input should be less than or equal to 1000";
    if (wrong)
        op_anthropic_error(call, 400, NULL, wrong);
    return wrong ? -1 : limit;
}

static void write_list(struct op_emu_call *call, const struct op_emu_batch *batches,
                       size_t count, bool more)
{
    struct op_json_out out;
    op_emu_reply_begin(call, 200, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    op_json_out_name(&out, "data");
    op_json_out_array(&out);
    for (size_t i = 0; i < count; i++)
        write_batch(&out, call, &batches[i]);
    op_json_out_end_array(&out);
    op_json_out_kv_bool(&out, "has_more", more);
    op_json_out_kv_text(&out, "first_id", count ? batches[0].id : NULL);
    op_json_out_kv_text(&out, "last_id", count ? batches[count - 1].id : NULL);
    op_json_out_end_object(&out);
}

static void list_batches(struct op_emu_call *call)
{
    OP_CLEANUP(op_mem_freep) struct op_emu_batch *batches = NULL;
    int64_t now = op_emu_clock_now(&call->emulator->clock);
    int64_t limit = op_anthropic_limit(call);
    size_t count = 0;
    bool more = false;
    if (limit < 0)
        return;
    struct op_emu_page page = {
        .provider = "anthropic",
        .accept = op_emu_batch_accept,
        .arg = &now,
        .after_id = op_emu_call_query(call, "after_id"),
        .before_id = op_emu_call_query(call, "before_id"),
        .limit = (size_t)limit,
        .shift = op_emu_batch_page_shift(call),
    };
    if (page.after_id.ptr && page.before_id.ptr)
        op_anthropic_error(call, 400, NULL, "after_id and before_id exclude each other");
    else if (op_emu_store_page(call->emulator->store, &page, &batches, &count, &more))
        op_anthropic_error(call, 400, NULL,
                           page.after_id.ptr ? "after_id: no such batch"
                                             : "before_id: no such batch");
    else
        write_list(call, batches, count, more);
}

/* ---- the table ---- */

static struct op_str custom_id(struct op_json request)
{
    return op_json_str(op_json_get(request, "custom_id"));
}

static const struct op_emu_route routes[] = {
    {.method = "POST",
     .path = "/v1/messages/batches",
     .on = OP_EMU_ON_CREATE,
     .handle = op_anthropic_create,
     .begin = op_anthropic_create_begin,
     .add = op_anthropic_create_add,
     .release = op_anthropic_create_release,
     .body_max = OP_ANTHROPIC_BATCH_MAX},
    {.method = "GET",
     .path = "/v1/messages/batches",
     .on = OP_EMU_ON_LIST,
     .handle = list_batches},
    {.method = "GET",
     .path = "/v1/messages/batches/{}",
     .on = OP_EMU_ON_GET,
     .handle = get_batch},
    {.method = "GET",
     .path = "/v1/messages/batches/{}/results",
     .on = OP_EMU_ON_RESULTS,
     .handle = get_results},
    {.method = "POST",
     .path = "/v1/messages/batches/{}/cancel",
     .on = OP_EMU_ON_CANCEL,
     .handle = cancel_batch},
    {.method = "DELETE",
     .path = "/v1/messages/batches/{}",
     .on = OP_EMU_ON_DELETE,
     .handle = delete_batch},
    {.method = "POST",
     .path = "/v1/messages",
     .on = OP_EMU_ON_MESSAGES,
     .handle = op_anthropic_post_message},
    {.method = "POST",
     .path = "/v1/messages/count_tokens",
     .on = OP_EMU_ON_COUNT,
     .handle = op_anthropic_count_tokens},
    {.method = "GET",
     .path = "/v1/models",
     .on = OP_EMU_ON_MODELS,
     .handle = op_anthropic_list_models},
    {.method = "GET",
     .path = "/v1/models/{}",
     .on = OP_EMU_ON_MODELS,
     .handle = op_anthropic_get_model},
};

const struct op_emu_api op_emu_anthropic = {
    .name = "anthropic",
    .routes = routes,
    .route_count = OP_COUNT(routes),
    .claims = claims,
    .admit = admit,
    .error = op_anthropic_error,
    .spend_cap = spend_cap,
    .rate_limit = rate_limit,
    .decorate = decorate,
    .custom_id = custom_id,
    .line = op_anthropic_line,
    .place = op_emu_place_nothing,
};
