/* SPDX-License-Identifier: MIT */
/*
 * Mustache. Input: a byte of options, then template, partial "p" and context (JSON), each up to a
 * NUL byte.
 * Oracle: a refusal names the file; what is rendered for JSON is the content of one JSON string; a
 *         second rendering with the same scratch gives the same bytes.
 */
#include "base/json.h"
#include "base/template.h"
#include "fuzz.h"

static bool find_partial(void *arg, const char *name, struct op_str *ret)
{
    *ret = *(const struct op_str *)arg;
    return strcmp(name, "p") == 0;
}

static enum op_rc render(const struct op_template *tpl, struct op_template_scratch *scratch,
                         const struct op_template_root *root, struct op_buf *out)
{
    struct op_err err = OP_ERR_INIT;
    op_buf_init(out, OP_TEMPLATE_MAX_OUTPUT);
    enum op_rc rc = op_template_render(tpl, scratch, root, out, &err);
    if (rc)
        fuzz_check_error(rc, &err);
    return rc;
}

static void check_json(const struct op_buf *out)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_buf_release) struct op_buf text;
    struct op_err err = OP_ERR_INIT;
    struct op_json v = {0};
    op_buf_init(&text, 64 * 1024 * 1024);
    op_buf_addc(&text, '"');
    op_buf_add(&text, out->ptr, out->len);
    op_buf_addc(&text, '"');
    enum op_rc rc = op_json_parse(parser, text.ptr, text.len, true, &v, &err);
    FUZZ_CHECK(!rc && op_json_is(v, OP_JSON_STRING) && !op_json_parser_repaired(parser),
               "not a JSON string: %s", text.ptr);
}

static void render_both(const struct op_template *tpl, const struct op_template_root *root,
                        bool is_json)
{
    struct op_template_scratch *scratch = op_template_scratch_new();
    OP_CLEANUP(op_buf_release) struct op_buf first, second;
    enum op_rc a = render(tpl, scratch, root, &first);
    enum op_rc b = render(tpl, scratch, root, &second);
    FUZZ_CHECK(a == b && op_str_eq(op_buf_str(&first), op_buf_str(&second)), "%s\nthen %s",
               first.ptr, second.ptr);
    if (!a && is_json)
        check_json(&first);
    op_template_scratch_free(scratch);
}

/* The members of the context as a row: texts as they are, the rest as JSON would have them. */
static void render_row(struct op_template *tpl, struct op_json context, bool is_json)
{
    enum { MOST = 8 };
    char *names[MOST];
    struct op_value cells[MOST];
    size_t count = 0;
    struct op_json_iter it = op_json_iter(context);
    while (count < MOST && op_json_next(&it)) {
        if (!it.name.ptr)
            continue;
        names[count] = fuzz_text(it.name);
        struct op_str text = op_json_str(it.value);
        cells[count++] =
            text.ptr ? op_value_text(text) : op_value_int(op_json_int(it.value, 0));
    }
    struct op_template_root root = {(const char *const *)names, cells, count, {0}};
    struct op_err err = OP_ERR_INIT;
    enum op_rc rc = op_template_bind(tpl, (const char *const *)names, count, &err);
    if (rc)
        fuzz_check_error(rc, &err);
    else
        render_both(tpl, &root, is_json);
    for (size_t i = 0; i < count; i++)
        op_mem_free(names[i]);
}

FUZZ_TARGET(template)
{
    uint8_t choice = fuzz_byte(in);
    struct op_str text = fuzz_until(in, '\0'), partial = fuzz_until(in, '\0');
    struct op_str context = fuzz_rest(in);
    struct op_template_options options = {.escape = (enum op_template_escape)(choice % 3),
                                          .strict = choice & 4,
                                          .partial = find_partial,
                                          .partial_arg = &partial};
    struct op_template *tpl = NULL;
    struct op_err err = OP_ERR_INIT;
    enum op_rc rc = op_template_compile(text, "dir/user.md", &options, &tpl, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
        return;
    }
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root = {0};
    bool is_json = options.escape == OP_ESCAPE_JSON;
    if (!op_json_parse(parser, context.ptr, context.len, false, &root, &err)) {
        render_both(tpl, &(struct op_template_root){.json = root}, is_json);
        render_row(tpl, root, is_json);
    }
    const char *const *names;
    for (size_t i = op_template_names(tpl, &names); i > 0; i--)
        FUZZ_CHECK(names[i - 1], "a name is NULL");
    op_template_free(tpl);
}
