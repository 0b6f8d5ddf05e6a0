/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: journal, bill and store: what is on disk after a kill at each point, and what the next
 *            open makes of it.
 * Oracle:    the folder as a kill would leave it, written by hand; the lines of the bill counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../folder.h"
#include "base/mem.h"
#include "emulator/journal.h"
#include "emulator/store.h"

static char dir[64];

static int remove_one(const char *path, const struct stat *info, int flag, struct FTW *ftw)
{
    (void)info;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int make_dir(void **state)
{
    (void)state;
    return test_folder_make(dir, sizeof(dir), "store") ? 0 : -1;
}

static int drop_dir(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *name, const char *text)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, name);
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_io_replace_file(op_env_default(), path, text, strlen(text), &err),
                     OP_OK);
}

/* How often text occurs in a file; 0 when there is no file. */
static int occurs(const char *name, const char *text)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, name);
    OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
    struct op_err err = OP_ERR_INIT;
    int count = 0;
    op_buf_init(&buf, 1 << 24);
    if (op_io_read_file(op_env_default(), path, &buf, &err))
        return 0;
    for (const char *at = buf.ptr; (at = strstr(at, text)); at++)
        count++;
    return count;
}

static struct op_emu_store *open_store(void)
{
    struct op_emu_store *store = NULL;
    struct op_err err = OP_ERR_INIT;
    if (op_emu_store_open(op_env_default(), dir, 1, &store, &err))
        fail_msg("%s", err.msg);
    return store;
}

static void add_batch(struct op_emu_store *store, int64_t created_us, int lines,
                      struct op_emu_batch *batch)
{
    struct op_emu_upload upload;
    struct op_err err = OP_ERR_INIT;
    *batch = (struct op_emu_batch){.provider = "p",
                                   .meta = "{\"m\":1}",
                                   .seq = op_emu_store_next_seq(store),
                                   .created_us = created_us,
                                   .due_us = created_us + 10};
    op_emu_store_id(store, "b_", batch->seq, 0, batch->id);
    op_emu_quirks_set(&batch->quirks, OP_EMU_SLOW, 77);
    assert_int_equal(op_emu_upload_open(store, &upload, &err), OP_OK);
    for (int i = 0; i < lines; i++) {
        struct op_emu_entry entry = {
            .custom_id = OP_STR("c"), .hash = "h", .state = "accepted"};
        assert_int_equal(op_emu_upload_add(&upload, OP_STR("{}"), &entry, &err), OP_OK);
    }
    assert_int_equal(op_emu_store_commit(store, &upload, batch, &err), OP_OK);
    op_emu_upload_abort(&upload);
}

static void test_journal(void **state)
{
    (void)state;
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, "j");
    struct op_emu_journal *journal = NULL, *second = NULL;
    struct op_err err = OP_ERR_INIT;
    put("j", "one\ntwo\nthr");
    assert_int_equal(op_emu_journal_open(op_env_default(), path, &journal, &err), OP_OK);
    assert_int_equal(op_emu_journal_open(op_env_default(), path, &second, &err), OP_BUSY);
    op_err_clear(&err);
    assert_int_equal(op_emu_journal_add(journal, OP_STR("four\n"), &err), OP_OK);
    assert_int_equal(op_emu_journal_sync(journal, &err), OP_OK);
    op_emu_journal_close(journal);
    assert_int_equal(occurs("j", "one\ntwo\nfour\n"), 1);
    put("j", "no line end");
    assert_int_equal(op_emu_journal_open(op_env_default(), path, &journal, &err), OP_OK);
    op_emu_journal_close(journal);
    assert_int_equal(occurs("j", "n"), 0);
}

static void *add_lines(void *arg)
{
    struct op_err err = OP_ERR_INIT;
    for (int i = 0; i < 50; i++) {
        if (op_emu_journal_add(arg, OP_STR("a line\n"), &err) || op_emu_journal_sync(arg, &err))
            return arg;
    }
    return NULL;
}

static void test_journal_threads(void **state)
{
    (void)state;
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, "j");
    OP_CLEANUP(op_emu_journal_closep) struct op_emu_journal *journal = NULL;
    struct op_err err = OP_ERR_INIT;
    pthread_t threads[8];
    void *failed = NULL;
    assert_int_equal(op_emu_journal_open(op_env_default(), path, &journal, &err), OP_OK);
    for (size_t i = 0; i < OP_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_lines, journal), 0);
    for (size_t i = 0; i < OP_COUNT(threads); i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(occurs("j", "a line\n"), 400);
}

static void test_reopen(void **state)
{
    (void)state;
    struct op_emu_batch made, seen;
    struct op_emu_store *store = open_store();
    add_batch(store, 5000000, 3, &made);
    assert_int_equal(occurs("bill.jsonl", "\"state\":\"accepted\""), 3);
    assert_int_equal(occurs("bill.jsonl", made.id), 3);
    op_emu_store_close(store);
    store = open_store();
    assert_int_equal(occurs("bill.jsonl", "\n"), 3);
    assert_true(op_emu_store_get(store, op_str_from(made.id), &seen));
    assert_int_equal(seen.total, 3);
    assert_int_equal(seen.created_us, 5000000);
    assert_int_equal(seen.quirks.value[OP_EMU_SLOW], 77);
    assert_string_equal(seen.meta, "{\"m\":1}");
    assert_string_equal(seen.provider, "p");
    assert_true(op_emu_store_last_us(store) >= 5000000);
    assert_int_equal(op_emu_store_next_seq(store), made.seq + 1);
    assert_true(op_emu_store_due(store, &seen));
    assert_int_equal(op_emu_store_queued(store), 3);
    op_emu_store_close(store);
}

/* Killed between the line of the store and the last line of the bill. */
static void test_unbilled(void **state)
{
    (void)state;
    put("store.jsonl", "{\"id\":\"b_1\",\"provider\":\"p\",\"seq\":4,\"created_us\":1000000,"
                       "\"due_us\":9,\"total\":3,\"meta\":{}}\n");
    struct op_err err = OP_ERR_INIT;
    OP_CLEANUP(op_mem_freep) char *batches = op_io_join(dir, "batches");
    assert_int_equal(op_io_mkdirs(op_env_default(), batches, &err), OP_OK);
    put("batches/b_1.accepted", " \"custom_id\":\"c1\",\"state\":\"accepted\"}\n"
                                " \"custom_id\":\"c2\",\"state\":\"accepted\"}\n"
                                " \"custom_id\":\"c3\",\"state\":\"accepted\"}\n");
    put("batches/upload-7.requests", "left over");
    put("bill.jsonl", "{\"time\":\"1970-01-01T00:00:01.000000Z\",\"provider\":\"p\",\"batch\":"
                      "\"b_1\", \"custom_id\":\"c1\",\"state\":\"accepted\"}\n{\"time\":\"19");
    struct op_emu_store *store = open_store();
    assert_int_equal(occurs("bill.jsonl", "\n"), 3);
    assert_int_equal(occurs("bill.jsonl", "\"c1\""), 1);
    assert_int_equal(occurs("bill.jsonl", "\"c3\""), 1);
    OP_CLEANUP(op_mem_freep) char *left = op_io_join(dir, "batches/upload-7.requests");
    assert_int_equal(access(left, F_OK), -1);
    op_emu_store_close(store);
    op_emu_store_close(open_store());
    assert_int_equal(occurs("bill.jsonl", "\n"), 3);
}

/* Killed between the results and the bill's last line about them, or before the last line of the
 * store. */
static void test_unsettled(void **state)
{
    (void)state;
    struct op_emu_batch seen;
    struct op_err err = OP_ERR_INIT;
    OP_CLEANUP(op_mem_freep) char *batches = op_io_join(dir, "batches");
    assert_int_equal(op_io_mkdirs(op_env_default(), batches, &err), OP_OK);
    const char *line = "{\"id\":\"b_1\",\"provider\":\"p\",\"seq\":4,\"created_us\":1000000,"
                       "\"due_us\":9,\"ended_us\":2000000,\"total\":2,\"done\":[1,1,0,0],"
                       "\"meta\":{}}\n";
    put("store.jsonl", line);
    put("batches/b_1.entries", " \"custom_id\":\"c1\",\"state\":\"succeeded\"}\n"
                               " \"custom_id\":\"c2\",\"state\":\"errored\"}\n");
    put("bill.jsonl", "{\"batch\":\"b_1\",\"custom_id\":\"c1\",\"state\":\"accepted\"}\n"
                      "{\"batch\":\"b_1\",\"custom_id\":\"c2\",\"state\":\"accepted\"}\n"
                      "{\"batch\":\"b_1\",\"custom_id\":\"c1\",\"state\":\"succeeded\"}\n");
    for (int round = 0; round < 3; round++) {
        struct op_emu_store *store = open_store();
        assert_true(op_emu_store_get(store, OP_STR("b_1"), &seen));
        assert_true(seen.settled);
        assert_int_equal(seen.done[OP_EMU_ERRORED], 1);
        assert_false(op_emu_store_due(store, &seen));
        op_emu_store_close(store);
        assert_int_equal(occurs("bill.jsonl", "\n"), 4);
        if (round == 1) /* as if the line about the settlement had not been written */
            put("store.jsonl", line);
    }
}

static void test_damaged(void **state)
{
    (void)state;
    struct op_emu_store *store = NULL;
    struct op_err err = OP_ERR_INIT;
    put("store.jsonl", "{\"id\":\"b\"}\n{nonsense\n");
    assert_int_equal(op_emu_store_open(op_env_default(), dir, 1, &store, &err), OP_INVAL);
    assert_non_null(strstr(err.msg, "store.jsonl:2"));
    op_err_clear(&err);
    put("store.jsonl", "");
    put("bill.jsonl", "{nonsense\n");
    assert_int_equal(op_emu_store_open(op_env_default(), dir, 1, &store, &err), OP_INVAL);
    assert_non_null(strstr(err.msg, "bill.jsonl:1"));
}

static bool all(void *arg, const struct op_emu_batch *batch)
{
    return batch->created_us <= *(const int64_t *)arg;
}

static void test_pages(void **state)
{
    (void)state;
    struct op_emu_batch made[6], other;
    struct op_emu_store *store = open_store();
    /* The fourth was accepted late: it is the newest although it came before two others. */
    static const int64_t times[] = {1, 2, 3, 90, 4, 5};
    for (size_t i = 0; i < OP_COUNT(made); i++)
        add_batch(store, times[i], 1, &made[i]);
    static const size_t order[] = {3, 5, 4, 2, 1, 0};
    static const struct {
        int after, before; /* places in that order, -1: not given */
        size_t limit;
        int64_t shift;
        size_t from, count;
        bool more;
    } rows[] = {
        {-1, -1, 10, 0, 0, 6, false}, {-1, -1, 6, 0, 0, 6, false}, {-1, -1, 2, 0, 0, 2, true},
        {1, -1, 2, 0, 2, 2, true},    {3, -1, 2, 0, 4, 2, false},  {5, -1, 2, 0, 6, 0, false},
        {-1, 5, 2, 0, 3, 2, true},    {-1, 2, 2, 0, 0, 2, false},  {-1, 1, 5, 0, 0, 1, false},
        {-1, 0, 5, 0, 0, 0, false},   {1, -1, 2, -1, 1, 2, true},  {1, -1, 2, 1, 3, 2, true},
    };
    int64_t now = 100;
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        OP_CLEANUP(op_mem_freep) struct op_emu_batch *batches = NULL;
        size_t count = 99;
        bool more = false;
        struct op_emu_page page = {.provider = "p",
                                   .accept = all,
                                   .arg = &now,
                                   .limit = rows[i].limit,
                                   .shift = rows[i].shift};
        if (rows[i].after >= 0)
            page.after_id = op_str_from(made[order[rows[i].after]].id);
        if (rows[i].before >= 0)
            page.before_id = op_str_from(made[order[rows[i].before]].id);
        assert_int_equal(op_emu_store_page(store, &page, &batches, &count, &more), OP_OK);
        assert_int_equal(count, rows[i].count);
        assert_int_equal(more, rows[i].more);
        for (size_t k = 0; k < count; k++)
            assert_string_equal(batches[k].id, made[order[rows[i].from + k]].id);
    }
    struct op_emu_batch *none = NULL;
    size_t count = 0;
    bool more;
    struct op_emu_page page = {.provider = "p",
                               .accept = all,
                               .arg = &now,
                               .limit = 5,
                               .after_id = OP_STR("b_unknown")};
    assert_int_equal(op_emu_store_page(store, &page, &none, &count, &more), OP_NOTFOUND);
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_emu_store_delete(store, op_str_from(made[0].id), &err), OP_OK);
    assert_false(op_emu_store_get(store, op_str_from(made[0].id), &other));
    assert_int_equal(op_emu_store_delete(store, op_str_from(made[0].id), &err), OP_NOTFOUND);
    op_emu_store_close(store);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, make_dir, drop_dir)
    const struct CMUnitTest tests[] = {
        TEST(test_journal),  TEST(test_journal_threads), TEST(test_reopen),
        TEST(test_unbilled), TEST(test_unsettled),       TEST(test_damaged),
        TEST(test_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
