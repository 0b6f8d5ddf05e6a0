/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: a job larger than the provider's queue feeds itself through it; a limit is learned from
 *            refusals, named or not, at once or after the create, and kept in the ledger; jobs
 *            share a queue; a refusal holds the queue, for as long as nothing of ours ends; open batches and creates within an hour are bounded; token estimates get
 *            better by what was billed.
 * Oracle:    the provider's own count of what was in the queue, refusals it gave, and its bill.
 */
#include "support.h"

#define LIMIT 150 /* of the provider's tokens: a dozen of the questions below */

static int refused(const struct cloud *c)
{
    int count = 0;
    for (int i = 0; i < c->batch_count; i++)
        count += c->batches[i].state == CLOUD_FAILED;
    return count;
}

static struct op_queue_row read_queue(struct stage *s, const char *model)
{
    struct op_queue_row row = {0};
    if (op_ledger_queue_get(op_engine_ledger(s->engine), 1, model, &row, &s->err))
        fail_msg("%s", s->err.msg);
    return row;
}

static void a_named_limit_is_obeyed(void **state)
{
    (void)state;
    struct stage *s = stage_new(120, "something that takes a few tokens more than nothing");
    s->cloud->queue_limit = LIMIT;
    s->cloud->tells_limit = true;
    stage_open(s);
    stage_must(s, ONE_REQUEST "batch: {requests: 20}\n");
    stage_all_bought_once(s, 120);
    assert_true(s->cloud->most_queued <= LIMIT);
    struct op_queue_row row = read_queue(s, "fake-1");
    assert_true(row.limit_tokens == LIMIT && row.named && row.hold_until_ms == 0);
    op_queue_row_release(&row);
    /* The six that were made before the first was looked into; none of what was packed again. */
    assert_in_range(refused(s->cloud), 1, 6);
    struct op_job job = stage_read_job(s);
    assert_int_equal(job.counts.reasked, 0);
    op_job_release(&job);
    stage_free(s);
}

static void a_known_limit_is_never_met(void **state)
{
    (void)state;
    struct stage *s = stage_new(120, "something that takes a few tokens more than nothing");
    s->cloud->queue_limit = LIMIT;
    fake_ops.limits.max_enqueued_tokens = LIMIT;
    stage_open(s);
    stage_must(s, ONE_REQUEST);
    fake_ops.limits.max_enqueued_tokens = 0;
    stage_all_bought_once(s, 120);
    assert_int_equal(refused(s->cloud), 0);
    assert_true(s->cloud->most_queued <= LIMIT && s->cloud->most_queued > LIMIT / 3);
    stage_free(s);
}

static void a_limit_that_nobody_names_is_found(void **state)
{
    (void)state;
    for (int at_once = 0; at_once < 2; at_once++) {
        struct stage *s = stage_new(300, "something that takes a few tokens more than nothing");
        s->cloud->queue_limit = LIMIT;
        s->cloud->retry_after = true;
        s->cloud->refuses_at_once = at_once;
        stage_open(s);
        stage_must(s, ONE_REQUEST "batch: {requests: 20}\n");
        stage_all_bought_once(s, 300);
        struct op_queue_row row = read_queue(s, "fake-1");
        assert_true(row.limit_tokens > 0 && !row.named);
        assert_true(row.limit_tokens < 4L * LIMIT);
        op_queue_row_release(&row);
        assert_true(s->cloud->most_queued <= LIMIT);
        assert_true(refused(s->cloud) < 60);
        stage_free(s);
    }
}

/* A second process knows what the first has learned. */
static void what_was_learned_is_kept(void **state)
{
    (void)state;
    struct stage *s = stage_new(40, "something that takes a few tokens more than nothing");
    s->cloud->queue_limit = LIMIT;
    s->cloud->tells_limit = true;
    stage_open(s);
    stage_must(s, ONE_REQUEST);
    int before = refused(s->cloud);
    assert_true(before >= 1);
    stage_close(s);
    stage_open(s);
    stage_must(s, "  ask: {model: fake-1, user: \"{{text}} again\"}\n");
    assert_int_equal(refused(s->cloud), before);
    stage_audit(s);
    stage_free(s);
}

/* The first job's batches fill the queue; the second waits for them, and says so. */
static void jobs_share_a_queue(void **state)
{
    (void)state;
    struct stage *s = stage_new(30, "something that takes a few tokens more than nothing");
    s->cloud->queue_limit = LIMIT;
    fake_ops.limits.max_enqueued_tokens = LIMIT;
    stage_open(s);
    assert_int_equal(stage_job(s, ONE_REQUEST), OP_OK);
    assert_int_equal(op_engine_run(s->engine, s->job, OP_UNTIL_DONE,
                                   s->cloud->now_ms + 20 * OP_SECOND_MS, &s->err),
                     OP_OK);
    int64_t first = s->job;
    assert_int_equal(stage_job(s, "  ask: {model: fake-1, user: \"{{text}} again\"}\n"), OP_OK);
    assert_true(s->job != first);
    assert_int_equal(op_engine_run(s->engine, s->job, OP_UNTIL_DONE,
                                   s->cloud->now_ms + 5 * OP_SECOND_MS, &s->err),
                     OP_OK);
    struct op_job job = stage_read_job(s);
    assert_true(strncmp(job.reason, "waits for room: ", 16) == 0);
    op_job_release(&job);
    assert_int_equal(stage_run(s), OP_OK); /* it takes the first one along */
    job = stage_read_job(s);
    assert_int_equal(job.state, OP_JOB_DONE);
    assert_string_equal(job.reason, "");
    op_job_release(&job);
    fake_ops.limits.max_enqueued_tokens = 0;
    assert_int_equal(refused(s->cloud), 0);
    assert_true(s->cloud->most_queued <= LIMIT);
    for (int i = 0; i < 30; i++)
        assert_in_range(s->cloud->answers[i], 1, 2);
    stage_audit(s);
    stage_free(s);
}

/* A full queue of one model does not keep the other from being asked. */
static void models_have_queues_of_their_own(void **state)
{
    (void)state;
    struct stage *s = stage_new(30, "something that takes a few tokens more than nothing");
    s->cloud->queue_limit = LIMIT;
    s->cloud->run_ms = OP_HOUR_MS;
    fake_ops.limits.max_enqueued_tokens = LIMIT;
    stage_open(s);
    assert_int_equal(stage_job(s, "  a: {model: fake-1, user: \"{{text}} a\"}\n"
                                  "  b: {model: fake-2, user: \"{{text}} b\", when: one}\n"),
                     OP_OK);
    assert_int_equal(op_engine_run(s->engine, s->job, OP_UNTIL_DONE,
                                   s->cloud->now_ms + 10 * OP_MINUTE_MS, &s->err),
                     OP_OK);
    assert_true(cloud_queued(s->cloud, "fake-1") > LIMIT / 3);
    assert_true(cloud_queued(s->cloud, "fake-2") > LIMIT / 3);
    fake_ops.limits.max_enqueued_tokens = 0;
    stage_free(s);
}

/* What a run of steps has seen of the hold. */
struct hold_seen {
    int holds, ended_early, longer_than_before;
    int64_t longest_ms;
};

/* Steps so long; while the queue is on hold nothing may be made. */
static void step_and_watch(struct stage *s, int64_t ms, struct hold_seen *seen)
{
    struct cloud *c = s->cloud;
    int64_t end = c->now_ms + ms, until = 0, length = 0;
    while (c->now_ms < end) {
        int made = c->batch_count;
        bool worked = false;
        int64_t due = 0;
        bool held = until > c->now_ms;
        assert_int_equal(op_engine_step(s->engine, s->job, &worked, &due, &s->err), OP_OK);
        struct op_queue_row row = read_queue(s, "fake-1");
        if (row.hold_until_ms != until && row.hold_until_ms) {
            seen->longer_than_before += row.hold_until_ms - c->now_ms > length;
            length = row.hold_until_ms - c->now_ms;
            seen->longest_ms = length > seen->longest_ms ? length : seen->longest_ms;
            seen->holds++;
        }
        seen->ended_early += held && !row.hold_until_ms;
        if (held && row.hold_until_ms)
            assert_int_equal(c->batch_count, made);
        until = row.hold_until_ms;
        op_queue_row_release(&row);
        c->now_ms += worked ? 0 : OP_SECOND_MS;
    }
}

/* Others fill the queue: tried again after half a minute at first, then ever more seldom, at least every
 * quarter of an hour; and the job goes on when there is room. */
static void a_refusal_holds_the_queue(void **state)
{
    (void)state;
    struct stage *s = stage_new(3, "please");
    struct hold_seen seen = {0};
    s->cloud->queue_limit = 1; /* of which nothing fits */
    stage_open(s);
    assert_int_equal(stage_job(s, ONE_REQUEST "batch: {requests: 1}\n"), OP_OK);
    step_and_watch(s, 2 * OP_HOUR_MS, &seen);
    /* At most half a minute, then a minute, ... a quarter of an hour, each cut to a random part;
     * without a hold there would be a create every few seconds, more than a thousand. */
    assert_in_range(seen.holds, 6, 200);
    assert_true(seen.longer_than_before >= 3);
    assert_true(seen.longest_ms <= 15 * OP_MINUTE_MS && seen.longest_ms > 5 * OP_MINUTE_MS);
    struct op_job job = stage_read_job(s);
    assert_true(strncmp(job.reason, "waits for room: ", 16) == 0 && job.counts.failed == 0);
    op_job_release(&job);
    s->cloud->queue_limit = 0;
    assert_int_equal(stage_run(s), OP_OK);
    stage_all_bought_once(s, 3);
    stage_free(s);
}

/* Ours fill it: the hold is over when one of them has ended, and not before. */
static void an_end_of_ours_ends_the_hold(void **state)
{
    (void)state;
    struct stage *s = stage_new(60, "something that takes a few tokens more than nothing");
    struct hold_seen seen = {0};
    s->cloud->queue_limit = LIMIT;
    s->cloud->run_ms = 5 * OP_MINUTE_MS;
    stage_open(s);
    assert_int_equal(stage_job(s, ONE_REQUEST "batch: {requests: 5}\n"), OP_OK);
    step_and_watch(s, 20 * OP_MINUTE_MS, &seen);
    assert_true(seen.holds >= 1 && seen.ended_early >= 1);
    assert_int_equal(stage_run(s), OP_OK);
    stage_all_bought_once(s, 60);
    stage_free(s);
}

static int open_now(const struct cloud *c)
{
    int count = 0;
    for (int i = 0; i < c->batch_count; i++)
        count += c->batches[i].state == CLOUD_RUNS;
    return count;
}

static void open_batches_are_bounded(void **state)
{
    (void)state;
    struct stage *s = stage_new(12, "please");
    fake_ops.limits.max_open = 3;
    s->cloud->run_ms = 10 * OP_MINUTE_MS;
    stage_open(s);
    assert_int_equal(stage_job(s, ONE_REQUEST "batch: {requests: 1}\n"), OP_OK);
    int most = 0;
    for (int i = 0; i < 2000; i++) {
        bool worked = false;
        int64_t due = 0;
        assert_int_equal(op_engine_step(s->engine, s->job, &worked, &due, &s->err), OP_OK);
        most = open_now(s->cloud) > most ? open_now(s->cloud) : most;
        if (!worked && due == INT64_MAX)
            break;
        s->cloud->now_ms += worked ? 0 : 5 * OP_SECOND_MS;
    }
    assert_int_equal(most, 3);
    fake_ops.limits.max_open = 0;
    stage_all_bought_once(s, 12);
    stage_free(s);
}

static void creates_within_an_hour_are_bounded(void **state)
{
    (void)state;
    struct stage *s = stage_new(10, "please");
    fake_ops.limits.max_creates_per_hour = 4;
    stage_open(s);
    stage_must(s, ONE_REQUEST "batch: {requests: 1}\n");
    fake_ops.limits.max_creates_per_hour = 0;
    stage_all_bought_once(s, 10);
    for (int i = 4; i < 10; i++)
        assert_true(s->cloud->batches[i].created_ms - s->cloud->batches[i - 4].created_ms >=
                    OP_HOUR_MS);
    stage_free(s);
}

static void estimates_get_better(void **state)
{
    (void)state;
    struct stage *s = stage_new(50, "something that takes a few tokens more than nothing");
    stage_open(s);
    stage_must(s, ONE_REQUEST "batch: {requests: 25}\n");
    stage_all_bought_once(s, 50);
    struct op_calibration c;
    assert_int_equal(
        op_ledger_calibration_get(op_engine_ledger(s->engine), "fake", "fake-1", &c, &s->err),
        OP_OK);
    assert_true(c.batches == 2);
    int64_t billed = 0;
    for (int i = 0; i < 50; i++) {
        char text[100];
        int len = snprintf(text, sizeof(text),
                           "ask %d something that takes a few tokens more than nothing", i);
        billed += cloud_tokens((size_t)len);
    }
    assert_true(c.billed == billed && c.estimated > 0);
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_named_limit_is_obeyed),
        cmocka_unit_test(a_known_limit_is_never_met),
        cmocka_unit_test(a_limit_that_nobody_names_is_found),
        cmocka_unit_test(what_was_learned_is_kept),
        cmocka_unit_test(jobs_share_a_queue),
        cmocka_unit_test(models_have_queues_of_their_own),
        cmocka_unit_test(a_refusal_holds_the_queue),
        cmocka_unit_test(an_end_of_ours_ends_the_hold),
        cmocka_unit_test(open_batches_are_bounded),
        cmocka_unit_test(creates_within_an_hour_are_bounded),
        cmocka_unit_test(estimates_get_better),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
