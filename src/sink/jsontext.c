/* SPDX-License-Identifier: MIT */
#include "sink/jsontext.h"

#include <string.h>

#include "base/json.h"

struct cursor {
    const char *at, *end;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && is_space(*c->at))
        c->at++;
}

static bool is_digit(const struct cursor *c)
{
    return c->at < c->end && *c->at >= '0' && *c->at <= '9';
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool take_escape(struct cursor *c)
{
    c->at++;
    if (c->at == c->end)
        return false;
    char kind = *c->at++;
    if (kind != 'u')
        return kind && strchr("\"\\/bfnrt", kind) != NULL;
    if (c->end - c->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        if (!is_hex(*c->at++))
            return false;
    }
    return true;
}

static bool take_string(struct cursor *c)
{
    c->at++;
    while (c->at < c->end) {
        if (*c->at == '"') {
            c->at++;
            return true;
        }
        if ((unsigned char)*c->at < 0x20)
            return false;
        if (*c->at != '\\')
            c->at++;
        else if (!take_escape(c))
            return false;
    }
    return false;
}

static bool take_digits(struct cursor *c)
{
    if (!is_digit(c))
        return false;
    while (is_digit(c))
        c->at++;
    return true;
}

static bool take_number(struct cursor *c)
{
    if (*c->at == '-')
        c->at++;
    if (c->at < c->end && *c->at == '0')
        c->at++;
    else if (!take_digits(c))
        return false;
    if (c->at < c->end && *c->at == '.') {
        c->at++;
        if (!take_digits(c))
            return false;
    }
    if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) {
        c->at++;
        if (c->at < c->end && (*c->at == '+' || *c->at == '-'))
            c->at++;
        return take_digits(c);
    }
    return true;
}

static bool take_word(struct cursor *c, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(c->end - c->at) < len || memcmp(c->at, word, len) != 0)
        return false;
    c->at += len;
    return true;
}

static bool take_scalar(struct cursor *c)
{
    switch (*c->at) {
    case '"':
        return take_string(c);
    case 't':
        return take_word(c, "true");
    case 'f':
        return take_word(c, "false");
    case 'n':
        return take_word(c, "null");
    default:
        return take_number(c);
    }
}

void op_jsontext_break(struct op_buf *out, int indent, int depth)
{
    static const char spaces[] = "                                ";
    if (indent == 0)
        return;
    op_buf_addc(out, '\n');
    for (size_t left = (size_t)indent * (size_t)depth; left > 0;) {
        size_t step = left < sizeof(spaces) - 1 ? left : sizeof(spaces) - 1;
        op_buf_add(out, spaces, step);
        left -= step;
    }
}

struct copy {
    struct cursor in;
    struct op_buf *out; /* NULL: only walk */
    int indent, base;   /* base: depth in the document of the value copied */
};

static bool copy_token(struct copy *c, bool (*take)(struct cursor *))
{
    const char *begin = c->in.at;
    if (!take(&c->in))
        return false;
    if (c->out)
        op_buf_add(c->out, begin, (size_t)(c->in.at - begin));
    return true;
}

static void put(struct copy *c, char ch)
{
    if (c->out)
        op_buf_addc(c->out, ch);
}

static void put_break(struct copy *c, int depth)
{
    if (c->out)
        op_jsontext_break(c->out, c->indent, c->base + depth);
}

/* The name of a member and its colon. */
static bool copy_name(struct copy *c)
{
    skip_space(&c->in);
    if (c->in.at == c->in.end || *c->in.at != '"' || !copy_token(c, take_string))
        return false;
    skip_space(&c->in);
    if (c->in.at == c->in.end || *c->in.at != ':')
        return false;
    c->in.at++;
    put(c, ':');
    if (c->indent)
        put(c, ' ');
    return true;
}

/* Enters containers without recursion: objects is a bit per depth. */
static bool copy_value(struct copy *c)
{
    uint64_t objects = 0;
    int depth = 0;
    for (;;) {
        skip_space(&c->in);
        if (c->in.at == c->in.end)
            return false;
        char open = *c->in.at;
        if (open == '{' || open == '[') {
            char close = open == '{' ? '}' : ']';
            c->in.at++;
            put(c, open);
            skip_space(&c->in);
            if (c->in.at < c->in.end && *c->in.at == close) {
                c->in.at++;
                put(c, close);
            } else {
                if (depth == OP_JSON_DEPTH)
                    return false;
                objects = open == '{' ? objects | 1ULL << depth : objects & ~(1ULL << depth);
                put_break(c, ++depth);
                if (open == '{' && !copy_name(c))
                    return false;
                continue;
            }
        } else if (!copy_token(c, take_scalar)) {
            return false;
        }
        /* A value has ended: close what ends with it. */
        for (;;) {
            if (depth == 0)
                return true;
            bool object = objects >> (depth - 1) & 1;
            skip_space(&c->in);
            if (c->in.at == c->in.end)
                return false;
            char next = *c->in.at++;
            if (next == ',') {
                put(c, ',');
                put_break(c, depth);
                if (object && !copy_name(c))
                    return false;
                break;
            }
            if (next != (object ? '}' : ']'))
                return false;
            put_break(c, --depth);
            put(c, next);
        }
    }
}

bool op_jsontext_copy(struct op_buf *out, struct op_str text, int indent, int depth)
{
    struct copy c = {{text.ptr, text.ptr + text.len}, out, indent, depth};
    if (!copy_value(&c))
        return false;
    skip_space(&c.in);
    return c.in.at == c.in.end;
}

size_t op_jsontext_skip(struct op_str text)
{
    struct copy c = {{text.ptr, text.ptr + text.len}, NULL, 0, 0};
    return copy_value(&c) ? (size_t)(c.in.at - text.ptr) : 0;
}

size_t op_jsontext_space(struct op_str text)
{
    struct cursor c = {text.ptr, text.ptr + text.len};
    skip_space(&c);
    return (size_t)(c.at - text.ptr);
}

static void drop(struct op_str *s, size_t len)
{
    s->ptr += len;
    s->len -= len;
}

struct op_jsontext_iter op_jsontext_iter(struct op_str container)
{
    struct op_jsontext_iter it = {.rest = container};
    drop(&it.rest, op_jsontext_space(it.rest));
    it.object = it.rest.len > 0 && it.rest.ptr[0] == '{';
    if (it.rest.len > 0)
        drop(&it.rest, 1);
    return it;
}

bool op_jsontext_next(struct op_jsontext_iter *it)
{
    drop(&it->rest, op_jsontext_space(it->rest));
    if (it->rest.len > 0 && it->rest.ptr[0] == ',') {
        drop(&it->rest, 1);
        drop(&it->rest, op_jsontext_space(it->rest));
    }
    if (it->rest.len == 0 || it->rest.ptr[0] == '}' || it->rest.ptr[0] == ']')
        return false;
    it->name = OP_STR_NULL;
    if (it->object) {
        size_t len = op_jsontext_skip(it->rest);
        if (len < 2)
            return false;
        it->name = (struct op_str){it->rest.ptr + 1, len - 2};
        drop(&it->rest, len);
        drop(&it->rest, op_jsontext_space(it->rest));
        if (it->rest.len > 0)
            drop(&it->rest, 1); /* the colon */
        drop(&it->rest, op_jsontext_space(it->rest));
    }
    size_t len = op_jsontext_skip(it->rest);
    if (len == 0)
        return false;
    it->value = (struct op_str){it->rest.ptr, len};
    drop(&it->rest, len);
    return true;
}
