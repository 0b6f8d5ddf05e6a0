/* SPDX-License-Identifier: MIT */
#ifndef OP_SOURCE_TRANSCRIPT_CACHE_H
#define OP_SOURCE_TRANSCRIPT_CACHE_H

/*
 * Model:     rows of sessions kept in an SQLite file, so that a session whose size and time have not
 *            changed need not be read again. It holds nothing that reading would not give anew:
 *            whatever is wrong with it, it is emptied or left alone and the sessions are read.
 * Ownership: cells found are valid until the next call.
 * Errors:    none.
 * Threads:   one thread at a time.
 */

#include "source/transcript.h"

struct op_transcript_cache;

/* NULL when it cannot be used; every function takes that. */
struct op_transcript_cache *op_transcript_cache_open(const char *path);
/* Keeps what was added. */
void op_transcript_cache_close(struct op_transcript_cache *cache);

/* mtime_ns: the file's time. NULL: not known, or another size or time. */
const struct op_value *op_transcript_cache_find(struct op_transcript_cache *cache,
                                                const char *path, int64_t size,
                                                int64_t mtime_ns);
void op_transcript_cache_add(struct op_transcript_cache *cache, const char *path, int64_t size,
                             int64_t mtime_ns, const struct op_value *cells);
/* Forgets sessions of the folder that were neither found nor added. */
void op_transcript_cache_prune(struct op_transcript_cache *cache, const char *folder);

#endif
