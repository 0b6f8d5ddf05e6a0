/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_FINISH_H
#define OP_CLI_FINISH_H

/*
 * Model:     how run, create, fetch, cancel, import and recover end: the jobs, and what to do next.
 * Threads:   one.
 */

#include "cli/session.h"

/* The result of run, create, fetch, cancel and recover: prints the jobs, says what to do
 * next, yields the exit code. why: an error that ended the work early; rc 0 none. */
int op_finish(struct op_session *session, const int64_t *jobs, size_t count,
              const struct op_err *why);

#endif
