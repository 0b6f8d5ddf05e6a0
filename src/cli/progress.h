/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_PROGRESS_H
#define OP_CLI_PROGRESS_H

/*
 * Model:     what happens while a command works, on stderr: on a terminal one live line (done,
 *            failed, waiting, tokens, cost, time left) with warnings above it; otherwise a line
 *            per event. The time left comes from how long this lane's batches took so far.
 * Ownership: the struct is the caller's.
 * Threads:   begin, draw and end on the main thread; log lines may come from any.
 */

#include "cli/command.h"
#include "engine/engine.h"

/* What the batches of a job (0: of all) tell about time. */
struct op_times {
    int64_t took_ms;   /* average of those that ended; 0: none did */
    int64_t oldest_ms; /* accepted and not ended: since when the oldest (our wall clock), */
    int64_t newest_ms; /* and the newest; 0: none */
    int64_t live, unsent;
};

struct op_progress {
    bool live;        /* a live line is wanted */
    int64_t job;      /* 0: all open jobs */
    int64_t drawn_ms; /* monotonic time of the last drawing */
    int64_t timed_ms; /* and of the last look at times */
    struct op_times times;
    int64_t typical_ms; /* how long batches took in this ledger; 0 unknown, -1 not yet asked */
};

/* Sets up the log for the whole command. */
void op_log_begin(const struct op_args *args);
/* From here on draw shows the job. */
void op_progress_begin(struct op_progress *progress, const struct op_args *args, int64_t job);
void op_progress_draw(struct op_progress *progress, struct op_engine *engine);
void op_progress_end(struct op_progress *progress); /* clears the live line; may come twice */

OP_MUST_CHECK enum op_rc op_times_read(struct op_ledger *ledger, int64_t job,
                                       struct op_times *ret, struct op_err *err);
/* Appends "ETA 4m 10s" or, without a precedent, "asked 2m ago"; nothing when nothing is waited
 * for. typical_ms: how long batches took elsewhere; 0 unknown. */
void op_times_write(const struct op_times *times, int64_t typical_ms, int64_t now_ms,
                    struct op_buf *out);

#endif
