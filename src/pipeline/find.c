/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "pipeline/bundle.h"

#define MAX_FOLDERS 32
#define MAX_PATH    4096

struct folders {
    char *at[MAX_FOLDERS];
    size_t count;
};

static void folders_release(struct folders *folders)
{
    for (size_t i = 0; i < folders->count; i++)
        op_mem_free(folders->at[i]);
    folders->count = 0;
}

/* Takes path over. */
static void folders_add(struct folders *folders, char *path)
{
    if (folders->count < MAX_FOLDERS)
        folders->at[folders->count++] = path;
    else
        op_mem_free(path);
}

/* Where pipelines may lie that are called by name, in the order in which they are searched. */
static void folders_fill(struct folders *folders)
{
    folders_add(folders, op_mem_strdup("pipelines"));
    struct op_str list = op_str_from(getenv("OFFPEAK_PIPELINES"));
    while (list.ptr) {
        struct op_str one = op_str_cut(&list, ':');
        if (one.len > 0)
            folders_add(folders, op_mem_strndup(one.ptr, one.len));
    }
    char exe[MAX_PATH];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n <= 0)
        return;
    exe[n] = '\0';
    OP_CLEANUP(op_mem_freep) char *bin = op_io_dirname(exe);
    OP_CLEANUP(op_mem_freep) char *prefix = op_io_dirname(bin);
    folders_add(folders, op_io_join(prefix, "pipelines"));
    folders_add(folders, op_io_join(prefix, "share/offpeak/pipelines"));
}

static bool is_file(struct op_env *env, const char *path)
{
    int fd = env->ops->open(env, path, O_RDONLY, 0);
    if (fd < 0)
        return false;
    env->ops->close(env, fd);
    return true;
}

static bool is_pipeline(struct op_env *env, const char *dir)
{
    OP_CLEANUP(op_mem_freep) char *path = op_io_join(dir, OP_BUNDLE_MAIN);
    return is_file(env, path);
}

void op_pipelines_each(struct op_env *env,
                       void (*fn)(void *arg, const char *name, const char *dir), void *arg)
{
    OP_CLEANUP(folders_release) struct folders folders = {0};
    OP_CLEANUP(op_map_release) struct op_map seen = {0};
    folders_fill(&folders);
    for (size_t f = 0; f < folders.count; f++) {
        size_t count = 0;
        char **names = op_io_names(folders.at[f], &count);
        for (size_t i = 0; i < count; i++) {
            OP_CLEANUP(op_mem_freep) char *dir = op_io_join(folders.at[f], names[i]);
            if (is_pipeline(env, dir) && op_map_add(&seen, op_str_from(names[i]), 0, NULL))
                fn(arg, names[i], dir);
            op_mem_free(names[i]);
        }
        op_mem_free(names);
    }
}

static void collect_name(void *arg, const char *name, const char *dir)
{
    (void)dir;
    op_map_add(arg, op_str_from(name), 0, NULL);
}

static enum op_rc fail_unknown(struct op_env *env, const char *name, struct op_err *err)
{
    OP_CLEANUP(op_map_release) struct op_map known = {0};
    OP_CLEANUP(folders_release) struct folders folders = {0};
    OP_CLEANUP(op_buf_release) struct op_buf text;
    op_buf_init(&text, 900);
    op_pipelines_each(env, collect_name, &known);
    folders_fill(&folders);

    OP_CLEANUP(op_mem_freep)
    const char **names = op_mem_array(known.count + 1, sizeof(*names));
    for (size_t i = 0; i < known.count; i++)
        names[i] = known.entries[i].key;
    const char *near = op_str_nearest(name, names, known.count);
    if (near)
        op_buf_addf(&text, " (did you mean '%s'?)", near);
    op_buf_addf(&text, "; looked for %s/%s", name, OP_BUNDLE_MAIN);
    for (size_t i = 0; i < folders.count && !strchr(name, '/'); i++)
        op_buf_addf(&text, ", in %s", folders.at[i]);
    for (size_t i = 0; i < known.count; i++)
        op_buf_addf(&text, "%s%s", i ? ", " : "; there are: ", names[i]);
    return op_fail(err, OP_NOTFOUND, "there is no pipeline '%s'%s", name, text.ptr);
}

enum op_rc op_pipeline_find(struct op_env *env, const char *name, char **ret_dir,
                            struct op_err *err)
{
    if (name[0] && is_pipeline(env, name)) {
        *ret_dir = op_mem_strdup(name);
        return OP_OK;
    }
    struct op_str path = op_str_from(name);
    if ((op_str_ends(path, "/" OP_BUNDLE_MAIN) || op_str_is(path, OP_BUNDLE_MAIN)) &&
        is_file(env, name)) {
        *ret_dir = op_io_dirname(name);
        return OP_OK;
    }
    OP_CLEANUP(folders_release) struct folders folders = {0};
    folders_fill(&folders);
    for (size_t i = 0; i < folders.count && !strchr(name, '/') && name[0]; i++) {
        OP_CLEANUP(op_mem_freep) char *dir = op_io_join(folders.at[i], name);
        if (is_pipeline(env, dir)) {
            *ret_dir = OP_TAKE(dir);
            return OP_OK;
        }
    }
    return fail_unknown(env, name, err);
}
