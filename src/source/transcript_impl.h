/* SPDX-License-Identifier: MIT */
#ifndef OP_SOURCE_TRANSCRIPT_IMPL_H
#define OP_SOURCE_TRANSCRIPT_IMPL_H

/*
 * Model:     what the files of transcript.h share: the state of a session and its bounds. All texts
 *            are one line each (white space and control characters become one space), valid UTF-8,
 *            cut to their array with an ellipsis.
 * Threads:   as transcript.h.
 */

#include "base/json.h"
#include "source/transcript.h"

/* Bounds of what is kept (systems.md 3.5: 20 events, 150 bytes of why, 10 files, 5 searches, 5
 * commands of 100 bytes, 10,000 bytes to find concepts in). */
enum {
    TEXT_MAX = 304,
    WHY_MAX = 154, /* 150 and an ellipsis, with NUL */
    EVENT_MAX = 20,
    REQUEST_MAX = 8,
    EDIT_MAX = 16,
    ERROR_MAX = 10,
    CHECK_MAX = 5,
    COMMAND_MAX = 5,
    SEARCH_MAX = 5,
    FILE_MAX_COUNT = 10,
    TOOL_MAX = 24,
    CONCEPT_MAX = 10,
    SAMPLE_MAX = 10000,
    NEAR_MESSAGES = 5,    /* where the reason of an edit is looked for */
    FIX_MESSAGES = 14,    /* where the fix of an error is looked for */
    RECENT_TOOLS = 64,    /* results come soon after their calls */
    SCAN_BYTES = 8 * 1024 /* of a result that is looked through for words */
};

enum note_kind {
    NOTE_REQUEST,
    NOTE_EDIT,
    NOTE_COMMAND,
    NOTE_READ,
    NOTE_ERROR,
    NOTE_PASS,
    NOTE_SOLUTION
};

struct note {
    int64_t at; /* number of the message, from 1 */
    int score;  /* in tenths */
    enum note_kind kind;
    bool open;        /* an error without a fix */
    int times;        /* an edit of the same file in the same way, again */
    const char *form; /* of an edit: its pattern; of a check: passed or failed */
    char text[TEXT_MAX];
    char why
        [WHY_MAX]; /* of an edit: the reason; of an error: the fix; of a check: what it said */
};

/* The first `head` and the last of what was added. */
struct notes {
    struct note *items;
    size_t count, room, head;
    int64_t total;
};

struct tool_count {
    char name[48];
    int64_t count;
};

struct paths {
    char items[FILE_MAX_COUNT][TEXT_MAX];
    size_t count;
    int64_t total;
};

struct tool_call {
    uint64_t id; /* hash of the call's id */
    bool shell;  /* a command: its output is looked through for failures */
    char command[104];
};

struct op_transcript {
    struct op_json_parser *parser;
    int64_t size, offset;
    int64_t messages, broken, side;
    int64_t first_ms, last_ms;
    char cwd[TEXT_MAX], branch[104], title[TEXT_MAX];
    struct notes requests, edits, errors, checks, commands, searches;
    struct note events[EVENT_MAX];
    size_t event_count;
    int64_t event_total, fixed;
    struct tool_count tools[TOOL_MAX];
    size_t tool_count;
    struct paths read, edited, created;
    struct {
        int64_t at;
        char text[WHY_MAX];
    } asked[NEAR_MESSAGES]; /* the last messages of the user */
    size_t asked_next;
    struct tool_call calls[RECENT_TOOLS];
    size_t call_next;
    bool ends_solved; /* the last words of the assistant speak of a solution */
    char sample[SAMPLE_MAX + 1];
    size_t sample_len;
    char scan[SCAN_BYTES + 1]; /* small letters of what is being looked through */
    size_t scan_len;
    struct op_buf out;
    size_t begins[OP_TRANSCRIPT_CELLS + 1];
    struct op_value cells[OP_TRANSCRIPT_CELLS];
};

/* --- texts (transcript_text.c) --- */

void op_clip(char *ret, size_t room, struct op_str text);
/* The beginning and the end of a text in small letters (ASCII) into t->scan. */
void op_scan(struct op_transcript *t, struct op_str text);
bool op_scan_has(const struct op_transcript *t, const char *const *words);
/* The first line of the text, which op_scan has just seen, that tells of a failure; ptr NULL: none
 * does. */
struct op_str op_failing_line(const struct op_transcript *t, struct op_str text);
bool op_is_check_command(const char *command);

extern const char *const op_pass_words[], *const op_solution_words[];

/* Appends as a JSON array of names: at most CONCEPT_MAX. */
void op_add_concepts(struct op_transcript *t, struct op_buf *out);
void op_add_frameworks(struct op_transcript *t, struct op_buf *out);

/* --- what is made of it all (transcript_cells.c) --- */

void op_transcript_render(struct op_transcript *t);

#endif
