/* SPDX-License-Identifier: MIT */
#ifndef OP_BASE_IO_H
#define OP_BASE_IO_H

/*
 * Model:     whole-file and streaming helpers over the env's file calls: short writes and EINTR
 *            are handled here and nowhere else, close() is always checked.
 * Ownership: stated per function.
 * Errors:    messages name the path. A failed fsync is OP_DISP_FATAL: pages may have been marked
 *            clean without being written, so it is never retried.
 * Threads:   as the env.
 */

#include "base/buf.h"
#include "base/env.h"
#include "base/err.h"

/* Reads a whole file of at most buf->max bytes, appending. */
OP_MUST_CHECK enum op_rc op_io_read_file(struct op_env *env, const char *path,
                                         struct op_buf *buf, struct op_err *err);

/* Replaces path atomically and durably: temp file beside it, write, fsync, close, rename,
 * fsync of the directory. After an error the old content is untouched. */
OP_MUST_CHECK enum op_rc op_io_replace_file(struct op_env *env, const char *path,
                                            const void *ptr, size_t len, struct op_err *err);

OP_MUST_CHECK enum op_rc op_io_write_all(struct op_env *env, int fd, const void *ptr,
                                         size_t len, const char *path, struct op_err *err);
OP_MUST_CHECK enum op_rc op_io_pread_all(struct op_env *env, int fd, void *ptr, size_t len,
                                         int64_t offset, const char *path, struct op_err *err);

/* Creates path and its parents (mode 0700), syncing each new directory's parent. */
OP_MUST_CHECK enum op_rc op_io_mkdirs(struct op_env *env, const char *path, struct op_err *err);

/* The directory part of a path as an op_mem block ("." when there is none). */
char *op_io_dirname(const char *path);
/* An absolute name stays as it is. */
char *op_io_join(const char *dir, const char *name);

/* The names in a folder, sorted by their bytes, without those that begin with a dot: an op_mem
 * array of op_mem blocks, both the caller's. What is no folder has none. */
char **op_io_names(const char *folder, size_t *ret_count);

/* A buffered sequential writer that can hash what passes. Storage is the caller's. */
struct op_writer {
    struct op_env *env;
    int fd;      /* -1 when closed */
    char *path;  /* op_mem copy */
    char *block; /* one block of OP_WRITER_BLOCK bytes */
    size_t used;
    int64_t total;               /* bytes accepted so far */
    int64_t written, begun;      /* private: bytes written, and begun to be written out */
    struct op_sha256 *sha;       /* NULL: no hash wanted */
    bool background;             /* see op_writer_background */
    struct op_writer_hand *hand; /* private; NULL: none */
    bool failed;                 /* a write failed: close refuses, only abort is left */
};
#define OP_WRITER_BLOCK (256 * 1024)

/* Creates path exclusively (O_EXCL, mode 0600). */
OP_MUST_CHECK enum op_rc op_writer_open(struct op_writer *w, struct op_env *env,
                                        const char *path, bool hash, struct op_err *err);
/* From the first full block on, hashing and writing are done by a thread of the writer's own, some
 * blocks behind. A failure is then reported by a later add, or by close. */
void op_writer_background(struct op_writer *w);
OP_MUST_CHECK enum op_rc op_writer_add(struct op_writer *w, const void *ptr, size_t len,
                                       struct op_err *err);
/* Flushes, fsyncs when sync, closes (checked); fills the digest when hashing (NULL otherwise). */
OP_MUST_CHECK enum op_rc op_writer_close(struct op_writer *w, bool sync, uint8_t *ret_sha256,
                                         struct op_err *err);
/* Closes and unlinks an unfinished file; harmless after op_writer_close. */
void op_writer_abort(struct op_writer *w);

/* Lines of a file through a moving window: constant memory whatever the file's size. */
struct op_lines;
/* max_line: longer lines are reported as oversize with their length and their content skipped. */
OP_MUST_CHECK enum op_rc op_lines_open(struct op_env *env, const char *path, int64_t offset,
                                       size_t max_line, struct op_lines **ret,
                                       struct op_err *err);
void op_lines_close(struct op_lines *lines);
void op_lines_closep(struct op_lines **lines);

struct op_line {
    const char *ptr; /* without the newline (nor a CR before it); OP_BUF_PADDING bytes after it
                         are readable; valid until the next call; NULL when oversize */
    size_t len;
    int64_t offset;  /* of the first byte in the file */
    int64_t end;     /* offset of the byte after the line and its newline */
    int64_t number;  /* counted from 1, from where the reading began */
    bool terminated; /* false: the file ended without a newline */
    bool oversize;
};
/* OP_OK and a line, or OP_NOTFOUND (err untouched) at the end of the file. */
OP_MUST_CHECK enum op_rc op_lines_next(struct op_lines *lines, struct op_line *ret,
                                       struct op_err *err);

#endif
