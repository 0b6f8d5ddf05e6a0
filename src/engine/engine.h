/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_ENGINE_H
#define OP_ENGINE_ENGINE_H

/*
 * Model:     the loop that takes jobs from records to delivered rows. Each step looks at the ledger
 *            (the truth), does one thing that is due, and writes down what happened; so start-up,
 *            recovery and the normal path are one code. The engine alone acts on dispositions.
 *            Order of work in a step: recover doubtful sends, apply what was fetched, fetch what
 *            ended, poll, deliver, plan, pack what must be asked again, send.
 * Ownership: an engine owns ledger, spool and network client; jobs it works on stay loaded (struct
 *            op_work) until it is closed.
 * Errors:    a failure of one job or batch is written into the ledger and logged; only what stops
 *            the program itself (disk, ledger, usage) is returned.
 * Threads:   one thread drives an engine; apply uses a helper thread inside.
 */

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "base/sandbox.h"
#include "ledger/ledger.h"
#include "ledger/spool.h"
#include "net/calls.h"
#include "net/http.h"
#include "pipeline/plan.h"
#include "pipeline/prices.h"

struct op_engine;
struct op_work;

struct op_engine_options {
    struct op_env *env; /* NULL: the real one */
    const char
        *state_dir; /* NULL: no ledger and no spool; only op_engine_estimate works then */
    bool read_only; /* status, list, show: no lock, no sends */
    bool strict;    /* an ambiguous create is held for the operator, never settled by time */
    bool exclusive; /* only this ledger uses the provider workspace */
    bool retry_now; /* what waits for a later try is tried at once (recover, fetch) */
    int64_t ballast_bytes;    /* kept free for the worst (ledger/blackbox.h); 0: nothing */
    int64_t concurrency;      /* of the realtime lane, at most; 0: as it likes */
    int64_t interval_ms;      /* from one realtime request to the next; 0: as it likes */
    int64_t poll_ms;          /* --poll; 0: by age and the server's hint */
    const char *emulator_url; /* base URL of this command's own emulator; NULL: none */
    const char *prices_file;  /* NULL: the default list */
    volatile sig_atomic_t
        *stop;              /* non-zero: leave as soon as everything is resumable; NULL none */
    struct op_http *http;   /* network seam; NULL: libcurl */
    struct op_calls *calls; /* the same, of the realtime lane */
    void (*changed)(void *arg); /* called whenever a job may look different; NULL none */
    void *changed_arg;
};

OP_MUST_CHECK enum op_rc op_engine_open(const struct op_engine_options *options,
                                        struct op_engine **ret, struct op_err *err);
void op_engine_close(struct op_engine *engine);
void op_engine_closep(struct op_engine **engine);
struct op_ledger *op_engine_ledger(struct op_engine *engine);
struct op_spool *op_engine_spool(struct op_engine *engine);
const struct op_prices *op_engine_prices(struct op_engine *engine);

/* What a new job is made of. */
struct op_job_request {
    struct op_bundle *bundle; /* taken over */
    const char *const *given; /* params as given, by index of the definition */
    const char *cwd;
    const char *provider; /* NULL: by the model */
    const char *model;    /* NULL: as defined */
    int64_t limit;
    int64_t max_cost_microusd; /* 0: none */
    bool no_cache, fresh;
    const char *mode;       /* "batch", "realtime", "auto"; NULL: batch wherever there is one */
    const char *tier;       /* of the realtime lane: "flex"; NULL none */
    int64_t deadline_ms;    /* the answers are wanted so soon; 0: not said */
    int64_t realtime_below; /* auto: fewer requests than this are asked in realtime */
    bool anew;              /* do not resume an unfinished job of this identity */
    const char *import;     /* JSON: what was bought elsewhere (import.c); NULL none */
    const struct op_claim
        *claim; /* HELD: becomes WORKING in the transaction that makes the job */
};

/* Finds the unfinished job of this pipeline and these parameters, or makes one (in PLANNING).
 * *ret_resumed tells which. Everything that can be found wrong without reading rows is. */
OP_MUST_CHECK enum op_rc op_engine_job(struct op_engine *engine,
                                       const struct op_job_request *request, int64_t *ret_job,
                                       bool *ret_resumed, struct op_err *err);

/* What a job would be, without writing or sending anything. */
struct op_estimate {
    int64_t records, done, skipped, requests, duplicates, batches;
    int64_t prompt_bytes, prompt_tokens, max_output_tokens;
    /* prompt_tokens mended by what this ledger has seen billed; the same when it has seen none. */
    int64_t likely_tokens;
    struct op_calibration calibration; /* of the first request's model */
    int64_t queue_tokens;      /* the limit of its queue at the provider; 0: none known */
    bool queue_learned;        /* the ledger has learned it from refusals */
    int64_t batch_microusd;    /* every answer as long as max_tokens allows */
    int64_t realtime_microusd; /* the same through the ordinary endpoint */
    bool priced;               /* the price list knows every model */
    char as_of[11];            /* oldest date of the prices used */
    struct op_buf sample;      /* first request's params */
};
OP_MUST_CHECK enum op_rc op_engine_estimate(struct op_engine *engine,
                                            const struct op_job_request *request,
                                            struct op_estimate *ret, struct op_err *err);

/* Does one due thing for the job (0: any open job). *ret_worked: something was done; otherwise
 * *ret_due_ms is when the next thing is due (wall clock; INT64_MAX: nothing is). */
OP_MUST_CHECK enum op_rc op_engine_step(struct op_engine *engine, int64_t job, bool *ret_worked,
                                        int64_t *ret_due_ms, struct op_err *err);

enum op_until {
    OP_UNTIL_DONE, /* the job is final */
    OP_UNTIL_SENT, /* nothing is left that could be sent now (create) */
    OP_UNTIL_IDLE, /* nothing is due now (fetch, recover) */
    OP_UNTIL_STOP, /* somebody says so (watch); with job 0 */
};
/* Steps until then, until stop, or until deadline_ms (wall clock; 0 none). OP_STOPPED after stop;
 * OP_OK otherwise, whatever became of the job. */
OP_MUST_CHECK enum op_rc op_engine_run(struct op_engine *engine, int64_t job,
                                       enum op_until until, int64_t deadline_ms,
                                       struct op_err *err);

/* What the realtime lane is doing; false: nothing. */
struct op_realtime_view {
    int64_t under_way, window;
    int64_t rate;     /* answers a second, lately */
    int64_t answered; /* and not yet applied */
};
bool op_engine_realtime(const struct op_engine *engine, struct op_realtime_view *ret);
/* The same of a job that perhaps another process is asking for, from the logs in the spool. */
OP_MUST_CHECK enum op_rc op_engine_realtime_of(struct op_engine *engine, int64_t job,
                                               struct op_realtime_view *ret,
                                               struct op_err *err);

/* Withdraws a job (batch 0) or one batch of it: nothing more is sent, batches at the provider are
 * asked to cancel; what they answered is still fetched and applied. */
OP_MUST_CHECK enum op_rc op_engine_cancel(struct op_engine *engine, int64_t job, int64_t batch,
                                          struct op_err *err);
/* Makes failed requests of a job new again. */
OP_MUST_CHECK enum op_rc op_engine_retry_failed(struct op_engine *engine, int64_t job,
                                                int64_t *ret_count, struct op_err *err);
/* Looks for batches of ours among what the accounts of the loaded lanes hold, that the ledger does
 * not count on: adopts those whose requests are all still to be bought, keeps the results of the
 * others in the spool (orphan.c); said through the log. Without trust only what may be a batch
 * that was given up is looked at, and nothing is listed when there is none. With it everything, and
 * the ledger's suspicion is cleared. */
OP_MUST_CHECK enum op_rc op_engine_sweep(struct op_engine *engine, bool trust,
                                         struct op_err *err);
/* Loads the lane of every provider this ledger has used and that there is a key for, so that the
 * sweep looks through it. */
OP_MUST_CHECK enum op_rc op_engine_load_lanes(struct op_engine *engine, struct op_err *err);
/* Of a ledger that is in doubt after a failed flush: the audit finds nothing and the accounts of
 * all open jobs have been looked through, so that it is in doubt no more. Nothing to do for another.
 * Run by op_engine_run. */
OP_MUST_CHECK enum op_rc op_engine_prove(struct op_engine *engine, struct op_err *err);

/* The name of the provider of a lane; NULL: the ledger has none such. Static. */
OP_MUST_CHECK enum op_rc op_engine_provider(struct op_engine *engine, int64_t lane_id,
                                            const char **ret, struct op_err *err);

/* Adds to the box what the open jobs read (inputs) and write (outputs). Loads those jobs. */
OP_MUST_CHECK enum op_rc op_engine_reach(struct op_engine *engine, struct op_sandbox *box,
                                         struct op_err *err);

/* The compiled plan of a job, for show: loads it from its frozen definition. */
OP_MUST_CHECK enum op_rc op_engine_work(struct op_engine *engine, int64_t job,
                                        struct op_work **ret, struct op_err *err);

#endif
