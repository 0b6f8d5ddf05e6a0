/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_CHILD_H
#define OP_CLI_CHILD_H

/*
 * Model:     the emulator of one command: this very program, started again as `emulate` on a
 *            free port of the loopback. It ends with its parent, however that ends; its folder
 *            keeps its batches for the next command. It gets no keys.
 * Ownership: start hands over a child, stop ends it.
 * Errors:    OP_BUSY when another command uses the emulator's folder.
 * Threads:   started and stopped by the main thread.
 */

#include "base/err.h"
#include "cli/command.h"

/* Set in the child's environment: its parent says what went wrong when the folder is taken. */
#define OP_CHILD_ENV "OFFPEAK_EMULATOR_CHILD"

struct op_child;

OP_MUST_CHECK enum op_rc op_child_start(const struct op_args *args, const char *state_dir,
                                        struct op_child **ret, struct op_err *err);
const char *op_child_url(const struct op_child *child);
void op_child_stop(struct op_child *child); /* NULL is fine */

#endif
