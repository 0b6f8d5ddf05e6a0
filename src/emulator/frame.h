/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_FRAME_H
#define OP_EMULATOR_FRAME_H

/*
 * Model:     cuts the elements of one array member out of a JSON object that arrives in pieces, so
 *            that a body of hundreds of megabytes is read without holding it. The rest of the
 *            object, with a 0 in the place of each element, is the skeleton: parsing it at the end
 *            checks what lies outside of the elements; whoever takes an element checks that one.
 * Ownership: the struct is the caller's.
 * Threads:   one thread at a time.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

/* Gets each element: its text, on one line where it is JSON, padded as op_buf pads; valid during
 * the call. */
typedef void (*op_emu_element_fn)(void *arg, struct op_str element);

struct op_emu_frame {
    const char *member; /* name of the array */
    op_emu_element_fn fn;
    void *arg;
    struct op_buf skeleton; /* the caller reads it at the end */
    struct op_buf element;
    size_t count; /* elements so far */
    int depth;    /* of open brackets */
    bool in_string, escaped;
    bool inside;    /* within the array */
    bool has_bytes; /* an element has begun */
};

void op_emu_frame_init(struct op_emu_frame *frame, const char *member, op_emu_element_fn fn,
                       void *arg);
void op_emu_frame_release(struct op_emu_frame *frame);
void op_emu_frame_add(struct op_emu_frame *frame, const char *ptr, size_t len);
/* False when an element or the skeleton outgrew its ceiling. */
bool op_emu_frame_fits(const struct op_emu_frame *frame);

#endif
