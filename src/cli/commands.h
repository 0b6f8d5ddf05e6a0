/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_COMMANDS_H
#define OP_CLI_COMMANDS_H

/* The commands, one file each; their order is in commands.c. */

#include "cli/command.h"

extern const struct op_command op_cmd_init, op_cmd_validate, op_cmd_estimate, op_cmd_run,
    op_cmd_create, op_cmd_status, op_cmd_list, op_cmd_fetch, op_cmd_cancel, op_cmd_recover,
    op_cmd_show, op_cmd_emulate, op_cmd_doctor, op_cmd_version, op_cmd_help, op_cmd_cost,
    op_cmd_export, op_cmd_import, op_cmd_watch;

#endif
