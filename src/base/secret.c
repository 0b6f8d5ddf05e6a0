/* SPDX-License-Identifier: MIT */
#include "base/secret.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct page {
    struct page *next;
    size_t size; /* of the mapping */
    size_t len;
    char text[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct page *pages;

static void wipe(void) __attribute__((destructor));

static void wipe(void)
{
    for (struct page *page = pages; page; page = page->next)
        explicit_bzero(page->text, page->len);
}

static struct page *new_page(size_t len)
{
    size_t unit = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = (sizeof(struct page) + len + 1 + unit - 1) / unit * unit;
    struct page *page =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        abort();             /* out of memory, as in base/mem.h: the program is crash-only */
    (void)mlock(page, size); /* a small RLIMIT_MEMLOCK is no reason not to work */
    (void)madvise(page, size, MADV_DONTDUMP);
    page->size = size;
    page->len = len;
    return page;
}

const char *op_secret_keep(struct op_str secret)
{
    pthread_mutex_lock(&lock);
    struct page *page = pages;
    while (page && (page->len != secret.len || memcmp(page->text, secret.ptr, secret.len) != 0))
        page = page->next;
    if (!page) {
        page = new_page(secret.len);
        memcpy(page->text, secret.ptr, secret.len);
        page->next = pages;
        pages = page;
    }
    pthread_mutex_unlock(&lock);
    return page->text;
}

const char *op_secret_take_env(const char *name)
{
    char *value = getenv(name);
    if (!value || !value[0])
        return NULL;
    const char *kept = op_secret_keep(op_str_from(value));
    /* In place, since the kernel shows these very bytes as /proc/PID/environ. */
    explicit_bzero(value, strlen(value));
    return kept;
}
