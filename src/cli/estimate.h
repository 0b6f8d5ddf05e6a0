/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_ESTIMATE_H
#define OP_CLI_ESTIMATE_H

/*
 * Model:     what a job would ask and cost, without a ledger and without sending: for
 *            `estimate` and for --dry-run, which shows the first request too.
 * Threads:   one.
 */

#include "cli/command.h"

/* The target must be complete. Yields the exit code. */
int op_estimate_say(struct op_args *args);

#endif
