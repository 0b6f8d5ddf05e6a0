/* SPDX-License-Identifier: MIT */
#ifndef OP_LEDGER_LEDGER_H
#define OP_LEDGER_LEDGER_H

/*
 * Model:     the durable truth about jobs, records, requests, batches, results and outboxes.
 *            One process writes (a lock file says who), others may read. Every call that changes
 *            something runs inside the transaction opened by op_ledger_begin, or in one of its
 *            own when none is open; op_ledger_commit returning OP_OK means durable.
 *            A move of a batch is a compare-and-set on (state, epoch), checked against the
 *            transition table, and appends to the journal in the same statement group: the state
 *            column can be checked by replaying the journal (R4, reference/reliability.md 3.1).
 *            A request is PACKED into one batch at most, because the batch is a column of its row,
 *            and a trigger refuses to exchange one live batch for another (R1).
 *            A result is inserted once per (batch, request); counters and sums move only with a
 *            real insert.
 * Ownership: structs are the caller's; strings inside them are op_mem blocks released by the
 *            struct's release function, or borrowed where said.
 * Errors:    OP_CONFLICT: the row was not in the expected state, nothing changed. OP_BUSY: another
 *            process writes. OP_IO: SQLite's extended code in err->native; after SQLITE_FULL or
 *            IOERR the transaction is rolled back and the caller must re-read.
 *            A ledger of a newer version is OP_INVAL and is not touched.
 * Threads:   one writer thread; op_ledger_record_data and op_ledger_member_keys may be called from
 *            apply workers meanwhile.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "base/str.h"
#include "core/calibration.h"
#include "core/custom_id.h"
#include "core/price.h"
#include "core/states.h"

#define OP_HASH_LEN 16 /* stored prefix of a request's SHA-256 */

struct op_ledger;

enum op_ledger_mode { OP_LEDGER_WRITE, OP_LEDGER_READ };

/* Opens DIR/ledger.db, made when absent (write mode). Write mode takes the writer lock
 * (DIR/ledger.lock, an OFD lock; the pid inside is for messages): OP_BUSY names the holder. Runs
 * the migrations (after a backup by VACUUM INTO), verifies the pragmas it set by reading them back,
 * checks identity and witness (reference/reliability.md 3.11). vfs: NULL for SQLite's default. */
OP_MUST_CHECK enum op_rc op_ledger_open(struct op_env *env, const char *dir,
                                        enum op_ledger_mode mode, const char *vfs,
                                        struct op_ledger **ret, struct op_err *err);
void op_ledger_close(struct op_ledger *ledger);
void op_ledger_closep(struct op_ledger **ledger);

const char *op_ledger_tag(const struct op_ledger *ledger);  /* 6 characters */
const char *op_ledger_uuid(const struct op_ledger *ledger); /* 36 characters */
int op_ledger_version(const struct op_ledger *ledger);      /* schema version */
/* True after a restore from an old backup was noticed: no send until op_ledger_trust; and while it
 * is in doubt. */
bool op_ledger_is_suspect(const struct op_ledger *ledger, struct op_str *ret_why);
OP_MUST_CHECK enum op_rc op_ledger_trust(struct op_ledger *ledger, struct op_err *err);
/* An earlier process ended because a flush failed (blackbox.h): no send until somebody has looked
 * that ledger and accounts agree, and has said so. */
bool op_ledger_in_doubt(const struct op_ledger *ledger);
OP_MUST_CHECK enum op_rc op_ledger_proved(struct op_ledger *ledger, struct op_err *err);
/* The command that lifts the suspicion. */
const char *op_ledger_remedy(const struct op_ledger *ledger);

OP_MUST_CHECK enum op_rc op_ledger_begin(struct op_ledger *ledger, struct op_err *err);
/* On any error nothing of the transaction is left and none is open. */
OP_MUST_CHECK enum op_rc op_ledger_commit(struct op_ledger *ledger, struct op_err *err);
void op_ledger_rollback(struct op_ledger *ledger); /* harmless when none is open */

/* --- lanes -------------------------------------------------------------------------------- */

struct op_lane_row {
    int64_t id;
    char *provider, *base_url, *fingerprint;
    int64_t paused_until_ms; /* 0 open; INT64_MAX until the operator resumes it */
    char *reason;            /* why it is paused; "" */
};
void op_lane_row_release(struct op_lane_row *row);
/* Finds or makes the lane. */
OP_MUST_CHECK enum op_rc op_ledger_lane(struct op_ledger *ledger, const char *provider,
                                        const char *base_url, const char *fingerprint,
                                        struct op_lane_row *ret, struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_lane_pause(struct op_ledger *ledger, int64_t lane_id,
                                              int64_t until_ms, const char *reason,
                                              struct op_err *err);
typedef enum op_rc (*op_lane_fn)(void *arg, const struct op_lane_row *row, struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_lanes(struct op_ledger *ledger, op_lane_fn fn, void *arg,
                                         struct op_err *err);

/* What is known of the queue of one model of a lane. */
struct op_queue_row {
    int64_t lane_id;
    char *model;
    int64_t limit_tokens; /* learned; 0: not yet (core/window.h) */
    bool named;           /* the provider said the number */
    int64_t learned_ms;
    int64_t hold_until_ms; /* refused: not tried before, unless something of ours ends */
    int64_t refusals;      /* in a row */
    char *reason;          /* of the last refusal; "" */
};
void op_queue_row_release(struct op_queue_row *row);
/* All zero, model set, when nothing was learned yet. */
OP_MUST_CHECK enum op_rc op_ledger_queue_get(struct op_ledger *ledger, int64_t lane_id,
                                             const char *model, struct op_queue_row *ret,
                                             struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_queue_set(struct op_ledger *ledger,
                                             const struct op_queue_row *row,
                                             struct op_err *err);
typedef enum op_rc (*op_queue_fn)(void *arg, const struct op_queue_row *row,
                                  struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_queues(struct op_ledger *ledger, op_queue_fn fn, void *arg,
                                          struct op_err *err);

/* How results_url begins of a batch that is asked one by one: its results are in our own
 * spool, and it is in no queue of the provider. */
#define OP_RESULTS_IN_SPOOL "spool:"

/* What is in the provider's hands. A batch holds its reservation from the move to SENDING to the
 * one that ends it, because it is counted by its state: there is no second account of it. */
struct op_queue_use {
    int64_t batches, requests, tokens; /* of the model */
    int64_t lane_batches;              /* of all models */
    int64_t creates;                   /* since since_ms, of all models */
    int64_t first_create_ms;           /* the earliest of those; 0 none */
    int64_t other_job;                 /* one of them is this job's, not not_job's; 0 none */
};
OP_MUST_CHECK enum op_rc op_ledger_queue_use(struct op_ledger *ledger, int64_t lane_id,
                                             const char *model, int64_t not_job,
                                             int64_t since_ms, struct op_queue_use *ret,
                                             struct op_err *err);

/* What token estimates of a model were worth; all zero when nothing is known. */
OP_MUST_CHECK enum op_rc op_ledger_calibration_get(struct op_ledger *ledger,
                                                   const char *provider, const char *model,
                                                   struct op_calibration *ret,
                                                   struct op_err *err);
typedef enum op_rc (*op_calibration_fn)(void *arg, const char *provider, const char *model,
                                        const struct op_calibration *calibration,
                                        struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_calibrations(struct op_ledger *ledger, op_calibration_fn fn,
                                                void *arg, struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_calibration_set(struct op_ledger *ledger,
                                                   const char *provider, const char *model,
                                                   const struct op_calibration *calibration,
                                                   struct op_err *err);

/* --- jobs --------------------------------------------------------------------------------- */

/* Sums that only ever move together with what they count. */
struct op_job_counts {
    int64_t records; /* selected */
    int64_t skipped; /* already done, or malformed and on_error: skip */
    int64_t requests;
    int64_t reused;                 /* answered without buying: identical to a good answer */
    int64_t done, failed, canceled; /* requests in these states */
    int64_t invalid;                /* answers that broke schema or checks */
    int64_t reasked;                /* requests bought again, whatever the reason */
    int64_t warnings;
    int64_t rows; /* rows written to outboxes */
    int64_t spent_microusd;
    int64_t reserved_microusd; /* of batches built, sent and not yet applied */
    struct op_usage usage;
};

struct op_job {
    int64_t id;
    enum op_job_state state;
    char *pipeline;   /* name shown */
    char *identity;   /* hex hash of pipeline and parameters: finds the job to resume */
    char *definition; /* hex SHA-256 of the frozen definition (op_ledger_definition_get) */
    char *params;     /* JSON object */
    char *options;    /* JSON object: provider, model, mode, limit, max_cost, ... */
    char *reason;     /* of FAILED, or what the job waits for; "" */
    int64_t lane_id;
    int64_t round;             /* from 1 */
    int64_t max_cost_microusd; /* 0 none */
    int64_t created_ms, ended_ms;
    struct op_job_counts counts;
};
void op_job_release(struct op_job *job); /* frees the strings, zeroes the struct */

/* Inserts a job in PLANNING; fills job->id. */
OP_MUST_CHECK enum op_rc op_ledger_job_add(struct op_ledger *ledger, struct op_job *job,
                                           struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_job_get(struct op_ledger *ledger, int64_t id,
                                           struct op_job *ret, struct op_err *err);
/* The newest job of this identity that is not final; OP_NOTFOUND (err untouched) otherwise. */
OP_MUST_CHECK enum op_rc op_ledger_job_open(struct op_ledger *ledger, const char *identity,
                                            int64_t *ret_id, struct op_err *err);
/* CAS on the state; reason NULL keeps the stored one. ended_ms is set on final states. */
OP_MUST_CHECK enum op_rc op_ledger_job_go(struct op_ledger *ledger, int64_t id,
                                          enum op_job_state from, enum op_job_state to,
                                          const char *reason, struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_job_reason(struct op_ledger *ledger, int64_t id,
                                              const char *reason, struct op_err *err);
/* The options of a later run (--max-cost) and the next round: a round other than the stored one
 * begins here, what is added from now on is what op_ledger_plan_reset would remove. */
OP_MUST_CHECK enum op_rc op_ledger_job_set(struct op_ledger *ledger, int64_t id,
                                           int64_t max_cost_microusd, int64_t round,
                                           struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_job_count(struct op_ledger *ledger, int64_t id,
                                             const struct op_job_counts *delta,
                                             struct op_err *err);
typedef enum op_rc (*op_job_fn)(void *arg, const struct op_job *job, struct op_err *err);
/* Newest first. only_open: not final ones. fn returning non-zero ends the walk with that rc. */
OP_MUST_CHECK enum op_rc op_ledger_jobs(struct op_ledger *ledger, bool only_open, op_job_fn fn,
                                        void *arg, struct op_err *err);
/* Frozen definitions, by their SHA-256; put is idempotent. get returns an op_mem block. */
OP_MUST_CHECK enum op_rc op_ledger_definition_put(struct op_ledger *ledger, const char *sha_hex,
                                                  struct op_str text, struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_definition_get(struct op_ledger *ledger, const char *sha_hex,
                                                  char **ret, size_t *ret_len,
                                                  struct op_err *err);

/* The same for the texts of price lists, which batches refer to (R5). A text that is not there, or
 * not what its hash says, is OP_IO. */
OP_MUST_CHECK enum op_rc op_ledger_prices_put(struct op_ledger *ledger, const char *sha_hex,
                                              struct op_str text, struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_prices_get(struct op_ledger *ledger, const char *sha_hex,
                                              char **ret, size_t *ret_len, struct op_err *err);

/* --- records and requests ----------------------------------------------------------------- */

/* Where the params of a request lie: bytes [offset, offset+len) of the payload file of a batch. */
struct op_payload_ref {
    int64_t batch_id;
    int64_t offset;
    int64_t len;
};

/* Why a request is asked again; decides how its params change. */
enum op_reask { OP_REASK_NONE, OP_REASK_SAME, OP_REASK_INVALID, OP_REASK_TRUNCATED };

struct op_request {
    int64_t id;
    int64_t job_id;
    int64_t record_id;
    int name; /* index into the definition's requests */
    enum op_request_state state;
    /* PACKED: the live batch; DONE, FAILED: that of the last result; 0 none */
    int64_t batch_id;
    int64_t same_as; /* WAITING or reused: whose answer this takes; 0 none */
    int buy_no;      /* purchases begun before this one */
    enum op_reask reask;
    struct op_payload_ref payload;
    uint8_t hash[OP_HASH_LEN];
    char *reason; /* of FAILED or of the last re-ask; "" */
};
void op_request_release(struct op_request *request);

/* The ids the next record, request and batch will get (one writer, so they hold until used):
 * custom ids are written into files before their rows exist. */
int64_t op_ledger_next_record(const struct op_ledger *ledger);
int64_t op_ledger_next_request(const struct op_ledger *ledger);
int64_t op_ledger_next_batch(const struct op_ledger *ledger);
/* Takes the id of the next batch away, for one that is added later: several can then be filled at
 * once. A rollback gives it back. */
int64_t op_ledger_take_batch(struct op_ledger *ledger);

/* Removes every record, request and unsent batch that planning has added to the job in this round
 * so far, so that planning starts again. Only while the job is PLANNING. Counters are not touched:
 * planning adds to them in the transaction that ends it. The payload files are named to fn last,
 * behind the commit when no transaction was open. Ids are not given out again. */
OP_MUST_CHECK enum op_rc op_ledger_plan_reset(struct op_ledger *ledger, int64_t job_id,
                                              void (*fn)(void *arg, const char *file),
                                              void *arg, struct op_err *err);
/* OP_CONFLICT, err untouched: the job already has this key (*ret_id is that record). data may be
 * absent. The id is op_ledger_next_record. Hot. */
OP_MUST_CHECK enum op_rc op_ledger_record_add(struct op_ledger *ledger, int64_t job_id,
                                              struct op_str key, struct op_str data,
                                              int64_t *ret_id, struct op_err *err);
/* A later round selected the record again, with these columns now. */
OP_MUST_CHECK enum op_rc op_ledger_record_renew(struct op_ledger *ledger, int64_t record_id,
                                                struct op_str data, struct op_err *err);
/* OP_NOTFOUND, err untouched, when the job has no such key. */
OP_MUST_CHECK enum op_rc op_ledger_record_find(struct op_ledger *ledger, int64_t job_id,
                                               struct op_str key, int64_t *ret_id,
                                               struct op_err *err);
/* Any record of the job; OP_NOTFOUND, err untouched, when it has none. */
OP_MUST_CHECK enum op_rc op_ledger_record_any(struct op_ledger *ledger, int64_t job_id,
                                              int64_t *ret_id, struct op_err *err);
/* Key and data of a record, appended to the buffers; a NULL buffer is not wanted. */
struct op_buf;
OP_MUST_CHECK enum op_rc op_ledger_record_data(struct op_ledger *ledger, int64_t record_id,
                                               struct op_buf *key, struct op_buf *data,
                                               struct op_err *err);
/* The id must be op_ledger_next_request. Hot. */
OP_MUST_CHECK enum op_rc op_ledger_request_add(struct op_ledger *ledger,
                                               const struct op_request *request,
                                               struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_request_get(struct op_ledger *ledger, int64_t id,
                                               struct op_request *ret, struct op_err *err);
/* CAS on the state (and on batch_id when from is PACKED): `request` holds the new values of
 * batch_id, same_as, buy_no, reask, reason; its id and state say which row and what is
 * expected. NEW and WAITING have no batch, whatever it says. A request leaves a live batch
 * only when that batch's result for it is in the ledger (R1), so op_ledger_result_add comes
 * first. Hot. */
OP_MUST_CHECK enum op_rc op_ledger_request_go(struct op_ledger *ledger,
                                              const struct op_request *request,
                                              int64_t expected_batch, enum op_request_state to,
                                              struct op_err *err);
/* A PACKED request's params lie elsewhere now: it was packed again, perhaps amended. */
OP_MUST_CHECK enum op_rc op_ledger_request_payload(struct op_ledger *ledger, int64_t request_id,
                                                   const struct op_payload_ref *payload,
                                                   struct op_err *err);
/* A NEW request will be asked in other words (another provider's): it, and those of its job
 * that wait for its answer, are known by this hash from now on. */
OP_MUST_CHECK enum op_rc op_ledger_request_rehash(struct op_ledger *ledger, int64_t job_id,
                                                  int64_t request_id,
                                                  const uint8_t hash[OP_HASH_LEN],
                                                  struct op_err *err);
typedef enum op_rc (*op_request_fn)(void *arg, const struct op_request *request,
                                    struct op_err *err);
/* Requests of a job in a state, by id, from after_id on; fn may call request_go on the row it was
 * given (the walk reads ahead in pages). Indexed for NEW, WAITING and FAILED; in any state with
 * OP_REQUEST_STATE_COUNT. */
OP_MUST_CHECK enum op_rc op_ledger_requests(struct op_ledger *ledger, int64_t job_id,
                                            enum op_request_state state, int64_t after_id,
                                            op_request_fn fn, void *arg, struct op_err *err);
/* All requests of one record, by id. Quick when requests were added in the order of their
 * records. */
OP_MUST_CHECK enum op_rc op_ledger_record_requests(struct op_ledger *ledger, int64_t record_id,
                                                   op_request_fn fn, void *arg,
                                                   struct op_err *err);
/* Those WAITING for request id's answer. */
OP_MUST_CHECK enum op_rc op_ledger_followers(struct op_ledger *ledger, int64_t request_id,
                                             op_request_fn fn, void *arg, struct op_err *err);
/* Whether any request of the job is in the state. */
OP_MUST_CHECK enum op_rc op_ledger_job_has(struct op_ledger *ledger, int64_t job_id,
                                           enum op_request_state state, bool *ret,
                                           struct op_err *err);

/* Who asked this very request last; OP_NOTFOUND (err untouched) when nobody did. Found by the first
 * eight bytes of the hash, and the request may have been withdrawn since: the caller compares the
 * whole hash with that of the request. put replaces. Puts are held back and written sorted at
 * commit, finds see them. Hot. */
OP_MUST_CHECK enum op_rc op_ledger_asked_find(struct op_ledger *ledger,
                                              const uint8_t hash[OP_HASH_LEN],
                                              int64_t *ret_request, struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_asked_put(struct op_ledger *ledger,
                                             const uint8_t hash[OP_HASH_LEN],
                                             int64_t request_id, struct op_err *err);

/* --- batches ------------------------------------------------------------------------------ */

struct op_batch {
    int64_t id;
    int64_t job_id;
    int64_t lane_id;
    enum op_batch_state state;
    int64_t epoch; /* moves so far */
    char nonce[OP_NONCE_LEN + 1];
    int64_t count;                  /* requests frozen in the payload (R5) */
    int64_t request_lo, request_hi; /* their ids lie in [lo, hi] */
    char *file;                     /* payload, relative to the spool */
    int64_t bytes;
    char sha256[65];
    char *model;    /* of its first request, or of all (one_model) */
    char *endpoint; /* the same */
    int64_t tokens; /* of its prompts, estimated */
    bool prime;     /* a stub that warms the prompt cache; other batches wait for it */
    int64_t reserved_microusd;
    char *prices; /* hex SHA-256 of the price list it was built with; "": by an older version */
    /* from here on: set while it lives */
    char *file_id;          /* of its upload, at the provider; "" none */
    int64_t uploads;        /* begun: one whose answer was lost is looked for before another */
    int64_t uploaded_ms;    /* our clock; the provider keeps the file for a while only */
    int64_t sent_ms;        /* our clock at the door */
    int64_t fenced_ms;      /* server time when the input file was removed; 0: it was not */
    char *twins;            /* provider ids of other batches that its create made, one a line */
    int64_t extra_microusd; /* what those cost; part of spent_microusd */
    char *provider_id;      /* "" until accepted */
    char *results_url;
    char *remote_state; /* the provider's word, for people */
    char *baseline;     /* JSON: ids listed before the send, and the server's Date */
    char *evidence;     /* why it is where it is */
    bool provisional;   /* adopted without proof; the first result line decides */
    bool cancel_wanted, cancel_sent;
    int64_t intent_ms, last_try_ms, first_clean_ms; /* server time, see core/reconcile.h */
    int64_t accepted_ms, expires_ms, ended_ms;
    int64_t due_ms;           /* not to be touched before (poll, retry, list) */
    int64_t tries;            /* consecutive failures of the present step */
    int64_t missing_since_ms; /* first of consecutive 404s; 0 none */
    int64_t fetches;          /* complete downloads so far */
    int64_t apply_part;       /* cursor: number of the result file ... */
    int64_t apply_offset; /* ... and how many of its lines, in the order of their requests */
    int64_t ok, failed, absent; /* applied so far: ok + failed + absent == count when APPLIED */
    int64_t spent_microusd;
    struct op_usage usage;
};
void op_batch_release(struct op_batch *batch);

/* Inserts in BUILT with its first journal entry; the id must be op_ledger_next_batch or one that
 * was taken. The payload file must be durable (R3). */
OP_MUST_CHECK enum op_rc op_ledger_batch_add(struct op_ledger *ledger,
                                             const struct op_batch *batch, struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_batch_get(struct op_ledger *ledger, int64_t id,
                                             struct op_batch *ret, struct op_err *err);
/* Moves the batch: state and epoch in *batch are the expected ones, every other mutable field is
 * stored as it stands. On success *batch has the new state and epoch. evidence: JSON or text for
 * the journal. A suspect ledger refuses SENDING (OP_INVAL, OP_DISP_PAUSE). */
OP_MUST_CHECK enum op_rc op_ledger_batch_go(struct op_ledger *ledger, struct op_batch *batch,
                                            enum op_batch_state to, const char *evidence,
                                            struct op_err *err);
/* Stores the mutable fields without a move (CAS on state and epoch; no journal entry). */
OP_MUST_CHECK enum op_rc op_ledger_batch_save(struct op_ledger *ledger, struct op_batch *batch,
                                              struct op_err *err);
typedef enum op_rc (*op_batch_fn)(void *arg, const struct op_batch *batch, struct op_err *err);
struct op_batch_filter {
    int64_t job_id;  /* 0 any */
    int64_t lane_id; /* 0 any */
    uint32_t states; /* bit mask (1u << state); 0 any */
};
/* By id. fn may move the batch it was given (the walk reads ahead). */
OP_MUST_CHECK enum op_rc op_ledger_batches(struct op_ledger *ledger,
                                           const struct op_batch_filter *filter, op_batch_fn fn,
                                           void *arg, struct op_err *err);
/* By the provider's own id; OP_NOTFOUND with err untouched. */
OP_MUST_CHECK enum op_rc op_ledger_batch_find(struct op_ledger *ledger, const char *provider_id,
                                              int64_t *ret_id, struct op_err *err);
/* The requests PACKED in a batch, by id. */
OP_MUST_CHECK enum op_rc op_ledger_batch_requests(struct op_ledger *ledger, int64_t batch_id,
                                                  op_request_fn fn, void *arg,
                                                  struct op_err *err);
/* As a light list for the apply path: (request id, record id, name, buy_no) of every PACKED
 * request of the batch, by id, into *ret (op_mem block). */
struct op_member {
    int64_t request_id;
    int64_t record_id;
    int name;
    int buy_no;
};
OP_MUST_CHECK enum op_rc op_ledger_batch_members(struct op_ledger *ledger, int64_t batch_id,
                                                 struct op_member **ret, size_t *ret_count,
                                                 struct op_err *err);
/* The keys of the records of as many of members[0..count) as max_bytes have room for, one at least:
 * appended to keys, of the i-th up to ends[i] (nothing of a member without a record). Members
 * follow their records' order nearly always, so this is a scan where op_ledger_record_data is a
 * search each. */
OP_MUST_CHECK enum op_rc op_ledger_member_keys(struct op_ledger *ledger,
                                               const struct op_member *members, size_t count,
                                               size_t max_bytes, struct op_buf *keys,
                                               size_t *ends, size_t *ret_count,
                                               struct op_err *err);
/* Takes every PACKED request of the batch back to NEW (the batch was not bought, or will not be):
 * for REJECTED, UNSENT, DROPPED and VANISHED, in the transaction of that move and behind it. A
 * stronger reask that a request has already stays. */
OP_MUST_CHECK enum op_rc op_ledger_batch_unpack(struct op_ledger *ledger, int64_t batch_id,
                                                enum op_reask reask, bool bought,
                                                const char *reason, int64_t *ret_count,
                                                struct op_err *err);

struct op_journal_entry {
    int64_t at_ms;
    const char *from, *to; /* state names; from "" for the first */
    int64_t epoch;
    const char *evidence;
};
typedef enum op_rc (*op_journal_fn)(void *arg, const struct op_journal_entry *entry,
                                    struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_journal(struct op_ledger *ledger, int64_t batch_id,
                                           op_journal_fn fn, void *arg, struct op_err *err);

/* --- results ------------------------------------------------------------------------------ */

/* One downloaded result file of a batch. Every version is kept. */
struct op_result_file {
    int64_t batch_id;
    int64_t part; /* from 0, over all fetches of the batch */
    char *file;   /* relative to the spool */
    int64_t bytes;
    char sha256[65];
    char *document; /* the reply that its lines were unfolded from, as it came; "" none */
};
OP_MUST_CHECK enum op_rc op_ledger_result_file_add(struct op_ledger *ledger,
                                                   const struct op_result_file *file,
                                                   struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_result_file_get(struct op_ledger *ledger, int64_t batch_id,
                                                   int64_t part, struct op_result_file *ret,
                                                   struct op_err *err);
void op_result_file_release(struct op_result_file *file);

struct op_result_row {
    int64_t batch_id;
    int64_t request_id;
    enum op_result_class class_;
    bool valid;          /* a good answer: schema and checks passed */
    int64_t part;        /* result file; -1 for ABSENT */
    int64_t offset, len; /* of the line */
    int64_t microusd;
    struct op_usage usage;
};
/* *ret_inserted false: this (batch, request) has a result already; nothing changed. Hot. */
OP_MUST_CHECK enum op_rc op_ledger_result_add(struct op_ledger *ledger,
                                              const struct op_result_row *row,
                                              bool *ret_inserted, struct op_err *err);
/* Good results of PACKED requests with consecutive ids, all of rows[0].batch_id: the rows are added
 * and the requests become DONE, as one by one with op_ledger_result_add and op_ledger_request_go.
 * OP_CONFLICT when one has a result or is not packed in that batch; the transaction must be rolled
 * back then. Hot. */
OP_MUST_CHECK enum op_rc op_ledger_results_settle(struct op_ledger *ledger,
                                                  const struct op_result_row *rows,
                                                  size_t count, struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_result_get(struct op_ledger *ledger, int64_t batch_id,
                                              int64_t request_id, struct op_result_row *ret,
                                              struct op_err *err);
/* Every purchase of a request, oldest first. */
typedef enum op_rc (*op_result_fn)(void *arg, const struct op_result_row *row,
                                   struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_request_results(struct op_ledger *ledger, int64_t request_id,
                                                   op_result_fn fn, void *arg,
                                                   struct op_err *err);

/* What was bought, summed by batch, model and what became of it: the results of a batch that are
 * alike. Kept beside the results, so that no question about money reads a million of them. */
struct op_spend {
    int64_t batch_id;
    const char *model;
    enum op_result_class class_;
    bool valid; /* a good answer */
    bool again; /* not good, and the request was asked again */
    int64_t count;
    int64_t microusd;
    struct op_usage usage;
};
/* Adds count, cost and tokens to the row of this key: in the transaction of the results. */
OP_MUST_CHECK enum op_rc op_ledger_spend_add(struct op_ledger *ledger,
                                             const struct op_spend *spend, struct op_err *err);
struct op_spend_row {
    struct op_spend spend;
    int64_t job_id;
    const char *pipeline, *provider;
    int64_t at_ms; /* when the provider accepted the batch */
    bool imported; /* of a job that adopts what was bought elsewhere */
};
typedef enum op_rc (*op_spend_fn)(void *arg, const struct op_spend_row *row,
                                  struct op_err *err);
/* By batch; job_id 0: of all jobs. */
OP_MUST_CHECK enum op_rc op_ledger_spends(struct op_ledger *ledger, int64_t job_id,
                                          op_spend_fn fn, void *arg, struct op_err *err);

/* What was noticed about a request or batch, for people and for re-asking. kind: "schema",
 * "check", "warning", "error", "quarantine", "conflict", "orphan", "import". */
OP_MUST_CHECK enum op_rc op_ledger_note_add(struct op_ledger *ledger, int64_t job_id,
                                            int64_t batch_id, int64_t request_id,
                                            const char *kind, struct op_str text,
                                            struct op_err *err);
/* Whether there is a note of this kind whose text begins so, of whatever job. Reads all of them. */
OP_MUST_CHECK enum op_rc op_ledger_note_has(struct op_ledger *ledger, const char *kind,
                                            const char *begins, bool *ret, struct op_err *err);
struct op_note {
    int64_t job_id, batch_id, request_id, at_ms;
    const char *kind, *text;
};
typedef enum op_rc (*op_note_fn)(void *arg, const struct op_note *note, struct op_err *err);
/* Filters: 0 = any. Newest last. */
OP_MUST_CHECK enum op_rc op_ledger_notes(struct op_ledger *ledger, int64_t job_id,
                                         int64_t batch_id, int64_t request_id, op_note_fn fn,
                                         void *arg, struct op_err *err);

/* --- claims ------------------------------------------------------------------------------- */

/* Something outside that fired (trigger/trigger.h), and how far it was taken. Every move is durable
 * before the next thing is done outside. */
enum op_claim_state {
    OP_CLAIM_WANTED,  /* about to be claimed outside; whether it was is found out there */
    OP_CLAIM_HELD,    /* ours outside; no job yet */
    OP_CLAIM_WORKING, /* job_id is its job's, which may be sent from now on */
    OP_CLAIM_CLOSED,  /* over: reported, given back, or taken by somebody else */
};
struct op_claim {
    int64_t id;
    char *source; /* which trigger's: pipeline, kind and target */
    char *key;    /* what it is called there */
    enum op_claim_state state;
    int64_t job_id; /* 0: none yet */
    char *params;   /* JSON: what the trigger's SELECT said of it */
    char *memory;   /* the kind's own */
    int64_t phase;  /* the last that was reported; 0 none */
    char *why;      /* of CLOSED, for people; "" */
    int64_t created_ms;
};
void op_claim_release(struct op_claim *claim);
/* Inserts; fills claim->id. */
OP_MUST_CHECK enum op_rc op_ledger_claim_add(struct op_ledger *ledger, struct op_claim *claim,
                                             struct op_err *err);
/* Stores all but id, source and key; OP_CONFLICT unless the stored state is `from`. */
OP_MUST_CHECK enum op_rc op_ledger_claim_save(struct op_ledger *ledger,
                                              const struct op_claim *claim,
                                              enum op_claim_state from, struct op_err *err);
typedef enum op_rc (*op_claim_fn)(void *arg, const struct op_claim *claim, struct op_err *err);
/* By id; only_open: not CLOSED ones. fn may save the claim it was given. */
OP_MUST_CHECK enum op_rc op_ledger_claims(struct op_ledger *ledger, bool only_open,
                                          op_claim_fn fn, void *arg, struct op_err *err);

/* --- outboxes ----------------------------------------------------------------------------- */

/* The outbox file of one (job, output): committed holds the frames that count; bytes beyond are
 * the remains of a crash and are cut off. */
struct op_outbox {
    int64_t job_id;
    int output;
    int64_t committed; /* bytes */
    int64_t delivered; /* bytes */
    int64_t rows;
};
/* All zero when there is none yet. */
OP_MUST_CHECK enum op_rc op_ledger_outbox_get(struct op_ledger *ledger, int64_t job_id,
                                              int output, struct op_outbox *ret,
                                              struct op_err *err);
/* A job that has ended with rows not delivered, by id, behind after_id; OP_NOTFOUND, err untouched,
 * when there is none. */
OP_MUST_CHECK enum op_rc op_ledger_outbox_left(struct op_ledger *ledger, int64_t after_id,
                                               int64_t *ret_job, struct op_err *err);
OP_MUST_CHECK enum op_rc op_ledger_outbox_set(struct op_ledger *ledger,
                                              const struct op_outbox *outbox,
                                              struct op_err *err);

/* Checks everything that can be checked from inside: journal replay against states, counters
 * against rows, members and results against batches, offsets against the lengths of files (which
 * files exist is the spool's to say), SQLite's integrity_check. Each finding is a line in report;
 * *ret_problems counts them. */
OP_MUST_CHECK enum op_rc op_ledger_audit(struct op_ledger *ledger, struct op_buf *report,
                                         int64_t *ret_problems, struct op_err *err);

#endif
