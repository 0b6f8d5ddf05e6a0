/* SPDX-License-Identifier: MIT */
#include "provider/key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"

enum { KEY_MOST = 8192, NAMES_MOST = 64 };

/* What was taken, by the name of the variable. */
static struct {
    const char *name, *key;
    bool from_env;
    char from[300];
} taken[NAMES_MOST];
static size_t taken_count;

static size_t place_of(const char *name)
{
    size_t i = 0;
    while (i < taken_count && strcmp(taken[i].name, name) != 0)
        i++;
    if (i == taken_count && taken_count < NAMES_MOST)
        taken[taken_count++].name = name;
    return i;
}

static enum op_rc fail(struct op_err *err, const char *path, const char *why)
{
    return op_fail_as(err, OP_INVAL, OP_DISP_FATAL, "the key file %s %s", path, why);
}

/* The file's text without white space around it. */
static enum op_rc read_key(int fd, const char *path, const char **ret, struct op_err *err)
{
    char text[KEY_MOST + 1];
    size_t len = 0;
    ssize_t n = 1;
    while (n > 0 && len < sizeof(text)) {
        n = read(fd, text + len, sizeof(text) - len);
        len += n > 0 ? (size_t)n : 0;
    }
    struct op_str key = op_str_trim((struct op_str){text, len});
    enum op_rc rc = OP_OK;
    if (n < 0 || len > KEY_MOST)
        rc = fail(err, path, n < 0 ? "cannot be read" : "is too long to be one");
    else if (key.len == 0)
        rc = fail(err, path, "is empty");
    else
        *ret = op_secret_keep(key);
    explicit_bzero(text, sizeof(text));
    return rc;
}

/* own: named by a person, so that it must not be open to others; systemd's are its own matter. */
static enum op_rc key_of_file(const char *path, bool own, const char **ret, struct op_err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(err, path, errno == ENOENT ? "does not exist" : "cannot be opened");
    enum op_rc rc = OP_OK;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        rc = fail(err, path, "is no file");
    else if (own && (st.st_mode & 077))
        rc = fail(err, path, "may be read by others: chmod 600 it");
    else if (own && st.st_uid != geteuid() && st.st_uid != 0)
        rc = fail(err, path, "belongs to another user");
    if (!rc)
        rc = read_key(fd, path, ret, err);
    close(fd);
    return rc;
}

static enum op_rc look_for(const char *name, size_t at, struct op_err *err)
{
    OP_CLEANUP(op_mem_freep) char *variable = op_mem_printf("%s_FILE", name);
    const char *file = getenv(variable);
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (file && file[0]) {
        snprintf(taken[at].from, sizeof(taken[at].from), "%s names a file", variable);
        return key_of_file(file, true, &taken[at].key, err);
    }
    if (!folder || folder[0] != '/')
        return OP_OK;
    OP_CLEANUP(op_mem_freep) char *path = op_mem_printf("%s/%s", folder, name);
    if (access(path, F_OK) < 0)
        return OP_OK;
    snprintf(taken[at].from, sizeof(taken[at].from), "%s is a credential of systemd", name);
    return key_of_file(path, false, &taken[at].key, err);
}

static enum op_rc take(const char *name, const char **ret, struct op_err *err)
{
    const char *set = name ? getenv(name) : NULL;
    if (!name)
        return OP_OK;
    size_t at = place_of(name);
    if (at == NAMES_MOST)
        return op_fail(err, OP_INVAL, "there are more than %d names of keys", NAMES_MOST);
    if (set && set[0]) {
        taken[at].key = op_secret_take_env(name);
        taken[at].from_env = true;
        snprintf(taken[at].from, sizeof(taken[at].from), "%s is set", name);
    } else if (!taken[at].key || (taken[at].from_env && !set)) {
        /* A file is read once: later the process may not get at it (base/sandbox.h). */
        taken[at].from_env = false;
        taken[at].key = NULL;
        enum op_rc rc = look_for(name, at, err);
        if (rc)
            return rc;
    }
    if (taken[at].key)
        op_log_secret(op_str_from(taken[at].key));
    *ret = taken[at].key;
    return OP_OK;
}

enum op_rc op_key_get(const struct op_provider_ops *provider, const char **ret,
                      struct op_err *err)
{
    *ret = NULL;
    enum op_rc rc = take(provider->key_env, ret, err);
    return rc || *ret ? rc : take(provider->key_env_2, ret, err);
}

void op_key_about(const struct op_provider_ops *provider, char *ret, size_t room)
{
    const char *key = NULL;
    struct op_err err = OP_ERR_INIT;
    ret[0] = '\0';
    if (op_key_get(provider, &key, &err)) {
        snprintf(ret, room, "%s", err.msg);
        return;
    }
    const char *const names[] = {provider->key_env, provider->key_env_2};
    for (size_t i = 0; key && i < OP_COUNT(names) && !ret[0]; i++)
        if (names[i] && taken[place_of(names[i])].key == key)
            snprintf(ret, room, "%s", taken[place_of(names[i])].from);
}

bool op_keys_take(void)
{
    const struct op_provider_ops *const *all = op_providers();
    bool any = false;
    for (size_t i = 0; all[i]; i++) {
        const char *const names[] = {all[i]->key_env, all[i]->key_env_2};
        for (size_t k = 0; k < OP_COUNT(names); k++) {
            const char *key = NULL;
            struct op_err later = OP_ERR_INIT; /* said when this key is asked for */
            any = (take(names[k], &key, &later) == OP_OK && key) || any;
        }
    }
    return any;
}
