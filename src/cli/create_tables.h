/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_CREATE_TABLES_H
#define OP_CLI_CREATE_TABLES_H

/*
 * Model:     `doctor --create-tables PIPELINE`: makes the DynamoDB tables whose keys the inputs and
 *            outputs declare (option `hash`), and leaves those that are there as they are.
 * Threads:   one.
 */

#include "cli/command.h"

/* Says what was made; an exit code. */
int op_create_tables(struct op_args *args);

#endif
