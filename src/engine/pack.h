/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_PACK_H
#define OP_ENGINE_PACK_H

/*
 * Model:     puts requests into batch files, in the order they come, and closes a batch when the
 *            next request would pass its count or bytes. A batch is frozen the moment it is closed
 *            (R5): file durable first, then its row, in the caller's transaction (R3). Used by
 *            planning (requests that have no row yet) and by re-packing.
 * Ownership: storage is the caller's; op_packer_abort removes an unfinished file.
 * Errors:    after an error the caller rolls back and aborts.
 * Threads:   the engine's.
 */

#include "engine/work.h"

struct op_packer {
    struct op_work *work;
    const struct op_lane *lane;
    char *model; /* of all its requests; NULL: a batch may hold several models */
    const char *endpoint;
    struct op_batch_framing framing;
    bool open;
    struct op_spool_file *file;
    struct op_batch batch;
    struct op_closing
        *closing; /* the batch before, while its file becomes durable; NULL none */
    int64_t offset;
    int64_t max_requests, max_bytes;
    int64_t max_tokens;        /* estimated ones, so that a batch fits the queue; 0 no bound */
    int64_t batches;           /* closed so far */
    int64_t reserved_microusd; /* of those closed so far */
    struct op_buf custom_id;
    bool amended;                  /* params may differ from what was planned */
    struct op_json_parser *parser; /* of own_limits.c */
    const struct op_price_list *prices;
};

/* For requests of this one's kind. model: of all in a batch; NULL: its provider takes all models
 * and endpoints in one. */
void op_packer_init(struct op_packer *packer, struct op_work *work, int name,
                    const char *model);
void op_packer_release(struct op_packer *packer); /* aborts what is open */

/* The batch must be closed before this request, with so many params bytes and prompt tokens, can go
 * in. */
bool op_packer_is_full(const struct op_packer *packer, int64_t request_id, size_t params_len,
                       int64_t tokens);
/* The bytes of a batch that holds this request alone. */
int64_t op_packer_alone(const struct op_packer *packer, int64_t request_id, size_t params_len);
/* Adds a request of so many prompt tokens; *ret says where its params lie. Begins a batch when none
 * is open. */
OP_MUST_CHECK enum op_rc op_packer_add(struct op_packer *packer, int64_t request_id, int name,
                                       struct op_str params, int64_t tokens,
                                       struct op_payload_ref *ret, struct op_err *err);
/* Freezes the open batch, if any, and adds its row; the caller commits. */
OP_MUST_CHECK enum op_rc op_packer_close(struct op_packer *packer, struct op_err *err);
/* The same a batch behind: nothing waits for the disk. A large file is made durable on a thread of
 * its own while the next batch is filled, and its row is added by the next call of either function.
 * For planning alone: until then requests are in the ledger whose batch is not. */
OP_MUST_CHECK enum op_rc op_packer_close_behind(struct op_packer *packer, struct op_err *err);

/* The model a request asks: as planned, or what a raw line says itself, which then lies in the
 * parser. OP_INVAL when neither tells and the provider has to know. */
OP_MUST_CHECK enum op_rc op_request_model(const struct op_work *work, int name,
                                          struct op_str params, struct op_json_parser *parser,
                                          struct op_str *ret, struct op_err *err);
/* The most of a batch on that lane. */
int64_t op_batch_requests_most(const struct op_plan *plan, const struct op_lane *lane);
int64_t op_batch_bytes_most(const struct op_plan *plan, const struct op_lane *lane);
/* Whether a request of that model and name goes into this packer's batches. */
bool op_packer_takes(const struct op_packer *packer, int name, struct op_str model);

/* What a request may cost at most: its prompt of so many tokens, and max_tokens of answer. False:
 * the price list does not know the model. *ret_price (may be NULL): the row used. */
bool op_request_cost(struct op_work *work, int name, int64_t tokens, bool batch_price,
                     int64_t *ret_microusd, const struct op_price **ret_price);
/* own_limits.c: the same, for params that may name their own model and limit. */
#define OP_MODEL_MAX 128 /* a longer name of a model is none */
bool op_params_cost(struct op_packer *packer, int name, struct op_str params, int64_t tokens,
                    bool batch_price, char ret_model[OP_MODEL_MAX], int64_t *ret_microusd);

#endif
