/* SPDX-License-Identifier: MIT */
#include "engine/pack.h"

#include <pthread.h>

#include "base/log.h"
#include "base/mem.h"
#include "core/reconcile.h"
#include "engine/realtime.h"

/* Batches of at least this many requests get a size of their own, so that one can be recognised
 * by its count where a provider has no tags (reference/reliability.md 3.5.2). */
#define WATERMARK_FROM 1000

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t op_batch_requests_most(const struct op_plan *plan, const struct op_lane *lane)
{
    return least(plan->batch_requests, lane->provider->limits.max_requests);
}

int64_t op_batch_bytes_most(const struct op_plan *plan, const struct op_lane *lane)
{
    return least(plan->batch_bytes, lane->provider->limits.max_bytes);
}

void op_packer_init(struct op_packer *packer, struct op_work *work, int name, const char *model)
{
    const struct op_plan_request *request = &work->plan->requests[name];
    *packer = (struct op_packer){.work = work,
                                 .lane = request->lane,
                                 .model = model ? op_mem_strdup(model) : NULL,
                                 .endpoint = request->endpoint,
                                 .prices = &work->engine->prices->list};
    packer->lane->provider->framing(packer->lane, packer->endpoint, &packer->framing);
    op_buf_init(&packer->custom_id, OP_CUSTOM_ID_MAX + 1);
}

static void forget_batch(struct op_packer *packer)
{
    op_batch_release(&packer->batch);
    op_mem_freep(&packer->file);
    packer->open = false;
}

/* --- a batch that is closed behind the next one --- */

struct op_closing {
    struct op_spool *spool;
    struct op_spool_file *file;
    struct op_batch batch;
    pthread_t thread;
    bool threaded; /* and not joined */
    enum op_rc rc;
    struct op_err err;
};

static void *finish_file(void *arg)
{
    struct op_closing *closing = arg;
    closing->rc = op_spool_finish(closing->spool, closing->file, &closing->err);
    return NULL;
}

static enum op_rc join_closing(struct op_closing *closing, struct op_err *err)
{
    if (closing->threaded)
        pthread_join(closing->thread, NULL);
    closing->threaded = false;
    if (closing->rc)
        *err = closing->err;
    return closing->rc;
}

static void forget_closing(struct op_packer *packer)
{
    struct op_closing *closing = packer->closing;
    if (!closing)
        return;
    struct op_err ignored = OP_ERR_INIT;
    (void)join_closing(closing, &ignored);
    op_spool_abort(closing->spool, closing->file);
    op_mem_free(closing->file);
    op_batch_release(&closing->batch);
    op_mem_free(closing);
    packer->closing = NULL;
}

void op_packer_release(struct op_packer *packer)
{
    forget_closing(packer);
    if (packer->open) {
        op_spool_abort(packer->work->engine->spool, packer->file);
        forget_batch(packer);
    }
    op_buf_release(&packer->custom_id);
    op_mem_free(OP_TAKE(packer->model));
    op_json_parser_free(OP_TAKE(packer->parser));
}

enum op_rc op_request_model(const struct op_work *work, int name, struct op_str params,
                            struct op_json_parser *parser, struct op_str *ret,
                            struct op_err *err)
{
    const struct op_plan_request *request = &work->plan->requests[name];
    *ret = op_str_from(request->model);
    if (request->def->raw) {
        struct op_json root;
        enum op_rc rc = op_json_parse(parser, params.ptr, params.len, true, &root, err);
        if (rc)
            return rc;
        struct op_str own = op_json_str(op_json_get(root, "model"));
        if (own.ptr)
            *ret = own;
    }
    if (ret->len == 0 && request->lane->provider->one_model)
        return op_fail(err, OP_INVAL,
                       "%s: a line names no model, and neither does the request: add 'model'",
                       request->def->place);
    return OP_OK;
}

bool op_packer_takes(const struct op_packer *packer, int name, struct op_str model)
{
    const struct op_plan_request *request = &packer->work->plan->requests[name];
    if (packer->lane != request->lane)
        return false;
    return !packer->model || (op_str_is(model, packer->model) &&
                              strcmp(packer->endpoint, request->endpoint) == 0);
}

/* What a request brings along in the file, without separator and tail. */
static size_t line_len(const struct op_packer *packer, int64_t request_id, size_t params_len)
{
    struct op_work *work = packer->work;
    const struct op_batch_framing *f = &packer->framing;
    char id[OP_CUSTOM_ID_MAX + 1];
    char nonce[OP_NONCE_LEN + 1];
    op_nonce_format((const uint8_t[5]){0}, nonce); /* all are of one length */
    size_t id_len =
        op_custom_id_format(op_ledger_tag(work->engine->ledger), nonce, request_id, id);
    return strlen(f->before) + id_len + strlen(f->between) + params_len + strlen(f->after);
}

bool op_packer_is_full(const struct op_packer *packer, int64_t request_id, size_t params_len,
                       int64_t tokens)
{
    if (!packer->open)
        return false;
    if (packer->max_tokens && packer->batch.tokens + tokens > packer->max_tokens)
        return true;
    const struct op_batch_framing *f = &packer->framing;
    size_t more =
        strlen(f->separator) + line_len(packer, request_id, params_len) + strlen(f->tail);
    return packer->batch.count >= packer->max_requests ||
           packer->offset + (int64_t)more > packer->max_bytes;
}

int64_t op_packer_alone(const struct op_packer *packer, int64_t request_id, size_t params_len)
{
    const struct op_batch_framing *f = &packer->framing;
    return (int64_t)(strlen(f->head) + line_len(packer, request_id, params_len) +
                     strlen(f->tail));
}

struct counts_taken {
    int64_t *counts;
    size_t count;
};

static enum op_rc take_count(void *arg, const struct op_batch *batch, struct op_err *err)
{
    (void)err;
    struct counts_taken *taken = arg;
    taken->counts = op_mem_realloc(taken->counts, (taken->count + 1) * sizeof(*taken->counts));
    taken->counts[taken->count++] = batch->count;
    return OP_OK;
}

static enum op_rc choose_size(struct op_packer *packer, struct op_err *err)
{
    struct op_work *work = packer->work;
    packer->max_requests = op_batch_requests_most(work->plan, packer->lane);
    packer->max_bytes = op_batch_bytes_most(work->plan, packer->lane);
    if (op_work_is_realtime(work, packer->lane)) {
        if (packer->max_requests > OP_REALTIME_LIST)
            packer->max_requests = OP_REALTIME_LIST;
        return OP_OK;
    }
    enum op_rc rc = OP_OK;
    if (packer->model)
        rc = op_queue_batch_tokens(work, packer->lane, packer->model, &packer->max_tokens, err);
    if (rc || packer->lane->provider->has_tags || packer->max_requests < WATERMARK_FROM)
        return rc;
    struct op_batch_filter filter = {
        .lane_id = packer->lane->id,
        .states = ~0u & ~OP_STATE_BIT(OP_BATCH_SEALED),
    };
    struct counts_taken taken = {0};
    rc = op_ledger_batches(work->engine->ledger, &filter, take_count, &taken, err);
    if (!rc && packer->closing)
        rc = take_count(&taken, &packer->closing->batch, err);
    if (!rc)
        packer->max_requests =
            op_reconcile_watermark(packer->max_requests, taken.counts, taken.count);
    op_mem_free(taken.counts);
    return rc;
}

static enum op_rc write_text(struct op_packer *packer, const char *ptr, size_t len,
                             struct op_err *err)
{
    packer->offset += (int64_t)len;
    return op_writer_add(&packer->file->writer, ptr, len, err);
}

static enum op_rc begin_batch(struct op_packer *packer, struct op_err *err)
{
    struct op_work *work = packer->work;
    struct op_engine *engine = work->engine;
    enum op_rc rc = choose_size(packer, err);
    if (rc)
        return rc;
    packer->file = op_mem_alloc(sizeof(*packer->file));
    rc = op_spool_begin(engine->spool, "payload", packer->file, err);
    if (rc) {
        op_mem_freep(&packer->file);
        return rc;
    }
    packer->open = true;
    op_writer_background(&packer->file->writer);
    packer->offset = 0;
    packer->batch = (struct op_batch){
        .id = op_ledger_take_batch(engine->ledger),
        .job_id = work->job.id,
        .lane_id = packer->lane->id,
        .endpoint = op_mem_strdup(packer->endpoint),
        .apply_part = 0,
    };
    uint8_t random[5];
    engine->env->ops->random(engine->env, random, sizeof(random));
    op_nonce_format(random, packer->batch.nonce);
    const char *head = packer->framing.head;
    return write_text(packer, head, strlen(head), err);
}

/* A look-up compares names through the whole list, so the last answer is kept: it holds for every
 * longer prompt up to its tier's end. */
static const struct op_price *find_price(struct op_work *work, int name, int64_t tokens)
{
    if (!work->costs)
        work->costs = op_mem_array(work->def.request_count, sizeof(*work->costs));
    struct op_cost_row *row = &work->costs[name];
    if (!row->price || tokens < row->from || tokens > row->price->max_prompt) {
        const struct op_plan_request *request = &work->plan->requests[name];
        row->price = op_price_find(&work->engine->prices->list, request->lane->provider->name,
                                   request->model, tokens);
        row->from = tokens;
    }
    return row->price;
}

bool op_request_cost(struct op_work *work, int name, int64_t tokens, bool batch_price,
                     int64_t *ret_microusd, const struct op_price **ret_price)
{
    const struct op_plan_request *request = &work->plan->requests[name];
    struct op_usage usage = {0};
    usage.tokens[OP_TOKEN_INPUT] = tokens;
    usage.tokens[OP_TOKEN_OUTPUT] = request->max_tokens;
    const struct op_price *price = find_price(work, name, tokens);
    if (!price)
        return false;
    *ret_microusd = op_price_cost(price, batch_price, &usage);
    if (ret_price)
        *ret_price = price;
    return true;
}

/* A batch may ask several models: their names, in the order they came. */
static bool has_model(const char *list, const char *model)
{
    struct op_str rest = op_str_from(list);
    do {
        if (op_str_is(op_str_trim(op_str_cut(&rest, ',')), model))
            return true;
    } while (rest.len);
    return false;
}

static void note_model(struct op_batch *batch, const char *model)
{
    if (!batch->model) {
        batch->model = op_mem_strdup(model);
    } else if (!has_model(batch->model, model)) {
        char *both = op_mem_printf("%s, %s", batch->model, model);
        op_mem_free(batch->model);
        batch->model = both;
    }
}

/* As long as a job may still turn out to be tiny, the higher price is reserved. */
static bool pays_batch_price(const struct op_packer *packer)
{
    const struct op_work *work = packer->work;
    bool may_be_tiny = work->mode == OP_MODE_AUTO && work->job.state == OP_JOB_PLANNING &&
                       packer->batches == 0 && packer->batch.count <= work->realtime_below;
    return op_work_pays_batch_price(work, packer->lane) && !may_be_tiny;
}

enum op_rc op_packer_add(struct op_packer *packer, int64_t request_id, int name,
                         struct op_str params, int64_t tokens, struct op_payload_ref *ret,
                         struct op_err *err)
{
    struct op_work *work = packer->work;
    enum op_rc rc = packer->open ? OP_OK : begin_batch(packer, err);
    if (rc)
        return rc;
    const struct op_batch_framing *f = &packer->framing;
    struct op_batch *batch = &packer->batch;
    char id[OP_CUSTOM_ID_MAX + 1];
    op_custom_id_format(op_ledger_tag(work->engine->ledger), batch->nonce, request_id, id);
    struct op_buf *line = &packer->custom_id;
    op_buf_clear(line);
    line->max = 4096;
    op_buf_addz(line, batch->count ? f->separator : "");
    op_buf_addz(line, f->before);
    op_buf_addz(line, id);
    op_buf_addz(line, f->between);
    rc = write_text(packer, line->ptr, line->len, err);
    int64_t at = packer->offset;
    if (!rc)
        rc = write_text(packer, params.ptr, params.len, err);
    if (!rc)
        rc = write_text(packer, f->after, strlen(f->after), err);
    if (rc)
        return rc;
    *ret = (struct op_payload_ref){batch->id, at, (int64_t)params.len};
    if (!batch->count)
        batch->request_lo = request_id;
    batch->request_hi = request_id > batch->request_hi ? request_id : batch->request_hi;
    batch->request_lo = request_id < batch->request_lo ? request_id : batch->request_lo;
    batch->count++;
    batch->tokens += tokens;
    int64_t cost = 0;
    char model[OP_MODEL_MAX];
    if (op_params_cost(packer, name, params, tokens, pays_batch_price(packer), model, &cost))
        batch->reserved_microusd += cost;
    note_model(batch, model);
    return OP_OK;
}

/* Behind this the batch counts as closed: a failure ends the planning in any case. */
static enum op_rc write_tail(struct op_packer *packer, struct op_err *err)
{
    const char *tail = packer->framing.tail;
    enum op_rc rc = write_text(packer, tail, strlen(tail), err);
    if (rc)
        return rc;
    OP_FAULT(packer->work->engine, "pack.written");
    packer->batches++;
    packer->reserved_microusd += packer->batch.reserved_microusd;
    return OP_OK;
}

/* R3: the file is durable under its name before the row refers to it. */
static enum op_rc add_batch(struct op_packer *packer, struct op_spool_file *file,
                            struct op_batch *batch, struct op_err *err)
{
    struct op_engine *engine = packer->work->engine;
    OP_CLEANUP(op_mem_freep) char *prefix = op_mem_printf("%lld", (long long)batch->id);
    enum op_rc rc = op_spool_commit(engine->spool, file, prefix, ".json", &batch->file,
                                    batch->sha256, &batch->bytes, err);
    if (!rc)
        rc = op_batch_freeze_prices(engine, batch, err);
    if (!rc)
        rc = op_ledger_batch_add(engine->ledger, batch, err);
    if (!rc)
        op_log(OP_EVENT_BATCH_BUILT, OP_F("batch", batch->id), OP_F("requests", batch->count),
               OP_F("bytes", batch->bytes));
    return rc;
}

static enum op_rc end_closing(struct op_packer *packer, struct op_err *err)
{
    struct op_closing *closing = packer->closing;
    if (!closing)
        return OP_OK;
    enum op_rc rc = join_closing(closing, err);
    if (!rc)
        rc = add_batch(packer, closing->file, &closing->batch, err);
    forget_closing(packer);
    return rc;
}

enum op_rc op_packer_close(struct op_packer *packer, struct op_err *err)
{
    enum op_rc rc = end_closing(packer, err);
    if (rc || !packer->open)
        return rc;
    rc = write_tail(packer, err);
    if (!rc)
        rc = add_batch(packer, packer->file, &packer->batch, err);
    if (!rc)
        forget_batch(packer);
    return rc;
}

enum op_rc op_packer_close_behind(struct op_packer *packer, struct op_err *err)
{
    /* What fits into a block costs no thread, here as in the writer. */
    if (!packer->open || packer->file->writer.total <= OP_WRITER_BLOCK)
        return op_packer_close(packer, err);
    enum op_rc rc = end_closing(packer, err);
    if (!rc)
        rc = write_tail(packer, err);
    if (rc)
        return rc;
    struct op_closing *closing = packer->closing = op_mem_alloc(sizeof(*closing));
    *closing = (struct op_closing){.spool = packer->work->engine->spool,
                                   .file = OP_TAKE(packer->file),
                                   .batch = packer->batch,
                                   .err = OP_ERR_INIT};
    packer->batch = (struct op_batch){0};
    packer->open = false;
    closing->threaded = pthread_create(&closing->thread, NULL, finish_file, closing) == 0;
    if (!closing->threaded)
        (void)finish_file(closing);
    return OP_OK;
}
