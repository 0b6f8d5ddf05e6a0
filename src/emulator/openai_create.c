/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "emulator/batches.h"
#include "emulator/openai.h"
#include "emulator/state.h"

/* A batch is checked when it is created, but says what came of it only when its validation ends,
 * as the API does: so nothing happens twice when the emulator is started again in between. */

#define PROBLEMS_MAX    50 /* told of one file */
#define LINE_MAX_BYTES  ((size_t)OP_EMU_OPENAI_BATCH_MAX)
#define CREATES_MAX     2000  /* an hour */
#define EMBEDDINGS_MAX  50000 /* inputs over all lines of a batch */
#define METADATA_PAIRS  16
#define METADATA_KEY    64
#define METADATA_VALUE  512
#define EXPIRES_LEAST   3600
#define EXPIRES_MOST    2592000
#define PENDING_PART    20 /* of 30 to 90 s: seconds, as seen */
#define FINALIZING_PART 40

/* A batch file being checked. Its first problems are kept; after one nothing is uploaded. */
struct checking {
    struct op_emu_call *call;
    struct op_arena arena; /* of one line */
    struct op_str endpoint;
    struct op_emu_upload upload;
    struct op_json_parser *parser;
    struct op_map ids;
    struct op_buf problems; /* JSON objects with commas between them */
    size_t problem_count;
    struct op_buf model; /* of the first line */
    int64_t tokens, inputs, count;
};

static void problem(struct checking *c, const char *code, const char *param, int64_t line,
                    const char *message)
{
    struct op_json_out out;
    if (c->problem_count++ >= PROBLEMS_MAX)
        return;
    if (c->problems.len)
        op_buf_addc(&c->problems, ',');
    op_json_out_init(&out, &c->problems, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "code", code);
    op_json_out_kv_text(&out, "message", message);
    op_json_out_kv_text(&out, "param", param);
    op_json_out_name(&out, "line");
    if (line)
        op_json_out_int(&out, line);
    else
        op_json_out_null(&out);
    op_json_out_end_object(&out);
}

/* ---- one line ---- */

static bool line_is_good(struct checking *c, struct op_json line, int64_t number)
{
    struct op_json id = op_json_get(line, "custom_id"), body = op_json_get(line, "body");
    struct op_str method = op_json_str(op_json_get(line, "method"));
    struct op_str url = op_json_str(op_json_get(line, "url"));
    struct op_str model = op_json_str(op_json_get(body, "model"));
    struct op_arena *arena = &c->arena;
    size_t before = c->problem_count;
    if (!op_json_is(id, OP_JSON_STRING))
        problem(c, "missing_required_parameter", "custom_id", number,
                "Missing required parameter: 'custom_id'.");
    else if (!op_map_add(&c->ids, op_json_str(id), 1, NULL))
        problem(c, "duplicate_custom_id", "custom_id", number,
                op_arena_printf(arena,
                                "The custom_id '" OP_STR_FMT "' for this request is a"
                                " duplicate of another request. The custom_id parameter must"
                                " be unique for each request in a batch.",
                                OP_STR_ARG(op_json_str(id))));
    if (!op_str_is(method, "POST"))
        problem(c, "invalid_method", "method", number,
                op_arena_printf(arena,
                                "Invalid value: '" OP_STR_FMT "'. Supported values are:"
                                " 'POST'",
                                OP_STR_ARG(method)));
    if (!op_str_eq(url, c->endpoint))
        problem(c, "url_mismatch", "url", number,
                "The URL provided for this request does not match the batch endpoint.");
    if (!op_json_is(body, OP_JSON_OBJECT))
        problem(c, "missing_required_parameter", "body", number,
                "Missing required parameter: 'body'.");
    else if (!model.len)
        problem(c, "missing_required_parameter", "body.model", number,
                "Missing required parameter: 'body.model'.");
    else if (memmem(model.ptr, model.len, "does-not-exist", 14))
        problem(c, "model_not_found", "body.model", number,
                "The provided model is not supported by the Batch API.");
    else if (c->model.len && !op_str_eq(model, op_buf_str(&c->model)))
        problem(c, "mismatched_model", NULL, number,
                op_arena_printf(arena,
                                "The provided model '" OP_STR_FMT "' does not match the"
                                " model of the other requests, '" OP_STR_FMT "'. All requests"
                                " in a batch must use the same model.",
                                OP_STR_ARG(model), OP_STR_ARG(op_buf_str(&c->model))));
    if (!c->model.len)
        op_buf_add_str(&c->model, model);
    return c->problem_count == before;
}

static enum op_rc keep_line(struct checking *c, struct op_json line, struct op_str text,
                            struct op_err *err)
{
    char hash[OP_SHA256_HEX];
    OP_CLEANUP(op_emu_talk_release) struct op_emu_talk talk;
    struct op_json body = op_json_get(line, "body");
    struct op_json input = op_json_get(body, "input");
    op_emu_talk_init(&talk);
    op_emu_openai_prompt(&talk, body, op_emu_openai_kind_of(c->endpoint));
    c->tokens += op_emu_tokens(talk.bytes);
    c->inputs += op_json_is(input, OP_JSON_ARRAY) ? (int64_t)op_json_count(input) : 1;
    op_emu_hash(body, hash);
    struct op_emu_entry entry = {
        .custom_id = op_json_str(op_json_get(line, "custom_id")),
        .hash = hash,
        .state = "accepted",
        .model = op_json_str(op_json_get(body, "model")),
    };
    return op_emu_upload_add(&c->upload, text, &entry, err);
}

static enum op_rc take_line(struct checking *c, const struct op_line *line, struct op_err *err)
{
    struct op_err bad = OP_ERR_INIT;
    struct op_json value;
    struct op_str text = {line->ptr, line->oversize ? 0 : line->len};
    if (op_str_trim(text).len == 0 && !line->oversize)
        return OP_OK;
    c->count++;
    op_arena_reset(&c->arena);
    if (line->oversize || op_json_parse(c->parser, text.ptr, text.len, true, &value, &bad) ||
        !op_json_is(value, OP_JSON_OBJECT) || op_json_parser_repaired(c->parser)) {
        problem(c, "invalid_json_line", NULL, line->number,
                "This line is not parseable as valid JSON.");
        return OP_OK;
    }
    if (!line_is_good(c, value, line->number) || c->problem_count ||
        c->count > OP_EMU_OPENAI_REQUESTS_MAX)
        return OP_OK;
    return keep_line(c, value, text, err);
}

/* ---- the file ---- */

static enum op_rc take_lines(struct checking *c, const char *path, struct op_err *err)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    struct op_env *env = c->call->emulator->env;
    enum op_rc rc = op_lines_open(env, path, 0, LINE_MAX_BYTES, &lines, err);
    struct op_line line;
    while (!rc && c->problem_count < PROBLEMS_MAX && !(rc = op_lines_next(lines, &line, err)))
        rc = take_line(c, &line, err);
    return rc == OP_NOTFOUND ? OP_OK : rc;
}

static void check_limits(struct checking *c)
{
    struct op_arena *arena = &c->call->arena;
    if (c->count == 0)
        problem(c, "empty_file", NULL, 0, "The input file is empty.");
    if (c->count > OP_EMU_OPENAI_REQUESTS_MAX)
        problem(c, "too_many_tasks", NULL, 0,
                op_arena_printf(arena,
                                "The batch input file contains %lld requests, which is more"
                                " than the maximum of %d.",
                                (long long)c->count, OP_EMU_OPENAI_REQUESTS_MAX));
    if (op_str_is(c->endpoint, "/v1/embeddings") && c->inputs > EMBEDDINGS_MAX)
        problem(c, "too_many_tasks", NULL, 0,
                op_arena_printf(arena, "The batch has %lld embedding inputs, more than %d.",
                                (long long)c->inputs, EMBEDDINGS_MAX));
}

static void check_queue(struct checking *c)
{
    const struct op_emu_rule *rule = op_emu_fired_rule(&c->call->fired, OP_EMU_TOKEN_LIMIT);
    struct op_emu_store *store = c->call->emulator->store;
    struct op_str model = op_buf_str(&c->model);
    if (!rule || c->problem_count ||
        op_emu_store_enqueued(store, "openai", model) + c->tokens <= rule->tokens)
        return;
    problem(c, "token_limit_exceeded", NULL, 0,
            op_arena_printf(&c->call->arena,
                            "Enqueued token limit reached for " OP_STR_FMT
                            " in organization org-emulator. Limit: %lld enqueued tokens."
                            " Please try again once some in_progress batches have been"
                            " completed.",
                            OP_STR_ARG(model), (long long)rule->tokens));
}

static void missing_file(struct checking *c, struct op_str id)
{
    problem(c, "invalid_request", "file_id", 0,
            op_arena_printf(&c->call->arena,
                            "Cannot find file " OP_STR_FMT ", or organization org-emulator does"
                            " not have access to it.",
                            OP_STR_ARG(id)));
}

static enum op_rc check_file(struct checking *c, struct op_str id, struct op_err *err)
{
    struct op_emu_call *call = c->call;
    struct op_emulator *em = call->emulator;
    struct op_emu_file file;
    int64_t now = op_emu_clock_now(&em->clock);
    const struct op_emu_rule *fail = op_emu_fired_rule(&call->fired, OP_EMU_FAIL_BATCH);
    if (op_emu_fired_rule(&call->fired, OP_EMU_FILE_MISSING) ||
        !op_emu_files_get(em->files, "openai", id, now, &file) ||
        strcmp(file.purpose, OP_EMU_TOGETHER_RAW) == 0) {
        missing_file(c, id);
        return OP_OK;
    }
    OP_CLEANUP(op_mem_freep) char *path = op_emu_files_path(em->files, &file);
    enum op_rc rc = op_emu_upload_open(em->store, &c->upload, err);
    if (!rc)
        rc = take_lines(c, path, err);
    if (rc)
        return rc;
    check_limits(c);
    if (file.bytes > OP_EMU_OPENAI_BATCH_MAX)
        problem(c, "file_too_large", NULL, 0,
                op_arena_printf(&call->arena,
                                "The batch input file is larger than the %d maximum for the"
                                " " OP_STR_FMT " model",
                                OP_EMU_OPENAI_BATCH_MAX, OP_STR_ARG(op_buf_str(&c->model))));
    check_queue(c);
    if (fail)
        problem(c, fail->type ? fail->type : "server_error", NULL, 0,
                fail->message ? fail->message : "The batch failed.");
    return OP_OK;
}

/* ---- the call ---- */

static bool metadata_is_good(struct op_json metadata)
{
    struct op_json_iter it = op_json_iter(metadata);
    if (!op_json_ok(metadata) || op_json_is(metadata, OP_JSON_NULL))
        return true;
    if (!op_json_is(metadata, OP_JSON_OBJECT) || op_json_count(metadata) > METADATA_PAIRS)
        return false;
    while (op_json_next(&it)) {
        struct op_str value = op_json_str(it.value);
        if (!value.ptr || value.len > METADATA_VALUE || it.name.len > METADATA_KEY)
            return false;
    }
    return true;
}

/* More creates in an hour than the API takes. */
static bool comes_too_often(struct op_emu_call *call)
{
    struct op_emulator *em = call->emulator;
    int64_t hour = op_emu_clock_now(&em->clock) - 3600 * OP_EMU_SECOND_US;
    if (op_emu_store_count(em->store, "openai", hour, false) < CREATES_MAX)
        return false;
    op_emu_openai_error(call, 429, NULL,
                        "Rate limit reached for batch creations: 2000 per hour.");
    return true;
}

/* What is refused at once; true when something was. */
static bool is_refused(struct op_emu_call *call, struct op_json body)
{
    struct op_str endpoint = op_json_str(op_json_get(body, "endpoint"));
    struct op_json expires = op_json_get(body, "output_expires_after");
    int64_t seconds = op_json_int(op_json_get(expires, "seconds"), EXPIRES_MOST);
    static const char *const needed[] = {"input_file_id", "endpoint", "completion_window"};
    for (size_t i = 0; i < OP_COUNT(needed); i++) {
        if (op_json_str(op_json_get(body, needed[i])).len)
            continue;
        op_emu_openai_refuse(
            call, 400, needed[i],
            op_arena_printf(&call->arena, "Missing required parameter: '%s'.", needed[i]));
        return true;
    }
    if (op_emu_openai_kind_of(endpoint) == OP_EMU_OPENAI_NO_KIND)
        op_emu_openai_refuse(call, 400, "endpoint",
                             op_arena_printf(&call->arena,
                                             "Invalid value: '" OP_STR_FMT "'. Supported values"
                                             " are: '/v1/responses', '/v1/chat/completions' and"
                                             " '/v1/embeddings'.",
                                             OP_STR_ARG(endpoint)));
    else if (!op_str_is(op_json_str(op_json_get(body, "completion_window")), "24h"))
        op_emu_openai_refuse(
            call, 400, "completion_window",
            "Invalid value for 'completion_window'. Supported values are: '24h'.");
    else if (!metadata_is_good(op_json_get(body, "metadata")))
        op_emu_openai_refuse(
            call, 400, "metadata",
            "Invalid 'metadata': at most 16 pairs of texts, keys of 64 and values"
            " of 512 characters.");
    else if (seconds < EXPIRES_LEAST || seconds > EXPIRES_MOST)
        op_emu_openai_refuse(
            call, 400, "output_expires_after.seconds",
            "Invalid 'output_expires_after.seconds': expected 3600 to 2592000.");
    else
        return false;
    return true;
}

static char *make_meta(const struct checking *c, struct op_json body)
{
    OP_CLEANUP(op_buf_release) struct op_buf buf;
    struct op_json_out out;
    struct op_json metadata = op_json_get(body, "metadata");
    int64_t seconds = op_json_int(
        op_json_pointer(body, OP_STR("/output_expires_after/seconds")), EXPIRES_MOST);
    op_buf_init(&buf, (size_t)512 * 1024);
    op_json_out_init(&out, &buf, 0);
    op_json_out_object(&out);
    op_json_out_kv_str(&out, "input_file_id", op_json_str(op_json_get(body, "input_file_id")));
    op_json_out_kv_str(&out, "endpoint", op_json_str(op_json_get(body, "endpoint")));
    op_json_out_kv_int(&out, "output_seconds", seconds);
    op_json_out_name(&out, "metadata");
    if (op_json_ok(metadata))
        op_json_out_value(&out, metadata);
    else
        op_json_out_null(&out);
    op_json_out_name(&out, "errors");
    op_json_out_array(&out);
    op_json_out_raw(&out, op_buf_str(&c->problems));
    op_json_out_end_array(&out);
    op_json_out_end_object(&out);
    return op_buf_take(&buf);
}

/* The batch of a checked file: with its requests, or without any when its validation fails. */
static enum op_rc make_batch(struct checking *c, struct op_json body, struct op_err *err)
{
    const struct op_emu_timing timing = {OP_EMU_DAY_US, PENDING_PART, FINALIZING_PART};
    struct op_emu_call *call = c->call;
    struct op_emulator *em = call->emulator;
    OP_CLEANUP(op_mem_freep) char *meta = make_meta(c, body);
    struct op_emu_batch batch = {
        .provider = "openai",
        .model = c->model.ptr,
        .seq = op_emu_store_next_seq(em->store),
        .tokens = c->problem_count ? 0 : c->tokens,
        .meta = meta,
    };
    enum op_rc rc = OP_OK;
    if (c->problem_count) {
        op_emu_upload_abort(&c->upload);
        rc = op_emu_upload_open(em->store, &c->upload, err);
    }
    op_emu_store_id_of(em->store, "batch_", OP_EMU_HEX, 32, batch.seq, 0, batch.id);
    op_emu_quirks_add(&batch.quirks, &call->fired);
    op_emu_batch_plan(em, &batch, &timing);
    if (c->problem_count && batch.start_us != INT64_MAX)
        batch.full_us = batch.due_us = batch.start_us;
    if (!rc)
        rc = op_emu_store_commit(em->store, &c->upload, &batch, err);
    if (rc)
        return rc;
    op_emu_wake(em);
    op_emu_openai_reply_batch(call, &batch);
    return OP_OK;
}

static void checking_release(struct checking *c)
{
    op_emu_upload_abort(&c->upload);
    op_json_parser_free(c->parser);
    op_map_release(&c->ids);
    op_buf_release(&c->problems);
    op_buf_release(&c->model);
    op_arena_release(&c->arena);
}

void op_emu_openai_create(struct op_emu_call *call)
{
    struct op_err err = OP_ERR_INIT;
    struct op_json body;
    if (!op_emu_call_json(call, &body, &err)) {
        op_emu_openai_refuse(call, 400, NULL,
                             "We could not parse the JSON body of your request.");
        return;
    }
    if (is_refused(call, body) || comes_too_often(call))
        return;
    OP_CLEANUP(checking_release)
    struct checking c = {.call = call,
                         .parser = op_json_parser_new(),
                         .endpoint = op_json_str(op_json_get(body, "endpoint"))};
    op_buf_init(&c.problems, (size_t)256 * 1024);
    op_buf_init(&c.model, (size_t)4096);
    enum op_rc rc = check_file(&c, op_json_str(op_json_get(body, "input_file_id")), &err);
    if (!rc)
        rc = make_batch(&c, body, &err);
    if (rc)
        op_emu_openai_disk_failed(call, &err);
}
