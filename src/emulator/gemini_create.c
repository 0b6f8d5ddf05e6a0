/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "emulator/batches.h"
#include "emulator/gemini.h"
#include "emulator/state.h"

#define LINE_MAX_BYTES ((size_t)512 * 1024 * 1024)
#define PENDING_PART   4 /* it queues for a part of its time */

/* A create call under way. */
struct creation {
    struct op_emu_call *call;
    bool embeds, is_inline;
    struct op_str display_name, file_name;
    struct op_emu_upload upload;
    struct op_json_parser *parser; /* of a line */
    struct op_buf line;
    int64_t tokens;
    int error_code; /* of a batch that fails as a whole; 0: it does not */
    const char *error_message;
};

static enum op_rc keep_request(struct creation *c, struct op_json request, struct op_str text,
                               struct op_err *err)
{
    char hash[OP_SHA256_HEX];
    OP_CLEANUP(op_emu_gemini_turn_release) struct op_emu_gemini_turn turn;
    struct op_json inner = op_emu_gemini_get(request, "request");
    op_emu_gemini_turn_init(&turn, c->call->emulator, &c->call->arena);
    turn.request = op_json_ok(inner) ? inner : request;
    turn.embeds = c->embeds;
    op_emu_gemini_prompt(&turn);
    c->tokens += op_emu_tokens(turn.talk.bytes);
    op_emu_hash(turn.request, hash);
    struct op_emu_entry entry = {
        .custom_id = op_emu_gemini_custom_id(request),
        .hash = hash,
        .state = "accepted",
        .model = c->call->id,
    };
    return op_emu_upload_add(&c->upload, text, &entry, err);
}

/* ---- where the requests are ---- */

static enum op_rc take_inline(struct creation *c, struct op_json list, struct op_err *err)
{
    struct op_json_iter it = op_json_iter(list);
    enum op_rc rc = OP_OK;
    c->is_inline = true;
    while (!rc && op_json_next(&it)) {
        op_buf_clear(&c->line);
        op_json_write(&c->line, it.value);
        rc = op_buf_finish(&c->line, "a request", err);
        if (!rc)
            rc = keep_request(c, it.value, op_buf_str(&c->line), err);
    }
    return rc;
}

static enum op_rc take_line(struct creation *c, const struct op_line *line, struct op_err *err)
{
    struct op_err bad = OP_ERR_INIT;
    struct op_json value;
    struct op_str text = {line->ptr, line->oversize ? 0 : line->len};
    if (!line->oversize && op_str_trim(text).len == 0)
        return OP_OK;
    if (!line->oversize && !op_json_parse(c->parser, text.ptr, text.len, true, &value, &bad) &&
        op_json_is(value, OP_JSON_OBJECT))
        return keep_request(c, value, text, err);
    c->error_code = OP_EMU_GEMINI_INVALID;
    c->error_message = op_arena_printf(
        &c->call->arena, "Failed to parse line %lld of the file.", (long long)line->number);
    return OP_OK;
}

static enum op_rc take_file(struct creation *c, const struct op_emu_file *file,
                            struct op_err *err)
{
    struct op_emulator *em = c->call->emulator;
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    OP_CLEANUP(op_mem_freep) char *path = op_emu_files_path(em->files, file);
    enum op_rc rc = op_lines_open(em->env, path, 0, LINE_MAX_BYTES, &lines, err);
    struct op_line line;
    while (!rc && !c->error_code && !(rc = op_lines_next(lines, &line, err)))
        rc = take_line(c, &line, err);
    return rc == OP_NOTFOUND ? OP_OK : rc;
}

/* ---- what is refused at once ---- */

static bool is_full(struct creation *c)
{
    struct op_emu_call *call = c->call;
    const struct op_emu_rule *rule = op_emu_fired_rule(&call->fired, OP_EMU_TOKEN_LIMIT);
    struct op_emu_store *store = call->emulator->store;
    bool over =
        rule && op_emu_store_enqueued(store, "gemini", call->id) + c->tokens > rule->tokens;
    if (!over && op_emu_store_count(store, "gemini", 0, true) < OP_EMU_GEMINI_OPEN_MAX)
        return false;
    /* Seen so: only a link to help, no word of when. */
    call->api->rate_limit(call, -1);
    return true;
}

/* ---- the batch ---- */

static void take_fault(struct creation *c)
{
    const struct op_emu_fired *fired = &c->call->fired;
    const struct op_emu_rule *fail = op_emu_fired_rule(fired, OP_EMU_FAIL_BATCH);
    if (fail) {
        c->error_code = OP_EMU_GEMINI_INTERNAL;
        c->error_message = fail->message ? fail->message : "Batch failed without error.";
    }
    if (op_emu_fired_rule(fired, OP_EMU_FILE_MISSING)) {
        c->error_code = OP_EMU_GEMINI_NOT_FOUND;
        c->error_message = "The input file was not found.";
    }
    if (op_emu_fired_rule(fired, OP_EMU_INLINE_ANSWER))
        c->is_inline = true;
}

static char *make_meta(const struct creation *c)
{
    OP_CLEANUP(op_buf_release) struct op_buf buf;
    struct op_json_out out;
    op_buf_init(&buf, (size_t)64 * 1024);
    op_json_out_init(&out, &buf, 0);
    op_json_out_object(&out);
    op_json_out_kv_str(&out, "display_name", c->display_name);
    op_json_out_kv_str(&out, "file", c->file_name);
    op_json_out_kv_bool(&out, "inline", c->is_inline);
    op_json_out_kv_bool(&out, "embeds", c->embeds);
    op_json_out_name(&out, "error");
    if (c->error_code) {
        op_json_out_object(&out);
        op_json_out_kv_int(&out, "code", c->error_code);
        op_json_out_kv_text(&out, "message", c->error_message);
        op_json_out_end_object(&out);
    } else {
        op_json_out_null(&out);
    }
    op_json_out_end_object(&out);
    return op_buf_take(&buf);
}

static enum op_rc make_batch(struct creation *c, struct op_err *err)
{
    const struct op_emu_timing timing = {2 * OP_EMU_DAY_US, PENDING_PART, 0};
    struct op_emu_call *call = c->call;
    struct op_emulator *em = call->emulator;
    enum op_rc rc = OP_OK;
    take_fault(c);
    OP_CLEANUP(op_mem_freep) char *meta = make_meta(c);
    OP_CLEANUP(op_mem_freep) char *model = op_mem_strndup(call->id.ptr, call->id.len);
    struct op_emu_batch batch = {
        .provider = "gemini",
        .model = model,
        .seq = op_emu_store_next_seq(em->store),
        .tokens = c->error_code ? 0 : c->tokens,
        .meta = meta,
    };
    if (c->error_code) {
        op_emu_upload_abort(&c->upload);
        rc = op_emu_upload_open(em->store, &c->upload, err);
    }
    op_emu_store_id_of(em->store, "", OP_EMU_LOWER, 36, batch.seq, 0, batch.id);
    op_emu_quirks_add(&batch.quirks, &call->fired);
    op_emu_batch_plan(em, &batch, &timing);
    if (c->error_code && batch.start_us != INT64_MAX)
        batch.full_us = batch.due_us = batch.start_us;
    if (!rc)
        rc = op_emu_store_commit(em->store, &c->upload, &batch, err);
    if (rc)
        return rc;
    op_emu_wake(em);
    op_emu_gemini_reply_batch(call, &batch);
    return OP_OK;
}

static void creation_release(struct creation *c)
{
    op_emu_upload_abort(&c->upload);
    op_json_parser_free(c->parser);
    op_buf_release(&c->line);
}

static void create_from(struct creation *c, struct op_json input)
{
    struct op_emu_call *call = c->call;
    struct op_err err = OP_ERR_INIT;
    struct op_emu_file file;
    struct op_json list = op_emu_gemini_get(op_emu_gemini_get(input, "requests"), "requests");
    c->file_name = op_json_str(op_emu_gemini_get(input, "fileName"));
    if (op_json_ok(list) == (c->file_name.ptr != NULL)) {
        op_emu_gemini_error(call, 400, NULL,
                            "* BatchGenerateContentRequest.batch.input_config: exactly one of"
                            " file_name and requests must be set\n");
        return;
    }
    if (op_json_ok(list) && op_json_count(list) == 0) {
        op_emu_gemini_error(call, 400, NULL, "The batch has no requests.");
        return;
    }
    if (c->file_name.ptr && !op_emu_gemini_find_file(call, c->file_name, &file)) {
        op_emu_gemini_no_file(call, c->file_name);
        return;
    }
    enum op_rc rc = op_emu_upload_open(call->emulator->store, &c->upload, &err);
    if (!rc)
        rc = c->file_name.ptr ? take_file(c, &file, &err) : take_inline(c, list, &err);
    if (!rc && c->upload.count == 0 && !c->error_code) {
        c->error_code = OP_EMU_GEMINI_INVALID;
        c->error_message = "The input file holds no requests.";
    }
    if (!rc && is_full(c))
        return;
    if (!rc)
        rc = make_batch(c, &err);
    if (rc)
        op_emu_gemini_disk_failed(call, &err);
}

static void create(struct op_emu_call *call, bool embeds)
{
    struct op_err err = OP_ERR_INIT;
    struct op_json body;
    if (!op_emu_gemini_model_exists(call->id)) {
        op_emu_gemini_no_model(call, call->id,
                               embeds ? "asyncBatchEmbedContent" : "batchGenerateContent");
        return;
    }
    if (!op_emu_call_json(call, &body, &err)) {
        op_emu_gemini_error(
            call, 400, NULL,
            op_arena_printf(&call->arena, "Invalid JSON payload received. %s", err.msg));
        return;
    }
    struct op_json batch = op_emu_gemini_get(body, "batch");
    OP_CLEANUP(creation_release)
    struct creation c = {
        .call = call,
        .embeds = embeds,
        .display_name = op_json_str(op_emu_gemini_get(batch, "displayName")),
        .parser = op_json_parser_new(),
    };
    op_buf_init(&c.line, OP_EMU_GEMINI_INLINE_MAX);
    create_from(&c, op_emu_gemini_get(batch, "inputConfig"));
}

void op_emu_gemini_create(struct op_emu_call *call)
{
    create(call, false);
}

void op_emu_gemini_create_embeddings(struct op_emu_call *call)
{
    create(call, true);
}
