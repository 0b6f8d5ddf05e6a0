/* SPDX-License-Identifier: MIT */
#include "base/str.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

bool op_str_starts(struct op_str s, const char *prefix)
{
    size_t len = strlen(prefix);
    return s.len >= len && (len == 0 || memcmp(s.ptr, prefix, len) == 0);
}

bool op_str_ends(struct op_str s, const char *suffix)
{
    size_t len = strlen(suffix);
    return s.len >= len && (len == 0 || memcmp(s.ptr + s.len - len, suffix, len) == 0);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

struct op_str op_str_skip_bom(struct op_str s)
{
    return op_str_starts(s, "\xEF\xBB\xBF") ? (struct op_str){s.ptr + 3, s.len - 3} : s;
}

struct op_str op_str_trim(struct op_str s)
{
    while (s.len > 0 && is_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

struct op_str op_str_cut(struct op_str *s, char sep)
{
    struct op_str head = *s;
    const char *at = s->len > 0 ? memchr(s->ptr, sep, s->len) : NULL;
    if (!at) {
        *s = OP_STR_NULL;
        return head;
    }
    head.len = (size_t)(at - s->ptr);
    s->ptr = at + 1;
    s->len -= head.len + 1;
    return head;
}

bool op_str_int64(struct op_str s, int64_t *ret)
{
    size_t at = 0;
    bool negative = false;
    if (s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
        negative = s.ptr[0] == '-';
        at = 1;
    }
    if (at == s.len)
        return false;
    /* Summed as a negative number, whose range reaches one further. */
    int64_t sum = 0;
    for (; at < s.len; at++) {
        if (!is_digit(s.ptr[at]) || __builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_sub_overflow(sum, s.ptr[at] - '0', &sum))
            return false;
    }
    if (!negative && __builtin_sub_overflow(0, sum, &sum))
        return false;
    *ret = sum;
    return true;
}

/* The shape of a decimal number, and its value when it is small enough to be exact. */
struct decimal {
    uint64_t mantissa;
    int digits;   /* significant digits in mantissa */
    int exponent; /* of ten, saturated */
    bool negative;
};

static size_t scan_digits(struct op_str s, size_t at, bool fraction, struct decimal *ret)
{
    for (; at < s.len && is_digit(s.ptr[at]); at++) {
        if (ret->digits < 19) {
            ret->mantissa = ret->mantissa * 10 + (uint64_t)(s.ptr[at] - '0');
            ret->digits += ret->mantissa > 0;
            ret->exponent -= fraction;
        } else {
            ret->digits = 20; /* not exact any more */
        }
    }
    return at;
}

static bool scan_decimal(struct op_str s, struct decimal *ret)
{
    *ret = (struct decimal){0};
    size_t at = 0;
    if (s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
        ret->negative = s.ptr[0] == '-';
        at = 1;
    }
    size_t first = at;
    at = scan_digits(s, at, false, ret);
    size_t digits = at - first;
    if (at < s.len && s.ptr[at] == '.') {
        first = at + 1;
        at = scan_digits(s, first, true, ret);
        digits += at - first;
    }
    if (digits == 0)
        return false;
    if (at == s.len)
        return true;
    if (s.ptr[at] != 'e' && s.ptr[at] != 'E')
        return false;
    at++;
    bool negative = false;
    if (at < s.len && (s.ptr[at] == '-' || s.ptr[at] == '+'))
        negative = s.ptr[at++] == '-';
    if (at == s.len)
        return false;
    int exponent = 0;
    for (; at < s.len && is_digit(s.ptr[at]); at++)
        exponent = exponent < 100000 ? exponent * 10 + (s.ptr[at] - '0') : exponent;
    ret->exponent += negative ? -exponent : exponent;
    return at == s.len;
}

bool op_str_double(struct op_str s, double *ret)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    struct decimal d;
    if (!scan_decimal(s, &d))
        return false;
    /* Integer and power of ten are both exact in a double, so one rounding is correct. */
    if (d.digits <= 19 && d.mantissa <= (1ULL << 53) && d.exponent >= -22 && d.exponent <= 22) {
        double value = (double)d.mantissa;
        value = d.exponent < 0 ? value / powers[-d.exponent] : value * powers[d.exponent];
        *ret = d.negative ? -value : value;
        return true;
    }
    char local[64];
    OP_CLEANUP(op_mem_freep) char *heap = NULL;
    char *text = local;
    if (s.len >= sizeof(local))
        text = heap = op_mem_strndup(s.ptr, s.len);
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    /* glibc hands out its static C locale here: nothing is allocated. */
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double value = strtod_l(text, NULL, c_locale);
    freelocale(c_locale);
    if (!isfinite(value))
        return false;
    *ret = value;
    return true;
}

bool op_str_microusd(struct op_str s, int64_t *ret)
{
    int64_t sum = 0;
    size_t at = 0, decimals = 0;
    bool point = false;
    for (; at < s.len; at++) {
        if (s.ptr[at] == '.' && !point) {
            point = true;
            continue;
        }
        if (!is_digit(s.ptr[at]) || (point && ++decimals > 6))
            return false;
        if (__builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_add_overflow(sum, s.ptr[at] - '0', &sum))
            return false;
    }
    if (s.len == 0 || s.ptr[s.len - 1] == '.')
        return false;
    for (; decimals < 6; decimals++) {
        if (__builtin_mul_overflow(sum, 10, &sum))
            return false;
    }
    *ret = sum;
    return true;
}

/* Length of the valid sequence at p, which starts with a byte >= 0x80; 0 when there is none. */
static size_t utf8_sequence(const unsigned char *p, size_t room)
{
    unsigned lead = p[0];
    size_t len;
    unsigned low = 0x80, high = 0xBF; /* limits of the second byte */
    if (lead >= 0xC2 && lead <= 0xDF) {
        len = 2;
    } else if ((lead & 0xF0) == 0xE0) {
        len = 3;
        low = lead == 0xE0 ? 0xA0 : 0x80;
        high = lead == 0xED ? 0x9F : 0xBF;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        len = 4;
        low = lead == 0xF0 ? 0x90 : 0x80;
        high = lead == 0xF4 ? 0x8F : 0xBF;
    } else {
        return 0;
    }
    if (room < len || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    }
    return len;
}

size_t op_utf8_valid_len(const char *ptr, size_t len)
{
    const unsigned char *p = (const unsigned char *)ptr;
    size_t at = 0;
    while (at < len) {
        while (len - at >= 32) {
            uint64_t w[4];
            memcpy(w, p + at, sizeof(w));
            if ((w[0] | w[1] | w[2] | w[3]) & 0x8080808080808080ULL)
                break;
            at += 32;
        }
        while (at < len && p[at] < 0x80)
            at++;
        while (at < len && p[at] >= 0x80) {
            size_t step = utf8_sequence(p + at, len - at);
            if (step == 0)
                return at;
            at += step;
        }
    }
    return len;
}

enum { NEAREST_MAX = 48 };

static char fold_case(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edit distance with transposition of neighbours, ASCII case ignored. */
static size_t distance(const char *a, size_t alen, const char *b, size_t blen)
{
    size_t rows[3][NEAREST_MAX + 1] = {{0}};
    for (size_t j = 0; j <= blen; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= alen; i++) {
        size_t *now = rows[i % 3];
        const size_t *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= blen; j++) {
            char x = fold_case(a[i - 1]), y = fold_case(b[j - 1]);
            now[j] = smaller(last[j - 1] + (x != y), smaller(last[j], now[j - 1]) + 1);
            bool swapped =
                i > 1 && j > 1 && x == fold_case(b[j - 2]) && y == fold_case(a[i - 2]);
            if (swapped)
                now[j] = smaller(now[j], before[j - 2] + 1);
        }
    }
    return rows[alen % 3][blen];
}

const char *op_str_nearest(const char *word, const char *const *candidates, size_t count)
{
    size_t len = strlen(word);
    if (len == 0 || len > NEAREST_MAX)
        return NULL;
    const char *nearest = NULL;
    /* A third of the word may differ; more would suggest things nobody meant. */
    size_t limit = len / 3 > 0 ? len / 3 : 1;
    for (size_t i = 0; i < count; i++) {
        size_t other = strlen(candidates[i]);
        if (other > NEAREST_MAX)
            continue;
        size_t d = distance(word, len, candidates[i], other);
        if (d <= limit && d < other) {
            nearest = candidates[i];
            if (d == 0)
                break;
            limit = d - 1;
        }
    }
    return nearest;
}
