/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic int64_t live;

static void count(int64_t change)
{
    atomic_fetch_add_explicit(&live, change, memory_order_relaxed);
}

/* stdio may want memory to print, so the line goes out by write(). */
static _Noreturn void die(size_t size)
{
    char line[96];
    int len =
        snprintf(line, sizeof(line),
                 "offpeak: out of memory (%zu bytes wanted); run it again to resume\n", size);
    if (len > 0 && write(STDERR_FILENO, line, (size_t)len) < 0)
        _exit(1);
    _exit(1);
}

void *op_mem_alloc(size_t size)
{
    void *ptr = calloc(1, size ? size : 1);
    if (!ptr)
        die(size);
    count(1);
    return ptr;
}

void *op_mem_array(size_t count_, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count_, size, &bytes))
        die(SIZE_MAX);
    return op_mem_alloc(bytes);
}

void *op_mem_realloc(void *ptr, size_t size)
{
    void *moved = realloc(ptr, size ? size : 1);
    if (!moved)
        die(size);
    if (!ptr)
        count(1);
    return moved;
}

void op_mem_free(void *ptr)
{
    if (!ptr)
        return;
    free(ptr);
    count(-1);
}

void op_mem_freep(void *p)
{
    /* p is the address of some pointer type; memcpy reads it without breaking aliasing. */
    void *ptr;
    memcpy(&ptr, p, sizeof(ptr));
    op_mem_free(ptr);
    ptr = NULL;
    memcpy(p, &ptr, sizeof(ptr));
}

char *op_mem_strdup(const char *text)
{
    return text ? op_mem_strndup(text, strlen(text)) : NULL;
}

char *op_mem_strndup(const char *ptr, size_t len)
{
    size_t size;
    if (__builtin_add_overflow(len, (size_t)1, &size))
        die(SIZE_MAX);
    char *copy = op_mem_realloc(NULL, size);
    if (len > 0)
        memcpy(copy, ptr, len);
    copy[len] = '\0';
    return copy;
}

char *op_mem_printf(const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (len < 0)
        die(0);
    char *text = op_mem_realloc(NULL, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    return text;
}

int64_t op_mem_live(void)
{
    return atomic_load_explicit(&live, memory_order_relaxed);
}
