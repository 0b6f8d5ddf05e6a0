/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_ONELINE_H
#define OP_CLI_ONELINE_H

/*
 * Model:     a pipeline made of options instead of a folder: pipeline.yaml is written as JSON
 *            (which YAML contains) into a bundle, beside the prompts and the schema. From there
 *            on nothing knows the difference.
 * Ownership: the subject owns the bundle.
 * Errors:    OP_INVAL or OP_NOTFOUND in terms of the options.
 * Threads:   one.
 */

#include "cli/command.h"

/* --input … --prompt … --output …. need_output: a run without one would throw its answers away.
 * */
OP_MUST_CHECK enum op_rc op_oneline_make(const struct op_args *args, bool need_output,
                                         struct op_subject *subject, struct op_err *err);
/* A file of requests in a provider's own form. */
OP_MUST_CHECK enum op_rc op_oneline_raw(const struct op_args *args, bool need_output,
                                        struct op_subject *subject, struct op_err *err);

#endif
