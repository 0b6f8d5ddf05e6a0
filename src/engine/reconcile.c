/* SPDX-License-Identifier: MIT */
#include "core/reconcile.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/json.h"
#include "base/json_out.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/time.h"
#include "core/retry.h"
#include "engine/listing.h"
#include "engine/work.h"

/* How far before the intent a listing has to reach (reference/reliability.md 3.4). */
#define LOOK_BACK_MS (2 * OP_HOUR_MS)
/* In another account's list something must be known from this long before the intent. */
#define KNOWN_MS (48 * OP_HOUR_MS)
/* So much of a candidate's results is read to see whose they are. */
#define SAMPLE_MAX   (4 * 1024 * 1024)
#define SAMPLE_LINES 64

struct candidates {
    struct op_listed_batch *listed;
    const struct op_remote_batch **remote;
    size_t count;
    size_t known; /* listed ones that were there before, or that the same lane sent */
};

static enum op_rc count_owner(struct op_work *work, const struct op_batch *batch, int64_t owner,
                              struct candidates *ret, struct op_err *err)
{
    int64_t sender = op_batch_sender(batch);
    if (sender == op_batch_lane(work, batch)->id)
        return OP_OK;
    OP_CLEANUP(op_batch_release) struct op_batch other = {0};
    enum op_rc rc = op_ledger_batch_get(work->engine->ledger, owner, &other, err);
    ret->known += !rc && op_batch_sender(&other) == sender;
    return rc;
}

static enum op_rc find_candidates(struct op_work *work, const struct op_batch *batch,
                                  const struct op_listing *listing, struct candidates *ret,
                                  struct op_err *err)
{
    struct op_map known = {0};
    op_baseline_read(batch->baseline, &known);
    ret->listed = op_mem_array(listing->count + 1, sizeof(*ret->listed));
    ret->remote = op_mem_array(listing->count + 1, sizeof(const struct op_remote_batch *));
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < listing->count; i++) {
        const struct op_remote_batch *r = &listing->batches[i];
        int64_t owner = 0;
        if (op_map_get(&known, op_str_from(r->id), NULL)) {
            ret->known++;
            continue;
        }
        rc = op_ledger_batch_find(work->engine->ledger, r->id, &owner, err);
        if (!rc) { /* another batch of ours */
            rc = count_owner(work, batch, owner, ret, err);
            continue;
        }
        if (rc != OP_NOTFOUND || err->rc)
            break;
        rc = OP_OK;
        ret->remote[ret->count] = r;
        ret->listed[ret->count++] = (struct op_listed_batch){
            .id = r->id,
            .created_ms = r->created_ms,
            .count = r->total,
            .tag = r->tag,
            .file_id = r->file_id,
            .ended = r->state == OP_REMOTE_ENDED || r->state == OP_REMOTE_FAILED,
        };
    }
    op_map_release(&known);
    return rc;
}

static enum op_rc adopt(struct op_work *work, struct op_batch *batch,
                        const struct op_remote_batch *remote, bool proved, struct op_err *err)
{
    bool tagged = op_batch_lane(work, batch)->provider->has_tags;
    op_batch_take_remote(work->engine, batch, remote);
    batch->provisional = !proved;
    batch->tries = 0;
    batch->due_ms = 0;
    enum op_rc rc =
        op_work_move(work, batch, OP_BATCH_ACCEPTED,
                     tagged   ? "adopted: it carries our tag"
                     : proved ? "adopted: its results carry our ids"
                              : "adopted by time and count; its results will prove it",
                     err);
    if (!rc)
        op_log(OP_EVENT_BATCH_ADOPTED, OP_F("batch", batch->id),
               OP_T("provider_id", remote->id));
    return rc;
}

/* --- whose results are these? ---------------------------------------------------------------- */

struct sample {
    struct op_buf text;
    int lines;
    bool full; /* enough was read; there may be more */
};

static enum op_rc take_sample(void *arg, const void *ptr, size_t len, struct op_err *err)
{
    struct sample *sample = arg;
    size_t room = SAMPLE_MAX - sample->text.len;
    op_buf_add(&sample->text, ptr, len < room ? len : room);
    const char *at = ptr, *end = at + len;
    while ((at = memchr(at, '\n', (size_t)(end - at)))) {
        sample->lines++;
        at++;
    }
    sample->full = len >= room || sample->lines >= SAMPLE_LINES;
    return sample->full ? op_fail(err, OP_STOPPED, "that is enough") : OP_OK;
}

/* A line that can be read and carries an id, whoever's. */
static bool names_an_owner(const struct op_lane *lane, struct op_str line)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_json root;
    struct op_err err = OP_ERR_INIT;
    struct op_result result;
    struct op_buf scratch;
    op_buf_init(&scratch, SAMPLE_MAX);
    bool named = line.len > 0 &&
                 !op_json_parse(parser, line.ptr, line.len, true, &root, &err) &&
                 !op_result_read(lane->provider, root, &scratch, &result, &err) &&
                 result.custom_id.len > 0;
    op_buf_release(&scratch);
    return named;
}

/* The nonce is 40 random bits, made for this batch: anywhere in the text it is ours, even in a line
 * that is damaged. Ids of others are the only thing that tells it is not; damage alone tells nothing. */
static enum op_owner owner_of(struct op_work *work, const struct op_batch *batch,
                              const struct sample *sample)
{
    char ours[OP_CUSTOM_ID_MAX];
    int len = snprintf(ours, sizeof(ours), "%s-%s-", op_ledger_tag(work->engine->ledger),
                       batch->nonce);
    struct op_str rest = op_buf_str(&sample->text);
    if (rest.len && memmem(rest.ptr, rest.len, ours, (size_t)len))
        return OP_OWNER_US;
    while (rest.len) {
        OP_CLEANUP(op_buf_release) struct op_buf line = {0};
        op_buf_init(&line, SAMPLE_MAX + 1);
        op_buf_add_str(&line, op_str_cut(&rest, '\n'));
        if (names_an_owner(op_batch_lane(work, batch), op_buf_str(&line)))
            return OP_OWNER_OTHER;
    }
    return OP_OWNER_UNKNOWN;
}

enum op_rc op_batch_owner(struct op_work *work, const struct op_batch *batch, const char *path,
                          enum op_owner *ret, struct op_err *err)
{
    struct op_env *env = work->engine->env;
    struct sample sample = {0};
    op_buf_init(&sample.text, SAMPLE_MAX);
    int fd = env->ops->open(env, path, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0)
        return op_fail(err, OP_IO, "cannot open %s: %s", path, strerror(-fd));
    enum { BLOCK = 64 * 1024 };
    OP_CLEANUP(op_mem_freep) char *block = op_mem_alloc(BLOCK);
    struct op_err enough = OP_ERR_INIT;
    ssize_t n = 1;
    for (int64_t at = 0; n > 0; at += n) {
        n = env->ops->pread(env, fd, block, BLOCK, at);
        if (n > 0 && take_sample(&sample, block, (size_t)n, &enough))
            break;
    }
    (void)env->ops->close(env, fd);
    if (n >= 0)
        *ret = owner_of(work, batch, &sample);
    op_buf_release(&sample.text);
    return n < 0 ? op_fail(err, OP_IO, "cannot read %s: %s", path, strerror((int)-n)) : OP_OK;
}

/* Reads the beginning of an ended candidate's results: the proof. */
static enum op_rc prove(struct op_work *work, struct op_batch *batch,
                        const struct op_remote_batch *remote, struct op_err *err)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    struct op_engine *engine = work->engine;
    struct sample sample = {0};
    op_buf_init(&sample.text, SAMPLE_MAX);
    struct op_exchange x = {0};
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    struct op_err why = OP_ERR_INIT;
    enum op_rc rc = lane->provider->results(lane, remote, 0, &x, &why);
    if (!rc)
        rc = op_lane_exchange(engine, lane, &x, take_sample, &sample, &reply, &why);
    enum op_owner owner = owner_of(work, batch, &sample);
    if (owner == OP_OWNER_US) {
        rc = adopt(work, batch, remote, true, err);
    } else if (owner == OP_OWNER_OTHER && (!rc || sample.full)) {
        op_baseline_extend(batch, remote->id);
        batch->due_ms = 0;
        rc = op_ledger_batch_save(engine->ledger, batch, err);
    } else {
        if (!why.rc)
            op_err_set_as(&why, OP_REMOTE, OP_DISP_RETRY,
                          "the results of %s do not tell whose they are", remote->id);
        rc = op_batch_later(work, batch, &why, err);
    }
    op_http_reply_release(&reply);
    op_exchange_release(&x);
    op_buf_release(&sample.text);
    return rc;
}

static enum op_rc unsent(struct op_work *work, struct op_batch *batch, struct op_err *err)
{
    op_log(OP_EVENT_BATCH_UNSENT, OP_F("batch", batch->id));
    bool is_large = op_str_starts(op_str_from(batch->evidence), op_too_large);
    if (is_large && batch->count == 1) {
        OP_CLEANUP(op_mem_freep) char *reason = op_mem_strdup(batch->evidence);
        return op_work_fail_batch(work, batch, OP_BATCH_UNSENT, reason, err);
    }
    if (is_large)
        work->plan->batch_requests = (batch->count + 1) / 2;
    return op_work_move_unpack(work, batch, OP_BATCH_UNSENT,
                               batch->fenced_ms
                                   ? "complete listings do not have it, before and after its "
                                     "input file was removed"
                                   : "two complete listings after the settling time do not "
                                     "have it",
                               false, err);
}

/* A listing without a candidate is remembered; the next one that counts must lie well apart. */
static enum op_rc wait_more(struct op_work *work, struct op_batch *batch,
                            const struct op_reconcile_case *c, size_t candidates,
                            struct op_err *err)
{
    struct op_engine *engine = work->engine;
    if (candidates)
        batch->first_clean_ms = 0;
    else if (!batch->first_clean_ms &&
             (c->can_fence || c->now_ms >= c->last_try_ms + OP_RECONCILE_SETTLE_MS))
        batch->first_clean_ms = c->now_ms;
    int64_t wait = op_poll_delay_ms(c->now_ms - c->last_try_ms, -1, engine->options.poll_ms);
    int64_t next = op_reconcile_next_ms(c) - c->now_ms;
    if (next > 0 && next < wait)
        wait = next;
    batch->tries = 0;
    batch->due_ms = op_engine_now(engine) + wait;
    op_engine_due(engine, batch->due_ms);
    return op_ledger_batch_save(engine->ledger, batch, err);
}

/* Absence from another account's list is no evidence. A rotated key of the same workspace shows by
 * a batch that is known; without one the operator has to come back with the key that sent it. */
static const char other_account[] =
    "it was sent with another key or to another address, and nothing this account lists was there "
    "then: its fate is held open until the key and address that sent it are back";

/* --- several with our tag --------------------------------------------------------------------- */

/* Asked to stop before it is known as a twin: a crash between the two finds both again. A cancel
 * that is refused has come too late, and its results are fetched all the same. */
static enum op_rc cancel_twin(struct op_work *work, const struct op_batch *batch,
                              const char *id, struct op_err *err)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    struct op_exchange x = {0};
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    enum op_rc rc = lane->provider->cancel(lane, id, &x, err);
    if (!rc)
        rc = op_lane_exchange(work->engine, lane, &x, NULL, NULL, &reply, err);
    if (rc && rc != OP_STOPPED &&
        (err->disp == OP_DISP_REJECT || rc == OP_NOTFOUND || reply.status == 409)) {
        op_err_clear(err);
        rc = OP_OK;
    }
    op_http_reply_release(&reply);
    op_exchange_release(&x);
    if (!rc)
        op_log(OP_EVENT_BATCH_CANCELED, OP_F("batch", batch->id), OP_T("provider_id", id));
    return rc;
}

/* One create was carried out more than once. The earliest is ours, the others are paid for as well:
 * canceled, remembered, and their results kept (fetch.c). */
static enum op_rc adopt_many(struct op_work *work, struct op_batch *batch,
                             const struct op_reconcile_case *c, const struct candidates *found,
                             size_t at, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    OP_CLEANUP(op_buf_release) struct op_buf twins;
    op_buf_init(&twins, 64 * 1024);
    for (size_t i = 0; i < found->count; i++) {
        if (i == at || !op_reconcile_is_candidate(c, &found->listed[i]))
            continue;
        const struct op_remote_batch *twin = found->remote[i];
        struct op_err why = OP_ERR_INIT;
        enum op_rc rc = cancel_twin(work, batch, twin->id, &why);
        if (rc == OP_STOPPED)
            return op_fail(err, OP_STOPPED, "%s", why.msg);
        if (rc)
            return op_batch_later(work, batch, &why, err);
        op_buf_addf(&twins, "%s\n", twin->id);
        op_log(OP_EVENT_BATCH_ORPHAN,
               OP_T("provider", op_batch_lane(work, batch)->provider->name),
               OP_T("provider_id", twin->id), OP_F("batch", batch->id),
               OP_T("whose", "the provider made it of the same create: it is canceled, its "
                             "results are kept and its cost is booked"));
    }
    op_mem_free(batch->twins);
    batch->twins = op_buf_take(&twins);
    OP_FAULT(engine, "reconcile.twins");
    enum op_rc rc = adopt(work, batch, found->remote[at], true, err);
    OP_CLEANUP(op_mem_freep)
    char *text = op_mem_printf("the provider made several batches of one create; "
                               "%s is taken, the others are canceled: %s",
                               batch->provider_id, batch->twins);
    return rc ? rc
              : op_ledger_note_add(engine->ledger, work->job.id, batch->id, 0, "conflict",
                                   op_str_trim(op_str_from(text)), err);
}

static enum op_rc raise_fence(struct op_work *work, struct op_batch *batch, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    struct op_err why = OP_ERR_INIT;
    int64_t server_ms = 0;
    enum op_rc rc = op_upload_fence(work, batch, &server_ms, &why);
    if (rc == OP_STOPPED)
        return op_fail(err, OP_STOPPED, "%s", why.msg);
    if (rc)
        return op_batch_later(work, batch, &why, err);
    batch->fenced_ms = server_ms;
    batch->tries = 0;
    batch->due_ms = op_engine_now(engine) + OP_RECONCILE_VISIBLE_MS;
    op_engine_due(engine, batch->due_ms);
    rc = op_ledger_batch_save(engine->ledger, batch, err);
    OP_FAULT(engine, "reconcile.fenced");
    return rc;
}

static enum op_rc decide(struct op_work *work, struct op_batch *batch,
                         const struct op_listing *listing, struct op_err *err)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    struct op_engine *engine = work->engine;
    struct candidates found = {0};
    enum op_rc rc = find_candidates(work, batch, listing, &found, err);
    bool same = op_batch_sender(batch) == lane->id || found.known > 0;
    if (!batch->last_try_ms)
        batch->last_try_ms = listing->server_ms; /* it ended before this listing, if not when */
    if (!same && strcmp(batch->evidence ? batch->evidence : "", other_account) != 0) {
        op_log(OP_EVENT_NOTE, OP_F("batch", batch->id), OP_T("problem", other_account));
        op_mem_free(batch->evidence);
        batch->evidence = op_mem_strdup(other_account);
    }
    char tag[OP_TAG_MAX] = "";
    if (lane->provider->has_tags)
        op_batch_tag(engine, batch, tag);
    struct op_reconcile_case c = {
        .count = batch->count,
        .tag = tag,
        .file_id = batch->file_id,
        .can_fence = lane->provider->has_tags && lane->provider->has_upload &&
                     lane->provider->stops_without_file,
        .fenced_ms = batch->fenced_ms,
        .intent_ms = batch->intent_ms,
        .last_try_ms = batch->last_try_ms,
        .now_ms = listing->server_ms,
        .first_clean_ms = batch->first_clean_ms,
        .exclusive = engine->options.exclusive && same,
        .hold = engine->options.strict || !same,
    };
    size_t at = 0;
    if (!rc) {
        switch (op_reconcile(&c, found.listed, found.count, &at)) {
        case OP_RECONCILE_ADOPT_MANY:
            rc = adopt_many(work, batch, &c, &found, at, err);
            break;
        case OP_RECONCILE_FENCE:
            rc = raise_fence(work, batch, err);
            break;
        case OP_RECONCILE_ADOPT:
            rc = adopt(work, batch, found.remote[at], lane->provider->has_tags, err);
            break;
        case OP_RECONCILE_READ:
            if (found.listed[at].ended)
                rc = prove(work, batch, found.remote[at], err);
            else
                rc = wait_more(work, batch, &c, found.count, err);
            break;
        case OP_RECONCILE_UNSENT:
            rc = unsent(work, batch, err);
            break;
        case OP_RECONCILE_WAIT: /* with tags, what else is listed is nobody's candidate */
            rc = wait_more(work, batch, &c, tag[0] ? 0 : found.count, err);
            break;
        }
    }
    op_mem_free(found.listed);
    op_mem_free(found.remote);
    return rc;
}

static int64_t listing_start(const struct op_work *work, const struct op_batch *batch)
{
    const struct op_lane *lane = op_batch_lane(work, batch);
    /* Without an intent (a backup from before the send) it may be as old as results are kept. */
    if (batch->intent_ms <= 0)
        return -lane->provider->limits.keep_ms;
    bool same = op_batch_sender(batch) == lane->id;
    return batch->intent_ms - (same ? LOOK_BACK_MS : KNOWN_MS);
}

enum op_rc op_step_reconcile(struct op_work *work, bool *ret_worked, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    enum op_rc rc = op_batch_pick(work, NULL, OP_STATE_BIT(OP_BATCH_AMBIGUOUS), &batch, err);
    if (rc == OP_NOTFOUND && !err->rc)
        return OP_OK;
    if (rc)
        return rc;
    OP_FAULT(engine, "reconcile.before");
    struct op_listing listing = {0};
    struct op_err why = OP_ERR_INIT;
    rc = op_listing_read(engine, op_batch_lane(work, &batch), listing_start(work, &batch),
                         &listing, &why);
    if (rc == OP_STOPPED)
        return op_fail(err, OP_STOPPED, "%s", why.msg);
    if (rc)
        rc = op_batch_later(work, &batch, &why, err);
    else
        rc = decide(work, &batch, &listing, err);
    op_listing_release(&listing);
    OP_FAULT(engine, "reconcile.after");
    if (!rc)
        *ret_worked = true;
    return rc;
}

enum op_rc op_batch_disown(struct op_work *work, struct op_batch *batch, struct op_err *err)
{
    op_baseline_extend(batch, batch->provider_id);
    op_mem_free(batch->provider_id);
    batch->provider_id = op_mem_strdup("");
    batch->provisional = false;
    batch->accepted_ms = 0;
    batch->due_ms = 0;
    return op_work_move(work, batch, OP_BATCH_AMBIGUOUS,
                        "the adopted batch's results are not ours", err);
}
