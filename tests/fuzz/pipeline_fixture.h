/* SPDX-License-Identifier: MIT */
#ifndef OP_TESTS_FUZZ_PIPELINE_FIXTURE_H
#define OP_TESTS_FUZZ_PIPELINE_FIXTURE_H

/*
 * Model:     one small plan and the SQL environment of it, made at the first input and kept, for
 *            targets that read what comes into a pipeline that is in order.
 * Threads:   one.
 */

#include "pipeline/sqlenv.h"

struct pipeline_fixture {
    struct op_plan *plan;
    struct op_sqlenv *sql;
};
const struct pipeline_fixture *pipeline_fixture(void);

/* All rows of a SELECT: cells by '|', each behind its type's letter, rows by newline; or "!" and the
 * message. An op_mem block. */
char *pipeline_select(struct op_sqlenv *sql, struct op_str text);
/* One cell in that form. */
void pipeline_add_cell(struct op_buf *out, struct op_value v);

#endif
