/* SPDX-License-Identifier: MIT */
#include "engine/late.h"

#include "base/mem.h"

struct search {
    struct op_work *work;
    struct op_digest *digest;
    const struct op_member *members;
    size_t count;
    struct op_late *found;
};

static struct op_late *place_of(const struct search *s, int64_t request_id)
{
    size_t lo = 0, hi = s->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->members[mid].request_id < request_id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->count && s->members[lo].request_id == request_id ? &s->found[lo] : NULL;
}

static void take(struct search *s, int64_t part, const struct op_line *line)
{
    int64_t id = 0;
    enum op_result_class class_ = OP_RESULT_ABSENT;
    if (!op_digest_late_class(s->digest, line, &id, &class_))
        return;
    struct op_late *place = place_of(s, id);
    bool better = place && (place->part < 0 || (class_ == OP_RESULT_ERRORED &&
                                                place->class_ != OP_RESULT_ERRORED));
    if (better)
        *place = (struct op_late){part, line->offset, (int64_t)line->len, class_};
}

static enum op_rc search_file(struct search *s, const struct op_result_file *file,
                              struct op_err *err)
{
    struct op_engine *engine = s->work->engine;
    OP_CLEANUP(op_mem_freep) char *path = op_spool_path(engine->spool, file->file);
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    struct op_err opening = OP_ERR_INIT;
    enum op_rc rc = op_lines_open(engine->env, path, 0, OP_RESULT_LINE_MAX, &lines, &opening);
    if (rc == OP_NOTFOUND)
        return OP_OK;
    if (rc)
        *err = opening;
    while (!rc) {
        struct op_line line;
        rc = op_lines_next(lines, &line, err);
        if (!rc)
            take(s, file->part, &line);
    }
    return rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
}

enum op_rc op_late_find(struct op_work *work, const struct op_batch *batch,
                        struct op_digest *digest, const struct op_member *members, size_t count,
                        struct op_late **ret, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) struct op_late *found = op_mem_array(count + 1, sizeof(*found));
    for (size_t i = 0; i < count; i++)
        found[i].part = -1;
    struct search s = {work, digest, members, count, found};
    enum op_rc rc = OP_OK;
    for (int64_t part = 0; !rc && count; part++) {
        struct op_result_file file = {0};
        rc = op_ledger_result_file_get(work->engine->ledger, batch->id, part, &file, err);
        if (rc == OP_NOTFOUND) {
            op_err_clear(err);
            rc = OP_OK;
            break;
        }
        if (!rc)
            rc = search_file(&s, &file, err);
        op_result_file_release(&file);
    }
    if (!rc)
        *ret = OP_TAKE(found);
    return rc;
}
