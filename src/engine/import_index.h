/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_IMPORT_INDEX_H
#define OP_ENGINE_IMPORT_INDEX_H

/*
 * Model:     where the result lines of imported files are, by their custom_ids, and which record's
 *            request each is for: a private database in the spool's work folder, so that a million
 *            lines take no memory. Made anew whenever the job is planned.
 * Ownership: lines handed out hold numbers only.
 * Threads:   one.
 */

#include "engine/work.h"

struct op_import_index;

struct op_import_line {
    int64_t source, file; /* which of the job's sources, which of its files */
    int64_t offset, len;
    enum op_result_class class_;
};

OP_MUST_CHECK enum op_rc op_import_index_open(const char *path, struct op_import_index **ret,
                                              struct op_err *err);
void op_import_index_close(struct op_import_index *index);
void op_import_index_closep(struct op_import_index **index);
OP_MUST_CHECK enum op_rc op_import_index_add(struct op_import_index *index, struct op_str id,
                                             const struct op_import_line *line,
                                             struct op_err *err);
/* request "": of every request of that key. */
OP_MUST_CHECK enum op_rc op_import_index_map(struct op_import_index *index, struct op_str id,
                                             struct op_str key, struct op_str request,
                                             struct op_err *err);
/* Behind the last line: looking up becomes quick. */
OP_MUST_CHECK enum op_rc op_import_index_finish(struct op_import_index *index,
                                                struct op_err *err);

typedef enum op_rc (*op_import_line_fn)(void *arg, const struct op_import_line *line,
                                        struct op_err *err);
/* The lines of a record's request: under its key (alone: the record has no other request), under
 * key#request, or as mapped. Of several sources, the first that has an answer, else the first. They
 * count as used from then on. fn is called behind the last look-up. */
OP_MUST_CHECK enum op_rc op_import_index_take(struct op_import_index *index, struct op_str key,
                                              const char *request, bool alone,
                                              op_import_line_fn fn, void *arg,
                                              struct op_err *err);
/* Ids that no record has taken, each once: appended to the text with line ends while it has room;
 * *ret_count are all. */
OP_MUST_CHECK enum op_rc op_import_index_unused(struct op_import_index *index,
                                                struct op_buf *text, size_t room,
                                                int64_t *ret_count, struct op_err *err);

#endif
