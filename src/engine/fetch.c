/* SPDX-License-Identifier: MIT */
#include "engine/fetch.h"

#include <stdio.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"

/* Parts that a batch can have: a driver that never says "no such part" must not hold us. */
#define PARTS_MAX 64
/* A reply that is one document: inline results of a few requests, some 20 MB
 * (reference/gemini.md 5). */
#define DOCUMENT_MAX (256 * 1024 * 1024)

static enum op_rc to_spool(void *arg, const void *ptr, size_t len, struct op_err *err)
{
    struct op_spool_file *file = arg;
    return op_writer_add(&file->writer, ptr, len, err);
}

/* A reply that goes into the spool as it comes, durable before a byte of it is looked at (R3,
 * reference 3.7.1). */
static enum op_rc download(struct op_engine *engine, const struct op_lane *lane,
                           const struct op_exchange *x, const char *prefix, const char *suffix,
                           char **ret_name, char ret_sha256[65], int64_t *ret_bytes,
                           struct op_err *err)
{
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    struct op_spool_file file = {0};
    enum op_rc rc = op_spool_begin(engine->spool, "result", &file, err);
    bool begun = !rc;
    if (!rc)
        rc = op_lane_exchange(engine, lane, x, to_spool, &file, &reply, err);
    OP_FAULT(engine, "fetch.part");
    if (!rc)
        rc = op_spool_commit(engine->spool, &file, prefix, suffix, ret_name, ret_sha256,
                             ret_bytes, err);
    if (begun)
        op_spool_abort(engine->spool, &file);
    op_http_reply_release(&reply);
    return rc;
}

static enum op_rc read_document(struct op_engine *engine, const struct op_lane *lane,
                                const char *name, int64_t bytes, struct op_buf *ret_lines,
                                struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_buf_release) struct op_buf text;
    struct op_json root;
    op_buf_init(&text, DOCUMENT_MAX);
    enum op_rc rc = op_spool_read(engine->spool, name, 0, bytes, &text, err);
    if (!rc)
        rc = op_json_parse(parser, text.ptr, text.len, true, &root, err);
    if (!rc)
        rc = lane->provider->unfold(root, ret_lines, err);
    return rc ? rc : op_buf_finish(ret_lines, "the lines of a document", err);
}

/* The document stays, as what was received; its lines are a file beside it. */
static enum op_rc fetch_document(struct op_engine *engine, const struct op_lane *lane,
                                 const struct op_exchange *x, const char *prefix,
                                 struct op_result_file *ret, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *raw = op_mem_printf("%s-document", prefix);
    OP_CLEANUP(op_buf_release) struct op_buf lines;
    op_buf_init(&lines, DOCUMENT_MAX);
    char sha256[65];
    int64_t bytes = 0;
    enum op_rc rc =
        download(engine, lane, x, raw, ".json", &ret->document, sha256, &bytes, err);
    OP_FAULT(engine, "fetch.document");
    struct op_err why = OP_ERR_INIT;
    if (!rc && read_document(engine, lane, ret->document, bytes, &lines, &why))
        rc = op_fail_as(err, OP_REMOTE, OP_DISP_RETRY, "%s cannot be read as results: %s",
                        ret->document, why.msg);
    struct op_spool_file file = {0};
    if (rc)
        return rc;
    rc = op_spool_begin(engine->spool, "result", &file, err);
    if (rc)
        return rc;
    rc = op_writer_add(&file.writer, lines.ptr, lines.len, err);
    if (!rc)
        rc = op_spool_commit(engine->spool, &file, prefix, ".jsonl", &ret->file, ret->sha256,
                             &ret->bytes, err);
    op_spool_abort(engine->spool, &file);
    return rc;
}

/* OP_NOTFOUND with err untouched: the batch has no such part. */
static enum op_rc fetch_part(struct op_engine *engine, const struct op_lane *lane,
                             const struct op_remote_batch *remote, int part, const char *name,
                             struct op_result_file *ret, struct op_err *err)
{
    struct op_exchange x = {0};
    struct op_result_file file = {.part = ret->part};
    enum op_rc rc = lane->provider->results(lane, remote, part, &x, err);
    if (!rc && x.document)
        rc = fetch_document(engine, lane, &x, name, &file, err);
    else if (!rc)
        rc = download(engine, lane, &x, name, ".jsonl", &file.file, file.sha256, &file.bytes,
                      err);
    op_exchange_release(&x);
    if (rc)
        op_result_file_release(&file);
    else
        *ret = file;
    return rc;
}

enum op_rc op_parts_count(struct op_engine *engine, int64_t batch_id, int64_t from,
                          int64_t *ret_next, struct op_err *err)
{
    for (int64_t part = from;; part++) {
        struct op_result_file file = {0};
        enum op_rc rc = op_ledger_result_file_get(engine->ledger, batch_id, part, &file, err);
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

void op_parts_release(struct op_parts *parts)
{
    for (size_t i = 0; i < parts->count; i++)
        op_result_file_release(&parts->files[i]);
    op_mem_free(parts->files);
    *parts = (struct op_parts){0};
}

/* An output and an error file, either of which may be missing, so both are always asked for. One
 * that the provider promises and does not have must not hold up the others: what is missing then is
 * noticed when the batch is complete, and fetched again. */
enum op_rc op_parts_fetch(struct op_engine *engine, const struct op_lane *lane,
                          const struct op_remote_batch *remote, const char *prefix,
                          int64_t first, struct op_parts *ret, struct op_err *err)
{
    size_t before = ret->count;
    struct op_err missing = OP_ERR_INIT;
    for (int part = 0; part < PARTS_MAX; part++) {
        struct op_err why = OP_ERR_INIT;
        struct op_result_file file = {.part = first + (int64_t)ret->count};
        OP_CLEANUP(op_mem_freep)
        char *name = op_mem_printf("%s-%lld", prefix, (long long)file.part);
        enum op_rc rc = fetch_part(engine, lane, remote, part, name, &file, &why);
        if (rc == OP_NOTFOUND && !why.rc && part > 0)
            break;
        if (rc == OP_NOTFOUND) {
            missing = why.rc ? why : missing;
            continue;
        }
        if (rc) {
            *err = why;
            return rc;
        }
        ret->files = op_mem_realloc(ret->files, (ret->count + 1) * sizeof(*ret->files));
        ret->files[ret->count++] = file;
    }
    if (missing.rc && ret->count == before) {
        *err = missing;
        return OP_NOTFOUND;
    }
    if (missing.rc)
        op_log(OP_EVENT_NOTE, OP_T("provider_id", remote->id), OP_T("problem", missing.msg));
    return OP_OK;
}

static enum op_rc fetch_all(struct op_work *work, const struct op_batch *batch, int64_t first,
                            const struct op_remote_batch *remote, struct op_parts *ret,
                            struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *prefix = op_mem_printf("%lld", (long long)batch->id);
    enum op_rc rc = op_parts_fetch(work->engine, op_batch_lane(work, batch), remote, prefix,
                                   first, ret, err);
    for (size_t i = 0; i < ret->count; i++)
        ret->files[i].batch_id = batch->id;
    return rc;
}

/* The twins' results come behind the batch's own, once: what both answered, the batch's own file
 * answers first. */
static enum op_rc fetch_twins(struct op_work *work, const struct op_batch *batch, int64_t first,
                              const struct op_remote_batch *twins, size_t count,
                              struct op_parts *ret, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < count; i++) {
        size_t before = ret->count;
        rc = fetch_all(work, batch, first, &twins[i], ret, err);
        if (rc == OP_NOTFOUND) { /* canceled before anything was answered */
            op_err_clear(err);
            rc = OP_OK;
        }
        for (size_t p = before; !rc && p < ret->count; p++)
            rc = op_twins_cost(work, batch, ret->files[p].file, &ret->twins_microusd, err);
    }
    return rc;
}

/* Where the results are may have changed since the batch was seen to end: files appear late, and
 * addresses expire. */
static enum op_rc locate(struct op_work *work, struct op_batch *batch,
                         struct op_remote_batch *ret, struct op_err *err)
{
    bool known = batch->results_url[0] && batch->fetches == 0;
    int64_t hint = -1;
    const struct op_lane *lane = op_batch_lane(work, batch);
    if (lane->provider->has_upload && !known) {
        struct op_remote_batch now = {.total = -1};
        enum op_rc rc =
            op_batch_ask(work->engine, lane, batch->provider_id, false, &now, &hint, err);
        if (rc)
            return rc;
        op_batch_take_remote(work->engine, batch, &now);
    }
    *ret = (struct op_remote_batch){.state = OP_REMOTE_ENDED, .total = -1};
    snprintf(ret->id, sizeof(ret->id), "%s", batch->provider_id);
    snprintf(ret->results_url, sizeof(ret->results_url), "%s", batch->results_url);
    return OP_OK;
}

static enum op_rc commit_fetch(struct op_work *work, struct op_batch *batch,
                               const struct op_parts *parts, int64_t first, struct op_err *err)
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
    struct op_job_counts delta = {.spent_microusd = parts->twins_microusd};
    batch->extra_microusd += parts->twins_microusd;
    batch->spent_microusd += parts->twins_microusd;
    /* No answer of it is one more: money only, paid in vain. */
    struct op_spend vain = {.batch_id = batch->id,
                            .model = batch->model,
                            .class_ = OP_RESULT_SUCCEEDED,
                            .again = true,
                            .microusd = parts->twins_microusd};
    if (!rc && parts->twins_microusd)
        rc = op_ledger_spend_add(engine->ledger, &vain, err);
    if (!rc && parts->twins_microusd)
        rc = op_ledger_job_count(engine->ledger, work->job.id, &delta, err);
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

static enum op_rc fetch_failed(struct op_work *work, struct op_batch *batch, enum op_rc rc,
                               const struct op_err *why, struct op_err *err)
{
    if (rc == OP_STOPPED || (rc == OP_IO && why->disp != OP_DISP_AMBIGUOUS)) {
        *err = *why; /* the operator, or a full disk: not the provider's fault */
        return rc;
    }
    /* Results are often there only a while after the batch has ended. */
    if (rc == OP_NOTFOUND)
        return op_batch_missing(work, batch, why, err);
    if (op_disp_pauses(why->disp))
        op_lane_pause(work->engine, op_batch_lane(work, batch), why);
    return op_batch_later(work, batch, why, err);
}

/* What was asked one by one is in the spool already. */
static enum op_rc fetch_realtime(struct op_work *work, struct op_batch *batch, int64_t first,
                                 struct op_err *err)
{
    struct op_parts parts = {.files = op_mem_alloc(sizeof(*parts.files))};
    struct op_err why = OP_ERR_INIT;
    enum op_rc rc = op_realtime_results(work, batch, first, parts.files, &why);
    parts.count = rc ? 0 : 1;
    OP_FAULT(work->engine, "fetch.renamed");
    rc = rc ? fetch_failed(work, batch, rc, &why, err)
            : commit_fetch(work, batch, &parts, first, err);
    op_parts_release(&parts);
    return rc;
}

static enum op_rc fetch_batch(struct op_work *work, struct op_batch *batch, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) struct op_remote_batch *twins = NULL;
    size_t twin_count = 0;
    bool ready = true;
    int64_t first = 0;
    enum op_rc rc = op_parts_count(work->engine, batch->id, batch->apply_part, &first, err);
    if (!rc && op_batch_is_realtime(batch))
        return fetch_realtime(work, batch, first, err);
    if (!rc && batch->fetches == 0)
        rc = op_twins_collect(work, batch, &twins, &twin_count, &ready, err);
    if (rc || !ready)
        return rc;
    struct op_parts parts = {0};
    struct op_remote_batch remote;
    struct op_err why = OP_ERR_INIT;
    rc = locate(work, batch, &remote, &why);
    if (!rc)
        rc = fetch_all(work, batch, first, &remote, &parts, &why);
    if (!rc)
        rc = fetch_twins(work, batch, first, twins, twin_count, &parts, &why);
    OP_FAULT(work->engine, "fetch.renamed");
    rc = rc ? fetch_failed(work, batch, rc, &why, err)
            : commit_fetch(work, batch, &parts, first, err);
    op_parts_release(&parts);
    return rc;
}

enum op_rc op_step_fetch(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    enum op_rc rc = op_batch_pick(work, NULL, OP_STATE_BIT(OP_BATCH_ENDED), &batch, err);
    if (rc == OP_NOTFOUND && !err->rc)
        return OP_OK;
    if (rc)
        return rc;
    if (work->imported)
        return op_fail(
            err, OP_IO,
            "the results of batch-%lld, which were imported, are damaged in the spool; "
            "cancel job-%lld and import them again",
            (long long)batch.id, (long long)work->job.id);
    *ret_worked = true;
    return fetch_batch(work, &batch, err);
}
