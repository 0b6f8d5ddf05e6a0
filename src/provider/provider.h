/* SPDX-License-Identifier: MIT */
#ifndef OP_PROVIDER_PROVIDER_H
#define OP_PROVIDER_PROVIDER_H

/*
 * Model:     a provider driver is sans-I/O: it writes what goes on the wire and reads what came
 *            back; sockets, files, clocks and retries are the engine's. One const table per
 *            provider, no NULL slot; registry.c names the tables.
 *            A lane is one account at one provider: base URL, key and how to use them.
 * Ownership: a driver has no state. Exchanges own their buffers; decoded values point into the
 *            reply or the parser they were read with.
 * Errors:    the decoder knows the cause, so it sets the disposition; the engine acts on it.
 * Threads:   every function may be called from any thread (arguments are not shared).
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "core/price.h"
#include "core/reconcile.h"
#include "core/states.h"
#include "net/http.h"

#define OP_EXCHANGE_HEADERS 8
#define OP_PROVIDER_ID_MAX  256 /* ids must match [A-Za-z0-9_.:/-]{1,256} without ".." */

struct op_lane {
    const struct op_provider_ops *provider;
    char *base_url; /* without a final slash */
    char *key;      /* the secret; never stored, never logged */
    char *version;  /* Anthropic: anthropic-version; others "" */
    char fingerprint
        [17];      /* first 16 hex digits of SHA-256(ledger uuid, key): tells keys apart */
    int64_t id;    /* the ledger's lane row; 0 before it is known */
    bool emulated; /* --emulate: answers are never reused for a real provider */
};

/* One HTTP exchange to be made. */
struct op_exchange {
    const char *method;
    struct op_buf url;
    struct op_buf store; /* NUL-terminated header values */
    struct op_http_header headers[OP_EXCHANGE_HEADERS];
    size_t header_count;
    struct op_buf body;
};
void op_exchange_init(struct op_exchange *x);
void op_exchange_release(struct op_exchange *x);
/* Copies the value into store; refuses CR, LF and NUL. */
OP_MUST_CHECK enum op_rc op_exchange_header(struct op_exchange *x, const char *name,
                                            const char *value, struct op_err *err);

/* --- what a request says -------------------------------------------------------------------- */

enum op_prompt_hole { OP_HOLE_NONE, OP_HOLE_SYSTEM, OP_HOLE_USER };

struct op_request_settings {
    const char *model;
    int64_t max_tokens;
    double temperature; /* NAN: not set */
    const char *effort; /* "low".."max"; NULL: not set */
    const char *cache;  /* "5m" or "1h": mark the system prompt for caching; NULL: no */
    struct op_str
        extra; /* JSON object text whose members are added to the params; ptr NULL none */
    bool has_system;
    struct op_json schema; /* no value: free text */
    const char
        *file; /* for messages: where these settings were written, "dir/pipeline.yaml:12" */
};

/* The params of a request as text with holes: literals are JSON, a hole takes JSON-escaped text
 * (the content of a string, quotes are in the literals around it). */
struct op_params_part {
    struct op_str literal;    /* inside form->text */
    enum op_prompt_hole hole; /* after the literal */
};
struct op_params_form {
    struct op_buf text;
    struct op_params_part parts[4];
    size_t count;
};
void op_params_form_release(struct op_params_form *form);

/* How params change when a request is asked again. */
struct op_amend {
    int64_t max_tokens;       /* 0: as they are; 1 makes the stub that warms a cache */
    struct op_str answer;     /* ptr NULL: none. The model's own answer, shown to it ... */
    struct op_str violations; /* ... with what is wrong with it, line by line */
};

/* How request lines make a batch file: head, then for each request
 * before + custom_id + between + params + after, lines joined by separator, then tail. */
struct op_batch_framing {
    const char *head, *before, *between, *after, *separator, *tail;
};

struct op_provider_limits {
    int64_t max_requests;   /* per batch */
    int64_t max_bytes;      /* of the batch file */
    int64_t max_line_bytes; /* of one request's params */
    int64_t window_ms;      /* the provider gives up after this */
    int64_t keep_ms;        /* results can be fetched this long after creation */
};

/* --- what comes back ------------------------------------------------------------------------ */

enum op_create_class { OP_CREATE_ACCEPTED, OP_CREATE_REJECTED, OP_CREATE_AMBIGUOUS };

enum op_remote_state {
    OP_REMOTE_IN_PROGRESS,
    OP_REMOTE_CANCELING,
    OP_REMOTE_ENDED,   /* results (perhaps partial, perhaps only errors) can be fetched */
    OP_REMOTE_FAILED,  /* ended without any result: validation failed; nothing was bought */
    OP_REMOTE_UNKNOWN, /* a state this program does not know: keep polling, say it */
};

struct op_remote_batch {
    char id[OP_PROVIDER_ID_MAX + 1];
    enum op_remote_state state;
    char state_name[64];                      /* as the provider spelled it */
    int64_t created_ms, expires_ms, ended_ms; /* -1: not told */
    int64_t total;                            /* -1: not told; shown, never trusted */
    int64_t succeeded, errored, canceled, expired, processing;
    char results_url[1024]; /* "" none */
    char tag[128];          /* our tag, where the provider carries one */
};

struct op_result {
    struct op_str custom_id;
    enum op_result_class class_;
    struct op_str text;  /* the answer text, unescaped; ptr NULL when there is none */
    struct op_str model; /* as the provider reports it */
    struct op_str stop;  /* the provider's stop reason */
    struct op_str error_type,
        error_message; /* of errored ones, and the explanation of a refusal */
    enum op_disp disp; /* of errored ones: RETRY (ask again), REJECT, PAUSE (credit, quota) */
    struct op_usage usage;
    bool has_usage;
};

struct op_provider_ops {
    const char *name;    /* "anthropic" */
    const char *key_env; /* "ANTHROPIC_API_KEY" */
    const char *url_env; /* "ANTHROPIC_BASE_URL" */
    const char *default_url;
    const char *default_model;
    const char *model_prefix; /* models of this provider begin so: "claude-" */
    struct op_provider_limits limits;
    struct op_batch_framing framing;
    bool has_tags;       /* a batch can carry our tag: reconciliation is exact */
    bool has_upload;     /* the batch file is uploaded before the create */
    bool lane_is_serial; /* one SENDING or AMBIGUOUS batch at a time (no tags) */

    /* Writes the params with holes. Checks what can be known without sending: schema limits of
     * structured output, settings the model refuses; OP_INVAL names settings->file. The schema
     * goes out stripped of the keywords the provider does not take; the full one stays our check. */
    enum op_rc (*params)(const struct op_lane *lane, const struct op_request_settings *settings,
                         struct op_params_form *ret, struct op_err *err);
    /* Reads one line of a file in the provider's own batch form: custom_id, and params as the raw
     * slice of line. OP_INVAL says what is missing. */
    enum op_rc (*split_line)(struct op_json root, struct op_str line,
                             struct op_str *ret_custom_id, struct op_str *ret_params,
                             struct op_err *err);

    /* The params with an amendment; everything else is passed on by value. */
    enum op_rc (*amend)(struct op_json params, const struct op_amend *amend, struct op_buf *ret,
                        struct op_err *err);

    /* Exchanges. id is the provider's batch id. */
    enum op_rc (*create)(const struct op_lane *lane, struct op_exchange *ret,
                         struct op_err *err);
    enum op_rc (*get)(const struct op_lane *lane, const char *id, struct op_exchange *ret,
                      struct op_err *err);
    enum op_rc (*list)(const struct op_lane *lane, const char *cursor, int limit,
                       struct op_exchange *ret, struct op_err *err); /* cursor "": first page */
    enum op_rc (*cancel)(const struct op_lane *lane, const char *id, struct op_exchange *ret,
                         struct op_err *err);
    /* The part-th result file of an ended batch; OP_NOTFOUND (err untouched) when there is none. */
    enum op_rc (*results)(const struct op_lane *lane, const struct op_remote_batch *batch,
                          int part, struct op_exchange *ret, struct op_err *err);

    /* The outcome of a create whose last byte was released (reference/reliability.md 3.2 table).
     * transport: the perform's rc. ACCEPTED fills *ret; REJECTED and AMBIGUOUS fill err with the
     * reason and, for REJECTED, the disposition of what to do next. */
    enum op_create_class (*decode_create)(enum op_rc transport,
                                          const struct op_http_reply *reply,
                                          struct op_remote_batch *ret, struct op_err *err);
    /* A get or cancel reply. Non-2xx: OP_NOTFOUND for 404/410, else OP_REMOTE with disposition. */
    enum op_rc (*decode_batch)(const struct op_http_reply *reply, struct op_remote_batch *ret,
                               struct op_err *err);
    /* A page of the list: calls fn for each batch, newest first; next_cursor (256 bytes) is "" on
     * the last page. */
    enum op_rc (*decode_list)(const struct op_http_reply *reply,
                              void (*fn)(void *arg, const struct op_remote_batch *batch),
                              void *arg, char next_cursor[256], struct op_err *err);
    /* One line of a result file. scratch takes text that has to be put together. OP_INVAL when the
     * line is no result line (quarantine it). */
    enum op_rc (*decode_result)(struct op_json line, struct op_buf *scratch,
                                struct op_result *ret, struct op_err *err);
    /* A non-2xx reply of any plain exchange as an error with a disposition. */
    enum op_rc (*decode_error)(const struct op_http_reply *reply, struct op_err *err);
};

/* The drivers, NULL-terminated, and by name (NULL when unknown) or by the model's prefix. */
const struct op_provider_ops *const *op_providers(void);
const struct op_provider_ops *op_provider_find(const char *name);
const struct op_provider_ops *op_provider_for_model(const char *model);

/* True when an id given by a provider may be stored and put into a URL. */
bool op_provider_id_ok(struct op_str id);

#endif
