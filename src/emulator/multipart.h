/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_MULTIPART_H
#define OP_EMULATOR_MULTIPART_H

/*
 * Model:     takes a multipart/form-data body apart while it arrives: a part that is a file goes to
 *            a callback piece by piece, any other is collected. Parts come in any order.
 * Ownership: the struct is the caller's; names and values live in the arena it is given.
 * Errors:    broken is set when the body is no such form.
 * Threads:   one thread at a time.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

#define OP_EMU_PARTS_MAX 16

struct op_emu_part {
    const char *name;
    const char *filename; /* NULL: a field */
    struct op_str value;  /* of a field */
};

typedef void (*op_emu_part_fn)(void *arg, const struct op_emu_part *part, const char *ptr,
                               size_t len);

struct op_emu_multipart {
    struct op_arena *arena;
    op_emu_part_fn on_file;
    void *arg;
    struct op_emu_part parts[OP_EMU_PARTS_MAX];
    size_t count;
    bool broken, complete;

    struct op_buf delimiter; /* CRLF, two dashes and the boundary */
    struct op_buf pending;   /* not yet understood */
    struct op_buf field;
    enum { OP_EMU_PART_DATA, OP_EMU_PART_AFTER, OP_EMU_PART_HEAD } state;
};

/* content_type of the request; false when it names no boundary. */
bool op_emu_multipart_init(struct op_emu_multipart *form, struct op_str content_type,
                           struct op_arena *arena, op_emu_part_fn on_file, void *arg);
void op_emu_multipart_release(struct op_emu_multipart *form);
void op_emu_multipart_add(struct op_emu_multipart *form, const char *ptr, size_t len);
/* The field of that name, ptr NULL without it. */
struct op_str op_emu_multipart_field(const struct op_emu_multipart *form, const char *name);

#endif
