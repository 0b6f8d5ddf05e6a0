/* SPDX-License-Identifier: MIT */
#ifndef OP_LEDGER_MANIFEST_H
#define OP_LEDGER_MANIFEST_H

/*
 * Model:     reading spool/manifest.jsonl, the witness of what was about to be sent. Private to the
 *            ledger layer; appending is op_manifest_add in spool.h. Of each line only "ledger" (the
 *            uuid), "batch" (the id) and "nonce" are looked at; a line that is no such object (the
 *            torn end of a crash) says nothing.
 * Threads:   pure reading.
 */

#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "core/custom_id.h"

#define OP_MANIFEST_FILE "spool/manifest.jsonl"

struct op_witness {
    int64_t batch_id; /* the highest of this ledger; 0 none */
    char nonce[OP_NONCE_LEN + 1];
    int64_t foreign; /* lines of other ledgers */
    char foreign_uuid[37];
    int64_t highest; /* batch id of any ledger */
    int64_t size;    /* bytes read so far, from the start of the file */
};

/* Every batch of this ledger that the manifest announces and does not take back, in its order;
 * one may come more than once. A missing file is an empty one. */
enum op_manifest_word { OP_MANIFEST_ANNOUNCED, OP_MANIFEST_REALTIME, OP_MANIFEST_WITHDRAWN };
typedef enum op_rc (*op_manifest_fn)(void *arg, int64_t batch_id, const char *nonce,
                                     enum op_manifest_word word, struct op_err *err);
OP_MUST_CHECK enum op_rc op_manifest_walk(struct op_env *env, const char *dir, const char *uuid,
                                          op_manifest_fn fn, void *arg, struct op_err *err);

/* Reads from byte offset on. A missing file is no witness at all (all zero). */
OP_MUST_CHECK enum op_rc op_manifest_witness(struct op_env *env, const char *dir,
                                             const char *uuid, int64_t offset,
                                             struct op_witness *ret, struct op_err *err);

#endif
