/* SPDX-License-Identifier: MIT */
#include "source/transcript.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/time.h"
#include "source/transcript_impl.h"

enum { OUT_MAX = 512 * 1024 };

static void notes_init(struct notes *notes, size_t room, size_t head)
{
    notes->items = op_mem_array(room, sizeof(*notes->items));
    notes->room = room;
    notes->head = head;
}

/* The place of a new note, cleared but for its number. */
static struct note *notes_add(struct notes *notes, int64_t at)
{
    if (notes->count == notes->room) {
        memmove(&notes->items[notes->head], &notes->items[notes->head + 1],
                (notes->room - notes->head - 1) * sizeof(*notes->items));
        notes->count--;
    }
    struct note *note = &notes->items[notes->count++];
    memset(note, 0, sizeof(*note));
    note->at = at;
    note->times = 1;
    notes->total++;
    return note;
}

struct op_transcript *op_transcript_new(void)
{
    struct op_transcript *t = op_mem_alloc(sizeof(*t));
    t->parser = op_json_parser_new();
    notes_init(&t->requests, REQUEST_MAX, REQUEST_MAX / 2);
    notes_init(&t->edits, EDIT_MAX, EDIT_MAX / 2);
    notes_init(&t->errors, ERROR_MAX, ERROR_MAX / 2);
    notes_init(&t->checks, CHECK_MAX, 0);
    notes_init(&t->commands, COMMAND_MAX, 2);
    notes_init(&t->searches, SEARCH_MAX, 2);
    op_buf_init(&t->out, OUT_MAX);
    return t;
}

void op_transcript_free(struct op_transcript *t)
{
    if (!t)
        return;
    struct notes *all[] = {&t->requests, &t->edits,    &t->errors,
                           &t->checks,   &t->commands, &t->searches};
    for (size_t i = 0; i < OP_COUNT(all); i++)
        op_mem_free(all[i]->items);
    op_json_parser_free(t->parser);
    op_buf_release(&t->out);
    op_mem_free(t);
}

void op_transcript_begin(struct op_transcript *t, int64_t size)
{
    struct notes *all[] = {&t->requests, &t->edits,    &t->errors,
                           &t->checks,   &t->commands, &t->searches};
    for (size_t i = 0; i < OP_COUNT(all); i++)
        all[i]->count = 0, all[i]->total = 0;
    t->size = size;
    t->messages = t->broken = t->side = 0;
    t->first_ms = INT64_MAX;
    t->last_ms = INT64_MIN;
    t->cwd[0] = t->branch[0] = t->title[0] = '\0';
    t->event_count = t->tool_count = 0;
    t->event_total = t->fixed = 0;
    t->read.count = t->edited.count = t->created.count = 0;
    t->read.total = t->edited.total = t->created.total = 0;
    memset(t->asked, 0, sizeof(t->asked));
    memset(t->calls, 0, sizeof(t->calls));
    t->asked_next = t->call_next = 0;
    t->ends_solved = false;
    t->sample_len = 0;
    t->sample[0] = '\0';
}

/* --- events --- */

/* The event that gives way to one of this score, EVENT_MAX: none does. Of those worth least it is
 * one in the middle, so that both the beginning and the end stay. */
static size_t least_event(const struct op_transcript *t, int score)
{
    int least = t->events[0].score;
    for (size_t i = 1; i < EVENT_MAX; i++)
        least = t->events[i].score < least ? t->events[i].score : least;
    if (least > score)
        return EVENT_MAX;
    size_t at = EVENT_MAX / 2;
    while (at < EVENT_MAX && t->events[at].score != least)
        at++;
    if (at == EVENT_MAX)
        for (at = EVENT_MAX / 2; t->events[at].score != least;)
            at--;
    return at;
}

/* What tells most is kept. What lies in the first tenth or the last fifth counts a tenth more:
 * there the problem is put and the outcome told. */
static void add_event(struct op_transcript *t, enum note_kind kind, int worth, const char *text,
                      const char *why)
{
    bool edge = t->offset < t->size / 10 || t->offset >= t->size - t->size / 5;
    int score = worth * (edge ? 11 : 10);
    size_t at = t->event_count;
    t->event_total++;
    if (at == EVENT_MAX) {
        at = least_event(t, score);
        if (at == EVENT_MAX)
            return;
        memmove(&t->events[at], &t->events[at + 1],
                (EVENT_MAX - at - 1) * sizeof(t->events[0]));
        at = EVENT_MAX - 1;
    } else {
        t->event_count++;
    }
    struct note *event = &t->events[at];
    event->at = t->messages;
    event->score = score;
    event->kind = kind;
    op_clip(event->text, sizeof(event->text), op_str_from(text));
    op_clip(event->why, sizeof(event->why), op_str_from(why));
}

static void add_sample(struct op_transcript *t, struct op_str text)
{
    size_t room = SAMPLE_MAX - t->sample_len;
    size_t len = text.len < room ? text.len : room;
    for (size_t i = 0; i < len; i++) {
        char c = text.ptr[i];
        t->sample[t->sample_len++] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    if (t->sample_len < SAMPLE_MAX)
        t->sample[t->sample_len++] = ' ';
    t->sample[t->sample_len] = '\0';
}

/* Why an edit was made: the first thing the user has said within the last messages, else the last
 * thing before. */
static const char *reason(const struct op_transcript *t)
{
    const char *last = "";
    for (size_t i = 0; i < NEAR_MESSAGES; i++) {
        size_t at = (t->asked_next + i) % NEAR_MESSAGES;
        if (!t->asked[at].at)
            continue;
        if (t->asked[at].at + NEAR_MESSAGES >= t->messages)
            return t->asked[at].text;
        last = t->asked[at].text;
    }
    return last;
}

static void mend_errors(struct op_transcript *t, const char *fix)
{
    for (size_t i = 0; i < t->errors.count; i++) {
        struct note *error = &t->errors.items[i];
        if (!error->open || error->at + FIX_MESSAGES < t->messages || error->at == t->messages)
            continue;
        error->open = false;
        op_clip(error->why, sizeof(error->why), op_str_from(fix));
        t->fixed++;
    }
}

/* --- what is said --- */

/* What the program wrote in the user's name. */
static bool is_noise(struct op_str text)
{
    static const char *const beginnings[] = {"<command-",
                                             "Caveat:",
                                             "<local-command-",
                                             "<system-reminder",
                                             "<bash-",
                                             "[Request interrupt",
                                             "<task-notification",
                                             "This session is being continued",
                                             NULL};
    for (size_t i = 0; beginnings[i]; i++)
        if (op_str_starts(text, beginnings[i]))
            return true;
    return text.len == 0;
}

static void user_text(struct op_transcript *t, struct op_str text)
{
    text = op_str_trim(text);
    if (is_noise(text))
        return;
    struct note *request = notes_add(&t->requests, t->messages);
    op_clip(request->text, sizeof(request->text), text);
    t->asked[t->asked_next].at = t->messages;
    op_clip(t->asked[t->asked_next].text, sizeof(t->asked[0].text), text);
    t->asked_next = (t->asked_next + 1) % NEAR_MESSAGES;
    add_sample(t, text);
    if (text.len > 50)
        add_event(t, NOTE_REQUEST, 10, request->text, "");
}

static void assistant_text(struct op_transcript *t, struct op_str text)
{
    text = op_str_trim(text);
    if (text.len == 0)
        return;
    char said[TEXT_MAX];
    op_scan(t, text);
    t->ends_solved = op_scan_has(t, op_solution_words);
    add_sample(t, text);
    if (!t->ends_solved)
        return;
    op_clip(said, sizeof(said), text);
    add_event(t, NOTE_SOLUTION, 8, said, "");
    mend_errors(t, said);
}

/* --- what is done --- */

static void count_tool(struct op_transcript *t, struct op_str name)
{
    char clipped[sizeof(t->tools[0].name)];
    op_clip(clipped, sizeof(clipped), name);
    for (size_t i = 0; i < t->tool_count; i++) {
        if (strcmp(t->tools[i].name, clipped) == 0) {
            t->tools[i].count++;
            return;
        }
    }
    if (t->tool_count == TOOL_MAX)
        return;
    memcpy(t->tools[t->tool_count].name, clipped, sizeof(clipped));
    t->tools[t->tool_count++].count = 1;
}

static void add_path(struct paths *paths, const char *path)
{
    for (size_t i = 0; i < paths->count; i++)
        if (strcmp(paths->items[i], path) == 0)
            return;
    paths->total++;
    if (paths->count < FILE_MAX_COUNT)
        memcpy(paths->items[paths->count++], path, TEXT_MAX);
}

static const char *pattern_of(struct op_json input, bool whole, bool many)
{
    if (whole)
        return "creation";
    struct op_json edits = op_json_get(input, "edits");
    size_t before = 0, after = 0;
    struct op_json_iter it = op_json_iter(edits);
    while (many && op_json_next(&it)) {
        before += op_json_str(op_json_get(it.value, "old_string")).len;
        after += op_json_str(op_json_get(it.value, "new_string")).len;
    }
    if (many && op_json_count(edits) > 5)
        return "cascade_updates";
    if (many)
        return after < before ? "removal" : "refactor";
    before = op_json_str(op_json_get(input, "old_string")).len;
    after = op_json_str(op_json_get(input, "new_string")).len;
    return after > 2 * before ? "expansion" : 2 * after < before ? "removal" : "modification";
}

static void edit(struct op_transcript *t, struct op_json input, bool whole, bool many)
{
    char path[TEXT_MAX], text[TEXT_MAX + 40];
    struct op_str name = op_json_str(op_json_get(input, "file_path"));
    op_clip(path, sizeof(path),
            name.ptr ? name : op_json_str(op_json_get(input, "notebook_path")));
    if (!path[0])
        return;
    const char *form = pattern_of(input, whole, many);
    struct note *last = t->edits.count ? &t->edits.items[t->edits.count - 1] : NULL;
    add_path(whole ? &t->created : &t->edited, path);
    if (last && last->form == form && strcmp(last->text, path) == 0) {
        last->times++;
        t->edits.total++;
    } else {
        last = notes_add(&t->edits, t->messages);
        last->form = form;
        memcpy(last->text, path, sizeof(path));
        op_clip(last->why, sizeof(last->why), op_str_from(reason(t)));
    }
    snprintf(text, sizeof(text), "%s %.290s (%s)", whole ? "Write" : "Edit", path, form);
    add_event(t, NOTE_EDIT, 9, text, last->why);
    mend_errors(t, text);
    add_sample(t, op_str_from(path));
}

static void look_up(struct op_transcript *t, struct op_json input, const char *member)
{
    struct op_str what = op_str_trim(op_json_str(op_json_get(input, member)));
    if (what.len)
        op_clip(notes_add(&t->searches, t->messages)->text, 104, what);
}

static void tool_use(struct op_transcript *t, struct op_json block)
{
    struct op_str name = op_json_str(op_json_get(block, "name"));
    struct op_json input = op_json_get(block, "input");
    struct op_str id = op_json_str(op_json_get(block, "id"));
    struct tool_call *call = &t->calls[t->call_next];
    if (!name.len)
        return;
    t->call_next = (t->call_next + 1) % RECENT_TOOLS;
    memset(call, 0, sizeof(*call));
    call->id = op_hash64(id.len ? id.ptr : "", id.len);
    count_tool(t, name);
    if (op_str_is(name, "Edit") || op_str_is(name, "NotebookEdit")) {
        edit(t, input, false, false);
    } else if (op_str_is(name, "MultiEdit")) {
        edit(t, input, false, true);
    } else if (op_str_is(name, "Write")) {
        edit(t, input, true, false);
    } else if (op_str_is(name, "Read")) {
        char path[TEXT_MAX];
        op_clip(path, sizeof(path), op_json_str(op_json_get(input, "file_path")));
        if (path[0]) {
            add_path(&t->read, path);
            add_event(t, NOTE_READ, 3, path, "");
        }
    } else if (op_str_is(name, "Bash")) {
        struct op_str command = op_str_trim(op_json_str(op_json_get(input, "command")));
        call->shell = true;
        op_clip(call->command, sizeof(call->command), command);
        add_sample(t, command);
        if (command.len) {
            char text[TEXT_MAX];
            op_clip(notes_add(&t->commands, t->messages)->text, sizeof(call->command), command);
            op_clip(text, sizeof(text), command);
            add_event(t, NOTE_COMMAND, 5, text, "");
        }
    } else if (op_str_is(name, "Grep") || op_str_is(name, "Glob")) {
        look_up(t, input, "pattern");
    } else if (op_str_is(name, "WebSearch")) {
        look_up(t, input, "query");
    }
}

/* --- what came of it --- */

static struct op_str result_text(struct op_json content)
{
    if (op_json_is(content, OP_JSON_STRING))
        return op_json_str(content);
    struct op_json_iter it = op_json_iter(content);
    while (op_json_is(content, OP_JSON_ARRAY) && op_json_next(&it)) {
        struct op_str text = op_json_is(it.value, OP_JSON_OBJECT)
                                 ? op_json_str(op_json_get(it.value, "text"))
                                 : op_json_str(it.value);
        if (text.len)
            return text;
    }
    return OP_STR("");
}

static void failed(struct op_transcript *t, const struct tool_call *call, struct op_str line)
{
    char text[204];
    op_clip(text, sizeof(text), line);
    for (size_t i = 0; i < t->errors.count; i++)
        if (t->errors.items[i].open && strcmp(t->errors.items[i].text, text) == 0)
            return;
    struct note *error = notes_add(&t->errors, t->messages);
    error->open = true;
    memcpy(error->text, text, sizeof(text));
    add_event(t, NOTE_ERROR, 9, text, call ? call->command : "");
}

static void checked(struct op_transcript *t, const struct tool_call *call, bool failing,
                    struct op_str line)
{
    struct note *check = notes_add(&t->checks, t->messages);
    check->form = failing ? "failed" : "passed";
    op_clip(check->text, sizeof(call->command), op_str_from(call->command));
    op_clip(check->why, sizeof(check->why), line);
    add_event(t, failing ? NOTE_ERROR : NOTE_PASS, failing ? 6 : 7, call->command, check->why);
}

/* The last line with something on it: there checks say how it went. */
static struct op_str last_line(struct op_str text)
{
    text = op_str_trim(text);
    const char *mark = text.len ? memrchr(text.ptr, '\n', text.len) : NULL;
    if (!mark)
        return text;
    size_t begin = (size_t)(mark + 1 - text.ptr);
    return (struct op_str){text.ptr + begin, text.len - begin};
}

static void tool_result(struct op_transcript *t, struct op_json block)
{
    struct op_str id = op_json_str(op_json_get(block, "tool_use_id"));
    struct op_str text = op_str_trim(result_text(op_json_get(block, "content")));
    bool is_error = op_json_bool(op_json_get(block, "is_error"), false);
    uint64_t hash = op_hash64(id.len ? id.ptr : "", id.len);
    const struct tool_call *call = NULL;
    for (size_t i = 0; id.len && i < RECENT_TOOLS; i++)
        if (t->calls[i].id == hash)
            call = &t->calls[i];
    bool shell = call && call->shell;
    if (!shell && !is_error)
        return; /* a file that speaks of errors is none */
    op_scan(t, text);
    struct op_str line = op_failing_line(t, text);
    bool failing = is_error || line.ptr;
    if (shell && op_is_check_command(call->command) &&
        (failing || op_scan_has(t, op_pass_words)))
        checked(t, call, failing, failing && line.ptr ? line : last_line(text));
    if (failing && text.len)
        failed(t, call, line.ptr ? line : text);
}

/* --- a line --- */

static void block(struct op_transcript *t, struct op_json v, bool user, bool meta)
{
    struct op_str type = op_json_str(op_json_get(v, "type"));
    struct op_str text = op_json_str(op_json_get(v, "text"));
    if (op_str_is(type, "tool_use"))
        tool_use(t, v);
    else if (op_str_is(type, "tool_result"))
        tool_result(t, v);
    else if (!op_str_is(type, "text") || !text.ptr || meta)
        return;
    else if (user)
        user_text(t, text);
    else
        assistant_text(t, text);
}

static void note_place(struct op_transcript *t, struct op_json line)
{
    int64_t ms;
    struct op_str at = op_json_str(op_json_get(line, "timestamp"));
    if (at.ptr && op_time_parse(at, &ms)) {
        t->first_ms = ms < t->first_ms ? ms : t->first_ms;
        t->last_ms = ms > t->last_ms ? ms : t->last_ms;
    }
    if (!t->cwd[0])
        op_clip(t->cwd, sizeof(t->cwd), op_json_str(op_json_get(line, "cwd")));
    struct op_str branch = op_json_str(op_json_get(line, "gitBranch"));
    if (branch.len)
        op_clip(t->branch, sizeof(t->branch), branch);
}

static void message(struct op_transcript *t, struct op_json line, struct op_str type)
{
    struct op_json m = op_json_get(line, "message");
    if (!op_json_is(m, OP_JSON_OBJECT))
        m = line;
    struct op_str role = op_json_str(op_json_get(m, "role"));
    bool user = op_str_is(role, "user") || (!role.ptr && op_str_is(type, "user"));
    if (!user && !op_str_is(role, "assistant") && !op_str_is(type, "assistant"))
        return;
    t->messages++;
    t->side += op_json_bool(op_json_get(line, "isSidechain"), false);
    bool meta = op_json_bool(op_json_get(line, "isMeta"), false);
    note_place(t, line);
    struct op_json content = op_json_get(m, "content");
    if (op_json_is(content, OP_JSON_STRING) && !meta) {
        if (user)
            user_text(t, op_json_str(content));
        else
            assistant_text(t, op_json_str(content));
        return;
    }
    struct op_json_iter it = op_json_iter(content);
    while (op_json_is(content, OP_JSON_ARRAY) && op_json_next(&it))
        if (op_json_is(it.value, OP_JSON_OBJECT))
            block(t, it.value, user, meta);
}

void op_transcript_line(struct op_transcript *t, struct op_str text, int64_t offset, bool half)
{
    struct op_json line;
    struct op_err ignored = OP_ERR_INIT;
    t->offset = offset;
    if (op_str_trim(text).len == 0)
        return;
    if (op_json_parse(t->parser, text.ptr, text.len, true, &line, &ignored)) {
        t->broken += !half;
        return;
    }
    if (!op_json_is(line, OP_JSON_OBJECT)) {
        t->broken++;
        return;
    }
    struct op_str type = op_json_str(op_json_get(line, "type"));
    if (op_str_is(type, "summary"))
        op_clip(t->title, sizeof(t->title), op_json_str(op_json_get(line, "summary")));
    else if (!type.ptr || op_str_is(type, "user") || op_str_is(type, "assistant"))
        message(t, line, type);
}

void op_transcript_skip(struct op_transcript *t)
{
    t->broken++;
}

const struct op_value *op_transcript_end(struct op_transcript *t)
{
    op_transcript_render(t);
    return t->cells;
}
