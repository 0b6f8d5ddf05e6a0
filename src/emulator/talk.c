/* SPDX-License-Identifier: MIT */
#include "emulator/talk.h"

#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "emulator/answers.h"
#include "emulator/api.h"
#include "emulator/state.h"

#define TEXT_MAX ((size_t)512 * 1024 * 1024)

/* What OpenAI and Google document of their automatic caches: prompts of 1024 tokens and more, in
 * steps of 128, forgotten after some minutes. Here the system text is what is cached. */
#define CACHE_LEAST_TOKENS 1024
#define CACHE_STEP_TOKENS  128
#define CACHE_US           (300 * OP_EMU_SECOND_US)

void op_emu_talk_init(struct op_emu_talk *talk)
{
    *talk = (struct op_emu_talk){0};
    op_buf_init(&talk->system, TEXT_MAX);
    op_buf_init(&talk->user, TEXT_MAX);
    op_buf_init(&talk->text, TEXT_MAX);
}

void op_emu_talk_release(struct op_emu_talk *talk)
{
    op_buf_release(&talk->system);
    op_buf_release(&talk->user);
    op_buf_release(&talk->text);
}

int64_t op_emu_tokens(int64_t bytes)
{
    return (bytes + 3) / 4;
}

void op_emu_talk_add(struct op_emu_talk *talk, struct op_buf *texts, struct op_str text)
{
    if (!text.ptr)
        return;
    talk->bytes += (int64_t)text.len;
    if (texts->len)
        op_buf_addc(texts, '\n');
    op_buf_add_str(texts, text);
}

void op_emu_talk_count(struct op_emu_talk *talk, struct op_json value)
{
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    if (!op_json_ok(value) || op_json_is(value, OP_JSON_NULL))
        return;
    op_buf_init(&text, TEXT_MAX);
    op_json_write(&text, value);
    talk->bytes += (int64_t)text.len;
}

void op_emu_hash(struct op_json value, char ret[OP_SHA256_HEX])
{
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    op_buf_init(&text, TEXT_MAX);
    op_json_write_canonical(&text, value);
    op_sha256_hex(text.ptr, text.len, ret);
}

/* ---- what to say ---- */

static void generate(struct op_emu_talk *talk)
{
    const struct op_emu_rule *spoil = op_emu_fired_rule(talk->fired, OP_EMU_INVALID_ANSWER);
    struct op_emu_ask ask = {
        .prompt = op_buf_str(talk->user.len ? &talk->user : &talk->system),
        .schema = talk->schema,
        .seed = talk->emulator->seed,
        .spoil = spoil ? op_emu_spoil_named(spoil->how) : OP_EMU_SPOIL_NONE,
    };
    op_emu_answer(&ask, &talk->text);
}

static void use_stop(struct op_emu_talk *talk, const char *word)
{
    static const struct {
        const char *word;
        enum op_emu_stop stop;
    } rows[] = {
        {"max_tokens", OP_EMU_STOP_LENGTH},
        {"length", OP_EMU_STOP_LENGTH},
        {"MAX_TOKENS", OP_EMU_STOP_LENGTH},
        {"max_output_tokens", OP_EMU_STOP_LENGTH},
        {"model_length", OP_EMU_STOP_LENGTH},
        {"refusal", OP_EMU_STOP_REFUSAL},
        {"end_turn", OP_EMU_STOP_END},
        {"stop", OP_EMU_STOP_END},
        {"STOP", OP_EMU_STOP_END},
    };
    talk->stop_text = op_str_from(word);
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        if (!op_str_is(talk->stop_text, rows[i].word))
            continue;
        talk->stop = rows[i].stop;
        talk->stop_text = OP_STR_NULL; /* the provider has its own word for that */
        return;
    }
}

static void use_script(struct op_emu_talk *talk, const struct op_emu_scripted *rule)
{
    if (rule->error_type) {
        talk->error_type = rule->error_type;
        talk->error_message = rule->error_message;
        return;
    }
    if (rule->text)
        op_buf_addz(&talk->text, rule->text);
    else
        generate(talk);
    if (rule->stop_reason)
        use_stop(talk, rule->stop_reason);
}

static void stop_at(struct op_emu_talk *talk, struct op_str word)
{
    const char *at =
        word.len ? memmem(talk->text.ptr, talk->text.len, word.ptr, word.len) : NULL;
    if (!at)
        return;
    talk->text.len = (size_t)(at - talk->text.ptr);
    talk->stop = OP_EMU_STOP_WORD;
}

static void keep_bytes(struct op_emu_talk *talk, size_t most)
{
    if (talk->text.len <= most)
        return;
    talk->text.len = op_utf8_valid_len(talk->text.ptr, most);
    talk->text.ptr[talk->text.len] = '\0';
    talk->stop = OP_EMU_STOP_LENGTH;
}

static void apply_limits(struct op_emu_talk *talk)
{
    if (op_emu_fired_rule(talk->fired, OP_EMU_REFUSAL))
        talk->stop = OP_EMU_STOP_REFUSAL;
    if (talk->stop == OP_EMU_STOP_REFUSAL) {
        op_buf_clear(&talk->text);
        return;
    }
    if (op_json_is(talk->stops, OP_JSON_STRING))
        stop_at(talk, op_json_str(talk->stops));
    struct op_json_iter it = op_json_iter(talk->stops);
    while (op_json_next(&it))
        stop_at(talk, op_json_str(it.value));
    if (talk->max_tokens > 0)
        keep_bytes(talk, (size_t)talk->max_tokens * 4);
    if (op_emu_fired_rule(talk->fired, OP_EMU_TRUNCATED_ANSWER))
        keep_bytes(talk, talk->text.len / 2);
}

static void count_usage(struct op_emu_talk *talk)
{
    struct op_emulator *em = talk->emulator;
    struct op_emu_usage *usage = &talk->usage;
    int64_t total = op_emu_tokens(talk->bytes);
    int64_t prefix = op_emu_tokens((int64_t)talk->system.len);
    if (total == 0)
        total = 1;
    usage->input = total;
    usage->output = op_emu_tokens((int64_t)talk->text.len) + talk->thinking;
    if (usage->output == 0)
        usage->output = 1;
    if (prefix < CACHE_LEAST_TOKENS)
        return;
    prefix -= prefix % CACHE_STEP_TOKENS;
    uint64_t hash = op_hash64(talk->system.ptr, talk->system.len);
    if (!op_emu_cache_use(em->cache, hash, op_emu_clock_now(&em->clock), CACHE_US))
        return;
    usage->cache_read = prefix;
    usage->input -= prefix;
}

void op_emu_talk_run(struct op_emu_talk *talk)
{
    const struct op_emu_rule *error = op_emu_fired_rule(talk->fired, OP_EMU_ERROR_LINE);
    if (error) {
        talk->error_type = error->type ? error->type : "";
        talk->error_message = error->message;
        talk->error_status = error->status < 0 ? 0 : (int)error->status;
        return;
    }
    const struct op_str subjects[] = {talk->custom_id, op_buf_str(&talk->user),
                                      op_buf_str(&talk->system)};
    const struct op_emu_scripted *rule =
        op_emu_script_find(talk->emulator->script, subjects, OP_COUNT(subjects));
    if (rule)
        use_script(talk, rule);
    else
        generate(talk);
    if (talk->error_type)
        return;
    apply_limits(talk);
    count_usage(talk);
    op_sha256_hex(talk->text.ptr, talk->text.len, talk->answer);
}

/* ---- realtime ---- */

bool op_emu_talk_bill(struct op_emu_call *call, const struct op_emu_talk *talk,
                      struct op_json asked, struct op_str model)
{
    OP_CLEANUP(op_buf_release) struct op_buf entries = {0};
    struct op_err err = OP_ERR_INIT;
    char hash[OP_SHA256_HEX];
    struct op_emulator *em = call->emulator;
    bool paid = talk->error_type == NULL;
    op_emu_hash(asked, hash);
    struct op_emu_entry entry = {.hash = hash, .state = "accepted", .model = model};
    op_buf_init(&entries, (size_t)64 * 1024);
    op_emu_bill_write(&entries, &entry);
    entry.state = op_emu_outcome_name(paid ? OP_EMU_SUCCEEDED : OP_EMU_ERRORED);
    entry.usage = paid ? &talk->usage : NULL;
    entry.answer = paid ? talk->answer : NULL;
    if (talk->fired->count)
        entry.fault = op_emu_action_name(talk->fired->rules[0]->action);
    op_emu_bill_write(&entries, &entry);
    if (!op_emu_bill_add(op_emu_store_bill(em->store), op_emu_clock_now(&em->clock),
                         call->api->name, op_buf_str(&entries), &err))
        return true;
    op_emu_fail(em, &err);
    call->api->error(call, 500, NULL, err.msg);
    return false;
}
