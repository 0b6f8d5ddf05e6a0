/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: names, finality and allowed moves of batches, requests and jobs.
 * Oracle:    the moves written a second time below, as text in the ledger's own names; every pair
 *            of states is compared with it, and every pair outside the enums is refused. The
 *            one-way door is checked by reachability, not by looking at rows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/mem.h"
#include "core/states.h"

static const char *const batch_moves[] = {
    "built>uploaded",    "built>sending",       "built>accepted",       "built>dropped",
    "uploaded>sending",  "uploaded>dropped",    "sending>accepted",     "sending>rejected",
    "sending>ambiguous", "ambiguous>accepted",  "ambiguous>unsent",     "ambiguous>quarantined",
    "accepted>ended",    "accepted>vanished",   "accepted>quarantined", "accepted>ambiguous",
    "ended>fetched",     "ended>vanished",      "ended>quarantined",    "ended>ambiguous",
    "fetched>applied",   "fetched>quarantined", "fetched>ambiguous",    "fetched>ended",
    "applied>sealed",    "rejected>accepted",   "unsent>accepted",      "vanished>accepted",
    "accepted>rejected",
};
static const char *const request_moves[] = {
    "new>packed",     "new>waiting", "new>failed",       "new>canceled",    "new>done",
    "packed>new",     "packed>done", "packed>failed",    "packed>canceled", "waiting>done",
    "waiting>failed", "waiting>new", "waiting>canceled", "failed>new",
};
static const char *const job_moves[] = {
    "planning>running",  "planning>failed",  "planning>canceled",  "planning>done",
    "running>canceling", "running>done",     "running>partial",    "running>canceled",
    "running>failed",    "running>planning", "canceling>canceled", "canceling>done",
    "canceling>partial", "partial>running",
};

struct machine {
    int count;
    const char *(*name)(int state);
    bool (*may_go)(int from, int to);
    const char *const *moves;
    size_t move_count;
};

static const char *batch_name(int s)
{
    return op_batch_state_name((enum op_batch_state)s);
}
static const char *request_name(int s)
{
    return op_request_state_name((enum op_request_state)s);
}
static const char *job_name(int s)
{
    return op_job_state_name((enum op_job_state)s);
}
static bool batch_may_go(int a, int b)
{
    return op_batch_may_go((enum op_batch_state)a, (enum op_batch_state)b);
}
static bool request_may_go(int a, int b)
{
    return op_request_may_go((enum op_request_state)a, (enum op_request_state)b);
}
static bool job_may_go(int a, int b)
{
    return op_job_may_go((enum op_job_state)a, (enum op_job_state)b);
}

static const struct machine machines[] = {
    {OP_BATCH_STATE_COUNT, batch_name, batch_may_go, batch_moves, OP_COUNT(batch_moves)},
    {OP_REQUEST_STATE_COUNT, request_name, request_may_go, request_moves,
     OP_COUNT(request_moves)},
    {OP_JOB_STATE_COUNT, job_name, job_may_go, job_moves, OP_COUNT(job_moves)},
};

static bool is_listed(const struct machine *m, const char *from, const char *to)
{
    for (size_t i = 0; i < m->move_count; i++) {
        size_t len = strlen(from);
        if (strncmp(m->moves[i], from, len) == 0 && m->moves[i][len] == '>' &&
            strcmp(m->moves[i] + len + 1, to) == 0)
            return true;
    }
    return false;
}

static void test_every_pair(void **state)
{
    (void)state;
    for (size_t i = 0; i < OP_COUNT(machines); i++) {
        const struct machine *m = &machines[i];
        size_t allowed = 0;
        for (int from = -2; from < m->count + 40; from++) {
            for (int to = -2; to < m->count + 40; to++) {
                bool inside = from >= 0 && from < m->count && to >= 0 && to < m->count;
                bool want = inside && is_listed(m, m->name(from), m->name(to));
                if (m->may_go(from, to) != want)
                    fail_msg("%s > %s is %d", m->name(from), m->name(to), !want);
                allowed += want;
            }
        }
        /* No line of the oracle is misspelt: each one was met. */
        assert_int_equal(allowed, m->move_count);
    }
}

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < OP_COUNT(machines); i++) {
        const struct machine *m = &machines[i];
        assert_string_equal(m->name(-1), "unknown");
        assert_string_equal(m->name(m->count), "unknown");
        for (int a = 0; a < m->count; a++) {
            assert_string_not_equal(m->name(a), "unknown");
            for (int b = 0; b < a; b++)
                assert_string_not_equal(m->name(a), m->name(b));
        }
    }
    static const char *const classes[] = {"succeeded", "refused",  "truncated", "errored",
                                          "expired",   "canceled", "absent"};
    assert_int_equal(OP_COUNT(classes), OP_RESULT_CLASS_COUNT);
    for (int i = 0; i < OP_RESULT_CLASS_COUNT; i++)
        assert_string_equal(op_result_class_name((enum op_result_class)i), classes[i]);
    assert_string_equal(op_result_class_name((enum op_result_class)99), "unknown");
}

static void test_parse(void **state)
{
    (void)state;
    enum op_batch_state got = OP_BATCH_SEALED;
    for (int i = 0; i < OP_BATCH_STATE_COUNT; i++) {
        assert_true(op_batch_state_parse(batch_name(i), &got));
        assert_int_equal(got, i);
    }
    got = OP_BATCH_SEALED;
    static const char *const bad[] = {"", "Built", "built ", "unknown", "send", NULL};
    for (size_t i = 0; i < OP_COUNT(bad); i++) {
        assert_false(op_batch_state_parse(bad[i], &got));
        assert_int_equal(got, OP_BATCH_SEALED);
    }
}

static void test_final_and_live(void **state)
{
    (void)state;
    static const char *const final =
        " sealed rejected unsent vanished dropped quarantined done failed canceled partial ";
    static const char *const live = " sending ambiguous accepted ended fetched quarantined ";
    char word[32];
    for (int i = 0; i < OP_BATCH_STATE_COUNT; i++) {
        snprintf(word, sizeof(word), " %s ", batch_name(i));
        assert_int_equal(op_batch_is_final((enum op_batch_state)i),
                         strstr(final, word) != NULL);
        assert_int_equal(op_batch_is_live((enum op_batch_state)i), strstr(live, word) != NULL);
    }
    for (int i = 0; i < OP_REQUEST_STATE_COUNT; i++) {
        snprintf(word, sizeof(word), " %s ", request_name(i));
        assert_int_equal(op_request_is_final((enum op_request_state)i),
                         strstr(final, word) != NULL);
    }
    for (int i = 0; i < OP_JOB_STATE_COUNT; i++) {
        snprintf(word, sizeof(word), " %s ", job_name(i));
        assert_int_equal(op_job_is_final((enum op_job_state)i), strstr(final, word) != NULL);
    }
    assert_false(op_batch_is_final((enum op_batch_state)99));
    assert_false(op_batch_is_live((enum op_batch_state)99));
    assert_false(op_request_is_final((enum op_request_state)99));
    assert_false(op_job_is_final((enum op_job_state)99));
}

/* Every state that can follow from, in any number of moves. */
static uint32_t reachable(const struct machine *m, int from)
{
    uint32_t seen = 0;
    for (int step = 0; step <= m->count; step++) {
        for (int to = 0; to < m->count; to++) {
            for (int via = 0; via < m->count; via++) {
                if ((via == from || (seen >> via & 1)) && m->may_go(via, to))
                    seen |= 1U << to;
            }
        }
    }
    return seen;
}

static void test_one_way_door(void **state)
{
    (void)state;
    const struct machine *m = &machines[0];
    uint32_t before = 1U << OP_BATCH_BUILT | 1U << OP_BATCH_UPLOADED | 1U << OP_BATCH_SENDING;
    for (int s = 0; s < m->count; s++) {
        /* Nothing behind the door leads back to it, and a batch is never sent twice. */
        if (s != OP_BATCH_BUILT && s != OP_BATCH_UPLOADED)
            assert_int_equal(reachable(m, s) & before, 0);
        /* A live batch was sent: nothing that never passed the door is live. */
        if (op_batch_is_live((enum op_batch_state)s) && s != OP_BATCH_SENDING)
            assert_true(reachable(m, OP_BATCH_SENDING) >> s & 1);
        /* A final batch stays, but where results may disprove that it was not bought; any other
         * one can still become final. */
        uint32_t after = reachable(m, s);
        bool ends = false;
        for (int t = 0; t < m->count; t++)
            ends |= (after >> t & 1) && op_batch_is_final((enum op_batch_state)t);
        bool is_belief =
            s == OP_BATCH_REJECTED || s == OP_BATCH_UNSENT || s == OP_BATCH_VANISHED;
        assert_int_equal(ends, !op_batch_is_final((enum op_batch_state)s) || is_belief);
        assert_true(s == OP_BATCH_BUILT || (reachable(m, OP_BATCH_BUILT) >> s & 1));
    }
    for (int s = 0; s < OP_REQUEST_STATE_COUNT; s++)
        assert_false(request_may_go(OP_REQUEST_DONE, s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair),   cmocka_unit_test(test_names),
        cmocka_unit_test(test_parse),        cmocka_unit_test(test_final_and_live),
        cmocka_unit_test(test_one_way_door),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
