/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: what Gemini is sent: params with holes, files in the API's own form, amendments.
 * Oracle:    golden bytes written from the API's description of GenerateContentRequest and
 *            EmbedContentRequest; amended params parse and hold what was asked for.
 */
#include <math.h>

#include "provider/gemini/gemini.h"
#include "support.h"

static const struct op_provider_ops *const ops = &op_provider_gemini;

static struct op_request_settings settings_of(const char *model)
{
    return (struct op_request_settings){
        .model = model, .max_tokens = 300, .temperature = NAN, .file = "dir/pipeline.yaml:12"};
}

/* The form as text, holes as {S} and {U}. */
static void check_form(const struct op_request_settings *settings, const char *want)
{
    static const char *const holes[] = {"", "{S}", "{U}"};
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = {.provider = ops};
    struct op_params_form form;
    if (ops->params(&lane, settings, &form, &err))
        fail_msg("%s: %s", want, err.msg);
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < form.count; i++) {
        op_buf_add_str(&text, form.parts[i].literal);
        op_buf_addz(&text, holes[form.parts[i].hole]);
    }
    assert_string_equal(text.ptr, want);
    op_params_form_release(&form);
}

static void check_refusal(const struct op_request_settings *settings, const char *mention)
{
    struct op_err err = OP_ERR_INIT;
    struct op_lane lane = {.provider = ops};
    struct op_params_form form = {0};
    if (ops->params(&lane, settings, &form, &err) != OP_INVAL)
        fail_msg("accepted, but should mention: %s", mention);
    assert_mentions(err.msg, "dir/pipeline.yaml:12");
    assert_mentions(err.msg, mention);
    assert_null(form.text.ptr);
}

#define USER "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"{U}\"}]}]}"

static void test_golden(void **state)
{
    (void)state;
    struct op_request_settings s = settings_of("gemini-3.5-flash");
    check_form(&s, "{\"generationConfig\":{\"maxOutputTokens\":300}," USER);
    s.has_system = true;
    s.cache = "1h"; /* the API caches by itself */
    s.temperature = 1.5;
    s.effort = "low";
    s.extra = OP_STR("{\"safetySettings\":[],\"generationConfig\":{\"topP\":0.5}}");
    check_form(&s, "{\"generationConfig\":{\"maxOutputTokens\":300,\"temperature\":1.5,"
                   "\"thinkingConfig\":{\"thinkingLevel\":\"LOW\"},\"topP\":0.5},"
                   "\"safetySettings\":[],"
                   "\"systemInstruction\":{\"parts\":[{\"text\":\"{S}\"}]}," USER);
    s = settings_of("gemini-2.5-pro");
    s.schema = read_json("{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"}}}");
    check_form(&s, "{\"generationConfig\":{\"maxOutputTokens\":300,"
                   "\"responseMimeType\":\"application/json\",\"responseSchema\":"
                   "{\"type\":\"OBJECT\",\"properties\":{\"n\":{\"type\":\"INTEGER\"}},"
                   "\"propertyOrdering\":[\"n\"]}}," USER);
}

static void test_effort(void **state)
{
    (void)state;
    static const struct {
        const char *model, *effort, *thinking; /* thinking NULL: refused */
    } cases[] = {
        {"gemini-3.5-flash", "medium", "\"thinkingLevel\":\"MEDIUM\""},
        {"gemini-3-pro-preview", "high", "\"thinkingLevel\":\"HIGH\""},
        {"models/gemini-3.1-pro-preview", "max", "\"thinkingLevel\":\"HIGH\""},
        {"gemini-flash-latest", "xhigh", "\"thinkingLevel\":\"HIGH\""},
        {"gemini-2.5-flash", "low", "\"thinkingBudget\":1024"},
        {"models/gemini-2.5-pro", "medium", "\"thinkingBudget\":8192"},
        {"gemini-2.5-flash-lite", "max", "\"thinkingBudget\":24576"},
        {"gemini-2.0-flash", "low", NULL},
        {"tuned", "low", "\"thinkingLevel\":\"LOW\""},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_request_settings s = settings_of(cases[i].model);
        s.effort = cases[i].effort;
        if (!cases[i].thinking) {
            check_refusal(&s, "does not think");
            continue;
        }
        OP_CLEANUP(op_mem_freep)
        char *want = op_mem_printf("{\"generationConfig\":{\"maxOutputTokens\":300,"
                                   "\"thinkingConfig\":{%s}}," USER,
                                   cases[i].thinking);
        check_form(&s, want);
    }
}

static void test_embeddings(void **state)
{
    (void)state;
    struct op_request_settings s = settings_of("gemini-embedding-001");
    s.endpoint = "embeddings";
    check_form(&s, "{\"content\":{\"parts\":[{\"text\":\"{U}\"}]}}");
    s.extra = OP_STR("{\"taskType\":\"CLUSTERING\",\"outputDimensionality\":3}");
    /* The schema checks the vector; it is nothing to send. */
    s.schema = read_json("{\"type\":\"array\"}");
    check_form(&s, "{\"taskType\":\"CLUSTERING\",\"outputDimensionality\":3,"
                   "\"content\":{\"parts\":[{\"text\":\"{U}\"}]}}");
    s.has_system = true;
    check_refusal(&s, "takes no 'system'");
    s.has_system = false;
    s.temperature = 0;
    check_refusal(&s, "takes no 'temperature'");
    s.temperature = NAN;
    s.effort = "low";
    check_refusal(&s, "takes no 'effort'");
    s.effort = NULL;
    s.extra = OP_STR("{\"generationConfig\":{}}");
    check_refusal(&s, "takes no 'generationConfig'");
}

static void test_settings(void **state)
{
    (void)state;
    struct op_request_settings s = settings_of("gemini-3.5-flash");
    s.max_tokens = 0;
    check_refusal(&s, "'max_tokens' must be at least 1");
    s = settings_of(NULL);
    check_refusal(&s, "'model' is missing");
    s = settings_of("gemini-3.5-flash");
    s.effort = "huge";
    check_refusal(&s, "'effort' must be");
    s = settings_of("gemini-3.5-flash");
    s.temperature = 2.5;
    check_refusal(&s, "from 0 to 2");
    s.temperature = -1;
    check_refusal(&s, "from 0 to 2");
    s = settings_of("gemini-3.5-flash");
    s.cache = "5m";
    check_refusal(&s, "add 'system'");
    s.has_system = true;
    s.cache = "2h";
    check_refusal(&s, "5m or 1h");
    s = settings_of("gemini-3.5-flash");
    s.schema = read_json("{\"type\":\"object\"}");
    check_refusal(&s, "answer schema at \"\"");
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
        {"{\"contents\":[]}", "set 'user' instead"},
        {"{\"system_instruction\":{}}", "set 'system' instead"},
        {"{\"thinking_config\":{}}", "inside 'generationConfig'"},
        {"{\"topP\":1}", "inside 'generationConfig'"},
        {"{\"generation_config\":{}}", "spell it 'generationConfig'"},
        {"{\"generationConfig\":7}", "must be a JSON object"},
        {"{\"generationConfig\":{\"max_output_tokens\":1}}", "set 'max_tokens'"},
        {"{\"generationConfig\":{\"responseJsonSchema\":{}}}", "set 'answer'"},
        {"{\"generationConfig\":{\"thinkingConfig\":{}}}", "beside 'effort'"},
        {"{\"generationConfig\":{\"response_mime_type\":\"text/plain\"}}", "beside 'answer'"},
        {"{\"generationConfig\":{\"candidateCount\":2}}", "must be 1"},
        {"{\"labels\":{},\"labels\":{}}", "twice"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_request_settings s = settings_of("gemini-3.5-flash");
        s.effort = "low";
        s.schema = read_json("{\"type\":\"string\"}");
        s.extra = op_str_from(cases[i].extra);
        check_refusal(&s, cases[i].mention);
    }
}

/* --- files in the API's own form ------------------------------------------------------------ */

#define REQUEST "{\"contents\":[{\"parts\":[{\"text\":\"}\"}]}]}"

static void test_split(void **state)
{
    (void)state;
    static const struct {
        const char *line, *id, *params, *mention;
    } cases[] = {
        {"{\"key\":\"a\",\"request\":" REQUEST "}", "a", REQUEST, NULL},
        {"{\"request\": " REQUEST " , \"key\":\"\\u0061\\n\"}", "a\n", REQUEST, NULL},
        {"{\"key\":\"a\",\"request\":{\"content\":{}}}", "a", "{\"content\":{}}", NULL},
        {"{\"request\":" REQUEST "}", NULL, NULL, "\"key\" is missing"},
        {"{\"key\":7,\"request\":" REQUEST "}", NULL, NULL, "empty or no text"},
        {"{\"key\":\"\",\"request\":" REQUEST "}", NULL, NULL, "empty or no text"},
        {"{\"key\":\"a\"}", NULL, NULL, "\"request\" is missing"},
        {"{\"key\":\"a\",\"request\":null}", NULL, NULL, "\"request\" is missing"},
        {"{\"key\":\"a\",\"request\":{}}", NULL, NULL, "\"contents\""},
        {"{\"custom_id\":\"a\",\"body\":{}}", NULL, NULL, "another provider"},
        {REQUEST, NULL, NULL, "wrap the request"},
        {"[]", NULL, NULL, "not array"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        struct op_str id = OP_STR_NULL, params = OP_STR_NULL;
        const char *endpoint = NULL;
        enum op_rc rc = ops->split_line(read_json(cases[i].line), op_str_from(cases[i].line),
                                        &id, &params, &endpoint, &err);
        bool embeds = cases[i].params && (strstr(cases[i].params, "\"content\"") ||
                                          strstr(cases[i].params, "\"input\""));
        if (rc == OP_OK)
            assert_string_equal(endpoint, ops->endpoints[embeds]);
        assert_int_equal(rc, cases[i].mention ? OP_INVAL : OP_OK);
        assert_str(id, cases[i].id);
        assert_str(params, cases[i].params);
        if (cases[i].mention)
            assert_mentions(err.msg, cases[i].mention);
    }
}

static void test_framing(void **state)
{
    (void)state;
    struct op_batch_framing f;
    ops->framing(NULL, "generate", &f);
    OP_CLEANUP(op_buf_release) struct op_buf body;
    op_buf_init(&body, 10000);
    op_buf_addz(&body, f.head);
    for (int i = 0; i < 2; i++)
        op_buf_addf(&body, "%s%sid%d%s{}%s", i ? f.separator : "", f.before, i, f.between,
                    f.after);
    op_buf_addz(&body, f.tail);
    assert_string_equal(body.ptr, "{\"key\":\"id0\",\"request\":{}}\n"
                                  "{\"key\":\"id1\",\"request\":{}}\n");
}

static void test_amend(void **state)
{
    (void)state;
#define COMPLAINT                                                                          \
    "{\"role\":\"user\",\"parts\":[{\"text\":\"Your answer breaks these rules:\\n1. no\\n" \
    "Answer again, complete, with every one of them mended.\"}]}"
    static const struct {
        const char *params;
        struct op_amend amend;
        const char *want;
    } cases[] = {
        {"{\"generationConfig\":{\"maxOutputTokens\":5,\"topP\":1},\"contents\":[]}",
         {.max_tokens = 9},
         "{\"generationConfig\":{\"maxOutputTokens\":9,\"topP\":1},\"contents\":[]}"},
        {"{\"contents\":[],\"generation_config\":{\"max_output_tokens\":5}}",
         {.max_tokens = 1},
         "{\"contents\":[],\"generation_config\":{\"maxOutputTokens\":1}}"},
        {"{\"contents\":[]}",
         {.max_tokens = 9},
         "{\"contents\":[],\"generationConfig\":{\"maxOutputTokens\":9}}"},
        {"{\"contents\":[{\"role\":\"user\"}]}",
         {.answer = {"{\"a\"", 4}, .violations = {"1. no", 5}},
         "{\"contents\":[{\"role\":\"user\"},{\"role\":\"model\",\"parts\":[{\"text\":"
         "\"{\\\"a\\\"\"}]}," COMPLAINT "]}"},
        {"{\"contents\":[]}",
         {.answer = {"", 0}, .violations = {"1. no", 5}},
         "{\"contents\":[" COMPLAINT "]}"},
        {"{\"content\":{\"parts\":[]}}",
         {.max_tokens = 9, .violations = {"1. no", 5}},
         "{\"content\":{\"parts\":[]}}"},
    };
    for (size_t i = 0; i < OP_COUNT(cases); i++) {
        struct op_err err = OP_ERR_INIT;
        OP_CLEANUP(op_buf_release) struct op_buf out;
        op_buf_init(&out, 1 << 16);
        assert_int_equal(ops->amend(read_json(cases[i].params), &cases[i].amend, &out, &err),
                         OP_OK);
        assert_string_equal(out.ptr, cases[i].want);
    }
    struct op_err err = OP_ERR_INIT;
    struct op_amend amend = {.max_tokens = 1};
    OP_CLEANUP(op_buf_release) struct op_buf out;
    op_buf_init(&out, 1 << 16);
    assert_int_equal(ops->amend(read_json("[]"), &amend, &out, &err), OP_INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_golden, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_effort, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_embeddings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_settings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_extra, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_split, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_framing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_amend, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
