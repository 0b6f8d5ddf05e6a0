/* SPDX-License-Identifier: MIT */
#include "pipeline_fixture.h"

#include "fuzz.h"

static const char yaml[] =
    "pipeline: p\n"
    "inputs: {t: {csv: t.csv}}\n"
    "requests:\n"
    "  label: {model: claude-haiku-4-5, user: \"{{key}}\", answer: answer.json}\n"
    "outputs: [{jsonl: out.jsonl, rows: SELECT key FROM answers}]\n";

static const char schema[] =
    "{\"type\":\"object\",\"properties\":{\"label\":{\"type\":\"string\",\"minLength\":1},"
    "\"items\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/item\"}},"
    "\"note\":{\"type\":\"string\"}},\"required\":[\"label\"],\"additionalProperties\":false,"
    "\"$defs\":{\"item\":{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"}}}}}";

static struct fixture {
    struct pipeline_fixture shown;
    struct op_bundle bundle;
    struct op_definition def;
    struct op_params params;
    struct op_lane lane;
} fixture;

const struct pipeline_fixture *pipeline_fixture(void)
{
    static char url[] = "http://127.0.0.1:1", key[] = "k", version[] = "2026-10-21";
    static const char *const columns[] = {"key"};
    struct fixture *f = &fixture;
    struct op_env *env = op_env_default();
    struct op_err err = OP_ERR_INIT;
    if (f->shown.sql)
        return &f->shown;
    fuzz_keeps_blocks();
    op_bundle_init(&f->bundle);
    f->bundle.frozen = true;
    op_bundle_put(&f->bundle, OP_BUNDLE_MAIN, op_str_from(yaml));
    op_bundle_put(&f->bundle, "answer.json", op_str_from(schema));
    f->lane = (struct op_lane){.provider = op_provider_find("anthropic"),
                               .base_url = url,
                               .key = key,
                               .extras = {version, version + 10, version + 10}};
    struct op_plan_options options = {.cwd = "/", .work_dir = "/"};
    const char *given[1] = {NULL};
    const struct op_lane *lanes[] = {&f->lane};
    enum op_rc rc = op_definition_parse(env, &f->bundle, &f->def, &err);
    if (!rc)
        rc = op_params_resolve(&f->def, given, "/", &f->params, &err);
    if (!rc)
        rc = op_plan_compile(env, &f->def, &f->params, lanes, &f->bundle, &options,
                             &f->shown.plan, &err);
    if (!rc)
        rc = op_plan_columns(f->shown.plan, columns, 1, &err);
    if (!rc)
        rc = op_sqlenv_open(f->shown.plan, NULL, &f->shown.sql, &err);
    FUZZ_CHECK(!rc, "%s", err.msg);
    return &f->shown;
}

void pipeline_add_cell(struct op_buf *out, struct op_value v)
{
    static const char letters[] = "NIDTB";
    char scratch[32];
    struct op_str text = op_value_to_text(v, scratch);
    op_buf_addc(out, letters[v.type]);
    if (text.ptr)
        op_buf_add_str(out, text);
}

char *pipeline_select(struct op_sqlenv *sql, struct op_str text)
{
    enum { MOST_ROWS = 1000 };
    struct op_buf out;
    struct op_err err = OP_ERR_INIT;
    struct op_query *query = NULL;
    struct op_text where = {text, "p/pipeline.yaml:5"};
    const struct op_value *cells = NULL;
    const char *const *names = NULL;
    op_buf_init(&out, 64 * 1024 * 1024);
    op_buf_addz(&out, "");
    enum op_rc rc = op_query_open(sql, &where, &query, &err);
    size_t count = rc ? 0 : op_query_columns(query, &names);
    for (int row = 0; row < MOST_ROWS && !rc && !(rc = op_query_next(query, &cells, &err));
         row++) {
        for (size_t i = 0; i < count; i++) {
            if (i)
                op_buf_addc(&out, '|');
            pipeline_add_cell(&out, cells[i]);
        }
        op_buf_addc(&out, '\n');
    }
    if (rc && (rc != OP_NOTFOUND || err.rc)) {
        op_buf_clear(&out);
        op_buf_addf(&out, "!%s", err.msg);
    }
    op_query_close(query);
    char *all = op_buf_take(&out);
    op_buf_release(&out);
    return all;
}
