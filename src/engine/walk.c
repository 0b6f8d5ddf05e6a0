/* SPDX-License-Identifier: MIT */
#include "engine/walk.h"

#include "base/mem.h"

/* The longest params of one request; a provider's own limit is checked by op_plan_compose. */
#define PARAMS_MAX (64 * 1024 * 1024)

static bool is_true(struct op_value v)
{
    switch (v.type) {
    case OP_VALUE_NULL:
        return false;
    case OP_VALUE_INT:
        return v.i != 0;
    case OP_VALUE_DOUBLE:
        return v.d < 0 || v.d > 0;
    case OP_VALUE_TEXT:
    case OP_VALUE_BLOB:
        return v.s.len > 0 && !op_str_is(v.s, "0") && !op_str_is(v.s, "false");
    }
    return false;
}

/* Column number of each request's `when`, -1 for none. */
static enum op_rc bind_when(const struct op_work *work, int *ret, struct op_err *err)
{
    for (size_t i = 0; i < work->def.request_count; i++) {
        const struct op_request_def *def = &work->def.requests[i];
        ret[i] = -1;
        for (size_t c = 0; def->when && c < work->plan->record_column_count; c++) {
            if (!strcmp(work->plan->record_columns[c], def->when))
                ret[i] = (int)c;
        }
        if (def->when && ret[i] < 0)
            return op_fail(err, OP_INVAL,
                           "%s: `when` names the column '%s', which records lack", def->place,
                           def->when);
    }
    return OP_OK;
}

static enum op_rc walk_record(struct op_walk *walk, const struct op_record *record,
                              const int *when, struct op_compose_scratch *scratch,
                              struct op_buf *params, struct op_err *err)
{
    struct op_work *work = walk->work;
    enum op_rc rc = walk->record(walk->arg, record, err);
    for (size_t i = 0; !rc && i < work->def.request_count; i++) {
        if (when[i] >= 0 && !is_true(record->cells[when[i]]))
            continue;
        op_buf_clear(params);
        rc = op_plan_compose(work->plan, i, record->cells, scratch, params, err);
        if (!rc)
            rc = op_buf_finish(params, "a request", err);
        if (rc)
            return op_err_wrap(err, "%s (key '%.60s')", record->place, record->key.ptr);
        rc = walk->request(walk->arg, record, (int)i, op_buf_str(params), err);
    }
    return rc;
}

enum op_rc op_walk(struct op_walk *walk, struct op_err *err)
{
    struct op_work *work = walk->work;
    OP_CLEANUP(op_select_closep) struct op_select *select = NULL;
    enum op_rc rc = op_select_open(work->engine->env, work->plan, work->inputs_db,
                                   walk->skipped, walk->arg, &select, err);
    if (rc)
        return rc;
    work->columns_known = true;
    OP_CLEANUP(op_mem_freep) int *when = op_mem_array(work->def.request_count + 1, sizeof(int));
    rc = bind_when(work, when, err);
    struct op_compose_scratch *scratch = op_compose_scratch_new();
    struct op_buf params;
    op_buf_init(&params, PARAMS_MAX);
    struct op_record record;
    while (!rc && !op_engine_stopped(work->engine)) {
        rc = op_select_next(select, &record, err);
        if (!rc)
            rc = walk_record(walk, &record, when, scratch, &params, err);
    }
    if (rc == OP_NOTFOUND && !err->rc)
        rc = OP_OK;
    else if (!rc)
        rc = op_fail(err, OP_STOPPED, "stopped while reading the records");
    walk->done = op_select_done(select);
    walk->bad = op_select_skipped(select);
    op_buf_release(&params);
    op_compose_scratch_free(scratch);
    return rc;
}
