/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "pipeline/sql_json.h"

#define MAX_DEPTH 2000 /* SQLite's */

void op_jdoc_init(struct op_jdoc *doc)
{
    *doc = (struct op_jdoc){0};
    op_buf_init(&doc->compact, OP_SQL_MAX_LENGTH);
    op_buf_init(&doc->copy, OP_SQL_MAX_LENGTH);
}

void op_jdoc_release(struct op_jdoc *doc)
{
    op_mem_free(doc->nodes);
    op_buf_release(&doc->compact);
    op_buf_release(&doc->copy);
}

struct reader {
    struct op_jdoc *doc;
    const char *begin, *p, *end;
    const char *run;    /* from here on the source is not yet in compact */
    size_t gap;         /* bytes of white space left out so far */
    uint32_t container; /* innermost open one; UINT32_MAX: none */
    int depth;
};

static struct op_jnode *add_node(struct reader *r, enum op_jtype type, const char *at)
{
    struct op_jdoc *doc = r->doc;
    if (doc->count == doc->room) {
        doc->room = doc->room ? doc->room * 2 : 256;
        doc->nodes = op_mem_realloc(doc->nodes, doc->room * sizeof(*doc->nodes));
    }
    struct op_jnode *node = &doc->nodes[doc->count++];
    *node = (struct op_jnode){.type = (uint8_t)type,
                              .at = (uint32_t)((size_t)(at - r->begin) - r->gap)};
    return node;
}

/* White space is left out of the document, so that parts of it need no cleaning later. */
static void drop_space(struct reader *r)
{
    op_buf_add(&r->doc->compact, r->run, (size_t)(r->p - r->run));
    const char *from = r->p;
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\r' || *r->p == '\t'))
        r->p++;
    r->gap += (size_t)(r->p - from);
    r->run = r->p;
}

static inline void skip_space(struct reader *r)
{
    if (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\r' || *r->p == '\t'))
        drop_space(r);
}

/* The next byte that is a quote, a backslash or a control character. Eight at a time: a byte of
 * (v - 1s) & ~v has its top bit set where v is 0, and v - 0x20s likewise below 0x20. */
static const char *scan_text(const char *p, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    for (; end - p >= 8; p += 8) {
        uint64_t v;
        memcpy(&v, p, sizeof(v));
        uint64_t quote = v ^ (ones * '"'), slash = v ^ (ones * '\\');
        uint64_t found =
            ((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((v - ones * 0x20) & ~v);
        if (found & tops)
            break;
    }
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
        p++;
    return p;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool skip_escape(struct reader *r)
{
    if (r->end - r->p < 2)
        return false;
    if (r->p[1] == 'u') {
        if (r->end - r->p < 6 || !is_hex(r->p[2]) || !is_hex(r->p[3]) || !is_hex(r->p[4]) ||
            !is_hex(r->p[5]))
            return false;
        r->p += 6;
        return true;
    }
    if (r->p[1] == '\0' || !strchr("\"\\/bfnrt", r->p[1]))
        return false;
    r->p += 2;
    return true;
}

static bool read_text(struct reader *r, bool label)
{
    struct op_jnode *node = add_node(r, OP_J_TEXT, r->p);
    const char *from = r->p++;
    node->label = label;
    for (;;) {
        r->p = scan_text(r->p, r->end);
        if (r->p == r->end)
            return false;
        if (*r->p == '"')
            break;
        if (*r->p != '\\' || !skip_escape(r))
            return false;
        node->escapes = true;
    }
    r->p++;
    node->len = (uint32_t)(r->p - from);
    return true;
}

static bool skip_digits(struct reader *r)
{
    const char *from = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
        r->p++;
    return r->p > from;
}

static bool read_number(struct reader *r)
{
    struct op_jnode *node = add_node(r, OP_J_INT, r->p);
    const char *from = r->p;
    if (*r->p == '-')
        r->p++;
    bool zero = r->p < r->end && *r->p == '0';
    const char *digits = r->p;
    if (!skip_digits(r) || (zero && r->p - digits > 1))
        return false;
    if (r->p < r->end && *r->p == '.') {
        r->p++;
        node->type = OP_J_REAL;
        if (!skip_digits(r))
            return false;
    }
    if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
        r->p++;
        node->type = OP_J_REAL;
        if (r->p < r->end && (*r->p == '+' || *r->p == '-'))
            r->p++;
        if (!skip_digits(r))
            return false;
    }
    node->len = (uint32_t)(r->p - from);
    return true;
}

static bool read_word(struct reader *r, enum op_jtype type, struct op_str word)
{
    if ((size_t)(r->end - r->p) < word.len || memcmp(r->p, word.ptr, word.len) != 0)
        return false;
    const char *behind = r->p + word.len;
    if (behind < r->end && ((*behind >= '0' && *behind <= '9') ||
                            ((*behind | 0x20) >= 'a' && (*behind | 0x20) <= 'z')))
        return false;
    add_node(r, type, r->p)->len = (uint32_t)word.len;
    r->p = behind;
    return true;
}

/* Until it is closed a container's `inside` is the one around it. */
static bool open_container(struct reader *r, enum op_jtype type)
{
    if (++r->depth > MAX_DEPTH)
        return false;
    add_node(r, type, r->p)->inside = r->container;
    r->container = r->doc->count - 1;
    r->p++;
    return true;
}

static void close_container(struct reader *r)
{
    struct op_jnode *node = &r->doc->nodes[r->container];
    uint32_t outer = node->inside;
    r->p++;
    node->len = (uint32_t)((size_t)(r->p - r->begin) - r->gap - node->at);
    node->inside = r->doc->count - 1 - r->container;
    r->container = outer;
    r->depth--;
}

static bool read_label(struct reader *r)
{
    skip_space(r);
    if (r->p == r->end || *r->p != '"' || !read_text(r, true))
        return false;
    skip_space(r);
    return r->p < r->end && *r->p++ == ':';
}

/* A scalar, an empty container, or the beginning of another, with its first member's name:
 * *ret_open. */
static bool read_value(struct reader *r, bool *ret_open)
{
    skip_space(r);
    *ret_open = false;
    if (r->p == r->end)
        return false;
    switch (*r->p) {
    case '{':
    case '[': {
        char close = *r->p == '{' ? '}' : ']';
        if (!open_container(r, *r->p == '{' ? OP_J_OBJECT : OP_J_ARRAY))
            return false;
        skip_space(r);
        if (r->p < r->end && *r->p == close) {
            close_container(r);
            return true;
        }
        *ret_open = true;
        return close == ']' || read_label(r);
    }
    case '"':
        return read_text(r, false);
    case 'n':
        return read_word(r, OP_J_NULL, OP_STR("null"));
    case 't':
        return read_word(r, OP_J_TRUE, OP_STR("true"));
    case 'f':
        return read_word(r, OP_J_FALSE, OP_STR("false"));
    default:
        return (*r->p == '-' || (*r->p >= '0' && *r->p <= '9')) && read_number(r);
    }
}

/* What stands behind a value in a container. */
static bool read_behind(struct reader *r, bool *ret_value)
{
    *ret_value = false;
    while (r->container != UINT32_MAX) {
        bool object = r->doc->nodes[r->container].type == OP_J_OBJECT;
        skip_space(r);
        if (r->p == r->end)
            return false;
        if (*r->p == ',') {
            r->p++;
            *ret_value = true;
            return !object || read_label(r);
        }
        if (*r->p != (object ? '}' : ']'))
            return false;
        close_container(r);
    }
    return true;
}

static bool read_document(struct reader *r)
{
    bool more = true;
    while (more) {
        bool open = false;
        if (!read_value(r, &open))
            return false;
        if (!open && !read_behind(r, &more))
            return false;
    }
    skip_space(r);
    return r->p == r->end || *r->p == '\0';
}

bool op_jdoc_parse(struct op_jdoc *doc, struct op_str source)
{
    struct reader r = {.doc = doc,
                       .begin = source.ptr,
                       .p = source.ptr,
                       .end = source.ptr + source.len,
                       .run = source.ptr,
                       .container = UINT32_MAX};
    doc->count = 0;
    doc->source = source;
    op_buf_clear(&doc->compact);
    if (source.len > OP_SQL_MAX_LENGTH || !read_document(&r))
        return false;
    doc->text = source.ptr;
    doc->len = (size_t)(r.p - source.ptr);
    if (r.gap) {
        op_buf_add(&doc->compact, r.run, (size_t)(r.p - r.run));
        doc->text = doc->compact.ptr;
        doc->len = doc->compact.len;
    }
    return true;
}
