/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "pipeline/plan_internal.h"

/* Does a tag of the template name this word, also inside a section? */
static bool text_uses(struct op_str text, const char *name)
{
    size_t len = strlen(name);
    const char *end = text.ptr + text.len;
    const char *tag = memmem(text.ptr, text.len, "{{", 2);
    while (tag) {
        const char *close = memmem(tag, (size_t)(end - tag), "}}", 2);
        const char *p = tag + 2;
        if (!close)
            return false;
        while (p < close && strchr(" {#^&", *p))
            p++;
        if ((size_t)(close - p) >= len && memcmp(p, name, len) == 0 && strchr(" .}", p[len]))
            return true;
        tag = memmem(close, (size_t)(end - close), "{{", 2);
    }
    return false;
}

static bool prompts_use(const struct op_plan *plan, const char *name)
{
    const struct op_bundle *bundle = plan->bundle;
    for (size_t i = 0; i < plan->def->request_count; i++) {
        const struct op_request_def *def = plan->requests[i].def;
        if ((def->system.text.ptr && text_uses(def->system.text, name)) ||
            (def->user.text.ptr && text_uses(def->user.text, name)))
            return true;
    }
    for (size_t i = 0; i < bundle->count; i++) /* partials */
        if (strcmp(bundle->files[i].name, OP_BUNDLE_MAIN) != 0 &&
            text_uses(bundle->files[i].text, name))
            return true;
    return false;
}

static bool has_column(const char *const *columns, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(columns[i], name) == 0)
            return true;
    return false;
}

static enum op_rc check_clash(const struct op_plan *plan, const char *const *columns,
                              size_t count, struct op_err *err)
{
    for (size_t i = 0; i < plan->params->count; i++) {
        const char *name = plan->params->names[i];
        if (has_column(columns, count, name) && prompts_use(plan, name))
            return op_fail(
                err, OP_INVAL,
                "%s: a prompt uses {{%s}}, which is both a column of the records and the "
                "param --%s: rename one of them (SELECT %s AS ...)",
                plan->def->file, name, name, name);
    }
    return OP_OK;
}

static enum op_rc check_request(const struct op_request_def *def, const char *const *columns,
                                size_t count, struct op_err *err)
{
    const char *near = def->when ? op_str_nearest(def->when, columns, count) : NULL;
    if (def->when && !has_column(columns, count, def->when))
        return op_fail(err, OP_INVAL,
                       "%s: 'when' names '%s', which is no column of the records%s%s%s",
                       def->place, def->when, near ? " (did you mean '" : "", near ? near : "",
                       near ? "'?)" : "");
    if (def->raw && !has_column(columns, count, "line"))
        return op_fail(
            err, OP_INVAL,
            "%s: request '%s' is raw, so the records need a column 'line' that holds the "
            "request",
            def->place, def->name);
    return OP_OK;
}

static enum op_rc bind(struct op_template *tpl, const struct op_text *text,
                       const struct op_plan *plan, struct op_err *err)
{
    if (!tpl || !op_template_bind(tpl, plan->prompt_columns, plan->prompt_column_count, err))
        return OP_OK;
    op_text_shift(text, err);
    return err->rc;
}

enum op_rc op_plan_columns(struct op_plan *plan, const char *const *columns, size_t count,
                           struct op_err *err)
{
    size_t total = count + plan->params->count;
    const char **copies = op_arena_array(&plan->arena, total + 1, sizeof(*copies));
    for (size_t i = 0; i < total; i++)
        copies[i] = i < count ? op_arena_strdup(&plan->arena, op_str_from(columns[i]))
                              : plan->params->names[i - count];
    if (check_clash(plan, copies, count, err))
        return err->rc;
    plan->record_columns = copies;
    plan->record_column_count = count;
    plan->prompt_columns = copies;
    plan->prompt_column_count = total;
    for (size_t i = 0; i < plan->def->request_count; i++) {
        struct op_plan_request *request = &plan->requests[i];
        if (check_request(request->def, copies, count, err) ||
            bind(request->system, &request->def->system, plan, err) ||
            bind(request->user, &request->def->user, plan, err))
            return err->rc;
    }
    return OP_OK;
}
