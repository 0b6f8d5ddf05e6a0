/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_SQLITE_FLUSH_H
#define OP_BASE_SQLITE_FLUSH_H

/*
 * Model:     SQLite flushes by itself; a flush of its that failed is told as any other (base/env.h).
 *            A header alone, for those who use SQLite anyway.
 * Threads:   the connection's.
 */

#include <errno.h>
#include <sqlite3.h>
#include <stdbool.h>

#include "base/env.h"
#include "base/mem.h"

/* To be asked after every error of a connection. code: its extended result code. True: a flush
 * failed because the disk is full. */
static inline bool op_sqlite_flush_is_full(sqlite3 *db, int code, const char *path)
{
    if (code != SQLITE_IOERR_FSYNC && code != SQLITE_IOERR_DIR_FSYNC)
        return false;
    /* As the database and its journal remember it: sqlite3_system_errno may tell of what was done
     * since. A full disk may be remembered from earlier, anything else would have ended the
     * process. */
    sqlite3_file *journal = NULL;
    int causes[2] = {0, 0}, cause = 0;
    (void)sqlite3_file_control(db, NULL, SQLITE_FCNTL_LAST_ERRNO, &causes[0]);
    (void)sqlite3_file_control(db, NULL, SQLITE_FCNTL_JOURNAL_POINTER, &journal);
    if (journal && journal->pMethods)
        (void)journal->pMethods->xFileControl(journal, SQLITE_FCNTL_LAST_ERRNO, &causes[1]);
    for (size_t i = 0; i < OP_COUNT(causes); i++)
        if (causes[i] && (!cause || cause == ENOSPC || cause == EDQUOT))
            cause = causes[i];
    op_env_flush_failed(path, cause ? cause : EIO);
    return cause == ENOSPC || cause == EDQUOT;
}

#endif
