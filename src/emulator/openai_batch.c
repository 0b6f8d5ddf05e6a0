/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "emulator/batches.h"
#include "emulator/openai.h"
#include "emulator/state.h"

#define LIST_LIMIT     20
#define LIST_LIMIT_MAX 100
#define OUTPUT_SECONDS 2592000 /* an output file lives 30 days */

struct view {
    int64_t now;
    struct op_emu_quirks quirks; /* of the batch and of this answer */
    enum op_emu_phase phase;
    struct op_json meta;
    bool failed; /* at its validation */
    bool shows_output;
};

/* ---- the batch object ---- */

static const char *status_of(const struct op_emu_batch *batch, const struct view *view)
{
    static const char *const names[] = {
        [OP_EMU_PENDING] = "validating",    [OP_EMU_RUNNING] = "in_progress",
        [OP_EMU_FINALIZING] = "finalizing", [OP_EMU_CANCELING] = "cancelling",
        [OP_EMU_ENDED] = "completed",       [OP_EMU_STOPPED] = "cancelled",
        [OP_EMU_TIMED_OUT] = "expired",
    };
    if (view->failed)
        return batch->settled ? "failed" : "validating";
    if (!batch->settled && op_emu_quirk(&view->quirks, OP_EMU_UNKNOWN_STATUS))
        return "reticulating";
    return names[view->phase];
}

static void write_time(struct op_json_out *out, const char *name, bool is_set, int64_t us)
{
    op_json_out_name(out, name);
    if (is_set)
        op_json_out_int(out, us / OP_EMU_SECOND_US);
    else
        op_json_out_null(out);
}

static void write_times(struct op_json_out *out, const struct op_emu_batch *batch,
                        const struct view *view)
{
    bool over = batch->settled && view->phase > OP_EMU_CANCELING;
    bool began = view->phase != OP_EMU_PENDING && batch->start_us != INT64_MAX && !view->failed;
    /* A cancel during validation never got as far. */
    if (batch->cancel_us)
        began = batch->start_us <= batch->cancel_us;
    bool completed = over && !view->failed && view->phase == OP_EMU_ENDED;
    int64_t created = batch->created_us;
    if (op_emu_quirk(&batch->quirks, OP_EMU_CREATED_SKEW))
        created += batch->quirks.value[OP_EMU_CREATED_SKEW] * 1000;
    write_time(out, "created_at", true, created);
    write_time(out, "in_progress_at", began, batch->start_us);
    write_time(out, "expires_at", true, batch->expires_us);
    write_time(out, "finalizing_at", completed || view->phase == OP_EMU_FINALIZING,
               batch->full_us);
    write_time(out, "completed_at", completed, batch->ended_us);
    write_time(out, "failed_at", over && view->failed, batch->ended_us);
    write_time(out, "expired_at", over && view->phase == OP_EMU_TIMED_OUT, batch->ended_us);
    write_time(out, "cancelling_at", batch->cancel_us != 0, batch->cancel_us);
    write_time(out, "cancelled_at", over && view->phase == OP_EMU_STOPPED, batch->ended_us);
}

static void write_counts(struct op_json_out *out, const struct op_emu_batch *batch,
                         const struct view *view)
{
    int64_t total = batch->total, completed = 0, failed = 0;
    if (view->phase == OP_EMU_PENDING || (view->failed && !batch->settled)) {
        total = 0;
    } else if (view->phase > OP_EMU_CANCELING) {
        completed = batch->done[OP_EMU_SUCCEEDED];
        failed = batch->done[OP_EMU_ERRORED];
    } else {
        completed = op_emu_batch_progress(batch, view->now);
    }
    /* Seen so: lines in the error file that the counts call completed. */
    if (op_emu_quirk(&view->quirks, OP_EMU_COUNTS_LIE)) {
        completed += failed;
        failed = 0;
    }
    op_json_out_name(out, "request_counts");
    op_json_out_object(out);
    op_json_out_kv_int(out, "total", total);
    op_json_out_kv_int(out, "completed", completed);
    op_json_out_kv_int(out, "failed", failed);
    op_json_out_end_object(out);
}

void op_emu_openai_output_id(const struct op_emulator *emulator,
                             const struct op_emu_batch *batch, bool errors,
                             char ret[OP_EMU_ID_MAX])
{
    op_emu_store_id(emulator->store, "file-", batch->seq, errors ? -2 : -1, ret);
}

static void write_files(struct op_json_out *out, struct op_emu_call *call,
                        const struct op_emu_batch *batch, const struct view *view)
{
    static const char *const names[] = {"output_file_id", "error_file_id"};
    bool over = batch->settled && view->phase > OP_EMU_CANCELING && view->shows_output;
    int64_t now = view->now;
    for (int i = 0; i < 2; i++) {
        char id[OP_EMU_ID_MAX];
        struct op_emu_file file;
        op_emu_openai_output_id(call->emulator, batch, i == 1, id);
        bool there = over && op_emu_files_get(call->emulator->files, "openai", op_str_from(id),
                                              now, &file);
        const char *none = op_emu_quirk(&view->quirks, OP_EMU_EMPTY_FILE_IDS) ? "" : NULL;
        op_json_out_kv_text(out, names[i], there ? id : none);
    }
}

static void write_errors(struct op_json_out *out, const struct op_emu_batch *batch,
                         const struct view *view)
{
    op_json_out_name(out, "errors");
    if (!view->failed || !batch->settled) {
        op_json_out_null(out);
        return;
    }
    op_json_out_object(out);
    op_json_out_kv_text(out, "object", "list");
    op_json_out_name(out, "data");
    op_json_out_value(out, op_json_get(view->meta, "errors"));
    op_json_out_end_object(out);
}

static void write_usage(struct op_json_out *out, const struct op_emu_batch *batch,
                        const struct view *view)
{
    op_json_out_name(out, "usage");
    if (view->phase <= OP_EMU_CANCELING || view->failed) {
        op_json_out_null(out);
        return;
    }
    op_json_out_object(out);
    op_json_out_kv_int(out, "input_tokens", batch->usage.input + batch->usage.cache_read);
    op_json_out_name(out, "input_tokens_details");
    op_json_out_object(out);
    op_json_out_kv_int(out, "cached_tokens", batch->usage.cache_read);
    op_json_out_end_object(out);
    op_json_out_kv_int(out, "output_tokens", batch->usage.output);
    op_json_out_name(out, "output_tokens_details");
    op_json_out_object(out);
    op_json_out_kv_int(out, "reasoning_tokens", batch->thinking);
    op_json_out_end_object(out);
    op_json_out_kv_int(out, "total_tokens",
                       batch->usage.input + batch->usage.cache_read + batch->usage.output);
    op_json_out_end_object(out);
}

static struct view look_at(struct op_emu_call *call, const struct op_emu_batch *batch)
{
    struct op_json_parser *parser = op_emu_call_parser(call, OP_EMU_PARSE_META);
    struct op_err err = OP_ERR_INIT;
    struct view view = {
        .now = op_emu_batch_now(call, batch),
        .quirks = op_emu_batch_quirks(call, batch),
        .shows_output = true,
    };
    if (op_json_parse(parser, batch->meta, strlen(batch->meta), false, &view.meta, &err))
        view.meta = (struct op_json){0}; /* this program wrote it */
    view.failed = op_json_count(op_json_get(view.meta, "errors")) > 0;
    view.phase = op_emu_batch_phase(batch, &view.quirks, view.now);
    if (batch->settled)
        view.shows_output = op_emu_batch_shows_output(call, batch);
    return view;
}

static void write_batch(struct op_json_out *out, struct op_emu_call *call,
                        const struct op_emu_batch *batch)
{
    struct view view = look_at(call, batch);
    op_json_out_object(out);
    op_json_out_kv_text(out, "id", batch->id);
    op_json_out_kv_text(out, "object", "batch");
    op_json_out_kv_str(out, "endpoint", op_json_str(op_json_get(view.meta, "endpoint")));
    op_json_out_kv_text(out, "model",
                        view.phase == OP_EMU_PENDING || !batch->model[0] ? NULL : batch->model);
    write_errors(out, batch, &view);
    op_json_out_kv_str(out, "input_file_id",
                       op_json_str(op_json_get(view.meta, "input_file_id")));
    op_json_out_kv_text(out, "completion_window", "24h");
    op_json_out_kv_text(out, "status", status_of(batch, &view));
    write_files(out, call, batch, &view);
    write_times(out, batch, &view);
    write_counts(out, batch, &view);
    write_usage(out, batch, &view);
    op_json_out_name(out, "metadata");
    op_json_out_value(out, op_json_get(view.meta, "metadata"));
    if (op_emu_quirk(&view.quirks, OP_EMU_EXTRA_FIELDS)) {
        op_json_out_name(out, "priority");
        op_json_out_raw(out, OP_STR("{\"lane\":\"express\",\"rank\":3}"));
    }
    op_json_out_end_object(out);
}

void op_emu_openai_reply_batch(struct op_emu_call *call, const struct op_emu_batch *batch)
{
    struct op_json_out out;
    op_emu_reply_begin(call, 200, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    write_batch(&out, call, batch);
}

/* ---- get, list, cancel ---- */

static void no_such_batch(struct op_emu_call *call)
{
    op_emu_openai_refuse(call, 404, NULL,
                         op_arena_printf(&call->arena,
                                         "No batch found with id '" OP_STR_FMT "'.",
                                         OP_STR_ARG(call->id)));
}

void op_emu_openai_get_batch(struct op_emu_call *call)
{
    struct op_emu_batch batch;
    if (!op_emu_batch_find(call, call->id, &batch) || op_emu_batch_flaps(call, &batch))
        no_such_batch(call);
    else
        op_emu_openai_reply_batch(call, &batch);
}

void op_emu_openai_list_batches(struct op_emu_call *call)
{
    OP_CLEANUP(op_mem_freep) struct op_emu_batch *batches = NULL;
    struct op_json_out out;
    int64_t now = op_emu_clock_now(&call->emulator->clock);
    int64_t limit = op_emu_openai_limit(call, LIST_LIMIT, LIST_LIMIT_MAX);
    size_t count = 0;
    bool more = false;
    if (limit < 0)
        return;
    struct op_emu_page page = {
        .provider = "openai",
        .accept = op_emu_batch_accept,
        .arg = &now,
        .after_id = op_emu_call_query(call, "after"),
        .limit = (size_t)limit,
        .shift = op_emu_batch_page_shift(call),
    };
    if (op_emu_store_page(call->emulator->store, &page, &batches, &count, &more)) {
        op_emu_openai_refuse(call, 400, "after", "Invalid 'after': no such batch.");
        return;
    }
    op_emu_reply_begin(call, 200, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "object", "list");
    op_json_out_name(&out, "data");
    op_json_out_array(&out);
    for (size_t i = 0; i < count; i++)
        write_batch(&out, call, &batches[i]);
    op_json_out_end_array(&out);
    op_json_out_kv_text(&out, "first_id", count ? batches[0].id : NULL);
    op_json_out_kv_text(&out, "last_id", count ? batches[count - 1].id : NULL);
    op_json_out_kv_bool(&out, "has_more", more);
    op_json_out_end_object(&out);
}

static void refuse_cancel(struct op_emu_call *call, const struct op_emu_batch *batch)
{
    struct view view = look_at(call, batch);
    op_emu_openai_refuse(call, 409, NULL,
                         op_arena_printf(&call->arena,
                                         "Cannot cancel a batch with status '%s'.",
                                         status_of(batch, &view)));
}

void op_emu_openai_cancel_batch(struct op_emu_call *call)
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
        op_emu_openai_disk_failed(call, &err);
    else if (batch.settled || !batch.cancel_us)
        refuse_cancel(call, &batch);
    else
        op_emu_openai_reply_batch(call, &batch);
}

/* ---- the files of a batch ---- */

enum op_rc op_emu_openai_place(struct op_emulator *emulator, const struct op_emu_batch *batch,
                               const struct op_emu_output *output, struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json meta;
    enum op_rc rc = op_json_parse(parser, batch->meta, strlen(batch->meta), false, &meta, err);
    int64_t seconds = rc ? 0 : op_json_int(op_json_get(meta, "output_seconds"), OUTPUT_SECONDS);
    const struct op_emu_placing placing = {
        .purpose = "batch_output",
        .expires_us = batch->ended_us + seconds * OP_EMU_SECOND_US,
        .id = op_emu_openai_output_id,
    };
    return rc ? rc : op_emu_batch_place(emulator, batch, output, &placing, err);
}
