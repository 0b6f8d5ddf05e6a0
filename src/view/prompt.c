/* SPDX-License-Identifier: MIT */
#include "view/prompt.h"

#include "base/json.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "view/text.h"

#define INDENT 4

/* A string, or the texts of a list of content blocks. False when there is none. */
static bool put_content(struct op_json content, struct op_buf *out)
{
    struct op_str text = op_json_str(content);
    if (text.ptr) {
        op_text_block(out, text, INDENT);
        return true;
    }
    bool any = false;
    struct op_json_iter it = op_json_iter(content);
    while (op_json_next(&it)) {
        text = op_json_str(op_json_get(it.value, "text"));
        if (!text.ptr)
            continue;
        op_text_block(out, text, INDENT);
        any = true;
    }
    return any;
}

static bool put_turn(struct op_json turn, struct op_buf *out)
{
    struct op_str role = op_json_str(op_json_get(turn, "role"));
    struct op_json content = op_json_get(turn, "content");
    if (!op_json_ok(content))
        content = op_json_get(turn, "parts");
    op_buf_addf(out, "  " OP_STR_FMT "\n", OP_STR_ARG(role.ptr ? role : OP_STR("user")));
    return put_content(content, out);
}

/* The members that are neither texts nor long. */
static void put_settings(struct op_json params, struct op_buf *out)
{
    bool first = true;
    struct op_json_iter it = op_json_iter(params);
    while (op_json_next(&it)) {
        bool plain =
            !op_json_is(it.value, OP_JSON_OBJECT) && !op_json_is(it.value, OP_JSON_ARRAY);
        if (!plain || op_json_str(it.value).len > 80)
            continue;
        op_buf_addf(out, "  " OP_STR_FMT "=", OP_STR_ARG(it.name));
        if (op_json_str(it.value).ptr)
            op_text_line(out, op_json_str(it.value), 0);
        else
            op_json_write(out, it.value);
        first = false;
    }
    if (!first)
        op_buf_addc(out, '\n');
}

void op_pretty_json(struct op_str json, int indent, struct op_buf *out)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_buf_release) struct op_buf pretty = {0};
    struct op_err err = OP_ERR_INIT;
    struct op_json root;
    if (op_json_parse(parser, json.ptr, json.len, false, &root, &err)) {
        op_text_block(out, json, indent);
        return;
    }
    op_buf_init(&pretty, 16 * json.len + 4096);
    struct op_json_out writer;
    op_json_out_init(&writer, &pretty, 2);
    op_json_out_value(&writer, root);
    op_text_block(out, op_buf_str(&pretty), indent);
}

void op_prompt_text(struct op_str params, struct op_buf *out)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_err err = OP_ERR_INIT;
    struct op_json root;
    if (op_json_parse(parser, params.ptr, params.len, false, &root, &err)) {
        op_text_block(out, params, INDENT);
        return;
    }
    static const char *const systems[] = {"system", "instructions", "systemInstruction"};
    static const char *const turns[] = {"messages", "contents", "input"};
    size_t start = out->len;
    bool any = false;
    put_settings(root, out);
    for (size_t i = 0; i < OP_COUNT(systems); i++) {
        struct op_json system = op_json_get(root, systems[i]);
        struct op_json parts = op_json_get(system, "parts");
        if (!op_json_ok(system))
            continue;
        op_buf_addz(out, "  system\n");
        put_content(op_json_ok(parts) ? parts : system, out);
    }
    for (size_t i = 0; i < OP_COUNT(turns); i++) {
        struct op_json_iter it = op_json_iter(op_json_get(root, turns[i]));
        while (op_json_next(&it))
            any |= put_turn(it.value, out);
    }
    if (any)
        return;
    out->len = start;
    op_pretty_json(params, INDENT, out);
}
