/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: a file is either durable under its final name or not there at all, whichever file call
 *            fails; a name that exists is taken over or makes room; damage goes to quarantine;
 *            outboxes are cut to their committed length; the manifest survives a torn line; folders
 *            that cannot be relied on are refused.
 * Oracle:    an environment that fails the n-th changing call for every n, and the files read back
 *            without the code under test.
 */
#include "../folder.h"
#include "base/hash.h"
#include "ledger/manifest.h"
#include "support.h"

struct bench {
    char dir[64];
    struct op_spool *spool;
    struct op_err err;
};

/* --- an environment with a broken disk ------------------------------------------------------- */

static struct op_env bad_env;
static struct op_env_ops bad_ops;
static int64_t calls, fail_at; /* from 1; 0: never */
static int fail_with;
static const char *failed_call;
static int64_t free_space;

static bool fails(const char *name)
{
    if (++calls != fail_at)
        return false;
    failed_call = name;
    return true;
}
static const struct op_env_ops *real(void)
{
    return op_env_default()->ops;
}
static int bad_open(struct op_env *env, const char *path, int flags, mode_t mode)
{
    (void)env;
    if ((flags & O_CREAT) && fails("open"))
        return -fail_with;
    return real()->open(op_env_default(), path, flags, mode);
}
static int bad_close(struct op_env *env, int fd)
{
    (void)env;
    bool bad = fails("close");
    int rc = real()->close(op_env_default(), fd);
    return bad ? -fail_with : rc;
}
static ssize_t bad_write(struct op_env *env, int fd, const void *ptr, size_t len)
{
    (void)env;
    if (fails("write")) /* a full disk takes a part first */
        return len > 1 && fail_at++ ? real()->write(op_env_default(), fd, ptr, len / 2)
                                    : -fail_with;
    return real()->write(op_env_default(), fd, ptr, len);
}
static ssize_t bad_pwrite(struct op_env *env, int fd, const void *ptr, size_t len, int64_t at)
{
    (void)env;
    if (fails("pwrite"))
        return len > 1 && fail_at++ ? real()->pwrite(op_env_default(), fd, ptr, len / 2, at)
                                    : -fail_with;
    return real()->pwrite(op_env_default(), fd, ptr, len, at);
}
static int bad_fsync(struct op_env *env, int fd)
{
    (void)env;
    return fails("fsync") ? -fail_with : real()->fsync(op_env_default(), fd);
}
static int bad_rename(struct op_env *env, const char *from, const char *to, bool replace)
{
    (void)env;
    return fails("rename") ? -fail_with : real()->rename(op_env_default(), from, to, replace);
}
static int bad_fsync_dir(struct op_env *env, const char *path)
{
    (void)env;
    return fails("fsync_dir") ? -fail_with : real()->fsync_dir(op_env_default(), path);
}
static int64_t fixed_free_bytes(struct op_env *env, const char *path)
{
    (void)env;
    (void)path;
    return free_space;
}

static void arm(int64_t at, int with)
{
    calls = 0;
    fail_at = at;
    fail_with = with;
    failed_call = NULL;
}

static int set_up_spool(void **state)
{
    bad_ops = *real();
    bad_ops.open = bad_open;
    bad_ops.close = bad_close;
    bad_ops.write = bad_write;
    bad_ops.pwrite = bad_pwrite;
    bad_ops.fsync = bad_fsync;
    bad_ops.rename = bad_rename;
    bad_ops.fsync_dir = bad_fsync_dir;
    bad_ops.free_bytes = fixed_free_bytes;
    bad_env.ops = &bad_ops;
    free_space = 1 << 20;
    arm(0, 0);
    struct bench *b = op_mem_alloc(sizeof(*b));
    assert_true(test_folder_make(b->dir, sizeof(b->dir), "spool"));
    assert_ok(b, op_spool_open(&bad_env, b->dir, true, &b->spool, &b->err));
    *state = b;
    return 0;
}

static int tear_down_spool(void **state)
{
    struct bench *b = *state;
    op_spool_close(b->spool);
    nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    op_mem_free(b);
    return 0;
}

/* Names below a folder of the spool, sorted by ls, with blanks between. */
static const char *names(struct bench *b, const char *folder)
{
    static char text[4000];
    char command[256];
    snprintf(command, sizeof(command), "ls -A %s/spool/%s | tr '\\n' ' '", b->dir, folder);
    FILE *list = popen(command, "r");
    size_t n = fread(text, 1, sizeof(text) - 1, list);
    text[n] = '\0';
    pclose(list);
    return text;
}

static void write_raw(struct bench *b, const char *name, const char *text)
{
    OP_CLEANUP(op_mem_freep) char *path = op_spool_path(b->spool, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static const char *read_raw(struct bench *b, const char *name)
{
    static char text[4000];
    OP_CLEANUP(op_mem_freep) char *path = op_spool_path(b->spool, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = fread(text, 1, sizeof(text) - 1, file);
    text[n] = '\0';
    fclose(file);
    return text;
}

static enum op_rc store(struct bench *b, const char *text, char **ret_name, char sha[65],
                        int64_t *ret_bytes)
{
    struct op_spool_file file;
    enum op_rc rc = op_spool_begin(b->spool, "payload", &file, &b->err);
    if (rc)
        return rc;
    rc = op_writer_add(&file.writer, text, strlen(text), &b->err);
    if (rc) {
        op_spool_abort(b->spool, &file);
        return rc;
    }
    rc = op_spool_commit(b->spool, &file, "7", ".json", ret_name, sha, ret_bytes, &b->err);
    op_spool_abort(b->spool, &file); /* harmless */
    return rc;
}

static const char hello_sha[] =
    "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
static const char hello_name[] = "payload/7-2cf24dba5fb0.json";

static void a_file_gets_the_name_of_its_content(void **state)
{
    struct bench *b = *state;
    OP_CLEANUP(op_mem_freep) char *name = NULL;
    char sha[65];
    int64_t bytes = 0;
    assert_ok(b, store(b, "hello", &name, sha, &bytes));
    assert_string_equal(name, hello_name);
    assert_string_equal(sha, hello_sha);
    assert_true(bytes == 5);
    assert_string_equal(read_raw(b, name), "hello");
    assert_string_equal(names(b, "payload"), "7-2cf24dba5fb0.json ");
    assert_ok(b, op_spool_verify(b->spool, name, 5, sha, &b->err));
    struct op_buf buf;
    op_buf_init(&buf, 4);
    assert_ok(b, op_spool_read(b->spool, name, 1, 3, &buf, &b->err));
    assert_string_equal(buf.ptr, "ell");
    assert_fails(b, op_spool_read(b->spool, name, 0, 5, &buf, &b->err), OP_INVAL, "more than");
    op_buf_clear(&buf);
    assert_fails(b, op_spool_read(b->spool, name, 3, 4, &buf, &b->err), OP_IO, "too early");
    assert_int_equal(buf.len, 0);
    op_buf_release(&buf);
    assert_ok(b, op_spool_remove(b->spool, name, &b->err));
    assert_ok(b, op_spool_remove(b->spool, name, &b->err));
    assert_fails(b, op_spool_verify(b->spool, name, 5, sha, &b->err), OP_NOTFOUND, "payload/7");
}

/* Each changing call in turn, with each kind of failure. */
static void every_failing_call_of_a_commit(void **state)
{
    struct bench *b = *state;
    static const int kinds[] = {ENOSPC, EDQUOT, EIO};
    for (size_t k = 0; k < OP_COUNT(kinds); k++) {
        int64_t n = 1;
        for (;; n++) {
            OP_CLEANUP(op_mem_freep) char *name = NULL;
            char sha[65];
            int64_t bytes = 0;
            arm(n, kinds[k]);
            enum op_rc rc = store(b, "hello", &name, sha, &bytes);
            bool failed = failed_call != NULL;
            arm(0, 0);
            assert_int_equal(rc != OP_OK, failed);
            if (!rc)
                break;
            assert_int_equal(rc, OP_IO);
            assert_null(name);
            assert_int_equal(b->err.disp, kinds[k] == EIO ? OP_DISP_FATAL : OP_DISP_RETRY);
            if (kinds[k] != EIO)
                assert_non_null(strstr(b->err.msg, b->dir));
            op_err_clear(&b->err);
            /* Nothing half done under the final name, nothing left under the temporary one. */
            const char *left = names(b, "payload");
            if (left[0])
                assert_string_equal(left, "7-2cf24dba5fb0.json ");
            if (left[0])
                assert_string_equal(read_raw(b, hello_name), "hello");
            /* The same again goes well, and takes over what is there. */
            assert_ok(b, store(b, "hello", &name, sha, &bytes));
            assert_string_equal(names(b, "payload"), "7-2cf24dba5fb0.json ");
            assert_ok(b, op_spool_remove(b->spool, name, &b->err));
        }
        assert_true(n > 5);
        assert_ok(b, op_spool_remove(b->spool, hello_name, &b->err));
    }
}

/* Larger than one block of the writer: the disk is full in the middle. */
static void a_disk_that_fills_while_writing(void **state)
{
    struct bench *b = *state;
    struct op_spool_file file;
    static char block[300000];
    memset(block, 'x', sizeof(block));
    assert_ok(b, op_spool_begin(b->spool, "result", &file, &b->err));
    arm(2, ENOSPC);
    enum op_rc rc = OP_OK;
    for (int i = 0; i < 20 && !rc; i++)
        rc = op_writer_add(&file.writer, block, sizeof(block), &b->err);
    arm(0, 0);
    assert_fails(b, rc, OP_IO, "No space left");
    op_spool_abort(b->spool, &file);
    op_spool_abort(b->spool, &file);
    assert_string_equal(names(b, "result"), "");
}

static void a_damaged_file_makes_room(void **state)
{
    struct bench *b = *state;
    OP_CLEANUP(op_mem_freep) char *name = NULL;
    char sha[65];
    int64_t bytes = 0;
    write_raw(b, hello_name, "hellO");
    assert_ok(b, store(b, "hello", &name, sha, &bytes));
    assert_string_equal(read_raw(b, hello_name), "hello");
    assert_string_equal(names(b, "quarantine"), "7-2cf24dba5fb0.json 7-2cf24dba5fb0.json.why ");
    assert_string_equal(read_raw(b, "quarantine/7-2cf24dba5fb0.json"), "hellO");
}

static void verifying_finds_every_difference(void **state)
{
    struct bench *b = *state;
    static const char *const contents[] = {"hellO", "hell", "hello!", ""};
    for (size_t i = 0; i < OP_COUNT(contents); i++) {
        write_raw(b, hello_name, contents[i]);
        assert_int_equal(op_spool_verify(b->spool, hello_name, 5, hello_sha, &b->err), OP_IO);
        assert_int_equal(b->err.disp, OP_DISP_FATAL);
        assert_non_null(strstr(b->err.msg, hello_sha));
        assert_non_null(strstr(b->err.msg, "moved to quarantine"));
        op_err_clear(&b->err);
        assert_string_equal(names(b, "payload"), "");
    }
    assert_string_equal(read_raw(b, "quarantine/7-2cf24dba5fb0.json.3"), "");
    assert_non_null(
        strstr(read_raw(b, "quarantine/7-2cf24dba5fb0.json.1.why"), "expected 5 bytes"));
    /* A right hash of a wrong length is as wrong. */
    write_raw(b, hello_name, "hello");
    assert_int_equal(op_spool_verify(b->spool, hello_name, 6, hello_sha, &b->err), OP_IO);
    op_err_clear(&b->err);
}

static void names_stay_in_the_spool(void **state)
{
    struct bench *b = *state;
    static const char *const bad[] = {"", "/etc/passwd", "..", "../x", "a/../../x", "a/.."};
    struct op_buf buf;
    op_buf_init(&buf, 100);
    for (size_t i = 0; i < OP_COUNT(bad); i++) {
        assert_fails(b, op_spool_read(b->spool, bad[i], 0, 1, &buf, &b->err), OP_INVAL,
                     "not a name");
        assert_fails(b, op_spool_remove(b->spool, bad[i], &b->err), OP_INVAL, "not a name");
        assert_fails(b, op_spool_quarantine(b->spool, bad[i], "x", &b->err), OP_INVAL,
                     "not a name");
    }
    op_buf_release(&buf);
}

static void leftovers_are_swept(void **state)
{
    struct bench *b = *state;
    struct op_spool_file file;
    assert_ok(b, op_spool_begin(b->spool, "result", &file, &b->err));
    write_raw(b, "result/1-0-abcabcabcabc.jsonl", "kept");
    /* A reader looks and leaves; a writer sweeps. */
    struct op_spool *other = NULL;
    assert_ok(b, op_spool_open(&bad_env, b->dir, false, &other, &b->err));
    assert_int_equal(strncmp(names(b, "result"), ".new-", 5), 0);
    struct op_spool_file none;
    assert_fails(b, op_spool_begin(other, "result", &none, &b->err), OP_INVAL, "reading only");
    op_spool_closep(&other);
    assert_ok(b, op_spool_open(&bad_env, b->dir, true, &other, &b->err));
    assert_string_equal(names(b, "result"), "1-0-abcabcabcabc.jsonl ");
    op_spool_close(other);
    op_spool_abort(b->spool, &file);
}

static void unreliable_folders_are_refused(void **state)
{
    struct bench *b = *state;
    struct op_spool *other = NULL;
    static const struct {
        mode_t mode;
        const char *word;
    } rows[] = {{0777, "written by others"}, {0720, "mode 720"}, {0702, "chmod 700"}};
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        assert_int_equal(chmod(b->dir, rows[i].mode), 0);
        assert_fails(b, op_spool_open(&bad_env, b->dir, true, &other, &b->err), OP_INVAL,
                     rows[i].word);
    }
    setenv("OFFPEAK_UNSAFE_STATE", "1", 1);
    assert_ok(b, op_spool_open(&bad_env, b->dir, true, &other, &b->err));
    op_spool_closep(&other);
    unsetenv("OFFPEAK_UNSAFE_STATE");
    assert_int_equal(chmod(b->dir, 0700), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(b->dir, 65534, 65534), 0);
        assert_fails(b, op_spool_open(&bad_env, b->dir, true, &other, &b->err), OP_INVAL,
                     "another user");
        assert_int_equal(chown(b->dir, 0, 0), 0);
    }
    OP_CLEANUP(op_mem_freep) char *file = op_mem_printf("%s/file", b->dir);
    close(open(file, O_CREAT | O_WRONLY, 0600));
    assert_fails(b, op_spool_open(&bad_env, file, true, &other, &b->err), OP_INVAL, "not a");
    OP_CLEANUP(op_mem_freep) char *none = op_mem_printf("%s/none", b->dir);
    assert_fails(b, op_spool_open(&bad_env, none, false, &other, &b->err), OP_NOTFOUND, "none");
}

/* --- append-only files ----------------------------------------------------------------------- */

static void an_outbox_is_cut_to_what_was_committed(void **state)
{
    struct bench *b = *state;
    struct op_append file;
    assert_ok(b, op_append_open(b->spool, "outbox/1-0.rows", 0, &file, &b->err));
    assert_ok(b, op_append_add(&file, "first;", 6, &b->err));
    assert_ok(b, op_append_sync(&file, &b->err));
    assert_ok(b, op_append_add(&file, "lost", 4, &b->err));
    assert_true(file.len == 10);
    op_append_close(&file);
    op_append_close(&file);
    assert_ok(b, op_append_open(b->spool, "outbox/1-0.rows", 6, &file, &b->err));
    assert_ok(b, op_append_add(&file, "2nd;", 4, &b->err));
    op_append_close(&file);
    assert_string_equal(read_raw(b, "outbox/1-0.rows"), "first;2nd;");
    assert_fails(b, op_append_open(b->spool, "outbox/1-0.rows", 11, &file, &b->err), OP_IO,
                 "11 were committed");
    assert_fails(b, op_append_open(b->spool, "outbox/9-0.rows", 1, &file, &b->err), OP_IO,
                 "outbox/9-0");
}

static void a_failed_append_is_written_over(void **state)
{
    struct bench *b = *state;
    struct op_append file;
    assert_ok(b, op_append_open(b->spool, "outbox/1-0.rows", 0, &file, &b->err));
    assert_ok(b, op_append_add(&file, "first;", 6, &b->err));
    arm(1, ENOSPC);
    assert_int_equal(op_append_add(&file, "second;", 7, &b->err), OP_IO);
    assert_int_equal(b->err.disp, OP_DISP_RETRY);
    assert_true(file.len == 6);
    op_err_clear(&b->err);
    arm(1, EIO);
    assert_int_equal(op_append_sync(&file, &b->err), OP_IO);
    assert_int_equal(b->err.disp, OP_DISP_FATAL);
    op_err_clear(&b->err);
    arm(0, 0);
    assert_ok(b, op_append_add(&file, "again;;;;", 9, &b->err));
    op_append_close(&file);
    assert_string_equal(read_raw(b, "outbox/1-0.rows"), "first;again;;;;");
}

/* --- the manifest ---------------------------------------------------------------------------- */

static void the_manifest_is_a_line_each(void **state)
{
    struct bench *b = *state;
    assert_ok(b, op_manifest_add(b->spool, "{\"a\":1}", &b->err));
    assert_ok(b, op_manifest_add(b->spool, "{\"a\":2}", &b->err));
    assert_string_equal(read_raw(b, "manifest.jsonl"), "{\"a\":1}\n{\"a\":2}\n");
    write_raw(b, "manifest.jsonl", "{\"a\":1}\n{\"a\"");
    assert_ok(b, op_manifest_add(b->spool, "{\"a\":3}", &b->err));
    assert_string_equal(read_raw(b, "manifest.jsonl"), "{\"a\":1}\n{\"a\"\n{\"a\":3}\n");
    assert_fails(b, op_manifest_add(b->spool, "{\n}", &b->err), OP_INVAL, "one short line");
}

/* No failure leaves half a line that a later one would be glued to. */
static void every_failing_call_of_a_manifest_line(void **state)
{
    struct bench *b = *state;
    int64_t n = 1;
    for (;; n++) {
        OP_CLEANUP(op_mem_freep) char *path = op_spool_path(b->spool, "manifest.jsonl");
        unlink(path);
        assert_ok(b, op_manifest_add(b->spool, "{\"a\":1}", &b->err));
        arm(n, ENOSPC);
        enum op_rc rc = op_manifest_add(b->spool, "{\"a\":2}", &b->err);
        bool failed = failed_call != NULL;
        arm(0, 0);
        assert_int_equal(rc != OP_OK, failed);
        op_err_clear(&b->err);
        assert_ok(b, op_manifest_add(b->spool, "{\"a\":3}", &b->err));
        const char *text = read_raw(b, "manifest.jsonl");
        assert_non_null(strstr(text, "{\"a\":1}\n"));
        assert_non_null(strstr(text, "\n{\"a\":3}\n"));
        if (!failed)
            break;
    }
    assert_true(n > 2);
}

static void the_witness_is_the_highest_of_ours(void **state)
{
    struct bench *b = *state;
    write_raw(b, "manifest.jsonl",
              "{\"ledger\":\"u1\",\"batch\":3,\"nonce\":\"aaaaaaaa\"}\n"
              "not json\n"
              "{\"ledger\":\"u2\",\"batch\":9,\"nonce\":\"cccccccc\"}\n"
              "{\"ledger\":\"u1\",\"batch\":5,\"nonce\":\"bbbbbbbb\"}\n"
              "{\"ledger\":\"u1\",\"batch\":4,\"nonce\":\"dddddddd\"}\n"
              "{\"ledger\":\"u1\",\"bat");
    struct op_witness witness;
    assert_ok(b, op_manifest_witness(&bad_env, b->dir, "u1", 0, &witness, &b->err));
    assert_true(witness.batch_id == 5 && witness.highest == 9 && witness.foreign == 1);
    assert_string_equal(witness.nonce, "bbbbbbbb");
    assert_string_equal(witness.foreign_uuid, "u2");
    struct op_witness rest;
    assert_ok(b, op_manifest_witness(&bad_env, b->dir, "u1", witness.size, &rest, &b->err));
    assert_true(rest.batch_id == 0 && rest.size == witness.size);
    assert_ok(b, op_manifest_witness(&bad_env, "/tmp/op-nowhere", "u1", 0, &rest, &b->err));
    assert_true(rest.batch_id == 0 && rest.size == 0);
}

static void headroom_is_asked_before_buying(void **state)
{
    struct bench *b = *state;
    static const struct {
        int64_t room, needed;
        bool enough;
    } rows[] = {
        {OP_SPOOL_RESERVE, 0, true},           {OP_SPOOL_RESERVE - 1, 0, false},
        {OP_SPOOL_RESERVE + 1000, 1000, true}, {OP_SPOOL_RESERVE + 1000, 1001, false},
        {INT64_MAX, INT64_MAX, true},          {INT64_MAX - 1, INT64_MAX, false},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        free_space = rows[i].room;
        enum op_rc rc = op_spool_headroom(b->spool, rows[i].needed, &b->err);
        assert_int_equal(rc, rows[i].enough ? OP_OK : OP_IO);
        assert_int_equal(b->err.disp, rows[i].enough ? OP_DISP_FATAL : OP_DISP_RETRY);
        op_err_clear(&b->err);
    }
    free_space = -EIO;
    assert_int_equal(op_spool_headroom(b->spool, 0, &b->err), OP_IO);
    op_err_clear(&b->err);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up_spool, tear_down_spool)
    const struct CMUnitTest tests[] = {
        T(a_file_gets_the_name_of_its_content),
        T(every_failing_call_of_a_commit),
        T(a_disk_that_fills_while_writing),
        T(a_damaged_file_makes_room),
        T(verifying_finds_every_difference),
        T(names_stay_in_the_spool),
        T(leftovers_are_swept),
        T(unreliable_folders_are_refused),
        T(an_outbox_is_cut_to_what_was_committed),
        T(a_failed_append_is_written_over),
        T(the_manifest_is_a_line_each),
        T(every_failing_call_of_a_manifest_line),
        T(the_witness_is_the_highest_of_ours),
        T(headroom_is_asked_before_buying),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
