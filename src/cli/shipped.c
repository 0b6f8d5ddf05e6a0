/* SPDX-License-Identifier: MIT */
#include "cli/shipped.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "pipeline/bundle.h"

#define FILE_MAX_BYTES (16 * 1024 * 1024)
#define MADE_FROM      ".sqlite.sql"

struct copying {
    struct op_env *env;
    void (*fn)(void *arg, const char *path);
    void *arg;
};

struct finding {
    const char *name;
    char *dir;
};

static void find_one(void *arg, const char *name, const char *dir)
{
    struct finding *f = arg;
    if (!f->dir && strcmp(name, f->name) == 0)
        f->dir = op_mem_strdup(dir);
}

char *op_shipped_find(struct op_env *env, const char *name)
{
    struct finding f = {.name = name};
    op_pipelines_each(env, find_one, &f);
    return f.dir;
}

/* O_EXCL: also not when a file appears in between. */
enum op_rc op_shipped_write_new(struct op_env *env, const char *path, struct op_str text,
                                struct op_err *err)
{
    int fd = env->ops->open(env, path, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (fd == -EEXIST)
        return op_fail(err, OP_CONFLICT,
                       "%s is there already; nothing was overwritten: choose another folder",
                       path);
    if (fd < 0) {
        errno = -fd;
        return op_fail_errno(err, OP_IO, "cannot create %s", path);
    }
    enum op_rc rc = op_io_write_all(env, fd, text.ptr, text.len, path, err);
    int closed = env->ops->close(env, fd);
    if (!rc && closed < 0)
        rc = op_fail(err, OP_IO, "cannot write %s: %s", path, strerror(-closed));
    return rc;
}

static enum op_rc make_file(struct copying *c, const char *path, struct op_str text,
                            struct op_err *err)
{
    enum op_rc rc = op_shipped_write_new(c->env, path, text, err);
    if (!rc)
        c->fn(c->arg, path);
    return rc;
}

static enum op_rc make_database(struct copying *c, const char *path, const char *sql,
                                struct op_err *err)
{
    enum op_rc rc = make_file(c, path, OP_STR(""), err);
    sqlite3 *db = NULL;
    if (rc)
        return rc;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) ||
        sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) ||
        sqlite3_exec(db, sql, NULL, NULL, NULL) || sqlite3_exec(db, "COMMIT", NULL, NULL, NULL))
        rc = op_fail(err, OP_IO, "%s: %s", path, db ? sqlite3_errmsg(db) : "out of memory");
    sqlite3_close(db);
    return rc;
}

static enum op_rc copy_file(struct copying *c, const char *from, const char *to,
                            struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, FILE_MAX_BYTES);
    enum op_rc rc = op_io_read_file(c->env, from, &text, err);
    if (!rc)
        rc = make_file(c, to, op_buf_str(&text), err);
    struct op_str name = op_str_from(to);
    if (rc || !op_str_ends(name, MADE_FROM))
        return rc;
    OP_CLEANUP(op_mem_freep) char *db = op_mem_strndup(to, name.len - strlen(".sql"));
    return make_database(c, db, text.ptr ? text.ptr : "", err);
}

static enum op_rc copy_folder(struct copying *c, const char *from, const char *to, int depth,
                              struct op_err *err)
{
    size_t count = 0;
    char **names = op_io_names(from, &count);
    enum op_rc rc = op_io_mkdirs(c->env, to, err);
    for (size_t i = 0; i < count; i++) {
        OP_CLEANUP(op_mem_freep) char *source = op_io_join(from, names[i]);
        OP_CLEANUP(op_mem_freep) char *target = op_io_join(to, names[i]);
        DIR *folder = depth > 0 ? opendir(source) : NULL;
        if (!rc && folder)
            rc = copy_folder(c, source, target, depth - 1, err);
        else if (!rc)
            rc = copy_file(c, source, target, err);
        if (folder)
            closedir(folder);
        op_mem_free(names[i]);
    }
    op_mem_free(names);
    return rc;
}

enum op_rc op_shipped_copy(struct op_env *env, const char *from, const char *to,
                           void (*fn)(void *arg, const char *path), void *arg,
                           struct op_err *err)
{
    struct copying c = {.env = env, .fn = fn, .arg = arg};
    return copy_folder(&c, from, to, 1, err);
}
