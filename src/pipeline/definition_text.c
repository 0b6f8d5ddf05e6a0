/* SPDX-License-Identifier: MIT */

#include "base/json.h"
#include "base/mem.h"
#include "pipeline/definition_read.h"

static bool is_template(const char *text)
{
    return strstr(text, "{{") != NULL;
}

static bool is_word(const char *text, const char *more)
{
    if (text[0] == '\0')
        return false;
    for (const char *p = text; *p; p++)
        if (!(*p >= 'a' && *p <= 'z') && !(*p >= '0' && *p <= '9') && !strchr(more, *p))
            return false;
    return true;
}

enum op_rc op_read_name(struct definer *d, const struct op_yaml *node, void *into,
                        struct op_err *err)
{
    (void)d;
    const char *text = NULL;
    if (op_yaml_text(node, &text, err))
        return err->rc;
    if (!is_word(text, "-") || text[0] == '-' || node->len > 64)
        return op_fail(
            err, OP_INVAL,
            "%s:%d: '%.80s' is no name for a pipeline: use small letters, digits and "
            "'-', at most 64",
            node->file, node->line, text);
    *(const char **)into = text;
    return OP_OK;
}

enum op_rc op_read_string(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err)
{
    (void)d;
    if (op_yaml_is_null(node)) { /* `default:` with nothing behind it: not given */
        *(const char **)into = NULL;
        return OP_OK;
    }
    return op_yaml_text(node, (const char **)into, err);
}

enum op_rc op_read_flag(struct definer *d, const struct op_yaml *node, void *into,
                        struct op_err *err)
{
    (void)d;
    return op_yaml_bool(node, into, err);
}

static enum op_rc read_between(const struct op_yaml *node, int64_t least, int64_t most,
                               int64_t *ret, struct op_err *err)
{
    int64_t value = 0;
    if (op_yaml_int(node, &value, err))
        return err->rc;
    if (value < least || value > most)
        return op_fail(err, OP_INVAL, "%s:%d: '%s' must be from %lld to %lld, not %lld",
                       node->file, node->key_line, node->key, (long long)least, (long long)most,
                       (long long)value);
    *ret = value;
    return OP_OK;
}

enum op_rc op_read_rounds(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err)
{
    (void)d;
    return read_between(node, 1, 1000, into, err);
}

enum op_rc op_read_times(struct definer *d, const struct op_yaml *node, void *into,
                         struct op_err *err)
{
    (void)d;
    return read_between(node, 0, 100, into, err);
}

enum op_rc op_read_words(struct definer *d, const struct op_yaml *node, void *into,
                         struct op_err *err)
{
    if (node->kind == OP_YAML_MAP || op_yaml_is_null(node))
        return op_definer_need_list(node, "[one, two]", err);
    size_t count = node->kind == OP_YAML_LIST ? node->count : 1;
    const struct op_yaml *item = node->kind == OP_YAML_LIST ? node->first : node;
    const char **words = op_arena_array(d->arena, count + 1, sizeof(*words));
    for (size_t i = 0; i < count; i++, item = item->next) {
        if (op_yaml_text(item, &words[i], err))
            return err->rc;
        for (size_t j = 0; j < i; j++)
            if (strcmp(words[i], words[j]) == 0)
                return op_fail(err, OP_INVAL, "%s:%d: '%s' names '%.80s' twice", item->file,
                               item->line, node->key, words[i]);
    }
    *(const char ***)into = words;
    return OP_OK;
}

enum op_rc op_read_column(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err)
{
    (void)d;
    const char *text = NULL;
    if (op_yaml_text(node, &text, err))
        return err->rc;
    if (strpbrk(text, " ()<>='\n"))
        return op_fail(
            err, OP_INVAL,
            "%s:%d: '%s' must be a column of the records, not an expression: select it "
            "there, as in `... AS %s`",
            node->file, node->key_line, node->key, node->key);
    *(const char **)into = text;
    return OP_OK;
}

/* --- templates over the params ---------------------------------------------------------------- */

enum op_rc op_definer_template_names(struct definer *d, const struct op_yaml *node,
                                     const char *const **ret, size_t *ret_count,
                                     struct op_err *err)
{
    *ret = NULL;
    *ret_count = 0;
    if (!is_template(node->text))
        return OP_OK;
    OP_CLEANUP(op_template_freep) struct op_template *tpl = NULL;
    struct op_template_options options = {.escape = OP_ESCAPE_NONE, .strict = true};
    struct op_text text = {{node->text, node->len}, op_definer_place(d, node)};
    if (op_text_compile(&text, &options, &tpl, err))
        return err->rc;
    const char *const *names = NULL;
    size_t count = op_template_names(tpl, &names);
    const char **copies = op_arena_array(d->arena, count + 1, sizeof(*copies));
    for (size_t i = 0; i < count; i++)
        copies[i] = op_arena_strdup(d->arena, op_str_from(names[i]));
    *ret = copies;
    *ret_count = count;
    return OP_OK;
}

static enum op_rc fail_param(const struct op_yaml *node, const char *name,
                             const char *const *names, size_t count, struct op_err *err)
{
    char hint[120];
    OP_CLEANUP(op_buf_release) struct op_buf list;
    op_buf_init(&list, 500);
    op_buf_addz(&list, op_definer_hint(hint, name, names, count));
    if (list.len == 0 && count == 0)
        op_buf_addz(&list, "; there are none");
    for (size_t i = 0; i < count && !hint[0]; i++)
        op_buf_addf(&list, "%s%s", i ? ", " : "; there are: ", names[i]);
    return op_fail(err, OP_INVAL, "%s:%d: '%s' uses {{%.80s}}, which is no param%s%s",
                   node->file, node->line, node->key, name,
                   strcmp(node->key, "default") == 0 ? " above this one" : "", list.ptr);
}

enum op_rc op_definer_template(struct definer *d, const struct op_yaml *node,
                               const char *const *names, size_t count, struct op_err *err)
{
    const char *const *used = NULL;
    size_t used_count = 0;
    if (op_definer_template_names(d, node, &used, &used_count, err))
        return err->rc;
    for (size_t i = 0; i < used_count; i++) {
        bool known = false;
        for (size_t j = 0; j < count && !known; j++)
            known = strcmp(used[i], names[j]) == 0;
        if (!known)
            return fail_param(node, used[i], names, count, err);
    }
    return OP_OK;
}

enum op_rc op_read_template(struct definer *d, const struct op_yaml *node, void *into,
                            struct op_err *err)
{
    const char *text = NULL;
    if (op_yaml_text(node, &text, err) ||
        op_definer_template(d, node, d->params, d->param_count, err))
        return err->rc;
    *(const char **)into = text;
    return OP_OK;
}

enum op_rc op_read_count(struct definer *d, const struct op_yaml *node, void *into,
                         struct op_err *err)
{
    const char *text = NULL;
    int64_t value = 0;
    if (op_read_template(d, node, &text, err))
        return err->rc;
    if (!is_template(text) && (!op_str_int64(op_str_from(text), &value) || value < 1))
        return op_fail(err, OP_INVAL, "%s:%d: '%s' must be a whole number above 0, not '%.80s'",
                       node->file, node->key_line, node->key, text);
    *(const char **)into = text;
    return OP_OK;
}

enum op_rc op_read_number(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err)
{
    const char *text = NULL;
    double value = 0;
    if (op_read_template(d, node, &text, err))
        return err->rc;
    if (!is_template(text) && (!op_str_double(op_str_from(text), &value) || value < 0))
        return op_fail(err, OP_INVAL, "%s:%d: '%s' must be a number, not '%.80s'", node->file,
                       node->key_line, node->key, text);
    *(const char **)into = text;
    return OP_OK;
}

enum op_rc op_read_cache(struct definer *d, const struct op_yaml *node, void *into,
                         struct op_err *err)
{
    const char *text = NULL;
    if (op_read_template(d, node, &text, err))
        return err->rc;
    if (!is_template(text) && strcmp(text, "5m") != 0 && strcmp(text, "1h") != 0)
        return op_fail(err, OP_INVAL, "%s:%d: '%s' must be 5m or 1h, not '%.80s'", node->file,
                       node->key_line, node->key, text);
    *(const char **)into = text;
    return OP_OK;
}

/* --- texts, inline or in a file --------------------------------------------------------------- */

static bool names_file(const struct op_yaml *node)
{
    static const char *const endings[] = {".md", ".txt", ".mustache", ".xml", ".sql", ".json"};
    if (node->kind != OP_YAML_SCALAR || strpbrk(node->text, " \t\n{"))
        return false;
    for (size_t i = 0; i < OP_COUNT(endings); i++)
        if (op_str_ends(op_str_from(node->text), endings[i]))
            return true;
    return false;
}

static const char *file_place(struct definer *d, const char *name)
{
    struct op_str dir = op_str_from(d->def->file);
    dir.len -= strlen(OP_BUNDLE_MAIN);
    return op_arena_printf(d->arena, OP_STR_FMT "%s:1", OP_STR_ARG(dir), name);
}

static enum op_rc read_text(struct definer *d, const struct op_yaml *node, struct op_text *ret,
                            struct op_err *err)
{
    const char *text = NULL;
    if (op_yaml_text(node, &text, err))
        return err->rc;
    struct op_text found = {{text, node->len}, op_definer_place(d, node)};
    if (names_file(node)) {
        if (op_bundle_need(d->env, d->bundle, text, found.place, &found.text, err))
            return err->rc;
        found.place = file_place(d, text);
    }
    if (op_str_trim(found.text).len == 0)
        return op_fail(err, OP_INVAL, "%s: '%s' is empty", found.place, node->key);
    *ret = found;
    return OP_OK;
}

enum op_rc op_read_sql(struct definer *d, const struct op_yaml *node, void *into,
                       struct op_err *err)
{
    return read_text(d, node, into, err);
}

struct pull {
    struct definer *d;
    const char *place;
};

/* As op_bundle_partial, reading from the folder what the bundle does not hold yet. */
static bool pull_partial(void *arg, const char *name, struct op_str *ret_text)
{
    static const char *const endings[] = {"", ".mustache", ".md"};
    struct pull *pull = arg;
    for (size_t i = 0; i < OP_COUNT(endings); i++) {
        OP_CLEANUP(op_mem_freep) char *file = op_mem_printf("%s%s", name, endings[i]);
        struct op_err err = OP_ERR_INIT;
        if (!op_bundle_need(pull->d->env, pull->d->bundle, file, pull->place, ret_text, &err))
            return true;
    }
    return false;
}

enum op_rc op_read_prompt(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err)
{
    struct op_text text;
    if (read_text(d, node, &text, err))
        return err->rc;
    struct pull pull = {d, text.place};
    struct op_template_options options = {.escape = OP_ESCAPE_NONE,
                                          .strict = true,
                                          .partial = pull_partial,
                                          .partial_arg = &pull};
    OP_CLEANUP(op_template_freep) struct op_template *tpl = NULL;
    if (op_text_compile(&text, &options, &tpl, err))
        return err->rc;
    *(struct op_text *)into = text;
    return OP_OK;
}

static struct op_text json_of(struct definer *d, const struct op_yaml *node)
{
    OP_CLEANUP(op_buf_release) struct op_buf buf;
    op_buf_init(&buf, 8 * OP_YAML_MAX_BYTES);
    struct op_json_out out;
    op_json_out_init(&out, &buf, 0);
    op_yaml_write_json(node, &out);
    struct op_str text = {op_arena_strdup(d->arena, op_buf_str(&buf)), buf.len};
    return (struct op_text){text, op_definer_place(d, node)};
}

enum op_rc op_read_object(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err)
{
    if (op_definer_need_map(node, "{top_p: 0.9}", err))
        return err->rc;
    *(struct op_text *)into = json_of(d, node);
    return OP_OK;
}

enum op_rc op_read_schema(struct definer *d, const struct op_yaml *node, void *into,
                          struct op_err *err)
{
    struct op_text text;
    if (node->kind == OP_YAML_MAP)
        text = json_of(d, node);
    else if (read_text(d, node, &text, err))
        return err->rc;
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    struct op_err cause = OP_ERR_INIT;
    struct op_json root;
    if (op_json_parse(parser, text.text.ptr, text.text.len, false, &root, &cause)) {
        if (!names_file(node) && !op_str_starts(op_str_trim(text.text), "{"))
            return op_fail(err, OP_INVAL,
                           "%s: '%s' must be a JSON Schema: a map, or the name of a .json file",
                           text.place, node->key);
        int len =
            (int)strlen(text.place) - (names_file(node) ? 2 : 0); /* the cause has a line */
        return op_fail(err, OP_INVAL, "%.*s: '%s' is not JSON: %s", len, text.place, node->key,
                       cause.msg);
    }
    if (!op_json_is(root, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL, "%s: '%s' must be a JSON object, not %s", text.place,
                       node->key, op_json_type_name(op_json_type(root)));
    *(struct op_text *)into = text;
    return OP_OK;
}
