/* SPDX-License-Identifier: MIT */
/*
 * Behaviour: pipeline.yaml as plain data: every key read into its field, files pulled into the
 *            bundle (also partials), every mistake said with its line and a hint.
 * Oracle:    a file that uses every key, read field by field; a table of mistakes with the whole
 *            message; a definition parsed again from the frozen bundle, without any folder.
 */
#include "support.h"

#define HEAD "pipeline: p\ninputs: {t: {csv: a.csv}}\n"
#define ASKS "pipeline: p\nrequests: {r: {model: m, user: hi}}\n"
#define BASE HEAD "requests: {r: {model: m, user: hi}}\n"
#define AT   "p/pipeline.yaml:"

static const char full[] =
    "pipeline: ticket-labels\n"
    "about: Labels tickets\n"
    "params:\n"
    "  path: {about: CSV file, required: true, type: path, env: TICKETS, aliases: [file, f]}\n"
    "  lang: {values: [en, de], default: en}\n"
    "  out:  {type: path, default: \"{{path}}.out\"}\n"
    "  size: {type: integer}\n"
    "  plain:\n"
    "inputs:\n"
    "  tickets: {csv: \"{{path}}\", separator: \";\", on_error: skip}\n"
    "  labels:\n"
    "    jsonl: labels.jsonl\n"
    "    optional: true\n"
    "    columns: [name, text]\n"
    "require:\n"
    "  - sql: SELECT count(*) > 0 FROM tickets\n"
    "    message: No tickets in {{path}}\n"
    "records: records.sql\n"
    "done: SELECT name FROM labels\n"
    "rounds: 2\n"
    "requests:\n"
    "  label:\n"
    "    model: claude-haiku\n"
    "    provider: anthropic\n"
    "    max_tokens: \"{{size}}\"\n"
    "    temperature: 0.5\n"
    "    effort: low\n"
    "    cache: 1h\n"
    "    system: system.md\n"
    "    user: |\n"
    "      Label this:\n"
    "      {{subject}}\n"
    "    answer: {type: object, required: [label], properties: {label: {type: string}}}\n"
    "    params: {top_k: 5, stop_sequences: [\"{{lang}}\"]}\n"
    "    when: open\n"
    "  lines: {raw: true, answer: label.schema.json}\n"
    "checks:\n"
    "  - SELECT 'empty' FROM answers WHERE answer = ''\n"
    "  - {sql: SELECT 'x', request: label}\n"
    "warnings: [SELECT 'hm']\n"
    "outputs:\n"
    "  - csv: \"{{out}}/labels.csv\"\n"
    "    key: [id, lang]\n"
    "    rows: SELECT key AS id FROM answers\n"
    "  - json: \"{{out}}/{{id}}.json\"\n"
    "    rows: rows.sql\n"
    "    key: id\n"
    "    on: job\n"
    "progress: SELECT 'a', 1\n"
    "display: \"{{label}}\"\n"
    "batch: {requests: \"{{size}}\", bytes: 1000000}\n"
    "prime: true\n"
    "reask: {invalid: 2, failed: 0, truncated: 4}\n";

static const struct test_file full_files[] = {
    {"records.sql", "SELECT 1 AS key\n"},
    {"rows.sql", "SELECT 1\n"},
    {"system.md", "You label.\n{{> rules}}\n"},
    {"rules.mustache", "Rules.\n{{> more}}\n"},
    {"more.md", "More.\n"},
    {"label.schema.json", "{\"type\": \"object\"}\n"},
};

static void check_params(const struct op_definition *def)
{
    assert_int_equal(def->param_count, 5);
    const struct op_param_def *p = def->params;
    assert_string_equal(p[0].name, "path");
    assert_string_equal(p[0].about, "CSV file");
    assert_true(p[0].required);
    assert_int_equal(p[0].type, OP_PARAM_PATH);
    assert_string_equal(p[0].env, "TICKETS");
    assert_string_equal(p[0].aliases[0], "file");
    assert_string_equal(p[0].aliases[1], "f");
    assert_null(p[0].aliases[2]);
    assert_string_equal(p[0].place, "p/pipeline.yaml:4");
    assert_string_equal(p[1].values[1], "de");
    assert_string_equal(p[1].fallback, "en");
    assert_string_equal(p[2].fallback, "{{path}}.out");
    assert_int_equal(p[3].type, OP_PARAM_INTEGER);
    assert_string_equal(p[4].name, "plain");
    assert_string_equal(p[4].about, "");
    assert_null(p[4].fallback);
}

static void check_inputs(const struct op_definition *def)
{
    assert_int_equal(def->input_count, 2);
    const struct op_input_def *in = def->inputs;
    assert_string_equal(in[0].name, "tickets");
    assert_string_equal(in[0].source->kind, "csv");
    assert_string_equal(in[0].target, "{{path}}");
    assert_true(in[0].skip_bad);
    assert_false(in[0].optional);
    assert_string_equal(in[0].options[0].name, "separator");
    assert_string_equal(in[0].options[0].value, ";");
    assert_string_equal(in[1].source->kind, "jsonl");
    assert_true(in[1].optional);
    assert_string_equal(in[1].columns[1], "text");
    assert_null(in[1].columns[2]);
    assert_string_equal(in[1].place, "p/pipeline.yaml:11");
    bool told = false; /* a driver that has the option is told as well */
    for (size_t i = 0; i < in[1].option_count; i++)
        told |= strcmp(in[1].options[i].name, "columns") == 0 &&
                strcmp(in[1].options[i].value, "name,text") == 0;
    assert_true(told);
}

static void check_requests(const struct op_definition *def)
{
    assert_int_equal(def->request_count, 2);
    const struct op_request_def *r = &def->requests[0];
    assert_string_equal(r->name, "label");
    assert_string_equal(r->model, "claude-haiku");
    assert_string_equal(r->provider, "anthropic");
    assert_string_equal(r->max_tokens, "{{size}}");
    assert_string_equal(r->temperature, "0.5");
    assert_string_equal(r->effort, "low");
    assert_string_equal(r->cache, "1h");
    assert_string_equal(r->when, "open");
    assert_true(test_str_is(r->system.text, "You label.\n{{> rules}}\n"));
    assert_string_equal(r->system.place, "p/system.md:1");
    assert_true(test_str_is(r->user.text, "Label this:\n{{subject}}\n"));
    assert_string_equal(r->user.place, "p/pipeline.yaml:31");
    assert_true(test_str_is(r->schema.text,
                            "{\"type\":\"object\",\"required\":[\"label\"],"
                            "\"properties\":{\"label\":{\"type\":\"string\"}}}"));
    assert_true(test_str_is(r->extra.text, "{\"top_k\":5,\"stop_sequences\":[\"{{lang}}\"]}"));
    assert_false(r->raw);
    assert_true(def->requests[1].raw);
    assert_string_equal(def->requests[1].schema.place, "p/label.schema.json:1");
}

static void check_outputs(const struct op_definition *def)
{
    assert_int_equal(def->output_count, 2);
    const struct op_output_def *o = def->outputs;
    assert_string_equal(o[0].sink->kind, "csv");
    assert_int_equal(o[0].on, OP_ON_ANSWER);
    assert_false(o[0].per_row_path);
    assert_string_equal(o[0].key[1], "lang");
    assert_null(o[0].key[2]);
    assert_true(test_str_is(o[0].rows.text, "SELECT key AS id FROM answers"));
    assert_int_equal(o[1].on, OP_ON_JOB);
    assert_true(o[1].per_row_path);
    assert_string_equal(o[1].key[0], "id");
    assert_string_equal(o[1].rows.place, "p/rows.sql:1");
}

static void check_rest(const struct op_definition *def)
{
    assert_string_equal(def->name, "ticket-labels");
    assert_string_equal(def->about, "Labels tickets");
    assert_string_equal(def->file, "p/pipeline.yaml");
    assert_true(test_str_is(def->records.text, "SELECT 1 AS key\n"));
    assert_string_equal(def->records.place, "p/records.sql:1");
    assert_true(test_str_is(def->done.text, "SELECT name FROM labels"));
    assert_int_equal(def->rounds, 2);
    assert_int_equal(def->require_count, 1);
    assert_string_equal(def->requires[0].sql.place, "p/pipeline.yaml:16");
    assert_true(test_str_is(def->requires[0].message.text, "No tickets in {{path}}"));
    assert_int_equal(def->check_count, 3);
    assert_null(def->checks[0].request);
    assert_string_equal(def->checks[1].request, "label");
    assert_false(def->checks[1].warning);
    assert_true(def->checks[2].warning);
    assert_true(test_str_is(def->progress.text, "SELECT 'a', 1"));
    assert_true(test_str_is(def->display.text, "{{label}}"));
    assert_string_equal(def->batch_requests, "{{size}}");
    assert_string_equal(def->batch_bytes, "1000000");
    assert_true(def->prime);
    assert_int_equal(def->reask_invalid, 2);
    assert_int_equal(def->reask_failed, 0);
    assert_int_equal(def->reask_truncated, 4);
}

static void check_full(const struct op_definition *def)
{
    check_params(def);
    check_inputs(def);
    check_requests(def);
    check_outputs(def);
    check_rest(def);
}

static void test_full(void **state)
{
    (void)state;
    struct op_bundle bundle;
    struct op_definition def;
    test_bundle(&bundle, full, full_files, OP_COUNT(full_files));
    test_define(&bundle, &def);
    check_full(&def);
    op_definition_release(&def);
    op_bundle_release(&bundle);
    assert_int_equal(op_mem_live(), 0);
}

static void test_frozen(void **state)
{
    (void)state;
    struct op_bundle bundle, again;
    struct op_definition def;
    struct op_err err = OP_ERR_INIT;
    struct op_buf json;
    op_buf_init(&json, 1 << 20);
    test_bundle(&bundle, full, full_files, OP_COUNT(full_files));
    op_bundle_write(&bundle, &json);
    assert_int_equal(op_bundle_read(op_buf_str(&json), &again, &err), OP_OK);
    op_bundle_release(&bundle);
    test_define(&again, &def);
    check_full(&def);
    op_definition_release(&def);
    op_bundle_release(&again);
    op_buf_release(&json);
    assert_int_equal(op_mem_live(), 0);
}

static void test_least(void **state)
{
    (void)state;
    struct op_bundle bundle;
    struct op_definition def;
    test_bundle(&bundle, BASE, NULL, 0);
    test_define(&bundle, &def);
    assert_string_equal(def.about, "");
    assert_null(def.records.text.ptr);
    assert_null(def.done.text.ptr);
    assert_null(def.display.text.ptr);
    assert_null(def.batch_requests);
    assert_int_equal(def.rounds, 1);
    assert_int_equal(def.reask_invalid, 1);
    assert_int_equal(def.reask_failed, 3);
    assert_int_equal(def.reask_truncated, 1);
    assert_null(def.requests[0].schema.text.ptr);
    op_definition_release(&def);
    op_bundle_release(&bundle);
}

/* The same in JSON, as a program would write it. */
static void test_as_json(void **state)
{
    (void)state;
    struct op_bundle bundle;
    struct op_definition def;
    test_bundle(
        &bundle,
        "{\"pipeline\":\"run\",\"inputs\":{\"input\":{\"csv\":\"a.csv\"}},"
        "\"requests\":{\"ask\":{\"model\":\"m\",\"user\":\"Classify: {{subject}}, now\","
        "\"max_tokens\":100}},\"outputs\":[{\"csv\":\"o.csv\",\"key\":[\"key\"],"
        "\"rows\":\"SELECT key FROM answers\"}]}",
        NULL, 0);
    test_define(&bundle, &def);
    assert_true(test_str_is(def.requests[0].user.text, "Classify: {{subject}}, now"));
    assert_string_equal(def.requests[0].max_tokens, "100");
    op_definition_release(&def);
    op_bundle_release(&bundle);
}

static const struct test_file broken_files[] = {
    {"empty.sql", " \n"},
    {"broken.md", "a\nb {{x\n"},
    {"partial.md", "a\n{{> nobody}}\n"},
    {"bad.json", "{\n \"a\": \n}"},
    {"list.json", "[1]"},
};

static const struct {
    const char *yaml, *message;
} mistakes[] = {
    /* clang-format off */
    {"- a\n",
     AT "1: must be a map that begins with `pipeline: NAME`"},
    {"just a text\n",
     AT "1: must be a map that begins with `pipeline: NAME`"},
    {BASE "outputss: []\n",
     AT "4: unknown key 'outputss' (did you mean 'outputs'?)"},
    {BASE "zzz: 1\n",
     AT "4: unknown key 'zzz'; there are: pipeline, about, params, inputs, require, records, done, rounds, requests, views, checks, warnings, outputs, trigger, profiles, progress, display, batch, prime, reask"},
    {"pipeline: Big Name\ninputs: {t: {csv: a.csv}}\n",
     AT "1: 'Big Name' is no name for a pipeline: use small letters, digits and '-', at most 64"},
    {"pipeline:\n",
     AT "1: 'pipeline' must be a text, not nothing"},
    {"pipeline: [a]\n",
     AT "1: 'pipeline' must be a text, not a list"},
    {"inputs: {t: {csv: a.csv}}\nrequests: {r: {user: hi}}\n",
     AT "1: 'pipeline' is missing: give the pipeline a name"},
    {HEAD,
     AT "1: 'requests' is missing: it says what is asked"},
    {ASKS,
     AT "1: there is nothing to ask about: add 'inputs'"},
    {ASKS "inputs: {t: {csv: a.csv}, u: {csv: b.csv}}\n",
     AT "3: with several inputs, 'records' must select what is asked about"},
    {BASE "rounds: two\n",
     AT "4: 'rounds' must be a whole number, not 'two'"},
    {BASE "rounds: 0\n",
     AT "4: 'rounds' must be from 1 to 1000, not 0"},
    {BASE "prime: yes\n",
     AT "4: 'prime' must be true or false, not 'yes'"},
    {BASE "about: [x]\n",
     AT "4: 'about' must be a text, not a list"},
    {BASE "params: [path]\n",
     AT "4: 'params' must be a map such as {path: {about: What it is, required: true}}, not a list"},
    {BASE "params: {path: x}\n",
     AT "4: 'path' must be a map such as {about: What it is, required: true}, not a text"},
    {BASE "params: {Path: {}}\n",
     AT "4: 'Path' is no name for a param: use small letters, digits and '_'"},
    {BASE "params: {a: {tipe: text}}\n",
     AT "4: unknown key 'tipe' (did you mean 'type'?)"},
    {BASE "params: {a: {type: integr}}\n",
     AT "4: 'integr' is no type (did you mean 'integer'?): use text, integer, number, boolean, path or list"},
    {BASE "params: {a: {required: 1}}\n",
     AT "4: 'required' must be true or false, not '1'"},
    {BASE "params: {a: {required: true, default: 1}}\n",
     AT "4: 'a' is required, so its default is never used: leave one out"},
    {BASE "params: {a: {type: integer, default: ten}}\n",
     AT "4: the default of 'a' must be a whole number, not 'ten'"},
    {BASE "params: {a: {type: boolean, default: maybe}}\n",
     AT "4: the default of 'a' must be true or false, not 'maybe'"},
    {BASE "params: {a: {values: [red, green], default: gren}}\n",
     AT "4: the default 'gren' of 'a' is not among its values (did you mean 'green'?)"},
    {BASE "params: {a: {default: \"{{b}}\"}, b: {}}\n",
     AT "4: 'default' uses {{b}}, which is no param above this one; there are none"},
    {BASE "params: {a: {}, b: {default: \"{{a}\"}}\n",
     AT "4: the tag that opens here is not closed with '}}'"},
    {BASE "params: {a: {aliases: [x]}, b: {aliases: [x]}}\n",
     AT "4: --x is an option of the param 'a' already"},
    {BASE "params: {a_b: {}, c: {aliases: [a-b]}}\n",
     AT "4: --a-b is an option of the param 'a_b' already"},
    {BASE "params: {a: {aliases: [a]}}\n",
     AT "4: 'a' is an alias of itself"},
    {BASE "params: {a: {aliases: [A]}}\n",
     AT "4: the alias 'A' is no option name: use small letters, digits and '-'"},
    {BASE "params: {a: {values: [x, x]}}\n",
     AT "4: 'values' names 'x' twice"},
    {BASE "params: {a: {values: {x: 1}}}\n",
     AT "4: 'values' must be a list such as [one, two], not a map"},
    {ASKS "inputs: [a.csv]\n",
     AT "3: 'inputs' must be a map such as {tickets: {csv: PATH}}, not a list"},
    {ASKS "inputs: {t: a.csv}\n",
     AT "3: 't' must be a map such as {csv: PATH}, not a text"},
    {ASKS "inputs: {t: {cvs: a.csv}}\n",
     AT "3: 'cvs' is no kind of input (did you mean 'csv'?); there are: csv, "},
    {ASKS "inputs: {t: {optional: true}}\n",
     AT "3: this input does not say its kind, as in `csv: PATH`; there are: csv, "},
    {ASKS "inputs: {t: {csv: a.csv, jsonl: b}}\n",
     AT "3: this input has two kinds, 'csv' and 'jsonl'"},
    {ASKS "inputs: {t: {csv: a.csv, seperator: ;}}\n",
     AT "3: unknown key 'seperator' (did you mean 'separator'?)"},
    {ASKS "inputs: {t: {csv: a.csv, on_error: ignore}}\n",
     AT "3: 'on_error' must be fail or skip, not 'ignore'"},
    {ASKS "inputs: {t: {csv: a.csv, optional: true}}\n",
     AT "3: an optional input needs 'columns: [..]', so that SELECTs know them when its file is missing"},
    {ASKS "inputs: {records: {csv: a.csv}}\n",
     AT "3: the table 'records' is offpeak's own: give the input another name"},
    {ASKS "inputs: {a-b: {csv: a.csv}}\n",
     AT "3: 'a-b' is no name for a table: use letters, digits and '_'"},
    {ASKS "inputs: {T: {csv: a.csv}, t: {csv: b.csv}}\n",
     AT "3: SQL does not tell the inputs 'T' and 't' apart: rename one"},
    {ASKS "params: {path: {}}\ninputs: {t: {csv: \"{{pth}}\"}}\n",
     AT "4: 'csv' uses {{pth}}, which is no param (did you mean 'path'?)"},
    {ASKS "inputs: {t: {csv: \"{{#x}}\"}}\n",
     AT "3: section 'x' is not closed"},
    {ASKS "inputs: {t: {csv: {{path}}}}\n",
     AT "3: a key must be a word; a value that begins with {{ needs quotes around it, as in \"{{name}}\""},
    {ASKS "inputs: {t: {csv: }}\n",
     AT "3: 'csv' must be a text, not nothing"},
    {BASE "records: missing.sql\n",
     AT "4: cannot open p/missing.sql: No such file or directory"},
    {BASE "records: ../up.sql\n",
     AT "4: '../up.sql' is outside the pipeline's folder; put the file into it"},
    {BASE "records: ''\n",
     AT "4: 'records' is empty"},
    {BASE "records: empty.sql\n",
     "p/empty.sql:1: 'records' is empty"},
    {BASE "done: [SELECT 1]\n",
     AT "4: 'done' must be a text, not a list"},
    {BASE "require: SELECT 1\n",
     AT "4: 'require' must be a list such as [{sql: SELECT ..., message: What is wrong}], not a text"},
    {BASE "require: [{sql: SELECT 1}]\n",
     AT "4: this precondition needs 'message'"},
    {BASE "require:\n  - message: x\n",
     AT "5: this precondition needs 'sql'"},
    {BASE "require:\n  - sql: SELECT 1\n    message: \"{{#a}}\"\n",
     AT "6: section 'a' is not closed"},
    {HEAD "requests: {}\n",
     AT "3: 'requests' is empty: name at least one"},
    {HEAD "requests: [a]\n",
     AT "3: 'requests' must be a map such as {label: {model: NAME, user: user.md}}, not a list"},
    {HEAD "requests: {r: user.md}\n",
     AT "3: 'r' must be a map such as {model: NAME, user: user.md}, not a text"},
    {HEAD "requests: {R: {user: hi}}\n",
     AT "3: 'R' is no name for a request: use small letters, digits, '-' and '_'"},
    {HEAD "requests: {r: {model: m}}\n",
     AT "3: request 'r' asks nothing: it needs 'user', the prompt"},
    {HEAD "requests: {r: {user: hi, max_token: 3}}\n",
     AT "3: unknown key 'max_token' (did you mean 'max_tokens'?)"},
    {HEAD "requests: {r: {user: hi, max_tokens: many}}\n",
     AT "3: 'max_tokens' must be a whole number above 0, not 'many'"},
    {HEAD "requests: {r: {user: hi, temperature: hot}}\n",
     AT "3: 'temperature' must be a number, not 'hot'"},
    {HEAD "requests: {r: {user: hi, cache: 2h}}\n",
     AT "3: 'cache' must be 5m or 1h, not '2h'"},
    {HEAD "requests: {r: {user: hi, when: a > 1}}\n",
     AT "3: 'when' must be a column of the records, not an expression: select it there, as in `... AS when`"},
    {HEAD "requests: {r: {user: hi, params: high}}\n",
     AT "3: 'params' must be a map such as {top_p: 0.9}, not a text"},
    {HEAD "requests:\n  r:\n    user: |\n      one\n      two {{#x}}\n      three\n",
     AT "7: section 'x' is not closed"},
    {HEAD "requests: {r: {user: broken.md}}\n",
     "p/broken.md:2: the tag that opens here is not closed with '}}'"},
    {HEAD "requests: {r: {user: partial.md}}\n",
     "p/partial.md:2: there is no partial 'nobody'"},
    {HEAD "requests: {r: {user: hi, answer: a schema}}\n",
     AT "3: 'answer' must be a JSON Schema: a map, or the name of a .json file"},
    {HEAD "requests: {r: {user: hi, answer: bad.json}}\n",
     "p/bad.json: 'answer' is not JSON: invalid JSON at line 3, column 1: expected a value (object, array, string, number, true, false or null), found '}'"},
    {HEAD "requests: {r: {user: hi, answer: list.json}}\n",
     "p/list.json:1: 'answer' must be a JSON object, not array"},
    {HEAD "requests: {r: {user: hi, model: \"{{m}}\"}}\n",
     AT "3: 'model' uses {{m}}, which is no param; there are none"},
    {HEAD "requests: {r: {raw: true, user: hi}}\n",
     AT "3: request 'r' is raw: its lines are sent as they are, so 'user' has no place in it"},
    {HEAD "requests: {r: {raw: true, max_tokens: 3}}\n",
     AT "3: request 'r' is raw: its lines are sent as they are, so 'max_tokens' has no place in it"},
    {BASE "checks: SELECT 1\n",
     AT "4: 'checks' must be a list such as [SELECT ...], not a text"},
    {BASE "checks: [{request: r}]\n",
     AT "4: this check needs 'sql'"},
    {BASE "checks: [{sql: SELECT 1, request: rr}]\n",
     AT "4: this check is for 'rr', which is no request"},
    {BASE "checks: [{sql: SELECT a, b FROM t}]\n",
     AT "4: unknown key 'b FROM t'; a text with a comma inside {...} needs quotes"},
    {BASE "warnings: [[x]]\n",
     AT "4: this item must be a map such as {sql: SELECT ..., request: NAME}, not a list"},
    {BASE "outputs: {csv: x}\n",
     AT "4: 'outputs' must be a list such as [{csv: PATH, rows: SELECT ...}], not a map"},
    {BASE "outputs: [x.csv]\n",
     AT "4: this item must be a map such as {csv: PATH}, not a text"},
    {BASE "outputs: [{csv: x.csv}]\n",
     AT "4: this output needs 'rows', a SELECT"},
    {BASE "outputs: [{xls: x, rows: SELECT 1}]\n",
     AT "4: 'xls' is no kind of output; there are: csv, "},
    {BASE "outputs: [{rows: SELECT 1}]\n",
     AT "4: this output does not say its kind, as in `csv: PATH`; there are: csv, "},
    {BASE "outputs:\n  - csv: x.csv\n    row: SELECT 1\n",
     AT "6: unknown key 'row' (did you mean 'rows'?)"},
    {BASE "outputs: [{csv: x.csv, rows: SELECT 1, on: answers}]\n",
     AT "4: 'on' must be answer, batch or job, not 'answers'"},
    {BASE "outputs:\n  - sqlite: x.db\n    rows: SELECT 1\n",
     AT "5: a sqlite output needs 'key: [..]', the columns that say which row replaces which"},
    {BASE "outputs: [{csv: \"{{#a}}x\", rows: SELECT 1}]\n",
     AT "4: section 'a' is not closed"},
    {BASE "outputs: [{csv: \"{{^a}}x{{/a}}{{b}}\", rows: SELECT 1}]\n",
     AT "4: a path with columns of the row takes plain {{names}}, no {{^"},
    {BASE "batch: 100\n",
     AT "4: 'batch' must be a map such as {requests: 10000}, not a text"},
    {BASE "batch: {request: 5}\n",
     AT "4: unknown key 'request' (did you mean 'requests'?)"},
    {BASE "batch: {requests: -1}\n",
     AT "4: 'requests' must be a whole number above 0, not '-1'"},
    {BASE "batch: {bytes: \"{{max}}\"}\n",
     AT "4: 'bytes' uses {{max}}, which is no param; there are none"},
    {BASE "reask: {invalid: many}\n",
     AT "4: 'invalid' must be a whole number, not 'many'"},
    {BASE "reask: {failed: 1000}\n",
     AT "4: 'failed' must be from 0 to 100, not 1000"},
    {BASE "reask: {lost: 1}\n",
     AT "4: unknown key 'lost'; there are: invalid, failed, truncated"},
    {BASE "display: \"{{/a}}\"\n",
     AT "4: 'a' is closed but was not opened"},
    {BASE "progress: ~\n",
     AT "4: 'progress' must be a text, not nothing"},
    /* clang-format on */
};

static void test_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < OP_COUNT(mistakes); i++) {
        struct op_bundle bundle;
        struct op_definition def;
        struct op_err err = OP_ERR_INIT;
        test_bundle(&bundle, mistakes[i].yaml, broken_files, OP_COUNT(broken_files));
        assert_int_equal(op_definition_parse(op_env_default(), &bundle, &def, &err), OP_INVAL);
        /* the list of kinds grows */
        if (op_str_ends(op_str_from(mistakes[i].message), "there are: csv, "))
            err.msg[strlen(mistakes[i].message)] = '\0';
        assert_string_equal(err.msg, mistakes[i].message);
        op_bundle_release(&bundle);
    }
    assert_int_equal(op_mem_live(), 0);
}

struct told {
    char lines[4096];
};

static void tell(void *arg, const char *message)
{
    struct told *told = arg;
    size_t len = strlen(told->lines);
    snprintf(told->lines + len, sizeof(told->lines) - len, "%s\n", message);
}

static void test_check_all(void **state)
{
    (void)state;
    struct op_bundle bundle;
    struct told told = {{0}};
    test_bundle(&bundle,
                "pipeline: p\n"
                "rouns: 2\n"
                "params: {a: {tipe: x}, B: {}}\n"
                "inputs: {t: {csv: a, optional: si}, u: {csv: b, seperator: x}}\n"
                "requests: {r: {max_tokens: 0}, s: {user: no.md}}\n"
                "checks: [{sql: SELECT 1, request: x}]\n",
                NULL, 0);
    assert_int_equal(op_definition_check(op_env_default(), &bundle, tell, &told), 7);
    assert_string_equal(told.lines, AT
                        "2: unknown key 'rouns' (did you mean 'rounds'?)\n" AT
                        "3: unknown key 'tipe' (did you mean 'type'?)\n" AT
                        "3: 'B' is no name for a param: use small letters, digits and '_'\n" AT
                        "4: 'optional' must be true or false, not 'si'\n" AT
                        "4: unknown key 'seperator' (did you mean 'separator'?)\n" AT
                        "5: 'max_tokens' must be a whole number above 0, not '0'\n" AT
                        "5: cannot open p/no.md: No such file or directory\n");
    op_bundle_release(&bundle);

    test_bundle(&bundle, BASE, NULL, 0);
    assert_int_equal(op_definition_check(op_env_default(), &bundle, tell, &told), 0);
    op_bundle_release(&bundle);
    test_bundle(&bundle, "a: [", NULL, 0);
    assert_int_equal(op_definition_check(op_env_default(), &bundle, tell, &told), 1);
    op_bundle_release(&bundle);
    assert_int_equal(op_mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),     cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_least),    cmocka_unit_test(test_as_json),
        cmocka_unit_test(test_mistakes), cmocka_unit_test(test_check_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
