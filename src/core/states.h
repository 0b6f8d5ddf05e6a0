/* SPDX-License-Identifier: MIT */
#ifndef OP_CORE_STATES_H
#define OP_CORE_STATES_H

/*
 * Model:     the life of a batch, a request and a job, each as one X-macro list and one table of
 *            allowed transitions. Names are what the ledger stores and --json shows. The ledger
 *            refuses any move that the table does not hold.
 *
 *            The one-way door: SENDING is entered once, from BUILT or UPLOADED, in a transaction
 *            that is durable before the last byte of the create call goes out. Nothing leads from
 *            SENDING or AMBIGUOUS back to a send. A new purchase is a new batch with a new nonce.
 * Threads:   pure functions.
 */

#include <stdbool.h>

/* X(NAME, "stored name", terminal) */
#define OP_BATCH_STATES(X)                                                                    \
    X(BUILT, "built", false)            /* payload durable, nothing sent */                   \
    X(UPLOADED, "uploaded", false)      /* payload file at the provider, batch not created */ \
    X(SENDING, "sending", false)        /* the door: may be bought from here on */            \
    X(AMBIGUOUS, "ambiguous", false)    /* the create's outcome is unknown; reconcile */      \
    X(ACCEPTED, "accepted", false)      /* the provider has it */                             \
    X(ENDED, "ended", false)            /* results can be fetched */                          \
    X(FETCHED, "fetched", false)        /* result files durable in the spool */               \
    X(APPLIED, "applied", false)        /* every result is in the ledger */                   \
    X(SEALED, "sealed", true)           /* and delivered: nothing more to do */               \
    X(REJECTED, "rejected", true)       /* the provider refused it whole: not bought */       \
    X(UNSENT, "unsent", true)           /* not accepted, as far as can be known */            \
    X(VANISHED, "vanished", true)       /* was accepted, the provider no longer knows it */   \
    X(DROPPED, "dropped", true)         /* built but withdrawn before any send */             \
    X(QUARANTINED, "quarantined", true) /* cannot be handled by the program; see evidence */

#define OP_BATCH_ENUM(name, text, terminal) OP_BATCH_##name,
enum op_batch_state { OP_BATCH_STATES(OP_BATCH_ENUM) OP_BATCH_STATE_COUNT };
#undef OP_BATCH_ENUM

#define OP_REQUEST_STATES(X)                                                                  \
    X(NEW, "new", false)          /* to be packed into a batch */                             \
    X(PACKED, "packed", false)    /* member of exactly one live batch */                      \
    X(WAITING, "waiting", false)  /* identical to another request; takes that one's answer */ \
    X(DONE, "done", true)         /* has a good answer */                                     \
    X(FAILED, "failed", true)     /* has none and will not be asked again */                  \
    X(CANCELED, "canceled", true) /* the operator withdrew it */

#define OP_REQUEST_ENUM(name, text, terminal) OP_REQUEST_##name,
enum op_request_state { OP_REQUEST_STATES(OP_REQUEST_ENUM) OP_REQUEST_STATE_COUNT };
#undef OP_REQUEST_ENUM

#define OP_JOB_STATES(X)                                                                    \
    X(PLANNING, "planning", false) /* records are being read; nothing can have been sent */ \
    X(RUNNING, "running", false)                                                            \
    X(CANCELING, "canceling", false) /* nothing new is sent; live batches are canceled */   \
    X(DONE, "done", true)            /* every request is final, every output delivered */   \
    X(PARTIAL, "partial", true)      /* as done, but some requests failed */                \
    X(CANCELED, "canceled", true)                                                           \
    X(FAILED, "failed", true) /* planning failed: bad input; nothing was bought */

#define OP_JOB_ENUM(name, text, terminal) OP_JOB_##name,
enum op_job_state { OP_JOB_STATES(OP_JOB_ENUM) OP_JOB_STATE_COUNT };
#undef OP_JOB_ENUM

/* The class of one result (DESIGN.md section 2), as the provider reported it. */
#define OP_RESULT_CLASSES(X)                                                \
    X(SUCCEEDED, "succeeded")                                               \
    X(REFUSED, "refused")     /* the model declined; billed as an answer */ \
    X(TRUNCATED, "truncated") /* stopped at max_tokens; billed */           \
    X(ERRORED, "errored")                                                   \
    X(EXPIRED, "expired")                                                   \
    X(CANCELED, "canceled")                                                 \
    X(ABSENT, "absent") /* the provider returned nothing for this request */

#define OP_RESULT_ENUM(name, text) OP_RESULT_##name,
enum op_result_class { OP_RESULT_CLASSES(OP_RESULT_ENUM) OP_RESULT_CLASS_COUNT };
#undef OP_RESULT_ENUM

const char *op_batch_state_name(enum op_batch_state state);
const char *op_request_state_name(enum op_request_state state);
const char *op_job_state_name(enum op_job_state state);
const char *op_result_class_name(enum op_result_class class_);
bool op_batch_state_parse(const char *name, enum op_batch_state *ret);

bool op_batch_may_go(enum op_batch_state from, enum op_batch_state to);
bool op_request_may_go(enum op_request_state from, enum op_request_state to);
bool op_job_may_go(enum op_job_state from, enum op_job_state to);
bool op_batch_is_final(enum op_batch_state state);
bool op_request_is_final(enum op_request_state state);
bool op_job_is_final(enum op_job_state state);
/* The batch may have been bought and its result is not settled: its requests must not be asked
 * anywhere else. */
bool op_batch_is_live(enum op_batch_state state);

#endif
