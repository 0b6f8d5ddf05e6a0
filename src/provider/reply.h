/* SPDX-License-Identifier: MIT */
#ifndef OP_PROVIDER_REPLY_H
#define OP_PROVIDER_REPLY_H

/*
 * Model:     what the decoders of several drivers have in common: the send protocol's table of
 *            statuses, outcomes put into an error, and numbers, times and ids of foreign JSON.
 *            Included by drivers only.
 * Ownership: nothing here keeps state.
 * Errors:    an outcome has one class and one disposition; the transport's text stays in front.
 * Threads:   pure functions.
 */

#include <stdbool.h>

#include "base/err.h"
#include "base/json.h"
#include "base/json_out.h"
#include "net/http.h"
#include "provider/provider.h"

bool op_reply_good(const struct op_http_reply *reply); /* 2xx */

/* The statuses that say "refused", when the API itself says them. Anything else may come from a
 * proxy in front of an API that has already accepted. */
bool op_status_refuses(int status);

/* What to do about a status of the API that has no further explanation: PAUSE for keys and credit,
 * SPLIT for 413, RETRY or RETRY_AFTER for throttling and the server's own trouble, else REJECT. */
enum op_disp op_reply_disposition(const struct op_http_reply *reply, int64_t *ret_retry_after);

/* Replaces what the transport may have said: an outcome has one disposition, and this is it. */
void op_reply_outcome(struct op_err *err, enum op_rc rc, enum op_disp disp, int status,
                      const char *text);
/* A success whose body cannot be used: nothing is known, ask again. who: "Gemini"; what: "a batch".
 * Returns OP_REMOTE. */
enum op_rc op_reply_unusable(const struct op_http_reply *reply, const char *who,
                             const char *what, struct op_err *err);
/* A create of which nothing is known. Returns OP_CREATE_AMBIGUOUS. */
enum op_create_class op_reply_ambiguous(const struct op_http_reply *reply, const char *text,
                                        struct op_err *err);

/* The body as a value of a line: as it came, or, where it has line ends, written anew. */
void op_reply_write_body(struct op_json_out *out, const struct op_http_reply *reply,
                         struct op_json body);

/* Parses the body; no value when it is no JSON. */
struct op_json op_reply_json(const struct op_http_reply *reply, struct op_json_parser *parser);

/* Copies a text that must not be cut, because a cut id is another one: "" when it is too long. */
void op_copy_whole(char *ret, size_t size, struct op_str s);
/* A number, or a decimal text as 64-bit numbers are written in JSON; fallback for anything else. */
int64_t op_json_count64(struct op_json v, int64_t fallback);
/* A count of tokens: as op_json_count64, 0 when it is absent or negative. */
int64_t op_json_tokens(struct op_json object, const char *name);
/* RFC 3339 text, or seconds since 1970 as a number, in milliseconds; -1 for anything else. */
int64_t op_json_time(struct op_json v);

#endif
