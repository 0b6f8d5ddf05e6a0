/* SPDX-License-Identifier: MIT */
#ifndef OP_TESTS_LEDGER_SUPPORT_H
#define OP_TESTS_LEDGER_SUPPORT_H

/*
 * What the ledger tests share: a state folder per test, a ledger in it, rows made from few words,
 * and a second connection that looks at (or damages) the file behind the ledger's back.
 */

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "../folder.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "ledger/ledger.h"
#include "ledger/spool.h"

struct world {
    char dir[64];
    struct op_ledger *ledger;
    struct op_err err;
    int64_t job, lane;
};

#define assert_ok(w, call)                                                \
    do {                                                                  \
        enum op_rc rc_ = (call);                                          \
        if (rc_)                                                          \
            fail_msg("%s: %s: %s", #call, op_rc_name(rc_), (w)->err.msg); \
    } while (0)
/* The call fails with this class, and says something with this word in it. */
#define assert_fails(w, call, class, word)                                             \
    do {                                                                               \
        enum op_rc rc_ = (call);                                                       \
        if (rc_ != (class) || !strstr((w)->err.msg, (word)))                           \
            fail_msg("%s: %s: '%s' has no '%s'", #call, op_rc_name(rc_), (w)->err.msg, \
                     (word));                                                          \
        op_err_clear(&(w)->err);                                                       \
    } while (0)

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void open_world(struct world *w)
{
    assert_ok(w, op_ledger_open(op_env_default(), w->dir, OP_LEDGER_WRITE, NULL, &w->ledger,
                                &w->err));
}

static inline void reopen(struct world *w)
{
    op_ledger_closep(&w->ledger);
    open_world(w);
}

static inline int64_t add_job(struct world *w, const char *identity)
{
    char pipeline[] = "labels", definition[] = "d1", empty[] = "{}", none[] = "";
    OP_CLEANUP(op_mem_freep) char *id = op_mem_strdup(identity);
    assert_ok(w, op_ledger_definition_put(w->ledger, definition, OP_STR("text"), &w->err));
    struct op_job job = {.pipeline = pipeline,
                         .identity = id,
                         .definition = definition,
                         .params = empty,
                         .options = empty,
                         .reason = none,
                         .lane_id = w->lane,
                         .round = 1};
    assert_ok(w, op_ledger_job_add(w->ledger, &job, &w->err));
    return job.id;
}

static inline int set_up(void **state)
{
    struct world *w = op_mem_alloc(sizeof(*w));
    assert_true(test_folder_make(w->dir, sizeof(w->dir), "ledger"));
    open_world(w);
    struct op_lane_row lane = {0};
    assert_ok(w, op_ledger_lane(w->ledger, "anthropic", "https://x", "ab12", &lane, &w->err));
    w->lane = lane.id;
    op_lane_row_release(&lane);
    w->job = add_job(w, "same");
    *state = w;
    return 0;
}

static inline int tear_down(void **state)
{
    struct world *w = *state;
    op_ledger_close(w->ledger);
    nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    op_mem_free(w);
    return 0;
}

static inline int64_t add_record(struct world *w, int64_t job, const char *key)
{
    int64_t id = 0;
    assert_ok(w, op_ledger_record_add(w->ledger, job, op_str_from(key), OP_STR("{\"a\":1}"),
                                      &id, &w->err));
    return id;
}

static inline int64_t add_request(struct world *w, int64_t job, int64_t record,
                                  enum op_request_state state, int64_t batch)
{
    struct op_request r = {.id = op_ledger_next_request(w->ledger),
                           .job_id = job,
                           .record_id = record,
                           .state = state,
                           .batch_id = batch,
                           .payload = {batch, 10, 20}};
    memcpy(r.hash, &r.id, sizeof(r.id));
    assert_ok(w, op_ledger_request_add(w->ledger, &r, &w->err));
    return r.id;
}

static inline int64_t add_batch(struct world *w, int64_t job, int64_t lo, int64_t hi,
                                int64_t count)
{
    char file[] = "payload/1-aabbccddeeff.json", model[] = "m", prices[OP_SHA256_HEX];
    op_sha256_hex("prices", strlen("prices"), prices);
    assert_ok(w, op_ledger_prices_put(w->ledger, prices, OP_STR("prices"), &w->err));
    struct op_batch b = {.id = op_ledger_next_batch(w->ledger),
                         .job_id = job,
                         .lane_id = w->lane,
                         .count = count,
                         .request_lo = lo,
                         .request_hi = hi,
                         .file = file,
                         .bytes = 100,
                         .model = model,
                         .reserved_microusd = 7,
                         .prices = prices};
    snprintf(b.nonce, sizeof(b.nonce), "n%07lld", (long long)b.id);
    memset(b.sha256, 'a', 64);
    assert_ok(w, op_ledger_batch_add(w->ledger, &b, &w->err));
    return b.id;
}

/* A job with n records and their requests, packed into one batch; returns the batch. */
static inline int64_t add_packed(struct world *w, int64_t job, int n)
{
    int64_t batch = op_ledger_next_batch(w->ledger), lo = op_ledger_next_request(w->ledger);
    for (int i = 0; i < n; i++) {
        char key[32];
        snprintf(key, sizeof(key), "k%lld", (long long)op_ledger_next_record(w->ledger));
        add_request(w, job, add_record(w, job, key), OP_REQUEST_PACKED, batch);
    }
    return add_batch(w, job, lo, lo + n - 1, n);
}

static inline void go(struct world *w, int64_t batch, enum op_batch_state to)
{
    OP_CLEANUP(op_batch_release) struct op_batch b = {0};
    assert_ok(w, op_ledger_batch_get(w->ledger, batch, &b, &w->err));
    assert_ok(w, op_ledger_batch_go(w->ledger, &b, to, "test", &w->err));
    assert_int_equal(b.state, to);
}

/* Along the usual way up to a state. */
static inline void go_up_to(struct world *w, int64_t batch, enum op_batch_state last)
{
    static const enum op_batch_state way[] = {OP_BATCH_SENDING, OP_BATCH_ACCEPTED,
                                              OP_BATCH_ENDED,   OP_BATCH_FETCHED,
                                              OP_BATCH_APPLIED, OP_BATCH_SEALED};
    for (size_t i = 0; i < OP_COUNT(way); i++) {
        go(w, batch, way[i]);
        if (way[i] == last)
            return;
    }
}

static inline bool add_result(struct world *w, int64_t batch, int64_t request, bool valid)
{
    struct op_result_row row = {.batch_id = batch,
                                .request_id = request,
                                .class_ = valid ? OP_RESULT_SUCCEEDED : OP_RESULT_ERRORED,
                                .valid = valid,
                                .part = -1,
                                .microusd = 3,
                                .usage = {{1, 2, 3, 4, 5}}};
    bool inserted = false;
    assert_ok(w, op_ledger_result_add(w->ledger, &row, &inserted, &w->err));
    struct op_spend spend = {.batch_id = batch,
                             .model = "m",
                             .class_ = row.class_,
                             .valid = valid,
                             .count = 1,
                             .microusd = 3,
                             .usage = row.usage};
    if (inserted)
        assert_ok(w, op_ledger_spend_add(w->ledger, &spend, &w->err));
    return inserted;
}

/* Runs SQL on the file through a connection of its own; the ledger must be closed when it writes. */
static inline int64_t raw_sql(const char *dir, const char *sql)
{
    OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/ledger.db", dir);
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int64_t value = 0;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    for (const char *at = sql; *at;) {
        if (sqlite3_prepare_v2(db, at, -1, &stmt, &at))
            fail_msg("%s: %s", sql, sqlite3_errmsg(db));
        int step = SQLITE_ROW;
        while (stmt && step == SQLITE_ROW) {
            step = sqlite3_step(stmt);
            if (step == SQLITE_ROW)
                value = sqlite3_column_int64(stmt, 0);
        }
        if (stmt && step != SQLITE_DONE)
            fail_msg("%s: %s", sql, sqlite3_errmsg(db));
        sqlite3_finalize(stmt);
    }
    sqlite3_close(db);
    return value;
}

static inline int64_t audit(struct world *w, struct op_buf *report)
{
    int64_t problems = -1;
    assert_ok(w, op_ledger_audit(w->ledger, report, &problems, &w->err));
    return problems;
}

/* Collects ids from any walk. */
struct ids {
    int64_t id[2000];
    size_t count;
};
static inline enum op_rc take_request(void *arg, const struct op_request *r, struct op_err *err)
{
    (void)err;
    struct ids *ids = arg;
    ids->id[ids->count++] = r->id;
    return OP_OK;
}
static inline enum op_rc take_batch(void *arg, const struct op_batch *b, struct op_err *err)
{
    (void)err;
    struct ids *ids = arg;
    ids->id[ids->count++] = b->id;
    return OP_OK;
}

#endif
