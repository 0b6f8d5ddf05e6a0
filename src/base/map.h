/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_MAP_H
#define OP_BASE_MAP_H

/*
 * Model:     a hash map from byte strings to a 64-bit value (an id or an index). Keys are copied.
 *            Iteration is in insertion order.
 * Ownership: the struct is the caller's; op_map_release frees it.
 * Threads:   one thread at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct op_map {
    struct op_map_entry *entries; /* insertion order */
    uint32_t *slots;
    size_t count, room, slot_count;
};

struct op_map_entry {
    char *key; /* NUL-terminated copy */
    size_t len;
    uint64_t hash;
    int64_t value;
};

void op_map_release(struct op_map *map); /* also fine on a zeroed struct */
/* Puts key -> value unless present; returns true when it was new. *ret_value (may be NULL) is the
 * value now stored. */
bool op_map_add(struct op_map *map, struct op_str key, int64_t value, int64_t *ret_value);
/* ret_value may be NULL. */
bool op_map_get(const struct op_map *map, struct op_str key, int64_t *ret_value);
void op_map_set(struct op_map *map, struct op_str key, int64_t value);

#endif
