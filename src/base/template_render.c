/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "base/template.h"
#include "base/template_impl.h"

/* A cell of the row that may hold JSON, parsed at most once in a rendering. */
struct cell_slot {
    struct op_json_parser *parser;
    struct op_json json; /* no value: the cell is not a JSON array or object */
    uint64_t render;     /* the rendering it was looked at in */
};

struct op_template_scratch {
    struct cell_slot *slots; /* by column */
    size_t count;
    uint64_t render;
    struct op_buf indent;
};

enum context_kind {
    CONTEXT_ROW,
    CONTEXT_JSON,
    CONTEXT_CELL,
};

struct context {
    enum context_kind kind;
    struct op_json json;
    struct op_value cell;
    const struct context *up;
};

enum found_kind {
    FOUND_NOTHING,
    FOUND_ROW,
    FOUND_CELL,
    FOUND_JSON,
};

struct found {
    enum found_kind kind;
    struct op_value cell;
    size_t column; /* of a cell */
    struct op_json json;
};

struct render {
    const struct op_template *tpl;
    struct op_template_scratch *scratch;
    const struct op_template_root *root;
    struct op_buf *out;
    struct op_err *err;
    size_t limit;        /* of out->len */
    size_t indent_start; /* the current indentation is what follows in scratch->indent */
    int depth;
    int steps;
    bool bound;
};

struct op_template_scratch *op_template_scratch_new(void)
{
    struct op_template_scratch *scratch = op_mem_alloc(sizeof(*scratch));

    op_buf_init(&scratch->indent, OP_TEMPLATE_MAX_OUTPUT);
    return scratch;
}

void op_template_scratch_free(struct op_template_scratch *scratch)
{
    if (!scratch)
        return;
    for (size_t i = 0; i < scratch->count; i++)
        op_json_parser_free(scratch->slots[i].parser);
    op_mem_free(scratch->slots);
    op_buf_release(&scratch->indent);
    op_mem_free(scratch);
}

static bool looks_like_json(struct op_value cell)
{
    if (cell.type != OP_VALUE_TEXT)
        return false;
    struct op_str s = op_str_trim(cell.s);
    return s.len >= 2 && ((s.ptr[0] == '[' && s.ptr[s.len - 1] == ']') ||
                          (s.ptr[0] == '{' && s.ptr[s.len - 1] == '}'));
}

/* The array or object that the text of a cell holds; no value when it holds none. */
static struct op_json cell_json(struct render *r, size_t column)
{
    struct op_template_scratch *scratch = r->scratch;
    struct op_value cell = r->root->cells[column];
    struct op_err ignored = OP_ERR_INIT;

    if (!looks_like_json(cell))
        return (struct op_json){0};
    if (column >= scratch->count) {
        size_t count = r->root->count;
        scratch->slots = op_mem_realloc(scratch->slots, count * sizeof(*scratch->slots));
        memset(scratch->slots + scratch->count, 0,
               (count - scratch->count) * sizeof(*scratch->slots));
        scratch->count = count;
    }
    struct cell_slot *slot = &scratch->slots[column];
    if (slot->render == scratch->render)
        return slot->json;
    if (!slot->parser)
        slot->parser = op_json_parser_new();
    slot->render = scratch->render;
    slot->json = (struct op_json){0};
    /* text that only resembles JSON is text */
    if (op_json_parse(slot->parser, cell.s.ptr, cell.s.len, false, &slot->json, &ignored))
        slot->json = (struct op_json){0};
    return slot->json;
}

static bool find_in_row(const struct render *r, uint32_t name, struct found *ret)
{
    const struct op_template_root *root = r->root;
    size_t column = root->count;

    if (r->bound) {
        if (r->tpl->names[name].column >= 0)
            column = (size_t)r->tpl->names[name].column;
    } else {
        for (column = 0; column < root->count; column++)
            if (strcmp(root->columns[column], r->tpl->names[name].text) == 0)
                break;
    }
    if (column == root->count)
        return false;
    *ret = (struct found){.kind = FOUND_CELL, .cell = root->cells[column], .column = column};
    return true;
}

static struct found found_json(struct op_json json)
{
    return (struct found){.kind = op_json_ok(json) ? FOUND_JSON : FOUND_NOTHING, .json = json};
}

static struct found find_first(const struct render *r, const struct context *ctx, uint32_t name)
{
    struct found found = {.kind = FOUND_NOTHING};
    struct op_str text = OP_STR_NULL;

    if (name == OP_TEMPLATE_DOT) {
        found.kind = ctx->kind == CONTEXT_ROW    ? FOUND_ROW
                     : ctx->kind == CONTEXT_CELL ? FOUND_CELL
                                                 : FOUND_JSON;
        found.json = ctx->json;
        found.cell = ctx->cell;
        found.column = SIZE_MAX;
        return found;
    }
    for (; ctx; ctx = ctx->up) {
        if (ctx->kind == CONTEXT_ROW) {
            find_in_row(r, name, &found);
            break;
        }
        if (ctx->kind == CONTEXT_CELL || !op_json_is(ctx->json, OP_JSON_OBJECT))
            continue;
        if (!text.ptr)
            text = op_str_from(r->tpl->names[name].text);
        found = found_json(op_json_get_str(ctx->json, text));
        if (found.kind != FOUND_NOTHING)
            break;
    }
    return found;
}

/* The value a node names. Only the first part of a.b.c is looked for in outer contexts; below a
 * null everything is null, for a NULL cell counts as present. */
static struct found find(struct render *r, const struct context *ctx,
                         const struct op_template_node *node)
{
    struct found found = find_first(r, ctx, node->name);

    if (node->part_count == 0 || found.kind == FOUND_NOTHING)
        return found;
    if (found.kind == FOUND_CELL && found.cell.type == OP_VALUE_NULL)
        return found;
    struct op_json json = found.kind == FOUND_CELL ? cell_json(r, found.column) : found.json;
    for (uint32_t i = 0; i < node->part_count; i++) {
        if (op_json_is(json, OP_JSON_NULL))
            break;
        json = op_json_get_str(json, node->parts[i]);
    }
    return found_json(json);
}

static void list_known(const struct render *r, const struct context *ctx, const char *name,
                       struct op_buf *buf)
{
    const char *names[64];
    size_t count = 0;
    struct op_arena arena = {0};

    for (; ctx; ctx = ctx->up) {
        struct op_json_iter it = op_json_iter(ctx->json);
        if (ctx->kind == CONTEXT_JSON && op_json_is(ctx->json, OP_JSON_OBJECT))
            while (count < OP_COUNT(names) && op_json_next(&it))
                names[count++] = op_arena_strdup(&arena, it.name);
        if (ctx->kind == CONTEXT_ROW)
            for (size_t i = 0; count < OP_COUNT(names) && i < r->root->count; i++)
                names[count++] = r->root->columns[i];
    }
    op_template_list_names(buf, name, names, count);
    op_arena_release(&arena);
}

static enum op_rc fail_missing(struct render *r, const struct op_template_program *prog,
                               const struct context *ctx, const struct op_template_node *node)
{
    const char *first = r->tpl->names[node->name].text;
    struct op_buf list, full;

    op_buf_init(&full, 200);
    op_buf_addz(&full, first);
    for (uint32_t i = 0; i < node->part_count; i++)
        op_buf_addf(&full, "." OP_STR_FMT, OP_STR_ARG(node->parts[i]));
    op_buf_init(&list, 700);
    if (node->part_count == 0 || find_first(r, ctx, node->name).kind == FOUND_NOTHING)
        list_known(r, ctx, first, &list);
    op_err_set(r->err, OP_INVAL, "%s:%d: there is no value '%s'%s", prog->file, node->line,
               full.ptr, list.ptr);
    op_buf_release(&list);
    op_buf_release(&full);
    return OP_INVAL;
}

static void put_html(struct op_buf *out, struct op_str s)
{
    size_t from = 0;

    for (size_t i = 0; i < s.len; i++) {
        const char *entity = s.ptr[i] == '&'   ? "&amp;"
                             : s.ptr[i] == '<' ? "&lt;"
                             : s.ptr[i] == '>' ? "&gt;"
                             : s.ptr[i] == '"' ? "&quot;"
                                               : NULL;
        if (!entity)
            continue;
        op_buf_add(out, s.ptr + from, i - from);
        op_buf_addz(out, entity);
        from = i + 1;
    }
    op_buf_add(out, s.ptr + from, s.len - from);
}

static inline void put_str(struct render *r, struct op_str s, bool raw)
{
    if (r->tpl->options.escape == OP_ESCAPE_JSON)
        op_json_escape(r->out, s.ptr, s.len);
    else if (r->tpl->options.escape == OP_ESCAPE_HTML && !raw)
        put_html(r->out, s);
    else
        op_buf_add(r->out, s.ptr, s.len);
}

static inline void put_cell(struct render *r, struct op_value cell, bool raw)
{
    char text[32];

    if (cell.type == OP_VALUE_TEXT || cell.type == OP_VALUE_BLOB) {
        if (cell.s.len > 0)
            put_str(r, cell.s, raw);
    } else if (cell.type == OP_VALUE_INT) {
        op_buf_add_int(r->out, cell.i);
    } else if (cell.type == OP_VALUE_DOUBLE) {
        op_buf_add_str(r->out, op_value_to_text(cell, text));
    }
}

/* Arrays, objects and the row itself are written as JSON text. */
static void put_row(struct render *r, bool raw)
{
    struct op_buf text;
    struct op_json_out o;
    char digits[32];

    op_buf_init(&text, OP_TEMPLATE_MAX_OUTPUT);
    op_json_out_init(&o, &text, 0);
    op_json_out_object(&o);
    for (size_t i = 0; i < r->root->count; i++) {
        struct op_value cell = r->root->cells[i];
        op_json_out_name(&o, r->root->columns[i]);
        if (cell.type == OP_VALUE_INT)
            op_json_out_int(&o, cell.i);
        else if (cell.type == OP_VALUE_DOUBLE)
            op_json_out_double(&o, cell.d);
        else
            op_json_out_str(&o, op_value_to_text(cell, digits));
    }
    op_json_out_end_object(&o);
    put_str(r, op_buf_str(&text), raw);
    op_buf_release(&text);
}

static void put_json(struct render *r, struct op_json json, bool raw)
{
    enum op_json_type type = op_json_type(json);
    struct op_buf text;

    if (type == OP_JSON_NULL)
        return;
    if (type == OP_JSON_STRING) {
        put_str(r, op_json_str(json), raw);
        return;
    }
    if (type != OP_JSON_ARRAY && type != OP_JSON_OBJECT) {
        op_json_write(r->out, json);
        return;
    }
    op_buf_init(&text, OP_TEMPLATE_MAX_OUTPUT);
    op_json_write(&text, json);
    put_str(r, op_buf_str(&text), raw);
    op_buf_release(&text);
}

static enum op_rc render_var(struct render *r, const struct op_template_program *prog,
                             const struct context *ctx, const struct op_template_node *node)
{
    struct found found;

    /* the hot path: a column of the row */
    if (r->bound && ctx->kind == CONTEXT_ROW && node->part_count == 0 &&
        node->name != OP_TEMPLATE_DOT && r->tpl->names[node->name].column >= 0) {
        put_cell(r, r->root->cells[r->tpl->names[node->name].column], node->raw);
        return OP_OK;
    }
    found = find(r, ctx, node);
    switch (found.kind) {
    case FOUND_CELL:
        put_cell(r, found.cell, node->raw);
        break;
    case FOUND_JSON:
        put_json(r, found.json, node->raw);
        break;
    case FOUND_ROW:
        put_row(r, node->raw);
        break;
    case FOUND_NOTHING:
        if (r->tpl->options.strict)
            return fail_missing(r, prog, ctx, node);
        break;
    }
    return OP_OK;
}

static bool truthy(const struct found *found)
{
    switch (found->kind) {
    case FOUND_NOTHING:
        return false;
    case FOUND_ROW:
        return true;
    case FOUND_CELL:
        switch (found->cell.type) {
        case OP_VALUE_NULL:
            return false;
        case OP_VALUE_INT:
            return found->cell.i != 0;
        case OP_VALUE_DOUBLE:
            return found->cell.d < 0 || found->cell.d > 0;
        case OP_VALUE_TEXT:
        case OP_VALUE_BLOB:
            return found->cell.s.len > 0;
        }
        return false;
    case FOUND_JSON:
        break;
    }
    switch (op_json_type(found->json)) {
    case OP_JSON_NULL:
    case OP_JSON_FALSE:
        return false;
    case OP_JSON_INT:
    case OP_JSON_DOUBLE:
        return op_json_double(found->json, 0) < 0 || op_json_double(found->json, 0) > 0;
    case OP_JSON_STRING:
        return op_json_str(found->json).len > 0;
    case OP_JSON_ARRAY:
        return op_json_count(found->json) > 0;
    case OP_JSON_TRUE:
    case OP_JSON_OBJECT:
        break;
    }
    return true;
}

/* Members of JSON objects are often optional, and a section is the way to ask; the columns of a
 * row are not, so there a name without a column is a mistake. */
static bool may_be_absent(const struct context *ctx, const struct op_template_node *node)
{
    if (node->part_count > 0)
        return true;
    for (; ctx; ctx = ctx->up)
        if (ctx->kind == CONTEXT_JSON && op_json_is(ctx->json, OP_JSON_OBJECT))
            return true;
    return false;
}

static enum op_rc render_nodes(struct render *r, const struct op_template_program *prog,
                               const struct context *ctx, size_t from, size_t to);

static enum op_rc render_section(struct render *r, const struct op_template_program *prog,
                                 const struct context *ctx, size_t at)
{
    const struct op_template_node *node = &prog->nodes[at];
    struct context inner = {.up = ctx};
    struct found found = find(r, ctx, node);
    enum op_rc rc = OP_OK;

    if (found.kind == FOUND_NOTHING && r->tpl->options.strict && !may_be_absent(ctx, node))
        return fail_missing(r, prog, ctx, node);
    if (found.kind == FOUND_CELL && found.column != SIZE_MAX) {
        struct op_json json = cell_json(r, found.column);
        if (op_json_ok(json))
            found = found_json(json);
    }
    if (node->kind == OP_NODE_INVERTED)
        return truthy(&found) ? OP_OK : render_nodes(r, prog, ctx, at + 1, node->end);
    if (found.kind == FOUND_JSON && op_json_type(found.json) == OP_JSON_ARRAY) {
        struct op_json_iter it = op_json_iter(found.json);
        inner.kind = CONTEXT_JSON;
        while (!rc && op_json_next(&it)) {
            inner.json = it.value;
            rc = render_nodes(r, prog, &inner, at + 1, node->end);
        }
        return rc;
    }
    if (!truthy(&found))
        return OP_OK;
    if (found.kind == FOUND_ROW)
        return render_nodes(r, prog, ctx, at + 1, node->end);
    inner.kind = found.kind == FOUND_JSON ? CONTEXT_JSON : CONTEXT_CELL;
    inner.json = found.json;
    inner.cell = found.cell;
    return render_nodes(r, prog, &inner, at + 1, node->end);
}

static enum op_rc render_partial(struct render *r, const struct op_template_program *prog,
                                 const struct context *ctx, const struct op_template_node *node)
{
    struct op_buf *indent = &r->scratch->indent;
    size_t start = r->indent_start, len = indent->len;
    enum op_rc rc;

    if (++r->steps > OP_TEMPLATE_MAX_STEPS)
        return op_fail(r->err, OP_INVAL, "%s:%d: more than %d partials were rendered",
                       prog->file, node->line, OP_TEMPLATE_MAX_STEPS);
    if (!node->accumulate)
        r->indent_start = len;
    op_buf_add_str(indent, node->text);
    rc = render_nodes(r, node->partial, ctx, 0, node->partial->count);
    indent->len = len;
    r->indent_start = start;
    return rc;
}

static enum op_rc render_node(struct render *r, const struct op_template_program *prog,
                              const struct context *ctx, size_t at)
{
    const struct op_template_node *node = &prog->nodes[at];
    const struct op_buf *indent = &r->scratch->indent;

    switch (node->kind) {
    case OP_NODE_TEXT:
        op_buf_add_str(r->out, node->text);
        return OP_OK;
    case OP_NODE_LINE:
        op_buf_add(r->out, indent->ptr + r->indent_start, indent->len - r->indent_start);
        return OP_OK;
    case OP_NODE_VAR:
        return render_var(r, prog, ctx, node);
    case OP_NODE_SECTION:
    case OP_NODE_INVERTED:
        return render_section(r, prog, ctx, at);
    case OP_NODE_PARTIAL:
        return render_partial(r, prog, ctx, node);
    }
    return OP_OK;
}

static enum op_rc render_nodes(struct render *r, const struct op_template_program *prog,
                               const struct context *ctx, size_t from, size_t to)
{
    enum op_rc rc = OP_OK;

    if (++r->depth > OP_TEMPLATE_MAX_DEPTH)
        return op_fail(r->err, OP_INVAL,
                       "%s: sections and partials nest deeper than %d levels; does a partial "
                       "include itself without end?",
                       prog->file, OP_TEMPLATE_MAX_DEPTH);
    for (size_t i = from; !rc && i < to;) {
        const struct op_template_node *node = &prog->nodes[i];
        bool section = node->kind == OP_NODE_SECTION || node->kind == OP_NODE_INVERTED;
        rc = render_node(r, prog, ctx, i);
        i = section ? node->end : i + 1;
    }
    r->depth--;
    if (!rc && r->out->len > r->limit)
        rc = op_fail(r->err, OP_INVAL, "%s: the rendered text is larger than %d bytes",
                     prog->file, OP_TEMPLATE_MAX_OUTPUT);
    return rc;
}

enum op_rc op_template_render(const struct op_template *tpl,
                              struct op_template_scratch *scratch,
                              const struct op_template_root *root, struct op_buf *out,
                              struct op_err *err)
{
    const struct op_template_program *prog = tpl->programs[0];
    struct context top = {
        .kind = root->columns ? CONTEXT_ROW : CONTEXT_JSON,
        .json = root->json,
    };
    struct render r = {
        .tpl = tpl,
        .scratch = scratch,
        .root = root,
        .out = out,
        .err = err,
        .limit = out->len + OP_TEMPLATE_MAX_OUTPUT,
        .bound =
            root->columns && root->columns == tpl->columns && root->count == tpl->column_count,
    };
    enum op_rc rc;

    scratch->render++;
    op_buf_clear(&scratch->indent);
    rc = render_nodes(&r, prog, &top, 0, prog->count);
    return rc ? rc : op_buf_finish(out, prog->file, err);
}
