/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_ANSWERS_H
#define OP_EMULATOR_ANSWERS_H

/*
 * Model:     answers made from the prompt: text of its words, or an instance of a JSON Schema whose
 *            strings are its words and whose ids are the ids it contains. The same prompt, schema
 *            and seed give the same bytes.
 * Errors:    none: a schema that cannot be satisfied (or uses if/then/else, not, patternProperties)
 *            gives the nearest instance.
 * Threads:   pure.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"

/* How an answer is made wrong on request (invalid_answer in faults.h). */
enum op_emu_spoil {
    OP_EMU_SPOIL_NONE,
    OP_EMU_SPOIL_NOT_JSON,
    OP_EMU_SPOIL_FENCED,
    OP_EMU_SPOIL_PROSE,
    OP_EMU_SPOIL_WRONG_TYPE,
    OP_EMU_SPOIL_MISSING,
    OP_EMU_SPOIL_EXTRA,
    OP_EMU_SPOIL_EMPTY,
};
/* By its name in a fault rule; NULL and unknown names are NOT_JSON. */
enum op_emu_spoil op_emu_spoil_named(const char *how);

struct op_emu_ask {
    struct op_str prompt;
    struct op_json schema; /* no value: plain text */
    uint64_t seed;
    enum op_emu_spoil spoil;
};

void op_emu_answer(const struct op_emu_ask *ask, struct op_buf *out);

#endif
