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

#define OP_EXCHANGE_HEADERS 10
#define OP_PROVIDER_ID_MAX  256 /* ids must match [A-Za-z0-9_.:/-]{1,256} without ".." */

/* Settings of a lane beyond URL and key, each from an environment variable the driver names. */
#define OP_LANE_EXTRAS 3

struct op_lane {
    const struct op_provider_ops *provider;
    char *base_url;  /* without a final slash */
    const char *key; /* the secret, kept by base/secret.h; never stored, never logged */
    char *extras[OP_LANE_EXTRAS]; /* values of provider->extra_env, "" where not set */
    char fingerprint
        [17];      /* first 16 hex digits of SHA-256(ledger uuid, key): tells keys apart */
    int64_t id;    /* the ledger's lane row; 0 before it is known */
    bool emulated; /* --emulate: answers are never reused for a real provider */
};

/* One HTTP exchange to be made. Its body is `body`, or, with_file, body + the batch file + tail. */
struct op_exchange {
    const char *method;
    struct op_buf url;
    struct op_buf store; /* NUL-terminated header values */
    struct op_http_header headers[OP_EXCHANGE_HEADERS];
    size_t header_count;
    struct op_buf body;
    struct op_buf tail;
    bool with_file;
    /* results: the reply is one JSON document and not lines; op_provider_ops.unfold makes lines */
    bool document;
    bool redirects; /* 302 is an answer here and no error; nobody follows it */
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
    const char
        *endpoint; /* what the model is asked through ("responses", "chat", "embeddings");
                             NULL: the first of provider->endpoints */
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
 * before + custom_id + between + params + after, joined by separator, then tail. Only separator and
 * tail hold line ends: what lies between them is a line by itself (engine/export.c). */
struct op_batch_framing {
    const char *head, *before;
    char between[192];
    const char *after, *separator, *tail;
};

/* What a create call has to say. Strings are borrowed. */
struct op_create {
    const char
        *tag; /* unique to this purchase: our ledger and the batch's nonce; <= 64 bytes */
    const char *file_id;          /* of the upload; "" where there is none */
    const char *model, *endpoint; /* of all its requests, where one_model */
    const char *sha256;           /* hex, of the batch file */
    int64_t count, bytes;
};

struct op_provider_limits {
    int64_t max_requests;         /* per batch */
    int64_t max_bytes;            /* of the batch file */
    int64_t max_open;             /* batches that may be open at once; 0: no limit known */
    int64_t max_creates_per_hour; /* 0: no limit known */
    int64_t
        max_enqueued_tokens; /* per model, until the ledger has learned better; 0: unknown */
    int64_t max_line_bytes;  /* of one request's params */
    int64_t window_ms;       /* the provider gives up after this */
    int64_t keep_ms;         /* results can be fetched this long after creation */
};

/* --- what comes back ------------------------------------------------------------------------ */

enum op_create_class { OP_CREATE_ACCEPTED, OP_CREATE_REJECTED, OP_CREATE_AMBIGUOUS };

enum op_remote_state {
    OP_REMOTE_IN_PROGRESS,
    OP_REMOTE_CANCELING,
    OP_REMOTE_ENDED,   /* results (perhaps partial, perhaps only errors) can be fetched */
    OP_REMOTE_FAILED,  /* ended without any result and without a bill; failure says why */
    OP_REMOTE_UNKNOWN, /* a state this program does not know: keep polling, say it */
};

struct op_remote_batch {
    char id[OP_PROVIDER_ID_MAX + 1];
    enum op_remote_state state;
    char state_name[64];                      /* as the provider spelled it */
    int64_t created_ms, expires_ms, ended_ms; /* -1: not told */
    int64_t total;                            /* -1: not told; shown, never trusted */
    int64_t succeeded, errored, canceled, expired, processing;
    char results_url[1024]; /* where the results are, in the driver's own form; "" none */
    char tag[128];          /* our tag, where the provider carries one */
    char file_id[OP_PROVIDER_ID_MAX + 1]; /* of the input file; "" not told */
    /* FAILED: why, and what to do: REJECT (the requests fail), SPLIT, PAUSE, RETRY or RETRY_AFTER
     * (nothing was bought: pack them again; a full queue is one of these). */
    enum op_disp failure_disp;
    int64_t failure_limit; /* the enqueued-token limit it ran into; -1: not told. Of a create
                              that is REJECTED because the queue is full: 0 when not told */
    char failure[512];
};

/* A file at the provider. */
struct op_remote_file {
    char id[OP_PROVIDER_ID_MAX + 1];
    char name[128]; /* as we named it: the tag */
    int64_t bytes;  /* -1: not told */
    int64_t created_ms;
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
    const char *name;                      /* "anthropic" */
    const char *key_env;                   /* "ANTHROPIC_API_KEY" */
    const char *key_env_2;                 /* read when the first is not set; NULL none */
    const char *url_env;                   /* "ANTHROPIC_BASE_URL" */
    const char *extra_env[OP_LANE_EXTRAS]; /* more settings: version, organisation; NULL none */
    const char *default_url;               /* NULL: there is none, url_env must be set */
    const char *emulator_path; /* where the emulator has this API: "/gemini" (--emulate) */
    const char *default_model; /* NULL: the user has to name one */
    const char *const
        *model_prefixes;          /* models of this provider begin so: "claude-"; may be none */
    const char *const *endpoints; /* "responses", ...; the first is the default */
    const struct op_dialect *dialect; /* the driver's own; NULL none */
    struct op_provider_limits limits;
    bool has_tags;   /* a batch can carry our tag: reconciliation is exact */
    bool has_upload; /* the batch file is uploaded before the create, which is then small */
    /* A create whose input file is gone cannot run: removing it is a fence (engine/reconcile.c).
     * Where that is not known, a lost create is waited for as long as where there are no tags. */
    bool stops_without_file;
    bool one_model;      /* all requests of a batch have one model and one endpoint */
    bool lane_is_serial; /* one SENDING or AMBIGUOUS batch at a time (no tags) */
    bool has_batch;      /* false: only the realtime lane */
    /* No order of listings is promised, so that they are read to their end; false: newest first */
    bool list_is_unordered;

    void (*framing)(const struct op_lane *lane, const char *endpoint,
                    struct op_batch_framing *ret);

    /* Writes the params with holes. Checks what can be known without sending: schema limits of
     * structured output, settings the model refuses; OP_INVAL names settings->file. The schema
     * goes out stripped of the keywords the provider does not take; the full one stays our check. */
    enum op_rc (*params)(const struct op_lane *lane, const struct op_request_settings *settings,
                         struct op_params_form *ret, struct op_err *err);
    /* Reads one line of a file in the provider's own batch form: custom_id, params as the raw slice
     * of line, and the endpoint it goes to (one of provider->endpoints, or of a provider that
     * speaks the same form). OP_INVAL says what is missing. */
    enum op_rc (*split_line)(struct op_json root, struct op_str line,
                             struct op_str *ret_custom_id, struct op_str *ret_params,
                             const char **ret_endpoint, struct op_err *err);

    /* The params with an amendment; everything else is passed on by value. */
    enum op_rc (*amend)(struct op_json params, const struct op_amend *amend, struct op_buf *ret,
                        struct op_err *err);

    /* Exchanges. id is the provider's batch id. Without has_upload the create's body is the batch
     * file itself (with_file); no body may be a valid document without its last byte. */
    enum op_rc (*create)(const struct op_lane *lane, const struct op_create *what,
                         struct op_exchange *ret, struct op_err *err);
    enum op_rc (*get)(const struct op_lane *lane, const char *id, struct op_exchange *ret,
                      struct op_err *err);
    enum op_rc (*list)(const struct op_lane *lane, const char *cursor, int limit,
                       struct op_exchange *ret, struct op_err *err); /* cursor "": first page */
    enum op_rc (*cancel)(const struct op_lane *lane, const char *id, struct op_exchange *ret,
                         struct op_err *err);
    /* Uploading (has_upload). It buys nothing, so it may be tried again; the name is the tag, by
     * which an upload whose answer was lost is found in the list of files. begin: the exchange that
     * comes before the bytes, OP_NOTFOUND (err untouched) when there is none; its reply is handed
     * to upload. end: the exchange that comes after them, whose reply is the file's; OP_NOTFOUND
     * (err untouched) when there is none, and the reply to the bytes is. */
    enum op_rc (*upload_begin)(const struct op_lane *lane, const struct op_create *what,
                               struct op_exchange *ret, struct op_err *err);
    enum op_rc (*upload)(const struct op_lane *lane, const struct op_create *what,
                         const struct op_http_reply *begun, struct op_exchange *ret,
                         struct op_err *err);
    enum op_rc (*upload_end)(const struct op_lane *lane, const struct op_http_reply *begun,
                             struct op_exchange *ret, struct op_err *err);
    enum op_rc (*decode_upload)(const struct op_http_reply *reply, struct op_remote_file *ret,
                                struct op_err *err);
    enum op_rc (*files)(const struct op_lane *lane, const char *cursor, struct op_exchange *ret,
                        struct op_err *err); /* newest first; cursor "": first page */
    /* next_cursor as in decode_list. */
    enum op_rc (*decode_files)(const struct op_http_reply *reply,
                               void (*fn)(void *arg, const struct op_remote_file *file),
                               void *arg, char next_cursor[256], struct op_err *err);
    enum op_rc (*remove_file)(const struct op_lane *lane, const char *file_id,
                              struct op_exchange *ret, struct op_err *err);

    /* The part-th result file of an ended batch; OP_NOTFOUND (err untouched) when there is none. */
    enum op_rc (*results)(const struct op_lane *lane, const struct op_remote_batch *batch,
                          int part, struct op_exchange *ret, struct op_err *err);

    /* The outcome of a create whose last byte was released (reference/reliability.md 3.2 table).
     * transport: the perform's rc. ACCEPTED fills *ret; REJECTED and AMBIGUOUS fill err with the
     * reason and, for REJECTED, the disposition of what to do next, and ret->failure_limit (which
     * comes in as -1) when the queue was full. */
    enum op_create_class (*decode_create)(enum op_rc transport,
                                          const struct op_http_reply *reply,
                                          struct op_remote_batch *ret, struct op_err *err);
    /* A get or cancel reply. Non-2xx: OP_NOTFOUND for 404/410, else OP_REMOTE with disposition.
     * A cancel may be answered without the batch: then the id is "". */
    enum op_rc (*decode_batch)(const struct op_http_reply *reply, struct op_remote_batch *ret,
                               struct op_err *err);
    /* A page of the list: calls fn for each batch, newest first unless list_is_unordered;
     * next_cursor (256 bytes) holds the cursor that this page was asked with, and then the next
     * one, "" on the last page. */
    enum op_rc (*decode_list)(const struct op_http_reply *reply,
                              void (*fn)(void *arg, const struct op_remote_batch *batch),
                              void *arg, char next_cursor[256], struct op_err *err);
    /* One line of a result file. scratch takes text that has to be put together. OP_INVAL when the
     * line is no result line (quarantine it). */
    enum op_rc (*decode_result)(struct op_json line, struct op_buf *scratch,
                                struct op_result *ret, struct op_err *err);
    /* A reply to a results exchange that is one document, as result lines, each with '\n'. */
    enum op_rc (*unfold)(struct op_json document, struct op_buf *ret_lines, struct op_err *err);
    /* A non-2xx reply of any plain exchange as an error with a disposition. */
    enum op_rc (*decode_error)(const struct op_http_reply *reply, struct op_err *err);

    /* The realtime lane: one request, asked by itself. tier: "flex" or NULL. */
    enum op_rc (*ask)(const struct op_lane *lane, const char *model, const char *endpoint,
                      const char *tier, struct op_str params, struct op_exchange *ret,
                      struct op_err *err);
    /* Its reply as a line in the form of the provider's result files, so that everything behind
     * it is the same; for 2xx and for what the API says about this request (4xx). OP_REMOTE with
     * a disposition for what is not about the request: throttling, overload, a bad key. */
    enum op_rc (*fold)(struct op_str custom_id, const struct op_http_reply *reply,
                       struct op_buf *ret_line, struct op_err *err);
};

/* The drivers, NULL-terminated, and by name (NULL when unknown) or by the model's prefix. */
const struct op_provider_ops *const *op_providers(void);
const struct op_provider_ops *op_provider_find(const char *name);
const struct op_provider_ops *op_provider_for_model(const char *model);

/* True when an id given by a provider may be stored and put into a URL. */
bool op_provider_id_ok(struct op_str id);

#endif
