/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_JOURNAL_H
#define OP_EMULATOR_JOURNAL_H

/*
 * Model:     a file of lines that only grows. add makes lines survive the end of the process, sync
 *            makes them survive the end of the machine; callers of sync share one fsync. A line
 *            that a kill cut short was never answered for, and is cut off on open.
 * Errors:    after a failed write or fsync every further call fails: what the file holds is then
 *            unknown.
 * Threads:   any.
 */

#include "base/env.h"
#include "base/err.h"
#include "base/str.h"

struct op_emu_journal;

OP_MUST_CHECK enum op_rc op_emu_journal_open(struct op_env *env, const char *path,
                                             struct op_emu_journal **ret, struct op_err *err);
void op_emu_journal_close(struct op_emu_journal *journal);
void op_emu_journal_closep(struct op_emu_journal **journal);
const char *op_emu_journal_path(const struct op_emu_journal *journal);

/* Appends whole lines, each with its newline, in one write. */
OP_MUST_CHECK enum op_rc op_emu_journal_add(struct op_emu_journal *journal, struct op_str lines,
                                            struct op_err *err);
/* Returns when everything this thread has added is on the disk. */
OP_MUST_CHECK enum op_rc op_emu_journal_sync(struct op_emu_journal *journal,
                                             struct op_err *err);

#endif
