/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: what a lane's queues hold is counted by the states of batches: from SENDING to the move
 *            that ends them, per model, over all jobs; creates within a time; what was learned of a
 *            queue and of estimates is kept; ids of batches can be taken before they are added.
 * Oracle:    sums over the batches the test made, written down beside every move.
 */
#include "ledger/sqlite/sqlite.h"
#include "support.h"

/* A job's batch of one request, of a model and so many tokens. */
static int64_t make(struct world *w, int64_t job, const char *model_name, int64_t tokens)
{
    int64_t id = op_ledger_take_batch(w->ledger), lo = op_ledger_next_request(w->ledger);
    char key[32];
    snprintf(key, sizeof(key), "k%lld", (long long)op_ledger_next_record(w->ledger));
    add_request(w, job, add_record(w, job, key), OP_REQUEST_PACKED, id);
    char file[] = "payload/1-aabbccddeeff.json", endpoint[] = "responses";
    OP_CLEANUP(op_mem_freep) char *model = op_mem_strdup(model_name);
    struct op_batch b = {.id = id,
                         .job_id = job,
                         .lane_id = w->lane,
                         .count = 1,
                         .request_lo = lo,
                         .request_hi = lo,
                         .file = file,
                         .bytes = 100,
                         .model = model,
                         .endpoint = endpoint,
                         .tokens = tokens};
    snprintf(b.nonce, sizeof(b.nonce), "q%07lld", (long long)id);
    memset(b.sha256, 'a', 64);
    assert_ok(w, op_ledger_batch_add(w->ledger, &b, &w->err));
    return id;
}

static void send_at(struct world *w, int64_t batch, int64_t ms)
{
    OP_CLEANUP(op_batch_release) struct op_batch b = {0};
    assert_ok(w, op_ledger_batch_get(w->ledger, batch, &b, &w->err));
    b.sent_ms = ms;
    assert_ok(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_SENDING, "", &w->err));
}

static struct op_queue_use use(struct world *w, const char *model, int64_t job, int64_t since)
{
    struct op_queue_use ret;
    assert_ok(w, op_ledger_queue_use(w->ledger, w->lane, model, job, since, &ret, &w->err));
    return ret;
}

static void a_batch_holds_its_tokens_while_it_is_out(void **state)
{
    struct world *w = *state;
    int64_t other = add_job(w, "other");
    int64_t a = make(w, w->job, "m", 100), b = make(w, w->job, "m", 30);
    int64_t c = make(w, other, "m", 7), d = make(w, other, "n", 1);
    struct op_queue_use u = use(w, "m", w->job, 0);
    assert_true(u.batches == 0 && u.tokens == 0 && u.lane_batches == 0 && u.creates == 0);
    send_at(w, a, 1000);
    send_at(w, b, 2000);
    u = use(w, "m", w->job, 0);
    assert_true(u.batches == 2 && u.requests == 2 && u.tokens == 130 && u.lane_batches == 2);
    assert_true(u.creates == 2 && u.first_create_ms == 1000 && u.other_job == 0);
    send_at(w, c, 3000);
    send_at(w, d, 4000);
    u = use(w, "m", w->job, 1000);
    assert_true(u.batches == 3 && u.tokens == 137 && u.lane_batches == 4);
    assert_true(u.creates == 3 && u.first_create_ms == 2000 && u.other_job == other);
    u = use(w, "n", w->job, 4000);
    assert_true(u.batches == 1 && u.tokens == 1 && u.creates == 0 && u.first_create_ms == 0);
    u = use(w, "m", other, 0);
    assert_true(u.other_job == w->job);
    /* Doubtful and accepted ones are out, too; refused and ended ones are not. */
    go(w, a, OP_BATCH_AMBIGUOUS);
    go(w, b, OP_BATCH_REJECTED);
    go(w, c, OP_BATCH_ACCEPTED);
    u = use(w, "m", w->job, 0);
    assert_true(u.batches == 2 && u.tokens == 107);
    go(w, a, OP_BATCH_ACCEPTED);
    go(w, a, OP_BATCH_ENDED);
    go(w, c, OP_BATCH_REJECTED);
    u = use(w, "m", w->job, 0);
    assert_true(u.batches == 0 && u.tokens == 0 && u.lane_batches == 1 && u.creates == 4);
    /* It is all in the rows: a new process counts the same. */
    reopen(w);
    u = use(w, "n", w->job, 0);
    assert_true(u.batches == 1 && u.tokens == 1 && u.lane_batches == 1);
}

/* A list that is asked one by one is accepted as a batch is, and takes no room of any. */
static void a_realtime_list_is_in_no_queue(void **state)
{
    struct world *w = *state;
    int64_t a = make(w, w->job, "m", 100), b = make(w, w->job, "m", 30);
    OP_CLEANUP(op_batch_release) struct op_batch list = {0};
    assert_ok(w, op_ledger_batch_get(w->ledger, a, &list, &w->err));
    op_mem_free(list.results_url);
    list.results_url = op_mem_strdup(OP_RESULTS_IN_SPOOL "realtime");
    assert_ok(w, op_ledger_batch_go(w->ledger, &list, OP_BATCH_SENDING, "", &w->err));
    assert_ok(w, op_ledger_batch_go(w->ledger, &list, OP_BATCH_ACCEPTED, "", &w->err));
    send_at(w, b, 2000);
    struct op_queue_use u = use(w, "m", 0, 0);
    assert_true(u.batches == 1 && u.tokens == 30 && u.lane_batches == 1 && u.creates == 1);
}

static enum op_rc count_one(void *arg, const struct op_queue_row *row, struct op_err *err)
{
    (void)err;
    OP_CLEANUP(op_mem_freep) char *had = *(char **)arg;
    *(char **)arg = op_mem_printf("%s%lld/%s=%lld ", had, (long long)row->lane_id, row->model,
                                  (long long)row->limit_tokens);
    return OP_OK;
}

static void what_was_learned_is_kept(void **state)
{
    struct world *w = *state;
    OP_CLEANUP(op_queue_row_release) struct op_queue_row row = {0};
    assert_ok(w, op_ledger_queue_get(w->ledger, w->lane, "m", &row, &w->err));
    assert_true(row.limit_tokens == 0 && row.refusals == 0 && !row.named);
    assert_string_equal(row.model, "m");
    row.limit_tokens = 2000000;
    row.named = true;
    row.learned_ms = 5;
    row.hold_until_ms = 6;
    row.refusals = 7;
    op_mem_free(row.reason);
    row.reason = op_mem_strdup("Enqueued token limit");
    assert_ok(w, op_ledger_queue_set(w->ledger, &row, &w->err));
    row.limit_tokens++;
    assert_ok(w, op_ledger_queue_set(w->ledger, &row, &w->err));
    op_queue_row_release(&row);
    assert_ok(w, op_ledger_queue_get(w->ledger, 9, "a", &row, &w->err));
    row.limit_tokens = 3;
    assert_ok(w, op_ledger_queue_set(w->ledger, &row, &w->err));
    op_queue_row_release(&row);
    reopen(w);
    assert_ok(w, op_ledger_queue_get(w->ledger, w->lane, "m", &row, &w->err));
    assert_true(row.limit_tokens == 2000001 && row.named && row.learned_ms == 5);
    assert_true(row.hold_until_ms == 6 && row.refusals == 7);
    assert_string_equal(row.reason, "Enqueued token limit");
    char *all = op_mem_strdup("");
    assert_ok(w, op_ledger_queues(w->ledger, count_one, &all, &w->err));
    assert_string_equal(all, "1/m=2000001 9/a=3 ");
    op_mem_free(all);

    struct op_calibration c;
    assert_ok(w, op_ledger_calibration_get(w->ledger, "p", "m", &c, &w->err));
    assert_true(c.batches == 0);
    op_calibration_add(&c, 100, 90);
    assert_ok(w, op_ledger_calibration_set(w->ledger, "p", "m", &c, &w->err));
    op_calibration_add(&c, 100, 110);
    assert_ok(w, op_ledger_calibration_set(w->ledger, "p", "m", &c, &w->err));
    reopen(w);
    struct op_calibration read = {0};
    assert_ok(w, op_ledger_calibration_get(w->ledger, "p", "m", &read, &w->err));
    assert_memory_equal(&read, &c, sizeof(c));
    assert_ok(w, op_ledger_calibration_get(w->ledger, "q", "m", &read, &w->err));
    assert_true(read.batches == 0);
}

/* Several are filled at once, so they are not added in the order of their ids. */
static void ids_can_be_taken(void **state)
{
    struct world *w = *state;
    int64_t first = op_ledger_take_batch(w->ledger), second = op_ledger_take_batch(w->ledger);
    assert_true(second == first + 1 && op_ledger_next_batch(w->ledger) == second + 1);
    assert_ok(w, op_ledger_begin(w->ledger, &w->err));
    assert_true(op_ledger_take_batch(w->ledger) == second + 1);
    op_ledger_rollback(w->ledger);
    assert_true(op_ledger_next_batch(w->ledger) == second + 1);
    int64_t third = make(w, w->job, "m", 1);
    assert_true(third == second + 1);
    char file[] = "f", model[] = "m";
    struct op_batch b = {.lane_id = w->lane,
                         .job_id = w->job,
                         .count = 1,
                         .request_lo = 1,
                         .request_hi = 1,
                         .file = file,
                         .model = model,
                         .nonce = "zzzzzzzz"};
    b.id = third + 2;
    assert_fails(w, op_ledger_batch_add(w->ledger, &b, &w->err), OP_INVAL, "not the next");
    b.id = third;
    assert_int_not_equal(op_ledger_batch_add(w->ledger, &b, &w->err), OP_OK); /* is there */
    op_err_clear(&w->err);
    b.id = first;
    assert_ok(w, op_ledger_batch_add(w->ledger, &b, &w->err));
    assert_true(op_ledger_next_batch(w->ledger) == third + 1);
}

/* R5 covers what was added, and the rest of it is stored. */
static void the_new_fields_are_kept(void **state)
{
    struct world *w = *state;
    int64_t id = make(w, w->job, "m", 55);
    OP_CLEANUP(op_batch_release) struct op_batch b = {0};
    assert_ok(w, op_ledger_batch_get(w->ledger, id, &b, &w->err));
    op_mem_free(b.file_id);
    op_mem_free(b.twins);
    b.file_id = op_mem_strdup("file-1");
    b.twins = op_mem_strdup("batch_2\nbatch_3\n");
    b.uploads = 2;
    b.uploaded_ms = 3;
    b.fenced_ms = 4;
    b.extra_microusd = 5;
    b.tokens = 999; /* frozen: not stored */
    assert_ok(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_UPLOADED, "file-1", &w->err));
    OP_CLEANUP(op_batch_release) struct op_batch read = {0};
    assert_ok(w, op_ledger_batch_get(w->ledger, id, &read, &w->err));
    assert_string_equal(read.file_id, "file-1");
    assert_string_equal(read.twins, "batch_2\nbatch_3\n");
    assert_string_equal(read.endpoint, "responses");
    assert_true(read.tokens == 55 && read.uploads == 2 && read.uploaded_ms == 3);
    assert_true(read.fenced_ms == 4 && read.extra_microusd == 5);
    op_ledger_close(OP_TAKE(w->ledger));
    static const char *const frozen[] = {"endpoint = 'x'", "tokens = 1"};
    for (size_t i = 0; i < OP_COUNT(frozen); i++) {
        OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/ledger.db", w->dir);
        OP_CLEANUP(op_mem_freep) char *sql = op_mem_printf("UPDATE batch SET %s", frozen[i]);
        sqlite3 *db = NULL;
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_CONSTRAINT);
        assert_non_null(strstr(sqlite3_errmsg(db), "R5"));
        sqlite3_close(db);
    }
    open_world(w);
}

/* A price list is what its name says, or it is refused: money is counted with it. */
static void a_price_list_is_what_its_hash_says(void **state)
{
    struct world *w = *state;
    char good[OP_SHA256_HEX], wrong[OP_SHA256_HEX];
    op_sha256_hex("one", 3, good);
    op_sha256_hex("two", 3, wrong);
    assert_ok(w, op_ledger_prices_put(w->ledger, good, OP_STR("one"), &w->err));
    assert_ok(w,
              op_ledger_prices_put(w->ledger, good, OP_STR("other"), &w->err)); /* is there */
    assert_ok(w, op_ledger_prices_put(w->ledger, wrong, OP_STR("one"), &w->err));
    char *text = NULL;
    size_t len = 0;
    assert_ok(w, op_ledger_prices_get(w->ledger, good, &text, &len, &w->err));
    assert_true(len == 3 && !memcmp(text, "one", 3));
    op_mem_free(text);
    assert_fails(w, op_ledger_prices_get(w->ledger, wrong, &text, &len, &w->err), OP_IO,
                 "is changed");
    assert_fails(w, op_ledger_prices_get(w->ledger, "none", &text, &len, &w->err), OP_IO,
                 "is missing");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_batch_holds_its_tokens_while_it_is_out),
        T(a_realtime_list_is_in_no_queue),
        T(what_was_learned_is_kept),
        T(ids_can_be_taken),
        T(the_new_fields_are_kept),
        T(a_price_list_is_what_its_hash_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
