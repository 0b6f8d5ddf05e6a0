/* SPDX-License-Identifier: MIT */
#ifndef OP_VIEW_STORY_H
#define OP_VIEW_STORY_H

/*
 * Model:     the whole story of a record: each of its requests with what was asked, every
 *            purchase and what it brought, what was found wrong, the answer and the rows made
 *            of it. All of it is read back from ledger and spool; rows are selected again.
 * Ownership: everything is borrowed for the call.
 * Errors:    what can no longer be read (inputs that are gone, say) is said in its place.
 * Threads:   one.
 */

#include "base/json_out.h"
#include "engine/engine.h"

/* Adds the members "key", "job", "data", "requests" to an open object. */
OP_MUST_CHECK enum op_rc op_story_json(struct op_engine *engine, int64_t job, int64_t record,
                                       struct op_json_out *out, struct op_err *err);
OP_MUST_CHECK enum op_rc op_story_text(struct op_engine *engine, int64_t job, int64_t record,
                                       struct op_buf *out, struct op_err *err);
/* Only the answer of a request, as `display` prints it; OP_NOTFOUND (err untouched): it has
 * none. */
OP_MUST_CHECK enum op_rc op_story_answer(struct op_engine *engine,
                                         const struct op_request *request, struct op_buf *out,
                                         struct op_err *err);

#endif
