/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: a process that ends between any two steps leaves a ledger in which every committed step
 *            is there, nothing of an open transaction is, the journal replays and the audit is
 *            silent; whoever opens next, reader or writer, cleans up.
 * Oracle:    the child tells through a pipe which steps it finished; the parent counts rows.
 */
#include "ledger/sqlite/sqlite.h"
#include "support.h"

/* One life of a batch, a step at a time; the odd ones are inside the transaction of the next. */
static void step(struct world *w, int n)
{
    static struct op_batch b;
    struct op_job_counts counts = {0};
    switch (n) {
    case 0:
        assert_ok(w, op_ledger_begin(w->ledger, &w->err));
        break;
    case 1:
        add_packed(w, w->job, 4);
        counts = (struct op_job_counts){.records = 4, .requests = 4, .reserved_microusd = 7};
        assert_ok(w, op_ledger_job_count(w->ledger, w->job, &counts, &w->err));
        break;
    case 2:
        assert_ok(w, op_ledger_job_go(w->ledger, w->job, OP_JOB_PLANNING, OP_JOB_RUNNING, NULL,
                                      &w->err));
        break;
    case 3:
        assert_ok(w, op_ledger_commit(w->ledger, &w->err));
        break;
    case 4:
        assert_ok(w, op_ledger_batch_get(w->ledger, 1, &b, &w->err));
        break;
    case 5:
        assert_ok(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_SENDING, "gate", &w->err));
        break;
    case 6:
        assert_ok(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_ACCEPTED, "", &w->err));
        break;
    case 7:
        assert_ok(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_ENDED, "", &w->err));
        assert_ok(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_FETCHED, "", &w->err));
        break;
    case 8:
        assert_ok(w, op_ledger_begin(w->ledger, &w->err));
        break;
    case 9:
    case 10:
        for (int64_t id = n == 9 ? 1 : 3; id <= (n == 9 ? 2 : 4); id++) {
            add_result(w, 1, id, true);
            struct op_request r = {.id = id, .state = OP_REQUEST_PACKED, .batch_id = 1};
            assert_ok(w, op_ledger_request_go(w->ledger, &r, 1, OP_REQUEST_DONE, &w->err));
        }
        break;
    case 11:
        b.ok = 4;
        b.spent_microusd = 12;
        b.usage = (struct op_usage){{4, 8, 12, 16, 20}};
        counts = (struct op_job_counts){.done = 4,
                                        .spent_microusd = 12,
                                        .reserved_microusd = -7,
                                        .usage = {{4, 8, 12, 16, 20}}};
        assert_ok(w, op_ledger_job_count(w->ledger, w->job, &counts, &w->err));
        assert_ok(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_APPLIED, "", &w->err));
        break;
    case 12:
        assert_ok(w, op_ledger_commit(w->ledger, &w->err));
        break;
    default:
        break;
    }
}

enum { STEPS = 13 };

/* What must be found when the last finished step was n: state, requests, done ones. */
static const struct {
    int from;
    enum op_batch_state state;
    int64_t requests, results;
} expected[] = {{3, OP_BATCH_BUILT, 4, 0},
                {5, OP_BATCH_SENDING, 4, 0},
                {6, OP_BATCH_ACCEPTED, 4, 0},
                {7, OP_BATCH_FETCHED, 4, 0},
                {12, OP_BATCH_APPLIED, 4, 4}};

static int64_t count_rows(struct world *w, const char *sql)
{
    int64_t value = -1;
    assert_ok(w, op_sq_query_int(w->ledger->db, "ledger", sql, &value, &w->err));
    return value;
}

static void check_image(struct world *w, int finished)
{
    struct op_buf report;
    op_buf_init(&report, 10000);
    if (audit(w, &report))
        fail_msg("after step %d: %s", finished, report.ptr);
    op_buf_release(&report);
    int at = -1;
    for (size_t i = 0; i < OP_COUNT(expected) && expected[i].from <= finished; i++)
        at = (int)i;
    assert_true(count_rows(w, "SELECT count(*) FROM request") ==
                (at < 0 ? 0 : expected[at].requests));
    assert_true(count_rows(w, "SELECT count(*) FROM result") ==
                (at < 0 ? 0 : expected[at].results));
    OP_CLEANUP(op_batch_release) struct op_batch b = {0};
    if (at < 0) {
        assert_fails(w, op_ledger_batch_get(w->ledger, 1, &b, &w->err), OP_NOTFOUND, "1");
        return;
    }
    assert_ok(w, op_ledger_batch_get(w->ledger, 1, &b, &w->err));
    assert_int_equal(b.state, expected[at].state);
}

static void killed_between_steps(void **state)
{
    struct world *w = *state;
    op_ledger_close(OP_TAKE(w->ledger));
    char command[256];
    snprintf(command, sizeof(command), "cp %s/ledger.db %s/start.db", w->dir, w->dir);
    assert_int_equal(system(command), 0);
    for (int end = 0; end <= STEPS; end++) {
        snprintf(command, sizeof(command), "cp %s/start.db %s/ledger.db", w->dir, w->dir);
        assert_int_equal(system(command), 0);
        pid_t pid = fork();
        if (pid == 0) {
            open_world(w);
            for (int n = 0; n < end; n++)
                step(w, n);
            _exit(0); /* no close, no commit, no rollback */
        }
        int status = -1;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        open_world(w);
        check_image(w, end - 1);
        op_ledger_close(OP_TAKE(w->ledger));
    }
}

/* A transaction larger than the page cache has pages in the file before it commits: the journal must
 * take them out again, and a reader may be the first to come. */
static void killed_in_a_large_transaction(void **state)
{
    struct world *w = *state;
    static const enum op_ledger_mode first[] = {OP_LEDGER_READ, OP_LEDGER_WRITE};
    add_record(w, w->job, "kept");
    op_ledger_close(OP_TAKE(w->ledger));
    OP_CLEANUP(op_mem_freep) char *journal = op_mem_printf("%s/ledger.db-journal", w->dir);
    for (size_t i = 0; i < OP_COUNT(first); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            static char data[2000];
            memset(data, 'x', sizeof(data));
            open_world(w);
            assert_ok(w, op_ledger_begin(w->ledger, &w->err));
            int64_t id = 0;
            char key[32];
            for (int k = 0; k < 20000; k++) {
                snprintf(key, sizeof(key), "%d", k * 7919 % 20000);
                assert_ok(w, op_ledger_record_add(w->ledger, w->job, op_str_from(key),
                                                  (struct op_str){data, sizeof(data)}, &id,
                                                  &w->err));
            }
            _exit(0);
        }
        int status = -1;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        struct stat st;
        assert_int_equal(stat(journal, &st), 0);
        assert_true(st.st_size > 0); /* it is hot */
        assert_ok(
            w, op_ledger_open(op_env_default(), w->dir, first[i], NULL, &w->ledger, &w->err));
        assert_true(count_rows(w, "SELECT count(*) FROM record") == 1);
        assert_true(count_rows(w, "SELECT count(*) FROM pragma_integrity_check"
                                  " WHERE integrity_check <> 'ok'") == 0);
        op_ledger_close(OP_TAKE(w->ledger));
    }
    open_world(w);
}

/* The first moments of a ledger: the file exists, its tables or its identity do not yet. */
static void killed_while_it_was_made(void **state)
{
    struct world *w = *state;
    static const char *const images[] = {"", "DELETE FROM identity;"};
    OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/ledger.db", w->dir);
    for (size_t i = 0; i < OP_COUNT(images); i++) {
        op_ledger_close(OP_TAKE(w->ledger));
        if (images[i][0]) {
            raw_sql(w->dir, images[i]);
        } else {
            assert_int_equal(truncate(path, 0), 0);
        }
        open_world(w);
        assert_int_equal(strlen(op_ledger_uuid(w->ledger)), 36);
        assert_false(op_ledger_is_suspect(w->ledger, NULL));
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(killed_between_steps),
        T(killed_in_a_large_transaction),
        T(killed_while_it_was_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
