/* SPDX-License-Identifier: MIT */
#ifndef OP_CRASH_WIRE_H
#define OP_CRASH_WIRE_H

/*
 * Model:     the network between a program under test and the harness, which plays the providers with
 *            the emulator's own code. wire.c is the program's end: it stands in for libcurl (net/http.h)
 *            and passes a fault point at each stage of an exchange. provider.c is the other end: it
 *            stands in for libmicrohttpd. Between them a socket, a request and an answer at a time.
 * Ownership: a wire_reply owns its blocks (wire_reply_release).
 * Errors:    a broken socket ends the process: one side has died.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_message { WIRE_HTTP = 'H', WIRE_COMPETE = 'C' };

/* From the program: this head, then size bytes: for HTTP method, URL, the headers as "Name: value\n",
 * each ending in NUL, and the body. */
struct wire_head {
    int32_t message;
    int32_t arg;
    int64_t size;
};

/* Back. */
struct wire_answer {
    int32_t status; /* 0: the connection was closed without an answer */
    int32_t cut;    /* the body ends before its announced length */
    int64_t head_size, body_size, announced;
};

void wire_send(int fd, const void *ptr, size_t len);
/* False: the other side is gone. */
bool wire_receive(int fd, void *ptr, size_t len);

/* ---- the harness's end ---- */

struct provider_setting {
    const char *dir;    /* the emulator's */
    const char *faults; /* JSONL; NULL none */
    uint64_t seed;
};
void provider_open(const struct provider_setting *setting);
void provider_close(void);
/* Answers one request that has been announced on fd. */
void provider_answer(int fd, const struct wire_head *head);
/* Ends the batches whose time has come. */
void provider_pass_time(void);

#endif
