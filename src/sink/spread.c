/* SPDX-License-Identifier: MIT */
#include "sink/spread.h"

#include "base/map.h"
#include "base/mem.h"
#include "sink/common.h"
#include "sink/sorter.h"

static enum op_rc collect(struct op_frames *frames, struct op_sorter *sorter,
                          struct op_err *err)
{
    struct op_frame_view view;
    enum op_rc rc;
    while (!(rc = op_frames_next(frames, &view, err))) {
        struct op_key key;
        op_key_begin(&key, NULL);
        op_key_add(&key, 't', view.path.ptr, view.path.len);
        rc = op_sorter_add(sorter, key.hash, (uint64_t)view.offset, err);
        if (rc)
            return rc;
    }
    return rc == OP_NOTFOUND ? op_sorter_sort(sorter, err) : rc;
}

/* The different paths among frames of one hash: nearly always one. */
static enum op_rc read_paths(struct op_frames *frames, struct op_map *paths, struct op_err *err)
{
    struct op_frame_view view;
    enum op_rc rc;
    frames->path = OP_STR_NULL;
    op_frames_rewind(frames);
    while (!(rc = op_frames_next(frames, &view, err)))
        op_map_add(paths, view.path, 0, NULL);
    return rc == OP_NOTFOUND ? OP_OK : rc;
}

static enum op_rc call_group(const struct op_spread *spread, struct op_frames *frames,
                             op_spread_fn fn, void *arg, struct op_err *err)
{
    OP_CLEANUP(op_map_release) struct op_map paths = {0};
    enum op_rc rc = read_paths(frames, &paths, err);
    for (size_t i = 0; !rc && i < paths.count; i++) {
        frames->path = paths.count > 1
                           ? (struct op_str){paths.entries[i].key, paths.entries[i].len}
                           : OP_STR_NULL;
        op_frames_rewind(frames);
        rc = op_sink_check_links(spread->env, spread->root, paths.entries[i].key, err);
        if (!rc)
            rc = fn(arg, paths.entries[i].key, frames, err);
    }
    return rc;
}

enum op_rc op_spread_each(const struct op_spread *spread, const char *outbox, int64_t from,
                          int64_t to, op_spread_fn fn, void *arg, struct op_err *err)
{
    OP_CLEANUP(op_sorter_release) struct op_sorter sorter = {0};
    OP_CLEANUP(op_frames_release) struct op_frames frames = {.window = {.fd = -1}};
    op_sorter_init(&sorter, spread->env, spread->work_dir, spread->name);
    enum op_rc rc = op_frames_open(&frames, spread->env, outbox, from, to, err);
    if (!rc)
        rc = collect(&frames, &sorter, err);
    frames.list = &sorter;
    struct op_pair first = {0}, pair = {0};
    for (int64_t begin = 0, end; !rc && begin < sorter.total; begin = end) {
        rc = op_sorter_get(&sorter, begin, &first, err);
        for (end = begin + 1; !rc && end < sorter.total; end++) {
            rc = op_sorter_get(&sorter, end, &pair, err);
            if (rc || pair.key != first.key)
                break;
        }
        frames.index_begin = begin;
        frames.index_end = end;
        if (!rc)
            rc = call_group(spread, &frames, fn, arg, err);
    }
    return rc;
}
