/* SPDX-License-Identifier: MIT */
#include "base/io.h"
#include "base/mem.h"
#include "pipeline/plan_internal.h"

static const char *absolute(struct op_plan *plan, const char *target)
{
    while (target[0] == '.' && target[1] == '/')
        for (target += 2; target[0] == '/';)
            target++;
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(plan->options.cwd, target);
    return op_arena_strdup(&plan->arena, op_str_from(path));
}

/* params->count when there is no such param */
static size_t find_param(const struct op_params *params, const char *name)
{
    size_t i = 0;
    while (i < params->count && strcmp(params->names[i], name) != 0)
        i++;
    return i;
}

/* Puts the params into a target and leaves the row's names in it: a name that is no param renders
 * as itself, and the outcome is a template over the row alone. */
static enum op_rc render_params(struct op_plan *plan, const struct op_text *text, char **ret,
                                struct op_err *err)
{
    const struct op_params *params = plan->params;
    OP_CLEANUP(op_template_freep) struct op_template *tpl = NULL;
    struct op_template_options options = {.escape = OP_ESCAPE_NONE, .strict = true};
    if (op_text_compile(text, &options, &tpl, err))
        return err->rc;
    const char *const *used = NULL;
    size_t used_count = op_template_names(tpl, &used), count = params->count;
    const char **names = op_arena_array(&plan->arena, count + used_count + 1, sizeof(*names));
    struct op_value *cells =
        op_arena_array(&plan->arena, count + used_count + 1, sizeof(*cells));
    for (size_t i = 0; i < count; i++) {
        names[i] = params->names[i];
        cells[i] = params->values[i];
    }
    for (size_t i = 0; i < used_count; i++) {
        size_t at = find_param(params, used[i]);
        const struct op_value *v = &cells[at];
        if (at < params->count && v->type == OP_VALUE_TEXT &&
            memmem(v->s.ptr, v->s.len, "{{", 2))
            return op_fail(err, OP_INVAL,
                           "%s: the value of '%s' goes into a path and holds '{{'", text->place,
                           used[i]);
        if (at < params->count)
            continue;
        names[count] = used[i];
        cells[count++] =
            op_value_text(op_str_from(op_arena_printf(&plan->arena, "{{%s}}", used[i])));
    }
    OP_CLEANUP(op_buf_release) struct op_buf out;
    op_buf_init(&out, OP_TEMPLATE_MAX_OUTPUT);
    struct op_template_root root = {.columns = names, .cells = cells, .count = count};
    struct op_template_scratch *scratch = op_template_scratch_new();
    enum op_rc rc = op_template_render(tpl, scratch, &root, &out, err);
    op_template_scratch_free(scratch);
    if (rc || op_buf_finish(&out, text->place, err)) {
        op_text_shift(text, err);
        return err->rc;
    }
    *ret = op_buf_take(&out);
    return OP_OK;
}

enum op_rc op_plan_output_target(struct op_plan *plan, const struct op_output_def *def,
                                 struct op_plan_output *ret, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *rendered = NULL;
    struct op_text text = {op_str_from(def->target), def->place};
    ret->def = def;
    enum op_rc rc = def->per_row_path ? render_params(plan, &text, &rendered, err)
                                      : op_params_render(plan->params, def->target, def->place,
                                                         &rendered, err);
    if (rc)
        return rc;
    if (!rendered[0])
        return op_fail(err, OP_INVAL, "%s: this output's %s is empty: say where it goes",
                       def->place, def->sink->kind);
    ret->target = def->sink->named || strstr(rendered, "://")
                      ? op_arena_strdup(&plan->arena, op_str_from(rendered))
                      : absolute(plan, rendered);
    if (!def->per_row_path)
        return OP_OK;
    struct op_template_options options = {.escape = OP_ESCAPE_NONE, .strict = true};
    struct op_text path = {op_str_from(ret->target), def->place};
    return op_text_compile(&path, &options, &ret->path, err);
}

/* --- once the columns are known --------------------------------------------------------------- */

static enum op_rc check_key(const struct op_output_def *def, const char *const *columns,
                            size_t count, struct op_err *err)
{
    for (size_t k = 0; def->key && def->key[k]; k++) {
        bool found = false;
        for (size_t i = 0; i < count && !found; i++)
            found = strcmp(columns[i], def->key[k]) == 0;
        if (found)
            continue;
        OP_CLEANUP(op_buf_release) struct op_buf list;
        op_buf_init(&list, 700);
        for (size_t i = 0; i < count; i++)
            op_buf_addf(&list, "%s%s", i ? ", " : "", columns[i]);
        const char *near = op_str_nearest(def->key[k], columns, count);
        return op_fail(err, OP_INVAL,
                       "%s: 'key' names '%s', but 'rows' selects no such column%s%s%s; "
                       "there are: %s",
                       def->place, def->key[k], near ? " (did you mean '" : "",
                       near ? near : "", near ? "'?)" : "", list.ptr);
    }
    return OP_OK;
}

static enum op_rc same_columns(const struct op_plan_output *out, const char *const *columns,
                               size_t count, struct op_err *err)
{
    bool same = count == out->column_count;
    for (size_t i = 0; i < count && same; i++)
        same = strcmp(columns[i], out->columns[i]) == 0;
    if (!same)
        return op_fail(err, OP_INVAL, "%s: 'rows' selected other columns before",
                       out->def->place);
    return OP_OK;
}

static enum op_rc render_options(struct op_plan *plan, const struct op_output_def *def,
                                 struct op_sink_option **ret, struct op_err *err)
{
    struct op_sink_option *options =
        op_arena_array(&plan->arena, def->option_count + 1, sizeof(*options));
    for (size_t i = 0; i < def->option_count; i++) {
        OP_CLEANUP(op_mem_freep) char *value = NULL;
        if (op_params_render(plan->params, def->options[i].value, def->place, &value, err))
            return err->rc;
        options[i].name = def->options[i].name;
        options[i].value = op_arena_strdup(&plan->arena, op_str_from(value));
    }
    *ret = options;
    return OP_OK;
}

enum op_rc op_plan_open_output(struct op_plan *plan, size_t ix, const char *const *columns,
                               size_t count, struct op_err *err)
{
    struct op_plan_output *out = &plan->outputs[ix];
    const struct op_output_def *def = out->def;
    if (out->sink)
        return same_columns(out, columns, count, err);
    const char **copies = op_arena_array(&plan->arena, count + 1, sizeof(*copies));
    for (size_t i = 0; i < count; i++)
        copies[i] = op_arena_strdup(&plan->arena, op_str_from(columns[i]));
    struct op_sink_option *options = NULL;
    if (check_key(def, copies, count, err) || render_options(plan, def, &options, err))
        return err->rc;
    if (out->path && op_template_bind(out->path, copies, count, err)) {
        struct op_text text = {op_str_from(out->target), def->place};
        op_text_shift(&text, err);
        return err->rc;
    }
    size_t key_count = 0;
    while (def->key && def->key[key_count])
        key_count++;
    struct op_sink_config config = {
        .env = plan->env,
        .target = out->target,
        .per_row_path = def->per_row_path,
        .columns = copies,
        .column_count = count,
        .key = def->key,
        .key_count = key_count,
        .options = options,
        .option_count = def->option_count,
        .place = def->place,
        .work_dir = plan->options.work_dir,
    };
    if (op_sink_open(def->sink, &config, &out->sink, err))
        return err->rc;
    out->columns = copies;
    out->column_count = count;
    return OP_OK;
}
