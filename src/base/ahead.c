/* SPDX-License-Identifier: MIT */
#include "base/ahead.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"

struct op_ahead {
    op_ahead_fill_fn fill;
    void *arg;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t turned;
    void *free[OP_AHEAD_ITEMS];
    size_t free_count;
    void *ready[OP_AHEAD_ITEMS]; /* oldest first */
    size_t ready_count;
    bool stop, ended;
    struct op_err err;
};

static void *take_free(struct op_ahead *a)
{
    void *item = NULL;
    pthread_mutex_lock(&a->lock);
    while (!a->stop && a->free_count == 0)
        pthread_cond_wait(&a->turned, &a->lock);
    if (!a->stop)
        item = a->free[--a->free_count];
    pthread_mutex_unlock(&a->lock);
    return item;
}

static void *fill_items(void *arg)
{
    struct op_ahead *a = arg;
    for (bool last = false; !last;) {
        void *item = take_free(a);
        if (!item)
            break;
        struct op_err err = OP_ERR_INIT;
        enum op_rc rc = a->fill(a->arg, item, &last, &err);
        pthread_mutex_lock(&a->lock);
        last = last || rc;
        if (rc) {
            a->free[a->free_count++] = item;
            a->err = err;
            a->err.rc = rc;
        } else {
            a->ready[a->ready_count++] = item;
        }
        a->ended = last;
        pthread_cond_broadcast(&a->turned);
        pthread_mutex_unlock(&a->lock);
    }
    return NULL;
}

enum op_rc op_ahead_start(void *const *items, size_t count, op_ahead_fill_fn fill, void *arg,
                          struct op_ahead **ret, struct op_err *err)
{
    assert(count >= 2 && count <= OP_AHEAD_ITEMS);
    struct op_ahead *a = op_mem_alloc(sizeof(*a));
    a->fill = fill;
    a->arg = arg;
    memcpy(a->free, items, count * sizeof(*items));
    a->free_count = count;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->turned, NULL);
    if (pthread_create(&a->thread, NULL, fill_items, a) != 0) {
        op_mem_free(a);
        return op_fail(err, OP_IO, "cannot start a thread");
    }
    *ret = a;
    return OP_OK;
}

enum op_rc op_ahead_next(struct op_ahead *a, void **ret_item, bool *ret_last,
                         struct op_err *err)
{
    void *item = NULL;
    pthread_mutex_lock(&a->lock);
    while (a->ready_count == 0 && !a->ended)
        pthread_cond_wait(&a->turned, &a->lock);
    if (a->ready_count) {
        item = a->ready[0];
        memmove(a->ready, a->ready + 1, --a->ready_count * sizeof(*a->ready));
    }
    *ret_last = a->ended && a->ready_count == 0 && !a->err.rc;
    pthread_mutex_unlock(&a->lock);
    if (item) {
        *ret_item = item;
        return OP_OK;
    }
    *err = a->err;
    return err->rc;
}

void op_ahead_done(struct op_ahead *a, void *item)
{
    pthread_mutex_lock(&a->lock);
    a->free[a->free_count++] = item;
    pthread_cond_broadcast(&a->turned);
    pthread_mutex_unlock(&a->lock);
}

void op_ahead_stop(struct op_ahead *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_broadcast(&a->turned);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->turned);
    op_mem_free(a);
}
