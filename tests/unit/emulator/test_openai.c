/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: what the OpenAI SDKs do not show: the bill, faults around the commit point, restarts,
 *            files and their retention, limits at their edge, which provider takes a path that two have.
 * Oracle:    answers written by hand after the API reference; the bill, counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "running.h"

#define KEY  "Authorization: Bearer k\r\n"
#define FORM KEY "Content-Type: multipart/form-data; boundary=x\r\n"
#define PART_HEAD                                                              \
    "--x\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n" \
    "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n"
#define CHAT "/v1/chat/completions"
#define ASK  "{\"model\":\"gpt-4.1\",\"messages\":[{\"role\":\"user\",\"content\":\"one two\"}]}"
#define LINE(id) \
    "{\"custom_id\":\"" id "\",\"method\":\"POST\",\"url\":\"" CHAT "\",\"body\":" ASK "}\n"

static void ask(struct reply *reply, const char *method, const char *path, const char *body)
{
    reply_get(reply, op_emulator_url(emulator), method, path, KEY, body);
}

static char *upload(const char *lines)
{
    struct reply reply;
    OP_CLEANUP(op_mem_freep) char *body = op_mem_printf(PART_HEAD "%s\r\n--x--\r\n", lines);
    reply_get(&reply, op_emulator_url(emulator), "POST", "/v1/files", FORM, body);
    assert_int_equal(reply.status, 200);
    struct op_str id = text_at(&reply, "/id");
    char *copy = op_mem_strndup(id.ptr, id.len);
    reply_release(&reply);
    return copy;
}

static char *create_body(const char *file)
{
    return op_mem_printf("{\"input_file_id\":\"%s\",\"endpoint\":\"" CHAT
                         "\",\"completion_window\":\"24h\"}",
                         file);
}

/* Path of a fresh batch of these lines. */
static char *create(const char *lines)
{
    struct reply reply;
    OP_CLEANUP(op_mem_freep) char *file = upload(lines);
    OP_CLEANUP(op_mem_freep) char *body = create_body(file);
    ask(&reply, "POST", "/v1/batches", body);
    assert_int_equal(reply.status, 200);
    assert_text(&reply, "/status", "validating");
    struct op_str id = text_at(&reply, "/id");
    char *path = op_mem_printf("/v1/batches/" OP_STR_FMT, OP_STR_ARG(id));
    reply_release(&reply);
    return path;
}

static void wait_status(const char *path, const char *status, struct reply *reply)
{
    for (int i = 0; i < 200000; i++) {
        ask(reply, "GET", path, "");
        assert_int_equal(reply->status, 200);
        if (op_str_is(text_at(reply, "/status"), status))
            return;
        reply_release(reply);
    }
    fail_msg("%s does not become %s", path, status);
}

/* The path of the newest batch, once it is one of that file. */
static char *wait_batch_of(const char *file)
{
    for (int i = 0; i < 200000; i++) {
        struct reply reply;
        char *path = NULL;
        ask(&reply, "GET", "/v1/batches?limit=1", "");
        if (op_str_is(text_at(&reply, "/data/0/input_file_id"), file))
            path = op_mem_printf("/v1/batches/" OP_STR_FMT,
                                 OP_STR_ARG(text_at(&reply, "/data/0/id")));
        reply_release(&reply);
        if (path)
            return path;
    }
    fail_msg("no batch of %s", file);
    return NULL;
}

static void test_bill(void **state)
{
    (void)state;
    struct reply reply;
    start(1000, 1000, NULL, NULL);
    OP_CLEANUP(op_mem_freep) char *path = create(LINE("a") LINE("b"));
    wait_status(path, "completed", &reply);
    reply_release(&reply);
    assert_int_equal(on_bill("\"provider\":\"openai\",\"batch\":\"batch_"), 4);
    assert_int_equal(on_bill("\"custom_id\":\"a\""), 2);
    assert_int_equal(on_bill("\"state\":\"succeeded\""), 2);
    /* A file that fails its validation is not bought. */
    OP_CLEANUP(op_mem_freep) char *bad = create(LINE("a") LINE("a"));
    wait_status(bad, "failed", &reply);
    reply_release(&reply);
    assert_int_equal(on_bill("\"state\":\"accepted\""), 2);
    /* The same content has the same hash in realtime. */
    ask(&reply, "POST", CHAT, ASK);
    assert_int_equal(reply.status, 200);
    reply_release(&reply);
    assert_int_equal(on_bill("\"provider\":\"openai\",\"batch\":null"), 2);
    ask(&reply, "POST", CHAT, "{\"model\":\"gpt-4.1\",\"messages\":[]}");
    assert_int_equal(reply.status, 400);
    reply_release(&reply);
    assert_int_equal(on_bill("\"state\":\"accepted\""), 3);
}

static void test_commit_point(void **state)
{
    (void)state;
    struct reply reply;
    start(3600000, 1,
          "{\"on\":\"create\",\"nth\":1,\"do\":\"drop_before_commit\"}\n"
          "{\"on\":\"create\",\"nth\":2,\"do\":\"drop_after_commit\",\"reset\":true}\n"
          "{\"on\":\"create\",\"nth\":3,\"do\":\"cut_body\"}\n"
          "{\"on\":\"messages\",\"nth\":1,\"do\":\"drop_before_commit\"}\n"
          "{\"on\":\"messages\",\"nth\":2,\"do\":\"cut_body\"}\n",
          NULL);
    OP_CLEANUP(op_mem_freep) char *file = upload(LINE("a"));
    OP_CLEANUP(op_mem_freep) char *body = create_body(file);
    static const int accepted[] = {0, 1, 2};
    for (int i = 0; i < 3; i++) {
        ask(&reply, "POST", "/v1/batches", body);
        assert_false(reply.whole);
        reply_release(&reply);
        assert_int_equal(on_bill("\"state\":\"accepted\""), accepted[i]);
    }
    for (int i = 0; i < 2; i++) {
        ask(&reply, "POST", CHAT, ASK);
        assert_false(reply.whole);
        reply_release(&reply);
        assert_int_equal(on_bill("\"batch\":null"), 2 * i);
    }
}

/* A create that arrives an hour after its client is gone: with its file it comes to be, without it
 * it fails its validation and nothing is bought. One still on its way when the emulator stops is
 * lost. */
static void test_arrives_late(void **state)
{
    (void)state;
    for (int removed = 0; removed < 2; removed++) {
        struct reply reply;
        start(1000, 20000, "{\"on\":\"create\",\"do\":\"accept_late\",\"ms\":3600000}", NULL);
        int before = on_bill("\"state\":\"accepted\"");
        OP_CLEANUP(op_mem_freep) char *file = upload(LINE("a"));
        OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("/v1/files/%s", file);
        OP_CLEANUP(op_mem_freep) char *body = create_body(file);
        ask(&reply, "POST", "/v1/batches", body);
        assert_int_equal(reply.status, 0);
        reply_release(&reply);
        ask(&reply, "GET", "/v1/batches?limit=1", "");
        assert_int_equal(count_in(reply.body, file), 0);
        reply_release(&reply);
        if (removed) {
            ask(&reply, "DELETE", path, "");
            assert_int_equal(reply.status, 200);
            reply_release(&reply);
        }
        OP_CLEANUP(op_mem_freep) char *batch = wait_batch_of(file);
        wait_status(batch, removed ? "failed" : "completed", &reply);
        if (removed) {
            assert_text(&reply, "/errors/data/0/code", "invalid_request");
            assert_text(&reply, "/errors/data/0/param", "file_id");
        }
        reply_release(&reply);
        assert_int_equal(on_bill("\"state\":\"accepted\"") - before, !removed);
    }
    struct reply reply;
    start(1000, 1, "{\"on\":\"create\",\"do\":\"accept_late\",\"ms\":3600000}", NULL);
    OP_CLEANUP(op_mem_freep) char *file = upload(LINE("a"));
    OP_CLEANUP(op_mem_freep) char *body = create_body(file);
    ask(&reply, "POST", "/v1/batches", body);
    reply_release(&reply);
    start(1000, 1, NULL, NULL);
    assert_int_equal(on_bill("\"state\":\"accepted\""), 1);
}

static void test_restart(void **state)
{
    (void)state;
    struct reply reply;
    start(3600000, 1, NULL, NULL);
    OP_CLEANUP(op_mem_freep) char *file = upload(LINE("a") LINE("b"));
    OP_CLEANUP(op_mem_freep) char *content = op_mem_printf("/v1/files/%s/content", file);
    OP_CLEANUP(op_mem_freep) char *one = op_mem_printf("/v1/files/%s", file);
    OP_CLEANUP(op_mem_freep) char *path = create(LINE("a") LINE("b"));
    start(3600000, 100000, NULL, NULL);
    ask(&reply, "GET", content, "");
    assert_true(op_str_is(reply.body, LINE("a") LINE("b")));
    reply_release(&reply);
    /* The batch needs its input file no more. */
    ask(&reply, "DELETE", one, "");
    assert_int_equal(reply.status, 200);
    reply_release(&reply);
    ask(&reply, "GET", content, "");
    assert_int_equal(reply.status, 404);
    assert_int_equal(count_in(reply.body, "\"param\":null,\"code\":null}}"), 1);
    reply_release(&reply);
    wait_status(path, "completed", &reply);
    OP_CLEANUP(op_mem_freep)
    char *output = op_mem_printf("/v1/files/" OP_STR_FMT "/content",
                                 OP_STR_ARG(text_at(&reply, "/output_file_id")));
    reply_release(&reply);
    start(1000, 1, NULL, NULL);
    ask(&reply, "GET", output, "");
    assert_int_equal(count_in(reply.body, "\n"), 2);
    assert_true(op_str_ends(reply.body, "\n"));
    reply_release(&reply);
    assert_int_equal(on_bill("\"state\":\"succeeded\""), 2);
}

static void test_retention(void **state)
{
    (void)state;
    struct reply reply;
    start(1000, 1000, "{\"do\":\"archived\",\"ms\":0}\n{\"do\":\"no_shuffle\"}\n", NULL);
    OP_CLEANUP(op_mem_freep) char *path = create(LINE("a"));
    wait_status(path, "completed", &reply);
    OP_CLEANUP(op_mem_freep)
    char *output = op_mem_printf("/v1/files/" OP_STR_FMT "/content",
                                 OP_STR_ARG(text_at(&reply, "/output_file_id")));
    reply_release(&reply);
    ask(&reply, "GET", output, "");
    assert_int_equal(reply.status, 404);
    reply_release(&reply);
}

/* Right after it changed, a lagging replica does not know it. */
static void test_flaps(void **state)
{
    (void)state;
    struct reply reply;
    start(1000, 1000, "{\"do\":\"flap_after_end\",\"count\":2}\n", NULL);
    OP_CLEANUP(op_mem_freep) char *path = create(LINE("a"));
    int missed = 0;
    for (int i = 0; i < 200000 && missed < 2; i++) {
        ask(&reply, "GET", path, "");
        missed += reply.status == 404;
        reply_release(&reply);
    }
    assert_int_equal(missed, 2);
    ask(&reply, "GET", path, "");
    assert_text(&reply, "/status", "completed");
    reply_release(&reply);
}

static void test_queue(void **state)
{
    (void)state;
    struct reply reply;
    /* Each line costs (12 + 7 + 3) / 4 = 5 tokens: two fit, the third does not. */
    start(3600000, 1000, "{\"do\":\"token_limit\",\"tokens\":10}\n", NULL);
    OP_CLEANUP(op_mem_freep) char *first = create(LINE("a"));
    OP_CLEANUP(op_mem_freep) char *second = create(LINE("a"));
    OP_CLEANUP(op_mem_freep) char *third = create(LINE("a"));
    wait_status(third, "failed", &reply);
    assert_text(&reply, "/errors/data/0/code", "token_limit_exceeded");
    reply_release(&reply);
    wait_status(first, "completed", &reply);
    reply_release(&reply);
    wait_status(second, "completed", &reply);
    reply_release(&reply);
    OP_CLEANUP(op_mem_freep) char *again = create(LINE("a"));
    wait_status(again, "completed", &reply);
    reply_release(&reply);
}

static void test_routing(void **state)
{
    (void)state;
    static const struct {
        const char *path, *headers, *sign;
        int status;
    } rows[] = {
        {"/v1/files", KEY, "\"first_id\":null", 200},
        {"/openai/v1/files", KEY, "\"first_id\":null", 200},
        {"/v1/files", KEY "User-Agent: mistral-client-python/3\r\n", "\"total\":0", 200},
        {"/mistral/v1/files", KEY, "\"total\":0", 200},
        {"/v1/files", "x-goog-api-key: k\r\n", "{}", 200},
        {"/v1beta/files?key=k", "", "{}", 200},
        {"/gemini/v1/batches?key=k", "", "{}", 200},
        {"/v1/batches", KEY, "\"object\":\"list\"", 200},
        {"/v1/batch/jobs", KEY, "\"total\":0", 200},
        {"/v1/models", KEY, "\"owned_by\":\"system\"", 200},
        {"/v1/models", KEY "anthropic-version: 2023-06-01\r\n", "claude-", 200},
        {"/anthropic/v1/messages/batches", KEY "anthropic-version: 2023-06-01\r\n",
         "\"has_more\":false", 200},
        {"/v1/batches", "", "You didn't provide an API key.", 401},
        {"/v1beta/batches", "", "PERMISSION_DENIED", 403},
        {"/mistral/v1/models", "", "Unauthorized", 401},
        {"/gemini/v1beta/nothing?key=k", "", "\"status\":\"NOT_FOUND\"", 404},
        {"/openai/v1/nothing", KEY, "\"param\":null", 404},
    };
    start(1000, 1, NULL, NULL);
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct reply reply;
        reply_get(&reply, op_emulator_url(emulator), "GET", rows[i].path, rows[i].headers, "");
        if (reply.status != rows[i].status || !count_in(reply.body, rows[i].sign))
            fail_msg("%s: %d " OP_STR_FMT, rows[i].path, reply.status, OP_STR_ARG(reply.body));
        reply_release(&reply);
    }
}

static void test_views(void **state)
{
    (void)state;
    struct reply reply;
    start(3600000, 1,
          "{\"on\":\"get\",\"nth\":1,\"do\":\"unknown_status\"}\n"
          "{\"on\":\"get\",\"nth\":2,\"do\":\"rate_limit\",\"seconds\":7}\n"
          "{\"on\":\"get\",\"nth\":3,\"do\":\"rate_limit\"}\n"
          "{\"on\":\"create\",\"nth\":2,\"do\":\"stuck_pending\"}\n"
          "{\"on\":\"create\",\"nth\":3,\"do\":\"list_lag\",\"ms\":3600000}\n"
          "{\"on\":\"create\",\"nth\":4,\"do\":\"no_batch\"}\n",
          NULL);
    OP_CLEANUP(op_mem_freep) char *path = create(LINE("a"));
    ask(&reply, "GET", path, "");
    assert_text(&reply, "/status", "reticulating");
    reply_release(&reply);
    ask(&reply, "GET", path, "");
    assert_int_equal(reply.status, 429);
    assert_text(&reply, "/error/code", "rate_limit_exceeded");
    assert_true(op_str_is(reply_header(&reply, "retry-after"), "7"));
    reply_release(&reply);
    ask(&reply, "GET", path, "");
    assert_int_equal(reply.status, 429);
    assert_null(reply_header(&reply, "retry-after").ptr);
    reply_release(&reply);
    OP_CLEANUP(op_mem_freep) char *stuck = create(LINE("a"));
    OP_CLEANUP(op_mem_freep) char *lagging = create(LINE("a"));
    ask(&reply, "GET", lagging, "");
    assert_int_equal(reply.status, 200);
    reply_release(&reply);
    ask(&reply, "GET", "/v1/batches", "");
    assert_int_equal(count_in(reply.body, "\"object\":\"batch\""), 2);
    reply_release(&reply);
    OP_CLEANUP(op_mem_freep) char *file = upload(LINE("a"));
    OP_CLEANUP(op_mem_freep) char *body = create_body(file);
    ask(&reply, "POST", "/v1/batches", body);
    assert_int_equal(reply.status, 404);
    reply_release(&reply);
    start(3600000, 100000, NULL, NULL);
    wait_status(stuck, "expired", &reply);
    assert_int_equal(count_in(reply.body, "\"in_progress_at\":null"), 1);
    assert_int_equal(count_in(reply.body, "\"request_counts\":{\"total\":1,\"completed\":0,"
                                          "\"failed\":0}"),
                     1);
    reply_release(&reply);
}

static void test_scripted(void **state)
{
    (void)state;
    struct reply reply;
    start(
        1000, 1000, NULL,
        "{\"match\":\"fail\",\"error\":{\"type\":\"insufficient_quota\",\"message\":\"none\"}}\n"
        "{\"json\":{\"label\":\"x\"},\"stop_reason\":\"length\"}\n");
    ask(&reply, "POST", CHAT, ASK);
    assert_text(&reply, "/choices/0/message/content", "{\"label\":\"x\"}");
    assert_text(&reply, "/choices/0/finish_reason", "length");
    reply_release(&reply);
    ask(&reply, "POST", "/v1/responses", "{\"model\":\"gpt-5\",\"input\":\"fail\"}");
    assert_int_equal(reply.status, 429);
    assert_text(&reply, "/error/code", "insufficient_quota");
    reply_release(&reply);
    assert_int_equal(on_bill("\"state\":\"errored\""), 1);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, make_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_bill),     CASE(test_commit_point), CASE(test_restart), CASE(test_retention),
        CASE(test_queue),    CASE(test_flaps),        CASE(test_routing), CASE(test_views),
        CASE(test_scripted), CASE(test_arrives_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
