/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: what a line of an output or error file means, at OpenAI, at the houses that copy it and
 *            from vLLM's run-batch; and a realtime reply as such a line.
 * Oracle:    the documented objects and the lines seen on the wire (reference/openai.md 4 and 9.1);
 *            for usage the sum: every token counts once. A folded reply must decode as the line the
 *            batch would have brought.
 */
#include <stdio.h>

#include "support_openai.h"

static const struct op_provider_ops *const ops = &op_provider_openai;

#define OK_LINE(body)                                                                \
    "{\"id\":\"batch_req_1\",\"custom_id\":\"a\",\"response\":{\"status_code\":200," \
    "\"request_id\":\"req_1\",\"body\":" body "},\"error\":null}"
#define BAD_LINE(status, body)                                                          \
    "{\"id\":\"batch_req_1\",\"custom_id\":\"a\",\"response\":{\"status_code\":" status \
    ",\"request_id\":\"\",\"body\":" body "},\"error\":null}"
#define NO_LINE(error) "{\"custom_id\":\"a\",\"response\":null,\"error\":" error "}"
#define API_ERROR(type, code, message)                         \
    "{\"error\":{\"message\":\"" message "\",\"type\":\"" type \
    "\",\"param\":null,\"code\":" code "}}"

#define RESPONSE(status, output)                                                                    \
    "{\"id\":\"resp_1\",\"object\":\"response\",\"model\":\"gpt-6-luna-2026\",\"status\":\"" status \
    "\",\"output\":[" output "]"
#define REASONING                                                                      \
    "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\"," \
    "\"text\":\"hm\"}]}"
#define MESSAGE(parts) "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[" parts "]}"
#define TEXT(text)     "{\"type\":\"output_text\",\"text\":\"" text "\",\"annotations\":[]}"
#define CHAT(finish, message)                                                                      \
    "{\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":[{\"index\":0,\"finish_reason\":" \
    "\"" finish "\",\"message\":" message ",\"logprobs\":null}]}"

struct want {
    const char *line;
    enum op_result_class class_;
    const char *text, *stop, *error_type, *message;
    enum op_disp disp;
};

static const struct want responses[] = {
    {OK_LINE(RESPONSE("completed", REASONING "," MESSAGE(TEXT("A\\nB"))) "}"),
     OP_RESULT_SUCCEEDED, "A\nB", "completed", NULL, NULL, 0},
    {OK_LINE(RESPONSE("completed", MESSAGE(TEXT("A") "," TEXT(
                                       "B")) ",{\"type\":\"new\"}," MESSAGE(TEXT("C"))) "}"),
     OP_RESULT_SUCCEEDED, "ABC", "completed", NULL, NULL, 0},
    {OK_LINE(RESPONSE(
         "completed",
         "{\"type\":\"message\",\"phase\":\"commentary\",\"content\":[" TEXT(
             "x") "]},"
                  "{\"type\":\"message\",\"phase\":\"final_answer\",\"content\":[" TEXT(
                      "y") "]}") "}"),
     OP_RESULT_SUCCEEDED, "y", "completed", NULL, NULL, 0},
    {OK_LINE(RESPONSE("completed", REASONING) "}"), OP_RESULT_SUCCEEDED, NULL, "completed",
     NULL, NULL, 0},
    {OK_LINE(
         RESPONSE("completed", MESSAGE("{\"type\":\"refusal\",\"refusal\":\"I cannot\"}")) "}"),
     OP_RESULT_REFUSED, NULL, "completed", "refusal", "I cannot", 0},
    {OK_LINE(RESPONSE(
         "incomplete",
         REASONING "," MESSAGE(TEXT(
             "{\\\"a\\\":"))) ","
                              "\"incomplete_details\":{\"reason\":\"max_output_tokens\"}}"),
     OP_RESULT_TRUNCATED, "{\"a\":", "max_output_tokens", NULL, NULL, 0},
    {OK_LINE(
         RESPONSE("incomplete", "") ",\"incomplete_details\":{\"reason\":\"content_filter\"}}"),
     OP_RESULT_REFUSED, NULL, "content_filter", "refusal", "content_filter", 0},
    {OK_LINE(
         RESPONSE("failed", "") ",\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}"),
     OP_RESULT_ERRORED, NULL, "failed", "server_error", "m", OP_DISP_RETRY},
    {OK_LINE(
         RESPONSE("failed", "") ",\"error\":{\"code\":\"invalid_prompt\",\"message\":\"m\"}}"),
     OP_RESULT_ERRORED, NULL, "failed", "invalid_prompt", "m", OP_DISP_REJECT},
    {OK_LINE(RESPONSE("failed", "") ",\"error\":{\"code\":\"bio_policy\",\"message\":\"m\"}}"),
     OP_RESULT_ERRORED, NULL, "failed", "bio_policy", "m", OP_DISP_REJECT},
    {OK_LINE(RESPONSE("failed", "") ",\"error\":null}"), OP_RESULT_ERRORED, NULL, "failed",
     "failed", NULL, OP_DISP_RETRY},
    {OK_LINE(RESPONSE("in_progress", "") "}"), OP_RESULT_ERRORED, NULL, "in_progress",
     "in_progress", NULL, OP_DISP_RETRY},
    {OK_LINE(RESPONSE("cancelled", "") "}"), OP_RESULT_CANCELED, NULL, "cancelled", NULL, NULL,
     0},
};

static const struct want chats[] = {
    {OK_LINE(CHAT("stop", "{\"role\":\"assistant\",\"content\":\"A\",\"refusal\":null}")),
     OP_RESULT_SUCCEEDED, "A", "stop", NULL, NULL, 0},
    {OK_LINE(CHAT("stop", "{\"content\":[{\"type\":\"text\",\"text\":\"A\"},{\"type\":\"text\","
                          "\"text\":\"B\"}]}")),
     OP_RESULT_SUCCEEDED, "AB", "stop", NULL, NULL, 0},
    {OK_LINE(CHAT("length", "{\"content\":\"cut\"}")), OP_RESULT_TRUNCATED, "cut", "length",
     NULL, NULL, 0},
    {OK_LINE(CHAT("content_filter", "{\"content\":null}")), OP_RESULT_REFUSED, NULL,
     "content_filter", "refusal", "content_filter", 0},
    {OK_LINE(CHAT("sensitive", "{\"content\":\"\"}")), OP_RESULT_REFUSED, "", "sensitive",
     "refusal", "sensitive", 0},
    {OK_LINE(CHAT("stop", "{\"content\":null,\"refusal\":\"no\"}")), OP_RESULT_REFUSED, NULL,
     "stop", "refusal", "no", 0},
    {OK_LINE(CHAT("network_error", "{\"content\":\"x\"}")), OP_RESULT_ERRORED, "x",
     "network_error", "no_answer", NULL, OP_DISP_RETRY},
    {OK_LINE("{\"choices\":[{\"index\":1,\"message\":{\"content\":\"second\"}},{\"index\":0,"
             "\"finish_reason\":\"stop\",\"message\":{\"content\":\"first\"}}]}"),
     OP_RESULT_SUCCEEDED, "first", "stop", NULL, NULL, 0},
    {OK_LINE("{\"choices\":[]}"), OP_RESULT_ERRORED, NULL, NULL, "no_answer", NULL,
     OP_DISP_RETRY},
    /* Doubleword leaves nulls out, and the id with them */
    {"{\"custom_id\":\"a\",\"response\":{\"status_code\":200,\"body\":" CHAT(
         "stop", "{\"content\":\"A\"}") "}}",
     OP_RESULT_SUCCEEDED, "A", "stop", NULL, NULL, 0},
    {"{\"custom_id\":\"a\",\"response\":{\"body\":" CHAT("stop", "{\"content\":\"A\"}") "}}",
     OP_RESULT_SUCCEEDED, "A", "stop", NULL, NULL, 0},
};

static const struct want vectors[] = {
    {OK_LINE(
         "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":["
         "0.5,-1,2.5e-05]}],\"model\":\"text-embedding-3-small\"}"),
     OP_RESULT_SUCCEEDED, "[0.5,-1,2.5e-05]", NULL, NULL, NULL, 0},
    {OK_LINE("{\"data\":[{\"index\":1,\"embedding\":[2]},{\"index\":0,\"embedding\":[1]}]}"),
     OP_RESULT_SUCCEEDED, "[[1],[2]]", NULL, NULL, NULL, 0},
    {OK_LINE("{\"data\":[{\"embedding\":\"AACAPw==\"}]}"), OP_RESULT_SUCCEEDED,
     "AACAPw==", NULL, NULL, NULL, 0},
};

static const struct want errors[] = {
    {BAD_LINE("400", API_ERROR("invalid_request_error", "\"invalid_schema\"", "m")),
     OP_RESULT_ERRORED, NULL, NULL, "invalid_schema", "m", OP_DISP_REJECT},
    {BAD_LINE("400", API_ERROR("invalid_request_error", "null", "m")), OP_RESULT_ERRORED, NULL,
     NULL, "invalid_request_error", "m", OP_DISP_REJECT},
    {BAD_LINE("429", API_ERROR("insufficient_quota", "\"insufficient_quota\"", "m")),
     OP_RESULT_ERRORED, NULL, NULL, "insufficient_quota", "m", OP_DISP_QUOTA},
    {BAD_LINE("429", API_ERROR("tokens", "\"rate_limit_exceeded\"", "m")), OP_RESULT_ERRORED,
     NULL, NULL, "rate_limit_exceeded", "m", OP_DISP_RETRY},
    {BAD_LINE("401", API_ERROR("x", "null", "m")), OP_RESULT_ERRORED, NULL, NULL, "x", "m",
     OP_DISP_PAUSE},
    {BAD_LINE("500", API_ERROR("server_error", "null", "m")), OP_RESULT_ERRORED, NULL, NULL,
     "server_error", "m", OP_DISP_RETRY},
    {BAD_LINE("503", "{}"), OP_RESULT_ERRORED, NULL, NULL, "http_error", NULL, OP_DISP_RETRY},
    /* an answer and an error at once: no success */
    {"{\"custom_id\":\"a\",\"response\":{\"status_code\":200,\"body\":" CHAT(
         "stop",
         "{\"content\":\"A\"}") "},\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}",
     OP_RESULT_ERRORED, NULL, NULL, "server_error", "m", OP_DISP_RETRY},
    /* counted as completed, and empty */
    {BAD_LINE("0", "{}"), OP_RESULT_ERRORED, NULL, NULL, "no_answer", NULL, OP_DISP_RETRY},
    {BAD_LINE("200", "{}"), OP_RESULT_ERRORED, NULL, NULL, "no_answer", NULL, OP_DISP_RETRY},
    {BAD_LINE("200", "null"), OP_RESULT_ERRORED, NULL, NULL, "http_error", NULL, OP_DISP_RETRY},
    {NO_LINE(
         "{\"code\":\"batch_expired\",\"message\":\"This request could not be executed before "
         "the completion window expired.\"}"),
     OP_RESULT_EXPIRED, NULL, NULL, NULL, NULL, 0},
    {NO_LINE("{\"code\":\"batch_cancelled\",\"message\":\"m\"}"), OP_RESULT_CANCELED, NULL,
     NULL, NULL, NULL, 0},
    {NO_LINE("{\"code\":\"request_timeout\",\"message\":\"m\"}"), OP_RESULT_ERRORED, NULL, NULL,
     "request_timeout", "m", OP_DISP_RETRY},
    {NO_LINE("{\"code\":\"InvalidParameter\",\"message\":\"m\"}"), OP_RESULT_ERRORED, NULL,
     NULL, "InvalidParameter", "m", OP_DISP_RETRY},
    {NO_LINE("{\"code\":\"invalid_model\",\"message\":\"m\"}"), OP_RESULT_ERRORED, NULL, NULL,
     "invalid_model", "m", OP_DISP_REJECT},
    /* vLLM's run-batch: a text, or the whole error; body null beside a status */
    {"{\"id\":\"vllm-1\",\"custom_id\":\"a\",\"response\":{\"status_code\":400,\"request_id\":"
     "\"vllm-batch-1\",\"body\":null},\"error\":\"bad line\"}",
     OP_RESULT_ERRORED, NULL, NULL, "http_error", "bad line", OP_DISP_REJECT},
    {"{\"id\":\"vllm-1\",\"custom_id\":\"a\",\"response\":{\"status_code\":404,\"body\":null},"
     "\"error\":{\"error\":{\"message\":\"m\",\"type\":\"NotFoundError\",\"param\":null,\"code\":"
     "404}}}",
     OP_RESULT_ERRORED, NULL, NULL, "NotFoundError", "m", OP_DISP_REJECT},
    {"{\"id\":\"vllm-1\",\"custom_id\":\"a\",\"response\":{\"status_code\":200,\"body\":" CHAT(
         "stop", "{\"content\":\"A\"}") "},\"error\":null}",
     OP_RESULT_SUCCEEDED, "A", "stop", NULL, NULL, 0},
};

static void check(const struct want *w)
{
    struct op_err err = OP_ERR_INIT;
    struct op_result r;
    OP_CLEANUP(op_buf_release) struct op_buf scratch;
    op_buf_init(&scratch, 1 << 20);
    if (ops->decode_result(read_json(w->line), &scratch, &r, &err))
        fail_msg("%s: %s", w->line, err.msg);
    assert_str(r.custom_id, "a");
    if (r.class_ != w->class_)
        fail_msg("%s: %s", w->line, op_result_class_name(r.class_));
    assert_str(r.text, w->text);
    assert_str(r.stop, w->stop);
    assert_str(r.error_type, w->error_type);
    assert_str(r.error_message, w->message);
    if (r.class_ == OP_RESULT_ERRORED && r.disp != w->disp)
        fail_msg("%s: %s", w->line, op_disp_name(r.disp));
}

static void test_responses(void **state)
{
    (void)state;
    for (size_t i = 0; i < OP_COUNT(responses); i++)
        check(&responses[i]);
}

static void test_chats(void **state)
{
    (void)state;
    for (size_t i = 0; i < OP_COUNT(chats); i++)
        check(&chats[i]);
}

static void test_embeddings(void **state)
{
    (void)state;
    for (size_t i = 0; i < OP_COUNT(vectors); i++)
        check(&vectors[i]);
}

static void test_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < OP_COUNT(errors); i++)
        check(&errors[i]);
}

static void test_no_line(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "{}",
        "[]",
        "7",
        "{\"custom_id\":\"\",\"response\":{\"status_code\":200,\"body\":{}}}",
        "{\"custom_id\":7,\"response\":null,\"error\":{\"code\":\"batch_expired\"}}",
        "{\"custom_id\":\"a\",\"response\":null,\"error\":null}",
        "{\"custom_id\":\"a\"}",
        OK_LINE("{\"data\":[{\"index\":5,\"embedding\":[1]}]}"),
    };
    for (size_t i = 0; i < OP_COUNT(lines); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_result r;
        struct op_buf scratch;
        op_buf_init(&scratch, 1000);
        assert_int_equal(ops->decode_result(read_json(lines[i]), &scratch, &r, &err), OP_INVAL);
        assert_true(err.msg[0]);
        op_buf_release(&scratch);
    }
}

/* --- usage ---------------------------------------------------------------------------------- */

static void test_usage(void **state)
{
    (void)state;
    static const struct {
        const char *usage;
        bool has;
        int64_t input, read, write, output;
    } cases[] = {
        {"{\"input_tokens\":100,\"input_tokens_details\":{\"cached_tokens\":60,"
         "\"cache_write_tokens\":10},\"output_tokens\":50,\"output_tokens_details\":{"
         "\"reasoning_tokens\":40},\"total_tokens\":150}",
         true, 30, 60, 10, 50},
        {"{\"prompt_tokens\":100,\"completion_tokens\":50,\"total_tokens\":150,"
         "\"prompt_tokens_details\":{\"cached_tokens\":60},\"completion_tokens_details\":{"
         "\"reasoning_tokens\":40}}",
         true, 40, 60, 0, 50},
        {"{\"prompt_tokens\":8,\"total_tokens\":8}", true, 8, 0, 0, 0},
        {"{\"prompt_tokens\":8,\"completion_tokens\":1,\"cached_tokens\":3}", true, 5, 3, 0, 1},
        {"{\"prompt_tokens\":5,\"completion_tokens\":1,\"prompt_tokens_details\":null}", true,
         5, 0, 0, 1},
        /* more cached than read: nonsense must not make tokens */
        {"{\"input_tokens\":5,\"input_tokens_details\":{\"cached_tokens\":9,"
         "\"cache_write_tokens\":9},\"output_tokens\":-3}",
         true, 0, 5, 0, 0},
        {"null", false, 0, 0, 0, 0},
        {"{\"total_tokens\":5}", false, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_result r;
        struct op_buf scratch;
        op_buf_init(&scratch, 1000);
        OP_CLEANUP(op_mem_freep)
        char *line = op_mem_printf(
            OK_LINE("{\"choices\":[{\"message\":{\"content\":\"A\"}}],\"usage\":%s}"),
            cases[i].usage);
        assert_int_equal(ops->decode_result(read_json(line), &scratch, &r, &err), OP_OK);
        assert_int_equal(r.has_usage, cases[i].has);
        if (r.has_usage) {
            assert_int_equal(r.usage.tokens[OP_TOKEN_INPUT], cases[i].input);
            assert_int_equal(r.usage.tokens[OP_TOKEN_READ], cases[i].read);
            assert_int_equal(r.usage.tokens[OP_TOKEN_WRITE_5M], cases[i].write);
            assert_int_equal(r.usage.tokens[OP_TOKEN_WRITE_1H], 0);
            assert_int_equal(r.usage.tokens[OP_TOKEN_OUTPUT], cases[i].output);
        }
        op_buf_release(&scratch);
    }
}

/* --- the realtime lane ---------------------------------------------------------------------- */

static void test_fold(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *headers, *body;
        enum op_rc rc;
        enum op_disp disp; /* of the error, or of the errored result */
        enum op_result_class class_;
    } cases[] = {
        {200, "x-request-id: r\r\n", "{\n\"choices\": [{\"message\": {\"content\": \"A\"}}]\n}",
         OP_OK, 0, OP_RESULT_SUCCEEDED},
        {200, "", RESPONSE("completed", MESSAGE(TEXT("A"))) "}", OP_OK, 0, OP_RESULT_SUCCEEDED},
        {400, "", API_ERROR("invalid_request_error", "null", "m"), OP_OK, OP_DISP_REJECT,
         OP_RESULT_ERRORED},
        {404, "", API_ERROR("invalid_request_error", "\"model_not_found\"", "m"), OP_OK,
         OP_DISP_REJECT, OP_RESULT_ERRORED},
        {422, "", API_ERROR("x", "null", "m"), OP_OK, OP_DISP_REJECT, OP_RESULT_ERRORED},
        {400, "", API_ERROR("x", "\"billing_hard_limit_reached\"", "m"), OP_REMOTE,
         OP_DISP_QUOTA, 0},
        {429, "", API_ERROR("insufficient_quota", "null", "m"), OP_REMOTE, OP_DISP_QUOTA, 0},
        {429, "retry-after: 1\r\n", API_ERROR("x", "\"rate_limit_exceeded\"", "m"), OP_REMOTE,
         OP_DISP_RETRY_AFTER, 0},
        {401, "", API_ERROR("x", "\"invalid_api_key\"", "m"), OP_REMOTE, OP_DISP_PAUSE, 0},
        {503, "", "<html>", OP_REMOTE, OP_DISP_RETRY, 0},
        {404, "", "<html>", OP_NOTFOUND, OP_DISP_RETRY, 0},
        {400, "", "<html>", OP_REMOTE, OP_DISP_REJECT, 0},
        {200, "", "<html>", OP_REMOTE, OP_DISP_AMBIGUOUS, 0},
        {200, "", "null", OP_REMOTE, OP_DISP_AMBIGUOUS, 0},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_http_reply reply;
        struct op_buf line, scratch;
        op_buf_init(&line, 1 << 20);
        op_buf_init(&scratch, 1 << 20);
        make_reply(&reply, cases[i].status, cases[i].headers, cases[i].body);
        enum op_rc rc = ops->fold(OP_STR("a"), &reply, &line, &err);
        if (rc != cases[i].rc)
            fail_msg("case %zu: %s", i, err.msg);
        if (rc) {
            assert_int_equal(err.disp, cases[i].disp);
            assert_int_equal(line.len, 0);
        } else {
            struct op_result r;
            assert_null(memchr(line.ptr, '\n', line.len));
            assert_int_equal(ops->decode_result(read_json(line.ptr), &scratch, &r, &err),
                             OP_OK);
            assert_str(r.custom_id, "a");
            assert_int_equal(r.class_, cases[i].class_);
            assert_int_equal(r.disp, cases[i].disp);
            assert_str(r.text, r.class_ == OP_RESULT_SUCCEEDED ? "A" : NULL);
        }
        drop_reply(&reply);
        op_buf_release(&line);
        op_buf_release(&scratch);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_responses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_chats, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_embeddings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_usage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fold, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
