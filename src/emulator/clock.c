/* SPDX-License-Identifier: MIT */
#include "emulator/clock.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "base/time.h"

/* Finer than the env's milliseconds: at speed 1000 a millisecond is a virtual second, and times
 * that a client compares would come in steps of it. */
static int64_t real_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void op_emu_clock_init(struct op_emu_clock *clock, int64_t start_us, double speed)
{
    *clock = (struct op_emu_clock){real_us(), start_us, speed};
}

int64_t op_emu_clock_now(const struct op_emu_clock *clock)
{
    double passed = (double)(real_us() - clock->real_start_us) * clock->speed;
    return clock->start_us + (int64_t)passed;
}

int64_t op_emu_clock_until_ms(const struct op_emu_clock *clock, int64_t at_us)
{
    int64_t left = at_us - op_emu_clock_now(clock);
    if (left <= 0)
        return 0;
    double real_ms = ceil((double)left / clock->speed / 1000);
    return real_ms > 3600000 ? 3600000 : (int64_t)real_ms;
}

void op_emu_time_format(int64_t us, bool zulu, char ret[OP_EMU_TIME_TEXT])
{
    char text[OP_TIME_TEXT];
    int64_t ms = us / 1000;
    op_time_format(ms, text);
    /* The first 20 characters end with the point before the fraction. */
    snprintf(ret, OP_EMU_TIME_TEXT, "%.20s%06d%s", text, (int)(us % 1000000),
             zulu ? "Z" : "+00:00");
}

void op_emu_http_date(int64_t us, char ret[OP_EMU_TIME_TEXT])
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(us / OP_EMU_SECOND_US);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    snprintf(ret, OP_EMU_TIME_TEXT, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
             tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
             tm.tm_sec);
}
