/* SPDX-License-Identifier: MIT */
#ifndef OP_SINK_JSONROW_H
#define OP_SINK_JSONROW_H

/*
 * Model:     a row as a JSON object, columns as names: what jsonl and json write, and its key.
 * Ownership: the struct is the caller's; init copies from the config.
 * Threads:   write and key are pure.
 */

#include "base/buf.h"
#include "base/json.h"
#include "sink/frame.h"
#include "sink/sink.h"

struct op_jsonrow {
    char **names;
    char **heads; /* {"a":  ,"b":  ... ready to be written */
    bool *json;   /* option json_columns: the column's text is JSON */
    bool *left_out;
    size_t count;
};

/* Reads the option `json_columns`. */
OP_MUST_CHECK enum op_rc op_jsonrow_init(struct op_jsonrow *row,
                                         const struct op_sink_config *config,
                                         struct op_err *err);
void op_jsonrow_release(struct op_jsonrow *row); /* also fine on a zeroed struct */
/* Leaves a column out of what is written. */
void op_jsonrow_leave_out(struct op_jsonrow *row, size_t column);

/* One cell as a JSON value. OP_INVAL (REJECT): a blob, or text in a `json_columns` column that is
 * no JSON. */
OP_MUST_CHECK enum op_rc op_jsonrow_write_cell(const struct op_jsonrow *row, size_t column,
                                               struct op_value v, struct op_buf *out,
                                               struct op_err *err);
/* The row as a compact object. */
OP_MUST_CHECK enum op_rc op_jsonrow_write(const struct op_jsonrow *row,
                                          const struct op_value *cells, struct op_buf *out,
                                          struct op_err *err);
/* The key of a row. OP_INVAL (REJECT) when a key cell would not read back as it is. */
OP_MUST_CHECK enum op_rc op_jsonrow_key(const struct op_jsonrow *row,
                                        const struct op_value *cells, const size_t *columns,
                                        size_t count, struct op_key *ret, struct op_err *err);
/* A JSON value as a cell, for its key: what SQL has no type for is a BLOB of its canonical text,
 * appended to text (the slice is set by the caller when text has stopped growing). */
struct op_value op_jsonrow_value(struct op_json v, struct op_buf *text);

#endif
