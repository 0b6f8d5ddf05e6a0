/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_ARENA_H
#define OP_BASE_ARENA_H

/*
 * Model:     memory that lives as long as one unit of work (a pipeline definition, an HTTP
 *            request). Nothing is freed alone; reset or release frees all.
 * Ownership: the struct is the caller's; everything handed out belongs to the arena.
 * Threads:   one thread at a time.
 */

#include <stddef.h>

#include "base/str.h"

struct op_arena {
    struct op_arena_block *head;
};

void op_arena_release(struct op_arena *arena); /* also fine on a zeroed struct */
void op_arena_reset(struct op_arena *arena);   /* frees the contents, keeps one block */
void *op_arena_alloc(struct op_arena *arena, size_t size); /* zero-filled, 16-byte aligned */
void *op_arena_array(struct op_arena *arena, size_t count, size_t size);
char *op_arena_strdup(struct op_arena *arena, struct op_str s); /* NUL-terminated copy */
char *op_arena_printf(struct op_arena *arena, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
