/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "emulator/batches.h"
#include "emulator/mistral.h"
#include "emulator/state.h"

#define LINE_MAX_BYTES ((size_t)512 * 1024 * 1024)
#define REQUESTS_MAX   1000000 /* a batch */
#define HOURS_MAX      168     /* timeout_hours: seven days */
#define PENDING_PART   10
#define OUTPUT_MAX     ((size_t)400 * 1024 * 1024)

/* ---- the job ---- */

struct view {
    int64_t now;
    struct op_emu_quirks quirks; /* of the batch and of this answer */
    enum op_emu_phase phase;
    struct op_json meta;
    bool failed, over;
};

static struct view look_at(struct op_emu_call *call, const struct op_emu_batch *batch)
{
    struct op_json_parser *parser = op_emu_call_parser(call, OP_EMU_PARSE_META);
    struct op_err err = OP_ERR_INIT;
    struct view view = {.now = op_emu_batch_now(call, batch),
                        .quirks = op_emu_batch_quirks(call, batch)};
    if (op_json_parse(parser, batch->meta, strlen(batch->meta), false, &view.meta, &err))
        view.meta = (struct op_json){0}; /* this program wrote it */
    view.failed = op_json_count(op_json_get(view.meta, "errors")) > 0;
    view.phase = op_emu_batch_phase(batch, &view.quirks, view.now);
    view.over = batch->settled && view.phase > OP_EMU_CANCELING;
    return view;
}

static const char *status_of(const struct view *view)
{
    static const char *const names[] = {
        [OP_EMU_PENDING] = "QUEUED",
        [OP_EMU_RUNNING] = "RUNNING",
        [OP_EMU_FINALIZING] = "RUNNING",
        [OP_EMU_CANCELING] = "CANCELLATION_REQUESTED",
        [OP_EMU_ENDED] = "SUCCESS",
        [OP_EMU_STOPPED] = "CANCELLED",
        [OP_EMU_TIMED_OUT] = "TIMEOUT_EXCEEDED",
    };
    if (view->failed)
        return view->over ? "FAILED" : "QUEUED";
    if (!view->over && op_emu_quirk(&view->quirks, OP_EMU_UNKNOWN_STATUS))
        return "RETICULATING";
    return names[view->phase];
}

static void output_id(const struct op_emulator *emulator, const struct op_emu_batch *batch,
                      bool errors, char ret[OP_EMU_ID_MAX])
{
    op_emu_mistral_uuid(emulator, batch->seq, errors ? -2 : -1, ret);
}

static void write_files(struct op_json_out *out, struct op_emu_call *call,
                        const struct op_emu_batch *batch, const struct view *view)
{
    static const char *const names[] = {"output_file", "error_file"};
    bool shows = view->over && op_emu_batch_shows_output(call, batch);
    for (int i = 0; i < 2; i++) {
        char id[OP_EMU_ID_MAX];
        struct op_emu_file file;
        output_id(call->emulator, batch, i == 1, id);
        bool there = shows && op_emu_files_get(call->emulator->files, "mistral",
                                               op_str_from(id), view->now, &file);
        const char *none = op_emu_quirk(&view->quirks, OP_EMU_EMPTY_FILE_IDS) ? "" : NULL;
        op_json_out_kv_text(out, names[i], there ? id : none);
    }
}

static void write_counts(struct op_json_out *out, const struct op_emu_batch *batch,
                         const struct view *view)
{
    int64_t done = view->over ? batch->done[OP_EMU_SUCCEEDED] + batch->done[OP_EMU_ERRORED]
                              : op_emu_batch_progress(batch, view->now);
    int64_t failed = view->over ? batch->done[OP_EMU_ERRORED] : 0;
    if (op_emu_quirk(&view->quirks, OP_EMU_COUNTS_LIE))
        failed = 0;
    op_json_out_kv_int(out, "total_requests", batch->total);
    op_json_out_kv_int(out, "completed_requests", done);
    op_json_out_kv_int(out, "succeeded_requests", done - failed);
    op_json_out_kv_int(out, "failed_requests", failed);
}

/* With ?inline=true the lines of both files. */
static void write_outputs(struct op_json_out *out, struct op_emu_call *call,
                          const struct op_emu_batch *batch, const struct view *view)
{
    static const char *const names[] = {"results", "errors"};
    op_json_out_name(out, "outputs");
    if (!view->over || !op_str_is(op_emu_call_query(call, "inline"), "true")) {
        op_json_out_null(out);
        return;
    }
    op_json_out_array(out);
    for (int i = 0; i < 2; i++) {
        OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
        OP_CLEANUP(op_mem_freep)
        char *path = op_emu_store_path(call->emulator->store, batch, names[i]);
        struct op_err err = OP_ERR_INIT;
        struct op_line line;
        if (op_lines_open(call->emulator->env, path, 0, OUTPUT_MAX, &lines, &err))
            continue;
        while (!op_lines_next(lines, &line, &err))
            op_json_out_raw(out, (struct op_str){line.ptr, line.len});
    }
    op_json_out_end_array(out);
}

static void write_time(struct op_json_out *out, const char *name, bool is_set, int64_t us)
{
    op_json_out_name(out, name);
    if (is_set)
        op_json_out_int(out, us / OP_EMU_SECOND_US);
    else
        op_json_out_null(out);
}

static void write_job(struct op_json_out *out, struct op_emu_call *call,
                      const struct op_emu_batch *batch)
{
    struct view view = look_at(call, batch);
    int64_t created = batch->created_us;
    if (op_emu_quirk(&batch->quirks, OP_EMU_CREATED_SKEW))
        created += batch->quirks.value[OP_EMU_CREATED_SKEW] * 1000;
    op_json_out_object(out);
    op_json_out_kv_text(out, "id", batch->id);
    op_json_out_kv_text(out, "object", "batch");
    op_json_out_name(out, "input_files");
    op_json_out_value(out, op_json_get(view.meta, "input_files"));
    op_json_out_name(out, "metadata");
    op_json_out_value(out, op_json_get(view.meta, "metadata"));
    op_json_out_kv_str(out, "endpoint", op_json_str(op_json_get(view.meta, "endpoint")));
    op_json_out_kv_text(out, "model", batch->model[0] ? batch->model : NULL);
    op_json_out_kv_text(out, "agent_id", NULL);
    write_files(out, call, batch, &view);
    op_json_out_name(out, "errors");
    if (view.over)
        op_json_out_value(out, op_json_get(view.meta, "errors"));
    else
        op_json_out_raw(out, OP_STR("[]"));
    write_outputs(out, call, batch, &view);
    op_json_out_kv_text(out, "status", status_of(&view));
    write_time(out, "created_at", true, created);
    write_time(out, "started_at", view.now >= batch->start_us && !view.failed, batch->start_us);
    write_time(out, "completed_at", view.over, batch->ended_us);
    write_counts(out, batch, &view);
    if (op_emu_quirk(&view.quirks, OP_EMU_EXTRA_FIELDS))
        op_json_out_kv_text(out, "lane", "express");
    op_json_out_end_object(out);
}

static void reply_job(struct op_emu_call *call, const struct op_emu_batch *batch)
{
    struct op_json_out out;
    op_emu_reply_begin(call, 200, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    write_job(&out, call, batch);
}

/* ---- create ---- */

struct creation {
    struct op_emu_call *call;
    enum op_emu_openai_kind kind;
    struct op_emu_upload upload;
    struct op_json_parser *parser; /* of a line */
    struct op_str model;           /* of the job; ptr NULL: each line says its own */
    int64_t tokens, bad;
};

static enum op_rc take_request(struct creation *c, struct op_json line, struct op_str text,
                               struct op_err *err)
{
    char hash[OP_SHA256_HEX];
    OP_CLEANUP(op_emu_talk_release) struct op_emu_talk talk;
    struct op_json body = op_json_get(line, "body");
    struct op_str model = op_json_str(op_json_get(body, "model"));
    if (!op_json_is(body, OP_JSON_OBJECT)) {
        c->bad++;
        return OP_OK;
    }
    op_emu_talk_init(&talk);
    op_emu_openai_prompt(&talk, body, c->kind);
    c->tokens += op_emu_tokens(talk.bytes);
    op_emu_hash(body, hash);
    struct op_emu_entry entry = {
        .custom_id = op_json_str(op_json_get(line, "custom_id")),
        .hash = hash,
        .state = "accepted",
        .model = model.ptr ? model : c->model,
    };
    return op_emu_upload_add(&c->upload, text, &entry, err);
}

static enum op_rc take_file(struct creation *c, const struct op_emu_file *file,
                            struct op_err *err)
{
    struct op_emulator *em = c->call->emulator;
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    OP_CLEANUP(op_mem_freep) char *path = op_emu_files_path(em->files, file);
    enum op_rc rc = op_lines_open(em->env, path, 0, LINE_MAX_BYTES, &lines, err);
    struct op_line line;
    while (!rc && !(rc = op_lines_next(lines, &line, err))) {
        struct op_err bad = OP_ERR_INIT;
        struct op_json value;
        struct op_str text = {line.ptr, line.oversize ? 0 : line.len};
        if (!line.oversize && op_str_trim(text).len == 0)
            continue;
        if (line.oversize || op_json_parse(c->parser, text.ptr, text.len, true, &value, &bad))
            c->bad++;
        else
            rc = take_request(c, value, text, err);
    }
    return rc == OP_NOTFOUND ? OP_OK : rc;
}

/* All input files, or false after answering that one is missing. */
static bool take_files(struct creation *c, struct op_json list, enum op_rc *rc,
                       struct op_err *err)
{
    struct op_emulator *em = c->call->emulator;
    struct op_json_iter it = op_json_iter(list);
    int64_t now = op_emu_clock_now(&em->clock);
    bool missing = op_emu_fired_rule(&c->call->fired, OP_EMU_FILE_MISSING) != NULL;
    while (!*rc && op_json_next(&it)) {
        struct op_emu_file file;
        struct op_str id = op_json_str(it.value);
        if (missing || !op_emu_files_get(em->files, "mistral", id, now, &file)) {
            op_emu_mistral_error(c->call, 404, NULL,
                                 op_arena_printf(&c->call->arena,
                                                 "File " OP_STR_FMT " does not exist.",
                                                 OP_STR_ARG(id)));
            return false;
        }
        *rc = take_file(c, &file, err);
    }
    return true;
}

static enum op_rc take_inline(struct creation *c, struct op_json list, struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    struct op_json_iter it = op_json_iter(list);
    enum op_rc rc = OP_OK;
    op_buf_init(&text, LINE_MAX_BYTES);
    while (!rc && op_json_next(&it)) {
        op_buf_clear(&text);
        op_json_write(&text, it.value);
        rc = take_request(c, it.value, op_buf_str(&text), err);
    }
    return rc;
}

static void write_member(struct op_json_out *out, struct op_json body, const char *name,
                         const char *standard)
{
    struct op_json value = op_json_get(body, name);
    op_json_out_name(out, name);
    if (op_json_ok(value) && !op_json_is(value, OP_JSON_NULL))
        op_json_out_value(out, value);
    else
        op_json_out_raw(out, op_str_from(standard));
}

static char *make_meta(const struct creation *c, struct op_json body)
{
    const struct op_emu_rule *fail = op_emu_fired_rule(&c->call->fired, OP_EMU_FAIL_BATCH);
    const char *message = c->bad ? "Some lines are not valid requests." : "The job failed.";
    OP_CLEANUP(op_buf_release) struct op_buf buf;
    struct op_json_out out;
    op_buf_init(&buf, (size_t)256 * 1024);
    op_json_out_init(&out, &buf, 0);
    op_json_out_object(&out);
    write_member(&out, body, "input_files", "[]");
    write_member(&out, body, "endpoint", "null");
    write_member(&out, body, "metadata", "null");
    op_json_out_name(&out, "errors");
    op_json_out_array(&out);
    if (c->bad || fail || c->upload.count == 0) {
        op_json_out_object(&out);
        op_json_out_kv_text(&out, "message", fail && fail->message ? fail->message : message);
        op_json_out_kv_int(&out, "count", c->bad ? c->bad : 1);
        op_json_out_end_object(&out);
    }
    op_json_out_end_array(&out);
    op_json_out_end_object(&out);
    return op_buf_take(&buf);
}

static enum op_rc make_batch(struct creation *c, struct op_json body, struct op_err *err)
{
    struct op_emu_call *call = c->call;
    struct op_emulator *em = call->emulator;
    int64_t hours = op_json_int(op_json_get(body, "timeout_hours"), 24);
    const struct op_emu_timing timing = {hours * 3600 * OP_EMU_SECOND_US, PENDING_PART, 0};
    bool fails =
        c->bad || c->upload.count == 0 || op_emu_fired_rule(&call->fired, OP_EMU_FAIL_BATCH);
    OP_CLEANUP(op_mem_freep) char *meta = make_meta(c, body);
    OP_CLEANUP(op_mem_freep)
    char *model = c->model.ptr ? op_mem_strndup(c->model.ptr, c->model.len) : NULL;
    struct op_emu_batch batch = {
        .provider = "mistral",
        .model = model,
        .seq = op_emu_store_next_seq(em->store),
        .tokens = fails ? 0 : c->tokens,
        .meta = meta,
    };
    enum op_rc rc = OP_OK;
    if (fails) {
        op_emu_upload_abort(&c->upload);
        rc = op_emu_upload_open(em->store, &c->upload, err);
    }
    op_emu_mistral_uuid(em, batch.seq, 0, batch.id);
    op_emu_quirks_add(&batch.quirks, &call->fired);
    op_emu_batch_plan(em, &batch, &timing);
    if (fails && batch.start_us != INT64_MAX)
        batch.full_us = batch.due_us = batch.start_us;
    if (!rc)
        rc = op_emu_store_commit(em->store, &c->upload, &batch, err);
    if (rc)
        return rc;
    op_emu_wake(em);
    reply_job(call, &batch);
    return OP_OK;
}

static const char *what_is_wrong(struct op_json body)
{
    int64_t hours = op_json_int(op_json_get(body, "timeout_hours"), 24);
    struct op_json files = op_json_get(body, "input_files");
    struct op_json requests = op_json_get(body, "requests");
    enum op_emu_openai_kind kind =
        op_emu_openai_kind_of(op_json_str(op_json_get(body, "endpoint")));
    if (kind != OP_EMU_OPENAI_CHAT && kind != OP_EMU_OPENAI_EMBEDDINGS)
        return "endpoint must be /v1/chat/completions or /v1/embeddings here.";
    if ((op_json_count(files) == 0) == (op_json_count(requests) == 0))
        return "Exactly one of input_files and requests must be given.";
    if (hours < 1 || hours > HOURS_MAX)
        return "timeout_hours must be between 1 and 168.";
    return NULL;
}

static bool is_full(struct creation *c)
{
    const struct op_emu_rule *rule = op_emu_fired_rule(&c->call->fired, OP_EMU_TOKEN_LIMIT);
    struct op_emu_store *store = c->call->emulator->store;
    bool too_many = c->upload.count > REQUESTS_MAX;
    if (too_many)
        op_emu_mistral_error(c->call, 400, NULL, "A batch holds at most 1000000 requests.");
    else if (rule &&
             op_emu_store_enqueued(store, "mistral", c->model) + c->tokens > rule->tokens)
        op_emu_mistral_error(c->call, 429, NULL,
                             "Too many tokens are enqueued for this model.");
    else
        return false;
    return true;
}

static void creation_release(struct creation *c)
{
    op_emu_upload_abort(&c->upload);
    op_json_parser_free(c->parser);
}

void op_emu_mistral_create(struct op_emu_call *call)
{
    struct op_err err = OP_ERR_INIT;
    struct op_json body;
    if (!op_emu_call_json(call, &body, &err)) {
        op_emu_mistral_error(call, 400, NULL, "The body is not JSON.");
        return;
    }
    const char *wrong = what_is_wrong(body);
    if (wrong) {
        op_emu_mistral_error(call, 400, NULL, wrong);
        return;
    }
    OP_CLEANUP(creation_release)
    struct creation c = {
        .call = call,
        .kind = op_emu_openai_kind_of(op_json_str(op_json_get(body, "endpoint"))),
        .parser = op_json_parser_new(),
        .model = op_json_str(op_json_get(body, "model")),
    };
    struct op_json requests = op_json_get(body, "requests");
    enum op_rc rc = op_emu_upload_open(call->emulator->store, &c.upload, &err);
    if (!rc && op_json_count(requests))
        rc = take_inline(&c, requests, &err);
    else if (!rc && !take_files(&c, op_json_get(body, "input_files"), &rc, &err))
        return;
    if (!rc && is_full(&c))
        return;
    if (!rc)
        rc = make_batch(&c, body, &err);
    if (rc)
        op_emu_openai_disk_failed(call, &err);
}

/* ---- get, list, cancel, delete ---- */

static void no_such_job(struct op_emu_call *call)
{
    op_emu_mistral_error(call, 404, NULL,
                         op_arena_printf(&call->arena, "Job " OP_STR_FMT " does not exist.",
                                         OP_STR_ARG(call->id)));
}

void op_emu_mistral_get_job(struct op_emu_call *call)
{
    struct op_emu_batch batch;
    if (!op_emu_batch_find(call, call->id, &batch) || op_emu_batch_flaps(call, &batch))
        no_such_job(call);
    else
        reply_job(call, &batch);
}

struct filter {
    struct op_emu_call *call;
    int64_t now, created_after_ms;
    struct op_str model, status;
};

static bool accepts(void *arg, const struct op_emu_batch *batch)
{
    const struct filter *filter = arg;
    if (!op_emu_batch_is_listed(batch, filter->now) ||
        batch->created_us / 1000 < filter->created_after_ms ||
        (filter->model.ptr && !op_str_is(filter->model, batch->model)))
        return false;
    struct view view = look_at(filter->call, batch);
    return !filter->status.ptr || op_str_is(filter->status, status_of(&view));
}

void op_emu_mistral_list_jobs(struct op_emu_call *call)
{
    OP_CLEANUP(op_mem_freep) struct op_emu_batch *batches = NULL;
    struct op_json_out out;
    size_t page, size, count = 0;
    bool more = false;
    if (!op_emu_mistral_page(call, &page, &size))
        return;
    struct filter filter = {
        .call = call,
        .now = op_emu_clock_now(&call->emulator->clock),
        .model = op_emu_call_query(call, "model"),
        .status = op_emu_call_query(call, "status"),
    };
    struct op_str after = op_emu_call_query(call, "created_after");
    if (after.ptr && !op_time_parse(after, &filter.created_after_ms)) {
        op_emu_mistral_error(call, 400, NULL, "created_after is not a time.");
        return;
    }
    struct op_emu_page want = {
        .provider = "mistral", .accept = accepts, .arg = &filter, .limit = SIZE_MAX};
    if (op_emu_store_page(call->emulator->store, &want, &batches, &count, &more))
        count = 0;
    size_t from = page * size;
    /* A page after the first that begins elsewhere (list_page_shift). */
    int64_t shift = page ? op_emu_batch_page_shift(call) : 0;
    from = (size_t)((int64_t)from + shift < 0 ? 0 : (int64_t)from + shift);
    op_emu_reply_begin(call, 200, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    op_json_out_name(&out, "data");
    op_json_out_array(&out);
    for (size_t i = from; i < count && i < from + size; i++)
        write_job(&out, call, &batches[i]);
    op_json_out_end_array(&out);
    op_json_out_kv_text(&out, "object", "list");
    op_json_out_kv_int(&out, "total", (int64_t)count);
    op_json_out_end_object(&out);
}

void op_emu_mistral_cancel_job(struct op_emu_call *call)
{
    struct op_emu_batch batch;
    struct op_err err = OP_ERR_INIT;
    if (!op_emu_batch_find(call, call->id, &batch)) {
        no_such_job(call);
        return;
    }
    enum op_rc rc = op_emu_batch_cancel(call->emulator, call->id, &batch, &err);
    if (rc == OP_NOTFOUND)
        no_such_job(call);
    else if (rc)
        op_emu_openai_disk_failed(call, &err);
    else if (batch.settled || !batch.cancel_us)
        op_emu_mistral_error(call, 400, NULL, "The job has ended and cannot be cancelled.");
    else
        reply_job(call, &batch);
}

void op_emu_mistral_delete_job(struct op_emu_call *call)
{
    struct op_emu_batch batch;
    struct op_err err = OP_ERR_INIT;
    if (!op_emu_batch_find(call, call->id, &batch)) {
        no_such_job(call);
        return;
    }
    enum op_rc rc = op_emu_store_delete(call->emulator->store, call->id, &err);
    if (rc == OP_NOTFOUND) {
        no_such_job(call);
    } else if (rc) {
        op_emu_openai_disk_failed(call, &err);
    } else {
        op_emu_reply_begin(call, 200, "application/json");
        op_buf_addf(&call->reply.body, "{\"id\":\"%s\",\"object\":\"batch\",\"deleted\":true}",
                    batch.id);
    }
}

/* ---- results ---- */

static void write_line(struct op_emu_line *line, const struct op_emu_openai_turn *turn,
                       struct op_str body)
{
    const struct op_emu_openai_problem *problem = &turn->problem;
    struct op_json_out out;
    bool lost = op_emu_fired_rule(line->fired, OP_EMU_STATUS_ZERO) != NULL;
    const char *word = line->outcome == OP_EMU_EXPIRED    ? "The job timed out."
                       : line->outcome == OP_EMU_CANCELED ? "The job was cancelled."
                                                          : NULL;
    op_json_out_init(&out, line->out, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "id",
                        op_arena_printf(line->arena, "batch-%.8s-%lld", line->batch->id,
                                        (long long)line->number));
    if (line->null_id)
        op_json_out_kv_text(&out, "custom_id", NULL);
    else if (line->rename_id)
        op_json_out_kv_text(
            &out, "custom_id",
            op_arena_printf(line->arena, OP_STR_FMT "-renamed", OP_STR_ARG(line->custom_id)));
    else
        op_json_out_kv_str(&out, "custom_id", line->custom_id);
    op_json_out_name(&out, "response");
    if (word) {
        op_json_out_null(&out);
    } else {
        op_json_out_object(&out);
        op_json_out_kv_int(&out, "status_code",
                           lost               ? 0
                           : problem->message ? problem->status
                                              : 200);
        op_json_out_name(&out, "body");
        if (lost)
            op_json_out_raw(&out, OP_STR("{}"));
        else if (problem->message)
            op_emu_openai_write_problem(&out, problem);
        else
            op_json_out_raw(&out, body);
        op_json_out_end_object(&out);
    }
    op_json_out_name(&out, "error");
    if (word) {
        op_json_out_object(&out);
        op_json_out_kv_text(&out, "message", word);
        op_json_out_end_object(&out);
    } else {
        op_json_out_null(&out);
    }
    op_json_out_end_object(&out);
}

void op_emu_mistral_line(struct op_emu_line *line)
{
    OP_CLEANUP(op_buf_release) struct op_buf body = {0};
    OP_CLEANUP(op_emu_openai_turn_release) struct op_emu_openai_turn turn;
    bool executed = false, chat = strstr(line->batch->meta, "/v1/chat/completions") != NULL;
    op_buf_init(&body, OUTPUT_MAX);
    op_emu_openai_turn_init(&turn, line->emulator, line->arena);
    turn.body = op_json_get(line->request, "body");
    turn.kind = chat ? OP_EMU_OPENAI_CHAT : OP_EMU_OPENAI_EMBEDDINGS;
    turn.mistral = turn.in_batch = true;
    turn.model = op_str_from(line->batch->model);
    turn.id_a = line->batch->seq;
    turn.id_b = line->number + 1;
    turn.talk.fired = line->fired;
    turn.talk.custom_id = line->custom_id =
        op_json_str(op_json_get(line->request, "custom_id"));
    op_emu_hash(turn.body, line->hash);
    if (op_emu_fired_rule(line->fired, OP_EMU_STATUS_ZERO))
        line->outcome = OP_EMU_ERRORED;
    if (line->outcome == OP_EMU_SUCCEEDED) {
        op_emu_openai_answer(&turn, &body, &executed);
        if (turn.problem.message)
            line->outcome = OP_EMU_ERRORED;
        line->usage = turn.talk.usage;
        memcpy(line->answer, turn.talk.answer, sizeof(line->answer));
    }
    line->model = turn.model;
    line->for_errors = line->outcome != OP_EMU_SUCCEEDED;
    write_line(line, &turn, op_buf_str(&body));
}

enum op_rc op_emu_mistral_place(struct op_emulator *emulator, const struct op_emu_batch *batch,
                                const struct op_emu_output *output, struct op_err *err)
{
    const struct op_emu_placing placing = {.purpose = "batch", .id = output_id};
    return op_emu_batch_place(emulator, batch, output, &placing, err);
}
