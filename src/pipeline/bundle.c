/* SPDX-License-Identifier: MIT */
#include "pipeline/bundle.h"

#include <stdlib.h>

#include "base/io.h"
#include "base/json.h"
#include "base/json_out.h"
#include "base/mem.h"

void op_bundle_init(struct op_bundle *bundle)
{
    *bundle = (struct op_bundle){0};
    bundle->dir = op_mem_strdup("");
    bundle->profile = op_mem_strdup("");
}

void op_bundle_set_profile(struct op_bundle *bundle, const char *profile)
{
    op_mem_free(bundle->profile);
    bundle->profile = op_mem_strdup(profile ? profile : "");
}

void op_bundle_release(struct op_bundle *bundle)
{
    op_arena_release(&bundle->arena);
    op_map_release(&bundle->index);
    op_mem_free(bundle->files);
    op_mem_free(bundle->dir);
    op_mem_free(bundle->profile);
    *bundle = (struct op_bundle){0};
}

void op_bundle_put(struct op_bundle *bundle, const char *name, struct op_str text)
{
    int64_t at = 0;
    struct op_str copy = {op_arena_strdup(&bundle->arena, text), text.len};
    if (!op_map_add(&bundle->index, op_str_from(name), (int64_t)bundle->count, &at)) {
        bundle->files[at].text = copy;
        return;
    }
    if (bundle->count == bundle->room) {
        bundle->room = bundle->room ? bundle->room * 2 : 8;
        bundle->files = op_mem_realloc(bundle->files, bundle->room * sizeof(bundle->files[0]));
    }
    bundle->files[bundle->count++] = (struct op_bundle_file){
        .name = op_arena_strdup(&bundle->arena, op_str_from(name)), .text = copy};
}

struct op_str op_bundle_get(const struct op_bundle *bundle, const char *name)
{
    int64_t at = 0;
    if (!op_map_get(&bundle->index, op_str_from(name), &at))
        return OP_STR_NULL;
    return bundle->files[at].text;
}

static bool name_is_inside(const char *name)
{
    if (name[0] == '/' || name[0] == '\0' || strchr(name, '\\'))
        return false;
    struct op_str rest = op_str_from(name);
    while (rest.ptr)
        if (op_str_is(op_str_cut(&rest, '/'), ".."))
            return false;
    return true;
}

static enum op_rc check_text(const char *path, struct op_str text, struct op_err *err)
{
    size_t good = op_utf8_valid_len(text.ptr, text.len);
    const char *nul = memchr(text.ptr, '\0', good);
    if (nul)
        good = (size_t)(nul - text.ptr);
    if (good == text.len)
        return OP_OK;
    int line = 1;
    for (size_t i = 0; i < good; i++)
        line += text.ptr[i] == '\n';
    return op_fail(err, OP_INVAL, "%s:%d: the file is not UTF-8 text", path, line);
}

/* Reads dir/name into the bundle. OP_NOTFOUND (err set) when there is no such file. */
static enum op_rc read_into(struct op_env *env, struct op_bundle *bundle, const char *name,
                            struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(bundle->dir, name);
    OP_CLEANUP(op_buf_release) struct op_buf buf;
    op_buf_init(&buf, OP_BUNDLE_FILE_MAX);
    if (op_io_read_file(env, path, &buf, err))
        return err->rc;
    struct op_str text = op_str_skip_bom(op_buf_str(&buf));
    if (check_text(path, text, err))
        return err->rc;
    op_bundle_put(bundle, name, text);
    return OP_OK;
}

enum op_rc op_bundle_open(struct op_env *env, const char *dir, struct op_bundle *ret,
                          struct op_err *err)
{
    OP_CLEANUP(op_bundle_release) struct op_bundle bundle;
    op_bundle_init(&bundle);
    op_mem_free(bundle.dir);
    bundle.dir = op_mem_strdup(dir[0] ? dir : ".");
    struct op_err cause = OP_ERR_INIT;
    if (read_into(env, &bundle, OP_BUNDLE_MAIN, &cause))
        return op_fail(err, OP_INVAL, "%s", cause.msg);
    *ret = bundle;
    bundle = (struct op_bundle){0};
    return OP_OK;
}

enum op_rc op_bundle_need(struct op_env *env, struct op_bundle *bundle, const char *name,
                          const char *place, struct op_str *ret, struct op_err *err)
{
    struct op_str text = op_bundle_get(bundle, name);
    if (text.ptr) {
        *ret = text;
        return OP_OK;
    }
    if (!name_is_inside(name))
        return op_fail(err, OP_INVAL,
                       "%s: '%s' is outside the pipeline's folder; put the file into it", place,
                       name);
    if (bundle->frozen || !bundle->dir[0])
        return op_fail(err, OP_INVAL, "%s: there is no file '%s' in this pipeline", place,
                       name);
    struct op_err cause = OP_ERR_INIT;
    if (read_into(env, bundle, name, &cause))
        return op_fail(err, OP_INVAL, "%s: %s", place, cause.msg);
    *ret = op_bundle_get(bundle, name);
    return OP_OK;
}

static int compare_files(const void *a, const void *b)
{
    const struct op_bundle_file *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

void op_bundle_write(const struct op_bundle *bundle, struct op_buf *out)
{
    OP_CLEANUP(op_mem_freep)
    const struct op_bundle_file **sorted = op_mem_array(bundle->count + 1, sizeof(*sorted));
    for (size_t i = 0; i < bundle->count; i++)
        sorted[i] = &bundle->files[i];
    qsort(sorted, bundle->count, sizeof(*sorted), compare_files);

    struct op_json_out json;
    op_json_out_init(&json, out, 0);
    op_json_out_object(&json);
    op_json_out_kv_text(&json, "dir", bundle->dir);
    if (bundle->profile[0])
        op_json_out_kv_text(&json, "profile", bundle->profile);
    op_json_out_name(&json, "files");
    op_json_out_object(&json);
    for (size_t i = 0; i < bundle->count; i++)
        op_json_out_kv_str(&json, sorted[i]->name, sorted[i]->text);
    op_json_out_end_object(&json);
    op_json_out_end_object(&json);
}

enum op_rc op_bundle_read(struct op_str json, struct op_bundle *ret, struct op_err *err)
{
    OP_CLEANUP(op_json_parser_freep) struct op_json_parser *parser = op_json_parser_new();
    OP_CLEANUP(op_bundle_release) struct op_bundle bundle;
    op_bundle_init(&bundle);
    struct op_json root;
    if (op_json_parse(parser, json.ptr, json.len, false, &root, err))
        return op_err_wrap(err, "the stored pipeline is damaged");
    struct op_str dir = op_json_str(op_json_get(root, "dir"));
    struct op_json files = op_json_get(root, "files");
    if (!dir.ptr || !op_json_is(files, OP_JSON_OBJECT))
        return op_fail(err, OP_INVAL, "the stored pipeline is damaged: no dir or no files");
    op_mem_free(bundle.dir);
    bundle.dir = op_mem_strndup(dir.ptr, dir.len);
    bundle.frozen = true;
    struct op_str profile = op_json_str(op_json_get(root, "profile"));
    if (profile.ptr) {
        op_mem_free(bundle.profile);
        bundle.profile = op_mem_strndup(profile.ptr, profile.len);
    }
    struct op_json_iter it = op_json_iter(files);
    while (op_json_next(&it)) {
        OP_CLEANUP(op_mem_freep) char *name = op_mem_strndup(it.name.ptr, it.name.len);
        struct op_str text = op_json_str(it.value);
        if (!text.ptr)
            return op_fail(err, OP_INVAL,
                           "the stored pipeline is damaged: file '%s' is no text", name);
        op_bundle_put(&bundle, name, text);
    }
    *ret = bundle;
    bundle = (struct op_bundle){0};
    return OP_OK;
}
