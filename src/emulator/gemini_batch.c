/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "emulator/batches.h"
#include "emulator/gemini.h"
#include "emulator/state.h"

#define PAGE_SIZE     50
#define PAGE_SIZE_MAX 1000
#define RESULTS_MAX   ((size_t)400 * 1024 * 1024)
#define TYPE          "type.googleapis.com/google.ai.generativelanguage.v1main."

struct view {
    int64_t now;
    struct op_emu_quirks quirks; /* of the batch and of this answer */
    enum op_emu_phase phase;
    struct op_json meta;
    const char *state;
    bool over, listed;
};

bool op_emu_gemini_has_results(const struct op_emu_batch *batch)
{
    bool expired = !batch->cancel_us && batch->due_us >= batch->expires_us;
    bool before = batch->cancel_us && batch->cancel_us < batch->start_us;
    return batch->total > 0 && !expired && !before;
}

static bool has_failed(const struct view *view)
{
    return op_json_is(op_json_get(view->meta, "error"), OP_JSON_OBJECT);
}

/* A cancel that comes after the start ends as a success, with what was done by then. */
static const char *state_of(const struct op_emu_batch *batch, const struct view *view)
{
    bool before = batch->cancel_us && batch->cancel_us < batch->start_us;
    if (!view->over && op_emu_quirk(&view->quirks, OP_EMU_UNKNOWN_STATUS))
        return "BATCH_STATE_RETICULATING";
    if (has_failed(view))
        return view->over ? "BATCH_STATE_FAILED" : "BATCH_STATE_PENDING";
    switch (view->phase) {
    case OP_EMU_PENDING:
        return "BATCH_STATE_PENDING";
    case OP_EMU_CANCELING:
        return before ? "BATCH_STATE_PENDING" : "BATCH_STATE_RUNNING";
    case OP_EMU_ENDED:
        return "BATCH_STATE_SUCCEEDED";
    case OP_EMU_STOPPED:
        return before ? "BATCH_STATE_CANCELLED" : "BATCH_STATE_SUCCEEDED";
    case OP_EMU_TIMED_OUT:
        return "BATCH_STATE_EXPIRED";
    case OP_EMU_RUNNING:
    case OP_EMU_FINALIZING:
    default:
        return "BATCH_STATE_RUNNING";
    }
}

static struct view look_at(struct op_emu_call *call, const struct op_emu_batch *batch)
{
    struct op_json_parser *parser = op_emu_call_parser(call, OP_EMU_PARSE_META);
    struct op_err err = OP_ERR_INIT;
    struct view view = {.now = op_emu_batch_now(call, batch),
                        .quirks = op_emu_batch_quirks(call, batch),
                        .listed = call->route->on == OP_EMU_ON_LIST};
    if (op_json_parse(parser, batch->meta, strlen(batch->meta), false, &view.meta, &err))
        view.meta = (struct op_json){0}; /* this program wrote it */
    view.phase = op_emu_batch_phase(batch, &view.quirks, view.now);
    view.over = batch->settled && view.phase > OP_EMU_CANCELING;
    view.state = state_of(batch, &view);
    return view;
}

/* ---- the parts of the operation ---- */

/* Counters are decimal strings, and those that are zero are left out. */
static void write_count(struct op_json_out *out, const char *name, int64_t count)
{
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)count);
    if (count)
        op_json_out_kv_text(out, name, text);
}

static void write_stats(struct op_json_out *out, const struct op_emu_batch *batch,
                        const struct view *view)
{
    int64_t done = 0, failed = 0, pending = batch->total;
    if (view->over && op_emu_gemini_has_results(batch)) {
        done = batch->done[OP_EMU_SUCCEEDED];
        failed = batch->total - done;
        pending = 0;
    } else if (op_emu_quirk(&view->quirks, OP_EMU_LIVE_COUNTS)) {
        done = op_emu_batch_progress(batch, view->now);
        pending -= done;
    }
    if (op_emu_quirk(&view->quirks, OP_EMU_COUNTS_LIE)) {
        done += failed;
        failed = 0;
    }
    op_json_out_name(out, "batchStats");
    op_json_out_object(out);
    write_count(out, "requestCount", batch->total);
    write_count(out, "successfulRequestCount", done);
    write_count(out, "failedRequestCount", failed);
    write_count(out, "pendingRequestCount", pending);
    op_json_out_end_object(out);
}

/* The results of a batch as a list, from its file. */
static void write_inline(struct op_json_out *out, struct op_emu_call *call,
                         const struct op_emu_batch *batch)
{
    OP_CLEANUP(op_mem_freep)
    char *path = op_emu_store_path(call->emulator->store, batch, "results");
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    struct op_err err = OP_ERR_INIT;
    struct op_line line;
    op_json_out_name(out, "inlinedResponses");
    op_json_out_object(out);
    op_json_out_name(out, "inlinedResponses");
    op_json_out_array(out);
    if (!op_lines_open(call->emulator->env, path, 0, RESULTS_MAX, &lines, &err)) {
        while (!op_lines_next(lines, &line, &err))
            op_json_out_raw(out, (struct op_str){line.ptr, line.len});
    }
    op_json_out_end_array(out);
    op_json_out_end_object(out);
}

static void write_output(struct op_json_out *out, struct op_emu_call *call,
                         const struct op_emu_batch *batch, const struct view *view)
{
    char text[OP_EMU_ID_MAX + 32];
    if (op_json_bool(op_json_get(view->meta, "inline"), false)) {
        write_inline(out, call, batch);
        return;
    }
    snprintf(text, sizeof(text), "files/batch-%s", batch->id);
    op_json_out_kv_text(out, "responsesFile", text);
}

static bool has_output(const struct op_emu_batch *batch, const struct view *view)
{
    bool is_inline = op_json_bool(op_json_get(view->meta, "inline"), false);
    return view->over && op_emu_gemini_has_results(batch) && !(is_inline && view->listed);
}

static const char *kind_of(const struct view *view)
{
    return op_json_bool(op_json_get(view->meta, "embeds"), false) ? "EmbedContentBatch"
                                                                  : "GenerateContentBatch";
}

static void write_metadata(struct op_json_out *out, struct op_emu_call *call,
                           const struct op_emu_batch *batch, const struct view *view,
                           bool shows)
{
    char text[128];
    int64_t created = batch->created_us;
    struct op_str file = op_json_str(op_json_get(view->meta, "file"));
    struct op_str name = op_json_str(op_json_get(view->meta, "display_name"));
    if (op_emu_quirk(&batch->quirks, OP_EMU_CREATED_SKEW))
        created += batch->quirks.value[OP_EMU_CREATED_SKEW] * 1000;
    op_json_out_name(out, "metadata");
    op_json_out_object(out);
    snprintf(text, sizeof(text), TYPE "%s", kind_of(view));
    op_json_out_kv_text(out, "@type", text);
    snprintf(text, sizeof(text), "models/%s", batch->model);
    op_json_out_kv_text(out, "model", text);
    if (name.ptr)
        op_json_out_kv_str(out, "displayName", name);
    if (file.ptr) {
        op_json_out_name(out, "inputConfig");
        op_json_out_object(out);
        op_json_out_kv_str(out, "fileName", file);
        op_json_out_end_object(out);
    }
    if (shows) {
        op_json_out_name(out, "output");
        op_json_out_object(out);
        write_output(out, call, batch, view);
        op_json_out_end_object(out);
    }
    op_emu_gemini_time(out, "createTime", created, batch->seq);
    if (view->over)
        op_emu_gemini_time(out, "endTime", batch->ended_us, batch->seq + 1);
    op_emu_gemini_time(out, "updateTime",
                       view->over                      ? batch->ended_us
                       : view->phase == OP_EMU_PENDING ? created
                                                       : view->now,
                       batch->seq + 2);
    write_stats(out, batch, view);
    op_json_out_kv_text(out, "state", view->state);
    snprintf(text, sizeof(text), "batches/%s", batch->id);
    op_json_out_kv_text(out, "name", text);
    if (op_emu_quirk(&view->quirks, OP_EMU_EXTRA_FIELDS))
        op_json_out_kv_text(out, "lane", "express");
    op_json_out_end_object(out);
}

static void write_end(struct op_json_out *out, struct op_emu_call *call,
                      const struct op_emu_batch *batch, const struct view *view, bool shows)
{
    char text[128];
    op_json_out_kv_bool(out, "done", true);
    if (has_failed(view)) {
        op_json_out_name(out, "error");
        op_json_out_value(out, op_json_get(view->meta, "error"));
    } else if (strcmp(view->state, "BATCH_STATE_CANCELLED") == 0) {
        /* Code 13, not 1: seen so. */
        op_json_out_name(out, "error");
        op_json_out_raw(out, OP_STR("{\"code\":13,\"message\":\"Batch was cancelled.\"}"));
    } else if (shows) {
        op_json_out_name(out, "response");
        op_json_out_object(out);
        snprintf(text, sizeof(text), TYPE "%sOutput", kind_of(view));
        op_json_out_kv_text(out, "@type", text);
        write_output(out, call, batch, view);
        op_json_out_end_object(out);
    }
}

static void write_operation(struct op_json_out *out, struct op_emu_call *call,
                            const struct op_emu_batch *batch)
{
    struct view view = look_at(call, batch);
    char text[OP_EMU_ID_MAX + 32];
    bool shows = has_output(batch, &view) && op_emu_batch_shows_output(call, batch);
    snprintf(text, sizeof(text), "batches/%s", batch->id);
    op_json_out_object(out);
    op_json_out_kv_text(out, "name", text);
    write_metadata(out, call, batch, &view, shows);
    if (view.over)
        write_end(out, call, batch, &view, shows);
    op_json_out_end_object(out);
}

void op_emu_gemini_reply_batch(struct op_emu_call *call, const struct op_emu_batch *batch)
{
    struct op_json_out out;
    op_emu_reply_begin(call, 200, "application/json; charset=UTF-8");
    op_json_out_init(&out, &call->reply.body, 0);
    write_operation(&out, call, batch);
}

/* ---- get, list, cancel, delete ---- */

static void no_such_batch(struct op_emu_call *call)
{
    op_emu_gemini_error(call, 404, NULL,
                        op_arena_printf(&call->arena,
                                        "Requested entity was not found: batches/" OP_STR_FMT,
                                        OP_STR_ARG(call->id)));
}

void op_emu_gemini_get_batch(struct op_emu_call *call)
{
    struct op_emu_batch batch;
    if (!op_emu_batch_find(call, call->id, &batch) || op_emu_batch_flaps(call, &batch))
        no_such_batch(call);
    else
        op_emu_gemini_reply_batch(call, &batch);
}

void op_emu_gemini_list_batches(struct op_emu_call *call)
{
    OP_CLEANUP(op_mem_freep) struct op_emu_batch *batches = NULL;
    struct op_json_out out;
    int64_t now = op_emu_clock_now(&call->emulator->clock);
    int64_t size = op_emu_gemini_page_size(call, PAGE_SIZE, PAGE_SIZE_MAX);
    struct op_str token = op_emu_call_query(call, "pageToken");
    size_t count = 0;
    bool more = false;
    if (size < 0)
        return;
    struct op_emu_page page = {
        .provider = "gemini",
        .accept = op_emu_batch_accept,
        .arg = &now,
        .after_id = token.len ? token : OP_STR_NULL,
        .limit = (size_t)size,
        .shift = op_emu_batch_page_shift(call),
    };
    if (op_emu_store_page(call->emulator->store, &page, &batches, &count, &more)) {
        op_emu_gemini_error(call, 400, NULL, "Invalid page token.");
        return;
    }
    op_emu_reply_begin(call, 200, "application/json; charset=UTF-8");
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    if (count) {
        op_json_out_name(&out, "operations");
        op_json_out_array(&out);
        for (size_t i = 0; i < count; i++)
            write_operation(&out, call, &batches[i]);
        op_json_out_end_array(&out);
    }
    if (more)
        op_json_out_kv_text(&out, "nextPageToken", batches[count - 1].id);
    op_json_out_end_object(&out);
}

void op_emu_gemini_cancel_batch(struct op_emu_call *call)
{
    struct op_emu_batch batch;
    struct op_err err = OP_ERR_INIT;
    if (!op_emu_batch_find(call, call->id, &batch)) {
        no_such_batch(call);
        return;
    }
    enum op_rc rc = op_emu_batch_cancel(call->emulator, call->id, &batch, &err);
    if (rc == OP_NOTFOUND)
        no_such_batch(call);
    else if (rc)
        op_emu_gemini_disk_failed(call, &err);
    else
        op_emu_gemini_reply_empty(call);
}

void op_emu_gemini_delete_batch(struct op_emu_call *call)
{
    struct op_emu_batch batch;
    struct op_err err = OP_ERR_INIT;
    if (!op_emu_batch_find(call, call->id, &batch)) {
        no_such_batch(call);
        return;
    }
    enum op_rc rc = op_emu_store_delete(call->emulator->store, call->id, &err);
    if (rc == OP_NOTFOUND)
        no_such_batch(call);
    else if (rc)
        op_emu_gemini_disk_failed(call, &err);
    else
        op_emu_gemini_reply_empty(call);
}
