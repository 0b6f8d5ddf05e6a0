/* SPDX-License-Identifier: MIT */
#include "sink/common.h"

#include <errno.h>
#include <fcntl.h>
#include <strings.h>

#include "base/mem.h"
#include "sink/frame.h"

/* Below this size a file is rewritten at every delivery. */
enum { CHEAP_BYTES = 8 * 1024 * 1024 };
enum { MAX_PATH = 3000, MAX_NAME = 240 }; /* the temporary name must fit 255 bytes */

enum op_rc op_sink_flag(const struct op_sink_config *config, const char *name, bool fallback,
                        bool *ret, struct op_err *err)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    const char *value = op_sink_option_get(config, name, NULL);
    if (!value) {
        *ret = fallback;
        return OP_OK;
    }
    for (size_t i = 0; i < OP_COUNT(yes); i++) {
        if (strcasecmp(value, yes[i]) == 0 || strcasecmp(value, no[i]) == 0) {
            *ret = strcasecmp(value, yes[i]) == 0;
            return OP_OK;
        }
    }
    return op_fail(err, OP_INVAL, "%s: option '%s' is true or false, not '%s'", config->place,
                   name, value);
}

static enum op_rc find_column(const struct op_sink_config *config, const char *what,
                              struct op_str name, size_t *ret, struct op_err *err)
{
    for (size_t i = 0; i < config->column_count; i++) {
        if (op_str_is(name, config->columns[i])) {
            *ret = i;
            return OP_OK;
        }
    }
    OP_CLEANUP(op_mem_freep) char *word = op_mem_strndup(name.ptr, name.len);
    const char *near = op_str_nearest(word, config->columns, config->column_count);
    return op_fail(err, OP_INVAL, "%s: '%s' names '%s', which is no column of 'rows'%s%s%s",
                   config->place, what, word, near ? "; did you mean '" : "", near ? near : "",
                   near ? "'?" : "");
}

enum op_rc op_sink_column_list(const struct op_sink_config *config, const char *option,
                               size_t **ret, size_t *ret_count, struct op_err *err)
{
    const char *text = op_sink_option_get(config, option, NULL);
    struct op_str rest = op_str_from(text);
    OP_CLEANUP(op_mem_freep) size_t *list = NULL;
    size_t count = 0;
    while (rest.ptr) {
        list = op_mem_realloc(list, (count + 1) * sizeof(*list));
        struct op_str name = op_str_trim(op_str_cut(&rest, ','));
        enum op_rc rc = find_column(config, option, name, &list[count++], err);
        if (rc)
            return rc;
    }
    *ret = OP_TAKE(list);
    *ret_count = count;
    return OP_OK;
}

enum op_rc op_sink_key_list(const struct op_sink_config *config, size_t **ret,
                            size_t *ret_count, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep)
    size_t *list = op_mem_array(config->key_count + 1, sizeof(*list));
    for (size_t i = 0; i < config->key_count; i++) {
        enum op_rc rc = find_column(config, "key", op_str_from(config->key[i]), &list[i], err);
        if (rc)
            return rc;
    }
    *ret = OP_TAKE(list);
    *ret_count = config->key_count;
    return OP_OK;
}

bool op_sink_is_identifier(struct op_str name, bool spaces)
{
    if (name.len == 0 || name.len > 63 || (name.ptr[0] >= '0' && name.ptr[0] <= '9'))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(c >= '0' && c <= '9') && !(spaces && c == ' '))
            return false;
    }
    return true;
}

static enum op_rc read_types(const struct op_sink_config *config, char **types,
                             struct op_err *err)
{
    struct op_str rest = op_str_from(op_sink_option_get(config, "types", NULL));
    while (rest.ptr) {
        struct op_str type = op_str_trim(op_str_cut(&rest, ','));
        struct op_str name = op_str_cut(&type, ' ');
        size_t i = 0;
        while (i < config->column_count && !op_str_is(name, config->columns[i]))
            i++;
        type = op_str_trim(type);
        if (i == config->column_count)
            return op_fail(err, OP_INVAL,
                           "%s: 'types' names '" OP_STR_FMT "', which is no column of 'rows'",
                           config->place, OP_STR_ARG(name));
        if (!type.ptr || !op_sink_is_identifier(type, true))
            return op_fail(err, OP_INVAL,
                           "%s: 'types' says no type for '%s'; write it like '%s TEXT'",
                           config->place, config->columns[i], config->columns[i]);
        op_mem_free(types[i]);
        types[i] = op_mem_strndup(type.ptr, type.len);
    }
    return OP_OK;
}

enum op_rc op_sink_read_table(const struct op_sink_config *config, const char *kind,
                              char **ret_table, bool *ret_insert_missing, char **types,
                              struct op_err *err)
{
    const char *table = op_sink_option_get(config, "table", NULL);
    const char *mode = op_sink_option_get(config, "mode", "upsert");
    if (!table)
        return op_fail(err, OP_INVAL, "%s: the output kind '%s' needs the option 'table'",
                       config->place, kind);
    if (!op_sink_is_identifier(op_str_from(table), false))
        return op_fail(err, OP_INVAL,
                       "%s: '%s' is no name for a table: letters, digits and _, at most 63",
                       config->place, table);
    *ret_table = op_mem_strdup(table);
    *ret_insert_missing = strcmp(mode, "insert_missing") == 0;
    if (!*ret_insert_missing && strcmp(mode, "upsert") != 0)
        return op_fail(err, OP_INVAL, "%s: option 'mode' is upsert or insert_missing, not '%s'",
                       config->place, mode);
    for (size_t i = 0; i < config->column_count; i++)
        if (!op_sink_is_identifier(op_str_from(config->columns[i]), false))
            return op_fail(
                err, OP_INVAL,
                "%s: '%s' is no name for a table's column: letters, digits and _, at "
                "most 63; rename it in 'rows' with AS",
                config->place, config->columns[i]);
    return read_types(config, types, err);
}

char **op_sink_names_copy(const struct op_sink_config *config)
{
    char **names = op_mem_array(config->column_count + 1, sizeof(*names));
    for (size_t i = 0; i < config->column_count; i++)
        names[i] = op_mem_strdup(config->columns[i]);
    return names;
}

void op_sink_names_free(char **names, size_t count)
{
    for (size_t i = 0; names && i < count; i++)
        op_mem_free(names[i]);
    op_mem_free(names);
}

char *op_sink_work_name(const struct op_sink_config *config)
{
    const char *parts[] = {config->target ? config->target : "", config->place};
    struct op_key key;
    op_key_begin(&key, NULL);
    for (size_t i = 0; i < OP_COUNT(parts); i++)
        op_key_add(&key, 't', parts[i], strlen(parts[i]));
    return op_mem_printf("%016llx", (unsigned long long)key.hash);
}

char *op_sink_root_of(const char *target)
{
    const char *hole = target ? strstr(target, "{{") : NULL;
    size_t len = !target ? 0 : hole ? (size_t)(hole - target) : strlen(target);
    /* Without a hole the whole text is a folder. */
    if (target && !hole && len > 0 && target[len - 1] != '/')
        return op_mem_printf("%s/", target);
    while (len > 0 && target[len - 1] != '/')
        len--;
    while (len >= 2 && target[0] == '.' && target[1] == '/') {
        target += 2;
        len -= 2;
    }
    return op_mem_strndup(len ? target : "", len);
}

static const char *part_problem(struct op_str part)
{
    if (part.len == 0)
        return "has an empty part";
    if (op_str_is(part, "..") || op_str_is(part, "."))
        return "has a part '.' or '..'";
    if (part.len > MAX_NAME)
        return "has a part of more than 240 bytes";
    if (op_str_ends(part, OP_SINK_TEMP_SUFFIX))
        return "ends like a temporary file of offpeak";
    for (size_t i = 0; i < part.len; i++) {
        if ((unsigned char)part.ptr[i] < 0x20 || part.ptr[i] == 0x7f)
            return "holds a control character";
    }
    return NULL;
}

enum op_rc op_sink_check_links(struct op_env *env, const char *root, const char *path,
                               struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *part = op_mem_strdup(path);
    char *at = part + (op_str_starts(op_str_from(path), root) ? strlen(root) : 0);
    for (bool last = false; !last;) {
        char *slash = strchr(at, '/');
        last = !slash;
        if (slash)
            *slash = '\0';
        int fd = env->ops->open(env, part, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
        if (fd == -ENOENT)
            return OP_OK;
        if (fd == -ELOOP)
            return op_fail(err, OP_INVAL,
                           "'%s' is a symbolic link: what a row names is not written through "
                           "one; remove it, or name its folder in the output's path",
                           part);
        if (fd >= 0)
            env->ops->close(env, fd);
        if (slash) {
            *slash = '/';
            at = slash + 1;
        }
    }
    return OP_OK;
}

enum op_rc op_sink_check_path(const char *root, struct op_str path, struct op_err *err)
{
    struct op_str rest = path;
    const char *problem = NULL;
    if (op_str_starts(rest, "./")) {
        rest.ptr += 2;
        rest.len -= 2;
    }
    if (path.len == 0)
        problem = "is empty";
    else if (path.len > MAX_PATH)
        problem = "has more than 3000 bytes";
    else if (path.ptr[0] == '/' && root[0] != '/')
        problem = "is absolute";
    else if (!op_str_starts(rest, root))
        problem = "leaves the folder the output names";
    if (!problem) {
        rest.ptr += strlen(root);
        rest.len -= strlen(root);
    }
    while (!problem && rest.ptr)
        problem = part_problem(op_str_cut(&rest, '/'));
    if (!problem)
        return OP_OK;
    struct op_str shown = {path.ptr, path.len < 200 ? path.len : 200};
    return op_fail_as(err, OP_INVAL, OP_DISP_REJECT, "the row's path '" OP_STR_FMT "' %s",
                      OP_STR_ARG(shown), problem);
}

enum op_rc op_sink_file_size(struct op_env *env, const char *path, int64_t *ret,
                             struct op_err *err)
{
    int fd = env->ops->open(env, path, O_RDONLY, 0);
    if (fd == -ENOENT) {
        *ret = 0;
        return OP_OK;
    }
    if (fd < 0) {
        errno = -fd;
        return op_fail_errno(err, OP_IO, "cannot open %s", path);
    }
    *ret = env->ops->size(env, fd);
    env->ops->close(env, fd);
    return OP_OK;
}

bool op_sink_should_wait(int64_t old_bytes, int64_t new_bytes, bool last)
{
    return !last && old_bytes + new_bytes > CHEAP_BYTES && new_bytes < old_bytes;
}

bool op_sink_ends_with(const char *target, const char *const *suffixes)
{
    size_t len = strlen(target);
    for (; *suffixes; suffixes++) {
        size_t n = strlen(*suffixes);
        if (len > n && strcasecmp(target + len - n, *suffixes) == 0)
            return true;
    }
    return false;
}
