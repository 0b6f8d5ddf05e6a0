/* SPDX-License-Identifier: MIT */
/*
 * A pipeline: pipeline.yaml and a prompt, each up to a NUL byte, then a param's value.
 * Oracle: reading and checking agree on whether it is good; every refusal names the file; what is
 *         frozen and read again is the same bundle; a plan that compiles has a form for each request.
 */
#include "base/json.h"
#include "fuzz.h"
#include "memory_files.h"
#include "pipeline/plan.h"

static void make_bundle(struct op_bundle *bundle, struct op_str yaml, struct op_str prompt)
{
    op_bundle_init(bundle);
    op_mem_free(bundle->dir);
    bundle->dir = op_mem_strdup("p");
    bundle->frozen = true;
    op_bundle_put(bundle, OP_BUNDLE_MAIN, yaml);
    op_bundle_put(bundle, "user.md", prompt);
    op_bundle_put(bundle, "answer.json", OP_STR("{\"type\":\"object\"}"));
}

static void count_mistake(void *arg, const char *message)
{
    (*(size_t *)arg)++;
    FUZZ_CHECK(message[0], "a mistake without a word");
}

static void check_frozen(const struct op_bundle *bundle)
{
    OP_CLEANUP(op_buf_release) struct op_buf first, second;
    struct op_bundle again;
    struct op_err err = OP_ERR_INIT;
    op_buf_init(&first, 64 * 1024 * 1024);
    op_buf_init(&second, 64 * 1024 * 1024);
    op_bundle_write(bundle, &first);
    FUZZ_CHECK(!op_bundle_read(op_buf_str(&first), &again, &err), "%s: %s", err.msg, first.ptr);
    op_bundle_write(&again, &second);
    FUZZ_CHECK(op_str_eq(op_buf_str(&first), op_buf_str(&second)), "%s\nbecame %s", first.ptr,
               second.ptr);
    op_bundle_release(&again);
}

static void compile(struct memory_files *fs, struct op_bundle *bundle,
                    struct op_definition *def, const char *value)
{
    char url[] = "http://127.0.0.1:1", key[] = "k", version[] = "2026-10-21";
    struct op_lane lane = {.provider = op_provider_find("anthropic"),
                           .base_url = url,
                           .key = key,
                           .extras = {version, version + 10, version + 10}};
    struct op_plan_options options = {.cwd = "/w", .work_dir = "/w"};
    struct op_params params = {0};
    struct op_plan *plan = NULL;
    struct op_err err = OP_ERR_INIT;
    const char **given = op_mem_array(def->param_count + 1, sizeof(*given));
    for (size_t i = 0; i < def->param_count; i++)
        given[i] = value;
    const struct op_lane **lanes = op_mem_array(def->request_count + 1, sizeof(*lanes));
    for (size_t i = 0; i < def->request_count; i++)
        lanes[i] = &lane;
    enum op_rc rc = op_params_resolve(def, given, "/w", &params, &err);
    if (!rc)
        rc = op_plan_compile(&fs->env, def, &params, lanes, bundle, &options, &plan, &err);
    if (rc)
        fuzz_check_error(rc, &err);
    for (size_t i = 0; !rc && i < def->request_count; i++)
        FUZZ_CHECK(plan->requests[i].def->raw || plan->requests[i].form.count > 0,
                   "a request without a form");
    op_mem_free(given);
    op_mem_free(lanes);
    op_plan_free(plan);
    op_params_release(&params);
}

FUZZ_TARGET(definition)
{
    struct op_str yaml = fuzz_until(in, '\0'), prompt = fuzz_until(in, '\0');
    OP_CLEANUP(op_mem_freep) char *value = fuzz_text(fuzz_rest(in));
    struct memory_files fs;
    struct op_bundle bundle;
    struct op_definition def = {0};
    struct op_err err = OP_ERR_INIT;
    size_t mistakes = 0;
    memory_files_init(&fs, 0);
    make_bundle(&bundle, yaml, prompt);
    enum op_rc rc = op_definition_parse(&fs.env, &bundle, &def, &err);
    size_t found = op_definition_check(&fs.env, &bundle, count_mistake, &mistakes);
    FUZZ_CHECK(found == mistakes, "%zu counted, %zu said", found, mistakes);
    if (rc) {
        fuzz_check_error(rc, &err);
        FUZZ_CHECK(strstr(err.msg, "p/"), "no file in: %s", err.msg);
        FUZZ_CHECK(found > 0, "no mistake found, but: %s", err.msg);
    } else {
        check_frozen(&bundle);
        compile(&fs, &bundle, &def, value);
        op_definition_release(&def);
    }
    op_bundle_release(&bundle);
    memory_files_release(&fs);
}
