/* SPDX-License-Identifier: MIT */
#ifndef OP_LEDGER_SQLITE_ASKED_H
#define OP_LEDGER_SQLITE_ASKED_H

/*
 * Model:     what lies in memory before the table `asked`: puts of the open transaction, held back
 *            so that they reach the B-tree sorted (hashes are random, one page each otherwise), and
 *            a Bloom filter over every hash put since the ledger was opened. When the table was
 *            empty at that time, a miss in the filter proves that nobody asked, without a lookup.
 *            A rollback empties the held puts; bits of the filter stay, they are only hints.
 * Threads:   the writer's alone.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledger/ledger.h"

#define OP_ASKED_HELD_MAX (64 * 1024) /* puts held back at most */

struct op_asked_put {
    uint8_t hash[OP_HASH_LEN];
    int64_t request_id; /* 0: the slot is free */
};

struct op_asked {
    struct op_asked_put *slots; /* open addressing, a power of two */
    size_t slot_count, held;
    uint64_t *bloom;
    size_t bloom_blocks; /* of 64 bytes; a power of two */
    int64_t bloom_puts;
    bool fresh; /* the table was empty at open: the filter is complete */
};

void op_asked_release(struct op_asked *asked);
void op_asked_forget(struct op_asked *asked); /* the held puts */
void op_asked_hold(struct op_asked *asked, const uint8_t hash[OP_HASH_LEN], int64_t request_id);
/* 0 when it is not held. */
int64_t op_asked_held(const struct op_asked *asked, const uint8_t hash[OP_HASH_LEN]);
/* True when the filter proves that the hash was never put. */
bool op_asked_is_new(const struct op_asked *asked, const uint8_t hash[OP_HASH_LEN]);
/* The small filter is full: to be replaced by op_asked_grow, and every hash marked again. */
bool op_asked_is_tight(const struct op_asked *asked);
void op_asked_grow(struct op_asked *asked);
void op_asked_mark(struct op_asked *asked, const uint8_t hash[OP_HASH_LEN]);
/* The held puts in order of their hashes, as an op_mem block of asked->held items. */
struct op_asked_put *op_asked_sorted(const struct op_asked *asked);

#endif
