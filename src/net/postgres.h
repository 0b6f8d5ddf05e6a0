/* SPDX-License-Identifier: MIT */
#ifndef OP_NET_POSTGRES_H
#define OP_NET_POSTGRES_H

/*
 * Model:     a connection to a PostgreSQL database, as the source and the sink of that name need it.
 *            A target is a connection URI (postgresql://…), "postgresql://" alone for what libpq
 *            finds in the environment (PGHOST, PGSERVICE, ~/.pgpass…), or env:NAME, the variable that
 *            holds the URI, so that a password is in no pipeline, param or ledger.
 * Ownership: the struct is the caller's; op_pg_close releases it, also when it is zeroed.
 * Errors:    by SQLSTATE (PostgreSQL 15, appendix A): what passes by itself (connection lost, server
 *            starting or stopping, serialization, deadlock, no resources) is OP_REMOTE with
 *            OP_DISP_RETRY; what a person must mend (password, database, table, value) is OP_INVAL.
 *            Messages name host and database, never the password, which is registered for masking.
 * Threads:   one thread at a time.
 */

#include <stdbool.h>

#include "base/buf.h"
#include "base/env.h"
#include "base/err.h"
#include "base/sandbox.h"
#include "net/libpq.h"

struct op_pg {
    PGconn *conn; /* NULL: closed */
    char *where;  /* "postgres database 'polis' at db.example.org:5432" */
};

/* Whether the text has the form of a target. */
bool op_pg_is_target(const char *target);
/* Connects, within the URI's connect_timeout or 10 s. Text is UTF-8 both ways. */
OP_MUST_CHECK enum op_rc op_pg_open(struct op_pg *pg, const char *target, struct op_err *err);
void op_pg_close(struct op_pg *pg);

/* Sets err from a failed result; doing: "table 'x'". */
enum op_rc op_pg_fail(const struct op_pg *pg, const PGresult *result, const char *doing,
                      struct op_err *err);
/* Runs statements that give no rows. */
OP_MUST_CHECK enum op_rc op_pg_run(const struct op_pg *pg, const char *sql, const char *doing,
                                   struct op_err *err);
/* Runs one statement with text values (NULL: SQL NULL) and wants rows. *ret: for PQclear; NULL
 * after a failure. */
OP_MUST_CHECK enum op_rc op_pg_query(const struct op_pg *pg, const char *sql,
                                     const char *const *values, size_t count, const char *doing,
                                     PGresult **ret, struct op_err *err);
void op_pg_clearp(PGresult **result);

/* Whether a failed result is of this SQLSTATE, or of this class (two characters). */
bool op_pg_is_state(const PGresult *result, const char *state);

/* Appends name as a quoted identifier. */
void op_pg_add_name(struct op_buf *sql, const char *name);
/* Appends text as a literal (standard_conforming_strings). */
void op_pg_add_literal(struct op_buf *sql, const char *text);
/* The columns of a table as rows of one name each, in order; none: there is no such table. */
OP_MUST_CHECK enum op_rc op_pg_columns(const struct op_pg *pg, const char *schema,
                                       const char *table, PGresult **ret, struct op_err *err);

/* What a process must be allowed in order to connect: ports, the socket's folder, password files. A
 * target that cannot be read allows nothing. */
void op_pg_reach(const char *target, struct op_sandbox *box);

#endif
