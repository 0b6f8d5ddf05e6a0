/* SPDX-License-Identifier: MIT */
#ifndef OP_CRASH_RUN_H
#define OP_CRASH_RUN_H

/*
 * Model:     runs one schedule: a folder as the scenario finds it, an emulator beside it, and the
 *            program, begun again after each crash, until everything is done. First with the faults of
 *            the schedule; when the program has not finished after a few boots, without them.
 * Ownership: a stage owns its folders; everything below it is thrown away by the next run.
 * Errors:    what the harness itself cannot do ends the process.
 */

#include <stdbool.h>
#include <stdint.h>

#include "schedule.h"
#include "world.h"

#define BOOTS_MAX 64

struct boot {
    char words[80];
    int code; /* exit code; 137: killed by a fault */
    bool power_lost;
};

struct outcome {
    struct boot boots[BOOTS_MAX];
    int boot_count;
    bool trusted; /* the operator had to vouch for the ledger */
    int64_t points;
    uint64_t trace;
    int64_t virtual_ms; /* from the beginning to the end */
    int64_t quiet_ms;   /* of that after the faults had stopped */
    char problem[256];  /* what the harness itself has seen; empty: nothing */
};

/* folder: of the stage, on a file system in memory. */
void run_prepare(const char *folder);
/* After it, folder/root and folder/emu are what the checker reads. */
void run_schedule(const char *folder, const struct schedule *schedule, struct outcome *ret);
/* A JSON line for the checker. */
int run_describe(const char *folder, const struct schedule *schedule,
                 const struct outcome *outcome, char *ret, int room);

#endif
