/* SPDX-License-Identifier: MIT */
#ifndef OP_CLI_CONFINE_H
#define OP_CLI_CONFINE_H

/*
 * Model:     what each command that reads foreign bytes needs, told to the sandbox (base/sandbox.h):
 *            the state folder, the folders that the open jobs read and write, the ports of the
 *            providers.
 * Errors:    those of the ledger, which is asked for the open jobs.
 * Threads:   the main thread, while it is the only one.
 */

#include "base/err.h"
#include "cli/session.h"

/* Of a session that works: once its jobs are known, before records are read or anything is sent. */
OP_MUST_CHECK enum op_rc op_confine_session(struct op_session *session, struct op_err *err);
/* Of the emulator: its folder, and files it reads; NULLs are skipped. No connections. */
void op_confine_emulator(const char *dir, const char *faults, const char *answers);
/* Of doctor, which looks at the state folder. */
void op_confine_doctor(const char *state_dir);

#endif
