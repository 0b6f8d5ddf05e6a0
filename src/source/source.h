/* SPDX-License-Identifier: MIT */
#ifndef OP_SOURCE_SOURCE_H
#define OP_SOURCE_SOURCE_H

/*
 * Model:     a source reads one input as a table: columns, then rows, once, in order, in constant
 *            memory. Each kind is one file with one const table; registry.c names them.
 * Ownership: cells are borrowed until the next call; the source owns its columns.
 * Errors:    messages name the file and line (or table and column). A malformed row is OP_INVAL
 *            with OP_DISP_REJECT, and the next call goes on behind it, so that the caller may
 *            count and skip when the input says on_error: skip; anything else ends the input.
 * Threads:   one thread at a time.
 */

#include <stddef.h>

#include "base/env.h"
#include "base/err.h"
#include "base/sandbox.h"
#include "base/value.h"

/* One record; a CSV field may have 4 MiB. More is a malformed row, said with its line. */
#define OP_SOURCE_MAX_RECORD (16 * 1024 * 1024)

/* One option of an input in pipeline.yaml, already rendered. */
struct op_source_option {
    const char *name;
    const char *value;
};

struct op_source_config {
    struct op_env *env;
    const char *name;   /* the input's name */
    const char *target; /* what stands behind the kind: the path or URL */
    const struct op_source_option *options;
    size_t option_count;
    const char *place; /* "dir/pipeline.yaml:12" */
    /* The pipeline's params, for a query that names them: bound there, never spliced. */
    const char *const *param_names;
    const struct op_value *param_values;
    size_t param_count;
};

/* Option table row: for parsing, `validate`, and the reference documentation. */
struct op_source_option_spec {
    const char *name;
    const char *help;
};

struct op_source;
struct op_source_ops {
    const char *kind; /* "csv" */
    const char *help;
    bool named; /* the target is a name at a server, not a path */
    bool fixed; /* the columns are always the same, also when the target is missing */
    bool files; /* the target is a file; with `*` in it, every file that matches */
    const struct op_source_option_spec *options; /* ends with name NULL */
    bool (*guess)(const char *target); /* does a bare path look like this kind (--input) */
    /* What a locked-in process must be allowed for this target; NULL: a path or a URL says it. */
    void (*reach)(const char *target, struct op_sandbox *box);
    enum op_rc (*open)(const struct op_source_config *config, struct op_source **ret,
                       struct op_err *err);
    /* OP_OK and a row of column_count cells, or OP_NOTFOUND (err untouched) at the end. */
    enum op_rc (*next)(struct op_source *source, const struct op_value **ret_cells,
                       struct op_err *err);
    void (*close)(struct op_source *source);
};
struct op_source { /* drivers embed this first */
    const struct op_source_ops *ops;
    const char *const *columns; /* unique, non-empty; known after open */
    size_t column_count;
    int64_t line; /* of the last row; 0 where lines mean nothing */
};

const struct op_source_ops *const *op_sources(void); /* NULL-terminated */
const struct op_source_ops *op_source_find(const char *kind);
const struct op_source_ops *op_source_guess(const char *target); /* NULL: looks like none */

OP_MUST_CHECK enum op_rc op_source_open(const struct op_source_ops *ops,
                                        const struct op_source_config *config,
                                        struct op_source **ret, struct op_err *err);
OP_MUST_CHECK enum op_rc op_source_next(struct op_source *source,
                                        const struct op_value **ret_cells, struct op_err *err);
void op_source_close(struct op_source *source);
void op_source_closep(struct op_source **source);
/* The value of an option, or fallback. */
const char *op_source_option_get(const struct op_source_config *config, const char *name,
                                 const char *fallback);

#endif
