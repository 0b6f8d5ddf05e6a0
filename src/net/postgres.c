/* SPDX-License-Identifier: MIT */
#include "net/postgres.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"

enum { CONNECT_SECONDS = 10, MESSAGE_ROOM = 700, DEFAULT_PORT = 5432 };

bool op_pg_is_target(const char *target)
{
    struct op_str s = op_str_from(target);
    return op_str_starts(s, "postgresql://") || op_str_starts(s, "postgres://") ||
           (op_str_starts(s, "env:") && s.len > 4);
}

static enum op_rc find_uri(const char *target, const char **ret, struct op_err *err)
{
    *ret = target;
    if (!op_pg_is_target(target))
        return op_fail(err, OP_INVAL,
                       "a postgres target is a URI like postgresql://USER@HOST/DATABASE, "
                       "'postgresql://' alone for PGHOST and its kin, or env:NAME");
    if (!op_str_starts(op_str_from(target), "env:"))
        return OP_OK;
    *ret = getenv(target + 4);
    if (!*ret || !**ret)
        return op_fail(err, OP_INVAL,
                       "the variable %s is not set; it must hold a URI like "
                       "postgresql://USER@HOST/DATABASE",
                       target + 4);
    /* Another variable's value is nothing to send to a server or to quote. */
    if (op_str_starts(op_str_from(*ret), "env:") || !op_pg_is_target(*ret))
        return op_fail(err, OP_INVAL, "the variable %s holds no postgresql:// URI", target + 4);
    return OP_OK;
}

/* --- connecting --------------------------------------------------------------------------- */

static const char *value_of(const PQconninfoOption *list, const char *keyword)
{
    for (; list && list->keyword; list++)
        if (strcmp(list->keyword, keyword) == 0)
            return list->val && list->val[0] ? list->val : NULL;
    return NULL;
}

/* libpq's text may have several lines, and with SQLSTATE comes where in the server's source. */
static void copy_message(char ret[MESSAGE_ROOM], const char *text)
{
    size_t len = 0;
    for (; *text && len + 1 < MESSAGE_ROOM; text++) {
        if (strncmp(text, "\nLOCATION:", 10) == 0)
            break;
        ret[len++] = *text == '\n' ? ' ' : *text;
    }
    while (len > 0 && ret[len - 1] == ' ')
        len--;
    ret[len] = '\0';
}

/* "…FATAL:  28P01: password…": libpq 15 gives a failed connection's SQLSTATE in the text alone. */
static const char *state_in(const char *text)
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const char *state = "";
    for (const char *at = strstr(text, ":  "); at; at = strstr(at + 1, ":  "))
        if (strspn(at + 3, letters) == 5 && at[8] == ':')
            state = at + 3;
    return state;
}

static bool passes(const char *state)
{
    static const char *const list[] = {"08",    "53",    "57P01", "57P02",
                                       "57P03", "40001", "40P01", "55P03"};
    for (size_t i = 0; i < OP_COUNT(list); i++)
        if (strncmp(state, list[i], strlen(list[i])) == 0)
            return true;
    return false;
}

static enum op_rc set_error(const struct op_pg *pg, const char *state, bool lost,
                            const char *doing, const char *text, struct op_err *err)
{
    bool retry = lost || passes(state);
    op_err_set_as(err, retry || !state[0] ? OP_REMOTE : OP_INVAL,
                  retry ? OP_DISP_RETRY : OP_DISP_FATAL, "%s%s%s: %.*s%s%.5s%s", pg->where,
                  doing ? ", " : "", doing ? doing : "", MESSAGE_ROOM, text,
                  state[0] ? " (SQLSTATE " : "", state, state[0] ? ")" : "");
    return err->rc;
}

static enum op_rc fail_connect(const struct op_pg *pg, struct op_err *err)
{
    char text[MESSAGE_ROOM];
    const char *said = PQerrorMessage(pg->conn), *state = state_in(said);
    copy_message(text, said);
    /* Without a SQLSTATE nobody answered. */
    return set_error(pg, state, !state[0], "cannot connect", text, err);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Not PQconnectdb: the verbosity that makes it name the SQLSTATE is set on a begun connection. */
static enum op_rc wait_connected(struct op_pg *pg, int64_t timeout_ms, struct op_err *err)
{
    int64_t until = now_ms() + timeout_ms;
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK) {
        struct pollfd fd = {.fd = PQsocket(pg->conn),
                            .events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        int64_t left = until - now_ms();
        int ready = left > 0 ? poll(&fd, 1, (int)left) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return set_error(pg, "", true, "cannot connect", "no answer in time", err);
        state = PQconnectPoll(pg->conn);
        if (state == PGRES_POLLING_FAILED)
            return fail_connect(pg, err);
    }
    return OP_OK;
}

static void ignore_notice(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

/* Where it goes, for messages; the password, to be masked. Returns the time to connect. */
static int64_t learn(struct op_pg *pg)
{
    PQconninfoOption *list = PQconninfo(pg->conn);
    const char *host = value_of(list, "host"), *port = value_of(list, "port");
    const char *db = value_of(list, "dbname"), *password = value_of(list, "password");
    int64_t seconds = 0;
    pg->where = op_mem_printf("postgres database '%s' at %s:%s", db ? db : "",
                              host ? host : "the local socket", port ? port : "5432");
    if (password)
        op_log_secret(op_str_from(password));
    const char *timeout = value_of(list, "connect_timeout");
    if (!timeout || !op_str_int64(op_str_from(timeout), &seconds) || seconds <= 0 ||
        seconds > 3600)
        seconds = CONNECT_SECONDS;
    PQconninfoFree(list);
    return seconds * 1000;
}

enum op_rc op_pg_open(struct op_pg *pg, const char *target, struct op_err *err)
{
    const char *uri = NULL;
    *pg = (struct op_pg){0};
    if (find_uri(target, &uri, err) || op_libpq_load(err))
        return err->rc;
    /* What stands before dbname gives way to the URI, what stands after it does not. A peer that is
     * gone is noticed within two minutes. No Kerberos encryption unless asked for: to look for a
     * ticket takes longer than to connect. */
    const char *gss = getenv("PGGSSENCMODE");
    const char *const names[] = {
        "gssencmode", "keepalives_idle",           "keepalives_interval", "tcp_user_timeout",
        "dbname",     "fallback_application_name", "client_encoding",     NULL};
    const char *const values[] = {
        gss && gss[0] ? gss : "disable", "30", "15", "120000", uri, "offpeak", "UTF8", NULL};
    pg->conn = PQconnectStartParams(names, values, 1);
    if (!pg->conn)
        return op_fail(err, OP_IO, "libpq has no memory for a connection");
    int64_t timeout_ms = learn(pg);
    (void)PQsetErrorVerbosity(pg->conn, PQERRORS_VERBOSE);
    (void)PQsetNoticeProcessor(pg->conn, ignore_notice, NULL);
    enum op_rc rc = PQstatus(pg->conn) == CONNECTION_BAD ? fail_connect(pg, err)
                                                         : wait_connected(pg, timeout_ms, err);
    if (rc)
        op_pg_close(pg);
    return rc;
}

void op_pg_close(struct op_pg *pg)
{
    if (pg->conn)
        PQfinish(pg->conn);
    op_mem_free(pg->where);
    *pg = (struct op_pg){0};
}

/* --- statements --------------------------------------------------------------------------- */

enum op_rc op_pg_fail(const struct op_pg *pg, const PGresult *result, const char *doing,
                      struct op_err *err)
{
    static const int parts[] = {PG_DIAG_MESSAGE_PRIMARY, PG_DIAG_MESSAGE_DETAIL,
                                PG_DIAG_MESSAGE_HINT};
    OP_CLEANUP(op_buf_release) struct op_buf said = {0};
    op_buf_init(&said, MESSAGE_ROOM);
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    for (size_t i = 0; result && i < OP_COUNT(parts); i++) {
        const char *part = PQresultErrorField(result, parts[i]);
        if (part)
            op_buf_addf(&said, "%s%.300s", said.len ? "; " : "", part);
    }
    if (said.len == 0)
        op_buf_addf(&said, "%.600s", PQerrorMessage(pg->conn));
    char text[MESSAGE_ROOM];
    copy_message(text, said.ptr ? said.ptr : "");
    return set_error(pg, state ? state : "", PQstatus(pg->conn) == CONNECTION_BAD, doing, text,
                     err);
}

enum op_rc op_pg_run(const struct op_pg *pg, const char *sql, const char *doing,
                     struct op_err *err)
{
    PGresult *result = PQexec(pg->conn, sql);
    ExecStatusType status = PQresultStatus(result);
    enum op_rc rc = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK
                        ? OP_OK
                        : op_pg_fail(pg, result, doing, err);
    PQclear(result);
    return rc;
}

enum op_rc op_pg_query(const struct op_pg *pg, const char *sql, const char *const *values,
                       size_t count, const char *doing, PGresult **ret, struct op_err *err)
{
    *ret = PQexecParams(pg->conn, sql, (int)count, NULL, values, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(*ret);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return OP_OK;
    enum op_rc rc = op_pg_fail(pg, *ret, doing, err);
    PQclear(OP_TAKE(*ret));
    return rc;
}

void op_pg_clearp(PGresult **result)
{
    if (*result)
        PQclear(*result);
    *result = NULL;
}

bool op_pg_is_state(const PGresult *result, const char *state)
{
    const char *own = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return own && strncmp(own, state, strlen(state)) == 0;
}

static void add_doubled(struct op_buf *sql, const char *text, char quote)
{
    op_buf_addc(sql, quote);
    for (; *text; text++) {
        if (*text == quote)
            op_buf_addc(sql, quote);
        op_buf_addc(sql, *text);
    }
    op_buf_addc(sql, quote);
}

void op_pg_add_name(struct op_buf *sql, const char *name)
{
    add_doubled(sql, name, '"');
}

void op_pg_add_literal(struct op_buf *sql, const char *text)
{
    add_doubled(sql, text, '\'');
}

enum op_rc op_pg_columns(const struct op_pg *pg, const char *schema, const char *table,
                         PGresult **ret, struct op_err *err)
{
    const char *const values[] = {schema, table};
    return op_pg_query(pg,
                       "SELECT a.attname FROM pg_catalog.pg_attribute a "
                       "JOIN pg_catalog.pg_class c ON c.oid = a.attrelid "
                       "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                       "WHERE n.nspname = $1 AND c.relname = $2 "
                       "AND c.relkind IN ('r', 'v', 'm', 'f', 'p') "
                       "AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
                       values, 2, "cannot read the schema", ret, err);
}

/* --- the sandbox -------------------------------------------------------------------------- */

static void allow_ports(const char *ports, struct op_sandbox *box)
{
    for (struct op_str rest = op_str_from(ports ? ports : ""); rest.ptr;) {
        struct op_str one = op_str_trim(op_str_cut(&rest, ','));
        int64_t port = DEFAULT_PORT;
        if (one.len > 0 && !op_str_int64(one, &port))
            continue;
        if (port > 0 && port <= UINT16_MAX)
            op_sandbox_allow_port(box, (uint16_t)port);
    }
}

static void allow_file(const char *path, struct op_sandbox *box)
{
    /* One that is not there would open the folder above it. */
    if (path && path[0] == '/' && access(path, F_OK) == 0)
        op_sandbox_allow(box, path, false);
}

void op_pg_reach(const char *target, struct op_sandbox *box)
{
    static const char *const files[] = {"host",   "passfile",    "sslcert",
                                        "sslkey", "sslrootcert", "sslcrl"};
    static const char *const homes[] = {".pgpass", ".postgresql", ".pg_service.conf"};
    struct op_err ignored = OP_ERR_INIT;
    const char *uri = NULL, *home = getenv("HOME");
    if (find_uri(target, &uri, &ignored) || op_libpq_load(&ignored))
        return;
    PQconninfoOption *own = PQconninfoParse(uri, NULL), *defaults = PQconndefaults();
    const char *port = value_of(own, "port");
    /* A service's port stands in a file that libpq reads only when it connects. */
    if (value_of(own, "service"))
        op_sandbox_allow_port(box, 0);
    else
        allow_ports(port ? port : value_of(defaults, "port"), box);
    for (size_t i = 0; i < OP_COUNT(files); i++) {
        allow_file(value_of(own, files[i]), box);
        allow_file(value_of(defaults, files[i]), box);
    }
    PQconninfoFree(own);
    PQconninfoFree(defaults);
    allow_file("/etc/passwd", box); /* the user's name, where none is given */
    allow_file("/etc/postgresql-common", box);
    for (size_t i = 0; home && i < OP_COUNT(homes); i++) {
        OP_CLEANUP(op_mem_freep) char *path = op_io_join(home, homes[i]);
        allow_file(path, box);
    }
}
