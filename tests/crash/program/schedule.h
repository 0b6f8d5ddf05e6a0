/* SPDX-License-Identifier: MIT */
#ifndef OP_CRASH_SCHEDULE_H
#define OP_CRASH_SCHEDULE_H

/*
 * Model:     one way in which things go wrong, by value: which scenario at which provider, which
 *            faults at which points, which rules the emulator has, and the seed of all other chance.
 *            As text it is one line, which is what a failure prints and a regression stores:
 *                anthropic/batches seed=7 faults=12:kill:0,40:power:3 rules=5:2
 * Threads:   pure functions.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "world.h"

#define RULES_MAX     4
#define SCHEDULE_TEXT 640
#define STEPS_MAX     4
#define WORDS_MAX     10

/* What is typed, and again after each crash. */
struct scenario {
    const char *name;
    int records, batch;
    const char *steps[STEPS_MAX]; /* words between blanks; NULL ends */
    bool sqlite;                  /* the answers go into a table, not a CSV file */
    bool fresh;                   /* begins without a ledger */
    bool twins;                   /* every second record asks what the one before it asks */
};
extern const struct scenario scenarios[];
extern const int scenario_count;

struct provider_kind {
    const char *name, *model;
};
extern const struct provider_kind providers[];
extern const int provider_count;

/* A rule of the emulator; %d is which time it fires. */
struct rule_kind {
    const char *text;
    bool days; /* takes days, as the provider's own limits do */
};
extern const struct rule_kind rule_kinds[];
extern const int rule_kind_count;

struct rule {
    int kind;
    int nth;
};

struct schedule {
    int scenario, provider;
    uint64_t seed;
    struct fault faults[FAULTS_MAX];
    int fault_count;
    struct rule rules[RULES_MAX];
    int rule_count;
};

/* points: of a run without faults. */
void schedule_random(struct schedule *s, uint64_t seed, int scenario, int provider,
                     int64_t points);
void schedule_pick(uint64_t seed, int *ret_scenario, int *ret_provider);
void schedule_format(const struct schedule *s, char ret[SCHEDULE_TEXT]);
bool schedule_parse(const char *text, struct schedule *ret);

uint64_t schedule_chance(uint64_t *seed);

#endif
