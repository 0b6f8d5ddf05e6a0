/* SPDX-License-Identifier: MIT */
#include "base/csv.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "sink/common.h"
#include "sink/frame.h"
#include "sink/sink.h"
#include "sink/text_file.h"

static const struct op_sink_option_spec options[] = {
    {"separator", "one character, or 'tab'; default: a comma, in a .tsv file a tab"},
    {"crlf", "true: lines end in CR LF; default: LF"},
    {"guard",
     "true (default): text that a spreadsheet would run as a formula gets a leading '"},
    {"sort", "comma list of columns the file is sorted by, numbers by value; up to 64 MiB"},
    {"omit", "comma list of columns that are not written: those that only make the path"},
    {NULL, NULL},
};

static bool guess(const char *target)
{
    static const char *const suffixes[] = {".csv", ".tsv", NULL};
    return op_sink_ends_with(target, suffixes);
}

/* --- the format --- */

static void header(const struct op_text_sink *sink, struct op_buf *out)
{
    OP_CLEANUP(op_mem_freep)
    struct op_value *names = op_mem_array(sink->column_count, sizeof(*names));
    /* Names are the pipeline's own: guarding them would only rename the columns. */
    struct op_csv_style style = sink->style;
    style.guard = false;
    for (size_t i = 0; i < sink->column_count; i++)
        names[i] = op_value_text(op_str_from(sink->columns[i]));
    op_csv_add_record(out, &style, names, sink->column_count);
}

static size_t count_quotes(const char *ptr, size_t len)
{
    size_t count = 0;
    const char *end = ptr + len;
    while (ptr < end && (ptr = memchr(ptr, '"', (size_t)(end - ptr)))) {
        count++;
        ptr++;
    }
    return count;
}

/* A line end ends the record when an even number of quotes lies before it: a doubled quote counts
 * twice, so only a line end inside a quoted field sees an odd number. */
static size_t record_len(struct op_str bytes, bool at_end)
{
    size_t at = 0, quotes = 0;
    while (at < bytes.len) {
        const char *newline = memchr(bytes.ptr + at, '\n', bytes.len - at);
        size_t end = newline ? (size_t)(newline - bytes.ptr) + 1 : bytes.len;
        if (!newline && !at_end)
            return 0;
        quotes += count_quotes(bytes.ptr + at, end - at);
        at = end;
        if (quotes % 2 == 0)
            return at;
    }
    return 0;
}

/* Reads the quoted field at *at into row->text and leaves *at behind it. */
static enum op_rc read_quoted(struct op_str *at, struct op_buf *text, struct op_err *err)
{
    const char *p = at->ptr + 1, *end = at->ptr + at->len;
    for (;;) {
        const char *quote = p < end ? memchr(p, '"', (size_t)(end - p)) : NULL;
        if (!quote)
            return op_fail(err, OP_INVAL, "a quote is never closed");
        op_buf_add(text, p, (size_t)(quote - p));
        p = quote + 1;
        if (p == end || *p != '"')
            break;
        op_buf_addc(text, '"');
        p++;
    }
    *at = (struct op_str){p, (size_t)(end - p)};
    return OP_OK;
}

/* Takes the next field off *rest. *ret_more: a separator, hence another field, followed. */
static enum op_rc read_field(char separator, struct op_str *rest, struct op_buf *text,
                             struct op_str *ret, bool *ret_more, struct op_err *err)
{
    if (rest->len > 0 && rest->ptr[0] == '"') {
        *ret = OP_STR_NULL; /* it stands in text */
        enum op_rc rc = read_quoted(rest, text, err);
        if (rc)
            return rc;
        if (rest->len > 0 && rest->ptr[0] != separator)
            return op_fail(err, OP_INVAL, "text follows a closing quote");
    } else {
        const char *stop = rest->len ? memchr(rest->ptr, separator, rest->len) : NULL;
        size_t len = stop ? (size_t)(stop - rest->ptr) : rest->len;
        *ret = (struct op_str){rest->ptr, len};
        if (len > 0 && memchr(rest->ptr, '"', len))
            return op_fail(err, OP_INVAL, "a quote stands inside an unquoted field");
        *rest = (struct op_str){rest->ptr + len, rest->len - len};
    }
    *ret_more = rest->len > 0;
    if (*ret_more) {
        rest->ptr++;
        rest->len--;
    }
    return OP_OK;
}

static struct op_str without_line_end(struct op_str record)
{
    if (op_str_ends(record, "\n"))
        record.len--;
    if (op_str_ends(record, "\r"))
        record.len--;
    return record;
}

static enum op_rc read_row(const struct op_text_sink *sink, struct op_str record,
                           struct op_text_row *row, struct op_err *err)
{
    struct op_str rest = without_line_end(record);
    size_t count = 0;
    bool more = true;
    op_buf_clear(&row->text);
    for (; more; count++) {
        struct op_str field;
        size_t place = row->text.len;
        enum op_rc rc =
            read_field(sink->style.separator, &rest, &row->text, &field, &more, err);
        if (rc)
            return rc;
        if (count >= sink->column_count)
            continue;
        row->places[count] = place;
        row->cells[count].type = OP_VALUE_TEXT;
        row->cells[count].s = field.ptr ? field : (struct op_str){NULL, row->text.len - place};
    }
    if (count != sink->column_count)
        return op_fail(err, OP_INVAL, "the row has %zu fields, but there are %zu columns",
                       count, sink->column_count);
    /* The buffer may have moved while it grew. */
    for (size_t i = 0; i < count; i++) {
        if (!row->cells[i].s.ptr)
            row->cells[i].s.ptr = row->text.ptr + row->places[i];
    }
    return op_buf_finish(&row->text, "a row", err);
}

static bool has_column(const struct op_text_sink *sink, struct op_str name)
{
    for (size_t i = 0; i < sink->column_count; i++) {
        if (op_str_is(name, sink->columns[i]))
            return true;
    }
    return false;
}

static enum op_rc check_header(const struct op_text_sink *sink, struct op_str record,
                               struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf text = {0};
    OP_CLEANUP(op_buf_release) struct op_buf seen = {0};
    OP_CLEANUP(op_mem_freep) bool *found = op_mem_array(sink->column_count, sizeof(*found));
    op_buf_init(&text, OP_FRAME_MAX);
    op_buf_init(&seen, OP_FRAME_MAX);
    struct op_str rest = without_line_end(record);
    bool more = true, ordered = true;
    for (size_t i = 0; more; i++) {
        struct op_str name;
        op_buf_clear(&text);
        enum op_rc rc = read_field(sink->style.separator, &rest, &text, &name, &more, err);
        if (rc)
            return rc;
        name = name.ptr ? name : op_buf_str(&text);
        if (!has_column(sink, name))
            return op_fail(err, OP_INVAL,
                           "it has a column '" OP_STR_FMT "' that the output's rows have not; "
                           "add it to 'rows' or write to another file",
                           OP_STR_ARG(name));
        for (size_t k = 0; k < sink->column_count; k++)
            found[k] = found[k] || op_str_is(name, sink->columns[k]);
        ordered = ordered && i < sink->column_count && op_str_is(name, sink->columns[i]);
    }
    for (size_t k = 0; k < sink->column_count; k++) {
        if (!found[k])
            return op_fail(
                err, OP_INVAL,
                "it lacks the column '%s' of the output's rows; add it to the file or "
                "write to another one",
                sink->columns[k]);
    }
    if (!ordered)
        return op_fail(err, OP_INVAL,
                       "it has the columns of the output's rows in another order; name them in "
                       "the order of the file in 'rows'");
    return OP_OK;
}

static const struct op_text_format format = {
    .has_header = true,
    .header = header,
    .check_header = check_header,
    .record_len = record_len,
    .read = read_row,
};

/* --- encoding --- */

/* A cell as it reads back from the file: the guard's ' belongs to it. It is made at the end of out
 * and taken away again, so that nothing has to be allocated. */
static void add_key_cell(const struct op_text_sink *sink, struct op_value v, struct op_key *key,
                         struct op_buf *out)
{
    size_t start = out->len;
    op_csv_add_field(out, &sink->style, v);
    char *text = out->ptr + start;
    size_t len = out->len - start, to = 0;
    if (len > 0 && text[0] == '"') {
        for (size_t from = 1; from + 1 < len; from++) {
            text[to++] = text[from];
            from += text[from] == '"';
        }
        len = to;
    }
    op_key_add(key, 't', text, len);
    op_frame_cancel(out, start);
}

static enum op_rc check_cell(const struct op_text_sink *sink, size_t i, struct op_value v,
                             struct op_err *err)
{
    if (v.type == OP_VALUE_BLOB)
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "column '%s' is a blob, which CSV cannot hold; use hex() in 'rows'",
                          sink->columns[i]);
    if (v.type == OP_VALUE_TEXT && v.s.len > 0 && memchr(v.s.ptr, 0, v.s.len))
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "column '%s' holds a NUL character, which CSV cannot hold; use "
                          "replace(x, char(0), '') in 'rows'",
                          sink->columns[i]);
    return OP_OK;
}

static enum op_rc encode(const struct op_sink *base, struct op_str path,
                         const struct op_value *cells, struct op_buf *out, struct op_err *err)
{
    const struct op_text_sink *sink = (const struct op_text_sink *)base;
    OP_CLEANUP(op_mem_freep) struct op_value *kept = NULL;
    if (sink->from) {
        kept = op_mem_array(sink->column_count, sizeof(*kept));
        for (size_t i = 0; i < sink->column_count; i++)
            kept[i] = cells[sink->from[i]];
        cells = kept;
    }
    if (!sink->per_row_path)
        path = OP_STR_NULL;
    enum op_rc rc = sink->per_row_path ? op_sink_check_path(sink->root, path, err) : OP_OK;
    for (size_t i = 0; !rc && i < sink->column_count; i++)
        rc = check_cell(sink, i, cells[i], err);
    if (rc)
        return rc;
    size_t start = op_frame_begin(out, path);
    op_csv_add_record(out, &sink->style, cells, sink->column_count);
    struct op_key key;
    op_key_begin(&key, NULL);
    for (size_t i = 0; i < sink->key_count && !out->failed; i++)
        add_key_cell(sink, cells[sink->key[i]], &key, out);
    return op_frame_end(out, start, path.len, key.hash, err);
}

/* --- life --- */

static void close_csv(struct op_sink *base)
{
    op_mem_free(((struct op_text_sink *)base)->from);
    op_text_release((struct op_text_sink *)base);
    op_mem_free(base);
}

static void close_csvp(struct op_text_sink **sink)
{
    if (*sink)
        close_csv(&(*sink)->base);
}

static enum op_rc read_separator(const struct op_sink_config *config, char *ret,
                                 struct op_err *err)
{
    static const char *const tabbed[] = {".tsv", NULL};
    const char *text = op_sink_option_get(config, "separator", NULL);
    if (!text)
        *ret = config->target && op_sink_ends_with(config->target, tabbed) ? '\t' : ',';
    else if (strcasecmp(text, "tab") == 0 || strcmp(text, "\\t") == 0)
        *ret = '\t';
    else if (strlen(text) == 1 && !strchr("\"\r\n", text[0]))
        *ret = text[0];
    else
        return op_fail(err, OP_INVAL,
                       "%s: option 'separator' is one character (no quote, no line end) or "
                       "'tab', not '%s'",
                       config->place, text);
    return OP_OK;
}

/* The columns without those of the option `omit`. *ret_kept: names, an op_mem block. */
static enum op_rc leave_out(struct op_text_sink *sink, const struct op_sink_config *config,
                            const char ***ret_kept, size_t *ret_count, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) size_t *omit = NULL;
    size_t omitted = 0, count = 0;
    enum op_rc rc = op_sink_column_list(config, "omit", &omit, &omitted, err);
    if (rc || omitted == 0)
        return rc;
    const char **kept = op_mem_array(config->column_count + 1, sizeof(*kept));
    sink->from = op_mem_array(config->column_count + 1, sizeof(*sink->from));
    for (size_t i = 0; i < config->column_count; i++) {
        size_t k = 0;
        while (k < omitted && omit[k] != i)
            k++;
        if (k < omitted)
            continue;
        sink->from[count] = i;
        kept[count++] = config->columns[i];
    }
    *ret_kept = kept;
    *ret_count = count;
    if (count == 0)
        return op_fail(err, OP_INVAL, "%s: option 'omit' leaves no column", config->place);
    return OP_OK;
}

static enum op_rc open_csv(const struct op_sink_config *config, struct op_sink **ret,
                           struct op_err *err)
{
    OP_CLEANUP(close_csvp) struct op_text_sink *sink = op_mem_alloc(sizeof(*sink));
    OP_CLEANUP(op_mem_freep) const char **kept = NULL;
    struct op_sink_config own = *config;
    size_t count = 0;
    sink->base.ops = &op_sink_csv; /* to be closed by */
    enum op_rc rc = leave_out(sink, config, &kept, &count, err);
    if (kept) {
        own.columns = kept;
        own.column_count = count;
    }
    if (!rc)
        rc = op_text_init(sink, &own, &op_sink_csv, &format, err);
    if (!rc)
        rc = read_separator(config, &sink->style.separator, err);
    if (!rc)
        rc = op_sink_flag(config, "guard", true, &sink->style.guard, err);
    if (rc)
        return rc;
    *ret = &OP_TAKE(sink)->base;
    return OP_OK;
}

const struct op_sink_ops op_sink_csv = {
    .kind = "csv",
    .help = "rows of a CSV file; with 'key' rows of an existing file are replaced or added",
    .options = options,
    .needs_key = false,
    .guess = guess,
    .open = open_csv,
    .encode = encode,
    .deliver = op_text_deliver,
    .close = close_csv,
};
