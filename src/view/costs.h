/* SPDX-License-Identifier: MIT */
#ifndef OP_VIEW_COSTS_H
#define OP_VIEW_COSTS_H

/*
 * Model:     what was bought and what it cost, a line for each job, model, provider or day, or for
 *            each combination of some of them.
 * Ownership: the struct owns its lines; release it, also after an error.
 * Errors:    OP_INVAL names the option (or query parameter) that is wrong.
 * Threads:   one.
 */

#include "view/money.h"

/* What lines are told apart by. */
enum op_cost_by { OP_BY_JOB, OP_BY_MODEL, OP_BY_PROVIDER, OP_BY_DAY, OP_BY_COUNT };

struct op_cost_line {
    char *keys[OP_BY_COUNT]; /* NULL: not asked for */
    int64_t job;             /* for the order */
    bool imported;
    struct op_money money;
};

struct op_costs {
    bool by[OP_BY_COUNT];
    int64_t since_ms, until_ms; /* until: not included; 0 none */
    struct op_cost_line
        *lines; /* by day, then job, provider and model; what was imported last */
    size_t count;
    struct op_money bought, imported;
    int64_t reserved_microusd;
};

/* by: "job,model"; since, until: days such as 2026-11-20, both included. NULL: as `cost` does. */
OP_MUST_CHECK enum op_rc op_costs_options(struct op_costs *costs, const char *by,
                                          const char *since, const char *until,
                                          struct op_err *err);
/* job 0: of all. */
OP_MUST_CHECK enum op_rc op_costs_read(struct op_costs *costs, struct op_ledger *ledger,
                                       int64_t job, struct op_err *err);
void op_costs_json(const struct op_costs *costs, struct op_json_out *out);
void op_costs_release(struct op_costs *costs);

#endif
