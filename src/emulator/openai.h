/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_OPENAI_H
#define OP_EMULATOR_OPENAI_H

/*
 * Model:     what the files of the OpenAI API share: openai.c has the routes and errors,
 *            openai_files.c the files, openai_batch.c the batch object, openai_create.c the create
 *            call and the checks of a batch file, openai_check.c what is wrong with a body,
 *            openai_prompt.c what it asks, openai_answer.c the answer. Mistral's bodies have the
 *            same form: mistral.c uses the last three.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/json_out.h"
#include "emulator/api.h"
#include "emulator/files.h"
#include "emulator/talk.h"

/* 512 MB a file, 200 MiB and 50,000 requests a batch: the API's limits. */
#define OP_EMU_OPENAI_FILE_MAX     ((int64_t)512 * 1024 * 1024)
#define OP_EMU_OPENAI_BATCH_MAX    209715200
#define OP_EMU_OPENAI_REQUESTS_MAX 50000

enum op_emu_openai_kind {
    OP_EMU_OPENAI_RESPONSES,
    OP_EMU_OPENAI_CHAT,
    OP_EMU_OPENAI_EMBEDDINGS,
    OP_EMU_OPENAI_NO_KIND,
};
/* "/v1/responses" and so on. */
enum op_emu_openai_kind op_emu_openai_kind_of(struct op_str url);

/* message NULL: nothing is wrong. code and param may be NULL. */
struct op_emu_openai_problem {
    int status;
    const char *type, *code, *param, *message;
};

/* One body being answered, in a batch or not. */
struct op_emu_openai_turn {
    struct op_emulator *emulator;
    struct op_arena *arena;
    struct op_json body;
    enum op_emu_openai_kind kind;
    bool mistral;
    bool in_batch;
    int64_t id_a, id_b; /* numbers the ids are made of */
    struct op_emu_talk talk;

    struct op_str
        model; /* of the whole batch, where its lines do not say it; out: the one used */

    /* Out: */
    struct op_emu_openai_problem problem;
};
void op_emu_openai_turn_init(struct op_emu_openai_turn *turn, struct op_emulator *emulator,
                             struct op_arena *arena);
void op_emu_openai_turn_release(struct op_emu_openai_turn *turn);
/* Appends the answer's body, or sets problem and appends nothing. executed: the body was right. */
void op_emu_openai_answer(struct op_emu_openai_turn *turn, struct op_buf *out,
                          bool *ret_executed);

struct op_emu_openai_problem op_emu_openai_check(const struct op_emu_openai_turn *turn);
/* Reads prompt, schema and limits of a body into talk. */
void op_emu_openai_prompt(struct op_emu_talk *talk, struct op_json body,
                          enum op_emu_openai_kind kind);

void op_emu_openai_write_problem(struct op_json_out *out,
                                 const struct op_emu_openai_problem *problem);
void op_emu_openai_problem(struct op_emu_call *call,
                           const struct op_emu_openai_problem *problem);
void op_emu_openai_error(struct op_emu_call *call, int status, const char *type,
                         const char *message);
void op_emu_openai_refuse(struct op_emu_call *call, int status, const char *param,
                          const char *message);
void op_emu_openai_disk_failed(struct op_emu_call *call, const struct op_err *err);
/* A limit of a list from the query, or -1 after answering with the error. */
int64_t op_emu_openai_limit(struct op_emu_call *call, int64_t standard, int64_t most);
/* Answers a realtime call. */
void op_emu_openai_realtime(struct op_emu_call *call, enum op_emu_openai_kind kind,
                            bool mistral);

/* An upload: the multipart form and its file, streamed to disk. */
struct op_emu_openai_upload;
void op_emu_openai_upload_begin(struct op_emu_call *call);
void op_emu_openai_upload_add(struct op_emu_call *call, const char *ptr, size_t len);
void op_emu_openai_upload_release(struct op_emu_call *call);
/* The file of the upload, kept under id; false after answering with what is wrong. */
bool op_emu_openai_upload_keep(struct op_emu_call *call, const char *id,
                               struct op_emu_file *ret);
void op_emu_openai_upload(struct op_emu_call *call);
void op_emu_openai_list_files(struct op_emu_call *call);
void op_emu_openai_get_file(struct op_emu_call *call);
void op_emu_openai_delete_file(struct op_emu_call *call);
void op_emu_openai_get_content(struct op_emu_call *call);
bool op_emu_openai_find_file(struct op_emu_call *call, struct op_emu_file *ret);
/* The bytes of a file as the answer. */
void op_emu_openai_send_content(struct op_emu_call *call, const struct op_emu_file *file);

/* together.c: the uploads of Together, at the same paths. */
#define OP_EMU_TOGETHER_RAW "not preprocessed" /* purpose of bytes that are no file yet */
bool op_emu_together_is_form(struct op_emu_call *call);
bool op_emu_together_is_place(const struct op_emu_call *call);
void op_emu_together_begin(struct op_emu_call *call);
void op_emu_together_put_begin(struct op_emu_call *call);
void op_emu_together_put_add(struct op_emu_call *call, const char *ptr, size_t len);
void op_emu_together_put_release(struct op_emu_call *call);
void op_emu_together_put(struct op_emu_call *call);
void op_emu_together_preprocess(struct op_emu_call *call);

void op_emu_openai_create(struct op_emu_call *call);
void op_emu_openai_get_batch(struct op_emu_call *call);
void op_emu_openai_list_batches(struct op_emu_call *call);
void op_emu_openai_cancel_batch(struct op_emu_call *call);
void op_emu_openai_reply_batch(struct op_emu_call *call, const struct op_emu_batch *batch);
void op_emu_openai_line(struct op_emu_line *line);
enum op_rc op_emu_openai_place(struct op_emulator *emulator, const struct op_emu_batch *batch,
                               const struct op_emu_output *output, struct op_err *err);
/* Ids of the two files of a batch. */
void op_emu_openai_output_id(const struct op_emulator *emulator,
                             const struct op_emu_batch *batch, bool errors,
                             char ret[OP_EMU_ID_MAX]);

#endif
