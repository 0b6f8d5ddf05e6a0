/* SPDX-License-Identifier: MIT */
#include "view/queues.h"

#include <stdio.h>

#include "base/time.h"
#include "view/text.h"

struct each {
    struct op_ledger *ledger;
    int64_t lane_id;
    int64_t now_ms;
    op_queue_say_fn say;
    void *arg;
    struct op_json_out *json;
};

static void say_one(const struct each *e, const struct op_queue_row *row,
                    const struct op_queue_use *use, bool held)
{
    char a[OP_TEXT_SHORT], b[OP_TEXT_SHORT], until[OP_TIME_TEXT], text[700];
    int len = 0;
    if (row->limit_tokens)
        len = snprintf(text, sizeof(text), "about %s of %s tokens are enqueued (%s)",
                       op_text_count(use->tokens, a), op_text_count(row->limit_tokens, b),
                       row->named ? "the limit is the provider's word"
                                  : "the limit is learned from refusals");
    else
        len = snprintf(text, sizeof(text), "about %s tokens are enqueued, no limit is known",
                       op_text_count(use->tokens, a));
    if (held)
        snprintf(text + len, sizeof(text) - (size_t)len, "; tried again at %s: %.400s",
                 op_text_when(row->hold_until_ms, until), row->reason);
    e->say(e->arg, row->model, held, text);
}

static void json_one(const struct each *e, const struct op_queue_row *row,
                     const struct op_queue_use *use, bool held)
{
    char until[OP_TIME_TEXT];
    struct op_json_out *out = e->json;
    op_json_out_object(out);
    op_json_out_kv_text(out, "model", row->model);
    op_json_out_kv_int(out, "enqueued_tokens", use->tokens);
    op_json_out_kv_int(out, "enqueued_batches", use->batches);
    op_json_out_name(out, "limit_tokens");
    if (row->limit_tokens)
        op_json_out_int(out, row->limit_tokens);
    else
        op_json_out_null(out);
    op_json_out_kv_bool(out, "limit_named", row->named);
    op_json_out_name(out, "held_until");
    op_time_format(row->hold_until_ms, until);
    if (held)
        op_json_out_text(out, until);
    else
        op_json_out_null(out);
    op_json_out_kv_text(out, "reason", row->reason);
    op_json_out_end_object(out);
}

static enum op_rc see_queue(void *arg, const struct op_queue_row *row, struct op_err *err)
{
    const struct each *e = arg;
    struct op_queue_use use;
    if (row->lane_id != e->lane_id)
        return OP_OK;
    enum op_rc rc =
        op_ledger_queue_use(e->ledger, row->lane_id, row->model, 0, e->now_ms, &use, err);
    if (rc)
        return rc;
    bool held = row->hold_until_ms > e->now_ms;
    if (e->json)
        json_one(e, row, &use, held);
    else
        say_one(e, row, &use, held);
    return OP_OK;
}

enum op_rc op_queues_say(struct op_ledger *ledger, int64_t lane_id, op_queue_say_fn fn,
                         void *arg, struct op_err *err)
{
    struct op_env *env = op_env_default();
    struct each e = {.ledger = ledger,
                     .lane_id = lane_id,
                     .now_ms = env->ops->now_ms(env),
                     .say = fn,
                     .arg = arg};
    return op_ledger_queues(ledger, see_queue, &e, err);
}

enum op_rc op_queues_json(struct op_ledger *ledger, int64_t lane_id, struct op_json_out *out,
                          struct op_err *err)
{
    struct op_env *env = op_env_default();
    struct each e = {
        .ledger = ledger, .lane_id = lane_id, .now_ms = env->ops->now_ms(env), .json = out};
    op_json_out_name(out, "queues");
    op_json_out_array(out);
    enum op_rc rc = op_ledger_queues(ledger, see_queue, &e, err);
    op_json_out_end_array(out);
    return rc;
}

void op_calibration_text(const struct op_calibration *c, char *ret, size_t size)
{
    int64_t low = 0, high = 0;
    ret[0] = '\0';
    if (!c->batches || c->estimated <= 0)
        return;
    op_calibration_error(c, &low, &high);
    double off = ((double)c->billed / (double)c->estimated - 1) * 100;
    snprintf(
        ret, size,
        "%.0f %% %s what its bytes say, by %lld batch%s that were billed; a batch was off by "
        "-%.0f to +%.0f %%",
        off < 0 ? -off : off, off < 0 ? "below" : "above", (long long)c->batches,
        c->batches == 1 ? "" : "es", (double)low / 10, (double)high / 10);
}
