/* SPDX-License-Identifier: MIT */
#ifndef OP_SOURCE_COMMON_H
#define OP_SOURCE_COMMON_H

/*
 * Model:     what the source drivers share: options, lists of column names, missing files.
 * Ownership: struct op_source_names owns its array and names.
 * Threads:   one thread at a time.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "source/source.h"

extern const struct op_source_ops op_source_csv;
extern const struct op_source_ops op_source_dynamodb;
extern const struct op_source_ops op_source_jsonl;
extern const struct op_source_ops op_source_lines;
extern const struct op_source_ops op_source_pages;
extern const struct op_source_ops op_source_postgres;
extern const struct op_source_ops op_source_sqlite;
extern const struct op_source_ops op_source_transcripts;

/* Column names in order. No two are equal for SQL, which ignores ASCII case. */
struct op_source_names {
    char **names;
    size_t count, room;
};

void op_source_names_release(struct op_source_names *list); /* also fine on a zeroed struct */
/* OP_INVAL when the name is empty, is not UTF-8, or was there before. where: "tickets.csv: the
 * header" */
OP_MUST_CHECK enum op_rc op_source_names_add(struct op_source_names *list, struct op_str name,
                                             const char *where, struct op_err *err);
/* A comma list, white space around names dropped. */
OP_MUST_CHECK enum op_rc op_source_names_parse(struct op_source_names *list, const char *text,
                                               const char *where, struct op_err *err);

/* true/false/yes/no/on/off */
OP_MUST_CHECK enum op_rc op_source_flag(const struct op_source_config *config, const char *name,
                                        bool fallback, bool *ret, struct op_err *err);

/* Whether the file of the input can be opened. A missing one is *ret_missing when the input is
 * `optional: true`, else an OP_NOTFOUND that says what to check. */
OP_MUST_CHECK enum op_rc op_source_probe(const struct op_source_config *config,
                                         bool *ret_missing, struct op_err *err);

/* The lines of the input's file, none longer than a record; NULL: an optional file that is not
 * there. */
OP_MUST_CHECK enum op_rc op_source_open_lines(const struct op_source_config *config,
                                              struct op_lines **ret, struct op_err *err);

/* The names an absent optional input has: its option `columns`, which must then be there. The
 * caller says which input it is. */
OP_MUST_CHECK enum op_rc op_source_absent_columns(const struct op_source_config *config,
                                                  struct op_source_names *list,
                                                  struct op_err *err);

/* Every file that matches the target, in the order of their names, as one table; `_file` is a last
 * column. The files must have the same columns. */
OP_MUST_CHECK enum op_rc op_source_many_open(const struct op_source_ops *kind,
                                             const struct op_source_config *config,
                                             struct op_source **ret, struct op_err *err);

bool op_source_ends_with(const char *target, const char *const *suffixes); /* ends with NULL */

#endif
