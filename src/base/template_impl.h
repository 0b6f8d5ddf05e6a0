/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_TEMPLATE_IMPL_H
#define OP_BASE_TEMPLATE_IMPL_H

/*
 * Model:     a compiled template, shared by template.c, template_compile.c and template_render.c.
 *            A program is a flat list of nodes, of the template itself or of a partial; sections
 *            hold the index of the node after them.
 *            Mustache indents every line of a partial that stands alone on its line. A partial is
 *            therefore compiled in up to two ways: plain, and with a LINE node at the start of each
 *            line that writes the indentation of the moment. So a partial may include itself
 *            deeper and deeper without being compiled again.
 * Ownership: everything hangs on the template's arena, except the arrays that grow.
 * Threads:   written by compile and bind only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/template.h"

#define OP_TEMPLATE_DOT       UINT32_MAX /* the name of {{.}} */
#define OP_TEMPLATE_MAX_DEPTH 256        /* open sections and partials together */
#define OP_TEMPLATE_MAX_STEPS 1000000    /* partials entered in one rendering */

enum op_template_kind {
    OP_NODE_TEXT,
    OP_NODE_VAR,
    OP_NODE_SECTION,
    OP_NODE_INVERTED,
    OP_NODE_PARTIAL,
    OP_NODE_LINE,
};

struct op_template_node {
    enum op_template_kind kind;
    bool raw;        /* VAR: not HTML-escaped */
    bool accumulate; /* PARTIAL: text is added to the current indentation, else replaces */
    int line;
    uint32_t name;       /* index of the first part of the name, or OP_TEMPLATE_DOT */
    uint32_t part_count; /* the parts of a.b.c after the first */
    struct op_str *parts;
    struct op_str text; /* TEXT: escaped for the output; PARTIAL: indentation, escaped */
    size_t end;         /* SECTION, INVERTED */
    struct op_template_program *partial;
};

struct op_template_program {
    const char *file;
    bool indented;
    bool visited; /* by collect_names */
    struct op_template_node *nodes;
    size_t count, room;
};

struct op_template_name {
    const char *text;
    int64_t column; /* -1: not bound */
};

/* A name used outside of any section. */
struct op_template_use {
    uint32_t name;
    const char *file;
    int line;
};

struct op_template {
    struct op_arena arena;
    struct op_template_options options;
    struct op_template_program **programs; /* [0] is the template itself */
    size_t program_count;
    struct op_map name_ids;
    struct op_template_name *names;
    size_t name_count;
    struct op_template_use *uses;
    const char **use_texts;
    size_t use_count;
    const char *const *columns; /* what it is bound to */
    size_t column_count;
};

/* Appends "; known are a, b and c" and a suggestion for name. */
void op_template_list_names(struct op_buf *buf, const char *name, const char *const *names,
                            size_t count);

#endif
