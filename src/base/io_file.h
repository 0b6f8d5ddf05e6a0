/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_IO_FILE_H
#define OP_BASE_IO_FILE_H

/*
 * Model:     single file calls with errors that name the path: shared by io.c and io_writer.c only.
 */

#include "base/env.h"
#include "base/err.h"

/* A descriptor or -errno; EINTR is handled. */
int op_io_open_file(struct op_env *env, const char *path, int flags, mode_t mode);
int op_io_close_file(struct op_env *env, int fd);
OP_MUST_CHECK enum op_rc op_io_sync_file(struct op_env *env, int fd, const char *path,
                                         struct op_err *err);
/* negative is what an env call returned. */
enum op_rc op_io_fail_file(struct op_err *err, int64_t negative, const char *verb,
                           const char *path);

#endif
