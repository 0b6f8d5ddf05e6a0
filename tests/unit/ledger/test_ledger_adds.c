/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: records and requests that planning adds are held back and inserted in groups, and nobody
 *            can tell: a key that occurs twice is known at once, a read finds what was just added, a
 *            rollback takes all of it, and the tables hold every row as it was given.
 * Oracle:    what the test itself added, and the tables read through a connection of its own.
 */
#include "ledger/sqlite/adds.h"
#include "support.h"

enum { RECORDS = 3 * OP_ADDS_GROUP + 7, FAN = 3, ODD = 5 };

static struct op_request packed(const struct world *w, int64_t record, int name)
{
    struct op_request r = {.id = op_ledger_next_request(w->ledger),
                           .job_id = w->job,
                           .record_id = record,
                           .name = name,
                           .state = OP_REQUEST_PACKED,
                           .batch_id = 1};
    r.payload = (struct op_payload_ref){1, 100 * r.id, 10 + r.id};
    memset(r.hash, (int)(r.id % 251) + 1, OP_HASH_LEN);
    return r;
}

/* Every ODDth is none of the plain kind: it waits for the first. */
static void add_rows(struct world *w)
{
    for (int i = 1; i <= RECORDS; i++) {
        char key[32], data[32];
        int64_t record = 0;
        snprintf(key, sizeof(key), "key-%d", i);
        snprintf(data, sizeof(data), "{\"n\":%d}", i);
        assert_ok(w, op_ledger_record_add(w->ledger, w->job, op_str_from(key),
                                          i % 2 ? op_str_from(data) : OP_STR_NULL, &record,
                                          &w->err));
        assert_true(record == i);
        for (int name = 0; name < FAN; name++) {
            struct op_request r = packed(w, record, name);
            if (r.id % ODD == 0) {
                r.state = OP_REQUEST_WAITING;
                r.batch_id = 0;
                r.same_as = 1;
                r.payload = (struct op_payload_ref){0, 0, 0};
            }
            assert_ok(w, op_ledger_request_add(w->ledger, &r, &w->err));
        }
    }
}

static void expect(struct world *w, const char *sql, int64_t want)
{
    int64_t got = raw_sql(w->dir, sql);
    if (got != want)
        fail_msg("%s: %lld, not %lld", sql, (long long)got, (long long)want);
}

static void every_row_is_as_it_was_given(void **state)
{
    struct world *w = *state;
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    add_rows(w);
    expect(w, "SELECT count(*) FROM request", 0); /* for others: before the commit */
    assert_ok(w, op_ledger_commit(w->ledger, &w->err));
    expect(w, "SELECT count(*) FROM record", RECORDS);
    expect(w, "SELECT count(*) FROM record WHERE key = 'key-' || id AND job_id = 1", RECORDS);
    expect(w, "SELECT count(*) FROM record WHERE request_lo = 3 * id - 2", RECORDS);
    expect(w,
           "SELECT count(*) FROM record WHERE data IS CASE id % 2 WHEN 1"
           " THEN '{\"n\":' || id || '}' END",
           RECORDS);
    expect(w, "SELECT count(*) FROM request", RECORDS * FAN);
    expect(w,
           "SELECT count(*) FROM request WHERE record_id = (id + 2) / 3 AND job_id = 1"
           " AND name = (id + 2) % 3 AND buy_no = 0 AND reask = 0 AND stray = 0"
           " AND reason = ''",
           RECORDS * FAN);
    expect(w,
           "SELECT count(*) FROM request WHERE id % 5 <> 0 AND state = 1 AND batch_id = 1"
           " AND payload_batch = 1 AND payload_offset = 100 * id AND payload_len = 10 + id"
           " AND same_as = 0",
           RECORDS * FAN - RECORDS * FAN / ODD);
    expect(w,
           "SELECT count(*) FROM request WHERE id % 5 = 0 AND state = 2 AND batch_id = 0"
           " AND same_as = 1",
           RECORDS * FAN / ODD);
    expect(w,
           "SELECT count(*) FROM request WHERE hash <> CAST(zeroblob(16) AS BLOB)"
           " AND length(hash) = 16 AND hex(hash) = replace(hex(zeroblob(16)), '00',"
           " printf('%02X', id % 251 + 1))",
           RECORDS * FAN);
}

static void a_key_is_known_at_once(void **state)
{
    struct world *w = *state;
    int64_t id = 0;
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    for (int i = 1; i <= OP_ADDS_GROUP + 3; i++) {
        char key[32];
        snprintf(key, sizeof(key), "k%d", i);
        int64_t first = add_record(w, w->job, key);
        id = 0;
        assert_int_equal(op_ledger_record_add(w->ledger, w->job, op_str_from(key), OP_STR_NULL,
                                              &id, &w->err),
                         OP_CONFLICT);
        assert_true(id == first);
        assert_false(w->err.rc);
    }
    /* The same key of another job is another record. */
    int64_t other = add_job(w, "other");
    add_record(w, other, "k1");
    assert_ok(w, op_ledger_commit(w->ledger, &w->err));
    expect(w, "SELECT count(*) FROM record", OP_ADDS_GROUP + 4);
}

static void a_read_finds_what_was_added(void **state)
{
    struct world *w = *state;
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    for (int i = 0; i < 5; i++) {
        char key[32];
        int64_t found = 0;
        snprintf(key, sizeof(key), "r%d", i);
        int64_t record = add_record(w, w->job, key);
        struct op_request r = packed(w, record, i);
        assert_ok(w, op_ledger_request_add(w->ledger, &r, &w->err));
        OP_CLEANUP(op_request_release) struct op_request got = {0};
        assert_ok(w, op_ledger_request_get(w->ledger, r.id, &got, &w->err));
        assert_true(got.record_id == record && got.name == i &&
                    got.payload.offset == 100 * r.id);
        assert_ok(w,
                  op_ledger_record_find(w->ledger, w->job, op_str_from(key), &found, &w->err));
        assert_true(found == record);
    }
    op_ledger_rollback(w->ledger);
}

static void a_rollback_takes_what_is_held(void **state)
{
    struct world *w = *state;
    int64_t record = op_ledger_next_record(w->ledger);
    int64_t request = op_ledger_next_request(w->ledger);
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    add_rows(w);
    op_ledger_rollback(w->ledger);
    assert_true(op_ledger_next_record(w->ledger) == record);
    assert_true(op_ledger_next_request(w->ledger) == request);
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    assert_true(add_record(w, w->job, "key-1") == record);
    assert_ok(w, op_ledger_commit(w->ledger, &w->err));
    expect(w, "SELECT count(*) FROM record", 1);
    expect(w, "SELECT count(*) FROM request", 0);
}

/* The records that a transaction saw missing are back when it is rolled back. */
static void what_a_rollback_brings_back_is_known(void **state)
{
    struct world *w = *state;
    int64_t id = 0;
    int64_t first = add_record(w, w->job, "back");
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    assert_ok(w, op_ledger_plan_reset(w->ledger, w->job, NULL, NULL, &w->err));
    assert_ok(w, op_ledger_record_add(w->ledger, add_job(w, "other"), OP_STR("x"), OP_STR_NULL,
                                      &id, &w->err));
    assert_true(add_record(w, w->job, "back") > first);
    op_ledger_rollback(w->ledger);
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    assert_int_equal(
        op_ledger_record_add(w->ledger, w->job, OP_STR("back"), OP_STR_NULL, &id, &w->err),
        OP_CONFLICT);
    assert_true(id == first);
    assert_ok(w, op_ledger_commit(w->ledger, &w->err));
}

/* A row that SQLite refuses ends the transaction, whoever runs into it. */
static void a_refused_row_ends_the_transaction(void **state)
{
    struct world *w = *state;
    op_ledger_close(OP_TAKE(w->ledger));
    raw_sql(w->dir, "CREATE TRIGGER no BEFORE INSERT ON request"
                    " BEGIN SELECT RAISE(ABORT, 'refused by the test'); END");
    open_world(w);
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    struct op_request r = packed(w, add_record(w, w->job, "a"), 0);
    assert_ok(w, op_ledger_request_add(w->ledger, &r, &w->err));
    OP_CLEANUP(op_request_release) struct op_request got = {0};
    assert_fails(w, op_ledger_request_get(w->ledger, r.id, &got, &w->err), OP_CONFLICT,
                 "refused by the test");
    assert_fails(w, op_ledger_commit(w->ledger, &w->err), OP_IO, "rolled back");
    op_ledger_rollback(w->ledger);
    expect(w, "SELECT count(*) FROM record", 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(every_row_is_as_it_was_given),         T(a_key_is_known_at_once),
        T(a_read_finds_what_was_added),          T(a_rollback_takes_what_is_held),
        T(what_a_rollback_brings_back_is_known), T(a_refused_row_ends_the_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
