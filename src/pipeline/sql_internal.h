/* SPDX-License-Identifier: MIT */
#ifndef OP_PIPELINE_SQL_INTERNAL_H
#define OP_PIPELINE_SQL_INTERNAL_H

/*
 * Model:     what the files of the SQL environment (sqlenv.c sql_*.c) and of record selection
 *            (select.c stage.c done.c) share. Not for use outside of them.
 */

#include <sqlite3.h>

#include "base/json.h"
#include "pipeline/sqlenv.h"

#define OP_SQL_VIEWS 6
/* No cell is longer. */
#define OP_SQL_MAX_LENGTH (256 * 1024 * 1024)
/* Steps of SQLite's machine (some 40 million a second): of all SELECTs over one result, and
 * of those over a job's inputs. Above it a SELECT never ends by itself, or not in time. */
#define OP_SQL_RESULT_STEPS 100000000LL
#define OP_SQL_INPUT_STEPS  100000000000LL
/* What all of SQLite may have in memory. */
#define OP_SQL_HEAP_BYTES (2LL * 1024 * 1024 * 1024)

struct op_quick;      /* sql_quick.c: rows without SQLite */
struct op_sql_json;   /* sql_json.c: parsed documents */
struct op_sql_view;   /* sql_context.c */
struct op_sql_search; /* sql_search.c: names in memory */

struct op_sqlenv_view {
    struct op_sqlenv *sql;
    const struct op_sql_view *view;
};

struct op_sqlenv {
    sqlite3 *db;
    struct op_plan *plan;
    struct op_context context;
    bool own;              /* the statement being prepared is ours: nothing is forbidden */
    int64_t view_rows;     /* how many rows the planner is told a view has; 1 but in stage.c */
    struct op_err pending; /* why a callback made a statement fail */
    int64_t steps, most_steps;
    struct op_sqlenv_view views[OP_SQL_VIEWS];
    /* the view records: its data is fetched when a query first reads it */
    const char *const *record_columns;
    size_t record_column_count;
    bool record_loaded;
    struct op_buf record_text;
    struct op_json_parser *record_parser;
    struct op_value *record_cells;
    /* those of the definition */
    struct op_query **checks, **rows;
    struct op_quick **quick; /* beside rows; NULL entries: SQLite alone */
    struct op_template_scratch *scratch;
    struct op_buf path;
    struct op_sql_json *json;
    struct op_sql_search *search;
};

/* A connection with the inputs and the functions only: for SELECTs that make records. */
OP_MUST_CHECK enum op_rc op_sql_open(struct op_plan *plan, const char *inputs_db,
                                     struct op_sqlenv **ret, struct op_err *err);
/* Attaches a file of staged inputs as `inputs`; making: to fill it, else complete and only read. */
OP_MUST_CHECK enum op_rc op_sql_attach(sqlite3 *db, const char *path, bool making,
                                       struct op_err *err);
/* Adds the views; `records` has these columns. */
OP_MUST_CHECK enum op_rc op_sql_add_views(struct op_sqlenv *sql, const char *const *columns,
                                          size_t count, struct op_err *err);
/* For the xConnect of a virtual table of ours: an SQLite code. */
int op_sql_declare(struct op_sqlenv *sql, const char *create);
int op_sql_declare_columns(struct op_sqlenv *sql, const char *const *columns, size_t count);
OP_MUST_CHECK enum op_rc op_sql_add_module(struct op_sqlenv *sql, const char *name,
                                           const struct sqlite3_module *module, void *arg,
                                           struct op_err *err);
/* Is the table a view of ours? For the clash with an input's name. */
bool op_sql_is_view(const char *name);
OP_MUST_CHECK enum op_rc op_sql_add_functions(struct op_sqlenv *sql, struct op_err *err);
/* Adds fuzzy_search. */
OP_MUST_CHECK enum op_rc op_sql_add_search(struct op_sqlenv *sql, struct op_err *err);
void op_sql_search_free(struct op_sql_search *search);
extern const char *const op_sql_requests_columns[]; /* of the view `requests`; ends with NULL */
/* Adds that view. */
OP_MUST_CHECK enum op_rc op_sql_add_requests(struct op_sqlenv *sql, struct op_err *err);
/* Makes the definition's views; behind op_sql_add_views. */
OP_MUST_CHECK enum op_rc op_sql_define_views(struct op_sqlenv *sql, struct op_err *err);

/* Runs a statement of ours. */
OP_MUST_CHECK enum op_rc op_sql_run(sqlite3 *db, const char *statement, const char *what,
                                    struct op_err *err);
/* What SQLite says, with the line of the text it stands in. what: "" or what was being done. */
enum op_rc op_sql_fail(struct op_sqlenv *sql, const struct op_text *text, struct op_err *err);
/* OP_INVAL when it is the text's or the data's fault, else OP_IO. */
enum op_rc op_sql_class(int code);
/* "file:LINE" of a byte of the text, in an op_mem block. */
char *op_text_place(const struct op_text *text, size_t offset);

/* OP_INVAL when two columns have one name. */
OP_MUST_CHECK enum op_rc op_query_distinct(const struct op_query *query, struct op_err *err);
const char *op_query_place(const struct op_query *query);
/* Is a cell true, as SQLite's WHERE would find. */
bool op_sql_true(struct op_value v);
/* Appends "name", quoted as an identifier. */
void op_sql_add_name(struct op_buf *out, const char *name);
/* A column of a statement's row; borrowed until its next step. */
struct op_value op_sql_column(sqlite3_stmt *stmt, int ix);

#endif
