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

/* Every key: path, type, help, reader, field. A row without reader documents a key that is read
 * by the row above it. */
/* clang-format off */
#define KEYS(X)                                                                                                                                          \
    X("pipeline", "name", "The pipeline's name: small letters, digits and `-`. Required.", op_read_name, DEF(name))                                      \
    X("about", "text", "What it does, in one line, for lists and help.", op_read_string, DEF(about))                                                     \
    X("params", "map", "The pipeline's parameters by name; each becomes a command-line option and can be used as `{{name}}` in templates and `:name` in SQL.", op_read_params, 0) \
    X("params.*.about", "text", "One line of help.", op_read_string, PAR(about))                                                                         \
    X("params.*.required", "true or false", "The option must be given (default: false).", op_read_flag, PAR(required))                                   \
    X("params.*.type", "word", "`text` (the default), `integer`, `number`, `boolean`, or `path`: made absolute, so that a job resumes from anywhere.", op_read_type, PAR(type)) \
    X("params.*.default", "template", "The value when the option is not given; may use the params above it.", op_read_string, PAR(fallback))              \
    X("params.*.env", "name", "Environment variable that gives the value when the option does not.", op_read_string, PAR(env))                           \
    X("params.*.aliases", "list of names", "Further names of the option.", op_read_words, PAR(aliases))                                                  \
    X("params.*.values", "list of texts", "The values allowed (default: any).", op_read_words, PAR(values))                                              \
    X("inputs", "map", "The tables that are read, by name.", op_read_inputs, 0)                                                                          \
    X("inputs.*.KIND", "template", "What to read: the kind of source (`csv`, `jsonl`, …) and, behind it, the path or URL. Options of the kind stand beside it.", NULL, 0) \
    X("inputs.*.optional", "true or false", "A missing file is an empty table (default: false).", op_read_flag, INP(optional))                           \
    X("inputs.*.columns", "list of names", "The columns of an optional input, for when its file is missing; with `jsonl`, the members to take.", op_read_words, INP(columns))               \
    X("inputs.*.on_error", "word", "`fail` (the default) or `skip`: count malformed rows, say them, and go on.", op_read_on_error, INP(skip_bad))        \
    X("require", "list", "Preconditions, tested before anything is asked.", op_read_require, 0)                                                          \
    X("require.*.sql", "SELECT or FILE.sql", "Holds when its first row begins with a true value.", op_read_sql, NEED(sql))                               \
    X("require.*.message", "template", "What to say when it does not; may use the params and the columns of the row.", op_read_prompt, NEED(message))    \
    X("records", "SELECT or FILE.sql", "Selects the records from the inputs; its column `key` names each one. Without it, the rows of the one input are the records.", op_read_sql, DEF(records)) \
    X("done", "SELECT or FILE.sql", "Selects the keys that need not be asked again.", op_read_sql, DEF(done))                                            \
    X("rounds", "whole number", "How often records are selected: after each round's answers are applied, what `done` does not yet name is asked (default: 1).", op_read_rounds, DEF(rounds)) \
    X("requests", "map", "What is asked of each record, by name. Required.", op_read_requests, 0)                                                        \
    X("requests.*.user", "Mustache or file", "The user prompt, over the record's columns and the params. Required, unless `raw`.", op_read_prompt, REQ(user)) \
    X("requests.*.system", "Mustache or file", "The system prompt.", op_read_prompt, REQ(system))                                                        \
    X("requests.*.answer", "JSON Schema, inline or file", "The form an answer must have; without it, any text is an answer.", op_read_schema, REQ(schema)) \
    X("requests.*.model", "template", "The model; `--model` overrides it.", op_read_template, REQ(model))                                                \
    X("requests.*.provider", "template", "The provider, where the model's name does not tell.", op_read_template, REQ(provider))                         \
    X("requests.*.max_tokens", "whole number or template", "The most tokens an answer may have (default: 4096).", op_read_count, REQ(max_tokens))        \
    X("requests.*.temperature", "number or template", "Sampling temperature (default: the model's).", op_read_number, REQ(temperature))                  \
    X("requests.*.effort", "template", "How hard the model thinks: `low` to `max` (default: the model's).", op_read_template, REQ(effort))               \
    X("requests.*.cache", "`5m`, `1h` or template", "Mark the system prompt for the provider's prompt cache.", op_read_cache, REQ(cache))                \
    X("requests.*.params", "map", "Further members of the request, as the provider's API names them; texts in it are templates over the params.", op_read_object, REQ(extra)) \
    X("requests.*.when", "column", "Ask this only of records where that column is true (default: of all).", op_read_column, REQ(when))                   \
    X("requests.*.raw", "true or false", "Each record's column `line` is a request in the provider's own batch form, sent as it is (default: false).", op_read_flag, REQ(raw)) \
    X("checks", "list", "SELECTs over an answer. Each row is a sentence that says what is wrong: the answer is invalid, and asked again with that list. An item is the SELECT itself, or a map.", op_read_checks, 0) \
    X("checks.*.sql", "SELECT or FILE.sql", "The SELECT.", op_read_sql, CHK(sql))                                                                        \
    X("checks.*.request", "name", "Only for answers to this request (default: to all).", op_read_string, CHK(request))                                   \
    X("warnings", "list", "As `checks`, for what is said and lived with.", op_read_warnings, 0)                                                          \
    X("outputs", "list", "Where rows are written.", op_read_outputs, 0)                                                                                  \
    X("outputs.*.KIND", "template", "Where to: the kind of sink (`csv`, `jsonl`, …) and, behind it, the path or URL. Names that are no params are columns of the row: one file per value. Options of the kind stand beside it.", NULL, 0) \
    X("outputs.*.rows", "SELECT or FILE.sql", "The rows, selected once per answer, batch or job. Required.", op_read_sql, OUT(rows))                     \
    X("outputs.*.key", "list of columns", "What a row replaces: the row with the same values here.", op_read_words, OUT(key))                            \
    X("outputs.*.on", "word", "When rows are selected: `answer` (the default: once per applied result), `batch` or `job` (at each change of state).", op_read_event, OUT(on)) \
    X("progress", "SELECT or FILE.sql", "Name and value pairs that `status` shows beside its own.", op_read_sql, DEF(progress))                          \
    X("display", "Mustache or file", "How `show` prints an answer to a person, over the answer's members.", op_read_prompt, DEF(display))                \
    X("batch", "map", "Limits of a batch, below the provider's own.", op_read_batch, 0)                                                                  \
    X("batch.requests", "whole number or template", "The most requests in one batch.", op_read_count, DEF(batch_requests))                               \
    X("batch.bytes", "whole number or template", "The most bytes in one batch.", op_read_count, DEF(batch_bytes))                                        \
    X("prime", "true or false", "Warm the prompt cache with a small request before the batch is sent (default: false).", op_read_flag, DEF(prime))       \
    X("reask", "map", "How often a request is bought again.", op_read_reask, 0)                                                                          \
    X("reask.invalid", "whole number", "Times an invalid answer is asked again, with the list of what is wrong (default: 1).", op_read_times, DEF(reask_invalid)) \
    X("reask.failed", "whole number", "Times an errored, expired or missing result is asked again (default: 3).", op_read_times, DEF(reask_failed))      \
    X("reask.truncated", "whole number", "Times a truncated answer is asked again, with more room (default: 1).", op_read_times, DEF(reask_truncated))
/* clang-format on */

#define KEY_DOC(path, type, help, reader, offset)    {path, type, help},
#define KEY_READER(path, type, help, reader, offset) {reader, offset},

static const struct op_definition_key keys[] = {KEYS(KEY_DOC)};
static const struct {
    op_reader_fn read;
    size_t offset;
} readers[] = {KEYS(KEY_READER)};

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
                "src/pipeline/definition.c. -->\n\n"
                "Every key there is; `*` stands for a name that you choose, or for the items "
                "of a list. A text that is one\nword ending in `.md`, `.txt`, `.mustache`, "
                "`.xml`, `.sql` or `.json` names a file of the pipeline's folder.\n\n"
                "| key | value | meaning |\n|---|---|---|\n");
    for (size_t i = 0; i < OP_COUNT(keys); i++)
        op_buf_addf(out, "| `%s` | %s | %s |\n", keys[i].path, keys[i].type, keys[i].help);
}
