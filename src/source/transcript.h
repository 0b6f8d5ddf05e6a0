/* SPDX-License-Identifier: MIT */
#ifndef OP_SOURCE_TRANSCRIPT_H
#define OP_SOURCE_TRANSCRIPT_H

/*
 * Model:     one session of a coding assistant (JSON lines, as Claude Code writes them) boiled down
 *            to what a narrative is made of: what was asked, edited and why, what went wrong and how
 *            it was mended, with which tools, files and commands. Line by line, in one pass, into a
 *            form of bounded size (below 64 KiB), whatever the session has. Nothing is an error: a
 *            line that is no JSON object is counted, anything odd inside one is passed over.
 *            An event's worth follows docs/reference/inputs.md. Whether it lies at the beginning or
 *            end of the session is told by bytes, so that one pass is enough.
 * Ownership: a transcript owns what it makes; texts are valid until the next begin.
 * Threads:   one thread at a time.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/value.h"

/* A longer line (a pasted image, say) is counted as broken: parsing it would take many times its
 * size. */
#define OP_TRANSCRIPT_MAX_LINE (4 * 1024 * 1024)

/* Changes whenever the same lines give another row, so that rows kept from before are made anew. */
#define OP_TRANSCRIPT_VERSION 1

/* What is made of the lines, in the order of the columns. */
enum op_transcript_cell {
    OP_TRANSCRIPT_CWD,
    OP_TRANSCRIPT_BRANCH,
    OP_TRANSCRIPT_TITLE,
    OP_TRANSCRIPT_STARTED,
    OP_TRANSCRIPT_ENDED,
    OP_TRANSCRIPT_MESSAGES,
    OP_TRANSCRIPT_BROKEN,
    OP_TRANSCRIPT_SIDECHAIN,
    OP_TRANSCRIPT_REQUESTS,
    OP_TRANSCRIPT_EDITS,
    OP_TRANSCRIPT_ERRORS,
    OP_TRANSCRIPT_VALIDATION,
    OP_TRANSCRIPT_EVENTS,
    OP_TRANSCRIPT_TOOLS,
    OP_TRANSCRIPT_FILES,
    OP_TRANSCRIPT_COMMANDS,
    OP_TRANSCRIPT_SEARCHES,
    OP_TRANSCRIPT_CONCEPTS,
    OP_TRANSCRIPT_SEARCH_INDEX,
    OP_TRANSCRIPT_CONTEXT_CACHE,
    OP_TRANSCRIPT_SIGNATURE,
    OP_TRANSCRIPT_STATISTICS,
    OP_TRANSCRIPT_HASH,
    OP_TRANSCRIPT_CELLS,
};

struct op_transcript;

struct op_transcript *op_transcript_new(void);
void op_transcript_free(struct op_transcript *t);

/* size: of the file, to tell how far a line lies in it. */
void op_transcript_begin(struct op_transcript *t, int64_t size);
/* A line at an offset of the file, with OP_BUF_PADDING readable bytes behind it. half: the file
 * ended in it, so it may still be being written: then it is not broken but not there yet. */
void op_transcript_line(struct op_transcript *t, struct op_str line, int64_t offset, bool half);
/* A line that was too long to be read. */
void op_transcript_skip(struct op_transcript *t);
/* Makes the cells: OP_TRANSCRIPT_CELLS of them. */
const struct op_value *op_transcript_end(struct op_transcript *t);

#endif
