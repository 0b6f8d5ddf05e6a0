/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_ANTHROPIC_H
#define OP_EMULATOR_ANTHROPIC_H

/*
 * Model:     what the files of the Anthropic API share: anthropic.c has the routes, errors and the
 *            batch object, anthropic_create.c the create call, anthropic_check.c what is wrong with
 *            a Messages request, anthropic_message.c the answer to one, anthropic_models.c the
 *            models.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/json.h"
#include "emulator/api.h"

#define OP_ANTHROPIC_BATCH_MAX    ((size_t)256 * 1000 * 1000)
#define OP_ANTHROPIC_REQUESTS_MAX 100000
#define OP_ANTHROPIC_ID_MAX       64

/* Where a Messages request came from, which decides what it may contain. */
struct op_anthropic_place {
    bool in_batch;
    bool counting;    /* count_tokens: no max_tokens */
    bool new_version; /* anthropic-version 2026-10-21 */
    bool long_output; /* the beta that raises max_tokens in batches */
};

/* What is wrong with a request; type NULL: nothing. */
struct op_anthropic_problem {
    const char *type;
    const char *message;
};

struct op_anthropic_model {
    const char *id;
    const char *alias; /* NULL: none */
    const char *name;
    const char *line;
    const char *created;
    const char *retires; /* NULL: active */
    int64_t max_tokens;
    bool fixed_sampling; /* temperature, top_p, top_k only at their defaults */
    bool no_prefill;
    bool no_enabled; /* thinking.type=enabled */
    bool no_adaptive;
    bool no_disabled;
    bool no_forced_tool;
    bool long_output;
};

/* Known by id or alias; NULL otherwise. */
const struct op_anthropic_model *op_anthropic_model(struct op_str id);
void op_anthropic_list_models(struct op_emu_call *call);
void op_anthropic_get_model(struct op_emu_call *call);

struct op_anthropic_problem op_anthropic_check(struct op_json params,
                                               const struct op_anthropic_place *place,
                                               struct op_arena *arena);

/* What a request asks, taken apart. */
struct op_anthropic_prompt {
    struct op_buf system, user; /* texts */
    int64_t bytes;              /* of everything that counts as input */
    int64_t prefix_bytes;       /* up to the last cache_control; 0: none */
    uint64_t prefix_hash;
    bool prefix_1h;
};
void op_anthropic_prompt_init(struct op_anthropic_prompt *prompt);
void op_anthropic_prompt_release(struct op_anthropic_prompt *prompt);
void op_anthropic_prompt_read(struct op_anthropic_prompt *prompt, struct op_json params);
int64_t op_anthropic_tokens(int64_t bytes);

/* One Messages request being answered, in a batch or not. */
struct op_anthropic_turn {
    struct op_emulator *emulator;
    struct op_arena *arena;
    struct op_json params;
    struct op_str custom_id; /* ptr NULL: realtime */
    const struct op_emu_fired *fired;
    struct op_anthropic_place place;
    int64_t id_a, id_b; /* numbers the message id is made of */

    /* Out: */
    struct op_anthropic_problem problem;
    int problem_status; /* HTTP status a fault rule gave, 0: by type */
    struct op_emu_usage usage;
    struct op_str model;
    char answer[OP_SHA256_HEX];
};
/* Appends the message object to out, or sets problem and appends nothing. */
void op_anthropic_answer(struct op_anthropic_turn *turn, struct op_buf *out);
void op_anthropic_line(struct op_emu_line *line);
void op_anthropic_hash(struct op_json params, char ret[OP_SHA256_HEX]);

void op_anthropic_post_message(struct op_emu_call *call);
void op_anthropic_count_tokens(struct op_emu_call *call);

void op_anthropic_create_begin(struct op_emu_call *call);
void op_anthropic_create_add(struct op_emu_call *call, const char *ptr, size_t len);
void op_anthropic_create(struct op_emu_call *call);
void op_anthropic_create_release(struct op_emu_call *call);

/* The place of a request by the headers of its call; what a batch remembers of it as its meta, and
 * the place that means. */
struct op_anthropic_place op_anthropic_place_of(const struct op_emu_call *call);
const char *op_anthropic_meta(struct op_emu_call *call);
struct op_anthropic_place op_anthropic_place_in(const char *meta);
void op_anthropic_error(struct op_emu_call *call, int status, const char *type,
                        const char *message);
int op_anthropic_status_of(const char *type);
/* Answers with a batch as it looks now. */
void op_anthropic_reply_batch(struct op_emu_call *call, const struct op_emu_batch *batch);
/* limit from the query, 1..1000, or -1 after answering with the error. */
int64_t op_anthropic_limit(struct op_emu_call *call);

#endif
