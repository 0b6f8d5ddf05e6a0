/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: a create whose answer is lost, at a provider with tags and uploads: one that is there is
 *            adopted; of several the earliest, the others are canceled, their answers kept and their
 *            cost booked; one that is not there is fenced before it counts as never sent, so that one
 *            carried out late cannot run; other batches go on meanwhile.
 * Oracle:    the provider's account of answers given; what the ledger says was spent.
 */
#include "support.h"

static void one_that_is_there_is_adopted(void **state)
{
    (void)state;
    struct stage *s = stage_new(9, "please");
    s->cloud->lose_create = 1;
    s->cloud->hide_ms = 20 * OP_SECOND_MS; /* and is listed only after a while */
    stage_open(s);
    stage_must(s, ONE_REQUEST "batch: {requests: 3}\n");
    stage_all_bought_once(s, 9);
    assert_int_equal(s->cloud->creates, 3);
    assert_int_equal(s->cloud->removes, 0);
    stage_free(s);
}

/* Two hundred pages on: the list is read to where the create can have been, never so many pages. */
static void one_behind_many_others_is_adopted(void **state)
{
    (void)state;
    struct stage *s = stage_new(3, "please");
    s->cloud->lose_create = 1;
    s->cloud->strangers = 400;
    stage_open(s);
    stage_must(s, ONE_REQUEST "batch: {requests: 3}\n");
    stage_all_bought_once(s, 3);
    assert_int_equal(s->cloud->creates, 1);
    assert_int_equal(s->cloud->removes, 0);
    stage_free(s);
}

/* The provider has lost it: fenced, then bought under another tag. */
static void one_that_is_not_there_is_sent_anew(void **state)
{
    (void)state;
    struct stage *s = stage_new(6, "please");
    s->cloud->drop_create = 1;
    stage_open(s);
    int64_t begun = s->cloud->now_ms;
    stage_must(s, ONE_REQUEST "batch: {requests: 3}\n");
    stage_all_bought_once(s, 6);
    assert_int_equal(stage_batches(s, OP_STATE_BIT(OP_BATCH_UNSENT)), 1);
    assert_int_equal(s->cloud->uploads, 3);
    assert_true(s->cloud->files[0].deleted);
    assert_string_not_equal(s->cloud->files[0].name, s->cloud->files[2].name);
    /* Two minutes until a listing counts, two behind the fence, and the new one's time. */
    assert_in_range(s->cloud->now_ms - begun, 5 * OP_MINUTE_MS, 7 * OP_MINUTE_MS);
    stage_free(s);
}

/* Carried out a quarter of an hour after the connection was over: it fails, for want of its file. */
static void one_carried_out_late_cannot_run(void **state)
{
    (void)state;
    struct stage *s = stage_new(6, "please");
    s->cloud->lose_create = 1;
    s->cloud->late_ms = 15 * OP_MINUTE_MS;
    s->cloud->run_ms = OP_HOUR_MS;
    stage_open(s);
    stage_must(s, ONE_REQUEST "batch: {requests: 6}\n");
    stage_all_bought_once(s, 6);
    assert_int_equal(s->cloud->creates, 2);
    assert_int_equal(s->cloud->batches[0].state, CLOUD_FAILED);
    stage_free(s);
}

/* The others do not wait for the doubtful one. */
static void the_others_go_on(void **state)
{
    (void)state;
    struct stage *s = stage_new(9, "please");
    s->cloud->drop_create = 1;
    stage_open(s);
    assert_int_equal(stage_job(s, ONE_REQUEST "batch: {requests: 3}\n"), OP_OK);
    assert_int_equal(op_engine_run(s->engine, s->job, OP_UNTIL_DONE,
                                   s->cloud->now_ms + 100 * OP_SECOND_MS, &s->err),
                     OP_OK);
    assert_int_equal(stage_batches(s, OP_STATE_BIT(OP_BATCH_AMBIGUOUS)), 1);
    assert_int_equal(
        stage_batches(s, OP_STATE_BIT(OP_BATCH_SEALED) | OP_STATE_BIT(OP_BATCH_APPLIED)), 2);
    assert_int_equal(stage_run(s), OP_OK);
    stage_all_bought_once(s, 9);
    stage_free(s);
}

static enum op_rc take_conflict(void *arg, const struct op_note *note, struct op_err *err)
{
    (void)err;
    *(int *)arg += !strcmp(note->kind, "conflict");
    return OP_OK;
}

/* Three of one create. The earliest runs; of the others each has answered one question before its
 * cancel took effect, and that is paid for. */
static void of_several_the_earliest_is_taken(void **state)
{
    (void)state;
    struct stage *s = stage_new(4, "please");
    s->cloud->lose_create = 1;
    s->cloud->twin_create = 2;
    stage_open(s);
    stage_must(s, ONE_REQUEST);
    struct op_job job = stage_read_job(s);
    assert_int_equal(job.state, OP_JOB_DONE);
    assert_int_equal(job.counts.done, 4);
    assert_int_equal(s->cloud->cancels, 2);
    assert_int_equal(s->cloud->answers[0], 3);
    for (int i = 1; i < 4; i++)
        assert_int_equal(s->cloud->answers[i], 1);
    struct op_batch batch = {0};
    struct op_ledger *ledger = op_engine_ledger(s->engine);
    assert_int_equal(op_ledger_batch_get(ledger, 1, &batch, &s->err), OP_OK);
    assert_string_equal(batch.provider_id, "batch_1");
    assert_string_equal(batch.twins, "batch_3\nbatch_2\n");
    int64_t each = cloud_tokens(strlen("ask 0 please")) + 7 * 5;
    assert_true(batch.extra_microusd == 2 * each);
    assert_true(job.counts.spent_microusd == 6 * each);
    int notes = 0;
    assert_int_equal(op_ledger_notes(ledger, 0, 1, 0, take_conflict, &notes, &s->err), OP_OK);
    assert_true(notes >= 1);
    op_batch_release(&batch);
    op_job_release(&job);
    stage_audit(s);
    stage_free(s);
}

/* Listed under our file, but without the tag: some servers lose metadata. */
static void the_input_file_tells_too(void **state)
{
    (void)state;
    struct stage *s = stage_new(4, "please");
    s->cloud->lose_create = 1;
    stage_open(s);
    assert_int_equal(stage_job(s, ONE_REQUEST), OP_OK);
    bool worked = true;
    int64_t due = 0;
    while (s->cloud->batch_count == 0)
        assert_int_equal(op_engine_step(s->engine, s->job, &worked, &due, &s->err), OP_OK);
    s->cloud->batches[0].tag[0] = '\0';
    assert_int_equal(stage_run(s), OP_OK);
    stage_all_bought_once(s, 4);
    assert_int_equal(s->cloud->creates, 1);
    stage_free(s);
}

/* Somebody else's batches are no candidates, however many, and do not keep absence from being seen. */
static void other_batches_do_not_matter(void **state)
{
    (void)state;
    struct stage *s = stage_new(4, "please");
    struct cloud *c = s->cloud;
    for (int i = 0; i < 7; i++) {
        struct cloud_batch *b = &c->batches[c->batch_count++];
        snprintf(b->id, sizeof(b->id), "batch_%d", c->batch_count);
        snprintf(b->tag, sizeof(b->tag), "op-other%d-aaaaaaaa", i);
        snprintf(b->file, sizeof(b->file), "file-x%d", i);
        b->state = CLOUD_FAILED;
        b->count = 4;
        b->created_ms = c->now_ms;
    }
    c->drop_create = 1;
    stage_open(s);
    stage_must(s, ONE_REQUEST);
    stage_all_bought_once(s, 4);
    assert_int_equal(stage_batches(s, OP_STATE_BIT(OP_BATCH_UNSENT)), 1);
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_there_is_adopted),
        cmocka_unit_test(one_behind_many_others_is_adopted),
        cmocka_unit_test(one_that_is_not_there_is_sent_anew),
        cmocka_unit_test(one_carried_out_late_cannot_run),
        cmocka_unit_test(the_others_go_on),
        cmocka_unit_test(of_several_the_earliest_is_taken),
        cmocka_unit_test(the_input_file_tells_too),
        cmocka_unit_test(other_batches_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
