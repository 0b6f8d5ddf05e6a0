/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: what goes over the wire beside the lines: addresses, keys, uploads, result files, the
 *            realtime lane; and what the table of dialects says.
 * Oracle:    the API's documentation; RFC 7578 for the form, read back by a small reader of its own;
 *            the figures of reference/openai.md 3 and 9.
 */
#include <stdio.h>

#include "support_openai.h"

static const struct op_provider_ops *const ops = &op_provider_openai;

#define BASE "http://127.0.0.1:8012/pre"

static void check_exchange(enum op_rc rc, struct op_exchange *x, const struct op_err *err,
                           const char *method, const char *url)
{
    if (rc)
        fail_msg("%s: %s", url, err->msg);
    assert_string_equal(x->method, method);
    assert_string_equal(x->url.ptr, url);
    assert_string_equal(header(x, "Authorization"), "Bearer sk-k");
    op_exchange_release(x);
}

static void test_exchanges(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of(ops);
    struct op_exchange x;
    check_exchange(ops->get(&lane, "batch_1", &x, &err), &x, &err, "GET",
                   BASE "/batches/batch_1");
    check_exchange(ops->get(&lane, "a/b:c", &x, &err), &x, &err, "GET",
                   BASE "/batches/a%2Fb%3Ac");
    check_exchange(ops->cancel(&lane, "batch_1", &x, &err), &x, &err, "POST",
                   BASE "/batches/batch_1/cancel");
    check_exchange(ops->list(&lane, "", 50, &x, &err), &x, &err, "GET",
                   BASE "/batches?limit=50");
    check_exchange(ops->list(&lane, "b=9+", 1000, &x, &err), &x, &err, "GET",
                   BASE "/batches?limit=100&after=b%3D9%2B");
    check_exchange(ops->files(&lane, "", &x, &err), &x, &err, "GET",
                   BASE "/files?purpose=batch&limit=1000&order=desc");
    check_exchange(ops->files(&lane, "file-9", &x, &err), &x, &err, "GET",
                   BASE "/files?purpose=batch&limit=1000&order=desc&after=file-9");
    check_exchange(ops->remove_file(&lane, "file-1", &x, &err), &x, &err, "DELETE",
                   BASE "/files/file-1");
    assert_int_equal(ops->create(&lane, &what, &x, &err), OP_OK);
    assert_string_equal(header(&x, "content-type"), "application/json");
    assert_false(x.with_file);
    check_exchange(OP_OK, &x, &err, "POST", BASE "/batches");
    lane.provider = &op_provider_groq;
    check_exchange(op_provider_groq.list(&lane, "c", 20, &x, &err), &x, &err, "GET",
                   BASE "/batches?limit=20&cursor=c");
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const struct op_provider_ops *ops;
        char base[48];
        const char *url;
    } cases[] = {
        {&op_provider_openai, "https://api.openai.com/v1",
         "https://api.openai.com/v1/batches/b"},
        {&op_provider_openai, "http://127.0.0.1:9", "http://127.0.0.1:9/v1/batches/b"},
        {&op_provider_azure, "https://r.openai.azure.com",
         "https://r.openai.azure.com/openai/v1/batches/b"},
        {&op_provider_azure, "https://r.openai.azure.com/openai/v1",
         "https://r.openai.azure.com/openai/v1/batches/b"},
        {&op_provider_groq, "https://api.groq.com", "https://api.groq.com/openai/v1/batches/b"},
        {&op_provider_groq, "http://127.0.0.1:9/openai/v1",
         "http://127.0.0.1:9/openai/v1/batches/b"},
        {&op_provider_zhipu, "https://open.bigmodel.cn",
         "https://open.bigmodel.cn/api/paas/v4/batches/b"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_lane lane = lane_of(cases[i].ops);
        OP_CLEANUP(op_mem_freep) char *base = op_mem_strdup(cases[i].base);
        struct op_exchange x;
        lane.base_url = base;
        assert_int_equal(cases[i].ops->get(&lane, "b", &x, &err), OP_OK);
        assert_string_equal(x.url.ptr, cases[i].url);
        op_exchange_release(&x);
    }
}

static void test_keys(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_exchange x;
    struct op_lane lane = lane_of(&op_provider_azure);
    assert_int_equal(op_provider_azure.get(&lane, "b", &x, &err), OP_OK);
    assert_string_equal(header(&x, "api-key"), "sk-k");
    assert_string_equal(header(&x, "Authorization"), "");
    op_exchange_release(&x);
    char org[] = "org-1", project[] = "proj_1";
    lane = lane_of(ops);
    lane.extras[0] = org;
    lane.extras[1] = project;
    assert_int_equal(ops->get(&lane, "b", &x, &err), OP_OK);
    assert_string_equal(header(&x, "OpenAI-Organization"), "org-1");
    assert_string_equal(header(&x, "OpenAI-Project"), "proj_1");
    op_exchange_release(&x);
    char empty[] = "";
    lane.key = empty;
    assert_int_equal(ops->get(&lane, "b", &x, &err), OP_INVAL);
    assert_mentions(err.msg, "OPENAI_API_KEY");
    assert_int_equal(err.disp, OP_DISP_PAUSE);
    static const char *const ids[] = {"", "../admin", "a?b", "a b", "a\r\nb"};
    for (size_t i = 0; i < OP_COUNT(ids); i++) {
        struct op_err bad = OP_ERR_INIT;
        lane = lane_of(ops);
        assert_int_equal(ops->get(&lane, ids[i], &x, &bad), OP_INVAL);
        assert_true(bad.msg[0]);
        bad = OP_ERR_INIT;
        assert_int_equal(ops->remove_file(&lane, ids[i], &x, &bad), OP_INVAL);
        struct op_create create = what;
        create.file_id = ids[i];
        bad = OP_ERR_INIT;
        assert_int_equal(ops->create(&lane, &create, &x, &bad), OP_INVAL);
    }
    struct op_err bad = OP_ERR_INIT;
    assert_int_equal(ops->list(&lane, "a b", 1, &x, &bad), OP_INVAL);
}

/* --- uploads -------------------------------------------------------------------------------- */

/* The next part of a form that begins at *at: its headers and content. */
static bool next_part(struct op_str body, const char *boundary, size_t *at,
                      struct op_str *ret_head, struct op_str *ret_content)
{
    char open[128];
    int len = snprintf(open, sizeof(open), "--%s\r\n", boundary);
    if (body.len - *at < (size_t)len || memcmp(body.ptr + *at, open, (size_t)len) != 0)
        return false;
    const char *head = body.ptr + *at + len;
    const char *blank = memmem(head, (size_t)(body.ptr + body.len - head), "\r\n\r\n", 4);
    assert_non_null(blank);
    snprintf(open, sizeof(open), "\r\n--%s", boundary);
    const char *content = blank + 4;
    const char *end =
        memmem(content, (size_t)(body.ptr + body.len - content), open, strlen(open));
    assert_non_null(end);
    *ret_head = (struct op_str){head, (size_t)(blank - head)};
    *ret_content = (struct op_str){content, (size_t)(end - content)};
    *at = (size_t)(end + 2 - body.ptr);
    return true;
}

/* The file comes through the form byte for byte, whatever it holds or ends with. */
static void test_form(void **state)
{
    (void)state;
    static const char *const files[] = {"{\"a\":1}\n", "x", "--op-\r\n", "\r\n--" SHA "--", ""};
    struct op_lane lane = lane_of(ops);
    struct op_exchange x;
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(ops->upload_begin(&lane, &what, &x, &err), OP_NOTFOUND);
    assert_string_equal(err.msg, "");
    for (size_t i = 0; i < OP_COUNT(files); i++) {
        if (ops->upload(&lane, &what, NULL, &x, &err))
            fail_msg("%s", err.msg);
        assert_string_equal(x.method, "POST");
        assert_string_equal(x.url.ptr, BASE "/files");
        assert_true(x.with_file);
        const char *type = header(&x, "content-type");
        assert_non_null(strstr(type, "multipart/form-data; boundary="));
        const char *boundary = strstr(type, "boundary=") + 9;
        assert_true(strlen(boundary) <= 70); /* RFC 2046 5.1.1 */
        OP_CLEANUP(op_buf_release) struct op_buf body;
        op_buf_init(&body, 1 << 20);
        op_buf_add_str(&body, op_buf_str(&x.body));
        op_buf_addz(&body, files[i]);
        op_buf_add_str(&body, op_buf_str(&x.tail));
        size_t at = 0;
        struct op_str head, content;
        assert_true(next_part(op_buf_str(&body), boundary, &at, &head, &content));
        assert_str(head, "Content-Disposition: form-data; name=\"purpose\"");
        assert_str(content, "batch");
        assert_true(next_part(op_buf_str(&body), boundary, &at, &head, &content));
        assert_str(head, "Content-Disposition: form-data; name=\"file\"; "
                         "filename=\"op-ab12cd-00ff00ff.jsonl\"\r\n"
                         "Content-Type: application/jsonl");
        assert_str(content, files[i]);
        OP_CLEANUP(op_mem_freep) char *close = op_mem_printf("--%s--\r\n", boundary);
        assert_string_equal(body.ptr + at, close);
        op_exchange_release(&x);
    }
    struct op_create bad = what;
    bad.tag = "a\"b";
    assert_int_equal(ops->upload(&lane, &bad, NULL, &x, &err), OP_INVAL);
    bad = what;
    bad.sha256 = "short";
    err = OP_ERR_INIT;
    assert_int_equal(ops->upload(&lane, &bad, NULL, &x, &err), OP_INVAL);
}

/* Together: a form that names the file, then the bytes alone, without the key. */
static void test_redirected(void **state)
{
    (void)state;
    const struct op_provider_ops *t = &op_provider_together;
    struct op_lane lane = lane_of(t);
    struct op_exchange x;
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(t->upload_begin(&lane, &what, &x, &err), OP_OK);
    assert_string_equal(header(&x, "content-type"), "application/x-www-form-urlencoded");
    assert_string_equal(x.body.ptr, "purpose=batch-api&file_type=jsonl&file_name="
                                    "op-ab12cd-00ff00ff.jsonl");
    assert_true(!x.with_file && x.redirects);
    check_exchange(OP_OK, &x, &err, "POST", BASE "/files");
    struct op_http_reply begun;
    make_reply(&begun, 302,
               "Location: https://bucket.example/x?sig=a%2Fb\r\nx-together-file-id: file-7\r\n",
               "");
    assert_int_equal(t->upload_end(&lane, &begun, &x, &err), OP_OK);
    assert_int_equal(x.body.len, 0);
    check_exchange(OP_OK, &x, &err, "POST", BASE "/files/file-7/preprocess");
    assert_int_equal(t->upload(&lane, &what, &begun, &x, &err), OP_OK);
    drop_reply(&begun);
    assert_string_equal(x.method, "PUT");
    assert_string_equal(x.url.ptr, "https://bucket.example/x?sig=a%2Fb");
    assert_int_equal(x.header_count, 1);
    assert_true(x.with_file && x.body.len == 0 && x.tail.len == 0);
    op_exchange_release(&x);
    static const char *const places[] = {"", "Location: /x\r\n",
                                         "Location: https://a@b.example/\r\n",
                                         "Location: http://bucket.example/x\r\n"};
    for (size_t i = 0; i < OP_COUNT(places); i++) {
        err = OP_ERR_INIT;
        make_reply(&begun, 200, places[i], "{}");
        assert_int_equal(t->upload(&lane, &what, &begun, &x, &err), OP_REMOTE);
        assert_int_equal(err.disp, OP_DISP_RETRY);
        err = OP_ERR_INIT; /* nor did it name a file */
        assert_int_equal(t->upload_end(&lane, &begun, &x, &err), OP_REMOTE);
        assert_int_equal(err.disp, OP_DISP_RETRY);
        drop_reply(&begun);
    }
}

/* --- results -------------------------------------------------------------------------------- */

/* NULL: there is no such part. */
static void check_part(const char *files, enum op_remote_state state, int part, const char *id)
{
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of(ops);
    struct op_remote_batch batch = {.id = "b", .state = state};
    struct op_exchange x;
    snprintf(batch.results_url, sizeof(batch.results_url), "%s", files);
    enum op_rc rc = ops->results(&lane, &batch, part, &x, &err);
    assert_string_equal(err.msg, "");
    assert_int_equal(rc, id ? OP_OK : OP_NOTFOUND);
    if (!id)
        return;
    OP_CLEANUP(op_mem_freep) char *url = op_mem_printf(BASE "/files/%s/content", id);
    assert_false(x.document);
    check_exchange(OP_OK, &x, &err, "GET", url);
}

static void test_results(void **state)
{
    (void)state;
    check_part("file-o,file-e", OP_REMOTE_ENDED, 0, "file-o");
    check_part("file-o,file-e", OP_REMOTE_ENDED, 1, "file-e");
    check_part("file-o,file-e", OP_REMOTE_ENDED, 2, NULL);
    check_part("file-o,", OP_REMOTE_ENDED, 0, "file-o");
    check_part("file-o,", OP_REMOTE_ENDED, 1, NULL);
    /* every line failed: the error file must be found by whoever asks for part after part */
    check_part(",file-e", OP_REMOTE_ENDED, 0, "file-e");
    check_part(",file-e", OP_REMOTE_ENDED, 1, NULL);
    check_part("", OP_REMOTE_ENDED, 0, NULL);
    check_part("file-o,", OP_REMOTE_IN_PROGRESS, 0, NULL);
}

/* --- the realtime lane ---------------------------------------------------------------------- */

static void test_ask(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint, *tier, *params, *path, *body;
    } cases[] = {
        {NULL, NULL, "{\"a\":1}", "/responses", "{\"a\":1}"},
        {"chat", NULL, "{\"a\":1}", "/chat/completions", "{\"a\":1}"},
        {"embeddings", NULL, "{\"a\":1}", "/embeddings", "{\"a\":1}"},
        {"responses", "flex", "{\"a\":{}} \n", "/responses",
         "{\"a\":{},\"service_tier\":\"flex\"}"},
        {"chat", "flex", "{\"a\":1}", "/chat/completions",
         "{\"a\":1,\"service_tier\":\"flex\"}"},
        {"embeddings", "flex", "{\"a\":1}", NULL, NULL},
        {"chat", "fast", "{\"a\":1}", NULL, NULL},
        {"images", NULL, "{\"a\":1}", NULL, NULL},
        {"chat", "flex", "[]", NULL, NULL},
    };
    struct op_lane lane = lane_of(ops);
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_exchange x;
        enum op_rc rc = ops->ask(&lane, "m", cases[i].endpoint, cases[i].tier,
                                 op_str_from(cases[i].params), &x, &err);
        assert_int_equal(rc, cases[i].path ? OP_OK : OP_INVAL);
        if (rc)
            continue;
        assert_string_equal(x.body.ptr, cases[i].body);
        assert_string_equal(header(&x, "content-type"), "application/json");
        OP_CLEANUP(op_mem_freep) char *url = op_mem_printf(BASE "%s", cases[i].path);
        check_exchange(OP_OK, &x, &err, "POST", url);
    }
    struct op_err err = OP_ERR_INIT;
    struct op_exchange x;
    lane = lane_of(&op_provider_zhipu);
    assert_int_equal(lane.provider->ask(&lane, "m", "chat", "flex", OP_STR("{}"), &x, &err),
                     OP_INVAL);
    assert_mentions(err.msg, "Zhipu has no service tier 'flex'");
}

/* --- the table ------------------------------------------------------------------------------ */

static void test_table(void **state)
{
    (void)state;
    static const struct {
        const struct op_provider_ops *ops;
        int64_t requests, bytes;
    } limits[] = {
        {&op_provider_openai, 50000, 209715200},
        {&op_provider_azure, 100000, 200000000},
        {&op_provider_groq, 50000, 100000000},
        {&op_provider_together, 50000, 100000000},
        {&op_provider_deepinfra, 50000, 200000000},
        {&op_provider_doubleword, 50000, 200000000},
        {&op_provider_dashscope, 50000, 500000000},
        {&op_provider_moonshot, 50000, 100000000},
        {&op_provider_zhipu, 50000, 100000000},
        {&op_provider_siliconflow, 5000, 1000000000},
    };
    for (size_t i = 0; i < OP_COUNT(limits); i++) {
        const struct op_provider_ops *p = limits[i].ops;
        assert_ptr_equal(op_provider_find(p->name), p);
        assert_int_equal(p->limits.max_requests, limits[i].requests);
        assert_int_equal(p->limits.max_bytes, limits[i].bytes);
        assert_true(p->one_model && p->has_upload && p->has_tags && p->has_batch);
        assert_false(p->lane_is_serial);
        assert_non_null(p->dialect->urls[OP_OPENAI_CHAT]);
        for (size_t e = 0; p->endpoints[e]; e++) {
            struct op_err err = OP_ERR_INIT;
            enum op_openai_endpoint found;
            assert_int_equal(op_openai_endpoint_find(p, p->endpoints[e], &found, &err), OP_OK);
            assert_string_equal(op_openai_endpoint_name(found), p->endpoints[e]);
        }
    }
    assert_int_equal(ops->limits.max_creates_per_hour, 2000);
    assert_int_equal(op_provider_deepinfra.limits.max_open, 100);
    assert_null(op_provider_azure.default_url);
}

static void test_models(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"gpt-6-luna", "openai"},          {"o3-mini", "openai"},
        {"chatgpt-4o-latest", "openai"},   {"text-embedding-3-large", "openai"},
        {"ft:gpt-4.1:org::1", "openai"},   {"qwen-plus", "dashscope"},
        {"qwen3-235b-a22b", "dashscope"},  {"kimi-k3", "moonshot"},
        {"moonshot-v1-8k", "moonshot"},    {"glm-5", "zhipu"},
        {"claude-haiku-5-5", "anthropic"},
    };
    for (size_t i = 0; i < OP_COUNT(pairs); i++)
        assert_string_equal(op_provider_for_model(pairs[i][0])->name, pairs[i][1]);
    assert_null(op_provider_for_model("meta-llama/Llama-3.3-70B"));
    assert_null(op_provider_for_model("Qwen/Qwen3-14B"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_exchanges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_form, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_redirected, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_results, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ask, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_models, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
