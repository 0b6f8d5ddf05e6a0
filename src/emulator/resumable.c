/* SPDX-License-Identifier: MIT */
#include "emulator/resumable.h"

#include <pthread.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

struct op_emu_resumables {
    struct op_emu_files *files;
    pthread_mutex_t lock;
    struct op_emu_resumable **rows; /* never freed before the set */
    size_t count, room;
    struct op_map by_id;
};

struct op_emu_resumables *op_emu_resumables_new(struct op_emu_files *files)
{
    struct op_emu_resumables *set = op_mem_alloc(sizeof(*set));
    set->files = files;
    pthread_mutex_init(&set->lock, NULL);
    return set;
}

void op_emu_resumables_free(struct op_emu_resumables *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->count; i++) {
        op_emu_files_abort(&set->rows[i]->receiving);
        op_mem_free(set->rows[i]->name);
        op_mem_free(set->rows[i]->mime);
        op_mem_free(set->rows[i]);
    }
    op_map_release(&set->by_id);
    pthread_mutex_destroy(&set->lock);
    op_mem_free(set->rows);
    op_mem_free(set);
}

enum op_rc op_emu_resumable_begin(struct op_emu_resumables *set, const char *id,
                                  struct op_str name, struct op_str mime, int64_t announced,
                                  struct op_err *err)
{
    struct op_emu_resumable *row = op_mem_alloc(sizeof(*row));
    enum op_rc rc = op_emu_files_receive(set->files, &row->receiving, err);
    if (rc) {
        op_mem_free(row);
        return rc;
    }
    memcpy(row->id, id, strlen(id) + 1);
    row->name = op_mem_strndup(name.ptr ? name.ptr : "", name.len);
    row->mime = op_mem_strndup(mime.ptr ? mime.ptr : "", mime.len);
    row->announced = announced;
    pthread_mutex_lock(&set->lock);
    if (set->count == set->room) {
        set->room = set->room ? 2 * set->room : 16;
        set->rows = op_mem_realloc(set->rows, set->room * sizeof(struct op_emu_resumable *));
    }
    op_map_add(&set->by_id, op_str_from(row->id), (int64_t)set->count, NULL);
    set->rows[set->count++] = row;
    pthread_mutex_unlock(&set->lock);
    return OP_OK;
}

struct op_emu_resumable *op_emu_resumable_take(struct op_emu_resumables *set, struct op_str id)
{
    struct op_emu_resumable *row = NULL;
    int64_t at = 0;
    pthread_mutex_lock(&set->lock);
    if (id.ptr && op_map_get(&set->by_id, id, &at) && !set->rows[at]->lent) {
        row = set->rows[at];
        row->lent = true;
    }
    pthread_mutex_unlock(&set->lock);
    return row;
}

void op_emu_resumable_give(struct op_emu_resumables *set, struct op_emu_resumable *resumable)
{
    pthread_mutex_lock(&set->lock);
    resumable->lent = false;
    pthread_mutex_unlock(&set->lock);
}
