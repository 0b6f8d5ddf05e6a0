/* SPDX-License-Identifier: MIT */
#ifndef OP_VIEW_PROMPT_H
#define OP_VIEW_PROMPT_H

/*
 * Model:     a request's params, in whatever provider's form, as a person reads a conversation:
 *            settings on one line, then the texts under who said them. What has no such form is
 *            shown as JSON.
 * Threads:   pure function.
 */

#include "base/buf.h"

void op_prompt_text(struct op_str params, struct op_buf *out);
/* JSON with line breaks. Not JSON: the text itself. */
void op_pretty_json(struct op_str json, int indent, struct op_buf *out);

#endif
