/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_REALTIME_H
#define OP_ENGINE_REALTIME_H

/*
 * Model:     the realtime lanes. A packed batch is its list of work: the members of the payload file are
 *            asked one by one through the provider's ordinary endpoint, many under way at a time
 *            (net/calls.h), as fast as core/flow.h lets them. What is asked and answered goes into
 *            the batch's log (ledger/asklog.h); when every member has a line, the batch has ENDED, and
 *            fetching it means copying those lines out of the log. Everything behind is as for any
 *            batch. Every lane that has something to ask is asked in the same turn (realtime.c), so that
 *            none waits for another. Files: realtime.c (the turn), realtime_list.c (a batch as a list), realtime_reply.c
 *            (what a reply means), mode.c (who is asked how). Internal to engine/.
 * Ownership: struct op_realtime belongs to the engine; a list to it; a call to whoever has it under
 *            way, until it has ended.
 * Threads:   the engine's.
 */

#include "core/flow.h"
#include "engine/work.h"
#include "ledger/asklog.h"
#include "net/calls.h"

/* So many members make a list: few enough that answers are applied and delivered while the job goes
 * on and that a log stays small, enough that a list's handful of commits costs little. */
#define OP_REALTIME_LIST 1000
/* Lists open at a time: the slowest answers of one must not keep the others waiting. */
#define OP_REALTIME_LISTS 4

enum op_ask_state { OP_MEMBER_OPEN, OP_MEMBER_ASKED, OP_MEMBER_ANSWERED };

struct op_ask {
    int64_t request_id;
    int64_t offset; /* of its params in the payload */
    int64_t len;
    int name; /* index into the definition's requests */
    enum op_ask_state state;
};

struct op_ask_list {
    struct op_work *work;
    struct op_batch batch; /* as last moved; nobody else moves it meanwhile */
    struct op_asklog log;
    char *path; /* of the payload */
    int fd;
    struct op_ask *asks; /* by request id */
    size_t count, answered, doubtful;
    size_t under_way;
    size_t next;  /* no open one lies before it */
    size_t *back; /* open ones before next, to be asked again */
    size_t back_count;
};

struct op_ask_call {
    struct op_ask_lane *ask;
    struct op_ask_list *list;
    size_t at;   /* in list->asks */
    size_t slot; /* in rt->all_calls */
    struct op_exchange x;
    int64_t epoch, tokens;
};

/* What is asked of one lane: one job's lists at a time, with a window of its own, since limits are
 * the account's. What was learned of it stays from job to job. */
struct op_ask_lane {
    struct op_realtime *rt;
    struct op_ask_lane *next;
    const struct op_lane *lane;
    struct op_work *work; /* whose lists these are */
    struct op_flow flow;
    struct op_ask_list *lists[OP_REALTIME_LISTS];
    size_t list_count;
    int64_t under_way, tokens_under_way; /* with what is to start in this turn */
    bool begins;                         /* the present step wants something asked of it */
    bool is_paused;                      /* the lane is; asked anew in every slice */
    const char *moves_to; /* the provider that is asked instead meanwhile; NULL: none */
    int64_t answered;     /* since the lane was opened */
    int64_t rate_from_ms, rate_from, rate; /* answers a second, lately */
};

struct op_realtime {
    struct op_engine *engine;
    struct op_ask_lane *lanes;
    struct op_calls *calls; /* of all lanes */
    bool own_calls;
    struct op_ask_call **all_calls; /* NULL where there is none */
    size_t call_room;
    struct op_ask_call **started; /* in this turn, not submitted yet */
    size_t started_count;
    size_t ended_now; /* calls handed over by the latest collect */
    bool is_broken;   /* a log could not be written: nothing may be said or sent any more */
    struct op_buf params, line;
};

/* --- realtime_list.c ------------------------------------------------------------------------ */

/* Opens an ACCEPTED batch, or a BUILT one, which is announced and moved. What the log has under way
 * is of unknown outcome. *ret NULL: the batch has ended instead. */
OP_MUST_CHECK enum op_rc op_ask_list_open(struct op_work *work, struct op_batch *batch,
                                          struct op_ask_list **ret, struct op_err *err);
void op_ask_list_close(struct op_ask_list *list);
bool op_ask_list_next(const struct op_ask_list *list, size_t *ret_at);
void op_ask_list_take(struct op_ask_list *list, size_t at);
/* The member may be asked again, and the log says so with its next block. */
void op_ask_list_back(struct op_ask_list *list, size_t at);
void op_ask_list_answer(struct op_ask_list *list, size_t at, struct op_str line);
/* An open one that will never be asked. */
void op_ask_list_withdraw(struct op_ask_list *list, size_t at, struct op_str line);
/* A line of our own: the outcome cannot be known. */
void op_ask_list_doubt(struct op_ask_list *list, size_t at, const char *why,
                       struct op_buf *scratch);
OP_MUST_CHECK enum op_rc op_ask_list_params(struct op_ask_list *list, size_t at,
                                            struct op_buf *ret, struct op_err *err);
void op_ask_custom_id(const struct op_ask_list *list, size_t at,
                      char ret[OP_CUSTOM_ID_MAX + 1]);
/* Every member has a line: the batch has ended. */
OP_MUST_CHECK enum op_rc op_ask_list_end(struct op_ask_list *list, struct op_err *err);

/* --- realtime_reply.c ----------------------------------------------------------------------- */

/* What became of one call: into the list, the log's next block and the window. */
void op_ask_ended(struct op_ask_call *call, enum op_rc rc, const struct op_http_reply *reply,
                  const struct op_err *why);

/* --- realtime.c ----------------------------------------------------------------------------- */

/* Lets what is under way end and keeps it; nothing new starts. */
OP_MUST_CHECK enum op_rc op_realtime_drain(struct op_engine *engine, struct op_err *err);
bool op_realtime_is_asking(const struct op_realtime *rt); /* NULL: no */
void op_realtime_free(struct op_realtime *rt);

#endif
