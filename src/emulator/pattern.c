/* SPDX-License-Identifier: MIT */
#include "emulator/pattern.h"

#include <ctype.h>

#include "emulator/words.h"

#define PATTERN_DEPTH  32
#define PATTERN_REPEAT 3 /* how much more than needed *, + and {n,} give at most */

struct maker {
    struct op_str text;
    size_t at;
    uint64_t *random;
    struct op_buf *out; /* NULL: skip, make nothing */
    int depth;
    bool ok;
};

struct class_ {
    uint8_t has[256];
};

static char peek(const struct maker *m)
{
    return m->at < m->text.len ? m->text.ptr[m->at] : '\0';
}

static void emit(struct maker *m, char c)
{
    if (m->out)
        op_buf_addc(m->out, c);
}

static void add_range(struct class_ *set, int from, int to)
{
    for (int c = from; c <= to; c++)
        set->has[c] = 1;
}

/* \d \w \s as members of a class; false when it is another escape. */
static bool add_escape(struct class_ *set, char c)
{
    if (c == 'd' || c == 'w')
        add_range(set, '0', '9');
    if (c == 'w') {
        add_range(set, 'a', 'z');
        add_range(set, 'A', 'Z');
        set->has['_'] = 1;
    }
    if (c == 's')
        set->has[' '] = 1;
    return c == 'd' || c == 'w' || c == 's';
}

static char escaped_char(char c)
{
    return c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
}

static void pick(struct maker *m, const struct class_ *set)
{
    int members[256], count = 0;
    for (int c = 32; c < 127; c++) {
        if (set->has[c])
            members[count++] = c;
    }
    if (count == 0)
        m->ok = false;
    else if (m->out)
        emit(m, (char)members[op_emu_random_below(m->random, (uint64_t)count)]);
}

static void make_class(struct maker *m)
{
    struct class_ set = {0};
    bool negated = false;
    m->at++;
    if (peek(m) == '^') {
        negated = true;
        m->at++;
    }
    while (m->at < m->text.len && peek(m) != ']') {
        char c = peek(m);
        m->at++;
        if (c == '\\' && m->at < m->text.len) {
            c = m->text.ptr[m->at++];
            if (add_escape(&set, c))
                continue;
            c = escaped_char(c);
        }
        bool is_range =
            peek(m) == '-' && m->at + 1 < m->text.len && m->text.ptr[m->at + 1] != ']';
        int to = (unsigned char)c;
        if (is_range) {
            to = (unsigned char)m->text.ptr[m->at + 1];
            m->at += 2;
        }
        add_range(&set, (unsigned char)c, to);
    }
    if (peek(m) != ']')
        m->ok = false;
    m->at++;
    for (int c = 0; negated && c < 256; c++)
        set.has[c] = !set.has[c] && (isalnum(c) || c == ' ');
    pick(m, &set);
}

static void make_alternatives(struct maker *m);

static void make_group(struct maker *m)
{
    m->at++;
    if (peek(m) == '?') {
        /* Only a group that does not capture; assertions would need a search. */
        if (m->at + 1 >= m->text.len || m->text.ptr[m->at + 1] != ':')
            m->ok = false;
        m->at += 2;
    }
    make_alternatives(m);
    if (peek(m) != ')')
        m->ok = false;
    m->at++;
}

static void make_atom(struct maker *m)
{
    struct class_ set = {0};
    char c = peek(m);
    if (c == '[') {
        make_class(m);
    } else if (c == '(') {
        make_group(m);
    } else if (c == '.') {
        m->at++;
        add_range(&set, 'a', 'z');
        pick(m, &set);
    } else if (c == '\\' && m->at + 1 < m->text.len) {
        c = m->text.ptr[m->at + 1];
        m->at += 2;
        if (add_escape(&set, c))
            pick(m, &set);
        else if (isalnum((unsigned char)c) && escaped_char(c) == c)
            m->ok = false;
        else
            emit(m, escaped_char(c));
    } else {
        m->at++;
        if (c != '^' && c != '$')
            emit(m, c);
    }
}

static int read_number(struct maker *m)
{
    int n = 0;
    while (isdigit((unsigned char)peek(m)) && n < 10000)
        n = 10 * n + (m->text.ptr[m->at++] - '0');
    return n;
}

static void read_quantifier(struct maker *m, int *least, int *most)
{
    char c = peek(m);
    *least = *most = 1;
    if (c == '?' || c == '*')
        *least = 0;
    if (c == '*' || c == '+')
        *most = *least + PATTERN_REPEAT;
    if (c == '?' || c == '*' || c == '+') {
        m->at++;
    } else if (c == '{' && m->at + 1 < m->text.len &&
               isdigit((unsigned char)m->text.ptr[m->at + 1])) {
        m->at++;
        *least = *most = read_number(m);
        if (peek(m) == ',') {
            m->at++;
            *most = isdigit((unsigned char)peek(m)) ? read_number(m) : *least + PATTERN_REPEAT;
        }
        if (peek(m) != '}' || *most < *least || *most > 10000)
            m->ok = false;
        m->at++;
    } else {
        return;
    }
    if (peek(m) == '?') /* lazy: the same strings match */
        m->at++;
}

static void make_sequence(struct maker *m)
{
    while (m->ok && m->at < m->text.len && peek(m) != '|' && peek(m) != ')') {
        size_t start = m->at;
        struct op_buf *out = m->out;
        int least, most;
        m->out = NULL; /* first pass over the atom: only where it ends */
        make_atom(m);
        read_quantifier(m, &least, &most);
        size_t end = m->at;
        m->out = out;
        uint64_t spread = (uint64_t)(m->ok && out ? most - least + 1 : 0);
        int times = least + (int)op_emu_random_below(m->random, spread);
        for (int i = 0; m->ok && out && !out->failed && i < times; i++) {
            m->at = start;
            make_atom(m);
        }
        m->at = end;
    }
}

static void make_alternatives(struct maker *m)
{
    if (++m->depth > PATTERN_DEPTH)
        m->ok = false;
    struct op_buf *out = m->out;
    make_sequence(m);
    m->out = NULL; /* the first alternative is the match */
    while (m->ok && peek(m) == '|') {
        m->at++;
        make_sequence(m);
    }
    m->out = out;
    m->depth--;
}

bool op_emu_pattern_make(struct op_str pattern, uint64_t *random, struct op_buf *out)
{
    struct maker m = {.text = pattern, .random = random, .out = out, .ok = true};
    make_alternatives(&m);
    return m.ok && m.at == pattern.len && !out->failed;
}
