/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_EMULATOR_H
#define OP_EMULATOR_EMULATOR_H

/*
 * Model:     the providers' side of the wire: an HTTP server that answers like a provider's batch
 *            API, on a clock that may run fast, with faults on request. It keeps a bill of its own
 *            in DIR/bill.jsonl, written and synced before anything is answered, and shares no
 *            encoder or decoder with the client. What it speaks is in docs/reference/emulator.md.
 *            DIR survives a kill at any instruction: starting again on it continues every batch.
 * Ownership: start hands over an emulator, stop ends its threads and frees it.
 * Errors:    start: OP_INVAL for a bad address, faults or answers file (with line); OP_BUSY when
 *            another emulator has DIR open; OP_IO.
 * Threads:   start, wait and stop from one thread; url from any. Any number may run in a process.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct op_emulator;

struct op_emulator_options {
    const char *listen;     /* "HOST:PORT", port 0 takes a free one; NULL: "127.0.0.1:0" */
    const char *dir;        /* created when missing */
    double speed;           /* virtual seconds in a real one; 0 means 1 */
    const char *faults;     /* JSONL file of fault rules (faults.h); NULL: none */
    const char *answers;    /* JSONL file of scripted answers (script.h); NULL: none */
    const char *api_key;    /* the only key accepted; NULL: any non-empty one */
    uint64_t seed;          /* of ids, orders, durations and answers */
    int64_t process_min_ms; /* virtual time a batch takes; both 0: 30 to 90 seconds */
    int64_t process_max_ms;
    int64_t start_ms; /* virtual time of a fresh DIR; 0: the wall clock */
};

OP_MUST_CHECK enum op_rc op_emulator_start(const struct op_emulator_options *options,
                                           struct op_emulator **ret, struct op_err *err);

/* "http://127.0.0.1:40213", without a final slash; valid until stop. */
const char *op_emulator_url(const struct op_emulator *emulator);

/* The virtual time now, in milliseconds since 1970. */
int64_t op_emulator_now_ms(struct op_emulator *emulator);

/* Returns true to end op_emulator_wait. Asked a few times a second. */
typedef bool (*op_emulator_stop_fn)(void *arg);

/* Serves until stop says so (OP_OK), or until the emulator cannot go on, e.g. a full disk (the
 * error). */
OP_MUST_CHECK enum op_rc op_emulator_wait(struct op_emulator *emulator,
                                          op_emulator_stop_fn stop, void *arg,
                                          struct op_err *err);

/* Closes the socket, wakes answers that hang, ends the threads; NULL is fine. */
void op_emulator_stop(struct op_emulator *emulator);
void op_emulator_stopp(struct op_emulator **emulator);

#endif
