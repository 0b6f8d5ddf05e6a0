/* SPDX-License-Identifier: MIT */
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_tape.h"
#include "base/mem.h"
#include "base/str.h"

struct scan {
    const char *start, *p, *end;
    uint64_t *tape;
    size_t words;
    uint8_t *strings;
    size_t bytes;
    size_t open[OP_JSON_DEPTH]; /* tape index of each open container */
    uint32_t count[OP_JSON_DEPTH];
    int depth;
    bool mended; /* something was read that strict JSON has no place for */
    struct op_err *err;
};

int op_json_utf8_step(const char *ptr, size_t left)
{
    const unsigned char *s = (const unsigned char *)ptr;
    unsigned char low = 0x80, high = 0xBF;
    int need;

    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xC2 || s[0] > 0xF4)
        return -1;
    if (s[0] < 0xE0) {
        need = 2;
    } else if (s[0] < 0xF0) {
        need = 3;
        low = s[0] == 0xE0 ? 0xA0 : 0x80;
        high = s[0] == 0xED ? 0x9F : 0xBF;
    } else {
        need = 4;
        low = s[0] == 0xF0 ? 0x90 : 0x80;
        high = s[0] == 0xF4 ? 0x8F : 0xBF;
    }
    for (int i = 1; i < need; i++) {
        if ((size_t)i == left || s[i] < low || s[i] > high)
            return -i;
        low = 0x80;
        high = 0xBF;
    }
    return need;
}

size_t op_json_utf8_put(uint32_t cp, char *ret)
{
    if (cp < 0x80) {
        ret[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        ret[0] = (char)(0xC0 | cp >> 6);
        ret[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        ret[0] = (char)(0xE0 | cp >> 12);
        ret[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        ret[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    ret[0] = (char)(0xF0 | cp >> 18);
    ret[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    ret[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    ret[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}

/* What stands at p, for a message; ret has 32 bytes. */
static const char *describe(const struct scan *s, char *ret)
{
    if (s->p >= s->end)
        return "the end of the text";
    unsigned char c = (unsigned char)*s->p;
    if (c >= 0x20 && c < 0x7F)
        snprintf(ret, 32, "'%c'", c);
    else
        snprintf(ret, 32, "byte 0x%02X", c);
    return ret;
}

/* The column counts code points, as editors do. */
static enum op_rc fail_at(struct scan *s, const char *what)
{
    char found[32];
    size_t line = 1, column = 1;

    for (const char *q = s->start; q < s->p; q++) {
        if (*q == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)*q & 0xC0) != 0x80) {
            column++;
        }
    }
    return op_fail(s->err, OP_INVAL, "invalid JSON at line %zu, column %zu: %s, found %s", line,
                   column, what, describe(s, found));
}

static void skip_space(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
}

static void put_word(struct scan *s, char kind, uint64_t payload)
{
    s->tape[s->words++] = (uint64_t)(unsigned char)kind << 56 | payload;
}

static void put_number(struct scan *s, char kind, const void *value)
{
    put_word(s, kind, 0);
    memcpy(&s->tape[s->words++], value, sizeof(uint64_t));
}

static int hex4(const char *p, const char *end)
{
    int value = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* After "\u". A surrogate without its partner becomes U+FFFD. */
static enum op_rc read_unicode(struct scan *s)
{
    int cp = hex4(s->p, s->end);

    if (cp < 0)
        return fail_at(s, "expected four hexadecimal digits after \\u");
    s->p += 4;
    if (cp >= 0xD800 && cp <= 0xDFFF) {
        int low = -1;
        if (cp < 0xDC00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u')
            low = hex4(s->p + 2, s->end);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
            s->p += 6;
        } else {
            cp = 0xFFFD;
            s->mended = true;
        }
    }
    s->bytes += op_json_utf8_put((uint32_t)cp, (char *)s->strings + s->bytes);
    return OP_OK;
}

static enum op_rc read_escape(struct scan *s)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *known;

    if (s->p < s->end && *s->p == 'u') {
        s->p++;
        return read_unicode(s);
    }
    if (s->p == s->end || *s->p == '\0' || !(known = strchr(from, *s->p)))
        return fail_at(s, "expected one of \" \\ / b f n r t u after the backslash");
    s->strings[s->bytes++] = (uint8_t)to[known - from];
    s->p++;
    return OP_OK;
}

/* One character of a string that is neither its end nor an escape. */
static void read_char(struct scan *s)
{
    int step = op_json_utf8_step(s->p, (size_t)(s->end - s->p));

    if (step > 0) {
        memcpy(s->strings + s->bytes, s->p, (size_t)step);
        s->bytes += (size_t)step;
        s->p += step;
    } else {
        s->bytes += op_json_utf8_put(0xFFFD, (char *)s->strings + s->bytes);
        s->p += -step;
        s->mended = true;
    }
}

static enum op_rc read_string(struct scan *s)
{
    size_t head = s->bytes;
    enum op_rc rc = OP_OK;

    put_word(s, '"', head);
    s->bytes += sizeof(uint32_t);
    for (s->p++; s->p < s->end && *s->p != '"';) {
        if ((unsigned char)*s->p < 0x20)
            return fail_at(s, "expected the string to go on (a control character must be "
                              "escaped, a line break as \\n)");
        if (*s->p == '\\') {
            s->p++;
            rc = read_escape(s);
            if (rc)
                return rc;
        } else {
            read_char(s);
        }
    }
    if (s->p == s->end)
        return fail_at(s, "expected '\"' at the end of the string");
    s->p++;
    uint32_t len = (uint32_t)(s->bytes - head - sizeof(uint32_t));
    memcpy(s->strings + head, &len, sizeof(len));
    s->strings[s->bytes++] = 0;
    return OP_OK;
}

static bool skip_digits(struct scan *s)
{
    const char *first = s->p;

    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return s->p > first;
}

/* An integer token as 'l' or 'u'; false when it needs a double. */
static bool put_integer(struct scan *s, const char *first)
{
    bool negative = *first == '-';
    uint64_t value = 0;
    int64_t number;

    for (const char *q = first + negative; q < s->p; q++) {
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(*q - '0'), &value))
            return false;
    }
    if (!negative && value > INT64_MAX) {
        put_number(s, 'u', &value);
        return true;
    }
    if (value > (uint64_t)INT64_MAX + 1)
        return false;
    number = negative ? (int64_t)(0 - value) : (int64_t)value;
    put_number(s, 'l', &number);
    return true;
}

static void put_double(struct scan *s, const char *first)
{
    /* The token may be followed by more digits in the padding, and strtod obeys the locale. */
    char *token OP_CLEANUP(op_mem_freep) = op_mem_strndup(first, (size_t)(s->p - first));
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double value = c_locale ? strtod_l(token, NULL, c_locale) : strtod(token, NULL);

    if (c_locale)
        freelocale(c_locale);
    if (isinf(value))
        value = value > 0 ? DBL_MAX : -DBL_MAX;
    put_number(s, 'd', &value);
}

static enum op_rc read_number(struct scan *s)
{
    const char *first = s->p;
    bool integer = true;

    if (*s->p == '-')
        s->p++;
    if (s->p < s->end && *s->p == '0') {
        s->p++;
        if (s->p < s->end && *s->p >= '0' && *s->p <= '9')
            return fail_at(s, "expected no digit after a leading 0");
    } else if (!skip_digits(s)) {
        return fail_at(s, "expected a digit");
    }
    if (s->p < s->end && *s->p == '.') {
        integer = false;
        s->p++;
        if (!skip_digits(s))
            return fail_at(s, "expected a digit after the decimal point");
    }
    if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
        integer = false;
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
            s->p++;
        if (!skip_digits(s))
            return fail_at(s, "expected a digit in the exponent");
    }
    if (!integer || !put_integer(s, first))
        put_double(s, first);
    return OP_OK;
}

static enum op_rc read_word(struct scan *s)
{
    static const struct {
        const char *text;
        size_t len;
    } words[] = {{"true", 4}, {"false", 5}, {"null", 4}};

    for (size_t i = 0; i < OP_COUNT(words); i++) {
        if ((size_t)(s->end - s->p) >= words[i].len &&
            memcmp(s->p, words[i].text, words[i].len) == 0) {
            put_word(s, words[i].text[0], 0);
            s->p += words[i].len;
            return OP_OK;
        }
    }
    return fail_at(s, "expected a value (object, array, string, number, true, false or null)");
}

/* An empty container is not a level, as in simdjson. */
static bool put_empty(struct scan *s)
{
    const char *q = s->p + 1;
    char close = *s->p == '{' ? '}' : ']';

    while (q < s->end && (*q == ' ' || *q == '\n' || *q == '\r' || *q == '\t'))
        q++;
    if (q == s->end || *q != close)
        return false;
    put_word(s, *s->p, s->words + 2);
    put_word(s, close, s->words - 1);
    s->p = q + 1;
    return true;
}

static enum op_rc open_container(struct scan *s)
{
    if (s->depth == OP_JSON_DEPTH)
        return fail_at(s, "expected at most 64 levels of nesting");
    s->open[s->depth] = s->words;
    s->count[s->depth] = 0;
    s->depth++;
    put_word(s, *s->p, 0);
    s->p++;
    skip_space(s);
    return OP_OK;
}

static void close_container(struct scan *s)
{
    size_t first = s->open[--s->depth];
    uint64_t count = s->count[s->depth];

    if (count > OP_TAPE_COUNT_MAX)
        count = OP_TAPE_COUNT_MAX;
    put_word(s, *s->p, first);
    s->tape[first] |= count << 32 | (uint32_t)s->words;
    s->p++;
}

static enum op_rc read_name(struct scan *s, const char *expected)
{
    enum op_rc rc;

    if (s->p == s->end || *s->p != '"')
        return fail_at(s, expected);
    rc = read_string(s);
    if (rc)
        return rc;
    skip_space(s);
    if (s->p == s->end || *s->p != ':')
        return fail_at(s, "expected ':' after the name");
    s->p++;
    skip_space(s);
    return OP_OK;
}

static bool in_object(const struct scan *s)
{
    return s->depth > 0 && (char)(s->tape[s->open[s->depth - 1]] >> 56) == '{';
}

/* One value, or the opening of one; *ret_complete is false when the next token is a value too. */
static enum op_rc read_value(struct scan *s, bool *ret_complete)
{
    char c = s->p < s->end ? *s->p : '\0';
    enum op_rc rc;

    *ret_complete = true;
    if (c == '"')
        return read_string(s);
    if (c == '-' || (c >= '0' && c <= '9'))
        return read_number(s);
    if (c != '{' && c != '[')
        return read_word(s);
    if (put_empty(s))
        return OP_OK;
    rc = open_container(s);
    if (rc)
        return rc;
    *ret_complete = false;
    return c == '{' ? read_name(s, "expected a name in quotes or '}'") : OP_OK;
}

/* After a complete value: closes what closes; leaves p at the next value or depth at 0. */
static enum op_rc read_separator(struct scan *s)
{
    while (s->depth > 0) {
        bool object = in_object(s);
        s->count[s->depth - 1]++;
        skip_space(s);
        if (s->p < s->end && *s->p == ',') {
            s->p++;
            skip_space(s);
            return object ? read_name(s, "expected a name in quotes after ','") : OP_OK;
        }
        if (s->p == s->end || *s->p != (object ? '}' : ']'))
            return fail_at(s, object ? "expected ',' or '}'" : "expected ',' or ']'");
        close_container(s);
    }
    return OP_OK;
}

static enum op_rc read_document(struct scan *s)
{
    enum op_rc rc;

    s->words = 1;
    if (s->end - s->p >= 3 && memcmp(s->p, "\xEF\xBB\xBF", 3) == 0) {
        s->start = s->p += 3;
        s->mended = true;
    }
    do {
        bool complete;
        skip_space(s);
        rc = read_value(s, &complete);
        if (!rc && complete)
            rc = read_separator(s);
        if (rc)
            return rc;
    } while (s->depth > 0);
    skip_space(s);
    if (s->p < s->end)
        return fail_at(s, "expected the end of the text after the value");
    put_word(s, 'r', 0);
    s->tape[0] = (uint64_t)'r' << 56 | s->words;
    return OP_OK;
}

/* The longest tapes: "1,1,1" makes two words of two bytes; an invalid byte makes three of one,
 * an empty string with its quotes five of two (and a comma or bracket). */
static void reserve(struct op_json_text *self, size_t len)
{
    if (self->tape && self->room >= len)
        return;
    op_json_text_release(self);
    self->tape = op_mem_array(len + 16, sizeof(*self->tape));
    self->strings = op_mem_array(len + 16, 3);
    self->room = len;
}

enum op_rc op_json_text_parse(struct op_json_text *self, const char *text, size_t len,
                              struct op_err *err)
{
    /* String lengths have 32 bits, and a string may triple. */
    if (len > UINT32_MAX / 3 - 16)
        return op_fail(err, OP_INVAL,
                       "the JSON text has %zu bytes, which is too long to repair", len);
    reserve(self, len);
    struct scan s = {
        .start = text,
        .p = text,
        .end = text + len,
        .tape = self->tape,
        .strings = self->strings,
        .err = err,
    };
    enum op_rc rc = read_document(&s);
    self->mended = s.mended;
    return rc;
}

void op_json_text_release(struct op_json_text *self)
{
    op_mem_free(self->tape);
    op_mem_free(self->strings);
    *self = (struct op_json_text){0};
}
