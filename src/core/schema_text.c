/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "base/json_out.h"
#include "core/schema_impl.h"

/* Bytes of a value, and of all choices of an enum, that a message shows. */
#define SHOWN_VALUE   80
#define SHOWN_CHOICES 1000

unsigned op_schema_type_of(struct op_json value)
{
    double d;

    switch (op_json_type(value)) {
    case OP_JSON_NULL:
        return OP_SCHEMA_NULL;
    case OP_JSON_FALSE:
    case OP_JSON_TRUE:
        return OP_SCHEMA_BOOLEAN;
    case OP_JSON_INT:
        return OP_SCHEMA_INTEGER | OP_SCHEMA_NUMBER;
    case OP_JSON_DOUBLE:
        d = op_json_double(value, 0);
        return OP_SCHEMA_NUMBER | (d == trunc(d) ? OP_SCHEMA_INTEGER : 0);
    case OP_JSON_STRING:
        return OP_SCHEMA_STRING;
    case OP_JSON_ARRAY:
        return OP_SCHEMA_ARRAY;
    case OP_JSON_OBJECT:
        return OP_SCHEMA_OBJECT;
    }
    return 0;
}

void op_schema_put_types(struct op_buf *buf, unsigned types)
{
    static const char *const names[] = {"null",   "boolean", "integer", "number",
                                        "string", "array",   "object"};
    bool first = true;

    if ((types & OP_SCHEMA_INTEGER) && (types & OP_SCHEMA_NUMBER))
        types &= ~(unsigned)OP_SCHEMA_INTEGER;
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!(types & 1U << i))
            continue;
        types &= ~(1U << i);
        op_buf_addf(buf, "%s%s", first ? "" : types ? ", " : " or ", names[i]);
        first = false;
    }
}

void op_schema_put_value(struct op_buf *buf, struct op_json value)
{
    struct op_buf text;
    size_t shown = SHOWN_VALUE;

    op_buf_init(&text, SIZE_MAX / 2);
    op_json_write(&text, value);
    if (text.len <= SHOWN_VALUE) {
        op_buf_add(buf, text.ptr, text.len);
    } else {
        while (shown > 0 && ((unsigned char)text.ptr[shown] & 0xC0) == 0x80)
            shown--;
        op_buf_add(buf, text.ptr, shown);
        op_buf_addz(buf, "...");
    }
    op_buf_release(&text);
}

void op_schema_put_choices(struct op_buf *buf, struct op_json array)
{
    struct op_json_iter it = op_json_iter(array);
    size_t start = buf->len;

    while (op_json_next(&it)) {
        if (it.index > 0)
            op_buf_addz(buf, ", ");
        if (buf->len - start > SHOWN_CHOICES) {
            op_buf_addf(buf, "and %zu more", op_json_count(array) - it.index);
            return;
        }
        op_schema_put_value(buf, it.value);
    }
}

int op_schema_compare(struct op_json a, struct op_json b)
{
    if (op_json_type(a) == OP_JSON_INT && op_json_type(b) == OP_JSON_INT) {
        int64_t x = op_json_int(a, 0), y = op_json_int(b, 0);
        return x < y ? -1 : x > y;
    }
    double x = op_json_double(a, 0), y = op_json_double(b, 0);
    return x < y ? -1 : x > y;
}

/* A positive number as digits * 10^exponent, by its shortest decimal form. */
static void decimal(double value, uint64_t *ret_digits, int *ret_exponent)
{
    char text[33];
    uint64_t digits = 0;
    int exponent = 0;
    bool fraction = false;

    text[op_json_format_double(value, text)] = '\0';
    for (const char *p = text; *p; p++) {
        if (*p == '.') {
            fraction = true;
        } else if (*p == 'e') {
            int64_t power = 0;
            (void)op_str_int64(op_str_from(p + (p[1] == '+' ? 2 : 1)), &power);
            exponent += (int)power;
            break;
        } else {
            digits = digits * 10 + (uint64_t)(*p - '0');
            exponent -= fraction;
        }
    }
    *ret_digits = digits;
    *ret_exponent = exponent;
}

/* a * 10^power modulo m; m is below 2^64. */
static uint64_t scaled_mod(uint64_t a, int power, uint64_t m)
{
    unsigned __int128 rest = a % m;

    for (; power > 0 && rest > 0; power--)
        rest = rest * 10 % m;
    return (uint64_t)rest;
}

/* By decimal digits, for 0.0075 is a multiple of 0.0001 to everybody but a binary divider. */
static bool decimal_multiple(double value, double divisor)
{
    uint64_t a, b;
    int ea, eb;

    decimal(fabs(value), &a, &ea);
    decimal(divisor, &b, &eb);
    if (a == 0)
        return true;
    if (ea >= eb)
        return scaled_mod(a, ea - eb, b) == 0;
    /* value has more decimals, and the last of its shortest digits is no 0; or it is an integer
     * that was written out, and then smaller than a divisor that needs an exponent */
    return false;
}

bool op_schema_multiple(struct op_json value, struct op_json divisor)
{
    if (op_json_type(value) == OP_JSON_INT && op_json_type(divisor) == OP_JSON_INT)
        return op_json_int(value, 0) % op_json_int(divisor, 1) == 0;
    return decimal_multiple(op_json_double(value, 0), op_json_double(divisor, 1));
}
