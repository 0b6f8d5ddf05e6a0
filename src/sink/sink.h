/* SPDX-License-Identifier: MIT */
#ifndef OP_SINK_SINK_H
#define OP_SINK_SINK_H

/*
 * Model:     a sink takes rows to where the user wants them, in two steps.
 *            ENCODE (pure, on an apply worker): a row becomes a frame, appended to the outbox file
 *            of that (job, output), which is made durable with the ledger's cursor. That is the
 *            exactly-once half.
 *            DELIVER (engine): frames of the outbox from `from` to `to` are carried into the target
 *            under the row's key. Delivering a range twice, or again from the start, leaves the
 *            target as if once: the same key replaces. That is the at-least-once half.
 *
 *            Frame = struct op_frame (16 bytes, little endian) + payload. The frame's key hash is
 *            over the values of the output's key columns. One output may write to several targets
 *            (per-row paths): the path is the start of the payload, path_len bytes of it.
 * Ownership: a sink owns what open gave it; nothing is shared.
 * Errors:    encode: OP_INVAL rejects that row (wrong type, path outside the folder) and leaves
 *            out as it was. deliver: OP_IO or OP_REMOTE with disposition, OP_INVAL when the target
 *            does not fit (a person must act); nothing is lost, the range is delivered again.
 * Threads:   encode may run on several threads (read-only use of the sink); deliver on one, which may
 *            use another inside.
 */

#include "base/buf.h"
#include "base/env.h"
#include "base/err.h"
#include "base/sandbox.h"
#include "base/value.h"

struct op_frame {
    uint32_t len;      /* payload bytes, path included */
    uint32_t path_len; /* 0: the output's one target */
    uint64_t key_hash;
};

struct op_sink_option {
    const char *name;
    const char *value;
};
struct op_sink_option_spec {
    const char *name;
    const char *help;
};

struct op_sink_config {
    struct op_env *env;
    const char *target; /* path or URL. With per_row_path the template ("out/{{x}}/a.csv"): what
                           stands before its first hole, up to the last slash, is the folder every
                           row's path must lie in; without a hole all of it is that folder; "" or
                           NULL: the current one */
    bool per_row_path;  /* the row's whole path is given to encode */
    const char *const *columns; /* of the rows SELECT */
    size_t column_count;
    const char *const *key; /* names of the key columns; each is a column */
    size_t key_count;
    const struct op_sink_option *options;
    size_t option_count;
    const char *place; /* "dir/pipeline.yaml:30" */
    const char
        *work_dir; /* in the state folder: for temporary files that must not lie beside the
                             target; exists */
};

struct op_sink;
struct op_sink_ops {
    const char *kind; /* "csv" */
    const char *help;
    const struct op_sink_option_spec *options; /* ends with name NULL */
    bool needs_key;                            /* key: is mandatory */
    bool named;                        /* the target is a name at a server, not a path */
    bool (*guess)(const char *target); /* does a bare path look like this kind (--output) */
    /* What a locked-in process must be allowed for this target; NULL: a path or a URL says it. */
    void (*reach)(const char *target, struct op_sandbox *box);
    /* Checks the configuration; does not touch the target. */
    enum op_rc (*open)(const struct op_sink_config *config, struct op_sink **ret,
                       struct op_err *err);
    /* Appends one frame. path: with per_row_path, the row's path, checked here: without "..", in
     * the target's folder, absolute only when that is. */
    enum op_rc (*encode)(const struct op_sink *sink, struct op_str path,
                         const struct op_value *cells, struct op_buf *out, struct op_err *err);
    /* Carries the frames of the outbox file in [from, to) into the target; both are frame
     * boundaries. last: the job is over, so work put off until now must be done. *ret_delivered:
     * how far the target now durably holds the rows (== to unless put off; a sink may put off
     * while !last). */
    enum op_rc (*deliver)(struct op_sink *sink, const char *outbox, int64_t from, int64_t to,
                          bool last, int64_t *ret_delivered, struct op_err *err);
    void (*close)(struct op_sink *sink);
};
struct op_sink { /* drivers embed this first */
    const struct op_sink_ops *ops;
};

const struct op_sink_ops *const *op_sinks(void); /* NULL-terminated */
const struct op_sink_ops *op_sink_find(const char *kind);
const struct op_sink_ops *op_sink_guess(const char *target);

OP_MUST_CHECK enum op_rc op_sink_open(const struct op_sink_ops *ops,
                                      const struct op_sink_config *config, struct op_sink **ret,
                                      struct op_err *err);
OP_MUST_CHECK enum op_rc op_sink_encode(const struct op_sink *sink, struct op_str path,
                                        const struct op_value *cells, struct op_buf *out,
                                        struct op_err *err);
OP_MUST_CHECK enum op_rc op_sink_deliver(struct op_sink *sink, const char *outbox, int64_t from,
                                         int64_t to, bool last, int64_t *ret_delivered,
                                         struct op_err *err);
void op_sink_close(struct op_sink *sink);
void op_sink_closep(struct op_sink **sink);
const char *op_sink_option_get(const struct op_sink_config *config, const char *name,
                               const char *fallback);

#endif
