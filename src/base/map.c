/* SPDX-License-Identifier: MIT */
#include "base/map.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

enum { FIRST_SLOTS = 16 };

/* slots holds entry index + 1, 0 = free; slot_count is a power of two, at most 3/4 full. */

void op_map_release(struct op_map *map)
{
    for (size_t i = 0; i < map->count; i++)
        op_mem_free(map->entries[i].key);
    op_mem_free(map->entries);
    op_mem_free(map->slots);
    *map = (struct op_map){0};
}

/* The entry of key, or NULL and the free slot where it belongs. */
static struct op_map_entry *find(const struct op_map *map, struct op_str key, uint64_t hash,
                                 size_t *ret_slot)
{
    size_t mask = map->slot_count - 1;
    size_t slot = hash & mask;
    for (; map->slots[slot]; slot = (slot + 1) & mask) {
        struct op_map_entry *entry = &map->entries[map->slots[slot] - 1];
        if (entry->hash == hash && entry->len == key.len &&
            (key.len == 0 || memcmp(entry->key, key.ptr, key.len) == 0))
            return entry;
    }
    *ret_slot = slot;
    return NULL;
}

static void grow(struct op_map *map)
{
    size_t slot_count = map->slot_count ? map->slot_count * 2 : FIRST_SLOTS;
    op_mem_free(map->slots);
    map->slots = op_mem_array(slot_count, sizeof(*map->slots));
    map->slot_count = slot_count;
    for (size_t i = 0; i < map->count; i++) {
        size_t slot = map->entries[i].hash & (slot_count - 1);
        while (map->slots[slot])
            slot = (slot + 1) & (slot_count - 1);
        map->slots[slot] = (uint32_t)i + 1;
    }
    map->room = slot_count / 4 * 3;
    map->entries = op_mem_realloc(map->entries, map->room * sizeof(*map->entries));
}

static struct op_map_entry *put(struct op_map *map, struct op_str key, int64_t value,
                                bool *ret_is_new)
{
    uint64_t hash = op_hash64(key.ptr, key.len);
    size_t slot = 0;
    struct op_map_entry *entry = map->slot_count ? find(map, key, hash, &slot) : NULL;
    *ret_is_new = !entry;
    if (entry)
        return entry;
    if (map->count == map->room) {
        grow(map);
        find(map, key, hash, &slot);
    }
    entry = &map->entries[map->count++];
    *entry = (struct op_map_entry){
        .key = op_mem_strndup(key.ptr, key.len), .len = key.len, .hash = hash, .value = value};
    map->slots[slot] = (uint32_t)map->count;
    return entry;
}

bool op_map_add(struct op_map *map, struct op_str key, int64_t value, int64_t *ret_value)
{
    bool is_new;
    const struct op_map_entry *entry = put(map, key, value, &is_new);
    if (ret_value)
        *ret_value = entry->value;
    return is_new;
}

void op_map_set(struct op_map *map, struct op_str key, int64_t value)
{
    bool is_new;
    put(map, key, value, &is_new)->value = value;
}

bool op_map_get(const struct op_map *map, struct op_str key, int64_t *ret_value)
{
    size_t slot;
    if (!map->slot_count)
        return false;
    const struct op_map_entry *entry = find(map, key, op_hash64(key.ptr, key.len), &slot);
    if (!entry)
        return false;
    if (ret_value)
        *ret_value = entry->value;
    return true;
}
