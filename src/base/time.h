/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_TIME_H
#define OP_BASE_TIME_H

/*
 * Model:     times are int64 milliseconds since 1970 UTC, durations int64 milliseconds.
 * Threads:   pure functions; no locale, no TZ.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define OP_SECOND_MS 1000LL
#define OP_MINUTE_MS (60 * OP_SECOND_MS)
#define OP_HOUR_MS   (60 * OP_MINUTE_MS)
#define OP_DAY_MS    (24 * OP_HOUR_MS)

#define OP_TIME_TEXT 32 /* room for op_time_format */

/* RFC 3339 with any fraction and Z or a numeric offset; false when it is none. */
bool op_time_parse(struct op_str text, int64_t *ret_ms);
/* An HTTP date (IMF-fixdate, as in Date and Retry-After). */
bool op_time_parse_http(struct op_str text, int64_t *ret_ms);
/* "2026-11-20T12:00:00.000Z" */
void op_time_format(int64_t ms, char ret[OP_TIME_TEXT]);
/* "2d 3h", "4m 5s", "850ms": two units at most. */
void op_duration_format(int64_t ms, char ret[OP_TIME_TEXT]);

#endif
