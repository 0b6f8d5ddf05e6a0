/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: a definition compiled for one run: the provider chosen, settings and texts with the
 *            params in them, targets made absolute, sinks opened once columns are known, prompts
 *            bound and composed for records, raw lines passed through, limits kept.
 * Oracle:    what is composed is parsed as JSON and compared member by member; a table of mistakes
 *            with their messages.
 */
#include "base/json.h"
#include "pipeline/chain.h"
#include "pipeline/plan.h"
#include "support.h"

#define HEAD "pipeline: p\ninputs: {t: {csv: a.csv}}\n"

struct fixture {
    struct op_bundle bundle;
    struct op_definition def;
    struct op_params params;
    struct op_lane lane;
    struct op_plan *plan;
    struct op_compose_scratch *scratch;
    struct op_json_parser *parser;
    struct op_buf out;
};

static const struct test_file files[] = {
    {"system.md", "You label in {{lang}}.\n{{> rules}}"},
    {"rules.mustache", "Be brief.\n"},
    {"typo.md", "one\ntwo {{subjet}}\n"},
    {"schema.json", "{\"type\":\"object\",\"properties\":{\"label\":{\"type\":\"string\"}},"
                    "\"required\":[\"label\"],\"additionalProperties\":false}"},
    {"bad.json", "{\"type\":\"objekt\"}"},
};

static enum op_rc open_plan(struct fixture *f, const char *yaml, const char *const *given,
                            const char *model, struct op_err *err)
{
    *f = (struct fixture){0};
    test_bundle(&f->bundle, yaml, files, OP_COUNT(files));
    test_define(&f->bundle, &f->def);
    f->lane = (struct op_lane){.provider = op_provider_find("anthropic"),
                               .base_url = (char *)(uintptr_t) "http://127.0.0.1:1",
                               .key = (char *)(uintptr_t) "k",
                               .extras = {(char *)(uintptr_t) "2026-10-21"}};
    f->scratch = op_compose_scratch_new();
    f->parser = op_json_parser_new();
    op_buf_init(&f->out, 64 * 1024 * 1024);
    struct op_plan_options options = {
        .model = model, .cwd = "/cwd", .work_dir = "/tmp", .limit = 3};
    if (op_params_resolve(&f->def, given, "/cwd", &f->params, err))
        return err->rc;
    const struct op_lane *lanes[] = {&f->lane, &f->lane, &f->lane};
    assert_true(f->def.request_count <= OP_COUNT(lanes));
    return op_plan_compile(op_env_default(), &f->def, &f->params, lanes, &f->bundle, &options,
                           &f->plan, err);
}

static void close_plan(struct fixture *f)
{
    op_plan_freep(&f->plan);
    op_params_release(&f->params);
    op_definition_release(&f->def);
    op_bundle_release(&f->bundle);
    op_compose_scratch_free(f->scratch);
    op_json_parser_freep(&f->parser);
    op_buf_release(&f->out);
    assert_int_equal(op_mem_live(), 0);
}

static void must_open(struct fixture *f, const char *yaml, const char *const *given)
{
    struct op_err err = OP_ERR_INIT;
    if (open_plan(f, yaml, given, NULL, &err))
        fail_msg("%s", err.msg);
}

static struct op_json composed(struct fixture *f, size_t ix, const struct op_value *cells)
{
    struct op_err err = OP_ERR_INIT;
    struct op_json root = {0};
    op_buf_clear(&f->out);
    if (op_plan_compose(f->plan, ix, cells, f->scratch, &f->out, &err) ||
        op_json_parse(f->parser, f->out.ptr, f->out.len, true, &root, &err))
        fail_msg("%s: %s", err.msg, f->out.ptr);
    return root;
}

static const char yaml[] =
    HEAD "params:\n"
         "  lang: {default: English}\n"
         "  tokens: {type: integer, default: 77}\n"
         "  out: {type: path, default: out}\n"
         "records: SELECT 1 AS key\n"
         "requests:\n"
         "  label:\n"
         "    model: claude-haiku-4-5\n"
         "    max_tokens: \"{{tokens}}\"\n"
         "    cache: 1h\n"
         "    system: system.md\n"
         "    user: \"{{subject}} in {{lang}}: {{#items}}[{{.}}]{{/items}}\"\n"
         "    answer: schema.json\n"
         "    params: {stop_sequences: [\"{{lang}}\"], metadata: {user_id: x}}\n"
         "  plain: {model: claude-haiku-4-5, user: \"{{key}}\", when: open}\n"
         "outputs:\n"
         "  - csv: labels.csv\n"
         "    key: [id]\n"
         "    rows: SELECT key AS id, 'records' FROM answers -- records\n"
         "  - json: \"{{out}}/{{id}}-{{lang}}.json\"\n"
         "    key: [id]\n"
         "    rows: SELECT key AS id FROM answers\n"
         "batch: {requests: \"{{tokens}}\", bytes: 99999999999999}\n"
         "display: \"{{label}}\"\n";

static const char *const none[8];
static const char *const columns[] = {"key", "subject", "items", "open"};

static void test_compose(void **state)
{
    (void)state;
    struct fixture f;
    struct op_err err = OP_ERR_INIT;
    must_open(&f, yaml, none);
    assert_int_equal(f.plan->requests[0].max_tokens, 77);
    assert_int_equal(f.plan->requests[1].max_tokens, OP_PLAN_MAX_TOKENS);
    assert_string_equal(f.plan->requests[0].model, "claude-haiku-4-5");
    assert_non_null(f.plan->requests[0].schema);
    assert_null(f.plan->requests[1].schema);
    assert_null(f.plan->requests[1].system);
    assert_int_equal(f.plan->batch_requests, 77);
    assert_int_equal(f.plan->batch_bytes, 99999999999999);
    assert_non_null(f.plan->display);
    assert_false(f.plan->keeps_data); /* a string and a comment are no mention */
    assert_int_equal(op_plan_columns(f.plan, columns, 4, &err), OP_OK);
    assert_int_equal(f.plan->record_column_count, 4);

    struct op_value cells[] = {op_value_text(OP_STR("k1")),
                               op_value_text(OP_STR("a \"b\"\n\\ é \xFF <&>")),
                               op_value_text(OP_STR("[\"x\",\"y\\n\"]")), op_value_int(1)};
    for (int i = 0; i < 3; i++) {
        struct op_json root = composed(&f, 0, cells);
        struct op_json content = op_json_pointer(root, OP_STR("/messages/0/content"));
        assert_true(test_str_is(op_json_str(content),
                                "a \"b\"\n\\ é \xEF\xBF\xBD <&> in English: [x][y\n]"));
        struct op_json system = op_json_pointer(root, OP_STR("/system/0/text"));
        assert_true(test_str_is(op_json_str(system), "You label in English.\nBe brief.\n"));
        assert_int_equal(op_json_int(op_json_get(root, "max_tokens"), 0), 77);
        struct op_json stop = op_json_pointer(root, OP_STR("/stop_sequences/0"));
        assert_true(test_str_is(op_json_str(stop), "English"));
    }
    cells[0] = op_value_int(-42);
    struct op_json root = composed(&f, 1, cells);
    assert_true(
        test_str_is(op_json_str(op_json_pointer(root, OP_STR("/messages/0/content"))), "-42"));
    close_plan(&f);
}

static void test_param_value_is_text(void **state)
{
    (void)state;
    struct fixture f;
    struct op_err err = OP_ERR_INIT;
    const char *given[] = {"a\",\"b\n{{x}}"};
    must_open(&f,
              HEAD "params: {lang: {}}\n"
                   "requests: {r: {model: claude-haiku-4-5, user: \"{{lang}}\", params: "
                   "{stop_sequences: [\"{{lang}}\"]}}}\n",
              given);
    assert_int_equal(op_plan_columns(f.plan, columns, 4, &err), OP_OK);
    struct op_value cells[] = {op_value_text(OP_STR("k")), op_value_text(OP_STR("s")),
                               op_value_text(OP_STR("[]")), op_value_int(1)};
    struct op_json root = composed(&f, 0, cells);
    assert_int_equal(op_json_count(op_json_get(root, "stop_sequences")), 1);
    assert_true(
        test_str_is(op_json_str(op_json_pointer(root, OP_STR("/stop_sequences/0"))), given[0]));
    assert_true(test_str_is(op_json_str(op_json_pointer(root, OP_STR("/messages/0/content"))),
                            given[0]));
    close_plan(&f);
}

static void test_refused_records(void **state)
{
    (void)state;
    struct fixture f;
    struct op_err err = OP_ERR_INIT;
    must_open(&f, yaml, none);
    assert_int_equal(op_plan_columns(f.plan, columns, 4, &err), OP_OK);
    op_buf_addz(&f.out, "kept");
    struct op_value cells[] = {op_value_null(), op_value_null(), op_value_null(),
                               op_value_int(1)};
    assert_int_equal(op_plan_compose(f.plan, 1, cells, f.scratch, &f.out, &err), OP_INVAL);
    assert_int_equal(err.disp, OP_DISP_REJECT);
    assert_string_equal(err.msg,
                        "p/pipeline.yaml:17: the user prompt is empty for this record; "
                        "leave such records out in 'records'");
    op_err_clear(&err);
    cells[0] = op_value_text(OP_STR(" \n\t "));
    assert_int_equal(op_plan_compose(f.plan, 1, cells, f.scratch, &f.out, &err), OP_INVAL);
    size_t len = OP_TEMPLATE_MAX_OUTPUT + 1;
    char *large = op_mem_alloc(len);
    memset(large, 'x', len);
    cells[0] = op_value_text((struct op_str){large, len});
    op_err_clear(&err);
    assert_int_equal(op_plan_compose(f.plan, 1, cells, f.scratch, &f.out, &err), OP_INVAL);
    assert_int_equal(err.disp, OP_DISP_REJECT);
    assert_true(op_str_starts(op_str_from(err.msg), "p/pipeline.yaml"));
    op_mem_free(large);
    assert_string_equal(f.out.ptr, "kept"); /* nothing of a failed one stays */
    close_plan(&f);
}

static void test_outputs(void **state)
{
    (void)state;
    struct fixture f;
    struct op_err err = OP_ERR_INIT;
    const char *row[] = {"id", "'records'"}, *other[] = {"id", "label"}, *wrong[] = {"ids"};
    must_open(&f, yaml, none);
    assert_string_equal(f.plan->outputs[0].target, "/cwd/labels.csv");
    assert_null(f.plan->outputs[0].path);
    assert_string_equal(f.plan->outputs[1].target, "/cwd/out/{{id}}-English.json");
    assert_non_null(f.plan->outputs[1].path);
    assert_null(f.plan->outputs[0].sink);

    assert_int_equal(op_plan_open_output(f.plan, 0, wrong, 1, &err), OP_INVAL);
    assert_string_equal(err.msg,
                        "p/pipeline.yaml:19: 'key' names 'id', but 'rows' selects no such "
                        "column (did you mean 'ids'?); there are: ids");
    op_err_clear(&err);
    if (op_plan_open_output(f.plan, 0, row, 2, &err))
        fail_msg("%s", err.msg);
    assert_non_null(f.plan->outputs[0].sink);
    assert_string_equal(f.plan->outputs[0].columns[0], "id");
    assert_int_equal(op_plan_open_output(f.plan, 0, row, 2, &err), OP_OK);
    assert_int_equal(op_plan_open_output(f.plan, 0, other, 2, &err), OP_INVAL);
    assert_string_equal(err.msg, "p/pipeline.yaml:19: 'rows' selected other columns before");
    op_err_clear(&err);
    if (op_plan_open_output(f.plan, 1, other, 2, &err))
        fail_msg("%s", err.msg);
    struct op_template_scratch *scratch = op_template_scratch_new();
    struct op_value cells[] = {op_value_int(7), op_value_null()};
    struct op_template_root root = {
        .columns = f.plan->outputs[1].columns, .cells = cells, .count = 2};
    assert_int_equal(op_template_render(f.plan->outputs[1].path, scratch, &root, &f.out, &err),
                     OP_OK);
    assert_string_equal(f.out.ptr, "/cwd/out/7-English.json");
    op_template_scratch_free(scratch);
    close_plan(&f);
}

static void test_raw(void **state)
{
    (void)state;
    struct fixture f;
    struct op_err err = OP_ERR_INIT;
    const char *names[] = {"key", "line"};
    must_open(&f, HEAD "requests: {r: {raw: true, provider: anthropic}}\n", none);
    assert_int_equal(op_plan_columns(f.plan, names, 1, &err), OP_INVAL);
    assert_string_equal(err.msg, "p/pipeline.yaml:3: request 'r' is raw, so the records need a "
                                 "column 'line' that holds the request");
    op_err_clear(&err);
    assert_int_equal(op_plan_columns(f.plan, names, 2, &err), OP_OK);
    struct op_str line = OP_STR("{\"custom_id\": \"a\\n1\", \"params\": {\"model\": \"m\", "
                                "\"max_tokens\": 1, \"messages\": [{\"role\": "
                                "\"user\", \"content\": \"hi\"}], \"x\": [1.50]}}");
    struct op_value cells[] = {op_value_null(), op_value_text(line)};
    struct op_str id = OP_STR_NULL;
    if (op_plan_compose(f.plan, 0, cells, f.scratch, &f.out, &err) ||
        op_plan_raw_key(f.plan, line, f.scratch, &id, &err))
        fail_msg("%s", err.msg);
    assert_non_null(strstr(f.out.ptr, ", \"x\": [1.50]}"));
    assert_int_equal(f.out.ptr[0], '{');
    assert_true(test_str_is(id, "a\n1"));

    static const char *const bad[] = {"", "{", "[]", "{\"custom_id\":\"a\"}",
                                      "{\"params\":{}}"};
    for (size_t i = 0; i <= OP_COUNT(bad); i++) {
        op_err_clear(&err);
        cells[1] = op_value_text(i < OP_COUNT(bad) ? op_str_from(bad[i]) : OP_STR_NULL);
        assert_int_equal(op_plan_compose(f.plan, 0, cells, f.scratch, &f.out, &err), OP_INVAL);
        assert_int_equal(err.disp, OP_DISP_REJECT);
    }
    close_plan(&f);
}

static void test_keeps_data(void **state)
{
    (void)state;
    static const struct {
        const char *more;
        bool keeps;
    } table[] = {
        {"", false},
        {"outputs: [{csv: o.csv, key: [k], rows: SELECT key AS k FROM answers}]\n", false},
        {"outputs: [{csv: o.csv, key: [k], rows: SELECT key AS k FROM Records}]\n", true},
        {"checks: [\"SELECT 1 FROM answers,records\"]\n", true},
        {"warnings: [\"SELECT x /* ' */ FROM records\"]\n", true},
        {"checks: [\"SELECT 'it''s records' -- records\"]\n", false},
        {"checks: [SELECT 1 FROM records_of_old]\n", false},
        {"checks: ['SELECT \"records\".a FROM x']\n", true},
        {"progress: SELECT 1 FROM records\n", false},
    };
    for (size_t i = 0; i < OP_COUNT(table); i++) {
        struct fixture f;
        char text[400];
        snprintf(text, sizeof(text), HEAD "requests: {r: {model: claude-x, user: hi}}\n%s",
                 table[i].more);
        must_open(&f, text, none);
        if (f.plan->keeps_data != table[i].keeps)
            fail_msg("case %zu", i);
        close_plan(&f);
    }
}

static void test_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *model, *message; /* how it begins */
    } table[] = {
        {"requests: {r: {model: claude-x, user: hi, answer: bad.json}}\n", NULL, "p/bad.json"},
        {"requests: {r: {model: claude-x, user: hi, cache: 1h}}\n", NULL,
         "p/pipeline.yaml:3: "},
        {"params: {n: {default: x}}\nrequests: {r: {model: claude-x, user: hi, max_tokens: "
         "\"{{n}}\"}}\n",
         NULL, "p/pipeline.yaml:4: 'max_tokens' must be a whole number above 0, not 'x'"},
        {"params: {n: {default: x}}\nrequests: {r: {model: claude-x, user: hi, temperature: "
         "\"{{n}}\"}}\n",
         NULL, "p/pipeline.yaml:4: 'temperature' must be a number, not 'x'"},
        {"params: {n: {default: x}}\nrequests: {r: {model: claude-x, user: hi}}\nbatch: {requests: "
         "\"{{n}}\"}\n",
         NULL, "p/pipeline.yaml: 'batch.requests' must be a whole number above 0, not 'x'"},
        {"params: {o: {}}\nrequests: {r: {model: claude-x, user: hi}}\noutputs: [{csv: \"{{o}}\", "
         "key: [k], rows: SELECT 1 AS k}]\n",
         NULL, "p/pipeline.yaml:5: this output's csv is empty: say where it goes"},
        {"params: {o: {default: \"a{{=<% %>=}}{{x<%={{ }}=%>\"}}\nrequests: {r: {model: claude-x, "
         "user: hi}}\noutputs: [{json: \"{{o}}/{{k}}\", key: [k], rows: SELECT 1 AS k}]\n",
         NULL, "p/pipeline.yaml:5: the value of 'o' goes into a path and holds '{{'"},
        {"requests: {r: {raw: true, provider: anthropic, model: claude-y}}\n", "claude-x",
         "p/pipeline.yaml:3: request 'r' is raw: its lines go to the model that they or this request "
         "name; leave --model out"},
    };
    for (size_t i = 0; i < OP_COUNT(table); i++) {
        struct fixture f;
        struct op_err err = OP_ERR_INIT;
        char text[500];
        snprintf(text, sizeof(text), HEAD "%s", table[i].yaml);
        assert_int_equal(open_plan(&f, text, none, table[i].model, &err), OP_INVAL);
        if (!op_str_starts(op_str_from(err.msg), table[i].message))
            fail_msg("case %zu: %s", i, err.msg);
        close_plan(&f);
    }
}

static void test_column_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *message; /* how it begins */
    } table[] = {
        {"requests: {r: {model: claude-x, user: typo.md}}\n",
         "p/typo.md:2: there is no column 'subjet'; did you mean 'subject'?"},
        {"requests:\n  r:\n    model: claude-x\n    user: |\n      a\n      {{nothing}}\n",
         "p/pipeline.yaml:8: there is no column 'nothing'"},
        {"requests: {r: {model: claude-x, user: hi, when: opn}}\n",
         "p/pipeline.yaml:3: 'when' names 'opn', which is no column of the records (did you mean "
         "'open'?)"},
        {"params: {subject: {default: x}}\nrequests: {r: {model: claude-x, user: "
         "\"{{#open}}{{ subject }}{{/open}}\"}}\n",
         "p/pipeline.yaml: a prompt uses {{subject}}, which is both a column of the records and the "
         "param --subject: rename one of them (SELECT subject AS ...)"},
        {"params: {subject: {default: x}}\nrequests: {r: {model: claude-x, user: hi}}\n", ""},
        {"requests: {r: {model: claude-x, user: \"{{key}} {{open}}\"}}\n", ""},
    };
    for (size_t i = 0; i < OP_COUNT(table); i++) {
        struct fixture f;
        struct op_err err = OP_ERR_INIT;
        char text[500];
        snprintf(text, sizeof(text), HEAD "%s", table[i].yaml);
        must_open(&f, text, none);
        enum op_rc rc = op_plan_columns(f.plan, columns, 4, &err);
        assert_int_equal(rc, table[i].message[0] ? OP_INVAL : OP_OK);
        if (!op_str_starts(op_str_from(err.msg), table[i].message))
            fail_msg("case %zu: %s", i, err.msg);
        close_plan(&f);
    }
}

static void test_provider(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *model, *provider; /* the last one's, or how the message begins */
    } table[] = {
        {"requests: {r: {model: claude-x, user: hi}}\n", NULL, "anthropic"},
        {"requests: {r: {user: hi}}\n", "claude-x", "anthropic"},
        {"requests: {r: {user: hi, provider: anthropic}}\n", NULL, "anthropic"},
        {"requests: {r: {user: hi, provider: anthropic, model: own}}\n", NULL, "anthropic"},
        {"params: {m: {default: claude-y}}\nrequests: {r: {user: hi, model: \"{{m}}\"}}\n",
         NULL, "anthropic"},
        {"requests: {a: {user: hi, model: claude-x}, r: {user: hi, model: gpt-5-mini}}\n", NULL,
         "openai"},
        {"requests: {r: {user: hi}}\n", NULL,
         "p/pipeline.yaml:3: request 'r' names no model: add 'model' or give --model; the providers "
         "are: anthropic (claude-...)"},
        {"requests: {r: {user: hi, model: llama-3}}\n", NULL,
         "p/pipeline.yaml:3: the model 'llama-3' does not tell its provider: add 'provider'; there "
         "are: anthropic (claude-...)"},
        {"requests: {r: {user: hi, provider: antropic}}\n", NULL,
         "p/pipeline.yaml:3: there is no provider 'antropic'; there are: anthropic (claude-...)"},
    };
    for (size_t i = 0; i < OP_COUNT(table); i++) {
        struct op_bundle bundle;
        struct op_definition def;
        struct op_params params;
        struct op_err err = OP_ERR_INIT;
        OP_CLEANUP(op_chain_release) struct op_chain chain = {0};
        char text[400];
        snprintf(text, sizeof(text), HEAD "%s", table[i].yaml);
        test_bundle(&bundle, text, NULL, 0);
        test_define(&bundle, &def);
        assert_int_equal(op_params_resolve(&def, none, "/", &params, &err), OP_OK);
        enum op_rc rc = op_chain_read(&def, &params, NULL, table[i].model, &chain, &err);
        const char *got =
            rc ? err.msg : op_chain_provider(&chain, 0, def.request_count - 1)->name;
        assert_true(rc || chain.count == 1);
        if (!op_str_starts(op_str_from(got), table[i].provider))
            fail_msg("case %zu: %s", i, got);
        op_params_release(&params);
        op_definition_release(&def);
        op_bundle_release(&bundle);
    }
    assert_int_equal(op_mem_live(), 0);
}

/* Whom a job asks, in which order, and with which model each. */
static void test_chain(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *names, *model, *chain; /* "provider model provider model", or how the
                                                     message begins */
    } table[] = {
        {"requests: {r: {user: hi, provider: \"gemini, mistral\", model: \"gemini=g, mistral=m\"}}\n",
         NULL, NULL, "gemini g mistral m "},
        {"requests: {r: {user: hi, provider: \"mistral,gemini\"}}\n", NULL, NULL,
         "mistral - gemini - "},
        {"requests: {r: {user: hi, model: gemini-3-pro}}\n", "gemini,mistral",
         "mistral-large-latest,gemini=own", "gemini own mistral mistral-large-latest "},
        {"requests: {r: {user: hi, model: \"mistral=m,gemini-3-pro\"}}\n", NULL, NULL,
         "mistral m gemini gemini-3-pro "},
        {"params: {first: {default: openai}, rest: {default: \"\"}}\n"
         "requests: {r: {user: hi, provider: \"{{first}},{{rest}}\"}}\n",
         NULL, NULL, "openai - "},
        {"requests: {r: {user: hi, provider: gemini, model: \"gemini=g,mistral=m\"}}\n", NULL,
         NULL, "gemini g "},
        {"requests: {r: {user: hi, provider: \"gemini,mistral\", model: gemini-3-pro}}\n", NULL,
         NULL,
         "p/pipeline.yaml:3: 'gemini-3-pro' names no model of mistral, which may be asked too: add "
         "mistral=MODEL"},
        {"requests: {r: {user: hi, provider: \"gemini,mistral\", model: llama}}\n", NULL, NULL,
         "p/pipeline.yaml:3: the model 'llama' does not tell its provider: write PROVIDER=llama"},
        {"requests: {r: {user: hi}}\n", "gemini,gemini", "g",
         "--provider: the provider gemini is named twice"},
        {"requests: {r: {user: hi}}\n", "gemini,mistrall", "g",
         "--provider: there is no provider 'mistrall'; there are: "},
        {"requests:\n  r: {user: hi, provider: \"gemini,mistral\"}\n  s: {user: hi, provider: gemini}\n",
         NULL, NULL,
         "p/pipeline.yaml:5: request 'r' goes to gemini, mistral and request 's' to gemini: where"},
        {"requests: {r: {raw: true, provider: \"gemini,mistral\"}}\n", NULL, NULL,
         "p/pipeline.yaml:3: request 'r' is raw: ready lines are in the form of one provider"},
    };
    for (size_t i = 0; i < OP_COUNT(table); i++) {
        struct op_bundle bundle;
        struct op_definition def;
        struct op_params params;
        struct op_err err = OP_ERR_INIT;
        struct op_chain chain = {0};
        char text[400], got[500] = "";
        snprintf(text, sizeof(text), HEAD "%s", table[i].yaml);
        test_bundle(&bundle, text, NULL, 0);
        test_define(&bundle, &def);
        assert_int_equal(op_params_resolve(&def, none, "/", &params, &err), OP_OK);
        enum op_rc rc =
            op_chain_read(&def, &params, table[i].names, table[i].model, &chain, &err);
        OP_CLEANUP(op_arena_release) struct op_arena arena = {0};
        for (size_t at = 0; !rc && at < chain.count; at++) {
            const char *said = table[i].model ? table[i].model : def.requests[0].model;
            const char *model = NULL;
            rc = op_chain_model(said, op_chain_provider(&chain, at, 0), chain.count > 1,
                                def.requests[0].place, &arena, &model, &err);
            size_t len = strlen(got);
            snprintf(got + len, sizeof(got) - len, "%s %s ",
                     op_chain_provider(&chain, at, 0)->name, model ? model : "-");
        }
        if (!op_str_starts(op_str_from(rc ? err.msg : got), table[i].chain))
            fail_msg("case %zu: %s", i, rc ? err.msg : got);
        op_params_release(&params);
        op_definition_release(&def);
        op_bundle_release(&bundle);
        op_chain_release(&chain);
        op_arena_release(&arena);
        arena = (struct op_arena){0};
        assert_int_equal(op_mem_live(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compose),
        cmocka_unit_test(test_param_value_is_text),
        cmocka_unit_test(test_refused_records),
        cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_keeps_data),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_column_mistakes),
        cmocka_unit_test(test_provider),
        cmocka_unit_test(test_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
