/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: fault rules and scripted answers: reading their files, when they fire, what a batch
 *            remembers.
 * Oracle:    the events at which a rule fires, listed by hand; the message and line of each error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "emulator/faults.h"
#include "emulator/script.h"

static char path[] = "/tmp/offpeak-faults-XXXXXX";

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static struct op_emu_faults *load(const char *text)
{
    struct op_emu_faults *faults = NULL;
    struct op_err err = OP_ERR_INIT;
    write_file(text);
    enum op_rc rc = op_emu_faults_open(op_env_default(), path, 7, &faults, &err);
    if (rc)
        fail_msg("%s", err.msg);
    return faults;
}

static bool event(struct op_emu_faults *faults, enum op_emu_operation on, bool line,
                  const char *subject, enum op_emu_action action)
{
    struct op_emu_fired fired;
    const struct op_str subjects[2] = {op_str_from(subject), OP_STR_NULL};
    op_emu_faults_event(faults, on, line, subjects, &fired);
    return op_emu_fired_rule(&fired, action) != NULL;
}

static void test_when(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        const char *fires; /* at events 1 to 8 */
    } rows[] = {
        {"{\"on\":\"get\",\"do\":\"hang\"}", "11111111"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"nth\":3}", "00100000"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"every\":3}", "00100100"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"from\":5}", "00001111"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"from\":5,\"times\":2}", "00001100"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"times\":1}", "10000000"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"times\":0}", "00000000"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"probability\":0}", "00000000"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"probability\":1}", "11111111"},
        {"{\"on\":\"any\",\"do\":\"hang\",\"nth\":2}", "01000000"},
        {"{\"on\":[\"list\",\"get\"],\"do\":\"hang\",\"nth\":2}", "01000000"},
        {"{\"on\":\"list\",\"do\":\"hang\"}", "00000000"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"match\":\"batch-9\"}", "00000000"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"match\":\"batch-1\",\"nth\":2}", "01000000"},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct op_emu_faults *faults = load(rows[i].rule);
        for (int k = 0; k < 8; k++)
            assert_int_equal(event(faults, OP_EMU_ON_GET, false, "msg-batch-1", OP_EMU_HANG),
                             rows[i].fires[k] == '1');
        op_emu_faults_close(faults);
    }
}

static void test_probability(void **state)
{
    (void)state;
    struct op_emu_faults *a =
        load("{\"on\":\"get\",\"do\":\"hang\",\"probability\":0.25,\"seed\":5}");
    struct op_emu_faults *b = load(
        "# the same\n\n{\"on\":\"get\",\"do\":\"hang\",\"probability\":0.25,\"seed\":5}\n");
    int fired = 0;
    for (int i = 0; i < 4000; i++) {
        bool hit = event(a, OP_EMU_ON_GET, false, "x", OP_EMU_HANG);
        assert_int_equal(hit, event(b, OP_EMU_ON_GET, false, "x", OP_EMU_HANG));
        fired += hit;
    }
    assert_in_range(fired, 850, 1150);
    op_emu_faults_close(a);
    op_emu_faults_close(b);
}

/* Lines being processed and downloads are both "results", and do not disturb each other. */
static void test_lines(void **state)
{
    (void)state;
    struct op_emu_faults *faults = load("{\"do\":\"drop_line\",\"nth\":2}\n"
                                        "{\"on\":\"results\",\"do\":\"cut_body\",\"nth\":1}\n"
                                        "{\"on\":\"messages\",\"do\":\"refusal\"}\n");
    assert_false(event(faults, OP_EMU_ON_RESULTS, true, "a", OP_EMU_DROP_LINE));
    assert_true(event(faults, OP_EMU_ON_RESULTS, false, "a", OP_EMU_CUT_BODY));
    assert_true(event(faults, OP_EMU_ON_RESULTS, true, "b", OP_EMU_DROP_LINE));
    assert_false(event(faults, OP_EMU_ON_RESULTS, true, "c", OP_EMU_REFUSAL));
    assert_true(event(faults, OP_EMU_ON_MESSAGES, false, "c", OP_EMU_REFUSAL));
    op_emu_faults_close(faults);
}

static void test_quirks(void **state)
{
    (void)state;
    struct op_emu_faults *faults = load("{\"do\":\"slow\",\"ms\":500}\n{\"do\":\"list_lag\"}\n"
                                        "{\"do\":\"cancel_race\",\"percent\":0}\n"
                                        "{\"do\":\"created_skew\",\"ms\":-60000}\n"
                                        "{\"on\":\"create\",\"do\":\"z_timestamps\"}\n"
                                        "{\"on\":\"create\",\"do\":\"hang\"}\n");
    struct op_emu_fired fired;
    struct op_emu_quirks quirks = {0};
    const struct op_str subjects[2] = {OP_STR_NULL, OP_STR_NULL};
    op_emu_faults_event(faults, OP_EMU_ON_CREATE, false, subjects, &fired);
    op_emu_quirks_add(&quirks, &fired);
    assert_int_equal(quirks.value[OP_EMU_SLOW], 500);
    assert_int_equal(quirks.value[OP_EMU_LIST_LAG], 60000);
    assert_int_equal(quirks.value[OP_EMU_CREATED_SKEW], -60000);
    assert_true(op_emu_quirk(&quirks, OP_EMU_CANCEL_RACE));
    assert_int_equal(quirks.value[OP_EMU_CANCEL_RACE], 0);
    assert_true(op_emu_quirk(&quirks, OP_EMU_Z_TIMESTAMPS));
    assert_false(op_emu_quirk(&quirks, OP_EMU_HANG));
    enum op_emu_action action;
    assert_true(op_emu_quirk_named(OP_STR("slow"), &action));
    assert_int_equal(action, OP_EMU_SLOW);
    assert_false(op_emu_quirk_named(OP_STR("hang"), &action));
    op_emu_faults_close(faults);
}

static void test_bad_rules(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says;
    } rows[] = {
        {"{}", ":1: \"do\" is missing"},
        {"# c\n{\"on\":\"get\",\"do\":\"hnag\"}",
         ":2: unknown fault \"hnag\" (did you mean \"hang\"?)"},
        {"{\"do\":\"hang\"}", "\"on\" is missing"},
        {"{\"on\":\"gte\",\"do\":\"hang\"}", "it is \"gte\""},
        {"{\"on\":[],\"do\":\"hang\"}", "cannot happen"},
        {"{\"on\":\"get\",\"do\":\"slow\"}", "\"slow\" cannot happen on that operation"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"ms\":\"5\"}", "\"ms\" must be an integer"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"ms\":-5}", "must not be negative"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"nth\":0}", "count from 1"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"probability\":2}", "between 0 and 1"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"status\":99}", "\"status\" must be"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"colour\":1}", "unknown member \"colour\""},
        {"{\"on\":\"get\",\"do\":\"hang\",\"match\":1}", "\"match\" must be text"},
        {"{\"on\":\"get\",\"do\":\"hang\",\"headers\":{\"a\":1}}", "\"headers\""},
        {"{\"on\":\"results\",\"do\":\"invalid_answer\",\"how\":\"odd\"}", "\"how\""},
        {"{\"on\":\"create\",\"do\":\"queue_limit\"}", "queue_limit needs \"lines\""},
        {"{\"on\":\"create\",\"do\":\"expire\",\"percent\":101}", "\"percent\""},
        {"{\"do\":\"token_limit\"}", "token_limit needs \"tokens\""},
        {"{\"on\":\"messages\",\"do\":\"no_batch\"}", "cannot happen on that operation"},
        {"{\"on\":\"start\",\"do\":\"error_with_200\"}", "cannot happen on that operation"},
        {"{\"do\":\"rate_limit\",\"seconds\":3}", "\"on\" is missing"},
        {"[]", "a fault rule is a JSON object"},
        {"{\"on\":", ":1: "},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct op_emu_faults *faults = NULL;
        struct op_err err = OP_ERR_INIT;
        write_file(rows[i].text);
        assert_int_equal(op_emu_faults_open(op_env_default(), path, 0, &faults, &err),
                         OP_INVAL);
        if (!strstr(err.msg, rows[i].says) || !strstr(err.msg, path))
            fail_msg("'%s' does not say '%s'", err.msg, rows[i].says);
    }
}

static const struct op_emu_scripted *find(struct op_emu_script *script, const char *id,
                                          const char *prompt)
{
    const struct op_str subjects[2] = {op_str_from(id), op_str_from(prompt)};
    return op_emu_script_find(script, subjects, 2);
}

/* A provider without batches has the rest. */
static void test_no_batch(void **state)
{
    (void)state;
    struct op_emu_faults *faults = NULL;
    struct op_err err = OP_ERR_INIT;
    write_file("{\"do\":\"no_batch\"}\n");
    assert_int_equal(op_emu_faults_open(op_env_default(), path, 0, &faults, &err), OP_OK);
    for (int on = 0; on < OP_EMU_ON_COUNT_; on++) {
        const struct op_str subjects[2] = {OP_STR_NULL, OP_STR_NULL};
        struct op_emu_fired fired;
        bool has = on == OP_EMU_ON_MESSAGES || on == OP_EMU_ON_COUNT || on == OP_EMU_ON_MODELS;
        op_emu_faults_event(faults, (enum op_emu_operation)on, false, subjects, &fired);
        assert_int_equal(fired.count, has ? 0 : 1);
    }
    op_emu_faults_close(faults);
}

static void test_script(void **state)
{
    (void)state;
    struct op_emu_script *script = NULL;
    struct op_err err = OP_ERR_INIT;
    write_file("# answers\n{\"match\":\"r-1\",\"text\":\"one\",\"times\":1}\n"
               "{\"match\":\"tea\",\"json\":{\"a\":[1]}}\n"
               "{\"match\":\"bad\",\"error\":{\"type\":\"api_error\",\"message\":\"m\"}}\n"
               "{\"match\":\"r-\",\"stop_reason\":\"refusal\"}\n");
    assert_int_equal(op_emu_script_open(op_env_default(), path, &script, &err), OP_OK);
    assert_string_equal(find(script, "r-1", "x")->text, "one");
    assert_string_equal(find(script, "r-1", "x")->stop_reason, "refusal");
    assert_string_equal(find(script, "s", "a cup of tea")->text, "{\"a\":[1]}");
    assert_string_equal(find(script, NULL, "bad")->error_type, "api_error");
    assert_null(find(script, "s", "x"));
    op_emu_script_close(script);
    static const char *const bad[] = {"{}", "[]", "{\"text\":\"a\",\"x\":1}",
                                      "{\"error\":{\"type\":\"t\"}}", "{\"text\":"};
    for (size_t i = 0; i < OP_COUNT(bad); i++) {
        op_err_clear(&err);
        write_file(bad[i]);
        assert_int_equal(op_emu_script_open(op_env_default(), path, &script, &err), OP_INVAL);
        assert_non_null(strstr(err.msg, ":1: "));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_when),      cmocka_unit_test(test_probability),
        cmocka_unit_test(test_lines),     cmocka_unit_test(test_quirks),
        cmocka_unit_test(test_bad_rules), cmocka_unit_test(test_script),
        cmocka_unit_test(test_no_batch),
    };
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
