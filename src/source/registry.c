/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "source/common.h"
#include "source/source.h"

static const struct op_source_ops *const sources[] = {
    &op_source_csv,      &op_source_jsonl,       &op_source_lines,
    &op_source_pages,    &op_source_sqlite,      &op_source_dynamodb,
    &op_source_postgres, &op_source_transcripts, NULL,
};

const struct op_source_ops *const *op_sources(void)
{
    return sources;
}

const struct op_source_ops *op_source_find(const char *kind)
{
    for (const struct op_source_ops *const *ops = sources; *ops; ops++) {
        if (strcmp((*ops)->kind, kind) == 0)
            return *ops;
    }
    return NULL;
}

const struct op_source_ops *op_source_guess(const char *target)
{
    for (const struct op_source_ops *const *ops = sources; *ops; ops++) {
        if ((*ops)->guess(target))
            return *ops;
    }
    return NULL;
}
