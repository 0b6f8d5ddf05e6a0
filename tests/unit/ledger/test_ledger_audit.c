/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the audit is silent on a ledger that ran its course, and names each kind of damage.
 * Oracle:    one planted damage per row, made by SQL with the triggers taken away, and the words its
 *            finding must contain.
 */
#include "ledger/sqlite/sqlite.h"
#include "support.h"

#define NO_TRIGGERS                                                                              \
    "DROP TRIGGER request_in_one_live_batch; DROP TRIGGER batch_door; DROP TRIGGER batch_epoch;" \
    "DROP TRIGGER journal_kept; DROP TRIGGER journal_not_deleted; DROP TRIGGER batch_frozen;"    \
    "DROP TRIGGER batch_not_deleted; DROP TRIGGER price_list_frozen;"                            \
    "DROP TRIGGER price_list_not_deleted;"

/* A job with a batch applied, one sent, one built, a follower and a failed request: every counter as
 * the engine would keep it. */
static void make_history(struct world *w)
{
    struct op_err *err = &w->err;
    assert_ok(w, op_ledger_begin(w->ledger, err));
    int64_t applied = add_packed(w, w->job, 3);
    add_packed(w, w->job, 2); /* batch 2, sent below */
    add_packed(w, w->job, 1); /* batch 3, built */
    struct op_request follower = {.id = op_ledger_next_request(w->ledger),
                                  .job_id = w->job,
                                  .record_id = 1,
                                  .state = OP_REQUEST_WAITING,
                                  .same_as = 4};
    assert_ok(w, op_ledger_request_add(w->ledger, &follower, err));
    struct op_job_counts planned = {.records = 6, .requests = 7, .reserved_microusd = 21};
    assert_ok(w, op_ledger_job_count(w->ledger, w->job, &planned, err));
    assert_ok(w,
              op_ledger_job_go(w->ledger, w->job, OP_JOB_PLANNING, OP_JOB_RUNNING, NULL, err));
    assert_ok(w, op_ledger_commit(w->ledger, err));
    go_up_to(w, 2, OP_BATCH_ACCEPTED);
    go_up_to(w, applied, OP_BATCH_FETCHED);
    char name[] = "result/1-0-ffffffffffff.jsonl";
    struct op_result_file file = {.batch_id = applied, .file = name, .bytes = 1000};
    memset(file.sha256, 'b', 64);
    assert_ok(w, op_ledger_result_file_add(w->ledger, &file, err));
    assert_ok(w, op_ledger_begin(w->ledger, err));
    for (int64_t id = 1; id <= 3; id++) {
        struct op_result_row row = {.batch_id = applied,
                                    .request_id = id,
                                    .class_ = id < 3 ? OP_RESULT_SUCCEEDED : OP_RESULT_ERRORED,
                                    .valid = id < 3,
                                    .offset = id * 100,
                                    .len = 100,
                                    .microusd = 3,
                                    .usage = {{1, 2, 3, 4, 5}}};
        bool inserted = false;
        assert_ok(w, op_ledger_result_add(w->ledger, &row, &inserted, err));
        struct op_spend spend = {.batch_id = applied,
                                 .model = "m",
                                 .class_ = row.class_,
                                 .valid = row.valid,
                                 .count = 1,
                                 .microusd = 3,
                                 .usage = row.usage};
        assert_ok(w, op_ledger_spend_add(w->ledger, &spend, err));
        struct op_request r = {.id = id, .state = OP_REQUEST_PACKED, .batch_id = applied};
        assert_ok(w, op_ledger_request_go(w->ledger, &r, applied,
                                          id < 3 ? OP_REQUEST_DONE : OP_REQUEST_FAILED, err));
    }
    OP_CLEANUP(op_batch_release) struct op_batch b = {0};
    assert_ok(w, op_ledger_batch_get(w->ledger, applied, &b, err));
    b.ok = 2;
    b.failed = 1;
    b.spent_microusd = 9;
    b.usage = (struct op_usage){{3, 6, 9, 12, 15}};
    struct op_job_counts done = {.done = 2,
                                 .failed = 1,
                                 .spent_microusd = 9,
                                 .reserved_microusd = -7,
                                 .usage = {{3, 6, 9, 12, 15}}};
    assert_ok(w, op_ledger_job_count(w->ledger, w->job, &done, err));
    assert_ok(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_APPLIED, "", err));
    struct op_outbox box = {w->job, 0, 10, 10, 2};
    assert_ok(w, op_ledger_outbox_set(w->ledger, &box, err));
    assert_ok(w, op_ledger_commit(w->ledger, err));
}

static void a_sound_ledger_is_silent(void **state)
{
    struct world *w = *state;
    struct op_buf report;
    op_buf_init(&report, 10000);
    assert_int_equal(audit(w, &report), 0);
    make_history(w);
    if (audit(w, &report))
        fail_msg("%s", report.ptr);
    /* In the middle of a transaction too. */
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    assert_int_equal(audit(w, &report), 0);
    add_record(w, w->job, "not counted");
    assert_int_equal(audit(w, &report), 1);
    assert_non_null(strstr(report.ptr, "6 records counted, 7 found"));
    op_buf_release(&report);
}

static const struct damage {
    const char *sql, *finding;
} damages[] = {
    {"DELETE FROM journal WHERE batch_id = 2 AND epoch = 0",
     "does not begin with its building"},
    {"DELETE FROM journal WHERE batch_id = 2 AND epoch = 1", "begins at sending"},
    {"DELETE FROM journal WHERE batch_id = 2 AND epoch = 2", "its journal says otherwise"},
    {"UPDATE batch SET state = 'ended' WHERE id = 2", "batch 2: it is ended after 2 moves"},
    {"UPDATE batch SET epoch = 7 WHERE id = 3", "batch 3: it is built after 7 moves"},
    {"INSERT INTO journal VALUES (2, 3, 0, 'accepted', 'built', '');"
     "UPDATE batch SET state = 'built', epoch = 3 WHERE id = 2",
     "a move from accepted to built"},
    {"INSERT INTO journal VALUES (77, 0, 0, '', 'built', '')", "batch 77 that does not exist"},
    {"DELETE FROM record WHERE id = 6", "6 records counted, 5 found"},
    {"UPDATE job SET skipped = -1", "records counted"},
    {"UPDATE job SET requests = 8", "8 requests counted, 7 found"},
    {"DELETE FROM request WHERE id = 7", "7 requests counted, 6 found"},
    {"UPDATE job SET done = 3", "counted as 3, 1, 0, found as 2, 1, 0"},
    {"UPDATE job SET failed = 0", "counted as 2, 0, 0, found as 2, 1, 0"},
    {"UPDATE job SET spent_microusd = 10", "10 micro-dollars spent, its batches say 9"},
    {"UPDATE job SET tokens_read = 0", "job 1: its token sums"},
    {"UPDATE job SET reserved_microusd = 0",
     "0 micro-dollars reserved, its open batches say 14"},
    {"UPDATE batch SET ok = 1 WHERE id = 1", "batch 1: 2 results counted, 3 found"},
    {"DELETE FROM result WHERE request_id = 3", "batch 1: 3 results counted, 2 found"},
    {"UPDATE batch SET count = 4 WHERE id = 1", "applied with 3 results for 4 requests"},
    {"UPDATE batch SET spent_microusd = 8 WHERE id = 1",
     "8 micro-dollars spent, its results say 9"},
    {"UPDATE result SET microusd = 4 WHERE request_id = 1", "its results say 10"},
    {"UPDATE spend SET microusd = 4 WHERE class = 3",
     "3 results and 10 micro-dollars are summed up by what became of them, its results are 3 and "
     "9"},
    {"DELETE FROM spend WHERE class = 3", "2 results and 6 micro-dollars are summed up"},
    {"UPDATE result SET tokens_write_1h = 4 WHERE request_id = 1", "batch 1: its token sums"},
    {"UPDATE request SET state = 0, batch_id = 0 WHERE id = 4",
     "batch 2: 2 requests were frozen, 1 are accounted for"},
    {"UPDATE batch SET provider_id = 'p' WHERE id < 3",
     "batches 1, 2: they claim the same batch p"},
    {"UPDATE request SET batch_id = 99 WHERE id = 4", "batch 99, which does not exist"},
    {"UPDATE request SET state = 1 WHERE id = 3", "packed into batch 1, which is applied"},
    {"UPDATE request SET batch_id = 3 WHERE id = 4", "batch 3, which does not span it"},
    {"UPDATE request SET state = 3 WHERE id = 6", "request 6: done without a good answer"},
    {"UPDATE result SET valid = 0 WHERE request_id = 2",
     "request 2: done without a good answer"},
    {"UPDATE request SET same_as = 88 WHERE id = 7", "waits for request 88"},
    {"UPDATE request SET record_id = 88 WHERE id = 5", "its record 88 does not exist"},
    {"UPDATE request SET state = 9 WHERE id = 6", "state 9 has no meaning"},
    {"INSERT INTO result(batch_id, request_id, class, valid, part, \"offset\", len, microusd)"
     " VALUES (55, 1, 0, 1, -1, 0, 0, 0)",
     "result of batch 55 for request 1: there is no such batch"},
    {"INSERT INTO result(batch_id, request_id, class, valid, part, \"offset\", len, microusd)"
     " VALUES (1, 66, 0, 1, -1, 0, 0, 0)",
     "result of batch 1 for request 66: there is no such request"},
    {"UPDATE result SET part = 4 WHERE request_id = 1", "result file 4 is unknown"},
    {"UPDATE result SET len = 901 WHERE request_id = 1", "beyond the end of result/1-0"},
    {"UPDATE batch SET apply_offset = 1001 WHERE id = 1", "up to byte 1001"},
    {"UPDATE batch SET file = '../x' WHERE id = 3", "its file ../x has a name"},
    {"UPDATE result_file SET sha256 = 'ab'", "has a name, length or hash"},
    {"INSERT INTO result_file SELECT 70, 0, file, 1, sha256, '' FROM result_file",
     "result files of a batch 70"},
    {"DELETE FROM price_list", "batch 1: the price list "},
    {"UPDATE batch SET prices = 'zz' WHERE id = 2", "batch 2: the price list zz it was built"},
    {"UPDATE price_list SET text = x'00'", "its text has the hash 6e340b9cffb37a98"},
    {"UPDATE job SET definition = 'zz'", "its definition zz is missing"},
    {"UPDATE job SET lane_id = 5", "its lane 5 is missing"},
    {"UPDATE outbox SET delivered = 11", "outbox 0 of job 1: 11 of 10 bytes delivered"},
    {"PRAGMA writable_schema = 1; DELETE FROM sqlite_schema WHERE name = 'request_follower'",
     "database:"},
};

/* The history is copied for each damage, because damages add up. */
static void every_damage_is_named(void **state)
{
    struct world *w = *state;
    make_history(w);
    op_ledger_close(OP_TAKE(w->ledger));
    char command[256];
    snprintf(command, sizeof(command), "cp %s/ledger.db %s/sound.db", w->dir, w->dir);
    assert_int_equal(system(command), 0);
    for (size_t i = 0; i < OP_COUNT(damages); i++) {
        snprintf(command, sizeof(command), "cp %s/sound.db %s/ledger.db", w->dir, w->dir);
        assert_int_equal(system(command), 0);
        raw_sql(w->dir, NO_TRIGGERS);
        raw_sql(w->dir, damages[i].sql);
        struct op_buf report;
        op_buf_init(&report, 100000);
        int64_t problems = 0;
        /* A missing index also makes statements fail, and that is as loud. */
        assert_ok(w, op_ledger_open(op_env_default(), w->dir, OP_LEDGER_WRITE, NULL, &w->ledger,
                                    &w->err));
        enum op_rc rc = op_ledger_audit(w->ledger, &report, &problems, &w->err);
        if (i + 1 == OP_COUNT(damages) && rc)
            op_err_clear(&w->err);
        else if (rc || !problems || !strstr(report.ptr, damages[i].finding))
            fail_msg("%s: no '%s' in %lld problems:\n%s%s", damages[i].sql, damages[i].finding,
                     (long long)problems, report.ptr, w->err.msg);
        op_buf_release(&report);
        op_ledger_close(OP_TAKE(w->ledger));
    }
}

/* Many problems of one kind are counted, not listed. */
static void a_flood_is_counted(void **state)
{
    struct world *w = *state;
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    for (int i = 0; i < 500; i++)
        add_request(w, w->job, 1000, OP_REQUEST_NEW, 0);
    assert_ok(w, op_ledger_commit(w->ledger, &w->err));
    struct op_buf report;
    op_buf_init(&report, 100000);
    assert_int_equal(audit(w, &report), 500);
    assert_non_null(strstr(report.ptr, "(450 more like these)"));
    op_buf_release(&report);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_sound_ledger_is_silent),
        T(every_damage_is_named),
        T(a_flood_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
