/* SPDX-License-Identifier: MIT */
#include "engine/work.h"

#include "base/json.h"
#include "base/json_out.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/outboxes.h"

#define RECORD_DATA_MAX (64 * 1024 * 1024)

/* What a job needs to know again after a restart, beyond its definition and params. */
struct job_options {
    char *provider, *model, *cwd, *tier;
    enum op_mode mode;
    int64_t limit, realtime_below;
    bool no_cache, fresh, emulate;
};

static void job_options_release(struct job_options *o)
{
    op_mem_free(o->provider);
    op_mem_free(o->model);
    op_mem_free(o->cwd);
    op_mem_free(o->tier);
}

static char *dup_text(struct op_json object, const char *name)
{
    struct op_str s = op_json_str(op_json_get(object, name));
    return s.ptr ? op_mem_strndup(s.ptr, s.len) : NULL;
}

static enum op_rc job_options_read(const char *json, struct job_options *ret,
                                   struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root;
    enum op_rc rc = op_json_parse(parser, json, strlen(json), false, &root, err);
    if (rc)
        return op_err_wrap(err, "the ledger's job options");
    ret->provider = dup_text(root, "provider");
    ret->model = dup_text(root, "model");
    ret->cwd = dup_text(root, "cwd");
    ret->tier = dup_text(root, "tier");
    ret->mode = op_mode_parse(op_json_str(op_json_get(root, "mode")));
    ret->realtime_below = op_json_int(op_json_get(root, "realtime_below"), 0);
    ret->limit = op_json_int(op_json_get(root, "limit"), 0);
    ret->no_cache = op_json_bool(op_json_get(root, "no_cache"), false);
    ret->fresh = op_json_bool(op_json_get(root, "fresh"), false);
    ret->emulate = op_json_bool(op_json_get(root, "emulate"), false);
    return OP_OK;
}

static enum op_rc load_definition(struct op_work *work, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    char *text = NULL;
    size_t len = 0;
    enum op_rc rc =
        op_ledger_definition_get(engine->ledger, work->job.definition, &text, &len, err);
    if (!rc)
        rc = op_bundle_read((struct op_str){text, len}, &work->bundle, err);
    op_mem_free(text);
    if (!rc)
        rc = op_definition_parse(engine->env, &work->bundle, &work->def, err);
    if (!rc)
        rc = op_params_read(&work->def, op_str_from(work->job.params), &work->params, err);
    work->imported = op_job_is_imported(&work->job);
    if (work->imported) { /* both would ask something */
        work->def.rounds = 1;
        work->def.prime = false;
    }
    return rc;
}

/* For the provider at this place of the chain. */
static enum op_rc compile(struct op_work *work, const struct job_options *o, size_t at,
                          size_t *ret_legs, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    OP_CLEANUP(op_chain_release) struct op_chain chain = {0};
    OP_CLEANUP(op_mem_freep) const struct op_lane **lanes = NULL;
    enum op_rc rc =
        op_chain_read(&work->def, &work->params, o->provider, o->model, &chain, err);
    if (!rc)
        rc = op_work_find_lanes(work, &chain, at, o->emulate,
                                !engine->options.read_only && !work->imported, &lanes, err);
    if (rc)
        return rc;
    *ret_legs = chain.count;
    OP_CLEANUP(op_mem_freep) char *work_dir = op_spool_path(engine->spool, "work");
    struct op_plan_options options = {
        .model = o->model,
        .is_chained = chain.count > 1,
        .limit = o->limit,
        .no_cache = o->no_cache && work->job.round <= 1, /* else it would ask all again */
        .round = work->job.round,
        .cwd = o->cwd,
        .work_dir = work_dir,
    };
    return op_plan_compile(engine->env, &work->def, &work->params, lanes, &work->bundle,
                           &options, &work->plan, err);
}

static enum op_rc load(struct op_work *work, int64_t id, size_t at, size_t *ret_legs,
                       struct op_err *err)
{
    struct op_engine *engine = work->engine;
    enum op_rc rc = op_ledger_job_get(engine->ledger, id, &work->job, err);
    if (!rc)
        rc = load_definition(work, err);
    struct job_options options = {0};
    if (!rc)
        rc = job_options_read(work->job.options, &options, err);
    if (!rc) {
        work->fresh = options.fresh;
        work->mode = options.mode;
        work->tier = OP_TAKE(options.tier);
        work->realtime_below = options.realtime_below;
        rc = compile(work, &options, at, ret_legs, err);
    }
    job_options_release(&options);
    if (rc)
        return op_err_wrap(err, "job-%lld", (long long)id);
    if (!op_plan_streams(work->plan)) {
        OP_CLEANUP(op_mem_freep)
        char *name =
            op_mem_printf("input/%lld-%lld.db", (long long)id, (long long)work->job.round);
        work->inputs_db = op_spool_path(engine->spool, name);
    }
    return OP_OK;
}

static enum op_rc load_chain(struct op_work *head, int64_t id, struct op_err *err)
{
    size_t legs = 0;
    enum op_rc rc = load(head, id, 0, &legs, err);
    struct op_work *last = head;
    for (size_t at = 1; !rc && at < legs; at++) {
        last->next_leg = op_mem_alloc(sizeof(*last));
        last = last->next_leg;
        last->engine = head->engine;
        last->head = head;
        rc = load(last, id, at, &legs, err);
    }
    return rc;
}

enum op_rc op_work_get(struct op_engine *engine, int64_t job, struct op_work **ret,
                       struct op_err *err)
{
    for (struct op_work *w = engine->works; w; w = w->next) {
        if (w->job.id == job) {
            *ret = w;
            return OP_OK;
        }
    }
    struct op_work *work = op_mem_alloc(sizeof(*work));
    work->engine = engine;
    work->head = work;
    enum op_rc rc = load_chain(work, job, err);
    if (rc) {
        op_work_free(work);
        return rc;
    }
    work->next = engine->works;
    engine->works = work;
    *ret = work;
    return OP_OK;
}

void op_work_free(struct op_work *work)
{
    if (!work)
        return;
    op_work_free(work->next_leg);
    op_sqlenv_close(work->sql);
    op_plan_free(work->plan);
    op_params_release(&work->params);
    op_definition_release(&work->def);
    op_bundle_release(&work->bundle);
    op_job_release(&work->job);
    op_mem_free(work->inputs_db);
    op_mem_free(work->costs);
    op_mem_free(work->tier);
    for (size_t i = 0; i < work->lane_count; i++)
        op_mem_free(work->lanes[i].no_batches);
    op_mem_free(work->lanes);
    op_mem_free(work->lane_names);
    op_mem_free(work);
}

enum op_rc op_work_refresh(struct op_work *work, struct op_err *err)
{
    struct op_job job = {0};
    enum op_rc rc = op_ledger_job_get(work->engine->ledger, work->job.id, &job, err);
    if (rc)
        return rc;
    op_job_release(&work->job);
    work->job = job;
    return OP_OK;
}

/* A stream is not opened again for its columns: the file may be gone or another one by now. The
 * records hold them where a SELECT can ask for them, and prompts are not rendered any more. */
static enum op_rc columns_of_stream(struct op_work *work, struct op_err *err)
{
    struct op_ledger *ledger = work->engine->ledger;
    struct op_plan *plan = work->plan;
    int64_t id = 0;
    enum op_rc rc =
        plan->keeps_data ? op_ledger_record_any(ledger, work->job.id, &id, err) : OP_NOTFOUND;
    if (rc)
        return rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
    OP_CLEANUP(op_buf_release) struct op_buf data;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    op_buf_init(&data, RECORD_DATA_MAX);
    struct op_json root;
    rc = op_ledger_record_data(ledger, id, NULL, &data, err);
    if (!rc)
        rc = op_json_parse(parser, data.ptr, data.len, true, &root, err);
    if (rc)
        return op_err_wrap(err, "the ledger's data of record %lld", (long long)id);
    size_t count = 0;
    const char **names = op_arena_array(&plan->arena, op_json_count(root) + 1, sizeof(*names));
    struct op_json_iter it = op_json_iter(root);
    while (op_json_next(&it))
        names[count++] = op_arena_strdup(&plan->arena, it.name);
    plan->record_columns = names;
    plan->record_column_count = count;
    return OP_OK;
}

/* The record columns of a job planned by an earlier process are found out again. */
enum op_rc op_work_columns(struct op_work *work, struct op_err *err)
{
    if (work->columns_known)
        return OP_OK;
    if (!work->inputs_db && work->job.state != OP_JOB_PLANNING) {
        enum op_rc known = columns_of_stream(work, err);
        work->columns_known = !known;
        return known;
    }
    OP_CLEANUP(op_select_closep) struct op_select *select = NULL;
    enum op_rc rc = op_select_open(work->engine->env, work->plan, work->inputs_db, NULL, NULL,
                                   &select, err);
    if (rc)
        return rc;
    work->columns_known = true;
    return OP_OK;
}

enum op_rc op_work_sql(struct op_work *work, struct op_sqlenv **ret, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    if (!work->sql) {
        rc = op_work_columns(work, err);
        if (!rc)
            rc = op_sqlenv_open(work->plan, work->inputs_db, &work->sql, err);
    }
    if (!rc)
        *ret = work->sql;
    return rc;
}

char *op_work_outbox(const struct op_work *work, int output)
{
    return op_mem_printf("outbox/%lld-%d.rows", (long long)work->job.id, output);
}

enum op_rc op_work_append(struct op_work *work, struct op_buf *frames, const int64_t *rows,
                          struct op_err *err)
{
    OP_CLEANUP(op_outboxes_release) struct op_outboxes outboxes;
    op_outboxes_init(&outboxes, work);
    enum op_rc rc = op_outboxes_add(&outboxes, frames, rows, err);
    return rc ? rc : op_outboxes_count(&outboxes, err);
}

struct op_buf *op_frames_new(const struct op_work *work)
{
    struct op_buf *frames = op_mem_array(work->def.output_count + 1, sizeof(*frames));
    for (size_t i = 0; i < work->def.output_count; i++)
        op_buf_init(&frames[i], OP_FRAMES_MAX);
    return frames;
}

void op_frames_free(const struct op_work *work, struct op_buf *frames)
{
    if (!frames)
        return;
    for (size_t i = 0; i < work->def.output_count; i++)
        op_buf_release(&frames[i]);
    op_mem_free(frames);
}

static bool has_event(const struct op_work *work, enum op_output_event on)
{
    for (size_t i = 0; i < work->def.output_count; i++) {
        if (work->def.outputs[i].on == on)
            return true;
    }
    return false;
}

/* The job's requests for the view `requests`, fetched in pages. */
#define LISTED_MOST 256
struct listing {
    struct op_work *work;
    int64_t batch_id, last_id; /* of the page: 0 any; behind it there is none */
    struct op_request page[LISTED_MOST];
    size_t count, at;
    int64_t record_id; /* whose key is at hand */
    struct op_buf key;
};

static enum op_rc list_one(void *arg, const struct op_request *request, struct op_err *err)
{
    struct listing *l = arg;
    (void)err;
    if (request->id > l->last_id)
        return OP_STOPPED;
    if ((l->batch_id && request->batch_id != l->batch_id) ||
        !request->record_id) /* the stub that warmed a cache */
        return OP_OK;
    struct op_request *copy = &l->page[l->count++];
    *copy = *request;
    copy->reason = op_mem_strdup(request->reason ? request->reason : "");
    return l->count == LISTED_MOST ? OP_STOPPED : OP_OK;
}

static void listing_clear(struct listing *l)
{
    for (size_t i = 0; i < l->count; i++)
        op_request_release(&l->page[i]);
    l->count = l->at = 0;
}

static enum op_rc fill_page(struct listing *l, int64_t batch_id, int64_t after_id,
                            struct op_err *err)
{
    struct op_ledger *ledger = l->work->engine->ledger;
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    enum op_rc rc = batch_id ? op_ledger_batch_get(ledger, batch_id, &batch, err) : OP_OK;
    listing_clear(l);
    l->batch_id = batch_id;
    l->last_id = batch_id ? batch.request_hi : INT64_MAX;
    if (rc == OP_NOTFOUND) {
        op_err_clear(err);
        return OP_OK;
    }
    if (!rc)
        rc = op_ledger_requests(ledger, l->work->job.id, OP_REQUEST_STATE_COUNT,
                                after_id < batch.request_lo ? batch.request_lo - 1 : after_id,
                                list_one, l, err);
    return rc == OP_STOPPED ? OP_OK : rc;
}

static enum op_rc next_listed(void *arg, int64_t batch_id, int64_t after_id,
                              struct op_context_request *ret, struct op_err *err)
{
    struct listing *l = arg;
    struct op_ledger *ledger = l->work->engine->ledger;
    enum op_rc rc = OP_OK;
    if (batch_id != l->batch_id || l->at == l->count ||
        after_id != (l->at ? l->page[l->at - 1].id : -1))
        rc = fill_page(l, batch_id, after_id, err);
    if (rc)
        return rc;
    if (l->at == l->count)
        return OP_NOTFOUND;
    const struct op_request *request = &l->page[l->at++];
    if (request->record_id != l->record_id) {
        l->record_id = request->record_id;
        op_buf_clear(&l->key);
        rc = op_ledger_record_data(ledger, l->record_id, &l->key, NULL, err);
        if (rc)
            return rc;
    }
    *ret = (struct op_context_request){.id = request->id,
                                       .record_id = request->record_id,
                                       .key = op_buf_str(&l->key),
                                       .name = request->name,
                                       .state = op_request_state_name(request->state),
                                       .batch_id = request->batch_id,
                                       .buy_no = request->buy_no,
                                       .reason = op_str_from(request->reason)};
    return OP_OK;
}

static enum op_rc listed_record(void *arg, int64_t record_id, struct op_buf *ret,
                                struct op_err *err)
{
    const struct listing *l = arg;
    return op_ledger_record_data(l->work->engine->ledger, record_id, NULL, ret, err);
}

enum op_rc op_work_event(struct op_work *work, const struct op_batch *batch, struct op_err *err)
{
    enum op_output_event on = batch ? OP_ON_BATCH : OP_ON_JOB;
    if (!has_event(work, on))
        return OP_OK;
    struct op_sqlenv *sql = NULL;
    enum op_rc rc = op_work_sql(work, &sql, err);
    if (!rc)
        rc = op_work_refresh(work, err);
    if (rc)
        return rc;
    const struct op_lane *lane = batch ? op_batch_lane(work, batch) : work->lanes[0].lane;
    struct listing listing = {.work = work};
    op_buf_init(&listing.key, OP_SOURCE_MAX_RECORD);
    struct op_context context = {.job = &work->job,
                                 .batch = batch,
                                 .lane = lane,
                                 .request = -1,
                                 .next_request = next_listed,
                                 .request_record = listed_record,
                                 .request_arg = &listing};
    op_sqlenv_set(sql, &context);
    struct op_buf *frames = op_frames_new(work);
    int64_t *rows = op_mem_array(work->def.output_count + 1, sizeof(*rows));
    struct op_buf problems;
    op_buf_init(&problems, 64 * 1024);
    rc = op_sqlenv_rows(sql, on, frames, rows, &problems, err);
    if (!rc && problems.len)
        op_log(OP_EVENT_OUTPUT_FAILED, OP_F("job", work->job.id),
               OP_S("why", op_buf_str(&problems)));
    if (!rc)
        rc = op_work_append(work, frames, rows, err);
    context.next_request = NULL;
    op_sqlenv_set(sql, &context);
    listing_clear(&listing);
    op_buf_release(&listing.key);
    op_buf_release(&problems);
    op_frames_free(work, frames);
    op_mem_free(rows);
    return rc;
}

static enum op_rc move_inside(struct op_work *work, struct op_batch *batch,
                              enum op_batch_state to, const char *evidence, struct op_err *err)
{
    enum op_rc rc = op_ledger_batch_go(work->engine->ledger, batch, to, evidence, err);
    /* A batch that ends without being applied gives back what it had reserved. */
    if (!rc && op_batch_is_final(to) && to != OP_BATCH_SEALED && batch->reserved_microusd) {
        struct op_job_counts delta = {.reserved_microusd = -batch->reserved_microusd};
        rc = op_ledger_job_count(work->engine->ledger, work->job.id, &delta, err);
    }
    if (!rc)
        rc = op_work_event(work, batch, err);
    return rc;
}

static enum op_rc close_transaction(struct op_work *work, enum op_rc rc, struct op_err *err)
{
    if (!rc)
        rc = op_ledger_commit(work->engine->ledger, err);
    if (rc)
        op_ledger_rollback(work->engine->ledger);
    return rc;
}

enum op_rc op_work_move(struct op_work *work, struct op_batch *batch, enum op_batch_state to,
                        const char *evidence, struct op_err *err)
{
    enum op_rc rc = op_ledger_begin(work->engine->ledger, err);
    if (rc)
        return rc;
    return close_transaction(work, move_inside(work, batch, to, evidence, err), err);
}

enum op_rc op_work_unpack_inside(struct op_work *work, struct op_batch *batch,
                                 enum op_batch_state to, const char *evidence, bool bought,
                                 struct op_err *err)
{
    struct op_ledger *ledger = work->engine->ledger;
    enum op_rc rc = move_inside(work, batch, to, evidence, err);
    int64_t count = 0;
    if (!rc)
        rc = op_ledger_batch_unpack(ledger, batch->id, OP_REASK_SAME, bought, evidence, &count,
                                    err);
    if (!rc && bought) {
        struct op_job_counts delta = {.reasked = count};
        rc = op_ledger_job_count(ledger, work->job.id, &delta, err);
    }
    return rc;
}

enum op_rc op_work_move_unpack(struct op_work *work, struct op_batch *batch,
                               enum op_batch_state to, const char *evidence, bool bought,
                               struct op_err *err)
{
    enum op_rc rc = op_ledger_begin(work->engine->ledger, err);
    if (rc)
        return rc;
    rc = op_work_unpack_inside(work, batch, to, evidence, bought, err);
    return close_transaction(work, rc, err);
}

enum op_rc op_work_job_go(struct op_work *work, enum op_job_state to, const char *reason,
                          struct op_err *err)
{
    struct op_engine *engine = work->engine;
    enum op_rc rc = op_ledger_begin(engine->ledger, err);
    if (rc)
        return rc;
    rc = op_ledger_job_go(engine->ledger, work->job.id, work->job.state, to, reason, err);
    /* A job that could not be planned has no columns to run its SELECTs over. */
    if (!rc && to != OP_JOB_FAILED && work->job.state != OP_JOB_PLANNING)
        rc = op_work_event(work, NULL, err);
    rc = close_transaction(work, rc, err);
    if (!rc)
        rc = op_work_refresh(work, err);
    return rc;
}
