/* SPDX-License-Identifier: MIT */
#include "core/states.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BATCH(name)   (1U << OP_BATCH_##name)
#define REQUEST(name) (1U << OP_REQUEST_##name)
#define JOB(name)     (1U << OP_JOB_##name)

/* One bit per state that may follow. A state without a row is a dead end.
 *
 * The one-way door is visible here as two facts: SENDING occurs only in the rows of BUILT and
 * UPLOADED, and no row from SENDING on leads back to those two. */
static const uint32_t batch_moves[OP_BATCH_STATE_COUNT] = {
    /* To ACCEPTED: it was made elsewhere and is imported (engine/import.c); it is never sent. */
    [OP_BATCH_BUILT] = BATCH(UPLOADED) | BATCH(SENDING) | BATCH(DROPPED) | BATCH(ACCEPTED),
    [OP_BATCH_UPLOADED] = BATCH(SENDING) | BATCH(DROPPED),
    /* A send that stopped before its last byte is AMBIGUOUS like any other until that is proved:
     * whoever reads SENDING after a crash cannot tell the two apart. */
    [OP_BATCH_SENDING] = BATCH(ACCEPTED) | BATCH(REJECTED) | BATCH(AMBIGUOUS),
    [OP_BATCH_AMBIGUOUS] = BATCH(ACCEPTED) | BATCH(UNSENT) | BATCH(QUARANTINED),
    /* Back to AMBIGUOUS: a provisional adoption that the first result line disproved. It stays
     * possible until results are applied, because only result lines carry our nonce. */
    /* To REJECTED: some providers look into the file only after they have taken the batch. */
    [OP_BATCH_ACCEPTED] = BATCH(ENDED) | BATCH(VANISHED) | BATCH(QUARANTINED) |
                          BATCH(AMBIGUOUS) | BATCH(REJECTED),
    [OP_BATCH_ENDED] = BATCH(FETCHED) | BATCH(VANISHED) | BATCH(QUARANTINED) | BATCH(AMBIGUOUS),
    /* Back to ENDED: what was fetched is short of our own set of ids, so it is fetched again. */
    [OP_BATCH_FETCHED] = BATCH(APPLIED) | BATCH(QUARANTINED) | BATCH(AMBIGUOUS) | BATCH(ENDED),
    [OP_BATCH_APPLIED] = BATCH(SEALED),
    /* What was given up turned out to be bought: its results carry its nonce (engine/orphan.c). It
     * is taken back, never sent. */
    [OP_BATCH_REJECTED] = BATCH(ACCEPTED),
    [OP_BATCH_UNSENT] = BATCH(ACCEPTED),
    [OP_BATCH_VANISHED] = BATCH(ACCEPTED),
};

/* DONE has no way out: an answer that was paid for is never thrown away, buying anew makes a new
 * request. FAILED -> NEW is the operator's recorded wish and nobody else's. */
static const uint32_t request_moves[OP_REQUEST_STATE_COUNT] = {
    /* To DONE without a batch: an identical request of an earlier job has a good answer. */
    [OP_REQUEST_NEW] = REQUEST(PACKED) | REQUEST(WAITING) | REQUEST(FAILED) |
                       REQUEST(CANCELED) | REQUEST(DONE),
    /* Back to NEW: its batch was dropped, refused or proved unsent, or policy allows to ask
     * again. */
    [OP_REQUEST_PACKED] = REQUEST(NEW) | REQUEST(DONE) | REQUEST(FAILED) | REQUEST(CANCELED),
    /* To NEW: the request it waited for was withdrawn, so it has to be asked itself. */
    [OP_REQUEST_WAITING] = REQUEST(DONE) | REQUEST(FAILED) | REQUEST(NEW) | REQUEST(CANCELED),
    [OP_REQUEST_FAILED] = REQUEST(NEW),
};

static const uint32_t job_moves[OP_JOB_STATE_COUNT] = {
    /* To DONE: every record was done already, nothing is left to ask. */
    [OP_JOB_PLANNING] = JOB(RUNNING) | JOB(FAILED) | JOB(CANCELED) | JOB(DONE),
    /* Back to PLANNING: the next round selects what the answers left out. */
    [OP_JOB_RUNNING] =
        JOB(CANCELING) | JOB(DONE) | JOB(PARTIAL) | JOB(CANCELED) | JOB(FAILED) | JOB(PLANNING),
    /* To DONE or PARTIAL: everything had ended before the cancel took effect. */
    [OP_JOB_CANCELING] = JOB(CANCELED) | JOB(DONE) | JOB(PARTIAL),
    /* The operator retries what failed. */
    [OP_JOB_PARTIAL] = JOB(RUNNING),
};

#define NAME_AND_FINAL(name, text, terminal) {text, terminal},
#define NAME_ONLY(name, text)                {text, false},

struct state_row {
    const char *name;
    bool final;
};

static const struct state_row batch_rows[] = {OP_BATCH_STATES(NAME_AND_FINAL)};
static const struct state_row request_rows[] = {OP_REQUEST_STATES(NAME_AND_FINAL)};
static const struct state_row job_rows[] = {OP_JOB_STATES(NAME_AND_FINAL)};
static const struct state_row class_rows[] = {OP_RESULT_CLASSES(NAME_ONLY)};

/* States come out of a database: a number from outside the list must not index anything. */
static const char *name_of(const struct state_row *rows, unsigned count, unsigned at)
{
    return at < count ? rows[at].name : "unknown";
}

static bool is_final(const struct state_row *rows, unsigned count, unsigned at)
{
    return at < count && rows[at].final;
}

static bool may_go(const uint32_t *moves, unsigned count, unsigned from, unsigned to)
{
    return from < count && to < count && (moves[from] >> to & 1U);
}

const char *op_batch_state_name(enum op_batch_state state)
{
    return name_of(batch_rows, OP_BATCH_STATE_COUNT, state);
}

const char *op_request_state_name(enum op_request_state state)
{
    return name_of(request_rows, OP_REQUEST_STATE_COUNT, state);
}

const char *op_job_state_name(enum op_job_state state)
{
    return name_of(job_rows, OP_JOB_STATE_COUNT, state);
}

const char *op_result_class_name(enum op_result_class class_)
{
    return name_of(class_rows, OP_RESULT_CLASS_COUNT, class_);
}

bool op_batch_state_parse(const char *name, enum op_batch_state *ret)
{
    for (unsigned i = 0; name && i < OP_BATCH_STATE_COUNT; i++) {
        if (strcmp(name, batch_rows[i].name) == 0) {
            *ret = (enum op_batch_state)i;
            return true;
        }
    }
    return false;
}

bool op_batch_may_go(enum op_batch_state from, enum op_batch_state to)
{
    return may_go(batch_moves, OP_BATCH_STATE_COUNT, from, to);
}

bool op_request_may_go(enum op_request_state from, enum op_request_state to)
{
    return may_go(request_moves, OP_REQUEST_STATE_COUNT, from, to);
}

bool op_job_may_go(enum op_job_state from, enum op_job_state to)
{
    return may_go(job_moves, OP_JOB_STATE_COUNT, from, to);
}

bool op_batch_is_final(enum op_batch_state state)
{
    return is_final(batch_rows, OP_BATCH_STATE_COUNT, state);
}

bool op_request_is_final(enum op_request_state state)
{
    return is_final(request_rows, OP_REQUEST_STATE_COUNT, state);
}

bool op_job_is_final(enum op_job_state state)
{
    return is_final(job_rows, OP_JOB_STATE_COUNT, state);
}

bool op_batch_is_live(enum op_batch_state state)
{
    /* QUARANTINED is final but live: it was entered behind the door, so it may be paid for, and
     * its results are not in the ledger. Only a person may have its requests asked again. */
    const uint32_t live = BATCH(SENDING) | BATCH(AMBIGUOUS) | BATCH(ACCEPTED) | BATCH(ENDED) |
                          BATCH(FETCHED) | BATCH(QUARANTINED);
    return (unsigned)state < OP_BATCH_STATE_COUNT && (live >> state & 1U);
}
