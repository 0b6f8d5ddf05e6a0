/* SPDX-License-Identifier: MIT */
#include "base/hash.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "emulator/anthropic.h"

#define TEXT_MAX ((size_t)256 * 1024 * 1024)

void op_anthropic_prompt_init(struct op_anthropic_prompt *prompt)
{
    *prompt = (struct op_anthropic_prompt){0};
    op_buf_init(&prompt->system, TEXT_MAX);
    op_buf_init(&prompt->user, TEXT_MAX);
}

void op_anthropic_prompt_release(struct op_anthropic_prompt *prompt)
{
    op_buf_release(&prompt->system);
    op_buf_release(&prompt->user);
}

int64_t op_anthropic_tokens(int64_t bytes)
{
    return (bytes + 3) / 4;
}

/* While the prompt is walked in the order in which it is cached: tools, system, messages. */
struct walk {
    struct op_anthropic_prompt *prompt;
    uint64_t hash;
};

static void count(struct walk *walk, struct op_str text)
{
    uint64_t both[2] = {walk->hash, op_hash64(text.ptr ? text.ptr : "", text.len)};
    walk->hash = op_hash64(both, sizeof(both));
    walk->prompt->bytes += (int64_t)text.len;
}

/* A block that carries cache_control ends a prefix; the last such block counts. */
static void mark_prefix(struct walk *walk, struct op_json cache_control)
{
    if (!op_json_is(cache_control, OP_JSON_OBJECT))
        return;
    walk->prompt->prefix_bytes = walk->prompt->bytes;
    walk->prompt->prefix_hash = walk->hash;
    walk->prompt->prefix_1h = op_str_is(op_json_str(op_json_get(cache_control, "ttl")), "1h");
}

static void add_text(struct walk *walk, struct op_buf *texts, struct op_str text)
{
    if (!text.ptr)
        return;
    count(walk, text);
    if (texts->len)
        op_buf_addc(texts, '\n');
    op_buf_add_str(texts, text);
}

/* A string, or blocks: text in text, or nested in tool results, documents and search results. */
static void add_content(struct walk *walk, struct op_buf *texts, struct op_json content,
                        int depth)
{
    add_text(walk, texts, op_json_str(content));
    if (!op_json_is(content, OP_JSON_ARRAY) || depth > 4)
        return;
    struct op_json_iter it = op_json_iter(content);
    while (op_json_next(&it)) {
        struct op_str type = op_json_str(op_json_get(it.value, "type"));
        add_text(walk, texts, op_json_str(op_json_get(it.value, "text")));
        add_content(walk, texts, op_json_get(it.value, "content"), depth + 1);
        struct op_json source = op_json_get(it.value, "source");
        if (op_str_is(type, "document") &&
            op_str_is(op_json_str(op_json_get(source, "type")), "text"))
            add_text(walk, texts, op_json_str(op_json_get(source, "data")));
        else if (op_json_is(source, OP_JSON_OBJECT))
            add_content(walk, texts, op_json_get(source, "content"), depth + 1);
        mark_prefix(walk, op_json_get(it.value, "cache_control"));
    }
}

static void add_json(struct walk *walk, struct op_json value)
{
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    op_buf_init(&text, TEXT_MAX);
    op_json_write(&text, value);
    count(walk, op_buf_str(&text));
}

void op_anthropic_prompt_read(struct op_anthropic_prompt *prompt, struct op_json params)
{
    struct walk walk = {.prompt = prompt};
    struct op_str model = op_json_str(op_json_get(params, "model"));
    walk.hash = op_hash64(model.ptr ? model.ptr : "", model.len);
    struct op_json_iter it = op_json_iter(op_json_get(params, "tools"));
    while (op_json_next(&it)) {
        add_json(&walk, it.value);
        mark_prefix(&walk, op_json_get(it.value, "cache_control"));
    }
    struct op_json format = op_json_pointer(params, OP_STR("/output_config/format"));
    if (op_json_is(format, OP_JSON_OBJECT))
        add_json(&walk, format);
    add_content(&walk, &prompt->system, op_json_get(params, "system"), 0);
    it = op_json_iter(op_json_get(params, "messages"));
    while (op_json_next(&it)) {
        prompt->bytes += 4; /* a turn costs a token of its own */
        add_content(&walk, &prompt->user, op_json_get(it.value, "content"), 0);
    }
    mark_prefix(&walk, op_json_get(params, "cache_control"));
}
