/* SPDX-License-Identifier: MIT */
#include "base/time.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar. Years are counted from
 * March, so that the leap day is the last one of its year. */
static int64_t days_of(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_of(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year =
        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    *ret_day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    *ret_month = (int)(month < 10 ? month + 3 : month - 9);
    *ret_year = year_of_era + era * 400 + (*ret_month <= 2);
}

/* Takes count digits off the front. */
static bool take_number(struct op_str *s, size_t count, int *ret)
{
    if (s->len < count)
        return false;
    int value = 0;
    for (size_t i = 0; i < count; i++) {
        if (s->ptr[i] < '0' || s->ptr[i] > '9')
            return false;
        value = value * 10 + (s->ptr[i] - '0');
    }
    *ret = value;
    s->ptr += count;
    s->len -= count;
    return true;
}

/* Takes one character of set off the front. */
static bool take_char(struct op_str *s, const char *set, char *ret)
{
    if (s->len == 0 || s->ptr[0] == '\0' || !strchr(set, s->ptr[0]))
        return false;
    *ret = s->ptr[0];
    s->ptr++;
    s->len--;
    return true;
}

struct clock {
    int year, month, day, hour, minute, second;
};

static bool clock_ms(const struct clock *c, int64_t *ret_ms)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (c->month < 1 || c->month > 12)
        return false;
    bool leap = (c->year % 4 == 0 && c->year % 100 != 0) || c->year % 400 == 0;
    int last = month_days[c->month - 1] + (leap && c->month == 2);
    /* Second 60 is a leap second, which this scale counts as the next one. */
    if (c->day < 1 || c->day > last || c->hour > 23 || c->minute > 59 || c->second > 60)
        return false;
    *ret_ms = days_of(c->year, c->month, c->day) * OP_DAY_MS + c->hour * OP_HOUR_MS +
              c->minute * OP_MINUTE_MS + c->second * OP_SECOND_MS;
    return true;
}

static bool take_time(struct op_str *s, struct clock *c)
{
    char sep;
    return take_number(s, 2, &c->hour) && take_char(s, ":", &sep) &&
           take_number(s, 2, &c->minute) && take_char(s, ":", &sep) &&
           take_number(s, 2, &c->second);
}

/* Optional ".digits" as milliseconds, further digits cut off. */
static bool take_fraction(struct op_str *s, int64_t *ret_ms)
{
    char point;
    if (!take_char(s, ".", &point))
        return true;
    int64_t ms = 0, unit = 100;
    size_t digits = 0;
    for (int digit; take_number(s, 1, &digit); digits++, unit /= 10)
        ms += digit * unit;
    *ret_ms = ms;
    return digits > 0;
}

static bool take_offset(struct op_str *s, int64_t *ret_ms)
{
    char sign, sep;
    if (take_char(s, "Zz", &sign))
        return true;
    int hours, minutes;
    if (!take_char(s, "+-", &sign) || !take_number(s, 2, &hours) || !take_char(s, ":", &sep) ||
        !take_number(s, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    int64_t ms = hours * OP_HOUR_MS + minutes * OP_MINUTE_MS;
    *ret_ms = sign == '-' ? -ms : ms;
    return true;
}

bool op_time_parse(struct op_str text, int64_t *ret_ms)
{
    struct clock c;
    char sep;
    int64_t ms, fraction = 0, offset = 0;
    if (!take_number(&text, 4, &c.year) || !take_char(&text, "-", &sep) ||
        !take_number(&text, 2, &c.month) || !take_char(&text, "-", &sep) ||
        !take_number(&text, 2, &c.day) || !take_char(&text, "Tt ", &sep) ||
        !take_time(&text, &c) || !take_fraction(&text, &fraction) ||
        !take_offset(&text, &offset) || text.len > 0 || !clock_ms(&c, &ms))
        return false;
    *ret_ms = ms + fraction - offset;
    return true;
}

/* Takes one of count names of three letters off the front. */
static bool take_name(struct op_str *s, const char *names, int count, int *ret)
{
    for (int i = 0; s->len >= 3 && i < count; i++) {
        if (memcmp(s->ptr, names + 3 * (size_t)i, 3) == 0) {
            s->ptr += 3;
            s->len -= 3;
            *ret = i;
            return true;
        }
    }
    return false;
}

static bool take_text(struct op_str *s, const char *text)
{
    if (!op_str_starts(*s, text))
        return false;
    s->ptr += strlen(text);
    s->len -= strlen(text);
    return true;
}

bool op_time_parse_http(struct op_str text, int64_t *ret_ms)
{
    struct clock c;
    int weekday;
    if (!take_name(&text, "MonTueWedThuFriSatSun", 7, &weekday) || !take_text(&text, ", ") ||
        !take_number(&text, 2, &c.day) || !take_text(&text, " ") ||
        !take_name(&text, "JanFebMarAprMayJunJulAugSepOctNovDec", 12, &c.month) ||
        !take_text(&text, " ") || !take_number(&text, 4, &c.year) || !take_text(&text, " ") ||
        !take_time(&text, &c) || !take_text(&text, " GMT") || text.len > 0)
        return false;
    c.month++;
    return clock_ms(&c, ret_ms);
}

void op_time_format(int64_t ms, char ret[OP_TIME_TEXT])
{
    int64_t days = ms / OP_DAY_MS, rest = ms % OP_DAY_MS;
    if (rest < 0) {
        rest += OP_DAY_MS;
        days--;
    }
    int64_t year;
    int month, day;
    date_of(days, &year, &month, &day);
    snprintf(ret, OP_TIME_TEXT, "%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ", (long long)year, month,
             day, (int)(rest / OP_HOUR_MS), (int)(rest / OP_MINUTE_MS % 60),
             (int)(rest / OP_SECOND_MS % 60), (int)(rest % OP_SECOND_MS));
}

void op_duration_format(int64_t ms, char ret[OP_TIME_TEXT])
{
    static const struct {
        uint64_t ms;
        const char *name;
    } units[] = {{OP_DAY_MS, "d"},
                 {OP_HOUR_MS, "h"},
                 {OP_MINUTE_MS, "m"},
                 {OP_SECOND_MS, "s"},
                 {1, "ms"}};
    const char *sign = ms < 0 ? "-" : "";
    uint64_t rest = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    size_t i = 0;
    while (i + 1 < OP_COUNT(units) && rest < units[i].ms)
        i++;
    unsigned long long first = rest / units[i].ms, second = 0;
    if (i + 1 < OP_COUNT(units))
        second = rest % units[i].ms / units[i + 1].ms;
    if (second > 0)
        snprintf(ret, OP_TIME_TEXT, "%s%llu%s %llu%s", sign, first, units[i].name, second,
                 units[i + 1].name);
    else
        snprintf(ret, OP_TIME_TEXT, "%s%llu%s", sign, first, units[i].name);
}
