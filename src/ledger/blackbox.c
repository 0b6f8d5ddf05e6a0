/* SPDX-License-Identifier: MIT */
#include "ledger/blackbox.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/json.h"
#include "base/json_out.h"
#include "base/mem.h"

#define BLACKBOX "blackbox"
#define BALLAST  "ballast"
/* The last bytes of a slot: 16 hex digits over what comes before them, and a newline. */
#define CHECK_LEN 16
#define TEXT_LEN  (OP_BLACKBOX_SLOT - CHECK_LEN - 1)
#define SLOTS     (OP_BLACKBOX_BYTES / OP_BLACKBOX_SLOT)

static enum op_rc fail(int64_t negative, const char *verb, const char *path, struct op_err *err)
{
    errno = (int)-negative;
    return op_fail_errno(err, OP_IO, "cannot %s %s", verb, path);
}

static int write_all(struct op_env *env, int fd, const char *at, size_t len, int64_t offset)
{
    while (len > 0) {
        ssize_t n = env->ops->pwrite(env, fd, at, len, offset);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
        at += n;
        offset += n;
        len -= (size_t)n;
    }
    return 0;
}

/* --- making them ---------------------------------------------------------------------------- */

/* Written, not only allocated: a later write into it changes no metadata that could need room. */
static int fill(struct op_env *env, int fd)
{
    enum { BLOCK = 64 * 1024 };
    OP_CLEANUP(op_mem_freep) char *zeros = op_mem_alloc(BLOCK);
    int64_t at = env->ops->size(env, fd);
    int rc = at < 0 ? (int)at : 0;
    bool short_one = at < OP_BLACKBOX_BYTES;
    for (; !rc && at < OP_BLACKBOX_BYTES; at += BLOCK) {
        int64_t left = OP_BLACKBOX_BYTES - at;
        rc = write_all(env, fd, zeros, (size_t)(left < BLOCK ? left : BLOCK), at);
    }
    return !rc && short_one ? env->ops->fsync(env, fd) : rc;
}

static enum op_rc make_blackbox(struct op_env *env, const char *dir, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, BLACKBOX);
    int fd = env->ops->open(env, path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail(fd, "make", path, err);
    int rc = fill(env, fd);
    int closed = env->ops->close(env, fd);
    if (!rc && closed < 0)
        rc = closed;
    if (!rc)
        rc = env->ops->fsync_dir(env, dir);
    return rc == 0 || rc == -ENOSPC || rc == -EDQUOT ? OP_OK : fail(rc, "fill", path, err);
}

static void make_ballast(struct op_env *env, const char *dir, int64_t bytes)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, BALLAST);
    int64_t room = env->ops->free_bytes(env, dir);
    if (bytes <= 0 || room / OP_BALLAST_ROOM < bytes)
        return;
    int fd = env->ops->open(env, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd < 0)
        return; /* it is there already, or cannot be had */
    int rc = env->ops->allocate(env, fd, bytes);
    (void)env->ops->close(env, fd);
    if (rc < 0)
        (void)env->ops->unlink(env, path);
}

enum op_rc op_blackbox_prepare(struct op_env *env, const char *dir, int64_t ballast_bytes,
                               struct op_err *err)
{
    make_ballast(env, dir, ballast_bytes);
    return make_blackbox(env, dir, err);
}

bool op_ballast_free(struct op_env *env, const char *dir)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, BALLAST);
    return env->ops->unlink(env, path) == 0 && env->ops->fsync_dir(env, dir) == 0;
}

/* --- slots ---------------------------------------------------------------------------------- */

static void checksum(const char *slot, char ret[CHECK_LEN])
{
    char hex[OP_SHA256_HEX];
    op_sha256_hex(slot, TEXT_LEN, hex);
    memcpy(ret, hex, CHECK_LEN);
}

static bool is_sound(const char *slot)
{
    char expected[CHECK_LEN];
    if (slot[0] != '{')
        return false;
    checksum(slot, expected);
    return !memcmp(slot + TEXT_LEN, expected, CHECK_LEN);
}

/* A missing file, or a short one, is as good as an empty one. */
static enum op_rc read_slots(struct op_env *env, const char *path, char *slots,
                             struct op_err *err)
{
    memset(slots, 0, OP_BLACKBOX_BYTES);
    int fd = env->ops->open(env, path, O_RDONLY | O_NOFOLLOW, 0);
    if (fd == -ENOENT)
        return OP_OK;
    if (fd < 0)
        return fail(fd, "open", path, err);
    ssize_t n = 1;
    for (int64_t at = 0; (n > 0 || n == -EINTR) && at < OP_BLACKBOX_BYTES;) {
        n = env->ops->pread(env, fd, slots + at, (size_t)(OP_BLACKBOX_BYTES - at), at);
        at += n > 0 ? n : 0;
    }
    (void)env->ops->close(env, fd); /* opened for reading: nothing can be lost */
    return n < 0 ? fail(n, "read", path, err) : OP_OK;
}

typedef enum op_rc (*slot_fn)(void *arg, size_t at, struct op_json root, struct op_err *err);

static enum op_rc each_slot(const char *slots, slot_fn fn, void *arg, struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    enum op_rc rc = OP_OK;
    for (size_t i = 0; !rc && i < SLOTS; i++) {
        const char *slot = slots + i * OP_BLACKBOX_SLOT;
        struct op_json root;
        struct op_err ignored = OP_ERR_INIT;
        struct op_str text = op_str_trim((struct op_str){slot, TEXT_LEN});
        if (is_sound(slot) &&
            !op_json_parse(parser, text.ptr, text.len, false, &root, &ignored))
            rc = fn(arg, i, root, err);
    }
    return rc;
}

struct newest {
    int64_t seq;
    size_t at;
};

static enum op_rc see_seq(void *arg, size_t at, struct op_json root, struct op_err *err)
{
    (void)err;
    struct newest *newest = arg;
    int64_t seq = op_json_int(op_json_get(root, "seq"), 0);
    if (seq > newest->seq)
        *newest = (struct newest){seq, at};
    return OP_OK;
}

/* doubt NULL: of the entry. */
static enum op_rc format(char slot[OP_BLACKBOX_SLOT], int64_t seq, const char *uuid,
                         const struct op_blackbox_entry *entry, const char *doubt,
                         struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, TEXT_LEN);
    struct op_json_out o;
    op_json_out_init(&o, &text, 0);
    op_json_out_object(&o);
    op_json_out_kv_int(&o, "seq", seq);
    op_json_out_kv_text(&o, "ledger", uuid);
    if (doubt) {
        op_json_out_kv_text(&o, "doubt", doubt);
    } else {
        op_json_out_kv_int(&o, "batch", entry->batch_id);
        op_json_out_kv_text(&o, "nonce", entry->nonce);
        op_json_out_kv_text(&o, "provider_id", entry->provider_id);
        op_json_out_kv_int(&o, "created_ms", entry->created_ms);
    }
    op_json_out_end_object(&o);
    enum op_rc rc = op_buf_finish(&text, "a slot of the black box", err);
    if (rc)
        return rc;
    memset(slot, ' ', OP_BLACKBOX_SLOT);
    memcpy(slot, text.ptr, text.len);
    checksum(slot, slot + TEXT_LEN);
    slot[OP_BLACKBOX_SLOT - 1] = '\n';
    return OP_OK;
}

static enum op_rc put(struct op_env *env, const char *dir, const char *uuid,
                      const struct op_blackbox_entry *entry, const char *doubt,
                      struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, BLACKBOX);
    OP_CLEANUP(op_mem_freep) char *slots = op_mem_alloc(OP_BLACKBOX_BYTES);
    struct newest newest = {.at = SLOTS - 1};
    char slot[OP_BLACKBOX_SLOT];
    enum op_rc rc = read_slots(env, path, slots, err);
    if (!rc)
        rc = each_slot(slots, see_seq, &newest, err);
    if (!rc)
        rc = format(slot, newest.seq + 1, uuid, entry, doubt, err);
    if (rc)
        return rc;
    int fd = env->ops->open(env, path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail(fd, "open", path, err);
    int64_t at = (int64_t)((newest.at + 1) % SLOTS) * OP_BLACKBOX_SLOT;
    int failed = write_all(env, fd, slot, sizeof(slot), at);
    if (!failed)
        failed = env->ops->fsync(env, fd);
    int closed = env->ops->close(env, fd);
    failed = failed ? failed : closed;
    return failed ? fail(failed, "write", path, err) : OP_OK;
}

enum op_rc op_blackbox_write(struct op_env *env, const char *dir, const char *uuid,
                             const struct op_blackbox_entry *entry, struct op_err *err)
{
    return put(env, dir, uuid, entry, NULL, err);
}

enum op_rc op_blackbox_doubt(struct op_env *env, const char *dir, const char *uuid,
                             const char *why, struct op_err *err)
{
    return put(env, dir, uuid, NULL, why, err);
}

struct doubt {
    const char *uuid;
    int64_t seq;
    char *why;
};

static enum op_rc see_doubt(void *arg, size_t at, struct op_json root, struct op_err *err)
{
    (void)at;
    (void)err;
    struct doubt *doubt = arg;
    struct op_str why = op_json_str(op_json_get(root, "doubt"));
    struct op_str uuid = op_json_str(op_json_get(root, "ledger"));
    int64_t seq = op_json_int(op_json_get(root, "seq"), 0);
    if (!why.ptr || seq <= doubt->seq || (uuid.len && !op_str_is(uuid, doubt->uuid)))
        return OP_OK;
    doubt->seq = seq;
    op_mem_free(doubt->why);
    doubt->why = why.len ? op_mem_strndup(why.ptr, why.len) : NULL;
    return OP_OK;
}

enum op_rc op_blackbox_doubted(struct op_env *env, const char *dir, const char *uuid,
                               char **ret, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, BLACKBOX);
    OP_CLEANUP(op_mem_freep) char *slots = op_mem_alloc(OP_BLACKBOX_BYTES);
    struct doubt doubt = {.uuid = uuid};
    enum op_rc rc = read_slots(env, path, slots, err);
    if (!rc)
        rc = each_slot(slots, see_doubt, &doubt, err);
    *ret = doubt.why;
    return rc;
}

struct walk {
    const char *uuid;
    op_blackbox_fn fn;
    void *arg;
};

static enum op_rc give(void *arg, size_t at, struct op_json root, struct op_err *err)
{
    (void)at;
    struct walk *walk = arg;
    if (!op_str_is(op_json_str(op_json_get(root, "ledger")), walk->uuid) ||
        op_json_str(op_json_get(root, "doubt")).ptr)
        return OP_OK;
    struct op_str nonce = op_json_str(op_json_get(root, "nonce"));
    struct op_str id = op_json_str(op_json_get(root, "provider_id"));
    OP_CLEANUP(op_mem_freep) char *nonce_text = op_mem_strndup(nonce.ptr, nonce.len);
    OP_CLEANUP(op_mem_freep) char *id_text = op_mem_strndup(id.ptr, id.len);
    struct op_blackbox_entry entry = {
        .batch_id = op_json_int(op_json_get(root, "batch"), 0),
        .nonce = nonce_text,
        .provider_id = id_text,
        .created_ms = op_json_int(op_json_get(root, "created_ms"), -1),
    };
    return walk->fn(walk->arg, &entry, err);
}

enum op_rc op_blackbox_walk(struct op_env *env, const char *dir, const char *uuid,
                            op_blackbox_fn fn, void *arg, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, BLACKBOX);
    OP_CLEANUP(op_mem_freep) char *slots = op_mem_alloc(OP_BLACKBOX_BYTES);
    struct walk walk = {uuid, fn, arg};
    enum op_rc rc = read_slots(env, path, slots, err);
    return rc ? rc : each_slot(slots, give, &walk, err);
}
