/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the exchanges with Gemini: uploads, batches, results, single requests.
 * Oracle:    golden requests from what the official SDKs send; the key goes to the lane's own origin
 *            alone, whatever a reply names. With --print the requests are written out, one JSON line
 *            each, and tests/scenario/test_gemini_spec.py holds them against the API's own
 *            description.
 */
#include <math.h>
#include <stdio.h>

#include "base/json_out.h"
#include "provider/gemini/gemini.h"
#include "support.h"

#define BASE "http://127.0.0.1:8012/pre"

static const struct op_provider_ops *const ops = &op_provider_gemini;
static const struct op_create what = {.tag = "op-ab-1",
                                      .file_id = "files/f1",
                                      .model = "gemini-3.5-flash",
                                      .endpoint = "generate",
                                      .sha256 = "00",
                                      .count = 2,
                                      .bytes = 1234};

static struct op_lane lane_of(const char *version)
{
    static char key[] = "AIza-k", url[] = BASE, text[16];
    snprintf(text, sizeof(text), "%s", version);
    return (struct op_lane){.provider = ops, .base_url = url, .key = key, .extras = {text}};
}

static const char *header(const struct op_exchange *x, const char *name)
{
    for (size_t i = 0; i < x->header_count; i++)
        if (strcmp(x->headers[i].name, name) == 0)
            return x->headers[i].value;
    return "";
}

static void check_exchange(struct op_exchange *x, const char *method, const char *url,
                           const char *body)
{
    assert_string_equal(x->method, method);
    assert_string_equal(x->url.ptr, url);
    assert_string_equal(x->body.ptr, body);
    assert_string_equal(header(x, "x-goog-api-key"), "AIza-k");
    assert_string_equal(header(x, "content-type"), *body ? "application/json" : "");
    op_exchange_release(x);
}

#define CREATE \
    "{\"batch\":{\"displayName\":\"op-ab-1\",\"inputConfig\":{\"fileName\":\"files/f1\"}}}"

static void test_batches(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of("");
    struct op_exchange x;
    assert_int_equal(ops->create(&lane, &what, &x, &err), OP_OK);
    assert_false(x.with_file);
    check_exchange(&x, "POST", BASE "/v1beta/models/gemini-3.5-flash:batchGenerateContent",
                   CREATE);
    assert_int_equal(ops->get(&lane, "batches/b1", &x, &err), OP_OK);
    check_exchange(&x, "GET", BASE "/v1beta/batches/b1", "");
    assert_int_equal(ops->cancel(&lane, "batches/b1", &x, &err), OP_OK);
    check_exchange(&x, "POST", BASE "/v1beta/batches/b1:cancel", "{}");
    assert_int_equal(ops->list(&lane, "", 50, &x, &err), OP_OK);
    check_exchange(&x, "GET", BASE "/v1beta/batches?pageSize=50", "");
    assert_int_equal(ops->list(&lane, "a=&b", 5000, &x, &err), OP_OK);
    check_exchange(&x, "GET", BASE "/v1beta/batches?pageSize=100&pageToken=a%3D%26b", "");

    lane = lane_of("v1");
    struct op_create other = what;
    other.endpoint = "embeddings";
    other.model = "tunedModels/t-1";
    assert_int_equal(ops->create(&lane, &other, &x, &err), OP_OK);
    check_exchange(&x, "POST", BASE "/v1/tunedModels/t-1:asyncBatchEmbedContent", CREATE);
    lane = lane_of("beta");
    other.model = "models/gemini-2.5-pro";
    other.endpoint = NULL;
    assert_int_equal(ops->create(&lane, &other, &x, &err), OP_OK);
    check_exchange(&x, "POST", BASE "/v1beta/models/gemini-2.5-pro:batchGenerateContent",
                   CREATE);
}

/* No create is JSON without its last byte: that one is held back. */
static void test_last_byte(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of("");
    struct op_exchange x;
    struct op_json v;
    assert_int_equal(ops->create(&lane, &what, &x, &err), OP_OK);
    assert_int_equal(op_json_parse(parser, x.body.ptr, x.body.len, true, &v, &err), OP_OK);
    assert_int_equal(op_json_parse(parser, x.body.ptr, x.body.len - 1, false, &v, &err),
                     OP_INVAL);
    op_exchange_release(&x);
}

static void test_bad_names(void **state)
{
    (void)state;
    struct op_lane lane = lane_of("");
    static const char *const ids[] = {"",         "batches/",    "batches/..",
                                      "files/f1", "batches/a/b", "batches/a?b",
                                      "b1",       "batches/a b"};
    struct op_exchange x;
    for (size_t i = 0; i < OP_COUNT(ids); i++) {
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(ops->get(&lane, ids[i], &x, &err), OP_INVAL);
        assert_true(err.msg[0]);
        err = OP_ERR_INIT;
        assert_int_equal(ops->remove_file(&lane, i == 3 ? "batches/b" : ids[i], &x, &err),
                         OP_INVAL);
        struct op_create bad = what;
        bad.file_id = i == 3 ? "" : ids[i];
        err = OP_ERR_INIT;
        assert_int_equal(ops->create(&lane, &bad, &x, &err), OP_INVAL);
    }
    static const char *const models[] = {"", "../x", "a/b", "models/", "a b", "x?y"};
    for (size_t i = 0; i < OP_COUNT(models); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_create bad = what;
        bad.model = models[i];
        assert_int_equal(ops->create(&lane, &bad, &x, &err), OP_INVAL);
        assert_mentions(err.msg, "model");
    }
    struct op_err err = OP_ERR_INIT;
    lane = lane_of("v2");
    assert_int_equal(ops->get(&lane, "batches/b", &x, &err), OP_INVAL);
    assert_mentions(err.msg, "'v2'");
    lane = lane_of("");
    lane.key = NULL;
    err = OP_ERR_INIT;
    assert_int_equal(ops->get(&lane, "batches/b", &x, &err), OP_INVAL);
    assert_mentions(err.msg, "GOOGLE_API_KEY or GEMINI_API_KEY");
    assert_int_equal(err.disp, OP_DISP_PAUSE);
}

/* --- uploads -------------------------------------------------------------------------------- */

static void test_upload_begin(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of("v1");
    struct op_exchange x;
    assert_int_equal(ops->upload_begin(&lane, &what, &x, &err), OP_OK);
    assert_string_equal(header(&x, "X-Goog-Upload-Protocol"), "resumable");
    assert_string_equal(header(&x, "X-Goog-Upload-Command"), "start");
    assert_string_equal(header(&x, "X-Goog-Upload-Header-Content-Length"), "1234");
    assert_string_equal(header(&x, "X-Goog-Upload-Header-Content-Type"), "application/jsonl");
    assert_false(x.with_file);
    check_exchange(&x, "POST", BASE "/upload/v1/files",
                   "{\"file\":{\"displayName\":\"op-ab-1\",\"mimeType\":\"application/jsonl\","
                   "\"sizeBytes\":\"1234\"}}");
}

static void test_upload(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *headers, *body;
        enum op_rc rc;
        const char *url, *key; /* or what the message mentions */
        enum op_disp disp;
    } cases[] = {
        {200, "x-goog-upload-url: http://127.0.0.1:8012/up?upload_id=1\r\n", "", OP_OK,
         "http://127.0.0.1:8012/up?upload_id=1", "AIza-k", OP_DISP_FATAL},
        {200, "X-Goog-Upload-URL: https://elsewhere.example/up?upload_id=1\r\n", "", OP_OK,
         "https://elsewhere.example/up?upload_id=1", "", OP_DISP_FATAL},
        {200, "X-Goog-Upload-URL: https://127.0.0.1:8012/up\r\n", "", OP_OK,
         "https://127.0.0.1:8012/up", "", OP_DISP_FATAL},
        {200, "X-Goog-Upload-URL: http://elsewhere.example/up\r\n", "", OP_REMOTE,
         "another host", NULL, OP_DISP_PAUSE},
        {200, "X-Goog-Upload-URL: /up\r\n", "", OP_REMOTE, "another host", NULL, OP_DISP_PAUSE},
        {200, "", "", OP_REMOTE, "an upload URL", NULL, OP_DISP_RETRY},
        {503, "", "", OP_REMOTE, "503", NULL, OP_DISP_RETRY},
        {403, "",
         "{\"error\":{\"code\":403,\"message\":\"no\",\"status\":\"PERMISSION_DENIED\"}}",
         OP_REMOTE, "PERMISSION_DENIED", NULL, OP_DISP_PAUSE},
    };
    struct op_lane lane = lane_of("");
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_http_reply begun;
        struct op_exchange x;
        make_reply(&begun, cases[i].status, cases[i].headers, cases[i].body);
        assert_int_equal(ops->upload(&lane, &what, &begun, &x, &err), cases[i].rc);
        drop_reply(&begun);
        if (cases[i].rc) {
            assert_mentions(err.msg, cases[i].url);
            assert_null(strstr(err.msg, "/up"));
            assert_int_equal(err.disp, cases[i].disp);
            continue;
        }
        assert_string_equal(x.method, "POST");
        assert_string_equal(x.url.ptr, cases[i].url);
        assert_string_equal(header(&x, "x-goog-api-key"), cases[i].key);
        assert_string_equal(header(&x, "X-Goog-Upload-Command"), "upload, finalize");
        assert_string_equal(header(&x, "X-Goog-Upload-Offset"), "0");
        assert_true(x.with_file);
        assert_int_equal(x.body.len, 0);
        assert_int_equal(x.tail.len, 0);
        op_exchange_release(&x);
    }
}

static void test_file_exchanges(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of("");
    struct op_exchange x;
    assert_int_equal(ops->files(&lane, "", &x, &err), OP_OK);
    check_exchange(&x, "GET", BASE "/v1beta/files?pageSize=100", "");
    assert_int_equal(ops->files(&lane, "t+1", &x, &err), OP_OK);
    check_exchange(&x, "GET", BASE "/v1beta/files?pageSize=100&pageToken=t%2B1", "");
    assert_int_equal(ops->remove_file(&lane, "files/f1", &x, &err), OP_OK);
    check_exchange(&x, "DELETE", BASE "/v1beta/files/f1", "");
}

/* --- results and single requests ------------------------------------------------------------ */

static void test_results(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of("");
    struct op_remote_batch batch = {.id = "batches/b1", .state = OP_REMOTE_ENDED};
    struct op_exchange x;
    /* Canceled before its start, or expired: there is nothing to fetch. */
    assert_int_equal(ops->results(&lane, &batch, 0, &x, &err), OP_NOTFOUND);
    snprintf(batch.results_url, sizeof(batch.results_url), "files/batch-b1");
    assert_int_equal(ops->results(&lane, &batch, 0, &x, &err), OP_OK);
    assert_false(x.document);
    check_exchange(&x, "GET", BASE "/v1beta/files/batch-b1:download?alt=media", "");
    assert_int_equal(ops->results(&lane, &batch, 1, &x, &err), OP_NOTFOUND);
    snprintf(batch.results_url, sizeof(batch.results_url), OP_GEMINI_INLINE);
    assert_int_equal(ops->results(&lane, &batch, 0, &x, &err), OP_OK);
    assert_true(x.document);
    check_exchange(&x, "GET", BASE "/v1beta/batches/b1", "");
    batch.state = OP_REMOTE_IN_PROGRESS;
    assert_int_equal(ops->results(&lane, &batch, 0, &x, &err), OP_NOTFOUND);
    assert_string_equal(err.msg, "");
}

static void test_ask(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of("");
    struct op_exchange x;
    struct op_str params = OP_STR("{\"contents\":[]}");
    assert_int_equal(ops->ask(&lane, "gemini-3.5-flash", NULL, NULL, params, &x, &err), OP_OK);
    check_exchange(&x, "POST", BASE "/v1beta/models/gemini-3.5-flash:generateContent",
                   "{\"contents\":[]}");
    assert_int_equal(ops->ask(&lane, "gemini-3.5-flash", "generate", "flex", params, &x, &err),
                     OP_OK);
    check_exchange(&x, "POST", BASE "/v1beta/models/gemini-3.5-flash:generateContent",
                   "{\"serviceTier\":\"flex\",\"contents\":[]}");
    params = OP_STR(" { } ");
    assert_int_equal(ops->ask(&lane, "m", "generate", "flex", params, &x, &err), OP_OK);
    check_exchange(&x, "POST", BASE "/v1beta/models/m:generateContent",
                   "{\"serviceTier\":\"flex\"}");
    params = OP_STR("{\"content\":{}}");
    assert_int_equal(ops->ask(&lane, "e", "embeddings", NULL, params, &x, &err), OP_OK);
    check_exchange(&x, "POST", BASE "/v1beta/models/e:embedContent", "{\"content\":{}}");
    assert_int_equal(ops->ask(&lane, "e", "embeddings", "flex", params, &x, &err), OP_INVAL);
    err = OP_ERR_INIT;
    assert_int_equal(ops->ask(&lane, "m", NULL, "priority", params, &x, &err), OP_INVAL);
    assert_mentions(err.msg, "priority");
}

/* --- for the API's own description ---------------------------------------------------------- */

static void print(const char *name, struct op_exchange *x)
{
    OP_CLEANUP(op_buf_release) struct op_buf line;
    op_buf_init(&line, 1 << 20);
    struct op_json_out o;
    op_json_out_init(&o, &line, 0);
    op_json_out_object(&o);
    op_json_out_kv_text(&o, "name", name);
    op_json_out_kv_text(&o, "method", x->method);
    op_json_out_kv_text(&o, "path", x->url.ptr + strlen(BASE));
    op_json_out_name(&o, "body");
    if (x->body.len)
        op_json_out_raw(&o, op_buf_str(&x->body));
    else
        op_json_out_null(&o);
    op_json_out_end_object(&o);
    printf("%s\n", line.ptr);
    op_exchange_release(x);
}

/* A request with everything in it, as `ask` sends it: the same object is a batch line's. */
static enum op_rc full_request(const struct op_lane *lane, bool embeds, struct op_exchange *ret,
                               struct op_err *err)
{
    static const char schema[] =
        "{\"type\":\"object\",\"title\":\"t\",\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":"
        "[\"string\",\"null\"],\"enum\":[\"x\",null],\"minLength\":1},\"b\":{\"type\":\"array\","
        "\"minItems\":1,\"items\":{\"anyOf\":[{\"type\":\"integer\",\"minimum\":0},{\"type\":"
        "\"boolean\"}]}},\"c\":{\"type\":\"string\",\"format\":\"date-time\"}}}";
    struct op_request_settings s = {.model = "gemini-3.5-flash",
                                    .endpoint = embeds ? "embeddings" : "generate",
                                    .max_tokens = 5,
                                    .temperature = NAN};
    if (!embeds) {
        s.temperature = 0.5;
        s.effort = "high";
        s.has_system = true;
        s.schema = read_json(schema);
    }
    s.extra = embeds ? OP_STR("{\"taskType\":\"CLUSTERING\"}")
                     : OP_STR("{\"generationConfig\":{\"topK\":3,\"seed\":1}}");
    struct op_params_form form;
    enum op_rc rc = ops->params(lane, &s, &form, err);
    if (rc)
        return rc;
    rc = ops->ask(lane, s.model, s.endpoint, NULL, op_buf_str(&form.text), ret, err);
    op_params_form_release(&form);
    return rc;
}

static int print_all(void)
{
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of("");
    struct op_create embed = what;
    embed.endpoint = "embeddings";
    struct op_remote_batch batch = {
        .id = "batches/b1", .state = OP_REMOTE_ENDED, .results_url = "files/batch-b1"};
    struct op_exchange x;
    void *none = NULL;
    set_up(&none);
#define PRINT(name, call)                     \
    do {                                      \
        if (call) {                           \
            fprintf(stderr, "%s\n", err.msg); \
            return 1;                         \
        }                                     \
        print(name, &x);                      \
    } while (0)
    PRINT("create", ops->create(&lane, &what, &x, &err));
    PRINT("create embeddings", ops->create(&lane, &embed, &x, &err));
    PRINT("get", ops->get(&lane, "batches/b1", &x, &err));
    PRINT("list", ops->list(&lane, "t", 10, &x, &err));
    PRINT("cancel", ops->cancel(&lane, "batches/b1", &x, &err));
    PRINT("upload", ops->upload_begin(&lane, &what, &x, &err));
    PRINT("files", ops->files(&lane, "t", &x, &err));
    PRINT("remove file", ops->remove_file(&lane, "files/f1", &x, &err));
    PRINT("results", ops->results(&lane, &batch, 0, &x, &err));
    PRINT("ask", full_request(&lane, false, &x, &err));
    PRINT("ask embeddings", full_request(&lane, true, &x, &err));
    tear_down(&none);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--print") == 0)
        return print_all();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_batches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_last_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_upload_begin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_upload, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_file_exchanges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_results, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ask, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
