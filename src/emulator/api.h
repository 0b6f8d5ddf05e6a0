/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_API_H
#define OP_EMULATOR_API_H

/*
 * Model:     what one provider brings: a table of routes, and a function that turns one request of
 *            a batch into its result line. Everything else (store, bill, clock, faults, answers,
 *            HTTP) is the same for all.
 *            A path may begin with /NAME of the provider; without it, the first provider whose
 *            routes match and that claims the call takes it.
 * Threads:   routes run on the connection's thread, line on the processing thread.
 */

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/json.h"
#include "emulator/faults.h"
#include "emulator/http.h"
#include "emulator/store.h"

struct op_emu_route {
    const char *method;
    /* "/v1/messages/batches/{}": {} is one segment (up to what follows it in the pattern), handed
     * over as call->id; a * is any run of characters without a slash. */
    const char *path;
    const char *query; /* a parameter that must be there; NULL: none */
    enum op_emu_operation on;
    void (*handle)(struct op_emu_call *call); /* the whole body has arrived */
    /* A body that is streamed: begin once, add for each piece, release always. NULL: the body is
     * collected in call->body. */
    void (*begin)(struct op_emu_call *call);
    void (*add)(struct op_emu_call *call, const char *ptr, size_t len);
    void (*release)(struct op_emu_call *call);
    size_t body_max;
};

/* One request of a batch that has come to its end. */
struct op_emu_line {
    struct op_emulator *emulator;
    const struct op_emu_batch *batch;
    struct op_json request; /* as uploaded */
    struct op_str text;     /* its JSON text */
    const struct op_emu_fired *fired;
    struct op_arena *arena; /* reset after each line */
    int64_t number;         /* of the request in its batch, from 0 */
    bool rename_id, null_id;

    /* In: what is to become of it; out: what did (a request to be processed may be errored). */
    enum op_emu_outcome outcome;
    /* Out: */
    struct op_str custom_id; /* the true one */
    struct op_str model;
    struct op_emu_usage usage;
    int64_t thinking; /* tokens of usage.output */
    char hash[OP_SHA256_HEX];
    char answer[OP_SHA256_HEX]; /* "" without an answer */
    bool for_errors;            /* the line belongs into the file of errors */
    struct op_buf *out;         /* the result line, without a newline, is appended */
};

/* The files that hold the results of a batch: bytes and lines of each. */
struct op_emu_output {
    int64_t result_bytes, result_lines;
    int64_t error_bytes, error_lines;
};

struct op_emu_api {
    const char *name;
    const struct op_emu_route *routes;
    size_t route_count;
    bool (*claims)(const struct op_emu_call *call);
    /* Checks credentials and versions; false when it has answered. */
    bool (*admit)(struct op_emu_call *call);
    /* Answers with an error in the provider's form. type NULL: the one that belongs to status. */
    void (*error)(struct op_emu_call *call, int status, const char *type, const char *message);
    void (*spend_cap)(struct op_emu_call *call);
    /* 429; seconds below 0: without a word of when. */
    void (*rate_limit)(struct op_emu_call *call, int64_t seconds);
    void (*decorate)(struct op_emu_call *call); /* headers of every answer */
    /* Only custom_id, for fault rules that match it. */
    struct op_str (*custom_id)(struct op_json request);
    void (*line)(struct op_emu_line *line);
    /* The results are in place, the batch has not ended yet: makes their files known. May come
     * again after a kill. */
    enum op_rc (*place)(struct op_emulator *emulator, const struct op_emu_batch *batch,
                        const struct op_emu_output *output, struct op_err *err);
    bool in_order;      /* results come in the order of the requests */
    bool last_newline;  /* the last result line ends in a newline */
    bool keeps_errors;  /* lines with for_errors set go to a file of their own */
    bool expires_whole; /* a batch that expires has no results at all */
};

extern const struct op_emu_api op_emu_anthropic, op_emu_openai, op_emu_gemini, op_emu_mistral;

/* place of a provider whose results are no files of their own. */
enum op_rc op_emu_place_nothing(struct op_emulator *emulator, const struct op_emu_batch *batch,
                                const struct op_emu_output *output, struct op_err *err);

/* All of them, NULL-terminated. */
extern const struct op_emu_api *const op_emu_apis[];

#endif
