/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: SQLite's every call to the file system fails once, and fails for ever, while a batch lives
 *            its life: the ledger says so with a class and SQLite's code, leaves nothing half done and
 *            no memory behind; the same steps afterwards, taken up where the ledger stands, succeed.
 * Stimulus:  a VFS over the system's own whose n-th read, write, sync, truncate, open, size or delete
 *            fails, for every n.
 * Oracle:    the audit is silent after every failure and at the end; the end is the one that an
 *            undisturbed life has; the door was passed once.
 */
#include "ledger/sqlite/sqlite.h"
#include "support.h"

static sqlite3_vfs shim, *system_vfs;
static int64_t calls, fail_at; /* from 1; 0: never */
static bool for_ever;

static bool fails(void)
{
    calls++;
    return fail_at && (for_ever ? calls >= fail_at : calls == fail_at);
}

struct shim_file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this struct */
};

static sqlite3_file *real(sqlite3_file *file)
{
    return ((struct shim_file *)file)->real;
}

static int shim_close(sqlite3_file *f)
{
    return real(f)->pMethods ? real(f)->pMethods->xClose(real(f)) : SQLITE_OK;
}
static int shim_read(sqlite3_file *f, void *ptr, int len, sqlite3_int64 at)
{
    return fails() ? SQLITE_IOERR_READ : real(f)->pMethods->xRead(real(f), ptr, len, at);
}
static int shim_write(sqlite3_file *f, const void *ptr, int len, sqlite3_int64 at)
{
    return fails() ? SQLITE_FULL : real(f)->pMethods->xWrite(real(f), ptr, len, at);
}
static int shim_truncate(sqlite3_file *f, sqlite3_int64 len)
{
    return fails() ? SQLITE_IOERR_TRUNCATE : real(f)->pMethods->xTruncate(real(f), len);
}
static int shim_sync(sqlite3_file *f, int flags)
{
    return fails() ? SQLITE_IOERR_FSYNC : real(f)->pMethods->xSync(real(f), flags);
}
static int shim_size(sqlite3_file *f, sqlite3_int64 *ret)
{
    return fails() ? SQLITE_IOERR_FSTAT : real(f)->pMethods->xFileSize(real(f), ret);
}
static int shim_lock(sqlite3_file *f, int level)
{
    return real(f)->pMethods->xLock(real(f), level);
}
static int shim_unlock(sqlite3_file *f, int level)
{
    return real(f)->pMethods->xUnlock(real(f), level);
}
static int shim_reserved(sqlite3_file *f, int *ret)
{
    return real(f)->pMethods->xCheckReservedLock(real(f), ret);
}
static int shim_control(sqlite3_file *f, int op, void *arg)
{
    return real(f)->pMethods->xFileControl(real(f), op, arg);
}
static int shim_sector(sqlite3_file *f)
{
    return real(f)->pMethods->xSectorSize(real(f));
}
static int shim_device(sqlite3_file *f)
{
    return real(f)->pMethods->xDeviceCharacteristics(real(f));
}

static const sqlite3_io_methods shim_methods = {
    .iVersion = 1,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector,
    .xDeviceCharacteristics = shim_device,
};

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                     int *ret_flags)
{
    (void)vfs;
    struct shim_file *f = (struct shim_file *)file;
    f->base.pMethods = NULL;
    f->real = (sqlite3_file *)(f + 1);
    if (fails())
        return SQLITE_CANTOPEN;
    int rc = system_vfs->xOpen(system_vfs, name, f->real, flags, ret_flags);
    if (f->real->pMethods)
        f->base.pMethods = &shim_methods;
    return rc;
}
static int shim_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs;
    return fails() ? SQLITE_IOERR_DELETE : system_vfs->xDelete(system_vfs, name, sync);
}

static void make_shim(void)
{
    system_vfs = sqlite3_vfs_find(NULL);
    if (shim.zName)
        return;
    shim = *system_vfs;
    shim.zName = "torture";
    shim.pNext = NULL;
    shim.szOsFile = (int)sizeof(struct shim_file) + system_vfs->szOsFile;
    shim.xOpen = shim_open;
    shim.xDelete = shim_delete;
    assert_int_equal(sqlite3_vfs_register(&shim, 0), SQLITE_OK);
}

enum { REQUESTS = 3 };

static enum op_rc plan(struct world *w)
{
    char file[] = "payload/1-aabbccddeeff.json", model[] = "m";
    struct op_ledger *l = w->ledger;
    enum op_rc rc = op_ledger_begin(l, &w->err);
    for (int i = 0; !rc && i < REQUESTS; i++) {
        char key[8];
        int64_t record = 0;
        snprintf(key, sizeof(key), "k%d", i);
        rc = op_ledger_record_add(l, w->job, op_str_from(key), OP_STR("{}"), &record, &w->err);
        struct op_request r = {.id = op_ledger_next_request(l),
                               .job_id = w->job,
                               .record_id = record,
                               .state = OP_REQUEST_PACKED,
                               .batch_id = 1,
                               .payload = {1, 10, 20}};
        if (!rc)
            rc = op_ledger_request_add(l, &r, &w->err);
    }
    struct op_batch b = {.id = 1,
                         .job_id = w->job,
                         .lane_id = w->lane,
                         .count = REQUESTS,
                         .request_lo = 1,
                         .request_hi = REQUESTS,
                         .file = file,
                         .bytes = 100,
                         .nonce = "abcdefgh",
                         .model = model};
    memset(b.sha256, 'a', 64);
    struct op_job_counts counts = {.records = REQUESTS, .requests = REQUESTS};
    if (!rc)
        rc = op_ledger_batch_add(l, &b, &w->err);
    if (!rc)
        rc = op_ledger_job_count(l, w->job, &counts, &w->err);
    return rc ? rc : op_ledger_commit(l, &w->err);
}

static enum op_rc apply(struct world *w, struct op_batch *b)
{
    struct op_ledger *l = w->ledger;
    enum op_rc rc = op_ledger_begin(l, &w->err);
    for (int64_t id = 1; !rc && id <= REQUESTS; id++) {
        struct op_result_row row = {
            .batch_id = 1, .request_id = id, .valid = true, .part = -1, .microusd = 3};
        struct op_request r = {.id = id, .state = OP_REQUEST_PACKED, .batch_id = 1};
        struct op_spend spend = {
            .batch_id = 1, .model = "m", .valid = true, .count = 1, .microusd = 3};
        bool inserted = false;
        rc = op_ledger_result_add(l, &row, &inserted, &w->err);
        if (!rc)
            rc = op_ledger_spend_add(l, &spend, &w->err);
        if (!rc)
            rc = op_ledger_request_go(l, &r, 1, OP_REQUEST_DONE, &w->err);
    }
    struct op_job_counts counts = {.done = REQUESTS, .spent_microusd = 3 * REQUESTS};
    b->ok = REQUESTS;
    b->spent_microusd = 3 * REQUESTS;
    if (!rc)
        rc = op_ledger_job_count(l, w->job, &counts, &w->err);
    if (!rc)
        rc = op_ledger_batch_go(l, b, OP_BATCH_APPLIED, "", &w->err);
    return rc ? rc : op_ledger_commit(l, &w->err);
}

/* Takes the batch from where it stands to its end. */
static enum op_rc live(struct world *w)
{
    enum op_rc rc = OP_OK;
    if (op_ledger_next_batch(w->ledger) == 1)
        rc = plan(w);
    while (!rc) {
        OP_CLEANUP(op_batch_release) struct op_batch b = {0};
        rc = op_ledger_batch_get(w->ledger, 1, &b, &w->err);
        if (rc || b.state == OP_BATCH_SEALED)
            break;
        static const enum op_batch_state next[OP_BATCH_STATE_COUNT] = {
            [OP_BATCH_BUILT] = OP_BATCH_SENDING,  [OP_BATCH_SENDING] = OP_BATCH_ACCEPTED,
            [OP_BATCH_ACCEPTED] = OP_BATCH_ENDED, [OP_BATCH_ENDED] = OP_BATCH_FETCHED,
            [OP_BATCH_APPLIED] = OP_BATCH_SEALED,
        };
        rc = b.state == OP_BATCH_FETCHED
                 ? apply(w, &b)
                 : op_ledger_batch_go(w->ledger, &b, next[b.state], "", &w->err);
    }
    return rc;
}

static void check_sound(struct world *w, int64_t n)
{
    OP_CLEANUP(op_buf_release) struct op_buf report;
    op_buf_init(&report, 100000);
    if (audit(w, &report))
        fail_msg("after failing call %lld: %s", (long long)n, report.ptr);
}

static enum op_rc open_tortured(struct world *w)
{
    return op_ledger_open(op_env_default(), w->dir, OP_LEDGER_WRITE, "torture", &w->ledger,
                          &w->err);
}

static void copy(const struct world *w, const char *from, const char *to)
{
    OP_CLEANUP(op_mem_freep)
    char *command = op_mem_printf("rm -f %s/ledger.db-journal; cp %s/%s %s/%s", w->dir, w->dir,
                                  from, w->dir, to);
    assert_int_equal(system(command), 0);
}

/* One life with the n-th call failing. False: there is no n-th call. */
static bool suffer(struct world *w, int64_t n)
{
    int64_t blocks = op_mem_live();
    copy(w, "start.db", "ledger.db");
    calls = 0;
    fail_at = n;
    enum op_rc rc = open_tortured(w);
    if (!rc)
        rc = live(w);
    bool reached = calls >= n;
    if (rc) {
        if (!reached)
            fail_msg("%s without a failing call", w->err.msg);
        assert_int_equal(rc, w->err.rc);
        if (rc != OP_IO || !w->err.msg[0])
            fail_msg("failing call %lld: %s: '%s'", (long long)n, op_rc_name(rc), w->err.msg);
    }
    op_ledger_close(OP_TAKE(w->ledger)); /* with the failure still there */
    fail_at = 0;
    op_err_clear(&w->err);

    assert_ok(w, open_tortured(w));
    check_sound(w, n);
    assert_ok(w, live(w));
    check_sound(w, n);
    int64_t doors = -1, results = -1;
    assert_ok(w, op_sq_query_int(w->ledger->db, "", "SELECT count(*) FROM result", &results,
                                 &w->err));
    assert_ok(w, op_sq_query_int(w->ledger->db, "",
                                 "SELECT count(*) FROM journal WHERE to_state = 'sending'",
                                 &doors, &w->err));
    assert_int_equal(doors, 1);
    assert_int_equal(results, REQUESTS);
    op_ledger_close(OP_TAKE(w->ledger));
    assert_int_equal(op_mem_live(), blocks);
    return reached;
}

static void torture(struct world *w, bool ever, int64_t step)
{
    make_shim();
    op_ledger_close(OP_TAKE(w->ledger));
    copy(w, "ledger.db", "start.db");
    for_ever = ever;
    int64_t n = 1;
    while (suffer(w, n))
        n += step;
    assert_true(n > 100); /* a life has so many calls at least */
    open_world(w);
}

static void every_call_fails_once(void **state)
{
    torture(*state, false, 1);
}

static void every_call_and_all_behind_it_fail(void **state)
{
    torture(*state, true, 3);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(every_call_fails_once),
        T(every_call_and_all_behind_it_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
