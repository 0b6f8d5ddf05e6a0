/* SPDX-License-Identifier: MIT */
#include "pipeline/definition.h"

#include <stddef.h>
#include <stdio.h>

#include "base/mem.h"
#include "pipeline/definition_read.h"

#define DEF(field)  offsetof(struct op_definition, field)
#define PAR(field)  offsetof(struct op_param_def, field)
#define INP(field)  offsetof(struct op_input_def, field)
#define REQ(field)  offsetof(struct op_request_def, field)
#define CHK(field)  offsetof(struct op_check_def, field)
#define NEED(field) offsetof(struct op_require_def, field)
#define OUT(field)  offsetof(struct op_output_def, field)
#define TRG(field)  offsetof(struct op_trigger_def, field)

static const struct op_definition_key keys[] = {
#define KEY(path, type, help, reader, field) {path, type, help},
#include "pipeline/definition_keys.inc"
#undef KEY
};
static const struct {
    op_reader_fn read;
    size_t offset;
} readers[] = {
#define KEY(path, type, help, reader, field) {reader, field},
#include "pipeline/definition_keys.inc"
#undef KEY
};

const struct op_definition_key *op_definition_keys(size_t *ret_count)
{
    *ret_count = OP_COUNT(keys);
    return keys;
}

/* The last part of a key's path when it stands directly below path, else NULL. */
static const char *name_below(size_t key, const char *path)
{
    const char *rest = keys[key].path;
    size_t len = strlen(path);
    if (len > 0) {
        if (strncmp(rest, path, len) != 0 || rest[len] != '.')
            return NULL;
        rest += len + 1;
    }
    return readers[key].read && !strchr(rest, '.') ? rest : NULL;
}

size_t op_definer_names(const char *path, const char **names, size_t count)
{
    for (size_t i = 0; i < OP_COUNT(keys) && count < OP_DEFINER_KEYS; i++) {
        const char *name = name_below(i, path);
        if (name)
            names[count++] = name;
    }
    return count;
}

enum op_rc op_definer_key(struct definer *d, const struct op_yaml *node, const char *path,
                          void *base, bool *ret_known, struct op_err *err)
{
    *ret_known = false;
    for (size_t i = 0; i < OP_COUNT(keys); i++) {
        const char *name = name_below(i, path);
        if (!name || strcmp(name, node->key) != 0)
            continue;
        *ret_known = true;
        return readers[i].read(d, node, (char *)base + readers[i].offset, err);
    }
    return OP_OK;
}

enum op_rc op_definer_map(struct definer *d, const struct op_yaml *node, const char *path,
                          void *base, struct op_err *err)
{
    for (const struct op_yaml *n = node->first; n; n = n->next) {
        bool known = false;
        enum op_rc rc = op_definer_key(d, n, path, base, &known, err);
        if (!rc && !known) {
            const char *names[OP_DEFINER_KEYS];
            rc = op_definer_unknown(n, names, op_definer_names(path, names, 0), err);
        }
        if (rc && op_definer_note(d, err))
            return err->rc;
    }
    return OP_OK;
}

enum op_rc op_definer_note(struct definer *d, struct op_err *err)
{
    if (!d->fn)
        return err->rc;
    d->fn(d->arg, err->msg);
    d->mistakes++;
    op_err_clear(err);
    return OP_OK;
}

const char *op_definer_place(struct definer *d, const struct op_yaml *node)
{
    return op_arena_printf(d->arena, "%s:%d", node->file, node->line);
}

const char *op_definer_hint(char buf[120], const char *word, const char *const *names,
                            size_t count)
{
    const char *near = op_str_nearest(word, names, count);
    buf[0] = '\0';
    if (near)
        snprintf(buf, 120, " (did you mean '%.80s'?)", near);
    return buf;
}

enum op_rc op_definer_unknown(const struct op_yaml *node, const char *const *names,
                              size_t count, struct op_err *err)
{
    char hint[120];
    if (op_definer_hint(hint, node->key, names, count)[0])
        return op_fail(err, OP_INVAL, "%s:%d: unknown key '%.80s'%s", node->file,
                       node->key_line, node->key, hint);
    /* A comma in a plain text inside {…} ends it, and the rest looks like a key. */
    if (strchr(node->key, ' '))
        return op_fail(
            err, OP_INVAL,
            "%s:%d: unknown key '%.80s'; a text with a comma inside {...} needs quotes",
            node->file, node->key_line, node->key);
    OP_CLEANUP(op_buf_release) struct op_buf list;
    op_buf_init(&list, 700);
    for (size_t i = 0; i < count; i++)
        op_buf_addf(&list, "%s%s", i ? ", " : "", names[i]);
    return op_fail(err, OP_INVAL, "%s:%d: unknown key '%.80s'; there are: %s", node->file,
                   node->key_line, node->key, list.ptr);
}

static enum op_rc fail_form(const struct op_yaml *node, const char *form, const char *example,
                            struct op_err *err)
{
    if (!node->key)
        return op_fail(err, OP_INVAL, "%s:%d: this item must be %s such as %s, not %s",
                       node->file, node->line, form, example, op_yaml_kind_name(node));
    return op_fail(err, OP_INVAL, "%s:%d: '%s' must be %s such as %s, not %s", node->file,
                   node->key_line, node->key, form, example, op_yaml_kind_name(node));
}

enum op_rc op_definer_need_map(const struct op_yaml *node, const char *example,
                               struct op_err *err)
{
    if (node->kind == OP_YAML_MAP)
        return OP_OK;
    return fail_form(node, "a map", example, err);
}

enum op_rc op_definer_need_list(const struct op_yaml *node, const char *example,
                                struct op_err *err)
{
    if (node->kind == OP_YAML_LIST)
        return OP_OK;
    return fail_form(node, "a list", example, err);
}

/* Known before the walk: a key above `params` may use one of them. */
static void collect_params(struct definer *d, const struct op_yaml *params)
{
    if (!params || params->kind != OP_YAML_MAP)
        return;
    d->params = op_arena_array(d->arena, params->count + 1, sizeof(*d->params));
    for (const struct op_yaml *n = params->first; n; n = n->next)
        d->params[d->param_count++] = n->key;
}

static enum op_rc find_profile(const struct definer *d, const struct op_yaml *root,
                               const struct op_yaml **ret, struct op_err *err)
{
    const char *wanted = d->bundle->profile;
    const struct op_yaml *profiles = op_yaml_get(root, "profiles");
    const struct op_yaml *found = profiles ? op_yaml_get(profiles, wanted) : NULL;
    if (found && found->kind == OP_YAML_MAP) {
        *ret = found;
        return OP_OK;
    }
    OP_CLEANUP(op_buf_release) struct op_buf list;
    op_buf_init(&list, 700);
    for (const struct op_yaml *n = profiles ? profiles->first : NULL; n; n = n->next)
        op_buf_addf(&list, "%s%s", n == profiles->first ? "; there are: " : ", ", n->key);
    return op_fail(err, OP_INVAL, "%s:%d: there is no profile '%.80s'%s", root->file,
                   profiles ? profiles->key_line : root->line, wanted,
                   list.len ? list.ptr : ", and no 'profiles' at all");
}

/* The document as the profile has it: its keys in place of those at the top, the others beside
 * them. */
static enum op_rc overlay(struct definer *d, const struct op_yaml **root, struct op_err *err)
{
    const struct op_yaml *profile = NULL;
    if (!d->bundle->profile[0])
        return OP_OK;
    if (find_profile(d, *root, &profile, err))
        return err->rc;
    size_t count = 0;
    struct op_yaml *all =
        op_arena_array(d->arena, (*root)->count + profile->count + 1, sizeof(*all));
    for (const struct op_yaml *n = (*root)->first; n; n = n->next) {
        const struct op_yaml *own =
            strcmp(n->key, "about") ? op_yaml_get(profile, n->key) : NULL;
        all[count++] = own ? *own : *n;
    }
    for (const struct op_yaml *n = profile->first; n; n = n->next)
        if (!op_yaml_get(*root, n->key))
            all[count++] = *n;
    for (size_t i = 0; i < count; i++)
        all[i].next = i + 1 < count ? &all[i + 1] : NULL;
    struct op_yaml *whole = op_arena_array(d->arena, 1, sizeof(*whole));
    *whole = **root;
    whole->first = all;
    whole->count = count;
    *root = whole;
    return OP_OK;
}

static enum op_rc define(struct definer *d, struct op_err *err)
{
    struct op_definition *def = d->def;
    struct op_str text = op_bundle_get(d->bundle, OP_BUNDLE_MAIN);
    const char *dir = d->bundle->dir;
    def->file = op_arena_printf(d->arena, "%s%s" OP_BUNDLE_MAIN, dir,
                                dir[0] && dir[strlen(dir) - 1] != '/' ? "/" : "");
    def->rounds = 1;
    def->reask_invalid = 1;
    def->reask_failed = 3;
    def->reask_truncated = 1;
    if (!text.ptr)
        return op_fail(err, OP_INVAL, "there is no %s", def->file);
    const struct op_yaml *root = NULL;
    if (op_yaml_parse(d->arena, def->file, text, &root, err))
        return err->rc;
    if (root->kind != OP_YAML_MAP)
        return op_fail(err, OP_INVAL, "%s:%d: must be a map that begins with `pipeline: NAME`",
                       def->file, root->line);
    if (overlay(d, &root, err))
        return err->rc;
    collect_params(d, op_yaml_get(root, "params"));
    if (op_definer_map(d, root, "", def, err))
        return err->rc;
    return op_definer_finish(d, err);
}

enum op_rc op_definition_parse(struct op_env *env, struct op_bundle *bundle,
                               struct op_definition *ret, struct op_err *err)
{
    OP_CLEANUP(op_definition_release) struct op_definition def = {0};
    struct definer d = {.env = env, .bundle = bundle, .def = &def, .arena = &def.arena};
    if (define(&d, err))
        return err->rc;
    *ret = def;
    def = (struct op_definition){0};
    return OP_OK;
}

size_t op_definition_check(struct op_env *env, struct op_bundle *bundle,
                           void (*fn)(void *arg, const char *message), void *arg)
{
    OP_CLEANUP(op_definition_release) struct op_definition def = {0};
    struct definer d = {
        .env = env, .bundle = bundle, .def = &def, .arena = &def.arena, .fn = fn, .arg = arg};
    struct op_err err = OP_ERR_INIT;
    if (define(&d, &err) && op_definer_note(&d, &err))
        d.mistakes++;
    return d.mistakes;
}

void op_definition_release(struct op_definition *def)
{
    op_arena_release(&def->arena);
    *def = (struct op_definition){0};
}

void op_definition_write_reference(struct op_buf *out)
{
    op_buf_addz(out,
                "# pipeline.yaml\n\n"
                "<!-- Made by tools/gen-reference from the key table in "
                "src/pipeline/definition_keys.inc. -->\n\n"
                "Every key there is; `*` stands for a name that you choose, or for the items "
                "of a list. A text that is one\nword ending in `.md`, `.txt`, `.mustache`, "
                "`.xml`, `.sql` or `.json` names a file of the pipeline's folder.\n\n"
                "| key | value | meaning |\n|---|---|---|\n");
    for (size_t i = 0; i < OP_COUNT(keys); i++)
        op_buf_addf(out, "| `%s` | %s | %s |\n", keys[i].path, keys[i].type, keys[i].help);
}
