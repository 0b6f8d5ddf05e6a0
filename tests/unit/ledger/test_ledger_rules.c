/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: what the ledger refuses. A move from another state than the stored one is OP_CONFLICT
 *            and changes nothing; a move that the transition tables do not hold is OP_INVAL; the
 *            rules R1, R2, R4 and R5 hold in the schema too, against any SQL.
 * Oracle:    core/states.h, and the rules of the reliability reference, written down per case.
 */
#include "ledger/sqlite/sqlite.h"
#include "support.h"

static void a_batch_moves_only_from_where_it_is(void **state)
{
    struct world *w = *state;
    int64_t id = add_packed(w, w->job, 1);
    OP_CLEANUP(op_batch_release) struct op_batch mine = {0};
    OP_CLEANUP(op_batch_release) struct op_batch stale = {0};
    assert_ok(w, op_ledger_batch_get(w->ledger, id, &mine, &w->err));
    assert_ok(w, op_ledger_batch_get(w->ledger, id, &stale, &w->err));
    assert_ok(w, op_ledger_batch_go(w->ledger, &mine, OP_BATCH_UPLOADED, "", &w->err));
    stale.due_ms = 5;
    assert_fails(w, op_ledger_batch_go(w->ledger, &stale, OP_BATCH_SENDING, "", &w->err),
                 OP_CONFLICT, "not built");
    assert_fails(w, op_ledger_batch_save(w->ledger, &stale, &w->err), OP_CONFLICT, "not built");
    assert_true(stale.state == OP_BATCH_BUILT && stale.epoch == 0);
    /* Same state, older epoch. */
    stale.state = OP_BATCH_UPLOADED;
    assert_fails(w, op_ledger_batch_save(w->ledger, &stale, &w->err), OP_CONFLICT, "move 0");
    op_batch_release(&stale);
    assert_ok(w, op_ledger_batch_get(w->ledger, id, &stale, &w->err));
    assert_true(stale.state == OP_BATCH_UPLOADED && stale.epoch == 1 && stale.due_ms == 0);
    /* A conflict inside a transaction leaves the rest of it alone. */
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    int64_t record = add_record(w, w->job, "kept");
    stale.epoch = 9;
    assert_fails(w, op_ledger_batch_go(w->ledger, &stale, OP_BATCH_SENDING, "", &w->err),
                 OP_CONFLICT, "move 9");
    assert_ok(w, op_ledger_commit(w->ledger, &w->err));
    int64_t found = 0;
    assert_ok(w, op_ledger_record_find(w->ledger, w->job, OP_STR("kept"), &found, &w->err));
    assert_true(found == record);
}

/* Every pair of states, for batches, requests and jobs: the ledger takes exactly what core allows. */
static void moves_are_those_of_the_tables(void **state)
{
    struct world *w = *state;
    int64_t batch = add_packed(w, w->job, 1);
    for (int from = 0; from < OP_BATCH_STATE_COUNT; from++) {
        for (int to = 0; to < OP_BATCH_STATE_COUNT; to++) {
            if (op_batch_may_go((enum op_batch_state)from, (enum op_batch_state)to))
                continue;
            struct op_batch b = {.id = batch, .state = (enum op_batch_state)from};
            assert_fails(
                w, op_ledger_batch_go(w->ledger, &b, (enum op_batch_state)to, "", &w->err),
                OP_INVAL, "may not go");
        }
    }
    for (int from = 0; from < OP_REQUEST_STATE_COUNT; from++) {
        for (int to = 0; to < OP_REQUEST_STATE_COUNT; to++) {
            if (op_request_may_go((enum op_request_state)from, (enum op_request_state)to))
                continue;
            struct op_request r = {.id = 1, .state = (enum op_request_state)from};
            assert_fails(
                w, op_ledger_request_go(w->ledger, &r, 1, (enum op_request_state)to, &w->err),
                OP_INVAL, "may not go");
        }
    }
    for (int from = 0; from < OP_JOB_STATE_COUNT; from++) {
        for (int to = 0; to < OP_JOB_STATE_COUNT; to++) {
            if (op_job_may_go((enum op_job_state)from, (enum op_job_state)to))
                continue;
            assert_fails(w,
                         op_ledger_job_go(w->ledger, w->job, (enum op_job_state)from,
                                          (enum op_job_state)to, NULL, &w->err),
                         OP_INVAL, "may not go");
        }
    }
    assert_fails(
        w, op_ledger_job_go(w->ledger, w->job, OP_JOB_RUNNING, OP_JOB_DONE, NULL, &w->err),
        OP_CONFLICT, "not running");
}

static void a_request_moves_only_from_where_it_is(void **state)
{
    struct world *w = *state;
    add_packed(w, w->job, 2);
    struct op_request r = {.id = 1, .state = OP_REQUEST_PACKED, .batch_id = 1};
    assert_fails(w, op_ledger_request_go(w->ledger, &r, 2, OP_REQUEST_DONE, &w->err),
                 OP_CONFLICT, "batch 2");
    r.state = OP_REQUEST_NEW;
    assert_fails(w, op_ledger_request_go(w->ledger, &r, 0, OP_REQUEST_FAILED, &w->err),
                 OP_CONFLICT, "not new");
    r.batch_id = 0;
    assert_fails(w, op_ledger_request_go(w->ledger, &r, 0, OP_REQUEST_PACKED, &w->err),
                 OP_INVAL, "no batch");
    assert_fails(w, op_ledger_request_go(w->ledger, &r, 0, OP_REQUEST_WAITING, &w->err),
                 OP_INVAL, "no other");
    r.state = OP_REQUEST_PACKED;
    r.batch_id = 1;
    assert_ok(w, op_ledger_request_go(w->ledger, &r, 1, OP_REQUEST_DONE, &w->err));
    assert_fails(w, op_ledger_request_go(w->ledger, &r, 1, OP_REQUEST_DONE, &w->err),
                 OP_CONFLICT, "not packed");
    OP_CLEANUP(op_request_release) struct op_request found = {0};
    assert_ok(w, op_ledger_request_get(w->ledger, 1, &found, &w->err));
    assert_true(found.state == OP_REQUEST_DONE && found.batch_id == 1);
}

/* R1 through the API: a request leaves a live batch only with that batch's result. */
static void a_request_is_in_one_live_batch(void **state)
{
    struct world *w = *state;
    static const struct {
        enum op_batch_state upto; /* BUILT: not moved */
        bool result, may_leave;
    } rows[] = {
        {OP_BATCH_BUILT, false, false},  {OP_BATCH_SENDING, false, false},
        {OP_BATCH_ENDED, false, false},  {OP_BATCH_FETCHED, false, false},
        {OP_BATCH_FETCHED, true, true},  {OP_BATCH_APPLIED, true, true},
        {OP_BATCH_DROPPED, false, true},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        int64_t id = op_ledger_next_request(w->ledger), batch = add_packed(w, w->job, 1);
        if (rows[i].upto == OP_BATCH_DROPPED)
            go(w, batch, OP_BATCH_DROPPED);
        else if (rows[i].upto != OP_BATCH_BUILT)
            go_up_to(w, batch, rows[i].upto);
        if (rows[i].result)
            add_result(w, batch, id, false);
        struct op_request r = {
            .id = id, .state = OP_REQUEST_PACKED, .batch_id = 0, .reask = OP_REASK_SAME};
        if (!rows[i].may_leave) {
            assert_fails(w, op_ledger_request_go(w->ledger, &r, batch, OP_REQUEST_NEW, &w->err),
                         OP_CONFLICT, "R1");
            continue;
        }
        assert_ok(w, op_ledger_request_go(w->ledger, &r, batch, OP_REQUEST_NEW, &w->err));
        r.state = OP_REQUEST_NEW;
        r.batch_id = op_ledger_next_batch(w->ledger);
        assert_ok(w, op_ledger_request_go(w->ledger, &r, 0, OP_REQUEST_PACKED, &w->err));
        add_batch(w, w->job, id, id, 1);
    }
    /* A refusal in a transaction of several leaves the others standing. */
    int64_t id = op_ledger_next_request(w->ledger), batch = add_packed(w, w->job, 1);
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    add_record(w, w->job, "kept");
    struct op_request r = {.id = id, .state = OP_REQUEST_PACKED};
    assert_fails(w, op_ledger_request_go(w->ledger, &r, batch, OP_REQUEST_NEW, &w->err),
                 OP_CONFLICT, "R1");
    assert_ok(w, op_ledger_commit(w->ledger, &w->err));
    assert_ok(w, op_ledger_record_find(w->ledger, w->job, OP_STR("kept"), &id, &w->err));
}

static void the_operator_may_retry_what_failed(void **state)
{
    struct world *w = *state;
    int64_t batch = add_packed(w, w->job, 1);
    go_up_to(w, batch, OP_BATCH_ACCEPTED);
    go(w, batch, OP_BATCH_QUARANTINED);
    struct op_request r = {.id = 1, .state = OP_REQUEST_PACKED, .batch_id = batch};
    assert_ok(w, op_ledger_request_go(w->ledger, &r, batch, OP_REQUEST_FAILED, &w->err));
    r.state = OP_REQUEST_FAILED;
    assert_ok(w, op_ledger_request_go(w->ledger, &r, 0, OP_REQUEST_NEW, &w->err));
    OP_CLEANUP(op_request_release) struct op_request found = {0};
    assert_ok(w, op_ledger_request_get(w->ledger, 1, &found, &w->err));
    assert_true(found.batch_id == 0 && found.state == OP_REQUEST_NEW);
}

static void unpacking_takes_back_what_is_packed(void **state)
{
    struct world *w = *state;
    static const struct {
        enum op_batch_state to;
        bool bought;
        enum op_reask had, given, expected;
    } rows[] = {
        {OP_BATCH_REJECTED, false, OP_REASK_NONE, OP_REASK_SAME, OP_REASK_SAME},
        {OP_BATCH_REJECTED, false, OP_REASK_INVALID, OP_REASK_SAME, OP_REASK_INVALID},
        {OP_BATCH_UNSENT, false, OP_REASK_NONE, OP_REASK_NONE, OP_REASK_NONE},
        {OP_BATCH_VANISHED, true, OP_REASK_NONE, OP_REASK_SAME, OP_REASK_SAME},
        {OP_BATCH_DROPPED, false, OP_REASK_TRUNCATED, OP_REASK_INVALID, OP_REASK_TRUNCATED},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        int64_t lo = op_ledger_next_request(w->ledger), batch = add_packed(w, w->job, 4);
        int64_t count = -1;
        assert_fails(w,
                     op_ledger_batch_unpack(w->ledger, batch, rows[i].given, false, "x", &count,
                                            &w->err),
                     OP_CONFLICT, "built");
        if (rows[i].to != OP_BATCH_DROPPED)
            go(w, batch, OP_BATCH_SENDING);
        if (rows[i].to == OP_BATCH_UNSENT)
            go(w, batch, OP_BATCH_AMBIGUOUS);
        if (rows[i].to == OP_BATCH_VANISHED)
            go(w, batch, OP_BATCH_ACCEPTED);
        /* One of the four is settled already. */
        struct op_request done = {.id = lo + 1, .state = OP_REQUEST_PACKED, .batch_id = batch};
        assert_ok(w,
                  op_ledger_request_go(w->ledger, &done, batch, OP_REQUEST_CANCELED, &w->err));
        op_ledger_close(OP_TAKE(w->ledger));
        char sql[100];
        snprintf(sql, sizeof(sql), "UPDATE request SET reask = %d WHERE id = %lld",
                 (int)rows[i].had, (long long)lo);
        raw_sql(w->dir, sql);
        open_world(w);
        assert_ok(w, op_ledger_begin(w->ledger, &w->err));
        go(w, batch, rows[i].to);
        assert_ok(w, op_ledger_batch_unpack(w->ledger, batch, rows[i].given, rows[i].bought,
                                            "why", &count, &w->err));
        assert_ok(w, op_ledger_commit(w->ledger, &w->err));
        assert_int_equal(count, 3);
        OP_CLEANUP(op_request_release) struct op_request found = {0};
        assert_ok(w, op_ledger_request_get(w->ledger, lo, &found, &w->err));
        assert_true(found.state == OP_REQUEST_NEW && found.batch_id == 0);
        assert_true(found.buy_no == rows[i].bought && found.reask == rows[i].expected);
        assert_string_equal(found.reason, "why");
        op_request_release(&found);
        assert_ok(w, op_ledger_request_get(w->ledger, lo + 1, &found, &w->err));
        assert_true(found.state == OP_REQUEST_CANCELED && found.batch_id == batch);
    }
}

/* The schema stands alone: each statement is tried on a connection that knows nothing of the code. */
static void the_schema_holds_the_rules(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *sql, *refusal; /* NULL: allowed */
    } rows[] = {
        {"UPDATE request SET batch_id = 2 WHERE id = 1", "R1"},
        {"UPDATE request SET batch_id = 0, state = 0 WHERE id = 1", "R1"},
        {"UPDATE request SET batch_id = 2 WHERE id = 3", NULL}, /* it has its result */
        {"UPDATE batch SET state = 'built', epoch = epoch + 1 WHERE id = 1", "R2"},
        {"UPDATE batch SET state = 'sending', epoch = epoch + 1 WHERE id = 1", "R2"},
        {"UPDATE batch SET state = 'uploaded', epoch = epoch + 1 WHERE id = 1", "R2"},
        {"UPDATE batch SET state = 'sending', epoch = epoch + 1 WHERE id = 2", NULL},
        {"UPDATE batch SET state = 'ended' WHERE id = 1", "R4"},
        {"UPDATE batch SET epoch = 0 WHERE id = 1", "R4"},
        {"UPDATE journal SET to_state = 'x'", "R4"},
        {"DELETE FROM journal", "R4"},
        {"UPDATE batch SET nonce = 'other' WHERE id = 1", "R5"},
        {"UPDATE batch SET count = 0", "R5"},
        {"UPDATE batch SET file = 'x', sha256 = 'y'", "R5"},
        {"UPDATE batch SET prices = ''", "R5"},
        {"UPDATE batch SET reserved_microusd = 0", "R5"},
        {"UPDATE price_list SET text = x'00'", "R5"},
        {"UPDATE price_list SET sha256 = 'x'", "R5"},
        {"DELETE FROM price_list", "R5"},
        {"DELETE FROM batch WHERE id = 1", "R2"},
        {"INSERT INTO result SELECT * FROM result", "UNIQUE"},
        {"INSERT INTO record(job_id, key, request_lo) SELECT job_id, key, 1 FROM record",
         "UNIQUE"},
        {"UPDATE request SET state = 'done' WHERE id = 1", "TEXT"}, /* STRICT */
    };
    add_packed(w, w->job, 3);
    add_packed(w, w->job, 1);
    go_up_to(w, 1, OP_BATCH_ACCEPTED);
    add_result(w, 1, 3, true);
    op_ledger_close(OP_TAKE(w->ledger));
    OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/ledger.db", w->dir);
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        sqlite3 *db = NULL;
        char *message = NULL;
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
        int rc = sqlite3_exec(db, rows[i].sql, NULL, NULL, &message);
        if (rows[i].refusal ? !rc || !strstr(message, rows[i].refusal) : rc)
            fail_msg("%s: %d %s", rows[i].sql, rc, message ? message : "");
        sqlite3_free(message);
        sqlite3_close(db);
    }
}

/* A full disk in the middle: nothing of the transaction is left, nothing slips in behind it, and the
 * ledger goes on afterwards. */
static void a_full_disk_takes_the_whole_transaction(void **state)
{
    struct world *w = *state;
    add_record(w, w->job, "before");
    int64_t next = op_ledger_next_record(w->ledger);
    sqlite3 *db =
        w->ledger->db; /* the connection itself: its limit is not to be had otherwise */
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    assert_int_equal(sqlite3_exec(db, "PRAGMA max_page_count = 1", NULL, NULL, NULL),
                     SQLITE_OK);
    char key[64];
    enum op_rc rc = OP_OK;
    int64_t id = 0;
    for (int i = 0; i < 100000 && !rc; i++) {
        snprintf(key, sizeof(key), "a key that fills the pages soon enough %08d", i);
        rc = op_ledger_record_add(w->ledger, w->job, op_str_from(key), OP_STR_NULL, &id,
                                  &w->err);
    }
    assert_int_equal(w->err.disp, OP_DISP_RETRY);
    assert_int_equal(w->err.native & 0xff, SQLITE_FULL);
    assert_fails(w, rc, OP_IO, "no space left");
    assert_fails(
        w, op_ledger_record_add(w->ledger, w->job, OP_STR("late"), OP_STR_NULL, &id, &w->err),
        OP_IO, "rolled back");
    uint8_t hash[OP_HASH_LEN] = {1};
    assert_fails(w, op_ledger_asked_put(w->ledger, hash, 1, &w->err), OP_IO, "rolled back");
    assert_fails(w, op_ledger_commit(w->ledger, &w->err), OP_IO, "rolled back");
    assert_true(op_ledger_next_record(w->ledger) == next);
    assert_int_equal(sqlite3_exec(db, "PRAGMA max_page_count = 100000", NULL, NULL, NULL),
                     SQLITE_OK);
    add_record(w, w->job, "after");
    reopen(w);
    assert_true(op_ledger_next_record(w->ledger) == next + 1);
    assert_int_equal(op_ledger_record_find(w->ledger, w->job, OP_STR("late"), &id, &w->err),
                     OP_NOTFOUND);
}

/* The move is stored, its journal entry is refused: neither may be left in the caller's hands. */
static void half_a_group_is_never_left(void **state)
{
    struct world *w = *state;
    int64_t batch = add_packed(w, w->job, 1);
    op_ledger_close(OP_TAKE(w->ledger));
    raw_sql(w->dir, "INSERT INTO journal VALUES (1, 1, 0, 'x', 'y', '')");
    open_world(w);
    OP_CLEANUP(op_batch_release) struct op_batch b = {0};
    assert_ok(w, op_ledger_batch_get(w->ledger, batch, &b, &w->err));
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    add_record(w, w->job, "with it");
    assert_fails(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_UPLOADED, "", &w->err),
                 OP_CONFLICT, "UNIQUE");
    assert_fails(w, op_ledger_commit(w->ledger, &w->err), OP_IO, "rolled back");
    assert_fails(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_UPLOADED, "", &w->err),
                 OP_CONFLICT, "UNIQUE");
    assert_true(b.state == OP_BATCH_BUILT && b.epoch == 0);
    op_batch_release(&b);
    assert_ok(w, op_ledger_batch_get(w->ledger, batch, &b, &w->err));
    assert_true(b.state == OP_BATCH_BUILT);
    int64_t id = 0;
    assert_int_equal(op_ledger_record_find(w->ledger, w->job, OP_STR("with it"), &id, &w->err),
                     OP_NOTFOUND);
}

/* One damaged word must not buy a batch twice: the journal lies on other pages. */
static void the_journal_guards_the_door(void **state)
{
    struct world *w = *state;
    int64_t sent = add_packed(w, w->job, 2), built = add_packed(w, w->job, 2);
    go_up_to(w, sent, OP_BATCH_ACCEPTED);
    op_ledger_close(OP_TAKE(w->ledger));
    raw_sql(w->dir, "DROP TRIGGER batch_door; DROP TRIGGER batch_epoch;"
                    " UPDATE batch SET state = 'uploaded' WHERE id = 1;");
    open_world(w);
    OP_CLEANUP(op_batch_release) struct op_batch b = {0};
    assert_ok(w, op_ledger_batch_get(w->ledger, sent, &b, &w->err));
    assert_int_equal(b.state, OP_BATCH_UPLOADED);
    assert_fails(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_SENDING, "", &w->err), OP_IO,
                 "damaged");
    go(w, built, OP_BATCH_SENDING); /* the others go on */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_batch_moves_only_from_where_it_is),     T(the_journal_guards_the_door),
        T(moves_are_those_of_the_tables),           T(a_request_moves_only_from_where_it_is),
        T(a_request_is_in_one_live_batch),          T(the_operator_may_retry_what_failed),
        T(unpacking_takes_back_what_is_packed),     T(the_schema_holds_the_rules),
        T(a_full_disk_takes_the_whole_transaction), T(half_a_group_is_never_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
