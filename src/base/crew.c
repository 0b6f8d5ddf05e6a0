/* SPDX-License-Identifier: MIT */
#include "base/crew.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"

enum state { EMPTY, TAKEN, FILLED, FAILED };

/* One place in the order. */
struct place {
    enum state state;
    void *item;
};

struct member {
    struct op_crew *crew;
    void *worker;
    pthread_t thread;
};

struct op_crew {
    struct op_crew_plan plan;
    struct member members[OP_CREW_THREADS];
    size_t started;
    pthread_mutex_t lock;
    pthread_cond_t freed, filled;
    void *free[OP_CREW_ITEMS];
    size_t free_count;
    /* Between first and end, by number modulo OP_CREW_ITEMS: there are no more than items. */
    struct place places[OP_CREW_ITEMS];
    size_t first, end;
    bool stop, taken_all;
    struct op_err err; /* of the place that FAILED first in the order */
    size_t failed_at;
};

/* With the lock held. The place of the item taken; NULL: there is nothing left to do. */
static struct place *take(struct op_crew *c)
{
    while (!c->stop && !c->taken_all && c->free_count == 0)
        pthread_cond_wait(&c->freed, &c->lock);
    if (c->stop || c->taken_all)
        return NULL;
    void *item = c->free[c->free_count - 1];
    if (!c->plan.take(c->plan.arg, item)) {
        c->taken_all = true;
        pthread_cond_broadcast(&c->freed);
        pthread_cond_broadcast(&c->filled);
        return NULL;
    }
    c->free_count--;
    struct place *place = &c->places[c->end++ % OP_CREW_ITEMS];
    *place = (struct place){TAKEN, item};
    return place;
}

/* With the lock held. Nothing is taken any more; what comes before the failure still counts. */
static void fail(struct op_crew *c, struct place *place, size_t number, enum op_rc rc,
                 const struct op_err *err)
{
    place->state = FAILED;
    c->taken_all = true;
    if (!c->err.rc || number < c->failed_at) {
        c->err = *err;
        c->err.rc = rc;
        c->failed_at = number;
    }
    pthread_cond_broadcast(&c->freed);
}

static void *work(void *arg)
{
    struct member *me = arg;
    struct op_crew *c = me->crew;
    pthread_mutex_lock(&c->lock);
    for (struct place *place; (place = take(c));) {
        size_t number = c->end - 1;
        pthread_mutex_unlock(&c->lock);
        struct op_err err = OP_ERR_INIT;
        enum op_rc rc = c->plan.fill(me->worker, place->item, &err);
        pthread_mutex_lock(&c->lock);
        place->state = FILLED;
        if (rc)
            fail(c, place, number, rc, &err);
        pthread_cond_signal(&c->filled);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

enum op_rc op_crew_start(const struct op_crew_plan *plan, struct op_crew **ret,
                         struct op_err *err)
{
    assert(plan->item_count > plan->worker_count && plan->item_count <= OP_CREW_ITEMS);
    assert(plan->worker_count > 0 && plan->worker_count <= OP_CREW_THREADS);
    struct op_crew *c = op_mem_alloc(sizeof(*c));
    c->plan = *plan;
    memcpy(c->free, plan->items, plan->item_count * sizeof(*plan->items));
    c->free_count = plan->item_count;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->freed, NULL);
    pthread_cond_init(&c->filled, NULL);
    for (size_t i = 0; i < plan->worker_count; i++) {
        struct member *me = &c->members[i];
        *me = (struct member){.crew = c, .worker = plan->workers[i]};
        if (pthread_create(&me->thread, NULL, work, me) != 0)
            break;
        c->started++;
    }
    if (c->started == 0) {
        op_crew_stop(c);
        return op_fail(err, OP_IO, "cannot start a thread");
    }
    *ret = c;
    return OP_OK;
}

enum op_rc op_crew_next(struct op_crew *c, void **ret_item, struct op_err *err)
{
    pthread_mutex_lock(&c->lock);
    struct place *place = &c->places[c->first % OP_CREW_ITEMS];
    while (place->state != FILLED && place->state != FAILED &&
           !(c->taken_all && c->first == c->end))
        pthread_cond_wait(&c->filled, &c->lock);
    enum op_rc rc = OP_OK;
    if (place->state == FILLED) {
        *ret_item = place->item;
        place->state = EMPTY;
        c->first++;
    } else if (place->state == FAILED) {
        *err = c->err;
        rc = c->err.rc;
    } else {
        rc = OP_NOTFOUND;
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

void op_crew_done(struct op_crew *c, void *item)
{
    pthread_mutex_lock(&c->lock);
    c->free[c->free_count++] = item;
    pthread_cond_signal(&c->freed);
    pthread_mutex_unlock(&c->lock);
}

void op_crew_stop(struct op_crew *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_broadcast(&c->freed);
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < c->started; i++)
        pthread_join(c->members[i].thread, NULL);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->freed);
    pthread_cond_destroy(&c->filled);
    op_mem_free(c);
}
