/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_PLAN_INTERNAL_H
#define OP_PIPELINE_PLAN_INTERNAL_H

/*
 * Model:     what the files of the plan (plan.c, plan_kind.c, plan_output.c, plan_columns.c,
 *            compose.c) share.
 *            Not for use outside of them.
 */

#include "pipeline/plan.h"

/* Renders an output's target over the params and makes it absolute. */
OP_MUST_CHECK enum op_rc op_plan_output_target(struct op_plan *plan,
                                               const struct op_output_def *def,
                                               struct op_plan_output *ret, struct op_err *err);

/* plan_kind.c. The endpoint of that name; NULL: the provider's first. */
OP_MUST_CHECK enum op_rc op_plan_endpoint(const struct op_lane *lane, const char *name,
                                          const char *place, const char **ret,
                                          struct op_err *err);
void op_plan_number_kinds(struct op_plan *plan);

#endif
