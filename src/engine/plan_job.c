/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "core/raw_key.h"
#include "engine/import.h"
#include "engine/pack.h"
#include "engine/walk.h"

/* Batches that are being filled at once; each holds a file and a buffer. Records that alternate
 * between more kinds make smaller batches. */
#define KINDS_OPEN 8
/* As in walk.c: the longest params of one request, and the most a record has. */
#define PARAMS_MAX (64 * 1024 * 1024)

/*
 * Planning reads the records once and leaves every request packed, waiting for an identical one, or
 * reused. It commits batch by batch, but nothing is sent while the job is PLANNING, so a crash in
 * the middle only means that planning is wiped and done again.
 */
struct planning {
    struct op_work *work;
    /* One a kind of request. */
    struct op_packer packers[KINDS_OPEN];
    size_t packer_count, evicted;
    int64_t batches, reserved_microusd; /* of packers that made room for another kind */
    struct op_json_parser *parser;
    int64_t record_id;
    bool left_out;              /* the record is beyond --limit */
    int64_t selected;           /* records of this round, new or known */
    int64_t round_first_record; /* keys of earlier rounds may come again */
    int64_t round_first_request;
    struct op_job_counts counts;
    int64_t
        looked_job; /* and whether its requests may be waited for, or only its answers taken */
    bool looked_firm, looked_chained;
    bool primed[64];
    struct op_map raw_counts; /* ids of ready lines that came more than once */
    /* of a chain: the record's columns, and what the other providers would be asked about it */
    struct op_buf data, other;
    struct op_compose_scratch *scratch;
};

/* behind: the batch that is committed may be the one before. */
static enum op_rc commit_batch(struct planning *p, struct op_packer *packer, bool behind,
                               struct op_err *err)
{
    struct op_engine *engine = p->work->engine;
    enum op_rc rc = behind ? op_packer_close_behind(packer, err) : op_packer_close(packer, err);
    if (!rc)
        rc = op_ledger_commit(engine->ledger, err);
    if (rc)
        return rc;
    OP_FAULT(engine, "pack.committed");
    return op_ledger_begin(engine->ledger, err);
}

static void release_packer(struct planning *p, struct op_packer *packer)
{
    p->batches += packer->batches;
    p->reserved_microusd += packer->reserved_microusd;
    op_packer_release(packer);
    *packer = (struct op_packer){0};
}

/* The packer for requests of this kind. */
static enum op_rc packer_of(struct planning *p, int name, struct op_str params,
                            struct op_packer **ret, struct op_err *err)
{
    struct op_work *work = p->work;
    bool one_model = work->plan->requests[name].lane->provider->one_model;
    struct op_str model = OP_STR_NULL;
    enum op_rc rc =
        one_model ? op_request_model(work, name, params, p->parser, &model, err) : OP_OK;
    for (size_t i = 0; !rc && i < p->packer_count; i++) {
        *ret = &p->packers[i];
        if (op_packer_takes(*ret, name, model))
            return OP_OK;
    }
    if (rc)
        return rc;
    bool is_room = p->packer_count < KINDS_OPEN;
    *ret = &p->packers[is_room ? p->packer_count++ : p->evicted++ % KINDS_OPEN];
    if (!is_room) {
        rc = commit_batch(p, *ret, false, err);
        release_packer(p, *ret);
    }
    OP_CLEANUP(op_mem_freep)
    char *text = one_model ? op_mem_strndup(model.ptr, model.len) : NULL;
    op_packer_init(*ret, work, name, text);
    return rc;
}

/* In a later round --limit still means the records that the first rounds took: behind them only
 * known ones are asked again. */
static enum op_rc beyond_limit(struct planning *p, struct op_str key, struct op_err *err)
{
    const struct op_work *work = p->work;
    int64_t limit = work->plan->options.limit, known = 0;
    p->left_out = false;
    if (limit <= 0 || work->job.round <= 1 ||
        work->job.counts.records + p->counts.records < limit)
        return OP_OK;
    enum op_rc rc = op_ledger_record_find(work->engine->ledger, work->job.id, key, &known, err);
    p->left_out = rc == OP_NOTFOUND && !err->rc;
    return p->left_out ? OP_OK : rc;
}

/* A file of ready lines may use an id more than once: each line is a record of its own. */
static enum op_rc add_numbered(struct planning *p, const struct op_walk_record *record,
                               struct op_err *err)
{
    struct op_str id = op_raw_key_id(record->key);
    int64_t n = 1;
    (void)op_map_get(&p->raw_counts, id, &n);
    OP_CLEANUP(op_buf_release) struct op_buf key;
    op_buf_init(&key, OP_SOURCE_MAX_RECORD);
    op_raw_key_write(&key, id, ++n);
    op_map_set(&p->raw_counts, id, n);
    return op_ledger_record_add(p->work->engine->ledger, p->work->job.id, op_buf_str(&key),
                                record->data, &p->record_id, err);
}

static enum op_rc plan_record(void *arg, const struct op_walk_record *record,
                              struct op_err *err)
{
    struct planning *p = arg;
    struct op_ledger *ledger = p->work->engine->ledger;
    enum op_rc rc = beyond_limit(p, record->key, err);
    if (rc || p->left_out)
        return rc;
    rc = op_ledger_record_add(ledger, p->work->job.id, record->key, record->data, &p->record_id,
                              err);
    if (rc == OP_CONFLICT && p->work->def.requests[0].raw && p->work->job.round == 1) {
        op_err_clear(err);
        rc = add_numbered(p, record, err);
    }
    p->selected++;
    op_buf_clear(&p->data);
    if (op_work_is_chained(p->work))
        op_buf_add_str(&p->data, record->data);
    if (rc == OP_CONFLICT && p->record_id < p->round_first_record) {
        op_err_clear(err);
        return record->data.ptr
                   ? op_ledger_record_renew(ledger, p->record_id, record->data, err)
                   : OP_OK;
    }
    if (rc == OP_CONFLICT) {
        op_err_clear(err);
        return op_fail(err, OP_INVAL,
                       "%s: the key '" OP_STR_FMT
                       "' occurs twice; keys must be unique in a job "
                       "(choose another key column, or GROUP BY it)",
                       record->place, OP_STR_ARG(record->key));
    }
    if (!rc)
        p->counts.records++;
    return rc;
}

/* Requests of a plan that was never finished are wiped when it is made again: nobody may wait for
 * one. Answers come from few jobs, so the last one looked at is remembered. */
static enum op_rc is_firm(struct planning *p, const struct op_request *found, bool *ret,
                          struct op_err *err)
{
    enum op_rc rc = OP_OK;
    int64_t job_id = found->job_id;
    if (job_id == p->work->job.id) {
        *ret = true;
        return OP_OK;
    }
    if (job_id != p->looked_job) {
        OP_CLEANUP(op_job_release) struct op_job job = {0};
        rc = op_ledger_job_get(p->work->engine->ledger, job_id, &job, err);
        p->looked_job = rc ? 0 : job_id;
        p->looked_firm = !rc && job.state != OP_JOB_PLANNING;
        p->looked_chained = op_work_is_chained(p->work) || (!rc && op_job_is_chained(&job));
    }
    /* What moves on is bought somewhere else, and is then no answer to this. */
    *ret = p->looked_firm && (!p->looked_chained || found->state == OP_REQUEST_DONE);
    return rc;
}

/* Who already asked this: *ret_same stays 0 when nobody did, or in vain. A stale index entry (its
 * planning was wiped) shows by its hash. What a later round asks again, the answers given before it
 * have left out: only requests of the round itself count then. */
static enum op_rc find_same(struct planning *p, const uint8_t hash[OP_HASH_LEN],
                            int64_t *ret_same, struct op_err *err)
{
    struct op_ledger *ledger = p->work->engine->ledger;
    int64_t id = 0;
    enum op_rc rc = op_ledger_asked_find(ledger, hash, &id, err);
    if (rc == OP_NOTFOUND && !err->rc)
        return OP_OK;
    if (rc)
        return rc;
    OP_CLEANUP(op_request_release) struct op_request found = {0};
    rc = op_ledger_request_get(ledger, id, &found, err);
    if (rc == OP_NOTFOUND) {
        op_err_clear(err);
        return OP_OK;
    }
    if (rc)
        return rc;
    if (memcmp(found.hash, hash, OP_HASH_LEN) != 0 || found.state == OP_REQUEST_FAILED ||
        found.state == OP_REQUEST_CANCELED)
        return OP_OK;
    int64_t same = found.same_as ? found.same_as : found.id;
    if (p->work->job.round > 1 && same < p->round_first_request)
        return OP_OK;
    bool firm = false;
    rc = is_firm(p, &found, &firm, err);
    if (!rc && firm)
        *ret_same = same;
    return rc;
}

/* Another provider of the chain may have answered it: in an earlier run, say, that found no
 * quota at the first. */
static enum op_rc find_elsewhere(struct planning *p, struct op_request *request,
                                 struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (struct op_work *leg = p->work->head; !rc && leg && !request->same_as;
         leg = leg->next_leg) {
        uint8_t hash[OP_HASH_LEN];
        struct op_err why = OP_ERR_INIT;
        if (leg == p->work)
            continue;
        rc = op_work_compose(leg, request->name, op_buf_str(&p->data), p->parser, p->scratch,
                             &p->other, hash, &why);
        if (rc == OP_INVAL) { /* that provider cannot be asked this; it may never have to be */
            rc = OP_OK;
            continue;
        }
        if (rc)
            *err = why;
        if (!rc)
            rc = find_same(p, hash, &request->same_as, err);
        if (request->same_as)
            memcpy(request->hash, hash, sizeof(hash));
    }
    return rc;
}

/* A stub that asks for one token of answer: it writes the prompt cache the others will read. */
static enum op_rc plan_prime(struct planning *p, struct op_packer *packer, int name,
                             struct op_str params, struct op_err *err)
{
    struct op_work *work = p->work;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root;
    enum op_rc rc = op_json_parse(parser, params.ptr, params.len, false, &root, err);
    if (rc)
        return rc;
    struct op_buf stub;
    op_buf_init(&stub, params.len + 4096);
    struct op_amend amend = {.max_tokens = 1};
    rc = packer->lane->provider->amend(root, &amend, &stub, err);
    struct op_request request = {
        .id = op_ledger_next_request(work->engine->ledger),
        .job_id = work->job.id,
        .name = name,
        .state = OP_REQUEST_PACKED,
    };
    if (!rc && packer->open)
        rc = commit_batch(p, packer, false, err);
    if (!rc)
        rc = op_packer_add(packer, request.id, name, op_buf_str(&stub),
                           op_tokens_estimate(stub.ptr, stub.len), &request.payload, err);
    if (!rc) {
        packer->batch.prime = true;
        request.batch_id = request.payload.batch_id;
        rc = op_ledger_request_add(work->engine->ledger, &request, err);
    }
    if (!rc)
        rc = commit_batch(p, packer, false, err);
    op_buf_release(&stub);
    return rc;
}

/* The first request of its kind that is bought warms the cache for the others. */
static enum op_rc prime_once(struct planning *p, struct op_packer *packer,
                             const struct op_walk_request *asked, struct op_err *err)
{
    if (!p->work->def.prime || asked->name >= (int)OP_COUNT(p->primed) ||
        p->primed[asked->name])
        return OP_OK;
    p->primed[asked->name] = true;
    return plan_prime(p, packer, asked->name, asked->params, err);
}

static enum op_rc fits_alone(struct planning *p, const struct op_packer *packer,
                             const struct op_walk_request *asked, struct op_err *err)
{
    struct op_ledger *ledger = p->work->engine->ledger;
    int64_t most = op_batch_bytes_most(p->work->plan, packer->lane);
    int64_t alone = op_packer_alone(packer, op_ledger_next_request(ledger), asked->params.len);
    if (alone <= most)
        return OP_OK;
    OP_CLEANUP(op_buf_release) struct op_buf key;
    op_buf_init(&key, 4096);
    enum op_rc rc = op_ledger_record_data(ledger, p->record_id, &key, NULL, err);
    return rc ? rc
              : op_fail(err, OP_INVAL,
                        "the request '%s' of '%s' makes a batch of %lld bytes alone; "
                        "batch.bytes allows %lld",
                        p->work->def.requests[asked->name].name, key.ptr, (long long)alone,
                        (long long)most);
}

static enum op_rc plan_new(struct planning *p, const struct op_walk_request *asked,
                           struct op_request *request, struct op_err *err)
{
    struct op_ledger *ledger = p->work->engine->ledger;
    struct op_packer *packer = NULL;
    enum op_rc rc = packer_of(p, asked->name, asked->params, &packer, err);
    if (!rc)
        rc = fits_alone(p, packer, asked, err);
    if (!rc)
        rc = prime_once(p, packer, asked, err);
    if (!rc && op_packer_is_full(packer, op_ledger_next_request(ledger), asked->params.len,
                                 asked->tokens))
        rc = commit_batch(p, packer, true, err);
    request->id = op_ledger_next_request(ledger);
    request->state = OP_REQUEST_PACKED;
    if (!rc)
        rc = op_packer_add(packer, request->id, asked->name, asked->params, asked->tokens,
                           &request->payload, err);
    request->batch_id = request->payload.batch_id;
    if (!rc)
        rc = op_ledger_request_add(ledger, request, err);
    return rc ? rc : op_ledger_asked_put(ledger, request->hash, request->id, err);
}

static enum op_rc plan_request(void *arg, const struct op_walk_request *asked,
                               struct op_err *err)
{
    struct planning *p = arg;
    struct op_ledger *ledger = p->work->engine->ledger;
    if (p->left_out)
        return OP_OK;
    struct op_request request = {
        .job_id = p->work->job.id, .record_id = p->record_id, .name = asked->name};
    memcpy(request.hash, asked->hash, OP_HASH_LEN);
    enum op_rc rc = p->work->fresh ? OP_OK : find_same(p, request.hash, &request.same_as, err);
    if (!rc && !p->work->fresh && !request.same_as && op_work_is_chained(p->work))
        rc = find_elsewhere(p, &request, err);
    if (rc)
        return rc;
    p->counts.requests++;
    if (!request.same_as)
        return plan_new(p, asked, &request, err);
    request.id = op_ledger_next_request(ledger);
    request.state = OP_REQUEST_WAITING;
    return op_ledger_request_add(ledger, &request, err);
}

static void plan_skipped(void *arg, const char *message)
{
    struct planning *p = arg;
    op_log(OP_EVENT_INPUT_SKIPPED, OP_F("job", p->work->job.id), OP_T("why", message));
}

static void remove_payload(void *arg, const char *file)
{
    struct op_work *work = arg;
    struct op_err err = OP_ERR_INIT;
    if (op_spool_remove(work->engine->spool, file, &err))
        op_log(OP_EVENT_NOTE, OP_T("problem", err.msg));
}

static enum op_rc finish_planning(struct planning *p, const struct op_walk *walk,
                                  struct op_err *err)
{
    struct op_work *work = p->work;
    struct op_engine *engine = work->engine;
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < p->packer_count; i++) {
        rc = op_packer_close(&p->packers[i], err);
        release_packer(p, &p->packers[i]);
    }
    /* What a later round finds done was asked before it; what is malformed has been counted. */
    p->counts.skipped = work->job.round > 1 ? 0 : walk->done + walk->bad;
    p->counts.reserved_microusd = p->reserved_microusd;
    if (!rc)
        rc = op_ledger_job_count(engine->ledger, work->job.id, &p->counts, err);
    if (!rc)
        rc = op_ledger_job_go(engine->ledger, work->job.id, OP_JOB_PLANNING, OP_JOB_RUNNING, "",
                              err);
    if (!rc)
        rc = op_work_event(work, NULL, err);
    OP_FAULT(engine, "plan.commit");
    if (!rc)
        rc = op_ledger_commit(engine->ledger, err);
    if (rc)
        return rc;
    op_log(OP_EVENT_JOB_PLANNED, OP_F("job", work->job.id), OP_F("records", p->selected),
           OP_F("requests", p->counts.requests), OP_F("batches", p->batches),
           OP_F("already_done", walk->done), OP_F("skipped", walk->bad));
    return OP_OK;
}

static enum op_rc plan_all(struct planning *p, struct op_err *err)
{
    struct op_walk walk = {
        .work = p->work,
        .arg = p,
        .record = plan_record,
        .request = plan_request,
        .skipped = plan_skipped,
    };
    struct op_ledger *ledger = p->work->engine->ledger;
    enum op_rc rc = op_ledger_begin(ledger, err);
    if (rc)
        return rc;
    p->round_first_record = op_ledger_next_record(ledger);
    p->round_first_request = op_ledger_next_request(ledger);
    rc = op_walk(&walk, err);
    if (!rc)
        rc = finish_planning(p, &walk, err);
    if (rc)
        op_ledger_rollback(ledger);
    return rc;
}

enum op_rc op_work_stage(struct op_work *work, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    op_sqlenv_close(OP_TAKE(work->sql));
    work->columns_known = false;
    enum op_rc rc = OP_OK;
    if (work->inputs_db) {
        int64_t rows = 0;
        rc = op_stage(engine->env, work->plan, work->inputs_db, NULL, NULL, &rows, err);
    }
    struct op_sqlenv *sql = NULL;
    if (!rc)
        rc = op_work_sql(work, &sql, err);
    if (!rc)
        rc = op_require(sql, work->plan, err);
    return rc;
}

enum op_rc op_step_plan(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    enum op_rc rc =
        op_ledger_plan_reset(engine->ledger, work->job.id, remove_payload, work, err);
    if (!rc)
        rc = op_work_stage(work, err);
    if (!rc && work->imported) {
        rc = op_import_plan(work, err);
    } else if (!rc) {
        struct planning p = {
            .work = work, .parser = op_json_parser_new(), .scratch = op_compose_scratch_new()};
        op_buf_init(&p.data, PARAMS_MAX);
        op_buf_init(&p.other, PARAMS_MAX);
        rc = plan_all(&p, err);
        for (size_t i = 0; i < p.packer_count; i++)
            release_packer(&p, &p.packers[i]);
        op_json_parser_free(p.parser);
        op_map_release(&p.raw_counts);
        op_buf_release(&p.data);
        op_buf_release(&p.other);
        op_compose_scratch_free(p.scratch);
    }
    /* Bad input ends the job, because the same input would fail again; nothing was bought. A
     * failing machine does not: planning starts over. */
    if (rc == OP_INVAL || rc == OP_NOTFOUND) {
        struct op_err second = OP_ERR_INIT;
        if (!op_ledger_plan_reset(engine->ledger, work->job.id, remove_payload, work,
                                  &second) &&
            op_work_job_go(work, OP_JOB_FAILED, err->msg, &second))
            op_log(OP_EVENT_NOTE, OP_T("problem", second.msg));
    }
    if (rc)
        return rc;
    *ret_worked = true;
    return OP_OK;
}
