/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: opening. One writer at a time, named when in the way; readers beside it; what is not
 *            this program's, or newer, is refused and left byte for byte; old versions are copied,
 *            then migrated, to the same schema as a new ledger's; a copied, moved or restored ledger
 *            is suspect and sends nothing until it is trusted.
 * Oracle:    files compared before and after, schemas compared as text, and the words of messages.
 */
#include <grp.h>

#include "base/io.h"
#include "ledger/blackbox.h"
#include "ledger/sqlite/schema.h"
#include "ledger/sqlite/sqlite.h"
#include "support.h"

static enum op_rc open_mode(struct world *w, enum op_ledger_mode mode)
{
    return op_ledger_open(op_env_default(), w->dir, mode, NULL, &w->ledger, &w->err);
}

static void an_identity_lasts(void **state)
{
    struct world *w = *state;
    char uuid[37], tag[8];
    snprintf(uuid, sizeof(uuid), "%s", op_ledger_uuid(w->ledger));
    snprintf(tag, sizeof(tag), "%s", op_ledger_tag(w->ledger));
    assert_int_equal(strlen(uuid), 36);
    assert_int_equal(strlen(tag), OP_LEDGER_TAG_LEN);
    assert_true(uuid[14] == '4' && strspn(tag, "abcdefghijklmnopqrstuvwxyz234567") == 6);
    reopen(w);
    assert_string_equal(op_ledger_uuid(w->ledger), uuid);
    assert_string_equal(op_ledger_tag(w->ledger), tag);
    assert_false(op_ledger_is_suspect(w->ledger, NULL));
    assert_int_equal(op_ledger_version(w->ledger), (int)op_schema_count);
    struct stat st;
    OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/ledger.db", w->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void the_settings_hold(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *pragma;
        int64_t value;
    } rows[] = {{"PRAGMA synchronous", 3},
                {"PRAGMA cell_size_check", 1},
                {"PRAGMA mmap_size", 0},
                {"PRAGMA trusted_schema", 0},
                {"PRAGMA application_id", OP_SQ_APPLICATION},
                {"SELECT journal_mode = 'truncate' FROM pragma_journal_mode", 1}};
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        int64_t value = -1;
        assert_ok(w, op_sq_query_int(w->ledger->db, "x", rows[i].pragma, &value, &w->err));
        assert_true(value == rows[i].value);
    }
    /* DEFENSIVE: no statement can damage the file. */
    assert_int_not_equal(sqlite3_exec(w->ledger->db,
                                      "PRAGMA writable_schema = 1;"
                                      "UPDATE sqlite_schema SET sql = 'x'",
                                      NULL, NULL, NULL),
                         SQLITE_OK);
    op_ledger_close(OP_TAKE(w->ledger));
    assert_true(raw_sql(w->dir, "SELECT count(*) FROM pragma_table_list WHERE schema = 'main'"
                                " AND name NOT LIKE 'sqlite_%' AND NOT strict") == 0);
    open_world(w);
}

/* Runs fn in a child; returns its exit code. */
static int in_child(void (*fn)(struct world *w, int fd), struct world *w, int *ret_fd)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        fn(w, ends[1]);
        _exit(0);
    }
    close(ends[1]);
    *ret_fd = ends[0];
    return (int)pid;
}

static void hold_it(struct world *w, int fd)
{
    struct op_err err = OP_ERR_INIT;
    enum op_rc rc =
        op_ledger_open(op_env_default(), w->dir, OP_LEDGER_WRITE, NULL, &w->ledger, &err);
    char c = rc ? 'x' : 'y';
    if (write(fd, &c, 1) != 1)
        _exit(3);
    pause();
}

static void the_second_writer_is_told_of_the_first(void **state)
{
    struct world *w = *state;
    int64_t record = add_record(w, w->job, "k"), found = 0;
    op_ledger_close(OP_TAKE(w->ledger));
    int fd = -1;
    int pid = in_child(hold_it, w, &fd);
    char c = 0;
    assert_int_equal(read(fd, &c, 1), 1);
    assert_int_equal(c, 'y');
    char number[16];
    snprintf(number, sizeof(number), "kill %d", pid);
    assert_int_equal(open_mode(w, OP_LEDGER_WRITE), OP_BUSY);
    assert_int_equal(w->err.disp, OP_DISP_RETRY);
    assert_non_null(strstr(w->err.msg, number));
    op_err_clear(&w->err);
    /* A reader is welcome. */
    assert_ok(w, open_mode(w, OP_LEDGER_READ));
    assert_ok(w, op_ledger_record_find(w->ledger, w->job, OP_STR("k"), &found, &w->err));
    assert_true(found == record);
    op_ledger_closep(&w->ledger);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(fd);
    open_world(w); /* the lock went with the process */
    add_record(w, w->job, "k2");
}

static void a_reader_changes_nothing(void **state)
{
    struct world *w = *state;
    add_packed(w, w->job, 1);
    struct op_ledger *writer = OP_TAKE(w->ledger);
    assert_ok(w, open_mode(w, OP_LEDGER_READ));
    int64_t id = 0;
    uint8_t hash[OP_HASH_LEN] = {0};
    struct op_batch batch = {.id = 1, .state = OP_BATCH_BUILT};
    struct op_request request = {.id = 1, .state = OP_REQUEST_PACKED, .batch_id = 1};
    assert_fails(w, op_ledger_record_add(w->ledger, 1, OP_STR("x"), OP_STR_NULL, &id, &w->err),
                 OP_INVAL, "reading only");
    assert_fails(w, op_ledger_begin(w->ledger, &w->err), OP_INVAL, "reading only");
    assert_fails(w, op_ledger_asked_put(w->ledger, hash, 1, &w->err), OP_INVAL, "reading only");
    assert_fails(w, op_ledger_batch_go(w->ledger, &batch, OP_BATCH_SENDING, "", &w->err),
                 OP_INVAL, "reading only");
    assert_fails(w, op_ledger_request_go(w->ledger, &request, 1, OP_REQUEST_DONE, &w->err),
                 OP_INVAL, "reading only");
    assert_fails(w, op_ledger_trust(w->ledger, &w->err), OP_INVAL, "reading only");
    struct op_buf report;
    op_buf_init(&report, 1000);
    audit(w, &report);
    op_buf_release(&report);
    /* It sees what the writer commits meanwhile. */
    struct op_ledger *reader = w->ledger;
    w->ledger = writer;
    int64_t record = add_record(w, w->job, "new");
    assert_ok(w, op_ledger_record_find(reader, w->job, OP_STR("new"), &id, &w->err));
    assert_true(id == record);
    op_ledger_close(reader);
}

static void no_ledger_to_read(void **state)
{
    struct world *w = *state;
    op_ledger_close(OP_TAKE(w->ledger));
    char dir[sizeof(w->dir)];
    memcpy(dir, w->dir, sizeof(dir));
    strncat(w->dir, "/none", sizeof(w->dir) - strlen(w->dir) - 1);
    assert_fails(w, open_mode(w, OP_LEDGER_READ), OP_NOTFOUND, "no ledger");
    memcpy(w->dir, dir, sizeof(dir));
    OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/ledger.db", w->dir);
    assert_int_equal(unlink(path), 0);
    assert_fails(w, open_mode(w, OP_LEDGER_READ), OP_NOTFOUND, "ledger");
    /* Made, but not filled: a crash right at the beginning. */
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    assert_fails(w, open_mode(w, OP_LEDGER_READ), OP_NOTFOUND, "no ledger");
    open_world(w);
}

static void read_file(const char *path, struct op_buf *ret)
{
    struct op_err err = OP_ERR_INIT;
    op_buf_init(ret, 16 << 20);
    assert_int_equal(op_io_read_file(op_env_default(), path, ret, &err), OP_OK);
}

static void what_is_not_ours_is_not_touched(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *sql, *word;
    } rows[] = {
        {"PRAGMA user_version = 99", "newer offpeak"},
        {"PRAGMA application_id = 7", "not an offpeak ledger"},
        {NULL, "not an offpeak ledger"}, /* no database at all */
    };
    OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/ledger.db", w->dir);
    op_ledger_close(OP_TAKE(w->ledger));
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        if (rows[i].sql) {
            raw_sql(w->dir, rows[i].sql);
        } else {
            FILE *file = fopen(path, "w");
            for (int k = 0; k < 1000; k++)
                fputs("this is a text\n", file);
            fclose(file);
        }
        struct op_buf before, after;
        read_file(path, &before);
        assert_fails(w, open_mode(w, OP_LEDGER_WRITE), OP_INVAL, rows[i].word);
        assert_fails(w, open_mode(w, OP_LEDGER_READ), OP_INVAL, rows[i].word);
        read_file(path, &after);
        assert_int_equal(before.len, after.len);
        assert_memory_equal(before.ptr, after.ptr, before.len);
        op_buf_release(&before);
        op_buf_release(&after);
        if (i == 0)
            raw_sql(w->dir, "PRAGMA user_version = 1");
    }
}

static void try_in_vain(struct world *w, int fd)
{
    (void)fd;
    if (geteuid() == 0 && (setgroups(0, NULL) || setgid(65534) || setuid(65534)))
        _exit(3);
    enum op_rc rc = open_mode(w, OP_LEDGER_WRITE);
    _exit(rc == OP_IO && strstr(w->err.msg, "writable") ? 0 : 1);
}

/* Root may write everywhere, so a child becomes somebody else. */
static void a_folder_that_may_not_be_written(void **state)
{
    struct world *w = *state;
    op_ledger_close(OP_TAKE(w->ledger));
    OP_CLEANUP(op_mem_freep) char *lock = op_mem_printf("%s/ledger.lock", w->dir);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(chmod(w->dir, 0555), 0);
    int fd = -1, status = 0;
    int pid = in_child(try_in_vain, w, &fd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(fd);
    chmod(w->dir, 0700);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- migrations ----------------------------------------------------------------------------- */

static int64_t run_text(const char *dir, const char *file)
{
    struct op_buf sql;
    read_file(file, &sql);
    int64_t value = raw_sql(dir, sql.ptr);
    op_buf_release(&sql);
    return value;
}

static void add_schema(const char *dir, struct op_buf *ret)
{
    OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/ledger.db", dir);
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db,
                           "SELECT type, name, coalesce(sql, '') FROM sqlite_schema"
                           " WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name",
                           -1, &stmt, NULL),
        SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        op_buf_addf(ret, "%s %s %s\n", sqlite3_column_text(stmt, 0),
                    sqlite3_column_text(stmt, 1), sqlite3_column_text(stmt, 2));
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

/* Every version that was ever released: its fixture becomes the schema of today, and works. */
static void old_ledgers_become_new_ones(void **state)
{
    struct world *w = *state;
    struct op_buf fresh;
    op_buf_init(&fresh, 1 << 20);
    op_ledger_close(OP_TAKE(w->ledger));
    add_schema(w->dir, &fresh);
    for (size_t version = 1; version <= op_schema_count; version++) {
        OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/ledger.db", w->dir);
        assert_int_equal(unlink(path), 0);
        OP_CLEANUP(op_mem_freep)
        char *fixture =
            op_mem_printf("%s/tests/support/ledgers/v%zu.sql", OP_SOURCE_DIR, version);
        run_text(w->dir, fixture);
        open_world(w);
        assert_int_equal(op_ledger_version(w->ledger), (int)op_schema_count);
        /* It was made elsewhere, so it is a copy. */
        assert_true(op_ledger_is_suspect(w->ledger, NULL));
        assert_ok(w, op_ledger_trust(w->ledger, &w->err));
        struct op_buf report;
        op_buf_init(&report, 10000);
        if (audit(w, &report))
            fail_msg("v%zu: %s", version, report.ptr);
        op_buf_release(&report);
        OP_CLEANUP(op_request_release) struct op_request request = {0};
        assert_ok(w, op_ledger_request_get(w->ledger, 1, &request, &w->err));
        assert_int_equal(request.state, OP_REQUEST_DONE);
        struct op_result_row result;
        assert_ok(w, op_ledger_result_get(w->ledger, 1, 1, &result, &w->err));
        assert_true(result.valid && result.usage.tokens[OP_TOKEN_OUTPUT] == 5);
        add_packed(w, w->job, 2);
        op_ledger_close(OP_TAKE(w->ledger));
        struct op_buf migrated;
        op_buf_init(&migrated, 1 << 20);
        add_schema(w->dir, &migrated);
        assert_string_equal(migrated.ptr, fresh.ptr);
        op_buf_release(&migrated);
    }
    op_buf_release(&fresh);
    open_world(w);
}

static int count_copies(const char *dir, char ret_path[512])
{
    int count = 0;
    FILE *list = NULL;
    char command[256];
    snprintf(command, sizeof(command), "ls %s", dir);
    list = popen(command, "r");
    char name[256];
    while (list && fgets(name, sizeof(name), list)) {
        name[strcspn(name, "\n")] = '\0';
        if (strncmp(name, "ledger-v", 8) != 0)
            continue;
        count++;
        snprintf(ret_path, 512, "%s/%s", dir, name);
    }
    pclose(list);
    return count;
}

/* A connection of its own, as a new process would have it. */
static sqlite3 *open_database(struct world *w)
{
    OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/ledger.db", w->dir);
    sqlite3 *db = NULL;
    op_ledger_close(OP_TAKE(w->ledger));
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

/* Steps of a future: the copy holds the old state, a failing step leaves its predecessor's. */
#define STEPS_MAX 32

/* The steps of today and some more; returns how many there are today. */
static size_t steps_and(const char *const *later, size_t count,
                        struct op_schema_step ret[STEPS_MAX])
{
    assert_true(op_schema_count + count <= STEPS_MAX);
    for (size_t i = 0; i < op_schema_count; i++)
        ret[i] = op_schema_steps[i];
    for (size_t i = 0; i < count; i++)
        ret[op_schema_count + i] = (struct op_schema_step){later[i]};
    return op_schema_count;
}

static void a_migration_keeps_a_copy(void **state)
{
    struct world *w = *state;
    const char *later[] = {"ALTER TABLE job ADD COLUMN extra TEXT;",
                           "CREATE TABLE more(x) STRICT;",
                           "ALTER TABLE job DROP COLUMN extra;"};
    struct op_schema_step steps[STEPS_MAX];
    const size_t now = steps_and(later, OP_COUNT(later), steps);
    add_packed(w, w->job, 3);
    sqlite3 *db = open_database(w);
    int version = 0;
    assert_ok(w, op_schema_migrate(db, op_env_default(), w->dir, "x", steps, now + 1, &version,
                                   &w->err));
    assert_int_equal(version, (int)now + 1);
    char copy[512];
    assert_int_equal(count_copies(w->dir, copy), 1);
    sqlite3 *old = NULL;
    int64_t value = 0;
    assert_int_equal(sqlite3_open_v2(copy, &old, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_ok(w, op_sq_query_int(old, copy, "PRAGMA user_version", &value, &w->err));
    assert_true(value == (int64_t)now);
    assert_ok(w, op_sq_query_int(old, copy, "SELECT count(*) FROM request", &value, &w->err));
    assert_true(value == 3);
    sqlite3_close(old);
    /* The second of the later steps is no valid table (STRICT wants types). */
    OP_CLEANUP(op_mem_freep) char *said = op_mem_printf("version %zu", now + 2);
    assert_fails(
        w,
        op_schema_migrate(db, op_env_default(), w->dir, "x", steps, now + 3, &version, &w->err),
        OP_IO, said);
    assert_ok(w, op_sq_query_int(db, "x", "PRAGMA user_version", &value, &w->err));
    assert_true(value == (int64_t)now + 1);
    steps[now + 1].sql = "CREATE TABLE more(x INTEGER) STRICT;";
    assert_ok(w, op_schema_migrate(db, op_env_default(), w->dir, "x", steps, now + 3, &version,
                                   &w->err));
    assert_int_equal(version, (int)now + 3);
    assert_fails(
        w,
        op_schema_migrate(db, op_env_default(), w->dir, "x", steps, now + 1, &version, &w->err),
        OP_INVAL, "newer offpeak");
    sqlite3_close(db);
}

static int refuse_fsync(struct op_env *env, int fd)
{
    (void)env;
    (void)fd;
    return -EIO;
}

static void no_copy_no_migration(void **state)
{
    struct world *w = *state;
    struct op_env_ops ops = *op_env_default()->ops;
    ops.fsync = refuse_fsync;
    struct op_env env = {.ops = &ops};
    const char *later[] = {"CREATE TABLE t(x INTEGER);"};
    struct op_schema_step steps[STEPS_MAX];
    const size_t now = steps_and(later, 1, steps);
    sqlite3 *db = open_database(w);
    int version = 0;
    int64_t value = 0;
    assert_fails(w, op_schema_migrate(db, &env, w->dir, "x", steps, now + 1, &version, &w->err),
                 OP_IO, "copy of the ledger");
    assert_ok(w, op_sq_query_int(db, "x", "PRAGMA user_version", &value, &w->err));
    assert_true(value == (int64_t)now);
    char copy[512];
    assert_int_equal(count_copies(w->dir, copy), 0);
    sqlite3_close(db);
}

/* --- one ledger, and not two ----------------------------------------------------------------- */

static void append_manifest(struct world *w, const char *text)
{
    OP_CLEANUP(op_mem_freep) char *dir = op_mem_printf("%s/spool", w->dir);
    OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/manifest.jsonl", dir);
    mkdir(dir, 0700);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void announce(struct world *w, int64_t batch, const char *nonce)
{
    OP_CLEANUP(op_mem_freep)
    char *line =
        op_mem_printf("{\"ledger\":\"%s\",\"batch\":%lld,\"nonce\":\"%s\",\"count\":1}\n",
                      op_ledger_uuid(w->ledger), (long long)batch, nonce);
    append_manifest(w, line);
}

static void check_suspect(struct world *w, const char *word)
{
    struct op_str why = OP_STR_NULL;
    assert_true(op_ledger_is_suspect(w->ledger, &why));
    if (!strstr(why.ptr, word))
        fail_msg("'%s' has no '%s'", why.ptr, word);
    int64_t batch = add_packed(w, w->job, 1);
    OP_CLEANUP(op_batch_release) struct op_batch b = {0};
    assert_ok(w, op_ledger_batch_get(w->ledger, batch, &b, &w->err));
    assert_int_equal(op_ledger_batch_go(w->ledger, &b, OP_BATCH_SENDING, "", &w->err),
                     OP_INVAL);
    assert_int_equal(w->err.disp, OP_DISP_PAUSE);
    assert_non_null(strstr(w->err.msg, "nothing is sent"));
    op_err_clear(&w->err);
    /* It stays so, however many batches are built. */
    reopen(w);
    assert_true(op_ledger_is_suspect(w->ledger, &why));
    assert_ok(w, op_ledger_trust(w->ledger, &w->err));
    assert_false(op_ledger_is_suspect(w->ledger, NULL));
    assert_ok(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_SENDING, "", &w->err));
    reopen(w);
    assert_false(op_ledger_is_suspect(w->ledger, NULL));
}

/* After a failed flush nothing is sent until the state was proved; that is not the operator's to
 * say, and another's doubt is none. */
static void doubt_lasts_until_it_is_proved(void **state)
{
    struct world *w = *state;
    int64_t batch = add_packed(w, w->job, 1);
    OP_CLEANUP(op_batch_release) struct op_batch b = {0};
    assert_ok(w, op_ledger_batch_get(w->ledger, batch, &b, &w->err));
    assert_false(op_ledger_in_doubt(w->ledger));
    assert_ok(w, op_blackbox_doubt(op_env_default(), w->dir, "other", "theirs", &w->err));
    reopen(w);
    assert_false(op_ledger_in_doubt(w->ledger));
    assert_ok(w, op_blackbox_doubt(op_env_default(), w->dir, op_ledger_uuid(w->ledger),
                                   "the disk", &w->err));
    reopen(w);
    struct op_str why = OP_STR_NULL;
    assert_true(op_ledger_in_doubt(w->ledger) && op_ledger_is_suspect(w->ledger, &why));
    assert_true(op_str_is(why, "the disk"));
    assert_string_equal(op_ledger_remedy(w->ledger), "offpeak recover");
    assert_fails(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_SENDING, "", &w->err), OP_INVAL,
                 "nothing is sent");
    assert_ok(w, op_ledger_proved(w->ledger, &w->err));
    assert_false(op_ledger_is_suspect(w->ledger, NULL));
    assert_ok(w, op_ledger_batch_go(w->ledger, &b, OP_BATCH_SENDING, "", &w->err));
    reopen(w);
    assert_false(op_ledger_is_suspect(w->ledger, NULL));
}

static void the_manifest_in_step(void **state)
{
    struct world *w = *state;
    int64_t batch = add_packed(w, w->job, 1);
    announce(w, batch, "n0000001");
    append_manifest(w, "garbage\n[1]\n{\"batch\":99}\n{\"ledger\":5,\"batch\":99}\n{\"led");
    reopen(w);
    assert_false(op_ledger_is_suspect(w->ledger, NULL));
}

static void a_restored_backup_is_noticed(void **state)
{
    struct world *w = *state;
    announce(w, 5, "n0000005");
    reopen(w);
    int64_t next = op_ledger_next_batch(w->ledger);
    assert_true(next == 1);
    check_suspect(w, "batch 5 was sent");
    assert_true(op_ledger_next_batch(w->ledger) == 6); /* its ids are not used a second time */
}

static void another_history_of_the_same_batch(void **state)
{
    struct world *w = *state;
    add_packed(w, w->job, 1);
    announce(w, 1, "abcdefgh");
    reopen(w);
    check_suspect(w, "knows it as 'n0000001'");
}

static void the_manifest_of_a_lost_ledger(void **state)
{
    struct world *w = *state;
    append_manifest(w, "{\"ledger\":\"11111111-2222-4333-8444-555555555555\",\"batch\":3}\n");
    reopen(w);
    check_suspect(w, "11111111-2222-4333-8444-555555555555");
}

static void a_copied_folder_is_noticed(void **state)
{
    struct world *w = *state;
    op_ledger_close(OP_TAKE(w->ledger));
    char from[sizeof(w->dir)], command[256];
    memcpy(from, w->dir, sizeof(from));
    snprintf(command, sizeof(command), "mkdir %s/copy && cp %s/ledger.db %s/copy/", from, from,
             from);
    assert_int_equal(system(command), 0);
    strncat(w->dir, "/copy", sizeof(w->dir) - strlen(w->dir) - 1);
    assert_ok(w, open_mode(w, OP_LEDGER_READ)); /* there was no writer yet */
    op_ledger_close(OP_TAKE(w->ledger));
    open_world(w);
    check_suspect(w, "copied or moved");
    op_ledger_close(OP_TAKE(w->ledger));
    memcpy(w->dir, from, sizeof(from));
    open_world(w);
    assert_false(op_ledger_is_suspect(w->ledger, NULL));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(an_identity_lasts),
        T(the_settings_hold),
        T(the_second_writer_is_told_of_the_first),
        T(a_reader_changes_nothing),
        T(no_ledger_to_read),
        T(what_is_not_ours_is_not_touched),
        T(a_folder_that_may_not_be_written),
        T(old_ledgers_become_new_ones),
        T(a_migration_keeps_a_copy),
        T(no_copy_no_migration),
        T(doubt_lasts_until_it_is_proved),
        T(the_manifest_in_step),
        T(a_restored_backup_is_noticed),
        T(another_history_of_the_same_batch),
        T(the_manifest_of_a_lost_ledger),
        T(a_copied_folder_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
