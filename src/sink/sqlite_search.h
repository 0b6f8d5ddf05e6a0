/* SPDX-License-Identifier: MIT */
#ifndef OP_SINK_SQLITE_SEARCH_H
#define OP_SINK_SQLITE_SEARCH_H

/*
 * Model:     a full-text index (FTS5) over columns of a table, in a table TABLE_search that keeps no
 *            copy of the text. Triggers follow whatever changes the table, by whatever program, so
 *            it needs no care. The rows of the two have the same rowid.
 * Threads:   the connection's.
 */

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

/* Makes index and triggers where they are missing or of other columns, and fills the index. false:
 * the database says why. Names are plain identifiers (op_sink_is_identifier). */
bool op_sqlite_search_ready(sqlite3 *db, const char *table, const char *const *columns,
                            size_t count);

#endif
