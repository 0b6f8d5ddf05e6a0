/* SPDX-License-Identifier: MIT */
#include "pipeline/answer_null.h"

#include <stdio.h>
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"

#define LIST_MAX (1024 * 1024)

struct walk {
    struct op_json_out out;
    struct op_buf path;
    const struct op_buf *list; /* violations, or NULL: every null goes */
    size_t dropped;
};

/* A violation of this very value begins its line with its pointer. */
static bool is_listed(const struct walk *w)
{
    if (!w->list)
        return true;
    const char *at = w->list->ptr, *end = at + w->list->len;
    while (at < end) {
        size_t left = (size_t)(end - at);
        if (left > w->path.len + 1 && memcmp(at, w->path.ptr, w->path.len) == 0 &&
            at[w->path.len] == ':')
            return true;
        const char *line_end = memchr(at, '\n', left);
        at = line_end ? line_end + 1 : end;
    }
    return false;
}

static size_t enter(struct walk *w, struct op_str name)
{
    size_t before = w->path.len;
    op_buf_addc(&w->path, '/');
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c == '~' || c == '/')
            op_buf_addz(&w->path, c == '~' ? "~0" : "~1");
        else
            op_buf_addc(&w->path, c);
    }
    return before;
}

static void write_value(struct walk *w, struct op_json v)
{
    bool object = op_json_is(v, OP_JSON_OBJECT);
    if (!object && !op_json_is(v, OP_JSON_ARRAY)) {
        op_json_out_value(&w->out, v);
        return;
    }
    if (object)
        op_json_out_object(&w->out);
    else
        op_json_out_array(&w->out);
    struct op_json_iter it = op_json_iter(v);
    while (op_json_next(&it)) {
        char number[24];
        int len = snprintf(number, sizeof(number), "%zu", it.index);
        size_t before = enter(w, object ? it.name : (struct op_str){number, (size_t)len});
        if (object && op_json_is(it.value, OP_JSON_NULL) && is_listed(w)) {
            w->dropped++;
        } else {
            if (object)
                op_json_out_name_str(&w->out, it.name);
            write_value(w, it.value);
        }
        w->path.len = before;
        w->path.ptr[before] = '\0';
    }
    if (object)
        op_json_out_end_object(&w->out);
    else
        op_json_out_end_array(&w->out);
}

static bool attempt(const struct op_schema *schema, struct op_json value,
                    const struct op_buf *list, struct op_json_parser *parser,
                    struct op_buf *clean)
{
    struct walk w = {.list = list};
    op_buf_clear(clean);
    op_buf_init(&w.path, LIST_MAX);
    op_json_out_init(&w.out, clean, 0);
    write_value(&w, value);
    bool usable = w.dropped > 0 && !clean->failed && !w.path.failed;
    op_buf_release(&w.path);
    struct op_json root;
    struct op_err ignored = OP_ERR_INIT;
    return usable &&
           op_json_parse(parser, clean->ptr, clean->len, true, &root, &ignored) == OP_OK &&
           op_schema_check(schema, root, 0, NULL) == 0;
}

/* First the nulls that the violations name; where a violation is told of what is around them (an
 * anyOf), all of them. */
bool op_answer_drop_nulls(const struct op_schema *schema, struct op_json value,
                          struct op_json_parser *parser, struct op_buf *clean)
{
    struct op_buf list;
    op_buf_init(&list, LIST_MAX);
    (void)op_schema_check(schema, value, SIZE_MAX, &list);
    bool done = attempt(schema, value, &list, parser, clean) ||
                attempt(schema, value, NULL, parser, clean);
    op_buf_release(&list);
    return done;
}
