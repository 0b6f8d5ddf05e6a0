/* SPDX-License-Identifier: MIT */
#ifndef OP_LEDGER_BLACKBOX_H
#define OP_LEDGER_BLACKBOX_H

/*
 * Model:     what is left for the worst moment: a batch is bought, and the disk has no room to write
 *            down its name (reference/reliability.md 3.10).
 *                STATE/ballast    a file of nothing, allocated while there is room and removed when
 *                                 there is none, so that the ledger can commit
 *                STATE/blackbox   1 MiB of slots, all of them written beforehand: writing into one
 *                                 takes no block. A slot is 512 bytes, a disk's sector: a JSON
 *                                 object, blanks, and a checksum; the oldest is overwritten
 *            The black box also keeps the doubt of a process that ended because a flush failed.
 *            Both are made before the first send that costs money, and no state folder has them
 *            before.
 * Errors:    a slot that is torn, empty or another ledger's says nothing.
 * Threads:   the one that holds the writer lock.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"

#define OP_BALLAST_BYTES  (64LL * 1024 * 1024)
#define OP_BLACKBOX_BYTES (1024 * 1024)
#define OP_BLACKBOX_SLOT  512
/* The ballast is made only where so many times its size is free. */
#define OP_BALLAST_ROOM 16

/* Makes what is missing of the two. ballast_bytes 0: no ballast. A disk that has no room for them,
 * or cannot allocate, is no error: they are an additional safety. */
OP_MUST_CHECK enum op_rc op_blackbox_prepare(struct op_env *env, const char *dir,
                                             int64_t ballast_bytes, struct op_err *err);
/* True when there was a ballast and its room is free now. */
bool op_ballast_free(struct op_env *env, const char *dir);

struct op_blackbox_entry {
    int64_t batch_id;
    const char *nonce;
    const char *provider_id;
    int64_t created_ms; /* as the provider says; -1 unknown */
};
/* Durable when it returns OP_OK. */
OP_MUST_CHECK enum op_rc op_blackbox_write(struct op_env *env, const char *dir,
                                           const char *uuid,
                                           const struct op_blackbox_entry *entry,
                                           struct op_err *err);
/* Every readable slot of this ledger, in no order; strings are borrowed. A missing file is an empty
 * one. */
typedef enum op_rc (*op_blackbox_fn)(void *arg, const struct op_blackbox_entry *entry,
                                     struct op_err *err);
OP_MUST_CHECK enum op_rc op_blackbox_walk(struct op_env *env, const char *dir, const char *uuid,
                                          op_blackbox_fn fn, void *arg, struct op_err *err);

/* What the disk holds is not known, because of why; why "": it has been proved. uuid may be "": the
 * ledger was not open yet. */
OP_MUST_CHECK enum op_rc op_blackbox_doubt(struct op_env *env, const char *dir,
                                           const char *uuid, const char *why,
                                           struct op_err *err);
/* The newest doubt of this ledger that was not proved since, as an op_mem block; NULL: none. */
OP_MUST_CHECK enum op_rc op_blackbox_doubted(struct op_env *env, const char *dir,
                                             const char *uuid, char **ret, struct op_err *err);

#endif
