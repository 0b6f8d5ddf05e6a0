/* SPDX-License-Identifier: MIT */
#include "engine/orphan.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "core/custom_id.h"
#include "engine/digest.h"
#include "engine/fetch.h"

struct settling {
    struct op_engine *engine;
    const struct op_orphan *orphan;
    struct op_batch batch; /* zero when forgotten */
    const struct op_price_list *prices;
    struct op_parts parts;
    /* what the results hold */
    int64_t *ids; /* of requests, each once, ascending */
    size_t count;
    int64_t answers, microusd, unpriced;
};

static bool is_given_up(enum op_batch_state state)
{
    return state == OP_BATCH_REJECTED || state == OP_BATCH_UNSENT || state == OP_BATCH_VANISHED;
}

/* --- what is in it -------------------------------------------------------------------------- */

static void add_cost(struct settling *s, const struct op_result *result)
{
    const char *provider = s->orphan->lane->provider->name;
    int64_t prompt = op_usage_prompt(&result->usage);
    OP_CLEANUP(op_mem_freep)
    char *model = op_mem_strndup(result->model.ptr ? result->model.ptr : "", result->model.len);
    const struct op_price *price = op_price_find(s->prices, provider, model, prompt);
    if (!price && s->batch.model)
        price = op_price_find(s->prices, provider, s->batch.model, prompt);
    if (price)
        s->microusd += op_price_cost(price, true, &result->usage);
    else
        s->unpriced++;
}

static void read_line(struct settling *s, struct op_json_parser *parser, struct op_buf *scratch,
                      const struct op_line *line)
{
    struct op_json root;
    struct op_result result;
    struct op_err ignored =
        OP_ERR_INIT; /* a line that cannot be read is in the spool all the same */
    op_buf_clear(scratch);
    if (!line->ptr || op_json_parse(parser, line->ptr, line->len, true, &root, &ignored) ||
        s->orphan->lane->provider->decode_result(root, scratch, &result, &ignored))
        return;
    int64_t id = 0;
    if (s->batch.id && op_custom_id_parse(result.custom_id, op_ledger_tag(s->engine->ledger),
                                          s->batch.nonce, &id)) {
        if (s->count % 1024 == 0)
            s->ids = op_mem_realloc(s->ids, (s->count + 1024) * sizeof(*s->ids));
        s->ids[s->count++] = id;
    }
    s->answers += result.class_ == OP_RESULT_SUCCEEDED;
    if (result.has_usage)
        add_cost(s, &result);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void sort_ids(struct settling *s)
{
    if (!s->count)
        return;
    qsort(s->ids, s->count, sizeof(*s->ids), by_value);
    size_t kept = 1;
    for (size_t i = 1; i < s->count; i++) {
        if (s->ids[i] != s->ids[kept - 1])
            s->ids[kept++] = s->ids[i];
    }
    s->count = kept;
}

static enum op_rc read_results(struct settling *s, struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_buf_release) struct op_buf scratch;
    op_buf_init(&scratch, OP_RESULT_LINE_MAX);
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < s->parts.count; i++) {
        OP_CLEANUP(op_mem_freep)
        char *path = op_spool_path(s->engine->spool, s->parts.files[i].file);
        OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
        rc = op_lines_open(s->engine->env, path, 0, OP_RESULT_LINE_MAX, &lines, err);
        while (!rc) {
            struct op_line line;
            rc = op_lines_next(lines, &line, err);
            if (!rc)
                read_line(s, parser, &scratch, &line);
        }
        rc = rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
    }
    sort_ids(s);
    return rc;
}

/* --- taking it back ------------------------------------------------------------------------- */

/* The unsent batches that were to buy these requests again. */
struct rivals {
    int64_t *ids;
    size_t count;
};

static bool has_rival(const struct rivals *rivals, int64_t id)
{
    for (size_t i = 0; i < rivals->count; i++) {
        if (rivals->ids[i] == id)
            return true;
    }
    return false;
}

/* Still to be bought: in no batch, or in one that is not on its way. */
static enum op_rc is_free(struct settling *s, int64_t id, struct rivals *rivals, bool *ret,
                          struct op_err *err)
{
    struct op_ledger *ledger = s->engine->ledger;
    OP_CLEANUP(op_request_release) struct op_request request = {0};
    enum op_rc rc = op_ledger_request_get(ledger, id, &request, err);
    if (rc == OP_NOTFOUND) {
        op_err_clear(err);
        return OP_OK;
    }
    if (rc || request.job_id != s->batch.job_id)
        return rc;
    if (request.state == OP_REQUEST_NEW)
        *ret = true;
    if (request.state != OP_REQUEST_PACKED)
        return OP_OK;
    if (!has_rival(rivals, request.batch_id)) {
        OP_CLEANUP(op_batch_release) struct op_batch rival = {0};
        rc = op_ledger_batch_get(ledger, request.batch_id, &rival, err);
        if (rc || (rival.state != OP_BATCH_BUILT && rival.state != OP_BATCH_UPLOADED))
            return rc;
        rivals->ids = op_mem_realloc(rivals->ids, (rivals->count + 1) * sizeof(*rivals->ids));
        rivals->ids[rivals->count++] = rival.id;
    }
    *ret = true;
    return OP_OK;
}

static enum op_rc all_free(struct settling *s, struct rivals *rivals, bool *ret,
                           struct op_err *err)
{
    bool is_all = (int64_t)s->count == s->batch.count;
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && is_all && i < s->count; i++) {
        bool is_one = false;
        rc = is_free(s, s->ids[i], rivals, &is_one, err);
        is_all = is_one;
    }
    *ret = !rc && is_all;
    return rc;
}

static enum op_rc drop_rivals(struct op_work *work, const struct rivals *rivals,
                              struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < rivals->count; i++) {
        OP_CLEANUP(op_batch_release) struct op_batch rival = {0};
        rc = op_ledger_batch_get(work->engine->ledger, rivals->ids[i], &rival, err);
        if (!rc)
            rc =
                op_work_unpack_inside(work, &rival, OP_BATCH_DROPPED,
                                      "what it was to buy turned out to be bought", false, err);
    }
    return rc;
}

static enum op_rc take_requests(struct settling *s, bool was_counted, struct op_err *err)
{
    struct op_ledger *ledger = s->engine->ledger;
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < s->count; i++) {
        OP_CLEANUP(op_request_release) struct op_request request = {0};
        rc = op_ledger_request_get(ledger, s->ids[i], &request, err);
        request.batch_id = s->batch.id;
        /* A batch that vanished counted as bought in vain: it was not in vain. */
        if (was_counted && request.buy_no > 0)
            request.buy_no--;
        if (!rc)
            rc = op_ledger_request_go(ledger, &request, 0, OP_REQUEST_PACKED, err);
    }
    return rc;
}

static enum op_rc go(struct settling *s, struct op_work *work, enum op_batch_state to,
                     const char *evidence, struct op_err *err)
{
    enum op_rc rc = op_ledger_batch_go(s->engine->ledger, &s->batch, to, evidence, err);
    return rc ? rc : op_work_event(work, &s->batch, err);
}

static enum op_rc add_files(struct settling *s, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < s->parts.count; i++) {
        s->parts.files[i].batch_id = s->batch.id;
        rc = op_ledger_result_file_add(s->engine->ledger, &s->parts.files[i], err);
    }
    return rc;
}

/* One transaction: the rivals go, the batch comes back with its results, its requests are its own
 * again. The order is the ledger's: a batch has to be live before a request may be in it. */
static enum op_rc adopt_inside(struct settling *s, struct op_work *work,
                               const struct rivals *rivals, struct op_err *err)
{
    char evidence[160];
    snprintf(evidence, sizeof(evidence),
             "adopted: its results carry our ids, although it was given up as %s",
             op_batch_state_name(s->batch.state));
    bool was_counted = s->batch.state == OP_BATCH_VANISHED;
    struct op_batch *batch = &s->batch;
    op_batch_take_remote(s->engine, batch, s->orphan->remote);
    batch->provisional = false;
    batch->tries = batch->due_ms = batch->missing_since_ms = 0;
    batch->fetches = 1;
    batch->apply_part = s->parts.files[0].part;
    batch->apply_offset = 0;
    struct op_job_counts delta = {.reserved_microusd = batch->reserved_microusd,
                                  .reasked = was_counted ? -(int64_t)s->count : 0};
    enum op_rc rc = drop_rivals(work, rivals, err);
    if (!rc)
        rc = go(s, work, OP_BATCH_ACCEPTED, evidence, err);
    if (!rc)
        rc = take_requests(s, was_counted, err);
    if (!rc)
        rc = go(s, work, OP_BATCH_ENDED, s->orphan->remote->state_name, err);
    if (!rc)
        rc = add_files(s, err);
    if (!rc)
        rc = go(s, work, OP_BATCH_FETCHED, "", err);
    if (!rc)
        rc = op_ledger_job_count(s->engine->ledger, work->job.id, &delta, err);
    return rc;
}

/* The files the rivals were to be made of. One that stays behind costs room until it expires. */
static void drop_uploads(struct op_work *work, const struct rivals *rivals)
{
    for (size_t i = 0; i < rivals->count; i++) {
        OP_CLEANUP(op_batch_release) struct op_batch rival = {0};
        struct op_err why = OP_ERR_INIT;
        if (!op_ledger_batch_get(work->engine->ledger, rivals->ids[i], &rival, &why))
            op_upload_drop(work, &rival);
    }
}

static enum op_rc adopt(struct settling *s, bool *ret_adopted, struct op_err *err)
{
    struct op_engine *engine = s->engine;
    struct op_work *work = NULL;
    struct op_err why = OP_ERR_INIT;
    /* A job that cannot be loaded here, or that works with another account, gets nothing back now;
     * its results are kept. */
    if (!is_given_up(s->batch.state) || !s->parts.count ||
        op_work_get(engine, s->batch.job_id, &work, &why) ||
        op_batch_lane(op_work_leg(work, s->batch.lane_id), &s->batch) != s->orphan->lane)
        return OP_OK;
    work = op_work_leg(work, s->batch.lane_id);
    struct rivals rivals = {0};
    bool is_whole = false;
    enum op_rc rc = op_ledger_begin(engine->ledger, err);
    if (rc)
        return rc;
    rc = all_free(s, &rivals, &is_whole, err);
    if (!rc && is_whole)
        rc = adopt_inside(s, work, &rivals, err);
    if (!rc && is_whole)
        rc = op_ledger_commit(engine->ledger, err);
    if (rc || !is_whole)
        op_ledger_rollback(engine->ledger);
    else
        drop_uploads(work, &rivals);
    op_mem_free(rivals.ids);
    if (rc || !is_whole)
        return rc;
    engine->fetched_batch = s->batch.id;
    *ret_adopted = true;
    op_log(OP_EVENT_BATCH_ADOPTED, OP_F("batch", s->batch.id),
           OP_T("provider_id", s->orphan->remote->id), OP_F("requests", s->batch.count));
    return OP_OK;
}

/* --- keeping it ----------------------------------------------------------------------------- */

static void describe(const struct settling *s, struct op_buf *out)
{
    op_buf_addz(out, s->orphan->remote->id);
    if (!s->batch.id)
        op_buf_addz(out, ": its results carry ids of this ledger, which has forgotten it: ");
    else if (is_given_up(s->batch.state))
        op_buf_addf(out, ": it is batch-%lld, bought although it was given up as %s: ",
                    (long long)s->batch.id, op_batch_state_name(s->batch.state));
    else
        op_buf_addf(out, ": it is batch-%lld, bought a second time: ", (long long)s->batch.id);
    op_buf_addf(out, "%lld answers, %.6f USD", (long long)s->answers,
                (double)s->microusd / 1e6);
    if (s->unpriced)
        op_buf_addf(out, " and %lld without a price", (long long)s->unpriced);
    op_buf_addz(out, s->batch.id ? "; their records are answered or asked elsewhere; kept in"
                                 : "; kept in");
    for (size_t i = 0; i < s->parts.count; i++)
        op_buf_addf(out, " spool/%s", s->parts.files[i].file);
}

static enum op_rc keep_inside(struct settling *s, struct op_str text, struct op_err *err)
{
    struct op_ledger *ledger = s->engine->ledger;
    enum op_rc rc =
        op_ledger_note_add(ledger, s->batch.job_id, s->batch.id, 0, "orphan", text, err);
    if (rc || !is_given_up(s->batch.state) || !s->batch.id)
        return rc;
    op_batch_take_remote(s->engine, &s->batch, s->orphan->remote);
    op_mem_free(s->batch.evidence);
    s->batch.evidence = op_mem_strndup(text.ptr, text.len);
    rc = op_ledger_batch_save(ledger, &s->batch, err);
    return rc ? rc : add_files(s, err);
}

static enum op_rc keep(struct settling *s, struct op_err *err)
{
    struct op_engine *engine = s->engine;
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, 64 * 1024);
    describe(s, &text);
    enum op_rc rc = op_ledger_begin(engine->ledger, err);
    if (rc)
        return rc;
    rc = keep_inside(s, op_buf_str(&text), err);
    if (!rc)
        rc = op_ledger_commit(engine->ledger, err);
    if (rc) {
        op_ledger_rollback(engine->ledger);
        return rc;
    }
    char created[OP_TIME_TEXT];
    op_time_format(s->orphan->remote->created_ms, created);
    op_log(OP_EVENT_BATCH_ORPHAN, OP_T("provider", s->orphan->lane->provider->name),
           OP_F("requests", s->orphan->remote->total), OP_T("created", created),
           OP_S("whose", op_buf_str(&text)));
    return OP_OK;
}

/* --- settling ------------------------------------------------------------------------------- */

/* The name of its files: of the batch while their numbers are free, else of the provider's id. */
static enum op_rc fetch(struct settling *s, struct op_err *err)
{
    struct op_engine *engine = s->engine;
    char prefix[OP_PROVIDER_ID_MAX + 16];
    int64_t first = 0;
    enum op_rc rc = OP_OK;
    if (s->batch.id && is_given_up(s->batch.state)) {
        snprintf(prefix, sizeof(prefix), "%lld", (long long)s->batch.id);
        rc = op_parts_count(engine, s->batch.id, 0, &first, err);
    } else {
        snprintf(prefix, sizeof(prefix), "orphan-%s", s->orphan->remote->id);
        for (char *c = prefix; *c; c++)
            *c = isalnum((unsigned char)*c) ? *c : '-';
    }
    return rc ? rc
              : op_parts_fetch(engine, s->orphan->lane, s->orphan->remote, prefix, first,
                               &s->parts, err);
}

static enum op_rc settle(struct settling *s, bool *ret_adopted, struct op_err *err)
{
    struct op_err why = OP_ERR_INIT;
    enum op_rc rc = fetch(s, &why);
    if (rc == OP_REMOTE || rc == OP_NOTFOUND || why.disp == OP_DISP_AMBIGUOUS) {
        op_log(OP_EVENT_NOTE, OP_T("provider_id", s->orphan->remote->id),
               OP_T("problem", why.msg));
        return OP_OK;
    }
    if (rc) {
        *err = why;
        return rc;
    }
    bool adopted = false;
    rc = read_results(s, err);
    if (!rc)
        rc = adopt(s, &adopted, err);
    if (!rc && !adopted)
        rc = keep(s, err);
    if (!rc && adopted)
        *ret_adopted = true;
    return rc;
}

enum op_rc op_orphan_settle(struct op_engine *engine, const struct op_orphan *orphan,
                            bool *ret_adopted, struct op_err *err)
{
    bool is_kept = false;
    OP_CLEANUP(op_mem_freep) char *begins = op_mem_printf("%s:", orphan->remote->id);
    enum op_rc rc = op_ledger_note_has(engine->ledger, "orphan", begins, &is_kept, err);
    if (rc || is_kept)
        return rc;
    struct settling s = {.engine = engine, .orphan = orphan};
    if (orphan->batch_id)
        rc = op_ledger_batch_get(engine->ledger, orphan->batch_id, &s.batch, err);
    if (!rc)
        rc = op_batch_prices(engine, &s.batch, &s.prices, err);
    if (!rc)
        rc = settle(&s, ret_adopted, err);
    op_mem_free(s.ids);
    op_parts_release(&s.parts);
    op_batch_release(&s.batch);
    return rc;
}
