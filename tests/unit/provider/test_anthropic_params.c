/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: what Anthropic is sent: params with holes, exchanges, and files in the API's own form.
 * Oracle:    golden bytes written from the API's documentation for both versions, and its table of
 *            what models refuse. The whole batch body must be JSON, and none without its last byte.
 */
#include <math.h>
#include <stdio.h>

#include "provider/anthropic/anthropic.h"
#include "support.h"

static struct op_lane lane_of(const char *version)
{
    static char versions[2][16], key[] = "sk-ant-k", url[] = "http://127.0.0.1:8012/pre";
    char *copy = versions[strcmp(version, OP_ANTHROPIC_VERSION_OLD) == 0];
    snprintf(copy, sizeof(versions[0]), "%s", version);
    return (struct op_lane){
        .provider = &op_provider_anthropic, .base_url = url, .key = key, .extras = {copy}};
}

static struct op_request_settings settings_of(const char *model)
{
    return (struct op_request_settings){
        .model = model, .max_tokens = 300, .temperature = NAN, .file = "dir/pipeline.yaml:12"};
}

/* The form as text, holes as {S} and {U}. */
static void show(const struct op_params_form *form, struct op_buf *out)
{
    static const char *const holes[] = {"", "{S}", "{U}"};
    for (size_t i = 0; i < form->count; i++) {
        op_buf_add_str(out, form->parts[i].literal);
        op_buf_addz(out, holes[form->parts[i].hole]);
    }
}

static void check_form(const char *version, const struct op_request_settings *settings,
                       const char *want)
{
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of(version);
    struct op_params_form form;
    if (op_provider_anthropic.params(&lane, settings, &form, &err))
        fail_msg("%s: %s", want, err.msg);
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, 1 << 20);
    show(&form, &text);
    assert_string_equal(text.ptr, want);
    op_params_form_release(&form);
}

static void check_refusal(const char *version, const struct op_request_settings *settings,
                          const char *mention)
{
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of(version);
    struct op_params_form form = {0};
    if (op_provider_anthropic.params(&lane, settings, &form, &err) != OP_INVAL)
        fail_msg("accepted, but should mention: %s", mention);
    assert_mentions(err.msg, "dir/pipeline.yaml:12");
    assert_mentions(err.msg, mention);
    assert_null(form.text.ptr);
}

static void test_golden(void **state)
{
    (void)state;
    struct op_request_settings s = settings_of("claude-haiku-5-5");
    check_form("2026-10-21", &s,
               "{\"model\":\"claude-haiku-5-5\",\"max_tokens\":300,"
               "\"messages\":[{\"role\":\"user\",\"content\":\"{U}\"}]}");
    check_form("", &s,
               "{\"model\":\"claude-haiku-5-5\",\"max_tokens\":300,"
               "\"messages\":[{\"role\":\"user\",\"content\":\"{U}\"}]}");
    s.has_system = true;
    check_form("2026-10-21", &s,
               "{\"model\":\"claude-haiku-5-5\",\"max_tokens\":300,\"system\":\"{S}\","
               "\"messages\":[{\"role\":\"user\",\"content\":\"{U}\"}]}");
    s.cache = "1h";
    s.effort = "low";
    s.extra = OP_STR("{\"thinking\":{\"type\":\"adaptive\"},\"stop_sequences\":[\"a\\\"\"]}");
    check_form("2026-10-21", &s,
               "{\"model\":\"claude-haiku-5-5\",\"max_tokens\":300,"
               "\"output_config\":{\"effort\":\"low\"},"
               "\"thinking\":{\"type\":\"adaptive\"},\"stop_sequences\":[\"a\\\"\"],"
               "\"system\":[{\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"},"
               "\"type\":\"text\",\"text\":\"{S}\"}],"
               "\"messages\":[{\"role\":\"user\",\"content\":\"{U}\"}]}");
}

static void test_golden_schema(void **state)
{
    (void)state;
    struct op_request_settings s = settings_of("claude-opus-4-5");
    s.effort = "xhigh";
    s.temperature = 0.25;
    s.schema = read_json("{\"$schema\":\"x\",\"type\":\"object\",\"required\":[\"n\"],"
                         "\"properties\":{\"n\":{\"type\":\"integer\",\"minimum\":1}}}");
    check_form("2023-06-01", &s,
               "{\"model\":\"claude-opus-4-5\",\"max_tokens\":300,\"temperature\":0.25,"
               "\"output_config\":{\"effort\":\"xhigh\",\"format\":{\"type\":\"json_schema\","
               "\"schema\":{\"type\":\"object\",\"required\":[\"n\"],"
               "\"properties\":{\"n\":{\"type\":\"integer\"}},"
               "\"additionalProperties\":false}}},"
               "\"messages\":[{\"role\":\"user\",\"content\":\"{U}\"}]}");
}

static void test_settings(void **state)
{
    (void)state;
    struct op_request_settings s = settings_of("claude-haiku-5-5");
    s.max_tokens = 0;
    check_refusal("", &s, "'max_tokens' must be at least 1");
    s = settings_of("");
    check_refusal("", &s, "'model' is missing");
    s = settings_of(NULL);
    check_refusal("", &s, "'model' is missing");
    s = settings_of("claude-haiku-5-5");
    s.effort = "huge";
    check_refusal("", &s, "'effort' must be");
    s = settings_of("claude-haiku-5-5");
    s.has_system = true;
    s.cache = "2h";
    check_refusal("", &s, "'cache' must be 5m or 1h");
    s.cache = "5m";
    s.has_system = false;
    check_refusal("", &s, "add 'system'");
    s = settings_of("claude-haiku-5-5");
    s.schema = read_json("{\"type\":\"object\"}");
    check_refusal("", &s, "answer schema at \"\"");

    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of("2027-01-01");
    struct op_params_form form;
    s = settings_of("claude-haiku-5-5");
    assert_int_equal(op_provider_anthropic.params(&lane, &s, &form, &err), OP_INVAL);
    assert_mentions(err.msg, "2027-01-01");
}

/* Each row: under version, model and extra (and temperature) are refused with a mention; NULL: they
 * are taken. */
static void test_traps(void **state)
{
    (void)state;
    static const struct {
        const char *version, *model, *extra;
        double temperature;
        const char *mention;
    } cases[] = {
        {"2026-10-21", "claude-opus-4-5", NULL, 1, "remove it, or use API version 2023-06-01"},
        {"2026-10-21", "claude-opus-4-5", "{\"top_p\":1}", NAN, "'top_p'"},
        {"2026-10-21", "claude-3-5-haiku-latest", "{\"top_k\":5}", NAN, "'top_k'"},
        {"2023-06-01", "claude-opus-4-5", NULL, 0, NULL},
        {"2023-06-01", "claude-opus-4-5", NULL, 1.5, "from 0 to 1"},
        {"2023-06-01", "claude-opus-4-5", NULL, -1, "from 0 to 1"},
        {"2023-06-01", "claude-opus-4-5", "{\"top_k\":-5}", NAN, "at least 0"},
        {"2023-06-01", "claude-opus-4-5", "{\"top_k\":40}", NAN, NULL},
        {"2023-06-01", "claude-opus-4-5", "{\"top_p\":\"x\"}", NAN, "from 0 to 1"},
        {"2023-06-01", "claude-opus-4-5", "{\"temperature\":1}", 1, "set twice"},
        {"2023-06-01", "claude-opus-4-7", NULL, 0.5, "claude-opus-4-7 refuses 'temperature'"},
        {"2023-06-01", "claude-opus-4-7", NULL, 1, NULL},
        {"2023-06-01", "claude-sonnet-5-20260301", "{\"top_p\":0.9}", NAN, "refuses 'top_p'"},
        {"2023-06-01", "claude-fable-5", "{\"top_k\":1}", NAN, "refuses 'top_k'"},
        {"2023-06-01", "claude-haiku-5-5", NULL, 0, "refuses 'temperature'"},
        {"2023-06-01", "claude-next", NULL, 0, NULL},
        {"2023-06-01", "gateway/claude-opus-5", NULL, 0, NULL},
        {"", "claude-opus-4-6", "{\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}}",
         NAN, NULL},
        {"", "claude-opus-4-6", "{\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":10}}",
         NAN, "at least 1024"},
        {"", "claude-opus-4-7", "{\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}}",
         NAN, "\"adaptive\"} and effort"},
        {"", "claude-sonnet-4-5-20250929", "{\"thinking\":{\"type\":\"adaptive\"}}", NAN,
         "budget_tokens"},
        {"", "claude-sonnet-4-6", "{\"thinking\":{\"type\":\"adaptive\"}}", NAN, NULL},
        {"", "claude-sonnet-5-5", "{\"thinking\":{\"type\":\"disabled\"}}", NAN,
         "between_tools"},
        {"", "claude-sonnet-5", "{\"thinking\":{\"type\":\"disabled\"}}", NAN, NULL},
        {"", "claude-opus-5-5", "{\"thinking\":{\"type\":\"disabled\"}}", NAN,
         "leave thinking out"},
        {"", "claude-fable-5-1", "{\"thinking\":{\"type\":\"disabled\"}}", NAN,
         "leave thinking"},
        {"", "claude-mythos-5-2", "{\"thinking\":{\"type\":\"disabled\"}}", NAN,
         "leave thinking"},
        {"", "claude-opus-5-5", "{\"tool_choice\":{\"type\":\"any\"}}", NAN, "answer schema"},
        {"", "claude-sonnet-5-5", "{\"tool_choice\":{\"type\":\"tool\",\"name\":\"x\"}}", NAN,
         "answer schema"},
        {"", "claude-fable-5-1", "{\"tool_choice\":{\"type\":\"any\"}}", NAN, "answer schema"},
        {"", "claude-opus-5", "{\"tool_choice\":{\"type\":\"any\"}}", NAN, NULL},
        {"", "claude-opus-5-5", "{\"tool_choice\":{\"type\":\"auto\"}}", NAN, NULL},
        {"", "claude-opus-5", "{\"thinking\":null,\"tool_choice\":7}", NAN, NULL},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_request_settings s = settings_of(cases[i].model);
        s.extra = op_str_from(cases[i].extra);
        s.temperature = cases[i].temperature;
        if (cases[i].mention) {
            check_refusal(cases[i].version, &s, cases[i].mention);
            continue;
        }
        struct op_err err = OP_ERR_INIT;
        struct op_lane lane = lane_of(cases[i].version);
        struct op_params_form form;
        if (op_provider_anthropic.params(&lane, &s, &form, &err))
            fail_msg("case %zu: %s", i, err.msg);
        op_params_form_release(&form);
    }
}

static void test_extra(void **state)
{
    (void)state;
    static const struct {
        const char *extra, *mention;
    } cases[] = {
        {"[]", "must be a JSON object, not array"},
        {"{", "'extra' is no JSON"},
        {"{\"model\":\"x\"}", "set 'model' instead"},
        {"{\"messages\":[]}", "set 'user' instead"},
        {"{\"max_tokens\":1}", "set 'max_tokens' instead"},
        {"{\"system\":null}", "set 'system' instead"},
        {"{\"stream\":false}", "does not stream"},
        {"{\"speed\":\"fast\"}", "'speed'"},
        {"{\"output_format\":{}}", "set 'answer'"},
        {"{\"output_config\":{}}", "'effort' or 'answer'"},
        {"{\"metadata\":{},\"metadata\":{}}", "twice"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_request_settings s = settings_of("claude-haiku-5-5");
        s.effort = "low";
        s.extra = op_str_from(cases[i].extra);
        check_refusal("", &s, cases[i].mention);
    }
    struct op_request_settings s = settings_of("claude-haiku-5-5");
    s.extra = OP_STR("{\"output_config\":{\"effort\":\"low\"}}");
    check_form("", &s,
               "{\"model\":\"claude-haiku-5-5\",\"max_tokens\":300,"
               "\"output_config\":{\"effort\":\"low\"},"
               "\"messages\":[{\"role\":\"user\",\"content\":\"{U}\"}]}");
}

/* --- exchanges ------------------------------------------------------------------------------ */

static const char *header(const struct op_exchange *x, const char *name)
{
    for (size_t i = 0; i < x->header_count; i++)
        if (strcmp(x->headers[i].name, name) == 0)
            return x->headers[i].value;
    return "";
}

static void check_exchange(struct op_exchange *x, const char *method, const char *url)
{
    assert_string_equal(x->method, method);
    assert_string_equal(x->url.ptr, url);
    assert_int_equal(x->body.len, 0);
    op_exchange_release(x);
}

#define BASE "http://127.0.0.1:8012/pre/v1/messages/batches"

static const struct op_create what = {.tag = "t", .file_id = ""};

static void test_exchanges(void **state)
{
    (void)state;
    const struct op_provider_ops *ops = &op_provider_anthropic;
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of("2026-10-21");
    struct op_exchange x;
    assert_int_equal(ops->create(&lane, &what, &x, &err), OP_OK);
    assert_string_equal(header(&x, "anthropic-version"), "2026-10-21");
    assert_string_equal(header(&x, "Authorization"), "Bearer sk-ant-k");
    assert_string_equal(header(&x, "content-type"), "application/json");
    assert_string_equal(header(&x, "x-api-key"), "");
    assert_int_equal(x.header_count, 3);
    assert_true(x.with_file);
    check_exchange(&x, "POST", BASE);
    assert_int_equal(ops->get(&lane, "msgbatch_1", &x, &err), OP_OK);
    assert_int_equal(x.header_count, 2);
    check_exchange(&x, "GET", BASE "/msgbatch_1");
    assert_int_equal(ops->get(&lane, "a/b:c", &x, &err), OP_OK);
    check_exchange(&x, "GET", BASE "/a%2Fb%3Ac");
    assert_int_equal(ops->cancel(&lane, "msgbatch_1", &x, &err), OP_OK);
    check_exchange(&x, "POST", BASE "/msgbatch_1/cancel");
    assert_int_equal(ops->list(&lane, "", 50, &x, &err), OP_OK);
    check_exchange(&x, "GET", BASE "?limit=50");
    assert_int_equal(ops->list(&lane, "msgbatch_9", 5000, &x, &err), OP_OK);
    check_exchange(&x, "GET", BASE "?limit=1000&after_id=msgbatch_9");

    lane = lane_of("2023-06-01");
    assert_int_equal(ops->create(&lane, &what, &x, &err), OP_OK);
    assert_string_equal(header(&x, "anthropic-version"), "2023-06-01");
    assert_string_equal(header(&x, "x-api-key"), "sk-ant-k");
    assert_string_equal(header(&x, "Authorization"), "");
    check_exchange(&x, "POST", BASE);
}

static void test_bad_exchanges(void **state)
{
    (void)state;
    const struct op_provider_ops *ops = &op_provider_anthropic;
    struct op_lane lane = lane_of("2026-10-21");
    static const char *const ids[] = {"", "../admin", "a?b", "a b", "a\r\nb"};
    struct op_exchange x;
    for (size_t i = 0; i < OP_COUNT(ids); i++) {
        struct op_err err = OP_ERR_INIT;
        assert_int_equal(ops->get(&lane, ids[i], &x, &err), OP_INVAL);
        assert_true(err.msg[0]);
        err = OP_ERR_INIT;
        if (ids[i][0])
            assert_int_equal(ops->list(&lane, ids[i], 10, &x, &err), OP_INVAL);
    }
    struct op_err err = OP_ERR_INIT;
    lane.key = NULL;
    assert_int_equal(ops->create(&lane, &what, &x, &err), OP_INVAL);
    assert_mentions(err.msg, "ANTHROPIC_API_KEY");
    err = OP_ERR_INIT;
    char bad_key[] = "k\n";
    lane.key = bad_key;
    assert_int_equal(ops->create(&lane, &what, &x, &err), OP_INVAL);
    err = OP_ERR_INIT;
    lane = lane_of("2024-01-01");
    assert_int_equal(ops->create(&lane, &what, &x, &err), OP_INVAL);
    assert_mentions(err.msg, "2024-01-01");
}

static void test_results(void **state)
{
    (void)state;
    const struct op_provider_ops *ops = &op_provider_anthropic;
    static const struct {
        const char *told, *asked;
    } cases[] = {
        {"", BASE "/msgbatch_1/results"},
        {"http://127.0.0.1:8012/elsewhere/r?x=1", "http://127.0.0.1:8012/elsewhere/r?x=1"},
        {"https://127.0.0.1:8012/r", BASE "/msgbatch_1/results"},
        {"http://evil.example/r", BASE "/msgbatch_1/results"},
        {"/v1/messages/batches/msgbatch_1/results", BASE "/msgbatch_1/results"},
    };
    struct op_lane lane = lane_of("2026-10-21");
    struct op_remote_batch batch = {.id = "msgbatch_1", .state = OP_REMOTE_ENDED};
    struct op_err err = OP_ERR_INIT;
    struct op_exchange x;
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        snprintf(batch.results_url, sizeof(batch.results_url), "%s", cases[i].told);
        assert_int_equal(ops->results(&lane, &batch, 0, &x, &err), OP_OK);
        assert_string_equal(header(&x, "Authorization"), "Bearer sk-ant-k");
        check_exchange(&x, "GET", cases[i].asked);
    }
    assert_int_equal(ops->results(&lane, &batch, 1, &x, &err), OP_NOTFOUND);
    batch.state = OP_REMOTE_IN_PROGRESS;
    assert_int_equal(ops->results(&lane, &batch, 0, &x, &err), OP_NOTFOUND);
    assert_string_equal(err.msg, "");
}

static void test_framing(void **state)
{
    (void)state;
    struct op_batch_framing framing;
    const struct op_batch_framing *f = &framing;
    op_provider_anthropic.framing(NULL, "messages", &framing);
    OP_CLEANUP(op_buf_release) struct op_buf body;
    op_buf_init(&body, 10000);
    op_buf_addz(&body, f->head);
    for (int i = 0; i < 2; i++)
        op_buf_addf(&body, "%s%sid%d%s{}%s", i ? f->separator : "", f->before, i, f->between,
                    f->after);
    op_buf_addz(&body, f->tail);
    assert_string_equal(body.ptr, "{\"requests\":[{\"custom_id\":\"id0\",\"params\":{}},\n"
                                  "{\"custom_id\":\"id1\",\"params\":{}}]}");
    struct op_json v;
    struct op_err err = OP_ERR_INIT;
    assert_int_equal(op_json_parse(parser, body.ptr, body.len, true, &v, &err), OP_OK);
    assert_int_equal(op_json_parse(parser, body.ptr, body.len - 1, false, &v, &err), OP_INVAL);
}

/* --- files in the API's own form ------------------------------------------------------------ */

#define PARAMS \
    "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"}\"}]}"

static void test_split(void **state)
{
    (void)state;
    static const struct {
        const char *line, *id, *params, *mention;
    } cases[] = {
        {"{\"custom_id\":\"a\",\"params\":" PARAMS "}", "a", PARAMS, NULL},
        {"{\"params\": " PARAMS " , \"custom_id\":\"\\u0061\\n\"}", "a\n", PARAMS, NULL},
        {"{\"params\":1,\"custom_id\":\"a\",\"params\":" PARAMS "}", "a", PARAMS, NULL},
        {"{\"params\":" PARAMS "}", NULL, NULL, "\"custom_id\" is missing"},
        {"{\"custom_id\":7,\"params\":" PARAMS "}", NULL, NULL, "\"custom_id\" is missing"},
        {"{\"custom_id\":\"\",\"params\":" PARAMS "}", NULL, NULL, "\"custom_id\" is missing"},
        {"{\"custom_id\":\"a\"}", NULL, NULL, "\"params\" is missing"},
        {"{\"custom_id\":\"a\",\"params\":null}", NULL, NULL, "\"params\" is missing"},
        {"{\"custom_id\":\"a\",\"body\":{}}", NULL, NULL, "OpenAI's form"},
        {"{\"custom_id\":\"a\",\"params\":{}}", NULL, NULL, "\"model\""},
        {"{\"custom_id\":\"a\",\"params\":{\"model\":\"m\"}}", NULL, NULL, "\"max_tokens\""},
        {"{\"custom_id\":\"a\",\"params\":{\"model\":\"m\",\"max_tokens\":1}}", NULL, NULL,
         "\"messages\""},
        {"{\"custom_id\":\"a\",\"params\":{\"model\":\"m\",\"max_tokens\":1,\"messages\":[],"
         "\"stream\":true}}",
         NULL, NULL, "\"stream\""},
        {"[1]", NULL, NULL, "not array"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_str id = OP_STR_NULL, params = OP_STR_NULL;
        const char *endpoint = NULL;
        enum op_rc rc = op_provider_anthropic.split_line(read_json(cases[i].line),
                                                         op_str_from(cases[i].line), &id,
                                                         &params, &endpoint, &err);
        assert_int_equal(endpoint && strcmp(endpoint, "messages") == 0, rc == OP_OK);
        assert_int_equal(rc, cases[i].mention ? OP_INVAL : OP_OK);
        assert_str(id, cases[i].id);
        assert_str(params, cases[i].params);
        if (cases[i].mention)
            assert_mentions(err.msg, cases[i].mention);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_golden, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_golden_schema, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_settings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_traps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_extra, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_exchanges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_exchanges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_results, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_framing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_split, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
