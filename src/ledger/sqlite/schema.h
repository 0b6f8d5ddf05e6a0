/* SPDX-License-Identifier: MIT */
#ifndef OP_LEDGER_SQLITE_SCHEMA_H
#define OP_LEDGER_SQLITE_SCHEMA_H

/*
 * Model:     the tables, as numbered steps that only go forward. PRAGMA user_version is the number
 *            of steps taken; each step is one transaction together with that number. Before the
 *            first step on a ledger that holds data a copy is made (VACUUM INTO, checked, fsynced).
 * Errors:    a newer user_version, or another program's file, is OP_INVAL and is not touched.
 */

#include <sqlite3.h>
#include <stddef.h>

#include "base/env.h"
#include "base/err.h"

struct op_schema_step {
    const char *sql;
};

extern const struct op_schema_step op_schema_steps[];
extern const size_t op_schema_count;

/* Whether the file is ours, and its version (0: empty). Changes nothing. */
OP_MUST_CHECK enum op_rc op_schema_version(sqlite3 *db, const char *path, size_t newest,
                                           int *ret, struct op_err *err);
/* Takes the steps that are missing. dir: where the copy goes. */
OP_MUST_CHECK enum op_rc op_schema_migrate(sqlite3 *db, struct op_env *env, const char *dir,
                                           const char *path, const struct op_schema_step *steps,
                                           size_t count, int *ret_version, struct op_err *err);

#endif
