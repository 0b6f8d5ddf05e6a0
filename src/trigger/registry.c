/* SPDX-License-Identifier: MIT */
#include "trigger/trigger.h"

static const struct op_trigger_ops *const triggers[] = {
    &op_trigger_dynamodb_queue,
    NULL,
};

const struct op_trigger_ops *const *op_triggers(void)
{
    return triggers;
}
