/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: lines in both formats, levels, masking, names of events.
 * Oracle:    literal lines after the time stamp; tables of texts
 *            with and without secrets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/log.h"
#include "base/mem.h"

static char last[70000];
static enum op_log_level last_level;
static int lines;

static void keep(void *arg, enum op_log_level level, const char *line)
{
    assert_ptr_equal(arg, last);
    assert_true(strlen(line) < sizeof(last));
    strncpy(last, line, sizeof(last) - 1);
    last_level = level;
    lines++;
}

static void text_lines(void **state)
{
    (void)state;
    op_log_setup(OP_LOG_INFO, OP_LOG_TEXT, keep, last);
    op_log(OP_EVENT_BATCH_SENT, OP_F("batch", 12), OP_T("id", "msgbatch_1"),
           OP_T("none", NULL));
    assert_string_equal(last + 24, " info  batch sent batch=12 id=msgbatch_1 none=\"\"");
    assert_int_equal(last_level, OP_LOG_INFO);
    op_log(OP_EVENT_LANE_PAUSED, OP_T("why", "a \"b\"\n\x1b[2J"), OP_S("part", OP_STR("x=y")));
    assert_string_equal(last + 24,
                        " warn  lane paused why=\"a \\\"b\\\"\\n\\u001b[2J\" part=\"x=y\"");
    op_log(OP_EVENT_NOTE, OP_T("c1", "a\xC2\x9B"
                                     "31m\x7F\xC3\xA9"));
    assert_string_equal(last + 24, " info  note c1=\"a??31m?\xC3\xA9\"");
}

static void levels(void **state)
{
    (void)state;
    op_log_setup(OP_LOG_WARN, OP_LOG_TEXT, keep, last);
    lines = 0;
    op_log(OP_EVENT_BATCH_SENT, OP_F("batch", 1));
    op_log(OP_EVENT_BATCH_POLLED, OP_F("batch", 1));
    assert_int_equal(lines, 0);
    op_log(OP_EVENT_DISK_LOW, OP_F("bytes", 1));
    assert_int_equal(lines, 1);
    op_log_setup(OP_LOG_DEBUG, OP_LOG_TEXT, keep, last);
    op_log(OP_EVENT_BATCH_POLLED, OP_F("batch", 1));
    assert_int_equal(lines, 2);
}

static void json_lines(void **state)
{
    (void)state;
    op_log_setup(OP_LOG_INFO, OP_LOG_JSON, keep, last);
    op_log(OP_EVENT_NET_RETRY, OP_F("attempt", -3), OP_T("why", "say \"no\"\n"));
    static const char start[] = "{\"time\":\"";
    assert_memory_equal(last, start, sizeof(start) - 1);
    assert_string_equal(last + sizeof(start) - 1 + 24,
                        "\",\"level\":\"warn\",\"event\":\"network problem, will try again\","
                        "\"attempt\":-3,\"why\":\"say \\\"no\\\"\\n\"}");
}

static void long_values_are_cut(void **state)
{
    (void)state;
    OP_CLEANUP(op_mem_freep) char *huge = op_mem_alloc(300001);
    for (size_t i = 0; i < 300000; i += 3)
        memcpy(huge + i, "\xE2\x82\xAC", 3);
    op_log_setup(OP_LOG_INFO, OP_LOG_JSON, keep, last);
    op_log(OP_EVENT_NOTE, OP_T("a", huge), OP_F("n", 1));
    size_t len = strlen(last);
    assert_true(len > 30000);
    assert_memory_equal(last + len - 8, "\",\"n\":1}", 8);
    assert_int_equal(op_utf8_valid_len(last, len), len);
    assert_null(strstr(last, "\xEF\xBF\xBD"));
}

static void masking(void **state)
{
    (void)state;
    op_log_secret(OP_STR("hunter2"));
    op_log_secret(OP_STR("hunter2"));
    op_log_secret(OP_STR("hunter2-longer"));
    op_log_secret(OP_STR("a\"quoted\\key"));
    op_log_secret(OP_STR("abc"));
    op_log_secret(OP_STR(""));
    static const char *const cases[][2] = {
        {"abc is too short", "abc is too short"},
        {"xhunter2x hunter2", "x*******x *******"},
        {"hunter2-longer", "**************"},
        {"key sk-ant-api03-AbC_12 end", "key ******************* end"},
        {"\"sk-12345678\"", "\"***********\""},
        {"task-12345678 disk-usage-percent", "task-12345678 disk-usage-percent"},
        {"sk-short", "sk-short"},
        {"?key=AIzaSyA1234567890abcdef&x=1", "?key=***********************&x=1"},
        {"AIza is a name", "AIza is a name"},
        {"Authorization: Bearer abc.def-1==\r\n", "Authorization: Bearer ***********\r\n"},
        {"authorization: bearer   xyz,", "authorization: bearer   ***,"},
        {"Bearer", "Bearer"},
        {"Bearer ", "Bearer "},
        {"", ""},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        OP_CLEANUP(op_mem_freep) char *text = op_mem_strdup(cases[i][0]);
        op_log_mask(text, strlen(text));
        assert_string_equal(text, cases[i][1]);
    }
    /* A secret whose spelling changes by escaping is masked all the same. */
    for (int format = OP_LOG_TEXT; format <= OP_LOG_JSON; format++) {
        op_log_setup(OP_LOG_INFO, (enum op_log_format)format, keep, last);
        op_log(OP_EVENT_NOTE, OP_T("a", "with a\"quoted\\key."), OP_T("b", "hunter2"));
        assert_null(strstr(last, "quoted"));
        assert_null(strstr(last, "hunter"));
        assert_non_null(strstr(last, "with ************."));
    }
}

static void events_have_names(void **state)
{
    (void)state;
    for (int a = 0; a < OP_EVENT_COUNT; a++) {
        assert_non_null(op_event_name((enum op_event)a));
        for (int b = 0; b < a; b++)
            assert_string_not_equal(op_event_name((enum op_event)a),
                                    op_event_name((enum op_event)b));
    }
    assert_string_equal(op_event_name(OP_EVENT_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines), cmocka_unit_test(levels),
        cmocka_unit_test(json_lines), cmocka_unit_test(long_values_are_cut),
        cmocka_unit_test(masking),    cmocka_unit_test(events_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
