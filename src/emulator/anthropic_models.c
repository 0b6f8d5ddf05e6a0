/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "emulator/anthropic.h"

/* Newest first, as the API lists them. */
static const struct op_anthropic_model models[] = {
    {.id = "claude-haiku-5-5",
     .name = "Claude Haiku 5.5",
     .line = "haiku",
     .created = "2026-10-07T00:00:00Z",
     .max_tokens = 128000,
     .fixed_sampling = true,
     .no_prefill = true,
     .no_enabled = true,
     .long_output = true},
    {.id = "claude-sonnet-5-5",
     .name = "Claude Sonnet 5.5",
     .line = "sonnet",
     .created = "2026-10-01T00:00:00Z",
     .max_tokens = 128000,
     .fixed_sampling = true,
     .no_prefill = true,
     .no_enabled = true,
     .no_disabled = true,
     .no_forced_tool = true,
     .long_output = true},
    {.id = "claude-opus-5-5",
     .name = "Claude Opus 5.5",
     .line = "opus",
     .created = "2026-09-15T00:00:00Z",
     .max_tokens = 128000,
     .fixed_sampling = true,
     .no_prefill = true,
     .no_enabled = true,
     .no_disabled = true,
     .no_forced_tool = true,
     .long_output = true},
    {.id = "claude-fable-5-1",
     .name = "Claude Fable 5.1",
     .line = "fable",
     .created = "2026-09-01T00:00:00Z",
     .max_tokens = 128000,
     .fixed_sampling = true,
     .no_prefill = true,
     .no_enabled = true,
     .no_disabled = true,
     .no_forced_tool = true},
    {.id = "claude-sonnet-5",
     .name = "Claude Sonnet 5",
     .line = "sonnet",
     .created = "2026-07-01T00:00:00Z",
     .max_tokens = 128000,
     .fixed_sampling = true,
     .no_prefill = true,
     .no_enabled = true,
     .long_output = true},
    {.id = "claude-opus-5",
     .name = "Claude Opus 5",
     .line = "opus",
     .created = "2026-06-15T00:00:00Z",
     .max_tokens = 128000,
     .fixed_sampling = true,
     .no_prefill = true,
     .no_enabled = true,
     .long_output = true},
    {.id = "claude-opus-4-7",
     .name = "Claude Opus 4.7",
     .line = "opus",
     .created = "2026-04-01T00:00:00Z",
     .max_tokens = 128000,
     .fixed_sampling = true,
     .no_prefill = true,
     .no_enabled = true,
     .long_output = true},
    {.id = "claude-sonnet-4-6",
     .name = "Claude Sonnet 4.6",
     .line = "sonnet",
     .created = "2026-02-17T00:00:00Z",
     .max_tokens = 64000,
     .no_prefill = true,
     .long_output = true},
    {.id = "claude-opus-4-6",
     .name = "Claude Opus 4.6",
     .line = "opus",
     .created = "2026-02-05T00:00:00Z",
     .max_tokens = 128000,
     .no_prefill = true,
     .long_output = true},
    {.id = "claude-opus-4-5-20251101",
     .alias = "claude-opus-4-5",
     .name = "Claude Opus 4.5",
     .line = "opus",
     .created = "2025-11-24T00:00:00Z",
     .max_tokens = 64000,
     .no_adaptive = true},
    {.id = "claude-haiku-4-5-20251001",
     .alias = "claude-haiku-4-5",
     .name = "Claude Haiku 4.5",
     .line = "haiku",
     .created = "2025-10-15T00:00:00Z",
     .max_tokens = 64000,
     .no_adaptive = true},
    {.id = "claude-sonnet-4-5-20250929",
     .alias = "claude-sonnet-4-5",
     .name = "Claude Sonnet 4.5",
     .line = "sonnet",
     .created = "2025-09-29T00:00:00Z",
     .retires = "2026-11-30T00:00:00Z",
     .max_tokens = 64000,
     .no_adaptive = true},
};

const struct op_anthropic_model *op_anthropic_model(struct op_str id)
{
    for (size_t i = 0; i < OP_COUNT(models); i++) {
        if (op_str_is(id, models[i].id) || (models[i].alias && op_str_is(id, models[i].alias)))
            return &models[i];
    }
    return NULL;
}

static void supported(struct op_json_out *out, const char *name, bool value)
{
    op_json_out_name(out, name);
    op_json_out_object(out);
    op_json_out_kv_bool(out, "supported", value);
    op_json_out_end_object(out);
}

static void write_thinking(struct op_json_out *out, const struct op_anthropic_model *model)
{
    op_json_out_name(out, "thinking");
    op_json_out_object(out);
    op_json_out_kv_bool(out, "supported", true);
    op_json_out_name(out, "types");
    op_json_out_object(out);
    supported(out, "adaptive", !model->no_adaptive);
    supported(out, "between_tools", strcmp(model->id, "claude-sonnet-5-5") == 0);
    supported(out, "disabled", !model->no_disabled);
    supported(out, "enabled", !model->no_enabled);
    op_json_out_end_object(out);
    op_json_out_end_object(out);
}

static void write_capabilities(struct op_json_out *out, const struct op_anthropic_model *model)
{
    static const char *const efforts[] = {"high", "low", "max", "medium", "xhigh"};
    op_json_out_name(out, "capabilities");
    op_json_out_object(out);
    supported(out, "batch", true);
    supported(out, "citations", true);
    supported(out, "code_execution", true);
    op_json_out_name(out, "context_management");
    op_json_out_object(out);
    supported(out, "clear_thinking_20251015", true);
    supported(out, "clear_tool_uses_20250919", true);
    op_json_out_name(out, "compact_20260112");
    op_json_out_null(out);
    op_json_out_kv_bool(out, "supported", true);
    op_json_out_end_object(out);
    op_json_out_name(out, "effort");
    op_json_out_object(out);
    for (size_t i = 0; i < OP_COUNT(efforts); i++)
        supported(out, efforts[i], !model->no_adaptive);
    op_json_out_kv_bool(out, "supported", !model->no_adaptive);
    op_json_out_end_object(out);
    supported(out, "image_input", true);
    supported(out, "pdf_input", true);
    op_json_out_name(out, "server_tools");
    op_json_out_object(out);
    supported(out, "code_execution", true);
    op_json_out_kv_bool(out, "supported", true);
    supported(out, "web_search", true);
    op_json_out_end_object(out);
    supported(out, "structured_outputs", true);
    write_thinking(out, model);
    op_json_out_end_object(out);
}

static void write_model(struct op_json_out *out, const struct op_anthropic_model *model)
{
    op_json_out_object(out);
    op_json_out_kv_text(out, "type", "model");
    op_json_out_kv_text(out, "id", model->id);
    op_json_out_kv_text(out, "display_name", model->name);
    op_json_out_kv_text(out, "created_at", model->created);
    op_json_out_kv_text(out, "lifecycle", model->retires ? "deprecated" : "active");
    op_json_out_name(out, "deprecated_at");
    op_json_out_null(out);
    op_json_out_kv_str(out, "retires_at", op_str_from(model->retires));
    op_json_out_kv_text(out, "line", model->line);
    op_json_out_kv_int(out, "max_input_tokens", model->no_adaptive ? 200000 : 1000000);
    op_json_out_kv_int(out, "max_tokens", model->max_tokens);
    write_capabilities(out, model);
    op_json_out_end_object(out);
}

/* Where a page begins and ends; false for an id that is not there. */
static bool cut_page(struct op_emu_call *call, size_t limit, size_t *from, size_t *to)
{
    struct op_str after = op_emu_call_query(call, "after_id");
    struct op_str before = op_emu_call_query(call, "before_id");
    struct op_str mark = after.ptr ? after : before;
    size_t at = 0;
    while (mark.ptr && at < OP_COUNT(models) && !op_str_is(mark, models[at].id))
        at++;
    if (mark.ptr && at == OP_COUNT(models))
        return false;
    *from = after.ptr ? at + 1 : 0;
    *to = OP_COUNT(models);
    if (!after.ptr && before.ptr) {
        *to = at;
        *from = at > limit ? at - limit : 0;
    }
    if (*to - *from > limit)
        *to = *from + limit;
    return true;
}

void op_anthropic_list_models(struct op_emu_call *call)
{
    size_t from, to;
    struct op_json_out out;
    int64_t limit = op_anthropic_limit(call);
    if (limit < 0)
        return;
    if (!cut_page(call, (size_t)limit, &from, &to)) {
        op_anthropic_error(call, 400, NULL, "after_id: no such model");
        return;
    }
    bool backwards =
        op_emu_call_query(call, "before_id").ptr && !op_emu_call_query(call, "after_id").ptr;
    op_emu_reply_begin(call, 200, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    op_json_out_object(&out);
    op_json_out_name(&out, "data");
    op_json_out_array(&out);
    for (size_t i = from; i < to; i++)
        write_model(&out, &models[i]);
    op_json_out_end_array(&out);
    op_json_out_kv_bool(&out, "has_more", backwards ? from > 0 : to < OP_COUNT(models));
    op_json_out_kv_text(&out, "first_id", from < to ? models[from].id : NULL);
    op_json_out_kv_text(&out, "last_id", from < to ? models[to - 1].id : NULL);
    op_json_out_end_object(&out);
}

void op_anthropic_get_model(struct op_emu_call *call)
{
    struct op_json_out out;
    const struct op_anthropic_model *model = op_anthropic_model(call->id);
    if (!model) {
        const char *text =
            op_arena_printf(&call->arena, "model: " OP_STR_FMT, OP_STR_ARG(call->id));
        op_anthropic_error(call, 404, NULL, text);
        return;
    }
    op_emu_reply_begin(call, 200, "application/json");
    op_json_out_init(&out, &call->reply.body, 0);
    write_model(&out, model);
}
