/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_SQL_JSON_H
#define OP_PIPELINE_SQL_JSON_H

/*
 * Model:     SQLite's JSON functions that are on the hot path (->, ->>, json_extract, json_type,
 *            json_array_length, json_each), over an index of a text: where each value begins, ends
 *            and how many lie in it. The results are parts of the text itself, as SQLite's own are,
 *            so a value's part is handed on without a copy, and a function that is given such a
 *            part again finds it in the index instead of reading it anew.
 *            The numbering of nodes is SQLite's (a member's name is a node, its value the next),
 *            because json_each shows it as `id`.
 * Ownership: a document owns its nodes and, unless it is pinned, a copy of its text. The text of a
 *            pinned document (the answer, a record's cell) lives until the context changes: its
 *            parts may be given to SQLite as they are.
 * Errors:    false: malformed JSON.
 * Threads:   one thread at a time.
 */

#include "base/buf.h"
#include "pipeline/sql_internal.h"

enum op_jtype {
    OP_J_NULL,
    OP_J_TRUE,
    OP_J_FALSE,
    OP_J_INT,
    OP_J_REAL,
    OP_J_TEXT,
    OP_J_ARRAY, /* and beyond: containers */
    OP_J_OBJECT,
};

struct op_jnode {
    uint8_t type;
    bool escapes; /* a text with backslashes */
    bool label;   /* a member's name */
    uint32_t at;  /* in the document's text */
    uint32_t len;
    uint32_t inside; /* nodes in a container */
};

struct op_jdoc {
    const char *text; /* without white space between tokens */
    size_t len;
    struct op_jnode *nodes;
    uint32_t count, room;
    struct op_buf compact; /* the text, when the source had white space */
    struct op_buf copy;    /* the source, unless pinned */
    struct op_str source;
    bool pinned;
};

void op_jdoc_init(struct op_jdoc *doc);
void op_jdoc_release(struct op_jdoc *doc);
/* The source must stay as it is while the document is used. */
bool op_jdoc_parse(struct op_jdoc *doc, struct op_str source);

/* A value in a document; doc NULL: none. */
struct op_jref {
    struct op_jdoc *doc;
    uint32_t at;
};

static inline struct op_jnode *op_jref_node(struct op_jref ref)
{
    return &ref.doc->nodes[ref.at];
}

/* Nodes of a value, itself included. */
static inline uint32_t op_jnode_size(const struct op_jnode *node)
{
    return node->type >= OP_J_ARRAY ? node->inside + 1 : 1;
}

struct op_sql_json;
/* Registers the functions over SQLite's own. */
OP_MUST_CHECK enum op_rc op_sql_add_json(struct op_sqlenv *sql, struct op_err *err);
OP_MUST_CHECK enum op_rc op_sql_add_json_each(struct op_sqlenv *sql, struct op_err *err);
void op_sql_json_free(struct op_sql_json *json);
/* The context changes: pinned documents are forgotten. */
void op_sql_json_forget(struct op_sql_json *json);

/* The document of a value: from the cache, or parsed. doc NULL and *ret_malformed for a bad one. */
struct op_jref op_sql_json_get(struct op_sqlenv *sql, struct op_str text, bool *ret_malformed);
/* As get, but only where no parsing is needed, or into a pinned document. */
struct op_jref op_sql_json_pinned(struct op_sqlenv *sql, struct op_str text,
                                  bool *ret_malformed);
/* The bytes of an argument as SQLite's functions read it; ptr NULL for NULL. */
struct op_str op_sql_json_arg(sqlite3_value *v);

/* Follows a path behind its $. doc NULL: nothing there, or *ret_error points at what is wrong. */
struct op_jref op_jref_path(struct op_jref root, const char *path, const char **ret_error);
/* "JSON path error near '...'" (sqlite3_mprintf) */
char *op_jpath_error(const char *at);

/* The member of an object, of two of one name the first. doc NULL: none, or it is no object. */
struct op_jref op_jref_member(struct op_jref root, struct op_str name);
/* A value of a pinned document as SQLite's SELECT would yield it; containers as JSON. It is a part
 * of the document, or in text, which is overwritten. */
struct op_value op_jref_value(struct op_jref ref, struct op_buf *text);

/* Gives a value to SQLite, typed; containers as JSON. */
void op_jref_result(sqlite3_context *c, struct op_sqlenv *sql, struct op_jref ref);
/* ... and any value as JSON. */
void op_jref_result_json(sqlite3_context *c, struct op_jref ref);
const char *op_jtype_name(enum op_jtype type);

#define OP_J_SUBTYPE 74 /* 'J': SQLite's mark on text that is JSON */

#endif
