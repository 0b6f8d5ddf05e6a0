/* SPDX-License-Identifier: MIT */
#include "source/common.h"

#include <errno.h>
#include <fcntl.h>
#include <strings.h>

#include "base/mem.h"

void op_source_names_release(struct op_source_names *list)
{
    for (size_t i = 0; i < list->count; i++)
        op_mem_free(list->names[i]);
    op_mem_free(list->names);
    *list = (struct op_source_names){0};
}

enum op_rc op_source_names_add(struct op_source_names *list, struct op_str name,
                               const char *where, struct op_err *err)
{
    size_t number = list->count + 1;
    if (name.len == 0)
        return op_fail(err, OP_INVAL, "%s: column %zu has no name", where, number);
    if (op_utf8_valid_len(name.ptr, name.len) != name.len || memchr(name.ptr, 0, name.len))
        return op_fail(
            err, OP_INVAL,
            "%s: the name of column %zu is not UTF-8 text; convert the file to UTF-8", where,
            number);
    for (size_t i = 0; i < list->count; i++) {
        if (strlen(list->names[i]) == name.len &&
            strncasecmp(list->names[i], name.ptr, name.len) == 0)
            return op_fail(err, OP_INVAL,
                           "%s: columns %zu and %zu are both called '" OP_STR_FMT
                           "' (upper and lower case count as equal)",
                           where, i + 1, number, OP_STR_ARG(name));
    }
    if (list->count == list->room) {
        list->room = list->room ? list->room * 2 : 16;
        list->names = op_mem_realloc(list->names, list->room * sizeof(list->names[0]));
    }
    list->names[list->count++] = op_mem_strndup(name.ptr, name.len);
    return OP_OK;
}

enum op_rc op_source_names_parse(struct op_source_names *list, const char *text,
                                 const char *where, struct op_err *err)
{
    struct op_str rest = op_str_from(text);
    while (rest.ptr) {
        enum op_rc rc =
            op_source_names_add(list, op_str_trim(op_str_cut(&rest, ',')), where, err);
        if (rc)
            return rc;
    }
    return OP_OK;
}

enum op_rc op_source_flag(const struct op_source_config *config, const char *name,
                          bool fallback, bool *ret, struct op_err *err)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    const char *value = op_source_option_get(config, name, NULL);
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
    return op_fail(err, OP_INVAL, "%s: input '%s': option '%s' is true or false, not '%s'",
                   config->place, config->name, name, value);
}

enum op_rc op_source_probe(const struct op_source_config *config, bool *ret_missing,
                           struct op_err *err)
{
    bool optional = false;
    enum op_rc rc = op_source_flag(config, "optional", false, &optional, err);
    if (rc)
        return rc;
    struct op_env *env = config->env;
    int fd = env->ops->open(env, config->target, O_RDONLY, 0);
    if (fd >= 0) {
        env->ops->close(env, fd);
        *ret_missing = false;
        return OP_OK;
    }
    if (fd == -ENOENT && optional) {
        *ret_missing = true;
        return OP_OK;
    }
    if (fd == -ENOENT)
        return op_fail(err, OP_NOTFOUND,
                       "%s: input '%s': there is no file '%s'; check the path (a relative one "
                       "starts in the current folder), or say 'optional: true'",
                       config->place, config->name, config->target);
    errno = -fd;
    return op_fail_errno(err, OP_IO, "%s: input '%s': cannot read '%s'", config->place,
                         config->name, config->target);
}

enum op_rc op_source_open_lines(const struct op_source_config *config, struct op_lines **ret,
                                struct op_err *err)
{
    bool missing = false;
    enum op_rc rc = op_source_probe(config, &missing, err);
    *ret = NULL;
    if (!rc && !missing)
        rc = op_lines_open(config->env, config->target, 0, OP_SOURCE_MAX_RECORD, ret, err);
    return rc ? op_err_wrap(err, "%s: input '%s'", config->place, config->name) : OP_OK;
}

enum op_rc op_source_absent_columns(const struct op_source_config *config,
                                    struct op_source_names *list, struct op_err *err)
{
    const char *columns = op_source_option_get(config, "columns", NULL);
    if (!columns)
        return op_fail(err, OP_INVAL,
                       "'%s' is not there and 'optional' is set, so the option 'columns' must "
                       "name its columns",
                       config->target);
    return op_source_names_parse(list, columns, "the option 'columns'", err);
}

bool op_source_ends_with(const char *target, const char *const *suffixes)
{
    size_t len = strlen(target);
    for (; *suffixes; suffixes++) {
        size_t n = strlen(*suffixes);
        if (len > n && strcasecmp(target + len - n, *suffixes) == 0)
            return true;
    }
    return false;
}
