/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "core/custom_id.h"
#include "core/reconcile.h"
#include "engine/fetch.h"
#include "engine/orphan.h"

/*
 * The orphan sweep (reference/reliability.md 3.6): what the account holds and the ledger does not
 * count on. Most of it is other people's. What carries ids of this ledger was paid for by it: by
 * transactions that are lost, or by a create that took effect after it was given up. The latter is
 * looked for all the time, since it can be recognised by its size and age; everything is looked at
 * when the ledger has come back from a backup.
 */
#define SAMPLE_MAX (1024 * 1024)

struct sample {
    struct op_buf text;
};

static enum op_rc take_sample(void *arg, const void *ptr, size_t len, struct op_err *err)
{
    struct sample *sample = arg;
    size_t room = SAMPLE_MAX - sample->text.len;
    op_buf_add(&sample->text, ptr, len < room ? len : room);
    return len < room ? OP_OK : op_fail(err, OP_STOPPED, "that is enough");
}

/* The nonce behind the first id of this ledger in the results; false: there is none. */
static bool find_nonce(struct op_engine *engine, const struct sample *sample,
                       char ret[OP_NONCE_LEN + 1])
{
    char prefix[OP_LEDGER_TAG_LEN + 2];
    size_t len = OP_LEDGER_TAG_LEN + 1;
    memcpy(prefix, op_ledger_tag(engine->ledger), OP_LEDGER_TAG_LEN);
    prefix[OP_LEDGER_TAG_LEN] = '-';
    struct op_str rest = op_buf_str(&sample->text);
    const char *at = rest.len ? memmem(rest.ptr, rest.len, prefix, len) : NULL;
    if (!at || (size_t)(rest.ptr + rest.len - at) < len + OP_NONCE_LEN)
        return false;
    memcpy(ret, at + len, OP_NONCE_LEN);
    ret[OP_NONCE_LEN] = '\0';
    return true;
}

/* --- what was given up ---------------------------------------------------------------------- */

struct given_up {
    int64_t id, count, intent_ms, request_lo, request_hi;
    struct op_map
        seen;      /* ids that are not it: listed before it was sent, or known by results */
    bool is_named; /* it vanished: its provider id is in the ledger */
};

struct sweep {
    struct op_engine *engine;
    const struct op_lane *lane;
    const struct op_work *work;  /* only its batches of the lane; NULL: those of all jobs */
    const struct op_batch *next; /* the one that is to buy again; NULL: none */
    bool all;                    /* also what cannot be one that was given up */
    bool quiet;                  /* says nothing of what is not ours, or not yet known to be */
    struct given_up *given_up;
    size_t count;
    bool adopted;
    const struct op_remote_batch *runs; /* ours, not ended, and may hold what next is to buy */
};

/* Behind the fence a create cannot run, and what carries a tag is refused for good. */
static bool is_over(const struct op_batch *batch)
{
    return batch->state == OP_BATCH_REJECTED ||
           (batch->state == OP_BATCH_UNSENT && batch->fenced_ms);
}

static enum op_rc note_given_up(void *arg, const struct op_batch *batch, struct op_err *err)
{
    struct sweep *s = arg;
    bool is_named = batch->provider_id[0] != '\0';
    if (batch->intent_ms <= 0 || (s->work && op_batch_lane(s->work, batch) != s->lane) ||
        (s->next && s->lane->provider->has_tags && is_over(batch)))
        return OP_OK;
    if (is_named) { /* what was kept once has its files, and is done with */
        int64_t files = 0;
        enum op_rc rc = op_parts_count(s->engine, batch->id, 0, &files, err);
        if (rc || files)
            return rc;
    }
    s->given_up = op_mem_realloc(s->given_up, (s->count + 1) * sizeof(*s->given_up));
    struct given_up *g = &s->given_up[s->count++];
    *g = (struct given_up){.id = batch->id,
                           .count = batch->count,
                           .intent_ms = batch->intent_ms,
                           .request_lo = batch->request_lo,
                           .request_hi = batch->request_hi,
                           .is_named = is_named};
    op_baseline_read(batch->baseline, &g->seen);
    return OP_OK;
}

static enum op_rc read_given_up(struct sweep *s, struct op_err *err)
{
    struct op_batch_filter filter = {.job_id = s->work ? s->work->job.id : 0,
                                     .states = OP_STATE_BIT(OP_BATCH_UNSENT) |
                                               OP_STATE_BIT(OP_BATCH_VANISHED) |
                                               OP_STATE_BIT(OP_BATCH_REJECTED)};
    return op_ledger_batches(s->engine->ledger, &filter, note_given_up, s, err);
}

static void sweep_release(struct sweep *s)
{
    for (size_t i = 0; i < s->count; i++)
        op_map_release(&s->given_up[i].seen);
    op_mem_free(s->given_up);
}

static bool may_be(const struct given_up *g, const struct op_remote_batch *remote)
{
    return !g->is_named && (remote->total < 0 || remote->total == g->count) &&
           remote->created_ms >= g->intent_ms - OP_RECONCILE_SKEW_MS &&
           !op_map_get(&g->seen, op_str_from(remote->id), NULL);
}

static const struct given_up *candidate(const struct sweep *s,
                                        const struct op_remote_batch *remote)
{
    for (size_t i = 0; i < s->count; i++) {
        if (may_be(&s->given_up[i], remote))
            return &s->given_up[i];
    }
    return NULL;
}

/* Somebody else's of the same size: not looked into again. */
static enum op_rc rule_out(struct sweep *s, const struct op_remote_batch *remote,
                           struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < s->count; i++) {
        struct given_up *g = &s->given_up[i];
        if (!may_be(g, remote))
            continue;
        OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
        rc = op_ledger_batch_get(s->engine->ledger, g->id, &batch, err);
        op_baseline_extend(&batch, remote->id);
        op_map_add(&g->seen, op_str_from(remote->id), 1, NULL);
        if (!rc)
            rc = op_ledger_batch_save(s->engine->ledger, &batch, err);
    }
    return rc;
}

/* --- one batch of the account --------------------------------------------------------------- */

/* The tag that a batch carries tells at once, whatever its state. */
static bool tag_is_ours(struct op_engine *engine, const struct op_remote_batch *remote,
                        char ret_nonce[OP_NONCE_LEN + 1])
{
    char prefix[OP_TAG_MAX];
    int len = snprintf(prefix, sizeof(prefix), "op-%s-", op_ledger_tag(engine->ledger));
    if (strncmp(remote->tag, prefix, (size_t)len) != 0 ||
        strlen(remote->tag) != (size_t)len + OP_NONCE_LEN)
        return false;
    memcpy(ret_nonce, remote->tag + len, OP_NONCE_LEN + 1);
    return true;
}

enum owner { UNKNOWN, OURS, ANOTHERS };

static enum owner look_inside(struct sweep *s, const struct op_remote_batch *remote,
                              char ret_nonce[OP_NONCE_LEN + 1])
{
    struct sample sample = {0};
    op_buf_init(&sample.text, SAMPLE_MAX);
    struct op_exchange x = {0};
    struct op_http_reply reply;
    op_http_reply_init(&reply);
    struct op_err why = OP_ERR_INIT;
    /* Part of the results is as good as all of them here: what is there may prove, what is not
     * there disproves nothing. */
    enum op_rc rc = s->lane->provider->results(s->lane, remote, 0, &x, &why);
    if (!rc)
        rc = op_lane_exchange(s->engine, s->lane, &x, take_sample, &sample, &reply, &why);
    enum owner owner = UNKNOWN;
    if (find_nonce(s->engine, &sample, ret_nonce))
        owner = OURS;
    else if ((!rc || rc == OP_STOPPED) && sample.text.len)
        owner = ANOTHERS;
    op_http_reply_release(&reply);
    op_exchange_release(&x);
    op_buf_release(&sample.text);
    return owner;
}

enum op_owner op_remote_owner(struct op_engine *engine, const struct op_lane *lane,
                              const struct op_remote_batch *remote,
                              char ret_nonce[OP_NONCE_LEN + 1])
{
    struct sweep s = {.engine = engine, .lane = lane};
    if (tag_is_ours(engine, remote, ret_nonce))
        return OP_OWNER_US;
    if (remote->state != OP_REMOTE_ENDED)
        return remote->tag[0] ? OP_OWNER_OTHER : OP_OWNER_UNKNOWN;
    switch (look_inside(&s, remote, ret_nonce)) {
    case OURS:
        return OP_OWNER_US;
    case ANOTHERS:
        return OP_OWNER_OTHER;
    case UNKNOWN:
        break;
    }
    return OP_OWNER_UNKNOWN;
}

struct by_nonce {
    const char *nonce;
    int64_t id;
    enum op_batch_state state;
};

static enum op_rc find_batch(void *arg, const struct op_batch *batch, struct op_err *err)
{
    (void)err;
    struct by_nonce *search = arg;
    if (strcmp(batch->nonce, search->nonce) == 0) {
        search->id = batch->id;
        search->state = batch->state;
    }
    return OP_OK;
}

static void say(const struct sweep *s, const struct op_remote_batch *remote, const char *whose)
{
    char created[OP_TIME_TEXT];
    op_time_format(remote->created_ms, created);
    op_log(OP_EVENT_BATCH_ORPHAN, OP_T("provider", s->lane->provider->name),
           OP_T("provider_id", remote->id), OP_F("requests", remote->total),
           OP_T("created", created), OP_T("state", remote->state_name), OP_T("whose", whose));
}

/* By its tag it is known before it has ended: what it may answer is not bought beside it. */
static void wait_for(struct sweep *s, const struct op_remote_batch *remote, int64_t id)
{
    for (size_t i = 0; s->next && i < s->count; i++) {
        const struct given_up *g = &s->given_up[i];
        if (g->id == id && g->request_lo <= s->next->request_hi &&
            s->next->request_lo <= g->request_hi)
            s->runs = remote;
    }
}

static enum op_rc settle_ours(struct sweep *s, const struct op_remote_batch *remote,
                              const char *nonce, struct op_err *err)
{
    struct by_nonce search = {.nonce = nonce};
    struct op_batch_filter all = {0};
    enum op_rc rc = op_ledger_batches(s->engine->ledger, &all, find_batch, &search, err);
    /* Doubtful ones are adopted by reconcile.c as soon as their turn comes; one that failed as a
     * whole has bought nothing. */
    if (rc || (search.id && search.state == OP_BATCH_AMBIGUOUS) ||
        remote->state == OP_REMOTE_FAILED)
        return rc;
    if (remote->state != OP_REMOTE_ENDED) {
        wait_for(s, remote, search.id);
        if (!s->quiet)
            say(s, remote,
                "it carries our tag and has not ended: run recover again when it has");
        return OP_OK;
    }
    struct op_orphan orphan = {.lane = s->lane, .remote = remote, .batch_id = search.id};
    return op_orphan_settle(s->engine, &orphan, &s->adopted, err);
}

static enum op_rc look_at_tag(struct sweep *s, const struct op_remote_batch *remote,
                              struct op_err *err)
{
    char nonce[OP_NONCE_LEN + 1];
    if (tag_is_ours(s->engine, remote, nonce))
        return settle_ours(s, remote, nonce, err);
    if (s->all && !s->quiet)
        say(s, remote, "it carries no tag of this ledger: somebody else's");
    return OP_OK;
}

static enum op_rc look(struct sweep *s, const struct op_remote_batch *remote,
                       struct op_err *err)
{
    if (s->lane->provider->has_tags)
        return look_at_tag(s, remote, err);
    const struct given_up *g = candidate(s, remote);
    if (!g && !s->all)
        return OP_OK;
    char text[120] = "it has not ended: whose it is, only its results will tell";
    if (remote->state != OP_REMOTE_ENDED) {
        if (g)
            snprintf(text, sizeof(text),
                     "it may be batch-%lld, which was given up: its results will tell, run "
                     "recover again when it has ended",
                     (long long)g->id);
        if (!s->quiet)
            say(s, remote, text);
        return OP_OK;
    }
    char nonce[OP_NONCE_LEN + 1];
    switch (look_inside(s, remote, nonce)) {
    case OURS:
        return settle_ours(s, remote, nonce, err);
    case ANOTHERS:
        if (s->all && !s->quiet)
            say(s, remote, "its results carry no id of this ledger: somebody else's");
        return rule_out(s, remote, err);
    case UNKNOWN:
        break;
    }
    if (!s->quiet)
        say(s, remote, "its results cannot be read now: whose it is, remains open");
    return OP_OK;
}

/* One that vanished, by its own id, is back. */
static enum op_rc look_known(struct sweep *s, const struct op_remote_batch *remote, int64_t id,
                             struct op_err *err)
{
    for (size_t i = 0; i < s->count; i++) {
        char nonce[OP_NONCE_LEN + 1];
        if (s->given_up[i].id != id)
            continue;
        if (remote->state != OP_REMOTE_ENDED)
            wait_for(s, remote, id);
        else if (look_inside(s, remote, nonce) == OURS)
            return settle_ours(s, remote, nonce, err);
    }
    return OP_OK;
}

static enum op_rc sweep_listing(struct sweep *s, const struct op_listing *listing,
                                struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < listing->count; i++) {
        int64_t id = 0;
        if (op_engine_stopped(s->engine))
            return op_fail(err, OP_STOPPED, "stopped while looking through the account");
        rc = op_ledger_batch_find(s->engine->ledger, listing->batches[i].id, &id, err);
        if (!rc)
            rc = look_known(s, &listing->batches[i], id, err);
        else if (rc == OP_NOTFOUND && !err->rc)
            rc = look(s, &listing->batches[i], err);
    }
    return rc;
}

/* To the oldest create that could have taken effect. */
static enum op_rc read_back(struct sweep *s, struct op_listing *ret, struct op_err *err)
{
    int64_t oldest = s->given_up[0].intent_ms;
    for (size_t i = 1; i < s->count; i++)
        if (s->given_up[i].intent_ms < oldest)
            oldest = s->given_up[i].intent_ms;
    return op_listing_read(s->engine, s->lane, oldest - OP_RECONCILE_SKEW_MS, ret, err);
}

enum op_rc op_sweep_before_send(struct op_work *work, const struct op_batch *batch,
                                const struct op_listing *listing, bool *ret_adopted,
                                struct op_err *err)
{
    struct sweep s = {.engine = work->engine,
                      .lane = op_batch_lane(work, batch),
                      .work = work,
                      .next = batch,
                      .quiet = true};
    struct op_listing own = {0};
    enum op_rc rc = read_given_up(&s, err);
    if (!rc && s.count && !listing)
        rc = read_back(&s, &own, err);
    if (!rc && s.count)
        rc = sweep_listing(&s, listing ? listing : &own, err);
    *ret_adopted = !rc && s.adopted;
    if (!rc && !s.adopted && s.runs)
        rc = op_fail_as(err, OP_REMOTE, OP_DISP_RETRY,
                        "%s has it under way, given up as lost and there after all: what it "
                        "answers is not bought again",
                        s.runs->id);
    op_listing_release(&own);
    sweep_release(&s);
    return rc;
}

static enum op_rc sweep_lane(struct op_engine *engine, const struct op_lane *lane, bool all,
                             bool quiet, struct op_err *err)
{
    struct sweep s = {.engine = engine, .lane = lane, .all = all, .quiet = quiet};
    struct op_listing listing = {0};
    enum op_rc rc = read_given_up(&s, err);
    bool wanted = !rc && (all || s.count);
    struct op_err why = OP_ERR_INIT;
    if (wanted &&
        op_listing_read(engine, lane, -lane->provider->limits.keep_ms, &listing, &why)) {
        /* Nothing hangs on it but when it was asked for: the next recover looks again. */
        if (all || why.rc == OP_STOPPED) {
            *err = why;
            rc = why.rc;
        } else {
            op_log(OP_EVENT_NOTE, OP_T("problem", why.msg));
        }
    }
    if (!rc)
        rc = sweep_listing(&s, &listing, err);
    op_listing_release(&listing);
    sweep_release(&s);
    return rc;
}

static enum op_rc sweep_lanes(struct op_engine *engine, bool all, bool quiet,
                              struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < engine->lane_count; i++)
        rc = sweep_lane(engine, engine->lanes[i], all, quiet, err);
    return rc;
}

enum op_rc op_engine_sweep_all(struct op_engine *engine, struct op_err *err)
{
    return sweep_lanes(engine, true, true, err);
}

enum op_rc op_engine_sweep(struct op_engine *engine, bool trust, struct op_err *err)
{
    enum op_rc rc = sweep_lanes(engine, trust, false, err);
    if (rc || !trust || !op_ledger_is_suspect(engine->ledger, NULL))
        return rc;
    rc = op_ledger_trust(engine->ledger, err);
    if (!rc && op_ledger_in_doubt(engine->ledger))
        rc = op_ledger_proved(engine->ledger, err);
    return rc ? rc : op_engine_doubt_announced(engine, err);
}
