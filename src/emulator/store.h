/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_STORE_H
#define OP_EMULATOR_STORE_H

/*
 * Model:     the batches of all providers. What is known about each is a line of DIR/store.jsonl,
 *            written anew at each change, the last one counts; requests and results are files in
 *            DIR/batches. A kill loses nothing that was answered; the end of the machine may (the
 *            bill is what is synced).
 *            A batch exists from the moment its line is written, and has results from the moment
 *            ended_us is. What follows each (billing) is finished by the next open after a kill.
 * Ownership: struct op_emu_batch is a copy; its id and meta stay valid until close.
 * Threads:   any.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "emulator/bill.h"
#include "emulator/faults.h"

/* X(OUTCOME, "name"): how a request ends. */
#define OP_EMU_OUTCOMES(X)    \
    X(SUCCEEDED, "succeeded") \
    X(ERRORED, "errored")     \
    X(CANCELED, "canceled")   \
    X(EXPIRED, "expired")
#define OP_EMU_OUTCOME_ENUM(outcome, name) OP_EMU_##outcome,
enum op_emu_outcome { OP_EMU_OUTCOMES(OP_EMU_OUTCOME_ENUM) OP_EMU_OUTCOME_COUNT };
#undef OP_EMU_OUTCOME_ENUM
const char *op_emu_outcome_name(enum op_emu_outcome outcome);

#define OP_EMU_ID_MAX 48

/* Times are virtual microseconds; 0: not yet. */
struct op_emu_batch {
    char id[OP_EMU_ID_MAX];
    const char *provider;
    const char *model; /* of all its requests; "" where a batch may mix them */
    int64_t seq;       /* counts the batches of this DIR */
    int64_t created_us;
    int64_t start_us; /* when it is checked and processing begins */
    int64_t full_us;  /* when all of it would be processed; INT64_MAX: never */
    int64_t due_us;   /* when it will end, for that or another reason; INT64_MAX: never */
    int64_t expires_us;
    int64_t cancel_us;
    int64_t ended_us; /* set at the commit point of the results */
    bool settled;     /* and billed: only now it has ended for the client */
    bool deleted;
    int64_t total;
    int64_t tokens;                     /* input tokens that wait in the queue of its model */
    int64_t done[OP_EMU_OUTCOME_COUNT]; /* 0 until ended */
    struct op_emu_usage usage;          /* the sum, 0 until ended */
    int64_t thinking;                   /* of usage.output */
    struct op_emu_quirks quirks;
    const char *meta; /* JSON text of the provider's own, never NULL */
};

struct op_emu_store;

OP_MUST_CHECK enum op_rc op_emu_store_open(struct op_env *env, const char *dir, uint64_t seed,
                                           struct op_emu_store **ret, struct op_err *err);
void op_emu_store_close(struct op_emu_store *store);
struct op_emu_bill *op_emu_store_bill(struct op_emu_store *store);
/* The latest time the store or the bill has seen: where the clock goes on. 0: a fresh DIR. */
int64_t op_emu_store_last_us(const struct op_emu_store *store);

/* A number that no batch of this DIR has had; ids are made of it. */
int64_t op_emu_store_next_seq(struct op_emu_store *store);
/* prefix + 22 characters of 0-9A-Za-z, made of seed and the two numbers by SHA-256. */
void op_emu_store_id(const struct op_emu_store *store, const char *prefix, int64_t a, int64_t b,
                     char ret[OP_EMU_ID_MAX]);
/* As op_emu_store_id, with count characters (at most 36) of alphabet. */
void op_emu_store_id_of(const struct op_emu_store *store, const char *prefix,
                        const char *alphabet, size_t count, int64_t a, int64_t b,
                        char ret[OP_EMU_ID_MAX]);
#define OP_EMU_HEX   "0123456789abcdef"
#define OP_EMU_LOWER "0123456789abcdefghijklmnopqrstuvwxyz"
uint64_t op_emu_store_seed(const struct op_emu_store *store);

/* A batch being received: its requests go to files line by line. */
struct op_emu_upload {
    struct op_emu_store *store;
    struct op_writer requests, entries;
    int64_t count;
};
OP_MUST_CHECK enum op_rc op_emu_upload_open(struct op_emu_store *store,
                                            struct op_emu_upload *upload, struct op_err *err);
/* One request, its JSON on one line, and its entry for the bill. */
OP_MUST_CHECK enum op_rc op_emu_upload_add(struct op_emu_upload *upload, struct op_str request,
                                           const struct op_emu_entry *entry,
                                           struct op_err *err);
void op_emu_upload_abort(struct op_emu_upload *upload); /* harmless after commit */

/* Makes the batch: the commit point is its line in the store, then its requests are billed and
 * synced. batch->total is set to what was uploaded. After an error beyond the commit point the
 * batch exists; the next open bills it. */
OP_MUST_CHECK enum op_rc op_emu_store_commit(struct op_emu_store *store,
                                             struct op_emu_upload *upload,
                                             struct op_emu_batch *batch, struct op_err *err);

/* False when there is none of that id, or it is deleted. */
bool op_emu_store_get(struct op_emu_store *store, struct op_str id, struct op_emu_batch *ret);

/* Changes a batch under the lock; returns false to leave it as it is. */
typedef bool (*op_emu_change_fn)(void *arg, struct op_emu_batch *batch);
OP_MUST_CHECK enum op_rc op_emu_store_change(struct op_emu_store *store, struct op_str id,
                                             op_emu_change_fn fn, void *arg,
                                             struct op_emu_batch *ret, struct op_err *err);

/* Counts one look at a batch, before or after its end; the number since start, from 1. */
int64_t op_emu_store_look(struct op_emu_store *store, struct op_str id, bool after_end);

/* A page of the batches of a provider that accept takes, newest first: those right after the batch
 * after_id, or right before before_id, or the newest. shift moves the start of such a page. */
typedef bool (*op_emu_accept_fn)(void *arg, const struct op_emu_batch *batch);
struct op_emu_page {
    const char *provider;
    op_emu_accept_fn accept;
    void *arg;
    struct op_str after_id, before_id; /* ptr NULL: not given */
    size_t limit;
    int64_t shift;
};
/* *ret_batches is an op_mem block. OP_NOTFOUND, err untouched, for an id that is not in the
 * list. */
OP_MUST_CHECK enum op_rc op_emu_store_page(struct op_emu_store *store,
                                           const struct op_emu_page *page,
                                           struct op_emu_batch **ret_batches, size_t *ret_count,
                                           bool *ret_more);

/* The unfinished batch that is due first; false when there is none. */
bool op_emu_store_due(struct op_emu_store *store, struct op_emu_batch *ret);
/* Requests of unfinished batches. */
int64_t op_emu_store_queued(struct op_emu_store *store);

/* Batches of a provider created after since_us; open: unfinished ones alone. */
int64_t op_emu_store_count(struct op_emu_store *store, const char *provider, int64_t since_us,
                           bool open);
/* Input tokens of the unfinished batches of a model at a provider. */
int64_t op_emu_store_enqueued(struct op_emu_store *store, const char *provider,
                              struct op_str model);

/* DIR/batches/ID.NAME as an op_mem block; NAME is requests, results, errors (of providers that
 * keep them apart), accepted or entries. */
char *op_emu_store_path(const struct op_emu_store *store, const struct op_emu_batch *batch,
                        const char *name);
/* The results of a batch are in place, and entries holds the lines for the bill. Takes ended_us and
 * done and usage from batch (the commit point), bills, and marks it settled: from then on it has ended. */
OP_MUST_CHECK enum op_rc op_emu_store_settle(struct op_emu_store *store,
                                             const struct op_emu_batch *batch,
                                             struct op_err *err);
/* Forgets a batch and removes its files. */
OP_MUST_CHECK enum op_rc op_emu_store_delete(struct op_emu_store *store, struct op_str id,
                                             struct op_err *err);

#endif
