/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/hash.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "emulator/answers.h"
#include "emulator/anthropic.h"
#include "emulator/state.h"

#define ANSWER_MAX ((size_t)64 * 1024 * 1024)

/* What is said, before it is put into a message. */
struct saying {
    struct op_buf text;
    struct op_str stop_reason;
    struct op_str stop_sequence;
    struct op_json tool; /* no value: text is text, else the input of this tool as JSON */
    bool thinks;
    bool refuses;
};

void op_anthropic_hash(struct op_json params, char ret[OP_SHA256_HEX])
{
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    op_buf_init(&text, OP_ANTHROPIC_BATCH_MAX);
    op_json_write_canonical(&text, params);
    op_sha256_hex(text.ptr, text.len, ret);
}

/* ---- what to say ---- */

/* The tool a tool_choice forces, no value when it leaves the choice. */
static struct op_json forced_tool(struct op_json params)
{
    struct op_json choice = op_json_get(params, "tool_choice");
    struct op_str type = op_json_str(op_json_get(choice, "type"));
    bool any = op_str_is(type, "any");
    struct op_str name = op_json_str(op_json_get(choice, "name"));
    struct op_json_iter it = op_json_iter(op_json_get(params, "tools"));
    while ((any || op_str_is(type, "tool")) && op_json_next(&it)) {
        if (any || op_str_eq(op_json_str(op_json_get(it.value, "name")), name))
            return it.value;
    }
    return (struct op_json){0};
}

static void generate(struct op_anthropic_turn *turn, const struct op_anthropic_prompt *prompt,
                     struct saying *saying)
{
    const struct op_emu_rule *spoil = op_emu_fired_rule(turn->fired, OP_EMU_INVALID_ANSWER);
    struct op_emu_ask ask = {
        .prompt = op_buf_str(prompt->user.len ? &prompt->user : &prompt->system),
        .schema = op_json_pointer(turn->params, OP_STR("/output_config/format/schema")),
        .seed = turn->emulator->seed,
        .spoil = spoil ? op_emu_spoil_named(spoil->how) : OP_EMU_SPOIL_NONE,
    };
    saying->tool = forced_tool(turn->params);
    saying->stop_reason = OP_STR("end_turn");
    if (op_json_ok(saying->tool)) {
        ask.schema = op_json_get(saying->tool, "input_schema");
        saying->stop_reason = OP_STR("tool_use");
        /* The input of a tool is JSON whatever it says; only its shape can be wrong. */
        if (ask.spoil == OP_EMU_SPOIL_NOT_JSON || ask.spoil == OP_EMU_SPOIL_FENCED ||
            ask.spoil == OP_EMU_SPOIL_PROSE || ask.spoil == OP_EMU_SPOIL_EMPTY)
            ask.spoil = OP_EMU_SPOIL_WRONG_TYPE;
    }
    op_emu_answer(&ask, &saying->text);
}

static void use_script(struct op_anthropic_turn *turn, const struct op_emu_scripted *rule,
                       struct saying *saying)
{
    if (rule->error_type) {
        turn->problem.type = rule->error_type;
        turn->problem.message = rule->error_message;
        return;
    }
    if (rule->text) {
        op_buf_clear(&saying->text);
        op_buf_addz(&saying->text, rule->text);
        saying->tool = (struct op_json){0};
        saying->stop_reason = OP_STR("end_turn");
    }
    if (rule->stop_reason)
        saying->stop_reason = op_str_from(rule->stop_reason);
}

static void keep_bytes(struct saying *saying, size_t most)
{
    if (saying->text.len <= most)
        return;
    saying->text.len = op_utf8_valid_len(saying->text.ptr, most);
    saying->text.ptr[saying->text.len] = '\0';
    saying->stop_reason = OP_STR("max_tokens");
}

static void stop_at_sequence(struct op_json params, struct saying *saying)
{
    struct op_json_iter it = op_json_iter(op_json_get(params, "stop_sequences"));
    while (op_json_next(&it)) {
        struct op_str stop = op_json_str(it.value);
        const char *at =
            stop.len ? memmem(saying->text.ptr, saying->text.len, stop.ptr, stop.len) : NULL;
        if (!at)
            continue;
        saying->text.len = (size_t)(at - saying->text.ptr);
        saying->stop_reason = OP_STR("stop_sequence");
        saying->stop_sequence = stop;
    }
}

static void apply_limits(struct op_anthropic_turn *turn, struct saying *saying)
{
    int64_t max_tokens = op_json_int(op_json_get(turn->params, "max_tokens"), 0);
    if (op_emu_fired_rule(turn->fired, OP_EMU_REFUSAL))
        saying->refuses = true;
    if (op_str_is(saying->stop_reason, "refusal"))
        saying->refuses = true;
    if (saying->refuses) {
        saying->stop_reason = OP_STR("refusal");
        saying->tool = (struct op_json){0};
        op_buf_clear(&saying->text);
    }
    if (op_json_ok(saying->tool))
        return;
    stop_at_sequence(turn->params, saying);
    keep_bytes(saying, (size_t)max_tokens * 4);
    if (op_emu_fired_rule(turn->fired, OP_EMU_TRUNCATED_ANSWER))
        keep_bytes(saying, saying->text.len / 2);
}

/* ---- what it costs ---- */

static void count_usage(struct op_anthropic_turn *turn,
                        const struct op_anthropic_prompt *prompt, const struct saying *saying)
{
    struct op_emulator *em = turn->emulator;
    struct op_emu_usage *usage = &turn->usage;
    int64_t total = op_anthropic_tokens(prompt->bytes);
    int64_t prefix = op_anthropic_tokens(prompt->prefix_bytes);
    if (prefix > total)
        prefix = total;
    *usage = (struct op_emu_usage){.input = total - prefix};
    usage->output = op_anthropic_tokens((int64_t)saying->text.len) + (saying->thinks ? 16 : 0);
    if (usage->output == 0)
        usage->output = 1;
    if (prefix == 0)
        return;
    int64_t ttl = (prompt->prefix_1h ? 3600 : 300) * OP_EMU_SECOND_US;
    int64_t now = op_emu_clock_now(&em->clock);
    if (op_emu_cache_use(em->cache, prompt->prefix_hash, now, ttl))
        usage->cache_read = prefix;
    else if (prompt->prefix_1h)
        usage->cache_write_1h = prefix;
    else
        usage->cache_write_5m = prefix;
}

static void write_usage(struct op_json_out *out, const struct op_anthropic_turn *turn,
                        const struct saying *saying)
{
    const struct op_emu_usage *usage = &turn->usage;
    op_json_out_name(out, "usage");
    op_json_out_object(out);
    op_json_out_kv_int(out, "input_tokens", usage->input);
    op_json_out_kv_int(out, "cache_creation_input_tokens",
                       usage->cache_write_5m + usage->cache_write_1h);
    op_json_out_kv_int(out, "cache_read_input_tokens", usage->cache_read);
    op_json_out_name(out, "cache_creation");
    op_json_out_object(out);
    op_json_out_kv_int(out, "ephemeral_5m_input_tokens", usage->cache_write_5m);
    op_json_out_kv_int(out, "ephemeral_1h_input_tokens", usage->cache_write_1h);
    op_json_out_end_object(out);
    op_json_out_kv_int(out, "output_tokens", usage->output);
    if (saying->thinks) {
        op_json_out_name(out, "output_tokens_details");
        op_json_out_object(out);
        op_json_out_kv_int(out, "thinking_tokens", 16);
        op_json_out_end_object(out);
    }
    op_json_out_kv_text(out, "service_tier", turn->place.in_batch ? "batch" : "standard");
    op_json_out_kv_text(out, "inference_geo", "not_available");
    op_json_out_end_object(out);
}

/* ---- the message ---- */

static void write_content(struct op_json_out *out, const struct op_anthropic_turn *turn,
                          const struct saying *saying)
{
    char id[OP_EMU_ID_MAX];
    op_json_out_name(out, "content");
    op_json_out_array(out);
    if (saying->thinks) {
        op_json_out_object(out);
        op_json_out_kv_text(out, "type", "thinking");
        op_json_out_kv_text(out, "thinking",
                            "The request asks for an answer from its own words.");
        op_json_out_kv_text(out, "signature", "ZW11bGF0ZWQ=");
        op_json_out_end_object(out);
    }
    if (op_json_ok(saying->tool)) {
        op_emu_store_id(turn->emulator->store, "toolu_01", turn->id_a, turn->id_b, id);
        op_json_out_object(out);
        op_json_out_kv_text(out, "type", "tool_use");
        op_json_out_kv_text(out, "id", id);
        op_json_out_kv_str(out, "name", op_json_str(op_json_get(saying->tool, "name")));
        op_json_out_name(out, "input");
        op_json_out_raw(out, op_buf_str(&saying->text));
        op_json_out_end_object(out);
    } else if (saying->text.len) {
        op_json_out_object(out);
        op_json_out_kv_text(out, "type", "text");
        op_json_out_kv_str(out, "text", op_buf_str(&saying->text));
        op_json_out_end_object(out);
    }
    op_json_out_end_array(out);
}

static void write_message(struct op_buf *buf, const struct op_anthropic_turn *turn,
                          const struct saying *saying)
{
    struct op_json_out out;
    char id[OP_EMU_ID_MAX];
    op_emu_store_id(turn->emulator->store, "msg_01", turn->id_a, turn->id_b, id);
    op_json_out_init(&out, buf, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "id", id);
    op_json_out_kv_text(&out, "type", "message");
    op_json_out_kv_text(&out, "role", "assistant");
    op_json_out_kv_str(&out, "model", turn->model);
    write_content(&out, turn, saying);
    op_json_out_kv_str(&out, "stop_reason", saying->stop_reason);
    op_json_out_kv_str(&out, "stop_sequence", saying->stop_sequence);
    if (saying->refuses) {
        op_json_out_name(&out, "stop_details");
        op_json_out_raw(&out, OP_STR("{\"type\":\"refusal\",\"category\":null,"
                                     "\"explanation\":null}"));
    }
    write_usage(&out, turn, saying);
    op_json_out_end_object(&out);
}

static void set_model(struct op_anthropic_turn *turn)
{
    struct op_str asked = op_json_str(op_json_get(turn->params, "model"));
    const struct op_anthropic_model *model = op_anthropic_model(asked);
    turn->model = model ? op_str_from(model->id) : asked;
}

static bool thinks(struct op_json params)
{
    struct op_str type = op_json_str(op_json_pointer(params, OP_STR("/thinking/type")));
    return op_str_is(type, "enabled") || op_str_is(type, "adaptive");
}

/* A fault rule makes an error of what would have been an answer. */
static bool use_error_rule(struct op_anthropic_turn *turn)
{
    const struct op_emu_rule *rule = op_emu_fired_rule(turn->fired, OP_EMU_ERROR_LINE);
    if (!rule)
        return false;
    turn->problem.type = rule->type ? rule->type : "api_error";
    turn->problem.message = rule->message ? rule->message : "Internal server error";
    turn->problem_status = rule->status < 0 ? 0 : (int)rule->status;
    return true;
}

void op_anthropic_answer(struct op_anthropic_turn *turn, struct op_buf *out)
{
    struct saying saying = {.thinks = thinks(turn->params)};
    OP_CLEANUP(op_anthropic_prompt_release) struct op_anthropic_prompt prompt;
    set_model(turn);
    op_anthropic_prompt_init(&prompt);
    if (use_error_rule(turn))
        return;
    op_anthropic_prompt_read(&prompt, turn->params);
    op_buf_init(&saying.text, ANSWER_MAX);
    const struct op_str subjects[] = {turn->custom_id, op_buf_str(&prompt.user),
                                      op_buf_str(&prompt.system)};
    const struct op_emu_scripted *rule =
        op_emu_script_find(turn->emulator->script, subjects, OP_COUNT(subjects));
    if (!rule || !rule->text)
        generate(turn, &prompt, &saying);
    if (rule)
        use_script(turn, rule, &saying);
    if (!turn->problem.type) {
        apply_limits(turn, &saying);
        count_usage(turn, &prompt, &saying);
        op_sha256_hex(saying.text.ptr, saying.text.len, turn->answer);
        write_message(out, turn, &saying);
    }
    op_buf_release(&saying.text);
}

/* ---- one line of a batch ---- */

static void write_error(struct op_json_out *out, const struct op_anthropic_problem *problem,
                        const char *request_id, bool user_facing)
{
    op_json_out_name(out, "error");
    op_json_out_object(out);
    op_json_out_kv_text(out, "type", "error");
    op_json_out_name(out, "error");
    op_json_out_object(out);
    op_json_out_name(out, "details");
    if (user_facing)
        op_json_out_raw(out, OP_STR("{\"error_visibility\":\"user_facing\"}"));
    else
        op_json_out_null(out);
    op_json_out_kv_text(out, "type", problem->type);
    op_json_out_kv_text(out, "message", problem->message);
    op_json_out_end_object(out);
    op_json_out_kv_text(out, "request_id", request_id);
    op_json_out_end_object(out);
}

static void write_line_head(struct op_json_out *out, const struct op_emu_line *line)
{
    op_json_out_object(out);
    op_json_out_name(out, "custom_id");
    if (line->null_id)
        op_json_out_null(out);
    else if (line->rename_id)
        op_json_out_text(out, op_arena_printf(line->arena, OP_STR_FMT "-renamed",
                                              OP_STR_ARG(line->custom_id)));
    else
        op_json_out_str(out, line->custom_id);
    op_json_out_name(out, "result");
    op_json_out_object(out);
    op_json_out_kv_text(out, "type", op_emu_outcome_name(line->outcome));
}

static void process_line(struct op_emu_line *line, struct op_anthropic_turn *turn,
                         struct op_buf *message, bool *ret_executed)
{
    turn->problem = op_anthropic_check(turn->params, &turn->place, line->arena);
    *ret_executed = turn->problem.type == NULL;
    if (*ret_executed)
        op_anthropic_answer(turn, message);
    if (turn->problem.type) {
        line->outcome = OP_EMU_ERRORED;
        return;
    }
    line->usage = turn->usage;
    memcpy(line->answer, turn->answer, sizeof(line->answer));
}

void op_anthropic_line(struct op_emu_line *line)
{
    OP_CLEANUP(op_buf_release) struct op_buf message = {0};
    char request_id[OP_EMU_ID_MAX];
    bool executed = false;
    op_buf_init(&message, ANSWER_MAX);
    struct op_anthropic_turn turn = {
        .emulator = line->emulator,
        .arena = line->arena,
        .params = op_json_get(line->request, "params"),
        .custom_id = op_json_str(op_json_get(line->request, "custom_id")),
        .fired = line->fired,
        .place = op_anthropic_place_in(line->batch->meta),
        .id_a = line->batch->seq,
        .id_b = line->number + 1,
    };
    line->custom_id = turn.custom_id;
    op_anthropic_hash(turn.params, line->hash);
    set_model(&turn);
    if (line->outcome == OP_EMU_SUCCEEDED)
        process_line(line, &turn, &message, &executed);
    line->model = turn.model;
    struct op_json_out out;
    op_json_out_init(&out, line->out, 0);
    write_line_head(&out, line);
    if (line->outcome == OP_EMU_SUCCEEDED) {
        op_json_out_name(&out, "message");
        op_json_out_raw(&out, op_buf_str(&message));
    } else if (line->outcome == OP_EMU_ERRORED) {
        op_emu_store_id(line->emulator->store, "workerreq_01", turn.id_a, turn.id_b,
                        request_id);
        write_error(&out, &turn.problem, executed ? request_id : NULL, !executed);
    }
    op_json_out_end_object(&out);
    op_json_out_end_object(&out);
}

/* ---- realtime ---- */

static bool read_body(struct op_emu_call *call, struct op_json *ret)
{
    struct op_err err = OP_ERR_INIT;
    if (!op_emu_call_json(call, ret, &err)) {
        op_anthropic_error(
            call, 400, NULL,
            op_arena_printf(&call->arena, "The request body is not valid JSON: %s", err.msg));
        return false;
    }
    return true;
}

/* Both lines at once: what is accepted here is finished before it is answered. */
static bool bill_turn(struct op_emu_call *call, const struct op_anthropic_turn *turn)
{
    OP_CLEANUP(op_buf_release) struct op_buf entries = {0};
    struct op_err err = OP_ERR_INIT;
    char hash[OP_SHA256_HEX];
    bool paid = turn->problem.type == NULL;
    const char *fault =
        turn->fired->count ? op_emu_action_name(turn->fired->rules[0]->action) : NULL;
    op_anthropic_hash(turn->params, hash);
    struct op_emu_entry entry = {.hash = hash, .state = "accepted", .model = turn->model};
    op_buf_init(&entries, (size_t)64 * 1024);
    op_emu_bill_write(&entries, &entry);
    entry.state = op_emu_outcome_name(paid ? OP_EMU_SUCCEEDED : OP_EMU_ERRORED);
    entry.usage = paid ? &turn->usage : NULL;
    entry.answer = paid ? turn->answer : NULL;
    entry.fault = fault;
    op_emu_bill_write(&entries, &entry);
    struct op_emulator *em = call->emulator;
    if (!op_emu_bill_add(op_emu_store_bill(em->store), op_emu_clock_now(&em->clock),
                         "anthropic", op_buf_str(&entries), &err))
        return true;
    op_emu_fail(em, &err);
    op_anthropic_error(call, 500, NULL, err.msg);
    return false;
}

void op_anthropic_post_message(struct op_emu_call *call)
{
    struct op_emulator *em = call->emulator;
    struct op_anthropic_turn turn = {
        .emulator = em,
        .arena = &call->arena,
        .fired = &call->fired,
        .place = op_anthropic_place_of(call),
        .id_a = em->clock.start_us,
        .id_b = atomic_fetch_add(&em->next_request, 1),
    };
    if (!read_body(call, &turn.params))
        return;
    turn.problem = op_anthropic_check(turn.params, &turn.place, &call->arena);
    if (!turn.problem.type && op_json_bool(op_json_get(turn.params, "stream"), false))
        turn.problem = (struct op_anthropic_problem){
            "invalid_request_error", "stream: the emulator does not stream; leave it out"};
    if (turn.problem.type) {
        op_anthropic_error(call, op_anthropic_status_of(turn.problem.type), turn.problem.type,
                           turn.problem.message);
        return;
    }
    op_emu_reply_begin(call, 200, "application/json");
    op_anthropic_answer(&turn, &call->reply.body);
    if (!bill_turn(call, &turn) || !turn.problem.type)
        return;
    int status =
        turn.problem_status ? turn.problem_status : op_anthropic_status_of(turn.problem.type);
    op_anthropic_error(call, status, turn.problem.type, turn.problem.message);
}

void op_anthropic_count_tokens(struct op_emu_call *call)
{
    OP_CLEANUP(op_anthropic_prompt_release) struct op_anthropic_prompt prompt;
    struct op_anthropic_place place = op_anthropic_place_of(call);
    struct op_json params;
    op_anthropic_prompt_init(&prompt);
    place.counting = true;
    if (!read_body(call, &params))
        return;
    struct op_anthropic_problem problem = op_anthropic_check(params, &place, &call->arena);
    if (problem.type) {
        op_anthropic_error(call, op_anthropic_status_of(problem.type), problem.type,
                           problem.message);
        return;
    }
    op_anthropic_prompt_read(&prompt, params);
    op_emu_reply_begin(call, 200, "application/json");
    op_buf_addf(&call->reply.body, "{\"input_tokens\":%lld}",
                (long long)op_anthropic_tokens(prompt.bytes));
}
