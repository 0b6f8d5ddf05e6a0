/* SPDX-License-Identifier: MIT */
#ifndef OP_PROVIDER_ANTHROPIC_ANTHROPIC_H
#define OP_PROVIDER_ANTHROPIC_ANTHROPIC_H

/*
 * Model:     the Message Batches API in both of its versions. The lane's version decides: how the
 *            key is sent, and which settings exist. Below the table are the parts it is made of.
 *            A batch carries no tag of ours, so a lane sends one batch at a time.
 * Errors:    as in provider/provider.h.
 * Threads:   pure functions.
 */

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/json_out.h"
#include "provider/provider.h"

#define OP_ANTHROPIC_VERSION     "2026-10-21"
#define OP_ANTHROPIC_VERSION_OLD "2023-06-01"

extern const struct op_provider_ops op_provider_anthropic;

/* The lane's version, "" being the default one; OP_INVAL when it is neither of the two. */
OP_MUST_CHECK enum op_rc op_anthropic_version(const struct op_lane *lane, const char **ret,
                                              struct op_err *err);

/* anthropic_models.c: what a model is known to refuse (anthropic.md 6.2), told by its name. NULL
 * when nothing is known against it, else how to mend it. */
enum op_anthropic_trap {
    OP_ANTHROPIC_SAMPLING,          /* temperature, top_p, top_k off their defaults */
    OP_ANTHROPIC_THINKING_ENABLED,  /* thinking.type "enabled" */
    OP_ANTHROPIC_THINKING_ADAPTIVE, /* thinking.type "adaptive" */
    OP_ANTHROPIC_THINKING_DISABLED, /* thinking.type "disabled" */
    OP_ANTHROPIC_FORCED_TOOL,       /* tool_choice.type "any" or "tool" */
};
const char *op_anthropic_trapped(const char *model, enum op_anthropic_trap trap);

/* anthropic_schema.c: writes the schema as structured output takes it: unsupported keywords are
 * left out, which only loosens it, and objects are closed. What cannot be said in that subset (open
 * maps, recursion) is OP_INVAL naming file and JSON pointer. */
OP_MUST_CHECK enum op_rc op_anthropic_schema(struct op_json schema, const char *file,
                                             struct op_json_out *out, struct op_err *err);

/* anthropic_params.c */
enum op_rc op_anthropic_params(const struct op_lane *lane,
                               const struct op_request_settings *settings,
                               struct op_params_form *ret, struct op_err *err);
enum op_rc op_anthropic_split_line(struct op_json root, struct op_str line,
                                   struct op_str *ret_custom_id, struct op_str *ret_params,
                                   const char **ret_endpoint, struct op_err *err);

/* anthropic_amend.c */
enum op_rc op_anthropic_amend(struct op_json params, const struct op_amend *amend,
                              struct op_buf *ret, struct op_err *err);

/* anthropic_decode.c */
enum op_create_class op_anthropic_decode_create(enum op_rc transport,
                                                const struct op_http_reply *reply,
                                                struct op_remote_batch *ret,
                                                struct op_err *err);
enum op_rc op_anthropic_decode_batch(const struct op_http_reply *reply,
                                     struct op_remote_batch *ret, struct op_err *err);
enum op_rc op_anthropic_decode_list(const struct op_http_reply *reply,
                                    void (*fn)(void *arg, const struct op_remote_batch *batch),
                                    void *arg, char next_cursor[256], struct op_err *err);
enum op_rc op_anthropic_decode_error(const struct op_http_reply *reply, struct op_err *err);

/* anthropic_result.c */
enum op_rc op_anthropic_decode_result(struct op_json line, struct op_buf *scratch,
                                      struct op_result *ret, struct op_err *err);

/* A message, or the API's refusal of one, as a line of a result file. */
enum op_rc op_anthropic_fold(struct op_str custom_id, const struct op_http_reply *reply,
                             struct op_buf *ret_line, struct op_err *err);

/* One error as the API describes it, in a reply or in a result line. */
struct op_anthropic_fault {
    struct op_str type, code, message; /* ptr NULL when not given */
};
/* Reads the inner error object {type, message, details{error_code}}. */
struct op_anthropic_fault op_anthropic_fault_read(struct op_json error);
/* True when only a person can mend it: credit, spend limits, an organization on hold. */
bool op_anthropic_fault_pauses(const struct op_anthropic_fault *fault, enum op_disp *ret);

#endif
