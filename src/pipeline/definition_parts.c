/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "pipeline/definition_read.h"

static bool is_identifier(const char *text, const char *first, const char *more)
{
    if (text[0] == '\0' || strlen(text) > 63)
        return false;
    for (const char *p = text; *p; p++) {
        bool small = *p >= 'a' && *p <= 'z';
        bool digit = *p >= '0' && *p <= '9';
        if (!small && !(digit && p > text) && !strchr(p == text ? first : more, *p))
            return false;
    }
    return true;
}

/* --- params ----------------------------------------------------------------------------------- */

enum op_rc op_read_type(struct definer *d, const struct op_yaml *node, void *into,
                        struct op_err *err)
{
    static const char *const names[] = {"text", "integer", "number", "boolean", "path", "list"};
    (void)d;
    const char *text = NULL;
    if (op_yaml_text(node, &text, err))
        return err->rc;
    for (size_t i = 0; i < OP_COUNT(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *(enum op_param_type *)into = (enum op_param_type)i;
            return OP_OK;
        }
    }
    char hint[120];
    return op_fail(
        err, OP_INVAL,
        "%s:%d: '%.80s' is no type%s: use text, integer, number, boolean, path or list",
        node->file, node->line, text, op_definer_hint(hint, text, names, OP_COUNT(names)));
}

static bool same_option(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if ((*a == '-' ? '_' : *a) != (*b == '-' ? '_' : *b))
            return false;
    return *a == *b;
}

static bool has_option(const struct op_param_def *param, const char *name)
{
    if (same_option(param->name, name))
        return true;
    for (size_t i = 0; param->aliases && param->aliases[i]; i++)
        if (same_option(param->aliases[i], name))
            return true;
    return false;
}

static enum op_rc check_options(const struct definer *d, const struct op_param_def *param,
                                struct op_err *err)
{
    for (size_t i = 0; param->aliases && param->aliases[i]; i++) {
        if (!is_identifier(param->aliases[i], "", "-_"))
            return op_fail(
                err, OP_INVAL,
                "%s: the alias '%.80s' is no option name: use small letters, digits and "
                "'-'",
                param->place, param->aliases[i]);
        if (same_option(param->aliases[i], param->name))
            return op_fail(err, OP_INVAL, "%s: '%s' is an alias of itself", param->place,
                           param->name);
    }
    for (const struct op_param_def *p = d->def->params; p < param; p++) {
        if (has_option(p, param->name))
            return op_fail(err, OP_INVAL, "%s: --%s is an option of the param '%s' already",
                           param->place, param->name, p->name);
        for (size_t i = 0; param->aliases && param->aliases[i]; i++)
            if (has_option(p, param->aliases[i]))
                return op_fail(err, OP_INVAL, "%s: --%s is an option of the param '%s' already",
                               param->place, param->aliases[i], p->name);
    }
    return OP_OK;
}

static bool fits_type(enum op_param_type type, const char *text)
{
    static const char *const booleans[] = {"true", "false", "yes", "no", "on", "off", "1", "0"};
    int64_t i = 0;
    double n = 0;
    switch (type) {
    case OP_PARAM_INTEGER:
        return op_str_int64(op_str_from(text), &i);
    case OP_PARAM_NUMBER:
        return op_str_double(op_str_from(text), &n);
    case OP_PARAM_BOOLEAN:
        for (size_t k = 0; k < OP_COUNT(booleans); k++)
            if (strcmp(text, booleans[k]) == 0)
                return true;
        return false;
    case OP_PARAM_TEXT:
    case OP_PARAM_PATH:
    case OP_PARAM_LIST:
        return true;
    }
    return true;
}

static const char *type_name(enum op_param_type type)
{
    switch (type) {
    case OP_PARAM_INTEGER:
        return "a whole number";
    case OP_PARAM_NUMBER:
        return "a number";
    case OP_PARAM_BOOLEAN:
        return "true or false";
    case OP_PARAM_TEXT:
    case OP_PARAM_PATH:
    case OP_PARAM_LIST:
        break;
    }
    return "a text";
}

static enum op_rc check_fallback(struct definer *d, const struct op_yaml *node,
                                 const struct op_param_def *param, struct op_err *err)
{
    const struct op_yaml *fallback = op_yaml_get(node, "default");
    if (!fallback || !param->fallback)
        return OP_OK;
    if (param->required)
        return op_fail(err, OP_INVAL,
                       "%s:%d: '%s' is required, so its default is never used: leave one out",
                       fallback->file, fallback->key_line, param->name);
    if (strstr(param->fallback, "{{")) { /* its value is checked when it is known */
        size_t above = (size_t)(param - d->def->params);
        return op_definer_template(d, fallback, d->params, above, err);
    }
    if (!fits_type(param->type, param->fallback))
        return op_fail(err, OP_INVAL, "%s:%d: the default of '%s' must be %s, not '%.80s'",
                       fallback->file, fallback->line, param->name, type_name(param->type),
                       param->fallback);
    size_t count = 0;
    while (param->values && param->values[count])
        count++;
    for (size_t i = 0; i < count; i++)
        if (strcmp(param->values[i], param->fallback) == 0)
            return OP_OK;
    char hint[120];
    if (count > 0)
        return op_fail(err, OP_INVAL,
                       "%s:%d: the default '%.80s' of '%s' is not among its values%s",
                       fallback->file, fallback->line, param->fallback, param->name,
                       op_definer_hint(hint, param->fallback, param->values, count));
    return OP_OK;
}

static enum op_rc read_param(struct definer *d, const struct op_yaml *node,
                             struct op_param_def *param, struct op_err *err)
{
    param->name = node->key;
    param->about = "";
    param->place = op_arena_printf(d->arena, "%s:%d", node->file, node->key_line);
    if (!is_identifier(node->key, "", "_"))
        return op_fail(err, OP_INVAL,
                       "%s: '%.80s' is no name for a param: use small letters, digits and '_'",
                       param->place, node->key);
    if (!op_yaml_is_null(node) &&
        (op_definer_need_map(node, "{about: What it is, required: true}", err) ||
         op_definer_map(d, node, "params.*", param, err)))
        return err->rc;
    if (!param->about)
        param->about = "";
    if (check_options(d, param, err))
        return err->rc;
    return check_fallback(d, node, param, err);
}

enum op_rc op_read_params(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err)
{
    struct op_definition *def = into;
    if (op_definer_need_map(node, "{path: {about: What it is, required: true}}", err))
        return err->rc;
    def->params = op_arena_array(d->arena, node->count + 1, sizeof(*def->params));
    for (const struct op_yaml *n = node->first; n; n = n->next)
        if (read_param(d, n, &def->params[def->param_count++], err) && op_definer_note(d, err))
            return err->rc;
    return OP_OK;
}

/* --- profiles --------------------------------------------------------------------------------- */

/* What a profile may say in place of the top. Params, requests and checks are the pipeline's own:
 * with others it would be another pipeline. */
static const char *const profile_keys[] = {"about",   "inputs", "outputs",  "require",
                                           "records", "done",   "progress", "trigger"};

static enum op_rc check_profile(const struct op_yaml *node, struct op_err *err)
{
    if (!is_identifier(node->key, "", "-_"))
        return op_fail(
            err, OP_INVAL,
            "%s:%d: '%.80s' is no name for a profile: use small letters, digits, '-' and '_'",
            node->file, node->key_line, node->key);
    if (op_definer_need_map(node, "{inputs: ..., outputs: ...}", err))
        return err->rc;
    for (const struct op_yaml *n = node->first; n; n = n->next) {
        size_t at = 0;
        while (at < OP_COUNT(profile_keys) && strcmp(profile_keys[at], n->key) != 0)
            at++;
        if (at == OP_COUNT(profile_keys))
            return op_definer_unknown(n, profile_keys, OP_COUNT(profile_keys), err);
    }
    return OP_OK;
}

enum op_rc op_read_profiles(struct definer *d, const struct op_yaml *node, void *into,
                            struct op_err *err)
{
    struct op_definition *def = into;
    if (op_definer_need_map(node, "{polis: {inputs: ..., outputs: ...}}", err))
        return err->rc;
    def->profiles = op_arena_array(d->arena, node->count + 1, sizeof(*def->profiles));
    for (const struct op_yaml *n = node->first; n; n = n->next) {
        def->profiles[def->profile_count++] = n->key;
        if (check_profile(n, err) && op_definer_note(d, err))
            return err->rc;
    }
    return OP_OK;
}

/* --- requests --------------------------------------------------------------------------------- */

static enum op_rc check_raw(const struct op_request_def *request, struct op_err *err)
{
    struct {
        const char *key;
        bool given;
    } const own[] = {
        {"user", request->user.text.ptr},    {"system", request->system.text.ptr},
        {"max_tokens", request->max_tokens}, {"temperature", request->temperature},
        {"effort", request->effort},         {"cache", request->cache},
        {"params", request->extra.text.ptr},
    };
    for (size_t i = 0; i < OP_COUNT(own); i++)
        if (own[i].given)
            return op_fail(
                err, OP_INVAL,
                "%s: request '%s' is raw: its lines are sent as they are, so '%s' has no "
                "place in it",
                request->place, request->name, own[i].key);
    return OP_OK;
}

static enum op_rc read_request(struct definer *d, const struct op_yaml *node,
                               struct op_request_def *request, struct op_err *err)
{
    request->name = node->key;
    request->place = op_arena_printf(d->arena, "%s:%d", node->file, node->key_line);
    if (!is_identifier(node->key, "", "-_"))
        return op_fail(
            err, OP_INVAL,
            "%s: '%.80s' is no name for a request: use small letters, digits, '-' and "
            "'_'",
            request->place, node->key);
    size_t before = d->mistakes;
    if (op_definer_need_map(node, "{model: NAME, user: user.md}", err) ||
        op_definer_map(d, node, "requests.*", request, err))
        return err->rc;
    if (request->raw)
        return check_raw(request, err);
    if (!request->user.text.ptr && d->mistakes == before)
        return op_fail(err, OP_INVAL,
                       "%s: request '%s' asks nothing: it needs 'user', the prompt",
                       request->place, request->name);
    return OP_OK;
}

enum op_rc op_read_requests(struct definer *d, const struct op_yaml *node, void *into,
                            struct op_err *err)
{
    struct op_definition *def = into;
    if (op_definer_need_map(node, "{label: {model: NAME, user: user.md}}", err))
        return err->rc;
    if (node->count == 0)
        return op_fail(err, OP_INVAL, "%s:%d: 'requests' is empty: name at least one",
                       node->file, node->key_line);
    def->requests = op_arena_array(d->arena, node->count, sizeof(*def->requests));
    for (const struct op_yaml *n = node->first; n; n = n->next)
        if (read_request(d, n, &def->requests[def->request_count++], err) &&
            op_definer_note(d, err))
            return err->rc;
    return OP_OK;
}

/* --- views ------------------------------------------------------------------------------------ */

enum op_rc op_read_views(struct definer *d, const struct op_yaml *node, void *into,
                         struct op_err *err)
{
    struct op_definition *def = into;
    if (op_definer_need_map(node, "{good: SELECT ... FROM answers}", err))
        return err->rc;
    def->views = op_arena_array(d->arena, node->count + 1, sizeof(*def->views));
    for (const struct op_yaml *n = node->first; n; n = n->next) {
        struct op_view_def *view = &def->views[def->view_count++];
        view->name = n->key;
        if (!is_identifier(n->key, "_", "_"))
            (void)op_fail(err, OP_INVAL,
                          "%s:%d: '%.80s' is no name for a view: use small letters, digits and "
                          "'_'",
                          n->file, n->key_line, n->key);
        if ((err->rc || op_read_sql(d, n, &view->sql, err)) && op_definer_note(d, err))
            return err->rc;
    }
    return OP_OK;
}

/* --- require, checks, warnings ---------------------------------------------------------------- */

static enum op_rc read_need(struct definer *d, const struct op_yaml *node,
                            struct op_require_def *need, struct op_err *err)
{
    if (op_definer_need_map(node, "{sql: SELECT ..., message: What is wrong}", err) ||
        op_definer_map(d, node, "require.*", need, err))
        return err->rc;
    const char *missing = !need->sql.text.ptr       ? "sql"
                          : !need->message.text.ptr ? "message"
                                                    : NULL;
    if (missing)
        return op_fail(err, OP_INVAL, "%s:%d: this precondition needs '%s'", node->file,
                       node->line, missing);
    return OP_OK;
}

enum op_rc op_read_require(struct definer *d, const struct op_yaml *node, void *into,
                           struct op_err *err)
{
    struct op_definition *def = into;
    if (op_definer_need_list(node, "[{sql: SELECT ..., message: What is wrong}]", err))
        return err->rc;
    def->requires = op_arena_array(d->arena, node->count + 1, sizeof(*def->requires));
    for (const struct op_yaml *n = node->first; n; n = n->next)
        if (read_need(d, n, &def->requires[def->require_count++], err) &&
            op_definer_note(d, err))
            return err->rc;
    return OP_OK;
}

static enum op_rc read_check(struct definer *d, const struct op_yaml *node,
                             struct op_check_def *check, struct op_err *err)
{
    if (node->kind == OP_YAML_SCALAR)
        return op_read_sql(d, node, &check->sql, err);
    if (op_definer_need_map(node, "{sql: SELECT ..., request: NAME}", err) ||
        op_definer_map(d, node, "checks.*", check, err))
        return err->rc;
    if (!check->sql.text.ptr)
        return op_fail(err, OP_INVAL, "%s:%d: this check needs 'sql'", node->file, node->line);
    return OP_OK;
}

static enum op_rc add_checks(struct definer *d, const struct op_yaml *node, bool warning,
                             struct op_err *err)
{
    struct op_definition *def = d->def;
    if (op_definer_need_list(node, "[SELECT ...]", err))
        return err->rc;
    struct op_check_def *all =
        op_arena_array(d->arena, def->check_count + node->count + 1, sizeof(*all));
    if (def->check_count > 0)
        memcpy(all, def->checks, def->check_count * sizeof(*all));
    def->checks = all;
    for (const struct op_yaml *n = node->first; n; n = n->next) {
        struct op_check_def *check = &all[def->check_count++];
        check->warning = warning;
        if (read_check(d, n, check, err) && op_definer_note(d, err))
            return err->rc;
    }
    return OP_OK;
}

enum op_rc op_read_checks(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err)
{
    (void)into;
    return add_checks(d, node, false, err);
}

enum op_rc op_read_warnings(struct definer *d, const struct op_yaml *node, void *into,
                            struct op_err *err)
{
    (void)into;
    return add_checks(d, node, true, err);
}

/* --- batch, reask: maps whose fields lie in the definition itself */

enum op_rc op_read_batch(struct definer *d, const struct op_yaml *node, void *into,
                         struct op_err *err)
{
    if (op_definer_need_map(node, "{requests: 10000}", err))
        return err->rc;
    return op_definer_map(d, node, "batch", into, err);
}

enum op_rc op_read_reask(struct definer *d, const struct op_yaml *node, void *into,
                         struct op_err *err)
{
    if (op_definer_need_map(node, "{invalid: 1, failed: 3}", err))
        return err->rc;
    return op_definer_map(d, node, "reask", into, err);
}
