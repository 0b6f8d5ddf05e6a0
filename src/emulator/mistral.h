/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_MISTRAL_H
#define OP_EMULATOR_MISTRAL_H

/*
 * Model:     what the files of the Mistral API share: mistral.c has the routes, errors and files,
 *            mistral_batch.c the jobs. Bodies and answers are openai.h's.
 */

#include "emulator/api.h"
#include "emulator/openai.h"

/* 8-4-4-4-12 hex digits made of the two numbers. */
void op_emu_mistral_uuid(const struct op_emulator *emulator, int64_t a, int64_t b,
                         char ret[OP_EMU_ID_MAX]);
void op_emu_mistral_error(struct op_emu_call *call, int status, const char *type,
                          const char *message);
/* page and page_size from the query; false after answering with the error. */
bool op_emu_mistral_page(struct op_emu_call *call, size_t *ret_page, size_t *ret_size);

void op_emu_mistral_create(struct op_emu_call *call);
void op_emu_mistral_get_job(struct op_emu_call *call);
void op_emu_mistral_list_jobs(struct op_emu_call *call);
void op_emu_mistral_cancel_job(struct op_emu_call *call);
void op_emu_mistral_delete_job(struct op_emu_call *call);
void op_emu_mistral_line(struct op_emu_line *line);
enum op_rc op_emu_mistral_place(struct op_emulator *emulator, const struct op_emu_batch *batch,
                                const struct op_emu_output *output, struct op_err *err);

#endif
