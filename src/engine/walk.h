/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_WALK_H
#define OP_ENGINE_WALK_H

/*
 * Model:     one pass over a job's records, composing every request: what planning and estimating
 *            have in common. Reading, rendering and hashing run on a thread of their own, some
 *            hundred records ahead of the visitor.
 * Ownership: what a visitor is given lives until it returns.
 * Errors:    a visitor's error ends the walk.
 * Threads:   visitors are called on the caller's thread; until the walk returns, nobody else may use
 *            the work's plan for composing.
 */

#include "engine/work.h"

/* A record that is to be asked. */
struct op_walk_record {
    struct op_str key;
    struct op_str data; /* its columns as JSON, when the plan keeps them; ptr NULL otherwise */
    const char *place;  /* "tickets.csv:17" */
};

/* One of its requests. */
struct op_walk_request {
    int name;
    struct op_str params;
    uint8_t hash[OP_HASH_LEN]; /* equal for requests that are bought once */
    int64_t tokens;            /* of the prompt, estimated */
};

struct op_walk {
    struct op_work *work;
    void *arg;
    enum op_rc (*record)(void *arg, const struct op_walk_record *record, struct op_err *err);
    enum op_rc (*request)(void *arg, const struct op_walk_request *request, struct op_err *err);
    op_skipped_fn skipped; /* called on the walk's thread */
    int64_t done, bad;     /* filled: left out as done, as malformed */
};

OP_MUST_CHECK enum op_rc op_walk(struct op_walk *walk, struct op_err *err);

/* Equal for requests that are bought once: provider, server and every byte of the params, and
 * model and endpoint where a batch has one of each, since its params need not name them. */
struct op_sha256;
void op_request_hash(const struct op_lane *lane, struct op_sha256 *sha, const char *model,
                     const char *endpoint, struct op_str params, uint8_t ret[OP_HASH_LEN]);

#endif
