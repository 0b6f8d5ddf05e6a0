/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "sink/common.h"
#include "sink/sink.h"

static const struct op_sink_ops *const sinks[] = {
    &op_sink_csv,    &op_sink_jsonl,    &op_sink_json,     &op_sink_lines,
    &op_sink_sqlite, &op_sink_dynamodb, &op_sink_postgres, NULL,
};

const struct op_sink_ops *const *op_sinks(void)
{
    return sinks;
}

const struct op_sink_ops *op_sink_find(const char *kind)
{
    for (const struct op_sink_ops *const *ops = sinks; *ops; ops++) {
        if (strcmp((*ops)->kind, kind) == 0)
            return *ops;
    }
    return NULL;
}

const struct op_sink_ops *op_sink_guess(const char *target)
{
    for (const struct op_sink_ops *const *ops = sinks; *ops; ops++) {
        if ((*ops)->guess(target))
            return *ops;
    }
    return NULL;
}
