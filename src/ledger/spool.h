/* SPDX-License-Identifier: MIT */
#ifndef OP_LEDGER_SPOOL_H
#define OP_LEDGER_SPOOL_H

/*
 * Model:     the folder of files that the ledger refers to: payloads, result files, outboxes, staged
 *            inputs, quarantine, and the manifest (the witness of what was sent). Rules, from
 *            reference/reliability.md 3.9: a file is written under a temporary name, fsynced,
 *            closed (checked), renamed without replacing, and its folder fsynced, before any row
 *            refers to it; names hold the content's SHA-256; a file that does not match its hash is
 *            moved to quarantine/, never deleted.
 *                STATE/spool/payload/<batch>-<sha12>.json      STATE/spool/result/<batch>-<part>-<sha12>.jsonl
 *                (beside it <batch>-<part>-document-<sha12>.json, a reply its lines were made from)
 *                STATE/spool/outbox/<job>-<output>.rows         STATE/spool/input/<job>-<round>.db
 *                STATE/spool/quarantine/                        STATE/spool/manifest.jsonl
 *                STATE/spool/realtime/<batch>-<nonce>.log (asklog.h)
 * Ownership: relative names are op_mem strings of the caller.
 * Errors:    disk full is OP_IO with OP_DISP_RETRY and says how much is needed and where.
 * Threads:   one thread at a time.
 */

#include "base/env.h"
#include "base/err.h"
#include "base/io.h"

struct op_spool;

/* Refuses network file systems and state folders of another user or writable by others (unless
 * OFFPEAK_UNSAFE_STATE=1 at start); makes the folders with mode 0700. Sweeps temporary files that
 * no process is writing (they are older than the writer lock this process holds). */
OP_MUST_CHECK enum op_rc op_spool_open(struct op_env *env, const char *state_dir, bool writable,
                                       struct op_spool **ret, struct op_err *err);
void op_spool_close(struct op_spool *spool);
void op_spool_closep(struct op_spool **spool);
/* Absolute path of a relative name, as an op_mem block. */
char *op_spool_path(const struct op_spool *spool, const char *name);

/* A file in the making. */
struct op_spool_file {
    struct op_writer writer;
    char *temp;    /* path */
    bool finished; /* its bytes are durable, and sha256 theirs */
    char sha256[65];
};
OP_MUST_CHECK enum op_rc op_spool_begin(struct op_spool *spool, const char *folder,
                                        struct op_spool_file *ret, struct op_err *err);
/* The slow half of op_spool_commit, which does it otherwise: what was written is hashed and
 * durable, under the temporary name. May run on another thread, as long as nobody else uses the
 * file. */
OP_MUST_CHECK enum op_rc op_spool_finish(struct op_spool *spool, struct op_spool_file *file,
                                         struct op_err *err);
/* Makes it durable under folder/prefix-<sha12>suffix. *ret_name is the relative name. When that
 * very name exists with the same hash (a crash between rename and commit) it is taken over. */
OP_MUST_CHECK enum op_rc op_spool_commit(struct op_spool *spool, struct op_spool_file *file,
                                         const char *prefix, const char *suffix,
                                         char **ret_name, char ret_sha256[65],
                                         int64_t *ret_bytes, struct op_err *err);
void op_spool_abort(struct op_spool *spool,
                    struct op_spool_file *file); /* harmless after commit */

/* Hashes the file and compares length and digest; a mismatch moves it to quarantine/ and is
 * OP_IO/FATAL naming both. */
OP_MUST_CHECK enum op_rc op_spool_verify(struct op_spool *spool, const char *name,
                                         int64_t bytes, const char *sha256, struct op_err *err);
/* Moves a file to quarantine/ with a note why. */
OP_MUST_CHECK enum op_rc op_spool_quarantine(struct op_spool *spool, const char *name,
                                             const char *why, struct op_err *err);
OP_MUST_CHECK enum op_rc op_spool_remove(struct op_spool *spool, const char *name,
                                         struct op_err *err);
/* Reads [offset, offset+len) of a file, appended to buf. */
OP_MUST_CHECK enum op_rc op_spool_read(struct op_spool *spool, const char *name, int64_t offset,
                                       int64_t len, struct op_buf *buf, struct op_err *err);

/* Append-only files with a committed length (outboxes). open cuts the file to committed, after
 * checking it is at least that long. */
struct op_append {
    struct op_env *env;
    int fd;
    char *path;
    int64_t len;
    int64_t begun; /* private: up to here it is being written out */
};
OP_MUST_CHECK enum op_rc op_append_open(struct op_spool *spool, const char *name,
                                        int64_t committed, struct op_append *ret,
                                        struct op_err *err);
OP_MUST_CHECK enum op_rc op_append_add(struct op_append *file, const void *ptr, size_t len,
                                       struct op_err *err);
/* Durability point: to be called before the ledger commits the new length. */
OP_MUST_CHECK enum op_rc op_append_sync(struct op_append *file, struct op_err *err);
void op_append_close(struct op_append *file);

/* The manifest: one JSON line per batch about to be sent, fsynced before SENDING:
 *     {"ledger":"<uuid>","batch":7,"nonce":"...","sha256":"...","count":1000,"provider":"..."}
 * and one with "withdrawn":true when the door did not open after all; "realtime":true when its requests
 * are asked one by one, and its log says which of them were.
 * The highest batch in it is the witness against a ledger restored from an old backup:
 * op_ledger_open reads ledger, batch and nonce back. */
OP_MUST_CHECK enum op_rc op_manifest_add(struct op_spool *spool, const char *json_line,
                                         struct op_err *err);

/* Never buy what cannot be stored (reference/reliability.md 3.10): free space of the state folder
 * must cover needed + OP_SPOOL_RESERVE; else OP_IO/RETRY saying how much is missing. */
#define OP_SPOOL_RESERVE (256LL * 1024 * 1024)
OP_MUST_CHECK enum op_rc op_spool_headroom(struct op_spool *spool, int64_t needed,
                                           struct op_err *err);

#endif
