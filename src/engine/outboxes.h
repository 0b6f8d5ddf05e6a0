/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_OUTBOXES_H
#define OP_ENGINE_OUTBOXES_H

/*
 * Model:     the outbox files of a job while rows are added: each transaction appends frames as they
 *            come and, before it commits, makes them durable and counts them, all at once.
 * Ownership: the struct is the caller's; release closes the files. Nobody else appends meanwhile.
 * Errors:    after any error the transaction must be rolled back and the struct released: what was
 *            appended lies behind the committed length and is cut off by the next one who opens.
 * Threads:   the engine's.
 */

#include "engine/work.h"

struct op_outboxes {
    struct op_work *work;
    struct op_outbox_file *files; /* per output */
};

void op_outboxes_init(struct op_outboxes *outboxes, struct op_work *work);
void op_outboxes_release(struct op_outboxes *outboxes);
/* frames and rows per output. */
OP_MUST_CHECK enum op_rc op_outboxes_add(struct op_outboxes *outboxes, struct op_buf *frames,
                                         const int64_t *rows, struct op_err *err);
/* Durability point: what was added is on disk, then the ledger counts it. */
OP_MUST_CHECK enum op_rc op_outboxes_count(struct op_outboxes *outboxes, struct op_err *err);

#endif
