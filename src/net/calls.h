/* SPDX-License-Identifier: MIT */
#ifndef OP_NET_CALLS_H
#define OP_NET_CALLS_H

/*
 * Model:     many HTTP exchanges under way at a time, each of which may buy something: submit starts
 *            one, collect moves all of them on and hands over those that have ended. A call is put on
 *            the wire at most once: libcurl's own silent re-send of a POST whose reused connection
 *            died is stopped by a one-shot PREREQ callback (reference/reliability.md 0.1), redirects
 *            are not followed, no Expect. Connections stay open from call to call, but none that was
 *            idle for some seconds is used again: the other side may be closing it.
 *            Nothing is sent inside submit; the first byte goes out in collect. So what must be
 *            durable before a call is made durable between the two.
 * Ownership: everything in a request is borrowed until its call was handed over; the reply belongs
 *            to the client and is valid inside the callback.
 * Errors:    an HTTP status is not an error. rc != 0 means no complete reply: OP_REMOTE with the
 *            CURLcode in err->native, OP_DISP_AMBIGUOUS when the body's last byte had been handed to
 *            the connection (reply->released), OP_DISP_RETRY when it provably had not.
 * Threads:   one thread per client. The vtable is the network seam: tests replace it.
 */

#include "net/http.h"

/* A single answer with everything around it: the longest answers are some megabytes. */
#define OP_CALL_REPLY_MAX (64 * 1024 * 1024)

struct op_calls;
/* A call has ended. tag is submit's. It may submit more. */
typedef void (*op_call_fn)(void *arg, void *tag, enum op_rc rc,
                           const struct op_http_reply *reply, const struct op_err *err);

struct op_calls_ops {
    const char *name;
    enum op_rc (*submit)(struct op_calls *calls, const struct op_http_request *request,
                         void *tag, struct op_err *err);
    enum op_rc (*collect)(struct op_calls *calls, int64_t wait_ms, op_call_fn fn, void *arg,
                          struct op_err *err);
    void (*close)(struct op_calls *calls);
};
struct op_calls {
    const struct op_calls_ops *ops;
    size_t under_way; /* submitted and not yet handed over */
};

/* The libcurl client; where requests may go is decided as in net/http.h. most: connections to
 * one server, so that a slow one holds up no other. */
OP_MUST_CHECK enum op_rc op_calls_curl_open(size_t most, struct op_calls **ret,
                                            struct op_err *err);
/* Starts a call: a plain request with its body in memory; no gate, no sink. On an error it never
 * ends, since it never began. */
OP_MUST_CHECK enum op_rc op_calls_submit(struct op_calls *calls,
                                         const struct op_http_request *request, void *tag,
                                         struct op_err *err);
/* Moves the calls on and hands over what has ended; waits at most so long when nothing has. Returns
 * early on a signal. */
OP_MUST_CHECK enum op_rc op_calls_collect(struct op_calls *calls, int64_t wait_ms,
                                          op_call_fn fn, void *arg, struct op_err *err);
/* Calls under way are cut off; their callbacks do not run. */
void op_calls_close(struct op_calls *calls);

#endif
