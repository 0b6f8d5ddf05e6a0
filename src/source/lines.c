/* SPDX-License-Identifier: MIT */
#include "base/io.h"
#include "base/mem.h"
#include "source/common.h"
#include "source/source.h"

struct lines_source {
    struct op_source base;
    struct op_lines *lines; /* NULL: an optional file that is not there */
    char *path;
    struct op_value cell;
};

static const struct op_source_option_spec options[] = {
    {"on_error", "fail (default) or skip: what a malformed line does"},
    {"optional", "true: a missing file is an empty table"},
    {NULL, NULL},
};

static const char *const columns[] = {"line"};

static bool guess(const char *target)
{
    (void)target;
    return false;
}

static void close_lines(struct op_source *source)
{
    struct lines_source *self = (struct lines_source *)source;
    op_lines_close(self->lines);
    op_mem_free(self->path);
    op_mem_free(self);
}

static enum op_rc open_lines(const struct op_source_config *config, struct op_source **ret,
                             struct op_err *err)
{
    struct op_lines *lines = NULL;
    enum op_rc rc = op_source_open_lines(config, &lines, err);
    if (rc)
        return rc;
    struct lines_source *self = op_mem_alloc(sizeof(*self));
    self->lines = lines;
    self->path = op_mem_strdup(config->target);
    self->base = (struct op_source){
        .ops = &op_source_lines, .columns = columns, .column_count = OP_COUNT(columns)};
    *ret = &self->base;
    return OP_OK;
}

static enum op_rc next_line(struct op_source *source, const struct op_value **ret_cells,
                            struct op_err *err)
{
    struct lines_source *self = (struct lines_source *)source;
    struct op_line line = {0};
    do {
        enum op_rc rc = self->lines ? op_lines_next(self->lines, &line, err) : OP_NOTFOUND;
        if (rc)
            return rc;
        source->line = line.number;
    } while (!line.oversize && line.len == 0);
    if (line.oversize)
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "%s:%lld: the line has %zu bytes, more than the limit of %d",
                          self->path, (long long)line.number, line.len, OP_SOURCE_MAX_RECORD);
    struct op_str text = {line.ptr, line.len};
    /* A byte order mark is not part of the first line. */
    if (line.offset == 0)
        text = op_str_skip_bom(text);
    self->cell = op_value_text(text);
    *ret_cells = &self->cell;
    return OP_OK;
}

const struct op_source_ops op_source_lines = {
    .kind = "lines",
    .help = "the lines of a text file as they are, in one column, 'line'",
    .fixed = true,
    .options = options,
    .files = true,
    .guess = guess,
    .open = open_lines,
    .next = next_line,
    .close = close_lines,
};
