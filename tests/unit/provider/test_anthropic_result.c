/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: one line of a result file.
 * Oracle:    the documented and recorded lines of the API; and for every field of a good line: put
 *            each kind of JSON value (or nothing) in its place, and the line still decodes or is
 *            refused with a reason, never anything else.
 */
#include <stdio.h>

#include "change.h"
#include "provider/anthropic/anthropic.h"
#include "support.h"

#define USAGE                                                                            \
    "\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":7,"                  \
    "\"cache_read_input_tokens\":5,\"cache_creation\":{\"ephemeral_5m_input_tokens\":4," \
    "\"ephemeral_1h_input_tokens\":3},\"output_tokens\":20,\"service_tier\":\"batch\"}"
#define MESSAGE(content, stop, more)                                                         \
    "{\"custom_id\":\"a\",\"result\":{\"type\":\"succeeded\",\"message\":{\"id\":\"msg_1\"," \
    "\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-haiku-4-5-20251001\","   \
    "\"content\":" content ",\"stop_reason\":" stop ",\"stop_sequence\":null" more "}}}"
#define TEXT(text) "{\"type\":\"text\",\"text\":\"" text "\",\"citations\":null}"
#define ERRORED(error) \
    "{\"custom_id\":\"b\",\"result\":{\"type\":\"errored\",\"error\":" error "}}"
#define ENVELOPE(error) ERRORED("{\"type\":\"error\",\"error\":" error ",\"request_id\":null}")

static struct op_buf scratch;

static enum op_rc decode(const char *line, struct op_result *ret, struct op_err *err)
{
    return op_provider_anthropic.decode_result(read_json(line), &scratch, ret, err);
}

static int set_up_scratch(void **state)
{
    op_buf_init(&scratch, 1 << 20);
    return set_up(state);
}

static int tear_down_scratch(void **state)
{
    op_buf_release(&scratch);
    return tear_down(state);
}

static void test_succeeded(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum op_result_class class_;
        const char *text, *stop;
        bool put_together;
    } cases[] = {
        {MESSAGE("[" TEXT("{\\\"a\\\":1}") "]", "\"end_turn\"", "," USAGE), OP_RESULT_SUCCEEDED,
         "{\"a\":1}", "end_turn", false},
        {MESSAGE(
             "[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"s\"}," TEXT("x") "]",
             "\"end_turn\"", ""),
         OP_RESULT_SUCCEEDED, "x", "end_turn", false},
        {MESSAGE("[" TEXT("x") ",{\"type\":\"redacted_thinking\",\"data\":\"d\"}," TEXT(
                     "y") "," TEXT("z") "]",
                 "\"stop_sequence\"", ""),
         OP_RESULT_SUCCEEDED, "xyz", "stop_sequence", true},
        {MESSAGE("[" TEXT("") "]", "\"end_turn\"", ""), OP_RESULT_SUCCEEDED, "", "end_turn",
         false},
        {MESSAGE("[]", "\"end_turn\"", ""), OP_RESULT_SUCCEEDED, NULL, "end_turn", false},
        {MESSAGE("[{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"n\",\"input\":{}}]",
                 "\"tool_use\"", ""),
         OP_RESULT_SUCCEEDED, NULL, "tool_use", false},
        {MESSAGE("[{\"type\":\"thinking\",\"thinking\":\"hm\"}]", "\"max_tokens\"", ""),
         OP_RESULT_TRUNCATED, NULL, "max_tokens", false},
        {MESSAGE("[" TEXT("x") "]", "\"model_context_window_exceeded\"", ""),
         OP_RESULT_TRUNCATED, "x", "model_context_window_exceeded", false},
        {MESSAGE("[" TEXT("x") "]", "\"pause_turn\"", ""), OP_RESULT_TRUNCATED, "x",
         "pause_turn", false},
        {MESSAGE("[" TEXT("x") "]", "\"new_reason\"", ""), OP_RESULT_SUCCEEDED, "x",
         "new_reason", false},
        {MESSAGE("[" TEXT("x") "]", "null", ""), OP_RESULT_SUCCEEDED, "x", NULL, false},
        {MESSAGE("null", "\"end_turn\"", ""), OP_RESULT_SUCCEEDED, NULL, "end_turn", false},
        {MESSAGE("\"text\"", "\"end_turn\"", ""), OP_RESULT_SUCCEEDED, NULL, "end_turn", false},
        {MESSAGE(
             "[null,7,{},[],{\"type\":\"text\"},{\"type\":\"text\",\"text\":7}," TEXT("x") "]",
             "\"end_turn\"", ""),
         OP_RESULT_SUCCEEDED, "x", "end_turn", false},
        {"{\"custom_id\":\"a\",\"result\":{\"type\":\"succeeded\",\"message\":{\"model\":"
         "\"claude-haiku-4-5-20251001\"}}}",
         OP_RESULT_SUCCEEDED, NULL, NULL, false},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_result r;
        if (decode(cases[i].line, &r, &err))
            fail_msg("%s: %s", cases[i].line, err.msg);
        assert_str(r.custom_id, "a");
        assert_int_equal(r.class_, cases[i].class_);
        assert_str(r.text, cases[i].text);
        assert_str(r.stop, cases[i].stop);
        assert_str(r.model, "claude-haiku-4-5-20251001");
        assert_str(r.error_type, NULL);
        assert_int_equal(r.text.ptr && r.text.ptr == scratch.ptr, cases[i].put_together);
    }
}

static void test_refusal(void **state)
{
    (void)state;
    static const struct {
        const char *details, *message;
    } cases[] = {
        {",\"stop_details\":{\"type\":\"refusal\",\"category\":\"bio\",\"explanation\":\"why\"}",
         "why"},
        {",\"stop_details\":{\"type\":\"refusal\",\"category\":\"bio\",\"explanation\":null}",
         "bio"},
        {",\"stop_details\":{\"category\":null}", NULL},
        {",\"stop_details\":null", NULL},
        {",\"stop_details\":[]", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_result r;
        OP_CLEANUP(op_mem_freep)
        char *line = op_mem_printf(MESSAGE("[" TEXT("no") "]", "\"refusal\"", "%s," USAGE),
                                   cases[i].details);
        assert_int_equal(decode(line, &r, &err), OP_OK);
        assert_int_equal(r.class_, OP_RESULT_REFUSED);
        assert_str(r.text, "no");
        assert_str(r.error_type, "refusal");
        assert_str(r.error_message, cases[i].message);
        assert_true(r.has_usage);
    }
}

static void test_usage(void **state)
{
    (void)state;
    static const struct {
        const char *usage;
        bool has;
        int64_t tokens[OP_TOKEN_KIND_COUNT]; /* input, 5m, 1h, read, output */
    } cases[] = {
        {"," USAGE, true, {10, 4, 3, 5, 20}},
        {",\"usage\":{\"input_tokens\":1,\"output_tokens\":2}", true, {1, 0, 0, 0, 2}},
        {",\"usage\":{\"input_tokens\":1,\"output_tokens\":2,\"cache_creation_input_tokens\":9,"
         "\"cache_creation\":null}",
         true,
         {1, 9, 0, 0, 2}},
        {",\"usage\":{\"input_tokens\":1,\"output_tokens\":2,\"cache_creation_input_tokens\":9,"
         "\"cache_creation\":{\"ephemeral_1h_input_tokens\":4}}",
         true,
         {1, 5, 4, 0, 2}},
        {",\"usage\":{\"input_tokens\":1,\"output_tokens\":2,\"cache_creation_input_tokens\":null,"
         "\"cache_creation\":{\"ephemeral_5m_input_tokens\":6,\"ephemeral_1h_input_tokens\":4}}",
         true,
         {1, 6, 4, 0, 2}},
        {",\"usage\":{\"input_tokens\":-1,\"output_tokens\":2,\"cache_read_input_tokens\":-5}",
         true,
         {0, 0, 0, 0, 2}},
        {",\"usage\":{\"input_tokens\":\"1\"}", false, {0}},
        {",\"usage\":{}", false, {0}},
        {",\"usage\":null", false, {0}},
        {",\"usage\":[1]", false, {0}},
        {"", false, {0}},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_result r;
        OP_CLEANUP(op_mem_freep)
        char *line = op_mem_printf(MESSAGE("[]", "\"end_turn\"", "%s"), cases[i].usage);
        assert_int_equal(decode(line, &r, &err), OP_OK);
        assert_int_equal(r.has_usage, cases[i].has);
        for (int kind = 0; kind < OP_TOKEN_KIND_COUNT; kind++)
            assert_int_equal(r.usage.tokens[kind], cases[i].tokens[kind]);
    }
}

static void test_errored(void **state)
{
    (void)state;
    static const struct {
        const char *line, *type, *message;
        enum op_disp disp;
    } cases[] = {
        {ENVELOPE(
             "{\"details\":{\"error_visibility\":\"user_facing\"},\"type\":\"not_found_error\","
             "\"message\":\"model: claude-x\"}"),
         "not_found_error", "model: claude-x", OP_DISP_REJECT},
        {ENVELOPE(
             "{\"type\":\"invalid_request_error\",\"message\":\"messages: Field required\"}"),
         "invalid_request_error", "messages: Field required", OP_DISP_REJECT},
        {ENVELOPE(
             "{\"type\":\"invalid_request_error\",\"message\":\"Your credit balance is too low "
             "to access the API.\"}"),
         "invalid_request_error", "Your credit balance is too low to access the API.",
         OP_DISP_QUOTA},
        {ENVELOPE(
             "{\"type\":\"rate_limit_error\",\"message\":\"m\",\"details\":{\"error_code\":"
             "\"enforced_spend_limit_reached\"}}"),
         "rate_limit_error", "m", OP_DISP_QUOTA},
        {ENVELOPE("{\"type\":\"permission_error\",\"message\":\"m\"}"), "permission_error", "m",
         OP_DISP_REJECT},
        {ENVELOPE("{\"type\":\"request_too_large\",\"message\":\"m\"}"), "request_too_large",
         "m", OP_DISP_REJECT},
        {ENVELOPE("{\"type\":\"authentication_error\",\"message\":\"m\"}"),
         "authentication_error", "m", OP_DISP_PAUSE},
        {ENVELOPE("{\"type\":\"billing_error\",\"message\":\"m\"}"), "billing_error", "m",
         OP_DISP_QUOTA},
        {ENVELOPE("{\"type\":\"overloaded_error\",\"message\":\"m\"}"), "overloaded_error", "m",
         OP_DISP_RETRY},
        {ENVELOPE("{\"type\":\"api_error\",\"message\":\"m\"}"), "api_error", "m",
         OP_DISP_RETRY},
        {ENVELOPE("{\"type\":\"timeout_error\",\"message\":\"m\"}"), "timeout_error", "m",
         OP_DISP_RETRY},
        {ENVELOPE("{\"type\":\"rate_limit_error\",\"message\":\"m\"}"), "rate_limit_error", "m",
         OP_DISP_RETRY},
        {ENVELOPE("{\"type\":\"brand_new_error\",\"message\":null}"), "brand_new_error", NULL,
         OP_DISP_RETRY},
        {ERRORED("{\"type\":\"api_error\",\"message\":\"single\"}"), "api_error", "single",
         OP_DISP_RETRY},
        {ENVELOPE("null"), "error", NULL, OP_DISP_RETRY},
        {ENVELOPE("{}"), "unknown_error", NULL, OP_DISP_RETRY},
        {ERRORED("null"), "unknown_error", NULL, OP_DISP_RETRY},
        {ERRORED("7"), "unknown_error", NULL, OP_DISP_RETRY},
        {"{\"custom_id\":\"b\",\"result\":{\"type\":\"errored\"}}", "unknown_error", NULL,
         OP_DISP_RETRY},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_result r;
        if (decode(cases[i].line, &r, &err))
            fail_msg("%s: %s", cases[i].line, err.msg);
        assert_int_equal(r.class_, OP_RESULT_ERRORED);
        assert_str(r.error_type, cases[i].type);
        assert_str(r.error_message, cases[i].message);
        if (r.disp != cases[i].disp)
            fail_msg("%s: %s", cases[i].line, op_disp_name(r.disp));
        assert_null(r.text.ptr);
        assert_false(r.has_usage);
    }
}

static void test_other(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_result r;
    assert_int_equal(
        decode("{\"custom_id\":\"c\",\"result\":{\"type\":\"canceled\"}}", &r, &err), OP_OK);
    assert_int_equal(r.class_, OP_RESULT_CANCELED);
    assert_int_equal(
        decode("{\"result\":{\"type\":\"expired\",\"new\":1},\"custom_id\":\"d\"}", &r, &err),
        OP_OK);
    assert_int_equal(r.class_, OP_RESULT_EXPIRED);
    assert_str(r.custom_id, "d");
    assert_null(r.text.ptr);
    assert_null(r.error_type.ptr);
}

static void test_no_result_line(void **state)
{
    (void)state;
    static const struct {
        const char *line, *mention;
    } cases[] = {
        {"{}", "custom_id"},
        {"null", "custom_id"},
        {"[]", "custom_id"},
        {"7", "custom_id"},
        {"{\"custom_id\":null,\"result\":{\"type\":\"expired\"}}", "custom_id"},
        {"{\"custom_id\":\"\",\"result\":{\"type\":\"expired\"}}", "custom_id"},
        {"{\"custom_id\":5,\"result\":{\"type\":\"expired\"}}", "custom_id"},
        {"{\"custom_id\":\"a\"}", "unknown type ''"},
        {"{\"custom_id\":\"a\",\"result\":null}", "unknown type"},
        {"{\"custom_id\":\"a\",\"result\":{\"type\":null}}", "unknown type"},
        {"{\"custom_id\":\"a\",\"result\":{\"type\":\"paused\"}}", "unknown type 'paused'"},
        {"{\"custom_id\":\"a\",\"result\":{\"type\":\"succeeded\"}}", "no message"},
        {"{\"custom_id\":\"a\",\"result\":{\"type\":\"succeeded\",\"message\":\"x\"}}",
         "no message"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_result r;
        assert_int_equal(decode(cases[i].line, &r, &err), OP_INVAL);
        assert_mentions(err.msg, cases[i].mention);
    }
}

static void test_garbage_types(void **state)
{
    (void)state;
    static const char *const lines[] = {
        MESSAGE("[{\"type\":\"thinking\",\"thinking\":\"hm\"}," TEXT("x") "," TEXT("y") "]",
                "\"refusal\"", "," USAGE ",\"stop_details\":{\"category\":\"c\"}"),
        ENVELOPE(
            "{\"type\":\"api_error\",\"message\":\"m\",\"details\":{\"error_code\":\"c\"}}"),
    };
    check_changes(lines, OP_COUNT(lines), decode);
}

/* Oracle: a message, or a refusal of one, reads the same as the line that says it in a batch. */
static void test_fold(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        enum op_rc rc;
        const char *line; /* or what the message mentions */
        enum op_disp disp;
    } cases[] = {
        {200, "{\"type\":\"message\",\n \"content\":[]}", OP_OK,
         "{\"custom_id\":\"id-1\",\"result\":{\"type\":\"succeeded\",\"message\":"
         "{\"type\":\"message\",\"content\":[]}}}",
         OP_DISP_FATAL},
        {400,
         "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"m\"}}",
         OP_OK,
         "{\"custom_id\":\"id-1\",\"result\":{\"type\":\"errored\",\"error\":{\"type\":\"error\","
         "\"error\":{\"type\":\"invalid_request_error\",\"message\":\"m\"}}}}",
         OP_DISP_FATAL},
        {529,
         "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}",
         OP_REMOTE, "busy", OP_DISP_RETRY},
        {401,
         "{\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":\"who\"}}",
         OP_REMOTE, "who", OP_DISP_PAUSE},
        {200, "<html>", OP_REMOTE, "no JSON", OP_DISP_AMBIGUOUS},
        {200, "null", OP_REMOTE, "no JSON", OP_DISP_AMBIGUOUS},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_http_reply reply;
        op_http_reply_init(&reply);
        reply.status = cases[i].status;
        op_buf_addz(&reply.body, cases[i].body);
        OP_CLEANUP(op_buf_release) struct op_buf line;
        op_buf_init(&line, 4096);
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(op_provider_anthropic.fold(OP_STR("id-1"), &reply, &line, &err),
                         cases[i].rc);
        if (cases[i].rc == OP_OK) {
            assert_string_equal(line.ptr, cases[i].line);
        } else {
            assert_mentions(err.msg, cases[i].line);
            assert_int_equal(err.disp, cases[i].disp);
        }
        op_http_reply_release(&reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_succeeded, set_up_scratch, tear_down_scratch),
        cmocka_unit_test_setup_teardown(test_refusal, set_up_scratch, tear_down_scratch),
        cmocka_unit_test_setup_teardown(test_usage, set_up_scratch, tear_down_scratch),
        cmocka_unit_test_setup_teardown(test_errored, set_up_scratch, tear_down_scratch),
        cmocka_unit_test_setup_teardown(test_other, set_up_scratch, tear_down_scratch),
        cmocka_unit_test_setup_teardown(test_no_result_line, set_up_scratch, tear_down_scratch),
        cmocka_unit_test_setup_teardown(test_garbage_types, set_up_scratch, tear_down_scratch),
        cmocka_unit_test(test_fold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
