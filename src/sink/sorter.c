/* SPDX-License-Identifier: MIT */
#include "sink/sorter.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"

enum { FIRST_PAIRS = 256, SHOWN_PAIRS = 4096 };

void op_sorter_init(struct op_sorter *s, struct op_env *env, const char *work_dir,
                    const char *name)
{
    *s = (struct op_sorter){.env = env, .runs_fd = -1, .sorted_fd = -1};
    s->runs_path = op_mem_printf("%s/sort-%s.runs", work_dir, name);
    s->sorted_path = op_mem_printf("%s/sort-%s.sorted", work_dir, name);
}

static void drop_file(struct op_sorter *s, int *fd, const char *path)
{
    if (*fd < 0)
        return;
    s->env->ops->close(s->env, *fd);
    s->env->ops->unlink(s->env, path);
    *fd = -1;
}

void op_sorter_release(struct op_sorter *s)
{
    if (!s->env)
        return;
    drop_file(s, &s->runs_fd, s->runs_path);
    drop_file(s, &s->sorted_fd, s->sorted_path);
    op_mem_free(s->runs_path);
    op_mem_free(s->sorted_path);
    op_mem_free(s->pairs);
    op_mem_free(s->spare);
    *s = (struct op_sorter){0};
}

/* Stable radix sort, a byte at a time; a byte that is the same in all keys costs nothing. */
static void sort_pairs(struct op_sorter *s)
{
    size_t counts[8][256];
    memset(counts, 0, sizeof(counts));
    for (size_t i = 0; i < s->used; i++) {
        for (int byte = 0; byte < 8; byte++)
            counts[byte][s->pairs[i].key >> (8 * byte) & 0xff]++;
    }
    for (int byte = 0; byte < 8; byte++) {
        int shift = 8 * byte;
        if (s->used == 0 || counts[byte][s->pairs[0].key >> shift & 0xff] == s->used)
            continue;
        if (!s->spare)
            s->spare = op_mem_array(s->room, sizeof(*s->spare));
        size_t places[256];
        size_t place = 0;
        for (int value = 0; value < 256; value++) {
            places[value] = place;
            place += counts[byte][value];
        }
        for (size_t i = 0; i < s->used; i++)
            s->spare[places[s->pairs[i].key >> shift & 0xff]++] = s->pairs[i];
        struct op_pair *pairs = s->pairs;
        s->pairs = s->spare;
        s->spare = pairs;
    }
}

static enum op_rc create(struct op_sorter *s, const char *path, int *ret, struct op_err *err)
{
    /* A leftover of a killed process is cut to nothing. */
    int fd;
    do {
        fd = s->env->ops->open(s->env, path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    } while (fd == -EINTR);
    if (fd < 0) {
        errno = -fd;
        return op_fail_errno(err, OP_IO, "cannot create the work file %s", path);
    }
    *ret = fd;
    return OP_OK;
}

enum op_rc op_sorter_spill(struct op_sorter *s, struct op_err *err)
{
    if (s->room < OP_SORTER_PAIRS) {
        s->room = s->room ? s->room * 4 : FIRST_PAIRS;
        s->pairs = op_mem_realloc(s->pairs, s->room * sizeof(*s->pairs));
        op_mem_freep(&s->spare);
        return OP_OK;
    }
    enum op_rc rc = s->runs_fd < 0 ? create(s, s->runs_path, &s->runs_fd, err) : OP_OK;
    if (rc)
        return rc;
    sort_pairs(s);
    rc = op_io_write_all(s->env, s->runs_fd, s->pairs, s->used * sizeof(*s->pairs),
                         s->runs_path, err);
    s->used = 0;
    return rc;
}

/* One sorted run of the work file while it is merged: a part of it is in memory. */
struct run {
    struct op_pair *pairs;
    size_t at, used;
    int64_t next, end; /* pairs of the file not yet read */
};

static enum op_rc fill_run(struct op_sorter *s, struct run *run, size_t room,
                           struct op_err *err)
{
    int64_t left = run->end - run->next;
    run->at = 0;
    run->used = left < (int64_t)room ? (size_t)left : room;
    enum op_rc rc =
        op_io_pread_all(s->env, s->runs_fd, run->pairs, run->used * sizeof(struct op_pair),
                        run->next * (int64_t)sizeof(struct op_pair), s->runs_path, err);
    run->next += (int64_t)run->used;
    return rc;
}

/* Earlier runs win ties: that keeps the sort stable. */
static bool before(const struct run *runs, uint32_t a, uint32_t b)
{
    uint64_t ka = runs[a].pairs[runs[a].at].key, kb = runs[b].pairs[runs[b].at].key;
    return ka != kb ? ka < kb : a < b;
}

static void sift_down(const struct run *runs, uint32_t *heap, size_t count, size_t i)
{
    uint32_t moved = heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= count)
            break;
        if (child + 1 < count && before(runs, heap[child + 1], heap[child]))
            child++;
        if (!before(runs, heap[child], moved))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moved;
}

struct merge {
    struct run *runs;
    uint32_t *heap;
    size_t count;
    size_t run_room;
    struct op_pair *out; /* SHOWN_PAIRS */
};

static void merge_release(struct merge *m)
{
    op_mem_free(m->runs);
    op_mem_free(m->heap);
    op_mem_free(m->out);
}

static enum op_rc merge_begin(struct op_sorter *s, struct merge *m, struct op_err *err)
{
    m->count = (size_t)((s->total + OP_SORTER_PAIRS - 1) / OP_SORTER_PAIRS);
    m->runs = op_mem_array(m->count, sizeof(*m->runs));
    m->heap = op_mem_array(m->count, sizeof(*m->heap));
    m->out = op_mem_array(SHOWN_PAIRS, sizeof(*m->out));
    /* The memory that held one run now holds a part of each. */
    size_t room = OP_SORTER_PAIRS / m->count;
    m->run_room = room < 64 ? 64 : room;
    if (m->count * m->run_room > s->room)
        s->pairs = op_mem_realloc(s->pairs, m->count * m->run_room * sizeof(*s->pairs));
    for (size_t i = 0; i < m->count; i++) {
        int64_t begin = (int64_t)i * OP_SORTER_PAIRS;
        int64_t end = begin + OP_SORTER_PAIRS;
        m->runs[i] = (struct run){.pairs = s->pairs + i * m->run_room,
                                  .next = begin,
                                  .end = end < s->total ? end : s->total};
        m->heap[i] = (uint32_t)i;
        enum op_rc rc = fill_run(s, &m->runs[i], m->run_room, err);
        if (rc)
            return rc;
    }
    for (size_t i = m->count / 2; i-- > 0;)
        sift_down(m->runs, m->heap, m->count, i);
    return OP_OK;
}

static enum op_rc merge_runs(struct op_sorter *s, struct merge *m, struct op_err *err)
{
    enum op_rc rc = merge_begin(s, m, err);
    size_t used = 0;
    while (!rc && m->count > 0) {
        struct run *run = &m->runs[m->heap[0]];
        m->out[used++] = run->pairs[run->at++];
        if (run->at == run->used && run->next < run->end)
            rc = fill_run(s, run, m->run_room, err);
        else if (run->at == run->used)
            m->heap[0] = m->heap[--m->count];
        if (m->count > 1)
            sift_down(m->runs, m->heap, m->count, 0);
        if (!rc && (used == SHOWN_PAIRS || m->count == 0)) {
            rc = op_io_write_all(s->env, s->sorted_fd, m->out, used * sizeof(*m->out),
                                 s->sorted_path, err);
            used = 0;
        }
    }
    return rc;
}

enum op_rc op_sorter_sort(struct op_sorter *s, struct op_err *err)
{
    sort_pairs(s);
    op_mem_freep(&s->spare);
    if (s->runs_fd < 0)
        return OP_OK;
    enum op_rc rc = op_io_write_all(s->env, s->runs_fd, s->pairs, s->used * sizeof(*s->pairs),
                                    s->runs_path, err);
    if (!rc)
        rc = create(s, s->sorted_path, &s->sorted_fd, err);
    struct merge m = {0};
    if (!rc)
        rc = merge_runs(s, &m, err);
    merge_release(&m);
    drop_file(s, &s->runs_fd, s->runs_path);
    /* From here on a small part of the sorted file is shown. */
    s->pairs = op_mem_realloc(s->pairs, SHOWN_PAIRS * sizeof(*s->pairs));
    s->used = 0;
    s->shown = 0;
    return rc;
}

enum op_rc op_sorter_load(struct op_sorter *s, int64_t index, struct op_err *err)
{
    int64_t left = s->total - index;
    size_t count = left < SHOWN_PAIRS ? (size_t)left : SHOWN_PAIRS;
    s->used = 0;
    enum op_rc rc = op_io_pread_all(s->env, s->sorted_fd, s->pairs, count * sizeof(*s->pairs),
                                    index * (int64_t)sizeof(*s->pairs), s->sorted_path, err);
    if (rc)
        return rc;
    s->shown = index;
    s->used = count;
    return OP_OK;
}
