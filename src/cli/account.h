/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_ACCOUNT_H
#define OP_CLI_ACCOUNT_H

/* What the account at --provider holds that the ledger does not know: `recover --provider`. */

#include "cli/command.h"

int op_account_say(struct op_args *args);

#endif
