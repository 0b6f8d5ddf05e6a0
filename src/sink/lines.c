/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "sink/common.h"
#include "sink/text_file.h"

static const struct op_sink_option_spec options[] = {
    {"crlf", "true: lines end in CR LF; default: LF"},
    {NULL, NULL},
};

static bool guess(const char *target)
{
    (void)target;
    return false;
}

static void header(const struct op_text_sink *sink, struct op_buf *out)
{
    (void)sink;
    (void)out;
}

static enum op_rc check_header(const struct op_text_sink *sink, struct op_str record,
                               struct op_err *err)
{
    (void)sink;
    (void)record;
    (void)err;
    return OP_OK;
}

static size_t record_len(struct op_str bytes, bool at_end)
{
    const char *newline = bytes.len ? memchr(bytes.ptr, '\n', bytes.len) : NULL;
    if (newline)
        return (size_t)(newline - bytes.ptr) + 1;
    return at_end ? bytes.len : 0;
}

static enum op_rc read_row(const struct op_text_sink *sink, struct op_str record,
                           struct op_text_row *row, struct op_err *err)
{
    (void)sink;
    (void)err;
    row->cells[0] = op_value_text(record);
    return OP_OK;
}

static const struct op_text_format format = {
    .has_header = false,
    .header = header,
    .check_header = check_header,
    .record_len = record_len,
    .read = read_row,
};

/* Without a key the file is this job's lines, in the order of the outbox. */
static enum op_rc encode(const struct op_sink *base, struct op_str path,
                         const struct op_value *cells, struct op_buf *out, struct op_err *err)
{
    const struct op_text_sink *sink = (const struct op_text_sink *)base;
    enum op_rc rc = sink->per_row_path ? op_sink_check_path(sink->root, path, err) : OP_OK;
    if (rc)
        return rc;
    if (cells[0].type != OP_VALUE_TEXT)
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT, "the line is not text");
    if (cells[0].s.len && memchr(cells[0].s.ptr, '\n', cells[0].s.len))
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT, "the line has a line end in it");
    if (!sink->per_row_path)
        path = OP_STR_NULL;
    size_t start = op_frame_begin(out, path);
    op_buf_add_str(out, cells[0].s);
    op_buf_addz(out, sink->style.crlf ? "\r\n" : "\n");
    return op_frame_end(out, start, path.len, 0, err);
}

static void close_lines(struct op_sink *base)
{
    struct op_text_sink *sink = (struct op_text_sink *)base;
    op_text_release(sink);
    op_mem_free(sink);
}

static enum op_rc open_lines(const struct op_sink_config *config, struct op_sink **ret,
                             struct op_err *err)
{
    if (config->column_count != 1 || config->key_count)
        return op_fail(err, OP_INVAL,
                       "%s: a `lines` output has one column, the line, and no key",
                       config->place);
    struct op_text_sink *sink = op_mem_alloc(sizeof(*sink));
    enum op_rc rc = op_text_init(sink, config, &op_sink_lines, &format, err);
    if (rc) {
        close_lines(&sink->base);
        return rc;
    }
    *ret = &sink->base;
    return OP_OK;
}

const struct op_sink_ops op_sink_lines = {
    .kind = "lines",
    .help =
        "lines of a text file as the one column of the rows has them, written anew by each job",
    .options = options,
    .needs_key = false,
    .guess = guess,
    .open = open_lines,
    .encode = encode,
    .deliver = op_text_deliver,
    .close = close_lines,
};
