/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

/* Formats into text; a text that had to be cut ends with "..." and never inside a UTF-8
 * sequence, because messages go into JSON. */
static void format(char *text, size_t size, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

static void mark_cut(char *text, size_t size)
{
    size_t len = size - sizeof("...");
    while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80)
        len--;
    memcpy(text + len, "...", sizeof("..."));
}

static void format(char *text, size_t size, const char *fmt, va_list ap)
{
    int len = vsnprintf(text, size, fmt, ap);
    if (len < 0)
        text[0] = '\0';
    else if ((size_t)len >= size)
        mark_cut(text, size);
}

static bool is_set(const struct op_err *err)
{
    return err->rc != OP_OK;
}

static void set(struct op_err *err, enum op_rc rc, enum op_disp disp, const char *fmt,
                va_list ap) __attribute__((format(printf, 4, 0)));

static void set(struct op_err *err, enum op_rc rc, enum op_disp disp, const char *fmt,
                va_list ap)
{
    if (is_set(err))
        return;
    err->rc = rc;
    err->disp = disp;
    format(err->msg, sizeof(err->msg), fmt, ap);
    /* A server may quote our key in its complaint, and messages go into the ledger. */
    op_log_mask(err->msg, strlen(err->msg));
}

void op_err_set(struct op_err *err, enum op_rc rc, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set(err, rc, OP_DISP_FATAL, fmt, ap);
    va_end(ap);
}

void op_err_set_as(struct op_err *err, enum op_rc rc, enum op_disp disp, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set(err, rc, disp, fmt, ap);
    va_end(ap);
}

void op_err_set_errno(struct op_err *err, enum op_rc rc, const char *fmt, ...)
{
    int code = errno;
    if (is_set(err))
        return;
    va_list ap;
    va_start(ap, fmt);
    set(err, rc, OP_DISP_FATAL, fmt, ap);
    va_end(ap);
    err->native = code;

    char reason[128];
    const char *text = strerror_r(code, reason, sizeof(reason));
    size_t used = strlen(err->msg);
    size_t room = sizeof(err->msg) - used;
    if (snprintf(err->msg + used, room, ": %s", text) >= (int)room)
        mark_cut(err->msg, sizeof(err->msg));
    errno = code;
}

enum op_rc op_err_wrap(struct op_err *err, const char *fmt, ...)
{
    if (!is_set(err))
        return OP_OK;
    char context[sizeof(err->msg)];
    va_list ap;
    va_start(ap, fmt);
    format(context, sizeof(context), fmt, ap);
    va_end(ap);

    char cause[sizeof(err->msg)];
    memcpy(cause, err->msg, sizeof(cause));
    if (snprintf(err->msg, sizeof(err->msg), "%s: %s", context, cause) >= (int)sizeof(err->msg))
        mark_cut(err->msg, sizeof(err->msg));
    return err->rc;
}

void op_err_clear(struct op_err *err)
{
    *err = OP_ERR_INIT;
}

const char *op_rc_name(enum op_rc rc)
{
    switch (rc) {
    case OP_OK:
        return "ok";
    case OP_INVAL:
        return "invalid";
    case OP_NOTFOUND:
        return "not_found";
    case OP_CONFLICT:
        return "conflict";
    case OP_IO:
        return "io";
    case OP_REMOTE:
        return "remote";
    case OP_BUSY:
        return "busy";
    case OP_STOPPED:
        return "stopped";
    }
    return "unknown";
}

const char *op_disp_name(enum op_disp disp)
{
    static const char *const names[] = {
        [OP_DISP_FATAL] = "fatal", [OP_DISP_REJECT] = "reject",
        [OP_DISP_RETRY] = "retry", [OP_DISP_RETRY_AFTER] = "retry_after",
        [OP_DISP_SPLIT] = "split", [OP_DISP_PAUSE] = "pause",
        [OP_DISP_QUOTA] = "quota", [OP_DISP_AMBIGUOUS] = "ambiguous",
    };
    return (size_t)disp < OP_COUNT(names) ? names[disp] : "unknown";
}
