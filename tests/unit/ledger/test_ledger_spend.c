/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: what was bought is summed up by batch, model and what became of it: sums of one key add
 *            up, keys stay apart, a job sees its own, a transaction that is rolled back leaves none;
 *            sums are told in the order of their batches with job, pipeline and time.
 * Oracle:    sums written down beside every call.
 */
#include "ledger/sqlite/sqlite.h"
#include "support.h"

struct told {
    char text[2000];
};

static enum op_rc tell(void *arg, const struct op_spend_row *row, struct op_err *err)
{
    (void)err;
    struct told *told = arg;
    const struct op_spend *s = &row->spend;
    size_t len = strlen(told->text);
    snprintf(told->text + len, sizeof(told->text) - len,
             "%lld/%lld %s %s %s%s%s n%lld $%lld t%lld,%lld,%lld,%lld,%lld @%lld\n",
             (long long)row->job_id, (long long)s->batch_id, row->pipeline, s->model,
             op_result_class_name(s->class_), s->valid ? " good" : "", s->again ? " again" : "",
             (long long)s->count, (long long)s->microusd, (long long)s->usage.tokens[0],
             (long long)s->usage.tokens[1], (long long)s->usage.tokens[2],
             (long long)s->usage.tokens[3], (long long)s->usage.tokens[4],
             (long long)row->at_ms);
    return OP_OK;
}

static void check(struct world *w, int64_t job, const char *expected)
{
    struct told told = {{0}};
    assert_ok(w, op_ledger_spends(w->ledger, job, tell, &told, &w->err));
    assert_string_equal(told.text, expected);
}

static void add(struct world *w, struct op_spend spend)
{
    assert_ok(w, op_ledger_spend_add(w->ledger, &spend, &w->err));
}

static void sums_of_one_key_add_up(void **state)
{
    struct world *w = *state;
    int64_t other = add_job(w, "other");
    int64_t one = add_packed(w, w->job, 4), two = add_packed(w, other, 1);
    check(w, 0, "");
    go_up_to(w, one, OP_BATCH_SENDING);
    OP_CLEANUP(op_batch_release) struct op_batch b = {0};
    assert_ok(w, op_ledger_batch_get(w->ledger, one, &b, &w->err));
    b.accepted_ms = 1234;
    assert_ok(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_ACCEPTED, "", &w->err));
    struct op_spend good = {.batch_id = one,
                            .model = "b",
                            .valid = true,
                            .count = 2,
                            .microusd = 10,
                            .usage = {{1, 2, 3, 4, 5}}};
    struct op_spend cut = {.batch_id = one,
                           .model = "b",
                           .class_ = OP_RESULT_TRUNCATED,
                           .count = 1,
                           .microusd = 100};
    add(w, good);
    add(w, cut);
    add(w, good);
    cut.again = true;
    add(w, cut);
    good.model = "a";
    add(w, good);
    good.batch_id = two;
    add(w, good);
    static const char first[] = "1/1 labels a succeeded good n2 $10 t1,2,3,4,5 @1234\n"
                                "1/1 labels b succeeded good n4 $20 t2,4,6,8,10 @1234\n"
                                "1/1 labels b truncated n1 $100 t0,0,0,0,0 @1234\n"
                                "1/1 labels b truncated again n1 $100 t0,0,0,0,0 @1234\n";
    static const char second[] = "2/2 labels a succeeded good n2 $10 t1,2,3,4,5 @0\n";
    check(w, w->job, first);
    check(w, other, second);
    char both[1000];
    snprintf(both, sizeof(both), "%s%s", first, second);
    check(w, 0, both);
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    add(w, good);
    op_ledger_rollback(w->ledger);
    check(w, 0, both);
    reopen(w);
    check(w, 0, both);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sums_of_one_key_add_up, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
