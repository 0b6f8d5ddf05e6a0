/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_BILL_H
#define OP_EMULATOR_BILL_H

/*
 * Model:     the provider's account book, DIR/bill.jsonl: one line for each request accepted, one
 *            more when it ends, only ever appended. Whatever a client is told has been billed
 *            before; synced too, for a batch. What realtime requests add is synced in groups, by
 *            a thread of its own, OP_EMU_BILL_SYNC_MS later at most: thousands a second are
 *            answered that way. The lines of a batch are prepared in a side file while it is received
 *            or processed, and copied over at its commit point: the bill itself tells how far that
 *            came before a kill, so the copy goes on where it stopped.
 * Threads:   any.
 */

#include <stdint.h>

#include "base/buf.h"
#include "base/env.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"

#define OP_EMU_BILL_SYNC_MS 100

struct op_emu_bill;

struct op_emu_usage {
    int64_t input, output; /* input without what was read from or written to a cache */
    int64_t cache_read, cache_write_5m, cache_write_1h;
};

struct op_emu_entry {
    struct op_str custom_id; /* ptr NULL: null, a realtime request */
    const char *hash;        /* SHA-256 of the canonical JSON of what was asked */
    const char *state;       /* accepted, succeeded, errored, canceled, expired */
    struct op_str model;
    const struct op_emu_usage *usage; /* NULL: nothing is charged */
    const char *answer;               /* SHA-256 of the answer's text; NULL: none */
    const char *fault;                /* what was done to the line on request; NULL: nothing */
};

/* Opens DIR/bill.jsonl and counts its lines by batch. */
OP_MUST_CHECK enum op_rc op_emu_bill_open(struct op_env *env, const char *dir,
                                          struct op_emu_bill **ret, struct op_err *err);
void op_emu_bill_close(struct op_emu_bill *bill);
void op_emu_bill_closep(struct op_emu_bill **bill);

/* The latest time on the bill when it was opened, 0 when it was empty. */
int64_t op_emu_bill_last_us(const struct op_emu_bill *bill);
/* How many lines of a batch were on the bill when it was opened: accepted ones, ended ones. */
void op_emu_bill_counts(const struct op_emu_bill *bill, struct op_str batch,
                        int64_t *ret_accepted, int64_t *ret_ended);

/* Appends entry to a side file's buffer: its line without time, provider and batch. */
void op_emu_bill_write(struct op_buf *side, const struct op_emu_entry *entry);

/* Bills a realtime request: entries in the form of op_emu_bill_write, written on return. */
OP_MUST_CHECK enum op_rc op_emu_bill_add(struct op_emu_bill *bill, int64_t time_us,
                                         const char *provider, struct op_str entries,
                                         struct op_err *err);

struct op_emu_posting {
    int64_t time_us;
    const char *provider;
    const char *batch;
    const char *side;  /* path of the side file */
    int64_t skip;      /* lines of it that are on the bill already */
    const char *fault; /* what becomes of the whole batch on request; NULL: nothing */
};
/* Bills the lines of a side file, synced on return. */
OP_MUST_CHECK enum op_rc op_emu_bill_post(struct op_emu_bill *bill,
                                          const struct op_emu_posting *posting,
                                          struct op_err *err);

#endif
