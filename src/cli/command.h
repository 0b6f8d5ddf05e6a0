/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_COMMAND_H
#define OP_CLI_COMMAND_H

/*
 * Model:     a command is one const struct: name, help, option table, function. The function
 *            takes the options as parsed and returns the exit code.
 * Ownership: option texts are borrowed from argv.
 * Threads:   one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/subject.h"

/* What the process says to whoever started it. */
enum op_exit {
    OP_EXIT_OK = 0,
    OP_EXIT_FAILED = 1,
    OP_EXIT_USAGE = 2,
    OP_EXIT_PARTIAL = 3, /* partly failed, canceled, or not finished yet */
    OP_EXIT_BUSY = 4,
    OP_EXIT_DISK = 75, /* a flush failed: EX_TEMPFAIL, in engine/prove.c */
};

struct op_command;

struct op_wait {
    bool given;
    int64_t ms; /* 0: as long as it takes */
};

/* The options of all commands; a command fills those in its table. */
struct op_args {
    const struct op_command *command;
    const char **words; /* what is no option */
    size_t word_count;
    struct op_subject subject; /* of commands that take a pipeline */

    bool help, json, quiet, verbose;
    const char *log, *state;

    const char *profile, *model, *provider, *mode, *tier, *prices;
    int64_t limit, max_cost_microusd, poll_ms, deadline_ms;
    int64_t realtime_below, concurrency, interval_ms;
    struct op_wait wait;
    bool dry_run, no_wait, fresh, no_cache, strict, exclusive, retry_failed;

    const char *input, *output, *prompt, *system, *schema, *key;
    int64_t max_tokens;

    bool emulate;
    double emulate_speed;
    const char *emulate_faults, *emulate_answers;

    bool once;
    bool watch, batches, failed, all_pending, check_all_pending, job_names, latest, audit,
        trust, markdown, create_tables;
    const char *status, *job;
    const char *by, *since, *until;
    bool results;
    const char *pipeline_word, *map;
    int64_t rows;

    const char *listen, *dir, *faults, *answers, *process;
    double speed;
    int64_t seed;
};

enum op_option_kind {
    OP_OPTION_GROUP,   /* a title in the help; name is its text */
    OP_OPTION_FLAG,    /* bool */
    OP_OPTION_TEXT,    /* const char * */
    OP_OPTION_COUNT,   /* int64_t, from 1 */
    OP_OPTION_NUMBER,  /* double, above 0 */
    OP_OPTION_USD,     /* int64_t micro-dollars */
    OP_OPTION_SECONDS, /* int64_t milliseconds */
    OP_OPTION_WAIT,    /* struct op_wait; its seconds may be left out */
};

struct op_option {
    enum op_option_kind kind;
    const char *name;
    char letter;       /* '\0': none */
    const char *value; /* placeholder; NULL for a flag */
    const char *help;
    size_t at;                  /* offsetof(struct op_args, …) */
    const char *const *choices; /* NULL-terminated; NULL: any */
    bool shadowed;              /* a pipeline's param of this name takes its place */
};

struct op_command {
    const char *name, *about;
    const char *const *usage;        /* lines without "offpeak ", NULL-terminated */
    const char *details;             /* paragraphs; NULL none */
    const struct op_option *options; /* ends with name NULL */
    bool pipeline;        /* the first word names a pipeline whose params are options */
    bool pipeline_option; /* --pipeline does */
    bool hidden;
    size_t max_words;
    int (*run)(struct op_args *args);
};

/* NULL-terminated, in the order of the help. */
extern const struct op_command *const op_commands[];
const struct op_command *op_command_find(const char *name);

#include "cli/option_rows.inc"

#endif
