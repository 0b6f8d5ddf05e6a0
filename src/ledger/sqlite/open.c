/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/io.h"
#include "ledger/blackbox.h"
#include "ledger/sqlite/schema.h"
#include "ledger/sqlite/sqlite.h"

/* How long a commit waits for readers to let go of the file. */
#define BUSY_MS 30000

struct setting {
    const char *set;  /* NULL: nothing to say */
    const char *read; /* yields one integer, or nothing at all for 0 */
    int64_t expected;
};

/* Each is read back: a SQLite built or configured otherwise would silently lose the promise.
 * TRUNCATE and EXTRA: the pair that loses no intent under power loss with any SQLite
 * (reference/reliability.md 3.12); WAL is left alone because of its reset bug before 3.51.3. */
static const struct setting settings[] = {
    {"PRAGMA journal_mode = TRUNCATE",
     "SELECT journal_mode = 'truncate' FROM pragma_journal_mode", 1},
    {"PRAGMA synchronous = EXTRA", "PRAGMA synchronous", 3},
    {"PRAGMA cell_size_check = ON", "PRAGMA cell_size_check", 1},
    {"PRAGMA mmap_size = 0", "PRAGMA mmap_size", 0},
    {"PRAGMA trusted_schema = OFF", "PRAGMA trusted_schema", 0},
    {"PRAGMA temp_store = MEMORY", "PRAGMA temp_store", 2},
    /* Erasing freed bytes doubles the pages that a large update writes, and protects nothing here:
     * the spool holds the same bytes. */
    {"PRAGMA secure_delete = OFF", "PRAGMA secure_delete", 0},
    {"PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys", 0},
    {"PRAGMA cache_size = -16384", "PRAGMA cache_size", -16384},
};

static enum op_rc check_switch(struct op_ledger *ledger, int verb, int on, const char *name,
                               struct op_err *err)
{
    int now = -1;
    if (sqlite3_db_config(ledger->db, verb, on, &now) || now != on)
        return op_fail(err, OP_IO, "this SQLite (%s) does not support %s, which %s needs",
                       sqlite3_libversion(), name, ledger->path);
    return OP_OK;
}

static enum op_rc apply_settings(struct op_ledger *ledger, struct op_err *err)
{
    for (size_t i = 0; i < OP_COUNT(settings); i++) {
        if (sqlite3_exec(ledger->db, settings[i].set, NULL, NULL, NULL))
            return op_sq_describe(ledger->db, ledger->path, settings[i].set, err);
        int64_t value = 0;
        enum op_rc rc =
            op_sq_query_int(ledger->db, ledger->path, settings[i].read, &value, err);
        if (rc)
            return rc;
        if (value != settings[i].expected)
            return op_fail(err, OP_IO,
                           "SQLite %s did not accept '%s' for %s; the ledger would not be safe "
                           "there",
                           sqlite3_libversion(), settings[i].set, ledger->path);
    }
    if (ledger->mode == OP_LEDGER_READ &&
        sqlite3_exec(ledger->db, "PRAGMA query_only = ON", NULL, NULL, NULL))
        return op_sq_describe(ledger->db, ledger->path, "open for reading", err);
    return OP_OK;
}

/* The database file is made here and not by SQLite, so that it is private whatever the umask. Only
 * when it is absent: closing another descriptor of an open database would drop SQLite's locks. */
static enum op_rc make_file(struct op_ledger *ledger, struct op_err *err)
{
    struct op_env *env = ledger->env;
    int fd = env->ops->open(env, ledger->path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd == -EEXIST)
        return OP_OK;
    int rc = fd < 0 ? fd : env->ops->close(env, fd);
    if (rc >= 0)
        rc = env->ops->fsync_dir(env, ledger->dir);
    if (rc >= 0)
        return OP_OK;
    errno = -rc;
    return op_fail_errno(err, OP_IO, "cannot create %s", ledger->path);
}

/* Durability point: the last process may have died, or been told EIO, between emptying the journal
 * and knowing that on disk. SQLite sees an empty journal and begins to write the next transaction
 * into it; were power lost then, the disk could hold the header of the old one before pages of the
 * new, and half of it would be rolled back. */
static enum op_rc settle_journal(struct op_ledger *ledger, struct op_err *err)
{
    struct op_env *env = ledger->env;
    OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s-journal", ledger->path);
    int fd = env->ops->open(env, path, O_RDONLY, 0);
    if (fd == -ENOENT)
        return OP_OK;
    int rc = fd < 0 ? fd : env->ops->fsync(env, fd);
    if (fd >= 0)
        (void)env->ops->close(env, fd);
    if (rc >= 0)
        return OP_OK;
    errno = -rc;
    return op_fail_errno(err, OP_IO, "cannot make %s durable", path);
}

static enum op_rc connect_file(struct op_ledger *ledger, const char *vfs, struct op_err *err)
{
    /* A reader too opens for writing: after a crash it is the one who rolls the hot journal back.
     * On a file that may not be written SQLite falls back to reading by itself. */
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    if (vfs && ledger->mode == OP_LEDGER_WRITE)
        flags |= SQLITE_OPEN_CREATE;
    int rc = sqlite3_open_v2(ledger->path, &ledger->db, flags, vfs);
    if (rc && ledger->mode == OP_LEDGER_READ && (rc & 0xff) == SQLITE_CANTOPEN)
        return op_fail(err, OP_NOTFOUND, "there is no ledger in %s yet", ledger->dir);
    if (rc)
        return op_sq_describe(ledger->db, ledger->path, "open the ledger", err);
    sqlite3_extended_result_codes(ledger->db, 1);
    sqlite3_busy_timeout(ledger->db, BUSY_MS);
    static const struct {
        int verb, on;
        const char *name;
    } switches[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1, "defensive mode"},
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, "distrust of the schema"},
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, "refusing extensions"},
        {SQLITE_DBCONFIG_DQS_DML, 0, "strict quotes"},
        {SQLITE_DBCONFIG_DQS_DDL, 0, "strict quotes"},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 1, "triggers"},
    };
    for (size_t i = 0; i < OP_COUNT(switches); i++) {
        enum op_rc bad =
            check_switch(ledger, switches[i].verb, switches[i].on, switches[i].name, err);
        if (bad)
            return bad;
    }
    return OP_OK;
}

static enum op_rc prepare_schema(struct op_ledger *ledger, struct op_err *err)
{
    /* Before the first pragma that could write: a newer ledger must stay as it is. */
    enum op_rc rc =
        op_schema_version(ledger->db, ledger->path, op_schema_count, &ledger->version, err);
    /* Of a new file only. Twice SQLite's own size: a million requests make half as many writes.
     * Before the settings: the cache is given pages, counted by the page size of that moment. */
    if (!rc && ledger->version == 0 &&
        sqlite3_exec(ledger->db, "PRAGMA page_size = 8192", NULL, NULL, NULL))
        rc = op_sq_describe(ledger->db, ledger->path, "set the page size", err);
    if (!rc)
        rc = apply_settings(ledger, err);
    if (rc)
        return rc;
    if (ledger->mode == OP_LEDGER_WRITE)
        return op_schema_migrate(ledger->db, ledger->env, ledger->dir, ledger->path,
                                 op_schema_steps, op_schema_count, &ledger->version, err);
    if (ledger->version == 0)
        return op_fail(err, OP_NOTFOUND, "there is no ledger in %s yet", ledger->dir);
    if ((size_t)ledger->version < op_schema_count)
        return op_fail(
            err, OP_INVAL,
            "%s is of the older version %d; run `offpeak recover` once to bring it to "
            "version %zu",
            ledger->path, ledger->version, op_schema_count);
    return OP_OK;
}

enum op_rc op_sq_read_next(struct op_ledger *ledger, struct op_err *err)
{
    static const char *const sql[] = {
        "SELECT max((SELECT coalesce(max(id), 0) + 1 FROM record), first_record) FROM identity",
        "SELECT max((SELECT coalesce(max(id), 0) + 1 FROM request), first_request) FROM identity",
        "SELECT max((SELECT coalesce(max(id), 0) + 1 FROM batch), first_batch) FROM identity",
    };
    struct op_sq_next next = {0};
    int64_t *const into[] = {&next.record, &next.request, &next.batch};
    for (size_t i = 0; i < OP_COUNT(sql); i++) {
        enum op_rc rc = op_sq_query_int(ledger->db, ledger->path, sql[i], into[i], err);
        if (rc)
            return rc;
    }
    /* Which record the last request belonged to is not known any more: at most the last one. */
    next.ordered = next.record - 1;
    ledger->next = next;
    return OP_OK;
}

/* SQLite made its journal, which from now on keeps its name, and did not look whether the flush of
 * the folder failed: without the name a power loss in a commit could not be undone. */
static enum op_rc sync_names(struct op_ledger *ledger, struct op_err *err)
{
    int rc = ledger->env->ops->fsync_dir(ledger->env, ledger->dir);
    errno = -rc;
    return rc ? op_fail_errno(err, OP_IO, "cannot make the names in %s durable", ledger->dir)
              : OP_OK;
}

enum op_rc op_ledger_open(struct op_env *env, const char *dir, enum op_ledger_mode mode,
                          const char *vfs, struct op_ledger **ret, struct op_err *err)
{
    OP_CLEANUP(op_ledger_closep) struct op_ledger *ledger = op_mem_alloc(sizeof(*ledger));
    ledger->env = env;
    ledger->mode = mode;
    ledger->lock_fd = -1;
    ledger->dir = op_mem_strdup(dir);
    ledger->path = op_io_join(dir, "ledger.db");
    pthread_mutex_init(&ledger->mutex, NULL);
    op_buf_init(&ledger->adds.texts, SIZE_MAX / 2);
    enum op_rc rc = OP_OK;
    if (mode == OP_LEDGER_WRITE) {
        rc = op_io_mkdirs(env, dir, err);
        if (!rc)
            rc = op_sq_lock(env, dir, &ledger->lock_fd, err);
        if (!rc && !vfs)
            rc = make_file(ledger, err);
        if (!rc && !vfs)
            rc = settle_journal(ledger, err);
    }
    if (!rc)
        rc = connect_file(ledger, vfs, err);
    if (!rc)
        rc = prepare_schema(ledger, err);
    if (!rc && mode == OP_LEDGER_WRITE && !vfs)
        rc = sync_names(ledger, err);
    if (!rc)
        rc = op_sq_identity(ledger, err);
    if (!rc)
        rc = op_blackbox_doubted(env, dir, ledger->uuid, &ledger->doubt, err);
    if (!rc)
        rc = op_sq_read_next(ledger, err);
    int64_t asked = 0;
    if (!rc)
        rc = op_sq_query_int(ledger->db, ledger->path, "SELECT EXISTS(SELECT 1 FROM asked)",
                             &asked, err);
    if (rc)
        return rc;
    op_sq_pin(ledger);
    ledger->asked.fresh = mode == OP_LEDGER_WRITE && !asked;
    *ret = OP_TAKE(ledger);
    return OP_OK;
}

void op_ledger_close(struct op_ledger *ledger)
{
    if (!ledger)
        return;
    op_ledger_rollback(ledger);
    for (size_t i = 0; i < OP_COUNT(ledger->stmts); i++)
        sqlite3_finalize(ledger->stmts[i]);
    sqlite3_close(ledger->db);
    /* Last: the next writer must find the database closed. */
    if (ledger->lock_fd >= 0)
        ledger->env->ops->close(ledger->env, ledger->lock_fd);
    op_asked_release(&ledger->asked);
    op_adds_release(&ledger->adds);
    pthread_mutex_destroy(&ledger->mutex);
    op_mem_free(ledger->dir);
    op_mem_free(ledger->path);
    op_mem_free(ledger->suspect);
    op_mem_free(ledger->doubt);
    op_mem_free(ledger);
}

void op_ledger_closep(struct op_ledger **ledger)
{
    op_ledger_close(*ledger);
    *ledger = NULL;
}

const char *op_ledger_tag(const struct op_ledger *ledger)
{
    return ledger->tag;
}

const char *op_ledger_uuid(const struct op_ledger *ledger)
{
    return ledger->uuid;
}

int op_ledger_version(const struct op_ledger *ledger)
{
    return ledger->version;
}

int64_t op_ledger_next_record(const struct op_ledger *ledger)
{
    return ledger->next.record;
}

int64_t op_ledger_next_request(const struct op_ledger *ledger)
{
    return ledger->next.request;
}

int64_t op_ledger_next_batch(const struct op_ledger *ledger)
{
    return ledger->next.batch;
}

int64_t op_ledger_take_batch(struct op_ledger *ledger)
{
    return ledger->next.batch++;
}
