/* SPDX-License-Identifier: MIT */
#ifndef OP_SINK_COMMON_H
#define OP_SINK_COMMON_H

/*
 * Model:     what the sink drivers share: options, columns by name, the check of per-row paths.
 * Ownership: arrays returned are op_mem blocks of the caller.
 * Threads:   pure but for allocation.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"
#include "sink/sink.h"

extern const struct op_sink_ops op_sink_csv;
extern const struct op_sink_ops op_sink_dynamodb;
extern const struct op_sink_ops op_sink_jsonl;
extern const struct op_sink_ops op_sink_json;
extern const struct op_sink_ops op_sink_lines;
extern const struct op_sink_ops op_sink_postgres;
extern const struct op_sink_ops op_sink_sqlite;

/* What the name of the temporary file beside a target ends with. */
#define OP_SINK_TEMP_SUFFIX ".offpeak-tmp"

/* true/false/yes/no/on/off */
OP_MUST_CHECK enum op_rc op_sink_flag(const struct op_sink_config *config, const char *name,
                                      bool fallback, bool *ret, struct op_err *err);

/* Indexes of the columns an option lists with commas; none when the option is not given. */
OP_MUST_CHECK enum op_rc op_sink_column_list(const struct op_sink_config *config,
                                             const char *option, size_t **ret,
                                             size_t *ret_count, struct op_err *err);
/* Indexes of the key columns. */
OP_MUST_CHECK enum op_rc op_sink_key_list(const struct op_sink_config *config, size_t **ret,
                                          size_t *ret_count, struct op_err *err);

/* Letters, digits and _, at most 63 of them, no digit first. Names in SQL come from the pipeline's
 * file; what is no plain name is a mistake or mischief. spaces: in a type's name. */
bool op_sink_is_identifier(struct op_str name, bool spaces);
/* The options `table`, `mode` and `types` of a kind that writes into a table, and the columns'
 * names checked. types: column_count entries, those given are set to op_mem blocks of the caller, like
 * *ret_table, also after a failure. */
OP_MUST_CHECK enum op_rc op_sink_read_table(const struct op_sink_config *config,
                                            const char *kind, char **ret_table,
                                            bool *ret_insert_missing, char **types,
                                            struct op_err *err);

/* Copies of the column names; freed with op_sink_names_free. */
char **op_sink_names_copy(const struct op_sink_config *config);
void op_sink_names_free(char **names, size_t count);

/* A name for work files that another output of the same work_dir does not have. */
char *op_sink_work_name(const struct op_sink_config *config);

/* The folder every row's path must lie in: what stands before the first hole of the template, up
 * to its last slash ("" when there is none). */
char *op_sink_root_of(const char *target);
/* OP_INVAL with OP_DISP_REJECT unless path lies in root, has no "..", no empty or hidden-temporary
 * part and no control character. */
OP_MUST_CHECK enum op_rc op_sink_check_path(const char *root, struct op_str path,
                                            struct op_err *err);

/* The same once more on disk: OP_INVAL when path, below root, leads through a symbolic link
 * or is one. What a row names must not be written where such a link points. */
OP_MUST_CHECK enum op_rc op_sink_check_links(struct op_env *env, const char *root,
                                             const char *path, struct op_err *err);

/* Size of a file, 0 when there is none. */
OP_MUST_CHECK enum op_rc op_sink_file_size(struct op_env *env, const char *path, int64_t *ret,
                                           struct op_err *err);
/* Whether a target that is rewritten as a whole should wait for more rows: waiting until there is
 * as much new as old keeps the sum of all rewriting below twice the final size. */
bool op_sink_should_wait(int64_t old_bytes, int64_t new_bytes, bool last);

bool op_sink_ends_with(const char *target, const char *const *suffixes); /* ends with NULL */

#endif
