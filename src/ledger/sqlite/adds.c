/* SPDX-License-Identifier: MIT */
#include "ledger/sqlite/adds.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "ledger/sqlite/sqlite.h"

/* 2 MiB, of which a small job touches little: 16 bits for each of a million keys, one in some
 * hundred is then taken for a known one. */
#define FILTER_BLOCKS 32768
#define BLOCK_WORDS   8

void op_adds_release(struct op_adds *adds)
{
    op_buf_release(&adds->texts);
    op_mem_freep(&adds->filter);
}

static void forget_records(struct op_adds *adds)
{
    adds->record_count = 0;
    op_buf_clear(&adds->texts);
}

void op_adds_forget(struct op_adds *adds)
{
    forget_records(adds);
    adds->request_count = 0;
}

void op_adds_hold_record(struct op_adds *adds, int64_t id, int64_t job_id, int64_t request_lo,
                         struct op_str key, struct op_str data)
{
    struct op_adds_record *record = &adds->records[adds->record_count++];
    *record = (struct op_adds_record){.id = id, .job_id = job_id, .request_lo = request_lo};
    record->key_at = adds->texts.len;
    record->key_len = key.len;
    op_buf_add_str(&adds->texts, key);
    record->data_at = data.ptr ? adds->texts.len : SIZE_MAX;
    record->data_len = data.len;
    op_buf_add_str(&adds->texts, data);
}

void op_adds_hold_request(struct op_adds *adds, const struct op_request *request)
{
    struct op_request *held = &adds->requests[adds->request_count++];
    *held = *request;
    held->reason = NULL;
}

void op_adds_watch(struct op_adds *adds, int64_t job_id, bool full)
{
    op_mem_freep(&adds->filter);
    adds->filter_job = job_id;
    adds->filter_full = full;
    if (full)
        adds->filter = op_mem_array(FILTER_BLOCKS, BLOCK_WORDS * sizeof(uint64_t));
}

bool op_adds_note_key(struct op_adds *adds, int64_t job_id, struct op_str key)
{
    if (adds->filter_job != job_id || !adds->filter_full)
        return false;
    uint64_t hash = op_hash64(key.ptr, key.len);
    uint64_t *block = adds->filter + (hash & (FILTER_BLOCKS - 1)) * BLOCK_WORDS;
    bool known = true;
    for (int i = 0; i < 4; i++) {
        unsigned bit = (unsigned)(hash >> (28 + 9 * i) & 511);
        uint64_t mask = UINT64_C(1) << (bit % 64);
        known = known && (block[bit / 64] & mask);
        block[bit / 64] |= mask;
    }
    return !known;
}

/* --- into the tables ------------------------------------------------------------------------ */

/* OR FAIL: what is refused here ends the transaction in any case, and SQLite need not keep a copy
 * of every page it changes in case it has to undo a part. */
#define RECORD_INSERT "INSERT OR FAIL INTO record(id, job_id, key, request_lo, data) VALUES "
#define RECORD_ROW    "(?,?,?,?,?)"
#define REQUEST_INSERT                                                                  \
    "INSERT OR FAIL INTO request(id, job_id, record_id, name, batch_id, payload_batch," \
    " payload_offset, payload_len, hash, state, same_as, buy_no, reask, stray, reason)" \
    " VALUES "
#define REQUEST_ROW "(?,?,?,?,?,?,?,?,?,1,0,0,0,0,'')"
#define FOUR(row)   row "," row "," row "," row
#define GROUP(row)  FOUR(FOUR(row)) "," FOUR(FOUR(row))

_Static_assert(OP_ADDS_GROUP == 32, "GROUP makes so many rows");
_Static_assert(OP_REQUEST_PACKED == 1, "REQUEST_ROW says so");

static int bind_record(sqlite3_stmt *stmt, int at, const struct op_adds *adds,
                       const struct op_adds_record *record)
{
    op_sq_int(stmt, at++, record->id);
    op_sq_int(stmt, at++, record->job_id);
    op_sq_str(stmt, at++, (struct op_str){adds->texts.ptr + record->key_at, record->key_len});
    op_sq_int(stmt, at++, record->request_lo);
    struct op_str data = OP_STR_NULL;
    if (record->data_at != SIZE_MAX)
        data = (struct op_str){adds->texts.ptr + record->data_at, record->data_len};
    op_sq_str(stmt, at++, data);
    return at;
}

static int bind_request(sqlite3_stmt *stmt, int at, const struct op_request *request)
{
    op_sq_int(stmt, at++, request->id);
    op_sq_int(stmt, at++, request->job_id);
    op_sq_int(stmt, at++, request->record_id);
    op_sq_int(stmt, at++, request->name);
    op_sq_int(stmt, at++, request->batch_id);
    op_sq_int(stmt, at++, request->payload.batch_id);
    op_sq_int(stmt, at++, request->payload.offset);
    op_sq_int(stmt, at++, request->payload.len);
    (void)sqlite3_bind_blob(stmt, at++, request->hash, OP_HASH_LEN, SQLITE_STATIC);
    return at;
}

static bool write_rows(struct op_ledger *ledger, enum op_sq_id id, const char *sql, size_t from,
                       size_t count)
{
    const struct op_adds *adds = &ledger->adds;
    bool records = id == OP_SQ_RECORDS_ADD || id == OP_SQ_RECORD_ADD_HELD;
    sqlite3_stmt **stmt = &ledger->stmts[id];
    if (!*stmt &&
        sqlite3_prepare_v3(ledger->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL))
        return false;
    int at = 1;
    for (size_t i = from; i < from + count; i++)
        at = records ? bind_record(*stmt, at, adds, &adds->records[i])
                     : bind_request(*stmt, at, &adds->requests[i]);
    bool done = sqlite3_step(*stmt) == SQLITE_DONE;
    return sqlite3_reset(*stmt) == SQLITE_OK && done;
}

static bool write_records(struct op_ledger *ledger)
{
    struct op_adds *adds = &ledger->adds;
    bool good = true;
    if (adds->record_count == OP_ADDS_GROUP)
        good = write_rows(ledger, OP_SQ_RECORDS_ADD, RECORD_INSERT GROUP(RECORD_ROW), 0,
                          OP_ADDS_GROUP);
    for (size_t i = 0; good && adds->record_count < OP_ADDS_GROUP && i < adds->record_count;
         i++)
        good = write_rows(ledger, OP_SQ_RECORD_ADD_HELD, RECORD_INSERT RECORD_ROW, i, 1);
    forget_records(adds);
    return good;
}

static bool write_requests(struct op_ledger *ledger)
{
    struct op_adds *adds = &ledger->adds;
    bool good = true;
    if (adds->request_count == OP_ADDS_GROUP)
        good = write_rows(ledger, OP_SQ_REQUESTS_ADD, REQUEST_INSERT GROUP(REQUEST_ROW), 0,
                          OP_ADDS_GROUP);
    for (size_t i = 0; good && adds->request_count < OP_ADDS_GROUP && i < adds->request_count;
         i++)
        good = write_rows(ledger, OP_SQ_REQUEST_ADD_HELD, REQUEST_INSERT REQUEST_ROW, i, 1);
    adds->request_count = 0;
    return good;
}

bool op_sq_adds_write(struct op_ledger *ledger)
{
    return write_records(ledger) && write_requests(ledger);
}

bool op_sq_adds_make_room(struct op_ledger *ledger)
{
    const struct op_adds *adds = &ledger->adds;
    bool good = true;
    if (adds->record_count == OP_ADDS_GROUP || adds->texts.len >= OP_ADDS_BYTES)
        good = write_records(ledger);
    if (good && adds->request_count == OP_ADDS_GROUP)
        good = write_requests(ledger);
    return good;
}
