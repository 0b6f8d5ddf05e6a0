/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/crew.h"

enum { THREADS = 3, ITEMS = 7, NEVER = 1 << 30 };

struct item {
    int number, value;
};

struct job {
    int next, count, fail_at, fail_too;
    struct item items[ITEMS];
    void *item_list[ITEMS], *worker_list[THREADS];
    int workers[THREADS]; /* how many each has filled */
    struct op_crew_plan plan;
};

static bool take(void *arg, void *to)
{
    struct job *job = arg;
    struct item *item = to;
    if (job->next == job->count)
        return false;
    item->number = job->next++;
    return true;
}

static struct job *the_job; /* fill has only its worker */

static enum op_rc fill(void *arg, void *to, struct op_err *err)
{
    int *filled = arg;
    struct item *item = to;
    ++*filled;
    /* The first of every few takes longest, so that they are ready in another order. */
    if (item->number % 5 == 0)
        usleep(300);
    item->value = item->number * 3;
    if (item->number == the_job->fail_at || item->number == the_job->fail_too)
        return op_fail(err, OP_IO, "item %d", item->number);
    return OP_OK;
}

static struct op_crew *start(struct job *job, int count, int fail_at, int fail_too)
{
    *job = (struct job){.count = count, .fail_at = fail_at, .fail_too = fail_too};
    for (size_t i = 0; i < ITEMS; i++)
        job->item_list[i] = &job->items[i];
    for (size_t i = 0; i < THREADS; i++)
        job->worker_list[i] = &job->workers[i];
    job->plan = (struct op_crew_plan){.items = job->item_list,
                                      .item_count = ITEMS,
                                      .workers = job->worker_list,
                                      .worker_count = THREADS,
                                      .take = take,
                                      .arg = job,
                                      .fill = fill};
    the_job = job;
    struct op_crew *crew = NULL;
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_crew_start(&job->plan, &crew, &err), OP_OK);
    return crew;
}

static int drain(struct op_crew *crew, enum op_rc *ret, struct op_err *err)
{
    int count = 0;
    void *item = NULL;
    while (!(*ret = op_crew_next(crew, &item, err))) {
        assert_int_equal(((struct item *)item)->number, count);
        assert_int_equal(((struct item *)item)->value, count * 3);
        count++;
        op_crew_done(crew, item);
    }
    return count;
}

static void items_come_in_the_order_they_were_taken(void **state)
{
    (void)state;
    for (int count = 0; count <= 400; count += 100) {
        struct job job;
        struct op_crew *crew = start(&job, count, NEVER, NEVER);
        struct op_err err = OP_ERR_INIT;
        enum op_rc rc = OP_OK;
        assert_int_equal(drain(crew, &rc, &err), count);
        assert_int_equal(rc, OP_NOTFOUND);
        assert_int_equal(err.rc, OP_OK);
        op_crew_stop(crew);
        assert_int_equal(job.workers[0] + job.workers[1] + job.workers[2], count);
    }
}

static void the_first_failure_comes_at_its_place(void **state)
{
    (void)state;
    for (int fail_at = 0; fail_at < 40; fail_at++) {
        struct job job;
        /* The later one, on another thread, fails earlier in time. */
        struct op_crew *crew = start(&job, 400, fail_at, fail_at + 1);
        struct op_err err = OP_ERR_INIT;
        enum op_rc rc = OP_OK;
        char text[32];
        snprintf(text, sizeof(text), "item %d", fail_at);
        assert_int_equal(drain(crew, &rc, &err), fail_at);
        assert_int_equal(rc, OP_IO);
        assert_string_equal(err.msg, text);
        op_crew_stop(crew);
    }
}

static void it_stops_in_the_middle(void **state)
{
    (void)state;
    for (int taken = 0; taken < 20; taken++) {
        struct job job;
        struct op_crew *crew = start(&job, NEVER, NEVER, NEVER);
        struct op_err err = OP_ERR_INIT;
        for (int i = 0; i < taken; i++) {
            void *item = NULL;
            assert_int_equal(op_crew_next(crew, &item, &err), OP_OK);
            if (i < taken - 2) /* two are never given back */
                op_crew_done(crew, item);
        }
        op_crew_stop(crew);
    }
    op_crew_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_in_the_order_they_were_taken),
        cmocka_unit_test(the_first_failure_comes_at_its_place),
        cmocka_unit_test(it_stops_in_the_middle),
    };
    return cmocka_run_group_tests_name("crew", tests, NULL, NULL);
}
