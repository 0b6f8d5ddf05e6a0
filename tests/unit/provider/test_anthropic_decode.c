/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: what replies of the batch endpoints mean: the outcome of a create, batches, lists,
 *            errors.
 * Oracle:    the send table of the protocol, run over every status and body shape; the API's
 *            documented objects and errors.
 */
#include "provider/anthropic/anthropic.h"
#include "support.h"

static const struct op_provider_ops *const ops = &op_provider_anthropic;

#define ERROR_BODY(type, message)                                                 \
    "{\"type\":\"error\",\"error\":{\"type\":\"" type "\",\"message\":\"" message \
    "\"},\"request_id\":\"req_1\"}"
#define CODE_BODY(type, code)                         \
    "{\"type\":\"error\",\"error\":{\"type\":\"" type \
    "\",\"message\":\"m\",\"details\":{\"error_code\":\"" code "\"}}}"
#define BATCH_HEAD "{\"id\":\"msgbatch_01Kk\",\"type\":\"message_batch\",\"processing_status\":"
#define BATCH                                                                          \
    BATCH_HEAD "\"in_progress\",\"request_counts\":{\"processing\":3,\"succeeded\":0," \
               "\"errored\":0,\"canceled\":0,\"expired\":0},\"ended_at\":null,"        \
               "\"created_at\":\"2025-01-29T14:25:40.141141+00:00\","                  \
               "\"expires_at\":\"2025-01-30T14:25:40.141141Z\",\"archived_at\":null,"  \
               "\"cancel_initiated_at\":null,\"results_url\":null,\"new\":{}}"

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
        {BATCH, true, false},
        {"{\"id\":\"msgbatch_1\"}", true, false},
        {ERROR_BODY("invalid_request_error", "m"), false, true},
        {"", false, false},
        {"<html>413</html>", false, false},
        {"{\"type\":\"error\",\"error\":\"text\"}", false, false},
        {"{\"type\":\"error\",\"error\":{\"type\":7}}", false, false},
        {"{\"type\":\"error\"}", false, false},
        {"{\"error\":{\"type\":\"x\",\"message\":\"y\"}}", false, false},
        {"{\"id\":\"../x\"}", false, false},
        {"{\"id\":null,\"type\":\"message_batch\"}", false, false},
        {"{\"id\":\"msg_1\",\"type\":\"message\"}", false, false},
        {BATCH_HEAD, false, false},
        {"null", false, false},
        {"[]", false, false},
        {"\"x\"", false, false},
    };
    for (int status = 100; status < 600; status++) {
        for (size_t i = 0; i < OP_COUNT(bodies); i++) {
            struct op_err err = OP_ERR_INIT;
            struct op_remote_batch batch = {0};
            enum op_create_class want = OP_CREATE_AMBIGUOUS;
            if (status >= 200 && status < 300 && bodies[i].batch)
                want = OP_CREATE_ACCEPTED;
            else if (is_refusal(status) && bodies[i].error)
                want = OP_CREATE_REJECTED;
            enum op_create_class got = create(OP_OK, status, "", bodies[i].body, &batch, &err);
            if (got != want)
                fail_msg("%d %s: %d", status, bodies[i].body, got);
            assert_int_equal(err.msg[0] != '\0', want != OP_CREATE_ACCEPTED);
            assert_int_equal(batch.id[0] != '\0', want == OP_CREATE_ACCEPTED);
            if (want == OP_CREATE_AMBIGUOUS)
                assert_int_equal(err.disp, OP_DISP_AMBIGUOUS);
            if (want != OP_CREATE_ACCEPTED)
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
    assert_int_equal(err.rc, OP_REMOTE);
    assert_int_equal(err.native, 56);
    assert_mentions(err.msg, "connection reset");
    assert_mentions(err.msg, "may have been accepted");
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
        {400, "", ERROR_BODY("invalid_request_error", "requests: no"), OP_DISP_REJECT, 0},
        {400, "", ERROR_BODY("invalid_request_error", "Your credit balance is too low to"),
         OP_DISP_QUOTA, 0},
        {400, "", ERROR_BODY("invalid_request_error", "You have reached your usage limits."),
         OP_DISP_QUOTA, 0},
        {400, "", CODE_BODY("invalid_request_error", "organization_on_hold"), OP_DISP_PAUSE, 0},
        {400, "", CODE_BODY("invalid_request_error", "cmek_key_disabled"), OP_DISP_PAUSE, 0},
        {400, "", CODE_BODY("invalid_request_error", "request_body_timeout"), OP_DISP_RETRY, 0},
        {401, "", ERROR_BODY("authentication_error", "API key is invalid."), OP_DISP_PAUSE, 0},
        {402, "", ERROR_BODY("billing_error", "pay"), OP_DISP_QUOTA, 0},
        {403, "", ERROR_BODY("permission_error", "no"), OP_DISP_PAUSE, 0},
        {404, "", ERROR_BODY("not_found_error", "Not found"), OP_DISP_REJECT, 0},
        {405, "", ERROR_BODY("invalid_request_error", "no"), OP_DISP_REJECT, 0},
        {413, "", ERROR_BODY("request_too_large", "large"), OP_DISP_SPLIT, 0},
        {415, "", ERROR_BODY("invalid_request_error", "no"), OP_DISP_REJECT, 0},
        {422, "", ERROR_BODY("invalid_request_error", "no"), OP_DISP_REJECT, 0},
        {429, "retry-after: 17\r\n", ERROR_BODY("rate_limit_error", "slow"),
         OP_DISP_RETRY_AFTER, 17000},
        {429, "Retry-After: 2.5\r\n", CODE_BODY("rate_limit_error", "ramp_limit_exceeded"),
         OP_DISP_RETRY_AFTER, 2500},
        {429, "", ERROR_BODY("rate_limit_error", "slow"), OP_DISP_RETRY, 0},
        {429, "retry-after: -3\r\n", ERROR_BODY("rate_limit_error", "slow"), OP_DISP_RETRY, 0},
        {429, "retry-after: soon\r\n", ERROR_BODY("rate_limit_error", "slow"), OP_DISP_RETRY,
         0},
        {429, "", CODE_BODY("rate_limit_error", "enforced_spend_limit_reached"), OP_DISP_QUOTA,
         0},
        {429, "retry-after: 9\r\n",
         CODE_BODY("rate_limit_error", "contract_spend_limit_reached"), OP_DISP_QUOTA, 0},
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
        assert_int_equal(err.native, cases[i].status);
        if (err.disp == OP_DISP_RETRY_AFTER)
            assert_int_equal(err.retry_after_ms, cases[i].retry_after_ms);
    }
}

static void test_create_accepted(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_remote_batch batch;
    assert_int_equal(create(OP_OK, 200, "", BATCH, &batch, &err), OP_CREATE_ACCEPTED);
    assert_string_equal(batch.id, "msgbatch_01Kk");
    assert_int_equal(batch.state, OP_REMOTE_IN_PROGRESS);
    assert_string_equal(batch.state_name, "in_progress");
    assert_int_equal(batch.created_ms, 1738160740141);
    assert_int_equal(batch.expires_ms, 1738160740141 + 86400000);
    assert_int_equal(batch.ended_ms, -1);
    assert_int_equal(batch.total, 3);
    assert_int_equal(batch.processing, 3);
    assert_int_equal(batch.succeeded, 0);
    assert_string_equal(batch.results_url, "");
    assert_string_equal(batch.tag, "");
}

static void test_messages(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_remote_batch batch;
    create(OP_OK, 400, "request-id: req_77\r\n",
           ERROR_BODY("invalid_request_error", "line\\nbreak"), &batch, &err);
    assert_string_equal(err.msg, "Anthropic answered 400 invalid_request_error: line break "
                                 "(request req_77)");
    err = OP_ERR_INIT;
    create(OP_OK, 502, "", " <html>\n bad gateway", &batch, &err);
    assert_mentions(err.msg, "502");
    assert_mentions(err.msg, "<html>  bad gateway");
}

/* --- batches -------------------------------------------------------------------------------- */

static enum op_rc decode_batch(int status, const char *body, struct op_remote_batch *batch,
                               struct op_err *err)
{
    struct op_http_reply reply;
    make_reply(&reply, status, "", body);
    enum op_rc rc = ops->decode_batch(&reply, batch, err);
    drop_reply(&reply);
    return rc;
}

static void test_states(void **state)
{
    (void)state;
    static const struct {
        const char *status;
        enum op_remote_state state;
        const char *name;
    } cases[] = {
        {"\"in_progress\"", OP_REMOTE_IN_PROGRESS, "in_progress"},
        {"\"canceling\"", OP_REMOTE_CANCELING, "canceling"},
        {"\"ended\"", OP_REMOTE_ENDED, "ended"},
        {"\"paused\"", OP_REMOTE_UNKNOWN, "paused"},
        {"null", OP_REMOTE_UNKNOWN, ""},
        {"7", OP_REMOTE_UNKNOWN, ""},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_remote_batch batch;
        OP_CLEANUP(op_mem_freep) char *body = op_mem_printf(BATCH_HEAD "%s}", cases[i].status);
        assert_int_equal(decode_batch(200, body, &batch, &err), OP_OK);
        assert_int_equal(batch.state, cases[i].state);
        assert_string_equal(batch.state_name, cases[i].name);
        assert_int_equal(batch.total, -1);
        assert_int_equal(batch.created_ms, -1);
    }
}

static void test_garbage_batches(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        BATCH_HEAD "\"ended\",\"request_counts\":null,\"results_url\":7,\"created_at\":[]}",
        BATCH_HEAD "\"ended\",\"request_counts\":[1],\"created_at\":\"yesterday\"}",
        BATCH_HEAD "\"ended\",\"request_counts\":{\"processing\":-1,\"succeeded\":\"2\","
                   "\"errored\":1,\"canceled\":1,\"expired\":1}}",
        BATCH_HEAD "\"ended\",\"request_counts\":{\"processing\":9223372036854775807,"
                   "\"succeeded\":9223372036854775807,\"errored\":0,\"canceled\":0,"
                   "\"expired\":0}}",
    };
    for (size_t i = 0; i < OP_COUNT(bodies); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_remote_batch batch;
        assert_int_equal(decode_batch(200, bodies[i], &batch, &err), OP_OK);
        assert_int_equal(batch.state, OP_REMOTE_ENDED);
        assert_int_equal(batch.total, -1);
        assert_int_equal(batch.created_ms, -1);
        assert_string_equal(batch.results_url, "");
    }
    /* A URL too long to keep whole is none, instead of another one. */
    struct op_err err = OP_ERR_INIT;
    struct op_remote_batch batch;
    char url[2000];
    memset(url, 'u', sizeof(url) - 1);
    url[sizeof(url) - 1] = '\0';
    OP_CLEANUP(op_mem_freep)
    char *body = op_mem_printf(BATCH_HEAD "\"ended\",\"results_url\":\"%s\"}", url);
    assert_int_equal(decode_batch(200, body, &batch, &err), OP_OK);
    assert_string_equal(batch.results_url, "");
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
        {404, ERROR_BODY("not_found_error", "no"), OP_NOTFOUND, OP_DISP_RETRY},
        {410, "", OP_NOTFOUND, OP_DISP_RETRY},
        {200, "", OP_REMOTE, OP_DISP_RETRY},
        {200, "<html>", OP_REMOTE, OP_DISP_RETRY},
        {200, "{\"id\":7}", OP_REMOTE, OP_DISP_RETRY},
        {200, BATCH_HEAD, OP_REMOTE, OP_DISP_RETRY},
        {0, "", OP_REMOTE, OP_DISP_RETRY},
        {302, "", OP_REMOTE, OP_DISP_RETRY},
        {400, ERROR_BODY("invalid_request_error", "no"), OP_REMOTE, OP_DISP_REJECT},
        {401, ERROR_BODY("authentication_error", "no"), OP_REMOTE, OP_DISP_PAUSE},
        {402, "", OP_REMOTE, OP_DISP_QUOTA},
        {403, "<html>", OP_REMOTE, OP_DISP_PAUSE},
        {408, "", OP_REMOTE, OP_DISP_RETRY},
        {409, ERROR_BODY("conflict_error", "no"), OP_REMOTE, OP_DISP_RETRY},
        {429, ERROR_BODY("rate_limit_error", "no"), OP_REMOTE, OP_DISP_RETRY},
        {429, CODE_BODY("rate_limit_error", "enforced_spend_limit_reached"), OP_REMOTE,
         OP_DISP_QUOTA},
        {500, ERROR_BODY("api_error", "no"), OP_REMOTE, OP_DISP_RETRY},
        {503, CODE_BODY("api_error", "cmek_key_disabled"), OP_REMOTE, OP_DISP_PAUSE},
        {504, "", OP_REMOTE, OP_DISP_RETRY},
        {529, ERROR_BODY("overloaded_error", "no"), OP_REMOTE, OP_DISP_RETRY},
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

/* --- lists ---------------------------------------------------------------------------------- */

static void note(void *arg, const struct op_remote_batch *batch)
{
    struct op_buf *seen = arg;
    op_buf_addf(seen, "%s/%d ", batch->id, (int)batch->total);
}

#define ITEM(id)                                                                          \
    "{\"id\":\"" id "\",\"type\":\"message_batch\",\"request_counts\":{\"processing\":1," \
    "\"succeeded\":1,\"errored\":0,\"canceled\":0,\"expired\":0}}"

static void test_lists(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body, *seen, *cursor; /* seen NULL: refused */
    } cases[] = {
        {200, "{\"data\":[],\"has_more\":false,\"first_id\":null,\"last_id\":null}", "", ""},
        {200,
         "{\"data\":[" ITEM("b2") "," ITEM("b1") "],\"has_more\":false,\"last_id\":\"b1\"}",
         "b2/2 b1/2 ", ""},
        {200, "{\"data\":[" ITEM("b2") "," ITEM("b1") "],\"has_more\":true,\"last_id\":\"b1\"}",
         "b2/2 b1/2 ", "b1"},
        {200, "{\"data\":[" ITEM("b2") "," ITEM("b1") "],\"has_more\":true,\"last_id\":null}",
         "b2/2 b1/2 ", "b1"},
        {200, "{\"data\":[],\"has_more\":true,\"last_id\":null}", NULL, NULL},
        {200, "{\"data\":[" ITEM("b2") "]}", NULL, NULL},
        {200, "{\"data\":[" ITEM("b2") "],\"has_more\":\"no\"}", NULL, NULL},
        {200, "{\"data\":[" ITEM("b2") ",{\"id\":null}],\"has_more\":false}", NULL, NULL},
        {200, "{\"data\":[7],\"has_more\":false}", NULL, NULL},
        {200, "{\"data\":{},\"has_more\":false}", NULL, NULL},
        {200, "{\"has_more\":false}", NULL, NULL},
        {200, "", NULL, NULL},
        {200, "[]", NULL, NULL},
        {500, "{\"data\":[],\"has_more\":false}", NULL, NULL},
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

static void test_retry_after(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_http_reply reply;
    make_reply(&reply, 529, "retry-after: 30\r\n", ERROR_BODY("overloaded_error", "no"));
    assert_int_equal(ops->decode_error(&reply, &err), OP_REMOTE);
    assert_int_equal(err.disp, OP_DISP_RETRY_AFTER);
    assert_int_equal(err.retry_after_ms, 30000);
    drop_reply(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_create_transport, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_create_dispositions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_create_accepted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_states, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_garbage_batches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_batch_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_retry_after, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
