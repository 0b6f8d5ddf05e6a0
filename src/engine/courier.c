/* SPDX-License-Identifier: MIT */
#include "engine/courier.h"

#include <pthread.h>

#include "base/mem.h"

/* From this size on an outbox is prepared beside the applying: none, for now. It gained a tenth of
 * the time and took 7 MiB, with which a run came to 65 MiB and broke the bound of 64 MB (measured
 * with 100,000 results of 2.8 kB; bench/README.md). */
#define LARGE_BYTES INT64_MAX

struct road {
    struct op_sink *sink;
    char *outbox;
    int64_t from; /* delivered */
    int64_t told, done;
};

struct op_courier {
    struct op_work *work;
    enum { IDLE, RUNNING, USELESS } state; /* the engine's */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t turned;
    struct road *roads;
    size_t count;
    bool stop;
};

/* The lock is held. */
static struct road *next_road(struct op_courier *courier)
{
    for (size_t i = 0; i < courier->count; i++) {
        if (courier->roads[i].done < courier->roads[i].told)
            return &courier->roads[i];
    }
    return NULL;
}

static void *carry(void *arg)
{
    struct op_courier *courier = arg;
    pthread_mutex_lock(&courier->lock);
    while (!courier->stop) {
        struct road *road = next_road(courier);
        if (!road) {
            pthread_cond_wait(&courier->turned, &courier->lock);
            continue;
        }
        int64_t to = road->told;
        pthread_mutex_unlock(&courier->lock);
        op_sink_prepare(road->sink, road->outbox, road->from, to);
        pthread_mutex_lock(&courier->lock);
        road->done = to;
    }
    pthread_mutex_unlock(&courier->lock);
    return NULL;
}

static enum op_rc make_roads(struct op_courier *courier, struct op_err *err)
{
    struct op_work *work = courier->work;
    struct op_sqlenv *sql = NULL; /* opens the sinks */
    enum op_rc rc = op_work_sql(work, &sql, err);
    courier->roads = op_mem_array(work->def.output_count + 1, sizeof(*courier->roads));
    for (size_t i = 0; !rc && i < work->def.output_count; i++) {
        struct op_outbox box;
        rc = op_ledger_outbox_get(work->engine->ledger, work->job.id, (int)i, &box, err);
        OP_CLEANUP(op_mem_freep) char *name = op_work_outbox(work, (int)i);
        courier->roads[courier->count++] =
            (struct road){.sink = work->plan->outputs[i].sink,
                          .outbox = op_spool_path(work->engine->spool, name),
                          .from = box.delivered};
    }
    return rc;
}

struct op_courier *op_courier_new(struct op_work *work)
{
    struct op_courier *courier = op_mem_alloc(sizeof(*courier));
    courier->work = work;
    pthread_mutex_init(&courier->lock, NULL);
    pthread_cond_init(&courier->turned, NULL);
    return courier;
}

void op_courier_tell(struct op_courier *courier, int output, int64_t to)
{
    struct op_err ignored = OP_ERR_INIT;
    if (to < LARGE_BYTES || courier->state == USELESS)
        return;
    if (courier->state == IDLE) {
        bool runs = !make_roads(courier, &ignored) &&
                    pthread_create(&courier->thread, NULL, carry, courier) == 0;
        courier->state = runs ? RUNNING : USELESS;
        if (!runs)
            return;
    }
    pthread_mutex_lock(&courier->lock);
    courier->roads[output].told = to;
    pthread_cond_signal(&courier->turned);
    pthread_mutex_unlock(&courier->lock);
}

void op_courier_stop(struct op_courier *courier)
{
    if (!courier)
        return;
    if (courier->state == RUNNING) {
        pthread_mutex_lock(&courier->lock);
        courier->stop = true;
        pthread_cond_signal(&courier->turned);
        pthread_mutex_unlock(&courier->lock);
        pthread_join(courier->thread, NULL);
    }
    for (size_t i = 0; i < courier->count; i++)
        op_mem_free(courier->roads[i].outbox);
    op_mem_free(courier->roads);
    pthread_mutex_destroy(&courier->lock);
    pthread_cond_destroy(&courier->turned);
    op_mem_free(courier);
}
