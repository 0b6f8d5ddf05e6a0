/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { FIRST_BLOCK = 4096, LARGEST_STEP = 256 * 1024, ALIGNMENT = 16 };

struct op_arena_block {
    struct op_arena_block *next;
    size_t used, room;
    _Alignas(ALIGNMENT) char bytes[];
};

/* The bytes beyond used are always zero: fresh from op_mem_alloc, or cleared by a reset. */
static struct op_arena_block *new_block(size_t room)
{
    size_t size;
    if (__builtin_add_overflow(room, sizeof(struct op_arena_block), &size))
        size = SIZE_MAX; /* dies in op_mem */
    struct op_arena_block *block = op_mem_alloc(size);
    block->room = room;
    return block;
}

void op_arena_release(struct op_arena *arena)
{
    while (arena->head) {
        struct op_arena_block *block = arena->head;
        arena->head = block->next;
        op_mem_free(block);
    }
}

void op_arena_reset(struct op_arena *arena)
{
    struct op_arena_block *kept = OP_TAKE(arena->head);
    if (!kept)
        return;
    arena->head = OP_TAKE(kept->next);
    op_arena_release(arena);
    memset(kept->bytes, 0, kept->used);
    kept->used = 0;
    arena->head = kept;
}

void *op_arena_alloc(struct op_arena *arena, size_t size)
{
    size_t need = size > SIZE_MAX - ALIGNMENT ? SIZE_MAX : (size + ALIGNMENT - 1) & ~(size_t)15;
    struct op_arena_block *head = arena->head;
    if (head && need <= head->room - head->used) {
        void *ptr = head->bytes + head->used;
        head->used += need;
        return ptr;
    }
    size_t step = head ? head->room * 2 : FIRST_BLOCK;
    if (step > LARGEST_STEP)
        step = LARGEST_STEP;
    /* A large object gets a block of its own behind the head, whose room stays in use. */
    bool alone = head && need > step / 4;
    struct op_arena_block *block = new_block(alone || need > step ? need : step);
    block->used = need;
    struct op_arena_block **place = alone ? &head->next : &arena->head;
    block->next = *place;
    *place = block;
    return block->bytes;
}

void *op_arena_array(struct op_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        bytes = SIZE_MAX; /* dies in op_mem */
    return op_arena_alloc(arena, bytes);
}

char *op_arena_strdup(struct op_arena *arena, struct op_str s)
{
    char *copy = op_arena_alloc(arena, s.len + 1);
    if (s.len > 0)
        memcpy(copy, s.ptr, s.len);
    return copy;
}

char *op_arena_printf(struct op_arena *arena, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *text = op_arena_alloc(arena, len > 0 ? (size_t)len + 1 : 1);
    if (len > 0)
        vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    return text;
}
