/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_CACHE_H
#define OP_EMULATOR_CACHE_H

/*
 * Model:     which prompt prefixes a provider has cached, by hash, with the virtual time at which
 *            each is forgotten unless it is used again. In memory only.
 * Threads:   any.
 */

#include <stdbool.h>
#include <stdint.h>

struct op_emu_cache;

struct op_emu_cache *op_emu_cache_new(void);
void op_emu_cache_free(struct op_emu_cache *cache);

/* True when the prefix was cached at now_us; either way it is now, for ttl_us from now on. */
bool op_emu_cache_use(struct op_emu_cache *cache, uint64_t prefix, int64_t now_us,
                      int64_t ttl_us);

#endif
