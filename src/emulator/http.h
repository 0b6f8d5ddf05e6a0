/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_HTTP_H
#define OP_EMULATOR_HTTP_H

/*
 * Model:     one HTTP request and the answer that is being made for it. A route fills call->reply;
 *            sending, dropping and cutting are done by http.c, as the fault rules demand.
 * Ownership: a call belongs to its connection; texts made with its arena live as long as it.
 * Threads:   the connection's.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "emulator/faults.h"
#include "emulator/store.h"

struct MHD_Connection;
struct op_emu_api;
struct op_emu_route;
struct op_emulator;

#define OP_EMU_HEADERS_MAX 24

struct op_emu_reply {
    int status; /* 0: none yet */
    const char *content_type;
    struct op_buf body;
    char *file; /* op_mem: the body is the first file_len bytes of this file instead */
    int64_t file_len;
    const char *header_names[OP_EMU_HEADERS_MAX], *header_values[OP_EMU_HEADERS_MAX];
    size_t header_count;
    bool drop; /* close the socket instead of answering */
    bool reset;
};

/* What a call parses at the same time. */
enum op_emu_parser { OP_EMU_PARSE_BODY, OP_EMU_PARSE_META, OP_EMU_PARSER_COUNT };

struct op_emu_call {
    struct op_emulator *emulator;
    struct MHD_Connection *connection;
    const struct op_emu_api *api;
    const struct op_emu_route *route;
    struct op_arena arena;
    const char *method;
    struct op_str prefix; /* "/anthropic" when the client dialled that, else empty */
    struct op_str path;   /* after the prefix */
    struct op_str id;     /* the {} of the route's path */
    struct op_buf body;
    int64_t body_len; /* received, whether kept or not */
    bool too_large;
    void *state; /* the route's own, see op_emu_route.begin */
    struct op_json_parser *parsers[OP_EMU_PARSER_COUNT]; /* see op_emu_call_parser */
    char request_id[OP_EMU_ID_MAX];
    struct op_emu_fired fired;
    struct op_emu_reply reply;
};

/* ptr NULL when the client did not send it. */
struct op_str op_emu_call_header(const struct op_emu_call *call, const char *name);
struct op_str op_emu_call_query(const struct op_emu_call *call, const char *name);
/* "http://HOST" as the client dialled it, with the prefix. */
const char *op_emu_call_base(struct op_emu_call *call);

/* A parser for the life of the call. They are lent, because a fresh one costs more than a small
 * request. */
struct op_json_parser *op_emu_call_parser(struct op_emu_call *call, enum op_emu_parser which);
/* The body as JSON; false when it is none. */
bool op_emu_call_json(struct op_emu_call *call, struct op_json *ret, struct op_err *err);
void op_emu_call_give_back(struct op_emu_call *call);

/* Adds a header; replaces one of that name. value is copied. */
void op_emu_reply_header(struct op_emu_call *call, const char *name, const char *value);
void op_emu_reply_remove_header(struct op_emu_call *call, const char *name);
/* Sets the status, and empties the body for a new one. */
void op_emu_reply_begin(struct op_emu_call *call, int status, const char *content_type);

/* The fault rules of this call: before true may answer (or drop) the call and then returns true.
 * after is applied to the reply that is there. */
bool op_emu_call_before(struct op_emu_call *call);
void op_emu_call_after(struct op_emu_call *call);

/* Hands the reply to libmicrohttpd; false: the connection is to be closed. */
bool op_emu_call_send(struct op_emu_call *call);

#endif
