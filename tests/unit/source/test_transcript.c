/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: what a session's lines are boiled down to: requests without noise, edits with pattern
 *            and reason, errors with their fix, checks, the best events, all within bounds.
 * Oracle:    a table of lines (written with ' for ") and what one cell must be, worked out by hand
 *            from docs/reference/inputs.md; bounds: the size of the row of 20,000 messages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/buf.h"
#include "base/mem.h"
#include "source/transcript.h"

#define USER(text) "{'type':'user','message':{'role':'user','content':'" text "'}}"
#define SAYS(text)                                                                              \
    "{'type':'assistant','message':{'role':'assistant','content':[{'type':'text','text':'" text \
    "'}]}}"
#define CALL(name, id, input)                                                                  \
    "{'type':'assistant','message':{'content':[{'type':'tool_use','id':'" id "','name':'" name \
    "','input':{" input "}}]}}"
#define RESULT(id, text, error)                                                     \
    "{'type':'user','message':{'content':[{'type':'tool_result','tool_use_id':'" id \
    "','content':'" text "','is_error':" error "}]}}"
#define EDIT(old, new) \
    CALL("Edit", "e", "'file_path':'a.c','old_string':'" old "','new_string':'" new "'")

struct check {
    const char *label;
    enum op_transcript_cell cell;
    const char *want;
    const char *lines[12];
};

static const struct check checks[] = {
    {"requests, not what the program says",
     OP_TRANSCRIPT_REQUESTS,
     "['one','two lines','three']",
     {USER("one"), USER("Caveat: x"), USER("<command-name>/clear</command-name>"),
      "{'type':'user','isMeta':true,'message':{'role':'user','content':'meta'}}",
      USER("two\\n\\t lines"),
      "{'type':'user','message':{'role':'user','content':[{'type':'text','text':'three'},'odd',7,{'type':'image'}]}}"}},
    {"a line that is the message",
     OP_TRANSCRIPT_REQUESTS,
     "['bare']",
     {"{'role':'user','content':'bare'}"}},
    {"any JSON is lived with",
     OP_TRANSCRIPT_REQUESTS,
     "[]",
     {"'text'", "42", "[1]", "{'silly':'this'}", "{'type':'user','message':'error'}",
      "{'type':'user','message':{'role':'user','content':{'a':1}}}",
      "{'type':'system','content':'x'}"}},
    {"an edit and its reason",
     OP_TRANSCRIPT_EDITS,
     "[{'file':'a.c','pattern':'modification','times':2,'why':'make it so'}]",
     {USER("make it so"), EDIT("abc", "abd"), EDIT("abc", "abd")}},
    {"patterns",
     OP_TRANSCRIPT_EDITS,
     "[{'file':'a.c','pattern':'expansion','times':1,'why':''},"
     "{'file':'a.c','pattern':'removal','times':1,'why':''},"
     "{'file':'b.c','pattern':'creation','times':1,'why':''},"
     "{'file':'c.c','pattern':'refactor','times':1,'why':''}]",
     {EDIT("ab", "abcde"), EDIT("abcde", "ab"),
      CALL("Write", "w", "'file_path':'b.c','content':''"),
      CALL("MultiEdit", "m",
           "'file_path':'c.c','edits':[{'old_string':'a','new_string':'bc'}]")}},
    {"many edits at once",
     OP_TRANSCRIPT_EDITS,
     "[{'file':'c.c','pattern':'cascade_updates','times':1,'why':''}]",
     {CALL("MultiEdit", "m", "'file_path':'c.c','edits':[{},{},{},{},{},{}]")}},
    {"an error and its fix",
     OP_TRANSCRIPT_ERRORS,
     "[{'error':'x.c:1: error: no','fix':'Edit a.c (modification)'}]",
     {CALL("Bash", "b", "'command':'make'"),
      RESULT("b", "cc x.c\\nx.c:1: error: no\\n", "false"), EDIT("abc", "abd")}},
    {"an error without",
     OP_TRANSCRIPT_ERRORS,
     "[{'error':'Traceback','fix':null}]",
     {CALL("Bash", "b", "'command':'python x'"), RESULT("b", "Traceback", "true"), SAYS("hm")}},
    {"a fix in words",
     OP_TRANSCRIPT_ERRORS,
     "[{'error':'fatal','fix':'The root cause was a typo.'}]",
     {CALL("Bash", "b", "'command':'x'"), RESULT("b", "fatal", "true"),
      SAYS("The root cause was a typo.")}},
    {"a file that speaks of errors is none",
     OP_TRANSCRIPT_ERRORS,
     "[]",
     {CALL("Read", "r", "'file_path':'a.c'"), RESULT("r", "return error;", "false"),
      CALL("Bash", "b", "'command':'make'"), RESULT("b", "0 errors", "false")}},
    {"checks",
     OP_TRANSCRIPT_VALIDATION,
     "[{'command':'pytest','outcome':'failed','text':'1 failed'},"
     "{'command':'pytest','outcome':'passed','text':'2 passed'}]",
     {CALL("Bash", "b", "'command':'pytest'"), RESULT("b", "1 failed", "true"),
      CALL("Bash", "c", "'command':'pytest'"), RESULT("c", "..\\n2 passed\\n", "false")}},
    {"tools and files",
     OP_TRANSCRIPT_FILES,
     "{'read':['r.c'],'edited':['a.c'],'created':['w.c']}",
     {CALL("Read", "r", "'file_path':'r.c'"), CALL("Read", "r", "'file_path':'r.c'"),
      EDIT("a", "b"), CALL("Write", "w", "'file_path':'w.c'")}},
    {"tools are counted",
     OP_TRANSCRIPT_TOOLS,
     "[{'name':'Read','count':2},{'name':'Grep','count':1}]",
     {CALL("Read", "r", ""), CALL("Read", "r", ""), CALL("Grep", "g", "'pattern':'x'")}},
    {"searches",
     OP_TRANSCRIPT_SEARCHES,
     "['x','*.c','y']",
     {CALL("Grep", "g", "'pattern':'x'"), CALL("Glob", "g", "'pattern':'*.c'"),
      CALL("WebSearch", "g", "'query':'y'")}},
    {"concepts",
     OP_TRANSCRIPT_CONCEPTS,
     "['docker','git']",
     {USER("the Docker image and Git")}},
    {"no concept", OP_TRANSCRIPT_CONCEPTS, "['development']", {USER("hello")}},
    {"times",
     OP_TRANSCRIPT_STARTED,
     "2026-01-01T00:00:01.000Z",
     {"{'type':'user','timestamp':'2026-01-01T00:00:02Z','message':{}}",
      "{'type':'user','timestamp':'2026-01-01T01:00:01+01:00','message':{}}",
      "{'type':'user','timestamp':'soon','message':{}}"}},
    {"the title",
     OP_TRANSCRIPT_TITLE,
     "Told",
     {"{'type':'summary','summary':'Told'}", USER("x")}},
    {"a terminal's colours and lone surrogates",
     OP_TRANSCRIPT_REQUESTS,
     "['red \xEF\xBF\xBD.']",
     {USER("\\u001b[31mred\\u001b[0m \\ud800.")}},
    {"the index of old",
     OP_TRANSCRIPT_SEARCH_INDEX,
     "## User Request\n- fix it\n\n## Solution Pattern\n- modification a.c: fix it\n\n## Active Issues\n- bad error\n",
     {USER("fix it"), EDIT("abc", "abd"), CALL("Bash", "b", "'command':'x'"),
      RESULT("b", "bad error", "true")}},
};

/* ' becomes ", and what a reader may read behind a line is there. */
static void feed(struct op_transcript *t, const char *text, int64_t offset, bool half)
{
    struct op_buf line;
    op_buf_init(&line, 1 << 24);
    for (; *text; text++)
        op_buf_addc(&line, *text == '\'' ? '"' : *text);
    op_transcript_line(t, op_buf_str(&line), offset, half);
    op_buf_release(&line);
}

static void test_cells(void **state)
{
    (void)state;
    struct op_transcript *t = op_transcript_new();
    int wrong = 0;
    for (size_t i = 0; i < OP_COUNT(checks); i++) {
        const struct check *c = &checks[i];
        op_transcript_begin(t, 1000);
        for (size_t n = 0; n < OP_COUNT(c->lines) && c->lines[n]; n++)
            feed(t, c->lines[n], 500, false);
        struct op_str got = op_transcript_end(t)[c->cell].s;
        char *want = op_mem_strdup(c->want);
        for (char *p = want; *p && (want[0] == '[' || want[0] == '{'); p++)
            if (*p == '\'')
                *p = '"';
        if (!op_str_is(got, want)) {
            print_error("%s:\n  got  %.*s\n  want %s\n", c->label, OP_STR_ARG(got), want);
            wrong++;
        }
        op_mem_free(want);
    }
    op_transcript_free(t);
    assert_int_equal(wrong, 0);
}

static void test_broken_lines(void **state)
{
    (void)state;
    struct op_transcript *t = op_transcript_new();
    op_transcript_begin(t, 100);
    feed(t, "{'type':'user','mess", 0, false); /* broken */
    feed(t, "[]", 10, false);                  /* no object */
    op_transcript_skip(t);                     /* too long */
    feed(t, "", 20, false);
    feed(t, USER("x"), 30, false);
    feed(t, "{'type':'us", 90, true); /* half written: not there yet */
    const struct op_value *cells = op_transcript_end(t);
    assert_int_equal(cells[OP_TRANSCRIPT_BROKEN].i, 3);
    assert_int_equal(cells[OP_TRANSCRIPT_MESSAGES].i, 1);
    op_transcript_free(t);
}

/* The same lines give the same hash, one line more of a message another; noise does not count. */
static void test_hash(void **state)
{
    (void)state;
    struct op_transcript *t = op_transcript_new();
    char hashes[4][80];
    static const char *const last[] = {NULL, NULL, "{'type':'file-history-snapshot'}",
                                       USER("more")};
    for (size_t i = 0; i < OP_COUNT(last); i++) {
        op_transcript_begin(t, 1000);
        feed(t, USER("one"), 500, false);
        if (last[i])
            feed(t, last[i], 600, false);
        struct op_str hash = op_transcript_end(t)[OP_TRANSCRIPT_HASH].s;
        assert_int_equal(hash.len, 64);
        memcpy(hashes[i], hash.ptr, 64);
        hashes[i][64] = '\0';
    }
    assert_string_equal(hashes[0], hashes[1]);
    assert_string_equal(hashes[0], hashes[2]);
    assert_string_not_equal(hashes[0], hashes[3]);
    op_transcript_free(t);
}

/* The best events are kept, and those of the beginning and the end before others of their kind. */
static void test_best_events(void **state)
{
    (void)state;
    struct op_transcript *t = op_transcript_new();
    op_transcript_begin(t, 1000);
    for (int i = 0; i < 100; i++)
        feed(t, CALL("Bash", "b", "'command':'ls'"), i * 10, false);
    feed(t, CALL("Bash", "b", "'command':'the end'"), 995, false);
    feed(t, EDIT("a", "b"), 500, false);
    const struct op_value *cells = op_transcript_end(t);
    struct op_str events = cells[OP_TRANSCRIPT_EVENTS].s;
    size_t count = 0, first = 0;
    for (const char *at = events.ptr;
         (at = strstr(at, "\"at\":")) && at < events.ptr + events.len; at++) {
        if (count++ == 0)
            first = strtoul(at + 5, NULL, 10);
    }
    assert_int_equal(count, 20);
    assert_int_equal(first, 1); /* of the first tenth */
    assert_non_null(memmem(events.ptr, events.len, "the end", 7));
    assert_non_null(memmem(events.ptr, events.len, "Edit a.c", 8));
    op_transcript_free(t);
}

static void test_bounds(void **state)
{
    (void)state;
    struct op_transcript *t = op_transcript_new();
    op_transcript_begin(t, 1 << 30);
    for (int i = 0; i < 20000; i++) {
        char line[1200], fill[500];
        memset(fill, 'a' + i % 26, sizeof(fill) - 1);
        fill[sizeof(fill) - 1] = '\0';
        switch (i % 4) {
        case 0:
            snprintf(line, sizeof(line), USER("%d %s"), i, fill);
            break;
        case 1:
            snprintf(line, sizeof(line), CALL("Write", "%d", "'file_path':'%d%s'"), i, i, fill);
            break;
        case 2:
            snprintf(line, sizeof(line), CALL("Bash", "%d", "'command':'make %d%s'"), i, i,
                     fill);
            break;
        default:
            snprintf(line, sizeof(line), RESULT("%d", "error %d%s", "true"), i - 1, i, fill);
        }
        feed(t, line, (int64_t)i << 15, false);
    }
    const struct op_value *cells = op_transcript_end(t);
    size_t bytes = 0;
    for (int i = 0; i < OP_TRANSCRIPT_CELLS; i++)
        bytes += cells[i].type == OP_VALUE_TEXT ? cells[i].s.len : 0;
    assert_int_equal(cells[OP_TRANSCRIPT_MESSAGES].i, 20000);
    assert_in_range(bytes, 10000, 64 * 1024);
    op_transcript_free(t);
    assert_int_equal(op_mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells),  cmocka_unit_test(test_broken_lines),
        cmocka_unit_test(test_hash),   cmocka_unit_test(test_best_events),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
