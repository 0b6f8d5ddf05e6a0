/* SPDX-License-Identifier: MIT */
#ifndef OP_TRIGGER_TRIGGER_H
#define OP_TRIGGER_TRIGGER_H

/*
 * Model:     what makes jobs without a person. A kind lists candidates as rows of a table; the
 *            pipeline's SELECT over that table says which fire; the kind then claims each one
 *            outside, so that no other worker takes it, and is told what became of its job.
 *            Each kind is one file with one const table; registry.c names them.
 *            A claim goes WANTED (in the ledger only) -> claimed -> bound to this ledger for good ->
 *            sent -> done; `memory` is what the kind needs to know of it from one call to the next
 *            and after a restart. Each call may be made again with the memory of before it: it finds
 *            out whether it has been carried out already.
 * Ownership: the trigger owns its columns; cells are borrowed until the next call. memory is an
 *            op_buf of the caller's, read and rewritten.
 * Errors:    OP_CONFLICT: somebody else has it, or has changed it since; it is ours no more.
 *            OP_REMOTE: not now; the same call later. OP_INVAL: a person must act (no table, keys
 *            refused).
 * Threads:   one thread at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/env.h"
#include "base/err.h"
#include "base/sandbox.h"
#include "base/value.h"

struct op_trigger_option {
    const char *name;
    const char *value;
};
struct op_trigger_option_spec {
    const char *name;
    const char *help;
};

struct op_trigger_config {
    struct op_env *env;
    const char *target; /* what stands behind the kind */
    const struct op_trigger_option *options;
    size_t option_count;
    const char *place;  /* "dir/pipeline.yaml:12" */
    const char *worker; /* who claims: unique to the ledger, the same after every restart */
};

/* What a report says. */
enum op_trigger_phase {
    OP_TRIGGER_BOUND, /* a job of this ledger is about to be made of it: nobody else may now */
    OP_TRIGGER_SENT,  /* its requests are at the provider */
    OP_TRIGGER_DONE,  /* its job has ended and its rows are delivered */
    OP_TRIGGER_BACK,  /* it was not taken after all: for other workers, or for later */
};
struct op_trigger_report {
    enum op_trigger_phase phase;
    bool ok;             /* DONE: something came of it */
    const char *job;     /* "job-7"; "" before there is one */
    const char *message; /* what went wrong, or how it went; "" */
    const char *model;
    const char *const *batch_ids; /* at the provider */
    size_t batch_count;
    int64_t requests, done, failed, canceled, reused, microusd;
};

struct op_trigger;
struct op_trigger_ops {
    const char *kind; /* "dynamodb_queue" */
    const char *help;
    const struct op_trigger_option_spec *options; /* ends with name NULL */
    /* Of the candidates, NULL-terminated: the first is its key, the last the memory that claim is
     * given, which is not for the pipeline's SELECT. */
    const char *const *columns;
    /* What a locked-in process must be allowed for this target; NULL: nothing. */
    void (*reach)(const char *target, struct op_sandbox *box);
    /* Checks the configuration; asks nobody. */
    enum op_rc (*open)(const struct op_trigger_config *config, struct op_trigger **ret,
                       struct op_err *err);
    /* Begins a look at the candidates; then next: OP_OK with cells, OP_NOTFOUND (err untouched) at
     * the end. Those that cannot be claimed now are not among them. */
    enum op_rc (*look)(struct op_trigger *trigger, struct op_err *err);
    enum op_rc (*next)(struct op_trigger *trigger, const struct op_value **ret_cells,
                       struct op_err *err);
    enum op_rc (*claim)(struct op_trigger *trigger, const char *key, struct op_buf *memory,
                        struct op_err *err);
    enum op_rc (*report)(struct op_trigger *trigger, const char *key,
                         const struct op_trigger_report *report, struct op_buf *memory,
                         struct op_err *err);
    void (*close)(struct op_trigger *trigger);
};
struct op_trigger { /* drivers embed this first */
    const struct op_trigger_ops *ops;
};

const struct op_trigger_ops *const *op_triggers(void); /* NULL-terminated */
extern const struct op_trigger_ops op_trigger_dynamodb_queue;

#endif
