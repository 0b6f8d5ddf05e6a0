/* SPDX-License-Identifier: MIT */
#include "view/text.h"

#include <stdio.h>
#include <utf8proc.h>

#include "base/time.h"

const char *op_text_count(int64_t n, char ret[OP_TEXT_SHORT])
{
    char digits[OP_TEXT_SHORT];
    int len = snprintf(digits, sizeof(digits), "%lld", (long long)n);
    size_t at = 0;
    for (int i = 0; i < len; i++) {
        bool group = i > 0 && (len - i) % 3 == 0 && digits[i - 1] != '-';
        if (group)
            ret[at++] = ',';
        ret[at++] = digits[i];
    }
    ret[at] = '\0';
    return ret;
}

const char *op_text_brief(int64_t n, char ret[OP_TEXT_SHORT])
{
    static const char units[] = "kMGT";
    double value = (double)n;
    int unit = -1;
    while (value >= 999.5 && unit < 3) {
        value /= 1000;
        unit++;
    }
    if (unit < 0)
        snprintf(ret, OP_TEXT_SHORT, "%lld", (long long)n);
    else
        snprintf(ret, OP_TEXT_SHORT, value < 9.95 ? "%.1f%c" : "%.0f%c", value, units[unit]);
    return ret;
}

/* Below a cent the micro-dollars count, above it the cents do. */
const char *op_text_usd(int64_t micro, char ret[OP_TEXT_SHORT])
{
    const char *sign = micro < 0 ? "-" : "";
    uint64_t n = micro < 0 ? 0 - (uint64_t)micro : (uint64_t)micro;
    if (n == 0) {
        snprintf(ret, OP_TEXT_SHORT, "$0");
    } else if (n >= 1000000) {
        n += 5000;
        char whole[OP_TEXT_SHORT];
        op_text_count((int64_t)(n / 1000000), whole);
        snprintf(ret, OP_TEXT_SHORT, "%s$%s.%02u", sign, whole,
                 (unsigned)(n % 1000000 / 10000));
    } else if (n >= 10000) {
        snprintf(ret, OP_TEXT_SHORT, "%s$0.%04u", sign, (unsigned)((n + 50) / 100));
    } else {
        snprintf(ret, OP_TEXT_SHORT, "%s$0.%06u", sign, (unsigned)n);
    }
    return ret;
}

const char *op_text_micro(int64_t micro, char ret[OP_TEXT_SHORT])
{
    uint64_t n = micro < 0 ? 0 - (uint64_t)micro : (uint64_t)micro;
    snprintf(ret, OP_TEXT_SHORT, "%s$%llu.%06u", micro < 0 ? "-" : "",
             (unsigned long long)(n / 1000000), (unsigned)(n % 1000000));
    return ret;
}

const char *op_text_bytes(int64_t n, char ret[OP_TEXT_SHORT])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)n;
    size_t unit = 0;
    while (value >= 1024 && unit < 4) {
        value /= 1024;
        unit++;
    }
    if (unit == 0)
        snprintf(ret, OP_TEXT_SHORT, "%lld bytes", (long long)n);
    else
        snprintf(ret, OP_TEXT_SHORT, "%.1f %s", value, units[unit]);
    return ret;
}

const char *op_text_when(int64_t ms, char ret[OP_TEXT_SHORT])
{
    if (ms <= 0) {
        ret[0] = '\0';
        return ret;
    }
    op_time_format(ms, ret);
    ret[10] = ' ';
    ret[19] = '\0';
    return ret;
}

/* The code point at ptr: its bytes, and in *ret_width its columns. */
static size_t step(const char *ptr, size_t len, int *ret_width, bool *ret_bad)
{
    utf8proc_int32_t point = 0;
    utf8proc_ssize_t n =
        utf8proc_iterate((const utf8proc_uint8_t *)ptr, (utf8proc_ssize_t)len, &point);
    *ret_bad = n <= 0 || point < 0x20 || (point >= 0x7F && point < 0xA0) ||
               (point >= 0x200B && point <= 0x200F) || (point >= 0x2028 && point <= 0x202E) ||
               (point >= 0x2066 && point <= 0x2069);
    *ret_width = *ret_bad ? 1 : utf8proc_charwidth(point);
    return n <= 0 ? 1 : (size_t)n;
}

size_t op_text_width(struct op_str text)
{
    size_t width = 0;
    for (size_t i = 0; i < text.len;) {
        int one = 0;
        bool bad = false;
        i += step(text.ptr + i, text.len - i, &one, &bad);
        width += (size_t)(one > 0 ? one : 0);
    }
    return width;
}

void op_text_line(struct op_buf *out, struct op_str text, size_t max)
{
    text = op_str_trim(text);
    bool cut = max > 0 && op_text_width(text) > max;
    size_t width = 0, most = cut ? max - 1 : SIZE_MAX;
    for (size_t i = 0; i < text.len;) {
        int one = 0;
        bool bad = false;
        size_t n = step(text.ptr + i, text.len - i, &one, &bad);
        if (width + (size_t)one > most)
            break;
        width += (size_t)one;
        if (bad)
            op_buf_addc(out, strchr("\n\r\t", text.ptr[i]) && text.ptr[i] ? ' ' : '?');
        else
            op_buf_add(out, text.ptr + i, n);
        i += n;
    }
    if (cut)
        op_buf_addz(out, "\u2026");
}

void op_text_block(struct op_buf *out, struct op_str text, int indent)
{
    while (text.len > 0 && strchr("\n\r", text.ptr[text.len - 1]))
        text.len--;
    while (text.ptr) {
        struct op_str line = op_str_cut(&text, '\n');
        op_buf_addf(out, "%*s", line.len ? indent : 0, "");
        for (size_t i = 0; i < line.len;) {
            int one = 0;
            bool bad = false;
            size_t n = step(line.ptr + i, line.len - i, &one, &bad);
            if (bad)
                op_buf_addz(out, line.ptr[i] == '\t' ? "    " : line.ptr[i] == '\r' ? "" : "?");
            else
                op_buf_add(out, line.ptr + i, n);
            i += n;
        }
        op_buf_addc(out, '\n');
    }
}
