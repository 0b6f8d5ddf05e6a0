/* SPDX-License-Identifier: MIT */
#include "pipeline/chain.h"

#include <string.h>

#include "base/arena.h"
#include "base/mem.h"

/* --- texts ------------------------------------------------------------------------------------ */

static void list_providers(struct op_buf *list)
{
    const struct op_provider_ops *const *all = op_providers();
    for (size_t i = 0; all[i]; i++) {
        op_buf_addf(list, "%s%s", i ? ", " : "", all[i]->name);
        if (all[i]->model_prefixes[0])
            op_buf_addf(list, " (%s...)", all[i]->model_prefixes[0]);
    }
}

static enum op_rc no_provider(struct op_str name, const char *place, struct op_err *err)
{
    OP_CLEANUP(op_buf_release) struct op_buf list;
    op_buf_init(&list, 1000);
    list_providers(&list);
    return op_fail(err, OP_INVAL, "%s: there is no provider '%.*s'; there are: %s", place,
                   name.len > 80 ? 80 : (int)name.len, name.ptr, list.ptr);
}

static enum op_rc find_named(struct op_str name, const char *place,
                             const struct op_provider_ops **ret, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *text = op_mem_strndup(name.ptr, name.len);
    *ret = op_provider_find(text);
    return *ret ? OP_OK : no_provider(name, place, err);
}

/* "PROVIDER=MODEL", or a model whose name tells whose it is. */
struct entry {
    const struct op_provider_ops *provider;
    struct op_str model;
};

static enum op_rc read_entry(struct op_str text, const char *place, struct entry *ret,
                             struct op_err *err)
{
    struct op_str model = text;
    struct op_str name = op_str_trim(op_str_cut(&model, '='));
    if (model.ptr) {
        *ret = (struct entry){.model = op_str_trim(model)};
        return find_named(name, place, &ret->provider, err);
    }
    OP_CLEANUP(op_mem_freep) char *plain = op_mem_strndup(name.ptr, name.len);
    *ret = (struct entry){.provider = op_provider_for_model(plain), .model = name};
    if (ret->provider)
        return OP_OK;
    return op_fail(err, OP_INVAL,
                   "%s: the model '%.80s' does not tell its provider: write PROVIDER=%.80s",
                   place, plain, plain);
}

static bool is_list(const char *model)
{
    return model && strpbrk(model, "=,");
}

/* --- chains ----------------------------------------------------------------------------------- */

struct one {
    const struct op_provider_ops *providers[OP_CHAIN_MAX];
    size_t count;
};

static enum op_rc add(struct one *chain, const struct op_provider_ops *provider,
                      const char *place, struct op_err *err)
{
    for (size_t i = 0; i < chain->count; i++)
        if (chain->providers[i] == provider)
            return op_fail(err, OP_INVAL, "%s: the provider %s is named twice", place,
                           provider->name);
    if (chain->count == OP_CHAIN_MAX)
        return op_fail(err, OP_INVAL, "%s: a chain has at most %d providers", place,
                       OP_CHAIN_MAX);
    chain->providers[chain->count++] = provider;
    return OP_OK;
}

static enum op_rc read_names(const char *text, const char *place, struct one *ret,
                             struct op_err *err)
{
    struct op_str rest = op_str_from(text);
    while (rest.len) {
        struct op_str name = op_str_trim(op_str_cut(&rest, ','));
        const struct op_provider_ops *provider = NULL;
        if (name.len && /* an empty param leaves a gap */
            (find_named(name, place, &provider, err) || add(ret, provider, place, err)))
            return err->rc;
    }
    return ret->count ? OP_OK : no_provider(OP_STR(""), place, err);
}

/* Without names the models say who is asked, in their order. */
static enum op_rc read_models(const char *text, const char *place, struct one *ret,
                              struct op_err *err)
{
    struct op_str rest = op_str_from(text);
    while (rest.len) {
        struct op_str one = op_str_trim(op_str_cut(&rest, ','));
        struct entry entry;
        if (one.len &&
            (read_entry(one, place, &entry, err) || add(ret, entry.provider, place, err)))
            return err->rc;
    }
    return ret->count ? OP_OK : op_fail(err, OP_INVAL, "%s: 'model' names no model", place);
}

static enum op_rc chain_of(const struct op_request_def *request, const char *names,
                           const char *model, struct one *ret, struct op_err *err)
{
    *ret = (struct one){0};
    if (names)
        return read_names(names, request->place, ret, err);
    if (is_list(model))
        return read_models(model, request->place, ret, err);
    const struct op_provider_ops *provider = model ? op_provider_for_model(model) : NULL;
    if (provider)
        return add(ret, provider, request->place, err);
    OP_CLEANUP(op_buf_release) struct op_buf list;
    op_buf_init(&list, 1000);
    list_providers(&list);
    if (model)
        return op_fail(
            err, OP_INVAL,
            "%s: the model '%.80s' does not tell its provider: add 'provider'; there "
            "are: %s",
            request->place, model, list.ptr);
    return op_fail(
        err, OP_INVAL,
        "%s: request '%s' names no model: add 'model' or give --model; the providers "
        "are: %s",
        request->place, request->name, list.ptr);
}

static void write_names(const struct one *chain, struct op_buf *out)
{
    op_buf_init(out, 1000);
    for (size_t i = 0; i < chain->count; i++)
        op_buf_addf(out, "%s%s", i ? ", " : "", chain->providers[i]->name);
}

static enum op_rc need_same(const struct op_definition *def, size_t at, const struct one *first,
                            const struct one *one, struct op_err *err)
{
    if (first->count == one->count && !memcmp(first->providers, one->providers,
                                              one->count * sizeof(struct op_provider_ops *)))
        return OP_OK;
    OP_CLEANUP(op_buf_release) struct op_buf a;
    OP_CLEANUP(op_buf_release) struct op_buf b;
    write_names(first, &a);
    write_names(one, &b);
    return op_fail(err, OP_INVAL,
                   "%s: request '%s' goes to %s and request '%s' to %s: where one may "
                   "move on to another provider, all requests have the same chain",
                   def->requests[at].place, def->requests[0].name, a.ptr,
                   def->requests[at].name, b.ptr);
}

static enum op_rc rendered(const struct op_params *params, const char *text, const char *place,
                           struct op_arena *arena, const char **ret, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *value = NULL;
    *ret = NULL;
    if (!text)
        return OP_OK;
    enum op_rc rc = op_params_render(params, text, place, &value, err);
    if (!rc && value[0])
        *ret = op_arena_strdup(arena, op_str_from(value));
    return rc;
}

static enum op_rc read_one(const struct op_definition *def, size_t at,
                           const struct op_params *params, const char *names, const char *model,
                           struct one *ret, struct op_err *err)
{
    OP_CLEANUP(op_arena_release) struct op_arena arena = {0};
    const struct op_request_def *request = &def->requests[at];
    const char *said = NULL, *own = NULL;
    *ret = (struct one){0};
    if (names)
        return read_names(names, "--provider", ret, err);
    if (rendered(params, request->provider, request->place, &arena, &said, err) ||
        rendered(params, request->model, request->place, &arena, &own, err))
        return err->rc;
    return chain_of(request, said, model ? model : own, ret, err);
}

static enum op_rc need_movable(const struct op_request_def *request, struct op_err *err)
{
    return request->raw ? op_fail(err, OP_INVAL,
                                  "%s: request '%s' is raw: ready lines are in the form of one "
                                  "provider, so they cannot move on to another; name one",
                                  request->place, request->name)
                        : OP_OK;
}

enum op_rc op_chain_read(const struct op_definition *def, const struct op_params *params,
                         const char *names, const char *model, struct op_chain *ret,
                         struct op_err *err)
{
    struct one first = {0};
    size_t count = def->request_count;
    *ret = (struct op_chain){.count = 1, .requests = count};
    ret->of = op_mem_array(count * OP_CHAIN_MAX + 1, sizeof(*ret->of));
    for (size_t i = 0; i < count; i++) {
        struct one one;
        if (read_one(def, i, params, names, model, &one, err))
            return err->rc;
        if (i == 0)
            first = one;
        bool chained = first.count > 1 || one.count > 1;
        if (chained &&
            (need_same(def, i, &first, &one, err) || need_movable(&def->requests[i], err)))
            return err->rc;
        ret->count = first.count;
        for (size_t at = 0; at < one.count; at++)
            ret->of[at * count + i] = one.providers[at];
    }
    return OP_OK;
}

void op_chain_release(struct op_chain *chain)
{
    op_mem_free(chain->of);
    *chain = (struct op_chain){0};
}

/* --- models ----------------------------------------------------------------------------------- */

enum op_rc op_chain_model(const char *text, const struct op_provider_ops *provider,
                          bool is_chained, const char *place, struct op_arena *arena,
                          const char **ret, struct op_err *err)
{
    *ret = text;
    if (!text || (!is_chained && !is_list(text)))
        return OP_OK;
    struct op_str rest = op_str_from(text);
    while (rest.len) {
        struct op_str one = op_str_trim(op_str_cut(&rest, ','));
        struct entry entry;
        if (!one.len)
            continue;
        if (read_entry(one, place, &entry, err))
            return err->rc;
        if (entry.provider != provider || !entry.model.len)
            continue;
        *ret = op_arena_strdup(arena, entry.model);
        return OP_OK;
    }
    return op_fail(err, OP_INVAL,
                   "%s: '%.200s' names no model of %s, which may be asked too: add %s=MODEL",
                   place, text, provider->name, provider->name);
}
