/* SPDX-License-Identifier: MIT */
#ifndef OP_TESTS_PIPELINE_SUPPORT_H
#define OP_TESTS_PIPELINE_SUPPORT_H

/* What the pipeline tests share: bundles made from texts, in a folder "p" that does not exist. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"
#include "pipeline/definition.h"

struct test_file {
    const char *name, *text;
};

static inline void test_bundle(struct op_bundle *bundle, const char *yaml,
                               const struct test_file *files, size_t count)
{
    op_bundle_init(bundle);
    op_mem_free(bundle->dir);
    bundle->dir = op_mem_strdup("p");
    op_bundle_put(bundle, OP_BUNDLE_MAIN, op_str_from(yaml));
    for (size_t i = 0; i < count; i++)
        op_bundle_put(bundle, files[i].name, op_str_from(files[i].text));
}

/* Parses what must be good; says the error when it is not. */
static inline void test_define(struct op_bundle *bundle, struct op_definition *def)
{
    struct op_err err = OP_ERR_INIT;
    if (op_definition_parse(op_env_default(), bundle, def, &err))
        fail_msg("%s", err.msg);
}

static inline bool test_str_is(struct op_str s, const char *text)
{
    return s.ptr && op_str_is(s, text);
}

#endif
