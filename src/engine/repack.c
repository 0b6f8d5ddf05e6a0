/* SPDX-License-Identifier: MIT */
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/pack.h"

/* What may be put before a model of its own wrong answer and what is wrong with it. */
#define REASK_TEXT_MAX (4 * 1024 * 1024)
#define PARAMS_MAX     (64 * 1024 * 1024)
/* A cut answer gets this much more room. */
#define MORE_ROOM 2

struct repack {
    struct op_work *work;
    struct op_packer packer; /* of one kind at a time */
    bool has_packer;
    bool others; /* requests of other kinds are left for another walk */
    struct op_json_parser *parser;
    struct op_json_parser *line_parser;
    struct op_buf params, amended, text, line, scratch;
    int64_t count;
    int64_t sound_batch; /* its payload file was hashed and is as it was built */
    int64_t failed;      /* requests whose text is lost */
    /* of the payload looked at last: whose it is, and who asks what is in it now */
    int64_t home_batch;
    bool refused;
    struct op_work *home, *asker;
    struct op_compose_scratch *compose;
};

static enum op_rc commit_packed(struct repack *r, struct op_err *err)
{
    struct op_engine *engine = r->work->engine;
    int64_t before = r->packer.reserved_microusd;
    enum op_rc rc = op_packer_close(&r->packer, err);
    if (rc)
        return rc;
    struct op_job_counts delta = {.reserved_microusd = r->packer.reserved_microusd - before,
                                  .failed = r->failed};
    r->failed = 0;
    rc = op_ledger_job_count(engine->ledger, r->work->job.id, &delta, err);
    if (!rc)
        rc = op_ledger_commit(engine->ledger, err);
    if (!rc)
        OP_FAULT(engine, "repack.committed");
    return rc;
}

/* A request that waited in vain for an identical one has that one's params. */
static enum op_rc find_payload(struct repack *r, const struct op_request *request,
                               struct op_payload_ref *ret, struct op_err *err)
{
    *ret = request->payload;
    if (ret->batch_id || !request->same_as)
        return OP_OK;
    OP_CLEANUP(op_request_release) struct op_request primary = {0};
    enum op_rc rc =
        op_ledger_request_get(r->work->engine->ledger, request->same_as, &primary, err);
    if (!rc)
        *ret = primary.payload;
    return rc;
}

static enum op_rc read_params(struct repack *r, const struct op_payload_ref *ref,
                              struct op_err *err)
{
    struct op_engine *engine = r->work->engine;
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    enum op_rc rc = op_ledger_batch_get(engine->ledger, ref->batch_id, &batch, err);
    op_buf_clear(&r->params);
    /* What goes out again must be what was asked: a payload is hashed before it is used again. */
    if (!rc && ref->batch_id != r->sound_batch)
        rc = op_spool_verify(engine->spool, batch.file, batch.bytes, batch.sha256, err);
    if (!rc) {
        r->sound_batch = ref->batch_id;
        rc = op_spool_read(engine->spool, batch.file, ref->offset, ref->len, &r->params, err);
    }
    return rc;
}

static enum op_rc take_note(void *arg, const struct op_note *note, struct op_err *err)
{
    (void)err;
    struct op_buf *text = arg;
    if (!strcmp(note->kind, "schema") || !strcmp(note->kind, "check")) {
        op_buf_clear(text); /* the latest counts */
        op_buf_addz(text, note->text);
    }
    return OP_OK;
}

static void number_lines(struct op_buf *text)
{
    OP_CLEANUP(op_mem_freep) char *plain = op_buf_take(text);
    struct op_str rest = op_str_from(plain);
    for (int number = 1; rest.len; number++) {
        struct op_str line = op_str_cut(&rest, '\n');
        if (line.len)
            op_buf_addf(text, "%d. " OP_STR_FMT "\n", number, OP_STR_ARG(line));
    }
}

static enum op_rc keep_last(void *arg, const struct op_result_row *row, struct op_err *err)
{
    (void)err;
    if (row->part >= 0)
        *(struct op_result_row *)arg = *row;
    return OP_OK;
}

/* Who asks this request, and whether it has to be written anew for that: true when it is not us. */
static enum op_rc is_of_another(struct repack *r, const struct op_request *request,
                                bool *ret_other, bool *ret_moved, struct op_err *err)
{
    struct op_payload_ref ref = {0};
    *ret_other = *ret_moved = false;
    if (!op_work_is_chained(r->work))
        return OP_OK;
    enum op_rc rc = find_payload(r, request, &ref, err);
    bool refused = op_str_starts(op_str_from(request->reason), op_no_quota);
    if (!rc && (!r->home || r->home_batch != ref.batch_id || r->refused != refused)) {
        rc = op_work_leg_of_batch(r->work, ref.batch_id, &r->home, err);
        if (!rc)
            rc = op_work_asker(r->home, refused, &r->asker, err);
        r->home_batch = ref.batch_id;
        r->refused = refused;
    }
    *ret_other = r->asker != r->work;
    *ret_moved = r->home != r->work;
    return rc;
}

/* The answer text of the request's last result. */
static enum op_rc last_answer(struct repack *r, int64_t request_id, struct op_str *ret,
                              struct op_err *err)
{
    struct op_engine *engine = r->work->engine;
    struct op_result_row row = {.part = -1};
    enum op_rc rc = op_ledger_request_results(engine->ledger, request_id, keep_last, &row, err);
    *ret = OP_STR("");
    if (rc || row.part < 0)
        return rc;
    struct op_result_file file = {0};
    rc = op_ledger_result_file_get(engine->ledger, row.batch_id, row.part, &file, err);
    op_buf_clear(&r->line);
    op_buf_clear(&r->scratch);
    if (!rc)
        rc = op_spool_read(engine->spool, file.file, row.offset, row.len, &r->line, err);
    op_result_file_release(&file);
    struct op_json root;
    struct op_result result = {0};
    if (!rc)
        rc = op_json_parse(r->line_parser, r->line.ptr, r->line.len, true, &root, err);
    struct op_work *leg = NULL;
    if (!rc)
        rc = op_work_leg_of_batch(r->work, row.batch_id, &leg, err);
    const struct op_lane *lane =
        rc || leg == r->work ? r->packer.lane : leg->plan->requests[0].lane;
    if (!rc)
        rc = op_result_read(lane->provider, root, &r->scratch, &result, err);
    if (!rc && result.text.ptr && result.text.len < REASK_TEXT_MAX)
        *ret = result.text;
    return rc;
}

/* How the APIs call it; where a request says none of them, the plan knows what it was made with. */
static int64_t more_room(const struct op_plan_request *request, struct op_json params)
{
    static const char *const names[] = {"/max_tokens", "/max_output_tokens",
                                        "/max_completion_tokens",
                                        "/generationConfig/maxOutputTokens"};
    int64_t now = 0;
    for (size_t i = 0; i < OP_COUNT(names) && now <= 0; i++)
        now = op_json_int(op_json_pointer(params, op_str_from(names[i])), 0);
    if (now <= 0 && !request->def->raw)
        now = request->max_tokens;
    return now > 0 && now < INT64_MAX / MORE_ROOM ? now * MORE_ROOM : 0;
}

/* The same bytes again, or amended for the reason it is asked again. *ret lives in r. */
static enum op_rc amend(struct repack *r, const struct op_request *request, struct op_str *ret,
                        struct op_err *err)
{
    *ret = op_buf_str(&r->params);
    if (request->reask != OP_REASK_INVALID && request->reask != OP_REASK_TRUNCATED)
        return OP_OK;
    struct op_json root;
    enum op_rc rc = op_json_parse(r->parser, r->params.ptr, r->params.len, true, &root, err);
    if (rc)
        return rc;
    struct op_amend change = {0};
    if (request->reask == OP_REASK_TRUNCATED) {
        change.max_tokens = more_room(&r->work->plan->requests[request->name], root);
    } else {
        op_buf_clear(&r->text);
        rc = op_ledger_notes(r->work->engine->ledger, 0, 0, request->id, take_note, &r->text,
                             err);
        number_lines(&r->text);
        change.violations = op_buf_str(&r->text);
        if (!rc)
            rc = last_answer(r, request->id, &change.answer, err);
    }
    op_buf_clear(&r->amended);
    if (!rc)
        rc = r->packer.lane->provider->amend(root, &change, &r->amended, err);
    *ret = op_buf_str(&r->amended);
    return rc;
}

/* Whether this one's answer will do: it is about to be bought, or, for a request that has
 * just come to be the same, was. What another job's chain has not bought yet may be bought
 * somewhere else. */
static enum op_rc is_buyer(struct repack *r, const struct op_request *request,
                           const struct op_request *found, bool moved, bool *ret,
                           struct op_err *err)
{
    bool open = found->state == OP_REQUEST_NEW || found->state == OP_REQUEST_PACKED;
    bool done = moved && found->state == OP_REQUEST_DONE && r->work->job.round == 1;
    *ret = memcmp(found->hash, request->hash, OP_HASH_LEN) == 0 && !found->same_as &&
           (open || done);
    if (!*ret || done || found->job_id == request->job_id)
        return OP_OK;
    /* A plan that is not finished may be wiped yet. */
    OP_CLEANUP(op_job_release) struct op_job job = {0};
    enum op_rc rc = op_ledger_job_get(r->work->engine->ledger, found->job_id, &job, err);
    *ret = !rc && job.state != OP_JOB_PLANNING && !op_work_is_chained(r->work) &&
           !op_job_is_chained(&job);
    return rc;
}

/* The request whose answer will do; *ret stays 0 when there is none. */
static enum op_rc find_buyer(struct repack *r, const struct op_request *request, bool moved,
                             int64_t *ret, struct op_err *err)
{
    struct op_ledger *ledger = r->work->engine->ledger;
    int64_t id = 0;
    if (r->work->fresh || !request->record_id)
        return OP_OK;
    enum op_rc rc = op_ledger_asked_find(ledger, request->hash, &id, err);
    if (rc || id == request->id)
        return rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
    OP_CLEANUP(op_request_release) struct op_request found = {0};
    rc = op_ledger_request_get(ledger, id, &found, err);
    if (rc == OP_NOTFOUND) {
        op_err_clear(err);
        return OP_OK;
    }
    bool will_do = false;
    if (!rc)
        rc = is_buyer(r, request, &found, moved, &will_do, err);
    if (will_do)
        *ret = found.id;
    return rc;
}

/* Of identical requests that have to be asked again only one is bought, as in planning: the others
 * wait for it. */
static enum op_rc wait_for(struct repack *r, const struct op_request *found, int64_t buyer,
                           struct op_err *err)
{
    struct op_request request = *found;
    request.same_as = buyer;
    request.reask = OP_REASK_NONE;
    r->count++;
    return op_ledger_request_go(r->work->engine->ledger, &request, 0, OP_REQUEST_WAITING, err);
}

/* The text of a request is lost with its payload file: it can only fail, and be planned anew by the
 * next run. */
static enum op_rc fail_one(struct repack *r, const struct op_request *found,
                           const struct op_err *lost, struct op_err *err)
{
    struct op_ledger *ledger = r->work->engine->ledger;
    struct op_request request = *found;
    OP_CLEANUP(op_mem_freep) char *reason = op_mem_printf("its text is lost: %s", lost->msg);
    request.reason = reason;
    op_log(OP_EVENT_REQUEST_FAILED, OP_F("request", found->id), OP_T("why", reason));
    r->failed += found->record_id != 0;
    r->count++;
    enum op_rc rc = op_ledger_note_add(ledger, found->job_id, 0, found->id, "error",
                                       op_str_from(reason), err);
    return rc ? rc : op_ledger_request_go(ledger, &request, 0, OP_REQUEST_FAILED, err);
}

/* False: the walk is for another kind of requests. Raw lines tell their kind only when they have
 * been read: params ptr NULL asks whether it is worth reading them. */
static enum op_rc is_of_kind(struct repack *r, const struct op_request *found,
                             struct op_str params, bool *ret, struct op_err *err)
{
    struct op_work *work = r->work;
    const struct op_plan_request *request = &work->plan->requests[found->name];
    struct op_str model = op_str_from(request->model);
    bool one_model = request->lane->provider->one_model;
    *ret = true;
    if (one_model && request->def->raw && !params.ptr)
        return OP_OK;
    enum op_rc rc = OP_OK;
    if (one_model && request->def->raw)
        rc = op_request_model(work, found->name, params, r->parser, &model, err);
    if (rc)
        return rc;
    if (!r->has_packer) {
        OP_CLEANUP(op_mem_freep)
        char *text = one_model ? op_mem_strndup(model.ptr, model.len) : NULL;
        op_packer_init(&r->packer, work, found->name, text);
        r->packer.amended = true;
        r->has_packer = true;
    }
    *ret = op_packer_takes(&r->packer, found->name, model);
    r->others = r->others || !*ret;
    return OP_OK;
}

/* Its params as they were asked, in r->params. *ret_lost: they cannot be had, and it has failed. */
static enum op_rc same_params(struct repack *r, const struct op_request *found, bool *ret_lost,
                              struct op_err *err)
{
    struct op_payload_ref ref;
    struct op_err lost = OP_ERR_INIT;
    enum op_rc rc = find_payload(r, found, &ref, err);
    if (rc)
        return rc;
    rc = read_params(r, &ref, &lost);
    *ret_lost = op_is_lost(rc, &lost);
    if (*ret_lost)
        return fail_one(r, found, &lost, err);
    if (rc)
        *err = lost;
    return rc;
}

/* Its params for this provider, in r->params, and the hash they make it known by. A record that
 * cannot be written so fails. */
static enum op_rc new_params(struct repack *r, struct op_request *request, bool *ret_lost,
                             struct op_err *err)
{
    struct op_ledger *ledger = r->work->engine->ledger;
    struct op_err why = OP_ERR_INIT;
    op_buf_clear(&r->line);
    enum op_rc rc = op_ledger_record_data(ledger, request->record_id, NULL, &r->line, err);
    if (rc)
        return rc;
    rc = op_work_compose(r->work, request->name, op_buf_str(&r->line), r->parser, r->compose,
                         &r->params, request->hash, &why);
    *ret_lost = rc == OP_INVAL;
    if (*ret_lost)
        return fail_one(r, request, &why, err);
    if (rc)
        *err = why;
    return rc ? rc
              : op_ledger_request_rehash(ledger, request->job_id, request->id, request->hash,
                                         err);
}

static enum op_rc pack_one(struct repack *r, struct op_request *request, struct op_err *err)
{
    struct op_ledger *ledger = r->work->engine->ledger;
    struct op_str params;
    enum op_rc rc = amend(r, request, &params, err);
    int64_t tokens = rc ? 0 : op_tokens_estimate(params.ptr, params.len);
    if (!rc && op_packer_is_full(&r->packer, request->id, params.len, tokens)) {
        rc = commit_packed(r, err);
        if (!rc)
            rc = op_ledger_begin(ledger, err);
    }
    if (rc)
        return op_err_wrap(err, "packing request %lld again", (long long)request->id);
    rc = op_packer_add(&r->packer, request->id, request->name, params, tokens,
                       &request->payload, err);
    request->batch_id = request->payload.batch_id;
    request->same_as = 0;
    if (!rc)
        rc = op_ledger_request_go(ledger, request, 0, OP_REQUEST_PACKED, err);
    if (!rc)
        rc = op_ledger_request_payload(ledger, request->id, &request->payload, err);
    if (!rc && request->record_id)
        rc = op_ledger_asked_put(ledger, request->hash, request->id, err);
    r->count++;
    return rc;
}

/* A stub that was to warm the cache of a provider that is asked no more. */
static enum op_rc forget_stub(struct repack *r, const struct op_request *found,
                              struct op_err *err)
{
    r->count++;
    return op_ledger_request_go(r->work->engine->ledger, found, 0, OP_REQUEST_CANCELED, err);
}

static enum op_rc repack_one(void *arg, const struct op_request *found, struct op_err *err)
{
    struct repack *r = arg;
    struct op_request request = *found;
    int64_t buyer = 0;
    bool mine = true, other = false, moved = false, lost = false;
    enum op_rc rc = is_of_another(r, found, &other, &moved, err);
    if (rc || other)
        return rc;
    if (moved && !found->record_id)
        return forget_stub(r, found, err);
    rc = is_of_kind(r, found, OP_STR_NULL, &mine, err);
    if (rc || !mine)
        return rc;
    if (moved)
        rc = new_params(r, &request, &lost, err);
    if (!rc && !lost)
        rc = find_buyer(r, &request, moved, &buyer, err);
    if (rc || lost || buyer)
        return rc || lost ? rc : wait_for(r, &request, buyer, err);
    if (!moved)
        rc = same_params(r, found, &lost, err);
    if (rc || lost)
        return rc;
    rc = is_of_kind(r, found, op_buf_str(&r->params), &mine, err);
    return rc || !mine ? rc : pack_one(r, &request, err);
}

/* One walk for each kind: a batch is closed before another is begun, so that what is committed
 * never refers to one that is still being written. */
static enum op_rc repack_kind(struct repack *r, struct op_err *err)
{
    struct op_work *work = r->work;
    struct op_ledger *ledger = work->engine->ledger;
    r->others = false;
    r->has_packer = false;
    enum op_rc rc = op_ledger_begin(ledger, err);
    if (!rc)
        rc = op_ledger_requests(ledger, work->job.id, OP_REQUEST_NEW, 0, repack_one, r, err);
    if (!rc)
        rc = commit_packed(r, err);
    if (rc)
        op_ledger_rollback(ledger);
    op_packer_release(&r->packer);
    r->packer = (struct op_packer){0};
    return rc;
}

static enum op_rc repack_all(struct repack *r, struct op_err *err)
{
    enum op_rc rc;
    do {
        rc = repack_kind(r, err);
    } while (!rc && r->others);
    return rc;
}

struct withdrawal {
    struct op_work *work;
    int64_t count;
    bool any; /* also a stub, which is nobody's request */
};

static enum op_rc withdraw_one(void *arg, const struct op_request *found, struct op_err *err)
{
    struct withdrawal *w = arg;
    struct op_request request = *found;
    enum op_rc rc =
        op_ledger_request_go(w->work->engine->ledger, &request, 0, OP_REQUEST_CANCELED, err);
    w->any = true;
    if (!rc && request.record_id)
        w->count++;
    return rc;
}

/* A canceled job asks for nothing more. A job that waits for its batches to end comes by here with
 * every look at it, and must not write each time. */
static enum op_rc withdraw(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    struct op_ledger *ledger = work->engine->ledger;
    struct withdrawal w = {.work = work};
    enum op_rc rc = op_ledger_begin(ledger, err);
    if (rc)
        return rc;
    rc = op_ledger_requests(ledger, work->job.id, OP_REQUEST_NEW, 0, withdraw_one, &w, err);
    if (!rc)
        rc = op_ledger_requests(ledger, work->job.id, OP_REQUEST_WAITING, 0, withdraw_one, &w,
                                err);
    struct op_job_counts delta = {.canceled = w.count};
    if (!rc && w.any)
        rc = op_ledger_job_count(ledger, work->job.id, &delta, err);
    if (!rc && w.any)
        rc = op_ledger_commit(ledger, err);
    if (rc || !w.any)
        op_ledger_rollback(ledger);
    if (!rc && w.count)
        *ret_worked = true;
    return rc;
}

enum op_rc op_step_pack(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    if (work->job.state == OP_JOB_CANCELING)
        return withdraw(work, ret_worked, err);
    bool any = false;
    enum op_rc rc =
        op_ledger_job_has(work->engine->ledger, work->job.id, OP_REQUEST_NEW, &any, err);
    if (rc || !any)
        return rc;
    struct repack r = {.work = work,
                       .parser = op_json_parser_new(),
                       .line_parser = op_json_parser_new(),
                       .compose = op_compose_scratch_new()};
    op_buf_init(&r.params, PARAMS_MAX);
    op_buf_init(&r.amended, PARAMS_MAX);
    op_buf_init(&r.text, REASK_TEXT_MAX);
    op_buf_init(&r.line, PARAMS_MAX);
    op_buf_init(&r.scratch, PARAMS_MAX);
    rc = repack_all(&r, err);
    op_json_parser_free(r.parser);
    op_json_parser_free(r.line_parser);
    op_compose_scratch_free(r.compose);
    op_buf_release(&r.params);
    op_buf_release(&r.amended);
    op_buf_release(&r.text);
    op_buf_release(&r.line);
    op_buf_release(&r.scratch);
    if (!rc && r.count)
        *ret_worked = true;
    return rc;
}
