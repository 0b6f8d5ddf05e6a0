/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: what ledger.h says of each call when nothing goes wrong: rows come back as they were
 *            stored, walks are in order and complete, ids count on, transactions hold or vanish.
 * Oracle:    the values put in, and counts written down in the tests.
 */
#include <pthread.h>

#include "support.h"

static void lanes_are_found_again(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *provider, *url, *print;
        bool same;
    } rows[] = {{"anthropic", "https://x", "ab12", true},
                {"openai", "https://x", "ab12", false},
                {"anthropic", "https://y", "ab12", false},
                {"anthropic", "https://x", "cd34", false}};
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        OP_CLEANUP(op_lane_row_release) struct op_lane_row lane = {0};
        assert_ok(w, op_ledger_lane(w->ledger, rows[i].provider, rows[i].url, rows[i].print,
                                    &lane, &w->err));
        assert_int_equal(lane.id == w->lane, rows[i].same);
        assert_string_equal(lane.provider, rows[i].provider);
        assert_string_equal(lane.reason, "");
    }
    assert_ok(w, op_ledger_lane_pause(w->ledger, w->lane, INT64_MAX, "no credit", &w->err));
    reopen(w);
    OP_CLEANUP(op_lane_row_release) struct op_lane_row lane = {0};
    assert_ok(w, op_ledger_lane(w->ledger, "anthropic", "https://x", "ab12", &lane, &w->err));
    assert_true(lane.paused_until_ms == INT64_MAX);
    assert_string_equal(lane.reason, "no credit");
    assert_fails(w, op_ledger_lane_pause(w->ledger, 99, 0, "", &w->err), OP_NOTFOUND, "99");
}

static enum op_rc count_lane(void *arg, const struct op_lane_row *row, struct op_err *err)
{
    (void)row;
    (void)err;
    return ++*(int *)arg == 2 ? OP_STOPPED : OP_OK;
}

static void a_walk_ends_with_the_code_of_its_function(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 5; i++) {
        char url[8];
        snprintf(url, sizeof(url), "u%d", i);
        OP_CLEANUP(op_lane_row_release) struct op_lane_row lane = {0};
        assert_ok(w, op_ledger_lane(w->ledger, "p", url, "f", &lane, &w->err));
    }
    int count = 0;
    assert_int_equal(op_ledger_lanes(w->ledger, count_lane, &count, &w->err), OP_STOPPED);
    assert_int_equal(count, 2);
}

static enum op_rc take_job(void *arg, const struct op_job *job, struct op_err *err)
{
    (void)err;
    struct ids *ids = arg;
    ids->id[ids->count++] = job->id;
    return OP_OK;
}

static void jobs_move_and_count(void **state)
{
    struct world *w = *state;
    int64_t second = add_job(w, "other"), found = 0;
    assert_ok(w, op_ledger_job_open(w->ledger, "same", &found, &w->err));
    assert_true(found == w->job);
    assert_ok(w, op_ledger_job_go(w->ledger, w->job, OP_JOB_PLANNING, OP_JOB_FAILED,
                                  "bad input", &w->err));
    assert_int_equal(op_ledger_job_open(w->ledger, "same", &found, &w->err), OP_NOTFOUND);
    assert_int_equal(w->err.rc, OP_OK);
    struct ids all = {0}, open = {0};
    assert_ok(w, op_ledger_jobs(w->ledger, false, take_job, &all, &w->err));
    assert_ok(w, op_ledger_jobs(w->ledger, true, take_job, &open, &w->err));
    assert_int_equal(all.count, 2);
    assert_true(all.id[0] == second && all.id[1] == w->job);
    assert_int_equal(open.count, 1);
    assert_true(open.id[0] == second);

    struct op_job_counts delta = {
        .records = 3, .spent_microusd = 5, .reserved_microusd = -2, .usage = {{1, 2, 3, 4, 5}}};
    assert_ok(w, op_ledger_job_count(w->ledger, second, &delta, &w->err));
    assert_ok(w, op_ledger_job_count(w->ledger, second, &delta, &w->err));
    assert_ok(w, op_ledger_job_set(w->ledger, second, 1000, 2, &w->err));
    assert_ok(w, op_ledger_job_reason(w->ledger, second, "waits", &w->err));
    reopen(w);
    OP_CLEANUP(op_job_release) struct op_job job = {0};
    assert_ok(w, op_ledger_job_get(w->ledger, second, &job, &w->err));
    assert_true(job.counts.records == 6 && job.counts.spent_microusd == 10);
    assert_true(job.counts.reserved_microusd == -4 && job.counts.skipped == 0);
    for (int i = 0; i < OP_TOKEN_KIND_COUNT; i++)
        assert_true(job.counts.usage.tokens[i] == 2 * (i + 1));
    assert_true(job.max_cost_microusd == 1000 && job.round == 2 && job.ended_ms == 0);
    assert_string_equal(job.reason, "waits");
    assert_string_equal(job.identity, "other");
    op_job_release(&job);
    assert_ok(w, op_ledger_job_get(w->ledger, w->job, &job, &w->err));
    assert_true(job.ended_ms > 0 && job.state == OP_JOB_FAILED);
    assert_string_equal(job.reason, "bad input");
    assert_fails(w, op_ledger_job_get(w->ledger, 77, &job, &w->err), OP_NOTFOUND, "77");
}

static void definitions_are_kept_as_bytes(void **state)
{
    struct world *w = *state;
    static const char bytes[] = "a\0b\xff";
    struct op_str text = {bytes, sizeof(bytes)};
    assert_ok(w, op_ledger_definition_put(w->ledger, "h", text, &w->err));
    assert_ok(w, op_ledger_definition_put(w->ledger, "h", text, &w->err));
    OP_CLEANUP(op_mem_freep) char *found = NULL;
    size_t len = 0;
    assert_ok(w, op_ledger_definition_get(w->ledger, "h", &found, &len, &w->err));
    assert_int_equal(len, sizeof(bytes));
    assert_memory_equal(found, bytes, len);
    char *none = NULL;
    assert_fails(w, op_ledger_definition_get(w->ledger, "x", &none, &len, &w->err), OP_NOTFOUND,
                 "x");
}

static void records_are_unique_in_a_job(void **state)
{
    struct world *w = *state;
    int64_t next = op_ledger_next_record(w->ledger), id = 0;
    assert_true(add_record(w, w->job, "k") == next);
    assert_int_equal(
        op_ledger_record_add(w->ledger, w->job, OP_STR("k"), OP_STR_NULL, &id, &w->err),
        OP_CONFLICT);
    assert_true(id == next && w->err.rc == OP_OK);
    assert_true(op_ledger_next_record(w->ledger) == next + 1);
    int64_t other = add_job(w, "other");
    assert_true(add_record(w, other, "k") == next + 1);
    assert_ok(w, op_ledger_record_find(w->ledger, other, OP_STR("k"), &id, &w->err));
    assert_true(id == next + 1);
    assert_int_equal(op_ledger_record_find(w->ledger, other, OP_STR("z"), &id, &w->err),
                     OP_NOTFOUND);
    assert_int_equal(w->err.rc, OP_OK);

    static const char odd[] = "a\0b\xff\n";
    assert_ok(w, op_ledger_record_add(w->ledger, other, (struct op_str){odd, sizeof(odd)},
                                      OP_STR_NULL, &id, &w->err));
    struct op_buf key, data;
    op_buf_init(&key, 100);
    op_buf_init(&data, 100);
    assert_ok(w, op_ledger_record_data(w->ledger, id, &key, &data, &w->err));
    assert_int_equal(key.len, sizeof(odd));
    assert_memory_equal(key.ptr, odd, sizeof(odd));
    assert_int_equal(data.len, 0);
    assert_ok(w, op_ledger_record_data(w->ledger, next, &key, &data, &w->err));
    assert_string_equal(data.ptr, "{\"a\":1}");
    op_buf_release(&key);
    op_buf_release(&data);
    assert_fails(w,
                 op_ledger_record_add(w->ledger, other, OP_STR_NULL, OP_STR_NULL, &id, &w->err),
                 OP_INVAL, "no key");
}

static void a_request_comes_back_as_it_was_added(void **state)
{
    struct world *w = *state;
    int64_t record = add_record(w, w->job, "k");
    char reason[] = "because";
    struct op_request in = {.id = op_ledger_next_request(w->ledger),
                            .job_id = w->job,
                            .record_id = record,
                            .name = 3,
                            .state = OP_REQUEST_PACKED,
                            .batch_id = 4,
                            .same_as = 0,
                            .buy_no = 2,
                            .reask = OP_REASK_TRUNCATED,
                            .payload = {4, INT64_C(1) << 40, 99},
                            .reason = reason};
    memset(in.hash, 0xa5, sizeof(in.hash));
    assert_ok(w, op_ledger_request_add(w->ledger, &in, &w->err));
    assert_fails(w, op_ledger_request_add(w->ledger, &in, &w->err), OP_INVAL, "next");
    reopen(w);
    OP_CLEANUP(op_request_release) struct op_request out = {0};
    assert_ok(w, op_ledger_request_get(w->ledger, in.id, &out, &w->err));
    assert_true(out.id == in.id && out.job_id == in.job_id && out.record_id == record);
    assert_true(out.name == 3 && out.state == OP_REQUEST_PACKED && out.batch_id == 4);
    assert_true(out.buy_no == 2 && out.reask == OP_REASK_TRUNCATED && out.same_as == 0);
    assert_memory_equal(&out.payload, &in.payload, sizeof(in.payload));
    assert_memory_equal(out.hash, in.hash, sizeof(in.hash));
    assert_string_equal(out.reason, "because");
    assert_true(op_ledger_next_request(w->ledger) == in.id + 1);
}

/* Every state, more than one page of it, of two jobs that alternate. */
static void walks_find_every_request_of_a_state(void **state)
{
    struct world *w = *state;
    int64_t other = add_job(w, "other"), record = add_record(w, w->job, "k");
    enum { EACH = 300 };
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    for (int i = 0; i < EACH * OP_REQUEST_STATE_COUNT; i++) {
        enum op_request_state s = (enum op_request_state)(i % OP_REQUEST_STATE_COUNT);
        add_request(w, i % 4 == 3 ? other : w->job, record, s, s == OP_REQUEST_PACKED ? 1 : 0);
    }
    add_batch(w, w->job, 1, EACH * OP_REQUEST_STATE_COUNT, EACH);
    assert_ok(w, op_ledger_commit(w->ledger, &w->err));
    for (int s = 0; s < OP_REQUEST_STATE_COUNT; s++) {
        struct ids ids = {0}, rest = {0};
        assert_ok(w, op_ledger_requests(w->ledger, w->job, (enum op_request_state)s, 0,
                                        take_request, &ids, &w->err));
        size_t expected = 0;
        for (int64_t i = 0; i < EACH * OP_REQUEST_STATE_COUNT; i++) {
            if (i % OP_REQUEST_STATE_COUNT != s || i % 4 == 3)
                continue;
            assert_true(ids.id[expected] == i + 1);
            expected++;
        }
        assert_int_equal(ids.count, expected);
        assert_ok(w, op_ledger_requests(w->ledger, w->job, (enum op_request_state)s, ids.id[9],
                                        take_request, &rest, &w->err));
        assert_int_equal(rest.count, expected - 10);
        bool has = false;
        assert_ok(
            w, op_ledger_job_has(w->ledger, w->job, (enum op_request_state)s, &has, &w->err));
        assert_true(has);
        int64_t empty = add_job(w, "empty");
        assert_ok(w,
                  op_ledger_job_has(w->ledger, empty, (enum op_request_state)s, &has, &w->err));
        assert_false(has);
    }
}

static enum op_rc fail_it(void *arg, const struct op_request *r, struct op_err *err)
{
    return op_ledger_request_go(arg, r, 0, OP_REQUEST_FAILED, err);
}

static void a_walk_survives_moving_its_rows(void **state)
{
    struct world *w = *state;
    int64_t record = add_record(w, w->job, "k");
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    for (int i = 0; i < 600; i++)
        add_request(w, w->job, record, OP_REQUEST_NEW, 0);
    assert_ok(w, op_ledger_requests(w->ledger, w->job, OP_REQUEST_NEW, 0, fail_it, w->ledger,
                                    &w->err));
    assert_ok(w, op_ledger_commit(w->ledger, &w->err));
    bool has = true;
    assert_ok(w, op_ledger_job_has(w->ledger, w->job, OP_REQUEST_NEW, &has, &w->err));
    assert_false(has);
    struct ids ids = {0};
    assert_ok(w, op_ledger_requests(w->ledger, w->job, OP_REQUEST_FAILED, 0, take_request, &ids,
                                    &w->err));
    assert_int_equal(ids.count, 600);
}

/* Requests are looked up by record without an index. Whatever the order in which records and
 * requests were added, each record must get exactly its own. */
static void requests_of_a_record_in_any_order(void **state)
{
    struct world *w = *state;
    uint32_t seed = 12345;
    enum { RECORDS = 120, REQUESTS = 600 };
    static int64_t of[REQUESTS + 1];
    int64_t records = 0;
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    for (int i = 0; i < REQUESTS; i++) {
        seed = seed * 1664525 + 1013904223;
        char key[16];
        while (records < RECORDS && (records == 0 || seed >> 24 < 60)) {
            snprintf(key, sizeof(key), "r%lld", (long long)++records);
            add_record(w, w->job, key);
            seed = seed * 1664525 + 1013904223;
        }
        /* Mostly the newest, sometimes any older one, sometimes none (a cache stub). */
        int64_t record = seed >> 28 < 11   ? records
                         : seed >> 28 < 15 ? 1 + seed % (uint32_t)records
                                           : 0;
        of[add_request(w, w->job, record, OP_REQUEST_NEW, 0)] = record;
        if (i == REQUESTS / 2) {
            assert_ok(w, op_ledger_commit(w->ledger, &w->err));
            reopen(w);
            assert_ok(w, op_ledger_begin(w->ledger, &w->err));
        }
    }
    for (int64_t record = 1; record <= records; record++) {
        struct ids ids = {0};
        assert_ok(w, op_ledger_record_requests(w->ledger, record, take_request, &ids, &w->err));
        size_t at = 0;
        for (int64_t id = 1; id <= REQUESTS; id++) {
            if (of[id] == record)
                assert_true(at < ids.count && ids.id[at++] == id);
        }
        assert_int_equal(at, ids.count);
    }
    /* All records first, then their requests: the search has to go far. */
    int64_t first = 0;
    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof(key), "s%d", i);
        int64_t id = add_record(w, w->job, key);
        first = first ? first : id;
    }
    int64_t base = op_ledger_next_request(w->ledger);
    for (int i = 0; i < 400; i++)
        add_request(w, w->job, first + i / 2, OP_REQUEST_NEW, 0);
    assert_ok(w, op_ledger_commit(w->ledger, &w->err));
    for (int i = 0; i < 200; i++) {
        struct ids ids = {0};
        assert_ok(w,
                  op_ledger_record_requests(w->ledger, first + i, take_request, &ids, &w->err));
        assert_int_equal(ids.count, 2);
        assert_true(ids.id[0] == base + 2 * i);
    }
    assert_fails(w, op_ledger_record_requests(w->ledger, 9999, take_request, NULL, &w->err),
                 OP_NOTFOUND, "9999");
}

static void followers_wait_for_one(void **state)
{
    struct world *w = *state;
    int64_t record = add_record(w, w->job, "k");
    int64_t first = add_request(w, w->job, record, OP_REQUEST_PACKED, 1);
    for (int i = 0; i < 3; i++) {
        struct op_request r = {.id = op_ledger_next_request(w->ledger),
                               .job_id = w->job,
                               .record_id = record,
                               .state = OP_REQUEST_WAITING,
                               .same_as = i == 1 ? 999 : first};
        assert_ok(w, op_ledger_request_add(w->ledger, &r, &w->err));
    }
    struct ids ids = {0};
    assert_ok(w, op_ledger_followers(w->ledger, first, take_request, &ids, &w->err));
    assert_int_equal(ids.count, 2);
    struct op_request done = {.id = ids.id[0], .state = OP_REQUEST_WAITING, .same_as = first};
    assert_ok(w, op_ledger_request_go(w->ledger, &done, 0, OP_REQUEST_DONE, &w->err));
    ids.count = 0;
    assert_ok(w, op_ledger_followers(w->ledger, first, take_request, &ids, &w->err));
    assert_int_equal(ids.count, 1);
}

static enum op_rc check_entry(void *arg, const struct op_journal_entry *entry,
                              struct op_err *err)
{
    static const char *const from[] = {"", "built", "sending"};
    static const char *const to[] = {"built", "sending", "accepted"};
    (void)err;
    int *n = arg;
    assert_string_equal(entry->from, from[*n]);
    assert_string_equal(entry->to, to[*n]);
    assert_true(entry->epoch == *n && entry->at_ms > 0);
    assert_string_equal(entry->evidence, *n == 0 ? "" : *n == 1 ? "gate" : "{\"id\":1}");
    ++*n;
    return OP_OK;
}

static void a_batch_lives_and_its_journal_tells(void **state)
{
    struct world *w = *state;
    int64_t id = add_packed(w, w->job, 3);
    OP_CLEANUP(op_batch_release) struct op_batch b = {0};
    assert_ok(w, op_ledger_batch_get(w->ledger, id, &b, &w->err));
    assert_true(b.state == OP_BATCH_BUILT && b.epoch == 0 && b.count == 3 && b.bytes == 100);
    assert_string_equal(b.nonce, "n0000001");
    assert_int_equal(strlen(b.sha256), 64);
    b.intent_ms = 11;
    assert_ok(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_SENDING, "gate", &w->err));
    op_mem_free(b.provider_id);
    b.provider_id = op_mem_strdup("msgbatch_1");
    b.provisional = b.cancel_wanted = true;
    b.usage.tokens[OP_TOKEN_OUTPUT] = 42;
    op_mem_free(b.baseline);
    b.baseline = op_mem_strdup("[\"a\"]");
    assert_ok(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_ACCEPTED, "{\"id\":1}", &w->err));
    b.due_ms = 99;
    assert_ok(w, op_ledger_batch_save(w->ledger, &b, &w->err));
    reopen(w);
    OP_CLEANUP(op_batch_release) struct op_batch again = {0};
    assert_ok(w, op_ledger_batch_get(w->ledger, id, &again, &w->err));
    assert_true(again.state == OP_BATCH_ACCEPTED && again.epoch == 2 && again.due_ms == 99);
    assert_true(again.intent_ms == 11 && again.provisional && again.cancel_wanted);
    assert_false(again.cancel_sent);
    assert_true(again.usage.tokens[OP_TOKEN_OUTPUT] == 42);
    assert_string_equal(again.provider_id, "msgbatch_1");
    assert_string_equal(again.baseline, "[\"a\"]");
    int entries = 0;
    assert_ok(w, op_ledger_journal(w->ledger, id, check_entry, &entries, &w->err));
    assert_int_equal(entries, 3);
    int64_t found = 0;
    assert_ok(w, op_ledger_batch_find(w->ledger, "msgbatch_1", &found, &w->err));
    assert_true(found == id);
    assert_int_equal(op_ledger_batch_find(w->ledger, "", &found, &w->err), OP_NOTFOUND);
    assert_int_equal(op_ledger_batch_find(w->ledger, "x", &found, &w->err), OP_NOTFOUND);
    assert_int_equal(w->err.rc, OP_OK);
}

static void batches_are_filtered_and_in_order(void **state)
{
    struct world *w = *state;
    int64_t other = add_job(w, "other");
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    for (int i = 0; i < 80; i++)
        add_packed(w, i % 2 ? other : w->job, 1);
    for (int64_t id = 1; id <= 80; id += 4)
        go(w, id, OP_BATCH_DROPPED);
    for (int64_t id = 2; id <= 80; id += 4)
        go(w, id, OP_BATCH_SENDING);
    assert_ok(w, op_ledger_commit(w->ledger, &w->err));
    static const struct {
        int64_t job; /* 1 or 2 */
        uint32_t states;
        size_t count;
    } rows[] = {
        {0, 0, 80},
        {1, 0, 40},
        {0, 1U << OP_BATCH_DROPPED, 20},
        {1, 1U << OP_BATCH_DROPPED, 20},
        {2, 1U << OP_BATCH_DROPPED, 0},
        {0, 1U << OP_BATCH_BUILT, 40},
        {2, 1U << OP_BATCH_BUILT | 1U << OP_BATCH_SENDING, 40},
        {0, ~0U & ~(1U << OP_BATCH_DROPPED), 60},
        {0, 1U << OP_BATCH_SEALED, 0},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct op_batch_filter filter = {.job_id = rows[i].job == 1   ? w->job
                                                   : rows[i].job == 2 ? other
                                                                      : 0,
                                         .states = rows[i].states};
        struct ids ids = {0};
        assert_ok(w, op_ledger_batches(w->ledger, &filter, take_batch, &ids, &w->err));
        assert_int_equal(ids.count, rows[i].count);
        for (size_t k = 1; k < ids.count; k++)
            assert_true(ids.id[k - 1] < ids.id[k]);
    }
    struct op_batch_filter lane = {.lane_id = w->lane + 1};
    struct ids none = {0};
    assert_ok(w, op_ledger_batches(w->ledger, &lane, take_batch, &none, &w->err));
    assert_int_equal(none.count, 0);
}

static void members_are_the_packed_ones_of_a_batch(void **state)
{
    struct world *w = *state;
    int64_t record = add_record(w, w->job, "k");
    /* Two batches whose ids interleave, as with two models. */
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    for (int i = 0; i < 700; i++)
        add_request(w, w->job, record, OP_REQUEST_PACKED, 1 + i % 2);
    assert_ok(w, op_ledger_commit(w->ledger, &w->err));
    add_batch(w, w->job, 1, 699, 350);
    add_batch(w, w->job, 2, 700, 350);
    go_up_to(w, 1, OP_BATCH_FETCHED);
    add_result(w, 1, 3, true);
    struct op_request r = {.id = 3, .state = OP_REQUEST_PACKED, .batch_id = 1};
    assert_ok(w, op_ledger_request_go(w->ledger, &r, 1, OP_REQUEST_DONE, &w->err));
    struct ids ids = {0};
    assert_ok(w, op_ledger_batch_requests(w->ledger, 1, take_request, &ids, &w->err));
    assert_int_equal(ids.count, 349);
    assert_true(ids.id[0] == 1 && ids.id[1] == 5 && ids.id[348] == 699);
    OP_CLEANUP(op_mem_freep) struct op_member *members = NULL;
    size_t count = 0;
    assert_ok(w, op_ledger_batch_members(w->ledger, 2, &members, &count, &w->err));
    assert_int_equal(count, 350);
    for (size_t i = 0; i < count; i++)
        assert_true(members[i].request_id == (int64_t)(2 + 2 * i) &&
                    members[i].record_id == record);
}

static enum op_rc take_result(void *arg, const struct op_result_row *row, struct op_err *err)
{
    (void)err;
    struct ids *ids = arg;
    ids->id[ids->count++] = row->batch_id;
    return OP_OK;
}

static void results_are_inserted_once(void **state)
{
    struct world *w = *state;
    struct op_result_row in = {.batch_id = 9,
                               .request_id = INT64_C(1) << 35,
                               .class_ = OP_RESULT_TRUNCATED,
                               .valid = true,
                               .part = 2,
                               .offset = INT64_C(1) << 41,
                               .len = 77,
                               .microusd = 5,
                               .usage = {{1, 2, 3, 4, 5}}};
    bool inserted = false;
    assert_ok(w, op_ledger_result_add(w->ledger, &in, &inserted, &w->err));
    assert_true(inserted);
    struct op_result_row changed = in;
    changed.microusd = 999;
    assert_ok(w, op_ledger_result_add(w->ledger, &changed, &inserted, &w->err));
    assert_false(inserted);
    struct op_result_row out = {0};
    assert_ok(w, op_ledger_result_get(w->ledger, 9, in.request_id, &out, &w->err));
    assert_memory_equal(&out.usage, &in.usage, sizeof(in.usage));
    assert_true(out.class_ == in.class_ && out.valid && out.part == 2 && out.microusd == 5);
    assert_true(out.offset == in.offset && out.len == 77 && out.request_id == in.request_id);
    assert_fails(w, op_ledger_result_get(w->ledger, 8, in.request_id, &out, &w->err),
                 OP_NOTFOUND, "batch 8");

    static const int64_t batches[] = {300, 2, 41};
    for (size_t i = 0; i < OP_COUNT(batches); i++)
        add_result(w, batches[i], 50, false);
    add_result(w, 1, 51, false);
    add_result(w, INT64_C(1) << 40, 49, false);
    struct ids ids = {0};
    assert_ok(w, op_ledger_request_results(w->ledger, 50, take_result, &ids, &w->err));
    assert_int_equal(ids.count, 3);
    assert_true(ids.id[0] == 2 && ids.id[1] == 41 && ids.id[2] == 300);
}

static void result_files_are_kept(void **state)
{
    struct world *w = *state;
    char name[] = "result/1-0-abc.jsonl";
    struct op_result_file in = {.batch_id = 1, .part = 0, .file = name, .bytes = 5};
    memset(in.sha256, 'f', 64);
    assert_ok(w, op_ledger_result_file_add(w->ledger, &in, &w->err));
    assert_fails(w, op_ledger_result_file_add(w->ledger, &in, &w->err), OP_CONFLICT, "UNIQUE");
    OP_CLEANUP(op_result_file_release) struct op_result_file out = {0};
    assert_ok(w, op_ledger_result_file_get(w->ledger, 1, 0, &out, &w->err));
    assert_string_equal(out.file, name);
    assert_string_equal(out.sha256, in.sha256);
    assert_true(out.bytes == 5);
    assert_fails(w, op_ledger_result_file_get(w->ledger, 1, 1, &out, &w->err), OP_NOTFOUND,
                 "1");
}

static enum op_rc take_note(void *arg, const struct op_note *note, struct op_err *err)
{
    (void)err;
    op_buf_addf(arg, "%lld/%lld/%lld %s:%s;", (long long)note->job_id,
                (long long)note->batch_id, (long long)note->request_id, note->kind, note->text);
    return OP_OK;
}

static void notes_are_filtered(void **state)
{
    struct world *w = *state;
    static const struct {
        int64_t job, batch, request;
        const char *kind, *text;
    } notes[] = {{1, 0, 0, "error", "a"}, {1, 2, 3, "schema", "b"}, {2, 2, 4, "check", "c"}};
    for (size_t i = 0; i < OP_COUNT(notes); i++)
        assert_ok(w,
                  op_ledger_note_add(w->ledger, notes[i].job, notes[i].batch, notes[i].request,
                                     notes[i].kind, op_str_from(notes[i].text), &w->err));
    static const struct {
        int64_t job, batch, request;
        const char *expected;
    } rows[] = {
        {0, 0, 0, "1/0/0 error:a;1/2/3 schema:b;2/2/4 check:c;"},
        {1, 0, 0, "1/0/0 error:a;1/2/3 schema:b;"},
        {0, 2, 0, "1/2/3 schema:b;2/2/4 check:c;"},
        {0, 0, 4, "2/2/4 check:c;"},
        {2, 2, 3, ""},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct op_buf text;
        op_buf_init(&text, 1000);
        assert_ok(w, op_ledger_notes(w->ledger, rows[i].job, rows[i].batch, rows[i].request,
                                     take_note, &text, &w->err));
        assert_string_equal(text.ptr, rows[i].expected);
        op_buf_release(&text);
    }
}

static void outboxes_begin_empty(void **state)
{
    struct world *w = *state;
    struct op_outbox box = {.committed = 9};
    assert_ok(w, op_ledger_outbox_get(w->ledger, w->job, 1, &box, &w->err));
    assert_true(box.committed == 0 && box.delivered == 0 && box.rows == 0);
    struct op_outbox set = {w->job, 1, 100, 40, 7};
    assert_ok(w, op_ledger_outbox_set(w->ledger, &set, &w->err));
    set.delivered = 100;
    assert_ok(w, op_ledger_outbox_set(w->ledger, &set, &w->err));
    assert_ok(w, op_ledger_outbox_get(w->ledger, w->job, 1, &box, &w->err));
    assert_true(box.job_id == w->job && box.output == 1 && box.rows == 7);
    assert_true(box.committed == 100 && box.delivered == 100);
    set.delivered = 101;
    assert_fails(w, op_ledger_outbox_set(w->ledger, &set, &w->err), OP_INVAL, "101");
}

static void a_rollback_gives_the_ids_back(void **state)
{
    struct world *w = *state;
    int64_t record = op_ledger_next_record(w->ledger), batch = op_ledger_next_batch(w->ledger);
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    add_packed(w, w->job, 5);
    assert_true(op_ledger_next_record(w->ledger) == record + 5);
    op_ledger_rollback(w->ledger);
    op_ledger_rollback(w->ledger);
    assert_true(op_ledger_next_record(w->ledger) == record);
    assert_true(op_ledger_next_batch(w->ledger) == batch);
    assert_true(op_ledger_next_request(w->ledger) == 1);
    int64_t id = 0;
    assert_int_equal(op_ledger_record_find(w->ledger, w->job, OP_STR("k1"), &id, &w->err),
                     OP_NOTFOUND);
    add_packed(w, w->job, 5);
    assert_fails(w, op_ledger_commit(w->ledger, &w->err), OP_INVAL, "no transaction");
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    assert_fails(w, op_ledger_begin(w->ledger, &w->err), OP_INVAL, "already open");
    assert_ok(w, op_ledger_commit(w->ledger, &w->err));
}

static void note_file(void *arg, const char *file)
{
    op_buf_addz(arg, file);
    op_buf_addc(arg, ';');
}

static void a_plan_can_be_undone(void **state)
{
    struct world *w = *state;
    add_packed(w, w->job, 2); /* round 1 */
    assert_ok(
        w, op_ledger_job_go(w->ledger, w->job, OP_JOB_PLANNING, OP_JOB_RUNNING, NULL, &w->err));
    assert_fails(w, op_ledger_plan_reset(w->ledger, w->job, NULL, NULL, &w->err), OP_CONFLICT,
                 "not planning");
    assert_ok(w, op_ledger_job_set(w->ledger, w->job, 0, 2, &w->err));
    assert_ok(
        w, op_ledger_job_go(w->ledger, w->job, OP_JOB_RUNNING, OP_JOB_PLANNING, NULL, &w->err));
    int64_t other = add_job(w, "other");
    int64_t lo = op_ledger_next_request(w->ledger);
    add_packed(w, w->job, 3);
    int64_t kept = add_packed(w, other, 1);
    /* Somebody else waits for one of those, and the index knows it. */
    struct op_request follower = {.id = op_ledger_next_request(w->ledger),
                                  .job_id = other,
                                  .record_id = 6,
                                  .state = OP_REQUEST_WAITING,
                                  .same_as = lo};
    assert_ok(w, op_ledger_request_add(w->ledger, &follower, &w->err));
    uint8_t hash[OP_HASH_LEN] = {0};
    memcpy(hash, &lo, sizeof(lo));
    assert_ok(w, op_ledger_asked_put(w->ledger, hash, lo, &w->err));
    assert_ok(w, op_ledger_note_add(w->ledger, w->job, 0, lo, "warning", OP_STR("x"), &w->err));
    int64_t next_record = op_ledger_next_record(w->ledger);
    int64_t next_batch = op_ledger_next_batch(w->ledger);

    struct op_buf files;
    op_buf_init(&files, 1000);
    assert_ok(w, op_ledger_plan_reset(w->ledger, w->job, note_file, &files, &w->err));
    assert_string_equal(files.ptr, "payload/1-aabbccddeeff.json;");
    op_buf_release(&files);
    reopen(w);
    assert_true(op_ledger_next_record(w->ledger) == next_record);
    assert_true(op_ledger_next_batch(w->ledger) == next_batch);
    OP_CLEANUP(op_request_release) struct op_request found = {0};
    assert_fails(w, op_ledger_request_get(w->ledger, lo, &found, &w->err), OP_NOTFOUND,
                 "no request");
    assert_ok(w, op_ledger_request_get(w->ledger, follower.id, &found, &w->err));
    assert_true(found.state == OP_REQUEST_NEW && found.same_as == 0);
    int64_t id = 0;
    /* What the index still says leads to nobody, as above: ids do not come back. */
    assert_ok(w, op_ledger_asked_find(w->ledger, hash, &id, &w->err));
    assert_true(id == lo);
    assert_ok(w, op_ledger_record_find(w->ledger, w->job, OP_STR("k1"), &id, &w->err));
    assert_int_equal(op_ledger_record_find(w->ledger, w->job, OP_STR("k3"), &id, &w->err),
                     OP_NOTFOUND);
    OP_CLEANUP(op_batch_release) struct op_batch batch = {0};
    assert_ok(w, op_ledger_batch_get(w->ledger, kept, &batch, &w->err));
    struct op_buf report;
    op_buf_init(&report, 10000);
    audit(w, &report);
    assert_null(strstr(report.ptr, "journal"));
    assert_null(strstr(report.ptr, "packed into"));
    op_buf_release(&report);
}

struct reader {
    struct op_ledger *ledger;
    int64_t records;
    int wrong;
};

static void *read_records(void *arg)
{
    struct reader *r = arg;
    struct op_buf key, data;
    op_buf_init(&key, 1000);
    op_buf_init(&data, 1000);
    for (int64_t i = 0; i < 20000; i++) {
        struct op_err err = OP_ERR_INIT;
        char expected[16];
        int64_t id = 1 + i * 7919 % r->records;
        op_buf_clear(&key);
        op_buf_clear(&data);
        snprintf(expected, sizeof(expected), "k%lld", (long long)id);
        enum op_rc rc = op_ledger_record_data(r->ledger, id, &key, &data, &err);
        r->wrong += rc || strcmp(key.ptr, expected) != 0 || strcmp(data.ptr, "{\"a\":1}") != 0;
    }
    op_buf_release(&key);
    op_buf_release(&data);
    return NULL;
}

/* Apply workers read records while the writer begins, writes, commits and rolls back. */
static void workers_read_beside_the_writer(void **state)
{
    struct world *w = *state;
    add_packed(w, w->job, 200);
    struct reader readers[2] = {{w->ledger, 200, 0}, {w->ledger, 200, 0}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_records, &readers[i]), 0);
    for (int round = 0; round < 60; round++) {
        assert_ok(w, op_ledger_begin(w->ledger, &w->err));
        add_packed(w, w->job, 20);
        if (round % 3)
            assert_ok(w, op_ledger_commit(w->ledger, &w->err));
        else
            op_ledger_rollback(w->ledger);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(readers[i].wrong, 0);
    }
}

static void a_plan_that_was_sent_stays(void **state)
{
    struct world *w = *state;
    int64_t batch = add_packed(w, w->job, 2), id = 0;
    go(w, batch, OP_BATCH_SENDING);
    assert_fails(w, op_ledger_plan_reset(w->ledger, w->job, NULL, NULL, &w->err), OP_CONFLICT,
                 "may have been sent");
    assert_ok(w, op_ledger_record_find(w->ledger, w->job, OP_STR("k1"), &id, &w->err));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(lanes_are_found_again),
        T(a_walk_ends_with_the_code_of_its_function),
        T(jobs_move_and_count),
        T(definitions_are_kept_as_bytes),
        T(records_are_unique_in_a_job),
        T(a_request_comes_back_as_it_was_added),
        T(walks_find_every_request_of_a_state),
        T(a_walk_survives_moving_its_rows),
        T(requests_of_a_record_in_any_order),
        T(followers_wait_for_one),
        T(a_batch_lives_and_its_journal_tells),
        T(batches_are_filtered_and_in_order),
        T(members_are_the_packed_ones_of_a_batch),
        T(results_are_inserted_once),
        T(result_files_are_kept),
        T(notes_are_filtered),
        T(outboxes_begin_empty),
        T(a_rollback_gives_the_ids_back),
        T(a_plan_can_be_undone),
        T(a_plan_that_was_sent_stays),
        T(workers_read_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
