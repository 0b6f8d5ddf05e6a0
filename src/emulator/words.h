/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_WORDS_H
#define OP_EMULATOR_WORDS_H

/*
 * Model:     what an answer is made of: the words of a prompt and the ids that occur in it, as
 *            id="12", "issue_id": 12, comment-id=c7, [12] or #12. Markup between < and > gives ids
 *            but no words.
 * Ownership: slices of the prompt; the lists live in the arena.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

struct op_emu_id {
    struct op_str name;  /* "issue_id"; empty for [12] and #12 */
    struct op_str value; /* "12", "c7" */
    int64_t number;
    bool is_number;
};

struct op_emu_words {
    struct op_str *words;
    size_t word_count;
    struct op_emu_id *ids;
    size_t id_count;
};

/* Only the first OP_EMU_WORDS_MAX of each are collected. */
#define OP_EMU_WORDS_MAX 8192
void op_emu_words_of(struct op_arena *arena, struct op_str prompt, struct op_emu_words *ret);

/* A property of that name asks for ids: id, ids, citations, evidence, ..._id, ...Ids. */
bool op_emu_names_ids(struct op_str name);

/* The ids a property of that name means, without repetition: those found under the same name or
 * its singular when there are any, else all. Returns how many of room were filled. */
size_t op_emu_ids_for(const struct op_emu_words *words, struct op_str name, bool numbers,
                      const struct op_emu_id **ret, size_t room);

/* splitmix64, the one generator of everything that looks random here. */
uint64_t op_emu_random(uint64_t *state);
/* 0 .. below-1; 0 when below is 0. */
uint64_t op_emu_random_below(uint64_t *state, uint64_t below);

#endif
