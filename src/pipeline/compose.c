/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"
#include "pipeline/plan.h"

struct op_compose_scratch {
    struct op_template_scratch *template;
    struct op_json_parser *parser; /* raw lines; made when first needed */
    struct op_value *cells;        /* the record's, then the params' */
    size_t room;
    const struct op_plan *plan; /* whose params lie in cells, behind this many columns */
    size_t columns;
};

struct op_compose_scratch *op_compose_scratch_new(void)
{
    struct op_compose_scratch *scratch = op_mem_alloc(sizeof(*scratch));
    scratch->template = op_template_scratch_new();
    return scratch;
}

void op_compose_scratch_free(struct op_compose_scratch *scratch)
{
    if (!scratch)
        return;
    op_template_scratch_free(scratch->template);
    op_json_parser_free(scratch->parser);
    op_mem_free(scratch->cells);
    op_mem_free(scratch);
}

static void fill_cells(const struct op_plan *plan, const struct op_value *cells,
                       struct op_compose_scratch *scratch)
{
    size_t count = plan->record_column_count;
    if (scratch->plan != plan || scratch->columns != count) {
        if (scratch->room < plan->prompt_column_count) {
            scratch->room = plan->prompt_column_count;
            scratch->cells = op_mem_realloc(scratch->cells, scratch->room * sizeof(*cells));
        }
        if (plan->params->count > 0)
            memcpy(scratch->cells + count, plan->params->values,
                   plan->params->count * sizeof(*cells));
        scratch->plan = plan;
        scratch->columns = count;
    }
    if (count > 0)
        memcpy(scratch->cells, cells, count * sizeof(*cells));
}

/* JSON-escaped text of nothing but white space: providers refuse such a prompt. */
static bool is_blank(const char *ptr, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (ptr[i] == '\\' && i + 1 < len && strchr("nrt", ptr[i + 1]))
            i++;
        else if (ptr[i] != ' ')
            return false;
    }
    return true;
}

static enum op_rc render_hole(const struct op_plan *plan, const struct op_plan_request *request,
                              enum op_prompt_hole hole, struct op_compose_scratch *scratch,
                              struct op_buf *out, struct op_err *err)
{
    bool system = hole == OP_HOLE_SYSTEM;
    const struct op_template *tpl = system ? request->system : request->user;
    const struct op_text *text = system ? &request->def->system : &request->def->user;
    const char *name = system ? "system" : "user";
    struct op_template_root root = {.columns = plan->prompt_columns,
                                    .cells = scratch->cells,
                                    .count = plan->prompt_column_count};
    size_t from = out->len;
    if (op_template_render(tpl, scratch->template, &root, out, err)) {
        op_text_shift(text, err);
        err->disp = OP_DISP_REJECT;
        return err->rc;
    }
    if (is_blank(out->ptr + from, out->len - from))
        return op_fail_as(
            err, OP_INVAL, OP_DISP_REJECT,
            "%s: the %s prompt is empty for this record; leave such records out in "
            "'records'",
            text->place, name);
    return OP_OK;
}

static enum op_rc compose_prompts(const struct op_plan *plan,
                                  const struct op_plan_request *request,
                                  const struct op_value *cells,
                                  struct op_compose_scratch *scratch, struct op_buf *out,
                                  struct op_err *err)
{
    const struct op_params_form *form = &request->form;
    fill_cells(plan, cells, scratch);
    for (size_t i = 0; i < form->count; i++) {
        op_buf_add_str(out, form->parts[i].literal);
        if (form->parts[i].hole != OP_HOLE_NONE &&
            render_hole(plan, request, form->parts[i].hole, scratch, out, err))
            return err->rc;
    }
    return OP_OK;
}

static enum op_rc split_raw(const struct op_plan_request *request, struct op_str line,
                            struct op_compose_scratch *scratch, struct op_json *ret_root,
                            struct op_str *ret_custom_id, struct op_str *ret_params,
                            const char **ret_endpoint, struct op_err *err)
{
    struct op_json root;
    if (!scratch->parser)
        scratch->parser = op_json_parser_new();
    if (!line.ptr)
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT, "the record's 'line' is NULL");
    if (op_json_parse(scratch->parser, line.ptr, line.len, false, &root, err) ||
        request->lane->provider->split_line(root, line, ret_custom_id, ret_params, ret_endpoint,
                                            err)) {
        err->disp = OP_DISP_REJECT;
        return op_err_wrap(err, "this line is no request in the form of %s",
                           request->lane->provider->name);
    }
    *ret_root = root;
    return OP_OK;
}

/* A line goes out under our own framing, so what it says about whom it asks and through what must
 * be what the job does. */
static enum op_rc check_raw(const struct op_plan *plan, const struct op_plan_request *request,
                            struct op_json root, const char *endpoint, struct op_err *err)
{
    const char *place = request->def->place;
    if (strcmp(endpoint, request->endpoint) != 0)
        return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                          "%s: this line goes to the endpoint '%s', and the request's is '%s'",
                          place, endpoint, request->endpoint);
    struct op_json_iter it = op_json_iter(root);
    while (op_json_next(&it)) {
        struct op_str model = op_json_str(op_json_get(it.value, "model"));
        char name[120];
        if (!model.ptr)
            continue;
        snprintf(name, sizeof(name), OP_STR_FMT, OP_STR_ARG(model));
        /* --model is for lines that name none; one that says another was not meant by it. */
        if (plan->options.model && strcmp(name, plan->options.model) != 0)
            return op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                              "%s: this line names the model '%.80s', and --model is '%.80s': "
                              "make two files of lines with and without a model",
                              place, name, plan->options.model);
        return op_plan_check_model(request->lane, name, place, err);
    }
    return OP_OK;
}

static enum op_rc compose_raw(const struct op_plan *plan, const struct op_plan_request *request,
                              const struct op_value *cells, struct op_compose_scratch *scratch,
                              struct op_buf *out, struct op_err *err)
{
    size_t at = 0;
    while (strcmp(plan->record_columns[at], "line") != 0) /* op_plan_columns saw it */
        at++;
    struct op_json root;
    struct op_str custom_id, params;
    const char *endpoint = NULL;
    struct op_str line = cells[at].type == OP_VALUE_TEXT ? cells[at].s : OP_STR_NULL;
    if (split_raw(request, line, scratch, &root, &custom_id, &params, &endpoint, err) ||
        check_raw(plan, request, root, endpoint, err))
        return err->rc;
    op_buf_add_str(out, params);
    return OP_OK;
}

enum op_rc op_plan_raw_key(const struct op_plan *plan, struct op_str line,
                           struct op_compose_scratch *scratch, struct op_str *ret_custom_id,
                           struct op_err *err)
{
    struct op_json root;
    struct op_str params;
    const char *endpoint = NULL;
    return split_raw(&plan->requests[0], line, scratch, &root, ret_custom_id, &params,
                     &endpoint, err);
}

enum op_rc op_plan_compose(const struct op_plan *plan, size_t ix, const struct op_value *cells,
                           struct op_compose_scratch *scratch, struct op_buf *out,
                           struct op_err *err)
{
    const struct op_plan_request *request = &plan->requests[ix];
    const struct op_provider_ops *provider = request->lane->provider;
    int64_t most = provider->limits.max_line_bytes;
    size_t from = out->len;
    enum op_rc rc = request->def->raw
                        ? compose_raw(plan, request, cells, scratch, out, err)
                        : compose_prompts(plan, request, cells, scratch, out, err);
    if (!rc && op_buf_finish(out, "the request", err)) {
        err->disp = OP_DISP_REJECT;
        rc = err->rc;
    }
    if (!rc && (int64_t)(out->len - from) > most)
        rc = op_fail_as(err, OP_INVAL, OP_DISP_REJECT,
                        "%s: the request has %zu bytes, %s takes %lld", request->def->place,
                        out->len - from, provider->name, (long long)most);
    if (rc) { /* a part of a request must not stay behind */
        out->len = from;
        out->ptr[from] = '\0';
    }
    return rc;
}
