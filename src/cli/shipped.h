/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_SHIPPED_H
#define OP_CLI_SHIPPED_H

/*
 * Model:     a copy of a pipeline that came along, for `init`: its files, and a database beside each
 *            file NAME.sqlite.sql, made of the statements in it.
 * Errors:    a file that is there already is OP_CONFLICT and stays as it is.
 * Threads:   one.
 */

#include "base/env.h"
#include "base/err.h"
#include "base/str.h"

/* The folder of the pipeline of this name among those that came along; NULL: there is none. */
char *op_shipped_find(struct op_env *env, const char *name);
/* Copies the folder `from` to `to`; fn is told each file made, by its path. */
OP_MUST_CHECK enum op_rc op_shipped_copy(struct op_env *env, const char *from, const char *to,
                                         void (*fn)(void *arg, const char *path), void *arg,
                                         struct op_err *err);
/* Writes a new file; nothing of the user's is ever overwritten. */
OP_MUST_CHECK enum op_rc op_shipped_write_new(struct op_env *env, const char *path,
                                              struct op_str text, struct op_err *err);

#endif
