/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/orphan.h"
#include "engine/work.h"
#include "ledger/blackbox.h"
#include "provider/key.h"

/*
 * When a flush fails, what the disk holds is not known, and no later flush tells. Whoever went on
 * would believe the page cache. So the process ends where it stands, which is what it is made for,
 * and the next one, before it sends anything, proves that ledger and accounts agree
 * (docs/design/ledger.md, A flush that fails).
 */

/* Of a path, so that the mark fits into a slot whatever the folder is called. */
#define NAME_MAX_BYTES 60

/* --- the end of this process ---------------------------------------------------------------- */

static void leave_mark(struct op_engine *engine, const char *path, int code)
{
    struct op_err ignored = OP_ERR_INIT; /* the disk fails: the next start is safe without it */
    const char *uuid = engine->ledger ? op_ledger_uuid(engine->ledger) : "";
    const struct op_blackbox_entry *bought = engine->unwritten;
    const char *slash = strrchr(path, '/');
    OP_CLEANUP(op_mem_freep)
    char *why =
        op_mem_printf("%.*s could not be made durable (%s), so it is not known what the "
                      "disk holds",
                      NAME_MAX_BYTES, slash ? slash + 1 : path, strerror(code));
    (void)!op_blackbox_doubt(engine->env, engine->options.state_dir, uuid, why, &ignored);
    if (bought)
        (void)!op_blackbox_write(engine->env, engine->options.state_dir, uuid, bought,
                                 &ignored);
}

static void end_here(void *arg, const char *path, int code)
{
    struct op_engine *engine = arg;
    const struct op_blackbox_entry *bought = engine->unwritten;
    leave_mark(engine, path, code);
    OP_CLEANUP(op_mem_freep)
    char *also = bought ? op_mem_printf("; batch-%lld was bought as %s",
                                        (long long)bought->batch_id, bought->provider_id)
                        : NULL;
    fprintf(
        stderr,
        "offpeak: %s could not be made durable (%s)%s: it is not known what the disk holds, "
        "so nothing more is done; look after the disk, then run `offpeak recover`, which "
        "proves ledger and accounts before anything is sent\n",
        path, strerror(code), also ? also : "");
    _exit(EX_TEMPFAIL);
}

void op_engine_watch_flushes(struct op_engine *engine)
{
    op_env_on_flush_failed(end_here, engine);
}

void op_engine_unwatch_flushes(struct op_engine *engine)
{
    if (!engine->options.read_only)
        op_env_on_flush_failed(NULL, NULL);
}

/* --- the next one --------------------------------------------------------------------------- */

static enum op_rc load_lane(void *arg, const struct op_lane_row *row, struct op_err *err)
{
    struct op_engine *engine = arg;
    const struct op_provider_ops *provider = op_provider_find(row->provider);
    bool emulated = strcmp(row->base_url, "emulator") == 0;
    const char *key = NULL;
    enum op_rc rc = provider ? op_key_get(provider, &key, err) : OP_OK;
    if (rc || !provider || (emulated ? !engine->options.emulator_url : !key))
        return rc;
    struct op_lane *lane = NULL;
    return op_engine_lane(engine, provider, emulated, true, &lane, err);
}

enum op_rc op_engine_load_lanes(struct op_engine *engine, struct op_err *err)
{
    return op_ledger_lanes(engine->ledger, load_lane, engine, err);
}

struct missing {
    struct op_engine *engine;
    int64_t lane_id; /* of an open job or a batch that is not over */
    char *provider;  /* whose account cannot be looked through; NULL none */
};

static enum op_rc see_lane(void *arg, const struct op_lane_row *row, struct op_err *err)
{
    struct missing *m = arg;
    (void)err;
    bool has = row->id != m->lane_id || strcmp(row->base_url, "emulator") == 0;
    for (size_t i = 0; i < m->engine->lane_count && !has; i++)
        has = m->engine->lanes[i]->id == row->id;
    if (!has && !m->provider)
        m->provider = op_mem_strdup(row->provider);
    return OP_OK;
}

static enum op_rc see_job(void *arg, const struct op_job *job, struct op_err *err)
{
    struct missing *m = arg;
    m->lane_id = job->lane_id;
    return job->lane_id ? op_ledger_lanes(m->engine->ledger, see_lane, m, err) : OP_OK;
}

/* The requests of a job may have several lanes. */
static enum op_rc see_batch(void *arg, const struct op_batch *batch, struct op_err *err)
{
    struct missing *m = arg;
    bool known = m->lane_id == batch->lane_id;
    m->lane_id = batch->lane_id;
    return known ? OP_OK : op_ledger_lanes(m->engine->ledger, see_lane, m, err);
}

/* What an account holds counts only when it can be asked. */
static enum op_rc need_lanes(struct op_engine *engine, struct op_err *err)
{
    struct missing m = {.engine = engine};
    enum op_rc rc = op_engine_load_lanes(engine, err);
    if (!rc)
        rc = op_ledger_jobs(engine->ledger, true, see_job, &m, err);
    struct op_batch_filter open = {0};
    for (unsigned state = 0; state < OP_BATCH_STATE_COUNT; state++)
        if (!op_batch_is_final((enum op_batch_state)state))
            open.states |= OP_STATE_BIT(state);
    if (!rc)
        rc = op_ledger_batches(engine->ledger, &open, see_batch, &m, err);
    OP_CLEANUP(op_mem_freep) char *provider = m.provider;
    if (rc || !provider)
        return rc;
    return op_fail(err, OP_INVAL,
                   "the account at %s, where a job is open, cannot be looked through: set the "
                   "key and the address it was made with, or run `offpeak recover --trust`",
                   provider);
}

static enum op_rc need_audit(struct op_engine *engine, struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf report;
    op_buf_init(&report, 1024 * 1024);
    int64_t problems = 0;
    enum op_rc rc = op_ledger_audit(engine->ledger, &report, &problems, err);
    if (rc || !problems)
        return rc;
    struct op_str rest = op_buf_str(&report), first = op_str_cut(&rest, '\n');
    return op_fail(
        err, OP_IO,
        "the ledger does not agree with itself (" OP_STR_FMT
        "); `offpeak doctor --audit` lists all %lld, a copy of it may have to be put "
        "back",
        OP_STR_ARG(first), (long long)problems);
}

enum op_rc op_engine_prove(struct op_engine *engine, struct op_err *err)
{
    if (!op_ledger_in_doubt(engine->ledger))
        return OP_OK;
    struct op_str text;
    (void)op_ledger_is_suspect(engine->ledger, &text);
    OP_CLEANUP(op_mem_freep) char *why = op_mem_strndup(text.ptr, text.len);
    op_log(OP_EVENT_DISK_DOUBT, OP_T("why", why));
    enum op_rc rc = need_audit(engine, err);
    if (!rc)
        rc = need_lanes(engine, err);
    if (!rc)
        rc = op_engine_sweep_all(engine, err);
    if (!rc)
        rc = op_ledger_proved(engine->ledger, err);
    if (!rc)
        rc = op_engine_doubt_announced(engine, err);
    if (rc)
        return op_err_wrap(err, "nothing is sent: %s, and the proof failed", why);
    op_log(OP_EVENT_DISK_PROVED);
    return OP_OK;
}
