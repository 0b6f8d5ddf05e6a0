/* SPDX-License-Identifier: MIT */
#ifndef OP_VIEW_MONEY_H
#define OP_VIEW_MONEY_H

/*
 * Model:     what was bought, added up, with what became of it: the good answers, and why the
 *            others were thrown away or asked again.
 * Threads:   one.
 */

#include "base/json_out.h"
#include "ledger/ledger.h"

/* Why a purchase brought no good answer. FAILED: the provider returned an error or nothing. */
#define OP_LOSSES(X)          \
    X(INVALID, "invalid")     \
    X(TRUNCATED, "truncated") \
    X(REFUSED, "refused")     \
    X(FAILED, "failed")
#define OP_LOSS_ENUM(name, text) OP_LOSS_##name,
enum op_loss { OP_LOSSES(OP_LOSS_ENUM) OP_LOSS_COUNT };
#undef OP_LOSS_ENUM

struct op_money {
    int64_t count; /* results */
    int64_t microusd;
    struct op_usage usage;
    struct op_money_loss {
        int64_t again, again_microusd; /* and the request was asked again */
        int64_t over, over_microusd;   /* and that was all: the request failed */
    } losses[OP_LOSS_COUNT];
};

/* What a result that is not good counts as. */
const char *op_loss_name(enum op_result_class class_);

void op_money_add(struct op_money *money, const struct op_spend *spend);
int64_t op_money_lost(const struct op_money *money); /* what all losses cost */
/* What was bought by a job. */
OP_MUST_CHECK enum op_rc op_money_read(struct op_ledger *ledger, int64_t job,
                                       struct op_money *ret, struct op_err *err);
/* Members "lost_microusd" and "lost" of an open object. */
void op_money_lost_json(const struct op_money *money, struct op_json_out *out);
/* Those and "requests", "microusd", "tokens" before them. */
void op_money_json(const struct op_money *money, struct op_json_out *out);
/* A line for each kind of loss there is, indented; nothing when there is none. */
void op_money_text(const struct op_money *money, int indent, struct op_buf *out);

#endif
