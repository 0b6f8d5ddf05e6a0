/* SPDX-License-Identifier: MIT */
#include "pipeline/sql_quick.h"

#include <strings.h>

#include "base/mem.h"
#include "pipeline/sql_json.h"

#define MAX_COLUMNS 64
#define MAX_NAME    64

/* What a cell is. */
enum what {
    ANSWERS_KEY,
    ANSWERS_REQUEST,
    ANSWERS_ID,
    ANSWERS_ANSWER,
    ITEM_KEY,
    ITEM_VALUE,
};

struct column {
    enum what what;
    enum { WHOLE, MEMBER, MEMBER_JSON } part; /* of ANSWERS_ANSWER and ITEM_VALUE */
    char member[MAX_NAME];
    int64_t plus;       /* of ITEM_KEY */
    struct op_buf text; /* of a cell that has to be unescaped */
};

struct op_quick {
    struct op_sqlenv *sql;
    struct column *columns;
    size_t count;
    char answers[MAX_NAME], items[MAX_NAME]; /* aliases; items "": there is no json_each */
    char path[MAX_NAME];                     /* of json_each, behind the $ */
    /* the rows of the present context */
    struct op_jref answer, array;
    uint32_t at, end;
    int64_t row;
    struct op_value cells[MAX_COLUMNS];
};

/* --- recognising -------------------------------------------------------------------------- */

enum token { END, WORD, NUMBER, TEXT, SIGN, OTHER };

struct scan {
    struct op_str rest;
    enum token token;
    struct op_str text; /* of a TEXT what is between the quotes */
};

static bool is_word(char c, bool first)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    return letter || (!first && c >= '0' && c <= '9');
}

static void take(struct scan *s, enum token token, size_t len)
{
    s->token = token;
    s->text = (struct op_str){s->rest.ptr, len};
    s->rest.ptr += len;
    s->rest.len -= len;
}

static void next(struct scan *s)
{
    static const char *const signs[] = {"->>", "->", ",", ".", "(", ")", "+", ";"};
    while (s->rest.len && strchr(" \t\r\n", s->rest.ptr[0]))
        take(s, OTHER, 1);
    size_t len = 0;
    if (s->rest.len == 0) {
        take(s, END, 0);
        return;
    }
    if (s->rest.ptr[0] == '\'') {
        const char *end = memchr(s->rest.ptr + 1, '\'', s->rest.len - 1);
        size_t all = end ? (size_t)(end - s->rest.ptr) + 1 : 1;
        bool plain = end && (all == s->rest.len || end[1] != '\'');
        take(s, plain ? TEXT : OTHER, all);
        s->text.ptr++;
        s->text.len = plain ? all - 2 : 0;
        return;
    }
    while (len < s->rest.len && is_word(s->rest.ptr[len], len == 0))
        len++;
    if (len) {
        take(s, WORD, len);
        return;
    }
    while (len < s->rest.len && s->rest.ptr[len] >= '0' && s->rest.ptr[len] <= '9')
        len++;
    if (len) {
        take(s, NUMBER, len);
        return;
    }
    for (size_t i = 0; i < OP_COUNT(signs); i++) {
        if (op_str_starts(s->rest, signs[i])) {
            take(s, SIGN, strlen(signs[i]));
            return;
        }
    }
    take(s, OTHER, 1);
}

static bool is_same(struct op_str a, const char *b)
{
    return a.len == strlen(b) && strncasecmp(a.ptr, b, a.len) == 0;
}

static bool accept(struct scan *s, enum token token, const char *text)
{
    if (s->token != token || !is_same(s->text, text))
        return false;
    next(s);
    return true;
}

static bool keep(struct scan *s, enum token token, char ret[MAX_NAME])
{
    if (s->token != token || s->text.len == 0 || s->text.len >= MAX_NAME)
        return false;
    memcpy(ret, s->text.ptr, s->text.len);
    ret[s->text.len] = '\0';
    next(s);
    return true;
}

static bool is_name(const char *text)
{
    for (size_t i = 0; text[i]; i++)
        if (!is_word(text[i], i == 0))
            return false;
    return text[0] != '\0';
}

static bool is_keyword(const char *word)
{
    static const char *const words[] = {
        "where",  "group",  "order",   "limit",  "on",        "using", "join",   "inner",
        "left",   "right",  "full",    "cross",  "natural",   "union", "except", "intersect",
        "having", "window", "as",      "from",   "indexed",   "not",   "select", "distinct",
        "all",    "null",   "collate", "offset", "returning", "case",  "exists", "values"};
    for (size_t i = 0; i < OP_COUNT(words); i++)
        if (strcasecmp(word, words[i]) == 0)
            return true;
    return false;
}

/* [AS] alias, where there is one; a word that goes on with the SELECT is left to the caller. */
static bool read_alias(struct scan *s, char ret[MAX_NAME])
{
    char alias[MAX_NAME];
    bool as = accept(s, WORD, "as");
    struct scan before = *s;
    if (!keep(s, WORD, alias))
        return !as;
    if (is_keyword(alias)) {
        *s = before;
        return !as;
    }
    memcpy(ret, alias, sizeof(alias));
    return true;
}

/* The table of a column is known only once FROM is read, so its name is kept beside the column. */
struct named {
    char table[MAX_NAME], name[MAX_NAME];
};

static bool read_column(struct scan *s, struct column *column, struct named *ret)
{
    char alias[MAX_NAME];
    *ret = (struct named){0};
    if (!keep(s, WORD, ret->name) || is_keyword(ret->name))
        return false;
    if (accept(s, SIGN, ".")) {
        memcpy(ret->table, ret->name, sizeof(ret->table));
        if (!keep(s, WORD, ret->name))
            return false;
    }
    bool json = s->token == SIGN && is_same(s->text, "->");
    if (json || (s->token == SIGN && is_same(s->text, "->>"))) {
        next(s);
        column->part = json ? MEMBER_JSON : MEMBER;
        if (!keep(s, TEXT, column->member) || !is_name(column->member))
            return false;
    } else if (accept(s, SIGN, "+")) {
        if (s->token != NUMBER || s->text.len > 9 || !op_str_int64(s->text, &column->plus))
            return false;
        next(s);
        column->part = WHOLE;
        if (strcasecmp(ret->name, "key") != 0)
            return false;
        memcpy(ret->name, "key+", sizeof("key+"));
    }
    return read_alias(s, alias);
}

/* json_each(a.answer, '$.items') AS i */
static bool read_items(struct op_quick *q, struct scan *s)
{
    struct named answer = {0};
    char path[MAX_NAME] = "$";
    if (!accept(s, WORD, "json_each") || !accept(s, SIGN, "(") || !keep(s, WORD, answer.name))
        return false;
    if (accept(s, SIGN, ".")) {
        memcpy(answer.table, answer.name, sizeof(answer.table));
        if (!keep(s, WORD, answer.name))
            return false;
    }
    if (strcasecmp(answer.name, "answer") != 0 ||
        (answer.table[0] && strcasecmp(answer.table, q->answers) != 0))
        return false;
    if (accept(s, SIGN, ",") && !keep(s, TEXT, path))
        return false;
    if (path[0] != '$' || !accept(s, SIGN, ")"))
        return false;
    memcpy(q->path, path + 1, sizeof(path) - 1);
    memcpy(q->items, "json_each", sizeof("json_each"));
    return read_alias(s, q->items) && strcasecmp(q->items, q->answers) != 0;
}

static bool read_from(struct op_quick *q, struct scan *s)
{
    if (!accept(s, WORD, "from") || !accept(s, WORD, "answers"))
        return false;
    memcpy(q->answers, "answers", sizeof("answers"));
    if (!read_alias(s, q->answers) || (accept(s, SIGN, ",") && !read_items(q, s)))
        return false;
    (void)accept(s, SIGN, ";");
    return s->token == END;
}

/* Both tables have a column `key`, so that a bare name is clear only when there is one table. */
static bool resolve(const struct op_quick *q, const struct named *named, struct column *column)
{
    static const struct {
        const char *name;
        enum what what;
        bool item, plus, parts;
    } known[] = {
        {"key", ANSWERS_KEY, false, false, false},
        {"request", ANSWERS_REQUEST, false, false, false},
        {"id", ANSWERS_ID, false, false, false},
        {"answer", ANSWERS_ANSWER, false, false, true},
        {"key", ITEM_KEY, true, false, false},
        {"key+", ITEM_KEY, true, true, false},
        {"value", ITEM_VALUE, true, false, true},
    };
    bool item = q->items[0] && strcasecmp(named->table, q->items) == 0;
    if (!item && strcasecmp(named->table, q->answers) != 0 && (named->table[0] || q->items[0]))
        return false;
    for (size_t i = 0; i < OP_COUNT(known); i++) {
        if (known[i].item != item || strcasecmp(known[i].name, named->name) != 0)
            continue;
        column->what = known[i].what;
        return known[i].parts || column->part == WHOLE;
    }
    return false;
}

static bool read_select(struct op_quick *q, struct scan *s)
{
    OP_CLEANUP(op_mem_freep) struct named *named = op_mem_array(MAX_COLUMNS, sizeof(*named));
    next(s);
    if (!accept(s, WORD, "select"))
        return false;
    do {
        if (q->count == MAX_COLUMNS || !read_column(s, &q->columns[q->count], &named[q->count]))
            return false;
        q->count++;
    } while (accept(s, SIGN, ","));
    if (!read_from(q, s))
        return false;
    for (size_t i = 0; i < q->count; i++)
        if (!resolve(q, &named[i], &q->columns[i]))
            return false;
    return true;
}

struct op_quick *op_quick_open(struct op_sqlenv *sql, struct op_str text)
{
    struct op_quick *q = op_mem_alloc(sizeof(*q));
    q->sql = sql;
    q->columns = op_mem_array(MAX_COLUMNS, sizeof(*q->columns));
    for (size_t i = 0; i < MAX_COLUMNS; i++)
        op_buf_init(&q->columns[i].text, OP_SQL_MAX_LENGTH);
    struct scan scan = {.rest = text};
    if (read_select(q, &scan))
        return q;
    op_quick_close(q);
    return NULL;
}

void op_quick_close(struct op_quick *q)
{
    if (!q)
        return;
    for (size_t i = 0; i < MAX_COLUMNS; i++)
        op_buf_release(&q->columns[i].text);
    op_mem_free(q->columns);
    op_mem_free(q);
}

size_t op_quick_columns(const struct op_quick *q)
{
    return q->count;
}

/* --- rows --------------------------------------------------------------------------------- */

static bool is_container(struct op_jref ref)
{
    return op_jref_node(ref)->type >= OP_J_ARRAY;
}

static bool has_parts(const struct op_quick *q, enum what what)
{
    for (size_t i = 0; i < q->count; i++)
        if (q->columns[i].what == what && q->columns[i].part != WHOLE)
            return true;
    return false;
}

/* Parts are taken of containers only: SQLite reads a text that is asked for a part as JSON. */
static bool begin_items(struct op_quick *q)
{
    const char *wrong = NULL;
    q->array = op_jref_path(q->answer, q->path, &wrong);
    if (wrong)
        return false;
    if (!q->array.doc)
        return true;
    if (op_jref_node(q->array)->type != OP_J_ARRAY)
        return false;
    q->at = q->array.at + 1;
    q->end = q->array.at + op_jnode_size(op_jref_node(q->array));
    struct op_jref item = {q->array.doc, q->at};
    for (bool parts = has_parts(q, ITEM_VALUE); parts && item.at < q->end;
         item.at += op_jnode_size(op_jref_node(item)))
        if (!is_container(item))
            return false;
    return true;
}

bool op_quick_begin(struct op_quick *q)
{
    const struct op_context *x = &q->sql->context;
    q->answer = q->array = (struct op_jref){0};
    q->at = q->end = 0;
    q->row = 0;
    if (x->request < 0 || !x->answer.ptr)
        return true;
    bool parts = has_parts(q, ANSWERS_ANSWER);
    if (parts || q->items[0]) {
        bool malformed = false;
        q->answer = op_sql_json_pinned(q->sql, x->answer, &malformed);
        if (!q->answer.doc || (parts && !is_container(q->answer)))
            return false;
    }
    if (q->items[0])
        return begin_items(q);
    q->end = 1;
    return true;
}

static struct op_value text_or_null(struct op_str s)
{
    return s.ptr ? op_value_text(s) : op_value_null();
}

static struct op_value part_of(struct column *column, struct op_jref ref)
{
    if (column->part == WHOLE)
        return op_jref_value(ref, &column->text);
    ref = op_jref_member(ref, op_str_from(column->member));
    if (!ref.doc)
        return op_value_null();
    if (column->part == MEMBER)
        return op_jref_value(ref, &column->text);
    const struct op_jnode *node = op_jref_node(ref);
    return op_value_text((struct op_str){ref.doc->text + node->at, node->len});
}

static struct op_value cell(struct op_quick *q, struct column *column)
{
    const struct op_context *x = &q->sql->context;
    switch (column->what) {
    case ANSWERS_KEY:
        return text_or_null(x->key);
    case ANSWERS_REQUEST:
        return op_value_text(op_str_from(q->sql->plan->def->requests[x->request].name));
    case ANSWERS_ID:
        return op_value_int(x->request_id);
    case ANSWERS_ANSWER:
        return column->part == WHOLE ? text_or_null(x->answer) : part_of(column, q->answer);
    case ITEM_KEY:
        return op_value_int(q->row + column->plus);
    case ITEM_VALUE:
    default:
        return part_of(column, (struct op_jref){q->array.doc, q->at});
    }
}

const struct op_value *op_quick_next(struct op_quick *q)
{
    if (q->row > 0)
        q->at += q->array.doc ? op_jnode_size(&q->array.doc->nodes[q->at]) : 1;
    if (q->at >= q->end)
        return NULL;
    for (size_t i = 0; i < q->count; i++)
        q->cells[i] = cell(q, &q->columns[i]);
    q->row++;
    return q->cells;
}
