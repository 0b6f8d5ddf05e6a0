/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_PARAMS_H
#define OP_PIPELINE_PARAMS_H

/*
 * Model:     the values of a pipeline's params for one run: from options, then the environment,
 *            then defaults; typed and checked. Paths are made absolute against the folder the
 *            command was started in, so that a job resumes from anywhere.
 * Ownership: the struct owns its arena.
 * Errors:    OP_INVAL naming the option: missing, wrong type, value not allowed.
 * Threads:   one thread at a time; read-only afterwards.
 */

#include "pipeline/definition.h"

struct op_params {
    struct op_arena arena;
    const char **names;      /* of the definition, in its order */
    struct op_value *values; /* NULL where not given and without default */
    size_t count;
};

/* given: text values by param index (NULL: not given), as the command line had them. */
OP_MUST_CHECK enum op_rc op_params_resolve(const struct op_definition *def,
                                           const char *const *given, const char *cwd,
                                           struct op_params *ret, struct op_err *err);
void op_params_release(struct op_params *params);
/* As a JSON object in the definition's order (stored with the job, part of its identity). */
void op_params_write(const struct op_params *params, struct op_buf *out);
OP_MUST_CHECK enum op_rc op_params_read(const struct op_definition *def, struct op_str json,
                                        struct op_params *ret, struct op_err *err);
/* Renders a template over the params (strict). An op_mem block. */
OP_MUST_CHECK enum op_rc op_params_render(const struct op_params *params, const char *text,
                                          const char *place, char **ret, struct op_err *err);

#endif
