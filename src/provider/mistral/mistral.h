/* SPDX-License-Identifier: MIT */
#ifndef OP_PROVIDER_MISTRAL_MISTRAL_H
#define OP_PROVIDER_MISTRAL_MISTRAL_H

/*
 * Model:     Mistral's batch jobs: a file of {custom_id, body} lines is uploaded, then a job names
 *            it, with model and endpoint; our tag is in the job's metadata and in the file's name.
 *            Endpoints: chat and embeddings. Results lie in two files, good and bad lines apart.
 * Errors:    as in provider/provider.h.
 * Threads:   pure functions.
 */

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "provider/provider.h"

/* Member of a job's metadata that holds our tag. */
#define OP_MISTRAL_TAG "op_tag"
/* What our file names end in; the tag is before it. */
#define OP_MISTRAL_SUFFIX ".jsonl"
#define OP_MISTRAL_PAGE   100

extern const struct op_provider_ops op_provider_mistral;

bool op_mistral_embeds(const char *endpoint);

/* mistral_params.c */
enum op_rc op_mistral_params(const struct op_lane *lane,
                             const struct op_request_settings *settings,
                             struct op_params_form *ret, struct op_err *err);
enum op_rc op_mistral_split_line(struct op_json root, struct op_str line,
                                 struct op_str *ret_custom_id, struct op_str *ret_params,
                                 const char **ret_endpoint, struct op_err *err);
enum op_rc op_mistral_amend(struct op_json params, const struct op_amend *amend,
                            struct op_buf *ret, struct op_err *err);

/* mistral_decode.c */

/* The API's explanation in an error body, in any of its forms; ptr NULL when it is none. */
struct op_str op_mistral_message(struct op_json body);
/* True when only a person can mend it: credit, a plan. */
bool op_mistral_is_quota(struct op_str message);
enum op_rc op_mistral_decode_error(const struct op_http_reply *reply, struct op_err *err);
enum op_create_class op_mistral_decode_create(enum op_rc transport,
                                              const struct op_http_reply *reply,
                                              struct op_remote_batch *ret, struct op_err *err);
enum op_rc op_mistral_decode_batch(const struct op_http_reply *reply,
                                   struct op_remote_batch *ret, struct op_err *err);
enum op_rc op_mistral_decode_list(const struct op_http_reply *reply,
                                  void (*fn)(void *arg, const struct op_remote_batch *batch),
                                  void *arg, char next_cursor[256], struct op_err *err);
enum op_rc op_mistral_decode_upload(const struct op_http_reply *reply,
                                    struct op_remote_file *ret, struct op_err *err);
enum op_rc op_mistral_decode_files(const struct op_http_reply *reply,
                                   void (*fn)(void *arg, const struct op_remote_file *file),
                                   void *arg, char next_cursor[256], struct op_err *err);

/* mistral_result.c */
enum op_rc op_mistral_decode_result(struct op_json line, struct op_buf *scratch,
                                    struct op_result *ret, struct op_err *err);
enum op_rc op_mistral_fold(struct op_str custom_id, const struct op_http_reply *reply,
                           struct op_buf *ret_line, struct op_err *err);

#endif
