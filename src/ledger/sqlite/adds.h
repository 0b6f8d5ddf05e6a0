/* SPDX-License-Identifier: MIT */
#ifndef OP_LEDGER_SQLITE_ADDS_H
#define OP_LEDGER_SQLITE_ADDS_H

/*
 * Model:     rows of `record` and `request` that the open transaction has added and SQLite has not
 *            seen yet. A statement costs as much as the row it inserts, so planning's rows are held
 *            back and inserted a group at a time. Nobody can tell: before any other statement runs,
 *            what is held is written (sqlite.c), and a rollback drops it with the transaction.
 *            Whether a key is new has to be known at once. Where the job had no record when its
 *            first was added, a filter over all keys since proves it for nearly all of them; the
 *            others are inserted one by one under the table's own UNIQUE.
 * Threads:   the mutex of the ledger is held; the filter is the writer's alone.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "ledger/ledger.h"

#define OP_ADDS_GROUP 32           /* rows of one INSERT */
#define OP_ADDS_BYTES (256 * 1024) /* keys and data held at most, but for the last record */

struct op_adds_record {
    int64_t id, job_id, request_lo;
    size_t key_at, key_len, data_at, data_len; /* in texts; data_at SIZE_MAX: no data */
};

struct op_adds {
    struct op_adds_record records[OP_ADDS_GROUP];
    size_t record_count;
    struct op_buf texts;
    struct op_request requests[OP_ADDS_GROUP]; /* packed for the first time, no reason */
    size_t request_count;
    int64_t filter_job; /* whose keys; 0 none */
    bool filter_full;   /* all of them are in it, so that a miss proves a key to be new */
    uint64_t *filter;
};

void op_adds_release(struct op_adds *adds);
void op_adds_forget(struct op_adds *adds); /* the rows held */

static inline bool op_adds_any(const struct op_adds *adds)
{
    return adds->record_count || adds->request_count;
}
void op_adds_hold_record(struct op_adds *adds, int64_t id, int64_t job_id, int64_t request_lo,
                         struct op_str key, struct op_str data);
void op_adds_hold_request(struct op_adds *adds, const struct op_request *request);

/* From now on the filter is of this job's keys, none so far. full: it has no record yet. */
void op_adds_watch(struct op_adds *adds, int64_t job_id, bool full);
/* Notes the key; true when it is proven that the job did not have it. */
bool op_adds_note_key(struct op_adds *adds, int64_t job_id, struct op_str key);

#endif
