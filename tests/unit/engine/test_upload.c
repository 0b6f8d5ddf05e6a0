/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: for a provider with uploads: the batch file is uploaded, named by the tag, and the create
 *            names it; an upload whose answer was lost is found and not made again; a file of the
 *            wrong length is removed and uploaded again.
 * Oracle:    the provider's own account: answers given per question, files there, creates; the rows
 *            written; the audit of the ledger.
 */
#include "support.h"

static int files_there(const struct cloud *c)
{
    int count = 0;
    for (int i = 0; i < c->file_count; i++)
        count += !c->files[i].deleted;
    return count;
}

static void a_job_goes_end_to_end(void **state)
{
    (void)state;
    struct stage *s = stage_new(25, "please");
    stage_open(s);
    stage_must(s, ONE_REQUEST "batch: {requests: 10}\n");
    stage_all_bought_once(s, 25);
    assert_int_equal(s->cloud->uploads, 3);
    assert_int_equal(s->cloud->creates, 3);
    for (int i = 0; i < 3; i++) {
        const struct cloud_batch *b = &s->cloud->batches[i];
        assert_true(strncmp(b->tag, "op-", 3) == 0 && strlen(b->tag) == 3 + 6 + 1 + 8);
        assert_string_equal(cloud_file(s->cloud, b->file)->name, b->tag);
        assert_string_equal(b->model, "fake-1");
        assert_string_equal(b->endpoint, "chat");
    }
    struct op_job job = stage_read_job(s);
    int64_t cost = 0;
    for (int i = 0; i < 25; i++) {
        char text[40];
        int len = snprintf(text, sizeof(text), "ask %d please", i);
        cost += cloud_tokens((size_t)len) + 7 * 5; /* 1 and 5 dollars per million */
    }
    assert_true(job.counts.spent_microusd == cost);
    op_job_release(&job);
    stage_free(s);
}

static void a_lost_answer_to_an_upload_is_found(void **state)
{
    (void)state;
    struct stage *s = stage_new(12, "please");
    s->cloud->lose_upload = 1;
    stage_open(s);
    stage_must(s, ONE_REQUEST "batch: {requests: 6}\n");
    stage_all_bought_once(s, 12);
    assert_int_equal(s->cloud->uploads, 2); /* the lost one was taken */
    assert_int_equal(files_there(s->cloud), 2);
    stage_free(s);
}

static void extra_files_are_removed(void **state)
{
    (void)state;
    struct stage *s = stage_new(5, "please");
    s->cloud->lose_upload = 1;
    s->cloud->short_upload = 1;
    s->cloud->fail_upload = 0;
    stage_open(s);
    assert_int_equal(stage_job(s, ONE_REQUEST), OP_OK);
    /* One more of the same name, as an upload would leave that was carried out after a time-out. */
    bool worked = true;
    int64_t due = 0;
    while (s->cloud->file_count == 0)
        assert_int_equal(op_engine_step(s->engine, s->job, &worked, &due, &s->err), OP_OK);
    s->cloud->files[1] = s->cloud->files[0];
    snprintf(s->cloud->files[1].id, sizeof(s->cloud->files[1].id), "file-2");
    s->cloud->files[1].len--; /* cut */
    s->cloud->file_count = 2;
    assert_int_equal(stage_run(s), OP_OK);
    stage_all_bought_once(s, 5);
    assert_int_equal(files_there(s->cloud), 1);
    assert_true(s->cloud->files[1].deleted);
    stage_free(s);
}

static void a_short_upload_is_made_again(void **state)
{
    (void)state;
    struct stage *s = stage_new(5, "please");
    s->cloud->short_upload = 1;
    s->cloud->fail_upload = 2;
    stage_open(s);
    stage_must(s, ONE_REQUEST);
    stage_all_bought_once(s, 5);
    assert_int_equal(s->cloud->uploads, 2);
    assert_int_equal(files_there(s->cloud), 1);
    assert_int_equal(s->cloud->creates, 1);
    stage_free(s);
}

static void without_the_servers_time_nothing_is_bought(void **state)
{
    (void)state;
    struct stage *s = stage_new(5, "please");
    s->cloud->no_date = true;
    stage_open(s);
    assert_int_equal(stage_job(s, ONE_REQUEST), OP_OK);
    assert_int_equal(
        op_engine_run(s->engine, s->job, OP_UNTIL_DONE, s->cloud->now_ms + OP_HOUR_MS, &s->err),
        OP_OK);
    assert_int_equal(s->cloud->creates, 0);
    s->cloud->no_date = false;
    assert_int_equal(stage_run(s), OP_OK);
    stage_all_bought_once(s, 5);
    stage_free(s);
}

/* An upload does not keep: one that waited too long is made anew, and the old one is no use. */
static void an_old_upload_is_made_anew(void **state)
{
    (void)state;
    struct stage *s = stage_new(5, "please");
    stage_open(s);
    assert_int_equal(stage_job(s, ONE_REQUEST), OP_OK);
    bool worked = true;
    int64_t due = 0;
    while (stage_batches(s, OP_STATE_BIT(OP_BATCH_UPLOADED)) == 0)
        assert_int_equal(op_engine_step(s->engine, s->job, &worked, &due, &s->err), OP_OK);
    s->cloud->now_ms += 40 * OP_HOUR_MS;
    assert_int_equal(stage_run(s), OP_OK);
    stage_all_bought_once(s, 5);
    assert_int_equal(s->cloud->uploads, 2);
    assert_true(s->cloud->files[0].deleted);
    assert_string_equal(s->cloud->batches[0].file, "file-2");
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_goes_end_to_end),
        cmocka_unit_test(a_lost_answer_to_an_upload_is_found),
        cmocka_unit_test(extra_files_are_removed),
        cmocka_unit_test(a_short_upload_is_made_again),
        cmocka_unit_test(without_the_servers_time_nothing_is_bought),
        cmocka_unit_test(an_old_upload_is_made_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
