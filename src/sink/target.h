/* SPDX-License-Identifier: MIT */
#ifndef OP_SINK_TARGET_H
#define OP_SINK_TARGET_H

/*
 * Model:     a file of the user replaced as a whole: written under a temporary name beside it
 *            (".NAME.offpeak-tmp"), synced, renamed over it, the directory synced. At every instant
 *            the target is the old file or the new one. A leftover of a killed process is removed.
 * Ownership: the struct is the caller's; release gives up an unfinished file and frees the block.
 *            One struct may write many targets in turn.
 * Errors:    messages name the file. A failed sync is FATAL and never tried again.
 * Threads:   one thread at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"

struct op_target {
    struct op_env *env;
    char *path, *dir, *temp; /* NULL between targets */
    int fd;                  /* -1: closed */
    char *block;
    size_t used;
    int64_t total; /* bytes added */
    int64_t begun; /* private: up to here it is being written out */
    char last;     /* the last byte added; 0 at the beginning */
};

void op_target_init(struct op_target *t, struct op_env *env);
void op_target_release(struct op_target *t);
/* Makes the folders of path and opens the temporary file. */
OP_MUST_CHECK enum op_rc op_target_begin(struct op_target *t, const char *path,
                                         struct op_err *err);
OP_MUST_CHECK enum op_rc op_target_add(struct op_target *t, const void *ptr, size_t len,
                                       struct op_err *err);
/* Writes out what is in memory, so that the temporary file (t->temp) can be read. */
OP_MUST_CHECK enum op_rc op_target_flush(struct op_target *t, struct op_err *err);
/* The new content takes the target's name, durably. */
OP_MUST_CHECK enum op_rc op_target_commit(struct op_target *t, struct op_err *err);
/* Gives up the file begun, if any; the target stays as it was. */
void op_target_abort(struct op_target *t);

#endif
