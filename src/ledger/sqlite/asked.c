/* SPDX-License-Identifier: MIT */
#include "ledger/sqlite/asked.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ledger/sqlite/sqlite.h"

#define SLOTS_FIRST  1024
#define SMALL_BLOCKS (128 * 1024 / 64)      /* 16 bits for each of 64k hashes */
#define LARGE_BLOCKS (8 * 1024 * 1024 / 64) /* 8 MiB */
#define BLOCK_WORDS  8

/* Hashes are SHA-256 bytes already: any of them are as good as another hash of them. */
static uint64_t word_of(const uint8_t hash[OP_HASH_LEN])
{
    uint64_t word;
    memcpy(&word, hash, sizeof(word));
    return word;
}

void op_asked_release(struct op_asked *asked)
{
    op_mem_freep(&asked->slots);
    op_mem_freep(&asked->bloom);
    *asked = (struct op_asked){0};
}

void op_asked_forget(struct op_asked *asked)
{
    if (asked->held)
        memset(asked->slots, 0, asked->slot_count * sizeof(*asked->slots));
    asked->held = 0;
}

static struct op_asked_put *slot_of(const struct op_asked *asked,
                                    const uint8_t hash[OP_HASH_LEN])
{
    size_t at = word_of(hash) & (asked->slot_count - 1);
    while (asked->slots[at].request_id && memcmp(asked->slots[at].hash, hash, OP_HASH_LEN) != 0)
        at = (at + 1) & (asked->slot_count - 1);
    return &asked->slots[at];
}

static void widen(struct op_asked *asked)
{
    struct op_asked_put *old = OP_TAKE(asked->slots);
    size_t old_count = asked->slot_count;
    asked->slot_count = old_count ? old_count * 2 : SLOTS_FIRST;
    asked->slots = op_mem_array(asked->slot_count, sizeof(*asked->slots));
    for (size_t i = 0; i < old_count; i++) {
        if (old[i].request_id)
            *slot_of(asked, old[i].hash) = old[i];
    }
    op_mem_free(old);
}

void op_asked_hold(struct op_asked *asked, const uint8_t hash[OP_HASH_LEN], int64_t request_id)
{
    if (asked->held * 2 >= asked->slot_count)
        widen(asked);
    struct op_asked_put *slot = slot_of(asked, hash);
    asked->held += slot->request_id == 0;
    memcpy(slot->hash, hash, OP_HASH_LEN);
    slot->request_id = request_id;
}

int64_t op_asked_held(const struct op_asked *asked, const uint8_t hash[OP_HASH_LEN])
{
    return asked->held ? slot_of(asked, hash)->request_id : 0;
}

/* One cache line per hash, and four of its 512 bits: places taken from different bits of the part
 * of the hash that the table keeps. */
static uint64_t *block_of(const struct op_asked *asked, const uint8_t hash[OP_HASH_LEN])
{
    return asked->bloom + (word_of(hash) & (asked->bloom_blocks - 1)) * BLOCK_WORDS;
}

static unsigned bit_of(const uint8_t hash[OP_HASH_LEN], int i)
{
    return (unsigned)(word_of(hash) >> (28 + 9 * i) & 511);
}

void op_asked_mark(struct op_asked *asked, const uint8_t hash[OP_HASH_LEN])
{
    if (!asked->bloom) {
        asked->bloom_blocks = SMALL_BLOCKS;
        asked->bloom = op_mem_array(SMALL_BLOCKS, 64);
    }
    uint64_t *block = block_of(asked, hash);
    for (int i = 0; i < 4; i++) {
        unsigned bit = bit_of(hash, i);
        block[bit / 64] |= UINT64_C(1) << (bit % 64);
    }
    asked->bloom_puts++;
}

bool op_asked_is_new(const struct op_asked *asked, const uint8_t hash[OP_HASH_LEN])
{
    if (!asked->fresh)
        return false;
    if (!asked->bloom)
        return true;
    const uint64_t *block = block_of(asked, hash);
    for (int i = 0; i < 4; i++) {
        unsigned bit = bit_of(hash, i);
        if (!(block[bit / 64] >> (bit % 64) & 1))
            return true;
    }
    return false;
}

bool op_asked_is_tight(const struct op_asked *asked)
{
    return asked->bloom_blocks == SMALL_BLOCKS && asked->bloom_puts >= OP_ASKED_HELD_MAX;
}

void op_asked_grow(struct op_asked *asked)
{
    op_mem_free(asked->bloom);
    asked->bloom_blocks = LARGE_BLOCKS;
    asked->bloom = op_mem_array(LARGE_BLOCKS, 64);
}

static int by_hash(const void *a, const void *b)
{
    return memcmp(a, b, OP_HASH_LEN);
}

struct op_asked_put *op_asked_sorted(const struct op_asked *asked)
{
    struct op_asked_put *puts = op_mem_array(asked->held + 1, sizeof(*puts));
    size_t count = 0;
    for (size_t i = 0; i < asked->slot_count; i++) {
        if (asked->slots[i].request_id)
            puts[count++] = asked->slots[i];
    }
    qsort(puts, count, sizeof(*puts), by_hash);
    return puts;
}

/* --- with the table ------------------------------------------------------------------------- */

/* The table is keyed by the first eight bytes as a number: searching for a number and keeping it
 * costs a quarter of a BLOB of sixteen. Two hashes that begin alike share a row, and the last one has it:
 * the other counts as not asked. */
static int64_t number_of(const uint8_t hash[OP_HASH_LEN])
{
    uint64_t number = 0;
    for (size_t i = 0; i < sizeof(number); i++)
        number = number << 8 | hash[i];
    return (int64_t)number;
}

static void mark_number(struct op_asked *asked, int64_t number)
{
    uint8_t hash[OP_HASH_LEN] = {0};
    for (size_t i = 0; i < sizeof(number); i++)
        hash[i] = (uint8_t)((uint64_t)number >> (56 - 8 * i));
    op_asked_mark(asked, hash);
}

/* The small filter has become useless: the large one is filled from the table, which holds every
 * put by now (nothing is held back when this runs). */
static enum op_rc refill(struct op_ledger *ledger, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_ASKED_ALL, "SELECT hash FROM asked", &stmt, err);
    if (rc)
        return rc;
    op_asked_grow(&ledger->asked);
    for (;;) {
        bool row = false;
        rc = op_sq_row(ledger, stmt, "read who asked", &row, err);
        if (rc)
            return rc;
        if (!row)
            break;
        mark_number(&ledger->asked, sqlite3_column_int64(stmt, 0));
    }
    op_sq_done(ledger, stmt);
    return OP_OK;
}

#define PUT     "INSERT OR REPLACE INTO asked(hash, request_id) VALUES "
#define ROW     "(?, ?)"
#define FOUR    ROW "," ROW "," ROW "," ROW
#define SIXTEEN FOUR "," FOUR "," FOUR "," FOUR
#define GROUP   32 /* rows of one statement */

static enum op_rc write_puts(struct op_ledger *ledger, const struct op_asked_put *puts,
                             size_t count, struct op_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc =
        count == GROUP
            ? op_sq_get_write(ledger, OP_SQ_ASKED_PUTS, PUT SIXTEEN "," SIXTEEN, &stmt, err)
            : op_sq_get_write(ledger, OP_SQ_ASKED_PUT, PUT ROW, &stmt, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < count; i++) {
        op_sq_int(stmt, 2 * (int)i + 1, number_of(puts[i].hash));
        op_sq_int(stmt, 2 * (int)i + 2, puts[i].request_id);
    }
    return op_sq_run(ledger, stmt, "note who asked", NULL, err);
}

enum op_rc op_sq_asked_flush(struct op_ledger *ledger, struct op_err *err)
{
    struct op_asked *asked = &ledger->asked;
    if (!asked->held)
        return OP_OK;
    OP_CLEANUP(op_mem_freep) struct op_asked_put *puts = op_asked_sorted(asked);
    size_t count = asked->held;
    enum op_rc rc = OP_OK;
    for (size_t i = 0, n = 0; i < count && !rc; i += n) {
        n = count - i < GROUP ? 1 : GROUP;
        rc = write_puts(ledger, puts + i, n, err);
    }
    op_asked_forget(asked);
    if (!rc && op_asked_is_tight(asked))
        rc = refill(ledger, err);
    return rc;
}

enum op_rc op_ledger_asked_find(struct op_ledger *ledger, const uint8_t hash[OP_HASH_LEN],
                                int64_t *ret_request, struct op_err *err)
{
    int64_t held = op_asked_held(&ledger->asked, hash);
    if (held) {
        *ret_request = held;
        return OP_OK;
    }
    if (op_asked_is_new(&ledger->asked, hash))
        return OP_NOTFOUND;
    sqlite3_stmt *stmt = NULL;
    enum op_rc rc = op_sq_get(ledger, OP_SQ_ASKED_FIND,
                              "SELECT request_id FROM asked WHERE hash = ?1", &stmt, err);
    if (rc)
        return rc;
    op_sq_int(stmt, 1, number_of(hash));
    bool row = false;
    rc = op_sq_row(ledger, stmt, "look up who asked", &row, err);
    if (rc)
        return rc;
    if (row)
        *ret_request = sqlite3_column_int64(stmt, 0);
    op_sq_done(ledger, stmt);
    return row ? OP_OK : OP_NOTFOUND;
}

enum op_rc op_ledger_asked_put(struct op_ledger *ledger, const uint8_t hash[OP_HASH_LEN],
                               int64_t request_id, struct op_err *err)
{
    if (request_id <= 0)
        return op_fail(err, OP_INVAL, "request %lld cannot have asked", (long long)request_id);
    struct op_sq_group group;
    enum op_rc rc = op_sq_enter(ledger, &group, err);
    if (rc)
        return rc;
    if (ledger->tx == OP_SQ_TX_FAILED)
        return op_fail_as(err, OP_IO, OP_DISP_RETRY,
                          "the transaction on %s was rolled back by an earlier error",
                          ledger->path);
    op_asked_hold(&ledger->asked, hash, request_id);
    if (ledger->asked.fresh)
        op_asked_mark(&ledger->asked, hash);
    if (ledger->asked.held >= OP_ASKED_HELD_MAX)
        rc = op_sq_asked_flush(ledger, err);
    return op_sq_leave(ledger, &group, rc, err);
}
