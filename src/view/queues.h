/* SPDX-License-Identifier: MIT */
#ifndef OP_VIEW_QUEUES_H
#define OP_VIEW_QUEUES_H

/*
 * Model:     what the ledger knows of the providers' queues, put into words for status and doctor.
 * Ownership: what a function is given lives until it returns.
 * Threads:   one thread.
 */

#include "base/json_out.h"
#include "ledger/ledger.h"

/* Each queue of a lane as one sentence; fn gets the model's name too. */
typedef void (*op_queue_say_fn)(void *arg, const char *model, bool held, const char *text);
OP_MUST_CHECK enum op_rc op_queues_say(struct op_ledger *ledger, int64_t lane_id,
                                       op_queue_say_fn fn, void *arg, struct op_err *err);
/* As members of the lane's object: "queues": [...]. */
OP_MUST_CHECK enum op_rc op_queues_json(struct op_ledger *ledger, int64_t lane_id,
                                        struct op_json_out *out, struct op_err *err);
/* What estimates of a model were worth, in words: "3 % below what was estimated (-2 % to +4 % by
 * batch)"; "" when nothing is known. */
void op_calibration_text(const struct op_calibration *c, char *ret, size_t size);

#endif
