/* SPDX-License-Identifier: MIT */
#include "sink/text_file.h"

#include "base/io.h"
#include "base/mem.h"
#include "sink/common.h"
#include "sink/spread.h"

enum op_rc op_text_init(struct op_text_sink *sink, const struct op_sink_config *config,
                        const struct op_sink_ops *ops, const struct op_text_format *format,
                        struct op_err *err)
{
    sink->base.ops = ops;
    sink->format = format;
    sink->env = config->env;
    sink->per_row_path = config->per_row_path;
    sink->target = op_mem_strdup(config->target);
    sink->root = op_sink_root_of(config->per_row_path ? config->target : NULL);
    sink->work_dir = op_mem_strdup(config->work_dir ? config->work_dir : ".");
    sink->work_name = op_sink_work_name(config);
    sink->columns = op_sink_names_copy(config);
    sink->column_count = config->column_count;
    enum op_rc rc = op_sink_key_list(config, &sink->key, &sink->key_count, err);
    if (!rc)
        rc = op_sink_column_list(config, "sort", &sink->sort, &sink->sort_count, err);
    if (!rc)
        rc = op_sink_flag(config, "crlf", false, &sink->style.crlf, err);
    return rc;
}

void op_text_release(struct op_text_sink *sink)
{
    op_sink_names_free(sink->columns, sink->column_count);
    op_mem_free(sink->target);
    op_mem_free(sink->root);
    op_mem_free(sink->work_dir);
    op_mem_free(sink->work_name);
    op_mem_free(sink->key);
    op_mem_free(sink->sort);
    op_mem_free(sink->json);
}

void op_text_row_init(struct op_text_row *row, const struct op_text_sink *sink)
{
    *row = (struct op_text_row){0};
    row->cells = op_mem_array(sink->column_count, sizeof(*row->cells));
    row->places = op_mem_array(sink->column_count, sizeof(*row->places));
    op_buf_init(&row->text, 2 * (size_t)OP_FRAME_MAX);
    row->parser = op_json_parser_new();
}

void op_text_row_release(struct op_text_row *row)
{
    op_mem_free(row->cells);
    op_mem_free(row->places);
    op_buf_release(&row->text);
    op_json_parser_free(row->parser);
    *row = (struct op_text_row){0};
}

void op_text_row_key(const struct op_text_sink *sink, const struct op_text_row *row,
                     struct op_key *key, struct op_buf *bytes)
{
    op_key_begin(key, bytes);
    for (size_t i = 0; i < sink->key_count; i++)
        op_key_add_value(key, row->cells[sink->key[i]]);
}

static enum op_rc spread_one(void *arg, const char *path, struct op_frames *frames,
                             struct op_err *err)
{
    return op_text_merge(arg, path, frames, err);
}

static enum op_rc deliver_all(const struct op_text_sink *sink, const char *outbox, int64_t from,
                              int64_t to, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *name = op_mem_printf("%s-paths", sink->work_name);
    if (sink->per_row_path) {
        struct op_spread spread = {sink->env, sink->work_dir, name, sink->root};
        /* The function only reads the sink; its type has room for writers. */
        return op_spread_each(&spread, outbox, from, to, spread_one, (void *)(uintptr_t)sink,
                              err);
    }
    OP_CLEANUP(op_frames_release) struct op_frames frames = {.window = {.fd = -1}};
    enum op_rc rc = OP_OK;
    /* A job without rows may never have made an outbox. */
    if (from < to)
        rc = op_frames_open(&frames, sink->env, outbox, from, to, err);
    return rc ? rc : op_text_merge(sink, sink->target, &frames, err);
}

enum op_rc op_text_deliver(struct op_sink *base, const char *outbox, int64_t from, int64_t to,
                           bool last, int64_t *ret_delivered, struct op_err *err)
{
    const struct op_text_sink *sink = (struct op_text_sink *)base;
    int64_t old = from, begin = from;
    if (!sink->per_row_path && sink->key_count > 0) {
        enum op_rc rc = op_sink_file_size(sink->env, sink->target, &old, err);
        if (rc)
            return rc;
    }
    if (op_sink_should_wait(old, to - from, last)) {
        *ret_delivered = from;
        return OP_OK;
    }
    bool touched = from < to || (last && old == 0 && !sink->per_row_path);
    /* Without a key, or when the file is gone, it is made again from everything there is. */
    if (sink->key_count == 0 || (old == 0 && !sink->per_row_path))
        begin = 0;
    enum op_rc rc = touched ? deliver_all(sink, outbox, begin, to, err) : OP_OK;
    if (rc)
        return rc;
    *ret_delivered = to;
    return OP_OK;
}
