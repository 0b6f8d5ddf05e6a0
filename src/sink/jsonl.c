/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "sink/common.h"
#include "sink/frame.h"
#include "sink/jsonrow.h"
#include "sink/sink.h"
#include "sink/text_file.h"

struct jsonl_sink {
    struct op_text_sink text;
    struct op_jsonrow row;
};

static const struct op_sink_option_spec options[] = {
    {"json_columns", "comma list of columns whose text is JSON: written as the value it is"},
    {"crlf", "true: lines end in CR LF; default: LF"},
    {"sort", "comma list of columns the file is sorted by, numbers by value; up to 64 MiB"},
    {NULL, NULL},
};

static bool guess(const char *target)
{
    static const char *const suffixes[] = {".jsonl", ".ndjson", NULL};
    return op_sink_ends_with(target, suffixes);
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
    struct op_json root;
    enum op_rc rc = op_json_parse(row->parser, record.ptr, record.len, true, &root, err);
    if (rc)
        return rc;
    if (!op_json_is(root, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL, "the line is a JSON %s, not an object",
                       op_json_type_name(op_json_type(root)));
    op_buf_clear(&row->text);
    for (size_t i = 0; i < sink->column_count; i++) {
        row->places[i] = row->text.len;
        row->cells[i] = op_jsonrow_value(op_json_get(root, sink->columns[i]), &row->text);
    }
    for (size_t i = 0; i < sink->column_count; i++) {
        if (row->cells[i].type == OP_VALUE_BLOB)
            row->cells[i].s.ptr = row->text.ptr + row->places[i];
    }
    return op_buf_finish(&row->text, "a line", err);
}

static const struct op_text_format format = {
    .has_header = false,
    .header = header,
    .check_header = check_header,
    .record_len = record_len,
    .read = read_row,
};

static enum op_rc encode(const struct op_sink *base, struct op_str path,
                         const struct op_value *cells, struct op_buf *out, struct op_err *err)
{
    const struct jsonl_sink *sink = (const struct jsonl_sink *)base;
    const struct op_text_sink *text = &sink->text;
    if (!text->per_row_path)
        path = OP_STR_NULL;
    enum op_rc rc = text->per_row_path ? op_sink_check_path(text->root, path, err) : OP_OK;
    struct op_key key;
    if (!rc)
        rc = op_jsonrow_key(&sink->row, cells, text->key, text->key_count, &key, err);
    if (rc)
        return rc;
    size_t start = op_frame_begin(out, path);
    rc = op_jsonrow_write(&sink->row, cells, out, err);
    if (rc) {
        op_frame_cancel(out, start);
        return rc;
    }
    op_buf_addz(out, text->style.crlf ? "\r\n" : "\n");
    return op_frame_end(out, start, path.len, key.hash, err);
}

static void close_jsonl(struct op_sink *base)
{
    struct jsonl_sink *sink = (struct jsonl_sink *)base;
    op_jsonrow_release(&sink->row);
    op_text_release(&sink->text);
    op_mem_free(sink);
}

static void close_jsonlp(struct jsonl_sink **sink)
{
    if (*sink)
        close_jsonl(&(*sink)->text.base);
}

static enum op_rc open_jsonl(const struct op_sink_config *config, struct op_sink **ret,
                             struct op_err *err)
{
    OP_CLEANUP(close_jsonlp) struct jsonl_sink *sink = op_mem_alloc(sizeof(*sink));
    enum op_rc rc = op_text_init(&sink->text, config, &op_sink_jsonl, &format, err);
    if (!rc)
        rc = op_jsonrow_init(&sink->row, config, err);
    if (rc)
        return rc;
    *ret = &OP_TAKE(sink)->text.base;
    return OP_OK;
}

const struct op_sink_ops op_sink_jsonl = {
    .kind = "jsonl",
    .help = "lines of a file, each a JSON object; with 'key' lines are replaced or added",
    .options = options,
    .needs_key = false,
    .guess = guess,
    .open = open_jsonl,
    .encode = encode,
    .deliver = op_text_deliver,
    .close = close_jsonl,
};
