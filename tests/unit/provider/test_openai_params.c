/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: the params of a request at OpenAI and at the houses that speak its dialects, what is
 *            refused before it is sent, and the amendments.
 * Oracle:    openai_requests.jsonl, reviewed by hand against the API's documentation and checked
 *            against its OpenAPI file by tests/contract/test_openai_spec.py. OP_ACCEPT=1 rewrites it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/json_out.h"
#include "support_openai.h"

#define GOLDEN OP_SOURCE_DIR "/tests/unit/provider/openai_requests.jsonl"
#define SCHEMA                                                                            \
    "{\"$schema\":\"x\",\"type\":\"object\",\"required\":[\"n\"],\"properties\":{\"n\":{" \
    "\"type\":\"integer\",\"minimum\":1,\"default\":2},\"why\":{\"type\":\"string\"}}}"

struct golden {
    const char *name;
    const struct op_provider_ops *ops;
    const char *endpoint, *model, *effort, *extra;
    double temperature;
    bool system, schema;
};

static const struct golden goldens[] = {
    {"plain", &op_provider_openai, NULL, "gpt-6-luna", NULL, NULL, NAN, false, false},
    {"system", &op_provider_openai, "responses", "gpt-6-luna", "max", NULL, NAN, true, false},
    {"schema", &op_provider_openai, "responses", "gpt-4.1-mini", NULL,
     "{\"text\":{\"verbosity\":\"low\"},\"store\":true,\"metadata\":{\"a\":\"b\"}}", 0.25, true,
     true},
    {"merged", &op_provider_openai, "responses", "o4-mini", "low",
     "{\"reasoning\":{\"summary\":\"auto\"}}", 1, false, true},
    {"off", &op_provider_openai, "responses", "gpt-6-luna", "none", "{\"top_p\":0.5}", 0.5,
     false, false},
    {"chat", &op_provider_openai, "chat", "gpt-6-luna", "high", NULL, NAN, true, true},
    {"chat plain", &op_provider_openai, "chat", "gpt-4o", NULL, "{\"seed\":7}", 2, false,
     false},
    {"embeddings", &op_provider_openai, "embeddings", "text-embedding-3-small", NULL,
     "{\"dimensions\":256}", NAN, false, false},
    {"azure", &op_provider_azure, NULL, "my-deployment", NULL, NULL, NAN, true, true},
    {"groq", &op_provider_groq, NULL, "openai/gpt-oss-120b", "low", NULL, 0.5, true, true},
    {"together", &op_provider_together, NULL, "meta-llama/L", NULL, NULL, NAN, false, true},
    {"dashscope", &op_provider_dashscope, NULL, "qwen-plus", NULL, NULL, NAN, true, true},
    {"dashscope embeddings", &op_provider_dashscope, "embeddings", "text-embedding-v4", NULL,
     NULL, NAN, false, false},
    {"zhipu", &op_provider_zhipu, "chat", "glm-5", NULL, NULL, NAN, false, false},
};

static void write_form(const struct op_params_form *form, struct op_buf *out)
{
    static const char *const texts[] = {"", "SYSTEM", "USER"};
    for (size_t i = 0; i < form->count; i++) {
        op_buf_add_str(out, form->parts[i].literal);
        op_buf_addz(out, texts[form->parts[i].hole]);
    }
}

static void write_golden(const struct golden *g, struct op_buf *out)
{
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of(g->ops);
    struct op_request_settings s = settings_of(g->model, g->endpoint);
    s.effort = g->effort;
    s.extra = op_str_from(g->extra);
    s.temperature = g->temperature;
    s.has_system = g->system;
    s.cache = g->system ? "1h" : NULL; /* caching is automatic here: the setting is obeyed so */
    if (g->schema)
        s.schema = read_json(SCHEMA);
    struct op_params_form form;
    if (g->ops->params(&lane, &s, &form, &err))
        fail_msg("%s: %s", g->name, err.msg);
    struct op_batch_framing framing;
    g->ops->framing(&lane, g->endpoint, &framing);
    op_buf_addf(out, "{\"provider\":\"%s\",\"line\":", g->ops->name);
    op_buf_addz(out, framing.before);
    op_buf_addz(out, g->name);
    op_buf_addz(out, framing.between);
    write_form(&form, out);
    op_buf_addz(out, framing.after);
    op_buf_addz(out, "}\n");
    assert_string_equal(framing.head, "");
    assert_string_equal(framing.separator, "\n");
    assert_string_equal(framing.tail, "\n");
    op_params_form_release(&form);
}

/* Creates go into the same file: {"provider","create":{...}}. */
static void write_create(const struct op_provider_ops *ops, const char *endpoint,
                         struct op_buf *out)
{
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of(ops);
    struct op_create create = what;
    struct op_exchange x;
    create.endpoint = endpoint;
    if (ops->create(&lane, &create, &x, &err))
        fail_msg("%s: %s", ops->name, err.msg);
    op_buf_addf(out, "{\"provider\":\"%s\",\"create\":", ops->name);
    op_buf_add_str(out, op_buf_str(&x.body));
    op_buf_addz(out, "}\n");
    /* The last byte is held back: without it there must be nothing to accept. */
    struct op_json ignored;
    assert_int_equal(op_json_parse(parser, x.body.ptr, x.body.len - 1, false, &ignored, &err),
                     OP_INVAL);
    op_exchange_release(&x);
}

static void test_golden(void **state)
{
    (void)state;
    OP_CLEANUP(op_buf_release) struct op_buf got, want;
    op_buf_init(&got, 1 << 20);
    op_buf_init(&want, 1 << 20);
    for (size_t i = 0; i < OP_COUNT(goldens); i++)
        write_golden(&goldens[i], &got);
    write_create(&op_provider_openai, "responses", &got);
    write_create(&op_provider_openai, "chat", &got);
    write_create(&op_provider_openai, "embeddings", &got);
    write_create(&op_provider_azure, NULL, &got);
    write_create(&op_provider_together, NULL, &got);
    write_create(&op_provider_dashscope, NULL, &got);
    write_create(&op_provider_zhipu, NULL, &got);
    if (getenv("OP_ACCEPT")) {
        FILE *f = fopen(GOLDEN, "w");
        assert_non_null(f);
        assert_int_equal(fwrite(got.ptr, 1, got.len, f), got.len);
        assert_int_equal(fclose(f), 0);
    }
    FILE *f = fopen(GOLDEN, "r");
    assert_non_null(f);
    op_buf_grow(&want, 1 << 20);
    want.len = fread(want.ptr, 1, 1 << 20, f);
    want.ptr[want.len] = '\0';
    (void)fclose(f);
    assert_string_equal(got.ptr, want.ptr);
}

static void check_refusal(const struct op_provider_ops *ops,
                          const struct op_request_settings *settings, const char *mention)
{
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = lane_of(ops);
    struct op_params_form form = {0};
    if (ops->params(&lane, settings, &form, &err) != OP_INVAL)
        fail_msg("accepted, but should mention: %s", mention);
    assert_mentions(err.msg, "dir/pipeline.yaml:12");
    assert_mentions(err.msg, mention);
    assert_null(form.text.ptr);
}

static void test_settings(void **state)
{
    (void)state;
    const struct op_provider_ops *ops = &op_provider_openai;
    struct op_request_settings s = settings_of("gpt-6-luna", "responses");
    s.max_tokens = 15;
    check_refusal(ops, &s, "'max_tokens' must be at least 16, not 15");
    s.endpoint = "chat";
    s.max_tokens = 0;
    check_refusal(ops, &s, "'max_tokens' must be at least 1, not 0");
    s = settings_of(NULL, NULL);
    check_refusal(ops, &s, "'model' is missing; name one, such as gpt-6-luna");
    check_refusal(&op_provider_groq, &s, "'model' is missing; name one of the provider's");
    s = settings_of("gpt-6-luna", "moderations");
    check_refusal(ops, &s, "OpenAI has no endpoint 'moderations'; there are: responses, chat");
    s = settings_of("x", "responses");
    check_refusal(&op_provider_groq, &s, "Groq has no endpoint 'responses'; there are: chat");
    s = settings_of("gpt-6-luna", NULL);
    s.effort = "huge";
    check_refusal(ops, &s, "'effort' must be");
    s = settings_of("gpt-4o", NULL);
    s.effort = "low";
    check_refusal(ops, &s, "gpt-4o refuses 'effort' low");
    s = settings_of("gpt-6.2-sol", NULL);
    s.effort = "none";
    check_refusal(ops, &s, "gpt-6.2-sol refuses 'effort' none; use low");
    s = settings_of("text-embedding-3-small", "embeddings");
    s.has_system = true;
    check_refusal(ops, &s, "an embedding has no 'system'");
    s.has_system = false;
    s.schema = read_json("{\"type\":\"object\"}");
    check_refusal(ops, &s, "an embedding has no 'answer'");
    s = settings_of("gpt-6-luna", NULL);
    s.schema = read_json("{\"type\":\"array\",\"items\":{\"type\":\"string\"}}");
    check_refusal(ops, &s, "answer schema at \"\"");
}

/* Each row: model, extra and temperature are refused with a mention; NULL: they are taken. */
static void test_traps(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint, *model, *extra;
        double temperature;
        const char *mention;
    } cases[] = {
        {NULL, "gpt-6-luna", NULL, 0, "gpt-6-luna refuses 'temperature' off its default"},
        {NULL, "gpt-5", NULL, 0.5, "refuses 'temperature'"},
        {NULL, "o3-mini-2025-01-31", "{\"top_p\":0.9}", NAN, "refuses 'top_p'"},
        {NULL, "ft:o4-mini-2025-04-16:org::x", NULL, 0, "refuses 'temperature'"},
        {NULL, "gpt-6-luna", NULL, 1, NULL},
        {NULL, "gpt-5.2", "{\"reasoning\":{\"effort\":\"none\"}}", 0, NULL},
        {"chat", "gpt-5.2", "{\"reasoning_effort\":\"none\"}", 0, NULL},
        {NULL, "gpt-5.2-chat-latest", NULL, 0.5, NULL},
        {NULL, "gpt-4.1", NULL, 0, NULL},
        {NULL, "gpt-4.1", NULL, 2.5, "from 0 to 2"},
        {NULL, "gpt-4.1", NULL, -1, "from 0 to 2"},
        {NULL, "gpt-4.1", "{\"top_p\":\"x\"}", NAN, "from 0 to 1"},
        {NULL, "gpt-4.1", "{\"temperature\":1}", 1, "set twice"},
        {NULL, "gpt-99", NULL, 0, NULL},
        {NULL, "gateway/o3", NULL, 0, NULL},
        {NULL, "gpt-6-luna", "[]", NAN, "must be a JSON object, not array"},
        {NULL, "gpt-6-luna", "{", NAN, "'extra' is no JSON"},
        {NULL, "gpt-6-luna", "{\"model\":\"x\"}", NAN, "set 'model' instead"},
        {NULL, "gpt-6-luna", "{\"input\":\"x\"}", NAN, "set 'user' instead"},
        {NULL, "gpt-6-luna", "{\"instructions\":\"x\"}", NAN, "set 'system' instead"},
        {NULL, "gpt-6-luna", "{\"max_output_tokens\":1}", NAN, "set 'max_tokens' instead"},
        {NULL, "gpt-6-luna", "{\"stream\":true}", NAN, "does not stream"},
        {NULL, "gpt-6-luna", "{\"service_tier\":\"flex\"}", NAN, "one tier"},
        {NULL, "gpt-6-luna", "{\"background\":true}", NAN, "'background'"},
        {"chat", "gpt-6-luna", "{\"n\":2}", NAN, "one answer"},
        {NULL, "gpt-6-luna", "{\"a\":1,\"a\":2}", NAN, "'a' twice"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_request_settings s = settings_of(cases[i].model, cases[i].endpoint);
        s.extra = op_str_from(cases[i].extra);
        s.temperature = cases[i].temperature;
        if (cases[i].mention) {
            check_refusal(&op_provider_openai, &s, cases[i].mention);
            continue;
        }
        struct op_err err = OP_ERR_INIT;
        struct op_lane lane = lane_of(&op_provider_openai);
        struct op_params_form form;
        if (op_provider_openai.params(&lane, &s, &form, &err))
            fail_msg("case %zu: %s", i, err.msg);
        op_params_form_release(&form);
    }
}

static void test_said_twice(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint, *extra;
    } cases[] = {
        {"responses", "{\"reasoning\":{\"effort\":\"low\"}}"},
        {"chat", "{\"reasoning_effort\":\"low\"}"},
        {"responses", "{\"text\":{\"format\":{}}}"},
        {"chat", "{\"response_format\":{}}"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_request_settings s = settings_of("gpt-6-luna", cases[i].endpoint);
        s.effort = "low";
        s.schema = read_json(SCHEMA);
        s.extra = op_str_from(cases[i].extra);
        check_refusal(&op_provider_openai, &s, "say it in one place");
    }
}

static void test_amend(void **state)
{
    (void)state;
    static const struct {
        const char *params;
        int64_t max_tokens;
        const char *answer, *violations, *want;
    } cases[] = {
        {"{\"model\":\"m\",\"max_output_tokens\":300,\"input\":\"q\"}", 600, NULL, NULL,
         "{\"model\":\"m\",\"max_output_tokens\":600,\"input\":\"q\"}"},
        {"{\"model\":\"m\",\"input\":\"q\"}", 1, NULL, NULL,
         "{\"model\":\"m\",\"input\":\"q\",\"max_output_tokens\":16}"},
        {"{\"model\":\"m\",\"max_tokens\":9,\"messages\":[]}", 1, NULL, NULL,
         "{\"model\":\"m\",\"max_tokens\":1,\"messages\":[]}"},
        {"{\"model\":\"gpt-5\",\"messages\":[]}", 20, NULL, NULL,
         "{\"model\":\"gpt-5\",\"messages\":[],\"max_completion_tokens\":20}"},
        {"{\"model\":\"qwen\",\"messages\":[]}", 20, NULL, NULL,
         "{\"model\":\"qwen\",\"messages\":[],\"max_tokens\":20}"},
        {"{\"instructions\":\"s\",\"input\":\"q\"}", 0, "a\"", "V",
         "{\"instructions\":\"s\",\"input\":[{\"role\":\"user\",\"content\":\"q\"},"
         "{\"role\":\"assistant\",\"content\":\"a\\\"\"},{\"role\":\"user\",\"content\":"
         "\"Your answer breaks these rules:\\nV\\nAnswer again, complete, with every one of "
         "them mended.\"}]}"},
        {"{\"input\":[{\"role\":\"user\",\"content\":\"q\"}]}", 0, NULL, "V",
         "{\"input\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"user\",\"content\":"
         "\"Your answer breaks these rules:\\nV\\nAnswer again, complete, with every one of "
         "them mended.\"}]}"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"input\":7}", 0, "a", "V",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\","
         "\"content\":\"a\"},{\"role\":\"user\",\"content\":"
         "\"Your answer breaks these rules:\\nV\\nAnswer again, complete, with every one of "
         "them mended.\"}],\"input\":7}"},
        {"{\"model\":\"text-embedding-3-small\",\"input\":\"q\"}", 20, "a", "V",
         "{\"model\":\"text-embedding-3-small\",\"input\":\"q\"}"},
        {"{\"model\":\"m\",\"dimensions\":2,\"input\":[\"q\"]}", 20, NULL, NULL,
         "{\"model\":\"m\",\"dimensions\":2,\"input\":[\"q\"]}"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_amend amend = {.max_tokens = cases[i].max_tokens,
                                 .answer = op_str_from(cases[i].answer),
                                 .violations = op_str_from(cases[i].violations)};
        struct op_buf out;
        op_buf_init(&out, 1 << 20);
        assert_int_equal(
            op_provider_openai.amend(read_json(cases[i].params), &amend, &out, &err), OP_OK);
        assert_string_equal(out.ptr, cases[i].want);
        op_buf_release(&out);
    }
}

/* --- files in the API's own form ------------------------------------------------------------ */

#define LINE(method, url, body) \
    "{\"custom_id\":\"a\",\"method\":\"" method "\",\"url\":\"" url "\",\"body\":" body "}"
#define CHAT_BODY "{\"model\":\"m\",\"messages\":[1, 2]}"

static void test_split(void **state)
{
    (void)state;
    static const struct {
        const char *line, *params, *endpoint, *mention;
    } cases[] = {
        {LINE("POST", "/v1/chat/completions", CHAT_BODY), CHAT_BODY, "chat", NULL},
        {LINE("POST", "/chat/completions", CHAT_BODY), CHAT_BODY, "chat", NULL},
        {LINE("POST", "/v4/chat/completions", CHAT_BODY), CHAT_BODY, "chat", NULL},
        {LINE("POST", "/v1/responses", "{\"model\":\"m\", \"input\":[]}"),
         "{\"model\":\"m\", \"input\":[]}", "responses", NULL},
        {LINE("POST", "/v1/responses", "{\"model\":\"m\",\"prompt\":{\"id\":\"p\"}}"),
         "{\"model\":\"m\",\"prompt\":{\"id\":\"p\"}}", "responses", NULL},
        {LINE("POST", "/v1/embeddings", "{\"model\":\"m\",\"input\":\"x\",\"stream\":false}"),
         "{\"model\":\"m\",\"input\":\"x\",\"stream\":false}", "embeddings", NULL},
        {LINE("GET", "/v1/chat/completions", CHAT_BODY), NULL, NULL, "not \"GET\""},
        {LINE("post", "/v1/chat/completions", CHAT_BODY), NULL, NULL, "\"method\""},
        {LINE("POST", "/v1/moderations", CHAT_BODY), NULL, NULL, "not \"/v1/moderations\""},
        {LINE("POST", "https://api.openai.com/v1/chat/completions", CHAT_BODY), NULL, NULL,
         "\"url\" must be"},
        {LINE("POST", "/v1/responses", CHAT_BODY), NULL, NULL, "needs \"input\""},
        {LINE("POST", "/v1/chat/completions", "{\"model\":\"m\",\"input\":1}"), NULL, NULL,
         "needs \"messages\""},
        {LINE("POST", "/v1/chat/completions", "{\"messages\":[]}"), NULL, NULL, "no \"model\""},
        {LINE("POST", "/v1/chat/completions",
              "{\"model\":\"m\",\"messages\":[],\"stream\":true}"),
         NULL, NULL, "\"stream\""},
        {LINE("POST", "/v1/chat/completions", "7"), NULL, NULL, "\"body\" is missing"},
        {"{\"custom_id\":7,\"method\":\"POST\",\"url\":\"/v1/responses\",\"body\":{}}", NULL,
         NULL, "\"custom_id\""},
        {"{\"custom_id\":\"a\",\"params\":{}}", NULL, NULL, "Anthropic's form"},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/responses\",\"body\":{}}", NULL, NULL,
         "\"method\""},
        {"{\"custom_id\":\"a\",\"method\":\"POST\",\"body\":{}}", NULL, NULL, "\"url\""},
        {"[1]", NULL, NULL, "not array"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_str id = OP_STR_NULL, params = OP_STR_NULL;
        const char *endpoint = NULL;
        enum op_rc rc =
            op_provider_openai.split_line(read_json(cases[i].line), op_str_from(cases[i].line),
                                          &id, &params, &endpoint, &err);
        if (rc != (cases[i].mention ? OP_INVAL : OP_OK))
            fail_msg("%s: %s", cases[i].line, err.msg);
        assert_str(params, cases[i].params);
        assert_str(id, cases[i].params ? "a" : NULL);
        assert_str(op_str_from(endpoint), cases[i].endpoint);
        if (cases[i].mention)
            assert_mentions(err.msg, cases[i].mention);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_golden, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_settings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_traps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_said_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_amend, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_split, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
