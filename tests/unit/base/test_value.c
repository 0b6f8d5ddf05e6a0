/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: a cell as text.
 * Oracle:    what SQLite's CAST(x AS TEXT) prints for the same values.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"
#include "base/value.h"

static void as_sqlite_casts(void **state)
{
    (void)state;
    const struct {
        struct op_value v;
        const char *text; /* NULL: none */
    } cases[] = {
        {op_value_null(), NULL},
        {op_value_int(0), "0"},
        {op_value_int(INT64_MIN), "-9223372036854775808"},
        {op_value_int(INT64_MAX), "9223372036854775807"},
        {op_value_double(1.0), "1.0"},
        {op_value_double(-1.5), "-1.5"},
        {op_value_double(0.1), "0.1"},
        {op_value_double(-0.0), "0.0"},
        {op_value_double(100.0), "100.0"},
        {op_value_double(123456789012345.0), "123456789012345.0"},
        {op_value_double(1e15), "1.0e+15"},
        {op_value_double(1e20), "1.0e+20"},
        {op_value_double(1.5e300), "1.5e+300"},
        {op_value_double(-1e-5), "-1.0e-05"},
        {op_value_double(0.0001), "0.0001"},
        {op_value_double(1.0 / 3), "0.333333333333333"},
        {op_value_double(-2.2250738585072014e-308), "-2.2250738585072e-308"},
        {op_value_double((double)INFINITY), "Inf"},
        {op_value_double(-(double)INFINITY), "-Inf"},
        {op_value_double((double)NAN), NULL},
        {op_value_text(OP_STR("text")), "text"},
        {op_value_text(OP_STR("")), ""},
        {op_value_text(OP_STR_NULL), NULL},
        {{.type = OP_VALUE_BLOB, .s = OP_STR("bytes")}, "bytes"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        char scratch[32];
        struct op_str text = op_value_to_text(cases[i].v, scratch);
        if (!cases[i].text) {
            assert_null(text.ptr);
            continue;
        }
        assert_int_equal(text.len, strlen(cases[i].text));
        assert_memory_equal(text.ptr, cases[i].text, text.len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_sqlite_casts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
