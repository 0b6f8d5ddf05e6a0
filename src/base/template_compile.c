/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "base/template.h"
#include "base/template_impl.h"

#define MAX_DELIMITER 15
#define MAX_PROGRAMS  512
#define MAX_SECTIONS  64

struct open_section {
    size_t node;
    struct op_str name;
    int line;
};

struct compiler {
    struct op_template *tpl;
    struct op_template_program *prog;
    const char *p, *end;
    const char *line_start;
    int line;           /* of p */
    bool at_line_start; /* nothing of this line has been emitted */
    char open[MAX_DELIMITER + 1], close[MAX_DELIMITER + 1];
    struct open_section sections[MAX_SECTIONS];
    size_t depth;
    struct op_err *err;
};

struct tag {
    char kind; /* '#' '^' '/' '>' '!' '=' '&' '{', or 0 for a variable */
    struct op_str content;
    const char *first, *after; /* in the text */
    int line;
    bool standalone;
};

static enum op_rc get_program(struct compiler *c, const struct tag *tag, bool indented,
                              struct op_template_program **ret);

#define fail_tag(c, tag, ...) \
    fail_line((c), (tag)->line, op_arena_printf(&(c)->tpl->arena, __VA_ARGS__))

static enum op_rc fail_line(struct compiler *c, int line, const char *what)
{
    return op_fail(c->err, OP_INVAL, "%s:%d: %s", c->prog->file, line, what);
}

static struct op_template_node *add_node(struct compiler *c, enum op_template_kind kind,
                                         int line)
{
    struct op_template_program *prog = c->prog;

    if (prog->count == prog->room) {
        prog->room = prog->room ? 2 * prog->room : 16;
        prog->nodes = op_mem_realloc(prog->nodes, prog->room * sizeof(*prog->nodes));
    }
    struct op_template_node *node = &prog->nodes[prog->count++];
    *node = (struct op_template_node){.kind = kind, .line = line};
    return node;
}

/* The indentation of an indented partial goes before whatever comes first on a line. */
static void begin_inline(struct compiler *c)
{
    if (c->at_line_start && c->prog->indented)
        add_node(c, OP_NODE_LINE, c->line);
    c->at_line_start = false;
}

static struct op_str escaped_literal(struct compiler *c, struct op_str text)
{
    struct op_arena *arena = &c->tpl->arena;
    struct op_buf buf;

    if (c->tpl->options.escape != OP_ESCAPE_JSON)
        return (struct op_str){op_arena_strdup(arena, text), text.len};
    op_buf_init(&buf, SIZE_MAX / 2);
    op_json_escape(&buf, text.ptr, text.len);
    struct op_str ret = {op_arena_strdup(arena, op_buf_str(&buf)), buf.len};
    op_buf_release(&buf);
    return ret;
}

static void add_text(struct compiler *c, const char *from, const char *to)
{
    while (from < to) {
        const char *stop = to;
        if (c->prog->indented) {
            const char *nl = memchr(from, '\n', (size_t)(to - from));
            stop = nl ? nl + 1 : to;
        }
        begin_inline(c);
        struct op_str text = escaped_literal(c, (struct op_str){from, (size_t)(stop - from)});
        add_node(c, OP_NODE_TEXT, c->line)->text = text;
        c->at_line_start = stop[-1] == '\n';
        from = stop;
    }
}

static void advance(struct compiler *c, const char *to)
{
    const char *nl;

    while (c->p < to && (nl = memchr(c->p, '\n', (size_t)(to - c->p)))) {
        c->line++;
        c->p = c->line_start = nl + 1;
    }
    c->p = to;
}

static bool is_blank(const char *from, const char *to)
{
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    return from == to;
}

/* Past the white space and the line break after a tag; NULL when something else is there. */
static const char *rest_of_line(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    if (p == end)
        return p;
    if (*p == '\r' && p + 1 < end && p[1] == '\n')
        return p + 2;
    return *p == '\n' ? p + 1 : NULL;
}

/* Reads the tag that opens at c->p. */
static enum op_rc read_tag(struct compiler *c, struct tag *ret)
{
    char closer[MAX_DELIMITER + 2];
    const char *inner = c->p + strlen(c->open);
    size_t n = 0;
    struct tag tag = {.first = c->p, .line = c->line};

    if (inner < c->end && memchr("#^/>!=&{", *inner, 8))
        tag.kind = *inner++;
    if (tag.kind == '{' || tag.kind == '=')
        closer[n++] = tag.kind == '{' ? '}' : '=';
    memcpy(closer + n, c->close, strlen(c->close) + 1);
    const char *close = memmem(inner, (size_t)(c->end - inner), closer, strlen(closer));
    if (!close)
        return fail_tag(c, &tag, "the tag that opens here is not closed with '%s'", closer);
    tag.content = op_str_trim((struct op_str){inner, (size_t)(close - inner)});
    tag.after = close + strlen(closer);
    if (tag.kind != 0 && tag.kind != '&' && tag.kind != '{' && is_blank(c->line_start, c->p)) {
        const char *rest = rest_of_line(tag.after, c->end);
        tag.standalone = rest != NULL;
        if (rest)
            tag.after = rest;
    }
    *ret = tag;
    return OP_OK;
}

static uint32_t name_id(struct op_template *tpl, struct op_str text)
{
    int64_t id;

    if (op_map_add(&tpl->name_ids, text, (int64_t)tpl->name_count, &id)) {
        tpl->names = op_mem_realloc(tpl->names, (tpl->name_count + 1) * sizeof(*tpl->names));
        tpl->names[tpl->name_count++] =
            (struct op_template_name){op_arena_strdup(&tpl->arena, text), -1};
    }
    return (uint32_t)id;
}

static enum op_rc check_name(struct compiler *c, const struct tag *tag)
{
    struct op_str name = tag->content;
    bool part_open = false; /* something stands since the last dot */

    if (name.len == 0)
        return fail_tag(c, tag, "the tag has no name");
    for (size_t i = 0; i < name.len; i++) {
        if (strchr("\r\n{}\"", name.ptr[i]))
            return fail_tag(c, tag,
                            "'" OP_STR_FMT "' is not a name (to write '%s' as text, choose "
                            "other delimiters: %s=<%% %%>=%s)",
                            name.len > 40 ? 40 : (int)name.len, name.ptr, c->open, c->open,
                            c->close);
        if (name.ptr[i] == '.' && !part_open && name.len > 1)
            break;
        part_open = name.ptr[i] != '.';
    }
    if (!part_open && name.len > 1)
        return fail_tag(c, tag, "'" OP_STR_FMT "' has an empty part", OP_STR_ARG(name));
    return OP_OK;
}

/* Splits a.b.c; the first part is looked up in the contexts, the others in what was found. */
static enum op_rc set_name(struct compiler *c, const struct tag *tag, size_t at)
{
    struct op_arena *arena = &c->tpl->arena;
    struct op_template_node *node = &c->prog->nodes[at];
    struct op_str rest = tag->content;
    enum op_rc rc = check_name(c, tag);

    if (rc)
        return rc;
    if (op_str_is(rest, ".")) {
        node->name = OP_TEMPLATE_DOT;
        return OP_OK;
    }
    node->name = name_id(c->tpl, op_str_cut(&rest, '.'));
    for (const char *q = rest.ptr; q && q < rest.ptr + rest.len; q++)
        node->part_count += *q == '.' || q == rest.ptr;
    node->parts = op_arena_array(arena, node->part_count, sizeof(*node->parts));
    for (uint32_t i = 0; i < node->part_count; i++) {
        struct op_str part = op_str_cut(&rest, '.');
        node->parts[i] = (struct op_str){op_arena_strdup(arena, part), part.len};
    }
    return OP_OK;
}

static enum op_rc set_delimiters(struct compiler *c, const struct tag *tag)
{
    struct op_str both = tag->content;
    size_t first = 0;

    while (first < both.len && !strchr(" \t\r\n", both.ptr[first]))
        first++;
    struct op_str open = {both.ptr, first};
    struct op_str close = op_str_trim((struct op_str){both.ptr + first, both.len - first});
    bool good = open.len > 0 && close.len > 0 && open.len <= MAX_DELIMITER &&
                close.len <= MAX_DELIMITER && !memchr(both.ptr, '=', both.len);
    for (size_t i = 0; i < close.len; i++)
        good = good && !strchr(" \t\r\n", close.ptr[i]);
    if (!good)
        return fail_tag(c, tag,
                        "expected two delimiters of at most %d characters, as in "
                        "{{=<%% %%>=}}",
                        MAX_DELIMITER);
    memcpy(c->open, open.ptr, open.len);
    c->open[open.len] = '\0';
    memcpy(c->close, close.ptr, close.len);
    c->close[close.len] = '\0';
    return OP_OK;
}

static enum op_rc open_section(struct compiler *c, const struct tag *tag)
{
    size_t at = c->prog->count;

    if (c->depth == MAX_SECTIONS)
        return fail_tag(c, tag, "sections nest deeper than %d levels", MAX_SECTIONS);
    add_node(c, tag->kind == '#' ? OP_NODE_SECTION : OP_NODE_INVERTED, tag->line);
    c->sections[c->depth++] = (struct open_section){at, tag->content, tag->line};
    return set_name(c, tag, at);
}

static enum op_rc close_section(struct compiler *c, const struct tag *tag)
{
    if (c->depth == 0)
        return fail_tag(c, tag, "'" OP_STR_FMT "' is closed but was not opened",
                        OP_STR_ARG(tag->content));
    const struct open_section *open = &c->sections[c->depth - 1];
    if (!op_str_eq(open->name, tag->content))
        return fail_tag(c, tag,
                        "'" OP_STR_FMT "' is closed, but the open section is '" OP_STR_FMT
                        "' of line %d",
                        OP_STR_ARG(tag->content), OP_STR_ARG(open->name), open->line);
    c->prog->nodes[open->node].end = c->prog->count;
    c->depth--;
    return OP_OK;
}

static enum op_rc add_partial(struct compiler *c, const struct tag *tag)
{
    struct op_template_program *partial = NULL;
    struct op_str indent = {tag->first, 0};
    enum op_rc rc = check_name(c, tag);

    if (rc)
        return rc;
    if (tag->standalone)
        indent = (struct op_str){c->line_start, (size_t)(tag->first - c->line_start)};
    bool accumulate = tag->standalone && c->prog->indented;
    rc = get_program(c, tag, accumulate || indent.len > 0, &partial);
    if (rc || !partial)
        return rc;
    indent = escaped_literal(c, indent);
    struct op_template_node *node = add_node(c, OP_NODE_PARTIAL, tag->line);
    node->partial = partial;
    node->accumulate = accumulate;
    node->text = indent;
    return OP_OK;
}

static enum op_rc compile_tag(struct compiler *c, const struct tag *tag)
{
    if (!tag->standalone)
        begin_inline(c);
    switch (tag->kind) {
    case '!':
        return OP_OK;
    case '=':
        return set_delimiters(c, tag);
    case '#':
    case '^':
        return open_section(c, tag);
    case '/':
        return close_section(c, tag);
    case '>':
        return add_partial(c, tag);
    default:
        add_node(c, OP_NODE_VAR, tag->line)->raw = tag->kind != 0;
        return set_name(c, tag, c->prog->count - 1);
    }
}

static enum op_rc compile_program(struct compiler *c, struct op_str text)
{
    enum op_rc rc;

    c->p = c->line_start = text.ptr;
    c->end = text.ptr + text.len;
    c->line = 1;
    c->at_line_start = true;
    memcpy(c->open, "{{", 3);
    memcpy(c->close, "}}", 3);
    while (c->p < c->end) {
        const char *from = c->p;
        const char *tag_at = memmem(from, (size_t)(c->end - from), c->open, strlen(c->open));
        struct tag tag;
        if (!tag_at) {
            add_text(c, from, c->end);
            break;
        }
        advance(c, tag_at);
        rc = read_tag(c, &tag);
        if (rc)
            return rc;
        add_text(c, from, tag.standalone ? c->line_start : tag_at);
        rc = compile_tag(c, &tag);
        if (rc)
            return rc;
        advance(c, tag.after);
    }
    if (c->depth > 0) {
        const struct open_section *open = &c->sections[c->depth - 1];
        return fail_line(c, open->line,
                         op_arena_printf(&c->tpl->arena,
                                         "section '" OP_STR_FMT "' is not closed",
                                         OP_STR_ARG(open->name)));
    }
    return OP_OK;
}

static struct op_template_program *new_program(struct op_template *tpl, struct op_str file,
                                               bool indented)
{
    struct op_template_program *prog = op_arena_alloc(&tpl->arena, sizeof(*prog));

    prog->file = op_arena_strdup(&tpl->arena, file);
    prog->indented = indented;
    tpl->programs =
        op_mem_realloc(tpl->programs, (tpl->program_count + 1) * sizeof(*tpl->programs));
    tpl->programs[tpl->program_count++] = prog;
    return prog;
}

/* The partial a tag names, compiled at its first use; NULL when it may be missing and is. It is
 * known before it is compiled, so that a partial can include itself. */
static enum op_rc get_program(struct compiler *c, const struct tag *tag, bool indented,
                              struct op_template_program **ret)
{
    struct op_template *tpl = c->tpl;
    const struct op_template_options *options = &tpl->options;
    struct op_str text = OP_STR_NULL;

    for (size_t i = 1; i < tpl->program_count; i++) {
        if (tpl->programs[i]->indented == indented &&
            op_str_is(tag->content, tpl->programs[i]->file)) {
            *ret = tpl->programs[i];
            return OP_OK;
        }
    }
    if (tpl->program_count == MAX_PROGRAMS)
        return fail_tag(c, tag, "more than %d partials", MAX_PROGRAMS);
    const char *name = op_arena_strdup(&tpl->arena, tag->content);
    if (!options->partial || !options->partial(options->partial_arg, name, &text)) {
        if (options->strict)
            return fail_tag(c, tag, "there is no partial '%s'", name);
        return OP_OK;
    }
    struct compiler *inner OP_CLEANUP(op_mem_freep) = op_mem_alloc(sizeof(*inner));
    *ret = new_program(tpl, tag->content, indented);
    *inner = (struct compiler){.tpl = tpl, .prog = *ret, .err = c->err};
    enum op_rc rc = compile_program(inner, text);
    return rc ? op_err_wrap(c->err, "%s:%d", c->prog->file, tag->line) : OP_OK;
}

static void add_use(struct op_template *tpl, const struct op_template_program *prog,
                    const struct op_template_node *node)
{
    if (node->name == OP_TEMPLATE_DOT)
        return;
    for (size_t i = 0; i < tpl->use_count; i++)
        if (tpl->uses[i].name == node->name)
            return;
    size_t count = ++tpl->use_count;
    tpl->uses = op_mem_realloc(tpl->uses, count * sizeof(*tpl->uses));
    tpl->use_texts = op_mem_realloc((void *)tpl->use_texts, count * sizeof(*tpl->use_texts));
    tpl->uses[count - 1] = (struct op_template_use){node->name, prog->file, node->line};
    tpl->use_texts[count - 1] = tpl->names[node->name].text;
}

/* What stands in a section may mean a member of what the section enters, so it is left out; an
 * inverted section enters nothing. */
static void collect_names(struct op_template *tpl, struct op_template_program *prog)
{
    prog->visited = true;
    for (size_t i = 0; i < prog->count; i++) {
        const struct op_template_node *node = &prog->nodes[i];
        if (node->kind == OP_NODE_VAR || node->kind == OP_NODE_SECTION ||
            node->kind == OP_NODE_INVERTED)
            add_use(tpl, prog, node);
        if (node->kind == OP_NODE_PARTIAL && !node->partial->visited)
            collect_names(tpl, node->partial);
        if (node->kind == OP_NODE_SECTION)
            i = node->end - 1;
    }
}

enum op_rc op_template_compile(struct op_str text, const char *file,
                               const struct op_template_options *options,
                               struct op_template **ret, struct op_err *err)
{
    struct op_template *tpl OP_CLEANUP(op_template_freep) = op_mem_alloc(sizeof(*tpl));
    struct compiler *c OP_CLEANUP(op_mem_freep) = op_mem_alloc(sizeof(*c));
    enum op_rc rc;

    tpl->options = *options;
    *c = (struct compiler){.tpl = tpl, .err = err};
    c->prog = new_program(tpl, op_str_from(file), false);
    rc = compile_program(c, text.ptr ? text : OP_STR(""));
    if (rc)
        return rc;
    collect_names(tpl, tpl->programs[0]);
    /* the finder's argument may not outlive the compilation */
    tpl->options.partial = NULL;
    tpl->options.partial_arg = NULL;
    *ret = OP_TAKE(tpl);
    return OP_OK;
}
