/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the realtime lane's log: what was committed is read back in its order; what a process
 *            that died was writing is cut off, wherever it was cut; damage before sound blocks is
 *            told and never taken for such an end.
 * Stimulus:  logs of a few blocks, cut after every byte, with every byte changed, with zeroes behind.
 * Oracle:    the list of events written by hand; of a cut log a prefix of it at a block's edge.
 */
#include "ledger/asklog.h"
#include "support.h"

struct events {
    char text[4096];
};

static enum op_rc note(void *arg, enum op_ask_event event, int64_t request, struct op_str line,
                       struct op_err *err)
{
    struct events *e = arg;
    size_t len = strlen(e->text);
    (void)err;
    snprintf(e->text + len, sizeof(e->text) - len, "%c%lld" OP_STR_FMT " ", "?>!"[event],
             (long long)request, OP_STR_ARG(line));
    return OP_OK;
}

struct bench {
    char dir[64];
    char path[128];
    struct op_spool *spool;
    struct op_err err;
};

#define NAME "realtime/7-abc.log"

static int make_bench(void **state)
{
    struct bench *b = op_mem_alloc(sizeof(*b));
    assert_true(test_folder_make(b->dir, sizeof(b->dir), "asklog"));
    assert_ok(b, op_spool_open(op_env_default(), b->dir, true, &b->spool, &b->err));
    snprintf(b->path, sizeof(b->path), "%s/spool/" NAME, b->dir);
    *state = b;
    return 0;
}

static int free_bench(void **state)
{
    struct bench *b = *state;
    op_spool_close(b->spool);
    nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    op_mem_free(b);
    return op_mem_live() == 0 ? 0 : -1;
}

/* What is read after 0, 1, 2, 3 blocks. */
static const char *const after[] = {
    "",
    "?1 ?2 ?3 ",
    "?1 ?2 ?3 >1{\"a\":1} >2{\"b\":\"= 5 x\"} !3 ?3 ?4 ",
    "?1 ?2 ?3 >1{\"a\":1} >2{\"b\":\"= 5 x\"} !3 ?3 ?4 >3{} ",
};

static void write_log(struct bench *b, int64_t ends[4])
{
    struct op_asklog log;
    assert_ok(b, op_asklog_create(b->spool, NAME, &log, &b->err));
    ends[0] = 0;
    op_asklog_asked(&log, 1);
    op_asklog_asked(&log, 2);
    op_asklog_asked(&log, 3);
    assert_ok(b, op_asklog_commit(&log, &b->err));
    ends[1] = log.file.len;
    op_asklog_answered(&log, 1, OP_STR("{\"a\":1}"));
    op_asklog_asked(&log, 3);
    op_asklog_answered(&log, 2, OP_STR("{\"b\":\"= 5 x\"}\n"));
    op_asklog_asked(&log, 4);
    op_asklog_back(&log, 3);
    assert_ok(b, op_asklog_commit(&log, &b->err));
    ends[2] = log.file.len;
    assert_false(op_asklog_has_news(&log));
    assert_ok(b, op_asklog_commit(&log, &b->err)); /* nothing to say, nothing written */
    assert_int_equal(log.file.len, ends[2]);
    op_asklog_answered(&log, 3, OP_STR("{}"));
    assert_ok(b, op_asklog_commit(&log, &b->err));
    ends[3] = log.file.len;
    op_asklog_close(&log);
}

static size_t load(const struct bench *b, char *ret, size_t room)
{
    FILE *f = fopen(b->path, "rb");
    assert_non_null(f);
    size_t len = fread(ret, 1, room, f);
    fclose(f);
    return len;
}

static void store(const struct bench *b, const char *ptr, size_t len)
{
    FILE *f = fopen(b->path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(ptr, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static enum op_rc open_log(struct bench *b, struct events *e, struct op_asklog *log)
{
    *e = (struct events){0};
    op_err_clear(&b->err);
    return op_asklog_open(b->spool, NAME, note, e, log, &b->err);
}

static void test_read_back(void **state)
{
    struct bench *b = *state;
    int64_t ends[4];
    struct events e;
    struct op_asklog log;
    assert_int_equal(open_log(b, &e, &log), OP_NOTFOUND);
    write_log(b, ends);
    assert_ok(b, open_log(b, &e, &log));
    assert_string_equal(e.text, after[3]);
    op_asklog_asked(&log, 9);
    assert_ok(b, op_asklog_commit(&log, &b->err));
    op_asklog_close(&log);
    e = (struct events){0};
    assert_ok(b, op_asklog_read(b->spool, NAME, note, &e, &b->err));
    assert_int_equal(strlen(e.text), strlen(after[3]) + 3);
    assert_string_equal(e.text + strlen(after[3]), "?9 ");
}

/* A cut anywhere, with nothing, zeroes or old bytes behind it, ends at a block's edge, and the log
 * goes on from there. */
static void test_cut_anywhere(void **state)
{
    struct bench *b = *state;
    int64_t ends[4];
    char whole[2048], text[4096];
    write_log(b, ends);
    size_t len = load(b, whole, sizeof(whole));
    assert_int_equal(len, ends[3]);
    for (size_t cut = 0; cut <= len; cut++) {
        for (int behind = 0; behind < 3; behind++) {
            memcpy(text, whole, cut);
            size_t more = behind && cut < len ? len - cut : 0;
            memset(text + cut, behind == 1 ? '\0' : 'x', more);
            store(b, text, cut + more);
            int blocks = 0;
            while (blocks < 3 && (size_t)ends[blocks + 1] <= cut)
                blocks++;
            struct events e;
            struct op_asklog log;
            assert_ok(b, open_log(b, &e, &log));
            assert_string_equal(e.text, after[blocks]);
            assert_int_equal(log.file.len, ends[blocks]);
            op_asklog_asked(&log, 8);
            assert_ok(b, op_asklog_commit(&log, &b->err));
            op_asklog_close(&log);
            assert_ok(b, open_log(b, &e, &log));
            op_asklog_close(&log);
            assert_string_equal(e.text + strlen(after[blocks]), "?8 ");
        }
    }
}

/* A changed byte in a block with a sound one behind it is no end: requests that were asked must not
 * look as if they were not. */
static void test_damage_is_told(void **state)
{
    struct bench *b = *state;
    int64_t ends[4];
    char whole[2048];
    write_log(b, ends);
    size_t len = load(b, whole, sizeof(whole));
    for (size_t at = 0; at < (size_t)ends[2]; at++) {
        whole[at] ^= 1;
        store(b, whole, len);
        whole[at] ^= 1;
        struct events e;
        struct op_asklog log;
        enum op_rc rc = open_log(b, &e, &log);
        if (rc != OP_INVAL)
            fail_msg("byte %zu changed: %s, '%s'", at, op_rc_name(rc), e.text);
        struct stat st;
        assert_int_equal(stat(b->path, &st), 0);
        assert_int_equal(st.st_size, len); /* nothing was cut off */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read_back, make_bench, free_bench),
        cmocka_unit_test_setup_teardown(test_cut_anywhere, make_bench, free_bench),
        cmocka_unit_test_setup_teardown(test_damage_is_told, make_bench, free_bench),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
