/* SPDX-License-Identifier: MIT */
#ifndef OP_NET_HTTP_H
#define OP_NET_HTTP_H

/*
 * Model:     one HTTP exchange, described by value. Two kinds differ in what may happen twice:
 *            a plain exchange (poll, list, fetch, cancel) may be repeated by the caller; a GATED one
 *            (create) is put on the wire at most once: fresh connection, no reuse, no redirect, no
 *            Expect, libcurl's own silent re-send stopped by a one-shot PREREQ callback
 *            (reference/reliability.md 0.1). Its body is streamed but for the last byte; then the
 *            gate callback runs (it commits SENDING durably) and only then is the byte released. A
 *            create without its last byte cannot parse, so before the gate nothing is ever bought.
 * Ownership: everything in a request is borrowed for the call; the reply owns its buffers.
 * Errors:    an HTTP status is not an error. rc != 0 means no complete reply: OP_REMOTE with the
 *            CURLcode in err->native. reply->released tells whether the last byte went out.
 * Threads:   one call at a time per client. The vtable is the network seam: tests replace it.
 */

#include "base/buf.h"
#include "base/env.h"
#include "base/err.h"

/* Ceiling of a reply that is kept in memory (reference/reliability.md 3.2.3: 1 MiB for a create; a
 * list page of 1000 batches is about 500 KB). Results go to a sink and have no ceiling. */
#define OP_HTTP_REPLY_MAX (4 * 1024 * 1024)

struct op_http_header {
    const char *name;
    const char *value; /* CR, LF and NUL are refused */
};

/* Reads up to room bytes of the body at offset into ptr; bytes read, or -1 to abort. */
typedef int64_t (*op_http_body_fn)(void *arg, int64_t offset, void *ptr, size_t room);
/* Called once, after every byte but the last has been handed to the connection. OP_OK releases the
 * last byte; anything else aborts the exchange (released stays false). */
typedef enum op_rc (*op_http_gate_fn)(void *arg, struct op_err *err);
/* Receives the body of a 200/206 reply as it arrives; OP_OK to go on. */
typedef enum op_rc (*op_http_sink_fn)(void *arg, const void *ptr, size_t len,
                                      struct op_err *err);

/* How a request is signed for AWS (Signature Version 4): by libcurl, when it is sent. */
struct op_http_signer {
    const char *scope; /* "aws:amz:REGION:SERVICE", as CURLOPT_AWS_SIGV4 takes it */
    const char *key;   /* the id of the access key */
    const char *secret;
};

struct op_http_request {
    const char *method; /* "GET", "POST", "DELETE" */
    const char *url;
    const struct op_http_header *headers;
    size_t header_count;
    /* body: either memory ... */
    struct op_str body;
    /* ... or a callback with a known length (body_len > 0) */
    op_http_body_fn body_fn;
    void *body_arg;
    int64_t body_len;
    op_http_gate_fn gate; /* NULL: plain exchange */
    void *gate_arg;
    op_http_sink_fn sink; /* NULL: the body goes to reply->body */
    void *sink_arg;
    int64_t timeout_ms; /* whole exchange; 0 = 15 min */
    /* NULL: not signed. A signed request carries no secret, so it may also go over http:// to a
     * private network, where stores are run in containers. Its header X-Amz-Content-Sha256 is the
     * caller's: libcurl 7.88 does not see the body and would sign an empty one. */
    const struct op_http_signer *sign;
};

struct op_http_reply {
    int status;             /* 0: none arrived */
    bool released;          /* gated: the last byte was handed to the kernel */
    bool gate_passed;       /* gated: the gate callback returned OP_OK */
    struct op_buf body;     /* non-200 replies always land here, also when a sink is set */
    struct op_buf headers;  /* raw header lines of the final reply, CRLF separated */
    int64_t content_length; /* -1: not told */
};

void op_http_reply_init(struct op_http_reply *reply);
void op_http_reply_release(struct op_http_reply *reply);
/* Value of a header (case-insensitive, first one), trimmed; ptr NULL when absent. */
struct op_str op_http_header_get(const struct op_http_reply *reply, const char *name);
/* Retry-After as milliseconds: seconds (fractions allowed) or an HTTP date relative to the reply's
 * Date header (now_ms without one). -1 when absent, negative or unreadable. Not clamped. */
int64_t op_http_retry_after_ms(const struct op_http_reply *reply, int64_t now_ms);
/* The Date header in ms; -1 when absent, unreadable or before 1970. */
int64_t op_http_date_ms(const struct op_http_reply *reply);

struct op_http;
struct op_http_ops {
    const char *name;
    enum op_rc (*perform)(struct op_http *http, const struct op_http_request *request,
                          struct op_http_reply *reply, struct op_err *err);
    void (*close)(struct op_http *http);
};
struct op_http {
    const struct op_http_ops *ops;
};

/* The libcurl client. Loopback http:// is allowed, any other http:// refused; TLS is verified,
 * against the authorities in the file OFFPEAK_CA_FILE names, if it is set, and no others; no proxy
 * unless OFFPEAK_PROXY is set; the resolved address is checked (link-local, multicast and
 * 0.0.0.0 are refused). stop: polled during transfers; true aborts a plain exchange with OP_STOPPED
 * (a gated exchange past its gate is always allowed to end). */
OP_MUST_CHECK enum op_rc op_http_curl_open(struct op_env *env, bool (*stop)(void *),
                                           void *stop_arg, struct op_http **ret,
                                           struct op_err *err);
OP_MUST_CHECK enum op_rc op_http_perform(struct op_http *http,
                                         const struct op_http_request *request,
                                         struct op_http_reply *reply, struct op_err *err);
/* Whether a request may be performed at all: its method, headers and body. */
OP_MUST_CHECK enum op_rc op_http_check(const struct op_http_request *request,
                                       struct op_err *err);
void op_http_close(struct op_http *http);
void op_http_closep(struct op_http **http);

#endif
