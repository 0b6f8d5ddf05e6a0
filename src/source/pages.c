/* SPDX-License-Identifier: MIT */

/*
 * A Markdown document with page markers, as converters of PDF files write it: a line `{12}-----`
 * begins page 12. One page is in memory.
 */
#include "base/io.h"
#include "base/mem.h"
#include "source/common.h"
#include "source/source.h"

struct pages_source {
    struct op_source base;
    struct op_lines *lines; /* NULL: an optional file that is not there */
    char *path;
    struct op_buf text; /* of the page being read */
    bool marked;        /* a marker has been seen */
    bool oversize;      /* the page is longer than a record may be */
    bool end;
    int64_t page, page_line; /* of the page being read */
    struct op_value cells[3];
};

static const struct op_source_option_spec options[] = {
    {"on_error", "fail (default) or skip: what a page that is too long or no UTF-8 does"},
    {"optional", "true: a missing file is an empty table"},
    {NULL, NULL},
};

static const char *const columns[] = {"page", "text", "marked"};

static bool guess(const char *target)
{
    (void)target;
    return false;
}

static void close_pages(struct op_source *source)
{
    struct pages_source *self = (struct pages_source *)source;
    op_lines_close(self->lines);
    op_buf_release(&self->text);
    op_mem_free(self->path);
    op_mem_free(self);
}

static enum op_rc open_pages(const struct op_source_config *config, struct op_source **ret,
                             struct op_err *err)
{
    struct op_lines *lines = NULL;
    enum op_rc rc = op_source_open_lines(config, &lines, err);
    if (rc)
        return rc;
    struct pages_source *self = op_mem_alloc(sizeof(*self));
    self->lines = lines;
    self->end = !lines;
    self->page_line = 1;
    self->path = op_mem_strdup(config->target);
    op_buf_init(&self->text, OP_SOURCE_MAX_RECORD);
    self->base = (struct op_source){
        .ops = &op_source_pages, .columns = columns, .column_count = OP_COUNT(columns)};
    *ret = &self->base;
    return OP_OK;
}

/* {N} and dashes, then nothing but white space. */
static bool read_marker(struct op_str line, int64_t *ret)
{
    if (!op_str_starts(line, "{"))
        return false;
    struct op_str rest = {line.ptr + 1, line.len - 1};
    struct op_str number = op_str_cut(&rest, '}');
    if (!rest.ptr || number.len == 0 || number.ptr[0] < '0' || number.ptr[0] > '9')
        return false;
    size_t dashes = 0;
    while (dashes < rest.len && rest.ptr[dashes] == '-')
        dashes++;
    rest = (struct op_str){rest.ptr + dashes, rest.len - dashes};
    return dashes > 0 && op_str_trim(rest).len == 0 && op_str_int64(number, ret);
}

static void add_line(struct pages_source *self, struct op_str line)
{
    if (self->text.len + line.len + 1 >= OP_SOURCE_MAX_RECORD) {
        self->oversize = true;
        return;
    }
    op_buf_add_str(&self->text, line);
    op_buf_addc(&self->text, '\n');
}

/* Reads up to the next marker or the end. *ret_next: the page that begins there. */
static enum op_rc read_page(struct pages_source *self, int64_t *ret_next, int64_t *ret_line,
                            struct op_err *err)
{
    struct op_line line = {0};
    for (;;) {
        enum op_rc rc = op_lines_next(self->lines, &line, err);
        if (rc == OP_NOTFOUND)
            self->end = true;
        if (rc)
            return rc;
        if (line.oversize) {
            self->oversize = true;
            continue;
        }
        struct op_str text = {line.ptr, line.len};
        if (line.offset == 0)
            text = op_str_skip_bom(text);
        if (read_marker(text, ret_next)) {
            *ret_line = line.number;
            return OP_OK;
        }
        add_line(self, text);
    }
}

static enum op_rc check_page(struct pages_source *self, struct op_err *err)
{
    if (self->oversize)
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "%s:%lld: the page has more than the limit of %d bytes", self->path,
                          (long long)self->page_line, OP_SOURCE_MAX_RECORD);
    struct op_str text = op_buf_str(&self->text);
    if (op_utf8_valid_len(text.ptr, text.len) != text.len)
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "%s:%lld: the page is not UTF-8; convert the file to UTF-8",
                          self->path, (long long)self->page_line);
    return OP_OK;
}

static enum op_rc next_page(struct op_source *source, const struct op_value **ret_cells,
                            struct op_err *err)
{
    struct pages_source *self = (struct pages_source *)source;
    while (!self->end) {
        op_buf_clear(&self->text);
        op_buf_addz(&self->text, "");
        self->oversize = false;
        bool marked = self->marked;
        int64_t page = self->page, next = 0, next_line = 0;
        source->line = self->page_line;
        enum op_rc rc = read_page(self, &next, &next_line, err);
        if (rc && rc != OP_NOTFOUND)
            return rc;
        if (rc == OP_OK)
            self->marked = true;
        struct op_str text = op_str_trim(op_buf_str(&self->text));
        bool blank = text.len == 0 && !self->oversize;
        rc = check_page(self, err);
        self->page = next;
        self->page_line = next_line;
        if (rc)
            return rc;
        /* What stands before the first marker is of no page, and nothing if it is blank. */
        if (!marked && self->marked && blank)
            continue;
        self->cells[0] =
            !marked && self->marked ? op_value_null() : op_value_int(marked ? page : 0);
        self->cells[1] = op_value_text(text);
        self->cells[2] = op_value_int(marked);
        *ret_cells = self->cells;
        return OP_OK;
    }
    return OP_NOTFOUND;
}

const struct op_source_ops op_source_pages = {
    .kind = "pages",
    .help = "the pages of a Markdown document, whose lines `{12}-----` begin page 12",
    .options = options,
    .files = true,
    .guess = guess,
    .open = open_pages,
    .next = next_page,
    .close = close_pages,
};
