/* SPDX-License-Identifier: MIT */
#ifndef OP_LEDGER_SPOOL_DIR_H
#define OP_LEDGER_SPOOL_DIR_H

/*
 * Model:     what spool.c, append.c and manifest.c share; private to the ledger layer.
 * Threads:   one thread at a time.
 */

#include <stdbool.h>
#include <stdint.h>

#include "ledger/spool.h"

struct op_spool {
    struct op_env *env;
    char *state_dir;
    char *root; /* state_dir/spool */
    bool writable;
};

/* The path of a relative name, as an op_mem block; OP_INVAL when it leads out of the spool. */
OP_MUST_CHECK enum op_rc op_spool_resolve(const struct op_spool *spool, const char *name,
                                          char **ret, struct op_err *err);
/* Sets err from what an env call returned (< 0). */
OP_MUST_CHECK enum op_rc op_spool_fail(const struct op_spool *spool, int64_t negative,
                                       const char *verb, const char *path, struct op_err *err);
/* When err is about a full disk: makes it OP_IO/RETRY and says where, and what is needed. */
void op_spool_explain_full(const struct op_spool *spool, int64_t needed, struct op_err *err);

#endif
