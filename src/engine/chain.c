/* SPDX-License-Identifier: MIT */
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/walk.h"

/*
 * The chain of providers (docs/design/chain.md). Who asks a request next follows from what is there
 * anyway: the provider its params were last written for; or, when that one has refused it for want of
 * quota (its reason says so) or rests for it, the next one round the chain that does not rest. So a
 * crash at any point changes nothing, and a quota that comes back is used again.
 */

/* --- who owns what -------------------------------------------------------------------------- */

struct op_lane_owner {
    int64_t lane_id;
    const struct op_provider_ops *provider;
};

static enum op_rc add_owner(void *arg, const struct op_lane_row *row, struct op_err *err)
{
    struct op_engine *engine = arg;
    (void)err;
    engine->owners[engine->owner_count++] =
        (struct op_lane_owner){row->id, op_provider_find(row->provider)};
    return OP_OK;
}

static enum op_rc count_owner(void *arg, const struct op_lane_row *row, struct op_err *err)
{
    (void)row;
    (void)err;
    ++*(size_t *)arg;
    return OP_OK;
}

static const struct op_provider_ops *known_owner(const struct op_engine *engine,
                                                 int64_t lane_id)
{
    for (size_t i = 0; i < engine->owner_count; i++)
        if (engine->owners[i].lane_id == lane_id)
            return engine->owners[i].provider;
    return NULL;
}

/* A lane never changes hands, so its owner is read once. Its key may have changed since a batch was
 * sent: a provider may have several. */
static enum op_rc find_owner(struct op_engine *engine, int64_t lane_id,
                             const struct op_provider_ops **ret, struct op_err *err)
{
    *ret = known_owner(engine, lane_id);
    if (*ret)
        return OP_OK;
    size_t count = 0;
    enum op_rc rc = op_ledger_lanes(engine->ledger, count_owner, &count, err);
    if (rc)
        return rc;
    engine->owners = op_mem_realloc(engine->owners, (count + 1) * sizeof(struct op_lane_owner));
    engine->owner_count = 0;
    rc = op_ledger_lanes(engine->ledger, add_owner, engine, err);
    *ret = known_owner(engine, lane_id);
    return rc;
}

enum op_rc op_engine_provider(struct op_engine *engine, int64_t lane_id, const char **ret,
                              struct op_err *err)
{
    const struct op_provider_ops *owner = NULL;
    enum op_rc rc = find_owner(engine, lane_id, &owner, err);
    *ret = owner ? owner->name : NULL;
    return rc;
}

struct op_work *op_work_leg(const struct op_work *work, int64_t lane_id)
{
    for (struct op_work *leg = work->head; leg; leg = leg->next_leg)
        for (size_t i = 0; i < leg->lane_name_count; i++)
            if (leg->lane_names[i].id == lane_id)
                return leg;
    return work->head;
}

enum op_rc op_work_leg_of_batch(struct op_work *work, int64_t batch_id, struct op_work **ret,
                                struct op_err *err)
{
    *ret = work->head;
    if (!op_work_is_chained(work) || !batch_id)
        return OP_OK;
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    enum op_rc rc = op_ledger_batch_get(work->engine->ledger, batch_id, &batch, err);
    if (!rc)
        *ret = op_work_leg(work, batch.lane_id);
    return rc;
}

bool op_work_owns(const struct op_work *work, const struct op_batch *batch)
{
    return !op_work_is_chained(work) || op_work_leg(work, batch->lane_id) == work;
}

/* --- who asks ------------------------------------------------------------------------------- */

static struct op_work *next_round(struct op_work *leg)
{
    return leg->next_leg ? leg->next_leg : leg->head;
}

enum op_rc op_work_asker(struct op_work *work, bool refused, struct op_work **ret,
                         struct op_err *err)
{
    struct op_work *first = refused ? next_round(work) : work, *leg = first;
    *ret = work;
    if (!op_work_is_chained(work))
        return OP_OK;
    do {
        bool exhausted = false;
        enum op_rc rc = op_lane_is_exhausted(work->engine, leg->lanes[0].lane, &exhausted, err);
        if (rc)
            return rc;
        if (!exhausted) {
            *ret = leg;
            return OP_OK;
        }
        leg = next_round(leg);
    } while (leg != first);
    return OP_OK;
}

enum op_rc op_work_planner(struct op_work *head, struct op_work **ret, struct op_err *err)
{
    for (struct op_work *leg = head; leg; leg = leg->next_leg) {
        op_sqlenv_close(OP_TAKE(leg->sql));
        leg->columns_known = false;
    }
    return op_work_asker(head, false, ret, err);
}

struct moving {
    struct op_work *work;
    int64_t id;
};

static enum op_rc find_unsent(void *arg, const struct op_batch *batch, struct op_err *err)
{
    struct moving *m = arg;
    (void)err;
    if (!m->id && !batch->cancel_wanted && op_work_owns(m->work, batch))
        m->id = batch->id;
    return OP_OK;
}

/* R1 holds: a batch in one of these states has not been bought, and dropped it never is. */
static enum op_rc drop_unsent(struct op_work *work, int64_t batch_id,
                              const struct op_work *asker, struct op_err *err)
{
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    enum op_rc rc = op_ledger_batch_get(work->engine->ledger, batch_id, &batch, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_mem_freep)
    char *why = op_mem_printf("%s%s has none left, asked of %s", op_no_quota,
                              work->lanes[0].lane->provider->name,
                              asker->lanes[0].lane->provider->name);
    op_upload_drop(work, &batch);
    rc = op_work_move_unpack(work, &batch, OP_BATCH_DROPPED, why, false, err);
    OP_FAULT(work->engine, "chain.dropped");
    if (!rc)
        op_log(OP_EVENT_MOVED_ON, OP_F("batch", batch.id), OP_F("requests", batch.count),
               OP_T("from", work->lanes[0].lane->provider->name),
               OP_T("to", asker->lanes[0].lane->provider->name));
    return rc;
}

enum op_rc op_step_move_on(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    struct op_work *asker = NULL;
    if (!op_work_is_chained(work) || work->job.state == OP_JOB_CANCELING ||
        op_engine_stopped(work->engine))
        return OP_OK;
    enum op_rc rc = op_work_asker(work, false, &asker, err);
    if (rc || asker == work)
        return rc;
    struct moving m = {.work = work};
    struct op_batch_filter filter = {.job_id = work->job.id,
                                     .states = OP_STATE_BIT(OP_BATCH_BUILT) |
                                               OP_STATE_BIT(OP_BATCH_UPLOADED)};
    rc = op_ledger_batches(work->engine->ledger, &filter, find_unsent, &m, err);
    if (rc || !m.id)
        return rc;
    *ret_worked = true;
    return drop_unsent(work, m.id, asker, err);
}

/* --- the same for another provider ------------------------------------------------------------ */

/* In the order of the columns, which is that of the stored object. */
static enum op_rc read_cells(const struct op_plan *plan, struct op_json record,
                             struct op_value *cells, struct op_err *err)
{
    struct op_json_iter it = op_json_iter(record);
    for (size_t i = 0; i < plan->record_column_count; i++) {
        if (!op_json_next(&it) || !op_str_is(it.name, plan->record_columns[i]))
            return op_fail(err, OP_IO, "the ledger's record has no column '%s'",
                           plan->record_columns[i]);
        cells[i] = op_record_cell(it.value);
    }
    return OP_OK;
}

enum op_rc op_work_compose(struct op_work *leg, int name, struct op_str data,
                           struct op_json_parser *parser, struct op_compose_scratch *scratch,
                           struct op_buf *params, uint8_t ret_hash[OP_HASH_LEN],
                           struct op_err *err)
{
    struct op_json root;
    enum op_rc rc = op_work_columns(leg, err);
    if (!rc)
        rc = op_json_parse(parser, data.ptr, data.len, true, &root, err);
    if (rc)
        return rc;
    const struct op_plan *plan = leg->plan;
    OP_CLEANUP(op_mem_freep)
    struct op_value *cells = op_mem_array(plan->record_column_count + 1, sizeof(*cells));
    op_buf_clear(params);
    rc = read_cells(plan, root, cells, err);
    if (!rc)
        rc = op_plan_compose(plan, (size_t)name, cells, scratch, params, err);
    if (rc)
        return rc;
    const struct op_plan_request *request = &plan->requests[name];
    struct op_sha256 *sha = op_sha256_new();
    op_request_hash(request->lane, sha, request->model, request->endpoint, op_buf_str(params),
                    ret_hash);
    op_sha256_free(sha);
    return OP_OK;
}
