/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_CSV_H
#define OP_BASE_CSV_H

/*
 * Model:     RFC 4180, reading and writing. The reader streams through a moving window: quoted
 *            fields may hold commas, quotes and newlines; CRLF and LF end a record; a BOM is
 *            skipped; an empty line is skipped.
 * Ownership: fields are borrowed until the next call.
 * Errors:    OP_INVAL with the 1-based line and record number: a quote in an unquoted field, text
 *            after a closing quote, an unclosed quote (naming the line where it opened), a NUL
 *            byte. After OP_INVAL the next call continues with the next line, so that a caller may
 *            count and skip.
 * Threads:   one thread at a time.
 */

#include "base/buf.h"
#include "base/env.h"
#include "base/err.h"
#include "base/value.h"

struct op_csv_reader;

OP_MUST_CHECK enum op_rc op_csv_open(struct op_env *env, const char *path, char separator,
                                     size_t max_record, struct op_csv_reader **ret,
                                     struct op_err *err);
void op_csv_close(struct op_csv_reader *csv);
void op_csv_closep(struct op_csv_reader **csv);

/* OP_OK and the fields of one record (count may differ from record to record); OP_NOTFOUND with
 * err untouched at the end. */
OP_MUST_CHECK enum op_rc op_csv_next(struct op_csv_reader *csv,
                                     const struct op_str **ret_fields, size_t *ret_count,
                                     struct op_err *err);
int64_t op_csv_line(const struct op_csv_reader *csv); /* where the last record began, from 1 */

struct op_csv_style {
    char separator; /* ',' */
    bool crlf;      /* RFC 4180 says CRLF; default LF, as most tools write */
    bool guard;     /* prefix ' to text cells that a spreadsheet would run: = + - @ TAB CR */
};

/* Appends one field, quoted when it must be. NULL and "" are empty fields; op_csv_add_record
 * quotes one that is the sole field of its record, because readers skip empty lines. */
void op_csv_add_field(struct op_buf *buf, const struct op_csv_style *style, struct op_value v);
/* Appends a whole record with its line end. */
void op_csv_add_record(struct op_buf *buf, const struct op_csv_style *style,
                       const struct op_value *cells, size_t count);

#endif
