/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_COURIER_H
#define OP_ENGINE_COURIER_H

/*
 * Model:     a thread that lets the sinks prepare what is committed in the outboxes while more is being
 *            applied, so that delivering finds most of its work done. It touches neither the ledger nor
 *            a target, and it may be stopped at any time: all it did may be thrown away.
 * Ownership: the sinks are the plan's; while a courier runs, nobody else delivers to them.
 * Errors:    none: what fails is done again by the delivery, which says so.
 * Threads:   new, tell and stop on the engine's thread.
 */

#include "engine/work.h"

struct op_courier;
struct op_courier *op_courier_new(struct op_work *work);
/* The outbox of this output is durable up to `to`, and the ledger says so. The first large one
 * starts the thread; small ones are left to the delivery. */
void op_courier_tell(struct op_courier *courier, int output, int64_t to);
void op_courier_stop(struct op_courier *courier); /* joins the thread and frees; NULL is fine */

#endif
