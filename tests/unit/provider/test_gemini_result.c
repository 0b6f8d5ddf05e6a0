/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: one line of a result file, a batch that answers inline, a single answer.
 * Oracle:    the documented and recorded lines of the API; an inline answer and a single one decode
 *            as the line that says the same; for every field of a good line: put each kind of JSON
 *            value (or nothing) in its place, and the line still decodes or is refused with a reason.
 */
#include "change.h"
#include "provider/gemini/gemini.h"
#include "support.h"

#define USAGE                                                                             \
    "\"usageMetadata\":{\"promptTokenCount\":10,\"cachedContentTokenCount\":4,"           \
    "\"candidatesTokenCount\":20,\"thoughtsTokenCount\":7,\"toolUsePromptTokenCount\":2," \
    "\"totalTokenCount\":39}"
#define RESPONSE(parts, finish)                                                     \
    "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":" parts "}" finish \
    "}]," USAGE ",\"modelVersion\":\"gemini-2.5-flash\",\"responseId\":\"r\"}"
#define LINE(response) "{\"key\":\"a\",\"response\":" response "}"
#define TEXT(text)     "{\"text\":\"" text "\"}"
#define STOP           ",\"finishReason\":\"STOP\",\"index\":0"
#define ERRORED(error) "{\"key\":\"b\",\"error\":" error "}"

static const struct op_provider_ops *const ops = &op_provider_gemini;
static struct op_buf scratch;

static enum op_rc decode(const char *line, struct op_result *ret, struct op_err *err)
{
    return ops->decode_result(read_json(line), &scratch, ret, err);
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

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum op_result_class class_;
        const char *text, *stop;
    } cases[] = {
        {LINE(RESPONSE("[" TEXT("{\\\"a\\\":1}") "]", STOP)), OP_RESULT_SUCCEEDED, "{\"a\":1}",
         "STOP"},
        /* The members come in either order. */
        {"{\"response\":" RESPONSE("[" TEXT("x") "]", STOP) ",\"key\":\"a\"}",
         OP_RESULT_SUCCEEDED, "x", "STOP"},
        /* Thoughts are no part of the answer. */
        {LINE(RESPONSE("[{\"text\":\"hm\",\"thought\":true}," TEXT("x") "," TEXT("y") "]",
                       STOP)),
         OP_RESULT_SUCCEEDED, "xy", "STOP"},
        {LINE(RESPONSE("[{\"text\":\"hm\",\"thought\":true}]",
                       ",\"finishReason\":\"MAX_TOKENS\"")),
         OP_RESULT_TRUNCATED, NULL, "MAX_TOKENS"},
        {LINE(RESPONSE("[" TEXT("x") "]", ",\"finishReason\":\"MAX_TOKENS\"")),
         OP_RESULT_TRUNCATED, "x", "MAX_TOKENS"},
        {LINE(RESPONSE("[" TEXT("") "]", STOP)), OP_RESULT_SUCCEEDED, "", "STOP"},
        {LINE(RESPONSE("[{\"functionCall\":{}}]", ",\"finishReason\":\"NEW_REASON\"")),
         OP_RESULT_SUCCEEDED, NULL, "NEW_REASON"},
        {LINE(RESPONSE("[" TEXT("x") "]", ",\"finishReason\":\"OTHER\"")), OP_RESULT_SUCCEEDED,
         "x", "OTHER"},
        {LINE(RESPONSE("[" TEXT("x") "]", "")), OP_RESULT_SUCCEEDED, "x", NULL},
        {LINE(RESPONSE("null", STOP)), OP_RESULT_SUCCEEDED, NULL, "STOP"},
        {LINE("{" USAGE ",\"modelVersion\":\"gemini-2.5-flash\"}"), OP_RESULT_SUCCEEDED, NULL,
         NULL},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_result r;
        if (decode(cases[i].line, &r, &err))
            fail_msg("%s: %s", cases[i].line, err.msg);
        assert_str(r.custom_id, "a");
        if (r.class_ != cases[i].class_)
            fail_msg("%s: %s", cases[i].line, op_result_class_name(r.class_));
        assert_str(r.text, cases[i].text);
        assert_str(r.stop, cases[i].stop);
        assert_str(r.model, "gemini-2.5-flash");
        assert_str(r.error_type, NULL);
        /* 10 of the prompt, 4 of them cached, and 2 of tools; 20 of the answer and 7 of thinking. */
        assert_true(r.has_usage);
        assert_int_equal(r.usage.tokens[OP_TOKEN_INPUT], 8);
        assert_int_equal(r.usage.tokens[OP_TOKEN_READ], 4);
        assert_int_equal(r.usage.tokens[OP_TOKEN_OUTPUT], 27);
        assert_int_equal(r.usage.tokens[OP_TOKEN_WRITE_5M], 0);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *line, *stop, *message;
    } cases[] = {
        {LINE("{\"promptFeedback\":{\"blockReason\":\"PROHIBITED_CONTENT\"}," USAGE "}"),
         "PROHIBITED_CONTENT", "PROHIBITED_CONTENT"},
        {LINE(
             "{\"promptFeedback\":{\"blockReason\":\"SAFETY\",\"blockReasonMessage\":\"why\"}," USAGE
             "}"),
         "SAFETY", "why"},
        {LINE(RESPONSE("[]", ",\"finishReason\":\"SAFETY\"")), "SAFETY", "SAFETY"},
        {LINE(RESPONSE("[" TEXT("half") "]", ",\"finishReason\":\"RECITATION\"")), "RECITATION",
         "RECITATION"},
        {LINE(RESPONSE("[]", ",\"finishReason\":\"SPII\",\"finishMessage\":\"why\"")), "SPII",
         "why"},
        {LINE(RESPONSE("[]", ",\"finishReason\":\"OTHER\"")), "OTHER", "OTHER"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_result r;
        assert_int_equal(decode(cases[i].line, &r, &err), OP_OK);
        assert_int_equal(r.class_, OP_RESULT_REFUSED);
        assert_str(r.stop, cases[i].stop);
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
        int64_t input, read, output;
    } cases[] = {
        {",\"usageMetadata\":{\"promptTokenCount\":5,\"candidatesTokenCount\":1373,"
         "\"thoughtsTokenCount\":1582,\"totalTokenCount\":2960}",
         true, 5, 0, 2955},
        {",\"usageMetadata\":{\"promptTokenCount\":5}", true, 5, 0, 0},
        {",\"usageMetadata\":{\"promptTokenCount\":5,\"cachedContentTokenCount\":9}", true, 0,
         5, 0},
        {",\"usageMetadata\":{\"promptTokenCount\":-5,\"candidatesTokenCount\":3}", true, 0, 0,
         3},
        {",\"usageMetadata\":{\"promptTokenCount\":9223372036854775807,"
         "\"candidatesTokenCount\":9223372036854775807,\"thoughtsTokenCount\":7}",
         true, INT64_MAX, 0, INT64_MAX},
        {",\"usageMetadata\":{}", false, 0, 0, 0},
        {",\"usageMetadata\":null", false, 0, 0, 0},
        {"", false, 0, 0, 0},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_result r;
        OP_CLEANUP(op_mem_freep)
        char *line =
            op_mem_printf("{\"key\":\"a\",\"response\":{\"candidates\":[]%s}}", cases[i].usage);
        assert_int_equal(decode(line, &r, &err), OP_OK);
        assert_int_equal(r.has_usage, cases[i].has);
        assert_int_equal(r.usage.tokens[OP_TOKEN_INPUT], cases[i].input);
        assert_int_equal(r.usage.tokens[OP_TOKEN_READ], cases[i].read);
        assert_int_equal(r.usage.tokens[OP_TOKEN_OUTPUT], cases[i].output);
    }
}

static void test_embeddings(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_result r;
    assert_int_equal(decode("{\"response\":{\"tokenCount\":\"12\",\"embedding\":{\"values\":"
                            "[0.5,-1,1e-3]}},\"key\":\"e\"}",
                            &r, &err),
                     OP_OK);
    assert_str(r.custom_id, "e");
    assert_int_equal(r.class_, OP_RESULT_SUCCEEDED);
    struct op_json values = read_json(r.text.ptr);
    assert_int_equal(op_json_count(values), 3);
    assert_true(r.has_usage);
    assert_int_equal(r.usage.tokens[OP_TOKEN_INPUT], 12);
    assert_int_equal(decode("{\"key\":\"e\",\"response\":{\"embedding\":{}}}", &r, &err),
                     OP_OK);
    assert_str(r.text, NULL);
    assert_false(r.has_usage);
}

static void test_errored(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum op_result_class class_;
        const char *type, *message;
        enum op_disp disp;
    } cases[] = {
        {ERRORED("{\"code\":1}"), OP_RESULT_CANCELED, "CANCELLED", NULL, OP_DISP_FATAL},
        {ERRORED("{\"code\":3,\"message\":\"m\"}"), OP_RESULT_ERRORED, "INVALID_ARGUMENT", "m",
         OP_DISP_REJECT},
        {ERRORED("{\"code\":\"3\"}"), OP_RESULT_ERRORED, "INVALID_ARGUMENT", NULL,
         OP_DISP_REJECT},
        {ERRORED("{\"code\":7}"), OP_RESULT_ERRORED, "PERMISSION_DENIED", NULL, OP_DISP_REJECT},
        {ERRORED("{\"code\":8}"), OP_RESULT_ERRORED, "RESOURCE_EXHAUSTED", NULL, OP_DISP_RETRY},
        {ERRORED("{\"code\":13}"), OP_RESULT_ERRORED, "INTERNAL", NULL, OP_DISP_RETRY},
        {ERRORED("{\"code\":14}"), OP_RESULT_ERRORED, "UNAVAILABLE", NULL, OP_DISP_RETRY},
        {ERRORED("{\"code\":16}"), OP_RESULT_ERRORED, "UNAUTHENTICATED", NULL, OP_DISP_PAUSE},
        {ERRORED("{\"code\":400,\"message\":\"API key not valid.\"}"), OP_RESULT_ERRORED,
         "UNKNOWN", "API key not valid.", OP_DISP_PAUSE},
        {ERRORED("{}"), OP_RESULT_ERRORED, "UNKNOWN", NULL, OP_DISP_RETRY},
        /* An error beside a response: the error is said last. */
        {"{\"key\":\"b\",\"response\":{},\"error\":{\"code\":13}}", OP_RESULT_ERRORED,
         "INTERNAL", NULL, OP_DISP_RETRY},
        {"{\"key\":\"b\",\"status\":\"Bad Request: x\",\"request\":{},\"response\":{}}",
         OP_RESULT_ERRORED, "status", "Bad Request: x", OP_DISP_RETRY},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_result r;
        if (decode(cases[i].line, &r, &err))
            fail_msg("%s: %s", cases[i].line, err.msg);
        assert_int_equal(r.class_, cases[i].class_);
        assert_str(r.error_type, cases[i].type);
        assert_str(r.error_message, cases[i].message);
        if (r.disp != cases[i].disp)
            fail_msg("%s: %s", cases[i].line, op_disp_name(r.disp));
        assert_null(r.text.ptr);
        assert_false(r.has_usage);
    }
}

static void test_no_result_line(void **state)
{
    (void)state;
    static const struct {
        const char *line, *mention;
    } cases[] = {
        {"{}", "without a key"},
        {"null", "without a key"},
        {"{\"key\":5,\"response\":{}}", "without a key"},
        {"{\"key\":\"\",\"response\":{}}", "without a key"},
        {"{\"metadata\":{\"key\":\"a\"},\"response\":{}}", "without a key"},
        {"{\"key\":\"a\"}", "neither response nor error"},
        {"{\"key\":\"a\",\"response\":[]}", "neither response nor error"},
        {"{\"key\":\"a\",\"error\":\"text\",\"status\":\"\"}", "neither response nor error"},
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
        LINE(
            RESPONSE("[{\"text\":\"hm\",\"thought\":true}," TEXT("x") "," TEXT("y") "]", STOP)),
        ERRORED(
            "{\"code\":13,\"message\":\"m\",\"details\":[{\"@type\":\"x/google.rpc.RetryInfo\","
            "\"retryDelay\":\"3s\"},{\"@type\":\"QuotaFailure\",\"violations\":[{}]}]}"),
        "{\"key\":\"e\",\"response\":{\"tokenCount\":\"1\",\"embedding\":{\"values\":[1]}}}",
    };
    check_changes(lines, OP_COUNT(lines), decode);
}

/* --- inline answers ------------------------------------------------------------------------- */

#define INLINE(items)                                                                      \
    "{\"name\":\"batches/b\",\"metadata\":{\"output\":{\"inlinedResponses\":"              \
    "{\"inlinedResponses\":" items "}}},\"done\":true,\"response\":{\"inlinedResponses\":" \
    "{\"inlinedResponses\":[{\"metadata\":{\"key\":\"twice\"},\"response\":{}}]}}}"

static void test_unfold(void **state)
{
    (void)state;
    static const struct {
        const char *document, *lines; /* NULL: refused */
    } cases[] = {
        /* Out of order, one of them an error, one without a key: never by its place. */
        {INLINE("[{\"response\":{\"x\":1},\"metadata\":{\"key\":\"b\"}},"
                "{\"metadata\":{\"key\":\"a\"},\"error\":{\"code\":1}},"
                "{\"response\":{\"x\":2}},{\"metadata\":{\"key\":7},\"response\":{}}]"),
         "{\"key\":\"b\",\"response\":{\"x\":1},\"metadata\":{\"key\":\"b\"}}\n"
         "{\"key\":\"a\",\"metadata\":{\"key\":\"a\"},\"error\":{\"code\":1}}\n"
         "{\"response\":{\"x\":2}}\n"
         "{\"metadata\":{\"key\":7},\"response\":{}}\n"},
        {INLINE("[]"), ""},
        {"{\"response\":{\"inlinedResponses\":{\"inlinedResponses\":[{\"metadata\":{\"key\":\"a\"},"
         "\"response\":{}}]}}}",
         "{\"key\":\"a\",\"metadata\":{\"key\":\"a\"},\"response\":{}}\n"},
        {"{\"metadata\":{\"output\":{\"inlinedEmbedContentResponses\":{\"inlinedResponses\":"
         "[{\"metadata\":{\"key\":\"a\"},\"response\":{}}]}}}}",
         "{\"key\":\"a\",\"metadata\":{\"key\":\"a\"},\"response\":{}}\n"},
        {"{\"metadata\":{\"output\":{\"responsesFile\":\"files/x\"}}}", NULL},
        {"{}", NULL},
        {"[]", NULL},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        OP_CLEANUP(op_buf_release) struct op_buf lines;
        op_buf_init(&lines, 1 << 20);
        enum op_rc rc = ops->unfold(read_json(cases[i].document), &lines, &err);
        assert_int_equal(rc, cases[i].lines ? OP_OK : OP_INVAL);
        assert_string_equal(lines.ptr, cases[i].lines ? cases[i].lines : "");
    }
}

/* --- single answers ------------------------------------------------------------------------- */

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
        {200, "{\"candidates\":\n []}", OP_OK,
         "{\"key\":\"id-1\",\"response\":{\"candidates\":[]}}", OP_DISP_FATAL},
        {400, "{\"error\":{\"code\":400,\"message\":\"m\",\"status\":\"INVALID_ARGUMENT\"}}",
         OP_OK, "{\"key\":\"id-1\",\"error\":{\"code\":3,\"message\":\"m\"}}", OP_DISP_FATAL},
        {404, "{\"error\":{\"code\":404,\"message\":\"m\",\"status\":\"NOT_FOUND\"}}", OP_OK,
         "{\"key\":\"id-1\",\"error\":{\"code\":5,\"message\":\"m\"}}", OP_DISP_FATAL},
        {400,
         "{\"error\":{\"code\":400,\"message\":\"API key not valid\",\"status\":"
         "\"INVALID_ARGUMENT\"}}",
         OP_REMOTE, "API key not valid", OP_DISP_PAUSE},
        {404, "<html>", OP_REMOTE, "404", OP_DISP_RETRY},
        {429,
         "{\"error\":{\"code\":429,\"message\":\"slow\",\"status\":\"RESOURCE_EXHAUSTED\","
         "\"details\":[{\"@type\":\"google.rpc.RetryInfo\",\"retryDelay\":\"2s\"}]}}",
         OP_REMOTE, "slow", OP_DISP_RETRY_AFTER},
        {503, "{\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}",
         OP_REMOTE, "busy", OP_DISP_RETRY},
        {200, "<html>", OP_REMOTE, "no JSON", OP_DISP_AMBIGUOUS},
        {200, "[]", OP_REMOTE, "no JSON", OP_DISP_AMBIGUOUS},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_http_reply reply;
        make_reply(&reply, cases[i].status, "", cases[i].body);
        OP_CLEANUP(op_buf_release) struct op_buf line;
        op_buf_init(&line, 4096);
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(ops->fold(OP_STR("id-1"), &reply, &line, &err), cases[i].rc);
        if (cases[i].rc == OP_OK) {
            assert_string_equal(line.ptr, cases[i].line);
        } else {
            assert_mentions(err.msg, cases[i].line);
            assert_int_equal(err.disp, cases[i].disp);
        }
        drop_reply(&reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers, set_up_scratch, tear_down_scratch),
        cmocka_unit_test_setup_teardown(test_refusals, set_up_scratch, tear_down_scratch),
        cmocka_unit_test_setup_teardown(test_usage, set_up_scratch, tear_down_scratch),
        cmocka_unit_test_setup_teardown(test_embeddings, set_up_scratch, tear_down_scratch),
        cmocka_unit_test_setup_teardown(test_errored, set_up_scratch, tear_down_scratch),
        cmocka_unit_test_setup_teardown(test_no_result_line, set_up_scratch, tear_down_scratch),
        cmocka_unit_test_setup_teardown(test_garbage_types, set_up_scratch, tear_down_scratch),
        cmocka_unit_test_setup_teardown(test_unfold, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fold, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
