/* SPDX-License-Identifier: MIT */
#include "base/hash.h"
#include "base/json.h"
#include "base/json_out.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "core/window.h"
#include "engine/pack.h"
#include "engine/walk.h"

/* Hashes kept for counting duplicates in an estimate; beyond it they are no longer counted. */
#define ESTIMATE_SEEN_MAX 500000

static void write_options(const struct op_work *work, const struct op_job_request *request,
                          struct op_buf *out)
{
    const struct op_engine *engine = work->engine;
    struct op_json_out o;
    op_json_out_init(&o, out, 0);
    op_json_out_object(&o);
    op_json_out_kv_text(&o, "provider", request->provider);
    op_json_out_kv_text(&o, "model", request->model);
    op_json_out_kv_text(&o, "cwd", request->cwd);
    op_json_out_kv_int(&o, "limit", request->limit);
    op_json_out_kv_bool(&o, "no_cache", request->no_cache);
    op_json_out_kv_bool(&o, "fresh", request->fresh);
    op_json_out_kv_bool(&o, "emulate", engine->options.emulator_url != NULL);
    if (request->import) {
        op_json_out_name(&o, "import");
        op_json_out_raw(&o, op_str_from(request->import));
    }
    if (work->plan->options.is_chained)
        op_json_out_kv_bool(&o, "chained", true);
    if (work->mode != OP_MODE_UNSAID)
        op_json_out_kv_text(&o, "mode", op_mode_name(work->mode));
    if (work->tier)
        op_json_out_kv_text(&o, "tier", work->tier);
    if (work->mode == OP_MODE_AUTO)
        op_json_out_kv_int(&o, "realtime_below", work->realtime_below);
    op_json_out_end_object(&o);
}

/* What makes two runs the same job: the pipeline (by folder; by text when it has none), the
 * parameters, and whom and how much they ask. */
static void identity(struct op_engine *engine, const struct op_job_request *request,
                     const struct op_bundle *bundle, const char *definition_sha,
                     const char *params, char ret[OP_SHA256_HEX])
{
    struct op_buf text;
    op_buf_init(&text, 16 * 1024 * 1024);
    op_buf_addz(&text, bundle->dir[0] ? bundle->dir : definition_sha);
    op_buf_addf(&text, "\n%s\n%s\n%s\n%lld\n%d", params,
                request->provider ? request->provider : "",
                request->model ? request->model : "", (long long)request->limit,
                engine->options.emulator_url != NULL);
    if (bundle->profile[0])
        op_buf_addf(&text, "\nprofile\n%s", bundle->profile);
    if (request->import) /* what was brought in, by its content */
        op_buf_addf(&text, "\nimport\n%s", request->import);
    op_sha256_hex(text.ptr, text.len, ret);
    op_buf_release(&text);
}

static bool has_option(const struct op_job *job, const char *name, enum op_json_type type)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root;
    struct op_err ignored = OP_ERR_INIT;
    return !op_json_parse(parser, job->options, strlen(job->options), false, &root, &ignored) &&
           op_json_is(op_json_get(root, name), type);
}

bool op_job_is_imported(const struct op_job *job)
{
    return has_option(job, "import", OP_JSON_OBJECT);
}

bool op_job_is_chained(const struct op_job *job)
{
    return has_option(job, "chained", OP_JSON_TRUE);
}

struct same_job {
    const char *identity;
    int64_t id;
};

static enum op_rc see_job(void *arg, const struct op_job *job, struct op_err *err)
{
    (void)err;
    struct same_job *same = arg;
    if (!same->id && job->state != OP_JOB_FAILED && strcmp(job->identity, same->identity) == 0)
        same->id = job->id;
    return OP_OK;
}

/* The job to go on with; the same import twice is one, also when it is over. */
static enum op_rc find_job(struct op_engine *engine, const struct op_job_request *request,
                           const char *identity, int64_t *ret, struct op_err *err)
{
    if (request->anew)
        return OP_NOTFOUND;
    if (!request->import)
        return op_ledger_job_open(engine->ledger, identity, ret, err);
    struct same_job same = {.identity = identity};
    enum op_rc rc = op_ledger_jobs(engine->ledger, false, see_job, &same, err);
    *ret = same.id;
    return rc ? rc : same.id ? OP_OK : OP_NOTFOUND;
}

static struct op_plan_options plan_options(const struct op_job_request *request,
                                           bool is_chained, const char *work_dir)
{
    return (struct op_plan_options){
        .model = request->model,
        .is_chained = is_chained,
        .limit = request->limit,
        .no_cache = request->no_cache,
        .cwd = request->cwd,
        .work_dir = work_dir,
    };
}

/* The lanes and the plan at one place of the chain. */
static enum op_rc compile(struct op_work *work, const struct op_job_request *request,
                          const struct op_chain *chain, size_t at, bool need_key,
                          struct op_plan **ret_plan, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    OP_CLEANUP(op_mem_freep) const struct op_lane **lanes = NULL;
    enum op_rc rc = op_work_find_lanes(work, chain, at, engine->options.emulator_url != NULL,
                                       need_key, &lanes, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_mem_freep)
    char *work_dir =
        engine->spool ? op_spool_path(engine->spool, "work") : op_mem_strdup("/tmp");
    struct op_plan_options options = plan_options(request, chain->count > 1, work_dir);
    return op_plan_compile(engine->env, &work->def, &work->params, lanes, &work->bundle,
                           &options, ret_plan, err);
}

/* Parses, resolves and compiles into work: everything that can be known before a row is read. */
static enum op_rc prepare(struct op_work *work, const struct op_job_request *request,
                          bool need_key, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    work->bundle = *request->bundle;
    *request->bundle = (struct op_bundle){0};
    enum op_rc rc = op_definition_parse(engine->env, &work->bundle, &work->def, err);
    if (!rc)
        rc = op_params_resolve(&work->def, request->given, request->cwd, &work->params, err);
    OP_CLEANUP(op_chain_release) struct op_chain chain = {0};
    work->tier = request->tier ? op_mem_strdup(request->tier) : NULL;
    work->realtime_below = request->realtime_below;
    if (!rc)
        rc = op_chain_read(&work->def, &work->params, request->provider, request->model, &chain,
                           err);
    if (!rc)
        rc = compile(work, request, &chain, 0, need_key, &work->plan, err);
    /* What is wrong with the last provider is said before anything is bought at the first. */
    for (size_t at = 1; !rc && at < chain.count; at++) {
        OP_CLEANUP(op_plan_freep) struct op_plan *plan = NULL;
        rc = compile(work, request, &chain, at, need_key, &plan, err);
    }
    return rc ? rc : op_mode_choose(work, request, &work->mode, err);
}

/* Durability point: from here on the claim is this job's, and no other is made of it. */
static enum op_rc bind_claim(struct op_ledger *ledger, const struct op_job_request *request,
                             int64_t job, struct op_err *err)
{
    if (!request->claim)
        return OP_OK;
    struct op_claim claim = *request->claim;
    claim.state = OP_CLAIM_WORKING;
    claim.job_id = job;
    return op_ledger_claim_save(ledger, &claim, OP_CLAIM_HELD, err);
}

static enum op_rc add_job(struct op_work *work, const struct op_job_request *request,
                          struct op_str definition, struct op_job *job, struct op_err *err)
{
    struct op_ledger *ledger = work->engine->ledger;
    struct op_buf options;
    op_buf_init(&options, 1024 * 1024);
    write_options(work, request, &options);
    job->options = op_buf_take(&options);
    op_buf_release(&options);
    job->pipeline = op_mem_strdup(work->def.name);
    job->lane_id = work->lanes[0].lane->id;
    job->round = 1;
    job->max_cost_microusd = request->max_cost_microusd;
    enum op_rc rc = op_ledger_begin(ledger, err);
    if (rc)
        return rc;
    rc = op_ledger_definition_put(ledger, job->definition, definition, err);
    if (!rc)
        rc = op_ledger_job_add(ledger, job, err);
    if (!rc)
        rc = bind_claim(ledger, request, job->id, err);
    if (!rc)
        rc = op_ledger_commit(ledger, err);
    if (rc)
        op_ledger_rollback(ledger);
    return rc;
}

/* How a job asks is settled when it begins: what is sent cannot be asked in another way. */
static enum op_rc note_mode(const struct op_job_request *request, const struct op_job *job,
                            struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root;
    enum op_rc rc =
        op_json_parse(parser, job->options, strlen(job->options), false, &root, err);
    if (rc || !request->mode)
        return rc;
    struct op_str mode = op_json_str(op_json_get(root, "mode"));
    if (!op_str_is(mode, request->mode))
        op_log(OP_EVENT_MODE_KEPT, OP_F("job", job->id), OP_T("wanted", request->mode),
               OP_S("goes_on_as", mode.len ? mode : OP_STR("batch")));
    return OP_OK;
}

static enum op_rc resume(struct op_engine *engine, const struct op_job_request *request,
                         const struct op_job *fresh, int64_t id, struct op_err *err)
{
    OP_CLEANUP(op_job_release) struct op_job job = {0};
    enum op_rc rc = op_ledger_job_get(engine->ledger, id, &job, err);
    if (rc)
        return rc;
    if (strcmp(job.definition, fresh->definition) != 0)
        op_log(OP_EVENT_NOTE, OP_F("job", id),
               OP_T("note",
                    "the pipeline was changed since this job began; the job goes on with "
                    "the definition it began with"));
    op_log(OP_EVENT_JOB_RESUMED, OP_F("job", id));
    rc = note_mode(request, &job, err);
    if (rc)
        return rc;
    rc = bind_claim(engine->ledger, request, id, err);
    if (rc)
        return rc;
    if (request->max_cost_microusd && request->max_cost_microusd != job.max_cost_microusd)
        return op_ledger_job_set(engine->ledger, id, request->max_cost_microusd, job.round,
                                 err);
    return OP_OK;
}

static enum op_rc find_or_add(struct op_work *work, const struct op_job_request *request,
                              int64_t *ret_job, bool *ret_resumed, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    OP_CLEANUP(op_job_release) struct op_job job = {0};
    struct op_buf definition, params;
    op_buf_init(&definition, 64 * 1024 * 1024);
    op_buf_init(&params, 1024 * 1024);
    op_bundle_write(&work->bundle, &definition);
    op_params_write(&work->params, &params);
    char sha[OP_SHA256_HEX], id_hash[OP_SHA256_HEX];
    op_sha256_hex(definition.ptr, definition.len, sha);
    identity(engine, request, &work->bundle, sha, params.ptr, id_hash);
    job.definition = op_mem_strdup(sha);
    job.identity = op_mem_strdup(id_hash);
    job.params = op_mem_strdup(params.ptr);
    int64_t id = 0;
    enum op_rc rc = find_job(engine, request, id_hash, &id, err);
    *ret_resumed = rc == OP_OK;
    if (rc == OP_OK) {
        rc = resume(engine, request, &job, id, err);
    } else if (rc == OP_NOTFOUND && !err->rc) {
        rc = add_job(work, request, op_buf_str(&definition), &job, err);
        id = job.id;
    }
    op_buf_release(&definition);
    op_buf_release(&params);
    if (!rc)
        *ret_job = id;
    return rc;
}

static struct op_work *work_new(struct op_engine *engine)
{
    struct op_work *work = op_mem_alloc(sizeof(*work));
    work->engine = engine;
    work->head = work;
    return work;
}

enum op_rc op_engine_job(struct op_engine *engine, const struct op_job_request *request,
                         int64_t *ret_job, bool *ret_resumed, struct op_err *err)
{
    struct op_work *work = work_new(engine);
    enum op_rc rc = prepare(work, request, !request->import, err);
    if (!rc)
        rc = find_or_add(work, request, ret_job, ret_resumed, err);
    op_work_free(work);
    return rc;
}

/* A batch being imagined; one a kind of request, where a batch holds one kind. */
struct imagined {
    int64_t bytes, count, tokens;
};

struct estimating {
    struct op_work *work;
    struct op_estimate *e;
    struct op_map seen;
    struct imagined *open;
    struct op_calibration *calibrations; /* by request, and the most tokens of a batch */
    int64_t *most;
};

static enum op_rc read_calibrations(struct estimating *est, struct op_err *err)
{
    struct op_work *work = est->work;
    struct op_ledger *ledger = work->engine->ledger;
    size_t count = work->def.request_count;
    est->open = op_mem_array(count + 1, sizeof(*est->open));
    est->calibrations = op_mem_array(count + 1, sizeof(*est->calibrations));
    est->most = op_mem_array(count + 1, sizeof(*est->most));
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < count; i++) {
        const struct op_plan_request *request = &work->plan->requests[i];
        const struct op_window queue = {
            .limit = request->lane->provider->limits.max_enqueued_tokens};
        est->most[i] = op_window_batch(&queue);
        if (!ledger)
            continue;
        rc = op_ledger_calibration_get(ledger, request->lane->provider->name, request->model,
                                       &est->calibrations[i], err);
        if (!rc)
            rc = op_queue_batch_tokens(work, request->lane, request->model, &est->most[i], err);
    }
    est->e->calibration = est->calibrations[0];
    if (!rc && count)
        rc = op_queue_limit(work, work->plan->requests[0].lane, work->plan->requests[0].model,
                            &est->e->queue_tokens, &est->e->queue_learned, err);
    return rc;
}

static enum op_rc estimate_record(void *arg, const struct op_walk_record *record,
                                  struct op_err *err)
{
    (void)record;
    (void)err;
    ((struct estimating *)arg)->e->records++;
    return OP_OK;
}

static bool seen_before(struct estimating *est, const uint8_t hash[OP_HASH_LEN])
{
    if (est->seen.count >= ESTIMATE_SEEN_MAX)
        return false;
    return !op_map_add(&est->seen, (struct op_str){(const char *)hash, OP_HASH_LEN}, 1, NULL);
}

static void imagine_packing(struct estimating *est, const struct op_walk_request *request)
{
    const struct op_plan *plan = est->work->plan;
    const struct op_plan_request *asked = &plan->requests[request->name];
    int64_t most = est->most[request->name], len = (int64_t)request->params.len;
    struct imagined *b = &est->open[asked->kind];
    if (b->count == 0 || b->count >= op_batch_requests_most(plan, asked->lane) ||
        b->bytes + len > op_batch_bytes_most(plan, asked->lane) ||
        (most && b->tokens + request->tokens > most)) {
        est->e->batches++;
        *b = (struct imagined){0};
    }
    b->count++;
    b->bytes += len + OP_CUSTOM_ID_MAX + 64;
    b->tokens += request->tokens;
}

static void add_cost(struct estimating *est, const struct op_walk_request *request)
{
    struct op_estimate *e = est->e;
    int64_t cost = 0, realtime = 0;
    const struct op_price *price = NULL;
    if (!op_request_cost(est->work, request->name, request->tokens, true, &cost, &price) ||
        !op_request_cost(est->work, request->name, request->tokens, false, &realtime, NULL)) {
        e->priced = false;
        return;
    }
    e->batch_microusd += cost;
    e->realtime_microusd += realtime;
    if (!e->as_of[0] || strcmp(price->as_of, e->as_of) < 0)
        memcpy(e->as_of, price->as_of, sizeof(e->as_of));
}

static enum op_rc estimate_request(void *arg, const struct op_walk_request *request,
                                   struct op_err *err)
{
    struct estimating *est = arg;
    struct op_estimate *e = est->e;
    (void)err;
    e->requests++;
    if (!e->sample.len) {
        op_buf_init(&e->sample, request->params.len + 1);
        op_buf_add_str(&e->sample, request->params);
    }
    if (seen_before(est, request->hash)) {
        e->duplicates++;
        return OP_OK;
    }
    add_cost(est, request);
    e->prompt_bytes += (int64_t)request->params.len;
    e->prompt_tokens += request->tokens;
    e->max_output_tokens += est->work->plan->requests[request->name].max_tokens;
    e->likely_tokens +=
        op_calibration_apply(&est->calibrations[request->name], request->tokens);
    imagine_packing(est, request);
    return OP_OK;
}

static void estimate_skipped(void *arg, const char *message)
{
    (void)arg;
    op_log(OP_EVENT_INPUT_SKIPPED, OP_T("why", message));
}

static enum op_rc estimate_all(struct estimating *est, struct op_err *err)
{
    struct op_work *work = est->work;
    enum op_rc rc = read_calibrations(est, err);
    if (!rc)
        rc = op_work_stage(work, err);
    struct op_walk walk = {
        .work = work,
        .arg = est,
        .record = estimate_record,
        .request = estimate_request,
        .skipped = estimate_skipped,
    };
    if (!rc)
        rc = op_walk(&walk, err);
    est->e->done = walk.done;
    est->e->skipped = walk.bad;
    return rc;
}

enum op_rc op_engine_estimate(struct op_engine *engine, const struct op_job_request *request,
                              struct op_estimate *ret, struct op_err *err)
{
    struct op_work *work = work_new(engine);
    *ret = (struct op_estimate){.priced = true};
    enum op_rc rc = prepare(work, request, false, err);
    struct estimating est = {.work = work, .e = ret};
    if (!rc) {
        uint32_t random = op_engine_random32(engine);
        if (!op_plan_streams(work->plan))
            work->inputs_db = op_mem_printf("%s/offpeak-%08x.db", "/tmp", random);
        rc = estimate_all(&est, err);
    }
    op_sqlenv_close(OP_TAKE(work->sql));
    if (work->inputs_db)
        (void)engine->env->ops->unlink(engine->env, work->inputs_db);
    op_map_release(&est.seen);
    op_mem_free(est.open);
    op_mem_free(est.calibrations);
    op_mem_free(est.most);
    op_work_free(work);
    return rc;
}
