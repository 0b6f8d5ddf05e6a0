/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: engine/libraries.h: versions compare by their numbers; a fault's range includes its first
 *            version and not its end; the libraries at hand say a version; every row says something.
 * Oracle:    pairs ordered by hand; the headers this was compiled with.
 */
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"
#include "engine/libraries.h"

static void order(void **state)
{
    (void)state;
    static const char *const rising[] = {"3.7",    "3.7.1",   "3.7.10", "3.40.1",  "3.51.2",
                                         "3.51.3", "3.51.10", "10.45",  "10.45.1", "10.46"};
    for (size_t i = 0; i < OP_COUNT(rising); i++)
        for (size_t k = 0; k < OP_COUNT(rising); k++) {
            int found = op_version_compare(rising[i], rising[k]);
            assert_int_equal((found > 0) - (found < 0), (i > k) - (i < k));
        }
    assert_int_equal(op_version_compare("3.7", "3.7.0"), 0);
    assert_int_equal(op_version_compare("7.88.1-DEV", "7.88.1"), 0);
}

static void ranges(void **state)
{
    (void)state;
    static const struct op_known_fault fault = {"x", "3.0.0", "3.0.7", "e", NULL};
    assert_true(op_fault_hits(&fault, "3.0.0"));
    assert_true(op_fault_hits(&fault, "3.0.6"));
    assert_false(op_fault_hits(&fault, "3.0.7"));
    assert_false(op_fault_hits(&fault, "1.1.1"));
    assert_false(op_fault_hits(&fault, "3.1.0"));
}

static const struct op_known_fault *first_hit(const char *library, const char *version)
{
    for (const struct op_known_fault *f = op_known_faults; f->library; f++)
        if (strcmp(f->library, library) == 0 && op_fault_hits(f, version))
            return f;
    return NULL;
}

static void table(void **state)
{
    (void)state;
    for (const struct op_known_fault *f = op_known_faults; f->library; f++) {
        assert_true(op_version_compare(f->from, f->below) < 0);
        assert_true(f->effect[0] != '\0');
    }
    /* The two that the reliability bar names. */
    assert_non_null(first_hit("sqlite", "3.40.1")->why_not);
    assert_null(first_hit("sqlite", "3.52.0")->why_not);
    assert_null(first_hit("sqlite", "3.53.0"));
    assert_null(first_hit("openssl", "3.0.6")->why_not);
    assert_null(first_hit("openssl", "3.0.19"));
}

static void at_hand(void **state)
{
    (void)state;
    struct op_library_version list[OP_LIBRARIES_MOST];
    int count = op_libraries(list), found = 0;
    for (int i = 0; i < count; i++) {
        assert_true(list[i].version[0] >= '0' && list[i].version[0] <= '9');
        if (strcmp(list[i].name, "sqlite") == 0)
            found += op_version_compare(list[i].version, SQLITE_VERSION) >= 0;
        if (list[i].oldest)
            assert_true(op_version_compare(list[i].version, list[i].oldest) >= 0);
    }
    assert_int_equal(found, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),
        cmocka_unit_test(ranges),
        cmocka_unit_test(table),
        cmocka_unit_test(at_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
