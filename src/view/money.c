/* SPDX-License-Identifier: MIT */
#include "view/money.h"

#include "view/summary.h"
#include "view/text.h"

#define LOSS_NAME(name, text) text,
static const char *const names[OP_LOSS_COUNT] = {OP_LOSSES(LOSS_NAME)};

static enum op_loss loss_of(enum op_result_class class_)
{
    switch (class_) {
    case OP_RESULT_SUCCEEDED:
        return OP_LOSS_INVALID;
    case OP_RESULT_TRUNCATED:
        return OP_LOSS_TRUNCATED;
    case OP_RESULT_REFUSED:
        return OP_LOSS_REFUSED;
    case OP_RESULT_ERRORED:
    case OP_RESULT_EXPIRED:
    case OP_RESULT_CANCELED:
    case OP_RESULT_ABSENT:
    case OP_RESULT_CLASS_COUNT:
        break;
    }
    return OP_LOSS_FAILED;
}

const char *op_loss_name(enum op_result_class class_)
{
    return names[loss_of(class_)];
}

void op_money_add(struct op_money *money, const struct op_spend *spend)
{
    money->count += spend->count;
    money->microusd += spend->microusd;
    op_usage_add(&money->usage, &spend->usage);
    if (spend->valid)
        return;
    struct op_money_loss *loss = &money->losses[loss_of(spend->class_)];
    if (spend->again) {
        loss->again += spend->count;
        loss->again_microusd += spend->microusd;
    } else {
        loss->over += spend->count;
        loss->over_microusd += spend->microusd;
    }
}

int64_t op_money_lost(const struct op_money *money)
{
    int64_t sum = 0;
    for (size_t i = 0; i < OP_LOSS_COUNT; i++)
        sum += money->losses[i].again_microusd + money->losses[i].over_microusd;
    return sum;
}

static enum op_rc add_row(void *arg, const struct op_spend_row *row, struct op_err *err)
{
    (void)err;
    op_money_add(arg, &row->spend);
    return OP_OK;
}

enum op_rc op_money_read(struct op_ledger *ledger, int64_t job, struct op_money *ret,
                         struct op_err *err)
{
    *ret = (struct op_money){0};
    return op_ledger_spends(ledger, job, add_row, ret, err);
}

void op_money_json(const struct op_money *money, struct op_json_out *out)
{
    op_json_out_kv_int(out, "requests", money->count);
    op_json_out_kv_int(out, "microusd", money->microusd);
    op_usage_json(&money->usage, out);
    op_money_lost_json(money, out);
}

void op_money_lost_json(const struct op_money *money, struct op_json_out *out)
{
    op_json_out_kv_int(out, "lost_microusd", op_money_lost(money));
    op_json_out_name(out, "lost");
    op_json_out_object(out);
    for (size_t i = 0; i < OP_LOSS_COUNT; i++) {
        const struct op_money_loss *loss = &money->losses[i];
        op_json_out_name(out, names[i]);
        op_json_out_object(out);
        op_json_out_kv_int(out, "asked_again", loss->again);
        op_json_out_kv_int(out, "asked_again_microusd", loss->again_microusd);
        op_json_out_kv_int(out, "given_up", loss->over);
        op_json_out_kv_int(out, "given_up_microusd", loss->over_microusd);
        op_json_out_end_object(out);
    }
    op_json_out_end_object(out);
}

void op_money_text(const struct op_money *money, int indent, struct op_buf *out)
{
    char n[OP_TEXT_SHORT], usd[OP_TEXT_SHORT];
    for (size_t i = 0; i < OP_LOSS_COUNT; i++) {
        const struct op_money_loss *loss = &money->losses[i];
        if (!loss->again && !loss->over)
            continue;
        op_buf_addf(out, "%*s%-9s", indent, "", names[i]);
        if (loss->again)
            op_buf_addf(out, " %s asked again, paid %s in vain", op_text_count(loss->again, n),
                        op_text_micro(loss->again_microusd, usd));
        if (loss->over)
            op_buf_addf(out, "%s %s given up, paid %s", loss->again ? ";" : "",
                        op_text_count(loss->over, n), op_text_micro(loss->over_microusd, usd));
        op_buf_addc(out, '\n');
    }
}
