/* SPDX-License-Identifier: MIT */
#ifndef OP_LEDGER_ASKLOG_H
#define OP_LEDGER_ASKLOG_H

/*
 * Model:     what the realtime lane has asked and been answered for one batch, as an append-only file
 *            of the spool (STATE/spool/realtime/<batch>-<nonce>.log). A block is what one turn of the
 *            lane has to say, under its length and checksum, and made durable with one flush:
 *                = <bytes> <first 16 hex digits of their SHA-256>
 *                ? <request> ...          about to be asked: written before a byte is sent
 *                > <request> <line>       the answer, as a line of the provider's result files
 *                ! <request> ...          provably not bought: may be asked again
 *            A request whose last word is "?" may have been bought, and nobody knows.
 *            A block that is cut or does not match its sum at the end of the file was being written
 *            when the process died, and what it announces was never sent: it is cut off. With sound
 *            blocks behind it the file is damaged, and nothing it says of what is missing is proof.
 * Ownership: storage is the caller's.
 * Errors:    those of the spool. After a failed commit the log must not be used again.
 * Threads:   one thread at a time.
 */

#include "base/buf.h"
#include "ledger/spool.h"

enum op_ask_event { OP_ASK_ASKED, OP_ASK_ANSWERED, OP_ASK_BACK };

/* line: of ANSWERED, without its end. */
typedef enum op_rc (*op_asklog_fn)(void *arg, enum op_ask_event event, int64_t request,
                                   struct op_str line, struct op_err *err);

struct op_asklog {
    struct op_append file;
    struct op_buf answers;
    struct op_buf asked, back; /* ids, in text */
};

/* Name of a batch's log, relative to the spool (op_mem). */
char *op_asklog_name(int64_t batch_id, const char *nonce);
/* Makes an empty log, durably; one of that name must hold nothing. */
OP_MUST_CHECK enum op_rc op_asklog_create(struct op_spool *spool, const char *name,
                                          struct op_asklog *ret, struct op_err *err);
/* Reads a log through fn and opens it behind its last sound block. OP_NOTFOUND: it is not there;
 * OP_INVAL: it is damaged (fn has seen what lies before the damage). */
OP_MUST_CHECK enum op_rc op_asklog_open(struct op_spool *spool, const char *name,
                                        op_asklog_fn fn, void *arg, struct op_asklog *ret,
                                        struct op_err *err);
/* Only reads; a damaged or half-written end ends it. */
OP_MUST_CHECK enum op_rc op_asklog_read(struct op_spool *spool, const char *name,
                                        op_asklog_fn fn, void *arg, struct op_err *err);
void op_asklog_close(struct op_asklog *log);

/* Into the block in the making. */
void op_asklog_asked(struct op_asklog *log, int64_t request);
void op_asklog_answered(struct op_asklog *log, int64_t request, struct op_str line);
void op_asklog_back(struct op_asklog *log, int64_t request);
bool op_asklog_has_news(const struct op_asklog *log);
/* Durability point: what is announced may be sent, what is answered may be forgotten. */
OP_MUST_CHECK enum op_rc op_asklog_commit(struct op_asklog *log, struct op_err *err);

#endif
