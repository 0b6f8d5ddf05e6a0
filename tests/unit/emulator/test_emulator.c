/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the emulator as a client sees it: the life of a batch, errors, every fault, restarts,
 *            and what is on the bill.
 * Oracle:    answers written by hand after the API reference; the bill, counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>
#include <strings.h>

#include "running.h"

#define AUTH     "X-Api-Key: k\r\nanthropic-version: 2023-06-01\r\n"
#define AUTH_NEW "Authorization: Bearer k\r\nanthropic-version: 2026-10-21\r\n"
#define PARAMS                                                                            \
    "{\"model\":\"claude-haiku-4-5\",\"max_tokens\":50,\"messages\":[{\"role\":\"user\"," \
    "\"content\":\"one two three\"}]}"
#define ONE "{\"requests\":[{\"custom_id\":\"a\",\"params\":" PARAMS "}]}"
#define TWO                                                                            \
    "{\"requests\":[{\"custom_id\":\"a\",\"params\":" PARAMS "},{\"custom_id\":\"b\"," \
    "\"params\":" PARAMS "}]}"
#define BATCHES "/v1/messages/batches"

static void send_to(struct reply *reply, const char *method, const char *path, const char *body)
{
    reply_get(reply, op_emulator_url(emulator), method, path, AUTH, body);
}

static char *create(const char *body)
{
    struct reply reply;
    send_to(&reply, "POST", BATCHES, body);
    assert_int_equal(reply.status, 200);
    struct op_str id = text_at(&reply, "/id");
    char *path = op_mem_printf(BATCHES "/" OP_STR_FMT, OP_STR_ARG(id));
    reply_release(&reply);
    return path;
}

/* Asks until the batch has ended; its last answer is handed over. */
static void wait_end(const char *path, struct reply *reply)
{
    for (int i = 0; i < 200000; i++) {
        send_to(reply, "GET", path, "");
        assert_int_equal(reply->status, 200);
        if (op_str_is(text_at(reply, "/processing_status"), "ended"))
            return;
        reply_release(reply);
    }
    fail_msg("%s does not end", path);
}

/* The results of one fresh batch. */
static void results_of(const char *body, struct reply *reply)
{
    OP_CLEANUP(op_mem_freep) char *path = create(body);
    OP_CLEANUP(op_mem_freep) char *results = op_mem_printf("%s/results", path);
    wait_end(path, reply);
    reply_release(reply);
    send_to(reply, "GET", results, "");
}

static void test_life(void **state)
{
    (void)state;
    struct reply reply;
    start(3600000, 1, NULL, NULL);
    OP_CLEANUP(op_mem_freep) char *path = create(TWO);
    OP_CLEANUP(op_mem_freep) char *results = op_mem_printf("%s/results", path);
    OP_CLEANUP(op_mem_freep) char *cancel = op_mem_printf("%s/cancel", path);
    assert_int_equal(on_bill("\"state\":\"accepted\""), 2);
    send_to(&reply, "GET", path, "");
    assert_true(op_str_starts(reply.body, "{\"id\":\"msgbatch_01"));
    assert_int_equal(
        count_in(reply.body,
                 "\"type\":\"message_batch\",\"processing_status\":\"in_progress\","
                 "\"request_counts\":{\"processing\":2,\"succeeded\":0,\"errored\":0,"
                 "\"canceled\":0,\"expired\":0},\"ended_at\":null,\"created_at\":"),
        1);
    assert_int_equal(count_in(reply.body,
                              "+00:00\",\"archived_at\":null,\"cancel_initiated_at\":"
                              "null,\"results_url\":null}"),
                     1);
    assert_true(op_str_is(reply_header(&reply, "retry-after"), "10"));
    assert_true(op_str_starts(reply_header(&reply, "request-id"), "req_"));
    assert_non_null(reply_header(&reply, "anthropic-organization-id").ptr);
    assert_non_null(reply_header(&reply, "anthropic-ratelimit-requests-limit").ptr);
    reply_release(&reply);
    send_to(&reply, "GET", results, "");
    assert_int_equal(reply.status, 404);
    assert_int_equal(count_in(text_at(&reply, "/error/message"), "has no available results."),
                     1);
    reply_release(&reply);
    send_to(&reply, "DELETE", path, "");
    assert_int_equal(reply.status, 400);
    reply_release(&reply);
    for (int i = 0; i < 2; i++) { /* repeating it changes nothing */
        send_to(&reply, "POST", cancel, "");
        assert_text(&reply, "/processing_status", "canceling");
        assert_int_equal(
            op_json_int(op_json_pointer(parsed(&reply), OP_STR("/request_counts/processing")),
                        0),
            2);
        reply_release(&reply);
    }
    start(3600000, 100000, NULL, NULL); /* restarted, the cancel is carried out */
    wait_end(path, &reply);
    assert_int_equal(
        op_json_int(op_json_pointer(parsed(&reply), OP_STR("/request_counts/canceled")), 0), 2);
    assert_true(op_str_ends(text_at(&reply, "/results_url"), "/results"));
    reply_release(&reply);
    send_to(&reply, "POST", cancel, "");
    assert_int_equal(reply.status, 400);
    reply_release(&reply);
    send_to(&reply, "GET", results, "");
    assert_int_equal(count_in(reply.body, "\"result\":{\"type\":\"canceled\"}}"), 2);
    assert_int_equal(count_in(reply.body, "\n"), 1);
    reply_release(&reply);
    assert_int_equal(on_bill("\"state\":\"canceled\""), 2);
    assert_int_equal(on_bill("\"state\":\"succeeded\""), 0);
    send_to(&reply, "DELETE", path, "");
    assert_text(&reply, "/type", "message_batch_deleted");
    reply_release(&reply);
    send_to(&reply, "GET", path, "");
    assert_int_equal(reply.status, 404);
    reply_release(&reply);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *headers, *body;
        int status;
        const char *message;
    } rows[] = {
        {"POST", BATCHES, AUTH, "{\"requests\":[]}", 400,
         "requests: List should have at least 1 item after validation, not 0"},
        {"POST", BATCHES, AUTH, "{}", 400, "requests: Field required"},
        {"POST", BATCHES, AUTH, "{\"requests\":7}", 400,
         "requests: Input should be a valid list"},
        {"POST", BATCHES, AUTH, "{\"requests\":[{}]}", 400,
         "requests.0.custom_id: Field required"},
        {"POST", BATCHES, AUTH, "{\"requests\":[{\"custom_id\":\"a b\",\"params\":{}}]}", 400,
         "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"},
        {"POST", BATCHES, AUTH, "{\"requests\":[{\"custom_id\":\"a\"}]}", 400,
         "requests.0.params: Field required"},
        {"POST", BATCHES, AUTH, "{\"requests\":[{\"custom_id\":\"a\",\"params\":{},\"x\":1}]}",
         400, "requests.0.x: Extra inputs are not permitted"},
        {"POST", BATCHES, AUTH,
         "{\"requests\":[{\"custom_id\":\"d\",\"params\":{}},"
         "{\"custom_id\":\"d\",\"params\":{}}]}",
         400,
         "requests: custom_id's must be unique within a batch. Duplicate custom_id found: d"},
        {"POST", BATCHES, AUTH, "{\"requests\":[{\"custom_id\":\"d\",\"params\":{}}],\"y\":1}",
         400, "y: Extra inputs are not permitted"},
        {"POST", BATCHES, "anthropic-version: 2023-06-01\r\n", ONE, 401,
         "x-api-key header is required"},
        {"POST", BATCHES, "X-Api-Key: k\r\n", ONE, 400,
         "anthropic-version: header is required"},
        {"GET", BATCHES "?limit=0", AUTH, "", 400,
         "limit: Input should be greater than or equal to 1"},
        {"GET", BATCHES "?limit=1001", AUTH, "", 400,
         "limit: Input should be less than or equal to 1000"},
        {"GET", BATCHES "/msgbatch_x", AUTH, "", 404, "Message Batch msgbatch_x not found."},
        {"GET", "/v1/nothing", AUTH, "", 404, "Not found"},
        {"PUT", BATCHES, AUTH, "", 404, "Not found"},
        {"GET", "/v1/models/gpt-5", AUTH, "", 404, "model: gpt-5"},
        {"POST", "/v1/messages", AUTH, "{\"model\":\"claude-x\",\"messages\":[]}", 400,
         "messages: at least one message is required"},
        {"POST", "/v1/messages", AUTH,
         "{\"model\":\"claude-x\",\"messages\":[{\"role\":\"user\","
         "\"content\":\"x\"}]}",
         400, "max_tokens: Field required"},
        {"POST", "/v1/messages", AUTH_NEW,
         "{\"model\":\"claude-x\",\"max_tokens\":5,\"top_k\":1,"
         "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
         400, "top_k: Extra inputs are not permitted"},
        {"POST", "/v1/messages", AUTH,
         "{\"model\":\"gpt-5\",\"max_tokens\":5,\"messages\":"
         "[{\"role\":\"user\",\"content\":\"x\"}]}",
         404, "model: gpt-5"},
    };
    start(1000, 1, NULL, NULL);
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct reply reply;
        reply_get(&reply, op_emulator_url(emulator), rows[i].method, rows[i].path,
                  rows[i].headers, rows[i].body);
        assert_text(&reply, "/error/message", rows[i].message);
        assert_text(&reply, "/type", "error");
        assert_int_equal(reply.status, rows[i].status);
        assert_true(
            op_str_eq(text_at(&reply, "/request_id"), reply_header(&reply, "request-id")));
        assert_true(op_str_is(reply_header(&reply, "x-should-retry"), "false"));
        reply_release(&reply);
    }
    struct reply reply;
    send_to(&reply, "POST", BATCHES, "{\"requests\":[{]}");
    assert_true(op_str_starts(text_at(&reply, "/error/message"),
                              "The request body is not valid JSON: "));
    reply_release(&reply);
    assert_int_equal(on_bill("\n"), 0);
}

static void test_deferred(void **state)
{
    (void)state;
    static const struct {
        const char *params, *message;
    } rows[] = {
        {"{\"model\":\"claude-haiku-4-5\",\"max_tokens\":5}", "messages: Field required"},
        {"{\"model\":\"claude-does-not-exist-9\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\","
         "\"content\":\"x\"}]}",
         "model: claude-does-not-exist-9"},
        {"{\"model\":\"claude-haiku-4-5\",\"max_tokens\":100000,\"messages\":[{\"role\":\"user\","
         "\"content\":\"x\"}]}",
         "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens for"
         " claude-haiku-4-5"},
        {"{\"model\":\"claude-haiku-4-5\",\"max_tokens\":0,\"messages\":[{\"role\":\"user\","
         "\"content\":\"x\"}]}",
         "max_tokens: must be greater than or equal to 1"},
        {"{\"model\":\"claude-haiku-4-5\",\"max_tokens\":9,\"stream\":true,\"messages\":[{\"role\":"
         "\"user\",\"content\":\"x\"}]}",
         "\\\"stream=True\\\" is not supported in the Message Batches API"},
        {"{\"model\":\"claude-haiku-4-5\",\"max_tokens\":9,\"zap\":1,\"messages\":[{\"role\":"
         "\"user\",\"content\":\"x\"}]}",
         "zap: Extra inputs are not permitted"},
        {"{\"model\":\"claude-opus-5-5\",\"max_tokens\":9,\"messages\":[{\"role\":\"assistant\","
         "\"content\":\"x\"}]}",
         "This model does not support assistant message prefill."},
        {"{\"model\":\"claude-opus-5-5\",\"max_tokens\":9,\"top_k\":4,\"messages\":[{\"role\":"
         "\"user\",\"content\":\"x\"}]}",
         "top_k: only the default value"},
        {"{\"model\":\"claude-haiku-4-5\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\","
         "\"content\":\"x\"}],\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":"
         "{\"type\":\"object\"}}}}",
         "'additionalProperties' must be explicitly set to false"},
    };
    start(1, 1, NULL, NULL);
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct reply reply;
        OP_CLEANUP(op_mem_freep)
        char *body = op_mem_printf("{\"requests\":[{\"custom_id\":\"bad\",\"params\":%s},"
                                   "{\"custom_id\":\"good\",\"params\":" PARAMS "}]}",
                                   rows[i].params);
        results_of(body, &reply);
        assert_int_equal(count_in(reply.body, "\"type\":\"succeeded\""), 1);
        assert_int_equal(count_in(reply.body,
                                  "\"type\":\"errored\",\"error\":{\"type\":\"error\","
                                  "\"error\":{\"details\":{\"error_visibility\":"
                                  "\"user_facing\"},\"type\":\""),
                         1);
        if (count_in(reply.body, rows[i].message) != 1)
            fail_msg("no '%s' in " OP_STR_FMT, rows[i].message, OP_STR_ARG(reply.body));
        reply_release(&reply);
    }
    assert_int_equal(on_bill("\"state\":\"errored\""), (int)OP_COUNT(rows));
}

/* What one request meets, with one rule. */
static void test_request_faults(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        int status;       /* 0: closed without an answer */
        const char *says; /* in head or body */
        int billed;
    } rows[] = {
        {"{\"on\":\"create\",\"do\":\"drop_before_commit\"}", 0, "", 0},
        {"{\"on\":\"create\",\"do\":\"drop_before_commit\",\"reset\":true}", 0, "", 0},
        {"{\"on\":\"create\",\"do\":\"drop_after_commit\"}", 0, "", 1},
        {"{\"on\":\"create\",\"do\":\"accept_late\"}", 0, "", 0}, /* not before its time */
        {"{\"on\":\"create\",\"do\":\"status_before_commit\",\"status\":529}", 529,
         "overloaded_error", 0},
        {"{\"on\":\"create\",\"do\":\"status_before_commit\",\"status\":429,\"headers\":"
         "{\"retry-after\":\"7\"},\"message\":\"slow down\"}",
         429, "retry-after: 7", 0},
        {"{\"on\":\"create\",\"do\":\"status_before_commit\",\"status\":503,\"body\":\"busy\"}",
         503, "busy", 0},
        {"{\"on\":\"create\",\"do\":\"status_after_commit\",\"status\":504}", 504,
         "timeout_error", 1},
        {"{\"on\":\"create\",\"do\":\"html_body\",\"status\":413}", 413, "<h1>413</h1>", 0},
        {"{\"on\":\"create\",\"do\":\"spend_cap\"}", 429, "enforced_spend_limit_reached", 0},
        {"{\"on\":\"create\",\"do\":\"queue_limit\",\"lines\":0}", 429, "rate_limit_error", 0},
        {"{\"on\":\"create\",\"do\":\"queue_limit\",\"lines\":99}", 200, "msgbatch_", 1},
        {"{\"on\":\"create\",\"do\":\"not_found\"}", 404, "not_found_error", 0},
        {"{\"on\":\"create\",\"do\":\"hang\",\"ms\":1}", 200, "msgbatch_", 1},
        {"{\"on\":\"create\",\"do\":\"hang_before\",\"ms\":1}", 200, "msgbatch_", 1},
        {"{\"on\":\"create\",\"do\":\"retry_after\",\"seconds\":33}", 200, "retry-after: 33",
         1},
        {"{\"on\":\"create\",\"do\":\"extra_fields\"}", 200, "\"priority\"", 1},
        {"{\"on\":\"create\",\"do\":\"z_timestamps\"}", 200, "Z\",\"expires_at\"", 1},
        {"{\"on\":\"create\",\"do\":\"unknown_status\"}", 200, "reticulating", 1},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct reply reply;
        start(3600000, 1, rows[i].rule, NULL);
        int before = on_bill("accepted");
        send_to(&reply, "POST", BATCHES, ONE);
        if (reply.status != rows[i].status)
            fail_msg("%s: status %d", rows[i].rule, reply.status);
        struct op_str all = op_buf_str(&reply.all);
        if (count_in(all, rows[i].says) < 1 && reply.status)
            fail_msg("%s: no '%s' in " OP_STR_FMT, rows[i].rule, rows[i].says, OP_STR_ARG(all));
        assert_int_equal(on_bill("accepted") - before, rows[i].billed);
        reply_release(&reply);
    }
}

static void test_line_faults(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        const char *says;
        int times, lines;
    } rows[] = {
        {"{\"do\":\"drop_line\",\"match\":\"\\\"a\\\"\"}", "\"custom_id\":\"a\"", 0, 1},
        {"{\"do\":\"duplicate_line\",\"match\":\"\\\"a\\\"\"}", "\"custom_id\":\"a\"", 2, 3},
        {"{\"do\":\"corrupt_line\",\"nth\":1}", "}}}}", 1, 2},
        {"{\"do\":\"rename_id\",\"nth\":1}", "-renamed\"", 1, 2},
        {"{\"do\":\"null_id\",\"nth\":2}", "\"custom_id\":null", 1, 2},
        {"{\"do\":\"expire_line\",\"nth\":1}", "{\"type\":\"expired\"}", 1, 2},
        {"{\"do\":\"cancel_line\",\"nth\":1}", "{\"type\":\"canceled\"}", 1, 2},
        {"{\"on\":\"results\",\"do\":\"error_line\",\"type\":\"overloaded_error\"}",
         "\"details\":null,\"type\":\"overloaded_error\"", 2, 2},
        {"{\"on\":\"results\",\"do\":\"refusal\",\"nth\":1}", "\"stop_reason\":\"refusal\"", 1,
         2},
        {"{\"on\":\"results\",\"do\":\"truncated_answer\",\"nth\":1}",
         "\"stop_reason\":\"max_tokens\"", 1, 2},
        {"{\"on\":\"results\",\"do\":\"invalid_answer\",\"how\":\"empty\"}", "\"content\":[]",
         2, 2},
        {"{\"on\":\"results\",\"do\":\"truncate_results\"}", "succeeded", 1, 1},
        {"{\"on\":\"results\",\"do\":\"no_content_type\"}", "succeeded", 2, 2},
        {"{\"on\":\"create\",\"do\":\"no_shuffle\"}", "succeeded", 2, 2},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct reply reply;
        start(1, 1, rows[i].rule, NULL);
        int before = on_bill("\n");
        results_of(TWO, &reply);
        assert_int_equal(reply.status, 200);
        assert_true(reply.whole);
        if (count_in(reply.body, rows[i].says) != rows[i].times)
            fail_msg("%s: " OP_STR_FMT, rows[i].rule, OP_STR_ARG(reply.body));
        OP_CLEANUP(op_mem_freep) char *copy = op_mem_strndup(reply.body.ptr, reply.body.len);
        int lines = reply.body.len > 0;
        for (const char *at = copy; *at; at++)
            lines += at[0] == '\n' && at[1];
        assert_int_equal(lines, rows[i].lines);
        bool typed = reply_header(&reply, "content-type").ptr != NULL;
        assert_int_equal(typed, strstr(rows[i].rule, "no_content_type") == NULL);
        assert_int_equal(on_bill("\n") - before, 4);
        reply_release(&reply);
    }
}

static void test_cut(void **state)
{
    (void)state;
    struct reply reply;
    start(1, 1,
          "{\"on\":\"results\",\"do\":\"cut_body\",\"nth\":1,\"bytes\":100}\n"
          "{\"on\":\"list\",\"do\":\"cut_body\"}",
          NULL);
    results_of(TWO, &reply);
    assert_int_equal(reply.status, 200);
    assert_false(reply.whole);
    assert_int_equal(reply.body.len, 100);
    reply_release(&reply);
    send_to(&reply, "GET", BATCHES, "");
    assert_int_equal(reply.status, 200);
    assert_false(reply.whole);
    reply_release(&reply);
}

static int64_t listed(void)
{
    struct reply reply;
    send_to(&reply, "GET", BATCHES, "");
    int64_t count = (int64_t)op_json_count(op_json_pointer(parsed(&reply), OP_STR("/data")));
    reply_release(&reply);
    return count;
}

static int status_of(const char *path)
{
    struct reply reply;
    send_to(&reply, "GET", path, "");
    reply_release(&reply);
    return reply.status;
}

static void test_batch_faults(void **state)
{
    (void)state;
    struct reply reply;
    start(3600000, 1,
          "{\"do\":\"list_lag\",\"nth\":1}\n{\"do\":\"vanish\",\"nth\":2}\n"
          "{\"do\":\"flap_after_create\",\"nth\":3,\"count\":2}\n",
          NULL);
    OP_CLEANUP(op_mem_freep) char *lags = create(ONE);
    OP_CLEANUP(op_mem_freep) char *gone = create(ONE);
    OP_CLEANUP(op_mem_freep) char *flaps = create(ONE);
    assert_int_equal(listed(), 1);
    assert_int_equal(status_of(lags), 200);
    assert_int_equal(status_of(gone), 404);
    assert_int_equal(status_of(flaps), 404);
    assert_int_equal(status_of(flaps), 404);
    assert_int_equal(status_of(flaps), 200);

    /* A day is 86 milliseconds. */
    start(1000, 1000000,
          "{\"do\":\"expire\",\"nth\":1}\n{\"do\":\"never_end\",\"nth\":2}\n"
          "{\"do\":\"archived\",\"nth\":3}\n{\"do\":\"slow\",\"nth\":4,\"ms\":"
          "864000000000}\n",
          NULL);
    OP_CLEANUP(op_mem_freep) char *expires = create(TWO);
    OP_CLEANUP(op_mem_freep) char *stuck = create(TWO);
    OP_CLEANUP(op_mem_freep) char *archived = create(TWO);
    OP_CLEANUP(op_mem_freep) char *slow = create(TWO);
    wait_end(expires, &reply);
    assert_int_equal(count_in(reply.body, "\"expired\":2"), 1);
    reply_release(&reply);
    wait_end(slow, &reply);
    assert_int_equal(count_in(reply.body, "\"expired\":2"), 1);
    reply_release(&reply);
    wait_end(archived, &reply);
    assert_int_equal(count_in(reply.body, "\"archived_at\":null"), 0);
    assert_int_equal(count_in(reply.body, "\"results_url\":null"), 1);
    reply_release(&reply);
    OP_CLEANUP(op_mem_freep) char *results = op_mem_printf("%s/results", archived);
    assert_int_equal(status_of(results), 404);
    send_to(&reply, "GET", stuck, "");
    assert_text(&reply, "/processing_status", "in_progress");
    reply_release(&reply);
}

static void test_view_faults(void **state)
{
    (void)state;
    struct reply reply;
    start(1, 1,
          "{\"on\":\"create\",\"do\":\"flap_after_end\"}\n"
          "{\"on\":\"list\",\"do\":\"counts_lie\"}\n"
          "{\"on\":\"list\",\"do\":\"state_regress\",\"nth\":2}\n",
          NULL);
    OP_CLEANUP(op_mem_freep) char *path = create(TWO);
    int status = 200; /* the first look after the end is the 404 */
    for (int i = 0; i < 200000 && status == 200; i++)
        status = status_of(path);
    assert_int_equal(status, 404);
    wait_end(path, &reply);
    reply_release(&reply);
    send_to(&reply, "GET", BATCHES, "");
    assert_int_equal(count_in(reply.body, "\"succeeded\":1,\"errored\":1"), 1);
    reply_release(&reply);
    send_to(&reply, "GET", BATCHES, "");
    assert_int_equal(count_in(reply.body, "in_progress"), 1);
    reply_release(&reply);
}

static void test_cancel_race(void **state)
{
    (void)state;
    struct reply reply;
    start(72000000, 100000, "{\"do\":\"cancel_race\",\"percent\":100}", NULL);
    OP_CLEANUP(op_mem_freep) char *path = create(TWO);
    OP_CLEANUP(op_mem_freep) char *cancel = op_mem_printf("%s/cancel", path);
    send_to(&reply, "POST", cancel, "");
    assert_int_equal(reply.status, 200);
    reply_release(&reply);
    wait_end(path, &reply);
    assert_int_equal(count_in(reply.body, "\"succeeded\":2"), 1);
    reply_release(&reply);
}

static void test_messages(void **state)
{
    (void)state;
    struct reply reply;
    start(1, 1,
          "{\"on\":\"messages\",\"do\":\"error_line\",\"nth\":3,\"status\":529,\"type\":"
          "\"overloaded_error\"}",
          "{\"match\":\"teapot\",\"text\":\"short and stout\",\"stop_reason\":\"end_turn\"}\n"
          "{\"match\":\"b\",\"error\":{\"type\":\"api_error\",\"message\":\"scripted\"}}\n");
    send_to(&reply, "POST", "/v1/messages", PARAMS);
    assert_text(&reply, "/usage/service_tier", "standard");
    int64_t input =
        op_json_int(op_json_pointer(parsed(&reply), OP_STR("/usage/input_tokens")), 0);
    reply_release(&reply);
    send_to(&reply, "POST", "/v1/messages/count_tokens",
            "{\"model\":\"claude-haiku-4-5\",\"messages\":[{\"role\":\"user\",\"content\":"
            "\"one two three\"}]}");
    assert_int_equal(op_json_int(op_json_pointer(parsed(&reply), OP_STR("/input_tokens")), 0),
                     input);
    reply_release(&reply);
    send_to(
        &reply, "POST", "/v1/messages",
        "{\"model\":\"claude-haiku-4-5\",\"max_tokens\":50,\"system\":[{\"type\":\"text\","
        "\"text\":\"You are a teapot of some renown\",\"cache_control\":{\"type\":"
        "\"ephemeral\",\"ttl\":\"1h\"}}],\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}");
    assert_text(&reply, "/content/0/text", "short and stout");
    assert_int_equal(
        op_json_int(op_json_pointer(parsed(&reply),
                                    OP_STR("/usage/cache_creation/ephemeral_1h_input_tokens")),
                    0),
        8);
    reply_release(&reply);
    send_to(&reply, "POST", "/v1/messages", PARAMS);
    assert_int_equal(reply.status, 529);
    reply_release(&reply);
    results_of(TWO, &reply);
    assert_int_equal(count_in(reply.body, "\"message\":\"scripted\""), 1);
    assert_int_equal(count_in(reply.body, "\"request_id\":\"workerreq_"), 1);
    reply_release(&reply);
    assert_int_equal(on_bill("\"batch\":null"), 6);
    assert_int_equal(on_bill("\"state\":\"succeeded\""), 3);
}

/* One prefix in many lines: written once, read by the others. */
static void test_cache(void **state)
{
    (void)state;
    struct reply reply;
    start(1, 1, NULL, NULL);
#define CACHED                                                                                   \
    "{\"model\":\"claude-haiku-4-5\",\"max_tokens\":50,\"system\":[{\"type\":\"text\",\"text\":" \
    "\"A long text that all share\",\"cache_control\":{\"type\":\"ephemeral\"}}],\"messages\":"  \
    "[{\"role\":\"user\",\"content\":\"x\"}]}"
    results_of("{\"requests\":[{\"custom_id\":\"a\",\"params\":" CACHED
               "},{\"custom_id\":\"b\","
               "\"params\":" CACHED "},{\"custom_id\":\"c\",\"params\":" CACHED "}]}",
               &reply);
    assert_int_equal(count_in(reply.body, "\"cache_creation_input_tokens\":7"), 1);
    assert_int_equal(count_in(reply.body, "\"ephemeral_5m_input_tokens\":7"), 1);
    assert_int_equal(count_in(reply.body, "\"cache_read_input_tokens\":7"), 2);
    reply_release(&reply);
}

static void test_same_seed(void **state)
{
    (void)state;
    struct reply first, second;
    start(1, 1, NULL, NULL);
    results_of(TWO, &first);
    op_emulator_stopp(&emulator);
    drop_dir(NULL);
    make_dir(NULL);
    start(1, 1, NULL, NULL);
    results_of(TWO, &second);
    assert_true(op_str_eq(first.body, second.body));
    reply_release(&first);
    reply_release(&second);
}

static void test_start_errors(void **state)
{
    (void)state;
    static const struct {
        const char *listen;
        double speed;
        const char *says;
    } rows[] = {
        {"nowhere", 1, "is not HOST:PORT"},
        {"127.0.0.1:99999", 1, "is not HOST:PORT"},
        {"127.0.0.1:0", -1, "speed"},
        {"no.such.host.invalid:0", 1, "cannot listen on"},
    };
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_emulator_options options = {
            .dir = dir, .listen = rows[i].listen, .speed = rows[i].speed};
        assert_int_not_equal(op_emulator_start(&options, &emulator, &err), OP_OK);
        assert_non_null(strstr(err.msg, rows[i].says));
        assert_null(emulator);
    }
    struct op_err err = OP_ERR_INIT;
    struct op_emulator *second = NULL;
    struct op_emulator_options options = {.dir = dir};
    start(1, 1, NULL, NULL);
    assert_int_equal(op_emulator_start(&options, &second, &err), OP_BUSY);
    op_err_clear(&err);
    options.dir = NULL;
    assert_int_equal(op_emulator_start(&options, &second, &err), OP_INVAL);
}

/* A hanging answer does not hold up the end of the emulator, nor leave anything behind. */
static void test_stop_wakes(void **state)
{
    (void)state;
    start(1, 1, "{\"on\":\"list\",\"do\":\"hang\"}", NULL);
    int fd = reply_connect(op_emulator_url(emulator));
    const char *text = "GET " BATCHES " HTTP/1.1\r\nHost: x\r\n" AUTH "\r\n";
    assert_true(reply_send(fd, text, strlen(text)));
    op_emulator_stopp(&emulator);
    close(fd);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, make_dir, drop_dir)
    const struct CMUnitTest tests[] = {
        TEST(test_life),           TEST(test_refusals),    TEST(test_deferred),
        TEST(test_request_faults), TEST(test_line_faults), TEST(test_cut),
        TEST(test_batch_faults),   TEST(test_view_faults), TEST(test_cancel_race),
        TEST(test_messages),       TEST(test_cache),       TEST(test_same_seed),
        TEST(test_start_errors),   TEST(test_stop_wakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
