/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "engine/work.h"

static enum op_rc to_spool(void *arg, const void *ptr, size_t len, struct op_err *err)
{
    struct op_spool_file *file = arg;
    return op_writer_add(&file->writer, ptr, len, err);
}

/* One result file, raw, durable before a byte of it is looked at (R3, reference 3.7.1).
 * OP_NOTFOUND with err untouched: the batch has no such part. */
static enum op_rc fetch_part(struct op_work *work, const struct op_batch *batch,
                             const struct op_remote_batch *remote, int part, int64_t number,
                             struct op_result_file *ret, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    struct op_exchange x = {0};
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    struct op_spool_file file = {0};
    bool begun = false;
    enum op_rc rc = work->lane->provider->results(work->lane, remote, part, &x, err);
    if (!rc)
        rc = op_spool_begin(engine->spool, "result", &file, err);
    begun = !rc;
    if (!rc)
        rc = op_lane_exchange(engine, work->lane, &x, to_spool, &file, &reply, err);
    OP_FAULT(engine, "fetch.part");
    if (!rc) {
        OP_CLEANUP(op_mem_freep)
        char *prefix = op_mem_printf("%lld-%lld", (long long)batch->id, (long long)number);
        *ret = (struct op_result_file){.batch_id = batch->id, .part = number};
        rc = op_spool_commit(engine->spool, &file, prefix, ".jsonl", &ret->file, ret->sha256,
                             &ret->bytes, err);
    }
    if (begun)
        op_spool_abort(engine->spool, &file);
    op_http_reply_release(&reply);
    op_exchange_release(&x);
    return rc;
}

static enum op_rc count_parts(struct op_work *work, const struct op_batch *batch,
                              int64_t *ret_next, struct op_err *err)
{
    for (int64_t part = batch->apply_part;; part++) {
        struct op_result_file file = {0};
        enum op_rc rc =
            op_ledger_result_file_get(work->engine->ledger, batch->id, part, &file, err);
        op_result_file_release(&file);
        if (rc == OP_NOTFOUND) {
            op_err_clear(err);
            *ret_next = part;
            return OP_OK;
        }
        if (rc)
            return rc;
    }
}

struct parts {
    struct op_result_file *files;
    size_t count;
};

static void parts_release(struct parts *parts)
{
    for (size_t i = 0; i < parts->count; i++)
        op_result_file_release(&parts->files[i]);
    op_mem_free(parts->files);
}

static enum op_rc fetch_all(struct op_work *work, struct op_batch *batch, int64_t first,
                            struct parts *ret, struct op_err *err)
{
    if (op_batch_is_realtime(batch)) {
        ret->files = op_mem_alloc(sizeof(*ret->files));
        enum op_rc rc = op_realtime_results(work, batch, first, ret->files, err);
        ret->count = rc ? 0 : 1;
        return rc;
    }
    struct op_remote_batch remote = {.state = OP_REMOTE_ENDED, .total = -1};
    snprintf(remote.id, sizeof(remote.id), "%s", batch->provider_id);
    snprintf(remote.results_url, sizeof(remote.results_url), "%s", batch->results_url);
    for (int part = 0;; part++) {
        struct op_result_file file = {0};
        enum op_rc rc = fetch_part(work, batch, &remote, part, first + part, &file, err);
        if (rc == OP_NOTFOUND && !err->rc)
            return OP_OK;
        if (rc)
            return rc;
        ret->files = op_mem_realloc(ret->files, (ret->count + 1) * sizeof(*ret->files));
        ret->files[ret->count++] = file;
    }
}

static enum op_rc commit_fetch(struct op_work *work, struct op_batch *batch,
                               const struct parts *parts, int64_t first, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    enum op_rc rc = op_ledger_begin(engine->ledger, err);
    if (rc)
        return rc;
    int64_t bytes = 0;
    for (size_t i = 0; !rc && i < parts->count; i++) {
        rc = op_ledger_result_file_add(engine->ledger, &parts->files[i], err);
        bytes += parts->files[i].bytes;
    }
    batch->fetches++;
    batch->tries = 0;
    batch->due_ms = 0;
    batch->apply_part = first;
    batch->apply_offset = 0;
    if (!rc)
        rc = op_ledger_batch_go(engine->ledger, batch, OP_BATCH_FETCHED, "", err);
    if (!rc)
        rc = op_work_event(work, batch, err);
    if (!rc)
        rc = op_ledger_commit(engine->ledger, err);
    if (rc) {
        op_ledger_rollback(engine->ledger);
        return rc;
    }
    engine->fetched_batch = batch->id;
    OP_FAULT(engine, "fetch.committed");
    op_log(OP_EVENT_BATCH_FETCHED, OP_F("batch", batch->id), OP_F("bytes", bytes));
    return OP_OK;
}

enum op_rc op_step_fetch(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    enum op_rc rc = op_batch_pick(work, OP_STATE_BIT(OP_BATCH_ENDED), &batch, err);
    if (rc == OP_NOTFOUND && !err->rc)
        return OP_OK;
    if (rc)
        return rc;
    *ret_worked = true;
    int64_t first = 0;
    rc = count_parts(work, &batch, &first, err);
    if (rc)
        return rc;
    struct parts parts = {0};
    struct op_err why = OP_ERR_INIT;
    rc = fetch_all(work, &batch, first, &parts, &why);
    OP_FAULT(engine, "fetch.renamed");
    if (rc == OP_STOPPED || (rc == OP_IO && why.disp != OP_DISP_AMBIGUOUS)) {
        *err = why; /* the operator, or a full disk: not the provider's fault */
    } else if (rc == OP_NOTFOUND) {
        /* Results are often there only a while after the batch has ended. */
        rc = op_batch_missing(work, &batch, &why, err);
    } else if (rc) {
        if (why.disp == OP_DISP_PAUSE)
            op_lane_pause(engine, work->lane, &why);
        rc = op_batch_later(work, &batch, &why, err);
    } else {
        rc = commit_fetch(work, &batch, &parts, first, err);
    }
    parts_release(&parts);
    return rc;
}
