/* SPDX-License-Identifier: MIT */
#include "pipeline/params.h"

#include <stdlib.h>

#include "base/io.h"
#include "base/json.h"
#include "base/json_out.h"
#include "base/mem.h"

static const char *const words_true[] = {"true", "yes", "on", "1"};
static const char *const words_false[] = {"false", "no", "off", "0"};

static void init(const struct op_definition *def, struct op_params *params)
{
    *params = (struct op_params){0};
    params->count = def->param_count;
    params->names = op_arena_array(&params->arena, params->count + 1, sizeof(*params->names));
    params->values = op_arena_array(&params->arena, params->count + 1, sizeof(*params->values));
    for (size_t i = 0; i < params->count; i++)
        params->names[i] = def->params[i].name;
}

void op_params_release(struct op_params *params)
{
    op_arena_release(&params->arena);
    *params = (struct op_params){0};
}

/* A path as it is reached from anywhere. URLs, and "-" for a stream, stay as they are. */
static const char *absolute_path(struct op_params *params, const char *path, const char *cwd)
{
    const char *home = getenv("HOME");
    if (path[0] == '~' && (path[1] == '/' || path[1] == '\0') && home && home[0])
        return op_arena_printf(&params->arena, "%s%s", home, path + 1);
    if (path[0] == '/' || path[0] == '\0' || strcmp(path, "-") == 0 || strstr(path, "://"))
        return op_arena_strdup(&params->arena, op_str_from(path));
    while (path[0] == '.' && path[1] == '/')
        for (path += 2; path[0] == '/';)
            path++;
    OP_CLEANUP(op_mem_freep) char *joined = op_io_join(cwd, path[0] ? path : ".");
    return op_arena_strdup(&params->arena, op_str_from(joined));
}

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

static enum op_rc fail_value(const struct op_param_def *def, const char *origin,
                             const char *wanted, const char *text, struct op_err *err)
{
    return op_fail(err, OP_INVAL, "%s must be %s, not '%.200s'%s%s", origin, wanted, text,
                   def->about[0] ? "; it is: " : "", def->about);
}

static enum op_rc check_values(const struct op_param_def *def, const char *origin,
                               const char *text, struct op_err *err)
{
    size_t count = 0;
    while (def->values && def->values[count])
        count++;
    if (count == 0 || is_one_of(text, def->values, count))
        return OP_OK;
    OP_CLEANUP(op_buf_release) struct op_buf list;
    op_buf_init(&list, 600);
    for (size_t i = 0; i < count; i++)
        op_buf_addf(&list, "%s%s",
                    i == 0           ? ""
                    : i + 1 == count ? " or "
                                     : ", ",
                    def->values[i]);
    const char *near = op_str_nearest(text, def->values, count);
    return op_fail(err, OP_INVAL, "%s must be %s, not '%.200s'%s%s%s", origin, list.ptr, text,
                   near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

/* From the command line it is JSON already; elsewhere texts with commas. */
static struct op_value list_value(struct op_params *params, struct op_str text)
{
    if (op_str_starts(text, "["))
        return op_value_text((struct op_str){op_arena_strdup(&params->arena, text), text.len});
    OP_CLEANUP(op_buf_release) struct op_buf list;
    struct op_json_out json;
    op_buf_init(&list, 8 * text.len + 16);
    op_json_out_init(&json, &list, 0);
    op_json_out_array(&json);
    for (struct op_str rest = text; rest.len > 0;) {
        struct op_str item = op_str_trim(op_str_cut(&rest, ','));
        if (item.len)
            op_json_out_str(&json, item);
    }
    op_json_out_end_array(&json);
    struct op_str s = op_buf_str(&list);
    return op_value_text((struct op_str){op_arena_strdup(&params->arena, s), s.len});
}

static enum op_rc convert(struct op_params *params, const struct op_param_def *def,
                          const char *origin, const char *text, const char *cwd,
                          struct op_value *ret, struct op_err *err)
{
    struct op_str s = op_str_from(text);
    if (op_utf8_valid_len(s.ptr, s.len) != s.len)
        return op_fail(err, OP_INVAL, "%s is not UTF-8 text", origin);
    if (check_values(def, origin, text, err))
        return err->rc;
    switch (def->type) {
    case OP_PARAM_INTEGER:
        ret->type = OP_VALUE_INT;
        return op_str_int64(s, &ret->i) ? OP_OK
                                        : fail_value(def, origin, "a whole number", text, err);
    case OP_PARAM_NUMBER:
        ret->type = OP_VALUE_DOUBLE;
        return op_str_double(s, &ret->d) ? OP_OK
                                         : fail_value(def, origin, "a number", text, err);
    case OP_PARAM_BOOLEAN:
        *ret = op_value_int(is_one_of(text, words_true, OP_COUNT(words_true)));
        if (ret->i || is_one_of(text, words_false, OP_COUNT(words_false)))
            return OP_OK;
        return fail_value(def, origin, "true or false", text, err);
    case OP_PARAM_PATH:
        if (!text[0])
            return op_fail(err, OP_INVAL, "%s must be a path, not empty", origin);
        *ret = op_value_text(op_str_from(absolute_path(params, text, cwd)));
        return OP_OK;
    case OP_PARAM_LIST:
        *ret = list_value(params, s);
        return OP_OK;
    case OP_PARAM_TEXT:
        break;
    }
    *ret = op_value_text(op_str_from(op_arena_strdup(&params->arena, s)));
    return OP_OK;
}

static enum op_rc resolve_default(const struct op_param_def *def, struct op_params *params,
                                  size_t ix, const char *cwd, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *text = NULL;
    OP_CLEANUP(op_mem_freep) char *origin = op_mem_printf("the default of --%s", def->name);
    struct op_params above = *params; /* a default sees what stands above it, no more */
    above.count = ix;
    if (op_params_render(&above, def->fallback, def->place, &text, err))
        return err->rc;
    if (convert(params, def, origin, text, cwd, &params->values[ix], err))
        return op_err_wrap(err, "%s", def->place);
    return OP_OK;
}

static enum op_rc resolve(const struct op_param_def *def, const char *given,
                          struct op_params *params, size_t ix, const char *cwd,
                          struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *option = op_mem_printf("--%s", def->name);
    for (char *p = option; *p; p++)
        if (*p == '_')
            *p = '-';
    if (given)
        return convert(params, def, option, given, cwd, &params->values[ix], err);
    const char *env = def->env ? getenv(def->env) : NULL;
    if (env && env[0]) /* set but empty is how a shell script says "not given" */
        return convert(params, def, def->env, env, cwd, &params->values[ix], err);
    if (def->fallback)
        return resolve_default(def, params, ix, cwd, err);
    if (!def->required)
        return OP_OK;
    if (def->env)
        return op_fail(err, OP_INVAL, "%s is missing (or set %s)%s%s", option, def->env,
                       def->about[0] ? "; it is: " : "", def->about);
    return op_fail(err, OP_INVAL, "%s is missing%s%s", option, def->about[0] ? "; it is: " : "",
                   def->about);
}

enum op_rc op_params_resolve(const struct op_definition *def, const char *const *given,
                             const char *cwd, struct op_params *ret, struct op_err *err)
{
    OP_CLEANUP(op_params_release) struct op_params params;
    init(def, &params);
    for (size_t i = 0; i < def->param_count; i++)
        if (resolve(&def->params[i], given[i], &params, i, cwd, err))
            return err->rc;
    *ret = params;
    params = (struct op_params){0};
    return OP_OK;
}

void op_params_write(const struct op_params *params, struct op_buf *out)
{
    struct op_json_out json;
    op_json_out_init(&json, out, 0);
    op_json_out_object(&json);
    for (size_t i = 0; i < params->count; i++) {
        struct op_value v = params->values[i];
        op_json_out_name(&json, params->names[i]);
        if (v.type == OP_VALUE_INT)
            op_json_out_int(&json, v.i);
        else if (v.type == OP_VALUE_DOUBLE)
            op_json_out_double(&json, v.d);
        else
            op_json_out_str(&json, v.type == OP_VALUE_TEXT ? v.s : OP_STR_NULL);
    }
    op_json_out_end_object(&json);
}

static bool read_value(struct op_arena *arena, enum op_param_type type, struct op_json json,
                       struct op_value *ret)
{
    bool number = op_json_is(json, OP_JSON_INT) || op_json_is(json, OP_JSON_DOUBLE);
    *ret = op_value_null();
    if (!op_json_ok(json) || op_json_is(json, OP_JSON_NULL))
        return true;
    switch (type) {
    case OP_PARAM_INTEGER:
    case OP_PARAM_BOOLEAN:
        *ret = op_value_int(op_json_int(json, 0));
        return op_json_is(json, OP_JSON_INT);
    case OP_PARAM_NUMBER:
        *ret = op_value_double(op_json_double(json, 0));
        return number;
    case OP_PARAM_TEXT:
    case OP_PARAM_PATH:
    case OP_PARAM_LIST:
        break;
    }
    if (!op_json_is(json, OP_JSON_STRING))
        return false;
    struct op_str s = op_json_str(json);
    *ret = op_value_text((struct op_str){op_arena_strdup(arena, s), s.len});
    return true;
}

enum op_rc op_params_read(const struct op_definition *def, struct op_str json,
                          struct op_params *ret, struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_params_release) struct op_params params;
    init(def, &params);
    struct op_json root;
    if (op_json_parse(parser, json.ptr, json.len, false, &root, err))
        return op_err_wrap(err, "the job's stored params are damaged");
    if (!op_json_is(root, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL, "the job's stored params are damaged: no object");
    for (size_t i = 0; i < params.count; i++)
        if (!read_value(&params.arena, def->params[i].type, op_json_get(root, params.names[i]),
                        &params.values[i]))
            return op_fail(err, OP_INVAL,
                           "the job's stored params are damaged: '%s' has another type",
                           params.names[i]);
    *ret = params;
    params = (struct op_params){0};
    return OP_OK;
}

enum op_rc op_params_render(const struct op_params *params, const char *text, const char *place,
                            char **ret, struct op_err *err)
{
    if (!strstr(text, "{{")) {
        *ret = op_mem_strdup(text);
        return OP_OK;
    }
    OP_CLEANUP(op_template_freep) struct op_template *tpl = NULL;
    OP_CLEANUP(op_buf_release) struct op_buf out;
    op_buf_init(&out, OP_TEMPLATE_MAX_OUTPUT);
    struct op_template_options options = {.escape = OP_ESCAPE_NONE, .strict = true};
    struct op_text placed = {op_str_from(text), place};
    if (op_text_compile(&placed, &options, &tpl, err))
        return err->rc;
    struct op_template_root root = {
        .columns = params->names, .cells = params->values, .count = params->count};
    struct op_template_scratch *scratch = op_template_scratch_new();
    enum op_rc rc = op_template_render(tpl, scratch, &root, &out, err);
    op_template_scratch_free(scratch);
    if (!rc)
        rc = op_buf_finish(&out, place, err);
    if (rc) {
        op_text_shift(&placed, err);
        return rc;
    }
    *ret = op_buf_take(&out);
    return OP_OK;
}
