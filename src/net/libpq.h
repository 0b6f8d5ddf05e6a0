/* SPDX-License-Identifier: MIT */
#ifndef OP_NET_LIBPQ_H
#define OP_NET_LIBPQ_H

/*
 * Model:     libpq, PostgreSQL's client, loaded when it is first needed: it brings Kerberos and LDAP
 *            along, and most pipelines have no database. Included instead of libpq-fe.h; its functions
 *            are called by their own names.
 * Errors:    OP_IO with what the loader said.
 * Threads:   load may be called from any thread; the functions only after it.
 */

#include <postgresql/libpq-fe.h>

#include "base/err.h"

/* Every function of libpq that is used, without "PQ". */
/* clang-format off: a table */
#define OP_LIBPQ_FUNCTIONS(X) \
    X(clear)                  \
    X(connectPoll)            \
    X(connectStartParams)     \
    X(conndefaults)           \
    X(conninfo)               \
    X(conninfoFree)           \
    X(conninfoParse)          \
    X(db)                     \
    X(describePortal)         \
    X(errorMessage)           \
    X(exec)                   \
    X(execParams)             \
    X(finish)                 \
    X(fname)                  \
    X(freemem)                \
    X(ftype)                  \
    X(getisnull)              \
    X(getlength)              \
    X(getResult)              \
    X(getvalue)               \
    X(host)                   \
    X(libVersion)             \
    X(nfields)                \
    X(ntuples)                \
    X(parameterStatus)        \
    X(port)                   \
    X(putCopyData)            \
    X(putCopyEnd)             \
    X(resultErrorField)       \
    X(resultStatus)           \
    X(sendQuery)              \
    X(setErrorVerbosity)      \
    X(setNoticeProcessor)     \
    X(setSingleRowMode)       \
    X(socket)                 \
    X(status)
/* clang-format on */

#define OP_LIBPQ_POINTER(name) __typeof__(PQ##name) *name##_;
struct op_libpq {
    OP_LIBPQ_FUNCTIONS(OP_LIBPQ_POINTER)
};
#undef OP_LIBPQ_POINTER
extern struct op_libpq op_libpq; /* NULLs until loaded */

OP_MUST_CHECK enum op_rc op_libpq_load(struct op_err *err); /* idempotent */

/* clang-format off */
#define PQclear op_libpq.clear_
#define PQconnectPoll op_libpq.connectPoll_
#define PQconnectStartParams op_libpq.connectStartParams_
#define PQconndefaults op_libpq.conndefaults_
#define PQconninfo op_libpq.conninfo_
#define PQconninfoFree op_libpq.conninfoFree_
#define PQconninfoParse op_libpq.conninfoParse_
#define PQdb op_libpq.db_
#define PQdescribePortal op_libpq.describePortal_
#define PQerrorMessage op_libpq.errorMessage_
#define PQexec op_libpq.exec_
#define PQexecParams op_libpq.execParams_
#define PQfinish op_libpq.finish_
#define PQfname op_libpq.fname_
#define PQfreemem op_libpq.freemem_
#define PQftype op_libpq.ftype_
#define PQgetisnull op_libpq.getisnull_
#define PQgetlength op_libpq.getlength_
#define PQgetResult op_libpq.getResult_
#define PQgetvalue op_libpq.getvalue_
#define PQhost op_libpq.host_
#define PQlibVersion op_libpq.libVersion_
#define PQnfields op_libpq.nfields_
#define PQntuples op_libpq.ntuples_
#define PQparameterStatus op_libpq.parameterStatus_
#define PQport op_libpq.port_
#define PQputCopyData op_libpq.putCopyData_
#define PQputCopyEnd op_libpq.putCopyEnd_
#define PQresultErrorField op_libpq.resultErrorField_
#define PQresultStatus op_libpq.resultStatus_
#define PQsendQuery op_libpq.sendQuery_
#define PQsetErrorVerbosity op_libpq.setErrorVerbosity_
#define PQsetNoticeProcessor op_libpq.setNoticeProcessor_
#define PQsetSingleRowMode op_libpq.setSingleRowMode_
#define PQsocket op_libpq.socket_
#define PQstatus op_libpq.status_
/* clang-format on */

#endif
