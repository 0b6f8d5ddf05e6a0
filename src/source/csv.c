/* SPDX-License-Identifier: MIT */
#include "base/csv.h"

#include <strings.h>

#include "base/mem.h"
#include "source/common.h"
#include "source/source.h"

enum { MAX_FIELD = 4 * 1024 * 1024 };

struct csv_source {
    struct op_source base;
    struct op_csv_reader *reader; /* NULL: an optional file that is not there */
    char *path;
    struct op_source_names names;  /* of the file */
    struct op_source_names picked; /* the option 'columns'; empty: all of the file */
    int *place;                    /* of the file's columns: which cell, -1 left out */
    struct op_value *cells;
};

static const struct op_source_option_spec options[] = {
    {"separator", "one character, or 'tab'; default: a comma, in a .tsv file a tab"},
    {"header", "comma list of column names, when the file has no header line"},
    {"on_error", "fail (default) or skip: what a malformed row does"},
    {"optional", "true: a missing file is an empty table with the columns of 'columns'"},
    {"columns",
     "comma list of the columns to read, by name: the others are left out, those the "
     "file lacks are NULL"},
    {NULL, NULL},
};

static bool guess(const char *target)
{
    static const char *const suffixes[] = {".csv", ".tsv", NULL};
    return op_source_ends_with(target, suffixes);
}

static void close_csv(struct op_source *source)
{
    struct csv_source *csv = (struct csv_source *)source;
    op_csv_close(csv->reader);
    op_source_names_release(&csv->names);
    op_source_names_release(&csv->picked);
    op_mem_free(csv->place);
    op_mem_free(csv->cells);
    op_mem_free(csv->path);
    op_mem_free(csv);
}

static void close_csvp(struct csv_source **csv)
{
    if (*csv)
        close_csv(&(*csv)->base);
}

static enum op_rc read_separator(const struct op_source_config *config, char *ret,
                                 struct op_err *err)
{
    static const char *const tabbed[] = {".tsv", NULL};
    const char *text = op_source_option_get(config, "separator", NULL);
    if (!text)
        *ret = op_source_ends_with(config->target, tabbed) ? '\t' : ',';
    else if (strcasecmp(text, "tab") == 0 || strcmp(text, "\\t") == 0)
        *ret = '\t';
    else if (strlen(text) == 1 && !strchr("\"\r\n", text[0]))
        *ret = text[0];
    else
        return op_fail(err, OP_INVAL,
                       "%s: input '%s': option 'separator' is one character (no quote, no line "
                       "end) or 'tab', not '%s'",
                       config->place, config->name, text);
    return OP_OK;
}

static enum op_rc read_header(struct csv_source *csv, const struct op_source_config *config,
                              struct op_err *err)
{
    const struct op_str *fields;
    size_t count;
    enum op_rc rc = op_csv_next(csv->reader, &fields, &count, err);
    if (rc == OP_NOTFOUND) {
        bool optional = false;
        rc = op_source_flag(config, "optional", false, &optional, err);
        if (rc)
            return rc;
        if (optional)
            return op_source_absent_columns(config, &csv->names, err);
        return op_fail(err, OP_INVAL, "%s is empty: a header line was expected", csv->path);
    }
    if (rc)
        return rc;
    OP_CLEANUP(op_mem_freep)
    char *where =
        op_mem_printf("%s:%lld: the header", csv->path, (long long)op_csv_line(csv->reader));
    for (size_t i = 0; i < count; i++) {
        rc = op_source_names_add(&csv->names, fields[i], where, err);
        if (rc)
            return op_err_wrap(err, "is the first line of the file a header? if not, name the "
                                    "columns with the option 'header'");
    }
    return OP_OK;
}

/* A wide file is read by the columns that are wanted, and one that lacks some of them still has
 * the shape its queries were written for. */
static enum op_rc pick_columns(struct csv_source *csv, const struct op_source_config *config,
                               struct op_err *err)
{
    const char *columns = op_source_option_get(config, "columns", NULL);
    if (columns) {
        enum op_rc rc =
            op_source_names_parse(&csv->picked, columns, "the option 'columns'", err);
        if (rc)
            return rc;
    }
    const struct op_source_names *names = columns ? &csv->picked : &csv->names;
    csv->place = op_mem_array(csv->names.count + 1, sizeof(*csv->place));
    for (size_t i = 0; i < csv->names.count; i++) {
        csv->place[i] = columns ? -1 : (int)i;
        for (size_t k = 0; k < csv->picked.count; k++) {
            if (strcasecmp(csv->names.names[i], csv->picked.names[k]) == 0)
                csv->place[i] = (int)k;
        }
    }
    csv->cells = op_mem_array(names->count, sizeof(*csv->cells));
    csv->base = (struct op_source){.ops = &op_source_csv,
                                   .columns = (const char *const *)names->names,
                                   .column_count = names->count};
    return OP_OK;
}

static enum op_rc open_csv(const struct op_source_config *config, struct op_source **ret,
                           struct op_err *err)
{
    bool missing = false;
    char separator = ',';
    enum op_rc rc = read_separator(config, &separator, err);
    if (!rc)
        rc = op_source_probe(config, &missing, err);
    if (rc)
        return rc;
    OP_CLEANUP(close_csvp) struct csv_source *csv = op_mem_alloc(sizeof(*csv));
    csv->path = op_mem_strdup(config->target);
    if (!missing) {
        rc = op_csv_open(config->env, config->target, separator, OP_SOURCE_MAX_RECORD,
                         &csv->reader, err);
        if (rc)
            return op_err_wrap(err, "%s: input '%s'", config->place, config->name);
    }
    const char *header = op_source_option_get(config, "header", NULL);
    if (header)
        rc = op_source_names_parse(&csv->names, header, "the option 'header'", err);
    else if (missing)
        rc = op_source_absent_columns(config, &csv->names, err);
    else
        rc = read_header(csv, config, err);
    if (rc)
        return op_err_wrap(err, "%s: input '%s'", config->place, config->name);
    rc = pick_columns(csv, config, err);
    if (rc)
        return op_err_wrap(err, "%s: input '%s'", config->place, config->name);
    *ret = &OP_TAKE(csv)->base;
    return OP_OK;
}

static enum op_rc check_count(const struct csv_source *csv, size_t count, struct op_err *err)
{
    if (count == csv->names.count)
        return OP_OK;
    return op_fail_as(
        err, OP_INVAL, OP_DISP_REJECT,
        "%s:%lld: the row has %zu fields, the header %zu; a field with a separator "
        "or a line end in it must be quoted",
        csv->path, (long long)csv->base.line, count, csv->names.count);
}

static enum op_rc set_cell(struct csv_source *csv, size_t column, struct op_str field,
                           struct op_err *err)
{
    if (field.len > MAX_FIELD)
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "%s:%lld: column '%s' has %zu bytes, more than the limit of %d",
                          csv->path, (long long)csv->base.line, csv->names.names[column],
                          field.len, MAX_FIELD);
    size_t valid = op_utf8_valid_len(field.ptr, field.len);
    if (valid != field.len)
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "%s:%lld: column '%s' is not UTF-8 at its byte %zu (0x%02x); convert "
                          "the file to UTF-8",
                          csv->path, (long long)csv->base.line, csv->names.names[column],
                          valid + 1, (unsigned)(unsigned char)field.ptr[valid]);
    csv->cells[csv->place[column]] = (struct op_value){.type = OP_VALUE_TEXT, .s = field};
    return OP_OK;
}

static enum op_rc next_csv(struct op_source *source, const struct op_value **ret_cells,
                           struct op_err *err)
{
    struct csv_source *csv = (struct csv_source *)source;
    if (!csv->reader)
        return OP_NOTFOUND;
    const struct op_str *fields;
    size_t count;
    enum op_rc rc = op_csv_next(csv->reader, &fields, &count, err);
    if (rc == OP_NOTFOUND)
        return rc;
    source->line = op_csv_line(csv->reader);
    /* A malformed record leaves the reader behind it; a failing file would fail for ever. */
    if (rc == OP_INVAL && err->native == 0)
        err->disp = OP_DISP_REJECT;
    if (!rc)
        rc = check_count(csv, count, err);
    for (size_t i = 0; !rc && i < count; i++) {
        if (csv->place[i] >= 0)
            rc = set_cell(csv, i, fields[i], err);
    }
    if (rc)
        return rc;
    *ret_cells = csv->cells;
    return OP_OK;
}

const struct op_source_ops op_source_csv = {
    .kind = "csv",
    .help = "rows of a CSV file (RFC 4180, UTF-8); every cell is text",
    .options = options,
    .files = true,
    .guess = guess,
    .open = open_csv,
    .next = next_csv,
    .close = close_csv,
};
