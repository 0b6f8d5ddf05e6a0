/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: a process that ends at any fault point, the first or second time it is passed, leaves
 *            something that the next one ends, itself killed once at the same point; with uploads and
 *            tags nothing is bought twice and nothing is lost.
 * Oracle:    the provider's own account of answers per question; the rows written; the audit.
 */
#include "support.h"

static void killed_at_every_point(void **state)
{
    (void)state;
    int met = 0;
    for (const char *const *point = op_fault_points(); *point; point++) {
        for (int at = 1; at <= 2; at++) {
            struct stage *s = stage_new(9, "please");
            const char *job = ONE_REQUEST "batch: {requests: 4}\n";
            /* So that the points of reconciling are passed, too. */
            s->cloud->lose_create = at == 2;
            s->cloud->late_ms = at == 2 ? OP_MINUTE_MS : 0;
            int code = stage_child(s, job, *point, at);
            met += code == STAGE_DIED;
            if (code == STAGE_DIED)
                code = stage_child(s, job, *point, 1);
            if (code == STAGE_DIED)
                code = stage_child(s, job, NULL, 0);
            if (code != 0)
                fail_msg("%s:%d: exit code %d", *point, at, code);
            stage_open(s);
            s->job = 1;
            stage_all_bought_once(s, 9);
            stage_free(s);
        }
    }
    assert_true(met > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed_at_every_point)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
