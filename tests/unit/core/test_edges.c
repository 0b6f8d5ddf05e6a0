/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the far ends of core: values that the rest of the program does not make today, and what
 *            the public suites of JSON Schema leave out.
 * Oracle:    for formats and references the RFCs that JSON Schema names (3339, 1123, 5321, 3986, 4291),
 *            for the rest values computed by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "base/json.h"
#include "base/mem.h"
#include "core/calibration.h"
#include "core/custom_id.h"
#include "core/price.h"
#include "core/reconcile.h"
#include "core/schema.h"

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(op_mem_live(), 0);
    return 0;
}

static void calibration(void **state)
{
    (void)state;
    static const struct {
        struct op_calibration c;
        int64_t estimated, applied, low, high;
    } rows[] = {
        /* sums that cannot be, as a damaged row has them: nothing is known */
        {{1, 0, 5, 0, 0}, 10, 10, 0, 0},
        {{1, 5, 0, 0, 0}, 10, 10, 0, 0},
        {{1, -5, 5, 0, 0}, 10, 10, 0, 0},
        /* no mean in thousandths */
        {{1, INT64_MAX, 1, 0, 0}, 10, 1, 0, 0},
        /* saturated */
        {{1, 1, INT64_MAX, 0, 0}, 10, INT64_MAX, 1000, 0},
        {{1, 1000, 1000, 900, 1100}, 10, 10, 100, 100},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        int64_t low = -1, high = -1;
        assert_true(op_calibration_apply(&rows[i].c, rows[i].estimated) == rows[i].applied);
        op_calibration_error(&rows[i].c, &low, &high);
        assert_true(low == rows[i].low && high == rows[i].high);
    }
    struct op_calibration c = {0};
    op_calibration_add(&c, 5, (1LL << 40) + 1); /* a bill beyond any prompt tells nothing */
    assert_true(c.batches == 0);
    op_calibration_add(&c, 1, 1LL << 40);
    op_calibration_add(&c, 1, 1LL << 40);
    assert_true(c.estimated == 2 && c.billed == (1LL << 40) + 1); /* halved */
}

static void sums_of_usage_saturate(void **state)
{
    (void)state;
    struct op_usage sum = {{INT64_MAX, INT64_MIN, 1, 0, 0}};
    const struct op_usage more = {{1, -1, 2, 0, 0}};
    op_usage_add(&sum, &more);
    assert_true(sum.tokens[0] == INT64_MAX && sum.tokens[1] == INT64_MIN && sum.tokens[2] == 3);
    struct op_price rows[] = {{.provider = "p", .model = "", .max_prompt = INT64_MAX},
                              {.provider = "p", .model = "*", .max_prompt = INT64_MAX}};
    const struct op_price_list list = {rows, 2};
    assert_ptr_equal(op_price_find(&list, "p", "anything", 1), &rows[1]);
}

static void when_to_list_again(void **state)
{
    (void)state;
    struct op_reconcile_case c = {.last_try_ms = 1000, .now_ms = 2000};
    assert_true(op_reconcile_next_ms(&c) == 0); /* without a fence nobody knows */
    c.can_fence = true;
    assert_true(op_reconcile_next_ms(&c) == 1000 + OP_RECONCILE_VISIBLE_MS);
    c.fenced_ms = 5000;
    assert_true(op_reconcile_next_ms(&c) == 5000 + OP_RECONCILE_VISIBLE_MS);
    /* a fence at the end of time is never over */
    c.fenced_ms = INT64_MAX;
    c.first_clean_ms = 1;
    c.now_ms = INT64_MAX;
    size_t candidate = 7;
    assert_int_equal(op_reconcile(&c, NULL, 0, &candidate), OP_RECONCILE_WAIT);
}

static void an_id_without_a_number(void **state)
{
    (void)state;
    char tag[OP_LEDGER_TAG_LEN + 1], nonce[OP_NONCE_LEN + 1];
    int64_t id = 0;
    assert_false(op_custom_id_split(OP_STR("ab12cd-abcdefgh-"), tag, nonce, &id));
    assert_false(op_custom_id_split(OP_STR("ab12cd-abcdefgh-00"), tag, nonce, &id));
    assert_true(op_custom_id_split(OP_STR("ab12cd-abcdefgh-0"), tag, nonce, &id) && id == 0);
}

/* Violations of value, as text; "compile: MESSAGE" when the schema is refused. An op_mem block. */
static char *check(const char *schema_text, const char *value_text)
{
    struct op_json_parser *a OP_CLEANUP(op_json_parser_freep) = op_json_parser_new();
    struct op_json_parser *b OP_CLEANUP(op_json_parser_freep) = op_json_parser_new();
    struct op_schema *schema OP_CLEANUP(op_schema_freep) = NULL;
    const struct op_schema_options options = {.assert_format = true};
    struct op_err err = OP_ERR_INIT;
    struct op_json document, value;
    if (op_json_parse(a, schema_text, strlen(schema_text), false, &document, &err) ||
        op_json_parse(b, value_text, strlen(value_text), false, &value, &err))
        fail_msg("%s: %s", schema_text, err.msg);
    if (op_schema_compile(document, "s.json", &options, &schema, &err))
        return op_mem_printf("compile: %s", err.msg);
    struct op_buf list;
    op_buf_init(&list, 1 << 16);
    op_buf_addz(&list, "");
    assert_int_equal(op_schema_check(schema, value, 20, NULL),
                     op_schema_check(schema, value, 20, &list));
    char *text = op_buf_take(&list);
    op_buf_release(&list);
    return text;
}

static void formats(void **state)
{
    (void)state;
    static const struct {
        const char *format, *text;
        bool valid;
    } rows[] = {
        {"date-time", "2026-11-20T10:00:00.5Z", true},
        {"date-time", "2026-11-20t10:00:00z", true},
        {"date-time", "2026-11-20T10:00:00.Z", false},
        {"date-time", "2026-11-20 10:00:00Z", false},
        {"date-time", "2026-11-20T10:00:00Z ", false},
        {"time", "10:00:00+01:00", true},
        {"time", "10:00:00+01", false},
        {"time", "10:00:00+01:60", false},
        {"duration", "P1DT2H", true},
        {"duration", "P1DT", false},
        {"duration", "P1W2D", false},
        {"ipv6", "1:2:3:4:5:6:7:8", true},
        {"ipv6", "1:2:3:4:5:6:7:8:9", false},
        {"ipv6", "1::2:3:4:5:6:7:8", false},
        {"ipv6", "::ffff:1.2.3.4", true},
        {"hostname", "xn--nxasmq6b", true},
        {"hostname", "xn--", false},
        {"hostname", "ab--cd", false},
        {"hostname", "a-b.c", true},
        {"email", "\\\"a b\\\"@x.org", true},
        {"email", "\\\"a\\\\\\\\b\\\"@x.org", true},
        {"email", "\\\"a\\\"b\\\"@x.org", false},
        {"email", "\\\"a\\u0001\\\"@x.org", false},
        {"email", "\\\"a\\\\\\\"@x.org", false},
        {"email", "a@[127.0.0.1]", true},
        {"email", "a@[127.0.0.1", false},
        {"email", "a@b", true},
        {"email", "none", false},
        {"uri", "http://[::1]:80/x", true},
        {"uri", "http://[::1/x", false},
        {"uri", "http://[::1]x/", false},
        {"uri", "http://[v1.a]/", true},
        {"uri", "http://[zz]/", false},
        {"uri", "http://h:8x/", false},
        {"uri", "http://h:80/", true},
        {"uri", "x:a#b#c", false},
        {"uri", "1x:a", false},
        {"uri", "x+y-z.1:a", true},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        char schema[64], value[128];
        snprintf(schema, sizeof(schema), "{\"format\":\"%s\"}", rows[i].format);
        snprintf(value, sizeof(value), "\"%s\"", rows[i].text);
        OP_CLEANUP(op_mem_freep) char *said = check(schema, value);
        if ((said[0] == '\0') != rows[i].valid)
            fail_msg("%s %s: '%s'", rows[i].format, value, said);
    }
}

/* What a model is told, where it is long or odd. */
static void messages(void **state)
{
    (void)state;
    struct op_buf text;
    op_buf_init(&text, 1 << 20);
    /* more elements than marks fit into the check's own memory; the last is not evaluated */
    op_buf_addc(&text, '[');
    for (int i = 0; i < 80; i++)
        op_buf_addf(&text, "%s%d", i ? "," : "", i);
    op_buf_addc(&text, ']');
    OP_CLEANUP(op_mem_freep)
    char *many =
        check("{\"prefixItems\":[true],\"unevaluatedItems\":{\"maximum\":78}}", text.ptr);
    assert_non_null(strstr(many, "/79: "));
    /* a long value is shown by its beginning, cut between characters */
    op_buf_clear(&text);
    op_buf_addc(&text, '"');
    for (int i = 0; i < 200; i++)
        op_buf_addz(&text, i == 0 ? "x" : "\xE2\x82\xAC");
    op_buf_addc(&text, '"');
    OP_CLEANUP(op_mem_freep) char *cut = check("{\"const\":1}", text.ptr);
    assert_non_null(strstr(cut, "..."));
    assert_int_equal(op_utf8_valid_len(cut, strlen(cut)), strlen(cut));
    /* many choices are counted */
    op_buf_clear(&text);
    op_buf_addz(&text, "{\"enum\":[");
    for (int i = 0; i < 300; i++)
        op_buf_addf(&text, "%s\"a choice of words %d\"", i ? "," : "", i);
    op_buf_addz(&text, "]}");
    OP_CLEANUP(op_mem_freep) char *choices = check(text.ptr, "1");
    assert_non_null(strstr(choices, " more"));
    /* a name that a JSON pointer escapes */
    OP_CLEANUP(op_mem_freep)
    char *escaped = check("{\"additionalProperties\":{\"type\":\"null\"}}", "{\"a~b/c\":1}");
    assert_non_null(strstr(escaped, "/a~0b~1c: "));
    op_buf_release(&text);
}

/* Schemas that lead from one to the next more often than the C stack should follow. */
static void chains(void **state)
{
    (void)state;
    struct op_buf text;
    op_buf_init(&text, 1 << 20);
    for (int kind = 0; kind < 2; kind++) {
        op_buf_clear(&text);
        op_buf_addz(&text, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{");
        for (int i = 0; i < 150; i++)
            op_buf_addf(&text,
                        kind ? "%s\"d%d\":{\"allOf\":[{\"$ref\":\"#/$defs/d%d\"}]}"
                             : "%s\"d%d\":{\"$ref\":\"#/$defs/d%d\"}",
                        i ? "," : "", i, i + 1);
        op_buf_addz(&text, ",\"d150\":true}}");
        OP_CLEANUP(op_mem_freep) char *said = check(text.ptr, "1");
        if (strncmp(said, "compile: s.json#", 16) != 0)
            fail_msg("'%s'", said);
    }
    op_buf_release(&text);
}

static void references(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *value, *says; /* "": valid */
    } rows[] = {
        /* RFC 3986 5.2: where relative names lead */
        {"{\"$id\":\"http://x.test/a/b/c\",\"$ref\":\"http://x.test/a/d/e\","
         "\"$defs\":{\"s\":{\"$id\":\"../d/./e\",\"type\":\"string\"}}}",
         "1", "expected string"},
        {"{\"$id\":\"http://x.test/a/b/c\",\"$ref\":\"http://x.test/a/\","
         "\"$defs\":{\"s\":{\"$id\":\"..\",\"type\":\"string\"}}}",
         "1", "expected string"},
        {"{\"$id\":\"http://x.test\",\"$ref\":\"http://x.test/e\","
         "\"$defs\":{\"s\":{\"$id\":\"e\",\"type\":\"string\"}}}",
         "1", "expected string"},
        {"{\"$id\":\"http://x.test/a/b?q\",\"$ref\":\"http://x.test/a/b?r\","
         "\"$defs\":{\"s\":{\"$id\":\"?r\",\"type\":\"string\"}}}",
         "1", "expected string"},
        /* RFC 6901 and percent signs, either case */
        {"{\"$ref\":\"#/$defs/a%20b%2Fc%2fd\",\"$defs\":{\"a b/c/d\":true,\"a b\":true}}", "1",
         "compile: "},
        {"{\"$ref\":\"#/$defs/a%7E1%7e0%25\",\"$defs\":{\"a/~%\":{\"type\":\"string\"}}}", "1",
         "expected string"},
        {"{\"$ref\":\"#/$defs/a%zz\",\"$defs\":{\"a%zz\":{\"type\":\"string\"}}}", "1",
         "expected string"},
        /* refused, with the place */
        {"{\"$id\":5}", "1", "compile: s.json#/$id: expected a string"},
        {"{\"$anchor\":5}", "1", "compile: s.json#/$anchor: expected a name"},
        {"{\"$defs\":{\"a\":{\"$anchor\":\"x\"},\"b\":{\"$anchor\":\"x\"}}}", "1", "is taken"},
        {"{\"$defs\":{\"a\":{\"$id\":\"http://x.test/\"},\"b\":{\"$id\":\"http://x.test/\"}}}",
         "1", "is taken"},
        {"{\"pattern\":5}", "1", "compile: s.json#/pattern: expected a regular expression"},
        {"{\"format\":5}", "1", "compile: s.json#/format: expected the name of a format"},
        {"{\"$ref\":5}", "1", "compile: s.json#/$ref: expected a string"},
        {"{\"type\":[]}", "1", "compile: "},
        {"{\"type\":5}", "1", "compile: "},
        {"{\"enum\":5}", "1", "compile: "},
        {"{\"$schema\":\"https://json-schema.org/draft/2020-12/schema#\",\"type\":\"string\"}",
         "1", "expected string"},
        {"{\"$schema\":5}", "1", "compile: "},
        {"{\"type\":\"string\",\"type\":\"integer\"}", "1", ""},
        /* regular expressions of ECMA-262 */
        {"{\"pattern\":\"^\\\\p{Script=Greek}+$\"}", "\"\\u03b1\"", ""},
        {"{\"pattern\":\"^\\\\p{gc=Lu}[\\\\s\\\\S]$\"}", "\"A\\n\"", ""},
        {"{\"pattern\":\"^\\\\p{Letter}\\\\S$\"}", "\"a b\"", "match"},
        {"{\"pattern\":\"^\\\\p{General_Category=Nd}\\\\p{scx=Greek}$\"}", "\"1\\u03b1\"", ""},
        {"{\"pattern\":\"^\\\\p{sc=Greek}\\\\p{Script_Extensions=Greek}$\"}",
         "\"\\u03b1\\u03b1\"", ""},
        {"{\"pattern\":\"\\\\p{other=Lu}\"}", "\"A\"", "compile: "},
        {"{\"pattern\":\"\\\\p{Lu\"}", "\"A\"", "compile: "},
        {"{\"pattern\":\"(?i:a)(?-s:b)\"}", "\"Ab\"", ""},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        OP_CLEANUP(op_mem_freep) char *said = check(rows[i].schema, rows[i].value);
        bool as_told = rows[i].says[0] ? strstr(said, rows[i].says) != NULL : !said[0];
        if (!as_told)
            fail_msg("%s of %s: '%s', not '%s'", rows[i].schema, rows[i].value, said,
                     rows[i].says);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        T(calibration),
        T(sums_of_usage_saturate),
        T(when_to_list_again),
        T(an_id_without_a_number),
        T(formats),
        T(messages),
        T(chains),
        T(references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
