/* SPDX-License-Identifier: MIT */
#include "pipeline/prices.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "pipeline/yaml.h"

static const char *const row_keys[] = {"model",    "provider", "as_of", "max_prompt",
                                       "realtime", "batch",    NULL};

/* In the order of enum op_token_kind. */
static const char *const kind_keys[] = {"input", "write_5m", "write_1h",
                                        "read",  "output",   NULL};

/* --- keys ----------------------------------------------------------------------------------- */

static enum op_rc check_keys(const struct op_yaml *map, const char *const *known,
                             const char *what, struct op_err *err)
{
    if (map->kind != OP_YAML_MAP)
        return op_fail(err, OP_INVAL, "%s:%d: %s must be a map, not %s", map->file, map->line,
                       what, op_yaml_kind_name(map));
    size_t count = 0;
    while (known[count])
        count++;
    for (const struct op_yaml *child = map->first; child; child = child->next) {
        bool ok = false;
        for (size_t i = 0; i < count; i++)
            ok = ok || strcmp(child->key, known[i]) == 0;
        if (ok)
            continue;
        const char *near = op_str_nearest(child->key, known, count);
        return op_fail(err, OP_INVAL, "%s:%d: unknown key '%s' in %s%s%s%s", child->file,
                       child->key_line, child->key, what, near ? " (did you mean '" : "",
                       near ? near : "", near ? "'?)" : "");
    }
    return OP_OK;
}

static enum op_rc need(const struct op_yaml *map, const char *key, const char *mend,
                       const struct op_yaml **ret, struct op_err *err)
{
    const struct op_yaml *node = op_yaml_get(map, key);
    if (!node || op_yaml_is_null(node))
        return op_fail(err, OP_INVAL, "%s:%d: a price has no '%s'; %s", map->file, map->line,
                       key, mend);
    *ret = node;
    return OP_OK;
}

static enum op_rc need_text(const struct op_yaml *map, const char *key, const char *mend,
                            const char **ret, struct op_err *err)
{
    const struct op_yaml *node;
    enum op_rc rc = need(map, key, mend, &node, err);
    return rc ? rc : op_yaml_text(node, ret, err);
}

/* --- amounts -------------------------------------------------------------------------------- */

/* Dollars per million tokens and micro-dollars per million tokens differ by the factor that
 * op_str_microusd applies, so the text is read exactly or refused. */
static enum op_rc read_amount(const struct op_yaml *node, int64_t *ret, struct op_err *err)
{
    if (node->kind == OP_YAML_SCALAR &&
        op_str_microusd((struct op_str){node->text, node->len}, ret))
        return OP_OK;
    return op_fail(
        err, OP_INVAL,
        "%s:%d: '%s' must be US dollars per million tokens, such as 2.50, with at most "
        "six decimals%s%s%s",
        node->file, node->line, node->key, *node->text ? ", not '" : "", node->text,
        *node->text ? "'" : "");
}

static enum op_rc read_amounts(const struct op_yaml *row, const char *key,
                               int64_t ret[OP_TOKEN_KIND_COUNT], struct op_err *err)
{
    const struct op_yaml *map;
    enum op_rc rc = need(row, key, "write {input: ..., output: ...}", &map, err);
    if (!rc)
        rc = check_keys(map, kind_keys, key, err);
    if (rc)
        return rc;
    for (int kind = 0; kind < OP_TOKEN_KIND_COUNT; kind++) {
        const struct op_yaml *node = op_yaml_get(map, kind_keys[kind]);
        if (node) {
            rc = read_amount(node, &ret[kind], err);
            if (rc)
                return rc;
            continue;
        }
        if (kind == OP_TOKEN_INPUT || kind == OP_TOKEN_OUTPUT)
            return op_fail(err, OP_INVAL, "%s:%d: '%s' has no '%s'; give it, 0 when it is free",
                           map->file, map->line, key, kind_keys[kind]);
        /* Where caching has no price of its own, cached tokens are billed as input. */
        ret[kind] = ret[OP_TOKEN_INPUT];
    }
    return OP_OK;
}

/* --- rows ----------------------------------------------------------------------------------- */

struct loading {
    struct op_prices *prices;
    size_t room;
    struct op_map seen; /* provider, model and tier -> line */
};

static enum op_rc read_date(const struct op_yaml *row, char ret[11], struct op_err *err)
{
    const char *text;
    enum op_rc rc =
        need_text(row, "as_of", "write the day it was read, such as 2026-11-20", &text, err);
    if (rc)
        return rc;
    char full[32];
    int64_t ms;
    snprintf(full, sizeof(full), "%.10sT00:00:00Z", text);
    if (strlen(text) != 10 || !op_time_parse(op_str_from(full), &ms)) {
        const struct op_yaml *node = op_yaml_get(row, "as_of");
        return op_fail(err, OP_INVAL,
                       "%s:%d: 'as_of' must be a day such as 2026-11-20, not '%s'", node->file,
                       node->line, text);
    }
    memcpy(ret, text, 11);
    return OP_OK;
}

static enum op_rc read_tier(const struct op_yaml *row, int64_t *ret, struct op_err *err)
{
    const struct op_yaml *node = op_yaml_get(row, "max_prompt");
    *ret = INT64_MAX;
    if (!node)
        return OP_OK;
    enum op_rc rc = op_yaml_int(node, ret, err);
    if (!rc && *ret < 1)
        return op_fail(err, OP_INVAL,
                       "%s:%d: 'max_prompt' must be at least 1 token; leave it out "
                       "for a price without a limit",
                       node->file, node->line);
    return rc;
}

static enum op_rc add_row(struct loading *l, const struct op_yaml *node, struct op_price row,
                          struct op_err *err)
{
    enum op_rc rc = op_yaml_text(node, &row.model, err);
    if (rc)
        return rc;
    const char *star = strchr(row.model, '*');
    if (!*row.model || star == row.model || (star && star[1]))
        return op_fail(
            err, OP_INVAL,
            "%s:%d: '%s' is no model; write an id, or the beginning of ids and one '*' "
            "at the end",
            node->file, node->line, row.model);
    OP_CLEANUP(op_mem_freep)
    char *name =
        op_mem_printf("%s\n%s\n%lld", row.provider, row.model, (long long)row.max_prompt);
    int64_t line;
    if (!op_map_add(&l->seen, op_str_from(name), node->line, &line))
        return op_fail(
            err, OP_INVAL,
            "%s:%d: %s has a price for prompts of this length already, in line %lld; "
            "remove one of them",
            node->file, node->line, row.model, (long long)line);
    struct op_price_list *list = &l->prices->list;
    if (list->count == l->room) {
        l->room = l->room ? 2 * l->room : 64;
        list->rows = op_mem_realloc(list->rows, l->room * sizeof(*list->rows));
    }
    list->rows[list->count++] = row;
    return OP_OK;
}

static enum op_rc read_row(struct loading *l, const struct op_yaml *node, struct op_err *err)
{
    static const char mend[] = "name the model id, or a list of ids";
    struct op_price row = {0};
    const struct op_yaml *model;
    enum op_rc rc = check_keys(node, row_keys, "a price", err);
    if (!rc)
        rc = need(node, "model", mend, &model, err);
    if (!rc)
        rc = need_text(node, "provider", "name it, such as anthropic", &row.provider, err);
    if (!rc)
        rc = read_date(node, row.as_of, err);
    if (!rc)
        rc = read_tier(node, &row.max_prompt, err);
    if (!rc)
        rc = read_amounts(node, "realtime", row.realtime, err);
    if (!rc)
        rc = read_amounts(node, "batch", row.batch, err);
    if (rc)
        return rc;
    if (model->kind != OP_YAML_LIST)
        return add_row(l, model, row, err);
    if (model->count == 0)
        return op_fail(err, OP_INVAL, "%s:%d: 'model' is an empty list; %s", model->file,
                       model->line, mend);
    for (const struct op_yaml *id = model->first; !rc && id; id = id->next)
        rc = add_row(l, id, row, err);
    return rc;
}

static enum op_rc parse(struct op_prices *prices, struct op_err *err)
{
    const struct op_yaml *root;
    enum op_rc rc = op_yaml_parse(&prices->arena, prices->file, prices->text, &root, err);
    if (rc)
        return rc;
    if (root->kind != OP_YAML_LIST || root->count == 0)
        return op_fail(err, OP_INVAL, "%s:%d: a price list is a list of prices, not %s",
                       prices->file, root->line,
                       root->count ? op_yaml_kind_name(root) : "nothing");
    struct loading l = {.prices = prices};
    for (const struct op_yaml *row = root->first; !rc && row; row = row->next)
        rc = read_row(&l, row, err);
    op_map_release(&l.seen);
    return rc;
}

enum op_rc op_prices_read(const char *file, struct op_str text, struct op_prices **ret,
                          struct op_err *err)
{
    OP_CLEANUP(op_prices_freep) struct op_prices *prices = op_mem_alloc(sizeof(*prices));
    prices->file = op_arena_strdup(&prices->arena, op_str_from(file));
    prices->text = (struct op_str){op_arena_strdup(&prices->arena, text), text.len};
    op_sha256_hex(text.ptr, text.len, prices->sha256);
    enum op_rc rc = parse(prices, err);
    if (rc)
        return rc;
    *ret = OP_TAKE(prices);
    return OP_OK;
}

/* --- files ---------------------------------------------------------------------------------- */

static enum op_rc load_file(struct op_env *env, const char *path, struct op_prices **ret,
                            struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, OP_YAML_MAX_BYTES);
    enum op_rc rc = op_io_read_file(env, path, &text, err);
    if (rc) {
        op_err_wrap(err, "no price list");
        return rc;
    }
    return op_prices_read(path, op_buf_str(&text), ret, err);
}

/* The folder the program lies in; NULL when the system does not tell. */
static char *program_dir(void)
{
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path));
    if (len <= 0 || (size_t)len >= sizeof(path))
        return NULL;
    OP_CLEANUP(op_mem_freep) char *program = op_mem_strndup(path, (size_t)len);
    return op_io_dirname(program);
}

/* Beside the build folder of a source tree, or where it is installed. */
static enum op_rc load_default(struct op_env *env, struct op_prices **ret, struct op_err *err)
{
    static const char *const places[] = {"../prices.yaml", "../share/offpeak/prices.yaml"};
    OP_CLEANUP(op_mem_freep) char *dir = program_dir();
    for (size_t i = 0; dir && i < OP_COUNT(places); i++) {
        OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, places[i]);
        struct op_err missing = OP_ERR_INIT;
        enum op_rc rc = load_file(env, path, ret, &missing);
        if (rc == OP_NOTFOUND)
            continue;
        if (rc)
            *err = missing;
        return rc;
    }
    return op_fail(err, OP_NOTFOUND,
                   "no price list: there is neither %s nor %s in %s; name one with --prices or "
                   "in " OP_PRICES_ENV,
                   places[0], places[1], dir ? dir : "the program's folder");
}

enum op_rc op_prices_load(struct op_env *env, const char *path, struct op_prices **ret,
                          struct op_err *err)
{
    const char *named = path ? path : getenv(OP_PRICES_ENV);
    return named && *named ? load_file(env, named, ret, err) : load_default(env, ret, err);
}

void op_prices_free(struct op_prices *prices)
{
    if (!prices)
        return;
    op_mem_free(prices->list.rows);
    op_arena_release(&prices->arena);
    op_mem_free(prices);
}

void op_prices_freep(struct op_prices **prices)
{
    op_prices_free(*prices);
    *prices = NULL;
}
