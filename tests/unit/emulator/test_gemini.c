/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: what the Gemini SDKs do not show: the raw form of an operation, uploads in pieces that
 *            overlap, both spellings of names, the bill.
 * Oracle:    answers written by hand after recorded ones; the bill, counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off: cmocka needs the headers above */
#include <cmocka.h>
/* clang-format on */

#include "running.h"

#define KEY     "x-goog-api-key: k\r\n"
#define REQUEST "{\"contents\":[{\"parts\":[{\"text\":\"one two\"}]}]}"
#define ITEM(k) "{\"request\":" REQUEST ",\"metadata\":{\"key\":\"" k "\"}}"
#define CREATE  "/v1beta/models/gemini-2.5-flash:batchGenerateContent"

static void ask(struct reply *reply, const char *method, const char *path, const char *body)
{
    reply_get(reply, op_emulator_url(emulator), method, path, KEY, body);
}

static char *name_of(const struct reply *reply)
{
    struct op_str name = text_at(reply, "/name");
    return op_mem_printf("/v1/" OP_STR_FMT, OP_STR_ARG(name));
}

static char *create(const char *input)
{
    struct reply reply;
    OP_CLEANUP(op_mem_freep)
    char *body =
        op_mem_printf("{\"batch\":{\"display_name\":\"tag\",\"inputConfig\":%s}}", input);
    ask(&reply, "POST", CREATE, body);
    if (reply.status != 200)
        fail_msg("%d " OP_STR_FMT, reply.status, OP_STR_ARG(reply.body));
    char *path = name_of(&reply);
    reply_release(&reply);
    return path;
}

static void wait_done(const char *path, struct reply *reply)
{
    for (int i = 0; i < 200000; i++) {
        ask(reply, "GET", path, "");
        assert_int_equal(reply->status, 200);
        if (op_json_ok(op_json_get(parsed(reply), "done")))
            return;
        reply_release(reply);
    }
    fail_msg("%s is not done", path);
}

/* The path of a fresh upload of announced bytes, with its query. */
static char *begin_upload(int announced)
{
    struct reply reply;
    OP_CLEANUP(op_mem_freep)
    char *headers = op_mem_printf(KEY "X-Goog-Upload-Protocol: resumable\r\n"
                                      "X-Goog-Upload-Command: start\r\n"
                                      "X-Goog-Upload-Header-Content-Length: %d\r\n"
                                      "X-Goog-Upload-Header-Content-Type: jsonl\r\n"
                                      "Content-Type: application/jsonl\r\n",
                                  announced);
    reply_get(&reply, op_emulator_url(emulator), "POST", "/upload/v1beta/files", headers,
              "{'file': {'display_name': 'no JSON'}}");
    assert_int_equal(reply.status, 200);
    struct op_str url = reply_header(&reply, "x-goog-upload-url");
    assert_true(op_str_starts(url, op_emulator_url(emulator)));
    size_t skip = strlen(op_emulator_url(emulator));
    char *path = op_mem_strndup(url.ptr + skip, url.len - skip);
    reply_release(&reply);
    return path;
}

/* A chunk, sent without a key. */
static void send_chunk(struct reply *reply, const char *path, const char *command, int offset,
                       const char *bytes)
{
    OP_CLEANUP(op_mem_freep)
    char *headers = op_mem_printf("X-Goog-Upload-Command: %s\r\nX-Goog-Upload-Offset: %d\r\n"
                                  "Content-Type: application/json\r\n",
                                  command, offset);
    reply_get(reply, op_emulator_url(emulator), "POST", path, headers, bytes);
}

static void test_operation(void **state)
{
    (void)state;
    struct reply reply;
    start(3600000, 1, NULL, NULL);
    OP_CLEANUP(op_mem_freep)
    char *path = create("{\"requests\":{\"requests\":[" ITEM("a") "," ITEM("b") "]}}");
    assert_int_equal(strlen(path), strlen("/v1/batches/") + 36);
    ask(&reply, "GET", path, "");
    assert_false(op_json_ok(op_json_get(parsed(&reply), "done")));
    assert_text(&reply, "/metadata/@type",
                "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch");
    assert_text(&reply, "/metadata/state", "BATCH_STATE_PENDING");
    assert_text(&reply, "/metadata/displayName", "tag");
    assert_int_equal(
        count_in(reply.body,
                 "\"batchStats\":{\"requestCount\":\"2\",\"pendingRequestCount\":\"2\"}"),
        1);
    assert_int_equal(text_at(&reply, "/metadata/createTime").len,
                     strlen("2025-12-10T18:27:01.407650525Z"));
    assert_int_equal(count_in(reply.body, "inputConfig"), 0); /* inline is not echoed */
    reply_release(&reply);
    start(3600000, 100000, NULL, NULL);
    wait_done(path, &reply);
    assert_int_equal(
        count_in(reply.body,
                 "\"batchStats\":{\"requestCount\":\"2\",\"successfulRequestCount\":\"2\"}"),
        1);
    assert_int_equal(count_in(reply.body, "\"inlinedResponses\":{\"inlinedResponses\":["), 2);
    assert_int_equal(count_in(reply.body, "\"metadata\":{\"key\":\"a\"}"), 2);
    assert_int_equal(count_in(reply.body, "v1main.GenerateContentBatchOutput\""), 1);
    reply_release(&reply);
    ask(&reply, "GET", "/v1alpha/batches", "");
    assert_int_equal(count_in(reply.body, "inlinedResponses"), 0);
    reply_release(&reply);
    assert_int_equal(on_bill("\"provider\":\"gemini\""), 4);
    assert_int_equal(on_bill("\"custom_id\":\"b\",\"hash\""), 2);
}

static void test_upload_in_pieces(void **state)
{
    (void)state;
    struct reply reply;
    start(1000, 1, NULL, NULL);
    OP_CLEANUP(op_mem_freep) char *path = begin_upload(10);
    send_chunk(&reply, path, "upload", 0, "01234");
    assert_true(op_str_is(reply_header(&reply, "x-goog-upload-status"), "active"));
    reply_release(&reply);
    send_chunk(&reply, path, "query", 0, "");
    assert_true(op_str_is(reply_header(&reply, "x-goog-upload-size-received"), "5"));
    reply_release(&reply);
    send_chunk(&reply, path, "upload", 7, "x");
    assert_int_equal(reply.status, 400);
    reply_release(&reply);
    send_chunk(&reply, path, "upload, finalize", 5, "5");
    assert_int_equal(reply.status, 400); /* fewer than were announced */
    reply_release(&reply);
    /* A chunk whose answer was lost comes again, with more. */
    send_chunk(&reply, path, "upload, finalize", 3, "3456789");
    assert_true(op_str_is(reply_header(&reply, "x-goog-upload-status"), "final"));
    assert_text(&reply, "/file/sizeBytes", "10");
    assert_text(&reply, "/file/mimeType", "jsonl");
    OP_CLEANUP(op_mem_freep)
    char *file =
        op_mem_printf("%s/files/" OP_STR_FMT, dir,
                      OP_STR_ARG(((struct op_str){text_at(&reply, "/file/name").ptr + 6, 12})));
    reply_release(&reply);
    OP_CLEANUP(op_buf_release) struct op_buf bytes = {0};
    struct op_err err = OP_ERR_INIT;
    op_buf_init(&bytes, 100);
    assert_int_equal(op_io_read_file(op_env_default(), file, &bytes, &err), OP_OK);
    assert_string_equal(bytes.ptr, "0123456789");
    /* And so does the last one: the same file. */
    send_chunk(&reply, path, "upload, finalize", 3, "3456789");
    assert_text(&reply, "/file/sizeBytes", "10");
    reply_release(&reply);
    ask(&reply, "GET", "/v1beta/files", "");
    assert_int_equal(count_in(reply.body, "\"name\":"), 1);
    reply_release(&reply);
    OP_CLEANUP(op_mem_freep) char *none = begin_upload(0);
    send_chunk(&reply, none, "upload, finalize", 0, "");
    assert_int_equal(reply.status, 400);
    reply_release(&reply);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *body, *sign;
        int status;
    } rows[] = {
        {"POST", CREATE, "{\"batch\":{\"inputConfig\":{}}}", "exactly one", 400},
        {"POST", CREATE,
         "{\"batch\":{\"input_config\":{\"file_name\":\"files/a\",\"requests\":{\"requests\":["
         "]}}}}",
         "exactly one", 400},
        {"POST", CREATE, "{\"batch\":{\"input_config\":{\"file_name\":\"files/a\"}}}",
         "PERMISSION_DENIED", 403},
        {"POST", "/v1/models/gemini-does-not-exist:batchGenerateContent", "{}",
         "is not found for API version", 404},
        {"GET", "/v1beta/files/nothing", "", "or it may not exist", 403},
        {"GET", "/v1beta/files/batch-0123456789012345678901234567890123456", "",
         "at most 40 characters", 400},
        {"GET", "/v1beta/batches/nothing", "", "NOT_FOUND", 404},
        {"POST", "/v1beta/models/gemini-2.5-flash:generateContent", "{\"contents\":[]}",
         "contents is not specified", 400},
        {"POST", "/v1beta/models/gemini-2.5-flash:generateContent",
         "{\"contents\":[{}],\"thinking_config\":{}}", "Unknown name \\\"thinking_config\\\"",
         400},
    };
    start(1000, 1, NULL, NULL);
    for (size_t i = 0; i < OP_COUNT(rows); i++) {
        struct reply reply;
        ask(&reply, rows[i].method, rows[i].path, rows[i].body);
        if (reply.status != rows[i].status || !count_in(reply.body, rows[i].sign))
            fail_msg("%zu: %d " OP_STR_FMT, i, reply.status, OP_STR_ARG(reply.body));
        reply_release(&reply);
    }
    assert_int_equal(on_bill("state"), 0);
}

static void test_names_and_faults(void **state)
{
    (void)state;
    struct reply reply;
    start(1000, 1000,
          "{\"on\":\"messages\",\"nth\":2,\"do\":\"rate_limit\",\"seconds\":27}\n"
          "{\"on\":\"messages\",\"nth\":3,\"do\":\"refusal\"}\n"
          "{\"on\":\"create\",\"nth\":1,\"do\":\"counts_lie\"}\n"
          "{\"on\":\"create\",\"nth\":1,\"do\":\"shuffle\"}\n"
          "{\"on\":\"results\",\"match\":\"\\\"a\\\"\",\"do\":\"error_line\",\"type\":"
          "\"RESOURCE_EXHAUSTED\"}\n",
          NULL);
    const char *snake = "{\"contents\":[{\"parts\":[{\"text\":\"one two three four five\"}]}],"
                        "\"generation_config\":{\"max_output_tokens\":1},"
                        "\"system_instruction\":{\"parts\":[{\"text\":\"be brief\"}]}}";
    ask(&reply, "POST", "/v1beta/models/gemini-2.5-flash:generateContent", snake);
    assert_text(&reply, "/candidates/0/finishReason", "MAX_TOKENS");
    reply_release(&reply);
    ask(&reply, "POST", "/v1beta/models/gemini-2.5-flash:generateContent", REQUEST);
    assert_int_equal(reply.status, 429);
    assert_int_equal(count_in(reply.body, "\"retryDelay\":\"27s\""), 1);
    reply_release(&reply);
    ask(&reply, "POST", "/v1beta/models/gemini-2.5-flash:generateContent", REQUEST);
    assert_text(&reply, "/promptFeedback/blockReason", "PROHIBITED_CONTENT");
    assert_false(op_json_ok(op_json_get(parsed(&reply), "candidates")));
    reply_release(&reply);
    OP_CLEANUP(op_mem_freep)
    char *path = create("{\"requests\":{\"requests\":[" ITEM("a") "," ITEM("b") "]}}");
    wait_done(path, &reply);
    assert_int_equal(count_in(reply.body, "\"successfulRequestCount\":\"2\""), 1);
    assert_int_equal(count_in(reply.body, "\"error\":{\"code\":8,"), 2);
    reply_release(&reply);
    assert_int_equal(on_bill("\"state\":\"errored\",\"model\":\"gemini-2.5-flash\","
                             "\"fault\":\"error_line\""),
                     1);
    /* A deleted batch is gone, finished or not. */
    ask(&reply, "DELETE", path, "{}");
    assert_true(op_str_is(reply.body, "{}"));
    reply_release(&reply);
    ask(&reply, "GET", path, "");
    assert_int_equal(reply.status, 404);
    reply_release(&reply);
}

static void test_many_batches(void **state)
{
    (void)state;
    struct reply reply;
    start(3600000, 1, NULL, NULL);
    for (int i = 0; i < 100; i++) {
        OP_CLEANUP(op_mem_freep)
        char *path = create("{\"requests\":{\"requests\":[" ITEM("a") "]}}");
        assert_true(op_str_starts(op_str_from(path), "/v1/batches/"));
    }
    ask(&reply, "POST", CREATE,
        "{\"batch\":{\"inputConfig\":{\"requests\":{\"requests\":[" ITEM("a") "]}}}}");
    assert_int_equal(reply.status, 429);
    assert_int_equal(count_in(reply.body, "RetryInfo"), 0);
    reply_release(&reply);
    assert_int_equal(on_bill("\"state\":\"accepted\""), 100);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, make_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_operation),        CASE(test_upload_in_pieces), CASE(test_refusals),
        CASE(test_names_and_faults), CASE(test_many_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
