/* SPDX-License-Identifier: MIT */
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "core/retry.h"
#include "engine/digest.h"
#include "engine/work.h"

/*
 * The provider made several batches of one create (reconcile.c). One of them is the batch; the
 * others, its twins, are canceled, but what they answered before that is paid for: their results are
 * fetched beside the batch's own, fill in what it lacks, and their cost is booked.
 */

/* Past its window a twin that still has not ended is given up: it holds the batch's own results. */
#define GRACE_MS OP_DAY_MS

static bool is_overdue(struct op_work *work, const struct op_batch *batch)
{
    int64_t age = op_engine_now(work->engine) - batch->accepted_ms;
    return age > op_batch_lane(work, batch)->provider->limits.window_ms + GRACE_MS;
}

static enum op_rc wait_for_it(struct op_work *work, struct op_batch *batch, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    int64_t now = op_engine_now(engine);
    batch->due_ms =
        now + op_poll_delay_ms(now - batch->accepted_ms, -1, engine->options.poll_ms);
    op_engine_due(engine, batch->due_ms);
    return op_ledger_batch_save(engine->ledger, batch, err);
}

/* *ret_state: what to do with it. */
enum twin { TWIN_ENDED, TWIN_EMPTY, TWIN_RUNS };

static enum op_rc look(struct op_work *work, const struct op_batch *batch, const char *id,
                       struct op_remote_batch *ret, enum twin *ret_state, struct op_err *err)
{
    int64_t hint = -1;
    enum op_rc rc =
        op_batch_ask(work->engine, op_batch_lane(work, batch), id, false, ret, &hint, err);
    *ret_state = TWIN_RUNS;
    if (rc == OP_NOTFOUND) {
        op_err_clear(err);
        *ret_state = TWIN_EMPTY;
        return OP_OK;
    }
    if (rc)
        return rc;
    if (ret->state == OP_REMOTE_ENDED)
        *ret_state = TWIN_ENDED;
    else if (ret->state == OP_REMOTE_FAILED || is_overdue(work, batch))
        *ret_state = TWIN_EMPTY;
    return OP_OK;
}

enum op_rc op_twins_collect(struct op_work *work, struct op_batch *batch,
                            struct op_remote_batch **ret, size_t *ret_count, bool *ret_ready,
                            struct op_err *err)
{
    struct op_str rest = op_str_from(batch->twins ? batch->twins : "");
    OP_CLEANUP(op_mem_freep) struct op_remote_batch *list = NULL;
    size_t count = 0;
    *ret_ready = false;
    while (rest.len) {
        struct op_str line = op_str_cut(&rest, '\n');
        OP_CLEANUP(op_mem_freep) char *id = op_mem_strndup(line.ptr, line.len);
        struct op_remote_batch twin = {.total = -1};
        enum twin state;
        struct op_err why = OP_ERR_INIT;
        if (!id[0])
            continue;
        enum op_rc rc = look(work, batch, id, &twin, &state, &why);
        if (rc == OP_STOPPED)
            return op_fail(err, OP_STOPPED, "%s", why.msg);
        if (rc)
            return op_batch_later(work, batch, &why, err);
        if (state == TWIN_RUNS)
            return wait_for_it(work, batch, err);
        if (state == TWIN_EMPTY)
            continue;
        list = op_mem_realloc(list, (count + 1) * sizeof(*list));
        list[count++] = twin;
    }
    *ret = OP_TAKE(list);
    *ret_count = count;
    *ret_ready = true;
    return OP_OK;
}

static int64_t line_cost(struct op_work *work, const struct op_batch *batch,
                         const struct op_price_list *prices, struct op_json_parser *parser,
                         struct op_buf *scratch, const struct op_line *line)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    struct op_json root;
    struct op_result result = {0};
    struct op_err ignored = OP_ERR_INIT;
    op_buf_clear(scratch);
    if (!line->ptr || op_json_parse(parser, line->ptr, line->len, true, &root, &ignored) ||
        lane->provider->decode_result(root, scratch, &result, &ignored) || !result.has_usage)
        return 0;
    const struct op_price *price = op_price_find(prices, lane->provider->name, batch->model,
                                                 op_usage_prompt(&result.usage));
    return price ? op_price_cost(price, true, &result.usage) : 0;
}

enum op_rc op_twins_cost(struct op_work *work, const struct op_batch *batch, const char *file,
                         int64_t *ret_microusd, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    OP_CLEANUP(op_mem_freep) char *path = op_spool_path(engine->spool, file);
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_buf_release) struct op_buf scratch;
    op_buf_init(&scratch, OP_RESULT_LINE_MAX);
    const struct op_price_list *prices = NULL;
    enum op_rc rc = op_batch_prices(engine, batch, &prices, err);
    if (!rc)
        rc = op_lines_open(engine->env, path, 0, OP_RESULT_LINE_MAX, &lines, err);
    while (!rc) {
        struct op_line line;
        rc = op_lines_next(lines, &line, err);
        if (!rc)
            *ret_microusd += line_cost(work, batch, prices, parser, &scratch, &line);
    }
    return rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
}
