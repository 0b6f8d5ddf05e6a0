/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_HASH_H
#define OP_BASE_HASH_H

/*
 * Model:     SHA-256 (OpenSSL) where bytes are frozen or compared across time; a fast 64-bit hash
 *            for tables in memory only, never stored.
 * Threads:   a struct op_sha256 belongs to one thread at a time.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define OP_SHA256_LEN 32
#define OP_SHA256_HEX 65 /* with NUL */

struct op_sha256; /* streaming state */

struct op_sha256 *op_sha256_new(void);
void op_sha256_free(struct op_sha256 *sha);
void op_sha256_freep(struct op_sha256 **sha);
void op_sha256_reset(struct op_sha256 *sha);
void op_sha256_add(struct op_sha256 *sha, const void *ptr, size_t len);
/* Writes the digest; the state must be reset before it is used again. */
void op_sha256_end(struct op_sha256 *sha, uint8_t ret[OP_SHA256_LEN]);

void op_sha256(const void *ptr, size_t len, uint8_t ret[OP_SHA256_LEN]);
void op_hex(const uint8_t *bytes, size_t len, char *ret); /* 2*len characters and NUL */
void op_sha256_hex(const void *ptr, size_t len, char ret[OP_SHA256_HEX]);

uint64_t op_hash64(const void *ptr, size_t len);

#endif
