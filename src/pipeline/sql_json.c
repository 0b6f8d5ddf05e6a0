/* SPDX-License-Identifier: MIT */
#include "pipeline/sql_json.h"

#include <math.h>

#include "base/mem.h"

#define PINNED 4
#define CACHED 6
/* Longer texts are not worth comparing byte by byte on the chance that they are the same. */
#define CACHED_MAX (1024 * 1024)

struct op_sql_json {
    struct op_jdoc pinned[PINNED];
    size_t pinned_count;
    struct op_jdoc cached[CACHED];
    uint64_t used_at[CACHED]; /* 0: holds nothing */
    uint64_t clock;
    struct op_buf text; /* of one result, and of paths */
};

/* --- documents ---------------------------------------------------------------------------- */

static struct op_sql_json *json_new(void)
{
    struct op_sql_json *json = op_mem_alloc(sizeof(*json));
    for (size_t i = 0; i < PINNED; i++)
        op_jdoc_init(&json->pinned[i]);
    for (size_t i = 0; i < CACHED; i++)
        op_jdoc_init(&json->cached[i]);
    op_buf_init(&json->text, OP_SQL_MAX_LENGTH);
    return json;
}

void op_sql_json_free(struct op_sql_json *json)
{
    if (!json)
        return;
    for (size_t i = 0; i < PINNED; i++)
        op_jdoc_release(&json->pinned[i]);
    for (size_t i = 0; i < CACHED; i++)
        op_jdoc_release(&json->cached[i]);
    op_buf_release(&json->text);
    op_mem_free(json);
}

void op_sql_json_forget(struct op_sql_json *json)
{
    json->pinned_count = 0;
}

struct op_str op_sql_json_arg(sqlite3_value *v)
{
    struct op_str s = OP_STR_NULL;
    int type = sqlite3_value_type(v);
    if (type == SQLITE_NULL)
        return s;
    /* As a blob: asking for text would make SQLite copy what lacks a final NUL. */
    s.ptr = type == SQLITE_TEXT || type == SQLITE_BLOB ? sqlite3_value_blob(v)
                                                       : (const char *)sqlite3_value_text(v);
    s.len = (size_t)sqlite3_value_bytes(v);
    return s.ptr ? s : OP_STR("");
}

/* The container that begins at this byte of a pinned document and ends where the text does. */
static struct op_jref find_part(struct op_jdoc *doc, struct op_str text)
{
    uint32_t at = (uint32_t)(text.ptr - doc->text);
    uint32_t lo = 0, hi = doc->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (doc->nodes[mid].at < at)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < doc->count && doc->nodes[lo].at == at && doc->nodes[lo].len == text.len &&
        doc->nodes[lo].type >= OP_J_ARRAY)
        return (struct op_jref){doc, lo};
    return (struct op_jref){0};
}

static struct op_jref find_pinned(struct op_sql_json *json, struct op_str text)
{
    for (size_t i = 0; i < json->pinned_count; i++) {
        struct op_jdoc *doc = &json->pinned[i];
        if (text.ptr == doc->source.ptr && text.len == doc->source.len)
            return (struct op_jref){doc, 0};
        if ((uintptr_t)text.ptr - (uintptr_t)doc->text < doc->len) {
            struct op_jref part = find_part(doc, text);
            if (part.doc)
                return part;
        }
    }
    return (struct op_jref){0};
}

/* Does the text belong to the context, so that it stays where it is until the next one? */
static bool is_lasting(const struct op_sqlenv *sql, struct op_str text)
{
    const struct op_context *x = &sql->context;
    if (!text.ptr)
        return false;
    if (text.ptr == x->answer.ptr)
        return text.len == x->answer.len;
    if (text.ptr == x->line.ptr)
        return text.len == x->line.len;
    if (x->result && text.ptr == x->result->text.ptr)
        return text.len == x->result->text.len;
    for (size_t i = 0; sql->record_loaded && i < sql->record_column_count; i++) {
        struct op_value v = sql->record_cells[i];
        if (v.type == OP_VALUE_TEXT && v.s.ptr == text.ptr && v.s.len == text.len)
            return true;
    }
    return false;
}

struct op_jref op_sql_json_pinned(struct op_sqlenv *sql, struct op_str text,
                                  bool *ret_malformed)
{
    struct op_sql_json *json = sql->json;
    *ret_malformed = false;
    struct op_jref found = find_pinned(json, text);
    if (found.doc || json->pinned_count == PINNED || !is_lasting(sql, text))
        return found;
    struct op_jdoc *doc = &json->pinned[json->pinned_count];
    doc->pinned = true;
    if (!op_jdoc_parse(doc, text)) {
        *ret_malformed = true;
        return found;
    }
    json->pinned_count++;
    return (struct op_jref){doc, 0};
}

struct op_jref op_sql_json_get(struct op_sqlenv *sql, struct op_str text, bool *ret_malformed)
{
    struct op_sql_json *json = sql->json;
    struct op_jref found = op_sql_json_pinned(sql, text, ret_malformed);
    if (found.doc || *ret_malformed)
        return found;
    size_t oldest = 0;
    for (size_t i = 0; i < CACHED; i++) {
        struct op_jdoc *doc = &json->cached[i];
        if (json->used_at[i] && doc->source.len == text.len && text.len <= CACHED_MAX &&
            memcmp(doc->source.ptr, text.ptr, text.len) == 0) {
            json->used_at[i] = ++json->clock;
            return (struct op_jref){doc, 0};
        }
        if (json->used_at[i] < json->used_at[oldest])
            oldest = i;
    }
    struct op_jdoc *doc = &json->cached[oldest];
    json->used_at[oldest] = 0;
    op_buf_clear(&doc->copy);
    op_buf_add_str(&doc->copy, text);
    if (!op_jdoc_parse(doc, op_buf_str(&doc->copy))) {
        *ret_malformed = true;
        return found;
    }
    json->used_at[oldest] = ++json->clock;
    return (struct op_jref){doc, 0};
}

/* --- results ------------------------------------------------------------------------------ */

const char *op_jtype_name(enum op_jtype type)
{
    static const char *const names[] = {"null", "true", "false", "integer",
                                        "real", "text", "array", "object"};
    return names[type];
}

/* A part of a pinned document is given as it is; others are copied by SQLite. */
static void give_part(sqlite3_context *c, const struct op_jdoc *doc, const char *ptr,
                      size_t len)
{
    sqlite3_result_text64(c, ptr, len, doc->pinned ? SQLITE_STATIC : SQLITE_TRANSIENT,
                          SQLITE_UTF8);
}

static uint32_t hex4(const char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        int c = (unsigned char)p[i];
        v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return v;
}

static void put_utf8(struct op_buf *out, uint32_t v)
{
    char b[4];
    size_t n = 0;
    if (v < 0x80) {
        b[n++] = (char)v;
    } else if (v < 0x800) {
        b[n++] = (char)(0xC0 | v >> 6);
        b[n++] = (char)(0x80 | (v & 0x3F));
    } else if (v < 0x10000) {
        b[n++] = (char)(0xE0 | v >> 12);
        b[n++] = (char)(0x80 | (v >> 6 & 0x3F));
        b[n++] = (char)(0x80 | (v & 0x3F));
    } else {
        b[n++] = (char)(0xF0 | v >> 18);
        b[n++] = (char)(0x80 | (v >> 12 & 0x3F));
        b[n++] = (char)(0x80 | (v >> 6 & 0x3F));
        b[n++] = (char)(0x80 | (v & 0x3F));
    }
    op_buf_add(out, b, n);
}

/* One \uXXXX, or two that make one character. Returns where it goes on; NULL: a NUL, which ends the
 * text, as in SQLite. A surrogate alone, which UTF-8 cannot write, becomes U+FFFD. */
static const char *put_unicode(struct op_buf *out, const char *p, const char *end)
{
    uint32_t v = hex4(p + 2);
    p += 6;
    if (v == 0)
        return NULL;
    if ((v & 0xFC00) == 0xD800 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
        uint32_t low = hex4(p + 2);
        if ((low & 0xFC00) == 0xDC00) {
            put_utf8(out, 0x10000 + ((v & 0x3FF) << 10) + (low & 0x3FF));
            return p + 6;
        }
    }
    put_utf8(out, (v & 0xF800) == 0xD800 ? 0xFFFD : v);
    return p;
}

/* The text without its backslashes; p and end are what is between the quotes. */
static void unescape(struct op_buf *out, const char *p, const char *end)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    op_buf_clear(out);
    while (p && p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        op_buf_add(out, p, (size_t)((slash ? slash : end) - p));
        if (!slash)
            return;
        if (slash[1] == 'u') {
            p = put_unicode(out, slash, end);
            continue;
        }
        const char *at = strchr(from, slash[1]);
        op_buf_addc(out, at ? to[at - from] : slash[1]);
        p = slash + 2;
    }
}

static struct op_value real_of(struct op_str digits)
{
    double value = 0;
    if (!op_str_double(digits, &value)) /* beyond a double's range */
        value = digits.ptr[0] == '-' ? -HUGE_VAL : HUGE_VAL;
    return op_value_double(value);
}

static struct op_value text_of(const struct op_jnode *node, const char *ptr,
                               struct op_buf *text)
{
    if (!node->escapes)
        return op_value_text((struct op_str){ptr + 1, node->len - 2});
    unescape(text, ptr + 1, ptr + node->len - 1);
    return op_value_text(text->ptr ? op_buf_str(text) : OP_STR(""));
}

struct op_value op_jref_value(struct op_jref ref, struct op_buf *text)
{
    const struct op_jnode *node = op_jref_node(ref);
    struct op_str part = {ref.doc->text + node->at, node->len};
    int64_t number = 0;
    switch ((enum op_jtype)node->type) {
    case OP_J_TRUE:
    case OP_J_FALSE:
        return op_value_int(node->type == OP_J_TRUE);
    case OP_J_INT:
        return op_str_int64(part, &number) ? op_value_int(number) : real_of(part);
    case OP_J_REAL:
        return real_of(part);
    case OP_J_TEXT:
        return text_of(node, part.ptr, text);
    case OP_J_ARRAY:
    case OP_J_OBJECT:
        return op_value_text(part);
    case OP_J_NULL:
    default:
        return op_value_null();
    }
}

void op_jref_result(sqlite3_context *c, struct op_sqlenv *sql, struct op_jref ref)
{
    const struct op_jnode *node = op_jref_node(ref);
    if (node->type >= OP_J_ARRAY) {
        op_jref_result_json(c, ref);
        return;
    }
    struct op_value v = op_jref_value(ref, &sql->json->text);
    if (v.type == OP_VALUE_INT)
        sqlite3_result_int64(c, v.i);
    else if (v.type == OP_VALUE_DOUBLE)
        sqlite3_result_double(c, v.d);
    else if (v.type == OP_VALUE_TEXT && node->escapes)
        sqlite3_result_text64(c, v.s.ptr, v.s.len, SQLITE_TRANSIENT, SQLITE_UTF8);
    else if (v.type == OP_VALUE_TEXT)
        give_part(c, ref.doc, v.s.ptr, v.s.len);
}

void op_jref_result_json(sqlite3_context *c, struct op_jref ref)
{
    const struct op_jnode *node = op_jref_node(ref);
    give_part(c, ref.doc, ref.doc->text + node->at, node->len);
    sqlite3_result_subtype(c, OP_J_SUBTYPE);
}

/* --- paths -------------------------------------------------------------------------------- */

char *op_jpath_error(const char *at)
{
    return sqlite3_mprintf("JSON path error near '%q'", at);
}

/* As it is written; a name with escapes also by what they mean. */
static bool label_is(struct op_jref root, const struct op_jnode *label, struct op_str name)
{
    const char *ptr = root.doc->text + label->at + 1;
    size_t len = label->len - 2;
    if (len == name.len && memcmp(ptr, name.ptr, len) == 0)
        return true;
    if (!label->escapes)
        return false;
    OP_CLEANUP(op_buf_release) struct op_buf plain;
    op_buf_init(&plain, OP_SQL_MAX_LENGTH);
    unescape(&plain, ptr, ptr + len);
    return op_str_eq(op_buf_str(&plain), name);
}

/* Of two members of one name the first, as in SQLite. */
static struct op_jref member(struct op_jref root, struct op_str name)
{
    const struct op_jnode *node = op_jref_node(root);
    uint32_t end = root.at + node->inside;
    for (uint32_t i = root.at + 1; i < end;) {
        const struct op_jnode *label = &root.doc->nodes[i];
        if (label_is(root, label, name))
            return (struct op_jref){root.doc, i + 1};
        i += 1 + op_jnode_size(label + 1);
    }
    return (struct op_jref){0};
}

struct op_jref op_jref_member(struct op_jref root, struct op_str name)
{
    return op_jref_node(root)->type == OP_J_OBJECT ? member(root, name) : (struct op_jref){0};
}

static uint32_t element_count(struct op_jref array)
{
    const struct op_jnode *node = op_jref_node(array);
    uint32_t count = 0, end = array.at + node->inside;
    for (uint32_t i = array.at + 1; i <= end; count++)
        i += op_jnode_size(&array.doc->nodes[i]);
    return count;
}

static struct op_jref element(struct op_jref array, uint32_t index)
{
    const struct op_jnode *node = op_jref_node(array);
    uint32_t end = array.at + node->inside;
    for (uint32_t i = array.at + 1; i <= end; index--) {
        if (index == 0)
            return (struct op_jref){array.doc, i};
        i += op_jnode_size(&array.doc->nodes[i]);
    }
    return (struct op_jref){0};
}

static const char *read_digits(const char *p, uint32_t *ret)
{
    uint32_t v = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        v = v * 10 + (uint32_t)(*p - '0');
    *ret = v;
    return p;
}

/* .name or ."name"; *path is behind the point. */
static struct op_jref step_name(struct op_jref root, const char **path, const char **ret_error)
{
    const char *p = *path;
    struct op_str name;
    if (*p == '"') {
        const char *close = strchr(p + 1, '"');
        name = (struct op_str){p + 1, close ? (size_t)(close - p - 1) : 0};
        *path = close ? close + 1 : p;
        if (!close)
            *ret_error = p;
    } else {
        name = (struct op_str){p, strcspn(p, ".[")};
        *path = p + name.len;
        if (name.len == 0)
            *ret_error = p;
    }
    if (*ret_error)
        return (struct op_jref){0};
    return member(root, name);
}

/* [N], [#] or [#-N]; *path is at the bracket. What is no array has no element, but a broken path is
 * broken all the same, except behind [#. */
static struct op_jref step_index(struct op_jref root, const char **path, const char **ret_error)
{
    struct op_jref none = {0};
    bool array = op_jref_node(root)->type == OP_J_ARRAY;
    uint32_t index = 0;
    const char *p = read_digits(*path + 1, &index);
    if (p == *path + 1 || *p != ']') {
        if ((*path)[1] != '#') {
            *ret_error = *path;
            return none;
        }
        if (!array)
            return none;
        index = element_count(root);
        p = *path + 2;
        if (p[0] == '-' && p[1] >= '0' && p[1] <= '9') {
            uint32_t back = 0;
            p = read_digits(p + 1, &back);
            if (back > index)
                return none;
            index -= back;
        }
        if (*p != ']') {
            *ret_error = *path;
            return none;
        }
    }
    *path = p + 1;
    return array ? element(root, index) : none;
}

struct op_jref op_jref_path(struct op_jref root, const char *path, const char **ret_error)
{
    *ret_error = NULL;
    while (*path && root.doc) {
        if (*path == '.') {
            path++;
            root = op_jref_node(root)->type == OP_J_OBJECT ? step_name(root, &path, ret_error)
                                                           : (struct op_jref){0};
        } else if (*path == '[') {
            root = step_index(root, &path, ret_error);
        } else {
            *ret_error = path;
        }
        if (*ret_error)
            return (struct op_jref){0};
    }
    return root;
}

/* --- the functions ------------------------------------------------------------------------ */

/* The document of the first argument; its errors are said. */
static struct op_jref document(sqlite3_context *c, sqlite3_value *v)
{
    struct op_jref none = {0};
    struct op_str text = op_sql_json_arg(v);
    bool malformed = false;
    if (!text.ptr)
        return none;
    struct op_jref doc = op_sql_json_get(sqlite3_user_data(c), text, &malformed);
    if (malformed)
        sqlite3_result_error(c, "malformed JSON", -1);
    return doc;
}

/* Looks a path up; false: an error was said. */
static bool look_up(sqlite3_context *c, struct op_jref root, const char *path,
                    struct op_jref *ret)
{
    const char *wrong = NULL;
    *ret = (struct op_jref){0};
    if (!path)
        return true;
    if (path[0] != '$')
        wrong = path;
    else
        *ret = op_jref_path(root, path + 1, &wrong);
    if (!wrong)
        return true;
    char *message = op_jpath_error(wrong);
    sqlite3_result_error(c, message, -1);
    sqlite3_free(message);
    return false;
}

/* The operators also take a name or a number in place of a path. */
static bool look_up_short(sqlite3_context *c, struct op_jref root, const char *path,
                          struct op_jref *ret)
{
    *ret = (struct op_jref){0};
    if (!path || path[0] == '$')
        return look_up(c, root, path, ret);
    bool number = path[0] >= '0' && path[0] <= '9';
    if (!number && path[0] != '\0' && !path[strcspn(path, ".[\"")]) {
        if (op_jref_node(root)->type == OP_J_OBJECT)
            *ret = member(root, op_str_from(path));
        return true;
    }
    const struct op_sqlenv *sql = sqlite3_user_data(c);
    struct op_buf *full = &sql->json->text;
    op_buf_clear(full);
    op_buf_addf(full, number ? "$[%s]" : path[0] == '[' ? "$%s" : "$.%s", path);
    return look_up(c, root, full->ptr, ret);
}

static void arrow(sqlite3_context *c, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct op_jref root = document(c, argv[0]), found;
    if (root.doc && look_up_short(c, root, (const char *)sqlite3_value_text(argv[1]), &found) &&
        found.doc)
        op_jref_result_json(c, found);
}

static void arrow_value(sqlite3_context *c, int argc, sqlite3_value **argv)
{
    (void)argc;
    struct op_jref root = document(c, argv[0]), found;
    if (!root.doc ||
        !look_up_short(c, root, (const char *)sqlite3_value_text(argv[1]), &found) ||
        !found.doc)
        return;
    op_jref_result(c, sqlite3_user_data(c), found);
    sqlite3_result_subtype(c, 0);
}

static void extract_many(sqlite3_context *c, struct op_jref root, int argc,
                         sqlite3_value **argv)
{
    OP_CLEANUP(op_buf_release) struct op_buf out;
    op_buf_init(&out, OP_SQL_MAX_LENGTH);
    for (int i = 1; i < argc; i++) {
        struct op_jref found;
        if (!look_up(c, root, (const char *)sqlite3_value_text(argv[i]), &found))
            return;
        op_buf_addc(&out, i == 1 ? '[' : ',');
        const struct op_jnode *node = found.doc ? op_jref_node(found) : NULL;
        if (node)
            op_buf_add(&out, found.doc->text + node->at, node->len);
        else
            op_buf_addz(&out, "null");
    }
    op_buf_addc(&out, ']');
    if (out.failed) {
        sqlite3_result_error_toobig(c);
        return;
    }
    sqlite3_result_text64(c, out.ptr, out.len, SQLITE_TRANSIENT, SQLITE_UTF8);
    sqlite3_result_subtype(c, OP_J_SUBTYPE);
}

static void extract(sqlite3_context *c, int argc, sqlite3_value **argv)
{
    struct op_jref found;
    if (argc < 2)
        return;
    struct op_jref root = document(c, argv[0]);
    if (!root.doc)
        return;
    if (argc > 2)
        extract_many(c, root, argc, argv);
    else if (look_up(c, root, (const char *)sqlite3_value_text(argv[1]), &found) && found.doc)
        op_jref_result(c, sqlite3_user_data(c), found);
}

/* The value that json_type and json_array_length ask of: by a path, or the whole. */
static struct op_jref asked(sqlite3_context *c, int argc, sqlite3_value **argv)
{
    struct op_jref root = document(c, argv[0]), found = root;
    if (root.doc && argc == 2)
        (void)look_up(c, root, (const char *)sqlite3_value_text(argv[1]), &found);
    return found;
}

static void type_of(sqlite3_context *c, int argc, sqlite3_value **argv)
{
    struct op_jref found = asked(c, argc, argv);
    if (found.doc)
        sqlite3_result_text(c, op_jtype_name((enum op_jtype)op_jref_node(found)->type), -1,
                            SQLITE_STATIC);
}

static void array_length(sqlite3_context *c, int argc, sqlite3_value **argv)
{
    struct op_jref found = asked(c, argc, argv);
    if (found.doc)
        sqlite3_result_int64(c, op_jref_node(found)->type == OP_J_ARRAY ? element_count(found)
                                                                        : 0);
}

enum op_rc op_sql_add_json(struct op_sqlenv *sql, struct op_err *err)
{
    static const struct {
        const char *name;
        int argc;
        void (*fn)(sqlite3_context *, int, sqlite3_value **);
    } functions[] = {
        {"->", 2, arrow},
        {"->>", 2, arrow_value},
        {"json_extract", -1, extract},
        {"json_type", 1, type_of},
        {"json_type", 2, type_of},
        {"json_array_length", 1, array_length},
        {"json_array_length", 2, array_length},
    };
    const int flags = SQLITE_UTF8 | SQLITE_INNOCUOUS | SQLITE_DETERMINISTIC;
    sql->json = json_new();
    for (size_t i = 0; i < OP_COUNT(functions); i++)
        if (sqlite3_create_function(sql->db, functions[i].name, functions[i].argc, flags, sql,
                                    functions[i].fn, NULL, NULL))
            return op_fail(err, OP_IO, "SQLite: %s", sqlite3_errmsg(sql->db));
    return op_sql_add_json_each(sql, err);
}
