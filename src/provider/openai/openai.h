/* SPDX-License-Identifier: MIT */
#ifndef OP_PROVIDER_OPENAI_OPENAI_H
#define OP_PROVIDER_OPENAI_OPENAI_H

/*
 * Model:     Files + Batches as OpenAI made them, and as others copied them. One driver; what
 *            differs from house to house is a row of dialects.c, and each row is a provider by
 *            name. What a reply looks like is never asked of the row: every decoder takes what any
 *            of them sends (ISO times, shouted states, bare lists, left out members).
 * Errors:    as in provider/provider.h.
 * Threads:   pure functions.
 */

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/json_out.h"
#include "provider/provider.h"

enum op_openai_endpoint {
    OP_OPENAI_RESPONSES,
    OP_OPENAI_CHAT,
    OP_OPENAI_EMBEDDINGS,
    OP_OPENAI_ENDPOINT_COUNT,
};

/* How the model is held to a JSON Schema. */
enum op_openai_schema {
    OP_OPENAI_SCHEMA_STRICT, /* OpenAI's strict subset */
    OP_OPENAI_SCHEMA_PLAIN,  /* json_schema as it is, without a promise */
    OP_OPENAI_SCHEMA_TEXT,   /* only "some JSON": the schema is told to the model in words */
};

struct op_dialect {
    const char *title;
    const char *base_path; /* added to an address without a path: "/v1" */
    /* The url of a line and the endpoint of a create; NULL: the provider has none. */
    const char *urls[OP_OPENAI_ENDPOINT_COUNT];
    const char *window;       /* completion_window */
    const char *purpose;      /* of the uploaded file */
    const char *key_header;   /* NULL: Authorization: Bearer */
    const char *tag_member;   /* of metadata; NULL: the create takes no metadata */
    const char *cursor_query; /* the list goes on after this one */
    const char *chat_room;    /* max_tokens of a chat */
    enum op_openai_schema schema;
    bool upload_redirects; /* POST names the place, PUT brings the bytes */
    bool has_flex;
};

extern const struct op_provider_ops op_provider_openai, op_provider_azure, op_provider_groq,
    op_provider_together, op_provider_deepinfra, op_provider_doubleword, op_provider_dashscope,
    op_provider_moonshot, op_provider_zhipu, op_provider_siliconflow;

/* dialects.c */
const char *op_openai_endpoint_name(enum op_openai_endpoint endpoint);
/* OP_INVAL when the provider has no such endpoint; name NULL: its first one. */
OP_MUST_CHECK enum op_rc op_openai_endpoint_find(const struct op_provider_ops *ops,
                                                 const char *name, enum op_openai_endpoint *ret,
                                                 struct op_err *err);

/* openai_models.c: what a model of OpenAI is known to refuse, told by its name. NULL when nothing
 * is known against it, else how to mend it. */
const char *op_openai_refuses_sampling(const char *model);
const char *op_openai_refuses_effort(const char *model, const char *effort);
/* Takes max_completion_tokens only; the older max_tokens is refused. */
bool op_openai_is_reasoning(struct op_str model);

/* openai_schema.c: writes the schema as strict mode takes it: unsupported keywords are left out,
 * which only loosens it, objects are closed, and an optional property becomes a required one that
 * may be null. What cannot be said is OP_INVAL naming file and JSON pointer. */
OP_MUST_CHECK enum op_rc op_openai_schema(struct op_json schema, const char *file,
                                          struct op_json_out *out, struct op_err *err);

/* openai_params.c */
enum op_rc op_openai_params(const struct op_lane *lane,
                            const struct op_request_settings *settings,
                            struct op_params_form *ret, struct op_err *err);

/* openai_lines.c */
enum op_rc op_openai_split_line(struct op_json root, struct op_str line,
                                struct op_str *ret_custom_id, struct op_str *ret_params,
                                const char **ret_endpoint, struct op_err *err);
enum op_rc op_openai_amend(struct op_json params, const struct op_amend *amend,
                           struct op_buf *ret, struct op_err *err);
void op_openai_framing(const struct op_lane *lane, const char *endpoint,
                       struct op_batch_framing *ret);

/* openai_exchange.c */
enum op_rc op_openai_create(const struct op_lane *lane, const struct op_create *what,
                            struct op_exchange *ret, struct op_err *err);
enum op_rc op_openai_get(const struct op_lane *lane, const char *id, struct op_exchange *ret,
                         struct op_err *err);
enum op_rc op_openai_list(const struct op_lane *lane, const char *cursor, int limit,
                          struct op_exchange *ret, struct op_err *err);
enum op_rc op_openai_cancel(const struct op_lane *lane, const char *id, struct op_exchange *ret,
                            struct op_err *err);
enum op_rc op_openai_results(const struct op_lane *lane, const struct op_remote_batch *batch,
                             int part, struct op_exchange *ret, struct op_err *err);
enum op_rc op_openai_ask(const struct op_lane *lane, const char *model, const char *endpoint,
                         const char *tier, struct op_str params, struct op_exchange *ret,
                         struct op_err *err);
enum op_rc op_openai_remove_file(const struct op_lane *lane, const char *file_id,
                                 struct op_exchange *ret, struct op_err *err);
/* Begins an exchange with base + path + [/id] + tail and the key; for this folder. */
OP_MUST_CHECK enum op_rc op_openai_begin(const struct op_lane *lane, const char *method,
                                         const char *path, const char *id, const char *tail,
                                         struct op_exchange *ret, struct op_err *err);
/* The query of a page: OP_INVAL when cursor is none that a decoder gave. */
OP_MUST_CHECK enum op_rc op_openai_page(const struct op_lane *lane, const char *query,
                                        const char *cursor, struct op_buf *ret,
                                        struct op_err *err);

/* openai_upload.c */
enum op_rc op_openai_upload_begin(const struct op_lane *lane, const struct op_create *what,
                                  struct op_exchange *ret, struct op_err *err);
enum op_rc op_openai_upload(const struct op_lane *lane, const struct op_create *what,
                            const struct op_http_reply *begun, struct op_exchange *ret,
                            struct op_err *err);
enum op_rc op_openai_upload_end(const struct op_lane *lane, const struct op_http_reply *begun,
                                struct op_exchange *ret, struct op_err *err);
enum op_rc op_openai_decode_upload(const struct op_http_reply *reply,
                                   struct op_remote_file *ret, struct op_err *err);
enum op_rc op_openai_files(const struct op_lane *lane, const char *cursor,
                           struct op_exchange *ret, struct op_err *err);
enum op_rc op_openai_decode_files(const struct op_http_reply *reply,
                                  void (*fn)(void *arg, const struct op_remote_file *file),
                                  void *arg, char next_cursor[256], struct op_err *err);

/* openai_error.c: an error as the API describes it, in a reply, a batch or a line. */
struct op_openai_fault {
    struct op_str code, type, message; /* ptr NULL when not given; a numeric code is none */
};
/* Of an error object, of {"error": ...} around one, or of a text. */
struct op_openai_fault op_openai_fault_read(struct op_json error);
/* What the code or the message alone tells, whatever the status: true sets the disposition. */
bool op_openai_fault_known(const struct op_openai_fault *fault, enum op_disp *ret);
/* The enqueued-token limit that a message speaks of; -1 when it names none. */
int64_t op_openai_limit(struct op_str message);
/* A reply read as the API's error envelope. shaped: it is one, so the API itself has spoken. */
struct op_openai_envelope {
    struct op_json_parser *parser;
    struct op_openai_fault fault;
    bool shaped;
};
void op_openai_envelope_read(const struct op_http_reply *reply, struct op_openai_envelope *ret);
void op_openai_envelope_release(struct op_openai_envelope *e);
/* What to do about a status, and how long to wait (-1: not told). */
enum op_disp op_openai_disposition(const struct op_http_reply *reply,
                                   const struct op_openai_envelope *e,
                                   int64_t *ret_retry_after_ms);
/* "the API answered 400 invalid_request_error: text (request req_1)" */
void op_openai_describe(const struct op_http_reply *reply, const struct op_openai_envelope *e,
                        char *ret, size_t size);
enum op_rc op_openai_decode_error(const struct op_http_reply *reply, struct op_err *err);

/* openai_decode.c */
enum op_create_class op_openai_decode_create(enum op_rc transport,
                                             const struct op_http_reply *reply,
                                             struct op_remote_batch *ret, struct op_err *err);
enum op_rc op_openai_decode_batch(const struct op_http_reply *reply,
                                  struct op_remote_batch *ret, struct op_err *err);
enum op_rc op_openai_decode_list(const struct op_http_reply *reply,
                                 void (*fn)(void *arg, const struct op_remote_batch *batch),
                                 void *arg, char next_cursor[256], struct op_err *err);
/* Unix seconds as a number or a text, or an ISO time, in ms; -1 when it is none of them. */
int64_t op_openai_time(struct op_json v);
/* The array of a list reply (the reply itself, where it is bare). */
struct op_json op_openai_page_items(struct op_json root);
/* "" on the last page; false when there is a next one that cannot be named. */
bool op_openai_next_page(struct op_json root, char next_cursor[256]);

/* openai_result.c */
enum op_rc op_openai_decode_result(struct op_json line, struct op_buf *scratch,
                                   struct op_result *ret, struct op_err *err);
/* An answer, or the API's refusal of one, as a line of a result file. */
enum op_rc op_openai_fold(struct op_str custom_id, const struct op_http_reply *reply,
                          struct op_buf *ret_line, struct op_err *err);

#endif
