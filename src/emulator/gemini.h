/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_GEMINI_H
#define OP_EMULATOR_GEMINI_H

/*
 * Model:     what the files of the Gemini API share: gemini.c has the routes and errors,
 *            gemini_files.c uploads and files, gemini_batch.c the operation of a batch,
 *            gemini_create.c the create call, gemini_prompt.c what a request asks and what is wrong
 *            with it, gemini_answer.c the answer. Names are read in camelCase and in snake_case.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/json_out.h"
#include "emulator/api.h"
#include "emulator/files.h"
#include "emulator/talk.h"

#define OP_EMU_GEMINI_INLINE_MAX ((size_t)20 * 1024 * 1024)        /* a create call */
#define OP_EMU_GEMINI_FILE_MAX   ((int64_t)2 * 1000 * 1000 * 1000) /* a file */
#define OP_EMU_GEMINI_OPEN_MAX   100                               /* batches at once */

/* Numbers of google.rpc.Code. */
enum op_emu_gemini_code {
    OP_EMU_GEMINI_CANCELLED = 1,
    OP_EMU_GEMINI_INVALID = 3,
    OP_EMU_GEMINI_NOT_FOUND = 5,
    OP_EMU_GEMINI_DENIED = 7,
    OP_EMU_GEMINI_EXHAUSTED = 8,
    OP_EMU_GEMINI_INTERNAL = 13,
    OP_EMU_GEMINI_UNAVAILABLE = 14,
};

/* message NULL: nothing is wrong. */
struct op_emu_gemini_problem {
    int status; /* HTTP */
    int code;
    const char *message;
};

/* One request being answered, in a batch or not. */
struct op_emu_gemini_turn {
    struct op_emulator *emulator;
    struct op_arena *arena;
    struct op_json request;
    struct op_str model; /* without "models/" */
    bool embeds;
    int64_t id_a, id_b;
    struct op_emu_talk talk;
    struct op_emu_gemini_problem problem; /* out */
};
void op_emu_gemini_turn_init(struct op_emu_gemini_turn *turn, struct op_emulator *emulator,
                             struct op_arena *arena);
void op_emu_gemini_turn_release(struct op_emu_gemini_turn *turn);
/* Appends the response, or sets problem and appends nothing. */
void op_emu_gemini_answer(struct op_emu_gemini_turn *turn, struct op_buf *out,
                          bool *ret_executed);

/* The member of that camelCase name, or of the same in snake_case. */
struct op_json op_emu_gemini_get(struct op_json object, const char *name);
struct op_emu_gemini_problem op_emu_gemini_check(struct op_json request, bool embeds,
                                                 struct op_arena *arena);
void op_emu_gemini_prompt(struct op_emu_gemini_turn *turn);
bool op_emu_gemini_model_exists(struct op_str model);

void op_emu_gemini_error(struct op_emu_call *call, int status, const char *type,
                         const char *message);
void op_emu_gemini_no_model(struct op_emu_call *call, struct op_str model, const char *what);
void op_emu_gemini_disk_failed(struct op_emu_call *call, const struct op_err *err);
/* "2025-12-10T18:27:01.407650525Z"; salt makes the last digits. */
void op_emu_gemini_time(struct op_json_out *out, const char *name, int64_t us, int64_t salt);
/* pageSize from the query, or -1 after answering with the error. */
int64_t op_emu_gemini_page_size(struct op_emu_call *call, int64_t standard, int64_t most);
void op_emu_gemini_reply_empty(struct op_emu_call *call);

void op_emu_gemini_start(struct op_emu_call *call);
void op_emu_gemini_chunk_begin(struct op_emu_call *call);
void op_emu_gemini_chunk_add(struct op_emu_call *call, const char *ptr, size_t len);
void op_emu_gemini_chunk_release(struct op_emu_call *call);
void op_emu_gemini_chunk(struct op_emu_call *call);
void op_emu_gemini_list_files(struct op_emu_call *call);
void op_emu_gemini_get_file(struct op_emu_call *call);
void op_emu_gemini_delete_file(struct op_emu_call *call);
void op_emu_gemini_download(struct op_emu_call *call);
/* A file by its "files/ID"; false when there is none. */
bool op_emu_gemini_find_file(struct op_emu_call *call, struct op_str name,
                             struct op_emu_file *ret);
void op_emu_gemini_no_file(struct op_emu_call *call, struct op_str name);

void op_emu_gemini_create(struct op_emu_call *call);
void op_emu_gemini_create_embeddings(struct op_emu_call *call);
void op_emu_gemini_get_batch(struct op_emu_call *call);
void op_emu_gemini_list_batches(struct op_emu_call *call);
void op_emu_gemini_cancel_batch(struct op_emu_call *call);
void op_emu_gemini_delete_batch(struct op_emu_call *call);
void op_emu_gemini_reply_batch(struct op_emu_call *call, const struct op_emu_batch *batch);
/* A batch that was canceled before it began has no results; neither has one that failed. */
bool op_emu_gemini_has_results(const struct op_emu_batch *batch);

void op_emu_gemini_generate(struct op_emu_call *call);
void op_emu_gemini_embed(struct op_emu_call *call);
void op_emu_gemini_embed_many(struct op_emu_call *call);
void op_emu_gemini_count(struct op_emu_call *call);
struct op_str op_emu_gemini_custom_id(struct op_json request);
void op_emu_gemini_line(struct op_emu_line *line);

#endif
