/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_EMBED_H
#define OP_EMULATOR_EMBED_H

/*
 * Model:     vectors made from a text: the same text gives the same vector, of a length near 1.
 * Threads:   pure.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

#define OP_EMU_DIMENSIONS_MAX 4096

/* Appends a JSON list of numbers, or a string of the little-endian floats in base64. */
void op_emu_embed(struct op_buf *out, struct op_str text, int64_t dimensions, bool base64);

void op_emu_base64(struct op_buf *out, const void *ptr, size_t len);

#endif
