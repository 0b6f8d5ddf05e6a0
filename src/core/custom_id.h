/* SPDX-License-Identifier: MIT */
#ifndef OP_CORE_CUSTOM_ID_H
#define OP_CORE_CUSTOM_ID_H

/*
 * Model:     custom_id = <tag6>-<nonce8>-<request id in base 36>, at most 64 characters of
 *            [A-Za-z0-9_-] (Anthropic's rule, valid at every provider). tag6 names the ledger,
 *            nonce8 the batch (40 random bits in base 32), the rest is the request's own ledger id,
 *            so that a result leads to its row without a lookup. It never carries meaning back.
 * Threads:   pure functions.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define OP_LEDGER_TAG_LEN 6
#define OP_NONCE_LEN      8
#define OP_CUSTOM_ID_MAX  64

/* 5 random bytes -> 8 characters of RFC 4648 base 32 in lower case, and NUL. */
void op_nonce_format(const uint8_t random[5], char ret[OP_NONCE_LEN + 1]);

/* Writes the id and NUL; returns its length. */
size_t op_custom_id_format(const char *tag, const char *nonce, int64_t request_id,
                           char ret[OP_CUSTOM_ID_MAX + 1]);

/* True when text is an id of exactly this ledger and batch; *ret_request is set then. */
bool op_custom_id_parse(struct op_str text, const char *tag, const char *nonce,
                        int64_t *ret_request);
/* True when text has the shape; copies tag and nonce (any ledger's, any batch's). */
bool op_custom_id_split(struct op_str text, char ret_tag[OP_LEDGER_TAG_LEN + 1],
                        char ret_nonce[OP_NONCE_LEN + 1], int64_t *ret_request);

#endif
