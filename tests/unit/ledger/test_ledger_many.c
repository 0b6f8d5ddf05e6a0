/* SPDX-License-Identifier: MIT */

/* What the hot path of applying reads and writes by the hundred. */
#include "support.h"

static int64_t add_packed_at_once(struct world *w, int count)
{
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    int64_t batch = add_packed(w, w->job, count);
    assert_ok(w, op_ledger_commit(w->ledger, &w->err));
    return batch;
}

static struct op_member *members_of(struct world *w, int64_t batch, size_t *ret_count)
{
    struct op_member *members = NULL;
    assert_ok(w, op_ledger_batch_members(w->ledger, batch, &members, ret_count, &w->err));
    return members;
}

/* Every key that is given is the record's own, asked for one by one. */
static void check_keys(struct world *w, const struct op_member *members, size_t count,
                       const struct op_buf *keys, const size_t *ends)
{
    OP_CLEANUP(op_buf_release) struct op_buf key = {0};
    op_buf_init(&key, 1000);
    for (size_t i = 0; i < count; i++) {
        size_t begin = i ? ends[i - 1] : 0;
        op_buf_clear(&key);
        if (members[i].record_id)
            assert_ok(
                w, op_ledger_record_data(w->ledger, members[i].record_id, &key, NULL, &w->err));
        assert_int_equal(ends[i] - begin, key.len);
        if (key.len)
            assert_memory_equal(keys->ptr + begin, key.ptr, key.len);
    }
}

static void keys_of_members_in_any_order(void **state)
{
    struct world *w = *state;
    enum { COUNT = 1000 };
    int64_t batch = add_packed_at_once(w, COUNT);
    size_t count = 0;
    OP_CLEANUP(op_mem_freep) struct op_member *members = members_of(w, batch, &count);
    OP_CLEANUP(op_buf_release) struct op_buf keys = {0};
    size_t ends[COUNT], found = 0;
    op_buf_init(&keys, 1000 * 1000);
    assert_int_equal(count, COUNT);
    /* Far apart, backwards, twice the same, and one without a record. */
    members[5].record_id = members[900].record_id;
    members[6].record_id = members[3].record_id;
    members[7].record_id = members[3].record_id;
    members[8].record_id = 0;
    members[9].record_id = members[8 + 300].record_id;
    assert_ok(w, op_ledger_member_keys(w->ledger, members, COUNT, 1000 * 1000, &keys, ends,
                                       &found, &w->err));
    assert_int_equal(found, COUNT);
    check_keys(w, members, found, &keys, ends);

    op_buf_clear(&keys);
    assert_ok(
        w, op_ledger_member_keys(w->ledger, members, COUNT, 1, &keys, ends, &found, &w->err));
    assert_in_range(found, 1, 128);
    check_keys(w, members, found, &keys, ends);

    members[3].record_id = 100000;
    op_buf_clear(&keys);
    assert_fails(
        w, op_ledger_member_keys(w->ledger, members, COUNT, 1000, &keys, ends, &found, &w->err),
        OP_NOTFOUND, "100000");
}

enum { ROWS = 70 }; /* two whole groups, and single ones */

static void make_rows(struct op_result_row *rows, int64_t batch, int64_t first)
{
    for (int i = 0; i < ROWS; i++)
        rows[i] = (struct op_result_row){.batch_id = batch,
                                         .request_id = first + i,
                                         .class_ = OP_RESULT_SUCCEEDED,
                                         .valid = true,
                                         .part = 1,
                                         .offset = 100 * i,
                                         .len = 90 + i,
                                         .microusd = i,
                                         .usage = {{1, 2, 3, 4, i}}};
}

static int64_t fetched_batch(struct world *w, int64_t *ret_first)
{
    *ret_first = op_ledger_next_request(w->ledger);
    int64_t batch = add_packed_at_once(w, ROWS);
    go_up_to(w, batch, OP_BATCH_FETCHED);
    return batch;
}

static void good_results_settle_together(void **state)
{
    struct world *w = *state;
    struct op_result_row rows[ROWS], row;
    int64_t first = 0, batch = fetched_batch(w, &first);
    make_rows(rows, batch, first);
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    assert_ok(w, op_ledger_results_settle(w->ledger, rows, ROWS, &w->err));
    assert_ok(w, op_ledger_commit(w->ledger, &w->err));
    for (int i = 0; i < ROWS; i++) {
        OP_CLEANUP(op_request_release) struct op_request request = {0};
        assert_ok(w, op_ledger_result_get(w->ledger, batch, rows[i].request_id, &row, &w->err));
        assert_memory_equal(&row, &rows[i], sizeof(row));
        assert_ok(w, op_ledger_request_get(w->ledger, rows[i].request_id, &request, &w->err));
        assert_int_equal(request.state, OP_REQUEST_DONE);
        assert_int_equal(request.batch_id, batch);
    }
}

static void rolled_back(struct world *w, int64_t batch, int64_t first)
{
    struct op_result_row row;
    OP_CLEANUP(op_request_release) struct op_request request = {0};
    op_ledger_rollback(w->ledger);
    assert_fails(w, op_ledger_result_get(w->ledger, batch, first, &row, &w->err), OP_NOTFOUND,
                 "has no result");
    assert_ok(w, op_ledger_request_get(w->ledger, first, &request, &w->err));
    assert_int_equal(request.state, OP_REQUEST_PACKED);
}

static void nothing_settles_twice(void **state)
{
    struct world *w = *state;
    struct op_result_row rows[ROWS];
    int64_t first = 0, batch = fetched_batch(w, &first);
    make_rows(rows, batch, first);
    /* One that has a result: in a group, and among the single ones. */
    int64_t had[] = {first + 40, first + ROWS - 1};
    for (size_t i = 0; i < OP_COUNT(had); i++) {
        assert_ok(w, op_ledger_begin(w->ledger, &w->err));
        assert_true(add_result(w, batch, had[i], true));
        assert_fails(w, op_ledger_results_settle(w->ledger, rows, ROWS, &w->err), OP_CONFLICT,
                     "has a result already");
        rolled_back(w, batch, first);
    }
}

static void only_members_settle(void **state)
{
    struct world *w = *state;
    struct op_result_row rows[ROWS];
    int64_t first = 0, batch = fetched_batch(w, &first);
    make_rows(rows, batch, first);
    for (int i = 0; i < ROWS; i++)
        rows[i].request_id += 1; /* the last of them is none */
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    assert_fails(w, op_ledger_results_settle(w->ledger, rows, ROWS, &w->err), OP_CONFLICT,
                 "are not in batch");
    rolled_back(w, batch, first);
    make_rows(rows, batch, first);
    rows[9].request_id = first + 20;
    assert_fails(w, op_ledger_results_settle(w->ledger, rows, ROWS, &w->err), OP_INVAL,
                 "consecutive");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(keys_of_members_in_any_order),
        T(good_results_settle_together),
        T(nothing_settles_twice),
        T(only_members_settle),
    };
    return cmocka_run_group_tests_name("ledger many", tests, NULL, NULL);
}
