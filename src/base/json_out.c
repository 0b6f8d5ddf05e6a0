/* SPDX-License-Identifier: MIT */
#include "base/json_out.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SSE2__
#    include <emmintrin.h>
#endif

#include "base/json_tape.h"
#include "base/mem.h"

/* Source bytes escaped in one go, and the most that they become: six bytes each ("\u0001"), and
 * the rest of a sequence and of a 16-byte store that begin within them. */
#define ESCAPE_CHUNK 512
#define ESCAPE_WORST (6 * ESCAPE_CHUNK + 32)

void op_json_out_init(struct op_json_out *out, struct op_buf *buf, int indent)
{
    *out = (struct op_json_out){.buf = buf, .indent = indent};
}

static void new_line(struct op_json_out *out)
{
    static const char spaces[] = "                                ";

    op_buf_addc(out->buf, '\n');
    for (size_t left = (size_t)out->depth * (size_t)out->indent; left > 0;) {
        size_t n = left < sizeof(spaces) - 1 ? left : sizeof(spaces) - 1;
        op_buf_add(out->buf, spaces, n);
        left -= n;
    }
}

/* Deeper than the bits reach, the buffer tells: only an opening bracket ends in one. */
static bool has_item(const struct op_json_out *out)
{
    if (out->depth < 64)
        return out->has_item >> out->depth & 1;
    char last = out->buf->len > 0 ? out->buf->ptr[out->buf->len - 1] : '[';
    return last != '[' && last != '{';
}

static void before_value(struct op_json_out *out)
{
    if (out->after_name) {
        out->after_name = false;
        return;
    }
    if (out->depth == 0)
        return;
    if (has_item(out))
        op_buf_addc(out->buf, ',');
    if (out->indent > 0)
        new_line(out);
    if (out->depth < 64)
        out->has_item |= UINT64_C(1) << out->depth;
}

static void open_container(struct op_json_out *out, char bracket)
{
    before_value(out);
    op_buf_addc(out->buf, bracket);
    out->depth++;
    if (out->depth < 64)
        out->has_item &= ~(UINT64_C(1) << out->depth);
}

static void close_container(struct op_json_out *out, char bracket)
{
    bool any = has_item(out);

    out->depth--;
    if (any && out->indent > 0)
        new_line(out);
    op_buf_addc(out->buf, bracket);
}

void op_json_out_object(struct op_json_out *out)
{
    open_container(out, '{');
}

void op_json_out_end_object(struct op_json_out *out)
{
    close_container(out, '}');
}

void op_json_out_array(struct op_json_out *out)
{
    open_container(out, '[');
}

void op_json_out_end_array(struct op_json_out *out)
{
    close_container(out, ']');
}

static void add_quoted(struct op_buf *buf, struct op_str s)
{
    op_buf_addc(buf, '"');
    op_json_escape(buf, s.ptr, s.len);
    op_buf_addc(buf, '"');
}

void op_json_out_name_str(struct op_json_out *out, struct op_str name)
{
    before_value(out);
    add_quoted(out->buf, name);
    op_buf_add(out->buf, ": ", out->indent > 0 ? 2 : 1);
    out->after_name = true;
}

void op_json_out_name(struct op_json_out *out, const char *name)
{
    op_json_out_name_str(out, op_str_from(name));
}

void op_json_out_str(struct op_json_out *out, struct op_str s)
{
    before_value(out);
    if (s.ptr)
        add_quoted(out->buf, s);
    else
        op_buf_add(out->buf, "null", 4);
}

void op_json_out_text(struct op_json_out *out, const char *text)
{
    op_json_out_str(out, op_str_from(text));
}

void op_json_out_int(struct op_json_out *out, int64_t value)
{
    before_value(out);
    op_buf_add_int(out->buf, value);
}

static void add_double(struct op_buf *buf, double value)
{
    char text[32];

    op_buf_add(buf, text, op_json_format_double(value, text));
}

void op_json_out_double(struct op_json_out *out, double value)
{
    before_value(out);
    add_double(out->buf, value);
}

void op_json_out_bool(struct op_json_out *out, bool value)
{
    before_value(out);
    op_buf_addz(out->buf, value ? "true" : "false");
}

void op_json_out_null(struct op_json_out *out)
{
    before_value(out);
    op_buf_add(out->buf, "null", 4);
}

void op_json_out_raw(struct op_json_out *out, struct op_str json)
{
    before_value(out);
    op_buf_add_str(out->buf, json);
}

void op_json_out_kv_str(struct op_json_out *out, const char *name, struct op_str s)
{
    op_json_out_name(out, name);
    op_json_out_str(out, s);
}

void op_json_out_kv_text(struct op_json_out *out, const char *name, const char *text)
{
    op_json_out_name(out, name);
    op_json_out_text(out, text);
}

void op_json_out_kv_int(struct op_json_out *out, const char *name, int64_t value)
{
    op_json_out_name(out, name);
    op_json_out_int(out, value);
}

void op_json_out_kv_bool(struct op_json_out *out, const char *name, bool value)
{
    op_json_out_name(out, name);
    op_json_out_bool(out, value);
}

static uint64_t number_word(struct op_json v)
{
    return v.tape[v.at + 1];
}

static bool is_unsigned(struct op_json v)
{
    return (char)(v.tape[v.at] >> 56) == 'u';
}

static void add_number(struct op_buf *buf, struct op_json v)
{
    if (is_unsigned(v))
        op_buf_addf(buf, "%llu", (unsigned long long)number_word(v));
    else if (op_json_type(v) == OP_JSON_INT)
        op_buf_add_int(buf, op_json_int(v, 0));
    else
        add_double(buf, op_json_double(v, 0));
}

void op_json_out_value(struct op_json_out *out, struct op_json v)
{
    enum op_json_type type = op_json_type(v);
    struct op_json_iter it;

    switch (type) {
    case OP_JSON_NULL:
        op_json_out_null(out);
        break;
    case OP_JSON_FALSE:
    case OP_JSON_TRUE:
        op_json_out_bool(out, type == OP_JSON_TRUE);
        break;
    case OP_JSON_INT:
    case OP_JSON_DOUBLE:
        before_value(out);
        add_number(out->buf, v);
        break;
    case OP_JSON_STRING:
        op_json_out_str(out, op_json_str(v));
        break;
    case OP_JSON_ARRAY:
    case OP_JSON_OBJECT:
        open_container(out, type == OP_JSON_ARRAY ? '[' : '{');
        it = op_json_iter(v);
        while (op_json_next(&it)) {
            if (type == OP_JSON_OBJECT)
                op_json_out_name_str(out, it.name);
            op_json_out_value(out, it.value);
        }
        close_container(out, type == OP_JSON_ARRAY ? ']' : '}');
        break;
    }
}

void op_json_write(struct op_buf *buf, struct op_json v)
{
    struct op_json_out out;

    op_json_out_init(&out, buf, 0);
    op_json_out_value(&out, v);
}

struct member {
    struct op_str name;
    struct op_json value;
};

static int compare_members(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    size_t common = x->name.len < y->name.len ? x->name.len : y->name.len;
    int order = common > 0 ? memcmp(x->name.ptr, y->name.ptr, common) : 0;

    if (order != 0)
        return order;
    if (x->name.len != y->name.len)
        return x->name.len < y->name.len ? -1 : 1;
    return x->value.at < y->value.at ? -1 : 1; /* equal names: the last one stays last */
}

static void write_canonical_object(struct op_json_out *out, struct op_json v)
{
    size_t count = op_json_count(v), n = 0;
    struct member *members OP_CLEANUP(op_mem_freep) = op_mem_array(count + 1, sizeof(*members));
    struct op_json_iter it = op_json_iter(v);

    while (op_json_next(&it))
        members[n++] = (struct member){it.name, it.value};
    qsort(members, n, sizeof(*members), compare_members);
    open_container(out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && op_str_eq(members[i].name, members[i + 1].name))
            continue;
        op_json_out_name_str(out, members[i].name);
        op_json_write_canonical(out->buf, members[i].value);
        out->after_name = false;
    }
    close_container(out, '}');
}

/* 1.0 equals 1 and 1e16 equals 10000000000000000, so whole doubles are written as integers. */
static void write_canonical_number(struct op_buf *buf, struct op_json v)
{
    double d = op_json_double(v, 0);

    if (!is_unsigned(v) && op_json_type(v) == OP_JSON_DOUBLE && d == trunc(d) && d >= -0x1p63 &&
        d < 0x1p64) {
        if (d < 0x1p63)
            op_buf_add_int(buf, (int64_t)d);
        else
            op_buf_addf(buf, "%llu", (unsigned long long)d);
        return;
    }
    add_number(buf, v);
}

void op_json_write_canonical(struct op_buf *buf, struct op_json v)
{
    enum op_json_type type = op_json_type(v);
    struct op_json_iter it;
    struct op_json_out out;

    if (type == OP_JSON_OBJECT) {
        op_json_out_init(&out, buf, 0);
        write_canonical_object(&out, v);
    } else if (type == OP_JSON_ARRAY) {
        op_buf_addc(buf, '[');
        it = op_json_iter(v);
        while (op_json_next(&it)) {
            if (it.index > 0)
                op_buf_addc(buf, ',');
            op_json_write_canonical(buf, it.value);
        }
        op_buf_addc(buf, ']');
    } else if (type == OP_JSON_INT || type == OP_JSON_DOUBLE) {
        write_canonical_number(buf, v);
    } else {
        op_json_write(buf, v);
    }
}

/* Places digits ("12345", count of them) as Python's repr does: plain from 1e-4 up to 1e16. */
static size_t place_digits(char *p, const char *digits, int count, int exponent)
{
    char *first = p;

    if (exponent < -4 || exponent >= 16) {
        *p++ = digits[0];
        if (count > 1) {
            *p++ = '.';
            memcpy(p, digits + 1, (size_t)count - 1);
            p += count - 1;
        }
        *p++ = 'e';
        *p++ = exponent < 0 ? '-' : '+';
        exponent = abs(exponent);
        if (exponent >= 100)
            *p++ = (char)('0' + exponent / 100);
        *p++ = (char)('0' + exponent / 10 % 10);
        *p++ = (char)('0' + exponent % 10);
        return (size_t)(p - first);
    }
    if (exponent < 0) {
        *p++ = '0';
        *p++ = '.';
        for (int i = exponent; i < -1; i++)
            *p++ = '0';
        memcpy(p, digits, (size_t)count);
        return (size_t)(p - first) + (size_t)count;
    }
    for (int i = 0; i <= exponent || i < count; i++) {
        if (i == exponent + 1)
            *p++ = '.';
        *p++ = i < count ? digits[i] : '0';
    }
    return (size_t)(p - first);
}

size_t op_json_format_double(double value, char *ret)
{
    char text[32], digits[24];
    size_t len, at = 0, sign = 0;
    int count = 0, exponent = 0;

    if (!isfinite(value)) {
        memcpy(ret, "null", 4);
        return 4;
    }
    if (value == 0 && signbit(value)) {
        memcpy(ret, "-0.0", 4);
        return 4;
    }
    len = op_json_shortest(value, text);
    if (text[0] == '-')
        ret[sign++] = text[at++];
    for (; at < len && text[at] != 'e'; at++)
        if (text[at] != '.')
            digits[count++] = text[at];
    for (size_t i = at + 2; i < len; i++)
        exponent = exponent * 10 + (text[i] - '0');
    if (at + 1 < len && text[at + 1] == '-')
        exponent = -exponent;
    return sign + place_digits(ret + sign, digits, count, exponent);
}

static inline bool needs_work(unsigned char c)
{
    return c < 0x20 || c == '"' || c == '\\' || c >= 0x80;
}

/* Copies bytes until one needs work or end; may store up to 16 bytes past the result. */
static inline const char *copy_plain(const char *p, const char *end, char **out)
{
    char *o = *out;

#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\');
    const __m128i space = _mm_set1_epi8(0x20);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        _mm_storeu_si128((__m128i *)(void *)o, v);
        /* signed: a byte of 0x80 and above is less than a space too */
        __m128i bad =
            _mm_or_si128(_mm_cmplt_epi8(v, space),
                         _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash)));
        unsigned mask = (unsigned)_mm_movemask_epi8(bad);
        if (mask != 0) {
            int n = __builtin_ctz(mask);
            *out = o + n;
            return p + n;
        }
        p += 16;
        o += 16;
    }
#endif
    while (p < end && !needs_work((unsigned char)*p))
        *o++ = *p++;
    *out = o;
    return p;
}

static char *put_escape(char *o, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[0x20] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    char letter = c < 0x20 ? letters[c] : (char)c;

    *o++ = '\\';
    if (letter != 0) {
        *o++ = letter;
        return o;
    }
    memcpy(o, "u00", 3);
    o[3] = hex[c >> 4];
    o[4] = hex[c & 15];
    return o + 5;
}

static inline bool follows(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* A run of bytes from 0x80. Two- and three-byte sequences of the common kind are decided here;
 * what is left (E0 and ED have their own limits, four bytes, invalid ones) by utf8_step. */
static const char *copy_sequences(const char *p, const char *stop, const char *end, char **out)
{
    char *o = *out;

    while (p < stop && (unsigned char)*p >= 0x80) {
        unsigned char lead = (unsigned char)*p;
        if (end - p >= 3 && lead > 0xE0 && lead < 0xF0 && lead != 0xED && follows(p[1]) &&
            follows(p[2])) {
            memcpy(o, p, 3);
            o += 3;
            p += 3;
            continue;
        }
        if (end - p >= 2 && lead >= 0xC2 && lead < 0xE0 && follows(p[1])) {
            memcpy(o, p, 2);
            o += 2;
            p += 2;
            continue;
        }
        int step = op_json_utf8_step(p, (size_t)(end - p));
        if (step > 0) {
            memcpy(o, p, (size_t)step);
            o += step;
            p += step;
        } else {
            o += op_json_utf8_put(0xFFFD, o);
            p += -step;
        }
    }
    *out = o;
    return p;
}

/* Escapes from p until at least stop; sequences may reach past stop, up to end. */
static const char *escape_some(const char *p, const char *stop, const char *end, char **out)
{
    char *o = *out;

    while (p < stop) {
        p = copy_plain(p, stop, &o);
        p = copy_sequences(p, stop, end, &o);
        while (p < stop && (unsigned char)*p < 0x80 && needs_work((unsigned char)*p))
            o = put_escape(o, (unsigned char)*p++);
    }
    *out = o;
    return p;
}

/* Near the ceiling of the buffer the worst case may not fit while the result does. */
static __attribute__((noinline)) const char *escape_aside(struct op_buf *buf, const char *p,
                                                          const char *stop, const char *end)
{
    char scratch[ESCAPE_WORST];
    char *o = scratch;

    p = escape_some(p, stop, end, &o);
    op_buf_add(buf, scratch, (size_t)(o - scratch));
    return p;
}

void op_json_escape(struct op_buf *buf, const char *ptr, size_t len)
{
    const char *p = ptr, *end = ptr + len;

    while (p < end && !buf->failed) {
        const char *stop = end - p > ESCAPE_CHUNK ? p + ESCAPE_CHUNK : end;
        size_t worst = 6 * (size_t)(stop - p) + 32;
        if (buf->room - buf->len < worst && buf->max - buf->len >= worst)
            op_buf_grow(buf, worst);
        if (buf->room - buf->len >= worst) {
            char *o = buf->ptr + buf->len;
            p = escape_some(p, stop, end, &o);
            buf->len = (size_t)(o - buf->ptr);
            buf->ptr[buf->len] = '\0';
        } else {
            p = escape_aside(buf, p, stop, end);
        }
    }
}
