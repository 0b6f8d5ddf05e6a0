/* SPDX-License-Identifier: MIT */
#ifndef OP_ENGINE_DIGEST_H
#define OP_ENGINE_DIGEST_H

/*
 * Model:     the half of applying that decides nothing: a piece of a result file becomes a chunk of
 *            entries (what each line is, what it cost, whether its answer is good) and of frames
 *            (the rows of the good ones). It touches the ledger only to read records, so it runs on
 *            threads of its own, several chunks at once, ahead of the committing half (apply.c).
 * Ownership: a digest belongs to one thread; chunks are handed over.
 * Errors:    a line that cannot be understood is an entry, not an error.
 */

#include "engine/order.h"
#include "engine/work.h"
#include "pipeline/answer.h"

/* Limits of a chunk: a handful of them is in memory with their rows. Several make a transaction. */
#define OP_CHUNK_BYTES   (1024 * 1024)
#define OP_CHUNK_ENTRIES 1024
/* A longer line is kept raw and quarantined (reference/reliability.md section 4). */
#define OP_RESULT_LINE_MAX (256 * 1024 * 1024)

enum op_entry_kind {
    OP_ENTRY_RESULT, /* first result of a member that had none */
    OP_ENTRY_LATE,   /* no answer for a member: counts when the batch is complete (late.h) */
    OP_ENTRY_AGAIN,  /* of a request of this batch that already has one */
    OP_ENTRY_QUARANTINE, /* not a result line of this batch */
};

#define OP_NO_MEMBER SIZE_MAX

struct op_entry {
    enum op_entry_kind kind;
    struct op_member member; /* AGAIN: only request_id */
    size_t member_at;        /* index in the digest's members; OP_NO_MEMBER: not of them */
    enum op_result_class class_;
    enum op_disp disp; /* of ERRORED */
    bool valid;
    bool mended;
    bool by_schema; /* the violations are of the schema, else of checks */
    int64_t part, offset, len;
    int64_t microusd;
    const char *model; /* what it is booked under; the plan's or the digest's */
    bool priced;
    struct op_usage usage;
    size_t text_at, text_len; /* in chunk->texts: violations, error or reason */
    size_t warn_at, warn_len; /* in chunk->texts: warnings */
};

struct op_chunk {
    int64_t part;
    int64_t from, end; /* positions of its lines (order.h) */
    bool last;         /* nothing follows in this part */
    struct op_entry *entries;
    size_t count;
    struct op_buf texts;
    struct op_buf *frames; /* per output */
    int64_t *rows;         /* per output */
    /* where entry i's frames begin and its rows so far: [i * outputs + output]; count + 1 rows */
    size_t *frame_at;
    int64_t *row_at;
};

struct op_digest;
/* members: the batch's requests without a result, by id; borrowed. batch is copied as it stands,
 * its strings are borrowed. */
OP_MUST_CHECK enum op_rc op_digest_open(struct op_work *work, const struct op_batch *batch,
                                        const struct op_member *members, size_t member_count,
                                        struct op_digest **ret, struct op_err *err);
/* Another batch for the context and its prices; its strings are taken over, after an error too. */
OP_MUST_CHECK enum op_rc op_digest_take_batch(struct op_digest *digest, struct op_batch *batch,
                                              struct op_err *err);
void op_digest_close(struct op_digest *digest);

struct op_chunk *op_chunk_new(const struct op_work *work);
void op_chunk_clear(const struct op_work *work, struct op_chunk *chunk);
void op_chunk_free(const struct op_work *work, struct op_chunk *chunk);

/* Fills a chunk that is empty but for its part and positions. Of two results of a request in it the
 * second is one AGAIN; so is one of a member that seen (by index; NULL: nothing is known) has. */
OP_MUST_CHECK enum op_rc op_digest_chunk(struct op_digest *digest,
                                         const struct op_ordered *lines, const uint8_t *seen,
                                         struct op_chunk *chunk, struct op_err *err);

/* The class of a line of this batch that says there is no answer; false: it is none such. */
bool op_digest_late_class(struct op_digest *digest, const struct op_line *line,
                          int64_t *ret_request, enum op_result_class *ret);
/* Such a line at last taken as its member's result. */
OP_MUST_CHECK enum op_rc op_digest_late(struct op_digest *digest,
                                        const struct op_member *member, int64_t part,
                                        const struct op_line *line, struct op_chunk *chunk,
                                        struct op_err *err);

/* The rows of one result that is final without being good (failed, refused, absent, ...): line ptr
 * NULL for ABSENT. Appended to frames and rows. */
OP_MUST_CHECK enum op_rc op_digest_final(struct op_digest *digest, const struct op_entry *entry,
                                         struct op_str line, const char *problem,
                                         struct op_buf *frames, int64_t *rows,
                                         struct op_err *err);
/* A good answer taken over from an identical request: checked and turned into rows for this member.
 * *ret_entry as for any line. */
OP_MUST_CHECK enum op_rc op_digest_reuse(struct op_digest *digest,
                                         const struct op_member *member, struct op_str line,
                                         struct op_chunk *chunk, struct op_err *err);

#endif
