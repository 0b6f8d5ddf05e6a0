/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: what all drivers share: ids, headers, params forms, URLs, raw slices, the registry.
 * Oracle:    the contracts in provider/provider.h and provider/driver.h; RFC 3986 for URLs; for raw
 *            slices the parsed value of the slice, which must equal the member of the parsed line;
 *            for the registry also docs/reference/providers.md, which has a row of each.
 */
#include <stdio.h>

#include "base/json_out.h"
#include "provider/driver.h"
#include "support.h"

static void test_ids(void **state)
{
    (void)state;
    char longest[OP_PROVIDER_ID_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    static const struct {
        const char *id;
        bool ok;
    } cases[] = {
        {"msgbatch_01Kk2gPdvEq73ifNWGPfvmyd", true},
        {"batches/abc-1.x:y", true},
        {"a", true},
        {"", false},
        {"..", false},
        {"a/../b", false},
        {"a.b.c", true},
        {"a b", false},
        {"a%2e", false},
        {"a?b", false},
        {"a\nb", false},
        {"\xc3\xa4", false},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++)
        if (op_provider_id_ok(op_str_from(cases[i].id)) != cases[i].ok)
            fail_msg("'%s'", cases[i].id);
    assert_true(op_provider_id_ok((struct op_str){longest, OP_PROVIDER_ID_MAX}));
    assert_false(op_provider_id_ok((struct op_str){longest, OP_PROVIDER_ID_MAX + 1}));
    assert_false(op_provider_id_ok(OP_STR_NULL));
    assert_false(op_provider_id_ok((struct op_str){"a\0b", 3}));
}

static void test_headers(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_exchange x;
    op_exchange_init(&x);
    char value[2000];
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    /* Long values make the store move; the earlier ones must still be right. */
    assert_int_equal(op_exchange_header(&x, "a", "one", &err), OP_OK);
    for (int i = 0; i < OP_EXCHANGE_HEADERS - 2; i++)
        assert_int_equal(op_exchange_header(&x, "b", value, &err), OP_OK);
    assert_int_equal(op_exchange_header(&x, "c", "", &err), OP_OK);
    assert_int_equal(x.header_count, OP_EXCHANGE_HEADERS);
    assert_string_equal(x.headers[0].name, "a");
    assert_string_equal(x.headers[0].value, "one");
    assert_string_equal(x.headers[OP_EXCHANGE_HEADERS - 2].value, value);
    assert_string_equal(x.headers[OP_EXCHANGE_HEADERS - 1].value, "");
    assert_int_equal(op_exchange_header(&x, "d", "more", &err), OP_INVAL);
    assert_int_equal(x.header_count, OP_EXCHANGE_HEADERS);
    op_exchange_release(&x);
    op_exchange_release(&x);
}

static void test_bad_headers(void **state)
{
    (void)state;
    static const char *const bad[] = {"sk-secret\n", "a\rb", "\r\nx: y"};
    for (size_t i = 0; i < OP_COUNT(bad); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_exchange x;
        op_exchange_init(&x);
        assert_int_equal(op_exchange_header(&x, "Authorization", bad[i], &err), OP_INVAL);
        assert_int_equal(x.header_count, 0);
        assert_mentions(err.msg, "Authorization");
        assert_null(strstr(err.msg, "secret"));
        op_exchange_release(&x);
    }
}

static void test_form(void **state)
{
    (void)state;
    struct op_err err = OP_ERR_INIT;
    struct op_params_form form;
    op_params_form_init(&form);
    op_buf_addz(&form.text, "{\"a\":\"\"");
    op_params_form_hole(&form, OP_HOLE_SYSTEM);
    op_buf_addz(&form.text, ",\"b\":\"\"");
    op_params_form_hole(&form, OP_HOLE_USER);
    op_buf_addz(&form.text, "}");
    assert_int_equal(op_params_form_finish(&form, "f", &err), OP_OK);
    assert_int_equal(form.count, 3);
    assert_str(form.parts[0].literal, "{\"a\":\"");
    assert_str(form.parts[1].literal, "\",\"b\":\"");
    assert_str(form.parts[2].literal, "\"}");
    assert_int_equal(form.parts[0].hole, OP_HOLE_SYSTEM);
    assert_int_equal(form.parts[1].hole, OP_HOLE_USER);
    assert_int_equal(form.parts[2].hole, OP_HOLE_NONE);
    op_params_form_release(&form);

    op_params_form_init(&form);
    form.text.failed = true;
    assert_int_equal(op_params_form_finish(&form, "dir/pipeline.yaml:3", &err), OP_INVAL);
    assert_mentions(err.msg, "dir/pipeline.yaml:3");
    op_params_form_release(&form);
}

static void test_url(void **state)
{
    (void)state;
    struct op_buf url;
    op_buf_init(&url, 1000);
    op_url_add_escaped(&url, "aZ09-._~/:?#%\xc3\xa4 ");
    assert_str(op_buf_str(&url), "aZ09-._~%2F%3A%3F%23%25%C3%A4%20");
    op_buf_release(&url);
    static const struct {
        const char *base, *url;
        bool same;
    } cases[] = {
        {"https://api.anthropic.com", "https://api.anthropic.com/v1/x", true},
        {"https://api.anthropic.com", "https://API.Anthropic.com:443/v1/x?y#z", true},
        {"http://127.0.0.1:8012/prefix", "http://127.0.0.1:8012/v1/x", true},
        {"http://[::1]:80", "http://[::1]/v1", true},
        {"https://api.anthropic.com", "https://api.anthropic.com", true},
        {"https://api.anthropic.com", "http://api.anthropic.com/v1/x", false},
        {"https://api.anthropic.com", "https://api.anthropic.com:444/", false},
        {"https://api.anthropic.com", "https://api.anthropic.com.evil.example/", false},
        {"https://api.anthropic.com", "https://api.anthropic.com@evil.example/", false},
        {"https://api.anthropic.com", "https://evil.example/https://api.anthropic.com", false},
        {"https://api.anthropic.com", "https://api.anthropic.com\\@evil.example/", false},
        {"https://api.anthropic.com", "https://api.anthropic.com/ x", false},
        {"https://api.anthropic.com", "https://api.anthropic.com/\r\nx", false},
        {"https://api.anthropic.com", "/v1/messages/batches/b/results", false},
        {"https://api.anthropic.com", "//api.anthropic.com/v1", false},
        {"https://api.anthropic.com", "https://", false},
        {"https://api.anthropic.com", "", false},
        {"http://[::1]:80", "http://[::2]:80/", false},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++)
        if (op_url_same_origin(cases[i].base, cases[i].url) != cases[i].same)
            fail_msg("%s and %s", cases[i].base, cases[i].url);
}

static void test_raw(void **state)
{
    (void)state;
    static const struct {
        const char *line, *slice; /* slice NULL: there is no such member */
    } cases[] = {
        {"{\"p\":{\"a\":1}}", "{\"a\":1}"},
        {"{\"x\":1,\"p\":[1, {\"p\":2}] }", "[1, {\"p\":2}]"},
        {" { \"p\" : true , \"x\" : {} } \r\n", "true"},
        {"\xef\xbb\xbf{\"p\":null}", "null"},
        {"{\"p\":1,\"p\":2}", "2"},
        {"{\"p\":1,\"\\u0070\":[]}", "[]"},
        {"{\"\\u0070\":-1.5e3}", "-1.5e3"},
        {"{\"x\":{\"p\":1},\"y\":\"\\\"p\\\":2\"}", NULL},
        {"{\"x\":\"}]{[\\\\\",\"p\":\"a\\\"}{\"}", "\"a\\\"}{\""},
        {"{\"x\":[[[\"]\"]]],\"p\":{\"k\":\"}\"},\"z\":0}", "{\"k\":\"}\"}"},
        {"{\"\":0,\"p\":\"\"}", "\"\""},
        {"{\"p\":{},\"q\":{\"p\":3}}", "{}"},
        {"{\"x\":\"\\\\\\\\\",\"p\":7}", "7"},
        {"{}", NULL},
        {"[{\"p\":1}]", NULL},
        {"\"p\"", NULL},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_str slice = OP_STR_NULL;
        struct op_json root = read_json(cases[i].line);
        enum op_rc rc = op_raw_member(root, op_str_from(cases[i].line), "p", &slice, &err);
        assert_int_equal(rc, cases[i].slice ? OP_OK : OP_NOTFOUND);
        assert_str(slice, cases[i].slice);
        assert_string_equal(err.msg, "");
    }
}

/* A line that is not what was parsed must be refused wherever it breaks off. */
static void test_raw_mismatch(void **state)
{
    (void)state;
    static const char line[] = "{\"x\":[{\"a\":\"b\\\"}\"}],\"p\":{\"k\":[1,\"s\"]}}";
    struct op_json root = read_json(line);
    for (size_t len = 0; len + 1 < sizeof(line) - 1; len++) {
        struct op_err err = OP_ERR_INIT;
        struct op_str slice;
        OP_CLEANUP(op_mem_freep) char *cut = op_mem_strndup(line, len);
        assert_int_equal(op_raw_member(root, (struct op_str){cut, len}, "p", &slice, &err),
                         OP_INVAL);
    }
}

static void test_remote_text(void **state)
{
    (void)state;
    char out[8];
    assert_string_equal(op_remote_text(OP_STR("a\nb\x01\x7f"), out, sizeof(out)), "a b  ");
    assert_string_equal(op_remote_text(OP_STR("abcdef\xc3\xa4x"), out, sizeof(out)), "abcdef");
    assert_string_equal(op_remote_text(OP_STR_NULL, out, sizeof(out)), "");
    assert_true(op_str_mentions(OP_STR("Your Credit Balance is"), "credit balance"));
    assert_false(op_str_mentions(OP_STR("Your Credit"), "credit balance"));
    assert_false(op_str_mentions(OP_STR_NULL, "x"));
}

static void test_registry(void **state)
{
    (void)state;
    for (const struct op_provider_ops *const *p = op_providers(); *p; p++) {
        assert_ptr_equal(op_provider_find((*p)->name), *p);
        if ((*p)->default_model)
            assert_ptr_equal(op_provider_for_model((*p)->default_model), *p);
        assert_true((*p)->default_url || (*p)->url_env);
        assert_non_null((*p)->endpoints[0]);
        assert_non_null((*p)->model_prefixes);
        assert_true((*p)->limits.max_requests > 0 && (*p)->limits.max_bytes > 0);
        assert_true((*p)->params && (*p)->split_line && (*p)->create && (*p)->get);
        assert_true((*p)->list && (*p)->cancel && (*p)->results && (*p)->decode_create);
        assert_true((*p)->decode_batch && (*p)->decode_list && (*p)->decode_result);
        assert_true((*p)->framing && (*p)->amend && (*p)->unfold && (*p)->decode_error);
        assert_true((*p)->upload_begin && (*p)->upload && (*p)->upload_end &&
                    (*p)->decode_upload);
        assert_true((*p)->files && (*p)->decode_files && (*p)->remove_file);
        assert_true((*p)->ask && (*p)->fold);
    }
    assert_string_equal(op_provider_find("anthropic")->key_env, "ANTHROPIC_API_KEY");
    assert_null(op_provider_find("nobody"));
    assert_null(op_provider_for_model("nobody-1"));
    assert_string_equal(op_provider_for_model("claude-opus-5")->name, "anthropic");
}

/* 209715200 as "209,715,200" */
static void add_number(struct op_buf *out, int64_t n)
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%lld", (long long)n);
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            op_buf_addc(out, ',');
        op_buf_addc(out, digits[i]);
    }
}

/* `A`, `B` */
static void add_names(struct op_buf *out, const char *const *names, size_t count,
                      const char *mark)
{
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        if (names[i])
            op_buf_addf(out, "%s%s%s%s", any ? ", " : "", mark, names[i], mark);
        any = any || names[i];
    }
}

static void add_row(struct op_buf *out, const struct op_provider_ops *p)
{
    const char *const keys[] = {p->key_env, p->key_env_2};
    const char *settings[1 + OP_LANE_EXTRAS] = {p->url_env};
    for (size_t i = 0; i < OP_LANE_EXTRAS; i++)
        settings[1 + i] = p->extra_env[i];
    size_t endpoints = 0;
    while (p->endpoints[endpoints])
        endpoints++;
    op_buf_addf(out, "| `%s` | ", p->name);
    add_names(out, keys, OP_COUNT(keys), "`");
    op_buf_addz(out, " | ");
    add_names(out, settings, OP_COUNT(settings), "`");
    op_buf_addf(out, " | %s | ", p->default_url ? p->default_url : "none: set it");
    add_names(out, p->endpoints, endpoints, "");
    op_buf_addz(out, " | ");
    add_number(out, p->limits.max_requests);
    op_buf_addz(out, " | ");
    add_number(out, p->limits.max_bytes);
    op_buf_addz(out, " |\n");
}

static void test_page(void **state)
{
    (void)state;
    OP_CLEANUP(op_buf_release) struct op_buf page, row;
    op_buf_init(&page, 1 << 20);
    op_buf_init(&row, 4096);
    FILE *f = fopen(OP_SOURCE_DIR "/docs/reference/providers.md", "r");
    assert_non_null(f);
    op_buf_grow(&page, 1 << 20);
    page.len = fread(page.ptr, 1, 1 << 20, f);
    page.ptr[page.len] = '\0';
    (void)fclose(f);
    for (const struct op_provider_ops *const *p = op_providers(); *p; p++) {
        op_buf_clear(&row);
        add_row(&row, *p);
        if (!strstr(page.ptr, row.ptr))
            fail_msg("docs/reference/providers.md lacks the row:\n%s", row.ptr);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ids, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_headers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_headers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_form, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_url, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_raw, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_raw_mismatch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_remote_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_registry, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_page, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
