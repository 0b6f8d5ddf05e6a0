/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/mem.h"
#include "core/schema_impl.h"

/* A reader of fixed grammars: the take_ functions consume from it or fail for good. */
struct reader {
    const char *p, *end;
};

static struct reader reader(struct op_str text)
{
    return (struct reader){text.ptr, text.ptr + text.len};
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool take(struct reader *r, const char *set)
{
    if (r->p == r->end || !is_one_of(*r->p, set))
        return false;
    r->p++;
    return true;
}

/* Exactly count digits, of a value from min to max. */
static bool take_number(struct reader *r, int count, int min, int max, int *ret)
{
    int value = 0;

    for (int i = 0; i < count; i++, r->p++) {
        if (r->p == r->end || !is_digit(*r->p))
            return false;
        value = value * 10 + (*r->p - '0');
    }
    *ret = value;
    return value >= min && value <= max;
}

static bool take_date(struct reader *r)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day;

    if (!take_number(r, 4, 0, 9999, &year) || !take(r, "-") ||
        !take_number(r, 2, 1, 12, &month) || !take(r, "-") || !take_number(r, 2, 1, 31, &day))
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return day <= days[month - 1] + (month == 2 && leap);
}

/* RFC 3339; a leap second only at 23:59:60 of UTC. */
static bool take_time(struct reader *r)
{
    int hour, minute, second, zone_hour = 0, zone_minute = 0, sign = 0;

    if (!take_number(r, 2, 0, 23, &hour) || !take(r, ":") ||
        !take_number(r, 2, 0, 59, &minute) || !take(r, ":") ||
        !take_number(r, 2, 0, 60, &second))
        return false;
    if (take(r, ".")) {
        int digit;
        if (!take_number(r, 1, 0, 9, &digit))
            return false;
        while (r->p < r->end && is_digit(*r->p))
            r->p++;
    }
    if (!take(r, "Zz")) {
        sign = r->p < r->end && *r->p == '-' ? -1 : 1;
        if (!take(r, "+-") || !take_number(r, 2, 0, 23, &zone_hour) || !take(r, ":") ||
            !take_number(r, 2, 0, 59, &zone_minute))
            return false;
    }
    int utc = (hour * 60 + minute - sign * (zone_hour * 60 + zone_minute) + 2880) % 1440;
    return second < 60 || utc == 1439;
}

static bool format_date(struct op_str text)
{
    struct reader r = reader(text);

    return take_date(&r) && r.p == r.end;
}

static bool format_time(struct op_str text)
{
    struct reader r = reader(text);

    return take_time(&r) && r.p == r.end;
}

static bool format_date_time(struct op_str text)
{
    struct reader r = reader(text);

    return take_date(&r) && take(&r, "Tt") && take_time(&r) && r.p == r.end;
}

/* Numbers with the letters of units, in order, each unit following the one before without a gap
 * (RFC 3339: P1Y2D is not a duration). Returns the count, -1 when ill-formed. */
static int take_units(struct reader *r, const char *units)
{
    int taken = 0;
    const char *last = NULL;

    while (r->p < r->end && is_digit(*r->p)) {
        while (r->p < r->end && is_digit(*r->p))
            r->p++;
        const char *unit = r->p < r->end ? memchr(units, *r->p, strlen(units)) : NULL;
        if (!unit || (last && unit != last + 1))
            return -1;
        last = unit;
        r->p++;
        taken++;
    }
    return taken;
}

static bool format_duration(struct op_str text)
{
    struct reader r = reader(text);
    int date, time;

    if (!take(&r, "P"))
        return false;
    struct reader weeks = r;
    if (take_units(&weeks, "W") == 1 && weeks.p == weeks.end)
        return true;
    date = take_units(&r, "YMD");
    if (date < 0)
        return false;
    if (r.p == r.end)
        return date > 0;
    if (!take(&r, "T"))
        return false;
    time = take_units(&r, "HMS");
    return time > 0 && r.p == r.end;
}

static bool format_ipv4(struct op_str text)
{
    struct reader r = reader(text);

    for (int i = 0; i < 4; i++) {
        int value = 0, digits = 0;
        if (i > 0 && !take(&r, "."))
            return false;
        for (; r.p < r.end && is_digit(*r.p) && digits < 4; r.p++, digits++)
            value = value * 10 + (*r.p - '0');
        if (digits == 0 || digits > 3 || value > 255 || (digits > 1 && r.p[-digits] == '0'))
            return false;
    }
    return r.p == r.end;
}

static bool format_ipv6(struct op_str text)
{
    struct reader r = reader(text);
    int groups = 0;
    bool gap = false;

    if (op_str_starts(text, ":")) {
        if (!op_str_starts(text, "::"))
            return false;
        gap = true;
        r.p += 2;
    }
    while (r.p < r.end) {
        const char *first = r.p;
        while (r.p < r.end && is_hex(*r.p))
            r.p++;
        if (r.p < r.end && *r.p == '.') {
            groups += 2;
            return (gap ? groups < 8 : groups == 8) &&
                   format_ipv4((struct op_str){first, (size_t)(r.end - first)});
        }
        if (r.p == first || r.p - first > 4)
            return false;
        groups++;
        if (r.p == r.end)
            break;
        if (*r.p++ != ':' || r.p == r.end)
            return false;
        if (*r.p == ':') {
            if (gap)
                return false;
            gap = true;
            r.p++;
        }
    }
    return gap ? groups < 8 : groups == 8;
}

static bool label_good(struct op_str label)
{
    if (label.len == 0 || label.len > 63 || label.ptr[0] == '-' ||
        label.ptr[label.len - 1] == '-')
        return false;
    for (size_t i = 0; i < label.len; i++)
        if (!is_letter(label.ptr[i]) && !is_digit(label.ptr[i]) && label.ptr[i] != '-')
            return false;
    /* "--" in third place is kept for encodings, of which there is one */
    if (label.len >= 4 && memcmp(label.ptr + 2, "--", 2) == 0)
        return label.len > 4 && (label.ptr[0] | 0x20) == 'x' && (label.ptr[1] | 0x20) == 'n';
    return true;
}

static bool format_hostname(struct op_str text)
{
    if (text.len == 0 || text.len > 253)
        return false;
    while (text.ptr)
        if (!label_good(op_str_cut(&text, '.')))
            return false;
    return true;
}

static bool is_atom(char c)
{
    return is_letter(c) || is_digit(c) || is_one_of(c, "!#$%&'*+-/=?^_`{|}~");
}

static bool local_part_good(struct op_str local)
{
    bool dot = true; /* a dot may neither begin nor follow a dot */

    if (local.len >= 2 && local.ptr[0] == '"' && local.ptr[local.len - 1] == '"') {
        for (size_t i = 1; i + 1 < local.len; i++) {
            char c = local.ptr[i];
            if (c == '\\' && ++i + 1 >= local.len)
                return false;
            if (c == '"' || (unsigned char)c < 0x20 || (unsigned char)c >= 0x7F)
                return false;
        }
        return true;
    }
    for (size_t i = 0; i < local.len; i++) {
        if (local.ptr[i] == '.' ? dot : !is_atom(local.ptr[i]))
            return false;
        dot = local.ptr[i] == '.';
    }
    return !dot;
}

static bool format_email(struct op_str text)
{
    const char *at = text.ptr ? memrchr(text.ptr, '@', text.len) : NULL;

    if (!at || at - text.ptr > 64 ||
        !local_part_good((struct op_str){text.ptr, (size_t)(at - text.ptr)}))
        return false;
    struct op_str domain = {at + 1, text.len - (size_t)(at - text.ptr) - 1};
    if (domain.len < 2 || domain.ptr[0] != '[' || domain.ptr[domain.len - 1] != ']')
        return format_hostname(domain);
    struct op_str literal = {domain.ptr + 1, domain.len - 2};
    if (op_str_starts(literal, "IPv6:"))
        return format_ipv6((struct op_str){literal.ptr + 5, literal.len - 5});
    return format_ipv4(literal);
}

/* Bytes of RFC 3986, with whole percent escapes. */
static bool uri_bytes(struct op_str text, const char *extra)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            if (text.len - i < 3 || !is_hex(text.ptr[i + 1]) || !is_hex(text.ptr[i + 2]))
                return false;
        } else if (!is_letter(c) && !is_digit(c) && !is_one_of(c, "-._~!$&'()*+,;=") &&
                   !is_one_of(c, extra)) {
            return false;
        }
    }
    return true;
}

static bool authority_good(struct op_str text)
{
    const char *at = memrchr(text.ptr, '@', text.len);

    if (at) {
        size_t len = (size_t)(at - text.ptr);
        if (!uri_bytes((struct op_str){text.ptr, len}, ":"))
            return false;
        text = (struct op_str){at + 1, text.len - len - 1};
    }
    struct op_str host = text;
    if (op_str_starts(text, "[")) {
        const char *close = memchr(text.ptr, ']', text.len);
        if (!close)
            return false;
        host = (struct op_str){text.ptr + 1, (size_t)(close - text.ptr) - 1};
        if (!format_ipv6(host) && !(op_str_starts(host, "v") && uri_bytes(host, ":")))
            return false;
        text = (struct op_str){close + 1, text.len - host.len - 2};
        if (text.len > 0 && text.ptr[0] != ':')
            return false;
        host = OP_STR("");
    }
    const char *colon = memchr(text.ptr, ':', text.len);
    if (colon) {
        for (const char *p = colon + 1; p < text.ptr + text.len; p++)
            if (!is_digit(*p))
                return false;
        if (host.len > 0)
            host.len = (size_t)(colon - text.ptr);
    }
    return uri_bytes(host, "");
}

/* Splits off what follows the first sep; false when that has a wrong byte. */
static bool cut_tail(struct op_str *text, char sep)
{
    const char *at = memchr(text->ptr, sep, text->len);

    if (!at)
        return true;
    size_t len = (size_t)(at - text->ptr);
    struct op_str tail = {at + 1, text->len - len - 1};
    text->len = len;
    return uri_bytes(tail, "/:@?");
}

static bool uri_good(struct op_str text, bool absolute)
{
    size_t scheme = 0;

    if (!cut_tail(&text, '#') || !cut_tail(&text, '?'))
        return false;
    while (scheme < text.len && !is_one_of(text.ptr[scheme], ":/"))
        scheme++;
    bool has_scheme = scheme < text.len && text.ptr[scheme] == ':';
    if (has_scheme) {
        for (size_t i = 0; i < scheme; i++)
            if (!is_letter(text.ptr[i]) &&
                (i == 0 || (!is_digit(text.ptr[i]) && !is_one_of(text.ptr[i], "+-."))))
                return false;
        if (scheme == 0)
            return false;
        text = (struct op_str){text.ptr + scheme + 1, text.len - scheme - 1};
    } else if (absolute) {
        return false;
    }
    if (op_str_starts(text, "//")) {
        size_t end = 2;
        while (end < text.len && text.ptr[end] != '/')
            end++;
        if (!authority_good((struct op_str){text.ptr + 2, end - 2}))
            return false;
        text = (struct op_str){text.ptr + end, text.len - end};
    }
    return uri_bytes(text, "/:@");
}

static bool format_uri(struct op_str text)
{
    return uri_good(text, true);
}

static bool format_uri_reference(struct op_str text)
{
    return uri_good(text, false);
}

static bool format_uuid(struct op_str text)
{
    if (text.len != 36)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text.ptr[i] != '-' : !is_hex(text.ptr[i]))
            return false;
    }
    return true;
}

static bool format_json_pointer(struct op_str text)
{
    if (text.len > 0 && text.ptr[0] != '/')
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] == '~' &&
            (i + 1 == text.len || (text.ptr[i + 1] != '0' && text.ptr[i + 1] != '1')))
            return false;
    return true;
}

static bool format_relative_json_pointer(struct op_str text)
{
    size_t digits = 0;

    while (digits < text.len && is_digit(text.ptr[digits]))
        digits++;
    if (digits == 0 || (digits > 1 && text.ptr[0] == '0'))
        return false;
    text = (struct op_str){text.ptr + digits, text.len - digits};
    return op_str_is(text, "#") || format_json_pointer(text);
}

bool (*op_schema_format_find(struct op_str name))(struct op_str text)
{
    static const struct {
        const char *name;
        bool (*check)(struct op_str text);
    } formats[] = {
        {"date-time", format_date_time},
        {"date", format_date},
        {"time", format_time},
        {"duration", format_duration},
        {"email", format_email},
        {"hostname", format_hostname},
        {"ipv4", format_ipv4},
        {"ipv6", format_ipv6},
        {"uri", format_uri},
        {"uri-reference", format_uri_reference},
        {"uuid", format_uuid},
        {"json-pointer", format_json_pointer},
        {"relative-json-pointer", format_relative_json_pointer},
        {"regex", op_schema_regex_valid},
    };

    for (size_t i = 0; i < OP_COUNT(formats); i++)
        if (op_str_is(name, formats[i].name))
            return formats[i].check;
    return NULL;
}
