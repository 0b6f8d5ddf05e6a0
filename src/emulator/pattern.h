/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_PATTERN_H
#define OP_EMULATOR_PATTERN_H

/*
 * Model:     makes a string that a regular expression of JSON Schema matches: literals, classes,
 *            . \d \w \s, groups, alternatives, quantifiers and anchors. No assertions, no back
 *            references.
 * Threads:   pure.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/* Appends a match; false (out then holds a part) when the pattern uses something else. */
bool op_emu_pattern_make(struct op_str pattern, uint64_t *random, struct op_buf *out);

#endif
