/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: what Gemini's replies mean: the outcome of a create, operations, lists, files, errors.
 * Oracle:    the send table of the protocol, run over every status and body shape; operations and
 *            errors as recorded from the API.
 */
#include <stdio.h>

#include "provider/gemini/gemini.h"
#include "support.h"

static const struct op_provider_ops *const ops = &op_provider_gemini;

#define ERROR(code, status, message) \
    "{\"error\":{\"code\":" code ",\"message\":\"" message "\",\"status\":\"" status "\"}}"
#define DETAILED(code, status, details)                                    \
    "{\"error\":{\"code\":" code ",\"message\":\"m\",\"status\":\"" status \
    "\",\"details\":[" details "]}}"
#define INFO(type, members) \
    "{\"@type\":\"type.googleapis.com/google.rpc." type "\"," members "}"
#define OPERATION(meta, rest)                                                                \
    "{\"name\":\"batches/b1\",\"metadata\":{\"@type\":\"type.googleapis.com/google.ai."      \
    "generativelanguage.v1main.GenerateContentBatch\",\"model\":\"models/m\","               \
    "\"displayName\":\"op-ab-1\",\"inputConfig\":{\"fileName\":\"files/x\"},\"createTime\":" \
    "\"2025-12-10T18:27:01.407650525Z\"," meta "}" rest "}"
#define PENDING                                                                        \
    OPERATION("\"batchStats\":{\"requestCount\":\"3\",\"pendingRequestCount\":\"3\"}," \
              "\"state\":\"BATCH_STATE_PENDING\",\"name\":\"batches/b1\"",             \
              "")

static enum op_create_class create(enum op_rc transport, int status, const char *headers,
                                   const char *body, struct op_remote_batch *batch,
                                   struct op_err *err)
{
    struct op_http_reply reply;
    make_reply(&reply, status, headers, body);
    enum op_create_class got = ops->decode_create(transport, &reply, batch, err);
    drop_reply(&reply);
    return got;
}

static bool is_refusal(int status)
{
    switch (status) {
    case 400:
    case 401:
    case 402:
    case 403:
    case 404:
    case 405:
    case 413:
    case 415:
    case 422:
    case 429:
        return true;
    default:
        return false;
    }
}

/* Every status with every shape of body. */
static void test_create_table(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        bool batch, error;
    } bodies[] = {
        {PENDING, true, false},
        {"{\"name\":\"batches/b1\"}", true, false},
        {ERROR("%d", "S", "m"), false, true},
        {"[" ERROR("%d", "S", "m") "]", false, true},
        {ERROR("4", "S", "m"), false, false}, /* not its own status: somebody else's error */
        {"", false, false},
        {"{}", false, false},
        {"<html>413</html>", false, false},
        {"{\"error\":\"text\"}", false, false},
        {"{\"error\":{\"message\":\"x\"}}", false, false},
        {"{\"error\":{\"code\":\"x\",\"status\":\"S\"}}", false, false},
        {"{\"name\":\"batches/../x\"}", false, false},
        {"{\"name\":\"operations/x\"}", false, false},
        {"{\"name\":null,\"metadata\":{}}", false, false},
        {"{\"name\":\"batches/b1\"", false, false},
        {"null", false, false},
        {"[]", false, false},
    };
    for (int status = 100; status < 600; status++) {
        for (size_t i = 0; i < OP_COUNT(bodies); i++) {
            struct op_err err = OP_ERR_INIT;
            struct op_remote_batch batch = {0};
            char body[1000];
            if (bodies[i].error)
                snprintf(body, sizeof(body),
                         bodies[i].body[0] == '[' ? "[" ERROR("%d", "S", "m") "]"
                                                  : ERROR("%d", "S", "m"),
                         status);
            else
                snprintf(body, sizeof(body), "%s", bodies[i].body);
            enum op_create_class want = OP_CREATE_AMBIGUOUS;
            if (status >= 200 && status < 300 && bodies[i].batch)
                want = OP_CREATE_ACCEPTED;
            else if (is_refusal(status) && bodies[i].error)
                want = OP_CREATE_REJECTED;
            enum op_create_class got = create(OP_OK, status, "", body, &batch, &err);
            if (got != want)
                fail_msg("%d %s: %d", status, body, got);
            assert_int_equal(err.msg[0] != '\0', want != OP_CREATE_ACCEPTED);
            assert_int_equal(batch.id[0] != '\0', want == OP_CREATE_ACCEPTED);
            if (want == OP_CREATE_AMBIGUOUS)
                assert_int_equal(err.disp, OP_DISP_AMBIGUOUS);
            if (want != OP_CREATE_ACCEPTED)
                assert_int_equal(err.native, status);
            /* A transfer that failed is ambiguous whatever had arrived. */
            struct op_err cut = OP_ERR_INIT;
            assert_int_equal(create(OP_REMOTE, status, "", body, &batch, &cut),
                             OP_CREATE_AMBIGUOUS);
            assert_int_equal(cut.disp, OP_DISP_AMBIGUOUS);
        }
    }
}

static void test_create_dispositions(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *headers, *body;
        enum op_disp disp;
        int64_t retry_after_ms;
    } cases[] = {
        {400, "", ERROR("400", "INVALID_ARGUMENT", "no such field"), OP_DISP_REJECT, 0},
        {400, "", ERROR("400", "INVALID_ARGUMENT", "API key not valid. Please pass a valid"),
         OP_DISP_PAUSE, 0},
        {400, "",
         DETAILED("400", "INVALID_ARGUMENT",
                  INFO("ErrorInfo", "\"reason\":\"API_KEY_INVALID\"")),
         OP_DISP_PAUSE, 0},
        {400, "", ERROR("400", "FAILED_PRECONDITION", "User location is not supported"),
         OP_DISP_PAUSE, 0},
        {400, "", ERROR("400", "FAILED_PRECONDITION", "the file is not active"), OP_DISP_REJECT,
         0},
        {403, "", ERROR("403", "PERMISSION_DENIED", "no"), OP_DISP_PAUSE, 0},
        /* The input file died after 48 hours: nothing was bought, upload anew. */
        {403, "",
         ERROR("403", "PERMISSION_DENIED",
               "You do not have permission to access the File x or it may not exist."),
         OP_DISP_RETRY, 0},
        {404, "", ERROR("404", "NOT_FOUND", "models/x is not found"), OP_DISP_REJECT, 0},
        {429, "",
         ERROR("429", "RESOURCE_EXHAUSTED",
               "You exceeded your current quota, please check your plan and billing "
               "details."),
         OP_DISP_RETRY, 0},
        {429, "", DETAILED("429", "RESOURCE_EXHAUSTED", INFO("Help", "\"links\":[]")),
         OP_DISP_RETRY, 0},
        {429, "",
         DETAILED("429", "RESOURCE_EXHAUSTED",
                  INFO("RetryInfo", "\"retryDelay\":\"967.6801s\"")),
         OP_DISP_RETRY_AFTER, 967681},
        {429, "retry-after: 30\r\n",
         DETAILED("429", "RESOURCE_EXHAUSTED", INFO("RetryInfo", "\"retryDelay\":\"27s\"")),
         OP_DISP_RETRY_AFTER, 30000},
        {429, "",
         DETAILED("429", "RESOURCE_EXHAUSTED", INFO("RetryInfo", "\"retryDelay\":\"soon\"")),
         OP_DISP_RETRY, 0},
        {429, "",
         DETAILED("429", "RESOURCE_EXHAUSTED", INFO("RetryInfo", "\"retryDelay\":\"-3s\"")),
         OP_DISP_RETRY, 0},
        {429, "",
         DETAILED("429", "RESOURCE_EXHAUSTED",
                  INFO("RetryInfo", "\"retryDelay\":\"8s\"") "," INFO(
                      "QuotaFailure",
                      "\"violations\":[{\"quotaId\":"
                      "\"GenerateRequestsPerDayPerProjectPerModel\",\"quotaValue\":\"250\"}]")),
         OP_DISP_QUOTA, 0},
        {429, "",
         ERROR("429", "RESOURCE_EXHAUSTED", "Your project has exceeded its spending cap."),
         OP_DISP_QUOTA, 0},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_remote_batch batch;
        assert_int_equal(
            create(OP_OK, cases[i].status, cases[i].headers, cases[i].body, &batch, &err),
            OP_CREATE_REJECTED);
        if (err.disp != cases[i].disp)
            fail_msg("%d %s: %s", cases[i].status, cases[i].body, op_disp_name(err.disp));
        assert_int_equal(err.rc, OP_REMOTE);
        if (err.disp == OP_DISP_RETRY_AFTER)
            assert_int_equal(err.retry_after_ms, cases[i].retry_after_ms);
    }
    struct op_err err = OP_ERR_INIT;
    struct op_remote_batch batch;
    create(OP_OK, 429, "", ERROR("429", "RESOURCE_EXHAUSTED", "line\\nbreak"), &batch, &err);
    assert_string_equal(err.msg, "Gemini answered 429 RESOURCE_EXHAUSTED: line break");
    err = OP_ERR_INIT;
    op_err_set_as(&err, OP_REMOTE, OP_DISP_RETRY, "connection reset");
    assert_int_equal(create(OP_REMOTE, 0, "", "", &batch, &err), OP_CREATE_AMBIGUOUS);
    assert_mentions(err.msg, "connection reset");
    assert_mentions(err.msg, "may have been accepted");
}

static void test_create_accepted(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_remote_batch batch;
    assert_int_equal(create(OP_OK, 200, "", PENDING, &batch, &err), OP_CREATE_ACCEPTED);
    assert_string_equal(batch.id, "batches/b1");
    assert_int_equal(batch.state, OP_REMOTE_IN_PROGRESS);
    assert_string_equal(batch.state_name, "BATCH_STATE_PENDING");
    assert_int_equal(batch.created_ms, 1765391221407);
    assert_int_equal(batch.ended_ms, -1);
    assert_int_equal(batch.total, 3);
    assert_int_equal(batch.processing, 3);
    assert_int_equal(batch.succeeded, 0); /* left out when zero */
    assert_int_equal(batch.errored, 0);
    assert_int_equal(batch.canceled, -1); /* not told */
    assert_string_equal(batch.tag, "op-ab-1");
    assert_string_equal(batch.file_id, "files/x");
    assert_string_equal(batch.results_url, "");
    assert_string_equal(batch.failure, "");
}

/* --- operations ----------------------------------------------------------------------------- */

static enum op_rc decode_batch(int status, const char *body, struct op_remote_batch *batch,
                               struct op_err *err)
{
    struct op_http_reply reply;
    make_reply(&reply, status, "", body);
    enum op_rc rc = ops->decode_batch(&reply, batch, err);
    drop_reply(&reply);
    return rc;
}

#define STATE(name) "\"state\":\"" name "\""
#define FILE_OUT    "\"output\":{\"responsesFile\":\"files/batch-b1\"},"
#define INLINE_OUT  "\"output\":{\"inlinedResponses\":{\"inlinedResponses\":[]}},"

static void test_states(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum op_remote_state state;
        const char *name, *results;
    } cases[] = {
        {OPERATION(STATE("BATCH_STATE_RUNNING"), ""), OP_REMOTE_IN_PROGRESS,
         "BATCH_STATE_RUNNING", ""},
        {OPERATION(STATE("JOB_STATE_RUNNING"), ""), OP_REMOTE_IN_PROGRESS, "JOB_STATE_RUNNING",
         ""},
        {OPERATION(FILE_OUT STATE("BATCH_STATE_SUCCEEDED"), ",\"done\":true"), OP_REMOTE_ENDED,
         "BATCH_STATE_SUCCEEDED", "files/batch-b1"},
        {OPERATION(FILE_OUT STATE("JOB_STATE_SUCCEEDED"), ""), OP_REMOTE_ENDED,
         "JOB_STATE_SUCCEEDED", "files/batch-b1"},
        {OPERATION(INLINE_OUT STATE("BATCH_STATE_SUCCEEDED"), ",\"done\":true"),
         OP_REMOTE_ENDED, "BATCH_STATE_SUCCEEDED", OP_GEMINI_INLINE},
        /* Only in the second place. */
        {OPERATION(STATE("BATCH_STATE_SUCCEEDED"),
                   ",\"response\":{\"responsesFile\":\"files/batch-b1\"}"),
         OP_REMOTE_ENDED, "BATCH_STATE_SUCCEEDED", "files/batch-b1"},
        /* The state comes before the output; a name that cannot be asked for is none. */
        {OPERATION(STATE("BATCH_STATE_SUCCEEDED"), ",\"done\":true"), OP_REMOTE_IN_PROGRESS,
         "BATCH_STATE_SUCCEEDED", ""},
        {OPERATION(
             "\"output\":{\"responsesFile\":\"files/../x\"}," STATE("BATCH_STATE_SUCCEEDED"),
             ""),
         OP_REMOTE_IN_PROGRESS, "BATCH_STATE_SUCCEEDED", ""},
        {OPERATION(STATE("BATCH_STATE_CANCELLED"), ",\"done\":true"), OP_REMOTE_ENDED,
         "BATCH_STATE_CANCELLED", ""},
        {OPERATION(FILE_OUT STATE("BATCH_STATE_CANCELLED"), ",\"done\":true"), OP_REMOTE_ENDED,
         "BATCH_STATE_CANCELLED", "files/batch-b1"},
        {OPERATION(STATE("BATCH_STATE_EXPIRED"), ",\"done\":true"), OP_REMOTE_ENDED,
         "BATCH_STATE_EXPIRED", ""},
        {OPERATION(STATE("BATCH_STATE_FAILED"), ",\"done\":true"), OP_REMOTE_FAILED,
         "BATCH_STATE_FAILED", ""},
        {OPERATION(FILE_OUT STATE("BATCH_STATE_FAILED"), ",\"done\":true"), OP_REMOTE_ENDED,
         "BATCH_STATE_FAILED", "files/batch-b1"},
        {OPERATION(STATE("JOB_STATE_CANCELLING"), ""), OP_REMOTE_CANCELING,
         "JOB_STATE_CANCELLING", ""},
        {OPERATION(STATE("BATCH_STATE_UNSPECIFIED"), ""), OP_REMOTE_UNKNOWN,
         "BATCH_STATE_UNSPECIFIED", ""},
        {OPERATION(STATE("RUNNING"), ""), OP_REMOTE_UNKNOWN, "RUNNING", ""},
        {OPERATION("\"state\":7", ""), OP_REMOTE_UNKNOWN, "", ""},
        {OPERATION(FILE_OUT STATE("BATCH_STATE_NEW"), ",\"done\":true"), OP_REMOTE_ENDED,
         "BATCH_STATE_NEW", "files/batch-b1"},
        {OPERATION(STATE("BATCH_STATE_NEW"), ",\"done\":true,\"error\":{\"code\":13}"),
         OP_REMOTE_FAILED, "BATCH_STATE_NEW", ""},
        /* The batch itself, not wrapped in an operation. */
        {"{\"name\":\"batches/b1\",\"state\":\"BATCH_STATE_RUNNING\"}", OP_REMOTE_IN_PROGRESS,
         "BATCH_STATE_RUNNING", ""},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_remote_batch batch;
        assert_int_equal(decode_batch(200, cases[i].body, &batch, &err), OP_OK);
        if (batch.state != cases[i].state)
            fail_msg("%s: %d", cases[i].body, batch.state);
        assert_string_equal(batch.state_name, cases[i].name);
        assert_string_equal(batch.results_url, cases[i].results);
    }
}

static void test_failures(void **state)
{
    (void)state;
    static const struct {
        const char *error;
        enum op_disp disp;
        const char *text;
    } cases[] = {
        {"{\"code\":8,\"message\":\"quota\"}", OP_DISP_RETRY_AFTER,
         "8 RESOURCE_EXHAUSTED: quota"},
        {"{\"code\":3,\"message\":\"bad line 7\"}", OP_DISP_REJECT,
         "3 INVALID_ARGUMENT: bad line 7"},
        {"{\"code\":13,\"message\":\"Batch failed without error.\"}", OP_DISP_RETRY,
         "13 INTERNAL: Batch failed without error."},
        {"{\"code\":14}", OP_DISP_RETRY, "14 UNAVAILABLE"},
        {"{\"code\":4}", OP_DISP_RETRY, "4 DEADLINE_EXCEEDED"},
        {"{\"code\":7,\"message\":\"no\"}", OP_DISP_PAUSE, "7 PERMISSION_DENIED: no"},
        {"{\"code\":7,\"message\":\"File x or it may not exist\"}", OP_DISP_RETRY,
         "7 PERMISSION_DENIED: File x or it may not exist"},
        {"{\"code\":5,\"message\":\"File x not found\"}", OP_DISP_RETRY,
         "5 NOT_FOUND: File x not found"},
        {"{\"code\":5,\"message\":\"model x\"}", OP_DISP_REJECT, "5 NOT_FOUND: model x"},
        {"{\"code\":16}", OP_DISP_PAUSE, "16 UNAUTHENTICATED"},
        {"{\"code\":99,\"message\":\"m\"}", OP_DISP_RETRY, "99 UNKNOWN: m"},
        {"{}", OP_DISP_RETRY, "-1 UNKNOWN"},
        {"null", OP_DISP_RETRY, "Gemini gave no reason"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_remote_batch batch;
        OP_CLEANUP(op_mem_freep)
        char *body =
            op_mem_printf(OPERATION(STATE("BATCH_STATE_FAILED"), ",\"done\":true,\"error\":%s"),
                          cases[i].error);
        assert_int_equal(decode_batch(200, body, &batch, &err), OP_OK);
        assert_int_equal(batch.state, OP_REMOTE_FAILED);
        assert_string_equal(batch.failure, cases[i].text);
        if (batch.failure_disp != cases[i].disp)
            fail_msg("%s: %s", cases[i].error, op_disp_name(batch.failure_disp));
        assert_int_equal(batch.failure_limit, -1);
    }
    struct op_err err = OP_ERR_INIT;
    struct op_remote_batch batch;
    assert_int_equal(
        decode_batch(
            200,
            OPERATION(STATE("BATCH_STATE_FAILED"),
                      ",\"error\":{\"code\":8,\"details\":[" INFO(
                          "QuotaFailure",
                          "\"violations\":[{\"quotaId\":\"BatchEnqueuedTokensPerModel\","
                          "\"quotaValue\":\"3000000\"}]") "]}"),
            &batch, &err),
        OP_OK);
    assert_int_equal(batch.failure_limit, 3000000);
    /* A cancel's own explanation is shown, too. */
    assert_int_equal(decode_batch(200,
                                  OPERATION(STATE("BATCH_STATE_CANCELLED"),
                                            ",\"done\":true,\"error\":{\"code\":13,\"message\":"
                                            "\"Batch was cancelled.\"}"),
                                  &batch, &err),
                     OP_OK);
    assert_int_equal(batch.state, OP_REMOTE_ENDED);
    assert_string_equal(batch.failure, "13 INTERNAL: Batch was cancelled.");
}

static void test_cancel_reply(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_remote_batch batch;
    assert_int_equal(decode_batch(200, "{}", &batch, &err), OP_OK);
    assert_string_equal(batch.id, "");
    assert_int_equal(batch.state, OP_REMOTE_UNKNOWN);
}

static void test_batch_errors(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        enum op_rc rc;
        enum op_disp disp;
    } cases[] = {
        {404, ERROR("404", "NOT_FOUND", "no"), OP_NOTFOUND, OP_DISP_RETRY},
        {410, "", OP_NOTFOUND, OP_DISP_RETRY},
        {403, ERROR("403", "PERMISSION_DENIED", "the File or it may not exist"), OP_NOTFOUND,
         OP_DISP_RETRY},
        {403, ERROR("403", "PERMISSION_DENIED", "no"), OP_REMOTE, OP_DISP_PAUSE},
        {403, "<html>may not exist", OP_REMOTE, OP_DISP_PAUSE},
        {200, "", OP_REMOTE, OP_DISP_RETRY},
        {200, "<html>", OP_REMOTE, OP_DISP_RETRY},
        {200, "{\"name\":7}", OP_REMOTE, OP_DISP_RETRY},
        {0, "", OP_REMOTE, OP_DISP_RETRY},
        {302, "", OP_REMOTE, OP_DISP_RETRY},
        /* A cancel that came too late is refused; the account is not at fault. */
        {400, ERROR("400", "FAILED_PRECONDITION", "already done"), OP_REMOTE, OP_DISP_REJECT},
        {401, "", OP_REMOTE, OP_DISP_PAUSE},
        {500, ERROR("500", "INTERNAL", "no"), OP_REMOTE, OP_DISP_RETRY},
        {503, ERROR("503", "UNAVAILABLE", "overloaded"), OP_REMOTE, OP_DISP_RETRY},
        {504, "", OP_REMOTE, OP_DISP_RETRY},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_remote_batch batch;
        enum op_rc rc = decode_batch(cases[i].status, cases[i].body, &batch, &err);
        if (rc != cases[i].rc || err.rc != rc || err.disp != cases[i].disp)
            fail_msg("%d %s: %s %s", cases[i].status, cases[i].body, op_rc_name(rc),
                     op_disp_name(err.disp));
        assert_int_equal(err.native, cases[i].status);
        assert_true(err.msg[0]);
    }
}

static void test_garbage_batches(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        OPERATION(
            "\"batchStats\":null,\"endTime\":[],\"output\":[],\"state\":\"BATCH_STATE_RUNNING\"",
            ",\"done\":\"yes\",\"error\":7,\"response\":[]"),
        OPERATION("\"batchStats\":[1],\"output\":7," STATE("BATCH_STATE_RUNNING"), ""),
        OPERATION("\"batchStats\":{\"requestCount\":\"x\",\"pendingRequestCount\":-1,"
                  "\"successfulRequestCount\":[],\"failedRequestCount\":\"-2\"}," STATE(
                      "BATCH_STATE_RUNNING"),
                  ""),
    };
    for (size_t i = 0; i < OP_COUNT(bodies); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_remote_batch batch;
        assert_int_equal(decode_batch(200, bodies[i], &batch, &err), OP_OK);
        assert_int_equal(batch.state, OP_REMOTE_IN_PROGRESS);
        assert_int_equal(batch.total, -1);
        assert_int_equal(batch.processing, -1);
        assert_int_equal(batch.ended_ms, -1);
    }
}

/* --- lists ---------------------------------------------------------------------------------- */

static void note(void *arg, const struct op_remote_batch *batch)
{
    op_buf_addf(arg, "%s/%s/%d ", batch->id, batch->tag, (int)batch->state);
}

#define ITEM(id)                                                        \
    "{\"name\":\"batches/" id "\",\"metadata\":{\"displayName\":\"t" id \
    "\",\"state\":\"BATCH_STATE_RUNNING\"}}"

static void test_lists(void **state)
{
    (void)state;
    char long_token[400], body_long[600];
    memset(long_token, 'x', sizeof(long_token) - 1);
    long_token[sizeof(long_token) - 1] = '\0';
    snprintf(body_long, sizeof(body_long), "{\"operations\":[],\"nextPageToken\":\"%s\"}",
             long_token);
    const struct {
        int status;
        const char *body, *seen, *cursor; /* seen NULL: refused */
    } cases[] = {
        {200, "{}", "", ""},
        {200, "{\"operations\":[]}", "", ""},
        {200, "{\"operations\":[" ITEM("2") "," ITEM("1") "]}",
         "batches/2/t2/0 batches/1/t1/0 ", ""},
        {200, "{\"operations\":[" ITEM("2") "],\"nextPageToken\":\"CiQ=\"}", "batches/2/t2/0 ",
         "CiQ="},
        {200, "{\"operations\":[" ITEM("2") "],\"nextPageToken\":\"\"}", "batches/2/t2/0 ", ""},
        {200, "{\"nextPageToken\":\"t\"}", "", "t"},
        {200, "{\"operations\":[" ITEM("2") "],\"nextPageToken\":7}", NULL, NULL},
        {200, body_long, NULL, NULL},
        {200, "{\"operations\":[" ITEM("2") ",{\"name\":null}]}", NULL, NULL},
        {200, "{\"operations\":[7]}", NULL, NULL},
        {200, "{\"operations\":{}}", NULL, NULL},
        {200, "{\"batches\":[]}", NULL, NULL},
        {200, "", NULL, NULL},
        {200, "[]", NULL, NULL},
        {500, "{\"operations\":[]}", NULL, NULL},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_http_reply reply;
        OP_CLEANUP(op_buf_release) struct op_buf seen;
        op_buf_init(&seen, 10000);
        char cursor[256] = "untouched";
        make_reply(&reply, cases[i].status, "", cases[i].body);
        enum op_rc rc = ops->decode_list(&reply, note, &seen, cursor, &err);
        drop_reply(&reply);
        if ((rc == OP_OK) != (cases[i].seen != NULL))
            fail_msg("%s: %s", cases[i].body, err.msg);
        assert_string_equal(seen.ptr, cases[i].seen ? cases[i].seen : "");
        assert_string_equal(cursor, cases[i].cursor ? cases[i].cursor : "untouched");
        if (rc)
            assert_int_equal(err.disp, OP_DISP_RETRY);
    }
}

/* --- files ---------------------------------------------------------------------------------- */

#define FILE_1                                                                                 \
    "{\"name\":\"files/f1\",\"displayName\":\"op-ab-1\",\"sizeBytes\":\"202\",\"createTime\":" \
    "\"2025-12-10T18:27:01Z\",\"state\":\"ACTIVE\"}"

static void test_upload(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *headers, *body;
        enum op_rc rc;
        enum op_disp disp;
    } cases[] = {
        {200, "x-goog-upload-status: final\r\n", "{\"file\":" FILE_1 "}", OP_OK, OP_DISP_FATAL},
        {200, "", "{\"file\":" FILE_1 "}", OP_OK, OP_DISP_FATAL},
        {200, "x-goog-upload-status: active\r\n", "{\"file\":" FILE_1 "}", OP_REMOTE,
         OP_DISP_RETRY},
        {200, "x-goog-upload-status: final\r\n", "", OP_REMOTE, OP_DISP_RETRY},
        {200, "", "{\"file\":{}}", OP_REMOTE, OP_DISP_RETRY},
        {200, "", "{\"file\":{\"name\":\"files/f1\",\"state\":\"FAILED\"}}", OP_REMOTE,
         OP_DISP_RETRY},
        /* An error that looks like a success. */
        {200, "x-goog-upload-status: final\r\n",
         ERROR("400", "INVALID_ARGUMENT", "Unsupported MIME type: jsonl"), OP_REMOTE,
         OP_DISP_RETRY},
        {200, "x-goog-upload-status: final\r\n", ERROR("400", "INVALID_ARGUMENT", "no"),
         OP_REMOTE, OP_DISP_REJECT},
        {200, "", ERROR("429", "RESOURCE_EXHAUSTED", "storage"), OP_REMOTE, OP_DISP_RETRY},
        {413, "", "", OP_REMOTE, OP_DISP_SPLIT},
        {500, "", "", OP_REMOTE, OP_DISP_RETRY},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_http_reply reply;
        struct op_remote_file file = {0};
        make_reply(&reply, cases[i].status, cases[i].headers, cases[i].body);
        enum op_rc rc = ops->decode_upload(&reply, &file, &err);
        drop_reply(&reply);
        if (rc != cases[i].rc || (rc && err.disp != cases[i].disp))
            fail_msg("%s: %s %s", cases[i].body, op_rc_name(rc), op_disp_name(err.disp));
        if (rc) {
            assert_string_equal(file.id, "");
            continue;
        }
        assert_string_equal(file.id, "files/f1");
        assert_string_equal(file.name, "op-ab-1");
        assert_int_equal(file.bytes, 202);
        assert_int_equal(file.created_ms, 1765391221000);
    }
}

static void note_file(void *arg, const struct op_remote_file *file)
{
    op_buf_addf(arg, "%s=%s/%d ", file->id, file->name, (int)file->bytes);
}

static void test_files(void **state)
{
    (void)state;
    static const struct {
        const char *body, *seen, *cursor;
    } cases[] = {
        {"{}", "", ""},
        {"{\"files\":[" FILE_1 ",{\"name\":\"files/batch-x\"}],\"nextPageToken\":\"t\"}",
         "files/f1=op-ab-1/202 files/batch-x=/-1 ", "t"},
        {"{\"files\":[" FILE_1 ",{}]}", NULL, NULL},
        {"{\"files\":7}", NULL, NULL},
        {"{\"data\":[]}", NULL, NULL},
        {"", NULL, NULL},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_http_reply reply;
        OP_CLEANUP(op_buf_release) struct op_buf seen;
        op_buf_init(&seen, 10000);
        char cursor[256] = "untouched";
        make_reply(&reply, 200, "", cases[i].body);
        enum op_rc rc = ops->decode_files(&reply, note_file, &seen, cursor, &err);
        drop_reply(&reply);
        assert_int_equal(rc, cases[i].seen ? OP_OK : OP_REMOTE);
        assert_string_equal(seen.ptr, cases[i].seen ? cases[i].seen : "");
        assert_string_equal(cursor, cases[i].cursor ? cases[i].cursor : "untouched");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_create_dispositions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_create_accepted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_states, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancel_reply, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_batch_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_garbage_batches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_upload, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
