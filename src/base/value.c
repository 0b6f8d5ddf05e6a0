/* SPDX-License-Identifier: MIT */
#include "base/value.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* SQLite's "%!.15g": as C's, but always with a decimal point, and without a sign on zero. */
static size_t format_double(double d, char ret[32])
{
    if (isinf(d))
        return (size_t)snprintf(ret, 32, d < 0 ? "-Inf" : "Inf");
    size_t len = (size_t)snprintf(ret, 32, "%.15g", d == 0 ? 0.0 : d);
    if (memchr(ret, '.', len))
        return len;
    char *exponent = memchr(ret, 'e', len);
    size_t at = exponent ? (size_t)(exponent - ret) : len;
    memmove(ret + at + 2, ret + at, len - at);
    memcpy(ret + at, ".0", 2);
    return len + 2;
}

struct op_str op_value_to_text(struct op_value v, char scratch[32])
{
    switch (v.type) {
    case OP_VALUE_NULL:
        break;
    case OP_VALUE_INT:
        return (struct op_str){scratch, (size_t)snprintf(scratch, 32, "%lld", (long long)v.i)};
    case OP_VALUE_DOUBLE:
        /* SQLite has no NaN: it stores NULL. */
        if (isnan(v.d))
            break;
        return (struct op_str){scratch, format_double(v.d, scratch)};
    case OP_VALUE_TEXT:
    case OP_VALUE_BLOB:
        return v.s;
    }
    return OP_STR_NULL;
}
