/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_ERR_H
#define OP_BASE_ERR_H

/*
 * Model:     one error object per attempt. A small class (op_rc) says what kind of failure it is,
 *            a disposition says what may be done about it, a message says it to a person.
 * Ownership: struct op_err is a plain value of fixed size, it allocates nothing.
 * Errors:    the first cause wins: setting an error twice keeps the first text.
 * Threads:   a value belongs to one thread at a time.
 */

#include <stdbool.h>
#include <stdint.h>

/* The class of a failure. Every fallible function returns 0 or one of these. */
enum op_rc {
    OP_OK = 0,
    OP_INVAL = -1,    /* the input is wrong: a person has to change something */
    OP_NOTFOUND = -2, /* the thing named does not exist */
    OP_CONFLICT = -3, /* a compare-and-set met another state; nothing was changed */
    OP_IO = -4,       /* the machine failed: disk, memory map, database file */
    OP_REMOTE = -5,   /* the other side of a connection failed or refused */
    OP_BUSY = -6,     /* somebody else holds the ledger */
    OP_STOPPED = -7,  /* the operator asked to stop; everything is resumable */
};

/* What may be done about a failure. Set by whoever knows the cause; the engine alone acts on it. */
enum op_disp {
    OP_DISP_FATAL = 0,   /* stop and tell the operator */
    OP_DISP_REJECT,      /* this item will never succeed as it is; others may */
    OP_DISP_RETRY,       /* the same thing may be tried again, nothing happened */
    OP_DISP_RETRY_AFTER, /* as RETRY, not before retry_after_ms */
    OP_DISP_SPLIT,       /* too large: halve it */
    OP_DISP_PAUSE,     /* credentials, a blocked account: pause the lane until a person acts */
    OP_DISP_QUOTA,     /* as PAUSE, because nothing is left to spend (quota, credit, spend cap):
                            another provider may be asked instead */
    OP_DISP_AMBIGUOUS, /* it may or may not have taken effect: reconcile, never repeat */
};

struct op_err {
    enum op_rc rc;
    enum op_disp disp;
    int64_t retry_after_ms; /* meaningful with OP_DISP_RETRY_AFTER */
    int native;             /* errno, SQLite extended code, CURLcode or HTTP status; 0 none */
    char msg[1000];         /* a complete sentence without a final period; "" = no error */
};

#define OP_ERR_INIT ((struct op_err){0})

/* Sets err to class rc and the formatted text unless it already holds an error, and yields rc:
 *     return op_fail(err, OP_INVAL, "%s:%d: unknown key '%s'", file, line, key);
 * A macro, so that the analyzer sees the literal rc (a call hid it and produced false reports). */
#define op_fail(err, rc, ...) (op_err_set((err), (rc), __VA_ARGS__), (rc))

/* As op_fail, with a disposition. */
#define op_fail_as(err, rc, disp, ...) (op_err_set_as((err), (rc), (disp), __VA_ARGS__), (rc))

/* As op_fail; appends ": <strerror(errno)>" and keeps errno in native. */
#define op_fail_errno(err, rc, ...) (op_err_set_errno((err), (rc), __VA_ARGS__), (rc))

void op_err_set(struct op_err *err, enum op_rc rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void op_err_set_as(struct op_err *err, enum op_rc rc, enum op_disp disp, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void op_err_set_errno(struct op_err *err, enum op_rc rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Prefixes "context: " to the message, keeps class, disposition and native; returns err->rc. */
enum op_rc op_err_wrap(struct op_err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Forgets the error, so that the object can serve another attempt. */
void op_err_clear(struct op_err *err);

/* The lane has to rest until a person acts. */
static inline bool op_disp_pauses(enum op_disp disp)
{
    return disp == OP_DISP_PAUSE || disp == OP_DISP_QUOTA;
}

/* The name of a class or disposition, for logs; never NULL. */
const char *op_rc_name(enum op_rc rc);
const char *op_disp_name(enum op_disp disp);

#define OP_MUST_CHECK __attribute__((warn_unused_result))

#endif
