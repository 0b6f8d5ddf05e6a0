/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_RESUMABLE_H
#define OP_EMULATOR_RESUMABLE_H

/*
 * Model:     uploads that come in several requests: each continues at an offset; what overlaps with
 *            what is there is skipped. In memory: a restart forgets those that are not finished.
 * Ownership: a resumable belongs to the set; take lends it to one request, give ends that.
 * Threads:   any.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "emulator/files.h"

struct op_emu_resumable {
    char id[OP_EMU_ID_MAX];
    struct op_emu_receiving receiving;
    struct op_emu_file file; /* once it is finished */
    int64_t announced;       /* bytes; -1: not said */
    bool finished;
    bool lent;
    int64_t skip; /* bytes of this request that are there already */
    char *name, *mime;
};

struct op_emu_resumables;
struct op_emu_resumables *op_emu_resumables_new(struct op_emu_files *files);
void op_emu_resumables_free(struct op_emu_resumables *set);

/* A new upload under id, with copies of name and mime. */
OP_MUST_CHECK enum op_rc op_emu_resumable_begin(struct op_emu_resumables *set, const char *id,
                                                struct op_str name, struct op_str mime,
                                                int64_t announced, struct op_err *err);
/* NULL when there is none, or another request has it. */
struct op_emu_resumable *op_emu_resumable_take(struct op_emu_resumables *set, struct op_str id);
void op_emu_resumable_give(struct op_emu_resumables *set, struct op_emu_resumable *resumable);

#endif
