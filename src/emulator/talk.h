/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_TALK_H
#define OP_EMULATOR_TALK_H

/*
 * Model:     one request to a model and what is said to it, between the provider's reading of the
 *            request and its writing of the answer: the script, the schema, the fault rules, the
 *            limits, what it costs.
 * Ownership: init and release; slices belong to the caller.
 * Threads:   one thread at a time.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "emulator/bill.h"
#include "emulator/faults.h"
#include "emulator/http.h"

enum op_emu_stop { OP_EMU_STOP_END, OP_EMU_STOP_LENGTH, OP_EMU_STOP_WORD, OP_EMU_STOP_REFUSAL };

struct op_emu_talk {
    /* In: */
    struct op_emulator *emulator;
    const struct op_emu_fired *fired;
    struct op_str custom_id;    /* ptr NULL: realtime */
    struct op_buf system, user; /* texts */
    int64_t bytes;              /* of everything that counts as input */
    struct op_json schema;      /* no value: free text */
    struct op_json stops;       /* stop words: a string or a list */
    int64_t max_tokens;         /* 0: no limit */
    int64_t thinking;           /* tokens it thinks; 0: it does not */

    /* Out: */
    struct op_buf text;
    enum op_emu_stop stop;
    struct op_str stop_text; /* as scripted; ptr NULL: not */
    const char *error_type;  /* not NULL: no answer but this error */
    const char *error_message;
    int error_status; /* as a fault rule gave it; 0: by type */
    struct op_emu_usage usage;
    char answer[OP_SHA256_HEX];
};

void op_emu_talk_init(struct op_emu_talk *talk);
void op_emu_talk_release(struct op_emu_talk *talk);

/* Adds text to texts (one of system and user), and counts it. */
void op_emu_talk_add(struct op_emu_talk *talk, struct op_buf *texts, struct op_str text);
/* Counts a value that is input and no text: tools, a schema. */
void op_emu_talk_count(struct op_emu_talk *talk, struct op_json value);
void op_emu_talk_run(struct op_emu_talk *talk);
/* A quarter of the bytes. */
int64_t op_emu_tokens(int64_t bytes);

/* SHA-256 of the value as canonical JSON. */
void op_emu_hash(struct op_json value, char ret[OP_SHA256_HEX]);

/* Bills a realtime request, both lines at once: what is accepted here is finished before it is
 * answered. False after answering with the error of a full disk. */
bool op_emu_talk_bill(struct op_emu_call *call, const struct op_emu_talk *talk,
                      struct op_json asked, struct op_str model);

#endif
