/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "engine/work.h"

/*
 * R5: what a batch was built with includes the prices. Its reservation was made with them, and what
 * its results cost is counted with them, whatever the list says by then.
 */

struct op_frozen_prices {
    struct op_prices *prices;
    struct op_frozen_prices *next;
};

enum op_rc op_batch_freeze_prices(struct op_engine *engine, struct op_batch *batch,
                                  struct op_err *err)
{
    const struct op_prices *prices = engine->prices;
    op_mem_free(batch->prices);
    batch->prices = op_mem_strdup(prices->sha256);
    return op_ledger_prices_put(engine->ledger, prices->sha256, prices->text, err);
}

static enum op_rc thaw(struct op_engine *engine, const char *sha_hex,
                       const struct op_prices **ret, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *text = NULL;
    size_t len = 0;
    struct op_prices *prices = NULL;
    enum op_rc rc = op_ledger_prices_get(engine->ledger, sha_hex, &text, &len, err);
    if (!rc)
        rc = op_prices_read("the frozen price list", (struct op_str){text, len}, &prices, err);
    if (rc)
        return rc;
    struct op_frozen_prices *frozen = op_mem_alloc(sizeof(*frozen));
    *frozen = (struct op_frozen_prices){prices, engine->frozen_prices};
    engine->frozen_prices = frozen;
    *ret = prices;
    return OP_OK;
}

enum op_rc op_batch_prices(struct op_engine *engine, const struct op_batch *batch,
                           const struct op_price_list **ret, struct op_err *err)
{
    const char *sha = batch->prices ? batch->prices : "";
    const struct op_prices *found = NULL;
    if (!sha[0] || strcmp(sha, engine->prices->sha256) == 0)
        found = engine->prices;
    for (const struct op_frozen_prices *f = engine->frozen_prices; f && !found; f = f->next)
        if (strcmp(sha, f->prices->sha256) == 0)
            found = f->prices;
    enum op_rc rc = found ? OP_OK : thaw(engine, sha, &found, err);
    if (rc)
        return op_err_wrap(err, "what batch-%lld costs", (long long)batch->id);
    *ret = &found->list;
    return OP_OK;
}

void op_engine_frozen_prices_free(struct op_engine *engine)
{
    while (engine->frozen_prices) {
        struct op_frozen_prices *next = engine->frozen_prices->next;
        op_prices_free(engine->frozen_prices->prices);
        op_mem_free(engine->frozen_prices);
        engine->frozen_prices = next;
    }
}
