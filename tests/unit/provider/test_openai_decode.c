/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: what replies mean: the outcome of a create, batches in every state and dialect, why one
 *            failed, lists, files, errors.
 * Oracle:    the send table of the protocol, run over every status and body shape; objects and errors
 *            as documented, and as seen on the wire (reference/openai.md 2 to 4, 7 and 9.2).
 */
#include <stdio.h>

#include "support_openai.h"

static const struct op_provider_ops *const ops = &op_provider_openai;

#define ERROR(type, code, message)                             \
    "{\"error\":{\"message\":\"" message "\",\"type\":\"" type \
    "\",\"param\":null,\"code\":" code "}}"
#define BATCH                                                                                  \
    "{\"id\":\"batch_1\",\"object\":\"batch\",\"endpoint\":\"/v1/responses\",\"errors\":null," \
    "\"input_file_id\":\"file-1\",\"completion_window\":\"24h\",\"status\":\"validating\","    \
    "\"output_file_id\":null,\"error_file_id\":null,\"created_at\":1790000000,"                \
    "\"in_progress_at\":null,\"expires_at\":1790086400,\"completed_at\":null,"                 \
    "\"request_counts\":{\"total\":0,\"completed\":0,\"failed\":0},"                           \
    "\"metadata\":{\"op_tag\":\"op-ab12cd-00ff00ff\",\"op_n\":\"3\"}}"

/* --- create --------------------------------------------------------------------------------- */

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
    static const int refusals[] = {400, 401, 402, 403, 404, 405, 413, 415, 422, 429};
    for (size_t i = 0; i < OP_COUNT(refusals); i++)
        if (status == refusals[i])
            return true;
    return false;
}

/* Every status with every shape of body. */
static void test_create_table(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        bool batch, error;
    } bodies[] = {
        {BATCH, true, false},
        {"{\"id\":\"2f6e0a4c-1\"}", true, false},
        {"{\"job\":{\"id\":\"b\",\"status\":\"VALIDATING\"},\"warning\":\"w\"}", true, false},
        {ERROR("invalid_request_error", "null", "m"), false, true},
        {ERROR("", "\"x\"", "m"), false, true},
        {"{\"error\":{\"message\":\"m\",\"code\":\"1211\"}}", false, true},
        {"", false, false},
        {"<html>413</html>", false, false},
        {"{\"error\":\"text\"}", false, false},
        {"{\"error\":{\"message\":\"gateway\"}}", false, false},
        {"{\"error\":{\"type\":\"t\",\"code\":\"c\"}}", false, false},
        {"{\"message\":\"m\",\"type\":\"t\"}", false, false},
        {"{\"id\":\"../x\"}", false, false},
        {"{\"id\":null,\"object\":\"batch\"}", false, false},
        {"{\"id\":\"file-1\",\"object\":\"file\"}", false, false},
        {"{\"id\":\"batch_1\",", false, false},
        {"null", false, false},
        {"[]", false, false},
        {"\"x\"", false, false},
    };
    for (int status = 100; status < 600; status++) {
        for (size_t i = 0; i < OP_COUNT(bodies); i++) {
            struct op_err err = OP_ERR_INIT;
            struct op_remote_batch batch = {0};
            enum op_create_class want_class = OP_CREATE_AMBIGUOUS;
            if (status >= 200 && status < 300 && bodies[i].batch)
                want_class = OP_CREATE_ACCEPTED;
            else if (is_refusal(status) && bodies[i].error)
                want_class = OP_CREATE_REJECTED;
            enum op_create_class got = create(OP_OK, status, "", bodies[i].body, &batch, &err);
            if (got != want_class)
                fail_msg("%d %s: %d", status, bodies[i].body, got);
            assert_int_equal(err.msg[0] != '\0', got != OP_CREATE_ACCEPTED);
            assert_int_equal(batch.id[0] != '\0', got == OP_CREATE_ACCEPTED);
            if (got == OP_CREATE_AMBIGUOUS)
                assert_int_equal(err.disp, OP_DISP_AMBIGUOUS);
            if (got != OP_CREATE_ACCEPTED)
                assert_int_equal(err.native, status);
            /* A transfer that failed is ambiguous whatever had arrived. */
            struct op_err cut = OP_ERR_INIT;
            assert_int_equal(create(OP_REMOTE, status, "", bodies[i].body, &batch, &cut),
                             OP_CREATE_AMBIGUOUS);
            assert_int_equal(cut.disp, OP_DISP_AMBIGUOUS);
        }
    }
}

static void test_create_transport(void **state)
{
    (void)state;
    struct op_remote_batch batch = {0};
    struct op_err err = OP_ERR_INIT;
    op_err_set_as(&err, OP_REMOTE, OP_DISP_RETRY, "connection reset");
    err.native = 56;
    assert_int_equal(create(OP_REMOTE, 0, "", "", &batch, &err), OP_CREATE_AMBIGUOUS);
    assert_int_equal(err.disp, OP_DISP_AMBIGUOUS);
    assert_int_equal(err.native, 56);
    assert_mentions(err.msg, "connection reset");
    assert_mentions(err.msg, "may have been accepted");
}

#define QUEUE                                                                               \
    "Enqueued token limit reached for gpt-4o-mini in organization org-1. Limit: 2,000,000 " \
    "enqueued tokens. Please try again once some in_progress batches have been completed."

static const struct {
    int status;
    const char *headers, *body;
    enum op_disp disp;
    int64_t wait_ms;
} refusals[] = {
    {400, "", ERROR("invalid_request_error", "null", "no"), OP_DISP_REJECT, 0},
    {429, "", ERROR("insufficient_quota", "\"insufficient_quota\"", "You exceeded"),
     OP_DISP_QUOTA, 0},
    {429, "retry-after: 5\r\n", ERROR("insufficient_quota", "null", "m"), OP_DISP_QUOTA, 0},
    {400, "", ERROR("invalid_request_error", "\"billing_hard_limit_reached\"", "Billing"),
     OP_DISP_QUOTA, 0},
    {403, "", ERROR("requests", "null", "Your account: billing is off"), OP_DISP_QUOTA, 0},
    {401, "", ERROR("invalid_request_error", "\"invalid_api_key\"", "Incorrect API key"),
     OP_DISP_PAUSE, 0},
    {403, "", ERROR("forbidden", "null", "m"), OP_DISP_PAUSE, 0},
    {402, "", ERROR("x", "null", "m"), OP_DISP_QUOTA, 0},
    {429, "", ERROR("requests", "\"rate_limit_exceeded\"", "m"), OP_DISP_RETRY, 0},
    {429, "retry-after: 7\r\n", ERROR("rate_limit_error", "\"slow_down\"", "m"),
     OP_DISP_RETRY_AFTER, 7000},
    {429, "retry-after: 7\r\nretry-after-ms: 250\r\n", ERROR("t", "null", "m"),
     OP_DISP_RETRY_AFTER, 250},
    {429, "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 6m0s\r\n",
     ERROR("t", "null", "m"), OP_DISP_RETRY_AFTER, 360000},
    {429, "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 2s81ms\r\n",
     ERROR("t", "null", "m"), OP_DISP_RETRY_AFTER, 2081},
    {429, "x-ratelimit-remaining-requests: 9\r\nx-ratelimit-reset-requests: 6m0s\r\n",
     ERROR("t", "null", "m"), OP_DISP_RETRY, 0},
    {429, "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: soon\r\n",
     ERROR("t", "null", "m"), OP_DISP_RETRY, 0},
    {400, "", ERROR("invalid_request_error", "\"token_limit_exceeded\"", QUEUE), OP_DISP_RETRY,
     0},
    {429, "retry-after: 60\r\n", ERROR("x", "null", QUEUE), OP_DISP_RETRY_AFTER, 60000},
    {400, "",
     ERROR("invalid_request_error", "null", "Cannot find file file-1, or organization"),
     OP_DISP_RETRY, 0},
    {400, "", ERROR("invalid_request_error", "null", "File is too large."), OP_DISP_SPLIT, 0},
    {413, "",
     ERROR("t", "null", "The batch input file is larger than the 209715200 maximum for the m"),
     OP_DISP_SPLIT, 0},
    {413, "", ERROR("t", "null", "m"), OP_DISP_SPLIT, 0},
    {404, "", ERROR("invalid_request_error", "\"model_not_found\"", "m"), OP_DISP_REJECT, 0},
};

static void test_create_dispositions(void **state)
{
    (void)state;
    for (size_t i = 0; i < OP_COUNT(refusals); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_remote_batch batch = {0};
        assert_int_equal(create(OP_OK, refusals[i].status, refusals[i].headers,
                                refusals[i].body, &batch, &err),
                         OP_CREATE_REJECTED);
        if (err.disp != refusals[i].disp)
            fail_msg("case %zu: %s, %s", i, op_disp_name(err.disp), err.msg);
        assert_int_equal(err.retry_after_ms, refusals[i].wait_ms);
    }
}

/* --- errors --------------------------------------------------------------------------------- */

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *headers, *body;
        enum op_rc rc;
        enum op_disp disp;
        const char *mention;
    } cases[] = {
        {404, "x-request-id: req_9\r\n", ERROR("invalid_request_error", "null", "No such"),
         OP_NOTFOUND, OP_DISP_RETRY, "404 invalid_request_error: No such (request req_9)"},
        {410, "", "", OP_NOTFOUND, OP_DISP_RETRY, "something else than the API's JSON"},
        {500, "", ERROR("server_error", "null", "m"), OP_REMOTE, OP_DISP_RETRY, "500"},
        {503, "retry-after: 2\r\n", ERROR("service_unavailable_error", "null", "m"), OP_REMOTE,
         OP_DISP_RETRY_AFTER, "503"},
        {502, "", "<html>\n</html>", OP_REMOTE, OP_DISP_RETRY, "'<html> </html>'"},
        {409, "", ERROR("invalid_request_error", "null", "Cannot cancel a batch with status"),
         OP_REMOTE, OP_DISP_RETRY, "Cannot cancel"},
        {401, "", "no json", OP_REMOTE, OP_DISP_PAUSE, "401"},
        {302, "", "", OP_REMOTE, OP_DISP_RETRY, "302"},
        {0, "", "", OP_REMOTE, OP_DISP_RETRY, "no reply"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_http_reply reply;
        make_reply(&reply, cases[i].status, cases[i].headers, cases[i].body);
        assert_int_equal(ops->decode_error(&reply, &err), cases[i].rc);
        assert_int_equal(err.disp, cases[i].disp);
        assert_mentions(err.msg, cases[i].mention);
        drop_reply(&reply);
    }
}

/* --- batches -------------------------------------------------------------------------------- */

static enum op_rc decode(int status, const char *body, struct op_remote_batch *batch,
                         struct op_err *err)
{
    struct op_http_reply reply;
    make_reply(&reply, status, "", body);
    enum op_rc rc = ops->decode_batch(&reply, batch, err);
    drop_reply(&reply);
    return rc;
}

static void test_batch(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_remote_batch b;
    assert_int_equal(decode(200, BATCH, &b, &err), OP_OK);
    assert_string_equal(b.id, "batch_1");
    assert_int_equal(b.state, OP_REMOTE_IN_PROGRESS);
    assert_string_equal(b.state_name, "validating");
    assert_int_equal(b.created_ms, 1790000000000);
    assert_int_equal(b.expires_ms, 1790086400000);
    assert_int_equal(b.ended_ms, -1);
    assert_int_equal(b.total, -1);
    assert_string_equal(b.results_url, "");
    assert_string_equal(b.tag, "op-ab12cd-00ff00ff");
    assert_string_equal(b.file_id, "file-1");
    assert_int_equal(b.failure_limit, -1);
    assert_int_equal(
        decode(201,
               "{\"id\":\"b\",\"status\":\"completed\",\"completed_at\":1790000001.5,"
               "\"request_counts\":{\"total\":10,\"completed\":7,\"failed\":1},"
               "\"output_file_id\":\"file-o\",\"error_file_id\":\"\"}",
               &b, &err),
        OP_OK);
    assert_int_equal(b.ended_ms, 1790000001500);
    assert_int_equal(b.total, 10);
    assert_int_equal(b.succeeded, 7);
    assert_int_equal(b.errored, 1);
    assert_int_equal(b.processing, 2);
    assert_string_equal(b.results_url, "file-o,");
}

static void test_states(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum op_remote_state state;
    } cases[] = {
        {"validating", OP_REMOTE_IN_PROGRESS},
        {"in_progress", OP_REMOTE_IN_PROGRESS},
        {"finalizing", OP_REMOTE_IN_PROGRESS},
        {"Validating", OP_REMOTE_IN_PROGRESS},
        {"IN_PROGRESS", OP_REMOTE_IN_PROGRESS},
        {"PROGRESS", OP_REMOTE_IN_PROGRESS},
        {"QUEUED", OP_REMOTE_IN_PROGRESS},
        {"RUNNING", OP_REMOTE_IN_PROGRESS},
        {"cancelling", OP_REMOTE_CANCELING},
        {"CANCELLATION_REQUESTED", OP_REMOTE_CANCELING},
        {"completed", OP_REMOTE_ENDED},
        {"COMPLETED", OP_REMOTE_ENDED},
        {"SUCCESS", OP_REMOTE_ENDED},
        {"expired", OP_REMOTE_ENDED},
        {"TIMEOUT_EXCEEDED", OP_REMOTE_ENDED},
        {"cancelled", OP_REMOTE_ENDED},
        {"canceled", OP_REMOTE_ENDED},
        {"failed", OP_REMOTE_FAILED},
        {"FAILED", OP_REMOTE_FAILED},
        {"paused", OP_REMOTE_UNKNOWN},
        {"", OP_REMOTE_UNKNOWN},
        {"complete", OP_REMOTE_UNKNOWN},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        /* With and without files: every ended one may have none. */
        for (int files = 0; files < 2; files++) {
            struct op_err err = OP_ERR_INIT;
            struct op_remote_batch b;
            char body[200];
            snprintf(body, sizeof(body),
                     "{\"id\":\"b\",\"status\":\"%s\",\"error_file_id\":%s}", cases[i].name,
                     files ? "\"file-e\"" : "null");
            assert_int_equal(decode(200, body, &b, &err), OP_OK);
            enum op_remote_state want_state = cases[i].state;
            /* Doubleword: all lines failed, and the error file says how. */
            if (files && want_state == OP_REMOTE_FAILED)
                want_state = OP_REMOTE_ENDED;
            if (b.state != want_state)
                fail_msg("%s: %d", cases[i].name, b.state);
            assert_string_equal(b.state_name, cases[i].name);
            assert_string_equal(b.results_url, files ? ",file-e" : "");
        }
    }
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int64_t ms;
    } cases[] = {
        {"1790000000", 1790000000000},
        {"1790000000.25", 1790000000250},
        {"1790000000000", 1790000000000},
        {"\"1790000000\"", 1790000000000},
        {"\"2026-09-21T14:13:20Z\"", 1790000000000},
        {"\"2026-09-21T14:13:20.250+00:00\"", 1790000000250},
        {"\"2026-09-21T14:13:20.250\"", 1790000000250},
        {"null", -1},
        {"0", -1},
        {"-5", -1},
        {"\"\"", -1},
        {"\"soon\"", -1},
        {"1e300", -1},
        {"{}", -1},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        int64_t got = op_openai_time(read_json(cases[i].value));
        if (got != cases[i].ms)
            fail_msg("%s: %lld", cases[i].value, (long long)got);
    }
    assert_int_equal(op_openai_time((struct op_json){0}), -1);
}

static void test_unreadable(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum op_rc rc;
    } cases[] = {
        {"", OP_REMOTE},
        {"{}", OP_REMOTE},
        {"{\"id\":\"b\",\"object\":\"list\"}", OP_REMOTE},
        /* a result file that was paid for must not be passed over */
        {"{\"id\":\"b\",\"status\":\"completed\",\"output_file_id\":\"a b\"}", OP_REMOTE},
        {ERROR("invalid_request_error", "null", "No batch found with id 'batch_1'."),
         OP_NOTFOUND},
        {ERROR("server_error", "null", "m"), OP_REMOTE},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_remote_batch b;
        assert_int_equal(decode(200, cases[i].body, &b, &err), cases[i].rc);
        assert_int_equal(err.disp, OP_DISP_RETRY);
    }
}

/* --- failures ------------------------------------------------------------------------------- */

#define LIST(errors) "\"errors\":{\"object\":\"list\",\"data\":[" errors "]}"
#define ONE(code, line, message) \
    "{\"code\":" code ",\"line\":" line ",\"message\":\"" message "\",\"param\":null}"

static void test_failures(void **state)
{
    (void)state;
    static const struct {
        const char *errors;
        enum op_disp disp;
        int64_t limit;
        const char *mention;
    } cases[] = {
        {LIST(ONE("\"token_limit_exceeded\"", "null", QUEUE)), OP_DISP_RETRY_AFTER, 2000000,
         "token_limit_exceeded: Enqueued token limit"},
        {LIST(ONE("\"token_limit_exceeded\"", "null", "no number")), OP_DISP_RETRY_AFTER, -1,
         "no number"},
        {LIST(ONE("\"invalid_request\"", "null", "Cannot find file file-1, or organization")),
         OP_DISP_RETRY, -1, "Cannot find file"},
        {LIST(ONE("null", "null",
                  "The batch input file is larger than the 209715200 maximum for the x")),
         OP_DISP_SPLIT, -1, "larger than"},
        {LIST(ONE("\"too_many_tasks\"", "null", "m")), OP_DISP_SPLIT, -1, "too_many_tasks"},
        {LIST(ONE("\"invalid_json_line\"", "1", "This line is not parseable as valid JSON.")),
         OP_DISP_REJECT, -1, "valid JSON. (line 1)"},
        {LIST(ONE("\"mismatched_model\"", "null", "m")), OP_DISP_REJECT, -1, "mismatched"},
        {LIST(ONE("\"something_new\"", "7", "m")), OP_DISP_REJECT, -1, "(line 7)"},
        {LIST(ONE("\"something_new\"", "null", "m")), OP_DISP_RETRY, -1, "something_new: m"},
        {LIST(ONE("\"billing_hard_limit_reached\"", "null", "m")), OP_DISP_QUOTA, -1,
         "billing"},
        {LIST(ONE("\"server_error\"", "null", "m") "," ONE("\"x\"", "2", "n")), OP_DISP_REJECT,
         -1, "server_error: m; x: n (line 2)"},
        {LIST(""), OP_DISP_RETRY, -1, "no reason"},
        {"\"errors\":null", OP_DISP_RETRY, -1, "no reason"},
        /* bare array, text, object, Together's own */
        {"\"errors\":[" ONE("\"invalid_method\"", "4", "m") "]", OP_DISP_REJECT, -1,
         "invalid_method: m (line 4)"},
        {"\"errors\":[\"a text\"]", OP_DISP_RETRY, -1, "a text"},
        {"\"errors\":\"Cannot find file x\"", OP_DISP_RETRY, -1, "Cannot find"},
        {"\"errors\":{\"code\":\"insufficient_quota\",\"message\":\"m\"}", OP_DISP_QUOTA, -1,
         "insufficient_quota: m"},
        {"\"error\":\"out of room\"", OP_DISP_RETRY, -1, "out of room"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_remote_batch b;
        OP_CLEANUP(op_mem_freep)
        char *body = op_mem_printf("{\"id\":\"b\",\"status\":\"failed\",%s}", cases[i].errors);
        assert_int_equal(decode(200, body, &b, &err), OP_OK);
        assert_int_equal(b.state, OP_REMOTE_FAILED);
        if (b.failure_disp != cases[i].disp)
            fail_msg("%s: %s", cases[i].errors, op_disp_name(b.failure_disp));
        assert_int_equal(b.failure_limit, cases[i].limit);
        assert_mentions(b.failure, cases[i].mention);
    }
}

/* --- lists ---------------------------------------------------------------------------------- */

struct seen {
    int count;
    char ids[400];
};

static void see_batch(void *arg, const struct op_remote_batch *batch)
{
    struct seen *seen = arg;
    seen->count++;
    strncat(seen->ids, batch->id, sizeof(seen->ids) - strlen(seen->ids) - 1);
}

static void see_file(void *arg, const struct op_remote_file *file)
{
    struct seen *seen = arg;
    seen->count++;
    size_t used = strlen(seen->ids);
    snprintf(seen->ids + used, sizeof(seen->ids) - used, "%s=%s:%lld;", file->id, file->name,
             (long long)file->bytes);
}

#define B(id) "{\"id\":\"" id "\",\"status\":\"completed\"}"
#define B5    B("a") "," B("b") "," B("c") "," B("d") "," B("e")

static void test_lists(void **state)
{
    (void)state;
    static const struct {
        const char *body, *ids, *next; /* ids NULL: the page is refused */
    } cases[] = {
        {"{\"object\":\"list\",\"data\":[" B("a") "],\"first_id\":\"a\",\"last_id\":\"a\","
                                                  "\"has_more\":false}",
         "a", ""},
        {"{\"data\":[" B("a") "," B("b") "],\"last_id\":\"b\",\"has_more\":true}", "ab", "b"},
        {"{\"data\":[" B("a") "," B("b") "],\"last_id\":null,\"has_more\":true}", "ab", "b"},
        {"{\"data\":[],\"has_more\":true}", "", ""},
        {"{\"data\":[" B("a") "]}", "a", ""},
        {"{\"data\":[" B5 "," B5 "," B5 "," B5 "]}", "abcdeabcdeabcdeabcde", "e"},
        {"[" B("a") "," B("b") "]", "ab", ""},
        {"[" B5 "," B5 "," B5 "," B5 "]", "abcdeabcdeabcdeabcde", ""},
        {"{\"data\":[" B("a") "],\"paging\":{\"next_cursor\":\"x+/=\"}}", "a", "x+/="},
        {"{\"data\":[" B5 "," B5 "," B5 "," B5 "],\"paging\":{\"next_cursor\":null}}",
         "abcdeabcdeabcdeabcde", ""},
        {"{\"data\":[" B("a") ",{\"id\":7}],\"has_more\":false}", NULL, NULL},
        {"{\"data\":{},\"has_more\":false}", NULL, NULL},
        {"{\"object\":\"list\"}", NULL, NULL},
        {"", NULL, NULL},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_http_reply reply;
        struct seen seen = {0};
        char next[256] = "untouched";
        make_reply(&reply, 200, "", cases[i].body);
        enum op_rc rc = ops->decode_list(&reply, see_batch, &seen, next, &err);
        drop_reply(&reply);
        assert_int_equal(rc, cases[i].ids ? OP_OK : OP_REMOTE);
        assert_string_equal(seen.ids, cases[i].ids ? cases[i].ids : "");
        assert_string_equal(next, cases[i].next ? cases[i].next : "untouched");
        if (rc)
            assert_int_equal(err.disp, OP_DISP_RETRY);
    }
}

#define FILE_OBJECT                                                                             \
    "{\"id\":\"file-1\",\"object\":\"file\",\"bytes\":99,\"created_at\":1790000000,"            \
    "\"filename\":\"op-ab12cd-00ff00ff.jsonl\",\"purpose\":\"batch\",\"status\":\"processed\"," \
    "\"status_details\":null}"

static void test_files(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_http_reply reply;
    struct op_remote_file file;
    make_reply(&reply, 201, "", FILE_OBJECT);
    assert_int_equal(ops->decode_upload(&reply, &file, &err), OP_OK);
    drop_reply(&reply);
    assert_string_equal(file.id, "file-1");
    assert_string_equal(file.name, "op-ab12cd-00ff00ff");
    assert_int_equal(file.bytes, 99);
    assert_int_equal(file.created_ms, 1790000000000);
    static const struct {
        int status;
        const char *body;
        enum op_disp disp;
    } bad[] = {
        {200, "", OP_DISP_RETRY}, /* the PUT of Together */
        {200, "{}", OP_DISP_RETRY},
        {200, "{\"id\":\"file-1\",\"status\":\"error\",\"status_details\":\"d\"}",
         OP_DISP_REJECT},
        {413, "<html>", OP_DISP_SPLIT},
        {400, ERROR("invalid_request_error", "null", "Invalid file format"), OP_DISP_REJECT},
        {500, "", OP_DISP_RETRY},
    };
    for (size_t i = 0; i < OP_COUNT(bad); i++) {
        struct op_err why = OP_ERR_INIT;
        make_reply(&reply, bad[i].status, "", bad[i].body);
        assert_int_equal(ops->decode_upload(&reply, &file, &why), OP_REMOTE);
        assert_int_equal(why.disp, bad[i].disp);
        drop_reply(&reply);
    }
    struct seen seen = {0};
    char next[256];
    make_reply(&reply, 200, "",
               "{\"data\":[" FILE_OBJECT
               ",{\"id\":\"odd id\"},{\"id\":\"f2\",\"filename\":\"x\"}],"
               "\"has_more\":true,\"last_id\":\"f2\"}");
    assert_int_equal(ops->decode_files(&reply, see_file, &seen, next, &err), OP_OK);
    drop_reply(&reply);
    assert_string_equal(seen.ids, "file-1=op-ab12cd-00ff00ff:99;f2=x:-1;");
    assert_string_equal(next, "f2");
    make_reply(&reply, 200, "", "{\"data\":7}");
    assert_int_equal(ops->decode_files(&reply, see_file, &seen, next, &err), OP_REMOTE);
    drop_reply(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_create_transport, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_create_dispositions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_batch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_states, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_times, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unreadable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
