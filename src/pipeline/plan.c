/* SPDX-License-Identifier: MIT */
#include "pipeline/plan.h"

#include <ctype.h>
#include <math.h>
#include <strings.h>

#include "base/json_out.h"
#include "base/mem.h"
#include "pipeline/chain.h"
#include "pipeline/plan_internal.h"

/* The text of a setting with the params in it, in the arena; NULL when not given or empty. */
static enum op_rc setting(struct op_arena *arena, const struct op_params *params,
                          const char *text, const char *place, const char **ret,
                          struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *rendered = NULL;
    *ret = NULL;
    if (!text)
        return OP_OK;
    if (op_params_render(params, text, place, &rendered, err))
        return err->rc;
    if (rendered[0])
        *ret = op_arena_strdup(arena, op_str_from(rendered));
    return OP_OK;
}

/* --- requests --------------------------------------------------------------------------------- */

/* Copies JSON; text leaves are templates over the params. They are rendered as texts and written as
 * texts, so no value can change the form. */
static enum op_rc render_json(const struct op_params *params, struct op_json v,
                              const char *place, struct op_json_out *out, struct op_err *err)
{
    if (op_json_is(v, OP_JSON_STRING)) {
        OP_CLEANUP(op_mem_freep)
        char *text = op_mem_strndup(op_json_str(v).ptr, op_json_str(v).len);
        OP_CLEANUP(op_mem_freep) char *rendered = NULL;
        if (op_params_render(params, text, place, &rendered, err))
            return err->rc;
        op_json_out_text(out, rendered);
        return OP_OK;
    }
    bool object = op_json_is(v, OP_JSON_OBJECT);
    if (!object && !op_json_is(v, OP_JSON_ARRAY)) {
        op_json_out_value(out, v);
        return OP_OK;
    }
    if (object)
        op_json_out_object(out);
    else
        op_json_out_array(out);
    struct op_json_iter it = op_json_iter(v);
    while (op_json_next(&it)) {
        if (object)
            op_json_out_name_str(out, it.name);
        if (render_json(params, it.value, place, out, err))
            return err->rc;
    }
    if (object)
        op_json_out_end_object(out);
    else
        op_json_out_end_array(out);
    return OP_OK;
}

static enum op_rc render_extra(struct op_plan *plan, const struct op_text *extra,
                               struct op_str *ret, struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_buf_release) struct op_buf buf = {0};
    struct op_json_out out;
    struct op_json root;
    *ret = OP_STR_NULL;
    if (!extra->text.ptr)
        return OP_OK;
    op_buf_init(&buf, OP_TEMPLATE_MAX_OUTPUT);
    op_json_out_init(&out, &buf, 0);
    if (op_json_parse(parser, extra->text.ptr, extra->text.len, false, &root, err))
        return op_err_wrap(err, "%s", extra->place);
    if (render_json(plan->params, root, extra->place, &out, err) ||
        op_buf_finish(&buf, "the request's params", err))
        return err->rc;
    *ret = (struct op_str){op_arena_strdup(&plan->arena, op_buf_str(&buf)), buf.len};
    return OP_OK;
}

static enum op_rc number_setting(struct op_plan *plan, const char *text, const char *name,
                                 const char *place, double *ret, struct op_err *err)
{
    const char *value = NULL;
    *ret = NAN;
    if (setting(&plan->arena, plan->params, text, place, &value, err))
        return err->rc;
    if (value && !op_str_double(op_str_from(value), ret))
        return op_fail(err, OP_INVAL, "%s: '%s' must be a number, not '%.80s'", place, name,
                       value);
    return OP_OK;
}

static enum op_rc count_setting(struct op_plan *plan, const char *text, const char *name,
                                const char *place, int64_t *ret, struct op_err *err)
{
    const char *value = NULL;
    if (setting(&plan->arena, plan->params, text, place, &value, err))
        return err->rc;
    if (value && (!op_str_int64(op_str_from(value), ret) || *ret < 1))
        return op_fail(err, OP_INVAL, "%s: '%s' must be a whole number above 0, not '%.80s'",
                       place, name, value);
    return OP_OK;
}

static enum op_rc compile_prompt(const struct op_text *text, struct op_bundle *bundle,
                                 struct op_template **ret, struct op_err *err)
{
    struct op_template_options options = {.escape = OP_ESCAPE_JSON,
                                          .strict = true,
                                          .partial = op_bundle_partial,
                                          .partial_arg = bundle};
    return text->text.ptr ? op_text_compile(text, &options, ret, err) : OP_OK;
}

/* The provider's form of the params needs the schema while it is parsed. */
static enum op_rc make_form(struct op_plan_request *request,
                            struct op_request_settings *settings, struct op_err *err)
{
    const struct op_request_def *def = request->def;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    if (def->schema.text.ptr) {
        struct op_schema_options options = {.assert_format = true};
        struct op_str file = op_str_from(def->schema.place);
        if (op_str_ends(file, ":1")) /* a file of its own: JSON pointers say where in it */
            file.len -= 2;
        OP_CLEANUP(op_mem_freep) char *name = op_mem_strndup(file.ptr, file.len);
        if (op_json_parse(parser, def->schema.text.ptr, def->schema.text.len, false,
                          &settings->schema, err))
            return op_err_wrap(err, "%s", name);
        if (op_schema_compile(settings->schema, name, &options, &request->schema, err))
            return err->rc;
    }
    if (def->raw)
        return OP_OK;
    return request->lane->provider->params(request->lane, settings, &request->form, err);
}

static enum op_rc compile_request(struct op_plan *plan, const struct op_request_def *def,
                                  struct op_bundle *bundle, struct op_plan_request *ret,
                                  struct op_err *err)
{
    struct op_request_settings settings = {.file = def->place,
                                           .has_system = def->system.text.ptr != NULL};
    const char *endpoint = NULL;
    ret->def = def;
    ret->max_tokens = OP_PLAN_MAX_TOKENS;
    if (def->raw && def->model && plan->options.model)
        return op_fail(err, OP_INVAL,
                       "%s: request '%s' is raw: its lines go to the model that they or this "
                       "request name; leave --model out",
                       def->place, def->name);
    if (setting(&plan->arena, plan->params, def->model, def->place, &ret->model, err) ||
        setting(&plan->arena, plan->params, def->endpoint, def->place, &endpoint, err) ||
        op_plan_endpoint(ret->lane, endpoint, def->place, &ret->endpoint, err) ||
        setting(&plan->arena, plan->params, def->effort, def->place, &settings.effort, err) ||
        setting(&plan->arena, plan->params, def->cache, def->place, &settings.cache, err) ||
        number_setting(plan, def->temperature, "temperature", def->place, &settings.temperature,
                       err) ||
        count_setting(plan, def->max_tokens, "max_tokens", def->place, &ret->max_tokens, err) ||
        render_extra(plan, &def->extra, &settings.extra, err))
        return err->rc;
    const char *said = plan->options.model ? plan->options.model : ret->model;
    if (op_chain_model(said, ret->lane->provider, plan->options.is_chained,
                       plan->options.model ? "--model" : def->place, &plan->arena, &ret->model,
                       err))
        return err->rc;
    if (!ret->model)
        ret->model = def->raw ? "" : ret->lane->provider->default_model;
    if (op_plan_check_model(ret->lane, ret->model, def->place, err))
        return err->rc;
    settings.model = ret->model;
    settings.endpoint = ret->endpoint;
    settings.max_tokens = ret->max_tokens;
    if (make_form(ret, &settings, err) ||
        compile_prompt(&def->system, bundle, &ret->system, err) ||
        compile_prompt(&def->user, bundle, &ret->user, err))
        return err->rc;
    return OP_OK;
}

/* --- the whole -------------------------------------------------------------------------------- */

/* Does the SQL text name this word, outside of strings and comments? */
static bool sql_mentions(struct op_str sql, const char *word)
{
    size_t len = strlen(word), i = 0;
    while (i < sql.len) {
        const char *p = sql.ptr + i;
        size_t left = sql.len - i;
        size_t n = 0;
        while (n < left && (isalnum((unsigned char)p[n]) || p[n] == '_'))
            n++;
        if (n > 0) {
            if (n == len && strncasecmp(p, word, len) == 0)
                return true;
            i += n;
            continue;
        }
        const char *end = NULL;
        if (p[0] == '\'')
            end = memchr(p + 1, '\'', left - 1);
        else if (left > 1 && p[0] == '-' && p[1] == '-')
            end = memchr(p, '\n', left);
        else if (left > 1 && p[0] == '/' && p[1] == '*')
            end = memmem(p + 2, left - 2, "*/", 2);
        else
            end = p;
        i = end ? (size_t)(end - sql.ptr) + 1 : sql.len;
    }
    return false;
}

static bool reads_records(const struct op_definition *def)
{
    for (size_t i = 0; i < def->output_count; i++)
        if (sql_mentions(def->outputs[i].rows.text, "records"))
            return true;
    for (size_t i = 0; i < def->check_count; i++)
        if (sql_mentions(def->checks[i].sql.text, "records"))
            return true;
    return false;
}

static enum op_rc batch_limits(struct op_plan *plan, struct op_err *err)
{
    const struct op_definition *def = plan->def;
    plan->batch_requests = plan->batch_bytes = INT64_MAX;
    if (count_setting(plan, def->batch_requests, "batch.requests", def->file,
                      &plan->batch_requests, err) ||
        count_setting(plan, def->batch_bytes, "batch.bytes", def->file, &plan->batch_bytes,
                      err))
        return err->rc;
    return OP_OK;
}

static void copy_options(struct op_plan *plan, const struct op_plan_options *options)
{
    plan->options = *options;
    if (options->model)
        plan->options.model = op_arena_strdup(&plan->arena, op_str_from(options->model));
    plan->options.cwd =
        op_arena_strdup(&plan->arena, op_str_from(options->cwd ? options->cwd : "."));
    if (options->work_dir)
        plan->options.work_dir = op_arena_strdup(&plan->arena, op_str_from(options->work_dir));
}

static enum op_rc compile_display(struct op_plan *plan, struct op_bundle *bundle,
                                  struct op_err *err)
{
    const struct op_text *text = &plan->def->display;
    struct op_template_options options = {
        .escape = OP_ESCAPE_NONE, .partial = op_bundle_partial, .partial_arg = bundle};
    return text->text.ptr ? op_text_compile(text, &options, &plan->display, err) : OP_OK;
}

enum op_rc op_plan_compile(struct op_env *env, const struct op_definition *def,
                           const struct op_params *params, const struct op_lane *const *lanes,
                           struct op_bundle *bundle, const struct op_plan_options *options,
                           struct op_plan **ret, struct op_err *err)
{
    OP_CLEANUP(op_plan_freep) struct op_plan *plan = op_mem_alloc(sizeof(*plan));
    plan->env = env;
    plan->bundle = bundle;
    plan->def = def;
    plan->params = params;
    plan->requests = op_mem_array(def->request_count + 1, sizeof(*plan->requests));
    plan->outputs = op_mem_array(def->output_count + 1, sizeof(*plan->outputs));
    copy_options(plan, options);
    plan->keeps_data = options->is_chained || reads_records(def);
    for (size_t i = 0; i < def->request_count; i++) {
        plan->requests[i].lane = lanes[i];
        if (compile_request(plan, &def->requests[i], bundle, &plan->requests[i], err))
            return err->rc;
    }
    op_plan_number_kinds(plan);
    for (size_t i = 0; i < def->output_count; i++)
        if (op_plan_output_target(plan, &def->outputs[i], &plan->outputs[i], err))
            return err->rc;
    if (batch_limits(plan, err) || compile_display(plan, bundle, err))
        return err->rc;
    *ret = OP_TAKE(plan);
    return OP_OK;
}

void op_plan_free(struct op_plan *plan)
{
    if (!plan)
        return;
    for (size_t i = 0; i < plan->def->request_count; i++) {
        op_params_form_release(&plan->requests[i].form);
        op_template_free(plan->requests[i].system);
        op_template_free(plan->requests[i].user);
        op_schema_free(plan->requests[i].schema);
    }
    for (size_t i = 0; i < plan->def->output_count; i++) {
        op_template_free(plan->outputs[i].path);
        op_sink_close(plan->outputs[i].sink);
    }
    op_template_free(plan->display);
    op_mem_free(plan->requests);
    op_mem_free(plan->outputs);
    op_arena_release(&plan->arena);
    op_mem_free(plan);
}

void op_plan_freep(struct op_plan **plan)
{
    op_plan_free(*plan);
    *plan = NULL;
}
