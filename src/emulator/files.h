/* SPDX-License-Identifier: MIT */
#ifndef OP_EMULATOR_FILES_H
#define OP_EMULATOR_FILES_H

/*
 * Model:     the files of all providers: what was uploaded lies in DIR/files, what a batch made in
 *            DIR/batches. What is known about each is a line of DIR/files.jsonl, the last one
 *            counts; as with the store, a kill loses nothing that was answered.
 * Ownership: texts of a struct op_emu_file stay valid until close.
 * Threads:   any.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/str.h"
#include "emulator/store.h"

struct op_emu_file {
    char id[OP_EMU_ID_MAX];
    const char *provider;
    const char *name;    /* as the client called it */
    const char *purpose; /* the provider's word */
    const char *mime;
    const char *batch; /* "ID.results" or "ID.errors" of the batch that made it; "": uploaded */
    int64_t seq;       /* counts the files of this DIR */
    int64_t bytes, lines;
    int64_t created_us, expires_us; /* 0: never */
    bool deleted;
    char sha256[OP_SHA256_HEX]; /* hex; "" of what a batch made */
};

struct op_emu_files;

OP_MUST_CHECK enum op_rc op_emu_files_open(struct op_env *env, const char *dir,
                                           struct op_emu_files **ret, struct op_err *err);
void op_emu_files_close(struct op_emu_files *files);
int64_t op_emu_files_last_us(const struct op_emu_files *files);
int64_t op_emu_files_next_seq(struct op_emu_files *files);

/* A file being received: straight to disk. */
struct op_emu_receiving {
    struct op_emu_files *files;
    struct op_writer writer;
    int64_t newlines;
    char last; /* its last byte */
};
OP_MUST_CHECK enum op_rc op_emu_files_receive(struct op_emu_files *files,
                                              struct op_emu_receiving *receiving,
                                              struct op_err *err);
OP_MUST_CHECK enum op_rc op_emu_files_add(struct op_emu_receiving *receiving, const char *ptr,
                                          size_t len, struct op_err *err);
void op_emu_files_abort(struct op_emu_receiving *receiving); /* harmless after keep */
/* Makes the file: sets its bytes, lines and hash. */
OP_MUST_CHECK enum op_rc op_emu_files_keep(struct op_emu_receiving *receiving,
                                           struct op_emu_file *file, struct op_err *err);
/* Makes a file of what a batch made; anew when the id is there. */
OP_MUST_CHECK enum op_rc op_emu_files_put(struct op_emu_files *files, struct op_emu_file *file,
                                          struct op_err *err);

/* False when the provider has none of that id at that time. */
bool op_emu_files_get(struct op_emu_files *files, const char *provider, struct op_str id,
                      int64_t now_us, struct op_emu_file *ret);
/* Where its bytes are, an op_mem block. */
char *op_emu_files_path(const struct op_emu_files *files, const struct op_emu_file *file);
OP_MUST_CHECK enum op_rc op_emu_files_delete(struct op_emu_files *files,
                                             const struct op_emu_file *file,
                                             struct op_err *err);

struct op_emu_file_page {
    const char *provider;
    struct op_str purpose;  /* ptr NULL: any */
    struct op_str after_id; /* ptr NULL: from the start */
    bool oldest_first;
    bool uploaded_only;
    size_t skip, limit;
    int64_t now_us;
};
/* *ret_files is an op_mem block. OP_NOTFOUND, err untouched, when after_id is not in the list. */
OP_MUST_CHECK enum op_rc op_emu_files_page(struct op_emu_files *files,
                                           const struct op_emu_file_page *page,
                                           struct op_emu_file **ret_files, size_t *ret_count,
                                           bool *ret_more);

#endif
