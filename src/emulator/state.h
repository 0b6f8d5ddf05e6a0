/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_STATE_H
#define OP_EMULATOR_STATE_H

/*
 * Model:     what the parts of one emulator share.
 * Threads:   fields are set before the threads begin, except where a lock is named.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "emulator/cache.h"
#include "emulator/clock.h"
#include "emulator/faults.h"
#include "emulator/files.h"
#include "emulator/resumable.h"
#include "emulator/script.h"
#include "emulator/store.h"

struct MHD_Daemon;

#define OP_EMU_PARSERS_MAX 128
/* Parsers of calls with larger bodies are not kept. */
#define OP_EMU_PARSER_BODY ((int64_t)1024 * 1024)

struct op_emulator {
    struct op_env *env;
    struct op_emu_clock clock;
    struct op_emu_store *store;
    struct op_emu_files *files;
    struct op_emu_resumables *resumables;
    struct op_emu_faults *faults;
    struct op_emu_script *script;
    struct op_emu_cache *cache;
    char *api_key; /* NULL: any */
    double speed;
    uint64_t seed;
    int64_t process_min_us, process_max_us;
    char *url;
    atomic_int_fast64_t next_request;

    struct MHD_Daemon *daemon;
    pthread_t processor;
    bool processing;

    pthread_mutex_t lock; /* of the fields below */
    pthread_cond_t changed;
    bool stopping;
    int64_t work;         /* counts what may have changed the next thing due */
    struct op_err failed; /* why the emulator cannot go on */
    struct op_json_parser *parsers[OP_EMU_PARSERS_MAX]; /* not lent now */
    size_t parser_count;
};

/* The moment so long from now, for a timed wait for `changed`. */
struct timespec op_emu_until(int64_t ms);
/* Waits ms real milliseconds, or for ever when ms is not positive, but not beyond stop. */
void op_emu_wait(struct op_emulator *emulator, int64_t ms);
bool op_emu_stopping(struct op_emulator *emulator);
/* Something is due at another time now: the processor looks again. */
void op_emu_wake(struct op_emulator *emulator);
/* The emulator cannot go on; op_emulator_wait returns this. */
void op_emu_fail(struct op_emulator *emulator, const struct op_err *err);

/* process.c: ends the batch that is due first, if its time has come. *ret_due_us: when it was or is
 * due, INT64_MAX when none is under way. */
OP_MUST_CHECK enum op_rc op_emu_process_due(struct op_emulator *emulator, int64_t *ret_due_us,
                                            struct op_err *err);
/* processor.c: the thread that does so for as long as the emulator runs. */
void *op_emu_process(void *emulator);

#endif
