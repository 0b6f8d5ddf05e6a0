/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_MEM_H
#define OP_BASE_MEM_H

/*
 * Model:     the only door to the heap. The program is crash-only: a failed allocation ends the
 *            process with one line, because a kill at any instruction is survivable by design.
 *            So nothing here returns NULL and nobody checks for it.
 * Ownership: a name either owns its object or is NULL. Owning locals carry OP_CLEANUP; handing
 *            over is OP_TAKE and nothing else.
 * Threads:   all functions may be called from any thread.
 */

#include <stddef.h>
#include <stdint.h>

void *op_mem_alloc(size_t size);                   /* zero-filled */
void *op_mem_array(size_t count, size_t size);     /* zero-filled; dies on overflow */
void *op_mem_realloc(void *ptr, size_t size);      /* new bytes are not cleared */
void op_mem_free(void *ptr);                       /* NULL is fine */
char *op_mem_strdup(const char *text);             /* NULL stays NULL */
char *op_mem_strndup(const char *ptr, size_t len); /* always NUL-terminated */
char *op_mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Number of live blocks, for tests that demand none is left. */
int64_t op_mem_live(void);

/* Cleanup attribute helper: frees a char* (or any op_mem block) held in *p and nulls it. */
void op_mem_freep(void *p);

#define OP_CLEANUP(fn) __attribute__((cleanup(fn)))
#define OP_TAKE(ptr)                       \
    __extension__({                        \
        __typeof__(ptr) op_taken_ = (ptr); \
        (ptr) = NULL;                      \
        op_taken_;                         \
    })

#define OP_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
