/* SPDX-License-Identifier: MIT */
#include "ledger/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "ledger/spool_dir.h"

#define LINE_MAX_BYTES (64 * 1024)

/* --- writing -------------------------------------------------------------------------------- */

/* The torn end of an earlier crash is closed by a newline of its own, so that it spoils no line
 * but itself. */
static enum op_rc ends_torn(struct op_env *env, int fd, int64_t size, const char *path,
                            bool *ret, struct op_err *err)
{
    char last = '\n';
    enum op_rc rc = OP_OK;
    if (size > 0)
        rc = op_io_pread_all(env, fd, &last, 1, size - 1, path, err);
    *ret = last != '\n';
    return rc;
}

static enum op_rc append_line(struct op_spool *spool, int fd, const char *path,
                              const char *json_line, struct op_err *err)
{
    struct op_env *env = spool->env;
    int64_t size = env->ops->size(env, fd);
    if (size < 0)
        return op_spool_fail(spool, size, "ask for the length of", path, err);
    /* Durability point: the name comes before the first byte, so that a file with a line in it has
     * one that outlives a power loss, also where the flush of that line failed. */
    int synced = size ? 0 : env->ops->fsync_dir(env, spool->root);
    if (synced < 0)
        return op_spool_fail(spool, synced, "make durable the name", path, err);
    bool torn = false;
    enum op_rc rc = ends_torn(env, fd, size, path, &torn, err);
    if (rc)
        return rc;
    OP_CLEANUP(op_mem_freep) char *text = op_mem_printf("%s%s\n", torn ? "\n" : "", json_line);
    struct op_append file = {.env = env, .fd = fd, .path = op_mem_strdup(path), .len = size};
    rc = op_append_add(&file, text, strlen(text), err);
    /* Durability point: the witness is on disk before the door is opened. */
    if (!rc)
        rc = op_append_sync(&file, err);
    /* What a failed flush leaves of a line, its newline too, may be nothing on disk. The next one
     * takes its place, or it would follow on that. */
    if (rc)
        (void)env->ops->truncate(env, fd, size);
    op_mem_free(file.path);
    return rc;
}

enum op_rc op_manifest_add(struct op_spool *spool, const char *json_line, struct op_err *err)
{
    struct op_env *env = spool->env;
    if (!spool->writable)
        return op_fail(err, OP_INVAL, "the spool %s is open for reading only", spool->root);
    if (strchr(json_line, '\n') || strlen(json_line) >= LINE_MAX_BYTES)
        return op_fail(err, OP_INVAL, "a line of the manifest must be one short line");
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(spool->state_dir, OP_MANIFEST_FILE);
    int fd = env->ops->open(env, path, O_RDWR | O_NOFOLLOW, 0);
    if (fd == -ENOENT)
        fd = env->ops->open(env, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd < 0)
        return op_spool_fail(spool, fd, "open", path, err);
    enum op_rc rc = append_line(spool, fd, path, json_line, err);
    int closed = env->ops->close(env, fd);
    if (!rc && closed < 0 && closed != -EINTR)
        rc = op_spool_fail(spool, closed, "close", path, err);
    return rc;
}

/* --- reading -------------------------------------------------------------------------------- */

static void copy_text(struct op_str s, char *ret, size_t room)
{
    size_t len = s.len < room ? s.len : room - 1;
    if (len)
        memcpy(ret, s.ptr, len);
    ret[len] = '\0';
}

static void take_line(struct op_json root, const char *uuid, struct op_witness *witness)
{
    struct op_str ledger = op_json_str(op_json_get(root, "ledger"));
    int64_t batch = op_json_int(op_json_get(root, "batch"), 0);
    if (!ledger.ptr || batch <= 0)
        return;
    witness->highest = batch > witness->highest ? batch : witness->highest;
    if (!op_str_is(ledger, uuid)) {
        witness->foreign++;
        copy_text(ledger, witness->foreign_uuid, sizeof(witness->foreign_uuid));
        return;
    }
    /* Equal ids: the later line counts, a batch may be announced again after a crash. */
    if (batch >= witness->batch_id) {
        witness->batch_id = batch;
        copy_text(op_json_str(op_json_get(root, "nonce")), witness->nonce,
                  sizeof(witness->nonce));
    }
}

typedef enum op_rc (*line_fn)(void *arg, struct op_json root, struct op_err *err);

/* Calls fn for each line that can be read; *ret_size is where the last one ended. */
static enum op_rc each_line(struct op_env *env, const char *dir, int64_t offset, line_fn fn,
                            void *arg, int64_t *ret_size, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, OP_MANIFEST_FILE);
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_err opening = OP_ERR_INIT;
    enum op_rc rc = op_lines_open(env, path, offset, LINE_MAX_BYTES, &lines, &opening);
    if (rc == OP_NOTFOUND)
        return rc;
    if (rc)
        *err = opening;
    while (!rc) {
        struct op_line line;
        rc = op_lines_next(lines, &line, err);
        if (rc)
            break;
        *ret_size = line.end;
        struct op_json root;
        struct op_err ignored = OP_ERR_INIT;
        if (!line.oversize &&
            op_json_parse(parser, line.ptr, line.len, true, &root, &ignored) == OP_OK)
            rc = fn(arg, root, err);
    }
    return rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
}

struct witnessing {
    const char *uuid;
    struct op_witness witness;
};

static enum op_rc witness_line(void *arg, struct op_json root, struct op_err *err)
{
    (void)err;
    struct witnessing *w = arg;
    take_line(root, w->uuid, &w->witness);
    return OP_OK;
}

enum op_rc op_manifest_witness(struct op_env *env, const char *dir, const char *uuid,
                               int64_t offset, struct op_witness *ret, struct op_err *err)
{
    struct witnessing w = {.uuid = uuid, .witness = {.size = offset}};
    enum op_rc rc = each_line(env, dir, offset, witness_line, &w, &w.witness.size, err);
    if (rc == OP_NOTFOUND && !err->rc) {
        *ret = (struct op_witness){0};
        return OP_OK;
    }
    if (!rc)
        *ret = w.witness;
    return rc;
}

struct walking {
    const char *uuid;
    op_manifest_fn fn;
    void *arg;
};

static enum op_rc walk_line(void *arg, struct op_json root, struct op_err *err)
{
    struct walking *w = arg;
    char nonce[OP_NONCE_LEN + 1];
    int64_t batch = op_json_int(op_json_get(root, "batch"), 0);
    if (batch <= 0 || !op_str_is(op_json_str(op_json_get(root, "ledger")), w->uuid))
        return OP_OK;
    copy_text(op_json_str(op_json_get(root, "nonce")), nonce, sizeof(nonce));
    enum op_manifest_word word = OP_MANIFEST_ANNOUNCED;
    if (op_json_bool(op_json_get(root, "withdrawn"), false))
        word = OP_MANIFEST_WITHDRAWN;
    else if (op_json_bool(op_json_get(root, "realtime"), false))
        word = OP_MANIFEST_REALTIME;
    return w->fn(w->arg, batch, nonce, word, err);
}

enum op_rc op_manifest_walk(struct op_env *env, const char *dir, const char *uuid,
                            op_manifest_fn fn, void *arg, struct op_err *err)
{
    struct walking w = {uuid, fn, arg};
    int64_t size = 0;
    enum op_rc rc = each_line(env, dir, 0, walk_line, &w, &size, err);
    return rc == OP_NOTFOUND && !err->rc ? OP_OK : rc;
}
