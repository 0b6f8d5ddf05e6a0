/* SPDX-License-Identifier: MIT */
/*
 * YAML as this program reads it.
 * Oracle: a refusal names file and line; what was read, written as JSON, is strict JSON, and YAML
 *         again, which written as JSON is the same.
 */
#include "fuzz.h"
#include "pipeline/yaml.h"

static void write_json(const struct op_yaml *root, struct op_buf *ret)
{
    struct op_json_out out;
    op_buf_init(ret, 64 * 1024 * 1024);
    op_json_out_init(&out, ret, 0);
    op_yaml_write_json(root, &out);
}

static void check_scalar(const struct op_yaml *node)
{
    struct op_err err = OP_ERR_INIT;
    int64_t n;
    bool b;
    const char *text;
    if (op_yaml_int(node, &n, &err))
        fuzz_check_error(err.rc, &err);
    op_err_clear(&err);
    if (op_yaml_bool(node, &b, &err))
        fuzz_check_error(err.rc, &err);
    op_err_clear(&err);
    if (op_yaml_text(node, &text, &err))
        fuzz_check_error(err.rc, &err);
    FUZZ_CHECK(op_yaml_kind_name(node)[0] && node->line > 0, "line %d", node->line);
}

static void walk(const struct op_yaml *node, int depth)
{
    FUZZ_CHECK(depth <= OP_YAML_MAX_DEPTH, "%d levels", depth);
    size_t count = 0;
    check_scalar(node);
    for (const struct op_yaml *child = node->first; child; child = child->next, count++) {
        FUZZ_CHECK((node->kind == OP_YAML_MAP) == (child->key != NULL), "a key in a list");
        if (child->key)
            FUZZ_CHECK(op_yaml_get(node, child->key) == child, "'%s' twice", child->key);
        walk(child, depth + 1);
    }
    FUZZ_CHECK(count == node->count, "%zu children, not %zu", count, node->count);
}

/* To YAML these are line ends, so such JSON means something else in it. */
static bool has_line_end(const struct op_buf *text)
{
    return strstr(text->ptr, "\xC2\x85") || strstr(text->ptr, "\xE2\x80\xA8") ||
           strstr(text->ptr, "\xE2\x80\xA9");
}

FUZZ_TARGET(yaml)
{
    struct op_arena arena = {0};
    struct op_err err = OP_ERR_INIT;
    const struct op_yaml *root = NULL;
    enum op_rc rc = op_yaml_parse(&arena, "p/pipeline.yaml", fuzz_rest(in), &root, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
        FUZZ_CHECK(strncmp(err.msg, "p/pipeline.yaml", 15) == 0, "%s", err.msg);
    } else {
        OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
        OP_CLEANUP(op_buf_release) struct op_buf first, second = {0};
        struct op_json v;
        walk(root, 1);
        write_json(root, &first);
        rc = op_json_parse(parser, first.ptr, first.len, true, &v, &err);
        FUZZ_CHECK(!rc && !op_json_parser_repaired(parser), "%s: %s", err.msg, first.ptr);
        /* Keys that are empty or very long are JSON, but no YAML of ours. */
        if (!has_line_end(&first) &&
            !op_yaml_parse(&arena, "again", op_buf_str(&first), &root, &err)) {
            write_json(root, &second);
            FUZZ_CHECK(op_str_eq(op_buf_str(&first), op_buf_str(&second)), "%s\nbecame %s",
                       first.ptr, second.ptr);
        }
    }
    op_arena_release(&arena);
}
