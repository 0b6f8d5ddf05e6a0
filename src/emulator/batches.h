/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_BATCHES_H
#define OP_EMULATOR_BATCHES_H

/*
 * Model:     the life of a batch, the same for all providers: when it begins and ends, whether it
 *            can be seen, how a cancel changes that. What it is called is the provider's.
 * Threads:   any.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "emulator/api.h"
#include "emulator/http.h"
#include "emulator/store.h"

/* How a provider spends the time a batch takes. */
struct op_emu_timing {
    int64_t window_us;       /* then it expires */
    int64_t pending_part;    /* one part in so many before processing begins; 0: none */
    int64_t finalizing_part; /* and one after the last result */
};

/* Sets all times of a batch that is created now, as its quirks want it. */
void op_emu_batch_plan(struct op_emulator *emulator, struct op_emu_batch *batch,
                       const struct op_emu_timing *timing);

enum op_emu_phase {
    OP_EMU_PENDING,
    OP_EMU_RUNNING,
    OP_EMU_FINALIZING,
    OP_EMU_CANCELING,
    OP_EMU_ENDED,   /* with results of its own accord */
    OP_EMU_STOPPED, /* after a cancel */
    OP_EMU_TIMED_OUT,
};
/* quirks: of the batch and of this answer. */
enum op_emu_phase op_emu_batch_phase(const struct op_emu_batch *batch,
                                     const struct op_emu_quirks *quirks, int64_t now_us);
/* The quirks of a batch and those of this answer. */
struct op_emu_quirks op_emu_batch_quirks(const struct op_emu_call *call,
                                         const struct op_emu_batch *batch);
/* When this answer is about: a create tells of the batch as it was made, however long that took. */
int64_t op_emu_batch_now(const struct op_emu_call *call, const struct op_emu_batch *batch);
/* Requests finished so far, while it runs. */
int64_t op_emu_batch_progress(const struct op_emu_batch *batch, int64_t now_us);

/* The batch of that id of the call's provider, if it can be seen now. */
bool op_emu_batch_find(struct op_emu_call *call, struct op_str id, struct op_emu_batch *ret);
bool op_emu_batch_is_listed(const struct op_emu_batch *batch, int64_t now_us);
/* As an op_emu_accept_fn; arg is a const int64_t *now_us. */
bool op_emu_batch_accept(void *arg, const struct op_emu_batch *batch);
/* The lag that makes a batch, or its results, come and go right after it changed: true when this
 * look does not see it. */
bool op_emu_batch_flaps(struct op_emu_call *call, const struct op_emu_batch *batch);
/* Whether this look at an ended batch shows its output (late_output). */
bool op_emu_batch_shows_output(struct op_emu_call *call, const struct op_emu_batch *batch);

/* Notes a cancel unless it has one or has ended. */
OP_MUST_CHECK enum op_rc op_emu_batch_cancel(struct op_emulator *emulator, struct op_str id,
                                             struct op_emu_batch *ret, struct op_err *err);

/* How the two files of a batch are made known, as a struct op_emu_api's place has to. */
struct op_emu_placing {
    const char *purpose;
    int64_t expires_us; /* 0: never */
    void (*id)(const struct op_emulator *emulator, const struct op_emu_batch *batch,
               bool errors, char ret[OP_EMU_ID_MAX]);
};
/* Its results and its errors; a file that would be empty is none. */
OP_MUST_CHECK enum op_rc op_emu_batch_place(struct op_emulator *emulator,
                                            const struct op_emu_batch *batch,
                                            const struct op_emu_output *output,
                                            const struct op_emu_placing *placing,
                                            struct op_err *err);

/* How far list_page_shift moves this page. */
int64_t op_emu_batch_page_shift(const struct op_emu_call *call);

#endif
