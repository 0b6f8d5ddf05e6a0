/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include "base/hash.h"
#include "base/io.h"
#include "base/io_file.h"
#include "base/mem.h"

static void writer_forget(struct op_writer *w)
{
    w->fd = -1;
    w->used = 0;
    op_mem_freep(&w->path);
    op_mem_freep(&w->block);
    op_sha256_freep(&w->sha);
}

enum op_rc op_writer_open(struct op_writer *w, struct op_env *env, const char *path, bool hash,
                          struct op_err *err)
{
    int fd = op_io_open_file(env, path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0) {
        *w = (struct op_writer){.fd = -1};
        return op_io_fail_file(err, fd, "create", path);
    }
    *w = (struct op_writer){.env = env,
                            .fd = fd,
                            .path = op_mem_strdup(path),
                            .block = op_mem_alloc(OP_WRITER_BLOCK),
                            .sha = hash ? op_sha256_new() : NULL};
    return OP_OK;
}

/* Written out so far behind the writing, a batch file of 256 MB is nearly on the disk when it is
 * closed; without that its fsync would hold everything up for as long as writing it took. */
#define WRITEBACK_BYTES (8 * 1024 * 1024)

static enum op_rc writer_put(struct op_writer *w, const void *ptr, size_t len,
                             struct op_err *err)
{
    if (w->failed)
        return op_fail(err, OP_IO, "cannot write %s: an earlier write failed", w->path);
    if (w->sha)
        op_sha256_add(w->sha, ptr, len);
    enum op_rc rc = op_io_write_all(w->env, w->fd, ptr, len, w->path, err);
    w->failed = rc != OP_OK;
    w->written += (int64_t)len;
    if (!rc && w->written - w->begun >= WRITEBACK_BYTES) {
        w->env->ops->writeback(w->env, w->fd, w->begun, w->written - w->begun);
        w->begun = w->written;
    }
    return rc;
}

/* Blocks between the caller and the thread that hashes and writes: enough that a pause of the disk
 * does not reach the caller at once. */
#define HAND_BLOCKS 4

struct op_writer_hand {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t turned;
    struct op_writer *writer;
    struct {
        char *block;
        size_t used;
    } full[HAND_BLOCKS]; /* oldest first; the first is being written */
    size_t full_count;
    char *spare[HAND_BLOCKS];
    size_t spare_count;
    bool stop;
    struct op_err err; /* first failure; read while nothing is full */
};

static void *hand_write(void *arg)
{
    struct op_writer_hand *hand = arg;
    pthread_mutex_lock(&hand->lock);
    while (!hand->stop) {
        if (hand->full_count == 0) {
            pthread_cond_wait(&hand->turned, &hand->lock);
            continue;
        }
        char *block = hand->full[0].block;
        size_t used = hand->full[0].used;
        pthread_mutex_unlock(&hand->lock);
        struct op_err err = OP_ERR_INIT;
        enum op_rc rc = writer_put(hand->writer, block, used, &err);
        pthread_mutex_lock(&hand->lock);
        if (rc && !hand->err.rc)
            hand->err = err;
        memmove(hand->full, hand->full + 1, --hand->full_count * sizeof(hand->full[0]));
        hand->spare[hand->spare_count++] = block;
        pthread_cond_broadcast(&hand->turned);
    }
    pthread_mutex_unlock(&hand->lock);
    return NULL;
}

static void hand_free(struct op_writer_hand *hand)
{
    for (size_t i = 0; i < hand->spare_count; i++)
        op_mem_free(hand->spare[i]);
    pthread_mutex_destroy(&hand->lock);
    pthread_cond_destroy(&hand->turned);
    op_mem_free(hand);
}

/* Begun with the first full block, so that a small file never costs a thread. */
static void hand_start(struct op_writer *w)
{
    struct op_writer_hand *hand = op_mem_alloc(sizeof(*hand));
    hand->writer = w;
    while (hand->spare_count < HAND_BLOCKS)
        hand->spare[hand->spare_count++] = op_mem_alloc(OP_WRITER_BLOCK);
    pthread_mutex_init(&hand->lock, NULL);
    pthread_cond_init(&hand->turned, NULL);
    if (pthread_create(&hand->thread, NULL, hand_write, hand) != 0) {
        hand_free(hand);
        w->background = false;
        return;
    }
    w->hand = hand;
}

/* Until at most so many blocks are still to be written. */
static enum op_rc hand_wait(struct op_writer *w, size_t at_most, struct op_err *err)
{
    struct op_writer_hand *hand = w->hand;
    if (!hand)
        return OP_OK;
    pthread_mutex_lock(&hand->lock);
    while (hand->full_count > at_most)
        pthread_cond_wait(&hand->turned, &hand->lock);
    enum op_rc rc = hand->err.rc;
    if (rc)
        *err = hand->err;
    pthread_mutex_unlock(&hand->lock);
    return rc;
}

static void hand_stop(struct op_writer *w)
{
    struct op_writer_hand *hand = w->hand;
    if (!hand)
        return;
    struct op_err ignored = OP_ERR_INIT;
    (void)hand_wait(w, 0, &ignored);
    pthread_mutex_lock(&hand->lock);
    hand->stop = true;
    pthread_cond_broadcast(&hand->turned);
    pthread_mutex_unlock(&hand->lock);
    pthread_join(hand->thread, NULL);
    hand_free(hand);
    w->hand = NULL;
}

static enum op_rc writer_flush(struct op_writer *w, struct op_err *err)
{
    size_t used = w->used;
    w->used = 0;
    if (w->background && !w->hand && used == OP_WRITER_BLOCK)
        hand_start(w);
    if (!w->hand)
        return writer_put(w, w->block, used, err);
    enum op_rc rc = hand_wait(w, HAND_BLOCKS - 1, err);
    if (rc || used == 0)
        return rc;
    struct op_writer_hand *hand = w->hand;
    pthread_mutex_lock(&hand->lock);
    hand->full[hand->full_count].block = w->block;
    hand->full[hand->full_count++].used = used;
    w->block = hand->spare[--hand->spare_count];
    pthread_cond_broadcast(&hand->turned);
    pthread_mutex_unlock(&hand->lock);
    return OP_OK;
}

void op_writer_background(struct op_writer *w)
{
    w->background = true;
}

enum op_rc op_writer_add(struct op_writer *w, const void *ptr, size_t len, struct op_err *err)
{
    const char *at = ptr;
    w->total += (int64_t)len;
    if (len > OP_WRITER_BLOCK - w->used) {
        /* Whole blocks only, so that the file system sees aligned writes; what is larger than a
         * block goes out without a copy. */
        size_t fill = OP_WRITER_BLOCK - w->used;
        if (w->used > 0) {
            memcpy(w->block + w->used, at, fill);
            w->used = OP_WRITER_BLOCK;
            at += fill;
            len -= fill;
            enum op_rc rc = writer_flush(w, err);
            if (rc)
                return rc;
        }
        size_t direct = len - len % OP_WRITER_BLOCK;
        if (direct > 0) {
            enum op_rc rc = hand_wait(w, 0, err);
            if (!rc)
                rc = writer_put(w, at, direct, err);
            if (rc)
                return rc;
            at += direct;
            len -= direct;
        }
    }
    if (len > 0)
        memcpy(w->block + w->used, at, len);
    w->used += len;
    return OP_OK;
}

enum op_rc op_writer_close(struct op_writer *w, bool sync, uint8_t *ret_sha256,
                           struct op_err *err)
{
    uint8_t digest[OP_SHA256_LEN];
    enum op_rc rc = writer_flush(w, err);
    if (!rc)
        rc = hand_wait(w, 0, err);
    hand_stop(w);
    if (!rc && w->sha)
        op_sha256_end(w->sha, digest);
    if (!rc && sync)
        rc = op_io_sync_file(w->env, w->fd, w->path, err);
    int closed = op_io_close_file(w->env, w->fd);
    w->fd = -1;
    if (!rc && closed < 0)
        rc = op_io_fail_file(err, closed, "close", w->path);
    /* After a failure path stays set: op_writer_abort then removes the unfinished file. */
    if (rc)
        return rc;
    if (w->sha && ret_sha256)
        memcpy(ret_sha256, digest, sizeof(digest));
    writer_forget(w);
    return OP_OK;
}

void op_writer_abort(struct op_writer *w)
{
    if (!w->path)
        return;
    hand_stop(w);
    if (w->fd >= 0)
        op_io_close_file(w->env, w->fd);
    w->env->ops->unlink(w->env, w->path);
    writer_forget(w);
}
