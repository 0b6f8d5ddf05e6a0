/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_CLOCK_H
#define OP_EMULATOR_CLOCK_H

/*
 * Model:     virtual time = start + real time passed * speed, in microseconds since 1970, so that
 *            two events of one millisecond still have an order. It never goes back.
 * Threads:   any, after init.
 */

#include <stdbool.h>
#include <stdint.h>

#define OP_EMU_SECOND_US 1000000LL
#define OP_EMU_DAY_US    (86400 * OP_EMU_SECOND_US)

#define OP_EMU_TIME_TEXT 40

struct op_emu_clock {
    int64_t real_start_us;
    int64_t start_us;
    double speed;
};

void op_emu_clock_init(struct op_emu_clock *clock, int64_t start_us, double speed);
int64_t op_emu_clock_now(const struct op_emu_clock *clock);
/* Real milliseconds until the virtual time at_us, rounded up, an hour at most; 0 when it has
 * passed. */
int64_t op_emu_clock_until_ms(const struct op_emu_clock *clock, int64_t at_us);

/* "2025-01-29T14:25:40.141141+00:00", or with Z in place of the offset. */
void op_emu_time_format(int64_t us, bool zulu, char ret[OP_EMU_TIME_TEXT]);

/* The Date header's form: "Fri, 20 Nov 2026 12:00:00 GMT". */
void op_emu_http_date(int64_t us, char ret[OP_EMU_TIME_TEXT]);

#endif
