/* SPDX-License-Identifier: MIT */
#ifndef OP_PROVIDER_GEMINI_GEMINI_H
#define OP_PROVIDER_GEMINI_GEMINI_H

/*
 * Model:     the Gemini API's batches in file mode: a resumable upload, then a small create that
 *            names the file. The display names of file and batch are our tag. Two endpoints:
 *            generate (batchGenerateContent) and embeddings (asyncBatchEmbedContent), in either
 *            version of the API, v1beta or v1. Below the table are the parts it is made of.
 * Errors:    as in provider/provider.h.
 * Threads:   pure functions.
 */

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/json_out.h"
#include "provider/provider.h"

#define OP_GEMINI_VERSION     "v1beta"
#define OP_GEMINI_VERSION_NEW "v1"

/* Where the results of a batch are that answered in its own object (op_remote_batch.results_url);
 * anything else there is the name of a file. */
#define OP_GEMINI_INLINE "inline"

extern const struct op_provider_ops op_provider_gemini;

/* True for the endpoint that takes embeddings; NULL is the default one, which does not. */
bool op_gemini_embeds(const char *endpoint);
/* True when name is "kind/ID" with a usable ID, such as "files/abc" of kind "files". */
bool op_gemini_name_ok(struct op_str name, const char *kind);

/* gemini_schema.c: writes the schema as responseSchema takes it, which is a part of OpenAPI's:
 * references written out, unknown keywords left out, which only loosens it. What cannot be said
 * (open maps, recursion, values without a type) is OP_INVAL naming file and JSON pointer. */
OP_MUST_CHECK enum op_rc op_gemini_schema(struct op_json schema, const char *file,
                                          struct op_json_out *out, struct op_err *err);

/* gemini_params.c */
enum op_rc op_gemini_params(const struct op_lane *lane,
                            const struct op_request_settings *settings,
                            struct op_params_form *ret, struct op_err *err);
enum op_rc op_gemini_split_line(struct op_json root, struct op_str line,
                                struct op_str *ret_custom_id, struct op_str *ret_params,
                                const char **ret_endpoint, struct op_err *err);

/* gemini_amend.c */
enum op_rc op_gemini_amend(struct op_json params, const struct op_amend *amend,
                           struct op_buf *ret, struct op_err *err);

/* gemini_error.c */

/* One error as the API describes it: in a reply its code is the HTTP status, in an operation and in
 * a result line the number of google.rpc.Code. */
struct op_gemini_fault {
    int64_t code;                  /* -1: not given */
    struct op_str status, message; /* ptr NULL when not given */
    struct op_str reason;          /* of google.rpc.ErrorInfo */
    int64_t retry_ms;              /* of google.rpc.RetryInfo; -1 none */
    int64_t token_limit;           /* of a QuotaFailure over queued tokens; -1 none */
    bool daily;                    /* a QuotaFailure over requests per day */
};
struct op_gemini_fault op_gemini_fault_read(struct op_json error);
/* True when only a person can mend it: a bad key, billing, a region, a spend cap. */
bool op_gemini_fault_pauses(const struct op_gemini_fault *fault, enum op_disp *ret);
/* "INVALID_ARGUMENT" of 3; "UNKNOWN" of a number that is none. */
const char *op_gemini_code_name(int64_t code);
/* 3 of "INVALID_ARGUMENT"; 2 (UNKNOWN) of a name that is none. */
int64_t op_gemini_code_of(struct op_str name);
/* The error object of a reply, also when it is the only element of an array; no value when the
 * reply is no error in the API's form. */
struct op_json op_gemini_error_of(struct op_json root);

enum op_rc op_gemini_decode_error(const struct op_http_reply *reply, struct op_err *err);
/* The reply to a create that was not a success. */
enum op_create_class op_gemini_refusal(const struct op_http_reply *reply, struct op_err *err);

/* gemini_decode.c */
enum op_create_class op_gemini_decode_create(enum op_rc transport,
                                             const struct op_http_reply *reply,
                                             struct op_remote_batch *ret, struct op_err *err);
enum op_rc op_gemini_decode_batch(const struct op_http_reply *reply,
                                  struct op_remote_batch *ret, struct op_err *err);
enum op_rc op_gemini_decode_list(const struct op_http_reply *reply,
                                 void (*fn)(void *arg, const struct op_remote_batch *batch),
                                 void *arg, char next_cursor[256], struct op_err *err);

/* gemini_files.c */
enum op_rc op_gemini_decode_upload(const struct op_http_reply *reply,
                                   struct op_remote_file *ret, struct op_err *err);
enum op_rc op_gemini_decode_files(const struct op_http_reply *reply,
                                  void (*fn)(void *arg, const struct op_remote_file *file),
                                  void *arg, char next_cursor[256], struct op_err *err);
/* The cursor of the page after this one, "" on the last; false when it cannot be kept. */
bool op_gemini_next_page(struct op_json root, char next_cursor[256]);

/* gemini_result.c */
enum op_rc op_gemini_decode_result(struct op_json line, struct op_buf *scratch,
                                   struct op_result *ret, struct op_err *err);
/* A batch that answered in its own object, as result lines: metadata.key names each, its place in
 * the list never does. */
enum op_rc op_gemini_unfold(struct op_json document, struct op_buf *ret_lines,
                            struct op_err *err);
/* An answer, or the API's refusal of one request, as a line of a result file. */
enum op_rc op_gemini_fold(struct op_str custom_id, const struct op_http_reply *reply,
                          struct op_buf *ret_line, struct op_err *err);

#endif
