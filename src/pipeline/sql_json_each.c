/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "pipeline/sql_json.h"

/* json_each, over sql_json.h: SQLite's columns, constraints and numbering. */

enum {
    EACH_KEY,
    EACH_VALUE,
    EACH_TYPE,
    EACH_ATOM,
    EACH_ID,
    EACH_PARENT,
    EACH_FULLKEY,
    EACH_PATH,
    EACH_JSON, /* hidden: the two arguments */
    EACH_ROOT,
};

struct cursor;

struct table {
    sqlite3_vtab base;
    struct op_sqlenv *sql;
    struct cursor *spare; /* with its buffers, for the next result's run of the same SELECT */
};

struct cursor {
    sqlite3_vtab_cursor base;
    struct op_jref root;
    uint32_t first;   /* the node that counts as 0: where the text begins */
    uint32_t at, end; /* nodes of the root's document */
    int64_t row;
    struct op_jdoc own; /* when the text is not pinned: nothing else may replace it meanwhile */
    struct op_str json;
    struct op_buf path, text;
};

static int connect(sqlite3 *db, void *arg, int argc, const char *const *argv,
                   sqlite3_vtab **ret, char **ret_error)
{
    struct op_sqlenv *sql = arg;
    (void)db;
    (void)argc;
    (void)argv;
    (void)ret_error;
    int code = op_sql_declare(sql, "CREATE TABLE x(key,value,type,atom,id,parent,"
                                   "fullkey,path,json HIDDEN,root HIDDEN)");
    if (code != SQLITE_OK)
        return code;
    struct table *table = op_mem_alloc(sizeof(*table));
    table->sql = sql;
    *ret = &table->base;
    return SQLITE_OK;
}

static void free_cursor(struct cursor *cursor)
{
    if (!cursor)
        return;
    op_jdoc_release(&cursor->own);
    op_buf_release(&cursor->path);
    op_buf_release(&cursor->text);
    op_mem_free(cursor);
}

static int disconnect(sqlite3_vtab *vtab)
{
    free_cursor(((struct table *)vtab)->spare);
    op_mem_free(vtab);
    return SQLITE_OK;
}

/* The arguments are equalities on the hidden columns; all that are given must be usable. */
static int best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    int given[2] = {-1, -1};
    bool unusable[2] = {false, false};
    (void)vtab;
    for (int i = 0; i < info->nConstraint; i++) {
        int arg = info->aConstraint[i].iColumn - EACH_JSON;
        if (arg < 0)
            continue;
        if (!info->aConstraint[i].usable)
            unusable[arg] = true;
        else if (info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_EQ)
            given[arg] = i;
    }
    if ((unusable[0] && given[0] < 0) || (unusable[1] && given[1] < 0))
        return SQLITE_CONSTRAINT;
    if (info->nOrderBy > 0 && info->aOrderBy[0].iColumn < 0 && !info->aOrderBy[0].desc)
        info->orderByConsumed = 1;
    if (given[0] < 0)
        return SQLITE_OK; /* no JSON: no rows, and a huge cost so that this is not chosen */
    for (int arg = 0; arg < 2 && given[arg] >= 0; arg++) {
        info->aConstraintUsage[given[arg]].argvIndex = arg + 1;
        info->aConstraintUsage[given[arg]].omit = 1;
        info->idxNum = arg + 1;
    }
    info->estimatedCost = 1;
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *vtab, sqlite3_vtab_cursor **ret)
{
    struct table *table = (struct table *)vtab;
    struct cursor *cursor = OP_TAKE(table->spare);
    if (!cursor) {
        cursor = op_mem_alloc(sizeof(*cursor));
        op_jdoc_init(&cursor->own);
        op_buf_init(&cursor->path, OP_SQL_MAX_LENGTH);
        op_buf_init(&cursor->text, OP_SQL_MAX_LENGTH);
    }
    *ret = &cursor->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;
    struct table *table = (struct table *)base->pVtab;
    if (table->spare)
        free_cursor(cursor);
    else
        table->spare = cursor;
    return SQLITE_OK;
}

static int fail(sqlite3_vtab_cursor *base, char *message)
{
    sqlite3_free(base->pVtab->zErrMsg);
    base->pVtab->zErrMsg = message;
    return SQLITE_ERROR;
}

static struct op_jref load(struct cursor *cursor, struct op_str text, bool *ret_malformed)
{
    struct op_sqlenv *sql = ((struct table *)cursor->base.pVtab)->sql;
    struct op_jref root = op_sql_json_pinned(sql, text, ret_malformed);
    cursor->json = text;
    if (root.doc || *ret_malformed)
        return root;
    op_buf_clear(&cursor->own.copy);
    op_buf_add_str(&cursor->own.copy, text);
    cursor->json = op_buf_str(&cursor->own.copy);
    *ret_malformed = !op_jdoc_parse(&cursor->own, cursor->json);
    return *ret_malformed ? root : (struct op_jref){&cursor->own, 0};
}

static int filter(sqlite3_vtab_cursor *base, int number, const char *unused, int argc,
                  sqlite3_value **argv)
{
    struct cursor *cursor = (struct cursor *)base;
    (void)unused;
    (void)argc;
    cursor->root = (struct op_jref){0};
    cursor->at = cursor->end = 0;
    cursor->row = 0;
    op_buf_clear(&cursor->path);
    struct op_str text = number ? op_sql_json_arg(argv[0]) : OP_STR_NULL;
    bool malformed = false;
    if (!text.ptr)
        return SQLITE_OK;
    struct op_jref root = load(cursor, text, &malformed);
    if (malformed)
        return fail(base, sqlite3_mprintf("malformed JSON"));
    op_buf_addc(&cursor->path, '$');
    cursor->first = root.at;
    if (number == 2) {
        const char *path = (const char *)sqlite3_value_text(argv[1]), *wrong = path;
        if (!path)
            return SQLITE_OK;
        if (path[0] == '$')
            root = op_jref_path(root, path + 1, &wrong);
        if (wrong)
            return fail(base, op_jpath_error(wrong));
        if (!root.doc)
            return SQLITE_OK;
        op_buf_clear(&cursor->path);
        op_buf_addz(&cursor->path, path);
    }
    const struct op_jnode *node = op_jref_node(root);
    cursor->root = root;
    cursor->at = root.at + (node->type >= OP_J_ARRAY);
    cursor->end = root.at + op_jnode_size(node);
    return SQLITE_OK;
}

static int next(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;
    const struct op_jnode *nodes = cursor->root.doc->nodes;
    if (nodes[cursor->root.at].type == OP_J_OBJECT)
        cursor->at++; /* the name */
    cursor->at = nodes[cursor->root.at].type >= OP_J_ARRAY
                     ? cursor->at + op_jnode_size(&nodes[cursor->at])
                     : cursor->end;
    cursor->row++;
    return SQLITE_OK;
}

static int at_end(sqlite3_vtab_cursor *base)
{
    const struct cursor *cursor = (struct cursor *)base;
    return cursor->at >= cursor->end;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/* .name, or ."name" when it is no plain word. */
static void add_name(struct op_buf *out, const char *quoted, size_t len)
{
    size_t i = 1;
    op_buf_addc(out, '.');
    if (!is_digit(quoted[1]))
        while (i < len - 1 && (is_digit(quoted[i]) || is_letter(quoted[i])))
            i++;
    if (len > 2 && i == len - 1)
        op_buf_add(out, quoted + 1, len - 2);
    else
        op_buf_add(out, quoted, len);
}

static void give_fullkey(struct cursor *cursor, sqlite3_context *c)
{
    const struct op_jdoc *doc = cursor->root.doc;
    struct op_buf *out = &cursor->text;
    op_buf_clear(out);
    op_buf_add_str(out, op_buf_str(&cursor->path));
    if (op_jref_node(cursor->root)->type == OP_J_ARRAY)
        op_buf_addf(out, "[%lld]", (long long)cursor->row);
    else if (op_jref_node(cursor->root)->type == OP_J_OBJECT)
        add_name(out, doc->text + doc->nodes[cursor->at].at, doc->nodes[cursor->at].len);
    sqlite3_result_text64(c, out->ptr, out->len, SQLITE_TRANSIENT, SQLITE_UTF8);
}

static int column(sqlite3_vtab_cursor *base, sqlite3_context *c, int column)
{
    struct cursor *cursor = (struct cursor *)base;
    struct op_sqlenv *sql = ((struct table *)base->pVtab)->sql;
    struct op_jref here = {cursor->root.doc, cursor->at};
    enum op_jtype root_type = (enum op_jtype)op_jref_node(cursor->root)->type;
    if (column != EACH_KEY && root_type == OP_J_OBJECT)
        here.at++;
    enum op_jtype type = (enum op_jtype)op_jref_node(here)->type;
    switch (column) {
    case EACH_KEY:
        if (root_type == OP_J_OBJECT)
            op_jref_result(c, sql, here);
        else if (root_type == OP_J_ARRAY)
            sqlite3_result_int64(c, cursor->row);
        break;
    case EACH_VALUE:
        op_jref_result(c, sql, here);
        break;
    case EACH_TYPE:
        sqlite3_result_text(c, op_jtype_name(type), -1, SQLITE_STATIC);
        break;
    case EACH_ATOM:
        if (type < OP_J_ARRAY)
            op_jref_result(c, sql, here);
        break;
    case EACH_ID:
        sqlite3_result_int64(c, here.at - cursor->first);
        break;
    case EACH_FULLKEY:
        give_fullkey(cursor, c);
        break;
    case EACH_PATH:
    case EACH_ROOT:
        sqlite3_result_text64(c, cursor->path.ptr, cursor->path.len, SQLITE_TRANSIENT,
                              SQLITE_UTF8);
        break;
    case EACH_JSON:
        sqlite3_result_text64(c, cursor->json.ptr, cursor->json.len, SQLITE_TRANSIENT,
                              SQLITE_UTF8);
        break;
    case EACH_PARENT: /* only json_tree has one */
    default:
        break;
    }
    return SQLITE_OK;
}

static int rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *ret)
{
    *ret = ((struct cursor *)base)->row;
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

enum op_rc op_sql_add_json_each(struct op_sqlenv *sql, struct op_err *err)
{
    return op_sql_add_module(sql, "json_each", &module, sql, err);
}
