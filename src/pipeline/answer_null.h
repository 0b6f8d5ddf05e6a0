/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_ANSWER_NULL_H
#define OP_PIPELINE_ANSWER_NULL_H

/*
 * Model:     strict structured output knows no property that may be left out, so a model held to it
 *            says null where it would have left one out. A null that the schema does not take means
 *            "left out".
 * Threads:   pure but for the parser, which is the caller's.
 */

#include <stdbool.h>

#include "base/buf.h"
#include "base/json.h"
#include "core/schema.h"

/* Writes the value anew without the null members that violate the schema: true when what is left
 * satisfies it. False: clean holds nothing of use. */
bool op_answer_drop_nulls(const struct op_schema *schema, struct op_json value,
                          struct op_json_parser *parser, struct op_buf *clean);

#endif
