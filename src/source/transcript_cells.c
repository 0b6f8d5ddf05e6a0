/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/hash.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "base/time.h"
#include "source/transcript_impl.h"

static void add_texts(struct op_buf *out, const struct notes *notes)
{
    struct op_json_out json;
    op_json_out_init(&json, out, 0);
    op_json_out_array(&json);
    for (size_t i = 0; i < notes->count; i++)
        op_json_out_text(&json, notes->items[i].text);
    op_json_out_end_array(&json);
}

static void add_edits(struct op_transcript *t, struct op_buf *out)
{
    struct op_json_out json;
    op_json_out_init(&json, out, 0);
    op_json_out_array(&json);
    for (size_t i = 0; i < t->edits.count; i++) {
        const struct note *edit = &t->edits.items[i];
        op_json_out_object(&json);
        op_json_out_kv_text(&json, "file", edit->text);
        op_json_out_kv_text(&json, "pattern", edit->form);
        op_json_out_kv_int(&json, "times", edit->times);
        op_json_out_kv_text(&json, "why", edit->why);
        op_json_out_end_object(&json);
    }
    op_json_out_end_array(&json);
}

static void add_errors(struct op_transcript *t, struct op_buf *out)
{
    struct op_json_out json;
    op_json_out_init(&json, out, 0);
    op_json_out_array(&json);
    for (size_t i = 0; i < t->errors.count; i++) {
        const struct note *error = &t->errors.items[i];
        op_json_out_object(&json);
        op_json_out_kv_text(&json, "error", error->text);
        op_json_out_kv_str(&json, "fix", error->open ? OP_STR_NULL : op_str_from(error->why));
        op_json_out_end_object(&json);
    }
    op_json_out_end_array(&json);
}

static void add_validation(struct op_transcript *t, struct op_buf *out)
{
    struct op_json_out json;
    op_json_out_init(&json, out, 0);
    op_json_out_array(&json);
    for (size_t i = 0; i < t->checks.count; i++) {
        const struct note *check = &t->checks.items[i];
        op_json_out_object(&json);
        op_json_out_kv_text(&json, "command", check->text);
        op_json_out_kv_text(&json, "outcome", check->form);
        op_json_out_kv_text(&json, "text", check->why);
        op_json_out_end_object(&json);
    }
    op_json_out_end_array(&json);
}

static const char *const kinds[] = {"request", "edit",   "command", "read",
                                    "error",   "passed", "solution"};

static void add_events(struct op_transcript *t, struct op_buf *out)
{
    struct op_json_out json;
    op_json_out_init(&json, out, 0);
    op_json_out_array(&json);
    for (size_t i = 0; i < t->event_count; i++) {
        const struct note *event = &t->events[i];
        op_json_out_object(&json);
        op_json_out_kv_int(&json, "at", event->at);
        op_json_out_kv_text(&json, "kind", kinds[event->kind]);
        op_json_out_kv_text(&json, "text", event->text);
        op_json_out_kv_text(&json, "why", event->why);
        op_json_out_end_object(&json);
    }
    op_json_out_end_array(&json);
}

static void add_tools(struct op_transcript *t, struct op_buf *out)
{
    struct op_json_out json;
    op_json_out_init(&json, out, 0);
    op_json_out_array(&json);
    for (size_t i = 0; i < t->tool_count; i++) {
        op_json_out_object(&json);
        op_json_out_kv_text(&json, "name", t->tools[i].name);
        op_json_out_kv_int(&json, "count", t->tools[i].count);
        op_json_out_end_object(&json);
    }
    op_json_out_end_array(&json);
}

static void add_paths(struct op_json_out *json, const char *name, const struct paths *paths)
{
    op_json_out_name(json, name);
    op_json_out_array(json);
    for (size_t i = 0; i < paths->count; i++)
        op_json_out_text(json, paths->items[i]);
    op_json_out_end_array(json);
}

static void add_files(struct op_transcript *t, struct op_buf *out)
{
    struct op_json_out json;
    op_json_out_init(&json, out, 0);
    op_json_out_object(&json);
    add_paths(&json, "read", &t->read);
    add_paths(&json, "edited", &t->edited);
    add_paths(&json, "created", &t->created);
    op_json_out_end_object(&json);
}

/* --- the two texts of old (systems.md 3.5) --- */

static void add_heading(struct op_buf *out, const char *title)
{
    op_buf_addf(out, "%s## %s\n", out->len && out->ptr[out->len - 1] == '\n' ? "\n" : "",
                title);
}

static void add_item(struct op_buf *out, const char *text, size_t room, const char *more)
{
    char clipped[TEXT_MAX];
    op_clip(clipped, room < sizeof(clipped) ? room : sizeof(clipped), op_str_from(text));
    op_buf_addf(out, "- %s%s%s\n", clipped, more[0] ? ": " : "", more);
}

static void add_search_index(struct op_transcript *t, struct op_buf *out)
{
    size_t first = t->errors.count;
    int open = 0;
    add_heading(out, "User Request");
    for (size_t i = 0; i < t->requests.count && i < 2; i++)
        add_item(out, t->requests.items[i].text, 204, "");
    add_heading(out, "Solution Pattern");
    for (size_t i = 0; i < t->edits.count && i < 3; i++) {
        OP_CLEANUP(op_mem_freep)
        char *line = op_mem_printf("%s %s", t->edits.items[i].form, t->edits.items[i].text);
        add_item(out, line, 204, t->edits.items[i].why);
    }
    add_heading(out, "Active Issues");
    while (first > 0 && open < 2)
        open += t->errors.items[--first].open;
    for (; first < t->errors.count; first++)
        if (t->errors.items[first].open)
            add_item(out, t->errors.items[first].text, 104, "");
}

static void add_context_cache(struct op_transcript *t, struct op_buf *out)
{
    int count = 0;
    add_heading(out, "Implementation Details");
    for (size_t i = 0; i < t->event_count && count < 5; i++) {
        const struct note *event = &t->events[i];
        if (event->kind != NOTE_EDIT && event->kind != NOTE_COMMAND)
            continue;
        add_item(out, event->text, 204, event->why);
        count++;
    }
    add_heading(out, "Error Recovery");
    count = 0;
    for (size_t i = 0; i < t->errors.count && count < 3; i++) {
        if (t->errors.items[i].open)
            continue;
        add_item(out, t->errors.items[i].text, 204, t->errors.items[i].why);
        count++;
    }
    add_heading(out, "Validation");
    for (size_t i = 0; i < t->checks.count; i++) {
        OP_CLEANUP(op_mem_freep)
        char *line = op_mem_printf("%s %s", t->checks.items[i].text, t->checks.items[i].form);
        add_item(out, line, 204, t->checks.items[i].why);
    }
}

/* --- signature and statistics --- */

static int64_t open_errors(const struct op_transcript *t)
{
    int64_t open = 0;
    for (size_t i = 0; i < t->errors.count; i++)
        open += t->errors.items[i].open;
    return open;
}

/* The last check has the last word, then the assistant's, unless an error has stayed. */
static const char *completion(const struct op_transcript *t)
{
    const struct note *check = t->checks.count ? &t->checks.items[t->checks.count - 1] : NULL;
    if (check && strcmp(check->form, "failed") == 0)
        return "failed";
    if (check || (t->ends_solved && !open_errors(t)))
        return "success";
    return "partial";
}

static void add_signature(struct op_transcript *t, struct op_buf *out)
{
    struct op_json_out json;
    const char *status = completion(t);
    bool success = strcmp(status, "success") == 0;
    op_json_out_init(&json, out, 0);
    op_json_out_object(&json);
    op_json_out_kv_text(&json, "completion_status", status);
    op_json_out_name(&json, "frameworks");
    op_json_out_raw(&json, OP_STR(""));
    op_add_frameworks(t, out);
    op_json_out_kv_text(&json, "pattern_reusability",
                        t->edits.total == 0 ? "low"
                        : success           ? "high"
                                            : "medium");
    op_json_out_kv_bool(&json, "error_recovery", t->fixed > 0);
    op_json_out_kv_int(&json, "total_edits", t->edits.total);
    op_json_out_kv_int(&json, "iteration_count", t->requests.total);
    op_json_out_name(&json, "tools_used");
    op_json_out_array(&json);
    for (size_t i = 0; i < t->tool_count; i++)
        op_json_out_text(&json, t->tools[i].name);
    op_json_out_end_array(&json);
    op_json_out_name(&json, "files_modified");
    op_json_out_array(&json);
    for (size_t i = 0; i < t->edited.count; i++)
        op_json_out_text(&json, t->edited.items[i]);
    for (size_t i = 0; i < t->created.count; i++)
        op_json_out_text(&json, t->created.items[i]);
    op_json_out_end_array(&json);
    op_json_out_name(&json, "concepts");
    op_json_out_raw(&json, OP_STR(""));
    op_add_concepts(t, out);
    op_json_out_kv_bool(&json, "analysis_only", t->edits.total == 0);
    op_json_out_end_object(&json);
}

static size_t length_of(const struct op_transcript *t, enum op_transcript_cell cell)
{
    return t->begins[cell + 1] - t->begins[cell];
}

static void add_statistics(struct op_transcript *t, struct op_buf *out)
{
    /* Four bytes a token, as the tools before counted them. */
    int64_t index = (int64_t)length_of(t, OP_TRANSCRIPT_SEARCH_INDEX) / 4;
    int64_t context = (int64_t)length_of(t, OP_TRANSCRIPT_CONTEXT_CACHE) / 4;
    struct op_json_out json;
    op_json_out_init(&json, out, 0);
    op_json_out_object(&json);
    op_json_out_kv_int(&json, "original_messages", t->messages);
    op_json_out_kv_int(&json, "search_index_tokens", index);
    op_json_out_kv_int(&json, "context_cache_tokens", context);
    op_json_out_kv_int(&json, "total_tokens", index + context);
    op_json_out_kv_int(&json, "patterns_found", t->event_total);
    op_json_out_kv_int(&json, "errors_found", t->errors.total);
    op_json_out_end_object(&json);
}

/* Of all that a prompt can be made of: two sessions that are told alike have one hash. */
static void add_hash(struct op_buf *out)
{
    char hex[OP_SHA256_HEX];
    op_sha256_hex(out->ptr, out->len, hex);
    op_buf_addz(out, hex);
}

static void add_time(struct op_buf *out, int64_t ms)
{
    char text[OP_TIME_TEXT];
    op_time_format(ms, text);
    op_buf_addz(out, text);
}

static void add_cell(struct op_transcript *t, enum op_transcript_cell cell)
{
    struct op_buf *out = &t->out;
    switch (cell) {
    case OP_TRANSCRIPT_CWD:
        op_buf_addz(out, t->cwd);
        return;
    case OP_TRANSCRIPT_BRANCH:
        op_buf_addz(out, t->branch);
        return;
    case OP_TRANSCRIPT_TITLE:
        op_buf_addz(out, t->title);
        return;
    case OP_TRANSCRIPT_STARTED:
    case OP_TRANSCRIPT_ENDED:
        if (t->first_ms <= t->last_ms)
            add_time(out, cell == OP_TRANSCRIPT_STARTED ? t->first_ms : t->last_ms);
        return;
    case OP_TRANSCRIPT_MESSAGES:
    case OP_TRANSCRIPT_BROKEN:
    case OP_TRANSCRIPT_SIDECHAIN:
        return; /* numbers */
    case OP_TRANSCRIPT_REQUESTS:
        add_texts(out, &t->requests);
        return;
    case OP_TRANSCRIPT_EDITS:
        add_edits(t, out);
        return;
    case OP_TRANSCRIPT_ERRORS:
        add_errors(t, out);
        return;
    case OP_TRANSCRIPT_VALIDATION:
        add_validation(t, out);
        return;
    case OP_TRANSCRIPT_EVENTS:
        add_events(t, out);
        return;
    case OP_TRANSCRIPT_TOOLS:
        add_tools(t, out);
        return;
    case OP_TRANSCRIPT_FILES:
        add_files(t, out);
        return;
    case OP_TRANSCRIPT_COMMANDS:
        add_texts(out, &t->commands);
        return;
    case OP_TRANSCRIPT_SEARCHES:
        add_texts(out, &t->searches);
        return;
    case OP_TRANSCRIPT_CONCEPTS:
        op_add_concepts(t, out);
        return;
    case OP_TRANSCRIPT_SEARCH_INDEX:
        add_search_index(t, out);
        return;
    case OP_TRANSCRIPT_CONTEXT_CACHE:
        add_context_cache(t, out);
        return;
    case OP_TRANSCRIPT_SIGNATURE:
        add_signature(t, out);
        return;
    case OP_TRANSCRIPT_STATISTICS:
        add_statistics(t, out);
        return;
    case OP_TRANSCRIPT_HASH:
        add_hash(out);
        return;
    case OP_TRANSCRIPT_CELLS:
        return;
    }
}

void op_transcript_render(struct op_transcript *t)
{
    op_buf_clear(&t->out);
    for (int i = 0; i < OP_TRANSCRIPT_CELLS; i++) {
        t->begins[i] = t->out.len;
        add_cell(t, (enum op_transcript_cell)i);
        t->begins[i + 1] = t->out.len;
    }
    for (int i = 0; i < OP_TRANSCRIPT_CELLS; i++)
        t->cells[i] = op_value_text((struct op_str){t->out.ptr + t->begins[i],
                                                    length_of(t, (enum op_transcript_cell)i)});
    t->cells[OP_TRANSCRIPT_MESSAGES] = op_value_int(t->messages);
    t->cells[OP_TRANSCRIPT_BROKEN] = op_value_int(t->broken);
    t->cells[OP_TRANSCRIPT_SIDECHAIN] = op_value_int(t->messages > 0 && t->side == t->messages);
    if (t->first_ms > t->last_ms) {
        t->cells[OP_TRANSCRIPT_STARTED] = op_value_null();
        t->cells[OP_TRANSCRIPT_ENDED] = op_value_null();
    }
}
