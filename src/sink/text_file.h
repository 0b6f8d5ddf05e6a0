/* SPDX-License-Identifier: MIT */
#ifndef OP_SINK_TEXT_FILE_H
#define OP_SINK_TEXT_FILE_H

/*
 * Model:     what csv and jsonl have in common: a file of records that is rewritten as a whole and
 *            renamed into place. A frame's payload is the record as it stands in the file, line end
 *            included, so a fresh file is a plain copy of payloads.
 *            With a key the old file is merged: of its rows whose key was delivered the first is
 *            replaced where it stands (further ones of that key are removed), all others keep
 *            their bytes; new keys are appended in the order of their first frame; the last frame
 *            of a key is the one written. Without a key the file is made of the job's rows alone,
 *            from the start of the outbox.
 *            Memory is constant: see text_merge.c.
 * Ownership: the driver embeds struct op_text_sink first and calls op_text_init/op_text_release.
 * Errors:    an old file that does not fit is OP_INVAL and stays as it is.
 * Threads:   as sink.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/csv.h"
#include "base/json.h"
#include "sink/frame.h"
#include "sink/sink.h"

/* Sorting (option sort) takes the whole file into memory. */
#define OP_TEXT_MAX_SORTED ((size_t)64 * 1024 * 1024)

struct op_text_sink;

/* A record taken apart: one value per column, borrowed from the row's buffers. */
struct op_text_row {
    struct op_value *cells; /* column_count */
    struct op_buf text;     /* what had to be unescaped */
    size_t *places;         /* column_count: where such a cell begins in text */
    struct op_json_parser *parser;
};

struct op_text_format {
    bool has_header;
    /* Appends the header record; nothing when there is none. */
    void (*header)(const struct op_text_sink *sink, struct op_buf *out);
    /* Checks the header record of an old file. */
    enum op_rc (*check_header)(const struct op_text_sink *sink, struct op_str record,
                               struct op_err *err);
    /* Length of the record at the start of bytes, its line end included; 0: it needs more bytes.
     * at_end: there are no more. */
    size_t (*record_len)(struct op_str bytes, bool at_end);
    /* Messages lack the place: the caller adds it. */
    enum op_rc (*read)(const struct op_text_sink *sink, struct op_str record,
                       struct op_text_row *row, struct op_err *err);
};

struct op_text_sink {
    struct op_sink base;
    const struct op_text_format *format;
    struct op_env *env;
    char *target, *root, *work_dir, *work_name;
    bool per_row_path;
    char **columns;
    size_t column_count;
    size_t *key, *sort;
    size_t key_count, sort_count;
    struct op_csv_style style; /* csv; crlf also jsonl's line end */
    size_t *from;              /* csv: where each column stands in a row; NULL: all, in order */
    bool *json;                /* jsonl: columns whose text is JSON */
};

OP_MUST_CHECK enum op_rc op_text_init(struct op_text_sink *sink,
                                      const struct op_sink_config *config,
                                      const struct op_sink_ops *ops,
                                      const struct op_text_format *format, struct op_err *err);
void op_text_release(struct op_text_sink *sink);
OP_MUST_CHECK enum op_rc op_text_deliver(struct op_sink *sink, const char *outbox, int64_t from,
                                         int64_t to, bool last, int64_t *ret_delivered,
                                         struct op_err *err);

void op_text_row_init(struct op_text_row *row, const struct op_text_sink *sink);
void op_text_row_release(struct op_text_row *row);
/* The key of a row that was read. */
void op_text_row_key(const struct op_text_sink *sink, const struct op_text_row *row,
                     struct op_key *key, struct op_buf *bytes);

/* Rewrites one target with the frames given (text_merge.c). */
OP_MUST_CHECK enum op_rc op_text_merge(const struct op_text_sink *sink, const char *path,
                                       struct op_frames *frames, struct op_err *err);

#endif
