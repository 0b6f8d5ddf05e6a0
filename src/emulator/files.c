/* SPDX-License-Identifier: MIT */
#include "emulator/files.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/json_out.h"
#include "base/map.h"
#include "base/mem.h"
#include "emulator/journal.h"

#define FILE_LINE_MAX ((size_t)256 * 1024)

struct op_emu_files {
    struct op_env *env;
    char *uploads, *batches;
    struct op_emu_journal *journal;
    pthread_mutex_t lock;
    struct op_arena texts;
    struct op_emu_file **rows; /* by age; never freed before close */
    size_t count, room;
    struct op_map by_id;
    int64_t last_us;
    atomic_int_fast64_t next_seq, next_upload;
};

/* ---- the line of a file ---- */

static enum op_rc log_file(struct op_emu_files *files, const struct op_emu_file *file,
                           struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
    struct op_json_out out;
    op_buf_init(&buf, FILE_LINE_MAX);
    op_json_out_init(&out, &buf, 0);
    op_json_out_object(&out);
    op_json_out_kv_text(&out, "id", file->id);
    op_json_out_kv_text(&out, "provider", file->provider);
    op_json_out_kv_text(&out, "name", file->name);
    op_json_out_kv_text(&out, "purpose", file->purpose);
    op_json_out_kv_text(&out, "mime", file->mime);
    op_json_out_kv_text(&out, "batch", file->batch);
    op_json_out_kv_int(&out, "seq", file->seq);
    op_json_out_kv_int(&out, "bytes", file->bytes);
    op_json_out_kv_int(&out, "lines", file->lines);
    op_json_out_kv_int(&out, "created_us", file->created_us);
    op_json_out_kv_int(&out, "expires_us", file->expires_us);
    op_json_out_kv_bool(&out, "deleted", file->deleted);
    op_json_out_kv_text(&out, "sha256", file->sha256);
    op_json_out_end_object(&out);
    op_buf_addc(&buf, '\n');
    enum op_rc rc = op_buf_finish(&buf, "a line about a file", err);
    return rc ? rc : op_emu_journal_add(files->journal, op_buf_str(&buf), err);
}

static const char *keep_text(struct op_emu_files *files, const char *text)
{
    return op_arena_strdup(&files->texts, op_str_from(text ? text : ""));
}

static void put_row(struct op_emu_files *files, const struct op_emu_file *file)
{
    int64_t at = 0;
    struct op_emu_file *row;
    if (op_map_get(&files->by_id, op_str_from(file->id), &at)) {
        row = files->rows[at];
    } else {
        if (files->count == files->room) {
            files->room = files->room ? 2 * files->room : 64;
            files->rows =
                op_mem_realloc(files->rows, files->room * sizeof(struct op_emu_file *));
        }
        row = op_arena_alloc(&files->texts, sizeof(*row));
        op_map_add(&files->by_id, op_str_from(file->id), (int64_t)files->count, NULL);
        files->rows[files->count++] = row;
    }
    *row = *file;
    row->provider = keep_text(files, file->provider);
    row->name = keep_text(files, file->name);
    row->purpose = keep_text(files, file->purpose);
    row->mime = keep_text(files, file->mime);
    row->batch = keep_text(files, file->batch);
    if (file->created_us > files->last_us)
        files->last_us = file->created_us;
    if (file->seq >= files->next_seq)
        files->next_seq = file->seq + 1;
}

static const char *text_of(struct op_emu_files *files, struct op_json line, const char *name)
{
    struct op_str text = op_json_str(op_json_get(line, name));
    return op_arena_strdup(&files->texts, text.ptr ? text : OP_STR(""));
}

static void load_line(struct op_emu_files *files, struct op_json line)
{
    struct op_emu_file file = {
        .provider = text_of(files, line, "provider"),
        .name = text_of(files, line, "name"),
        .purpose = text_of(files, line, "purpose"),
        .mime = text_of(files, line, "mime"),
        .batch = text_of(files, line, "batch"),
        .seq = op_json_int(op_json_get(line, "seq"), 0),
        .bytes = op_json_int(op_json_get(line, "bytes"), 0),
        .lines = op_json_int(op_json_get(line, "lines"), 0),
        .created_us = op_json_int(op_json_get(line, "created_us"), 0),
        .expires_us = op_json_int(op_json_get(line, "expires_us"), 0),
        .deleted = op_json_bool(op_json_get(line, "deleted"), false),
    };
    struct op_str id = op_json_str(op_json_get(line, "id"));
    struct op_str sha = op_json_str(op_json_get(line, "sha256"));
    if (id.ptr && id.len < sizeof(file.id))
        memcpy(file.id, id.ptr, id.len);
    if (sha.ptr && sha.len < sizeof(file.sha256))
        memcpy(file.sha256, sha.ptr, sha.len);
    put_row(files, &file);
}

static enum op_rc load(struct op_emu_files *files, struct op_err *err)
{
    OP_CLEANUP(op_lines_closep) struct op_lines *lines = NULL;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    const char *path = op_emu_journal_path(files->journal);
    enum op_rc rc = op_lines_open(files->env, path, 0, FILE_LINE_MAX, &lines, err);
    struct op_line line;
    struct op_json value;
    while (!rc && !(rc = op_lines_next(lines, &line, err))) {
        if (line.oversize || line.len == 0)
            continue;
        if (op_json_parse(parser, line.ptr, line.len, true, &value, err))
            return op_err_wrap(err, "%s:%lld is damaged", path, (long long)line.number);
        load_line(files, value);
    }
    return rc == OP_NOTFOUND ? OP_OK : rc;
}

/* ---- lifecycle ---- */

/* Uploads that a kill cut short. */
static void remove_leftovers(struct op_emu_files *files)
{
    DIR *dir = opendir(files->uploads);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (!op_str_starts(op_str_from(entry->d_name), "upload."))
            continue;
        OP_CLEANUP(op_mem_freep) char *path = op_io_join(files->uploads, entry->d_name);
        (void)files->env->ops->unlink(files->env, path);
    }
    if (dir)
        closedir(dir);
}

enum op_rc op_emu_files_open(struct op_env *env, const char *dir, struct op_emu_files **ret,
                             struct op_err *err)
{
    struct op_emu_files *files = op_mem_alloc(sizeof(*files));
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, "files.jsonl");
    files->env = env;
    files->uploads = op_io_join(dir, "files");
    files->batches = op_io_join(dir, "batches");
    files->next_seq = 1;
    pthread_mutex_init(&files->lock, NULL);
    enum op_rc rc = op_io_mkdirs(env, files->uploads, err);
    if (!rc)
        rc = op_emu_journal_open(env, path, &files->journal, err);
    if (!rc)
        rc = load(files, err);
    if (rc) {
        op_emu_files_close(files);
        return rc;
    }
    remove_leftovers(files);
    *ret = files;
    return OP_OK;
}

void op_emu_files_close(struct op_emu_files *files)
{
    if (!files)
        return;
    op_emu_journal_close(files->journal);
    op_map_release(&files->by_id);
    op_arena_release(&files->texts);
    pthread_mutex_destroy(&files->lock);
    op_mem_free(files->rows);
    op_mem_free(files->uploads);
    op_mem_free(files->batches);
    op_mem_free(files);
}

int64_t op_emu_files_last_us(const struct op_emu_files *files)
{
    return files->last_us;
}

int64_t op_emu_files_next_seq(struct op_emu_files *files)
{
    return atomic_fetch_add(&files->next_seq, 1);
}

/* ---- receiving ---- */

enum op_rc op_emu_files_receive(struct op_emu_files *files, struct op_emu_receiving *receiving,
                                struct op_err *err)
{
    int64_t number = atomic_fetch_add(&files->next_upload, 1);
    OP_CLEANUP(op_mem_freep)
    char *path = op_mem_printf("%s/upload.%lld", files->uploads, (long long)number);
    *receiving = (struct op_emu_receiving){.files = files, .last = '\n'};
    receiving->writer.fd = -1;
    return op_writer_open(&receiving->writer, files->env, path, true, err);
}

enum op_rc op_emu_files_add(struct op_emu_receiving *receiving, const char *ptr, size_t len,
                            struct op_err *err)
{
    for (const char *p = ptr; (p = memchr(p, '\n', len - (size_t)(p - ptr))); p++)
        receiving->newlines++;
    if (len)
        receiving->last = ptr[len - 1];
    return op_writer_add(&receiving->writer, ptr, len, err);
}

void op_emu_files_abort(struct op_emu_receiving *receiving)
{
    if (receiving->files)
        op_writer_abort(&receiving->writer);
}

enum op_rc op_emu_files_keep(struct op_emu_receiving *receiving, struct op_emu_file *file,
                             struct op_err *err)
{
    struct op_emu_files *files = receiving->files;
    uint8_t digest[OP_SHA256_LEN];
    OP_CLEANUP(op_mem_freep) char *from = op_mem_strdup(receiving->writer.path);
    file->bytes = receiving->writer.total;
    file->lines = receiving->newlines + (receiving->last != '\n');
    file->batch = "";
    enum op_rc rc = op_writer_close(&receiving->writer, false, digest, err);
    if (rc)
        return rc;
    op_hex(digest, sizeof(digest), file->sha256);
    OP_CLEANUP(op_mem_freep) char *to = op_emu_files_path(files, file);
    int failed = files->env->ops->rename(files->env, from, to, true);
    if (failed) {
        errno = -failed;
        return op_fail_errno(err, OP_IO, "cannot rename %s to %s", from, to);
    }
    return op_emu_files_put(files, file, err);
}

enum op_rc op_emu_files_put(struct op_emu_files *files, struct op_emu_file *file,
                            struct op_err *err)
{
    pthread_mutex_lock(&files->lock);
    enum op_rc rc = log_file(files, file, err);
    if (!rc)
        put_row(files, file);
    pthread_mutex_unlock(&files->lock);
    return rc;
}

/* ---- reading ---- */

static bool is_seen(const struct op_emu_file *file, const char *provider, int64_t now_us)
{
    return !file->deleted && strcmp(file->provider, provider) == 0 &&
           (file->expires_us == 0 || now_us < file->expires_us);
}

bool op_emu_files_get(struct op_emu_files *files, const char *provider, struct op_str id,
                      int64_t now_us, struct op_emu_file *ret)
{
    int64_t at = 0;
    pthread_mutex_lock(&files->lock);
    bool found = id.ptr && op_map_get(&files->by_id, id, &at) &&
                 is_seen(files->rows[at], provider, now_us);
    if (found)
        *ret = *files->rows[at];
    pthread_mutex_unlock(&files->lock);
    return found;
}

char *op_emu_files_path(const struct op_emu_files *files, const struct op_emu_file *file)
{
    return file->batch[0] ? op_io_join(files->batches, file->batch)
                          : op_io_join(files->uploads, file->id);
}

enum op_rc op_emu_files_delete(struct op_emu_files *files, const struct op_emu_file *file,
                               struct op_err *err)
{
    struct op_emu_file gone = *file;
    OP_CLEANUP(op_mem_freep) char *path = op_emu_files_path(files, file);
    gone.deleted = true;
    enum op_rc rc = op_emu_files_put(files, &gone, err);
    /* A file that stays behind costs room and nothing else. */
    if (!rc)
        (void)files->env->ops->unlink(files->env, path);
    return rc;
}

enum op_rc op_emu_files_page(struct op_emu_files *files, const struct op_emu_file_page *page,
                             struct op_emu_file **ret_files, size_t *ret_count, bool *ret_more)
{
    bool begun = page->after_id.ptr == NULL;
    size_t skip = page->skip, count = 0;
    pthread_mutex_lock(&files->lock);
    OP_CLEANUP(op_mem_freep)
    struct op_emu_file *found = op_mem_array(files->count + 1, sizeof(*found));
    bool more = false;
    for (size_t i = 0; i < files->count; i++) {
        const struct op_emu_file *row =
            files->rows[page->oldest_first ? i : files->count - 1 - i];
        if (!is_seen(row, page->provider, page->now_us) ||
            (page->uploaded_only && row->batch[0]) ||
            (page->purpose.ptr && !op_str_is(page->purpose, row->purpose)))
            continue;
        if (!begun) {
            begun = op_str_is(page->after_id, row->id);
        } else if (skip > 0) {
            skip--;
        } else if (count == page->limit) {
            more = true;
            break;
        } else {
            found[count++] = *row;
        }
    }
    pthread_mutex_unlock(&files->lock);
    if (!begun)
        return OP_NOTFOUND;
    *ret_files = OP_TAKE(found);
    *ret_count = count;
    *ret_more = more;
    return OP_OK;
}
