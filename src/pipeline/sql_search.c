/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "pipeline/sql_fuzzy.h"
#include "pipeline/sql_internal.h"

/*
 * fuzzy_search(input, column, name, cutoff): the rows of an input whose name in that column is at
 * least so much alike. A join with fuzzy_match() would call it once for every pair, and SQLite's
 * machine alone takes ten times as long as comparing. So the column is read once for each
 * connection, folded and sorted into words, and lies in memory: some 32 bytes and the name itself.
 */

/* About 50 MB for each of the connections that apply results. */
#define NAMES_MOST 1000000

enum { SEARCH_ROW, SEARCH_SCORE, SEARCH_INPUT, SEARCH_COLUMN, SEARCH_NAME, SEARCH_CUTOFF };
#define ARGS 4

struct entry {
    int64_t row;
    uint64_t letters;
    uint32_t at; /* in texts */
    uint16_t len;
    bool plain; /* else the text as it is */
};

struct corpus {
    struct corpus *next;
    char *input, *column;
    struct entry *entries;
    size_t count, room;
    struct op_buf texts;
};

struct op_sql_search {
    struct corpus *corpora;
    struct op_fuzzy *fuzzy;
};

struct table {
    sqlite3_vtab base;
    struct op_sqlenv *sql;
};

struct cursor {
    sqlite3_vtab_cursor base;
    const struct corpus *corpus;
    size_t at;
    struct op_fuzzy_query query;
    bool plain;
    struct op_buf name; /* for what is not plain */
    double cutoff, score;
};

static void corpus_free(struct corpus *c)
{
    op_mem_free(c->input);
    op_mem_free(c->column);
    op_mem_free(c->entries);
    op_buf_release(&c->texts);
    op_mem_free(c);
}

void op_sql_search_free(struct op_sql_search *search)
{
    if (!search)
        return;
    while (search->corpora) {
        struct corpus *next = search->corpora->next;
        corpus_free(search->corpora);
        search->corpora = next;
    }
    op_fuzzy_free(search->fuzzy);
    op_mem_free(search);
}

/* --- a column in memory ------------------------------------------------------------------- */

static void add_name(struct op_sql_search *s, struct corpus *c, int64_t row, struct op_str text)
{
    uint8_t plain[OP_FUZZY_PLAIN];
    int len = op_fuzzy_plain(s->fuzzy, text, plain);
    if (len < 0 && text.len > UINT16_MAX)
        text.len = UINT16_MAX;
    if (c->count == c->room) {
        c->room = c->room ? 2 * c->room : 1024;
        c->entries = op_mem_realloc(c->entries, c->room * sizeof(*c->entries));
    }
    c->entries[c->count++] = (struct entry){
        .row = row,
        .letters = len < 0 ? 0 : op_fuzzy_letters(plain, (size_t)len),
        .at = (uint32_t)c->texts.len,
        .len = (uint16_t)(len < 0 ? (int)text.len : len),
        .plain = len >= 0,
    };
    if (len < 0)
        op_buf_add_str(&c->texts, text);
    else
        op_buf_add(&c->texts, plain, (size_t)len);
}

static int read_corpus(struct op_sqlenv *sql, struct corpus *c)
{
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, 64 * 1024);
    op_buf_addz(&text, "SELECT rowid, ");
    op_sql_add_name(&text, c->column);
    op_buf_addz(&text, " FROM inputs.");
    op_sql_add_name(&text, c->input);
    sqlite3_stmt *stmt = NULL;
    bool own = sql->own;
    sql->own = true;
    int code = sqlite3_prepare_v2(sql->db, text.ptr, -1, &stmt, NULL);
    sql->own = own;
    while (!code && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        code = SQLITE_OK;
        struct op_str name = {(const char *)sqlite3_column_text(stmt, 1),
                              (size_t)sqlite3_column_bytes(stmt, 1)};
        if (name.ptr)
            add_name(sql->search, c, sqlite3_column_int64(stmt, 0), name);
        if (c->count > NAMES_MOST || c->texts.failed)
            code = SQLITE_TOOBIG;
    }
    sqlite3_finalize(stmt);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static char *fail(const struct op_sqlenv *sql, const struct corpus *c, int code)
{
    if (code == SQLITE_TOOBIG)
        return sqlite3_mprintf("fuzzy_search: '%s' has more than %d names", c->input,
                               NAMES_MOST);
    return sqlite3_mprintf("fuzzy_search: cannot read '%s' of the input '%s': %s", c->column,
                           c->input, sqlite3_errmsg(sql->db));
}

static int find_corpus(struct op_sqlenv *sql, const char *input, const char *column,
                       const struct corpus **ret, char **ret_error)
{
    for (struct corpus *c = sql->search->corpora; c; c = c->next) {
        if (sqlite3_stricmp(c->input, input) == 0 && sqlite3_stricmp(c->column, column) == 0) {
            *ret = c;
            return SQLITE_OK;
        }
    }
    struct corpus *made = op_mem_alloc(sizeof(*made));
    made->input = op_mem_strdup(input);
    made->column = op_mem_strdup(column);
    op_buf_init(&made->texts, 128 * 1024 * 1024);
    int code = read_corpus(sql, made);
    if (code) {
        *ret_error = fail(sql, made, code);
        corpus_free(made);
        return SQLITE_ERROR;
    }
    made->next = sql->search->corpora;
    sql->search->corpora = made;
    *ret = made;
    return SQLITE_OK;
}

/* --- as a table --------------------------------------------------------------------------- */

static int connect(sqlite3 *db, void *arg, int argc, const char *const *argv,
                   sqlite3_vtab **ret, char **ret_error)
{
    struct op_sqlenv *sql = arg;
    (void)argc;
    (void)argv;
    (void)ret_error;
    bool own = sql->own;
    sql->own = true;
    int code = sqlite3_declare_vtab(db, "CREATE TABLE x(row INTEGER, score REAL, input HIDDEN, "
                                        "\"column\" HIDDEN, name HIDDEN, cutoff HIDDEN)");
    sql->own = own;
    if (code != SQLITE_OK)
        return code;
    (void)sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
    struct table *table = op_mem_alloc(sizeof(*table));
    table->sql = sql;
    *ret = &table->base;
    return SQLITE_OK;
}

static int disconnect(sqlite3_vtab *vtab)
{
    op_mem_free(vtab);
    return SQLITE_OK;
}

static int best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    int given[ARGS] = {-1, -1, -1, -1};
    (void)vtab;
    for (int i = 0; i < info->nConstraint; i++) {
        int arg = info->aConstraint[i].iColumn - SEARCH_INPUT;
        if (arg >= 0 && info->aConstraint[i].usable &&
            info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_EQ)
            given[arg] = i;
    }
    for (int arg = 0; arg < ARGS; arg++) {
        if (given[arg] < 0)
            return SQLITE_CONSTRAINT; /* without all four there is nothing to search for */
        info->aConstraintUsage[given[arg]].argvIndex = arg + 1;
        info->aConstraintUsage[given[arg]].omit = 1;
    }
    info->estimatedCost = 10000;
    info->estimatedRows = 5;
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *vtab, sqlite3_vtab_cursor **ret)
{
    (void)vtab;
    struct cursor *cursor = op_mem_alloc(sizeof(*cursor));
    op_buf_init(&cursor->name, OP_SQL_MAX_LENGTH);
    *ret = &cursor->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;
    op_buf_release(&cursor->name);
    op_mem_free(cursor);
    return SQLITE_OK;
}

static double compare(const struct cursor *c, struct op_fuzzy *fuzzy, const struct entry *e)
{
    const char *text = c->corpus->texts.ptr + e->at;
    if (c->plain && e->plain)
        return op_fuzzy_ask(&c->query, (const uint8_t *)text, e->len, e->letters, c->cutoff);
    if (e->plain) { /* Latin-1 bytes against a name that is not: compared as UTF-8 */
        char utf8[2 * OP_FUZZY_PLAIN];
        size_t len = 0;
        for (size_t i = 0; i < e->len; i++) {
            unsigned char b = (unsigned char)text[i];
            if (b >= 0x80)
                utf8[len++] = (char)(0xC0 | (b >> 6));
            utf8[len++] = (char)(b >= 0x80 ? 0x80 | (b & 0x3F) : b);
        }
        return op_fuzzy_match(fuzzy, op_buf_str(&c->name), (struct op_str){utf8, len});
    }
    return op_fuzzy_match(fuzzy, op_buf_str(&c->name), (struct op_str){text, e->len});
}

static int next(sqlite3_vtab_cursor *base)
{
    struct cursor *c = (struct cursor *)base;
    struct op_fuzzy *fuzzy = ((struct table *)base->pVtab)->sql->search->fuzzy;
    for (c->at++; c->at <= c->corpus->count; c->at++) {
        c->score = compare(c, fuzzy, &c->corpus->entries[c->at - 1]);
        if (c->score >= c->cutoff)
            break;
    }
    return SQLITE_OK;
}

/* at is one beyond the entry it shows. */
static int at_end(sqlite3_vtab_cursor *base)
{
    const struct cursor *c = (struct cursor *)base;
    return !c->corpus || c->at > c->corpus->count;
}

static int filter(sqlite3_vtab_cursor *base, int number, const char *text, int argc,
                  sqlite3_value **argv)
{
    struct cursor *c = (struct cursor *)base;
    struct op_sqlenv *sql = ((struct table *)base->pVtab)->sql;
    (void)number;
    (void)text;
    (void)argc;
    const char *input = (const char *)sqlite3_value_text(argv[0]);
    const char *column = (const char *)sqlite3_value_text(argv[1]);
    struct op_str name = {(const char *)sqlite3_value_text(argv[2]),
                          (size_t)sqlite3_value_bytes(argv[2])};
    c->corpus = NULL;
    if (!input || !column || !name.ptr || sqlite3_value_type(argv[3]) == SQLITE_NULL)
        return SQLITE_OK;
    int code = find_corpus(sql, input, column, &c->corpus, &base->pVtab->zErrMsg);
    if (code)
        return code;
    op_buf_clear(&c->name);
    op_buf_add_str(&c->name, name);
    c->plain = op_fuzzy_query(sql->search->fuzzy, name, &c->query);
    c->cutoff = sqlite3_value_double(argv[3]);
    c->at = 0;
    return next(base);
}

static int column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
    const struct cursor *c = (struct cursor *)base;
    if (column == SEARCH_ROW)
        sqlite3_result_int64(context, c->corpus->entries[c->at - 1].row);
    else if (column == SEARCH_SCORE)
        sqlite3_result_double(context, c->score);
    return SQLITE_OK;
}

static int rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *ret)
{
    *ret = (sqlite3_int64)((struct cursor *)base)->at;
    return SQLITE_OK;
}

static const sqlite3_module module = {
    .xConnect = connect,
    .xBestIndex = best_index,
    .xDisconnect = disconnect,
    .xOpen = open_cursor,
    .xClose = close_cursor,
    .xFilter = filter,
    .xNext = next,
    .xEof = at_end,
    .xColumn = column,
    .xRowid = rowid,
};

enum op_rc op_sql_add_search(struct op_sqlenv *sql, struct op_err *err)
{
    sql->search = op_mem_alloc(sizeof(*sql->search));
    sql->search->fuzzy = op_fuzzy_new();
    if (sqlite3_create_module(sql->db, "fuzzy_search", &module, sql))
        return op_fail(err, OP_IO, "SQLite: %s", sqlite3_errmsg(sql->db));
    return OP_OK;
}
