/* SPDX-License-Identifier: MIT */
#include "engine/ahead.h"

#include <pthread.h>

#include "base/mem.h"

/* One being filled, one waiting, one being committed. */
#define SLOTS 3

struct op_ahead {
    struct op_work *work;
    struct op_digest *digest;
    struct op_ordered *lines;
    int64_t part;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t turned;
    struct op_chunk *free[SLOTS];
    size_t free_count;
    struct op_chunk *ready[SLOTS]; /* oldest first */
    size_t ready_count;
    bool stop, ended;
    struct op_err err;
};

static void chunk_clear(const struct op_work *work, struct op_chunk *chunk)
{
    chunk->count = 0;
    chunk->last = false;
    op_buf_clear(&chunk->texts);
    for (size_t i = 0; i < work->def.output_count; i++) {
        op_buf_clear(&chunk->frames[i]);
        chunk->rows[i] = 0;
    }
}

static struct op_chunk *take_free(struct op_ahead *a)
{
    struct op_chunk *chunk = NULL;
    pthread_mutex_lock(&a->lock);
    while (!a->stop && a->free_count == 0)
        pthread_cond_wait(&a->turned, &a->lock);
    if (!a->stop)
        chunk = a->free[--a->free_count];
    pthread_mutex_unlock(&a->lock);
    return chunk;
}

static void *digest_file(void *arg)
{
    struct op_ahead *a = arg;
    for (bool last = false; !last;) {
        struct op_chunk *chunk = take_free(a);
        if (!chunk)
            return NULL;
        chunk_clear(a->work, chunk);
        chunk->part = a->part;
        enum op_rc rc = op_digest_chunk(a->digest, a->lines, chunk, &a->err);
        pthread_mutex_lock(&a->lock);
        last = rc || chunk->last;
        if (rc)
            a->free[a->free_count++] = chunk;
        else
            a->ready[a->ready_count++] = chunk;
        a->ended = last;
        pthread_cond_broadcast(&a->turned);
        pthread_mutex_unlock(&a->lock);
    }
    return NULL;
}

static enum op_rc open_input(struct op_ahead *a, const struct op_batch *batch,
                             const struct op_result_file *file, struct op_err *err)
{
    struct op_engine *engine = a->work->engine;
    OP_CLEANUP(op_mem_freep) char *path = op_spool_path(engine->spool, file->file);
    return op_ordered_open(engine->env, path, op_ledger_tag(engine->ledger), batch->nonce,
                           batch->apply_offset, OP_RESULT_LINE_MAX, &a->lines, err);
}

enum op_rc op_ahead_start(struct op_work *work, const struct op_batch *batch,
                          const struct op_member *members, size_t member_count,
                          const struct op_result_file *file, struct op_ahead **ret,
                          struct op_err *err)
{
    struct op_ahead *a = op_mem_alloc(sizeof(*a));
    a->work = work;
    a->part = file->part;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->turned, NULL);
    for (; a->free_count < SLOTS; a->free_count++)
        a->free[a->free_count] = op_chunk_new(work);
    enum op_rc rc = open_input(a, batch, file, err);
    if (!rc)
        rc = op_digest_open(work, batch, members, member_count, &a->digest, err);
    if (!rc && pthread_create(&a->thread, NULL, digest_file, a) != 0)
        rc = op_fail(err, OP_IO, "cannot start a thread");
    if (rc) {
        a->ended = true;
        a->stop = true;
        a->thread = 0;
        op_ahead_stop(a);
        return rc;
    }
    *ret = a;
    return OP_OK;
}

enum op_rc op_ahead_next(struct op_ahead *a, struct op_chunk **ret, struct op_err *err)
{
    pthread_mutex_lock(&a->lock);
    while (a->ready_count == 0 && !a->ended)
        pthread_cond_wait(&a->turned, &a->lock);
    struct op_chunk *chunk = NULL;
    if (a->ready_count) {
        chunk = a->ready[0];
        memmove(a->ready, a->ready + 1, (a->ready_count - 1) * sizeof(struct op_chunk *));
        a->ready_count--;
    }
    pthread_mutex_unlock(&a->lock);
    if (!chunk) {
        *err = a->err;
        return err->rc ? err->rc : op_fail(err, OP_IO, "the result file ended early");
    }
    *ret = chunk;
    return OP_OK;
}

void op_ahead_done(struct op_ahead *a, struct op_chunk *chunk)
{
    pthread_mutex_lock(&a->lock);
    a->free[a->free_count++] = chunk;
    pthread_cond_broadcast(&a->turned);
    pthread_mutex_unlock(&a->lock);
}

void op_ahead_stop(struct op_ahead *a)
{
    if (!a)
        return;
    if (a->thread) {
        pthread_mutex_lock(&a->lock);
        a->stop = true;
        pthread_cond_broadcast(&a->turned);
        pthread_mutex_unlock(&a->lock);
        pthread_join(a->thread, NULL);
    }
    for (size_t i = 0; i < a->free_count; i++)
        op_chunk_free(a->work, a->free[i]);
    for (size_t i = 0; i < a->ready_count; i++)
        op_chunk_free(a->work, a->ready[i]);
    op_digest_close(a->digest);
    op_ordered_close(a->lines);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->turned);
    op_mem_free(a);
}
