/* SPDX-License-Identifier: MIT */
/*
 * prices.yaml.
 * Oracle: a list that loads has no negative price, and a cost of it is not negative either; a refusal
 *         names the file.
 */
#include "memory_files.h"
#include "pipeline/prices.h"

FUZZ_TARGET(prices)
{
    struct memory_files fs;
    OP_CLEANUP(op_prices_freep) struct op_prices *prices = NULL;
    struct op_err err = OP_ERR_INIT;
    memory_files_init(&fs, 0);
    memory_files_put(&fs, "/p/prices.yaml", fuzz_rest(in));
    enum op_rc rc = op_prices_load(&fs.env, "/p/prices.yaml", &prices, &err);
    if (rc) {
        fuzz_check_error(rc, &err);
        FUZZ_CHECK(strstr(err.msg, "/p/prices.yaml"), "%s", err.msg);
    } else {
        static const struct op_usage usage = {{1000000, 20, 300, INT64_MAX / 4, 5}};
        for (size_t i = 0; i < prices->list.count; i++) {
            const struct op_price *p = &prices->list.rows[i];
            for (int k = 0; k < OP_TOKEN_KIND_COUNT; k++)
                FUZZ_CHECK(p->realtime[k] >= 0 && p->batch[k] >= 0, "a negative price");
            FUZZ_CHECK(op_price_cost(p, true, &usage) >= 0 &&
                           op_price_cost(p, false, &usage) >= 0,
                       "a negative cost");
            (void)op_price_find(&prices->list, p->provider, p->model, 1000);
        }
    }
    memory_files_release(&fs);
}
