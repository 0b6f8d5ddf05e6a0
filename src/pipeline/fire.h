/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_FIRE_H
#define OP_PIPELINE_FIRE_H

/*
 * Model:     the SELECT of a pipeline's trigger (`jobs`) over its candidates, which stand in the table
 *            `queue` of a private database in memory. Each row is a job to be.
 * Ownership: a row is valid until the next call. The definition must outlive it.
 * Errors:    OP_INVAL with file and line: the SELECT is wrong, or names a column that is no param.
 * Threads:   one thread at a time.
 */

#include "pipeline/definition.h"

struct op_fire;
/* columns: of the candidates, as the trigger's kind has them (trigger/trigger.h). */
OP_MUST_CHECK enum op_rc op_fire_open(const struct op_definition *def, struct op_fire **ret,
                                      struct op_err *err);
void op_fire_close(struct op_fire *fire);
/* Forgets the candidates. */
OP_MUST_CHECK enum op_rc op_fire_begin(struct op_fire *fire, struct op_err *err);
OP_MUST_CHECK enum op_rc op_fire_add(struct op_fire *fire, const struct op_value *cells,
                                     struct op_err *err);

struct op_fire_row {
    struct op_str key, memory;
    struct op_str params; /* JSON: the row's other columns, texts, NULLs left out */
};
/* OP_NOTFOUND, err untouched, at the end. A row whose key is no candidate's is passed over. */
OP_MUST_CHECK enum op_rc op_fire_next(struct op_fire *fire, struct op_fire_row *ret,
                                      struct op_err *err);
void op_fire_reset(struct op_fire *fire); /* ends a walk early */

#endif
