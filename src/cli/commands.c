/* SPDX-License-Identifier: MIT */
#include "cli/commands.h"

#include <string.h>

const struct op_command *const op_commands[] = {
    &op_cmd_init,    &op_cmd_validate, &op_cmd_estimate, &op_cmd_run,    &op_cmd_create,
    &op_cmd_watch,   &op_cmd_status,   &op_cmd_list,     &op_cmd_fetch,  &op_cmd_cancel,
    &op_cmd_recover, &op_cmd_show,     &op_cmd_cost,     &op_cmd_export, &op_cmd_import,
    &op_cmd_emulate, &op_cmd_doctor,   &op_cmd_version,  &op_cmd_help,   NULL,
};

const struct op_command *op_command_find(const char *name)
{
    for (size_t i = 0; op_commands[i]; i++)
        if (strcmp(op_commands[i]->name, name) == 0)
            return op_commands[i];
    return NULL;
}
