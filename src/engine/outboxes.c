/* SPDX-License-Identifier: MIT */
#include "engine/outboxes.h"

#include "base/mem.h"

struct op_outbox_file {
    struct op_append file; /* path NULL: not open */
    struct op_outbox row;
    bool added; /* since it was counted */
};

void op_outboxes_init(struct op_outboxes *o, struct op_work *work)
{
    *o = (struct op_outboxes){
        .work = work, .files = op_mem_array(work->def.output_count + 1, sizeof(*o->files))};
}

void op_outboxes_release(struct op_outboxes *o)
{
    for (size_t i = 0; o->files && i < o->work->def.output_count; i++) {
        if (o->files[i].file.path)
            op_append_close(&o->files[i].file);
    }
    op_mem_free(OP_TAKE(o->files));
}

static enum op_rc open_file(struct op_work *work, int output, struct op_outbox_file *file,
                            struct op_err *err)
{
    struct op_engine *engine = work->engine;
    enum op_rc rc = op_ledger_outbox_get(engine->ledger, work->job.id, output, &file->row, err);
    if (rc)
        return rc;
    file->row.job_id = work->job.id;
    file->row.output = output;
    OP_CLEANUP(op_mem_freep) char *name = op_work_outbox(work, output);
    return op_append_open(engine->spool, name, file->row.committed, &file->file, err);
}

enum op_rc op_outboxes_add(struct op_outboxes *o, struct op_buf *frames, const int64_t *rows,
                           struct op_err *err)
{
    for (size_t i = 0; i < o->work->def.output_count; i++) {
        struct op_outbox_file *file = &o->files[i];
        enum op_rc rc = op_buf_finish(&frames[i], "rows", err);
        if (!rc && !frames[i].len)
            continue;
        if (!rc && !file->file.path)
            rc = open_file(o->work, (int)i, file, err);
        if (!rc)
            rc = op_append_add(&file->file, frames[i].ptr, frames[i].len, err);
        if (rc)
            return rc;
        file->row.committed += (int64_t)frames[i].len;
        file->row.rows += rows[i];
        file->added = true;
    }
    return OP_OK;
}

enum op_rc op_outboxes_count(struct op_outboxes *o, struct op_err *err)
{
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < o->work->def.output_count; i++) {
        struct op_outbox_file *file = &o->files[i];
        if (!file->added)
            continue;
        rc = op_append_sync(&file->file, err);
        if (!rc)
            rc = op_ledger_outbox_set(o->work->engine->ledger, &file->row, err);
        file->added = false;
    }
    return rc;
}
