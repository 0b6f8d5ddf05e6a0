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
    uint32_t at; /* in texts */
    uint16_t len;
    bool plain; /* else the text as it is */
};

struct corpus {
    struct corpus *next;
    char *input, *column;
    /* what is looked at for every name, by itself */
    uint64_t *letters;
    uint8_t *lens;
    struct entry *entries;
    size_t count, room;
    struct op_buf texts;
};

struct match {
    int64_t row;
    double score;
};

/* The checks and rows of an answer ask for the same names several times. */
struct memo {
    const struct corpus *corpus;
    struct op_buf name;
    double cutoff;
    struct match *matches;
    size_t count, room;
};
#define MEMOS 64

struct op_sql_search {
    struct corpus *corpora;
    struct op_fuzzy *fuzzy;
    struct memo memos[MEMOS];
    size_t next_memo;
};

struct table {
    sqlite3_vtab base;
    struct op_sqlenv *sql;
};

struct cursor {
    sqlite3_vtab_cursor base;
    struct match *matches;
    size_t count, room, at;
};

static void corpus_free(struct corpus *c)
{
    op_mem_free(c->input);
    op_mem_free(c->column);
    op_mem_free(c->letters);
    op_mem_free(c->lens);
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
    for (size_t i = 0; i < MEMOS; i++) {
        op_buf_release(&search->memos[i].name);
        op_mem_free(search->memos[i].matches);
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
        c->letters = op_mem_realloc(c->letters, c->room * sizeof(*c->letters));
        c->lens = op_mem_realloc(c->lens, c->room * sizeof(*c->lens));
    }
    c->lens[c->count] = (uint8_t)(len < 0 ? OP_FUZZY_NOT_PLAIN : len);
    c->letters[c->count] = len < 0 ? 0 : op_fuzzy_letters(plain, (size_t)len);
    c->entries[c->count++] = (struct entry){
        .row = row,
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
    (void)db;
    (void)argc;
    (void)argv;
    (void)ret_error;
    int code = op_sql_declare(sql, "CREATE TABLE x(row INTEGER, score REAL, input HIDDEN, "
                                   "\"column\" HIDDEN, name HIDDEN, cutoff HIDDEN)");
    if (code != SQLITE_OK)
        return code;
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
    *ret = &cursor->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;
    op_mem_free(cursor->matches);
    op_mem_free(cursor);
    return SQLITE_OK;
}

static void add_match(struct memo *m, int64_t row, double score)
{
    if (m->count == m->room) {
        m->room = m->room ? 2 * m->room : 16;
        m->matches = op_mem_realloc(m->matches, m->room * sizeof(*m->matches));
    }
    m->matches[m->count++] = (struct match){row, score};
}

/* Latin-1 bytes as UTF-8, for a name that is compared the long way. */
static struct op_str widen(const char *text, size_t len, char ret[2 * OP_FUZZY_PLAIN])
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char b = (unsigned char)text[i];
        if (b >= 0x80)
            ret[n++] = (char)(0xC0 | (b >> 6));
        ret[n++] = (char)(b >= 0x80 ? 0x80 | (b & 0x3F) : b);
    }
    return (struct op_str){ret, n};
}

static void compare(struct op_sql_search *s, struct memo *m, const struct op_fuzzy_query *query,
                    size_t i)
{
    const struct corpus *c = m->corpus;
    const struct entry *e = &c->entries[i];
    const char *text = c->texts.ptr + e->at;
    char wide[2 * OP_FUZZY_PLAIN];
    double score = query && e->plain
                       ? op_fuzzy_ask(query, (const uint8_t *)text, e->len, m->cutoff)
                       : op_fuzzy_match(s->fuzzy, op_buf_str(&m->name),
                                        e->plain ? widen(text, e->len, wide)
                                                 : (struct op_str){text, e->len});
    if (score >= m->cutoff)
        add_match(m, e->row, score);
}

static void search(struct op_sql_search *s, struct memo *m)
{
    const struct corpus *c = m->corpus;
    struct op_fuzzy_query query;
    if (!op_fuzzy_query(s->fuzzy, op_buf_str(&m->name), &query)) {
        for (size_t i = 0; i < c->count; i++)
            compare(s, m, NULL, i);
        return;
    }
    uint32_t places[256];
    for (size_t at = 0; at < c->count;) {
        size_t found = op_fuzzy_scan(&query, c->letters, c->lens, c->count, m->cutoff, &at,
                                     places, OP_COUNT(places));
        for (size_t i = 0; i < found; i++)
            compare(s, m, &query, places[i]);
    }
}

static const struct memo *find(struct op_sql_search *s, const struct corpus *corpus,
                               struct op_str name, double cutoff)
{
    for (size_t i = 0; i < MEMOS; i++) {
        const struct memo *m = &s->memos[i];
        if (m->corpus == corpus && !(m->cutoff < cutoff) && !(m->cutoff > cutoff) &&
            op_str_eq(op_buf_str(&m->name), name))
            return m;
    }
    struct memo *m = &s->memos[s->next_memo++ % MEMOS];
    if (!m->corpus)
        op_buf_init(&m->name, OP_SQL_MAX_LENGTH);
    op_buf_clear(&m->name);
    op_buf_add_str(&m->name, name);
    m->corpus = corpus;
    m->cutoff = cutoff;
    m->count = 0;
    search(s, m);
    return m;
}

static int next(sqlite3_vtab_cursor *base)
{
    ((struct cursor *)base)->at++;
    return SQLITE_OK;
}

static int at_end(sqlite3_vtab_cursor *base)
{
    const struct cursor *c = (struct cursor *)base;
    return c->at >= c->count;
}

/* The cursor has its own copy: another search may take the memo's place meanwhile. */
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
    const struct corpus *corpus = NULL;
    c->at = c->count = 0;
    if (!input || !column || !name.ptr || sqlite3_value_type(argv[3]) == SQLITE_NULL)
        return SQLITE_OK;
    int code = find_corpus(sql, input, column, &corpus, &base->pVtab->zErrMsg);
    if (code)
        return code;
    const struct memo *m = find(sql->search, corpus, name, sqlite3_value_double(argv[3]));
    if (m->count > c->room) {
        c->room = m->count;
        c->matches = op_mem_realloc(c->matches, c->room * sizeof(*c->matches));
    }
    if (m->count)
        memcpy(c->matches, m->matches, m->count * sizeof(*c->matches));
    c->count = m->count;
    return SQLITE_OK;
}

static int column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
    const struct cursor *c = (struct cursor *)base;
    if (column == SEARCH_ROW)
        sqlite3_result_int64(context, c->matches[c->at].row);
    else if (column == SEARCH_SCORE)
        sqlite3_result_double(context, c->matches[c->at].score);
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
    return op_sql_add_module(sql, "fuzzy_search", &module, sql, err);
}
