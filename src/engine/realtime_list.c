/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/realtime.h"

static const char lost_with_process[] =
    "the process ended while it was being asked: it may have been bought, and nobody knows";
static const char lost_with_log[] =
    "the record of what was asked is lost: it may have been bought, and nobody knows";

/* --- members -------------------------------------------------------------------------------- */

static enum op_rc add_ask(void *arg, const struct op_request *request, struct op_err *err)
{
    struct op_ask_list *list = arg;
    if (request->payload.batch_id != list->batch.id)
        return op_fail(err, OP_IO, "request %lld is not in the payload of its batch-%lld",
                       (long long)request->id, (long long)list->batch.id);
    if ((list->count & (list->count - 1)) == 0) /* full at every power of two */
        list->asks = op_mem_realloc(list->asks,
                                    (list->count ? list->count * 2 : 1) * sizeof(*list->asks));
    list->asks[list->count++] = (struct op_ask){.request_id = request->id,
                                                .offset = request->payload.offset,
                                                .len = request->payload.len,
                                                .name = request->name};
    return OP_OK;
}

static struct op_ask *find_ask(const struct op_ask_list *list, int64_t request_id)
{
    size_t lo = 0, hi = list->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (list->asks[mid].request_id < request_id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < list->count && list->asks[lo].request_id == request_id ? &list->asks[lo] : NULL;
}

void op_ask_custom_id(const struct op_ask_list *list, size_t at, char ret[OP_CUSTOM_ID_MAX + 1])
{
    op_custom_id_format(op_ledger_tag(list->work->engine->ledger), list->batch.nonce,
                        list->asks[at].request_id, ret);
}

bool op_ask_list_next(const struct op_ask_list *list, size_t *ret_at)
{
    *ret_at = list->back_count ? list->back[list->back_count - 1] : list->next;
    return *ret_at < list->count;
}

static void skip_taken(struct op_ask_list *list)
{
    while (list->next < list->count && list->asks[list->next].state != OP_MEMBER_OPEN)
        list->next++;
}

void op_ask_list_take(struct op_ask_list *list, size_t at)
{
    if (list->back_count)
        list->back_count--;
    list->asks[at].state = OP_MEMBER_ASKED;
    list->under_way++;
    skip_taken(list);
    op_asklog_asked(&list->log, list->asks[at].request_id);
}

void op_ask_list_back(struct op_ask_list *list, size_t at)
{
    list->asks[at].state = OP_MEMBER_OPEN;
    list->under_way--;
    list->back[list->back_count++] = at;
    op_asklog_back(&list->log, list->asks[at].request_id);
}

static void settle(struct op_ask_list *list, size_t at, struct op_str line)
{
    list->asks[at].state = OP_MEMBER_ANSWERED;
    list->answered++;
    op_asklog_answered(&list->log, list->asks[at].request_id, line);
}

void op_ask_list_answer(struct op_ask_list *list, size_t at, struct op_str line)
{
    list->under_way--;
    settle(list, at, line);
}

void op_ask_list_withdraw(struct op_ask_list *list, size_t at, struct op_str line)
{
    if (list->back_count)
        list->back_count--;
    settle(list, at, line);
    skip_taken(list);
}

/* An unknown outcome is an error whose request may be bought again by the policy for failed ones,
 * with this reason in the ledger; --strict leaves that to the operator. */
static void write_doubt(const struct op_work *work, const char *custom_id, const char *why,
                        struct op_buf *ret_line)
{
    bool strict = work->engine->options.strict;
    op_buf_clear(ret_line);
    op_own_line_write(op_str_from(custom_id), OP_RESULT_ERRORED, "outcome unknown", why,
                      strict ? OP_DISP_REJECT : OP_DISP_RETRY, ret_line);
}

void op_ask_list_doubt(struct op_ask_list *list, size_t at, const char *why,
                       struct op_buf *scratch)
{
    char id[OP_CUSTOM_ID_MAX + 1];
    op_ask_custom_id(list, at, id);
    write_doubt(list->work, id, why, scratch);
    list->doubtful++;
    settle(list, at, op_buf_str(scratch));
}

enum op_rc op_ask_list_params(struct op_ask_list *list, size_t at, struct op_buf *ret,
                              struct op_err *err)
{
    const struct op_ask *ask = &list->asks[at];
    op_buf_clear(ret);
    op_buf_grow(ret, (size_t)ask->len);
    enum op_rc rc = op_io_pread_all(list->work->engine->env, list->fd, ret->ptr,
                                    (size_t)ask->len, ask->offset, list->path, err);
    if (!rc)
        ret->len = (size_t)ask->len;
    return rc;
}

/* --- opening -------------------------------------------------------------------------------- */

void op_ask_list_close(struct op_ask_list *list)
{
    if (!list)
        return;
    if (list->fd >= 0)
        (void)list->work->engine->env->ops->close(list->work->engine->env, list->fd);
    op_asklog_close(&list->log);
    op_batch_release(&list->batch);
    op_mem_free(list->path);
    op_mem_free(list->asks);
    op_mem_free(list->back);
    op_mem_free(list);
}

static void list_closep(struct op_ask_list **list)
{
    op_ask_list_close(*list);
}

static enum op_rc see_event(void *arg, enum op_ask_event event, int64_t request,
                            struct op_str line, struct op_err *err)
{
    struct op_ask *ask = find_ask(arg, request);
    (void)line;
    (void)err;
    if (!ask)
        return OP_OK; /* it has its result in the ledger already */
    if (event == OP_ASK_ANSWERED)
        ask->state = OP_MEMBER_ANSWERED;
    else if (ask->state != OP_MEMBER_ANSWERED)
        ask->state = event == OP_ASK_ASKED ? OP_MEMBER_ASKED : OP_MEMBER_OPEN;
    return OP_OK;
}

/* What was under way when the last process ended. */
static enum op_rc settle_doubtful(struct op_ask_list *list, struct op_err *err)
{
    struct op_buf line;
    op_buf_init(&line, 16 * 1024);
    for (size_t i = 0; i < list->count; i++) {
        if (list->asks[i].state == OP_MEMBER_ANSWERED)
            list->answered++;
        else if (list->asks[i].state == OP_MEMBER_ASKED)
            op_ask_list_doubt(list, i, lost_with_process, &line);
    }
    op_buf_release(&line);
    skip_taken(list);
    if (!list->doubtful)
        return OP_OK;
    op_log(OP_EVENT_REQUEST_UNKNOWN, OP_F("batch", list->batch.id),
           OP_F("requests", list->doubtful), OP_T("why", lost_with_process));
    return op_asklog_commit(&list->log, err);
}

static enum op_rc open_payload(struct op_ask_list *list, struct op_err *err)
{
    struct op_engine *engine = list->work->engine;
    const struct op_batch *batch = &list->batch;
    enum op_rc rc =
        op_spool_verify(engine->spool, batch->file, batch->bytes, batch->sha256, err);
    if (rc)
        return rc;
    list->path = op_spool_path(engine->spool, batch->file);
    list->fd = engine->env->ops->open(engine->env, list->path, O_RDONLY | O_NOFOLLOW, 0);
    return list->fd >= 0
               ? OP_OK
               : op_fail(err, OP_IO, "cannot open %s: %s", list->path, strerror(-list->fd));
}

static enum op_rc move_both(struct op_work *work, struct op_batch *batch, const char *evidence,
                            struct op_err *err)
{
    struct op_ledger *ledger = work->engine->ledger;
    enum op_rc rc = op_ledger_batch_go(ledger, batch, OP_BATCH_SENDING, evidence, err);
    if (!rc)
        rc = op_work_event(work, batch, err);
    if (!rc)
        rc = op_ledger_batch_go(ledger, batch, OP_BATCH_ACCEPTED, "realtime: being asked", err);
    return rc ? rc : op_work_event(work, batch, err);
}

/* The door, for all members at once: durable before the first of them is asked. Which of them have
 * been, the log says from here on; it is there before the batch is announced, so that an announced
 * batch without a log is one whose log is lost. */
static enum op_rc pass_door(struct op_work *work, struct op_batch *batch, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    const char *no_batches = op_work_no_batches(work, op_batch_lane(work, batch));
    OP_CLEANUP(op_mem_freep)
    char *evidence = op_mem_printf("realtime%s%s%s%s", work->tier ? ", tier " : "",
                                   work->tier ? work->tier : "", no_batches ? ": " : "",
                                   no_batches ? no_batches : "");
    op_batch_mark_realtime(batch, work->tier);
    batch->accepted_ms = batch->intent_ms = op_engine_now(engine);
    batch->tries = 0;
    batch->due_ms = 0;
    enum op_rc rc = op_batch_announce(work, batch, false, err);
    if (!rc)
        rc = op_ledger_begin(engine->ledger, err);
    if (rc)
        return rc;
    rc = move_both(work, batch, evidence, err);
    if (!rc)
        rc = op_ledger_commit(engine->ledger, err);
    if (rc)
        op_ledger_rollback(engine->ledger);
    OP_FAULT(engine, "realtime.opened");
    if (!rc)
        op_log(OP_EVENT_BATCH_ASKING, OP_F("batch", batch->id), OP_F("requests", batch->count),
               OP_T("how", evidence));
    return rc;
}

static enum op_rc open_log(struct op_ask_list *list, struct op_err *err)
{
    struct op_engine *engine = list->work->engine;
    OP_CLEANUP(op_mem_freep) char *name = op_asklog_name(list->batch.id, list->batch.nonce);
    struct op_err why = OP_ERR_INIT;
    enum op_rc rc = op_asklog_open(engine->spool, name, see_event, list, &list->log, &why);
    if (rc == OP_NOTFOUND && list->batch.state != OP_BATCH_ACCEPTED)
        return op_asklog_create(engine->spool, name, &list->log, err);
    if (rc)
        *err = why;
    return rc;
}

enum op_rc op_ask_list_open(struct op_work *work, struct op_batch *batch,
                            struct op_ask_list **ret, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    OP_CLEANUP(list_closep) struct op_ask_list *list = op_mem_alloc(sizeof(*list));
    list->work = work;
    list->fd = -1;
    list->log.file.fd = -1;
    list->batch = *batch;
    *batch = (struct op_batch){0};
    *ret = NULL;
    struct op_err lost = OP_ERR_INIT;
    enum op_rc rc =
        op_ledger_batch_requests(engine->ledger, list->batch.id, add_ask, list, err);
    if (rc)
        return rc;
    list->back = op_mem_array(list->count + 1, sizeof(*list->back));
    bool is_new = list->batch.state != OP_BATCH_ACCEPTED;
    rc = open_payload(list, &lost);
    /* Its bytes cannot be had again from here. */
    if (op_is_lost(rc, &lost) && is_new)
        return op_work_fail_batch(work, &list->batch, OP_BATCH_DROPPED, lost.msg, err);
    if (!rc)
        rc = open_log(list, &lost);
    if (rc && !is_new && op_is_lost(rc, &lost)) {
        /* What it says is no proof any more of what was not asked. */
        op_log(OP_EVENT_NOTE, OP_F("batch", list->batch.id), OP_T("problem", lost.msg));
        return op_work_move(work, &list->batch, OP_BATCH_ENDED, lost.msg, err);
    }
    if (rc) {
        *err = lost;
        return rc;
    }
    rc = is_new ? pass_door(work, &list->batch, err) : OP_OK;
    if (!rc)
        rc = settle_doubtful(list, err);
    if (!rc)
        *ret = OP_TAKE(list);
    return rc;
}

/* --- ending --------------------------------------------------------------------------------- */

enum op_rc op_ask_list_end(struct op_ask_list *list, struct op_err *err)
{
    struct op_work *work = list->work;
    struct op_batch *batch = &list->batch;
    OP_CLEANUP(op_mem_freep)
    char *evidence =
        list->doubtful
            ? op_mem_printf("realtime: all asked, %zu with an unknown outcome", list->doubtful)
            : op_mem_strdup("realtime: all asked");
    batch->ended_ms = op_engine_now(work->engine);
    batch->due_ms = 0;
    enum op_rc rc = op_work_move(work, batch, OP_BATCH_ENDED, evidence, err);
    OP_FAULT(work->engine, "realtime.ended");
    if (!rc)
        op_log(OP_EVENT_BATCH_ENDED, OP_F("batch", batch->id), OP_T("how", evidence));
    return rc;
}

struct copying {
    struct op_work *work;
    const struct op_batch *batch;
    struct op_spool_file file;
    struct op_member *members; /* without a result, by id */
    size_t count;
    bool *seen;
};

static enum op_rc write_line(struct copying *c, struct op_str line, struct op_err *err)
{
    enum op_rc rc = op_writer_add(&c->file.writer, line.ptr, line.len, err);
    return rc ? rc : op_writer_add(&c->file.writer, "\n", 1, err);
}

static enum op_rc copy_line(void *arg, enum op_ask_event event, int64_t request,
                            struct op_str line, struct op_err *err)
{
    struct copying *c = arg;
    if (event != OP_ASK_ANSWERED)
        return OP_OK;
    for (size_t lo = 0, hi = c->count; lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        if (c->members[mid].request_id == request)
            c->seen[mid] = true;
        if (c->members[mid].request_id < request)
            lo = mid + 1;
        else
            hi = mid;
    }
    return write_line(c, line, err);
}

static enum op_rc write_missing(struct copying *c, struct op_err *err)
{
    struct op_buf line;
    op_buf_init(&line, 16 * 1024);
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < c->count; i++) {
        char id[OP_CUSTOM_ID_MAX + 1];
        if (c->seen[i])
            continue;
        op_custom_id_format(op_ledger_tag(c->work->engine->ledger), c->batch->nonce,
                            c->members[i].request_id, id);
        write_doubt(c->work, id, lost_with_log, &line);
        rc = write_line(c, op_buf_str(&line), err);
    }
    op_buf_release(&line);
    return rc;
}

static enum op_rc copy_all(struct copying *c, struct op_err *err)
{
    struct op_engine *engine = c->work->engine;
    OP_CLEANUP(op_mem_freep) char *name = op_asklog_name(c->batch->id, c->batch->nonce);
    struct op_err why = OP_ERR_INIT;
    enum op_rc rc =
        op_ledger_batch_members(engine->ledger, c->batch->id, &c->members, &c->count, err);
    if (rc)
        return rc;
    c->seen = op_mem_array(c->count + 1, sizeof(*c->seen));
    rc = op_asklog_read(engine->spool, name, copy_line, c, &why);
    if (rc && rc != OP_NOTFOUND) {
        *err = why;
        return rc;
    }
    return write_missing(c, err);
}

enum op_rc op_realtime_results(struct op_work *work, const struct op_batch *batch, int64_t part,
                               struct op_result_file *ret, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    struct copying c = {.work = work, .batch = batch};
    enum op_rc rc = op_spool_begin(engine->spool, "result", &c.file, err);
    if (rc)
        return rc;
    rc = copy_all(&c, err);
    OP_FAULT(engine, "fetch.part");
    if (!rc) {
        OP_CLEANUP(op_mem_freep)
        char *prefix = op_mem_printf("%lld-%lld", (long long)batch->id, (long long)part);
        *ret = (struct op_result_file){.batch_id = batch->id, .part = part};
        rc = op_spool_commit(engine->spool, &c.file, prefix, ".jsonl", &ret->file, ret->sha256,
                             &ret->bytes, err);
    }
    op_spool_abort(engine->spool, &c.file);
    op_mem_free(c.members);
    op_mem_free(c.seen);
    return rc;
}

void op_realtime_forget(struct op_engine *engine, const struct op_batch *batch)
{
    if (!op_batch_is_realtime(batch))
        return;
    OP_CLEANUP(op_mem_freep) char *name = op_asklog_name(batch->id, batch->nonce);
    struct op_err err = OP_ERR_INIT;
    enum op_rc rc = op_spool_remove(engine->spool, name, &err);
    if (rc && rc != OP_NOTFOUND)
        op_log(OP_EVENT_NOTE, OP_F("batch", batch->id), OP_T("problem", err.msg));
}
