/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "emulator/anthropic.h"
#include "emulator/batches.h"
#include "emulator/frame.h"
#include "emulator/state.h"

/* A create call being received: each request is checked and written to disk as it arrives, so that
 * a body of 256 MB needs no more memory than its largest request. */
struct create {
    struct op_emu_call *call;
    struct op_emu_upload upload;
    struct op_emu_frame frame;
    struct op_json_parser *parser;
    struct op_map ids;
    const char *not_json; /* the first piece that is not JSON */
    const char *refused;  /* the first violation */
    const char *twice;    /* the first id that occurs again */
    bool broken;          /* the disk failed, with this error */
    struct op_err failed;
};

static const char *say(struct create *create, size_t index, const char *text)
{
    return op_arena_printf(&create->call->arena, "requests.%zu%s", index, text);
}

static bool is_id(struct op_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!fits)
            return false;
    }
    return text.len > 0;
}

/* What is wrong with one request at once; what is wrong with its params shows when it is
 * processed. */
static const char *check_request(struct create *create, struct op_json request, size_t index)
{
    struct op_json id = op_json_get(request, "custom_id");
    struct op_json params = op_json_get(request, "params");
    struct op_str text = op_json_str(id);
    if (!op_json_is(request, OP_JSON_OBJECT))
        return say(create, index, ": Input should be an object");
    if (!op_json_ok(id))
        return say(create, index, ".custom_id: Field required");
    if (!op_json_is(id, OP_JSON_STRING))
        return say(create, index, ".custom_id: Input should be a valid string");
    if (text.len == 0)
        return say(create, index, ".custom_id: String should have at least 1 character");
    if (text.len > OP_ANTHROPIC_ID_MAX)
        return say(create, index, ".custom_id: String should have at most 64 characters");
    if (!is_id(text))
        return say(create, index,
                   ".custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'");
    if (!op_json_ok(params))
        return say(create, index, ".params: Field required");
    if (!op_json_is(params, OP_JSON_OBJECT))
        return say(create, index, ".params: Input should be an object");
    struct op_json_iter it = op_json_iter(request);
    while (op_json_next(&it)) {
        if (!op_str_is(it.name, "custom_id") && !op_str_is(it.name, "params"))
            return op_arena_printf(&create->call->arena,
                                   "requests.%zu." OP_STR_FMT
                                   ": Extra inputs are not permitted",
                                   index, OP_STR_ARG(it.name));
    }
    return NULL;
}

static void keep_request(struct create *create, struct op_json request, struct op_str text)
{
    char hash[OP_SHA256_HEX];
    struct op_json params = op_json_get(request, "params");
    struct op_str id = op_json_str(op_json_get(request, "custom_id"));
    if (!op_map_add(&create->ids, id, 1, NULL) && !create->twice)
        create->twice = op_arena_strdup(&create->call->arena, id);
    op_anthropic_hash(params, hash);
    struct op_emu_entry entry = {
        .custom_id = id,
        .hash = hash,
        .state = "accepted",
        .model = op_json_str(op_json_get(params, "model")),
    };
    if (!create->broken)
        create->broken =
            op_emu_upload_add(&create->upload, text, &entry, &create->failed) != OP_OK;
}

static void take_element(void *arg, struct op_str element)
{
    struct create *create = arg;
    struct op_err err = OP_ERR_INIT;
    struct op_json request;
    size_t index = create->frame.count;
    if (create->not_json || index >= OP_ANTHROPIC_REQUESTS_MAX)
        return;
    /* A line end that survived the framing stands inside a string, where JSON has none. */
    bool broken_string = memchr(element.ptr, '\n', element.len) != NULL;
    if (broken_string)
        op_err_set(&err, OP_INVAL, "Invalid control character in requests.%zu", index);
    if (broken_string ||
        op_json_parse(create->parser, element.ptr, element.len, true, &request, &err)) {
        create->not_json = op_arena_strdup(&create->call->arena, op_str_from(err.msg));
        return;
    }
    if (create->refused)
        return;
    create->refused = check_request(create, request, index);
    if (!create->refused)
        keep_request(create, request, element);
}

void op_anthropic_create_begin(struct op_emu_call *call)
{
    struct create *create = op_mem_alloc(sizeof(*create));
    create->call = call;
    create->parser = op_json_parser_new();
    op_emu_frame_init(&create->frame, "requests", take_element, create);
    call->state = create;
    create->broken =
        op_emu_upload_open(call->emulator->store, &create->upload, &create->failed) != OP_OK;
}

void op_anthropic_create_add(struct op_emu_call *call, const char *ptr, size_t len)
{
    struct create *create = call->state;
    op_emu_frame_add(&create->frame, ptr, len);
}

void op_anthropic_create_release(struct op_emu_call *call)
{
    struct create *create = call->state;
    op_emu_upload_abort(&create->upload);
    op_emu_frame_release(&create->frame);
    op_json_parser_free(create->parser);
    op_map_release(&create->ids);
    op_mem_free(create);
    call->state = NULL;
}

/* ---- the whole body has arrived ---- */

static const char *check_skeleton(struct create *create, struct op_json root)
{
    struct op_json requests = op_json_get(root, "requests");
    struct op_arena *arena = &create->call->arena;
    size_t count = create->frame.count;
    if (!op_json_is(root, OP_JSON_OBJECT))
        return "Input should be a valid dictionary or object to extract fields from";
    if (!op_json_ok(requests))
        return "requests: Field required";
    if (!op_json_is(requests, OP_JSON_ARRAY))
        return "requests: Input should be a valid list";
    if (count == 0)
        return "requests: List should have at least 1 item after validation, not 0";
    if (count > OP_ANTHROPIC_REQUESTS_MAX)
        return op_arena_printf(arena,
                               "requests: List should have at most %d items after validation,"
                               " not %zu",
                               OP_ANTHROPIC_REQUESTS_MAX, count);
    if (create->refused)
        return create->refused;
    struct op_json_iter it = op_json_iter(root);
    while (op_json_next(&it)) {
        if (!op_str_is(it.name, "requests"))
            return op_arena_printf(arena, OP_STR_FMT ": Extra inputs are not permitted",
                                   OP_STR_ARG(it.name));
    }
    if (create->twice)
        return op_arena_printf(arena,
                               "requests: custom_id's must be unique within a batch."
                               " Duplicate custom_id found: %s",
                               create->twice);
    return NULL;
}

static const char *check_body(struct create *create)
{
    struct op_err err = OP_ERR_INIT;
    struct op_json root = {0};
    struct op_buf *skeleton = &create->frame.skeleton;
    const char *not_json = create->not_json;
    if (!not_json && !op_emu_frame_fits(&create->frame))
        not_json = "one value of it is too large";
    if (!not_json &&
        op_json_parse(create->parser, skeleton->ptr, skeleton->len, true, &root, &err))
        not_json = err.msg;
    /* The name occurs twice, or in another spelling: no client does that. */
    if (!not_json && op_json_count(op_json_get(root, "requests")) != create->frame.count)
        not_json = "\"requests\" is not one plain list";
    if (not_json)
        return op_arena_printf(&create->call->arena, "The request body is not valid JSON: %s",
                               not_json);
    return check_skeleton(create, root);
}

/* A full queue refuses before anything is billed. */
static bool queue_is_full(struct op_emu_call *call, size_t count)
{
    const struct op_emu_rule *rule = op_emu_fired_rule(&call->fired, OP_EMU_QUEUE_LIMIT);
    if (!rule || op_emu_store_queued(call->emulator->store) + (int64_t)count <= rule->lines)
        return false;
    op_anthropic_error(call, 429, NULL,
                       op_arena_printf(&call->arena,
                                       "This request would exceed the limit of %lld batch"
                                       " requests in the processing queue.",
                                       (long long)rule->lines));
    op_emu_reply_header(call, "retry-after", "10");
    return true;
}

static void disk_failed(struct op_emu_call *call, const struct op_err *err)
{
    op_emu_fail(call->emulator, err);
    op_anthropic_error(call, 500, NULL, err->msg);
}

void op_anthropic_create(struct op_emu_call *call)
{
    struct create *create = call->state;
    struct op_emu_store *store = call->emulator->store;
    struct op_err err = OP_ERR_INIT;
    if (create->broken) {
        disk_failed(call, &create->failed);
        return;
    }
    const char *refused = check_body(create);
    if (refused) {
        op_anthropic_error(call, 400, NULL, refused);
        return;
    }
    if (queue_is_full(call, create->frame.count))
        return;
    struct op_emu_batch batch = {
        .provider = "anthropic",
        .seq = op_emu_store_next_seq(store),
        .meta = op_anthropic_meta(call),
    };
    op_emu_store_id(store, "msgbatch_01", batch.seq, 0, batch.id);
    op_emu_quirks_add(&batch.quirks, &call->fired);
    const struct op_emu_timing timing = {.window_us = OP_EMU_DAY_US};
    op_emu_batch_plan(call->emulator, &batch, &timing);
    if (op_emu_store_commit(store, &create->upload, &batch, &err)) {
        disk_failed(call, &err);
        return;
    }
    op_emu_wake(call->emulator);
    op_anthropic_reply_batch(call, &batch);
}
