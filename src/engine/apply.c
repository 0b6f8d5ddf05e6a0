/* SPDX-License-Identifier: MIT */
#include "engine/apply.h"

#include <stdio.h>
#include <unistd.h>

#include "base/crew.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "engine/late.h"
#include "engine/outboxes.h"

/* A short result file is fetched again so often, so long after the last time
 * (reference/reliability.md 3.7.2: up to 5 times over an hour). */
static const int64_t refetch_ms[] = {2 * OP_SECOND_MS, 15 * OP_SECOND_MS, 2 * OP_MINUTE_MS,
                                     12 * OP_MINUTE_MS, 45 * OP_MINUTE_MS};

struct applying {
    struct op_work *work;
    struct op_batch batch;
    struct op_member *members;
    size_t member_count;
    struct op_digest *digest;   /* of this thread, for what is not good */
    struct op_result_row *rows; /* of good results that are settled together */
};

static struct op_str chunk_text(const struct op_chunk *chunk, size_t at, size_t len)
{
    return (struct op_str){chunk->texts.ptr + at, len};
}

static enum op_rc read_line(struct applying *a, int64_t part, const struct op_entry *entry,
                            struct op_buf *ret, struct op_err *err)
{
    struct op_engine *engine = a->work->engine;
    struct op_result_file file = {0};
    enum op_rc rc = op_ledger_result_file_get(engine->ledger, a->batch.id, part, &file, err);
    if (!rc)
        rc = op_spool_read(engine->spool, file.file, entry->offset, entry->len, ret, err);
    op_result_file_release(&file);
    return rc;
}

/* A second line for a request that has a result: the first one stands. Only two different good
 * answers are worth a word; a file fetched twice repeats everything. */
static enum op_rc apply_again(struct applying *a, int64_t part, const struct op_entry *entry,
                              struct op_err *err)
{
    struct op_ledger *ledger = a->work->engine->ledger;
    struct op_result_row first;
    enum op_rc rc =
        op_ledger_result_get(ledger, a->batch.id, entry->member.request_id, &first, err);
    if (rc == OP_NOTFOUND) {
        op_err_clear(err);
        return op_ledger_note_add(ledger, a->work->job.id, a->batch.id, 0, "quarantine",
                                  OP_STR("a result for a request that was never in this batch"),
                                  err);
    }
    if (rc || (first.part == part && first.offset == entry->offset))
        return rc;
    struct op_buf one, two;
    op_buf_init(&one, OP_RESULT_LINE_MAX);
    op_buf_init(&two, OP_RESULT_LINE_MAX);
    const struct op_entry before = {.offset = first.offset, .len = first.len};
    bool differs = first.part < 0;
    if (!differs) {
        struct op_err lost = OP_ERR_INIT;
        enum op_rc found = read_line(a, first.part, &before, &one, &lost);
        rc = read_line(a, part, entry, &two, err);
        /* A first file that is lost cannot be compared with, and need not be. */
        differs = !rc && !found && !op_str_eq(op_buf_str(&one), op_buf_str(&two));
    }
    op_buf_release(&one);
    op_buf_release(&two);
    if (rc || !differs)
        return rc;
    char text[160];
    snprintf(
        text, sizeof(text),
        "a second, different result (%s) at byte %lld of result file %lld; the first stands",
        op_result_class_name(entry->class_), (long long)entry->offset, (long long)part);
    op_log(OP_EVENT_RESULT_CONFLICT, OP_F("request", entry->member.request_id),
           OP_F("batch", a->batch.id), OP_T("what", text));
    return op_ledger_note_add(ledger, a->work->job.id, a->batch.id, entry->member.request_id,
                              "conflict", op_str_from(text), err);
}

static enum op_rc apply_quarantine(struct applying *a, const struct op_chunk *chunk,
                                   const struct op_entry *entry, struct op_err *err)
{
    struct op_str why = chunk_text(chunk, entry->text_at, entry->text_len);
    OP_CLEANUP(op_mem_freep)
    char *text =
        op_mem_printf("result file %lld, byte %lld: " OP_STR_FMT, (long long)chunk->part,
                      (long long)entry->offset, OP_STR_ARG(why));
    op_log(OP_EVENT_RESULT_QUARANTINED, OP_F("batch", a->batch.id), OP_T("what", text));
    return op_ledger_note_add(a->work->engine->ledger, a->work->job.id, a->batch.id, 0,
                              "quarantine", op_str_from(text), err);
}

static enum op_rc warn(struct applying *a, const struct op_chunk *chunk,
                       const struct op_entry *entry, struct op_verdicts *v, struct op_err *err)
{
    if (!entry->warn_len && !entry->mended)
        return OP_OK;
    struct op_str text = entry->warn_len
                             ? chunk_text(chunk, entry->warn_at, entry->warn_len)
                             : OP_STR("the answer had to be taken out of a fence or prose");
    v->counts.warnings++;
    op_log(OP_EVENT_ANSWER_WARNING, OP_F("request", entry->member.request_id),
           OP_S("what", text));
    return op_ledger_note_add(a->work->engine->ledger, a->work->job.id, a->batch.id,
                              entry->member.request_id, "warning", text, err);
}

static enum op_rc apply_bad(struct applying *a, const struct op_chunk *chunk,
                            const struct op_entry *entry, struct op_verdicts *v,
                            struct op_err *err)
{
    struct op_buf line;
    op_buf_init(&line, OP_RESULT_LINE_MAX);
    enum op_rc rc = read_line(a, entry->part, entry, &line, err);
    if (!rc)
        rc = op_verdict_bad(v, entry, chunk_text(chunk, entry->text_at, entry->text_len),
                            op_buf_str(&line), err);
    op_buf_release(&line);
    a->batch.failed++;
    return rc;
}

static struct op_result_row result_row(const struct applying *a, const struct op_entry *entry)
{
    return (struct op_result_row){
        .batch_id = a->batch.id,
        .request_id = entry->member.request_id,
        .class_ = entry->class_,
        .valid = entry->valid,
        .part = entry->part,
        .offset = entry->offset,
        .len = entry->len,
        .microusd = entry->microusd,
        .usage = entry->usage,
    };
}

static void add_costs(struct applying *a, const struct op_entry *entry, struct op_verdicts *v)
{
    v->counts.spent_microusd += entry->microusd;
    op_usage_add(&v->counts.usage, &entry->usage);
    a->batch.spent_microusd += entry->microusd;
    op_usage_add(&a->batch.usage, &entry->usage);
}

/* The result row decides: only a real insert moves anything else. */
static enum op_rc apply_result(struct applying *a, const struct op_chunk *chunk,
                               const struct op_entry *entry, struct op_verdicts *v,
                               struct op_err *err)
{
    struct op_result_row row = result_row(a, entry);
    bool inserted = false;
    enum op_rc rc = op_ledger_result_add(a->work->engine->ledger, &row, &inserted, err);
    if (rc)
        return rc;
    if (!inserted)
        return op_fail(err, OP_CONFLICT, "request %lld of batch-%lld has a result already",
                       (long long)row.request_id, (long long)row.batch_id);
    add_costs(a, entry, v);
    if (!entry->valid) {
        rc = apply_bad(a, chunk, entry, v, err);
        op_spending_add(&v->spending, entry, v->again);
        return rc;
    }
    op_spending_add(&v->spending, entry, false);
    a->batch.ok++;
    rc = op_verdict_good(v, entry, a->batch.id, err);
    return rc ? rc : warn(a, chunk, entry, v, err);
}

/* How many entries from this one on are good results of consecutive requests: nearly always the
 * rest of the chunk, since lines come in the order of their requests. */
static size_t good_run(const struct op_chunk *chunk, size_t from)
{
    size_t at = from;
    int64_t id = chunk->entries[from].member.request_id;
    while (at < chunk->count && chunk->entries[at].kind == OP_ENTRY_RESULT &&
           chunk->entries[at].valid && chunk->entries[at].member.request_id == id) {
        at++;
        id++;
    }
    return at - from;
}

static enum op_rc apply_run(struct applying *a, const struct op_chunk *chunk, size_t from,
                            size_t count, struct op_verdicts *v, struct op_err *err)
{
    const struct op_entry *entries = &chunk->entries[from];
    for (size_t i = 0; i < count; i++)
        a->rows[i] = result_row(a, &entries[i]);
    enum op_rc rc = op_ledger_results_settle(a->work->engine->ledger, a->rows, count, err);
    for (size_t i = 0; !rc && i < count; i++) {
        add_costs(a, &entries[i], v);
        op_spending_add(&v->spending, &entries[i], false);
        a->batch.ok++;
        v->counts.done += entries[i].member.record_id != 0;
        rc = warn(a, chunk, &entries[i], v, err);
    }
    return rc;
}

static enum op_rc apply_entry(struct applying *a, const struct op_chunk *chunk,
                              const struct op_entry *entry, struct op_verdicts *v,
                              struct op_err *err)
{
    switch (entry->kind) {
    case OP_ENTRY_RESULT:
        return apply_result(a, chunk, entry, v, err);
    case OP_ENTRY_AGAIN:
        return apply_again(a, chunk->part, entry, err);
    case OP_ENTRY_QUARANTINE:
        return apply_quarantine(a, chunk, entry, err);
    case OP_ENTRY_LATE: /* counts in complete(), if nothing better comes */
    default:
        return OP_OK;
    }
}

static enum op_rc apply_entries(struct applying *a, const struct op_chunk *chunk,
                                struct op_verdicts *v, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (size_t i = 0, count; !rc && i < chunk->count; i += count) {
        count = good_run(chunk, i);
        if (count > 1) {
            rc = apply_run(a, chunk, i, count, v, err);
        } else {
            rc = apply_entry(a, chunk, &chunk->entries[i], v, err);
            count = 1;
        }
    }
    return rc;
}

static struct op_verdicts verdicts(struct applying *a, struct op_buf *frames, int64_t *rows)
{
    return (struct op_verdicts){.work = a->work,
                                .batch = &a->batch,
                                .digest = a->digest,
                                .frames = frames,
                                .rows = rows};
}

static void count_rows(const struct op_work *work, struct op_verdicts *v, const int64_t *rows)
{
    for (size_t i = 0; i < work->def.output_count; i++)
        v->counts.rows += rows[i];
}

static enum op_rc add_sums(struct applying *a, struct op_verdicts *v, struct op_err *err)
{
    struct op_ledger *ledger = a->work->engine->ledger;
    enum op_rc rc = op_ledger_job_count(ledger, a->work->job.id, &v->counts, err);
    return rc ? rc : op_spending_flush(&v->spending, ledger, a->batch.id, err);
}

/* A transaction takes what the digesting threads have ready, up to so much: it costs a handful of
 * syncs whatever is in it, for which all threads wait, and of its rows only one chunk is in memory.
 * Its changed pages fit into SQLite's cache. */
#define TX_ENTRIES 32768
#define TX_BYTES   (128 * 1024 * 1024)

#define WORKERS 3
/* Being committed, being filled by each worker, and waiting. */
#define CHUNKS (2 * WORKERS + 1)

/* A result file on its way through the digesting threads. */
struct part {
    struct applying *applying;
    struct op_ordered *lines;
    int64_t number;
    bool taken_all;
    struct worker {
        struct part *part;
        struct op_digest *digest;
    } workers[WORKERS];
    size_t worker_count;
    struct op_chunk *chunks[CHUNKS];
    struct op_crew *crew;
    struct op_outboxes outboxes;
    uint8_t *seen; /* by member: has a result in an earlier chunk */
};

static bool take_lines(void *arg, void *item)
{
    struct part *part = arg;
    struct op_chunk *chunk = item;
    if (part->taken_all)
        return false;
    op_chunk_clear(part->applying->work, chunk);
    chunk->part = part->number;
    size_t count = op_ordered_take(part->lines, OP_CHUNK_ENTRIES, OP_CHUNK_BYTES, &chunk->from,
                                   &chunk->last);
    chunk->end = chunk->from + (int64_t)count;
    part->taken_all = chunk->last;
    return true;
}

static enum op_rc fill_chunk(void *arg, void *item, struct op_err *err)
{
    struct worker *worker = arg;
    return op_digest_chunk(worker->digest, worker->part->lines, NULL, item, err);
}

/* A thread knows nothing of other chunks. Where one holds a second result of a request, which no
 * well-behaved provider sends, the later chunk is digested again with the knowledge of the first. */
static enum op_rc see_results(struct part *part, struct op_chunk *chunk, struct op_err *err)
{
    const struct op_work *work = part->applying->work;
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < chunk->count; i++) {
            const struct op_entry *entry = &chunk->entries[i];
            again = again || (entry->kind == OP_ENTRY_RESULT && part->seen[entry->member_at]);
        }
        if (!again)
            break;
        const struct op_chunk place = *chunk;
        op_chunk_clear(work, chunk);
        chunk->last = place.last;
        enum op_rc rc =
            op_digest_chunk(part->applying->digest, part->lines, part->seen, chunk, err);
        if (rc)
            return rc;
    }
    for (size_t i = 0; i < chunk->count; i++) {
        if (chunk->entries[i].kind == OP_ENTRY_RESULT)
            part->seen[chunk->entries[i].member_at] = 1;
    }
    return OP_OK;
}

static enum op_rc apply_chunk(struct part *part, struct op_chunk *chunk, struct op_verdicts *v,
                              struct op_err *err)
{
    struct applying *a = part->applying;
    v->frames = chunk->frames;
    v->rows = chunk->rows;
    enum op_rc rc = see_results(part, chunk, err);
    if (!rc)
        rc = apply_entries(a, chunk, v, err);
    if (!rc)
        rc = op_outboxes_add(&part->outboxes, chunk->frames, chunk->rows, err);
    count_rows(a->work, v, chunk->rows);
    a->batch.apply_part = chunk->last ? chunk->part + 1 : chunk->part;
    a->batch.apply_offset = chunk->last ? 0 : chunk->end;
    return rc;
}

/* Chunks from this one on, as many as one transaction takes; *ret_last: that was the part. */
static enum op_rc apply_chunks(struct part *part, struct op_chunk *chunk, struct op_verdicts *v,
                               bool *ret_last, struct op_err *err)
{
    const struct op_engine *engine = part->applying->work->engine;
    size_t entries = 0, bytes = 0;
    for (;;) {
        enum op_rc rc = apply_chunk(part, chunk, v, err);
        entries += chunk->count;
        for (size_t i = 0; i < chunk->count; i++)
            bytes += (size_t)chunk->entries[i].len;
        *ret_last = chunk->last;
        op_crew_done(part->crew, chunk);
        if (rc || *ret_last || entries >= TX_ENTRIES || bytes >= TX_BYTES ||
            op_engine_stopped(engine))
            return rc;
        void *next = NULL;
        rc = op_crew_next(part->crew, &next, err);
        if (rc)
            return rc;
        chunk = next;
    }
}

/* One transaction: results, requests, sums, outbox lengths, cursor. A crash anywhere means the same
 * lines again, without a second effect. */
static enum op_rc commit_chunks(struct part *part, struct op_chunk *first, bool *ret_last,
                                struct op_err *err)
{
    struct applying *a = part->applying;
    struct op_engine *engine = a->work->engine;
    OP_CLEANUP(op_verdicts_release) struct op_verdicts v = verdicts(a, NULL, NULL);
    enum op_rc rc = op_ledger_begin(engine->ledger, err);
    if (rc)
        return rc;
    rc = apply_chunks(part, first, &v, ret_last, err);
    if (!rc)
        rc = op_outboxes_count(&part->outboxes, err);
    OP_FAULT(engine, "apply.outbox");
    if (!rc)
        rc = add_sums(a, &v, err);
    if (!rc)
        rc = op_ledger_batch_save(engine->ledger, &a->batch, err);
    OP_FAULT(engine, "apply.commit.before");
    if (!rc)
        rc = op_ledger_commit(engine->ledger, err);
    if (rc) {
        op_ledger_rollback(engine->ledger);
        return rc;
    }
    OP_FAULT(engine, "apply.commit.after");
    if (v.pause)
        op_lane_pause(engine, op_batch_lane(a->work, &a->batch), &v.pause_why);
    op_engine_changed(engine);
    return OP_OK;
}

static enum op_rc commit_part(struct part *part, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (bool last = false; !rc && !last;) {
        if (op_engine_stopped(part->applying->work->engine))
            return op_fail(err, OP_STOPPED, "stopped while applying; the rest is kept");
        void *chunk = NULL;
        rc = op_crew_next(part->crew, &chunk, err);
        if (!rc)
            rc = commit_chunks(part, chunk, &last, err);
    }
    return rc;
}

/* Beside this thread, which has little to do for each result, one for each processor. */
static size_t count_workers(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 1 ? 1 : processors > WORKERS ? WORKERS : (size_t)processors;
}

static enum op_rc open_part(struct part *part, const struct op_result_file *file,
                            struct op_err *err)
{
    struct applying *a = part->applying;
    struct op_engine *engine = a->work->engine;
    OP_CLEANUP(op_mem_freep) char *path = op_spool_path(engine->spool, file->file);
    part->number = file->part;
    part->seen = op_mem_alloc(a->member_count + 1);
    op_outboxes_init(&part->outboxes, a->work);
    enum op_rc rc =
        op_ordered_open(engine->env, path, op_ledger_tag(engine->ledger), a->batch.nonce,
                        a->batch.apply_offset, OP_RESULT_LINE_MAX, &part->lines, err);
    for (size_t most = count_workers(); !rc && part->worker_count < most;) {
        struct worker *worker = &part->workers[part->worker_count];
        worker->part = part;
        rc = op_digest_open(a->work, &a->batch, a->members, a->member_count, &worker->digest,
                            err);
        part->worker_count += !rc;
    }
    return rc;
}

static enum op_rc start_crew(struct part *part, struct op_err *err)
{
    void *workers[WORKERS], *chunks[CHUNKS];
    for (size_t i = 0; i < part->worker_count; i++)
        workers[i] = &part->workers[i];
    size_t count = 2 * part->worker_count + 1;
    for (size_t i = 0; i < count; i++)
        chunks[i] = part->chunks[i] = op_chunk_new(part->applying->work);
    const struct op_crew_plan plan = {.items = chunks,
                                      .item_count = count,
                                      .workers = workers,
                                      .worker_count = part->worker_count,
                                      .take = take_lines,
                                      .arg = part,
                                      .fill = fill_chunk};
    return op_crew_start(&plan, &part->crew, err);
}

static enum op_rc apply_part(struct applying *a, const struct op_result_file *file,
                             struct op_err *err)
{
    struct part part = {.applying = a};
    enum op_rc rc = open_part(&part, file, err);
    if (!rc)
        rc = start_crew(&part, err);
    if (!rc)
        rc = commit_part(&part, err);
    op_crew_stop(part.crew);
    for (size_t i = 0; i < part.worker_count; i++)
        op_digest_close(part.workers[i].digest);
    op_ordered_close(part.lines);
    for (size_t i = 0; i < CHUNKS; i++)
        op_chunk_free(a->work, part.chunks[i]);
    op_outboxes_release(&part.outboxes);
    op_mem_free(part.seen);
    return rc;
}

static enum op_rc load_members(struct applying *a, struct op_err *err)
{
    op_mem_free(OP_TAKE(a->members));
    return op_ledger_batch_members(a->work->engine->ledger, a->batch.id, &a->members,
                                   &a->member_count, err);
}

/* The provider returned fewer results than requests. It is asked again for a while; what is still
 * missing then is ABSENT, a class like any other. */
static enum op_rc refetch(struct applying *a, size_t missing, struct op_err *err)
{
    struct op_engine *engine = a->work->engine;
    int64_t wait = refetch_ms[a->batch.fetches - 1];
    a->batch.due_ms = op_engine_now(engine) + wait;
    char text[160];
    snprintf(text, sizeof(text), "%zu of %lld results are missing; fetched again in %lld s",
             missing, (long long)a->batch.count, (long long)(wait / 1000));
    op_log(OP_EVENT_NOTE, OP_F("batch", a->batch.id), OP_T("problem", text));
    return op_work_move(a->work, &a->batch, OP_BATCH_ENDED, text, err);
}

static enum op_rc mark_absent(struct applying *a, const struct op_member *member,
                              struct op_verdicts *v, struct op_err *err)
{
    struct op_entry entry = {.kind = OP_ENTRY_RESULT,
                             .member = *member,
                             .member_at = OP_NO_MEMBER,
                             .class_ = OP_RESULT_ABSENT,
                             .model = a->work->plan->requests[member->name].model};
    struct op_result_row row = {.batch_id = a->batch.id,
                                .request_id = member->request_id,
                                .class_ = OP_RESULT_ABSENT,
                                .part = -1};
    bool inserted = false;
    enum op_rc rc = op_ledger_result_add(a->work->engine->ledger, &row, &inserted, err);
    a->batch.absent++;
    if (!rc)
        rc = op_verdict_bad(v, &entry, OP_STR("the provider returned no result for it"),
                            OP_STR_NULL, err);
    op_spending_add(&v->spending, &entry, v->again);
    return rc;
}

/* What is left of members[*at...] and fits into one transaction: late lines go through the chunk as
 * every line does, the others are absent. */
static enum op_rc settle_left(struct applying *a, const struct op_late *late, size_t *at,
                              struct op_chunk *chunk, struct op_verdicts *v, struct op_err *err)
{
    struct op_buf line;
    op_buf_init(&line, OP_RESULT_LINE_MAX);
    size_t bytes = 0;
    enum op_rc rc = OP_OK;
    for (size_t taken = 0;
         !rc && *at < a->member_count && taken < OP_CHUNK_ENTRIES && bytes < OP_CHUNK_BYTES;
         taken++, (*at)++) {
        const struct op_late *l = &late[*at];
        const struct op_member *member = &a->members[*at];
        if (l->part < 0) {
            rc = mark_absent(a, member, v, err);
            continue;
        }
        const struct op_entry place = {.offset = l->offset, .len = l->len};
        op_buf_clear(&line);
        rc = read_line(a, l->part, &place, &line, err);
        struct op_line text = {
            .ptr = line.ptr, .len = line.len, .offset = l->offset, .terminated = true};
        if (!rc)
            rc = op_digest_late(a->digest, member, l->part, &text, chunk, err);
        bytes += line.len;
    }
    op_buf_release(&line);
    return rc ? rc : apply_entries(a, chunk, v, err);
}

/* N = ok + failed + absent, or the batch is not applied. */
static enum op_rc check_complete(const struct op_batch *b, struct op_err *err)
{
    if (b->ok + b->failed + b->absent == b->count)
        return OP_OK;
    return op_fail(err, OP_IO,
                   "batch-%lld does not add up: %lld ok, %lld failed, %lld absent, %lld sent; "
                   "run `offpeak doctor`",
                   (long long)b->id, (long long)b->ok, (long long)b->failed,
                   (long long)b->absent, (long long)b->count);
}

/* One transaction: some of what is left, and with the last of it the move to APPLIED. */
static enum op_rc complete_inside(struct applying *a, const struct op_late *late, size_t *at,
                                  struct op_chunk *chunk, struct op_err *err)
{
    struct op_work *work = a->work;
    struct op_ledger *ledger = work->engine->ledger;
    struct op_batch *b = &a->batch;
    OP_CLEANUP(op_verdicts_release)
    struct op_verdicts v = verdicts(a, chunk->frames, chunk->rows);
    enum op_rc rc = settle_left(a, late, at, chunk, &v, err);
    if (!rc)
        rc = op_work_append(work, chunk->frames, chunk->rows, err);
    count_rows(work, &v, chunk->rows);
    bool last = *at == a->member_count;
    if (!rc && last)
        rc = check_complete(b, err);
    if (last)
        v.counts.reserved_microusd -= b->reserved_microusd;
    if (!rc)
        rc = add_sums(a, &v, err);
    if (!rc && !last)
        rc = op_ledger_batch_save(ledger, b, err);
    if (!rc && last)
        rc = op_ledger_batch_go(ledger, b, OP_BATCH_APPLIED, "", err);
    if (!rc && last)
        rc = op_work_event(work, b, err);
    if (!rc && last)
        rc = op_queue_calibrate(work, b, err);
    if (!rc)
        rc = op_ledger_commit(ledger, err);
    if (!rc && v.pause)
        op_lane_pause(work->engine, op_batch_lane(work, b), &v.pause_why);
    return rc;
}

static enum op_rc settle_all(struct applying *a, const struct op_late *late, struct op_err *err)
{
    struct op_ledger *ledger = a->work->engine->ledger;
    struct op_chunk *chunk = op_chunk_new(a->work);
    enum op_rc rc = OP_OK;
    size_t at = 0;
    do {
        op_chunk_clear(a->work, chunk);
        rc = op_ledger_begin(ledger, err);
        if (!rc)
            rc = complete_inside(a, late, &at, chunk, err);
        if (rc)
            op_ledger_rollback(ledger);
    } while (!rc && a->batch.state != OP_BATCH_APPLIED);
    op_chunk_free(a->work, chunk);
    return rc;
}

static enum op_rc complete(struct applying *a, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) struct op_late *late = NULL;
    enum op_rc rc = load_members(a, err);
    if (!rc)
        rc = op_late_find(a->work, &a->batch, a->digest, a->members, a->member_count, &late,
                          err);
    if (rc)
        return rc;
    size_t missing = 0;
    for (size_t i = 0; i < a->member_count; i++)
        missing += late[i].part < 0;
    if (missing && a->batch.fetches <= (int64_t)OP_COUNT(refetch_ms) &&
        !op_batch_is_realtime(&a->batch))
        return refetch(a, missing, err);
    rc = settle_all(a, late, err);
    if (rc)
        return rc;
    OP_FAULT(a->work->engine, "apply.done");
    op_log(OP_EVENT_BATCH_APPLIED, OP_F("batch", a->batch.id), OP_F("ok", a->batch.ok),
           OP_F("failed", a->batch.failed), OP_F("absent", a->batch.absent));
    return OP_OK;
}

/* What was fetched is lost from the spool, but the provider keeps it for weeks. */
static enum op_rc fetch_anew(struct applying *a, const struct op_err *why, struct op_err *err)
{
    op_log(OP_EVENT_NOTE, OP_F("batch", a->batch.id), OP_T("problem", why->msg));
    a->batch.due_ms = 0;
    return op_work_move(a->work, &a->batch, OP_BATCH_ENDED, why->msg, err);
}

static enum op_rc file_owner(struct applying *a, const struct op_result_file *file,
                             enum op_owner *ret, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *path = op_spool_path(a->work->engine->spool, file->file);
    return op_batch_owner(a->work, &a->batch, path, ret, err);
}

static enum op_rc apply_batch(struct applying *a, struct op_err *err)
{
    struct op_engine *engine = a->work->engine;
    bool first = true;
    enum op_rc rc = load_members(a, err);
    if (!rc)
        rc = op_digest_open(a->work, &a->batch, a->members, a->member_count, &a->digest, err);
    while (!rc) {
        struct op_result_file file = {0};
        rc = op_ledger_result_file_get(engine->ledger, a->batch.id, a->batch.apply_part, &file,
                                       err);
        if (rc == OP_NOTFOUND) {
            op_err_clear(err);
            return complete(a, err);
        }
        /* What this very process hashed while it wrote it need not be hashed again. */
        struct op_err damage = OP_ERR_INIT;
        enum op_rc sound = OP_OK;
        if (!rc && engine->fetched_batch != a->batch.id)
            sound = op_spool_verify(engine->spool, file.file, file.bytes, file.sha256, &damage);
        if (op_is_lost(sound, &damage)) {
            op_result_file_release(&file);
            return fetch_anew(a, &damage, err);
        }
        if (sound) {
            rc = sound;
            *err = damage;
        }
        /* Whose a batch is that was adopted by time and count, its results tell. */
        enum op_owner owner = OP_OWNER_US;
        if (!rc && a->batch.provisional)
            rc = file_owner(a, &file, &owner, err);
        if (!rc && owner == OP_OWNER_OTHER) {
            rc = op_batch_disown(a->work, &a->batch, err);
            op_result_file_release(&file);
            return rc;
        }
        /* What the part before has answered is no member without a result any more. */
        if (!rc && !first)
            rc = load_members(a, err);
        first = false;
        if (!rc) {
            a->batch.provisional = owner == OP_OWNER_UNKNOWN;
            rc = apply_part(a, &file, err);
        }
        op_result_file_release(&file);
    }
    return rc;
}

enum op_rc op_step_apply(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    struct applying a = {.work = work};
    enum op_rc rc = op_batch_pick(work, NULL, OP_STATE_BIT(OP_BATCH_FETCHED), &a.batch, err);
    bool none = rc == OP_NOTFOUND && !err->rc;
    if (!rc) {
        *ret_worked = true;
        a.rows = op_mem_array(OP_CHUNK_ENTRIES, sizeof(*a.rows));
        rc = apply_batch(&a, err);
    }
    op_digest_close(a.digest);
    op_mem_free(a.rows);
    op_mem_free(a.members);
    op_batch_release(&a.batch);
    return none ? OP_OK : rc;
}
