/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_TEMPLATE_H
#define OP_BASE_TEMPLATE_H

/*
 * Model:     Mustache (all required modules of the specification: interpolation, sections, inverted
 *            sections, comments, delimiters, partials; no lambdas). A template is compiled once to
 *            a list of segments and rendered many times, straight into the caller's buffer.
 *            The root context is a row (columns -> op_value) or a JSON value. A text cell of a row
 *            that is used as a section and holds a JSON array or object is entered as such, so
 *            that json_group_array() in SQL becomes {{#items}}..{{/items}} here.
 *            Nothing, null, false, 0, "" and [] are false to a section.
 * Ownership: a template owns its text; partials are compiled into it.
 * Errors:    compile and render name file and line. In strict mode a name that no context has is
 *            OP_INVAL (listing the names there are); a NULL cell is present and renders as nothing.
 *            A section may ask for an absent member of a JSON object, for such are often optional.
 * Threads:   a compiled template is read-only; several threads may render it at once, each with
 *            an op_template_scratch of its own.
 */

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/value.h"

/* Rendered size of one template (reliability.md section 4). */
#define OP_TEMPLATE_MAX_OUTPUT (4 * 1024 * 1024)

enum op_template_escape {
    OP_ESCAPE_NONE, /* prompts: {{x}} and {{{x}}} are the same */
    OP_ESCAPE_HTML, /* the Mustache specification's default */
    OP_ESCAPE_JSON, /* the whole output, literals included, is the content of a JSON string */
};

struct op_template;
struct op_template_scratch; /* parsers for cells that hold JSON; reusable */

/* Finds the text of partial name; false when there is none (strict: an error, else empty). */
typedef bool (*op_template_partial_fn)(void *arg, const char *name, struct op_str *ret_text);

struct op_template_options {
    enum op_template_escape escape;
    bool strict;
    op_template_partial_fn partial; /* NULL: no partials */
    void *partial_arg;
};

/* The root context: a row, or (columns NULL) a JSON value. */
struct op_template_root {
    const char *const *columns;
    const struct op_value *cells;
    size_t count;
    struct op_json json;
};

OP_MUST_CHECK enum op_rc op_template_compile(struct op_str text, const char *file,
                                             const struct op_template_options *options,
                                             struct op_template **ret, struct op_err *err);
void op_template_free(struct op_template *tpl);
void op_template_freep(struct op_template **tpl);

struct op_template_scratch *op_template_scratch_new(void);
void op_template_scratch_free(struct op_template_scratch *scratch);

/* Resolves top-level names of the template to column numbers once, so that rendering rows of these
 * columns looks nothing up. In strict mode an unknown top-level name outside of any section is
 * reported here, before any row is read. columns is borrowed: the binding serves roots that carry
 * the very same array (others are searched by name). */
OP_MUST_CHECK enum op_rc op_template_bind(struct op_template *tpl, const char *const *columns,
                                          size_t count, struct op_err *err);

/* Appends the rendering to out. After an error out may hold a part of it. */
OP_MUST_CHECK enum op_rc op_template_render(const struct op_template *tpl,
                                            struct op_template_scratch *scratch,
                                            const struct op_template_root *root,
                                            struct op_buf *out, struct op_err *err);

/* The top-level names the template uses, in order of first use; for validate. */
size_t op_template_names(const struct op_template *tpl, const char *const **ret);

#endif
