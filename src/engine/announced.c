/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "engine/work.h"
#include "ledger/manifest.h"

/*
 * The manifest announces every batch before its door opens. A batch that is announced and only BUILT
 * in the ledger was announced by a process that died before its commit, or the ledger was put back
 * from a backup of before the send. The two cannot be told apart, and in the second the batch is
 * paid for: so it is doubtful, and never simply sent.
 */
struct announced {
    struct op_engine *engine;
    struct op_map nonces; /* of BUILT batches; the value is 1 when the manifest announces one */
    int64_t count;
};

static enum op_rc collect(void *arg, const struct op_batch *batch, struct op_err *err)
{
    (void)err;
    struct announced *a = arg;
    op_map_add(&a->nonces, op_str_from(batch->nonce), 0, NULL);
    return OP_OK;
}

/* Values of a nonce. */
enum { NOT_ANNOUNCED, ANNOUNCED, ANNOUNCED_REALTIME };

static enum op_rc take_line(void *arg, int64_t batch_id, const char *nonce,
                            enum op_manifest_word word, struct op_err *err)
{
    (void)batch_id;
    (void)err;
    struct announced *a = arg;
    struct op_str key = op_str_from(nonce);
    if (op_map_get(&a->nonces, key, NULL))
        op_map_set(&a->nonces, key,
                   word == OP_MANIFEST_WITHDRAWN  ? NOT_ANNOUNCED
                   : word == OP_MANIFEST_REALTIME ? ANNOUNCED_REALTIME
                                                  : ANNOUNCED);
    return OP_OK;
}

/* Which of its requests were asked, its log says; realtime.c reads it when it goes on. */
static enum op_rc resume_realtime(struct announced *a, int64_t id, struct op_err *err)
{
    struct op_ledger *ledger = a->engine->ledger;
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    enum op_rc rc = op_ledger_batch_get(ledger, id, &batch, err);
    if (rc)
        return rc;
    op_batch_mark_realtime(&batch, NULL);
    batch.accepted_ms = op_engine_now(a->engine);
    batch.due_ms = 0;
    rc = op_ledger_batch_go(ledger, &batch, OP_BATCH_SENDING,
                            "realtime: announced in the manifest", err);
    return rc ? rc
              : op_ledger_batch_go(ledger, &batch, OP_BATCH_ACCEPTED,
                                   "realtime: its log says what was asked", err);
}

static enum op_rc doubt(void *arg, const struct op_batch *found, struct op_err *err)
{
    struct announced *a = arg;
    int64_t is_announced = 0;
    op_map_get(&a->nonces, op_str_from(found->nonce), &is_announced);
    if (is_announced == NOT_ANNOUNCED)
        return OP_OK;
    if (is_announced == ANNOUNCED_REALTIME)
        return resume_realtime(a, found->id, err);
    struct op_batch batch = *found;
    batch.due_ms = 0;
    batch.last_try_ms = 0;
    enum op_rc rc = op_ledger_batch_go(a->engine->ledger, &batch, OP_BATCH_SENDING,
                                       "announced in the manifest", err);
    if (!rc)
        rc = op_ledger_batch_go(a->engine->ledger, &batch, OP_BATCH_AMBIGUOUS,
                                "announced in the manifest, and not sent as far as the ledger "
                                "knows: a crash, or a ledger put back from a backup",
                                err);
    a->count++;
    if (!rc)
        op_log(OP_EVENT_BATCH_AMBIGUOUS, OP_F("batch", batch.id),
               OP_T("why", "the manifest says that it was about to be sent"));
    return rc;
}

enum op_rc op_engine_doubt_announced(struct op_engine *engine, struct op_err *err)
{
    struct op_batch_filter built = {.states = OP_STATE_BIT(OP_BATCH_BUILT) |
                                              OP_STATE_BIT(OP_BATCH_UPLOADED)};
    struct announced a = {.engine = engine};
    /* A suspect ledger sends nothing anyhow; this is done when it is trusted. */
    enum op_rc rc = op_ledger_is_suspect(engine->ledger, NULL)
                        ? OP_OK
                        : op_ledger_batches(engine->ledger, &built, collect, &a, err);
    if (!rc && a.nonces.count)
        rc = op_manifest_walk(engine->env, engine->options.state_dir,
                              op_ledger_uuid(engine->ledger), take_line, &a, err);
    if (!rc && a.nonces.count)
        rc = op_ledger_batches(engine->ledger, &built, doubt, &a, err);
    op_map_release(&a.nonces);
    return rc;
}
