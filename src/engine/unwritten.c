/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "base/mem.h"
#include "engine/work.h"
#include "ledger/blackbox.h"
#include "provider/provider.h"

/*
 * A create that was accepted and could not be written down: the ballast makes room, and if that is
 * not enough, or not what was missing, the black box keeps the provider's id for the next start.
 * Reconciliation would find the batch as well, but only when it has ended, and the black box knows.
 */

static bool is_full(const struct op_err *err)
{
    return err->rc == OP_IO && err->disp == OP_DISP_RETRY;
}

enum op_rc op_work_accept(struct op_work *work, struct op_batch *batch,
                          const struct op_remote_batch *remote, struct op_err *err)
{
    struct op_engine *engine = work->engine;
    const char *dir = engine->options.state_dir;
    enum op_batch_state state = batch->state;
    int64_t epoch = batch->epoch;
    struct op_err why = OP_ERR_INIT;
    struct op_blackbox_entry entry = {.batch_id = batch->id,
                                      .nonce = batch->nonce,
                                      .provider_id = remote->id,
                                      .created_ms = remote->created_ms};
    engine->unwritten = &entry; /* for when the process has to end in here (prove.c) */
    enum op_rc rc = op_work_move(work, batch, OP_BATCH_ACCEPTED, remote->id, &why);
    if (rc && is_full(&why) && op_ballast_free(engine->env, dir)) {
        op_log(OP_EVENT_DISK_LOW, OP_F("batch", batch->id), OP_T("dir", dir),
               OP_T("why", "the ballast was thrown off to write down what was bought"));
        op_err_clear(&why);
        batch->state = state; /* what was undone with the transaction */
        batch->epoch = epoch;
        rc = op_work_move(work, batch, OP_BATCH_ACCEPTED, remote->id, &why);
    }
    engine->unwritten = NULL;
    if (!rc)
        return OP_OK;
    struct op_err second = OP_ERR_INIT;
    bool kept =
        !op_blackbox_write(engine->env, dir, op_ledger_uuid(engine->ledger), &entry, &second);
    *err = why;
    return op_err_wrap(err, "batch-%lld was bought as %s; %s", (long long)batch->id, remote->id,
                       kept ? "the black box will tell the next start"
                            : "keep that id, the black box cannot be written either");
}

/* --- at the next start ---------------------------------------------------------------------- */

static enum op_rc settle(void *arg, const struct op_blackbox_entry *entry, struct op_err *err)
{
    struct op_engine *engine = arg;
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    struct op_err missing = OP_ERR_INIT;
    enum op_rc rc = op_ledger_batch_get(engine->ledger, entry->batch_id, &batch, &missing);
    if (rc == OP_NOTFOUND)
        return OP_OK; /* from before a backup: the sweep finds it in the account */
    if (rc)
        *err = missing;
    if (rc || batch.state != OP_BATCH_AMBIGUOUS || strcmp(batch.nonce, entry->nonce) != 0 ||
        !op_provider_id_ok(op_str_from(entry->provider_id)))
        return rc;
    op_mem_free(batch.provider_id);
    batch.provider_id = op_mem_strdup(entry->provider_id);
    batch.accepted_ms = entry->created_ms >= 0 ? entry->created_ms : op_engine_now(engine);
    batch.provisional = false;
    batch.tries = batch.due_ms = 0;
    rc = op_ledger_batch_go(engine->ledger, &batch, OP_BATCH_ACCEPTED, "from the black box",
                            err);
    if (!rc)
        op_log(OP_EVENT_BATCH_ADOPTED, OP_F("batch", batch.id),
               OP_T("provider_id", batch.provider_id), OP_T("from", "the black box"));
    return rc;
}

enum op_rc op_engine_unwritten(struct op_engine *engine, struct op_err *err)
{
    return op_blackbox_walk(engine->env, engine->options.state_dir,
                            op_ledger_uuid(engine->ledger), settle, engine, err);
}
