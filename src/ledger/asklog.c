/* SPDX-License-Identifier: MIT */
#include "ledger/asklog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "ledger/spool_dir.h"

/* All answers of one turn; a single one may be 64 MiB (net/calls.h). */
#define BLOCK_MAX (512 * 1024 * 1024)
#define IDS_MAX   (16 * 1024 * 1024)
#define SUM_LEN   16
/* "= " length " " sum "\n" */
#define HEAD_MAX 64

char *op_asklog_name(int64_t batch_id, const char *nonce)
{
    return op_mem_printf("realtime/%lld-%s.log", (long long)batch_id, nonce);
}

/* --- writing -------------------------------------------------------------------------------- */

static void begin(struct op_asklog *log)
{
    op_buf_init(&log->answers, BLOCK_MAX);
    op_buf_init(&log->asked, IDS_MAX);
    op_buf_init(&log->back, IDS_MAX);
}

void op_asklog_close(struct op_asklog *log)
{
    op_append_close(&log->file);
    op_buf_release(&log->answers);
    op_buf_release(&log->asked);
    op_buf_release(&log->back);
}

enum op_rc op_asklog_create(struct op_spool *spool, const char *name, struct op_asklog *ret,
                            struct op_err *err)
{
    struct op_asklog log = {0};
    enum op_rc rc = op_append_open(spool, name, 0, &log.file, err);
    if (rc)
        return rc;
    begin(&log);
    *ret = log;
    return OP_OK;
}

static void add_id(struct op_buf *ids, int64_t request)
{
    op_buf_addc(ids, ' ');
    op_buf_add_int(ids, request);
}

void op_asklog_asked(struct op_asklog *log, int64_t request)
{
    add_id(&log->asked, request);
}

void op_asklog_back(struct op_asklog *log, int64_t request)
{
    add_id(&log->back, request);
}

void op_asklog_answered(struct op_asklog *log, int64_t request, struct op_str line)
{
    while (line.len > 0 && line.ptr[line.len - 1] == '\n')
        line.len--;
    op_buf_addz(&log->answers, "> ");
    op_buf_add_int(&log->answers, request);
    op_buf_addc(&log->answers, ' ');
    op_buf_add_str(&log->answers, line);
    op_buf_addc(&log->answers, '\n');
}

bool op_asklog_has_news(const struct op_asklog *log)
{
    return log->asked.len > 0 || log->back.len > 0 || log->answers.len > 0;
}

static void sum(const void *ptr, size_t len, char ret[SUM_LEN + 1])
{
    char hex[OP_SHA256_HEX];
    op_sha256_hex(ptr, len, hex);
    memcpy(ret, hex, SUM_LEN);
    ret[SUM_LEN] = '\0';
}

static void add_ids(struct op_buf *block, char sign, const struct op_buf *ids)
{
    if (!ids->len)
        return;
    op_buf_addc(block, sign);
    op_buf_add_str(block, op_buf_str(ids));
    op_buf_addc(block, '\n');
}

enum op_rc op_asklog_commit(struct op_asklog *log, struct op_err *err)
{
    if (!op_asklog_has_news(log))
        return OP_OK;
    /* What came back is said before what is asked: a request may be in both. */
    add_ids(&log->answers, '!', &log->back);
    add_ids(&log->answers, '?', &log->asked);
    enum op_rc rc = op_buf_finish(&log->answers, "what was asked and answered", err);
    if (rc)
        return rc;
    char hex[SUM_LEN + 1], head[HEAD_MAX];
    sum(log->answers.ptr, log->answers.len, hex);
    int head_len = snprintf(head, sizeof(head), "= %zu %s\n", log->answers.len, hex);
    rc = op_append_add(&log->file, head, (size_t)head_len, err);
    if (!rc)
        rc = op_append_add(&log->file, log->answers.ptr, log->answers.len, err);
    if (!rc)
        rc = op_append_sync(&log->file, err);
    op_buf_clear(&log->answers);
    op_buf_clear(&log->asked);
    op_buf_clear(&log->back);
    return rc;
}

/* --- reading -------------------------------------------------------------------------------- */

struct reading {
    struct op_env *env;
    int fd;
    const char *path;
    int64_t size;
    struct op_buf body;
    op_asklog_fn fn;
    void *arg;
};

/* The header of a block at ptr; 0: there is none. */
static size_t read_head(const char *ptr, size_t len, int64_t *ret_bytes, char ret[SUM_LEN + 1])
{
    const char *end = memchr(ptr, '\n', len < HEAD_MAX ? len : HEAD_MAX);
    if (!end || end - ptr < SUM_LEN + 4 || ptr[0] != '=' || ptr[1] != ' ' ||
        end[-SUM_LEN - 1] != ' ')
        return 0;
    struct op_str number = {ptr + 2, (size_t)(end - SUM_LEN - 1 - (ptr + 2))};
    if (!op_str_int64(number, ret_bytes) || *ret_bytes < 1 || *ret_bytes > BLOCK_MAX)
        return 0;
    memcpy(ret, end - SUM_LEN, SUM_LEN);
    ret[SUM_LEN] = '\0';
    return (size_t)(end + 1 - ptr);
}

/* *ret_next: behind the block at offset, whose text is in r->body; 0: there is no sound one. */
static enum op_rc read_block(struct reading *r, int64_t offset, int64_t *ret_next,
                             struct op_err *err)
{
    char head[HEAD_MAX], told[SUM_LEN + 1], found[SUM_LEN + 1];
    int64_t left = r->size - offset, bytes = 0;
    size_t room = left < HEAD_MAX ? (size_t)left : HEAD_MAX;
    *ret_next = 0;
    enum op_rc rc = op_io_pread_all(r->env, r->fd, head, room, offset, r->path, err);
    size_t len = rc ? 0 : read_head(head, room, &bytes, told);
    if (!len || bytes > left - (int64_t)len)
        return rc;
    op_buf_clear(&r->body);
    op_buf_grow(&r->body, (size_t)bytes);
    rc = op_io_pread_all(r->env, r->fd, r->body.ptr, (size_t)bytes, offset + (int64_t)len,
                         r->path, err);
    if (rc)
        return rc;
    r->body.len = (size_t)bytes;
    sum(r->body.ptr, r->body.len, found);
    if (strcmp(found, told) == 0)
        *ret_next = offset + (int64_t)len + bytes;
    return OP_OK;
}

static enum op_rc tell_ids(struct reading *r, enum op_ask_event event, struct op_str ids,
                           struct op_err *err)
{
    enum op_rc rc = OP_OK;
    while (!rc && ids.len) {
        int64_t id = 0;
        struct op_str word = op_str_cut(&ids, ' ');
        if (word.len && op_str_int64(word, &id) && id > 0)
            rc = r->fn(r->arg, event, id, OP_STR_NULL, err);
    }
    return rc;
}

static enum op_rc tell_answer(struct reading *r, struct op_str text, struct op_err *err)
{
    int64_t id = 0;
    if (!op_str_int64(op_str_cut(&text, ' '), &id) || id < 1 || !text.ptr)
        return OP_OK;
    return r->fn(r->arg, OP_ASK_ANSWERED, id, text, err);
}

static enum op_rc tell_block(struct reading *r, struct op_err *err)
{
    struct op_str rest = op_buf_str(&r->body);
    enum op_rc rc = OP_OK;
    while (!rc && rest.len) {
        struct op_str line = op_str_cut(&rest, '\n');
        if (line.len < 2)
            continue;
        struct op_str text = {line.ptr + 2, line.len - 2};
        if (line.ptr[0] == '>')
            rc = tell_answer(r, text, err);
        else if (line.ptr[0] == '?')
            rc = tell_ids(r, OP_ASK_ASKED, text, err);
        else if (line.ptr[0] == '!')
            rc = tell_ids(r, OP_ASK_BACK, text, err);
    }
    return rc;
}

/* A sound block anywhere behind an unsound one: it was not the last that was written. */
static enum op_rc is_damaged(struct reading *r, int64_t from, bool *ret, struct op_err *err)
{
    enum { WINDOW = 64 * 1024 };
    OP_CLEANUP(op_mem_freep) char *window = op_mem_alloc(WINDOW);
    *ret = false;
    for (int64_t at = from; !*ret && at < r->size; at += WINDOW - HEAD_MAX) {
        size_t len = r->size - at < WINDOW ? (size_t)(r->size - at) : WINDOW;
        enum op_rc rc = op_io_pread_all(r->env, r->fd, window, len, at, r->path, err);
        if (rc)
            return rc;
        for (const char *p = window;
             !*ret && (p = memmem(p, len - (size_t)(p - window), "= ", 2)); p++) {
            int64_t bytes = 0, next = 0;
            char told[SUM_LEN + 1];
            if (!read_head(p, len - (size_t)(p - window), &bytes, told))
                continue;
            rc = read_block(r, at + (p - window), &next, err);
            if (rc)
                return rc;
            *ret = next > 0;
        }
    }
    return OP_OK;
}

static enum op_rc read_all(struct reading *r, int64_t *ret_sound, bool *ret_damaged,
                           struct op_err *err)
{
    int64_t at = 0, next = 0;
    enum op_rc rc = OP_OK;
    *ret_damaged = false;
    while (!rc && at < r->size) {
        rc = read_block(r, at, &next, err);
        if (rc || !next)
            break;
        rc = tell_block(r, err);
        at = next;
    }
    *ret_sound = at;
    return rc || at == r->size ? rc : is_damaged(r, at + 1, ret_damaged, err);
}

static enum op_rc read_file(struct op_spool *spool, const char *name, op_asklog_fn fn,
                            void *arg, int64_t *ret_sound, bool *ret_damaged,
                            struct op_err *err)
{
    struct op_env *env = spool->env;
    OP_CLEANUP(op_mem_freep) char *path = NULL;
    enum op_rc rc = op_spool_resolve(spool, name, &path, err);
    if (rc)
        return rc;
    struct reading r = {.env = env, .path = path, .fn = fn, .arg = arg};
    r.fd = env->ops->open(env, path, O_RDONLY | O_NOFOLLOW, 0);
    if (r.fd < 0)
        return op_fail(err, r.fd == -ENOENT ? OP_NOTFOUND : OP_IO, "cannot open %s: %s", path,
                       strerror(-r.fd));
    r.size = env->ops->size(env, r.fd);
    op_buf_init(&r.body, BLOCK_MAX);
    if (r.size < 0)
        rc = op_fail(err, OP_IO, "cannot ask for the length of %s", path);
    else
        rc = read_all(&r, ret_sound, ret_damaged, err);
    op_buf_release(&r.body);
    (void)env->ops->close(env, r.fd);
    return rc;
}

enum op_rc op_asklog_open(struct op_spool *spool, const char *name, op_asklog_fn fn, void *arg,
                          struct op_asklog *ret, struct op_err *err)
{
    int64_t sound = 0;
    bool damaged = false;
    enum op_rc rc = read_file(spool, name, fn, arg, &sound, &damaged, err);
    if (!rc && damaged)
        rc = op_fail(err, OP_INVAL, "%s is damaged at byte %lld", name, (long long)sound);
    struct op_asklog log = {0};
    if (!rc)
        rc = op_append_open(spool, name, sound, &log.file, err);
    if (rc)
        return rc;
    begin(&log);
    *ret = log;
    return OP_OK;
}

enum op_rc op_asklog_read(struct op_spool *spool, const char *name, op_asklog_fn fn, void *arg,
                          struct op_err *err)
{
    int64_t sound = 0;
    bool damaged = false;
    return read_file(spool, name, fn, arg, &sound, &damaged, err);
}
