/* SPDX-License-Identifier: MIT */
#include "engine/spending.h"

#include "base/mem.h"

static struct op_spend *find(struct op_spending *spending, const struct op_entry *entry,
                             bool again)
{
    for (size_t i = 0; i < spending->count; i++) {
        struct op_spend *s = &spending->sums[i];
        if (s->class_ == entry->class_ && s->valid == entry->valid && s->again == again &&
            (s->model == entry->model || strcmp(s->model, entry->model) == 0))
            return s;
    }
    spending->sums =
        op_mem_realloc(spending->sums, (spending->count + 1) * sizeof(*spending->sums));
    struct op_spend *s = &spending->sums[spending->count++];
    *s = (struct op_spend){
        .model = entry->model, .class_ = entry->class_, .valid = entry->valid, .again = again};
    return s;
}

void op_spending_add(struct op_spending *spending, const struct op_entry *entry, bool again)
{
    struct op_spend *s = find(spending, entry, again);
    s->count++;
    s->microusd += entry->microusd;
    op_usage_add(&s->usage, &entry->usage);
}

enum op_rc op_spending_flush(struct op_spending *spending, struct op_ledger *ledger,
                             int64_t batch_id, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < spending->count; i++) {
        spending->sums[i].batch_id = batch_id;
        rc = op_ledger_spend_add(ledger, &spending->sums[i], err);
    }
    spending->count = 0;
    return rc;
}

void op_spending_release(struct op_spending *spending)
{
    op_mem_free(spending->sums);
    *spending = (struct op_spending){0};
}
