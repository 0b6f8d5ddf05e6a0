/* SPDX-License-Identifier: MIT */
#include "emulator/cache.h"

#include <pthread.h>

#include "base/map.h"
#include "base/mem.h"

/* Beyond this the cache starts anew: nobody is promised a hit. */
#define CACHE_ENTRIES_MAX 200000

struct op_emu_cache {
    pthread_mutex_t lock;
    struct op_map until; /* prefix -> virtual time */
};

struct op_emu_cache *op_emu_cache_new(void)
{
    struct op_emu_cache *cache = op_mem_alloc(sizeof(*cache));
    pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

void op_emu_cache_free(struct op_emu_cache *cache)
{
    if (!cache)
        return;
    op_map_release(&cache->until);
    pthread_mutex_destroy(&cache->lock);
    op_mem_free(cache);
}

bool op_emu_cache_use(struct op_emu_cache *cache, uint64_t prefix, int64_t now_us,
                      int64_t ttl_us)
{
    struct op_str key = {(const char *)&prefix, sizeof(prefix)};
    int64_t until = 0;
    pthread_mutex_lock(&cache->lock);
    if (cache->until.count > CACHE_ENTRIES_MAX)
        op_map_release(&cache->until);
    bool hit = op_map_get(&cache->until, key, &until) && until >= now_us;
    op_map_set(&cache->until, key, now_us + ttl_us);
    pthread_mutex_unlock(&cache->lock);
    return hit;
}
