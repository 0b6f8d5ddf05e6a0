/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: results come in an output and an error file, either of which may be missing, or late; as one
 *            document, which is kept and unfolded; a batch that is refused as a whole is packed
 *            again, halved or failed as the provider's reason says.
 * Oracle:    the provider's account of answers given; rows and counters; files in the spool.
 */
#include "support.h"

#define CAREFUL "reask: {failed: 2}\n"

/* Question 0 to 8: one is refused, one fails the first time, the rest is answered. */
static void write_mixed(struct stage *s)
{
    stage_write(s, "rows.csv",
                "id,text,kind\n"
                "a,ask 0 please,0\nb,ask 1 refuse,0\nc,ask 2 flaky,0\nd,ask 3 please,0\n");
}

static void check_mixed(struct stage *s)
{
    struct op_job job = stage_read_job(s);
    assert_int_equal(job.state, OP_JOB_PARTIAL);
    assert_int_equal(job.counts.done, 3);
    assert_int_equal(job.counts.failed, 1);
    assert_int_equal(job.counts.reasked, 1);
    assert_int_equal(s->cloud->answers[0], 1);
    assert_int_equal(s->cloud->answers[1], 0);
    assert_int_equal(s->cloud->seen[1], 1); /* refused is not asked again */
    assert_int_equal(s->cloud->answers[2], 1);
    assert_int_equal(stage_lines(s, "refused"), 1);
    op_job_release(&job);
    stage_audit(s);
}

static void both_files_are_read(void **state)
{
    (void)state;
    struct stage *s = stage_new(0, "");
    write_mixed(s);
    stage_open(s);
    stage_must(s, ONE_REQUEST CAREFUL);
    check_mixed(s);
    stage_free(s);
}

/* Nothing but errors: there is no output file at all. */
static void an_error_file_alone_is_enough(void **state)
{
    (void)state;
    struct stage *s = stage_new(3, "refuse");
    stage_open(s);
    stage_must(s, ONE_REQUEST);
    struct op_job job = stage_read_job(s);
    assert_int_equal(job.state, OP_JOB_PARTIAL);
    assert_int_equal(job.counts.failed, 3);
    assert_int_equal(stage_lines(s, "refused"), 3);
    assert_true(job.counts.spent_microusd == 0);
    assert_int_equal(s->cloud->creates, 1);
    op_job_release(&job);
    stage_audit(s);
    stage_free(s);
}

/* The error file answers 404 at first. What the output file had is not lost for it, nor bought again. */
static void a_file_that_comes_late_is_fetched_again(void **state)
{
    (void)state;
    struct stage *s = stage_new(0, "");
    write_mixed(s);
    s->cloud->lose_error = 2;
    stage_open(s);
    stage_must(s, ONE_REQUEST CAREFUL);
    check_mixed(s);
    stage_free(s);
}

/* Ended, and not a file in sight yet. */
static void results_that_come_late_are_waited_for(void **state)
{
    (void)state;
    struct stage *s = stage_new(5, "please");
    s->cloud->hides_results = true;
    stage_open(s);
    assert_int_equal(stage_job(s, ONE_REQUEST), OP_OK);
    assert_int_equal(op_engine_run(s->engine, s->job, OP_UNTIL_DONE,
                                   s->cloud->now_ms + 2 * OP_MINUTE_MS, &s->err),
                     OP_OK);
    assert_int_equal(s->cloud->answers[0], 1);
    s->cloud->hides_results = false;
    assert_int_equal(stage_run(s), OP_OK);
    stage_all_bought_once(s, 5);
    stage_free(s);
}

static void check_document(struct stage *s)
{
    struct op_result_file file = {0};
    assert_int_equal(
        op_ledger_result_file_get(op_engine_ledger(s->engine), 1, 0, &file, &s->err), OP_OK);
    assert_non_null(strstr(file.document, "document"));
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, 1 << 20);
    OP_CLEANUP(op_mem_freep)
    char *path = op_spool_path(op_engine_spool(s->engine), file.document);
    assert_int_equal(op_io_read_file(op_env_default(), path, &text, &s->err), OP_OK);
    assert_true(strncmp(text.ptr, "{\"results\":[\n", 13) == 0); /* as it came */
    op_result_file_release(&file);
}

static void a_document_is_kept_and_unfolded(void **state)
{
    (void)state;
    struct stage *s = stage_new(5, "please");
    s->cloud->document = true;
    stage_open(s);
    stage_must(s, ONE_REQUEST);
    stage_all_bought_once(s, 5);
    check_document(s);
    stage_free(s);
}

/* --- refused as a whole ----------------------------------------------------------------------- */

static struct stage *failing(const char *disp, int times)
{
    struct stage *s = stage_new(8, "please");
    s->cloud->fail_batch = times;
    snprintf(s->cloud->fail_disp, sizeof(s->cloud->fail_disp), "%s", disp);
    snprintf(s->cloud->fail_text, sizeof(s->cloud->fail_text), "not this one");
    stage_open(s);
    return s;
}

static void rejected_requests_fail_with_the_reason(void **state)
{
    (void)state;
    struct stage *s = failing("reject", 1);
    stage_must(s, ONE_REQUEST "batch: {requests: 4}\n");
    struct op_job job = stage_read_job(s);
    assert_int_equal(job.counts.failed, 4);
    assert_int_equal(job.counts.done, 4);
    assert_int_equal(stage_batches(s, OP_STATE_BIT(OP_BATCH_REJECTED)), 1);
    op_job_release(&job);
    struct op_request request = {0};
    assert_int_equal(op_ledger_request_get(op_engine_ledger(s->engine), 1, &request, &s->err),
                     OP_OK);
    assert_string_equal(request.reason, "not this one");
    op_request_release(&request);
    stage_audit(s);
    stage_free(s);
}

/* Nothing was bought, so it is no failure and no second purchase. */
static void transient_ones_are_sent_again(void **state)
{
    (void)state;
    static const char *const disps[] = {"retry", "after", "pause"};
    for (size_t i = 0; i < OP_COUNT(disps); i++) {
        struct stage *s = failing(disps[i], 2);
        stage_must(s, ONE_REQUEST);
        stage_all_bought_once(s, 8);
        struct op_job job = stage_read_job(s);
        assert_int_equal(job.counts.reasked, 0);
        assert_string_equal(job.reason, "");
        op_job_release(&job);
        assert_int_equal(stage_batches(s, OP_STATE_BIT(OP_BATCH_REJECTED)), 2);
        stage_free(s);
    }
}

static void too_large_ones_are_halved(void **state)
{
    (void)state;
    struct stage *s = failing("split", 1);
    stage_must(s, ONE_REQUEST);
    stage_all_bought_once(s, 8);
    assert_int_equal(s->cloud->batches[0].count, 8);
    assert_int_equal(s->cloud->batches[1].count, 4);
    assert_int_equal(s->cloud->batches[2].count, 4);
    stage_free(s);
}

/* What was answered before the cancel took effect is kept; the rest is canceled, not failed. */
static void a_canceled_batch_keeps_what_it_has(void **state)
{
    (void)state;
    struct stage *s = stage_new(6, "please");
    s->cloud->run_ms = OP_HOUR_MS;
    stage_open(s);
    assert_int_equal(stage_job(s, ONE_REQUEST), OP_OK);
    bool worked = true;
    int64_t due = 0;
    while (stage_batches(s, OP_STATE_BIT(OP_BATCH_ACCEPTED)) == 0)
        assert_int_equal(op_engine_step(s->engine, s->job, &worked, &due, &s->err), OP_OK);
    assert_int_equal(op_engine_cancel(s->engine, s->job, 0, &s->err), OP_OK);
    assert_int_equal(stage_run(s), OP_OK);
    struct op_job job = stage_read_job(s);
    assert_int_equal(job.state, OP_JOB_CANCELED);
    assert_int_equal(job.counts.done, 1);
    assert_int_equal(s->cloud->answers[0], 1);
    assert_int_equal(s->cloud->creates, 1);
    op_job_release(&job);
    stage_audit(s);
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_files_are_read),
        cmocka_unit_test(an_error_file_alone_is_enough),
        cmocka_unit_test(a_file_that_comes_late_is_fetched_again),
        cmocka_unit_test(results_that_come_late_are_waited_for),
        cmocka_unit_test(a_document_is_kept_and_unfolded),
        cmocka_unit_test(rejected_requests_fail_with_the_reason),
        cmocka_unit_test(transient_ones_are_sent_again),
        cmocka_unit_test(too_large_ones_are_halved),
        cmocka_unit_test(a_canceled_batch_keeps_what_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
