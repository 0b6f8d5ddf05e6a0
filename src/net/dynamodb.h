/* SPDX-License-Identifier: MIT */
#ifndef OP_NET_DYNAMODB_H
#define OP_NET_DYNAMODB_H

/*
 * Model:     Amazon DynamoDB's low-level API (JSON 1.0, version 2012-08-10), one call at a time.
 *            What may be repeated is repeated here: throttling, 5xx and broken connections, with
 *            growing pauses. So every call must be one that may be carried out twice.
 *            Where it is and who asks: net/aws.h; its own endpoint variables are DYNAMODB_ENDPOINT,
 *            AWS_ENDPOINT_URL_DYNAMODB and AWS_ENDPOINT_URL, the first that is set.
 * Ownership: the client owns its reply: a value is valid until the next call.
 * Errors:    OP_NOTFOUND: no such table. OP_CONFLICT: a condition was not met, or the table is there
 *            already. OP_INVAL: the request does not fit the table, keys that are refused (both
 *            FATAL: a person must act). OP_REMOTE with RETRY: it did not get better in time.
 * Threads:   one thread per client.
 */

#include "base/buf.h"
#include "base/env.h"
#include "base/json.h"
#include "base/sandbox.h"
#include "net/http.h"

struct op_dynamodb;

/* http: for tests, taken over also when this fails; NULL: libcurl. */
OP_MUST_CHECK enum op_rc op_dynamodb_open(struct op_env *env, struct op_http *http,
                                          struct op_dynamodb **ret, struct op_err *err);
void op_dynamodb_close(struct op_dynamodb *db);
void op_dynamodb_closep(struct op_dynamodb **db);

/* Allows what a client will need of this machine: the service's port, the shared files. */
void op_dynamodb_reach(const char *target, struct op_sandbox *box);

/* One operation ("Query") with its JSON body; table: for messages. */
OP_MUST_CHECK enum op_rc op_dynamodb_call(struct op_dynamodb *db, const char *operation,
                                          const char *table, const struct op_buf *body,
                                          struct op_json *ret, struct op_err *err);
/* The same, asked once: for what must not be carried out twice. OP_REMOTE: whether it was is not
 * known, unless the answer was a refusal. */
OP_MUST_CHECK enum op_rc op_dynamodb_call_once(struct op_dynamodb *db, const char *operation,
                                               const char *table, const struct op_buf *body,
                                               struct op_json *ret, struct op_err *err);
/* Waits before something is asked again that did not fail but was not done either; tries from 1.
 * false: it has been long enough. */
bool op_dynamodb_pause(struct op_dynamodb *db, int tries);

/* --- tables --- */

#define OP_DYNAMODB_NAME 256 /* a name in a table, with NUL: at most 255 bytes */

struct op_dynamodb_key {                                  /* of a table or an index */
    char hash[OP_DYNAMODB_NAME], range[OP_DYNAMODB_NAME]; /* range "": none */
    char hash_type, range_type;                           /* 'S', 'N' or 'B' */
};
/* The key of a table or (index not NULL) of one of its indexes. A table that is still being made is
 * waited for. *ret_local: the index, if it is one, can be read consistently. */
OP_MUST_CHECK enum op_rc op_dynamodb_describe(struct op_dynamodb *db, const char *table,
                                              const char *index, struct op_dynamodb_key *ret,
                                              bool *ret_local, struct op_err *err);

/* A table as inputs and outputs declare it: hash "report_id S"; range the same or NULL; indexes
 * NULL or a list like "ByReport(report_id S, timestamp S), ByModel(model S)". */
struct op_dynamodb_spec {
    const char *table, *hash, *range, *indexes;
    const char *place; /* for messages */
};
/* Makes it, paid by request, indexes with all attributes, and waits until it can be used. *ret_made
 * false: it was there. */
OP_MUST_CHECK enum op_rc op_dynamodb_create(struct op_dynamodb *db,
                                            const struct op_dynamodb_spec *spec, bool *ret_made,
                                            struct op_err *err);
/* Only looks whether it can be understood. */
OP_MUST_CHECK enum op_rc op_dynamodb_check(const struct op_dynamodb_spec *spec,
                                           struct op_err *err);

#endif
