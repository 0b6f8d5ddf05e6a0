/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_WORK_H
#define OP_ENGINE_WORK_H

/*
 * Model:     what the engine's files share: the engine itself and struct op_work, one loaded job
 *            with its frozen definition compiled. One file per step of the way: plan_job.c pack.c
 *            send.c reconcile.c poll.c fetch.c apply.c reuse.c deliver.c finish.c. Internal to engine/.
 *            A job with a chain of providers has a work for each of them, which take the steps of
 *            the batches at their provider; the first stands for the job (chain.c).
 * Threads:   the engine's thread only, but for digest.h.
 */

#include "engine/engine.h"
#include "pipeline/bundle.h"
#include "pipeline/chain.h"
#include "pipeline/select.h"
#include "pipeline/sqlenv.h"
#include "provider/own_line.h"

/* The price row that holds for prompts of at least `from` tokens, up to the row's own limit. */
struct op_cost_row {
    const struct op_price *price;
    int64_t from;
};

/* How requests are asked: what --mode said. */
enum op_mode { OP_MODE_UNSAID, OP_MODE_BATCH, OP_MODE_REALTIME, OP_MODE_AUTO };

struct op_realtime;
struct op_lane_owner;
struct op_json_parser;
struct op_blackbox_entry;

/* A lane as one job uses it. */
struct op_job_lane {
    const struct op_lane *lane; /* owned by the engine */
    char *no_batches; /* why batches are not to be had there after all; NULL: they are */
    bool is_resumed;  /* realtime batches of an earlier process have been looked for */
};

/* What the ledger calls one of the job's lanes: once for every key it has been used with. */
struct op_lane_name {
    int64_t id;
    const struct op_lane *lane;
};

struct op_work {
    struct op_engine *engine;
    struct op_work
        *head; /* the chain's first, which the engine knows; itself where there is none */
    struct op_work *next_leg; /* the chain's next; NULL: the last */
    struct op_job job;        /* as last read; the ledger is the truth */
    struct op_bundle bundle;
    struct op_definition def;
    struct op_params params;
    struct op_job_lane *lanes;    /* those its requests go to, each once */
    size_t lane_count, next_lane; /* the next to send has its turn */
    struct op_lane_name *lane_names;
    size_t lane_name_count;
    struct op_plan *plan;
    char *inputs_db;       /* path of the staged inputs; NULL: the job streams */
    struct op_sqlenv *sql; /* opened when first needed */
    bool columns_known;
    bool fresh;
    bool imported; /* import.h: nothing is ever sent for it */
    bool polled;   /* the last step was a poll: see step_work */
    int64_t deliver_due_ms;
    int64_t
        waits_for_job; /* another job holds the identical request this one waits for; 0 none */
    struct op_cost_row *costs; /* per request of the definition: what was looked up last */
    enum op_mode mode;
    char *tier; /* of the realtime lane; NULL none */
    int64_t realtime_below;
    struct op_work *next;
};

struct op_engine {
    struct op_engine_options options;
    char *state_dir; /* options.state_dir, which need not outlive the opening */
    struct op_env *env;
    struct op_ledger *ledger;
    struct op_spool *spool;
    struct op_http *http;
    bool own_http;
    struct op_prices *prices;
    struct op_frozen_prices
        *frozen_prices; /* of older batches, as far as they were asked for */
    struct op_lane **lanes;
    size_t lane_count;
    struct op_work *works;
    int64_t due_ms;               /* earliest due time met during this step */
    int64_t last_turn;            /* the job that stepped last, where jobs take turns */
    struct op_realtime *realtime; /* NULL until it is needed */
    struct op_lane_owner *owners; /* chain.c: whose lanes the ledger's are */
    size_t owner_count;
    const struct op_blackbox_entry *_Atomic unwritten; /* bought, and being written down */
    struct op_watch *watches;                          /* trigger.c */
    int64_t fetched_batch; /* its result files were written by this process, last; 0 none */
};

static inline int64_t op_engine_now(struct op_engine *engine)
{
    return engine->env->ops->now_ms(engine->env);
}
bool op_engine_stopped(const struct op_engine *engine);
uint32_t op_engine_random32(struct op_engine *engine);
/* Remembers that something is due then. */
void op_engine_due(struct op_engine *engine, int64_t due_ms);
void op_engine_changed(struct op_engine *engine);

/* lane.c: the lane for a provider: key and URL from the environment, or the command's emulator. */
OP_MUST_CHECK enum op_rc op_engine_lane(struct op_engine *engine,
                                        const struct op_provider_ops *provider, bool emulated,
                                        bool need_key, struct op_lane **ret,
                                        struct op_err *err);
/* The lanes of the job's requests at one place of the chain: work->lanes, and *ret has one a
 * request (an op_mem block). */
OP_MUST_CHECK enum op_rc op_work_find_lanes(struct op_work *work, const struct op_chain *chain,
                                            size_t at, bool emulated, bool need_key,
                                            const struct op_lane ***ret, struct op_err *err);
/* The lane that a batch of the job goes through now: of the provider it was built for. */
const struct op_lane *op_batch_lane(const struct op_work *work, const struct op_batch *batch);
/* One exchange on a lane, plain: performed, non-2xx decoded into err. */
OP_MUST_CHECK enum op_rc op_lane_exchange(struct op_engine *engine, const struct op_lane *lane,
                                          const struct op_exchange *x, op_http_sink_fn sink,
                                          void *sink_arg, struct op_http_reply *reply,
                                          struct op_err *err);
/* body.c: what an exchange sends: its body, the batch file where it has one, its tail. */
struct op_body {
    struct op_env *env;
    const struct op_exchange *x; /* borrowed */
    int fd;
    int64_t file_bytes;
};
OP_MUST_CHECK enum op_rc op_body_open(struct op_engine *engine, const struct op_exchange *x,
                                      const char *file, int64_t bytes, struct op_body *ret,
                                      struct op_err *err);
void op_body_close(struct op_body *body);
/* The request that sends it; the body must outlive it and stay where it is. */
void op_body_request(struct op_body *body, struct op_http_request *ret);
/* As op_lane_exchange, with the batch file (relative to the spool) in the body. */
OP_MUST_CHECK enum op_rc op_lane_exchange_file(struct op_engine *engine,
                                               const struct op_lane *lane,
                                               const struct op_exchange *x, const char *file,
                                               int64_t bytes, struct op_http_reply *reply,
                                               struct op_err *err);
/* Pauses the lane after a PAUSE disposition, or until retry_after. */
void op_lane_pause(struct op_engine *engine, const struct op_lane *lane,
                   const struct op_err *why);
/* lane.c: how the reason begins of a pause that is there for want of quota, and of a request
 * that has to be asked of another provider. */
extern const char op_no_quota[];
/* The lane rests because of a QUOTA disposition. */
OP_MUST_CHECK enum op_rc op_lane_is_exhausted(struct op_engine *engine,
                                              const struct op_lane *lane, bool *ret,
                                              struct op_err *err);
/* True while paused; sets the due time. */
OP_MUST_CHECK enum op_rc op_lane_is_paused(struct op_engine *engine, const struct op_lane *lane,
                                           bool *ret, struct op_err *err);

/* work.c. The head of the job's chain. */
OP_MUST_CHECK enum op_rc op_work_get(struct op_engine *engine, int64_t job,
                                     struct op_work **ret, struct op_err *err);
void op_work_free(struct op_work *work);
OP_MUST_CHECK enum op_rc op_work_refresh(struct op_work *work,
                                         struct op_err *err); /* re-reads job */
OP_MUST_CHECK enum op_rc op_work_columns(struct op_work *work, struct op_err *err);
OP_MUST_CHECK enum op_rc op_work_sql(struct op_work *work, struct op_sqlenv **ret,
                                     struct op_err *err);
/* plan_job.c: reads the inputs of the present round and checks `require`. */
OP_MUST_CHECK enum op_rc op_work_stage(struct op_work *work, struct op_err *err);
/* chain.c: from one provider of a job to the next. */
/* Several providers may be asked. */
static inline bool op_work_is_chained(const struct op_work *work)
{
    return work->head->next_leg != NULL;
}
/* The job's work for what is at this lane; the head where there is no chain. A leg of a
 * chain has one lane. */
struct op_work *op_work_leg(const struct op_work *work, int64_t lane_id);
/* The same for a batch, 0 being none: the head then. */
OP_MUST_CHECK enum op_rc op_work_leg_of_batch(struct op_work *work, int64_t batch_id,
                                              struct op_work **ret, struct op_err *err);
/* Whether the work takes the steps of this batch of its job. */
bool op_work_owns(const struct op_work *work, const struct op_batch *batch);
/* Who asks what this one would ask: itself, unless its account has no quota left and the next one
 * round the chain has. refused: it has refused this very request so, and comes last. */
OP_MUST_CHECK enum op_rc op_work_asker(struct op_work *work, bool refused, struct op_work **ret,
                                       struct op_err *err);
/* Who plans: the asker of the head. All legs forget what they know of the inputs. */
OP_MUST_CHECK enum op_rc op_work_planner(struct op_work *head, struct op_work **ret,
                                         struct op_err *err);
struct op_compose_scratch;
/* Request number name of a record (its columns as JSON) as this leg's provider takes it, and its
 * hash; params are cleared before. */
OP_MUST_CHECK enum op_rc op_work_compose(struct op_work *leg, int name, struct op_str data,
                                         struct op_json_parser *parser,
                                         struct op_compose_scratch *scratch,
                                         struct op_buf *params, uint8_t ret_hash[OP_HASH_LEN],
                                         struct op_err *err);
/* Name of the outbox file of an output, relative to the spool (op_mem). */
char *op_work_outbox(const struct op_work *work, int output);

/* Rows of outputs with `on: batch` / `on: job` for the present state; to be called inside the
 * transaction of the change, before its commit. batch NULL for a job event. */
OP_MUST_CHECK enum op_rc op_work_event(struct op_work *work, const struct op_batch *batch,
                                       struct op_err *err);
/* Appends frames[output] to the outboxes and stores their lengths; inside a transaction. */
OP_MUST_CHECK enum op_rc op_work_append(struct op_work *work, struct op_buf *frames,
                                        const int64_t *rows, struct op_err *err);
/* One buffer per output, each of at most OP_FRAMES_MAX bytes between two commits. */
#define OP_FRAMES_MAX (256 * 1024 * 1024)
struct op_buf *op_frames_new(const struct op_work *work);
void op_frames_free(const struct op_work *work, struct op_buf *frames);
/* A move with its events, in a transaction of its own. */
OP_MUST_CHECK enum op_rc op_work_move(struct op_work *work, struct op_batch *batch,
                                      enum op_batch_state to, const char *evidence,
                                      struct op_err *err);
/* As op_work_move, and the batch's requests go back to be packed anew. */
OP_MUST_CHECK enum op_rc op_work_move_unpack(struct op_work *work, struct op_batch *batch,
                                             enum op_batch_state to, const char *evidence,
                                             bool bought, struct op_err *err);
/* The same inside the caller's transaction. */
OP_MUST_CHECK enum op_rc op_work_unpack_inside(struct op_work *work, struct op_batch *batch,
                                               enum op_batch_state to, const char *evidence,
                                               bool bought, struct op_err *err);
/* settle.c: the batch will never be bought, and neither will its requests: they fail, or are
 * canceled, with it. */
OP_MUST_CHECK enum op_rc op_work_fail_batch(struct op_work *work, struct op_batch *batch,
                                            enum op_batch_state to, const char *reason,
                                            struct op_err *err);
OP_MUST_CHECK enum op_rc op_work_cancel_batch(struct op_work *work, struct op_batch *batch,
                                              enum op_batch_state to, const char *reason,
                                              struct op_err *err);
/* What the job's sent and not yet applied batches may still cost. */
OP_MUST_CHECK enum op_rc op_work_in_flight(struct op_work *work, int64_t *ret_microusd,
                                           struct op_err *err);
/* Takes over what the provider said of the batch. */
void op_batch_take_remote(struct op_engine *engine, struct op_batch *batch,
                          const struct op_remote_batch *remote);
/* send.c: the present step failed without consequence; tried again later. */
OP_MUST_CHECK enum op_rc op_batch_later(struct op_work *work, struct op_batch *batch,
                                        const struct op_err *why, struct op_err *err);
/* unwritten.c: the move to ACCEPTED; what a full disk leaves of it goes into the black box, from
 * where the next start takes it. */
OP_MUST_CHECK enum op_rc op_work_accept(struct op_work *work, struct op_batch *batch,
                                        const struct op_remote_batch *remote,
                                        struct op_err *err);
OP_MUST_CHECK enum op_rc op_engine_unwritten(struct op_engine *engine, struct op_err *err);
/* send.c: refused whole, nothing was bought: packed again, halved or failed, as why says. told: as
 * for op_queue_refused. */
OP_MUST_CHECK enum op_rc op_batch_refused(struct op_work *work, struct op_batch *batch,
                                          enum op_batch_state to, int64_t told,
                                          const struct op_err *why, struct op_err *err);
/* upload.c */
#define OP_TAG_MAX 32
/* What the provider carries for us: unique to this purchase. */
void op_batch_tag(const struct op_engine *engine, const struct op_batch *batch,
                  char ret[OP_TAG_MAX]);
struct op_create op_batch_create(const struct op_batch *batch, const char *tag);
bool op_batch_needs_upload(struct op_work *work, const struct op_batch *batch);
/* Uploads the batch file, or finds the upload whose answer was lost: UPLOADED, or later. */
OP_MUST_CHECK enum op_rc op_batch_upload(struct op_work *work, struct op_batch *batch,
                                         struct op_err *err);
/* Removes the input file of a batch that will not run; best effort. */
void op_upload_drop(struct op_work *work, const struct op_batch *batch);
/* Removes every input file of the batch, so that a late create finds none. *ret_server_ms: server
 * time when that was done. */
OP_MUST_CHECK enum op_rc op_upload_fence(struct op_work *work, const struct op_batch *batch,
                                         int64_t *ret_server_ms, struct op_err *err);
/* poll.c: asks for one batch of the account, or to cancel it. */
OP_MUST_CHECK enum op_rc op_batch_ask(struct op_engine *engine, const struct op_lane *lane,
                                      const char *id, bool cancel, struct op_remote_batch *ret,
                                      int64_t *ret_hint_ms, struct op_err *err);
/* twins.c: other batches that the provider made of the batch's create, as far as they have results.
 * *ret_ready false: one runs yet, the batch is put off. *ret is an op_mem block. */
OP_MUST_CHECK enum op_rc op_twins_collect(struct op_work *work, struct op_batch *batch,
                                          struct op_remote_batch **ret, size_t *ret_count,
                                          bool *ret_ready, struct op_err *err);
/* Adds what the lines of a twin's result file cost. */
OP_MUST_CHECK enum op_rc op_twins_cost(struct op_work *work, const struct op_batch *batch,
                                       const char *file, int64_t *ret_microusd,
                                       struct op_err *err);
/* poll.c: the provider says it has no such batch, or no results of it (any more). */
OP_MUST_CHECK enum op_rc op_batch_missing(struct op_work *work, struct op_batch *batch,
                                          const struct op_err *why, struct op_err *err);
/* send.c: begins the evidence of a batch whose create was answered 413 by somebody on the way. */
extern const char op_too_large[];
/* reconcile.c: proof and disproof of a provisional adoption, by the ids in a result file. */
enum op_owner { OP_OWNER_UNKNOWN, OP_OWNER_US, OP_OWNER_OTHER };
OP_MUST_CHECK enum op_rc op_batch_owner(struct op_work *work, const struct op_batch *batch,
                                        const char *path, enum op_owner *ret,
                                        struct op_err *err);
OP_MUST_CHECK enum op_rc op_batch_disown(struct op_work *work, struct op_batch *batch,
                                         struct op_err *err);
OP_MUST_CHECK enum op_rc op_work_job_go(struct op_work *work, enum op_job_state to,
                                        const char *reason, struct op_err *err);

/* new_job.c: it was made by an import. */
bool op_job_is_imported(const struct op_job *job);
/* It may ask several providers: what waits for its requests could get another one's answer. */
bool op_job_is_chained(const struct op_job *job);

/* finish.c: the request failed, and a later round has asked the same of its record with success. */
OP_MUST_CHECK enum op_rc op_request_is_superseded(struct op_ledger *ledger,
                                                  const struct op_request *request, bool *ret,
                                                  struct op_err *err);
/* queue.c: the queues of the account at its provider, one a model (docs/design/queues.md). */
/* The most estimated tokens of a batch, so that it fits the queue of its model; 0 no bound. */
OP_MUST_CHECK enum op_rc op_queue_batch_tokens(struct op_work *work, const struct op_lane *lane,
                                               const char *model, int64_t *ret,
                                               struct op_err *err);
/* The queue's limit, 0 none, and whether the ledger has learned it. */
OP_MUST_CHECK enum op_rc op_queue_limit(struct op_work *work, const struct op_lane *lane,
                                        const char *model, int64_t *ret_tokens,
                                        bool *ret_learned, struct op_err *err);
struct op_room {
    bool fits;
    bool never;        /* it is larger than the queue and can be split */
    bool lane_is_full; /* no batch of any model may be made now */
    int64_t due_ms;    /* when that changes by itself; 0: when a batch ends */
    int64_t other_job; /* whose batches fill it; 0 only ours */
    char why[200];
};
OP_MUST_CHECK enum op_rc op_queue_room(struct op_work *work, const struct op_batch *batch,
                                       struct op_room *ret, struct op_err *err);
/* The next batch to send on a lane: built or uploaded, due, and with room in its queue; uploaded
 * ones first. OP_NOTFOUND, err untouched: none; ret_room->why then says what they wait for. */
OP_MUST_CHECK enum op_rc op_queue_pick(struct op_work *work, const struct op_lane *lane,
                                       struct op_batch *ret, struct op_room *ret_room,
                                       struct op_err *err);
/* The provider refused a batch before buying anything of it. told: the queue's limit that it named,
 * 0: the queue was full, < 0: it was another reason. */
OP_MUST_CHECK enum op_rc op_queue_refused(struct op_work *work, const struct op_batch *batch,
                                          int64_t told, const struct op_err *why,
                                          struct op_err *err);
/* The batch has been through its queue. */
OP_MUST_CHECK enum op_rc op_queue_passed(struct op_work *work, const struct op_batch *batch,
                                         struct op_err *err);
/* Every request of the batch was answered: what its estimate was worth. Inside the transaction. */
OP_MUST_CHECK enum op_rc op_queue_calibrate(struct op_work *work, const struct op_batch *batch,
                                            struct op_err *err);
/* The job's reason is to say what it waits for; NULL: for nothing any more. */
OP_MUST_CHECK enum op_rc op_work_waits(struct op_work *work, const char *why,
                                       struct op_err *err);
/* send.c: what must hold before a byte of the batch is sent. *ret_go false: not now. A stub that
 * has to go first takes the batch's place. */
OP_MUST_CHECK enum op_rc op_batch_may_send(struct op_work *work, struct op_batch *batch,
                                           bool *ret_go, struct op_err *err);
/* *ret_done: the batch, which is not sent, was dropped, to be packed with prices it lacked. */
OP_MUST_CHECK enum op_rc op_batch_price_anew(struct op_work *work, struct op_batch *batch,
                                             bool *ret_done, struct op_err *err);
/* The manifest's line about a batch, before its door opens, or when it did not after all. */
OP_MUST_CHECK enum op_rc op_batch_announce(struct op_work *work, const struct op_batch *batch,
                                           bool withdrawn, struct op_err *err);

/* mode.c: how the requests of a job are asked on a lane, and what a batch costs there. */
const char *op_mode_name(enum op_mode mode);
enum op_mode op_mode_parse(struct op_str name); /* UNSAID for anything else */
OP_MUST_CHECK enum op_rc op_mode_choose(const struct op_work *work,
                                        const struct op_job_request *request, enum op_mode *ret,
                                        struct op_err *err);
bool op_work_is_realtime(const struct op_work *work, const struct op_lane *lane);
bool op_work_is_sequential(const struct op_work *work, const struct op_lane *lane);
bool op_work_pays_batch_price(const struct op_work *work, const struct op_lane *lane);
/* Why batches are not to be had on the lane after all; NULL: they are. */
const char *op_work_no_batches(const struct op_work *work, const struct op_lane *lane);
bool op_batch_is_realtime(const struct op_batch *batch); /* it is asked, or was, one by one */
bool op_batch_pays_batch_price(const struct op_batch *batch);
void op_batch_mark_realtime(struct op_batch *batch, const char *tier);
/* The batch endpoint answered why: when it is a 404, the list of batches answers 404 too and the
 * mode allows it, what the job asks of it goes on one by one, and *ret is true. */
OP_MUST_CHECK enum op_rc op_work_fall_back(struct op_work *work, const struct op_lane *lane,
                                           const struct op_err *why, bool *ret,
                                           struct op_err *err);
/* realtime_list.c: the result file of an ended realtime batch: its log's lines, and for members
 * without one that their outcome is unknown. */
OP_MUST_CHECK enum op_rc op_realtime_results(struct op_work *work, const struct op_batch *batch,
                                             int64_t part, struct op_result_file *ret,
                                             struct op_err *err);
/* The batch's log is not needed any more: everything in it is applied. */
void op_realtime_forget(struct op_engine *engine, const struct op_batch *batch);

/* prove.c: from now on a flush that fails ends the process (OP_EXIT_DISK in cli/command.h), after a
 * mark in the black box that makes the next one send nothing before it is proved. */
void op_engine_watch_flushes(struct op_engine *engine);
void op_engine_unwatch_flushes(struct op_engine *engine);

/* frozen_prices.c: the prices that a batch is built with (R5). Freezing belongs into the
 * transaction that adds the batch; the list is the engine's. The engine's thread only. */
OP_MUST_CHECK enum op_rc op_batch_freeze_prices(struct op_engine *engine,
                                                struct op_batch *batch, struct op_err *err);
OP_MUST_CHECK enum op_rc op_batch_prices(struct op_engine *engine, const struct op_batch *batch,
                                         const struct op_price_list **ret, struct op_err *err);
void op_engine_frozen_prices_free(struct op_engine *engine);

/* trigger.c */
void op_engine_watches_free(struct op_engine *engine);
/* Every pipeline watched, with the params that are known before a job is, and where its trigger
 * looks. */
void op_engine_watches_each(struct op_engine *engine,
                            void (*fn)(void *arg, const struct op_definition *def,
                                       const struct op_params *params),
                            void *arg);
/* The job has taken a step: what its trigger is to be told may be another. */
void op_engine_trigger_see(struct op_engine *engine, int64_t job);

/* The steps. Each does at most one thing and says so in *ret_worked. */
typedef enum op_rc (*op_step_fn)(struct op_work *work, bool *ret_worked, struct op_err *err);
OP_MUST_CHECK enum op_rc op_step_plan(struct op_work *work, bool *ret_worked,
                                      struct op_err *err);
OP_MUST_CHECK enum op_rc op_step_pack(struct op_work *work, bool *ret_worked,
                                      struct op_err *err);
/* What is packed and not sent leaves a provider without quota. */
OP_MUST_CHECK enum op_rc op_step_move_on(struct op_work *work, bool *ret_worked,
                                         struct op_err *err);
OP_MUST_CHECK enum op_rc op_step_send(struct op_work *work, bool *ret_worked,
                                      struct op_err *err);
OP_MUST_CHECK enum op_rc op_step_reconcile(struct op_work *work, bool *ret_worked,
                                           struct op_err *err);
OP_MUST_CHECK enum op_rc op_step_poll(struct op_work *work, bool *ret_worked,
                                      struct op_err *err);
OP_MUST_CHECK enum op_rc op_step_fetch(struct op_work *work, bool *ret_worked,
                                       struct op_err *err);
OP_MUST_CHECK enum op_rc op_step_apply(struct op_work *work, bool *ret_worked,
                                       struct op_err *err);
OP_MUST_CHECK enum op_rc op_step_reuse(struct op_work *work, bool *ret_worked,
                                       struct op_err *err);
OP_MUST_CHECK enum op_rc op_step_deliver(struct op_work *work, bool *ret_worked,
                                         struct op_err *err);
OP_MUST_CHECK enum op_rc op_step_realtime(struct op_work *work, bool *ret_worked,
                                          struct op_err *err);
OP_MUST_CHECK enum op_rc op_step_finish(struct op_work *work, bool *ret_worked,
                                        struct op_err *err);
/* All of the outbox, now: before a new round reads what was written, and at the end. */
OP_MUST_CHECK enum op_rc op_deliver_all(struct op_work *work, bool last, struct op_err *err);
/* finish.c: delivers what jobs that have ended still have in their outboxes. */
OP_MUST_CHECK enum op_rc op_engine_leftovers(struct op_engine *engine, struct op_err *err);

void op_engine_lanes_free(struct op_engine *engine);

/* A file of the spool is not there, or not what was written. A disk that fails to read (an errno)
 * is another matter: it may answer next time. */
static inline bool op_is_lost(enum op_rc rc, const struct op_err *err)
{
    return rc == OP_NOTFOUND || (rc != OP_OK && rc != OP_STOPPED && err->native == 0);
}

/* announced.c: what the manifest announces and the ledger has not sent becomes doubtful. */
OP_MUST_CHECK enum op_rc op_engine_doubt_announced(struct op_engine *engine,
                                                   struct op_err *err);

/* pick.c: due_ms has come; or it lies further ahead than anything is put off. */
bool op_engine_is_due(const struct op_engine *engine, int64_t due_ms, int64_t now_ms);
/* The first batch of the work in one of the states that is due, on that lane; NULL: on any.
 * OP_NOTFOUND: none. */
OP_MUST_CHECK enum op_rc op_batch_pick(struct op_work *work, const struct op_lane *lane,
                                       uint32_t states, struct op_batch *ret,
                                       struct op_err *err);

#define OP_FAULT(engine, point) (engine)->env->ops->fault((engine)->env, (point))
#define OP_STATE_BIT(state)     (1u << (state))

#endif
