/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "ledger/sqlite/sqlite.h"

/* What BUILT freezes (R5): written once, protected by a trigger. */
#define BATCH_FROZEN(X)                          \
    X(INT, id, id)                               \
    X(INT, job_id, job_id)                       \
    X(INT, lane_id, lane_id)                     \
    X(CHARS, nonce, nonce)                       \
    X(INT, count, count)                         \
    X(INT, request_lo, request_lo)               \
    X(INT, request_hi, request_hi)               \
    X(TEXT, file, file)                          \
    X(INT, bytes, bytes)                         \
    X(CHARS, sha256, sha256)                     \
    X(TEXT, model, model)                        \
    X(TEXT, endpoint, endpoint)                  \
    X(INT, tokens, tokens)                       \
    X(SMALL, prime, prime)                       \
    X(INT, reserved_microusd, reserved_microusd) \
    X(TEXT, prices, prices)

/* What changes while it lives; baseline, which may be long, comes behind it. */
#define BATCH_MUTABLE(X)                                     \
    X(TEXT, file_id, file_id)                                \
    X(INT, uploads, uploads)                                 \
    X(INT, uploaded_ms, uploaded_ms)                         \
    X(INT, sent_ms, sent_ms)                                 \
    X(INT, fenced_ms, fenced_ms)                             \
    X(TEXT, twins, twins)                                    \
    X(INT, extra_microusd, extra_microusd)                   \
    X(TEXT, provider_id, provider_id)                        \
    X(TEXT, results_url, results_url)                        \
    X(TEXT, remote_state, remote_state)                      \
    X(SMALL, provisional, provisional)                       \
    X(SMALL, cancel_wanted, cancel_wanted)                   \
    X(SMALL, cancel_sent, cancel_sent)                       \
    X(INT, intent_ms, intent_ms)                             \
    X(INT, last_try_ms, last_try_ms)                         \
    X(INT, first_clean_ms, first_clean_ms)                   \
    X(INT, accepted_ms, accepted_ms)                         \
    X(INT, expires_ms, expires_ms)                           \
    X(INT, ended_ms, ended_ms)                               \
    X(INT, due_ms, due_ms)                                   \
    X(INT, tries, tries)                                     \
    X(INT, missing_since_ms, missing_since_ms)               \
    X(INT, fetches, fetches)                                 \
    X(INT, apply_part, apply_part)                           \
    X(INT, apply_offset, apply_offset)                       \
    X(INT, ok, ok)                                           \
    X(INT, failed, failed)                                   \
    X(INT, absent, absent)                                   \
    X(INT, spent_microusd, spent_microusd)                   \
    X(INT, tokens_input, usage.tokens[OP_TOKEN_INPUT])       \
    X(INT, tokens_write_5m, usage.tokens[OP_TOKEN_WRITE_5M]) \
    X(INT, tokens_write_1h, usage.tokens[OP_TOKEN_WRITE_1H]) \
    X(INT, tokens_read, usage.tokens[OP_TOKEN_READ])         \
    X(INT, tokens_output, usage.tokens[OP_TOKEN_OUTPUT])     \
    X(TEXT, evidence, evidence)

#define COLUMN(kind, column, member)     ", " #column
#define PLACE(kind, column, member)      ", ?"
#define SET_COLUMN(kind, column, member) #column " = ?, "

#define BATCH_COLUMNS "state, epoch" BATCH_FROZEN(COLUMN) BATCH_MUTABLE(COLUMN) ", baseline"
#define BATCH_SET \
    BATCH_MUTABLE(SET_COLUMN) "baseline = ? WHERE id = ? AND state = ? AND epoch = ?"
#define BATCH_OPEN \
    "state NOT IN ('sealed','rejected','unsent','vanished','dropped','quarantined')"
#define BATCH_PAGE 32
#define STR_(x)    #x
#define STR(x)     STR_(x)

#define BIND_FIELD(kind, column, member) OP_SQ_BIND_##kind(stmt, at++, batch->member);
#define READ_FIELD(kind, column, member) OP_SQ_READ_##kind(stmt, at++, ret->member);

void op_batch_release(struct op_batch *batch)
{
    char **const texts[] = {&batch->file,        &batch->model,        &batch->endpoint,
                            &batch->file_id,     &batch->twins,        &batch->provider_id,
                            &batch->results_url, &batch->remote_state, &batch->baseline,
                            &batch->evidence,    &batch->prices};
    for (size_t i = 0; i < OP_COUNT(texts); i++)
        op_mem_free(*texts[i]);
    *batch = (struct op_batch){0};
}

static int bind_mutable(sqlite3_stmt *stmt, int at, const struct op_batch *batch)
{
    BATCH_MUTABLE(BIND_FIELD)
    op_sq_text(stmt, at++, batch->baseline);
    return at;
}

/* False: the row holds a state that this program does not know. */
static bool read_batch(sqlite3_stmt *stmt, struct op_batch *ret)
{
    char state[32];
    *ret = (struct op_batch){0};
    op_sq_chars(stmt, 0, state, sizeof(state));
    ret->epoch = sqlite3_column_int64(stmt, 1);
    int at = 2;
    BATCH_FROZEN(READ_FIELD)
    BATCH_MUTABLE(READ_FIELD)
    OP_SQ_READ_TEXT(stmt, at, ret->baseline);
    return op_batch_state_parse(state, &ret->state);
}

static enum op_rc fail_state(const struct op_ledger *ledger, int64_t id, struct op_err *err)
{
    return op_fail(err, OP_IO, "batch %lld in %s has a state this program does not know",
                   (long long)id, ledger->path);
}

/* --- the journal -------------------------------------------------------------------------- */

enum op_rc op_sq_journal_add(struct op_ledger *ledger, int64_t batch_id, const char *from,
                             const char *to, int64_t epoch, const char *evidence,
                             struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(
        ledger, OP_SQ_JOURNAL_ADD,
        "INSERT INTO journal(batch_id, epoch, at_ms, from_state, to_state, evidence)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, batch_id);
    op_sq_int(stmt, 2, epoch);
    op_sq_int(stmt, 3, ledger->env->ops->now_ms(ledger->env));
    op_sq_text(stmt, 4, from);
    op_sq_text(stmt, 5, to);
    op_sq_text(stmt, 6, evidence);
    return op_sq_run(ledger, stmt, "write the journal", NULL, err);
}

enum op_rc op_ledger_journal(struct op_ledger *ledger, int64_t batch_id, op_journal_fn fn,
                             void *arg, struct op_err *err)
{
    int64_t after = -1;
    enum op_rc rc = OP_OK;
    while (!rc) {
        sqlite3_stmt *stmt = NULL;
        rc = op_sq_get(ledger, OP_SQ_JOURNAL,
                       "SELECT at_ms, from_state, to_state, epoch, evidence FROM journal"
                       " WHERE batch_id = ?1 AND epoch > ?2 ORDER BY epoch LIMIT 1",
                       &stmt, err);
        if (rc)
            break;
        op_sq_int(stmt, 1, batch_id);
        op_sq_int(stmt, 2, after);
        bool row = false;
        rc = op_sq_row(ledger, stmt, "read the journal", &row, err);
        if (rc)
            break;
        OP_CLEANUP(op_mem_freep) char *from = row ? op_sq_dup(stmt, 1) : NULL;
        OP_CLEANUP(op_mem_freep) char *to = row ? op_sq_dup(stmt, 2) : NULL;
        OP_CLEANUP(op_mem_freep) char *evidence = row ? op_sq_dup(stmt, 4) : NULL;
        struct op_journal_entry entry = {.from = from, .to = to, .evidence = evidence};
        if (row) {
            entry.at_ms = sqlite3_column_int64(stmt, 0);
            entry.epoch = after = sqlite3_column_int64(stmt, 3);
        }
        op_sq_done(ledger, stmt);
        if (!row)
            break;
        rc = fn(arg, &entry, err);
    }
    return rc;
}

/* --- one batch ---------------------------------------------------------------------------- */

static enum op_rc insert_batch(struct op_ledger *ledger, const struct op_batch *batch,
                               struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc =
        op_sq_get_write(ledger, OP_SQ_BATCH_ADD,
                        "INSERT INTO batch(" BATCH_COLUMNS
                        ") VALUES ('built', 0" BATCH_FROZEN(PLACE) BATCH_MUTABLE(PLACE) ", ?)",
                        &stmt, err);
    if (rc)
        return rc;
    int at = 1;
    BATCH_FROZEN(BIND_FIELD)
    (void)bind_mutable(stmt, at, batch);
    return op_sq_run(ledger, stmt, "add a batch", NULL, err);
}

enum op_rc op_ledger_batch_add(struct op_ledger *ledger, const struct op_batch *batch,
                               struct op_err *err)
{
    if (batch->id < 1 || batch->id > ledger->next.batch)
        return op_fail(err, OP_INVAL, "batch %lld is not the next one, which is %lld",
                       (long long)batch->id, (long long)ledger->next.batch);
    if (!batch->nonce[0] || batch->count < 1 || batch->request_lo < 1 ||
        batch->request_hi < batch->request_lo ||
        batch->request_hi - batch->request_lo + 1 < batch->count)
        return op_fail(err, OP_INVAL,
                       "batch %lld has no nonce, or its %lld requests do not fit into %lld to "
                       "%lld",
                       (long long)batch->id, (long long)batch->count,
                       (long long)batch->request_lo, (long long)batch->request_hi);
    struct op_sq_group group;
    enum op_rc rc = op_sq_enter(ledger, &group, err);
    if (rc)
        return rc;
    rc = insert_batch(ledger, batch, err);
    group.changed = !rc;
    if (!rc)
        rc = op_sq_journal_add(ledger, batch->id, "", op_batch_state_name(OP_BATCH_BUILT), 0,
                               batch->evidence, err);
    if (!rc && batch->id == ledger->next.batch)
        ledger->next.batch++;
    return op_sq_leave(ledger, &group, rc, err);
}

enum op_rc op_ledger_batch_get(struct op_ledger *ledger, int64_t id, struct op_batch *ret,
                               struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_BATCH_GET,
                              "SELECT " BATCH_COLUMNS " FROM batch WHERE id = ?1", &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, id);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "read a batch", &row, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    bool known = row && read_batch(stmt, &batch);
    op_sq_done(ledger, stmt);
    if (!row)
        return op_fail(err, OP_NOTFOUND, "there is no batch %lld in %s", (long long)id,
                       ledger->path);
    if (!known)
        return fail_state(ledger, id, err);
    *ret = batch;
    batch = (struct op_batch){0};
    return OP_OK;
}

static enum op_rc fail_moved(const struct op_batch *batch, struct op_err *err)
{
    return op_fail(err, OP_CONFLICT, "batch %lld is not %s (move %lld) any more; read it again",
                   (long long)batch->id, op_batch_state_name(batch->state),
                   (long long)batch->epoch);
}

/* The door is also shut for a ledger that may not be the only one. */
static enum op_rc check_go(const struct op_ledger *ledger, const struct op_batch *batch,
                           enum op_batch_state to, struct op_err *err)
{
    if (!op_batch_may_go(batch->state, to))
        return op_fail(err, OP_INVAL, "batch %lld may not go from %s to %s",
                       (long long)batch->id, op_batch_state_name(batch->state),
                       op_batch_state_name(to));
    struct op_str why;
    if (to == OP_BATCH_SENDING && op_ledger_is_suspect(ledger, &why))
        return op_fail_as(err, OP_INVAL, OP_DISP_PAUSE,
                          "nothing is sent from this ledger: " OP_STR_FMT
                          "; if it is the only one, run `%s`",
                          OP_STR_ARG(why), op_ledger_remedy(ledger));
    return OP_OK;
}

/* The state is one word of a row; a damaged page may say "uploaded" of a batch that was accepted.
 * So before the door the journal, which lies elsewhere, must tell the same story. */
static enum op_rc check_door(struct op_ledger *ledger, const struct op_batch *batch,
                             struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_BATCH_DOOR,
                              "SELECT 1 FROM batch WHERE id = ?1 AND epoch = ?2 AND state = ?3"
                              " AND NOT (EXISTS (SELECT 1 FROM journal WHERE batch_id = ?1"
                              " AND epoch = ?2 AND to_state = ?3)"
                              " AND NOT EXISTS (SELECT 1 FROM journal WHERE batch_id = ?1"
                              " AND (epoch > ?2 OR to_state NOT IN ('built','uploaded'))))",
                              &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, batch->id);
    op_sq_int(stmt, 2, batch->epoch);
    op_sq_text(stmt, 3, op_batch_state_name(batch->state));
    bool differs = false;
    rc = op_sq_row(ledger, stmt, "read the journal", &differs, err);
    if (rc)
        return rc;
    op_sq_done(ledger, stmt);
    if (!differs)
        return OP_OK; /* a row that is elsewhere by now is found by the move itself */
    return op_fail(
        err, OP_IO,
        "batch %lld is not sent: its journal does not say that it is %s (move %lld), so "
        "%s is damaged; run `offpeak recover --audit`, and put a backup back",
        (long long)batch->id, op_batch_state_name(batch->state), (long long)batch->epoch,
        ledger->path);
}

static enum op_rc update_go(struct op_ledger *ledger, const struct op_batch *batch,
                            enum op_batch_state to, struct op_sq_group *group,
                            struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get_write(ledger, OP_SQ_BATCH_GO,
                                    "UPDATE batch SET state = ?, epoch = epoch + 1, " BATCH_SET,
                                    &stmt, err);
    if (rc)
        return rc;
    op_sq_text(stmt, 1, op_batch_state_name(to));
    int at = bind_mutable(stmt, 2, batch);
    op_sq_int(stmt, at, batch->id);
    op_sq_text(stmt, at + 1, op_batch_state_name(batch->state));
    op_sq_int(stmt, at + 2, batch->epoch);
    int64_t changes = 0;
    rc = op_sq_run(ledger, stmt, "move a batch", &changes, err);
    group->changed = !rc && changes;
    return rc || changes ? rc : fail_moved(batch, err);
}

enum op_rc op_ledger_batch_go(struct op_ledger *ledger, struct op_batch *batch,
                              enum op_batch_state to, const char *evidence, struct op_err *err)
{
    enum op_rc rc = check_go(ledger, batch, to, err);
    if (!rc && to == OP_BATCH_SENDING)
        rc = check_door(ledger, batch, err);
    struct op_sq_group group;
    if (!rc)
        rc = op_sq_enter(ledger, &group, err);
    if (rc)
        return rc;
    /* Transition rule R4: the move, its number and its journal entry are one transaction. */
    rc = update_go(ledger, batch, to, &group, err);
    if (!rc)
        rc = op_sq_journal_add(ledger, batch->id, op_batch_state_name(batch->state),
                               op_batch_state_name(to), batch->epoch + 1, evidence, err);
    rc = op_sq_leave(ledger, &group, rc, err);
    if (rc)
        return rc;
    batch->state = to;
    batch->epoch++;
    return OP_OK;
}

enum op_rc op_ledger_batch_save(struct op_ledger *ledger, struct op_batch *batch,
                                struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc =
        op_sq_get_write(ledger, OP_SQ_BATCH_SAVE, "UPDATE batch SET " BATCH_SET, &stmt, err);
    if (rc)
        return rc;
    int at = bind_mutable(stmt, 1, batch);
    op_sq_int(stmt, at, batch->id);
    op_sq_text(stmt, at + 1, op_batch_state_name(batch->state));
    op_sq_int(stmt, at + 2, batch->epoch);
    int64_t changes = 0;
    rc = op_sq_run(ledger, stmt, "save a batch", &changes, err);
    return rc || changes ? rc : fail_moved(batch, err);
}

/* --- finding batches ---------------------------------------------------------------------- */

/* ?1 job, ?2 lane, ?3 states as ",built,sending,", ?4 after. */
#define BATCH_WHERE                                                           \
    " WHERE id > ?4 AND (?1 = 0 OR job_id = ?1) AND (?2 = 0 OR lane_id = ?2)" \
    " AND instr(?3, ',' || state || ',')"
#define BATCH_ORDER " ORDER BY id LIMIT " STR(BATCH_PAGE)

static enum op_rc get_walk(struct op_ledger *ledger, const struct op_batch_filter *filter,
                           uint32_t states, sqlite3_stmt **ret, struct op_err *err)
{
    bool any_final = false;
    for (unsigned i = 0; i < OP_BATCH_STATE_COUNT; i++)
        any_final |= (states >> i & 1U) && op_batch_is_final((enum op_batch_state)i);
    if (!any_final)
        return op_sq_get(ledger, OP_SQ_BATCHES_OPEN,
                         "SELECT " BATCH_COLUMNS " FROM batch INDEXED BY batch_open" BATCH_WHERE
                         " AND " BATCH_OPEN BATCH_ORDER,
                         ret, err);
    if (filter->job_id)
        return op_sq_get(ledger, OP_SQ_BATCHES_JOB,
                         "SELECT " BATCH_COLUMNS " FROM batch INDEXED BY batch_job" BATCH_WHERE
                         " AND job_id = ?1" BATCH_ORDER,
                         ret, err);
    return op_sq_get(ledger, OP_SQ_BATCHES,
                     "SELECT " BATCH_COLUMNS " FROM batch" BATCH_WHERE BATCH_ORDER, ret, err);
}

static enum op_rc read_page(struct op_ledger *ledger, sqlite3_stmt *stmt,
                            struct op_batch page[BATCH_PAGE], size_t *ret_count,
                            struct op_err *err)
{
    size_t count = 0;
    int64_t unknown = 0;
    while (count < BATCH_PAGE && !unknown) {
        bool row = false;
        enum op_rc rc = op_sq_row(ledger, stmt, "list the batches", &row, err);
        if (rc) {
            *ret_count = count;
            return rc;
        }
        if (!row)
            break;
        if (!read_batch(stmt, &page[count]))
            unknown = page[count].id;
        count++;
    }
    op_sq_done(ledger, stmt);
    *ret_count = count;
    return unknown ? fail_state(ledger, unknown, err) : OP_OK;
}

enum op_rc op_ledger_batches(struct op_ledger *ledger, const struct op_batch_filter *filter,
                             op_batch_fn fn, void *arg, struct op_err *err)
{
    const uint32_t all = (1U << OP_BATCH_STATE_COUNT) - 1;
    uint32_t states = filter->states ? filter->states & all : all;
    char names[256] = ",";
    size_t len = 1;
    for (unsigned i = 0; i < OP_BATCH_STATE_COUNT; i++) {
        if (states >> i & 1U)
            len += (size_t)snprintf(names + len, sizeof(names) - len, "%s,",
                                    op_batch_state_name((enum op_batch_state)i));
    }
    enum op_rc rc = OP_OK;
    int64_t after = 0;
    size_t count = BATCH_PAGE;
    while (!rc && count == BATCH_PAGE) {
        struct op_batch page[BATCH_PAGE] = {0};
        sqlite3_stmt *stmt = NULL;
        rc = get_walk(ledger, filter, states, &stmt, err);
        if (rc)
            return rc;
        op_sq_int(stmt, 1, filter->job_id);
        op_sq_int(stmt, 2, filter->lane_id);
        op_sq_str(stmt, 3, (struct op_str){names, len});
        op_sq_int(stmt, 4, after);
        rc = read_page(ledger, stmt, page, &count, err);
        after = count ? page[count - 1].id : 0;
        for (size_t i = 0; i < count && !rc; i++)
            rc = fn(arg, &page[i], err);
        for (size_t i = 0; i < count; i++)
            op_batch_release(&page[i]);
    }
    return rc;
}

enum op_rc op_ledger_batch_find(struct op_ledger *ledger, const char *provider_id,
                                int64_t *ret_id, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_BATCH_FIND,
                              "SELECT id FROM batch INDEXED BY batch_provider"
                              " WHERE provider_id = ?1 AND provider_id <> ''"
                              " ORDER BY id DESC LIMIT 1",
                              &stmt, err);
    if (rc)
        return rc;
    op_sq_text(stmt, 1, provider_id);
    bool row = false;
    rc = op_sq_row(ledger, stmt, "look up a batch", &row, err);
    if (rc)
        return rc;
    if (row)
        *ret_id = sqlite3_column_int64(stmt, 0);
    op_sq_done(ledger, stmt);
    return row ? OP_OK : OP_NOTFOUND;
}
